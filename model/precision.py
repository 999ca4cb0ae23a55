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


def resolve(device: str, precision: str, n_parameters: int) -> tuple[torch.device, torch.dtype]:
    """The device and the type of the frozen weights that the settings `device` and `precision` mean here.

    `auto` is CUDA where torch sees it, and there fp16, as in the paper. On a CPU it is bf16 where the processor
    multiplies it natively and the model is large enough to gain by it, else fp32.
    Raises RuntimeError for `cuda` where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device = cuda, but torch sees no CUDA device: set device = auto, or look at nvidia-smi")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if precision == "auto" and device == "cuda":
        precision = "fp16"
    elif precision == "auto":
        precision = "bf16" if n_parameters >= SINGLE_THREAD and native_bf16() else "fp32"
    return torch.device(device), DTYPES[precision]


def native_bf16() -> bool:
    """Whether this processor multiplies bf16 in hardware (AVX512_BF16 or AMX), not by way of fp32, which is slower."""
    hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return hardware and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


@contextmanager
def reproducible(model: nn.Module) -> Iterator[None]:
    """Inside, the same numbers give the same bits, and matrix products accumulate in fp32; the caller's choices return
    afterwards.

    A model below `SINGLE_THREAD` parameters runs on one thread: more bring it nothing, and its bits are then the same
    on any number of cores.
    """
    threads = torch.get_num_threads()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, when it is first used
    matmul = torch.backends.cuda.matmul
    names = ("allow_tf32", "allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    before = {name: getattr(matmul, name) for name in names}
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        if sum(parameter.numel() for parameter in model.parameters()) < SINGLE_THREAD:
            torch.set_num_threads(1)
        for name in names:
            setattr(matmul, name, False)
        torch.use_deterministic_algorithms(True)
        # NaN written into fresh memory makes a read of it visible. None is read here, and it takes a tenth of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
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
    """Raises NonFiniteError on leaving where a layer with weights, its own or an adapted one's, has put out a number
    that is not finite.

    That is every place where one can arise unseen: an infinity in an adapter's narrow product, an attention score or
    the residual stream reaches such a layer as NaN, and only a ReLU hides one (-inf), right after the layer whose
    output is looked at. An attention score of -inf is right: its weight is 0 in fp32 as well.
    """
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if hasattr(layer, "base_layer") or any(True for _ in layer.parameters(recurse=False))
        if not name.endswith(".base_layer")  # whose output is in that of the adapted layer around it
    }
    device = next(model.parameters()).device
    # In one place made beforehand: small tensors made between large ones would keep the heap from closing its gaps.
    totals = torch.zeros(len(layers), device=device)

    called: dict[str, None] = {}  # an ordered set: the first place is the cause, what follows are consequences

    def watch(name: str, total: Tensor) -> Callable[[nn.Module, Any, Tensor | tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, inputs: Any, output: Tensor | tuple[Tensor, ...]) -> None:
            output = output[0] if isinstance(output, tuple) else output
            # One pass, no copy, no wait for the device: the sum, which is accumulated in fp32, is finite exactly where
            # every number is. Only that of fp16 can be beyond its own type.
            total.add_(output.detach().sum(dtype=torch.float32 if output.dtype == torch.float16 else None))
            called.setdefault(name)

        return hook

    hooks = [
        layer.register_forward_hook(watch(name, total))
        for (name, layer), total in zip(layers.items(), totals.unbind(), strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    finite = dict(zip(layers, totals.isfinite().tolist(), strict=True))  # the only wait
    for name in called:
        if not finite[name]:
            raise NonFiniteError(f"non-finite activation at {name}")


def check_finite(value: Tensor, what: str) -> None:
    """Raises NonFiniteError where a number in `value` is not finite."""
    if not value.isfinite().all():
        raise NonFiniteError(f"non-finite {what}")
