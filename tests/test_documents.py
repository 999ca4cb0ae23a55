"""What the documents state about the project is so."""

import ast
import re
import tomllib
from xml.etree import ElementTree

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def table(title: str) -> dict[str, tuple[str, str, str]]:
    """package -> version here, version in LEAN's image, why."""
    document = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    section = document.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {package: (here, image, why) for package, here, image, why in rows[2:]}


def requirements(extra: str | None) -> dict[str, str]:
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    parts = (re.match(r"([\w.-]+)(\[.*\])?(.*)", line) for line in listed)
    return {part[1]: part[3] for part in parts if part and part[1] != PROJECT["name"]}


@pytest.mark.parametrize(("title", "extra"), [("To run", None), ("For research", "research"), ("To work on it", "dev")])
def test_every_dependency_is_in_its_table_with_its_version_and_a_reason(title, extra):
    documented = table(title)
    assert {package: here for package, (here, _, _) in documented.items()} == requirements(extra)
    assert all(why for _, _, why in documented.values())


@pytest.mark.parametrize("title", ["To run", "For research"])
def test_what_is_pinned_is_pinned_to_the_images_version(title):
    pinned = {package: (here, image) for package, (here, image, _) in table(title).items() if here.startswith("==")}
    assert len(pinned) > 3
    assert {package for package, (here, image) in pinned.items() if here != f"=={image}"} == set()


ROOMS = ("main.py", "settings.py", "indicators", "model", "minilean", "evaluation", "examples")


def rooms() -> dict[str, set[str]]:
    """Room -> the other rooms that it may import, as docs/architecture.md has them."""
    document = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)/?` \|.*\| ([^|]+) \|$", document, flags=re.MULTILINE)
    return {room: set() if allowed == "nothing" else set(allowed.split(", ")) for room, allowed in rows}


def test_every_room_is_in_the_map():
    assert set(rooms()) == set(ROOMS)
    assert all((ROOT / room).exists() for room in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_stands_in_its_row(room):
    others = {name.removesuffix(".py") for name in ROOMS} - {room.removesuffix(".py")}
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    assert files
    imported = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
        for alias in node.names
    }
    assert imported & (others | {"tests", "benchmarks"}) <= rooms()[room]


@pytest.mark.parametrize("document", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_every_link_to_a_file_leads_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_terminals_picture_is_whole_without_anything_from_elsewhere():
    picture = (ROOT / "docs" / "pictures" / "terminal.svg").read_text(encoding="utf-8")
    words = " ".join(ElementTree.fromstring(picture).itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert "$ make backtest" in words
    assert "OrderListHash" in words
    assert "@font-face" not in picture
    assert "<image" not in picture
