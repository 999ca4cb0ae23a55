"""Statistics of closed trades: by hand, and against a slow computation of every window on its own."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import stdev

import numpy as np
import pytest

from minilean.decimals import ZERO, round_half_even
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


def statistics(trades):
    return TradeTable(trades).statistics([slice(0, len(trades))])[0]


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
