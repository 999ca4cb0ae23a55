"""Tests of significance against published numbers, arch and statsmodels, and on data whose truth is known."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from arch.bootstrap import SPA, StationaryBootstrap

from evaluation.ledger import Ledger, Trial, Trials
from evaluation.performance import (
    Performance,
    benchmark_performance,
    risk_free_rate,
    sharpe_standard_error,
    strategy_performance,
)
from evaluation.significance import (
    Annualisation,
    Comparison,
    Difference,
    SuperiorAbility,
    compare,
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    over_seeds,
    probabilistic_sharpe_ratio,
    regression,
    superior_ability,
)

MONTHLY = Annualisation(rate=0.005, samples=12, days=12)
DAILY = Annualisation(rate=0.005, samples=252, days=252)


def market(seed, *edges, count=250, noise=0.002):
    """Daily returns of a benchmark, and of strategies that are the benchmark with noise and an edge a day."""
    rng = np.random.default_rng(seed)
    benchmark = pd.Series(rng.standard_t(5, count) * 0.007 + 0.0004, name="equal weights")
    returns = {f"s{k}": benchmark + edge + rng.normal(0, noise, count) for k, edge in enumerate(edges)}
    return pd.DataFrame(returns), benchmark


def performance(sharpe, error):
    return Performance(math.nan, math.nan, sharpe, error, math.nan, math.nan, math.nan)


# --- one Sharpe ratio


@pytest.mark.parametrize(
    ("count", "skewness", "kurtosis", "threshold", "deflated"),
    [(100, -3, 10, 0.1132, 0.9004), (46, -3, 10, 0.1004, 0.9505), (88, 0, 3, 0.1111, 0.9505)],
)
def test_the_papers_example_is_reproduced_from_a_ledger(tmp_path, count, skewness, kurtosis, threshold, deflated):
    """Bailey and Lopez de Prado (2014), "A numerical example": five years of 250 days, an annual ratio of 2.5, 1/2 the
    variance of the trials' ratios; 0.1132 and 0.9004 at 100 trials, 0.9505 at 46 and, for normal returns, at 88. The
    thresholds of the last two are not printed; they follow from the printed formula.
    """
    ledger = Ledger(tmp_path / "trials.jsonl")
    for number in range(count):
        sharpe = 1 + (-1) ** number * math.sqrt((count - 1) / count / 2)
        period = date(2009, 1, 1), date(2013, 12, 31)
        ledger.append(Trial(f"run {number}", "data", "any", *period, sharpe, datetime(2014, 1, 1, tzinfo=UTC)))
    error = sharpe_standard_error(2.5, 1250, skewness, kurtosis, days_a_year=250)
    evidence = deflated_sharpe_ratio(
        "best", performance(2.5, error), 1250, Annualisation(0, 250, 250), ledger.trials("data")
    )
    assert round(evidence.threshold / math.sqrt(250), 4) == threshold
    assert round(evidence.deflated, 4) == deflated
    assert evidence.years == 5


@pytest.mark.parametrize(
    ("periods", "skewness", "kurtosis", "years"),
    [(252, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_published_minimum_track_records_are_reproduced(periods, skewness, kurtosis, years):
    """Bailey and Lopez de Prado (2012), minimum track record for an annual ratio of 2 to be above 1 at 95 %."""
    error = sharpe_standard_error(2.0, 100, skewness, kurtosis, days_a_year=periods)
    assert round(minimum_track_record_length(2.0, error, 100, 1.0) / periods, 2) == years


def test_a_minimum_track_record_has_a_probabilistic_sharpe_ratio_of_95_percent():
    error = sharpe_standard_error(0.7, 127, -0.5, 4.0, days_a_year=12)
    length = minimum_track_record_length(0.7, error, 127, 0.3)
    shrunk = error * math.sqrt(126 / (length - 1))
    assert probabilistic_sharpe_ratio(0.7, shrunk, 0.3) == pytest.approx(0.95)
    assert minimum_track_record_length(0.3, error, 127, 0.3) == math.inf


def test_the_expected_maximum_is_that_of_drawn_ratios():
    """20,000 draws know the mean of the maximum to 0.3 %; the formula is an approximation, at 50 trials 1 % off."""
    drawn = np.random.default_rng(1).normal(0, 0.3, (20_000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(Trials(50, 0.09, 0)) == pytest.approx(drawn, rel=0.02)


def test_more_trials_and_wider_trials_deflate_more():
    def deflated(count, variance):
        trials = Trials(count, variance, 0)
        return deflated_sharpe_ratio("best", performance(0.7, 0.3), 2700, DAILY, trials).deflated

    assert deflated(1, math.nan) > deflated(10, 0.02) > deflated(100, 0.02) > deflated(100, 0.05)


def test_a_single_trial_is_not_deflated():
    evidence = deflated_sharpe_ratio("only", performance(0.7, 0.3), 2700, DAILY, Trials(1, math.nan, 0))
    assert evidence.deflated == evidence.probabilistic
    assert evidence.in_words().endswith("The ledger holds no other trial on these data, so nothing is deflated.")


def test_a_ratio_that_is_not_in_the_ledger_is_not_judged():
    with pytest.raises(ValueError, match="a run is written to it before it is judged"):
        deflated_sharpe_ratio("new", performance(0.7, 0.3), 2700, DAILY, Trials(0, math.nan, 0))


def test_a_strategy_without_a_sharpe_ratio_is_not_judged():
    with pytest.raises(ValueError, match="cash has no Sharpe ratio"):
        deflated_sharpe_ratio("cash", performance(math.nan, math.nan), 2700, DAILY, Trials(2, 0.1, 0))


def test_the_words_name_the_interval_the_trials_and_the_luck():
    evidence = deflated_sharpe_ratio("Chronos", performance(0.73, 0.32), 2667, DAILY, Trials(40, 0.03, 2))
    text = evidence.in_words().replace("\N{NO-BREAK SPACE}", " ")
    assert "Chronos, 0.73 over 10.6 years, has a 95 % interval of 0.10 to 1.36" in text
    assert "the best of the 40 trials in the ledger would be expected to reach 0.38" in text
    assert "confidence of 86.3 % (deflated Sharpe ratio), less than 95 %: it may be the luck of the best of 40." in text
    assert "Lines of the ledger that could not be read and are not counted: 2." in text
    assert "A record of 24 years with this ratio would be needed." in text
    sure = replace(evidence, deflated=0.951).in_words()
    assert "so it is more than the luck of the best of 40; what a benchmark would have reached" in sure


def test_a_confidence_is_never_rounded_up_to_the_level():
    evidence = deflated_sharpe_ratio("best", performance(0.7, 0.3), 2700, DAILY, Trials(40, 0.03, 0))
    assert "94.9" in replace(evidence, deflated=0.94999).in_words()


# --- against a benchmark


def test_the_compared_ratios_and_returns_are_those_of_the_tear_sheet(host_result):
    samples = host_result.samples
    own = samples["return"].iloc[2:].to_frame("strategy")
    held = samples["benchmark"].pct_change(fill_method=None).iloc[2:]
    annual = Annualisation(risk_free_rate(host_result), days=host_result.trading_days)
    (comparison,) = compare(own, held, annual, seed=1, draws=99)
    figures = [f(host_result, host_result.trading_days) for f in (strategy_performance, benchmark_performance)]
    assert comparison.sharpe.value == pytest.approx(figures[0].sharpe - figures[1].sharpe, abs=1e-12)
    growth = [float((1 + r).prod()) ** (365.25 / len(r)) for r in (own["strategy"], held)]
    assert comparison.annual_return.value == pytest.approx(growth[0] - growth[1], abs=1e-12)


def test_the_draws_are_those_of_arch():
    """The same seed and block length, one draw after the other, every figure by its definition."""
    returns, benchmark = market(3, 0.0002)
    (comparison,) = compare(returns, benchmark, DAILY, seed=11, draws=199)
    table = np.column_stack((benchmark, returns))

    def ratio(r):
        return ((1 + r.mean(axis=0)) ** 252 - 1 - 0.005) / (r.std(axis=0, ddof=1) * math.sqrt(252))

    def growth(r):
        return (1 + r).prod(axis=0) ** (252 / len(r)) - 1

    mean, deviation = table.mean(axis=0), table.std(axis=0)

    def ratio_error(r):
        z = (r - mean) / deviation
        slope = math.sqrt(252) * (1 + mean) ** 251
        return np.diff(slope * z - ratio(table) / 2 * (z**2 - 1)).std()

    def growth_error(r):
        return np.diff(252 * (1 + growth(table)) * np.log1p(r)).std()

    draws = [data[0][0] for data in StationaryBootstrap(comparison.block, table, seed=11).bootstrap(199)]
    for difference, figure, error in (
        (comparison.sharpe, ratio, ratio_error),
        (comparison.annual_return, growth, growth_error),
    ):
        value = float(np.diff(figure(table))[0])
        distances = np.array([abs(float(np.diff(figure(r))[0]) - value) / error(r) for r in draws])
        reach = np.sort(distances)[189] * error(table)  # the 190th of 199, and the sample: 190 of 200 are 95 %
        assert difference.value == pytest.approx(value, abs=1e-12)
        assert (difference.low, difference.high) == pytest.approx((value - reach, value + reach), abs=1e-9)
        assert difference.p == (1 + np.sum(distances >= abs(value) / error(table))) / 200


def test_the_block_length_of_persistent_differences_is_longer():
    returns, benchmark = market(5, 0.0, count=1000)
    noise = (returns["s0"] - benchmark).to_numpy()
    returns["persistent"] = benchmark + np.convolve(noise, np.ones(10) / 10, "full")[: len(noise)]
    independent, persistent = compare(returns, benchmark, DAILY, seed=1, draws=99)
    assert persistent.block > 3 * independent.block


def test_a_comparison_does_not_depend_on_the_other_strategies():
    returns, benchmark = market(7, 0.0, 0.0002, -0.0003, 0.0001, 0.0)
    together = compare(returns, benchmark, DAILY, seed=1, draws=199)
    assert len({comparison.block for comparison in together}) > 1
    for comparison in together:
        (alone,) = compare(returns[[comparison.strategy]], benchmark, DAILY, seed=1, draws=199)
        assert (alone.strategy, alone.block) == (comparison.strategy, comparison.block)
        assert alone.sharpe.high == pytest.approx(comparison.sharpe.high, rel=1e-9)  # other widths, other rounding
        assert alone.annual_return.p == comparison.annual_return.p


def test_equal_seeds_give_equal_results_and_others_nearly_so():
    returns, benchmark = market(2, 0.0001)
    first, again, other = (compare(returns, benchmark, DAILY, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    assert other.sharpe.high - first.sharpe.high == pytest.approx(0, abs=0.05 * (first.sharpe.high - first.sharpe.low))


def test_the_interval_excludes_zero_exactly_where_p_is_at_most_5_percent():
    returns, benchmark = market(4, *np.linspace(-0.0005, 0.0005, 30))
    for annual in (DAILY, MONTHLY):
        comparisons = compare(returns, benchmark, annual, seed=1, draws=399)
        differences = [d for c in comparisons for d in (c.sharpe, c.annual_return)]
        outside = [d.low > 0 or d.high < 0 for d in differences]
        assert outside == [d.p <= 0.05 for d in differences] == [d.distinct for d in differences]
        assert 0 < sum(outside) < len(outside)


def test_a_ratio_does_not_change_when_all_returns_are_scaled():
    """With a rate of zero and without compounding, days = 1, which no scaling leaves alone."""
    returns, benchmark = market(6, 0.0002, 0.0)
    plain = Annualisation(rate=0, samples=1, days=1)
    scaled = compare(returns / 3, benchmark / 3, plain, seed=1, draws=199)
    for ours, theirs in zip(compare(returns, benchmark, plain, seed=1, draws=199), scaled, strict=True):
        assert ours.block == theirs.block
        assert (ours.sharpe.value, ours.sharpe.low) == pytest.approx((theirs.sharpe.value, theirs.sharpe.low), rel=1e-6)
        assert ours.sharpe.p == theirs.sharpe.p


def test_the_benchmark_cannot_be_told_from_itself():
    _, benchmark = market(1)
    (comparison,) = compare(benchmark.to_frame("copy"), benchmark, DAILY, seed=1, draws=99)
    assert comparison.sharpe == comparison.annual_return == Difference(0.0, 0.0, 0.0, 1.0)
    assert comparison.years_needed == math.inf


def test_exchanging_strategy_and_benchmark_turns_the_difference_around():
    returns, benchmark = market(8, 0.0003)
    (ours,) = compare(returns, benchmark, DAILY, seed=1, draws=199)
    (theirs,) = compare(benchmark.to_frame(), returns["s0"], DAILY, seed=1, draws=199)
    assert (ours.sharpe.low, ours.sharpe.high) == pytest.approx((-theirs.sharpe.high, -theirs.sharpe.low))
    assert ours.annual_return.p == theirs.annual_return.p


def test_a_planted_edge_is_found():
    """An edge of 0.06 % a day is over six standard errors of a mean of 500 days."""
    returns, benchmark = market(9, 0.0006, -0.0006, count=500)
    better, worse = compare(returns, benchmark, DAILY, seed=1)
    assert better.sharpe.low > 0 and better.annual_return.low > 0
    assert worse.sharpe.high < 0 and worse.annual_return.high < 0
    assert better.annual_return.low < 1.0006**252 - 1 < better.annual_return.high


@pytest.mark.parametrize("annual", [DAILY, MONTHLY], ids=["500 days", "127 months"])
def test_without_an_edge_few_comparisons_are_distinct(annual):
    """60 markets: of 5 % more than 9 are distinct in 0.03 % of all cases."""
    hits = np.zeros(2)
    for seed in range(60):
        returns, benchmark = market(seed, 0.0, count=500 if annual is DAILY else 127)
        (comparison,) = compare(returns, benchmark, annual, seed=seed, draws=199)
        hits += comparison.sharpe.distinct, comparison.annual_return.distinct
    assert (hits <= 9).all()


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says():
    """600 markets of 250 days with an edge: 95 % is known to 0.9, and 250 days cost the bootstrap about one point."""
    covered = 0
    for seed in range(600):
        returns, benchmark = market(seed, 0.0003)
        (comparison,) = compare(returns, benchmark, Annualisation(0, 1, 1), seed=seed, draws=399)
        spread = math.sqrt(0.007**2 * 5 / 3)
        truth = 0.0007 / math.hypot(spread, 0.002) - 0.0004 / spread
        covered += comparison.sharpe.low <= truth <= comparison.sharpe.high
    assert 0.915 <= covered / 600 <= 0.975


def test_a_comparison_says_what_can_be_told_apart():
    none, some = Difference(0.04, -0.05, 0.13, 0.4), Difference(0.03, 0.01, 0.05, 0.0401)
    comparison = Comparison("Chronos", "equal weights", none, none, 10.6, 4)

    def words(sharpe, growth):
        return replace(comparison, sharpe=sharpe, annual_return=growth).in_words().replace("\N{NO-BREAK SPACE}", " ")

    text = words(none, none)
    assert text.startswith(
        "Over 10.6 years the Sharpe ratio of Chronos is 0.04 larger than that of equal weights (95 % interval of "
        "the difference \N{MINUS SIGN}0.05 to 0.13, p = 0.400) and its annual return 4.00 percentage points larger"
    )
    assert "it cannot be told apart from equal weights at 95 %." in text
    assert text.endswith("would take about 54 years to show.")  # 10.6 (0.09 / 0.04)^2
    assert words(some, some).endswith("both differences can be told from zero at 95 %.")
    assert "at 95 % the ratios can be told apart, the returns cannot." in words(some, none)
    assert "at 95 % the returns can be told apart, the ratios cannot." in words(none, some)
    assert "p = 0.041" in words(some, some)  # rounded up


def test_alpha_and_beta_are_those_of_statsmodels():
    returns, benchmark = market(10, 0.0002, count=500)
    ours = regression(returns["s0"], benchmark, DAILY)
    excess, market_excess = returns["s0"] - 0.005 / 252, benchmark - 0.005 / 252
    model = sm.OLS(excess.to_numpy(), sm.add_constant(market_excess.to_numpy()))
    theirs = model.fit(cov_type="HAC", cov_kwds={"maxlags": 5}, use_t=True)  # floor(4 * 5^(2/9)) = 5
    alpha, beta = theirs.conf_int()
    assert (ours.alpha.value, ours.beta.value) == pytest.approx((252 * theirs.params[0], theirs.params[1]), rel=1e-9)
    assert (ours.alpha.t, ours.beta.t) == pytest.approx(tuple(theirs.tvalues), rel=1e-9)
    assert (ours.alpha.low, ours.alpha.high) == pytest.approx(tuple(252 * alpha), rel=1e-9)
    assert (ours.beta.low, ours.beta.high) == pytest.approx(tuple(beta), rel=1e-9)
    assert f"Newey\N{EN DASH}West t = {theirs.tvalues[0]:.2f}" in ours.in_words()


# --- many strategies


def test_spa_of_one_strategy_is_that_of_arch():
    """Of one strategy, neither the scale of its gains nor the first-order expansion of a mean's logarithm matters."""
    returns, benchmark = market(12, 0.00015)
    logarithms = np.log1p(returns["s0"].to_numpy()), np.log1p(benchmark.to_numpy())
    _, growth = superior_ability(returns, benchmark, DAILY, seed=5)
    (comparison,) = compare(returns, benchmark, DAILY, seed=5, draws=99)
    # the growth of each enters with its own level, so the same is told to arch
    levels = [252 * math.exp(252 * x.mean()) for x in logarithms]
    series = [math.exp(252 * x.mean()) + level * (x - x.mean()) for x, level in zip(logarithms, levels, strict=True)]
    theirs = SPA(-series[1], -series[0], block_size=comparison.block, reps=1999, seed=5)
    theirs.compute()
    assert growth.p == pytest.approx((1 + 1999 * theirs.pvalues["consistent"]) / 2000)


def test_spa_of_one_strategy_is_half_of_the_two_sided_p():
    """Up to studentised draws and expansion: 0.03 at 250 days."""
    returns, benchmark = market(12, 0.00015)
    (comparison,) = compare(returns, benchmark, DAILY, seed=5)
    for test, difference in zip(
        superior_ability(returns, benchmark, DAILY, seed=5), (comparison.sharpe, comparison.annual_return), strict=True
    ):
        assert difference.value > 0
        assert test.p == pytest.approx(difference.p / 2, abs=0.03)


def test_a_wild_strategy_does_not_hide_a_good_one():
    """arch alone, which compares raw means, finds nothing here."""
    returns, benchmark = market(14, 0.0004, count=500)
    returns["wild"] = np.random.default_rng(1).normal(0, 0.05, 500)
    raw = SPA(-benchmark.to_numpy(), -returns.to_numpy(), block_size=2, reps=999, seed=1)
    raw.compute()
    assert raw.pvalues["consistent"] > 0.05
    for test in superior_ability(returns, benchmark, DAILY, seed=1):
        assert test.p <= 0.05 and test.best == "s0"


def test_a_better_ratio_is_found_where_the_return_is_no_better():
    _, benchmark = market(15, count=1000)
    calm = (0.5 * benchmark + 0.5 * benchmark.mean() + np.random.default_rng(2).normal(0, 5e-4, 1000)).to_frame("calm")
    ratio, growth = superior_ability(calm, benchmark, DAILY, seed=1)
    assert ratio.p <= 0.05 < growth.p


def test_without_an_edge_few_ladders_are_superior():
    """20 ladders of 8: of 5 % more than 5 reject in 0.03 % of all cases."""
    hits = np.zeros(2)
    for seed in range(20):
        hits += [test.p <= 0.05 for test in superior_ability(*market(seed, *[0.0] * 8), DAILY, seed=seed)]
    assert (hits <= 5).all()


@pytest.mark.slow
def test_without_an_edge_ladders_are_superior_at_the_nominal_rate():
    """100 ladders of 12 over 500 days: of 5 % more than 11 reject in 0.4 % of all cases."""
    hits = np.zeros(2)
    for seed in range(100):
        hits += [test.p <= 0.05 for test in superior_ability(*market(seed, *[0.0] * 12, count=500), DAILY, seed=seed)]
    assert (hits <= 11).all()


def test_a_strategy_that_is_the_benchmark_is_not_counted():
    returns, benchmark = market(16, 0.0)
    with_copy = returns.assign(copy=benchmark)
    tests = superior_ability(with_copy, benchmark, DAILY, seed=1)
    assert tests == superior_ability(returns, benchmark, DAILY, seed=1)
    with pytest.raises(ValueError, match="every strategy has the returns of equal weights"):
        superior_ability(with_copy[["copy"]], benchmark, DAILY, seed=1)


def test_the_verdict_on_a_ladder_follows_its_p():
    test = SuperiorAbility("SPY", "Sharpe ratio", 12, "minimum variance", 0.31)
    text = test.in_words().replace("\N{NO-BREAK SPACE}", " ")
    assert text.startswith("Strategies tested together against SPY: 12. minimum variance has the strongest evidence")
    assert text.endswith("(Hansen's SPA: p = 0.310): at 95 % none can be said to be better than SPY.")
    text = replace(test, p=0.0005).in_words().replace("\N{NO-BREAK SPACE}", " ")
    assert text.endswith("p < 0.001): at 95 % at least one is better than SPY, allowing for their number.")


# --- seeds and errors


def test_a_figure_over_seeds_has_median_and_range():
    spread = over_seeds([0.73, 0.69, 0.78, 0.71])
    assert (spread.seeds, spread.median, spread.low, spread.high) == (4, pytest.approx(0.72), 0.69, 0.78)


@pytest.mark.parametrize("values", [[], [0.7, math.nan]])
def test_a_figure_that_a_seed_lacks_has_no_spread(values):
    with pytest.raises(ValueError, match="needs a finite value of each"):
        over_seeds(values)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_returns_that_are_none_are_refused_by_name(value):
    returns, benchmark = market(1, 0.0, 0.0)
    returns.loc[3, "s1"] = value
    for function in (compare, superior_ability):
        with pytest.raises(ValueError, match="the returns of s1 are constant, missing or not above -1"):
            function(returns, benchmark, DAILY, seed=1)


def test_a_benchmark_that_does_not_move_is_refused():
    returns, benchmark = market(1, 0.0)
    with pytest.raises(ValueError, match="the returns of equal weights are constant"):
        regression(returns["s0"], benchmark * 0, DAILY)


def test_returns_of_different_times_are_refused():
    returns, benchmark = market(1, 0.0)
    with pytest.raises(ValueError, match="the strategies and equal weights have returns of different times"):
        compare(returns.iloc[1:], benchmark, DAILY, seed=1)


def test_two_years_of_months_are_the_least():
    returns, benchmark = market(1, 0.0, count=24)
    assert compare(returns, benchmark, MONTHLY, seed=1, draws=99)[0].years == 2
    with pytest.raises(ValueError, match="23 returns are too few"):
        compare(returns.iloc[1:], benchmark.iloc[1:], MONTHLY, seed=1)
