"""Performance of a run and of its benchmark by LEAN's formulas, and what it is evidence of.

LEAN takes a sample every calendar day and annualises with 252 days. Whatever is compared here is computed from the
same samples by the same formulas, so that the strategy's figures are LEAN's own, to the digits that LEAN prints.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from evaluation.result import Result

Floats = NDArray[np.float64]

SAMPLES_A_YEAR = 365.25
"""LEAN's daily samples in a year: weekends and holidays are sampled too, and have zero returns."""


@dataclass(frozen=True)
class Performance:
    """LEAN's figures for one curve; fractions, a year where that applies, NaN where they cannot be computed.

    sharpe_error: standard error of `sharpe`, see `sharpe_standard_error`.
    """

    annual_return: float
    deviation: float
    sharpe: float
    sharpe_error: float
    drawdown: float
    beta: float
    alpha: float

    @property
    def sharpe_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the Sharpe ratio."""
        reach = stats.norm.ppf(0.975) * self.sharpe_error
        return self.sharpe - reach, self.sharpe + reach


@dataclass(frozen=True)
class Estimate:
    """A coefficient with its standard error: value, t statistic, and 95 % interval."""

    value: float
    t: float
    low: float
    high: float

    @property
    def distinct(self) -> bool:
        """Whether zero lies outside the 95 % interval."""
        return self.low > 0 or self.high < 0


def risk_free_rate(result: Result) -> float:
    """The risk-free rate a year that LEAN used, a fraction; NaN where it cannot be known.

    The result file does not hold it. It follows from LEAN's Sharpe ratio, whose other terms are known; four places of
    that ratio fix the rate to within 0.00005 times the volatility.
    """
    returns = daily_returns(result)["return"].to_numpy()
    deviation = _deviation(returns, result.trading_days)
    if not deviation > 0:
        return math.nan
    return _annual(returns, result.trading_days) - result.sharpe * deviation


def strategy_performance(result: Result, days_a_year: float) -> Performance:
    """The run's figures. days_a_year: `result.trading_days` for LEAN's own."""
    returns = daily_returns(result)
    return _performance(result.equity, returns["return"], returns["benchmark"], risk_free_rate(result), days_a_year)


def benchmark_performance(result: Result, days_a_year: float) -> Performance:
    """The benchmark's figures, as if it were held without costs, by the same formulas from the same samples."""
    returns = daily_returns(result)["benchmark"]
    return _performance(result.samples["benchmark"].dropna(), returns, returns, risk_free_rate(result), days_a_year)


def daily_returns(result: Result) -> pd.DataFrame:
    """Columns `day`, `return` and `benchmark` by sample, without the first two samples, which LEAN's statistics leave
    out."""
    samples = result.samples
    return samples[["day", "return"]].assign(benchmark=samples["benchmark"].pct_change(fill_method=None)).iloc[2:]


def sharpe_ratio(returns: Floats, rate: float, days_a_year: float) -> float:
    """LEAN's annual Sharpe ratio of daily samples (T,); NaN where they do not move. rate: risk-free, a year."""
    deviation = _deviation(returns, days_a_year)
    return (_annual(returns, days_a_year) - rate) / deviation if deviation > 0 else math.nan


def rolling_performance(result: Result, window: int = 365) -> pd.DataFrame:
    """Sharpe ratio and beta over the last `window` samples, by day; LEAN's formulas with the rate of the whole run.

    Columns: `sharpe`, `benchmark_sharpe`, `beta`. No row before the first whole window.
    """
    returns = daily_returns(result)
    rate, days = risk_free_rate(result), result.trading_days
    moving = returns[["return", "benchmark"]].rolling(window)
    sharpe = ((1 + moving.mean()) ** days - 1 - rate) / (moving.std() * math.sqrt(days))
    beta = returns["return"].rolling(window).cov(returns["benchmark"]) / moving["benchmark"].var()
    frame = pd.DataFrame({"sharpe": sharpe["return"], "benchmark_sharpe": sharpe["benchmark"], "beta": beta})
    frame.index = pd.DatetimeIndex(returns["day"])
    return frame.replace([np.inf, -np.inf], np.nan).dropna(how="all")


def monthly_returns(result: Result) -> pd.DataFrame:
    """Simple returns by calendar month, columns `strategy` and `benchmark`; the first and last month may be partial."""
    levels = result.samples[["day", "equity", "benchmark"]]
    if len(levels) < 2:
        return pd.DataFrame({"strategy": [], "benchmark": []}, dtype=np.float64)
    ends = levels.iloc[1:].groupby(levels["day"].iloc[1:].dt.to_period("M")).last()
    before = ends.shift(1)
    before.iloc[0] = levels.iloc[0]
    months = ends[["equity", "benchmark"]].astype(float) / before[["equity", "benchmark"]].astype(float) - 1
    return months.set_axis(["strategy", "benchmark"], axis=1)


def sharpe_standard_error(
    sharpe: float, n: int, skewness: float, kurtosis: float, *, days_a_year: float = 1.0, growth: float = 1.0
) -> float:
    """Standard error of a Sharpe ratio of n independent, identically distributed returns.

    sharpe: annual; skewness and kurtosis (3 for a normal distribution) of the n returns.
    growth: (1 + mean)^(days_a_year - 1), the slope of LEAN's compounded annual return in days_a_year times the mean;
        1 for the ordinary ratio of arithmetic means.
    Source: Lo, "The Statistics of Sharpe Ratios", FAJ 58(4), 2002, eq. 9, for normal returns; Mertens (2002) and Bailey
    and Lopez de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2), 2012, for any, whose n - 1 and
    probabilistic Sharpe ratio this shares. `growth` is the delta method for LEAN's numerator.
    """
    daily = sharpe / math.sqrt(days_a_year)
    variance = growth**2 - growth * skewness * daily + (kurtosis - 1) / 4 * daily**2
    return math.sqrt(days_a_year * variance / (n - 1))


def newey_west(y: Floats, x: Floats) -> list[Estimate]:
    """Least squares of y (T,) on the K columns of x (T, K), with errors that allow for autocorrelation.

    Bartlett weights and floor(4 (T / 100)^(2/9)) lags; 95 % intervals from Student's t with T - K degrees of freedom.
    Source: Newey and West, Econometrica 55(3), 1987; the number of lags: Review of Economic Studies 61(4), 1994.
    """
    count, k = x.shape
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ x.T @ y
    scores = x * (y - x @ coefficients)[:, None]
    middle = scores.T @ scores
    lags = math.floor(4 * (count / 100) ** (2 / 9))
    for lag in range(1, lags + 1):
        shifted = scores[lag:].T @ scores[:-lag]
        middle += (1 - lag / (lags + 1)) * (shifted + shifted.T)
    errors = np.sqrt(np.diag(inverse @ middle @ inverse))
    reach = float(stats.t.ppf(0.975, count - k))
    return [
        Estimate(float(b), float(b / e) if e else math.nan, float(b - reach * e), float(b + reach * e))
        for b, e in zip(coefficients, errors, strict=True)
    ]


def active_return(months: pd.DataFrame) -> Estimate:
    """Mean of the monthly return less the benchmark's, a fraction a month (Newey-West)."""
    active = (months["strategy"] - months["benchmark"]).to_numpy(np.float64)
    return newey_west(active, np.ones((len(active), 1)))[0]


def monthly_alpha(months: pd.DataFrame, rate: float) -> Estimate:
    """Jensen's alpha, a fraction a month: intercept of excess returns on the benchmark's (Newey-West).

    rate: risk-free rate a year, a fraction.
    """
    excess = months.to_numpy(np.float64) - rate / 12
    return newey_west(excess[:, 0], np.column_stack((np.ones(len(excess)), excess[:, 1])))[0]


def _performance(
    curve: "pd.Series[float]",
    returns: "pd.Series[float]",
    benchmark: "pd.Series[float]",
    rate: float,
    days_a_year: float,
) -> Performance:
    x, b = returns.to_numpy(np.float64), benchmark.to_numpy(np.float64)
    deviation = _deviation(x, days_a_year)
    if not deviation > 0:
        return Performance(*[math.nan] * 7)
    annual, benchmark_annual = _annual(x, days_a_year), _annual(b, days_a_year)
    sharpe = sharpe_ratio(x, rate, days_a_year)
    error = sharpe_standard_error(
        sharpe,
        len(x),
        float(stats.skew(x)),
        float(stats.kurtosis(x, fisher=False)),
        days_a_year=days_a_year,
        growth=(1 + float(x.mean())) ** (days_a_year - 1),
    )
    spread = float(b.var(ddof=1))
    beta = float(np.cov(x, b)[0, 1]) / spread if spread > 0 else math.nan
    years = (curve.index[-1] - curve.index[0]) / pd.Timedelta(days=365)
    return Performance(
        annual_return=float(curve.iloc[-1] / curve.iloc[0]) ** (1 / years) - 1,
        deviation=deviation,
        sharpe=sharpe,
        sharpe_error=error,
        drawdown=float((1 - curve / curve.cummax()).max()),
        beta=beta,
        alpha=annual - (rate + beta * (benchmark_annual - rate)),
    )


def _annual(returns: Floats, days_a_year: float) -> float:
    """LEAN's annual performance: the mean return, compounded."""
    return float((1 + returns.mean()) ** days_a_year - 1)


def _deviation(returns: Floats, days_a_year: float) -> float:
    return float(returns.std(ddof=1) * math.sqrt(days_a_year)) if len(returns) > 1 else math.nan
