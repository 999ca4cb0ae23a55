"""Securities, positions and cash."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from minilean.decimals import ZERO, divide, fit, from_float, multiply, text, to_double
from minilean.enums import DataNormalizationMode, Resolution, SecurityType
from minilean.errors import NotInHost
from minilean.members import LeanObject, lean, members
from minilean.securities import Security
from minilean.symbols import Symbol
from minilean.system import ArgumentException, KeyNotFoundException
from minilean.views.calendars import EquityExchange
from minilean.views.collections import ExtendedDictionary, pair

if TYPE_CHECKING:
    from minilean.engine import Engine


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


class _ASecurity(LeanObject):
    """What a security and its holding both tell."""

    __slots__ = ("_inner",)
    _inner: Security
    type = SecurityType.EQUITY

    @property
    def symbol(self) -> Symbol:
        return self._inner.symbol

    @property
    def price(self) -> float:
        return to_double(self._inner.price)

    @property
    def leverage(self) -> float:
        return float(self._inner.leverage)

    @property
    def invested(self) -> bool:
        return self._inner.quantity != 0

    @property
    def hold_stock(self) -> bool:
        return self._inner.quantity != 0


@lean("QuantConnect.Securities.Equity", "Equity")
class SecurityView(_ASecurity):
    """A security as the algorithm sees it: doubles in place of decimals, and whatever the algorithm hangs on it."""

    __slots__ = ("_host",)
    _host: "Engine"

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
        return to_double(self._inner.volume)

    @property
    def has_data(self) -> bool:
        return self._inner.has_data

    @property
    def is_tradable(self) -> bool:
        return self._inner.is_tradable

    @property
    def is_delisted(self) -> bool:
        return self._inner.is_delisted

    def set_leverage(self, leverage: float) -> None:
        if leverage < 1:
            raise ArgumentException("Leverage must be greater than or equal to 1.")
        self._inner.leverage = from_float(leverage)
        self._host.portfolio.revalue()

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


@lean("QuantConnect.Securities.Equity", "EquityHolding")
class HoldingView(_ASecurity):
    """`self.portfolio[symbol]`."""

    __slots__ = ()

    def __init__(self, inner: Security):
        self._inner = inner

    def __str__(self) -> str:
        inner = self._inner
        return f"{inner.symbol.value}: {inner.quantity} @ {text(inner.average_price)}"

    @property
    def quantity(self) -> float:
        return float(self._inner.quantity)

    @property
    def absolute_quantity(self) -> float:
        return float(abs(self._inner.quantity))

    @property
    def is_long(self) -> bool:
        return self._inner.quantity > 0

    @property
    def is_short(self) -> bool:
        return self._inner.quantity < 0

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
        return to_double(self._inner.profit + self._inner.dividends)

    @property
    def net_profit(self) -> float:
        return to_double(self._inner.profit + self._inner.dividends - self._inner.total_fees)

    @property
    def total_dividends(self) -> float:
        return to_double(self._inner.dividends)

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


SECURITY_PAIR = pair("QuantConnect.Symbol", "QuantConnect.Securities.Security")


class _BySymbol(ExtendedDictionary):
    """Common to `self.securities` and `self.portfolio`: look-ups see all there ever were, iteration the active ones."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def __setattr__(self, name: str, value: object) -> None:
        if name in members(self._lean_name):
            raise NotInHost(f"{type(self).__name__}.{name} = ...")
        object.__setattr__(self, name, value)

    def _view(self, inner: Security) -> Any:
        raise NotImplementedError

    def __getitem__(self, key: Symbol | str) -> Any:
        return self._view(self._host.require(key))

    def get(self, key: Symbol | str, default_value: Any = None) -> Any:
        inner = self._host.find(key)
        return default_value if inner is None else self._view(inner)

    def __contains__(self, key: Symbol | str) -> bool:
        return self._host.find(key) is not None

    def items(self) -> list[tuple[Symbol, Any]]:
        return [(s.symbol, self._view(s)) for s in self._host.portfolio.active()]

    def __len__(self) -> int:
        return len(self._host.portfolio.active())


@lean("QuantConnect.Securities", "SecurityManager")
class SecurityManager(_BySymbol):
    """`self.securities`."""

    __slots__ = ()
    _pair_type = SECURITY_PAIR

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
    _pair_type = pair("System.String", "QuantConnect.Securities.Cash")
    account_currency = "USD"

    def __init__(self, host: "Engine"):
        self._host = host

    def items(self) -> list[tuple[str, Cash]]:
        return [("USD", Cash(self._host))]

    def get(self, key: str, default_value: Any = None) -> Any:
        return Cash(self._host) if key == "USD" else default_value

    def _absent(self, key: str) -> Exception:
        return KeyNotFoundException(f"This cash symbol ({key}) was not found in your cash book.")

    @property
    def total_value_in_account_currency(self) -> float:
        return to_double(self._host.portfolio.cash)


@lean("QuantConnect.Securities", "SecurityPortfolioManager")
class SecurityPortfolioManager(_BySymbol):
    """`self.portfolio`."""

    __slots__ = ()
    _pair_type = pair("QuantConnect.Symbol", "QuantConnect.Securities.SecurityHolding")

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
