"""The file formats of a LEAN data folder, read row by row into plain values.

What LEAN reads past without harm is read past here too: byte-order marks, all line ends, blank lines, rows out of
order, rows that repeat a date (the first stays), bars that go back in time (dropped), factor rows that LEAN leaves out
(`inf`, `e+`, not above zero), columns too many, dates of last update that are none. What LEAN would read wrongly or
give up on in its log alone is refused: a DataError names the file, the line and the remedy.
"""

import functools
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import IO

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
_SMALL_FILE = 1 << 18
"""What is asked for at first: room for the largest one takes longer to get than most files take to read."""


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


class Constituent(tuple[Symbol, Sequence[str]]):
    """One row of an ETF constituents file: its symbol, and last update, weight, shares held and market value as they
    are written. They are read when asked for; None where the cell is empty."""

    __slots__ = ()

    @property
    def symbol(self) -> Symbol:
        return self[0]

    @property
    def last_update(self) -> datetime | None:
        return _moment(self[1][0])

    @property
    def weight(self) -> Decimal | None:
        return self.amount(1)

    @property
    def shares_held(self) -> Decimal | None:
        return self.amount(2)

    @property
    def market_value(self) -> Decimal | None:
        return self.amount(3)

    def amount(self, column: int) -> Decimal | None:
        cell = self[1][column]
        return _decimal(cell) if cell else None


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
    for number, cells in _lines(_text(path)):
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
    if not path.exists():
        return ()
    text = _text(path)
    rows = {row.day: row for row in reversed(_usual_factors(text) or _factors(path, text))}
    return tuple(rows[day] for day in sorted(rows))


def _usual_factors(text: str) -> list[FactorRow]:
    """Rows of a file without anything unusual; none of any other."""
    cells = _columns(text, _FACTOR_ROWS, 4)
    with suppress(ValueError):
        rows = [FactorRow(parse_date(day), *map(Decimal, numbers)) for day, *numbers in zip(*cells, strict=True)]
        if all(_FACTORS[0] <= row.price_factor * row.split_factor <= _FACTORS[1] for row in rows):
            return rows
    return []


def _factors(path: File, text: str) -> list[FactorRow]:
    rows = []
    for number, cells in _lines(text):
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
            rows.append(row)
    return rows


def read_constituents(path: Path) -> list[Constituent]:
    """Rows of one constituents file, in file order."""
    text = _text(path)
    columns = _columns(text, _CONSTITUENT_ROWS, 6)
    if columns:
        tickers, sids, *cells = columns
        with suppress(ValueError):
            return list(map(Constituent, zip(map(_symbol, sids, tickers), zip(*cells, strict=True), strict=True)))
    found = []
    for number, line in _lines(text):
        try:
            ticker, sid, *amounts = line
            if len(amounts) < 4:
                raise ValueError("too few columns")
            row = Constituent((_symbol(sid, ticker), amounts))
            for column in (1, 2, 3):
                row.amount(column)
        except ValueError:
            raise _refusal(path, number, line, "ticker,SID,date,weight,shares,value") from None
        found.append(row)
    return found


def read_interest_rates(path: Path) -> list[tuple[date, Decimal]]:
    """(day, rate as a fraction) since when it held, by day, of several on one day the last; empty if no file."""
    rates: dict[date, Decimal] = {}
    for number, cells in _lines(_text(path)) if path.exists() else ():
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
            raw = b""
            for name in archive.namelist()[:1]:
                if not name or name.endswith("/"):
                    raise IsADirectoryError(zipfile.Path(archive, name))
                raw = _content(archive.open(name))
    except Exception as error:  # a damaged archive raises any of a dozen types
        raise _unreadable(path, error) from None
    table = _as_written(raw, with_hours)
    if table is None:
        raw = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not raw.strip():
            return np.empty((0, 7 if with_hours else 6), dtype=np.int64)
        table = _numbers(raw, with_hours)
    if table is None:
        raise DataError(f"{path}, {_first_bad_line(raw)}: correct it, or get or make the file again")
    moments = table[0] * 24 + table[6] if with_hours else table[0]
    if not (moments[1:] > moments[:-1]).all():
        table = table[:, np.append(True, moments[1:] > np.maximum.accumulate(moments)[:-1])]
    return table.T


_ZERO = np.uint8(ord("0"))
_SEPARATORS = (np.frombuffer(b" :,,,,,\n", dtype=np.uint8) - _ZERO).view(np.uint64)
"""The eight of a line, in one word."""
_MOST_DIGITS = 18
_POWERS = 10 ** np.minimum(np.arange(_MOST_DIGITS + 1, dtype=np.uint32), 8)
"""By how many digits a number has: what the last eight of them are less than."""


def _as_written(raw: bytes, with_hours: bool) -> NDArray[np.int64] | None:
    """(6 or 7, T) the bars of a file that has nothing but digits and the eight separators of each line, hours of two
    digits; None for any other, and where one has a date, a time or a price that cannot be."""
    if not raw.endswith(b"\n"):
        raw += b"\n"
    digits = np.frombuffer(raw, dtype=np.uint8) - _ZERO
    at = np.flatnonzero(digits > 9)  # unsigned: what comes before the digits is above them too
    if len(at) % 8 or not (digits[at].view(np.uint64) == _SEPARATORS).all():
        return None
    digits[at] = 0
    ends = np.ascontiguousarray(at.reshape(-1, 8).T)
    day, hour, minute, ends = ends[0], ends[1], ends[2], ends[3:]
    begins = np.append(-1, ends[-1, :-1])
    if (day - begins != 9).any() or (hour - day != 3).any() or (minute - hour != 3).any():
        return None
    lengths = np.empty_like(ends)
    np.subtract(ends[0], minute, out=lengths[0])
    np.subtract(ends[1:], ends[:-1], out=lengths[1:])
    lengths -= 1
    longest = lengths.max()
    if lengths.min() < 1 or longest > _MOST_DIGITS:
        return None
    twos = digits[:-1] * np.uint8(10)  # the numbers that the two, and the four, characters from each on make
    twos += digits[1:]
    fours = np.multiply(twos[:-2], 100, dtype=np.uint16)
    fours += twos[2:]
    ordinals = _ordinals(fours.take(day - 8), twos.take(day - 4), twos.take(day - 2))
    hours = twos.take(hour - 2)
    if ordinals is None or hours.max() > 23 or twos.take(minute - 2).any():
        return None
    table = np.empty((7 if with_hours else 6, len(day)), dtype=np.int64)
    table[0], table[6:] = ordinals, hours
    cells = table[1:6]
    cells[:] = _numbers_before(ends, lengths, fours)
    for done in (8, 16):
        if longest > done:
            longer = lengths > done
            cells[longer] += _numbers_before(ends[longer] - done, lengths[longer] - done, fours) * 10**done
    return table if cells[:4].min() > 0 and cells[:4].max() < _HIGHEST_PRICE else None


def _numbers_before(
    ends: NDArray[np.int64], lengths: NDArray[np.int64], fours: NDArray[np.uint16]
) -> NDArray[np.int64]:
    """What the last characters before some places make, at most eight of them; fours: what the four from each on do."""
    eights = np.multiply(fours.take(ends - 8), 10000, dtype=np.uint32)
    eights += fours.take(ends - 4)
    eights %= _POWERS.take(lengths)
    return eights.astype(np.int64)


def _numbers(raw: bytes, with_hours: bool) -> NDArray[np.int64] | None:
    """The same of a file that may have blank lines, more spaces, hours of one digit, and whole numbers that are
    written as 1000.0."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    if not all(_BAR.fullmatch(line) for line in lines):
        return None
    plainly = (b" ".join(re.sub(rb"\.0+", b"", line).split()) for line in lines)
    return _as_written(b"\n".join(re.sub(b" ([0-9]:)", rb" 0\1", line) for line in plainly), with_hours)


_MONTHS = np.arange(f"{_YEARS[0]}", f"{_YEARS[1] + 1}-02", dtype="datetime64[M]")
_MONTH_STARTS: NDArray[np.int64] = _MONTHS.astype("datetime64[D]").astype(np.int64) + _EPOCH
"""Ordinals of the first days of the months of all years, and of the month after them."""


def _ordinals(
    years: NDArray[np.uint16], months: NDArray[np.uint8], days: NDArray[np.uint8]
) -> NDArray[np.int64] | None:
    """(T,) proleptic ordinals of dates; None where one is no date."""
    if years.min() < _YEARS[0] or years.max() > _YEARS[1] or months.min() < 1 or months.max() > 12 or days.min() < 1:
        return None
    at = years.astype(np.int64) * 12 + months - (_YEARS[0] * 12 + 1)
    ordinals: NDArray[np.int64] = _MONTH_STARTS.take(at) + days - 1
    return ordinals if (ordinals < _MONTH_STARTS.take(at + 1)).all() else None


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
    return _content(file.open("rb"))


def _content(stream: IO[bytes]) -> bytes:
    with stream:
        content = stream.read(_SMALL_FILE)
        if len(content) == _SMALL_FILE:
            content += stream.read(_LARGEST_FILE + 1 - _SMALL_FILE)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"it is larger than {_LARGEST_FILE:,} bytes")
    return content


def _unreadable(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive} is not a readable zip file ({error}): get it or make it again")


def _text(path: File) -> str:
    """The text of a small csv file, every line end a line feed."""
    try:
        text = read_whole(path).decode("utf-8-sig")
    except Exception as error:  # what is damaged inside an archive raises any of a dozen types
        raise DataError(f"{path} cannot be read ({error}): get it or make it again") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Numbered, non-blank lines, split at commas."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, [cell.strip() for cell in line.split(",")]


_FACTOR_ROWS = re.compile(r"(?:[0-9]{8}(?:,[0-9]{1,12}+(?:\.[0-9]{1,12}+)?+){3}\n)++")
_CONSTITUENT_ROWS = re.compile(
    r"(?:[^\s,]++,[^\s,]++ [0-9A-Z]++,[0-9]*+(?:,(?:[0-9]{1,28}+(?:\.[0-9]{1,28}+)?+)?+){3}\n)++"
)


def _columns(text: str, usual: re.Pattern[str], width: int) -> list[list[str]]:
    """The cells of a file by column, where all its rows are as they usually are; none of any other."""
    text = text.rstrip("\n") + "\n"
    if not usual.fullmatch(text):
        return []
    cells = text.replace("\n", ",").split(",")
    return [cells[column:-1:width] for column in range(width)]


def _refusal(path: File, number: int, cells: list[str], columns: str) -> DataError:
    return DataError(
        f"{path}, line {number}: {','.join(cells)[:120]!r} is not {columns}: correct it, or get or make the file again"
    )


@functools.lru_cache(maxsize=4096)
def _symbol(sid: str, ticker: str) -> Symbol:
    """Raises ValueError for what is no identifier or no ticker."""
    if not is_ticker(ticker):
        raise ValueError(f"{ticker!r} is no ticker")
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
