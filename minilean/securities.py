"""Securities and the position held in each."""

import functools
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from minilean.data import DailyBars
from minilean.decimals import EXACT, ONE, ZERO, divide, fit
from minilean.symbols import Symbol

DEFAULT_LEVERAGE = Decimal(2)
_FEE_PER_SHARE = Decimal("0.005")
_FEE_CAP = Decimal("0.005")


class Bar:
    """One daily bar of one security as subscribed. time and end_time are naive New York times.

    Prices become decimals when they are asked for: of most bars only the close ever is.
    """

    __slots__ = ("_adjusted", "_prices", "_row", "_source", "end_time", "time")

    def __init__(self, source: DailyBars, row: int, adjusted: bool, time: datetime, end_time: datetime):
        self._source = source
        self._row = row
        self._adjusted = adjusted
        self.time = time
        self.end_time = end_time
        self._prices: dict[str, Decimal] = {}

    def _price(self, name: str) -> Decimal:
        if name not in self._prices:
            self._prices[name] = self._source.price(getattr(self._source, name), self._row, self._adjusted)
        return self._prices[name]

    @property
    def open(self) -> Decimal:
        return self._price("open")

    @property
    def high(self) -> Decimal:
        return self._price("high")

    @property
    def low(self) -> Decimal:
        return self._price("low")

    @property
    def close(self) -> Decimal:
        return self._price("close")

    @property
    def volume(self) -> int:
        if self._adjusted:
            return self._source.adjusted_volume(self._row)
        return int(self._source.volume[self._row])

    def split(self, factor: Decimal) -> None:
        """Open and close after a split in raw prices; high, low and volume stay, as in LEAN."""
        for name in ("open", "close"):
            self._prices[name] = EXACT.multiply(self._price(name), factor)


@dataclass(slots=True, eq=False)
class Security:
    """A security of a run and its holding. price is zero until there is one."""

    symbol: Symbol
    leverage: Decimal = DEFAULT_LEVERAGE
    price: Decimal = ZERO
    bar: Bar | None = None
    is_tradable: bool = True
    is_delisted: bool = False
    quantity: int = 0
    average_price: Decimal = ZERO
    profit: Decimal = ZERO
    total_fees: Decimal = ZERO
    sale_volume: Decimal = ZERO

    @property
    def has_data(self) -> bool:
        return self.bar is not None

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
