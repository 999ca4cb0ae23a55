"""The universe over time: when it is chosen, who gets a price, who leaves, comes back or is delisted.

Stocks are flat at 100 dollars and cash is 100,000 unless a test says otherwise; the run goes from Monday 2013-06-03
to Friday 2013-06-14.
"""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minilean.algorithm import PortfolioTarget, UniverseNames
from minilean.enums import OrderStatus, OrderType
from minilean.portfolio import ActiveSet
from minilean.securities import Security
from tests.minilean.tiny_market import TinyMarket, everything, placed, utc


def members(market: TinyMarket, *tickers: str) -> None:
    """Stocks that are constituents from the start of the run."""
    for ticker in tickers:
        market.stock(ticker)
    market.constituents("2013-05-31", *tickers)


def active(a: Any) -> list[str]:
    return sorted(symbol.value for symbol in a.securities.keys())  # noqa: SIM118 - iterating LEAN's gives pairs


def watch(seen: list[Any], look: Any) -> Any:
    """An action that notes what `look` finds."""
    return lambda a: seen.append(look(a))


def state(a: Any, market: TinyMarket, ticker: str) -> tuple[Any, ...]:
    security = a.securities[market.symbol(ticker)]
    return security.price, security.has_data, security.is_tradable, ticker in active(a)


# --- selection


def test_a_file_is_delivered_at_midnight_after_its_day_and_the_last_one_before_the_start_at_the_start(market):
    members(market, "AAA")
    market.constituents("2013-06-07", "AAA")  # a Friday
    market.constituents("2013-06-11", "AAA")
    engine = market.run(universe_of=everything)
    assert engine.algorithm.selections == [datetime(2013, 6, 3), datetime(2013, 6, 8), datetime(2013, 6, 12)]


def test_a_file_older_than_the_last_session_before_the_start_is_not_delivered(market):
    market.stock("AAA")
    market.constituents("2013-05-30", "AAA")
    market.constituents("2013-06-04", "AAA")
    engine = market.run(universe_of=everything)
    assert engine.algorithm.selections == [datetime(2013, 6, 5)]
    assert engine.algorithm.changes == [(datetime(2013, 6, 5), ["AAA"], [])]


def benchmarks(engine: Any, tmp_path: Path) -> list[float]:
    """The points of the chart of the benchmark, one a midnight."""
    engine.results().write(tmp_path / "out", "run", [])
    charts = json.loads((tmp_path / "out" / "run.json").read_text())["charts"]
    return [point[1] for point in charts["Benchmark"]["series"]["Benchmark"]["values"]]


def test_a_run_begins_with_its_first_data_and_the_benchmark_with_it(market, tmp_path):
    # The list of June 5 comes at the midnight of June 6: until then the events have waited, at their own times.
    seen: list[datetime] = []
    market.stock("AAA")
    market.constituents("2013-06-05", "AAA")
    noons = {f"2013-06-{day:02} 12:00": lambda a: seen.append(a.time) for day in (3, 4)}
    engine = market.run(
        noons | {"2013-06-06 00:00": lambda a: seen.append(a.time)}, universe_of=everything, end="2013-06-07"
    )
    assert seen == [datetime(2013, 6, 3, 12), datetime(2013, 6, 4, 12), datetime(2013, 6, 6)]
    assert engine.algorithm.told[0] == (datetime(2013, 6, 6, 16), "data")
    # June 3, 4 and 5 without, then those of June 6 and 7, and the end
    assert benchmarks(engine, tmp_path) == [0, 0, 0, 100, 100, 100]


def test_a_hand_picked_stock_lets_the_run_begin_at_its_start(market, tmp_path):
    market.stock("AAA")
    market.constituents("2013-06-05", "AAA")
    engine = market.run({}, universe_of=everything, tickers=("SPY",), end="2013-06-07")
    assert engine.algorithm.told[0] == (datetime(2013, 6, 3, 16), "data")
    assert benchmarks(engine, tmp_path) == [100] * 6


def test_a_file_of_a_day_without_session_is_not_read(market):
    members(market, "AAA")
    for day in ("2013-06-08", "2013-07-04"):
        market.constituents(day, "AAA")
    engine = market.run(universe_of=everything, end="2013-07-08")
    assert engine.algorithm.selections == [datetime(2013, 6, 3)]


def test_the_filter_sees_the_rows_in_file_order_with_none_for_an_empty_weight(market):
    for ticker in ("CCC", "AAA", "BBB"):
        market.stock(ticker)
    market.constituents("2013-05-31", "CCC", "AAA", "BBB", weights={"AAA": "", "BBB": "0.25"})
    rows: list[Any] = []

    def select(constituents: Any) -> Any:
        rows.extend(constituents)
        return []

    market.run(universe_of=select)
    assert [(row.symbol.value, row.weight) for row in rows] == [("CCC", 0.1), ("AAA", None), ("BBB", 0.25)]
    assert rows[0].shares_held == 1000
    assert rows[0].market_value is None
    assert rows[0].last_update == rows[0].time == datetime(2013, 5, 31)
    assert (rows[0].end_time, rows[0].period, rows[0].price) == (datetime(2013, 6, 1), timedelta(days=1), 0)


def test_the_order_of_the_chosen_has_no_effect(market):
    members(market, "AAA", "BBB")
    script = {"2013-06-03 09:00": lambda a: a.set_holdings([PortfolioTarget(s, 0.1) for s in a.securities.keys()])}  # noqa: SIM118
    forward = placed(market.run(script, universe_of=everything))
    assert placed(market.run(script, universe_of=lambda rows: everything(rows)[::-1])) == forward
    assert len(forward) == 2


def test_unchanged_keeps_the_members(market):
    members(market, "AAA", "BBB")
    market.constituents("2013-06-05", "AAA")
    answers = iter([everything, lambda rows: UniverseNames.UNCHANGED])
    engine = market.run(universe_of=lambda rows: next(answers)(rows))
    assert engine.algorithm.changes == [(datetime(2013, 6, 3), ["AAA", "BBB"], [])]


def test_a_file_dated_on_the_end_gives_a_last_slice_without_calling_the_filter(market):
    members(market, "AAA")
    market.constituents("2013-06-14", "AAA")
    script = {
        moment: lambda a: a.market_on_open_order(market.symbol("AAA"), 1)
        for moment in ("2013-06-14 16:01", "2013-06-15 00:00", "2013-06-15 00:01")
    }
    engine = market.run(script, universe_of=everything)
    assert engine.algorithm.selections == [datetime(2013, 6, 3)]
    assert [(o.time, o.status) for o in engine.brokerage.orders] == [
        (utc("2013-06-14 16:01"), OrderStatus.SUBMITTED),
        (utc("2013-06-15 00:00"), OrderStatus.SUBMITTED),
    ]


def test_without_that_file_nothing_runs_after_the_last_close(market):
    members(market, "AAA")
    seen: list[Any] = []
    script = {
        moment: watch(seen, lambda a: a.time)
        for moment in ("2013-06-14 16:00", "2013-06-14 16:01", "2013-06-15 00:00")
    }
    market.run(script, universe_of=everything)
    assert seen == [datetime(2013, 6, 14, 16)]


def test_an_event_at_the_midnight_of_a_selection_sees_the_new_members_before_they_are_reported(market):
    members(market, "AAA")
    market.stock("BBB")
    market.constituents("2013-06-04", "AAA", "BBB")
    seen: list[Any] = []
    look = watch(seen, lambda a: (active(a), a.securities[market.symbol("BBB")].price, len(a.changes)))
    market.run({"2013-06-05 00:00": look}, universe_of=everything)
    assert seen == [(["AAA", "BBB"], 100, 1)]


# --- prices of new members


def test_a_member_without_any_file_is_added_without_a_price_and_its_orders_are_refused(market):
    members(market, "AAA")
    market.constituents("2013-05-31", "AAA", "NOPX")
    seen: list[Any] = []

    def look(a: Any) -> None:
        security = a.securities[market.symbol("NOPX")]
        seen.append((security.price, security.has_data))
        a.market_on_open_order(market.symbol("NOPX"), 5)

    engine = market.run({"2013-06-10 09:00": look}, universe_of=everything)
    assert seen == [(0, False)]
    assert engine.algorithm.changes[0][1] == ["AAA", "NOPX"]
    assert not engine.brokerage.orders


@pytest.mark.parametrize(("sessions_ago", "price"), [(1, 100), (21, 100), (50, 100), (51, 0), (63, 0)])
def test_a_new_member_is_seeded_with_its_last_close_within_50_sessions(market, sessions_ago, price):
    past = market.calendar.sessions(market.first, date(2013, 6, 2))
    market.stock("AAA", until=f"{past[-sessions_ago]}")
    market.constituents("2013-05-31", "AAA")
    seen: list[Any] = []
    market.run({"2013-06-03 09:00": watch(seen, lambda a: state(a, market, "AAA"))}, universe_of=everything)
    assert seen == [(price, price > 0, True, True)]


def test_seeding_takes_the_last_bar_before_the_selection_in_the_universes_prices(market):
    market.stock("AAA", {"2013-01-02": 80, "2013-06-04": (70, 60)}, factors=["20130610,0.5,1,60"])
    market.constituents("2013-06-04", "AAA")
    for raw, price in ((False, 30), (True, 60)):
        seen: list[Any] = []
        look = watch(seen, lambda a: a.securities[market.symbol("AAA")].price)
        market.run({"2013-06-05 00:00": look}, universe_of=everything, raw=raw)
        assert seen == [price]


def test_without_seeding_the_price_comes_with_the_first_close(market):
    members(market, "AAA")

    def setup(a: Any) -> None:
        a.settings.seed_initial_prices = False

    seen: list[Any] = []
    look = watch(seen, lambda a: a.securities[market.symbol("AAA")].price)
    market.run({"2013-06-03 15:59": look, "2013-06-03 16:00": look}, universe_of=everything, setup=setup)
    assert seen == [0, 100]


def test_a_missing_bar_leaves_the_price_as_it_is(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-04": 110, "2013-06-05": 120}, without=["2013-06-05"])
    market.constituents("2013-05-31", "AAA")
    seen: list[Any] = []
    look = watch(seen, lambda a: a.securities[market.symbol("AAA")].price)
    market.run({f"2013-06-0{day} 16:01": look for day in (4, 5, 6)}, universe_of=everything)
    assert seen == [110, 110, 120]


# --- leaving and coming back


def test_a_member_without_position_and_orders_is_gone_at_once_but_can_be_looked_up(market):
    members(market, "AAA", "BBB")
    market.constituents("2013-06-04", "BBB")
    seen: list[Any] = []
    look = watch(seen, lambda a: (*state(a, market, "AAA"), market.symbol("AAA") in a.securities))
    engine = market.run({"2013-06-05 09:00": look}, universe_of=everything)
    assert seen == [(0, False, False, False, True)]
    assert engine.algorithm.changes[1] == (datetime(2013, 6, 5), [], ["AAA"])


def test_a_member_that_is_held_stays_until_the_first_selection_after_its_sale(market):
    members(market, "AAA", "BBB")
    for day in ("2013-06-04", "2013-06-06"):
        market.constituents(day, "BBB")
    seen: list[Any] = []
    look = watch(seen, lambda a: state(a, market, "AAA"))
    script = {
        "2013-06-03 09:00": lambda a: a.market_on_open_order(market.symbol("AAA"), 5),
        "2013-06-05 09:00": look,
        "2013-06-05 09:01": lambda a: a.liquidate(market.symbol("AAA")),
        "2013-06-06 12:00": look,
        "2013-06-07 00:00": look,
    }
    engine = market.run(script, universe_of=everything)
    assert seen == [(100, True, True, True), (100, True, True, True), (0, False, False, False)]
    assert engine.algorithm.changes[1:] == [(datetime(2013, 6, 5), [], ["AAA"])]


def test_a_member_with_an_open_order_stays_until_a_selection_after_its_end(market):
    market.stock("AAA", without=["2013-06-04", "2013-06-05"])
    market.stock("BBB")
    market.constituents("2013-05-31", "AAA", "BBB")
    for day in ("2013-06-04", "2013-06-05"):
        market.constituents(day, "BBB")
    seen: list[Any] = []
    look = watch(seen, lambda a: "AAA" in active(a))
    script = {
        "2013-06-04 09:00": lambda a: a.market_on_open_order(market.symbol("AAA"), 5),
        "2013-06-05 00:00": look,
        "2013-06-05 09:00": lambda a: a.transactions.cancel_open_orders(market.symbol("AAA")),
        "2013-06-06 00:00": look,
    }
    market.run(script, universe_of=everything)
    assert seen == [True, False]


def test_those_that_wait_to_leave_go_even_when_the_selection_is_unchanged(market):
    members(market, "AAA", "BBB")
    for day in ("2013-06-04", "2013-06-06"):
        market.constituents(day, "BBB")
    answers = iter([everything, everything, lambda rows: UniverseNames.UNCHANGED])
    seen: list[Any] = []
    script = {
        "2013-06-03 09:00": lambda a: a.market_on_open_order(market.symbol("AAA"), 5),
        "2013-06-05 09:00": lambda a: a.liquidate(market.symbol("AAA")),
        "2013-06-07 09:00": watch(seen, active),
    }
    market.run(script, universe_of=lambda rows: next(answers)(rows))
    assert seen == [["BBB"]]


def test_a_member_that_comes_back_is_seeded_anew_and_has_the_default_leverage(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-05": 105, "2013-06-06": 106})
    market.stock("BBB")
    market.constituents("2013-05-31", "AAA", "BBB")
    market.constituents("2013-06-04", "BBB")
    market.constituents("2013-06-06", "AAA", "BBB")

    def setup(a: Any) -> None:
        a.universe_settings.leverage = 1

    seen: list[Any] = []
    look = watch(seen, lambda a: (*state(a, market, "AAA"), a.securities[market.symbol("AAA")].leverage))
    engine = market.run({"2013-06-03 09:00": look, "2013-06-07 00:00": look}, universe_of=everything, setup=setup)
    assert seen == [(100, True, True, True, 1), (106, True, True, True, 2)]
    assert engine.algorithm.changes[2] == (datetime(2013, 6, 7), ["AAA"], [])


def test_a_member_that_was_held_all_the_time_keeps_price_and_leverage_when_it_comes_back(market):
    members(market, "AAA", "BBB")
    market.constituents("2013-06-04", "BBB")
    market.constituents("2013-06-06", "AAA", "BBB")

    def setup(a: Any) -> None:
        a.universe_settings.leverage = 1

    seen: list[Any] = []
    look = watch(seen, lambda a: a.securities[market.symbol("AAA")].leverage)
    script = {"2013-06-03 09:00": lambda a: a.market_on_open_order(market.symbol("AAA"), 5), "2013-06-07 00:00": look}
    market.run(script, universe_of=everything, setup=setup)
    assert seen == [1]


def test_a_member_that_came_back_while_it_was_held_stays_after_its_sale(market):
    members(market, "AAA", "BBB")
    market.constituents("2013-06-04", "BBB")
    for day in ("2013-06-06", "2013-06-11"):
        market.constituents(day, "AAA", "BBB")
    seen: list[Any] = []
    script = {
        "2013-06-03 09:00": lambda a: a.market_on_open_order(market.symbol("AAA"), 5),
        "2013-06-07 09:00": lambda a: a.liquidate(market.symbol("AAA")),
        "2013-06-12 09:00": watch(seen, lambda a: state(a, market, "AAA")),
    }
    market.run(script, universe_of=everything)
    assert seen == [(100, True, True, True)]


def test_a_freed_place_in_the_active_set_goes_to_the_next_one_the_last_freed_first(market):
    by_name = {name: Security(market.symbol(name)) for name in ("AAA", "BBB", "CCC", "DDD", "EEE")}
    found = ActiveSet()
    for name in ("AAA", "BBB", "CCC"):
        found.add(by_name[name])
    found.remove(by_name["AAA"])
    found.remove(by_name["BBB"])
    found.add(by_name["DDD"])
    found.add(by_name["EEE"])
    assert [security.symbol.value for security in found] == ["EEE", "DDD", "CCC"]
    assert by_name["AAA"] not in found
    assert len(found) == 3


# --- hand-picked stocks


def test_a_ticker_means_the_stock_that_has_it_today_not_the_one_of_the_runs_time(market):
    # ABC was one stock to June 5 and is another one since June 10.
    market.write("map_files/abc.csv", [("20130102", "abc", "N"), ("20130605", "abc", "N")])
    market.write("map_files/abc.1.csv", [("20130610", "abc", "N"), ("20501231", "abc", "N")])
    seen: list[Any] = []
    market.run({"2013-06-03 09:00": watch(seen, lambda a: a.securities["ABC"].symbol.id.date)}, tickers=("ABC",))
    assert seen == [datetime(2013, 6, 10)]


# --- delisting


def delisted(market: TinyMarket, script: dict[str, Any], **options: Any) -> Any:
    """AAA and BBB delist on Friday June 14, CCC lives on; the run ends on June 21."""
    for ticker in ("AAA", "BBB"):
        market.stock(ticker, delisted="2013-06-14")
    market.stock("CCC")
    market.constituents("2013-05-31", "BBB", "AAA", "CCC")
    return market.run(script, universe_of=everything, end="2013-06-21", **options)


def order(market: TinyMarket, *orders: tuple[str, int]) -> Any:
    return lambda a: [a.market_on_open_order(market.symbol(t), n) for t, n in orders]


def test_a_delisting_is_warned_of_on_the_last_day_and_happens_at_the_midnight_after_it(market):
    engine = delisted(market, {})
    assert [when for when, name in engine.algorithm.told if name == "delistings"] == [
        datetime(2013, 6, 14),
        datetime(2013, 6, 15),
    ]
    assert engine.algorithm.changes[1] == (datetime(2013, 6, 15), [], ["AAA", "BBB"])


def test_delisted_positions_are_sold_by_ticker_at_the_last_price_without_fee(market):
    engine = delisted(market, {"2013-06-03 09:00": order(market, ("BBB", 20), ("AAA", -10))})
    assert placed(engine)[2:] == [("AAA", 10), ("BBB", -20)]
    for sold in engine.brokerage.orders[2:]:
        assert (sold.type, sold.status, sold.price) == (OrderType.MARKET, OrderStatus.FILLED, 100)
        assert sold.time == sold.last_fill_time == utc("2013-06-15 00:00")
        assert (sold.tag, sold.broker_id, sold.price_currency) == ("Liquidate from delisting", "", "")
        assert sold.submission_price is None
    assert engine.portfolio.cash == 100_000 - 2  # the two fees of the first orders
    assert engine.algorithm.events[4:] == [
        (datetime(2013, 6, 15), 3, "FILLED"),
        (datetime(2013, 6, 15), 4, "FILLED"),
    ]


def test_the_order_of_delisting_sales_is_that_of_the_tickers_not_of_the_subscriptions(market):
    for ticker in ("BBB", "AAA"):
        market.stock(ticker, delisted="2013-06-07")
    script = {"2013-06-03 09:00": order(market, ("BBB", 1), ("AAA", 2))}
    assert placed(market.run(script, tickers=("BBB", "AAA")))[2:] == [("AAA", -2), ("BBB", -1)]


def test_open_orders_of_a_delisted_stock_are_cancelled_with_their_tag(market):
    script = {
        "2013-06-03 09:00": order(market, ("AAA", 10)),
        "2013-06-14 12:00": lambda a: a.market_on_open_order(market.symbol("AAA"), 5, tag="more"),
    }
    _, pending, sold = delisted(market, script).brokerage.orders
    assert (pending.status, pending.tag) == (OrderStatus.CANCELED, "more")
    assert pending.canceled_time == utc("2013-06-15 00:00")
    assert (sold.quantity, sold.status) == (-10, OrderStatus.FILLED)


def test_a_delisted_stock_is_out_of_the_portfolio_before_the_events_of_the_evening_run(market):
    seen: list[Any] = []
    look = watch(seen, lambda a: (active(a), a.securities[market.symbol("AAA")].is_tradable))
    delisted(market, {"2013-06-14 15:59": look, "2013-06-14 16:01": look})
    assert seen == [(["AAA", "BBB", "CCC"], True), (["CCC"], False)]


def test_the_total_value_counts_a_delisted_holding_until_the_first_order_event_and_again_after_its_sale(market):
    # 99,997.5 with the 500 shares: 0.5 * 0.9975 * 99,997.5 / 100 = 498.7; 49,997.5 without: 249.4.
    sizes: list[Any] = []
    size = watch(sizes, lambda a: a.calculate_order_quantity(market.symbol("CCC"), 0.5))

    def evening(a: Any) -> None:
        sizes.append(a.portfolio.margin_remaining)
        size(a)
        order(market, ("CCC", 1))(a)
        size(a)

    script = {
        "2013-06-03 09:00": order(market, ("AAA", 500)),
        "2013-06-14 16:01": evening,
        "2013-06-17 09:00": size,
    }
    delisted(market, script)
    # margin used excludes the holding at once, the cached total value does not
    assert sizes == [99_997.5, 498, 249, 498]


def test_the_price_of_a_delisting_sale_is_adjusted_where_prices_are(market):
    market.stock("AAA", 100, delisted="2013-06-14", factors=["20130614,0.5,1,100"])
    market.constituents("2013-05-31", "AAA")
    engine = market.run({"2013-06-03 09:00": order(market, ("AAA", 10))}, universe_of=everything, end="2013-06-21")
    assert [(o.quantity, o.price) for o in engine.brokerage.orders] == [(10, 50), (-10, 50)]
    assert engine.portfolio.cash == Decimal(100_000 - 1)


# --- cached total value


def test_the_total_value_is_that_after_the_last_close(market):
    market.stock("AAA", {"2013-01-02": 100, "2013-06-04": (100, 120)})
    market.constituents("2013-05-31", "AAA")
    seen: list[Any] = []
    look = watch(seen, lambda a: a.portfolio.total_portfolio_value)
    script = {"2013-06-03 09:00": order(market, ("AAA", 100)), "2013-06-04 15:59": look, "2013-06-04 16:00": look}
    market.run(script, universe_of=everything)
    assert seen == [99_999, 101_999]
