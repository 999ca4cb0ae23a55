"""Attention across the stocks of a month."""

import math

import torch
from torch import Tensor, nn

WIDTH = 64  # of queries, keys and values: at D = 1024 a twelfth of what full width would train


class StockAttention(nn.Module):
    """One block of attention (Vaswani et al., 2017) with a residual connection, in which every stock looks at all.

    There is no position: permuting the stocks permutes the result. The stocks that cannot be traded never come here.

    width: D, of a stock's hidden state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, WIDTH, bias=False)
        self.key = nn.Linear(width, WIDTH, bias=False)
        self.value = nn.Linear(width, WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        similarity = self.query(hidden) @ self.key(hidden).T / math.sqrt(WIDTH)  # (N, N)
        mixed = torch.softmax(similarity, dim=-1) @ self.value(hidden)  # (N, WIDTH)
        met: Tensor = hidden + self.output(mixed)
        return met
