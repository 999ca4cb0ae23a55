"""`self.history`: what LEAN's calls may be, turned into requests for bars."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from minilean.enums import DataNormalizationMode, Resolution
from minilean.errors import NotInHost
from minilean.history import Span, TradeBar
from minilean.securities import Security
from minilean.symbols import SYMBOLS, Symbol
from minilean.views.collections import TypedHistory
from minilean.views.data import BarDictionary
from minilean.views.universes import ETFConstituentsUniverse

if TYPE_CHECKING:
    from minilean.engine import Engine


def is_raw(mode: DataNormalizationMode) -> bool:
    """Whether securities are subscribed in raw prices; the host subscribes them in raw or adjusted ones."""
    if mode not in (DataNormalizationMode.RAW, DataNormalizationMode.ADJUSTED):
        raise NotInHost(f"DataNormalizationMode.{DataNormalizationMode(mode).name} for prices that are traded")
    return mode == DataNormalizationMode.RAW


def daily_only(resolution: Resolution | None) -> None:
    if resolution != Resolution.DAILY:
        name = "Resolution.MINUTE (the default)" if resolution is None else f"Resolution.{Resolution(resolution).name}"
        raise NotInHost(f"{name} for prices that are traded")


class HistoryCall:
    """`self.history(...)` and `self.history[TradeBar](...)`."""

    __slots__ = ("_host",)

    def __init__(self, host: "Engine"):
        self._host = host

    def __call__(self, *arguments: Any, **options: Any) -> pd.DataFrame:
        """history([TradeBar,] symbols, periods | timedelta | start, end, [resolution]): DataFrame by (symbol, time)."""
        if arguments and isinstance(arguments[0], type):
            self._trade_bars_only(arguments[0])
            arguments = arguments[1:]
        if not arguments or isinstance(arguments[0], (int, timedelta, ETFConstituentsUniverse)):
            raise NotInHost("history(...) of a universe, or of all securities")
        symbols, *rest = arguments
        many = [symbols] if isinstance(symbols, (Symbol, str)) else symbols
        chosen = [SYMBOLS.symbol(symbol) for symbol in many]
        span, modes, fill_forward = self._request(chosen, rest, options)
        return self._host.history.frame(list(zip(chosen, modes, strict=True)), span, fill_forward)

    def __getitem__(self, kind: type) -> Callable[..., TypedHistory]:
        self._trade_bars_only(kind)
        return self._typed

    def _typed(self, symbols: Any, *rest: Any, **options: Any) -> TypedHistory:
        """Bars of a symbol; of a list, for each moment a dictionary of bars by symbol."""
        one = isinstance(symbols, (Symbol, str))
        chosen = [SYMBOLS.symbol(symbol) for symbol in ([symbols] if one else symbols)]
        span, modes, fill_forward = self._request(chosen, rest, options)
        found = [
            self._host.history.bars(symbol, mode, span, fill_forward)
            for symbol, mode in zip(chosen, modes, strict=True)
        ]
        if one:
            return TypedHistory(found[0])
        moments: dict[datetime, BarDictionary] = {}
        for bars in found:
            for bar in bars:
                moments.setdefault(bar.end_time, BarDictionary())[bar.symbol] = bar
        return TypedHistory([moments[moment] for moment in sorted(moments)])

    @staticmethod
    def _trade_bars_only(kind: Any) -> None:
        if kind is not TradeBar:
            raise NotInHost(f"history[{getattr(kind, '__name__', kind)}]")

    def _request(
        self, symbols: Sequence[Symbol], rest: Sequence[Any], options: Mapping[str, Any]
    ) -> tuple[Span, list[DataNormalizationMode], bool]:
        """What follows the symbols in a call: the span asked for, each symbol's mode, and whether gaps are filled."""
        named = (options[name] for name in ("periods", "span", "start") if name in options)
        begin = rest[0] if rest else next(named, None)
        kind = "start" if isinstance(begin, date) else "span" if isinstance(begin, timedelta) else "periods"
        names = ("start", "end", *_HISTORY_OPTIONS) if kind == "start" else (kind, *_HISTORY_OPTIONS)
        given = dict(zip(names, rest, strict=False)) | dict(options)
        for name in given.keys() - {*names[: -len(_HISTORY_OPTIONS)], *_KNOWN_OPTIONS}:
            if given[name] not in (None, False):
                raise NotInHost(f"history(..., {name}={given[name]!r})")
        self._daily_only(symbols, given.get("resolution"))
        mode = given.get("data_normalization_mode")
        modes = [self._mode(symbol) if mode is None else mode for symbol in symbols]
        fill_forward = given.get("fill_forward") is not False
        history, now = self._host.history, self._host.now
        if kind == "periods":
            return history.last_sessions(int(given["periods"])), modes, fill_forward
        if kind == "span":
            return history.between(now - given["span"], now), modes, fill_forward
        start, end = (datetime(*moment.timetuple()[:6]) for moment in (given["start"], given["end"]))
        if end > now and symbols:
            self._host.debug("Request for future history modified to end now.")
        return history.between(start, end), modes, fill_forward

    def _daily_only(self, symbols: Sequence[Symbol], resolution: Resolution | None) -> None:
        if resolution is None and all(self._subscribed(symbol) for symbol in symbols):
            return
        daily_only(self._host.algorithm.universe_settings.resolution if resolution is None else resolution)

    def _subscribed(self, symbol: Symbol) -> Security | None:
        security = self._host.portfolio.get(symbol)
        return security if security is not None and security in self._host.portfolio.active() else None

    def _mode(self, symbol: Symbol) -> DataNormalizationMode:
        """How the symbol is subscribed, or would be."""
        security = self._subscribed(symbol)
        if security is None or security.feed is None:
            return self._host.algorithm.universe_settings.data_normalization_mode
        return DataNormalizationMode.ADJUSTED if security.feed.adjusted else DataNormalizationMode.RAW


_HISTORY_OPTIONS = (
    "resolution",
    "fill_forward",
    "extended_market_hours",
    "data_mapping_mode",
    "data_normalization_mode",
    "contract_depth_offset",
    "flatten",
)
"""What LEAN's calls of history end with, in order."""
_KNOWN_OPTIONS = {"resolution", "fill_forward", "data_normalization_mode"}
