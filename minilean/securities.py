"""Securities and the position held in each."""

import functools
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from minilean.calendar import Session
from minilean.data import DailyBars
from minilean.decimals import EXACT, ONE, ZERO, divide, fit
from minilean.symbols import Symbol

DEFAULT_LEVERAGE = Decimal(2)
_FEE_PER_SHARE = Decimal("0.005")
_SHARES_OF_A_DOLLAR = 200
_FEE_CAP = Decimal("0.005")


class Bar:
    """One daily bar of one security as subscribed. Prices become decimals when they are asked for."""

    __slots__ = ("_feed", "_row", "_split", "session")

    def __init__(self, feed: "Feed", row: int, session: Session):
        self._feed = feed
        self._row = row
        self._split: Decimal | None = None
        self.session = session

    @property
    def time(self) -> datetime:
        """Start of the session, naive New York time."""
        return self.session.open

    @property
    def end_time(self) -> datetime:
        """End of the session, naive New York time."""
        return self.session.close

    @property
    def open(self) -> Decimal:
        return self._price(self._feed.bars.open)

    @property
    def high(self) -> Decimal:
        return self._price(self._feed.bars.high)

    @property
    def low(self) -> Decimal:
        return self._price(self._feed.bars.low)

    @property
    def close(self) -> Decimal:
        return self._price(self._feed.bars.close)

    def _price(self, column: NDArray[np.int64]) -> Decimal:
        price = self._feed.bars.price(column, self._row, self._feed.adjusted)
        return price if self._split is None else EXACT.multiply(price, self._split)

    @property
    def volume(self) -> Decimal:
        return self.last_volume(self._row)

    def last_volume(self, since: int) -> Decimal:
        """Shares of this bar or, where nobody traded, of the last one before it that had any, back to a row."""
        row, bars = self._row, self._feed.bars
        if since < row and not bars.volume[row]:
            traded = np.flatnonzero(bars.volume[since:row])
            row = since + int(traded[-1]) if len(traded) else row
        shares = Decimal(bars.adjusted_volume(row) if self._feed.adjusted else bars.volume.item(row))
        return shares if self._split is None else divide(shares, self._split)

    def split(self, factor: Decimal) -> None:
        """What a split in raw prices makes of the bar."""
        self._split = factor if self._split is None else EXACT.multiply(self._split, factor)


@dataclass(slots=True)
class Clock:
    """Which session of a run was the last to end: its position among them, -1 before the first."""

    position: int = -1


@dataclass(slots=True)
class Feed:
    """The daily bars of one security, laid along the sessions of a run.

    rows: (T,) row of the last bar by the end of each session, -1 before the first.
    fresh: (T,) whether that is the session's own.
    closes: (T,) its close in units of 10**-places dollars; without meaning before the first.
    since: row of the first bar that the security got, or will get, since it was last subscribed.
    """

    bars: DailyBars
    adjusted: bool
    clock: Clock
    session: Callable[[date], Session]
    rows: NDArray[np.int64]
    fresh: bytes
    closes: MutableSequence[int]
    places: int
    subscribed: date
    delisting_date: date | None
    since: int = 0

    @classmethod
    def along(
        cls,
        sessions: NDArray[np.int64],
        bars: DailyBars,
        adjusted: bool,
        clock: Clock,
        session: Callable[[date], Session],
        subscribed: date,
        delisting_date: date | None,
    ) -> "Feed":
        """sessions: (T,) proleptic ordinals."""
        rows, fresh = bars.along(sessions)
        closes, places = bars.closes(rows, adjusted) if len(bars) else ([], 0)
        return cls(bars, adjusted, clock, session, rows, fresh.tobytes(), closes, places, subscribed, delisting_date)

    def bar(self, row: int) -> Bar:
        return Bar(self, row, self.session(date.fromordinal(self.bars.ordinals.item(row))))

    def close(self, row: int) -> Decimal:
        """Of a bar, in dollars, with LEAN's scale."""
        return self.bars.price(self.bars.close, row, self.adjusted)

    def fresh_closes(self, after: int, until: int) -> list[int]:
        """Closes of the bars after a session up to another, in units of 10**-places dollars."""
        sessions = slice(after + 1, until + 1)
        return list(compress(self.closes[sessions], self.fresh[sessions]))

    def restate(self, price: Decimal) -> None:
        """The last close has become another, and stays it until the next bar."""
        more = -int(price.as_tuple().exponent) - self.places
        if more > 0:
            self.closes = [close * 10**more for close in self.closes]  # too large, perhaps, for 64 bits
            self.places += more
        units = int(price.scaleb(self.places, EXACT))
        at = self.clock.position
        while at == self.clock.position or (at < len(self.closes) and not self.fresh[at]):
            self.closes[at] = units
            at += 1


@dataclass(slots=True, eq=False)
class Security:
    """A security of a run and its holding. price is zero until there is one; bar is its last real bar.

    While it is subscribed, both follow its feed: they are only looked up when somebody asks.
    profit: closed, before fees and without dividends; dividends: in cash, in raw prices alone.
    """

    symbol: Symbol
    leverage: Decimal = DEFAULT_LEVERAGE
    is_tradable: bool = True
    is_delisted: bool = False
    quantity: int = 0
    average_price: Decimal = ZERO
    profit: Decimal = ZERO
    last_trade_profit: Decimal = ZERO
    total_fees: Decimal = ZERO
    sale_volume: Decimal = ZERO
    dividends: Decimal = ZERO
    feed: Feed | None = None
    _price: Decimal | None = ZERO
    """None where it is that of the row and has not been asked for."""
    _bar: Bar | None = None
    _row: int = -1
    """Of the bar that the price is of; -1 where it is of none."""
    _position: int = -1
    """The clock's when the feed was last looked at."""
    _subscribed: bool = False
    _subscribed_at: int = -1
    """The clock's position at that moment."""
    _bars_before: int = 0
    """That came in earlier subscriptions."""

    def subscribe(self) -> None:
        """From now on the price follows the feed."""
        self._subscribed = True
        self._subscribed_at = self.position

    def unsubscribe(self) -> None:
        """The price stays what it is."""
        self._bars_before = self.bars_received()
        self._follow()
        self._subscribed = False

    def bars_received(self) -> int:
        """How many bars have come while it was subscribed."""
        if self.feed is None or not self._subscribed:
            return self._bars_before
        return self._bars_before + self.feed.fresh.count(1, self._subscribed_at + 1, self.position + 1)

    def _follow(self) -> None:
        feed = self.feed
        if feed is None or not self._subscribed or feed.clock.position == self._position:
            return
        self._position = feed.clock.position
        row = feed.rows.item(self._position)
        if row != self._row and row >= feed.since:
            self.take(row)

    def take(self, row: int) -> None:
        """Have the price of a bar of the feed."""
        self._row = row
        self._bar = self._price = None

    def follows_feed(self) -> bool:
        """Whether the price is the feed's close of the clock's session, and will be of those to come."""
        self._follow()
        feed = self.feed
        if feed is None or not self._subscribed or feed.clock.position < 0:
            return False
        return 0 <= self._row == feed.rows.item(feed.clock.position)

    @property
    def position(self) -> int:
        """The clock's position: that of the last session that is over."""
        return self.feed.clock.position if self.feed is not None else -1

    def split(self, factor: Decimal) -> None:
        """A split in raw prices, of price and bar; not of the quantity."""
        bar = self.bar
        self.price = EXACT.multiply(self.price, factor)
        if bar is not None:
            bar.split(factor)
        if self.feed is not None and self.follows_feed():
            self.feed.restate(self.price)

    @property
    def price(self) -> Decimal:
        self._follow()
        if self._price is None:
            feed = self.feed
            self._price = ZERO if feed is None else feed.close(self._row)
        return self._price

    @price.setter
    def price(self, price: Decimal) -> None:
        self._follow()
        self._price = price

    @property
    def bar(self) -> Bar | None:
        self._follow()
        if self._bar is None and self._row >= 0 and self.feed is not None:
            self._bar = self.feed.bar(self._row)
        return self._bar

    @bar.setter
    def bar(self, bar: Bar | None) -> None:
        self._bar = bar
        self._row = -1

    @property
    def volume(self) -> Decimal:
        """Shares traded in the last bar in which there were any, zero before the first."""
        bar, feed = self.bar, self.feed
        return bar.last_volume(feed.since) if bar is not None and feed is not None else ZERO

    @property
    def has_data(self) -> bool:
        self._follow()
        return self._row >= 0 or self._bar is not None

    @property
    def margin_rate(self) -> Decimal:
        """Initial and maintenance margin per dollar held."""
        return margin_rate(self.leverage)

    def unrealized_profit(self) -> Decimal:
        """Profit of the position at the last price, less the fee of closing it now."""
        if not self.quantity:
            return ZERO
        return fit((self.price - self.average_price) * self.quantity) - fee(self.quantity, self.price)


@functools.cache
def margin_rate(leverage: Decimal) -> Decimal:
    """Initial and maintenance margin per dollar held."""
    return divide(ONE, leverage)


def fee(quantity: int, price: Decimal) -> Decimal:
    """Interactive Brokers' fee as LEAN has it: half a cent a share, at least one dollar, else at most 0.5 % of value.

    price: the security's price at that moment (at a close: the close), not the fill price.
    """
    shares = abs(quantity)
    if shares < _SHARES_OF_A_DOLLAR:
        return ONE
    per_share = _FEE_PER_SHARE * shares
    return per_share if price >= ONE else min(per_share, fit(EXACT.multiply(_FEE_CAP * shares, price)))
