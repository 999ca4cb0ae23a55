"""What each idea for `model/encoder.py` brings, kept or not: the table in docs/precision.md.

    python benchmarks/encoder.py [--folder FOLDER] [--compile]

CPU time on one core, the best of several runs, each idea in turn with the encoder without it: other work on the machine
disturbs that least. Large's shape with random weights, bf16, 20 stocks of 21 sessions.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # the folder of this file, which stood there, has a `model` that is not the package

from model import backbone, encoder, precision  # noqa: E402
from model.policy import Policy  # noqa: E402

STOCKS, SESSIONS, INDICATORS, WIDTH, HEADS, D_FF, RANK = 20, 21, 41, 1024, 16, 4096, 8
CPU = torch.device("cpu")

Work = Callable[[], Any]
_block = encoder.Block.forward


@click.command()
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="a T5 of Large's shape; else random")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile too, which takes minutes")
@click.option("--repeats", default=5, show_default=True)
def main(folder: Path | None, compiled: bool, repeats: int) -> None:
    torch.set_num_threads(1)
    table = Table(title=f"T5-Large in bf16, {STOCKS} stocks, one core: CPU time")
    for heading in ("", "without", "with", "change"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)

    def compare(title: str, without: Work, with_: Work, times: int) -> None:
        before, after = best(without, with_, times)
        table.add_row(title, f"{1e3 * before:.2f} ms", f"{1e3 * after:.2f} ms", f"{after / before - 1:+.0%}")

    for title, (without, with_) in parts().items():
        compare(title, without, with_, 8 * repeats)
    with tempfile.TemporaryDirectory() as made:
        if folder is None:
            subprocess.run([sys.executable, str(ROOT / "benchmarks" / "random_backbone.py"), made], check=True)
        adapted, bare = (policy(str(folder or made), adapters) for adapters in (True, False))
    with precision.reproducible(adapted):
        for what, run in {"decision": decision, "step": step}.items():
            now = partial(run, adapted)
            compare(f"{what}: last layer for one session", with_blocks(whole_last_layer, now), now, repeats)
            compare(f"{what}: the watchdog", partial(run, adapted, watched=False), now, repeats)
            if compiled:
                block = torch.compile(_block, dynamic=False)
                plain = partial(run, adapted, watched=False)
                compare(f"{what}: torch.compile, a layer", plain, with_blocks(block, plain), repeats)
        compare("decision: adapters merged (none at all)", partial(decision, adapted), partial(decision, bare), repeats)
        now = partial(step, adapted)
        compare("step: activation checkpointing, a layer", now, with_blocks(checkpointed, now), repeats)
        compare("step: graph kept since the decision", now, backward_alone(adapted), repeats)
    Console(width=110).print(table)


def parts() -> dict[str, tuple[Work, Work]]:
    """Pieces of a layer: how it could be done, and how else."""
    rows = STOCKS * SESSIONS
    x, slope, low = (torch.randn(rows, n) for n in (WIDTH, WIDTH, RANK))
    narrow, wide = x.bfloat16(), torch.randn(rows, D_FF).bfloat16()
    frozen = [torch.randn(WIDTH, WIDTH).bfloat16() for _ in range(3)]
    stacked = torch.cat(frozen)
    down = [torch.randn(RANK, WIDTH) for _ in range(3)]
    shape = (STOCKS, HEADS, SESSIONS, WIDTH // HEADS)
    q, k, v, up = (torch.randn(shape).bfloat16().requires_grad_(i < 3) for i in range(4))
    bias = torch.randn(1, HEADS, SESSIONS, SESSIONS)

    def plain() -> Tensor:
        shares = torch.softmax((q @ k.mT).float() + bias, dim=-1)
        return shares.to(v.dtype) @ v

    def fused() -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), scale=1.0)

    def both_ways(attention: Callable[[], Tensor]) -> Work:
        return lambda: torch.autograd.grad(attention(), (q, k, v), up)

    return {
        "q, k, v of the frozen weights as one product": (
            lambda: [functional.linear(narrow, weight) for weight in frozen],
            lambda: functional.linear(narrow, stacked),
        ),
        "A of q, k, v as one product": (
            lambda: [functional.linear(x, a) for a in down],
            lambda: functional.linear(x, torch.cat(down)),
        ),
        "gradient of B, the narrow factor first": (lambda: slope.T @ low, lambda: (low.T @ slope).T),
        "SDPA, forward and backward": (both_ways(plain), both_ways(fused)),
        "ReLU: mask kept instead of output": (
            lambda: torch.ops.aten.threshold_backward(wide, wide, 0),
            lambda: wide * (wide > 0),
        ),
    }


def policy(folder: str, adapters: bool) -> Policy:
    frozen = backbone.load(folder, torch.bfloat16, CPU)
    if adapters:
        backbone.add_adapters(frozen, r=RANK, alpha=16, use_rslora=False, use_dora=False)
    return Policy(frozen, INDICATORS, seed=1, init_lora_weights="true")


FEATURES = torch.rand(STOCKS, SESSIONS, INDICATORS) * 2 - 1


@torch.no_grad()
def decision(network: Policy, *, watched: bool = True) -> None:
    with precision.watched(network) if watched else nullcontext():
        network(FEATURES)


def step(network: Policy, *, watched: bool = True) -> None:
    with precision.watched(network) if watched else nullcontext():
        scores = network(FEATURES)
    scores.sum().backward()


def backward_alone(network: Policy) -> Work:
    scores = network(FEATURES).sum()
    return lambda: scores.backward(retain_graph=True)


def with_blocks(forward: Callable[..., Tensor], work: Work) -> Work:
    """`work` with another forward pass of every layer."""

    def run() -> None:
        with mock.patch.object(encoder.Block, "forward", forward):
            work()

    return run


def whole_last_layer(block: encoder.Block, steps: Tensor, bias: Tensor) -> Tensor:
    everywhere = bias.expand(-1, SESSIONS, -1)  # of the last layer it has one row; another value, the same work
    return _block(block, steps, everywhere)[:, -bias.shape[1] :]


def checkpointed(block: encoder.Block, steps: Tensor, bias: Tensor) -> Tensor:
    kept: Tensor = checkpoint(_block, block, steps, bias, use_reentrant=False, preserve_rng_state=False)
    return kept


def best(without: Work, with_: Work, times: int) -> tuple[float, float]:
    """Seconds of CPU time of each, the least of so many turns, after one to warm up."""
    seconds: list[list[float]] = [[], []]
    for _ in range(1 + times):
        for work, taken in zip((without, with_), seconds, strict=True):
            start = time.thread_time()
            work()
            taken.append(time.thread_time() - start)
    return min(seconds[0][1:]), min(seconds[1][1:])


if __name__ == "__main__":
    main()
