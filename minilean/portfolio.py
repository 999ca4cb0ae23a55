"""The securities of a run and the cash: LEAN's two sets of securities, and the total portfolio value it caches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from minilean.decimals import EXACT, ZERO, divide, fit, in_units, truncate
from minilean.securities import Security, margin_rate
from minilean.symbols import Symbol


class ActiveSet:
    """Securities in the order of a .NET dictionary: of insertion, a freed slot reused, the last freed first."""

    def __init__(self) -> None:
        self._slots: list[Security | None] = []
        self._position: dict[str, int] = {}
        self._free: list[int] = []

    def add(self, security: Security) -> None:
        if self._free:
            position = self._free.pop()
            self._slots[position] = security
        else:
            position = len(self._slots)
            self._slots.append(security)
        self._position[security.symbol.sid] = position

    def remove(self, security: Security) -> None:
        position = self._position.pop(security.symbol.sid)
        self._slots[position] = None
        self._free.append(position)

    def __contains__(self, security: Security) -> bool:
        return security.symbol.sid in self._position

    def __iter__(self) -> Iterator[Security]:
        return filter(None, self._slots)

    def __len__(self) -> int:
        return len(self._position)


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """The positions held at one moment, and their values in units of 10**-places dollars, negative for shorts.

    net: the sum of the values; sizes: the sum of their sizes by leverage.
    """

    securities: Sequence[Security]
    leverages: Sequence[Decimal]
    values: Sequence[int]
    places: int
    net: int
    sizes: Mapping[Decimal, int]

    @classmethod
    def worth(
        cls, securities: Sequence[Security], leverages: Sequence[Decimal], values: Sequence[int], places: int
    ) -> "Positions":
        sizes = dict.fromkeys(leverages, 0)
        for leverage, value in zip(leverages, values, strict=True):
            sizes[leverage] += abs(value)
        return cls(securities, leverages, values, places, sum(values), sizes)

    @classmethod
    def of(cls, securities: Sequence[Security]) -> "Positions":
        """At the securities' prices and quantities of now."""
        values, places = in_units([security.quantity * security.price for security in securities])
        return cls.worth(securities, [security.leverage for security in securities], values, places)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Positions whose prices are all those of their feeds: of each the feed's closes, and the value of one unit of it.

    The latter are in units of 10**-places dollars. leverage: the one of all, where all are long as well.
    """

    securities: Sequence[Security]
    leverages: Sequence[Decimal]
    feeds: Sequence[tuple[Sequence[int], int]]
    places: int
    leverage: Decimal | None

    def at(self, position: int) -> Positions:
        values = [closes[position] * unit for closes, unit in self.feeds]
        if self.leverage is None:
            return Positions.worth(self.securities, self.leverages, values, self.places)
        net = sum(values)
        return Positions(self.securities, self.leverages, values, self.places, net, {self.leverage: net})


class Portfolio:
    """Cash and positions.

    registry: every security ever created, by SID; look-ups by symbol see it.
    active: those that iteration, total value, margin and liquidation see.
    """

    def __init__(self) -> None:
        self.cash = ZERO
        self.registry: dict[str, Security] = {}
        self._active = ActiveSet()
        self._total: Decimal | None = None
        self._holdings: tuple[Decimal, Decimal] | None = None
        self._positions: Positions | None = None
        self._held: _Held | None = None
        self.total_fees = ZERO

    def active(self) -> ActiveSet:
        return self._active

    def get(self, symbol: Symbol) -> Security | None:
        return self.registry.get(symbol.sid)

    def enter(self, security: Security) -> None:
        """Take a security into the active set."""
        self._active.add(security)
        security.subscribe()
        self._forget(security)

    def leave(self, security: Security) -> None:
        """Take a security out of the active set. The total value goes on counting it until `invalidate`."""
        self._active.remove(security)
        security.unsubscribe()
        self._forget(security)

    def total_value(self) -> Decimal:
        """Cash plus positions at last prices, as of the last price update, order event or cash change."""
        if self._total is None:
            self._total = fit(self.cash + self._sums()[0])
        return self._total

    def invalidate(self) -> None:
        """An order event or a change of cash: the total value is to be taken anew."""
        self._total = None

    def reprice(self) -> None:
        """Bars have come."""
        self._total = self._holdings = self._positions = None

    def revalue(self) -> None:
        """Leverage has changed, or quantities and prices other than by fills and bars."""
        self.reprice()
        self._held = None

    def _forget(self, security: Security) -> None:
        if security.quantity:
            self._holdings = self._positions = self._held = None

    def margin_used(self) -> Decimal:
        """Sum of |position value| times margin rate over the active securities."""
        return self._sums()[1]

    def margin_remaining(self) -> Decimal:
        return self.total_value() - self.margin_used()

    def positions(self) -> Positions:
        """The active positions at last prices."""
        if self._positions is None:
            held = self._held or self._hold()
            self._positions = held.at(held.securities[0].position) if isinstance(held, _Held) else Positions.of(held)
        return self._positions

    def _hold(self) -> _Held | list[Security]:
        """What is held now; it stays valid for the sessions to come where all prices are those of the feeds."""
        held = [security for security in self._active if security.quantity]
        feeds = [security.feed for security in held if security.feed is not None and security.follows_feed()]
        if not held or len(feeds) < len(held):
            return held
        places = max(feed.places for feed in feeds)
        units = [
            (feed.closes, security.quantity * 10 ** (places - feed.places))
            for security, feed in zip(held, feeds, strict=True)
        ]
        leverages = [security.leverage for security in held]
        is_simple = len(set(leverages)) == 1 and all(security.quantity > 0 for security in held)
        self._held = _Held(held, leverages, units, places, leverages[0] if is_simple else None)
        return self._held

    def _sums(self) -> tuple[Decimal, Decimal]:
        """Value of all active positions and the margin that they use; kept up to date by `fill`."""
        if self._holdings is None:
            held = self.positions()
            margins = (Decimal(size).scaleb(-held.places) * margin_rate(at) for at, size in held.sizes.items())
            self._holdings = Decimal(held.net).scaleb(-held.places), sum(margins, start=ZERO)
        return self._holdings

    def fill(self, security: Security, quantity: int, price: Decimal, fee: Decimal | None) -> Decimal | None:
        """Book a fill; returns the profit it realised before fees (None where it opened or added)."""
        held = security.quantity
        if fee:
            self.cash -= fee
            self.total_fees += fee
            security.total_fees += fee
        volume = abs(quantity) * price
        self.cash = fit(self.cash - volume if quantity > 0 else self.cash + volume)
        security.sale_volume += volume
        profit = None
        if held and (held > 0) != (quantity > 0):
            closed = min(abs(held), abs(quantity)) * (1 if held > 0 else -1)
            profit = fit(fit(price * closed) - fit(security.average_price * closed))
            security.profit += profit
            security.last_trade_profit = profit
        after = held + quantity
        if not after:
            security.average_price = ZERO
        elif not held or (held > 0) != (after > 0):
            security.average_price = price
        elif abs(after) > abs(held):
            cost = fit(security.average_price * held + price * quantity)
            security.average_price = divide(cost, Decimal(after))
        security.quantity = after
        self._positions = self._held = None
        if self._holdings is not None and security in self._active:
            value, margin = self._holdings
            last, more = security.price, abs(after) - abs(held)
            self._holdings = (value + quantity * last, margin + more * last * security.margin_rate)
        self.invalidate()
        return profit

    def total_profit(self) -> Decimal:
        """Closed profit and dividends before fees, of all securities there ever were."""
        return sum((security.profit + security.dividends for security in self.registry.values()), start=ZERO)

    def dividend(self, security: Security, per_share: Decimal) -> Decimal:
        """Pay a cash dividend (shorts owe it); returns the amount."""
        amount = security.quantity * per_share
        self.cash += amount
        security.dividends += amount
        self.invalidate()
        return amount

    def split(self, security: Security, factor: Decimal) -> None:
        """A split in raw prices: whole shares, the fraction in cash at the new price."""
        security.split(factor)
        if security.quantity:
            exact = divide(Decimal(security.quantity), factor)
            whole = truncate(exact)
            self.cash += fit(EXACT.multiply(exact - whole, security.price))
            security.quantity = whole
            security.average_price = fit(EXACT.multiply(security.average_price, factor))
        self.revalue()
