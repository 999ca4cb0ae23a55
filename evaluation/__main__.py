"""`python -m evaluation`: the tear sheet of a run, the ladder, and sweeps over settings."""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # pandas and scipy take a moment to import; --help and bad arguments should not wait for them
    from evaluation.ladder import Ladder, Row, Rung
    from evaluation.result import Result
    from evaluation.runs import Job, RunFailed

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
            "--workers",
            default=os.cpu_count() or 1,
            type=click.IntRange(1),
            help="Runs at a time, each in a process of one thread; default: one a core.",
        ),
        click.option("--address", help="Address of a Ray cluster to run on; its machines hold the data folder too."),
        click.option(
            "--gpus", default=0.0, type=click.FloatRange(0), help="Share of a GPU for each run, such as 0.33."
        ),
        click.option(
            "--parameter",
            "common",
            type=(str, str),
            multiple=True,
            metavar="KEY VALUE",
            help="A parameter of all runs in place of config.json's; may be given many times.",
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
    """Run every rung and judge them together.

    Rungs go from equal weights over online learners and networks to variants of them, and with --backbone to the
    language model, all behind the same main.py. Leaves ladder.json and ladder.html in the output folder. Runs are kept
    there too, by the digest of code, data and settings: a ladder that was interrupted goes on where it stopped.
    """
    _one_thread()
    from evaluation.ladder import RUNGS, chronos
    from evaluation.ladder_sheet import ladder_picture, ladder_sheet

    _refuse(common, {"allocator": "each rung has its own", "backbone": "use --backbone", "seed": "use --seeds"})
    found = _climb([*RUNGS, *([chronos(backbone)] if backbone else [])], data_folder, output, seeds, common, places)
    pages = {output / "ladder.json": _json(found), output / "ladder.html": ladder_sheet(found)}
    _write(pages | ({picture: ladder_picture(found)} if picture else {}))


@main.command()
@_places
@click.option(
    "--over",
    type=(str, str),
    multiple=True,
    required=True,
    metavar="KEY V1,V2,...",
    help="A parameter and its values; may be given many times.",
)
def sweep(
    data_folder: Path,
    output: Path,
    seeds: int,
    common: tuple[tuple[str, str], ...],
    over: tuple[tuple[str, str], ...],
    **places: Any,
) -> None:
    """Run settings with seeds and judge them together.

    Every combination of the values runs with every seed. Leaves sweep.json in the output folder, and the runs. Every
    run enters the ledger of trials, by which the Sharpe ratio of whatever is chosen is deflated.
    """
    _one_thread()
    from evaluation.ladder import Rung

    _refuse((*common, *over), {"seed": "use --seeds"})
    axes = {key: [value.strip() for value in values.split(",")] for key, values in over}
    for key, values in axes.items():
        if "" in values or len(set(values)) < len(values) or len(axes) < len(over):
            raise SystemExit(f"Error: --over {key} {','.join(values)}: name each parameter once, and each value once")
    rungs = [
        Rung(", ".join(f"{key} {value}" for key, value in zip(axes, values, strict=True)), "Sweep", parameters, True)
        for values in product(*axes.values())
        if (parameters := dict(zip(axes, values, strict=True)))
    ]
    found = _climb(rungs, data_folder, output, seeds, common, places)
    _write({output / "sweep.json": _json(found)})


def _one_thread() -> None:
    """Have numpy and torch, not imported yet, use one thread, as Ray's workers do, unless the caller says otherwise:
    with more of them sums have another order, and a machine full of runs gains nothing."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _refuse(parameters: Iterable[tuple[str, str]], reasons: Mapping[str, str]) -> None:
    for key, _ in parameters:
        if key in reasons:
            raise SystemExit(f"Error: {key} cannot be set here: {reasons[key]}")


def _climb(
    rungs: "Sequence[Rung]",
    data_folder: Path,
    output: Path,
    seeds: int,
    common: tuple[tuple[str, str], ...],
    places: Mapping[str, Any],
) -> "Ladder":
    """Make the runs and tell of them."""
    from evaluation.ladder import climb, jobs_of
    from evaluation.runs import RunFailed, Runs

    parameters = dict(common)
    jobs = [job for rung in rungs for job in jobs_of(rung, seeds, parameters)]
    try:
        runs = Runs(output / "runs", data_folder)
        missing = runs.missing(jobs)
        at_a_time = f"{places['workers']} at a time" if places["address"] is None else f"on Ray at {places['address']}"
        what = f"{len(rungs)} rungs, {len(jobs)} runs on {data_folder}, {missing} of them to be made, {at_a_time}"
        with _Progress(f"{what}; results go to {output}", len(jobs), missing) as progress:
            found = climb(runs, rungs, seeds, parameters, progress.done, **places)
    except RunFailed as error:
        raise SystemExit(f"Error: {error}") from None
    except OSError as error:
        raise SystemExit(f"Error: {error.filename or output}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped by the keyboard: finished runs are kept, and the same command goes on.") from None
    _print_table(found.rows)
    for sentence in found.words:
        click.echo(sentence)
    return found


class _Progress:
    """Runs done and the time left: a bar on a terminal, a line now and then in a log."""

    _SECONDS = 30  # between two lines

    def __init__(self, what: str, total: int, missing: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._console = Console(highlight=False, soft_wrap=True)
        self._console.print(what, markup=False)
        columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._total, self._at_hand, self._count = total, total - missing, 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def done(self, job: "Job", outcome: "Result | RunFailed") -> None:
        self._count += 1
        now = time.monotonic()
        made = self._count - self._at_hand
        left = ""
        if made > 0:
            seconds = round((now - self._began) / made * (self._total - self._count))
            left = f", about {timedelta(seconds=seconds)} left"
        self._bar.update(self._task, advance=1, description=f"{job.name}{left}")
        if isinstance(outcome, Exception):
            self._console.print(f"{job.name} failed: {outcome}", markup=False)
        if not self._console.is_terminal and now - self._told >= self._SECONDS:
            self._told = now
            self._console.print(f"{self._count} of {self._total} runs done{left}", markup=False)


def _print_table(rows: "Sequence[Row]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evaluation.ladder_sheet import COLUMNS, cells

    table = Table(box=None, pad_edge=False)
    table.add_column("Rung", no_wrap=True)
    for heading, *_ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = [Text(median) + Text(f"\n{span}" if span else "", "dim") for median, span in cells(row)]
        table.add_row(Text(row.title), *([Text("failed", "red")] if row.failures else figures))
    width = None if Console().is_terminal else 240
    Console(width=width).print(table)


def _json(found: "Ladder") -> str:
    return json.dumps(found.as_dict(), indent=2, allow_nan=False)


def _write(pages: dict[Path, str]) -> None:
    for path, text in pages.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SystemExit(f"Error: {path} cannot be written: {error.strerror}") from None
        click.echo(f"{path} ({len(text.encode()) / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
