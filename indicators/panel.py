"""From bars to a panel (N, L, F) of indicator values at one instant.

Each stock is computed on its own last `required_bars(L)` bars and on nothing else, so that older history, other stocks
and the other indicators asked for cannot change a bit of its values.

Units. Before TA-Lib sees them, a stock's prices are divided by its first close in that block and its volumes by its
mean volume before the window. Adjusted prices carry a factor per stock that is only known after the fact (every
dividend and split up to the end of the data), so levels in dollars (MOM, ATR, MACD, OBV, every moving average) would
hand the future to a comparison between stocks, besides ranking them by the arbitrary price of a share. In relative
units the factor cancels (but for rounding, which is enough to decide a tie between an up move and a down move in the
directional indicators): a price of 1.2 is 20 % above the first close of the block, and AD and OBV count, from that
same bar, days of usual volume.
"""

import difflib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from indicators.catalogue import CATALOGUE, FIELDS

if TYPE_CHECKING:
    import pandas as pd

MAX_JUMP = 100.0
"""A price this many times the last close, or this small a part of it, is an error in the data and not a return."""


@dataclass(frozen=True, eq=False)
class Bars:
    """Daily bars of N stocks over T sessions.

    open, high, low, close, volume: (N, T) float64 each; the last column is the last session. NaN where a stock has no
        bar: before its listing, after its end.
    Raises ValueError if the five differ in shape.
    """

    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {field: getattr(self, field).shape for field in FIELDS}
        if self.close.ndim != 2 or len(set(shapes.values())) > 1:
            raise ValueError(f"bars must be five arrays of one shape (N stocks, T sessions), not {shapes}")

    def returns(self, sessions: int) -> NDArray[np.float64]:
        """(N, T) simple returns from close to close over the last T = `sessions`, fewer where there are fewer; NaN
        where a stock lacks one of the two bars."""
        closes = self.close[:, -sessions - 1 :]
        simple: NDArray[np.float64] = closes[:, 1:] / closes[:, :-1] - 1.0
        return simple

    @classmethod
    def from_history(cls, frame: "pd.DataFrame", symbols: Sequence[Hashable]) -> "Bars":
        """Arrange LEAN's history by stock and session.

        frame: what `QCAlgorithm.history(symbols, n, Resolution.DAILY)` returns: index (symbol, time), columns open,
            high, low, close and volume among others; in any order of symbols, without those that have no data, and
            without columns if there is no data at all.
        symbols: the N stocks, in the order wanted of the rows; any hashable that the index holds.

        Sessions are the days that occur in the frame, so an early close shares its column with everyone else's bar.
        Raises ValueError if a column is missing.
        """
        if frame.empty:
            return cls(*np.full((len(FIELDS), len(symbols), 0), np.nan))
        missing = [field for field in FIELDS if field not in frame.columns]
        if missing:
            raise ValueError(
                f"the history has no column {', '.join(missing)} (it has {', '.join(map(str, frame.columns))}): "
                "ask for trade bars of daily resolution"
            )
        index = cast("pd.MultiIndex", frame.index)
        row_of = {symbol: row for row, symbol in enumerate(symbols)}
        row = np.array([row_of.get(symbol, -1) for symbol in index.levels[0]])[index.codes[0]]
        day = index.levels[1].to_numpy().astype("datetime64[D]")[index.codes[1]]
        wanted = row >= 0
        days, column = np.unique(day[wanted], return_inverse=True)
        grid = np.full((len(FIELDS), len(symbols), len(days)), np.nan)
        for values, field in zip(grid, FIELDS, strict=True):
            values[row[wanted], column] = frame[field].to_numpy()[wanted]
        return cls(*grid)


@dataclass(frozen=True, eq=False)
class Panel:
    """Indicator values of N stocks over a window of L sessions.

    values: (N, L, F) float64; NaN throughout for a stock that cannot be used.
    usable: (N,) bool.
    reasons: row of each stock that cannot be used -> why, for the log.
    names: the F indicators.
    """

    values: NDArray[np.float64]
    usable: NDArray[np.bool_]
    reasons: Mapping[int, str]
    names: tuple[str, ...]


@cache
def required_bars(window: int) -> int:
    """Bars a stock must have for `window` settled values of every indicator of the catalogue.

    It is the longest lookback plus settling (see `catalogue`), plus the window; the same for any choice of indicators,
    so that dropping one leaves the values of the others as they are.
    Raises ValueError if the window is shorter than one session.
    """
    if window < 1:
        raise ValueError(f"window = {window} sessions: it must be at least 1")
    return max(indicator.lookback + indicator.settle for indicator in CATALOGUE.values()) + window


def compute(bars: Bars, window: int, names: Sequence[str] = tuple(CATALOGUE)) -> Panel:
    """Indicators of every stock over the last `window` sessions.

    bars: N stocks; only the last `required_bars(window)` sessions are looked at.
    window: L, sessions.
    names: the F indicators, in the order of the columns wanted.

    A value at session t comes from bars up to t. A stock is left out, with the reason, if a bar of its block is missing
    or not finite, if it has a price that is not positive or is more than `MAX_JUMP` times off the close before, a
    negative volume, no volume before the window or none within it, or if an indicator is not finite within the window.
    Where prices that stand still for some sessions make a ratio 0/0, TA-Lib's own convention holds: it gives 0.
    Raises ValueError for a name that is not in the catalogue, and as `required_bars` does.
    """
    for name in names:
        if name not in CATALOGUE:
            near = difflib.get_close_matches(name, CATALOGUE, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(CATALOGUE)}"
            raise ValueError(f"unknown indicator {name!r}: {hint}")
    length = required_bars(window)
    chosen = [CATALOGUE[name] for name in names]
    block = np.stack([getattr(bars, field)[:, -length:] for field in FIELDS], axis=1)
    reasons = _faults(block, length, window)
    values = np.full((len(block), len(chosen), window), np.nan)
    for stock in range(len(block)):
        if stock in reasons:
            continue
        own = block[stock]
        own[:4] /= own[3, 0]
        own[4] /= own[4, :-window].mean()
        for column, indicator in enumerate(chosen):
            values[stock, column] = indicator.evaluate(own)[-window:]
        finite = np.isfinite(values[stock]).all(axis=1)
        if not finite.all():
            reasons[stock] = f"{names[int(np.argmin(finite))]} is not finite"
            values[stock] = np.nan
    usable = np.array([stock not in reasons for stock in range(len(block))], dtype=bool)
    return Panel(np.ascontiguousarray(values.transpose(0, 2, 1)), usable, reasons, tuple(names))


def _faults(block: NDArray[np.float64], length: int, window: int) -> dict[int, str]:
    """Stocks whose bars (N, 5, T) cannot be used, with the first reason found."""
    prices, volume = block[:, :4], block[:, 4]
    have = np.isfinite(block).all(axis=1).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        jump = prices[:, :, 1:] / prices[:, None, 3, :-1]
    faults = {
        stock: f"has {have[stock]} of the {length} bars needed" for stock in np.flatnonzero(have < length).tolist()
    }
    checks = {
        "has a price that is not positive": (prices > 0).all(axis=(1, 2)),
        f"has a price more than {MAX_JUMP:g} times off the close before": (
            ((jump <= MAX_JUMP) & (jump >= 1 / MAX_JUMP)).all(axis=(1, 2))
        ),
        "has a negative volume": (volume >= 0).all(axis=1),
        "has no volume before the window": volume[:, :-window].any(axis=1),
        "has no volume within the window": volume[:, -window:].any(axis=1),
    }
    for reason, passed in checks.items():
        for stock in np.flatnonzero(~passed).tolist():
            faults.setdefault(stock, reason)
    return faults
