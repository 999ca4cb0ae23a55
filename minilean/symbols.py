"""Security identifiers and symbols, with LEAN's texts."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import date as Day
from typing import Any

from minilean.enums import SecurityType
from minilean.errors import NotInHost
from minilean.members import LeanObject, lean
from minilean.system import InvalidOperationException

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_USA_EQUITY = 1 * 100 + 1
_CODE = re.compile(r"[0-9A-Z]{1,13}")
_TICKER = re.compile(r"(?!\.)[ -.0-\[\]-~]{1,60}")  # printable ASCII but / and \
_OADATE_EPOCH = date(1899, 12, 30)
_MOST_DAYS = (date.max - _OADATE_EPOCH).days
DEFAULT_FIRST_DATE = date(1998, 1, 2)


def is_ticker(text: str) -> bool:
    """Whether a file can be named by it: not where it leads to another folder, or is too long for one."""
    return _TICKER.fullmatch(text) is not None


@lean("QuantConnect", "SecurityIdentifier")
@dataclass(frozen=True, slots=True)
class SecurityIdentifier(LeanObject):
    """A US equity for its whole life: its first ticker and its first date. Text form: `SPY R735QTJ8XC9X`."""

    symbol: str
    date: datetime
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        number = (self.date.toordinal() - _OADATE_EPOCH.toordinal()) * 10**14 + _USA_EQUITY
        digits = ""
        while number:
            number, digit = divmod(number, 36)
            digits = _BASE36[digit] + digits
        object.__setattr__(self, "_text", f"{self.symbol} {digits}")

    @classmethod
    def generate_equity(cls, first_ticker: str, first_date: "Day") -> "SecurityIdentifier":
        return cls(first_ticker.upper(), datetime(first_date.year, first_date.month, first_date.day))

    @classmethod
    def parse(cls, value: str) -> "SecurityIdentifier":
        ticker, _, code = value.rpartition(" ")
        days, rest = divmod(int(code, 36), 10**14) if _CODE.fullmatch(code) else (0, 0)
        if not is_ticker(ticker) or rest != _USA_EQUITY or days > _MOST_DAYS:
            raise ValueError(f"{value!r} is not the identifier of a US equity, such as 'SPY R735QTJ8XC9X'")
        return cls.generate_equity(ticker, date.fromordinal(_OADATE_EPOCH.toordinal() + days))

    def __str__(self) -> str:
        return self._text

    @property
    def market(self) -> str:
        return "usa"

    @property
    def security_type(self) -> SecurityType:
        return SecurityType.EQUITY


@lean("QuantConnect", "Symbol")
class Symbol(LeanObject):
    """What an algorithm names a security by: the identifier, and the ticker it had when the symbol was made."""

    __slots__ = ("_hash", "id", "sid", "value")

    def __init__(self, sid: SecurityIdentifier, value: str):
        self.id = sid
        self.value = value
        self.sid = str(sid)
        self._hash = hash(self.sid)

    @staticmethod
    def create(ticker: str, security_type: SecurityType, market: str, alias: str | None = None) -> "Symbol":
        """The security that has the ticker today, whatever day the algorithm has reached."""
        if security_type != SecurityType.EQUITY or market != "usa":
            raise NotInHost(f"Symbol.create(..., SecurityType.{SecurityType(security_type).name}, {market!r})")
        return Symbol(SYMBOLS.resolve(ticker, date.today()).id, (alias or ticker).upper())

    def __str__(self) -> str:
        return SYMBOLS.tickers.get(self.sid, self.sid)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Symbol):
            return other.sid == self.sid
        return isinstance(other, str) and SYMBOLS.find(other) == self

    def __hash__(self) -> int:
        return self._hash

    # LEAN compares tickers, and takes a text for a ticker.

    def __lt__(self, other: "Symbol | str") -> bool:
        return self.value.upper() < _ticker(other)

    def __le__(self, other: "Symbol | str") -> bool:
        return self.value.upper() <= _ticker(other)

    def __gt__(self, other: "Symbol | str") -> bool:
        return self.value.upper() > _ticker(other)

    def __ge__(self, other: "Symbol | str") -> bool:
        return self.value.upper() >= _ticker(other)

    @property
    def security_type(self) -> SecurityType:
        return SecurityType.EQUITY

    @property
    def underlying(self) -> None:
        return None

    @property
    def has_underlying(self) -> bool:
        return False

    def is_canonical(self) -> bool:
        return False

    @property
    def canonical(self) -> Any:
        raise InvalidOperationException(
            "Canonical is only defined for SecurityType.Option, SecurityType.Future, SecurityType.FutureOption"
        )


def _ticker(other: Symbol | str) -> str:
    return (other if isinstance(other, str) else other.value).upper()


class SymbolCache:
    """What LEAN understands by a text, and shows for a symbol: the tickers that securities were added by.

    One for the process, as in LEAN; each run starts it anew.
    """

    def __init__(self) -> None:
        self.tickers: dict[str, str] = {}
        self._symbols: dict[str, Symbol] = {}
        self.resolve: Callable[[str, Day], Symbol] = lambda ticker, day: unmapped(ticker)

    def start(self, resolve: Callable[[str, Day], Symbol]) -> None:
        """Forget all; from now on `resolve` says which security has a ticker on a day."""
        self.__init__()  # type: ignore[misc]
        self.resolve = resolve

    def add(self, symbol: Symbol) -> None:
        self.tickers[symbol.sid] = symbol.value
        self._symbols[symbol.value.upper()] = symbol

    def find(self, text: str) -> Symbol | None:
        """The symbol of a ticker that was added, or of an identifier's text."""
        found = self._symbols.get(text.upper())
        if found is None and " " in text:
            try:
                sid = SecurityIdentifier.parse(text)
            except ValueError:
                return None
            return Symbol(sid, sid.symbol)
        return found

    def symbol(self, key: Symbol | str) -> Symbol:
        """A symbol as it is; for a text the one that it is understood as, or else one that nothing is known of."""
        if isinstance(key, str):
            return self.find(key) or unmapped(key)
        return key


SYMBOLS = SymbolCache()


def unmapped(ticker: str) -> Symbol:
    """The symbol of a ticker that no map file knows."""
    return named(ticker.upper())


def named(name: str) -> Symbol:
    """The symbol of something without a map file, its name as it is."""
    return Symbol(SecurityIdentifier(name, datetime.combine(_OADATE_EPOCH, datetime.min.time())), name)
