"""A workspace that `lean cloud push` takes: the files of a project that run in LEAN, and lean.json above them.

The lean CLI pushes every source file below a project, and names a project by its path below the folder it is run in. A
project with lean.json, tests and tools beside main.py runs in Docker, but would be pushed whole, and as ".".
"""

import ast
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minilean.errors import HostError
from minilean.project import Project, read_json

MAX_FILES = 50
MAX_BYTES = 64_000
"""What QuantConnect's cloud takes: files a project, and bytes a file."""

_PUSHED = {".py", ".ipynb"}
_RESULTS = {"backtests", "live", "optimizations", "report", "storage"}
"""Folders of a project that `lean` fills and does not push."""


@dataclass(frozen=True)
class Workspace:
    """sizes: path below the project -> bytes. has_organization: whether lean.json says whose cloud it is."""

    project: Path
    sizes: Mapping[str, int]
    has_organization: bool


def write_workspace(project: Project, folder: Path, sources: Sequence[str]) -> Workspace:
    """Write the project into `folder`, with lean.json beside that folder.

    sources: files and packages of the project that run in LEAN, main.py among them. Notebooks lose their outputs.
    What `lean cloud push` wrote there (the id of the cloud project) stays; other source files there are removed.
    Raises HostError for a source that is missing, does not compile as Python 3.11, is too large or imports what is
        not among the sources; and for a folder that holds something else. Nothing is written then.
    """
    config = read_json(project.folder / "config.json")
    known = read_json(folder / "config.json")
    if project.folder.is_relative_to(folder.resolve()):
        raise HostError(f"{folder} is the project itself, or around it: name another folder")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not _same_project(known, config)):
        raise HostError(f"{folder} holds something else than this project: name another folder, or empty it")
    lean_json = _lean_json(project, folder.parent)
    texts = {name: text for source in sources for name, text in _read(project.folder, source)}
    if "main.py" not in texts:
        raise HostError("main.py is not among the sources, and LEAN would not find the algorithm")
    _check_imports(project.folder, texts)
    sizes = {name: len(text.encode()) for name, text in texts.items()}
    if len(sizes) > MAX_FILES:
        raise HostError(f"{len(sizes)} files, and QuantConnect takes at most {MAX_FILES} a project")
    for name, size in sizes.items():
        if size > MAX_BYTES:
            raise HostError(f"{name} has {size:,} bytes, and QuantConnect takes at most {MAX_BYTES:,} a file")

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for left in sorted(folder.rglob("*")):
        below = left.relative_to(folder)
        is_pushed = left.suffix in _PUSHED and below.parts[0] not in _RESULTS and not below.parts[0].startswith(".")
        if is_pushed and below.as_posix() not in texts:
            left.unlink()
    _write_json(folder / "config.json", known | config)
    _write_json(folder.parent / "lean.json", lean_json)
    return Workspace(folder, sizes, bool(lean_json.get("job-organization-id") or lean_json.get("organization-id")))


def _same_project(known: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """By the number that the lean CLI gives every project."""
    return "local-id" in known and known["local-id"] == config.get("local-id")


def _read(root: Path, source: str) -> Iterator[tuple[str, str]]:
    """Every file of a source: its path below the project, and its text."""
    path = root / source
    if path.is_dir():
        # A package's __main__ is for the command line, which the cloud does not have.
        paths = [p for p in sorted(path.rglob("*.py")) if p.name != "__main__.py"]
    elif path.is_file() and path.suffix in _PUSHED:
        paths = [path]
    else:
        raise HostError(f"{path} is neither a Python file, a notebook nor a package")
    for file in paths:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise HostError(f"{file} cannot be read: {error}") from None
        yield file.relative_to(root).as_posix(), text if file.suffix == ".py" else _without_outputs(file, text)


def _without_outputs(path: Path, text: str) -> str:
    try:
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None
    except (ValueError, KeyError, TypeError):
        raise HostError(f"{path} is not a notebook") from None
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _check_imports(root: Path, texts: Mapping[str, str]) -> None:
    """Every import must be found in the cloud: among the files, in Python, in LEAN or in an installed package."""
    modules = {module for name in texts if (module := _module(name))}
    for name, text in texts.items():
        for line, imported, member in _imports(name, text):
            top = imported.split(".")[0]
            if member and _exists(root, f"{imported}.{member}"):
                imported = f"{imported}.{member}"
            if _exists(root, top) and top not in sys.stdlib_module_names:
                if imported not in modules:
                    what = "is not among the files for the cloud" if _exists(root, imported) else "does not exist"
                    raise HostError(f"{name}, line {line}, imports {imported}, which {what}")
            elif top not in sys.stdlib_module_names | {"AlgorithmImports"} and importlib.util.find_spec(top) is None:
                raise HostError(f"{name}, line {line}, imports {top}, which is neither in the project nor installed")


def _imports(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Line, module and, of `from module import member`, the member."""
    package = name.split("/")[:-1]
    for code in [text] if name.endswith(".py") else _cells(text):
        try:
            tree = ast.parse(code, name, feature_version=(3, 11))
            compile(tree, name, "exec")
        except (SyntaxError, ValueError) as error:
            raise HostError(f"{name} is not Python 3.11: {error}") from None
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name, ""
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) + 1 - node.level] if node.level else []
                for alias in node.names:
                    yield node.lineno, ".".join([*above, *filter(None, [node.module])]), alias.name


def _cells(text: str) -> Iterator[str]:
    """The code of a notebook's cells; lines for IPython alone are left out."""
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            yield "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def _module(name: str) -> str:
    """The name under which a file is imported; empty for a notebook."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") if name.endswith(".py") else ""


def _exists(root: Path, module: str) -> bool:
    """Whether the project has this module or package."""
    path = root.joinpath(*module.split("."))
    return path.with_name(path.name + ".py").is_file() or any(path.glob("*.py"))


def _lean_json(project: Project, folder: Path) -> dict[str, Any]:
    """The project's lean.json with its data folder, seen from here; what was set here alone stays."""
    if project.lean_json is None:
        raise HostError(f"there is no lean.json in or above {project.folder}")
    given = {key: value for key, value in read_json(project.lean_json).items() if value != ""}
    given["data-folder"] = Path(os.path.relpath(project.data_folder(), folder)).as_posix()
    return {"job-organization-id": "", **read_json(folder / "lean.json"), **given}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
