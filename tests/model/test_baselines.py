"""Rules and online learners against closed forms, and what every allocator promises."""

from dataclasses import replace
from datetime import datetime

import cvxpy as cp
import numpy as np
import pytest

from model import Market, NoOpenDecisionError, make_allocator
from model.baselines import RULES, Baseline, ExponentiatedGradient, OnlineNewtonStep, complete_sessions
from model.checkpoint import pack, unpack
from settings import Settings

NAMES = ("equal", "cap", "inverse_volatility", "minimum_variance", "momentum", "eg", "ons")


def make(name):
    options = Settings.from_parameters({"allocator": name})
    return make_allocator(options, n_features=3)


def market(n=6, sessions=252, seed=0, tradable=None, stocks=None):
    draw = np.random.default_rng(seed)
    size = draw.uniform(0.5, 2.0, (n, 1))
    common = draw.normal(0.0, 0.005, sessions)
    return Market(
        datetime(2010, 1, 4, 9),
        stocks or tuple(f"S{i}" for i in range(n)),
        np.zeros((n, 2, 3), dtype=np.float32),
        np.ones(n, dtype=bool) if tradable is None else np.array(tradable),
        caps=draw.uniform(0.1, 1.0, n),
        past=common + size * draw.normal(0.0, 0.01, (n, sessions)),
    )


# --- rules


def test_cap_weights_are_the_etfs_own_over_what_can_be_traded():
    found = RULES["cap"](replace(market(3, tradable=[True, False, True]), caps=np.array([3.0, 5.0, 1.0])))
    assert found.tolist() == [0.75, 0.0, 0.25]


def test_a_stock_without_a_weight_in_the_etf_has_none_here():
    assert RULES["cap"](replace(market(3), caps=np.array([3.0, np.nan, 1.0]))).tolist() == [0.75, 0.0, 0.25]
    with pytest.raises(ValueError, match="no tradable stock has a weight in the ETF"):
        RULES["cap"](replace(market(3), caps=np.full(3, np.nan)))


def test_twice_the_volatility_is_half_the_weight():
    calm = np.array([0.01, -0.01, 0.02, -0.02])
    found = RULES["inverse_volatility"](replace(market(2), past=np.stack([calm, 2 * calm])))
    assert found == pytest.approx([2 / 3, 1 / 3], abs=1e-15)


def test_a_price_that_never_moves_has_no_inverse_volatility():
    past = np.stack([np.zeros(4), [0.01, -0.01, 0.02, -0.02]])
    assert RULES["inverse_volatility"](replace(market(2), past=past)).tolist() == [0.0, 1.0]


def test_minimum_variance_of_two_stocks_is_the_closed_form_on_the_shrunk_covariance():
    from sklearn.covariance import ledoit_wolf

    month = market(2)
    (a, c), (_, b) = ledoit_wolf(complete_sessions(month))[0]
    first = (b - c) / (a + b - 2 * c)
    assert 0 < first < 1
    assert RULES["minimum_variance"](month) == pytest.approx([first, 1 - first], abs=1e-5)  # the solver's tolerance


def test_minimum_variance_meets_the_conditions_of_its_optimum():
    from sklearn.covariance import ledoit_wolf

    month = market(40, seed=3)
    covariance, found = ledoit_wolf(complete_sessions(month))[0], RULES["minimum_variance"](month)
    marginal = covariance @ found / (found @ covariance @ found)  # 1 where held, at least 1 where not
    assert marginal[found > 1e-6] == pytest.approx(1.0, abs=1e-4)
    assert (marginal > 1 - 1e-4).all()


def test_momentum_holds_the_winners_of_the_year_before_the_last_month():
    past = np.zeros((10, 252))
    past[:, 5] = np.arange(10) / 100  # S9 has risen most
    past[:, -3] = -np.arange(10) / 20  # the last month reverses it, and is not looked at
    assert np.flatnonzero(RULES["momentum"](replace(market(10), past=past))).tolist() == [7, 8, 9]


def test_momentum_does_not_rank_a_stock_with_a_gap():
    past = np.zeros((10, 252))
    past[:, 5] = np.arange(10) / 100
    past[9, 40] = np.nan
    assert np.flatnonzero(RULES["momentum"](replace(market(10), past=past))).tolist() == [6, 7, 8]


@pytest.mark.parametrize("rule", ["inverse_volatility", "minimum_variance", "momentum"])
def test_without_past_returns_the_weights_are_equal(rule):
    assert RULES[rule](replace(market(4), past=np.empty((4, 0)))).tolist() == [0.25] * 4


# --- online learners


def test_eg_multiplies_by_the_exponential_of_the_relative_return():
    eg = Baseline(ExponentiatedGradient())
    assert eg.decide(market(2)).tolist() == [0.5, 0.5]
    eg.learn(np.array([0.1, -0.1]))
    grown = np.exp(0.05 * np.array([1.1, 0.9]))  # w.x = 1
    assert eg.decide(market(2)) == pytest.approx(grown / grown.sum(), abs=1e-15)


def test_a_newcomer_of_eg_starts_at_an_equal_share():
    eg = Baseline(ExponentiatedGradient())
    eg.decide(market(2))
    eg.learn(np.array([0.5, -0.5]))
    old = eg.decide(market(2))
    found = eg.decide(market(3))
    assert found[2] == pytest.approx(1 / 3, abs=1e-15)
    assert found[:2] == pytest.approx(old * 2 / 3, abs=1e-15)


def test_the_first_newton_step_is_the_closed_form():
    ons = Baseline(OnlineNewtonStep())
    assert ons.decide(market(2)) == pytest.approx([0.5, 0.5], abs=1e-9)
    ons.learn(np.array([0.3, -0.3]))
    gradient = np.array([1.3, 0.7])
    a = np.eye(2) + np.outer(gradient, gradient)
    target = 0.125 * 2 * np.linalg.solve(a, gradient)
    toward = np.array([1.0, -1.0])  # the simplex is (1/2, 1/2) + t * (1, -1)
    t = toward @ a @ (target - 0.5) / (toward @ a @ toward)
    assert ons.decide(market(2)) == pytest.approx([0.5 + t, 0.5 - t], abs=1e-7)


def test_a_newcomer_of_ons_has_earned_what_the_portfolio_earned():
    """Its A and b are those of a run in which it was there all along, with that return."""
    short, long = OnlineNewtonStep(), OnlineNewtonStep()
    for x in ([1.1, 0.8], [0.7, 1.4]):
        weights, x = np.array([0.5, 0.5]), np.array(x)
        short.update(("A", "B"), weights, x)
        long.update(("A", "B", "C"), np.array([0.5, 0.5, 0.0]), np.append(x, weights @ x))
    month = market(3, stocks=("A", "B", "C"))
    assert short.weights(month) == pytest.approx(long.weights(month), abs=1e-9)


def test_the_newton_steps_projection_is_the_nearest_point_of_the_simplex():
    ons, draw = Baseline(OnlineNewtonStep()), np.random.default_rng(5)
    for _ in range(12):
        found = ons.decide(market(8))
        ons.learn(draw.normal(0.0, 0.2, 8))
    state = ons.state().arrays
    found = ons.decide(market(8))
    a, target = state["a"], 0.25 * np.linalg.solve(state["a"], state["sum"])
    slope = 2 * a @ (found - target)  # equal where held, larger where not
    assert np.ptp(slope[found > 1e-6]) < 1e-5
    assert (slope > slope[found > 1e-6].max() - 1e-5).all()


# --- what every allocator promises


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_a_portfolio_of_the_tradable_stocks(name):
    allocator, draw = make(name), np.random.default_rng(1)
    for seed in range(4):
        tradable = draw.random(6) < 0.7
        tradable[seed] = True
        weights = allocator.decide(market(seed=seed, tradable=tradable))
        assert (weights >= 0).all()
        assert not weights[~tradable].any()
        assert abs(weights.sum() - 1) < 1e-9
        report = allocator.learn(np.where(draw.random(6) < 0.2, np.nan, draw.normal(0.01, 0.05, 6)))
        assert report.step == seed + 1
        assert report.loss == -report.reward
        assert report.effective_names == pytest.approx(np.exp(-(weights[weights > 0] @ np.log(weights[weights > 0]))))


@pytest.mark.parametrize("name", NAMES)
def test_permuting_the_stocks_permutes_the_weights(name):
    order = np.random.default_rng(2).permutation(6)
    one, other, month = make(name), make(name), market()
    turned = replace(
        month,
        stocks=tuple(month.stocks[i] for i in order),
        features=month.features[order],
        tradable=month.tradable[order],
        caps=month.caps[order],
        past=month.past[order],
    )
    returns = np.linspace(-0.2, 0.3, 6)
    for _ in range(3):
        weights, permuted = one.decide(month), other.decide(turned)
        assert permuted == pytest.approx(weights[order], abs=1e-6)  # what the solvers leave
        one.learn(returns)
        other.learn(returns[order])


@pytest.mark.parametrize("name", NAMES)
def test_a_restart_between_decision_and_outcome_changes_no_bit(name):
    draw = np.random.default_rng(4)
    returns = [draw.normal(0.0, 0.1, 6) for _ in range(3)]
    quiet, restarted, weights = make(name), make(name), []
    for month in range(3):
        weights.append(quiet.decide(market(seed=month)))
        quiet.learn(returns[month])
    for month in range(3):
        assert np.array_equal(restarted.decide(market(seed=month)), weights[month])
        again = make(name)
        again.restore(unpack(pack(restarted.state())))
        again.learn(returns[month])
        restarted = make(name)
        restarted.restore(unpack(pack(again.state())))


@pytest.mark.parametrize("name", NAMES)
def test_learning_needs_an_open_decision_and_finite_returns_of_its_shape(name):
    allocator = make(name)
    with pytest.raises(NoOpenDecisionError):
        allocator.learn(np.zeros(6))
    allocator.decide(market())
    for wrong in (np.zeros(5), np.array([np.inf, 0, 0, 0, 0, 0])):
        with pytest.raises(ValueError, match="6 finite returns are needed"):
            allocator.learn(wrong)
    assert allocator.learn(np.zeros(6)).step == 1


def test_a_state_of_another_allocator_is_refused():
    with pytest.raises(ValueError, match="another allocator"):
        make("ons").restore(make("eg").state())


def test_the_rules_load_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; from model import make_allocator; from settings import Settings;"
        "make_allocator(Settings.from_parameters({'allocator': 'momentum'}), n_features=3);"
        "sys.exit('torch' in sys.modules or 'cvxpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_solver_at_hand_is_the_one_that_is_asked_for():
    assert cp.CLARABEL in cp.installed_solvers()
