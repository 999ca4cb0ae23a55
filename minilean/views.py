"""What an algorithm holds in its hands: LEAN's names and doubles over the host's own objects."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from minilean.calendar import MarketCalendar
from minilean.decimals import ZERO, to_double
from minilean.enums import (
    DataNormalizationMode,
    DelistingType,
    OrderDirection,
    OrderStatus,
    OrderType,
    SecurityType,
    SplitType,
)
from minilean.formats import Constituent
from minilean.history import TradeBar
from minilean.orders import Order, OrderEvent
from minilean.securities import Security
from minilean.symbols import Symbol
from minilean.universe import Changes

if TYPE_CHECKING:
    from minilean.engine import Engine


class ETFConstituentUniverse:
    """One row of a constituents file, as the filter receives it."""

    __slots__ = ("end_time", "last_update", "market_value", "shares_held", "symbol", "time", "weight")
    price = 0.0
    value = 0.0
    period = timedelta(days=1)

    def __init__(self, row: Constituent, day: date):
        self.symbol = row.symbol
        self.last_update = row.last_update
        self.time = datetime(day.year, day.month, day.day)
        self.end_time = self.time + self.period
        self.weight = None if row.weight is None else to_double(row.weight)
        self.shares_held = None if row.shares_held is None else to_double(row.shares_held)
        self.market_value = None if row.market_value is None else to_double(row.market_value)


class SecurityExchangeHours:
    """`security.exchange.hours`: regular sessions only."""

    __slots__ = ("_calendar",)

    def __init__(self, calendar: MarketCalendar):
        self._calendar = calendar

    def is_date_open(self, local_date_time: datetime) -> bool:
        return self._calendar.is_session(local_date_time.date())

    def get_next_market_open(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        day = local_date_time.date()
        if self._calendar.is_session(day) and local_date_time < self._calendar.open(day):
            return self._calendar.open(day)
        return self._calendar.open(self._calendar.next_session(day))

    def get_next_market_close(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        day = local_date_time.date()
        if self._calendar.is_session(day) and local_date_time < self._calendar.close(day):
            return self._calendar.close(day)
        return self._calendar.close(self._calendar.next_session(day))


class EquityExchange:
    """`security.exchange`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    @property
    def hours(self) -> SecurityExchangeHours:
        return SecurityExchangeHours(self._host.calendar)

    @property
    def exchange_open(self) -> bool:
        return self._host.calendar.is_open(self._host.now)


class SecurityView:
    """A security as the algorithm sees it: doubles in place of decimals."""

    __slots__ = ("_host", "_inner")

    def __init__(self, host: "Engine", inner: Security):
        self._host = host
        self._inner = inner

    def __str__(self) -> str:
        return str(self._inner.symbol)

    @property
    def symbol(self) -> Symbol:
        return self._inner.symbol

    @property
    def type(self) -> SecurityType:
        return SecurityType.EQUITY

    @property
    def price(self) -> float:
        return to_double(self._inner.price)

    @property
    def close(self) -> float:
        return self.price

    @property
    def open(self) -> float:
        return to_double(self._inner.bar.open) if self._inner.bar else 0.0

    @property
    def high(self) -> float:
        return to_double(self._inner.bar.high) if self._inner.bar else 0.0

    @property
    def low(self) -> float:
        return to_double(self._inner.bar.low) if self._inner.bar else 0.0

    @property
    def volume(self) -> float:
        return float(self._inner.bar.volume) if self._inner.bar else 0.0

    @property
    def has_data(self) -> bool:
        return self._inner.has_data

    @property
    def is_tradable(self) -> bool:
        return self._inner.is_tradable

    @property
    def is_delisted(self) -> bool:
        return self._inner.is_delisted

    @property
    def leverage(self) -> float:
        return float(self._inner.leverage)

    @property
    def local_time(self) -> datetime:
        return self._host.now

    @property
    def exchange(self) -> EquityExchange:
        return EquityExchange(self._host)

    @property
    def data_normalization_mode(self) -> DataNormalizationMode:
        adjusted = self._inner.feed is None or self._inner.feed.adjusted
        return DataNormalizationMode.ADJUSTED if adjusted else DataNormalizationMode.RAW

    @property
    def holdings(self) -> "HoldingView":
        return HoldingView(self._inner)

    @property
    def invested(self) -> bool:
        return self._inner.quantity != 0


class HoldingView:
    """`self.portfolio[symbol]`."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Security):
        self._inner = inner

    @property
    def symbol(self) -> Symbol:
        return self._inner.symbol

    @property
    def quantity(self) -> float:
        return float(self._inner.quantity)

    @property
    def absolute_quantity(self) -> float:
        return float(abs(self._inner.quantity))

    @property
    def invested(self) -> bool:
        return self._inner.quantity != 0

    @property
    def is_long(self) -> bool:
        return self._inner.quantity > 0

    @property
    def is_short(self) -> bool:
        return self._inner.quantity < 0

    @property
    def price(self) -> float:
        return to_double(self._inner.price)

    @property
    def average_price(self) -> float:
        return to_double(self._inner.average_price)

    @property
    def holdings_value(self) -> float:
        return to_double(self._inner.quantity * self._inner.price)

    @property
    def absolute_holdings_value(self) -> float:
        return abs(self.holdings_value)

    @property
    def holdings_cost(self) -> float:
        return to_double(self._inner.quantity * self._inner.average_price)

    @property
    def unrealized_profit(self) -> float:
        return to_double(self._inner.unrealized_profit())

    @property
    def profit(self) -> float:
        return to_double(self._inner.profit)

    @property
    def total_fees(self) -> float:
        return to_double(self._inner.total_fees)


class KeyValuePair:
    """What iterating LEAN's dictionaries yields."""

    __slots__ = ("key", "value")

    def __init__(self, key: Symbol, value: Any):
        self.key = key
        self.value = value

    def __iter__(self) -> Iterator[Any]:
        return iter((self.key, self.value))


class _BySymbol:
    """Common to `self.securities`, `self.active_securities` and `self.portfolio`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def _view(self, inner: Security) -> Any:
        raise NotImplementedError

    def _find(self, symbol: Symbol | str) -> Security | None:
        return self._host.find(symbol)

    def __getitem__(self, symbol: Symbol | str) -> Any:
        inner = self._find(symbol)
        if inner is None:
            raise KeyError(
                f"'{symbol}' was not found in the algorithm's securities: add it before it is used (KeyNotFoundException)"
            )
        return self._view(inner)

    def get(self, symbol: Symbol | str, default: Any = None) -> Any:
        inner = self._find(symbol)
        return default if inner is None else self._view(inner)

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, (Symbol, str)) and self._find(symbol) is not None

    def contains_key(self, symbol: Symbol | str) -> bool:
        return symbol in self

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([KeyValuePair(s.symbol, self._view(s)) for s in self._host.portfolio.active()])

    def keys(self) -> list[Symbol]:
        return [s.symbol for s in self._host.portfolio.active()]

    def values(self) -> list[Any]:
        return [self._view(s) for s in self._host.portfolio.active()]

    def items(self) -> list[tuple[Symbol, Any]]:
        return [(s.symbol, self._view(s)) for s in self._host.portfolio.active()]

    @property
    def count(self) -> int:
        return len(self._host.portfolio.active())

    def __len__(self) -> int:
        return self.count


class SecurityManager(_BySymbol):
    """`self.securities`."""

    __slots__ = ()

    def _view(self, inner: Security) -> SecurityView:
        return SecurityView(self._host, inner)


class SecurityPortfolioManager(_BySymbol):
    """`self.portfolio`."""

    __slots__ = ()

    def _view(self, inner: Security) -> HoldingView:
        return HoldingView(inner)

    def _positions(self) -> Iterator[Security]:
        return (s for s in self._host.portfolio.active() if s.quantity)

    @property
    def cash(self) -> float:
        return to_double(self._host.portfolio.cash)

    @property
    def total_portfolio_value(self) -> float:
        return to_double(self._host.portfolio.total_value())

    @property
    def total_holdings_value(self) -> float:
        return to_double(sum((abs(s.quantity) * s.price for s in self._positions()), start=ZERO))

    @property
    def total_fees(self) -> float:
        return to_double(self._host.portfolio.total_fees)

    @property
    def total_unrealized_profit(self) -> float:
        return to_double(sum((s.unrealized_profit() for s in self._positions()), start=ZERO))

    @property
    def total_profit(self) -> float:
        return to_double(self._host.portfolio.total_profit())

    @property
    def total_margin_used(self) -> float:
        return to_double(self._host.portfolio.margin_used())

    @property
    def margin_remaining(self) -> float:
        return to_double(self._host.portfolio.margin_remaining())

    @property
    def invested(self) -> bool:
        return any(True for _ in self._positions())


class OrderTicket:
    """What the order calls return: an order as it goes on."""

    __slots__ = ("_host", "_order")

    def __init__(self, host: "Engine", order: Order):
        self._host = host
        self._order = order

    @property
    def order_id(self) -> int:
        return self._order.id

    @property
    def symbol(self) -> Symbol:
        return self._order.symbol

    @property
    def quantity(self) -> float:
        return float(self._order.quantity)

    @property
    def quantity_filled(self) -> float:
        return self.quantity if self._order.status == OrderStatus.FILLED else 0.0

    @property
    def average_fill_price(self) -> float:
        return to_double(self._order.price)

    @property
    def order_type(self) -> OrderType:
        return self._order.type

    @property
    def status(self) -> OrderStatus:
        return self._order.status

    @property
    def tag(self) -> str:
        return self._order.tag

    @property
    def time(self) -> datetime:
        return self._order.time

    def cancel(self, tag: str | None = None) -> bool:
        return self._host.brokerage.cancel(self._order, tag)


class OrderFee:
    """`order_event.order_fee`."""

    __slots__ = ("amount", "currency")

    def __init__(self, amount: Decimal | None):
        self.amount = to_double(amount or ZERO)
        self.currency = "USD"


class OrderEventView:
    """What `on_order_event` receives; its text is LEAN's log line."""

    __slots__ = ("_event", "_host")

    def __init__(self, host: "Engine", event: OrderEvent):
        self._host = host
        self._event = event

    def __str__(self) -> str:
        return str(self._event)

    @property
    def order_id(self) -> int:
        return self._event.order.id

    @property
    def id(self) -> int:
        return self._event.id

    @property
    def symbol(self) -> Symbol:
        return self._event.order.symbol

    @property
    def utc_time(self) -> datetime:
        return self._event.time

    @property
    def status(self) -> OrderStatus:
        return self._event.status

    @property
    def direction(self) -> OrderDirection:
        return OrderDirection.BUY if self._event.quantity > 0 else OrderDirection.SELL

    @property
    def quantity(self) -> float:
        return float(self._event.quantity)

    @property
    def fill_price(self) -> float:
        return to_double(self._event.fill_price)

    @property
    def fill_quantity(self) -> float:
        return float(self._event.fill_quantity)

    @property
    def absolute_fill_quantity(self) -> float:
        return abs(self.fill_quantity)

    @property
    def order_fee(self) -> OrderFee:
        return OrderFee(self._event.fee)

    @property
    def message(self) -> str:
        return self._event.message

    @property
    def ticket(self) -> OrderTicket:
        return OrderTicket(self._host, self._event.order)


class SecurityTransactionManager:
    """`self.transactions`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    @property
    def orders_count(self) -> int:
        return len(self._host.brokerage.orders)

    def get_open_orders(self, symbol: Symbol | None = None) -> list[OrderTicket]:
        return [OrderTicket(self._host, order) for order in self._host.brokerage.open_orders(symbol)]

    def get_open_order_tickets(self, symbol: Symbol | None = None) -> list[OrderTicket]:
        return self.get_open_orders(symbol)

    def cancel_open_orders(self, symbol: Symbol | None = None, tag: str | None = None) -> list[OrderTicket]:
        orders = self._host.brokerage.open_orders(symbol)
        for order in orders:
            self._host.brokerage.cancel(order, tag)
        return [OrderTicket(self._host, order) for order in orders]


class SecurityChanges:
    """What `on_securities_changed` receives."""

    __slots__ = ("added_securities", "removed_securities")

    def __init__(self, host: "Engine", changes: Changes):
        self.added_securities = [SecurityView(host, s) for s in changes.added]
        self.removed_securities = [SecurityView(host, s) for s in changes.removed]


class Delisting:
    """A delisting warning, or the delisting itself."""

    __slots__ = ("price", "symbol", "time", "type", "value")

    def __init__(self, symbol: Symbol, kind: DelistingType, price: float, time: datetime):
        self.symbol = symbol
        self.type = kind
        self.price = self.value = price
        self.time = time


class Dividend:
    """A cash dividend; distribution is dollars a share."""

    __slots__ = ("distribution", "reference_price", "symbol", "time", "value")

    def __init__(self, symbol: Symbol, distribution: float, reference_price: float, time: datetime):
        self.symbol = symbol
        self.distribution = self.value = distribution
        self.reference_price = reference_price
        self.time = time


class Split:
    """A split; split_factor is new price over old."""

    __slots__ = ("reference_price", "split_factor", "symbol", "time", "type", "value")

    def __init__(self, symbol: Symbol, factor: float, reference_price: float, time: datetime):
        self.symbol = symbol
        self.split_factor = self.value = factor
        self.reference_price = reference_price
        self.time = time
        self.type = SplitType.SPLIT_OCCURRED


class SymbolChangedEvent:
    """A change of ticker."""

    __slots__ = ("new_symbol", "old_symbol", "symbol", "time")

    def __init__(self, symbol: Symbol, old: str, new: str, time: datetime):
        self.symbol = symbol
        self.old_symbol = old
        self.new_symbol = new
        self.time = time


class DataDictionary(dict[Symbol, Any]):
    """A part of a slice, by symbol."""

    @property
    def count(self) -> int:
        return len(self)

    def contains_key(self, symbol: Symbol) -> bool:
        return symbol in self


class Slice:
    """What `on_data` receives; the bars are made when they are looked at."""

    __slots__ = ("_bars", "_views", "delistings", "dividends", "splits", "symbol_changed_events", "time")

    def __init__(self, time: datetime, securities: Iterable[Security] = ()):
        self.time = time
        self._bars = list(securities)
        self._views: DataDictionary | None = None
        self.dividends = DataDictionary()
        self.splits = DataDictionary()
        self.delistings = DataDictionary()
        self.symbol_changed_events = DataDictionary()

    @property
    def bars(self) -> DataDictionary:
        if self._views is None:
            self._views = DataDictionary()
            for security in self._bars:
                bar = security.bar
                if bar is not None:
                    prices = (to_double(x) for x in (bar.open, bar.high, bar.low, bar.close))
                    symbol = security.symbol
                    self._views[symbol] = TradeBar(symbol, bar.time, bar.end_time, *prices, float(bar.volume))
        return self._views

    @property
    def has_data(self) -> bool:
        return bool(
            self._bars or self.dividends or self.splits or self.delistings or self.symbol_changed_events
        )

    def contains_key(self, symbol: Symbol) -> bool:
        return symbol in self.bars

    def __contains__(self, symbol: Symbol) -> bool:
        return symbol in self.bars

    def __getitem__(self, symbol: Symbol) -> TradeBar:
        bar: TradeBar = self.bars[symbol]
        return bar

    def keys(self) -> list[Symbol]:
        return list(self.bars)
