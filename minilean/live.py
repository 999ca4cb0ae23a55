"""A live session on recorded data: what LEAN does with an algorithm that is deployed to a brokerage.

A session begins at any moment and knows nothing of those before it: its algorithm finds the account's cash, positions
and open orders, its own Object Store, and no memory, as after a redeployment in LEAN. The account outlives the session,
whatever ends it.
"""

import decimal
import json
import os
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from minilean.algorithm import QCAlgorithm
from minilean.calendar import to_new_york
from minilean.data import DataFolder
from minilean.decimals import EXACT, text
from minilean.engine import MIDNIGHT, Engine
from minilean.enums import AlgorithmMode, OrderStatus, OrderType
from minilean.errors import HostError
from minilean.objectstore import ObjectStore
from minilean.orders import Order, OrderEvent
from minilean.portfolio import Portfolio
from minilean.schedule import DateRule, ScheduledEvent, TimeRule
from minilean.securities import Security
from minilean.symbols import SecurityIdentifier, Symbol
from minilean.universe import Universe

_ONE_DAY = timedelta(days=1)


class Account:
    """A brokerage account in a file, to which each change of an order is appended as it happens.

    path: the file; it is made, with the cash in its first line, where there is none.
    books: cash and positions; orders: every order there ever was, by id; latest: UTC time of the last event of one.
    """

    def __init__(self, path: Path, cash: Decimal):
        self._path = path
        self._read = 0
        self.books = Portfolio()
        self.orders: list[Order] = []
        self.latest: datetime | None = None
        if not path.exists():
            self._append({"cash": text(cash)})
        self.refresh()

    def refresh(self) -> None:
        """Take in what was written since the last look, by whatever process."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._read += len(whole)
        with decimal.localcontext(EXACT):
            for line in whole.splitlines():
                self._book(json.loads(line))

    def record(self, event: OrderEvent) -> None:
        """Write down a change of an order."""
        order = event.order
        self._append(
            {
                "id": order.id,
                "type": int(order.type),
                "sid": order.symbol.sid,
                "ticker": order.symbol.value,
                "quantity": order.quantity,
                "sent": order.time.isoformat(),
                "tag": order.tag,
                "status": int(event.status),
                "time": event.time.isoformat(),
                "price": text(event.fill_price),
                "fee": None if event.fee is None else text(event.fee),
            }
        )

    def _append(self, entry: Mapping[str, object]) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, json.dumps(entry).encode() + b"\n")
        finally:
            os.close(handle)

    def _book(self, entry: Mapping[str, str]) -> None:
        if "cash" in entry:
            self.books.cash = Decimal(entry["cash"])
            return
        number = int(entry["id"])
        if number > len(self.orders):
            symbol = Symbol(SecurityIdentifier.parse(entry["sid"]), entry["ticker"])
            sent = datetime.fromisoformat(entry["sent"])
            kind, quantity = OrderType(int(entry["type"])), int(entry["quantity"])
            self.orders.append(Order(number, kind, symbol, quantity, sent, broker_id=str(number)))
        order = self.orders[number - 1]
        self.latest = datetime.fromisoformat(entry["time"])
        order.status, order.tag = OrderStatus(int(entry["status"])), entry["tag"]
        if order.status is OrderStatus.FILLED:
            order.price, order.last_fill_time = Decimal(entry["price"]), self.latest
            fee = None if entry["fee"] is None else Decimal(entry["fee"])
            security = self.books.registry.setdefault(order.symbol.sid, Security(order.symbol))
            self.books.fill(security, order.quantity, order.price, fee)


class LiveEngine(Engine):
    """One session of one algorithm in live mode, over recorded data.

    account: what the brokerage holds; the session starts with it, and writes each order event to it.
    begin: the New York time at which the session starts; end: its last day.

    As in LEAN the algorithm's own dates and cash are ignored, and events before `begin` do not happen; but the market
    and the brokerage have gone on since the account's last event, so that open orders are filled and delisted positions
    sold. The newest constituents of each universe arrive at once. Orders fill as they do in a backtest.
    """

    def __init__(
        self,
        algorithm: type[QCAlgorithm],
        data: DataFolder,
        object_store: ObjectStore,
        parameters: Mapping[str, str],
        *,
        account: Account,
        begin: datetime,
        end: date,
        on_log: Callable[[datetime, str], None] = lambda when, message: None,
    ):
        super().__init__(algorithm, data, object_store, parameters, on_log)
        since = to_new_york(account.latest).date() if account.latest else begin.date()
        self.start, self.end, self.now = min(since, begin.date()), end, begin
        self._begin = begin
        self._account = account
        self.algorithm.live_mode = True
        self.algorithm.algorithm_mode = AlgorithmMode.LIVE

    def set_period(self, start: date | None = None, end: date | None = None) -> None:
        pass

    def set_cash(self, amount: Decimal) -> None:
        pass

    def schedule_event(
        self, dates: DateRule, times: TimeRule, callback: Callable[[], object], name: str
    ) -> ScheduledEvent:
        return self.schedule.add(dates, times, callback, self.now, self.end + 31 * _ONE_DAY, name)

    def _order_event(self, event: OrderEvent) -> None:
        self._account.record(event)
        super()._order_event(event)

    def _loop(self) -> None:
        self._next_sample = self.start
        universes = self.subscriptions.universes
        self._take_over(universes[0] if universes else None)
        day, position = self.start, 0
        while day <= self.end:
            files = [(universe, path) for universe in universes if (path := self._arriving(universe, day))]
            self._midnight(day, files, forced=day in (self.start, self._begin.date()))
            if self.calendar.is_session(day):
                self._close(self.calendar.close(day), position)
                position += 1
            day += _ONE_DAY
        self._past_events(datetime.combine(day, MIDNIGHT))
        self._end()

    def _arriving(self, universe: Universe, day: date) -> Path | None:
        """The constituents file that arrives on a day: when the session begins, the newest that there is."""
        if day != self._begin.date():
            return universe.files.get(day - _ONE_DAY) if day > self._begin.date() else None
        newest = max((known for known in universe.files if known < day), default=day)
        return universe.files.get(newest)

    def _take_over(self, universe: Universe | None) -> None:
        """Cash, positions and open orders of the account."""
        books = self._account.books
        self.portfolio.cash = books.cash
        self.brokerage.take_over(self._account.orders)
        wanted = {order.symbol.sid: order.symbol for order in self.brokerage.open_orders()}
        wanted |= {sid: held.symbol for sid, held in books.registry.items() if held.quantity}
        for sid, symbol in wanted.items():
            security = self.portfolio.registry.get(sid)
            if security is None:
                if universe is None:
                    raise HostError(f"{symbol} is held, but the algorithm has no universe that it could belong to")
                security = self.subscriptions.take_over(universe, symbol, datetime.combine(self.start, MIDNIGHT))
            if held := books.registry.get(sid):
                security.quantity, security.average_price = held.quantity, held.average_price
        self.portfolio.revalue()
