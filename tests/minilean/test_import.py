"""Tables of daily bars become a LEAN data folder that runs, or end in a sentence that names the cell."""

import shutil
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilean.calendar import MarketCalendar
from minilean.check import check_folder
from minilean.cli import main
from minilean.data import DailyBars, DataFolder
from minilean.enums import Resolution
from minilean.errors import DataError
from minilean.folder import Exchange
from minilean.importing import import_market
from minilean.symbols import SecurityIdentifier
from minilean.tables import FIELDS, download, read_tables
from minilean.universe import distribution
from tests.minilean.tiny_market import Scripted, engine_on

NUMBERS = [*FIELDS, "dividend", "split"]
SESSIONS = ["2013-06-27", "2013-06-28", "2013-07-01", "2013-07-02", "2013-07-03", "2013-07-05", "2013-07-08"]
"""A month's end and Independence Day, the day before which ends early."""


def bars(**closes: list[float]) -> pd.DataFrame:
    """A long table over SESSIONS of tickers by their closes, NaN for none; other prices lie around the close."""
    rows = [
        (day, ticker.replace("_", "."), close - 0.5, close + 1, close - 1, close, 1000.0)
        for ticker, of_ticker in closes.items()
        for day, close in zip(SESSIONS, of_ticker, strict=True)
        if close == close
    ]
    return pd.DataFrame(rows, columns=["date", "ticker", *FIELDS])


def sound() -> pd.DataFrame:
    return bars(SPY=[100.0] * 7, AAA=[50.0, 51.0, 52.0, 53.0, 54.0, 55.0, 56.0], BRK_B=[20.0] * 5 + [np.nan] * 2)


def imported(
    folder: Path, table: pd.DataFrame, *, adjusted: bool = True, lists: pd.DataFrame | None = None, etf: str = "SPY"
) -> DataFolder:
    """The data folder of a long table, through a CSV file."""
    path = folder / "bars.csv"
    table.to_csv(path, index=False)
    members = None
    if lists is not None:
        members = folder / "members.csv"
        lists.to_csv(members, index=False)
    import_market(folder / "data", read_tables([path]), adjusted=adjusted, constituents=members, etf=etf)
    assert check_folder(folder / "data").problems == []
    return DataFolder(folder / "data")


def refusal(folder: Path, table: pd.DataFrame, **options: Any) -> str:
    """The sentence that an import ends with; it leaves nothing behind."""
    with pytest.raises(DataError) as error:
        imported(folder, table, **options)
    assert not (folder / "data").exists()
    assert not list(folder.glob(".*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def stock(data: DataFolder, ticker: str) -> DailyBars:
    return data.daily(data.resolve(ticker, date(2049, 1, 1)).id)


def adjusted_closes(data: DataFolder, ticker: str) -> list[float]:
    closes = stock(data, ticker).adjusted_closes(date(1998, 1, 1), date(2049, 1, 1))
    return [float(price) for _, price in closes]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "import", *map(str, arguments)])


# --- the demo market, there and back


@pytest.fixture(scope="module")
def exported(demo_market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo market as raw tables: long and wide, CSV and Parquet; a stock has its last ticker throughout."""
    folder = tmp_path_factory.mktemp("tables")
    data = DataFolder(demo_market)
    frames, names = [], {}
    for path in sorted((demo_market / "equity/usa/map_files").glob("*.csv")):
        ticker = path.stem.upper()
        sid = data.resolve(ticker, date(2049, 1, 1)).id
        names[str(sid)] = ticker
        own = data.daily(sid)
        frame = pd.DataFrame({name: getattr(own, name) for name in FIELDS}, dtype=float)
        frame[list(FIELDS[:4])] /= 1e4
        days = [date.fromordinal(day) for day in own.ordinals.tolist()]
        frame.insert(0, "date", [f"{day}" for day in days])
        frame.insert(1, "ticker", ticker)
        frame["dividend"] = frame["split"] = 0.0
        for row, after in zip(own.factors[1:], own.factors[2:], strict=False):
            ex = days.index(data.calendar.next_session(row.day))
            if row.price_factor != after.price_factor:
                frame.loc[ex, "dividend"] = float(distribution(row, after))
            if row.split_factor != after.split_factor:
                frame.loc[ex, "split"] = round(float(after.split_factor / row.split_factor), 4)
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    table["split"] = table["split"].replace(1.5, 3 / 2)
    table.to_csv(folder / "long.csv", index=False)
    table.sample(frac=1, random_state=1).to_parquet(folder / "shuffled.parquet")
    for name in NUMBERS:
        wide = table.pivot(index="date", columns="ticker", values=name)
        wide.to_csv(folder / f"{name}.csv")
        wide.set_index(pd.to_datetime(wide.index)).to_parquet(folder / f"{name}.parquet")
    lists = []
    for path in sorted((demo_market / "equity/usa/universes/etf/spy").glob("*.csv")):
        for row in data.constituents(path):
            weight = None if row.weight is None else float(row.weight)
            lists.append((date.fromisoformat(path.stem), names[row.symbol.sid], weight))
    pd.DataFrame(lists, columns=["date", "ticker", "weight"]).to_csv(folder / "members.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def again(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo market after its way through a table."""
    folder = tmp_path_factory.mktemp("again") / "data"
    long = read_tables([exported / "long.csv"])
    import_market(folder, long, adjusted=False, constituents=exported / "members.csv")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {f"{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["shuffled.parquet", "wide.csv", "wide.parquet", "one file a stock"])
def test_every_layout_gives_the_same_folder(exported, again, tmp_path, kind):
    if kind.startswith("wide"):
        paths = [exported / f"{name}{Path(kind).suffix}" for name in NUMBERS]
    elif kind == "shuffled.parquet":
        paths = [exported / kind]
    else:
        for ticker, own in pd.read_csv(exported / "long.csv").groupby("ticker"):
            own.drop(columns="ticker").to_csv(tmp_path / f"{ticker}.csv", index=False)
        paths = sorted(tmp_path.glob("*.csv"))
    members = exported / "members.csv"
    import_market(tmp_path / "data", read_tables(paths), adjusted=False, constituents=members)
    assert contents(tmp_path / "data") == contents(again)


def test_bars_and_factors_come_back_as_they_were(demo_market, again):
    before, after = DataFolder(demo_market), DataFolder(again)
    paths = sorted((demo_market / "equity/usa/map_files").glob("*.csv"))
    assert [path.name for path in sorted((again / "equity/usa/map_files").glob("*.csv"))] == [p.name for p in paths]
    for path in paths:
        old, new = stock(before, path.stem), stock(after, path.stem)
        for name in ("ordinals", *FIELDS):
            assert (getattr(old, name) == getattr(new, name)).all()
        assert [row.day for row in old.factors] == [row.day for row in new.factors]
        # factors are written with seven places, dividends come back in whole cents
        rows = np.arange(len(old))
        np.testing.assert_allclose(new.doubles(rows, True), old.doubles(rows, True), rtol=2e-6, atol=1)
        assert old.factors == pytest.approx(new.factors) or path.stem
        old_map, new_map = (data.map_file(data.resolve(path.stem, date(2049, 1, 1)).id) for data in (before, after))
        assert old_map and new_map and old_map.delisting_date == new_map.delisting_date


def test_the_imported_market_passes_the_check_and_has_the_same_sessions(demo_market, again):
    report = check_folder(again)
    assert report.problems == []
    old, new = dict(check_folder(demo_market).holds), dict(report.holds)
    for what in ("daily bars", "period", "constituents of SPY", "factor files", "benchmark, hourly SPY"):
        assert new[what] == old[what]
    period = date(2010, 1, 1), date(2011, 12, 31)
    calendars = [MarketCalendar.read(folder) for folder in (demo_market, again)]
    assert calendars[0].sessions(*period) == calendars[1].sessions(*period)


class Looking(Scripted):
    """Asks for the history of every constituent, once."""

    start, end = "2011-03-01", "2011-03-04"
    universe_of = staticmethod(lambda rows: [row.symbol for row in rows])
    script: ClassVar[Any] = {"2011-03-02 09:00": lambda algorithm: setattr(algorithm, "frame", algorithm.past())}

    def past(self) -> pd.DataFrame:
        return self.history(list(self.securities.keys()), 250, Resolution.DAILY)


def test_an_algorithm_sees_the_same_history(demo_market, again):
    frames = []
    for folder in (demo_market, again):
        engine = engine_on(folder, Looking)
        assert engine.run() is None
        data = DataFolder(folder)
        frame = engine.algorithm.frame.reset_index()
        last_tickers = [data.map_file(symbol.id).last_ticker for symbol in frame["symbol"]]
        frames.append(frame.assign(symbol=last_tickers).set_index(["symbol", "time"]).sort_index())
    assert len(frames[0]) > 20 * 200
    pd.testing.assert_frame_equal(*frames, rtol=2e-6)


def test_the_strategy_runs_on_it_and_orders_the_same(demo_market, again, run_strategy):
    period = {"start": "2011-06-01", "end": "2011-08-31"}
    orders = []
    for folder in (demo_market, again):
        run = run_strategy(folder, **period)
        assert run.failure is None
        data = run.engine.data
        orders.append(
            [
                (data.map_file(order.symbol.id).last_ticker, order.quantity, order.last_fill_time)
                for order in run.engine.brokerage.orders
            ]
        )
    assert len(orders[0]) > 20
    assert sorted(orders[0]) == sorted(orders[1])


# --- what is written


def test_prices_are_held_in_ten_thousandths_of_a_dollar(tmp_path):
    data = imported(tmp_path, sound())
    aaa = stock(data, "AAA")
    assert [date.fromordinal(day).isoformat() for day in aaa.ordinals.tolist()] == SESSIONS
    assert aaa.open.tolist()[:2] == [495_000, 505_000]
    assert aaa.high.tolist()[:2] == [510_000, 520_000]
    assert aaa.low.tolist()[:2] == [490_000, 500_000]
    assert aaa.close.tolist()[:2] == [500_000, 510_000]
    assert aaa.volume.tolist()[:2] == [1000, 1000]


def test_a_stock_that_ends_before_the_data_is_delisted_on_its_last_day(tmp_path):
    data = imported(tmp_path, sound())
    ends = {}
    for ticker in ("SPY", "AAA", "BRK.B"):
        file = data.map_file(data.resolve(ticker, date(2049, 1, 1)).id)
        assert file is not None
        ends[ticker] = file.delisting_date
    assert ends == {"SPY": None, "AAA": None, "BRK.B": date(2013, 7, 3)}


def test_stocks_that_end_together_before_the_fund_are_not_delisted(tmp_path):
    nan = [np.nan] * 2
    table = bars(SPY=[100.0] * 7, AAA=[50.0] * 5 + nan, BBB=[50.0] * 5 + nan, CCC=[50.0] * 4 + [np.nan] + nan)
    table.to_csv(tmp_path / "bars.csv", index=False)
    bars_ = read_tables([tmp_path / "bars.csv"])
    assert import_market(tmp_path / "data", bars_, adjusted=True, constituents=None).end == date(2013, 7, 3)
    data = DataFolder(tmp_path / "data")
    files = [data.map_file(data.resolve(ticker, date(2049, 1, 1)).id) for ticker in ("AAA", "BBB", "CCC")]
    assert [file and file.delisting_date for file in files] == [None, None, date(2013, 7, 2)]


def test_identifiers_are_those_of_lean(tmp_path):
    data = imported(tmp_path, sound())
    assert str(data.resolve("SPY", date(2013, 7, 1)).id) == "SPY R735QTJ8XC9X"
    born = SecurityIdentifier.generate_equity("BRK.B", date(2013, 6, 27))
    assert data.resolve("BRK.B", date(2013, 7, 1)).id == born
    assert (tmp_path / "data/equity/usa/daily/brk.b.zip").is_file()


def test_hours_of_the_fund_show_the_open_alone_until_the_last_which_holds_the_rest(tmp_path):
    data = imported(tmp_path, sound())
    hours, ends = data.hourly(data.resolve("SPY", date(2013, 7, 1)).id)
    assert len(hours) == 6 * 7 + 4
    early = hours.ordinals == date(2013, 7, 3).toordinal()
    assert (ends[early] % 24).tolist() == [10, 11, 12, 13]
    assert hours.open[early].tolist() == [995_000] * 4
    assert hours.high[early].tolist() == [995_000] * 3 + [1_010_000]
    assert hours.low[early].tolist() == [995_000] * 3 + [990_000]
    assert hours.close[early].tolist() == [995_000] * 3 + [1_000_000]
    assert hours.volume[early].tolist() == [0, 0, 0, 1000]


def test_two_imports_write_the_same_bytes_and_the_second_takes_the_place_of_the_first(tmp_path):
    imported(tmp_path, sound())
    before = contents(tmp_path / "data")
    (tmp_path / "data/equity/usa/daily/old.zip").write_bytes(b"left over")
    imported(tmp_path, sound())
    assert contents(tmp_path / "data") == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("write", ["mine.txt", "ABOUT.txt"])
def test_a_folder_of_anything_else_is_refused_and_stays(tmp_path, write):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / write).write_text("mine")
    with pytest.raises(DataError, match="was not made by `data import`: name another folder"):
        imported(tmp_path, sound())
    assert contents(tmp_path / "data") == {write: b"mine"}


def test_what_was_put_into_an_imported_folder_is_never_deleted(tmp_path):
    imported(tmp_path, sound())
    (tmp_path / "data/bars.csv").write_text("mine")
    with pytest.raises(DataError, match=r"holds bars\.csv, which `data import` did not write: move it"):
        imported(tmp_path, sound())
    assert (tmp_path / "data/bars.csv").read_text() == "mine"


def test_interest_rates_that_were_put_into_an_imported_folder_stay(tmp_path):
    imported(tmp_path, sound())
    rates = tmp_path / "data/alternative/interest-rate/usa/interest-rate.csv"
    rates.parent.mkdir(parents=True)
    rates.write_text("DATE,rate\n2010-02-19,0.75\n")
    assert len(imported(tmp_path, sound()).interest_rates()) == 1


def test_an_interrupted_import_leaves_what_was_there(tmp_path, monkeypatch):
    imported(tmp_path, sound())
    before = contents(tmp_path / "data")

    def interrupt(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_market(
            tmp_path / "data",
            read_tables([tmp_path / "bars.csv"]),
            adjusted=True,
            constituents=None,
            on_progress=interrupt,
        )
    assert contents(tmp_path / "data") == before
    assert not list(tmp_path.glob(".*"))


# --- dividends and splits


def with_actions(**cells: dict[str, float]) -> pd.DataFrame:
    """The sound table, raw, where AAA falls by half on 2013-07-02; cells: column -> date -> value for AAA."""
    table = bars(SPY=[100.0] * 7, AAA=[50.0, 51.0, 52.0, 26.0, 27.0, 25.0, 26.0])
    for column, values in cells.items():
        table[column] = np.nan
        for day, value in values.items():
            table.loc[(table["ticker"] == "AAA") & (table["date"] == day), column] = value
    return table


def test_raw_prices_with_a_split_and_a_dividend_earn_the_total_return_of_a_holder(tmp_path):
    """One share at 50 becomes two at 26; each gets 2 dollars on 2013-07-05, worth 2 / 27 of what the holder has at the
    close before: LEAN's prices count on that being put back at that close."""
    table = with_actions(split={"2013-07-02": 2}, dividend={"2013-07-05": 2.0})
    closes = adjusted_closes(imported(tmp_path, table, adjusted=False), "AAA")
    returns = np.array(closes[1:]) / np.array(closes[:-1]) - 1
    expected = [51 / 50, 52 / 51, 2 * 26 / 52, 27 / 26, 25 / (27 - 2), 26 / 25]
    # factors have seven places
    assert returns + 1 == pytest.approx(expected, rel=3e-7)


def test_factor_rows_stand_on_the_session_before_with_its_close(tmp_path):
    table = with_actions(split={"2013-07-02": 2}, dividend={"2013-07-05": 2.0})
    imported(tmp_path, table, adjusted=False)
    assert (tmp_path / "data/equity/usa/factor_files/aaa.csv").read_text().splitlines() == [
        "20130627,0.9259259,0.5,1",
        "20130701,0.9259259,0.5,52.00",
        "20130703,0.9259259,1,27.00",
        "20501231,1,1,0",
    ]


def test_a_dividend_and_a_split_of_one_day_share_a_row_and_the_dividend_is_a_share_held_before(tmp_path):
    table = with_actions(split={"2013-07-02": 2}, dividend={"2013-07-02": 5.2})
    closes = adjusted_closes(imported(tmp_path, table, adjusted=False), "AAA")
    assert closes[3] / closes[2] == pytest.approx(2 * 26 / (52 - 5.2), rel=3e-7)
    rows = (tmp_path / "data/equity/usa/factor_files/aaa.csv").read_text().splitlines()
    assert rows[1] == "20130701,0.9,0.5,52.00"


def test_an_event_after_the_first_bar_keeps_its_reference_price(tmp_path):
    imported(tmp_path, with_actions(dividend={"2013-06-27": 9.0, "2013-06-28": 5.0}), adjusted=False)
    assert (tmp_path / "data/equity/usa/factor_files/aaa.csv").read_text().splitlines() == [
        "20130627,0.9,1,50.00",
        "20501231,1,1,0",
    ]


def test_a_reverse_split_lifts_earlier_prices(tmp_path):
    table = bars(SPY=[100.0] * 7, AAA=[5.0, 5.0, 5.0, 25.0, 25.0, 25.0, 25.0])
    table["split"] = np.where((table["ticker"] == "AAA") & (table["date"] == "2013-07-02"), 0.2, 0)
    assert adjusted_closes(imported(tmp_path, table, adjusted=False), "AAA") == [25.0] * 7


def test_small_factors_keep_seven_digits(tmp_path):
    table = bars(SPY=[100.0] * 7, AAA=[5000.0, 5000.0, 5000.0, 16.0, 16.0, 16.0, 16.0])
    table["split"] = np.where((table["ticker"] == "AAA") & (table["date"] == "2013-07-02"), 313, 0)
    closes = adjusted_closes(imported(tmp_path, table, adjusted=False), "AAA")
    assert closes[0] == pytest.approx(5000 / 313, rel=1e-7)


def test_prices_that_a_ten_thousandth_of_a_dollar_is_too_coarse_for_are_told(tmp_path):
    imported(tmp_path, pd.concat([sound(), bars(CENT=[1.05] * 7)]))
    assert "1 stocks have prices below 0.1 dollars" in (tmp_path / "data/ABOUT.txt").read_text()


def test_adjusted_prices_stay_as_they_are_whatever_the_actions(tmp_path):
    table = with_actions(split={"2013-07-02": 2}, dividend={"2013-07-05": 2.0})
    data = imported(tmp_path, table)
    assert adjusted_closes(data, "AAA") == [50.0, 51.0, 52.0, 26.0, 27.0, 25.0, 26.0]
    rows = (tmp_path / "data/equity/usa/factor_files/aaa.csv").read_text().splitlines()
    assert rows == ["20130627,1,1,1", "20501231,1,1,0"]
    about = (tmp_path / "data/ABOUT.txt").read_text()
    assert "dividends are inside the prices" in about
    assert "dividend and split columns are passed over" in about


# --- constituents


def members(*rows: tuple[str, str, float | str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["date", "ticker", "weight"])


def listed(data: DataFolder, etf: str = "SPY") -> dict[str, dict[str, float | None]]:
    files = data.constituent_files(data.resolve(etf, date(2013, 7, 1)).id)
    return {
        f"{day}": {
            row.symbol.value: None if row.weight is None else float(row.weight) for row in data.constituents(path)
        }
        for day, path in sorted(files.items())
    }


def test_lists_keep_their_dates_tickers_and_weights(tmp_path):
    lists = members(("2013-06-28", "aaa", 0.7), ("2013-06-28", "BRK.B", 0.3), ("2013-07-05", "AAA", 1))
    data = imported(tmp_path, sound(), lists=lists)
    assert listed(data) == {"2013-06-28": {"AAA": 0.7, "BRK.B": 0.3}, "2013-07-05": {"AAA": 1.0}}


def test_an_empty_weight_stays_empty(tmp_path):
    lists = members(("2013-06-28", "AAA", 0.7), ("2013-06-28", "BRK.B", ""))
    assert listed(imported(tmp_path, sound(), lists=lists)) == {"2013-06-28": {"AAA": 0.7, "BRK.B": None}}


def test_a_list_of_a_day_without_session_counts_for_the_session_before(tmp_path):
    lists = members(("2013-06-28", "BRK.B", 1), ("2013-06-30", "AAA", 1), ("2013-07-04", "BRK.B", 1))
    assert listed(imported(tmp_path, sound(), lists=lists)) == {"2013-06-28": {"AAA": 1}, "2013-07-03": {"BRK.B": 1}}


def test_lists_of_dates_without_bars_and_constituents_without_bars_are_told(tmp_path):
    lists = members(("2013-05-31", "AAA", 1), ("2013-06-28", "AAA", 0.6), ("2013-06-28", "GONE", 0.4))
    data = imported(tmp_path, sound(), lists=lists)
    assert listed(data) == {"2013-06-28": {"AAA": 0.6, "GONE": 0.4}}
    about = (tmp_path / "data/ABOUT.txt").read_text()
    assert "1 lists of other dates than the bars' are left out" in about
    assert "1 constituents have no bars and cannot be held: GONE" in about


def test_all_takes_every_stock_with_a_bar_at_the_end_of_each_month_and_says_survivorship(tmp_path):
    data = imported(tmp_path, sound())
    assert listed(data) == {"2013-06-28": {"AAA": 0.5, "BRK.B": 0.5}, "2013-07-08": {"AAA": 1.0}}
    assert "survivorship" in (tmp_path / "data/ABOUT.txt").read_text()


def test_another_fund_has_its_own_lists_and_hours(tmp_path):
    table = pd.concat([sound(), bars(QQQ=[80.0] * 7)])
    data = imported(tmp_path, table, etf="qqq", lists=members(("2013-06-28", "AAA", 1)))
    assert listed(data, "QQQ") == {"2013-06-28": {"AAA": 1.0}}
    hours, _ = data.hourly(data.resolve("QQQ", date(2013, 7, 1)).id)
    assert hours.close[-1] == 800_000


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        (members(("2013-06-28", "AAA", 60), ("2013-06-28", "BRK.B", 40)), "add up to 100: give fractions"),
        (members(("2013-06-28", "AAA", -0.1)), "line 2, column weight, is -0.1: correct it, or leave the cell empty"),
        (members(("2013-06-28", "AAA", "half")), "line 2, column weight, is 'half', no number"),
        (members(("2013-06-28", "AAA", "")), "add up to 0"),
        (members(("28/06/2013", "AAA", 1)), "line 2, column date, is '28/06/2013', no date such as 2009-06-01"),
        (members(("2013-06-28", "A/A", 1)), "line 2, column ticker, is 'A/A', no ticker"),
        (members(("2013-06-28", "AAA", 0.5), ("2013-06-28", "aaa", 0.5)), "line 3, column ticker, AAA is on the list"),
        (members(("2013-06-28", "XYZ", 1)), "not one ticker of the list of 2013-06-28 has bars: write tickers as"),
        (members(("2010-06-30", "AAA", 1)), "no list within the bars' dates, 2013-06-27 to 2013-07-08"),
        (members(("2013-07-08", "AAA", 1)), "no session follows the first list"),
        (members(("2013-06-28", "AAA", 1)).drop(columns="weight"), "has no column weight (its columns are 'date', "),
        (members(), "members.csv has no rows"),
    ],
)
def test_constituents_that_cannot_be_used_are_refused(tmp_path, lists, sentence):
    said = refusal(tmp_path, sound(), lists=lists)
    assert sentence in said
    assert "members.csv" in said or "bars are of" in said


# --- bars that are passed over or refused


def test_order_case_empty_rows_and_other_columns_do_not_matter(tmp_path):
    table = sound().sample(frac=1, random_state=3)
    table["ticker"] = " " + table["ticker"].str.lower()
    table["adj close"] = 7
    table.columns = [name.title() for name in table.columns]
    table.to_csv(tmp_path / "bars.csv", index=False)
    with (tmp_path / "bars.csv").open("a") as file:
        file.write("\n,,,,,,,\n2013-07-02,DDD,,,,NA,nan,\n")
    read = read_tables([tmp_path / "bars.csv"])
    assert read.remarks == ("columns passed over: Adj Close",)
    import_market(tmp_path / "one", read, adjusted=True, constituents=None)
    imported(tmp_path, sound())
    assert contents(tmp_path / "one/equity") == contents(tmp_path / "data/equity")


@pytest.mark.parametrize(
    "written",
    [
        "20130702",
        "2013-07-02 16:00:00",
        "2013-07-02T00:00:00-04:00",
        "2013-07-02T13:30:00Z",
        "2013-07-03T01:00:00+00:00",
    ],
)
def test_a_date_is_a_session_of_new_york(tmp_path, written):
    table = sound().replace({"date": {"2013-07-02": written}})
    assert [date.fromordinal(day).isoformat() for day in stock(imported(tmp_path, table), "AAA").ordinals] == SESSIONS


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_dates_of_parquet_files_may_have_a_time_zone(tmp_path, zone):
    table = sound()
    table["date"] = pd.to_datetime(table["date"]).dt.tz_localize(zone)
    table.to_parquet(tmp_path / "bars.parquet")
    read = read_tables([tmp_path / "bars.parquet"])
    assert sorted({date.fromordinal(day).isoformat() for day in read.day.tolist()}) == SESSIONS


def test_tickers_that_look_like_missing_values_or_truths_are_tickers(tmp_path):
    table = pd.concat([sound(), bars(NA=[9.0] * 7, TRUE=[8.0] * 7, NAN=[7.0] * 7, NULL=[6.0] * 7)])
    data = imported(tmp_path, table)
    assert [stock(data, ticker).close[0] for ticker in ("NA", "TRUE", "NAN", "NULL")] == [90000, 80000, 70000, 60000]


def test_a_day_of_the_week_without_any_bar_is_taken_for_a_holiday(tmp_path):
    days = [f"{day}" for day in Exchange(2013, 2013).calendar().sessions(date(2013, 5, 1), date(2013, 7, 31))]
    days.remove("2013-06-12")
    rows = [(day, ticker, 9.0, 9.0, 9.0, 9.0, 5) for day in days for ticker in ("SPY", "AAA")]
    data = imported(tmp_path, pd.DataFrame(rows, columns=["date", "ticker", *FIELDS]))
    assert not data.calendar.is_session(date(2013, 6, 12))
    assert "no stock has a bar on 1 weekdays, first on 2013-06-12" in (tmp_path / "data/ABOUT.txt").read_text()


def change(column: str, value: object, line: int = 10) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """One cell of the table, by the line in its CSV file; line 10 is AAA on 2013-06-28."""

    def changed(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype(object)
        table.loc[line - 2, column] = value
        return table

    return changed


def without(**cells: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table[~np.logical_and.reduce([table[name] == value for name, value in cells.items()])]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (change("close", 0), "line 10, column close, is 0, not between 0.0001 and 1e+10"),
        (change("open", -3), "line 10, column open, is -3, not between"),
        (change("low", "inf"), "line 10, column low, is inf, not between"),
        (change("close", ""), "line 10, column close, is empty, and other cells of the bar are not"),
        (change("close", "NaN"), "line 10, column close, is empty"),
        (change("close", "50,5"), "line 10, column close, is '50,5', no number"),
        (change("volume", -1), "line 10, column volume, is -1, not between 0 and"),
        (change("volume", 1e17), "line 10, column volume, is 1e+17, not between"),
        (change("high", 40), "line 10, column high, is 40, lower than low"),
        (change("date", "2013-06-29"), "line 10, column date, is 2013-06-29, when New York has no session"),
        (change("date", "2013-07-04"), "line 10, column date, is 2013-07-04, when New York has no session"),
        (change("date", "2013-06-27"), "line 10, column date, is 2013-06-27, of which AAA has a bar already, in"),
        (change("date", "1997-12-31"), "line 10, column date, is 1997-12-31, not between 1998-01-02 and"),
        (change("date", "28.6.2013"), "line 10, column date, is '28.6.2013', no date such as 2009-06-01"),
        (change("date", ""), "line 10, column date, is '', no date"),
        (change("ticker", ""), "line 10, column ticker, is '', no ticker"),
        (change("ticker", "../x"), "line 10, column ticker, is '../x', no ticker"),
        (change("ticker", "A B"), "line 10, column ticker, is 'A B', no ticker"),
        (change("ticker", ".."), "line 10, column ticker, is '..', no ticker"),
        (change("ticker", "AAA.1"), "line 10, column ticker, is 'AAA.1', no ticker"),
        (change("ticker", "/etc/passwd"), "no ticker: one has letters and digits, with parts after . or - such as"),
        (change("ticker", "\u0410\u0410\u0410"), "no ticker"),
        (change("ticker", "A" * 21), "at most 20 characters"),
        (without(ticker="SPY"), "SPY has no bar on 7 of 7 sessions, first on 2013-06-27"),
        (without(ticker="SPY", date="2013-07-02"), "SPY has no bar on 1 of 7 sessions, first on 2013-07-02"),
        (lambda table: table[table["ticker"] == "SPY"], "no stock beside SPY at the end of any month"),
        (lambda table: table.drop(columns="close"), "has no column close (its columns are 'date', 'ticker'"),
        (lambda table: table.drop(columns="date"), "has no column date (its columns are 'ticker', 'open', "),
        (lambda table: table[:0], "bars.csv has no rows"),
        (lambda table: table.assign(Close=1.0), "has several columns close"),
        (lambda table: table[table["date"] < "2013-06-29"], "no session follows the first list"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_refused_by_file_line_and_column(tmp_path, spoil, sentence):
    said = refusal(tmp_path, spoil(sound()))
    assert sentence in said
    assert ": " in said


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"dividend": {"2013-07-02": -1}}, "line 12, column dividend, is -1, not between 0"),
        ({"dividend": {"2013-07-02": 52}}, "line 12, column dividend, is 52, not below the close before, 52"),
        ({"split": {"2013-07-02": -2}}, "line 12, column split, is -2, not between 0"),
        ({"split": {"2013-07-02": 1e9}}, "the splits of AAA multiply its prices by 1e-09"),
    ],
)
def test_dividends_and_splits_that_cannot_be_are_refused(tmp_path, cells, sentence):
    assert sentence in refusal(tmp_path, with_actions(**cells), adjusted=False)


def test_a_dividend_without_a_bar_is_refused(tmp_path):
    table = with_actions(dividend={"2013-07-02": 1})
    table.loc[(table["ticker"] == "AAA") & (table["date"] == "2013-07-02"), list(FIELDS)] = np.nan
    assert "line 12, column open, is empty" in refusal(tmp_path, table, adjusted=False)


def test_monthly_bars_are_refused(tmp_path):
    days = ["2013-01-31", "2013-02-28", "2013-03-28"]
    rows = [(day, ticker, 9.0, 9.0, 9.0, 9.0, 5) for day in days for ticker in ("SPY", "AAA")]
    said = refusal(tmp_path, pd.DataFrame(rows, columns=["date", "ticker", *FIELDS]))
    assert "bars of 3 in 40 sessions: give the bars of every day" in said


def wide(folder: Path, table: pd.DataFrame) -> dict[str, Path]:
    paths = {}
    for name in FIELDS:
        paths[name] = folder / f"{name}.csv"
        table.pivot(index="date", columns="ticker", values=name).to_csv(paths[name])
    return paths


def test_a_wide_table_without_a_name_for_its_dates_is_read(tmp_path):
    paths = wide(tmp_path, sound())
    for path in paths.values():
        path.write_text(path.read_text().replace("date", "", 1))
    assert read_tables(list(paths.values())).tickers == ("AAA", "BRK.B", "SPY")


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("close", "2013-07-02,53.0", "2013-07-02,", "close.csv, line 5, column AAA, is empty"),
        ("close", "2013-07-02,53.0", "2013-07-02,-1", "close.csv, line 5, column AAA, is -1, not between"),
        ("open", "2013-07-02,52.5", "2013-07-02,x", "open.csv, line 5, column AAA, is 'x', no number"),
        ("open", "2013-07-02,", "2013-07-01,", "open.csv, line 5, column date, is a date that stands there before"),
        ("low", "2013-07-02,52.0,19.0,99.0\n", "", "low.csv, 2013-07-02, column AAA, is empty"),
        ("open", "AAA", "../AAA", "open.csv, the name of a column is '../AAA', no ticker"),
        ("open", "AAA", "spy", "open.csv has two columns of one ticker"),
    ],
)
def test_cells_of_wide_tables_are_named_by_file_line_and_ticker(tmp_path, name, old, new, sentence):
    paths = wide(tmp_path, sound())
    text = paths[name].read_text()
    assert text.count(old) == 1
    paths[name].write_text(text.replace(old, new))
    with pytest.raises(DataError) as error:
        bars_ = read_tables(list(paths.values()))
        import_market(tmp_path / "data", bars_, adjusted=True, constituents=None)
    assert sentence in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_wide_table_needs_one_file_of_every_field(tmp_path):
    paths = wide(tmp_path, sound())
    volume = paths.pop("volume")
    with pytest.raises(DataError, match="is one file for each of open, high, low, close, volume, and there is none of"):
        read_tables(list(paths.values()))
    with pytest.raises(DataError, match="and no two"):
        read_tables([*paths.values(), volume, volume])
    sound().to_csv(tmp_path / "bars.csv", index=False)
    with pytest.raises(DataError, match=r"open\.csv has the columns 'date', 'AAA'"):
        read_tables([paths["open"], tmp_path / "bars.csv"])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("bars.csv", None, "bars.csv cannot be read (FileNotFoundError"),
        ("bars.csv", b"", "bars.csv cannot be read (EmptyDataError"),
        ("bars.csv", b"\xff\xfe\x00", "bars.csv cannot be read (UnicodeDecodeError"),
        ("bars.csv", b"date,ticker\n1,2,3\n", "bars.csv has lines with more cells than its first line has names"),
        ("bars.csv", b"date,ticker\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        ("bars.parquet", b"PAR1", "bars.parquet cannot be read (ArrowInvalid"),
        ("bars.xlsx", b"", "bars.xlsx is no .csv and no .parquet file: convert it"),
        ("a b.csv", b"date,open,high,low,close,volume\n2013-07-02,1,1,1,1,1\n", "its name is 'a b', no ticker"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_tables([tmp_path / name])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_the_calendar_by_rule_is_the_exchanges(shared):
    real = MarketCalendar.read(shared / "marketdata" / "lean")
    ours = Exchange(1998, 2028).calendar()
    period = date(1998, 1, 1), date(2028, 12, 31)
    assert ours.sessions(*period) == real.sessions(*period)
    differ = [day for day in ours.sessions(*period) if ours.close(day) != real.close(day)]
    # LEAN's database names no early close before 1999
    assert differ == [date(1998, 11, 27), date(1998, 12, 24)]


# --- yfinance


@pytest.fixture
def yfinance(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in that answers `download` with the frame that yfinance 0.2 and 1.0 give for several tickers."""
    module = ModuleType("yfinance")
    module.asked = []  # type: ignore[attr-defined]

    def answer(tickers: list[str], **options: Any) -> pd.DataFrame:
        module.asked.append((tickers, options))  # type: ignore[attr-defined]
        table = sound()
        table["ticker"] = table["ticker"].str.replace(".", "-")
        table["date"] = pd.to_datetime(table["date"])
        frame = table.pivot(index="date", columns="ticker", values=list(FIELDS))
        frame = frame.rename(columns=str.capitalize, level=0).reindex(columns=tickers, level=1)
        for ticker in set(tickers) - set(table["ticker"]):
            for field in FIELDS:
                frame[field.capitalize(), ticker] = np.nan
        return frame.rename_axis(index="Date", columns=["Price", "Ticker"])

    module.download = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yfinance", module)
    return module


def test_bars_of_yfinance_are_imported_as_adjusted(tmp_path, yfinance):
    import_market(tmp_path / "y", download(["SPY", "AAA", "brk-b"]), adjusted=True, constituents=None)
    imported(tmp_path, sound())
    assert contents(tmp_path / "y") == contents(tmp_path / "data")
    ((tickers, options),) = yfinance.asked
    assert tickers == ["SPY", "AAA", "BRK-B"]
    assert options["auto_adjust"] is True
    assert (options["start"], options["end"] <= f"{datetime.now():%Y-%m-%d}") == ("1998-01-02", True)


def test_a_ticker_that_yfinance_does_not_know_is_named(yfinance):
    with pytest.raises(DataError, match="yfinance has no bars of NOPE: correct the ticker or leave it out"):
        download(["SPY", "AAA", "NOPE"])


@pytest.mark.parametrize("gives", [None, pd.DataFrame(), ConnectionError("no\nroute")])
def test_what_yfinance_cannot_do_is_one_sentence(yfinance, gives):
    def answer(*_: object, **__: object) -> object:
        if isinstance(gives, Exception):
            raise gives
        return gives

    yfinance.download = answer  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"^yfinance [^\n]*: try again later"):
        download(["SPY"])


def test_without_yfinance_the_command_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    run = command(tmp_path / "data", "--yfinance", "SPY", "AAPL", "--constituents", "all")
    assert run.exit_code == 1
    assert run.output == "Error: --yfinance needs the package yfinance: install it with `pip install yfinance`\n"


# --- the command


def test_the_command_prints_what_it_wrote_and_the_next_command(tmp_path):
    sound().to_csv(tmp_path / "bars.csv", index=False)
    run = command(tmp_path / "data", tmp_path / "bars.csv", "--prices", "adjusted", "--constituents", "all")
    assert run.exit_code == 0, run.output
    for words in ("2013-06-27 to 2013-07-08, 7 sessions", "2 lists, 2013-06-28 to 2013-07-08", "No problems found."):
        assert words in run.output
    assert "Note: prices are adjusted: dividends are inside the prices" in run.output
    assert "(survivorship)" in run.output
    next_line = run.output.splitlines()[-1]
    assert next_line == (
        f"Next: python -m minilean backtest . --data-folder {tmp_path / 'data'} --parameter start 2013-07-01 "
        "--parameter end 2013-07-08"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--prices", "raw"], "with --constituents FILE, or take all tickers: --constituents all"),
        (["--constituents", "all"], "say with --prices adjusted or --prices raw whether prices contain"),
        (["--yfinance", "--prices", "raw", "--constituents", "all"], "yfinance gives adjusted prices"),
        (["--prices", "raw", "--constituents", "none.csv"], "none.csv cannot be read"),
        (["--prices", "raw", "--constituents", "all", "--etf", "../x"], "--etf is '../x', no ticker"),
        (["--prices", "raw", "--constituents", "all", "--etf", "QQQ"], "QQQ has no bar on 7 of 7 sessions"),
    ],
)
def test_the_command_says_what_is_missing(tmp_path, options, sentence):
    sound().to_csv(tmp_path / "bars.csv", index=False)
    run = command(tmp_path / "data", tmp_path / "bars.csv", *options)
    assert run.exit_code == 1
    assert run.output.startswith("Error: ") and run.output.count("\n") == 1
    assert sentence in run.output
    assert not (tmp_path / "data").exists()


# --- any table


NUMBERS_OF_NO_BAR = ["0", "-1", "1e400", "1e20", "inf", "nan", "NA", "True", "0x10", "1_0", "1e-9", "9" * 400]
DATES_OF_NO_BAR = ["2013-06-29", "2013-07-04", "0001-01-01", "9999-12-31", "2013-07-02T00:00:00-23:00", "2013-W27-2"]
NAMES = ["..", "../x", "SPY", "spy", "AAA", "CON", "A.1", "A.B", "-", "A-", "\ufeff", "\u0661", "20130702", "2013"]
NASTY = st.sampled_from(["", " ", "x", '"', "'", "\x00", ",", *NUMBERS_OF_NO_BAR, *DATES_OF_NO_BAR, *NAMES])


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), layout=st.sampled_from(["long", "wide", "members"]), adjusted=st.booleans())
def test_any_damage_to_a_table_ends_in_a_sentence_or_in_a_folder_that_passes_the_check(
    tmp_path_factory, data, layout, adjusted
):
    folder = tmp_path_factory.mktemp("any")
    try:
        table = with_actions(dividend={"2013-07-05": 2.0}, split={"2013-07-02": 2})
        table.to_csv(folder / "bars.csv", index=False)
        paths = list(wide(folder, table).values()) if layout == "wide" else [folder / "bars.csv"]
        members(("2013-06-28", "AAA", 1.0), ("2013-07-03", "AAA", 1.0)).to_csv(folder / "members.csv", index=False)
        spoilt = folder / "members.csv" if layout == "members" else data.draw(st.sampled_from(paths))
        lines = [line.split(",") for line in spoilt.read_text().split("\n")]
        for _ in range(data.draw(st.integers(1, 3))):
            row = data.draw(st.integers(0, len(lines) - 1))
            what = data.draw(st.sampled_from(["cell", "cell", "cell", "row", "less", "more"]))
            if what == "cell" and lines[row]:
                lines[row][data.draw(st.integers(0, len(lines[row]) - 1))] = data.draw(NASTY)
            elif what == "row":
                lines.insert(data.draw(st.integers(0, len(lines))), list(data.draw(st.sampled_from(lines))))
            elif what == "less":
                lines[row] = lines[row][:-1]
            else:
                lines[row] = [*lines[row], data.draw(NASTY)]
        spoilt.write_text("\n".join(map(",".join, lines)))
        lists = folder / "members.csv" if layout == "members" else None
        try:
            import_market(folder / "data", read_tables(paths), adjusted=adjusted, constituents=lists)
        except DataError as error:
            assert "\n" not in str(error)
            assert not (folder / "data").exists()
        else:
            assert check_folder(folder / "data").problems == []
        assert {path.name for path in folder.iterdir()} <= {"data", "members.csv", "bars.csv", *(p.name for p in paths)}
    finally:
        shutil.rmtree(folder)
