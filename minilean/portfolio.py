"""The securities of a run and the cash: LEAN's two sets of securities, and the total portfolio value it caches."""

from collections.abc import Iterator
from decimal import Decimal

from minilean.decimals import EXACT, ZERO, divide, fit, truncate
from minilean.securities import Security
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
        return (security for security in self._slots if security is not None)

    def __len__(self) -> int:
        return len(self._position)


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
        self.total_fees = ZERO
        self.dividends = ZERO

    def active(self) -> ActiveSet:
        return self._active

    def get(self, symbol: Symbol) -> Security | None:
        return self.registry.get(symbol.sid)

    def enter(self, security: Security) -> None:
        """Take a security into the active set."""
        self._active.add(security)
        self._holdings = None

    def leave(self, security: Security) -> None:
        """Take a security out of the active set. The total value goes on counting it until `invalidate`."""
        self._active.remove(security)
        self._holdings = None

    def total_value(self) -> Decimal:
        """Cash plus positions at last prices, as of the last price update, order event or cash change."""
        if self._total is None:
            self._total = fit(self.cash + self._sums()[0])
        return self._total

    def invalidate(self) -> None:
        """An order event or a change of cash: the total value is to be taken anew."""
        self._total = None

    def revalue(self) -> None:
        """Prices or leverage have changed."""
        self._total = self._holdings = None

    def margin_used(self) -> Decimal:
        """Sum of |position value| times margin rate over the active securities."""
        return self._sums()[1]

    def margin_remaining(self) -> Decimal:
        return self.total_value() - self.margin_used()

    def _sums(self) -> tuple[Decimal, Decimal]:
        """Value of all active positions and the margin that they use; kept up to date by `fill`."""
        if self._holdings is None:
            value = margin = ZERO
            for security in self._active:
                if security.quantity:
                    worth = security.quantity * security.price
                    value += worth
                    margin += abs(worth) * security.margin_rate
            self._holdings = value, margin
        return self._holdings

    def fill(self, security: Security, quantity: int, price: Decimal, fee: Decimal | None) -> Decimal:
        """Book a fill; returns the profit it realised before fees (zero where it opened or added)."""
        held = security.quantity
        if fee:
            self.cash -= fee
            self.total_fees += fee
            security.total_fees += fee
        self.cash = fit(self.cash - quantity * price)
        security.sale_volume += abs(quantity) * price
        profit = ZERO
        if held and (held > 0) != (quantity > 0):
            closed = min(abs(held), abs(quantity)) * (1 if held > 0 else -1)
            profit = fit(fit(price * closed) - fit(EXACT.multiply(security.average_price, closed)))
            security.profit += profit
            security.last_trade_profit = profit
        after = held + quantity
        if not after:
            security.average_price = ZERO
        elif not held or (held > 0) != (after > 0):
            security.average_price = price
        elif abs(after) > abs(held):
            cost = fit(EXACT.multiply(security.average_price, held) + EXACT.multiply(price, quantity))
            security.average_price = divide(cost, Decimal(after))
        security.quantity = after
        if self._holdings is not None and security in self._active:
            value, margin = self._holdings
            more = abs(after) - abs(held)
            self._holdings = (
                value + quantity * security.price,
                margin + more * security.price * security.margin_rate,
            )
        self.invalidate()
        return profit

    def total_profit(self) -> Decimal:
        """Closed profit before fees, of all securities there ever were."""
        return sum((security.profit for security in self.registry.values()), start=ZERO)

    def dividend(self, security: Security, per_share: Decimal) -> Decimal:
        """Pay a cash dividend (shorts owe it); returns the amount."""
        amount = security.quantity * per_share
        self.cash += amount
        self.dividends += amount
        self.invalidate()
        return amount

    def split(self, security: Security, factor: Decimal) -> None:
        """A split in raw prices: whole shares, the fraction in cash at the new price."""
        security.price = EXACT.multiply(security.price, factor)
        if security.bar is not None:
            security.bar.split(factor)
        if security.quantity:
            exact = divide(Decimal(security.quantity), factor)
            whole = truncate(exact)
            self.cash += fit(EXACT.multiply(exact - whole, security.price))
            security.quantity = whole
            security.average_price = fit(EXACT.multiply(security.average_price, factor))
        self.revalue()
