"""What an algorithm is handed: the texts, types and rules of LEAN's objects beyond what the recording shows."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from minilean.algorithm import PortfolioTarget, QCAlgorithm
from minilean.enums import DataNormalizationMode, OrderStatus, Resolution
from minilean.history import TradeBar
from minilean.symbols import Symbol
from minilean.system import ArgumentException, InvalidOperationException, KeyNotFoundException
from tests.minilean.tiny_market import asked

DAILY = Resolution.DAILY
MORNING = "2013-06-05 09:00"


# --- collections


def test_leans_dictionaries_are_walked_by_pairs_that_cannot_be_unpacked(market):
    def walk(a: Any) -> list[Any]:
        (pair,) = a.portfolio
        with pytest.raises(TypeError, match="cannot unpack"):
            _symbol, _holding = pair
        return [type(pair).__name__, str(pair.key), pair.value.quantity, [str(key) for key, _ in a.portfolio.items()]]

    assert asked(market, walk) == ["KeyValuePair[Symbol,SecurityHolding]", "AAA", 0.0, ["AAA"]]


def test_the_constituents_can_be_counted_and_indexed_but_not_sliced(market):
    market.stock("AAA")
    market.constituents("2013-05-31", "AAA")
    found: list[Any] = []

    def select(rows: Any) -> list[Any]:
        found.extend([len(rows), rows.count, rows[0].symbol.value])
        with pytest.raises(TypeError, match="No method matches given arguments"):
            rows[:1]
        return [row.symbol for row in rows]

    market.run({}, universe_of=select)
    assert found[:3] == [1, 1, "AAA"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.securities["NOPE"], "The ticker NOPE was not found in the SymbolCache."),
        (lambda a: a.portfolio["NOPE 2T"], r"This asset symbol \(NOPE 2T\) was not found in your security list\."),
        (lambda a: a.market_order("NOPE 2T", 1), r"This asset symbol \(NOPE 2T\) was not found"),
        (lambda a: a.portfolio.cash_book["EUR"], r"This cash symbol \(EUR\) was not found in your cash book\."),
        (lambda a: a.universe_manager["NOPE 2T"], r"This universe symbol \(NOPE 2T\) was not found in"),
        (lambda a: a.active_securities["NOPE 2T"], "The given key 'NOPE 2T' was not present in the dictionary."),
        (lambda a: a.object_store.read("nope"), "Object with path 'nope' was not found"),
    ],
)
def test_an_unknown_key_is_a_key_not_found_exception_that_no_key_error_catches(market, call, message):
    error = asked(market, call)
    assert type(error) is KeyNotFoundException
    assert not isinstance(error, KeyError)
    with pytest.raises(KeyNotFoundException, match=message):
        raise error


def test_a_slice_says_what_it_has_no_data_of(market):
    found: list[Any] = []

    def look(self: Any, data: Any) -> None:
        try:
            data["AAA"]
        except KeyNotFoundException as error:
            found.append((self.time, str(error)))

    market.stock("AAA", without=["2013-06-04"])
    market.run({}, tickers=("SPY", "AAA"), end="2013-06-05", on_data=look)
    assert found == [
        (
            datetime(2013, 6, 4, 16),
            "'AAA' wasn't found in the Slice object, likely because there was no-data at this moment in time and it "
            "wasn't possible to fillforward historical data. To prevent the exception, use data.get(symbol), which "
            "returns None when the symbol is not found, or guard the access with 'if symbol in data:'.",
        )
    ]


# --- securities, symbols, universes


def test_a_text_is_understood_by_the_tickers_that_were_added_and_by_identifiers(market):
    market.stock("BBB")
    market.constituents("2013-05-31", "BBB")

    def look(a: Any) -> list[Any]:
        with pytest.raises(InvalidOperationException, match="We were unable to locate the ticker 'BBB'"):
            a.symbol("BBB")
        sid = str(market.sid("BBB"))
        there = [text in a.securities for text in ("BBB", sid, "AAA")]
        return [*there, str(a.symbol("aaa")), a.symbol(sid) == sid]

    assert asked(market, look, universe_of=lambda rows: [r.symbol for r in rows]) == [False, True, True, "AAA", True]


@pytest.mark.parametrize(
    ("volumes", "seen"),
    [
        ((900, 500, 300, 0), 300),
        ((900, 500, 0, 0), 500),
        ((900, 700, 0, 0), 700),  # of May 31, from which the first price comes
        ((900, 0, 0, 0), 0),  # LEAN has never seen the bar of May 30
    ],
)
def test_the_volume_is_that_of_the_last_bar_in_which_anybody_traded(market, volumes, seen):
    market.stock("AAA")
    days = ("20130530", "20130531", "20130603", "20130604")
    bars = [(f"{day} 00:00", *[1_000_000] * 4, volume) for day, volume in zip(days, volumes, strict=True)]
    market.zip("daily", "AAA", bars)
    found: list[float] = []
    market.run({MORNING: lambda a: found.append(a.securities["AAA"].volume)}, tickers=("AAA",))
    assert found == [seen]


def test_the_leverage_of_a_security_can_be_set(market):
    def lever(a: Any) -> list[Any]:
        with pytest.raises(ArgumentException, match=r"Leverage must be greater than or equal to 1\."):
            a.securities["AAA"].set_leverage(0.5)
        a.securities["AAA"].set_leverage(4)
        return [a.securities["AAA"].leverage, a.market_on_open_order("AAA", 3900).status]

    assert asked(market, lever) == [4, OrderStatus.SUBMITTED]


def test_an_order_is_what_it_was_when_it_was_asked_for_while_its_ticket_goes_on(market):
    market.stock("AAA")
    kept: list[Any] = []

    def buy(a: Any) -> None:
        ticket = a.market_on_open_order("AAA", 1)
        kept.extend([ticket, a.transactions.get_order_by_id(ticket.order_id), *a.transactions.get_open_orders()])

    market.run({MORNING: buy}, tickers=("AAA",))
    assert [entry.status for entry in kept] == [OrderStatus.FILLED, OrderStatus.SUBMITTED, OrderStatus.SUBMITTED]


def test_symbol_create_takes_the_ticker_of_today(market):
    market.stock("OLD", renamed=("2013-06-07", "NEW"))
    created = asked(market, lambda a: [str(Symbol.create(ticker, 1, "usa").id) for ticker in ("NEW", "NOPE")])
    assert created == [str(market.sid("OLD")), "NOPE 2T"]


def test_an_algorithm_may_hang_attributes_on_a_security(market):
    def hang(a: Any) -> list[Any]:
        a.securities["AAA"].my_indicator = 5
        return [a.securities["AAA"].my_indicator, hasattr(a.securities["SPY"], "my_indicator")]

    assert asked(market, hang, tickers=("SPY", "AAA")) == [5, False]


def test_members_of_a_universe_stay_until_they_are_sold(market):
    market.stock("AAA")
    market.stock("BBB")
    market.constituents("2013-05-31", "AAA", "BBB")
    market.constituents("2013-06-05", "BBB")
    market.constituents("2013-06-07", "BBB")
    seen: list[Any] = []

    def look(a: Any) -> None:
        universe = a.universe_manager.values()[0]
        seen.append([sorted(s.value for s in part) for part in (universe.selected, universe.members.keys())])
        seen[-1].append([symbol.value for symbol, _ in a.active_securities.items()])

    market.run(
        {
            "2013-06-03 09:00": lambda a: a.set_holdings(market.symbol("AAA"), 0.5),
            "2013-06-06 09:00": lambda a: (look(a), a.liquidate()),
            "2013-06-10 12:00": look,
        },
        universe_of=lambda rows: [row.symbol for row in rows],
    )
    assert seen == [[["BBB"], ["AAA", "BBB"], ["BBB", "AAA"]], [["BBB"], ["BBB"], ["BBB"]]]


def test_an_equity_that_is_added_is_reported_with_the_next_slice(market):
    market.stock("AAA")
    engine = market.run({"2013-06-05 12:30": lambda a: a.add_equity("AAA", DAILY)}, tickers=("SPY",))
    assert engine.algorithm.changes == [
        (datetime(2013, 6, 3), ["SPY"], []),
        (datetime(2013, 6, 5, 13), ["AAA"], []),
    ]


# --- orders


def test_tickets_and_orders_read_as_leans(market):
    def order(a: Any) -> list[str]:
        ticket = a.market_on_open_order("AAA", 1, tag="mine")
        texts = [str(ticket), str(a.transactions.get_open_orders()[0])]
        response = ticket.cancel("not mine")
        return [*texts, str(ticket), str(response.is_success), str(ticket.time.tzinfo is UTC)]

    order_text = "OrderId: 1 (BrokerId: 1) {} MarketOnOpen order for 1 unit of AAA: {}"
    assert asked(market, order) == [
        f"1: {order_text.format('Submitted', 'mine')} Request Count: 1 Response Count: 1",
        order_text.format("Submitted", "mine"),
        f"1: {order_text.format('CancelPending', 'not mine')} Request Count: 2 Response Count: 2",
        "True",
        "True",
    ]


def test_a_request_that_never_becomes_an_order_gives_an_invalid_ticket(market):
    def order(a: Any) -> list[Any]:
        ticket = a.market_order("AAA", 0)
        return [ticket.order_id, ticket.status, str(ticket), a.transactions.orders_count]

    assert asked(market, order) == [-10, OrderStatus.INVALID, "-10: Request Count: 1 Response Count: 1", 0]


def test_orders_are_found_by_symbol_filter_and_id(market):
    def look(a: Any) -> list[Any]:
        a.market_on_open_order("AAA", 5)
        a.market_on_open_order("SPY", 3)
        transactions = a.transactions
        return [
            [order.id for order in transactions.get_open_orders("SPY")],
            [ticket.order_id for ticket in transactions.get_open_order_tickets(lambda t: t.quantity > 4)],
            transactions.get_order_by_id(2).quantity,
            transactions.get_order_by_id(3),
            [type(order).__name__ for order in transactions.get_orders()],
        ]

    assert asked(market, look, tickers=("SPY", "AAA")) == [[2], [1], 3.0, None, ["MarketOnOpenOrder"] * 2]


def test_set_holdings_returns_the_sales_of_the_others_first(market):
    market.stock("BBB")

    def move(a: Any) -> list[tuple[str, float, str]]:
        tickets = a.set_holdings([PortfolioTarget("AAA", 0.5)], True)
        return [(ticket.symbol.value, ticket.quantity, ticket.tag) for ticket in tickets]

    found: list[Any] = []
    market.stock("AAA")
    market.run(
        {"2013-06-03 09:00": lambda a: a.set_holdings("BBB", 0.5), MORNING: lambda a: found.append(move(a))},
        tickers=("AAA", "BBB"),
    )
    assert found == [[("BBB", -498.0, "Liquidated"), ("AAA", 498.0, "")]]


def test_a_list_with_an_unknown_symbol_sells_the_others_and_then_raises(market):
    unknown = PortfolioTarget("NOPE 2T", 0.1)

    def move(a: Any) -> list[Any]:
        with pytest.raises(KeyNotFoundException):
            a.set_holdings([PortfolioTarget("AAA", 0.5), unknown], True)
        return [[str(t.symbol) for t in a.set_holdings("NOPE 2T", 0.1)], a.transactions.orders_count]

    assert asked(market, move) == [[], 0]
    assert "NOPE 2T not found in portfolio. Request this data when initializing the algorithm." in market.messages


def test_liquidating_what_was_never_added_is_said_once(market):
    assert asked(market, lambda a: a.liquidate("NOPE 2T") + a.liquidate("NOPE 2T")) == []
    assert [m for m in market.messages if "liquidate ignored symbol" in m] == [
        "Warning: liquidate ignored symbol 'NOPE 2T' because it has not been added to the algorithm. Add the security "
        "before liquidating it."
    ]


def test_the_fee_of_an_event_is_an_amount_of_a_currency(market):
    fees: list[Any] = []

    def note(self: Any, event: Any) -> None:
        fee = event.order_fee
        fees.append((event.status.name, str(fee), fee.value.amount, fee.value.currency))

    market.stock("AAA")
    market.run({MORNING: lambda a: a.market_on_open_order("AAA", 500)}, tickers=("AAA",), on_order_event=note)
    assert fees == [("SUBMITTED", "0 QCC", 0.0, "QCC"), ("FILLED", "2.5 USD", 2.5, "USD")]


def test_a_position_knows_its_costs_and_profits(market):
    found: list[Any] = []

    def look(a: Any) -> None:
        h = a.portfolio["AAA"]
        found.append((str(h), h.holdings_cost, h.profit, h.net_profit, h.last_trade_profit, h.total_sale_volume))

    market.stock("AAA", {"2013-01-02": 100, "2013-06-05": 110})
    market.run(
        {
            "2013-06-03 09:00": lambda a: a.market_on_open_order("AAA", 10),
            "2013-06-04 09:00": look,
            "2013-06-05 09:00": lambda a: a.market_on_open_order("AAA", -4),
            "2013-06-06 09:00": look,
        },
        tickers=("AAA",),
    )
    assert found == [
        ("AAA: 10 @ 100", 1000.0, 0.0, -1.0, 0.0, 1000.0),
        ("AAA: 6 @ 100", 600.0, 40.0, 38.0, 40.0, 1440.0),
    ]


# --- history


@pytest.mark.parametrize(
    ("mode", "closes"),
    [
        # a dividend of 2 dollars on 06-05 (reference 100), a split of 2:1 on 06-07 (reference 100)
        (DataNormalizationMode.RAW, [100, 100, 100, 100, 50, 50]),
        (DataNormalizationMode.ADJUSTED, [49, 49, 50, 50, 50, 50]),
        (DataNormalizationMode.SPLIT_ADJUSTED, [50, 50, 50, 50, 50, 50]),
        (DataNormalizationMode.TOTAL_RETURN, [50, 50, 52, 52, 52, 52]),
        (DataNormalizationMode.SCALED_RAW, [49, 49, 50, 50, 50, 50]),
    ],
)
def test_every_mode_of_history_scales_as_lean_does(market, mode, closes):
    factors = ["20130604,0.98,0.5,100", "20130606,1,0.5,100"]
    market.stock("BBB", {"2013-01-02": 100, "2013-06-07": 50}, factors=factors)
    frame = asked(
        market,
        lambda a: a.history([market.symbol("BBB")], 6, DAILY, data_normalization_mode=mode),
        "2013-06-11 09:00",
    )
    assert list(frame["close"]) == closes


def test_scaled_raw_is_adjusted_to_the_end_of_the_request(market):
    market.stock("BBB", {"2013-01-02": 100, "2013-06-07": 50}, factors=["20130604,0.98,0.5,100", "20130606,1,0.5,100"])

    def look(a: Any) -> list[float]:
        request = a.history(
            [market.symbol("BBB")], 2, DAILY, data_normalization_mode=DataNormalizationMode.SCALED_RAW
        )
        return list(request["close"])

    assert asked(market, look, "2013-06-06 09:00") == [98.0, 100.0]


def test_total_return_counts_dividends_from_the_requests_start(market):
    market.stock("BBB", factors=["20130604,0.98,1,100"])

    def look(a: Any) -> list[list[float]]:
        mode = {"data_normalization_mode": DataNormalizationMode.TOTAL_RETURN}
        return [list(a.history([market.symbol("BBB")], n, DAILY, **mode)["close"]) for n in (1, 2)]

    assert asked(market, look, "2013-06-06 09:00") == [[100.0], [100.0, 102.0]]


def test_a_request_into_the_future_is_cut_and_said(market):
    start, end = datetime(2013, 6, 3), datetime(2013, 7, 1)
    assert len(asked(market, lambda a: a.history(["AAA"], start, end, DAILY))) == 2
    assert "Request for future history modified to end now." in market.messages


def test_the_resolution_may_be_left_out_for_what_is_subscribed(market):
    def look(a: Any) -> list[Any]:
        a.universe_settings.resolution = Resolution.MINUTE
        frames = a.history("AAA", 3), a.history(["AAA"], timedelta(days=2)), a.history(TradeBar, ["AAA"], 1)
        return [len(frame) for frame in frames]

    assert asked(market, look) == [3, 2, 1]


def test_typed_history_of_several_symbols_is_a_dictionary_for_each_moment(market):
    def look(a: Any) -> list[Any]:
        return [
            [(str(symbol), bar.end_time) for symbol, bar in moment.items()]
            for moment in a.history[TradeBar](["SPY", "AAA"], 2, DAILY)
        ]

    days = [datetime(2013, 6, 3, 16), datetime(2013, 6, 4, 16)]
    assert asked(market, look, tickers=("SPY", "AAA")) == [[("SPY", day), ("AAA", day)] for day in days]


def test_a_negative_number_of_periods_gives_nothing(market):
    assert asked(market, lambda a: a.history(["AAA"], -5, DAILY)).empty


# --- times and rules


def test_the_end_of_a_day_comes_ten_minutes_before_the_close_by_ticker(market):
    class Ends(QCAlgorithm):
        def initialize(self) -> None:
            self.ends: list[Any] = []
            self.set_start_date(2013, 7, 2)
            self.set_end_date(2013, 7, 3)
            for ticker in ("SPY", "AAA"):
                self.add_equity(ticker, DAILY)

        def on_end_of_day(self, symbol: Symbol) -> None:
            self.ends.append((self.time, str(symbol)))

    market.stock("AAA")
    engine = market.engine(Ends)
    assert engine.run() is None
    assert engine.algorithm.ends == [
        (datetime(2013, 7, day, hour, 50), ticker) for day, hour in ((2, 15), (3, 12)) for ticker in ("AAA", "SPY")
    ]


def test_a_delisted_stock_has_no_more_ends_of_a_day(market):
    ends: list[Any] = []
    market.stock("BBB", delisted="2013-06-04")

    def on_end_of_day(self: Any, symbol: Symbol) -> None:
        ends.append((self.time.day, symbol.value))

    market.run({}, tickers=("BBB",), on_end_of_day=on_end_of_day, end="2013-06-06")
    assert ends == [(3, "BBB"), (4, "BBB")]


def test_training_that_a_scheduled_event_asks_for_runs_in_the_next_slice(market):
    ran: list[datetime] = []
    asked(market, lambda a: a.train(lambda: ran.append(a.time)), "2013-06-05 12:30")
    assert ran == [datetime(2013, 6, 5, 13)]


def test_three_events_that_always_meet_change_their_order_as_in_lean(market):
    calls: list[tuple[int, str]] = []

    class Meeting(QCAlgorithm):
        def initialize(self) -> None:
            self.set_start_date(2013, 6, 3)
            self.set_end_date(2013, 6, 5)
            for name in "ABC":
                self.schedule.on(self.date_rules.every_day(), self.time_rules.noon, partial(self.note, name))

        def note(self, name: str) -> None:
            calls.append((self.time.day, name))

    assert market.engine(Meeting).run() is None
    assert calls == [(3, "A"), (3, "B"), (3, "C"), (4, "A"), (4, "C"), (4, "B"), (5, "A"), (5, "B"), (5, "C")]


def test_a_scheduled_event_has_leans_name(market):
    def names(a: Any) -> list[str]:
        rules = [
            (a.date_rules.month_start("AAA", 2), a.time_rules.before_market_open("AAA", 30)),
            (a.date_rules.month_end(), a.time_rules.after_market_close("AAA", 1)),
            (a.date_rules.on(2013, 6, 7), a.time_rules.at(9, 30)),
            (a.date_rules.every(1, 3), a.time_rules.midnight),
            (a.date_rules.today, a.time_rules.now),
        ]
        return [str(a.schedule.on(days, times, lambda: None)) for days, times in rules]

    assert asked(market, names) == [
        "AAA: MonthStart+2: AAA: 30 min before MarketOpen",
        "MonthEnd: AAA: 1 min after MarketClose",
        "06/07/2013: 9.5",
        "Monday,Wednesday: Midnight",
        "TodayOnly: Now",
    ]


def test_the_first_ticker_that_schedule_rules_do_not_know_is_wondered_at(market):
    asked(market, lambda a: (a.date_rules.month_start("bbb"), a.date_rules.month_start("CCC"), str(a.symbol("BBB"))))
    assert [m for m in market.messages if "no existing symbol" in m] == [
        "Warning: no existing symbol found for ticker bbb, it will be created with Equity type."
    ]


@pytest.mark.parametrize(
    ("day", "business"),
    [
        ("2013-07-04", False),  # the exchange is closed
        ("2013-10-14", False),  # Columbus Day: banks are closed, the exchange is open
        ("2013-11-11", False),  # Veterans Day
        ("2013-03-29", False),  # Good Friday: the exchange is closed
        ("2013-07-05", True),
        ("2013-07-06", False),
        ("2022-06-20", False),  # Juneteenth, a Sunday
        ("2010-12-31", False),  # New Year's Day of 2011 is a Saturday
        ("2021-06-18", True),  # before Juneteenth was one
    ],
)
def test_a_business_day_is_one_of_exchange_and_banks(market, day, business):
    moment = datetime.fromisoformat(day)
    found = asked(market, lambda a: a.trading_calendar.get_trading_day(moment))
    assert (found.business_day, found.weekend) == (business, moment.weekday() >= 5)


def test_exchange_hours_know_the_days_before_and_after(market):
    def look(a: Any) -> list[Any]:
        hours = a.securities["AAA"].exchange.hours
        moment = datetime(2013, 7, 3, 13)
        return [
            hours.get_next_market_close(moment, False),
            hours.get_next_trading_day(moment),
            hours.get_previous_trading_day(moment),
            hours.is_open(moment, False),
            str(hours.time_zone),
        ]

    assert asked(market, look) == [
        datetime(2013, 7, 5, 16),
        datetime(2013, 7, 5, 13),
        datetime(2013, 7, 2, 13),
        False,
        "America/New_York",
    ]


@pytest.mark.parametrize(
    ("written", "default", "value"),
    [
        ("7", 3, 7),
        ("7.0", 3, 3),
        ("1_000", 3, 3),
        (" 7 ", 3, 7),
        ("1,000.5", 3.5, 1000.5),
        ("1e3", 3.5, 1000.0),
        ("1_000", 3.5, 3.5),
        ("true", False, 0.0),
        (None, False, 0.0),
        (None, 3, 3),
        (None, "x", "x"),
    ],
)
def test_a_parameter_is_read_as_its_default_is(market, written, default, value):
    engine = market.engine(QCAlgorithm)
    engine.parameters = {} if written is None else {"p": written}
    found = engine.algorithm.get_parameter("p", default)
    assert (found, type(found)) == (value, type(value))
