"""A new user's first minutes: nothing in HOME, a strict umask, a path with spaces and letters beyond ASCII.

Installing the packages takes minutes and a network, so the environment is the one that runs these tests; what `make
setup` does before and around the installation is tested with stand-ins for Python.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lean.conftest import NOT_IN_A_CLONE

MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "Börse und Märkte" / "online portfolio"
    shutil.copytree(ROOT, folder, ignore=NOT_IN_A_CLONE)
    return folder


@pytest.fixture
def make(clone: Path, tmp_path: Path):
    """Run make in the clone as a new user would."""
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [str(MAKE), *arguments],
            cwd=clone,
            env=environment,
            umask=0o077,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def prepared(folder: Path) -> Path:
    """An environment that make takes for finished, around the Python of this one."""
    script(folder / "bin" / "python", f'exec "{sys.executable}" "$@"')
    (folder / ".ready").touch()
    return folder


def files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


# --- make backtest


@pytest.mark.slow
def test_make_backtest_runs_on_a_fresh_clone(make, clone):
    prepared(clone / ".venv")
    done = make("backtest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its numbers say nothing about real stocks" in done.stdout
    assert "STATISTICS:: OrderListHash" in done.stdout
    (results,) = (clone / "backtests").iterdir()
    assert {"OnlinePortfolio.json", "OnlinePortfolio.html", "log.txt"} <= {path.name for path in results.iterdir()}
    assert results.stat().st_mode & 0o077 == 0
    assert (clone / "storage").is_dir()


@pytest.mark.slow
def test_a_read_only_source_tree_stays_as_it_is(make, clone, tmp_path):
    before = files(clone)
    for path in [clone, *clone.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    out = tmp_path / "aus"
    done = make(
        "backtest",
        f"VENV={prepared(tmp_path / 'environment')}",
        f"DEMO={out / 'market'}",
        f"OUTPUT={out / 'results'}",
        f'PARAMETERS=--object-store "{out / "store"}"',
    )
    for path in [clone, *clone.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o700)  # so that pytest can remove it
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "results" / "OnlinePortfolio.html").is_file()
    assert any((out / "store").rglob("*"))
    assert files(clone) == before


# --- make setup


def test_make_alone_lists_what_there_is(make):
    listed = make().stdout
    assert [line.split()[0] for line in listed.splitlines()][:3] == ["help", "setup", "backtest"]
    assert "cloud" in listed


@pytest.mark.parametrize("version", ["3.12", "3.10", "3.14"])
def test_another_python_is_refused_in_a_sentence(make, clone, tmp_path, version):
    minor = version.split(".")[1]
    code = f"import sys; sys.version_info = (3, {minor}, 0, 'final', 0); exec(sys.argv[1])"
    python = script(tmp_path / f"python{version}", f'exec "{sys.executable}" -c "{code}" "$2"')
    done = make("backtest", f"PYTHON={python}")
    assert done.returncode != 0
    assert f"Python 3.11 is needed, as in the LEAN image, and this is {version}: name one with make" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (clone / ".venv").exists()


PIP_WITHOUT_COMPILER = """
echo "error: command 'gcc' failed: No such file or directory" >&2
exit 1
"""


def test_a_package_that_does_not_build_is_explained_and_the_next_make_begins_anew(make, clone, tmp_path):
    stand_in = script(tmp_path / "pip", PIP_WITHOUT_COMPILER)
    python = script(
        tmp_path / "python3.11",
        f'[ "$1" = -c ] && exit 0\nmkdir -p "$4/bin" && cp "{stand_in}" "$4/bin/python"',
    )
    for _ in range(2):
        done = make("setup", f"PYTHON={python}")
        assert done.returncode != 0
        assert "needs a C compiler (gcc or clang)" in done.stderr
        assert "Setting up .venv" in done.stdout
        assert not (clone / ".venv" / ".ready").exists()


def test_without_any_python_make_says_which_one_is_needed(make, tmp_path):
    done = make("setup", f"PYTHON={tmp_path / 'none'}")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert os.fspath(tmp_path / "none") in done.stderr
