"""The command line: `python -m minilean backtest`, with the habits of `lean backtest`, `data` and `workspace`."""

import gc
import shlex
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from minilean.errors import AlgorithmError, HostError

if TYPE_CHECKING:
    from minilean.engine import Moment

# What takes a moment to import is imported where it is used: --help and bad arguments should not wait for it.

_FOLDER = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """An embedded host for LEAN algorithms: no Docker, no .NET, no account, LEAN's own orders and statistics."""


@main.command()
@click.argument("project", type=_FOLDER)
@click.option("--data-folder", type=_FOLDER, help="LEAN data folder; default: the one of the nearest lean.json above.")
@click.option("--output", type=_FOLDER, help="Folder for the results; default: PROJECT/backtests/<time>.")
@click.option("--object-store", type=_FOLDER, help="Folder of the Object Store; default: storage beside lean.json.")
@click.option(
    "--parameter",
    "overrides",
    type=(str, str),
    multiple=True,
    metavar="KEY VALUE",
    help="A parameter in place of config.json's; may be given many times.",
)
def backtest(
    project: Path,
    data_folder: Path | None,
    output: Path | None,
    object_store: Path | None,
    overrides: tuple[tuple[str, str], ...],
) -> None:
    """Run PROJECT, a folder with a main.py, or the file itself.

    Prints LEAN's statistics and leaves LEAN's result files. Exit status 0 only for a run that completed.
    """
    try:
        completed = _backtest(project, data_folder, output, object_store, dict(overrides))
    except HostError as error:
        raise SystemExit(f"Error: {error}") from None
    except AlgorithmError as error:
        raise SystemExit(f"Error: main.py cannot be imported: {error.text}") from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped by the keyboard before the run began: nothing was written.") from None
    finally:
        gc.enable()
    sys.exit(0 if completed else 1)


def _backtest(
    path: Path, data_folder: Path | None, output: Path | None, store: Path | None, overrides: dict[str, str]
) -> bool:
    gc.disable()  # what is imported stays
    from minilean.data import DataFolder
    from minilean.engine import Engine
    from minilean.objectstore import ObjectStore
    from minilean.orders import order_list_hash
    from minilean.project import Project

    project = Project(path, overrides)
    data = DataFolder(data_folder or project.data_folder())
    folder = output or project.folder / "backtests" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    screen = _Terminal() if sys.stdout.isatty() else _Lines()
    screen.print(f"Running {project.main} on {data.folder}; results go to {folder}")
    algorithm = project.load()
    gc.freeze()
    gc.enable()
    engine = Engine(
        algorithm,
        data,
        ObjectStore(store or project.storage_folder()),
        project.parameters,
        on_log=lambda when, message: screen.print(f"{when:%Y-%m-%d %H:%M:%S} {message}"),
        on_start=lambda: screen.print(
            f"{engine.start} to {engine.end}, starting with ${engine.portfolio.cash:,.0f}"
        ),
        on_progress=screen.progress,
    )
    with screen.running():
        failure = engine.run()
    recorder = engine.results()
    recorder.write(
        folder,
        engine.name,
        engine.brokerage.orders,
        status="RuntimeError" if failure else "Completed",
        runtime_error=failure.message if failure else "",
        stack_trace=failure.stack_trace if failure else "",
    )
    for name, value in recorder.statistics().items():
        screen.print(f"STATISTICS:: {name} {value}")
    if recorder.statistics_error:
        screen.print(f"There are no statistics, as in LEAN: {recorder.statistics_error}.")
    screen.print(f"STATISTICS:: OrderListHash {order_list_hash(engine.brokerage.orders)}")
    screen.print(f"{screen.seconds():.1f} s; results in {folder / engine.name}.json")
    if failure:
        click.echo(f"Error: {failure.message.rstrip()}", err=True)
    return failure is None


class _Lines:
    """What a run says where nobody looks on: its log, and a line a year."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._shown: int | None = None

    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._began

    def print(self, text: str) -> None:
        click.echo(text)

    def running(self) -> AbstractContextManager[object]:
        """While the run goes on."""
        return nullcontext()

    def progress(self, moment: "Moment") -> None:
        """Called once a day."""
        year = moment.now.year
        if self._shown is not None and year != self._shown:
            left = self.seconds() / moment.fraction - self.seconds()
            self.print(f"{self._shown} done: equity ${moment.equity:,.0f}, {moment.fraction:.0%}, {left:.0f} s left")
        self._shown = year


class _Terminal(_Lines):
    """The same in a terminal: a bar below the log instead."""

    def __init__(self) -> None:
        super().__init__()
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[equity]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=Console(highlight=False, soft_wrap=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0, equity="")

    def print(self, text: str) -> None:
        self._bar.console.print(text, markup=False)

    def running(self) -> AbstractContextManager[object]:
        return self._bar

    def progress(self, moment: "Moment") -> None:
        month = moment.now.year * 12 + moment.now.month
        if month != self._shown:
            self._shown = month
            equity = f"${moment.equity:,.0f}"
            self._bar.update(
                self._task, completed=moment.fraction, description=f"{moment.now:%Y-%m}", equity=equity
            )


@main.command()
@click.argument("project", type=_FOLDER)
@click.argument("folder", type=_FOLDER)
@click.argument("sources", nargs=-1, required=True)
def workspace(project: Path, folder: Path, sources: tuple[str, ...]) -> None:
    """Write the SOURCES of PROJECT that run in LEAN into FOLDER, for `lean cloud push`.

    lean.json goes beside FOLDER. Every file is compiled, and every import must be found in the cloud.
    """
    from minilean.project import Project
    from minilean.workspace import write_workspace

    try:
        written = write_workspace(Project(project, {}), folder, sources)
    except HostError as error:
        raise SystemExit(f"Error: {error}") from None
    for name, size in written.sizes.items():
        click.echo(f"{size:7,}  {name}")
    click.echo(f"{sum(written.sizes.values()):7,}  bytes in {len(written.sizes)} files in {folder}")
    if not written.has_organization:
        click.echo(f"Before pushing, set job-organization-id in {folder.parent / 'lean.json'}.")
    click.echo(f"Push with: cd {folder.parent} && lean cloud push --project {folder.name}")


@main.group()
def data() -> None:
    """Data folders in LEAN's format: make one of tables or an invented one, look at one."""


@data.command()
@click.argument("folder", type=_FOLDER)
@click.option("--seed", default=1, show_default=True, help="Seed of all that is random in it.")
def demo(folder: Path, seed: int) -> None:
    """Write an invented market into FOLDER: 120 stocks and SPY over four years, in LEAN's format."""
    from minilean.demo import write_demo_market

    try:
        market = write_demo_market(folder, seed=seed)
    except (HostError, ValueError) as error:
        raise SystemExit(f"Error: {error}") from None
    what = "written to" if market.created else "already in"
    click.echo(
        f"An invented market of {market.n_stocks} stocks and SPY, {market.first} to {market.last}, seed {seed}, "
        f"is {what} {folder}"
    )


@data.command("import")
@click.argument("folder", type=_FOLDER)
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option("--prices", type=click.Choice(["adjusted", "raw"]), help="Whether prices contain dividends and splits.")
@click.option("--constituents", metavar="FILE|all", help="Table of date, ticker, weight (fractions); or all tickers.")
@click.option("--etf", default="SPY", show_default=True, help="The fund whose constituents they are.")
@click.option("--yfinance", is_flag=True, help="FILE... are tickers, whose adjusted bars the package yfinance fetches.")
def import_(
    folder: Path, sources: tuple[str, ...], prices: str | None, constituents: str | None, etf: str, yfinance: bool
) -> None:
    """Make a LEAN data folder, FOLDER, of tables of daily bars, CSV or Parquet.

    \b
    Long:  date, ticker, open, high, low, close, volume[, dividend, split];
           without ticker, the file is named by it: AAPL.csv.
    Wide:  one file a field, open.csv, high.csv, low.csv, close.csv, volume.csv
           [, dividend.csv, split.csv], with the column date and one a ticker.

    SPY, for the benchmark, and the fund of --etf need a bar on every session. A date is a session in New York; a moment
    with a time zone counts as its day there. With raw prices, dividend is in dollars a share held the day before and
    split in new shares for an old one (2), both on the ex-day. --constituents all makes every ticker a member, at
    equal weights: tickers that were chosen because they still exist today flatter every result.

    Passed over: the order of rows, empty rows, bars with all cells empty, a stock's missing days, other columns,
    fractions of a share. Refused: a bar with some cells empty, a price that is not above zero, high below low, a second
    bar of one day, a day without session, a day before 1998-01-02. A stock whose bars end before those of other stocks
    is delisted that day. A list of a day without session counts for the session before. Nothing is written unless
    everything can be used; only a FOLDER that was made by this command is replaced, whole but for interest rates.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from minilean.check import check_folder
    from minilean.errors import DataError
    from minilean.importing import import_market
    from minilean.tables import download, read_tables

    console = Console(highlight=False, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    progress = Progress(*columns, console=console, transient=True)
    try:
        if not constituents:
            raise DataError("name the fund's members with --constituents FILE, or take all tickers: --constituents all")
        if yfinance and prices == "raw":
            raise DataError("yfinance gives adjusted prices: leave --prices raw out")
        if not yfinance and not prices:
            raise DataError("say with --prices adjusted or --prices raw whether prices contain dividends and splits")
        with progress if console.is_terminal else nullcontext():
            task = progress.add_task("reading", total=None)
            bars = download(sources) if yfinance else read_tables([Path(source) for source in sources])
            progress.update(task, description="writing", total=1.0)
            imported = import_market(
                folder,
                bars,
                adjusted=prices != "raw",
                constituents=None if constituents == "all" else Path(constituents),
                etf=etf,
                on_progress=lambda fraction: progress.update(task, completed=fraction),
            )
        console.print(check_folder(imported.folder))
    except (HostError, OSError) as error:
        raise SystemExit(f"Error: {error}") from None
    for remark in imported.remarks:
        console.print(f"Note: {remark}", markup=False)
    more = "" if etf.upper() == "SPY" else f" --parameter etf {etf.upper()}"
    console.print(
        f"Next: python -m minilean backtest . --data-folder {shlex.quote(str(folder))} "
        f"--parameter start {imported.start} --parameter end {imported.end}{more}",
        markup=False,
    )


@data.command()
@click.argument("folder", type=_FOLDER)
def check(folder: Path) -> None:
    """Say what the data folder FOLDER holds and what is wrong with it. Exit status 1 where something is."""
    from rich.console import Console

    from minilean.check import check_folder

    try:
        report = check_folder(folder)
    except HostError as error:
        raise SystemExit(f"Error: {error}") from None
    Console(highlight=False).print(report)
    sys.exit(1 if report.problems else 0)
