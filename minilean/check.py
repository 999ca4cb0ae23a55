"""What a LEAN data folder holds and what is wrong with it, found out before anyone waits for a backtest."""

import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

from minilean.calendar import MarketCalendar
from minilean.errors import DataError
from minilean.formats import (
    FAR_FUTURE,
    File,
    MapFile,
    files_by_ticker,
    parse_date,
    read_bars,
    read_constituents,
    read_factor_file,
    read_interest_rates,
    read_map_file,
)
from minilean.symbols import SecurityIdentifier

BENCHMARK = "spy"
_File = TypeVar("_File")
_Content = TypeVar("_Content")


@dataclass
class Report:
    """The findings on one data folder; printed by rich as a table and lists.

    holds: (what, how much of it); problems: what a backtest stops at or goes wrong with; remarks: what it passes over.
    """

    folder: Path
    holds: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield f"[bold]{escape(str(self.folder))}[/bold]"
        table = Table(show_header=False)
        for what, amount in self.holds:
            table.add_row(escape(what), escape(amount))
        yield table
        for name, sentences in (("Problems", self.problems), ("Remarks", self.remarks)):
            if sentences:
                yield f"[bold]{name}[/bold]"
                yield from (f"  {escape(sentence)}" for sentence in sentences)
        if not self.problems:
            yield "No problems found."


def check_folder(folder: Path) -> Report:
    """Read every file of US equities in a data folder, whatever is wrong with some of them.

    Raises DataError where the folder is none, or has no market-hours database to know its sessions by.
    """
    if not (folder / "equity" / "usa").is_dir():
        raise DataError(f"{folder} is no LEAN data folder: there is no {Path('equity', 'usa')} in it")
    return _Check(folder, MarketCalendar.read(folder)).run()


class _Check:
    def __init__(self, folder: Path, calendar: MarketCalendar):
        self._folder = folder
        self._equity = folder / "equity" / "usa"
        self._calendar = calendar
        self._report = Report(folder)
        self._begins: dict[str, date] = {}
        self._period: tuple[date, date] | None = None

    def run(self) -> Report:
        maps = self._maps()
        self._daily(maps)
        self._factors(maps)
        self._constituents(maps)
        self._benchmark()
        self._rates()
        return self._report

    def _read(self, reader: Callable[[_File], _Content], path: _File) -> _Content | None:
        try:
            return reader(path)
        except DataError as error:
            self._problem(str(error))
            return None

    def _problem(self, sentence: str) -> None:
        self._report.problems.append(sentence)

    def _remark(self, sentence: str) -> None:
        self._report.remarks.append(sentence)

    def _by_ticker(self, kind: str) -> list[tuple[str, File]]:
        """The map or factor files, by ticker."""
        files = self._read(files_by_ticker, self._equity / kind) or {}
        first = next(iter(files.values()), None)
        if isinstance(first, zipfile.Path) and self._files(kind, suffix=".csv"):
            self._remark(f"{self._equity / kind} holds csv files, which are not read beside {first.root.filename}")
        return list(files.items())

    def _files(self, *parts: str, suffix: str) -> list[Path]:
        return sorted(self._equity.joinpath(*parts).glob(f"*{suffix}"))

    # --- who there is

    def _maps(self) -> dict[str, MapFile]:
        found = {}
        for ticker, path in self._by_ticker("map_files"):
            file = self._read(read_map_file, path)
            if file is None:
                continue
            found[ticker] = file
            if len(file.rows) < 2:
                self._remark(f"{path} has one row: LEAN takes its date for the first day of the stock")
        for ticker, holders in sorted(self._holders(found).items()):
            for (_, until, first), (begins, _, second) in pairwise(sorted(holders)):
                if begins <= until:
                    self._problem(f"{ticker.upper()} is the ticker of both {first} and {second} on {begins}")
        self._report.holds.append(("map files", str(len(found))))
        delisted = sum(file.delisting_date is not None for file in found.values())
        renamed = sum(len(file.segments()) > 1 for file in found.values())
        self._report.holds.append(("delisted, renamed", f"{delisted}, {renamed}"))
        return found

    @staticmethod
    def _holders(maps: dict[str, MapFile]) -> dict[str, list[tuple[date, date, str]]]:
        holders: dict[str, list[tuple[date, date, str]]] = {}
        for name, file in maps.items():
            for ticker, begins, until in file.segments():
                holders.setdefault(ticker, []).append((begins, until, f"{name}.csv"))
        return holders

    # --- prices

    def _daily(self, maps: dict[str, MapFile]) -> None:
        tickers = {ticker for file in maps.values() for ticker, _, _ in file.segments()}
        paths = self._files("daily", suffix=".zip")
        n_bars = 0
        for path in paths:
            bars = self._read(read_bars, path)
            if bars is None:
                continue
            ticker = path.stem.lower()
            if not len(bars):
                self._remark(f"{path} holds no bar")
                continue
            n_bars += len(bars)
            self._bars(path, bars)
            if ticker not in tickers:
                self._remark(f"{path} has no map file: neither a delisting nor another ticker of its stock is known")
        for ticker in sorted(tickers - {path.stem.lower() for path in paths}):
            self._remark(f"{ticker.upper()} has a map file, but no daily bars")
        self._report.holds.append(("stocks with daily bars", str(len(self._begins))))
        self._report.holds.append(("daily bars", f"{n_bars:,}"))
        if self._period is None:
            self._problem(f"{self._equity / 'daily'} holds no bars at all")
            return
        first, last = self._period
        sessions = self._calendar.sessions(first, last)
        self._report.holds.append(("period", f"{first} to {last}, {len(sessions):,} sessions"))
        for year in range(first.year, last.year + 1):
            if not self._calendar.has_holidays(year):
                self._problem(f"the market-hours database knows no holiday of {year}: get a newer one")

    def _bars(self, path: Path, bars: NDArray[np.int64]) -> None:
        ordinals, opening, high, low, close = bars.T[:5]
        first, last = (date.fromordinal(int(ordinals[row])) for row in (0, -1))
        self._begins[path.stem.lower()] = first
        earliest, latest = self._period or (first, last)
        self._period = min(first, earliest), max(last, latest)
        closed = ~self._calendar.are_sessions(ordinals)
        if closed.any():
            day = date.fromordinal(int(ordinals[closed][0]))
            self._remark(f"{path}: {closed.sum()} bars are of days without session, the first {day}; they are dropped")
        crooked = (high < np.maximum(opening, close)) | (low > np.minimum(opening, close))
        if crooked.any():
            day = date.fromordinal(int(ordinals[crooked][0]))
            self._remark(f"{path}: in {crooked.sum()} bars open or close lie outside low and high, first on {day}")
        jumps = np.flatnonzero(np.maximum(close[1:], close[:-1]) > 20 * np.minimum(close[1:], close[:-1]))
        if len(jumps):
            day = date.fromordinal(int(ordinals[jumps[0] + 1]))
            self._remark(f"{path}: the close of {day} is more than 20 times, or less than a 20th of, the one before")

    def _factors(self, maps: dict[str, MapFile]) -> None:
        files = self._by_ticker("factor_files")
        for ticker, path in files:
            rows = self._read(read_factor_file, path)
            if rows is None:
                continue
            if not rows:
                self._remark(f"{path} holds no usable row: prices of that stock are not adjusted")
                continue
            file = maps.get(ticker)
            begins = [self._begins[t] for t, _, _ in file.segments() if t in self._begins] if file else []
            begins += [self._begins[ticker]] if not file and ticker in self._begins else []
            if begins and min(begins) < rows[0].day and (rows[0].day - min(begins)).days > 1:
                self._problem(
                    f"{path} begins on {rows[0].day}: bars since {min(begins)} are dropped, "
                    "so give it a row of the stock's first day"
                )
            if rows[-1].day < FAR_FUTURE and file and file.delisting_date is None:
                self._remark(f"{path} ends on {rows[-1].day}: later prices have the factor 1")
            for row, following in pairwise(rows):
                changed = (row.price_factor, row.split_factor) != (following.price_factor, following.split_factor)
                if changed and not self._calendar.is_session(row.day):
                    self._problem(f"{path}: {row.day} is no session, so its dividend or split never happens")
        self._report.holds.append(("factor files", str(len(files))))

    # --- universe, benchmark, rates

    def _constituents(self, maps: dict[str, MapFile]) -> None:
        identities = {(file.first_ticker.upper(), file.first_date) for file in maps.values()}
        for folder in sorted(path for path in (self._equity / "universes" / "etf").glob("*") if path.is_dir()):
            days: list[date] = []
            sizes: Counter[int] = Counter()
            unknown: set[str] = set()
            for path in sorted(folder.glob("*.csv")):
                day = self._listed_on(path)
                rows = self._read(read_constituents, path) if day else None
                if day is None or rows is None:
                    continue
                if not rows:
                    self._remark(f"{path} is empty: the list before it stays in force")
                    continue
                days.append(day)
                sizes[len(rows)] += 1
                for sid in (row.symbol.id for row in rows):
                    if not self._has_bars(sid, identities):
                        unknown.add(str(sid))
                repeated = len(rows) - len({row.symbol for row in rows})
                if repeated:
                    self._remark(f"{path} repeats {repeated} of its stocks")
                total = sum(row.weight or 0 for row in rows)
                if not 0.5 < total < 1.5:
                    self._remark(f"{path}: the weights add up to {total:.3f}, not to 1")
            name = f"constituents of {folder.name.upper()}"
            if days:
                least, most = min(sizes), max(sizes)
                amount = f"{len(days)} lists, {days[0]} to {days[-1]}, {least} to {most} stocks"
                self._report.holds.append((name, amount))
            else:
                self._report.holds.append((name, "none"))
            if unknown:
                few = ", ".join(sorted(unknown)[:3]) + (", ..." if len(unknown) > 3 else "")
                self._remark(f"{folder}: {len(unknown)} of its stocks have no map file or no bars ({few})")

    def _listed_on(self, path: Path) -> date | None:
        try:
            day = parse_date(path.stem)
        except ValueError:
            self._remark(f"{path} is not named by a day, yyyyMMdd.csv, and is never read")
            return None
        if not self._calendar.is_session(day):
            self._remark(f"{path} is of a day without session and is never read")
        return day

    def _has_bars(self, sid: SecurityIdentifier, identities: set[tuple[str, date]]) -> bool:
        return (sid.symbol, sid.date.date()) in identities or sid.symbol.lower() in self._begins

    def _benchmark(self) -> None:
        path = self._equity / "hour" / f"{BENCHMARK}.zip"
        bars = self._read(lambda path: read_bars(path, with_hours=True), path)
        if bars is not None and len(bars):
            first, last = (date.fromordinal(int(bars[row, 0])) for row in (0, -1))
            self._report.holds.append(("benchmark, hourly SPY", f"{len(bars):,} bars, {first} to {last}"))
            return
        self._report.holds.append(("benchmark, hourly SPY", "none"))
        if not path.exists():
            self._problem(f"{path} is missing: without it there is no benchmark, and no slice between open and close")

    def _rates(self) -> None:
        path = self._folder / "alternative" / "interest-rate" / "usa" / "interest-rate.csv"
        rates = self._read(read_interest_rates, path)
        shown = f"{len(rates)} rates, {rates[0][0]} to {rates[-1][0]}" if rates else "none"
        self._report.holds.append(("interest rates", shown))
        if not path.exists():
            self._remark(f"{path} is missing: Sharpe ratios are computed with a rate of zero")

