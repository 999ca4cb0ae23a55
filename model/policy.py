"""The network: features to one score a stock. The softmax over the scores is the portfolio.

Axes: N stocks, L sessions, F indicators, D width of the encoder.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

from model import backbone, precision
from model.attention import StockAttention
from model.encoder import Encoder
from settings import ModelSettings


def load_policy(chosen: ModelSettings, *, n_features: int, seed: int) -> "Policy":
    """The network that the settings name, on its device. Raises what `backbone.load` raises."""
    size = backbone.n_parameters(chosen.backbone)
    device, dtype = precision.resolve(chosen.device, chosen.precision, size)
    encoder = backbone.load(chosen.backbone, dtype, device)
    if chosen.trained == "lora":
        backbone.add_adapters(
            encoder,
            r=chosen.lora_r,
            alpha=chosen.lora_alpha,
            use_rslora=chosen.use_rslora,
            use_dora=chosen.use_dora,
        )
    return Policy(
        encoder,
        n_features,
        seed=seed,
        init_lora_weights=chosen.init_lora_weights,
        frozen_encoder=chosen.trained == "head",
        cross_attention=chosen.cross_attention,
    )


class Policy(nn.Module):
    """Projection, frozen encoder with LoRA adapters, head.

    Every stock is a sequence of its own: no stock's score depends on which others are scored with it. Stocks meet only
    in the softmax, which is part of the objective, and in front of the head where there is `cross_attention`.

    encoder: as `backbone.load` and `backbone.add_adapters` leave it.
    seed: every trainable tensor is drawn from a generator of its own, made of this seed and the tensor's name.
    init_lora_weights: how the adapters start, by peft's names `true`, `gaussian` and `orthogonal`. Those that change
        the frozen weights (pissa, olora) or read data (eva, corda) are not here.
    frozen_encoder: only what comes after the encoder learns; nothing goes backward through `encode`.
    cross_attention: attention across the stocks in front of the head; then `score` needs all of a month's at once.
    """

    def __init__(
        self,
        encoder: Encoder,
        n_features: int,
        *,
        seed: int,
        init_lora_weights: str,
        frozen_encoder: bool = False,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        self.frozen_encoder = frozen_encoder
        self.stocks_meet = cross_attention
        device = encoder.final_layer_norm.weight.device
        with torch.device("meta"):  # shapes only: `_initial` has the values
            self.projection = nn.Linear(n_features, encoder.config.d_model)
            self.head = nn.Linear(encoder.config.d_model, 1, bias=False)  # the softmax would cancel a bias
            self.attention = StockAttention(encoder.config.d_model) if cross_attention else None
        self.encoder = encoder
        for name, empty in self.trainable().items():
            linear, dora, _ = name.partition(".lora_magnitude_vector.")
            if dora:  # starts as the norms that the frozen weights have
                value = self.get_parameter(f"{linear}.base_layer.weight").float().norm(dim=1)
            else:
                value = _initial(name, empty.shape, seed, init_lora_weights).to(device)
            owner, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(owner), leaf, nn.Parameter(value))
        self.projection.requires_grad_(not frozen_encoder)

    def trainable(self) -> dict[str, nn.Parameter]:
        """All that learns: LoRA A and B of q, k, v, o in each layer (and DoRA's magnitudes, where chosen), projection,
        head; fp32, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def forward(self, features: Tensor) -> Tensor:
        """Scores (N,) of features (N, L, F), both fp32."""
        return self.score(self.encode(features))

    def encode(self, features: Tensor) -> Tensor:
        """Features (N, L, F) -> hidden states (N, D) of the last session, stock by stock."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
            steps = self.projection(features)  # (N, L, F) -> (N, L, D)
            hidden: Tensor = self.encoder(steps)  # (N, L, D) -> (N, D)
            return hidden

    def score(self, hidden: Tensor) -> Tensor:
        """Hidden states (N, D) -> scores (N,)."""
        met = hidden if self.attention is None else self.attention(hidden)
        scores: Tensor = self.head(met).squeeze(-1)
        return scores


def _initial(name: str, shape: torch.Size, seed: int, init_lora_weights: str) -> Tensor:
    """The value that a trainable tensor starts from, drawn on the CPU so that every device starts from the same bits.

    The projection starts as torch starts linear maps, uniform in +-1/sqrt(inputs), its bias at 0, and the adapters as
    peft starts them. B A = 0 in each case, so that the first decision is the frozen encoder's own. The head starts at a
    standard deviation of 1/D: hidden states of order 1 then give scores of order 1/sqrt(D), close to equal weights,
    while, unlike at 0, gradients reach everything below from the first step. Its size does not slow learning: AdamW
    divides it out. Attention across the stocks starts without effect, as the adapters do.
    """
    generator = _generator(name, seed)
    if name == "head.weight":
        return torch.randn(shape, generator=generator) / shape[-1]
    if ".lora_" in name and init_lora_weights == "orthogonal":
        # A draws from half the rows of an orthogonal matrix (r, r) that both share, B from the other half.
        is_b = ".lora_B." in name
        size, r = shape if is_b else reversed(shape)
        shared = torch.randn(r, r, generator=_generator(name.partition(".lora_")[0], seed))
        rows = torch.linalg.qr(shared).Q[int(is_b) :: 2]  # (r / 2, r)
        drawn: Tensor = torch.randn(size, r // 2, generator=generator) @ rows / 10  # (size, r)
        return drawn if is_b else drawn.T.contiguous()
    if ".lora_B." in name or name in ("projection.bias", "attention.output.weight"):
        return torch.zeros(shape)
    if ".lora_A." in name and init_lora_weights == "gaussian":
        return torch.randn(shape, generator=generator) / shape[0]
    return (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(shape[-1])


def _generator(name: str, seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
