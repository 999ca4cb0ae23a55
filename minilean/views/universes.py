"""Universes, their members, and what changes in them."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from minilean.decimals import to_double
from minilean.formats import Constituent
from minilean.members import LeanObject, lean
from minilean.securities import Security
from minilean.symbols import SYMBOLS, Symbol
from minilean.system import KeyNotFoundException
from minilean.universe import Changes, Universe
from minilean.views.collections import ExtendedDictionary, pair
from minilean.views.securities import SECURITY_PAIR, SecurityView

if TYPE_CHECKING:
    from minilean.engine import Engine


def _double(x: Decimal | None) -> float | None:
    return None if x is None else to_double(x)


@lean("QuantConnect.Data.UniverseSelection", "ETFConstituentUniverse")
class ETFConstituentUniverse(LeanObject):
    """One row of a constituents file, as the filter receives it."""

    __slots__ = ("_row", "symbol", "time", "weight")
    price = 0.0
    value = 0.0
    period = timedelta(days=1)

    def __init__(self, row: Constituent, time: datetime):
        self._row = row
        self.symbol = row.symbol
        self.time = time
        self.weight = _double(row.weight)

    @property
    def end_time(self) -> datetime:
        return self.time + self.period

    @property
    def last_update(self) -> datetime | None:
        return self._row.last_update

    @property
    def shares_held(self) -> float | None:
        return _double(self._row.shares_held)

    @property
    def market_value(self) -> float | None:
        return _double(self._row.market_value)

    def __str__(self) -> str:
        return f"{self.symbol}: ¤0.00"


class Members(ExtendedDictionary):
    """`universe.members`: the securities of a universe, by symbol."""

    __slots__ = ("_host", "_members")
    _pair_type = SECURITY_PAIR

    def __init__(self, host: "Engine", found: dict[str, Security]):
        self._host = host
        self._members = found

    def items(self) -> list[tuple[Symbol, SecurityView]]:
        return [(s.symbol, SecurityView(self._host, s)) for s in self._members.values()]

    def get(self, key: Symbol | str, default_value: Any = None) -> Any:
        inner = self._members.get(SYMBOLS.symbol(key).sid)
        return default_value if inner is None else SecurityView(self._host, inner)


@lean("QuantConnect.Util", "ReadOnlyExtendedDictionary`2[QuantConnect.Symbol,QuantConnect.Securities.Security]",
      "ReadOnlyExtendedDictionary[Symbol,Security]")
class ActiveSecurities(Members):
    """`self.active_securities`: the members of all universes. LEAN's order is that of a table with random hashes."""

    __slots__ = ()


class UniverseView(LeanObject):
    """A universe of the run. Its symbol's text has a random part in LEAN."""

    __slots__ = ("_host", "_members", "symbol")

    def __init__(self, host: "Engine", symbol: Symbol, found: dict[str, Security]):
        self._host = host
        self.symbol = symbol
        self._members = found

    @property
    def members(self) -> Members:
        return Members(self._host, self._members)

    def contains_member(self, symbol: Symbol) -> bool:
        return symbol in self.members


@lean("QuantConnect.Data.UniverseSelection", "ETFConstituentsUniverseFactory")
class ETFConstituentsUniverse(UniverseView):
    """What `self.universe.etf(...)` returns."""

    __slots__ = ("inner",)

    def __init__(self, host: "Engine", symbol: Symbol, inner: Universe):
        super().__init__(host, symbol, inner.members)
        self.inner = inner

    @property
    def members(self) -> Members:
        return Members(self._host, self.inner.members | self.inner.leaving)

    @property
    def selected(self) -> set[Symbol] | None:
        chosen = self.inner.selected
        return None if chosen is None else set(chosen)


@lean("QuantConnect.Data.UniverseSelection", "UserDefinedUniverse")
class UserDefinedUniverse(UniverseView):
    """The universe of the equities that were added by hand."""

    __slots__ = ()


@lean("QuantConnect.Securities", "UniverseManager")
class UniverseManager(ExtendedDictionary):
    """`self.universe_manager`, in order of addition (in LEAN's order by random hashes)."""

    __slots__ = ("_universes",)
    _pair_type = pair("QuantConnect.Symbol", "QuantConnect.Data.UniverseSelection.Universe")

    def __init__(self) -> None:
        self._universes: dict[str, UniverseView] = {}

    def add(self, key: Symbol, value: UniverseView) -> None:
        self._universes.setdefault(key.sid, value)

    def items(self) -> list[tuple[Symbol, UniverseView]]:
        return [(universe.symbol, universe) for universe in self._universes.values()]

    def get(self, key: Symbol | str, default_value: Any = None) -> Any:
        return self._universes.get(SYMBOLS.symbol(key).sid, default_value)

    def _absent(self, key: Symbol | str) -> Exception:
        symbol = SYMBOLS.symbol(key)
        return KeyNotFoundException(
            f"This universe symbol ({symbol}) was not found in your universe list. Please add this security or check "
            f"it exists before using it with 'Universes.ContainsKey(\"{symbol}\")'"
        )


@lean("QuantConnect.Data.UniverseSelection", "SecurityChanges")
class SecurityChanges(LeanObject):
    """What `on_securities_changed` receives."""

    __slots__ = ("added_securities", "removed_securities")

    def __init__(self, host: "Engine", changes: Changes):
        self.added_securities = [SecurityView(host, s) for s in changes.added]
        self.removed_securities = [SecurityView(host, s) for s in changes.removed]

    @property
    def count(self) -> int:
        return len(self.added_securities) + len(self.removed_securities)

    def __str__(self) -> str:
        parts = [
            f" {name}: {','.join(security.symbol.sid for security in found)}" if found else ""
            for name, found in (("Added", self.added_securities), ("Removed", self.removed_securities))
        ]
        return f"SecurityChanges: {''.join(parts)}" if self.count else "SecurityChanges: None"
