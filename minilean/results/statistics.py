"""LEAN's statistics of a run: of its trades, of its portfolio, over rolling windows, and the 27 of the summary.

Decimals are emulated where LEAN has decimals and doubles are used where it has doubles, because both show in the
fourth place. Every function that takes Decimals expects the `EXACT` context to be active.
"""

import math
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from minilean.decimals import (
    EXACT,
    ONE,
    ZERO,
    divide,
    fit,
    multiply,
    plain,
    round_half_even,
    round_half_up,
    text,
)
from minilean.orders import iso
from minilean.results.trades import Trade

TRADING_DAYS = 252
WINDOW_MONTHS = (1, 3, 6, 12)
_HUNDRED = Decimal(100)
_TEN = Decimal(10)
_FOUR_PLACES = Decimal("0.0000")
_DAY = 86_400
_TICKS_PER_SECOND = 10_000_000
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1)
_EMULATED = 20
"""Means of up to so many values are always emulated step by step: fewer digits than four may be left of them."""

_PLACES = 4
"""The most that a statistic is written with."""
_DOUBT = 1e-9
"""Relative error that a sum of doubles stays below by far."""


def from_double(x: float) -> Decimal:
    """.NET's conversion of a double to decimal: at most 15 significant digits, no trailing zeros."""
    return fit(plain(Decimal(f"{x:.15g}"))) if math.isfinite(x) else ZERO


def time_span(ticks: int) -> str:
    """.NET's text of a duration in ticks of 100 ns: `[-][d.]hh:mm:ss[.fffffff]`."""
    sign = "-" if ticks < 0 else ""
    seconds, fraction = divmod(abs(ticks), _TICKS_PER_SECOND)
    days, seconds = divmod(seconds, _DAY)
    written = f"{sign}{days}." if days else sign
    written += f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{written}.{fraction:07d}" if fraction else written


def _four(x: Decimal) -> str:
    return text(round_half_even(x, 4))


# --- trades


class TradeTable:
    """Closed trades in columns, so that every window over them is a slice.

    Money columns are whole cents with, beside them, the number of places that each amount is written with.
    """

    def __init__(self, trades: Sequence[Trade]):
        self.trades = trades
        self.profit = _Money([trade.profit_loss for trade in trades])
        self.mae = _Money([trade.mae for trade in trades])
        self.mfe = _Money([trade.mfe for trade in trades])
        self.end_drawdown = _Money([trade.end_trade_drawdown for trade in trades])
        self.win = self.profit.cents > 0
        self.exits = [_unix(trade.exit_time) for trade in trades]
        self.ticks = np.array([trade.ticks for trade in trades], dtype=np.int64)
        self._entries = np.array([_unix(trade.entry_time) for trade in trades], dtype=np.int64)
        self._fees = list(accumulate((trade.total_fees for trade in trades), initial=ZERO))
        self._fee_places = np.array([_places(trade.total_fees) for trade in trades], dtype=np.int64)

    def statistics(self, first: int, after: int) -> dict[str, str | int | None]:
        """tradeStatistics of the trades [first, after), in LEAN's fields and order."""
        span = slice(first, after)
        count = after - first
        if not count:
            return dict(_NO_TRADES)
        win = self.win[span]
        profit = self.profit.part(span)
        wins, losses = profit.chosen(win), profit.chosen(~win)
        ticks = self.ticks[span]
        mae, mfe, end_drawdown = self.mae.part(span), self.mfe.part(span), self.end_drawdown.part(span)
        mean_win, mean_loss, mean_mae = (x.mean(emulated=x.emulated()) for x in (wins, losses, mae))
        # Their difference is a statistic too.
        emulated = any(x.emulated() for x in (profit, mfe, _Money.of(profit.cents - mfe.cents, profit.places)))
        mean_profit, mean_mfe = profit.mean(emulated=emulated), mfe.mean(emulated=emulated)
        total = profit.total()
        deviation, downside = profit.deviation(), losses.deviation()
        closed_drawdown, intra_drawdown, longest = self._drawdowns(span, profit, mae, mfe, win)
        win_rate = divide(Decimal(len(wins)), Decimal(count))
        longest_wins, longest_losses = _longest_runs(win)
        return {
            "startDateTime": iso(self.trades[first + int(np.argmin(self._entries[span]))].entry_time),
            "endDateTime": iso(self.trades[after - 1].exit_time),
            "totalNumberOfTrades": count,
            "numberOfWinningTrades": len(wins),
            "numberOfLosingTrades": len(losses),
            "totalProfitLoss": _four(total),
            "totalProfit": _four(wins.total()),
            "totalLoss": _four(losses.total()),
            "largestProfit": _four(wins.largest()),
            "largestLoss": _four(losses.smallest()),
            "averageProfitLoss": _four(mean_profit),
            "averageProfit": _four(mean_win),
            "averageLoss": _four(mean_loss),
            "averageTradeDuration": time_span(_mean_duration(ticks)),
            "averageWinningTradeDuration": time_span(_mean_duration(ticks[win])),
            "averageLosingTradeDuration": time_span(_mean_duration(ticks[~win])),
            "medianTradeDuration": time_span(_median(ticks)),
            "medianWinningTradeDuration": time_span(_median(ticks[win])),
            "medianLosingTradeDuration": time_span(_median(ticks[~win])),
            "maxConsecutiveWinningTrades": longest_wins,
            "maxConsecutiveLosingTrades": longest_losses,
            "profitLossRatio": _four(divide(mean_win, abs(mean_loss)) if mean_loss else ZERO),
            "winLossRatio": _four(divide(Decimal(len(wins)), Decimal(len(losses))) if len(losses) else _TEN),
            "winRate": _four(win_rate),
            "lossRate": _four(ONE - win_rate),
            "averageMAE": _four(mean_mae),
            "averageMFE": _four(mean_mfe),
            "largestMAE": _four(mae.smallest()),
            "largestMFE": _four(mfe.largest()),
            "maximumClosedTradeDrawdown": _four(closed_drawdown),
            "maximumIntraTradeDrawdown": _four(intra_drawdown),
            "profitLossStandardDeviation": _four(deviation),
            "profitLossDownsideDeviation": _four(downside),
            "profitFactor": _four(_ratio_or_ten(wins.total(), losses.total())),
            "sharpeRatio": _four(divide(mean_profit, deviation) if deviation else ZERO),
            "sortinoRatio": _four(divide(mean_profit, downside) if downside else ZERO),
            "profitToMaxDrawdownRatio": _four(_ratio_or_ten(total, closed_drawdown)),
            "maximumEndTradeDrawdown": _four(end_drawdown.largest()),
            "averageEndTradeDrawdown": _four(fit(mean_profit - mean_mfe)),
            "maximumDrawdownDuration": time_span(longest),
            "totalFees": _four(self._total_fees(first, after)),
        }

    def _total_fees(self, first: int, after: int) -> Decimal:
        """Their sum, written with the places of the longest."""
        places = int(self._fee_places[first:after].max())
        return (self._fees[after] - self._fees[first]).quantize(ONE.scaleb(-places))

    def _drawdowns(
        self, span: slice, profit: "_Money", mae: "_Money", mfe: "_Money", win: NDArray[np.bool_]
    ) -> tuple[Decimal, Decimal, int]:
        """Deepest fall of the closed profit from its peak, and with open trades at their worst; longest time under it.

        The closed profit P moves in the order of closing. Its peak counts winning trades only and starts at zero.
        """
        after = np.cumsum(profit.cents)
        before = after - profit.cents
        places = np.maximum.accumulate(profit.places)
        places_before = np.concatenate(([0], places[:-1]))

        peak = np.maximum.accumulate(np.maximum(np.where(win, after, 0), 0))
        fall = np.where(win, 0, after - peak)
        at = int(np.argmin(fall))
        closed = _amount(int(fall[at]), int(places[at])) if fall[at] < 0 else ZERO

        high = np.maximum(np.maximum.accumulate(before + mfe.cents), 0)
        worst = before + mae.cents - high
        at = int(np.argmin(worst))
        intra = ZERO
        if worst[at] < 0:
            peaks = np.flatnonzero((before + mfe.cents)[: at + 1] == high[at])
            place = max(places_before[at], mae.places[at])
            if len(peaks):
                place = max(place, places_before[peaks[0]], mfe.places[peaks[0]])
            intra = _amount(int(worst[at]), int(place))

        trades = self.trades[span]
        previous = np.concatenate(([0], peak[:-1]))
        highs = np.flatnonzero(win & (after > previous))
        lost = np.concatenate(([0], np.cumsum(~win)))
        longest, since, from_ = 0, trades[0].entry_time, 0
        for i in highs.tolist():
            exit_time = trades[i].exit_time
            if lost[i] > lost[from_]:
                longest = max(longest, (exit_time - since) // _MICROSECOND * 10)
            since, from_ = exit_time, i + 1
        return closed, intra, longest


class _Money:
    """A column of amounts: whole cents, and the places each is written with."""

    def __init__(self, amounts: Sequence[Decimal]):
        self.cents: NDArray[np.int64] = np.array([int(amount.scaleb(2)) for amount in amounts], dtype=np.int64)
        self.places: NDArray[np.int64] = np.array([_places(x) for x in amounts], dtype=np.int64)

    @classmethod
    def of(cls, cents: NDArray[np.int64], places: NDArray[np.int64]) -> "_Money":
        column = cls(())
        column.cents, column.places = cents, places
        return column

    def __len__(self) -> int:
        return len(self.cents)

    def part(self, span: slice) -> "_Money":
        return self.of(self.cents[span], self.places[span])

    def chosen(self, mask: NDArray[np.bool_]) -> "_Money":
        return self.of(self.cents[mask], self.places[mask])

    def total(self) -> Decimal:
        return _amount(int(self.cents.sum()), int(self.places.max(initial=0)))

    def largest(self) -> Decimal:
        """The first of the largest amounts if that is positive, else a zero that was never set."""
        return self._at(int(np.argmax(self.cents))) if len(self) and self.cents.max() > 0 else ZERO

    def smallest(self) -> Decimal:
        return self._at(int(np.argmin(self.cents))) if len(self) and self.cents.min() < 0 else ZERO

    def _at(self, i: int) -> Decimal:
        return _amount(int(self.cents[i]), int(self.places[i]))

    def emulated(self) -> bool:
        """Whether the running mean, rounded to four places, may hang on how .NET rounds on the way.

        It does where the true mean lies in the middle of two such numbers, the way's errors being of the order of
        1e-24; and the scale does where the way is short or has no quotient in it.
        """
        count = len(self)
        if count <= _EMULATED or self.cents.min() == self.cents.max():
            return True
        middle, rest = divmod(int(self.cents.sum()) * 1000, count)
        return not rest and middle % 10 == 5

    def mean(self, *, emulated: bool) -> Decimal:
        """LEAN's running mean, a += (x - a) / n, in its decimals or, with four places at least, exact."""
        count = len(self)
        if not emulated:
            return divide(Decimal(int(self.cents.sum())), Decimal(100 * count)) + _FOUR_PLACES
        mean = ZERO
        for n, (cents, places) in enumerate(zip(self.cents.tolist(), self.places.tolist(), strict=True), 1):
            mean = fit(mean + divide(fit(_amount(cents, places) - mean), Decimal(n)))
        return mean

    def deviation(self) -> Decimal:
        """Sample standard deviation; a double in LEAN too."""
        if len(self) < 2 or self.cents.min() == self.cents.max():
            return ZERO
        return from_double(math.sqrt(_moments(self.cents.astype(np.float64))[1]) / 100)


def _places(x: Decimal) -> int:
    return -int(x.as_tuple().exponent)


def _unix(utc: datetime) -> int:
    return (utc - _EPOCH) // _SECOND


def _amount(cents: int, places: int) -> Decimal:
    """Cents as dollars, written with that many places."""
    return Decimal(cents // 10 ** (2 - places)).scaleb(-places)


def _mean_duration(ticks: NDArray[np.int64]) -> int:
    """Running mean in seconds, cut to ticks of 100 ns at every step, as LEAN's is."""
    mean, a_second = 0.0, float(_TICKS_PER_SECOND)  # whole numbers of ticks, which doubles hold
    for n, seconds in enumerate((ticks / _TICKS_PER_SECOND).tolist(), 1):
        mean += int((seconds - mean / a_second) / n * a_second)
    return int(mean)


def _median(ticks: NDArray[np.int64]) -> int:
    """The middle value, of two the upper one."""
    return int(np.sort(ticks)[len(ticks) // 2]) if len(ticks) else 0


def _longest_runs(win: NDArray[np.bool_]) -> tuple[int, int]:
    """Most wins, and most losses, one after the other."""
    starts = np.concatenate(([0], np.flatnonzero(win[1:] != win[:-1]) + 1))
    lengths = np.diff(starts, append=len(win))
    kinds = win[starts]
    return int(lengths[kinds].max(initial=0)), int(lengths[~kinds].max(initial=0))


def _ratio_or_ten(gain: Decimal, loss: Decimal) -> Decimal:
    """gain / |loss|; where nothing was lost LEAN says ten, or zero if nothing was gained either."""
    if loss:
        return divide(gain, abs(loss))
    return _TEN if gain > 0 else ZERO


_NO_TRADES: dict[str, str | int | None] = {
    "startDateTime": None,
    "endDateTime": None,
    **dict.fromkeys(("totalNumberOfTrades", "numberOfWinningTrades", "numberOfLosingTrades"), 0),
    **dict.fromkeys(
        (
            "totalProfitLoss",
            "totalProfit",
            "totalLoss",
            "largestProfit",
            "largestLoss",
            "averageProfitLoss",
            "averageProfit",
            "averageLoss",
        ),
        "0",
    ),
    **dict.fromkeys(
        (
            "averageTradeDuration",
            "averageWinningTradeDuration",
            "averageLosingTradeDuration",
            "medianTradeDuration",
            "medianWinningTradeDuration",
            "medianLosingTradeDuration",
        ),
        "00:00:00",
    ),
    **dict.fromkeys(("maxConsecutiveWinningTrades", "maxConsecutiveLosingTrades"), 0),
    **dict.fromkeys(
        (
            "profitLossRatio",
            "winLossRatio",
            "winRate",
            "lossRate",
            "averageMAE",
            "averageMFE",
            "largestMAE",
            "largestMFE",
            "maximumClosedTradeDrawdown",
            "maximumIntraTradeDrawdown",
            "profitLossStandardDeviation",
            "profitLossDownsideDeviation",
            "profitFactor",
            "sharpeRatio",
            "sortinoRatio",
            "profitToMaxDrawdownRatio",
            "maximumEndTradeDrawdown",
            "averageEndTradeDrawdown",
        ),
        "0",
    ),
    "maximumDrawdownDuration": "00:00:00",
    "totalFees": "0",
}


# --- portfolio

PORTFOLIO_FIELDS = (
    "averageWinRate",
    "averageLossRate",
    "profitLossRatio",
    "winRate",
    "lossRate",
    "expectancy",
    "startEquity",
    "endEquity",
    "compoundingAnnualReturn",
    "drawdown",
    "totalNetProfit",
    "sharpeRatio",
    "probabilisticSharpeRatio",
    "sortinoRatio",
    "alpha",
    "beta",
    "annualStandardDeviation",
    "annualVariance",
    "informationRatio",
    "trackingError",
    "treynorRatio",
    "portfolioTurnover",
    "valueAtRisk99",
    "valueAtRisk95",
    "drawdownRecovery",
)


@dataclass
class Samples:
    """What a run's statistics are computed from: points as stored in the charts, and the record of profits.

    Times are Unix seconds UTC, ascending. returns are in percent, turnover and rates are fractions; a rate belongs
    to each equity point. profits: of every fill that reduced a position, after twice its order's fee.
    """

    start_equity: Decimal
    equity_times: Sequence[int] = ()
    equity: Sequence[Decimal] = ()
    sample_times: Sequence[int] = ()
    returns: Sequence[Decimal] = ()
    benchmark: Sequence[Decimal] = ()
    turnover_times: Sequence[int] = ()
    turnover: Sequence[Decimal] = ()
    rates: Sequence[Decimal] = ()
    profit_times: Sequence[int] = ()
    profits: Sequence[Decimal] = ()
    _performance: NDArray[np.float64] = field(init=False)
    _changes: NDArray[np.float64] = field(init=False)
    _profits: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._performance = np.array([float(r.scaleb(-2)) for r in self.returns], dtype=np.float64)
        self._profits = np.array([float(profit) for profit in self.profits], dtype=np.float64)
        pairs = pairwise(self.benchmark)
        changes = [float(divide(now - before, before)) if before else 0.0 for before, now in pairs]
        self._changes = np.array([0.0, *changes], dtype=np.float64)

    def portfolio(self, first_day: date | None = None, last_day: date | None = None) -> dict[str, Decimal]:
        """portfolioStatistics of the samples of those UTC days, both included, or of all: unrounded, in LEAN's order.

        A year has 252 samples here, as in LEAN, although weekends are sampled too.
        """
        lower = _seconds(first_day) if first_day else None
        upper = _seconds(last_day) + _DAY if last_day else None
        points = _between(self.equity_times, lower, upper)
        samples = _between(self.sample_times, lower, upper)
        turns = _between(self.turnover_times, lower, upper)
        record = _between(self.profit_times, lower, upper)

        found = dict.fromkeys(PORTFOLIO_FIELDS, ZERO)
        equity = self.equity[points]
        if not equity:
            return found
        start = self.start_equity if len(equity) == len(self.equity) else equity[0]
        turnover = self.turnover[turns]
        found["startEquity"], found["endEquity"] = start, equity[-1]
        if turnover:
            found["portfolioTurnover"] = divide(sum(turnover, ZERO), Decimal(len(turnover)))
        returns = self._performance[samples.start + 2 : samples.stop]
        changes = self._changes[samples.start + 2 : samples.stop]
        if not start or len(returns) < 2:
            return found
        found |= _win_statistics(start, self.profits[record], self._profits[record])
        found["totalNetProfit"] = divide(equity[-1], start) - ONE
        years = (self.equity_times[points.stop - 1] - self.equity_times[points.start]) / _DAY / 365
        found["compoundingAnnualReturn"] = _compounded(float(start), float(equity[-1]), years)
        found["drawdown"], found["drawdownRecovery"] = _drawdown(self.equity_times[points], equity)
        rates = self.rates[points]
        found |= _performance(returns, changes, divide(sum(rates, ZERO), Decimal(len(rates))))
        return found


def portfolio_texts(values: dict[str, Decimal]) -> dict[str, str]:
    """As LEAN writes them: strings, rounded half to even to four places."""
    return {name: _four(value) for name, value in values.items()}


def _win_statistics(start: Decimal, profits: Sequence[Decimal], doubles: NDArray[np.float64]) -> dict[str, Decimal]:
    """Average win and loss as fractions of the capital at that moment, how often, and what a dollar at risk brings.

    doubles: the profits once more; long sums are taken of them, unless a decimal place that may be written hangs on it.
    """
    count = len(profits)
    wins = int((doubles > 0).sum())
    losses = count - wins
    win_rate = divide(Decimal(wins), Decimal(count)) if count else ZERO
    loss_rate = divide(Decimal(losses), Decimal(count)) if count else ZERO
    found = {"winRate": win_rate, "lossRate": loss_rate}
    if wins and losses and count > _EMULATED:
        shares = doubles / (float(start) + np.cumsum(doubles) - doubles)
        average_win = float(shares[doubles > 0].sum()) / wins
        average_loss = float(shares[doubles <= 0].sum()) / losses
        ratio = average_win / abs(average_loss) if average_loss else 0.0
        expectancy = wins / count * ratio - losses / count
        values = (average_win, average_loss, ratio, expectancy)
        halves = [2 * 10**_PLACES * value for value in values]
        if all(abs(half - round(half)) > _DOUBT * max(1.0, abs(half)) for half in halves):
            names = ("averageWinRate", "averageLossRate", "profitLossRatio", "expectancy")
            return found | dict(zip(names, map(from_double, values), strict=True))
    capital = start
    won = lost = ZERO
    with_capital = EXACT.copy()
    with_capital.prec = 28  # .NET's 96 bits hold 28 or 29 digits; sums of quotients do not show the difference
    for profit in profits:
        share = with_capital.divide(profit, capital)
        if profit > 0:
            won = with_capital.add(won, share)
        else:
            lost = with_capital.add(lost, share)
        capital += profit
    mean_win = divide(won, Decimal(wins)) if wins else ZERO
    mean_loss = divide(lost, Decimal(losses)) if losses else ZERO
    exact_ratio = divide(mean_win, abs(mean_loss)) if mean_loss else ZERO
    return found | {
        "averageWinRate": mean_win,
        "averageLossRate": mean_loss,
        "profitLossRatio": exact_ratio,
        "expectancy": fit(multiply(win_rate, exact_ratio) - loss_rate),
    }


def _compounded(start: float, end: float, years: float) -> Decimal:
    """Annual growth rate; zero where it is not defined."""
    if not years or not start:
        return ZERO
    try:
        return from_double(math.pow(end / abs(start), 1 / years) - 1)
    except (ValueError, OverflowError):
        return ZERO


def _drawdown(times: Sequence[int], equity: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """Deepest fall from a peak as a fraction rounded to three places; whole days of the longest one made good."""
    peak, since, trough = equity[0], times[0], equity[0]
    deepest, longest = ZERO, 0
    for time, value in zip(times, equity, strict=True):
        if value >= peak:
            if trough < peak:
                deepest = max(deepest, _fall(peak, trough))
                longest = max(longest, (time - since) // _DAY)
            peak, since, trough = value, time, value
        elif value < trough:
            trough = value
    deepest = max(deepest, _fall(peak, trough))
    return round_half_even(deepest, 3), Decimal(longest)


def _fall(peak: Decimal, trough: Decimal) -> Decimal:
    return abs(divide(trough, peak) - ONE) if peak > 0 else ZERO


def _performance(
    returns: NDArray[np.float64], benchmark: NDArray[np.float64], rate: Decimal
) -> dict[str, Decimal]:
    """Ratios of daily returns, in doubles, turned to decimals where LEAN turns them."""
    mean, variance = _moments(returns)
    benchmark_mean, benchmark_variance = _moments(benchmark)
    annual, benchmark_annual = _annual(mean), _annual(benchmark_mean)
    annual_variance = from_double(variance * TRADING_DAYS)
    deviation = from_double(math.sqrt(annual_variance))
    negative = returns[returns < 0]
    downside = from_double(_annual_deviation(negative)) if len(negative) > 1 else ZERO
    excess = annual - rate
    beta = ZERO
    if benchmark_variance:
        covariance = float((returns - mean) @ (benchmark - benchmark_mean)) / (len(returns) - 1)
        beta = from_double(covariance / benchmark_variance)
    tracking = from_double(_annual_deviation(returns - benchmark))
    lately, spread = _moments(returns[-TRADING_DAYS:])
    return {
        "sharpeRatio": divide(excess, deviation) if deviation else ZERO,
        "probabilisticSharpeRatio": from_double(_probabilistic_sharpe(returns, float(rate))),
        "sortinoRatio": divide(excess, downside) if downside else ZERO,
        "alpha": fit(annual - (rate + multiply(beta, benchmark_annual - rate))) if beta else ZERO,
        "beta": beta,
        "annualStandardDeviation": deviation,
        "annualVariance": annual_variance,
        "informationRatio": divide(annual - benchmark_annual, tracking) if tracking else ZERO,
        "trackingError": tracking,
        "treynorRatio": divide(excess, beta) if beta else ZERO,
        "valueAtRisk99": _value_at_risk(lately, math.sqrt(spread), 0.99),
        "valueAtRisk95": _value_at_risk(lately, math.sqrt(spread), 0.95),
    }


def _moments(x: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and sample variance of at least two values."""
    mean = float(x.sum()) / len(x)
    gaps = x - mean
    return mean, float(gaps @ gaps) / (len(x) - 1)


def _annual(mean: float) -> Decimal:
    return from_double(math.pow(mean + 1, TRADING_DAYS) - 1)


def _annual_deviation(x: NDArray[np.float64]) -> float:
    return math.sqrt(_moments(x)[1] * TRADING_DAYS)


def _probabilistic_sharpe(returns: NDArray[np.float64], rate: float) -> float:
    """Chance that the true Sharpe ratio exceeds one a year, from skewness and excess kurtosis, bias-corrected."""
    n = len(returns)
    mean, variance = _moments(returns)
    if not variance or n < 4:
        return 0.0
    deviation = math.sqrt(variance)
    z = (returns - mean) / deviation
    squares = z * z
    skewness = n / ((n - 1) * (n - 2)) * float(squares @ z)
    kurtosis = n * (n + 1) / ((n - 1) * (n - 2) * (n - 3)) * float(squares @ squares)
    kurtosis -= 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    sharpe = (mean - rate / TRADING_DAYS) / deviation
    spread = (1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2) / (n - 1)
    if spread < 0:
        return 0.0
    value = (sharpe - 1 / math.sqrt(TRADING_DAYS)) / math.sqrt(spread) if spread else 0.0
    return NormalDist().cdf(value)


def _value_at_risk(mean: float, deviation: float, confidence: float) -> Decimal:
    """The return that a normal distribution stays above with that confidence, rounded to three places."""
    quantile = NormalDist(mean, deviation).inv_cdf(1 - confidence) if deviation else mean
    return round_half_even(from_double(quantile), 3)


# --- rolling windows


def rolling_windows(samples: Samples, trades: TradeTable) -> dict[str, dict[str, object]]:
    """LEAN's rollingWindow: performance over 1, 3, 6 and 12 months, ending with every month and with the run."""
    windows: dict[str, dict[str, object]] = {}
    if not samples.equity_times:
        return windows
    first = _day(samples.equity_times[0])
    last = _day(samples.equity_times[-1])
    for months in WINDOW_MONTHS:
        for start, end in _windows(first, last, months):
            among = _between(trades.exits, _seconds(start), _seconds(end) + _DAY)
            windows[f"M{months}_{end:%Y%m%d}"] = {
                "tradeStatistics": trades.statistics(among.start, among.stop),
                "portfolioStatistics": portfolio_texts(samples.portfolio(start, end)),
                "closedTrades": [],
            }
    return windows


def _windows(first: date, last: date, months: int) -> Iterator[tuple[date, date]]:
    """(start, end) of each window, ascending: ends are the month ends within the run, and its last day."""
    ends = [last]
    month_end = last.replace(day=1) - timedelta(days=1)
    while month_end >= first:
        ends.append(month_end)
        month_end = month_end.replace(day=1) - timedelta(days=1)
    start = first
    for end in reversed(ends):
        yield start, end
        start = max(first, _add_months(end + timedelta(days=1), 1 - months))


def _add_months(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _between(times: Sequence[int], lower: int | None, upper: int | None) -> slice:
    """The part of ascending times in [lower, upper)."""
    return slice(
        0 if lower is None else bisect_left(times, lower),
        len(times) if upper is None else bisect_left(times, upper),
    )


# --- summary


def summary(
    portfolio: dict[str, Decimal], *, orders: int, fees: Decimal, capacity: Decimal, lowest_capacity_asset: str
) -> dict[str, str]:
    """The 27 strings of LEAN's summary, in its order."""

    def percent(name: str, places: int) -> str:
        return text(round_half_even(multiply(portfolio[name], _HUNDRED), places)) + "%"

    def double(name: str) -> str:
        value = round(float(portfolio[name]) * 1000) / 1000  # .NET's way of rounding a double
        return f"{math.copysign(value, portfolio[name]):.3f}".rstrip("0").rstrip(".")

    def decimal(name: str, places: int) -> str:
        return text(round_half_even(portfolio[name], places))

    return {
        "Total Orders": str(orders),
        "Average Win": percent("averageWinRate", 2),
        "Average Loss": percent("averageLossRate", 2),
        "Compounding Annual Return": percent("compoundingAnnualReturn", 3),
        "Drawdown": percent("drawdown", 3),
        "Expectancy": decimal("expectancy", 3),
        "Start Equity": decimal("startEquity", 2),
        "End Equity": decimal("endEquity", 2),
        "Net Profit": percent("totalNetProfit", 3),
        "Sharpe Ratio": double("sharpeRatio"),
        "Sortino Ratio": double("sortinoRatio"),
        "Probabilistic Sharpe Ratio": percent("probabilisticSharpeRatio", 3),
        "Loss Rate": percent("lossRate", 0),
        "Win Rate": percent("winRate", 0),
        "Profit-Loss Ratio": decimal("profitLossRatio", 2),
        "Alpha": double("alpha"),
        "Beta": double("beta"),
        "Annual Standard Deviation": double("annualStandardDeviation"),
        "Annual Variance": double("annualVariance"),
        "Information Ratio": double("informationRatio"),
        "Tracking Error": double("trackingError"),
        "Treynor Ratio": double("treynorRatio"),
        "Total Fees": f"${round_half_up(fees, 2)}",
        "Estimated Strategy Capacity": _two_digits(capacity),
        "Lowest Capacity Asset": lowest_capacity_asset,
        "Portfolio Turnover": percent("portfolioTurnover", 2),
        "Drawdown Recovery": text(portfolio["drawdownRecovery"]),
    }


def _two_digits(dollars: Decimal) -> str:
    """Two significant digits, half to even, written with cents; `$0` for none."""
    if not dollars:
        return "$0"
    return f"${round_half_even(dollars.scaleb(-dollars.adjusted() - 1), 2).scaleb(dollars.adjusted() + 1):.2f}"


AnnualRate = Callable[[date], Decimal]


def rate_on(rates: Sequence[tuple[date, Decimal]]) -> AnnualRate:
    """The risk-free rate of a day: the last one published by then, before the first one the first; none is zero."""
    days = [day for day, _ in rates]

    def rate(day: date) -> Decimal:
        if not days:
            return ZERO
        after = bisect_left(days, day + timedelta(days=1))
        return rates[max(0, after - 1)][1]

    return rate
