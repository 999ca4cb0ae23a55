"""LEAN's findings about a finished backtest: those that a monthly equity strategy can meet.

Not here: findings about order errors and log messages, the number of parameters, and the Monte Carlo percentile,
which hangs on .NET's random numbers.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise

from minilean.calendar import to_utc
from minilean.decimals import ZERO, divide, to_double
from minilean.results.statistics import AnnualRate

Finding = dict[str, object]

_SIGNIFICANT = 0.05
_LOW_MARGIN = 50
_LONGEST_SEGMENTS = 5
_CRISES = (
    (date(2000, 2, 26), date(2000, 9, 10), "DotCom Bubble 2000"),
    (date(2001, 9, 5), date(2001, 10, 10), "September 11, 2001"),
    (date(2003, 1, 1), date(2003, 2, 20), "U.S. Housing Bubble 2003"),
    (date(2007, 10, 1), date(2011, 12, 1), "Global Financial Crisis 2007"),
    (date(2010, 5, 1), date(2010, 5, 22), "Flash Crash 2010"),
    (date(2011, 3, 1), date(2011, 4, 22), "Fukushima Meltdown 2011"),
    (date(2011, 8, 5), date(2011, 9, 1), "U.S. Credit Downgrade 2011"),
    (date(2012, 9, 5), date(2012, 10, 12), "ECB IR Event 2012"),
    (date(2014, 10, 1), date(2014, 10, 29), "European Debt Crisis 2014"),
    (date(2015, 8, 10), date(2015, 10, 10), "Market Sell-Off 2015"),
    (date(2010, 1, 1), date(2012, 10, 1), "Recovery 2010-2012"),
    (date(2014, 1, 1), date(2019, 1, 1), "New Normal 2014-2019"),
    (date(2020, 2, 10), date(2020, 9, 20), "COVID-19 Pandemic 2020"),
    (date(2020, 4, 1), date(2022, 1, 1), "Post-COVID Run-up 2020-2021"),
    (date(2021, 1, 1), date(2021, 5, 15), "Meme Season 2021"),
    (date(2022, 2, 1), date(2024, 1, 1), "Russia Invades Ukraine 2022-2023"),
)
"""LEAN's last range ends with the day it runs on, so no backtest of the past contains it."""

_OUTPERFORM = "Try adjusting the trading rules and/or the universe to get a strategy that outperforms the benchmark."


@dataclass(frozen=True)
class Curves:
    """Daily values of the strategy and of SPY at the same midnights (Unix seconds UTC, New York midnights)."""

    times: Sequence[int]
    equity: Sequence[Decimal]
    benchmark: Sequence[Decimal]

    @classmethod
    def align(
        cls, times: Sequence[int], equity: Sequence[Decimal], spy_closes: Sequence[tuple[date, Decimal]]
    ) -> "Curves":
        """LEAN samples the equity every 24 hours from the start and keeps what meets a midnight of the benchmark:

        the days with the same offset from UTC as the start.
        """
        closes = {_midnight_after(day): close for day, close in spy_closes}
        if not times or not closes:
            return cls((), (), ())
        first = max(times[0], min(closes))
        values = dict(zip(times, equity, strict=True))
        common = [t for t in sorted(closes) if t >= first and (t - first) % 86_400 == 0 and t in values]
        return cls(common, [values[t] for t in common], [closes[t] for t in common])

    def between(self, first: date, last: date) -> slice | None:
        """The points in those UTC days, 00:00 of both included; None unless they lie inside the curves."""
        lower, upper = _unix_day(first), _unix_day(last)
        if not self.times or lower < self.times[0] or upper > self.times[-1]:
            return None
        return slice(bisect_left(self.times, lower), bisect_left(self.times, upper + 1))

    @cached_property
    def changes(self) -> tuple[list[Decimal], list[Decimal]]:
        """Returns of the strategy and of SPY from each point to the next."""
        return _changes(self.equity), _changes(self.benchmark)

    @cached_property
    def returns(self) -> tuple[list[float], list[float]]:
        """The same as doubles."""
        own, other = self.changes
        return list(map(to_double, own)), list(map(to_double, other))


def findings(
    *,
    end_equity: Decimal,
    curves: Curves,
    margin_used: Mapping[int, Decimal],
    rate: AnnualRate,
) -> list[Finding]:
    """What LEAN would say, in descending weight. margin_used: percent of the portfolio at each sample."""
    found = (
        _flat(curves),
        _not_positive(end_equity),
        _margin_usage(list(margin_used.values())),
        _against_benchmark(curves, rate),
        _crises(curves, rate),
        _significance(curves),
    )
    return [finding for finding in found if finding is not None]


def _flat(curves: Curves) -> Finding | None:
    segments = []
    i, count = 0, len(curves.equity)
    while i < count:
        after = i + 1
        while after < count and curves.equity[after] == curves.equity[i]:
            after += 1
        if after - i > 1:
            segments.append((i, after))
        i = after
    if not segments:
        return None

    def stamp(position: int) -> str:
        # Only the first point of LEAN's curve knows that it is UTC.
        return f"{_utc(curves.times[position]):%Y-%m-%dT%H:%M:%S}{'Z' if position == 0 else ''}"

    longest = sorted(segments, key=lambda segment: segment[1] - segment[0], reverse=True)[:_LONGEST_SEGMENTS]
    sample = [{"start": stamp(a), "end": stamp(b - 1), "trading_days": b - a} for a, b in longest]
    return _finding(
        "FlatEquityCurveAnalysis",
        "The equity curve is flat for several days in a row.",
        sample,
        [
            "Check if you need to warm-up some data structures, including indicators, RollingWindow objects, "
            "and training data.",
            "Check if the algorithm subscribes to any assets. Is the universe selection actually selecting anything?",
            "Check if the trading logic ever leads to a trade.",
            "Check if there is enough cash to satisify the minimum order sizes.",
        ],
        count=len(segments) if len(segments) > _LONGEST_SEGMENTS else None,
    )


def _not_positive(end_equity: Decimal) -> Finding | None:
    if end_equity > 0:
        return None
    return _finding(
        "PortfolioValueIsNotPositiveAnalysis",
        "The portfolio equity dropped to zero or below.",
        True,
        [
            "Add extended market hours or reduce the data resolution to potentially reduce the impact of gaps "
            "between bars.",
            "Reduce position sizes.",
            "If you disabled margin calls, re-enable them. Margin calls may reduce your holdings enough to avoid "
            "the error.",
            "Investigate if it's a data issue with one of the portfolio holdings that's cause the portfolio value "
            "to drop to <= 0.",
        ],
    )


def _margin_usage(used: Sequence[Decimal]) -> Finding | None:
    low = 0
    for i in range(len(used)):
        recent = used[max(0, i - 2) : i + 1]
        low += sum(recent) < _LOW_MARGIN * len(recent)
    if not low:
        return None
    return _finding(
        "PortfolioMarginUsageAnalysis",
        "The algorithm sometimes only utilizes a small proportion of the margin available.",
        f"Number of days when the 3-day SMA of the margin usage drops below 50%: {low}",
        [
            "Adjust the strategy logic or position sizing to utilize more margin.",
            "If the algorithm logic leads to periods of time when the portfolio sits in cash, consider holding a "
            '"risk-free" asset during these periods.',
        ],
    )


def _against_benchmark(curves: Curves, rate: AnnualRate) -> Finding | None:
    ratios = _sharpe_ratios(curves, slice(0, len(curves.times)), rate)
    if ratios is None or ratios[0] >= ratios[1]:
        return None
    return _finding(
        "PerformanceRelativeToBenchmarkAnalysis",
        "The strategy has a lower Sharpe ratio than the benchmark.",
        {"backtestSharpe": ratios[0], "benchmarkSharpe": ratios[1]},
        [_OUTPERFORM],
    )


def _crises(curves: Curves, rate: AnnualRate) -> Finding | None:
    samples = []
    for first, last, name in _CRISES:
        part = curves.between(first, last)
        ratios = _sharpe_ratios(curves, part, rate) if part else None
        if ratios and ratios[0] < ratios[1]:
            samples.append({"crisisEvent": name, "backtestSharpe": ratios[0], "benchmarkSharpe": ratios[1]})
    if not samples:
        return None
    return _finding(
        "CrisisEventsAnalysis",
        "The strategy underperformed the benchmark during some crisis events in terms of risk-adjusted returns.",
        samples[0],
        [
            "Consider adding risk management techniques such as stop-loss orders, position sizing, Option hedging, "
            "and diversification to mitigate losses during turbulent periods."
        ],
        count=len(samples) if len(samples) > 1 else None,
    )


def _significance(curves: Curves) -> Finding | None:
    excess = [to_double(own - other) for own, other in zip(*curves.changes, strict=True)][1:]
    p = 0.5
    if len(excess) >= 2:
        mean, deviation = _moments(excess)
        if deviation:
            p = _student_tail(abs(mean) / (deviation / math.sqrt(len(excess))), len(excess) - 1)
    if p <= _SIGNIFICANT:
        return None
    return _finding(
        "StatisticalSignificanceOfDailyReturnsAnalysis",
        "The distribution of the strategy's daily returns in excess of the benchmark's daily returns has a p-value "
        "above 0.05. Therefore, we fail to reject the null hypothesis that the mean of this distribution is above "
        "zero.",
        {"pValue": p},
        [_OUTPERFORM],
    )


def _finding(name: str, issue: str, sample: object, solutions: list[str], count: int | None = None) -> Finding:
    finding: Finding = {"name": name, "issue": issue, "sample": sample}
    if count is not None:
        finding["count"] = count
    return finding | {"solutions": solutions}


def _sharpe_ratios(curves: Curves, part: slice, rate: AnnualRate) -> tuple[float, float] | None:
    """Of the points in a part. LEAN sets the mean of daily returns against a rate a year; both are off in one way."""
    if part.stop - part.start < 3:
        return None
    first, last = _utc(curves.times[part.start]).date(), _utc(curves.times[part.stop - 1]).date()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    free = to_double(divide(sum(map(rate, days), ZERO), Decimal(len(days))))
    found = []
    for returns in curves.returns:
        mean, deviation = _moments(returns[part.start : part.stop - 1])
        found.append((mean - free) / deviation if deviation else 0.0)
    return found[0], found[1]


def _changes(values: Sequence[Decimal]) -> list[Decimal]:
    return [divide(now - before, before) if before else ZERO for before, now in pairwise(values)]


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of at least two values, one by one as MathNet takes them: all 17 digits
    of these doubles are written."""
    mean = total = squares = 0.0
    for n, x in enumerate(values, 1):
        mean += (x - mean) / n
        total += x
        if n > 1:
            gap = n * x - total
            squares += gap * gap / (n * (n - 1))
    return mean, math.sqrt(squares / (len(values) - 1))


# All 17 digits of a p-value are written, so the beta function is computed step by step as MathNet does it.

_LANCZOS = (
    2.48574089138753565546e-5,
    1.05142378581721974210,
    -3.45687097222016235469,
    4.51227709466894823700,
    -2.98285225323576655721,
    1.05639711577126713077,
    -1.95428773191645869583e-1,
    1.70970543404441224307e-2,
    -5.71926117404305781283e-4,
    4.63399473359905636708e-6,
    -2.71994908488607703910e-9,
)
_LANCZOS_SHIFT = 10.900511
_LOG_TWO_SQRT_E_OVER_PI = 0.6207822376352452223455184457816472122518527279025978


def _student_tail(t: float, freedom: int) -> float:
    """Probability above t >= 0 under Student's distribution: half the regularised incomplete beta function."""
    a, b, x = freedom / 2, 0.5, freedom / (freedom + t * t)
    if x >= 1:
        return 0.5
    logs = _log_gamma(a + b) - _log_gamma(a) - _log_gamma(b)
    front = math.exp(logs + a * math.log(x) + b * math.log(1 - x))
    if x < (a + 1) / (a + b + 2):
        return 0.5 * (front * _beta_fraction(a, b, x) / a)
    return 0.5 * (1 - front * _beta_fraction(b, a, 1 - x) / b)


def _log_gamma(z: float) -> float:
    """Lanczos's approximation, for z >= 0.5."""
    total = _LANCZOS[0]
    for i, coefficient in enumerate(_LANCZOS[1:]):
        total += coefficient / (z + i)
    return math.log(total) + _LOG_TWO_SQRT_E_OVER_PI + (z - 0.5) * math.log((z - 0.5 + _LANCZOS_SHIFT) / math.e)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 50_000):
        for term in (
            m * (b - m) * x / ((a - 1 + 2 * m) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 1 + 2 * m)),
        ):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            step = d * c
            value *= step
        if abs(step - 1) <= 2**-53:
            break
    return value


def _midnight_after(day: date) -> int:
    return int(to_utc(datetime.combine(day + timedelta(days=1), time())).replace(tzinfo=UTC).timestamp())


def _unix_day(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
