"""Recorded runs of the real engine: same main.py, same data folder, same numbers, to the digit."""

import gzip
import json
from pathlib import Path

import pytest

from minilean.data import DataFolder
from minilean.engine import Engine
from minilean.objectstore import ObjectStore
from minilean.orders import order_list_hash
from minilean.project import Project
from tests.conftest import SHARED
from tests.minilean.compare import differences, log_differences

PARITY = {
    "parity_hash_adjusted": "strategy",
    "parity_hash_raw": "strategy",
    "parity_equal_all": "strategy",
    "variant_noon": "variants",
    "variant_close": "variants",
    "variant_weekly": "variants",
    "variant_orders": "variants",
    "variant_defaults": "variants",
    "variant_leverage": "variants",
}
REAL = {
    "real_spy_1e9": "spy",
    "real_hash_1e6_top10": "strategy",
    "real_hash_1e9": "strategy",
    "real_cap_1e9": "strategy",
}
FAULTS = ("attribute", "initialize", "negative", "none", "overweight", "quit", "schedule", "select", "tiny")

pytestmark = pytest.mark.skipif(
    not (SHARED / "golden").is_dir(), reason="the recordings of the real engine are not beside the project"
)


def run_probe(probe: str, recording: Path, data: Path, tmp_path: Path) -> tuple[Engine, Path]:
    """Run a recorded algorithm with the recording's parameters; returns the engine and the folder of its results."""
    parameters = json.loads((recording / "parameters.json").read_text(encoding="utf-8"))
    overrides = {name: str(value) for name, value in parameters.items()}
    project = Project(SHARED / "golden" / "probes" / probe, overrides)
    store = ObjectStore(tmp_path / "store")
    engine = Engine(project.load(), DataFolder(data), store, project.parameters)
    failure = engine.run()
    engine.results().write(
        tmp_path / "out",
        engine.name,
        engine.brokerage.orders,
        status="RuntimeError" if failure else "Completed",
        runtime_error=failure.message if failure else "",
        stack_trace=failure.stack_trace if failure else "",
    )
    return engine, tmp_path / "out"


def compare(run: str, probe: str, data: Path, tmp_path: Path) -> None:
    recording = SHARED / "golden" / run
    engine, out = run_probe(probe, recording, data, tmp_path)
    recorded = recording / "order_list_hash.txt"
    if recorded.exists():
        assert order_list_hash(engine.brokerage.orders) == recorded.read_text().strip()
    assert differences(out, recording) == []
    assert log_differences(out, recording) == []
    journal = recording / "journal.json.gz"
    if journal.exists():
        seen = json.loads(engine.object_store.read("probe/journal.json"))
        with gzip.open(journal, "rt", encoding="utf-8") as file:
            assert seen == json.load(file)


@pytest.mark.parametrize("run", PARITY)
def test_a_recorded_run_on_the_parity_market_is_reproduced(run, parity_market, tmp_path):
    compare(run, PARITY[run], parity_market, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("run", REAL)
def test_a_recorded_run_on_real_data_is_reproduced(run, shared, tmp_path):
    compare(run, REAL[run], shared / "marketdata" / "lean", tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_recorded_failure_is_reproduced(fault, shared, tmp_path):
    compare(f"faults/{fault}", "faults", shared / "marketdata" / "lean", tmp_path)
