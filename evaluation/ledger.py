"""The ledger of trials: every run that evaluation makes, one line each, never rewritten.

A Sharpe ratio that was chosen among many is judged by how many there were. That number is read from this file alone,
so that nobody has to remember it, or can forget it.
"""

import fcntl
import json
import math
import os
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Trial:
    """One run.

    run: digest of code, settings and data: equal digests are one trial. data: digest of the data alone.
    allocator: who decided. start, end: first and last day of the run. time: when it ended, with its time zone.
    sharpe: annual Sharpe ratio, `evaluation.performance.Performance.sharpe`; ValueError where it is not finite.
    """

    run: str
    data: str
    allocator: str
    start: date
    end: date
    sharpe: float
    time: datetime

    def __post_init__(self) -> None:
        if not math.isfinite(self.sharpe):
            raise ValueError(f"{self.allocator} has no Sharpe ratio over {self.start} to {self.end}: not a trial")


@dataclass(frozen=True)
class Trials:
    """What a ledger says of one data folder.

    count: distinct runs, over any period and with any seed. Runs that resemble each other count in full, which makes
        the deflated Sharpe ratio strict.
    variance: of their annual Sharpe ratios around the mean of the runs over the same period, pooled over periods,
        unbiased: what sets good years apart from bad ones is no trial. NaN where no period has two runs.
    unreadable: lines that are no trial, on any data, as a machine that stops in mid-write leaves them; not counted.
    """

    count: int
    variance: float
    unreadable: int


class Ledger:
    """An append-only file of trials, one JSON object a line; safe under processes that write at the same time."""

    def __init__(self, path: Path) -> None:
        """path: the file; it and its folder are made by the first `append`."""
        self._path = path

    def append(self, trial: Trial) -> None:
        """Add a trial. On return it is on the disk; raises OSError where it cannot be written."""
        line = json.dumps(asdict(trial), default=lambda moment: moment.isoformat()).encode() + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                line = b"\n" + line  # what somebody left half-written stays a line of its own
            if file.write(line) != len(line):
                raise OSError(f"{self._path} has no room for another trial: free some and run again")
            os.fsync(file.fileno())

    def read(self) -> tuple[list[Trial], int]:
        """The distinct trials, each where it first stands, and the number of unreadable lines."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return [], 0
        distinct: dict[str, Trial] = {}
        unreadable = 0
        for line in filter(None, lines):
            try:
                trial = _trial(json.loads(line))
            except (ValueError, TypeError, KeyError):
                unreadable += 1
            else:
                distinct.setdefault(trial.run, trial)
        return list(distinct.values()), unreadable

    def trials(self, data: str) -> Trials:
        """Number of distinct trials on the data with this digest, and the variance of their Sharpe ratios."""
        trials, unreadable = self.read()
        periods = defaultdict(list)
        for trial in trials:
            if trial.data == data:
                periods[trial.start, trial.end].append(trial.sharpe)
        count = sum(map(len, periods.values()))
        freedom = count - len(periods)
        squares = sum(len(sharpes) * float(np.var(sharpes)) for sharpes in periods.values())
        return Trials(count, squares / freedom if freedom else math.nan, unreadable)


def _trial(fields: dict[str, Any]) -> Trial:
    dates = {name: date.fromisoformat(fields[name]) for name in ("start", "end")}
    return Trial(**fields | dates | {"time": datetime.fromisoformat(fields["time"]), "sharpe": float(fields["sharpe"])})
