"""Orders from call to fill: sizing, buying power, queued requests, fills and fees, by LEAN's default models."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from minilean.calendar import MarketCalendar, to_new_york, to_utc
from minilean.decimals import EXACT, ONE, ZERO, divide, fit, multiply, normalise, smart, text, truncate
from minilean.enums import OrderStatus, OrderType
from minilean.errors import AlgorithmError
from minilean.orders import Order, OrderEvent
from minilean.portfolio import Portfolio
from minilean.securities import Bar, Security, fee
from minilean.symbols import Symbol

MARKET_ON_CLOSE_BUFFER = timedelta(minutes=15, seconds=30)
_MARGIN_WARNING = Decimal("0.05")
_MARGIN_CALL = Decimal("1.1")
_WITHOUT_QUOTES = (
    "Warning: No quote information available at {:%m/%d/%Y %H:%M:%S} America/New_York, order filled using TradeBar data"
)
_DOUBT = 1e-9
"""Doubles that differ by less, relatively, count as equal: their error is some 1e-15, that of LEAN's decimals less."""
_SMALLEST_TARGET, _LARGEST_TARGET = Decimal("1e-10"), Decimal("1e9")


@dataclass
class OrderSettings:
    """The algorithm settings that decide about orders."""

    free_portfolio_value_percentage: Decimal = Decimal("0.0025")
    minimum_order_margin_portfolio_percentage: Decimal = Decimal("0.001")


@dataclass
class _Request:
    """A cancel (quantity None) or a change of quantity, waiting for its turn."""

    order: Order
    quantity: int | None = None


class Brokerage:
    """Turns the algorithm's calls into orders and orders into fills.

    now: gives the algorithm's New York time. trading: whether orders are possible yet.
    on_event is called for every order event after the books are updated;
    on_fill before it, with what `Portfolio.fill` returned. log and error take a text for the algorithm's log.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        calendar: MarketCalendar,
        settings: OrderSettings,
        now: Callable[[], datetime],
        raw_prices: Callable[[Security], bool],
        trading: Callable[[], bool],
    ):
        self._portfolio = portfolio
        self._calendar = calendar
        self._settings = settings
        self._now = now
        self._raw_prices = raw_prices
        self._trading = trading
        self.orders: list[Order] = []
        self.last_bars = datetime.min  # UTC end of the latest daily bars
        self._open: dict[int, Order] = {}
        self._open_of: dict[str, dict[int, Order]] = {}  # the same by SID
        self._requests: list[_Request] = []
        self.on_event: Callable[[OrderEvent], None] = lambda event: None
        self.on_fill: Callable[[OrderEvent, Security, Decimal | None], None] = lambda *arguments: None
        self.error: Callable[[str], None] = lambda message: None
        self.warn_once: Callable[[str], None] = lambda message: None

    # --- from targets to quantities

    def target_quantity(self, security: Security, weight: Decimal) -> int:
        """Shares to trade so that the position becomes `weight` of the portfolio, fees and buffer allowed for."""
        if not security.price:
            self.error(f"{security.symbol.value} has no price yet, so no order can be sized for it.")
            return 0
        size = abs(weight)
        if size and not _SMALLEST_TARGET <= size <= _LARGEST_TARGET:
            self.error(f"The target {text(weight)} for {security.symbol.value} is not between 1e-10 and 1e9: skipped.")
            return 0
        total, settings = self._portfolio.total_value(), self._settings
        smallest = settings.minimum_order_margin_portfolio_percentage
        quantity = _clear_quantity(security, total, weight, settings.free_portfolio_value_percentage, smallest)
        if quantity is None:
            buffer = multiply(total, settings.free_portfolio_value_percentage)
            share = divide(divide(multiply(weight, total - buffer), total), divide(ONE, security.margin_rate))
            quantity = self._quantity_toward(security, share, smallest)
        return quantity

    def _quantity_toward(self, security: Security, share: Decimal, smallest: Decimal) -> int:
        """Shares to trade so that the position's margin becomes a share of the portfolio's value.

        smallest: a change of margin below that share is not worth an order.
        """
        total = self._portfolio.total_value()
        target = multiply(share, total)
        held = security.quantity
        if not target:
            return -held
        unit = multiply(security.price, security.margin_rate)
        if (
            smallest
            and abs(target - unit * held) < multiply(smallest, total)
            and self._portfolio.margin_remaining() > 0
        ):
            self.warn_once(
                "Warning: Portfolio rebalance result ignored as it resulted in a single share trade recommendation "
                "which can generate high fees. To disable minimum order size checks please set "
                "self.settings.minimum_order_margin_portfolio_percentage = 0."
            )
            return 0
        previous = None
        while True:
            quantity = self._quantity_within(target, unit, held)
            if not quantity:
                return 0
            if quantity == previous:
                raise AlgorithmError(
                    f"GetMaximumOrderQuantityForTargetBuyingPower failed to converge to the target margin "
                    f"{text(target)} for {security.symbol.value}: the fee changes the quantity back and forth"
                )
            previous = quantity
            target = multiply(total - fee(quantity, security.price), share)
            if abs(unit * (quantity + held)) <= abs(target):
                return quantity

    @staticmethod
    def _quantity_within(target: Decimal, unit: Decimal, held: int) -> int:
        rounding = ROUND_FLOOR if target > 0 else ROUND_CEILING
        quantity = int((divide(target, unit) - held).to_integral_value(rounding))
        toward = -1 if target > 0 else 1
        while quantity and abs(unit * (quantity + held)) > abs(target):
            quantity += toward
        return quantity

    def liquidate_others(self, wanted: Collection[Symbol], tag: str) -> list[Order]:
        """Sell every position that is not among the wanted ones."""
        others = self._by_ticker(s for s in self._portfolio.active() if s.symbol not in wanted)
        return [order for security in others for order in self.liquidate(security, tag)]

    def set_holdings(self, targets: Sequence[tuple[Security, Decimal]], tag: str) -> list[Order]:
        """Move to all targets at once: what reduces positions first, then by value, largest first."""
        changes = [(security, self.target_quantity(security, weight)) for security, weight in targets]
        ranked = []
        for security, quantity in changes:
            if quantity and security.has_data and security.is_tradable:
                expected = security.quantity
                if pending := self._open_of.get(security.symbol.sid):
                    expected += sum(order.quantity for order in pending.values())
                reduces = expected != 0 and abs(quantity + expected) < abs(expected)
                ranked.append((not reduces, -abs(quantity * security.price), security, quantity))
        ranked.sort(key=lambda entry: entry[:2])
        placed = (self.order_toward(security, quantity, tag) for _, _, security, quantity in ranked)
        return [order for order in placed if order is not None]

    def order_toward(self, security: Security, quantity: int, tag: str) -> Order | None:
        """Order what open market and market-on-open orders of the security do not cover already."""
        netted = (OrderType.MARKET, OrderType.MARKET_ON_OPEN)
        if pending := self._open_of.get(security.symbol.sid):
            quantity -= sum(order.quantity for order in pending.values() if order.type in netted)
        if not quantity:
            return None
        if self._calendar.is_open(self._now()):
            return self.market_order(security, quantity, tag)
        return self.submit(OrderType.MARKET_ON_OPEN, security, quantity, tag)

    def liquidate(self, security: Security, tag: str) -> list[Order]:
        """Cancel the open orders of a security and sell its position."""
        quantity = -security.quantity
        pending = self.open_orders(security.symbol)
        # LEAN walks these in the order of a small hash table, not of their ids.
        for order in sorted(pending, key=lambda order: order.id % 37):
            if order.type == OrderType.MARKET:
                quantity -= order.quantity
            else:
                self.cancel(order, tag)
        if not security.quantity or not quantity:
            return []
        sale = self.market_order(security, quantity, tag)
        return [sale] if sale else []

    # --- orders

    def market_order(self, security: Security, quantity: int, tag: str) -> Order | None:
        """A market order, in a backtest on daily bars converted to the open or the close that it can really get."""
        now = self._now()
        if not self._calendar.is_open(now):
            if quantity:
                self.warn_once(
                    "Warning: market orders submitted while the market is closed are automatically converted into "
                    "MarketOnOpen orders to fill at the next market open."
                )
            return self.submit(OrderType.MARKET_ON_OPEN, security, quantity, tag)
        if security.is_delisted:
            return self.submit(OrderType.MARKET, security, quantity, tag)
        if quantity:
            self.warn_once(
                "Warning: market orders on daily resolution data sent during market hours are automatically converted "
                "into MarketOnClose orders (or MarketOnOpen near the close) to avoid filling at the stale previous "
                "close. Note: in live trading this conversion is not applied, as the order fills at the current "
                "market price."
            )
        kind = OrderType.MARKET_ON_CLOSE if self._in_time_for_close(now) else OrderType.MARKET_ON_OPEN
        return self.submit(kind, security, quantity, tag)

    def submit(self, kind: OrderType, security: Security, quantity: int, tag: str) -> Order | None:
        """Place an order; None where LEAN refuses it before it becomes one (the reason is in the log)."""
        refusal = self._refusal(kind, security, quantity)
        if refusal:
            self.error(refusal)
            return None
        self._run_requests()
        now = to_utc(self._now())
        order = Order(
            id=len(self.orders) + 1,
            type=kind,
            symbol=security.symbol,
            quantity=quantity,
            time=now,
            tag=tag,
            submission_price=security.price,
            raw_prices=self._raw_prices(security),
        )
        self.orders.append(order)
        problem = self._buying_power_problem(security, order)
        if problem:
            self._invalidate(order, problem, now)
            return order
        order.status = OrderStatus.SUBMITTED
        order.broker_id = str(order.id)
        self._track(order)
        self._publish(order, OrderStatus.SUBMITTED, now)
        self._fill_what_can(now)
        return order

    def _refusal(self, kind: OrderType, security: Security, quantity: int) -> str:
        ticker = security.symbol.value
        if not self._trading():
            return f"{ticker}: orders are not possible in initialize: schedule an event for them."
        if not quantity:
            return "Unable to submit order with id -10 that has zero quantity."
        if not security.is_tradable:
            return f"The security with symbol '{ticker}' is marked as non-tradable."
        if not security.price:
            return (
                f"{ticker}: asset price is $0. If using custom data make sure you've set the 'Value' property."
            )
        if kind == OrderType.MARKET_ON_OPEN:
            if security.is_delisted and self._calendar.is_open(self._now()):
                return "Cannot submit a MarketOnOpen order while the market is open."
        elif kind == OrderType.MARKET_ON_CLOSE:
            now = self._now()
            if self._calendar.is_open(now) and not self._in_time_for_close(now):
                return f"{ticker}: a MarketOnClose order must be sent at least 15.5 minutes before the market closes."
        return ""

    def _in_time_for_close(self, now: datetime) -> bool:
        return now <= self._calendar.close(now.date()) - MARKET_ON_CLOSE_BUFFER

    def open_orders(self, symbol: Symbol | None = None) -> list[Order]:
        """Open orders, by id; an order whose cancel is still queued counts as open."""
        return list((self._open if symbol is None else self._open_of.get(symbol.sid, {})).values())

    def take_over(self, orders: Iterable[Order]) -> None:
        """Orders from before the run, by id; one that was being cancelled is."""
        self.orders = list(orders)
        for order in self.orders:
            if order.status == OrderStatus.CANCEL_PENDING:
                order.status = OrderStatus.CANCELED
            elif order.is_open:
                self._track(order)

    def has_open_orders(self, symbol: Symbol) -> bool:
        return bool(self._open_of.get(symbol.sid))

    def _track(self, order: Order) -> None:
        self._open[order.id] = order
        self._open_of.setdefault(order.symbol.sid, {})[order.id] = order

    def _untrack(self, order: Order) -> None:
        if self._open.pop(order.id, None) is not None:
            del self._open_of[order.symbol.sid][order.id]

    def cancel(self, order: Order, tag: str | None = None) -> bool:
        """Queue a cancel; it happens with the next submission of this event or at the next scan."""
        if not order.is_open or order.status == OrderStatus.CANCEL_PENDING:
            return False
        if tag is not None:
            order.tag = tag
        order.status = OrderStatus.CANCEL_PENDING
        self._requests.append(_Request(order))
        self._publish(order, OrderStatus.CANCEL_PENDING, to_utc(self._now()))
        return True

    def split_open_orders(self, symbol: Symbol, factor: Decimal) -> None:
        """Queue the change of quantity that a split makes to open orders."""
        for order in self.open_orders(symbol):
            self._requests.append(_Request(order, truncate(divide(Decimal(order.quantity), factor))))

    def _run_requests(self) -> None:
        while self._requests:
            request = self._requests.pop(0)
            order = request.order
            now = to_utc(self._now())
            if order.is_open:
                if request.quantity is None:
                    order.canceled_time = now
                    self._close(order, OrderStatus.CANCELED, now)
                else:
                    order.quantity = request.quantity
                    order.last_update_time = now
                    order.status = OrderStatus.UPDATE_SUBMITTED
                    self._publish(order, OrderStatus.UPDATE_SUBMITTED, now)
            self._fill_what_can(now)

    # --- scans

    def scan(self) -> None:
        """Carry out queued requests, then fill every open order that can fill, by id."""
        self._run_requests()
        if self._open:
            self._fill_what_can(to_utc(self._now()))

    def _fill_what_can(self, now: datetime) -> None:
        if not self._open:
            return
        oldest = next(iter(self._open.values()))
        if oldest.time == now and oldest.type != OrderType.MARKET:
            return  # ids ascend with time: all others are as young
        if oldest.time >= self.last_bars and all(o.type == OrderType.MARKET_ON_OPEN for o in self._open.values()):
            return  # no bar has come since the first of them was sent
        for order in list(self._open.values()):
            if order.is_open and (order.type == OrderType.MARKET or order.time < now):
                self._try_fill(order, now)

    def _try_fill(self, order: Order, now: datetime) -> None:
        security = self._portfolio.registry[order.symbol.sid]
        bar = security.bar
        if order.type == OrderType.MARKET_ON_OPEN and (bar is None or bar.session.utc_close <= order.time):
            return
        problem = self._buying_power_problem(security, order)
        if problem:
            if order.status != OrderStatus.CANCEL_PENDING:
                self._invalidate(order, problem, now)
            return
        if order.type == OrderType.MARKET and security.is_delisted:
            self.error(
                f"Order Error: id: {order.id}, Transaction model failed to fill for order type: Market with error: "
                f"Cannot perform fill for {order.symbol} because no data subscription were found."
            )
        elif bar is not None:
            price = self._fill_price(order, bar)
            if price is not None:
                message = _WITHOUT_QUOTES.format(bar.end_time) if order.type == OrderType.MARKET else ""
                self._fill(order, security, price, fee(order.quantity, security.price), now, message)

    def _fill_price(self, order: Order, bar: Bar) -> Decimal | None:
        """The open of the first bar that starts after the order, or the last close once the order's session is over.

        A market order gets the close of the first bar that ends after it.
        """
        if order.type == OrderType.MARKET:
            return bar.close if bar.session.utc_close > order.time else None
        if order.type == OrderType.MARKET_ON_OPEN:
            return bar.open if bar.session.utc_open >= order.time else None
        sent = to_new_york(order.time)
        day = sent.date()
        if not self._calendar.is_session(day) or sent >= self._calendar.close(day):
            day = self._calendar.next_session(day)
        return bar.close if self._now() >= self._calendar.close(day) else None

    def _fill(
        self, order: Order, security: Security, price: Decimal, charge: Decimal | None, now: datetime, message: str
    ) -> None:
        quantity = order.quantity
        order.price = price = normalise(price)
        profit = self._portfolio.fill(security, quantity, price, charge)
        order.last_fill_time = now
        order.status = status = OrderStatus.FILLED
        self._untrack(order)
        order.events += 1
        event = OrderEvent(order, order.events, now, status, quantity, price, quantity, charge, message)
        self.on_fill(event, security, profit)
        self.on_event(event)

    def liquidate_delisted(self, securities: Iterable[Security]) -> None:
        """Sell delisted positions at their last price, without fee, and cancel what is still open for them."""
        for security in self._by_ticker(securities):
            if security.quantity:
                now = to_utc(self._now())
                order = Order(
                    id=len(self.orders) + 1,
                    type=OrderType.MARKET,
                    symbol=security.symbol,
                    quantity=-security.quantity,
                    time=now,
                    tag="Liquidate from delisting",
                    price_currency="",
                    raw_prices=self._raw_prices(security),
                )
                self.orders.append(order)
                self._track(order)
                self._fill(order, security, security.price, None, now, order.tag)
            for pending in self.open_orders(security.symbol):
                self.cancel(pending)
            self._run_requests()

    # --- margin calls

    def margin_calls(self) -> tuple[list[tuple[Security, int]], bool]:
        """What is to be traded where positions need more margin than the portfolio is worth, and whether to warn.

        The largest loser comes first. LEAN warns when five percent of the portfolio or less remain as margin, and
        when it would call but the market is closed.
        """
        if self._has_ample_margin():
            return [], False
        total, used = self._portfolio.total_value(), self._portfolio.margin_used()
        if total > used:
            return [], True
        if used <= multiply(total, _MARGIN_CALL):
            return [], False
        if not self._calendar.is_open(self._now()):
            return [], True
        calls = []
        for security in sorted((s for s in self._portfolio.active() if s.quantity), key=Security.unrealized_profit):
            margin = multiply(abs(security.quantity * security.price), security.margin_rate)
            kept = max(ZERO, margin - (used - total)) * (1 if security.quantity > 0 else -1)
            quantity = self._quantity_toward(security, divide(kept, total) if total else ZERO, ZERO)
            if quantity:
                calls.append((security, quantity))
        return calls, False

    def _has_ample_margin(self) -> bool:
        total, used = self._portfolio.total_value(), self._portfolio.margin_used()
        return not used or 2 * used < total or total - used > multiply(total, _MARGIN_WARNING)

    def is_idle(self) -> bool:
        """Whether no order, request or margin call is waiting."""
        return not self._open and not self._requests and self._has_ample_margin()

    def call_margin(self, calls: Iterable[tuple[Security, int]]) -> list[Order]:
        """Send market orders until margin remains. They wait for the next bar, so each hour sends them again."""
        sent = []
        for security, quantity in calls:
            order = self.submit(OrderType.MARKET, security, quantity, "Margin Call")
            if order is not None:
                sent.append(order)
            if self._portfolio.margin_remaining() >= 0:
                break
        return sent

    # --- buying power

    def _buying_power_problem(self, security: Security, order: Order) -> str:
        """LEAN's message where the order does not fit into the free margin, empty where it does."""
        held, quantity = security.quantity, order.quantity
        opposite = held != 0 and (held > 0) != (quantity > 0)
        if opposite and abs(held) >= abs(quantity):
            return ""
        price, rate = security.price, security.margin_rate
        free = self._portfolio.margin_remaining()
        if opposite:
            free += 2 * abs(held * price) * rate
        free = max(ZERO, fit(free))
        charge = fee(quantity, price)
        required = fit(price * quantity * rate + (charge if quantity > 0 else -charge))
        if abs(required) <= free:
            return ""
        value = smart(EXACT.multiply(price, quantity))
        shown = text(value)
        return (
            f"Order Error: ids: [{order.id}], Insufficient buying power to complete orders (Value:[{shown}]), "
            f"Reason: Id: {order.id}, Initial Margin: {text(normalise(required))}, "
            f"Free Margin: {text(normalise(free))}."
        )

    def _invalidate(self, order: Order, message: str, now: datetime) -> None:
        self.error(message)
        self._close(order, OrderStatus.INVALID, now, message)

    def _close(self, order: Order, status: OrderStatus, now: datetime, message: str = "") -> None:
        order.status = status
        self._untrack(order)
        self._publish(order, status, now, message)

    def _publish(self, order: Order, status: OrderStatus, now: datetime, message: str = "") -> None:
        self._portfolio.invalidate()
        order.events += 1
        self.on_event(OrderEvent(order, order.events, now, status, order.quantity, message=message))

    @staticmethod
    def _by_ticker(securities: Iterable[Security]) -> list[Security]:
        return sorted(securities, key=lambda security: security.symbol.value)


def _clear_quantity(
    security: Security, total: Decimal, weight: Decimal, buffer: Decimal, smallest: Decimal
) -> int | None:
    """What `Brokerage.target_quantity` comes to, worked out in doubles; None where LEAN's digits may decide.

    buffer, smallest: the settings' shares of the portfolio's value.
    """
    price, held = security.price, security.quantity
    value, rate, kept = float(total), float(security.margin_rate), float(ONE - buffer)
    unit = float(price) * rate
    if min(value, unit, kept) < _DOUBT:
        return None
    share = float(weight) * kept * rate
    target = share * value
    if abs(target - unit * held) <= float(smallest) * value * (1 + _DOUBT):
        return None
    previous = 0
    while True:
        shares = target / unit
        change = shares - held
        if abs(change - round(change)) <= _DOUBT * (1 + abs(shares) + abs(held)):
            return None
        quantity = math.floor(change) if target > 0 else math.ceil(change)
        if not quantity:
            return 0
        if quantity == previous:
            return None
        previous = quantity
        target = share * (value - float(fee(quantity, price)))
        missing = unit * abs(quantity + held) - abs(target)
        if abs(missing) <= _DOUBT * abs(target):
            return None
        if missing < 0:
            return quantity
