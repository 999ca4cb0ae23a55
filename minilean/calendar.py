"""Sessions of the US equity market, from LEAN's market-hours database. All times are naive New York times."""

import functools
import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from minilean.errors import DataError

NEW_YORK = ZoneInfo("America/New_York")
OPEN = time(9, 30)
CLOSE = time(16, 0)
_UTC = ZoneInfo("UTC")
_ENTRY = "Equity-usa-[*]"
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@functools.lru_cache(maxsize=4096)
def _utc_offset(day: date, hour: int) -> timedelta:
    return datetime(day.year, day.month, day.day, hour, tzinfo=NEW_YORK).utcoffset() or timedelta()


def to_utc(local: datetime) -> datetime:
    """Naive UTC for a naive New York time."""
    return local - _utc_offset(local.date(), local.hour)


def to_new_york(utc: datetime) -> datetime:
    """Naive New York time for a naive UTC time."""
    return utc.replace(tzinfo=_UTC).astimezone(NEW_YORK).replace(tzinfo=None)


class MarketCalendar:
    """Which days have a session, and when it closes.

    holidays: dates without a session; early_closes: date -> closing time.
    """

    def __init__(self, holidays: set[date], early_closes: dict[date, time], weekdays: set[int]):
        self._holidays = holidays
        self._early = early_closes
        self._weekdays = weekdays

    @classmethod
    def read(cls, data_folder: Path) -> "MarketCalendar":
        path = data_folder / "market-hours" / "market-hours-database.json"
        try:
            entry = json.loads(path.read_text(encoding="utf-8-sig"))["entries"][_ENTRY]
        except FileNotFoundError:
            raise DataError(f"{path} is missing: it is part of every LEAN data folder") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} has no usable entry {_ENTRY}: {type(error).__name__} {error}") from None
        try:
            holidays = {_us_date(text) for text in entry.get("holidays", ())}
            early = {_us_date(day): time.fromisoformat(text) for day, text in entry.get("earlyCloses", {}).items()}
            weekdays = {
                number
                for number, name in enumerate(_WEEKDAYS)
                if any(segment["state"] == "market" for segment in entry.get(name, ()))
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}, entry {_ENTRY}, cannot be read: {error}") from None
        return cls(holidays, early, weekdays)

    def is_session(self, day: date) -> bool:
        return day.weekday() in self._weekdays and day not in self._holidays

    def close(self, day: date) -> datetime:
        """When the session of that day ends."""
        return datetime.combine(day, self._early.get(day, CLOSE))

    def open(self, day: date) -> datetime:
        return datetime.combine(day, OPEN)

    def is_open(self, now: datetime) -> bool:
        day = now.date()
        return self.is_session(day) and self.open(day) <= now < self.close(day)

    @functools.lru_cache(maxsize=16)  # noqa: B019 - one calendar lives as long as its run
    def sessions(self, first: date, last: date) -> tuple[date, ...]:
        """All sessions from first to last, both included."""
        days = (date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1))
        return tuple(day for day in days if self.is_session(day))

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

    def month_sessions(self, year: int, month: int) -> tuple[date, ...]:
        first = date(year, month, 1)
        following = date(year + month // 12, month % 12 + 1, 1)
        return self.sessions(first, following - timedelta(days=1))


def _us_date(text: str) -> date:
    month, day, year = (int(part) for part in text.split("/"))
    return date(year, month, day)

