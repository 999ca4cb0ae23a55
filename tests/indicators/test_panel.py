"""Bars from LEAN's history, and panels that depend on nothing but a stock's own last bars."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from indicators import CATALOGUE, Bars, compute, required_bars
from indicators.catalogue import FIELDS

WINDOW = 21
LENGTH = required_bars(WINDOW)

Invent = Callable[[int, int, int], Bars]


@dataclass(frozen=True)
class Symbol:
    """Stands for LEAN's class: hashable, equal by value, and not a text."""

    id: str


def changed(bars: Bars, **fields: np.ndarray) -> Bars:
    return Bars(**{field: fields.get(field, getattr(bars, field)) for field in FIELDS})


def each_field(bars: Bars, function: Callable[[np.ndarray], np.ndarray]) -> Bars:
    return Bars(**{field: function(getattr(bars, field)) for field in FIELDS})


def history(bars: Bars, symbols: list[Symbol], days: pd.DatetimeIndex) -> pd.DataFrame:
    """The frame that LEAN would return: one stock below the other, NaN bars absent, columns in alphabetical order."""
    frames = {}
    for row, symbol in enumerate(symbols):
        columns = {field: getattr(bars, field)[row] for field in sorted(FIELDS)}
        frame = pd.DataFrame(columns, index=days).dropna()
        if len(frame):
            frames[symbol] = frame
    return pd.concat(frames, names=["symbol", "time"])


def test_history_becomes_bars_in_the_order_of_the_request(invent: Invent) -> None:
    days = pd.bdate_range("2009-01-02", periods=30) + pd.Timedelta(hours=16)
    symbols = [Symbol(text) for text in "DACB"]
    bars = invent(4, 30, 0)
    bars.close[2, :10] = np.nan  # listed late
    bars = each_field(bars, lambda values: np.where(np.isnan(bars.close), np.nan, values))
    frame = history(bars, symbols, days)
    requested = [symbols[3], symbols[2], Symbol("without data"), symbols[0], symbols[1]]
    result = Bars.from_history(frame, requested)
    for field in FIELDS:
        expected = getattr(bars, field)[[3, 2, 0, 0, 1]].copy()
        expected[2] = np.nan
        np.testing.assert_array_equal(getattr(result, field), expected)


def test_the_order_of_rows_in_the_history_does_not_matter(invent: Invent) -> None:
    days = pd.bdate_range("2009-01-02", periods=30) + pd.Timedelta(hours=16)
    symbols = [Symbol(text) for text in "ABC"]
    bars = invent(3, 30, 0)
    frame = history(bars, symbols, days).sample(frac=1, random_state=1)
    np.testing.assert_array_equal(Bars.from_history(frame, symbols).low, bars.low)


def test_bars_of_one_day_share_a_column_whatever_their_hour(invent: Invent) -> None:
    days = pd.bdate_range("2009-11-20", periods=10)
    bars = invent(2, 10, 0)
    symbols = [Symbol("A"), Symbol("B")]
    early = history(each_field(bars, lambda v: v[:1]), symbols[:1], days + pd.Timedelta(hours=13))
    late = history(each_field(bars, lambda v: v[1:]), symbols[1:], days + pd.Timedelta(hours=16))
    result = Bars.from_history(pd.concat([early, late]), symbols)
    np.testing.assert_array_equal(result.close, bars.close)


def test_a_stock_that_was_not_asked_for_adds_neither_rows_nor_sessions(invent: Invent) -> None:
    bars = invent(2, 10, 0)
    bars.close[0, -1] = np.nan
    symbols = [Symbol("A"), Symbol("B")]
    frame = history(bars, symbols, pd.bdate_range("2009-11-20", periods=10))
    result = Bars.from_history(frame, symbols[:1])
    np.testing.assert_array_equal(result.open, bars.open[:1, :-1])


def test_an_empty_history_gives_bars_without_sessions_and_nothing_usable() -> None:
    bars = Bars.from_history(pd.DataFrame(), [Symbol("A"), Symbol("B")])
    assert bars.close.shape == (2, 0)
    panel = compute(bars, WINDOW)
    assert panel.values.shape == (2, WINDOW, 61)
    assert not panel.usable.any()
    assert panel.reasons == dict.fromkeys(range(2), f"has 0 of the {LENGTH} bars needed")


def test_a_history_without_volume_is_refused(invent: Invent) -> None:
    frame = history(invent(1, 5, 0), [Symbol("A")], pd.bdate_range("2009-11-20", periods=5))
    with pytest.raises(ValueError, match=r"no column volume \(it has close, high, low, open\)"):
        Bars.from_history(frame.drop(columns="volume"), [Symbol("A")])


def test_bars_of_different_shapes_are_refused(invent: Invent) -> None:
    bars = invent(2, 5, 0)
    with pytest.raises(ValueError, match="one shape"):
        changed(bars, volume=bars.volume[:, 1:])


def test_required_bars_cover_every_lookback_its_settling_and_the_window() -> None:
    spare = [LENGTH - WINDOW - row.lookback - row.settle for row in CATALOGUE.values()]
    assert min(spare) == 0, "every indicator is settled within the window, and no bar is asked for in vain"
    assert LENGTH < 260, "the data starts 355 sessions before the first decision"
    with pytest.raises(ValueError, match="window = 0"):
        required_bars(0)


def test_a_panel_has_a_row_for_each_stock_a_step_for_each_session_and_a_column_for_each_name(invent: Invent) -> None:
    panel = compute(invent(3, LENGTH, 0), WINDOW)
    assert panel.values.shape == (3, WINDOW, 61)
    assert panel.values.dtype == np.float64
    assert panel.names == tuple(CATALOGUE)
    assert panel.usable.all()
    assert not panel.reasons
    assert np.isfinite(panel.values).all()


@pytest.mark.parametrize("extra", [1, 50, 400])
def test_older_history_changes_no_bit(invent: Invent, extra: int) -> None:
    bars = invent(3, LENGTH + extra, 1)
    truncated = each_field(bars, lambda values: values[:, -LENGTH:].copy())
    unlisted = each_field(truncated, lambda values: np.pad(values, ((0, 0), (extra, 0)), constant_values=np.nan))
    expected = compute(bars, WINDOW).values
    np.testing.assert_array_equal(compute(truncated, WINDOW).values, expected)
    np.testing.assert_array_equal(compute(unlisted, WINDOW).values, expected)


def test_permuting_stocks_permutes_the_panel(invent: Invent) -> None:
    bars = invent(6, LENGTH, 2)
    bars.close[4, -3] = np.nan
    order = np.array([3, 5, 0, 4, 2, 1])
    panel, permuted = compute(bars, WINDOW), compute(each_field(bars, lambda values: values[order]), WINDOW)
    np.testing.assert_array_equal(permuted.values, panel.values[order])
    np.testing.assert_array_equal(permuted.usable, panel.usable[order])
    assert {int(order[row]): reason for row, reason in permuted.reasons.items()} == panel.reasons


def test_a_stock_alone_has_the_values_it_has_among_others(invent: Invent) -> None:
    bars = invent(4, LENGTH, 2)
    alone = compute(each_field(bars, lambda values: values[2:3]), WINDOW)
    np.testing.assert_array_equal(alone.values[0], compute(bars, WINDOW).values[2])


def test_asking_for_fewer_indicators_changes_none_of_them(invent: Invent) -> None:
    bars = invent(2, LENGTH, 3)
    names = ("OBV", "RSI", "HT_PHASOR", "TRIX")
    panel = compute(bars, WINDOW, names)
    assert panel.names == names
    columns = [list(CATALOGUE).index(name) for name in names]
    np.testing.assert_array_equal(panel.values, compute(bars, WINDOW).values[:, :, columns])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), session=st.integers(0, WINDOW - 2))
def test_bars_after_a_session_of_the_window_change_nothing_up_to_it(invent: Invent, seed: int, session: int) -> None:
    bars = invent(2, LENGTH, seed)
    after = LENGTH - WINDOW + session + 1

    def disturb(values: np.ndarray) -> np.ndarray:
        noise = np.exp(np.random.default_rng(seed).normal(0, 0.2, values[:, after:].shape))
        return np.hstack((values[:, :after], values[:, after:] * noise))

    panel, disturbed = compute(bars, WINDOW), compute(each_field(bars, disturb), WINDOW)
    assert panel.usable.all()
    assert disturbed.usable.all()
    np.testing.assert_array_equal(disturbed.values[:, : session + 1], panel.values[:, : session + 1])
    assert (disturbed.values[:, session + 1 :] != panel.values[:, session + 1 :]).any()


@pytest.mark.parametrize("factor", [0.125, 2.0, 64.0])
def test_a_later_split_or_dividend_that_rescales_a_stock_changes_no_bit(invent: Invent, factor: float) -> None:
    bars = invent(2, LENGTH, 4)  # powers of two divide without rounding
    prices = {field: getattr(bars, field) * factor for field in ("open", "high", "low", "close")}
    adjusted = Bars(**prices, volume=bars.volume / factor)
    np.testing.assert_array_equal(compute(adjusted, WINDOW).values, compute(bars, WINDOW).values)


def test_values_are_ta_libs_up_to_the_units(invent: Invent) -> None:
    bars = invent(1, LENGTH, 5)
    close, volume = bars.close[0], bars.volume[0]
    panel = compute(bars, WINDOW, ("RSI", "MOM", "OBV"))
    in_dollars = talib.MOM(close)[-WINDOW:]
    in_shares = talib.OBV(close, volume)[-WINDOW:]
    np.testing.assert_allclose(panel.values[0, :, 0], talib.RSI(close)[-WINDOW:], rtol=1e-9)
    np.testing.assert_allclose(panel.values[0, :, 1] * close[0], in_dollars, rtol=1e-9)
    np.testing.assert_allclose(panel.values[0, :, 2] * volume[:-WINDOW].mean(), in_shares, rtol=1e-9)


def test_computing_leaves_the_bars_as_they_are(invent: Invent) -> None:
    bars, untouched = invent(2, LENGTH, 6), invent(2, LENGTH, 6)
    compute(bars, WINDOW)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(bars, field), getattr(untouched, field))


@pytest.mark.parametrize(
    ("field", "sessions", "value", "reason"),
    [
        ("close", slice(0, 40), np.nan, f"has {LENGTH - 40} of the {LENGTH} bars needed"),
        ("high", slice(-1, None), np.nan, f"has {LENGTH - 1} of the {LENGTH} bars needed"),
        ("open", slice(7, 8), np.inf, f"has {LENGTH - 1} of the {LENGTH} bars needed"),
        ("volume", slice(7, 8), np.nan, f"has {LENGTH - 1} of the {LENGTH} bars needed"),
        ("low", slice(30, 31), 0.0, "has a price that is not positive"),
        ("close", slice(0, 1), -1.0, "has a price that is not positive"),
        ("high", slice(90, 91), 1e6, "has a price more than 100 times off the close before"),
        ("close", slice(90, 91), 1e-3, "has a price more than 100 times off the close before"),
        ("volume", slice(90, 91), -5.0, "has a negative volume"),
        ("volume", slice(0, LENGTH - WINDOW), 0.0, "has no volume before the window"),
        ("volume", slice(LENGTH - WINDOW, None), 0.0, "has no volume within the window"),
    ],
)
def test_a_stock_with_bad_bars_is_left_out_with_the_reason(
    invent: Invent, field: str, sessions: slice, value: float, reason: str
) -> None:
    bars = invent(3, LENGTH, 7)
    sound = compute(bars, WINDOW).values
    getattr(bars, field)[1, sessions] = value
    panel = compute(bars, WINDOW)
    assert panel.reasons == {1: reason}
    assert panel.usable.tolist() == [True, False, True]
    assert np.isnan(panel.values[1]).all()
    np.testing.assert_array_equal(panel.values[[0, 2]], sound[[0, 2]])


def test_an_indicator_that_is_not_finite_leaves_the_stock_out_by_its_name(invent: Invent) -> None:
    bars = invent(2, LENGTH, 8)
    huge = 50.0 ** np.minimum(np.arange(LENGTH), 170)  # every step is allowed, but the squares of prices overflow
    for field in ("open", "high", "low", "close"):
        getattr(bars, field)[0] = huge
    panel = compute(bars, WINDOW, ("ROC", "BBANDS"))
    assert panel.reasons == {0: "BBANDS is not finite"}
    assert np.isnan(panel.values[0]).all()
    assert np.isfinite(panel.values[1]).all()


@pytest.mark.parametrize("still", [WINDOW - 1, 100, LENGTH - 1])
def test_prices_that_stand_still_give_finite_values(invent: Invent, still: int) -> None:
    bars = invent(1, LENGTH, 9)
    for field in ("open", "high", "low", "close"):
        getattr(bars, field)[0, -still:] = bars.close[0, -still - 1]
    panel = compute(bars, WINDOW)
    assert panel.usable.all()
    for name in ("ROC", "WILLR", "STOCHF", "AROONOSC", "TRANGE"):
        assert panel.values[0, -1, panel.names.index(name)] == 0.0, name


def test_repeated_bars_without_volume_on_missing_days_are_no_fault(invent: Invent) -> None:
    bars = invent(1, LENGTH, 10)
    for day in (60, -15, -2):
        for field in ("open", "high", "low", "close"):
            getattr(bars, field)[0, day] = bars.close[0, day - 1]
        bars.volume[0, day] = 0.0
    panel = compute(bars, WINDOW)
    assert panel.usable.all()
    assert np.isfinite(panel.values).all()


def test_an_unknown_indicator_is_refused_with_the_nearest_name(invent: Invent) -> None:
    with pytest.raises(ValueError, match="unknown indicator 'MACDHIST': did you mean 'MACDFIX'"):
        compute(invent(1, LENGTH, 0), WINDOW, ("MACDHIST",))


def test_returns_are_of_the_last_sessions_and_missing_where_a_bar_is():
    close = np.array([[1.0, 2.0, 3.0, 6.0], [4.0, np.nan, 2.0, 1.0]])
    bars = Bars(close, close, close, close, close)
    assert bars.returns(2).tolist()[0] == [0.5, 1.0]
    assert np.array_equal(bars.returns(9)[1], [np.nan, np.nan, -0.5], equal_nan=True)
