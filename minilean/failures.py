"""How an algorithm's exception reads: LEAN's wording, and a plain sentence where the cause is this host."""

import functools
import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from minilean.errors import NotInHost


@dataclass(frozen=True)
class Failure:
    """Why a run ended early: LEAN's `RuntimeError` text, and the same without the time."""

    message: str
    stack_trace: str


def describe(error: Exception, source: Path) -> str:
    """LEAN's text of an exception: the message, then each frame of the project as `at function / line / in file`.

    Raises NotInHost where the algorithm asked for a name that LEAN has and this host has not.
    """
    missing = _missing_name(error)
    if missing in _names_in_lean():
        raise NotInHost(missing) from error
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    shown = [message]
    folder = source.parent.resolve()
    for entry in "".join(traceback.format_tb(error.__traceback__)).split('  File "')[1:]:
        header, _, code = entry.partition("\n")
        parts = re.match(r'(.*)", line (\d+), in (.*)', header)
        if parts and Path(parts[1]).resolve().is_relative_to(folder):
            relative = Path(parts[1]).resolve().relative_to(folder).as_posix()
            shown.append(f"  at {parts[3]}\n{code.rstrip()}\n in {relative}: line {parts[2]}")
    return "\n".join(shown) + "\n"


@functools.cache
def _names_in_lean() -> frozenset[str]:
    """Members of LEAN's QCAlgorithm and of what it hands out, and the classes that AlgorithmImports brings."""
    return frozenset((Path(__file__).parent / "lean_names.txt").read_text(encoding="utf-8").split())


def _missing_name(error: Exception) -> str:
    if isinstance(error, (AttributeError, NameError)):
        if error.name:
            return error.name
        found = re.search(r"has no attribute '(\w+)'", str(error))
        return found[1] if found else ""
    return ""
