"""The control without a language model."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.baselines import RULES

N, F = 12, 3  # of make_market
RETURNS = np.random.default_rng(9).normal(0, 0.05, N)


def test_the_first_decision_is_the_prior(make_learner, make_market) -> None:
    market = make_market(tradable=np.arange(N) != 4)
    for rule in ("equal", "cap", "inverse_volatility"):
        weights = make_learner(allocator="linear", prior=rule).decide(market)
        np.testing.assert_allclose(weights, RULES[rule](market), rtol=0, atol=1e-15)


def test_weights_are_a_softmax_of_the_last_sessions_indicators(make_learner, make_market) -> None:
    learner, market = make_learner(allocator="linear"), make_market()
    map_ = np.array([[0.5, -2.0, 1.0]], dtype=np.float32)
    learner.restore(replace(learner.state(), arrays={"parameter/head.weight": map_}))
    scores = np.exp(market.features[:, -1] @ map_[0])
    np.testing.assert_allclose(learner.decide(market), scores / scores.sum(), rtol=1e-6)


def test_gradient_step_and_saliency_agree_with_their_formulas(make_learner, make_market) -> None:
    learner, market = make_learner(allocator="linear", eta=0.5, weight_decay=0.0), make_market()
    map_ = np.array([[0.5, -2.0, 1.0]], dtype=np.float32)
    learner.restore(replace(learner.state(), arrays={"parameter/head.weight": map_}))
    w = learner.decide(market)
    report = learner.learn(RETURNS)
    x = market.features[:, -1].astype(np.float64)
    concentration = np.log(N) + (w * np.log(w)).sum()
    slope = -w * (RETURNS - w @ RETURNS) + 0.5 * w * (np.log(w) + np.log(N) - concentration)
    gradient = learner.policy.head.weight.grad.numpy()[0]
    np.testing.assert_allclose(gradient, slope @ x, rtol=1e-5)
    np.testing.assert_allclose(learner.policy.head.weight.detach()[0], map_[0] - 0.01 * np.sign(gradient), rtol=1e-5)
    assert report.saliency == pytest.approx(np.abs(map_[0]) * (np.abs(slope) @ np.abs(x)), rel=1e-5)


def test_sessions_before_the_last_change_nothing(make_learner, make_market) -> None:
    market = make_market()
    features = market.features.copy()
    features[:, :-1] = 0
    one, other = make_learner(allocator="linear"), make_learner(allocator="linear")
    for learner, seen in ((one, market), (other, replace(market, features=features))):
        learner.decide(seen)
        learner.learn(RETURNS)
    assert np.array_equal(one.decide(market), other.decide(market))


def test_a_linear_learner_needs_no_transformers() -> None:
    code = """if True:
        import sys, datetime, numpy as np
        from model import Market, make_allocator
        from settings import Settings
        learner = make_allocator(Settings.from_parameters({"allocator": "linear"}), n_features=3)
        market = Market(datetime.datetime(2010, 1, 4), ("A", "B"), np.ones((2, 5, 3)), np.ones(2, dtype=bool))
        learner.decide(market)
        learner.learn(np.zeros(2))
        sys.exit(bool({"transformers", "peft", "sklearn", "skfolio"} & sys.modules.keys()))
    """
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_a_learner_says_that_it_is_linear(make_learner) -> None:
    wanted = "linear map in fp32 on cpu: 0 frozen parameters, 3 trained, 20 stocks at a time"
    assert str(make_learner(allocator="linear")) == wanted
    assert make_learner(allocator="linear").policy.head.weight.dtype == torch.float32
