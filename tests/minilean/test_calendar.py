"""Sessions, early closes and clock changes. Dates are read off the exchange's calendar by hand."""

import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilean.calendar import NEW_YORK, MarketCalendar, to_new_york, to_utc
from minilean.errors import DataError
from tests.minilean.tiny_market import PARITY

NAME = "market-hours/market-hours-database.json"


@pytest.fixture(scope="module")
def calendar() -> MarketCalendar:
    return MarketCalendar.read(PARITY)


def written(folder: Path, content: Any = None, change: Any = None) -> Path:
    """A folder with the given market-hours database, or the real one with its equity entry changed."""
    if content is None:
        content = json.loads((PARITY / NAME).read_text())
        change(content["entries"]["Equity-usa-[*]"])
    path = folder / NAME
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2013-06-03", True),
        ("2013-06-08", False),  # Saturday
        ("2013-06-09", False),  # Sunday
        ("2013-07-04", False),  # Independence Day
        ("2013-03-29", False),  # Good Friday
        ("2012-10-29", False),  # Sandy
        ("2013-07-03", True),
    ],
)
def test_sessions_are_weekdays_without_holidays(calendar, day, expected):
    assert calendar.is_session(date.fromisoformat(day)) is expected


def test_a_session_closes_at_16_00_or_early(calendar):
    assert calendar.close(date(2013, 6, 3)) == datetime(2013, 6, 3, 16)
    assert calendar.close(date(2013, 7, 3)) == datetime(2013, 7, 3, 13)
    assert calendar.open(date(2013, 7, 3)) == datetime(2013, 7, 3, 9, 30)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2013-06-03 09:29:59", False),
        ("2013-06-03 09:30", True),
        ("2013-06-03 15:59:59", True),
        ("2013-06-03 16:00", False),
        ("2013-07-03 12:59:59", True),
        ("2013-07-03 13:00", False),
        ("2013-07-04 12:00", False),
    ],
)
def test_the_market_is_open_from_the_open_to_just_before_the_close(calendar, moment, expected):
    assert calendar.is_open(datetime.fromisoformat(moment)) is expected


def test_the_neighbours_of_a_day_are_sessions(calendar):
    assert calendar.next_session(date(2013, 7, 3)) == date(2013, 7, 5)
    assert calendar.next_session(date(2013, 7, 5)) == date(2013, 7, 8)
    assert calendar.previous_session(date(2013, 6, 3)) == date(2013, 5, 31)
    assert calendar.previous_session(date(2013, 6, 1)) == date(2013, 5, 31)


def test_sessions_between_two_days_include_both(calendar):
    assert [day.day for day in calendar.sessions(date(2013, 7, 2), date(2013, 7, 8))] == [2, 3, 5, 8]
    assert calendar.sessions(date(2013, 7, 4), date(2013, 7, 4)) == ()
    assert calendar.sessions(date(2013, 7, 5), date(2013, 7, 4)) == ()


def test_ordinals_and_closes_of_many_days_are_those_of_the_single_ones(calendar):
    for first, last in ((date(1997, 12, 31), date(2030, 1, 1)), (date(2013, 7, 5), date(2013, 7, 4))):
        sessions = calendar.sessions(first, last)
        ordinals = calendar.ordinals(first, last)
        assert ordinals.tolist() == [day.toordinal() for day in sessions]
        assert calendar.closes(ordinals).astype("datetime64[us]").tolist() == [calendar.close(day) for day in sessions]


def test_new_york_is_four_hours_behind_in_summer_and_five_in_winter():
    assert to_utc(datetime(2013, 6, 3, 9, 30)) == datetime(2013, 6, 3, 13, 30)
    assert to_utc(datetime(2013, 12, 3, 9, 30)) == datetime(2013, 12, 3, 14, 30)
    # clocks go forward at 02:00 of March 10 and back at 02:00 of November 3
    assert to_utc(datetime(2013, 3, 10)) == datetime(2013, 3, 10, 5)
    assert to_utc(datetime(2013, 3, 10, 16)) == datetime(2013, 3, 10, 20)
    assert to_utc(datetime(2013, 11, 3)) == datetime(2013, 11, 3, 4)
    assert to_utc(datetime(2013, 11, 3, 16)) == datetime(2013, 11, 3, 21)


@given(st.datetimes(datetime(1998, 1, 1), datetime(2030, 1, 1)))
def test_a_time_comes_back_from_utc_but_for_the_hour_that_does_not_exist(local):
    back = to_new_york(to_utc(local))
    assert back == local or (local.month == 3 and local.hour == 2)


@given(st.datetimes(datetime(1920, 1, 1), datetime(2100, 1, 1)))
def test_utc_is_that_of_the_time_zone(local):
    assert to_utc(local) == local - (local.replace(tzinfo=NEW_YORK).utcoffset() or timedelta())


def test_days_in_bulk_are_sessions_as_single_ones_are(calendar):
    ordinals = np.arange(date(1990, 1, 1).toordinal(), date(2030, 1, 1).toordinal())
    expected = [calendar.is_session(date.fromordinal(ordinal)) for ordinal in ordinals.tolist()]
    assert calendar.are_sessions(ordinals).tolist() == expected


def test_a_late_open_moves_the_open_of_its_day(tmp_path):
    folder = written(tmp_path, change=lambda entry: entry.update(lateOpens={"6/11/2013": "11:00:00"}))
    found = MarketCalendar.read(folder)
    assert found.open(date(2013, 6, 11)).time() == time(11)
    assert not found.is_open(datetime(2013, 6, 11, 10, 59))


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    folder = written(tmp_path, "\ufeff" + (PARITY / NAME).read_text())
    assert MarketCalendar.read(folder).is_session(date(2013, 6, 3))


def test_lists_that_are_missing_are_empty(tmp_path):
    def change(entry: dict[str, Any]) -> None:
        for name in ("holidays", "earlyCloses", "lateOpens", "saturday", "sunday"):
            entry.pop(name, None)

    found = MarketCalendar.read(written(tmp_path, change=change))
    assert found.is_session(date(2013, 7, 4))
    assert not found.is_session(date(2013, 7, 6))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"entries": {}}',
        '{"entries": []}',
        '{"entries": {"Equity-usa-[*]": []}}',
        '{"entries": {"Equity-usa-[*]": {"holidays": ["2013-07-04"]}}}',
        '{"entries": {"Equity-usa-[*]": {"holidays": ["2/30/2013"]}}}',
        '{"entries": {"Equity-usa-[*]": {"holidays": 7}}}',
        '{"entries": {"Equity-usa-[*]": {"earlyCloses": {"7/3/2013": "25:00"}}}}',
        '{"entries": {"Equity-usa-[*]": {"earlyCloses": ["7/3/2013"]}}}',
        '{"entries": {"Equity-usa-[*]": {"monday": [{"start": "09:30:00"}]}}}',
        '{"entries": {"Equity-usa-[*]": {"monday": ["market"]}}}',
        "[" * 100_000,
    ],
)
def test_a_database_that_cannot_be_used_is_refused_in_a_sentence_that_names_it(tmp_path, content):
    with pytest.raises(DataError, match=r"market-hours-database\.json (is not readable JSON|has no usable entry)"):
        MarketCalendar.read(written(tmp_path, content))


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(DataError, match=r"market-hours-database\.json is missing"):
        MarketCalendar.read(tmp_path)


def test_hours_other_than_those_of_us_equities_are_refused(tmp_path):
    def change(entry: dict[str, Any]) -> None:
        entry["friday"] = [{"start": "10:00:00", "end": "15:00:00", "state": "market"}]

    with pytest.raises(DataError, match="sessions are 09:30:00 to 16:00:00"):
        MarketCalendar.read(written(tmp_path, change=change))


def test_a_calendar_without_sessions_has_no_neighbours(tmp_path):
    found = MarketCalendar.read(written(tmp_path, '{"entries": {"Equity-usa-[*]": {}}}'))
    with pytest.raises(DataError, match="no session within a month"):
        found.next_session(date(2013, 6, 3))
