"""benchmarks/host.py on the invented market: a few months, 20 stocks."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def numbers(demo_market: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the benchmark writes."""
    report = tmp_path_factory.mktemp("report") / "host.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "host.py"), "--data-folder", str(demo_market)]
    command += ["--start", "2011-01-03", "--end", "2011-06-30", "--size", "20", "--repeat", "1", "--json", str(report)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def test_the_report_has_time_memory_and_ratio(numbers: dict[str, Any]) -> None:
    assert set(numbers) == {"seconds", "peak_mb", "ratio_bt", "engines", "breakdown", "scaling"}
    assert numbers["seconds"] > 0
    assert numbers["peak_mb"] > 10  # a Python with pandas in it: the unit is MB
    assert numbers["engines"]["minilean"]["seconds"] == numbers["seconds"]


def test_the_shares_of_the_time_make_up_the_whole(numbers: dict[str, Any]) -> None:
    assert sum(numbers["breakdown"].values()) == pytest.approx(1)
    assert min(numbers["breakdown"].values()) > 0


@pytest.mark.parametrize(("engine", "module"), [("bt", "bt"), ("zipline-reloaded", "zipline")])
def test_another_engine_ends_where_the_host_ends(numbers: dict[str, Any], engine: str, module: str) -> None:
    """Fees, whole shares and the days of trading are the same; the sizing of orders and the rounding are not."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{engine} is not installed")
    ours, theirs = (numbers["engines"][name]["end_equity"] for name in ("minilean", engine))
    assert theirs == pytest.approx(ours, rel=0.02)
    assert ours != pytest.approx(1_000_000_000, rel=0.001)  # it has traded


def test_a_period_without_constituents_is_refused(demo_market: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "host.py"), "--data-folder", str(demo_market)]
    finished = subprocess.run(
        [*command, "--start", "2010-03-01", "--end", "2010-04-30"], capture_output=True, text=True
    )
    assert finished.returncode == 1
    assert "has no constituents of SPY that could be traded at a month's start" in finished.stderr


def test_an_engine_that_is_not_installed_has_no_ratio(numbers: dict[str, Any]) -> None:
    assert (numbers["ratio_bt"] is None) == (importlib.util.find_spec("bt") is None)
