"""Closed trades from fills: fill to fill, first in first out, one book of lots a security."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from minilean.decimals import ONE, ZERO, divide, fit, multiply, normalise, round_half_even
from minilean.orders import OrderEvent
from minilean.securities import Security
from minilean.symbols import Symbol

_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class Trade:
    """One lot, or part of a lot, from its entry to its exit. Times are naive UTC, money is in dollars.

    profit_loss, mae, mfe and end_trade_drawdown are before fees and rounded to cents; direction is 1 long, -1 short.
    """

    symbol: Symbol
    entry_time: datetime
    entry_price: Decimal
    direction: int
    quantity: Decimal
    exit_time: datetime
    exit_price: Decimal
    profit_loss: Decimal
    total_fees: Decimal
    mae: Decimal
    mfe: Decimal
    end_trade_drawdown: Decimal
    order_ids: tuple[int, int]

    @property
    def ticks(self) -> int:
        """Duration in .NET's ticks of 100 ns."""
        return (self.exit_time - self.entry_time) // _MICROSECOND * 10


@dataclass(slots=True)
class _Stretch:
    """Prices that were marked in a row: the highest, the lowest, and the deepest fall from a highest so far.

    Each knows the next one, so those that no open lot has yet to learn of are forgotten.
    """

    highest: Decimal
    lowest: Decimal
    fall: Decimal = ZERO
    next: "_Stretch | None" = None


@dataclass(slots=True)
class _Lot:
    time: datetime
    price: Decimal
    quantity: Decimal
    fee: Decimal
    order_id: int
    seen: _Stretch
    """The last one that the two fields below know of."""
    best: Decimal = ZERO
    drawdown: Decimal = ZERO


class _Book:
    """The open lots of one security, oldest first, and the prices marked since the oldest one opened.

    All prices of a short book are negative, so that more is better in either direction.
    Lots learn of the marks only when they close, by stretches: from one fill to the next whatever the number of bars.
    position: of the last session whose close is among the marks.
    """

    __slots__ = ("direction", "highest", "last", "lots", "lowest", "position")

    def __init__(self, direction: int, price: Decimal, position: int):
        self.direction = direction
        self.highest = self.lowest = price * direction
        self.lots: list[_Lot] = []
        self.last = _Stretch(self.highest, self.lowest)
        self.position = position

    def follow_bars(self, security: Security) -> None:
        """Mark the closes that have come since the last time."""
        closes = self._closes(security)
        if closes is not None:
            self._add(closes)

    def has_to_come(self, security: Security) -> bool:
        """Whether the price is the last of the closes that are still to be marked: splits change raw ones."""
        feed, position = security.feed, security.position
        if feed is None or not feed.adjusted or position <= self.position or not feed.fresh[position]:
            return False
        return security.price == feed.closes[position] * ONE.scaleb(-feed.places)

    def mark(self, price: Decimal) -> None:
        price *= self.direction
        self._add(_Stretch(price, price))

    def follow_to(self, security: Security, price: Decimal) -> None:
        """Mark the closes that have come since the last time, and then a price."""
        closes = self._closes(security)
        if closes is None:
            self.mark(price)
        elif price == round_half_even(price, 1):
            self._add(closes)
            self.mark(price)
        else:  # one stretch: with cents no text shows which of equal prices was the first
            price *= self.direction
            closes.fall = max(closes.fall, closes.highest - price)
            closes.highest, closes.lowest = max(closes.highest, price), min(closes.lowest, price)
            self._add(closes)

    def _closes(self, security: Security) -> _Stretch | None:
        """The closes that have come since the last time."""
        feed, position = security.feed, security.position
        if feed is None or position <= self.position:
            return None
        closes = feed.fresh_closes(self.position, position)
        self.position = position
        if not closes:
            return None
        if self.direction < 0:
            closes = [-close for close in closes]
        top, fall = closes[0], 0
        for close in closes:
            if close > top:
                top = close
            elif top - close > fall:
                fall = top - close
        unit = ONE.scaleb(-feed.places)
        return _Stretch(top * unit, min(closes) * unit, fall * unit)

    def _add(self, stretch: _Stretch) -> None:
        self.last.next = self.last = stretch
        if stretch.highest > self.highest:
            self.highest = stretch.highest
        if stretch.lowest < self.lowest:
            self.lowest = stretch.lowest

    def follow(self, lot: _Lot) -> None:
        """Bring a lot's best profit and deepest fall from it, per share, up to date with the marks.

        Of equal amounts, which may differ in their places, the profit is the last one, the fall the first.
        """
        price, best, drawdown, stretch = lot.price, lot.best, lot.drawdown, lot.seen.next
        while stretch is not None:
            fall = best - (stretch.lowest - price)
            if fall > drawdown:
                drawdown = fall
            if stretch.fall > drawdown:
                drawdown = stretch.fall
            profit = stretch.highest - price
            if profit >= best:
                best = profit
            stretch = stretch.next
        lot.best, lot.drawdown, lot.seen = best, drawdown, self.last

    def split(self, factor: Decimal) -> None:
        for lot in self.lots:
            self.follow(lot)
            lot.price, lot.best, lot.drawdown = (multiply(x, factor) for x in (lot.price, lot.best, lot.drawdown))
            lot.quantity = divide(lot.quantity, factor)
        self.highest, self.lowest = multiply(self.highest, factor), multiply(self.lowest, factor)


class TradeBuilder:
    """Turns fills and marks into closed trades, in the order of closing."""

    def __init__(self) -> None:
        self.closed: list[Trade] = []
        self._books: dict[Security, _Book] = {}

    def mark(self, security: Security) -> None:
        """The security's price has been confirmed or changed by other data than its bars."""
        book = self._books.get(security)
        if book is not None and not book.has_to_come(security):
            book.follow_bars(security)
            book.mark(security.price)

    def split(self, security: Security, factor: Decimal) -> None:
        """A split in raw prices: everything per share times the factor, quantities divided by it, not truncated."""
        book = self._books.get(security)
        if book is not None:
            book.follow_bars(security)
            book.split(factor)

    def fill(self, event: OrderEvent, security: Security) -> None:
        """Open a lot, or close lots from the oldest; what then is left of the fill opens one the other way."""
        direction = 1 if event.fill_quantity > 0 else -1
        quantity = Decimal(abs(event.fill_quantity))
        fee = normalise(event.fee) if event.fee is not None else ZERO
        book = self._books.get(security)
        if book is not None:
            book.follow_to(security, event.fill_price)
            if book.direction != direction:
                quantity = self._close(book, event, quantity, fee)
                if not book.lots:
                    del self._books[security]
                    book = None
                fee = ZERO
        if not quantity:
            return
        if book is None:
            book = self._books[security] = _Book(direction, event.fill_price, security.position)
        price = event.fill_price * direction
        book.lots.append(_Lot(event.time, price, quantity, fee, event.order.id, book.last))

    def _close(self, book: _Book, event: OrderEvent, quantity: Decimal, fee: Decimal) -> Decimal:
        """Close up to that quantity; returns what no lot was left for."""
        while quantity and book.lots:
            lot = book.lots[0]
            book.follow(lot)
            closed = min(quantity, lot.quantity)
            self.closed.append(_trade(book, lot, event, closed, fee))
            quantity -= closed
            lot.quantity -= closed
            lot.fee = fee = ZERO
            if not lot.quantity:
                del book.lots[0]
        return quantity


def _trade(book: _Book, lot: _Lot, event: OrderEvent, quantity: Decimal, fee: Decimal) -> Trade:
    direction, entry = book.direction, lot.price
    return Trade(
        event.order.symbol,
        lot.time,
        entry * direction,
        direction,
        quantity,
        event.time,
        event.fill_price,
        _cents(event.fill_price * direction - entry, quantity),
        lot.fee + fee,
        _cents(book.lowest - entry, quantity),
        _cents(book.highest - entry, quantity),
        _cents(lot.drawdown, quantity),
        (lot.order_id, event.order.id),
    )


def _cents(per_share: Decimal, quantity: Decimal) -> Decimal:
    """LEAN rounds the products to cents, half to even, before any fee."""
    return round_half_even(fit(per_share * quantity), 2)
