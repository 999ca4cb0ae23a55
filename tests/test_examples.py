"""The examples run as their first lines say, with nothing but `model/` or `indicators/`."""

import ast
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROOMS = {"features.py": {"indicators"}, "learning.py": {"model", "settings"}}


@pytest.fixture(scope="module")
def run():
    def run(name: str) -> str:
        done = subprocess.run(
            [sys.executable, f"examples/{name}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_features_come_from_bars_alone(run):
    said = run("features.py")
    assert "VIF keeps 41:" in said
    assert "features (40, 21, 41), from -1 to +1, float32" in said


def test_the_learner_finds_the_feature_that_tells_returns(run):
    years = [float(percent) for percent in re.findall(r"year \d: ([+-][\d.]+)% a month", run("learning.py"))]
    assert len(years) == 3
    assert years[-1] > years[0] > 0


@pytest.mark.parametrize(("name", "rooms"), ROOMS.items())
def test_an_example_uses_one_room(name, rooms):
    tree = ast.parse((ROOT / "examples" / name).read_text(encoding="utf-8"))
    imported = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported & {"indicators", "model", "settings", "minilean", "evaluation"} == rooms
    assert f"python examples/{name}" in ast.get_docstring(tree)


def test_every_example_is_tested():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(ROOMS)
