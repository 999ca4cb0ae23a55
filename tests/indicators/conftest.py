"""An invented market: prices with changing volatility, gaps between close and open, and uneven volume."""

from collections.abc import Callable

import numpy as np
import pytest

from indicators import Bars


def _invent(n_stocks: int, n_sessions: int, seed: int) -> Bars:
    rng = np.random.default_rng(seed)
    shape = (n_stocks, n_sessions)
    volatility = np.clip(0.015 * np.exp(np.cumsum(rng.normal(0, 0.015, shape), axis=1)), 0.004, 0.08)
    close = 50 * np.exp(rng.normal(0, 1, (n_stocks, 1)) + np.cumsum(rng.normal(0, 1, shape) * volatility, axis=1))
    open_ = np.roll(close, 1, axis=1) * np.exp(rng.normal(0, 0.3, shape) * volatility)
    open_[:, 0] = close[:, 0]
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.5, shape)) * volatility)
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.5, shape)) * volatility)
    volume = rng.lognormal(14, 0.4, shape) * np.exp(rng.normal(0, 1, (n_stocks, 1)))
    return Bars(open_, high, low, close, np.round(volume))


@pytest.fixture(scope="session")
def invent() -> Callable[[int, int, int], Bars]:
    """invent(n_stocks, n_sessions, seed) -> Bars"""
    return _invent
