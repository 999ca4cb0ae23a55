"""Look-ups in pandas that understand tickers as LEAN's do."""

from typing import Any

import pandas as pd
import pytest

from minilean import frames
from minilean.symbols import SYMBOLS, SecurityIdentifier, Symbol, unmapped

SPY = Symbol(SecurityIdentifier.parse("SPY R735QTJ8XC9X"), "SPY")
AAPL = Symbol(SecurityIdentifier.parse("AAPL R735QTJ8XC9X"), "AAPL")


@pytest.fixture
def history() -> pd.DataFrame:
    """Two symbols, three days; SPY was added by its ticker, AAPL came out of a universe."""
    frames.install()
    SYMBOLS.start(lambda ticker, day: unmapped(ticker))
    SYMBOLS.add(SPY)
    days = pd.date_range("2018-01-01", periods=3)
    index = pd.MultiIndex.from_product([[SPY, AAPL], days], names=["symbol", "time"])
    return pd.DataFrame({"close": range(6), "open": range(6)}, index=index)


@pytest.mark.parametrize("key", [SPY, "SPY", "spy", "SPY R735QTJ8XC9X"])
def test_a_symbol_is_found_by_itself_by_its_added_ticker_and_by_its_identifier(history, key):
    assert list(history.loc[key]["close"]) == [0, 1, 2]
    assert list(history["close"].unstack(level=0)[key]) == [0, 1, 2]
    assert key in history.index
    assert history.loc[(key, "2018-01-02"), "close"] == 1


def test_several_keys_may_be_mixed(history):
    wide = history["close"].unstack(level=0)
    assert list(wide[["SPY", AAPL]].iloc[0]) == [0, 3]


def test_a_ticker_that_was_not_added_is_not_found(history):
    assert "AAPL" not in history.index
    with pytest.raises(KeyError, match=r"No key found for either mapped or original key\. Mapped Key: \['AAPL'\]; "):
        history.loc["AAPL"]


def test_texts_that_are_no_tickers_mean_themselves(history):
    plain = pd.DataFrame({"SPY": [1, 2], "x": [3, 4]}, index=["a", "b"])
    assert list(plain["SPY"]) == [1, 2]
    assert plain.loc["a", "x"] == 3
    assert "SPY" in plain.columns


def test_a_second_installation_changes_nothing(history):
    def functions() -> list[Any]:
        return [pd.Index.get_loc, pd.DataFrame.__getitem__, pd.Index.__contains__]

    before = functions()
    frames.install()
    assert functions() == before
