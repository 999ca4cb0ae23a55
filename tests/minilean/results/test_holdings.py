"""Margins and exposure, drawn in columns, against the decimals they stand for."""

import random
from decimal import Context, Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilean.decimals import EXACT, normalise, number
from minilean.portfolio import Positions
from minilean.results.charts import BAR, Series
from minilean.results.holdings import MARGIN_SERIES, Holdings

NOON = 1_400_000_000
DAY = 86_400
FOUR = Context(prec=4, rounding=EXACT.rounding)
SEVEN = Context(prec=7, rounding=EXACT.rounding)


class Sheet:
    """Series by name, in the order in which they were asked for."""

    def __init__(self):
        self.series = {}
        self.holdings = Holdings(self.of, self.of, lambda stock: stock)

    def of(self, name):
        return self.series.setdefault(name, Series(name, "%", BAR))

    def last(self, name):
        return self.series[name].points[-1]


def positions(dollars, leverages=None):
    """Positions worth so many dollars each, in stocks named by their number."""
    names = [f"S{at}" for at in range(len(dollars))]
    leverages = leverages or [Decimal(2)] * len(dollars)
    return Positions.worth(names, leverages, [int(Decimal(amount).scaleb(6)) for amount in dollars], 6)


amounts = st.lists(
    st.decimals(min_value="-1e9", max_value="1e9", places=6).filter(lambda amount: abs(amount) >= 1), min_size=1
)


@given(amounts, st.decimals(min_value=1000, max_value="1e10", places=4))
def test_a_margin_is_the_decimal_quotient_to_four_digits(dollars, total):
    sheet = Sheet()
    sheet.holdings.note(NOON, total, positions(dollars), is_exposed=False)
    sheet.holdings.draw()
    margins = [FOUR.divide(abs(amount), EXACT.divide(2 * total, Decimal(100))) for amount in dollars]
    largest = sorted(range(len(dollars)), key=margins.__getitem__, reverse=True)[:MARGIN_SERIES]
    for at in largest:
        assert sheet.last(f"S{at}") == number(normalise(margins[at]))
    assert len(sheet.series) == len(largest) + (len(dollars) > MARGIN_SERIES)


def test_a_margin_in_the_middle_between_two_numbers_of_four_digits_goes_to_the_even_one():
    sheet = Sheet()
    sheet.holdings.note(NOON, Decimal(1000), positions(["2.00010", "2.00030"], [Decimal(1)] * 2), is_exposed=False)
    sheet.holdings.draw()
    assert (sheet.last("S0"), sheet.last("S1")) == ("0.2", "0.2")
    sheet = Sheet()
    sheet.holdings.note(NOON, Decimal(1000), positions(["2.0005", "2.0015"], [Decimal(1)] * 2), is_exposed=False)
    used = sheet.holdings.draw()
    assert (sheet.last("S0"), sheet.last("S1")) == ("0.2", "0.2002")  # 0.20005 and 0.20015
    assert used == {NOON: Decimal("0.4002")}


def test_what_is_beyond_the_forty_largest_is_summed_in_seven_digits():
    sheet = Sheet()
    dollars = [Decimal(1000 + at) for at in range(MARGIN_SERIES)] + [Decimal("999.123456"), Decimal("0.0123456")] * 3
    sheet.holdings.note(NOON, Decimal(50_000), positions(dollars), is_exposed=False)
    sheet.holdings.draw()
    rest = Decimal(0)
    for amount in dollars[MARGIN_SERIES:]:
        rest = SEVEN.add(rest, FOUR.divide(amount, Decimal(1000)))
    assert sheet.last("OTHERS") == number(normalise(rest))


def test_a_series_that_leaves_the_largest_ends_with_one_null():
    sheet = Sheet()
    small, large = positions(["10"] * MARGIN_SERIES + ["1"]), positions(["10"] * (MARGIN_SERIES - 1) + ["1", "10"])
    for day, held in enumerate((small, large, large)):
        sheet.holdings.note(NOON + day * DAY, Decimal(1000), held, is_exposed=False)
    sheet.holdings.draw()
    assert sheet.series[f"S{MARGIN_SERIES - 1}"].points == ["0.5", "null"]
    assert sheet.series[f"S{MARGIN_SERIES}"].points == ["0.5", "0.5"]


def test_exposure_has_a_side_for_longs_and_one_for_shorts():
    sheet = Sheet()
    sheet.holdings.note(NOON, Decimal(1000), positions(["900", "-300"]), is_exposed=True)
    sheet.holdings.draw()
    assert sheet.last("Equity - Long Ratio") == "0.9"
    assert sheet.last("Equity - Short Ratio") == "-0.3"
    assert all(earlier < later for series in sheet.series.values() for earlier, later in pairwise(series.times))


def drawn_one_by_one(noted):
    """The series of margins of noted samples, each position put on its own; the tickers of S8 and S9 are one."""
    series = {}
    before = set()
    state = None
    for now, total, held in noted:
        if not held.securities or not total:
            continue
        margins = [
            (FOUR.divide(Decimal(abs(value)).scaleb(-held.places), EXACT.divide(leverage * total, Decimal(100))), at)
            for at, (value, leverage) in enumerate(zip(held.values, held.leverages, strict=True))
        ]
        large = {at for _, at in sorted(margins, key=lambda margin: (-margin[0], margin[1]))[:MARGIN_SERIES]}
        points, rest = [], Decimal(0)
        for margin, at in margins:
            if at in large:
                points.append((held.securities[at].replace("S9", "S8"), margin))
            else:
                rest = SEVEN.add(rest, margin)
                series.setdefault("OTHERS", Series("OTHERS", "%", BAR))
            for name, _ in points[-1:]:
                series.setdefault(name, Series(name, "%", BAR))
        points += [("OTHERS", rest)] * (len(large) < len(margins))
        shown = {name for name, _ in points}
        if state is None or state != (total, held):
            for name in before - shown:
                if series[name].times[-1] != now and series[name].points[-1] != "null":
                    series[name].add(now, "null")
            before, state = shown, (total, held)
        for name, margin in points:
            series[name].put(now, number(normalise(margin)))
    return {name: (made.times, made.points) for name, made in series.items()}


@pytest.mark.parametrize("seed", range(60))
def test_columns_are_drawn_as_points_one_by_one(seed):
    pick = random.Random(seed)
    stocks, days = pick.randint(1, 60), pick.randint(1, 40)
    sheet = Sheet()
    sheet.holdings = Holdings(sheet.of, sheet.of, lambda stock: stock.replace("S9", "S8"))
    noted, now, total, held = [], NOON, Decimal(100_000), positions([])
    for _ in range(days):
        if pick.random() < 0.7:
            names = [f"S{at}" for at in range(stocks) if pick.random() < 0.9]
            values = [pick.choice([-1, 1]) * pick.choice([1, 10, 10**4, pick.randrange(1, 10**9)]) for _ in names]
            held = Positions.worth(names, [Decimal(pick.choice([1, 2])) for _ in names], values, 3)
            total = Decimal(pick.choice([100_000, 100_000, 12_345]))
        now += pick.choice([DAY, DAY, DAY, 0])
        noted.append((now, total, held))
        sheet.holdings.note(now, total, held, is_exposed=False)
    used = sheet.holdings.draw()
    assert {name: (made.times, made.points) for name, made in sheet.series.items()} == drawn_one_by_one(noted)
    assert list(sheet.series) == list(drawn_one_by_one(noted))
    assert set(used) == {now for now, _, held in noted if held.securities}


def test_a_batch_ends_what_the_batch_before_it_showed():
    sheet = Sheet()
    noted = []
    for day in range(600):
        held = positions(["10"] * (2 + (day // 249) % 2))
        noted.append((NOON + day * DAY, Decimal(1000), held))
        sheet.holdings.note(*noted[-1], is_exposed=False)
    sheet.holdings.draw()
    assert {name: (made.times, made.points) for name, made in sheet.series.items()} == drawn_one_by_one(noted)
    assert sheet.series["S2"].points.count("null") == 1
