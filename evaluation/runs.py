"""Backtests of this project's strategy, many at a time, none of them twice.

A run is known by the digest of the code, the data and its parameters; what it left is kept under that name, so that
whatever was interrupted goes on where it stopped. Each run that is made enters the ledger of trials.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluation.ledger import Ledger, Trial, Trials
from evaluation.performance import strategy_performance
from evaluation.result import Result, read_result

ROOT = Path(__file__).parents[1]

_CODE = ("main.py", "config.json", "settings.py", "indicators", "model", "minilean")
_PACKAGES = ("numpy", "pandas", "peft", "skfolio", "TA-Lib", "torch", "transformers")

# What nobody asks of one run among many, and nine tenths of its bytes.
_LEFT_OUT = ("Assets Sales Volume", "Portfolio Margin")

RETRIES = 3  # for a worker that dies: preempted, out of memory


class RunFailed(RuntimeError):
    """A backtest that did not complete, or could not be started; the message says why."""


@dataclass(frozen=True)
class Job:
    """One backtest to be: a name for people, and the parameters that differ from config.json's."""

    name: str
    parameters: Mapping[str, str]


class Runs:
    """The finished runs on one data folder, and the ledger of all trials.

    folder: where they are kept, made if need be; a file a run, LEAN's result without orders and positions, which
        `python -m evaluation report` reads too. data: a LEAN data folder.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        if not data.is_dir():
            raise RunFailed(f"{data} is no folder: name a LEAN data folder, or make one with `minilean data demo`")
        self._folder = folder
        self._ledger = Ledger(folder / "ledger.jsonl")
        self.data = data.resolve()
        self._data_digest = _digest_of_files([self.data])
        versions = [f"{package} {version(package)}" for package in _PACKAGES]
        self._code_digest = _digest_of_files([ROOT / name for name in _CODE]) + "".join(versions)

    @property
    def trials(self) -> Trials:
        """All trials that were ever made on these data, by this ladder or another."""
        return self._ledger.trials(self._data_digest)

    def find(self, job: Job) -> Result | None:
        """What the run left, if it was made already."""
        path = self._path(job)
        return read_result(path) if path.is_file() else None

    def make(
        self, jobs: Sequence[Job], *, workers: int = 1, address: str | None = None, gpus: float = 0.0
    ) -> Iterator[tuple[Job, Result | RunFailed]]:
        """Make the runs that are missing, and yield each as it ends; those at hand come first.

        workers: processes on this machine; one is this process. address: of a Ray cluster in their place, whose nodes
            hold the data folder under the same path. gpus: share of a GPU for each run, such as 0.25.
        A run's numbers are the same with any number of workers.
        """
        missing = []
        for job in jobs:
            found = self.find(job)
            if found is None:
                missing.append(job)
            else:
                yield job, found
        if missing and (workers > 1 or address):
            outcomes = _on_ray(str(self.data), missing, workers=workers, address=address, gpus=gpus)
        else:
            outcomes = ((job, _attempt(str(self.data), job.parameters)) for job in missing)
        for job, outcome in outcomes:
            yield job, outcome if isinstance(outcome, RunFailed) else self._keep(job, outcome)

    def _keep(self, job: Job, text: str) -> Result:
        path = self._path(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(text, encoding="utf-8")
        result = read_result(unfinished)
        sharpe = strategy_performance(result, result.trading_days).sharpe
        if math.isfinite(sharpe):
            self._ledger.append(
                Trial(
                    run=path.stem,
                    data=self._data_digest,
                    allocator=result.parameters["allocator"],
                    start=result.planned[0],
                    end=result.planned[1],
                    sharpe=sharpe,
                    time=datetime.now().astimezone(),
                )
            )
        unfinished.replace(path)  # last: a run that is kept is in the ledger
        return result

    def _path(self, job: Job) -> Path:
        backbone = Path(job.parameters.get("backbone", ""))
        weights = _digest_of_files([backbone]) if job.parameters.get("backbone") and backbone.is_dir() else ""
        text = json.dumps([self._code_digest, self._data_digest, sorted(job.parameters.items()), weights])
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _digest_of_files(paths: Iterable[Path]) -> str:
    """SHA-256 of the files below the paths: their names, from the path on, and their bytes."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                content = file.read_bytes()
                digest.update(f"{file.relative_to(path.parent)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


# --- one run


_kept: Any = None  # the last run's algorithm: its frozen backbone serves the next seed as well


@lru_cache(maxsize=1)
def _data_folder(path: str) -> Any:
    """Bars that one run has read, the next does not read again."""
    from minilean.data import DataFolder

    return DataFolder(Path(path))


def backtest(data: str, parameters: Mapping[str, str]) -> str:
    """Run main.py on the embedded host in this process; the result as JSON text. Raises RunFailed."""
    global _kept
    from minilean.engine import Engine
    from minilean.errors import AlgorithmError, HostError
    from minilean.objectstore import ObjectStore
    from minilean.project import Project

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            project = Project(ROOT, parameters)
            engine = Engine(project.load(), _data_folder(data), ObjectStore(folder / "store"), project.parameters)
            failure = engine.run()
        except HostError as error:
            raise RunFailed(str(error)) from None
        except AlgorithmError as error:
            raise RunFailed(f"main.py cannot be imported: {error.text}") from None
        if failure is not None:
            raise RunFailed(failure.message.strip())
        _kept = engine.algorithm
        engine.results().write(folder, "run", engine.brokerage.orders)
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    content |= {"orders": {}, "rollingWindow": {}, "profitLoss": {}}
    content["totalPerformance"]["closedTrades"] = []
    content["charts"] = {chart: found for chart, found in content["charts"].items() if chart not in _LEFT_OUT}
    return json.dumps(content)


def _attempt(data: str, parameters: Mapping[str, str]) -> str | RunFailed:
    try:
        return backtest(data, parameters)
    except RunFailed as failure:
        return failure


def _on_ray(
    data: str, jobs: Sequence[Job], *, workers: int, address: str | None, gpus: float
) -> Iterator[tuple[Job, str | RunFailed]]:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:  # the cluster's machines get this code, and nothing else of the folder
        others = [f"/{path.name}" for path in ROOT.iterdir() if path.name not in (*_CODE, "evaluation")]
        ray.init(address, runtime_env={"working_dir": str(ROOT), "excludes": others}, **quiet)
    else:
        environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
        ray.init(num_cpus=workers, include_dashboard=False, runtime_env=environment, **quiet)
    try:
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_attempt)
        pending = {remote.remote(data, dict(job.parameters)): job for job in jobs}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(done)
            try:
                yield job, ray.get(done)
            except ray.exceptions.RayError as error:
                yield job, RunFailed(f"the worker died {1 + RETRIES} times: {str(error).splitlines()[0]}")
    finally:
        ray.shutdown()
