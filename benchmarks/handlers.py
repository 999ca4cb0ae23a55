"""Time what LEAN limits in this strategy, importing main.py, `initialize` and a month's handlers, and weigh its state.

    python -m benchmarks.handlers FOLDER [--parameter KEY VALUE ...]

FOLDER is a LEAN data folder. Runs on the embedded host; what LEAN adds in a handler is its own history request and
pythonnet, so take these times as the strategy's part. Wall time, as LEAN counts it, and the processor's beside it.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {
    "import of main.py": "90 s (algorithm-creation-timeout)",
    "initialize": "300 s (initialization-timeout)",
    "_select": "10 min a loop",
    "_month_start": "60 s, then the bucket; 10 min a loop",
    "_month_end": "60 s, then the bucket; 10 min a loop",
}

Times = dict[str, list[tuple[float, float]]]
"""What was timed -> wall and processor seconds of every call."""


def timed(times: Times, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def run(*arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return call(*arguments)
        finally:
            times.setdefault(name, []).append((time.perf_counter() - wall, time.process_time() - cpu))

    return run


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--parameter", "overrides", type=(str, str), multiple=True, metavar="KEY VALUE")
def main(folder: Path, overrides: tuple[tuple[str, str], ...]) -> None:
    from minilean.data import DataFolder
    from minilean.engine import Engine
    from minilean.objectstore import ObjectStore
    from minilean.project import Project

    times: Times = {}
    project = Project(ROOT, dict(overrides))
    algorithm = timed(times, "import of main.py", project.load)()
    for name in ("initialize", "_select", "_month_start", "_month_end"):
        setattr(algorithm, name, timed(times, name, getattr(algorithm, name)))
    with tempfile.TemporaryDirectory() as store:
        engine = Engine(algorithm, DataFolder(folder), ObjectStore(Path(store)), project.parameters)
        failure = engine.run()
        saved = sum(path.stat().st_size for path in Path(store).rglob("*") if path.is_file())
    if failure:
        raise SystemExit(f"Error: {failure.message}")

    columns = ("", "calls", "first", "median of the others", "longest", "LEAN's limit")
    table = Table(*columns, title="Seconds: wall (processor)")
    for name, limit in LIMITS.items():
        calls = times[name]
        others = sorted(calls[1:]) or calls
        shown = (calls[0], others[len(others) // 2], max(calls))
        table.add_row(name, str(len(calls)), *(f"{wall:.3f} ({cpu:.3f})" for wall, cpu in shown), limit)
    console = Console(width=140)
    console.print(table)
    console.print(f"{saved / 1e6:.1f} MB in the Object Store at the end, of 50 MB that are free in the cloud")


if __name__ == "__main__":
    main()
