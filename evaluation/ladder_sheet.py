"""The ladder as one self-contained HTML page, and its differences from equal weights as a small picture."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.charts import HEIGHT, WIDTH, Line, line_chart, number, percent
from evaluation.ladder import EQUAL, SPY, Ladder, Row
from evaluation.significance import Spread
from evaluation.tearsheet import TEMPLATES, Figure

_NONE = "\N{EN DASH}"

COLUMNS = (
    ("CAGR", "annual_return", 1),
    ("Volatility", "deviation", 1),
    ("Sharpe", "sharpe", None),
    ("Drawdown", "drawdown", 1),
    ("Beta", "beta", None),
    ("Alpha", "alpha", 1),
    ("Turnover", "turnover", 0),
    ("Fees, $M", "fees", None),
    ("Names", "names", None),
    ("Before holdout", "before_holdout", None),
    ("Holdout", "holdout", None),
)
"""Heading, figure, and the places of a percentage; None for a number."""


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
        columns=[heading for heading, _, _ in COLUMNS],
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
    return [_cell(row.figures.get(name), name, places) for _, name, places in COLUMNS]


def _cell(spread: Spread | None, name: str, places: int | None) -> tuple[str, str]:
    if spread is None:
        return _NONE, ""

    def text(value: float) -> str:
        if places is not None:
            return percent(value, places)
        if name == "fees":
            return number(value / 1e6, 1)
        return number(value, 1 if name == "names" else 2)

    span = f"{text(spread.low)} to {text(spread.high)}" if spread.seeds > 1 else ""
    return text(spread.median), span


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
    return -100 * low / (high - low)


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
        Line(title, growth[title].to_numpy()[kept], "behind", named=False) for title in growth if title not in shown
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
    """Growth of each seed of the seeded rungs: how far apart luck alone carries them."""
    figures = []
    for title, frame in ladder.by_seed.items():
        if frame.shape[1] < 2:
            continue
        growth, kept = (1 + frame).cumprod(), _moved(frame)
        ends = growth.iloc[-1]
        label = f"{frame.shape[1]} seeds end between {number(float(ends.min()), 2)} and {number(float(ends.max()), 2)}."
        lines = [Line(str(seed), growth[seed].to_numpy()[kept], "seed", named=False) for seed in growth]
        figures.append(Figure(title, line_chart(label, pd.DatetimeIndex(frame.index)[kept], lines, "money"), label))
    return figures


def _moved(returns: pd.DataFrame) -> NDArray[np.int64]:
    """Every fifth row in which anything moved, and the last."""
    rows = np.flatnonzero((returns != 0).any(axis=1))
    return np.append(rows[:-1:5], len(returns) - 1)
