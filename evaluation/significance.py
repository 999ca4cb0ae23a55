"""What a Sharpe ratio, and its distance from a benchmark's, is evidence of; pure functions of return series.

Three questions, each with its test. Is the ratio above zero, and above what the best of so many trials reaches by luck
(`deflated_sharpe_ratio`)? Does one strategy differ from the benchmark (`compare`, `regression`)? Is any of a whole
ladder better than it (`superior_ability`)? What a test returns says in words what it means: `in_words()`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from arch.bootstrap import SPA, StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray
from scipy import stats

from evaluation.charts import number
from evaluation.ledger import Trials
from evaluation.performance import SAMPLES_A_YEAR, Estimate, Floats, Performance, newey_west

LEVEL = 0.95
_LEVEL = f"{100 * LEVEL:.0f}\N{NO-BREAK SPACE}%"

DRAWS = 9_999
"""Bootstrap draws: with the sample itself 10,000, of which 95 % is a whole number."""

MIN_SAMPLES = 24

_CHUNK = 500  # draws at once: 500 rows of counts for 4,000 days are 16 MB
_SPA_DRAWS = 1_999  # arch takes 0.3 ms a draw; a p value of 0.05 is known to 0.005


@dataclass(frozen=True)
class Annualisation:
    """How returns become annual figures.

    rate: risk-free rate a year, a fraction.
    samples: returns in a year: `SAMPLES_A_YEAR` for LEAN's daily samples, 12 for months.
    days: factor of the Sharpe ratio, LEAN's `trading_days` for LEAN's own ratio (see `evaluation.performance`), 12 for
        months.
    """

    rate: float
    samples: float = SAMPLES_A_YEAR
    days: float = 252


# --- one strategy


@dataclass(frozen=True)
class SharpeEvidence:
    """A Sharpe ratio against zero, and against the best of many trials without skill.

    interval: 95 % confidence interval of the annual ratio, returns taken as independent.
    probabilistic: confidence, a fraction, that the true ratio is above zero.
    threshold: annual ratio that the best of the trials is expected to reach where all true ratios are zero.
    deflated: confidence, a fraction, that the true ratio is above `threshold`.
    years: length of the record. years_needed: length at which `deflated` would reach 95 % with the same ratio.
    """

    strategy: str
    sharpe: float
    interval: tuple[float, float]
    probabilistic: float
    threshold: float
    deflated: float
    trials: Trials
    years: float
    years_needed: float

    def in_words(self) -> str:
        low, high = self.interval
        text = (
            f"The Sharpe ratio of {self.strategy}, {number(self.sharpe, 2)} over {number(self.years, 1)} years, has a "
            f"{_LEVEL} interval of {number(low, 2)} to {number(high, 2)} (returns taken as independent); it is above "
            f"zero with a confidence of {_confidence(self.probabilistic)} (probabilistic Sharpe ratio). "
        )
        if self.trials.unreadable:
            text += f"Lines of the ledger that could not be read and are not counted: {self.trials.unreadable}. "
        if self.trials.count == 1:
            return text + "The ledger holds no other trial on these data, so nothing is deflated."
        if math.isnan(self.deflated):
            return text + (
                f"The ledger holds {self.trials.count} trials on these data, but no two over the same period, so the "
                "ratio cannot be deflated."
            )
        text += (
            f"Where no strategy had any skill, the best of the {self.trials.count} trials in the ledger would be "
            f"expected to reach {number(self.threshold, 2)}; the ratio is above that with a confidence of "
            f"{_confidence(self.deflated)} (deflated Sharpe ratio), "
        )
        if self.deflated >= LEVEL:
            return text + (
                f"so it is more than the luck of the best of {self.trials.count}; what a benchmark would have reached "
                "is another question."
            )
        text += f"less than {_LEVEL}: it may be the luck of the best of {self.trials.count}."
        if math.isfinite(self.years_needed):
            text += f" A record of {_years(self.years_needed)} with this ratio would be needed."
        return text


def probabilistic_sharpe_ratio(sharpe: float, error: float, threshold: float = 0.0) -> float:
    """Confidence, a fraction, that the true Sharpe ratio is above the threshold.

    error: `evaluation.performance.sharpe_standard_error`; all three of one scale, a year or a sample.
    Source: Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2), 2012.
    """
    return float(stats.norm.cdf((sharpe - threshold) / error))


def minimum_track_record_length(sharpe: float, error: float, n: int, threshold: float = 0.0) -> float:
    """Returns needed for a `probabilistic_sharpe_ratio` of 95 %, the ratio being what it is in n; infinite if never.

    Source: as above, section on the minimum track record length.
    """
    if sharpe <= threshold:
        return math.inf
    return 1 + (n - 1) * float(stats.norm.ppf(LEVEL) * error / (sharpe - threshold)) ** 2


def expected_maximum_sharpe(trials: Trials) -> float:
    """Expected largest annual Sharpe ratio of that many trials whose true ratios are all zero; NaN where unknown.

    Source: Bailey and Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5), 2014.
    """
    if trials.count < 1:
        raise ValueError("the ledger holds no trial on these data: a run is written to it before it is judged")
    if trials.count == 1:
        return 0.0
    upper, lower = stats.norm.isf([1 / trials.count, 1 / (trials.count * math.e)])
    return math.sqrt(trials.variance) * float((1 - np.euler_gamma) * upper + np.euler_gamma * lower)


def deflated_sharpe_ratio(
    strategy: str, performance: Performance, n: int, annual: Annualisation, trials: Trials
) -> SharpeEvidence:
    """Judge an annual Sharpe ratio of n returns by the trials of a ledger, of which it is one.

    The paper takes trials as independent; `trials` counts all, alike or not, which is strict.
    Raises ValueError where the performance has no Sharpe ratio or the ledger no trial.
    Source: Bailey and Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5), 2014.
    """
    sharpe, error = performance.sharpe, performance.sharpe_error
    if not error > 0:
        raise ValueError(f"{strategy} has no Sharpe ratio: its returns are constant or fewer than two")
    threshold = expected_maximum_sharpe(trials)
    return SharpeEvidence(
        strategy=strategy,
        sharpe=sharpe,
        interval=performance.sharpe_interval,
        probabilistic=probabilistic_sharpe_ratio(sharpe, error),
        threshold=threshold,
        deflated=probabilistic_sharpe_ratio(sharpe, error, threshold),
        trials=trials,
        years=n / annual.samples,
        years_needed=minimum_track_record_length(sharpe, error, n, threshold) / annual.samples,
    )


# --- one strategy and a benchmark


@dataclass(frozen=True)
class Difference:
    """A bootstrapped difference: value, 95 % interval, and two-sided p value of the hypothesis that it is zero."""

    value: float
    low: float
    high: float
    p: float

    @property
    def distinct(self) -> bool:
        """Whether zero lies outside the 95 % interval, which is where p is at most 0.05."""
        return self.p <= 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """A strategy less its benchmark over the same returns.

    sharpe: of annual Sharpe ratios. annual_return: of compounded returns a year, a fraction.
    years: length of the record. block: mean length of the bootstrap's blocks, in returns.
    """

    strategy: str
    benchmark: str
    sharpe: Difference
    annual_return: Difference
    years: float
    block: int

    @property
    def years_needed(self) -> float:
        """Length at which this difference of Sharpe ratios would be distinct: intervals shrink as 1 / sqrt(years)."""
        if self.sharpe.value == 0:
            return math.inf
        return self.years * ((self.sharpe.high - self.sharpe.low) / 2 / self.sharpe.value) ** 2

    def in_words(self) -> str:
        sharpe, growth = self.sharpe, self.annual_return
        text = (
            f"Over {number(self.years, 1)} years the Sharpe ratio of {self.strategy} is {number(abs(sharpe.value), 2)} "
            f"{_than(sharpe.value)} than that of {self.benchmark} ({_evidence(sharpe, 1)}) and its annual return "
            f"{number(100 * abs(growth.value), 2)} percentage points {_than(growth.value)} "
            f"({_evidence(growth, 100)}): "
        )
        if sharpe.distinct and growth.distinct:
            return text + f"both differences can be told from zero at {_LEVEL}."
        if sharpe.distinct:
            return text + f"at {_LEVEL} the ratios can be told apart, the returns cannot."
        text += (
            f"at {_LEVEL} the returns can be told apart, the ratios cannot."
            if growth.distinct
            else f"it cannot be told apart from {self.benchmark} at {_LEVEL}."
        )
        if math.isfinite(self.years_needed):
            text += f" A difference of ratios of this size would take about {_years(self.years_needed)} to show."
        return text


def compare(
    returns: pd.DataFrame, benchmark: "pd.Series[float]", annual: Annualisation, *, seed: int, draws: int = DRAWS
) -> list[Comparison]:
    """Compare each strategy with the benchmark by a paired stationary block bootstrap, studentised.

    returns: simple returns (T, K), a column a strategy; benchmark: (T,), named, over the same times.

    1. Mean block length of a pair: the longer of `optimal_block_length` for its two differences.
    2. A draw takes the same T rows, in blocks, of strategy and benchmark. It is drawn once for all strategies with the
       same block length, from the seed anew, so that no result depends on the other columns.
    3. A draw's distance from the sample is measured in standard errors, each by its own (of independent returns). The
       interval reaches to both sides as far as 95 % of these distances; p is the share of draws, counting the sample,
       at least as far off as zero is. So the interval excludes zero where p is at most 0.05.

    Each comparison stands alone: nothing here allows for K of them, see `superior_ability`. Raises ValueError for
    fewer than `MIN_SAMPLES` rows, rows that differ, and returns that are constant, missing or not above -1.
    Source: Politis and Romano, "The Stationary Bootstrap", JASA 89, 1994; Politis and White, Econometric Reviews 23(1),
    2004, for the length; Ledoit and Wolf, Journal of Empirical Finance 15(5), 2008, for testing ratios in this way.
    """
    table = _table(returns, benchmark)
    blocks = _block_lengths(table, annual)
    years = len(table) / annual.samples
    comparisons = {}
    for block in np.unique(blocks):
        columns = np.flatnonzero(blocks == block)
        sharpe, growth = _bootstrap(table[:, [0, *(1 + columns)]], annual, int(block), draws, seed)
        for column, ratio, rate in zip(columns, sharpe, growth, strict=True):
            names = str(returns.columns[column]), str(benchmark.name)
            comparisons[column] = Comparison(*names, ratio, rate, years, int(block))
    return [comparisons[column] for column in range(len(blocks))]


@dataclass(frozen=True)
class Regression:
    """Excess returns of a strategy on its benchmark's. alpha: Jensen's, a fraction a year."""

    strategy: str
    benchmark: str
    alpha: Estimate
    beta: Estimate

    def in_words(self) -> str:
        alpha, beta = self.alpha, self.beta
        return (
            f"The alpha of {self.strategy} against {self.benchmark} is {number(100 * alpha.value, 2)} percentage "
            f"points a year ({_LEVEL} interval {number(100 * alpha.low, 2)} to {number(100 * alpha.high, 2)}, "
            f"Newey\N{EN DASH}West t = {number(alpha.t, 2)}), with a beta of {number(beta.value, 2)} "
            f"({number(beta.low, 2)} to {number(beta.high, 2)}): alpha {'can' if alpha.distinct else 'cannot'} be told "
            f"from zero at {_LEVEL}."
        )


def regression(strategy: "pd.Series[float]", benchmark: "pd.Series[float]", annual: Annualisation) -> Regression:
    """Alpha and beta by least squares with Newey-West errors; lags by the rule of `newey_west`.

    strategy, benchmark: simple returns (T,), both named. Alpha is annual by multiplication. Raises as `compare` does.
    """
    table = _table(strategy.to_frame(), benchmark) - annual.rate / annual.samples
    alpha, beta = newey_west(table[:, 1], np.column_stack((np.ones(len(table)), table[:, 0])))
    times = annual.samples
    yearly = Estimate(times * alpha.value, alpha.t, times * alpha.low, times * alpha.high)
    return Regression(str(strategy.name), str(benchmark.name), yearly, beta)


# --- many strategies


@dataclass(frozen=True)
class SuperiorAbility:
    """Hansen's test of the hypothesis that no strategy is truly better than the benchmark.

    measure: "Sharpe ratio" or "annual return". strategies: how many were tested together.
    best: the one with the strongest evidence. p: Hansen's consistent p value.
    """

    benchmark: str
    measure: str
    strategies: int
    best: str
    p: float

    def in_words(self) -> str:
        text = (
            f"Strategies tested together against {self.benchmark}: {self.strategies}. {self.best} has the strongest "
            f"evidence of a larger {self.measure} (Hansen's SPA: {_p(self.p)}): at {_LEVEL} "
        )
        if self.p <= 1 - LEVEL:
            return text + f"at least one is better than {self.benchmark}, allowing for their number."
        return text + f"none can be said to be better than {self.benchmark}."


def superior_ability(
    returns: pd.DataFrame, benchmark: "pd.Series[float]", annual: Annualisation, *, seed: int
) -> list[SuperiorAbility]:
    """Test whether any strategy has a larger Sharpe ratio, and whether any has a larger annual return.

    Arguments and errors as for `compare`; also ValueError where every strategy is the benchmark itself. A strategy
    that is the benchmark is left out.

    One set of draws for all strategies, with the median of their block lengths; p is known to 0.005 at 0.05.
    A measure enters as the series whose mean is its first-order expansion around the sample (`_contributions`), so that
    `arch.bootstrap.SPA`, a test of means, applies to both. arch does not studentise, whatever its argument says, so the
    series are divided by their bootstrapped standard errors first, which is Hansen's statistic.
    Source: Hansen, "A Test for Superior Predictive Ability", JBES 23(4), 2005.
    """
    table = _table(returns, benchmark)
    kept = np.flatnonzero((table[:, 1:] != table[:, :1]).any(axis=0))
    if not len(kept):
        raise ValueError(f"every strategy has the returns of {benchmark.name}: nothing can be tested")
    block = math.ceil(float(np.median(_block_lengths(table, annual)[kept])))
    tests = []
    for measure, gains in zip(("Sharpe ratio", "annual return"), _gains(table, annual), strict=True):
        gains = gains[:, kept]
        draws = np.vstack(list(_resampled_means(gains, block, _SPA_DRAWS, seed)))
        gains = gains / draws.std(axis=0)
        test = SPA(np.zeros(len(gains)), -gains, block_size=block, reps=_SPA_DRAWS, seed=seed)  # SPA compares losses
        test.compute()
        best = str(returns.columns[kept[gains.mean(axis=0).argmax()]])
        p = (1 + _SPA_DRAWS * float(test.pvalues["consistent"])) / (1 + _SPA_DRAWS)
        tests.append(SuperiorAbility(str(benchmark.name), measure, len(kept), best, p))
    return tests


# --- seeds


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds of one strategy."""

    seeds: int
    median: float
    low: float
    high: float


def over_seeds(values: Sequence[float]) -> Spread:
    """Median, smallest and largest of a figure, one value a seed. Raises ValueError where there is none, or a NaN."""
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("a figure over seeds needs a finite value of each: leave the strategy out of the table")
    return Spread(len(values), float(np.median(values)), float(min(values)), float(max(values)))


# --- bootstrap


def _table(returns: pd.DataFrame, benchmark: "pd.Series[float]") -> Floats:
    """The benchmark and the strategies, (T, 1 + K)."""
    if not returns.index.equals(benchmark.index):
        raise ValueError(f"the strategies and {benchmark.name} have returns of different times: cut both to one period")
    table = np.column_stack((benchmark.to_numpy(np.float64), returns.to_numpy(np.float64)))
    if len(table) < MIN_SAMPLES:
        raise ValueError(f"{len(table)} returns are too few for a test: give {MIN_SAMPLES} or more")
    sound = np.isfinite(table).all(axis=0) & (table > -1).all(axis=0) & (np.ptp(table, axis=0) > 0)
    for name, good in zip([benchmark.name, *returns.columns], sound, strict=True):
        if not good:
            raise ValueError(f"the returns of {name} are constant, missing or not above -1: leave it out")
    return table


def _sharpe(mean: Floats, deviation: Floats, annual: Annualisation) -> Floats:
    """LEAN's annual Sharpe ratio from the mean and the standard deviation of returns."""
    return ((1 + mean) ** annual.days - 1 - annual.rate) / (deviation * math.sqrt(annual.days))


def _contributions(table: Floats, annual: Annualisation) -> tuple[Floats, Floats]:
    """Sharpe ratio and annual return, each as a series (T, C) whose mean it is, to first order in the sample.

    What a return adds is the influence function of the statistic: the delta method of `sharpe_standard_error`, a return
    at a time.
    """
    mean, deviation = table.mean(axis=0), table.std(axis=0, ddof=1)
    sharpe = _sharpe(mean, deviation, annual)
    z = (table - mean) / table.std(axis=0)
    slope = math.sqrt(annual.days) * (1 + mean) ** (annual.days - 1)
    logarithm = np.log1p(table)
    growth = np.exp(annual.samples * logarithm.mean(axis=0))
    return (
        sharpe + slope * z - sharpe / 2 * (z**2 - 1),
        growth - 1 + growth * annual.samples * (logarithm - logarithm.mean(axis=0)),
    )


def _gains(table: Floats, annual: Annualisation) -> list[Floats]:
    """Of either measure, what the strategies contribute beyond the benchmark, (T, K)."""
    return [series[:, 1:] - series[:, :1] for series in _contributions(table, annual)]


def _block_lengths(table: Floats, annual: Annualisation) -> NDArray[np.int64]:
    """Politis and White's mean block length (K,) of each strategy's gains, the longer of the two measures; at least 1.

    The gains, not the returns, because their mean is what is bootstrapped; those of the ratio hold squares, so that
    volatility that comes in clusters makes the blocks longer.
    """
    with np.errstate(invalid="ignore"):  # NaN where a strategy is the benchmark
        ratio, growth = (optimal_block_length(gains)["stationary"].to_numpy() for gains in _gains(table, annual))
    longer: Floats = np.fmax(np.fmax(ratio, growth), 1.0)
    return np.ceil(longer).astype(np.int64)


def _resampled_means(series: Floats, block: int, draws: int, seed: int) -> Iterable[Floats]:
    """Means (D, C) of the columns of series (T, C) in stationary bootstrap draws, D draws at a time.

    A mean is a product with the number of times that each row was drawn, so that a draw costs T C multiplications.
    """
    count = len(series)
    bootstrap = StationaryBootstrap(block, np.arange(count), seed=seed)
    for start in range(0, draws, _CHUNK):
        rows = range(min(_CHUNK, draws - start))
        times = np.stack([np.bincount(bootstrap.update_indices(), minlength=count) for _ in rows])
        yield times @ series / count


def _bootstrap(table: Floats, annual: Annualisation, block: int, draws: int, seed: int) -> list[list[Difference]]:
    """Differences of Sharpe ratio, and of annual return, of the last K columns of `table` (T, 1 + K) from its first."""
    count, width = table.shape
    centre = table.mean(axis=0)
    gains = np.hstack(_gains(table, annual))
    gains -= gains.mean(axis=0)
    series = np.hstack((table - centre, (table - centre) ** 2, np.log1p(table), gains, gains**2))
    means = np.vstack((series.mean(axis=0), *_resampled_means(series, block, draws, seed)))  # row 0 is the sample
    first, second, logarithm = np.split(means[:, : 3 * width], 3, axis=1)
    deviation = np.sqrt((second - first**2) * count / (count - 1))
    measures = _sharpe(first + centre, deviation, annual), np.expm1(annual.samples * logarithm)
    values = np.hstack([measure[:, 1:] - measure[:, :1] for measure in measures])
    mean, square = np.split(means[:, 3 * width :], 2, axis=1)
    errors = np.sqrt(np.fmax(square - mean**2, 0.0))  # times sqrt(T), which cancels
    differences = [_difference(*pair) for pair in zip(values.T, errors.T, strict=True)]
    return [differences[: width - 1], differences[width - 1 :]]


def _difference(values: Floats, errors: Floats) -> Difference:
    """Of values (1 + B,) with their standard errors, the sample's first."""
    value, error = float(values[0]), float(errors[0])
    if error == 0:
        return Difference(value, value, value, 1.0)  # the strategy is the benchmark
    with np.errstate(divide="ignore"):  # a draw without any row in which the two differ is infinitely far off
        distances = np.sort(np.abs(values[1:] - value) / errors[1:])
    reach = error * float(distances[math.ceil(round(LEVEL * len(values), 6)) - 1])
    further = len(distances) - int(np.searchsorted(distances, abs(value) / error))
    return Difference(value, value - reach, value + reach, (1 + further) / len(values))


# --- words


def _confidence(fraction: float) -> str:
    """Rounded down, so that 94.96 % is not called 95 %."""
    return f"{math.floor(1000 * min(fraction, 0.9999)) / 10:.1f}\N{NO-BREAK SPACE}%"


def _p(p: float) -> str:
    """Rounded up, so that 0.0501 is not called 0.05."""
    return "p < 0.001" if p < 0.001 else f"p = {math.ceil(1000 * p - 1e-9) / 1000:.3f}"


def _years(years: float) -> str:
    return "more than 1,000 years" if years > 1000 else f"{number(years, 0)} years"


def _than(value: float) -> str:
    return "smaller" if value < 0 else "larger"


def _evidence(difference: Difference, times: float) -> str:
    low, high = number(times * difference.low, 2), number(times * difference.high, 2)
    return f"{_LEVEL} interval of the difference {low} to {high}, {_p(difference.p)}"
