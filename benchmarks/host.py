"""Time the embedded host beside bt and zipline-reloaded, each doing the same job on the same LEAN data folder.

    python benchmarks/host.py [--data-folder FOLDER] [--repeat 3] [--scaling] [--json FILE]

The job is the recorded run `real_hash_1e9` (../shared/golden), whose order list hash the host prints again: the
largest stocks of SPY, chosen anew each quarter, rebalanced each month to weights that a hash gives, from 2009-06-01
to 2019-12-31 with a billion dollars; whole shares, prices adjusted for splits and dividends, Interactive Brokers'
fee. Each engine runs in a process of its own, from its start to its end, its imports and the writing of its results
included, and its peak memory is the operating system's count. `--repeat` takes medians over runs in turn.

At month end each takes the returns of the stocks it holds, with the same lines of pandas, to which the host has shorter
ways (minilean/frames.py). The host also reads the constituents, chooses the stocks and computes the weights; the others
are handed its decisions. They get their bars through `minilean.data`: what that takes, and for zipline-reloaded
ingesting them, is in their time and also given apart, as loading.

What bt does not do, and its time does not hold:
  * orders: a row of its frame has one price and all is bought and sold at it, in the same step that decides. To trade
    at the opens as the host does, it gets one row more for the open of each day with a decision; there is no order
    sized at one price and filled at the next, no order event and no ticket;
  * buying power: it goes into debt without a word (the weights handed to it leave LEAN's quarter of a per cent free);
  * delistings: a position stays at its last price until the next decision; dividends and splits in raw prices neither;
  * LEAN's statistics (it has some of its own: no trades, capacity, exposure, alpha, beta) and LEAN's result files: it
    writes its statistics, the value of the portfolio and the transactions as CSV.
zipline-reloaded does know orders and delistings: it sizes at the close before, fills at the open, and should end where
the host ends. Its results are written as CSV too.

`--scaling` also times the host at ten years of an invented market with 100 and with 500 stocks held: the same data, so
that only what is held differs.

Where the host's time goes is measured in one more run, so that the timers around its methods slow no other; each
method is charged for its own time, without that of the timed calls inside it.
"""

import compileall
import functools
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

# A child's peak counts the memory of the process that started it, so this one imports nothing large at its top.

ROOT = Path(__file__).resolve().parents[1]
CASH = 1_000_000_000
CASH_KEPT = 0.0025
"""Share of the portfolio that LEAN leaves in cash: settings.free_portfolio_value_percentage."""
TOLERANCE = 0.01
SEED_DAYS = 90
"""Days before the start from which a first price may come."""
RECORDED_DATA = ROOT.parent / "shared" / "marketdata" / "lean"

ALGORITHM = '''
from AlgorithmImports import *

import hashlib
import json
import math
from datetime import date


class HashWeights(QCAlgorithm):
    """The largest stocks of SPY at weights from a hash, rebalanced monthly; at month end their returns are taken."""

    def initialize(self):
        first, last = (date.fromisoformat(self.get_parameter(name)) for name in ("start", "end"))
        self.set_start_date(first.year, first.month, first.day)
        self.set_end_date(last.year, last.month, last.day)
        self.set_cash(float(self.get_parameter("cash")))
        self.settings.seed_initial_prices = True
        self.settings.minimum_order_margin_portfolio_percentage = 0
        self.universe_settings.resolution = Resolution.DAILY
        self._size = int(self.get_parameter("size"))
        self._quarter = None
        self._members = []
        self._held = []
        self._decisions = {}
        self._returns = {}
        self.add_universe(self.universe.etf("SPY", self.universe_settings, self._choose))
        month_start, month_end = self.date_rules.month_start("SPY"), self.date_rules.month_end("SPY")
        self.schedule.on(month_start, self.time_rules.before_market_open("SPY", 30), self._decide)
        self.schedule.on(month_end, self.time_rules.after_market_close("SPY", 1), self._realise)

    def _choose(self, constituents):
        quarter = self.time.year, (self.time.month - 1) // 3
        weighted = [c for c in constituents if c.weight]
        if quarter == self._quarter or not weighted:
            return Universe.UNCHANGED
        self._quarter = quarter
        largest = sorted(weighted, key=lambda c: (-c.weight, str(c.symbol.id)))[: self._size]
        self._members = [c.symbol for c in largest]
        return self._members

    def _decide(self):
        self._held = [s for s in self._members if s in self.securities
                      and self.securities[s].is_tradable and self.securities[s].price > 0]
        if not self._held:
            return
        scores = {}
        for symbol in self._held:
            digest = hashlib.sha256(f"{symbol.id}|{self.time:%Y-%m}".encode()).hexdigest()
            scores[symbol] = math.exp(2.0 * (int(digest[:8], 16) / 0xFFFFFFFF))
        total = sum(scores.values())
        weights = {symbol: score / total for symbol, score in scores.items()}
        self.set_holdings([PortfolioTarget(symbol, weight) for symbol, weight in weights.items()], True)
        self._decisions[f"{self.time:%Y-%m-%d}"] = {str(symbol.id): weight for symbol, weight in weights.items()}

    def _realise(self):
        if not self._held:
            return
        history = self.history(self._held, 23, Resolution.DAILY)
        closes, opens = (history[name].unstack(level=0) for name in ("close", "open"))
        closes, opens = (frame[frame.index.month == self.time.month] for frame in (closes, opens))
        returns = {}
        for symbol in self._held:
            if symbol in closes.columns and closes[symbol].notna().any():
                change = closes[symbol].dropna().iloc[-1] / opens[symbol].dropna().iloc[0] - 1
                returns[str(symbol.id)] = float(change)
        self._returns[f"{self.time:%Y-%m-%d}"] = returns

    def on_end_of_algorithm(self):
        self.object_store.save("benchmark/decisions.json", json.dumps(self._decisions))
        self.object_store.save("benchmark/returns.json", json.dumps(self._returns))
'''


@dataclass(frozen=True)
class Job:
    """What all engines do: a data folder, a period, and the host's decisions (day -> SID -> weight) as a JSON file."""

    data_folder: Path
    start: date
    end: date
    decisions: Path

    def weights(self) -> dict[date, dict[str, float]]:
        found = json.loads(self.decisions.read_text(encoding="utf-8"))
        return {date.fromisoformat(day): weights for day, weights in found.items()}

    def bars(self) -> dict[str, "pd.DataFrame"]:
        """Total-return adjusted close, high, low, open and volume by session of every stock ever decided on, by SID."""
        import numpy as np
        import pandas as pd

        from minilean.data import DataFolder
        from minilean.symbols import SecurityIdentifier

        data = DataFolder(self.data_folder)
        begin, end = (self.start - timedelta(days=SEED_DAYS)).toordinal(), self.end.toordinal()
        found = {}
        for sid in sorted({sid for weights in self.weights().values() for sid in weights}):
            bars = data.daily(SecurityIdentifier.parse(sid))
            rows = np.flatnonzero((bars.ordinals >= begin) & (bars.ordinals <= end))
            days = pd.DatetimeIndex([date.fromordinal(day) for day in bars.ordinals[rows].tolist()])
            columns = ["close", "high", "low", "open", "volume"]
            found[sid] = pd.DataFrame(bars.doubles(rows, adjusted=True).T, index=days, columns=columns)
        return found


def interactive_brokers_fee(quantity: float, price: float) -> float:
    """Dollars for that many shares: half a cent each, at least one dollar, else at most 0.5 % of their value."""
    per_share = 0.005 * abs(quantity)
    return min(per_share, 0.005 * abs(quantity) * price) if per_share >= 1 else 1.0


def realised_returns(closes: "pd.DataFrame", opens: "pd.DataFrame") -> dict[str, float]:
    """Of each stock its last close over its first open, less one; as the algorithm above has it.

    closes, opens: (L, N) a month's sessions by stocks.
    """
    returns = {}
    for stock in closes.columns:
        if closes[stock].notna().any():
            returns[str(stock)] = float(closes[stock].dropna().iloc[-1] / opens[stock].dropna().iloc[0] - 1)
    return returns


# --- the engines; each of these functions is a process


def run_bt(job: Job, output: Path) -> dict[str, float]:
    """The job in bt. Returns its `end_equity` in dollars and the seconds of `loading`."""
    import bt  # type: ignore[import]
    import pandas as pd

    began = time.perf_counter()
    bars = job.bars()
    closes = pd.DataFrame({sid: frame["close"] for sid, frame in bars.items()}).ffill()
    opens = pd.DataFrame({sid: frame["open"] for sid, frame in bars.items()}).fillna(closes)
    weights = pd.DataFrame.from_dict(job.weights(), orient="index") * (1 - CASH_KEPT)
    weights.index = pd.DatetimeIndex(weights.index)
    opens = opens.loc[weights.index]
    closes = closes.loc[pd.Timestamp(job.start) :]
    closes.index = days = pd.DatetimeIndex(closes.index) + pd.Timedelta(hours=16)
    opens.index = weights.index = weights.index + pd.Timedelta(hours=9.5)
    prices = pd.concat([closes, opens]).sort_index()
    loading = time.perf_counter() - began

    month_ends = set(days.to_series().groupby(days.strftime("%Y-%m")).last())
    returns = {}

    def realise(target: Any) -> bool:
        decided = weights.loc[: target.now]
        if target.now in month_ends and len(decided):
            month = target.universe.loc[target.now.replace(day=1, hour=0) :, decided.iloc[-1].dropna().index]
            returns[f"{target.now:%Y-%m-%d}"] = realised_returns(month, month)
        return True  # the next of the strategy's steps is due

    strategy = bt.Strategy("hash weights", [realise, bt.algos.WeighTarget(weights), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy, prices, initial_capital=CASH, commissions=interactive_brokers_fee, integer_positions=True
    )
    result = bt.run(test)
    values = test.strategy.values
    result.stats.to_csv(output / "statistics.csv")
    values.to_csv(output / "values.csv")
    result.get_transactions().to_csv(output / "transactions.csv")
    (output / "returns.json").write_text(json.dumps(returns), encoding="utf-8")
    return {"end_equity": float(values.iloc[-1]), "loading": loading}


def run_zipline(job: Job, output: Path) -> dict[str, float]:
    """The job in zipline-reloaded, on a bundle ingested for it. Returns what `run_bt` returns."""
    import pandas as pd
    from zipline import api, run_algorithm  # type: ignore[import]
    from zipline.data import bundles  # type: ignore[import]
    from zipline.finance.commission import EquityCommissionModel  # type: ignore[import]
    from zipline.finance.slippage import SlippageModel  # type: ignore[import]
    from zipline.utils.calendar_utils import get_calendar  # type: ignore[import]

    began = time.perf_counter()
    environ = {"ZIPLINE_ROOT": str(output)}
    start, end = pd.Timestamp(job.start), pd.Timestamp(job.end)
    sessions = get_calendar("NYSE").sessions_in_range(start - pd.Timedelta(days=SEED_DAYS), end)
    bars = job.bars()
    numbers = {name: number for number, name in enumerate(bars)}

    def ingest(environ: Any, assets: Any, minutes: Any, daily: Any, adjustments: Any, *rest: Any) -> None:
        listed = {number: frame.index[[0, -1]] for number, frame in enumerate(bars.values())}
        equities = pd.DataFrame(
            {
                "symbol": [f"S{number}" for number in listed],
                "asset_name": list(bars),
                "start_date": [first for first, _ in listed.values()],
                "end_date": [last for _, last in listed.values()],
                "auto_close_date": [last + pd.Timedelta(days=1) for _, last in listed.values()],
                "exchange": "NYSE",
            }
        )
        exchange = pd.DataFrame({"exchange": ["NYSE"], "canonical_name": ["NYSE"], "country_code": ["US"]})
        assets.write(equities=equities, exchanges=exchange)
        daily.write(
            (number, frame.reindex(sessions[(sessions >= frame.index[0]) & (sessions <= frame.index[-1])]).ffill())
            for number, frame in enumerate(bars.values())
        )
        adjustments.write()

    bundles.register("benchmark", ingest, calendar_name="NYSE", start_session=sessions[0], end_session=sessions[-1])
    bundles.ingest("benchmark", environ=environ)
    loading = time.perf_counter() - began

    class Fee(EquityCommissionModel):  # type: ignore[misc]
        def calculate(self, order: Any, transaction: Any) -> float:
            return interactive_brokers_fee(transaction.amount, transaction.price)

    class AtTheOpen(SlippageModel):  # type: ignore[misc]
        def process_order(self, data: Any, order: Any) -> tuple[float, int]:
            return data.current(order.asset, "open"), order.amount

    # An order of one session is filled in the next, so the decision before an open is given at the close before it.
    due = {sessions[sessions.searchsorted(pd.Timestamp(day)) - 1]: found for day, found in job.weights().items()}
    month_ends = set(sessions.to_series().groupby(sessions.strftime("%Y-%m")).last())
    returns = {}

    def initialize(context: Any) -> None:
        context.held = []
        api.set_commission(us_equities=Fee())
        api.set_slippage(us_equities=AtTheOpen())

    def handle_data(context: Any, data: Any) -> None:
        today = api.get_datetime().tz_localize(None).normalize()
        if today in month_ends and context.held:
            history = data.history(context.held, ["close", "open"], 23, "1d")
            closes, opens = (history[name].unstack() for name in ("close", "open"))
            closes, opens = (
                frame[frame.index.month == today.month].rename(columns=lambda asset: asset.asset_name)
                for frame in (closes, opens)
            )
            returns[f"{today:%Y-%m-%d}"] = realised_returns(closes, opens)
        if today not in due:
            return
        targets = {api.sid(numbers[name]): weight * (1 - CASH_KEPT) for name, weight in due[today].items()}
        for asset in dict.fromkeys([*context.portfolio.positions, *targets]):
            api.order_target_percent(asset, targets.get(asset, 0.0))
        context.held = list(targets)

    days = run_algorithm(
        start=sessions[sessions.searchsorted(start) - 1],
        end=sessions[-1],
        initialize=initialize,
        handle_data=handle_data,
        capital_base=CASH,
        bundle="benchmark",
        environ=environ,
        benchmark_returns=pd.Series(0.0, index=sessions),
    )
    days[["portfolio_value", "returns", "transactions"]].to_csv(output / "days.csv")
    (output / "returns.json").write_text(json.dumps(returns), encoding="utf-8")
    return {"end_equity": float(days["portfolio_value"].iloc[-1]), "loading": loading}


PEERS: dict[str, tuple[str, Callable[[Job, Path], dict[str, float]]]] = {
    "bt": ("bt", run_bt),
    "zipline-reloaded": ("zipline", run_zipline),
}
"""Distribution -> the module it brings, and the job in it."""


def run_peer(name: str, folder: str, start: str, end: str, decisions: str, output: str) -> None:
    """A process of its own: the job in a peer, its answer written to answer.json in `output`."""
    job = Job(Path(folder), date.fromisoformat(start), date.fromisoformat(end), Path(decisions))
    answer = PEERS[name][1](job, Path(output))
    Path(output, "answer.json").write_text(json.dumps(answer), encoding="utf-8")


# --- where the host's time goes

ELSE = "loop, schedule, universe, exit"
LABELS = (
    "imports",
    "reading data",
    "history requests",
    "the algorithm's own code",
    "orders and fills",
    "valuation and sampling",
    "writing results",
    ELSE,
)


class Shares:
    """Own time of labelled calls: a timer runs for the innermost one only."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running = [ELSE]
        self._since = time.perf_counter()

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            self._charge()
            self._running.append(label)
            try:
                return function(*arguments, **options)
            finally:
                self._charge()
                self._running.pop()

        return call

    def time_methods(self, label: str, kind: type, *names: str) -> None:
        """Time those methods of a class; without names its constructor and all that are public."""
        public = [name for name in vars(kind) if name == "__init__" or not name.startswith("_")]
        for name in names or public:
            method = vars(kind)[name]
            if isinstance(method, FunctionType):
                setattr(kind, name, self.timed(label, method))


def run_host_timed(launched: float, answer: str, *arguments: str) -> None:
    """A process of its own: `python -m minilean` with timers, its seconds by label written to `answer`.

    launched: when this process was started, as time.time() of the one that did.
    """
    import builtins

    shares = Shares()
    shares.seconds["imports"] = time.time() - launched
    builtins.__import__ = shares.timed("imports", builtins.__import__)

    from minilean.brokerage import Brokerage
    from minilean.cli import main as minilean
    from minilean.data import DataFolder
    from minilean.engine import Engine
    from minilean.history import History
    from minilean.objectstore import ObjectStore
    from minilean.portfolio import Portfolio
    from minilean.results import Recorder
    from minilean.results.holdings import Holdings

    shares.time_methods("reading data", DataFolder)
    shares.time_methods("history requests", History)
    shares.time_methods("the algorithm's own code", Engine, "_call")
    shares.time_methods("orders and fills", Brokerage)
    shares.time_methods("orders and fills", Portfolio, "fill", "dividend", "split")
    shares.time_methods("valuation and sampling", Portfolio, "positions", "total_value", "margin_used")
    shares.time_methods("valuation and sampling", Recorder, "midnight", "end_of_slice", "finish", "fill", "mark")
    shares.time_methods("valuation and sampling", Holdings, "draw")
    shares.time_methods("writing results", Recorder, "order_event", "write", "statistics")
    shares.time_methods("writing results", ObjectStore)
    try:
        minilean(list(arguments), standalone_mode=False)
    finally:
        Path(answer).write_text(json.dumps(shares.seconds), encoding="utf-8")


# --- ten years of an invented market

SCALING_SIZES = (100, 500)
SCALING_YEARS = 2010, 2019


def write_invented_market(folder: Path, n_stocks: int) -> None:
    """A LEAN data folder of random walks, with a year before the first of SCALING_YEARS; each stock pays a dividend
    every quarter, and all are constituents of SPY, by market value."""
    import numpy as np

    from minilean.folder import LAST_DAY, Exchange, csv_text, factor_file, write_bars, write_text
    from minilean.symbols import SecurityIdentifier

    draw = np.random.default_rng(1)
    exchange = Exchange(SCALING_YEARS[0] - 1, SCALING_YEARS[1] + 1)
    exchange.write(folder)
    sessions = exchange.calendar().sessions(date(SCALING_YEARS[0] - 1, 1, 1), date(SCALING_YEARS[1], 12, 31))
    days = [f"{day:%Y%m%d}" for day in sessions]
    tickers = ["SPY", *(f"S{number:04}" for number in range(n_stocks))]
    moves = 0.01 * draw.standard_normal((len(days), 1)) + 0.015 * draw.standard_normal((len(days), len(tickers)))
    closes = np.exp(np.cumsum(moves, axis=0) + draw.normal(4, 0.5, len(tickers)))
    shares = 1e7 * np.exp(draw.normal(3, 1, len(tickers)))
    equity = folder / "equity" / "usa"
    for ticker, close in zip(tickers, closes.T, strict=True):
        opening = np.concatenate((close[:1], close[:-1])) * np.exp(0.003 * draw.standard_normal(len(days)))
        high, low = np.maximum(opening, close) * 1.004, np.minimum(opening, close) * 0.996
        prices = np.maximum(np.rint(np.stack((opening, high, low, close)) * 1e4), 1).astype(np.int64)
        bars = np.vstack((prices, draw.integers(10**6, 10**7, len(days)))).T.tolist()
        rows = [(f"{day} 00:00", *bar) for day, bar in zip(days, bars, strict=True)]
        write_bars(equity / "daily" / f"{ticker.lower()}.zip", rows)
        write_text(
            equity / "map_files" / f"{ticker.lower()}.csv",
            csv_text([(days[0], ticker.lower(), "N"), (LAST_DAY, ticker.lower(), "N")]),
        )
        paid = [(days[at], prices[3, at] / 1e4, 0.005 * float(close[at]), 1.0) for at in range(62, len(days), 63)]
        write_text(equity / "factor_files" / f"{ticker.lower()}.csv", factor_file(days[0], paid))
        if ticker == "SPY":
            hours = [(f"{day[:8]} {hour:02}:00", *bar) for day, *bar in rows for hour in range(9, 16)]
            write_bars(equity / "hour" / "spy.zip", hours)
    identities = [SecurityIdentifier.generate_equity(ticker, sessions[0]) for ticker in tickers]
    for at, (day, after) in enumerate(zip(sessions, [*sessions[1:], date.max], strict=True)):
        if day.month != after.month:
            values = closes[at] * shares
            weights = values[1:] / values[1:].sum()
            members = zip(tickers[1:], identities[1:], weights, shares[1:], values[1:], strict=True)
            rows = [(t, sid, days[at], f"{w:.8f}", round(n), round(value)) for t, sid, w, n, value in members]
            write_text(equity / "universes" / "etf" / "spy" / f"{days[at]}.csv", csv_text(rows))


def scale(scratch: Path, repeat: int) -> dict[int, "Measurement"]:
    """The host's job on one invented market, by the number of stocks held."""
    market = scratch / "market"
    write_invented_market(market, max(SCALING_SIZES))
    first, last = SCALING_YEARS
    runs: dict[int, list[Measurement]] = {size: [] for size in SCALING_SIZES}
    for size in SCALING_SIZES:
        (scratch / f"{size}").mkdir()
    comparisons = {
        size: Comparison(scratch / f"{size}", market, date(first, 1, 1), date(last, 12, 31), size)
        for size in SCALING_SIZES
    }
    for _ in range(repeat):
        for size, comparison in comparisons.items():
            runs[size].append(comparison.host())
    return {size: median(measured) for size, measured in runs.items()}


def scaling_table(measured: dict[int, "Measurement"]) -> Table:
    found = Table(title="The host over ten years of an invented market", title_justify="left")
    for column in ("stocks held", "seconds", "CPU s", "peak MB", "CPU ratio"):
        found.add_column(column, justify="right")
    base = next(iter(measured.values())).cpu_seconds
    for size, run in measured.items():
        times = f"{run.seconds:.2f}", f"{run.cpu_seconds:.2f}"
        found.add_row(f"{size}", *times, f"{run.peak_mb:.0f}", f"{run.cpu_seconds / base:.2f}")
    return found


# --- measuring


@dataclass(frozen=True)
class Measurement:
    """One process: wall-clock and processor seconds, peak memory in MB (10^6 bytes), and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    printed: str = ""


def measure(command: list[str]) -> Measurement:
    """Run a command to its end. Raises click.ClickException, with the end of what it printed, where it fails."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
        began = time.perf_counter()
        # not Popen.wait: only wait4 tells of this child alone
        process = subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)[:200]} failed:\n{text[-2000:]}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Measurement(seconds, usage.ru_utime + usage.ru_stime, peak / 1e6, text)


def function_process(function: Callable[..., None], *arguments: object) -> list[str]:
    """The command that calls a function of this file, from the project's root, in a fresh interpreter."""
    return [sys.executable, "-c", f"from benchmarks import host; host.{function.__name__}(*{arguments!r})"]


def median(runs: list[Measurement]) -> Measurement:
    return Measurement(
        *(statistics.median(getattr(run, name) for run in runs) for name in ("seconds", "cpu_seconds", "peak_mb"))
    )


@dataclass(frozen=True)
class Row:
    """One engine's line of the table; `loading` is part of the seconds, None where it cannot be told apart."""

    engine: str
    measured: Measurement
    end_equity: float
    loading: float | None = None


class Comparison:
    """The same job by the host and by every peer that is installed, in a scratch folder."""

    def __init__(self, scratch: Path, data_folder: Path, start: date, end: date, size: int):
        self._scratch = scratch
        self._data_folder = data_folder.resolve()
        self._period = f"{start}", f"{end}"
        self._decisions = scratch / "store" / "benchmark" / "decisions.json"
        project = scratch / "project"
        project.mkdir()
        parameters = {"start": f"{start}", "end": f"{end}", "size": f"{size}", "cash": f"{CASH}"}
        (project / "main.py").write_text(ALGORITHM, encoding="utf-8")
        (project / "config.json").write_text(json.dumps({"parameters": parameters}), encoding="utf-8")
        self._backtest = ["backtest", str(project), "--data-folder", str(self._data_folder)]
        self._backtest += ["--output", str(scratch / "host"), "--object-store", str(scratch / "store")]

    def host(self) -> Measurement:
        """The job by the host. Raises click.ClickException where it has found nothing to trade."""
        measured = measure([sys.executable, "-m", "minilean", *self._backtest])
        if not json.loads(self._decisions.read_text(encoding="utf-8")):
            start, end = self._period
            raise click.ClickException(
                f"{self._data_folder} has no constituents of SPY that could be traded at a month's start from {start} "
                f"to {end}: name other days with --start and --end"
            )
        return measured

    def host_result(self) -> float:
        """The host's end equity in dollars."""
        summary = json.loads((self._scratch / "host" / "HashWeights-summary.json").read_text(encoding="utf-8"))
        return float(summary["statistics"]["End Equity"])

    def breakdown(self) -> dict[str, float]:
        """Share of the host's time by label."""
        answer = self._scratch / "shares.json"
        timed = measure(function_process(run_host_timed, time.time(), str(answer), *self._backtest))
        seconds = json.loads(answer.read_text(encoding="utf-8"))
        shares = {label: seconds.get(label, 0.0) / timed.seconds for label in LABELS}
        return shares | {ELSE: 1 - sum(share for label, share in shares.items() if label != ELSE)}

    def peer(self, name: str) -> tuple[Measurement, dict[str, float]]:
        """The job by a peer, after the host has decided; and its answer."""
        output = Path(tempfile.mkdtemp(prefix=name, dir=self._scratch))
        arguments = name, str(self._data_folder), *self._period, str(self._decisions), str(output)
        measured = measure(function_process(run_peer, *arguments))
        return measured, json.loads((output / "answer.json").read_text(encoding="utf-8"))


def compare(comparison: Comparison, repeat: int) -> tuple[list[Row], str]:
    """All engines in turn, `repeat` times; the host's row is the first. Also the host's order list hash."""
    peers = [name for name, (module, _) in PEERS.items() if importlib.util.find_spec(module)]
    runs: dict[str, list[Measurement]] = {name: [] for name in ("minilean", *peers)}
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in peers}
    for _ in range(repeat):
        runs["minilean"].append(comparison.host())
        for name in peers:
            measured, answer = comparison.peer(name)
            runs[name].append(measured)
            answers[name].append(answer)
    rows = [Row("minilean", median(runs["minilean"]), comparison.host_result())]
    for name in peers:
        loading = statistics.median(answer["loading"] for answer in answers[name])
        rows.append(Row(name, median(runs[name]), answers[name][-1]["end_equity"], loading))
    printed = runs["minilean"][-1].printed.split()
    return rows, printed[printed.index("OrderListHash") + 1]


def table(rows: list[Row], title: str) -> Table:
    ours = rows[0]
    found = Table(title=title, title_justify="left")
    found.add_column("engine")
    for column in ("seconds", "loading", "CPU s", "peak MB", "ratio", "end equity", "off by"):
        found.add_column(column, justify="right")
    for row in rows:
        found.add_row(
            f"{row.engine} {version(row.engine)}" if row is not ours else row.engine,
            f"{row.measured.seconds:.2f}",
            "" if row.loading is None else f"{row.loading:.2f}",
            f"{row.measured.cpu_seconds:.2f}",
            f"{row.measured.peak_mb:.0f}",
            f"{row.measured.seconds / ours.measured.seconds:.2f}",
            f"${row.end_equity:,.0f}",
            "" if row is ours else f"{row.end_equity / ours.end_equity - 1:+.3%}",
        )
    for name in PEERS:
        if all(row.engine != name for row in rows):
            found.add_row(f"{name}: not installed")
    return found


@click.command()
@click.option(
    "--data-folder",
    type=click.Path(path_type=Path),
    default=RECORDED_DATA,
    help="LEAN data folder; default: the recorded run's, ../shared/marketdata/lean.",
)
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default="2009-06-01", show_default=True)
@click.option("--end", type=click.DateTime(["%Y-%m-%d"]), default="2019-12-31", show_default=True)
@click.option("--size", type=click.IntRange(1), default=100, show_default=True, help="Stocks held.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Runs, of which the median.")
@click.option("--scaling", is_flag=True, help="Also hold 100 and 500 stocks of an invented market for ten years.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to this file too.")
def main(
    data_folder: Path, start: datetime, end: datetime, size: int, repeat: int, scaling: bool, json_file: Path | None
) -> None:
    """Time the embedded host beside bt and zipline-reloaded, doing the same job on the same data."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    compileall.compile_dir(ROOT / "minilean", quiet=1)  # pip has compiled the others
    with tempfile.TemporaryDirectory(prefix="host-benchmark-") as scratch:
        comparison = Comparison(Path(scratch), data_folder, start.date(), end.date(), size)
        rows, order_hash = compare(comparison, repeat)
        shares = comparison.breakdown()
    with tempfile.TemporaryDirectory(prefix="host-scaling-") as scratch:
        scaled = scale(Path(scratch), repeat) if scaling else {}
    title = f"{size} stocks, {start:%Y-%m-%d} to {end:%Y-%m-%d}, median of {repeat}; order list hash {order_hash}"
    console.print(table(rows, title))
    for row in rows[1:]:
        apart = row.end_equity / rows[0].end_equity - 1
        if abs(apart) > TOLERANCE:
            console.print(f"{row.engine} ends {apart:+.1%} away from the host: it has not done the same job.")
    parts = Table("where the host's time goes", title="The host with timers, in a run of its own", title_justify="left")
    parts.add_column("share", justify="right")
    for label, share in shares.items():
        parts.add_row(label, f"{share:.1%}")
    console.print(parts)
    if scaled:
        console.print(scaling_table(scaled))
    if json_file:
        ours = rows[0].measured
        engines = {
            row.engine: {
                "seconds": row.measured.seconds,
                "loading": row.loading,
                "cpu_seconds": row.measured.cpu_seconds,
                "peak_mb": row.measured.peak_mb,
                "end_equity": row.end_equity,
            }
            for row in rows
        }
        content = {
            "seconds": ours.seconds,
            "peak_mb": ours.peak_mb,
            "ratio_bt": next((row.measured.seconds / ours.seconds for row in rows if row.engine == "bt"), None),
            "engines": engines,
            "breakdown": shares,
            "scaling": {
                size: {"seconds": run.seconds, "cpu_seconds": run.cpu_seconds, "peak_mb": run.peak_mb}
                for size, run in scaled.items()
            },
        }
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
