"""The command line, as a person uses it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from minilean.cli import main

FALLING = '''# region imports
from AlgorithmImports import *
# endregion


class Falling(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2011, 2, 1)
        self.set_end_date(2011, 3, 31)
        self.universe_settings.resolution = Resolution.DAILY
        self.settings.seed_initial_prices = True
        self._spy = self.add_equity("SPY", Resolution.DAILY).symbol
        nine = self.time_rules.at(9, 0)
        self.schedule.on(self.date_rules.on(2011, 2, 1), nine, lambda: self.set_holdings(self._spy, 1))
        self.schedule.on(self.date_rules.on(2011, 3, 1), nine, self._fall)

    def _fall(self):
        {fault}
'''


@pytest.fixture
def invoke(demo_market, tmp_path):
    def run(project, *arguments, data=demo_market):
        command = ["backtest", str(project), "--data-folder", str(data), "--output", str(tmp_path / "out")]
        return CliRunner().invoke(main, [*command, "--object-store", str(tmp_path / "store"), *map(str, arguments)])

    return run


def write_project(folder: Path, fault: str) -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(FALLING.format(fault=fault), encoding="utf-8")
    return folder


def result(tmp_path: Path, name: str = "Falling") -> dict:
    return json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))


def test_a_completed_run_prints_leans_statistics_and_leaves_its_result(invoke, tmp_path):
    run = invoke(write_project(tmp_path / "project", "self.liquidate()"))
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert lines[0].startswith("Running ")
    assert str(tmp_path / "out") in lines[0]
    assert "STATISTICS:: Total Orders 2" in lines
    assert lines[-2].startswith("STATISTICS:: OrderListHash ")
    assert result(tmp_path)["state"]["Status"] == "Completed"
    assert result(tmp_path)["statistics"]["Total Orders"] == "2"


def test_an_exception_ends_the_run_with_status_1_and_the_results_so_far(invoke, tmp_path):
    run = invoke(write_project(tmp_path / "project", 'raise ValueError("broken on purpose")'))
    assert run.exit_code == 1
    assert "Error: 2011-03-01 10:00:00 Runtime Error: broken on purpose\n  at _fall\n" in run.output
    assert "in main.py: line 18" in run.output
    assert result(tmp_path)["state"]["Status"] == "RuntimeError"
    assert len(result(tmp_path)["orders"]) == 1


def test_an_interrupt_by_the_keyboard_keeps_the_results_so_far(invoke, tmp_path):
    run = invoke(write_project(tmp_path / "project", "raise KeyboardInterrupt"))
    assert run.exit_code == 1
    assert "stopped by the keyboard" in run.output.splitlines()[-1]
    assert len(result(tmp_path)["orders"]) == 1


def test_a_call_that_only_lean_has_is_named_in_one_sentence(invoke, tmp_path):
    run = invoke(write_project(tmp_path / "project", "self.set_warm_up(10)"))
    assert run.exit_code == 1
    assert (
        "set_warm_up is part of LEAN but not of this embedded host: run `lean backtest .` instead"
        in run.output.splitlines()[-1]
    )


def test_a_name_that_nobody_has_reads_as_in_lean(invoke, tmp_path):
    run = invoke(write_project(tmp_path / "project", "self.no_such_method()"))
    assert "Runtime Error: 'Falling' object has no attribute 'no_such_method'" in run.output


def test_a_parameter_of_the_command_line_replaces_one_of_config_json_and_no_other(invoke, tmp_path):
    log = """self.log(f"{self.get_parameter('a')} {self.get_parameter('b')}")"""
    project = write_project(tmp_path / "project", log)
    (project / "config.json").write_text('{"parameters": {"a": "1", "b": "2"}}', encoding="utf-8")
    run = invoke(project, "--parameter", "b", "3")
    assert "2011-03-01 09:00:00 1 3" in run.output


def test_a_file_is_a_project_too(invoke, tmp_path):
    project = write_project(tmp_path / "project", "self.quit('enough')")
    run = invoke(project / "main.py")
    assert run.exit_code == 0
    assert "Quit(): enough" in run.output


@pytest.mark.parametrize(
    ("project", "data", "sentence"),
    [
        ("nothing", None, "is no LEAN project: there is no main.py"),
        ("project", "nowhere", "does not exist"),
        ("project", "empty", "is no LEAN data folder"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(invoke, tmp_path, demo_market, project, data, sentence):
    write_project(tmp_path / "project", "pass")
    (tmp_path / "empty").mkdir()
    run = invoke(tmp_path / project, data=tmp_path / data if data else demo_market)
    assert run.exit_code == 1
    assert sentence in run.output
    assert run.output.startswith("Error: ")
    assert len(run.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_a_data_folder_in_lean_json_the_remedy_is_named(tmp_path):
    project = write_project(tmp_path / "project", "pass")
    run = CliRunner().invoke(main, ["backtest", str(project)])
    assert run.exit_code == 1
    assert "name a data folder with --data-folder" in run.output


def test_a_main_py_that_does_not_compile_is_reported_with_its_line(invoke, tmp_path):
    project = write_project(tmp_path / "project", "return return")
    run = invoke(project)
    assert run.exit_code == 1
    assert "main.py cannot be imported" in run.output
    assert "line 18" in run.output


def test_a_period_before_the_first_bar_is_refused_with_the_period_there_is(invoke, tmp_path):
    project = write_project(tmp_path / "project", "pass")
    source = (project / "main.py").read_text().replace("2011, 2, 1", "2005, 2, 1").replace("2011, 3, 31", "2005, 3, 31")
    (project / "main.py").write_text(source)
    run = invoke(project)
    assert run.exit_code == 1
    assert "has no SPY bars from 2005-02-01 to 2005-03-31: they go from 2010-01-04 to 2011-12-30" in run.output


def test_a_period_that_begins_before_the_first_bar_runs_and_says_so(invoke, tmp_path):
    project = write_project(tmp_path / "project", "pass")
    (project / "main.py").write_text((project / "main.py").read_text().replace("date(2011, 2, 1)", "date(2009, 12, 1)"))
    run = invoke(project)
    assert run.exit_code == 0
    assert "the first SPY bar is of 2010-01-04: nothing can be traded before" in run.output


def test_the_demo_market_is_written_once_and_then_left_alone(tmp_path):
    folder = tmp_path / "market"
    first = CliRunner().invoke(main, ["data", "demo", str(folder)])
    assert first.exit_code == 0
    assert "is written to" in first.output
    second = CliRunner().invoke(main, ["data", "demo", str(folder)])
    assert "is already in" in second.output
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    third = CliRunner().invoke(main, ["data", "demo", str(tmp_path / "other")])
    assert third.exit_code == 1
    assert third.output.startswith("Error: ")


def test_a_data_folder_is_checked_before_anyone_waits_for_a_backtest(demo_market, tmp_path):
    whole = CliRunner().invoke(main, ["data", "check", str(demo_market)])
    assert whole.exit_code == 0, whole.output
    assert "No problems found." in whole.output
    broken = tmp_path / "broken"
    shutil.copytree(demo_market, broken)
    (broken / "equity" / "usa" / "daily" / "spy.zip").write_bytes(b"PK")
    found = CliRunner().invoke(main, ["data", "check", str(broken)])
    assert found.exit_code == 1
    assert "spy.zip" in found.output
    nothing = CliRunner().invoke(main, ["data", "check", str(tmp_path / "nowhere")])
    assert nothing.exit_code == 1
    assert nothing.output.startswith("Error: ")


def test_the_module_runs_as_a_program():
    run = subprocess.run([sys.executable, "-m", "minilean", "--help"], capture_output=True, text=True, check=True)
    assert "backtest" in run.stdout


def test_the_host_knows_nothing_of_the_strategy():
    source = Path(__file__).parents[2] / "minilean"
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for room in ("settings", "indicators", "model", "evaluation"):
            assert f"import {room}" not in text
            assert f"from {room}" not in text, path
