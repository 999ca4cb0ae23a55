import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from model import Market

NOW = datetime(2010, 1, 4, 9)


def test_the_package_and_the_checkpoint_import_without_torch() -> None:
    code = "import sys, model, model.checkpoint; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_a_market_keeps_its_values_when_the_caller_overwrites_the_arrays() -> None:
    features, tradable = np.ones((2, 3, 4)), np.array([True, False])
    market = Market(NOW, ("A", "B"), features, tradable)
    features[:] = 7
    tradable[:] = False
    assert (market.features == 1).all()
    assert market.features.dtype == np.float32
    assert market.tradable.tolist() == [True, False]
    with pytest.raises(ValueError, match="read-only"):
        market.features[0] = 0


@pytest.mark.parametrize(
    ("stocks", "features", "tradable", "message"),
    [
        (("A",), np.ones((2, 3, 4)), [True, True], r"not \(2, 3, 4\)"),
        (("A", "B"), np.ones((2, 3)), [True, True], r"not \(2, 3\)"),
        (("A", "B"), np.ones((2, 3, 4)), [True], r"and \(1,\)"),
        (("A", "A"), np.ones((2, 3, 4)), [True, True], "listed twice"),
        (("A", "B"), np.ones((2, 3, 4)), [False, False], "none of 2 stocks can be traded"),
        (("A", "B"), np.full((2, 3, 4), np.nan), [False, True], "B for one"),
    ],
)
def test_a_market_that_contradicts_itself_is_refused(stocks, features, tradable, message) -> None:
    with pytest.raises(ValueError, match=message):
        Market(NOW, stocks, features, np.array(tradable))


def test_a_stock_that_is_not_tradable_may_have_no_features() -> None:
    features = np.ones((2, 3, 4))
    features[0] = np.nan
    assert Market(NOW, ("A", "B"), features, np.array([False, True])).tradable.sum() == 1
