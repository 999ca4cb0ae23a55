"""Time zones, exchange hours, trading days and interest rates."""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from minilean.calendar import MarketCalendar, to_utc
from minilean.decimals import to_double
from minilean.errors import NotInHost
from minilean.members import LeanObject, lean
from minilean.results.statistics import rate_on
from minilean.views.collections import Enumerable

if TYPE_CHECKING:
    from minilean.engine import Engine


@lean("NodaTime.TimeZones", "CachedDateTimeZone")
class TimeZone(LeanObject):
    """`self.time_zone`."""

    __slots__ = ("id",)

    def __init__(self, name: str):
        self.id = name

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeZone) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


@lean("QuantConnect", "TimeZones")
class TimeZones(LeanObject):
    """LEAN's names of time zones; the host knows New York alone."""

    __slots__ = ()
    NEW_YORK = TimeZone("America/New_York")


@lean("QuantConnect.Securities", "SecurityExchangeHours")
class SecurityExchangeHours(LeanObject):
    """`security.exchange.hours`: regular sessions only."""

    __slots__ = ("_calendar",)
    is_market_always_open = False
    time_zone = TimeZones.NEW_YORK

    def __init__(self, calendar: MarketCalendar):
        self._calendar = calendar

    def is_date_open(self, local_date_time: datetime, extended_market_hours: bool = False) -> bool:
        return self._calendar.is_session(local_date_time.date())

    def is_open(self, local_date_time: datetime, extended_market_hours: bool, *more: object) -> bool:
        if more:
            raise NotInHost("SecurityExchangeHours.is_open(start, end, ...)")
        _regular(extended_market_hours)
        return self._calendar.is_open(local_date_time)

    def get_next_market_open(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        _regular(extended_market_hours)
        day = local_date_time.date()
        if self._calendar.is_session(day) and local_date_time < self._calendar.open(day):
            return self._calendar.open(day)
        return self._calendar.open(self._calendar.next_session(day))

    def get_next_market_close(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        _regular(extended_market_hours)
        day = local_date_time.date()
        if self._calendar.is_session(day) and local_date_time < self._calendar.close(day):
            return self._calendar.close(day)
        return self._calendar.close(self._calendar.next_session(day))

    def get_previous_trading_day(self, local_date: datetime) -> datetime:
        return datetime.combine(self._calendar.previous_session(local_date.date()), local_date.time())

    def get_next_trading_day(self, date: datetime) -> datetime:
        return datetime.combine(self._calendar.next_session(date.date()), date.time())


def _regular(extended_market_hours: bool) -> None:
    if extended_market_hours:
        raise NotInHost("extended_market_hours=True")


@lean("QuantConnect.Securities.Equity", "EquityExchange")
class EquityExchange(LeanObject):
    """`security.exchange`."""

    __slots__ = ("_host",)
    time_zone = TimeZones.NEW_YORK

    def __init__(self, host: "Engine"):
        self._host = host

    @property
    def hours(self) -> SecurityExchangeHours:
        return SecurityExchangeHours(self._host.calendar)

    @property
    def exchange_open(self) -> bool:
        return self._host.calendar.is_open(self._host.now)

    @property
    def local_time(self) -> datetime:
        return self._host.now


@lean("QuantConnect", "TradingDay")
class TradingDay(LeanObject):
    """One day of `self.trading_calendar`."""

    __slots__ = ("business_day", "date", "public_holiday", "weekend")

    def __init__(self, day: date, closed: bool):
        self.date = datetime(day.year, day.month, day.day)
        self.weekend = day.weekday() >= 5
        self.public_holiday = closed or self.weekend or _is_federal_holiday(day)
        self.business_day = not self.public_holiday


@lean("QuantConnect", "TradingCalendar")
class TradingCalendar(LeanObject):
    """`self.trading_calendar`: LEAN calls a day a business day if banks and the exchange are open."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def get_trading_day(self, day: datetime | None = None) -> TradingDay:
        return self._day((to_utc(self._host.now) if day is None else day).date())

    def get_trading_days(self, start: datetime, end: datetime) -> Enumerable:
        ordinals = range(start.toordinal(), end.toordinal() + 1)
        return Enumerable([self._day(date.fromordinal(ordinal)) for ordinal in ordinals])

    def _day(self, day: date) -> TradingDay:
        known = len(self._host.portfolio.active()) > 0
        return TradingDay(day, known and not self._host.calendar.is_session(day))


_MONDAYS = {(1, 3), (2, 3), (9, 1), (10, 2)}
"""(month, which Monday) of Martin Luther King's and Washington's birthdays, Labor Day, Columbus Day."""
_DATES = {(1, 1), (7, 4), (11, 11), (12, 25)}


def _is_federal_holiday(day: date) -> bool:
    """Whether US banks are closed: LEAN asks QLNet's settlement calendar, since 1998 these days."""
    weekday, week = day.weekday(), (day.day - 1) // 7 + 1
    if weekday == 0 and ((day.month, week) in _MONDAYS or (day.month == 5 and day.day >= 25)):
        return True
    if weekday == 3 and (day.month, week) == (11, 4):
        return True
    observed = {0: (0, -1), 4: (0, 1)}.get(weekday, (0,))  # a Sunday's holiday on Monday, a Saturday's on Friday
    near = (day + timedelta(days=shift) for shift in observed)
    return any(
        (other.month, other.day) in _DATES or ((other.month, other.day) == (6, 19) and other.year >= 2022)
        for other in near
    )


@lean("QuantConnect.Data", "InterestRateProvider")
class InterestRateProvider(LeanObject):
    """`self.risk_free_interest_rate_model`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def get_interest_rate(self, date: datetime) -> float:
        return to_double(rate_on(self._host.data.interest_rates())(date.date()))
