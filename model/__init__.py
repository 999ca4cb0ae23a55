"""From features to portfolio weights, and from realised returns to one step of learning.

Read it in this order: `allocator` (the protocol that every decision maker obeys, and its data), `backbone` (the frozen
encoder and its adapters), `policy` (features to scores), `objective` (the loss), `learner` (decide and learn),
`precision` (number types and the watchdog), `checkpoint` (state to bytes and back), `baselines` (what to compare with).

Importing this package imports numpy only; torch is loaded by `model.learner`.
"""

from model.allocator import Allocator, Decision, Market, NoOpenDecisionError, State, StepReport
from model.baselines import RULES, Baseline, ExponentiatedGradient, Fixed, OnlineNewtonStep
from settings import Settings

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
    from model.learner import OnlineLearner

    return OnlineLearner(options.model, options.learning, n_features=n_features, seed=options.run.seed)
