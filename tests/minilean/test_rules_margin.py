"""Margin calls: when LEAN sends them, for how many shares, and what becomes of them on daily bars.

Stocks stand at 100 dollars until June 4; cash is 100,000 and leverage 2, so that margin is half of a position's value.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from minilean.enums import OrderStatus, OrderType
from minilean.errors import NotInHost
from tests.minilean.tiny_market import Scripted, TinyMarket, placed, utc

START = "2013-06-03 09:00"


def falling(market: TinyMarket, ticker: str, price: float, **more: Any) -> None:
    market.stock(ticker, {"2013-01-02": 100, "2013-06-04": price}, **more)


def buy(*orders: tuple[str, int]) -> Any:
    return lambda a: [a.market_on_open_order(ticker, quantity) for ticker, quantity in orders]


def warnings_of(market: TinyMarket, price: float, quantity: int = 1990) -> list[datetime]:
    """When on_margin_call_warning was called, up to June 5, in a run that buys AAA on June 3."""
    falling(market, "AAA", price)
    warned: list[datetime] = []
    market.run(
        {START: buy(("AAA", quantity))},
        tickers=("AAA",),
        end="2013-06-05",
        on_margin_call_warning=lambda a: warned.append(a.time),
    )
    return warned


def test_positions_are_reduced_to_the_margin_that_the_portfolio_is_worth_in_every_hour_until_a_bar_comes(market):
    # At 90: 100,000 - 9.95 - 1990 * 10 = 80,090.05 dollars, margin used 1990 * 45 = 89,550, more than 1.1 times that.
    # 80,090.05 less the fee is margin for 1779 shares at 45. All six orders fill at the close of the day.
    falling(market, "AAA", 90)
    engine = market.run({START: buy(("AAA", 1990))}, tickers=("AAA",), end="2013-06-06")
    first, *calls = engine.brokerage.orders
    assert first.quantity == 1990
    assert [(order.quantity, order.type, order.tag) for order in calls] == [(-211, OrderType.MARKET, "Margin Call")] * 6
    assert [order.time for order in calls] == [utc(f"2013-06-05 {hour}:00") for hour in range(10, 16)]
    assert {(order.status, order.price, order.last_fill_time) for order in calls} == {
        (OrderStatus.FILLED, Decimal(90), utc("2013-06-05 16:00"))
    }
    said = [message for message in market.messages if "Margin" in message]
    assert said[0] == "06/05/2013 10:00:00 - Executed MarginCallOrder: AAA - Quantity: -211 @ 0"


def test_a_fill_of_a_margin_call_says_that_there_were_no_quotes(market):
    falling(market, "AAA", 90)
    said: list[str] = []
    market.run(
        {START: buy(("AAA", 1990))},
        tickers=("AAA",),
        end="2013-06-05",
        on_order_event=lambda a, event: said.append(event.message),
    )
    assert said[-1] == (
        "Warning: No quote information available at 06/05/2013 16:00:00 America/New_York, "
        "order filled using TradeBar data"
    )


def test_a_margin_call_waits_for_the_next_real_bar(market):
    falling(market, "AAA", 90, without=["2013-06-05"])
    engine = market.run({START: buy(("AAA", 1990))}, tickers=("AAA",), end="2013-06-06")
    calls = engine.brokerage.orders[1:]
    assert len(calls) == 12
    assert {order.last_fill_time for order in calls} == {utc("2013-06-06 16:00")}


@pytest.mark.parametrize(("price", "n_calls"), [(91.22, 0), (91.21, 6)])
def test_there_is_no_call_up_to_ten_percent_more_margin_than_the_portfolio_is_worth(market, price, n_calls):
    # 995 p = 1.1 * (1990 p - 99,009.95) at p = 91.2152
    falling(market, "AAA", price)
    engine = market.run({START: buy(("AAA", 1990))}, tickers=("AAA",), end="2013-06-05")
    assert len(engine.brokerage.orders) == 1 + n_calls


def test_the_largest_loser_is_called_first(market):
    falling(market, "AAA", 92)
    falling(market, "BBB", 86)
    engine = market.run({START: buy(("AAA", 995), ("BBB", 994))}, tickers=("AAA", "BBB"), end="2013-06-05")
    assert [ticker for ticker, _ in placed(engine)[2:4]] == ["BBB", "AAA"]


def test_a_short_position_is_bought_back(market):
    # At 112: 100,000 - 9.9 - 1980 * 12 = 76,230.1 dollars, margin used 1980 * 56 = 110,880: 1361 shares are left
    market.stock("AAA", {"2013-01-02": 100, "2013-06-04": 112})
    engine = market.run({START: buy(("AAA", -1980))}, tickers=("AAA",), end="2013-06-05")
    assert {quantity for _, quantity in placed(engine)[1:]} == {1980 - 1361}


def test_what_crosses_zero_is_checked_like_any_other_order(market):
    # At 80 each of six orders sells 486 of 1990 shares: four reduce, and the margin is there for two that sell short.
    falling(market, "AAA", 80)
    engine = market.run({START: buy(("AAA", 1990))}, tickers=("AAA",), end="2013-06-05")
    calls = engine.brokerage.orders[1:]
    assert [(order.quantity, order.status) for order in calls] == [(-486, OrderStatus.FILLED)] * 6
    assert engine.find("AAA").quantity == 1990 - 6 * 486


def test_on_an_early_close_there_are_calls_until_noon(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-07-02": 90})
    engine = market.run({START: buy(("AAA", 1990))}, tickers=("AAA",), end="2013-07-03")
    assert [order.time for order in engine.brokerage.orders[1:]] == [utc(f"2013-07-03 {h}:00") for h in (10, 11, 12)]


def test_the_warning_comes_with_five_percent_of_margin_left_and_in_place_of_a_call_while_the_market_is_closed(market):
    # At 100 dollars 99,990.05 - 99,500 are left, less than five percent of the portfolio
    hours = [datetime(2013, 6, 4, hour) for hour in range(10, 16)]
    assert warnings_of(market, 90) == [datetime(2013, 6, 3, 16), *hours, datetime(2013, 6, 4, 16)]


def test_no_warning_comes_while_more_than_five_percent_are_left(market):
    assert warnings_of(market, 100, quantity=1000) == []


def test_an_algorithm_that_wants_to_change_margin_calls_is_refused_when_the_first_one_comes(market):
    falling(market, "AAA", 90)
    names = {"script": {START: buy(("AAA", 1990))}, "market": market, "tickers": ("AAA",)}
    engine = market.engine(type("Changes", (Scripted,), names | {"on_margin_call": lambda self, requests: requests}))
    failure = engine.run()
    assert failure is not None
    assert str(NotInHost("on_margin_call")) in failure.message
    assert engine.now == datetime(2013, 6, 5, 10)
