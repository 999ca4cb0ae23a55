"""The loss of a month, as pure functions of scores and realised returns.

    loss = -reward + eta * concentration            (entropy = diversify)
           + variance_aversion * w' S w + turnover_cost * turnover                     (both 0 by default)

reward = w . r, concentration = KL(w, prior), w = softmax(log prior + scores). With the equal prior, which is the
paper's case, concentration = log N - H(w): 0 at equal weights and log N on a single stock, and the same for 97 stocks
as for 100.

The paper prints -w.r + eta * (-w . log(w + eps)), which rewards concentration, while its prose and its results (a beta
of 0.951) want diversification. `as_printed` keeps the printed sign; the constant log N changes no gradient. The paper's
eps is not needed: log w comes from a log-softmax, which is finite however small w is.

The prior of a stock is given up to a common factor: it is that of the most favoured stock over which the others' are
taken, so that an equal prior adds exactly 0 to every score.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CONCENTRATION_SIGN = {"diversify": 1.0, "as_printed": -1.0, "off": 0.0}  # by the setting `entropy`

Moments = tuple[float, float]  # moving averages of a month's reward and of its square

# Before the first month the Sharpe ratio's moments are those of a volatility of 4 % a month, a stock index's usual one,
# which makes the first reward w.r / 0.04. RiskMetrics (1996) forgets 3 % of its estimates a month.
INITIAL_MOMENTS: Moments = (0.0, 0.04**2)
MOMENTS_RATE = 0.03


@dataclass(frozen=True)
class Terms:
    """The loss and its parts, as scalar tensors.

    reward: w . r, whatever function of it the loss has.
    variance, turnover: None where they are no part of the loss.
    """

    loss: Tensor
    reward: Tensor
    concentration: Tensor
    variance: Tensor | None
    turnover: Tensor | None


def log_weights(scores: Tensor, prior: Tensor) -> Tensor:
    """Logarithms of the portfolio weights (N,) of scores (N,): log-softmax of log prior + scores."""
    return torch.log_softmax(scores + (prior / prior.max()).log(), dim=0)


def weights(scores: Tensor, prior: Tensor | None = None) -> Tensor:
    """Portfolio weights (N,) of scores (N,) around a positive prior (N,), by default equal."""
    return log_weights(scores, torch.ones_like(scores) if prior is None else prior).exp()


def terms(
    logits: Tensor,
    returns: Tensor,
    *,
    entropy: str,
    eta: float,
    prior: Tensor | None = None,
    reward: str = "simple",
    moments: Moments = INITIAL_MOMENTS,
    covariance: Tensor | None = None,
    variance_aversion: float = 0.0,
    drifted: Tensor | None = None,
    turnover_cost: float = 0.0,
) -> Terms:
    """The loss of the weights softmax(logits), at realised returns (N,), simple fractions.

    A NaN return drops out of the reward; the other weights are not rescaled.

    logits: (N,) log prior + scores, up to a constant; log w itself is one choice.
    prior: (N,) positive, up to a factor; by default equal.
    reward: `simple`, w . r; `log`, log(1 + w . r); or `sharpe`, see `differential_sharpe`, given the `moments`.
    covariance: (N, N) of the month's returns, or None for no variance term.
    drifted: (N,) the weights that these stocks have before the month's orders, or None for no turnover term. What they
        lack to 1 is cash, or held in stocks that cannot be traded any more.
    """
    log_w = torch.log_softmax(logits, dim=0)  # (N,)
    held = log_w.exp()
    earned = (held * returns.nan_to_num(nan=0.0)).sum()
    if reward == "log":
        utility = earned.log1p()
    elif reward == "sharpe":
        utility = differential_sharpe(earned, moments)
    else:
        utility = earned
    concentration = relative_entropy(log_w, log_shares(torch.ones_like(logits) if prior is None else prior))
    loss = -utility + CONCENTRATION_SIGN[entropy] * eta * concentration
    variance = turnover = None
    if covariance is not None:
        variance = held @ covariance @ held
        loss = loss + variance_aversion * variance
    if drifted is not None:
        turnover = ((held - drifted).abs().sum() + 1 - drifted.sum()) / 2
        loss = loss + turnover_cost * turnover
    return Terms(loss, earned, concentration, variance, turnover)


def log_shares(prior: Tensor) -> Tensor:
    """Logarithms of a prior (N,), scaled to sum 1."""
    relative = prior / prior.max()
    return relative.log() - relative.sum().log()


def relative_entropy(log_w: Tensor, log_reference: Tensor) -> Tensor:
    """KL(w, reference) = sum of w * (log w - log reference), in nats, of logarithms of weights (N,)."""
    return (log_w.exp() * (log_w - log_reference)).sum()


def effective_names(logits: Tensor) -> float:
    """exp(H(w)), w = softmax(logits): how many equally weighted stocks would be as spread out; from 1 to N."""
    log_w = torch.log_softmax(logits, dim=0)
    concentration = relative_entropy(log_w, log_shares(torch.ones_like(log_w)))
    return len(log_w) * math.exp(-concentration.item())


def differential_sharpe(reward: Tensor, moments: Moments) -> Tensor:
    """The derivative of the Sharpe ratio of exponentially weighted rewards in the weight of the newest one.

    Source: Moody and Saffell, "Learning to trade via direct reinforcement", IEEE Transactions on Neural Networks 12
    (2001), equation 12. Its scale is that of reward / volatility, some 25 times that of a monthly return: eta and the
    other weights of the loss have to be thought of against that.
    """
    mean, square = moments
    change = square * (reward - mean) - mean * (reward**2 - square) / 2
    return change / math.sqrt(square - mean**2) ** 3


def moments_after(reward: float, moments: Moments) -> Moments:
    """The moments with one month's reward more."""
    mean, square = moments
    return mean + MOMENTS_RATE * (reward - mean), square + MOMENTS_RATE * (reward**2 - square)
