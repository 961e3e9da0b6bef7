"""Raw rows as an encoder takes them: float32, finite or NaN, weighted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from farthing._validate import FarthingError

__all__ = ["as_features", "as_fitting_rows", "check_width", "distinct_values", "quantiles"]

# Quantiles tolerate this much rounding in the sum of the weights.
_MASS_TOLERANCE = 1e-9


def as_features(X) -> np.ndarray:
    """`X` as C-contiguous float32 (rows, features); the array itself where it is that."""
    X = np.asarray(X)
    if X.ndim != 2:
        raise FarthingError(f"X: got {X.ndim} dimensions, allowed are 2: (rows, features)")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32)


def as_fitting_rows(
    X, sample_weight, names: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Float32 rows of positive weight and their float64 weights, or the reason why not."""
    X = as_features(X)
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight, dtype=np.float64)
        if sample_weight.shape != (len(X),):
            raise FarthingError(
                f"sample_weight: got shape {sample_weight.shape}, allowed is ({len(X)},), one a row"
            )
        if not (np.isfinite(sample_weight).all() and (sample_weight >= 0).all()):
            raise FarthingError(
                "sample_weight: got negative, infinite or NaN values, allowed is >= 0"
            )
        used = sample_weight > 0
        if not used.all():
            X, sample_weight = X[used], sample_weight[used]
    if len(X) == 0:
        raise FarthingError("X: got no rows of positive weight, allowed are 1 or more")
    if X.shape[1] == 0:
        raise FarthingError("X: got no columns, allowed are 1 or more")
    # A reduction needs no memory of the size of X, unlike a test of every cell.
    high, low = np.fmax.reduce(X, axis=0), np.fmin.reduce(X, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
    # Finite + finite overflows too: the differences are taken in float32 when scoring.
    bad = np.isinf(spread) | np.isinf(high) | np.isinf(low)
    if bad.any():
        j = int(np.flatnonzero(bad)[0])
        name = f"column {j}" if names is None else f"column {names[j]!r}"
        raise FarthingError(
            f"X: {name} holds infinity, or values or a range too large for float32 "
            f"(dtype('float32') ends at {np.finfo(np.float32).max:.3g}); allowed are finite "
            f"values and NaN"
        )
    return X, sample_weight


def check_width(X: np.ndarray, n_features: int) -> None:
    """Raises FarthingError unless `X` (rows, features) has as many features."""
    if X.shape[1] != n_features:
        raise FarthingError(f"X: got {X.shape[1]} features, allowed are {n_features}")


def distinct_values(values: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct values and the total weight (float64) of each."""
    if weight is None:
        distinct, counts = np.unique(values, return_counts=True)
        return distinct, counts.astype(np.float64)
    distinct, inverse = np.unique(values, return_inverse=True)
    return distinct, np.bincount(inverse, weights=weight, minlength=len(distinct))


def quantiles(distinct: np.ndarray, mass: np.ndarray, probabilities) -> np.ndarray:
    """The smallest values at or below which the given shares of the mass lie.

    The inverse of the weighted distribution function: a value of weight 2 counts to the bit
    as two rows.

    >>> quantiles(np.array([1.0, 2.0, 5.0]), np.array([1.0, 2.0, 1.0]), [0.25, 0.5, 0.8])
    array([1., 2., 5.])
    """
    cumulated = np.cumsum(mass)
    wanted = np.asarray(probabilities) * cumulated[-1] * (1 - _MASS_TOLERANCE)
    return distinct[np.minimum(np.searchsorted(cumulated, wanted), len(distinct) - 1)]
