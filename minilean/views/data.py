"""Slices and what is in them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from minilean.calendar import to_utc
from minilean.decimals import to_double
from minilean.enums import DelistingType, SplitType
from minilean.history import TradeBar
from minilean.members import LeanObject, lean
from minilean.securities import Security
from minilean.symbols import SYMBOLS, Symbol
from minilean.system import KeyNotFoundException
from minilean.views.collections import ExtendedDictionary, pair


class _Event(LeanObject):
    """Common to what happens to a security at 00:00 of a day."""

    __slots__ = ("symbol", "time", "value")

    def __init__(self, symbol: Symbol, time: datetime, value: float):
        self.symbol = symbol
        self.time = time
        self.value = value

    @property
    def end_time(self) -> datetime:
        return self.time

    @property
    def price(self) -> float:
        return self.value


@lean("QuantConnect.Data.Market", "Delisting")
class Delisting(_Event):
    """A delisting warning, or the delisting itself."""

    __slots__ = ("type",)

    def __init__(self, symbol: Symbol, kind: DelistingType, price: float, time: datetime):
        super().__init__(symbol, time, price)
        self.type = kind

    def __str__(self) -> str:
        kind = "Delisting Warning" if self.type == DelistingType.WARNING else "Delisted"
        return f"{kind}: {self.symbol} {self.time:%m/%d/%Y %H:%M:%S}"


@lean("QuantConnect.Data.Market", "Dividend")
class Dividend(_Event):
    """A cash dividend; distribution is dollars a share."""

    __slots__ = ("reference_price",)

    def __init__(self, symbol: Symbol, distribution: float, reference_price: float, time: datetime):
        super().__init__(symbol, time, distribution)
        self.reference_price = reference_price

    @property
    def distribution(self) -> float:
        return self.value


@lean("QuantConnect.Data.Market", "Split")
class Split(_Event):
    """A split; split_factor is new price over old."""

    __slots__ = ("reference_price", "split_factor")
    type = SplitType.SPLIT_OCCURRED

    def __init__(self, symbol: Symbol, factor: float, reference_price: float, time: datetime):
        super().__init__(symbol, time, reference_price)
        self.split_factor = factor
        self.reference_price = reference_price


@lean("QuantConnect.Data.Market", "SymbolChangedEvent")
class SymbolChangedEvent(_Event):
    """A change of ticker."""

    __slots__ = ("new_symbol", "old_symbol")

    def __init__(self, symbol: Symbol, old: str, new: str, time: datetime):
        super().__init__(symbol, time, 0.0)
        self.old_symbol = old
        self.new_symbol = new


class DataDictionary(ExtendedDictionary):
    """A part of a slice, by symbol."""

    __slots__ = ("_data",)
    _pair_type = pair("QuantConnect.Symbol", "QuantConnect.Data.BaseData")

    def __init__(self) -> None:
        self._data: dict[Symbol, Any] = {}

    def __setitem__(self, symbol: Symbol, value: Any) -> None:
        self._data[symbol] = value

    def items(self) -> list[tuple[Symbol, Any]]:
        return list(self._data.items())

    def get(self, key: Symbol | str, default_value: Any = None) -> Any:
        return self._data.get(SYMBOLS.symbol(key), default_value)

    def __len__(self) -> int:
        return len(self._data)

    def _absent(self, key: Symbol | str) -> Exception:
        return no_data(key, self._lean_name)


def no_data(key: Symbol | str, place: str) -> KeyNotFoundException:
    """LEAN's complaint about a symbol that a slice, or a part of it, knows nothing of."""
    return KeyNotFoundException(
        f"'{SYMBOLS.symbol(key)}' wasn't found in the {place} object, likely because there was no-data at this moment "
        "in time and it wasn't possible to fillforward historical data. To prevent the exception, use "
        "data.get(symbol), which returns None when the symbol is not found, or guard the access with 'if symbol in "
        "data:'."
    )


@lean("QuantConnect.Data.Market", "TradeBars")
class TradeBars(DataDictionary):
    __slots__ = ()


@lean(
    "QuantConnect.Data.Market", "DataDictionary`1[QuantConnect.Data.Market.TradeBar]", "DataDictionary[TradeBar]"
)
class BarDictionary(DataDictionary):
    """The bars of one moment in `self.history[TradeBar](symbols, ...)`."""

    __slots__ = ()


@lean("QuantConnect.Data.Market", "Dividends")
class Dividends(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data.Market", "Splits")
class Splits(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data.Market", "Delistings")
class Delistings(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data.Market", "SymbolChangedEvents")
class SymbolChangedEvents(DataDictionary):
    __slots__ = ()


@lean("QuantConnect.Data", "Slice")
class Slice(ExtendedDictionary):
    """What `on_data` receives; the bars are made when they are looked at."""

    __slots__ = ("_bars", "_views", "delistings", "dividends", "splits", "symbol_changed_events", "time")
    _pair_type = DataDictionary._pair_type

    def __init__(self, time: datetime, securities: Iterable[Security] = ()):
        self.time = time
        self._bars = list(securities)
        self._views: TradeBars | None = None
        self.dividends = Dividends()
        self.splits = Splits()
        self.delistings = Delistings()
        self.symbol_changed_events = SymbolChangedEvents()

    @property
    def utc_time(self) -> datetime:
        return to_utc(self.time).replace(tzinfo=UTC)

    @property
    def bars(self) -> TradeBars:
        if self._views is None:
            self._views = TradeBars()
            for security in self._bars:
                bar = security.bar
                if bar is not None:
                    opening, high, low, close = (to_double(x) for x in (bar.open, bar.high, bar.low, bar.close))
                    symbol, volume = security.symbol, float(bar.volume)
                    view = TradeBar(symbol, bar.time, bar.end_time, opening, high, low, close, volume)
                    self._views[symbol] = view
        return self._views

    @property
    def has_data(self) -> bool:
        return bool(
            self._bars or self.dividends or self.splits or self.delistings or self.symbol_changed_events
        )

    def items(self) -> list[tuple[Symbol, TradeBar]]:
        return self.bars.items()

    def get(self, key: Symbol | str, default_value: Any = None) -> Any:
        return self.bars.get(key, default_value)

    def _absent(self, key: Symbol | str) -> Exception:
        return no_data(key, "Slice")
