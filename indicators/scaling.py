"""From indicator values to features of one size.

Raw units cannot be fed to a network: OBV overflows half precision, and prices swamp everything else.
"""

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-12
"""A spread below this part of the largest value is rounding, and counts as no spread."""

CLIP = 5.0
"""Bound of a robust z-score."""


def scale(values: NDArray[np.float64], usable: NDArray[np.bool_], method: str) -> NDArray[np.float32]:
    """Scale a panel.

    values: (N, L, F), finite for the usable stocks.
    usable: (N,) bool.
    method: "rank": rank across the usable stocks at each session, from -1 (smallest) to 1 (largest), equal values at
            their mean rank; a stock alone gets 0.
        "robust": (x - median) / (1.4826 MAD) across the usable stocks at each session, within -5 and 5; 0 if MAD is 0.
        "paper": z-score along the window of each stock and indicator (the paper standardises each series by itself);
            0 if the series is constant. It says nothing about how stocks compare.
    Returns (N, L, F) float32; the rows of other stocks are 0.
    Raises ValueError for another method.
    """
    if method not in _METHODS:
        raise ValueError(f"scaling = {method!r} is not one of {', '.join(_METHODS)}")
    features = np.zeros(values.shape, dtype=np.float32)
    if usable.any():
        features[usable] = _METHODS[method](values[usable])
    return features


def _rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata  # a quarter of a second to import

    if len(values) == 1:
        return np.zeros_like(values)
    return np.asarray(2 * (rankdata(values, axis=0) - 1) / (len(values) - 1) - 1)


def _robust(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = values - np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(deviation), axis=0)
    return np.clip(_divide(deviation, spread, np.abs(values).max(axis=0)), -CLIP, CLIP)


def _paper(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std(axis=1, keepdims=True)
    return _divide(values - values.mean(axis=1, keepdims=True), spread, np.abs(values).max(axis=1, keepdims=True))


def _divide(
    deviation: NDArray[np.float64], spread: NDArray[np.float64], size: NDArray[np.float64]
) -> NDArray[np.float64]:
    """deviation / spread, and 0 where the spread is nothing but rounding of values of that size."""
    real = spread > ROUNDING * size
    return np.where(real, deviation / np.where(real, spread, 1.0), 0.0)


_METHODS = {"rank": _rank, "robust": _robust, "paper": _paper}
