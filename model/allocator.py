"""The protocol that every decision maker obeys, and the data that goes in and out. Numpy only.

Axes: N stocks, L sessions, F indicators, T past sessions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class NoOpenDecisionError(RuntimeError):
    """`learn` was called with no decision to learn from: before a `decide`, or twice for one."""

    def __init__(self) -> None:
        super().__init__("learn: there is no open decision: call decide first, and learn once for each")


def entropy(weights: NDArray[np.float64]) -> float:
    """Of weights, in nats; those of zero count for nothing."""
    held = weights[weights > 0]
    return float(-(held * np.log(held)).sum())


@dataclass(frozen=True, eq=False)
class Market:
    """What can be known when the weights of a month are decided. Holds read-only copies of its arrays.

    instant: when the decision is made.
    stocks: N identifiers, unique.
    features: (N, L, F) float32, scaled; anything, NaN too, where a stock is not tradable.
    tradable: (N,) bool; the others get weight 0 and have no influence.
    caps: (N,) float64 weights in the ETF, in any unit; NaN where unknown, as all are by default.
    past: (N, T) float64 simple daily returns up to the last session, oldest first; NaN where a stock has none; T = 0
        by default.

    Raises ValueError where shapes differ, identifiers repeat, nothing is tradable, or a tradable stock has a feature
    that is not finite.
    """

    instant: datetime
    stocks: tuple[str, ...]
    features: NDArray[np.float32]
    tradable: NDArray[np.bool_]
    caps: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    past: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        n_stocks = len(self.stocks)
        features = np.array(self.features, dtype=np.float32)  # copies: the decision must outlive the caller's arrays
        tradable = np.array(self.tradable, dtype=bool)
        caps = np.array(self.caps, dtype=np.float64) if self.caps.size else np.full(n_stocks, np.nan)
        past = np.array(self.past, dtype=np.float64) if self.past.size else np.empty((n_stocks, 0))
        if features.ndim != 3 or features.shape[0] != n_stocks or tradable.shape != (n_stocks,):
            raise ValueError(
                f"market of {self.instant}: {n_stocks} stocks go with features ({n_stocks}, L, F) and tradable "
                f"({n_stocks},), not {features.shape} and {tradable.shape}"
            )
        if caps.shape != (n_stocks,) or past.ndim != 2 or len(past) != n_stocks:
            raise ValueError(
                f"market of {self.instant}: {n_stocks} stocks go with caps ({n_stocks},) and past ({n_stocks}, T), not "
                f"{caps.shape} and {past.shape}"
            )
        if len(set(self.stocks)) < n_stocks:
            raise ValueError(f"market of {self.instant}: a stock is listed twice: give each identifier once")
        if not tradable.any():
            raise ValueError(f"market of {self.instant}: none of {n_stocks} stocks can be traded: sit the month out")
        spoilt = tradable & ~np.isfinite(features).all(axis=(1, 2))
        if spoilt.any():
            first = self.stocks[int(np.argmax(spoilt))]
            raise ValueError(
                f"market of {self.instant}: {spoilt.sum()} tradable stocks have features that are not finite, "
                f"{first} for one: mark them as not tradable"
            )
        for name, array in {"features": features, "tradable": tradable, "caps": caps, "past": past}.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)


@dataclass(frozen=True, eq=False)
class Decision:
    """A decision whose returns are not known yet: all that learning from it needs.

    weights: (N,) float64, as returned by `decide`.
    fell_back: the decision had to be made in fp32 because a number was not finite in the chosen precision.
    """

    market: Market
    weights: NDArray[np.float64]
    fell_back: bool = False


@dataclass(frozen=True)
class StepReport:
    """One step of learning, for charts and logs.

    step: how many steps have been taken, this one included.
    loss: of the month alone: -reward + eta * concentration, with the concentration's sign as set, plus
        variance_aversion * variance + turnover_cost * turnover. Where the setting `reward` is log or sharpe it has that
        function of the reward.
    reward: sum of weight x realised return over the stocks that have one; a simple fraction a month.
    concentration: KL(weights, prior) over the M tradable stocks, in nats; with an equal prior log M - entropy, which is
        0 at equal weights.
    effective_names: exp(entropy) of the weights, from 1 to M.
    gradient_norm: Euclidean norm over all trainable tensors, of the months replayed too.
    drift: largest absolute difference between the weights decided and those recomputed for the step: exactly 0 on one
        machine; small after a move to another, or where only the step ran in fp32.
    fallbacks: 1 where the month ran again in fp32 because a number was not finite, else 0; in an ensemble, the members
        for which it did.
    variance: w' S w, S the covariance of a month's returns; None where variance_aversion = 0.
    turnover: half the sum of |weight - drifted weight|, cash included, a fraction of the portfolio; None where
        turnover_cost = 0.
    step_kl: KL(weights after the step || weights before) at the month's features, in nats. It takes a forward pass:
        None where max_step_kl = 0 and the network has a million parameters or more.
    saliency: (F,) sum over stocks and sessions of |gradient of the loss x input|, by indicator, in units of the loss:
        how much of the slope that the step follows came through each. Absolute, because what raises one stock's weight
        lowers the others'. Empty where nothing goes backward to the inputs (trained = head, and rules).
    """

    step: int
    loss: float
    reward: float
    concentration: float
    effective_names: float
    gradient_norm: float
    drift: float
    fallbacks: int
    variance: float | None = None
    turnover: float | None = None
    step_kl: float | None = None
    saliency: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a restart needs of an allocator.

    arrays: name -> array: parameters and the optimiser's moments.
    step: steps taken so far.
    decision: the open decision, or None.
    extra: what the caller wants kept beside it (frozen selection, settings, history): JSON values, never read here.
    """

    arrays: Mapping[str, NDArray[Any]]
    step: int
    decision: Decision | None
    extra: Mapping[str, Any] = field(default_factory=dict)


class Allocator(Protocol):
    """Decides weights once a month and learns from what they earned."""

    def decide(self, market: Market) -> NDArray[np.float64]:
        """Weights (N,): at least 0, 0 where not tradable, sum 1. The decision stays open until `learn`; an older open
        one is dropped unlearnt."""

    def learn(self, returns: NDArray[np.float64]) -> StepReport:
        """Learn from the open decision's realised returns, and close it.

        returns: (N,) simple fractions a month, in the order of the decision's stocks. NaN means no return: the stock
            drops out of the reward and the other weights are not rescaled.
        Raises NoOpenDecisionError before a `decide` or the second time for one; ValueError for a wrong shape or an
            infinite return. After an error the decision is still open and nothing has changed.
        """

    def state(self) -> State:
        """A copy of everything that a restart needs; `extra` is empty."""

    def restore(self, state: State) -> None:
        """Go on from `state`, exactly. Raises ValueError, and changes nothing, where it belongs to another model."""
