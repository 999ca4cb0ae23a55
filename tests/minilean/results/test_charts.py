"""Points of a series, and the orders in which LEAN writes charts and series."""

import json

from minilean.results.charts import BAR, CANDLE, LINE, Chart, Series, bucket, in_table_order

# The buckets of LEAN's own charts, from the order in its files.
BUCKETS = {
    "Drawdown": 8,
    "Portfolio Turnover": 12,
    "Learning": 12,
    "Exposure": 13,
    "Strategy Equity": 13,
    "Capacity": 22,
    "Assets Sales Volume": 23,
    "Portfolio Margin": 30,
    "Benchmark": 34,
}


def series(name, *points, index=0, kind=LINE):
    made = Series(name, "$", kind, index=index)
    for time, point in enumerate(points):
        made.add(time, point)
    return made


def test_names_fall_into_the_buckets_of_dot_net():
    assert {name: bucket(name) for name in BUCKETS} == BUCKETS


def test_an_empty_name_and_names_of_every_length_have_a_bucket():
    assert all(0 <= bucket("abcdefghi"[:n]) < 37 for n in range(10))
    assert len({bucket("abcdefghi"[:n]) for n in range(10)}) > 1


def test_charts_of_one_bucket_are_listed_newest_first():
    created = ["Strategy Equity", "Learning", "Benchmark", "Drawdown", "Portfolio Turnover", "Exposure"]
    assert in_table_order(created) == [
        "Drawdown",
        "Portfolio Turnover",
        "Learning",
        "Exposure",
        "Strategy Equity",
        "Benchmark",
    ]


def test_a_point_that_is_not_later_is_dropped_by_add_and_replaces_the_last_by_put():
    made = series("s", "1.0", "2.0")
    made.add(1, "3.0")
    made.add(0, "3.0")
    assert (made.times, made.points) == ([0, 1], ["1.0", "2.0"])
    made.put(1, "4.0")
    made.put(0, "5.0")
    made.put(2, "6.0")
    assert (made.times, made.points) == ([0, 1, 2], ["1.0", "4.0", "6.0"])


def test_series_are_sorted_by_index_then_count_then_sum_and_candles_sum_to_nothing():
    chart = Chart("c")
    for made in (
        series("long", "1.0", "1.0"),
        series("short", "0.0", "null"),
        series("tie", "0.0", "0.0"),
        series("few", "9.0"),
        series("return", "0.0", index=1, kind=BAR),
        series("equity", "5.0,6.0,4.0,5.0", "5.0,6.0,4.0,5.0", kind=CANDLE),
    ):
        chart.series[made.name] = made
    written = json.loads("".join(chart.json("")))
    assert list(written["series"]) == ["few", "short", "tie", "equity", "long", "return"]
    assert written["series"]["equity"]["values"] == [[0, 5.0, 6.0, 4.0, 5.0], [1, 5.0, 6.0, 4.0, 5.0]]
    assert "color" not in written["series"]["equity"]
    assert list(written["series"]["short"]) == [
        "name",
        "unit",
        "index",
        "seriesType",
        "values",
        "color",
        "scatterMarkerSymbol",
    ]


def test_a_chart_is_indented_but_each_of_its_series_is_one_line():
    chart = Chart("c", legend_disabled=True)
    assert "".join(chart.json("  ")).splitlines()[3] == '    "series": {},'
    chart.series["s"] = series("s", "1.0")
    lines = "".join(chart.json("  ")).splitlines()
    assert lines[4] == (
        '      "s": {"name":"s","unit":"$","index":0,"seriesType":0,"values":[[0,1.0]],'
        '"color":"","scatterMarkerSymbol":"none"}'
    )
    assert lines[-2:] == ['    "legendDisabled": true', "  }"]
