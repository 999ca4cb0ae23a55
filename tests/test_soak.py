"""The short soak; `make soak` is the long one."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, SMALL
from tests.soak import POINTS


def soak(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.soak", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_a_year_of_kills_and_faults_ends_bit_identical_to_the_quiet_one(demo_market, tmp_path):
    small = [word for name in ("n_stocks", "n_indicators") for word in ("--parameter", name, SMALL[name])]
    data = ["--begin", "2011-01-01", "--data", demo_market]
    done = soak("--months", 12, *data, "--folder", tmp_path / "soak", *small)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (said["months"], said["kills"]) == ("12", "12")
    hashes = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("final parameters")]
    assert len(hashes) == 2
    assert len(set(hashes)) == 1
    assert done.stdout.endswith("the same to the bit\n")
    killed = (tmp_path / "soak" / "killed" / "kills").read_text().splitlines()
    assert [moment[:7] for moment in sorted(killed)] == [f"2011-{month:02d}" for month in range(1, 13)]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["eg", "ons"])
def test_a_rule_that_learns_is_killed_while_it_learns_and_ends_bit_identical_too(rule, demo_market):
    parameters = [word for pair in {**SMALL, "allocator": rule}.items() for word in ("--parameter", *pair)]
    done = soak("--months", 4, "--seed", 12, "--begin", "2011-01-01", "--data", demo_market, *parameters)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "while learning 1" in done.stdout
    assert done.stdout.endswith("the same to the bit\n")


def test_a_period_that_the_data_does_not_have_is_refused_with_a_sentence(demo_market):
    done = soak("--months", 99, "--begin", "2011-01-01", "--data", demo_market)
    assert done.returncode == 1
    assert "has 12 months from 2011-01-01 on, not 99: lower --months" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_point_of_a_month_is_among_those_at_which_a_run_is_killed():
    phases = ("deciding", "ordering", "learning", "saving the decision", "saving the orders", "saving the step")
    for phase in phases:
        assert any(point.endswith(phase) for point in POINTS)
    assert len(POINTS) == 2 + 1 + 3 + 3 * 3 + 1
