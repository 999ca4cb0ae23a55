"""`make cloud` and `lean cloud push`: which files leave this machine."""

import ast
import json
import shutil
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from minilean.cli import main
from minilean.workspace import MAX_BYTES, MAX_FILES
from tests.conftest import ROOT
from tests.lean.conftest import run_python

NOTEBOOK = [path.name for path in [ROOT / "research.ipynb"] if path.is_file()]
SOURCES = ("main.py", "settings.py", "indicators", "model", *NOTEBOOK)


@pytest.fixture
def write(project):
    """Write cloud/OnlinePortfolio from the project, as `make cloud` does."""

    def run(*sources):
        arguments = ["workspace", str(project), str(project / "cloud" / "OnlinePortfolio"), *(sources or SOURCES)]
        return CliRunner().invoke(main, arguments)

    return run


@pytest.fixture
def push(lean_package, project, tmp_path):
    """Run `lean cloud push` in the workspace; what the CLI says, and what it asks of the API."""

    def run(cwd=None, name="OnlinePortfolio"):
        done = run_python(
            lean_package,
            tmp_path / "home",
            *(str(ROOT / "tests" / "lean" / "cloud_api.py"), "cloud", "push", "--project", name),
            cwd=cwd or project / "cloud",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said, _, requests = done.stdout.partition("REQUESTS ")
        return said, json.loads(requests)

    return run


def in_lean(root):
    """The files that run in LEAN: what the cloud should get, found by looking."""
    packages = [
        path.relative_to(root).as_posix()
        for name in ("indicators", "model")
        for path in (root / name).rglob("*.py")
        if path.name != "__main__.py"
    ]
    return {"main.py", "settings.py", *packages, *NOTEBOOK}


# --- what is pushed


def test_the_cloud_gets_what_runs_in_lean_and_nothing_else(write, push, project):
    assert write().exit_code == 0
    _, requests = push()
    (update,) = [request for request in requests if "update" in request]
    files = {file["name"]: file["content"] for file in update["files"]}
    assert set(files) == in_lean(project)
    assert len(files) <= MAX_FILES
    assert all(len(content.encode()) < MAX_BYTES for content in files.values())
    assert files["main.py"] == (project / "main.py").read_text(encoding="utf-8")


def test_parameters_description_and_libraries_go_with_the_files(write, push, project):
    write()
    _, (create, update) = push()
    config = json.loads((project / "config.json").read_text(encoding="utf-8"))
    assert create == {"create": "OnlinePortfolio", "language": "Py", "organization": ""}
    assert update["parameters"] == config["parameters"]
    assert update["description"] == config["description"]
    assert update["libraries"] == []
    assert update["name"] == "OnlinePortfolio"


def test_the_id_of_the_cloud_project_outlives_the_next_workspace(write, push, project):
    write()
    push()
    assert write().exit_code == 0
    _, requests = push()
    assert [next(iter(request)) for request in requests] == ["get", "update"]
    assert requests[-1]["update"] == 7


def test_the_project_itself_would_be_pushed_without_a_name_and_with_its_tests(push, project):
    """The reason for the workspace."""
    _, (create, update) = push(cwd=project, name=".")
    assert create["create"] == "."
    assert len(update["files"]) > MAX_FILES
    assert "tests/lean/test_cloud.py" in {file["name"] for file in update["files"]}


def test_make_cloud_names_these_sources():
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("CLOUD :=")]
    named, _, notebook = line.split(":=")[1].partition("$")
    assert [*named.split(), *NOTEBOOK] == list(SOURCES)
    assert notebook == "(wildcard research.ipynb)"


# --- what is refused


@pytest.mark.parametrize(
    ("file", "line", "what"),
    [
        ("main.py", "import minilean.engine", "minilean.engine, which is not among the files for the cloud"),
        ("model/policy.py", "from evaluation import ledger", "evaluation.ledger, which is not among the files"),
        ("indicators/panel.py", "from tests.bars import read_bars", "tests.bars, which is not among the files"),
        ("model/learner.py", "from model.nothing import x", "model.nothing, which does not exist"),
        ("model/learner.py", "import indicators.__main__", "indicators.__main__, which is not among the files"),
        ("indicators/panel.py", "from . import __main__", "indicators.__main__, which is not among the files"),
        ("settings.py", "import no_such_package", "no_such_package, which is neither in the project nor installed"),
    ],
)
def test_a_stray_import_is_refused_by_name(write, project, file, line, what):
    path = project / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n\ndef late():\n    {line}\n")
    done = write()
    assert done.exit_code == 1
    assert str(done.exception).startswith(f"Error: {file}, line ")
    assert what in str(done.exception)
    assert not (project / "cloud").exists()


def test_what_is_not_python_3_11_is_refused(write, project):
    (project / "model" / "newer.py").write_text("type Weights = list[float]\n")
    done = write()
    assert str(done.exception).startswith("Error: model/newer.py is not Python 3.11: ")


def test_a_file_too_large_for_the_cloud_is_refused_with_its_size(write, project):
    (project / "model" / "table.py").write_text(f"TABLE = '{'0' * MAX_BYTES}'\n")
    assert "model/table.py has 64,011 bytes, and QuantConnect takes at most 64,000 a file" in str(write().exception)


def test_too_many_files_are_refused(write, project):
    for number in range(MAX_FILES):
        (project / "model" / f"part_{number}.py").write_text("")
    assert "files, and QuantConnect takes at most 50 a project" in str(write().exception)


@pytest.mark.parametrize("sources", [("settings.py",), ("main.py", "nowhere")])
def test_sources_without_the_algorithm_or_that_are_missing_are_refused(write, sources):
    assert str(write(*sources).exception).startswith("Error: ")


def test_a_folder_of_something_else_is_left_alone(write, project):
    other = project / "cloud" / "OnlinePortfolio"
    other.mkdir(parents=True)
    (other / "main.py").write_text("mine")
    assert "holds something else than this project" in str(write().exception)
    assert (other / "main.py").read_text() == "mine"


@pytest.mark.parametrize("folder", [".", ".."])
def test_the_project_is_never_its_own_workspace(project, folder):
    done = CliRunner().invoke(main, ["workspace", str(project), str(project / folder), *SOURCES])
    assert "is the project itself, or around it" in str(done.exception)
    assert (project / "tests" / "lean" / "test_cloud.py").is_file()


def test_a_project_without_a_lean_json_is_refused_before_anything_is_written(write, project):
    (project / "lean.json").unlink()
    assert "there is no lean.json in or above" in str(write().exception)
    assert not (project / "cloud").exists()


# --- what it looks like


def test_a_notebook_goes_without_its_outputs(write, project):
    cell = {
        "cell_type": "code",
        "execution_count": 3,
        "metadata": {},
        "outputs": [{"name": "stdout", "output_type": "stream", "text": ["a secret\n"]}],
        "source": ["%matplotlib inline\n", "from settings import Settings\n"],
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (project / "research.ipynb").write_text(json.dumps(notebook))
    assert write(*SOURCES, "research.ipynb").exit_code == 0
    written = json.loads((project / "cloud" / "OnlinePortfolio" / "research.ipynb").read_text())
    assert (written["cells"][0]["outputs"], written["cells"][0]["execution_count"]) == ([], None)
    assert written["cells"][0]["source"] == cell["source"]


def test_the_workspace_follows_the_project(write, project):
    folder = project / "cloud" / "OnlinePortfolio"
    (project / "model" / "old.py").write_text("")
    write()
    assert (folder / "model" / "old.py").is_file()
    (folder / "backtests" / "one" / "code").mkdir(parents=True)
    (folder / "backtests" / "one" / "code" / "main.py").write_text("as it was")
    (project / "model" / "old.py").unlink()
    write()
    assert not (folder / "model" / "old.py").exists()
    assert (folder / "backtests" / "one" / "code" / "main.py").read_text() == "as it was"


def test_lean_json_names_the_same_data_and_keeps_what_was_set_there(write, project):
    write()
    path = project / "cloud" / "lean.json"
    written = json.loads(path.read_text())
    limits = {k: v for k, v in json.loads((project / "lean.json").read_text()).items() if isinstance(v, int)}
    assert written == {"job-organization-id": "", "data-folder": "../data", **limits}
    path.write_text(json.dumps(written | {"job-organization-id": "mine"}))
    done = write()
    assert json.loads(path.read_text())["job-organization-id"] == "mine"
    assert "job-organization-id" not in done.output


@pytest.mark.slow
def test_the_workspace_runs_by_itself(write, project, demo_market, tmp_path):
    """Alone, without the rest of the project beside it, on the embedded host."""
    write()
    alone = tmp_path / "alone"
    shutil.copytree(project / "cloud" / "OnlinePortfolio", alone)
    small = {"backbone": "tiny-random", "n_stocks": "20", "start": "2011-01-03", "end": "2011-02-28"}
    command = [sys.executable, "-m", "minilean", "backtest", str(alone), "--data-folder", str(demo_market)]
    for key, value in small.items():
        command += ["--parameter", key, value]
    done = subprocess.run(
        [*command, "--object-store", str(tmp_path / "store")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "step 1" in done.stdout


def test_every_package_that_the_cloud_needs_is_a_dependency_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {dependency.split("=")[0].split(">")[0].lower() for dependency in project["dependencies"]}
    names = {"sklearn": "scikit-learn", "talib": "ta-lib", "huggingface_hub": "transformers"}
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module).split(".")[0]
        for name in in_lean(ROOT) - set(NOTEBOOK)
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
        for alias in node.names
    }
    ours = {"AlgorithmImports", "indicators", "model", "settings"}
    packages = imported - sys.stdlib_module_names - ours
    assert packages
    assert {names.get(package, package) for package in packages} <= named
