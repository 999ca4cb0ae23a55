"""What the loss knows of the market and of earlier months."""

from dataclasses import replace

import numpy as np
import pytest

from model import Decision
from model.baselines import RULES
from model.history import PRIOR_FLOOR, History, covariance, prior
from settings import LearningSettings

N = 12  # the stocks of make_market
ALL = LearningSettings(reward="sharpe", variance_aversion=1.0, turnover_cost=0.01, replay=2)
TRADABLE = np.arange(N) != 4
RETURNS = np.random.default_rng(9).normal(0, 0.05, N)


def test_an_equal_prior_is_exactly_1_everywhere(make_market) -> None:
    assert prior(make_market(tradable=TRADABLE), "equal").tolist() == [1.0] * (N - 1)


def test_a_prior_is_its_rule_over_the_tradable_stocks(make_market) -> None:
    market = make_market(tradable=TRADABLE)
    for rule in ("cap", "inverse_volatility"):
        found = prior(market, rule)
        np.testing.assert_allclose(found / found.sum(), RULES[rule](market)[TRADABLE], rtol=1e-14)


def test_a_stock_that_the_rule_leaves_out_keeps_a_hundredth_of_its_equal_weight(make_market) -> None:
    caps = make_market().caps.copy()
    caps[:3] = np.nan
    market = replace(make_market(), caps=caps)
    found, rule = prior(market, "cap"), RULES["cap"](market)
    np.testing.assert_allclose(found[:3] * rule.max(), PRIOR_FLOOR / N, rtol=1e-12)
    np.testing.assert_allclose((found / found.sum())[3:], rule[3:], rtol=0.01)


def test_the_covariance_is_a_months_and_between_the_samples_and_a_multiple_of_the_identity(make_market) -> None:
    market = make_market(tradable=TRADABLE)
    sample = np.cov(market.past[TRADABLE], bias=True) * 21
    found = covariance(market)
    off_diagonal = ~np.eye(N - 1, dtype=bool)
    kept = (found / sample)[off_diagonal]
    assert 0 < kept[0] < 1
    np.testing.assert_allclose(kept, kept[0], rtol=1e-9)
    np.testing.assert_allclose(
        np.diag(found), kept[0] * np.diag(sample) + (1 - kept[0]) * np.trace(sample) / (N - 1), rtol=1e-9
    )


def test_the_covariance_looks_at_sessions_in_which_all_tradable_stocks_have_a_return(make_market) -> None:
    market = make_market(tradable=TRADABLE)
    past = market.past.copy()
    past[3, :20] = np.nan
    past[4] = np.nan  # not tradable
    assert np.array_equal(covariance(replace(market, past=past)), covariance(replace(market, past=market.past[:, 20:])))
    past[3, 1:] = np.nan
    with pytest.raises(ValueError, match="0 sessions in which all 11 tradable stocks have a return"):
        covariance(replace(market, past=past))


def test_weights_drift_with_their_returns_and_are_found_again_by_name(make_market) -> None:
    market = make_market(tradable=TRADABLE)
    weights = np.where(TRADABLE, RULES["cap"](market), 0.0)
    returns = RETURNS.copy()
    returns[2] = np.nan  # counts as a price that stood still
    month = History().month(market, returns, "equal", ALL)
    assert month.drifted.tolist() == [0.0] * (N - 1)  # nothing was held before
    history = History().after(month, Decision(market, weights), ALL)
    grown = weights * (1 + np.nan_to_num(returns))
    grown /= grown.sum()
    later = replace(market, stocks=("NEW", *market.stocks[:0:-1]), tradable=np.ones(N, dtype=bool))
    drifted = history.month(later, returns, "equal", ALL).drifted
    assert drifted[0] == 0
    np.testing.assert_allclose(drifted[1:], grown[:0:-1], rtol=1e-14)


def test_nothing_is_remembered_that_the_settings_do_not_ask_for(make_market) -> None:
    market = make_market()
    month = History().month(market, RETURNS, "equal", LearningSettings())
    assert month.covariance is None
    assert month.drifted is None
    after = History().after(month, Decision(market, RULES["equal"](market)), LearningSettings())
    assert after.arrays() == {}


def test_the_last_months_are_kept_and_return_from_arrays_to_the_bit(make_market) -> None:
    history = History()
    for seed in range(4):
        market = make_market(seed, tradable=np.arange(N) > seed)
        month = history.month(market, np.where(np.arange(N) == 5, np.nan, RETURNS), "cap", ALL)
        history = history.after(month, Decision(market, RULES["cap"](market)), ALL)
    assert [len(month.returns) for month in history.months] == [9, 8]
    back = History.from_arrays(history.arrays(), n_features=3)
    assert back.drifted == history.drifted
    assert back.moments == history.moments
    for name, array in history.arrays().items():
        assert np.array_equal(back.arrays()[name], array)
        assert np.isfinite(array).all(), name


def test_twelve_months_of_the_papers_size_take_4_megabytes(make_market) -> None:
    market = replace(make_market(n=100), features=np.zeros((100, 21, 41), dtype=np.float32))
    keep = LearningSettings(replay=12)
    history = History()
    for _ in range(13):
        month = history.month(market, np.zeros(100), "equal", keep)
        history = history.after(month, Decision(market, np.full(100, 0.01)), keep)
    assert 4.13e6 < sum(array.nbytes for array in history.arrays().values()) < 4.17e6


def test_a_history_of_another_width_or_with_a_hole_is_refused(make_market) -> None:
    market = make_market()
    month = History().month(market, RETURNS, "equal", ALL)
    arrays = History().after(month, Decision(market, RULES["equal"](market)), ALL).arrays()
    with pytest.raises(ValueError, match="made for 4 indicators"):
        History.from_arrays(arrays, n_features=4)
    del arrays["0/returns"]
    with pytest.raises(ValueError, match="has no '0/returns'"):
        History.from_arrays(arrays, n_features=3)
