"""`QCAlgorithm` as a Python algorithm sees it: LEAN's names and return values over the host's own rooms."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd

from minilean.calendar import MarketCalendar, to_utc
from minilean.data import Constituent
from minilean.decimals import ZERO, from_float, to_double
from minilean.errors import AlgorithmError, NotInHost
from minilean.history import TradeBar
from minilean.objectstore import ObjectStore
from minilean.orders import LeanEnum, Order, OrderEvent, OrderStatus, OrderType
from minilean.schedule import DateRule, DateRules, ScheduledEvent, TimeRule, TimeRules
from minilean.securities import Security
from minilean.symbols import Symbol
from minilean.universe import Changes, Universe

if TYPE_CHECKING:
    from minilean.engine import Engine


class Resolution(LeanEnum):
    TICK = 0
    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAILY = 4


class DataNormalizationMode(LeanEnum):
    RAW = 0
    ADJUSTED = 1
    SPLIT_ADJUSTED = 2
    TOTAL_RETURN = 3
    FORWARD_PANAMA_CANAL = 4
    BACKWARDS_PANAMA_CANAL = 5
    BACKWARDS_RATIO = 6
    SCALED_RAW = 7


class AlgorithmMode(LeanEnum):
    LIVE = 0
    BACKTESTING = 1
    RESEARCH = 2


class DayOfWeek(LeanEnum):
    SUNDAY = 0
    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6


class OrderDirection(LeanEnum):
    BUY = 0
    SELL = 1
    HOLD = 2


class DelistingType(LeanEnum):
    WARNING = 0
    DELISTED = 1


class SplitType(LeanEnum):
    WARNING = 0
    SPLIT_OCCURRED = 1


class SecurityType(LeanEnum):
    BASE = 0
    EQUITY = 1


class Market:
    USA = "usa"


def _raw(mode: DataNormalizationMode) -> bool:
    if mode not in (DataNormalizationMode.RAW, DataNormalizationMode.ADJUSTED):
        raise NotInHost(f"DataNormalizationMode.{DataNormalizationMode(mode).name}")
    return mode == DataNormalizationMode.RAW


def _daily_only(resolution: Resolution | None) -> None:
    if resolution != Resolution.DAILY:
        name = "Resolution.MINUTE (the default)" if resolution is None else f"Resolution.{Resolution(resolution).name}"
        raise NotInHost(f"{name} for prices that are traded")


class AlgorithmSettings:
    """`self.settings`; the ones that a daily equity algorithm meets."""

    __slots__ = ("_host", "seed_initial_prices", "trading_days_per_year")

    def __init__(self, host: "Engine"):
        self._host = host
        self.seed_initial_prices = False
        self.trading_days_per_year = 252

    @property
    def free_portfolio_value_percentage(self) -> float:
        return float(self._host.order_settings.free_portfolio_value_percentage)

    @free_portfolio_value_percentage.setter
    def free_portfolio_value_percentage(self, value: float) -> None:
        self._host.order_settings.free_portfolio_value_percentage = from_float(value)

    @property
    def minimum_order_margin_portfolio_percentage(self) -> float:
        return float(self._host.order_settings.minimum_order_margin_portfolio_percentage)

    @minimum_order_margin_portfolio_percentage.setter
    def minimum_order_margin_portfolio_percentage(self, value: float) -> None:
        self._host.order_settings.minimum_order_margin_portfolio_percentage = from_float(value)


class UniverseSettings:
    """`self.universe_settings`: how members of a universe are subscribed."""

    __slots__ = ("data_normalization_mode", "leverage", "resolution")

    def __init__(self) -> None:
        self.resolution = Resolution.MINUTE
        self.leverage: float = 0
        self.data_normalization_mode = DataNormalizationMode.ADJUSTED


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


class _Unchanged:
    """`Universe.UNCHANGED`."""

    def __iter__(self) -> Iterator[Symbol]:
        return iter(())


class UniverseNames:
    """The class that `from AlgorithmImports import *` calls `Universe`."""

    UNCHANGED = _Unchanged()
    unchanged = UNCHANGED


class PortfolioTarget:
    """A weight for a symbol."""

    __slots__ = ("quantity", "symbol", "tag")

    def __init__(self, symbol: Symbol, quantity: float, tag: str = ""):
        if isinstance(quantity, Decimal):
            quantity = float(quantity)
        if quantity != quantity or quantity in (float("inf"), float("-inf")):
            raise TypeError("No method matches given arguments for PortfolioTarget..ctor: (Symbol, float)")
        self.symbol = symbol
        self.quantity = quantity
        self.tag = tag

    def __str__(self) -> str:
        return f"{self.symbol.value}: {self.quantity:.2f}"


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
        adjusted = self._host.subscriptions.feeds[self._inner.symbol.sid].adjusted
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


class UniverseDefinitions:
    """`self.universe`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    unchanged = UniverseNames.UNCHANGED

    def etf(self, etf: str | Symbol, *arguments: Any) -> Universe:
        """etf(ticker or symbol, [market], [universe_settings], [filter])."""
        settings = self._host.algorithm.universe_settings
        select: Callable[[list[ETFConstituentUniverse]], Any] = lambda rows: [row.symbol for row in rows]  # noqa: E731
        for argument in arguments:
            if isinstance(argument, UniverseSettings):
                settings = argument
            elif callable(argument):
                select = argument
            elif argument not in (None, Market.USA):
                raise NotInHost(f"universe.etf(..., {argument!r})")
        return self._host.make_universe(etf, settings, select)


class ScheduleManager:
    """`self.schedule`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def on(self, *arguments: Any) -> ScheduledEvent:
        """on([name], date_rule, time_rule, callback)."""
        name = arguments[0] if isinstance(arguments[0], str) else ""
        dates, times, callback = arguments[1:4] if name else arguments[:3]
        return self._host.schedule_event(dates, times, callback, name)

    def remove(self, event: ScheduledEvent) -> None:
        self._host.schedule.remove(event)


class HistoryCall:
    """`self.history(...)` and `self.history[TradeBar](...)`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def __call__(
        self,
        symbols: Any,
        periods: Any,
        resolution: Any = None,
        end: Any = None,
        *,
        fill_forward: bool | None = None,
        data_normalization_mode: DataNormalizationMode | None = None,
    ) -> pd.DataFrame:
        """history(symbols, periods | timedelta | start [, end], Resolution.DAILY): DataFrame by (symbol, time)."""
        if symbols is TradeBar:
            symbols, periods, resolution, end = periods, resolution, end, None
        many = [symbols] if isinstance(symbols, (Symbol, str)) else list(symbols)
        span = self._span(periods, resolution, end)
        chosen = [self._symbol(symbol) for symbol in many]
        adjusted = self._adjusted(data_normalization_mode)
        return self._host.history.frame(chosen, span, adjusted, fill_forward is not False)

    def __getitem__(self, kind: type) -> Callable[..., Any]:
        if kind is not TradeBar:
            raise NotInHost(f"history[{getattr(kind, '__name__', kind)}]")

        def typed(
            symbols: Any,
            periods: Any,
            resolution: Any = None,
            end: Any = None,
            *,
            fill_forward: bool | None = None,
            data_normalization_mode: DataNormalizationMode | None = None,
        ) -> list[TradeBar]:
            if not isinstance(symbols, (Symbol, str)):
                raise NotInHost("history[TradeBar](list of symbols, ...)")
            span = self._span(periods, resolution, end)
            adjusted = self._adjusted(data_normalization_mode)
            return self._host.history.bars(self._symbol(symbols), span, adjusted, fill_forward is not False)

        return typed

    def _span(self, periods: Any, resolution: Any, end: Any) -> tuple[int, int]:
        history = self._host.history
        if isinstance(periods, datetime) and isinstance(resolution, datetime):
            _daily_only(end)
            return history.between(periods, resolution)
        _daily_only(resolution)
        if isinstance(periods, timedelta):
            return history.between(self._host.now - periods, self._host.now)
        if isinstance(periods, datetime):
            return history.between(periods, self._host.now)
        return history.last_sessions(int(periods))

    def _adjusted(self, mode: DataNormalizationMode | None) -> bool:
        if mode is None:
            mode = self._host.algorithm.universe_settings.data_normalization_mode
        return not _raw(mode)

    def _symbol(self, symbol: Symbol | str) -> Symbol:
        return symbol if isinstance(symbol, Symbol) else self._host.resolve(symbol)


class QCAlgorithm:
    """Base class of an algorithm. Only what LEAN names is here; what LEAN has and this host has not is refused."""

    __host: "Engine"

    def _attach(self, host: "Engine") -> None:
        self.__host = host
        self.settings = AlgorithmSettings(host)
        self.universe_settings = UniverseSettings()
        self.securities = SecurityManager(host)
        self.active_securities = SecurityManager(host)
        self.portfolio = SecurityPortfolioManager(host)
        self.transactions = SecurityTransactionManager(host)
        self.universe = UniverseDefinitions(host)
        self.schedule = ScheduleManager(host)
        self.date_rules = DateRules(host.calendar, lambda: host.now, host.note_symbol)
        self.time_rules = TimeRules(host.calendar, lambda: host.now, host.note_symbol)
        self.history = HistoryCall(host)
        self.object_store: ObjectStore = host.object_store
        self.live_mode = False
        self.algorithm_mode = AlgorithmMode.BACKTESTING

    # --- for the algorithm to override

    def initialize(self) -> None:
        """Set dates, cash, universe and schedule."""

    def on_data(self, data: Slice) -> None: ...

    def on_securities_changed(self, changes: SecurityChanges) -> None: ...

    def on_order_event(self, order_event: OrderEventView) -> None: ...

    def on_dividends(self, dividends: DataDictionary) -> None: ...

    def on_splits(self, splits: DataDictionary) -> None: ...

    def on_delistings(self, delistings: DataDictionary) -> None: ...

    def on_symbol_changed_events(self, symbols_changed: DataDictionary) -> None: ...

    def on_warmup_finished(self) -> None: ...

    def on_end_of_algorithm(self) -> None: ...

    # --- time, period, parameters

    @property
    def time(self) -> datetime:
        return self.__host.now

    @property
    def utc_time(self) -> datetime:
        return to_utc(self.__host.now)

    @property
    def start_date(self) -> datetime:
        return datetime.combine(self.__host.start, datetime.min.time())

    @property
    def end_date(self) -> datetime:
        return datetime.combine(self.__host.end, datetime.max.time())

    @property
    def is_warming_up(self) -> bool:
        return not self.__host.initialized

    def set_start_date(self, *when: Any) -> None:
        """set_start_date(year, month, day) or set_start_date(datetime)."""
        self.__host.set_period(start=_day(when))

    def set_end_date(self, *when: Any) -> None:
        """set_end_date(year, month, day) or set_end_date(datetime)."""
        self.__host.set_period(end=_day(when))

    def set_cash(self, starting_cash: float) -> None:
        self.__host.set_cash(from_float(starting_cash))

    def get_parameter(self, name: str, default_value: Any = None) -> Any:
        """The parameter's text; with a default, its value as the default's type."""
        text = self.__host.parameters.get(name)
        if text is None:
            return default_value
        if isinstance(default_value, (int, float)):
            kind = int if isinstance(default_value, int) and not isinstance(default_value, bool) else float
            try:
                return kind(text)
            except ValueError:
                return kind(default_value)
        return text

    def get_parameters(self) -> Mapping[str, str]:
        return dict(self.__host.parameters)

    # --- securities and universe

    def add_equity(
        self,
        ticker: str,
        resolution: Resolution | None = None,
        market: str | None = None,
        fill_forward: bool = True,
        leverage: float = 0,
        extended_market_hours: bool = False,
        data_normalization_mode: DataNormalizationMode | None = None,
    ) -> SecurityView:
        _daily_only(self.universe_settings.resolution if resolution is None else resolution)
        mode = self.universe_settings.data_normalization_mode if data_normalization_mode is None else data_normalization_mode
        return SecurityView(self.__host, self.__host.add_equity(ticker, not _raw(mode), from_float(leverage)))

    def add_universe(self, universe: Universe) -> Universe:
        if not isinstance(universe, Universe):
            raise NotInHost(f"add_universe({type(universe).__name__})")
        self.__host.subscriptions.universes.append(universe)
        return universe

    def symbol(self, ticker: str) -> Symbol:
        found = self.__host.find(ticker)
        return found.symbol if found else self.__host.resolve(ticker)

    def set_benchmark(self, symbol: Symbol | str) -> None:
        self.__host.set_benchmark(symbol)

    def is_market_open(self, symbol: Symbol) -> bool:
        return self.__host.calendar.is_open(self.__host.now)

    # --- orders

    def set_holdings(self, *arguments: Any, **options: Any) -> list[OrderTicket]:
        """set_holdings([PortfolioTarget, ...], liquidate=False, tag=...) or set_holdings(symbol, weight, ...)."""
        host = self.__host
        if isinstance(arguments[0], (Symbol, str)):
            symbol, weight, *rest = arguments
            liquidate = bool(rest[0]) if rest else bool(options.get("liquidate_existing_holdings", False))
            target = (host.require(symbol), from_float(weight))
            if liquidate:
                return host.tickets(host.brokerage.set_holdings([target], True, options.get("tag") or ""))
            quantity = host.brokerage.target_quantity(*target)
            order = host.brokerage.order_toward(target[0], quantity, options.get("tag") or "") if quantity else None
            return host.tickets([order] if order else [])
        targets, *rest = arguments
        liquidate = bool(rest[0]) if rest else bool(options.get("liquidate_existing_holdings", False))
        tag = options.get("tag") or (rest[2] if len(rest) > 2 else "")
        wanted = [(host.require(target.symbol), from_float(target.quantity)) for target in targets]
        return host.tickets(host.brokerage.set_holdings(wanted, liquidate, tag))

    def calculate_order_quantity(self, symbol: Symbol | str, target: float) -> float:
        return float(self.__host.brokerage.target_quantity(self.__host.require(symbol), from_float(target)))

    def liquidate(self, symbol: Symbol | str | None = None, asynchronous: bool = False, tag: str | None = None) -> list[OrderTicket]:
        host = self.__host
        text = "Liquidated" if tag is None else tag
        if symbol is not None:
            security = host.find(symbol)
            return host.tickets(host.brokerage.liquidate(security, text) if security else [])
        active = sorted(host.portfolio.active(), key=lambda s: s.symbol.value)
        return host.tickets([order for s in active for order in host.brokerage.liquidate(s, text)])

    def market_order(self, symbol: Symbol | str, quantity: float, asynchronous: bool = False, tag: str = "") -> OrderTicket | None:
        host = self.__host
        return host.ticket(host.brokerage.market_order(host.require(symbol), int(quantity), tag))

    def order(self, symbol: Symbol | str, quantity: float, asynchronous: bool = False, tag: str = "") -> OrderTicket | None:
        return self.market_order(symbol, quantity, asynchronous, tag)

    def buy(self, symbol: Symbol | str, quantity: float) -> OrderTicket | None:
        return self.market_order(symbol, abs(quantity))

    def sell(self, symbol: Symbol | str, quantity: float) -> OrderTicket | None:
        return self.market_order(symbol, -abs(quantity))

    def market_on_open_order(self, symbol: Symbol | str, quantity: float, asynchronous: bool = False, tag: str = "") -> OrderTicket | None:
        return self.__submit(OrderType.MARKET_ON_OPEN, symbol, quantity, tag)

    def market_on_close_order(self, symbol: Symbol | str, quantity: float, asynchronous: bool = False, tag: str = "") -> OrderTicket | None:
        return self.__submit(OrderType.MARKET_ON_CLOSE, symbol, quantity, tag)

    def __submit(self, kind: OrderType, symbol: Symbol | str, quantity: float, tag: str) -> OrderTicket | None:
        host = self.__host
        return host.ticket(host.brokerage.submit(kind, host.require(symbol), int(quantity), tag))

    # --- messages, charts, results

    def log(self, message: object) -> None:
        self.__host.log(str(message))

    def debug(self, message: object) -> None:
        self.__host.debug(str(message))

    def error(self, message: object) -> None:
        self.__host.error(str(message))

    def quit(self, message: object = "") -> None:
        self.__host.quit(str(message))

    def plot(self, *arguments: Any) -> None:
        """plot(chart, series, value) or plot(series, value)."""
        chart, series, value = arguments if len(arguments) == 3 else ("Strategy Equity", *arguments)
        utc, point = to_utc(self.__host.now), from_float(value)
        self.__host.record(lambda recorder: recorder.plot(utc, chart, series, point))

    def set_runtime_statistic(self, name: str, value: object) -> None:
        self.__host.record(lambda recorder: recorder.runtime_statistic(name, str(value)))

    def set_summary_statistic(self, name: str, value: object) -> None:
        self.__host.record(lambda recorder: recorder.summary_statistic(name, str(value)))

    def train(self, *arguments: Any) -> ScheduledEvent:
        """train(callback) or train(date_rule, time_rule, callback): a scheduled event named Training."""
        if len(arguments) == 1:
            dates, times, callback = self.date_rules.today, self.time_rules.now, arguments[0]
        else:
            dates, times, callback = arguments
        return self.__host.schedule_event(dates, times, callback, f"Training: {dates.name}: {times.name}")


def _day(when: tuple[Any, ...]) -> date:
    if len(when) == 1:
        return when[0].date() if isinstance(when[0], datetime) else when[0]
    return date(*when)
