"""`self.history`: daily bars of the past as the algorithm sees them, never later than its own time."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minilean.calendar import CLOSE
from minilean.data import DailyBars, DataFolder
from minilean.decimals import ONE, ZERO, divide, fit, multiply, smart, text, to_double
from minilean.enums import DataNormalizationMode
from minilean.errors import NotInHost
from minilean.members import LeanObject, lean
from minilean.symbols import Symbol
from minilean.universe import distribution

FIRST_YEAR = 1997
"""No data folder of US equities goes back further."""
_YEARS_AHEAD = 15
"""How far the grid of sessions is laid beyond now, so that it hardly ever has to be laid anew."""
_COLUMNS = pd.Index(["close", "high", "low", "open", "volume"])


CACHED = (DataNormalizationMode.RAW, DataNormalizationMode.ADJUSTED)
"""The modes in which a price does not depend on the request."""


@lean("QuantConnect.Data.Market", "TradeBar")
@dataclass(frozen=True)
class TradeBar(LeanObject):
    """One bar of `self.history[TradeBar]`; times are naive New York times."""

    symbol: Symbol
    time: datetime
    end_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def value(self) -> float:
        return self.close

    @property
    def price(self) -> float:
        return self.close

    @property
    def period(self) -> timedelta:
        return self.end_time - self.time

    @property
    def is_fill_forward(self) -> bool:
        return False

    def __str__(self) -> str:
        named = zip("OHLCV", (self.open, self.high, self.low, self.close, self.volume), strict=True)
        return f"{self.symbol}: " + " ".join(f"{name}: {text(smart(Decimal(str(x))))}" for name, x in named)


class Span(NamedTuple):
    """Sessions [first, after) of the grid, and the moments that the request was for."""

    first: int
    after: int
    start: datetime
    end: datetime


_Where = slice | NDArray[np.bool_]


class _Listing:
    """The bars of one symbol along the grid: (G,) ordinals of sessions.

    begin: position of the first bar, where each session from there to `end` has one; after: how many sessions it is
    listed for. doubles: (5, R) of the rows from `known` on, in the one mode that they are asked for.
    """

    __slots__ = ("_grid", "after", "bars", "begin", "doubles", "end", "known")

    def __init__(self, bars: DailyBars, grid: NDArray[np.int64], delisting_date: date | None):
        self.bars = bars
        self._grid = grid
        last = date.max if delisting_date is None else delisting_date
        self.after = int(np.searchsorted(grid, last.toordinal(), side="right"))
        self.begin = int(np.searchsorted(grid, bars.ordinals[0])) if len(bars) else 0
        self.end = self.begin + len(bars)
        if self.end > self.after or not np.array_equal(grid[self.begin : self.end], bars.ordinals):
            self.end = self.begin
        self.doubles: NDArray[np.float64] = np.empty((5, 0))
        self.known = len(bars)

    def inside(self, first: int, after: int, fill_forward: bool) -> tuple[slice | NDArray[np.int64], _Where]:
        """Rows of the bars for sessions [first, after) of the grid, and which of those have one."""
        days, ordinals = self._grid[first:after], self.bars.ordinals
        if len(days) and after <= self.after:
            begin = int(np.searchsorted(ordinals, days[0]))
            end = begin + len(days)
            if end <= len(ordinals) and ordinals[begin] == days[0] and ordinals[end - 1] == days[-1]:
                return slice(begin, end), slice(None)  # as many bars as sessions
        rows, fresh = self.bars.along(days)
        if not fill_forward or not fresh.any():
            return rows[fresh], fresh
        begin = int(fresh.argmax())
        listed = slice(begin, max(begin, min(after, self.after) - first))
        return rows[listed], listed

    def values(self, rows: slice | NDArray[np.int64], adjusted: bool) -> NDArray[np.float64]:
        """(5, R) close, high, low, open, volume of some rows, raw or adjusted, at least one and in order.

        They are made at once of all rows from the first that is asked for, of every one if others come before it.
        """
        lowest = rows.start if isinstance(rows, slice) else rows.item(0)
        if lowest < self.known:
            self.known = 0 if self.doubles.size else lowest
            self.doubles = self.bars.doubles(slice(self.known, None), adjusted)
        known = self.known
        return self.doubles[:, slice(lowest - known, rows.stop - known) if isinstance(rows, slice) else rows - known]


class History:
    """Serves requests over a data folder; `now` is the algorithm's New York time."""

    def __init__(self, data: DataFolder, now: Callable[[], datetime]):
        self._data = data
        self._calendar = data.calendar
        self._now = now
        self._listings: defaultdict[DataNormalizationMode, dict[str, _Listing]] = defaultdict(dict)
        self._grid: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._ends: NDArray[np.datetime64] = np.empty(0, dtype="datetime64[ns]")
        self._times = pd.DatetimeIndex([])

    def last_sessions(self, count: int) -> Span:
        """The last `count` sessions that are over by now.

        After a close LEAN steps back from now in whole days and counts those in which the market was open. In the
        afternoon of an early close that is not the same: the day before counts by its afternoon, a Saturday by
        Friday's, so that one session more may come back than was asked for, or, over weeks, fewer.
        """
        now = self._now()
        after = self._position(now)
        today = now.date()
        if not self._calendar.is_session(today) or now < self._calendar.close(today) or now.time() >= CLOSE:
            first = min(max(0, after - count), after)
            return Span(first, after, self._start(first, after, now), now)
        start = now
        while count > 0 and start.year > FIRST_YEAR:
            before = start - timedelta(days=1)
            count -= any(
                self._calendar.is_session(day)
                and self._calendar.open(day) < start
                and before < self._calendar.close(day)
                for day in (before.date(), start.date())
            )
            start = before
        return Span(self._position(start), after, start, now)

    def _start(self, first: int, after: int, now: datetime) -> datetime:
        """Where LEAN lets a request begin that is for whole sessions: at midnight, but a day before after a close."""
        if first >= after:
            return now
        day = datetime.fromordinal(int(self._grid[first]))
        is_over = self._grid[after - 1] == now.toordinal()
        return day - timedelta(days=1) + timedelta(hours=now.hour, minutes=now.minute) if is_over else day

    def between(self, start: datetime, end: datetime) -> Span:
        """The sessions that end after `start` and not after `end` or now."""
        end = min(end, self._now())
        return Span(self._position(start), self._position(end), start, end)

    def _position(self, moment: datetime) -> int:
        """How many sessions of the grid are over at that moment."""
        self._extend_grid(moment.date())
        return int(np.searchsorted(self._ends, np.datetime64(moment, "ns"), side="right"))

    def _extend_grid(self, until: date) -> None:
        if len(self._grid) and self._grid[-1] >= until.toordinal():
            return
        self._grid = self._calendar.ordinals(date(FIRST_YEAR, 12, 31), date(until.year + _YEARS_AHEAD, 12, 31))
        self._ends = self._calendar.closes(self._grid)
        self._times = pd.DatetimeIndex(self._ends)
        self._listings.clear()

    def frame(
        self, requests: Sequence[tuple[Symbol, DataNormalizationMode]], span: Span, fill_forward: bool
    ) -> pd.DataFrame:
        """Bars of symbols, each in its mode, as LEAN's DataFrame: index (symbol, time), columns by name.

        A day without a bar repeats the bar before, from the symbol's first bar inside the span on. Symbols come in
        the order of their first bar; those without any are absent; nothing at all gives an empty frame.
        """
        first, after = span.first, span.after
        sessions = np.arange(max(0, after - first))
        parts = []
        for mode, alike in itertools.groupby(requests, key=itemgetter(1)):
            listings = self._listings[mode]
            for symbol, _ in alike:
                listing = listings.get(symbol.sid) or self._listing(symbol, mode)
                begin = listing.begin + listing.known
                if begin <= first < after <= listing.end:  # what `inside` and `_values` come to for most
                    parts.append((0, symbol, listing.doubles[:, first - begin : after - begin], sessions))
                    continue
                rows, where = listing.inside(first, after, fill_forward)
                times = sessions[where]
                if len(times):
                    parts.append((times.item(0), symbol, self._values(listing, mode, rows, span), times))
        if not parts:
            return pd.DataFrame()
        parts.sort(key=itemgetter(0))
        _, symbols, values, times_of = zip(*parts, strict=True)
        tickers = [symbol.value for symbol in symbols]
        by_ticker = sorted(range(len(symbols)), key=tickers.__getitem__)
        codes = np.empty(len(symbols), dtype=np.int64)
        codes[by_ticker] = range(len(symbols))
        levels: list[Any] = [
            pd.Index([symbols[at] for at in by_ticker], dtype=object),
            self._times[first:after],
        ]
        places: list[Any] = [np.repeat(codes, [len(times) for times in times_of]), np.concatenate(times_of)]
        index = pd.MultiIndex(
            levels=levels,
            codes=places,
            names=["symbol", "time"],
            verify_integrity=False,
        )
        return pd.DataFrame(np.concatenate(values, axis=1).T, index=index, columns=_COLUMNS.copy())

    def bars(
        self, symbol: Symbol, mode: DataNormalizationMode, span: Span, fill_forward: bool
    ) -> list[TradeBar]:
        """The same of one symbol as bar objects."""
        listing = self._listing(symbol, mode)
        rows, where = listing.inside(span.first, span.after, fill_forward)
        days = self._grid[span.first : span.after][where].tolist()
        if not days:
            return []
        values = self._values(listing, mode, rows, span)
        bars = []
        for (close, high, low, opening, volume), ordinal in zip(values.T.tolist(), days, strict=True):
            day = date.fromordinal(ordinal)
            begin, end = self._calendar.open(day), self._calendar.close(day)
            bars.append(TradeBar(symbol, begin, end, opening, high, low, close, volume))
        return bars

    def _listing(self, symbol: Symbol, mode: DataNormalizationMode) -> _Listing:
        listings = self._listings[mode]
        found = listings.get(symbol.sid)
        if found is None:
            file = self._data.map_file(symbol.id)
            delisting_date = file.delisting_date if file else None
            found = listings[symbol.sid] = _Listing(self._data.daily(symbol.id), self._grid, delisting_date)
        return found

    def _values(
        self, listing: _Listing, mode: DataNormalizationMode, rows: slice | NDArray[np.int64], span: Span
    ) -> NDArray[np.float64]:
        """(5, R) close, high, low, open, volume of those rows in a mode.

        Split-adjusted prices know splits alone; scaled raw ones are adjusted to the end of the request instead of
        today; total returns are split-adjusted prices plus the dividends paid since the request's start.
        """
        bars = listing.bars
        if mode in CACHED:
            return listing.values(rows, mode == DataNormalizationMode.ADJUSTED)
        rows = np.arange(len(bars))[rows]
        if mode == DataNormalizationMode.SCALED_RAW:
            at_end = next((row for row in bars.factors if row.day >= span.end.date()), None)
            whole = multiply(at_end.price_factor, at_end.split_factor) if at_end else ONE
            factors = [
                replace(row, price_factor=divide(multiply(row.price_factor, row.split_factor), whole), split_factor=ONE)
                for row in bars.factors
            ]
        elif mode in (DataNormalizationMode.SPLIT_ADJUSTED, DataNormalizationMode.TOTAL_RETURN):
            factors = [replace(row, price_factor=ONE) for row in bars.factors]
        else:
            raise NotInHost(f"DataNormalizationMode.{mode.name}")
        scaled = replace(bars, factors=tuple(factors))
        values = scaled.doubles(rows, True)
        if mode == DataNormalizationMode.TOTAL_RETURN:
            paid = self._dividends(bars, span.start.date())
            columns = (bars.close, bars.high, bars.low, bars.open)
            for at, row in enumerate(rows.tolist()):
                total = sum((amount for day, amount in paid if day <= bars.ordinals[row]), start=ZERO)
                if total:
                    values[:4, at] = [to_double(fit(scaled.price(column, row, True) + total)) for column in columns]
        return values

    def _dividends(self, bars: DailyBars, start: date) -> list[tuple[int, Decimal]]:
        """(ordinal of the ex-date, dollars a share) of the dividends whose eve is not before `start`."""
        return [
            (self._calendar.next_session(row.day).toordinal(), distribution(row, following))
            for row, following in itertools.pairwise(bars.factors)
            if row.day >= start
            and row.price_factor != following.price_factor
            and self._calendar.is_session(row.day)
        ]
