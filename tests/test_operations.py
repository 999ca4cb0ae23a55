"""docs/operations.md against the program: every message is there, and what is there is a message."""

import ast
import re
from datetime import datetime

import numpy as np
import pytest

from model.allocator import Decision, Market, State
from model.checkpoint import pack
from model.statestore import MAY_CHANGE
from settings import Settings
from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "operations.md").read_text()
SPEAKING = ("main.py", "model/statestore.py", "model/checkpoint.py")
LONG_ENOUGH = 9  # letters of a fixed part of a message


def texts(node: ast.AST) -> list[str]:
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def messages() -> list[tuple[str, list[str]]]:
    """Where a sentence is logged or raised, and its fixed parts."""
    found = []
    for name in SPEAKING:
        tree = ast.parse((ROOT / name).read_text())
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            # a ValueError becomes the reason within another message
            raised = called.endswith("Error") and called != "ValueError"
            if raised or called in ("self.log", "self._log", "self._log_once"):
                parts = [part.strip(" ,()") for text in texts(node) for part in re.split("[:;(]", text)]
                found.append((f"{name}:{node.lineno}", [part for part in parts if len(part) >= LONG_ENOUGH]))
    return [(where, parts) for where, parts in found if parts]


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("`", ""))


@pytest.mark.parametrize(("where", "parts"), [pytest.param(*m, id=m[0]) for m in messages()])
def test_every_message_is_in_the_guide(where, parts):
    assert any(plain(part) in plain(GUIDE) for part in parts), parts


def test_every_row_of_the_guide_is_a_message_of_the_program():
    files = [ROOT / name for name in (*SPEAKING, "model/learner.py", "indicators/panel.py")]
    sources = re.sub(r'" f?"', "", plain(" ".join(path.read_text() for path in files)))
    rows = re.findall(r"^\| (`.+?) \| .+ \| .+ \|$", GUIDE.split("## Messages")[1], flags=re.MULTILINE)
    assert len(rows) > 20
    for row in rows:
        for message in re.findall("`([^`]+)`", row):
            fixed = [part.strip(" :;,()") for part in re.split(r"\b(?:[A-Z]{3,}|[NX])\b|[:;]", message)]
            assert any(part in sources for part in fixed if len(part) >= LONG_ENOUGH), message


def test_every_setting_that_may_change_is_named():
    paragraph = GUIDE.split("## Redeploying")[1].split("##")[0]
    assert {name for name in Settings().as_parameters() if f"`{name}`" in paragraph} == MAY_CHANGE


def test_two_states_of_the_large_model_fit_into_the_free_object_store():
    n, length, f, width, r, layers = 100, 21, 41, 1024, 8, 24
    adapters = {f"parameter/{i}": np.zeros((r, 2 * width), np.float32) for i in range(layers * 4)}
    trained = adapters | {
        "parameter/projection": np.zeros((width, f + 1), np.float32),
        "parameter/head": np.zeros(width + 1, np.float32),
    }
    moments = {name.replace("parameter", kind): a for name, a in trained.items() for kind in ("exp_avg", "exp_avg_sq")}
    assert sum(array.size for array in trained.values()) == 1_572_864 + 44_033
    features = np.zeros((n, length, f), np.float32)
    stocks = tuple(f"STOCK{i} R735QTJ8XC9X" for i in range(n))
    market = Market(datetime(2019, 12, 2, 9), stocks, features, np.ones(n, bool), past=np.zeros((n, 252)))
    state = State(trained | moments, 127, Decision(market, np.full(n, 1 / n)), {"learnt": [{"month": "2019-12"}] * 127})
    assert 19.9e6 < len(pack(state)) + 60_000 < 20.1e6
    assert 2 * len(pack(state)) < 50e6
