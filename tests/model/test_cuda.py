"""What only a GPU can show. Everything else about the model is tested on the CPU."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from model import Market
from model.checkpoint import pack, unpack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

N = 12  # the stocks of make_market
RETURNS = np.random.default_rng(9).normal(0, 0.05, N)


def test_auto_runs_in_fp16_on_cuda(make_learner) -> None:
    policy = make_learner(device="auto", precision="auto").policy
    assert {p.dtype for p in policy.parameters()} == {torch.float16, torch.float32}
    assert all(p.is_cuda for p in policy.parameters())


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_two_learners_on_cuda_are_identical_to_the_bit(make_learner, make_market, precision: str) -> None:
    def months() -> bytes:
        learner = make_learner(device="cuda", precision=precision)
        for month in range(3):
            learner.decide(make_market(month))
            report = learner.learn(np.roll(RETURNS, month))
            assert report.drift == 0
            assert report.fallbacks == 0
        return pack(learner.state())

    assert months() == months()


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-6), ("fp16", 2e-3), ("bf16", 2e-2)])
def test_weights_on_cuda_agree_with_the_cpu_in_fp32(make_learner, make_market, unsettle, precision, bound) -> None:
    wanted = unsettle(make_learner()).decide(make_market())
    ours = unsettle(make_learner(device="cuda", precision=precision)).decide(make_market())
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=bound)


def test_overflow_in_fp16_on_cuda_makes_the_month_run_in_fp32(make_learner, make_market) -> None:
    learner = make_learner(device="cuda", precision="fp16")
    frozen = learner.policy.encoder.block[0].layer[0].layer_norm
    frozen.weight = torch.nn.Parameter(frozen.weight * 1e5, requires_grad=False)
    assert learner.decide(make_market()).sum() == pytest.approx(1)
    report = learner.learn(RETURNS)
    assert report.fallbacks == 1
    assert report.drift == 0
    assert all(parameter.isfinite().all() for parameter in learner.policy.trainable().values())


def test_a_state_moves_from_cuda_to_a_cpu(make_learner, make_market) -> None:
    learner, other = make_learner(device="cuda", precision="fp32"), make_learner()
    learner.decide(make_market())
    learner.learn(RETURNS)
    learner.decide(make_market(1))
    other.restore(unpack(pack(learner.state())))
    assert other.learn(RETURNS).drift < 1e-6


def test_stocks_in_batches_give_the_same_weights_on_cuda(make_learner, make_market, unsettle) -> None:
    whole, parts = (unsettle(make_learner(device="cuda", micro_batch=b)) for b in (N, 5))
    np.testing.assert_allclose(parts.decide(make_market()), whole.decide(make_market()), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_month_of_large_in_fp16_needs_less_than_6_gb(make_learner, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "random_backbone.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    features = np.random.default_rng(0).uniform(-1, 1, (100, 21, 41))
    market = Market(datetime(2010, 1, 4, 9), tuple(map(str, range(100))), features, np.ones(100, dtype=bool))
    learner = make_learner(n_features=41, backbone=str(tmp_path), device="cuda", precision="fp16")
    torch.cuda.reset_peak_memory_stats()
    learner.decide(market)
    learner.learn(np.resize(RETURNS, 100))
    assert torch.cuda.max_memory_allocated() < 6e9
