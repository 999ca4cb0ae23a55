"""Tables of daily bars, CSV or Parquet, as they are found.

Three layouts, told apart by their columns, whose names may be in any case:

* long: date, ticker, open, high, low, close, volume[, dividend, split], any number of files;
* one stock a file: the same without ticker, the file named by it, `AAPL.csv`;
* wide: one file a field, named by it, `open.csv` to `volume.csv`[, `dividend.csv`, `split.csv`], a column a ticker.

A DataError names file, line and column of the first cell that cannot be read.
"""

import importlib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minilean.calendar import NEW_YORK
from minilean.errors import DataError
from minilean.symbols import DEFAULT_FIRST_DATE

FIELDS = ("open", "high", "low", "close", "volume")
ACTIONS = ("dividend", "split")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_TICKER = re.compile(r"[A-Z0-9]+(?:-[A-Z0-9]+|\.[A-Z][A-Z0-9]*)*")
_LONGEST_TICKER = 20
_EMPTY = ["", "nan", "NaN", "NAN", "NA", "N/A", "<NA>", "null", "None", "NaT"]


@dataclass(frozen=True)
class Bars:
    """R daily bars of N stocks in any order, as read and not yet checked.

    tickers: N, upper case; stock: (R,) index of each bar's stock; day: (R,) proleptic ordinals; values: (R, 7) open,
    high, low, close in dollars, volume in shares, dividend in dollars a share held the day before, and split in new
    shares for an old one, both on the ex-day; NaN where a cell is empty.
    cell: (row, field) -> where that value stands; remarks: what was passed over.
    """

    tickers: tuple[str, ...]
    stock: Integers
    day: Integers
    values: Floats
    cell: Callable[[int, str], str]
    remarks: tuple[str, ...] = ()


def read_tables(paths: Sequence[Path]) -> Bars:
    """The bars in one or several files of one layout. Raises DataError."""
    sheets = [Sheet.read(path) for path in paths]
    wide = [sheet for sheet in sheets if not sheet.has("ticker") and not all(sheet.has(name) for name in FIELDS)]
    for sheet in wide:
        if sheet.field not in (*FIELDS, *ACTIONS) or len(wide) < len(sheets):
            raise DataError(
                f"{sheet.name} has the columns {sheet.shown_columns()}: a long table has date, ticker, "
                f"{', '.join(FIELDS)}[, {', '.join(ACTIONS)}]; a wide one has a column a ticker, and is the one of "
                f"several that is named by its field, such as {FIELDS[0]}.csv"
            )
    return _wide({sheet.field: sheet for sheet in wide}, len(wide)) if wide else _long(sheets)


def download(tickers: Iterable[str]) -> Bars:
    """Bars adjusted for dividends and splits by Yahoo, until the day before today. Raises DataError.

    tickers: as Yahoo writes them; BRK-B becomes BRK.B, as LEAN writes it.
    """
    try:
        yfinance: Any = importlib.import_module("yfinance")
    except ImportError:
        raise DataError("--yfinance needs the package yfinance: install it with `pip install yfinance`") from None
    wanted = [ticker.strip().upper() for ticker in tickers]
    try:
        frame = yfinance.download(
            wanted,
            start=f"{DEFAULT_FIRST_DATE}",
            end=f"{datetime.now(NEW_YORK):%Y-%m-%d}",
            auto_adjust=True,
            actions=False,
            progress=False,
        )
    except Exception as error:  # whatever lies between here and Yahoo may fail, each in its way
        raise DataError(f"yfinance cannot download the bars ({_one_line(error)}): try again later") from None
    sheets = {}
    for field in FIELDS:
        if frame is None or field.capitalize() not in frame:
            raise DataError(f"yfinance gave no {field} prices: try again later, or with a newer yfinance")
        table = frame[field.capitalize()].rename(columns=lambda ticker: ticker.replace("-", "."))
        sheets[field] = Sheet(f"yfinance's {field}", field, _with_dates(table), "row", 1)
    bars = _wide(sheets, len(FIELDS))
    absent = sorted({ticker.replace("-", ".") for ticker in wanted} - set(bars.tickers))
    if absent:
        raise DataError(f"yfinance has no bars of {', '.join(absent)}: correct the ticker or leave it out")
    return bars


@dataclass(frozen=True)
class Sheet:
    """One table as read: frame's columns are texts, its index counts the rows of the file; noun, first: their names."""

    name: str
    field: str
    frame: pd.DataFrame
    noun: str
    first: int

    @classmethod
    def read(cls, path: Path) -> "Sheet":
        try:
            if path.suffix.lower() == ".csv":
                frame, noun, first = _read_csv(path), "line", 2
            elif path.suffix.lower() == ".parquet":
                frame, noun, first = _with_dates(pd.read_parquet(path)), "row", 1
            else:
                raise DataError(f"{path} is no .csv and no .parquet file: convert it to one of them")
        except DataError:
            raise
        except pd.errors.ParserWarning:
            raise DataError(f"{path} has lines with more cells than its first line has names: correct it") from None
        except ImportError:
            raise DataError(f"{path} needs the package pyarrow: install it with `pip install pyarrow`") from None
        except Exception as error:  # a damaged file raises any of a dozen types
            raise DataError(f"{path} cannot be read ({_one_line(error)}): get it or make it again") from None
        if frame.columns.nlevels > 1:
            raise DataError(f"{path} has columns of several levels: write one file a field, or one long table")
        frame.columns = pd.Index([str(name).strip() for name in frame.columns])
        if path.suffix.lower() == ".csv" and len(frame.columns) and not frame.columns[0]:
            frame.columns = pd.Index(["date", *frame.columns[1:]])  # as pandas writes an index without a name
        texts = [at for at, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
        blank = frame.isna().to_numpy()
        blank[:, texts] |= (frame.iloc[:, texts].astype(str) == "").to_numpy()
        frame = frame[~blank.all(axis=1)]
        sheet = cls(f"{path}", path.stem.lower(), frame, noun, first)
        if not sheet.has("date"):
            raise DataError(f"{path} has no column date (its columns are {sheet.shown_columns()}): give it one")
        if frame.empty:
            raise DataError(f"{path} has no rows: leave it out, or get it or make it again")
        return sheet

    def shown_columns(self) -> str:
        names = list(self.frame.columns)
        return ", ".join(repr(name[:20]) for name in names[:9]) + (", ..." if len(names) > 9 else "")

    def has(self, name: str) -> bool:
        return any(column.lower() == name for column in self.frame.columns)

    def column(self, name: str) -> "pd.Series[Any]":
        """The column of that name, in whatever case it is written."""
        found = [at for at, column in enumerate(self.frame.columns) if column.lower() == name]
        if len(found) != 1:
            how = "several columns" if found else "no column"
            raise DataError(f"{self.name} has {how} {name} (its columns are {self.shown_columns()}): give it one")
        return self.frame.iloc[:, found[0]]

    def cell(self, row: int, column: str) -> str:
        return f"{self.name}, {self.noun} {int(self.frame.index[row]) + self.first}, column {column}"

    def days(self) -> Integers:
        """(R,) ordinals of the column date, of a moment with a time zone the day in New York."""
        codes, texts = _distinct(self.column("date"))
        ordinals = np.array([_ordinal(text) for text in texts], dtype=np.int64)[codes]
        self._refuse(ordinals < 0, "date", lambda row: f"is {texts[codes[row]]!r}, no date such as 2009-06-01")
        return ordinals

    def tickers(self) -> tuple[Integers, list[str]]:
        """(R,) index into the tickers of the column ticker, and those."""
        codes, texts = _distinct(self.column("ticker"))
        names = [as_ticker(text) for text in texts]
        unusable = np.array([name is None for name in names], dtype=bool)[codes]
        self._refuse(unusable, "ticker", lambda row: no_ticker(texts[codes[row]]))
        numbers: dict[str, int] = {}
        number_of = np.array([numbers.setdefault(f"{name}", len(numbers)) for name in names], dtype=np.int64)
        return number_of[codes], list(numbers)

    def numbers(self, column: "pd.Series[Any]") -> Floats:
        """(R,) values of a column; NaN where a cell is empty."""
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        texts = column.astype(str).str.strip()
        empty = (column.isna() | texts.isin(_EMPTY)).to_numpy()
        numbers = pd.to_numeric(texts.where(~empty), errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.isnan(numbers) & ~empty
        self._refuse(wrong, f"{column.name}", lambda row: f"is {texts.iloc[row][:40]!r}, no number")
        return numbers

    def _refuse(self, wrong: NDArray[np.bool_], column: str, what: Callable[[int], str]) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{self.cell(row, column)}, {what(row)}: correct it or leave the row out")


def _read_csv(path: Path) -> pd.DataFrame:
    """Columns that are called date or ticker, and the first one, as texts; of the others numbers where they are."""
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    names = [str(name).strip() for name in header.iloc[0]]
    texts = {at for at, name in enumerate(names) if name.lower() in ("date", "ticker") or not at}
    empty: Any = {at: _EMPTY for at in range(len(names)) if at not in texts}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: Any = pd.read_csv(
            path,
            header=0,
            names=range(len(names)),
            index_col=False,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values=empty,
            skip_blank_lines=False,
            low_memory=False,
            encoding="utf-8-sig",
        )
    frame.columns = pd.Index(names)
    return pd.DataFrame(frame)


def _with_dates(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with its index as columns; one without a name is the date, unless there is one."""
    named = any(name is not None for name in frame.index.names)
    has_date = any(str(name).strip().lower() == "date" for name in frame.columns)
    if not named and (has_date or isinstance(frame.index, pd.RangeIndex)):
        return frame.reset_index(drop=True)
    return frame.rename_axis([name or "date" for name in frame.index.names]).reset_index()


def _distinct(column: "pd.Series[Any]") -> tuple[Integers, list[str]]:
    """(R,) index into the distinct texts of a column, and those."""
    if column.dtype == object:
        column = column.astype(str)
    codes, values = pd.factorize(column, use_na_sentinel=False)
    return codes.astype(np.int64), [str(value) for value in values]


def _ordinal(text: str) -> int:
    """The day of an ISO date or moment, in New York where it has a time zone; -1 for anything else."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment.astimezone(NEW_YORK) if moment.tzinfo else moment).toordinal()
    except (ValueError, OverflowError):
        return -1


def as_ticker(text: str) -> str | None:
    """The ticker in upper case; None for what cannot be one, or would not be safe as the name of a file."""
    name = text.strip().upper()
    return name if text.isascii() and len(name) <= _LONGEST_TICKER and _TICKER.fullmatch(name) else None


def no_ticker(text: str) -> str:
    return (
        f"is {text[:40]!r}, no ticker: one has letters and digits, with parts after . or - such as BRK.B, and at most "
        f"{_LONGEST_TICKER} characters"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]


def _long(sheets: Sequence[Sheet]) -> Bars:
    numbers: dict[str, int] = {}
    stocks, days, values = [], [], []
    for sheet in sheets:
        if sheet.has("ticker"):
            codes, names = sheet.tickers()
        else:
            name = as_ticker(Path(sheet.name).stem)
            if name is None:
                raise DataError(
                    f"{sheet.name} has no column ticker, and its name {no_ticker(Path(sheet.name).stem)}: "
                    "give it the column, or the ticker as its name"
                )
            codes, names = np.zeros(len(sheet.frame), dtype=np.int64), [name]
        stocks.append(np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)[codes])
        days.append(sheet.days())
        columns = [sheet.numbers(sheet.column(name)) for name in FIELDS]
        columns += [
            sheet.numbers(sheet.column(name)) if sheet.has(name) else np.full(len(codes), np.nan) for name in ACTIONS
        ]
        values.append(np.stack(columns, axis=1))
    begins = np.cumsum([0, *map(len, days)])

    def cell(row: int, field: str) -> str:
        sheet = int(np.searchsorted(begins, row, side="right")) - 1
        return sheets[sheet].cell(row - int(begins[sheet]), field)

    known = {"date", "ticker", *FIELDS, *ACTIONS}
    others = sorted({name for sheet in sheets for name in sheet.frame.columns if name.lower() not in known})
    remarks = (f"columns passed over: {', '.join(others)[:200]}",) if others else ()
    return Bars(tuple(numbers), np.concatenate(stocks), np.concatenate(days), np.concatenate(values), cell, remarks)


def _wide(sheets: Mapping[str, Sheet], n_files: int) -> Bars:
    """sheets: by field; n_files: how many there were, of which no two may have one field."""
    missing = [name for name in FIELDS if name not in sheets]
    if missing or n_files > len(sheets):
        raise DataError(
            f"{', '.join(sheet.name for sheet in sheets.values())}: a wide table is one file for each of "
            f"{', '.join(FIELDS)}" + (f", and there is none of {', '.join(missing)}" if missing else ", and no two")
        )
    tickers: dict[str, int] = {}
    columns: dict[str, list[tuple[int, int]]] = {}  # by field: position in the file, number of the ticker
    for field, sheet in sheets.items():
        names = [(at, str(name)) for at, name in enumerate(sheet.frame.columns) if str(name).lower() != "date"]
        for _, name in names:
            if as_ticker(name) is None:
                raise DataError(f"{sheet.name}, the name of a column {no_ticker(name)}: correct it or leave it out")
        columns[field] = [(at, tickers.setdefault(f"{as_ticker(name)}", len(tickers))) for at, name in names]
        if len({number for _, number in columns[field]}) < len(names):
            raise DataError(f"{sheet.name} has two columns of one ticker: leave one of them out")
    days = {field: sheet.days() for field, sheet in sheets.items()}
    for field, sheet in sheets.items():
        repeated = pd.Series(days[field]).duplicated().to_numpy()
        if repeated.any():
            where = sheet.cell(int(repeated.argmax()), "date")
            raise DataError(f"{where}, is a date that stands there before: leave one of the rows out")
    grid = np.unique(np.concatenate(list(days.values())))
    cube = np.full((len(grid), len(tickers), len(FIELDS) + len(ACTIONS)), np.nan)
    for field, sheet in sheets.items():
        rows = np.searchsorted(grid, days[field])
        for at, number in columns[field]:
            cube[rows, number, (*FIELDS, *ACTIONS).index(field)] = sheet.numbers(sheet.frame.iloc[:, at])
    row_of, stock = np.nonzero(~np.isnan(cube).all(axis=2))
    names_of = list(tickers)

    def cell(row: int, field: str) -> str:
        day = grid[row_of[row]]
        sheet = sheets.get(field, sheets["close"])
        found = np.flatnonzero(days[sheet.field] == day)
        if not len(found):
            return f"{sheet.name}, {date.fromordinal(int(day))}, column {names_of[stock[row]]}"
        return sheet.cell(int(found[0]), names_of[stock[row]])

    present, stock_of = np.unique(stock, return_inverse=True)
    return Bars(tuple(names_of[n] for n in present), stock_of, grid[row_of], cube[row_of, stock], cell)
