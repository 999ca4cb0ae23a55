"""The ladder as one self-contained HTML page, and its differences from equal weights as a small picture."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.charts import HEIGHT, WIDTH, Line, line_chart, number
from evaluation.ladder import EQUAL, SPY, Ladder, Row
from evaluation.significance import Spread
from evaluation.tearsheet import TEMPLATES, Figure

_NONE = "\N{EN DASH}"

COLUMNS = (
    ("CAGR, %", "annual_return", 100, 1),
    ("Volatility, %", "deviation", 100, 1),
    ("Sharpe", "sharpe", 1, 2),
    ("Drawdown, %", "drawdown", 100, 1),
    ("Beta", "beta", 1, 2),
    ("Alpha, %", "alpha", 100, 1),
    ("Turnover, %", "turnover", 100, 0),
    ("Fees, $M", "fees", 1e-6, 1),
    ("Names", "names", 1, 1),
    ("Before holdout", "before_holdout", 1, 2),
    ("Holdout", "holdout", 1, 2),
)
"""Heading, figure, what it is multiplied by, and its places."""


@dataclass(frozen=True)
class Whisker:
    """A difference with its interval, as shares of an axis in percent."""

    low: float
    value: float
    high: float
    distinct: bool
    text: str


def ladder_sheet(ladder: Ladder) -> str:
    """The page, as HTML."""
    return TEMPLATES.get_template("ladder.html").render(
        ladder=ladder,
        columns=[heading for heading, *_ in COLUMNS],
        groups=_grouped(ladder.rows),
        cells=cells,
        whiskers=whiskers(ladder, EQUAL),
        zero=_zero(ladder, EQUAL),
        curves=list(_curves(ladder)),
        seeds=_seed_fans(ladder),
        width=WIDTH,
        height=HEIGHT,
    )


def ladder_picture(ladder: Ladder) -> str:
    """Each rung's difference from equal weights with its 95 % interval, as SVG."""
    return TEMPLATES.get_template("ladder.svg").render(
        ladder=ladder, whiskers=whiskers(ladder, EQUAL), zero=_zero(ladder, EQUAL), equal=EQUAL
    )


def cells(row: Row) -> list[tuple[str, str]]:
    """(median, range over seeds or "") of each of `COLUMNS`."""
    return [_cell(row.figures.get(name), times, places) for _, name, times, places in COLUMNS]


def _cell(spread: Spread | None, times: float, places: int) -> tuple[str, str]:
    if spread is None:
        return _NONE, ""
    median, low, high = (number(times * value, places) for value in (spread.median, spread.low, spread.high))
    return median, f"{low} to {high}" if spread.seeds > 1 else ""


def whiskers(ladder: Ladder, benchmark: str) -> dict[str, Whisker]:
    """Each rung's difference of Sharpe ratios from the benchmark, where there is one, by title."""
    low, high = _axis(ladder, benchmark)
    found = {}
    for row in ladder.rows:
        if benchmark in row.against:
            difference = row.against[benchmark].sharpe
            left, value, right = (
                100 * (figure - low) / (high - low) for figure in (difference.low, difference.value, difference.high)
            )
            text = f"{number(difference.value, 2)} ({number(difference.low, 2)} to {number(difference.high, 2)})"
            found[row.title] = Whisker(left, value, right, difference.distinct, text)
    return found


def _axis(ladder: Ladder, benchmark: str) -> tuple[float, float]:
    differences = [row.against[benchmark].sharpe for row in ladder.rows if benchmark in row.against]
    low = min([0.0, *(d.low for d in differences)])
    high = max([0.0, *(d.high for d in differences)])
    return (low, high) if low < high else (-1.0, 1.0)


def _zero(ladder: Ladder, benchmark: str) -> float:
    low, high = _axis(ladder, benchmark)
    return 100 * (0.0 - low) / (high - low)


def _grouped(rows: tuple[Row, ...]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return groups


def _curves(ladder: Ladder) -> list[Figure]:
    """Growth and drawdown of the chosen rung against SPY, with every other rung behind them."""
    days = pd.DatetimeIndex(ladder.returns.index)
    growth = (1 + ladder.returns).cumprod()
    kept = _moved(ladder.returns)
    shown = [title for title in (ladder.chosen or EQUAL, SPY) if title in growth]
    behind = [
        Line(str(title), growth[title].to_numpy()[kept], "behind", named=False)
        for title in growth
        if title not in shown
    ]
    ahead = [
        Line(title, growth[title].to_numpy()[kept], style)
        for title, style in zip(shown, ("strategy", "benchmark"), strict=False)
    ]
    label = f"A dollar became {number(float(growth[shown[0]].iloc[-1]), 2)} with {shown[0]}."
    remark = "In grey, every other rung; each is the mean over its seeds."
    return [
        Figure(
            "Growth of a dollar", line_chart(label, days[kept], [*behind, *ahead], "money", both_scales=True), remark
        )
    ]


def _seed_fans(ladder: Ladder) -> list[Figure]:
    """Growth of each seed of the seeded rungs, around their mean: how far apart luck alone carries them."""
    figures = []
    for title, frame in ladder.by_seed.items():
        if frame.shape[1] < 2:
            continue
        growth, kept = (1 + frame).cumprod(), _moved(frame)
        low, high = (number(float(end), 2) for end in (growth.iloc[-1].min(), growth.iloc[-1].max()))
        label = f"{frame.shape[1]} seeds end between {low} and {high}."
        around = (1 + ladder.returns[[name for name in (title, EQUAL) if name in ladder.returns]]).cumprod()
        lines = [
            Line(name, around[column].to_numpy()[kept], style)
            for column, name, style in zip(
                around, ("mean of the seeds", EQUAL), ("strategy", "benchmark"), strict=False
            )
        ]
        lines += [Line(seed, growth[seed].to_numpy()[kept], "seed", named=False) for seed in map(str, growth)]
        figures.append(Figure(title, line_chart(label, pd.DatetimeIndex(frame.index)[kept], lines, "money"), label))
    return figures


def _moved(returns: pd.DataFrame) -> NDArray[np.int64]:
    """Every fifth row in which anything moved, and the last."""
    rows = np.flatnonzero((returns != 0).any(axis=1))
    return np.append(rows[:-1:5], len(returns) - 1)
