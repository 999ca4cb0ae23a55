"""The online learner: decides a month's weights, and learns from what they earned by one AdamW step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import objective, precision
from model.allocator import Decision, Market, NoOpenDecisionError, State, StepReport
from model.history import History, Month, covariance, prior
from settings import LearningSettings

if TYPE_CHECKING:  # the linear map needs no transformers
    from model.linear import Linear
    from model.policy import Policy

    Network: TypeAlias = Policy | Linear

HISTORY = "history/"
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's names for its first and second moments

# The largest entry of the gradient that enters the encoder is brought to [2^7, 2^8): see `_gradient`.
BACKWARD_EXPONENT = 8

MAX_SHORTENINGS = 8  # of a step that moves the weights too far, each of which costs a forward pass


class OnlineLearner:
    """A network that learns from every month it has decided, as an `Allocator`.

    Decide: scores of the tradable stocks, softmax around the prior. Learn: the loss at the realised returns, the same
    forward pass again with the same parameters, the gradient, one step. The graph is not kept over the month, so that a
    restart in between changes nothing; and the stocks pass in batches of `micro_batch`, so that the memory is that of
    one batch.

    Number types: the frozen matrices in `model.precision`, the rest of the network in fp32, softmax and loss, which are
    N numbers, in fp64. Where any number is not finite, the month runs again in fp32 from the same state.

    Two learners with the same settings and seed give the same bits on one machine with one number of threads. There is
    no randomness after the initial parameters.

    name: of the network, for logs.
    network: makes it, when it is first needed; what it raises is raised then.
    learning: see settings.py.
    rule: the prior, by its name in `baselines.RULES`.
    n_features: F, the number of indicators.
    micro_batch: stocks that pass through the network at a time.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[], "Network"],
        learning: LearningSettings,
        *,
        rule: str,
        n_features: int,
        micro_batch: int,
    ) -> None:
        self._name = name
        self._network = network
        self._learning = learning
        self._rule = rule
        self._n_features = n_features
        self._micro_batch = micro_batch
        self._decision: Decision | None = None
        self._history = History()
        self._step = 0

    @cached_property
    def policy(self) -> "Network":
        """The network, made the first time."""
        return self._network()

    @cached_property
    def _optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.policy.trainable().values(),
            lr=self._learning.learning_rate,
            weight_decay=self._learning.weight_decay,
        )

    def __str__(self) -> str:
        """What runs where, for a log: `auto` settings as they were resolved. Makes the network."""
        frozen, trained = (
            sum(parameter.numel() for parameter in self.policy.parameters() if parameter.requires_grad == learns)
            for learns in (False, True)
        )
        matrices = min((parameter.dtype for parameter in self.policy.parameters()), key=lambda dtype: dtype.itemsize)
        dtype = next(name for name, dtype in precision.DTYPES.items() if dtype == matrices)
        return (
            f"{self._name} in {dtype} on {self.policy.head.weight.device}: {frozen:,} frozen parameters, "
            f"{trained:,} trained, {self._micro_batch} stocks at a time"
        )

    def decide(self, market: Market) -> NDArray[np.float64]:
        """See `Allocator.decide`. Raises ValueError for a market with another number of indicators."""
        self._check_width(market)
        if self._learning.variance_aversion:
            covariance(market)  # where it cannot be had, that is better known now than at the end of the month
        shares = torch.tensor(prior(market, self._rule))

        def attempt() -> Tensor:
            with precision.watched(self.policy):
                scores = self._scores(self._batches(market.features[market.tradable]))
            return objective.weights(scores.double(), shares.to(scores.device))

        with precision.reproducible(self.policy):
            held, fell_back = precision.run_finite(self.policy, attempt, widen=False)
        weights = _spread(held, market)
        self._decision = Decision(market, weights, fell_back)
        return weights.copy()

    def learn(self, returns: NDArray[np.float64]) -> StepReport:
        """See `Allocator.learn`. The step is one of AdamW, whose weight decay is no part of the loss: where the
        gradient is 0 it still shrinks every parameter by the factor 1 - learning_rate * weight_decay."""
        decision = self._decision
        if decision is None:
            raise NoOpenDecisionError
        market = decision.market
        returns = np.asarray(returns, dtype=np.float64)
        if returns.shape != (len(market.stocks),):
            raise ValueError(f"learn: {len(market.stocks)} stocks were decided on, but returns are {returns.shape}")
        if np.isinf(returns).any():
            stock = market.stocks[int(np.isinf(returns).argmax())]
            raise ValueError(f"learn: the return of {stock} is infinite: give NaN where there is none")

        month = self._history.month(market, returns, self._rule, self._learning)
        with precision.reproducible(self.policy):
            # The softmax undoes a logarithm. A weight too small for fp64, which is 0, has no slope either way.
            held = torch.tensor(decision.weights[market.tradable])  # (M,)
            log_held = held.clamp(min=torch.finfo(held.dtype).tiny).log()
            # A month decided in fp32 is learnt from in fp32: the gradient is that of the weights that were held.
            gradient, fell_back = precision.run_finite(
                self.policy, lambda: self._gradient(month, log_held), widen=decision.fell_back
            )
            step_kl = self._take_step(month, log_held, widen=fell_back)
            effective_names = objective.effective_names(log_held)
        self._history = self._history.after(month, decision, self._learning)
        self._decision = None
        self._step += 1
        terms = gradient.terms
        return StepReport(
            step=self._step,
            loss=terms.loss.item(),
            reward=terms.reward.item(),
            concentration=terms.concentration.item(),
            effective_names=effective_names,
            gradient_norm=gradient.norm.item(),
            drift=float(np.abs(_spread(gradient.weights, market) - decision.weights).max()),
            fallbacks=int(fell_back),
            variance=None if terms.variance is None else terms.variance.item(),
            turnover=None if terms.turnover is None else terms.turnover.item(),
            step_kl=step_kl,
            saliency=tuple(gradient.saliency.tolist()),
        )

    def state(self) -> State:
        """See `Allocator.state`. Its arrays: parameter/NAME, after a step exp_avg/NAME and exp_avg_sq/NAME, and
        history/NAME where the settings ask for a memory of earlier months."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, parameter in self.policy.trainable().items():
            arrays[f"parameter/{name}"] = parameter.detach().cpu().numpy().copy()
            for moment in MOMENTS if self._step else ():
                arrays[f"{moment}/{name}"] = self._optimizer.state[parameter][moment].cpu().numpy().copy()
        arrays |= {f"{HISTORY}{name}": array for name, array in self._history.arrays().items()}
        return State(arrays, self._step, self._decision)

    def restore(self, state: State) -> None:
        """See `Allocator.restore`."""
        trainable = self.policy.trainable()
        kinds = ("parameter", *MOMENTS) if state.step else ("parameter",)
        wanted = {f"{kind}/{name}": tuple(tensor.shape) for name, tensor in trainable.items() for kind in kinds}
        found = {name: array.shape for name, array in state.arrays.items() if not name.startswith(HISTORY)}
        differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        if differing:
            name = differing[0]
            raise ValueError(
                f"the state and this model differ in {len(differing)} tensors: {name} is {found.get(name, 'missing')} "
                f"there and {wanted.get(name, 'missing')} here: use the backbone, lora_r and n_indicators of the state "
                "(and its allocator, trained and cross_attention)"
            )
        spoilt = [name for name, array in state.arrays.items() if not np.isfinite(array).all()]
        if spoilt:
            raise ValueError(f"the state holds numbers that are not finite, in {spoilt[0]} for one: use an older one")
        if state.decision is not None:
            self._check_width(state.decision.market)
        remembered = {name: array for name, array in state.arrays.items() if name.startswith(HISTORY)}
        history = History.from_arrays(
            {name.removeprefix(HISTORY): remembered[name] for name in remembered}, self._n_features
        )

        moments = {}
        with torch.no_grad():
            for i, (name, parameter) in enumerate(trainable.items()):
                parameter.copy_(torch.tensor(state.arrays[f"parameter/{name}"]))
                if state.step:
                    moments[i] = {moment: torch.tensor(state.arrays[f"{moment}/{name}"]) for moment in MOMENTS}
                    moments[i]["step"] = torch.tensor(float(state.step))
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        self._step = state.step
        self._decision = state.decision
        self._history = history

    def _batches(self, features: NDArray[np.float32]) -> tuple[Tensor, ...]:
        """Features (B, L, F) of the tradable stocks (M, L, F), in order, B = micro_batch at a time. The other stocks
        are not sent through the network at all, so that whatever their features hold changes nothing."""
        return torch.split(torch.tensor(features).to(self.policy.head.weight.device), self._micro_batch)

    @torch.no_grad()
    def _scores(self, batches: Sequence[Tensor]) -> Tensor:
        """Scores (M,) of the stocks in the batches."""
        policy = self.policy
        if policy.stocks_meet:
            return policy.score(torch.cat([policy.encode(batch) for batch in batches]))
        return torch.cat([policy.score(policy.encode(batch)) for batch in batches])

    def _backward(self, batches: Sequence[Tensor], slope: Tensor) -> Tensor:
        """Add the gradient of slope . scores to every `grad`, those of the batches too where they ask for one; slope is
        (M,). Returns the scores (M,).

        Where stocks meet in front of the head, its slope in all hidden states comes first, from states without a
        graph; then every batch passes the encoder once more, and back.
        """
        policy = self.policy
        if not policy.stocks_meet:
            scores = []
            for batch, into in zip(batches, torch.split(slope, self._micro_batch), strict=True):
                out = policy.score(policy.encode(batch))  # (B,)
                torch.autograd.backward(out, into)
                scores.append(out.detach())
            return torch.cat(scores)
        with torch.no_grad():
            hidden = torch.cat([policy.encode(batch) for batch in batches])  # (M, D)
        hidden.requires_grad_()
        met = policy.score(hidden)
        torch.autograd.backward(met, slope)
        assert hidden.grad is not None
        if not policy.frozen_encoder:
            for batch, into in zip(batches, torch.split(hidden.grad, self._micro_batch), strict=True):
                torch.autograd.backward(policy.encode(batch), into)
        return met.detach()

    def _gradient(self, month: Month, log_held: Tensor) -> "_Gradient":
        """Fill the `grad` of every trainable tensor with the gradient of the loss of the month, whose weights are known
        by their logarithms (M,), averaged with those of the months replayed.

        Stocks meet in the softmax, and the loss's slope in the scores is a function of the weights. These were decided:
        so the slope is known before any stock passes, each batch goes forward and back by itself, and its graph is gone
        before the next one's is built. The sum over the batches, in order, is the whole gradient. A month that is
        replayed passes once more before that, to know what its weights would be now.
        """
        months = (*self._history.months, month)
        shares = self._learning.replay_decay ** np.arange(len(months))[::-1]
        gradients = [torch.zeros_like(parameter) for parameter in self.policy.trainable().values()]
        for parameter, gradient in zip(self.policy.trainable().values(), gradients, strict=True):
            parameter.grad = gradient  # made before the graph is, so that the heap closes the gaps which that leaves
        with precision.watched(self.policy):
            log_weights = [self._log_weights(past) for past in self._history.months] + [log_held]
            slopes: list[Tensor] = []
            for each, log_w, share in zip(months, log_weights, shares / shares.sum(), strict=True):
                logits = log_w.requires_grad_()
                terms = self._terms(each, logits)
                precision.check_finite(terms.loss, "loss")
                slopes += torch.autograd.grad(terms.loss * share, logits)  # dloss/dscores (M,)

            # fp16 has no numbers below 6e-8, where much of a gradient lies: the backward pass runs on a multiple of it.
            # The factor is a power of two, so that multiplying and dividing are exact.
            head = self.policy.head.weight.detach()
            largest = max(float(slope.abs().max()) for slope in slopes) * float(head.abs().max())
            scale = 2.0 ** (BACKWARD_EXPONENT - math.frexp(largest)[1]) if largest else 1.0
            for each, slope in zip(months, slopes, strict=True):
                batches = self._batches(each.features)
                if each is month and not self.policy.frozen_encoder:
                    for batch in batches:
                        batch.requires_grad_()
                scores = self._backward(batches, (slope * scale).to(head))
        for gradient in gradients:
            gradient /= scale
        norm = torch.nn.utils.get_total_norm(gradients)
        precision.check_finite(norm, "gradient")
        products = [(batch.grad * batch.detach()).abs().sum((0, 1)) for batch in batches if batch.grad is not None]
        saliency = torch.stack(products).sum(0) / scale if products else torch.empty(0)
        recomputed = objective.weights(scores.double(), torch.tensor(month.prior).to(scores.device))
        return _Gradient(terms, recomputed, norm, saliency)

    def _terms(self, month: Month, logits: Tensor) -> objective.Terms:
        learning = self._learning
        return objective.terms(
            logits,
            torch.tensor(month.returns),
            entropy=learning.entropy,
            eta=learning.eta,
            prior=torch.tensor(month.prior),
            reward=learning.reward,
            moments=(float(month.moments[0]), float(month.moments[1])),
            covariance=None if month.covariance is None else torch.tensor(month.covariance),
            variance_aversion=learning.variance_aversion,
            drifted=None if month.drifted is None else torch.tensor(month.drifted),
            turnover_cost=learning.turnover_cost,
        )

    def _log_weights(self, month: Month) -> Tensor:
        """Logarithms of the month's weights (M,) with the present parameters, on the CPU."""
        scores = self._scores(self._batches(month.features)).double()
        return objective.log_weights(scores, torch.tensor(month.prior).to(scores.device)).cpu()

    def _take_step(self, month: Month, log_held: Tensor, *, widen: bool) -> float | None:
        """One step of AdamW, shortened until it moves the month's weights by at most `max_step_kl`. Returns KL(weights
        after || weights before), or None where nobody has asked for it and a forward pass of the network is expensive.

        KL grows with the square of a small step's length, so that one guess from that, which aims at four fifths of the
        limit, is mostly enough; after `MAX_SHORTENINGS` the parameters stay as they were. AdamW's moments are those of
        the whole step in any case.
        """
        limit = self._learning.max_step_kl
        trainable = list(self.policy.trainable().values())
        before = [parameter.detach().clone() for parameter in trainable] if limit else []
        self._optimizer.step()
        cheap = sum(parameter.numel() for parameter in self.policy.parameters()) < precision.SINGLE_THREAD
        if not limit and not cheap:
            return None
        moved = self._moved(month, log_held, widen=widen)
        if not limit or moved <= limit:
            return moved
        changes = [parameter.detach() - start for parameter, start in zip(trainable, before, strict=True)]
        length = 1.0
        for _ in range(MAX_SHORTENINGS):
            length *= max(math.sqrt(0.8 * limit / moved), 1 / 16)  # 1 / 16: where it moves infinitely far
            self._place(before, changes, length)
            moved = self._moved(month, log_held, widen=widen)
            if moved <= limit:
                return moved
        self._place(before, changes, 0.0)
        return 0.0

    @torch.no_grad()
    def _place(self, before: list[Tensor], changes: list[Tensor], length: float) -> None:
        for parameter, start, change in zip(self.policy.trainable().values(), before, changes, strict=True):
            parameter.copy_(start + length * change)

    def _moved(self, month: Month, log_held: Tensor, *, widen: bool) -> float:
        """KL(weights with the present parameters || weights held), infinite where the former are not finite."""

        def attempt() -> Tensor:
            with precision.watched(self.policy):
                return self._log_weights(month)

        try:
            log_w, _ = precision.run_finite(self.policy, attempt, widen=widen)
        except precision.NonFiniteError:
            return math.inf
        return objective.relative_entropy(log_w, log_held.detach()).item()

    def _check_width(self, market: Market) -> None:
        if market.features.shape[2] != self._n_features:
            raise ValueError(
                f"market of {market.instant}: {market.features.shape[2]} indicators, but the model was made for "
                f"{self._n_features}"
            )


@dataclass(frozen=True)
class _Gradient:
    terms: objective.Terms  # of the month alone
    weights: Tensor  # (M,) recomputed
    norm: Tensor
    saliency: Tensor  # (F,), or (0,) where nothing goes backward through the encoder


def _spread(shares: Tensor, market: Market) -> NDArray[np.float64]:
    """Weights (N,) of the shares (M,) of the tradable stocks: 0 for the others."""
    weights = np.zeros(len(market.stocks))
    weights[market.tradable] = shares.cpu().numpy()
    return weights
