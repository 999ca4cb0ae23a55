"""Sessions of the US equity market, from LEAN's market-hours database. All times are naive New York times."""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from minilean.errors import DataError
from minilean.formats import read_whole

NEW_YORK = ZoneInfo("America/New_York")
OPEN = time(9, 30)
CLOSE = time(16, 0)
_UTC = ZoneInfo("UTC")
_EPOCH = date(1970, 1, 1).toordinal()
_ENTRY = "Equity-usa-[*]"
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


_SETTLED = 3
"""The hour from which on the clocks of a day are not changed any more."""


@functools.lru_cache(maxsize=4096)
def _utc_offset(day: date, hour: int) -> timedelta:
    return datetime(day.year, day.month, day.day, hour, tzinfo=NEW_YORK).utcoffset() or timedelta()


@functools.lru_cache(maxsize=1024)
def to_utc(local: datetime) -> datetime:
    """Naive UTC for a naive New York time."""
    hour = local.hour
    return local - _utc_offset(local.date(), hour if hour < _SETTLED else _SETTLED)


def to_new_york(utc: datetime) -> datetime:
    """Naive New York time for a naive UTC time."""
    return utc.replace(tzinfo=_UTC).astimezone(NEW_YORK).replace(tzinfo=None)


class Session(NamedTuple):
    """When a session begins and ends, in New York and in UTC."""

    open: datetime
    close: datetime
    utc_open: datetime
    utc_close: datetime


class MarketCalendar:
    """Which days have a session, and when it opens and closes: 09:30 to 16:00 but for the days that are named.

    holidays: dates without a session; early_closes, late_opens: date -> time; weekdays: 0 for Monday.
    """

    def __init__(
        self,
        holidays: set[date],
        early_closes: dict[date, time],
        weekdays: set[int],
        late_opens: Mapping[date, time] = MappingProxyType({}),
    ):
        self._holidays = holidays
        self._early = early_closes
        self._late = late_opens
        self._weekdays = weekdays

    @classmethod
    def read(cls, data_folder: Path) -> "MarketCalendar":
        """The calendar of US equities; raises DataError where the folder has none that can be used."""
        path = data_folder / "market-hours" / "market-hours-database.json"
        try:
            content = json.loads(read_whole(path).decode("utf-8-sig"))
        except FileNotFoundError:
            raise DataError(f"{path} is missing: it is part of every LEAN data folder, copy it from another") from None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path} is not readable JSON ({error}): copy it from another LEAN data folder") from None
        try:
            entry = content["entries"][_ENTRY]
            holidays = {_us_date(text) for text in entry.get("holidays") or ()}
            early, late = (
                {_us_date(day): _time(text) for day, text in (entry.get(name) or {}).items()}
                for name in ("earlyCloses", "lateOpens")
            )
            weekdays = {number for number, name in enumerate(_WEEKDAYS) if _has_session(entry.get(name) or ())}
            for day in early | late:
                if late.get(day, OPEN) >= early.get(day, CLOSE):
                    raise ValueError(f"the session of {day} ends before it begins")
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
            what = f"{type(error).__name__} {error}"
            raise DataError(f"{path} has no usable entry {_ENTRY} ({what}): copy it from another folder") from None
        return cls(holidays, early, weekdays, late)

    def is_session(self, day: date) -> bool:
        return day.weekday() in self._weekdays and day not in self._holidays

    def has_holidays(self, year: int) -> bool:
        """Whether the database names any holiday of that year: every year has some."""
        return any(day.year == year for day in self._holidays)

    def are_sessions(self, ordinals: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`is_session` of many days at once, by proleptic ordinal; none is later than 2200."""
        return self._by_ordinal[ordinals]

    @functools.cached_property
    def _by_ordinal(self) -> NDArray[np.bool_]:
        week = np.array([(ordinal + 6) % 7 in self._weekdays for ordinal in range(7)])
        found = np.tile(week, date(2201, 1, 1).toordinal() // 7)
        found[[ordinal for day in self._holidays if (ordinal := day.toordinal()) < len(found)]] = False
        return found

    def are_open(self, ordinals: NDArray[np.int64], hours: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the session of each day is on in the hour that begins then; all days have one."""
        ends = np.full(len(ordinals), CLOSE.hour)
        for at, close in self._early_among(ordinals):
            ends[at] = close.hour + (close.minute > 0)
        return (hours >= OPEN.hour) & (hours < ends)

    def closes(self, ordinals: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """`close` of many days at once, by proleptic ordinal, in nanoseconds."""
        found: NDArray[np.datetime64] = (ordinals - _EPOCH).astype("datetime64[D]").astype("datetime64[ns]")
        found += np.timedelta64(CLOSE.hour, "h")
        for at, close in self._early_among(ordinals):
            found[at] = datetime.combine(date.fromordinal(ordinals.item(at)), close)
        return found

    def _early_among(self, ordinals: NDArray[np.int64]) -> Iterator[tuple[int, time]]:
        """(place, close) of those days that end early."""
        early = {day.toordinal(): close for day, close in self._early.items()}
        for at in np.flatnonzero(np.isin(ordinals, list(early))).tolist():
            yield at, early[ordinals.item(at)]

    def close(self, day: date) -> datetime:
        """When the session of that day ends."""
        return datetime.combine(day, self._early.get(day, CLOSE))

    def open(self, day: date) -> datetime:
        """When the session of that day begins."""
        return datetime.combine(day, self._late.get(day, OPEN))

    @functools.lru_cache(maxsize=256)  # noqa: B019 - one calendar lives as long as its run
    def session(self, day: date) -> Session:
        begin, end = self.open(day), self.close(day)
        return Session(begin, end, to_utc(begin), to_utc(end))

    @functools.lru_cache(maxsize=16)  # noqa: B019 - one calendar lives as long as its run
    def is_open(self, now: datetime) -> bool:
        day = now.date()
        return self.is_session(day) and self.open(day) <= now < self.close(day)

    @functools.lru_cache(maxsize=16)  # noqa: B019 - one calendar lives as long as its run
    def sessions(self, first: date, last: date) -> tuple[date, ...]:
        """All sessions from first to last, both included."""
        days = (date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1))
        return tuple(day for day in days if self.is_session(day))

    def ordinals(self, first: date, last: date) -> NDArray[np.int64]:
        """(T,) proleptic ordinals of those."""
        days = np.arange(first.toordinal(), last.toordinal() + 1)
        holidays = [day.toordinal() for day in self._holidays]
        return days[np.isin((days + 6) % 7, list(self._weekdays)) & ~np.isin(days, holidays)]

    def next_session(self, day: date) -> date:
        """The first session after that day."""
        return self._step(day, 1)

    def previous_session(self, day: date) -> date:
        """The last session before that day."""
        return self._step(day, -1)

    def _step(self, day: date, direction: int) -> date:
        for _ in range(30):
            day += timedelta(days=direction)
            if self.is_session(day):
                return day
        raise DataError(f"the market-hours database has no session within a month of {day}")


def _has_session(segments: Iterable[Mapping[str, str]]) -> bool:
    """Whether a weekday has a session. Raises ValueError for hours other than those of US equities."""
    found = [(segment["start"], segment["end"]) for segment in segments if segment["state"] == "market"]
    if found and found != [(f"{OPEN}", f"{CLOSE}")]:
        raise ValueError(f"sessions are {OPEN} to {CLOSE}, not {found}")
    return bool(found)


def _time(text: str) -> time:
    """HH:mm or HH:mm:ss; Python's ISO formats have time zones, and 13, which LEAN takes for days."""
    if not re.fullmatch("[0-9]{2}:[0-9]{2}(:[0-9]{2})?", text):
        raise ValueError(f"{text!r} is not a time HH:mm:ss")
    return time.fromisoformat(text)


def _us_date(text: str) -> date:
    month, day, year = (int(part) for part in text.split("/"))
    return date(year, month, day)
