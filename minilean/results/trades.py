"""Closed trades from fills: fill to fill, first in first out, one book of lots a security."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from minilean.decimals import EXACT, ZERO, divide, fit, normalise, round_half_even
from minilean.orders import OrderEvent
from minilean.securities import Security
from minilean.symbols import Symbol

_TRIM = 512
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
class _Lot:
    time: datetime
    price: Decimal
    quantity: Decimal
    fee: Decimal
    order_id: int
    seen: int
    """Marks of the book, by number, that the two fields below know of."""
    best: Decimal = ZERO
    drawdown: Decimal = ZERO


@dataclass(slots=True)
class _Book:
    """The open lots of one security, oldest first, and the prices marked since the oldest one opened.

    Lots learn of the marks only when they close, so a mark costs an append whatever the number of lots.
    """

    direction: int
    lowest: Decimal
    highest: Decimal
    lots: list[_Lot] = field(default_factory=list)
    marks: list[Decimal] = field(default_factory=list)
    dropped: int = 0
    seen: int = 0
    """Marks, by number, that lowest and highest know of."""
    position: int = -1
    """Of the last session whose close is among the marks."""

    @property
    def count(self) -> int:
        return self.dropped + len(self.marks)

    def follow_bars(self, security: Security) -> None:
        """Mark the closes that have come since the last time."""
        if security.feed is not None and security.position > self.position:
            self.marks += security.feed.fresh_closes(self.position)
            self.position = security.position

    def touch(self, price: Decimal) -> None:
        """A fill: its price is a mark too, and the extremes catch up."""
        self.marks.append(price)
        self._catch_up()

    def _catch_up(self) -> None:
        fresh = self.marks[self.seen - self.dropped :]
        self.lowest = min(self.lowest, *fresh)
        self.highest = max(self.highest, *fresh)
        self.seen = self.count

    def follow(self, lot: _Lot) -> None:
        """Bring a lot's best profit and deepest fall from it, per share, up to date with the marks."""
        best, drawdown = lot.best, lot.drawdown
        for price in self.marks[lot.seen - self.dropped :]:
            profit = price - lot.price if self.direction > 0 else lot.price - price
            if profit >= best:
                best = profit
            elif best - profit > drawdown:
                drawdown = best - profit
        lot.best, lot.drawdown, lot.seen = best, drawdown, self.count

    def trim(self) -> None:
        """Forget the marks that every lot knows of."""
        useless = min(lot.seen for lot in self.lots) - self.dropped
        if useless > _TRIM:
            del self.marks[:useless]
            self.dropped += useless

    def split(self, factor: Decimal) -> None:
        if self.seen < self.count:
            self._catch_up()
        for lot in self.lots:
            self.follow(lot)
            lot.price = fit(EXACT.multiply(lot.price, factor))
            lot.best = fit(EXACT.multiply(lot.best, factor))
            lot.drawdown = fit(EXACT.multiply(lot.drawdown, factor))
            lot.quantity = divide(lot.quantity, factor)
        self.lowest = fit(EXACT.multiply(self.lowest, factor))
        self.highest = fit(EXACT.multiply(self.highest, factor))
        self.dropped, self.marks = self.count, []


class TradeBuilder:
    """Turns fills and marks into closed trades, in the order of closing."""

    def __init__(self) -> None:
        self.closed: list[Trade] = []
        self._books: dict[Security, _Book] = {}

    def mark(self, security: Security) -> None:
        """The security's price has been confirmed or changed by other data than its bars."""
        book = self._books.get(security)
        if book is not None:
            book.follow_bars(security)
            book.marks.append(security.price)

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
            book.follow_bars(security)
            book.touch(event.fill_price)
            if book.direction != direction:
                quantity = self._close(book, event, quantity, fee)
                if book.lots:
                    book.trim()
                else:
                    del self._books[security]
                    book = None
                fee = ZERO
        if not quantity:
            return
        if book is None:
            price = event.fill_price
            book = self._books[security] = _Book(direction, price, price, position=security.position)
        book.lots.append(_Lot(event.time, event.fill_price, quantity, fee, event.order.id, book.count))

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
    """LEAN rounds the products to cents, half to even, before any fee."""
    if book.direction > 0:
        gain, worst, best = event.fill_price - lot.price, book.lowest - lot.price, book.highest - lot.price
    else:
        gain, worst, best = lot.price - event.fill_price, lot.price - book.highest, lot.price - book.lowest
    profit_loss, mae, mfe, end_trade_drawdown = _cents((gain, worst, best, lot.drawdown), quantity)
    return Trade(
        symbol=event.order.symbol,
        entry_time=lot.time,
        entry_price=lot.price,
        direction=book.direction,
        quantity=quantity,
        exit_time=event.time,
        exit_price=event.fill_price,
        profit_loss=profit_loss,
        total_fees=lot.fee + fee,
        mae=mae,
        mfe=mfe,
        end_trade_drawdown=end_trade_drawdown,
        order_ids=(lot.order_id, event.order.id),
    )


def _cents(per_share: Iterable[Decimal], quantity: Decimal) -> list[Decimal]:
    return [round_half_even(fit(EXACT.multiply(amount, quantity)), 2) for amount in per_share]
