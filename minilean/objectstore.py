"""LEAN's Object Store on a local folder: keys are relative paths and never lead outside it."""

import json
import os
import re
import tempfile
from pathlib import Path

from minilean.members import LeanObject, lean
from minilean.results.charts import in_table_order
from minilean.system import ArgumentException, KeyNotFoundException

_KEY = re.compile(r"\.?[a-zA-Z0-9\\/_#\-$= ]+\.?[a-zA-Z0-9]*")
"""What LEAN lets be saved: letters, digits, some signs, and one dot before the ending."""
_LONGEST_NAME = 255
"""Bytes that a file system's names can have."""


class ByteArray(bytes):
    """What `read_bytes` returns: .NET's array of bytes, of which `bytes(...)` makes Python's."""

    def __str__(self) -> str:
        return "System.Byte[]"

    def decode(self, *arguments: object, **options: object) -> str:
        raise AttributeError("'Byte[]' object has no attribute 'decode'")


ByteArray.__name__ = ByteArray.__qualname__ = "Byte[]"


@lean("QuantConnect.Storage", "ObjectStore")
class ObjectStore(LeanObject):
    """`self.object_store`. Files are written whole or not at all.

    Raises ArgumentException for a key that LEAN does not take or that would lead outside the folder.
    """

    def __init__(self, root: Path):
        self._root = root
        self._announced: set[str] = set()

    def _path(self, key: str, *, saving: bool = False) -> Path:
        """As in LEAN a key loses dots and slashes at its beginning: `/a` and `./a` are `a`."""
        root = self._root.resolve()
        inside = _normalised(key)
        name = key.encode("utf-8", "ignore")  # half a surrogate pair is no text
        no_name = b"\0" in name or len(name) > _LONGEST_NAME or name.decode() != key
        path = root if no_name else (root / inside).resolve()
        refused = saving and not _KEY.fullmatch(key)
        if refused or ".." in Path(inside).parts or not path.is_relative_to(root) or path == root:
            raise ArgumentException(f"LocalObjectStore: path is not supported: '{key}'")
        return path

    def contains_key(self, path: str) -> bool:
        """Whether the key was stored, or, as in LEAN, its path at least asked for in this run."""
        return self._path(path).is_file() or _normalised(path) in self._announced

    def get_file_path(self, path: str) -> str:
        """Where the key's content lies, or will lie: write the file there, then call `save(path)`."""
        known = self.contains_key(path)
        place = self._path(path, saving=not known)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._announced.add(_normalised(path))
        return str(place)

    def save(self, path: str, text: str | None = None, encoding: str | None = None) -> bool:
        """Store a text, or, without one, the file that was written at `get_file_path(path)`.

        Raises ArgumentException if there is no such file.
        """
        if text is not None:
            return self.save_bytes(path, text.encode(encoding or "utf-8"))
        place = self._path(path, saving=True)
        if not place.is_file():
            raise ArgumentException(f"There is no file associated with path {path} in '{place}'")
        return True

    def save_bytes(self, path: str, contents: bytes) -> bool:
        """Store bytes; False, and nothing changed, where the folder cannot be written."""
        place = self._path(path, saving=True)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=".saving-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(contents)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, place)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError:
            return False
        return True

    def save_json(self, path: str, contents: object) -> bool:
        return self.save(path, json.dumps(contents))

    def read_bytes(self, path: str) -> ByteArray | None:
        """The key's content; None, as in LEAN, if only its path was asked for.

        Raises KeyNotFoundException for an unknown key.
        """
        if not self.contains_key(path):
            raise KeyNotFoundException(
                f"Object with path '{path}' was not found in the current project. Please use "
                "ObjectStore.ContainsKey(key) to check if an object exists before attempting to read."
            )
        place = self._path(path)
        return ByteArray(place.read_bytes()) if place.is_file() else None

    def read(self, path: str, encoding: str | None = None) -> str | None:
        content = self.read_bytes(path)
        return None if content is None else bytes(content).decode(encoding or "utf-8", "replace")

    def read_json(self, path: str) -> object:
        return json.loads(self.read(path) or "null")

    def delete(self, path: str) -> bool:
        known = self.contains_key(path)
        place = self._path(path)
        if place.is_file():
            place.unlink()
        self._announced.discard(_normalised(path))
        return known

    @property
    def keys(self) -> list[str]:
        """All keys, in the order of LEAN's hash table."""
        found = (path for path in self._root.rglob("*") if path.is_file() and not path.name.startswith(".saving-"))
        keys = {path.relative_to(self._root).as_posix() for path in found} | self._announced
        return in_table_order(sorted(keys, reverse=True))


def _normalised(key: str) -> str:
    return key.lstrip(".").lstrip("/\\").replace("\\", "/")
