"""pandas as LEAN changes it, and where the host takes shorter ways to its results."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_a_column_is_found_by_its_symbol_as_pandas_finds_it(history):
    wide = history["close"].unstack(level=0)
    assert wide[SPY] is wide[SPY]
    assert wide[SPY].name is wide.columns[1]
    assert list(pd.concat([wide, wide], axis=1)[SPY].columns) == [SPY, SPY]
    pairs = wide.copy()
    pairs.columns = pd.MultiIndex.from_product([[SPY, AAPL], ["close"]])
    assert list(pairs[AAPL].columns) == ["close"]
    with pytest.raises(KeyError, match="No key found for either mapped or original key"):
        wide[Symbol(SecurityIdentifier.parse("GONE R735QTJ8XC9X"), "GONE")]


def test_a_second_installation_changes_nothing(history):
    def functions() -> list[Any]:
        looks_up = [pd.Index.get_loc, pd.DataFrame.__getitem__, pd.Index.__contains__]
        shorter = [pd.Series.dropna, pd.Series.notna, pd.Series.any, pd.Series.unstack]
        return [*looks_up, type(history.iloc).__getitem__, *shorter]

    before = functions()
    frames.install()
    assert functions() == before


class NamedFrame(pd.DataFrame):
    """A frame of a kind of its own, whose columns are too."""

    @property
    def _constructor_sliced(self) -> type["Named"]:
        return Named


class Named(pd.Series):
    """A series of a kind of its own, with metadata."""

    _metadata = ("unit",)

    @property
    def _constructor(self) -> type["Named"]:
        return Named


DAYS = pd.date_range("2018-01-01", periods=40)
INDICES = [
    lambda length: DAYS[:length],
    lambda length: DAYS[:length].delete(slice(1, 3)).append(DAYS[1:3])[:length],
    lambda length: pd.RangeIndex(5, 5 + length, name="row"),
    lambda length: pd.Index(list("ab" * length)[:length], name="twice"),
    lambda length: pd.MultiIndex.from_arrays([np.arange(length) // 2, np.arange(length)], names=["a", "b"]),
]
VALUES = [
    st.lists(st.floats(width=32) | st.just(np.nan) | st.just(np.inf), max_size=12).map(np.array),
    st.lists(st.floats(0, 1), max_size=12).map(lambda values: np.array(values, dtype=np.float64)),
    st.lists(st.floats(0, 1, width=32), max_size=12).map(lambda values: np.array(values, dtype=np.float32)),
    st.lists(st.integers(-5, 5), max_size=12).map(lambda values: np.array(values, dtype=np.int64)),
    st.lists(st.sampled_from([None, 1.5, "x", np.nan]), max_size=12).map(lambda values: np.array(values, dtype=object)),
    st.lists(st.sampled_from([None, 1, 2]), max_size=12).map(lambda values: pd.array(values, dtype="Int64")),
    st.lists(st.sampled_from([None, 0.5]), max_size=12).map(lambda values: pd.array(values, dtype="Float64")),
    st.lists(st.sampled_from([None, "2018-01-01"]), max_size=12).map(pd.to_datetime),
]


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("made", VALUES)
@settings(max_examples=20)
@given(
    data=st.data(),
    kind=st.sampled_from([pd.Series, Named]),
    name=st.sampled_from([None, "close", SPY]),
    ignoring=st.booleans(),
    marked=st.booleans(),
)
def test_dropna_and_notna_give_what_pandas_gives(made, index, data, kind, name, ignoring, marked):
    frames.install()
    values = data.draw(made)
    series = kind(values, index=index(len(values)), name=name)
    if marked:
        series.attrs["source"] = "made up"
    elif not series.index.has_duplicates and data.draw(st.booleans()):
        series = series.set_flags(allows_duplicate_labels=False)
    if kind is Named:
        series.unit = "USD"
    options = {"ignore_index": True} if ignoring else {}
    pairs = [
        (series.dropna(**options), pd.Series.dropna.__wrapped__(series, **options)),
        (series.notna(), pd.Series.notna.__wrapped__(series)),
    ]
    for ours, theirs in pairs:
        pd.testing.assert_series_equal(ours, theirs, check_flags=True, check_freq=True, check_index_type=True)
        assert type(ours) is type(theirs)
        assert ours.attrs == theirs.attrs
        assert getattr(ours, "unit", None) == getattr(theirs, "unit", None)
        assert vars(ours).keys() == vars(theirs).keys()
        assert not np.shares_memory(np.asarray(ours), np.asarray(series))


def test_what_dropna_gives_can_be_changed_alone():
    frames.install()
    frame = pd.DataFrame({"close": [1.0, 2.0]})
    kept = frame["close"].dropna()
    kept.iloc[0] = 9.0
    assert list(frame["close"]) == [1.0, 2.0]
    column = frame["close"]
    column.dropna(inplace=True)
    assert list(column) == [1.0, 2.0]
    with pytest.raises(ValueError, match="No axis named 1"):
        column.dropna(axis=1)


@pytest.mark.parametrize("kind", [pd.DataFrame, NamedFrame])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("columns", [[SPY, AAPL], [SPY, "x"], [SPY, SPY], [(SPY, "a"), (SPY, "b")]])
@pytest.mark.parametrize("last", [[3.0, np.nan], [3.0, "x"], [3.0, 4]])
def test_a_column_is_the_one_that_pandas_makes(kind, marked, columns, last):
    frames.install()
    pandas_get = pd.DataFrame.__getitem__.__wrapped__.__wrapped__
    both = []
    for get in (pd.DataFrame.__getitem__, pandas_get):
        frame = kind(dict(enumerate(zip([1.0, 2.0], last, strict=True))), index=DAYS[:2])
        frame.columns = pd.MultiIndex.from_tuples(columns) if type(columns[0]) is tuple else columns
        if marked:
            frame.attrs["source"] = "made up"
        part = frame[frame.index > DAYS[0]]
        both.append([(get(data, SPY), get(data, SPY), data) for data in (frame, part)])
    for (ours, again, frame), (theirs, _, other) in zip(*both, strict=True):
        compare = pd.testing.assert_series_equal if ours.ndim == 1 else pd.testing.assert_frame_equal
        compare(ours, theirs, check_flags=True, check_freq=True, check_index_type=True)
        assert type(ours) is type(theirs)
        assert ours.attrs == theirs.attrs == frame.attrs
        assert vars(ours).keys() == vars(theirs).keys()
        assert bool(ours._is_copy) == bool(theirs._is_copy)
        if ours.ndim == 1:
            assert ours is again
            assert ours._cacher[0] == theirs._cacher[0] == SPY
            assert ours._cacher[1]() is frame
            assert theirs._cacher[1]() is other
            assert np.shares_memory(ours.to_numpy(), frame._mgr.iget_values(0))


@pytest.mark.filterwarnings("ignore:'any' with datetime64")
@pytest.mark.parametrize("made", [*VALUES, st.lists(st.booleans(), max_size=5).map(lambda v: np.array(v, dtype=bool))])
@settings(max_examples=20)
@given(data=st.data(), kind=st.sampled_from([pd.Series, Named]))
def test_any_gives_what_pandas_gives(made, data, kind):
    frames.install()
    series = kind(data.draw(made))
    for options in ({}, {"skipna": False}):
        answers = []
        for any_of in (pd.Series.any, pd.Series.any.__wrapped__):
            try:
                answers.append(any_of(series, **options))
            except TypeError as error:
                answers.append(str(error))
        assert type(answers[0]) is type(answers[1])
        assert answers[0] is answers[1] or answers[0] == answers[1] or pd.isna(answers).all()


def histories(draw: Any) -> pd.Series:
    """Some symbols at some times: all pairs, all but some, or some twice; in blocks or in any order."""
    symbols = pd.Index(list("ABCDE")[: draw(st.integers(1, 5))], dtype=object)
    days = DAYS[: draw(st.integers(1, 6))]
    if draw(st.booleans()):
        days = days[np.array(draw(st.permutations(range(len(days)))), dtype=int)]
    first, second = len(symbols), len(days)
    order = np.array(draw(st.permutations(range(first))), dtype=int)
    codes = [np.repeat(order, second), np.tile(np.arange(second), first)]
    change = draw(st.sampled_from(["none", "none", "none", "drop", "twice", "missing", "shuffle", "unused"]))
    at = draw(st.integers(0, first * second - 1))
    if change == "drop":
        codes = [np.delete(part, at) for part in codes]
    elif change == "twice":
        for part in codes:
            part[at] = part[0]
    elif change == "missing":
        codes[draw(st.integers(0, 1))][at] = -1
    elif change == "shuffle":
        rows = np.array(draw(st.permutations(range(first * second))), dtype=int)
        codes = [part[rows] for part in codes]
    elif change == "unused":
        symbols = symbols.append(pd.Index(["Z"]))
    names = draw(st.sampled_from([["symbol", "time"], [None, None], ["x", "x"], [0, 1], [1, 0]]))
    index = pd.MultiIndex(levels=[symbols, days], codes=codes, names=names, verify_integrity=False)
    values = np.array([draw(st.floats(0, 1) | st.just(np.nan)) for _ in range(len(index))])
    column = draw(st.sampled_from([values, values.astype(np.float32), np.stack([values, values], axis=1)[:, 0]]))
    return draw(st.sampled_from([pd.Series, Named]))(column, index=index, name="close")


@pytest.mark.filterwarnings("ignore:The behavior of Index.insert")
@settings(max_examples=300)
@given(data=st.data())
def test_unstack_gives_what_pandas_gives_in_the_same_places_of_memory(data):
    frames.install()
    series = histories(data.draw)
    arguments = data.draw(st.sampled_from([(0,), (0,), (0,), (-1,), (1,), (0, 7.0), ("symbol",), ([0],), (False,)]))
    results = []
    for unstack in (pd.Series.unstack, pd.Series.unstack.__wrapped__):
        try:
            results.append(unstack(series, *arguments))
        except (ValueError, KeyError, IndexError) as error:
            results.append(f"{type(error)} {error}")
    ours, theirs = results
    if isinstance(theirs, str):
        assert ours == theirs
        return
    pd.testing.assert_frame_equal(ours, theirs, check_flags=True, check_freq=True, check_column_type=True)
    assert type(ours) is type(theirs)
    assert (ours.index.names, ours.columns.names) == (theirs.index.names, theirs.columns.names)
    for block, other in zip(ours._mgr.blocks, theirs._mgr.blocks, strict=True):
        for order in ("C_CONTIGUOUS", "F_CONTIGUOUS"):
            assert block.values.flags[order] == other.values.flags[order]
    assert not np.shares_memory(ours.to_numpy(), series.to_numpy())
    assert vars(ours).keys() == vars(theirs).keys()


@pytest.mark.parametrize("made", VALUES)
@settings(max_examples=20)
@given(data=st.data(), kind=st.sampled_from([pd.Series, Named]))
def test_iloc_gives_what_pandas_gives(made, data, kind):
    frames.install()
    values = data.draw(made)
    series = kind(values, index=DAYS[: len(values)])
    pandas_get = type(series.iloc).__getitem__.__wrapped__
    for place in range(-len(values), len(values)):
        ours, theirs = series.iloc[place], pandas_get(series.iloc, place)
        assert type(ours) is type(theirs)
        assert ours is theirs or ours == theirs or (pd.isna(ours) and pd.isna(theirs))
    for place in (len(values), -len(values) - 1):
        with pytest.raises(IndexError, match="single positional indexer is out-of-bounds"):
            series.iloc[place]
    for place in ("a", None, 1.0):
        with pytest.raises((TypeError, KeyError, ValueError)):
            series.iloc[place]
    assert list(series.to_frame().iloc[:1].columns) == [0]


def test_a_column_is_its_own_where_pandas_copies_on_write():
    frames.install()
    with pd.option_context("mode.copy_on_write", True):
        frame = pd.DataFrame({SPY: [1.0, 2.0], AAPL: [3.0, 4.0]}, index=DAYS[:2])
        column = frame[SPY]
        column.iloc[0] = 9.0
        assert list(frame[SPY]) == [1.0, 2.0]


def test_a_column_is_part_of_its_frame():
    frames.install()
    frame = pd.DataFrame({SPY: [1.0, 2.0], AAPL: [3.0, 4.0]}, index=DAYS[:2])
    column = frame[SPY]
    assert frame[SPY] is column
    column.iloc[0] = 9.0
    assert frame.iloc[0, 0] == 9.0
    frame.loc[DAYS[1], SPY] = 8.0
    assert list(frame[SPY]) == [9.0, 8.0]
