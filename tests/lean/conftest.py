"""The real lean CLI, offline, with an empty HOME, on a copy of this project."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import ROOT
from tests.lean.docker_daemon import DockerDaemon, docker_daemon

NOT_IN_A_CLONE = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "backtests", "storage", "data", "demo-market", "cloud"
)
LOCAL_DATA = {
    "id": "Local",
    "display-id": "Local",
    "type": ["data-downloader"],
    "platform": ["cli"],
    "configurations": [
        {"id": "data-provider", "type": "info", "value": "QuantConnect.Lean.Engine.DataFeeds.DefaultDataProvider"}
    ],
}
"""The one module that a backtest on local data names. The lean CLI would download the list of all of them."""

LeanCommand = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def lean_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the installed lean package, by links, and a list of modules beside it.

    The package looks for that list in its own folder when it is imported, and downloads it there if it is a day old.
    """
    spec = importlib.util.find_spec("lean")
    if spec is None or spec.origin is None:
        pytest.skip("the lean CLI is not installed: pip install lean")
    installed = Path(spec.origin).parent
    folder = tmp_path_factory.mktemp("cli")
    package = folder / "lean"
    package.mkdir()
    for entry in installed.iterdir():
        if entry.suffix != ".json":
            (package / entry.name).symlink_to(entry)
    found = re.search(r'"(modules-[\d.]+\.json)"', (installed / "models" / "__init__.py").read_text(encoding="utf-8"))
    assert found, "lean.models no longer names its list of modules"
    (package / found[1]).write_text(json.dumps({"modules": [LOCAL_DATA]}), encoding="utf-8")
    return folder


def clone(folder: Path) -> Path:
    """This project as a fresh clone has it, with the folder for data that lean.json names."""
    shutil.copytree(ROOT, folder, ignore=NOT_IN_A_CLONE)
    (folder / "data").mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return clone(tmp_path / "online-portfolio")


@pytest.fixture
def daemon() -> Iterator[DockerDaemon]:
    # Not in tmp_path: the path of a socket has at most 107 bytes.
    with TemporaryDirectory(prefix="docker") as folder, docker_daemon(Path(folder) / "socket") as running:
        yield running


@pytest.fixture
def lean(lean_package: Path, tmp_path: Path, daemon: DockerDaemon) -> LeanCommand:
    """Run `lean ARGUMENTS` in a folder: no network, no account, an empty HOME, the stand-in for Docker."""

    def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
        return run_python(lean_package, tmp_path / "home", "-m", "lean", *arguments, cwd=cwd, docker_host=daemon.host)

    return run


def run_python(
    lean_package: Path, home: Path, *arguments: str, cwd: Path, docker_host: str = "", stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Python in an environment of nothing but what the lean CLI needs; the proxies refuse every connection."""
    home.mkdir(exist_ok=True)
    nowhere = "http://127.0.0.1:9"
    environment = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(lean_package),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "400",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "DOCKER_HOST": docker_host,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
