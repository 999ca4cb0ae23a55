"""LEAN's names by class: those that the host has work in both of LEAN's spellings, the others are refused by name."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from minilean.errors import NotInHost

IMPORTS = "AlgorithmImports"
_BETWEEN_WORDS = re.compile(
    r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z]|[0-9])|(?<=[0-9])(?=[A-Z].|[a-z][a-z])"
)
_SIMILAR = 0.87
_MOST_HINTS = 5
_Kind = TypeVar("_Kind", bound=type)


@functools.cache
def _table() -> dict[str, list[str]]:
    """Of each of LEAN's classes its members, inherited ones included: `name()` can be called, `~name` is protected."""
    lines = (Path(__file__).parent / "lean_names.txt").read_text(encoding="utf-8").splitlines()
    return {kind: names.split() for kind, _, names in (line.partition(": ") for line in lines)}


@functools.cache
def members(kind: str) -> frozenset[str]:
    """What LEAN's class of that name has; of IMPORTS, the names that it brings."""
    return frozenset(name.strip("~()") for name in (*_table().get(kind, ()), *_table()["Object"]))


def snake_case(name: str) -> str:
    """The spelling in which LEAN offers a .NET name to Python: `SetHoldings` is `set_holdings`, `QC500` is `qc_500`."""
    return _BETWEEN_WORDS.sub("_", name).lower()


def missing(owner: type, lean_name: str, name: str, described: str) -> AttributeError:
    """What to raise for a name that `owner` has not: NotInHost if LEAN's class has it, else what LEAN says."""
    if name in members(lean_name) or snake_case(name) in members(lean_name):
        return NotInHost(name if lean_name == "QCAlgorithm" else f"{owner.__name__}.{name}")
    return AttributeError(f"{described} has no attribute '{name}'{hint(tuple(_table().get(lean_name, ())), name)}")


@functools.cache
def hint(entries: tuple[str, ...], name: str) -> str:
    """What LEAN says one may have meant: members like it, or around it, all to be used as the best of them is.

    entries: members as the table has them.
    """
    if name.startswith("__"):
        return ""
    scored = []
    for entry in entries:
        member = entry.removesuffix("()")
        score = _similarity(name.lower(), member.lower())
        if score < _SIMILAR:
            short, long = sorted((name.lower(), member.lower()), key=len)
            long_enough = len(short) >= 3 and (short == name.lower() or 2 * len(short) >= len(long))
            score = len(short) / len(long) if long_enough and short in long else 0.0
        if score and not entry.startswith("~"):
            scored.append((-score, member.lower(), member, entry.endswith("()")))
    scored.sort()
    alike = [f"'{member}'" for _, _, member, is_callable in scored if is_callable == scored[0][3]]
    return f" Did you mean: {', '.join(alike[:_MOST_HINTS])}?" if alike else ""


def _similarity(a: str, b: str) -> float:
    """Jaro's similarity of two texts, with Winkler's bonus for a common beginning."""
    window = max(0, max(len(a), len(b)) // 2 - 1)
    free = list(b)
    matched = []
    for i, letter in enumerate(a):
        for j in range(max(0, i - window), min(len(b), i + window + 1)):
            if free[j] == letter:
                free[j] = ""
                matched.append(letter)
                break
    if not matched:
        return 0.0
    other = [letter for letter, left in zip(b, free, strict=True) if not left]
    swaps = sum(x != y for x, y in zip(matched, other, strict=True)) // 2
    n = len(matched)
    jaro = (n / len(a) + n / len(b) + (n - swaps) / n) / 3
    prefix = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return jaro + min(4, prefix) * 0.1 * (1 - jaro)


def lean(namespace: str, name: str, python_name: str = "") -> Callable[[_Kind], _Kind]:
    """Say which class of LEAN's this one stands for, so that its objects read as LEAN's do.

    name: as .NET writes it; python_name: as Python sees it, where that is not the same (generic and nested types).
    """

    def mark(kind: _Kind) -> _Kind:
        kind.__module__ = namespace
        kind.__name__ = kind.__qualname__ = python_name or name
        kind._lean_name = name.partition("`")[0]  # type: ignore[attr-defined]
        kind._lean_text = f"{namespace}.{name}"  # type: ignore[attr-defined]
        return kind

    return mark


class _LeanType(type):
    """Gives static members the same treatment as LeanObject gives those of objects."""

    _lean_name: str

    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> Any:
            snake = snake_case(name)
            for spelling in (snake, snake.upper()):
                if spelling != name and spelling in vars(cls) and spelling in members(cls._lean_name):
                    return getattr(cls, spelling)
            raise missing(cls, cls._lean_name, name, f"type object '{cls.__name__}'")


class LeanObject(metaclass=_LeanType):
    """Base of everything that stands for an object of LEAN's."""

    __slots__ = ()
    _lean_name: ClassVar[str] = "Object"
    _lean_text: ClassVar[str] = "System.Object"

    def __str__(self) -> str:
        return self._lean_text

    def get_type(self) -> Any:
        raise NotInHost("get_type()")

    if not TYPE_CHECKING:  # a checker that knew of it would let every misspelling pass

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):  # LEAN has none, and numpy asks every object that it is given for several
                raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
            snake = snake_case(name)
            if snake != name and snake in members(self._lean_name):
                try:
                    return object.__getattribute__(self, snake)
                except AttributeError:
                    pass
            kind = type(self)
            raise missing(kind, self._lean_name, name, f"'{kind.__name__}' object")


class LeanSettings(LeanObject):
    """Base of LEAN's collections of settings: one that LEAN has and the host has not can keep its default only.

    DEFAULTS: LEAN's value of each of those.
    """

    __slots__ = ()
    DEFAULTS: ClassVar[dict[str, object]] = {}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            snake = snake_case(name)
            return self.DEFAULTS[snake] if snake in self.DEFAULTS else super().__getattr__(name)

    def __setattr__(self, name: str, value: object) -> None:
        snake, kind = snake_case(name), type(self)
        if hasattr(kind, snake):
            object.__setattr__(self, snake, value)
        elif snake not in self.DEFAULTS:
            raise missing(kind, self._lean_name, name, f"'{kind.__name__}' object")
        elif value != self.DEFAULTS[snake]:
            raise NotInHost(f"{kind.__name__}.{name} = {value!r}")
