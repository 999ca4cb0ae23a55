"""A LEAN data folder, read once into columns.

Daily bars are kept as LEAN stores them, integers of 1/10000 dollar, one int64 column a field; a price becomes a
decimal, with LEAN's scale, only where money needs it, and a double only where the algorithm asks for history.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minilean.calendar import MarketCalendar
from minilean.decimals import EXACT, fit
from minilean.errors import DataError
from minilean.symbols import SecurityIdentifier, Symbol

FAR_FUTURE = date(2050, 12, 31)
_TICK = Decimal("0.0001")
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class MapFile:
    """Which ticker a security had until which day. The last row is its delisting unless that is far in the future."""

    permanent_ticker: str
    rows: tuple[tuple[date, str], ...]

    @property
    def first_date(self) -> date:
        return self.rows[0][0]

    @property
    def delisting_date(self) -> date | None:
        last = self.rows[-1][0]
        return last if last < FAR_FUTURE else None

    def segments(self) -> Iterator[tuple[str, date, date]]:
        """(ticker, first day, last day), in order of time."""
        start = self.first_date
        for until, ticker in self.rows[1:] or self.rows:
            yield ticker, start, until
            start = until + timedelta(days=1)

    def renames(self) -> Iterator[tuple[date, str, str]]:
        """(last day of the old ticker, old ticker, new ticker)."""
        parts = list(self.segments())
        for (old, _, until), (new, _, _) in zip(parts, parts[1:], strict=False):
            if old != new:
                yield until, old, new


@dataclass(frozen=True)
class FactorRow:
    """One row of a factor file: the factors hold up to and including that day."""

    day: date
    price_factor: Decimal
    split_factor: Decimal
    reference_price: Decimal


@dataclass
class DailyBars:
    """Daily bars of one security, as stored: raw, in 1/10000 dollar.

    ordinals: (T,) proleptic ordinals of the sessions, ascending; open, high, low, close, volume: (T,) int64.
    factors: rows of the factor file, ascending; none means factor 1 throughout.
    """

    ordinals: NDArray[np.int64]
    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]
    volume: NDArray[np.int64]
    factors: tuple[FactorRow, ...] = ()
    _scales: dict[bool, list[tuple[Decimal, Decimal]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ordinals)

    @cached_property
    def _segment(self) -> NDArray[np.int64]:
        """(T,) index of the factor row that holds for each bar: the first with day >= the bar's."""
        days = np.array([row.day.toordinal() for row in self.factors], dtype=np.int64)
        return np.searchsorted(days, self.ordinals, side="left")

    @cached_property
    def _multipliers(self) -> list[Decimal]:
        """Adjustment of each segment, with the scale of the factors as written; one more for bars after the last."""
        products = [fit(EXACT.multiply(row.price_factor, row.split_factor)) for row in self.factors]
        return [*products, Decimal(1)]

    @cached_property
    def _ticks(self) -> list[Decimal]:
        """What one stored unit is worth in each segment."""
        return [EXACT.multiply(_TICK, multiplier) for multiplier in self._multipliers]

    def price(self, column: NDArray[np.int64], row: int, adjusted: bool) -> Decimal:
        """One price as a decimal with LEAN's scale: four places, plus those of the factors."""
        tick = self._ticks[self._segment[row]] if adjusted else _TICK
        return fit(EXACT.multiply(tick, int(column[row])))

    def prices(self, column: NDArray[np.int64], rows: NDArray[np.int64], adjusted: bool) -> list[Decimal | None]:
        """`price` of many rows; None for a negative one."""
        found: list[Decimal | None] = []
        ticks = self._ticks
        segments = self._segment[rows].tolist() if adjusted and len(self) else [0] * len(rows)
        stored = column[rows].tolist() if len(self) else segments
        for row, raw, segment in zip(rows.tolist(), stored, segments, strict=True):
            tick = ticks[segment] if adjusted else _TICK
            found.append(None if row < 0 else fit(EXACT.multiply(tick, raw)))
        return found

    def adjusted_volume(self, row: int) -> int:
        """Volume in shares as adjusted prices count them."""
        exact = EXACT.divide(Decimal(int(self.volume[row])), self._multipliers[self._segment[row]])
        return int(exact.to_integral_value())

    def doubles(self, rows: NDArray[np.int64], adjusted: bool) -> NDArray[np.float64]:
        """(5, len(rows)) close, high, low, open, volume of those rows, as .NET turns such decimals into doubles.

        .NET divides the 96-bit integer, rounded to a double, by the power of ten: the integer here is the product
        of the stored price and the factor's digits.
        """
        columns = (self.close, self.high, self.low, self.open)
        out = np.empty((5, len(rows)))
        if not adjusted:
            for line, column in zip(out, columns, strict=False):
                line[:] = column[rows] / 1e4
            out[4] = self.volume[rows]
            return out
        segments = self._segment[rows]
        edges = np.flatnonzero(np.diff(segments)) + 1
        for part in np.split(np.arange(len(rows)), edges):
            if not len(part):
                continue
            multiplier = self._multipliers[segments[part[0]]]
            exponent = -int(multiplier.as_tuple().exponent)
            digits = int(multiplier.scaleb(exponent, EXACT))
            for line, column in zip(out, columns, strict=False):
                raw = column[rows[part]]
                if digits * int(raw.max(initial=0)) < 2**63:
                    line[part] = (raw * digits).astype(np.float64) / 10.0 ** (exponent + 4)
                else:
                    line[part] = [float(fit(EXACT.multiply(int(r) * _TICK, multiplier))) for r in raw]
            out[4, part] = np.rint(self.volume[rows[part]] / float(multiplier))
        return out

    def adjusted_closes(self, first: date, last: date) -> list[tuple[date, Decimal]]:
        """(session, adjusted close) from first to last, both included."""
        begin, end = np.searchsorted(self.ordinals, [first.toordinal(), last.toordinal() + 1])
        return [
            (date.fromordinal(int(self.ordinals[row])), self.price(self.close, row, True)) for row in range(begin, end)
        ]

    def period(self) -> tuple[date, date] | None:
        """Days of the first and the last bar; None without any."""
        if not len(self):
            return None
        return date.fromordinal(int(self.ordinals[0])), date.fromordinal(int(self.ordinals[-1]))

    def rows_of(self, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of the bar of each day; -1 where there is none."""
        if not len(self):
            return np.full(len(ordinals), -1)
        at = np.minimum(np.searchsorted(self.ordinals, ordinals), len(self) - 1)
        return np.where(self.ordinals[at] == ordinals, at, -1)

    def last_row_before(self, day: date) -> int:
        """Row of the last bar before that day; -1 if there is none."""
        return int(np.searchsorted(self.ordinals, day.toordinal(), side="left")) - 1

    def row_of(self, day: date) -> int:
        """Row of that day's bar; -1 if there is none."""
        at = int(np.searchsorted(self.ordinals, day.toordinal(), side="left"))
        return at if at < len(self.ordinals) and self.ordinals[at] == day.toordinal() else -1


_NO_BARS = DailyBars(*(np.empty(0, dtype=np.int64) for _ in range(6)))


@dataclass(frozen=True)
class Constituent:
    """One row of an ETF constituents file; None where the cell is empty."""

    symbol: Symbol
    last_update: datetime
    weight: Decimal | None
    shares_held: Decimal | None
    market_value: Decimal | None


class DataFolder:
    """Everything that a daily-resolution equity algorithm reads from a LEAN data folder.

    Raises DataError, with file, line and remedy, for what cannot be read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._equity = folder / "equity" / "usa"
        if not self._equity.is_dir():
            what = "is no LEAN data folder" if folder.is_dir() else "does not exist"
            raise DataError(
                f"data folder {folder} {what} (there is no {Path('equity', 'usa')} in it): "
                "name another with --data-folder, or make an invented one with `python -m minilean data demo FOLDER`"
            )
        self.calendar = MarketCalendar.read(folder)
        self._bars: dict[str, DailyBars] = {}

    # --- identity

    @cached_property
    def _maps_by_ticker(self) -> dict[str, list[MapFile]]:
        """Every ticker that was ever in use, upper case -> map files that name it, by first date."""
        found: dict[str, list[MapFile]] = {}
        for path in sorted((self._equity / "map_files").glob("*.csv")):
            file = _read_map_file(path)
            for ticker in {ticker for _, ticker in file.rows}:
                found.setdefault(ticker.upper(), []).append(file)
        for files in found.values():
            files.sort(key=lambda file: file.first_date)
        return found

    def map_file(self, sid: SecurityIdentifier) -> MapFile | None:
        """The map file of a security, None where the folder has none."""
        for file in self._maps_by_ticker.get(sid.symbol, ()):
            if file.first_date == sid.date.date() and file.rows[0][1].upper() == sid.symbol:
                return file
        return None

    def resolve(self, ticker: str, day: date) -> Symbol:
        """The security that had this ticker on that day, or one newly named by it if no map file knows it."""
        upper = ticker.upper()
        for file in self._maps_by_ticker.get(upper, ()):
            if any(name.upper() == upper and first <= day <= last for name, first, last in file.segments()):
                return Symbol(SecurityIdentifier.generate_equity(file.rows[0][1], file.first_date), upper, upper)
        return Symbol(SecurityIdentifier.generate_equity(upper, date(1998, 1, 2)), upper, upper)

    # --- prices

    def daily(self, sid: SecurityIdentifier) -> DailyBars:
        """All daily bars of a security over its tickers; empty where the folder has none."""
        key = str(sid)
        if key not in self._bars:
            self._bars[key] = self._read_daily(sid)
        return self._bars[key]

    def _read_daily(self, sid: SecurityIdentifier) -> DailyBars:
        file = self.map_file(sid)
        segments = list(file.segments()) if file else [(sid.symbol, date.min, date.max)]
        tables = []
        for ticker, first, last in segments:
            table = _read_bars(self._equity / "daily" / f"{ticker.lower()}.zip")
            if table is not None:
                inside = (table[:, 0] >= first.toordinal()) & (table[:, 0] <= last.toordinal())
                tables.append(table[inside])
        if not tables:
            return _NO_BARS
        factors = self._read_factors(file.permanent_ticker if file else sid.symbol.lower())
        if factors and factors[0].day >= FAR_FUTURE:
            return _NO_BARS  # LEAN drops the history of a factor file that has no row but the one of 2050
        columns = np.ascontiguousarray(np.concatenate(tables).T)
        return DailyBars(*columns, factors=factors)

    def _read_factors(self, permanent_ticker: str) -> tuple[FactorRow, ...]:
        path = self._equity / "factor_files" / f"{permanent_ticker}.csv"
        if not path.exists():
            return ()
        rows = []
        for number, cells in _lines(path):
            try:
                factors = [Decimal(cell) for cell in cells[1:4]] + [Decimal(0)] * (4 - len(cells))
                rows.append(FactorRow(_date(cells[0]), *factors))
            except (ValueError, InvalidOperation, TypeError):
                raise DataError(
                    f"{path}, line {number}: {','.join(cells)!r} is not date,price factor,split factor,reference price"
                ) from None
        return tuple(sorted(rows, key=lambda row: row.day))

    # --- universe, benchmark, rates

    def constituent_files(self, etf: SecurityIdentifier) -> dict[date, Path]:
        """Every constituents file of an ETF, by its date; the folder is named by the ticker of that time."""
        file = self.map_file(etf)
        segments = list(file.segments()) if file else [(etf.symbol, date.min, date.max)]
        found = {}
        for ticker, first, last in segments:
            for path in (self._equity / "universes" / "etf" / ticker.lower()).glob("[0-9]" * 8 + ".csv"):
                try:
                    day = _date(path.stem)
                except ValueError:
                    raise DataError(f"{path} is not named by a date, yyyyMMdd.csv") from None
                if first <= day <= last:
                    found[day] = path
        return found

    def constituents(self, path: Path) -> list[Constituent]:
        """Rows of one constituents file, in file order."""
        found = []
        for number, cells in _lines(path):
            try:
                ticker, sid, updated, *amounts = cells
                weight, shares, value = (Decimal(cell) if cell else None for cell in (*amounts, "", "", "")[:3])
                symbol = Symbol(SecurityIdentifier.parse(sid), ticker)
                found.append(Constituent(symbol, datetime.strptime(updated, "%Y%m%d"), weight, shares, value))
            except (ValueError, InvalidOperation) as error:
                raise DataError(
                    f"{path}, line {number}: {','.join(cells)!r} is not ticker,SID,date,weight,shares,value ({error})"
                ) from None
        return found

    def hourly(self, sid: SecurityIdentifier) -> tuple[DailyBars, NDArray[np.int64]]:
        """Hourly bars in the columns of `DailyBars`, and (T,) the moment each ends, as ordinal * 24 + hour."""
        file = self.map_file(sid)
        ticker = file.permanent_ticker if file else sid.symbol.lower()
        table = _read_bars(self._equity / "hour" / f"{ticker}.zip", with_hours=True)
        if table is None:
            return _NO_BARS, _NO_BARS.ordinals
        columns = np.ascontiguousarray(table.T)
        return DailyBars(*columns[:6], factors=self._read_factors(ticker)), columns[0] * 24 + columns[6] + 1

    def interest_rates(self) -> list[tuple[date, Decimal]]:
        """(day, rate as a fraction) since when it held; empty where the folder has no file."""
        path = self.folder / "alternative" / "interest-rate" / "usa" / "interest-rate.csv"
        if not path.exists():
            return []
        rates = []
        for number, cells in _lines(path):
            if number == 1 or len(cells) < 2 or not cells[1]:
                continue
            try:
                rates.append((date.fromisoformat(cells[0]), Decimal(cells[1]) / 100))
            except (ValueError, InvalidOperation):
                raise DataError(f"{path}, line {number}: {','.join(cells)!r} is not date,rate in percent") from None
        return rates


def _read_map_file(path: Path) -> MapFile:
    rows = []
    for number, cells in _lines(path):
        try:
            rows.append((_date(cells[0]), cells[1].lower()))
        except (ValueError, IndexError):
            raise DataError(f"{path}, line {number}: {','.join(cells)!r} is not date,ticker,exchange") from None
    if not rows:
        raise DataError(f"{path} is empty: a map file has at least a first and a last row")
    return MapFile(path.stem.lower(), tuple(sorted(rows)))


def _read_bars(path: Path, with_hours: bool = False) -> NDArray[np.int64] | None:
    """(T, 6) ordinal, open, high, low, close, volume of one zip, or (T, 7) with the hour last; None if no file."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            raw = archive.read(archive.namelist()[0])
    except (zipfile.BadZipFile, OSError, IndexError, EOFError) as error:
        raise DataError(f"{path} is not a readable zip file ({error}): download or make it again") from None
    text = raw.replace(b":00", b"").replace(b" ", b",")
    try:
        flat = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.int64, ndmin=2)
        if flat.size and flat.shape[1] != 7:
            raise ValueError(f"{flat.shape[1] - 1} columns")
    except ValueError:
        raise DataError(f"{path}, {_bad_line(raw)}") from None
    if not flat.size:
        return np.empty((0, 7 if with_hours else 6), dtype=np.int64)
    stamps = flat[:, 0]
    years, months, days = stamps // 10000, stamps // 100 % 100, stamps % 100
    dates = (years * 12 + months - 1 - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]") + (days - 1)
    ordinals = dates.astype(np.int64) + _EPOCH
    columns = [ordinals, *flat.T[2:]]
    if with_hours:
        columns.append(flat[:, 1])
    return np.stack(columns, axis=1)


def _bad_line(raw: bytes) -> str:
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        cells = line.split(",")
        try:
            datetime.strptime(cells[0], "%Y%m%d %H:%M")
            [int(cell) for cell in cells[1:]]
            if len(cells) == 6:
                continue
        except ValueError:
            pass
        return f"line {number}: {line!r} is not yyyyMMdd HH:mm,open,high,low,close,volume in whole numbers"
    return "a line is not yyyyMMdd HH:mm,open,high,low,close,volume in whole numbers"


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered, non-empty lines of a small csv file, without a byte-order mark."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    for number, cells in enumerate(csv.reader(text.splitlines()), 1):
        if cells:
            yield number, [cell.strip() for cell in cells]


def _date(text: str) -> date:
    return datetime.strptime(text, "%Y%m%d").date()
