"""The ladder: from equal weights to the language model, every rung behind the same main.py on the same data.

What a model adds is its distance from the rung below, so each rung changes one thing. Where randomness enters, a rung
is run with several seeds, and its daily returns are the mean over them: those of a portfolio split between the seeds.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.charts import number
from evaluation.ledger import Trials
from evaluation.performance import (
    Performance,
    benchmark_performance,
    daily_returns,
    risk_free_rate,
    sharpe_ratio,
    strategy_performance,
)
from evaluation.result import Result
from evaluation.runs import Job, RunFailed, Runs
from evaluation.significance import (
    MIN_SAMPLES,
    Annualisation,
    Comparison,
    Regression,
    Spread,
    compare,
    deflated_sharpe_ratio,
    over_seeds,
    regression,
    superior_ability,
)

HOLDOUT_YEARS, HOLDOUT_SHARE = 2.0, 0.2  # the last two years, or the last fifth of a shorter run
BOOTSTRAP_SEED = 1


@dataclass(frozen=True, eq=False)
class Rung:
    """One way of deciding.

    title: its name, unique. parameters: what differs from config.json. seeded: whether randomness enters.
    """

    title: str
    group: str
    parameters: Mapping[str, str]
    seeded: bool = False


SPY = "SPY"
EQUAL = "equal weights"
CONTROL = "random encoder with LoRA"
_BENCHMARK = "Benchmark, held without costs"
_RULES, _ONLINE, _NETWORKS, _CHANGES = "Rules", "Online learners", "Networks", "One change each"
_LINEAR = {"allocator": "linear"}
_LORA = {"allocator": "t5", "backbone": "tiny-random"}

RUNGS = (
    Rung(EQUAL, _RULES, {"allocator": "equal"}),
    Rung("cap weights", _RULES, {"allocator": "cap"}),
    Rung("inverse volatility", _RULES, {"allocator": "inverse_volatility"}),
    Rung("minimum variance", _RULES, {"allocator": "minimum_variance"}),
    Rung("momentum 12-1", _RULES, {"allocator": "momentum"}),
    Rung("exponentiated gradient", _ONLINE, {"allocator": "eg"}),
    Rung("online Newton step", _ONLINE, {"allocator": "ons"}),
    Rung("linear softmax", _ONLINE, _LINEAR),
    Rung("random encoder, head alone", _NETWORKS, {**_LORA, "trained": "head"}, seeded=True),
    Rung(CONTROL, _NETWORKS, _LORA, seeded=True),
    Rung("linear, loss as printed", _CHANGES, {**_LINEAR, "entropy": "as_printed"}),
    Rung("linear, log wealth", _CHANGES, {**_LINEAR, "reward": "log"}),
    Rung("linear, differential Sharpe ratio", _CHANGES, {**_LINEAR, "reward": "sharpe"}),
    Rung("linear, variance term", _CHANGES, {**_LINEAR, "variance_aversion": "5"}),
    Rung("linear, turnover cost", _CHANGES, {**_LINEAR, "turnover_cost": "0.001"}),
    Rung("linear, replay of 12 months", _CHANGES, {**_LINEAR, "replay": "12"}),
    Rung("linear, steps limited by KL", _CHANGES, {**_LINEAR, "max_step_kl": "0.01"}),
    Rung("linear around cap weights", _CHANGES, {**_LINEAR, "prior": "cap"}),
    Rung("linear around inverse volatility", _CHANGES, {**_LINEAR, "prior": "inverse_volatility"}),
    Rung("linear around minimum variance", _CHANGES, {**_LINEAR, "prior": "minimum_variance"}),
    Rung("LoRA around minimum variance", _CHANGES, {**_LORA, "prior": "minimum_variance"}, seeded=True),
    Rung("LoRA, attention across stocks", _CHANGES, {**_LORA, "cross_attention": "true"}, seeded=True),
    Rung("LoRA, ensembles of 5", _CHANGES, {**_LORA, "ensemble": "5"}, seeded=True),
)
"""The rungs; their values were chosen before any of them was run."""


def chronos(backbone: str) -> Rung:
    """The paper's model, for whoever has its weights: by a name on the hub, or a folder."""
    name = Path(backbone).name if Path(backbone).is_dir() else backbone
    return Rung(f"{name} with LoRA", _NETWORKS, {"allocator": "t5", "backbone": backbone}, seeded=True)


@dataclass(frozen=True)
class Row:
    """What came of a rung.

    figures: see `figures`; medians and ranges over seeds, none where a run failed. failures: the reasons.
    against: benchmark -> the bootstrapped difference. alpha: the regression on SPY.
    """

    title: str
    group: str
    figures: Mapping[str, Spread]
    failures: tuple[str, ...] = ()
    against: Mapping[str, Comparison] = field(default_factory=dict)
    alpha: Regression | None = None


@dataclass(frozen=True, eq=False)
class Ladder:
    """All rungs, judged together.

    holdout: the first day of what choosing may not look at. seeds: for each seeded rung.
    rows: SPY's first. chosen: the learner with the largest median Sharpe ratio before the holdout, or "".
    words: the verdicts. returns: daily returns (T, rungs), SPY's first; by_seed: of each rung (T, seeds).
    """

    first: date
    last: date
    holdout: date
    seeds: int
    rows: tuple[Row, ...]
    chosen: str
    words: tuple[str, ...]
    returns: pd.DataFrame
    by_seed: Mapping[str, pd.DataFrame]

    def as_dict(self) -> dict[str, Any]:
        """For ladder.json: everything but the daily returns."""
        return {
            "first": f"{self.first}",
            "last": f"{self.last}",
            "holdout": f"{self.holdout}",
            "seeds": self.seeds,
            "chosen": self.chosen,
            "words": list(self.words),
            "rows": [asdict(row) for row in self.rows],
        }


def jobs_of(rung: Rung, seeds: int, common: Mapping[str, str]) -> list[Job]:
    """The runs of a rung. common: parameters of all rungs, such as the period."""
    if not rung.seeded:
        return [Job(rung.title, {**common, **rung.parameters})]
    return [
        Job(f"{rung.title}, seed {seed}", {**common, **rung.parameters, "seed": str(seed)})
        for seed in range(1, seeds + 1)
    ]


def climb(
    runs: Runs,
    rungs: Sequence[Rung],
    seeds: int,
    common: Mapping[str, str],
    on_done: Callable[[Job, Result | RunFailed], None] = lambda job, outcome: None,
    **places: Any,
) -> Ladder:
    """Make every run that is missing, and judge the rungs. places: as `Runs.make` takes them.

    Raises RunFailed where no rung has all its runs.
    """
    planned = {rung: jobs_of(rung, seeds, common) for rung in rungs}
    outcomes: dict[int, Result | RunFailed] = {}
    for job, outcome in runs.make([job for jobs in planned.values() for job in jobs], **places):
        outcomes[id(job)] = outcome
        on_done(job, outcome)
    return judge({rung: [outcomes[id(job)] for job in jobs] for rung, jobs in planned.items()}, seeds, runs.trials)


def judge(outcomes: Mapping[Rung, Sequence[Result | RunFailed]], seeds: int, trials: Trials) -> Ladder:
    """The ladder of what was run. A rung with a failed run has no figures: a median of the others could flatter it.

    Raises RunFailed where no rung has all its runs, or those are too short for a single return.
    """
    results: dict[str, list[Result]] = {}
    for rung, some in outcomes.items():
        finished = [outcome for outcome in some if isinstance(outcome, Result)]
        if len(finished) == len(some):
            results[rung.title] = finished
    if not results:
        raise RunFailed(next(f"no rung was run to its end: {some[0]}" for some in outcomes.values()))
    every = [result for some in results.values() for result in some]
    one = next((result for result in every if math.isfinite(risk_free_rate(result))), every[0])
    daily = daily_returns(one).set_index("day")
    if daily.empty:
        raise RunFailed(f"{one.planned[0]} to {one.planned[1]} has no daily returns: choose a longer period")
    annual = Annualisation(risk_free_rate(one), days=one.trading_days)
    by_seed = {
        title: pd.DataFrame({f"seed {i}": daily_returns(r).set_index("day")["return"] for i, r in enumerate(some, 1)})
        for title, some in results.items()
    }
    returns = pd.DataFrame({SPY: daily["benchmark"], **{t: frame.mean(axis=1) for t, frame in by_seed.items()}})
    years = min(HOLDOUT_YEARS, HOLDOUT_SHARE * len(returns) / 365.25)
    holdout = returns.index[-1] - pd.Timedelta(days=round(365.25 * years) - 1)
    table = returns.to_numpy(np.float64)
    testable = (np.isfinite(table) & (table > -1)).all(axis=0) & (np.ptp(table, axis=0) > 0)
    moving = returns.loc[:, testable & (len(returns) >= MIN_SAMPLES)]
    networks = [rung.title for rung in outcomes if rung.group == _NETWORKS]
    against: dict[str, dict[str, Comparison]] = {title: {} for title in [SPY, *results]}
    for benchmark in (EQUAL, SPY, CONTROL):
        # What the adapters add, and pretraining, is a network's distance from the random encoder.
        rivals = networks if benchmark == CONTROL else [SPY, *results]
        others = [title for title in rivals if title in moving and title != benchmark]
        if benchmark in moving and others:
            for comparison in compare(moving[others], moving[benchmark], annual, seed=BOOTSTRAP_SEED):
                against[comparison.strategy][benchmark] = comparison
    rows = [Row(SPY, _BENCHMARK, _benchmark_figures(one, returns[SPY], holdout, annual), against=against[SPY])]
    for rung, some in outcomes.items():
        title = rung.title
        if title not in results:
            rows.append(Row(title, rung.group, {}, tuple(str(o) for o in some if isinstance(o, RunFailed))))
            continue
        alpha = regression(moving[title], moving[SPY], annual) if {title, SPY} <= set(moving) else None
        many = [figures(result, holdout, annual) for result in results[title]]
        rows.append(Row(title, rung.group, _spreads(many), (), against[title], alpha))
    chosen = _choose(rows)
    return Ladder(
        first=returns.index[0].date(),
        last=returns.index[-1].date(),
        holdout=holdout.date(),
        seeds=seeds,
        rows=tuple(rows),
        chosen=chosen,
        words=tuple(_verdicts(rows, moving, annual, chosen, results, trials)),
        returns=returns,
        by_seed=by_seed,
    )


def figures(result: Result, holdout: pd.Timestamp, annual: Annualisation) -> dict[str, float]:
    """The figures of a run; fractions, a year where that applies, NaN where there is none.

    `turnover`: purchases and sales over the equity, a year. `fees`: dollars. `names`: mean effective number of names
    over the months. `first_half` to `holdout`: Sharpe ratios of parts; see `_parts`.
    """
    own = strategy_performance(result, result.trading_days)
    names = result.plots.get("Positions", {}).get("effective names")
    daily = daily_returns(result).set_index("day")["return"]
    return {
        **_whole(own),
        "turnover": float(result.samples["turnover"].mean()) * annual.samples,
        "fees": float(result.statistics["Total Fees"].lstrip("$").replace(",", "")),
        "names": math.nan if names is None else float(names.mean()),
        **_parts(daily, holdout, annual),
    }


def _whole(own: Performance) -> dict[str, float]:
    return {name: figure for name, figure in asdict(own).items() if name != "sharpe_error"}


def _parts(daily: "pd.Series[float]", holdout: pd.Timestamp, annual: Annualisation) -> dict[str, float]:
    """Sharpe ratios of either half, and before and within the holdout, at the risk-free rate of the whole."""
    half = len(daily) // 2
    parts = {
        "first_half": daily.iloc[:half],
        "second_half": daily.iloc[half:],
        "before_holdout": daily[daily.index < holdout],
        "holdout": daily[daily.index >= holdout],
    }
    return {name: sharpe_ratio(part.to_numpy(np.float64), annual.rate, annual.days) for name, part in parts.items()}


def _benchmark_figures(
    result: Result, daily: "pd.Series[float]", holdout: pd.Timestamp, annual: Annualisation
) -> dict[str, Spread]:
    own = benchmark_performance(result, result.trading_days)
    return _spreads([_whole(own) | _parts(daily, holdout, annual)])


def _spreads(many: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    columns = {name: [one[name] for one in many] for name in many[0]}
    return {name: over_seeds(values) for name, values in columns.items() if np.isfinite(values).all()}


def _choose(rows: Sequence[Row]) -> str:
    """By what could be seen before the holdout, among all that learn."""
    learners = [row for row in rows if row.group not in (_BENCHMARK, _RULES) and "before_holdout" in row.figures]
    return max(learners, key=lambda row: row.figures["before_holdout"].median).title if learners else ""


def _verdicts(
    rows: Sequence[Row],
    moving: pd.DataFrame,
    annual: Annualisation,
    chosen: str,
    results: Mapping[str, Sequence[Result]],
    trials: Trials,
) -> Iterator[str]:
    """What the ladder shows, in words: the networks, the one that would have been chosen, and all together."""
    by_title = {row.title: row for row in rows}
    networks = [row.title for row in rows if row.group == _NETWORKS]
    for title in dict.fromkeys([*reversed(networks), chosen]):
        for comparison in by_title[title].against.values() if title else ():
            yield comparison.in_words()
    if chosen:
        row = by_title[chosen]
        if row.alpha:
            yield row.alpha.in_words()
        if "holdout" in row.figures and EQUAL in by_title and "holdout" in by_title[EQUAL].figures:
            before, after = (number(row.figures[part].median, 2) for part in ("before_holdout", "holdout"))
            equal = number(by_title[EQUAL].figures["holdout"].median, 2)
            yield (
                f"Of all learners {chosen} had the largest Sharpe ratio before the holdout, {before}; in the holdout, "
                f"which choosing did not look at, it has {after}, {EQUAL} {equal}."
            )
        one = results[chosen][0]
        own = strategy_performance(one, one.trading_days)
        if own.sharpe_error > 0 and chosen in moving:
            name = chosen if len(results[chosen]) == 1 else f"{chosen} (seed 1)"
            yield deflated_sharpe_ratio(name, own, len(moving), annual, trials).in_words()
    for benchmark in (EQUAL, SPY):
        if benchmark not in moving:
            continue
        others = moving.drop(columns=SPY, errors="ignore")
        others = others.loc[:, others.ne(moving[benchmark], axis=0).any()]
        if len(others.columns):
            for test in superior_ability(others, moving[benchmark], annual, seed=BOOTSTRAP_SEED):
                yield test.in_words()
