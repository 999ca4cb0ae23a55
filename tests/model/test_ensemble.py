"""Averages over seeds."""

import numpy as np
import pytest

from model import NoOpenDecisionError
from model.checkpoint import pack, unpack

N = 12  # the stocks of make_market
RETURNS = np.random.default_rng(9).normal(0, 0.05, N)
TRADABLE = np.arange(N) != 4


def test_an_ensemble_averages_runs_with_the_seeds_that_follow(make_learner, make_market) -> None:
    ensemble = make_learner(seed=5, ensemble=3)
    alone = [make_learner(seed=seed) for seed in (5, 6, 7)]
    for month in range(3):
        market = make_market(month, tradable=TRADABLE)
        weights = ensemble.decide(market)
        assert np.array_equal(weights, np.mean([learner.decide(market) for learner in alone], axis=0))
        report, reports = ensemble.learn(RETURNS), [learner.learn(RETURNS) for learner in alone]
        assert report.step == month + 1
        assert report.reward == pytest.approx(weights @ RETURNS, rel=1e-12)
        assert report.loss == pytest.approx(np.mean([each.loss for each in reports]), rel=1e-12)
        assert report.step_kl == pytest.approx(np.mean([each.step_kl for each in reports]), rel=1e-12)
        assert report.saliency == pytest.approx(np.mean([each.saliency for each in reports], axis=0), rel=1e-12)
        held = weights[TRADABLE]
        assert report.effective_names == pytest.approx(np.exp(-(held * np.log(held)).sum()), rel=1e-12)
        assert (report.drift, report.fallbacks) == (0, 0)


def test_members_share_the_backbone(make_learner, chronos_folder) -> None:
    text = str(make_learner(ensemble=2, backbone=str(chronos_folder)))
    assert text.startswith(f"2 learners, each {chronos_folder} in fp32 on cpu")
    members = make_learner(ensemble=2, backbone=str(chronos_folder))._members
    places = [member.policy.encoder.final_layer_norm.weight.data_ptr() for member in members]
    assert places[0] == places[1]


def test_a_restart_in_mid_month_or_between_months_changes_no_bit(make_learner, make_market) -> None:
    whole, restarted = make_learner(ensemble=2), make_learner(ensemble=2)
    for month in range(3):
        market = make_market(month, tradable=TRADABLE)
        assert np.array_equal(whole.decide(market), restarted.decide(market))
        data = pack(restarted.state())
        restarted = make_learner(seed=99, ensemble=2)
        restarted.restore(unpack(data))
        assert whole.learn(RETURNS) == restarted.learn(RETURNS)
        data = pack(restarted.state())
        restarted = make_learner(seed=98, ensemble=2)
        restarted.restore(unpack(data))
    assert pack(whole.state()) == data


def test_where_a_member_fails_the_others_have_not_learnt_either(make_learner, make_market, monkeypatch) -> None:
    ensemble = make_learner(ensemble=2)
    ensemble.decide(make_market())
    before = pack(ensemble.state())

    def fail(*_: object) -> None:
        raise ArithmeticError("the second member cannot")

    for method, argument in (("learn", RETURNS), ("decide", make_market(1))):
        monkeypatch.setattr(ensemble._members[1], method, fail)
        with pytest.raises(ArithmeticError, match="second member"):
            getattr(ensemble, method)(argument)
        assert pack(ensemble.state()) == before
        monkeypatch.undo()
    assert ensemble.learn(RETURNS).step == 1


def test_learning_needs_an_open_decision_each_time(make_learner, make_market) -> None:
    ensemble = make_learner(ensemble=2, allocator="linear")
    with pytest.raises(NoOpenDecisionError):
        ensemble.learn(RETURNS)
    ensemble.decide(make_market())
    ensemble.learn(RETURNS)
    with pytest.raises(NoOpenDecisionError):
        ensemble.learn(RETURNS)


def test_a_state_of_another_ensemble_is_refused_and_changes_nothing(make_learner, make_market) -> None:
    ensemble = make_learner(ensemble=2)
    ensemble.decide(make_market())
    before = pack(ensemble.state())
    with pytest.raises(ValueError, match="of 3 learners and this ensemble has 2"):
        ensemble.restore(make_learner(ensemble=3).state())
    with pytest.raises(ValueError, match="use the backbone, lora_r and n_indicators of the state"):
        ensemble.restore(make_learner(ensemble=2, lora_r=4).state())
    half = make_learner(ensemble=2).state()  # the first member's fits
    half.arrays["1/parameter/head.weight"] = np.zeros((1, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="differ in 1 tensors"):
        ensemble.restore(half)
    assert pack(ensemble.state()) == before
