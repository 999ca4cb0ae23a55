"""Date rules, time rules and the order of events. Expected dates are read off the calendar of 2013 by hand."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from minilean.calendar import MarketCalendar
from minilean.enums import DayOfWeek
from minilean.errors import NotInHost
from minilean.schedule import DateRules, Schedule, TimeRules
from minilean.system import ArgumentOutOfRangeException
from minilean.views.calendars import TimeZone, TimeZones
from tests.minilean.tiny_market import PARITY

NOW = datetime(2013, 6, 3, 9, 15)


@pytest.fixture(scope="module")
def calendar() -> MarketCalendar:
    return MarketCalendar.read(PARITY)


@pytest.fixture
def rules(calendar: MarketCalendar) -> DateRules:
    return DateRules(calendar, lambda: NOW, lambda symbol: None)


@pytest.fixture
def times(calendar: MarketCalendar) -> TimeRules:
    return TimeRules(calendar, lambda: NOW, lambda symbol: None)


def days(rule: Any, first: str, last: str) -> list[str]:
    return [f"{day:%m-%d}" for day in rule.dates(date.fromisoformat(first), date.fromisoformat(last))]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        # June 1 is a Saturday, July 4 and September 2 are holidays
        ("month_start", ("SPY",), ["06-03", "07-01", "08-01", "09-03"]),
        ("month_start", ("SPY", 3), ["06-06", "07-05", "08-06", "09-06"]),
        ("month_start", ("SPY", 0, True), ["06-03", "07-01", "08-01", "09-03"]),
        ("month_start", (), ["06-01", "07-01", "08-01", "09-01"]),
        ("month_start", (2,), ["06-03", "07-03", "08-03", "09-03"]),
        ("month_start", ("SPY", 30), ["06-28", "07-31", "08-30", "09-30"]),  # no later than the month's last session
        ("month_end", ("SPY",), ["06-28", "07-31", "08-30", "09-30"]),
        ("month_end", ("SPY", 1), ["06-27", "07-30", "08-29", "09-27"]),
        ("month_end", (), ["06-30", "07-31", "08-31", "09-30"]),
        ("quarter_start", ("SPY",), ["07-01"]),
        ("quarter_end", ("SPY",), ["06-28", "09-30"]),
        ("quarter_start", ("SPY", 1), ["07-02"]),
        ("year_start", ("SPY",), []),
    ],
)
def test_a_rule_counts_sessions_with_a_symbol_and_calendar_days_without(rules, name, arguments, expected):
    assert days(getattr(rules, name)(*arguments), "2013-06-01", "2013-09-30") == expected


def test_a_year_starts_and_ends_with_its_first_and_last_session(rules):
    assert days(rules.year_start("SPY"), "2012-12-01", "2014-06-30") == ["01-02", "01-02"]
    assert days(rules.year_end("SPY"), "2012-12-01", "2014-06-30") == ["12-31", "12-31"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        # Labor Day is Monday September 2
        ("week_start", ("SPY",), ["08-26", "09-03", "09-09"]),
        ("week_start", ("SPY", 4), ["08-30", "09-06", "09-13"]),
        ("week_end", ("SPY",), ["08-30", "09-06", "09-13"]),
        ("week_end", ("SPY", 4), ["08-26", "09-03", "09-09"]),
        ("week_start", (), ["08-26", "09-02", "09-09"]),
        ("week_start", (6,), ["09-01", "09-08"]),
        ("week_end", (), ["08-30", "09-06", "09-13"]),
        ("week_end", (6,), ["08-31", "09-07", "09-14"]),
    ],
)
def test_a_week_runs_from_monday_to_friday(rules, name, arguments, expected):
    last = "2013-09-14" if name == "week_end" else "2013-09-13"
    assert days(getattr(rules, name)(*arguments), "2013-08-26", last) == expected


def test_the_end_of_a_week_with_a_holiday_on_friday_is_thursday(rules):
    assert days(rules.week_end("SPY"), "2013-03-25", "2013-03-31") == ["03-28"]


def test_days_before_the_start_are_dropped_and_the_start_itself_counts(rules):
    assert days(rules.month_start("SPY"), "2013-06-03", "2013-07-31") == ["06-03", "07-01"]
    assert days(rules.month_start("SPY"), "2013-06-04", "2013-07-31") == ["07-01"]
    assert days(rules.month_start("SPY", 3), "2013-06-04", "2013-06-30") == ["06-06"]


def test_every_wednesday_includes_holidays(rules):
    assert days(rules.every(DayOfWeek.WEDNESDAY), "2013-12-18", "2014-01-08") == ["12-18", "12-25", "01-01", "01-08"]
    two = rules.every(DayOfWeek.SUNDAY, DayOfWeek.MONDAY)
    assert days(two, "2013-06-01", "2013-06-10") == ["06-02", "06-03", "06-09", "06-10"]
    listed = rules.every([DayOfWeek.SUNDAY, DayOfWeek.MONDAY])
    assert (listed.name, days(listed, "2013-06-01", "2013-06-03")) == (two.name, ["06-02", "06-03"])


def test_a_day_of_the_year_in_which_a_run_begins_counts_only_from_january_on(rules):
    rule = rules.year_start("SPY", 200)
    assert days(rule, "2013-02-01", "2014-12-31") == ["10-17", "10-17"]
    assert days(rule, "2013-02-02", "2014-12-31") == ["10-17"]
    assert days(rules.year_end("SPY", 50), "2013-06-03", "2013-12-31") == ["10-18"]


def test_every_day_means_sessions_with_a_symbol(rules):
    assert days(rules.every_day("SPY"), "2013-07-03", "2013-07-08") == ["07-03", "07-05", "07-08"]
    assert days(rules.every_day(), "2013-07-03", "2013-07-05") == ["07-03", "07-04", "07-05"]


def test_single_days_are_named_by_numbers_or_dates(rules):
    assert days(rules.on(2013, 7, 4), "2013-06-01", "2013-07-31") == ["07-04"]
    both = rules.on(datetime(2013, 7, 5, 12), date(2013, 6, 4))
    assert days(both, "2013-06-01", "2013-07-31") == ["06-04", "07-05"]
    assert days(rules.on([date(2013, 7, 5)]), "2013-06-01", "2013-07-31") == ["07-05"]
    assert days(rules.on(2013, 7, 4), "2013-07-05", "2013-07-31") == []
    assert days(rules.today, "2013-06-01", "2013-07-31") == ["06-03"]
    assert days(rules.tomorrow, "2013-06-01", "2013-07-31") == ["06-04"]


@pytest.mark.parametrize(
    ("name", "arguments", "largest"),
    [
        ("month_start", ("SPY", -1), 30),
        ("month_end", ("SPY", 31), 30),
        ("quarter_start", ("SPY", 93), 92),
        ("year_start", ("SPY", 366), 365),
        ("week_start", ("SPY", 5), 4),
        ("week_end", (7,), 6),
    ],
)
def test_an_offset_beyond_the_period_is_refused(rules, name, arguments, largest):
    with pytest.raises(ArgumentOutOfRangeException, match=f"Offset must be between 0 and {largest}"):
        getattr(rules, name)(*arguments)


@pytest.mark.parametrize(
    ("rule", "day", "moment"),
    [
        (lambda t: t.before_market_open("SPY", 30), "2013-06-03", "09:00"),
        (lambda t: t.after_market_open("SPY", 0), "2013-06-03", "09:30"),
        (lambda t: t.after_market_open("SPY", 30), "2013-07-03", "10:00"),
        (lambda t: t.before_market_close("SPY", 10), "2013-06-03", "15:50"),
        (lambda t: t.before_market_close("SPY", 10), "2013-07-03", "12:50"),
        (lambda t: t.after_market_close("SPY", 1), "2013-06-03", "16:01"),
        (lambda t: t.after_market_close("SPY", 1), "2013-07-03", "13:01"),
        (lambda t: t.after_market_open("SPY", 0.5), "2013-06-03", "09:30:30"),
        (lambda t: t.at(10, 15), "2013-07-04", "10:15"),
        (lambda t: t.at(10, 15, 20), "2013-07-04", "10:15:20"),
        (lambda t: t.at(10, 15, TimeZones.NEW_YORK), "2013-07-04", "10:15"),
        (lambda t: t.at(10, 15, 20, TimeZones.NEW_YORK), "2013-07-04", "10:15:20"),
        (lambda t: t.at(timedelta(hours=10.25)), "2013-07-04", "10:15"),
        (lambda t: t.at(timedelta(hours=10.25), TimeZones.NEW_YORK), "2013-07-04", "10:15"),
        (lambda t: t.before_market_open(30), "2013-06-03", "09:00"),
        (lambda t: t.after_market_open(minutes_after_open=30), "2013-06-03", "10:00"),
        (lambda t: t.before_market_close(10), "2013-07-03", "12:50"),
        (lambda t: t.after_market_close(), "2013-07-03", "13:00"),
        (lambda t: t.midnight, "2013-06-08", "00:00"),
        (lambda t: t.noon, "2013-06-08", "12:00"),
        (lambda t: t.now, "2013-06-08", "09:15"),
    ],
)
def test_a_moment_follows_the_session_of_its_day(times, rule, day, moment):
    assert rule(times).moment(date.fromisoformat(day)) == datetime.fromisoformat(f"{day} {moment}")


@pytest.mark.parametrize(
    "name", ["before_market_open", "after_market_open", "before_market_close", "after_market_close"]
)
def test_opens_and_closes_have_no_moment_on_days_without_session(times, name):
    assert getattr(times, name)("SPY", 5).moment(date(2013, 7, 4)) is None


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (lambda t: t.after_market_open("SPY", 0, True), "extended_market_open=True"),
        (lambda t: t.after_market_open(0, True), "extended_market_open=True"),
        (lambda t: t.at(10, 15, TimeZone("Asia/Tokyo")), r"time_rules\.at\(\.\.\., Asia/Tokyo\)"),
    ],
)
def test_extended_hours_and_other_time_zones_are_refused_by_name(times, rule, name):
    with pytest.raises(NotInHost, match=f"{name} is part of LEAN"):
        rule(times)


def test_a_moment_without_a_symbol_is_named_without_one(times):
    assert times.before_market_open(30).name == "30 min before MarketOpen"
    assert times.before_market_open("SPY", 30).name == "SPY: 30 min before MarketOpen"


def test_a_rule_tells_which_symbol_it_was_given(calendar):
    named: list[object] = []
    DateRules(calendar, lambda: NOW, named.append).month_start("SPY")
    TimeRules(calendar, lambda: NOW, named.append).before_market_open("QQQ", 5)
    assert named == ["SPY", "QQQ"]


# --- events


def ignore() -> None:
    """A callback that does nothing."""


def names(schedule: Schedule, before: datetime, inclusive: bool = False) -> list[tuple[str, datetime]]:
    return [(event.name, when) for when, event in schedule.due(before, inclusive=inclusive)]


def daily(rules: DateRules, times: TimeRules, hour: int) -> tuple[Any, Any, Callable[[], None]]:
    return rules.every_day("SPY"), times.at(hour, 0), ignore


def test_events_come_by_time_and_those_of_one_moment_in_the_order_of_registration(rules, times):
    schedule = Schedule()
    for name, hour in (("late", 12), ("first", 9), ("second", 9)):
        schedule.add(*daily(rules, times, hour), NOW.replace(hour=0), date(2013, 6, 30), name)
    found = names(schedule, datetime(2013, 6, 4, 10))
    assert found == [
        (name, datetime(2013, 6, day, hour))
        for day, name, hour in ((3, "first", 9), (3, "second", 9), (3, "late", 12), (4, "first", 9), (4, "second", 9))
    ]


def test_an_event_of_the_asked_moment_comes_only_when_that_is_included(rules, times):
    schedule = Schedule()
    schedule.add(*daily(rules, times, 9), NOW.replace(hour=0), date(2013, 6, 30), "e")
    assert names(schedule, datetime(2013, 6, 3, 9)) == []
    assert names(schedule, datetime(2013, 6, 3, 9), inclusive=True) == [("e", datetime(2013, 6, 3, 9))]


def test_occurrences_before_the_registration_are_dropped_and_one_at_it_is_kept(rules, times):
    schedule = Schedule()
    since = datetime(2013, 6, 3, 10)
    for hour in (9, 10):
        schedule.add(*daily(rules, times, hour), since, date(2013, 6, 30), str(hour))
    assert names(schedule, datetime(2013, 6, 4, 9, 30)) == [("10", since), ("9", datetime(2013, 6, 4, 9))]


def test_a_removed_event_does_not_come_any_more(rules, times):
    schedule = Schedule()
    kept, gone = (
        schedule.add(*daily(rules, times, 9), NOW.replace(hour=0), date(2013, 6, 30), name) for name in ("kept", "gone")
    )
    schedule.remove(gone)
    assert names(schedule, datetime(2013, 6, 4)) == [(kept.name, datetime(2013, 6, 3, 9))]


def test_an_event_may_be_removed_by_its_own_callback(market):
    seen: list[datetime] = []

    def setup(a: Any) -> None:
        def once() -> None:
            seen.append(a.time)
            a.schedule.remove(event)

        event = a.schedule.on(a.date_rules.every_day("SPY"), a.time_rules.noon, once)

    market.run({}, setup=setup)
    assert seen == [datetime(2013, 6, 3, 12)]


def test_an_event_between_slices_runs_at_its_own_time_in_the_state_of_the_slice_before(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-03": 110})
    seen: list[Any] = []
    script = {
        f"2013-06-03 {at}": lambda a: seen.append((a.time, a.securities["AAA"].price))
        for at in ("15:59:59", "16:00", "23:59:59")
    }
    market.run(script, tickers=("AAA",))
    assert seen == [
        (datetime(2013, 6, 3, 15, 59, 59), 100),
        (datetime(2013, 6, 3, 16), 110),
        (datetime(2013, 6, 3, 23, 59, 59), 110),
    ]


def test_an_event_registered_during_the_run_starts_then(market):
    seen: list[datetime] = []

    def register(a: Any) -> None:
        a.schedule.on(a.date_rules.every_day("SPY"), a.time_rules.at(9, 0), lambda: seen.append(a.time))

    market.run({"2013-06-12 12:00": register})
    assert seen == [datetime(2013, 6, 13, 9), datetime(2013, 6, 14, 9)]
