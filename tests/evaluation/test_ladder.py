"""What the ladder says of runs: figures, comparisons, the holdout that choosing never sees, and rungs that failed."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from evaluation import ladder as rungs
from evaluation.ladder import CONTROL, EQUAL, RUNGS, SPY, Rung, chronos, jobs_of, judge
from evaluation.ledger import Trials
from evaluation.performance import daily_returns, strategy_performance
from evaluation.runs import RunFailed
from settings import Settings

TRIALS = Trials(count=8, variance=0.1, unreadable=0)


def row(ladder, title):
    return next(row for row in ladder.rows if row.title == title)


def split(outcomes, title):
    """The rung of that title and its results."""
    return next((rung, some) for rung, some in outcomes.items() if rung.title == title)


# --- rungs


def test_every_rung_has_a_title_of_its_own_and_parameters_that_the_settings_accept():
    assert len({rung.title for rung in RUNGS}) == len(RUNGS)
    read = [Settings.from_parameters(rung.parameters) for rung in RUNGS]
    assert len(set(read)) == len(RUNGS)


def test_every_variant_changes_one_setting():
    bases = {"linear": {"allocator": "linear"}, "t5": {"allocator": "t5", "backbone": "tiny-random"}}
    variants = [rung.parameters for rung in RUNGS if rung.group == "One change each"]
    assert len(variants) == 13
    for parameters in variants:
        base = bases[parameters["allocator"]]
        assert len(parameters.items() - base.items()) == 1 and parameters.items() >= base.items()


def test_only_what_is_random_has_seeds():
    jobs = {rung.title: jobs_of(rung, 3, {"end": "2010-12-31"}) for rung in RUNGS}
    assert [dict(job.parameters) for job in jobs[EQUAL]] == [{"end": "2010-12-31", "allocator": "equal"}]
    assert [job.parameters["seed"] for job in jobs[CONTROL]] == ["1", "2", "3"]
    assert [job.name for job in jobs[CONTROL]] == [f"{CONTROL}, seed {seed}" for seed in (1, 2, 3)]
    assert all(rung.seeded == (rung.parameters["allocator"] == "t5") for rung in RUNGS)


def test_a_folder_of_weights_is_named_without_its_path(tmp_path: Path):
    (tmp_path / "weights").mkdir()
    assert chronos(str(tmp_path / "weights")).title == "weights with LoRA"
    assert chronos("amazon/chronos-t5-small").title == "amazon/chronos-t5-small with LoRA"


# --- figures


def test_rows_are_the_benchmark_and_then_the_rungs_in_order(ladder, outcomes):
    assert [row.title for row in ladder.rows] == [SPY, *(rung.title for rung in outcomes)]


def test_figures_are_medians_and_ranges_over_seeds(ladder, outcomes):
    _, results = split(outcomes, CONTROL)
    sharpes = [strategy_performance(result, result.trading_days).sharpe for result in results]
    spread = row(ladder, CONTROL).figures["sharpe"]
    assert (spread.seeds, spread.median, spread.low, spread.high) == (
        3,
        np.median(sharpes),
        min(sharpes),
        max(sharpes),
    )
    figures = row(ladder, EQUAL).figures
    assert figures["fees"].median == 1_234_500.50
    assert figures["names"].median == 22.0
    assert figures["turnover"].median == pytest.approx(0.02 * 365.25)


def test_the_returns_of_a_seeded_rung_are_those_of_a_portfolio_split_between_its_seeds(ladder, outcomes):
    _, results = split(outcomes, CONTROL)
    daily = np.mean([daily_returns(result)["return"] for result in results], axis=0)
    np.testing.assert_allclose(ladder.returns[CONTROL], daily, rtol=1e-12)
    assert ladder.by_seed[CONTROL].shape == (1100, 3)


def test_the_benchmark_compared_with_itself_has_beta_one_and_no_alpha(ladder):
    figures = row(ladder, SPY).figures
    assert figures["beta"].median == pytest.approx(1)
    assert figures["alpha"].median == pytest.approx(0, abs=1e-12)
    assert SPY not in row(ladder, SPY).against and EQUAL in row(ladder, SPY).against


def test_a_rung_that_is_truly_better_is_told_apart_and_the_others_are_not(ladder):
    assert row(ladder, "linear softmax").against[EQUAL].sharpe.distinct
    assert row(ladder, "linear softmax").alpha.alpha.distinct
    assert not row(ladder, CONTROL).against[EQUAL].sharpe.distinct
    assert ladder.chosen == "linear softmax"
    assert any("both differences can be told from zero" in sentence for sentence in ladder.words)
    assert any("at least one is better than equal weights" in sentence for sentence in ladder.words)


def test_only_networks_are_compared_with_the_random_encoder(ladder):
    compared = {row.title for row in ladder.rows if CONTROL in row.against}
    assert compared == {row.title for row in ladder.rows if row.group == "Networks"} - {CONTROL}


def test_a_rung_with_a_failed_run_has_its_reasons_and_no_figures(ladder):
    broken = row(ladder, "broken")
    assert broken.figures == {} and broken.against == {} and broken.alpha is None
    assert broken.failures == ("2010-01-04 10:00:00 Runtime Error: <i>no</i> memory", "another reason")
    assert "broken" not in ladder.returns and "broken" not in ladder.by_seed


def test_a_ladder_whose_rungs_all_failed_says_why():
    failed = {Rung("one", "Rules", {}): [RunFailed("no bars")], Rung("two", "Rules", {}): [RunFailed("none either")]}
    with pytest.raises(RunFailed, match="no rung was run to its end: no bars"):
        judge(failed, 1, TRIALS)


def test_the_ladder_goes_through_json_and_back(ladder):
    content = ladder.as_dict()
    back = json.loads(json.dumps(content, allow_nan=False))
    assert back["rows"][2]["figures"]["sharpe"] == content["rows"][2]["figures"]["sharpe"]
    assert back["rows"][2]["against"][EQUAL]["sharpe"] == content["rows"][2]["against"][EQUAL]["sharpe"]
    assert back["words"] == list(ladder.words)
    assert (date.fromisoformat(back["first"]), date.fromisoformat(back["last"])) == (ladder.first, ladder.last)


# --- the holdout


@pytest.mark.parametrize(
    ("days", "holdout"),
    [
        (11 * 365, date(2018, 1, 1)),  # two years
        (1000, date(2019, 6, 15)),  # a fifth: 200 days, the first and the last included
    ],
)
def test_the_holdout_is_the_last_two_years_or_the_last_fifth(invented, days, holdout):
    rng = np.random.default_rng(0)
    market = rng.normal(0, 0.01, days)
    found = judge({Rung(EQUAL, "Rules", {}): [invented(market + 0.001, market)]}, 1, TRIALS)
    assert found.holdout == holdout


def test_nothing_in_the_holdout_changes_what_is_chosen(invented, monkeypatch):
    """Ten learners that differ by luck: returns in the holdout are drawn anew, by far larger ones, and then those
    before it."""
    for test in ("compare", "superior_ability"):  # slow, and no part of choosing
        monkeypatch.setattr(rungs, test, lambda *_, **__: [])
    rng = np.random.default_rng(3)
    market = rng.normal(0.0003, 0.01, 500)
    luck = rng.normal(0, 0.004, (10, 500))
    titles = [f"learner {i}" for i in range(10)]

    def choice(returns):
        results = {
            Rung(title, "Online learners", {}): [invented(market + own, market)]
            for title, own in zip(titles, returns, strict=True)
        }
        found = judge({Rung(EQUAL, "Rules", {}): [invented(market, market)], **results}, 1, TRIALS)
        assert int((found.returns.index.date >= found.holdout).sum()) == 100
        return found.chosen

    first = choice(luck)
    again, before = set(), set()
    for _ in range(6):
        drawn = rng.normal(0, 0.02, luck.shape)
        again.add(choice(np.hstack((luck[:, :400], drawn[:, 400:]))))
        before.add(choice(np.hstack((drawn[:, :400], luck[:, 400:]))))
    assert again == {first}
    assert len(before) > 1


# --- what cannot be tested


@pytest.mark.parametrize("days", [1, 2, 23])
def test_too_few_returns_are_shown_without_a_test(invented, days):
    rng = np.random.default_rng(0)
    market = rng.normal(0, 0.01, days)
    results = {
        Rung(EQUAL, "Rules", {}): [invented(market, market)],
        Rung("linear softmax", "Online learners", {}): [invented(market * 1.1, market)],
    }
    found = judge(results, 1, TRIALS)
    assert all(not row.against and row.alpha is None for row in found.rows)
    assert not any("can be told" in sentence or "SPA" in sentence for sentence in found.words)


def test_a_run_without_a_single_return_is_refused(invented):
    with pytest.raises(RunFailed, match="2013-06-03 to 2015-06-30 has no daily returns: choose a longer period"):
        judge({Rung(EQUAL, "Rules", {}): [invented(np.zeros(0), np.zeros(0))]}, 1, TRIALS)


def test_a_rung_that_never_traded_lost_everything_or_copied_another_spoils_no_other(invented, outcomes):
    equal, (result,) = split(outcomes, EQUAL)
    market = daily_returns(result)["benchmark"].to_numpy()
    own = daily_returns(result)["return"].to_numpy()
    ruin = np.where(np.arange(len(own)) == 50, -1.0, 0.0)
    found = judge(
        {
            Rung("never traded", "Rules", {}): [invented(np.zeros(len(market)), market)],
            equal: [result],
            Rung("ruined", "Rules", {}): [invented(ruin, market)],
            Rung("linear softmax", "Online learners", {}): [result],
        },
        1,
        TRIALS,
    )
    assert row(found, "never traded").against == row(found, "ruined").against == {}
    assert "sharpe" not in row(found, "never traded").figures
    assert row(found, EQUAL).figures["sharpe"].median == pytest.approx(
        strategy_performance(result, result.trading_days).sharpe
    )
    assert row(found, "linear softmax").against[EQUAL].sharpe.p == 1


def test_without_a_benchmark_rungs_are_still_compared_with_equal_weights(outcomes):
    def alone(result):
        return replace(result, samples=result.samples.assign(benchmark=np.nan))

    known = {rung: [alone(result) for result in some] for rung, some in outcomes.items() if rung.title != "broken"}
    found = judge(known, 3, TRIALS)
    assert set(row(found, "linear softmax").against) == {EQUAL}
    assert row(found, SPY).against == {} and row(found, SPY).figures == {}


def test_the_ladder_of_a_single_rung_is_judged_too(outcomes):
    equal, results = split(outcomes, EQUAL)
    found = judge({equal: results}, 1, TRIALS)
    assert found.chosen == "" and set(row(found, EQUAL).against) == {SPY}
