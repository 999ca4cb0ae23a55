"""Statistics: .NET's numbers and texts by hand, whole blocks from what the real engine wrote."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minilean.decimals import LARGEST, ONE, ZERO, divide, normalise, round_half_even
from minilean.results.statistics import (
    PORTFOLIO_FIELDS,
    Samples,
    portfolio_texts,
    rate_on,
    rolling_windows,
    summary,
)
from minilean.results.trade_statistics import TradeTable
from minilean.results.trades import Trade

# --- texts


def test_a_growth_without_bound_is_the_largest_decimal():
    grown = Samples(
        start_equity=Decimal(100),
        equity_times=[0, 86_400, 2 * 86_400, 3 * 86_400],
        equity=[Decimal(100), Decimal(100), Decimal(100), Decimal(200)],
        sample_times=[0, 86_400, 2 * 86_400, 3 * 86_400],
        returns=[ZERO, ZERO, ZERO, Decimal(1)],
        benchmark=[ONE] * 4,
        rates=[ZERO] * 4,
    ).portfolio()
    assert grown["compoundingAnnualReturn"] == LARGEST
    found = summary(grown, orders=1, fees=ONE, capacity=ZERO, lowest_capacity_asset="")
    assert found["Compounding Annual Return"] == "79228162514264337593543950335%"


def test_summary_strings_keep_the_scale_of_decimals_but_not_of_doubles():
    values = dict.fromkeys(PORTFOLIO_FIELDS, ZERO) | {
        "averageWinRate": Decimal("0.02"),
        "compoundingAnnualReturn": Decimal("0.43490"),
        "drawdown": Decimal("0.000"),
        "expectancy": Decimal("0.35649"),
        "startEquity": Decimal(100_000),
        "endEquity": Decimal("94421.6"),
        "sharpeRatio": Decimal("-0.0004"),
        "sortinoRatio": Decimal("-19.0001"),
        "alpha": Decimal("0.0005"),
        "beta": Decimal("0.15"),
        "winRate": Decimal("0.585"),
        "lossRate": Decimal("0.415"),
        "profitLossRatio": Decimal("1.285"),
        "portfolioTurnover": Decimal("0.0198500"),
    }
    found = summary(values, orders=7, fees=Decimal("3.485"), capacity=Decimal(1_250_000), lowest_capacity_asset="A B")
    assert list(found.items()) == [
        ("Total Orders", "7"),
        ("Average Win", "2.00%"),
        ("Average Loss", "0%"),
        ("Compounding Annual Return", "43.490%"),
        ("Drawdown", "0.000%"),
        ("Expectancy", "0.356"),
        ("Start Equity", "100000"),
        ("End Equity", "94421.6"),
        ("Net Profit", "0%"),
        ("Sharpe Ratio", "-0"),
        ("Sortino Ratio", "-19"),
        ("Probabilistic Sharpe Ratio", "0%"),
        ("Loss Rate", "42%"),
        ("Win Rate", "58%"),
        ("Profit-Loss Ratio", "1.28"),
        ("Alpha", "0"),
        ("Beta", "0.15"),
        ("Annual Standard Deviation", "0"),
        ("Annual Variance", "0"),
        ("Information Ratio", "0"),
        ("Tracking Error", "0"),
        ("Treynor Ratio", "0"),
        ("Total Fees", "$3.49"),
        ("Estimated Strategy Capacity", "$1200000.00"),
        ("Lowest Capacity Asset", "A B"),
        ("Portfolio Turnover", "1.98%"),
        ("Drawdown Recovery", "0"),
    ]


def test_a_capacity_has_two_digits_whatever_its_size():
    for dollars, written in ((0, "$0"), (7_149_000, "$7100000.00"), (9_999_000, "$10000000.00"), (3000, "$3000.00")):
        found = summary(
            dict.fromkeys(PORTFOLIO_FIELDS, ZERO),
            orders=0,
            fees=ZERO,
            capacity=Decimal(dollars),
            lowest_capacity_asset="",
        )
        assert found["Estimated Strategy Capacity"] == written


def test_the_rate_of_a_day_is_the_last_one_published():
    rate = rate_on([(date(2010, 2, 19), Decimal("0.0075")), (date(2015, 12, 17), Decimal("0.01"))])
    days = (date(2009, 1, 1), date(2015, 12, 16), date(2015, 12, 17), date(2020, 1, 1))
    assert [str(rate(day)) for day in days] == ["0.0075", "0.0075", "0.01", "0.01"]
    assert rate_on([])(date(2015, 1, 1)) == 0


# --- portfolio


def test_fewer_than_two_returns_give_equity_and_turnover_alone():
    samples = Samples(
        start_equity=Decimal(1000),
        equity_times=[0, 86_400, 172_800],
        equity=[Decimal(1000), Decimal(1100), Decimal(990)],
        sample_times=[0, 86_400, 172_800],
        returns=[ZERO, Decimal(10), Decimal(-10)],
        benchmark=[Decimal(1), Decimal(2), Decimal(3)],
        turnover_times=[86_400],
        turnover=[Decimal("0.5")],
        rates=[ZERO] * 3,
    )
    found = samples.portfolio()
    assert {name: value for name, value in found.items() if value} == {
        "startEquity": 1000,
        "endEquity": 990,
        "portfolioTurnover": Decimal("0.5"),
    }
    assert set(Samples(start_equity=Decimal(1000)).portfolio().values()) == {ZERO}


def test_portfolio_statistics_by_hand():
    day = 86_400
    # r = 1 %, -1 %, 3 %; b = 2 %, -2 %, 6 %: beta one half
    samples = Samples(
        start_equity=Decimal(1000),
        equity_times=[0, 73 * day, 146 * day],
        equity=[Decimal(1000), Decimal(900), Decimal(1030)],
        sample_times=[0, day, 2 * day, 3 * day, 4 * day],
        returns=[ZERO, ZERO, Decimal(1), Decimal(-1), Decimal(3)],
        benchmark=[Decimal(100), Decimal(100), Decimal(102), Decimal("99.96"), Decimal("105.9576")],
        rates=[Decimal("0.01")] * 3,
        profit_times=[day, 2 * day],
        profits=[Decimal(100), Decimal("-55")],
    )
    found = portfolio_texts(samples.portfolio())
    mean, variance = 0.01, 0.0004
    annual = 1.01**252 - 1
    benchmark = 1.02**252 - 1
    expected = {
        "averageWinRate": 0.1,
        "averageLossRate": -0.05,
        "profitLossRatio": 2,
        "winRate": 0.5,
        "lossRate": 0.5,
        "expectancy": 0.5,
        "compoundingAnnualReturn": 1.03 ** (365 / 146) - 1,
        "drawdown": 0.1,
        "totalNetProfit": 0.03,
        "sharpeRatio": (annual - 0.01) / (variance * 252) ** 0.5,
        "alpha": annual - (0.01 + 0.5 * (benchmark - 0.01)),
        "beta": 0.5,
        "annualVariance": variance * 252,
        "informationRatio": (annual - benchmark) / (variance * 252) ** 0.5,
        "treynorRatio": (annual - 0.01) / 0.5,
        "valueAtRisk99": round(mean - 2.3263478740 * 0.02, 3),
        "drawdownRecovery": 146,
    }
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, abs=5.1e-5, rel=1e-9), name
    assert found["sortinoRatio"] == "0"


def falls(times, equity):
    """The deepest fall and the longest one made good, walked from point to point; nothing where a peak is zero."""
    peak, since, trough = equity[0], times[0], equity[0]
    deepest, longest = ZERO, 0
    for time, value in [*zip(times, equity, strict=True), (times[-1], None)]:
        if peak == 0:
            return "0", "0"
        if value is None or value >= peak:
            if trough < peak and peak > 0:
                deepest = max(deepest, abs(divide(trough, peak) - 1))
                longest = longest if value is None else max(longest, (time - since) // 86_400)
            peak, since, trough = value, time, value
        elif value < trough:
            trough = value
    return str(round_half_even(deepest, 3)), str(longest)


AMOUNTS = st.one_of(
    st.integers(-50, 200).map(Decimal),
    st.integers(9_000, 11_000).map(lambda cents: Decimal(cents).scaleb(-2)),
    st.sampled_from(["100", "100.0", "75.00", "75", "50.0000", "99.95", "99.85", "87.4500", "0", "-3.5"]).map(Decimal),
    st.decimals(1, 10**9, places=4),
    st.integers(10**22, 10**24).map(lambda units: Decimal(units).scaleb(-4)),
)


@settings(max_examples=500)
@example([Decimal(90), Decimal("1E+18"), Decimal("999999999999999999.9999")], 1)
@given(st.lists(AMOUNTS, min_size=3, max_size=40), st.integers(1, 100_000))
def test_the_deepest_fall_is_found_and_written_as_walking_the_points_finds_it(equity, step):
    times = [at * step for at in range(len(equity))]
    samples = Samples(
        start_equity=Decimal(100),
        equity_times=times,
        equity=equity,
        sample_times=[0, 1, 2, 3],
        returns=[ZERO] * 4,
        benchmark=[ONE] * 4,
        rates=[ZERO] * len(equity),
    )
    found = samples.portfolio()
    assert (str(found["drawdown"]), str(found["drawdownRecovery"])) == falls(times, equity)


def test_the_first_window_starts_with_the_run_and_the_others_months_before_their_end():
    times = [int(datetime(2015, month, 10, tzinfo=UTC).timestamp()) for month in range(1, 7)]
    equity = [Decimal(n) for n in range(1, 7)]
    samples = Samples(start_equity=Decimal(1), equity_times=times, equity=equity, rates=[ZERO] * 6)
    found = rolling_windows(samples, TradeTable([]))
    ends = ["20150131", "20150228", "20150331", "20150430", "20150531", "20150610"]
    assert list(found) == [f"M{months}_{end}" for months in (1, 3, 6, 12) for end in ends]
    starts = [found[f"M3_{end}"]["portfolioStatistics"]["startEquity"] for end in ends]
    assert starts == ["1", "1", "1", "2", "3", "4"]
    # only the window over everything starts with the starting cash, here equal to the first close
    assert found["M12_20150610"]["portfolioStatistics"]["endEquity"] == "6"


# --- against the real engine


def decimals(values):
    return [normalise(Decimal(str(value))) for value in values]


def recorded_samples(recording):
    result = recording.result
    rates = rate_on(recording.data.interest_rates())
    series = {
        name: block["values"] for chart in result["charts"].values() for name, block in chart["series"].items()
    }
    equity_times = [point[0] for point in series["Equity"]]
    record = [
        (int(datetime.fromisoformat(when).timestamp()), Decimal(str(profit)))
        for when, profit in result["profitLoss"].items()
    ]
    return Samples(
        start_equity=Decimal(result["totalPerformance"]["portfolioStatistics"]["startEquity"]),
        equity_times=equity_times,
        equity=decimals(point[4] for point in series["Equity"]),
        sample_times=[point[0] for point in series["Return"]],
        returns=decimals(point[1] for point in series["Return"]),
        benchmark=decimals(point[1] for point in series["Benchmark"]),
        turnover_times=[point[0] for point in series["Portfolio Turnover"]],
        turnover=decimals(point[1] for point in series["Portfolio Turnover"]),
        rates=[rates(datetime.fromtimestamp(when, UTC).date()) for when in equity_times],
        profit_times=[when for when, _ in record],
        profits=[profit for _, profit in record],
    )


def recorded_trades(result, stock):
    def parse(text):
        return datetime.fromisoformat(text).replace(tzinfo=None)

    return [
        Trade(
            symbol=stock.symbol,
            entry_time=parse(entry["entryTime"]),
            entry_price=Decimal(str(entry["entryPrice"])),
            direction=1 if entry["direction"] == 0 else -1,
            quantity=Decimal(str(entry["quantity"])),
            exit_time=parse(entry["exitTime"]),
            exit_price=Decimal(str(entry["exitPrice"])),
            profit_loss=Decimal(f"{entry['profitLoss']:.2f}"),
            total_fees=Decimal(str(entry["totalFees"])),
            mae=Decimal(f"{entry['mae']:.2f}"),
            mfe=Decimal(f"{entry['mfe']:.2f}"),
            end_trade_drawdown=Decimal(f"{entry['endTradeDrawdown']:.2f}"),
            order_ids=tuple(entry["orderIds"]),
        )
        for entry in result["totalPerformance"]["closedTrades"]
    ]


def numbers(block):
    """The values of a block as numbers: the recording has lost the scale of the trades that they come from."""
    return {
        name: Decimal(value) if isinstance(value, str) and ":" not in value else value for name, value in block.items()
    }


def test_every_rolling_window_of_a_recording_comes_out(recording, stock):
    result = recording.result
    windows = rolling_windows(recorded_samples(recording), TradeTable(recorded_trades(result, stock)))
    assert list(windows) == list(result["rollingWindow"])
    for name, theirs in result["rollingWindow"].items():
        ours = windows[name]
        assert ours["portfolioStatistics"] == theirs["portfolioStatistics"], name
        assert list(ours["tradeStatistics"]) == list(theirs["tradeStatistics"])
        assert numbers(ours["tradeStatistics"]) == numbers(theirs["tradeStatistics"]), name


def test_the_summary_of_a_recording_comes_out(recording):
    result = recording.result
    ours = summary(
        recorded_samples(recording).portfolio(),
        orders=len(result["orders"]),
        fees=Decimal(result["statistics"]["Total Fees"].removeprefix("$")),
        capacity=Decimal(result["statistics"]["Estimated Strategy Capacity"].removeprefix("$")),
        lowest_capacity_asset=result["statistics"]["Lowest Capacity Asset"],
    )
    assert list(ours.items()) == list(result["statistics"].items())
