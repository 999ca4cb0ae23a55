"""A LEAN data folder, read once into columns.

Daily bars are kept as LEAN stores them, integers of 1/10000 dollar, one int64 column a field; a price becomes a
decimal, with LEAN's scale, only where money needs it, and a double only where the algorithm asks for history.
"""

from array import array
from bisect import bisect_left
from collections.abc import MutableSequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minilean.calendar import MarketCalendar
from minilean.decimals import EXACT, fit, to_double
from minilean.errors import DataError
from minilean.formats import (
    Constituent,
    FactorRow,
    File,
    MapFile,
    files_by_ticker,
    parse_date,
    read_bars,
    read_constituents,
    read_factor_file,
    read_interest_rates,
    read_map_file,
)
from minilean.symbols import SecurityIdentifier, Symbol, is_ticker, unmapped

_PLACES = 4
_TICK = Decimal(1).scaleb(-_PLACES)


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

    def __len__(self) -> int:
        return len(self.ordinals)

    @cached_property
    def _segment(self) -> NDArray[np.unsignedinteger[Any]]:
        """(T,) index of the factor row that holds for each bar: the first with day >= the bar's."""
        count = len(self.factors)
        stops = np.searchsorted(self.ordinals, [row.day.toordinal() for row in self.factors], side="right")
        segments = np.arange(count + 1, dtype=np.min_scalar_type(count))
        return np.repeat(segments, np.diff(stops, prepend=0, append=len(self)))

    @cached_property
    def _multipliers(self) -> list[Decimal]:
        """Adjustment of each segment, with the scale of the factors as written; one more for bars after the last."""
        products = [fit(EXACT.multiply(row.price_factor, row.split_factor)) for row in self.factors]
        return [*products, Decimal(1)]

    @cached_property
    def _integers(self) -> list[tuple[int, int]]:
        """The multipliers as whole numbers of 10**-places, and their places."""
        places = [max(0, -int(multiplier.as_tuple().exponent)) for multiplier in self._multipliers]
        return [(int(x.scaleb(at, EXACT)), at) for x, at in zip(self._multipliers, places, strict=True)]

    @cached_property
    def _ticks(self) -> list[Decimal]:
        """What one stored unit is worth in each segment."""
        return [EXACT.multiply(_TICK, multiplier) for multiplier in self._multipliers]

    def price(self, column: NDArray[np.int64], row: int, adjusted: bool) -> Decimal:
        """One price as a decimal with LEAN's scale: four places, plus those of the factors."""
        tick = self._ticks[self._segment.item(row)] if adjusted else _TICK
        return fit(EXACT.multiply(tick, column.item(row)))

    def closes(self, rows: NDArray[np.int64], adjusted: bool) -> tuple[MutableSequence[int], int]:
        """Closes of those rows as whole numbers of 10**-places dollars, and the places."""
        if not adjusted:
            return array("q", self.close[rows].tobytes()), _PLACES
        segments = self._segment[rows]
        used = {at: self._integers[at] for at in np.flatnonzero(np.bincount(segments)).tolist()}
        places = max(at for _, at in used.values())
        integers = {at: integer * 10 ** (places - own) for at, (integer, own) in used.items()}
        fits = max(integers.values()) * int(self.close.max()) < 2**63
        units = np.ones(len(self._multipliers), dtype=np.int64 if fits else object)
        for at, integer in integers.items():
            units[at] = integer
        found = self.close[rows] * units[segments]
        return array("q", found.tobytes()) if fits else found.tolist(), _PLACES + places

    def adjusted_volume(self, row: int) -> int:
        """Volume in shares as adjusted prices count them."""
        multiplier, places = self._integers[self._segment.item(row)]
        scale: int = 10**places
        shares, rest = divmod(self.volume.item(row) * scale, multiplier)
        return shares + (2 * rest > multiplier or (2 * rest == multiplier and shares % 2))

    def doubles(self, rows: slice | NDArray[np.int64], adjusted: bool) -> NDArray[np.float64]:
        """(5, R) close, high, low, open, volume of those rows, as .NET turns such decimals into doubles.

        .NET divides the 96-bit integer, rounded to a double, by the power of ten: the integer here is the product
        of the stored price and the factor's digits.
        """
        raw = np.stack([column[rows] for column in (self.close, self.high, self.low, self.open)])
        volume = self.volume[rows]
        if not adjusted:
            return np.concatenate([raw / 1e4, [volume]])
        segments = self._segment[rows]
        highest = int(raw.max(initial=0))
        digits, powers = np.ones(len(self._multipliers), dtype=np.int64), np.ones(len(self._multipliers))
        exact = []
        for at, (integer, places) in enumerate(self._integers):
            if places <= 24 and integer * highest < 2**63:
                digits[at], powers[at] = integer, 10.0 ** (places + _PLACES)
            else:
                exact.append(at)
        raw *= digits[segments]
        prices = raw / powers[segments]
        for at in np.flatnonzero(np.isin(segments, exact)).tolist() if exact else ():
            multiplier = self._multipliers[segments[at]]
            prices[:, at] = [to_double(fit(EXACT.multiply(_TICK * price, multiplier))) for price in raw[:, at].tolist()]
        multipliers = np.array([float(multiplier) for multiplier in self._multipliers])
        return np.concatenate([prices, [np.rint(volume / multipliers[segments])]])

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

    def along(self, days: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """For (D,) days, by ascending ordinal: (D,) row of the last bar by then, -1 before the first, and (D,) whether
        it is that day's own."""
        if not len(days):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
        begin, end = np.searchsorted(self.ordinals, [days[0], days[-1] + 1])
        fresh = np.zeros(days[-1] - days[0] + 1, dtype=bool)
        fresh[self.ordinals[begin:end] - days[0]] = True
        rows = np.cumsum(fresh) + (begin - 1)
        return rows[days - days[0]], fresh[days - days[0]]

    def last_row_before(self, day: date) -> int:
        """Row of the last bar before that day; -1 if there is none."""
        return int(np.searchsorted(self.ordinals, day.toordinal(), side="left")) - 1

    def row_of(self, day: date) -> int:
        """Row of that day's bar; -1 if there is none."""
        at = int(np.searchsorted(self.ordinals, day.toordinal(), side="left"))
        return at if at < len(self.ordinals) and self.ordinals[at] == day.toordinal() else -1


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
    def _map_files(self) -> list[MapFile]:
        return [read_map_file(file) for file in files_by_ticker(self._equity / "map_files").values()]

    @cached_property
    def _maps_by_identity(self) -> dict[tuple[str, date], MapFile]:
        return {(file.first_ticker.upper(), file.first_date): file for file in reversed(self._map_files)}

    @cached_property
    def _maps_by_ticker(self) -> dict[str, list[tuple[date, MapFile]]]:
        """Every ticker that was ever in use, upper case -> its last days and the map files that name it, by day."""
        found: dict[str, list[tuple[date, MapFile]]] = {}
        for file in self._map_files:
            for day, ticker in file.rows:
                found.setdefault(ticker.upper(), []).append((day, file))
        for entries in found.values():
            entries.sort(key=lambda entry: entry[0])
        return found

    def map_file(self, sid: SecurityIdentifier) -> MapFile | None:
        """The map file of a security, None where the folder has none."""
        return self._maps_by_identity.get((sid.symbol, sid.date.date()))

    def resolve(self, ticker: str, day: date) -> Symbol:
        """The security that LEAN understands by a ticker on a day.

        The one whose row of that ticker ends first on or after the day, else the last one that ever had it, else the
        one whose map file has that name (AAA.1); one newly named by the ticker where no map file knows it, or where
        that security began only later.
        """
        upper = ticker.upper()
        entries = self._maps_by_ticker.get(upper)
        file: MapFile | None
        if entries:
            _, file = entries[min(bisect_left(entries, day, key=lambda entry: entry[0]), len(entries) - 1)]
        else:
            file = next((file for file in self._map_files if file.permanent_ticker == upper.lower()), None)
        if file is not None and file.first_date <= day:
            return Symbol(SecurityIdentifier.generate_equity(file.first_ticker, file.first_date), upper)
        return unmapped(upper)

    def _segments(self, sid: SecurityIdentifier) -> tuple[tuple[str, date, date], ...]:
        """(ticker, first day, last day) of a security; its first ticker throughout where there is no map file.

        Raises DataError where that cannot be the name of a file.
        """
        if not is_ticker(sid.symbol):
            raise DataError(f"{sid.symbol!r} is no ticker: name a security of {self.folder}")
        file = self.map_file(sid)
        return file.segments() if file else ((sid.symbol, date.min, date.max),)

    # --- prices

    def daily(self, sid: SecurityIdentifier) -> DailyBars:
        """All daily bars of a security over its tickers; empty where the folder has none.

        As in LEAN, whatever prices are asked for, bars of more than a day before the factor file begins are left out.
        """
        key = str(sid)
        if key not in self._bars:
            self._bars[key] = self._read_daily(sid)
        return self._bars[key]

    def _read_daily(self, sid: SecurityIdentifier) -> DailyBars:
        columns = self._columns("daily", sid)
        factors = self._factors(sid) if columns.size else ()
        begins = factors[0].day.toordinal() - 1 if factors else 0
        return _bars(columns[:, int(np.searchsorted(columns[0], begins)) :], factors)

    def hourly(self, sid: SecurityIdentifier) -> tuple[DailyBars, NDArray[np.int64]]:
        """Hourly bars in the columns of `DailyBars`, and (T,) the moment each ends, as ordinal * 24 + hour.

        As in LEAN, bars before or after the session are left out.
        """
        columns = self._columns("hour", sid)
        columns = columns[:, self.calendar.are_open(columns[0], columns[6])]
        return _bars(columns, self._factors(sid)), columns[0] * 24 + columns[6] + 1

    def _columns(self, kind: str, sid: SecurityIdentifier) -> NDArray[np.int64]:
        """(6 or 7, T) the columns of `read_bars` over a security's tickers; LEAN too drops days without session."""
        with_hours = kind == "hour"
        tables = []
        for ticker, first, last in self._segments(sid):
            bars = read_bars(self._equity / kind / f"{ticker.lower()}.zip", with_hours)
            if bars is not None:
                table = bars.T
                inside = (table[0] >= first.toordinal()) & (table[0] <= last.toordinal())
                inside &= self.calendar.are_sessions(table[0])
                tables.append(table if inside.all() else table[:, inside])
        if len(tables) == 1:
            return tables[0]
        return np.concatenate([np.empty((7 if with_hours else 6, 0), dtype=np.int64), *tables], axis=1)

    @cached_property
    def _factor_files(self) -> dict[str, File]:
        return files_by_ticker(self._equity / "factor_files")

    def _factors(self, sid: SecurityIdentifier) -> tuple[FactorRow, ...]:
        file = self.map_file(sid)
        found = self._factor_files.get(file.permanent_ticker if file else sid.symbol.lower())
        return () if found is None else read_factor_file(found)

    # --- universe, rates

    def constituent_files(self, etf: SecurityIdentifier) -> dict[date, Path]:
        """Every constituents file of an ETF that is not empty, by its date; the folder is named by its ticker then."""
        found = {}
        for ticker, first, last in self._segments(etf):
            for path in (self._equity / "universes" / "etf" / ticker.lower()).glob("[0-9]" * 8 + ".csv"):
                try:
                    day = parse_date(path.stem)
                except ValueError:
                    continue  # LEAN asks for the files of days
                if first <= day <= last and path.stat().st_size:
                    found[day] = path
        return found

    def constituents(self, path: Path) -> list[Constituent]:
        """Rows of one constituents file, in file order."""
        return read_constituents(path)

    def interest_rates(self) -> list[tuple[date, Decimal]]:
        """(day, rate as a fraction) since when it held; empty where the folder has no file."""
        return read_interest_rates(self.folder / "alternative" / "interest-rate" / "usa" / "interest-rate.csv")


def _bars(columns: NDArray[np.int64], factors: tuple[FactorRow, ...]) -> DailyBars:
    ordinals, opening, high, low, close, volume = columns[:6]
    return DailyBars(ordinals, opening, high, low, close, volume, factors)
