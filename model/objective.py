"""The loss of a month, as pure functions of scores and realised returns.

    loss = -reward + eta * concentration            (entropy = diversify)

reward = w . r, concentration = log N - H(w) = KL(w, equal weights), w = softmax(scores). The concentration is 0 at
equal weights and log N on a single stock, and means the same for 97 stocks as for 100.

The paper prints -w.r + eta * (-w . log(w + eps)), which rewards concentration, while its prose and its results (a beta
of 0.951) want diversification. `as_printed` keeps the printed sign; the constant log N changes no gradient. The paper's
eps is not needed: log w comes from a log-softmax, which is finite however small w is.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CONCENTRATION_SIGN = {"diversify": 1.0, "as_printed": -1.0, "off": 0.0}  # by the setting `entropy`


@dataclass(frozen=True)
class Terms:
    """The loss and its parts, as scalar tensors."""

    loss: Tensor
    reward: Tensor
    concentration: Tensor


def weights(scores: Tensor) -> Tensor:
    """Portfolio weights (N,) of scores (N,): the softmax."""
    return torch.log_softmax(scores, dim=0).exp()


def terms(scores: Tensor, returns: Tensor, *, entropy: str, eta: float) -> Terms:
    """The loss of the weights that scores (N,) give, at realised returns (N,), simple fractions.

    A NaN return drops out of the reward; the other weights are not rescaled.
    """
    log_weights = torch.log_softmax(scores, dim=0)  # (N,)
    reward = (log_weights.exp() * returns.nan_to_num(nan=0.0)).sum()
    concentration = relative_entropy(log_weights)
    return Terms(-reward + CONCENTRATION_SIGN[entropy] * eta * concentration, reward, concentration)


def relative_entropy(log_weights: Tensor) -> Tensor:
    """KL(w, equal weights) = sum of w * (log w - log 1/N) = log N - H(w), of log weights (N,), in nats."""
    log_equal = -torch.tensor(float(len(log_weights)), dtype=log_weights.dtype).log()
    return (log_weights.exp() * (log_weights - log_equal)).sum()


def effective_names(concentration: float, n_stocks: int) -> float:
    """exp(H(w)): the number of equally weighted stocks that would be as spread out; from 1 to n_stocks."""
    return n_stocks * math.exp(-concentration)
