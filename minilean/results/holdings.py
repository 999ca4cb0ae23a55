"""The charts of what was held: exposure, and the margin that each position used.

Positions are noted at every sample and drawn when the run is over, for all samples at once: as whole numbers in
columns, with decimals only where a double could miss the digit that LEAN's decimals round to.
"""

import math
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
        self._sides: list[Series] = []
        self._texts = _Texts()
        self._columns: dict[Series, int] = {}
        self._last_shown: tuple[int, NDArray[np.int64]] = 0, np.zeros(0, dtype=np.int64)
        self._noted: list[tuple[int, Decimal, Positions, bool]] = []

    def note(self, now: int, total: Decimal, positions: Positions, *, is_exposed: bool) -> None:
        """The positions at a sample.

        now: Unix seconds; total: the portfolio's value in dollars; is_exposed: whether exposure has a point then.
        """
        if is_exposed and not self._sides:
            self._sides = [self._exposure_series(name) for name in _SIDES]
        self._noted.append((now, total, positions, is_exposed))

    def draw(self) -> dict[int, Decimal]:
        """Fill the series; returns the margin used, in percent of the portfolio, by time, where there was any."""
        states: list[tuple[Decimal, Positions]] = []
        times: list[list[int]] = []
        for now, total, positions, is_exposed in self._noted:
            if not states or positions is not states[-1][1] or total != states[-1][0]:
                states.append((total, positions))
                times.append([])
                exposure = _exposure(total, positions)
            times[-1].append(now)
            if is_exposed:
                for series, point in zip(self._sides, exposure, strict=True):
                    series.add(now, point)
        held = [at for at, (total, positions) in enumerate(states) if positions.securities and total]
        used: dict[int, Decimal] = {}
        for batch in (held[begin : begin + _BATCH] for begin in range(0, len(held), _BATCH)):
            of_batch = [times[at] for at in batch]
            for moments, total in zip(of_batch, self._margins([states[at] for at in batch], of_batch), strict=True):
                used |= dict.fromkeys(moments, total)
        return used

    def _margins(self, states: Sequence[tuple[Decimal, Positions]], times: Sequence[Sequence[int]]) -> list[Decimal]:
        """Draw maintenance margins in percent of the portfolio: the largest forty, and the sum of the others.

        times: of the samples that found each state. Returns the sum of all margins of each.
        """
        counts = np.array([len(positions.values) for _, positions in states])
        starts = np.cumsum(counts) - counts
        state_of = np.repeat(np.arange(len(states)), counts)
        digits, places = _four_digits(states)
        values = digits / 10.0 ** np.maximum(places, 0) * 10.0 ** np.maximum(-places, 0)
        is_large = _are_largest(values, counts)
        finest = int(places.max())
        kind = np.int64 if finest - places.min() < 14 else object
        units = digits.astype(kind) * np.array(10, dtype=kind) ** (finest - places)
        sums = np.add.reduceat(units, starts).tolist()

        large = np.flatnonzero(is_large)
        state, texts = state_of[large], list(map(self._texts.__getitem__, values[large].tolist()))
        column, others = self._columns_of(states, is_large)
        if others is not None:
            rests = np.add.reduceat(np.where(is_large, 0, units), starts).tolist()
            rest_places = np.maximum.reduceat(np.where(is_large, places.min(), places), starts).tolist()
            crowded = np.flatnonzero(counts > MARGIN_SERIES)
            state, column = np.append(state, crowded), np.append(column, np.full(len(crowded), others))
            for at in crowded.tolist():
                scaled = rests[at] // 10 ** (finest - rest_places[at])
                exact = Decimal(scaled).scaleb(-rest_places[at])
                if scaled >= 10**7:  # LEAN's sum was rounded on the way
                    small = starts[at] + np.flatnonzero(~is_large[starts[at] : starts[at] + counts[at]])
                    exact = _rounded_sum(list(zip(digits[small].tolist(), places[small].tolist(), strict=True)))
                texts.append(number(normalise(exact)))
        self._draw(state, column, texts, times)
        return [Decimal(total).scaleb(-finest) for total in sums]

    def _columns_of(
        self, states: Sequence[tuple[Decimal, Positions]], is_large: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], int | None]:
        """The number of the series of every large position of the states, and of that of the others where there is one.

        New series are made in the order of the positions.
        """
        numbers: dict[Security, int] = {}
        rows: list[NDArray[np.int64]] = []
        before: Sequence[Security] | None = None
        for _, positions in states:
            same = positions.securities is before
            before = positions.securities
            rows.append(rows[-1] if same else np.array([numbers.setdefault(s, len(numbers)) for s in before]))
        large = np.flatnonzero(is_large)
        of_large = np.concatenate(rows)[large]
        shown, first = np.unique(of_large, return_index=True)
        made = list(zip(large[first].tolist(), shown.tolist(), strict=True))
        small = np.flatnonzero(~is_large)[:1].tolist()
        securities = list(numbers)
        columns = np.zeros(len(numbers), dtype=np.int64)
        others = None
        for _, stock in sorted(made + [(at, -1) for at in small]):
            series = self._margin_series(_OTHERS if stock < 0 else self._latest_ticker(securities[stock]))
            column = self._columns.setdefault(series, len(self._columns))
            if stock < 0:
                others, series.color = column, "#808080"
            else:
                columns[stock] = column
        return columns[of_large], others

    def _draw(
        self, state: NDArray[np.int64], column: NDArray[np.int64], texts: list[str], times: Sequence[Sequence[int]]
    ) -> None:
        """Give a series a state's text at all times of the state; one that the next state leaves out ends with null.

        The last of several points that a series gets at one time stays.
        """
        shown = np.zeros((len(times) + 1, len(self._columns)), dtype=np.bool_)
        ended, of_last = self._last_shown
        shown[0, of_last] = True
        shown[state + 1, column] = True
        self._last_shown = times[-1][-1], np.flatnonzero(shown[-1])
        begins = np.array([moments[0] for moments in times])
        is_later = begins != np.array([ended, *(moments[-1] for moments in times[:-1])])
        left, gone = np.nonzero(shown[:-1] & ~shown[1:] & is_later[:, None])
        lengths = np.array([len(moments) for moments in times])
        repeats = np.append(lengths[state], np.ones_like(left))
        state, column = np.append(state, left), np.append(column, gone)
        order = np.lexsort((state, column))
        order = order[_last_of_each(column[order], state[order])]
        repeats = repeats[order]
        rows = np.repeat(order, repeats)
        shifts = (np.cumsum(lengths) - lengths)[state[order]] - (np.cumsum(repeats) - repeats)
        moments = np.array(list(chain.from_iterable(times)))[np.repeat(shifts, repeats) + np.arange(len(rows))]
        of_rows = column[rows]
        stays = _last_of_each(of_rows, moments)
        points = np.array([*texts, *["null"] * len(left)], dtype=object)[rows[stays]].tolist()
        moments, of_rows = moments[stays].tolist(), of_rows[stays]
        ends = np.searchsorted(of_rows, np.arange(len(self._columns)), side="right").tolist()
        begin = 0
        for series, end in zip(self._columns, ends, strict=True):
            if begin < end:
                series.extend(moments[begin:end], points[begin:end])
            begin = end


def _last_of_each(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a pair of the two columns is followed by another one."""
    return np.append((first[1:] != first[:-1]) | (second[1:] != second[:-1]), True)


def _are_largest(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values, none negative, are among the largest forty of their state, of equal ones the first.

    values: of all states, one state after the other; counts: how many there are of each.
    """
    widest = int(counts.max())
    if widest <= MARGIN_SERIES:
        return np.ones(len(values), dtype=np.bool_)
    is_value = np.arange(widest) < counts[:, None]
    table = np.full(is_value.shape, -1.0)
    table[is_value] = values
    last = np.partition(table, widest - MARGIN_SERIES)[:, widest - MARGIN_SERIES, None]
    is_larger, is_last = table > last, table == last
    room = MARGIN_SERIES - is_larger.sum(axis=1, keepdims=True)
    is_largest: NDArray[np.bool_] = is_larger | (is_last & (np.cumsum(is_last, axis=1) <= room))
    return is_largest[is_value]


def _exposure(total: Decimal, positions: Positions) -> tuple[str, str]:
    """Value of the long and of the short positions over the portfolio's."""
    size = sum(positions.sizes.values())
    long, short = (positions.net + size) // 2, (positions.net - size) // 2
    return _share(long, positions.places, total), _share(short, positions.places, total)


def _share(side: int, places: int, total: Decimal) -> str:
    """JSON number of a side's units over the portfolio's value, to four places."""
    if not side or not total:
        return "0.0"
    share = side / 10**places / float(total)
    scaled = abs(share) * 10**_DIGITS
    if scaled < 1e7 and abs(scaled - math.floor(scaled) - 0.5) > _TIE:
        written = f"{share:z.{_DIGITS}f}".rstrip("0")
        return f"{written}0" if written.endswith(".") else written
    return number(smart(round_half_even(divide(Decimal(side).scaleb(-places), total), 4)))


def _four_digits(states: Sequence[tuple[Decimal, Positions]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Margin of each position of all states in percent, rounded to four digits, as digits * 10**-places.

    The margin is a position's size over leverage times the portfolio's value.
    """
    sizes = np.abs(np.fromiter(chain.from_iterable(positions.values for _, positions in states), dtype=np.float64))
    bases = []
    for total, positions in states:
        one_percent = total.scaleb(positions.places) / _HUNDRED
        by_leverage = {leverage: float(leverage * one_percent) for leverage in positions.sizes}
        if len(by_leverage) == 1:
            bases += list(by_leverage.values()) * len(positions.leverages)
        else:
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


class _Texts(dict[float, str]):
    """JSON numbers of doubles that stand for decimals of few digits; there are fewer than positions."""

    def __missing__(self, value: float) -> str:
        written = repr(value)
        self[value] = text = number(normalise(Decimal(written))) if "e" in written else written
        return text


def _rounded_sum(amounts: Sequence[tuple[int, int]]) -> Decimal:
    total = ZERO
    for digits, places in amounts:
        total = _SEVEN_DIGITS.add(total, Decimal(digits).scaleb(-places))
    return total
