"""Figures against LEAN's own, published numbers and statsmodels."""

import csv
import json
import math
from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.performance import (
    active_return,
    benchmark_performance,
    monthly_alpha,
    monthly_returns,
    newey_west,
    risk_free_rate,
    rolling_performance,
    sharpe_standard_error,
    strategy_performance,
)
from evaluation.result import read_result

RECORDED = {"real_hash_1e6_top10": "marketdata/lean", "parity_hash_adjusted": "fixtures/parity_market"}


def published_rate(data_folder, result):
    """LEAN's own way to the risk-free rate: the mean of the published one over the points of the equity curve."""
    path = data_folder / "alternative" / "interest-rate" / "usa" / "interest-rate.csv"
    with path.open() as file:
        rows = [(date.fromisoformat(day), float(rate) / 100) for day, rate in list(csv.reader(file))[1:]]
    days = [instant.tz_convert("America/New_York").date() for instant in result.equity.index]
    return np.mean([next((rate for day, rate in reversed(rows) if day <= at), rows[0][1]) for at in days])


@pytest.mark.parametrize("name", RECORDED)
def test_figures_of_the_real_engine_are_recomputed_to_its_digits(recorded, name):
    path = recorded(name)
    result = read_result(path)
    lean = json.loads(path.read_text())["totalPerformance"]["portfolioStatistics"]
    own = strategy_performance(result, result.trading_days)
    assert f"{own.annual_return:.4f}" == lean["compoundingAnnualReturn"]
    assert f"{own.deviation:.4f}" == lean["annualStandardDeviation"]
    assert f"{own.beta:.4f}" == lean["beta"]
    assert f"{own.alpha:.4f}" == lean["alpha"]
    assert f"{own.drawdown:.3f}" == lean["drawdown"]


@pytest.mark.parametrize("name", RECORDED)
def test_the_sharpe_ratio_is_leans_with_the_published_rate(recorded, shared, name):
    result = read_result(recorded(name))
    rate = published_rate(shared / RECORDED[name], result)
    own = strategy_performance(result, result.trading_days)
    sharpe = own.sharpe + (risk_free_rate(result) - rate) / own.deviation
    assert f"{sharpe:.3f}".rstrip("0") == result.statistics["Sharpe Ratio"]
    assert risk_free_rate(result) == pytest.approx(rate, abs=1e-5)  # half of the ratio's fourth place, times 0.13


def test_figures_of_the_embedded_host_are_recomputed_to_its_digits(host_result):
    own = strategy_performance(host_result, host_result.trading_days)
    assert f"{100 * own.annual_return:.3f}%" == host_result.statistics["Compounding Annual Return"]
    assert f"{own.beta:.3f}".rstrip("0") == host_result.statistics["Beta"]
    assert f"{own.deviation:.3f}".rstrip("0") == host_result.statistics["Annual Standard Deviation"]


def test_the_benchmark_has_the_figures_of_a_run_that_holds_it(recorded, shared):
    """SPY bought and held with a billion: it paid 68,469 dollars of fees, at the first day's open or later."""
    held = json.loads((shared / "golden" / "real_spy_1e9" / "statistics.json").read_text())["statistics"]
    result = read_result(recorded("real_hash_1e6_top10"))
    market = benchmark_performance(result, result.trading_days)
    assert market.sharpe == pytest.approx(float(held["Sharpe Ratio"]), abs=0.005)
    assert 100 * market.annual_return == pytest.approx(float(held["Compounding Annual Return"].rstrip("%")), abs=0.1)
    assert 100 * market.drawdown == pytest.approx(float(held["Drawdown"].rstrip("%")), abs=0.1)
    assert (market.beta, market.alpha) == (pytest.approx(1), pytest.approx(0))


def test_monthly_returns_multiply_to_the_net_profit(host_result):
    months = monthly_returns(host_result)
    assert [str(months.index[0]), str(months.index[-1]), len(months)] == ["2013-06", "2015-06", 25]
    total = (1 + months).prod() - 1
    assert f"{100 * total['strategy']:.3f}%" == host_result.statistics["Net Profit"]
    benchmark = host_result.samples["benchmark"]
    assert total["benchmark"] == pytest.approx(benchmark.iloc[-1] / benchmark.iloc[0] - 1)


def test_a_month_ends_with_its_last_day(host_result):
    equity = host_result.samples.set_index("day")["equity"]
    assert monthly_returns(host_result)["strategy"][pd.Period("2014-02")] == pytest.approx(
        equity["2014-02-28"] / equity["2014-01-31"] - 1
    )


def test_the_last_rolling_window_is_a_run_of_its_own(host_result):
    count = len(host_result.samples) - 2
    (row,) = rolling_performance(host_result, window=count).itertuples()
    own = strategy_performance(host_result, host_result.trading_days)
    market = benchmark_performance(host_result, host_result.trading_days)
    assert (row.sharpe, row.beta) == (pytest.approx(own.sharpe), pytest.approx(own.beta))
    assert row.benchmark_sharpe == pytest.approx(market.sharpe)


def test_a_rolling_window_forgets_what_is_older(host_result):
    rolling = rolling_performance(host_result, window=100)
    recent = host_result.samples.iloc[-100:]
    assert rolling["beta"].iloc[-1] == pytest.approx(
        np.cov(recent["return"], host_result.samples["benchmark"].pct_change().iloc[-100:])[0, 1]
        / host_result.samples["benchmark"].pct_change().iloc[-100:].var()
    )
    assert len(rolling) == len(host_result.samples) - 2 - 99


# --- Sharpe ratio


@pytest.mark.parametrize(("skewness", "kurtosis", "probability"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)])
def test_sharpe_error_gives_the_published_probabilistic_sharpe_ratio(skewness, kurtosis, probability):
    """Bailey and Lopez de Prado (2012): 24 months with a monthly ratio of 0.458 against zero."""
    error = sharpe_standard_error(0.458, 24, skewness, kurtosis)
    assert round(stats.norm.cdf(0.458 / error), 3) == probability


def test_sharpe_error_of_normal_returns_is_los():
    """Lo (2002), eq. 9: sqrt((1 + SR^2 / 2) / T), here with T - 1."""
    assert sharpe_standard_error(0.5, 61, 0.0, 3.0) == pytest.approx(math.sqrt(1.125 / 60))
    yearly = sharpe_standard_error(0.5 * math.sqrt(12), 61, 0.0, 3.0, days_a_year=12)
    assert yearly == pytest.approx(math.sqrt(12 * 1.125 / 60))


def test_sharpe_error_is_the_spread_of_leans_ratio_over_many_samples():
    """4000 samples of 1000 skewed returns: their spread is known to 1.1 %, so 5 % is more than four of its errors."""
    rng = np.random.default_rng(7)
    draws = 0.006 * (0.25 - (rng.exponential(size=(4000, 1000)) - 1))
    ratios = ((1 + draws.mean(axis=1)) ** 252 - 1) / (draws.std(axis=1, ddof=1) * math.sqrt(252))
    mean, deviation = 0.0015, 0.006
    sharpe = ((1 + mean) ** 252 - 1) / (deviation * math.sqrt(252))
    error = sharpe_standard_error(sharpe, 1000, -2.0, 9.0, days_a_year=252, growth=(1 + mean) ** 251)
    assert error == pytest.approx(ratios.std(), rel=0.05)


def test_the_interval_of_the_sharpe_ratio_covers_it_evenly(host_result):
    own = strategy_performance(host_result, host_result.trading_days)
    low, high = own.sharpe_interval
    assert (low + high) / 2 == pytest.approx(own.sharpe)
    assert high - low == pytest.approx(2 * 1.959964 * own.sharpe_error, rel=1e-6)


# --- regressions


def test_newey_west_is_that_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(3)
    x = np.column_stack((np.ones(130), rng.normal(size=130)))
    noise = rng.normal(size=131)
    y = x @ [0.1, 0.9] + noise[1:] + 0.6 * noise[:-1]
    theirs = sm.OLS(y, x).fit(cov_type="HAC", cov_kwds={"maxlags": 4}, use_t=True)  # floor(4 * 1.3^(2/9)) = 4
    rows = zip(newey_west(y, x), theirs.params, theirs.tvalues, theirs.conf_int(), strict=True)
    for ours, value, t, interval in rows:
        assert (ours.value, ours.t) == (pytest.approx(value, rel=1e-10), pytest.approx(t, rel=1e-10))
        assert (ours.low, ours.high) == pytest.approx(tuple(interval), rel=1e-9)


def test_active_return_and_alpha_find_what_was_planted():
    rng = np.random.default_rng(5)
    benchmark = rng.normal(0.01, 0.04, 240)
    rate = 0.024
    strategy = 0.003 + rate / 12 + 0.8 * (benchmark - rate / 12) + rng.normal(0, 0.005, 240)
    months = pd.DataFrame({"strategy": strategy, "benchmark": benchmark})
    alpha = monthly_alpha(months, rate)
    assert alpha.low < 0.003 < alpha.high and alpha.distinct
    assert active_return(months).value == pytest.approx((strategy - benchmark).mean())


def test_the_same_series_twice_cannot_be_told_apart():
    months = pd.DataFrame({"strategy": [0.01, -0.02] * 20, "benchmark": [0.01, -0.02] * 20})
    active = active_return(months)
    assert active.value == 0 and not active.distinct
