"""The table of the 61 against TA-Lib, its warm-up against measurement, and every function against look-ahead."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from talib import abstract

from indicators import CATALOGUE, Bars
from indicators.catalogue import FIELDS, Indicator, table

WINDOW = 21
RUNNING_TOTALS = ("AD", "OBV")
MEMORY_DEPENDS_ON_PRICES = (
    "HT_DCPERIOD",
    "HT_DCPHASE",
    "HT_PHASOR",
    "HT_SINE",
    "HT_TRENDMODE",
    "HT_TRENDLINE",
    "KAMA",
    "MAMA",
    "SAR",
    "SAREXT",
)

every_indicator = pytest.mark.parametrize("indicator", CATALOGUE.values(), ids=CATALOGUE.keys())


def test_the_candidates_are_the_functions_of_the_papers_six_groups() -> None:
    groups = {
        "Cycle Indicators": 5,
        "Momentum Indicators": 30,
        "Overlap Studies": 16,
        "Price Transform": 4,
        "Volatility Indicators": 3,
        "Volume Indicators": 3,
    }
    left_out = {"MAVP", "ACCBANDS", "AVGDEV", "IMI"}
    expected = {
        group: [name for name in talib.get_function_groups()[group] if name not in left_out] for group in groups
    }
    listed = {group: [row.name for row in CATALOGUE.values() if row.group == group] for group in groups}
    assert listed == expected
    assert {group: len(names) for group, names in listed.items()} == groups
    assert len(CATALOGUE) == 61


@every_indicator
def test_inputs_and_outputs_are_those_of_ta_lib(indicator: Indicator) -> None:
    function = abstract.Function(indicator.name)
    taken = [name for names in function.input_names.values() for name in ([names] if isinstance(names, str) else names)]
    assert [field[0] for field in taken] == list(indicator.inputs)
    assert (indicator.output in function.output_names) == (len(function.output_names) > 1)
    assert bool(indicator.output) <= bool(indicator.note), "the choice of a series needs its reason"


@every_indicator
def test_evaluate_equals_ta_libs_abstract_interface(
    indicator: Indicator, invent: Callable[[int, int, int], Bars]
) -> None:
    bars = _stock(invent(1, 150, 3), 0)
    result = abstract.Function(indicator.name)(dict(zip(FIELDS, bars, strict=True)))
    names = abstract.Function(indicator.name).output_names
    expected = result[names.index(indicator.output)] if indicator.output else result
    np.testing.assert_array_equal(indicator.evaluate(bars), expected)


@every_indicator
def test_the_first_value_comes_right_after_the_lookback(
    indicator: Indicator, invent: Callable[[int, int, int], Bars]
) -> None:
    values = indicator.evaluate(_stock(invent(1, 150, 3), 0))
    if values.dtype.kind == "f":  # HT_TRENDMODE is an integer: zeros stand in for its missing values
        assert np.isnan(values[: indicator.lookback]).all()
    assert np.isfinite(values[indicator.lookback :]).all()


@every_indicator
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(100, 149), size=st.sampled_from([1e-3, 0.1, 3.0]))
def test_bars_after_a_session_change_nothing_up_to_it(
    indicator: Indicator, invent: Callable[[int, int, int], Bars], seed: int, cut: int, size: float
) -> None:
    bars = _stock(invent(1, 150, seed), 0)
    changed = bars.copy()
    changed[:, cut + 1 :] *= np.exp(np.random.default_rng(seed).normal(0, size, changed[:, cut + 1 :].shape))
    np.testing.assert_array_equal(indicator.evaluate(changed)[: cut + 1], indicator.evaluate(bars)[: cut + 1])


@every_indicator
def test_a_settled_indicator_has_forgotten_where_its_bars_began(
    indicator: Indicator, invent: Callable[[int, int, int], Bars]
) -> None:
    influence = _influence(indicator, invent, indicator.settle)
    if indicator.name in RUNNING_TOTALS:
        # What differs is the anchor alone: the same amount at every session of the window.
        assert np.ptp(influence, axis=-1).max() < 1e-9 < np.abs(influence).min()
    elif indicator.name in MEMORY_DEPENDS_ON_PRICES:
        assert np.mean(np.abs(influence) > 1e-2) < 1e-3
    elif indicator.settle:
        assert np.abs(influence).max() < 1e-3
    else:
        assert np.abs(influence).max() < 1e-9, "only the rounding of running sums may remain"


@pytest.mark.parametrize("name", [row.name for row in CATALOGUE.values() if row.settle])
def test_half_the_settling_would_not_do(name: str, invent: Callable[[int, int, int], Bars]) -> None:
    influence = np.abs(_influence(CATALOGUE[name], invent, CATALOGUE[name].settle // 2))
    if name in MEMORY_DEPENDS_ON_PRICES:
        assert np.mean(influence > 1e-2) > 1e-3
    else:
        assert influence.max() > 1e-3


def test_the_documented_table_is_the_catalogue() -> None:
    document = (Path(__file__).parents[2] / "docs" / "indicators.md").read_text(encoding="utf-8")
    assert table() in document, "docs/indicators.md is behind: replace its table by what `python -m indicators` prints"


def _stock(bars: Bars, row: int) -> np.ndarray:
    return np.stack([getattr(bars, field)[row] for field in FIELDS])


def _influence(indicator: Indicator, invent: Callable[[int, int, int], Bars], settle: int) -> np.ndarray:
    """Change of the window's values when the past before lookback + settle is cut off, in standard deviations.

    Shape (stocks times ends, L).
    """
    market = invent(60, 1600, 7)
    changes = []
    for row in range(len(market.close)):
        bars = _stock(market, row)
        whole = indicator.evaluate(bars).astype(float)
        for end in (1000, 1300, 1600):
            part = indicator.evaluate(np.ascontiguousarray(bars[:, end - indicator.lookback - settle - WINDOW : end]))
            changes.append((part[-WINDOW:] - whole[end - WINDOW : end]) / np.nanstd(whole[200:]))
    return np.array(changes)
