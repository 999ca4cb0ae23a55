"""The demo market: LEAN's formats row by row, corporate actions that undo exactly, and the planted signal."""

import hashlib
import json
import re
import zipfile
from datetime import date, time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from minilean.calendar import MarketCalendar
from minilean.data import DataFolder
from minilean.demo import folder as demo_folder
from minilean.demo import simulation, write_demo_market
from minilean.demo.simulation import Floats, Market, Stock, simulate
from minilean.errors import DataError
from minilean.symbols import SecurityIdentifier

SMALL: dict[str, Any] = {"n_stocks": 24, "years": (2010, 2011)}
SHARED = Path(__file__).parents[2].parent / "shared"
BAR = re.compile(r"\d{8} \d\d:00(,[1-9]\d*){5}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("small") / "data"
    assert write_demo_market(target, seed=1, **SMALL).created
    return target


@pytest.fixture(scope="module")
def calendar(folder: Path) -> MarketCalendar:
    return MarketCalendar.read(folder)


@pytest.fixture(scope="module")
def market(calendar: MarketCalendar) -> Market:
    """The numbers behind `folder`."""
    return simulate(calendar, seed=1, **SMALL)


@pytest.fixture(scope="module")
def default_market(calendar: MarketCalendar) -> Market:
    return simulate(calendar, seed=1, n_stocks=120, years=(2008, 2011))


def lines(path: Path) -> list[str]:
    text = path.read_text()
    assert text.endswith("\n")
    return text.splitlines()


def zipped(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{path.stem}.csv"]
        return archive.read(f"{path.stem}.csv").decode().splitlines()


def bars_on_disk(folder: Path, ticker: str, resolution: str = "daily") -> list[tuple[str, list[int]]]:
    rows = zipped(folder / "equity/usa" / resolution / f"{ticker.lower()}.zip")
    assert all(BAR.fullmatch(row) for row in rows)
    return [(row.split(",")[0], [int(cell) for cell in row.split(",")[1:]]) for row in rows]


def all_bars(folder: Path, stock: Stock) -> dict[date, list[int]]:
    """All daily bars of a stock by day, over both of its tickers if it has two."""
    tickers = [stock.former[0], stock.ticker] if stock.former else [stock.ticker]
    rows = [row for ticker in tickers for row in bars_on_disk(folder, ticker)]
    assert all(stamp.endswith(" 00:00") for stamp, _ in rows)
    found = {day(stamp[:8]): bar for stamp, bar in rows}
    assert len(found) == len(rows) and list(found) == sorted(found)
    return found


def day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def factor_rows(folder: Path, ticker: str) -> list[tuple[date, float, float, float]]:
    rows = [line.split(",") for line in lines(folder / "equity/usa/factor_files" / f"{ticker.lower()}.csv")]
    return [(day(first), float(price), float(split), float(reference)) for first, price, split, reference in rows]


def constituent_files(folder: Path) -> list[Path]:
    return sorted((folder / "equity/usa/universes/etf/spy").glob("*.csv"))


def digest(folder: Path) -> str:
    """Of all names and contents; of zip files what is inside, so that the compression library does not matter."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = "\n".join(zipped(path)).encode() if path.suffix == ".zip" else path.read_bytes()
        total.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return total.hexdigest()


def information_coefficient(market: Market) -> float:
    """As the module of the simulation defines it: over the months, the mean rank correlation of minus the 10-session
    return at a month's last close with the return from the next month's first open to its last close."""
    first_open = market.total_return * market.bars[:, :, 0] / market.bars[:, :, 3]
    found = []
    for start, end in zip(market.month_ends[:-1], market.month_ends[1:], strict=True):
        alive = [i for i, s in enumerate(market.stocks) if s.first <= start - 10 and s.last >= end]
        past = market.total_return[start, alive] / market.total_return[start - 10, alive]
        found.append(spearmanr(-past, market.total_return[end, alive] / first_open[start + 1, alive]).statistic)
    return float(np.mean(found))


# --- writing


def test_one_seed_gives_the_same_bytes_and_another_seed_others(folder: Path, tmp_path: Path) -> None:
    write_demo_market(tmp_path / "again", seed=1, **SMALL)
    write_demo_market(tmp_path / "other", seed=2, **SMALL)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all((folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    assert digest(tmp_path / "other") != digest(folder)


def test_what_a_seed_gives_changes_only_with_the_edition(folder: Path) -> None:
    assert (demo_folder._EDITION, digest(folder)) == (
        1,
        "12d5433cfc6c9d5c099315ef113b29c366049a8f96318cc857b5ae2867b44f58",
    ), "the market of a seed has changed: raise _EDITION, so that folders written before are not taken for this one"


def test_a_market_that_is_there_already_is_left_alone(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    market = write_demo_market(folder, seed=1, **SMALL)
    assert not market.created
    assert (market.first, market.last, market.n_stocks) == (date(2010, 1, 4), date(2011, 12, 30), 24)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert write_demo_market(tmp_path, seed=1, **SMALL).created
    assert "seed 1, 24 stocks, 2010-01-04 to 2011-12-30" in (tmp_path / "ABOUT.txt").read_text()


@pytest.mark.parametrize(("changed", "sentence"), [({"seed": 2}, "another demo market"), ({"signal": 0.0}, "another")])
def test_a_folder_with_another_demo_market_is_refused(folder: Path, changed: dict[str, Any], sentence: str) -> None:
    before = digest(folder)
    with pytest.raises(DataError, match=sentence):
        write_demo_market(folder, **{"seed": 1, **SMALL, **changed})
    assert digest(folder) == before


def test_a_folder_with_anything_else_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="is not empty and holds no demo market"):
        write_demo_market(tmp_path, **SMALL)
    with pytest.raises(DataError, match="holds no demo market"):
        write_demo_market(tmp_path / "mine.txt", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> str:
        assert list(tmp_path.glob(".data.*.partial/equity/usa/daily/*.zip"))
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_folder, "_constituents", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_demo_market(tmp_path / "data", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [{"n_stocks": 11}, {"years": (2007, 2009)}, {"years": (2010, 2012)}, {"years": (2010, 2010)}, {"seed": -1}]
)
def test_a_market_that_cannot_be_drawn_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it takes at least 12 stocks and two years within 2008"):
        write_demo_market(tmp_path / "data", **{**SMALL, **wrong})
    assert not list(tmp_path.iterdir())


# --- calendar


def test_the_folder_carries_the_sessions_it_was_drawn_on(
    folder: Path, market: Market, calendar: MarketCalendar
) -> None:
    assert market.sessions == calendar.sessions(date(2010, 1, 1), date(2011, 12, 31))
    assert len(market.sessions) == 252 + 252  # sessions of the New York Stock Exchange in 2010 and 2011
    assert calendar.close(date(2010, 11, 26)).time() == time(13)
    entry = json.loads((folder / "market-hours/market-hours-database.json").read_text())["entries"]["Equity-usa-[*]"]
    assert entry["holidays"][0] == "1/1/2008" and entry["earlyCloses"]["11/25/2011"] == "13:00:00"


def test_sessions_and_closes_are_those_of_the_real_exchange(calendar: MarketCalendar) -> None:
    real_data = SHARED / "marketdata/lean"
    if not real_data.is_dir():
        pytest.skip(f"{real_data} is absent: it holds the exchange's real calendar")
    real = MarketCalendar.read(real_data)
    period = date(2008, 1, 1), date(2012, 12, 31)
    assert calendar.sessions(*period) == real.sessions(*period)
    assert [calendar.close(d) for d in calendar.sessions(*period)] == [real.close(d) for d in real.sessions(*period)]


# --- bars


def test_bars_exist_exactly_on_the_sessions_of_a_life(folder: Path, market: Market) -> None:
    n_missing = 0
    for stock in market.stocks:
        expected = [market.sessions[t] for t in range(stock.first, stock.last + 1) if t not in stock.missing]
        assert list(all_bars(folder, stock)) == expected
        n_missing += len(stock.missing)
    assert n_missing > 0
    assert [day(stamp[:8]) for stamp, _ in bars_on_disk(folder, "SPY")] == list(market.sessions)


def test_highs_and_lows_enclose_opens_and_closes_in_whole_cents(folder: Path, market: Market) -> None:
    bars = np.array([bar for stock in [*market.stocks, market.fund] for bar in all_bars(folder, stock).values()])
    opening, high, low, close, volume = bars.T
    assert (high >= np.maximum(opening, close)).all() and (low <= np.minimum(opening, close)).all()
    assert (low > 0).all() and (volume > 0).all()
    assert (bars[:, :4] % 100 == 0).all()
    assert (high > low).mean() > 0.99


def test_each_ticker_of_a_renamed_stock_has_its_own_file(folder: Path, market: Market) -> None:
    renamed = [(stock, *stock.former) for stock in market.stocks if stock.former]
    assert renamed
    for stock, former, until in renamed:
        assert day(bars_on_disk(folder, former)[-1][0][:8]) == market.sessions[until]
        assert day(bars_on_disk(folder, stock.ticker)[0][0][:8]) == market.sessions[until + 1]
        until_text = f"{market.sessions[until]:%Y%m%d}"
        assert lines(folder / "equity/usa/map_files" / f"{stock.ticker.lower()}.csv") == [
            f"{market.sessions[0]:%Y%m%d},{former.lower()},{stock.exchange}",
            f"{until_text},{former.lower()},{stock.exchange}",
            f"20501231,{stock.ticker.lower()},{stock.exchange}",
        ]
        assert not (folder / "equity/usa/map_files" / f"{former.lower()}.csv").exists()


def test_map_files_begin_with_the_first_bar_and_end_with_the_last_of_a_delisted_stock(
    folder: Path, market: Market
) -> None:
    assert any(stock.first for stock in market.stocks) and any(stock.delisted for stock in market.stocks)
    for stock in market.stocks:
        rows = lines(folder / "equity/usa/map_files" / f"{stock.ticker.lower()}.csv")
        days = list(all_bars(folder, stock))
        assert rows[0].startswith(f"{days[0]:%Y%m%d},")
        assert rows[-1].startswith(f"{days[-1]:%Y%m%d}," if stock.delisted else "20501231,")
        assert stock.delisted or days[-1] == market.sessions[-1]


def test_hours_of_the_fund_add_up_to_its_days(folder: Path, market: Market, calendar: MarketCalendar) -> None:
    hours: dict[date, list[tuple[str, list[int]]]] = {}
    for stamp, bar in bars_on_disk(folder, "SPY", "hour"):
        hours.setdefault(day(stamp[:8]), []).append((stamp[9:], bar))
    daily = all_bars(folder, market.fund)
    assert list(hours) == list(daily)
    for session, rows in hours.items():
        n_hours = 7 if calendar.close(session).time() == time(16) else 4
        assert [clock for clock, _ in rows] == [f"{9 + hour:02}:00" for hour in range(n_hours)]
        opening, high, low, close, volume = np.array([bar for _, bar in rows]).T
        assert daily[session] == [opening[0], high.max(), low.min(), close[-1], volume.sum()]
        assert (high >= np.maximum(opening, close)).all() and (low <= np.minimum(opening, close)).all()
        assert (opening[1:] == close[:-1]).all()
    assert {len(rows) for rows in hours.values()} == {4, 7}


def test_the_host_reads_every_bar(folder: Path, market: Market) -> None:
    data = DataFolder(folder)
    for stock in market.stocks:
        first_ticker = stock.former[0] if stock.former else stock.ticker
        sid = SecurityIdentifier.generate_equity(first_ticker, market.sessions[stock.first])
        read = data.daily(sid)
        assert [date.fromordinal(n) for n in read.ordinals.tolist()] == list(all_bars(folder, stock))
        assert len(read.factors) >= 2
    fund = data.resolve("SPY", market.sessions[0])
    assert str(fund.id) == "SPY R735QTJ8XC9X"
    assert len(data.daily(fund.id)) == len(market.sessions)
    assert len(data.hourly(fund.id)[0]) == market.n_hours.sum()
    assert data.interest_rates()[0][0] <= date(2008, 1, 2)


# --- corporate actions


def test_factor_files_have_a_first_row_ascend_and_end_in_2050(folder: Path, market: Market) -> None:
    for stock in market.stocks:
        rows = factor_rows(folder, stock.ticker)
        days = [row[0] for row in rows]
        assert days[0] == market.sessions[stock.first] and days == sorted(set(days))
        assert rows[-1] == (date(2050, 12, 31), 1, 1, 0)
        assert days[1:-1] == [market.sessions[t - 1] for t in sorted({*stock.dividends, *stock.splits})]
    assert factor_rows(folder, "SPY")[0][0] == date(1998, 1, 2)


def test_factor_files_give_back_dividends_and_splits_as_lean_computes_them(folder: Path, market: Market) -> None:
    """LEAN pays round(reference * (1 - price factor / next price factor), 2) dollars on the session after a row."""
    n_dividends = 0
    for stock in [*market.stocks, market.fund]:
        close = {d: bar[3] / 1e4 for d, bar in all_bars(folder, stock).items()}
        rows = factor_rows(folder, stock.ticker)[1:]
        for (row_day, price, split, reference), (_, next_price, next_split, _) in pairwise(rows):
            ex_day = market.sessions.index(row_day) + 1
            assert reference == close[row_day]
            assert round(reference * (1 - price / next_price), 2) == pytest.approx(stock.dividends.get(ex_day, 0))
            assert split / next_split == pytest.approx(stock.splits.get(ex_day, 1), rel=1e-6)
            n_dividends += ex_day in stock.dividends
    assert n_dividends > 100


def test_adjusted_prices_earn_the_simulated_total_return(folder: Path, market: Market) -> None:
    """Exact but for prices in whole cents, at most half a cent at both ends of a return, and in the reference prices
    of at most eight dividends."""
    for i, stock in enumerate(market.stocks):
        bars, rows = all_bars(folder, stock), factor_rows(folder, stock.ticker)
        days = list(bars)
        raw = np.array([bar[3] / 1e4 for bar in bars.values()])
        factor = np.array([next(p * s for row_day, p, s, _ in rows if row_day >= d) for d in days])
        true = market.total_return[[market.sessions.index(d) for d in days], i]
        adjusted = raw * factor
        half_cent = 0.005 / raw
        daily_error = np.abs((adjusted[1:] / adjusted[:-1]) / (true[1:] / true[:-1]) - 1)
        assert (daily_error < 1.2 * (half_cent[1:] + half_cent[:-1]) + 2e-6).all()
        whole = (adjusted[-1] / adjusted[0]) / (true[-1] / true[0])
        assert whole == pytest.approx(1, abs=half_cent[0] + half_cent[-1] + 1e-4)
        assert whole == pytest.approx(1, abs=1e-3)


def test_raw_prices_jump_at_splits_and_adjusted_ones_do_not(folder: Path, market: Market) -> None:
    factors = []
    for stock in market.stocks:
        close = np.array([bar[3] for bar in all_bars(folder, stock).values()])
        for ex_day, factor in stock.splits.items():
            listed = sum(1 for t in range(stock.first, ex_day) if stock.has_bar(t))
            assert close[listed] / close[listed - 1] == pytest.approx(factor, rel=0.15)
            factors.append(factor)
    assert min(factors) < 1 < max(factors)


# --- constituents


def test_constituents_are_listed_on_the_last_session_of_every_month_from_the_twelfth_on(
    folder: Path, market: Market
) -> None:
    dates = [day(path.stem) for path in constituent_files(folder)]
    assert dates[0] == date(2010, 12, 31) and dates[-1] == date(2011, 12, 30) and len(dates) == 13
    for listed in dates:
        following = next((d for d in market.sessions if d > listed), None)
        assert following is None or following.month != listed.month


def test_constituents_have_sids_of_map_files_and_the_ticker_of_the_day(folder: Path) -> None:
    data = DataFolder(folder)
    for path in constituent_files(folder):
        rows = [line.split(",") for line in lines(path)]
        assert all(len(row) == 6 and row[2] == path.stem for row in rows)
        assert [row[0] for row in rows] == sorted({row[0] for row in rows})
        for ticker, text, *_ in rows:
            sid = SecurityIdentifier.parse(text)
            file = data.map_file(sid)
            assert str(sid) == text and file is not None
            last = file.delisting_date or date(2050, 12, 31)
            on = min(day(path.stem), last)
            assert [name.upper() for name, first, until in file.segments() if first <= on <= until] == [ticker]


def test_weights_are_market_values_and_sum_to_one_but_for_the_empty_ones(folder: Path, market: Market) -> None:
    n_empty = 0
    for path in constituent_files(folder):
        rows = [line.split(",") for line in lines(path)]
        value = np.array([float(row[5]) for row in rows])
        for row, share in zip(rows, value / value.sum(), strict=True):
            assert int(row[4]) > 0
            if row[3]:
                assert float(row[3]) == pytest.approx(share, abs=2e-8)
            n_empty += not row[3]
    assert n_empty == len(market.unweighted) > 0


def test_a_delisted_stock_leaves_the_lists_and_one_stays_a_month_too_long(default_market: Market) -> None:
    delisted = [stock for stock in default_market.stocks if stock.delisted]
    assert len(delisted) == 6
    ends = default_market.month_ends
    lists_after = [sum(1 for t in ends if stock.last < t <= stock.leaves) for stock in delisted]
    assert sorted(lists_after) == [0, 0, 0, 0, 0, 1]
    late = delisted[lists_after.index(1)]
    assert default_market.sessions[late.leaves].month % 3 == 0  # a strategy that looks quarterly meets it


def test_lists_on_disk_follow_the_lives_of_stocks(folder: Path, market: Market) -> None:
    session_of = {d: t for t, d in enumerate(market.sessions)}
    for path in constituent_files(folder):
        t = session_of[day(path.stem)]
        expected = {stock.ticker_on(t) for stock in market.stocks if stock.joins <= t <= stock.leaves}
        assert {line.split(",")[0] for line in lines(path)} == expected
    late = [stock for stock in market.stocks if stock.delisted and stock.leaves > stock.last]
    assert len(late) == 1
    path = folder / "equity/usa/universes/etf/spy" / f"{market.sessions[late[0].leaves]:%Y%m%d}.csv"
    shares, value = next(line.split(",")[4:] for line in lines(path) if line.startswith(late[0].ticker))
    last_close = list(all_bars(folder, late[0]).values())[-1][3] / 1e4
    assert float(value) / int(shares) == pytest.approx(last_close, rel=1e-6)


# --- the market as a whole


def test_the_default_market_has_the_planned_events(default_market: Market) -> None:
    stocks = default_market.stocks
    assert len(stocks) == 120 and len(default_market.sessions) == 1009
    assert sum(stock.first > 0 for stock in stocks) == 8
    assert sum(stock.former is not None for stock in stocks) == 2
    assert sorted(f for stock in stocks for f in stock.splits.values()) == pytest.approx(
        [1 / 3] + 5 * [0.5] + 2 * [2 / 3] + [5]
    )
    assert 70 <= sum(bool(stock.dividends) for stock in stocks) <= 95
    assert sum(len(stock.missing) for stock in stocks) >= 6
    tickers = [stock.ticker for stock in stocks] + [stock.former[0] for stock in stocks if stock.former]
    assert len(set(tickers)) == len(tickers) and all(re.fullmatch("[QVXZ][A-Z]{4}", ticker) for ticker in tickers)


def test_the_default_market_looks_like_one(default_market: Market) -> None:
    fund = default_market.fund_bars[:, 3] / 1e4
    reinvested = np.log(fund[-1] / fund[0]) + sum(d / fund[t - 1] for t, d in default_market.fund.dividends.items())
    assert 0.08 < np.expm1(reinvested / 4) < 0.12
    moves = np.diff(np.log(fund))
    assert 0.17 < moves.std() * np.sqrt(252) < 0.21
    assert np.mean((moves - moves.mean()) ** 4) / moves.var() ** 2 > 3.5  # fatter tails than a normal's 3

    in_2008 = [t for t, d in enumerate(default_market.sessions) if date(2008, 9, 15) <= d <= date(2008, 11, 20)]
    assert fund[in_2008[-1]] / fund[in_2008[0] - 1] < 0.85

    listed = [default_market.bars[s.first : s.last + 1, i] for i, s in enumerate(default_market.stocks)]
    assert min(bars[:, 2].min() for bars in listed) > 2e4
    assert max(bars[:, 1].max() for bars in listed) < 800e4
    activity = [np.corrcoef(np.abs(np.diff(np.log(bars[:, 3]))), np.log(bars[1:, 4]))[0, 1] for bars in listed]
    assert np.mean(activity) > 0.3


def test_the_fund_earns_what_its_constituents_earn(default_market: Market) -> None:
    """By value at the close before; what is left are its own noise of two basis points and new members' days."""
    market = default_market
    value = (market.shares * market.bars[:, :, 3]).astype(float)
    value *= [[stock.joins <= t < stock.last for stock in market.stocks] for t in range(len(market.sessions))]
    growth = market.total_return[1:] / market.total_return[:-1]
    index = (value[:-1] * growth).sum(axis=1) / value[:-1].sum(axis=1) - 1
    close = market.fund_bars[:, 3] / 1e4
    paid = np.array([market.fund.dividends.get(t, 0) for t in range(1, len(close))])
    fund = (close[1:] + paid) / close[:-1] - 1
    assert np.abs(fund - index).max() < 0.0025
    assert np.corrcoef(fund, index)[0, 1] > 0.999


def test_the_concentration_is_that_of_a_large_cap_index(default_market: Market) -> None:
    for t in default_market.month_ends[[11, -1]]:
        held = [i for i, stock in enumerate(default_market.stocks) if stock.joins <= t <= stock.last]
        weight = np.sort(default_market.shares[t, held] * default_market.bars[t, held, 3])[::-1]
        weight = weight / weight.sum()
        assert len(held) > 105
        assert 0.03 < weight[0] < 0.08 and 0.001 < weight[99] < 0.005


def test_the_default_market_is_small_on_disk(tmp_path: Path) -> None:
    market = write_demo_market(tmp_path / "data")
    assert (market.first, market.last) == (date(2008, 1, 2), date(2011, 12, 30))
    assert sum(path.stat().st_size for path in market.folder.rglob("*")) < 15e6
    assert constituent_files(market.folder)[0].stem == "20081231"


# --- the planted signal


def test_the_planted_signal_is_weak_and_there(calendar: MarketCalendar, default_market: Market) -> None:
    """Over 8 seeds the mean IC has a standard error of 0.005 around 0.051 (0.002 without a signal)."""
    assert 0 < information_coefficient(default_market) < 0.08
    with_signal, without = [], []
    for seed in range(1, 9):
        draw: dict[str, Any] = {"seed": seed, "n_stocks": 120, "years": (2008, 2011)}
        with_signal.append(information_coefficient(simulate(calendar, **draw)))
        without.append(information_coefficient(simulate(calendar, **draw, signal=0.0)))
    assert 0.03 < np.mean(with_signal) < 0.07
    assert abs(np.mean(without)) < 0.02
    # The same random numbers with and without: what differs is the signal alone.
    assert min(np.subtract(with_signal, without)) > 0.02


def test_the_signal_changes_prices_but_no_name_date_or_event(calendar: MarketCalendar, market: Market) -> None:
    def lives(m: Market) -> list[tuple[object, ...]]:
        return [(s.ticker, s.former, s.first, s.last, s.joins, s.leaves, s.splits) for s in m.stocks]

    plain = simulate(calendar, seed=1, **SMALL, signal=0.0)
    assert lives(plain) == lives(market)
    assert (plain.bars[:11, :, :4] == market.bars[:11, :, :4]).mean() > 0.9
    assert not (plain.bars[100:, :, :4] == market.bars[100:, :, :4]).mean() > 0.1


def test_the_score_knows_the_past_only(calendar: MarketCalendar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move of the market on one day changes all ranks from then on, and no price before."""
    untouched = simulate(calendar, seed=3, **SMALL).total_return
    original = simulation._market_factor

    def with_a_shock(*args: Any) -> tuple[Floats, Floats]:
        market, volatility = original(*args)
        market = market.copy()
        market[200] += 0.05
        return market, volatility

    monkeypatch.setattr(simulation, "_market_factor", with_a_shock)
    shocked = simulate(calendar, seed=3, **SMALL).total_return
    assert (shocked[:200] == untouched[:200]).all()
    assert (shocked[200] != untouched[200]).all()
