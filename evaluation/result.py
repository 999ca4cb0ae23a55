"""A LEAN backtest result, `<id>.json`, as typed columns.

LEAN samples at every midnight of New York, weekends included; a sample belongs to the day that it ends. What those
samples hold and how LEAN makes them is in the docstrings below, as far as a reader of the numbers has to know it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LEAN_CHARTS = frozenset(
    {
        "Assets Sales Volume",
        "Benchmark",
        "Capacity",
        "Drawdown",
        "Exposure",
        "Portfolio Margin",
        "Portfolio Turnover",
        "Strategy Equity",
    }
)
"""Charts that LEAN makes itself; every other chart is the algorithm's own."""

_NAMELESS = "local"  # LEAN's name for a run that was given none
_NEW_YORK = "America/New_York"
_SECOND = pd.Timedelta(seconds=1)


class ResultError(ValueError):
    """A file that cannot be read as a LEAN result; the message says which, why, and what would do."""


@dataclass(frozen=True)
class Result:
    """One backtest.

    samples: a row for each of LEAN's daily samples, indexed by its instant in UTC; empty if the run failed before the
        first one. Columns:
        `day`: the day that the sample ends (the first sample ends the day before the start);
        `equity`: value of the portfolio in account currency, the starting cash in the first row;
        `return`: simple return since the sample before, a fraction;
        `benchmark`: last hourly close of the benchmark, adjusted for splits and dividends; NaN before its first bar;
        `turnover`: value of all fills since the sample before over the equity, purchases and sales alike;
        `exposure`: absolute value of all positions over the equity.
    equity: value of the portfolio at every point of LEAN's equity curve (more than the daily ones), by instant.
    weights: share of each position in the equity, absolute values, a row a sample and a column a ticker; NaN where
        a stock is not held or, beyond 40 positions, not among the 40 largest. See `_weights`.
    plots: chart -> series -> the algorithm's own plots, by instant.
    name: LEAN's name of the run, or the file's where LEAN had none.
    statistics, runtime_statistics, trades: LEAN's texts by LEAN's names.
    cash: starting cash in account currency, NaN if LEAN recorded none. sharpe: LEAN's Sharpe ratio to four places.
    planned: first and last day that the algorithm asked for. trading_days: LEAN's days a year, 252 for stocks.
    error: why the run stopped, empty if it did not.
    """

    name: str
    version: str
    status: str
    error: str
    stack_trace: str
    planned: tuple[date, date]
    trading_days: int
    cash: float
    sharpe: float
    parameters: Mapping[str, str]
    statistics: Mapping[str, str]
    runtime_statistics: Mapping[str, str]
    trades: Mapping[str, str]
    samples: pd.DataFrame
    equity: "pd.Series[float]"
    weights: pd.DataFrame
    plots: Mapping[str, Mapping[str, "pd.Series[float]"]]


def read_result(path: Path) -> Result:
    """Read the main result file of a backtest.

    path: `<id>.json` as LEAN or the embedded host left it.
    Raises ResultError where there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ResultError(f"{path} is not JSON: pass the <id>.json that a backtest leaves") from None
    if not isinstance(content, dict) or not {"charts", "statistics", "algorithmConfiguration"} <= content.keys():
        raise ResultError(f"{path} is not a LEAN result: pass the <id>.json that a backtest leaves")
    if "orders" not in content:
        raise ResultError(f"{path} is a summary without daily returns: pass the <id>.json beside it")
    try:
        result = _result(content, path.stem)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ResultError(f"{path} is not a LEAN result that this version reads: {error!r}") from error
    if len(result.samples) > 3 and not result.statistics:
        raise ResultError(
            f"{path} has no statistics: LEAN leaves them all out where one is too large to be written, so look for a "
            "day on which a price jumps by orders of magnitude"
        )
    return result


def _result(content: Mapping[str, Any], stem: str) -> Result:
    charts = {name: chart["series"] for name, chart in content["charts"].items()}
    state, configuration = content["state"], content["algorithmConfiguration"]
    performance = content["totalPerformance"]
    portfolio = {name: float(text) for name, text in performance["portfolioStatistics"].items()}
    equity = _series(charts.get("Strategy Equity", {}), "Equity")
    samples = _samples(charts, equity)
    return Result(
        name=stem if configuration["name"] in ("", _NAMELESS) else configuration["name"],
        version=content.get("serverStatistics", {}).get("LEAN Version", ""),
        status=state["Status"],
        error=state.get("RuntimeError", "").strip(),
        stack_trace=state.get("StackTrace", "").strip(),
        planned=(_day(configuration["startDate"]), _day(configuration["endDate"])),
        trading_days=configuration["tradingDaysPerYear"],
        parameters=configuration["parameters"],
        statistics=content["statistics"],
        runtime_statistics=content["runtimeStatistics"],
        cash=portfolio["startEquity"] or math.nan,
        sharpe=portfolio["sharpeRatio"],
        trades={name: str(value) for name, value in performance["tradeStatistics"].items() if value is not None},
        samples=samples,
        equity=equity,
        weights=_weights(charts.get("Portfolio Margin", {}), samples),
        plots={
            name: {series: _series(chart, series) for series in chart}
            for name, chart in charts.items()
            if name not in LEAN_CHARTS
        },
    )


def _day(instant: str) -> date:
    """The date of `2009-06-01T00:00:00Z`, which LEAN writes with a Z although it is local time."""
    return date.fromisoformat(instant[:10])


def _series(chart: Mapping[str, Any], name: str) -> "pd.Series[float]":
    """The points of a series by instant: `[second, value]`, or of a candle its close; null becomes NaN."""
    points = chart[name]["values"] if name in chart else []
    index = pd.to_datetime([point[0] for point in points], unit="s", utc=True)
    values = np.array([point[-1] for point in points], dtype=np.float64)
    return pd.Series(values, index=pd.DatetimeIndex(index), name=name)


def days_of(instants: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The days in New York that instants end: midnight ends the day before it."""
    return (instants - _SECOND).tz_convert(_NEW_YORK).tz_localize(None).normalize()


def _samples(charts: Mapping[str, Any], equity: "pd.Series[float]") -> pd.DataFrame:
    returns = _series(charts.get("Strategy Equity", {}), "Return") / 100
    instants = pd.DatetimeIndex(returns.index)
    benchmark = _series(charts.get("Benchmark", {}), "Benchmark").reindex(instants)
    exposure = charts.get("Exposure", {})
    ratios = [_series(exposure, f"Equity - {side} Ratio").reindex(instants).abs() for side in ("Long", "Short")]
    turnover = _series(charts.get("Portfolio Turnover", {}), "Portfolio Turnover").reindex(instants)
    return pd.DataFrame(
        {
            "day": days_of(instants),
            "equity": equity.reindex(instants, method="ffill"),
            "return": returns,
            "benchmark": benchmark.where(benchmark > 0),
            "turnover": turnover.fillna(0.0),
            "exposure": ratios[0].fillna(0.0) + ratios[1].fillna(0.0),
        }
    )


def _weights(margin: Mapping[str, Any], samples: pd.DataFrame) -> pd.DataFrame:
    """Shares of the positions in the equity, from the margin that they use.

    LEAN records weight / leverage, and the leverage (2 for stocks, unless it is set) is not in the result. But the
    weights must sum to LEAN's own exposure of the same instant, so each row is scaled to that sum: exact, to the four
    digits that LEAN keeps, where all positions have one leverage. Positions beyond the 40 largest are one series,
    OTHERS, which counts in the sum and is not returned.
    """
    used = pd.DataFrame({name: _series(margin, name) for name in margin}).reindex(samples.index)
    total = used.sum(axis=1)
    scaled = used.mul(samples["exposure"] / total.where(total > 0), axis=0)
    return scaled.drop(columns="OTHERS", errors="ignore")
