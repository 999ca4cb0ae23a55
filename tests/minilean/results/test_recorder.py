"""Sampling of a run: which points there are, when, and from what; and the files of runs that fail."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

MIDNIGHT = datetime(2015, 6, 1, 4)
"""The start, 00:00 in New York."""


def hours(count):
    return MIDNIGHT + timedelta(hours=count)


def seconds(when):
    return int((when - datetime(1970, 1, 1)).total_seconds())


def chart(found, name, series):
    return found["charts"][name]["series"][series]["values"]


def test_candles_cover_the_steps_since_the_last_attempt_even_one_that_was_dropped(account, tmp_path):
    recorder = account.recorder
    recorder.midnight(MIDNIGHT)
    account.cash = Decimal(101_000)
    recorder.end_of_slice(MIDNIGHT)  # no later than the midnight sample: dropped, but the candle is closed
    account.cash = Decimal("99000.00005")
    recorder.end_of_slice(hours(10))
    account.cash = Decimal(98_000)
    recorder.end_of_slice(hours(10) + timedelta(minutes=5))  # within 10.8 minutes, the period of a run of 30 days
    account.cash = Decimal(100_500)
    recorder.end_of_slice(hours(11))
    found = account.results(tmp_path)
    assert chart(found, "Strategy Equity", "Equity") == [
        [seconds(MIDNIGHT), 100000.0, 100000.0, 100000.0, 100000.0],
        [seconds(hours(10)), 99000.0, 99000.0, 99000.0, 99000.0],
        [seconds(hours(11)), 98000.0, 100500.0, 98000.0, 100500.0],
    ]


def test_the_period_between_equity_points_is_a_four_thousandth_of_the_run(open_account, tmp_path):
    account = open_account(start=date(2009, 6, 1), end=date(2019, 12, 31))
    start = datetime(2009, 6, 1, 4)
    for minutes in (0, 1391, 1391.76, 1391.76 + 1391.75, 3000):
        account.recorder.end_of_slice(start + timedelta(minutes=minutes))
    times = [point[0] - seconds(start) for point in chart(account.results(tmp_path), "Strategy Equity", "Equity")]
    assert times == [0, int(1391.76 * 60), 3000 * 60]


def test_daily_samples(account, make_security, tmp_path):
    stock = make_security("AAA")
    account.members.append(stock)
    recorder = account.recorder
    recorder.midnight(MIDNIGHT)
    recorder.end_of_slice(MIDNIGHT)
    stock.price = Decimal(50)
    account.trade(stock, 400, "50", hours(16))
    recorder.midnight(hours(24))
    stock.price = Decimal(45)
    account.benchmark = lambda when: Decimal("123.456789")
    recorder.midnight(hours(48))
    recorder.finish(hours(48), daily=hours(48))
    found = account.results(tmp_path)
    at = [seconds(hours(n)) for n in (0, 24, 48)]
    assert chart(found, "Strategy Equity", "Return") == [[at[0], 0.0], [at[1], -0.001], [at[2], -2.00002]]
    assert chart(found, "Benchmark", "Benchmark") == [[at[0], 100.0], [at[1], 100.0], [at[2], 123.4568]]
    assert chart(found, "Drawdown", "Equity Drawdown") == [[at[0], 0.0], [at[1], 0.0], [at[2], -2.0]]
    assert chart(found, "Portfolio Turnover", "Portfolio Turnover") == [[at[1], 0.200002], [at[2], 0.0]]
    assert chart(found, "Exposure", "Equity - Long Ratio") == [[at[0], 0.0], [at[1], 0.2], [at[2], 0.1837]]
    assert chart(found, "Assets Sales Volume", "AAA") == [[at[1], 20000.0], [at[2], 20000.0]]
    assert chart(found, "Portfolio Margin", "AAA.NOW") == [[at[1], 10.0], [at[2], 9.184]]
    assert chart(found, "Capacity", "Strategy Capacity") == [[at[0], 0.0], [at[1], 0.0], [at[2], 0.0]]


def test_the_last_sample_at_the_time_of_a_midnight_replaces_turnover_alone(account, make_security, tmp_path):
    stock = make_security("AAA")
    account.members.append(stock)
    account.recorder.midnight(MIDNIGHT)
    account.recorder.midnight(hours(24))
    stock.price = Decimal(10)
    account.trade(stock, 1000, "10", hours(24), fee=None)
    account.recorder.finish(hours(24), daily=hours(24))
    found = account.results(tmp_path)
    assert chart(found, "Portfolio Turnover", "Portfolio Turnover") == [[seconds(hours(24)), 0.1]]
    assert chart(found, "Exposure", "Equity - Long Ratio")[-1] == [seconds(hours(24)), 0.0]
    assert len(chart(found, "Strategy Equity", "Return")) == 2


def test_margin_shows_forty_positions_and_the_sum_of_the_others(account, make_security, tmp_path):
    stocks = [make_security(f"S{n:02d}") for n in range(43)]
    for n, stock in enumerate(stocks):
        stock.price, stock.quantity = Decimal("10.01"), 10 + n
    stocks[0].quantity = stocks[1].quantity = stocks[2].quantity = stocks[3].quantity  # a tie at the fortieth place
    account.members += stocks
    account.recorder.midnight(MIDNIGHT)
    found = account.results(tmp_path)["charts"]["Portfolio Margin"]
    assert set(found["series"]) == {f"S{n:02d}.NOW" for n in (0, *range(4, 43))} | {"OTHERS"}
    assert found["series"]["OTHERS"]["color"] == "#808080"
    total = Decimal(100_000) + sum(stock.quantity * stock.price for stock in stocks)
    share = round(float(13 * Decimal("10.01") / 2 / total * 100), 5)
    assert found["series"]["S00.NOW"]["values"] == [[seconds(MIDNIGHT), share]]
    assert found["series"]["OTHERS"]["values"][0][1] == pytest.approx(3 * share, rel=1e-6)


def test_a_position_that_is_gone_leaves_one_empty_point(account, make_security, tmp_path):
    one, two = make_security("ONE"), make_security("TWO")
    account.members += [one, two]
    one.price = two.price = Decimal(10)
    one.quantity = two.quantity = 100
    recorder = account.recorder
    recorder.midnight(MIDNIGHT)
    two.quantity = 0
    recorder.midnight(hours(24))
    recorder.midnight(hours(48))
    one.quantity = 0
    recorder.midnight(hours(72))  # nothing is held: no point at all
    two.quantity = 100
    recorder.midnight(hours(96))
    found = account.results(tmp_path)
    assert [point[1] is None for point in chart(found, "Portfolio Margin", "TWO.NOW")] == [False, True, False]
    assert [point[0] for point in chart(found, "Portfolio Margin", "ONE.NOW")] == [
        seconds(hours(n)) for n in (0, 24, 48, 96)
    ]
    assert chart(found, "Portfolio Margin", "ONE.NOW")[-1][1] is None


def test_profits_of_one_moment_are_a_millisecond_apart_and_pay_the_fee_twice(account, make_security, tmp_path):
    stocks = [make_security(ticker) for ticker in ("AAA", "BBB")]
    account.members += stocks
    for stock in stocks:
        account.trade(stock, 10, "20", hours(16))
    for stock, quantity in zip(stocks, (-10, -4), strict=True):
        account.trade(stock, quantity, "21.5", hours(40), fee="0.25")
    account.trade(stocks[1], 5, "19", hours(64))
    account.recorder.finish(hours(64), daily=hours(64))
    found = account.results(tmp_path)
    assert found["profitLoss"] == {"2015-06-02T20:00:00Z": 14.5, "2015-06-02T20:00:00.001Z": 5.5}
    assert found["runtimeStatistics"]["Net Profit"] == "$17.50"  # 21 earned less 3.50 of fees
    assert found["runtimeStatistics"]["Volume"] == "$796.00"


def test_a_short_position_earns_when_it_is_bought_back_cheaper(account, make_security, tmp_path):
    stock = make_security("AAA")
    account.members.append(stock)
    account.trade(stock, -10, "20", hours(16))
    stock.price = Decimal(18)
    account.recorder.midnight(hours(24))
    account.trade(stock, 25, "18", hours(40))
    account.recorder.finish(hours(40), daily=hours(40))
    found = account.results(tmp_path)
    assert found["profitLoss"] == {"2015-06-02T20:00:00Z": 18.0}
    assert chart(found, "Exposure", "Equity - Short Ratio")[0][1] == pytest.approx(-0.0018)
    assert [entry["direction"] for entry in found["totalPerformance"]["closedTrades"]] == [1]


def test_runtime_statistics_are_sorted_and_built_in_ones_win(account, make_security, tmp_path):
    stock = make_security("AAA")
    account.members.append(stock)
    account.trade(stock, 100, "20", hours(16))
    stock.price = Decimal("18.375")
    for name in ("loss", "Zeta", "10x", "Equity", "Loss"):
        account.recorder.runtime_statistic(name, "mine")
    account.recorder.dividend(Decimal("12.345"))
    account.recorder.finish(hours(16), daily=hours(16))
    found = account.results(tmp_path)["runtimeStatistics"]
    assert list(found.items()) == [
        ("10x", "mine"),
        ("Equity", "$99,836.50"),
        ("Fees", "-$1.00"),
        ("Holdings", "$1,837.50"),
        ("loss", "mine"),
        ("Loss", "mine"),
        ("Net Profit", "$11.35"),
        ("Probabilistic Sharpe Ratio", "0%"),
        ("Return", "-0.16 %"),
        ("Unrealized", "$-163.50"),
        ("Volume", "$2,000.00"),
        ("Zeta", "mine"),
    ]


def test_summary_statistics_of_the_algorithm_follow_the_27(account):
    recorder = account.recorder
    for name, text in (("Learning Steps", "12"), ("Beta", "9"), ("Learning Steps", "13")):
        recorder.summary_statistic(name, text)
    with pytest.raises(ValueError, match="cannot name a summary statistic"):
        recorder.summary_statistic("7", "x")
    recorder.summary_statistic("101", "y")
    recorder.midnight(MIDNIGHT)
    found = recorder.statistics()
    assert len(found) == 29
    assert set(list(found.items())[27:]) == {("Learning Steps", "13"), ("101", "y")}
    assert found["Beta"] == "0"


def test_without_a_sample_there_are_the_statistics_of_the_algorithm_alone(account):
    account.recorder.summary_statistic("Learning Steps", "12")
    assert account.recorder.statistics() == {"Learning Steps": "12"}


def test_results_have_no_statistics_where_one_is_too_large_for_a_decimal(account, make_security, tmp_path):
    stock = make_security("AAA")
    account.members.append(stock)
    stock.price = Decimal(10)
    account.trade(stock, 1000, "10", hours(9))
    for day in range(1, 5):
        account.recorder.midnight(hours(24 * day))
        stock.price *= 100
    account.recorder.summary_statistic("Learning Steps", "12")
    found = account.results(tmp_path)
    assert "too large" in account.recorder.statistics_error
    assert (found["statistics"], found["rollingWindow"]) == ({}, {})
    performance = found["totalPerformance"]
    assert performance["closedTrades"] == []
    assert performance["tradeStatistics"]["startDateTime"] is None
    assert set(performance["portfolioStatistics"].values()) == {"0"}
    assert found["charts"]["Strategy Equity"]["series"]["Equity"]["values"]
    assert len(found["orders"]) == 1


def test_plots_reach_the_charts_when_equity_is_sampled(account, tmp_path):
    recorder = account.recorder
    recorder.midnight(MIDNIGHT)
    recorder.end_of_slice(MIDNIGHT)
    recorder.plot(hours(9), "Learning", "loss", Decimal("0.123456789"))
    recorder.plot(hours(9), "Learning", "loss", Decimal("0.5"))
    recorder.plot(hours(9), "Learning", "names", Decimal(42))
    recorder.end_of_slice(hours(10))
    recorder.plot(hours(10), "Learning", "loss", Decimal(7))  # no equity sample follows
    found = account.results(tmp_path)
    assert chart(found, "Learning", "loss") == [[seconds(hours(9)), 0.5]]
    assert found["charts"]["Learning"]["series"]["names"]["unit"] == "$"


def test_plots_beyond_thirty_series_are_dropped(account, tmp_path):
    for n in range(32):
        account.recorder.plot(hours(n), f"Chart {n % 2}", str(n), Decimal(n))
    account.recorder.end_of_slice(hours(40))
    charts = account.results(tmp_path)["charts"]
    assert sum(len(charts[name]["series"]) for name in ("Chart 0", "Chart 1")) == 30


# --- runs that end early


def test_nothing_sampled_leaves_empty_statistics_and_zeros(account, tmp_path):
    texts = {"status": "RuntimeError", "runtime_error": "when it broke", "stack_trace": "it broke"}
    account.recorder.write(tmp_path, "test", [], **texts)
    found = json.loads((tmp_path / "test.json").read_text(encoding="utf-8"))
    assert list(found["charts"]) == ["Strategy Equity"]
    assert [series["values"] for series in found["charts"]["Strategy Equity"]["series"].values()] == [[], []]
    assert found["statistics"] == found["rollingWindow"] == found["orders"] == found["profitLoss"] == {}
    assert set(found["totalPerformance"]["portfolioStatistics"].values()) == {"0"}
    assert found["runtimeStatistics"]["Equity"] == "$100,000.00"
    assert (found["state"]["Status"], found["state"]["RuntimeError"], found["state"]["LogCount"]) == (
        "RuntimeError",
        "when it broke",
        "1",
    )
    assert [entry["name"] for entry in found["analysis"]] == [
        "PortfolioValueIsNotPositiveAnalysis",
        "StatisticalSignificanceOfDailyReturnsAnalysis",
    ]
    assert (tmp_path / "test-log.txt").read_text(encoding="utf-8") == ""
    assert not (tmp_path / "test-order-events.json").exists()


def test_a_run_that_fails_before_its_first_slice_takes_the_start_date_for_utc(account, tmp_path):
    account.recorder.finish(MIDNIGHT, daily=datetime(2015, 6, 1))
    found = account.results(tmp_path)
    midnight = seconds(datetime(2015, 6, 1))
    assert [point[0] for point in chart(found, "Strategy Equity", "Equity")] == [seconds(MIDNIGHT)]
    assert chart(found, "Strategy Equity", "Return") == [[midnight, 0.0]]
    assert chart(found, "Benchmark", "Benchmark") == [[midnight, 0.0]]
    assert chart(found, "Portfolio Turnover", "Portfolio Turnover") == [[midnight, 0.0]]
    assert "Exposure" not in found["charts"]
    assert list(found["rollingWindow"]) == [f"M{months}_20150601" for months in (1, 3, 6, 12)]
    assert found["statistics"]["End Equity"] == "100000"
    assert len(found["statistics"]) == 27


def test_a_run_that_fails_inside_a_slice_ends_with_an_equity_point_alone(account, tmp_path):
    account.recorder.midnight(MIDNIGHT)
    account.recorder.end_of_slice(MIDNIGHT)
    account.recorder.finish(hours(10), daily=None)
    found = account.results(tmp_path)
    assert [point[0] for point in chart(found, "Strategy Equity", "Equity")] == [seconds(MIDNIGHT), seconds(hours(10))]
    assert len(chart(found, "Strategy Equity", "Return")) == 1
    assert "Portfolio Turnover" not in found["charts"]


def test_the_same_run_writes_the_same_bytes(open_account, make_security, tmp_path):
    written = []
    for name in ("first", "second"):
        account, stock = open_account(), make_security("AAA")
        account.members.append(stock)
        account.recorder.midnight(MIDNIGHT)
        account.trade(stock, 10, "20", hours(16))
        account.trade(stock, -10, "21", hours(40))
        account.recorder.log(datetime(2015, 6, 2, 16), "a line")
        account.recorder.finish(hours(40), daily=hours(40))
        account.results(tmp_path / name)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    assert sorted(written[0]) == [
        "config",
        "log.txt",
        "test-log.txt",
        "test-order-events.json",
        "test-summary.json",
        "test.json",
    ]


def test_of_two_securities_with_one_ticker_the_larger_sale_is_shown_once_a_sample(account, make_security, tmp_path):
    first, second = make_security("AAA"), make_security("AAA")
    account.members += [first, second]
    account.recorder.midnight(MIDNIGHT)
    account.trade(first, 10, "20", hours(16))
    account.trade(second, 10, "30", hours(16))
    for day in (1, 2, 3):
        account.recorder.midnight(hours(24 * day))
    points = [[seconds(hours(24 * day)), 300.0] for day in (1, 2, 3)]
    assert chart(account.results(tmp_path), "Assets Sales Volume", "AAA") == points
    assert chart(account.results(tmp_path), "Assets Sales Volume", "AAA") == points
