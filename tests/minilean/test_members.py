"""LEAN's names on the host: in both spellings where they are there, refused by name where they are not."""

from datetime import date, datetime
from typing import Any

import pytest

from minilean.algorithm import Market, QCAlgorithm, UniverseNames
from minilean.enums import OrderStatus, OrderType, Resolution, SecurityType
from minilean.errors import NotInHost
from minilean.members import members, snake_case
from minilean.symbols import Symbol
from tests.minilean.tiny_market import asked

NOON = "2013-06-05 12:00"


@pytest.mark.parametrize(
    ("net", "python"),
    [
        ("SetHoldings", "set_holdings"),
        ("UtcTime", "utc_time"),
        ("ETF", "etf"),
        ("QC500", "qc_500"),
        ("T3", "t_3"),
        ("OnEndOfDay", "on_end_of_day"),
        ("set_holdings", "set_holdings"),
    ],
)
def test_a_net_name_is_offered_to_python_in_snake_case(net, python):
    assert snake_case(net) == python


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: a.add_option("AAA"), "add_option"),
        (lambda a: a.AddOption("AAA"), "AddOption"),
        (lambda a: a.sma("AAA", 20), "sma"),
        (lambda a: a.securities["AAA"].set_fee_model(None), "Equity.set_fee_model"),
        (lambda a: a.portfolio.get_buying_power("AAA"), "SecurityPortfolioManager.get_buying_power"),
        (lambda a: a.date_rules.set_default_time_zone(None), "DateRules.set_default_time_zone"),
        (lambda a: a.time_rules.every(None), "TimeRules.every"),
        (lambda a: a.universe.dollar_volume, "UniverseDefinitions.dollar_volume"),
        (lambda a: a.transactions.get_open_orders_remaining_quantity(), "SecurityTransactionManager"),
        (lambda a: a.market_order("AAA", 1).update(None), "OrderTicket.update"),
        (lambda a: a.object_store.max_size, "ObjectStore.max_size"),
        (lambda a: Symbol.create_option(), "Symbol.create_option"),
        (lambda a: Market.CME, "Market.CME"),
        (lambda a: a.time_zone.get_type(), "get_type"),
        (lambda a: a.market_order("AAA", 1, order_properties=1), "order_properties=1"),
        (lambda a: a.market_on_open_order("AAA", 1, False, "", 1), "order_properties=1"),
        (lambda a: a.set_holdings("AAA", 1, False, False, None, 1), "order_properties=1"),
        (lambda a: a.set_holdings([], order_properties=1), "order_properties=1"),
        (lambda a: a.liquidate("AAA", order_properties=1), "order_properties=1"),
        (lambda a: a.plot("chart", "series", 1, 2, 0, 1), "plot(...) of candles, bars or indicators"),
        (lambda a: a.plot("chart", object()), "plot(...) of candles, bars or indicators"),
        (lambda a: a.set_cash("EUR", 100), "set_cash('EUR', ...) of a currency"),
        (lambda a: a.set_benchmark(SecurityType.EQUITY, "AAA"), "set_benchmark(SecurityType, ...)"),
        (lambda a: a.add_universe(list, list), "add_universe(type, ...)"),
        (lambda a: setattr(a.portfolio, "margin_call_model", None), "SecurityPortfolioManager.margin_call_model = ..."),
    ],
)
def test_what_lean_has_and_the_host_has_not_is_refused_where_it_is_asked_for(market, call, name):
    error = asked(market, call)
    assert isinstance(error, NotInHost)
    assert name in str(error)
    assert str(error).endswith("is part of LEAN but not of this embedded host: run `lean backtest .` instead")


def test_what_lean_has_in_several_forms_works_in_each_of_them(market):
    def forms(a: Any) -> list[Any]:
        rules, times = a.date_rules, a.time_rules
        events = [
            a.schedule.on(rules.today, times.noon, print),
            a.schedule.on("named", rules.today, times.noon, print),
            a.schedule.on(date_rule=rules.today, time_rule=times.noon, callback=print),
            a.schedule.on(name="named", date_rule=rules.today, time_rule=times.noon, callback=print),
        ]
        for event in events:
            a.schedule.remove(event)
        tickets = [
            a.order("AAA", 1, OrderType.LIMIT, False, "limit"),
            a.order("AAA", 1, tag="plain"),
            *a.set_holdings("AAA", 0.5, False, False, "positional"),
            *a.set_holdings("AAA", 0.6, tag="named"),
        ]
        return [
            [str(event) for event in events],
            [ticket.tag for ticket in tickets],
            a.liquidate("AAA", "gone"),
        ]

    names, tags, sold = asked(market, forms)
    assert names == ["TodayOnly: Noon", "named", "TodayOnly: Noon", "named"]
    assert tags == ["limit", "plain", "positional", "named"]
    assert sold == []


def test_dates_of_a_run_may_be_named(market):
    def period(a: Any) -> None:
        a.set_start_date(year=2013, month=6, day=4)
        a.set_end_date(day=5, month=6, year=2013)

    engine = market.run({}, setup=period)
    assert (engine.start, engine.end) == (date(2013, 6, 4), date(2013, 6, 5))


def test_liquidate_with_a_tag_alone_gives_the_ids_of_the_orders(market):
    market.stock("AAA")
    sold: list[Any] = []
    script = {
        "2013-06-03 09:00": lambda a: a.market_order("AAA", 5),
        NOON: lambda a: sold.append(a.liquidate("AAA", "gone")),
    }
    engine = market.run(script, tickers=("AAA",))
    assert sold == [[2]]
    assert engine.brokerage.orders[1].tag == "gone"


def test_hasattr_and_getattr_see_that_it_is_not_there(market):
    assert asked(market, lambda a: (hasattr(a, "add_option"), getattr(a, "add_option", 1))) == (False, 1)


def test_a_refusal_that_nobody_catches_ends_the_run_with_that_sentence(market):
    with pytest.raises(AssertionError, match="add_option is part of LEAN but not of this embedded host"):
        market.run({NOON: lambda a: a.add_option("AAA")})


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: a.no_such_method, "'Scripted' object has no attribute 'no_such_method'"),
        (lambda a: a.set_holding, "'Scripted' object has no attribute 'set_holding' Did you mean: 'set_holdings'?"),
        (lambda a: a.SetHolding, "'Scripted' object has no attribute 'SetHolding' Did you mean: 'set_holdings'?"),
        (lambda a: a._time_zon, "'Scripted' object has no attribute '_time_zon' Did you mean: 'time_zone'?"),
        (
            lambda a: a.securities["AAA"].pric,
            "'Equity' object has no attribute 'pric' Did you mean: 'price', 'ask_price', 'bid_price', "
            "'price_variation_model'?",
        ),
        (lambda a: UniverseNames.NOTHING, "type object 'Universe' has no attribute 'NOTHING'"),
        (lambda a: Resolution.DAYLY, "type object 'Resolution' has no attribute 'DAYLY' Did you mean: 'DAILY'?"),
    ],
)
def test_a_name_that_lean_has_not_gives_leans_attribute_error(market, call, text):
    error = asked(market, call)
    assert type(error) is AttributeError
    assert str(error) == text


def test_both_spellings_do_the_same(market):
    def both(a: Any) -> list[Any]:
        return [
            (a.Time, a.time),
            (a.UniverseSettings.Resolution, a.universe_settings.resolution),
            (a.Securities["AAA"].Price, a.securities["AAA"].price),
            (a.Portfolio.TotalPortfolioValue, a.portfolio.total_portfolio_value),
            (Resolution.Daily, Resolution.DAILY),
            (OrderStatus.PartiallyFilled, OrderStatus.PARTIALLY_FILLED),
            (UniverseNames.Unchanged, UniverseNames.UNCHANGED),
            (len(a.MarketOrder("AAA", 5).Symbol.Value), 3),
        ]

    assert [first for first, _ in asked(market, both)] == [second for _, second in asked(market, both)]


def test_hooks_in_camel_case_are_called(market):
    class Camel(QCAlgorithm):
        def Initialize(self) -> None:
            self.heard: list[Any] = []
            self.SetStartDate(2013, 6, 3)
            self.SetEndDate(2013, 6, 4)
            self.UniverseSettings.Resolution = Resolution.Daily
            self.AddEquity("SPY")

        def OnData(self, data: Any) -> None:
            self.heard.append((self.Time, data.Bars["SPY"].Close))

        def OnEndOfDay(self, symbol: Any) -> None:
            self.heard.append((self.Time, str(symbol)))

    engine = market.engine(Camel)
    assert engine.run() is None
    assert engine.algorithm.heard == [
        (datetime(2013, 6, day, *moment), what)
        for day in (3, 4)
        for moment, what in (((15, 50), "SPY"), ((16, 0), 100.0))
    ]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: setattr(a.settings, "daily_precise_end_time", False), "AlgorithmSettings.daily_precise_end_time"),
        (lambda a: setattr(a.universe_settings, "extended_market_hours", True), "UniverseSettings.extended_market"),
        (lambda a: setattr(a.universe_settings, "schedule", None), "UniverseSettings.schedule"),
        (lambda a: setattr(a.securities["AAA"], "fee_model", None), "Equity.fee_model"),
        (lambda a: a.set_time_zone("America/Chicago"), "set_time_zone"),
    ],
)
def test_a_setting_that_the_host_has_not_is_refused(market, call, text):
    error = asked(market, call)
    assert isinstance(error, NotInHost)
    assert text in str(error)


def test_a_setting_that_the_host_has_not_may_be_set_to_its_default_and_read(market):
    def use(a: Any) -> tuple[Any, ...]:
        a.settings.daily_precise_end_time = True
        a.Settings.LiquidateEnabled = True
        a.universe_settings.fill_forward = True
        a.set_time_zone("America/New_York")
        return a.settings.daily_precise_end_time, a.settings.free_portfolio_value, a.UniverseSettings.FillForward

    assert asked(market, use) == (True, None, True)


def test_an_unknown_setting_is_leans_attribute_error(market):
    error = asked(market, lambda a: setattr(a.settings, "no_such_setting_at_all", 1))
    assert type(error) is AttributeError
    assert str(error) == "'AlgorithmSettings' object has no attribute 'no_such_setting_at_all'"


def test_every_name_of_the_host_is_one_of_leans(market):
    engine = market.run({})
    algorithm = engine.algorithm
    for thing in (algorithm.portfolio, algorithm.securities, algorithm.transactions, algorithm.trading_calendar):
        own = {name for name in dir(thing) if not name.startswith("_")}
        assert own <= members(thing._lean_name), own - members(thing._lean_name)
    own = {name for name in dir(QCAlgorithm) if not name.startswith("_")}
    assert own <= members("QCAlgorithm"), own - members("QCAlgorithm")
