"""A LEAN project on disk: its main.py, its parameters, its algorithm class, and the lean.json above it."""

import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minilean import imports
from minilean.algorithm import QCAlgorithm
from minilean.errors import AlgorithmError, HostError
from minilean.failures import describe
from minilean.formats import read_whole


class Project:
    """What `lean backtest PROJECT` takes: a folder with a main.py, or the file itself.

    parameters: config.json's, overridden key by key.
    Raises HostError where there is none or its files cannot be read.
    """

    def __init__(self, path: Path, overrides: Mapping[str, str]):
        self.main = path / "main.py" if path.is_dir() else path
        if not self.main.is_file():
            raise HostError(f"{path} is no LEAN project: there is no main.py")
        self.folder = self.main.resolve().parent
        config = read_json(self.folder / "config.json")
        stored = config.get("parameters") or {}
        if not isinstance(stored, dict):
            raise HostError(f"{self.folder / 'config.json'}: parameters is not an object of names and texts")
        self.parameters = {str(key): str(value) for key, value in stored.items()} | dict(overrides)
        self.lean_json = next(
            (p / "lean.json" for p in (self.folder, *self.folder.parents) if (p / "lean.json").is_file()), None
        )

    def data_folder(self) -> Path:
        """`data-folder` of the nearest lean.json above the project."""
        if self.lean_json is None:
            raise HostError(f"there is no lean.json in or above {self.folder}: name a data folder with --data-folder")
        named = read_json(self.lean_json).get("data-folder")
        if not isinstance(named, str) or not named:
            raise HostError(f"{self.lean_json} has no data-folder: name one with --data-folder")
        return self.lean_json.parent / named

    def storage_folder(self) -> Path:
        """The local Object Store, where the lean CLI keeps it: beside lean.json."""
        return (self.lean_json.parent if self.lean_json else self.folder) / "storage"

    def load(self) -> type[QCAlgorithm]:
        """Import main.py, with LEAN's names in place, and find its algorithm class.

        Of several LEAN takes the last by name.
        Raises AlgorithmError, with LEAN's text, for an exception while importing.
        """
        imports.install()
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))
        spec = importlib.util.spec_from_file_location("main", self.main)
        if spec is None or spec.loader is None:
            raise HostError(f"{self.main} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules["main"] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise AlgorithmError(describe(error)) from error
        found = [
            kind
            for kind in (getattr(module, name) for name in dir(module))
            if isinstance(kind, type)
            and issubclass(kind, QCAlgorithm)
            and kind is not QCAlgorithm
            and kind.__module__ == "main"
        ]
        if not found:
            raise HostError(f"{self.main} has no class that extends QCAlgorithm")
        return found[-1]


_BESIDE_JSON = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
"""A text, which stays, or a comment, which LEAN's own lean.json is full of."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a config.json or lean.json, comments read past; empty where there is no such file.

    Raises HostError for anything else.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(_BESIDE_JSON.sub(lambda found: found[1] or "", read_whole(path).decode("utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        raise HostError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(content, dict):
        raise HostError(f"{path} is not a JSON object")
    return content
