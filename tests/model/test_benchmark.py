"""The benchmark measures what it says, and its fp64 reference, written out from T5's formulas, agrees with ours."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(report: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "benchmarks/model.py", "--json", str(report), *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads(report.read_text())


@pytest.mark.slow
def test_the_report_has_the_ratios_of_its_own_measurements(tmp_path: Path) -> None:
    report = run(tmp_path / "report.json", "--shape", "tiny", "--stocks", "12", "--repeats", "1", "--precision", "fp32")
    obvious, ours = report["variants"]["obvious"], report["variants"]["fp32"]
    assert report["step_speedup"] == {"fp32": obvious["step"] / ours["step"]}
    assert report["memory_ratio"] == {"fp32": obvious["memory"] / ours["memory"]}
    assert report["forward_fraction_of_peak"] == {"fp32": ours["forward"] / ours["peak"]}
    assert 0 < report["forward_fraction_of_peak"]["fp32"] < 1
    assert 1e8 < ours["memory"] < obvious["memory"]  # bytes, and the decoder is not among ours


# Rounding alone: what ReLUs on the other side of 0 add is in docs/precision.md. The worst tensor's gradient is a
# thousand times smaller than the largest's. bf16 has 2^-8 where fp32 has 2^-24.
@pytest.mark.slow
def test_weights_and_gradients_of_large_agree_with_fp64(tmp_path: Path) -> None:
    options = ("--errors", "--shape", "large", "--stocks", "2", "--precision", "fp32", "--precision", "bf16")
    errors = run(tmp_path / "report.json", *options)
    assert errors["fp32"]["weights"] < 1e-6
    assert errors["fp32"]["gradient_sides"] < 1e-5
    assert errors["fp32"]["worst_sides"] < 3e-5
    assert errors["bf16"]["weights"] < 1e-2
    assert errors["bf16"]["gradient_sides"] < 0.05
    assert errors["fp32"]["fell_back"] == errors["bf16"]["fell_back"] == 0


@pytest.mark.slow
def test_every_idea_in_the_documentation_is_measured(chronos_folder: Path) -> None:
    command = [sys.executable, "benchmarks/encoder.py", "--folder", str(chronos_folder), "--repeats", "1"]
    table = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    rows = [line.split("│")[1:5] for line in table.splitlines() if line.startswith("│")]
    assert len(rows) == 12
    for idea, without, with_, change in rows:
        before, after = (float(cell.split()[0]) for cell in (without, with_))
        assert before > 0, idea
        assert float(change.strip(" %")) == pytest.approx(100 * (after / before - 1), rel=0.1, abs=10), (
            idea
        )  # of two digits
