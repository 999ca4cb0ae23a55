"""The page: its numbers against the result's, what it says of runs that failed or were controls, and the command."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.__main__ import main
from evaluation.performance import monthly_returns
from evaluation.result import read_result
from evaluation.tearsheet import NothingToDraw, picture, tear_sheet
from tests.evaluation.pages import Page

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def page(host_result):
    return Page(tear_sheet(host_result))


def test_every_statistic_and_parameter_stands_in_a_table(page, host_file):
    content = json.loads(host_file.read_text())
    assert page.table("statistics").items() >= content["statistics"].items()
    assert page.table("runtime") == content["runtimeStatistics"]
    assert page.table("parameters") == content["algorithmConfiguration"]["parameters"]
    trades = content["totalPerformance"]["tradeStatistics"]
    assert page.table("trades")["Average MAE"] == trades["averageMAE"]
    assert len(page.table("trades")) == len([value for value in trades.values() if value is not None])


def test_the_headline_numbers_are_leans_digits(page, host_result):
    for name in ("Compounding Annual Return", "Sharpe Ratio", "Drawdown", "Beta", "Alpha", "Portfolio Turnover"):
        assert page.headlines[name][0].split()[0] == host_result.statistics[name].replace("-", MINUS)


def test_the_benchmark_stands_beside_the_strategy(page):
    columns = {row[0]: row[2] for row in page.tables["statistics"] if len(row) == 3}
    assert columns["Beta"] == "1" and columns["Alpha"] == "0"
    assert columns["Compounding Annual Return"].endswith("%")
    assert columns["Compounding Annual Return"] in page.headlines["Compounding Annual Return"][1]
    assert columns["Total Fees"] == ""


def test_the_monthly_table_multiplies_to_the_net_profit(page, host_result):
    assert len(page.months) == 25
    assert f"{100 * (np.prod(1 + np.array(page.months)) - 1):.3f}%" == host_result.statistics["Net Profit"]


def test_the_totals_of_the_years_are_those_of_their_months(page):
    rows = page.tables["months"][1:]
    assert [row[0] for row in rows] == ["2013", "2014", "2015"]
    of_2014 = np.prod(1 + np.array(page.months[7:19])) - 1
    assert rows[1][13] == f"{100 * of_2014:.1f}".replace("-", MINUS)


def test_the_page_asks_no_other_for_anything(host_result):
    html = tear_sheet(host_result)
    page = Page(html)
    links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert set(links) <= {"data:,", "#significance"}
    assert not re.search(r"url\(|@import|https?:|//\w+\.", html.replace("// Values", ""))
    assert "default-src 'none'" in html


def test_every_chart_says_in_words_what_it_shows(page):
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("div", "aria-label")]
    plots = [value for _, name, value in page.attributes if name == "class" and value.startswith("plot")]
    charts = [label for label in labels if not label.startswith("Monthly returns")]
    assert len(charts) == len(plots) == 8  # equity, drawdown, two rolling, weights, two learning curves, turnover
    assert all(label.endswith(".") and "nan" not in label for label in charts)
    assert charts[0].startswith("Equity. From 2013-06-02 to 2015-06-30 $1M became $")


def test_months_without_a_place_in_the_run_are_empty(page):
    assert page.tables["months"][1][1:6] == [""] * 5  # the run begins in June


def test_a_control_without_pretrained_knowledge_is_called_one(page, run_host):
    assert "a control without pretrained knowledge" in page.text
    assert "a control" not in Page(tear_sheet(read_result(run_host(backbone="amazon/chronos-t5-large")))).text


def test_the_words_follow_the_interval(host_result):
    """A benchmark that the strategy beats by one per cent every month must be told apart; itself it cannot be."""
    samples = host_result.samples
    for monthly, words in ((0.01, "can be told from zero"), (0.0, "cannot be told apart")):
        months = np.cumsum(samples["day"].dt.month.diff().fillna(0) != 0)
        samples = samples.assign(benchmark=samples["equity"] / (1 + monthly) ** months)
        changed = host_result.__class__(**{**vars(host_result), "samples": samples})
        assert words in tear_sheet(changed)


def test_too_few_months_make_no_test(recorded):
    text = Page(tear_sheet(read_result(recorded("api")))).text
    assert "2 months are too few to tell the strategy from its benchmark" in text
    assert "cannot be told apart" not in text


def test_a_ten_year_run_of_the_real_engine_is_a_light_page(recorded):
    result = read_result(recorded("real_hash_1e6_top10"))
    html = tear_sheet(result)
    assert len(html.encode()) < 500_000
    page = Page(html)
    assert len(page.months) == 127
    np.testing.assert_allclose(page.months, monthly_returns(result)["strategy"])
    assert page.headlines["Sharpe Ratio"][0].startswith("0.68 ")
    assert "AAPL" in page.text


def test_a_failed_run_shows_its_error_and_what_there_is(failed_file):
    page = Page(tear_sheet(read_result(failed_file)))
    assert "The run did not complete (status RuntimeError, planned for 2013-06-03 to 2015-06-30)" in page.text
    assert "broken <on> purpose" in page.text  # as text, not as an element
    assert "No daily returns were recorded" in page.text
    assert page.table("parameters") == {"fail": "yes"}
    assert not page.months


def test_a_run_that_never_traded_is_shown(changed):
    def never_trade(content):
        charts = content["charts"]
        for point in charts["Strategy Equity"]["series"]["Equity"]["values"]:
            point[1:] = [1_000_000.0] * 4
        for point in charts["Strategy Equity"]["series"]["Return"]["values"]:
            point[1] = 0.0
        for name in ("Exposure", "Portfolio Margin", "Portfolio Turnover", "Assets Sales Volume"):
            del charts[name]

    page = Page(tear_sheet(read_result(changed(never_trade))))
    assert set(page.months) == {0.0}
    assert "Portfolio Turnover by month" not in page.text and "Weights" not in page.text


def test_a_run_without_a_benchmark_is_shown_alone(changed):
    html = tear_sheet(read_result(changed(lambda content: content["charts"].pop("Benchmark"))))
    page = Page(html)
    assert not any("benchmark" in text for texts in page.headlines.values() for text in texts)
    assert "nan" not in page.text.lower()
    assert 'class="line benchmark"' not in html


def test_names_in_a_result_stay_text(changed):
    def rename(content):
        content["algorithmConfiguration"]["name"] = "<b>bold</b>"
        chart = content["charts"].pop("Learning")
        chart["series"] = {"</script><i>": chart["series"]["loss"]}
        content["charts"]["<u>"] = chart

    html = tear_sheet(read_result(changed(rename)))
    assert "<b>" not in html and "<i>" not in html and "<u>" not in html
    assert "<b>bold</b>" in Page(html).text


# --- picture and command


def test_the_picture_is_a_small_svg_of_its_own(host_result):
    text = picture(host_result)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "Benchmark" in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert len(text) < 60_000


def test_there_is_no_picture_of_a_run_without_returns(failed_file):
    with pytest.raises(NothingToDraw, match="has no daily returns"):
        picture(read_result(failed_file))


def test_report_writes_beside_the_result(host_file, tmp_path):
    copy = tmp_path / "run.json"
    copy.write_bytes(host_file.read_bytes())
    outcome = CliRunner().invoke(main, ["report", str(copy), "--picture", str(tmp_path / "run.svg")])
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "run.svg").exists()
    assert re.search(r"run\.html \(\d+ kB\)", outcome.output)


def test_report_refuses_in_one_line_and_writes_nothing(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}")
    outcome = CliRunner().invoke(main, ["report", str(path)])
    assert outcome.exit_code != 0
    assert str(outcome.exception).startswith("Error: ") and "is not a LEAN result" in str(outcome.exception)
    assert not (tmp_path / "other.html").exists()


def test_report_names_a_file_that_cannot_be_written(host_file, tmp_path):
    outcome = CliRunner().invoke(main, ["report", str(host_file), "--output", str(tmp_path / "no" / "page.html")])
    assert "cannot be written: No such file" in str(outcome.exception)
