"""`python -m evaluation ladder` and `sweep`: what they say, leave behind and refuse."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from evaluation import ladder as rungs
from evaluation import runs as module
from evaluation.__main__ import main
from evaluation.ladder import EQUAL, Rung
from evaluation.runs import RunFailed
from tests.conftest import SMALL

SHORT = SMALL | {"start": "2011-01-03", "end": "2011-03-31"}
COMMON = [part for name, value in SHORT.items() if name != "backbone" for part in ("--parameter", name, value)]


@pytest.fixture(autouse=True)
def _two_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = Rung("linear softmax", "Online learners", {"allocator": "linear"})
    monkeypatch.setattr(rungs, "RUNGS", (Rung(EQUAL, "Rules", {"allocator": "equal"}), linear))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the command sets it otherwise, and it would stay


@pytest.fixture
def invoke(tmp_path: Path, demo_market: Path) -> Callable[..., Result]:
    def run(command: str, *arguments: str) -> Result:
        places = ["--data-folder", str(demo_market), "--output", str(tmp_path / "out"), "--workers", "1"]
        return CliRunner().invoke(main, [command, *places, *COMMON, *arguments])

    return run


@pytest.fixture
def backtests(monkeypatch: pytest.MonkeyPatch, host_file: Path) -> list[dict[str, str]]:
    """The parameters of each backtest, which takes no time; one with eta = 7 fails, with eta = 8 is interrupted."""
    content = json.loads(host_file.read_text())
    made: list[dict[str, str]] = []

    def instantly(data: str, parameters: dict[str, str]) -> str:
        if parameters.get("eta") == "7":
            raise RunFailed("2011-01-03 10:00:00 Runtime Error: [no] memory")
        if parameters.get("eta") == "8" and made:
            raise KeyboardInterrupt
        made.append(dict(parameters))
        content["algorithmConfiguration"]["parameters"] = {"allocator": "t5"} | made[-1]
        return json.dumps(content)

    monkeypatch.setattr(module, "backtest", instantly)
    return made


def refusal(outcome: Result) -> str:
    """The one sentence on which a command ended."""
    assert outcome.exit_code == 1 and isinstance(outcome.exception, SystemExit), outcome.output
    text = str(outcome.exception)
    assert "\n" not in text
    return text


def test_a_ladder_says_what_it_does_leaves_page_and_json_and_goes_on_where_it_stopped(invoke, tmp_path):
    first = invoke("ladder", "--picture", str(tmp_path / "ladder.svg"))
    assert first.exit_code == 0, first.output
    head, *lines = first.output.splitlines()
    assert re.fullmatch(r"2 rungs, 2 runs on \S+, 2 of them to be made, 1 at a time; results go to \S+out", head)
    assert lines[0].split()[:2] == ["Rung", "CAGR,"] and lines[1].startswith("SPY")
    assert any(line.startswith("Of all learners linear softmax had the largest") for line in lines)
    folder = tmp_path / "out"
    assert (folder / "ladder.html").read_text().startswith("<!doctype html>")
    assert ElementTree.fromstring((tmp_path / "ladder.svg").read_text()).tag.endswith("svg")
    text = (folder / "ladder.json").read_text()
    content = json.loads(text)
    assert [row["title"] for row in content["rows"]] == ["SPY", EQUAL, "linear softmax"]
    assert (content["first"], content["last"]) == ("2011-01-04", "2011-03-31")
    assert all(sentence in lines for sentence in content["words"])
    assert len(list((folder / "runs").glob("*.json"))) == 2
    again = invoke("ladder")
    assert "2 runs" in again.output and "0 of them to be made" in again.output
    assert (folder / "ladder.json").read_text() == text


def test_a_sweep_runs_every_combination_with_every_seed(invoke, backtests, tmp_path):
    outcome = invoke("sweep", "--over", "eta", "0, 0.1", "--over", "entropy", "off,diversify", "--seeds", "3")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.startswith("4 rungs, 12 runs on ")
    assert {(made["eta"], made["entropy"], made["seed"]) for made in backtests} == {
        (eta, entropy, seed) for eta in ("0", "0.1") for entropy in ("off", "diversify") for seed in "123"
    }
    content = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [row["title"] for row in content["rows"][1:]] == [
        f"eta {eta}, entropy {entropy}" for eta in ("0", "0.1") for entropy in ("off", "diversify")
    ]
    assert content["rows"][1]["figures"]["sharpe"]["seeds"] == 3
    assert any("best of the 12 trials in the ledger" in sentence for sentence in content["words"])


def test_the_ladder_of_a_backbone_has_the_language_model_on_top(invoke, backtests):
    outcome = invoke("ladder", "--backbone", "amazon/chronos-t5-small", "--seeds", "2")
    assert outcome.exit_code == 0, outcome.output
    assert [made["backbone"] for made in backtests if "backbone" in made] == 2 * ["amazon/chronos-t5-small"]
    assert "\namazon/chronos-t5-small with LoRA" in outcome.output


def test_failed_runs_are_named_and_the_others_are_judged(invoke, backtests, tmp_path):
    outcome = invoke("sweep", "--over", "eta", "7,0.1", "--seeds", "2")
    assert outcome.exit_code == 0, outcome.output
    assert "eta 7, seed 2 failed: 2011-01-03 10:00:00 Runtime Error: [no] memory\n" in outcome.output
    assert re.search(r"^eta 7 +failed *$", outcome.output, re.MULTILINE)
    content = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert content["rows"][1]["failures"] == 2 * ["2011-01-03 10:00:00 Runtime Error: [no] memory"]


def test_where_all_runs_fail_nothing_is_written(invoke, backtests, tmp_path):
    outcome = invoke("sweep", "--over", "eta", "7", "--seeds", "2")
    assert refusal(outcome) == ("Error: no rung was run to its end: 2011-01-03 10:00:00 Runtime Error: [no] memory")
    assert not (tmp_path / "out" / "sweep.json").exists()


def test_the_keyboard_stops_it_and_says_what_is_kept(invoke, backtests):
    outcome = invoke("sweep", "--over", "eta", "8", "--seeds", "3")
    assert refusal(outcome) == "Stopped by the keyboard: finished runs are kept, and the same command goes on."
    backtests.clear()
    assert "3 runs" in (again := invoke("sweep", "--over", "eta", "8", "--seeds", "3")).output
    assert "2 of them to be made" in again.output


def test_progress_and_the_time_left_are_told_in_a_log_too(invoke, backtests, monkeypatch):
    from evaluation import __main__ as commands

    monkeypatch.setattr(commands._Progress, "_SECONDS", 0)
    lines = invoke("sweep", "--over", "eta", "0,1", "--seeds", "2").output.splitlines()
    assert [line.partition(", about ")[0] for line in lines[1:5]] == [f"{i} of 4 runs done" for i in range(1, 5)]
    assert all(re.search(r", about \d:\d\d:\d\d left$", line) for line in lines[1:5])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ladder", "--parameter", "seed", "3"), "seed cannot be set here: use --seeds"),
        (("ladder", "--parameter", "allocator", "eg"), "allocator cannot be set here: each rung has its own"),
        (("ladder", "--parameter", "backbone", "tiny-random"), "backbone cannot be set here: use --backbone"),
        (("ladder", "--parameter", "eta", "much"), "eta = 'much' is not a number"),
        (("sweep", "--over", "seed", "1,2"), "seed cannot be set here: use --seeds"),
        (("sweep", "--over", "eta", ""), "--over eta : name each parameter once, and each value once"),
        (("sweep", "--over", "eta", "1,,2"), "--over eta 1,,2: name each parameter once, and each value once"),
        (("sweep", "--over", "eta", "1,1"), "--over eta 1,1: name each parameter once, and each value once"),
        (("sweep", "--over", "eta", "1", "--over", "eta", "2"), "--over eta 2: name each parameter once"),
        (("sweep", "--over", "etha", "1,2"), "unknown parameter 'etha': did you mean 'eta'?"),
        (("sweep", "--over", "eta", "1,-2"), "eta = -2 is out of range: it must be at least 0"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(invoke, backtests, arguments, words):
    assert refusal(invoke(*arguments)).startswith(f"Error: {words}")
    assert not backtests


def test_a_folder_without_data_is_refused_in_one_sentence(tmp_path):
    arguments = ["ladder", "--data-folder", str(tmp_path), "--output", str(tmp_path / "out")]
    assert "is no LEAN data folder" in refusal(CliRunner().invoke(main, arguments))
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_output_folder_is_refused(invoke, backtests, tmp_path):
    (tmp_path / "out").write_text("")
    outcome = invoke("ladder")
    assert outcome.exit_code == 2 and "is a file" in outcome.output
    (tmp_path / "out").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs").write_text("")
    assert refusal(invoke("ladder")) == f"Error: {tmp_path / 'out' / 'runs'}: File exists"


def test_a_full_disk_ends_it_in_one_sentence(invoke, backtests, monkeypatch):
    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    assert re.fullmatch(r"Error: \S+: No space left on device", refusal(invoke("ladder")))


def test_a_sweep_needs_something_to_vary(tmp_path):
    outcome = CliRunner().invoke(main, ["sweep", "--data-folder", str(tmp_path)])
    assert outcome.exit_code == 2 and "Missing option '--over'" in outcome.output
