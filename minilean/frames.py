"""What LEAN does to pandas: in an index of symbols a ticker, or an identifier's text, finds its symbol.

What algorithms do with every history and every stock (`unstack(level=0)`, a column, its `notna`, `any`, `dropna` and
`iloc`) also takes a shorter way to the same result.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import ref

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas._config import using_copy_on_write, warn_copy_on_write  # type: ignore[attr-defined]
from pandas.core import indexing
from pandas.core.internals import SingleBlockManager  # type: ignore[import-not-found]

from minilean.symbols import SYMBOLS, Symbol

_MAY_NAME = (str, tuple, list)
"""Types of keys that can hold the text of a symbol."""


def install() -> None:
    """Change pandas for this process. A second call changes nothing."""
    if hasattr(pd.Index.get_loc, "__wrapped__"):
        return
    for kind, name in (
        (getattr(indexing, "_LocationIndexer"), "__getitem__"),  # noqa: B009 - the type stubs do not know these
        (getattr(indexing, "_ScalarAccessIndexer"), "__getitem__"),  # noqa: B009
        (pd.Index, "get_loc"),
    ):
        setattr(kind, name, _finding(getattr(kind, name)))
    pd.DataFrame.__getitem__ = _by_symbol(_finding(pd.DataFrame.__getitem__))  # type: ignore[method-assign]
    pd.Index.__contains__ = _containing(pd.Index.__contains__)  # type: ignore[method-assign]
    ilocs = getattr(indexing, "_iLocIndexer")  # noqa: B009
    ilocs.__getitem__ = _placing(ilocs.__getitem__)
    pd.Series.dropna = _copying(pd.Series.dropna)  # type: ignore[method-assign]
    pd.Series.notna = _comparing(pd.Series.notna)  # type: ignore[method-assign]
    pd.Series.any = _asking(pd.Series.any)  # type: ignore[method-assign]
    pd.Series.unstack = _turning(pd.Series.unstack)  # type: ignore[method-assign]


def _finding(look_up: Callable[..., Any]) -> Callable[..., Any]:
    """A look-up that tries the symbols of the texts in its key first, then the key itself."""

    @wraps(look_up)
    def find(self: object, key: Any) -> Any:
        mapped = _mapped(key) if type(key) in _MAY_NAME else key
        try:
            return look_up(self, mapped)
        except KeyError:
            if mapped is not key:
                try:
                    return look_up(self, key)
                except KeyError:
                    pass
        texts = [[str(x)] if isinstance(x, (str, Symbol)) else [] for x in (mapped, key)]
        raise KeyError(
            f"No key found for either mapped or original key. Mapped Key: {texts[0]}; Original Key: {texts[1]}"
        )

    return find


def _containing(contains: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(contains)
    def contain(self: object, key: Any) -> bool:
        return contains(self, key) or (type(key) in _MAY_NAME and contains(self, _mapped(key)))

    return contain


def _mapped(key: Any) -> Any:
    """The key with symbols for the texts that name one; the key itself where there are none."""
    kind = type(key)
    if kind is str:
        return SYMBOLS.find(key) or key
    if kind in (tuple, list):
        mapped = [_mapped(part) for part in key]
        return key if all(a is b for a, b in zip(mapped, key, strict=True)) else kind(mapped)
    return key


_DOUBLE, _TRUTH = np.dtype(np.float64), np.dtype(np.bool_)


def _by_symbol(get: Callable[..., Any]) -> Callable[..., Any]:
    """A look-up in a frame that goes straight to a symbol's column; pandas asks first what else the key might be."""

    @wraps(get)
    def column(self: Any, key: Any) -> Any:
        if type(key) is not Symbol:
            return get(self, key)
        found = self._item_cache.get(key)
        if found is None:
            found = _column(self, key)
        return get(self, key) if found is None else found

    return column


def _column(frame: Any, key: Symbol) -> Any:
    """A column as pandas makes and keeps it; None where there is none, or where pandas has more to do about it."""
    manager = frame._mgr
    columns = manager.axes[0]
    if type(columns) is not pd.Index or not columns.is_unique or not _is_plain(frame, pd.DataFrame) or _copies():
        return None
    try:
        at = columns._engine.get_loc(key)  # type: ignore[attr-defined]
    except KeyError:  # which is said in LEAN's words
        return None
    label = columns._values[at]  # type: ignore[attr-defined]
    made = _series(manager.iget(at), label)
    made.__dict__["_cacher"] = label, ref(frame)
    made.__dict__["_is_copy"] = frame._is_copy
    frame._item_cache[key] = made
    return made


def _copies() -> bool:
    """Whether a change of a column is, or will be, no change of its frame."""
    return bool(using_copy_on_write() or warn_copy_on_write())


def _placing(get: Callable[..., Any]) -> Callable[..., Any]:
    """`iloc` that takes one value of a series at once; pandas asks first what else the place might be."""

    @wraps(get)
    def item(self: Any, key: Any) -> Any:
        if type(key) is int and type(self.obj) is pd.Series:
            values = self.obj._values
            if -len(values) <= key < len(values):
                return values[key]
        return get(self, key)

    return item


def _copying(dropna: Callable[..., Any]) -> Callable[..., Any]:
    """`dropna` that copies a column of doubles by time where there is nothing to drop; pandas selects every row."""

    @wraps(dropna)
    def drop(self: Any, *arguments: Any, **options: Any) -> Any:
        if not arguments and not options and type(self.index) is pd.DatetimeIndex:
            values = _doubles(self)
            if values is not None and not math.isnan(values.dot(values)):  # NaN only where a square is
                return _with_values(self, values.copy())
        return dropna(self, *arguments, **options)

    return drop


def _comparing(notna: Callable[..., Any]) -> Callable[..., Any]:
    """`notna` that asks doubles only whether they equal themselves; pandas makes two more series on its way."""

    @wraps(notna)
    def holds(self: Any) -> Any:
        values = _doubles(self)
        return notna(self) if values is None else _with_values(self, values == values)

    return holds


def _asking(any_of: Callable[..., Any]) -> Callable[..., Any]:
    """`any` that asks truth values at once; pandas looks for missing ones first."""

    @wraps(any_of)
    def is_any(self: Any, *arguments: Any, **options: Any) -> Any:
        values = None if arguments or options else _values(self, _TRUTH)
        return any_of(self, *arguments, **options) if values is None else values.any()

    return is_any


def _turning(unstack: Callable[..., Any]) -> Callable[..., Any]:
    """`unstack(level=0)` that turns a history in which every symbol has every time; pandas sorts it."""

    @wraps(unstack)
    def turn(self: Any, level: Any = -1, *arguments: Any, **options: Any) -> Any:
        if type(level) is int and level == 0 and not arguments and not options and type(self.index) is pd.MultiIndex:
            values = _doubles(self)
            turned = None if values is None else _turned(values, self.index)
            if turned is not None:
                return turned
        return unstack(self, level, *arguments, **options)

    return turn


def _turned(values: NDArray[np.float64], index: Any) -> pd.DataFrame | None:
    """(T, N) frame of (N * T,) values, T of one label of the first level after another; None where they lie otherwise.

    In the order of rows and columns, and with the layout in memory, that pandas gives it.
    """
    if index.nlevels != 2 or 0 in index.names:  # a level that is named 0 comes before the first
        return None
    (columns, rows), (column_of, row_of) = index._levels, index._codes
    shape = len(columns), len(rows)
    if not len(values) or shape[0] * shape[1] != len(values):
        return None
    column_of, row_of = column_of.reshape(shape), row_of.reshape(shape)
    places = np.zeros(shape[0], dtype=np.intp)
    places[column_of[:, 0]] = order = np.arange(shape[0])
    if not (
        (row_of == np.arange(shape[1])).all()
        and (column_of == column_of[:, :1]).all()
        and (column_of[places, 0] == order).all()
    ):
        return None
    return pd.DataFrame(
        np.ascontiguousarray(values.reshape(shape)[places].T),
        index=rows.take(np.arange(shape[1])).rename(index.names[1]),
        columns=columns._rename(name=index.names[0]),
        copy=False,
    )


def _doubles(series: Any) -> NDArray[np.float64] | None:
    """The values of a plain series of doubles, None of any other."""
    return _values(series, _DOUBLE)


def _values(series: Any, kind: np.dtype[Any]) -> NDArray[Any] | None:
    """The values of a plain series of that kind, None of any other."""
    manager = series._mgr
    if type(manager) is not SingleBlockManager or not _is_plain(series, pd.Series):
        return None
    values: NDArray[Any] = manager.blocks[0].values
    return values if values.dtype == kind else None


def _is_plain(data: Any, kind: Any) -> bool:
    """Whether there is nothing about it that pandas would hand on: no class of its own, no attributes, no flags."""
    return type(data) is kind and not data._attrs and bool(data._flags._allows_duplicate_labels)


def _with_values(series: Any, values: NDArray[Any]) -> Any:
    """The same series with other numbers or truth values, which pandas keeps in blocks of one class."""
    manager = series._mgr
    block = manager.blocks[0]
    made = type(block)(values, placement=block._mgr_locs, ndim=1)
    return _series(SingleBlockManager(made, manager.axes[0]), series._name)


def _series(manager: Any, name: object) -> Any:
    """A plain series, with the fields that pandas gives one."""
    made = object.__new__(pd.Series)
    fields = made.__dict__
    fields["_is_copy"] = None
    fields["_mgr"] = manager
    fields["_item_cache"] = {}
    fields["_attrs"] = {}
    fields["_flags"] = pd.Flags(made, allows_duplicate_labels=True)  # type: ignore[attr-defined]
    fields["_name"] = name
    return made
