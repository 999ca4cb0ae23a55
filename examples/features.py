"""Use `indicators/` alone: from daily bars to the features that the model sees.

    python examples/features.py

The bars are random walks, so nothing here says anything about stocks.
"""

import numpy as np

from indicators import CATALOGUE, Bars, compute, required_bars, scale, select

N_STOCKS = 40
WINDOW = 21  # L, sessions that the model sees


def random_bars(rng: np.random.Generator) -> Bars:
    """(N, T) bars of N random walks, as many sessions as the slowest indicator needs."""
    shape = N_STOCKS, required_bars(WINDOW)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, shape), axis=1))
    open_ = close * np.exp(rng.normal(0, 0.005, shape))
    high = np.maximum(open_, close) * np.exp(rng.exponential(0.004, shape))
    low = np.minimum(open_, close) * np.exp(-rng.exponential(0.004, shape))
    return Bars(open_, high, low, close, rng.integers(100_000, 5_000_000, shape).astype(float))


def main() -> None:
    bars = random_bars(np.random.default_rng(1))
    print(f"{bars.close.shape[0]} stocks, {bars.close.shape[1]} sessions; {len(CATALOGUE)} candidates")

    panel = compute(bars, WINDOW)  # (N, L, 61)
    chosen = select(panel.values, panel.names, n_indicators=41, max_vif=0.0, instant="2026-01-02")
    print(f"VIF keeps {len(chosen.names)}: {', '.join(chosen.names[:6])}, ...")

    kept = compute(bars, WINDOW, chosen.names)  # (N, L, 41): only those are computed from now on
    features = scale(kept.values, kept.usable, "rank")
    print(f"features {features.shape}, from {features.min():+.0f} to {features.max():+.0f}, {features.dtype}")
    print(f"{chosen.names[0]} of the first stock in the last five sessions: {np.round(features[0, -5:, 0], 2)}")


if __name__ == "__main__":
    main()
