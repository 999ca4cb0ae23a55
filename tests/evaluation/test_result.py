"""Reading LEAN results, of the real engine and of the embedded host."""

import math
from datetime import date

import numpy as np
import pandas as pd
import pytest

from evaluation.result import ResultError, read_result

RECORDED = ["real_hash_1e6_top10", "parity_hash_adjusted", "api"]


def test_a_sample_belongs_to_the_day_that_it_ends(host_result):
    days = host_result.samples["day"]
    assert days.iloc[0] == pd.Timestamp("2013-06-02")
    assert days.iloc[1] == pd.Timestamp("2013-06-03")
    assert days.iloc[-1] == pd.Timestamp("2015-06-30")
    assert (days.diff().iloc[1:] == pd.Timedelta(days=1)).all()  # through both changes of the clocks


def test_the_first_sample_is_the_cash_and_the_last_the_end_equity(host_result):
    equity = host_result.samples["equity"]
    assert equity.iloc[0] == host_result.cash == 1_000_000
    assert f"{equity.iloc[-1]:.2f}".rstrip("0").rstrip(".") == host_result.statistics["End Equity"]


def test_daily_returns_link_the_daily_equity(host_result):
    samples = host_result.samples
    np.testing.assert_allclose(samples["return"].iloc[1:], samples["equity"].pct_change().iloc[1:], atol=1e-8)


@pytest.mark.parametrize("leverage", ["1", "2"])
def test_weights_are_those_the_algorithm_saw_at_any_leverage(run_host, leverage):
    result = read_result(run_host(leverage=leverage))
    last = result.weights.iloc[-1]
    for ticker in ("ALFA", "BETA", "GAMA"):
        seen = float(result.runtime_statistics[f"Weight {ticker}"])
        assert last[ticker] == pytest.approx(seen, abs=2e-4)  # LEAN keeps four digits of margin and of exposure


def test_own_plots_are_told_from_leans_charts(host_result):
    assert set(host_result.plots) == {"Learning"}
    loss = host_result.plots["Learning"]["loss"]
    assert len(loss) == 25
    assert loss.iloc[0] == pytest.approx(1 / 6, abs=1e-7)


@pytest.mark.parametrize("name", RECORDED)
def test_results_of_the_real_engine_are_read(recorded, name):
    result = read_result(recorded(name))
    samples = result.samples
    assert result.status == "Completed" and result.version == "v2.5.0.0"
    assert result.name == name  # LEAN calls a run without a name "local": the file's name says more
    assert samples["equity"].iloc[-1] / result.cash - 1 == pytest.approx(
        float(result.statistics["Net Profit"].rstrip("%")) / 100, abs=5e-6
    )
    assert samples["benchmark"].gt(0).all()
    held = samples["exposure"] > 0
    np.testing.assert_allclose(result.weights[held].sum(axis=1), samples["exposure"][held], rtol=1e-12)


def test_a_series_for_the_rest_counts_in_the_sum_but_is_no_position(changed, host_result):
    def add_the_rest(content):
        series = content["charts"]["Portfolio Margin"]["series"]
        series["OTHERS"] = {"name": "OTHERS", "values": series["ALFA"]["values"]}

    result = read_result(changed(add_the_rest))
    assert "OTHERS" not in result.weights
    total = result.weights.sum(axis=1) + result.weights["ALFA"]
    held = result.samples["exposure"] > 0
    np.testing.assert_allclose(total[held], result.samples["exposure"][held], rtol=1e-12)


def test_a_run_that_failed_at_once_has_no_samples_and_its_error(failed_file):
    result = read_result(failed_file)
    assert result.samples.empty and result.weights.empty
    assert math.isnan(result.cash)
    assert result.status == "RuntimeError" and "broken <on> purpose" in result.error
    assert result.planned == (date(2013, 6, 3), date(2015, 6, 30))


def test_a_benchmark_without_prices_is_missing_not_zero(changed):
    def no_prices(content):
        for point in content["charts"]["Benchmark"]["series"]["Benchmark"]["values"]:
            point[1] = 0.0

    assert read_result(changed(no_prices)).samples["benchmark"].isna().all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a LEAN result"),
        ('{"charts": {}}', "is not a LEAN result"),
        ('{"charts": {}, "statistics": {}, "algorithmConfiguration": {}}', "is a summary without daily returns"),
        ('{"charts": {}, "statistics": {}, "algorithmConfiguration": {}, "orders": {}}', "KeyError"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, content, reason):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ResultError, match=reason) as refusal:
        read_result(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_result_without_statistics_is_refused_in_a_sentence(changed):
    with pytest.raises(ResultError, match="has no statistics: LEAN leaves them all out where one is too large"):
        read_result(changed(lambda content: content["statistics"].clear()))


def test_leans_own_other_files_are_refused(host_file):
    for ending, reason in (("-summary", "a summary"), ("-order-events", "not a LEAN result")):
        with pytest.raises(ResultError, match=reason):
            read_result(host_file.with_name(f"{host_file.stem}{ending}.json"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ResultError, match=r"nowhere\.json cannot be read: No such file"):
        read_result(tmp_path / "nowhere.json")
