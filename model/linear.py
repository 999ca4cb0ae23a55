"""The control without a language model: one weight an indicator."""

from torch import Tensor, nn


class Linear(nn.Module):
    """Scores are a linear map of the last session's F indicators.

    The last session alone: most indicators hold weeks in one number already, and F parameters are what a step a month
    can learn in ten years; L * F, of neighbouring sessions that say nearly the same, are not. The map starts at 0, so
    that the first decision is the prior, and nothing is drawn: the seed has no part in it.

    n_features: F, the number of indicators.
    """

    stocks_meet = False
    frozen_encoder = False

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.head = nn.Linear(n_features, 1, bias=False)  # the softmax would cancel a bias
        nn.init.zeros_(self.head.weight)

    def trainable(self) -> dict[str, nn.Parameter]:
        """All that learns, by name."""
        return dict(self.named_parameters())

    def encode(self, features: Tensor) -> Tensor:
        """Features (N, L, F) -> (N, F) of the last session."""
        return features[:, -1]

    def score(self, hidden: Tensor) -> Tensor:
        """(N, F) -> scores (N,)."""
        scores: Tensor = self.head(hidden).squeeze(-1)
        return scores
