"""LEAN's statistics of a run: of its portfolio, over rolling windows, and the 27 of the summary.

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
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minilean.decimals import (
    EXACT,
    LARGEST,
    ONE,
    ZERO,
    clamped,
    divide,
    fit,
    four_places,
    from_double,
    in_units,
    multiply,
    round_half_even,
    round_half_up,
    text,
    to_double,
)
from minilean.results.trade_statistics import EMULATED, PLACES, TradeTable

TRADING_DAYS = 252
WINDOW_MONTHS = (1, 3, 6, 12)
_HUNDRED = Decimal(100)
_DAY = 86_400
_DOUBT = 1e-9
"""Relative error that a sum of doubles stays below by far."""


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
    _times: NDArray[np.int64] = field(init=False)
    _units: NDArray[Any] = field(init=False)
    _performance: NDArray[np.float64] = field(init=False)
    _changes: NDArray[np.float64] = field(init=False)
    _profits: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._times = np.array(self.equity_times, dtype=np.int64)
        units, _ = in_units(self.equity)
        self._units = np.array(units, dtype=np.int64 if max(map(abs, units), default=0) < 2**63 else object)
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
        times, units = self._times[points], self._units[points]
        found["drawdown"], found["drawdownRecovery"] = _drawdown(times, units, equity)
        rates = self.rates[points]
        found |= _performance(returns, changes, divide(sum(rates, ZERO), Decimal(len(rates))))
        return found


def portfolio_texts(values: dict[str, Decimal]) -> dict[str, str]:
    """As LEAN writes them: strings, rounded half to even to four places."""
    return {name: four_places(value) for name, value in values.items()}


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
    if wins and losses and count > EMULATED:
        shares = doubles / (float(start) + np.cumsum(doubles) - doubles)
        average_win = float(shares[doubles > 0].sum()) / wins
        average_loss = float(shares[doubles <= 0].sum()) / losses
        ratio = average_win / abs(average_loss) if average_loss else 0.0
        expectancy = wins / count * ratio - losses / count
        values = (average_win, average_loss, ratio, expectancy)
        halves = [2 * 10**PLACES * value for value in values]
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
        return clamped(math.pow(end / start, 1 / years) - 1)
    except (ValueError, OverflowError):
        return ZERO


def _drawdown(
    times: NDArray[np.int64], units: NDArray[Any], equity: Sequence[Decimal]
) -> tuple[Decimal, Decimal]:
    """Deepest fall from a peak as a fraction rounded to three places; whole days of the longest one made good.

    times: seconds; units: the equity as whole numbers.
    """
    peaks = np.maximum.accumulate(units)
    if not peaks.all():
        return ZERO, ZERO  # LEAN divides by them, and gives up
    first = int(np.searchsorted(peaks, 0))
    times, units, equity, peaks = times[first:], units[first:], equity[first:], peaks[first:]
    tops = np.flatnonzero(units == peaks)
    lengths = (times[tops[1:]] - times[tops[:-1]])[np.diff(tops) > 1]
    longest = Decimal(int(lengths.max(initial=0)) // _DAY)
    if len(tops) == len(units):
        return ZERO, longest
    shares = (units / peaks).astype(np.float64)
    lowest = float(shares.min())
    halves = 2000 * (1 - lowest)
    if abs(halves - round(halves)) > _DOUBT * max(1.0, halves):
        return Decimal(round(halves / 2)).scaleb(-3), longest
    deepest = ZERO
    for at in np.flatnonzero(shares <= lowest + _DOUBT).tolist():
        peak = equity[tops[np.searchsorted(tops, at, side="right") - 1]]
        deepest = max(deepest, abs(divide(equity[at], peak) - ONE))
    return round_half_even(deepest, 3), longest


def _performance(
    returns: NDArray[np.float64], benchmark: NDArray[np.float64], rate: Decimal
) -> dict[str, Decimal]:
    """Ratios of daily returns, in doubles, turned to decimals where LEAN turns them."""
    mean, variance = _moments(returns)
    benchmark_mean, benchmark_variance = _moments(benchmark)
    annual, benchmark_annual = _annual(mean), _annual(benchmark_mean)
    annual_variance = clamped(variance * TRADING_DAYS)
    deviation = from_double(math.sqrt(annual_variance))
    negative = returns[returns < 0]
    downside = clamped(_annual_deviation(negative)) if len(negative) > 1 else ZERO
    excess = to_double(annual) - to_double(rate)
    beta = ZERO
    if benchmark_variance:
        covariance = float((returns - mean) @ (benchmark - benchmark_mean)) / (len(returns) - 1)
        beta = from_double(covariance / benchmark_variance)
    tracking = from_double(_annual_deviation(returns - benchmark))
    lately, spread = _moments(returns[-TRADING_DAYS:])
    return {
        "sharpeRatio": clamped(excess / to_double(deviation)) if deviation else ZERO,
        "probabilisticSharpeRatio": clamped(_probabilistic_sharpe(returns, float(rate))),
        "sortinoRatio": clamped(excess / to_double(downside)) if downside else ZERO,
        "alpha": fit(annual - (rate + multiply(beta, benchmark_annual - rate))) if beta else ZERO,
        "beta": beta,
        "annualStandardDeviation": deviation,
        "annualVariance": annual_variance,
        "informationRatio": _ratio(to_double(annual) - to_double(benchmark_annual), tracking),
        "trackingError": tracking,
        "treynorRatio": _ratio(excess, beta),
        "valueAtRisk99": _value_at_risk(lately, math.sqrt(spread), 0.99),
        "valueAtRisk95": _value_at_risk(lately, math.sqrt(spread), 0.95),
    }


def _ratio(numerator: float, denominator: Decimal) -> Decimal:
    """LEAN's safe division: zero where it is not defined or too large."""
    try:
        return divide(clamped(numerator), denominator) if denominator else ZERO
    except OverflowError:
        return ZERO


def _moments(x: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and sample variance of at least two values."""
    mean = float(x.sum()) / len(x)
    gaps = x - mean
    return mean, float(gaps @ gaps) / (len(x) - 1)


def _annual(mean: float) -> Decimal:
    try:
        return clamped(math.pow(mean + 1, TRADING_DAYS) - 1)
    except OverflowError:
        raise OverflowError(f"a mean return of {mean:.4g} a day is too large to be one of a year") from None


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
    if not samples.equity_times:
        return {}
    first = _day(samples.equity_times[0])
    last = _day(samples.equity_times[-1])
    windows = [(months, *window) for months in WINDOW_MONTHS for window in _windows(first, last, months)]
    among = [_between(trades.exits, _seconds(start), _seconds(end) + _DAY) for _, start, end in windows]
    return {
        f"M{months}_{end:%Y%m%d}": {
            "tradeStatistics": statistics,
            "portfolioStatistics": portfolio_texts(samples.portfolio(start, end)),
            "closedTrades": [],
        }
        for (months, start, end), statistics in zip(windows, trades.statistics(among), strict=True)
    }


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
        share = portfolio[name]
        percent = LARGEST if share >= LARGEST / 100 else multiply(share, _HUNDRED)
        return text(round_half_even(percent, places)) + "%"

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
