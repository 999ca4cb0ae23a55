"""research.ipynb, executed from top to bottom: on files, on a stand-in for LEAN's QuantBook, and on nothing at all."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from evaluation.ladder import EQUAL, SPY, Ladder, Row
from evaluation.significance import Comparison, Difference, over_seeds
from minilean.objectstore import ObjectStore
from minilean.project import Project
from minilean.workspace import MAX_BYTES, write_workspace
from model.checkpoint import unpack
from tests.conftest import ROOT, SMALL

NOTEBOOK = ROOT / "research.ipynb"
IN_THE_CLOUD = ("main.py", "settings.py", "indicators", "model", "research.ipynb")
PARAMETERS = SMALL | {"start": "2011-01-03", "end": "2011-04-29"}
STEPS = 4
FIGURE = "application/vnd.plotly.v1+json"

# Names that LEAN's research environment brings. What the cloud has not got cannot be imported afterwards.
QUANTBOOK = """
import sys
from datetime import date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from minilean.data import DataFolder
from minilean.enums import DataNormalizationMode, Resolution
from minilean.history import History
from minilean.objectstore import ObjectStore
from minilean.views.universes import ETFConstituentUniverse


class QuantBook:
    def __init__(self):
        self._data = DataFolder(Path(DATA_FOLDER))
        self.object_store = ObjectStore(Path("../storage"))
        self.universe = SimpleNamespace(etf=lambda symbol: symbol)

    def add_equity(self, ticker, resolution):
        return SimpleNamespace(symbol=self._data.resolve(ticker, date(2011, 12, 30)))

    def universe_history(self, universe, start, end):
        files = sorted(self._data.constituent_files(universe.id).items())
        lists = {datetime.combine(day, time()) + timedelta(days=1): path for day, path in files}
        known = {moment: path for moment, path in lists.items() if start <= moment <= end}
        rows = [
            [ETFConstituentUniverse(row, moment) for row in self._data.constituents(path)]
            for moment, path in known.items()
        ]
        return pd.Series(rows, index=pd.MultiIndex.from_product([[universe], list(known)], names=["symbol", "time"]))

    def history(self, tickers, start, end, resolution, fill_forward):
        asked = History(self._data, lambda: datetime(2011, 12, 31))
        mode = DataNormalizationMode.ADJUSTED
        return asked.frame([(symbol, mode) for symbol in tickers], asked.between(start, end), fill_forward)


for name in ["minilean", "evaluation", *sys.modules]:
    if name.split(".")[0] in ("minilean", "evaluation"):
        sys.modules[name] = None
"""

FINDINGS = """
print(json.dumps({
    "source": source,
    "month": str(first),
    "tickers": tickers,
    "before": before.tolist(),
    "after": after.tolist(),
    "returns": np.nan_to_num(returns).tolist(),
    "loss": report.loss,
    "gradient norm": report.gradient_norm,
    "steps": len(records),
    "losses": records["loss"].tolist(),
    "disguise": float(disguise),
    "formula error": float(formula_error),
    "slope error": float(slope_error),
    "seeds": seeds,
    "planted": {str(signal): [some.mean(), some.std(ddof=1) / len(some) ** 0.5] for signal, some in found.items()},
}))
"""


@dataclass
class Executed:
    """An executed notebook: what it found out, what it printed, and its figures."""

    findings: dict[str, Any]
    printed: str
    figures: list[Any]


def execute(folder: Path, before: str = "") -> Executed:
    """Execute the notebook in a folder, in a kernel of this interpreter; `before`: a cell in front of it."""
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, 4)
    if before:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(before))
    notebook.cells.append(nbformat.v4.new_code_cell(FINDINGS))
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment())
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = [output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"]
    figures = [output.data[FIGURE] for output in outputs if FIGURE in output.get("data", {})]
    return Executed(json.loads(printed[-1]), "".join(printed[:-1]), figures)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def workspace(parent: Path, data_folder: str) -> Path:
    """The project as the cloud gets it, below a lean.json that names the data folder."""
    folder = parent / "OnlinePortfolio"
    write_workspace(Project(ROOT, {}), folder, IN_THE_CLOUD)
    (parent / "lean.json").write_text(json.dumps({"data-folder": data_folder}))
    return folder


def invented_ladder() -> Ladder:
    """A ladder of three rungs, as `python -m evaluation ladder` would write it."""
    gap = Difference(0.1, -0.2, 0.4, 0.5)
    comparison = Comparison("random encoder with LoRA", EQUAL, gap, gap, 3.0, 5)
    rows = (
        Row(SPY, "Benchmark", {"sharpe": over_seeds([0.7])}),
        Row(EQUAL, "Rules", {"sharpe": over_seeds([0.6])}),
        Row("random encoder with LoRA", "Networks", {"sharpe": over_seeds([0.3, 0.7, 0.9])}, (), {EQUAL: comparison}),
        Row("linear softmax", "Online learners", {}, ("it ran out of memory",)),
    )
    words = (comparison.in_words(),)
    day = date(2011, 1, 3)
    return Ladder(day, day, day, 3, rows, "", words, pd.DataFrame(), {})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, demo_market: Path) -> Path:
    """A project with the results of a short backtest, its Object Store, and a ladder."""
    folder = workspace(tmp_path_factory.mktemp("notebook"), str(demo_market))
    given = [text for name, value in PARAMETERS.items() for text in ("--parameter", name, value)]
    command = [sys.executable, "-m", "minilean", "backtest", str(folder), *given]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "ladder").mkdir()
    (folder / "ladder" / "ladder.json").write_text(json.dumps(invented_ladder().as_dict()))
    return folder


@pytest.fixture(scope="module")
def learnt(project: Path) -> list[dict[str, Any]]:
    """What the run itself has kept of its steps."""
    store = ObjectStore(project.parent / "storage")
    states = [unpack(bytes(store.read_bytes(f"online-portfolio/backtest-{place}") or b"")) for place in "ab"]
    records: list[dict[str, Any]] = max(states, key=lambda state: state.step).extra["learnt"]
    assert len(records) == STEPS
    return records


@pytest.fixture(scope="module")
def on_files(project: Path) -> Executed:
    return execute(project)


@pytest.fixture(scope="module")
def in_lean(project: Path, demo_market: Path) -> Executed:
    (project / "ladder" / "ladder.json").rename(project / "ladder" / "elsewhere.json")
    try:
        return execute(project, f"DATA_FOLDER = {str(demo_market)!r}\n{QUANTBOOK}")
    finally:
        (project / "ladder" / "elsewhere.json").rename(project / "ladder" / "ladder.json")


# --- as it is stored


def test_it_is_a_valid_notebook_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert notebook.metadata.kernelspec.name == "python3"


def test_it_is_small_enough_for_the_cloud() -> None:
    assert NOTEBOOK.stat().st_size < MAX_BYTES < 64 * 1024


def test_the_cloud_takes_it_with_what_it_imports(tmp_path: Path) -> None:
    written = write_workspace(Project(ROOT, {}), tmp_path / "OnlinePortfolio", IN_THE_CLOUD)
    assert "research.ipynb" in written.sizes


def test_it_names_no_path_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"""["'( ](/\w|~/|[A-Z]:\\)""", text)
    assert str(ROOT) not in text
    assert str(Path.home()) not in text


# --- executed


@pytest.mark.slow
def test_on_files_it_makes_the_first_month_of_the_run_again_to_the_bit(
    on_files: Executed, learnt: list[dict[str, Any]]
) -> None:
    assert "backtests" in on_files.findings["source"]
    assert on_files.findings["month"] == learnt[0]["month"] == "2011-01"
    assert on_files.findings["loss"] == learnt[0]["loss"]
    assert on_files.findings["gradient norm"] == learnt[0]["gradient norm"]
    # LEAN rounds the points of a chart
    assert on_files.findings["losses"] == pytest.approx([record["loss"] for record in learnt], rel=1e-3)


@pytest.mark.slow
def test_in_lean_it_makes_the_same_month_from_the_object_store_without_the_host(
    on_files: Executed, in_lean: Executed, learnt: list[dict[str, Any]]
) -> None:
    assert in_lean.findings["source"] == "the Object Store"
    assert in_lean.findings["losses"] == [record["loss"] for record in learnt]
    for name in ("month", "tickers", "before", "after", "returns", "loss", "gradient norm"):
        assert in_lean.findings[name] == on_files.findings[name], name


@pytest.mark.slow
def test_the_month_has_a_decision_and_a_step(on_files: Executed) -> None:
    before, after, returns = (on_files.findings[name] for name in ("before", "after", "returns"))
    assert len(before) == len(on_files.findings["tickers"]) == int(PARAMETERS["n_stocks"])
    assert sum(before) == pytest.approx(1) == sum(after)
    assert before != after
    assert any(returns)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["on_files", "in_lean"])
def test_every_figure_has_a_title_and_names_its_axes_with_units(where: str, request: pytest.FixtureRequest) -> None:
    executed: Executed = request.getfixturevalue(where)
    assert len(executed.figures) == (11 if where == "on_files" else 10)
    units = re.compile(r"\(.+\)|day|month|loss|norm|stocks|portfolio|deciding")
    for figure in executed.figures:
        layout = figure["layout"]
        assert layout["title"]["text"]
        axes = {name: axis for name, axis in layout.items() if re.fullmatch(r"[xy]axis\d*", name)}
        shown = [axis for axis in axes.values() if axis.get("showticklabels", True)]
        assert len(shown) >= 2
        assert all(units.search(axis["title"]["text"]) for axis in shown), layout["title"]["text"]


@pytest.mark.slow
def test_the_sceptics_numbers_come_out_as_the_text_says(on_files: Executed) -> None:
    findings = on_files.findings
    assert findings["disguise"] == 0
    # rounding in fp64
    assert findings["formula error"] < 1e-12
    # central differences of 1e-5 of a loss of order 0.01
    assert findings["slope error"] < 1e-6
    assert len(set(findings["seeds"])) == 5
    mean, error = findings["planted"]["0.05"]
    assert mean > 5 * error
    mean, error = findings["planted"]["0.0"]
    assert abs(mean) < 3 * error


@pytest.mark.slow
def test_a_ladder_is_shown_where_it_lies_and_named_where_it_does_not(on_files: Executed, in_lean: Executed) -> None:
    titles = [figure["layout"]["title"]["text"] for figure in on_files.figures]
    assert any(title.startswith("Sharpe ratios from 2011-01-03") for title in titles)
    assert invented_ladder().words[0] in on_files.printed
    assert "random encoder with LoRA has Sharpe ratios from 0.30 to 0.90" in on_files.printed
    assert "random encoder with LoRA less equal weights: Sharpe ratio +0.10" in on_files.printed
    assert "`python -m evaluation ladder --data-folder FOLDER` makes ladder/ladder.json" in in_lean.printed


@pytest.mark.slow
def test_with_neither_data_nor_run_it_goes_on_with_an_invented_market_and_says_so(tmp_path: Path) -> None:
    executed = execute(workspace(tmp_path, "data"))
    assert "this is an invented market, which says nothing about real stocks" in executed.printed
    assert "No run was found: `make backtest` makes one." in executed.printed
    assert executed.findings["steps"] == 0
    assert executed.findings["month"] == "2009-06"
    assert sum(executed.findings["before"]) == pytest.approx(1)
