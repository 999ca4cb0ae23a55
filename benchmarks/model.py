"""A decision and a step at the paper's size: how long, how much memory, how close to what the machine can do.

    python benchmarks/model.py [--shape large] [--json FILE]      time and memory, beside the obvious code's
    python benchmarks/model.py --errors [--stocks 10]             weights' and gradients' distance from fp64

The obvious code is what one writes first: the whole T5 from the checkpoint, peft's LoRA around it, fp32, plain
autograd. It runs the same encoder over the same 100 stocks, 21 sessions and 41 indicators. Every variant has a process
of its own, so that its peak memory is its own. Weights are random, which changes neither time nor memory.

The times are the best of several; the machine's peak is the best matrix product in the same type in the same process.
"""

import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # the folder of this file, which stood there, has a `model` that is not the package

STOCKS, SESSIONS, INDICATORS = 100, 21, 41  # N, L, F
LORA_R, LORA_ALPHA = 8, 16
OBVIOUS = "obvious"
SHAPES = ("tiny", "mini", "small", "base", "large")


@click.command()
@click.option("--shape", type=click.Choice(SHAPES), default="large", show_default=True, help="of Chronos-T5")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="a T5 of that shape, instead of random")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["fp16", "bf16", "fp32"]), help="ours in")
@click.option("--stocks", default=STOCKS, show_default=True)
@click.option("--micro-batch", type=int, help="instead of the default of settings.py")
@click.option("--repeats", default=3, show_default=True, help="the best of so many, after one to warm up")
@click.option("--errors", is_flag=True, help="measure the distance from fp64 instead of time and memory")
@click.option("--json", "report", type=click.Path(path_type=Path), help="write the numbers to this file")
def main(
    shape: str,
    folder: Path | None,
    precisions: tuple[str, ...],
    stocks: int,
    micro_batch: int | None,
    repeats: int,
    errors: bool,
    report: Path | None,
) -> None:
    options = {} if micro_batch is None else {"micro_batch": micro_batch}
    with _backbone(folder, shape) as backbone:
        device = _alone(device_found)
        if errors:
            ours = precisions or ("fp32", "bf16", "fp16")
            result = {name: _alone(distances, backbone, name, stocks, options) for name in ours}
            _show_errors(result, f"Distance from fp64: T5-{shape}, {stocks} stocks, on {device}")
        else:
            # Hardly a CPU multiplies fp16: a step of Large would take a quarter of an hour.
            ours = precisions or (("fp16", "bf16", "fp32") if device.startswith("CUDA") else ("bf16", "fp32"))
            variants = {name: _alone(measure, backbone, name, stocks, repeats, options) for name in (OBVIOUS, *ours)}
            result = {"device": device, "shape": shape, "stocks": stocks, "variants": variants} | ratios(variants)
            _show(result, f"T5-{shape}, {stocks} stocks, on {device}")
    if report is not None:
        report.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def device_found() -> str:
    import torch

    if torch.cuda.is_available():
        return f"CUDA: {torch.cuda.get_device_name()}"
    return f"CPU: {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def measure(backbone: str, variant: str, stocks: int, repeats: int, options: dict[str, Any]) -> dict[str, float]:
    """Seconds, bytes and FLOP/s of one variant: the obvious code, or ours in a precision.

    decide, step: seconds, the best of `repeats`. memory: the peak, of the device where it is CUDA, else of the process.
    peak: FLOP/s of the best matrix product in the variant's type; forward: of the decision, in useful operations.
    """
    import numpy as np
    import torch

    from model.precision import DTYPES

    market, returns = _market(stocks), np.random.default_rng(1).normal(0, 0.05, stocks)
    if variant == OBVIOUS:
        decide, step, encoder = _obvious(backbone, market.features, returns)
    else:
        learner = _learner(backbone, variant, options)
        decide, step, encoder = lambda: learner.decide(market), lambda: learner.learn(returns), learner.policy.encoder
    dtype = torch.float32 if variant == OBVIOUS else DTYPES[variant]
    device = encoder.final_layer_norm.weight.device
    times, peak = [], 0.0
    for _ in range(1 + repeats):
        peak = max(peak, _matmul_peak(dtype, device))
        times.append((_seconds(decide), _seconds(step)))
    best_decide, best_step = (min(column) for column in zip(*times[1:], strict=True))
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    forward = _forward_operations(encoder, stocks) / best_decide
    return {"decide": best_decide, "step": best_step, "memory": memory, "peak": peak, "forward": forward}


def ratios(variants: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """What the issue of speed and memory is held against: by precision, the obvious code's number over ours."""
    obvious = variants[OBVIOUS]
    ours = {name: variant for name, variant in variants.items() if name != OBVIOUS}
    return {
        "step_speedup": {name: obvious["step"] / variant["step"] for name, variant in ours.items()},
        "memory_ratio": {name: obvious["memory"] / variant["memory"] for name, variant in ours.items()},
        "forward_fraction_of_peak": {name: variant["forward"] / variant["peak"] for name, variant in ours.items()},
    }


def distances(backbone: str, precision: str, stocks: int, options: dict[str, Any]) -> dict[str, float]:
    """How far the weights and the gradients in `precision` are from those in fp64, adapters as after some steps.

    weights: the largest error of a weight over the equal weight 1/N. traded: half the sum of the weights' errors, the
    fraction of the portfolio that would be traded for nothing. gradient: Euclidean, relative, over all tensors. worst:
    the same of the tensor where it is largest. A ReLU's derivative jumps at 0: where rounding takes an input to the
    other side the gradient is a neighbour's, however small the error. So `gradient_sides` and `worst_sides` are
    against fp64 with every ReLU on the side where `precision` has it. fell_back: 1 where the watchdog went to fp32.
    """
    import numpy as np
    import torch

    from model import State, objective
    from settings import LearningSettings

    market, returns = _market(stocks), np.random.default_rng(1).normal(0, 0.05, stocks)
    learner = _learner(backbone, precision, options)
    rng = np.random.default_rng(2)
    arrays = {  # B starts at 0, where A has no gradient; one step of AdamW takes it to +-0.01
        name: rng.choice([-0.01, 0.01], array.shape).astype(np.float32) if ".lora_B." in name else array
        for name, array in learner.state().arrays.items()
    }
    learner.restore(State(arrays, step=0, decision=None))
    weights = learner.decide(market)
    parameters = learner.policy.trainable()
    doubles = {name: parameter.detach().cpu().double().requires_grad_() for name, parameter in parameters.items()}
    batches: list[list[torch.Tensor]] = [[] for _ in learner.policy.encoder.block]
    for block, seen in zip(learner.policy.encoder.block, batches, strict=True):
        block.layer[1].DenseReluDense.wi.register_forward_hook(lambda _, __, z, seen=seen: seen.append(z.cpu() > 0))
    fell_back = learner.learn(returns).fallbacks
    sides = [torch.cat(seen)[-stocks:] for seen in batches]  # by layer (N, L, d_ff), of the last (N, 1, d_ff)

    reference = _learner(backbone, "fp32", {"device": "cpu"}).policy.encoder
    inputs = torch.tensor(market.features).double()
    with torch.no_grad():
        scores = torch.stack([_exact_score(reference, doubles, features) for features in inputs]).requires_grad_()
    learning = LearningSettings()
    loss = objective.terms(scores, torch.tensor(returns), entropy=learning.entropy, eta=learning.eta).loss
    (slope,) = torch.autograd.grad(loss, scores)

    error = np.abs(weights - objective.weights(scores.detach()).numpy())
    result = {"weights": float(error.max()) * stocks, "traded": float(error.sum()) / 2, "fell_back": fell_back}
    for suffix, chosen in {"": [None] * stocks, "_sides": zip(*sides, strict=True)}.items():
        for exact in doubles.values():
            exact.grad = None
        for features, into, side in zip(inputs, slope, chosen, strict=True):  # a stock at a time: fp64 takes room
            _exact_score(reference, doubles, features, side).backward(into)
        off = [float((parameters[name].grad.cpu() - exact.grad).norm()) for name, exact in doubles.items()]
        size = [float(exact.grad.norm()) for exact in doubles.values()]
        result[f"gradient{suffix}"] = float(np.linalg.norm(off) / np.linalg.norm(size))
        result[f"worst{suffix}"] = max(o / s for o, s in zip(off, size, strict=True))
    return result


def _exact_score(encoder: Any, trained: dict[str, Any], features: Any, sides: Any = None) -> Any:
    """The score of one stock, features (L, F), as T5's formulas have it, in the type of `features`, adapters merged.

    sides: by layer, bool (L, d_ff), or (1, d_ff) for the last session alone: True where a ReLU lets its input through,
        in place of the input's own sign.

    Written out because transformers' own code works in fp32 in places.
    """
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    def matrix(name: str) -> Any:
        linear = encoder.get_submodule(name)
        weight = getattr(linear, "base_layer", linear).weight.to(features)
        a, b = (trained.get(f"encoder.{name}.lora_{ab}.default.weight") for ab in "AB")
        return weight if a is None else weight + linear.scaling["default"] * b @ a

    def norm(steps: Any, layer: Any) -> Any:
        return layer.weight.to(features) * steps * torch.rsqrt(steps.pow(2).mean(-1, keepdim=True) + 1e-6)

    def heads(steps: Any, name: str) -> Any:
        return (steps @ matrix(name).T).unflatten(-1, (encoder.config.num_heads, -1)).transpose(0, 1)  # (H, L, D/H)

    length = len(features)
    config, session = encoder.config, torch.arange(length)
    bucket = T5Attention._relative_position_bucket(
        session - session[:, None],
        num_buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance,
    )
    bias = encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.to(features).T[:, bucket]  # (H, L, L)
    steps = features @ trained["projection.weight"].T + trained["projection.bias"]  # (L, F) -> (L, D)
    for i, block in enumerate(encoder.block):
        attention = f"block.{i}.layer.0.SelfAttention"
        normed = norm(steps, block.layer[0].layer_norm)
        q, k, v = (heads(normed, f"{attention}.{linear}") for linear in "qkv")
        mixed = torch.softmax(q @ k.transpose(1, 2) + bias, dim=-1) @ v  # T5 does not divide by sqrt(D/H)
        steps = steps + mixed.transpose(0, 1).flatten(1) @ matrix(f"{attention}.o").T
        normed = norm(steps, block.layer[1].layer_norm)
        dense = f"block.{i}.layer.1.DenseReluDense"
        wide = normed @ matrix(f"{dense}.wi").T  # (L, d_ff)
        passes = wide > 0
        if sides is not None:
            passes[-len(sides[i]) :] = sides[i]
        steps = steps + (wide * passes) @ matrix(f"{dense}.wo").T
    return (norm(steps, encoder.final_layer_norm)[-1] @ trained["head.weight"].T).squeeze()


def _obvious(backbone: str, features: Any, returns: Any) -> tuple[Callable[[], Any], Callable[[], Any], Any]:
    """A decision, a step, and the encoder, of the code that one writes first."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.logging.set_verbosity_error()  # the decoder's weights are not in a random encoder's folder
    device = "cuda" if torch.cuda.is_available() else "cpu"
    t5 = transformers.T5ForConditionalGeneration.from_pretrained(backbone)
    lora = LoraConfig(r=LORA_R, lora_alpha=LORA_ALPHA, target_modules=["q", "k", "v", "o"], lora_dropout=0.0)
    adapted = get_peft_model(t5, lora).eval().to(device)
    projection = torch.nn.Linear(features.shape[-1], t5.config.d_model, device=device)
    head = torch.nn.Linear(t5.config.d_model, 1, bias=False, device=device)
    trained = [p for module in (adapted, projection, head) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    inputs, realised = torch.tensor(features, device=device), torch.tensor(returns, device=device).float()

    def weights() -> Any:
        hidden = adapted.get_encoder()(inputs_embeds=projection(inputs)).last_hidden_state[:, -1]
        return torch.softmax(head(hidden).squeeze(-1), dim=0)

    def decide() -> Any:
        with torch.no_grad():
            return weights().cpu()

    def step() -> float:
        optimizer.zero_grad()
        held = weights()
        loss = -(held * realised).sum() + 0.01 * (held * held.log()).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    return decide, step, adapted.get_encoder()


def _learner(backbone: str, precision: str, options: dict[str, Any]) -> Any:
    from model import make_allocator
    from settings import ModelSettings, Settings

    model = ModelSettings(backbone=backbone, lora_r=LORA_R, lora_alpha=LORA_ALPHA, precision=precision, **options)
    return make_allocator(Settings(model=model), n_features=INDICATORS)


def _market(stocks: int) -> Any:
    from datetime import datetime

    import numpy as np

    from model import Market

    features = np.random.default_rng(0).uniform(-1, 1, (stocks, SESSIONS, INDICATORS))
    return Market(datetime(2010, 1, 4, 9), tuple(f"S{i}" for i in range(stocks)), features, np.ones(stocks, dtype=bool))


def _forward_operations(encoder: Any, stocks: int) -> float:
    """Floating-point operations of the frozen maps and the attention that the last sessions' hidden states need: of the
    last layer the keys and values of all sessions, the rest of one. Adapters and norms are left out."""
    config = encoder.config
    width, inner = config.d_model, config.num_heads * config.d_kv
    keys_values = 2 * width * inner
    rest = 2 * width * inner + 2 * width * config.d_ff + 2 * SESSIONS * inner
    by_stock = config.num_layers * SESSIONS * keys_values + ((config.num_layers - 1) * SESSIONS + 1) * rest
    return 2.0 * stocks * by_stock


def _matmul_peak(dtype: Any, device: Any) -> float:
    """FLOP/s of the best of some matrix products, the network's own sizes among them."""
    import torch

    best = 0.0
    for m, k, n in ((2048, 2048, 2048), (2100, 1024, 4096), (2100, 4096, 1024)):
        left = torch.randn(m, k, device=device).to(dtype)
        right = torch.randn(n, k, device=device).to(dtype)
        for _ in range(6):
            seconds = _seconds(lambda left=left, right=right: torch.nn.functional.linear(left, right))
            best = max(best, 2.0 * m * k * n / seconds)
    return best


def _seconds(work: Callable[[], Any]) -> float:
    import torch

    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result in a fresh process, which ends with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


@contextmanager
def _backbone(folder: Path | None, shape: str) -> Iterator[str]:
    if folder is not None:
        yield str(folder)
        return
    with tempfile.TemporaryDirectory() as made:
        script = ROOT / "benchmarks" / "random_backbone.py"
        subprocess.run([sys.executable, str(script), made, "--size", shape], check=True)
        yield made


def _show(result: dict[str, Any], title: str) -> None:
    table = Table(
        title=title, caption="forward and matmul peak in TFLOP/s; speed-up and memory against the obvious code"
    )
    for heading in ("", "decision", "step", "memory", "forward", "peak", "of it", "speed-up", "memory"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, variant in result["variants"].items():
        ours = name != OBVIOUS
        table.add_row(
            name if ours else "obvious",
            f"{variant['decide']:.2f} s",
            f"{variant['step']:.2f} s",
            f"{variant['memory'] / 1e9:.2f} GB",
            f"{variant['forward'] / 1e12:.2f}",
            f"{variant['peak'] / 1e12:.2f}",
            f"{variant['forward'] / variant['peak']:.0%}",
            f"{result['step_speedup'][name]:.1f}" if ours else "",
            f"1/{result['memory_ratio'][name]:.1f}" if ours else "",
        )
    Console(width=110).print(table)


def _show_errors(result: dict[str, dict[str, float]], title: str) -> None:
    table = Table(
        title=title, caption="gradients: over all tensors, worst tensor; the same with ReLUs on the same side"
    )
    for heading in ("", "weights x N", "traded", "gradient", "worst", "same sides", "worst", "fell back"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    keys = ("weights", "traded", "gradient", "worst", "gradient_sides", "worst_sides")
    for name, error in result.items():
        table.add_row(name, *(f"{error[key]:.1e}" for key in keys), "yes" if error["fell_back"] else "no")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
