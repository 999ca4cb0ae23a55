"""How an algorithm's exception reads: LEAN's wording, and a plain sentence where the cause is this host."""

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minilean.errors import NotInHost
from minilean.members import IMPORTS, members

_HOST = Path(__file__).parent


@dataclass(frozen=True)
class Failure:
    """Why a run ended early: LEAN's `RuntimeError` text, and the same without the time.

    interrupted: by the keyboard.
    """

    message: str
    stack_trace: str
    interrupted: bool = False


def describe(error: Exception) -> str:
    """LEAN's text of an exception: what it makes of the message, then each frame as `at function / line / in file`.

    Raises NotInHost where the algorithm asked for a name that LEAN has and this host has not.
    """
    if isinstance(error, NotInHost):
        raise error
    missing = _missing_import(error)
    if missing in members(IMPORTS):
        raise NotInHost(missing) from error
    return "\n".join([_interpreted(error), *_frames(error)]) + "\n"


def _frames(error: Exception) -> Iterator[str]:
    """The algorithm's frames and those of what it calls; as in LEAN none of the engine's own."""
    for entry in "".join(traceback.format_tb(error.__traceback__)).split('  File "')[1:]:
        header, _, code = entry.partition("\n")
        parts = re.match(r'(.*)", line (\d+), in (.*)', header)
        if parts and "/" in parts[1] and not Path(parts[1]).is_relative_to(_HOST):
            shown = f"{parts[3]}\n{code.rstrip()}" if code.strip() else parts[3]
            yield f"  at {shown}\n in {Path(parts[1]).name}: line {parts[2]}"


def _missing_import(error: Exception) -> str:
    """The name that an algorithm takes from `AlgorithmImports` and does not find."""
    if isinstance(error, NameError):
        return error.name or ""
    found = re.match(rf"cannot import name '(\w+)' from '{IMPORTS}'", str(error))
    return found[1] if found else ""


def _interpreted(error: Exception) -> str:
    """LEAN puts some of Python's messages in words of its own."""
    message = str(error)
    if isinstance(error, KeyError):
        key = str(error.args[0]) if error.args else ""
        what = f"The key '{key}'" if key.strip() else "The requested key"
        return (
            f"{what} was not found in the collection, which raises a KeyError exception. To prevent the exception, use "
            "collection.get(key), which returns None when the key is not found, or guard the access with 'if key in "
            "collection:'."
        )
    if isinstance(error, ModuleNotFoundError):
        camel = " If it is a .NET assembly, importing it is not supported, use an equivalent Python package instead."
        name = error.name or ""
        is_camel = bool(re.fullmatch(r"[A-Z][a-zA-Z0-9]*(\.[A-Z][a-zA-Z0-9]*)*", name)) and name.upper() != name
        return (
            f"No module named '{name}'. If it is a Python package, ensure it is installed in the environment."
            + (camel if is_camel else "")
        )
    if "unsupported operand type" in message:
        types = message.split(":")[1].strip()
        hint = (
            " To operate between them, use the date part of the datetime value, e.g.: (expiry.date() - today).days or "
            "self.time.date()."
        )
        is_dates = "'datetime.datetime'" in types and "'datetime.date'" in types
        return (
            f"Trying to perform a summation, subtraction, multiplication or division between {types} objects throws a "
            "TypeError exception. To prevent the exception, ensure that both values share the same type."
            + (hint if is_dates else "")
        )
    if "can't compare datetime.datetime to datetime.date" in message:
        return (
            "Trying to compare 'datetime.datetime' and 'datetime.date' objects throws a TypeError exception. To "
            "prevent the exception, compare using the date part of the datetime value, e.g.: self.time.date() <= "
            "some_date."
        )
    if "No method match" in message:
        method, _, rest = message.partition("for ")[2].partition(":")
        overloads = rest.partition("The following overloads are available:")[2]
        return (
            "Trying to dynamically access a method that does not exist throws a TypeError exception. To prevent the "
            f"exception, ensure each parameter type matches those required by the {method.strip()} method. Please "
            "checkout the API documentation."
            + (f" The following overloads are available:{overloads}".rstrip() if overloads else "")
        )
    return message
