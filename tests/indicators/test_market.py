"""What VIF keeps on real data: the tables of docs/indicators.md, made anew."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from indicators import CATALOGUE, Bars, Panel, Selection, compute, required_bars, scale, select
from indicators.catalogue import FIELDS
from indicators.selection import variance_inflation

WINDOW = 21
EQUITIES = Path(__file__).parents[2].parent / "shared" / "marketdata" / "lean" / "equity" / "usa"
PAPER_GROUPS = ("Cycle Indicators", "Momentum Indicators", "Volatility Indicators", "Volume Indicators")
PAPERS_41 = tuple(name for name, row in CATALOGUE.items() if row.group in PAPER_GROUPS)

pytestmark = pytest.mark.skipif(not EQUITIES.is_dir(), reason=f"no real market data at {EQUITIES}")


def members(day: str, n_stocks: int = 100) -> list[str]:
    """Tickers of the largest constituents of SPY."""
    with (EQUITIES / "universes" / "etf" / "spy" / f"{day}.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.reader(file), key=lambda row: (-float(row[3]), row[1]))
    return [row[0].lower() for row in rows[:n_stocks]]


def adjusted(ticker: str, last: str) -> pd.DataFrame:
    """The last `required_bars` up to a day, adjusted as LEAN adjusts them."""
    with zipfile.ZipFile(EQUITIES / "daily" / f"{ticker}.zip") as archive:
        text = archive.read(archive.namelist()[0]).decode()
    rows = [line for line in text.splitlines() if line[:8] <= last][-required_bars(WINDOW) :]
    frame = pd.read_csv(io.StringIO("\n".join(rows)), names=["time", *FIELDS])
    day = frame.pop("time").str[:8]
    factors = np.loadtxt(EQUITIES / "factor_files" / f"{ticker}.csv", delimiter=",", ndmin=2)
    factor = factors[np.searchsorted(factors[:, 0], day.astype(float))][:, 1:3].prod(axis=1)
    prices = frame[list(FIELDS[:4])].mul(1e-4 * factor, axis=0)
    volume = (frame["volume"] / factor).round()
    return prices.assign(volume=volume).set_index(pd.to_datetime(day) + pd.Timedelta(hours=16))


def bars_up_to(day: str) -> Bars:
    tickers = members(day)
    frame = pd.concat({ticker: adjusted(ticker, day) for ticker in tickers}, names=["symbol", "time"])
    return Bars.from_history(frame, tickers)


def in_dollars(bars: Bars) -> np.ndarray:
    """Indicators of prices and volumes as they are, without the units of a panel."""
    stocks = np.stack([getattr(bars, field) for field in FIELDS], axis=1)
    return np.array([[row.evaluate(stock)[-WINDOW:] for row in CATALOGUE.values()] for stock in stocks]).swapaxes(1, 2)


def choose(values: np.ndarray, day: str) -> Selection:
    return select(values, tuple(CATALOGUE), n_indicators=41, max_vif=0, instant=day)


def collinearity(panel: Panel, selection: Selection) -> float:
    """Largest factor among the ranks of the indicators kept: what the model sees by default."""
    columns = [panel.names.index(name) for name in selection.names]
    ranks = scale(panel.values, panel.usable, "rank")[panel.usable][:, :, columns].reshape(-1, len(columns))
    return float(variance_inflation(ranks - ranks.mean(axis=0, dtype=float)).max())


def comparison() -> str:
    lines = [
        "| last session | fitted on | stocks | kept of the paper's 41 | lost | kept besides | largest VIF of ranks |",
        "|---|---|---:|---:|---|---|---:|",
    ]
    for day in ("20090529", "20141231", "20191129"):
        bars = bars_up_to(day)
        panel = compute(bars, WINDOW)
        fits = {"values": panel.values, "dollars": in_dollars(bars)[panel.usable]}
        for method in ("rank", "robust", "paper"):
            fits[method] = scale(panel.values, panel.usable, method)[panel.usable].astype(float)
        for fit, values in fits.items():
            kept = choose(values, day).names
            lost = [name for name in PAPERS_41 if name not in kept]
            besides = [name for name in kept if name not in PAPERS_41]
            cells = (
                f"{day[:4]}-{day[4:6]}-{day[6:]}",
                fit,
                str(panel.usable.sum()),
                str(41 - len(lost)),
                " ".join(lost),
                " ".join(besides),
            )
            lines.append("| " + " | ".join(cells) + f" | {collinearity(panel, choose(values, day)):.0f} |")
    return "\n".join(lines)


def elimination() -> str:
    selection = choose(compute(bars_up_to("20090529"), WINDOW).values, "2009-05-29")
    lines = ["| order | dropped | its VIF then |", "|---:|---|---:|"]
    lines += [f"| {order} | {name} | {factor:.3g} |" for order, (name, factor) in enumerate(selection.dropped, start=1)]
    return "\n".join(lines)


@pytest.mark.parametrize("report", [comparison, elimination])
def test_the_documented_choice_is_what_the_real_data_gives(report: Callable[[], str]) -> None:
    document = (Path(__file__).parents[2] / "docs" / "indicators.md").read_text(encoding="utf-8")
    text = report()
    assert text in document, f"docs/indicators.md is behind: replace its table by\n{text}"


def test_every_large_stock_can_be_used_at_the_first_decision() -> None:
    panel = compute(bars_up_to("20090529"), WINDOW)
    assert panel.usable.all(), panel.reasons
