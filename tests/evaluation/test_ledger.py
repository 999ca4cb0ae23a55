"""The ledger of trials under repetition, parallel writers and crashes."""

import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from evaluation.ledger import Ledger, Trial

ROOT = Path(__file__).parents[2]
TRIAL = Trial(
    run="a1",
    data="d1",
    allocator="equal",
    start=date(2009, 6, 1),
    end=date(2019, 12, 31),
    sharpe=0.75,
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ladder" / "trials.jsonl"


def write(path, sharpes, **changes):
    for number, sharpe in enumerate(sharpes):
        Ledger(path).append(replace(TRIAL, run=f"{changes}{number}", sharpe=sharpe, **changes))


def test_a_trial_is_read_as_it_was_written(path):
    Ledger(path).append(TRIAL)
    assert Ledger(path).read() == ([TRIAL], 0)


def test_a_ledger_that_does_not_exist_holds_no_trials(path):
    assert Ledger(path).trials("d1").count == 0
    assert not path.exists()


def test_the_same_run_repeated_is_one_trial(path):
    for repetition in range(3):
        Ledger(path).append(replace(TRIAL, time=datetime(2026, 1, 2 + repetition, tzinfo=UTC)))
    Ledger(path).append(replace(TRIAL, run="a2", sharpe=0.85))
    assert len(path.read_text().splitlines()) == 4
    trials = Ledger(path).trials("d1")
    assert (trials.count, trials.variance) == (2, pytest.approx(0.005))


def test_trials_on_other_data_do_not_count(path):
    write(path, [0.7, 0.8])
    write(path, [5.0, 9.0, -3.0], data="invented")
    trials = Ledger(path).trials("d1")
    assert (trials.count, trials.variance) == (2, pytest.approx(0.005))


def test_every_period_counts_and_differences_between_periods_do_not_widen_the_variance(path):
    good, bad = [1.1, 1.2, 1.3], [0.1, 0.3]
    write(path, good)
    write(path, bad, end=date(2014, 12, 31))
    trials = Ledger(path).trials("d1")
    assert trials.count == 5
    assert trials.variance == pytest.approx((2 * np.var(good, ddof=1) + np.var(bad, ddof=1)) / 3)


def test_one_run_a_period_gives_no_variance(path):
    write(path, [0.7])
    write(path, [0.9], end=date(2014, 12, 31))
    trials = Ledger(path).trials("d1")
    assert trials.count == 2 and math.isnan(trials.variance)


@pytest.mark.parametrize("sharpe", [math.nan, math.inf])
def test_a_run_without_a_sharpe_ratio_is_no_trial(sharpe):
    with pytest.raises(ValueError, match="equal has no Sharpe ratio over 2009-06-01 to 2019-12-31"):
        replace(TRIAL, sharpe=sharpe)


@pytest.mark.parametrize("kept", [1, 40, -2])
def test_a_half_written_line_is_reported_and_the_next_trial_is_whole(path, kept):
    write(path, [0.7, 0.8])
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:kept])
    assert (Ledger(path).trials("d1").count, Ledger(path).trials("d1").unreadable) == (2, 1)
    Ledger(path).append(replace(TRIAL, run="next"))
    trials = Ledger(path).trials("d1")
    assert (trials.count, trials.unreadable) == (3, 1)


@pytest.mark.parametrize("line", [b"[]", b"3", b'{"run": "x"}', b"\xff\xfe", b"null", b"NaN sharpe"])
def test_a_foreign_line_is_reported(path, line):
    write(path, [0.7, 0.8])
    if line == b"NaN sharpe":
        line = path.read_bytes().splitlines()[0].replace(b"0.7", b"NaN").replace(b'{}0"', b'foreign"')
    with path.open("ab") as file:
        file.write(line + b"\n")
    assert (Ledger(path).trials("d1").count, Ledger(path).trials("d1").unreadable) == (2, 1)


def test_parallel_writers_lose_no_trial(path):
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from evaluation.ledger import Ledger\n"
        "trial = Ledger(Path(sys.argv[1])).read()[0][0]\n"
        "for n in range(50):\n"
        "    Ledger(Path(sys.argv[1])).append(replace(trial, run=f'{sys.argv[2]}-{n}', allocator='x' * 9000))\n"
    )
    Ledger(path).append(TRIAL)
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    trials, unreadable = Ledger(path).read()
    assert unreadable == 0
    assert {trial.run for trial in trials} == {"a1", *(f"{w}-{n}" for w in range(3) for n in range(50))}
