"""The capacity estimate, by hand."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from minilean.results.capacity import CapacityEstimate

START = date(2015, 6, 1)
FILL = datetime(2015, 6, 1, 20)
"""16:00 in New York, when the daily bar ends."""
TOTAL = Decimal(10_000)


def bar(utc_close: datetime, price: str, volume: int) -> SimpleNamespace:
    """What the estimate reads of a bar."""
    return SimpleNamespace(session=SimpleNamespace(utc_close=utc_close), close=Decimal(price), volume=volume)


@pytest.fixture
def estimate():
    return CapacityEstimate(START, date(2015, 12, 31))


def trade(estimate, stock, when, *, price="10", volume=1000, quantity=100):
    stock.price = Decimal(price)
    stock.quantity += quantity
    stock.bar = bar(when, price, volume)
    estimate.fill(stock, when, abs(quantity) * Decimal(price))


def days(count):
    return FILL + timedelta(days=count)


def test_five_percent_of_the_bar_of_the_fill_over_the_share_of_the_portfolio(estimate, make_security):
    stock = make_security("AAA")
    trade(estimate, stock, FILL)
    estimate.end_of_slice(FILL)
    estimate.snapshot(days(6), TOTAL, forced=False)
    assert estimate.value == 0
    estimate.snapshot(days(7), TOTAL, forced=False)
    # 10,000 dollars traded in the market, of which 5 %; it was all that was sold
    assert estimate.value == 500
    assert estimate.lowest is stock
    assert estimate.published == 1000  # rounded to thousands, half away from zero


def test_the_larger_of_the_share_sold_and_the_share_held_counts(estimate, make_security):
    small, large = make_security("AAA"), make_security("BBB")
    trade(estimate, small, FILL, volume=1000)
    trade(estimate, large, FILL, volume=9000, quantity=300)
    estimate.end_of_slice(FILL)
    estimate.snapshot(days(7), TOTAL, forced=False)
    assert estimate.value == 500 / Decimal("0.25")  # a quarter of the sales, a tenth of the portfolio
    estimate.snapshot(days(14), TOTAL, forced=False)
    # nothing sold since, so the tenth that is held: 5000 blended in at a third
    assert estimate.value == Decimal("0.33") * 5000 + Decimal("0.66") * 2000


def test_only_the_bar_of_the_fill_counts_and_one_without_volume_is_waited_out(estimate, make_security):
    stock = make_security("AAA")
    trade(estimate, stock, FILL, volume=0)
    estimate.end_of_slice(FILL)
    stock.bar = bar(days(1), "10", 1000)
    estimate.end_of_slice(days(1))
    estimate.snapshot(days(7), TOTAL, forced=True)
    assert estimate.value == 0
    assert estimate.lowest is stock


def test_fills_in_quick_succession_are_discounted(estimate, make_security):
    stock = make_security("AAA")
    trade(estimate, stock, FILL - timedelta(minutes=78))
    trade(estimate, stock, FILL)
    estimate.end_of_slice(FILL)
    estimate.snapshot(days(7), TOTAL, forced=True)
    # 78 minutes are two fifths of half a session; the average over two trades
    assert estimate.value == 10_000 * Decimal("0.4") * Decimal("0.05") / 2


def test_a_snapshot_starts_the_count_of_the_next_period_anew(estimate, make_security):
    stock = make_security("AAA")
    for day in (0, 8):
        trade(estimate, stock, days(day))
        estimate.end_of_slice(days(day))
        estimate.snapshot(days(day + 7), TOTAL, forced=False)
    assert estimate.value == Decimal("0.33") * 500 + Decimal("0.66") * 500


def test_a_stock_sold_thirty_days_ago_is_forgotten_and_its_place_goes_to_the_next(estimate, make_security):
    sold, kept, fresh = (make_security(ticker) for ticker in ("AAA", "BBB", "CCC"))
    for stock in (sold, kept):
        trade(estimate, stock, FILL)
    estimate.end_of_slice(FILL)
    trade(estimate, sold, days(1), quantity=-100)
    estimate.snapshot(days(31), TOTAL, forced=False)
    trade(estimate, fresh, days(32))
    estimate.end_of_slice(days(32))
    kept.quantity = 0
    # all three have the same market: the first place decides, and the newcomer has it
    estimate.snapshot(days(38), TOTAL, forced=False)
    assert estimate.lowest is fresh


@pytest.mark.parametrize(("last", "period"), [(1, 1), (2, 1), (3, 2), (8, 7), (300, 7)])
def test_short_runs_take_their_snapshots_more_often(make_security, last, period):
    estimate = CapacityEstimate(START, START + timedelta(days=last - 1))
    stock = make_security("AAA")
    trade(estimate, stock, FILL)
    estimate.end_of_slice(FILL)
    estimate.snapshot(days(period) - timedelta(days=1), TOTAL, forced=False)
    assert estimate.lowest is None
    estimate.snapshot(days(period), TOTAL, forced=False)
    assert estimate.lowest is stock
