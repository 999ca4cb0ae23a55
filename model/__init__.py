"""From features to portfolio weights, and from realised returns to one step of learning.

Read it in this order: `allocator` (the protocol that every decision maker obeys, and its data), `backbone` (the frozen
encoder and its adapters), `policy` (features to scores; `attention` across the stocks, and `linear`, the control
without a language model), `objective` (the loss), `history` (what the loss knows of the market and of earlier months),
`learner` (decide and learn), `ensemble` (learners that decide together), `precision` (number types and the watchdog),
`checkpoint` (state to bytes and back), `statestore` (the newest two of them in the Object Store), `baselines` (what to
compare with).

Importing this package imports numpy only; torch is loaded by `model.learner`.
"""

from typing import TYPE_CHECKING

from model.allocator import Allocator, Decision, Market, NoOpenDecisionError, State, StepReport
from model.baselines import RULES, Baseline, ExponentiatedGradient, Fixed, OnlineNewtonStep
from model.ensemble import Ensemble
from settings import Settings

if TYPE_CHECKING:
    from model.learner import Network

__all__ = ["Allocator", "Decision", "Market", "NoOpenDecisionError", "State", "StepReport", "make_allocator"]


def make_allocator(options: Settings, *, n_features: int) -> Allocator:
    """The allocator that the settings name; torch is imported here, where it needs it.

    n_features: F, the number of indicators.
    """
    match options.model.allocator:
        case "eg":
            return Baseline(ExponentiatedGradient())
        case "ons":
            return Baseline(OnlineNewtonStep())
        case rule if rule in RULES:
            return Baseline(Fixed(rule))
    learners = [_learner(options, n_features, options.run.seed + i) for i in range(options.model.ensemble)]
    return learners[0] if len(learners) == 1 else Ensemble(learners)


def _learner(options: Settings, n_features: int, seed: int) -> Allocator:
    from model.learner import OnlineLearner

    def network() -> "Network":
        if options.model.allocator == "linear":
            from model.linear import Linear

            return Linear(n_features)
        from model.policy import load_policy

        return load_policy(options.model, n_features=n_features, seed=seed)

    return OnlineLearner(
        "linear map" if options.model.allocator == "linear" else options.model.backbone,
        network,
        options.learning,
        rule=options.model.prior,
        n_features=n_features,
        micro_batch=options.model.micro_batch,
    )
