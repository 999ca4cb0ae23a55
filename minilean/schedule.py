"""Scheduled events: LEAN's date rules and time rules for a US equity calendar. All times are naive New York times."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any

from minilean.calendar import NEW_YORK, MarketCalendar
from minilean.enums import DayOfWeek
from minilean.errors import NotInHost
from minilean.members import LeanObject, lean
from minilean.system import ArgumentOutOfRangeException


@lean("QuantConnect.Scheduling", "FuncDateRule")
@dataclass(frozen=True)
class DateRule(LeanObject):
    """A rule's name and, for a range of days, the dates it gives, ascending."""

    name: str
    dates: Callable[[date, date], Iterable[date]]


@lean("QuantConnect.Scheduling", "FuncTimeRule")
@dataclass(frozen=True)
class TimeRule(LeanObject):
    """A rule's name and the moment it gives on a date, None where there is none."""

    name: str
    moment: Callable[[date], datetime | None]


@lean("QuantConnect.Scheduling", "ScheduledEvent")
@dataclass(frozen=True)
class ScheduledEvent(LeanObject):
    """An event of a run; callback takes no arguments."""

    name: str
    callback: Callable[[], object]
    times: Iterator[datetime]

    def __str__(self) -> str:
        return self.name


@lean("QuantConnect.Scheduling", "DateRules")
class DateRules(LeanObject):
    """`self.date_rules`: which days. A symbol makes them sessions; without one they are calendar days."""

    def __init__(
        self, calendar: MarketCalendar, now: Callable[[], datetime], note_symbol: Callable[[object], None]
    ):
        self._calendar = calendar
        self._now = now
        self._note_symbol = note_symbol

    def on(self, *when: Any) -> DateRule:
        """on(year, month, day), on(datetime, ...) or on([datetime, ...])."""
        if isinstance(when[0], int):
            days = [date(*when)]
        else:
            days = sorted(date(d.year, d.month, d.day) for d in _listed(when))
        name = ",".join(f"{day:%m/%d/%Y}" for day in days)
        return DateRule(name, lambda first, last: [day for day in days if first <= day <= last])

    @property
    def today(self) -> DateRule:
        today = self._now()
        return replace(self.on(today.year, today.month, today.day), name="TodayOnly")

    @property
    def tomorrow(self) -> DateRule:
        tomorrow = self._now() + timedelta(days=1)
        return replace(self.on(tomorrow.year, tomorrow.month, tomorrow.day), name="TomorrowOnly")

    def every_day(self, symbol: object = None, extended_market_hours: bool = False) -> DateRule:
        self._note_symbol(symbol)
        return DateRule(_named(symbol, "EveryDay"), lambda first, last: self._days(first, last, symbol))

    def every(self, *days: Any) -> DateRule:
        """every(day, ...) or every([day, ...])."""
        wanted = [int(day) for day in _listed(days)]
        return DateRule(
            ",".join(DayOfWeek(day).net_name for day in wanted),
            lambda first, last: (d for d in self._days(first, last, None) if (d.weekday() + 1) % 7 in wanted)
        )

    # LEAN has each of these as rule(symbol, days_offset, extended_market_hours) and as rule(days_offset). For US
    # equities no day has extended hours alone, so the last argument makes no difference.

    def week_start(self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True) -> DateRule:
        return self._in_each("WeekStart", _week, symbol, days_offset)

    def week_end(self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True) -> DateRule:
        return self._in_each("WeekEnd", _week_to_friday, symbol, days_offset)

    def month_start(self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True) -> DateRule:
        return self._in_each("MonthStart", _month, symbol, days_offset)

    def month_end(self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True) -> DateRule:
        return self._in_each("MonthEnd", _month, symbol, days_offset)

    def quarter_start(
        self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True
    ) -> DateRule:
        return self._in_each("QuarterStart", _quarter, symbol, days_offset)

    def quarter_end(self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True) -> DateRule:
        return self._in_each("QuarterEnd", _quarter, symbol, days_offset)

    def year_start(self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True) -> DateRule:
        return self._in_each("YearStart", _year, symbol, days_offset)

    def year_end(self, symbol: object = None, days_offset: int = 0, extended_market_hours: bool = True) -> DateRule:
        return self._in_each("YearEnd", _year, symbol, days_offset)

    def _days(self, first: date, last: date, symbol: object) -> Iterable[date]:
        if symbol is not None:
            return self._calendar.sessions(first, last)
        return (date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1))

    def _in_each(self, name: str, span: "_Span", symbol: object, days_offset: int) -> DateRule:
        if isinstance(symbol, int):
            days_offset, symbol = symbol, None
        largest = 4 if symbol is not None and name.startswith("Week") else _LARGEST_OFFSET[span]
        if not 0 <= days_offset <= largest:
            raise ArgumentOutOfRangeException(
                "daysOffset", f"DateRules.{name}() : Offset must be between 0 and {largest}"
            )
        self._note_symbol(symbol)
        index, sign = (-1 - days_offset, "-") if name.endswith("End") else (days_offset, "+")
        shown = _named(symbol, f"{name}{sign}{days_offset}" if days_offset else name)
        return DateRule(shown, lambda first, last: self._each(span, first, last, symbol, index))

    def _each(self, span: "_Span", first: date, last: date, symbol: object, index: int) -> Iterator[date]:
        """The index-th day of every week, month, quarter or year, counted within the whole of it."""
        for _, group in itertools.groupby(self._days(span(first)[0], span(last)[1], symbol), key=span):
            days = list(group)
            if span is _year and index >= 0 and date(days[0].year, 1, 1) < (first - timedelta(days=1)).replace(day=1):
                continue  # LEAN looks for beginnings of years from that month on alone
            chosen = days[max(-len(days), min(len(days) - 1, index))]
            if first <= chosen <= last:
                yield chosen


def _listed(arguments: tuple[Any, ...]) -> Iterable[Any]:
    """What a call gives one by one, or as one list."""
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], Iterable) else arguments


def _named(symbol: object, name: str) -> str:
    """LEAN's name of a rule."""
    return name if symbol is None else f"{getattr(symbol, 'value', symbol)}: {name}"


_Span = Callable[[date], tuple[date, date]]
"""First and last day of the week, month, quarter or year that a day is in."""


def _week(day: date) -> tuple[date, date]:
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)


def _week_to_friday(day: date) -> tuple[date, date]:
    """LEAN counts from the end of a week back from its Friday, to the Saturday before."""
    saturday = day - timedelta(days=(day.weekday() + 2) % 7)
    return saturday, saturday + timedelta(days=6)


def _month(day: date) -> tuple[date, date]:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return date(day.year, day.month, 1), following - timedelta(days=1)


def _quarter(day: date) -> tuple[date, date]:
    first = day.month - (day.month - 1) % 3
    return date(day.year, first, 1), _month(date(day.year, first + 2, 1))[1]


def _year(day: date) -> tuple[date, date]:
    return date(day.year, 1, 1), date(day.year, 12, 31)


_LARGEST_OFFSET: dict[_Span, int] = {_week: 6, _week_to_friday: 6, _month: 30, _quarter: 92, _year: 365}


@lean("QuantConnect.Scheduling", "TimeRules")
class TimeRules(LeanObject):
    """`self.time_rules`: which moment of a day. Opens and closes know early closes."""

    def __init__(
        self, calendar: MarketCalendar, now: Callable[[], datetime], note_symbol: Callable[[object], None]
    ):
        self._calendar = calendar
        self._now = now
        self._note_symbol = note_symbol

    def at(self, hour: int | timedelta, minute: Any = 0, second: Any = 0, time_zone: object = None) -> TimeRule:
        """at(hour, minute, [second], [time_zone]) or at(timedelta, [time_zone])."""
        if isinstance(hour, timedelta):
            since_midnight, time_zone = hour, minute or time_zone
        elif isinstance(second, int):
            since_midnight = timedelta(hours=hour, minutes=minute, seconds=second)
        else:
            since_midnight, time_zone = timedelta(hours=hour, minutes=minute), second
        if time_zone is not None and str(time_zone) != NEW_YORK.key:
            raise NotInHost(f"time_rules.at(..., {time_zone})")
        hours = since_midnight / timedelta(hours=1)
        return TimeRule(
            f"{hours:.2f}".rstrip("0").rstrip("."), lambda day: datetime.combine(day, time.min) + since_midnight
        )

    @property
    def midnight(self) -> TimeRule:
        return replace(self.at(0, 0), name="Midnight")

    @property
    def noon(self) -> TimeRule:
        return replace(self.at(12, 0), name="Noon")

    @property
    def now(self) -> TimeRule:
        moment = self._now().time()
        return TimeRule("Now", lambda day: datetime.combine(day, moment))

    # LEAN has each of these as rule(symbol, minutes, extended) and as rule(minutes, extended).

    def after_market_open(
        self, symbol: object = None, minutes_after_open: float = 0, extended_market_open: bool = False
    ) -> TimeRule:
        return self._session("Open", symbol, self._calendar.open, 1, minutes_after_open, extended_market_open)

    def before_market_open(
        self, symbol: object = None, minutes_before_open: float = 0, extended_market_open: bool = False
    ) -> TimeRule:
        return self._session("Open", symbol, self._calendar.open, -1, minutes_before_open, extended_market_open)

    def after_market_close(
        self, symbol: object = None, minutes_after_close: float = 0, extended_market_close: bool = False
    ) -> TimeRule:
        return self._session("Close", symbol, self._calendar.close, 1, minutes_after_close, extended_market_close)

    def before_market_close(
        self, symbol: object = None, minutes_before_close: float = 0, extended_market_close: bool = False
    ) -> TimeRule:
        return self._session("Close", symbol, self._calendar.close, -1, minutes_before_close, extended_market_close)

    def _session(
        self, name: str, symbol: object, of: Callable[[date], datetime], sign: int, minutes: float, extended: bool
    ) -> TimeRule:
        prefix = "" if symbol is None else f"{symbol}: "
        if isinstance(symbol, (int, float)):
            prefix, minutes, extended = "", symbol, extended or minutes is True
        if extended:
            raise NotInHost(f"extended_market_{name.lower()}=True")
        self._note_symbol(symbol)
        shift = sign * minutes

        def moment(day: date) -> datetime | None:
            return of(day) + timedelta(minutes=shift) if self._calendar.is_session(day) else None

        after = shift > 0 or (shift == 0 and name == "Close")
        return TimeRule(f"{prefix}{abs(shift):g} min {'after' if after else 'before'} Market{name}", moment)


@dataclass(slots=True)
class _Entry:
    moment: datetime
    event: ScheduledEvent


class Schedule:
    """All events of a run, in order of time.

    Events of one moment come in the order of their registration at first. As in LEAN, an event that was carried out
    goes back behind the first one of its next moment that a binary search meets: three or more that always share
    their moments do not keep their order.
    """

    def __init__(self) -> None:
        self._registered: list[_Entry] = []
        self._order: list[_Entry] | None = None

    def add(
        self, dates: DateRule, times: TimeRule, callback: Callable[[], object], since: datetime, last: date, name: str
    ) -> ScheduledEvent:
        """Register an event; occurrences before `since` are dropped, one exactly then is kept."""
        moments = (times.moment(day) for day in dates.dates(since.date(), last))
        event = ScheduledEvent(
            name or f"{dates.name}: {times.name}", callback, (m for m in moments if m is not None and m >= since)
        )
        self._registered.append(_Entry(next(event.times, datetime.max), event))
        self._order = None
        return event

    def remove(self, event: ScheduledEvent) -> None:
        self._registered = [entry for entry in self._registered if entry.event is not event]
        self._order = None

    def _sorted(self) -> list[_Entry]:
        if self._order is None:
            self._order = sorted(self._registered, key=lambda entry: entry.moment)
        return self._order

    def next(self) -> datetime:
        """When the next event is due."""
        order = self._sorted()
        return order[0].moment if order else datetime.max

    def due(self, before: datetime, *, inclusive: bool) -> Iterator[tuple[datetime, ScheduledEvent]]:
        """Give, one by one, the events before a moment (or up to and including it).

        What is registered or removed meanwhile counts from the next call on.
        """
        order = self._sorted()
        while order and (order[0].moment < before or (inclusive and order[0].moment == before)):
            entry = order[0]
            yield entry.moment, entry.event
            entry.moment = next(entry.event.times, datetime.max)
            _put_back(order)


def _put_back(order: list[_Entry]) -> None:
    """Move the first entry to where its next moment belongs."""
    entry = order[0]
    if len(order) == 1 or entry.moment <= order[1].moment:
        return
    del order[0]
    lower, upper = 0, len(order) - 1
    while lower <= upper:
        middle = (lower + upper) // 2
        if entry.moment < order[middle].moment:
            upper = middle - 1
        else:
            lower = middle + 1
            if entry.moment == order[middle].moment:
                break
    order.insert(lower, entry)
