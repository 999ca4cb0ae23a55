"""The online learner: decides a month's weights, and learns from what they earned by one AdamW step."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import backbone, objective, precision
from model.allocator import Decision, Market, NoOpenDecisionError, State, StepReport
from model.policy import Policy
from settings import LearningSettings, ModelSettings

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's names for its first and second moments

# The largest entry of the gradient that enters the encoder is brought to [2^7, 2^8): see `_gradient`.
BACKWARD_EXPONENT = 8


class OnlineLearner:
    """Chronos, or any T5, as an `Allocator`.

    Decide: scores of the tradable stocks, softmax. Learn: the loss at the realised returns, the same forward pass again
    with the same parameters, the gradient, one step. The graph is not kept over the month, so that a restart in between
    changes nothing; and the stocks pass in batches of `micro_batch`, so that the memory is that of one batch.

    Number types: the frozen matrices in `model.precision`, the rest of the network in fp32, softmax and loss, which are
    N numbers, in fp64. Where any number is not finite, the month runs again in fp32 from the same state.

    Two learners with the same settings and seed give the same bits on one machine with one number of threads. There is
    no randomness after the initial parameters.

    model, learning: see settings.py.
    n_features: F, the number of indicators.
    seed: of the initial parameters.
    The backbone is loaded when it is first needed; what `backbone.load` raises is raised then.
    """

    def __init__(self, model: ModelSettings, learning: LearningSettings, *, n_features: int, seed: int) -> None:
        self._model = model
        self._learning = learning
        self._n_features = n_features
        self._seed = seed
        self._decision: Decision | None = None
        self._step = 0

    @cached_property
    def policy(self) -> Policy:
        """The network; loads the backbone the first time."""
        chosen = self._model
        size = backbone.n_parameters(chosen.backbone)
        device, dtype = precision.resolve(chosen.device, chosen.precision, size)
        encoder = backbone.load(chosen.backbone, dtype, device)
        backbone.add_adapters(
            encoder,
            r=chosen.lora_r,
            alpha=chosen.lora_alpha,
            use_rslora=chosen.use_rslora,
            use_dora=chosen.use_dora,
        )
        return Policy(encoder, self._n_features, seed=self._seed, init_lora_weights=chosen.init_lora_weights)

    @cached_property
    def _optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.policy.trainable().values(),
            lr=self._learning.learning_rate,
            weight_decay=self._learning.weight_decay,
        )

    def __str__(self) -> str:
        """What runs where, for a log: `auto` settings as they were resolved. Loads the backbone."""
        matrix = self.policy.get_parameter("encoder.block.0.layer.0.SelfAttention.q.base_layer.weight")
        frozen, trained = (
            sum(parameter.numel() for parameter in self.policy.parameters() if parameter.requires_grad == learns)
            for learns in (False, True)
        )
        dtype = next(name for name, dtype in precision.DTYPES.items() if dtype == matrix.dtype)
        return (
            f"{self._model.backbone} in {dtype} on {matrix.device}: {frozen:,} frozen parameters, {trained:,} trained, "
            f"{self._model.micro_batch} stocks at a time"
        )

    def decide(self, market: Market) -> NDArray[np.float64]:
        """See `Allocator.decide`. Raises ValueError for a market with another number of indicators."""
        self._check_width(market)

        @torch.no_grad()
        def attempt() -> Tensor:
            with precision.watched(self.policy):
                scores = [self.policy(batch) for batch in self._batches(market)]
            return objective.weights(torch.cat(scores).double())

        with precision.reproducible(self.policy):
            shares, fell_back = precision.run_finite(self.policy, attempt, widen=False)
        weights = _spread(shares, market)
        self._decision = Decision(market, weights, fell_back)
        return weights.copy()

    def learn(self, returns: NDArray[np.float64]) -> StepReport:
        """See `Allocator.learn`. The step is one of AdamW, whose weight decay is no part of the loss: where the
        gradient is 0 it still shrinks every parameter by the factor 1 - learning_rate * weight_decay."""
        decision = self._decision
        if decision is None:
            raise NoOpenDecisionError("learn: there is no open decision: call decide first, and learn once for each")
        market = decision.market
        returns = np.asarray(returns, dtype=np.float64)
        if returns.shape != (len(market.stocks),):
            raise ValueError(f"learn: {len(market.stocks)} stocks were decided on, but returns are {returns.shape}")
        if np.isinf(returns).any():
            stock = market.stocks[int(np.isinf(returns).argmax())]
            raise ValueError(f"learn: the return of {stock} is infinite: give NaN where there is none")

        with precision.reproducible(self.policy):
            # A month decided in fp32 is learnt from in fp32: the gradient is that of the weights that were held.
            gradient, fell_back = precision.run_finite(
                self.policy, lambda: self._gradient(decision, returns), widen=decision.fell_back
            )
            self._optimizer.step()
        self._decision = None
        self._step += 1
        concentration = gradient.terms.concentration.item()
        return StepReport(
            step=self._step,
            loss=gradient.terms.loss.item(),
            reward=gradient.terms.reward.item(),
            concentration=concentration,
            effective_names=objective.effective_names(concentration, int(market.tradable.sum())),
            gradient_norm=gradient.norm.item(),
            drift=float(np.abs(_spread(gradient.weights, market) - decision.weights).max()),
            fallbacks=int(fell_back),
        )

    def state(self) -> State:
        """See `Allocator.state`. Its arrays: parameter/NAME, and after a step exp_avg/NAME and exp_avg_sq/NAME."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, parameter in self.policy.trainable().items():
            arrays[f"parameter/{name}"] = parameter.detach().cpu().numpy().copy()
            for moment in MOMENTS if self._step else ():
                arrays[f"{moment}/{name}"] = self._optimizer.state[parameter][moment].cpu().numpy().copy()
        return State(arrays, self._step, self._decision)

    def restore(self, state: State) -> None:
        """See `Allocator.restore`."""
        trainable = self.policy.trainable()
        kinds = ("parameter", *MOMENTS) if state.step else ("parameter",)
        wanted = {f"{kind}/{name}": tuple(tensor.shape) for name, tensor in trainable.items() for kind in kinds}
        found = {name: array.shape for name, array in state.arrays.items()}
        differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        if differing:
            name = differing[0]
            raise ValueError(
                f"the state and this model differ in {len(differing)} tensors: {name} is {found.get(name, 'missing')} "
                f"there and {wanted.get(name, 'missing')} here: use the backbone, lora_r and n_indicators of the state"
            )
        spoilt = [name for name, array in state.arrays.items() if not np.isfinite(array).all()]
        if spoilt:
            raise ValueError(f"the state holds numbers that are not finite, in {spoilt[0]} for one: use an older one")
        if state.decision is not None:
            self._check_width(state.decision.market)

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

    def _batches(self, market: Market) -> tuple[Tensor, ...]:
        """Features (B, L, F) of the tradable stocks, in order, B = micro_batch at a time. The other stocks are not sent
        through the network at all, so that whatever their features hold changes nothing."""
        features = torch.tensor(market.features[market.tradable])  # (N, L, F) -> (M, L, F)
        return torch.split(features.to(self.policy.head.weight.device), self._model.micro_batch)

    def _gradient(self, decision: Decision, returns: NDArray[np.float64]) -> "_Gradient":
        """Fill the `grad` of every trainable tensor with the gradient of the loss at returns (N,).

        Stocks meet in the softmax alone, and the loss's slope in the scores is a function of the weights. These were
        decided: so the slope is known before any stock passes, each batch goes forward and back by itself, and its
        graph is gone before the next one's is built. The sum over the batches, in order, is the whole gradient.
        """
        market = decision.market
        held = torch.tensor(decision.weights[market.tradable])  # (M,)
        # The softmax undoes a logarithm. A weight too small for fp64, which is 0, has no slope either way.
        scores = held.clamp(min=torch.finfo(held.dtype).tiny).log().requires_grad_()
        realised = torch.tensor(returns[market.tradable])
        terms = objective.terms(scores, realised, entropy=self._learning.entropy, eta=self._learning.eta)
        precision.check_finite(terms.loss, "loss")
        (slope,) = torch.autograd.grad(terms.loss, scores)  # dloss/dscores (M,)

        # fp16 has no numbers below 6e-8, where much of a gradient lies: the backward pass runs on a multiple of it. The
        # factor is a power of two, so that multiplying and dividing are exact.
        head = self.policy.head.weight.detach()
        largest = float(slope.abs().max()) * float(head.abs().max())
        scale = 2.0 ** (BACKWARD_EXPONENT - math.frexp(largest)[1]) if largest else 1.0
        slopes = torch.split((slope * scale).to(head), self._model.micro_batch)

        gradients = [torch.zeros_like(parameter) for parameter in self.policy.trainable().values()]
        for parameter, gradient in zip(self.policy.trainable().values(), gradients, strict=True):
            parameter.grad = gradient  # made before the graph is, so that the heap closes the gaps which that leaves
        recomputed = []
        with precision.watched(self.policy):
            for batch, into in zip(self._batches(market), slopes, strict=True):
                out = self.policy(batch)  # (B,)
                out.backward(into)
                recomputed.append(out.detach())
        for gradient in gradients:
            gradient /= scale
        norm = torch.nn.utils.get_total_norm(gradients)
        precision.check_finite(norm, "gradient")
        return _Gradient(terms, objective.weights(torch.cat(recomputed).double()), norm)

    def _check_width(self, market: Market) -> None:
        if market.features.shape[2] != self._n_features:
            raise ValueError(
                f"market of {market.instant}: {market.features.shape[2]} indicators, but the model was made for "
                f"{self._n_features}"
            )


@dataclass(frozen=True)
class _Gradient:
    terms: objective.Terms
    weights: Tensor  # (M,)
    norm: Tensor


def _spread(shares: Tensor, market: Market) -> NDArray[np.float64]:
    """Weights (N,) of the shares (M,) of the tradable stocks: 0 for the others."""
    weights = np.zeros(len(market.stocks))
    weights[market.tradable] = shares.cpu().numpy()
    return weights
