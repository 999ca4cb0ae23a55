"""Statistics: .NET's numbers and texts by hand, whole blocks from what the real engine wrote."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilean.decimals import LARGEST, ONE, ZERO, clamped, divide, from_double, normalise, round_half_even
from minilean.orders import iso
from minilean.results.statistics import (
    PORTFOLIO_FIELDS,
    Samples,
    portfolio_texts,
    rate_on,
    rolling_windows,
    summary,
)
from minilean.results.trade_statistics import TradeTable, time_span
from minilean.results.trades import Trade

NOON = datetime(2015, 6, 1, 12)


def trade(stock, profit_loss, *, entry=0, exit_=1, mae="0", mfe="0", given_back="0", fees="1"):
    """A trade of one share by its results; entry and exit in days."""
    return Trade(
        symbol=stock.symbol,
        entry_time=NOON + timedelta(days=entry),
        entry_price=Decimal(10),
        direction=1,
        quantity=Decimal(1),
        exit_time=NOON + timedelta(days=exit_),
        exit_price=Decimal(10) + Decimal(profit_loss),
        profit_loss=Decimal(profit_loss),
        total_fees=Decimal(fees),
        mae=Decimal(mae),
        mfe=Decimal(mfe),
        end_trade_drawdown=Decimal(given_back),
        order_ids=(1, 2),
    )


@pytest.fixture
def stock(make_security):
    return make_security("AAA")


def statistics(trades):
    return TradeTable(trades).statistics([slice(0, len(trades))])[0]


# --- texts


@pytest.mark.parametrize(
    ("ticks", "written"),
    [
        (0, "00:00:00"),
        (28 * 864 * 10**9, "28.00:00:00"),
        (91_854_010_362_693, "106.07:30:01.0362693"),
        (23 * 36 * 10**9 + 1, "23:00:00.0000001"),
        (-36 * 10**9, "-01:00:00"),
        (-(25 * 36 * 10**9), "-1.01:00:00"),
    ],
)
def test_durations_are_written_as_dot_net_does(ticks, written):
    assert time_span(ticks) == written


@pytest.mark.parametrize(
    ("double", "written"),
    [
        (0.1, "0.1"),
        (0.0, "0"),
        (1 / 3, "0.333333333333333"),
        (123456789.123456789, "123456789.123457"),
        (1e-20, "0.00000000000000000001"),
        (2.5e20, "250000000000000000000"),
        (float("nan"), "0"),
    ],
)
def test_a_double_becomes_a_decimal_of_fifteen_digits_without_trailing_zeros(double, written):
    assert format(from_double(double), "f") == written


def test_what_is_too_large_becomes_the_largest_decimal_where_lean_converts_safely():
    largest = Decimal("79228162514264337593543950335")
    assert (clamped(1e300), clamped(-8e28), clamped(1e28)) == (largest, -largest, Decimal(10) ** 28)
    for number in (1e29, -1e300):
        with pytest.raises(OverflowError, match="is too large for a decimal of LEAN"):
            from_double(number)
    for number in (float("nan"), float("inf")):
        with pytest.raises(OverflowError, match="is no decimal of LEAN"):
            clamped(number)


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


# --- trades


def test_no_trade_gives_zeros_and_no_dates():
    found = statistics([])
    assert found["startDateTime"] is None
    assert found["totalNumberOfTrades"] == 0
    assert found["averageTradeDuration"] == "00:00:00"
    assert set(found.values()) == {None, 0, "0", "00:00:00"}
    assert len(found) == 41


def test_trade_statistics_follow_the_order_of_closing(stock):
    found = statistics(
        [
            trade(stock, "10.00", exit_=2, mae="-1.00", mfe="12.00", given_back="2.00", fees="1"),
            trade(stock, "-4.50", exit_=3, mae="-6.00", mfe="3.00", given_back="7.50", fees="0.25"),
            trade(stock, "-2.50", exit_=4, mae="-3.00", mfe="1.00", given_back="3.50", fees="0.125"),
            trade(stock, "6.00", entry=3, exit_=9, mae="-8.00", mfe="6.00", given_back="1.00", fees="1"),
        ]
    )
    assert found == {
        "startDateTime": "2015-06-01T12:00:00Z",
        "endDateTime": "2015-06-10T12:00:00Z",
        "totalNumberOfTrades": 4,
        "numberOfWinningTrades": 2,
        "numberOfLosingTrades": 2,
        "totalProfitLoss": "9.00",
        "totalProfit": "16.00",
        "totalLoss": "-7.00",
        "largestProfit": "10.00",
        "largestLoss": "-4.50",
        "averageProfitLoss": "2.25",
        "averageProfit": "8.00",
        "averageLoss": "-3.50",
        "averageTradeDuration": "3.18:00:00",
        "averageWinningTradeDuration": "4.00:00:00",
        "averageLosingTradeDuration": "3.12:00:00",
        "medianTradeDuration": "4.00:00:00",
        "medianWinningTradeDuration": "6.00:00:00",
        "medianLosingTradeDuration": "4.00:00:00",
        "maxConsecutiveWinningTrades": 1,
        "maxConsecutiveLosingTrades": 2,
        "profitLossRatio": "2.2857",
        "winLossRatio": "1",
        "winRate": "0.5",
        "lossRate": "0.5",
        "averageMAE": "-4.5000",
        "averageMFE": "5.5000",
        "largestMAE": "-8.00",
        "largestMFE": "12.00",
        "maximumClosedTradeDrawdown": "-7.00",
        "maximumIntraTradeDrawdown": "-18.00",
        "profitLossStandardDeviation": "6.8860",
        "profitLossDownsideDeviation": "1.4142",
        "profitFactor": "2.2857",
        "sharpeRatio": "0.3268",
        "sortinoRatio": "1.5910",
        "profitToMaxDrawdownRatio": "1.2857",
        "maximumEndTradeDrawdown": "7.50",
        "averageEndTradeDrawdown": "-3.2500",
        "maximumDrawdownDuration": "00:00:00",
        "totalFees": "2.375",
    }


def test_a_new_peak_after_losses_ends_a_drawdown_at_the_exit(stock):
    found = statistics(
        [
            trade(stock, "5.00", exit_=1),
            trade(stock, "-1.00", exit_=3),
            trade(stock, "0.50", exit_=4),
            trade(stock, "3.00", exit_=11),
            trade(stock, "1.00", exit_=40),
        ]
    )
    # peak on day 1, lost on day 3, made good on day 11; no loss before day 40
    assert found["maximumDrawdownDuration"] == "10.00:00:00"


def test_without_a_loss_ratios_are_ten_or_zero(stock):
    found = statistics([trade(stock, "5.00"), trade(stock, "5.00")])
    assert [found[name] for name in ("profitLossRatio", "winLossRatio", "profitFactor")] == ["0", "10", "10"]
    assert [found[name] for name in ("sharpeRatio", "sortinoRatio", "profitToMaxDrawdownRatio")] == ["0", "0", "10"]


def dot_net(exact):
    """The .NET decimal next to an exact fraction: at most 28 places, at most 96 bits, ties to even."""
    for places in range(28, -1, -1):
        digits = round(exact * 10**places)
        if abs(digits) < 2**96:
            return Fraction(digits, 10**places)
    raise OverflowError


def running_mean(values):
    mean = Fraction(0)
    for n, value in enumerate(values, 1):
        mean = dot_net(mean + dot_net(dot_net(Fraction(value) - mean) / n))
    return mean


@pytest.mark.parametrize("seed", range(40))
def test_averages_end_where_dot_net_ends_when_the_true_mean_lies_in_the_middle(stock, seed):
    # 80 amounts whose mean has a 5 in the fifth place and nothing after it: LEAN's errors on the way decide.
    pick = random.Random(seed)
    cents = [pick.randrange(-900_000, 900_000) for _ in range(79)]
    cents.append(-sum(cents) % 80 + 2)  # a mean of k + 1/40 cents
    assert Fraction(sum(cents), 80) % 1 == Fraction(1, 40)
    found = statistics([trade(stock, f"{amount / 100:.2f}") for amount in cents])
    mean = running_mean([Fraction(amount, 100) for amount in cents])
    assert Decimal(found["averageProfitLoss"]) == Decimal(round(mean * 10_000)).scaleb(-4)


def test_long_averages_agree_with_the_emulation_of_every_step(stock):
    trades = [trade(stock, f"{(n * 7919) % 10_007 - 5000}.{n % 100:02d}") for n in range(400)]
    table = TradeTable(trades)
    for count in range(21, 400):
        (profit,) = table.profit.parts(np.array([(0, count)]))
        fast, slow = profit.mean(emulated=False), profit.mean(emulated=True)
        assert abs(fast - slow) < Decimal("1e-20")
        if not profit.emulated():
            assert f"{fast:.4f}" == f"{slow:.4f}"


class SlowStatistics:
    """Statistics of some trades by their definitions, one trade after the other."""

    def __init__(self, trades):
        self.trades = trades
        self.wins = [trade for trade in trades if trade.profit_loss > 0]
        self.losses = [trade for trade in trades if trade.profit_loss <= 0]

    @staticmethod
    def mean_duration(trades):
        mean = 0
        for n, trade in enumerate(trades, 1):
            seconds, so_far = trade.ticks / 10_000_000, mean / 10_000_000
            mean += int((seconds - so_far) / n * 10_000_000)
        return time_span(mean)

    @staticmethod
    def median_duration(trades):
        return time_span(sorted(trade.ticks for trade in trades)[len(trades) // 2]) if trades else "00:00:00"

    @staticmethod
    def mean(trades, name):
        values = [Fraction(getattr(trade, name)) for trade in trades]
        mean = sum(values, Fraction(0)) / max(1, len(values))
        if (mean * 20_000).denominator == 1:  # in the middle between two texts: LEAN's errors on the way decide
            mean = running_mean(values)
        return Decimal(round(mean * 10_000)).scaleb(-4)

    def longest_run(self, chosen):
        runs = "".join("x" if trade in chosen else " " for trade in self.trades).split()
        return max(map(len, runs), default=0)

    def drawdowns(self):
        closed = peak = high = deepest = intra = ZERO
        longest, since, has_lost = 0, self.trades[0].entry_time, False
        for trade in self.trades:
            high = max(high, closed + trade.mfe)
            intra = min(intra, closed + trade.mae - high)
            closed += trade.profit_loss
            if trade.profit_loss <= 0:
                deepest, has_lost = min(deepest, closed - peak), True
            elif closed > peak:
                if has_lost:
                    longest = max(longest, (trade.exit_time - since) // timedelta(microseconds=1) * 10)
                peak, since, has_lost = closed, trade.exit_time, False
        return deepest, intra, time_span(longest)

    def places(self):
        return max(-trade.profit_loss.as_tuple().exponent for trade in self.trades)


def ulp(amount, places):
    return str(amount.quantize(Decimal(1).scaleb(-places)))


@pytest.mark.parametrize("seed", range(12))
def test_every_window_has_the_statistics_of_its_trades_alone(stock, seed):
    pick = random.Random(seed)
    size = 10 ** pick.choice([3, 6, 9, 18])  # the last is beyond 64 bits

    def amount(low, high):
        places = pick.choice([0, 1, 2, 2, 2, 2])
        return str(Decimal(pick.randint(low, high)).scaleb(-places)) if pick.random() < 0.9 else "0"

    trades = [
        trade(
            stock,
            amount(-size, size),
            entry=n + pick.random(),
            exit_=n + 1 + pick.choice([0, 1, 2, pick.random() * 300]),
            mae=amount(-size, 0),
            mfe=amount(0, size),
            given_back=amount(0, size),
            fees=str(Decimal(pick.randint(0, 999)).scaleb(-pick.randint(0, 3))),
        )
        for n in range(150)
    ]
    spans = [slice(*sorted((pick.randint(0, 150), pick.randint(0, 150)))) for _ in range(60)] + [slice(0, 150)]
    for span, found in zip(spans, TradeTable(trades).statistics(spans), strict=True):
        some = trades[span]
        if not some:
            assert found["totalNumberOfTrades"] == 0
            continue
        slow = SlowStatistics(some)
        every, wins, losses = some, slow.wins, slow.losses
        assert (found["numberOfWinningTrades"], found["numberOfLosingTrades"]) == (len(wins), len(losses))
        assert found["totalProfitLoss"] == ulp(sum((t.profit_loss for t in every), ZERO), slow.places())
        assert found["largestProfit"] == str(max(wins, key=lambda t: t.profit_loss).profit_loss if wins else ZERO)
        worst = min(losses, key=lambda t: t.profit_loss).profit_loss if losses else ZERO
        assert found["largestLoss"] == (str(worst) if worst else "0")
        largest_mfe = max(every, key=lambda t: t.mfe).mfe
        assert found["largestMFE"] == (str(largest_mfe) if largest_mfe else "0")
        for name, chosen in (("", every), ("Winning", wins), ("Losing", losses)):
            assert found[f"average{name}TradeDuration"] == slow.mean_duration(chosen), name
            assert found[f"median{name}TradeDuration"] == slow.median_duration(chosen), name
        for name, chosen, field in (
            ("averageProfitLoss", every, "profit_loss"),
            ("averageProfit", wins, "profit_loss"),
            ("averageLoss", losses, "profit_loss"),
            ("averageMAE", every, "mae"),
            ("averageMFE", every, "mfe"),
        ):
            assert Decimal(found[name]) == slow.mean(chosen, field), name
        assert found["maxConsecutiveWinningTrades"] == slow.longest_run(wins)
        assert found["maxConsecutiveLosingTrades"] == slow.longest_run(losses)
        deepest, intra, longest = slow.drawdowns()
        assert Decimal(found["maximumClosedTradeDrawdown"]) == deepest
        assert Decimal(found["maximumIntraTradeDrawdown"]) == intra
        assert found["maximumDrawdownDuration"] == longest
        gains, losts = (sum((t.profit_loss for t in chosen), ZERO) for chosen in (wins, losses))
        factor = Fraction(gains) / -Fraction(losts) if losts else Fraction(10 if gains else 0)
        assert Fraction(found["profitFactor"]) == Fraction(round(factor * 10_000), 10_000)
        assert Fraction(found["winRate"]) == Fraction(round(Fraction(len(wins), len(every)) * 10_000), 10_000)
        spread = Decimal(stdev(t.profit_loss for t in every)) if len(every) > 1 else ZERO
        assert float(found["profitLossStandardDeviation"]) == pytest.approx(float(spread), rel=1e-14, abs=5.1e-5)
        assert Decimal(found["totalFees"]) == round_half_even(sum((t.total_fees for t in every), ZERO), 4)


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


def test_times_are_written_without_needless_fractions():
    assert iso(NOON) == "2015-06-01T12:00:00Z"
    assert iso(NOON + timedelta(milliseconds=10)) == "2015-06-01T12:00:00.01Z"
