"""`self.history`: daily bars of the past as the algorithm sees them, never later than its own time."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
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
COLUMNS = ("close", "high", "low", "open", "volume")


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


class _Listing:
    """The bars of one symbol along the grid.

    rows: (G,) row of the last bar by the end of each session, -1 before the first; fresh: (G,) whether that is the
    session's own; after: how many sessions it is listed for.
    """

    __slots__ = ("after", "bars", "doubles", "fresh", "rows")

    def __init__(self, bars: DailyBars, grid: NDArray[np.int64], delisting_date: date | None):
        self.bars = bars
        self.rows = np.searchsorted(bars.ordinals, grid, side="right") - 1
        self.fresh = bars.rows_of(grid) >= 0
        last = date.max if delisting_date is None else delisting_date
        self.after = int(np.searchsorted(grid, last.toordinal(), side="right"))
        self.doubles: dict[DataNormalizationMode, NDArray[np.float64]] = {}
        """(5, T) by mode, where a price does not depend on the request."""

    def inside(self, first: int, after: int, fill_forward: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the bars for sessions [first, after) of the grid, and the position in the grid of each."""
        if fill_forward and first < after and self.fresh[first]:
            begin, end = first, min(after, self.after)
            return self.rows[begin:end], np.arange(begin, end)
        positions = np.flatnonzero(self.fresh[first:after]) + first
        if fill_forward and len(positions):
            positions = np.arange(positions[0], min(after, self.after))
        return self.rows[positions], positions


class History:
    """Serves requests over a data folder; `now` is the algorithm's New York time."""

    def __init__(self, data: DataFolder, now: Callable[[], datetime]):
        self._data = data
        self._calendar = data.calendar
        self._now = now
        self._listings: dict[str, _Listing] = {}
        self._grid: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._ends: NDArray[np.datetime64] = np.empty(0, dtype="datetime64[ns]")

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
        days = self._calendar.sessions(date(FIRST_YEAR, 12, 31), date(until.year + _YEARS_AHEAD, 12, 31))
        self._grid = np.array([day.toordinal() for day in days], dtype=np.int64)
        self._ends = np.array([self._calendar.close(day) for day in days], dtype="datetime64[ns]")
        self._listings.clear()

    def frame(
        self, requests: Sequence[tuple[Symbol, DataNormalizationMode]], span: Span, fill_forward: bool
    ) -> pd.DataFrame:
        """Bars of symbols, each in its mode, as LEAN's DataFrame: index (symbol, time), columns by name.

        A day without a bar repeats the bar before, from the symbol's first bar inside the span on. Symbols come in
        the order of their first bar; those without any are absent; nothing at all gives an empty frame.
        """
        parts = []
        for number, (symbol, mode) in enumerate(requests):
            listing = self._listing(symbol)
            rows, positions = listing.inside(span.first, span.after, fill_forward)
            if len(rows):
                parts.append((positions[0], number, symbol, self._values(listing, mode, rows, span), positions))
        if not parts:
            return pd.DataFrame()
        parts.sort(key=lambda part: part[:2])
        values = np.concatenate([part[3] for part in parts], axis=1)
        lengths = [len(part[4]) for part in parts]
        times = np.concatenate([part[4] for part in parts]) - span.first
        sorted_parts = sorted(range(len(parts)), key=lambda at: parts[at][2].value)
        levels: list[Any] = [
            pd.Index([parts[at][2] for at in sorted_parts], dtype=object),
            pd.DatetimeIndex(self._ends[span.first : span.after]),
        ]
        codes: list[Any] = [np.repeat(np.argsort(sorted_parts), lengths), times]
        index = pd.MultiIndex(
            levels=levels,
            codes=codes,
            names=["symbol", "time"],
            verify_integrity=False,
        )
        return pd.DataFrame(values.T, index=index, columns=list(COLUMNS))

    def bars(
        self, symbol: Symbol, mode: DataNormalizationMode, span: Span, fill_forward: bool
    ) -> list[TradeBar]:
        """The same of one symbol as bar objects."""
        listing = self._listing(symbol)
        rows, positions = listing.inside(span.first, span.after, fill_forward)
        if not len(rows):
            return []
        values = self._values(listing, mode, rows, span)
        bars = []
        for (close, high, low, opening, volume), position in zip(values.T.tolist(), positions, strict=True):
            day = date.fromordinal(int(self._grid[position]))
            begin, end = self._calendar.open(day), self._calendar.close(day)
            bars.append(TradeBar(symbol, begin, end, opening, high, low, close, volume))
        return bars

    def _listing(self, symbol: Symbol) -> _Listing:
        found = self._listings.get(symbol.sid)
        if found is None:
            file = self._data.map_file(symbol.id)
            delisting_date = file.delisting_date if file else None
            found = self._listings[symbol.sid] = _Listing(self._data.daily(symbol.id), self._grid, delisting_date)
        return found

    def _values(
        self, listing: _Listing, mode: DataNormalizationMode, rows: NDArray[np.int64], span: Span
    ) -> NDArray[np.float64]:
        """(5, len(rows)) close, high, low, open, volume of those rows in a mode.

        Split-adjusted prices know splits alone; scaled raw ones are adjusted to the end of the request instead of
        today; total returns are split-adjusted prices plus the dividends paid since the request's start.
        """
        bars = listing.bars
        if mode in CACHED:
            known = listing.doubles.get(mode)
            if known is None:
                known = bars.doubles(np.arange(len(bars)), mode == DataNormalizationMode.ADJUSTED)
                listing.doubles[mode] = known
            begin, count = rows[0], len(rows)
            return known[:, begin : begin + count] if rows[-1] - begin == count - 1 else known[:, rows]
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
