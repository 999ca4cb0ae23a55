"""Learners that decide together: an average over seeds. Numpy only."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.allocator import Allocator, Decision, Market, NoOpenDecisionError, State, StepReport, entropy


class Ensemble:
    """Holds the mean of its members' weights. Every member learns as if it were alone, from its own weights and the
    same returns, so that members differ as runs with their seeds do.

    members: at least one, which share nothing that learns.
    """

    def __init__(self, members: Sequence[Allocator]) -> None:
        self._members = tuple(members)
        self._decision: Decision | None = None
        self._step = 0

    def __str__(self) -> str:
        return f"{len(self._members)} learners, each {self._members[0]}"

    def decide(self, market: Market) -> NDArray[np.float64]:
        """See `Allocator.decide`."""
        before = self.state()
        try:
            weights: NDArray[np.float64] = np.mean([member.decide(market) for member in self._members], axis=0)
        except Exception:
            self.restore(before)
            raise
        self._decision = Decision(market, weights)
        return weights.copy()

    def learn(self, returns: NDArray[np.float64]) -> StepReport:
        """See `Allocator.learn`. The report has the effective names of the mean weights, the largest drift, the sum of
        the fallbacks, and means over the members of everything else."""
        if self._decision is None:
            raise NoOpenDecisionError
        before = self.state()
        try:
            reports = [member.learn(returns) for member in self._members]
        except Exception:
            self.restore(before)  # members before the one that failed have learnt already
            raise
        spread = entropy(self._decision.weights)
        self._decision = None
        self._step += 1
        return StepReport(
            step=self._step,
            loss=fmean(report.loss for report in reports),
            reward=fmean(report.reward for report in reports),
            concentration=fmean(report.concentration for report in reports),
            effective_names=float(np.exp(spread)),
            gradient_norm=fmean(report.gradient_norm for report in reports),
            drift=max(report.drift for report in reports),
            fallbacks=sum(report.fallbacks for report in reports),
            variance=_mean([report.variance for report in reports]),
            turnover=_mean([report.turnover for report in reports]),
            step_kl=_mean([report.step_kl for report in reports]),
            saliency=tuple(np.mean([report.saliency for report in reports], axis=0).tolist()),
        )

    def state(self) -> State:
        """See `Allocator.state`. Its arrays: member I's are I/NAME; and while a decision is open, its own weights (N,)
        are I/decided, and I/fell_back (1,) says whether they were made in fp32."""
        arrays: dict[str, NDArray[Any]] = {}
        for i, member in enumerate(self._members):
            state = member.state()
            arrays |= {f"{i}/{name}": array for name, array in state.arrays.items()}
            if state.decision is not None:
                arrays[f"{i}/decided"] = state.decision.weights.copy()
                arrays[f"{i}/fell_back"] = np.array([state.decision.fell_back])
        return State(arrays, self._step, self._decision)

    def restore(self, state: State) -> None:
        """See `Allocator.restore`."""
        before = [member.state() for member in self._members]
        n_members = len({name.partition("/")[0] for name in state.arrays})
        if n_members != len(self._members):
            raise ValueError(
                f"the state is of {n_members} learners and this ensemble has {len(self._members)}: use the ensemble of "
                "the state"
            )
        try:
            for i, member in enumerate(self._members):
                member.restore(_of_member(state, i))
        except ValueError:
            for member, earlier in zip(self._members, before, strict=True):
                member.restore(earlier)
            raise
        self._step, self._decision = state.step, state.decision


def _of_member(state: State, i: int) -> State:
    arrays = {name.removeprefix(f"{i}/"): array for name, array in state.arrays.items() if name.startswith(f"{i}/")}
    if state.decision is None:
        return State(arrays, state.step, None)
    try:
        weights, fell_back = arrays.pop("decided"), bool(arrays.pop("fell_back")[0])
    except KeyError as error:
        raise ValueError(f"the state has an open decision, but no {error} of learner {i}: use an older one") from None
    return State(arrays, state.step, Decision(state.decision.market, weights, fell_back))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
