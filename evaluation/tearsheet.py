"""The tear sheet: one run on one self-contained HTML page, from LEAN's result alone.

Everything is inline, so the file works offline and asks no other for anything; without scripts only the values under
the pointer are missing. Names of statistics are LEAN's.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.charts import (
    HEIGHT,
    MINUS,
    WIDTH,
    Chart,
    Floats,
    Line,
    compact,
    heat_map,
    line_chart,
    money,
    number,
    percent,
)
from evaluation.performance import (
    SAMPLES_A_YEAR,
    Estimate,
    Performance,
    active_return,
    benchmark_performance,
    monthly_alpha,
    monthly_returns,
    risk_free_rate,
    rolling_performance,
    strategy_performance,
)
from evaluation.result import Result, days_of

CONTROL = "tiny-random"
"""The backbone without pretrained knowledge, as the summary statistic Backbone names it."""

_NAMES_SHOWN = 15
_MIN_MONTHS = 24
_POINTS = 1500
_NONE = "\N{EN DASH}"

TEMPLATES = Environment(
    loader=PackageLoader("evaluation"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class NothingToDraw(ValueError):
    """A picture was asked for, of a run without daily returns."""


@dataclass(frozen=True)
class Figure:
    """A chart under its title, with a remark below it."""

    title: str
    chart: Chart
    remark: str = ""


@dataclass(frozen=True)
class Headline:
    """One of the numbers that people look at first, by LEAN's name and in LEAN's digits."""

    name: str
    value: str
    detail: str
    benchmark: str


@dataclass(frozen=True)
class Year:
    """A row of the table of monthly returns: None where a month is not in the run."""

    year: int
    months: tuple[float | None, ...]
    total: float
    benchmark: float


def tear_sheet(result: Result) -> str:
    """The page, as HTML. A run that failed early gets what there is, and its error."""
    drawn = len(result.samples) > 2
    own = strategy_performance(result, result.trading_days)
    market = benchmark_performance(result, result.trading_days)
    months = monthly_returns(result)
    weights = _weights(result) if drawn else None
    return TEMPLATES.get_template("tearsheet.html").render(
        result=result,
        width=WIDTH,
        height=HEIGHT,
        period=_period(result),
        subtitle=_subtitle(result),
        warnings=list(_warnings(result)),
        headlines=_headlines(result, own, market),
        curves=[_equity(result), _drawdown(result)] if drawn else [],
        rolling=list(_rolling(result)) if drawn else [],
        years=_years(months),
        steepest=float(months["strategy"].abs().max()) if len(months) else 0.0,
        weights=weights,
        plots=list(_plots(result)),
        turnover=_turnover(result) if drawn else None,
        verdicts=list(_verdicts(result, own, market, months)),
        remarks=list(_remarks(result)),
        benchmark_statistics=_benchmark_statistics(result, market),
        number=number,
        spaced=_spaced,
    )


def picture(result: Result) -> str:
    """Equity and drawdown against the benchmark as a small SVG of its own.

    Raises NothingToDraw for a run without daily returns.
    """
    if len(result.samples) < 3:
        raise NothingToDraw(f"{result.name} has no daily returns, so there is no picture of it")
    return TEMPLATES.get_template("picture.svg").render(
        result=result,
        period=_period(result),
        width=WIDTH,
        height=HEIGHT,
        equity=_equity(result).chart,
        drawdown=_drawdown(result).chart,
    )


# --- figures


def _equity(result: Result) -> Figure:
    """Daily equity, and the benchmark held with the same cash."""
    days, equity, benchmark = _curves(result)
    label = f"From {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d} {money(equity[0])} became {money(equity[-1])}"
    if math.isfinite(benchmark[-1]):
        label += f", held in the benchmark {money(benchmark[-1])}"
    return Figure("Equity", line_chart(label + ".", days, _pair(equity, benchmark), "money", both_scales=True))


def _drawdown(result: Result) -> Figure:
    """Daily loss from the highest value so far."""
    days, *curves = _curves(result)
    equity, benchmark = (curve / np.fmax.accumulate(curve) - 1 for curve in curves)
    label = f"At most {percent(-float(equity.min()))}"
    if math.isfinite(benchmark[-1]):
        label += f", of the benchmark {percent(-float(np.nanmin(benchmark)))}"
    return Figure("Drawdown", line_chart(label + ".", days, _pair(equity, benchmark, "area"), "percent"))


def _curves(result: Result) -> tuple[pd.DatetimeIndex, Floats, Floats]:
    """Days on which something moved, with the equity and the benchmark scaled to the starting cash."""
    samples = result.samples
    benchmark = samples["benchmark"]
    moved = (samples["return"] != 0) | (benchmark.diff() != 0)
    moved.iloc[-1] = True
    first = benchmark.dropna().iloc[:1]
    scale = samples["equity"].iloc[0] / (float(first.iloc[0]) if len(first) else math.nan)
    kept = samples[moved]
    return pd.DatetimeIndex(kept["day"]), kept["equity"].to_numpy(), (kept["benchmark"] * scale).to_numpy()


def _pair(own: Floats, benchmark: Floats, shape: str = "line") -> list[Line]:
    lines = [Line("Strategy", own, "strategy", shape)]
    return [*lines, Line("Benchmark", benchmark, "benchmark")] if np.isfinite(benchmark).any() else lines


def _rolling(result: Result) -> Iterator[Figure]:
    frame = rolling_performance(result).iloc[::-7].iloc[::-1]  # a point a week
    if len(frame) < 2:
        return
    days = pd.DatetimeIndex(frame.index)
    for title, own, benchmark in (
        ("Sharpe Ratio, last 12 months", "sharpe", "benchmark_sharpe"),
        ("Beta, last 12 months", "beta", None),
    ):
        values = frame[own].to_numpy()
        if not np.isfinite(values).any():
            continue
        label = f"{title}: between {compact(np.nanmin(values))} and {compact(np.nanmax(values))}."
        lines = _pair(values, frame[benchmark].to_numpy()) if benchmark else [Line("Strategy", values, "strategy")]
        yield Figure(title, line_chart(label, days, lines, "number"))


def _weights(result: Result) -> Figure | None:
    """The positions that were largest on average, at month ends (week ends, for a run of less than two years)."""
    days = pd.DatetimeIndex(result.samples["day"].iloc[1:])
    table = result.weights.iloc[1:].fillna(0.0).set_axis(days, axis=0)
    period = "M" if len(days) > 2 * SAMPLES_A_YEAR else "W"
    ends = table.groupby(days.to_period(period)).tail(1)
    largest = ends.mean().sort_values(ascending=False, kind="stable").head(_NAMES_SHOWN)
    names = [str(name) for name in largest[largest > 0].index]
    if not names:
        return None
    label = "Weights of the largest positions through time; on average " + ", ".join(
        f"{name} {percent(largest[name])}" for name in names[:5]
    )
    chart = heat_map(label + ".", pd.DatetimeIndex(ends.index), names, ends[names].to_numpy().T, "percent")
    remark = (
        f"The {len(names)} positions that were largest on average, at the end of each "
        f"{'month' if period == 'M' else 'week'}. LEAN records the margin that a position uses, its absolute weight "
        "over its leverage; here it is scaled so that the weights sum to LEAN's exposure, which is exact where all "
        "positions have the same leverage."
    )
    if result.weights.count(axis=1).max() >= 40:
        remark += " It names only the 40 largest positions of a day: an empty cell is a smaller position, or none."
    return Figure("Weights", chart, remark)


def _plots(result: Result) -> Iterator[Figure]:
    """The algorithm's own charts: learning curves, effective names and whatever else it plotted."""
    for name, chart in result.plots.items():
        for series, values in chart.items():
            points = values.dropna()
            if len(points) < 2:
                continue
            shown = points.iloc[:: -(-len(points) // _POINTS)]
            title = f"{name}: {series}"
            label = f"{title}, from {compact(points.iloc[0])} to {compact(points.iloc[-1])}."
            line = Line(series, shown.to_numpy(), "strategy")
            yield Figure(title, line_chart(label, days_of(pd.DatetimeIndex(shown.index)), [line], "number"))


def _turnover(result: Result) -> Figure | None:
    samples = result.samples.iloc[1:]
    if not samples["turnover"].any():
        return None
    months = samples.groupby(samples["day"].dt.to_period("M"))
    start = result.samples["day"].iloc[0]
    days = pd.DatetimeIndex([start, *months["day"].last()])
    values = np.array([math.nan, *months["turnover"].sum()])
    label = f"Portfolio Turnover by month: {percent(np.nanmedian(values))} in the median month."
    return Figure(
        "Portfolio Turnover by month",
        line_chart(label, days, [Line("Turnover", values, "strategy", "bar")], "percent"),
        "Purchases and sales together over the equity of the day: LEAN's daily turnover, summed over the month.",
    )


# --- numbers


def _period(result: Result) -> str:
    """First and last day of the samples; of a run without any, the planned ones."""
    days = result.samples["day"].iloc[1:]
    first, last = (days.iloc[0], days.iloc[-1]) if len(days) else result.planned
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _subtitle(result: Result) -> str:
    parts = [_period(result)]
    if math.isfinite(result.cash):
        parts.append(f"starting with ${number(result.cash, 0)}")
    if "seed" in result.parameters:
        parts.append(f"seed {result.parameters['seed']}")
    if result.version:
        parts.append(f"LEAN {result.version}")
    return ", ".join(parts)


def _warnings(result: Result) -> Iterator[tuple[str, str]]:
    """(sentence, details) of what must be known before any number is read."""
    if result.error or result.status != "Completed":
        planned = "{:%Y-%m-%d} to {:%Y-%m-%d}".format(*result.planned)
        yield (
            f"The run did not complete (status {result.status}, planned for {planned}): "
            + (result.error.splitlines()[0] if result.error else "LEAN gives no reason."),
            result.stack_trace or result.error,
        )
    if len(result.samples) <= 2:
        yield "No daily returns were recorded: there is nothing to draw.", ""
    if result.statistics.get("Backbone") == CONTROL:
        yield (
            f"Backbone = {CONTROL}: this is a control without pretrained knowledge. The backbone is random, and "
            "nothing on this page says what a pretrained one would do.",
            "",
        )


def _headlines(result: Result, own: Performance, market: Performance) -> list[Headline]:
    statistics = _benchmark_statistics(result, market)
    fees = _amount(result.statistics.get("Total Fees", ""))
    days = len(result.samples) - 1
    mean = float(result.samples["equity"].mean()) if days > 0 else math.nan
    a_year = f"{percent(fees / mean / days * SAMPLES_A_YEAR, 2)} of the equity a year" if days > 0 else ""
    details = {"Portfolio Turnover": "a day", "Total Fees": a_year}
    if math.isfinite(own.sharpe_error):
        details["Sharpe Ratio"] = f"95\N{NO-BREAK SPACE}%: {_interval(own.sharpe_interval)}"
    if math.isfinite(market.sharpe_error):
        statistics["Sharpe Ratio"] += f" ({_interval(market.sharpe_interval)})"
    shown = dict(result.statistics)
    if math.isfinite(fees):
        shown["Total Fees"] = f"${number(fees, 0)}"
    if shown.get("Total Orders", "").isdigit():
        shown["Total Orders"] = number(int(shown["Total Orders"]), 0)
    names = (
        "Compounding Annual Return",
        "Annual Standard Deviation",
        "Sharpe Ratio",
        "Drawdown",
        "Beta",
        "Alpha",
        "Portfolio Turnover",
        "Total Fees",
        "Total Orders",
    )
    return [
        Headline(name, shown.get(name, _NONE).replace("-", MINUS), details.get(name, ""), statistics.get(name, ""))
        for name in names
    ]


def _interval(bounds: tuple[float, float]) -> str:
    return f"{number(bounds[0], 2)} to {number(bounds[1], 2)}"


def _amount(text: str) -> float:
    """`$1234.50` as a number; NaN for anything else."""
    try:
        return float(text.replace("$", "").replace(",", ""))
    except ValueError:
        return math.nan


def _spaced(name: str) -> str:
    """LEAN's `averageWinningTradeDuration` as Average Winning Trade Duration."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name[:1].upper() + name[1:])


def _benchmark_statistics(result: Result, market: Performance) -> dict[str, str]:
    """The benchmark's statistics by LEAN's names, with LEAN's places; only those that a held index has."""
    if not math.isfinite(market.deviation):
        return {}
    levels = result.samples["benchmark"].dropna()
    return {
        "Compounding Annual Return": f"{number(100 * market.annual_return, 3)}%",
        "Annual Standard Deviation": number(market.deviation, 3),
        "Annual Variance": number(market.deviation**2, 3),
        "Sharpe Ratio": number(market.sharpe, 3),
        "Drawdown": f"{number(100 * round(market.drawdown, 3), 3)}%",
        "Net Profit": f"{number(100 * (levels.iloc[-1] / levels.iloc[0] - 1), 3)}%",
        "Beta": "1",
        "Alpha": "0",
    }


def _years(months: pd.DataFrame) -> list[Year]:
    if not len(months):
        return []
    periods = pd.PeriodIndex(months.index)
    table = months["strategy"].groupby([periods.year, periods.month]).last().unstack().reindex(columns=range(1, 13))
    totals = (1 + months).groupby(periods.year).prod(min_count=1) - 1
    return [
        Year(int(year), tuple(None if np.isnan(value) else value for value in row), *totals.loc[year])
        for year, row in zip(table.index, table.to_numpy().tolist(), strict=True)
    ]


# --- words


def _verdicts(result: Result, own: Performance, market: Performance, months: pd.DataFrame) -> Iterator[str]:
    """What the numbers are evidence of, in sentences that say no more than they do; the first is the most important."""
    if not math.isfinite(own.sharpe):
        return
    compared = months.dropna()
    if math.isfinite(market.sharpe):
        if len(compared) < _MIN_MONTHS:
            yield (
                f"{len(compared)} months are too few to tell the strategy from its benchmark: with fewer than "
                f"{_MIN_MONTHS} no test of the difference is made."
            )
        else:
            active = active_return(compared)
            yield (
                f"Over {len(compared)} months the strategy returned {_points(abs(active.value))} percentage points a "
                f"month {'more' if active.value > 0 else 'less'} than its benchmark ({_evidence(active)}): "
                + (
                    "the difference can be told from zero at the 95\N{NO-BREAK SPACE}% level."
                    if active.distinct
                    else "the two cannot be told apart at the 95\N{NO-BREAK SPACE}% level."
                )
            )
            alpha = monthly_alpha(compared, risk_free_rate(result))
            yield (
                f"Alpha, what remains beyond its beta, is {_points(alpha.value)} percentage points a month "
                f"({_evidence(alpha)}), which {'can' if alpha.distinct else 'cannot'} be told from zero."
            )
    low, high = own.sharpe_interval
    sharpe = (
        f"The Sharpe Ratio of {number(own.sharpe, 3)} has a 95\N{NO-BREAK SPACE}% interval of {_interval((low, high))}"
        f"{', which contains zero' if low < 0 < high else ''}"
    )
    if math.isfinite(market.sharpe):
        sharpe += f"; the benchmark's, {number(market.sharpe, 3)}, one of {_interval(market.sharpe_interval)}"
    sharpe += ". Both take the daily returns as independent." if math.isfinite(market.sharpe) else "."
    yield sharpe
    if "Probabilistic Sharpe Ratio" in result.statistics:
        yield (
            f"LEAN's Probabilistic Sharpe Ratio is {result.statistics['Probabilistic Sharpe Ratio']}: "
            "the probability that the true ratio exceeds 1, if returns are independent."
        )
    yield (
        "This is one run. Nothing here allows for the number of variants that were tried before it, or for what "
        "another random seed would have given."
    )


def _points(fraction: float) -> str:
    return number(100 * fraction, 2)


def _evidence(estimate: Estimate) -> str:
    return (
        f"95\N{NO-BREAK SPACE}% interval {_points(estimate.low)} to {_points(estimate.high)}, "
        f"Newey\N{EN DASH}West t = {number(estimate.t, 2)}"
    )


def _remarks(result: Result) -> Iterator[str]:
    """How the numbers are made, as far as it changes how they are read."""
    if len(result.samples) <= 2:
        return
    etf = result.parameters.get("etf", "SPY unless the algorithm chose another")
    yield (
        f"The benchmark is the one that LEAN recorded ({etf}): hourly closes adjusted for splits and dividends, so it "
        "is a total return, before fees. Its statistics come from LEAN's samples by LEAN's formulas, as the "
        "strategy's do."
    )
    own, market = (f(result, SAMPLES_A_YEAR) for f in (strategy_performance, benchmark_performance))
    if math.isfinite(own.sharpe) and result.trading_days < SAMPLES_A_YEAR - 1:
        yield (
            "LEAN takes a sample every calendar day, weekends included, and annualises with "
            f"{result.trading_days} days, which makes volatility and Sharpe ratio smaller than the usual ones. With "
            f"{SAMPLES_A_YEAR} samples a year the volatility is {percent(own.deviation)} (benchmark "
            f"{percent(market.deviation)}) and the Sharpe ratio {number(own.sharpe, 2)} (benchmark "
            f"{number(market.sharpe, 2)})."
        )
    if math.isfinite(own.sharpe):
        yield (
            f"The risk-free rate is {percent(risk_free_rate(result), 2)} a year, the one that follows from LEAN's "
            "Sharpe Ratio; the rolling ratios use it throughout."
        )
    yield (
        "The interval of the Sharpe ratio allows for skewness and kurtosis (Lo 2002; Mertens 2002; Bailey and Lopez de "
        "Prado 2012). Drawdown, equity and monthly returns are after fees."
    )
