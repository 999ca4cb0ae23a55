"""`QCAlgorithm` as a Python algorithm sees it: LEAN's names and return values over the host's own rooms."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from minilean.calendar import to_utc
from minilean.decimals import from_float
from minilean.enums import AlgorithmMode, DataNormalizationMode, OrderType, Resolution
from minilean.errors import NotInHost
from minilean.history import TradeBar
from minilean.objectstore import ObjectStore
from minilean.schedule import DateRules, ScheduledEvent, TimeRules
from minilean.symbols import Symbol
from minilean.universe import Universe
from minilean.views import (
    DataDictionary,
    ETFConstituentUniverse,
    OrderEventView,
    OrderTicket,
    SecurityChanges,
    SecurityManager,
    SecurityPortfolioManager,
    SecurityTransactionManager,
    SecurityView,
    Slice,
)

if TYPE_CHECKING:
    from minilean.engine import Engine


class Market:
    USA = "usa"


def is_raw(mode: DataNormalizationMode) -> bool:
    if mode not in (DataNormalizationMode.RAW, DataNormalizationMode.ADJUSTED):
        raise NotInHost(f"DataNormalizationMode.{DataNormalizationMode(mode).name}")
    return mode == DataNormalizationMode.RAW


def daily_only(resolution: Resolution | None) -> None:
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


class _Unchanged:
    """`Universe.UNCHANGED`."""


class UniverseNames:
    """The class that `from AlgorithmImports import *` calls `Universe`."""

    UNCHANGED = _Unchanged()
    unchanged = UNCHANGED


class PortfolioTarget:
    """A weight for a symbol."""

    __slots__ = ("quantity", "symbol", "tag")

    def __init__(self, symbol: Symbol, quantity: float, tag: str = ""):
        if quantity != quantity or quantity in (float("inf"), float("-inf")):
            raise TypeError("No method matches given arguments for PortfolioTarget..ctor: (Symbol, float)")
        self.symbol = symbol
        self.quantity = quantity
        self.tag = tag

    def __str__(self) -> str:
        return f"{self.symbol.value}: {self.quantity:.2f}"


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
            daily_only(end)
            return history.between(periods, resolution)
        daily_only(resolution)
        if isinstance(periods, timedelta):
            return history.between(self._host.now - periods, self._host.now)
        if isinstance(periods, datetime):
            return history.between(periods, self._host.now)
        return history.last_sessions(int(periods))

    def _adjusted(self, mode: DataNormalizationMode | None) -> bool:
        if mode is None:
            mode = self._host.algorithm.universe_settings.data_normalization_mode
        return not is_raw(mode)

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
        daily_only(self.universe_settings.resolution if resolution is None else resolution)
        mode = self.universe_settings.data_normalization_mode if data_normalization_mode is None else data_normalization_mode
        return SecurityView(self.__host, self.__host.add_equity(ticker, not is_raw(mode), from_float(leverage)))

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
