"""T5's encoder, written for one use: the hidden state of the last session, and gradients for adapters alone.

Parameters have the names of T5's checkpoints, and adapters are peft's layers. The mathematics is that of transformers'
`T5Stack` with peft's LoRA; what differs is what is computed and what is kept:

* Of the last layer only what the last session's hidden state depends on.
* The relative position bias once a pass, for all layers and stocks.
* The A of q, k and v, which read the same input, as one product.
* For the backward pass a layer keeps its input, q, k, v, the attention's weights and output, and what the ReLUs
  let through. A frozen matrix needs no input, and the normed input is computed again.

The residual stream, norms, softmax and adapters are fp32; each frozen matrix multiplies in its own type.

Axes: N stocks, L sessions, Q queries, D width of the encoder, H heads, r rank of an adapter.
"""

import math
from typing import Any, cast

import torch
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from transformers import T5Config

ADAPTER = "default"  # peft's name of a model's first adapter


class Encoder(nn.Module):
    """config: of a T5 whose feed-forward layers are plain ReLU, as Chronos' are."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.block = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        position = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)
        self.get_submodule("block.0.layer.0.SelfAttention").add_module("relative_attention_bias", position)
        self.final_layer_norm = RMSNorm(config)

    def forward(self, steps: Tensor) -> Tensor:
        """The last session's hidden state (N, D) of steps (N, L, D), both fp32."""
        bias = self._position_bias(steps.shape[1], steps.device)
        *blocks, last = self.block
        for block in blocks:
            steps = block(steps, bias)
        steps = last(steps, bias[:, -1:])
        hidden: Tensor = self.final_layer_norm(steps[:, 0])[0]
        return hidden

    def _position_bias(self, length: int, device: torch.device) -> Tensor:
        """What every layer adds to its attention scores: (H, L, L), by the distance from query to key.

        A quarter of the buckets is for one distance each, the next for logarithmic ranges up to
        `relative_attention_max_distance`, and the other half for keys that come after the query.
        """
        half = self.config.relative_attention_num_buckets // 2
        exact = half // 2
        session = torch.arange(length, device=device)
        ahead = session - session[:, None]  # query, key: (L, L)
        distance = ahead.abs()
        reach = math.log(self.config.relative_attention_max_distance / exact)
        far = exact + (torch.log(distance.clamp(min=exact) / exact) / reach * (half - exact)).long()
        bucket = torch.where(distance < exact, distance, far.clamp(max=half - 1)) + half * (ahead > 0)
        return self.get_parameter("block.0.layer.0.SelfAttention.relative_attention_bias.weight").T[:, bucket]


class Block(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList([Attention(config), FeedForward(config)])

    def forward(self, steps: Tensor, bias: Tensor) -> Tensor:
        """Steps (N, Q, D), the last Q of each stock's, of steps (N, L, D) and the position bias (H, Q, L)."""
        attention, feed_forward = self.layer
        changed: Tensor = feed_forward(attention(steps, bias))
        return changed


class Attention(nn.Module):
    """Norm, self-attention and the residual around them."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        inner = config.num_heads * config.d_kv
        self.SelfAttention = nn.ModuleDict(
            {name: nn.Linear(config.d_model, inner, bias=False) for name in "qkv"}
            | {"o": nn.Linear(inner, config.d_model, bias=False)}
        )
        self.layer_norm = RMSNorm(config)
        self.n_heads = config.num_heads

    def forward(self, steps: Tensor, bias: Tensor) -> Tensor:
        """Steps (N, Q, D), the last Q of each stock's, of steps (N, L, D) and the position bias (H, Q, L)."""
        maps: Any = self.SelfAttention
        q, k, v, o = maps.q, maps.k, maps.v, maps.o

        def last(x: Tensor) -> Tensor:  # the queries; a product of rows with gaps would copy the matrix for each stock
            return x[:, -bias.shape[1] :].contiguous()

        if isinstance(q, AdaptedLinear):
            down = torch.cat([linear.down for linear in (q, k, v)])  # (3 r, D)
            normed, low = self.layer_norm(steps, q.weight.dtype, down)
            low_q, low_k, low_v = low.chunk(3, dim=-1)
            mixed = self._mix(q(last(normed), last(low_q)), k(normed, low_k), v(normed, low_v), bias)
            return last(steps) + cast(Tensor, o(mixed, functional.linear(mixed.float(), o.down)))
        normed, _ = self.layer_norm(steps, q.weight.dtype)
        return last(steps) + cast(Tensor, o(self._mix(q(last(normed)), k(normed), v(normed), bias)))

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """The values (N, L, H d) weighted by softmax(q k + bias), (N, Q, H d)."""
        n, heads = len(v), (self.n_heads, v.shape[2] // self.n_heads)
        q, k, v = (x.view(n, -1, *heads).transpose(1, 2).flatten(0, 1) for x in (q, k, v))  # (N H, L, d)
        scores = torch.bmm(q, k.mT).float().view(n, *bias.shape) + bias  # T5 does not divide by the square root of d
        shares = torch.softmax(scores, dim=-1).to(v.dtype).flatten(0, 1)  # (N H, Q, L)
        return torch.bmm(shares, v).view(n, self.n_heads, -1, heads[1]).transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Norm, two linear maps with a ReLU between them, and the residual around them."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = nn.ModuleDict(
            {
                "wi": nn.Linear(config.d_model, config.d_ff, bias=False),
                "wo": nn.Linear(config.d_ff, config.d_model, bias=False),
            }
        )
        self.layer_norm = RMSNorm(config)

    def forward(self, steps: Tensor) -> Tensor:
        maps: Any = self.DenseReluDense
        normed, _ = self.layer_norm(steps, maps.wi.weight.dtype)
        wide = functional.relu(maps.wi(normed), inplace=True)
        return steps + cast(Tensor, maps.wo(wide.to(maps.wo.weight.dtype)))


class AdaptedLinear(lora.Linear):  # type: ignore[misc]
    """peft's LoRA layer, whose narrow product x A^T is the caller's, so that maps of one input can share it."""

    @property
    def down(self) -> Tensor:
        """A, (r, inputs)."""
        return cast(Tensor, self.lora_A[ADAPTER].weight)

    def forward(self, x: Tensor, low: Tensor) -> Tensor:
        """x (N, L, inputs) in the type of the frozen matrix, low = x A^T (N, L, r) in fp32: (N, L, outputs), as x."""
        up, scaling = cast(Tensor, self.lora_B[ADAPTER].weight), self.scaling[ADAPTER]
        out: Tensor = _AddAdapter.apply(self.base_layer(x), low, up, scaling)  # type: ignore[no-untyped-call]
        if ADAPTER not in self.lora_magnitude_vector:
            return out
        dora: Any = self.lora_magnitude_vector[ADAPTER]
        norm = dora.get_weight_norm(self.weight.float(), (up @ self.down).detach(), scaling)  # has no gradient
        return cast(Tensor, out * (dora.weight / norm)).to(out.dtype)


class RMSNorm(nn.Module):
    """x over its root mean square, times a weight for each of the D."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.d_model))
        self.eps: float = config.layer_norm_epsilon

    def forward(
        self, x: Tensor, dtype: torch.dtype = torch.float32, down: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x (..., D) normed, in `dtype`; and that times down^T (R, D), in fp32, where it is given."""
        normed, low = _Norm.apply(x, self.weight, self.eps, dtype, down)  # type: ignore[no-untyped-call]
        return normed, low


class _Norm(Function):
    """`RMSNorm` for a frozen weight. Keeps x alone of all that has its size."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype, down: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        normed = x * inverse * weight
        ctx.save_for_backward(x, inverse, weight, down)
        return normed.to(dtype), None if down is None else functional.linear(normed, down)

    @staticmethod
    def backward(ctx: Any, slope: Tensor, slope_low: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, inverse, weight, down = ctx.saved_tensors
        unit = x * inverse
        slope_down = None
        if down is not None and slope_low is not None:
            slope = slope + slope_low @ down
            slope_down = slope_low.flatten(0, -2).T @ (unit * weight).flatten(0, -2)
        slope = slope * weight  # fp32 from here on
        slope_x = slope.addcmul_(unit, (slope * unit).mean(-1, keepdim=True), value=-1).mul_(inverse)
        return slope_x, None, None, None, slope_down


class _AddAdapter(Function):
    """base (N, L, outputs) + scaling * low (N, L, r) B^T, summed in fp32, in the type of base."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, low: Tensor, up: Tensor, scaling: float) -> Tensor:  # type: ignore[override]
        low = low.flatten(0, -2)
        ctx.save_for_backward(low, up)
        ctx.scaling = scaling
        wide = base.flatten(0, -2).to(torch.float32, copy=True)
        return wide.addmm_(low, up.T, alpha=scaling).to(base.dtype).view(base.shape)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        low, up = ctx.saved_tensors
        wide = slope.float().flatten(0, -2)
        # The narrow product first: autograd's own order, slope^T low, takes five times as long.
        slope_up = (ctx.scaling * low.T @ wide).T
        slope_low = functional.linear(wide, ctx.scaling * up.T).view(*slope.shape[:-1], -1)
        return slope, slope_low, slope_up, None
