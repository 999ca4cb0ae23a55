"""Variance inflation factors against statsmodels, and the order in which indicators go."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

from indicators import CATALOGUE, Bars, Selection, compute, required_bars, select
from indicators.selection import variance_inflation


def correlated(rows: int, columns: int, seed: int, noise: float = 0.05) -> np.ndarray:
    """Columns that are mixtures of half as many factors plus noise, in units from 1e-6 to 1e6, away from zero."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, columns // 2 + 1))
    mixture = factors @ rng.normal(size=(columns // 2 + 1, columns)) + noise * rng.normal(size=(rows, columns))
    return (mixture + rng.normal(0, 3, columns)) * 10.0 ** rng.uniform(-6, 6, columns)


def statsmodels_factors(values: np.ndarray) -> np.ndarray:
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    design = np.column_stack((np.ones(len(standard)), standard))  # statsmodels fits no intercept of its own
    return np.array([variance_inflation_factor(design, column) for column in range(1, design.shape[1])])


def names_for(values: np.ndarray) -> list[str]:
    return [f"x{column}" for column in range(values.shape[-1])]


def choose(values: np.ndarray, n_indicators: int = 1, max_vif: float = 0.0) -> Selection:
    return select(values, names_for(values), n_indicators=n_indicators, max_vif=max_vif, instant="2009-05-29 16:00")


@pytest.mark.parametrize("noise", [1.0, 0.05, 1e-3])
def test_factors_equal_those_of_statsmodels(noise: float) -> None:
    values = correlated(2100, 61, 1, noise)
    np.testing.assert_allclose(variance_inflation(values - values.mean(axis=0)), statsmodels_factors(values), rtol=1e-6)


def test_factors_of_real_indicators_equal_those_of_statsmodels(invent: Callable[[int, int, int], Bars]) -> None:
    exact_repeats = {"ROCP", "ROCR", "ROCR100", "RSI", "SMA", "WCLPRICE"}
    names = [name for name in CATALOGUE if name not in exact_repeats]
    values = compute(invent(60, required_bars(21), 1), 21, names).values.reshape(-1, len(names))
    factors = variance_inflation(values - values.mean(axis=0))
    assert factors.max() > 1e5, "the comparison is to reach strongly collinear columns"
    np.testing.assert_allclose(factors, statsmodels_factors(values), rtol=1e-6)


def test_uncorrelated_columns_have_factor_one() -> None:
    columns = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 6)))[0][:, 1:]
    columns = np.linalg.qr(np.column_stack((np.ones(50), columns)))[0][:, 1:]
    np.testing.assert_allclose(variance_inflation(columns), 1.0, rtol=1e-12)


def test_columns_that_determine_each_other_are_infinite_and_the_others_keep_their_factor() -> None:
    values = correlated(500, 8, 2)
    values[:, 5] = 3 * values[:, 1] / values[:, 1].std() - 2 * values[:, 4] / values[:, 4].std() + 7
    factors = variance_inflation(values - values.mean(axis=0))
    assert np.flatnonzero(np.isinf(factors)).tolist() == [1, 4, 5]
    others = [0, 2, 3, 6, 7]
    np.testing.assert_allclose(
        factors[others], statsmodels_factors(np.delete(values, 5, axis=1))[[0, 2, 3, 5, 6]], 1e-6
    )


def test_elimination_equals_refitting_with_statsmodels_at_each_step() -> None:
    values = correlated(400, 10, 3)
    left, dropped = list(range(10)), []
    while len(left) > 4:
        factors = statsmodels_factors(values[:, left])
        worst = int(factors.argmax())
        dropped.append((f"x{left.pop(worst)}", factors[worst]))
    selection = choose(values, n_indicators=4)
    assert selection.names == tuple(f"x{column}" for column in left)
    assert [name for name, _ in selection.dropped] == [name for name, _ in dropped]
    np.testing.assert_allclose(
        [factor for _, factor in selection.dropped], [factor for _, factor in dropped], rtol=1e-6
    )


def test_of_four_rates_of_change_that_are_one_the_first_stays(invent: Callable[[int, int, int], Bars]) -> None:
    names = ("ROC", "ROCP", "ROCR", "ROCR100", "ATR", "OBV")
    panel = compute(invent(40, required_bars(21), 2), 21, names)
    selection = select(panel.values, names, n_indicators=3, max_vif=0, instant="")
    assert selection.names == ("ROC", "ATR", "OBV")
    assert selection.dropped == (("ROCR100", math.inf), ("ROCR", math.inf), ("ROCP", math.inf))


def test_columns_without_a_factor_go_first_even_beyond_the_number_asked_for() -> None:
    values = correlated(300, 6, 4)
    values[:, 1] = 0.1
    values[7, 3] = np.nan
    values[9, 4] = np.inf
    selection = choose(values, n_indicators=5)
    assert selection.names == ("x0", "x2", "x5")
    assert selection.dropped == (("x1", None), ("x3", None), ("x4", None))


def test_a_column_that_changes_by_rounding_alone_is_constant() -> None:
    values = correlated(300, 3, 5)
    values[:, 1] = 100 + 1e-13 * np.arange(300) % 3e-13
    assert choose(values, n_indicators=3).dropped == (("x1", None),)


def test_stocks_left_out_of_the_panel_are_no_observations() -> None:
    values = correlated(300, 5, 6).reshape(30, 10, 5)
    with_gaps = np.insert(values, [0, 12, 30], np.nan, axis=0)
    assert choose(with_gaps, 3) == choose(values, 3)
    assert choose(with_gaps, 3).rows == 300


def test_a_limit_on_the_factor_replaces_the_number() -> None:
    values = correlated(400, 10, 7)
    selection = choose(values, n_indicators=10, max_vif=5.0)
    kept = [int(name[1:]) for name in selection.names]
    assert statsmodels_factors(values[:, kept]).max() <= 5.0
    assert all(factor is not None and factor > 5.0 for _, factor in selection.dropped)
    assert 1 < len(kept) < 10


def test_a_limit_that_nothing_meets_leaves_one_indicator() -> None:
    assert len(choose(correlated(400, 5, 8), max_vif=0.5).names) == 1


def test_order_of_observations_and_units_do_not_matter() -> None:
    rng = np.random.default_rng(9)
    values = correlated(400, 12, 9)
    values[:, 8] = values[:, 2] - values[:, 5]
    changed = rng.permutation(values) * 10.0 ** rng.uniform(-5, 5, 12) + rng.normal(size=12)
    selection, again = choose(values, 5), choose(changed, 5)
    assert again.names == selection.names
    assert [name for name, _ in again.dropped] == [name for name, _ in selection.dropped]


def test_fewer_observations_than_columns_leave_an_independent_set() -> None:
    values = np.random.default_rng(10).normal(size=(8, 12))
    selection = choose(values, n_indicators=5)
    assert len(selection.names) == 5
    assert [factor for _, factor in selection.dropped][:5] == [math.inf] * 5, "8 centred rows span 7 dimensions"
    assert selection.dropped[-1][1] < math.inf


def test_a_selection_survives_strict_json() -> None:
    values = correlated(300, 6, 11)
    values[:, 1] = 0.1
    values[:, 4] = 2 * values[:, 0]
    selection = choose(values, n_indicators=2)
    assert {factor for _, factor in selection.dropped} >= {None, math.inf}
    text = json.dumps(selection.as_dict(), allow_nan=False)
    assert Selection.from_dict(json.loads(text)) == selection
    assert (selection.rows, selection.instant) == (300, "2009-05-29 16:00")


@pytest.mark.parametrize("saved", [{}, {"names": ["ROC"], "dropped": [["RSI"]], "rows": 3, "instant": ""}])
def test_a_damaged_selection_is_refused(saved: dict) -> None:
    with pytest.raises(ValueError, match="saved selection cannot be read"):
        Selection.from_dict(saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["x0"]}, "1 names for 4 columns"),
        ({"n_indicators": 0}, "n_indicators = 0 of 4"),
        ({"n_indicators": 5}, "n_indicators = 5 of 4"),
        ({"max_vif": -1.0}, "max_vif = -1.0"),
        ({"values": np.ones((9, 4))}, "none of the 4 indicators varies over 9 observations"),
        ({"values": np.full((9, 4), np.nan)}, "none of the 4 indicators varies over 0 observations"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(arguments: dict, message: str) -> None:
    values = correlated(100, 4, 12)
    defaults = {"values": values, "names": names_for(values), "n_indicators": 2, "max_vif": 0.0, "instant": ""}
    with pytest.raises(ValueError, match=message):
        select(**(defaults | arguments))
