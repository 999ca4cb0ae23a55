"""Securities, fills and a portfolio to hand to the results without an engine."""

import decimal
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minilean.data import DataFolder
from minilean.decimals import EXACT, ZERO
from minilean.enums import OrderStatus, OrderType
from minilean.orders import Order, OrderEvent
from minilean.portfolio import Positions
from minilean.results import Recorder
from minilean.securities import Security
from minilean.symbols import SecurityIdentifier, Symbol


@pytest.fixture(autouse=True)
def _exact_decimals() -> Iterator[None]:
    with decimal.localcontext(EXACT):
        yield


@pytest.fixture
def make_security() -> Callable[[str], Security]:
    """A security without data or position, by its ticker."""

    def make(ticker: str) -> Security:
        return Security(Symbol(SecurityIdentifier.generate_equity(ticker, date(2000, 1, 3)), ticker))

    return make


@pytest.fixture
def stock(make_security: Callable[[str], Security]) -> Security:
    return make_security("AAA")


@dataclass
class Account:
    """A portfolio whose positions and cash change only as the test says, and the recorder that watches it."""

    cash: Decimal = Decimal(100_000)
    total_fees: Decimal = ZERO
    members: list[Security] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    benchmark: Callable[[datetime], Decimal] = lambda when: Decimal(100)
    start: date = date(2015, 6, 1)
    end: date = date(2015, 6, 30)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(
            name="local",
            start=self.start,
            end=self.end,
            cash=self.cash,
            parameters={"mode": "test"},
            portfolio=self,
            benchmark=lambda when: self.benchmark(when),
            interest_rates=[(date(2010, 1, 1), Decimal("0.0075"))],
            latest_ticker=lambda symbol: symbol.value + ".NOW",
            spy_closes=list,
        )

    def total_value(self) -> Decimal:
        return self.cash + sum((s.quantity * s.price for s in self.members), ZERO)

    def active(self) -> list[Security]:
        return self.members

    def positions(self) -> Positions:
        return Positions.of([stock for stock in self.members if stock.quantity])

    def trade(self, stock: Security, quantity: int, price: str, when: datetime, fee: str | None = "1") -> OrderEvent:
        """Fill an order at once and tell the recorder."""
        order = Order(len(self.orders) + 1, OrderType.MARKET_ON_OPEN, stock.symbol, quantity, when)
        order.broker_id = str(order.id)
        order.status, order.price, order.last_fill_time = OrderStatus.FILLED, Decimal(price), when
        self.orders.append(order)
        paid = None if fee is None else Decimal(fee)
        event = OrderEvent(order, 1, when, OrderStatus.FILLED, quantity, Decimal(price), quantity, paid)
        before, profit = stock.quantity, None
        if before and (before > 0) != (quantity > 0):
            closed = min(abs(before), abs(quantity)) * (1 if before > 0 else -1)
            profit = (Decimal(price) - stock.average_price) * closed
        self.cash -= quantity * Decimal(price) + (paid or ZERO)
        self.total_fees += paid or ZERO
        stock.quantity += quantity
        if not before:
            stock.average_price = Decimal(price)
        stock.sale_volume += abs(quantity) * Decimal(price)
        self.recorder.order_event(event)
        self.recorder.fill(event, stock, profit)
        return event

    def results(self, folder: Path) -> dict[str, Any]:
        """Write the files and read the main one back."""
        self.recorder.write(folder, "test", self.orders)
        found: dict[str, Any] = json.loads((folder / "test.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture
def open_account() -> Callable[..., Account]:
    """An account that differs from the usual one in what is named."""
    return Account


@pytest.fixture
def account() -> Account:
    return Account()


@dataclass
class Recording:
    """A whole result file of the real engine, and the data folder that it ran on."""

    result: dict[str, Any]
    data: DataFolder


@pytest.fixture(scope="session", params=["parity_hash_adjusted", "real_hash_1e6_top10"])
def recording(request: pytest.FixtureRequest, shared: Path, parity_market: Path) -> Recording:
    with gzip.open(shared / "golden" / request.param / "result.json.gz", "rt", encoding="utf-8") as handle:
        result = json.load(handle)
    return Recording(result, DataFolder(shared / "marketdata" / "lean" if "real" in request.param else parity_market))
