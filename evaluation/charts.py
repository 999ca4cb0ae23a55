"""Charts as inline SVG that stretches with the page.

A drawing has its own units, WIDTH by HEIGHT, and the page scales it without scaling its strokes; whatever is text
stands beside it as HTML, placed in percent. So a chart is as sharp and as legible on a phone as on paper, a page of
them needs no library, and the numbers behind the pointer travel along as JSON.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 3000, 1000
MINUS = "\N{MINUS SIGN}"

_SHADES = 8
_MANY_TICKS = 6
_TICKS = ((pd.Timedelta(days=3 * 366), "YS"), (pd.Timedelta(days=270), "QS"), (pd.Timedelta(0), "MS"))
"""Length of a run from which on its axis has years, quarters or months."""


@dataclass(frozen=True)
class Line:
    """A series of a chart: values (T,), NaN where there is none. style: a class of the style sheet.

    named: whether it stands in the legend and under the pointer.
    """

    name: str
    values: Floats
    style: str
    shape: str = "line"  # or "area", down or up to zero, or "bar"
    named: bool = True


@dataclass(frozen=True)
class Tick:
    """A label at a share of the axis, in percent; a minor one gives way on narrow screens."""

    at: float
    text: str
    minor: bool = False


@dataclass(frozen=True)
class Drawing:
    """(style, path) in the order of drawing, and the labels of its vertical axis."""

    paths: tuple[tuple[str, str], ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Chart:
    """What the page needs: one drawing, or two of the same data, linear and logarithmic.

    label: the chart in a sentence, for those who do not see it. legend: (style, text). hover: JSON for the pointer.
    """

    label: str
    drawings: tuple[Drawing, ...]
    x_ticks: tuple[Tick, ...]
    legend: tuple[tuple[str, str], ...]
    hover: str
    kind: str = "lines"


def percent(value: float, places: int = 1) -> str:
    return number(100 * value, places) + "\N{NO-BREAK SPACE}%"


def number(value: float, places: int) -> str:
    """With thousands separators; a dash where there is no number."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", MINUS)


def compact(value: float) -> str:
    """A value in three digits: 1.24B, 86.3K, 0.0126."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", MINUS)
    return f"{value:.3g}".replace("-", MINUS)


def money(value: float) -> str:
    return f"${compact(value)}"


UNITS: dict[str, Callable[[float], str]] = {
    "percent": lambda value: f"{compact(100 * value)}\N{NO-BREAK SPACE}%",
    "money": money,
    "number": compact,
}
"""Units of a chart, and how the marks of its axis are written."""


def line_chart(
    label: str, days: pd.DatetimeIndex, lines: Sequence[Line], unit: str, *, both_scales: bool = False
) -> Chart:
    """Lines, areas or bars over days (T,), which ascend. unit: a key of `UNITS`.

    both_scales: also draw it on a logarithmic scale, as far as all values are positive.
    """
    x = _positions(days)
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values)]
    low, high = float(values.min(initial=math.inf)), float(values.max(initial=-math.inf))
    if any(line.shape != "line" for line in lines):
        low, high = min(low, 0.0), max(high, 0.0)
    if not low < high:  # one value, or none
        low, high = (low - 0.5, high + 0.5) if len(values) else (0.0, 1.0)
    drawings = [_drawing(x, lines, low, high, unit, log=False)]
    named = [line for line in lines if line.named]
    if both_scales and low > 0:
        drawings.append(_drawing(x, lines, low, high, unit, log=True))
    return Chart(
        label=label,
        drawings=tuple(drawings),
        x_ticks=_date_ticks(days, x),
        legend=tuple((line.style, line.name) for line in named),
        hover=_json(
            unit=unit,
            days=_steps(days),
            lines=[{"name": line.name, "style": line.style, "values": _short(line.values)} for line in named],
        ),
    )


def heat_map(label: str, days: pd.DatetimeIndex, names: Sequence[str], values: Floats, unit: str) -> Chart:
    """Values (len(names), T) as cells, the darker the larger; NaN and zero stay empty.

    days (T,): the ends of the columns, which are of one width.
    """
    largest = float(np.nanmax(values, initial=0.0))
    step = _nice(largest / _SHADES) if largest > 0 else 1.0
    levels = np.where(values > 0, np.ceil(np.nan_to_num(values) / step), 0).astype(int)
    edges = np.round(np.linspace(0, WIDTH, len(days) + 1)).astype(int)
    rows = np.round(np.linspace(0, HEIGHT, len(names) + 1)).astype(int)
    paths, legend = [], []
    deepest = int(levels.max(initial=0))
    for level in range(1, deepest + 1):
        style = f"heat shade-{level * _SHADES // deepest}"
        cells = [
            f"M{edges[start]} {rows[row]}H{edges[stop]}V{rows[row + 1]}H{edges[start]}z"
            for row in range(len(names))
            for start, stop in _runs(levels[row] == level)
        ]
        paths.append((style, "".join(cells)))
        legend.append((style, f"to {UNITS[unit](level * step)}"))
    centres = tuple(Tick(100 - 100 * (i + 0.5) / len(names), name) for i, name in enumerate(names))
    return Chart(
        label=label,
        drawings=(Drawing(tuple(paths), centres),),
        x_ticks=_date_ticks(days, edges[1:]),
        legend=tuple(legend),
        hover=_json(
            unit=unit,
            days=_steps(days),
            lines=[{"name": name, "values": _short(row)} for name, row in zip(names, values, strict=True)],
        ),
        kind="cells",
    )


def _drawing(x: NDArray[np.int64], lines: Sequence[Line], low: float, high: float, unit: str, *, log: bool) -> Drawing:
    def scale(values: Floats) -> Floats:
        return np.log(values) if log else values

    bottom, top = (float(v) for v in scale(np.array([low, high])))
    pad = (top - bottom) * 0.04
    # Bars and areas stand on the axis.
    bottom, top = (bottom if low == 0 else bottom - pad), (top if high == 0 else top + pad)

    def y(values: Floats) -> Floats:
        return HEIGHT * (1 - (scale(values) - bottom) / (top - bottom))

    marks = _log_ticks(low, high) if log else _ticks(low, high)
    heights = y(np.array(marks))
    grid = "".join(f"M0 {round(h)}H{WIDTH}" for h in heights)
    paths = [("grid", grid)]
    if not log and low <= 0 <= high:
        paths.append(("zero", f"M0 {round(float(y(np.zeros(1))[0]))}H{WIDTH}"))
    for line in reversed(lines):  # the first one on top
        draw = {"line": _polyline, "area": _area, "bar": _bars}[line.shape]
        baseline = 0 if log else round(float(y(np.zeros(1))[0]))
        paths.append((f"{line.shape} {line.style}", draw(x, y(line.values), baseline)))
    return Drawing(
        tuple(paths),
        tuple(Tick(100 - 100 * h / HEIGHT, UNITS[unit](m)) for h, m in zip(heights.tolist(), marks, strict=True)),
    )


def _polyline(x: NDArray[np.int64], y: Floats, baseline: int) -> str:
    """Through the finite points; a gap begins a new line."""
    parts = []
    for start, stop in _runs(np.isfinite(y)):
        xs, ys = x[start:stop], np.round(y[start:stop]).astype(int)
        moves = zip(np.diff(xs).tolist(), np.diff(ys).tolist(), strict=True)
        parts.append(f"M{xs[0]} {ys[0]}l" + " ".join(f"{dx} {dy}" for dx, dy in moves))
    return "".join(part.removesuffix("l") for part in parts)


def _area(x: NDArray[np.int64], y: Floats, baseline: int) -> str:
    return "".join(
        f"{_polyline(x[start:stop], y[start:stop], baseline)}V{baseline}H{x[start]}z"
        for start, stop in _runs(np.isfinite(y))
    )


def _bars(x: NDArray[np.int64], y: Floats, baseline: int) -> str:
    """Each bar ends at its point and leaves a gap to the one before."""
    wide = int(np.median(np.diff(x))) if len(x) > 1 else WIDTH // 10
    wide = max(wide * 4 // 5, 2)
    return "".join(
        f"M{max(int(right) - wide, 0)} {baseline}V{round(top)}H{right}V{baseline}z"
        for right, top in zip(x.tolist(), y.tolist(), strict=True)
        if math.isfinite(top)
    )


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _positions(days: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Days as abscissae; a single one stands in the middle."""
    numbers = _day_numbers(days)
    if len(numbers) < 2:
        return np.full(len(numbers), WIDTH // 2)
    x: NDArray[np.int64] = np.round((numbers - numbers[0]) * WIDTH / (numbers[-1] - numbers[0])).astype(np.int64)
    return x


def _day_numbers(days: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Days since 1970."""
    numbers: NDArray[np.int64] = days.to_numpy("datetime64[D]").astype(np.int64)
    return numbers


def _date_ticks(days: pd.DatetimeIndex, x: NDArray[np.int64]) -> tuple[Tick, ...]:
    """The first days of the years, quarters or months, as the length of the run allows; x: abscissae of the days."""
    first, last = days[0], days[-1]
    starts = pd.date_range(first, last, freq=next(freq for least, freq in _TICKS if last - first >= least))
    at = np.interp(_day_numbers(starts), _day_numbers(days), x)
    years = starts.month.max() == 1 if len(starts) else False
    return tuple(
        Tick(
            100 * position / WIDTH,
            str(day.year) if day.month == 1 else f"{day:%b}",
            minor=len(starts) > _MANY_TICKS and (day.year if years else day.quarter + 1) % 2 == 1,
        )
        for position, day in zip(at.tolist(), starts, strict=True)
    )


def _ticks(low: float, high: float) -> list[float]:
    """Multiples of a round step within [low, high], some five of them."""
    step = _nice((high - low) / 5)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; within a narrow range, those of a linear scale."""
    marks = [
        m * 10.0**e
        for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for m in (1, 2, 5)
        if low <= m * 10.0**e <= high
    ]
    return marks if len(marks) > 2 else _ticks(low, high)


def _nice(step: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _steps(days: pd.DatetimeIndex) -> list[int]:
    """Days since 1970, each as its distance from the one before: short in JSON."""
    return [int(step) for step in np.diff(_day_numbers(days), prepend=0)]


def _short(values: Floats) -> list[float | None]:
    """Five digits are more than anyone points at."""
    rounded = [float(f"{v:.5g}") if math.isfinite(v) else None for v in values.tolist()]
    return [int(v) if v is not None and v.is_integer() else v for v in rounded]


def _json(**content: Any) -> str:
    """JSON that no name in it can break out of: it stands in a script element."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
