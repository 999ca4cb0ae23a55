"""A LEAN project on disk: its files, its parameters, its class, and what is said where one is missing or broken."""

import sys
from pathlib import Path

import pytest

from minilean.errors import AlgorithmError, HostError, NotInHost
from minilean.project import Project

MAIN = """from AlgorithmImports import *


class {name}(QCAlgorithm):
    pass
"""


@pytest.fixture(autouse=True)
def no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a project imports it as `main` from its own folder; the next test starts without."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "main", None)
    monkeypatch.setitem(sys.modules, "AlgorithmImports", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text(MAIN.format(name="Mine"))
    return project


# --- where it is


def test_a_project_is_a_folder_with_a_main_py_or_the_file_itself(folder):
    for path in (folder, folder / "main.py"):
        project = Project(path, {})
        assert (project.main, project.folder) == (folder / "main.py", folder)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_path_without_a_main_py_is_named(tmp_path, name):
    with pytest.raises(HostError, match=r"is no LEAN project: there is no main\.py"):
        Project(tmp_path / name, {})


# --- parameters


def test_parameters_are_texts_and_are_overridden_key_by_key(folder):
    (folder / "config.json").write_text('{"parameters": {"a": "1", "b": 2, "c": "3"}}')
    assert Project(folder, {"b": "20", "d": "4"}).parameters == {"a": "1", "b": "20", "c": "3", "d": "4"}


@pytest.mark.parametrize("content", [None, "{}", '{"parameters": null}', '{"parameters": {}}'])
def test_a_project_may_have_no_parameters(folder, content):
    if content:
        (folder / "config.json").write_text(content)
    assert Project(folder, {"a": "1"}).parameters == {"a": "1"}


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"parameters": {"a": "1"}', "[" * 100_000, "\x00"])
def test_a_config_that_is_no_json_object_is_refused_by_name(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(HostError, match=r"config\.json is not (readable JSON|a JSON object)"):
        Project(folder, {})


def test_a_config_in_another_encoding_is_refused_by_name(folder):
    (folder / "config.json").write_bytes('{"parameters": {"a": "ä"}}'.encode("latin-1"))
    with pytest.raises(HostError, match=r"config\.json is not readable JSON"):
        Project(folder, {})


@pytest.mark.parametrize("content", ['{"parameters": ["a"]}', '{"parameters": "a"}'])
def test_parameters_that_are_no_object_are_refused_by_name(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(HostError, match=r"config\.json: parameters is not an object"):
        Project(folder, {})


def test_a_byte_order_mark_is_no_obstacle(folder):
    (folder / "config.json").write_text('\ufeff{"parameters": {"a": "1"}}', encoding="utf-8")
    assert Project(folder, {}).parameters == {"a": "1"}


# --- lean.json


def test_the_nearest_lean_json_above_names_the_data_folder(folder, tmp_path):
    (tmp_path / "lean.json").write_text('{"data-folder": "far"}')
    assert Project(folder, {}).data_folder() == tmp_path / "far"
    (folder / "lean.json").write_text('{"data-folder": "near"}')
    assert Project(folder, {}).data_folder() == folder / "near"
    assert Project(folder, {}).storage_folder() == folder / "storage"


def test_an_absolute_data_folder_stays_absolute(folder, tmp_path):
    (folder / "lean.json").write_text(f'{{"data-folder": "{tmp_path / "data"}"}}')
    assert Project(folder, {}).data_folder() == tmp_path / "data"


def test_comments_in_lean_json_are_read_past(folder):
    (folder / "lean.json").write_text(
        '// where data is\n{"organization-id": "", /* "data-folder": "a" */\n"data-folder": "b//c" // d\n}'
    )
    assert Project(folder, {}).data_folder() == folder / "b//c"


def test_without_a_lean_json_the_storage_is_in_the_project_and_the_data_must_be_named(folder):
    project = Project(folder, {})
    assert project.storage_folder() == folder / "storage"
    with pytest.raises(HostError, match=r"there is no lean\.json in or above .* --data-folder"):
        project.data_folder()


@pytest.mark.parametrize("content", ["{}", '{"data-folder": ""}', '{"data-folder": 7}'])
def test_a_lean_json_without_a_data_folder_is_named(folder, content):
    (folder / "lean.json").write_text(content)
    with pytest.raises(HostError, match=r"lean\.json has no data-folder"):
        Project(folder, {}).data_folder()


def test_a_broken_lean_json_is_named(folder):
    (folder / "lean.json").write_text("{")
    with pytest.raises(HostError, match=r"lean\.json is not readable JSON"):
        Project(folder, {}).data_folder()


# --- its class


def test_the_algorithm_class_is_found_by_itself(folder):
    kind = Project(folder, {}).load()
    assert (kind.__name__, kind.__module__) == ("Mine", "main")


def test_of_several_classes_the_last_by_name_is_taken(folder):
    (folder / "main.py").write_text(MAIN.format(name="Zeta") + "\n\nclass Alpha(QCAlgorithm):\n    pass\n")
    assert Project(folder, {}).load().__name__ == "Zeta"


def test_a_class_from_elsewhere_is_not_taken(folder):
    (folder / "base_of_mine.py").write_text(MAIN.format(name="Zero"))
    (folder / "main.py").write_text("from base_of_mine import Zero\n\n\nclass Mine(Zero):\n    pass\n")
    assert Project(folder, {}).load().__name__ == "Mine"


@pytest.mark.parametrize("content", ["", "class Mine:\n    pass\n", "from AlgorithmImports import *\n"])
def test_a_main_py_without_an_algorithm_is_named(folder, content):
    (folder / "main.py").write_text(content)
    with pytest.raises(HostError, match=r"main\.py has no class that extends QCAlgorithm"):
        Project(folder, {}).load()


def test_an_exception_while_importing_has_leans_text_with_the_line(folder):
    (folder / "main.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(AlgorithmError) as caught:
        Project(folder, {}).load()
    assert caught.value.text == "division by zero\n  at <module>\n    y = x / 0\n        ~~^~~\n in main.py: line 2\n"


def test_a_main_py_that_does_not_compile_names_the_line(folder):
    (folder / "main.py").write_text("def f(:\n    pass\n")
    with pytest.raises(AlgorithmError, match="line 1"):
        Project(folder, {}).load()


def test_a_class_that_only_lean_has_is_named(folder):
    (folder / "main.py").write_text("from AlgorithmImports import *\n\nx = RelativeStrengthIndex(14)\n")
    with pytest.raises(NotInHost, match="RelativeStrengthIndex is part of LEAN but not of this embedded host"):
        Project(folder, {}).load()


def test_packages_beside_main_py_can_be_imported(folder):
    (folder / "beside").mkdir()
    (folder / "beside" / "__init__.py").write_text("NAME = 'Mine'\n")
    (folder / "main.py").write_text("from beside import NAME\n" + MAIN.format(name="Mine") + "    name = NAME\n")
    assert Project(folder, {}).load().name == "Mine"
