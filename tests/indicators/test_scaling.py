"""What each scaling keeps and what it does not see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata

from indicators import scale

METHODS = ("rank", "robust", "paper")


def some_values(seed: int = 0, shape: tuple[int, int, int] = (9, 6, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) * np.array([1e-4, 1.0, 50.0, 1e9])


everyone = np.ones(9, dtype=bool)


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(float, (7, 2, 3), elements=st.integers(-3, 3).map(float)))
def test_ranks_are_the_mean_ranks_of_each_session_spread_from_minus_one_to_one(values: np.ndarray) -> None:
    features = scale(values, np.ones(7, dtype=bool), "rank")
    for session in range(2):
        for column in range(3):
            ranks = rankdata(values[:, session, column], method="average")
            np.testing.assert_allclose(features[:, session, column], (ranks - 4) / 3, atol=1e-6)


def test_the_smallest_is_minus_one_the_largest_one_and_equals_share() -> None:
    values = np.array([5.0, 1.0, 5.0, 9.0, 5.0]).reshape(5, 1, 1)
    assert scale(values, np.ones(5, dtype=bool), "rank").ravel().tolist() == [0, -1, 0, 1, 0]


def test_ranks_do_not_change_under_a_monotone_transform_of_an_indicator() -> None:
    values = some_values()
    transformed = values.copy()
    transformed[:, :, 1] = np.exp(values[:, :, 1])
    transformed[:, :, 3] = np.cbrt(values[:, :, 3]) - 7
    np.testing.assert_array_equal(scale(transformed, everyone, "rank"), scale(values, everyone, "rank"))


@pytest.mark.parametrize("method", METHODS)
def test_permuting_stocks_permutes_the_features(method: str) -> None:
    values, order = some_values(), np.random.default_rng(1).permutation(9)
    np.testing.assert_array_equal(scale(values[order], everyone, method), scale(values, everyone, method)[order])


@pytest.mark.parametrize("method", METHODS)
def test_an_unusable_stock_changes_nothing_and_is_zero(method: str) -> None:
    values = some_values()
    more = np.insert(values, 4, np.nan, axis=0)
    usable = np.insert(everyone, 4, False)
    features = scale(more, usable, method)
    np.testing.assert_array_equal(np.delete(features, 4, axis=0), scale(values, everyone, method))
    assert not features[4].any()


@pytest.mark.parametrize("method", METHODS)
def test_features_are_single_precision_and_finite_whatever_the_units(method: str) -> None:
    features = scale(some_values() * 1e12, everyone, method)
    assert features.dtype == np.float32
    assert features.shape == (9, 6, 4)
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 5


@pytest.mark.parametrize("method", ["rank", "robust"])
def test_a_stock_alone_has_nothing_to_be_compared_with(method: str) -> None:
    assert not scale(some_values()[:1], np.array([True]), method).any()


@pytest.mark.parametrize("method", METHODS)
def test_no_usable_stock_gives_zeros(method: str) -> None:
    assert not scale(np.full((3, 2, 4), np.nan), np.zeros(3, dtype=bool), method).any()


@pytest.mark.parametrize("method", METHODS)
def test_an_indicator_that_is_the_same_everywhere_is_zero(method: str) -> None:
    values = some_values()
    values[:, :, 2] = 0.1  # its computed mean and deviation are not exactly 0.1 and 0
    values[:, :, 3] = 1e3
    values[::2, ::2, 3] += 1e-11
    features = scale(values, everyone, method)
    assert not features[:, :, 2].any()
    if method != "rank":
        assert not features[:, :, 3].any()


def test_robust_scores_are_distances_from_the_median_in_normal_standard_deviations() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0]).reshape(5, 1, 1)
    features = scale(values, np.ones(5, dtype=bool), "robust").ravel()
    np.testing.assert_allclose(features, [-2 / 1.4826, -1 / 1.4826, 0, 1 / 1.4826, 5], rtol=1e-6)


def test_robust_scores_estimate_standard_scores_of_normal_values() -> None:
    values = np.random.default_rng(2).normal(3, 2, (20_000, 1, 1))
    features = scale(values, np.ones(20_000, dtype=bool), "robust").ravel()
    # The standard error of MAD's estimate of a standard deviation is 1.17 / sqrt(20000) = 0.8 %.
    assert features.std() == pytest.approx(1, abs=0.03)
    assert features.mean() == pytest.approx(0, abs=0.03)


def test_paper_scores_have_mean_zero_and_deviation_one_along_the_window() -> None:
    features = scale(some_values(), everyone, "paper").astype(float)
    np.testing.assert_allclose(features.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(features.std(axis=1), 1, atol=1e-6)


def test_paper_scores_of_a_stock_do_not_depend_on_other_stocks() -> None:
    values = some_values()
    np.testing.assert_array_equal(scale(values, everyone, "paper")[3:4], scale(values[3:4], np.array([True]), "paper"))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="scaling = 'zscore' is not one of rank, robust, paper"):
        scale(some_values(), everyone, "zscore")
