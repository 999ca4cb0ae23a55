"""One fixture for all rooms of the host: a tiny market."""

from pathlib import Path

import pytest

from tests.minilean.tiny_market import TinyMarket


@pytest.fixture
def market(tmp_path: Path) -> TinyMarket:
    return TinyMarket(tmp_path / "data")
