"""What `data check` finds in a folder, and what it says about it."""

import zipfile
from collections.abc import Callable
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from minilean.check import Report, check_folder
from minilean.errors import DataError
from tests.minilean.tiny_market import PARITY, TinyMarket


@pytest.fixture
def sound(tmp_path: Path) -> TinyMarket:
    """AAA splits, OLD becomes NEW, DEAD delists; two lists, and interest rates."""
    market = TinyMarket(tmp_path / "data", date(2013, 5, 20), date(2013, 6, 21))
    market.stock("AAA", {"2013-05-20": 100, "2013-06-06": 50}, factors=["20130605,1,0.5,100"])
    market.stock("OLD", renamed=("2013-06-05", "NEW"))
    market.stock("DEAD", delisted="2013-06-07")
    weights = {"AAA": "0.5", "OLD": "0.3", "NEW": "0.3", "DEAD": "0.2"}
    market.constituents("2013-05-31", "AAA", "OLD", "DEAD", weights=weights)
    market.constituents("2013-06-06", "AAA", "NEW", weights=weights, born={"NEW": "OLD"})
    rates = market.folder / "alternative/interest-rate/usa/interest-rate.csv"
    rates.parent.mkdir(parents=True)
    rates.write_text("DATE,rate\n2010-02-19,0.75\n")
    return market


def printed(report: Report) -> str:
    console = Console(file=StringIO(), width=300)
    console.print(report)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_sound_folder_is_described_and_has_no_problem(sound):
    report = check_folder(sound.folder)
    assert dict(report.holds) == {
        "map files": "4",
        "delisted, renamed": "1, 1",
        "stocks with daily bars": "5",
        # 24 sessions of AAA, SPY and OLD or NEW, 14 of DEAD
        "daily bars": "86",
        "period": "2013-05-20 to 2013-06-21, 24 sessions",
        "factor files": "4",
        "constituents of SPY": "2 lists, 2013-05-31 to 2013-06-06, 2 to 3 stocks",
        "benchmark, hourly SPY": "168 bars, 2013-05-20 to 2013-06-21",
        "interest rates": "1 rates, 2010-02-19 to 2010-02-19",
    }
    assert report.problems == []
    assert report.remarks == []
    assert "No problems found." in printed(report)


def test_the_parity_market_is_sound_but_for_the_constituent_that_has_no_file():
    report = check_folder(PARITY)
    assert report.problems == []
    (remark,) = report.remarks
    assert "1 of its stocks have no map file or no bars (NOPX" in remark


def change(path: Path, edit: Callable[[str], str]) -> None:
    path.write_text(edit(path.read_text()))


def test_every_damaged_file_is_a_problem_and_the_others_are_read_all_the_same(sound):
    change(sound.equity / "map_files/new.csv", lambda text: text.replace("20130605", "2013"))
    change(sound.equity / "factor_files/dead.csv", lambda text: text.replace("1,1,1", "1,x,1"))
    change(sound.equity / "universes/etf/spy/20130606.csv", lambda text: text[:-30])
    (sound.equity / "daily/dead.zip").write_bytes(b"PK")
    (sound.equity / "hour/spy.zip").write_bytes(b"PK")
    report = check_folder(sound.folder)
    for name in ("new.csv, line 2", "dead.csv, line 1", "20130606.csv, line 2", "daily/dead.zip", "hour/spy.zip"):
        assert len([problem for problem in report.problems if name in problem]) == 1
    assert len(report.problems) == 5
    assert dict(report.holds)["map files"] == "3"
    assert dict(report.holds)["daily bars"] == "72"


def test_problems_and_remarks_are_listed_below_the_table(sound):
    (sound.equity / "daily/dead.zip").write_bytes(b"PK")
    report = check_folder(sound.folder)
    shown = printed(report)
    assert "daily bars" in shown
    assert shown.index("Problems") < shown.index("dead.zip is not a readable zip file")
    assert "No problems found." not in shown


def test_texts_with_brackets_are_printed_as_they_are():
    report = Report(Path("[red]folder[/red]"), [("[a]", "[b]")], ["[c] is wrong"], ["[d]"])
    assert all(text in printed(report) for text in ("[red]folder[/red]", "[a]", "[b]", "[c] is wrong", "[d]"))


# --- what a backtest would go wrong with


def problem(market: TinyMarket, fragment: str) -> None:
    found = check_folder(market.folder).problems
    assert [sentence for sentence in found if fragment in sentence], found


def remark(market: TinyMarket, fragment: str) -> None:
    report = check_folder(market.folder)
    assert [sentence for sentence in report.remarks if fragment in sentence], report.remarks
    assert report.problems == []


def test_csv_files_beside_an_archive_are_remarked(sound):
    maps = sound.equity / "map_files"
    with zipfile.ZipFile(maps / "map_files_20240102.zip", "w") as archive:
        for path in maps.glob("*.csv"):
            archive.write(path, path.name)
    assert dict(check_folder(sound.folder).holds)["map files"] == "4"
    remark(sound, f"holds csv files, which are not read beside {maps / 'map_files_20240102.zip'}")


def test_a_ticker_of_two_stocks_on_one_day_is_a_problem(sound):
    sound.write("map_files/other.csv", [("20130603", "aaa", "N"), ("20501231", "aaa", "N")])
    problem(sound, "AAA is the ticker of both aaa.csv and other.csv on 2013-06-03")


def test_a_factor_file_that_begins_after_the_bars_is_a_problem(sound):
    sound.write("factor_files/aaa.csv", [("20130603", "1", "1", "1"), ("20501231", "1", "1", "0")])
    problem(sound, "aaa.csv begins on 2013-06-03: bars since 2013-05-20 are dropped")


def test_a_corporate_action_on_a_day_without_session_is_a_problem(sound):
    sound.stock("AAA", factors=["20130608,0.99,1,100"])
    problem(sound, "2013-06-08 is no session, so its dividend or split never happens")


def test_a_missing_benchmark_is_a_problem(sound):
    (sound.equity / "hour/spy.zip").unlink()
    problem(sound, "hour/spy.zip is missing")


def test_a_folder_without_bars_is_a_problem(sound):
    for path in (sound.equity / "daily").iterdir():
        path.unlink()
    problem(sound, "holds no bars at all")


def test_market_hours_without_holidays_of_a_year_are_a_problem(sound):
    change(
        sound.folder / "market-hours/market-hours-database.json", lambda text: text.replace("/2013", "/1913")
    )
    problem(sound, "knows no holiday of 2013")


# --- what is passed over


def test_bars_of_days_without_session_are_remarked(sound):
    sound.zip("daily", "aaa", [(f"201306{day} 00:00", 1, 1, 1, 1, 1) for day in ("07", "08", "09")])
    remark(sound, "daily/aaa.zip: 2 bars are of days without session, the first 2013-06-08")


def test_bars_whose_close_lies_outside_high_and_low_are_remarked(sound):
    sound.zip("daily", "aaa", [("20130607 00:00", 10, 12, 9, 13, 1), ("20130610 00:00", 8, 12, 9, 12, 1)])
    remark(sound, "daily/aaa.zip: in 2 bars open or close lie outside low and high, first on 2013-06-07")


def test_a_jump_of_more_than_twenty_times_is_remarked(sound):
    sound.zip("daily", "aaa", [(f"201306{day} 00:00", p, p, p, p, 1) for day, p in (("06", 10), ("07", 201))])
    remark(sound, "the close of 2013-06-07 is more than 20 times")


def test_stocks_without_bars_and_bars_without_a_map_are_remarked(sound):
    (sound.equity / "daily/dead.zip").rename(sound.equity / "daily/odd.zip")
    remark(sound, "DEAD has a map file, but no daily bars")
    remark(sound, "daily/odd.zip has no map file")


def test_lists_that_are_never_read_are_remarked(sound):
    sound.constituents("2013-06-08", "AAA")
    sound.write("universes/etf/spy/latest.csv", [])
    sound.write("universes/etf/spy/20130610.csv", [])
    remark(sound, "20130608.csv is of a day without session")
    remark(sound, "latest.csv is not named by a day")
    remark(sound, "20130610.csv is empty")


def test_weights_that_are_no_fractions_and_repeated_stocks_are_remarked(sound):
    sound.constituents("2013-06-11", "AAA", "AAA", weights={"AAA": "50"})
    remark(sound, "20130611.csv: the weights add up to 100.000")
    remark(sound, "20130611.csv repeats 1 of its stocks")


def test_missing_interest_rates_are_remarked(sound):
    (sound.folder / "alternative/interest-rate/usa/interest-rate.csv").unlink()
    remark(sound, "interest-rate.csv is missing")


def test_a_factor_file_without_a_usable_row_is_remarked(sound):
    sound.write("factor_files/aaa.csv", [("20130520", "0", "0", "0")])
    remark(sound, "aaa.csv holds no usable row")


# --- folders that are none


def test_what_is_no_data_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no LEAN data folder"):
        check_folder(tmp_path)


def test_without_market_hours_nothing_can_be_checked(sound):
    (sound.folder / "market-hours/market-hours-database.json").unlink()
    with pytest.raises(DataError, match="is missing"):
        check_folder(sound.folder)
