"""LEAN's collections, as Python sees them."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from minilean.members import LeanObject, lean
from minilean.system import KeyNotFoundException


class Enumerable(LeanObject):
    """A .NET collection that Python may walk through and count."""

    __slots__ = ("_items",)

    def __init__(self, items: list[Any]):
        self._items = items

    def _all(self) -> list[Any]:
        return self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    @property
    def count(self) -> int:
        return len(self)


@lean("QuantConnect.Util", "MemoizingEnumerable`1[QuantConnect.Data.Market.TradeBar]", "MemoizingEnumerable[TradeBar]")
class TypedHistory(Enumerable):
    """What `self.history[TradeBar](...)` returns."""

    __slots__ = ()


@lean(
    "QuantConnect.Util",
    "CastingEnumerable`2[QuantConnect.Data.BaseData,QuantConnect.Data.UniverseSelection.ETFConstituentUniverse]",
    "CastingEnumerable[BaseData,ETFConstituentUniverse]",
)
class Constituents(Enumerable):
    """What a universe's filter receives; it can be indexed, but as in LEAN neither sliced nor sorted in place.

    The rows are made when the filter first looks at one: most days it does not.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], list[Any]]):
        super().__init__([])
        self._make: Callable[[], list[Any]] | None = make

    def _all(self) -> list[Any]:
        if self._make is not None:
            self._items, self._make = self._make(), None
        return self._items

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, int):
            raise TypeError(f"No method matches given arguments for get_Item: ({type(index)})")
        return self._all()[index]


class KeyValuePair(LeanObject):
    """What iterating LEAN's dictionaries yields; as there it cannot be unpacked."""

    __slots__ = ("key", "value")

    def __init__(self, key: Any, value: Any):
        self.key = key
        self.value = value

    def __str__(self) -> str:
        return f"[{self.key}, {self.value}]"


def pair(key: str, value: str) -> type[KeyValuePair]:
    """A pair's class, named by the .NET types of its key and its value."""
    python_name = f"KeyValuePair[{key.rpartition('.')[2]},{value.rpartition('.')[2]}]"
    mark = lean("System.Collections.Generic", f"KeyValuePair`2[{key},{value}]", python_name)
    return mark(type("KeyValuePair", (KeyValuePair,), {"__slots__": ()}))


class ExtendedDictionary(LeanObject):
    """LEAN's dictionaries: iterated by pairs, while keys, values and items are Python's lists."""

    __slots__ = ()
    _pair_type: ClassVar[type[KeyValuePair]]

    def items(self) -> list[tuple[Any, Any]]:
        raise NotImplementedError

    def get(self, key: Any, default_value: Any = None) -> Any:
        raise NotImplementedError

    def _absent(self, key: Any) -> Exception:
        return KeyNotFoundException(f"The given key '{key}' was not present in the dictionary.")

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key)
        if found is None:
            raise self._absent(key)
        return found

    def __contains__(self, key: Any) -> bool:
        return self.get(key) is not None

    def contains_key(self, key: Any) -> bool:
        return key in self

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([self._pair_type(key, value) for key, value in self.items()])

    def keys(self) -> list[Any]:
        return [key for key, _ in self.items()]

    def values(self) -> list[Any]:
        return [value for _, value in self.items()]

    def __len__(self) -> int:
        return len(self.items())

    @property
    def count(self) -> int:
        return len(self)
