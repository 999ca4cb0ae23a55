"""A LEAN data folder made of tables of daily bars and of a fund's constituents.

Everything is checked before anything is written; a DataError names the first cell that cannot be used.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minilean.calendar import OPEN, MarketCalendar
from minilean.errors import DataError
from minilean.folder import LAST_DAY, Exchange, csv_text, factor_file, write_bars, write_text, written_whole
from minilean.symbols import DEFAULT_FIRST_DATE, SecurityIdentifier
from minilean.tables import ACTIONS, FIELDS, Bars, Floats, Integers, Sheet, as_ticker, no_ticker

BENCHMARK = "SPY"

_LAST_DATE = date(2049, 12, 31)
_PRICES = 1e-4, 1e10
"""Dollars that a bar in LEAN's format can hold."""
_COARSE = 0.1
"""Dollars below which the rounding to 1/10000 dollar shows in returns."""
_MOST = 2.0**53
"""Of shares a day, which beyond it are no whole number as a double."""
_FACTORS = 1e-5, 1e5
"""What all dividends, or all splits, of a stock can multiply its prices by; 1/112 are Apple's splits since 1998."""
_MOST_CLOSED = 0.05
"""Share of the exchange's sessions without any bar, beyond which bars are not daily."""
_MOST_WEIGHT = 1.5
"""Sum of a list's weights, beyond which they are no fractions."""
_ABOUT = "ABOUT.txt"
_RATES = "alternative"
"""Where LEAN keeps interest rates: tables hold none, so those that a person put there stay."""
_WRITTEN = {_ABOUT, _RATES, "equity", "market-hours", "symbol-properties"}
_MADE_BY = "A LEAN data folder made by `python -m minilean data import`"


@dataclass(frozen=True)
class Imported:
    """What was written. start, end: first and last day that a backtest can trade on; remarks: what to know of it."""

    folder: Path
    start: date
    end: date
    remarks: tuple[str, ...]


def import_market(
    folder: Path,
    bars: Bars,
    *,
    adjusted: bool,
    constituents: Path | None,
    etf: str = BENCHMARK,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> Imported:
    """Write bars and constituents as a LEAN data folder, which replaces one that was made here before.

    adjusted: prices contain dividends and splits, and factor files say 1; otherwise these come from the actions.
    constituents: a table of date, ticker, weight for the fund `etf`; None for every ticker, equally weighted.
    SPY and the fund get hour bars made of their days: flat at the open until the last hour, which holds the rest.
    Raises DataError, before anything is written, for whatever cannot be used.
    """
    folder = folder.resolve()
    _refuse_others(folder)
    fund = as_ticker(etf)
    if fund is None:
        raise DataError(f"--etf {no_ticker(etf)}")
    funds = list(dict.fromkeys([BENCHMARK, fund]))
    market = _checked(bars, funds)
    remarks = [*market.remarks]
    dividend, split = market.actions.T
    has_actions = bool(((dividend != 0) | ~np.isin(split, (0, 1))).any())
    events = {} if adjusted else _events(market, bars)
    if adjusted:
        remarks.append("prices are adjusted: dividends are inside the prices, and no cash is ever paid")
        if has_actions:
            remarks.append("dividend and split columns are passed over, for adjusted prices contain them")
    elif not has_actions:
        remarks.append("prices are raw and no dividend or split is given: returns are those of prices alone")
    lists = _read_lists(constituents, market) if constituents else _all_stocks(market, funds)
    remarks.extend(lists.remarks)
    end = market.end(funds)
    days = market.sessions[(market.sessions > min(lists.by_session)) & (market.sessions <= end)]
    if not len(days):
        raise DataError(f"no session follows the first list of constituents: the bars are of {market.period()} only")
    identities = _identities(market, lists)
    with written_whole(folder) as partial:
        if (folder / _RATES).is_dir():
            shutil.copytree(folder / _RATES, partial / _RATES)
        _write_about(partial, market, remarks)
        market.exchange.write(partial)
        equity = partial / "equity" / "usa"
        _write_lists(equity / "universes" / "etf" / fund.lower(), lists, identities)
        for number, ticker in enumerate(market.tickers):
            _write_stock(equity, market, ticker, identities[ticker], events.get(ticker, []), end)
            if ticker in funds:
                _write_hours(equity, market, ticker)
            on_progress((number + 1) / len(market.tickers))
    first, last = (date.fromordinal(int(day)) for day in days[[0, -1]])
    return Imported(folder, first, last, tuple(remarks))


# --- checking


@dataclass(frozen=True)
class _Market:
    """Checked bars in the order of tickers and days.

    begins: (N + 1,) the first bar of each stock, and R; units: (R, 5) prices in 1/10000 dollar, and volume; actions:
    (R, 2), 0 where there is none; rows: (R,) of `Bars`; sessions: (T,) ordinals.
    """

    tickers: tuple[str, ...]
    begins: Integers
    day: Integers
    units: Integers
    actions: Floats
    rows: Integers
    exchange: Exchange
    sessions: Integers
    remarks: tuple[str, ...]

    @cached_property
    def calendar(self) -> MarketCalendar:
        return self.exchange.calendar()

    def part(self, ticker: str) -> slice:
        """The bars of one stock."""
        number = self.tickers.index(ticker)
        return slice(int(self.begins[number]), int(self.begins[number + 1]))

    def end(self, funds: Sequence[str]) -> int:
        """The last day on which any stock has a bar; funds: tickers that do not count."""
        last = zip(self.tickers, self.day[self.begins[1:] - 1].tolist(), strict=True)
        return max((day for ticker, day in last if ticker not in funds), default=int(self.sessions[-1]))

    def period(self) -> str:
        first, last = (date.fromordinal(int(self.sessions[at])) for at in (0, -1))
        return f"{first} to {last}"


def _checked(bars: Bars, required: Sequence[str]) -> _Market:
    """The market of those bars; required: tickers that have a bar on every session. Raises DataError."""
    values, day = bars.values, bars.day
    actions = np.nan_to_num(values[:, len(FIELDS) :], nan=0.0)
    live = ~np.isnan(values[:, : len(FIELDS)]).all(axis=1) | (actions[:, 0] != 0) | ~np.isin(actions[:, 1], (0, 1))

    def refuse(
        wrong: NDArray[np.bool_], field: str, shown: Callable[[int], str], why: str, remedy: str = "correct it or leave"
    ) -> None:
        wrong = wrong & live
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{bars.cell(row, field)}, is {shown(row)}, {why}: {remedy} the bar out")

    def amount(column: Floats) -> Callable[[int], str]:
        return lambda row: f"{column[row]:g}"

    def session(row: int) -> str:
        return f"{date.fromordinal(int(day[row]))}"

    for field, column in zip((*FIELDS, *ACTIONS), values.T, strict=True):
        low, high = _PRICES if field in FIELDS[:4] else (0.0, _MOST)
        outside = ~((column >= low) & (column <= high)) & ~np.isnan(column)
        refuse(outside, field, amount(column), f"not between {low:g} and {high:g}")
        if field in FIELDS:
            refuse(np.isnan(column), field, lambda row: "empty", "and other cells of the bar are not")
    units = np.rint(np.where(live[:, None], values[:, : len(FIELDS)], 1) * [1e4, 1e4, 1e4, 1e4, 1]).astype(np.int64)
    refuse(units[:, 1] < units[:, 2], "high", amount(values[:, 1]), "lower than low")
    first, last = DEFAULT_FIRST_DATE, _LAST_DATE
    outside = (day < first.toordinal()) | (day > last.toordinal())
    refuse(outside, "date", session, f"not between {first} and {last}", "leave")
    if not live.any():
        raise DataError("there is no bar in the tables: give some")
    days = np.unique(day[live])
    years = date.fromordinal(int(days[0])).year, date.fromordinal(int(days[-1])).year + 2
    exchange = Exchange(*years)
    closed = ~exchange.calendar().are_sessions(day)
    refuse(closed, "date", session, "when New York has no session", "leave")
    sessions = np.arange(days[0], days[-1] + 1)
    sessions = sessions[exchange.calendar().are_sessions(sessions)]
    without = [date.fromordinal(int(session)) for session in np.setdiff1d(sessions, days)]
    if len(without) > _MOST_CLOSED * len(sessions):
        raise DataError(f"the tables have bars of {len(days)} in {len(sessions)} sessions: give the bars of every day")
    remarks = list(bars.remarks)
    if without:
        exchange = Exchange(*years, without)
        remarks.append(f"no stock has a bar on {len(without)} weekdays, first on {without[0]}: taken for holidays")

    coarse = np.unique(bars.stock[live & (values[:, :4].min(axis=1) < _COARSE)])
    if len(coarse):
        remarks.append(
            f"{len(coarse)} stocks have prices below {_COARSE} dollars, of which LEAN's 1/10000 dollar is more than "
            f"{1e-4 / _COARSE:.1%}: returns there are rough"
        )

    by_name = sorted(range(len(bars.tickers)), key=lambda number: bars.tickers[number])
    stock = np.argsort(by_name)[bars.stock]
    rows = np.flatnonzero(live)
    rows = rows[np.lexsort((rows, day[rows], stock[rows]))]
    again = (np.diff(day[rows]) == 0) & (np.diff(stock[rows]) == 0)
    if again.any():
        before, row = (int(rows[int(again.argmax()) + at]) for at in (0, 1))
        raise DataError(
            f"{bars.cell(row, 'date')}, is {session(row)}, of which {bars.tickers[bars.stock[row]]} has a bar already, "
            f"in {bars.cell(before, 'date')}: leave one of them out"
        )
    present, begins = np.unique(stock[rows], return_index=True)
    market = _Market(
        tickers=tuple(bars.tickers[by_name[number]] for number in present),
        begins=np.append(begins, len(rows)),
        day=day[rows],
        units=units[rows],
        actions=actions[rows],
        rows=rows,
        exchange=exchange,
        sessions=days,
        remarks=tuple(remarks),
    )
    for ticker in required:
        lacking = np.setdiff1d(days, market.day[market.part(ticker)] if ticker in market.tickers else [])
        if len(lacking):
            raise DataError(
                f"{ticker} has no bar on {len(lacking)} of {len(days)} sessions, first on "
                f"{date.fromordinal(int(lacking[0]))}: {BENCHMARK} and the fund of the universe need one on every "
                "session of the tables, so add them or leave those days out"
            )
    return market


# --- constituents


@dataclass(frozen=True)
class _Lists:
    """Constituents. by_session: ordinal -> (ticker, weight as a fraction or NaN), by ticker."""

    by_session: dict[int, list[tuple[str, float]]]
    remarks: tuple[str, ...]


def _read_lists(path: Path, market: _Market) -> _Lists:
    """The lists in a table of date, ticker, weight; one of a day without session is that of the session before."""
    sheet = Sheet.read(path)
    days = sheet.days()
    stock, tickers = sheet.tickers()
    weights = sheet.numbers(sheet.column("weight"))
    wrong = (weights < 0) | np.isinf(weights)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{sheet.cell(row, 'weight')}, is {weights[row]:g}: correct it, or leave the cell empty")
    table = pd.DataFrame({"day": days, "stock": stock, "weight": weights})
    again = table.duplicated(["day", "stock"]).to_numpy()
    if again.any():
        row = int(again.argmax())
        where = sheet.cell(row, "ticker")
        raise DataError(f"{where}, {tickers[stock[row]]} is on the list of that date already: leave one row out")
    total = table.groupby("day")["weight"].sum()
    for day, amount in total[(total == 0) | (total > _MOST_WEIGHT)].items():
        row = int((days == day).argmax())
        raise DataError(
            f"{sheet.cell(row, 'weight')}, the weights of {date.fromordinal(int(str(day)))} add up to {amount:g}: give "
            "fractions of the fund, which add up to 1"
        )

    known = set(market.tickers)
    by_session: dict[int, list[tuple[str, float]]] = {}
    outside = 0
    for day, group in table.groupby("day"):
        listed = date.fromordinal(int(str(day)))
        session = listed if market.calendar.is_session(listed) else market.calendar.previous_session(listed)
        if not market.sessions[0] <= session.toordinal() <= market.sessions[-1]:
            outside += 1
            continue
        names = [tickers[n] for n in group["stock"]]
        if not known.intersection(names):
            row = int(group.index[0])
            raise DataError(
                f"{sheet.cell(row, 'ticker')}, not one ticker of the list of {listed} has bars: write tickers as the "
                "bars do"
            )
        by_session[session.toordinal()] = sorted(zip(names, group["weight"].tolist(), strict=True))
    if not by_session:
        raise DataError(f"{path} has no list within the bars' dates, {market.period()}: give lists of those dates")
    remarks = [f"{outside} lists of other dates than the bars' are left out"] if outside else []
    strangers = {name for rows in by_session.values() for name, _ in rows} - known
    if strangers:
        few = ", ".join(sorted(strangers)[:5]) + (", ..." if len(strangers) > 5 else "")
        remarks.append(f"{len(strangers)} constituents have no bars and cannot be held: {few}")
    return _Lists(by_session, tuple(remarks))


def _all_stocks(market: _Market, funds: Sequence[str]) -> _Lists:
    """Every ticker but the funds' with a bar on a month's last session, equally weighted."""
    months = np.array([date.fromordinal(int(day)).month for day in market.sessions])
    ends = market.sessions[np.append(np.diff(months) != 0, True)]
    number = np.repeat(np.arange(len(market.tickers)), np.diff(market.begins))
    by_session = {}
    for end in ends.tolist():
        names = [name for name in (market.tickers[n] for n in number[market.day == end]) if name not in funds]
        if names:
            by_session[end] = [(name, 1 / len(names)) for name in names]
    if not by_session:
        raise DataError(f"the tables have no stock beside {' and '.join(funds)} at the end of any month: add some")
    remark = (
        "every ticker of the tables is a constituent while it has bars, at equal weights: where they were chosen by "
        "what became of them, as today's members of an index are, results are too good (survivorship)"
    )
    return _Lists(by_session, (remark,))


# --- writing


def _refuse_others(folder: Path) -> None:
    """Raises DataError where the folder holds anything that was not written here."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    note = folder / _ABOUT
    if not note.is_file() or not note.read_bytes().startswith(_MADE_BY.encode()):
        raise DataError(f"{folder} is not empty and was not made by `data import`: name another folder")
    others = sorted({path.name for path in folder.iterdir()} - _WRITTEN)
    if others:
        raise DataError(f"{folder} holds {', '.join(others)}, which `data import` did not write: move it away first")


def _events(market: _Market, bars: Bars) -> dict[str, list[tuple[str, float, float, float]]]:
    """By ticker, the rows that `factor_file` takes. What falls on a stock's first bar touches no return."""
    dividend, split = market.actions.T
    ratio = 1 / np.where(split > 0, split, 1.0)
    happens = (dividend > 0) | (ratio != 1)
    happens[market.begins[:-1]] = False
    at = np.flatnonzero(happens)
    close, dividend, ratio = market.units[at - 1, 3] / 1e4, dividend[at], ratio[at]
    too_much = dividend >= close
    if too_much.any():
        worst = int(too_much.argmax())
        where = bars.cell(int(market.rows[at[worst]]), "dividend")
        raise DataError(
            f"{where}, is {dividend[worst]:g}, not below the close before, {close[worst]:g}: correct it; raw "
            "prices and dividends are in the dollars of their day"
        )
    days = _texts(market.sessions[np.searchsorted(market.sessions, market.day[at]) - 1])
    events: dict[str, list[tuple[str, float, float, float]]] = {}
    numbers = np.searchsorted(market.begins, at, side="right") - 1
    for number in np.unique(numbers):
        own = np.flatnonzero(numbers == number)
        ticker = market.tickers[number]
        for name, factors in (("dividends", 1 - dividend[own] / close[own]), ("splits", ratio[own])):
            together = np.cumprod(factors[::-1])
            if together.min() < _FACTORS[0] or together.max() > _FACTORS[1]:
                raise DataError(
                    f"the {name} of {ticker} multiply its prices by {together.min():g} to {together.max():g}, not "
                    f"within {_FACTORS[0]:g} and {_FACTORS[1]:g}: correct them; two new shares for an old one are a "
                    "split of 2"
                )
        events[ticker] = [(days[n], float(close[n]), float(dividend[n]), float(ratio[n])) for n in own]
    return events


def _identities(market: _Market, lists: _Lists) -> dict[str, SecurityIdentifier]:
    """LEAN's identifiers: of a stock its ticker and first bar, of a constituent without bars its first list."""
    first = {ticker: market.day[begin] for ticker, begin in zip(market.tickers, market.begins[:-1], strict=True)}
    for session in sorted(lists.by_session):
        for name, _ in lists.by_session[session]:
            first.setdefault(name, np.int64(session))
    days = {ticker: date.fromordinal(int(day)) for ticker, day in first.items()}
    days[BENCHMARK] = DEFAULT_FIRST_DATE
    return {ticker: SecurityIdentifier.generate_equity(ticker, day) for ticker, day in days.items()}


def _write_about(folder: Path, market: _Market, remarks: Sequence[str]) -> None:
    lines = "".join(f"{remark}\n" for remark in remarks)
    write_text(folder / _ABOUT, f"{_MADE_BY}.\n{len(market.tickers)} tickers, {market.period()}\n{lines}")


def _write_lists(folder: Path, lists: _Lists, identities: Mapping[str, SecurityIdentifier]) -> None:
    sids = {ticker: str(sid) for ticker, sid in identities.items()}
    for session, rows in lists.by_session.items():
        (day,) = _texts(np.array([session]))
        cells = ((name, sids[name], day, "" if np.isnan(weight) else f"{weight:.8f}", "", "") for name, weight in rows)
        write_text(folder / f"{day}.csv", csv_text(cells))


def _write_stock(
    equity: Path,
    market: _Market,
    ticker: str,
    sid: SecurityIdentifier,
    events: Sequence[tuple[str, float, float, float]],
    end: int,
) -> None:
    """Bars, map file and factor file; a stock whose last bar comes before the day `end` is delisted that day."""
    part = market.part(ticker)
    day, columns = market.day[part], market.units[part].T.tolist()
    name, texts = ticker.lower(), _texts(day)
    listed = f"{sid.date:%Y%m%d}"
    write_bars(equity / "daily" / f"{name}.zip", zip([f"{text} 00:00" for text in texts], *columns, strict=True))
    until = LAST_DAY if day[-1] >= end else texts[-1]
    write_text(equity / "map_files" / f"{name}.csv", csv_text([(listed, name), (until, name)]))
    write_text(equity / "factor_files" / f"{name}.csv", factor_file(listed, events))


def _write_hours(equity: Path, market: _Market, ticker: str) -> None:
    part, rows = market.part(ticker), []
    days = market.day[part]
    for day, text, bar in zip(days.tolist(), _texts(days), market.units[part].tolist(), strict=True):
        last = market.calendar.close(date.fromordinal(day)).hour - 1
        rows += [(f"{text} {hour:02}:00", *bar[:1] * 4, 0) for hour in range(OPEN.hour, last)]
        rows.append((f"{text} {last:02}:00", *bar))
    write_bars(equity / "hour" / f"{ticker.lower()}.zip", rows)


def _texts(ordinals: Integers) -> list[str]:
    """Days as yyyyMMdd."""
    days = (ordinals - date(1970, 1, 1).toordinal()).astype("datetime64[D]")
    return [text.replace("-", "") for text in np.datetime_as_string(days).tolist()]
