"""What the strategy makes of halts, delistings, takeovers, splits, dividends, new tickers and wrong prices."""

import csv
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilean.data import DataFolder
from minilean.engine import Engine
from minilean.history import History
from minilean.objectstore import ObjectStore
from minilean.project import Project
from tests.bars import read_bars
from tests.conftest import ROOT, SMALL

RULE = {"allocator": "equal", "min_stocks": 2}  # no network is needed to see what returns are


class Watched:
    """A backtest with what it decided and realised, by month and stock."""

    def __init__(self, folder: Path, data: Path, prepare: Callable[[Engine], object] = lambda engine: None, **options):
        project = Project(ROOT, SMALL | {name: str(value) for name, value in (RULE | options).items()})
        self.returns: dict[str, dict[str, float]] = {}
        self.weights: dict[str, dict[str, float]] = {}
        self.lines: list[str] = []
        engine = Engine(
            project.load(),
            DataFolder(data),
            ObjectStore(folder),
            project.parameters,
            on_log=lambda when, text: self.lines.append(f"{when:%Y-%m-%d} {text}"),
        )
        strategy: Any = engine.algorithm
        realise = strategy._realised

        def watched(history):
            returns = realise(history)
            month = "{}-{:02d}".format(*strategy._month)
            self.returns[month] = {_name(s): r for s, r in zip(strategy._open, returns.tolist(), strict=True)}
            self.weights[month] = {_name(s): w for s, w in strategy._open.items()}
            return returns

        strategy._realised = watched
        prepare(engine)
        self.failure = engine.run()
        self.engine = engine


def _name(symbol: Any) -> str:
    """The first ticker of a stock, which stays."""
    return str(symbol.id).split()[0].lower()


@pytest.fixture(scope="module")
def parity(parity_market_folder, tmp_path_factory) -> Watched:
    run = Watched(tmp_path_factory.mktemp("parity"), parity_market_folder, start="2013-03-01", end="2014-12-31")
    assert run.failure is None
    return run


@pytest.fixture(scope="module")
def parity_market_folder() -> Path:
    return ROOT / "tests" / "fixtures" / "parity_market"


@pytest.fixture(scope="module")
def raw(parity_market_folder) -> dict[str, list[tuple]]:
    """Raw daily bars by the stock's first ticker."""
    bars = read_bars(parity_market_folder)
    bars["rnam"] = sorted(bars["rnam"] + bars.pop("rnmd"))
    return bars


def by_hand(stock: str, month: str, bars: dict[str, list[tuple]], folder: Path) -> float:
    """What a dollar in a share becomes from the month's first open to its last close, dividends put back in at once."""
    inside = [bar for bar in bars[stock] if bar[0].startswith(month.replace("-", ""))]
    if not inside:
        return np.nan
    name = {"rnam": "rnmd"}.get(stock, stock)
    with (folder / "equity" / "usa" / "factor_files" / f"{name}.csv").open() as file:
        rows = [(day, float(price), float(split), float(close)) for day, price, split, close in csv.reader(file)]
    shares = 1.0
    for (day, price, split, close), (_, next_price, next_split, _) in pairwise(rows):
        if inside[0][0] <= day < inside[-1][0]:  # the row is of the last day before the event
            shares *= next_split / split
            dividend = round(close * (1 - price / next_price), 2)
            shares *= 1 + dividend / (close - dividend)
    return shares * inside[-1][4] / inside[0][1] - 1


def test_realised_returns_are_total_returns_computed_by_hand(parity, raw, parity_market_folder):
    """Dividends are whole cents here and the factors that LEAN has of them seven digits: a part in ten thousand."""
    compared = 0
    for month, returns in parity.returns.items():
        for stock, realised in returns.items():
            if stock not in raw:
                continue  # a constituent without any data
            expected = by_hand(stock, month, raw, parity_market_folder)
            assert realised == pytest.approx(expected, abs=1e-4, nan_ok=True), (stock, month)
            compared += 1
    assert compared > 250


@pytest.mark.parametrize(
    ("stock", "month", "event"),
    [
        ("splt", "2014-03", "split"),
        ("rvrs", "2013-11", "reverse split"),
        ("spin", "2014-10", "spin-off"),
        ("divd", "2013-05", "dividend"),
        ("rnam", "2014-02", "new ticker"),
        ("gone", "2013-08", "taken over on the last session"),
        ("dlst", "2014-05", "delisted within the month"),
    ],
)
def test_the_month_of_an_event_has_the_right_return(stock, month, event, parity, raw, parity_market_folder):
    assert parity.weights[month][stock] > 0, f"{event}: it was not held"
    realised = parity.returns[month][stock]
    # exact where no dividend was rounded
    tolerance = 1e-4 if event in ("dividend", "spin-off") else 1e-9
    assert realised == pytest.approx(by_hand(stock, month, raw, parity_market_folder), abs=tolerance)
    naive = [bar for bar in raw[stock] if bar[0].startswith(month.replace("-", ""))]
    if event in ("split", "reverse split"):
        assert abs(naive[-1][4] / naive[0][1] - 1 - realised) > 0.2  # what raw prices would have said


def test_a_stock_that_was_delisted_sits_out_with_a_log_line(parity):
    assert parity.weights["2014-06"]["dlst"] == 0
    assert [line for line in parity.lines if line.startswith("2014-06-02") and "DLST cannot be traded" in line]


def test_a_stock_that_halts_within_the_month_is_realised_to_its_last_price(demo_market, tmp_path):
    held: list[str] = []

    def halt(engine):
        class Halted(History):
            def frame(self, *arguments, **options):
                frame = super().frame(*arguments, **options)
                if frame.empty or self._now() < halted_at:
                    return frame
                stocks, times = (frame.index.get_level_values(name) for name in ("symbol", "time"))
                return frame[~((np.array([_name(s) for s in stocks]) == held[0]) & (times >= halted_at))]

        engine.history = Halted(engine.data, lambda: engine.now)

    import pandas as pd

    halted_at = pd.Timestamp("2011-01-18")
    whole = Watched(tmp_path / "whole", demo_market, start="2011-01-03", end="2011-02-28")
    held.append(max(whole.weights["2011-01"], key=whole.weights["2011-01"].__getitem__))
    run = Watched(tmp_path / "halted", demo_market, halt, start="2011-01-03", end="2011-02-28")
    assert run.failure is None
    bars = {bar[0]: bar for bar in read_bars(demo_market)[held[0]]}
    assert run.returns["2011-01"][held[0]] == pytest.approx(bars["20110114"][4] / bars["20110103"][1] - 1, rel=1e-9)
    others = {stock: value for stock, value in run.returns["2011-01"].items() if stock != held[0]}
    assert others == {stock: whole.returns["2011-01"][stock] for stock in others}
    assert run.weights["2011-02"][held[0]] == 0


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("close", np.nan, "bars needed"),
        ("open", 0.0, "has a price that is not positive"),
        ("low", -1.0, "has a price that is not positive"),
        ("high", np.inf, "bars needed"),
        ("close", 1e9, "has a price more than 100 times off the close before"),
        ("open", 1e-9, "has a price more than 100 times off the close before"),
        ("volume", -1.0, "has a negative volume"),
    ],
)
def test_a_stock_with_wrong_prices_sits_the_month_out_with_a_log_line(column, value, reason, demo_market, tmp_path):
    spoilt: list[str] = []

    def spoil(engine):
        class Spoilt(History):
            def frame(self, *arguments, **options):
                frame = super().frame(*arguments, **options).copy()
                rows = np.flatnonzero([_name(stock) == spoilt[0] for stock in frame.index.get_level_values("symbol")])
                if len(rows) > 10:
                    frame.iloc[rows[-10], frame.columns.get_loc(column)] = value
                return frame

        engine.history = Spoilt(engine.data, lambda: engine.now)

    whole = Watched(tmp_path / "whole", demo_market, start="2011-01-03", end="2011-01-31")
    spoilt.append(next(stock for stock, weight in whole.weights["2011-01"].items() if weight > 0))
    run = Watched(tmp_path / "spoilt", demo_market, spoil, start="2011-01-03", end="2011-01-31")
    assert run.failure is None
    assert run.weights["2011-01"][spoilt[0]] == 0
    assert sum(run.weights["2011-01"].values()) == pytest.approx(1, abs=1e-12)
    line = next(line for line in run.lines if "sitting out from now" in line)
    assert f"{spoilt[0].upper()} has" in line
    assert reason in line
    assert not any(order.symbol.sid.lower().startswith(f"{spoilt[0]} ") for order in run.engine.brokerage.orders)


def test_who_sits_out_is_told_once_and_not_each_month(demo_market, tmp_path):
    run = Watched(tmp_path / "s", demo_market, start="2011-01-03", end="2011-03-31", n_stocks=24)
    told = [line for line in run.lines if "sitting out from now" in line]
    assert told
    names = [word for line in told for word in line.split() if word.isupper() and len(word) > 3]
    assert len(names) == len(set(names))


def test_a_month_in_which_no_stock_can_be_used_is_held_with_a_log_line(demo_market, tmp_path):
    run = Watched(tmp_path / "s", demo_market, start="2010-12-01", end="2011-01-31", min_stocks=20)
    assert run.failure is None
    assert not run.engine.brokerage.orders
    held = [line for line in run.lines if "the positions stay as they are" in line]
    assert [date.fromisoformat(line[:10]) for line in held] == [date(2010, 12, 1), date(2011, 1, 3)]
