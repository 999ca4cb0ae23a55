"""A live session: what the account has and what went on while nobody was there."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from minilean.algorithm import PortfolioTarget, QCAlgorithm
from minilean.data import DataFolder
from minilean.enums import AlgorithmMode, OrderStatus, Resolution
from minilean.live import Account, LiveEngine
from minilean.objectstore import ObjectStore


class Buyer(QCAlgorithm):
    """Buys the three largest constituents on the third of January, and writes down what it finds."""

    def initialize(self):
        self.set_start_date(1999, 1, 1)
        self.set_end_date(1999, 12, 31)
        self.set_cash(7)
        self.settings.seed_initial_prices = True
        self.universe_settings.resolution = Resolution.DAILY
        self.add_equity("SPY", Resolution.DAILY)
        self.add_universe(self.universe.etf("SPY", self.universe_settings, self.choose))
        self.schedule.on(
            self.date_rules.on(2011, 1, 3), self.time_rules.before_market_open("SPY", 30), self.buy
        )
        self.chosen = []
        self.times = []
        self.found = None
        self.schedule.on(self.date_rules.every_day("SPY"), self.time_rules.after_market_close("SPY", 1), self.look)

    def choose(self, rows):
        self.times.append(self.time)
        if not self.chosen:
            self.chosen = [row.symbol for row in sorted(rows, key=lambda row: -(row.weight or 0))[:3]]
        return self.chosen

    def buy(self):
        self.set_holdings([PortfolioTarget(symbol, 0.25) for symbol in self.chosen])

    def look(self):
        if self.found is None:
            held = {str(pair.key.id): pair.value.quantity for pair in self.portfolio if pair.value.invested}
            self.found = self.time, self.portfolio.cash, held


@pytest.fixture
def session(demo_market: Path, tmp_path: Path):
    market = DataFolder(demo_market)

    def run(begin: datetime, end: date) -> LiveEngine:
        account = Account(tmp_path / "account", Decimal(10**6))
        engine = LiveEngine(
            Buyer, market, ObjectStore(tmp_path / "store"), {}, account=account, begin=begin, end=end
        )
        assert engine.run() is None
        account.refresh()
        return engine

    return run


def test_the_algorithm_is_live_and_its_own_dates_and_cash_are_ignored(session):
    engine = session(datetime(2011, 1, 3, 8), date(2011, 1, 4))
    assert engine.algorithm.live_mode
    assert engine.algorithm.algorithm_mode is AlgorithmMode.LIVE
    assert engine.algorithm.found[0] == datetime(2011, 1, 3, 16, 1)
    assert abs(engine.portfolio.total_value() - 10**6) < 10**5


def test_an_event_before_the_session_begins_does_not_happen(session):
    assert session(datetime(2011, 1, 3, 9, 1), date(2011, 1, 4)).brokerage.orders == []


def test_the_newest_constituents_are_there_at_once(session):
    engine = session(datetime(2011, 1, 19, 11), date(2011, 1, 19))
    assert [f"{when:%Y-%m-%d}" for when in engine.algorithm.times] == ["2011-01-19"]


def test_a_session_finds_what_the_one_before_has_left(session, tmp_path):
    first = session(datetime(2011, 1, 3, 8), date(2011, 1, 3))
    second = session(datetime(2011, 1, 4, 8), date(2011, 1, 4))
    assert len(second.algorithm.found[2]) == 3
    assert second.algorithm.found[1] == pytest.approx(first.algorithm.found[1], abs=1e-6)
    assert second.portfolio.cash == first.portfolio.cash
    assert [order.id for order in second.brokerage.orders] == [1, 2, 3]


def test_open_orders_are_filled_at_the_open_that_nobody_was_there_for(session, tmp_path, monkeypatch):
    class Gone(BaseException):
        pass

    def vanish(self):
        self.set_holdings([PortfolioTarget(symbol, 0.25) for symbol in self.chosen])
        raise Gone

    monkeypatch.setattr(Buyer, "buy", vanish)
    with pytest.raises(Gone):
        session(datetime(2011, 1, 3, 8), date(2011, 1, 5))
    assert {o.status for o in Account(tmp_path / "account", Decimal(0)).orders} == {OrderStatus.SUBMITTED}
    session(datetime(2011, 1, 6, 8), date(2011, 1, 6))
    filled = Account(tmp_path / "account", Decimal(0)).orders
    assert {o.status for o in filled} == {OrderStatus.FILLED}
    assert {f"{o.last_fill_time:%Y-%m-%d}" for o in filled} == {"2011-01-03"}


def test_a_position_that_was_delisted_meanwhile_is_sold(session, demo_market, tmp_path, monkeypatch):
    delisted = [
        path.stem
        for path in (demo_market / "equity" / "usa" / "map_files").glob("*.csv")
        if "20110201" < path.read_text().split()[-1][:8] < "20111201"
    ]
    assert delisted

    def choose(self, rows):
        self.chosen = [row.symbol for row in rows if str(row.symbol.id).split()[0].lower() in delisted][:1]
        return self.chosen

    monkeypatch.setattr(Buyer, "choose", choose)
    session(datetime(2011, 1, 3, 8), date(2011, 1, 3))
    assert len(Account(tmp_path / "account", Decimal(0)).orders) == 1
    session(datetime(2011, 12, 5, 8), date(2011, 12, 5))
    account = Account(tmp_path / "account", Decimal(0))
    assert account.orders[-1].tag == "Liquidate from delisting"
    assert not any(security.quantity for security in account.books.registry.values())


def test_half_a_line_at_the_end_of_the_account_is_not_read(session, tmp_path):
    session(datetime(2011, 1, 3, 8), date(2011, 1, 3))
    path = tmp_path / "account"
    whole = Account(path, Decimal(0))
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    cut = Account(path, Decimal(0))
    assert [order.status for order in cut.orders][:2] == [order.status for order in whole.orders][:2]
    assert cut.orders[-1].status is not whole.orders[-1].status
    path.write_bytes(content)
    cut.refresh()
    assert cut.books.cash == whole.books.cash
