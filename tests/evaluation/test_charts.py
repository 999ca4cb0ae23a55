"""Charts: that the drawing says what the numbers say."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from evaluation.charts import HEIGHT, WIDTH, Line, compact, heat_map, line_chart, number, percent

DAYS = pd.date_range("2015-01-01", periods=5, freq="YS")


def path_of(chart, style, drawing=0):
    return dict(chart.drawings[drawing].paths)[style]


def points(path):
    """The corners of a path of one `M` and relative `l` moves."""
    start, moves = re.fullmatch(r"M(\d+ -?\d+)l(.*)", path).groups()
    steps = np.array([[int(v) for v in part.split()] for part in [start, *re.findall(r"-?\d+ -?\d+", moves)]])
    return np.cumsum(steps, axis=0)


def test_a_line_passes_through_its_values():
    values = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    corners = points(path_of(line_chart("", DAYS, [Line("a", values, "strategy")], "number"), "line strategy"))
    assert corners[0][0] == 0 and corners[-1][0] == WIDTH
    y = corners[:, 1]
    slope = (y[3] - y[0]) / (values[3] - values[0])
    np.testing.assert_allclose(y, y[0] + slope * (values - values[0]), atol=1)  # whole units of 1000
    assert slope < 0  # up on the page is down in SVG
    assert y.min() >= 0 and y.max() <= HEIGHT


def test_the_marks_of_an_axis_stand_at_their_values():
    values = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    chart = line_chart("", DAYS, [Line("a", values, "strategy")], "percent")
    corners = points(path_of(chart, "line strategy"))
    marks = {tick.text.split("\N{NO-BREAK SPACE}")[0]: tick.at for tick in chart.drawings[0].y_ticks}
    assert marks["0"] == pytest.approx(100 - 100 * corners[0][1] / HEIGHT, abs=0.1)
    assert marks["100"] == pytest.approx(100 - 100 * corners[-1][1] / HEIGHT, abs=0.1)


def test_equal_growth_is_a_straight_line_on_the_logarithmic_scale():
    days = pd.date_range("2015-01-01", periods=6, freq="D")
    chart = line_chart("", days, [Line("a", 2.0 ** np.arange(6), "strategy")], "money", both_scales=True)
    rises = np.diff(points(path_of(chart, "line strategy", drawing=1))[:, 1])
    assert np.ptp(rises) <= 1
    assert [tick.text for tick in chart.drawings[1].y_ticks] == ["$1", "$2", "$5", "$10", "$20"]


def test_there_is_no_logarithmic_scale_where_a_value_is_not_positive():
    chart = line_chart("", DAYS, [Line("a", np.array([0.0, 1, 2, 3, 4]), "strategy")], "number", both_scales=True)
    assert len(chart.drawings) == 1


def test_a_gap_in_the_values_is_a_gap_in_the_line():
    values = np.array([1.0, 2.0, np.nan, 2.0, 1.0])
    chart = line_chart("", DAYS, [Line("a", values, "strategy")], "number")
    assert path_of(chart, "line strategy").count("M") == 2
    assert json.loads(chart.hover)["lines"][0]["values"] == [1, 2, None, 2, 1]


def test_the_values_under_the_pointer_are_those_given():
    chart = line_chart("", DAYS, [Line("a", np.array([0.123456, 2, 3, 4, 5]), "strategy")], "number")
    hover = json.loads(chart.hover)
    assert hover["lines"][0]["values"][0] == 0.12346
    assert list(np.cumsum(hover["days"]).astype("datetime64[D]")) == list(DAYS.to_numpy("datetime64[D]"))


def test_no_name_can_end_the_script_that_holds_it():
    chart = line_chart("", DAYS, [Line("</script><b>", np.ones(5), "strategy")], "number")
    assert "<" not in chart.hover
    assert json.loads(chart.hover)["lines"][0]["name"] == "</script><b>"


def test_bars_stand_on_zero():
    chart = line_chart("", DAYS, [Line("a", np.array([np.nan, 1.0, 2.0, 0.0, 4.0]), "strategy", "bar")], "number")
    bars = re.findall(r"M(\d+) (\d+)V(\d+)H(\d+)V(\d+)z", path_of(chart, "bar strategy"))
    assert len(bars) == 4
    assert all(foot == close == str(HEIGHT) for _, foot, _, _, close in bars)
    heights = [HEIGHT - int(top) for _, _, top, _, _ in bars]
    np.testing.assert_allclose(np.array(heights) / heights[-1], [0.25, 0.5, 0, 1], atol=2e-3)


def test_a_heat_map_has_a_darker_cell_for_a_larger_value_and_none_for_nothing():
    values = np.array([[0.01, 0.08, np.nan], [0.0, 0.04, 0.04]])
    chart = heat_map("", pd.date_range("2015-01-31", periods=3, freq="ME"), ["A", "B"], values, "percent")
    cells = {style: len(re.findall("M", path)) for style, path in chart.drawings[0].paths if path}
    assert cells == {"heat shade-1": 1, "heat shade-4": 1, "heat shade-8": 1}  # B's two are one run
    assert [text for _, text in chart.legend][-1] == "to 8\N{NO-BREAK SPACE}%"
    assert [tick.text for tick in chart.drawings[0].y_ticks] == ["A", "B"]


@pytest.mark.parametrize(
    ("first", "last", "marks"),
    [
        ("2009-06-01", "2013-02-01", ["2010", "2011", "2012", "2013"]),
        ("2014-11-15", "2016-01-10", ["2015", "Apr", "Jul", "Oct", "2016"]),
        ("2018-02-01", "2018-04-15", ["Feb", "Mar", "Apr"]),
    ],
)
def test_the_days_of_an_axis_are_marked_as_its_length_allows(first, last, marks):
    days = pd.DatetimeIndex([first, last])
    chart = line_chart("", days, [Line("a", np.array([1.0, 2.0]), "strategy")], "number")
    assert [tick.text for tick in chart.x_ticks] == marks
    assert all(0 <= tick.at <= 100 for tick in chart.x_ticks)


def test_a_single_value_is_drawn():
    chart = line_chart("", DAYS[:1], [Line("a", np.array([3.0]), "strategy")], "number")
    assert path_of(chart, "line strategy") == f"M{WIDTH // 2} {HEIGHT // 2}"


def test_numbers_are_written_for_people():
    assert number(-1234.5, 1) == "\N{MINUS SIGN}1,234.5"
    assert number(-0.0004, 3) == "0.000"
    assert number(float("nan"), 2) == "\N{EN DASH}"
    assert percent(0.1234) == "12.3\N{NO-BREAK SPACE}%"
    assert [compact(v) for v in (1.234e9, 86_300, -0.0126, 0)] == ["1.23B", "86.3K", "\N{MINUS SIGN}0.0126", "0"]
