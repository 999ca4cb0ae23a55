"""Security identifiers and symbols, with LEAN's texts."""

import functools
import re
from dataclasses import dataclass
from datetime import date, datetime
from datetime import date as Day

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_USA_EQUITY = 1 * 100 + 1
_CODE = re.compile(r"[0-9A-Z]{1,13}")
_OADATE_EPOCH = date(1899, 12, 30)
_MOST_DAYS = (date.max - _OADATE_EPOCH).days
DEFAULT_FIRST_DATE = date(1998, 1, 2)


@dataclass(frozen=True, slots=True)
class SecurityIdentifier:
    """A US equity for its whole life: its first ticker and its first date. Text form: `SPY R735QTJ8XC9X`."""

    symbol: str
    date: datetime

    @classmethod
    def generate_equity(cls, first_ticker: str, first_date: "Day") -> "SecurityIdentifier":
        return cls(first_ticker.upper(), datetime(first_date.year, first_date.month, first_date.day))

    @classmethod
    def parse(cls, text: str) -> "SecurityIdentifier":
        ticker, _, code = text.rpartition(" ")
        days, rest = divmod(int(code, 36), 10**14) if _CODE.fullmatch(code) else (0, 0)
        if not ticker or rest != _USA_EQUITY or days > _MOST_DAYS:
            raise ValueError(f"{text!r} is not the identifier of a US equity, such as 'SPY R735QTJ8XC9X'")
        return cls.generate_equity(ticker, date.fromordinal(_OADATE_EPOCH.toordinal() + days))

    def __str__(self) -> str:
        return _text(self)


@functools.cache
def _text(sid: SecurityIdentifier) -> str:
    number = (sid.date.toordinal() - _OADATE_EPOCH.toordinal()) * 10**14 + _USA_EQUITY
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
    return f"{sid.symbol} {digits}"


class Symbol:
    """What an algorithm names a security by: the identifier, and the ticker it had when the symbol was made."""

    __slots__ = ("_hash", "_text", "id", "sid", "value")

    def __init__(self, sid: SecurityIdentifier, value: str, text: str | None = None):
        self.id = sid
        self.value = value
        self.sid = str(sid)
        self._text = self.sid if text is None else text
        self._hash = hash(self.sid)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<Symbol {self.sid}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and other.sid == self.sid

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: "Symbol") -> bool:
        return self.sid < other.sid
