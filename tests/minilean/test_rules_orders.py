"""From calls to fills: sizing, order of a list, netting, queued requests, buying power, fees and fill rules.

Every expected number is worked out here from LEAN's rules; the comments show how. Unless a test says otherwise cash
is 100,000, stocks are flat at 100 dollars and leverage is 2, so margin is half of a position's value.
"""

import decimal
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilean.algorithm import PortfolioTarget
from minilean.brokerage import Brokerage, OrderSettings
from minilean.decimals import EXACT, ZERO, divide, from_float, normalise
from minilean.enums import OrderStatus, OrderType
from minilean.errors import AlgorithmError
from minilean.orders import Order
from minilean.securities import Security, fee
from minilean.symbols import named
from tests.minilean.tiny_market import Scripted, TinyMarket, everything, placed, utc

FILLED, SUBMITTED, CANCELED, INVALID = (
    OrderStatus.FILLED,
    OrderStatus.SUBMITTED,
    OrderStatus.CANCELED,
    OrderStatus.INVALID,
)


def hold(*weights: tuple[str, float], liquidate: bool = False) -> Any:
    """An action: set_holdings with that list of (ticker, weight)."""
    return lambda a: a.set_holdings([PortfolioTarget(a.market.symbol(t), w) for t, w in weights], liquidate)


def buy(*orders: tuple[str, int]) -> Any:
    """An action: one market-on-open order for each (ticker, quantity)."""
    return lambda a: [a.market_on_open_order(ticker, quantity) for ticker, quantity in orders]


def cancel(*ids: int, tag: str | None = None) -> Any:
    """An action: cancel those orders, in that order."""

    def action(a: Any) -> None:
        tickets = {ticket.order_id: ticket for ticket in a.transactions.get_open_order_tickets()}
        for number in ids:
            assert tickets[number].cancel(tag)

    return action


def both(*actions: Any) -> Any:
    return lambda a: [action(a) for action in actions]


def quantities(orders: list[Order]) -> list[int]:
    return [order.quantity for order in orders]


# --- sizing


MONEY = st.one_of(st.decimals("0.0001", 5000, places=4), st.decimals(1, 90, places=0), st.just(Decimal("1e-12")))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    price=MONEY,
    leverage=st.sampled_from(["1", "1.5", "2", "3", "7"]),
    held=st.one_of(st.just(0), st.integers(-1000, 10**6)),
    total=st.one_of(st.decimals(-100, 10**9, places=4), st.integers(1, 10**6).map(Decimal)),
    weight=st.one_of(st.decimals("-1.2", "1.2", places=3), st.floats(1e-9, 1.2).map(from_float), st.integers(1, 60)),
    buffer=st.sampled_from(["0", "0.0025", "0.5", "0.9999999999999999", "1"]),
    smallest=st.sampled_from(["0", "0.001"]),
)
def test_doubles_size_a_target_as_the_decimals_do(
    monkeypatch, price, leverage, held, total, weight, buffer, smallest
):
    """weight: a whole number asks for about that many shares."""
    security = Security(named("AAA"), Decimal(leverage), quantity=held)
    security.price = normalise(price)
    if isinstance(weight, int):
        weight = divide(weight * security.price * security.margin_rate, total) if total else ZERO
    portfolio = SimpleNamespace(total_value=lambda: total, margin_remaining=lambda: total)
    order_settings = OrderSettings(Decimal(buffer), Decimal(smallest))
    brokerage = Brokerage(portfolio, None, order_settings, None, None, None)

    def size() -> Any:
        try:
            return brokerage.target_quantity(security, weight)
        except (AlgorithmError, ArithmeticError) as error:
            return str(error)

    with decimal.localcontext(EXACT):
        found = size()
        with monkeypatch.context() as patch:
            patch.setattr("minilean.brokerage._clear_quantity", lambda *arguments: None)
            assert found == size()


@pytest.mark.parametrize(("weight", "quantity"), [(0.5, 498), (-0.5, -498), (0.1, 99), (1.5, 1496)])
def test_a_target_becomes_whole_shares_of_99_75_percent_of_the_weight(market, weight, quantity):
    # 0.5 * 99,750 / 100 = 498.75, 0.1: 99.75, 1.5: 1496.25; rounded toward the smaller position
    market.stock("AAA")
    engine = market.run({"2013-06-03 09:00": lambda a: a.set_holdings("AAA", weight)}, tickers=("AAA",))
    assert quantities(engine.brokerage.orders) == [quantity]


def test_the_fee_of_the_order_is_taken_from_the_portfolio_before_the_target_is_met(market):
    # 99,750 / 99.75 is 1000 shares exactly; their fee of 5 dollars leaves 99,995 * 0.9975 / 99.75 = 999.95
    market.stock("AAA", 99.75)
    engine = market.run({"2013-06-03 09:00": lambda a: a.set_holdings("AAA", 1)}, tickers=("AAA",))
    assert quantities(engine.brokerage.orders) == [999]


def test_a_target_of_zero_sells_the_whole_position(market):
    market.stock("AAA")
    script = {"2013-06-03 09:00": buy(("AAA", 7)), "2013-06-04 09:00": lambda a: a.set_holdings("AAA", 0)}
    assert quantities(market.run(script, tickers=("AAA",)).brokerage.orders) == [7, -7]


def test_every_target_uses_the_full_portfolio_whatever_is_pending(market):
    market.stock("AAA")
    market.stock("BBB")
    sizes: list[float] = []

    def size(a: Any) -> None:
        buy(("AAA", 900), ("BBB", 900))(a)
        sizes.extend(a.calculate_order_quantity(ticker, 0.5) for ticker in ("AAA", "BBB"))

    market.run({"2013-06-03 09:00": size}, tickers=("AAA", "BBB"))
    assert sizes == [498, 498]


def test_the_free_buffer_is_a_setting(market):
    # 0.49 * 95,000 / 100 = 465.5
    market.stock("AAA")

    def setup(a: Any) -> None:
        a.settings.free_portfolio_value_percentage = 0.05

    engine = market.run({"2013-06-03 09:00": hold(("AAA", 0.49))}, tickers=("AAA",), setup=setup)
    assert quantities(engine.brokerage.orders) == [465]


@pytest.mark.parametrize(
    ("weight", "minimum", "quantity"),
    [
        (0.0019, 0.001, []),  # margin 95, less than 0.001 * 100,000
        (0.002, 0.001, [19]),  # margin 100, not less; 20 shares at margin 5 and a fee of 1: 99.999 / 5
        (0.0019, 0, [18]),  # margin 95 less the fee's share: 94.99905 / 5
    ],
)
def test_a_change_of_margin_under_the_minimum_share_of_the_portfolio_is_dropped(market, weight, minimum, quantity):
    market.stock("AAA", 10)

    def setup(a: Any) -> None:
        a.settings.free_portfolio_value_percentage = 0
        a.settings.minimum_order_margin_portfolio_percentage = minimum

    engine = market.run({"2013-06-03 09:00": hold(("AAA", weight))}, tickers=("AAA",), setup=setup)
    assert quantities(engine.brokerage.orders) == quantity


@pytest.mark.parametrize(("price", "expected"), [(94, [1990, -1]), (100, [1990])])
def test_the_minimum_does_not_hold_back_an_order_when_no_margin_remains(market, price, expected):
    # At 94: value 100,000 - 9.95 - 1990 * 6 = 88,050.05, margin used 1990 * 47 = 93,530. The target margin is
    # 2.1292 * 0.9975 * 88,050.05 / 2 = 93,502.9, 27 dollars off where 88 is the minimum, and 1989.4 shares.
    # At 100 margin remains: 99,990.05 - 99,500; the target 1.9947 * 0.9975 * 99,990.05 / 2 = 99,475.7 is 24 off.
    market.stock("AAA", {"2013-01-02": 100, "2013-06-04": price})

    def setup(a: Any) -> None:
        a.settings.minimum_order_margin_portfolio_percentage = 0.001

    script = {
        "2013-06-03 09:00": buy(("AAA", 1990)),
        "2013-06-05 09:00": hold(("AAA", 2.1292 if price == 94 else 1.9947)),
    }
    assert quantities(market.run(script, tickers=("AAA",), setup=setup).brokerage.orders) == expected


@pytest.mark.parametrize("weight", [1e-11, 1.1e9, -1e-11])
def test_a_target_outside_1e_minus_10_to_1e9_orders_nothing_and_says_so(market, weight):
    market.stock("AAA")
    engine = market.run({"2013-06-03 09:00": hold(("AAA", weight))}, tickers=("AAA",))
    assert not engine.brokerage.orders
    assert any("AAA" in message for message in market.messages)


def test_a_symbol_without_a_price_cannot_be_sized(market):
    market.stock("AAA", {"2013-06-05": 100})
    script = {"2013-06-03 09:00": hold(("AAA", 0.5)), "2013-06-06 09:00": hold(("AAA", 0.5))}
    engine = market.run(script, tickers=("AAA",))
    assert [order.time for order in engine.brokerage.orders] == [utc("2013-06-06 09:00")]


# --- the order of a list


def test_a_list_orders_what_reduces_first_then_by_value_and_leaves_ties_in_place(market):
    # Values: AAA 0.25 -> -251 shares, BBB 0.1 -> -401, DDD 0.3 -> 299, CCC and EEE 0.1 -> 99 each.
    for ticker in ("AAA", "BBB", "CCC", "DDD", "EEE"):
        market.stock(ticker)
    targets = [("EEE", 0.1), ("AAA", 0.25), ("DDD", 0.3), ("CCC", 0.1), ("BBB", 0.1)]
    script = {"2013-06-03 09:00": buy(("AAA", 500), ("BBB", 500)), "2013-06-04 09:00": hold(*targets)}
    engine = market.run(script, tickers=("AAA", "BBB", "CCC", "DDD", "EEE"))
    expected = [("BBB", -401), ("AAA", -251), ("DDD", 299), ("EEE", 99), ("CCC", 99)]
    assert placed(engine)[2:] == expected


def test_a_value_is_quantity_times_price(market):
    # 0.4 * 99,750 / 30 = 1330 shares but for their fee, so 1329 (39,870); 0.5 at 100 dollars is 498 (49,800)
    market.stock("AAA", 30)
    market.stock("BBB")
    engine = market.run({"2013-06-03 09:00": hold(("AAA", 0.4), ("BBB", 0.5))}, tickers=("AAA", "BBB"))
    assert placed(engine) == [("BBB", 498), ("AAA", 1329)]


def test_open_market_on_close_orders_decide_what_reduces_but_are_not_netted(market):
    # 500 are on order at the close; a short target of -199 shares reduces them although nothing is held yet.
    market.stock("AAA")
    market.stock("BBB")
    script = {"2013-06-03 12:00": both(lambda a: a.market_order("AAA", 500), hold(("BBB", 0.5), ("AAA", -0.2)))}
    engine = market.run(script, tickers=("AAA", "BBB"))
    assert placed(engine) == [("AAA", 500), ("AAA", -199), ("BBB", 498)]


def test_targets_that_cannot_be_ordered_are_left_out_of_a_list(market):
    market.stock("AAA")
    market.stock("BBB", {"2013-06-10": 100})
    engine = market.run({"2013-06-03 09:00": hold(("BBB", 0.5), ("AAA", 0.5))}, tickers=("AAA", "BBB"))
    assert placed(engine) == [("AAA", 498)]


def test_a_list_liquidates_the_rest_first_by_ticker_with_the_tag_liquidated(market):
    for ticker in ("AAA", "BBB", "CCC"):
        market.stock(ticker)
    script = {
        "2013-06-03 09:00": buy(("CCC", 20), ("BBB", 10)),
        "2013-06-04 09:00": hold(("AAA", 0.5), liquidate=True),
    }
    engine = market.run(script, tickers=("CCC", "AAA", "BBB"))
    assert placed(engine)[2:] == [("BBB", -10), ("CCC", -20), ("AAA", 498)]
    assert [order.tag for order in engine.brokerage.orders[2:]] == ["Liquidated", "Liquidated", ""]


def test_a_list_cancels_open_orders_of_the_rest_even_without_a_position(market):
    market.stock("AAA")
    market.stock("BBB")
    script = {"2013-06-03 08:00": buy(("BBB", 5)), "2013-06-03 09:00": hold(("AAA", 0.5), liquidate=True)}
    pending, _ = market.run(script, tickers=("AAA", "BBB")).brokerage.orders
    assert (pending.status, pending.tag) == (CANCELED, "Liquidated")
    assert pending.canceled_time == utc("2013-06-03 09:00")


# --- netting


def test_lists_sent_while_the_market_is_closed_net_out(market):
    # 0.6 * 997.5 = 598.5 shares, of which 498 are on order
    market.stock("AAA")
    script = {"2013-06-03 09:00": both(hold(("AAA", 0.5)), hold(("AAA", 0.5)), hold(("AAA", 0.6)))}
    assert quantities(market.run(script, tickers=("AAA",)).brokerage.orders) == [498, 100]


def test_lists_sent_while_the_market_is_open_double(market):
    market.stock("AAA")
    script = {"2013-06-03 12:00": both(hold(("AAA", 0.5)), hold(("AAA", 0.5)))}
    orders = market.run(script, tickers=("AAA",)).brokerage.orders
    assert [(order.type, order.quantity) for order in orders] == [(OrderType.MARKET_ON_CLOSE, 498)] * 2


def test_a_single_target_nets_market_on_open_orders_too(market):
    market.stock("AAA")
    script = {"2013-06-03 09:00": lambda a: [a.set_holdings("AAA", w) for w in (0.5, 0.5, 0.2)]}
    # 199 - 498
    assert quantities(market.run(script, tickers=("AAA",)).brokerage.orders) == [498, -299]


# --- what a market order becomes, and when it fills


@pytest.mark.parametrize(
    ("moment", "kind"),
    [
        ("2013-06-08 12:00", OrderType.MARKET_ON_OPEN),  # a Saturday
        ("2013-06-10 00:00", OrderType.MARKET_ON_OPEN),
        ("2013-06-10 09:29:59", OrderType.MARKET_ON_OPEN),
        ("2013-06-10 09:30", OrderType.MARKET_ON_CLOSE),
        ("2013-06-10 15:44:30", OrderType.MARKET_ON_CLOSE),
        ("2013-06-10 15:44:31", OrderType.MARKET_ON_OPEN),
        ("2013-06-10 16:00", OrderType.MARKET_ON_OPEN),
        ("2013-07-03 12:44:30", OrderType.MARKET_ON_CLOSE),  # closes at 13:00
        ("2013-07-03 12:44:31", OrderType.MARKET_ON_OPEN),
        ("2013-07-03 13:00", OrderType.MARKET_ON_OPEN),
        ("2013-07-04 12:00", OrderType.MARKET_ON_OPEN),  # a holiday
    ],
)
def test_a_market_order_becomes_the_open_or_the_close_that_it_can_get(market, moment, kind):
    market.stock("AAA")
    engine = market.run({moment: lambda a: a.market_order("AAA", 5)}, tickers=("AAA",), end="2013-07-08")
    assert [order.type for order in engine.brokerage.orders] == [kind]


OPENS = {"2013-01-02": 100, "2013-06-03": (101, 111), "2013-06-04": (102, 112), "2013-06-05": (103, 113)}


@pytest.mark.parametrize(
    ("moment", "price", "day"),
    [
        ("2013-06-03 00:00", 101, "2013-06-03"),
        ("2013-06-03 09:00", 101, "2013-06-03"),
        ("2013-06-03 09:30", 101, "2013-06-03"),
        ("2013-06-03 10:00", 102, "2013-06-04"),
        ("2013-06-03 15:50", 102, "2013-06-04"),
        ("2013-06-03 16:00", 102, "2013-06-04"),
        ("2013-06-03 16:01", 102, "2013-06-04"),
    ],
)
def test_a_market_on_open_order_fills_at_the_first_open_at_or_after_its_time(market, moment, price, day):
    market.stock("AAA", OPENS)
    (order,) = market.run({moment: buy(("AAA", 5))}, tickers=("AAA",)).brokerage.orders
    assert (order.status, order.price) == (FILLED, price)
    assert order.last_fill_time == utc(f"{day} 16:00")


def test_a_market_on_open_order_waits_for_a_real_bar(market):
    market.stock("AAA", OPENS, without=["2013-06-03", "2013-06-04"])
    (order,) = market.run({"2013-06-03 09:00": buy(("AAA", 5))}, tickers=("AAA",)).brokerage.orders
    assert (order.price, order.last_fill_time) == (103, utc("2013-06-05 16:00"))


def test_a_market_on_close_order_fills_at_the_close_of_its_session(market):
    market.stock("AAA", OPENS)
    script = {"2013-06-04 12:00": lambda a: a.market_order("AAA", 5)}
    (order,) = market.run(script, tickers=("AAA",)).brokerage.orders
    assert (order.price, order.last_fill_time) == (112, utc("2013-06-04 16:00"))


def test_a_market_on_close_order_fills_at_13_00_on_an_early_close(market):
    market.stock("AAA")
    script = {"2013-07-03 11:00": lambda a: a.market_order("AAA", 5)}
    (order,) = market.run(script, tickers=("AAA",), end="2013-07-08").brokerage.orders
    assert order.last_fill_time == utc("2013-07-03 13:00")


def test_a_market_on_close_order_fills_at_the_last_real_close_even_if_that_is_old(market):
    market.stock("AAA", OPENS, without=["2013-06-04"])
    script = {"2013-06-04 12:00": lambda a: a.market_order("AAA", 5)}
    (order,) = market.run(script, tickers=("AAA",)).brokerage.orders
    assert (order.price, order.last_fill_time) == (111, utc("2013-06-04 16:00"))


def test_a_market_on_close_order_from_after_the_close_fills_at_the_next_close(market):
    market.stock("AAA", OPENS)
    script = {"2013-06-03 16:01": lambda a: a.market_on_close_order("AAA", 5)}
    (order,) = market.run(script, tickers=("AAA",)).brokerage.orders
    assert (order.price, order.last_fill_time) == (112, utc("2013-06-04 16:00"))


def test_a_market_on_open_order_is_taken_while_the_market_is_open(market):
    market.stock("AAA", OPENS)
    (order,) = market.run({"2013-06-03 12:00": buy(("AAA", 5))}, tickers=("AAA",)).brokerage.orders
    assert (order.type, order.price) == (OrderType.MARKET_ON_OPEN, 102)


def test_an_order_of_the_last_evening_stays_submitted(market):
    market.stock("AAA")
    (order,) = market.run({"2013-06-14 16:00": buy(("AAA", 5))}, tickers=("AAA",)).brokerage.orders
    assert (order.status, order.price, order.last_fill_time) == (SUBMITTED, 0, None)


# --- fees and cash


@pytest.mark.parametrize(
    ("quantity", "price", "charge"),
    [
        (100, "50", "1"),  # half a dollar is raised to one
        (-1000, "50", "5"),  # half a cent a share, also for sales
        (200, "50", "1"),
        (1000, "0.1", "0.5"),  # at most 0.5 % of 100 dollars
        (150, "0.01", "1"),  # the minimum is not capped
        (10_000, "1000000", "50"),
    ],
)
def test_a_fee_is_half_a_cent_a_share_at_least_a_dollar_else_at_most_half_a_percent(quantity, price, charge):
    assert fee(quantity, Decimal(price)) == Decimal(charge)


def test_the_cap_of_the_fee_uses_the_close_of_the_day_not_the_fill_price(market):
    # 10,000 shares: 50 dollars, capped at 0.005 * 10,000 * 0.10 = 5; at the open's 0.30 the cap would be 15
    market.stock("AAA", {"2013-01-02": 0.3, "2013-06-03": (0.3, 0.1)})
    engine = market.run({"2013-06-03 09:00": buy(("AAA", 10_000))}, tickers=("AAA",))
    assert engine.portfolio.total_fees == 5
    assert engine.portfolio.cash == 100_000 - 3000 - 5


def test_the_average_price_is_weighted_when_adding_kept_when_reducing_and_new_after_crossing_zero(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-04": 110, "2013-06-06": 120})
    seen: list[tuple[float, float]] = []
    script = {
        "2013-06-03 09:00": buy(("AAA", 10)),
        "2013-06-04 09:00": buy(("AAA", 30)),
        "2013-06-05 09:00": buy(("AAA", -20)),
        "2013-06-06 09:00": buy(("AAA", -25)),
        "2013-06-07 09:00": buy(("AAA", 5)),
    }
    for day in ("03", "04", "05", "06", "07"):
        script[f"2013-06-{day} 16:01"] = lambda a: seen.append(
            (a.portfolio["AAA"].quantity, a.portfolio["AAA"].average_price)
        )
    engine = market.run(script, tickers=("AAA",))
    # (10 * 100 + 30 * 110) / 40 = 107.5
    assert seen == [(10, 100), (40, 107.5), (20, 107.5), (-5, 120), (0, 0)]
    # closed: 20 * (110 - 107.5) + 20 * (120 - 107.5) + 5 * (120 - 120)
    assert engine.portfolio.total_profit() == 50 + 250


# --- buying power


@pytest.mark.parametrize(("quantity", "status"), [(-2490, FILLED), (-2500, INVALID)])
def test_an_order_across_zero_frees_the_margin_of_the_closed_side_twice(market, quantity, status):
    # Value 99,997.5, margin used 25,000: 74,997.5 + 2 * 25,000 = 124,997.5 are free.
    # 2490 shares need 124,500 + 12.45, 2500 need 125,000 + 12.5.
    market.stock("AAA")
    script = {"2013-06-03 09:00": buy(("AAA", 500)), "2013-06-04 09:00": buy(("AAA", quantity))}
    assert market.run(script, tickers=("AAA",)).brokerage.orders[1].status == status


def test_an_order_that_only_reduces_passes_when_nothing_is_free(market):
    # With BBB at 92 the portfolio is worth 100,000 - 10.5 - 1900 * 8 = 84,789.5 and 2500 + 87,400 of margin are used:
    # even with twice the margin of AAA added nothing is free.
    market.stock("AAA")
    market.stock("BBB", {"2013-01-02": 100, "2013-06-04": 92})
    script = {"2013-06-03 09:00": buy(("AAA", 50), ("BBB", 1900)), "2013-06-04 16:01": buy(("AAA", 1), ("AAA", -50))}
    _, _, bought, sold = market.run(script, tickers=("AAA", "BBB")).brokerage.orders
    assert (bought.status, sold.status) == (INVALID, FILLED)
    # 100 / 2 + the minimum fee; what is free is never less than zero
    reason = "(Value:[100]), Reason: Id: 3, Initial Margin: 51, Free Margin: 0."
    assert market.messages.count(f"Order Error: ids: [3], Insufficient buying power to complete orders {reason}") == 1


def test_an_order_too_large_at_submission_is_invalid_at_once(market):
    market.stock("AAA")
    engine = market.run({"2013-06-03 09:00": buy(("AAA", 2100), ("AAA", 1))}, tickers=("AAA",))
    order, following = engine.brokerage.orders
    assert (order.id, order.status, order.broker_id, order.tag, order.price) == (1, INVALID, "", "", 0)
    assert (following.id, following.status) == (2, FILLED)
    assert engine.algorithm.events[0] == (datetime(2013, 6, 3, 9), 1, "INVALID")
    assert [event for event in engine.algorithm.events if event[1] == 1] == engine.algorithm.events[:1]


def test_the_fill_is_checked_against_the_close_of_the_day(market):
    # At 100 dollars 95,000 + 9.5 fit into 100,000; at the close of 110 they are 104,509.5.
    market.stock("AAA", {"2013-01-02": 100, "2013-06-03": (100, 110)})
    engine = market.run({"2013-06-03 09:00": buy(("AAA", 1900))}, tickers=("AAA",))
    (order,) = engine.brokerage.orders
    assert (order.status, order.broker_id, order.price, order.last_fill_time) == (INVALID, "1", 0, None)
    assert [name for _, _, name in engine.algorithm.events] == ["SUBMITTED", "INVALID"]
    reason = "(Value:[209000]), Reason: Id: 1, Initial Margin: 104509.5, Free Margin: 100000."
    assert market.messages.count(f"Order Error: ids: [1], Insufficient buying power to complete orders {reason}") == 1


def test_of_two_orders_that_pass_alone_the_second_fails_at_its_fill(market):
    # Each needs 60,006; after the first 99,994 - 60,000 are left. Nothing is resized or tried again.
    market.stock("AAA")
    market.stock("BBB")
    engine = market.run({"2013-06-03 09:00": buy(("AAA", 1200), ("BBB", 1200))}, tickers=("AAA", "BBB"))
    assert [order.status for order in engine.brokerage.orders] == [FILLED, INVALID]
    assert quantities(engine.brokerage.orders) == [1200, 1200]


def test_an_order_of_15_50_is_checked_at_16_00_although_it_fills_tomorrow(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-03": (100, 110), "2013-06-04": 100})
    engine = market.run({"2013-06-03 15:50": buy(("AAA", 1900))}, tickers=("AAA",))
    assert engine.algorithm.events[-1] == (datetime(2013, 6, 3, 16), 1, "INVALID")


@pytest.mark.parametrize(
    ("quantity", "value", "margin"),
    [
        # 2100 * 101.9882 = 214,175.22; half of it and the fee of 10.5
        (2100, "214175.22", "107098.11"),
        # negative values have seven significant digits
        (-2100, "-214175.2", "-107098.11"),
    ],
)
def test_the_reason_shows_value_initial_and_free_margin_as_lean_prints_them(market, quantity, value, margin):
    market.stock("AAA", 101.9882)
    market.run({"2013-06-03 09:00": buy(("AAA", quantity))}, tickers=("AAA",))
    reason = f"(Value:[{value}]), Reason: Id: 1, Initial Margin: {margin}, Free Margin: 100000."
    assert market.messages.count(f"Order Error: ids: [1], Insufficient buying power to complete orders {reason}") == 1


# --- queued requests


def test_a_cancel_that_ends_an_event_happens_at_the_next_slice(market):
    market.stock("AAA")
    seen: list[Any] = []

    def look(a: Any) -> None:
        (ticket,) = a.transactions.get_open_order_tickets()
        seen.append(ticket.status)

    script = {"2013-06-03 09:00": buy(("AAA", 5)), "2013-06-03 15:50": cancel(1), "2013-06-03 15:55": look}
    engine = market.run(script, tickers=("AAA",))
    (order,) = engine.brokerage.orders
    assert seen == [OrderStatus.CANCEL_PENDING]
    assert (order.status, order.canceled_time) == (CANCELED, utc("2013-06-03 16:00"))
    assert engine.algorithm.events[1:] == [
        (datetime(2013, 6, 3, 15, 50), 1, "CANCEL_PENDING"),
        (datetime(2013, 6, 3, 16), 1, "CANCELED"),
    ]


def test_a_cancel_happens_with_the_next_submission_of_the_same_event(market):
    market.stock("AAA")
    script = {"2013-06-03 09:00": buy(("AAA", 5)), "2013-06-03 15:50": both(cancel(1), buy(("AAA", 6)))}
    assert market.run(script, tickers=("AAA",)).brokerage.orders[0].canceled_time == utc("2013-06-03 15:50")


def test_a_cancel_happens_in_the_next_hourly_slice(market):
    market.stock("AAA")
    script = {"2013-06-03 09:00": buy(("AAA", 5)), "2013-06-03 12:30": cancel(1)}
    assert market.run(script, tickers=("AAA",)).brokerage.orders[0].canceled_time == utc("2013-06-03 13:00")


def test_an_order_whose_cancel_is_queued_still_counts_in_the_netting(market):
    market.stock("AAA")
    script = {"2013-06-03 08:00": buy(("AAA", 100)), "2013-06-03 09:00": both(cancel(1), hold(("AAA", 0.5)))}
    engine = market.run(script, tickers=("AAA",))
    assert [(o.quantity, o.status) for o in engine.brokerage.orders] == [(100, CANCELED), (398, FILLED)]


def test_of_the_cancels_before_a_close_only_the_first_is_in_time_and_the_tag_stays(market):
    market.stock("AAA")
    market.stock("BBB")
    script = {"2013-06-03 09:00": buy(("AAA", 5), ("BBB", 5)), "2013-06-03 15:50": cancel(2, 1, tag="too late?")}
    filled, canceled = market.run(script, tickers=("AAA", "BBB")).brokerage.orders
    assert (filled.status, filled.price, filled.tag) == (FILLED, 100, "too late?")
    assert (canceled.status, canceled.canceled_time) == (CANCELED, utc("2013-06-03 16:00"))


def test_a_cancel_without_a_tag_keeps_the_orders_tag(market):
    market.stock("AAA")
    script = {
        "2013-06-03 09:00": lambda a: a.market_on_open_order("AAA", 5, tag="mine"),
        "2013-06-03 12:30": cancel(1),
    }
    assert market.run(script, tickers=("AAA",)).brokerage.orders[0].tag == "mine"


def test_an_order_with_a_pending_cancel_that_lacks_margin_is_skipped_and_can_fill_in_a_later_scan(market):
    # Held: 1000 AAA, about 49,995 free. Order 3 (800 BBB) needs 40,004 when sent, 52,004 at BBB's close of 130.
    # The scan after the first cancel skips it and fills order 4, whose sale frees 25,000; after the second it fills.
    market.stock("AAA")
    market.stock("BBB", {"2013-01-02": 100, "2013-06-04": (100, 130)})
    market.stock("CCC", without=["2013-06-04"])
    script = {
        "2013-06-03 09:00": buy(("AAA", 1000)),
        "2013-06-04 09:00": buy(("CCC", 1), ("BBB", 800), ("AAA", -500), ("CCC", 1)),
        "2013-06-04 15:50": cancel(2, 5, 3),
    }
    orders = market.run(script, tickers=("AAA", "BBB", "CCC")).brokerage.orders
    assert [order.status for order in orders] == [FILLED, CANCELED, FILLED, FILLED, CANCELED]


def test_liquidate_cancels_the_orders_of_a_symbol_by_id_modulo_37(market):
    # 42 comes before 35, so it is the one that is cancelled in time.
    market.stock("AAA")
    market.stock("BBB")
    numbers = [("BBB", 1)] * 34 + [("AAA", 1)] + [("BBB", 1)] * 6 + [("AAA", 1)]
    script = {"2013-06-03 09:00": buy(*numbers), "2013-06-03 15:50": lambda a: a.liquidate("AAA")}
    orders = market.run(script, tickers=("AAA", "BBB")).brokerage.orders
    assert [(orders[n - 1].status, orders[n - 1].tag) for n in (35, 42)] == [
        (FILLED, "Liquidated"),
        (CANCELED, "Liquidated"),
    ]


def test_liquidate_cancels_and_sells_with_its_tag(market):
    market.stock("AAA")
    script = {
        "2013-06-03 09:00": buy(("AAA", 30)),
        "2013-06-04 08:00": buy(("AAA", 5)),
        "2013-06-04 09:00": lambda a: a.liquidate("AAA", tag="out"),
    }
    orders = market.run(script, tickers=("AAA",)).brokerage.orders
    assert [(o.quantity, o.status, o.tag) for o in orders[1:]] == [(5, CANCELED, "out"), (-30, FILLED, "out")]


def test_liquidating_what_is_not_held_nor_known_does_nothing(market):
    market.stock("AAA")
    script = {"2013-06-03 09:00": both(lambda a: a.liquidate("AAA"), lambda a: a.liquidate("ZZZ"))}
    assert not market.run(script, tickers=("AAA",)).brokerage.orders


def test_liquidate_without_a_symbol_goes_through_all_by_ticker(market):
    for ticker in ("AAA", "BBB"):
        market.stock(ticker)
    script = {"2013-06-03 09:00": buy(("BBB", 1), ("AAA", 2)), "2013-06-04 09:00": lambda a: a.liquidate()}
    assert placed(market.run(script, tickers=("BBB", "AAA")))[2:] == [("AAA", -2), ("BBB", -1)]


# --- what is refused before it is an order


@pytest.mark.parametrize(
    ("moment", "order"),
    [
        ("2013-06-03 09:00", lambda a: a.market_order("AAA", 0)),
        ("2013-06-03 09:00", lambda a: a.market_on_open_order("LATE", 5)),  # no price yet
        ("2013-06-03 15:50", lambda a: a.market_on_close_order("AAA", 5)),  # inside the last 15.5 minutes
    ],
)
def test_a_refused_order_uses_no_id_and_leaves_an_error(market, moment, order):
    market.stock("AAA")
    market.stock("LATE", {"2013-06-10": 100})
    script = {moment: order, "2013-06-05 09:00": buy(("AAA", 5))}
    engine = market.run(script, tickers=("AAA", "LATE"))
    assert [(o.id, o.quantity) for o in engine.brokerage.orders] == [(1, 5)]
    assert any("order" in message or "price" in message for message in market.messages)


def test_the_text_for_a_quantity_of_zero_is_leans(market):
    market.stock("AAA")
    market.run({"2013-06-03 09:00": lambda a: a.market_order("AAA", 0)}, tickers=("AAA",))
    assert "Unable to submit order with id -10 that has zero quantity." in market.messages


def test_an_order_in_initialize_is_refused(market):
    market.stock("AAA")

    def setup(a: Any) -> None:
        a.add_equity("AAA")
        a.market_on_open_order("AAA", 5)

    assert not market.run({}, setup=setup).brokerage.orders


# --- delisted stocks that are selected again


MAY, JUNE = "2013-05-31", "2013-06-28"


def zombie(market: TinyMarket, script: dict[str, Any], *listed: str) -> Any:
    """AAA is a member, delists on June 14 and is on the list of June 28 again; BBB lives on. Until July 12."""
    market.stock("AAA", delisted="2013-06-14")
    market.stock("BBB")
    market.constituents(MAY, *(listed or ("AAA", "BBB")))
    market.constituents(JUNE, "AAA", "BBB")
    return market.run(script, universe_of=everything, end="2013-07-12")


def test_a_delisted_stock_selected_again_is_tradable_at_its_last_price_but_no_member(market):
    seen: list[Any] = []

    def look(a: Any) -> None:
        security = a.securities[market.symbol("AAA")]
        seen.append((security.is_tradable, security.price, market.symbol("AAA") in a.securities.keys()))  # noqa: SIM118

    engine = zombie(market, {"2013-06-17 09:00": look, "2013-07-01 09:00": look})
    assert seen == [(False, 100, False), (True, 100, False)]
    assert engine.algorithm.changes == [
        (datetime(2013, 6, 3), ["AAA", "BBB"], []),
        (datetime(2013, 6, 15), [], ["AAA"]),
    ]


def test_an_order_for_a_delisted_stock_stays_submitted_and_no_list_cancels_it(market):
    script = {"2013-07-01 09:00": hold(("AAA", 0.5)), "2013-07-03 09:00": hold(("BBB", 0.5), liquidate=True)}
    engine = zombie(market, script)
    assert [(o.symbol.value, o.status) for o in engine.brokerage.orders] == [("AAA", SUBMITTED), ("BBB", FILLED)]


def test_liquidating_a_delisted_stock_by_name_cancels_its_orders(market):
    script = {"2013-07-01 09:00": hold(("AAA", 0.5)), "2013-07-03 09:00": lambda a: a.liquidate(market.symbol("AAA"))}
    assert [o.status for o in zombie(market, script).brokerage.orders] == [CANCELED]


def test_open_orders_for_a_delisted_stock_are_netted(market):
    # 598 shares less the 498 that will never come
    script = {"2013-07-01 09:00": hold(("AAA", 0.5)), "2013-07-03 09:00": hold(("AAA", 0.6))}
    assert quantities(zombie(market, script).brokerage.orders) == [498, 100]


def test_a_market_order_for_a_delisted_stock_stays_open_and_fails_in_every_scan(market):
    # Two orders, because an error is not logged twice in a row.
    def order(a: Any) -> None:
        for _ in range(2):
            a.market_order(market.symbol("AAA"), 5)

    engine = zombie(
        market, {"2013-07-01 12:00": order, "2013-07-01 13:30": lambda a: a.liquidate(market.symbol("AAA"))}
    )
    assert [(o.type, o.status) for o in engine.brokerage.orders] == [(OrderType.MARKET, SUBMITTED)] * 2
    error = (
        "Order Error: id: 2, Transaction model failed to fill for order type: Market with error: Cannot perform fill "
        f"for {market.sid('AAA')} because no data subscription were found."
    )
    times = {when for when, message in market.log if message == error}
    assert {datetime(2013, 7, 1, hour) for hour in (12, 13, 14, 15, 16)} <= times


def test_a_market_on_open_order_for_a_delisted_stock_is_refused_while_the_market_is_open(market):
    script = {"2013-07-01 12:00": lambda a: a.market_on_open_order(market.symbol("AAA"), 5)}
    assert not zombie(market, script).brokerage.orders
    assert "Cannot submit a MarketOnOpen order while the market is open." in market.messages


def test_a_stock_first_selected_after_its_delisting_is_an_ordinary_member_whose_orders_never_fill(market):
    script = {
        "2013-07-01 09:00": hold(("AAA", 0.5)),
        "2013-07-03 09:00": hold(("AAA", 0.6)),
        "2013-07-05 09:00": hold(("BBB", 0.5), liquidate=True),
    }
    engine = zombie(market, script, "BBB")
    assert engine.algorithm.changes[1] == (datetime(2013, 6, 29), ["AAA"], [])
    expected = [(498, CANCELED), (100, CANCELED), (498, FILLED)]
    assert [(o.quantity, o.status) for o in engine.brokerage.orders] == expected


# --- the end of the money


def test_a_run_stops_as_completed_when_the_portfolio_is_worth_nothing(market):
    # 1990 shares on margin: 100,000 - 9.95 - 1990 * 51 is below zero.
    market.stock("AAA", {"2013-01-02": 100, "2013-06-05": 49})
    late: list[Any] = []
    script = {"2013-06-03 09:00": buy(("AAA", 1990)), "2013-06-06 09:00": lambda a: late.append(a.time)}
    engine = market.engine(type("Broke", (Scripted,), {"script": script, "tickers": ("AAA",)}))
    assert engine.run() is None
    assert late == []
