"""What an algorithm holds in its hands: LEAN's names and doubles over the host's own objects."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from minilean.calendar import MarketCalendar, to_utc
from minilean.decimals import ZERO, divide, fit, multiply, normalise, text, to_double
from minilean.enums import (
    DataNormalizationMode,
    DelistingType,
    OrderDirection,
    OrderStatus,
    OrderType,
    Resolution,
    SecurityType,
    SplitType,
)
from minilean.errors import NotInHost
from minilean.formats import Constituent
from minilean.history import TradeBar
from minilean.members import LeanObject, lean, members
from minilean.orders import Order, OrderEvent
from minilean.results.statistics import rate_on
from minilean.securities import Security
from minilean.symbols import SYMBOLS, Symbol
from minilean.system import KeyNotFoundException
from minilean.universe import Changes, Universe

if TYPE_CHECKING:
    from minilean.engine import Engine


# --- LEAN's collections


class Enumerable(LeanObject):
    """A .NET collection that Python may walk through and count."""

    __slots__ = ("_items",)

    def __init__(self, items: list[Any]):
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def count(self) -> int:
        return len(self._items)


@lean("QuantConnect.Util", "MemoizingEnumerable`1[QuantConnect.Data.Market.TradeBar]", "MemoizingEnumerable[TradeBar]")
class TypedHistory(Enumerable):
    """What `self.history[TradeBar](...)` returns."""

    __slots__ = ()


@lean(
    "QuantConnect.Util",
    "CastingEnumerable`2[QuantConnect.Data.BaseData,QuantConnect.Data.UniverseSelection.ETFConstituentUniverse]",
    "CastingEnumerable[BaseData,ETFConstituentUniverse]",
)
class Constituents(Enumerable):
    """What a universe's filter receives; it can be indexed, but as in LEAN neither sliced nor sorted in place."""

    __slots__ = ()

    def __getitem__(self, index: int) -> "ETFConstituentUniverse":
        if not isinstance(index, int):
            raise TypeError(f"No method matches given arguments for get_Item: ({type(index)})")
        constituent: ETFConstituentUniverse = self._items[index]
        return constituent


class KeyValuePair(LeanObject):
    """What iterating LEAN's dictionaries yields; as there it cannot be unpacked."""

    __slots__ = ("key", "value")

    def __init__(self, key: Any, value: Any):
        self.key = key
        self.value = value

    def __str__(self) -> str:
        return f"[{self.key}, {self.value}]"


def _pair(key: str, value: str) -> type[KeyValuePair]:
    """A pair's class, named by the .NET types of its key and its value."""
    python_name = f"KeyValuePair[{key.rpartition('.')[2]},{value.rpartition('.')[2]}]"
    mark = lean("System.Collections.Generic", f"KeyValuePair`2[{key},{value}]", python_name)
    return mark(type("KeyValuePair", (KeyValuePair,), {"__slots__": ()}))


class ExtendedDictionary(LeanObject):
    """LEAN's dictionaries: iterated by pairs, while keys, values and items are Python's lists."""

    __slots__ = ()
    _pair_type: ClassVar[type[KeyValuePair]]

    def items(self) -> list[tuple[Any, Any]]:
        raise NotImplementedError

    def get(self, key: Any, default: Any = None) -> Any:
        raise NotImplementedError

    def _absent(self, key: Any) -> Exception:
        return KeyNotFoundException(f"The given key '{key}' was not present in the dictionary.")

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key)
        if found is None:
            raise self._absent(key)
        return found

    def __contains__(self, key: Any) -> bool:
        return self.get(key) is not None

    def contains_key(self, key: Any) -> bool:
        return key in self

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([self._pair_type(key, value) for key, value in self.items()])

    def keys(self) -> list[Any]:
        return [key for key, _ in self.items()]

    def values(self) -> list[Any]:
        return [value for _, value in self.items()]

    def __len__(self) -> int:
        return len(self.items())

    @property
    def count(self) -> int:
        return len(self)


# --- universes


@lean("QuantConnect.Data.UniverseSelection", "ETFConstituentUniverse")
class ETFConstituentUniverse(LeanObject):
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

    def __str__(self) -> str:
        return f"{self.symbol}: ¤0.00"


class Members(ExtendedDictionary):
    """`universe.members`: the securities of a universe, by symbol."""

    __slots__ = ("_host", "_members")
    _pair_type = _pair("QuantConnect.Symbol", "QuantConnect.Securities.Security")

    def __init__(self, host: "Engine", found: dict[str, Security]):
        self._host = host
        self._members = found

    def items(self) -> list[tuple[Symbol, "SecurityView"]]:
        return [(s.symbol, SecurityView(self._host, s)) for s in self._members.values()]

    def get(self, key: Symbol | str, default: Any = None) -> Any:
        inner = self._members.get(SYMBOLS.symbol(key).sid)
        return default if inner is None else SecurityView(self._host, inner)


@lean("QuantConnect.Util", "ReadOnlyExtendedDictionary`2[QuantConnect.Symbol,QuantConnect.Securities.Security]",
      "ReadOnlyExtendedDictionary[Symbol,Security]")
class ActiveSecurities(Members):
    """`self.active_securities`: the members of all universes. LEAN's order is that of a table with random hashes."""

    __slots__ = ()


class UniverseView(LeanObject):
    """A universe of the run. Its symbol's text has a random part in LEAN."""

    __slots__ = ("_host", "_members", "symbol")

    def __init__(self, host: "Engine", symbol: Symbol, found: dict[str, Security]):
        self._host = host
        self.symbol = symbol
        self._members = found

    @property
    def members(self) -> Members:
        return Members(self._host, self._members)

    def contains_member(self, symbol: Symbol) -> bool:
        return symbol in self.members


@lean("QuantConnect.Data.UniverseSelection", "ETFConstituentsUniverseFactory")
class ETFConstituentsUniverse(UniverseView):
    """What `self.universe.etf(...)` returns."""

    __slots__ = ("inner",)

    def __init__(self, host: "Engine", symbol: Symbol, inner: Universe):
        super().__init__(host, symbol, inner.members)
        self.inner = inner

    @property
    def members(self) -> Members:
        return Members(self._host, self.inner.members | self.inner.leaving)

    @property
    def selected(self) -> set[Symbol] | None:
        chosen = self.inner.selected
        return None if chosen is None else set(chosen)


@lean("QuantConnect.Data.UniverseSelection", "UserDefinedUniverse")
class UserDefinedUniverse(UniverseView):
    """The universe of the equities that were added by hand."""

    __slots__ = ()


@lean("QuantConnect.Securities", "UniverseManager")
class UniverseManager(ExtendedDictionary):
    """`self.universe_manager`, in order of addition (in LEAN's order by random hashes)."""

    __slots__ = ("_universes",)
    _pair_type = _pair("QuantConnect.Symbol", "QuantConnect.Data.UniverseSelection.Universe")

    def __init__(self) -> None:
        self._universes: dict[str, UniverseView] = {}

    def add(self, key: Symbol, universe: UniverseView) -> None:
        self._universes.setdefault(key.sid, universe)

    def items(self) -> list[tuple[Symbol, UniverseView]]:
        return [(universe.symbol, universe) for universe in self._universes.values()]

    def get(self, key: Symbol | str, default: Any = None) -> Any:
        return self._universes.get(SYMBOLS.symbol(key).sid, default)

    def _absent(self, key: Symbol | str) -> Exception:
        symbol = SYMBOLS.symbol(key)
        return KeyNotFoundException(
            f"This universe symbol ({symbol}) was not found in your universe list. Please add this security or check "
            f"it exists before using it with 'Universes.ContainsKey(\"{symbol}\")'"
        )


@lean("QuantConnect.Data.UniverseSelection", "SecurityChanges")
class SecurityChanges(LeanObject):
    """What `on_securities_changed` receives."""

    __slots__ = ("added_securities", "removed_securities")

    def __init__(self, host: "Engine", changes: Changes):
        self.added_securities = [SecurityView(host, s) for s in changes.added]
        self.removed_securities = [SecurityView(host, s) for s in changes.removed]

    @property
    def count(self) -> int:
        return len(self.added_securities) + len(self.removed_securities)

    def __str__(self) -> str:
        parts = [
            f" {name}: {','.join(security.symbol.sid for security in found)}" if found else ""
            for name, found in (("Added", self.added_securities), ("Removed", self.removed_securities))
        ]
        return f"SecurityChanges: {''.join(parts)}" if self.count else "SecurityChanges: None"


# --- calendars and rates


@lean("NodaTime.TimeZones", "CachedDateTimeZone")
class TimeZone(LeanObject):
    """`self.time_zone`."""

    __slots__ = ("id",)

    def __init__(self, name: str):
        self.id = name

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeZone) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


@lean("QuantConnect", "TimeZones")
class TimeZones(LeanObject):
    """LEAN's names of time zones; the host knows New York alone."""

    __slots__ = ()
    NEW_YORK = TimeZone("America/New_York")


@lean("QuantConnect.Securities", "SecurityExchangeHours")
class SecurityExchangeHours(LeanObject):
    """`security.exchange.hours`: regular sessions only."""

    __slots__ = ("_calendar",)
    is_market_always_open = False
    time_zone = TimeZones.NEW_YORK

    def __init__(self, calendar: MarketCalendar):
        self._calendar = calendar

    def is_date_open(self, local_date_time: datetime, extended_market_hours: bool = False) -> bool:
        return self._calendar.is_session(local_date_time.date())

    def is_open(self, local_date_time: datetime, extended_market_hours: bool) -> bool:
        _regular(extended_market_hours)
        return self._calendar.is_open(local_date_time)

    def get_next_market_open(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        _regular(extended_market_hours)
        day = local_date_time.date()
        if self._calendar.is_session(day) and local_date_time < self._calendar.open(day):
            return self._calendar.open(day)
        return self._calendar.open(self._calendar.next_session(day))

    def get_next_market_close(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        _regular(extended_market_hours)
        day = local_date_time.date()
        if self._calendar.is_session(day) and local_date_time < self._calendar.close(day):
            return self._calendar.close(day)
        return self._calendar.close(self._calendar.next_session(day))

    def get_previous_trading_day(self, local_date: datetime) -> datetime:
        return datetime.combine(self._calendar.previous_session(local_date.date()), local_date.time())

    def get_next_trading_day(self, date: datetime) -> datetime:
        return datetime.combine(self._calendar.next_session(date.date()), date.time())


def _regular(extended_market_hours: bool) -> None:
    if extended_market_hours:
        raise NotInHost("extended_market_hours=True")


@lean("QuantConnect.Securities.Equity", "EquityExchange")
class EquityExchange(LeanObject):
    """`security.exchange`."""

    __slots__ = ("_host",)
    time_zone = TimeZones.NEW_YORK

    def __init__(self, host: "Engine"):
        self._host = host

    @property
    def hours(self) -> SecurityExchangeHours:
        return SecurityExchangeHours(self._host.calendar)

    @property
    def exchange_open(self) -> bool:
        return self._host.calendar.is_open(self._host.now)

    @property
    def local_time(self) -> datetime:
        return self._host.now


@lean("QuantConnect", "TradingDay")
class TradingDay(LeanObject):
    """One day of `self.trading_calendar`."""

    __slots__ = ("business_day", "date", "public_holiday", "weekend")

    def __init__(self, day: date, closed: bool):
        self.date = datetime(day.year, day.month, day.day)
        self.weekend = day.weekday() >= 5
        self.public_holiday = closed or self.weekend or _is_federal_holiday(day)
        self.business_day = not self.public_holiday


@lean("QuantConnect", "TradingCalendar")
class TradingCalendar(LeanObject):
    """`self.trading_calendar`: LEAN calls a day a business day if banks and the exchange are open."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def get_trading_day(self, day: datetime | None = None) -> TradingDay:
        return self._day((to_utc(self._host.now) if day is None else day).date())

    def get_trading_days(self, start: datetime, end: datetime) -> Enumerable:
        ordinals = range(start.toordinal(), end.toordinal() + 1)
        return Enumerable([self._day(date.fromordinal(ordinal)) for ordinal in ordinals])

    def _day(self, day: date) -> TradingDay:
        known = len(self._host.portfolio.active()) > 0
        return TradingDay(day, known and not self._host.calendar.is_session(day))


_MONDAYS = {(1, 3), (2, 3), (9, 1), (10, 2)}
"""(month, which Monday) of Martin Luther King's and Washington's birthdays, Labor Day, Columbus Day."""
_DATES = {(1, 1), (7, 4), (11, 11), (12, 25)}


def _is_federal_holiday(day: date) -> bool:
    """Whether US banks are closed: LEAN asks QLNet's settlement calendar, since 1998 these days."""
    weekday, week = day.weekday(), (day.day - 1) // 7 + 1
    if weekday == 0 and ((day.month, week) in _MONDAYS or (day.month == 5 and day.day >= 25)):
        return True
    if weekday == 3 and (day.month, week) == (11, 4):
        return True
    observed = {0: (0, -1), 4: (0, 1)}.get(weekday, (0,))  # a Sunday's holiday on Monday, a Saturday's on Friday
    near = (day + timedelta(days=shift) for shift in observed)
    return any(
        (other.month, other.day) in _DATES or ((other.month, other.day) == (6, 19) and other.year >= 2022)
        for other in near
    )


@lean("QuantConnect.Data", "InterestRateProvider")
class InterestRateProvider(LeanObject):
    """`self.risk_free_interest_rate_model`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def get_interest_rate(self, date: datetime) -> float:
        return to_double(rate_on(self._host.data.interest_rates())(date.date()))


# --- securities and holdings


def _model(namespace: str, name: str, python_name: str = "") -> LeanObject:
    """One of LEAN's default models, known by its name alone."""
    model: LeanObject = lean(namespace, name, python_name)(type(name, (LeanObject,), {"__slots__": ()}))()
    return model


_MARGIN_MODEL = _model("QuantConnect.Securities", "SecurityMarginModel")
MODELS = {
    "buying_power_model": _MARGIN_MODEL,
    "fee_model": _model("QuantConnect.Orders.Fees", "InteractiveBrokersFeeModel"),
    "fill_model": _model("QuantConnect.Orders.Fills", "EquityFillModel"),
    "margin_model": _MARGIN_MODEL,
    "settlement_model": _model("QuantConnect.Securities", "ImmediateSettlementModel"),
    "slippage_model": _model("QuantConnect.Orders.Slippage", "NullSlippageModel"),
    "volatility_model": _model("QuantConnect.Securities", "VolatilityModel+NullVolatilityModel", "NullVolatilityModel"),
}


@lean("QuantConnect.Securities.Equity", "Equity")
class SecurityView(LeanObject):
    """A security as the algorithm sees it: doubles in place of decimals, and whatever the algorithm hangs on it."""

    __slots__ = ("_host", "_inner")
    type = SecurityType.EQUITY

    def __init__(self, host: "Engine", inner: Security):
        object.__setattr__(self, "_host", host)
        object.__setattr__(self, "_inner", inner)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            own = self._host.own_attributes.get(self._inner.symbol.sid, {})
            if name in own:
                return own[name]
            return MODELS[name] if name in MODELS else super().__getattr__(name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in members("Equity"):
            raise NotInHost(f"Equity.{name} = ...")
        self._host.own_attributes.setdefault(self._inner.symbol.sid, {})[name] = value

    def __str__(self) -> str:
        return str(self._inner.symbol)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecurityView) and other._inner is self._inner

    def __hash__(self) -> int:
        return hash(self._inner.symbol)

    @property
    def symbol(self) -> Symbol:
        return self._inner.symbol

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
    def resolution(self) -> Resolution:
        return Resolution.DAILY

    @property
    def local_time(self) -> datetime:
        return self._host.now

    @property
    def exchange(self) -> EquityExchange:
        return EquityExchange(self._host)

    @property
    def data_normalization_mode(self) -> DataNormalizationMode:
        feed = self._inner.feed
        raw = feed is not None and not feed.adjusted
        return DataNormalizationMode.RAW if raw else DataNormalizationMode.ADJUSTED

    @property
    def holdings(self) -> "HoldingView":
        return HoldingView(self._inner)

    @property
    def invested(self) -> bool:
        return self._inner.quantity != 0

    @property
    def hold_stock(self) -> bool:
        return self._inner.quantity != 0


@lean("QuantConnect.Securities.Equity", "EquityHolding")
class HoldingView(LeanObject):
    """`self.portfolio[symbol]`."""

    __slots__ = ("_inner",)
    type = SecurityType.EQUITY

    def __init__(self, inner: Security):
        self._inner = inner

    def __str__(self) -> str:
        inner = self._inner
        return f"{inner.symbol.value}: {inner.quantity} @ {text(inner.average_price)}"

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
    def hold_stock(self) -> bool:
        return self._inner.quantity != 0

    @property
    def is_long(self) -> bool:
        return self._inner.quantity > 0

    @property
    def is_short(self) -> bool:
        return self._inner.quantity < 0

    @property
    def leverage(self) -> float:
        return float(self._inner.leverage)

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
        return to_double(_cost(self._inner))

    @property
    def absolute_holdings_cost(self) -> float:
        return abs(self.holdings_cost)

    @property
    def unrealized_profit(self) -> float:
        return to_double(self._inner.unrealized_profit())

    @property
    def unrealized_profit_percent(self) -> float:
        cost = abs(_cost(self._inner))
        return to_double(divide(self._inner.unrealized_profit(), cost)) if cost else 0.0

    @property
    def profit(self) -> float:
        return to_double(self._inner.profit)

    @property
    def net_profit(self) -> float:
        return to_double(self._inner.profit - self._inner.total_fees)

    @property
    def last_trade_profit(self) -> float:
        return to_double(self._inner.last_trade_profit)

    @property
    def total_fees(self) -> float:
        return to_double(self._inner.total_fees)

    @property
    def total_sale_volume(self) -> float:
        return to_double(self._inner.sale_volume)


def _cost(security: Security) -> Decimal:
    return fit(security.quantity * security.average_price)


class _BySymbol(ExtendedDictionary):
    """Common to `self.securities` and `self.portfolio`: look-ups see all there ever were, iteration the active ones."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def _view(self, inner: Security) -> Any:
        raise NotImplementedError

    def __getitem__(self, key: Symbol | str) -> Any:
        return self._view(self._host.require(key))

    def get(self, key: Symbol | str, default: Any = None) -> Any:
        inner = self._host.find(key)
        return default if inner is None else self._view(inner)

    def items(self) -> list[tuple[Symbol, Any]]:
        return [(s.symbol, self._view(s)) for s in self._host.portfolio.active()]

    def __len__(self) -> int:
        return len(self._host.portfolio.active())


@lean("QuantConnect.Securities", "SecurityManager")
class SecurityManager(_BySymbol):
    """`self.securities`."""

    __slots__ = ()
    _pair_type = Members._pair_type

    def _view(self, inner: Security) -> SecurityView:
        return SecurityView(self._host, inner)


@lean("QuantConnect.Securities", "Cash")
class Cash(LeanObject):
    """The one currency of the host's accounts."""

    __slots__ = ("_host",)
    symbol = "USD"
    currency_symbol = "$"
    conversion_rate = 1.0

    def __init__(self, host: "Engine"):
        self._host = host

    @property
    def amount(self) -> float:
        return to_double(self._host.portfolio.cash)

    @property
    def value_in_account_currency(self) -> float:
        return self.amount


@lean("QuantConnect.Securities", "CashBook")
class CashBook(ExtendedDictionary):
    """`self.portfolio.cash_book`."""

    __slots__ = ("_host",)
    _pair_type = _pair("System.String", "QuantConnect.Securities.Cash")
    account_currency = "USD"

    def __init__(self, host: "Engine"):
        self._host = host

    def items(self) -> list[tuple[str, Cash]]:
        return [("USD", Cash(self._host))]

    def get(self, key: str, default: Any = None) -> Any:
        return Cash(self._host) if key == "USD" else default

    def _absent(self, key: str) -> Exception:
        return KeyNotFoundException(f"This cash symbol ({key}) was not found in your cash book.")

    @property
    def total_value_in_account_currency(self) -> float:
        return to_double(self._host.portfolio.cash)


@lean("QuantConnect.Securities", "SecurityPortfolioManager")
class SecurityPortfolioManager(_BySymbol):
    """`self.portfolio`."""

    __slots__ = ()
    _pair_type = _pair("QuantConnect.Symbol", "QuantConnect.Securities.SecurityHolding")

    def _view(self, inner: Security) -> HoldingView:
        return HoldingView(inner)

    def _positions(self) -> Iterator[Security]:
        return (s for s in self._host.portfolio.active() if s.quantity)

    @property
    def cash(self) -> float:
        return to_double(self._host.portfolio.cash)

    @property
    def unsettled_cash(self) -> float:
        return 0.0

    @property
    def cash_book(self) -> CashBook:
        return CashBook(self._host)

    @property
    def total_portfolio_value(self) -> float:
        return to_double(self._host.portfolio.total_value())

    @property
    def total_portfolio_value_less_free_buffer(self) -> float:
        total = self._host.portfolio.total_value()
        buffer = multiply(total, self._host.order_settings.free_portfolio_value_percentage)
        return to_double(total - buffer)

    @property
    def total_holdings_value(self) -> float:
        return to_double(sum((abs(s.quantity) * s.price for s in self._positions()), start=ZERO))

    @property
    def total_absolute_holdings_cost(self) -> float:
        return to_double(sum((abs(_cost(s)) for s in self._positions()), start=ZERO))

    @property
    def total_fees(self) -> float:
        return to_double(self._host.portfolio.total_fees)

    @property
    def total_unrealized_profit(self) -> float:
        return to_double(sum((s.unrealized_profit() for s in self._positions()), start=ZERO))

    @property
    def total_unrealised_profit(self) -> float:
        return self.total_unrealized_profit

    @property
    def total_profit(self) -> float:
        return to_double(self._host.portfolio.total_profit())

    @property
    def total_net_profit(self) -> float:
        portfolio = self._host.portfolio
        return to_double(portfolio.total_profit() - portfolio.total_fees)

    @property
    def total_sale_volume(self) -> float:
        ever = self._host.portfolio.registry.values()
        return to_double(sum((s.sale_volume for s in ever), start=ZERO))

    @property
    def total_margin_used(self) -> float:
        return to_double(self._host.portfolio.margin_used())

    @property
    def margin_remaining(self) -> float:
        return to_double(self._host.portfolio.margin_remaining())

    @property
    def invested(self) -> bool:
        return any(True for _ in self._positions())

    @property
    def hold_stock(self) -> bool:
        return self.invested


# --- orders


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)


class OrderView(LeanObject):
    """An order as it goes on. Times are UTC."""

    __slots__ = ("_order",)
    security_type = SecurityType.EQUITY

    def __init__(self, order: Order):
        self._order = order

    def __str__(self) -> str:
        """LEAN's log line of the order."""
        order = self._order
        units = "unit" if order.quantity == 1 else "units"
        tag = f": {order.tag}" if order.tag else ""
        return (
            f"OrderId: {order.id} (BrokerId: {order.broker_id}) {order.status.net_name} {order.type.net_name} order "
            f"for {order.quantity} {units} of {order.symbol}{tag}"
        )

    @property
    def id(self) -> int:
        return self._order.id

    @property
    def broker_id(self) -> list[str]:
        return [self._order.broker_id] if self._order.broker_id else []

    @property
    def symbol(self) -> Symbol:
        return self._order.symbol

    @property
    def quantity(self) -> float:
        return float(self._order.quantity)

    @property
    def absolute_quantity(self) -> float:
        return float(abs(self._order.quantity))

    @property
    def direction(self) -> OrderDirection:
        return OrderDirection.BUY if self._order.quantity > 0 else OrderDirection.SELL

    @property
    def price(self) -> float:
        return to_double(self._order.price)

    @property
    def price_currency(self) -> str:
        return self._order.price_currency

    @property
    def value(self) -> float:
        return to_double(fit(self._order.price * self._order.quantity))

    @property
    def status(self) -> OrderStatus:
        return self._order.status

    @property
    def type(self) -> OrderType:
        return self._order.type

    @property
    def tag(self) -> str:
        return self._order.tag

    @property
    def time(self) -> datetime | None:
        return _utc(self._order.time)

    @property
    def created_time(self) -> datetime | None:
        return _utc(self._order.time)

    @property
    def last_fill_time(self) -> datetime | None:
        return _utc(self._order.last_fill_time)

    @property
    def last_update_time(self) -> datetime | None:
        return _utc(self._order.last_update_time)

    @property
    def canceled_time(self) -> datetime | None:
        return _utc(self._order.canceled_time)


_ORDERS: dict[OrderType, type[OrderView]] = {
    kind: lean("QuantConnect.Orders", f"{kind.net_name}Order")(type("Order", (OrderView,), {"__slots__": ()}))
    for kind in (OrderType.MARKET, OrderType.MARKET_ON_OPEN, OrderType.MARKET_ON_CLOSE)
}


def order_view(order: Order) -> OrderView:
    return _ORDERS[order.type](order)


@lean("QuantConnect.Orders", "OrderResponse")
class OrderResponse(LeanObject):
    """What `ticket.cancel()` returns."""

    __slots__ = ("is_success", "order_id")
    is_processed = True

    def __init__(self, order: Order, is_success: bool):
        self.order_id = order.id
        self.is_success = is_success

    @property
    def is_error(self) -> bool:
        return not self.is_success


@lean("QuantConnect.Orders", "OrderTicket")
class OrderTicket(LeanObject):
    """What the order calls return: an order as it goes on."""

    __slots__ = ("_host", "_order")
    security_type = SecurityType.EQUITY

    def __init__(self, host: "Engine", order: Order):
        self._host = host
        self._order = order

    def __str__(self) -> str:
        order = self._order
        cancelled = order.canceled_time is not None or order.status == OrderStatus.CANCEL_PENDING
        counts = "Request Count: {0} Response Count: {0}".format(2 if cancelled else 1)
        shown = f"{order_view(order)} " if order.id > 0 else ""
        return f"{order.id}: {shown}{counts}"

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
    def quantity_remaining(self) -> float:
        return self.quantity - self.quantity_filled

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
    def time(self) -> datetime | None:
        return _utc(self._order.time)

    def cancel(self, tag: str | None = None) -> OrderResponse:
        return OrderResponse(self._order, self._host.brokerage.cancel(self._order, tag))


@lean("QuantConnect.Securities", "CashAmount")
class CashAmount(LeanObject):
    """An amount of a currency; LEAN calls the one of what costs nothing QCC."""

    __slots__ = ("_exact", "currency")

    def __init__(self, exact: Decimal | None):
        self._exact = normalise(exact or ZERO)
        self.currency = "QCC" if exact is None else "USD"

    @property
    def amount(self) -> float:
        return to_double(self._exact)

    def __str__(self) -> str:
        return f"{text(self._exact)} {self.currency}"


@lean("QuantConnect.Orders.Fees", "OrderFee")
class OrderFee(LeanObject):
    """`order_event.order_fee`."""

    __slots__ = ("value",)

    def __init__(self, amount: Decimal | None):
        self.value = CashAmount(amount)

    def __str__(self) -> str:
        return str(self.value)


@lean("QuantConnect.Orders", "OrderEvent")
class OrderEventView(LeanObject):
    """What `on_order_event` receives; its text is LEAN's log line."""

    __slots__ = ("_event", "_host")
    is_assignment = False

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
        return self._event.time.replace(tzinfo=UTC)

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
    def fill_price_currency(self) -> str:
        return self._event.order.price_currency

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


Filter = Callable[[Any], bool]


@lean("QuantConnect.Securities", "SecurityTransactionManager")
class SecurityTransactionManager(LeanObject):
    """`self.transactions`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    @property
    def orders_count(self) -> int:
        return len(self._host.brokerage.orders)

    @property
    def last_order_id(self) -> int:
        return len(self._host.brokerage.orders)

    def get_open_orders(self, wanted: Symbol | str | Filter | None = None) -> list[OrderView]:
        """Of a symbol, of all that a filter takes, or all."""
        return _chosen([order_view(order) for order in self._host.brokerage.open_orders()], wanted)

    def get_open_order_tickets(self, wanted: Symbol | str | Filter | None = None) -> list[OrderTicket]:
        return _chosen(self._host.tickets(self._host.brokerage.open_orders()), wanted)

    def get_orders(self, wanted: Filter | None = None) -> list[OrderView]:
        return _chosen([order_view(order) for order in self._host.brokerage.orders], wanted)

    def get_order_tickets(self, wanted: Filter | None = None) -> list[OrderTicket]:
        return _chosen(self._host.tickets(self._host.brokerage.orders), wanted)

    def get_order_by_id(self, order_id: int) -> OrderView | None:
        order = self._order(order_id)
        return None if order is None else order_view(order)

    def get_order_ticket(self, order_id: int) -> OrderTicket | None:
        order = self._order(order_id)
        return None if order is None else OrderTicket(self._host, order)

    def _order(self, order_id: int) -> Order | None:
        orders = self._host.brokerage.orders
        return orders[order_id - 1] if 0 < order_id <= len(orders) else None

    def cancel_open_orders(self, symbol: Symbol | str | None = None, tag: str | None = None) -> list[OrderTicket]:
        orders = self._host.brokerage.open_orders(None if symbol is None else SYMBOLS.symbol(symbol))
        for order in orders:
            self._host.brokerage.cancel(order, tag)
        return self._host.tickets(orders)


def _chosen(found: list[Any], wanted: Symbol | str | Filter | None) -> list[Any]:
    if wanted is None:
        return found
    if isinstance(wanted, (Symbol, str)):
        symbol = SYMBOLS.symbol(wanted)
        return [entry for entry in found if entry.symbol == symbol]
    return [entry for entry in found if wanted(entry)]


# --- data


class _Event(LeanObject):
    """Common to what happens to a security at 00:00 of a day."""

    __slots__ = ("symbol", "time", "value")

    def __init__(self, symbol: Symbol, time: datetime, value: float):
        self.symbol = symbol
        self.time = time
        self.value = value

    @property
    def end_time(self) -> datetime:
        return self.time

    @property
    def price(self) -> float:
        return self.value


@lean("QuantConnect.Data.Market", "Delisting")
class Delisting(_Event):
    """A delisting warning, or the delisting itself."""

    __slots__ = ("type",)

    def __init__(self, symbol: Symbol, kind: DelistingType, price: float, time: datetime):
        super().__init__(symbol, time, price)
        self.type = kind

    def __str__(self) -> str:
        kind = "Delisting Warning" if self.type == DelistingType.WARNING else "Delisted"
        return f"{kind}: {self.symbol} {self.time:%m/%d/%Y %H:%M:%S}"


@lean("QuantConnect.Data.Market", "Dividend")
class Dividend(_Event):
    """A cash dividend; distribution is dollars a share."""

    __slots__ = ("reference_price",)

    def __init__(self, symbol: Symbol, distribution: float, reference_price: float, time: datetime):
        super().__init__(symbol, time, distribution)
        self.reference_price = reference_price

    @property
    def distribution(self) -> float:
        return self.value


@lean("QuantConnect.Data.Market", "Split")
class Split(_Event):
    """A split; split_factor is new price over old."""

    __slots__ = ("reference_price", "split_factor")
    type = SplitType.SPLIT_OCCURRED

    def __init__(self, symbol: Symbol, factor: float, reference_price: float, time: datetime):
        super().__init__(symbol, time, reference_price)
        self.split_factor = factor
        self.reference_price = reference_price


@lean("QuantConnect.Data.Market", "SymbolChangedEvent")
class SymbolChangedEvent(_Event):
    """A change of ticker."""

    __slots__ = ("new_symbol", "old_symbol")

    def __init__(self, symbol: Symbol, old: str, new: str, time: datetime):
        super().__init__(symbol, time, 0.0)
        self.old_symbol = old
        self.new_symbol = new


class DataDictionary(ExtendedDictionary):
    """A part of a slice, by symbol."""

    __slots__ = ("_data",)
    _pair_type = _pair("QuantConnect.Symbol", "QuantConnect.Data.BaseData")

    def __init__(self) -> None:
        self._data: dict[Symbol, Any] = {}

    def __setitem__(self, symbol: Symbol, value: Any) -> None:
        self._data[symbol] = value

    def items(self) -> list[tuple[Symbol, Any]]:
        return list(self._data.items())

    def get(self, key: Symbol | str, default: Any = None) -> Any:
        return self._data.get(SYMBOLS.symbol(key), default)

    def __len__(self) -> int:
        return len(self._data)

    def _absent(self, key: Symbol | str) -> Exception:
        return no_data(key, self._lean_name)


def no_data(key: Symbol | str, place: str) -> KeyNotFoundException:
    """LEAN's complaint about a symbol that a slice, or a part of it, knows nothing of."""
    return KeyNotFoundException(
        f"'{SYMBOLS.symbol(key)}' wasn't found in the {place} object, likely because there was no-data at this moment "
        "in time and it wasn't possible to fillforward historical data. To prevent the exception, use "
        "data.get(symbol), which returns None when the symbol is not found, or guard the access with 'if symbol in "
        "data:'."
    )


@lean("QuantConnect.Data.Market", "TradeBars")
class TradeBars(DataDictionary):
    __slots__ = ()


@lean(
    "QuantConnect.Data.Market", "DataDictionary`1[QuantConnect.Data.Market.TradeBar]", "DataDictionary[TradeBar]"
)
class BarDictionary(DataDictionary):
    """The bars of one moment in `self.history[TradeBar](symbols, ...)`."""

    __slots__ = ()


@lean("QuantConnect.Data.Market", "Dividends")
class Dividends(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data.Market", "Splits")
class Splits(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data.Market", "Delistings")
class Delistings(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data.Market", "SymbolChangedEvents")
class SymbolChangedEvents(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data", "Slice")
class Slice(ExtendedDictionary):
    """What `on_data` receives; the bars are made when they are looked at."""

    __slots__ = ("_bars", "_views", "delistings", "dividends", "splits", "symbol_changed_events", "time")
    _pair_type = DataDictionary._pair_type

    def __init__(self, time: datetime, securities: Iterable[Security] = ()):
        self.time = time
        self._bars = list(securities)
        self._views: TradeBars | None = None
        self.dividends = Dividends()
        self.splits = Splits()
        self.delistings = Delistings()
        self.symbol_changed_events = SymbolChangedEvents()

    @property
    def utc_time(self) -> datetime:
        return to_utc(self.time).replace(tzinfo=UTC)

    @property
    def bars(self) -> TradeBars:
        if self._views is None:
            self._views = TradeBars()
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

    def items(self) -> list[tuple[Symbol, TradeBar]]:
        return self.bars.items()

    def get(self, key: Symbol | str, default: Any = None) -> Any:
        return self.bars.get(key, default)

    def _absent(self, key: Symbol | str) -> Exception:
        return no_data(key, "Slice")
