"""`python -m evaluation`: the tear sheet of a run, the ladder, and sweeps over settings."""

import json
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What a run earned, and what that is evidence of."""


@main.command()
@click.argument("result", type=_FILE)
@click.option("--output", type=_FILE, help="The page; default: beside RESULT, with the ending .html.")
@click.option("--picture", type=_FILE, help="Also write equity and drawdown as a small SVG.")
def report(result: Path, output: Path | None, picture: Path | None) -> None:
    """Write the tear sheet of RESULT, the <id>.json of a LEAN backtest, as one HTML file that works offline."""
    # pandas and scipy take a moment to import; --help and bad arguments should not wait for them.
    from evaluation import tearsheet
    from evaluation.result import ResultError, read_result

    page = output or result.with_suffix(".html")
    try:
        run = read_result(result)
        pages = {page: tearsheet.tear_sheet(run)}
        if picture:
            pages[picture] = tearsheet.picture(run)
    except (ResultError, tearsheet.NothingToDraw) as error:
        raise SystemExit(f"Error: {error}") from None
    _write(pages)


def _places(command: Callable[..., None]) -> Callable[..., None]:
    """The options of commands that make many runs."""
    options = (
        click.option("--data-folder", type=_FOLDER, required=True, help="LEAN data folder."),
        click.option(
            "--output", type=_FOLDER, default=Path("ladder"), show_default=True, help="Folder for the results."
        ),
        click.option("--seeds", default=10, show_default=True, type=click.IntRange(1), help="Seeds of what is random."),
        click.option(
            "--workers", default=os.cpu_count() or 1, type=click.IntRange(1), help="Processes; default: cores."
        ),
        click.option("--address", help="Address of a Ray cluster whose machines hold the data folder too."),
        click.option(
            "--gpus", default=0.0, type=click.FloatRange(0), help="Share of a GPU for each run, such as 0.33."
        ),
        click.option(
            "--parameter",
            "common",
            type=(str, str),
            multiple=True,
            metavar="KEY VALUE",
            help="A parameter of all runs.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@_places
@click.option(
    "--backbone", help="Also run the language model itself: weights at hand, such as amazon/chronos-t5-small."
)
@click.option("--picture", type=_FILE, help="Also write the differences from equal weights as a small SVG.")
def ladder(
    data_folder: Path,
    output: Path,
    seeds: int,
    common: tuple[tuple[str, str], ...],
    backbone: str | None,
    picture: Path | None,
    **places: Any,
) -> None:
    """Run every rung of the ladder on one data folder, and judge them together.

    Leaves ladder.json and ladder.html in the output folder. Runs are kept there too, by the digest of code, data and
    parameters: a ladder that was interrupted goes on where it stopped.
    """
    from evaluation import ladder as rungs
    from evaluation.ladder_sheet import ladder_picture, ladder_sheet
    from evaluation.runs import RunFailed, Runs

    chosen = [*rungs.RUNGS, *([rungs.chronos(backbone)] if backbone else [])]
    parameters = dict(common)
    total = sum(len(rungs.jobs_of(rung, seeds, parameters)) for rung in chosen)
    try:
        runs = Runs(output / "runs", data_folder)
        with _Progress(
            f"{len(chosen)} rungs, {total} runs on {data_folder}", total, output, places["workers"]
        ) as progress:
            found = rungs.climb(runs, chosen, seeds, parameters, progress.done, **places)
    except RunFailed as error:
        raise SystemExit(f"Error: {error}") from None
    _print_table(found.rows)
    for sentence in found.words:
        click.echo(sentence)
    pages = {
        output / "ladder.json": json.dumps(found.as_dict(), indent=2),
        output / "ladder.html": ladder_sheet(found),
    }
    _write(pages | ({picture: ladder_picture(found)} if picture else {}))


@main.command()
@_places
@click.option(
    "--over", type=(str, str), multiple=True, required=True, metavar="KEY V1,V2,...", help="A parameter and its values."
)
def sweep(
    data_folder: Path,
    output: Path,
    seeds: int,
    common: tuple[tuple[str, str], ...],
    over: tuple[tuple[str, str], ...],
    **places: Any,
) -> None:
    """Run every combination of settings with every seed; medians and ranges over seeds, in sweep.json too.

    Every run enters the ledger of trials, by which the ladder's Sharpe ratios are deflated.
    """
    from evaluation import ladder as rungs
    from evaluation.runs import RunFailed, Runs

    combinations = product(*([(key, value) for value in values.split(",")] for key, values in over))
    chosen = [
        rungs.Rung(", ".join(f"{k} {v}" for k, v in some), "Sweep", dict(some), seeded=True) for some in combinations
    ]
    try:
        runs = Runs(output / "runs", data_folder)
        total = seeds * len(chosen)
        with _Progress(f"{total} runs on {data_folder}", total, output, places["workers"]) as progress:
            found = rungs.climb(runs, chosen, seeds, dict(common), progress.done, **places)
    except RunFailed as error:
        raise SystemExit(f"Error: {error}") from None
    _print_table(found.rows)
    _write({output / "sweep.json": json.dumps(found.as_dict(), indent=2)})


class _Progress:
    """Runs done, and the time left, on a terminal as a bar and in a log as lines."""

    def __init__(self, what: str, total: int, output: Path, workers: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(highlight=False, soft_wrap=True)
        self._console.print(f"{what}, {workers} at a time; results go to {output}", markup=False)
        columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._total, self._count = total, 0

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def done(self, job: Any, outcome: Any) -> None:
        self._count += 1
        self._bar.update(self._task, advance=1, description=job.name)
        if isinstance(outcome, Exception):
            self._console.print(f"{job.name} failed: {outcome}", markup=False)
        elif not self._console.is_terminal and self._count % 10 == 0:
            self._console.print(f"{self._count} of {self._total} runs done", markup=False)


def _print_table(rows: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from evaluation.ladder_sheet import COLUMNS, cells

    table = Table(box=None, pad_edge=False)
    table.add_column("rung")
    for heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right")
    for row in rows:
        if row.failures:
            table.add_row(row.title, f"{len(row.failures)} runs failed")
            continue
        table.add_row(row.title, *(median + (f"\n[dim]{span}[/dim]" if span else "") for median, span in cells(row)))
    width = None if Console().is_terminal else 240
    Console(width=width).print(table)


def _write(pages: dict[Path, str]) -> None:
    for path, text in pages.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SystemExit(f"Error: {path} cannot be written: {error.strerror}") from None
        click.echo(f"{path} ({len(text.encode()) / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
