"""First in, first out: every number worked out by hand."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from minilean.enums import OrderStatus, OrderType
from minilean.orders import Order, OrderEvent
from minilean.results.trades import TradeBuilder

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
