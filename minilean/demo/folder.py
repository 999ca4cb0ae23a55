"""The simulated market as a LEAN data folder.

Formats are those of LEAN's own data: zipped daily and hour bars in 1/10000 dollar, map files, factor files, monthly
constituents of the index fund, market hours, symbol properties and interest rates.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from minilean.calendar import OPEN
from minilean.demo.simulation import SIGNAL, Integers, Market, Stock, simulate
from minilean.errors import DataError
from minilean.folder import LAST_DAY, Exchange, csv_text, factor_file, write_bars, write_text, written_whole
from minilean.symbols import DEFAULT_FIRST_DATE, SecurityIdentifier

YEARS = (2008, 2011)
"""The years that a market is drawn within; the market of the defaults."""

_INTEREST_RATES = "DATE,rate\n2008-01-02,4.00\n2008-12-17,0.50\n2010-02-19,0.75\n"
_EDITION = 1
"""Raised with every change of what a seed gives, so that a folder of before is not taken for one of now."""
_ABOUT = "ABOUT.txt"


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
    exchange = Exchange(YEARS[0], YEARS[1] + 1)
    calendar = exchange.calendar()
    sessions = calendar.sessions(date(years[0], 1, 1), date(years[1], 12, 31))
    about = (
        "An invented market in LEAN's data-folder format, made by `python -m minilean data demo`.\n"
        "No company, ticker, price, dividend or list in it is real. SPY is the index fund of the invented companies,\n"
        "so named because LEAN looks for its benchmark under that ticker.\n\n"
        f"seed {seed}, {n_stocks} stocks, {sessions[0]} to {sessions[-1]}, signal {signal}, edition {_EDITION}\n"
    )
    if _holds(folder, about):
        return DemoMarket(folder, seed, n_stocks, sessions[0], sessions[-1], created=False)

    with written_whole(folder) as partial:
        market = simulate(calendar, seed=seed, n_stocks=n_stocks, years=years, signal=signal)
        write_text(partial / _ABOUT, about)
        exchange.write(partial)
        write_text(partial / "alternative" / "interest-rate" / "usa" / "interest-rate.csv", _INTEREST_RATES)
        _write_equities(partial / "equity" / "usa", market)
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
    write_bars(folder / "hour" / f"{market.fund.ticker.lower()}.zip", hours)
    for t in market.month_ends[11:].tolist():
        path = folder / "universes" / "etf" / market.fund.ticker.lower() / f"{days[t]}.csv"
        write_text(path, _constituents(market, t))


def _write_security(folder: Path, stock: Stock, bars: Integers, days: list[str], listed: str) -> None:
    """Daily bars, a file for each ticker; map file and factor file, both under the last ticker.

    bars: (T, 5); days: T texts yyyyMMdd; listed: the day that map and factor file begin with.
    """
    first_ticker = stock.ticker_on(stock.first)
    for ticker in dict.fromkeys((first_ticker, stock.ticker)):
        sessions = [t for t in range(len(days)) if stock.has_bar(t) and stock.ticker_on(t) == ticker]
        rows = [(f"{days[t]} 00:00", *bars[t].tolist()) for t in sessions]
        write_bars(folder / "daily" / f"{ticker.lower()}.zip", rows)

    tickers = [(listed, first_ticker), (days[stock.last] if stock.delisted else LAST_DAY, stock.ticker)]
    if stock.former:
        former, until = stock.former
        tickers.insert(1, (days[until], former))
    name = f"{stock.ticker.lower()}.csv"
    write_text(folder / "map_files" / name, csv_text((day, ticker.lower(), stock.exchange) for day, ticker in tickers))

    events = [
        (days[ex - 1], bars[ex - 1, 3] / 1e4, stock.dividends.get(ex, 0.0), stock.splits.get(ex, 1.0))
        for ex in sorted({*stock.dividends, *stock.splits})
    ]
    write_text(folder / "factor_files" / name, factor_file(listed, events))


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
    return csv_text(sorted(lines))
