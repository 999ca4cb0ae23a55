"""Backtests of this project's strategy, many at a time, none of them twice.

A run is known by the digest of the code, the data and its parameters; what it left is kept under that name, so that
whatever was interrupted goes on where it stopped. Each run that is made enters the ledger of trials.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluation.ledger import Ledger, Trial, Trials
from evaluation.performance import strategy_performance
from evaluation.result import Result, ResultError, read_result
from settings import Settings, SettingsError

ROOT = Path(__file__).parents[1]

# What a run's numbers depend on: of this project, of a data folder (minute bars and options are never read), and of
# the environment.
_CODE = ("main.py", "settings.py", "indicators", "model", "minilean")
_DATA = (
    "alternative/interest-rate",
    "equity/usa/daily",
    "equity/usa/factor_files",
    "equity/usa/hour",
    "equity/usa/map_files",
    "equity/usa/universes",
    "market-hours",
)
_PACKAGES = ("numpy", "pandas", "peft", "skfolio", "TA-Lib", "torch", "transformers")

# What nobody asks of one run among many, and nine tenths of its bytes.
_LEFT_OUT = ("Assets Sales Volume", "Portfolio Margin")

RETRIES = 3  # for a worker that dies: preempted, out of memory


class RunFailed(RuntimeError):
    """A backtest that did not complete, or cannot be started; the message says why, in one line."""


@dataclass(frozen=True)
class Job:
    """One backtest to be: a name for people, and the parameters that differ from config.json's."""

    name: str
    parameters: Mapping[str, str]


class Runs:
    """The finished runs on one data folder, and the ledger of all trials.

    folder: where they are kept, made if need be; a file a run, LEAN's result without orders and positions, which
        `python -m evaluation report` reads too. data: a LEAN data folder.
    Raises RunFailed where `data` is none, OSError where the folder cannot be made.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        from minilean.errors import HostError

        try:
            _data_folder(str(data))
        except HostError as error:
            raise RunFailed(str(error)) from None
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ledger = Ledger(folder / "ledger.jsonl")
        self._data = str(data.resolve())
        self._data_digest = _digest(data, _DATA)
        self._code_digest = _digest(ROOT, _CODE) + "".join(f"{package} {version(package)}" for package in _PACKAGES)

    @property
    def trials(self) -> Trials:
        """All trials that were ever made on these data and kept in this folder."""
        return self._ledger.trials(self._data_digest)

    def missing(self, jobs: Sequence[Job]) -> int:
        """How many runs have to be made for these jobs. Raises RunFailed for parameters that cannot be used."""
        return len({path for path in map(self._path, jobs) if not path.is_file()})

    def make(
        self, jobs: Sequence[Job], *, workers: int = 1, address: str | None = None, gpus: float = 0.0
    ) -> Iterator[tuple[Job, Result | RunFailed]]:
        """Make the runs that are missing, and yield each job as its run ends; those at hand come first.

        Jobs whose parameters come to the same settings are one run.

        workers: processes on this machine; one is this process. address: of a Ray cluster in their place, whose nodes
            hold the data folder under the same path. gpus: share of a GPU for each run, such as 0.25.
        A run's numbers are the same with any number of workers, as long as all have one number of threads; where
        nothing else is set, Ray gives each one.
        Raises RunFailed where none can be made, OSError where one cannot be kept.
        """
        waiting: dict[Path, list[Job]] = {}
        for job in jobs:
            waiting.setdefault(self._path(job), []).append(job)
        for path in list(waiting):
            try:
                found = read_result(path)
            except ResultError:  # not there, or spoilt: made anew
                continue
            for job in waiting.pop(path):
                yield job, found
        wanted = {path: same[0].parameters for path, same in waiting.items()}
        if wanted and (workers > 1 or address):
            outcomes = _on_ray(self._data, wanted, workers=workers, address=address, gpus=gpus)
        else:
            outcomes = ((path, _attempt(self._data, parameters)) for path, parameters in wanted.items())
        for path, outcome in outcomes:
            result = outcome if isinstance(outcome, RunFailed) else self._keep(path, outcome)
            for job in waiting[path]:
                yield job, result

    def _keep(self, path: Path, text: str) -> Result:
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
        settings = _settings(job.parameters)
        content = [self._code_digest, self._data_digest, settings, _weights_digest(settings["backbone"])]
        return self._folder / f"{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]}.json"


def _settings(parameters: Mapping[str, str]) -> dict[str, str]:
    """Every setting of a run, however its parameters are written. Raises RunFailed where they cannot be used."""
    from minilean.errors import HostError
    from minilean.project import Project

    try:
        return Settings.from_parameters(Project(ROOT, parameters).parameters).as_parameters()
    except (HostError, SettingsError) as error:
        raise RunFailed(str(error)) from None


@lru_cache
def _weights_digest(backbone: str) -> str:
    """Of a folder's files; a name on the hub stands for itself."""
    return _digest(Path(backbone), ["."]) if Path(backbone).is_dir() else ""


def _digest(base: Path, parts: Sequence[str]) -> str:
    """SHA-256 of the files under parts of a folder: their names, from the folder on, and their bytes."""
    digest = hashlib.sha256()
    for part in parts:
        root = base / part
        walked = (Path(folder) / name for folder, _, names in os.walk(root, followlinks=True) for name in names)
        for file in [root] if root.is_file() else sorted(walked):
            if "__pycache__" not in file.parts:
                content = file.read_bytes()
                digest.update(f"{file.relative_to(base).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


# --- one run


_kept: Any = None  # the last run's algorithm: its frozen backbone serves the next seed as well


@lru_cache(maxsize=1)
def _data_folder(path: str) -> Any:
    """Bars that one run has read, the next does not read again."""
    from minilean.data import DataFolder

    return DataFolder(Path(path))


def backtest(data: str, parameters: Mapping[str, str]) -> str:
    """Run main.py on the embedded host in this process; the result as JSON text.

    data: path of a LEAN data folder. Raises RunFailed where it does not complete, KeyboardInterrupt as it comes.
    """
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
            raise RunFailed(f"main.py cannot be imported: {_first_line(error.text)}") from None
        if failure is not None and failure.interrupted:
            raise KeyboardInterrupt
        if failure is not None:
            raise RunFailed(_first_line(failure.message))
        _kept = engine.algorithm
        engine.results().write(folder, "run", engine.brokerage.orders)
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    content |= {"orders": {}, "rollingWindow": {}, "profitLoss": {}}
    content["totalPerformance"]["closedTrades"] = []
    content["charts"] = {chart: found for chart, found in content["charts"].items() if chart not in _LEFT_OUT}
    return json.dumps(content)


def _first_line(text: str) -> str:
    """LEAN's texts go on with the frames of the traceback."""
    return text.strip().partition("\n")[0]


def _attempt(data: str, parameters: Mapping[str, str]) -> str | RunFailed:
    try:
        return backtest(data, parameters)
    except RunFailed as failure:
        return failure


def _on_ray(
    data: str, wanted: Mapping[Path, Mapping[str, str]], *, workers: int, address: str | None, gpus: float
) -> Iterator[tuple[Path, str | RunFailed]]:
    """`_attempt` of each, in the order in which they end."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a run without a share sees the GPUs all the same
        "RAY_NUM_REDIS_GET_RETRIES": "1",  # half a minute for a cluster that does not answer, not a quarter of an hour
    }
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address:  # the cluster's machines get this code, and nothing else of the folder
            others = [
                f"/{path.name}" for path in ROOT.iterdir() if path.name not in (*_CODE, "config.json", "evaluation")
            ]
            ray.init(address, runtime_env={"working_dir": str(ROOT), "excludes": others}, **quiet)
        else:
            # Not by runtime_env: Ray would start workers through a shell, which a space in their path breaks.
            paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError) as error:
        what = f"Ray does not answer at {address}" if address else "Ray does not start"
        raise RunFailed(f"{what} ({_first_line(str(error)) or type(error).__name__})") from None
    try:
        if gpus > ray.cluster_resources().get("GPU", 0):
            raise RunFailed(f"Ray finds no {gpus:g} GPU here: leave the share of a GPU away, or lower it")
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_attempt)
        pending = {remote.remote(data, dict(parameters)): path for path, parameters in wanted.items()}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            path = pending.pop(done)
            try:
                yield path, ray.get(done)
            except ray.exceptions.RayTaskError:  # an error in this code, not a worker's death
                raise
            except ray.exceptions.RayError as error:
                yield path, RunFailed(f"its worker died {1 + RETRIES} times: {_first_line(str(error))}")
    finally:
        ray.shutdown()
