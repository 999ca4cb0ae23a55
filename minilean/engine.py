"""The loop over slices: who does what in which order at one moment of a backtest."""

import decimal
import gc
import time as time_module
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from minilean.algorithm import QCAlgorithm, UniverseNames, UniverseSettings
from minilean.brokerage import Brokerage, OrderSettings
from minilean.calendar import to_new_york, to_utc
from minilean.data import DataFolder
from minilean.decimals import EXACT, ZERO, from_float, text, to_double
from minilean.enums import DelistingType
from minilean.errors import AlgorithmError, DataError, HostError, NotInHost
from minilean.failures import Failure, describe
from minilean.formats import parse_date
from minilean.history import History
from minilean.objectstore import ObjectStore
from minilean.orders import Order, OrderEvent
from minilean.portfolio import Portfolio
from minilean.results import Recorder
from minilean.schedule import DateRule, Schedule, ScheduledEvent, TimeRule
from minilean.securities import Security
from minilean.symbols import SYMBOLS, Symbol
from minilean.system import KeyNotFoundException
from minilean.universe import Changes, CorporateAction, Subscriptions, Universe
from minilean.views.collections import Constituents
from minilean.views.data import Delisting, Dividend, Slice, Split, SymbolChangedEvent
from minilean.views.history import daily_only, is_raw
from minilean.views.orders import OrderEventView, OrderTicket
from minilean.views.universes import ETFConstituentUniverse, SecurityChanges

MIDNIGHT = time(0, 0)
LOCAL_NAME = "local"
"""What LEAN calls a backtest that was given no name."""
_ONE_DAY = timedelta(days=1)
_RENAMED = "Open order cancelled on symbol changed event"


class _Stopped(Exception):
    """The run ends here; the failure, if any, is on the engine."""


@dataclass(frozen=True)
class Moment:
    """Where a run is: its New York time, the share of its days that are done, and the portfolio's value."""

    now: datetime
    fraction: float
    equity: float


class Engine:
    """One backtest of one algorithm over one data folder.

    `run` gives the outcome; `recorder` then holds the results, `brokerage.orders` the orders.
    """

    def __init__(
        self,
        algorithm: type[QCAlgorithm],
        data: DataFolder,
        object_store: ObjectStore,
        parameters: Mapping[str, str],
        on_log: Callable[[datetime, str], None] = lambda when, message: None,
        on_start: Callable[[], None] = lambda: None,
        on_progress: Callable[[Moment], None] = lambda moment: None,
    ):
        decimal.setcontext(EXACT.copy())
        # A run makes millions of small objects and hardly a cycle: looking for cycles would take a tenth of its time.
        gc.set_threshold(1_000_000, 50, 100)
        self._class = algorithm
        self.data = data
        self.calendar = data.calendar
        SYMBOLS.start(data.resolve)
        self.object_store = object_store
        self.own_attributes: dict[str, dict[str, object]] = {}
        self.parameters = dict(parameters)
        self._on_log = on_log
        self._on_start = on_start
        self._on_progress = on_progress

        self.start = date(1998, 1, 1)
        self.end = date.today() - _ONE_DAY
        self.now = datetime.combine(self.start, MIDNIGHT)
        self.initialized = False
        self.failure: Failure | None = None
        self._messages: list[tuple[int, datetime, str]] = []
        self._previous = ["", ""]
        self._warned: set[str] = set()
        self._picked: list[Security] = []
        self._ends_of_day: dict[str, ScheduledEvent] = {}
        self._quit = False
        self._sliced = False

        self.portfolio = Portfolio()
        self.portfolio.cash = Decimal(100_000)
        self.order_settings = OrderSettings()
        self.brokerage = Brokerage(
            self.portfolio,
            self.calendar,
            self.order_settings,
            lambda: self.now,
            lambda security: security.feed is not None and not security.feed.adjusted,
            lambda: self.initialized,
        )
        self.brokerage.error = self.error
        self.brokerage.warn_once = self.warn_once
        self.subscriptions = Subscriptions(data, self.portfolio, self.brokerage.has_open_orders)
        self.history = History(data, lambda: self.now)
        self.schedule = Schedule()
        self._benchmark_symbol: Symbol | None = None
        self.recorder: Recorder | None = None
        self._early: list[Callable[[Recorder], object]] = []
        self.algorithm: QCAlgorithm = algorithm.__new__(algorithm)
        self.algorithm._attach(self)

    @property
    def name(self) -> str:
        """The algorithm's class name: its id, as a local LEAN has it."""
        return self._class.__name__

    # --- what the algorithm asks for

    def set_period(self, start: date | None = None, end: date | None = None) -> None:
        self.start = start or self.start
        self.end = end or self.end
        self.now = datetime.combine(self.start, MIDNIGHT)

    def set_cash(self, amount: Decimal) -> None:
        self.portfolio.cash = amount
        self.portfolio.invalidate()

    def find(self, symbol: Symbol | str) -> Security | None:
        """A security of the run; a text is understood as LEAN understands it."""
        return self.portfolio.get(SYMBOLS.symbol(symbol))

    def require(self, symbol: Symbol | str) -> Security:
        wanted = SYMBOLS.symbol(symbol)
        security = self.portfolio.get(wanted)
        if security is None:
            if isinstance(symbol, str) and SYMBOLS.find(symbol) is None:
                raise KeyNotFoundException(
                    f"The ticker {symbol} was not found in the SymbolCache. Use the Symbol object as key instead. "
                    "Accessing the securities collection/slice object by string ticker is only available for "
                    "securities added with the add_security-family methods. For more details, please check out the "
                    "documentation."
                )
            raise KeyNotFoundException(
                f"This asset symbol ({wanted}) was not found in your security list. Please add this security before "
                "using it. To prevent the exception, use self.securities.get(symbol), which returns None when the "
                "symbol is not found, or guard the access with 'if symbol in self.securities:'."
            )
        return security

    def note_symbols(self) -> Callable[[object], None]:
        """What a collection of schedule rules does with the tickers it is given: LEAN wonders at the first new one."""
        warned = False

        def note(symbol: object) -> None:
            nonlocal warned
            if isinstance(symbol, str) and SYMBOLS.find(symbol) is None:
                if not warned:
                    warned = True
                    self.debug(
                        f"Warning: no existing symbol found for ticker {symbol}, it will be created with Equity type."
                    )
                SYMBOLS.add(self.data.resolve(symbol, date.today()))

        return note

    def resolve(self, ticker: str) -> Symbol:
        return self.data.resolve(ticker, self.now.date())

    def add_equity(self, ticker: str, adjusted: bool, leverage: Decimal) -> Security:
        subscriptions = self.subscriptions
        subscriptions.seed_prices = self.algorithm.settings.seed_initial_prices
        subscriptions.set_period(self.start, self.end)
        symbol = SYMBOLS.find(ticker) or self.data.resolve(ticker, date.today())
        SYMBOLS.add(symbol)
        known = self.portfolio.get(symbol)
        is_new = known is None or known not in self.portfolio.active()
        security = subscriptions.add_equity(symbol, self.now, adjusted, leverage)
        if is_new:
            self._picked.append(security)
        return security

    def make_universe(
        self, etf: str | Symbol, settings: UniverseSettings, select: Callable[[Constituents], Any]
    ) -> Universe:
        symbol = etf if isinstance(etf, Symbol) else self.resolve(etf)

        def choose(path: Path) -> list[Symbol] | None:
            day = datetime.combine(parse_date(path.stem), MIDNIGHT)
            shown = Constituents(lambda: [ETFConstituentUniverse(row, day) for row in self.data.constituents(path)])
            chosen = self._call(select, shown)
            if chosen is UniverseNames.UNCHANGED:
                return None
            return [SYMBOLS.symbol(symbol) for symbol in chosen]

        # LEAN reads the settings when members are subscribed: an algorithm may still change them in initialize.
        universe = Universe(symbol, self.data.constituent_files(symbol.id), choose, True, ZERO)

        def settle() -> None:
            daily_only(settings.resolution)
            universe.adjusted = not is_raw(settings.data_normalization_mode)
            universe.leverage = from_float(settings.leverage)

        universe.settle = settle
        return universe

    def set_benchmark(self, symbol: Symbol | str) -> None:
        found = SYMBOLS.find(symbol) if isinstance(symbol, str) else symbol
        if found is None:
            self.debug(
                f"Warning: SetBenchmark({symbol}): no existing symbol found, benchmark security will be added with "
                "Equity type."
            )
            found = self.data.resolve(str(symbol), date.today())
        self._benchmark_symbol = found

    def schedule_event(
        self, dates: DateRule, times: TimeRule, callback: Callable[[], object], name: str
    ) -> ScheduledEvent:
        since = self.now if self.initialized else datetime.combine(self.start, MIDNIGHT)
        return self.schedule.add(dates, times, callback, since, self.end + timedelta(days=31), name)

    def tickets(self, orders: list[Order]) -> list[OrderTicket]:
        return [OrderTicket(self, order) for order in orders]

    def log(self, message: str) -> None:
        self._say(2, message)

    def error(self, message: str) -> None:
        self._say_once_in_a_row(1, message)

    def debug(self, message: str) -> None:
        self._say_once_in_a_row(0, message)

    def warn_once(self, message: str) -> None:
        self.warn_once_about(message, message)

    def warn_once_about(self, matter: str, message: str) -> None:
        if matter not in self._warned:
            self._warned.add(matter)
            self.debug(message)

    def _say(self, queue: int, message: str) -> None:
        self._messages.append((queue, self.now, message))

    def _say_once_in_a_row(self, queue: int, message: str) -> None:
        if message != self._previous[queue]:
            self._previous[queue] = message
            self._say(queue, message)

    def _flush_log(self) -> None:
        """Write out what was said since the last time: as in LEAN debug messages first, then errors, then logs."""
        if not self._messages or self.recorder is None:
            return
        for _, when, message in sorted(self._messages, key=lambda entry: entry[0]):
            self.recorder.log(when, message)
            self._on_log(when, message)
        self._messages.clear()

    def record(self, entry: Callable[[Recorder], object]) -> None:
        """Hand something to the results; what `initialize` says is kept until they begin."""
        if self.recorder is None:
            self._early.append(entry)
        else:
            entry(self.recorder)

    def quit(self, message: str) -> None:
        self.debug(f"Quit(): {message}")
        self._quit = True

    # --- the run

    def run(self) -> Failure | None:
        """Run to the end of the period; returns why it ended early, or None where it completed.

        What was recorded until then stays, also after an interrupt by the keyboard.
        Raises HostError where it cannot start: the data cannot be used, or the period has no session.
        """
        began = time_module.perf_counter()
        try:
            self._initialize()
            self._loop()
        except _Stopped:
            pass
        except (HostError, KeyboardInterrupt) as error:
            if self.recorder is None:
                raise
            reason = str(error) or "stopped by the keyboard"
            interrupted = isinstance(error, KeyboardInterrupt)
            self.failure = Failure(f"{self.now:%Y-%m-%d %H:%M:%S} {reason}", reason, interrupted)
            self.recorder.finish(to_utc(self.now), daily=None)
        self._flush_log()
        if self.initialized:
            spent = time_module.perf_counter() - began
            points = sum(security.bars_received() for security in self.portfolio.registry.values())
            self.debug(
                f"Algorithm Id:({self.name}) completed in {spent:.2f} seconds at {points / spent / 1000:.0f}k data "
                f"points per second. Processing total of {points:,} data points."
            )
        self._flush_log()
        return self.failure

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the algorithm's own code; an exception of its becomes an AlgorithmError with LEAN's text."""
        try:
            return function(*arguments)
        except (HostError, AlgorithmError):
            raise
        except Exception as error:
            raise AlgorithmError(describe(error)) from error

    def _guard(self, work: Callable[..., object], *arguments: Any) -> None:
        """Do a part of a slice; an error of the algorithm's in it ends the run."""
        try:
            work(*arguments)
        except AlgorithmError as error:
            message = f"Runtime Error: {error.text}"
            self.failure = Failure(f"{self.now:%Y-%m-%d %H:%M:%S} {message}", error.text)
            self.error(message)
            first = None if self._sliced else datetime.combine(self.start, MIDNIGHT)
            self.results().finish(to_utc(self.now), daily=first)
            raise _Stopped from error

    def results(self) -> Recorder:
        """What was recorded; there from the end of `initialize` on, whether it failed or not."""
        assert self.recorder is not None
        return self.recorder

    def _initialize(self) -> None:
        problem: AlgorithmError | None = None
        try:
            self._call(self.algorithm.__init__)  # type: ignore[misc]
            self._call(self.algorithm.initialize)
        except AlgorithmError as error:
            problem = error
        else:
            self._check_period()
        subscriptions = self.subscriptions
        subscriptions.seed_prices = self.algorithm.settings.seed_initial_prices
        subscriptions.set_period(self.start, self.end)
        for universe in subscriptions.universes:
            universe.settle()
        spy = self.data.resolve("SPY", self.start)
        self._benchmark = Benchmark(self.data, self._benchmark_symbol or spy)
        recorder = Recorder(
            name=LOCAL_NAME,
            start=self.start,
            end=self.end,
            cash=self.portfolio.cash,
            parameters=self.parameters,
            portfolio=self.portfolio,
            benchmark=self._benchmark.value,
            interest_rates=self.data.interest_rates(),
            latest_ticker=self._latest_ticker,
            spy_closes=lambda: self.data.daily(spy.id).adjusted_closes(self.start - 3 * _ONE_DAY, self.end),
        )
        self.recorder = recorder
        self.brokerage.on_fill = recorder.fill
        self.brokerage.on_event = self._order_event
        if problem:
            text = problem.text.rstrip("\n")
            trace = f"{text}\n {problem.__cause__ or text.splitlines()[0]}"
            intro = "During the algorithm initialization, the following exception has occurred:"
            self.failure = Failure(f"{self.now:%Y-%m-%d %H:%M:%S} {intro} {trace}", trace)
            self._messages.clear()
            raise _Stopped from problem
        self.initialized = True
        self._on_start()
        for entry in self._early:
            entry(recorder)
        self._messages.insert(0, (0, self.now, f"Launching analysis for {self.name} with LEAN Engine v2.5.0.0"))
        self._flush_log()
        self._guard(self._call, self.algorithm.on_warmup_finished)

    def _check_period(self) -> None:
        if self.end < self.start:
            raise DataError(f"the algorithm's end date {self.end} lies before its start date {self.start}")
        if not self.calendar.sessions(self.start, self.end):
            raise DataError(f"there is no session from {self.start} to {self.end} in the market-hours database")
        spy = self.data.daily(self.data.resolve("SPY", self.start).id)
        first, last = spy.period() or (None, None)
        if first is None or last is None:
            raise DataError(f"{self.data.folder} has no SPY bars: every backtest needs them, for the benchmark")
        if self.end < first or self.start > last:
            raise DataError(
                f"{self.data.folder} has no SPY bars from {self.start} to {self.end}: they go from {first} to {last}"
            )
        if self.calendar.next_session(self.start) < first:
            self.debug(f"the first SPY bar is of {first}: nothing can be traded before")
        if self.calendar.previous_session(self.end) > last:
            self.debug(f"the last SPY bar is of {last}: prices stand still after it")

    def _latest_ticker(self, symbol: Symbol) -> str:
        file = self.data.map_file(symbol.id)
        return file.last_ticker.upper() if file else symbol.value

    def _order_event(self, event: OrderEvent) -> None:
        self.results().order_event(event)
        handler = self.algorithm.on_order_event
        if getattr(handler, "__func__", None) is not QCAlgorithm.on_order_event:
            self._call(handler, OrderEventView(self, event))

    def _loop(self) -> None:
        deliveries: dict[date, list[tuple[Universe, Path]]] = {}
        before = self.calendar.previous_session(self.start)
        for universe in self.subscriptions.universes:
            for day, path in universe.files.items():
                if self.calendar.is_session(day) and before <= day <= self.end:
                    delivery = self.start if day == before else day + _ONE_DAY
                    deliveries.setdefault(delivery, []).append((universe, path))
        # LEAN's first slice is that of the first data, and its benchmark's feed begins with it
        begins = self.start if self.subscriptions.hand_picked else min(deliveries, default=self.start)
        self._benchmark.since = datetime.combine(begins, MIDNIGHT)
        self._next_sample = self.start
        rules = self.algorithm.date_rules, self.algorithm.time_rules
        # LEAN's own event, which takes the samples, has its part in the order of those that meet
        self.schedule_event(rules[0].every_day(), rules[1].midnight, lambda: None, "Daily Sampling")
        length = (self.end - self.start).days + 1
        day = self.start
        position = 0
        while day <= self.end:
            if day >= begins:
                self._day(day, position, deliveries.get(day, []), forced=day == begins)
            position += self.calendar.is_session(day)
            day += _ONE_DAY
            self._on_progress(
                Moment(self.now, (day - self.start).days / length, float(self.portfolio.total_value()))
            )
        if deliveries.get(day):
            self._midnight(day, [])
        self._end()

    def _day(self, day: date, position: int, files: list[tuple[Universe, Path]], *, forced: bool) -> None:
        self._midnight(day, files, forced=forced)
        if self.calendar.is_session(day):
            close = self.calendar.close(day)
            if self._benchmark.hourly:
                self._quiet_hours(day, close)
            self._close(close, position)

    def _end(self) -> None:
        self._guard(self._call, self.algorithm.on_end_of_algorithm)
        self.results().finish(to_utc(self.now), daily=to_utc(self.now))

    # --- slices

    def _begin_slice(self) -> None:
        """LEAN looks at the portfolio first: a run whose portfolio is worth nothing ends here, as completed."""
        if self.portfolio.total_value() <= 0:
            self.debug("AlgorithmManager.Run(): Portfolio value is less than or equal to zero, stopping algorithm.")
            self._end()
            raise _Stopped

    def _quiet_hours(self, day: date, close: datetime) -> None:
        """The hourly slices of a session; those in which nothing can happen are left out."""
        idle_until = datetime.min
        for hour in range(10, close.hour):
            moment = datetime.combine(day, time(hour))
            if moment >= idle_until and self.brokerage.is_idle():
                idle_until = min(self.schedule.next(), self.results().idle_until())
                if idle_until >= close:
                    return
            if moment >= idle_until:
                self._quiet_slice(moment)

    def _quiet_slice(self, moment: datetime) -> None:
        """An hourly slice of the benchmark feed: no prices change, but orders are scanned and events run."""
        self._begin_slice()
        self._past_events(moment)
        self.now = moment
        changes = self._changed(Changes())
        self._guard(self.brokerage.scan)
        self._events(moment)
        self._guard(self._margin_calls)
        self._tell(changes)
        self._end_of_slice(moment)

    def _close(self, moment: datetime, position: int) -> None:
        """The slice at the end of a session, with its daily bars."""
        self._begin_slice()
        self._past_events(moment)
        self.now = moment
        session = self.calendar.session(moment.date())
        self.brokerage.last_bars = session.utc_close
        self.subscriptions.clock.position = position
        data = None
        if getattr(self.algorithm.on_data, "__func__", None) is not QCAlgorithm.on_data:
            updated = (s for s in self.portfolio.active() if s.feed is not None and s.feed.fresh[position])
            data = Slice(moment, updated)
        self.portfolio.reprice()
        changes = self._changed(Changes())
        self._guard(self.brokerage.scan)
        self._events(moment)
        self._guard(self._margin_calls)
        self._tell(changes)
        if data is not None:
            self._on_data(data)
        self._guard(self.brokerage.scan)
        self._end_of_slice(moment)

    def _midnight(self, day: date, files: list[tuple[Universe, Path]], forced: bool = False) -> None:
        """00:00 of a day: a slice where there is something to do, otherwise only its sample comes due."""
        moment = datetime.combine(day, MIDNIGHT)
        actions = self.subscriptions.due(day)
        if not (files or actions or forced or day > self.end):
            return
        self._begin_slice()
        delisted = [action.security for action in actions if action.kind == "delisted"]
        changes = self.subscriptions.delist(delisted)
        self._past_events(moment)
        self.now = moment
        for universe, path in files:
            self._guard(self._select, universe, path, changes)
        self._changed(changes)
        data = self._corporate_events(moment, actions)
        for action in actions:
            if action.kind in ("dividend", "split", "warning") and action.security.quantity:
                self.results().mark(action.security)
            if action.kind == "rename":
                for order in self.brokerage.open_orders(action.security.symbol):
                    self.brokerage.cancel(order, _RENAMED)
        self.portfolio.invalidate()
        self._guard(self.brokerage.scan)
        self._guard(self.brokerage.liquidate_delisted, delisted)
        self._events(moment)
        self._guard(self._margin_calls)
        self._tell(changes)
        for action in actions:
            self._apply(action)
        self._on_data(data)
        self._guard(self.brokerage.scan)
        self._end_of_slice(moment)

    def _select(self, universe: Universe, path: Path, changes: Changes) -> None:
        chosen = universe.select(path)
        made = self.subscriptions.apply(universe, chosen, self.now)
        changes.added += made.added
        changes.removed += made.removed

    def _changed(self, changes: Changes) -> Changes:
        """Add what the algorithm has added itself; each security's end of day comes and goes with it."""
        if self._picked:
            changes.added = sorted(changes.added + self._picked, key=lambda security: security.symbol.value)
            self._picked = []
        handler = self.algorithm.on_end_of_day
        if changes and getattr(handler, "__func__", None) is not QCAlgorithm.on_end_of_day:
            rules = self.algorithm.date_rules, self.algorithm.time_rules
            for symbol in (security.symbol for security in changes.added):
                days, moment = rules[0].every_day(symbol), rules[1].before_market_close(symbol, 10)
                call = partial(handler, symbol)
                self._ends_of_day[symbol.sid] = self.schedule_event(days, moment, call, f"{symbol}.EndOfDay")
            for security in changes.removed:
                event = self._ends_of_day.pop(security.symbol.sid, None)
                if event is not None:
                    self.schedule.remove(event)
        return changes

    def _margin_calls(self) -> None:
        calls, warning = self.brokerage.margin_calls()
        if calls and any(hasattr(self.algorithm, name) for name in ("on_margin_call", "OnMarginCall")):
            raise NotInHost("on_margin_call")
        for order in self.brokerage.call_margin(calls):
            self.error(
                f"{self.now:%m/%d/%Y %H:%M:%S} - Executed MarginCallOrder: {order.symbol} - "
                f"Quantity: {order.quantity} @ {text(order.price)}"
            )
        if warning:
            self._call(self.algorithm.on_margin_call_warning)

    def _tell(self, changes: Changes) -> None:
        if changes:
            self._guard(self._call, self.algorithm.on_securities_changed, SecurityChanges(self, changes))

    def _apply(self, action: CorporateAction) -> None:
        """Dividends and splits change cash and positions only where prices are raw."""
        security = action.security
        if security.feed is None or security.feed.adjusted:
            return
        if action.kind == "dividend" and security.quantity:
            self.results().dividend(self.portfolio.dividend(security, action.amount))
        elif action.kind == "split":
            self.portfolio.split(security, action.amount)
            self.results().split(security, action.amount)
            self.brokerage.split_open_orders(security.symbol, action.amount)

    def _corporate_events(self, moment: datetime, actions: list[CorporateAction]) -> Slice:
        data = Slice(moment)
        for action in actions:
            symbol, price = action.security.symbol, to_double(action.security.price)
            if action.kind == "dividend":
                event = Dividend(symbol, to_double(action.amount), to_double(action.reference), moment)
                data.dividends[symbol] = event
            elif action.kind == "split":
                data.splits[symbol] = Split(symbol, to_double(action.amount), to_double(action.reference), moment)
            elif action.kind == "rename":
                changed = SymbolChangedEvent(symbol, action.old_ticker, action.new_ticker, moment)
                data.symbol_changed_events[symbol] = changed
            else:
                kind = DelistingType.WARNING if action.kind == "warning" else DelistingType.DELISTED
                data.delistings[symbol] = Delisting(symbol, kind, price, moment)
        return data

    def _on_data(self, data: Slice) -> None:
        algorithm = self.algorithm
        for handler, part in (
            (algorithm.on_symbol_changed_events, data.symbol_changed_events),
            (algorithm.on_splits, data.splits),
            (algorithm.on_dividends, data.dividends),
            (algorithm.on_delistings, data.delistings),
        ):
            if part:
                self._guard(self._call, handler, part)
        if data.has_data:
            self._guard(self._call, algorithm.on_data, data)

    def _past_events(self, moment: datetime) -> None:
        """Events earlier than the coming slice, each at its own time, in the state after the slice before."""
        self._scheduled(moment, inclusive=False)

    def _events(self, moment: datetime) -> None:
        """Events due exactly now."""
        self._scheduled(moment, inclusive=True)

    def _scheduled(self, moment: datetime, *, inclusive: bool) -> None:
        for when, event in self.schedule.due(moment, inclusive=inclusive):
            self._sample(when, inclusive=when == moment)
            self.now = moment if inclusive else when  # what an event before this slice has scheduled runs in it
            self._guard(self._scheduled_call, event, moment)
            self._flush_log()
        self._sample(moment, inclusive=inclusive)
        self.now = moment

    def _scheduled_call(self, event: ScheduledEvent, moment: datetime) -> None:
        try:
            self._call(event.callback)
        except AlgorithmError:
            self.now = moment  # LEAN reports the time of the slice that the event came before
            raise

    def _sample(self, moment: datetime, *, inclusive: bool) -> None:
        """Take the daily samples of all midnights that have come, weekends and holidays included."""
        while (midnight := datetime.combine(self._next_sample, MIDNIGHT)) < moment or (
            inclusive and midnight == moment
        ):
            self.results().midnight(to_utc(midnight))
            self._next_sample += _ONE_DAY

    def _end_of_slice(self, moment: datetime) -> None:
        self._sliced = True
        self.results().end_of_slice(to_utc(moment))
        self._flush_log()
        if self._quit:
            self.log("Algorithm Stopped")
            self.results().finish(to_utc(moment), daily=to_utc(moment))
            raise _Stopped


class Benchmark:
    """The benchmark's hourly adjusted closes; since: New York time before which it has none."""

    def __init__(self, data: DataFolder, symbol: Symbol):
        self._bars, ends = data.hourly(symbol.id)
        self._ends = array("q", ends.tobytes())
        self.since = datetime.min

    @property
    def hourly(self) -> bool:
        return len(self._ends) > 0

    def value(self, utc: datetime) -> Decimal:
        """The last close at that moment, zero before the first."""
        local = to_new_york(utc)
        if local < self.since:
            return ZERO
        row = bisect_right(self._ends, local.toordinal() * 24 + local.hour) - 1
        return self._bars.price(self._bars.close, row, True) if row >= 0 else ZERO
