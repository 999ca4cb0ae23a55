"""What must not make a difference: a restart, the unit of money, the order of files on disk, a second run."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from minilean.algorithm import PortfolioTarget, QCAlgorithm
from minilean.data import DataFolder
from minilean.engine import Engine
from minilean.enums import Resolution
from minilean.objectstore import ObjectStore
from minilean.orders import order_json
from tests.conftest import ROOT

FUND = "fund/state.json"


class Fund(QCAlgorithm):
    """Learns from what its weights earned and saves what it has learned and its cash at the end of every month.

    Each month's first session it buys at the open, by weights from a year of history and from its own state; on the
    month's last session it sells at the close. Where it finds a state of its own it goes on from there.
    """

    start, end, cash = date(2013, 1, 1), date(2014, 12, 31), 10_000_000.0

    def initialize(self) -> None:
        self.set_start_date(self.start)
        self.set_end_date(self.end)
        self.universe_settings.resolution = Resolution.DAILY
        self.settings.seed_initial_prices = True
        self.settings.minimum_order_margin_portfolio_percentage = 0
        self._state: dict[str, Any] = {"cash": self.cash, "trust": {}, "months": 0}
        if self.object_store.contains_key(FUND):
            self._state = json.loads(self.object_store.read(FUND))
        self.set_cash(self._state["cash"])
        self.decided: list[dict[str, float]] = []
        self.sizes: list[dict[str, tuple[float, float]]] = []
        self.add_universe(self.universe.etf("SPY", self.universe_settings, lambda rows: [row.symbol for row in rows]))
        self.schedule.on(self.date_rules.month_start("SPY"), self.time_rules.before_market_open("SPY", 30), self._buy)
        self.schedule.on(self.date_rules.month_end("SPY"), self.time_rules.noon, self._sell)
        self.schedule.on(self.date_rules.month_end("SPY"), self.time_rules.before_market_close("SPY", 0), self._learn)

    def _buy(self) -> None:
        symbols = [s.symbol for s in self.active_securities.values() if s.has_data and not s.is_delisted]
        closes = self.history(symbols, 250, Resolution.DAILY)["close"].unstack(level=0)
        trust = self._state["trust"]
        scores = {
            symbol: (1 + trust.get(str(symbol.id), 0.0)) / closes[symbol].pct_change().std()
            for symbol in sorted(closes.columns, key=lambda symbol: symbol.id.symbol)
        }
        weights = {symbol: score / sum(scores.values()) for symbol, score in scores.items()}
        total = self.portfolio.total_portfolio_value
        tickets = self.set_holdings([PortfolioTarget(symbol, weight) for symbol, weight in weights.items()])
        self.decided.append({symbol.value: weight for symbol, weight in weights.items()})
        shares = {ticket.symbol: self.securities[ticket.symbol].price / total for ticket in tickets}
        self.sizes.append({t.symbol.value: (t.quantity * shares[t.symbol], shares[t.symbol]) for t in tickets})

    def _sell(self) -> None:
        self.transactions.cancel_open_orders()
        self.liquidate()

    def _learn(self) -> None:
        trust = self._state["trust"]
        today = self.history([s.symbol for s in self.active_securities.values()], 1, Resolution.DAILY)
        for (symbol, moment), bar in today.iterrows():
            if moment.date() == self.time.date():
                sid = str(symbol.id)
                trust[sid] = 0.9 * trust.get(sid, 0.0) + bar["close"] / bar["open"] - 1
        self._state |= {"cash": self.portfolio.cash, "months": self._state["months"] + 1}
        self.object_store.save(FUND, json.dumps(self._state))


def run(data: Path, store: Path, **settings: Any) -> Engine:
    engine = Engine(type("Fund", (Fund,), settings), DataFolder(data), ObjectStore(store), {})
    failure = engine.run()
    assert failure is None, failure
    return engine


def write(engine: Engine, folder: Path) -> dict[str, bytes]:
    """The bytes of every result file of a run, by name."""
    engine.results().write(folder, engine.name, engine.brokerage.orders)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def but_for_the_clock(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files without what the log's last line says of seconds."""
    seconds = rb"(?<= completed in )[0-9.]+ seconds at [0-9]+k data points per second"
    return {name: re.sub(seconds, b"", content) for name, content in files.items()}


def orders_of(engine: Engine) -> Iterator[dict[str, Any]]:
    """All orders as LEAN writes them, without their ids."""
    for order in engine.brokerage.orders:
        yield {k: v for k, v in json.loads(order_json(order, rounded=False)).items() if k not in ("id", "brokerId")}


@pytest.fixture(scope="module")
def two_years(tmp_path_factory) -> Engine:
    return run(ROOT / "tests" / "fixtures" / "parity_market", tmp_path_factory.mktemp("store"))


def test_one_run_of_two_years_equals_two_runs_joined_by_a_saved_state(two_years, parity_market, tmp_path):
    first = run(parity_market, tmp_path, end=date(2013, 12, 31))
    second = run(parity_market, tmp_path, start=date(2014, 1, 1))
    assert first.algorithm.decided + second.algorithm.decided == two_years.algorithm.decided
    assert [*orders_of(first), *orders_of(second)] == list(orders_of(two_years))
    assert second.portfolio.cash == two_years.portfolio.cash
    assert second.object_store.read(FUND) == two_years.object_store.read(FUND)
    assert len(two_years.algorithm.decided) == 24


def test_the_second_run_depends_on_what_the_first_has_saved(two_years, parity_market, tmp_path):
    alone = run(parity_market, tmp_path, start=date(2014, 1, 1))
    assert alone.algorithm.decided != two_years.algorithm.decided[12:]


def doubled(data: Path, folder: Path) -> Path:
    """A copy of a data folder in which every price is twice as high; factors stay."""
    equity = copytree(data, folder) / "equity" / "usa"
    for path in (*equity.glob("daily/*.zip"), *equity.glob("hour/*.zip")):
        with zipfile.ZipFile(path) as archive:
            ((name, rows),) = ((name, archive.read(name).decode()) for name in archive.namelist())
        cells = [line.split(",") for line in rows.splitlines()]
        lines = [",".join([row[0], *(str(2 * int(price)) for price in row[1:5]), row[5]]) for row in cells]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "\n".join(lines) + "\n")
    return folder


def test_doubling_all_prices_and_the_cash_changes_no_weight_and_no_orders_share(two_years, parity_market, tmp_path):
    twice = run(doubled(parity_market, tmp_path / "data"), tmp_path, cash=2 * Fund.cash)
    assert twice.algorithm.decided == two_years.algorithm.decided
    # Fees are per share and so weigh half as much. An order's own fee, here up to 0.006 % of the portfolio, is taken
    # from it before the order is sized, and shares are whole.
    for once, double in zip(two_years.algorithm.sizes, twice.algorithm.sizes, strict=True):
        assert once.keys() == double.keys()
        for ticker, (share, of_one) in once.items():
            assert double[ticker][0] == pytest.approx(share, rel=1e-4, abs=1.01 * of_one)


def test_the_order_of_files_on_disk_changes_nothing(two_years, parity_market, tmp_path, monkeypatch):
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(sorted(listed(self, pattern), reverse=True)))
    backward = run(parity_market, tmp_path / "store")
    monkeypatch.undo()
    assert but_for_the_clock(write(backward, tmp_path / "a")) == but_for_the_clock(write(two_years, tmp_path / "b"))


def test_the_times_of_files_on_disk_change_nothing(two_years, parity_market, tmp_path):
    data = copytree(parity_market, tmp_path / "data")
    for number, path in enumerate(sorted(data.rglob("*"), reverse=True)):
        os.utime(path, (number, number))
    shuffled = run(data, tmp_path / "store")
    assert but_for_the_clock(write(shuffled, tmp_path / "a")) == but_for_the_clock(write(two_years, tmp_path / "b"))


def test_the_same_run_in_another_process_gives_the_same_bytes_but_for_the_seconds_in_the_log(
    two_years, parity_market, tmp_path
):
    code = (
        "import sys; from pathlib import Path; from tests.minilean.test_equivalences import run, write; "
        "write(run(Path(sys.argv[1]), Path(sys.argv[2])), Path(sys.argv[3]))"
    )
    arguments = [str(parity_market), str(tmp_path / "store"), str(tmp_path / "other")]
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, check=True)
    here = write(two_years, tmp_path / "here")
    other = {path.name: path.read_bytes() for path in sorted((tmp_path / "other").iterdir())}
    assert but_for_the_clock(other) == but_for_the_clock(here)
    assert {name for name in here if here[name] != other[name]} <= {"Fund-log.txt", "log.txt"}
    assert len(here) >= 4
