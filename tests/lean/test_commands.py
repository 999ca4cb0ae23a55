"""Every `lean` command in the documents is one that the real CLI understands."""

import json
import re
import shlex

import pytest

from tests.conftest import ROOT
from tests.lean.conftest import run_python

DOCUMENTS = ("lean.md", "data.md")

PARSE = """
import json, sys
from lean.commands import lean

for line in json.load(sys.stdin):
    command, name, rest = lean, "lean", line[1:]
    context = lean.make_context(name, list(rest), resilient_parsing=True)
    while hasattr(command, "get_command"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"{' '.join(line)}: there is no {rest[0]}"
        command, rest = found, rest[1:]
    parsed = command.make_context(command.name, list(rest), parent=context)
    print(json.dumps([line, {key: str(value) for key, value in parsed.params.items()}]))
"""


def commands(name: str) -> list[list[str]]:
    """The lines of a document's code blocks that start with lean."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^ {4}(lean .*(?:\n {6,}.*)*)", text, flags=re.MULTILINE)
    return [shlex.split(block.replace("\\\n", " ")) for block in blocks]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_cli_parses_every_documented_command(lean_package, project, tmp_path, document):
    (project / "OnlinePortfolio").mkdir()
    written = commands(document)
    assert len(written) >= 5
    done = run_python(lean_package, tmp_path / "home", "-c", PARSE, cwd=project, stdin=json.dumps(written))
    assert done.returncode == 0, done.stderr
    parsed = {tuple(line): params for line, params in map(json.loads, done.stdout.splitlines())}
    assert set(parsed) == set(map(tuple, written))


def test_the_documented_optimization_varies_numbers_that_are_settings(lean_package, project, tmp_path):
    from settings import Settings

    (command,) = [command for command in commands("lean.md") if command[1] == "optimize"]
    names = [command[i + 1] for i, word in enumerate(command) if word == "--parameter"]
    assert names == ["eta", "seed"]
    assert set(names) <= set(Settings().as_parameters())
