"""Results to read: a run of a small algorithm on the embedded host, the real engine's recordings, and invented ones."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from evaluation import ladder as rungs
from evaluation.ledger import Trials
from evaluation.result import Result, read_result
from evaluation.runs import RunFailed
from minilean.cli import main

ALGORITHM = """
from AlgorithmImports import *


class Monthly(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2013, 6, 3)
        self.set_end_date(2015, 6, 30)
        self.set_cash(1_000_000)
        self.settings.seed_initial_prices = True
        leverage = float(self.get_parameter("leverage", 2))
        self._names = [self.add_equity(t, Resolution.DAILY, leverage=leverage).symbol for t in ("ALFA", "BETA", "GAMA")]
        first = self._names[0]
        self.schedule.on(self.date_rules.month_start(first), self.time_rules.before_market_open(first, 30), self._trade)
        if self.get_parameter("fail"):
            raise ValueError("broken <on> purpose")

    def _trade(self):
        shares = [0.5, 0.2, 0.2]
        turn = self.time.month % 3
        shares = shares[turn:] + shares[:turn]
        self.set_holdings([PortfolioTarget(s, w) for s, w in zip(self._names, shares)])
        self.plot("Learning", "loss", 1 / self.time.month)
        self.plot("Learning", "gradient norm", self.time.month)

    def on_end_of_algorithm(self):
        total = self.portfolio.total_portfolio_value
        self.set_summary_statistic("Backbone", self.get_parameter("backbone", "tiny-random"))
        for name in self._names:
            self.set_runtime_statistic(f"Weight {name.value}", repr(self.portfolio[name].holdings_value / total))
"""


@pytest.fixture(scope="session")
def run_host(tmp_path_factory: pytest.TempPathFactory, parity_market: Path) -> Callable[..., Path]:
    """Run the algorithm above on the invented market; returns its main result file."""

    def run(**parameters: str) -> Path:
        folder = tmp_path_factory.mktemp("run")
        (folder / "main.py").write_text(ALGORITHM)
        arguments = ["backtest", str(folder), "--data-folder", str(parity_market), "--output", str(folder / "out")]
        arguments += ["--object-store", str(folder / "store")]
        for name, value in parameters.items():
            arguments += ["--parameter", name, value]
        outcome = CliRunner().invoke(main, arguments)
        assert outcome.exit_code == bool(parameters.get("fail")), outcome.output
        (result,) = (p for p in (folder / "out").glob("*.json") if not p.stem.endswith(("-summary", "-order-events")))
        return result

    return run


@pytest.fixture(scope="session")
def host_file(run_host: Callable[..., Path]) -> Path:
    return run_host()


@pytest.fixture(scope="session")
def host_result(host_file: Path) -> Result:
    """25 months of three stocks on the embedded host."""
    return read_result(host_file)


@pytest.fixture(scope="session")
def failed_file(run_host: Callable[..., Path]) -> Path:
    """A run whose `initialize` raises."""
    return run_host(fail="yes")


@pytest.fixture(scope="session")
def recorded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The whole result of a recorded run of the real engine, as a file."""
    folder = tmp_path_factory.mktemp("recorded")

    def unpack(name: str) -> Path:
        path = folder / f"{name}.json"
        if not path.exists():
            path.write_bytes(gzip.decompress((shared / "golden" / name / "result.json.gz").read_bytes()))
        return path

    return unpack


@pytest.fixture
def changed(host_file: Path, tmp_path: Path) -> Callable[[Callable[[dict], None]], Path]:
    """The host's result after a change of its content."""

    def change(edit: Callable[[dict], None]) -> Path:
        content = json.loads(host_file.read_text())
        edit(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content))
        return path

    return change


RATE = 0.01  # risk-free, of the invented results


@pytest.fixture(scope="session")
def invented(host_result: Result) -> Callable[..., Result]:
    """A result with these daily returns (T,), its own and the benchmark's, the last one on 2019-12-31."""

    def make(returns: np.ndarray, benchmark: np.ndarray) -> Result:
        own, market = (np.concatenate((np.zeros(2), series)) for series in (returns, benchmark))
        days = pd.date_range(end="2019-12-31", periods=len(own))
        instants = (days + pd.Timedelta(days=1)).tz_localize("America/New_York").tz_convert("UTC")
        samples = pd.DataFrame(
            {
                "day": days,
                "equity": 1e6 * np.cumprod(1 + own),
                "return": own,
                "benchmark": 100 * np.cumprod(1 + market),
                "turnover": 0.02,
                "exposure": 1.0,
            }
        ).set_index(instants)
        deviation = returns.std(ddof=1) * np.sqrt(252) if len(returns) > 1 else 0.0
        sharpe = ((1 + returns.mean()) ** 252 - 1 - RATE) / deviation if deviation else 0.0
        names = pd.Series([20.0, 24.0], index=instants[:2])
        return replace(
            host_result,
            samples=samples,
            equity=samples["equity"],
            sharpe=round(float(sharpe), 4),
            statistics=dict(host_result.statistics) | {"Total Fees": "$1,234,500.50"},
            plots={"Positions": {"effective names": names}},
        )

    return make


ODD = "<b>odd</b> & 'long' name of a folder with weights in it"


@pytest.fixture(scope="session")
def outcomes(invented: Callable[..., Result]) -> dict[rungs.Rung, list[Result | RunFailed]]:
    """Three years of a market, and rungs on it: one that is truly better, three seeds of another, one that failed."""
    rng = np.random.default_rng(1)
    market = rng.normal(0.0004, 0.01, 1100)

    def result(drift: float = 0.0, noise: float = 0.002) -> Result:
        return invented(market + drift + rng.normal(0, noise, len(market)), market)

    return {
        rungs.Rung(rungs.EQUAL, "Rules", {}): [result()],
        rungs.Rung("linear softmax", "Online learners", {}): [result(drift=0.001)],
        rungs.Rung(rungs.CONTROL, "Networks", {}, seeded=True): [result() for _ in range(3)],
        rungs.Rung(ODD, "Networks", {}, seeded=True): [result() for _ in range(3)],
        rungs.Rung("broken", "One change each", {}, seeded=True): [
            result(),
            RunFailed("2010-01-04 10:00:00 Runtime Error: <i>no</i> memory"),
            RunFailed("another reason"),
        ],
    }


@pytest.fixture(scope="session")
def ladder(outcomes: dict[rungs.Rung, list[Result | RunFailed]]) -> rungs.Ladder:
    return rungs.judge(outcomes, seeds=3, trials=Trials(count=8, variance=0.1, unreadable=0))
