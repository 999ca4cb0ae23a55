"""Orders and order events, with LEAN's JSON and the hash of the order list."""

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from minilean.decimals import EXACT, ZERO, normalise, number, smart, text
from minilean.enums import OrderStatus, OrderType
from minilean.symbols import Symbol

_STATUS_NAMES = {status: "".join(part.capitalize() for part in status.name.split("_")) for status in OrderStatus}
CLOSED = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.INVALID})


@dataclass(slots=True, eq=False)
class Order:
    """One order. Times are naive UTC, quantities signed whole shares, prices decimals with LEAN's scale."""

    id: int
    type: OrderType
    symbol: Symbol
    quantity: int
    time: datetime
    tag: str = ""
    status: OrderStatus = OrderStatus.NEW
    price: Decimal = ZERO
    price_currency: str = "USD"
    broker_id: str = ""
    submission_price: Decimal | None = None
    raw_prices: bool = False
    last_fill_time: datetime | None = None
    last_update_time: datetime | None = None
    canceled_time: datetime | None = None
    events: int = field(default=0, repr=False)

    @property
    def is_open(self) -> bool:
        return self.status not in CLOSED


@dataclass(slots=True, frozen=True)
class OrderEvent:
    """One change of an order. time is naive UTC; fee is None where LEAN charges none."""

    order: Order
    id: int
    time: datetime
    status: OrderStatus
    quantity: int
    fill_price: Decimal = ZERO
    fill_quantity: int = 0
    fee: Decimal | None = None
    message: str = ""

    def __str__(self) -> str:
        """LEAN's log line of the event."""
        shown = (
            f"Time: {self.time:%m/%d/%Y %H:%M:%S} OrderID: {self.order.id} EventID: {self.id} "
            f"Symbol: {self.order.symbol.value} Status: {_STATUS_NAMES[self.status]} Quantity: {self.quantity}"
        )
        if self.fill_quantity:
            sign = "$" if self.order.price_currency else ""
            shown += f" FillQuantity: {self.fill_quantity} FillPrice: {sign}{text(normalise(smart(self.fill_price)))}"
        if self.fee:
            shown += f" OrderFee: {text(normalise(self.fee))} USD"
        return shown + (f" Message: {self.message}" if self.message else "")


def order_json(order: Order, *, rounded: bool, indent: str | None = None) -> str:
    """LEAN's JSON of one order.

    rounded: price SmartRounded, as in the order list hash; otherwise as in the result file.
    indent: what stands before its closing brace when it is laid out over lines; None writes no whitespace.
    """
    price = smart(order.price) if rounded else order.price
    value = EXACT.multiply(price, order.quantity)
    optional = (
        ("lastFillTime", order.last_fill_time),
        ("lastUpdateTime", order.last_update_time),
        ("canceledTime", order.canceled_time),
    )
    to, end, line, inner = ":", "", "", ""
    if indent is not None:
        to, end, line, inner = ": ", f"\n{indent}", f"\n{indent}  ", f"\n{indent}    "
    ticker = quoted(order.symbol.value)
    broker = f"[{inner}{quoted(order.broker_id)}{line}]" if order.broker_id else "[]"
    submission = "null"
    if order.submission_price is not None:
        p = number(order.submission_price)
        submission = f'{{{inner}"bidPrice"{to}{p},{inner}"askPrice"{to}{p},{inner}"lastPrice"{to}{p}{line}}}'
    return (
        f'{{{line}"type"{to}{int(order.type)},{line}"id"{to}{order.id},{line}"contingentId"{to}0,'
        f'{line}"brokerId"{to}{broker},{line}"symbol"{to}{{{inner}"value"{to}{ticker},'
        f'{inner}"id"{to}{quoted(order.symbol.sid)},{inner}"permtick"{to}{ticker}{line}}},'
        f'{line}"price"{to}{number(price)},{line}"priceCurrency"{to}{quoted(order.price_currency)},'
        f'{line}"time"{to}"{iso(order.time)}",{line}"createdTime"{to}"{iso(order.time)}",'
        + "".join(f'{line}"{name}"{to}"{iso(when)}",' for name, when in optional if when)
        + f'{line}"quantity"{to}{order.quantity}.0,{line}"status"{to}{int(order.status)},'
        f'{line}"tag"{to}{quoted(order.tag)},{line}"properties"{to}{{{inner}"timeInForce"{to}{{}}{line}}},'
        f'{line}"securityType"{to}1,{line}"direction"{to}{0 if order.quantity > 0 else 1},'
        f'{line}"value"{to}{number(value) if value else "0.0"},{line}"orderSubmissionData"{to}{submission},'
        f'{line}"isMarketable"{to}{"true" if order.type == OrderType.MARKET else "false"},'
        f'{line}"priceAdjustmentMode"{to}{0 if order.raw_prices else 1}{end}}}'
    )


def order_list_hash(orders: Iterable[Order]) -> str:
    """MD5 over the JSON of all orders by id: LEAN's `OrderListHash`."""
    joined = ",".join(order_json(order, rounded=True) for order in orders)
    return hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()


@functools.lru_cache(maxsize=1024)
def quoted(text: str) -> str:
    """JSON of a text: there are few, and each comes often."""
    return json.dumps(text)


@functools.lru_cache(maxsize=1024)
def iso(time: datetime) -> str:
    """UTC text as LEAN writes it: fractions only where there are any, without trailing zeros."""
    written = time.isoformat()
    return (written.rstrip("0") if time.microsecond else written) + "Z"
