"""The charts of what was held: exposure, and the margin that each position used.

Positions are noted at every sample and drawn when the run is over, for all samples at once: as whole numbers in
columns, with decimals only where a double could miss the digit that LEAN's decimals round to.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from minilean.decimals import EXACT, ZERO, divide, normalise, number, round_half_even, smart
from minilean.portfolio import Positions
from minilean.results.charts import Series
from minilean.securities import Security

MARGIN_SERIES = 40
_SIDES = ("Equity - Long Ratio", "Equity - Short Ratio")
_OTHERS = "OTHERS"
_HUNDRED = Decimal(100)
_DIGITS = 4
"""Significant digits of a margin."""
_SEVEN_DIGITS = EXACT.copy()
_SEVEN_DIGITS.prec = 7
_FOUR_DIGITS = EXACT.copy()
_FOUR_DIGITS.prec = _DIGITS
_TIE = 1e-6
"""How close to the middle between two numbers of four digits a double counts as in doubt; its error is some 1e-12."""

_BATCH = 250
"""Samples that are drawn at once: the columns of all would take more memory than the whole run."""

_Points = list[tuple[Series, str]]


class Holdings:
    """Notes positions, and draws them.

    exposure_series, margin_series: give the series of a name, a new one the first time.
    latest_ticker: the ticker that a security has today, which names its margin.
    """

    def __init__(
        self,
        exposure_series: Callable[[str], Series],
        margin_series: Callable[[str], Series],
        latest_ticker: Callable[[Security], str],
    ):
        self._exposure_series = exposure_series
        self._margin_series = margin_series
        self._latest_ticker = latest_ticker
        self._noted: list[tuple[int, Decimal, Positions, bool]] = []

    def note(self, now: int, total: Decimal, positions: Positions, *, is_exposed: bool) -> None:
        """The positions at a sample.

        now: Unix seconds; total: the portfolio's value in dollars; is_exposed: whether exposure has a point then.
        """
        if is_exposed:
            for name in _SIDES:
                self._exposure_series(name)
        self._noted.append((now, total, positions, is_exposed))

    def draw(self) -> dict[int, Decimal]:
        """Fill the series; returns the margin used, in percent of the portfolio, by time, where there was any."""
        states: list[tuple[Decimal, Positions]] = []
        of_sample = []
        for _, total, positions, _ in self._noted:
            if not states or positions is not states[-1][1] or total != states[-1][0]:
                states.append((total, positions))
            of_sample.append(len(states) - 1)
        exposures = [_exposure(total, positions) for total, positions in states]
        held = [at for at, (total, positions) in enumerate(states) if positions.securities and total]
        margins: dict[int, tuple[_Points, Decimal]] = {}
        for batch in (held[begin : begin + _BATCH] for begin in range(0, len(held), _BATCH)):
            margins |= zip(batch, self._margins([states[at] for at in batch]), strict=True)
        sides = [self._exposure_series(name) for name in _SIDES] if any(entry[3] for entry in self._noted) else []
        used: dict[int, Decimal] = {}
        points: _Points = []
        drawn = -1
        for (now, _, _, is_exposed), at in zip(self._noted, of_sample, strict=True):
            if is_exposed:
                for series, point in zip(sides, exposures[at], strict=True):
                    series.add(now, point)
            if at not in margins:
                continue
            if at != drawn:
                before, (points, total_used), drawn = points, margins[at], at
                _end(before, points, now)
            for series, point in points:
                series.put(now, point)
            used[now] = total_used
        return used

    def _margins(self, states: Sequence[tuple[Decimal, Positions]]) -> list[tuple[_Points, Decimal]]:
        """Maintenance margins in percent of the portfolio: the largest forty, and the sum of the others; and of all."""
        counts = np.array([len(positions.values) for _, positions in states])
        starts = np.cumsum(counts) - counts
        digits, places = _four_digits(states)
        values = digits / 10.0 ** np.maximum(places, 0) * 10.0 ** np.maximum(-places, 0)
        order = np.lexsort((-values, np.repeat(np.arange(len(states)), counts)))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order)) - np.repeat(starts, counts)
        is_large = rank < MARGIN_SERIES
        finest = int(places.max())
        kind = np.int64 if finest - places.min() < 14 else object
        units = digits.astype(kind) * np.array(10, dtype=kind) ** (finest - places)
        sums = np.add.reduceat(units, starts).tolist()
        rests = np.add.reduceat(np.where(is_large, 0, units), starts).tolist()
        rest_places = np.maximum.reduceat(np.where(is_large, places.min(), places), starts).tolist()
        large = is_large.tolist()
        texts = [_text(value) if is_shown else "" for value, is_shown in zip(values.tolist(), large, strict=True)]
        series_of: dict[Security, Series] = {}
        found = []
        for (_, positions), begin, total, rest, finest_rest in zip(
            states, starts.tolist(), sums, rests, rest_places, strict=True
        ):
            points: _Points = []
            others: Series | None = None
            for at, security in enumerate(positions.securities, begin):
                if large[at]:
                    series = series_of.get(security)
                    if series is None:
                        series = series_of[security] = self._margin_series(self._latest_ticker(security))
                    points.append((series, texts[at]))
                elif others is None:
                    others = self._margin_series(_OTHERS)
                    others.color = "#808080"
            if others is not None:
                scaled = rest // 10 ** (finest - finest_rest)
                exact = Decimal(scaled).scaleb(-finest_rest)
                if scaled >= 10**7:  # LEAN's sum was rounded on the way
                    small = range(begin, begin + len(positions.securities))
                    exact = _rounded_sum([(int(digits[at]), int(places[at])) for at in small if not large[at]])
                points.append((others, number(normalise(exact))))
            found.append((points, Decimal(total).scaleb(-finest)))
        return found


def _exposure(total: Decimal, positions: Positions) -> tuple[str, str]:
    """Value of the long and of the short positions over the portfolio's."""
    short = sum(value for value in positions.values if value < 0)
    sides = (sum(positions.values) - short, short)
    long_ratio, short_ratio = (
        smart(round_half_even(divide(Decimal(side).scaleb(-positions.places), total), 4)) if side and total else ZERO
        for side in sides
    )
    return number(long_ratio), number(short_ratio)


def _end(before: _Points, points: _Points, now: int) -> None:
    """A series that is not among the largest any more says so once."""
    shown = {series for series, _ in points}
    for series, _ in before:
        if series not in shown and series.times[-1] != now and series.points[-1] != "null":
            series.add(now, "null")


def _four_digits(states: Sequence[tuple[Decimal, Positions]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Margin of each position of all states in percent, rounded to four digits, as digits * 10**-places.

    The margin is a position's size over leverage times the portfolio's value.
    """
    sizes = np.abs(np.array(list(chain.from_iterable(positions.values for _, positions in states)), dtype=np.float64))
    bases = []
    for total, positions in states:
        one_percent = total.scaleb(positions.places) / _HUNDRED
        by_leverage = {leverage: float(leverage * one_percent) for leverage in set(positions.leverages)}
        bases += [by_leverage[leverage] for leverage in positions.leverages]
    margins = sizes / np.array(bases)
    magnitudes = np.zeros(len(margins), dtype=np.int64)
    magnitudes[margins != 0] = np.floor(np.log10(np.abs(margins[margins != 0])))
    places = _DIGITS - 1 - magnitudes
    scaled = margins * 10.0**places
    digits = np.rint(scaled).astype(np.int64)
    in_doubt = np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < _TIE)
    if len(in_doubt):
        exact = [
            (abs(value), leverage * total.scaleb(positions.places) / _HUNDRED)
            for total, positions in states
            for value, leverage in zip(positions.values, positions.leverages, strict=True)
        ]
        for at in in_doubt.tolist():
            size, base = exact[at]
            margin = _FOUR_DIGITS.divide(Decimal(size), base)
            places[at] = _DIGITS - 1 - margin.adjusted()
            digits[at] = int(margin.scaleb(int(places[at])))
    return digits, places


def _text(value: float) -> str:
    """JSON number of a double that stands for a decimal of few digits."""
    written = repr(value)
    return number(normalise(Decimal(written))) if "e" in written else written


def _rounded_sum(amounts: Sequence[tuple[int, int]]) -> Decimal:
    total = ZERO
    for digits, places in amounts:
        total = _SEVEN_DIGITS.add(total, Decimal(digits).scaleb(-places))
    return total
