"""Margins and exposure, drawn in columns, against the decimals they stand for."""

from decimal import Context, Decimal
from itertools import pairwise

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
    return Positions(names, leverages, [int(Decimal(amount).scaleb(6)) for amount in dollars], 6)


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
