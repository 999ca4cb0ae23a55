"""The file formats of a LEAN data folder, read row by row into plain values.

What LEAN reads past without harm is read past here too: byte-order marks, all line ends, blank lines, rows out of
order, rows that repeat a date (the first stays), bars that go back in time (dropped), factor rows that LEAN leaves out
(`inf`, `e+`, not above zero), columns too many, dates of last update that are none. What LEAN would read wrongly or
give up on in its log alone is refused: a DataError names the file, the line and the remedy.
"""

import functools
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minilean.decimals import plain
from minilean.errors import DataError
from minilean.symbols import SecurityIdentifier, Symbol, is_ticker

FAR_FUTURE = date(2050, 12, 31)
_YEARS = (1900, 2100)
_NUMBER = re.compile(r"[+-]?([0-9]{1,28}\.?[0-9]{0,28}|\.[0-9]{1,28})([eE][+-]?[0-9]{1,2})?")
_HIGHEST_PRICE = 10**14
"""Ten billion dollars a share, in stored units: beyond it LEAN's decimals no longer hold a position's value."""
_FACTORS = (Decimal("1e-12"), Decimal("1e8"))
"""Smallest and largest adjustment of a price that can be meant."""
_EPOCH = date(1970, 1, 1).toordinal()
_LARGEST_FILE = 1 << 26
"""Unpacked; a century of hourly bars has a fifth of it."""


@dataclass(frozen=True)
class MapFile:
    """Which ticker a security had until which day. The last row is its delisting unless that is far in the future."""

    permanent_ticker: str
    rows: tuple[tuple[date, str], ...]

    @property
    def first_date(self) -> date:
        return self.rows[0][0]

    @property
    def first_ticker(self) -> str:
        """The ticker of the first row, without the number by which LEAN tells holders of one ticker apart (AAA.1)."""
        return re.sub(r"(?<=.)\.[0-9]+$", "", self.rows[0][1])

    @property
    def last_ticker(self) -> str:
        return self.rows[-1][1]

    @property
    def delisting_date(self) -> date | None:
        last = self.rows[-1][0]
        return last if last < FAR_FUTURE else None

    def segments(self) -> tuple[tuple[str, date, date], ...]:
        """(ticker, first day, last day), in order of time."""
        found: list[tuple[str, date, date]] = []
        start = self.first_date
        for until, ticker in self.rows:
            if found and found[-1][0] == ticker:
                found[-1] = ticker, found[-1][1], until
            else:
                found.append((ticker, start, until))
            start = until + timedelta(days=1)
        return tuple(found)

    def renames(self) -> Iterator[tuple[date, str, str]]:
        """(last day of the old ticker, old ticker, new ticker)."""
        for (old, _, until), (new, _, _) in pairwise(self.segments()):
            yield until, old, new


@dataclass(frozen=True)
class FactorRow:
    """One row of a factor file: the factors hold up to and including that day."""

    day: date
    price_factor: Decimal
    split_factor: Decimal
    reference_price: Decimal


class Constituent(NamedTuple):
    """One row of an ETF constituents file; None where the cell is empty."""

    symbol: Symbol
    last_update: datetime | None
    weight: Decimal | None
    shares_held: Decimal | None
    market_value: Decimal | None


File = Path | zipfile.Path
"""A small csv file, on its own or in an archive."""


def files_by_ticker(folder: Path) -> dict[str, File]:
    """A folder's map or factor files, by ticker in lower case, ascending.

    They are those of its newest archive, `map_files_yyyyMMdd.zip` in map_files, as LEAN's own data comes; where there
    is none they are the folder's csv files. Raises DataError for an archive that cannot be read.
    """
    archives = sorted(folder.glob(f"{folder.name}_{'[0-9]' * 8}.zip"))
    files: Iterable[File] = folder.glob("*.csv")
    if archives:
        try:
            files = list(zipfile.Path(archives[-1]).iterdir())
        except Exception as error:  # a damaged archive raises any of a dozen types
            raise _unreadable(archives[-1], error) from None
    return {file.stem.lower(): file for file in sorted(files, key=str) if file.suffix == ".csv"}


def read_map_file(path: File) -> MapFile:
    """Rows in order of date; of several on one day the first."""
    rows: dict[date, str] = {}
    for number, cells in _lines(path):
        try:
            day, ticker = parse_date(cells[0]), cells[1].lower()
            if not is_ticker(ticker):
                raise ValueError("no ticker")
        except (ValueError, IndexError):
            raise _refusal(path, number, cells, "date,ticker,exchange") from None
        rows.setdefault(day, ticker)
    if not rows:
        raise DataError(f"{path} is empty: a map file has a first and a last row, get it again or delete it")
    return MapFile(path.stem.lower(), tuple(sorted(rows.items())))


def read_factor_file(path: File) -> tuple[FactorRow, ...]:
    """Rows in order of date, of several on one day the first, without those that LEAN leaves out; empty if no file."""
    rows: dict[date, FactorRow] = {}
    if not path.exists():
        return ()
    for number, cells in _lines(path):
        if any("inf" in cell or "e+" in cell for cell in cells):
            continue
        try:
            price, split, *rest = (_decimal(cell) for cell in cells[1:4])
            row = FactorRow(parse_date(cells[0]), price, split, rest[0] if rest else Decimal(0))
            if price < 0 or split < 0 or not (price * split == 0 or _FACTORS[0] <= price * split <= _FACTORS[1]):
                raise ValueError("factors out of range")
        except ValueError:
            raise _refusal(path, number, cells, "date,price factor,split factor,reference price") from None
        if price and split:
            rows.setdefault(row.day, row)
    return tuple(rows[day] for day in sorted(rows))


def read_constituents(path: Path) -> list[Constituent]:
    """Rows of one constituents file, in file order."""
    found = []
    for number, cells in _lines(path):
        try:
            ticker, sid, updated, *amounts = cells
            if not is_ticker(ticker) or len(amounts) < 3:
                raise ValueError("no ticker, or too few columns")
            weight, shares, value = [_decimal(cell) if cell else None for cell in amounts[:3]]
            symbol = _symbol(sid, ticker)
        except ValueError:
            raise _refusal(path, number, cells, "ticker,SID,date,weight,shares,value") from None
        moment = _moment(updated)
        found.append(Constituent(symbol, moment, weight, shares, value))
    return found


def read_interest_rates(path: Path) -> list[tuple[date, Decimal]]:
    """(day, rate as a fraction) since when it held, by day, of several on one day the last; empty if no file."""
    rates: dict[date, Decimal] = {}
    for number, cells in _lines(path) if path.exists() else ():
        if number == 1 or len(cells) < 2 or not cells[1]:
            continue
        try:
            if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", cells[0]):
                raise ValueError("no date")
            rates[parse_date(cells[0].replace("-", ""))] = _decimal(cells[1]) / 100
        except ValueError:
            raise _refusal(path, number, cells, "date,rate in percent") from None
    return sorted(rates.items())


def read_bars(path: Path, with_hours: bool = False) -> NDArray[np.int64] | None:
    """(T, 6) ordinal, open, high, low, close, volume of one zip, or (T, 7) with the hour last; None if no file.

    Prices are in 1/10000 dollar. Bars that are not later than the one before are dropped, as LEAN drops them.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            raw = read_whole(zipfile.Path(archive, names[0])) if names else b""
    except Exception as error:  # a damaged archive raises any of a dozen types
        raise _unreadable(path, error) from None
    table = _as_written(raw)
    if table is None:
        raw = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not raw.strip():
            return np.empty((0, 7 if with_hours else 6), dtype=np.int64)
        table = _numbers(raw)
    if table is not None and not _possible(table):
        table = None
    ordinals = _ordinals(table) if table is not None else None
    if table is None or ordinals is None:
        raise DataError(f"{path}, {_first_bad_line(raw)}: correct it, or get or make the file again")
    moments = ordinals * 24 + table[:, 1] if with_hours else ordinals
    columns = [ordinals, *table.T[2:]]
    if with_hours:
        columns.append(table[:, 1])
    bars: NDArray[np.int64] = np.stack(columns, axis=1)
    later = np.ones(len(moments), dtype=bool)
    later[1:] = moments[1:] > np.maximum.accumulate(moments)[:-1]
    if not later.all():
        bars = bars[later]
    return bars


_SEPARATORS = np.frombuffer(b" :,,,,,\n", dtype=np.uint8)
_BLANKS = bytes.maketrans(b":,\n", b"   ")


def _as_written(raw: bytes) -> NDArray[np.int64] | None:
    """(T, 7) yyyyMMdd, hour, open, high, low, close, volume, of a file that has nothing but digits and the eight
    separators of each line; None for any other."""
    if not raw.endswith(b"\n"):
        raw += b"\n"
    characters = np.frombuffer(raw, dtype=np.uint8)
    at = np.flatnonzero(characters - ord("0") > 9)  # unsigned: what comes before the digits is above them too
    if len(at) % 8:
        return None
    lengths = (np.diff(at, prepend=-1) - 1).reshape(-1, 8)
    if not (characters[at].reshape(-1, 8) == _SEPARATORS).all() or lengths.min() < 1 or lengths.max() > 18:
        return None
    if (lengths[:, 0] != 8).any() or lengths[:, 1].max() > 2 or (lengths[:, 2] != 2).any():
        return None
    cells: NDArray[np.int64] = np.fromstring(raw.translate(_BLANKS), dtype=np.int64, sep=" ").reshape(-1, 8)
    table: NDArray[np.int64] = cells[:, [0, 1, 3, 4, 5, 6, 7]]
    return None if cells[:, 2].any() else table  # the minutes


def _numbers(raw: bytes) -> NDArray[np.int64] | None:
    """The same, of a file that may have blank lines, more spaces, and whole numbers that are written as 1000.0."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    if not all(_BAR.fullmatch(line) for line in lines):
        return None
    return _as_written(b"\n".join(b" ".join(re.sub(rb"\.0+", b"", line).split()) for line in lines))


def _possible(table: NDArray[np.int64]) -> bool:
    """Whether hours are of a day, prices above zero and below the highest, volumes not negative."""
    least, most = table.min(axis=0), table.max(axis=0)
    prices_are = least[2:6].min() > 0 and most[2:6].max() < _HIGHEST_PRICE
    return bool(least[1] >= 0 and most[1] < 24 and prices_are and least[6] >= 0)


def _ordinals(table: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """(T,) proleptic ordinals of the dates in the first column; None where one is no date."""
    stamps = table[:, 0]
    if stamps.min() < _YEARS[0] * 10000 or stamps.max() > (_YEARS[1] + 1) * 10000:
        return None
    years_and_months, days_of_month = np.divmod(stamps, 100)
    years, months_of_year = np.divmod(years_and_months, 100)
    months = (years * 12 + months_of_year - 1 - 1970 * 12).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (days_of_month - 1)
    if months_of_year.min() < 1 or months_of_year.max() > 12 or (days.astype("datetime64[M]") != months).any():
        return None
    ordinals: NDArray[np.int64] = days.astype(np.int64) + _EPOCH
    return ordinals


_BAR = re.compile(rb" *([0-9]{8}) +(?:[01]?[0-9]|2[0-3]):00((?:,[0-9]{1,18}(?:\.0+)?){4}),[0-9]{1,18}(?:\.0+)? *")


def _first_bad_line(raw: bytes) -> str:
    for number, line in enumerate(raw.split(b"\n"), 1):
        found = _BAR.fullmatch(line)
        if not line.strip():
            continue
        shown = f"line {number}: {line[:80].decode('utf-8', 'replace')!r}"
        if not found:
            return f"{shown} is not yyyyMMdd HH:mm,open,high,low,close,volume in whole numbers"
        try:
            parse_date(found[1].decode())
        except ValueError:
            return f"{shown} has no date between {_YEARS[0]} and {_YEARS[1]}"
        if not all(0 < float(price) < _HIGHEST_PRICE for price in found[2][1:].split(b",")):
            return f"{shown} has a price that is not above zero and below ten billion dollars"
    return "a line is not yyyyMMdd HH:mm,open,high,low,close,volume in whole numbers"


def read_whole(file: File) -> bytes:
    """The bytes of a file, packed or not. Raises ValueError where there are more than any file of a data folder has."""
    with file.open("rb") as stream:
        content = stream.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"it is larger than {_LARGEST_FILE:,} bytes")
    return content


def _unreadable(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive} is not a readable zip file ({error}): get it or make it again")


def _lines(path: File) -> Iterator[tuple[int, list[str]]]:
    """Numbered, non-blank lines of a small csv file, split at commas."""
    try:
        text = read_whole(path).decode("utf-8-sig")
    except Exception as error:  # what is damaged inside an archive raises any of a dozen types
        raise DataError(f"{path} cannot be read ({error}): get it or make it again") from None
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if line.strip():
            yield number, [cell.strip() for cell in line.split(",")]


def _refusal(path: File, number: int, cells: list[str], columns: str) -> DataError:
    return DataError(
        f"{path}, line {number}: {','.join(cells)[:120]!r} is not {columns}: correct it, or get or make the file again"
    )


@functools.lru_cache(maxsize=4096)
def _symbol(sid: str, ticker: str) -> Symbol:
    return Symbol(SecurityIdentifier.parse(sid), ticker)


@functools.lru_cache(maxsize=4096)
def _moment(text: str) -> datetime | None:
    """00:00 of a date; None where it is none."""
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day)


@functools.lru_cache(maxsize=4096)
def parse_date(text: str) -> date:
    """yyyyMMdd, within the years that make sense for a market. Raises ValueError for anything else."""
    if not re.fullmatch("[0-9]{8}", text) or not _YEARS[0] <= int(text[:4]) <= _YEARS[1]:
        raise ValueError(f"{text!r} is not a date yyyyMMdd")
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def _decimal(text: str) -> Decimal:
    """The .NET decimal of a text, its scale as written. Raises ValueError for anything else."""
    found = _NUMBER.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a number")
    number = Decimal(text)
    if not found[2]:
        return number
    if number.adjusted() > 27:
        raise ValueError(f"{text!r} is too large")
    return plain(number)
