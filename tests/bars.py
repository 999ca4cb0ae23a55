"""Reading and rewriting the daily bars of a data folder."""

import zipfile
from collections.abc import Callable
from pathlib import Path


def read_bars(folder: Path) -> dict[str, list[tuple]]:
    """Ticker -> rows of (yyyymmdd, open, high, low, close, volume)."""
    found = {}
    for path in sorted((folder / "equity" / "usa" / "daily").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            lines = archive.read(archive.namelist()[0]).decode().splitlines()
        found[path.stem] = [(line[:8], *map(int, line.split(",")[1:])) for line in lines]
    return found


def rewrite_bars(folder: Path, change: Callable[[str, str, list[int]], list[int]]) -> None:
    """Put change(ticker, yyyymmdd, [open, high, low, close, volume]) in place of every daily row."""
    for ticker, rows in read_bars(folder).items():
        lines = [",".join([f"{day} 00:00", *map(str, change(ticker, day, list(bar)))]) for day, *bar in rows]
        with zipfile.ZipFile(folder / "equity" / "usa" / "daily" / f"{ticker}.zip", "w") as archive:
            archive.writestr(f"{ticker}.csv", "\n".join(lines) + "\n")
