"""The ladder's page and picture: its numbers, the geometry of the intervals, failures, and names that stay text."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from evaluation.charts import number
from evaluation.ladder import CONTROL, EQUAL, SPY
from evaluation.ladder_sheet import COLUMNS, cells, ladder_picture, ladder_sheet, whiskers
from evaluation.significance import Difference
from tests.evaluation.conftest import ODD
from tests.evaluation.pages import Page

NONE = "\N{EN DASH}"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def html(ladder):
    return ladder_sheet(ladder)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def rungs_of(page):
    return {row[0]: row[1:] for row in page.tables["rungs"] if len(row) > 1}


def test_the_page_asks_no_other_for_anything(html, page):
    links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert set(links) <= {"data:,", "#significance"}
    assert not re.search(r"url\(|@import|https?:|//\w+\.", html.replace("// Values", ""))
    assert "default-src 'none'" in html


def test_every_rung_has_its_row_of_figures(page, ladder):
    table = rungs_of(page)
    assert list(table) == ["Rung", *(row.title for row in ladder.rows)]
    assert table["Rung"] == [heading for heading, *_ in COLUMNS]
    for row in ladder.rows:
        if not row.failures:
            assert table[row.title] == [median + span for median, span in cells(row)]


def test_cells_hold_the_median_in_the_columns_unit_and_the_range_over_seeds(ladder):
    row = next(row for row in ladder.rows if row.title == CONTROL)
    found = dict(zip((heading for heading, *_ in COLUMNS), cells(row), strict=True))
    growth = row.figures["annual_return"]
    assert found["CAGR, %"][0] == number(100 * growth.median, 1)
    assert found["CAGR, %"][1] == f"{number(100 * growth.low, 1)} to {number(100 * growth.high, 1)}"
    assert found["Fees, $M"] == ("1.2", "1.2 to 1.2")
    assert cells(ladder.rows[1])[0][1] == ""  # equal weights: no seeds, no range
    assert dict(zip((heading for heading, *_ in COLUMNS), cells(ladder.rows[0]), strict=True))["Names"] == (NONE, "")


def test_the_learner_that_would_have_been_chosen_is_marked(html, ladder):
    (marked,) = re.findall(r'<tr class="chosen"><th scope="row">(.*?)</th>', html)
    assert marked == ladder.chosen == "linear softmax"


def test_failed_rungs_say_how_many_runs_failed_and_why(page):
    assert rungs_of(page)["broken"] == ["2 runs failed: 2010-01-04 10:00:00 Runtime Error: <i>no</i> memory"]


def test_names_and_reasons_stay_text(html, ladder, page):
    assert "<b>" not in html and "<i>" not in html
    assert ODD in rungs_of(page) and ODD in page.text
    assert "<b>" not in ladder_picture(ladder)


def test_verdicts_stand_on_the_page_the_first_one_on_top(page, ladder):
    assert all(sentence in page.text for sentence in ladder.words)
    assert page.text.index(ladder.words[0]) < page.text.index("Rungs")
    assert page.text.count(ladder.words[0]) == 2


def test_every_chart_says_in_words_what_it_shows(page, ladder):
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("div", "aria-label")]
    charts = [label for label in labels if not label.startswith("Figures")]
    assert [label.split(". ")[0] for label in charts] == ["Growth of a dollar", CONTROL, ODD]
    assert all(label.endswith(".") and "nan" not in label for label in charts)
    end = number(float((1 + ladder.returns["linear softmax"]).prod()), 2)
    assert charts[0].endswith(f"A dollar became {end} with linear softmax.")


def test_a_fan_has_a_line_for_each_seed_and_rungs_without_seeds_have_none(html):
    assert html.count('class="line seed"') == 2 * 3
    assert html.count('class="line behind"') == 2 * 3  # of five rungs that ran, on either scale


def test_whiskers_lie_on_one_axis_with_zero_and_what_is_distinct_is_coloured(ladder, html):
    found = whiskers(ladder, EQUAL)
    differences = {row.title: row.against[EQUAL].sharpe for row in ladder.rows if EQUAL in row.against}
    assert list(found) == list(differences) and EQUAL not in found and "broken" not in found
    low = min(0, *(d.low for d in differences.values()))
    high = max(0, *(d.high for d in differences.values()))
    for title, difference in differences.items():
        places = [100 * (v - low) / (high - low) for v in (difference.low, difference.value, difference.high)]
        assert [found[title].low, found[title].value, found[title].high] == pytest.approx(places)
        assert 0 <= found[title].low <= found[title].value <= found[title].high <= 100
        assert found[title].distinct == difference.distinct
    zeros = {float(at) for at in re.findall(r'class="zero" style="left:([\d.]+)%"', html)}
    assert zeros == {round(-100 * low / (high - low), 2)}
    assert html.count('<td class="distinct"') == sum(d.distinct for d in differences.values()) > 0


@pytest.mark.parametrize(("low", "high", "zero"), [(0.1, 0.4, 0.0), (-0.4, -0.1, 100.0), (0.0, 0.0, 50.0)])
def test_the_axis_reaches_to_zero_whatever_the_differences(ladder, low, high, zero):
    row = next(row for row in ladder.rows if row.title == CONTROL)
    comparison = replace(row.against[EQUAL], sharpe=Difference((low + high) / 2, low, high, 0.01))
    alone = replace(ladder, rows=(replace(row, against={EQUAL: comparison}),))
    (whisker,) = whiskers(alone, EQUAL).values()
    assert min(whisker.low, zero) >= 0 and max(whisker.high, zero) <= 100
    assert f'class="zero" style="left:{zero}%"' in ladder_sheet(alone)


def test_a_ladder_without_tests_says_so_and_is_drawn(ladder):
    bare = replace(
        ladder,
        words=(),
        chosen="",
        rows=tuple(replace(row, against={}, alpha=None) for row in ladder.rows),
        returns=ladder.returns.iloc[:1],
        by_seed={title: frame.iloc[:1] for title, frame in ladder.by_seed.items()},
    )
    text = Page(ladder_sheet(bare)).text
    assert "There are too few returns for a test." in text and "Difference of Sharpe ratios" not in text
    assert "Growth of a dollar" in text


def test_a_ladder_that_never_moved_is_drawn(ladder):
    still = replace(ladder, returns=ladder.returns * 0, by_seed={t: f * 0 for t, f in ladder.by_seed.items()})
    assert "A dollar became 1.00 with linear softmax." in ladder_sheet(still)


def test_a_ladder_of_ten_years_is_a_light_page(ladder, html):
    returns = ladder.returns.sample(4000, replace=True, random_state=1).set_index(
        np.arange("2009-01-18", "2020-01-01", dtype="datetime64[D]")[-4000:]
    )
    many = {f"rung {i}": returns[SPY] for i in range(20)}
    page = ladder_sheet(replace(ladder, returns=returns.assign(**many)))
    assert len(html) < 120_000 and len(page.encode()) < 900_000


# --- the picture


def test_the_picture_has_a_line_for_each_difference_inside_its_frame(ladder):
    root = ElementTree.fromstring(ladder_picture(ladder))
    _, _, width, height = map(float, root.get("viewBox").split())
    found = whiskers(ladder, EQUAL)
    paths = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("class") == "reach"]
    circles = list(root.iter(f"{SVG}circle"))
    assert len(paths) == len(circles) == len(found)
    for path, circle, whisker in zip(paths, circles, found.values(), strict=True):
        left, y, right = map(float, re.fullmatch(r"M([\d.]+) (\d+)H([\d.]+)", path).groups())
        assert left <= float(circle.get("cx")) <= right
        assert left >= 230 and right <= 720 and y < height
        assert right - left == pytest.approx((whisker.high - whisker.low) * 4.9, abs=0.11)
    assert width == 900 and "Sharpe ratio from equal weights" in root.get("aria-label")


def test_long_names_do_not_reach_into_the_drawing(ladder):
    root = ElementTree.fromstring(ladder_picture(ladder))
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("x") == "0"][1:]
    assert SPY in names and any(name.endswith("…") for name in names)
    assert max(map(len, names)) <= 35
