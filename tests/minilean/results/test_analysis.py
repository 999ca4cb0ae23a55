"""LEAN's findings: by hand where they are simple, from recordings where they are not."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from scipy import stats

from minilean.results.analysis import Curves, _student_tail, findings
from minilean.results.statistics import rate_on

MIDNIGHT = datetime(2015, 6, 1, 4, tzinfo=UTC)
NO_CURVES = Curves((), (), ())


def names(found):
    return [finding["name"].removesuffix("Analysis") for finding in found]


def analyse(curves=NO_CURVES, *, end_equity="1", margin_used=(), rate="0"):
    return findings(
        end_equity=Decimal(end_equity),
        curves=curves,
        margin_used={n: Decimal(str(used)) for n, used in enumerate(margin_used)},
        rate=lambda day: Decimal(rate),
    )


def curves(equity, benchmark):
    times = [int((MIDNIGHT + timedelta(days=n)).timestamp()) for n in range(len(equity))]
    return Curves(times, [Decimal(str(value)) for value in equity], [Decimal(str(value)) for value in benchmark])


@pytest.mark.parametrize(("t", "freedom"), [(0.0, 5), (0.3, 1), (0.079, 500), (1.7, 9), (2.5, 30), (12.0, 4000)])
def test_the_tail_of_students_distribution(t, freedom):
    assert _student_tail(t, freedom) == pytest.approx(float(stats.t.sf(t, freedom)), rel=1e-12)


def test_no_curve_is_not_significant_and_says_nothing_else():
    (finding,) = analyse()
    assert finding["name"] == "StatisticalSignificanceOfDailyReturnsAnalysis"
    assert finding["sample"] == {"pValue": 0.5}
    assert list(finding) == ["name", "issue", "sample", "solutions"]


def test_equity_of_nothing_is_reported_first():
    assert names(analyse(end_equity="0"))[0] == "PortfolioValueIsNotPositive"
    assert names(analyse(end_equity="-5"))[0] == "PortfolioValueIsNotPositive"


def test_margin_usage_is_averaged_over_three_samples():
    (finding, _) = analyse(margin_used=[40, 70, 60, 20, 60, 100])
    # 40, 55, 56.7, 50, 46.7, 60
    assert finding["sample"].endswith("below 50%: 2")
    assert names(analyse(margin_used=[50, 60])) == ["StatisticalSignificanceOfDailyReturns"]


def test_flat_stretches_are_listed_longest_first_and_only_the_first_point_is_utc():
    values = [1, 1, 1, 2, 3, 3, 4]
    found = analyse(curves(values, range(1, 8)))[0]
    assert found["sample"] == [
        {"start": "2015-06-01T04:00:00Z", "end": "2015-06-03T04:00:00", "trading_days": 3},
        {"start": "2015-06-05T04:00:00", "end": "2015-06-06T04:00:00", "trading_days": 2},
    ]
    assert "count" not in found
    many = [n // 2 for n in range(2, 16)]
    found = analyse(curves(many, range(1, 15)))[0]
    assert len(found["sample"]) == 5
    assert found["count"] == 7
    assert list(found) == ["name", "issue", "sample", "count", "solutions"]


def test_a_strategy_below_its_benchmark_is_told_so():
    better, worse = [100, 102, 103, 105, 106], [100, 101, 103, 102, 103]
    assert "PerformanceRelativeToBenchmark" in names(analyse(curves(worse, better)))
    assert "PerformanceRelativeToBenchmark" not in names(analyse(curves(better, worse)))


def test_a_crisis_counts_only_inside_the_curve():
    days = [date(2011, 2, 20) + timedelta(days=n) for n in range(70)]
    times = [int(datetime(day.year, day.month, day.day, 5, tzinfo=UTC).timestamp()) for day in days]
    own = [Decimal(100 + n % 3) for n in range(70)]
    spy = [Decimal(100 + n) for n in range(70)]
    found = [finding for finding in analyse(Curves(times, own, spy)) if finding["name"] == "CrisisEventsAnalysis"]
    assert [finding["sample"]["crisisEvent"] for finding in found] == ["Fukushima Meltdown 2011"]
    assert "CrisisEvents" not in names(analyse(Curves(times[20:], own[20:], spy[20:])))


def test_only_midnights_with_the_offset_of_the_start_are_compared():
    # October 26 is summer time, November 2 is not
    sessions = [date(2014, 10, 29), date(2014, 10, 30), date(2014, 10, 31), date(2014, 11, 3)]
    closes = [(day, Decimal(n)) for n, day in enumerate(sessions)]
    times = [int(datetime(2014, 10, 29, 4, tzinfo=UTC).timestamp()) + n * 3600 for n in range(24 * 10)]
    aligned = Curves.align(times, [Decimal(n) for n in range(len(times))], closes)
    assert [datetime.fromtimestamp(time, UTC).day for time in aligned.times] == [30, 31, 1]
    assert aligned.equity == [24, 48, 72]
    assert aligned.benchmark == [0, 1, 2]


def test_the_findings_of_a_recording_come_out(recording):
    result, data = recording.result, recording.data
    equity = result["charts"]["Strategy Equity"]["series"]["Equity"]["values"]
    used: dict[int, Decimal] = {}
    for series in result["charts"]["Portfolio Margin"]["series"].values():
        for time, value in series["values"]:
            used[time] = used.get(time, Decimal(0)) + Decimal(str(value or 0))
    start = date.fromisoformat(result["algorithmConfiguration"]["startDate"][:10])
    end = date.fromisoformat(result["algorithmConfiguration"]["endDate"][:10])
    spy = data.daily(data.resolve("SPY", start).id)
    found = findings(
        end_equity=Decimal(result["totalPerformance"]["portfolioStatistics"]["endEquity"]),
        curves=Curves.align(
            [point[0] for point in equity],
            [Decimal(str(point[4])) for point in equity],
            spy.adjusted_closes(start - timedelta(days=3), end),
        ),
        margin_used=dict(sorted(used.items())),
        rate=rate_on(data.interest_rates()),
    )
    theirs = result["analysis"]
    assert [list(finding) for finding in found] == [list(finding) for finding in theirs]
    for ours, expected in zip(found, theirs, strict=True):
        if isinstance(ours["sample"], dict):
            assert list(ours["sample"]) == list(expected["sample"])
            for name, value in expected["sample"].items():
                # the last of 16 digits of a p-value hangs on the series of the beta function
                assert ours["sample"][name] == (pytest.approx(value, rel=1e-14) if name == "pValue" else value)
            expected = expected | {"sample": ours["sample"]}
        assert ours == expected
