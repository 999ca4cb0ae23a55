"""Fixtures shared by all rooms: data folders, and runs of the strategy on the embedded host."""

import decimal
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may depend on a download

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

SMALL = {"backbone": "tiny-random", "precision": "fp32", "n_stocks": "20", "n_indicators": "12"}
"""A strategy small enough for unit tests; every setting else as in config.json."""


@pytest.fixture(autouse=True)
def _decimal_context() -> Iterator[None]:
    """An engine sets the thread's decimal context; no test inherits it from another."""
    with decimal.localcontext():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference recordings and real data beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED.name}/ with the engine's recordings and the real data is not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def parity_market() -> Path:
    return ROOT / "tests" / "fixtures" / "parity_market"


@pytest.fixture(scope="session")
def demo_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 invented stocks over 2010 and 2011, with every kind of corporate action."""
    from minilean.demo import write_demo_market

    folder = tmp_path_factory.mktemp("market") / "demo"
    write_demo_market(folder, n_stocks=24, years=(2010, 2011))
    return folder


@dataclass
class Run:
    """A finished run: its engine, what it logged, and every state it saved."""

    engine: Any
    failure: Any
    lines: list[str] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)


@pytest.fixture
def run_strategy(tmp_path: Path) -> Callable[..., Run]:
    """Run main.py on a data folder: run_strategy(folder, key=value, ...)."""
    from minilean.data import DataFolder
    from minilean.engine import Engine
    from minilean.objectstore import ObjectStore
    from minilean.project import Project

    class KeepingStore(ObjectStore):
        def __init__(self, root: Path):
            super().__init__(root)
            self.saved: list[bytes] = []

        def save_bytes(self, key: str, content: bytes) -> bool:
            self.saved.append(content)
            return super().save_bytes(key, content)

    def run(folder: Path, **parameters: object) -> Run:
        project = Project(ROOT, SMALL | {name: str(value) for name, value in parameters.items()})
        store = KeepingStore(tmp_path / "store")
        lines: list[str] = []
        engine = Engine(
            project.load(),
            DataFolder(folder),
            store,
            project.parameters,
            on_log=lambda when, message: lines.append(f"{when} {message}"),
        )
        return Run(engine, engine.run(), lines, store.saved)

    return run
