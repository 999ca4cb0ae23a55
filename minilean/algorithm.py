"""`QCAlgorithm` as a Python algorithm sees it: LEAN's names and return values over the host's own rooms."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

from minilean.calendar import to_utc
from minilean.decimals import from_float, normalise, text, to_double
from minilean.enums import AlgorithmMode, DataNormalizationMode, OrderStatus, OrderType, Resolution
from minilean.errors import NotInHost
from minilean.members import LeanObject, LeanSettings, lean
from minilean.objectstore import ObjectStore
from minilean.orders import Order
from minilean.schedule import DateRule, DateRules, ScheduledEvent, TimeRule, TimeRules
from minilean.symbols import SYMBOLS, Symbol, named
from minilean.system import InvalidOperationException
from minilean.views.calendars import InterestRateProvider, TimeZone, TimeZones, TradingCalendar
from minilean.views.collections import Constituents
from minilean.views.data import Delistings, Dividends, Slice, Splits, SymbolChangedEvents
from minilean.views.history import HistoryCall, daily_only, is_raw
from minilean.views.orders import OrderEventView, OrderTicket, SecurityTransactionManager
from minilean.views.securities import SecurityManager, SecurityPortfolioManager, SecurityView
from minilean.views.universes import (
    ActiveSecurities,
    ETFConstituentsUniverse,
    SecurityChanges,
    UniverseManager,
    UserDefinedUniverse,
)

if TYPE_CHECKING:
    from minilean.engine import Engine

HOOKS = (
    "initialize",
    "on_data",
    "on_securities_changed",
    "on_order_event",
    "on_dividends",
    "on_splits",
    "on_delistings",
    "on_symbol_changed_events",
    "on_warmup_finished",
    "on_margin_call_warning",
    "on_end_of_day",
    "on_end_of_algorithm",
)
"""What an algorithm may override; LEAN takes `OnData` for `on_data`."""

INVALID_ORDER = -10
"""Id of the ticket of an order that LEAN refuses before it becomes one."""

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_NUMBER = re.compile(r"\s*[+-]?([0-9][0-9,]*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


@lean("QuantConnect", "Market")
class Market(LeanObject):
    """LEAN's names of markets."""

    __slots__ = ()
    USA = "usa"


@lean("QuantConnect", "AlgorithmSettings")
class AlgorithmSettings(LeanSettings):
    """`self.settings`."""

    __slots__ = ("_host", "seed_initial_prices")
    DEFAULTS = {  # noqa: RUF012
        "automatic_indicator_warm_up": False,
        "daily_consolidation_use_extended_market_hours": False,
        "daily_precise_end_time": True,
        "free_portfolio_value": None,
        "liquidate_enabled": True,
        "max_absolute_portfolio_target_percentage": 1e9,
        "min_absolute_portfolio_target_percentage": 1e-10,
        "rebalance_portfolio_on_insight_changes": None,
        "rebalance_portfolio_on_security_changes": None,
        "stale_price_time_span": timedelta(hours=1),
        "trading_days_per_year": 252,
        "warm_up_resolution": None,
        "warmup_resolution": None,
    }

    def __init__(self, host: "Engine"):
        self._host = host
        self.seed_initial_prices = False

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


@lean("QuantConnect.Data.UniverseSelection", "UniverseSettings")
class UniverseSettings(LeanSettings):
    """`self.universe_settings`: how members of a universe are subscribed."""

    __slots__ = ("data_normalization_mode", "leverage", "resolution")
    DEFAULTS = {  # noqa: RUF012
        "asynchronous": None,
        "contract_depth_offset": 0,
        "extended_market_hours": False,
        "fill_forward": True,
        "minimum_time_in_universe": timedelta(days=1),
        "subscription_data_types": None,
    }

    def __init__(self) -> None:
        self.resolution = Resolution.MINUTE
        self.leverage: float = 0
        self.data_normalization_mode = DataNormalizationMode.ADJUSTED


class _Unchanged:
    """`Universe.UNCHANGED`."""


@lean("QuantConnect.Data.UniverseSelection", "Universe")
class UniverseNames(LeanObject):
    """The class that `from AlgorithmImports import *` calls `Universe`."""

    __slots__ = ()
    UNCHANGED = _Unchanged()


@lean("QuantConnect.Algorithm.Framework.Portfolio", "PortfolioTarget")
class PortfolioTarget(LeanObject):
    """A weight for a symbol; out of `percent`, a number of shares."""

    __slots__ = ("exact", "symbol", "tag")

    def __init__(self, symbol: Symbol | str, quantity: float, tag: str = ""):
        if quantity != quantity or quantity in (float("inf"), float("-inf")):
            raise TypeError(
                f"No method matches given arguments for .ctor: ({type(symbol)}, {type(quantity)}). The following "
                "overloads are available:\n"
                '  .ctor(symbol: Symbol, quantity: float, tag: str = "")\n'
                '  .ctor(symbol: Symbol, quantity: int, tag: str = "")\n'
                '  .ctor(symbol: Symbol, insight_direction: InsightDirection, tag: str = "")'
            )
        self.symbol = SYMBOLS.symbol(symbol)
        self.exact = from_float(quantity)
        self.tag = tag

    @staticmethod
    def percent(
        algorithm: "QCAlgorithm", symbol: Symbol | str, percent: float, tag: str = ""
    ) -> "PortfolioTarget | None":
        """The shares to hold so that the symbol becomes that share of the portfolio; None where that has no answer."""
        host = algorithm._host()
        security = host.find(symbol)
        if security is None:
            host.error(not_in_portfolio(symbol))
            return None
        if not security.price:
            host.brokerage.target_quantity(security, Decimal(0))  # says so
            return None
        delta = host.brokerage.target_quantity(security, from_float(percent))
        return PortfolioTarget(security.symbol, delta + security.quantity, tag)

    @property
    def quantity(self) -> float:
        return to_double(self.exact)

    def __str__(self) -> str:
        return f"{self.symbol}: {text(normalise(self.exact))}" + (f" ({self.tag})" if self.tag else "")


def not_in_portfolio(symbol: Symbol | str) -> str:
    return f"{SYMBOLS.symbol(symbol)} not found in portfolio. Request this data when initializing the algorithm."


@lean("QuantConnect.Algorithm", "UniverseDefinitions")
class UniverseDefinitions(LeanObject):
    """`self.universe`."""

    __slots__ = ("_count", "_host")
    unchanged = UniverseNames.UNCHANGED

    def __init__(self, host: "Engine"):
        self._host = host
        self._count = 0

    def etf(self, etf: str | Symbol, *arguments: Any, **options: Any) -> ETFConstituentsUniverse:
        """etf(ticker or symbol, [market], [universe_settings], [universe_filter_func])."""
        settings = self._host.algorithm.universe_settings
        select: Callable[[Constituents], Any] = lambda rows: [row.symbol for row in rows]  # noqa: E731
        for name in options.keys() - {"market", "universe_settings", "universe_filter_func"}:
            raise NotInHost(f"universe.etf(..., {name}=...)")
        for argument in (*arguments, *options.values()):
            if isinstance(argument, UniverseSettings):
                settings = argument
            elif callable(argument):
                select = argument
            elif argument not in (None, Market.USA):
                raise NotInHost(f"universe.etf(..., {argument!r})")
        self._count += 1
        # LEAN ends the name with a random GUID
        name = f"qc-universe-etf-constituents-{self._count:010}-00000000-0000-0000-0000-000000000000"
        inner = self._host.make_universe(etf, settings, select)
        return ETFConstituentsUniverse(self._host, named(name), inner)


@lean("QuantConnect.Scheduling", "ScheduleManager")
class ScheduleManager(LeanObject):
    """`self.schedule`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def on(self, *arguments: Any, **named: Any) -> ScheduledEvent:
        """on([name], date_rule, time_rule, callback)."""
        if arguments and isinstance(arguments[0], str):
            return self._on(*arguments, **named)
        return self._on(named.pop("name", ""), *arguments, **named)

    def _on(
        self, name: str, date_rule: DateRule, time_rule: TimeRule, callback: Callable[[], object]
    ) -> ScheduledEvent:
        return self._host.schedule_event(date_rule, time_rule, callback, name)

    def remove(self, scheduled_event: ScheduledEvent) -> None:
        self._host.schedule.remove(scheduled_event)


@lean("QuantConnect.Algorithm", "QCAlgorithm")
class QCAlgorithm(LeanObject):
    """Base class of an algorithm. Only what LEAN names is here; what LEAN has and this host has not is refused."""

    __engine: "Engine"

    def _attach(self, host: "Engine") -> None:
        self.__engine = host
        for hook in HOOKS:
            camel = "".join(part.capitalize() for part in hook.split("_"))
            own = getattr(type(self), hook) is not getattr(QCAlgorithm, hook)
            if not own and any(camel in vars(kind) for kind in type(self).__mro__):
                setattr(self, hook, getattr(self, camel))
        self.settings = AlgorithmSettings(host)
        self.universe_settings = UniverseSettings()
        self.securities = SecurityManager(host)
        self.portfolio = SecurityPortfolioManager(host)
        self.transactions = SecurityTransactionManager(host)
        self.universe = UniverseDefinitions(host)
        self.universe_manager = UniverseManager()
        self.schedule = ScheduleManager(host)
        self.date_rules = DateRules(host.calendar, lambda: host.now, host.note_symbols())
        self.time_rules = TimeRules(host.calendar, lambda: host.now, host.note_symbols())
        self.trading_calendar = TradingCalendar(host)
        self.risk_free_interest_rate_model = InterestRateProvider(host)
        self.history = HistoryCall(host)
        self.object_store: ObjectStore = host.object_store
        self.live_mode = False
        self.algorithm_mode = AlgorithmMode.BACKTESTING
        self.time_zone = TimeZones.NEW_YORK
        self.account_currency = "USD"

    def _host(self) -> "Engine":
        return self.__engine

    # --- for the algorithm to override

    def initialize(self) -> None:
        """Set dates, cash, universe and schedule."""

    def on_data(self, data: Slice) -> None: ...

    def on_securities_changed(self, changes: SecurityChanges) -> None: ...

    def on_order_event(self, order_event: OrderEventView) -> None: ...

    def on_dividends(self, dividends: Dividends) -> None: ...

    def on_splits(self, splits: Splits) -> None: ...

    def on_delistings(self, delistings: Delistings) -> None: ...

    def on_symbol_changed_events(self, symbols_changed: SymbolChangedEvents) -> None: ...

    def on_warmup_finished(self) -> None: ...

    def on_margin_call_warning(self) -> None: ...

    def on_end_of_day(self, symbol: Symbol) -> None: ...

    def on_end_of_algorithm(self) -> None: ...

    # --- time, period, parameters

    @property
    def time(self) -> datetime:
        return self.__engine.now

    @property
    def utc_time(self) -> datetime:
        return to_utc(self.__engine.now).replace(tzinfo=UTC)

    @property
    def start_date(self) -> datetime:
        return datetime.combine(self.__engine.start, datetime.min.time())

    @property
    def end_date(self) -> datetime:
        return datetime.combine(self.__engine.end, datetime.max.time())

    @property
    def is_warming_up(self) -> bool:
        return not self.__engine.initialized

    def set_start_date(self, *when: Any, **named: int) -> None:
        """set_start_date(year, month, day) or set_start_date(datetime)."""
        self.__engine.set_period(start=_day(when, named))

    def set_end_date(self, *when: Any, **named: int) -> None:
        """set_end_date(year, month, day) or set_end_date(datetime)."""
        self.__engine.set_period(end=_day(when, named))

    def set_time_zone(self, time_zone: TimeZone | str) -> None:
        if str(time_zone) != str(TimeZones.NEW_YORK):
            raise NotInHost(f"set_time_zone({str(time_zone)!r})")

    def set_cash(self, starting_cash: float, *more: object) -> None:
        if more or isinstance(starting_cash, str):
            raise NotInHost(f"set_cash({starting_cash!r}, ...) of a currency")
        self.__engine.set_cash(from_float(starting_cash))

    def get_parameter(self, name: str, default_value: Any = None) -> Any:
        """The parameter's text; with a default that is a number, its value as a number, if it has one."""
        written = self.__engine.parameters.get(name)
        if isinstance(default_value, int) and not isinstance(default_value, bool):
            return int(written) if written is not None and _WHOLE.fullmatch(written) else default_value
        if isinstance(default_value, (bool, float)):
            is_number = written is not None and _NUMBER.fullmatch(written)
            return float(written.replace(",", "")) if written is not None and is_number else float(default_value)
        return default_value if written is None else written

    def get_parameters(self) -> Mapping[str, str]:
        return dict(self.__engine.parameters)

    # --- securities and universe

    @property
    def active_securities(self) -> ActiveSecurities:
        subscriptions = self.__engine.subscriptions
        found = dict(subscriptions.hand_picked)
        for universe in subscriptions.universes:
            found |= universe.members | universe.leaving
        return ActiveSecurities(self.__engine, found)

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
        daily_only(self.universe_settings.resolution if resolution is None else resolution)
        if market not in (None, Market.USA) or not fill_forward or extended_market_hours:
            raise NotInHost("add_equity with another market, without fill_forward or with extended_market_hours")
        mode = data_normalization_mode
        if mode is None:
            mode = self.universe_settings.data_normalization_mode
        host = self.__engine
        security = host.add_equity(ticker, not is_raw(mode), from_float(leverage))
        users = named("QC-UNIVERSE-USERDEFINED-USA-EQUITY")
        self.universe_manager.add(users, UserDefinedUniverse(host, users, host.subscriptions.hand_picked))
        return SecurityView(host, security)

    def add_universe(self, universe: ETFConstituentsUniverse, *more: object) -> ETFConstituentsUniverse:
        if more or not isinstance(universe, ETFConstituentsUniverse):
            raise NotInHost(f"add_universe({type(universe).__name__}{', ...' if more else ''})")
        self.__engine.subscriptions.universes.append(universe.inner)
        self.universe_manager.add(universe.symbol, universe)
        return universe

    def symbol(self, ticker: str) -> Symbol:
        found = SYMBOLS.find(ticker)
        if found is None:
            raise InvalidOperationException(f"We were unable to locate the ticker '{ticker}'.")
        return found

    def ticker(self, symbol: Symbol) -> str:
        return str(symbol)

    def set_benchmark(self, symbol: Symbol | str, *more: object) -> None:
        if more or not isinstance(symbol, (Symbol, str)):
            raise NotInHost(f"set_benchmark({type(symbol).__name__}{', ...' if more else ''})")
        self.__engine.set_benchmark(symbol)

    def is_market_open(self, symbol: Symbol) -> bool:
        return self.__engine.calendar.is_open(self.__engine.now)

    # --- orders

    def set_holdings(
        self,
        symbol: Symbol | str | Sequence[PortfolioTarget],
        *arguments: Any,
        liquidate_existing_holdings: bool = False,
        asynchronous: bool = False,
        tag: str | None = None,
        order_properties: object = None,
        percentage: float | None = None,
    ) -> list[OrderTicket]:
        """set_holdings(targets, ...) or set_holdings(symbol, percentage, ...).

        What follows in both: liquidate_existing_holdings, asynchronous, tag, order_properties.
        """
        single = isinstance(symbol, (Symbol, str))
        if single and percentage is None:
            percentage, *arguments = arguments  # type: ignore[assignment]
        named: list[Any] = [liquidate_existing_holdings, asynchronous, tag, order_properties]
        named[: len(arguments)] = arguments
        liquidate, _, tag, order_properties = named
        _default_only(order_properties)
        if single:
            return self.__hold(symbol, percentage, liquidate, tag)
        return self.__hold_all(symbol, liquidate, tag)

    def __hold(self, symbol: Any, percentage: Any, liquidate: bool, tag: str | None) -> list[OrderTicket]:
        host = self.__engine
        security = host.find(symbol)
        quantity = 0
        if security is None:
            host.error(not_in_portfolio(symbol))
        else:
            quantity = host.brokerage.target_quantity(security, from_float(percentage))
        sold = self.__liquidate_others([symbol], tag) if liquidate else []
        if security is None:
            return sold
        order = host.brokerage.order_toward(security, quantity, tag or "")
        return sold + host.tickets([order] if order else [])

    def __hold_all(self, targets: Any, liquidate: bool, tag: str | None) -> list[OrderTicket]:
        host = self.__engine
        sold = self.__liquidate_others([target.symbol for target in targets], tag) if liquidate else []
        wanted = []
        for target in targets:
            security = host.find(target.symbol)
            if security is None:
                host.error(not_in_portfolio(target.symbol))
                security = host.require(target.symbol)  # which raises
            wanted.append((security, target.exact))
        return sold + host.tickets(host.brokerage.set_holdings(wanted, tag or ""))

    def __liquidate_others(self, wanted: Sequence[Symbol | str], tag: str | None) -> list[OrderTicket]:
        symbols = {SYMBOLS.symbol(symbol) for symbol in wanted}
        orders = self.__engine.brokerage.liquidate_others(symbols, "Liquidated" if tag is None else tag)
        return self.__engine.tickets(orders)

    def calculate_order_quantity(self, symbol: Symbol | str, target: float) -> float:
        host = self.__engine
        security = host.find(symbol)
        if security is None:
            host.error(not_in_portfolio(symbol))
            return 0.0
        return float(host.brokerage.target_quantity(security, from_float(target)))

    def liquidate(
        self,
        symbol: Symbol | str | Sequence[Symbol] | None = None,
        asynchronous: bool | str = False,
        tag: str | None = None,
        order_properties: object = None,
    ) -> Any:
        """Of a symbol, of several, or of all: the tickets; of liquidate(symbol, tag), as in LEAN, the orders' ids."""
        _default_only(order_properties)
        if isinstance(asynchronous, str):
            return [ticket.order_id for ticket in self.liquidate(symbol, tag=asynchronous)]
        host = self.__engine
        if symbol is None:
            return self.__liquidate_others([], tag)
        sold = []
        for wanted in [symbol] if isinstance(symbol, (Symbol, str)) else symbol:
            security = host.find(wanted)
            if security is None:
                host.warn_once_about(
                    "liquidate",
                    f"Warning: liquidate ignored symbol '{SYMBOLS.symbol(wanted)}' because it has not been added to "
                    "the algorithm. Add the security before liquidating it.",
                )
            else:
                sold += host.brokerage.liquidate(security, "Liquidated" if tag is None else tag)
        return host.tickets(sold)

    def market_order(
        self,
        symbol: Symbol | str,
        quantity: float,
        asynchronous: bool = False,
        tag: str = "",
        order_properties: object = None,
    ) -> OrderTicket:
        return self.__submit(OrderType.MARKET, symbol, quantity, asynchronous, tag, order_properties)

    def order(self, symbol: Symbol | str, quantity: float, *arguments: Any, **options: Any) -> OrderTicket:
        """order(symbol, quantity, [type], [asynchronous], [tag]): a market order, whatever the type says."""
        if arguments and isinstance(arguments[0], OrderType):
            arguments = arguments[1:]
        return self.market_order(symbol, quantity, *arguments, **options)

    def buy(self, symbol: Symbol | str, quantity: float) -> OrderTicket:
        return self.market_order(symbol, abs(quantity))

    def sell(self, symbol: Symbol | str, quantity: float) -> OrderTicket:
        return self.market_order(symbol, -abs(quantity))

    def market_on_open_order(
        self, symbol: Symbol | str, quantity: float, *arguments: Any, **options: Any
    ) -> OrderTicket:
        """What may follow: asynchronous, tag, order_properties."""
        return self.__submit(OrderType.MARKET_ON_OPEN, symbol, quantity, *arguments, **options)

    def market_on_close_order(
        self, symbol: Symbol | str, quantity: float, *arguments: Any, **options: Any
    ) -> OrderTicket:
        """What may follow: asynchronous, tag, order_properties."""
        return self.__submit(OrderType.MARKET_ON_CLOSE, symbol, quantity, *arguments, **options)

    def __submit(
        self,
        kind: OrderType,
        symbol: Symbol | str,
        quantity: float,
        asynchronous: bool = False,
        tag: str = "",
        order_properties: object = None,
    ) -> OrderTicket:
        """The ticket of an order, or of a request that LEAN refuses before it becomes one."""
        _default_only(order_properties)
        host, whole = self.__engine, int(quantity)
        security = host.require(symbol)
        if kind == OrderType.MARKET:
            order = host.brokerage.market_order(security, whole, tag)
        else:
            order = host.brokerage.submit(kind, security, whole, tag)
        if order is None:
            now = to_utc(host.now)
            order = Order(INVALID_ORDER, kind, security.symbol, whole, now, tag, OrderStatus.INVALID)
        return OrderTicket(host, order)

    # --- messages, charts, results

    def log(self, message: object) -> None:
        self.__engine.log(str(message))

    def debug(self, message: object) -> None:
        self.__engine.debug(str(message))

    def error(self, message: object) -> None:
        self.__engine.error(str(message))

    def quit(self, message: object = "") -> None:
        self.__engine.quit(str(message))

    def plot(self, *arguments: Any) -> None:
        """plot(chart, series, value) or plot(series, value)."""
        *names, value = arguments
        is_one_number = len(names) in (1, 2) and isinstance(value, (Real, Decimal))
        if not is_one_number:
            raise NotInHost("plot(...) of candles, bars or indicators")
        chart, series = ("Strategy Equity", *names)[-2:]
        utc, point = to_utc(self.__engine.now), from_float(value)
        self.__engine.record(lambda recorder: recorder.plot(utc, chart, series, point))

    def set_runtime_statistic(self, name: str, value: object) -> None:
        self.__engine.record(lambda recorder: recorder.runtime_statistic(name, str(value)))

    def set_summary_statistic(self, name: str, value: object) -> None:
        self.__engine.record(lambda recorder: recorder.summary_statistic(name, str(value)))

    def train(self, *arguments: Any) -> ScheduledEvent:
        """train(callback), which runs with the next slice, or train(date_rule, time_rule, callback)."""
        if len(arguments) > 1:
            return self.schedule.on(*arguments)
        name = f"Training: Now: {to_utc(self.__engine.now):%Y-%m-%dT%H:%M:%S.%f}0Z"
        return self.schedule.on(name, self.date_rules.today, self.time_rules.now, *arguments)


def _day(when: tuple[Any, ...], named: dict[str, int]) -> date:
    if when and isinstance(when[0], date):
        return date(when[0].year, when[0].month, when[0].day)
    return date(*when, **named)


def _default_only(order_properties: object) -> None:
    if order_properties is not None:
        raise NotInHost(f"order_properties={order_properties!r}")
