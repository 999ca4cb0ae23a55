"""main.py as a whole, on the embedded host: the calendar, no look-ahead, determinism, faults."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from model.checkpoint import unpack
from tests.bars import rewrite_bars

HALF_A_YEAR = {"start": "2011-01-03", "end": "2011-06-30"}


def decisions(run):
    """Instant -> (stocks, weights) of every decision of a run, from the states it saved."""
    found = {}
    for content in run.states:
        decision = unpack(content).decision
        if decision is not None:
            found[decision.market.instant] = (decision.market.stocks, decision.weights)
    return found


@pytest.fixture(scope="module")
def half_a_year(demo_market, tmp_path_factory):
    """One ordinary run, shared by the tests that only look at it."""
    from tests.conftest import run_strategy

    return run_strategy.__wrapped__(tmp_path_factory.mktemp("run"))(demo_market, **HALF_A_YEAR)


def test_each_month_has_one_decision_and_one_step(half_a_year):
    assert half_a_year.failure is None
    assert len(decisions(half_a_year)) == 6
    # saved with the decision, with its orders, and with the step
    assert [unpack(content).step for content in half_a_year.states] == [k for n in range(6) for k in (n, n, n + 1)]


def test_the_month_a_backtest_starts_in_is_traded(half_a_year):
    first = half_a_year.engine.brokerage.orders[0]
    assert f"{first.time}" == "2011-01-03 14:00:00"  # 09:00 in New York
    assert f"{first.last_fill_time}" == "2011-01-03 21:00:00"


def test_decisions_are_made_before_the_open_and_steps_after_the_close(half_a_year):
    for instant in decisions(half_a_year):
        assert (instant.hour, instant.minute) == (9, 0)
    learnt = [line for line in half_a_year.lines if " step " in line]
    assert len(learnt) == 6
    assert learnt[0].startswith("2011-01-31 16:01:00 2011-01: ")


def test_the_universe_changes_with_the_first_data_of_a_quarter_only(half_a_year):
    stocks = [set(stocks) for stocks, _ in decisions(half_a_year).values()]
    assert stocks[0] == stocks[1] == stocks[2]
    assert stocks[3] == stocks[4] == stocks[5]
    assert stocks[2] != stocks[3]


def test_charts_and_statistics_tell_of_the_learning(half_a_year):
    recorder = half_a_year.engine.results()
    assert recorder.statistics()["Learning Steps"] == "6"
    assert recorder.statistics()["Backbone"] == "tiny-random"
    assert recorder.runtime_statistics()["Learning Steps"] == "6"


def test_each_month_charts_what_was_learnt_and_how_far_the_weights_moved(half_a_year):
    learnt = unpack(half_a_year.states[-1]).extra["learnt"]
    assert [record["month"] for record in learnt] == [f"2011-{month:02d}" for month in range(1, 7)]
    for record in learnt:
        assert 1 < record["effective names"] <= 20
        assert 0 < record["active share"] < 1
        assert 0 <= record["turnover"] <= 1
        assert record["step KL"] > 0
        assert record["fallbacks"] == 0
    assert learnt[0]["turnover"] == 1.0  # from cash


def test_active_share_and_turnover_are_those_of_the_weights(run_strategy, demo_market):
    run = run_strategy(demo_market, **HALF_A_YEAR, allocator="cap")
    records = unpack(run.states[-1]).extra["learnt"]
    market = next(unpack(state).decision for state in run.states).market
    left_out = 1 - market.caps[market.tradable].sum() / market.caps.sum()
    assert records[0]["active share"] == pytest.approx(left_out, abs=1e-9)  # what cap weights cannot hold


def test_a_month_that_fell_back_to_fp32_is_counted_charted_and_logged(run_strategy, demo_market, monkeypatch):
    from model.learner import OnlineLearner

    learn = OnlineLearner.learn
    monkeypatch.setattr(OnlineLearner, "learn", lambda self, returns: replace(learn(self, returns), fallbacks=1))
    run = run_strategy(demo_market, start="2011-01-03", end="2011-02-28", allocator="linear")
    recorder = run.engine.results()
    assert recorder.runtime_statistics()["Fallbacks"] == "2"
    assert sum("fell back to fp32" in line for line in run.lines) == 2


def test_two_runs_with_one_seed_give_the_same_bytes(half_a_year, run_strategy, demo_market):
    again = run_strategy(demo_market, **HALF_A_YEAR)
    assert again.states == half_a_year.states
    assert again.lines[:-1] == half_a_year.lines[:-1]  # the last one has seconds in it


def test_another_seed_gives_other_weights(half_a_year, run_strategy, demo_market):
    other = run_strategy(demo_market, **HALF_A_YEAR, seed=2)
    for instant, (stocks, weights) in decisions(half_a_year).items():
        assert stocks == decisions(other)[instant][0]
        assert not np.array_equal(weights, decisions(other)[instant][1])


def test_no_price_after_a_decision_changes_a_weight_of_that_month_or_before(
    half_a_year, run_strategy, demo_market, tmp_path
):
    altered = tmp_path / "altered"
    shutil.copytree(demo_market, altered)
    rng = np.random.default_rng(5)

    def change(ticker, day, bar):
        if day < "20110401":
            return bar
        low, factor = sorted(rng.uniform(0.5, 2.0, 2))
        return [int(price * factor) for price in bar[:2]] + [int(bar[2] * low), int(bar[3] * factor), bar[4] * 3]

    rewrite_bars(altered, change)
    before, after = decisions(half_a_year), decisions(run_strategy(altered, **HALF_A_YEAR))
    same = [
        instant
        for instant in before
        if before[instant][0] == after[instant][0] and np.array_equal(before[instant][1], after[instant][1])
    ]
    assert same == [instant for instant in before if instant.month <= 4]  # 2011-04-01 is decided before its bar


def test_a_split_that_is_still_to_come_changes_no_weight(half_a_year, run_strategy, demo_market, tmp_path):
    """Adjusted prices carry later factors; what the model sees may not. Halving is exact in binary."""
    altered = tmp_path / "altered"
    shutil.copytree(demo_market, altered)
    stocks, _ = decisions(half_a_year)[min(decisions(half_a_year))]
    ticker = stocks[0].split()[0].lower()
    factors = altered / "equity" / "usa" / "factor_files" / f"{ticker}.csv"
    rows = []
    for row in factors.read_text().splitlines():
        day, price, split, reference = row.split(",")
        rows.append(",".join([day, price, str(float(split) / 2) if day < "20111230" else split, reference]))
    factors.write_text("\n".join(rows) + "\n")
    before, after = decisions(half_a_year), decisions(run_strategy(altered, **HALF_A_YEAR))
    for instant, (names, weights) in before.items():
        assert after[instant][0] == names
        assert np.array_equal(after[instant][1], weights)


def test_too_few_usable_stocks_leave_the_positions_as_they_are(run_strategy, demo_market):
    run = run_strategy(demo_market, start="2010-02-01", end="2010-04-30")
    assert run.failure is None
    assert not run.engine.brokerage.orders
    assert run.lines[1:-1] == [
        f"2010-0{month}-01 09:00:00 2010-0{month}: no constituents of SPY have arrived yet: "
        "the positions stay as they are"
        for month in (2, 3, 4)
    ]


def test_stocks_without_enough_bars_sit_the_month_out_and_are_counted(run_strategy, demo_market):
    run = run_strategy(demo_market, start="2011-01-03", end="2011-01-31", n_stocks=24)
    _, weights = next(iter(decisions(run).values()))
    left_out = int((weights == 0).sum())
    assert left_out > 0
    assert f" {left_out} left out, " in run.lines[-3]


def test_an_unknown_parameter_stops_the_run_with_the_nearest_name(run_strategy, demo_market):
    run = run_strategy(demo_market, learning_rat="1")
    assert "unknown parameter 'learning_rat': did you mean 'learning_rate'?" in run.failure.message


def test_a_backbone_that_cannot_be_had_is_named_with_those_that_work_offline(run_strategy, demo_market):
    run = run_strategy(demo_market, **HALF_A_YEAR, backbone="amazon/chronos-t5-large")
    assert "amazon/chronos-t5-large" in run.failure.message
    assert "tiny-random" in run.failure.message
    assert not run.engine.brokerage.orders


def test_a_weight_too_small_for_lean_is_sold_and_not_passed_over(run_strategy, demo_market, monkeypatch):
    """Of weights down to 1e-22, which a softmax gives, LEAN keeps the old positions beside the new ones."""
    from model.baselines import RULES

    def turning(market):
        weights = RULES["cap"](market)
        if market.instant.month > 1:
            weights = np.where(np.arange(len(weights)) % 2, weights, weights * 1e-20)
        return weights / weights.sum()

    monkeypatch.setitem(RULES, "equal", turning)
    run = run_strategy(demo_market, start="2011-01-03", end="2011-03-31", allocator="equal")
    assert run.failure is None
    assert not [line for line in run.lines if "skipped" in line]
    exposure = 1 - float(run.engine.portfolio.cash / run.engine.portfolio.total_value())
    assert 0.9 < exposure <= 1
