"""Dividends, splits and ticker changes, in raw prices and in adjusted ones.

A factor row of Friday 2013-06-07 takes effect at 00:00 of Monday 2013-06-10. Stocks are flat at 100 dollars, the run
goes from June 3 to June 14 with 100,000 dollars.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from minilean.enums import OrderStatus
from tests.minilean.tiny_market import TinyMarket, everything, placed, utc

EX = datetime(2013, 6, 10)


def run(market: TinyMarket, script: dict[str, Any], *, raw: bool = True, **stock: Any) -> Any:
    """AAA with those corporate actions is the universe's one member."""
    market.stock("AAA", **({"prices": 100} | stock))
    market.constituents("2013-05-31", "AAA")
    return market.run(script, universe_of=everything, raw=raw)


def order(quantity: int, tag: str = "") -> Callable[[Any], object]:
    """An action: a market-on-open order for the one member."""
    return lambda a: a.market_on_open_order(member(a), quantity, tag=tag)


def member(a: Any) -> Any:
    (symbol,) = a.securities.keys()
    return symbol


def split_in(ratio: float, factor: str, reference: str = "100") -> dict[str, Any]:
    """A split of June 10: the price is `ratio` of what it was."""
    return {"prices": {"2013-01-02": 100, "2013-06-10": 100 * ratio}, "factors": [f"20130607,1,{factor},{reference}"]}


# --- dividends


@pytest.mark.parametrize(
    ("quantity", "factor", "reference", "paid"),
    [
        (100, "0.99", "100", 100),
        (-100, "0.99", "100", -100),  # a short position pays
        (100, "0.9875", "10", 12),  # 0.125 a share: ties go to the even cent
        (100, "0.9865", "10", 14),  # 0.135
        (100, "0.98744", "10", 13),  # 0.1256
    ],
)
def test_a_dividend_in_raw_prices_is_cash_rounded_half_to_even_to_a_cent_a_share(
    market, quantity, factor, reference, paid
):
    engine = run(market, {"2013-06-03 09:00": order(quantity)}, factors=[f"20130607,{factor},1,{reference}"])
    assert engine.portfolio.cash == 100_000 - 100 * quantity - 1 + paid


def test_a_dividend_is_the_ratio_to_the_next_row(market):
    # 99 * (1 - 0.98 / 0.99) = 1.00 on June 5, then 100 * (1 - 0.99) = 1.00 on June 10
    rows = ["20130604,0.98,1,99", "20130607,0.99,1,100"]
    engine = run(market, {"2013-06-03 09:00": order(10)}, factors=rows)
    assert engine.portfolio.cash == 100_000 - 1000 - 1 + 10 + 10
    told = [when for when, name in engine.algorithm.told if name == "dividends"]
    assert told == [datetime(2013, 6, 5), EX]


def test_an_event_at_the_midnight_of_the_ex_date_sees_the_cash_before_the_dividend(market):
    cash: list[float] = []
    script: dict[str, Any] = {"2013-06-03 09:00": order(100)}
    script |= {f"2013-06-10 {at}": lambda a: cash.append(a.portfolio.cash) for at in ("00:00", "00:01")}
    run(market, script, factors=["20130607,0.99,1,100"])
    assert cash == [89_999, 90_099]


def test_a_dividend_leaves_open_orders_alone(market):
    engine = run(market, {"2013-06-07 16:01": order(10)}, factors=["20130607,0.99,1,100"])
    (only,) = engine.brokerage.orders
    assert (only.quantity, only.last_update_time, only.price) == (10, None, 100)


def test_a_row_that_is_not_on_a_session_does_nothing(market):
    engine = run(market, {"2013-06-03 09:00": order(10)}, factors=["20130608,0.99,1,100"])
    assert engine.portfolio.cash == 100_000 - 1000 - 1
    assert not [name for _, name in engine.algorithm.told if name == "dividends"]


@pytest.mark.parametrize(("listed", "told"), [("2013-06-06", [EX]), ("2013-06-07", [])])
def test_a_stock_must_be_subscribed_on_the_day_of_the_row(market, listed, told):
    # The list of June 6 is delivered on June 7, that of June 7 only on June 8.
    market.stock("AAA", factors=["20130607,0.99,1,100"])
    market.constituents(listed, "AAA")
    engine = market.run({}, universe_of=everything, raw=True)
    assert [when for when, name in engine.algorithm.told if name == "dividends"] == told


def test_nothing_happens_to_a_stock_that_was_removed(market):
    market.stock("AAA", factors=["20130607,0.99,0.5,100"])
    market.stock("BBB")
    market.constituents("2013-05-31", "AAA", "BBB")
    market.constituents("2013-06-04", "BBB")
    engine = market.run({}, universe_of=everything, raw=True)
    assert {name for _, name in engine.algorithm.told} == {"data"}


def test_a_dividend_is_part_of_the_profit_but_of_no_trades(market):
    engine = run(market, {"2013-06-03 09:00": order(100)}, factors=["20130607,0.99,1,100"])
    portfolio = engine.algorithm.portfolio
    holding = portfolio[member(engine.algorithm)]
    assert (holding.total_dividends, holding.profit, holding.net_profit, holding.last_trade_profit) == (100, 100, 99, 0)
    assert (portfolio.total_profit, portfolio.total_net_profit) == (100, 99)


# --- splits of positions


@pytest.mark.parametrize(
    ("quantity", "ratio", "factor", "after", "remainder"),
    [
        (100, 0.5, "0.5", 200, "0"),
        (5, 2, "2", 2, "100"),  # half a share at the new price of 200
        (-5, 2, "2", -2, "-100"),
        (3, 5, "5", 0, "300"),  # 0.6 shares at 500
    ],
)
def test_a_split_in_raw_prices_gives_whole_shares_and_the_fraction_in_cash_at_the_new_price(
    market, quantity, ratio, factor, after, remainder
):
    seen: list[Any] = []

    def look(a: Any) -> None:
        holding = a.portfolio[member(a)]
        seen.append((holding.quantity, holding.price))

    script = {"2013-06-03 09:00": order(quantity), "2013-06-10 00:00": look, "2013-06-10 00:01": look}
    engine = run(market, script, **split_in(ratio, factor))
    assert seen == [(quantity, 100), (after, 100 * ratio)]
    assert engine.portfolio.cash == 100_000 - 100 * quantity - 1 + Decimal(remainder)


def test_a_split_factor_that_does_not_divide_leaves_a_decimal_fraction(market):
    # 10 / 0.952381 = 10.49999475, the half share and a bit at 95.2381
    engine = run(market, {"2013-06-03 09:00": order(10)}, **split_in(0.952381, "0.952381"))
    fraction = Decimal(10) / Decimal("0.952381") - 10
    assert abs(engine.portfolio.cash - (100_000 - 1001 + fraction * Decimal("95.2381"))) < Decimal("1e-20")
    (security,) = engine.portfolio.active()
    assert security.quantity == 10


def test_the_average_price_follows_the_split(market):
    engine = run(market, {"2013-06-03 09:00": order(100)}, **split_in(0.5, "0.5"))
    (security,) = engine.portfolio.active()
    assert security.average_price == 50


def test_a_split_changes_the_last_bar_as_the_price(market):
    seen: list[tuple[float, ...]] = []

    def look(a: Any) -> None:
        stock = a.securities[member(a)]
        seen.append((stock.open, stock.high, stock.low, stock.close, stock.price, stock.volume))

    split = {"prices": {"2013-01-02": 100, "2013-06-07": (98, 100), "2013-06-10": 50}}
    script = {f"2013-06-10 {at}": look for at in ("00:00", "00:01")}
    run(market, script, **split, factors=["20130607,1,0.5,100"])
    assert seen == [(98, 100, 98, 100, 100, 1000), (49, 50, 49, 50, 50, 2000)]


def test_the_split_price_sizes_orders_until_the_next_bar_and_its_scale_grows(market):
    # 0.5 * 99,750 / 50 = 997.5
    script = {"2013-06-10 09:00": lambda a: a.set_holdings(member(a), 0.5)}
    (only,) = run(market, script, **split_in(0.5, "0.5")).brokerage.orders
    assert (only.quantity, str(only.submission_price)) == (997, "50.00000")


def test_a_dividend_on_the_day_of_a_split_is_paid_on_the_old_shares(market):
    prices = {"2013-01-02": 100, "2013-06-10": 50}
    engine = run(market, {"2013-06-03 09:00": order(100)}, prices=prices, factors=["20130607,0.99,0.5,100"])
    assert engine.portfolio.cash == 100_000 - 10_000 - 1 + 100
    (security,) = engine.portfolio.active()
    assert security.quantity == 200


# --- splits of open orders


def test_a_split_changes_each_open_order_by_an_update_at_midnight(market):
    # 101 / 2 and -3 / 2, toward zero
    script = {"2013-06-03 09:00": order(10), "2013-06-07 16:01": lambda a: [order(101, "mine")(a), order(-3)(a)]}
    engine = run(market, script, **split_in(2, "2"))
    first, second = engine.brokerage.orders[1:]
    assert (first.quantity, second.quantity) == (50, -1)
    for changed in (first, second):
        assert changed.time == utc("2013-06-07 16:01")
        assert changed.last_update_time == utc("2013-06-10 00:00")
        assert (changed.status, changed.price, changed.submission_price) == (OrderStatus.FILLED, 200, 100)
    assert first.tag == "mine"
    assert [(when, name) for when, number, name in engine.algorithm.events if number == 2] == [
        (datetime(2013, 6, 7, 16, 1), "SUBMITTED"),
        (EX, "UPDATE_SUBMITTED"),
        (datetime(2013, 6, 10, 16), "FILLED"),
    ]


def test_an_order_of_the_midnight_of_the_split_is_split_itself(market):
    (only,) = run(market, {"2013-06-10 00:00": order(101)}, **split_in(2, "2")).brokerage.orders
    assert only.quantity == 50
    assert only.last_update_time == only.time == utc("2013-06-10 00:00")


def test_a_split_order_that_never_fills_stays_updated(market):
    stock = split_in(2, "2") | {"until": "2013-06-07"}
    (only,) = run(market, {"2013-06-07 16:01": order(101)}, **stock).brokerage.orders
    assert (only.quantity, only.status) == (50, OrderStatus.UPDATE_SUBMITTED)


# --- adjusted prices


def test_in_adjusted_prices_positions_cash_and_open_orders_are_never_touched(market):
    rows = ["20130607,0.99,0.5,100"]
    script = {"2013-06-03 09:00": order(10), "2013-06-07 16:01": order(7)}
    prices = {"2013-01-02": 100, "2013-06-10": 50}
    engine = run(market, script, raw=False, prices=prices, factors=rows)
    assert placed(engine) == [("AAA", 10), ("AAA", 7)]
    assert engine.brokerage.orders[1].last_update_time is None
    # bought at 100 * 0.495 and at 50
    assert engine.portfolio.cash == 100_000 - Decimal("495.0") - 350 - 2


def test_an_adjusted_price_is_that_of_the_first_row_on_or_after_the_bar_with_the_digits_of_its_factors(market):
    rows = ["20130606,0.98,0.50,100", "20130607,0.9900,0.50,100"]
    script = {f"2013-06-{day} 16:00": order(1) for day in ("06", "07", "10")}
    engine = run(market, script, raw=False, factors=rows)
    # four places of the bar, and those of both factors as they are written
    assert [str(o.submission_price) for o in engine.brokerage.orders] == ["49.00000000", "49.5000000000", "100.0000"]


# --- ticker changes


def renamed(market: TinyMarket, script: dict[str, Any], **options: Any) -> Any:
    """OLD is called NEW from June 10 on."""
    market.stock("OLD", {"2013-01-02": 100, "2013-06-11": 120}, renamed=("2013-06-07", "NEW"))
    market.constituents("2013-05-31", "OLD")
    market.constituents("2013-06-11", "NEW", born={"NEW": "OLD"})
    return market.run(script, universe_of=everything, **options)


@pytest.mark.parametrize("raw", [False, True])
def test_a_ticker_change_cancels_open_orders_and_keeps_positions(market, raw):
    script = {"2013-06-03 09:00": order(10), "2013-06-07 16:01": lambda a: [order(5, "mine")(a), order(6)(a)]}
    engine = renamed(market, script, raw=raw)
    for pending, quantity in zip(engine.brokerage.orders[1:], (5, 6), strict=True):
        assert (pending.status, pending.quantity, pending.price) == (OrderStatus.CANCELED, quantity, 0)
        assert pending.tag == "Open order cancelled on symbol changed event"
        assert pending.canceled_time == utc("2013-06-10 00:00")
    (security,) = engine.portfolio.active()
    assert security.quantity == 10
    assert [when for when, name in engine.algorithm.told if name == "renames"] == [EX]


def test_orders_show_the_ticker_of_the_first_selection_for_the_whole_run(market):
    script = {"2013-06-03 09:00": order(1), "2013-06-10 09:00": order(2), "2013-06-13 09:00": order(3)}
    engine = renamed(market, script)
    assert placed(engine) == [("OLD", 1), ("OLD", 2), ("OLD", 3)]
    assert {o.symbol.sid for o in engine.brokerage.orders} == {str(market.sid("OLD"))}
    assert [o.price for o in engine.brokerage.orders] == [100, 100, 120]  # bars go on in the new ticker's file


def test_a_stock_first_selected_after_its_change_shows_the_new_ticker(market):
    assert placed(renamed(market, {"2013-06-12 09:00": order(1)}, start="2013-06-12")) == [("NEW", 1)]
