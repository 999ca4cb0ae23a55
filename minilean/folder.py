"""The writing half of LEAN's formats: how a data folder of US equities comes to be, whole or not at all.

`formats` reads what is written here. Rows are tuples of what their cells show; days in them are texts yyyyMMdd.
"""

import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from pathlib import Path

import pandas as pd
from pandas.tseries import holiday

from minilean.calendar import MarketCalendar
from minilean.formats import FAR_FUTURE

LAST_DAY = f"{FAR_FUTURE:%Y%m%d}"
"""The day that LEAN writes for an end that has not come."""

_EARLY = time(13, 0)
_HOLIDAYS = (
    holiday.Holiday("New Year's Day", month=1, day=1, observance=holiday.sunday_to_monday),
    holiday.USMartinLutherKingJr,
    holiday.USPresidentsDay,
    holiday.GoodFriday,
    holiday.USMemorialDay,
    holiday.Holiday("Juneteenth", month=6, day=19, start_date="2022-06-19", observance=holiday.nearest_workday),
    holiday.Holiday("Independence Day", month=7, day=4, observance=holiday.nearest_workday),
    holiday.USLaborDay,
    holiday.USThanksgivingDay,
    holiday.Holiday("Christmas", month=12, day=25, observance=holiday.nearest_workday),
)
_CLOSED = """
2001-09-11 2001-09-12 2001-09-13 2001-09-14 2004-06-11 2007-01-02 2012-10-29 2012-10-30 2018-12-05 2025-01-09
"""
"""Attacks, presidents' funerals and a hurricane."""
_SYMBOL_PROPERTIES = (
    "market,symbol,type,description,quote_currency,contract_multiplier,minimum_price_variation,lot_size,market_ticker,"
    "minimum_order_size,price_magnifier,strike_multiplier\nusa,[*],equity,,USD,1,0.01,1\n"
)


class Exchange:
    """The New York Stock Exchange's calendar from 1998 on, by its rules and the days on which it broke them.

    holidays: weekdays without a session; early_closes: those that end at 13:00; both in order.
    """

    def __init__(self, first_year: int, last_year: int, closed: Iterable[date] = ()):
        """closed: further days without a session."""
        span = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
        by_rule = {day.date() for rule in _HOLIDAYS for day in rule.dates(*span) if day.weekday() < 5}
        years = range(first_year, last_year + 1)
        exceptions = {date.fromisoformat(text) for text in _CLOSED.split()}
        self.holidays = sorted(by_rule | {day for day in exceptions if day.year in years} | set(closed))
        thanksgivings = [day.date() for day in holiday.USThanksgivingDay.dates(*span)]
        early = {day + timedelta(days=1) for day in thanksgivings}
        early |= {date(year, month, day) for year in years for month, day in ((7, 3), (12, 24))}
        if 2002 in years:
            early = early - {date(2002, 7, 3)} | {date(2002, 7, 5)}
        if 2003 in years:
            early.add(date(2003, 12, 26))
        self.early_closes = sorted(day for day in early - set(self.holidays) if day.weekday() < 5)

    def calendar(self) -> MarketCalendar:
        return MarketCalendar(set(self.holidays), dict.fromkeys(self.early_closes, _EARLY), set(range(5)))

    def write(self, folder: Path) -> None:
        """The market-hours and the symbol-properties database of a data folder."""
        write_text(folder / "market-hours" / "market-hours-database.json", self._market_hours())
        write_text(folder / "symbol-properties" / "symbol-properties-database.csv", _SYMBOL_PROPERTIES)

    def _market_hours(self) -> str:
        hours = [
            {"start": "04:00:00", "end": "09:30:00", "state": "premarket"},
            {"start": "09:30:00", "end": "16:00:00", "state": "market"},
            {"start": "16:00:00", "end": "20:00:00", "state": "postmarket"},
        ]
        entry = {
            "dataTimeZone": "America/New_York",
            "exchangeTimeZone": "America/New_York",
            "sunday": [],
            **dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), hours),
            "saturday": [],
            "holidays": [_us_date(day) for day in self.holidays],
            "earlyCloses": {_us_date(day): f"{_EARLY}" for day in self.early_closes},
            "lateOpens": {},
        }
        return json.dumps({"entries": {"Equity-usa-[*]": entry}}, indent=2) + "\n"


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to write into; without an exception it takes the place of `folder` at the end."""
    partial, replaced = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("partial", "replaced"))
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
    finally:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def write_bars(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Rows `yyyyMMdd HH:mm, open, high, low, close, volume` as one csv file in a zip file; prices in 1/10000 dollar.

    Neither file carries the time of writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = zipfile.ZipInfo(f"{path.stem}.csv")
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, csv_text(rows))


def factor_file(listed: str, events: Sequence[tuple[str, float, float, float]]) -> str:
    """The factor file of a stock whose map file begins with the day `listed`.

    events, in order: the last session before the ex-day, the close until then in dollars, the dividend in dollars a
    share held then, the split factor (0.5: two new shares for an old one). LEAN multiplies prices up to that session by
    1 - dividend / close and by the split factor.
    """
    rows = [(LAST_DAY, "1", "1", "0")]
    price_factor = split_factor = 1.0
    for day, close, dividend, split in reversed(events):
        price_factor *= 1 - dividend / close
        split_factor *= split
        rows.append((day, _decimal(price_factor), _decimal(split_factor), f"{close:.4f}".removesuffix("00")))
    # LEAN drops the history of a file without a row at the beginning.
    if rows[-1][0] != listed:
        rows.append((listed, _decimal(price_factor), _decimal(split_factor), "1"))
    return csv_text(reversed(rows))


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def _us_date(day: date) -> str:
    return f"{day.month}/{day.day}/{day.year}"


def _decimal(factor: float) -> str:
    """A factor with the seven places of LEAN's files, or as many as show seven digits."""
    places = max(7, 6 - math.floor(math.log10(factor)))
    return f"{factor:.{places}f}".rstrip("0").rstrip(".")
