"""LEAN's own small examples, written anew: the host has to give the statistics that LEAN states for each of them.

lean_examples.csv: for each algorithm what LEAN's regression tests expect, the order list hash included (commit
24863901). They hold on LEAN's own sample data. SPY's lie beside the project; for the others LEAN_DATA has to name the
`Data` folder of a checkout of LEAN.
"""

import csv
import json
import os
import zipfile
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minilean.algorithm import PortfolioTarget, QCAlgorithm
from minilean.engine import Engine
from minilean.enums import DataNormalizationMode, DelistingType, OrderStatus, OrderType, Resolution
from minilean.errors import NotInHost
from minilean.orders import order_list_hash
from tests.conftest import ROOT
from tests.minilean.tiny_market import engine_on

DAILY, RAW = Resolution.DAILY, DataNormalizationMode.RAW

with Path(__file__).with_name("lean_examples.csv").open(encoding="utf-8") as _file:
    STATED = {row.pop("Algorithm"): row for row in csv.DictReader(_file)}


class BasicTemplateDailyAlgorithm(QCAlgorithm):
    """Buys SPY at the first bar."""

    def initialize(self) -> None:
        self.set_start_date(2013, 10, 8)
        self.set_end_date(2013, 10, 17)
        self.set_cash(100000)
        self.add_equity("SPY", DAILY)

    def on_data(self, data: Any) -> None:
        if not self.portfolio.invested:
            self.set_holdings("SPY", 1)


class NamedArgumentsRegression(QCAlgorithm):
    """The same with all arguments by their names."""

    def initialize(self) -> None:
        self.set_start_date(month=10, day=8, year=2013)
        self.set_end_date(month=10, day=17, year=2013)
        self.set_cash(starting_cash=100000)
        self.add_equity(resolution=DAILY, ticker="SPY")

    def on_data(self, data: Any) -> None:
        if not self.portfolio.invested:
            self.set_holdings(symbol="SPY", percentage=1)
            self.debug(message="Purchased Stock")


class DividendRegressionAlgorithm(QCAlgorithm):
    """Half in SPY at raw prices, over eight years of cash dividends."""

    def initialize(self) -> None:
        self.set_start_date(1998, 1, 1)
        self.set_end_date(2006, 1, 1)
        self._spy = self.add_equity("SPY", DAILY, data_normalization_mode=RAW).symbol
        self._received = 0.0

    def on_data(self, data: Any) -> None:
        if not self.portfolio.invested:
            self.set_holdings(self._spy, 0.5)

    def on_dividends(self, dividends: Any) -> None:
        self._received += dividends[self._spy].distribution * self.portfolio[self._spy].quantity

    def on_end_of_algorithm(self) -> None:
        assert self.portfolio.total_profit == pytest.approx(self._received)
        assert self.portfolio[self._spy].total_dividends == pytest.approx(self._received)
        assert self.portfolio.total_net_profit == pytest.approx(self._received - self.portfolio.total_fees)


class MACDTrendAlgorithm(QCAlgorithm):
    """In SPY while the MACD is above its signal, else out of it."""

    def initialize(self) -> None:
        self.set_start_date(2004, 1, 1)
        self.set_end_date(2015, 1, 1)
        self.add_equity("SPY", DAILY)
        self._fast, self._slow, self._signal = _Smoothed(12), _Smoothed(26), _Smoothed(9)
        self._day: date | None = None

    def on_data(self, data: Any) -> None:
        if "SPY" in data.bars:
            self._fast.update(data.bars["SPY"].close)
            self._slow.update(data.bars["SPY"].close)
            if self._slow.value is not None:
                self._signal.update(self._fast.value - self._slow.value)
        if self._signal.value is None or self._day == self.time.date():
            return
        self._day = self.time.date()
        above = (self._fast.value - self._slow.value - self._signal.value) / self._fast.value
        held = self.portfolio["SPY"].quantity
        if held <= 0 and above > 0.0025:
            self.set_holdings("SPY", 1)
        elif held >= 0 and above < -0.0025:
            self.liquidate("SPY")


class _Smoothed:
    """An exponential moving average that begins with the mean of its first period."""

    def __init__(self, period: int):
        self._period = period
        self._first: list[float] = []
        self.value: Any = None

    def update(self, x: float) -> None:
        if self.value is not None:
            self.value += (x - self.value) * 2 / (self._period + 1)
            return
        self._first.append(x)
        if len(self._first) == self._period:
            self.value = sum(self._first) / self._period


class DisplacedMovingAverageRibbon(QCAlgorithm):
    """In SPY when its closes of 5, 10, ... 30 bars ago only rose, out of it when they only fell."""

    def initialize(self) -> None:
        self.set_start_date(2009, 1, 1)
        self.set_end_date(2015, 1, 1)
        self.add_equity("SPY", DAILY)
        self._closes: list[float] = []

    def on_data(self, data: Any) -> None:
        if "SPY" not in data.bars:
            return
        self._closes.append(data.bars["SPY"].close)
        ribbon = self._closes[-6:-32:-5]
        if len(ribbon) < 6:
            return
        held = self.portfolio["SPY"].quantity
        if held <= 0 and ribbon == sorted(ribbon, reverse=True):
            self.set_holdings("SPY", 1)
        elif held > 0 and ribbon == sorted(ribbon):
            self.liquidate("SPY")


class FreePortfolioValueRegressionAlgorithm(QCAlgorithm):
    """SPY without leverage, brought back to its target every day; the smallest orders are left out."""

    def initialize(self) -> None:
        self.set_start_date(2007, 10, 1)
        self.set_end_date(2018, 2, 1)
        self.set_cash(1000000)
        self.universe_settings.resolution = DAILY
        self.add_equity("SPY", leverage=1)

    def on_data(self, data: Any) -> None:
        if "SPY" in data.bars:
            self.set_holdings("SPY", 1)

    def on_end_of_algorithm(self) -> None:
        total, usable = (
            self.portfolio.total_portfolio_value,
            self.portfolio.total_portfolio_value_less_free_buffer,
        )
        assert total - usable == pytest.approx(total * self.settings.free_portfolio_value_percentage)


class SetHoldingReturnsOrderTicketsRegressionAlgorithm(QCAlgorithm):
    """A list of two targets, every day; only the first gives orders."""

    def initialize(self) -> None:
        self.set_start_date(2018, 1, 4)
        self.set_end_date(2018, 1, 10)
        self._targets = [
            PortfolioTarget(self.add_equity(ticker, DAILY).symbol, weight)
            for ticker, weight in (("SPY", 0.8), ("IBM", 0.2))
        ]

    def on_data(self, data: Any) -> None:
        tickets = self.set_holdings(self._targets)
        assert len(tickets) == (0 if self.portfolio.invested else 2)


class MarginRemainingRegressionAlgorithm(QCAlgorithm):
    """Two stocks without leverage; cash and margin in a chart at every noon."""

    def initialize(self) -> None:
        self.set_start_date(2007, 1, 1)
        self.set_end_date(2010, 1, 1)
        self._spy = self.add_equity("SPY", DAILY, leverage=1).symbol
        self._apple = self.add_equity("AAPL", DAILY, leverage=1)
        self.schedule.on(self.date_rules.every_day(), self.time_rules.noon, self._chart)

    def _chart(self) -> None:
        self.plot("Info", "Portfolio.MarginRemaining", self.portfolio.margin_remaining)
        self.plot("Info", "Portfolio.Cash", self.portfolio.cash)

    def on_data(self, data: Any) -> None:
        if not self.portfolio.invested:
            self.set_holdings(self._spy, 0.7)
        assert self.portfolio.margin_remaining > 0
        if self.time.year == 2009 and not self._apple.invested:
            self.set_holdings(self._apple.symbol, 0.3)


class UniverseSharingSubscriptionTradableRegressionAlgorithm(QCAlgorithm):
    """SPY joins on the second day and is bought on the third."""

    def initialize(self) -> None:
        self.set_start_date(2013, 10, 1)
        self.set_end_date(2013, 10, 30)
        self.add_equity("AAPL", DAILY)

    def on_data(self, data: Any) -> None:
        if self.time.day == 2:
            self.add_equity("SPY", DAILY)
        elif self.time.day == 3:
            assert self.securities["SPY"].is_tradable
            self.set_holdings("SPY", 1)


class HistoryAuxiliaryDataRegressionAlgorithm(QCAlgorithm):
    """Buys AAPL at the first bar."""

    def initialize(self) -> None:
        self.set_start_date(2021, 1, 1)
        self.set_end_date(2021, 1, 5)
        self.add_equity("AAPL", DAILY)

    def on_data(self, data: Any) -> None:
        if not self.portfolio.invested:
            self.set_holdings("AAPL", 1)


class DelistingEventsAlgorithm(QCAlgorithm):
    """Holds a stock that is delisted: the order of the warning's day is cancelled, the position sold."""

    def initialize(self) -> None:
        self.set_start_date(2007, 5, 15)
        self.set_end_date(2007, 5, 25)
        self.add_equity("AAA.1", DAILY)
        self.add_equity("SPY", DAILY)
        self._n_bars = self._n_removed = 0
        self._seen: list[DelistingType] = []

    def on_data(self, data: Any) -> None:
        self._n_bars += data.bars.count
        if self.transactions.orders_count == 0:
            self.set_holdings("AAA.1", 1)
        security = self.securities["AAA.1"]
        assert security.is_delisted != security.is_tradable
        for symbol, delisting in data.delistings.items():
            self._seen.append(delisting.type)
            self.set_holdings(symbol, 0 if delisting.type == DelistingType.WARNING else 1)

    def on_securities_changed(self, changes: Any) -> None:
        self._n_removed += sum(security.symbol.value == "AAA.1" for security in changes.removed_securities)

    def on_end_of_algorithm(self) -> None:
        assert (self._seen, self._n_bars, self._n_removed) == (
            [DelistingType.WARNING, DelistingType.DELISTED],
            13,
            1,
        )


class RawDataRegressionAlgorithm(QCAlgorithm):
    """A stock at raw prices over a split."""

    def initialize(self) -> None:
        self.set_start_date(2014, 3, 25)
        self.set_end_date(2014, 4, 7)
        self.universe_settings.data_normalization_mode = RAW
        self._google = self.add_equity("GOOGL", DAILY).symbol
        self._closes: list[float] = []

    def on_data(self, data: Any) -> None:
        if not self.portfolio.invested:
            self.set_holdings(self._google, 1)
        if self._google in data.bars:
            self._closes.append(data.bars[self._google].close)

    def on_end_of_algorithm(self) -> None:
        assert self._closes == [1158.72, 1131.97, 1114.28, 1120.15, 1114.51, 1134.89, 1135.1, 571.5, 545.25, 540.63]


class EquitySplitHoldingsDailyRegressionAlgorithm(QCAlgorithm):
    """A short position over a split of seven to one: the last bar is split too."""

    def initialize(self) -> None:
        self.set_start_date(2014, 6, 5)
        self.set_end_date(2014, 6, 11)
        self._apple = self.add_equity("AAPL", DAILY, data_normalization_mode=RAW)
        self._before: list[float] = []
        self._is_split = False

    def on_data(self, data: Any) -> None:
        apple = self._apple
        if not self.portfolio.invested and not self._is_split:
            self.set_holdings(apple.symbol, -1)
        now = [apple.price, apple.open, apple.high, apple.low, apple.close, 1 / (apple.volume or 1)]
        if apple.symbol in data.splits:
            self._is_split = True
            factor = data.splits[apple.symbol].split_factor
            assert now == pytest.approx([factor * x for x in self._before])
            assert apple.holdings.price == apple.price
        self._before = now

    def on_end_of_algorithm(self) -> None:
        assert self._is_split


class AuxiliaryDataHandlersRegressionAlgorithm(QCAlgorithm):
    """Each handler of corporate actions is called with its own stock alone."""

    def initialize(self) -> None:
        self.set_start_date(2007, 5, 16)
        self.set_end_date(2015, 1, 1)
        self.universe_settings.resolution = DAILY
        self._called: set[tuple[str, ...]] = set()
        for ticker in ("AAA.1", "SPWR", "AAPL"):
            self.add_equity(ticker)

    def _hear(self, what: str, events: Any) -> None:
        self._called.add((what, *(symbol.id.symbol for symbol, _ in events.items())))

    def on_splits(self, splits: Any) -> None:
        self._hear("splits", splits)

    def on_dividends(self, dividends: Any) -> None:
        self._hear("dividends", dividends)

    def on_delistings(self, delistings: Any) -> None:
        self._hear("delistings", delistings)

    def on_symbol_changed_events(self, symbols_changed: Any) -> None:
        self._hear("renames", symbols_changed)

    def on_end_of_algorithm(self) -> None:
        assert self._called == {("splits", "AAPL"), ("dividends", "AAPL"), ("delistings", "AAA"), ("renames", "SPWR")}


class UniverseOnlyRegressionAlgorithm(QCAlgorithm):
    """The constituents of a fund that is itself not subscribed."""

    def initialize(self) -> None:
        self.set_start_date(2020, 12, 1)
        self.set_end_date(2020, 12, 12)
        self.universe_settings.resolution = DAILY
        self.add_universe(self.universe.etf("GDVD", self.universe_settings, self._select))
        self._selected = False

    def _select(self, constituents: Any) -> list[Any]:
        self._selected = True
        return [constituent.symbol for constituent in constituents]

    def on_end_of_algorithm(self) -> None:
        assert self._selected


class HistoryWithSymbolChangesRegressionAlgorithm(QCAlgorithm):
    """Fifteen years of history of a stock that had three tickers."""

    def initialize(self) -> None:
        self.set_start_date(2013, 10, 7)
        self.set_end_date(2013, 10, 11)
        history = self.history([self.add_equity("WM", DAILY).symbol], timedelta(days=5700), DAILY)
        assert len(history) == 3926
        assert history.index[0][1] == datetime(1998, 3, 2, 16)
        assert history["close"].iloc[0] == 24.88039125


class TotalPortfolioValueRegressionAlgorithm(QCAlgorithm):
    """Ten times the portfolio in sixteen stocks, sold again every other day: 3752 orders."""

    tickers: tuple[str, ...] = (
        *("SPY", "AAPL", "AAA", "GOOG", "GOOGL", "IBM", "QQQ", "FB"),
        *("WM", "WMI", "BAC", "USO", "IWM", "EEM", "BNO", "AIG"),
    )

    def initialize(self) -> None:
        self.set_start_date(2016, 1, 1)
        self.set_end_date(2017, 1, 1)
        for ticker in self.tickers:
            self.add_equity(ticker, DAILY).set_leverage(100)

    def on_data(self, data: Any) -> None:
        if self.portfolio.invested:
            self.liquidate()
        else:
            for ticker in self.tickers:
                self.set_holdings(ticker, 10 / len(self.tickers))


def statistics_of(engine: Engine, folder: Path) -> dict[str, str]:
    """The summary statistics of a run, as its result file has them, and the order list hash."""
    orders = engine.brokerage.orders
    engine.results().write(folder, engine.name, orders, status="Completed", runtime_error="", stack_trace="")
    result = json.loads((folder / f"{engine.name}.json").read_text(encoding="utf-8"))
    return result["statistics"] | {"OrderListHash": order_list_hash(orders)}


def reproduce(algorithm: type[QCAlgorithm], data: Path, tmp_path: Path) -> None:
    engine = engine_on(data, algorithm)
    assert engine.run() is None
    assert statistics_of(engine, tmp_path) == STATED[algorithm.__name__]


@pytest.mark.parametrize(
    "algorithm",
    [
        BasicTemplateDailyAlgorithm,
        NamedArgumentsRegression,
        DividendRegressionAlgorithm,
        MACDTrendAlgorithm,
        DisplacedMovingAverageRibbon,
        FreePortfolioValueRegressionAlgorithm,
    ],
)
def test_an_example_on_spy_has_the_statistics_that_lean_states(algorithm, shared, tmp_path):
    reproduce(algorithm, shared / "marketdata" / "lean", tmp_path)


@pytest.mark.parametrize(
    "algorithm",
    [
        SetHoldingReturnsOrderTicketsRegressionAlgorithm,
        MarginRemainingRegressionAlgorithm,
        UniverseSharingSubscriptionTradableRegressionAlgorithm,
        HistoryAuxiliaryDataRegressionAlgorithm,
        DelistingEventsAlgorithm,
        RawDataRegressionAlgorithm,
        EquitySplitHoldingsDailyRegressionAlgorithm,
        AuxiliaryDataHandlersRegressionAlgorithm,
        UniverseOnlyRegressionAlgorithm,
        HistoryWithSymbolChangesRegressionAlgorithm,
        TotalPortfolioValueRegressionAlgorithm,
    ],
)
def test_an_example_on_several_stocks_has_the_statistics_that_lean_states(algorithm, tmp_path):
    if "LEAN_DATA" not in os.environ:
        pytest.skip("LEAN_DATA does not name the Data folder of a checkout of LEAN, which alone has these prices")
    reproduce(algorithm, Path(os.environ["LEAN_DATA"]), tmp_path)


class _FewerStocks(TotalPortfolioValueRegressionAlgorithm):
    tickers = ("SPY", "AAPL", "GOOG", "GOOGL", "IBM", "FB", "BAC", "AIG")


def adjusted_opens(equity: Path, ticker: str) -> dict[date, Decimal]:
    """What a stock opened at on each day, adjusted by the first row of its factor file that is not before the day."""
    with zipfile.ZipFile(equity / "daily" / f"{ticker.lower()}.zip") as archive:
        bars = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = [line.split(",") for line in (equity / "factor_files" / f"{ticker.lower()}.csv").read_text().splitlines()]
    factors = [(row[0], Decimal(row[1]) * Decimal(row[2])) for row in rows]
    found = {}
    for line in bars:
        day, price = line[:8], Decimal(line.split(",")[1]) / 10000
        factor = next((factor for until, factor in factors if until >= day), 1)
        found[date.fromisoformat(day)] = price * factor
    return found


@pytest.mark.parametrize(
    "algorithm", [SetHoldingReturnsOrderTicketsRegressionAlgorithm, MarginRemainingRegressionAlgorithm, _FewerStocks]
)
def test_an_example_on_prices_of_another_source_fills_at_their_opens_and_keeps_its_books(algorithm, shared):
    data = shared / "marketdata" / "lean"
    engine = engine_on(data, algorithm)
    assert engine.run() is None
    filled = [order for order in engine.brokerage.orders if order.status == OrderStatus.FILLED]
    assert filled
    tickers = {order.symbol.value for order in filled}
    opens = {ticker: adjusted_opens(data / "equity" / "usa", ticker) for ticker in tickers}
    spent = Decimal(0)
    for order in filled:
        assert order.type == OrderType.MARKET_ON_OPEN
        assert order.last_fill_time is not None
        assert order.price == opens[order.symbol.value][order.last_fill_time.date()]
        spent += order.quantity * order.price
    assert engine.portfolio.cash == 100_000 - spent - engine.portfolio.total_fees
    for ticker in tickers:
        bought = sum(order.quantity for order in filled if order.symbol.value == ticker)
        assert engine.require(ticker).quantity == bought


def test_an_algorithm_that_quits_in_initialize_sees_no_data(market):
    engine = market.run({}, setup=lambda a: a.quit(), tickers=("SPY",))
    assert engine.algorithm.told == []


def test_an_algorithm_that_quits_at_its_first_bar_sees_no_other(market):
    seen: list[Any] = []

    def stop(self: Any, data: Any) -> None:
        seen.append(self.time.day)
        self.quit()

    market.run({}, on_data=stop, tickers=("SPY",))
    assert seen == [3]


@pytest.mark.parametrize(
    ("example", "call", "name"),
    [
        ("LiquidateRegressionAlgorithm", lambda a: a.limit_order("SPY", 1, 90), "limit_order"),
        ("StopLimitOrderRegressionAlgorithm", lambda a: a.stop_limit_order("SPY", 1, 99, 98), "stop_limit_order"),
        ("UpdateOrderRegressionAlgorithm", lambda a: a.market_order("SPY", 1).update(None), "OrderTicket.update"),
        ("SetCashOnDataRegressionAlgorithm", lambda a: a.portfolio.cash_book.add("EUR", 10, 0), "CashBook.add"),
        ("WarmupIndicatorRegressionAlgorithm", lambda a: a.set_warm_up(30), "set_warm_up"),
        ("VolumeShareSlippageModelAlgorithm", lambda a: a.securities["SPY"].set_slippage_model(1), "slippage_model"),
        ("FundamentalCustomSelectionTimeRegressionAlgorithm", lambda a: a.add_universe(list), "add_universe"),
        ("ProcessSplitSymbolsRegressionAlgorithm", lambda a: a.remove_security("SPY"), "remove_security"),
        ("BasicTemplateHourlyAlgorithm", lambda a: a.add_equity("SPY", Resolution.HOUR), "Resolution.HOUR"),
        ("PortfolioRebalanceOnDateRulesRegressionAlgorithm", lambda a: a.set_alpha(None), "set_alpha"),
    ],
)
def test_what_an_example_needs_and_the_host_has_not_is_refused_by_name(market, example, call, name):
    refused: list[NotInHost] = []

    def ask(a: Any) -> None:
        with pytest.raises(NotInHost) as error:
            call(a)
        refused.append(error.value)

    market.run({"2013-06-04 09:00": ask}, tickers=("SPY",))
    assert name in str(refused[0])


def test_every_example_that_lean_states_numbers_for_is_run():
    here = {name for name, value in globals().items() if isinstance(value, type) and issubclass(value, QCAlgorithm)}
    assert here - {"QCAlgorithm", "_FewerStocks"} == STATED.keys()


def test_the_document_lists_every_example():
    document = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    for name, row in STATED.items():
        shown = (f"`{name}`", row["Total Orders"], row["Net Profit"], f"`{row['OrderListHash']}`")
        assert f"| {' | '.join(shown)} |" in document
