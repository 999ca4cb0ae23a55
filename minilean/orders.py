"""Orders and order events, with LEAN's JSON and the hash of the order list."""

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

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


@dataclass(slots=True)
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
    layout = _layout(indent)
    ticker, placed = quoted(order.symbol.value), iso(order.time)
    submission = "null"
    if order.submission_price is not None:
        bid = number(order.submission_price)
        submission = layout.submission % (bid, bid, bid)
    return layout.order % (
        order.type,
        order.id,
        layout.broker % quoted(order.broker_id) if order.broker_id else "[]",
        ticker,
        quoted(order.symbol.sid),
        ticker,
        number(price),
        quoted(order.price_currency),
        placed,
        placed,
        layout.time % ("lastFillTime", iso(order.last_fill_time)) if order.last_fill_time else "",
        layout.time % ("lastUpdateTime", iso(order.last_update_time)) if order.last_update_time else "",
        layout.time % ("canceledTime", iso(order.canceled_time)) if order.canceled_time else "",
        order.quantity,
        order.status,
        quoted(order.tag),
        0 if order.quantity > 0 else 1,
        number(value) if value else "0.0",
        submission,
        "true" if order.type == OrderType.MARKET else "false",
        0 if order.raw_prices else 1,
    )


class _Layout(NamedTuple):
    """Templates of an order's JSON."""

    order: str
    broker: str
    time: str
    submission: str


@functools.cache
def _layout(indent: str | None) -> _Layout:
    """indent: as for `order_json`."""
    to, end, line, inner = ":", "", "", ""
    if indent is not None:
        to, end, line, inner = ": ", f"\n{indent}", f"\n{indent}  ", f"\n{indent}    "
    return _Layout(
        order=(
            f'{{{line}"type"{to}%d,{line}"id"{to}%d,{line}"contingentId"{to}0,{line}"brokerId"{to}%s,'
            f'{line}"symbol"{to}{{{inner}"value"{to}%s,{inner}"id"{to}%s,{inner}"permtick"{to}%s{line}}},'
            f'{line}"price"{to}%s,{line}"priceCurrency"{to}%s,{line}"time"{to}"%s",{line}"createdTime"{to}"%s",%s%s%s'
            f'{line}"quantity"{to}%d.0,{line}"status"{to}%d,'
            f'{line}"tag"{to}%s,{line}"properties"{to}{{{inner}"timeInForce"{to}{{}}{line}}},'
            f'{line}"securityType"{to}1,{line}"direction"{to}%d,{line}"value"{to}%s,'
            f'{line}"orderSubmissionData"{to}%s,{line}"isMarketable"{to}%s,{line}"priceAdjustmentMode"{to}%d{end}}}'
        ),
        broker=f"[{inner}%s{line}]",
        time=f'{line}"%s"{to}"%s",',
        submission=f'{{{inner}"bidPrice"{to}%s,{inner}"askPrice"{to}%s,{inner}"lastPrice"{to}%s{line}}}',
    )


def order_list_hash(orders: Iterable[Order]) -> str:
    """MD5 over the JSON of all orders by id: LEAN's `OrderListHash`."""
    digest = hashlib.md5(usedforsecurity=False)
    before = ""
    for order in orders:
        digest.update(f"{before}{order_json(order, rounded=True)}".encode())
        before = ","
    return digest.hexdigest()


@functools.lru_cache(maxsize=1024)
def iso(time: datetime) -> str:
    """UTC text as LEAN writes it: fractions only where there are any, without trailing zeros."""
    written = time.isoformat()
    return (written.rstrip("0") if time.microsecond else written) + "Z"
