"""Number types: which one the frozen weights have, and the watchdog that falls back to fp32."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")

SINGLE_THREAD = 1_000_000  # parameters; Chronos-T5-Tiny, at three million, is faster on two threads than on one
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}  # by the setting `precision`


class NonFiniteError(ArithmeticError):
    """An activation, a loss or a gradient that is not finite; the message says where."""


def resolve(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    """The device and the type of the frozen weights that the settings `device` and `precision` mean here.

    `auto` is CUDA where torch sees it, and there fp16, as in the paper; on a CPU it is fp32.
    Raises RuntimeError for `cuda` where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device = cuda, but torch sees no CUDA device: set device = auto, or look at nvidia-smi")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    precision = ("fp16" if device == "cuda" else "fp32") if precision == "auto" else precision
    return torch.device(device), DTYPES[precision]


@contextmanager
def reproducible(model: nn.Module) -> Iterator[None]:
    """Inside, the same numbers give the same bits, and matrix products accumulate in fp32; the caller's choices return
    afterwards.

    A model below `SINGLE_THREAD` parameters runs on one thread: more bring it nothing, and its bits are then the same on
    any number of cores.
    """
    threads = torch.get_num_threads()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, when it is first used
    matmul = torch.backends.cuda.matmul
    names = ("allow_tf32", "allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    before = {name: getattr(matmul, name) for name in names}
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        if sum(parameter.numel() for parameter in model.parameters()) < SINGLE_THREAD:
            torch.set_num_threads(1)
        for name in names:
            setattr(matmul, name, False)
        torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        for name, value in before.items():
            setattr(matmul, name, value)


def run_finite(model: nn.Module, attempt: Callable[[], T], *, widen: bool) -> tuple[T, bool]:
    """`attempt()`, and where it raises NonFiniteError in half precision, `attempt()` again in fp32.

    model: the module whose half-precision weights are made fp32 for the second run; they keep their values.
    widen: go to fp32 at once.
    Returns the result, and whether half-precision weights ran in fp32 for it.
    Raises NonFiniteError where fp32 does not help either.
    """
    narrow = any(weight.dtype != torch.float32 for weight in model.parameters())
    if narrow and not widen:
        try:
            return attempt(), False
        except NonFiniteError:
            pass  # the same again in fp32
    try:
        with widened(model):
            return attempt(), narrow
    except NonFiniteError as error:
        raise NonFiniteError(
            f"{error}, in fp32 too: nothing has changed; look at the features and returns of the month, "
            "or lower learning_rate"
        ) from None


@contextmanager
def widened(model: nn.Module) -> Iterator[None]:
    """All weights in fp32 inside; back in their own types, with the same bits, afterwards."""
    narrow = [(weight, weight.dtype) for weight in model.parameters() if weight.dtype != torch.float32]
    try:
        for weight, _ in narrow:
            weight.data = weight.data.float()
        yield
    finally:
        for weight, dtype in narrow:
            weight.data = weight.data.to(dtype)


@contextmanager
def watched(model: nn.Module) -> Iterator[None]:
    """Raises NonFiniteError on leaving where a layer with weights of its own has put out a number that is not finite.

    That is every place where one can arise unseen: an infinity in an attention score or in the residual stream reaches
    such a layer as NaN, and only a ReLU hides one (-inf), right after the layer whose output is looked at. An attention
    score of -inf is right: its weight is 0 in fp32 as well.
    """
    sums: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            # One pass, no copy, no wait for the device: the fp32 sum is finite exactly where every number is.
            sums[name] = output.detach().sum(dtype=torch.float32)

        return hook

    layers = [(n, layer) for n, layer in model.named_modules() if any(True for _ in layer.parameters(recurse=False))]
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    finite = torch.stack(list(sums.values())).isfinite().tolist()  # the only wait
    for name, good in zip(sums, finite, strict=True):
        if not good:
            raise NonFiniteError(f"non-finite activation at {name}")


def check_finite(value: Tensor, what: str) -> None:
    """Raises NonFiniteError where a number in `value` is not finite."""
    if not value.isfinite().all():
        raise NonFiniteError(f"non-finite {what}")
