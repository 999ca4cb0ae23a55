"""Runs are made once, kept under the digest of all that they depend on, counted in the ledger, and the same on Ray."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import model
from evaluation import runs as module
from evaluation.result import Result, read_result
from evaluation.runs import Job, RunFailed, Runs, backtest
from evaluation.tearsheet import tear_sheet
from tests.conftest import ROOT, SMALL

EQUAL = Job("equal weights", {"allocator": "equal"})
TWO_MONTHS = {"start": "2011-01-03", "end": "2011-02-28"}  # of the demo market, whose first constituents are 2010's


@pytest.fixture
def data(parity_market: Path, tmp_path: Path) -> Path:
    """A data folder to change."""
    return Path(shutil.copytree(parity_market, tmp_path / "data"))


@pytest.fixture
def text_of(host_file: Path) -> Callable[..., str]:
    """What a backtest with these parameters leaves, without one being made."""
    content = json.loads(host_file.read_text())

    def text(parameters: dict[str, str]) -> str:
        content["algorithmConfiguration"]["parameters"] = {"allocator": "t5"} | dict(parameters)
        return json.dumps(content)

    return text


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, text_of: Callable[..., str]) -> list[dict[str, str]]:
    """The parameters of the backtests made, none of which takes any time."""
    found: list[dict[str, str]] = []

    def instantly(data: str, parameters: dict[str, str]) -> str:
        found.append(dict(parameters))
        return text_of(parameters)

    monkeypatch.setattr(module, "backtest", instantly)
    return found


def seeds(count: int) -> list[Job]:
    return [Job(f"seed {i}", {"seed": str(i)}) for i in range(1, count + 1)]


# --- the digest


def test_the_data_make_another_run_and_their_place_does_not(data, made, tmp_path):
    kept = tmp_path / "runs"
    list(Runs(kept, data).make([EQUAL]))
    for neighbour in ("equity/usa/minute/spy/20130603_trade.zip", "ABOUT.txt", "equity/usa/daily/__pycache__/x.pyc"):
        (data / neighbour).parent.mkdir(parents=True, exist_ok=True)
        (data / neighbour).write_text("never read")
    (tmp_path / "link").symlink_to(data)
    elsewhere = Path(shutil.copytree(data, tmp_path / "elsewhere"))
    (tmp_path / "patchwork" / "equity").mkdir(parents=True)
    for part in ("alternative", "market-hours", "equity/usa"):
        (tmp_path / "patchwork" / part).symlink_to(data / part)
    for same in (data, elsewhere, tmp_path / "link", tmp_path / "patchwork"):
        assert Runs(kept, same).missing([EQUAL]) == 0, same
    for part in ("daily/alfa.zip", "factor_files", "map_files", "universes", "hour"):
        changed = Path(shutil.copytree(elsewhere, tmp_path / "changed"))
        path = changed / "equity" / "usa" / part
        path.mkdir(parents=True, exist_ok=True) if not path.suffix else None
        file = path if path.suffix else path / "new.csv"
        file.write_bytes(b"other" + (file.read_bytes() if file.exists() else b""))
        assert Runs(kept, changed).missing([EQUAL]) == 1, part
        shutil.rmtree(changed)


def test_a_file_that_is_only_renamed_is_another_market(data, made, tmp_path):
    list(Runs(tmp_path / "runs", data).make([EQUAL]))
    daily = data / "equity" / "usa" / "daily"
    (daily / "alfa.zip").rename(daily / "alfb.zip")
    assert Runs(tmp_path / "runs", data).missing([EQUAL]) == 1


def test_the_code_makes_another_run_and_what_never_runs_does_not(data, made, tmp_path, monkeypatch):
    project = tmp_path / "project"
    for name in ("main.py", "config.json", "settings.py", "README.md"):
        project.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, project)
    for name in ("indicators", "model", "minilean", "evaluation"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "ROOT", project)

    def missing() -> int:
        return Runs(tmp_path / "runs", data).missing([EQUAL])

    list(Runs(tmp_path / "runs", data).make([EQUAL]))
    for name in ("README.md", "evaluation/ladder.py", "model/__pycache__/policy.pyc"):
        (project / name).parent.mkdir(exist_ok=True)
        with (project / name).open("a") as file:
            file.write("\n")
        assert missing() == 0, name
    for name in ("main.py", "settings.py", "indicators/panel.py", "model/linear.py", "minilean/results/recorder.py"):
        before = (project / name).read_text()
        (project / name).write_text(before + "\n")
        assert missing() == 1, name
        (project / name).write_text(before)
        assert missing() == 0
    config = (project / "config.json").read_text()
    (project / "config.json").write_text(config.replace('"eta": "0.01"', '"eta": "0.02"'))
    assert missing() == 1
    (project / "config.json").write_text(config.replace("Online-learning", "Other words about"))
    assert missing() == 0
    monkeypatch.setattr(module, "version", lambda package: "9.9")
    assert missing() == 1


def test_settings_make_another_run_and_the_way_they_are_written_does_not(data, made, tmp_path):
    runs = Runs(tmp_path / "runs", data)
    list(runs.make([EQUAL]))
    assert runs.missing([Job("other name", {"eta": "0.010", "allocator": "equal", "prior": ""})]) == 0
    for name, value in {"eta": "0.011", "allocator": "cap", "seed": "2", "end": "2019-12-30"}.items():
        assert runs.missing([Job("equal weights", {**EQUAL.parameters, name: value})]) == 1, name


def test_the_weights_in_a_folder_are_part_of_the_run(data, made, tmp_path):
    contents = {"first": b"1", "same": b"1", "second": b"2"}
    for name, content in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    runs = Runs(tmp_path / "runs", data)
    list(runs.make([Job("weights", {"backbone": str(tmp_path / "first")})]))
    assert runs.missing([Job("weights", {"backbone": str(tmp_path / "first")})]) == 0
    (tmp_path / "first" / "model.safetensors").write_bytes(b"2")
    module._weights_digest.cache_clear()  # within one process weights are read once
    assert runs.missing([Job("weights", {"backbone": str(tmp_path / "first")})]) == 1


# --- made once


def test_an_interrupted_set_of_runs_goes_on_where_it_stopped_and_makes_none_twice(data, made, tmp_path, monkeypatch):
    jobs, finished = seeds(6), []
    with pytest.raises(KeyboardInterrupt):
        for job, _ in Runs(tmp_path / "runs", data).make(jobs):
            finished.append(job)
            if len(finished) == 3:
                raise KeyboardInterrupt
    runs = Runs(tmp_path / "runs", data)
    assert runs.missing(jobs) == 3
    assert [job for job, _ in runs.make(jobs)] == jobs
    assert sorted(parameters["seed"] for parameters in made) == [job.parameters["seed"] for job in jobs]
    assert runs.trials.count == 6


def test_jobs_that_come_to_the_same_settings_are_one_run(data, made, tmp_path):
    jobs = [*seeds(2), Job("seed 1 in other words", {"seed": "1", "eta": "0.010"})]
    runs = Runs(tmp_path / "runs", data)
    assert runs.missing(jobs) == 2
    assert {job.name for job, result in runs.make(jobs) if isinstance(result, Result)} == {job.name for job in jobs}
    assert len(made) == 2 and runs.trials.count == 2


def test_a_run_that_failed_is_reported_not_kept_and_made_again(data, made, tmp_path, monkeypatch):
    def fail(data: str, parameters: dict[str, str]) -> str:
        raise RunFailed("no memory")

    runs = Runs(tmp_path / "runs", data)
    with monkeypatch.context() as broken:
        broken.setattr(module, "backtest", fail)
        ((job, outcome),) = runs.make([EQUAL])
    assert (job, str(outcome)) == (EQUAL, "no memory") and isinstance(outcome, RunFailed)
    assert runs.missing([EQUAL]) == 1 and runs.trials.count == 0
    ((_, outcome),) = runs.make([EQUAL])
    assert isinstance(outcome, Result)


def test_a_kept_run_is_in_the_ledger_exactly_once(data, made, tmp_path, monkeypatch):
    """Also where the machine stops between the two."""
    runs = Runs(tmp_path / "runs", data)
    with monkeypatch.context() as full:
        full.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            list(runs.make([EQUAL]))
    assert runs.missing([EQUAL]) == 1
    for _ in range(3):
        list(Runs(tmp_path / "runs", data).make([EQUAL, *seeds(2)]))
    (trial, *others), _ = runs._ledger.read()
    assert len(others) == 2
    assert (tmp_path / "runs" / f"{trial.run}.json").is_file()
    assert {trial.allocator for trial in others} == {"t5"} and trial.allocator == "equal"


def test_runs_on_other_data_are_no_trials_here(data, made, tmp_path):
    list(Runs(tmp_path / "runs", data).make(seeds(2)))
    (data / "equity" / "usa" / "daily" / "new.zip").write_bytes(b"")
    runs = Runs(tmp_path / "runs", data)
    list(runs.make(seeds(3)))
    assert runs.trials.count == 3 and len(made) == 5


def test_a_spoilt_file_is_made_anew(data, made, tmp_path):
    runs = Runs(tmp_path / "runs", data)
    list(runs.make([EQUAL]))
    (path,) = (tmp_path / "runs").glob("*.json")
    whole = path.read_text()
    path.write_text(whole[:1000])
    list(runs.make([EQUAL]))
    assert path.read_text() == whole and len(made) == 2


# --- what cannot be run


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_data_is_refused_before_anything_is_written(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFailed, match=r"data folder .* \(there is no equity/usa in it\): name another"):
        Runs(tmp_path / "runs", tmp_path / name)
    assert not (tmp_path / "runs").exists()


def test_parameters_that_cannot_be_used_are_refused_before_the_first_run(data, made, tmp_path):
    jobs = [EQUAL, Job("typing error", {"learnig_rate": "1"})]
    with pytest.raises(RunFailed, match="unknown parameter 'learnig_rate': did you mean 'learning_rate'"):
        list(Runs(tmp_path / "runs", data).make(jobs))
    assert not made


# --- on the host


def test_a_backtest_leaves_a_light_result_that_a_tear_sheet_can_be_made_of(demo_market, tmp_path):
    text = backtest(str(demo_market), SMALL | TWO_MONTHS | {"allocator": "equal"})
    assert len(text) < 100_000
    (tmp_path / "run.json").write_text(text)
    result = read_result(tmp_path / "run.json")
    assert result.status == "Completed" and result.parameters["allocator"] == "equal"
    assert len(result.samples) > 50 and result.samples["exposure"].iloc[-1] > 0.9
    assert "2011" in tear_sheet(result)


def test_a_failure_is_one_line(demo_market):
    with pytest.raises(RunFailed, match=r"^2011-01-03 .* backbone 'nowhere' is neither") as caught:
        backtest(str(demo_market), SMALL | TWO_MONTHS | {"backbone": "nowhere"})
    assert "\n" not in str(caught.value)
    with pytest.raises(RunFailed, match=r"^[^\n]*has no SPY bars from 2031-01-01 to 2031-02-28[^\n]*$"):
        backtest(str(demo_market), SMALL | {"start": "2031-01-01", "end": "2031-02-28"})


def test_the_keyboard_interrupts_all_runs_not_the_one_alone(demo_market, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "make_allocator", interrupt)
    with pytest.raises(KeyboardInterrupt):
        backtest(str(demo_market), SMALL | TWO_MONTHS)


def test_seeds_that_follow_each_other_share_one_frozen_backbone(demo_market, monkeypatch):
    from model import backbone

    read = []
    checked = backbone._checked
    monkeypatch.setattr(backbone, "_checked", lambda *arguments: (read.append(arguments[1]), checked(*arguments))[1])
    monkeypatch.setattr(module, "_kept", None)
    texts, counts = [], []
    for seed in ("1", "2"):
        texts.append(backtest(str(demo_market), SMALL | TWO_MONTHS | {"seed": seed}))
        counts.append(len(read))
    assert counts[0] > 10 and counts[1] == counts[0]
    assert texts[0] != texts[1]


# --- on Ray


@pytest.mark.slow
def test_two_workers_on_ray_leave_the_same_bytes_as_one_process(demo_market, tmp_path):
    names = {name: value for name, value in (SMALL | TWO_MONTHS).items() if name != "backbone"}
    parameters = [part for pair in names.items() for part in ("--parameter", *pair)]
    kept = []
    for workers in ("1", "2"):
        output = tmp_path / workers
        over = ["--over", "allocator", "equal,linear", "--over", "entropy", "off,diversify", "--seeds", "2"]
        command = [sys.executable, "-m", "evaluation", "sweep", "--data-folder", str(demo_market)]
        command += [
            "--output",
            str(output),
            "--workers",
            workers,
            *parameters,
            "--parameter",
            "backbone",
            "tiny-random",
        ]
        done = subprocess.run([*command, *over], cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        files = sorted(output.rglob("*.json"))
        kept.append({str(path.relative_to(output)): path.read_bytes() for path in files})
    assert len(kept[0]) == 9 and kept[0] == kept[1]


@pytest.mark.slow
def test_a_worker_that_dies_is_tried_again_and_given_up_in_the_end(data, text_of, tmp_path, monkeypatch):
    def mortal(data: str, parameters: dict[str, str]) -> str:
        deaths = tmp_path / parameters["seed"]
        deaths.write_text(deaths.read_text() + "x" if deaths.exists() else "x")
        if parameters["seed"] == "1" or (parameters["seed"] == "2" and len(deaths.read_text()) < 3):
            os._exit(1)
        return text_of(parameters)

    monkeypatch.setattr(module, "_attempt", mortal)
    runs = Runs(tmp_path / "runs", data)
    outcomes = {job.name: outcome for job, outcome in runs.make(seeds(3), workers=2)}
    assert str(outcomes["seed 1"]).startswith("its worker died 4 times: ")
    assert isinstance(outcomes["seed 1"], RunFailed) and "\n" not in str(outcomes["seed 1"])
    assert isinstance(outcomes["seed 2"], Result) and isinstance(outcomes["seed 3"], Result)
    assert [len((tmp_path / seed).read_text()) for seed in "123"] == [4, 3, 1]
    assert runs.missing(seeds(3)) == 1 and runs.trials.count == 2
    with pytest.raises(RunFailed, match=r"Ray finds no 1000 GPU here"):
        list(runs.make(seeds(3), workers=2, gpus=1000))
    with pytest.raises(RunFailed, match=r"^Ray does not answer at 127.0.0.1:1 \([^\n]*\)$"):
        list(runs.make(seeds(3), address="127.0.0.1:1"))
