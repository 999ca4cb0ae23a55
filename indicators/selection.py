"""Which indicators to keep: the one with the largest variance inflation factor goes, again and again.

The variance inflation factor of column j is 1 / (1 - R_j^2), R_j^2 from the regression of column j on the others with
an intercept; it is the j-th diagonal element of the inverse correlation matrix.

What to fit on: the values of `panel.compute`, pooled over stocks and sessions, as the paper did, and not the scaled
features. On real data that keeps 37 of the 41 indicators in the groups that the paper names, which is as many as can
be kept without exact repetition, and the same 41 five years later; and the choice does not depend on the scaling, so
that runs with different scalings see the same indicators (docs/indicators.md has the numbers).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLLINEAR = 1e-6
"""A combination of columns (each of length 1) that is shorter than this is zero but for rounding."""

EQUAL = 1e-6
"""Factors whose relative difference is below this are a tie."""


@dataclass(frozen=True)
class Selection:
    """The indicators kept, and how that came about.

    names: those kept, in the order in which the candidates were given.
    dropped: (name, variance inflation factor at which it went), in order; infinity for a column that the others
        determine exactly, None for one that has no factor because it is constant or not finite.
    rows: observations the choice was fitted on.
    instant: the time up to which their bars reached, as text.
    """

    names: tuple[str, ...]
    dropped: tuple[tuple[str, float | None], ...]
    rows: int
    instant: str

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON, which has no infinity: an infinite factor is the text "inf"."""
        dropped = [[name, "inf" if factor == math.inf else factor] for name, factor in self.dropped]
        return {"names": list(self.names), "dropped": dropped, "rows": self.rows, "instant": self.instant}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Selection":
        """Inverse of `as_dict`. Raises ValueError if `saved` is not one of its results."""
        try:
            dropped = tuple((str(name), None if factor is None else float(factor)) for name, factor in saved["dropped"])
            names = tuple(str(name) for name in saved["names"])
            return cls(names, dropped, int(saved["rows"]), str(saved["instant"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the saved selection cannot be read ({error!r}): delete the saved state to choose indicators anew"
            ) from error


def select(
    values: NDArray[np.float64], names: Sequence[str], *, n_indicators: int, max_vif: float, instant: str
) -> Selection:
    """Drop the indicator with the largest variance inflation factor until few enough, or independent enough, remain.

    values: (rows, F) or (N, L, F), observations of the F candidates; a row that is NaN throughout, such as a stock
        left out of a panel, is no observation.
    names: the F candidates.
    n_indicators: how many to keep.
    max_vif: if positive, stop in its place as soon as no factor exceeds it.
    instant: the time up to which the bars reach; only recorded.

    Algorithm:
    1. Constant and non-finite columns have no factor and go first, in order, even if fewer than n_indicators remain.
    2. Of the rest, the column with the largest factor goes; among equals (columns that determine each other are all
       infinite) the last one, so that ROC stays and ROCP, ROCR and ROCR100 go.
    3. Repeat 2 until the stop.

    Raises ValueError for settings out of range, names that do not fit the columns, or nothing to choose from.
    """
    n_columns = values.shape[-1]
    if len(names) != n_columns:
        raise ValueError(f"{len(names)} names for {n_columns} columns: pass the names of the panel that has the values")
    if not 1 <= n_indicators <= n_columns:
        raise ValueError(f"n_indicators = {n_indicators} of {n_columns}: it must be from 1 to {n_columns}")
    if not max_vif >= 0:
        raise ValueError(f"max_vif = {max_vif}: it must be positive, or 0 to keep n_indicators")
    observed = values.reshape(-1, n_columns)
    observed = observed[~np.isnan(observed).all(axis=1)]
    rows = len(observed)
    defined = _varies(observed)
    if not defined.any():
        raise ValueError(f"none of the {n_columns} indicators varies over {rows} observations: nothing to select from")
    kept = np.flatnonzero(defined).tolist()
    dropped: list[tuple[str, float | None]] = [(names[j], None) for j in np.flatnonzero(~defined)]

    columns = observed[:, kept] - observed[:, kept].mean(axis=0)
    columns /= np.abs(columns).max(axis=0)
    # The triangular factor has the columns' inner products, and so their factors, in as many rows as there are columns;
    # the zeros make it square when observations are fewer.
    _, triangle = np.linalg.qr(np.vstack((columns, np.zeros((len(kept), len(kept))))))
    while len(kept) > 1:
        factors = variance_inflation(triangle)
        largest = float(factors.max())
        if largest <= max_vif if max_vif > 0 else len(kept) <= n_indicators:
            break
        last = int(np.flatnonzero(factors >= largest * (1 - EQUAL))[-1])
        dropped.append((names[kept.pop(last)], largest))
        triangle = np.delete(triangle, last, axis=1)
    return Selection(tuple(names[j] for j in kept), tuple(dropped), rows, instant)


def variance_inflation(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance inflation factor of every column.

    centred: (rows, F), rows >= F: columns of mean zero that are not zero, in any units.
    Returns (F,) from 1 to infinity.

    With columns of length 1 and the decomposition U S V' of the matrix, the inverse correlation matrix is V S^-2 V'.
    That needs no product of the matrix with itself, which would lose half the digits. Directions with S below
    `COLLINEAR` are linear dependences: the columns that take part in one are infinite, and the others, which do not,
    keep the factor that the rest of the decomposition gives.
    """
    _, length, direction = np.linalg.svd(centred / np.linalg.norm(centred, axis=0), full_matrices=False)
    free = length > COLLINEAR
    factors = (direction[free] ** 2 / length[free, None] ** 2).sum(axis=0)
    factors[np.linalg.norm(direction[~free], axis=0) > COLLINEAR] = np.inf
    return np.asarray(factors)


def _varies(observed: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Columns that are finite and change by more than rounding."""
    finite = np.isfinite(observed).all(axis=0)
    known = np.where(finite, observed, 0.0)
    size = np.abs(known).max(axis=0, initial=0.0)
    spread = known.max(axis=0, initial=-np.inf) - known.min(axis=0, initial=np.inf)
    return np.asarray(finite & (spread > 1e-12 * size))
