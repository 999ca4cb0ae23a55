import gc
import weakref

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import T5EncoderModel

from model import NoOpenDecisionError, State
from model.checkpoint import pack

N = 12  # the stocks of make_market
RETURNS = np.random.default_rng(9).normal(0, 0.05, N)


def test_weights_are_a_portfolio_and_0_where_a_stock_is_not_tradable(make_learner, make_market) -> None:
    tradable = np.arange(N) % 3 > 0
    weights = make_learner().decide(make_market(tradable=tradable))
    assert weights.shape == (N,)
    assert weights.dtype == np.float64
    assert (weights[tradable] > 0).all()
    assert (weights[~tradable] == 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)


def test_a_stock_that_is_not_tradable_changes_nothing_whatever_its_features(make_learner, make_market) -> None:
    market = make_market(tradable=np.arange(N) > 0)
    features = market.features.copy()
    features[0] = np.nan
    spoilt = type(market)(market.instant, market.stocks, features, market.tradable)
    one, other = make_learner(), make_learner()
    assert np.array_equal(one.decide(market), other.decide(spoilt))
    returns = RETURNS.copy()
    returns[0] = 0.9  # nor does the return of a stock that was not held
    assert one.learn(RETURNS) == other.learn(returns)
    assert pack(State(one.state().arrays, 1, None)) == pack(State(other.state().arrays, 1, None))


def test_permuting_the_stocks_permutes_the_weights(make_learner, make_market, unsettle) -> None:
    learner, market = unsettle(make_learner()), make_market()
    order = np.random.default_rng(1).permutation(N)
    permuted = type(market)(market.instant, market.stocks, market.features[order], market.tradable)
    np.testing.assert_allclose(learner.decide(permuted), learner.decide(market)[order], rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_learners_with_one_seed_are_identical_to_the_bit(make_learner, make_market, precision: str) -> None:
    def months(disturbance: int) -> bytes:
        torch.manual_seed(disturbance)
        learner = make_learner(seed=3, precision=precision)
        for month in range(4):
            learner.decide(make_market(month))
            torch.rand(disturbance)
            learner.learn(np.roll(RETURNS, month))
        return pack(learner.state())

    assert months(1) == months(2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_step_starts_from_the_weights_that_were_decided_to_the_bit(make_learner, make_market, precision) -> None:
    learner = make_learner(precision=precision)
    for month in range(3):
        learner.decide(make_market(month))
        assert learner.learn(RETURNS).drift == 0.0


def test_report_agrees_with_the_weights(make_learner, make_market, unsettle) -> None:
    learner = unsettle(make_learner(eta=0.5))
    weights = learner.decide(make_market(tradable=np.arange(N) > 1))
    returns = RETURNS.copy()
    returns[5] = np.nan
    report = learner.learn(returns)
    held = weights[2:]
    entropy = -(held * np.log(held)).sum()
    assert report.step == 1
    assert report.fallbacks == 0
    assert report.reward == pytest.approx(np.nansum(weights * returns), rel=1e-12)
    assert report.concentration == pytest.approx(np.log(N - 2) - entropy, rel=1e-10)
    assert report.effective_names == pytest.approx(np.exp(entropy), rel=1e-10)
    assert report.loss == pytest.approx(-report.reward + 0.5 * report.concentration, rel=1e-12)
    gradients = [parameter.grad for parameter in learner.policy.trainable().values()]
    assert report.gradient_norm == pytest.approx(np.sqrt(sum(float((g**2).sum()) for g in gradients)), rel=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 5, 11])
def test_how_many_stocks_pass_at_a_time_changes_nothing(make_learner, make_market, unsettle, micro_batch: int) -> None:
    tradable = np.arange(N) != 4
    whole, parts = (unsettle(make_learner(micro_batch=b, eta=0.5)) for b in (N, micro_batch))
    wanted = whole.decide(make_market(tradable=tradable))
    np.testing.assert_allclose(parts.decide(make_market(tradable=tradable)), wanted, rtol=0, atol=1e-6)
    whole.learn(RETURNS)
    sizes = []
    parts.policy.projection.register_forward_hook(lambda layer, inputs, output: sizes.append(len(output)))
    assert parts.learn(RETURNS).drift == 0
    assert sum(sizes) == 2 * (N - 1)  # the step's own pass, and the one that measures how far it went
    assert max(sizes) <= micro_batch
    for name, parameter in parts.policy.trainable().items():
        other = whole.policy.trainable()[name].grad
        assert (parameter.grad - other).norm() < 1e-5 * other.norm(), name


def test_a_weight_too_small_for_a_number_still_leaves_a_gradient(make_learner, make_market, unsettle) -> None:
    learner = unsettle(make_learner())
    with torch.no_grad():
        learner.policy.head.weight *= 1e4
    assert (learner.decide(make_market()) == 0).any()
    report = learner.learn(RETURNS)
    assert np.isfinite([report.loss, report.concentration, report.gradient_norm]).all()
    assert report.drift == 0


def test_learners_of_one_backbone_share_its_frozen_tensors_and_nothing_else(
    make_learner, make_market, chronos_folder
) -> None:
    one, other = (make_learner(seed=seed, backbone=str(chronos_folder)) for seed in (1, 2))
    trained = one.policy.trainable().keys()
    theirs = dict(other.policy.named_parameters())
    for name, parameter in one.policy.named_parameters():
        assert (parameter.data_ptr() == theirs[name].data_ptr()) == (name not in trained), name
    alone = other.decide(make_market())
    one.decide(make_market())
    one.learn(RETURNS)
    assert np.array_equal(other.decide(make_market()), alone)


def test_a_learner_says_what_auto_settings_became(make_learner) -> None:
    learner = make_learner(device="auto", precision="auto", micro_batch=7)
    frozen = sum(p.numel() for p in learner.policy.parameters() if not p.requires_grad)
    trained = sum(array.size for array in learner.state().arrays.values())
    where = "fp16 on cuda:0" if torch.cuda.is_available() else "fp32 on cpu"
    counts = f"{frozen:,} frozen parameters, {trained:,} trained"
    assert str(learner) == f"tiny-random in {where}: {counts}, 7 stocks at a time"


def test_the_last_learner_frees_the_backbone(make_learner, chronos_folder) -> None:
    learner = make_learner(backbone=str(chronos_folder))
    frozen = weakref.ref(learner.policy.encoder.final_layer_norm.weight)
    del learner
    gc.collect()
    assert frozen() is None


@pytest.mark.parametrize(
    "options",
    [{"lora_alpha": 16}, {"lora_alpha": 8, "use_rslora": True}, {"lora_alpha": 16, "use_dora": True}],
    ids=["lora", "rslora", "dora"],
)
def test_gradients_and_step_agree_with_the_obvious_code(
    make_learner, make_market, unsettle, chronos_folder, options
) -> None:
    learner = unsettle(make_learner(backbone=str(chronos_folder), lora_r=4, micro_batch=5, **options))
    with torch.no_grad():  # still strong; with those of `unsettle` peft's own fp32 is 8e-5 from its fp64
        for name, parameter in learner.policy.trainable().items():
            parameter *= 0.1 if ".lora_B." in name else 1
    market = make_market()
    model = get_peft_model(
        T5EncoderModel.from_pretrained(chronos_folder),
        LoraConfig(r=4, target_modules=["q", "k", "v", "o"], lora_dropout=0.0, **options),
    ).eval()
    projection, head = torch.nn.Linear(3, 32), torch.nn.Linear(32, 1, bias=False)
    obvious = {f"encoder.{n.removeprefix('base_model.model.encoder.')}": p for n, p in model.named_parameters()}
    obvious |= {"projection.weight": projection.weight, "projection.bias": projection.bias, "head.weight": head.weight}
    obvious = {name: parameter for name, parameter in obvious.items() if parameter.requires_grad}
    with torch.no_grad():
        for name, parameter in learner.policy.trainable().items():
            obvious[name].copy_(parameter)
    optimizer = torch.optim.AdamW(obvious.values(), lr=0.01)

    weights = learner.decide(market)
    learner.learn(RETURNS)
    hidden = model(inputs_embeds=projection(torch.tensor(market.features))).last_hidden_state[:, -1]
    theirs = torch.softmax(head(hidden)[:, 0], 0)
    np.testing.assert_allclose(weights, theirs.detach().numpy(), rtol=0, atol=1e-6)
    (-(theirs * torch.tensor(RETURNS)).sum() + 0.01 * (np.log(N) + (theirs * theirs.log()).sum())).backward()
    assert obvious.keys() == learner.policy.trainable().keys()
    for name, parameter in learner.policy.trainable().items():
        error = (parameter.grad - obvious[name].grad).norm() / obvious[name].grad.norm()
        assert error < 1e-5, (name, error)

    # Given the same gradients AdamW's step is the same; given those of the other code its division by the gradient's
    # own size makes more of a difference.
    for name, parameter in learner.policy.trainable().items():
        obvious[name].grad = parameter.grad.clone()
    optimizer.step()
    for name, parameter in learner.policy.trainable().items():
        torch.testing.assert_close(parameter, obvious[name], rtol=0, atol=1e-7)


def test_the_frozen_weights_have_no_gradient_and_never_change(make_learner, make_market) -> None:
    learner = make_learner()
    trainable = learner.policy.trainable()
    before = {name: p.clone() for name, p in learner.policy.named_parameters() if name not in trainable}
    learner.decide(make_market())
    learner.learn(RETURNS)
    for name, parameter in learner.policy.named_parameters():
        if name in before:
            assert parameter.grad is None, name
            assert torch.equal(parameter, before[name]), name


def test_state_holds_the_trainable_tensors_and_their_moments_alone(make_learner, make_market) -> None:
    learner = make_learner()
    names = learner.policy.trainable().keys()
    assert learner.state().arrays.keys() == {f"parameter/{name}" for name in names}
    learner.decide(make_market())
    learner.learn(RETURNS)
    kinds = ("parameter", "exp_avg", "exp_avg_sq")
    assert learner.state().arrays.keys() == {f"{kind}/{name}" for name in names for kind in kinds}


@pytest.mark.parametrize(("entropy", "sign"), [("diversify", 1), ("as_printed", -1), ("off", 0)])
def test_a_step_without_returns_moves_the_effective_names_as_the_setting_says(
    make_learner, make_market, unsettle, entropy: str, sign: int
) -> None:
    # Adam's first step has the length of the learning rate whatever the gradient: it is small here, so that the first
    # order decides. Without decay, because decay is no part of the loss: the next test is about it.
    learner = unsettle(make_learner(entropy=entropy, learning_rate=1e-4, weight_decay=0.0))
    before = learner.decide(make_market())
    names = learner.learn(np.zeros(N)).effective_names
    after = learner.decide(make_market())
    assert 2 < names < N - 1  # room on both sides
    if sign:
        assert sign * (learner.learn(np.zeros(N)).effective_names - names) > 1e-3
    else:
        assert np.array_equal(before, after)


def test_without_a_gradient_weight_decay_scales_the_parameters_and_nothing_else(
    make_learner, make_market, unsettle
) -> None:
    learner = unsettle(make_learner(entropy="off", learning_rate=0.01, weight_decay=0.01))
    before = learner.state().arrays
    weights = learner.decide(make_market())
    learner.learn(np.zeros(N))
    after = learner.state().arrays
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array * (1 - 1e-4), rtol=1e-6)
    # A score goes through head, projection and, in two layers, A and B of four maps: of order ten factors 1 - 1e-4.
    spread = np.ptp(np.log(weights))
    np.testing.assert_allclose(learner.decide(make_market()), weights, rtol=20 * 1e-4 * spread)


def test_missing_returns_drop_out_and_without_any_the_month_still_counts(make_learner, make_market) -> None:
    learner = make_learner()
    learner.decide(make_market())
    report = learner.learn(np.full(N, np.nan))
    assert report.step == 1
    assert report.reward == 0
    assert np.isfinite(report.loss)


def test_learning_needs_an_open_decision_each_time(make_learner, make_market) -> None:
    learner = make_learner()
    with pytest.raises(NoOpenDecisionError, match="call decide first"):
        learner.learn(RETURNS)
    learner.decide(make_market())
    learner.learn(RETURNS)
    with pytest.raises(NoOpenDecisionError, match="once for each"):
        learner.learn(RETURNS)


def test_bad_input_is_refused_and_leaves_the_decision_open(make_learner, make_market) -> None:
    learner = make_learner()
    with pytest.raises(ValueError, match="3 indicators, but the model was made for 4"):
        make_learner(n_features=4).decide(make_market())
    learner.decide(make_market())
    with pytest.raises(ValueError, match=r"12 stocks were decided on, but returns are \(3,\)"):
        learner.learn(RETURNS[:3])
    with pytest.raises(ValueError, match="return of S4 is infinite"):
        learner.learn(np.where(np.arange(N) == 4, np.inf, RETURNS))
    assert learner.learn(RETURNS).step == 1


def test_the_decision_outlives_changes_to_the_weights_it_returned(make_learner, make_market) -> None:
    learner = make_learner()
    learner.decide(make_market())[:] = 0
    assert learner.learn(RETURNS).drift == 0


def test_a_restart_in_mid_month_or_between_months_changes_no_bit(make_learner, make_market) -> None:
    whole = make_learner()
    for month in range(4):
        whole.decide(make_market(month))
        whole.learn(np.roll(RETURNS, month))
    restarted = make_learner()
    for month in range(4):
        restarted.decide(make_market(month))
        state = restarted.state()
        restarted = make_learner(seed=99)  # the state alone must suffice
        restarted.restore(state)
        assert restarted.learn(np.roll(RETURNS, month)).drift == 0
        state = restarted.state()
        restarted = make_learner(seed=98)
        restarted.restore(state)
    assert pack(whole.state()) == pack(restarted.state())
    assert np.array_equal(whole.decide(make_market(7)), restarted.decide(make_market(7)))


def test_a_state_is_a_copy(make_learner, make_market) -> None:
    learner = make_learner()
    learner.decide(make_market())
    learner.learn(RETURNS)
    before = learner.state()
    kept = pack(before)
    learner.decide(make_market(1))
    learner.learn(RETURNS)
    assert pack(before) == kept


def test_a_state_of_another_model_is_refused_and_changes_nothing(make_learner, make_market, chronos_folder) -> None:
    learner = make_learner()
    learner.decide(make_market())
    before = pack(learner.state())
    for other in (make_learner(lora_r=4), make_learner(n_features=7), make_learner(backbone=str(chronos_folder))):
        with pytest.raises(ValueError, match="use the backbone, lora_r and n_indicators of the state"):
            learner.restore(other.state())
    spoilt = dict(learner.state().arrays)
    spoilt["parameter/head.weight"] = np.full_like(spoilt["parameter/head.weight"], np.nan)
    with pytest.raises(ValueError, match=r"not finite, in parameter/head.weight"):
        learner.restore(State(spoilt, 0, None))
    assert pack(learner.state()) == before


def test_constructing_a_learner_loads_nothing(make_learner, make_market) -> None:
    learner = make_learner(backbone="/no/such/folder")
    with pytest.raises(RuntimeError, match="neither a folder nor cached"):
        learner.decide(make_market())
