"""The simulated market as a LEAN data folder.

Formats are those of LEAN's own data: zipped daily and hour bars in 1/10000 dollar, map files, factor files, monthly
constituents of the index fund, market hours, symbol properties and interest rates.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path

import numpy as np

from minilean.calendar import OPEN, MarketCalendar
from minilean.demo.simulation import SIGNAL, Integers, Market, Stock, simulate
from minilean.errors import DataError
from minilean.formats import FAR_FUTURE
from minilean.symbols import DEFAULT_FIRST_DATE, SecurityIdentifier

YEARS = (2008, 2011)
"""The years that the holidays below cover; the market of the defaults."""

_HOLIDAYS = """
2008-01-01 2008-01-21 2008-02-18 2008-03-21 2008-05-26 2008-07-04 2008-09-01 2008-11-27 2008-12-25
2009-01-01 2009-01-19 2009-02-16 2009-04-10 2009-05-25 2009-07-03 2009-09-07 2009-11-26 2009-12-25
2010-01-01 2010-01-18 2010-02-15 2010-04-02 2010-05-31 2010-07-05 2010-09-06 2010-11-25 2010-12-24
2011-01-17 2011-02-21 2011-04-22 2011-05-30 2011-07-04 2011-09-05 2011-11-24 2011-12-26
2012-01-02 2012-01-16 2012-02-20 2012-04-06 2012-05-28 2012-07-04 2012-09-03 2012-10-29 2012-10-30 2012-11-22 2012-12-25
"""
_EARLY_CLOSES = (
    "2008-07-03 2008-11-28 2008-12-24 2009-11-27 2009-12-24 2010-11-26 2011-11-25 2012-07-03 2012-11-23 2012-12-24"
)
_EARLY = time(13, 0)
_INTEREST_RATES = "DATE,rate\n2008-01-02,4.00\n2008-12-17,0.50\n2010-02-19,0.75\n"
_SYMBOL_PROPERTIES = (
    "market,symbol,type,description,quote_currency,contract_multiplier,minimum_price_variation,lot_size,market_ticker,"
    "minimum_order_size,price_magnifier,strike_multiplier\nusa,[*],equity,,USD,1,0.01,1\n"
)
_EDITION = 1
"""Raised with every change of what a seed gives, so that a folder of before is not taken for one of now."""
_ABOUT = "ABOUT.txt"
_FAR_FUTURE = f"{FAR_FUTURE:%Y%m%d}"


@dataclass(frozen=True)
class DemoMarket:
    """A demo market on disk. first, last: its sessions; created: False if it was there already."""

    folder: Path
    seed: int
    n_stocks: int
    first: date
    last: date
    created: bool


def write_demo_market(
    folder: Path, *, seed: int = 1, n_stocks: int = 120, years: tuple[int, int] = YEARS, signal: float = SIGNAL
) -> DemoMarket:
    """Write an invented market of n_stocks companies and their index fund, named SPY, as a LEAN data folder.

    seed: the same seed gives the same bytes. years: first and last, at least two of 2008..2011. signal: strength of
    the planted reversal, 0 for none. The first constituent list is that of the twelfth month. A folder that holds
    this very market is left as it is; the market appears under its name whole or not at all.
    Raises DataError if the folder holds anything else, ValueError for a market that cannot be drawn.
    """
    if seed < 0 or n_stocks < 12 or not YEARS[0] <= years[0] < years[1] <= YEARS[1]:
        raise ValueError(
            f"no demo market of {n_stocks} stocks over {years[0]}..{years[1]} from seed {seed}: "
            f"it takes at least 12 stocks and two years within {YEARS[0]}..{YEARS[1]}, and the seed is 0 or more"
        )
    folder = folder.resolve()
    holidays = [date.fromisoformat(text) for text in _HOLIDAYS.split()]
    early_closes = [date.fromisoformat(text) for text in _EARLY_CLOSES.split()]
    calendar = MarketCalendar(set(holidays), dict.fromkeys(early_closes, _EARLY), set(range(5)))
    sessions = calendar.sessions(date(years[0], 1, 1), date(years[1], 12, 31))
    about = (
        "An invented market in LEAN's data-folder format, made by `python -m minilean data demo`.\n"
        "No company, ticker, price, dividend or list in it is real. SPY is the index fund of the invented companies,\n"
        "so named because LEAN looks for its benchmark under that ticker.\n\n"
        f"seed {seed}, {n_stocks} stocks, {sessions[0]} to {sessions[-1]}, signal {signal}, edition {_EDITION}\n"
    )
    if _holds(folder, about):
        return DemoMarket(folder, seed, n_stocks, sessions[0], sessions[-1], created=False)

    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        market = simulate(calendar, seed=seed, n_stocks=n_stocks, years=years, signal=signal)
        _write(partial / _ABOUT, about)
        _write(partial / "market-hours" / "market-hours-database.json", _market_hours(holidays, early_closes))
        _write(partial / "symbol-properties" / "symbol-properties-database.csv", _SYMBOL_PROPERTIES)
        _write(partial / "alternative" / "interest-rate" / "usa" / "interest-rate.csv", _INTEREST_RATES)
        _write_equities(partial / "equity" / "usa", market)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return DemoMarket(folder, seed, n_stocks, sessions[0], sessions[-1], created=True)


def _holds(folder: Path, about: str) -> bool:
    """Whether the folder holds that market; raises DataError if it holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    note = folder / _ABOUT
    if not note.is_file():
        raise DataError(f"{folder} is not empty and holds no demo market: name another folder for the demo market")
    if note.read_text(encoding="utf-8") != about:
        raise DataError(f"{folder} holds another demo market (see {_ABOUT} there): delete it or name another folder")
    return True


def _write_equities(folder: Path, market: Market) -> None:
    days = [f"{day:%Y%m%d}" for day in market.sessions]
    for i, stock in enumerate(market.stocks):
        _write_security(folder, stock, market.bars[:, i], days, listed=days[stock.first])
    _write_security(folder, market.fund, market.fund_bars, days, listed=f"{DEFAULT_FIRST_DATE:%Y%m%d}")
    hours = [
        (f"{day} {OPEN.hour + hour:02}:00", *bar)
        for day, n_hours, bars in zip(days, market.n_hours, market.fund_hours.tolist(), strict=True)
        for hour, bar in enumerate(bars[:n_hours])
    ]
    _write_bars(folder / "hour" / f"{market.fund.ticker.lower()}.zip", hours)
    for t in market.month_ends[11:].tolist():
        path = folder / "universes" / "etf" / market.fund.ticker.lower() / f"{days[t]}.csv"
        _write(path, _constituents(market, t))


def _write_security(folder: Path, stock: Stock, bars: Integers, days: list[str], listed: str) -> None:
    """Daily bars, a file for each ticker; map file and factor file, both under the last ticker.

    bars: (T, 5); days: T texts yyyyMMdd; listed: the day that map and factor file begin with.
    """
    first_ticker = stock.ticker_on(stock.first)
    for ticker in dict.fromkeys((first_ticker, stock.ticker)):
        sessions = [t for t in range(len(days)) if stock.has_bar(t) and stock.ticker_on(t) == ticker]
        rows = [(f"{days[t]} 00:00", *bars[t].tolist()) for t in sessions]
        _write_bars(folder / "daily" / f"{ticker.lower()}.zip", rows)

    tickers = [(listed, first_ticker), (days[stock.last] if stock.delisted else _FAR_FUTURE, stock.ticker)]
    if stock.former:
        former, until = stock.former
        tickers.insert(1, (days[until], former))
    name = f"{stock.ticker.lower()}.csv"
    _write(folder / "map_files" / name, _csv((day, ticker.lower(), stock.exchange) for day, ticker in tickers))

    factors = [(_FAR_FUTURE, "1", "1", "0")]
    price_factor = split_factor = 1.0
    for ex_day in sorted({*stock.dividends, *stock.splits}, reverse=True):
        close = bars[ex_day - 1, 3] / 1e4
        price_factor *= 1 - stock.dividends.get(ex_day, 0) / close
        split_factor *= stock.splits.get(ex_day, 1)
        factors.append((days[ex_day - 1], _decimal(price_factor), _decimal(split_factor), f"{close:.2f}"))
    # LEAN drops the history of a file without a row at the beginning.
    factors.append((listed, _decimal(price_factor), _decimal(split_factor), "1"))
    _write(folder / "factor_files" / name, _csv(reversed(factors)))


def _constituents(market: Market, t: int) -> str:
    """The fund's holdings after the close of session t, by ticker; a stock that is gone keeps its last price."""
    held = [(stock.ticker_on(t), i, stock) for i, stock in enumerate(market.stocks) if stock.joins <= t <= stock.leaves]
    shares = np.array([market.shares[t, i] for _, i, _ in held])
    price = np.array([market.bars[min(t, stock.last), i, 3] / 1e4 for _, i, stock in held])
    value = shares * price
    lines = []
    for (ticker, i, stock), n_shares, dollars, weight in zip(held, shares, value, value / value.sum(), strict=True):
        sid = SecurityIdentifier.generate_equity(stock.ticker_on(stock.first), market.sessions[stock.first])
        amount = "" if (t, i) in market.unweighted else f"{weight:.8f}"
        lines.append((ticker, str(sid), f"{market.sessions[t]:%Y%m%d}", amount, n_shares, round(dollars)))
    return _csv(sorted(lines))


def _market_hours(holidays: list[date], early_closes: list[date]) -> str:
    hours = [
        {"start": "04:00:00", "end": "09:30:00", "state": "premarket"},
        {"start": "09:30:00", "end": "16:00:00", "state": "market"},
        {"start": "16:00:00", "end": "20:00:00", "state": "postmarket"},
    ]
    entry = {
        "dataTimeZone": "America/New_York",
        "exchangeTimeZone": "America/New_York",
        "sunday": [],
        **dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), hours),
        "saturday": [],
        "holidays": [_us_date(day) for day in holidays],
        "earlyCloses": {_us_date(day): f"{_EARLY}" for day in early_closes},
        "lateOpens": {},
    }
    return json.dumps({"entries": {"Equity-usa-[*]": entry}}, indent=2) + "\n"


def _us_date(day: date) -> str:
    return f"{day.month}/{day.day}/{day.year}"


def _decimal(factor: float) -> str:
    """A factor with the seven places of LEAN's files."""
    return f"{factor:.7f}".rstrip("0").rstrip(".")


def _csv(rows: Iterable[Iterable[object]]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def _write_bars(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """One csv file in a zip file; neither carries the time of writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = zipfile.ZipInfo(f"{path.stem}.csv")
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, _csv(rows))
