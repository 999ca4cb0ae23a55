"""`self.history`: daily bars of the past as the algorithm sees them, never later than its own time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minilean.calendar import CLOSE
from minilean.data import DailyBars, DataFolder
from minilean.symbols import Symbol

FIRST_YEAR = 1997
"""No data folder of US equities goes back further."""
COLUMNS = ("close", "high", "low", "open", "volume")


@dataclass(frozen=True)
class TradeBar:
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


class History:
    """Serves requests over a data folder; `now` is the algorithm's New York time."""

    def __init__(self, data: DataFolder, now: Callable[[], datetime]):
        self._data = data
        self._calendar = data.calendar
        self._now = now
        self._doubles: dict[tuple[str, bool], NDArray[np.float64]] = {}
        self._rows: dict[tuple[str, bool], NDArray[np.int64]] = {}
        self._grid: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._ends: NDArray[np.datetime64] = np.empty(0, dtype="datetime64[ns]")

    def last_sessions(self, count: int) -> tuple[int, int]:
        """Positions [first, after) in the session grid of the last `count` sessions that are over by now.

        LEAN steps back from the close in whole days and counts those in which the market was open. After an early
        close that is 13:00, and a Friday's afternoon makes its Saturday count: fewer sessions come back than asked
        for.
        """
        now = self._now()
        after = self._position(now)
        close = self._calendar.close(now.date())
        if not self._calendar.is_session(now.date()) or now < close or close.time() == CLOSE:
            return max(0, after - count), after
        while count > 0 and close.year > FIRST_YEAR:
            before = close - timedelta(days=1)
            count -= any(
                self._calendar.is_session(day)
                and self._calendar.open(day) < close
                and before < self._calendar.close(day)
                for day in (before.date(), close.date())
            )
            close = before
        return self._position(close), after

    def between(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Positions of the sessions that end after `start` and not after `end` or now."""
        return self._position(start), self._position(min(end, self._now()))

    def _position(self, moment: datetime) -> int:
        """How many sessions of the grid are over at that moment."""
        self._extend_grid(moment.date())
        return int(np.searchsorted(self._ends, np.datetime64(moment, "ns"), side="right"))

    def _extend_grid(self, until: date) -> None:
        if len(self._grid) and self._grid[-1] >= until.toordinal():
            return
        last = date(until.year + 1, 12, 31)
        days = self._calendar.sessions(date(FIRST_YEAR, 12, 31), last)
        self._grid = np.array([day.toordinal() for day in days], dtype=np.int64)
        self._ends = np.array([self._calendar.close(day) for day in days], dtype="datetime64[ns]")
        self._rows.clear()

    def frame(
        self, symbols: Sequence[Symbol], span: tuple[int, int], adjusted: bool, fill_forward: bool
    ) -> pd.DataFrame:
        """Bars of all symbols over a span of sessions, as LEAN's DataFrame: index (symbol, time), columns by name.

        A day without a bar repeats the bar before, from the symbol's first bar inside the span on. Symbols come in
        the order of their first bar; those without any are absent; nothing at all gives an empty frame.
        """
        parts = []
        for number, symbol in enumerate(symbols):
            rows, positions = self._inside(symbol, span, adjusted, fill_forward)
            if len(rows):
                parts.append((positions[0], number, symbol, rows, positions))
        if not parts:
            return pd.DataFrame()
        parts.sort(key=lambda part: part[:2])
        values = np.concatenate([self._values(symbol, adjusted)[:, rows] for _, _, symbol, rows, _ in parts], axis=1)
        lengths = [len(part[3]) for part in parts]
        times = np.concatenate([part[4] for part in parts]) - span[0]
        levels: list[Any] = [
            pd.Index([part[2] for part in parts], dtype=object),
            pd.DatetimeIndex(self._ends[span[0] : span[1]]),
        ]
        codes: list[Any] = [np.repeat(np.arange(len(parts)), lengths), times]
        index = pd.MultiIndex(
            levels=levels,
            codes=codes,
            names=["symbol", "time"],
            verify_integrity=False,
        )
        return pd.DataFrame(values.T, index=index, columns=list(COLUMNS))

    def bars(self, symbol: Symbol, span: tuple[int, int], adjusted: bool, fill_forward: bool) -> list[TradeBar]:
        """The same of one symbol as bar objects."""
        rows, positions = self._inside(symbol, span, adjusted, fill_forward)
        if not len(rows):
            return []
        values = self._values(symbol, adjusted)[:, rows]
        bars = []
        for (close, high, low, opening, volume), position in zip(values.T.tolist(), positions, strict=True):
            day = date.fromordinal(int(self._grid[position]))
            begin, end = self._calendar.open(day), self._calendar.close(day)
            bars.append(TradeBar(symbol, begin, end, opening, high, low, close, volume))
        return bars

    def _inside(
        self, symbol: Symbol, span: tuple[int, int], adjusted: bool, fill_forward: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the symbol's bars for a span, and the position in the grid of each."""
        bars: DailyBars = self._data.daily(symbol.id, adjusted)
        if not len(bars) or span[0] >= span[1]:
            return bars.ordinals[:0], bars.ordinals[:0]
        key = (symbol.sid, adjusted)
        if key not in self._rows:
            self._rows[key] = np.searchsorted(bars.ordinals, self._grid, side="right") - 1
        positions = np.arange(*span)
        rows = self._rows[key][positions]
        keep = (rows >= 0) & (bars.ordinals[rows] >= self._grid[span[0]])
        if fill_forward:
            file = self._data.map_file(symbol.id)
            if file is not None and file.delisting_date is not None:
                keep &= self._grid[positions] <= file.delisting_date.toordinal()
        else:
            keep &= bars.ordinals[rows] == self._grid[positions]
        return rows[keep], positions[keep]

    def _values(self, symbol: Symbol, adjusted: bool) -> NDArray[np.float64]:
        key = (symbol.sid, adjusted)
        if key not in self._doubles:
            bars = self._data.daily(symbol.id, adjusted)
            self._doubles[key] = bars.doubles(np.arange(len(bars)), adjusted)
        return self._doubles[key]
