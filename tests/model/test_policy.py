import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from model import backbone
from model.policy import Policy

LAYERS, F, D = 2, 3, 64


def make(
    seed: int = 1, r: int = 8, dtype: torch.dtype = torch.float32, init: str = "true", dora: bool = False
) -> Policy:
    encoder = backbone.load("tiny-random", dtype, torch.device("cpu"))
    backbone.add_adapters(encoder, r=r, alpha=16, use_rslora=False, use_dora=dora)
    return Policy(encoder, F, seed=seed, init_lora_weights=init)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.rand(6, 5, F, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dora", [False, True])
def test_what_trains_is_lora_of_q_k_v_o_projection_and_head_in_fp32(dtype: torch.dtype, dora: bool) -> None:
    policy = make(dtype=dtype, dora=dora)
    attention = "encoder.block.{}.layer.0.SelfAttention.{}.lora_{}.default.weight"
    adapters = {attention.format(i, linear, ab) for i in range(LAYERS) for linear in "qkvo" for ab in "AB"}
    if dora:
        magnitude = attention.replace("lora_{}", "lora_magnitude_vector")
        adapters |= {magnitude.format(i, linear) for i in range(LAYERS) for linear in "qkvo"}
    assert policy.trainable().keys() == adapters | {"projection.weight", "projection.bias", "head.weight"}
    assert all(parameter.dtype == torch.float32 for parameter in policy.trainable().values())


def test_initial_parameters_depend_on_the_seed_alone(features: torch.Tensor) -> None:
    torch.manual_seed(1)
    first = make(seed=4).trainable()
    torch.manual_seed(2)
    again, other = make(seed=4).trainable(), make(seed=5).trainable()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_a_tensor_that_changes_shape_moves_no_other_initial_parameter() -> None:
    eight, four = make(r=8).trainable(), make(r=4).trainable()
    for name in ("projection.weight", "head.weight"):
        assert torch.equal(eight[name], four[name])


def test_adapters_start_as_peft_starts_them() -> None:
    """Peft's own draws are other numbers of the same distributions."""
    layer = "encoder.block.1.layer.0.SelfAttention.v"
    for init, theirs in {"true": True, "gaussian": "gaussian", "orthogonal": "orthogonal"}.items():
        torch.manual_seed(0)
        linear = torch.nn.ModuleDict({"v": torch.nn.Linear(D, D, bias=False)})
        inject_adapter_in_model(LoraConfig(r=16, target_modules=["v"], init_lora_weights=theirs), linear)
        ours = make(r=16, init=init).trainable()
        a, b = (ours[f"{layer}.lora_{ab}.default.weight"].detach() for ab in "AB")
        their_a, their_b = linear["v"].lora_A["default"].weight, linear["v"].lora_B["default"].weight
        assert (a.shape, b.shape) == (their_a.shape, their_b.shape)
        assert a.std() == pytest.approx(their_a.std().item(), rel=0.15)  # of 1024 numbers, that is some 5 deviations
        assert b.std() == pytest.approx(their_b.std().item(), rel=0.15)
        assert a.abs().max() == pytest.approx(their_a.abs().max().item(), rel=0.5)  # a uniform's end, a normal's tail
        assert (b @ a).abs().max() < 1e-6


def test_orthogonal_adapters_learn_in_a_and_b_from_the_first_step(features: torch.Tensor) -> None:
    policy = make(init="orthogonal")
    policy(features)[0].backward()
    assert all(parameter.grad.any() for parameter in policy.trainable().values())


@torch.no_grad()
def test_first_weights_are_close_to_equal(features: torch.Tensor) -> None:
    weights = torch.softmax(make()(features), dim=0)
    assert (weights * 6 - 1).abs().max() < 0.5  # scores of order 1 / sqrt(D) = 0.125


def test_gradients_reach_every_trainable_tensor_but_lora_a_at_first(features: torch.Tensor) -> None:
    policy = make()
    policy(features)[0].backward()
    for name, parameter in policy.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif ".lora_A." in name:  # behind a B that is 0 at first
            assert not parameter.grad.any(), name
        else:
            assert parameter.grad.any(), name


@pytest.mark.parametrize("init", ["true", "gaussian", "orthogonal"])
@pytest.mark.parametrize("dora", [False, True])
@torch.no_grad()
def test_the_first_scores_are_the_frozen_encoders_own(features: torch.Tensor, init: str, dora: bool) -> None:
    policy = make(init=init, dora=dora)
    bare = backbone.load("tiny-random", torch.float32, torch.device("cpu"))
    hidden = bare(policy.projection(features))
    torch.testing.assert_close(policy(features), policy.head(hidden)[:, 0], rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_score_does_not_depend_on_the_other_stocks(features: torch.Tensor) -> None:
    policy = make()
    scores = policy(features)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(policy(features[order]), scores[order], rtol=0, atol=1e-6)
    torch.testing.assert_close(policy(features[:2]), scores[:2], rtol=0, atol=1e-6)
    changed = features.clone()
    changed[0] = 9.0
    torch.testing.assert_close(policy(changed)[1:], scores[1:], rtol=0, atol=1e-6)
    assert policy(changed)[0] != scores[0]


@torch.no_grad()
def test_every_session_and_every_indicator_of_a_stock_counts(features: torch.Tensor) -> None:
    policy = make()
    scores = policy(features)
    for step, column in np.ndindex(5, F):
        changed = features.clone()
        changed[0, step, column] += 0.5
        assert policy(changed)[0] != scores[0], (step, column)
