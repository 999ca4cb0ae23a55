"""LEAN's Object Store on a local folder: keys are relative paths and never lead outside it."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


class ObjectStore:
    """`self.object_store`. Files are written whole or not at all."""

    def __init__(self, root: Path):
        self._root = root

    def _path(self, key: str) -> Path:
        root = self._root.resolve()
        path = (root / key).resolve()
        if not key or os.path.isabs(key) or ".." in Path(key).parts or not path.is_relative_to(root) or path == root:
            raise ValueError(f"LocalObjectStore: path is not supported: '{key}'")
        return path

    def contains_key(self, key: str) -> bool:
        return self._path(key).is_file()

    def get_file_path(self, key: str) -> str:
        """Where the key's content lies, or will lie: write the file there, then call `save(key)`."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    def save(self, key: str, text: str | None = None, encoding: str = "utf-8") -> bool:
        """Store a text, or, without one, the file that was written at `get_file_path(key)`."""
        if text is None:
            return self.contains_key(key)
        return self.save_bytes(key, text.encode(encoding))

    def save_bytes(self, key: str, content: bytes) -> bool:
        path = self._path(key)
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

    def read_bytes(self, key: str) -> bytes:
        path = self._path(key)
        if not path.is_file():
            raise KeyError(f"Object with key '{key}' was not found in the current project. Please use ObjectStore.ContainsKey(key) to check if an object exists before attempting to read.")
        return path.read_bytes()

    def read(self, key: str, encoding: str = "utf-8") -> str:
        return self.read_bytes(key).decode(encoding, "replace")

    def read_json(self, key: str) -> object:
        return json.loads(self.read(key))

    def delete(self, key: str) -> bool:
        path = self._path(key)
        if not path.is_file():
            return False
        path.unlink()
        return True

    @property
    def keys(self) -> Iterator[str]:
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and not path.name.startswith(".saving-"):
                yield path.relative_to(self._root).as_posix()
