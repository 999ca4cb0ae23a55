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
        path = (root / inside).resolve()
        refused = saving and not _KEY.fullmatch(key)
        if refused or ".." in Path(inside).parts or not path.is_relative_to(root) or path == root:
            raise ArgumentException(f"LocalObjectStore: path is not supported: '{key}'")
        return path

    def contains_key(self, key: str) -> bool:
        """Whether the key was stored, or, as in LEAN, its path at least asked for in this run."""
        return self._path(key).is_file() or _normalised(key) in self._announced

    def get_file_path(self, key: str) -> str:
        """Where the key's content lies, or will lie: write the file there, then call `save(key)`."""
        known = self.contains_key(key)
        path = self._path(key, saving=not known)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._announced.add(_normalised(key))
        return str(path)

    def save(self, key: str, text: str | None = None, encoding: str = "utf-8") -> bool:
        """Store a text, or, without one, the file that was written at `get_file_path(key)`.

        Raises ArgumentException if there is no such file.
        """
        if text is not None:
            return self.save_bytes(key, text.encode(encoding))
        path = self._path(key, saving=True)
        if not path.is_file():
            raise ArgumentException(f"There is no file associated with path {key} in '{path}'")
        return True

    def save_bytes(self, key: str, content: bytes) -> bool:
        """Store bytes; False, and nothing changed, where the folder cannot be written."""
        path = self._path(key, saving=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".saving-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError:
            return False
        return True

    def save_json(self, key: str, content: object) -> bool:
        return self.save(key, json.dumps(content))

    def read_bytes(self, key: str) -> ByteArray | None:
        """The key's content; None, as in LEAN, if only its path was asked for.

        Raises KeyNotFoundException for an unknown key.
        """
        if not self.contains_key(key):
            raise KeyNotFoundException(
                f"Object with path '{key}' was not found in the current project. Please use "
                "ObjectStore.ContainsKey(key) to check if an object exists before attempting to read."
            )
        path = self._path(key)
        return ByteArray(path.read_bytes()) if path.is_file() else None

    def read(self, key: str, encoding: str = "utf-8") -> str | None:
        content = self.read_bytes(key)
        return None if content is None else bytes(content).decode(encoding, "replace")

    def read_json(self, key: str) -> object:
        return json.loads(self.read(key) or "null")

    def delete(self, key: str) -> bool:
        known = self.contains_key(key)
        self._path(key).unlink(missing_ok=True)
        self._announced.discard(_normalised(key))
        return known

    @property
    def keys(self) -> list[str]:
        """All keys, in the order of LEAN's hash table."""
        found = (path for path in self._root.rglob("*") if path.is_file() and not path.name.startswith(".saving-"))
        keys = {path.relative_to(self._root).as_posix() for path in found} | self._announced
        return in_table_order(sorted(keys, reverse=True))


def _normalised(key: str) -> str:
    return key.lstrip(".").lstrip("/\\").replace("\\", "/")
