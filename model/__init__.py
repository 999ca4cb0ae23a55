"""From features to portfolio weights, and from realised returns to one step of learning.

Read it in this order: `allocator` (the protocol that every decision maker obeys, and its data), `backbone` (the frozen
encoder and its adapters), `policy` (features to scores), `objective` (the loss), `learner` (decide and learn),
`precision` (number types and the watchdog), `checkpoint` (state to bytes and back).

Importing this package imports numpy only; torch is loaded by `model.learner`.
"""

from model.allocator import Allocator, Decision, Market, NoOpenDecisionError, State, StepReport

__all__ = ["Allocator", "Decision", "Market", "NoOpenDecisionError", "State", "StepReport"]
