"""Use `model/` alone: decide on weights, learn from what they earned, a month at a time.

    python examples/learning.py

The market is invented: one of four features tells next month's return, and the others are noise. The encoder is
`tiny-random`, which needs no download. Returns are those over equal weights, so that what it earns it has learnt.
"""

from datetime import datetime

import numpy as np

from model import Market, make_allocator
from settings import Settings

MONTHS, N_STOCKS, SESSIONS, N_FEATURES = 36, 30, 21, 4


def main() -> None:
    rng = np.random.default_rng(1)
    options = Settings.from_parameters({"backbone": "tiny-random", "precision": "fp32", "seed": "1"})
    allocator = make_allocator(options, n_features=N_FEATURES)
    print(allocator)

    stocks = tuple(f"stock {i}" for i in range(N_STOCKS))
    earned = []
    for month in range(MONTHS):
        features = rng.uniform(-1, 1, (N_STOCKS, SESSIONS, N_FEATURES)).astype(np.float32)
        returns = 0.05 * features[:, -1, 0] + rng.normal(0, 0.02, N_STOCKS)
        returns -= returns.mean()
        market = Market(datetime(2020 + month // 12, month % 12 + 1, 1), stocks, features, np.full(N_STOCKS, True))
        weights = allocator.decide(market)  # (N,), not negative, sum 1
        report = allocator.learn(returns)  # one AdamW step
        earned.append(weights @ returns)
        if (month + 1) % 12 == 0:
            year = np.mean(earned[-12:])
            print(f"year {month // 12 + 1}: {year:+.2%} a month, {report.effective_names:.1f} effective names")


if __name__ == "__main__":
    main()
