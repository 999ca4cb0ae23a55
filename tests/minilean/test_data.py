"""The data folder: whose bars are read from which file, and prices as decimals and as doubles."""

import zipfile
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilean.data import DailyBars, DataFolder
from minilean.decimals import EXACT, to_double
from minilean.errors import DataError
from minilean.formats import FactorRow
from minilean.symbols import SecurityIdentifier
from tests.minilean.tiny_market import PARITY, TinyMarket


@pytest.fixture(scope="module")
def parity() -> DataFolder:
    return DataFolder(PARITY)


def read(market: TinyMarket) -> DataFolder:
    return DataFolder(market.folder)


def days(bars: DailyBars) -> list[str]:
    return [f"{date.fromordinal(int(n)):%m-%d}" for n in bars.ordinals]


# --- columns


def test_bars_are_kept_as_they_are_stored(parity):
    bars = parity.daily(SecurityIdentifier.parse("DIVD V2YLWY8G7N1H"))
    # the first line of daily/divd.zip: 20120103 00:00,345900,346300,344400,344800,1016500
    assert date.fromordinal(int(bars.ordinals[0])) == date(2012, 1, 3)
    first = (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0])
    assert first == (345900, 346300, 344400, 344800, 1016500)
    assert bars.ordinals.dtype == bars.close.dtype == np.int64
    assert bars.row_of(date(2012, 1, 4)) == 1
    assert bars.row_of(date(2012, 1, 7)) == -1
    assert bars.last_row_before(date(2012, 1, 4)) == 0
    assert bars.last_row_before(date(2012, 1, 3)) == -1


def test_a_stock_without_files_has_no_bars(parity):
    assert len(parity.daily(SecurityIdentifier.parse("NOPX V2YLWY8G7N1H"))) == 0


def test_bars_of_a_renamed_stock_come_from_the_file_of_the_ticker_of_the_day(market):
    market.stock("OLD", renamed=("2013-06-07", "NEW"), first="2013-06-03", until="2013-06-12")
    market.zip("daily", "old", [(f"201306{day:02} 00:00", 1, 1, 1, 1, 1) for day in (3, 4, 5, 6, 7, 10)])
    bars = read(market).daily(market.sid("OLD"))
    assert days(bars) == ["06-03", "06-04", "06-05", "06-06", "06-07", "06-10", "06-11", "06-12"]
    assert bars.close.tolist() == [1] * 5 + [1_000_000] * 3


def test_a_ticker_that_two_stocks_had_gives_each_its_own_days(market):
    market.stock("NEXT", first="2013-06-10", until="2013-06-12")
    market.write("map_files/next.csv", [("20130610", "abc", "N"), ("20501231", "abc", "N")])
    market.write("map_files/abc.csv", [("20130603", "abc", "N"), ("20130605", "abc", "N")])
    rows = [(f"201306{day:02} 00:00", day, day, day, day, 1) for day in (3, 4, 5, 10, 11)]
    market.zip("daily", "abc", rows)
    data = read(market)
    earlier = data.daily(SecurityIdentifier.generate_equity("ABC", date(2013, 6, 3)))
    later = data.daily(SecurityIdentifier.generate_equity("ABC", date(2013, 6, 10)))
    assert (earlier.close.tolist(), later.close.tolist()) == ([3, 4, 5], [10, 11])


def test_bars_of_days_without_session_are_passed_over(market):
    market.stock("AAA")
    market.zip("daily", "aaa", [(f"2013{day} 00:00", 1, 1, 1, 1, 1) for day in ("0703", "0704", "0705", "0706")])
    assert days(read(market).daily(market.sid("AAA"))) == ["07-03", "07-05"]


def test_a_factor_file_of_2050_alone_leaves_no_history(market):
    market.stock("AAA")
    market.write("factor_files/aaa.csv", [("20501231", "1", "1", "0")])
    assert len(read(market).daily(market.sid("AAA"))) == 0


def test_bars_begin_a_day_before_the_factor_file_does(market):
    market.stock("AAA", first="2013-06-03", until="2013-06-07")
    market.write("factor_files/aaa.csv", [("20130606", "1", "1", "1"), ("20501231", "1", "1", "0")])
    assert days(read(market).daily(market.sid("AAA"))) == ["06-05", "06-06", "06-07"]


def bars_of(ordinals: set[int], factors: tuple[FactorRow, ...] = ()) -> DailyBars:
    """Bars of those days, their price the day's number."""
    column = np.array(sorted(ordinals), dtype=np.int64)
    return DailyBars(column, column, column, column, column, column, factors)


@given(st.sets(st.integers(100, 140)), st.sets(st.integers(90, 150)))
def test_bars_lie_along_days_by_the_last_of_them(ordinals, at):
    bars = bars_of(ordinals)
    rows, fresh = bars.along(np.array(sorted(at), dtype=np.int64))
    assert rows.tolist() == [sum(ordinal <= day for ordinal in ordinals) - 1 for day in sorted(at)]
    assert fresh.tolist() == [day in ordinals for day in sorted(at)]


@given(
    st.sets(st.integers(730_000, 730_040), min_size=1),
    st.dictionaries(st.integers(729_995, 730_045), st.integers(1, 10**9), max_size=5),
)
def test_closes_and_doubles_are_those_of_the_single_prices(ordinals, factors):
    rows = [FactorRow(date.fromordinal(day), Decimal(n).scaleb(-9), Decimal("0.5"), Decimal(1))
            for day, n in sorted(factors.items())]
    bars = bars_of(ordinals, tuple(rows))
    every = np.arange(len(bars))
    for adjusted in (False, True):
        prices = [bars.price(bars.close, row, adjusted) for row in every.tolist()]
        closes, places = bars.closes(every, adjusted)
        assert [Decimal(close).scaleb(-places) for close in closes] == prices
        assert bars.doubles(slice(None), adjusted)[0].tolist() == [to_double(price) for price in prices]
        assert (bars.doubles(every, adjusted) == bars.doubles(slice(None), adjusted)).all()
    for row, ordinal in enumerate(bars.ordinals.tolist()):
        holds = next((one for one in rows if one.day.toordinal() >= ordinal), None)
        factor = holds.price_factor * holds.split_factor if holds else 1
        assert bars.price(bars.close, row, True) == Decimal(ordinal).scaleb(-4) * factor


# --- prices


def one_bar(close: int, volume: int, price_factor: str, split_factor: str) -> DailyBars:
    """A bar of 2013-06-03 under a factor row of that day, and one of the day after it."""
    ordinals = np.array([date(2013, 6, day).toordinal() for day in (3, 4)])
    column = np.array([close, close])
    rows = (FactorRow(date(2013, 6, 3), Decimal(price_factor), Decimal(split_factor), Decimal(1)),)
    return DailyBars(ordinals, column, column, column, column, np.array([volume, volume]), rows)


@pytest.mark.parametrize(
    ("price_factor", "split_factor", "expected"),
    [
        ("1", "1", "162.5000"),
        ("0.9087978", "1", "147.67964250000"),  # 4 places and 7
        ("1", "0.5", "81.25000"),
        ("0.98", "0.50", "79.62500000"),  # zeros of the file count
        ("1.0", "1.00", "162.5000000"),
    ],
)
def test_a_price_has_four_places_and_those_of_both_factors(price_factor, split_factor, expected):
    bars = one_bar(1_625_000, 100, price_factor, split_factor)
    assert str(bars.price(bars.close, 0, True)) == expected
    assert str(bars.price(bars.close, 0, False)) == "162.5000"
    assert str(bars.price(bars.close, 1, True)) == "162.5000"  # after the last row nothing is adjusted


def test_a_row_holds_up_to_its_own_day(market):
    market.stock("AAA", factors=["20130605,0.5,1,100", "20130607,0.8,1,100"])
    bars = read(market).daily(market.sid("AAA"))
    expected = {4: 50, 5: 50, 6: 80, 7: 80, 10: 100}
    assert {day: bars.price(bars.close, bars.row_of(date(2013, 6, day)), True) for day in expected} == expected


def test_volume_is_divided_by_the_factor_and_rounded():
    bars = one_bar(10_000, 1001, "0.5", "0.3")
    assert bars.adjusted_volume(0) == 6673  # 1001 / 0.15 = 6673.3
    assert bars.doubles(np.array([0, 1]), adjusted=True)[4].tolist() == [6673, 1001]
    assert bars.doubles(np.array([0]), adjusted=False)[4].tolist() == [1001]


@given(
    st.integers(0, 10**12),
    st.decimals("1e-7", 1, places=7),
    st.sampled_from(["1", "0.5", "0.25", "0.04", "4", "0.33333333"]),
)
def test_an_adjusted_volume_is_the_quotient_rounded_half_to_even(volume, price_factor, split_factor):
    bars = one_bar(10_000, volume, f"{price_factor:f}", split_factor)
    exact = EXACT.divide(Decimal(volume), EXACT.multiply(price_factor, Decimal(split_factor)))
    assert bars.adjusted_volume(0) == exact.to_integral_value(ROUND_HALF_EVEN)


FACTOR = st.decimals("0.01", "50", places=7)


@given(st.integers(1, 10**13), st.integers(0, 10**10), FACTOR, FACTOR)
def test_doubles_are_those_that_net_makes_of_the_decimals(close, volume, price_factor, split_factor):
    bars = one_bar(close, volume, f"{price_factor:f}", f"{split_factor:f}")
    for adjusted in (True, False):
        shown = bars.doubles(np.array([0, 1]), adjusted)
        assert shown[0].tolist() == [to_double(bars.price(bars.close, row, adjusted)) for row in (0, 1)]
    assert bars.doubles(np.array([0]), adjusted=True)[4, 0] == bars.adjusted_volume(0)


@given(st.integers(1, 10**13), st.decimals("0.1", "2", places=25))
def test_doubles_of_decimals_beyond_64_bits_are_those_of_net_too(close, factor):
    bars = one_bar(close, 1, f"{factor:f}", "0.9876543")
    assert bars.doubles(np.array([0]), adjusted=True)[0, 0] == to_double(bars.price(bars.close, 0, True))


def test_adjusted_closes_cover_both_ends(market):
    market.stock("AAA", {"2013-01-02": 10, "2013-06-05": 11})
    closes = read(market).daily(market.sid("AAA")).adjusted_closes(date(2013, 6, 4), date(2013, 6, 6))
    assert closes == [(date(2013, 6, 4), 10), (date(2013, 6, 5), 11), (date(2013, 6, 6), 11)]


def test_hourly_bars_end_an_hour_after_they_begin(parity):
    bars, ends = parity.hourly(SecurityIdentifier.parse("SPY R735QTJ8XC9X"))
    # 20120103 09:00,1412500,1413600,1412000,1413100,9353907
    assert ends[0] == date(2012, 1, 3).toordinal() * 24 + 10
    assert (bars.open[0], bars.close[0], bars.volume[0]) == (1412500, 1413100, 9353907)
    assert len(bars) == len(ends)
    assert (np.diff(ends) > 0).all()


def test_hourly_bars_outside_the_session_are_left_out(market):
    # LEAN's own SPY has bars of 13:00 on days that closed then, as July 3 of 2013 did
    hours = [(f"20130703 {hour:02}:00", 1, 1, 1, 1, 1) for hour in (8, 9, 12, 13)]
    market.zip("hour", "spy", [*hours, ("20130705 15:00", 1, 1, 1, 1, 1), ("20130705 16:00", 1, 1, 1, 1, 1)])
    bars, ends = read(market).hourly(market.sid("SPY"))
    assert [(day[-2:], end % 24) for day, end in zip(days(bars), ends.tolist(), strict=True)] == [
        ("03", 10),
        ("03", 13),
        ("05", 16),
    ]


def test_a_stock_without_hourly_bars_has_none(parity):
    bars, ends = parity.hourly(SecurityIdentifier.parse("DIVD V2YLWY8G7N1H"))
    assert (len(bars), len(ends)) == (0, 0)


# --- identity


@pytest.fixture
def named(market) -> DataFolder:
    """OLD became NEW after 2013-06-07; DEAD was listed to 2013-06-14."""
    market.stock("OLD", renamed=("2013-06-07", "NEW"))
    market.stock("DEAD", delisted="2013-06-14")
    return read(market)


@pytest.mark.parametrize(
    ("ticker", "day", "sid"),
    [
        ("OLD", "2013-06-03", "OLD VCY032R250MD"),
        ("old", "2013-06-07", "OLD VCY032R250MD"),
        ("NEW", "2013-06-10", "OLD VCY032R250MD"),
        ("NEW", "2013-06-03", "OLD VCY032R250MD"),  # its row of 2050 is the first on or after the day
        ("OLD", "2020-01-01", "OLD VCY032R250MD"),  # the last that had the ticker
        ("DEAD", "2020-01-01", "DEAD VCY032R250MD"),
        ("NEW", "2012-01-03", "NEW 2T"),  # before that security began
        ("NONE", "2013-06-03", "NONE 2T"),
    ],
)
def test_a_ticker_is_the_security_that_lean_understands_by_it(named, ticker, day, sid):
    symbol = named.resolve(ticker, date.fromisoformat(day))
    assert (symbol.sid, symbol.value) == (sid, ticker.upper())


def test_a_number_behind_a_ticker_is_no_part_of_the_identifier(market):
    market.write("map_files/aaa.1.csv", [("20130603", "aaa.1", "N"), ("20130610", "aaa.1", "N")])
    market.zip("daily", "aaa.1", [("20130603 00:00", 5, 5, 5, 5, 1)])
    data = read(market)
    sid = data.resolve("AAA.1", date(2013, 6, 3)).id
    assert str(sid).startswith("AAA ")
    assert data.daily(sid).close.tolist() == [5]


def test_a_ticker_that_no_map_file_knows_is_the_stock_whose_map_file_has_that_name(market):
    market.write("map_files/aaa.1.csv", [("20130603", "aaa", "N"), ("20130610", "aaa", "N")])
    data = read(market)
    assert data.resolve("AAA.1", date(2013, 7, 1)).id == data.resolve("AAA", date(2013, 7, 1)).id


def archive(folder: Path, day: str) -> None:
    """Pack a folder's csv files into an archive of LEAN's, and delete them."""
    with zipfile.ZipFile(folder / f"{folder.name}_{day}.zip", "w") as packed:
        for path in sorted(folder.glob("*.csv")):
            packed.write(path, path.name)
            path.unlink()


def test_map_and_factor_files_are_read_out_of_archives(market):
    market.stock("OLD", renamed=("2013-06-05", "NEW"), factors=["20130603,0.5,1,100"])
    apart = read(market).daily(market.sid("OLD"))
    for kind in ("map_files", "factor_files"):
        archive(market.equity / kind, "20240102")
    packed = read(market).daily(market.sid("OLD"))
    assert packed.ordinals.tolist() == apart.ordinals.tolist()
    assert packed.factors == apart.factors
    assert len(packed.factors) == 3
    assert str(read(market).resolve("NEW", date(2013, 6, 10)).id) == str(market.sid("OLD"))


def test_the_newest_archive_counts_and_nothing_beside_it(market):
    market.stock("AAA", factors=["20130603,0.7,1,100"])
    factors = market.equity / "factor_files"
    archive(factors, "20240103")
    market.stock("AAA", factors=["20130603,0.8,1,100"])
    archive(factors, "20240102")
    market.stock("AAA", factors=["20130603,0.9,1,100"])
    assert [str(row.price_factor) for row in read(market).daily(market.sid("AAA")).factors] == ["0.7", "0.7", "1"]


def test_an_archive_that_cannot_be_read_is_refused(market):
    (market.equity / "map_files" / "map_files_20240102.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"map_files_20240102\.zip is not a readable zip file"):
        read(market).resolve("AAA", date(2013, 6, 3))


def test_a_bad_line_in_an_archive_is_named_with_the_archive_and_the_file(market):
    market.write("map_files/aaa.csv", [("2013", "aaa", "N")])
    archive(market.equity / "map_files", "20240102")
    with pytest.raises(DataError, match=r"map_files_20240102\.zip/aaa\.csv, line 1: "):
        read(market).resolve("AAA", date(2013, 6, 3))


def test_a_map_file_tells_when_its_stock_is_delisted_and_what_it_was_called(named, market):
    dead, renamed = (named.map_file(market.sid(ticker)) for ticker in ("DEAD", "OLD"))
    assert dead is not None
    assert renamed is not None
    assert (dead.delisting_date, renamed.delisting_date) == (date(2013, 6, 14), None)
    assert list(renamed.renames()) == [(date(2013, 6, 7), "old", "new")]
    assert list(dead.renames()) == []
    assert (renamed.permanent_ticker, renamed.first_ticker, renamed.last_ticker) == ("new", "old", "new")


# --- constituents and rates


def test_constituent_files_are_those_of_days_under_the_ticker_of_the_day(market):
    market.stock("QQQQ", renamed=("2013-06-07", "QQQ"))
    for ticker, day in (("qqqq", "20130606"), ("qqqq", "20130610"), ("qqq", "20130610"), ("qqq", "20130607")):
        market.write(f"universes/etf/{ticker}/{day}.csv", [("AAA", market.sid("AAA"), day, "1", "1", "1")])
    for name in ("20131345", "notadate", "201306101"):
        market.write(f"universes/etf/qqq/{name}.csv", [])
    found = read(market).constituent_files(market.sid("QQQQ"))
    assert {f"{day:%m%d}": path.parent.name for day, path in found.items()} == {"0606": "qqqq", "0610": "qqq"}


def test_an_empty_constituents_file_is_as_good_as_none(market):
    market.constituents("2013-06-03")
    assert read(market).constituent_files(market.sid("SPY")) == {}


def test_interest_rates_are_fractions(parity):
    assert parity.interest_rates()[:2] == [
        (date(2010, 2, 19), Decimal("0.0075")),
        (date(2014, 6, 20), Decimal("0.01")),
    ]


def test_a_folder_without_interest_rates_has_none(market):
    assert read(market).interest_rates() == []


# --- folders that are none


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        DataFolder(tmp_path / "nowhere")


def test_a_folder_without_equities_is_named(tmp_path):
    with pytest.raises(DataError, match="is no LEAN data folder"):
        DataFolder(tmp_path)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="data"):
        DataFolder(Path(tmp_path / "data"))
