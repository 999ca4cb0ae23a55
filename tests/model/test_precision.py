"""Number types and the watchdog. Overflow is injected on the CPU by hooks that act while the weights are in bf16."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model import objective, precision
from model.checkpoint import pack
from model.learner import OnlineLearner
from model.precision import SINGLE_THREAD, NonFiniteError, reproducible, resolve, run_finite, widened

N = 12  # the stocks of make_market
RETURNS = np.random.default_rng(9).normal(0, 0.05, N)
ATTENTION = "encoder.block.1.layer.0.SelfAttention."
LAYERS = [
    "projection",
    *(f"{ATTENTION}{linear}" for linear in "qkvo"),
    *(f"{ATTENTION}{linear}.base_layer" for linear in "qkvo"),
    "encoder.block.1.layer.0.layer_norm",
    "encoder.block.0.layer.1.DenseReluDense.wi",
    "encoder.block.0.layer.1.DenseReluDense.wo",
    "encoder.block.0.layer.1",
    "encoder.final_layer_norm",
    "head",
]


def in_half(learner: OnlineLearner) -> bool:
    return any(weight.dtype == torch.bfloat16 for weight in learner.policy.parameters())


@contextmanager
def overflow(learner: OnlineLearner, layer: str, value: float, when: Callable[[], bool]) -> Iterator[None]:
    """One number of the layer's output is `value` while `when()`."""

    def hook(module: torch.nn.Module, inputs: object, output: Any) -> Any:
        if not when():
            return None
        first, *others = output if isinstance(output, tuple) else (output,)
        first = first.clone()
        first.view(-1)[3] = value
        return (first, *others) if others else first

    handle = learner.policy.get_submodule(layer).register_forward_hook(hook)
    yield
    handle.remove()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("layer", LAYERS)
def test_overflow_in_a_decision_makes_the_month_run_in_fp32(make_learner, make_market, unsettle, layer, value) -> None:
    reference, learner = (unsettle(make_learner(precision="bf16")) for _ in range(2))
    with widened(reference.policy):
        wanted = reference.decide(make_market())
        wanted_report = reference.learn(RETURNS)
    with overflow(learner, layer, value, lambda: in_half(learner)):
        assert np.array_equal(learner.decide(make_market()), wanted)
    report = learner.learn(RETURNS)  # in fp32 as well, though nothing overflows any more
    assert report.fallbacks == 1
    assert report.drift == 0
    assert report.loss == wanted_report.loss
    assert in_half(learner)
    assert pack(learner.state()) == pack(reference.state())


class Spoil(TorchDispatchMode):
    """One number of the result of the `at`-th operation that makes floating-point numbers is `value`."""

    def __init__(self, at: int, value: float) -> None:
        super().__init__()
        self.at, self.value, self.count, self.name = at, value, 0, ""

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.is_floating_point() and not func.is_view:
            if self.count == self.at:
                self.name = str(func)
                out.view(-1)[3 % out.numel()] = self.value
            self.count += 1
        return out


# Where an infinity passes without harm: copies of what was looked at before; and the mean square of a norm's input,
# which cannot overflow fp32 while the input, which was looked at too, is anywhere near fp16's range.
HARMLESS = {
    f"aten.{name}" for name in ("clone.default", "_unsafe_view.default", "pow.Tensor_Scalar", "mean.dim", "add.Tensor")
}


@pytest.mark.parametrize("value", [np.inf, np.nan])
@torch.no_grad()
def test_whichever_operation_of_the_network_overflows_it_is_noticed(make_learner, make_market, unsettle, value) -> None:
    policy = unsettle(make_learner(precision="bf16")).policy
    features = torch.tensor(make_market().features)
    expected, unnoticed = policy(features), set()
    for at in itertools.count():
        with Spoil(at, value) as spoil:
            try:
                with precision.watched(policy):
                    scores = policy(features)
                if not torch.equal(scores, expected):
                    unnoticed.add(spoil.name)
            except NonFiniteError:
                pass
        if not spoil.name:  # there are no more
            break
    assert at > 100
    assert unnoticed <= (HARMLESS if value == np.inf else set())


@pytest.mark.parametrize("layer", LAYERS)
def test_overflow_in_a_step_makes_it_run_in_fp32_from_the_same_state(
    make_learner, make_market, unsettle, layer
) -> None:
    reference, learner = (unsettle(make_learner(precision="bf16")) for _ in range(2))
    reference.decide(make_market())
    with widened(reference.policy):
        reference.learn(RETURNS)
    learner.decide(make_market())
    with overflow(learner, layer, np.inf, lambda: in_half(learner)):
        report = learner.learn(RETURNS)
    assert report.fallbacks == 1
    assert 0 < report.drift < 0.02  # the weights were decided in bf16
    assert pack(learner.state()) == pack(reference.state())


@pytest.mark.parametrize("name", ["projection.weight", f"{ATTENTION}q.lora_B.default.weight", "head.weight"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_makes_the_step_run_in_fp32(make_learner, make_market, name, value) -> None:
    learner = make_learner(precision="bf16")
    learner.decide(make_market())
    learner.policy.trainable()[name].register_hook(lambda g: torch.full_like(g, value) if in_half(learner) else None)
    report = learner.learn(RETURNS)
    assert report.fallbacks == 1
    assert np.isfinite(report.gradient_norm)
    assert all(parameter.isfinite().all() for parameter in learner.policy.trainable().values())


def test_overflow_inside_the_backward_pass_makes_the_step_run_in_fp32(make_learner, make_market) -> None:
    learner = make_learner(precision="bf16")
    learner.decide(make_market())
    layer = learner.policy.encoder.block[1].layer[1]
    layer.register_full_backward_hook(lambda _, inputs, __: (inputs[0] * np.inf,) if in_half(learner) else None)
    assert learner.learn(RETURNS).fallbacks == 1
    assert all(parameter.isfinite().all() for parameter in learner.policy.trainable().values())


def test_a_loss_that_is_not_finite_makes_the_step_run_in_fp32(make_learner, make_market, monkeypatch) -> None:
    learner = make_learner(precision="bf16")
    learner.decide(make_market())
    terms = objective.terms

    def spoilt(scores: torch.Tensor, *args: object, **kwargs: object) -> objective.Terms:
        return terms(scores * np.inf if in_half(learner) else scores, *args, **kwargs)

    monkeypatch.setattr(objective, "terms", spoilt)
    report = learner.learn(RETURNS)
    assert report.fallbacks == 1
    assert np.isfinite(report.loss)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_where_fp32_does_not_help_the_month_stops_with_nothing_changed(make_learner, make_market, precision) -> None:
    learner = make_learner(precision=precision)
    learner.decide(make_market())
    before = pack(learner.state())
    with overflow(learner, "encoder.final_layer_norm", np.inf, lambda: True):
        with pytest.raises(NonFiniteError, match=r"activation at encoder.final_layer_norm, in fp32 too: nothing has"):
            learner.decide(make_market(1))
        with pytest.raises(NonFiniteError, match="in fp32 too"):
            learner.learn(RETURNS)
    assert pack(learner.state()) == before
    assert learner.learn(RETURNS).drift == 0


def test_a_real_overflow_of_fp16_is_caught(make_learner, make_market, unsettle) -> None:
    learner = unsettle(make_learner(precision="fp16"))
    assert learner.decide(make_market()).sum() == pytest.approx(1)
    assert learner.learn(RETURNS).fallbacks == 0
    frozen = learner.policy.encoder.block[0].layer[0].layer_norm
    frozen.weight = torch.nn.Parameter(frozen.weight * 1e5, requires_grad=False)  # beyond fp16's 65504
    assert learner.decide(make_market()).sum() == pytest.approx(1)
    assert learner.learn(RETURNS).fallbacks == 1


@pytest.mark.parametrize(("precision", "unit"), [("fp16", 2**-11), ("bf16", 2**-8)])
def test_half_precision_gradients_agree_with_fp32(make_learner, make_market, unsettle, precision, unit) -> None:
    # Returns this small leave nothing of any gradient in fp16 where the backward pass is not scaled. What remains is
    # rounding, which two layers with strong adapters make some 20 times larger than one unit.
    half, wide = (unsettle(make_learner(precision=precision, entropy="off")) for _ in range(2))
    for learner in (half, wide):
        learner.decide(make_market())
    half.learn(RETURNS * 1e-5)
    with widened(wide.policy):
        wide.learn(RETURNS * 1e-5)
    for name, parameter in half.policy.trainable().items():
        other = wide.policy.trainable()[name].grad
        assert (parameter.grad - other).norm() < 50 * unit * other.norm(), name


def test_widening_and_narrowing_restores_every_bit(make_learner) -> None:
    policy = make_learner(precision="fp16").policy
    before = {name: weight.clone() for name, weight in policy.named_parameters()}
    with widened(policy):
        assert all(weight.dtype == torch.float32 for weight in policy.parameters())
        assert all(torch.equal(weight, before[name].float()) for name, weight in policy.named_parameters())
    assert all(
        weight.dtype == before[name].dtype and torch.equal(weight, before[name])
        for name, weight in policy.named_parameters()
    )


def test_an_error_that_is_not_about_numbers_is_not_tried_again(make_learner) -> None:
    tries = []

    def attempt() -> None:
        tries.append(1)
        raise KeyError("elsewhere")

    with pytest.raises(KeyError):
        run_finite(make_learner(precision="bf16").policy, attempt, widen=False)
    assert len(tries) == 1


def settings_of_torch() -> tuple[object, ...]:
    reduced = torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
    fill = torch.utils.deterministic.fill_uninitialized_memory
    return torch.are_deterministic_algorithms_enabled(), reduced, fill, torch.get_num_threads()


def test_reproducible_arithmetic_ends_with_its_block(make_learner) -> None:
    torch.set_num_threads(2)
    before = settings_of_torch()
    with reproducible(make_learner().policy):
        assert settings_of_torch() == (True, False, False, 1)
    assert settings_of_torch() == before


def test_a_model_of_some_size_keeps_its_threads() -> None:
    torch.set_num_threads(2)
    with reproducible(torch.nn.Linear(1000, 1000)):
        assert torch.get_num_threads() == 2


def test_auto_is_fp16_on_cuda_and_on_a_cpu_bf16_where_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = SINGLE_THREAD, SINGLE_THREAD - 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "native_bf16", lambda: True)
    assert resolve("auto", "auto", large) == (torch.device("cpu"), torch.bfloat16)
    assert resolve("auto", "auto", small) == (torch.device("cpu"), torch.float32)
    assert resolve("cpu", "bf16", small) == (torch.device("cpu"), torch.bfloat16)
    monkeypatch.setattr(precision, "native_bf16", lambda: False)
    assert resolve("auto", "auto", large) == (torch.device("cpu"), torch.float32)
    with pytest.raises(RuntimeError, match="torch sees no CUDA device"):
        resolve("cuda", "auto", large)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve("auto", "auto", small) == (torch.device("cuda"), torch.float16)
    assert resolve("cpu", "auto", large) == (torch.device("cpu"), torch.float32)


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo to compare with")
def test_native_bf16_is_what_the_processor_says() -> None:
    flags = Path("/proc/cpuinfo").read_text()
    assert precision.native_bf16() == ("avx512_bf16" in flags or "amx_tile" in flags)
