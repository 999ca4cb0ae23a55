"""`lean logs`, `lean report` and `lean optimize` on this project and on what the embedded host wrote."""

import json

import pytest
from click.testing import CliRunner

from minilean.cli import main
from settings import Settings, SettingsError
from tests.lean.conftest import clone

SMALL = {"backbone": "tiny-random", "n_stocks": "20", "n_indicators": "12", "start": "2011-01-03", "end": "2011-03-31"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, demo_market):
    """The project after a run of the strategy on the embedded host."""
    project = clone(tmp_path_factory.mktemp("finished") / "online-portfolio")
    arguments = [word for pair in SMALL.items() for word in ("--parameter", *pair)]
    done = CliRunner().invoke(main, ["backtest", str(project), "--data-folder", str(demo_market), *arguments])
    assert done.exit_code == 0, done.output
    return project


@pytest.fixture
def results(finished):
    """Where the host left its results by default."""
    return min((finished / "backtests").iterdir())


def test_lean_logs_prints_the_hosts_log(lean, finished, results):
    done = lean("logs", cwd=finished)
    assert done.returncode == 0, done.stdout
    written = (results / "OnlinePortfolio-log.txt").read_text(encoding="utf-8").strip()
    assert "effective names" in written
    assert done.stdout.strip().endswith(written)


def test_lean_report_finds_the_hosts_result_by_itself(lean, finished, daemon, results):
    done = lean("report", cwd=finished)
    assert done.returncode == 0, done.stdout + done.stderr
    (container,) = daemon.containers
    assert container.name == "lean_cli_report_OnlinePortfolio"
    mounts = container.mounts
    assert mounts["/Lean/Report/bin/Debug/backtest-data-source-file.json"] == str(results / "OnlinePortfolio.json")
    assert mounts["/Output"] == str(finished)
    result = json.loads(container.files["/Lean/Report/bin/Debug/backtest-data-source-file.json"])
    assert result["charts"]["Strategy Equity"]["series"]["Equity"]["values"]
    config = json.loads(container.files["/Lean/Report/bin/Debug/config.json"])
    assert config["strategy-name"] == finished.name
    assert config["strategy-description"] == json.loads((finished / "config.json").read_text())["description"]


def test_both_leave_results_in_a_folder_named_by_the_time(lean, finished, daemon, results):
    done = lean("backtest", ".", cwd=finished)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = {path.name for path in (finished / "backtests").iterdir()}
    assert len(folders) == 2
    assert {len(name) for name in folders} == {len("2026-01-31_10-30-00")}
    assert daemon.containers[0].mounts["/Results"] == str(finished / "backtests" / max(folders))


OPTIMIZE = (
    *("--strategy", "Grid Search", "--target", "Sharpe Ratio", "--target-direction", "max"),
    *("--parameter", "eta", "0", "0.02", "0.01", "--parameter", "seed", "1", "5", "1"),
)


def test_lean_optimize_takes_the_documented_grid(lean, project, daemon):
    done = lean("optimize", ".", *OPTIMIZE, "--constraint", "Drawdown < 0.25", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    (container,) = daemon.containers
    optimizer = json.loads(container.files["/Lean/Optimizer.Launcher/bin/Debug/config.json"])
    grid = {p["name"]: (p["min"], p["max"], p["step"]) for p in optimizer["parameters"]}
    assert grid == {"eta": (0, 0.02, 0.01), "seed": (1, 5, 1)}
    assert optimizer["optimization-criterion"]["target"] == "TotalPerformance.PortfolioStatistics.SharpeRatio"


def test_a_whole_number_as_leans_optimizer_writes_it_is_a_seed():
    assert Settings.from_parameters({"seed": "3.0"}).run.seed == 3
    with pytest.raises(SettingsError, match="not a whole number"):
        Settings.from_parameters({"seed": "3.5"})
