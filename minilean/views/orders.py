"""Orders, tickets and order events."""

from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from minilean.decimals import ZERO, fit, normalise, text, to_double
from minilean.enums import OrderDirection, OrderStatus, OrderType, SecurityType
from minilean.members import LeanObject, lean
from minilean.orders import Order, OrderEvent
from minilean.symbols import SYMBOLS, Symbol

if TYPE_CHECKING:
    from minilean.engine import Engine


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)


class _AnOrder(LeanObject):
    """What an order and its ticket both tell. Times are UTC."""

    __slots__ = ("_order",)
    security_type = SecurityType.EQUITY

    def __init__(self, order: Order):
        self._order = order

    @property
    def symbol(self) -> Symbol:
        return self._order.symbol

    @property
    def quantity(self) -> float:
        return float(self._order.quantity)

    @property
    def status(self) -> OrderStatus:
        return self._order.status

    @property
    def tag(self) -> str:
        return self._order.tag

    @property
    def time(self) -> datetime | None:
        return _utc(self._order.time)


class OrderView(_AnOrder):
    """An order as it stood when it was asked for."""

    __slots__ = ()

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
    def type(self) -> OrderType:
        return self._order.type

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
    """An order as it stands now; as in LEAN it does not go on, a ticket does."""
    return _ORDERS[order.type](copy(order))


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
class OrderTicket(_AnOrder):
    """What the order calls return: an order as it goes on."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine", order: Order):
        super().__init__(order)
        self._host = host

    def __str__(self) -> str:
        order = self._order
        cancelled = order.canceled_time is not None or order.status == OrderStatus.CANCEL_PENDING
        count = 2 if cancelled else 1
        shown = f"{order_view(order)} " if order.id > 0 else ""
        return f"{order.id}: {shown}Request Count: {count} Response Count: {count}"

    @property
    def order_id(self) -> int:
        return self._order.id

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

    def get_open_orders(self, filter: Symbol | str | Filter | None = None) -> list[OrderView]:
        """Of a symbol, of all that a filter takes, or all."""
        return _chosen([order_view(order) for order in self._host.brokerage.open_orders()], filter)

    def get_open_order_tickets(self, filter: Symbol | str | Filter | None = None) -> list[OrderTicket]:
        return _chosen(self._host.tickets(self._host.brokerage.open_orders()), filter)

    def get_orders(self, filter: Filter | None = None) -> list[OrderView]:
        return _chosen([order_view(order) for order in self._host.brokerage.orders], filter)

    def get_order_tickets(self, filter: Filter | None = None) -> list[OrderTicket]:
        return _chosen(self._host.tickets(self._host.brokerage.orders), filter)

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
