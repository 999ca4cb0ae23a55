"""`self.history`: what a request gives at a moment of a run, and never anything later than that moment."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilean.data import DailyBars
from minilean.enums import DataNormalizationMode, Resolution
from minilean.errors import NotInHost
from minilean.formats import FactorRow
from minilean.history import TradeBar, _Listing
from tests.minilean.tiny_market import TinyMarket

DAILY = Resolution.DAILY


def ask(market: TinyMarket, moment: str, request: Any, **settings: Any) -> Any:
    """What a request of the algorithm gives at one moment of a run from 2013-06-03."""
    found: list[Any] = []
    market.run({moment: lambda a: found.append(request(a))}, **({"end": "2013-07-12"} | settings))
    (answer,) = found
    return answer


def times(frame: pd.DataFrame, symbol: Any) -> list[str]:
    return [f"{time:%m-%d %H}" for time in frame.loc[symbol].index]


@pytest.mark.parametrize(
    ("moment", "last"),
    [
        ("2013-06-05 00:00", "06-04 16"),
        ("2013-06-05 09:00", "06-04 16"),
        ("2013-06-05 15:59", "06-04 16"),
        ("2013-06-05 16:00", "06-05 16"),
        ("2013-06-05 16:01", "06-05 16"),
        ("2013-07-03 12:59", "07-02 16"),
        ("2013-07-03 13:00", "07-03 13"),
        ("2013-07-04 12:00", "07-03 13"),
    ],
)
def test_the_last_row_is_the_last_session_that_is_over(market, moment, last):
    market.stock("AAA")
    frame = ask(market, moment, lambda a: a.history([market.symbol("AAA")], 1, DAILY))
    assert times(frame, market.symbol("AAA"))[-1] == last


def test_no_request_reaches_beyond_now(market):
    market.stock("AAA")
    start, end = datetime(2013, 6, 3), datetime(2013, 7, 1)
    frame = ask(market, "2013-06-05 09:00", lambda a: a.history([market.symbol("AAA")], start, end, DAILY))
    assert times(frame, market.symbol("AAA")) == ["06-03 16", "06-04 16"]


def test_prices_after_now_do_not_change_what_is_given(market):
    def closes(later: float) -> list[float]:
        market.stock("AAA", {"2013-01-02": 100, "2013-06-05": later})
        frame = ask(market, "2013-06-05 09:00", lambda a: a.history([market.symbol("AAA")], 20, DAILY))
        return list(frame["close"])

    assert closes(1) == closes(1000) == [100.0] * 20


def test_a_frame_has_leans_index_and_columns(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-04": (101, 99)})
    frame = ask(market, "2013-06-05 09:00", lambda a: a.history([market.symbol("AAA")], 2, DAILY))
    assert list(frame.columns) == ["close", "high", "low", "open", "volume"]
    assert frame.index.names == ["symbol", "time"]
    assert set(frame.dtypes.astype(str)) == {"float64"}
    assert frame.iloc[-1].tolist() == [99, 101, 99, 101, 1000]
    assert frame.index[-1] == (market.symbol("AAA"), pd.Timestamp("2013-06-04 16:00"))
    wide = frame["close"].unstack(level=0)
    assert (wide.columns.name, wide.index.name) == ("symbol", "time")


def test_symbols_come_in_the_order_of_their_first_bar(market):
    market.stock("AAA", first="2013-05-30")
    market.stock("BBB")
    market.stock("CCC")
    request = [market.symbol(ticker) for ticker in ("AAA", "CCC", "BBB")]
    frame = ask(market, "2013-06-05 09:00", lambda a: a.history(request, 10, DAILY))
    assert [symbol.value for symbol in dict.fromkeys(frame.index.get_level_values(0))] == ["CCC", "BBB", "AAA"]
    assert [len(frame.loc[symbol]) for symbol in request] == [4, 10, 10]


def test_a_missing_day_repeats_the_bar_before_unless_that_is_declined(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-04": 110, "2013-06-05": 120}, without=["2013-06-05"])
    symbol = market.symbol("AAA")
    filled = ask(market, "2013-06-07 09:00", lambda a: a.history([symbol], 4, DAILY))
    assert filled["close"].tolist() == [100, 110, 110, 120]
    assert times(filled, symbol)[2] == "06-05 16"
    bare = ask(market, "2013-06-07 09:00", lambda a: a.history([symbol], 4, DAILY, fill_forward=False))
    assert times(bare, symbol) == ["06-03 16", "06-04 16", "06-06 16"]


def test_nothing_is_filled_before_the_first_bar_inside_the_request(market):
    market.stock("AAA", without=["2013-06-03", "2013-06-04"])
    frame = ask(market, "2013-06-07 09:00", lambda a: a.history([market.symbol("AAA")], 4, DAILY))
    assert times(frame, market.symbol("AAA")) == ["06-05 16", "06-06 16"]


def test_a_delisted_stock_is_filled_to_its_last_day_and_no_further(market):
    market.stock("AAA", delisted="2013-06-06", without=["2013-06-06"])
    symbol = market.symbol("AAA")
    frame = ask(market, "2013-06-12 09:00", lambda a: a.history([symbol], 6, DAILY))
    assert times(frame, symbol) == ["06-04 16", "06-05 16", "06-06 16"]
    assert ask(market, "2013-06-12 09:00", lambda a: a.history([symbol], 3, DAILY)).empty


def test_a_stock_that_merely_stops_is_filled_on(market):
    market.stock("AAA", until="2013-06-05")
    frame = ask(market, "2013-06-10 09:00", lambda a: a.history([market.symbol("AAA")], 4, DAILY))
    assert times(frame, market.symbol("AAA")) == ["06-04 16", "06-05 16", "06-06 16", "06-07 16"]


def test_a_stock_listed_later_has_fewer_rows(market):
    market.stock("AAA", first="2013-06-03")
    frame = ask(market, "2013-06-06 09:00", lambda a: a.history([market.symbol("AAA")], 300, DAILY))
    assert times(frame, market.symbol("AAA")) == ["06-03 16", "06-04 16", "06-05 16"]


@pytest.mark.parametrize("tickers", [[], ["NOPX"]])
def test_nothing_at_all_is_an_empty_frame_without_columns(market, tickers):
    frame = ask(
        market, "2013-06-05 09:00", lambda a: a.history([market.symbol(ticker) for ticker in tickers], 5, DAILY)
    )
    assert frame.shape == (0, 0)
    assert list(frame.index.names) == [None]


def test_unknown_symbols_are_absent_beside_known_ones(market):
    market.stock("AAA")
    request = [market.symbol("NOPX"), market.symbol("AAA")]
    frame = ask(market, "2013-06-05 09:00", lambda a: a.history(request, 2, DAILY))
    assert set(frame.index.get_level_values(0)) == {market.symbol("AAA")}


@pytest.mark.parametrize(
    ("request_of", "expected"),
    [
        (lambda a, s: a.history(s, timedelta(days=7), DAILY), ["06-05", "06-06", "06-07", "06-10", "06-11"]),
        (lambda a, s: a.history(s, datetime(2013, 6, 4, 16), datetime(2013, 6, 6, 16), DAILY), ["06-05", "06-06"]),
        (lambda a, s: a.history(TradeBar, s, 2, DAILY), ["06-10", "06-11"]),
        (lambda a, s: a.history(s[0], 2, DAILY), ["06-10", "06-11"]),
        (lambda a, s: a.history("AAA", 2, DAILY), ["06-10", "06-11"]),
    ],
)
def test_a_request_names_sessions_a_span_or_two_moments(market, request_of, expected):
    market.stock("AAA")
    frame = ask(market, "2013-06-12 09:00", lambda a: request_of(a, [market.symbol("AAA")]), tickers=("AAA",))
    assert [f"{time:%m-%d}" for _, time in frame.index] == expected


@pytest.mark.parametrize(
    ("raw", "mode", "expected"),
    [
        (False, None, [50, 50, 50]),
        (True, None, [100, 100, 50]),
        (False, DataNormalizationMode.RAW, [100, 100, 50]),
        (True, DataNormalizationMode.ADJUSTED, [50, 50, 50]),
    ],
)
def test_prices_are_normalised_as_the_universe_is_or_as_the_request_says(market, raw, mode, expected):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-10": 50}, factors=["20130607,1,0.5,100"])
    frame = ask(
        market,
        "2013-06-11 09:00",
        lambda a: a.history([market.symbol("AAA")], 3, DAILY, data_normalization_mode=mode),
        raw=raw,
    )
    assert frame["close"].tolist() == expected
    assert frame["volume"].tolist() == ([1000] * 3 if expected[0] == 100 else [2000, 2000, 1000])


def test_bars_have_the_times_of_their_session(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-07-03": (101, 99)})
    _, bar = ask(market, "2013-07-05 09:00", lambda a: a.history[TradeBar](market.symbol("AAA"), 2, DAILY))
    assert (bar.time, bar.end_time) == (datetime(2013, 7, 3, 9, 30), datetime(2013, 7, 3, 13))
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (101, 101, 99, 99, 1000)
    assert bar.symbol == market.symbol("AAA")


@pytest.mark.parametrize(
    ("moment", "rows"), [("2013-07-02 16:01", 1), ("2013-07-03 13:01", 2), ("2013-07-03 16:00", 1)]
)
def test_in_the_afternoon_of_an_early_close_the_day_before_counts_by_its_afternoon(market, moment, rows):
    # One day before July 3 13:01 is July 2 13:01, and the session of July 2 ended after that.
    market.stock("AAA")
    assert len(ask(market, moment, lambda a: a.history([market.symbol("AAA")], 1, DAILY))) == rows


def test_in_the_afternoon_of_an_early_close_weekends_take_a_session_each(market):
    # From Wednesday July 3 13:01 nine windows of 24 hours have an open market: those that end on July 3, 2, 1,
    # June 29 (Friday's afternoon), 28, 27, 26, 25 and 24 (Monday's morning). They reach back to Sunday June 23,
    # after which there were only eight sessions.
    market.stock("AAA")
    frame = ask(market, "2013-07-03 13:01", lambda a: a.history([market.symbol("AAA")], 9, DAILY))
    assert times(frame, market.symbol("AAA"))[0] == "06-24 16"
    assert len(frame) == 8


def test_resolutions_that_are_not_in_the_host_are_refused(market):
    market.stock("AAA")

    def request(a: Any) -> None:
        a.history([market.symbol("AAA")], 5, Resolution.MINUTE)

    with pytest.raises(AssertionError, match=r"Resolution\.MINUTE .*is part of LEAN but not of this embedded host"):
        market.run({"2013-06-05 09:00": request})


def test_kinds_of_history_that_are_not_in_the_host_are_refused(market):
    found: list[BaseException] = []

    def request(a: Any) -> None:
        try:
            a.history[int]
        except NotInHost as error:
            found.append(error)

    market.run({"2013-06-05 09:00": request})
    assert len(found) == 1


@given(
    grid=st.sets(st.integers(1000, 1040), min_size=1),
    missing=st.sets(st.integers(1000, 1040)),
    listed=st.tuples(st.integers(995, 1045), st.integers(1, 50)),
    span=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    fill_forward=st.booleans(),
)
def test_a_listing_gives_the_last_bar_by_each_session_from_its_first_one_on(grid, missing, listed, span, fill_forward):
    begin, delisted = listed[0], sum(listed)
    sessions = sorted(grid)
    ordinals = [day for day in sessions if begin <= day <= delisted + 2 and day not in missing]
    column = np.array(ordinals, dtype=np.int64)
    bars = DailyBars(column, column, column, column, column, column)
    listing = _Listing(bars, np.array(sessions, dtype=np.int64), date.fromordinal(delisted))
    first, after = min(span[0], len(sessions)), min(span[1], len(sessions))
    rows, where = listing.inside(first, after, fill_forward)
    asked = sessions[first:after]
    own = [day for day in asked if day in ordinals]
    expected = [day for day in asked if own and own[0] <= day <= delisted] if fill_forward else own
    assert np.array(asked, dtype=np.int64)[where].tolist() == expected
    assert np.arange(len(bars))[rows].tolist() == [sum(bar <= day for bar in ordinals) - 1 for day in expected]


@given(
    st.lists(st.tuples(st.integers(0, 39), st.integers(1, 40), st.booleans()), min_size=1, max_size=5),
    st.booleans(),
)
def test_a_listing_gives_the_doubles_of_whatever_rows_come_to_be_asked_for(requests, adjusted):
    column = np.arange(1000, 1040)
    rows = (FactorRow(date.fromordinal(1020), Decimal("0.7"), Decimal("0.5"), Decimal(1)),)
    bars = DailyBars(column, column + 5, column + 9, column, column + 2, column * 7, rows)
    listing = _Listing(bars, column, None)
    for first, count, is_slice in requests:
        asked = slice(first, min(first + count, 40)) if is_slice else np.arange(40)[first : first + count]
        assert (listing.values(asked, adjusted) == bars.doubles(asked, adjusted)).all()
