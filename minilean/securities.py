"""Securities and the position held in each."""

import functools
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from minilean.calendar import Session
from minilean.data import DailyBars
from minilean.decimals import EXACT, ONE, ZERO, divide, fit
from minilean.symbols import Symbol

DEFAULT_LEVERAGE = Decimal(2)
_FEE_PER_SHARE = Decimal("0.005")
_FEE_CAP = Decimal("0.005")


class Bar:
    """One daily bar of one security as subscribed.

    Prices become decimals when they are asked for: of most bars only the close ever is.
    """

    __slots__ = ("_adjusted", "_close", "_open", "_row", "_source", "session")

    def __init__(self, source: DailyBars, row: int, adjusted: bool, session: Session):
        self._source = source
        self._row = row
        self._adjusted = adjusted
        self._open: Decimal | None = None
        self._close: Decimal | None = None
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
        if self._open is None:
            self._open = self._source.price(self._source.open, self._row, self._adjusted)
        return self._open

    @property
    def close(self) -> Decimal:
        if self._close is None:
            self._close = self._source.price(self._source.close, self._row, self._adjusted)
        return self._close

    @property
    def high(self) -> Decimal:
        return self._source.price(self._source.high, self._row, self._adjusted)

    @property
    def low(self) -> Decimal:
        return self._source.price(self._source.low, self._row, self._adjusted)

    @property
    def volume(self) -> int:
        if self._adjusted:
            return self._source.adjusted_volume(self._row)
        return int(self._source.volume[self._row])

    def split(self, factor: Decimal) -> None:
        """Open and close after a split in raw prices; high, low and volume stay, as in LEAN."""
        self._open = EXACT.multiply(self.open, factor)
        self._close = EXACT.multiply(self.close, factor)


@dataclass(slots=True)
class Feed:
    """The daily bars of one security, laid along the sessions of a run.

    rows, closes: for each session the row of its bar and its close; -1 and None where there is no bar.
    """

    bars: DailyBars
    adjusted: bool
    rows: list[int]
    closes: list[Decimal | None]
    subscribed: date
    delisting_date: date | None

    def bar(self, row: int, session: Session) -> Bar:
        return Bar(self.bars, row, self.adjusted, session)


@dataclass(slots=True, eq=False)
class Security:
    """A security of a run and its holding. price is zero until there is one; bar is its last real bar."""

    symbol: Symbol
    leverage: Decimal = DEFAULT_LEVERAGE
    price: Decimal = ZERO
    is_tradable: bool = True
    is_delisted: bool = False
    quantity: int = 0
    average_price: Decimal = ZERO
    profit: Decimal = ZERO
    last_trade_profit: Decimal = ZERO
    total_fees: Decimal = ZERO
    sale_volume: Decimal = ZERO
    feed: Feed | None = None
    _bar: Bar | None = None
    _latest: tuple[int, Session] | None = None

    @property
    def bar(self) -> Bar | None:
        if self._bar is None and self._latest is not None and self.feed is not None:
            self._bar = self.feed.bar(*self._latest)
        return self._bar

    @bar.setter
    def bar(self, bar: Bar | None) -> None:
        self._bar = bar
        self._latest = None

    def receive(self, feed: Feed, position: int, session: Session) -> bool:
        """Take the price of a session, if there is a bar; the bar itself is only made when it is looked at."""
        close = feed.closes[position]
        if close is None:
            return False
        self.price = close
        self._bar = None
        self._latest = (feed.rows[position], session)
        return True

    @property
    def has_data(self) -> bool:
        return self._latest is not None or self._bar is not None

    @property
    def margin_rate(self) -> Decimal:
        """Initial and maintenance margin per dollar held."""
        return _margin_rate(self.leverage)

    def unrealized_profit(self) -> Decimal:
        """Profit of the position at the last price, less the fee of closing it now."""
        if not self.quantity:
            return ZERO
        return fit((self.price - self.average_price) * self.quantity) - fee(self.quantity, self.price)


@functools.cache
def _margin_rate(leverage: Decimal) -> Decimal:
    return divide(ONE, leverage)


def fee(quantity: int, price: Decimal) -> Decimal:
    """Interactive Brokers' fee as LEAN has it: half a cent a share, at least one dollar, else at most 0.5 % of value.

    price: the security's price at that moment (at a close: the close), not the fill price.
    """
    per_share = _FEE_PER_SHARE * abs(quantity)
    if per_share < 1:
        return ONE
    return min(per_share, fit(EXACT.multiply(_FEE_CAP * abs(quantity), price)))
