"""First in, first out: every number worked out by hand."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilean.data import DailyBars
from minilean.decimals import ZERO, divide, multiply, round_half_even
from minilean.enums import OrderStatus, OrderType
from minilean.orders import Order, OrderEvent
from minilean.results.trades import TradeBuilder
from minilean.securities import Clock, Feed

START = datetime(2015, 6, 1, 20)


class Market:
    """One stock whose fills and marks a test gives in order, a day apart."""

    def __init__(self, stock):
        self.builder = TradeBuilder()
        self.stock = stock
        self.days = 0
        self.orders = 0

    def fill(self, quantity, price, fee="1"):
        self.orders += 1
        when = START + timedelta(days=self.days)
        order = Order(self.orders, OrderType.MARKET_ON_OPEN, self.stock.symbol, quantity, when)
        paid = None if fee is None else Decimal(fee)
        event = OrderEvent(order, 2, when, OrderStatus.FILLED, quantity, Decimal(price), quantity, paid)
        self.builder.fill(event, self.stock)

    def mark(self, *prices):
        for price in prices:
            self.days += 1
            self.stock.price = Decimal(price)
            self.builder.mark(self.stock)

    @property
    def closed(self):
        return self.builder.closed


@pytest.fixture
def market(make_security):
    return Market(make_security("AAA"))


def texts(trade):
    return [
        str(value)
        for value in (trade.profit_loss, trade.total_fees, trade.mae, trade.mfe, trade.end_trade_drawdown)
    ]


def test_a_round_trip_takes_its_extremes_from_marks_and_the_exit_price(market):
    market.fill(10, "100")
    market.mark("97.5", "112.25", "105")
    market.fill(-10, "103")
    (trade,) = market.closed
    # worst 97.5, best 112.25; from the best it fell to the exit at 103; fees of both orders
    assert texts(trade) == ["30", "2", "-25.0", "122.50", "92.50"]
    assert trade.direction == 1
    assert trade.quantity == 10
    assert trade.order_ids == (1, 2)
    assert trade.exit_time - trade.entry_time == timedelta(days=3)
    assert trade.ticks == 3 * 86_400 * 10**7


def test_profits_are_rounded_to_cents_half_to_even_and_keep_fewer_places(market):
    market.fill(1, "10.000")
    market.fill(-1, "10.125")
    market.fill(1, "10")
    market.fill(-1, "12.5")
    assert [texts(trade)[0] for trade in market.closed] == ["0.12", "2.5"]


def test_lots_are_closed_from_the_oldest_and_each_fee_is_charged_once(market):
    market.fill(10, "100", "1")
    market.mark("101")
    market.fill(20, "102", "2")
    market.fill(-4, "103", "0.5")
    market.fill(-16, "104", "0.75")
    closed = [
        (int(trade.quantity), str(trade.entry_price), str(trade.exit_price), str(trade.total_fees), trade.order_ids)
        for trade in market.closed
    ]
    assert closed == [
        (4, "100", "103", "1.5", (1, 3)),
        (6, "100", "104", "0.75", (1, 4)),
        (10, "102", "104", "2", (2, 4)),
    ]
    market.fill(-10, "105", None)
    assert str(market.closed[-1].total_fees) == "0"
    assert len(market.closed) == 4


def test_a_later_lot_inherits_the_extremes_of_the_position_but_not_its_drawdown(market):
    market.fill(1, "100")
    market.mark("120", "90")
    market.fill(1, "95")
    market.mark("96")
    market.fill(-2, "96")
    first, second = market.closed
    assert texts(first) == ["-4", "2", "-10", "20", "30"]
    # entered at 95, up to 96: it never fell, though the position had seen 90 and 120
    assert texts(second) == ["1", "1", "-5", "25", "0"]


def test_a_fill_beyond_the_position_reverses_it_without_a_second_fee(market):
    market.fill(5, "50", "1")
    market.mark("60")
    market.fill(-8, "55", "2")
    market.mark("40", "58")
    market.fill(3, "45", "4")
    long, short = market.closed
    assert (long.direction, int(long.quantity), str(long.total_fees)) == (1, 5, "3")
    assert (short.direction, int(short.quantity), str(short.total_fees)) == (-1, 3, "4")
    # short from 55: best at 40, worst at 58, and 18 a share given back between them
    assert texts(short)[0::2] == ["30", "-9", "54"]
    assert texts(short)[3] == "45"


def test_a_split_scales_prices_and_divides_quantities_without_rounding_them(market):
    market.fill(5, "100")
    market.mark("110", "104")
    market.builder.split(market.stock, Decimal("0.4"))
    market.mark("41")
    market.fill(-12, "42")
    (trade,) = market.closed
    # 12 of 12.5 shares, entered at 40; best 44, worst 40; a fall of 6 became 2.4 and 44 to 41 is 3
    assert (str(trade.entry_price), str(trade.quantity)) == ("40.0", "12")
    assert texts(trade) == ["24.0", "2", "0.0", "48.0", "36.0"]


def test_marks_before_a_position_and_after_it_count_for_nothing(market):
    market.mark("1000")
    market.fill(1, "10")
    market.fill(-1, "11")
    market.mark("1")
    market.fill(1, "10")
    market.fill(-1, "12")
    assert [texts(trade)[2:4] for trade in market.closed] == [["0", "1"], ["0", "2"]]


def test_lots_forget_no_mark_however_many_there_are(market):
    market.fill(1000, "100")
    market.fill(1, "100")
    for n in range(1500):
        market.mark(str(100 + n % 7), "90" if n == 3 else "101")
        if n % 10 == 0:
            market.fill(-1, "101")
    market.fill(-2000, "101")
    assert texts(market.closed[-1])[2:] == ["-10", "6", "13"]


class Slowly:
    """The definition: every open lot looks at every mark as it comes."""

    def __init__(self):
        self.closed = []
        self.lots = []
        self.direction = 0

    def mark(self, price):
        if not self.lots:
            return
        self.lowest, self.highest = min(self.lowest, price), max(self.highest, price)
        for lot in self.lots:
            profit = price - lot.price if self.direction > 0 else lot.price - price
            if profit >= lot.best:
                lot.best = profit
            elif lot.best - profit > lot.drawdown:
                lot.drawdown = lot.best - profit

    def split(self, factor):
        for lot in self.lots:
            lot.price, lot.best, lot.drawdown = (multiply(x, factor) for x in (lot.price, lot.best, lot.drawdown))
            lot.quantity = divide(lot.quantity, factor)
        if self.lots:
            self.lowest, self.highest = multiply(self.lowest, factor), multiply(self.highest, factor)

    def fill(self, number, quantity, price, fee):
        self.mark(price)
        direction, left = (1 if quantity > 0 else -1), Decimal(abs(quantity))
        while left and self.lots and self.direction != direction:
            lot = self.lots[0]
            amount = min(left, lot.quantity)
            gains = [x - lot.price for x in (price, self.lowest, self.highest)]
            if self.direction < 0:
                gains = [lot.price - x for x in (price, self.highest, self.lowest)]
            profit, *others = (round_half_even(multiply(gain, amount), 2) for gain in (*gains, lot.drawdown))
            self.closed.append((lot.number, number, (lot.price, price, amount, profit, lot.fee + fee, *others)))
            left -= amount
            lot.quantity -= amount
            lot.fee = fee = ZERO
            if not lot.quantity:
                del self.lots[0]
        if left:
            if not self.lots:
                self.direction, self.lowest, self.highest = direction, price, price
            state = {"best": ZERO, "drawdown": ZERO, "number": number, "quantity": left, "price": price, "fee": fee}
            self.lots.append(SimpleNamespace(**state))


PRICES = st.sampled_from(["99", "99.5", "100", "100.25", "100.5", "101", "101.2345", "1.2345"])
FILL = st.tuples(st.just("fill"), st.integers(-9, 9).filter(bool), PRICES)
BARS = st.tuples(st.just("bars"), st.integers(1, 9))
MARK = st.tuples(st.just("mark"), st.sampled_from(["99.0", "100", "101.25"]))
CONFIRM = st.tuples(st.just("confirm"))
SPLIT = st.tuples(st.just("split"), st.sampled_from(["0.5", "0.3333333333333333333333333333", "4"]))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.one_of(FILL, FILL, BARS, BARS, MARK, CONFIRM, SPLIT), max_size=30),
    seed=st.integers(0, 2**32 - 1),
    adjusted=st.booleans(),
)
def test_closed_trades_are_those_of_the_definition(make_security, steps, seed, adjusted):
    """seed: of the sessions that have a bar, and of their closes. Where those are adjusted, nothing splits."""
    stock, clock, random = make_security("AAA"), Clock(), np.random.default_rng(seed)
    sessions = np.arange(300) + date(2015, 1, 1).toordinal()
    closes = random.choice([990_000, 995_000, 1_000_000, 1_002_500, 1_012_345], len(sessions))
    traded = np.flatnonzero(random.random(len(sessions)) < 0.8)
    daily = DailyBars(sessions[traded], *[closes[traded]] * 5)
    stock.feed = Feed.along(sessions, daily, adjusted, clock, lambda day: None, date(2015, 1, 1), None)
    builder, slowly = TradeBuilder(), Slowly()
    for number, (kind, *what) in enumerate(steps, 1):
        if kind == "bars":
            for _ in range(what[0]):
                clock.position += 1
                if clock.position in traded:
                    slowly.mark(Decimal(int(closes[clock.position])).scaleb(-4))
        elif kind in ("mark", "confirm"):
            row = int(stock.feed.rows[clock.position]) if clock.position >= 0 else -1
            stock.price = daily.price(daily.close, row, adjusted) if row >= 0 else Decimal(100)
            if kind == "mark":
                stock.price = Decimal(what[0])
            builder.mark(stock)
            slowly.mark(stock.price)
        elif kind == "split" and not adjusted:
            builder.split(stock, Decimal(what[0]))
            slowly.split(Decimal(what[0]))
        elif kind == "fill":
            quantity, price, fee = what[0], Decimal(what[1]), Decimal(number)
            order = Order(number, OrderType.MARKET_ON_OPEN, stock.symbol, quantity, START)
            builder.fill(OrderEvent(order, 2, START, OrderStatus.FILLED, quantity, price, quantity, fee), stock)
            slowly.fill(number, quantity, price, fee)
    found = [
        [*trade.order_ids, str(trade.entry_price), str(trade.exit_price), str(trade.quantity), *texts(trade)]
        for trade in builder.closed
    ]
    assert found == [[*ids, *map(str, amounts)] for *ids, amounts in slowly.closed]
