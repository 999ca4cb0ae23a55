"""What LEAN does to pandas: in an index of symbols a ticker, or an identifier's text, finds its symbol.

What algorithms do for every stock, a column, its `dropna` and `notna`, also takes a shorter way to the same result.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.core import indexing

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
    pd.DataFrame._box_col_values = _naming_once(pd.DataFrame._box_col_values)  # type: ignore[attr-defined]
    pd.Series.dropna = _copying(pd.Series.dropna)  # type: ignore[method-assign]
    pd.Series.notna = _comparing(pd.Series.notna)  # type: ignore[method-assign]


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


_DOUBLE = np.dtype(np.float64)


def _by_symbol(get: Callable[..., Any]) -> Callable[..., Any]:
    """A look-up in a frame that goes straight to a symbol's column; pandas asks first what else the key might be."""

    @wraps(get)
    def column(self: Any, key: Any) -> Any:
        if type(key) is Symbol and type(self.columns) is pd.Index and self.columns.is_unique:
            with suppress(KeyError):  # which is said below, in LEAN's words
                return self._get_item_cache(key)
        return get(self, key)

    return column


def _naming_once(box: Callable[..., Any]) -> Callable[..., Any]:
    """The making of a column, which pandas names three times."""

    @wraps(box)
    def column(self: Any, manager: Any, at: int) -> Any:
        return _series(manager, self.columns[at]) if _is_plain(self, pd.DataFrame) else box(self, manager, at)

    return column


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


def _doubles(series: Any) -> NDArray[np.float64] | None:
    """The values of a plain series of doubles, None of any other."""
    values = series._values
    return values if values.dtype == _DOUBLE and _is_plain(series, pd.Series) else None


def _is_plain(data: Any, kind: Any) -> bool:
    """Whether there is nothing about it that pandas would hand on: no class of its own, no attributes, no flags."""
    return type(data) is kind and not data._attrs and bool(data._flags._allows_duplicate_labels)


def _with_values(series: Any, values: NDArray[Any]) -> Any:
    return _series(type(series._mgr).from_array(values, series.index), series._name)


def _series(manager: Any, name: object) -> Any:
    """A plain series, by pandas' own shortest way."""
    made = pd.Series._from_mgr(manager, axes=manager.axes)  # type: ignore[attr-defined]
    object.__setattr__(made, "_name", name)
    return made
