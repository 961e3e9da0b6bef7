"""Zero mean and unit deviation, column by column: the encoder of ``encoder=None``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from farthing._validate import FarthingError
from farthing.samples import as_features, as_fitting_rows, check_width, distinct_values, quantiles

__all__ = ["Standardizer"]

# A standardised value is at most that far from 0, so that no float sum becomes infinite.
LIMIT = np.float32(2.0**32)


class Standardizer:
    """Zero mean and unit deviation, column by column: the encoder of ``encoder=None``.

    After ``fit``: ``mean_``, ``scale_`` (one over the weighted standard deviation) and
    ``fill_`` (the weighted median, which NaN takes), float32 (features,), and
    ``n_features_``.  A column that lies in [0, 1] is left as it is (mean 0, scale 1); one
    without two distinct values has scale 0, since nothing was learnt of it.

    >>> encoder = Standardizer().fit([[2.0, 0.5], [4.0, 1.0]])
    >>> encoder.positions([[2.0, 0.5], [np.nan, 1.0]])
    array([[-1. ,  0.5],
           [-1. ,  1. ]], dtype=float32)
    """

    # As of `PiecewiseLinearEncoder`: every column is a number.
    categories_: Mapping[int, list] = MappingProxyType({})
    embeddings_: Mapping[int, np.ndarray] = MappingProxyType({})

    def fit(
        self, X, sample_weight=None, feature_names: Sequence[str] | None = None
    ) -> Standardizer:
        """Weighted mean, deviation and median of the columns of ``X`` (rows, features).

        Rows of weight 0 count as absent.  feature_names: for error messages.  Raises
        FarthingError where a column is infinite or too wide for float32.
        """
        X, weight = as_fitting_rows(X, sample_weight, feature_names)
        n_features = X.shape[1]
        self.n_features_ = n_features
        self.mean_ = np.zeros(n_features, np.float32)
        self.scale_ = np.zeros(n_features, np.float32)
        self.fill_ = np.zeros(n_features, np.float32)
        for j, column in enumerate(X.T):
            known = ~np.isnan(column)
            distinct, mass = distinct_values(
                column[known], None if weight is None else weight[known]
            )
            if len(distinct) == 0:
                continue
            self.fill_[j] = quantiles(distinct, mass, 0.5)
            if len(distinct) == 1:
                self.mean_[j] = distinct[0]
                continue
            if distinct[0] >= 0 and distinct[-1] <= 1:
                self.scale_[j] = 1
                continue
            values = distinct.astype(np.float64)
            share = mass / mass.sum()
            mean = share @ values
            deviation = np.sqrt(share @ (values - mean) ** 2)
            self.mean_[j] = mean
            with np.errstate(over="ignore", divide="ignore"):
                scale = np.float32(1 / deviation)
            # A spread too small for 1 / deviation to be finite: in its own units.
            self.scale_[j] = scale if np.isfinite(scale) and scale > 0 else 1
        return self

    @property
    def width(self) -> int:
        """Columns of the encoding: one a feature."""
        return self.n_features_

    @property
    def feature_of_column(self) -> np.ndarray:
        """The raw feature (width,) that every column of the encoding comes from."""
        return np.arange(self.n_features_)

    def ordered_columns(self, feature: int) -> np.ndarray:
        """The columns that rise with a feature: its own."""
        return np.array([feature])

    def unit_range(self, low, high) -> Standardizer:
        """A Standardizer whose outputs 0 and 1 are this one's ``low`` and ``high``.

        What a quantized model needs: ``positions(X, amax)`` clamps to [0, 1] and rounds to
        steps of 1 / amax.  The first layer must follow: weight * (high - low), and
        bias + weight @ low.
        """
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if not (high > low).all():
            raise FarthingError("high: got values that are not above low, allowed are larger ones")
        other = Standardizer()
        other.n_features_ = self.n_features_
        known = self.scale_ != 0
        offset = np.divide(low, self.scale_, out=np.zeros_like(low), where=known)
        other.mean_ = (self.mean_ + offset).astype(np.float32)
        with np.errstate(over="ignore"):
            scale = (self.scale_ / (high - low)).astype(np.float32)
        other.scale_ = np.where(np.isfinite(scale), scale, 0).astype(np.float32)
        other.fill_ = self.fill_.copy()
        return other

    def positions(self, X, amax: int | None = None) -> np.ndarray:
        """Standardised rows (rows, features), float32, as the runtime computes them.

        amax: None, or 127 or 255 to clamp to [0, 1] and round to the grid of a quantized
        model.  Raises FarthingError where ``X`` is infinite.
        """
        X = as_features(X)
        check_width(X, self.n_features_)
        infinite = np.isinf(X)
        if infinite.any():
            j = int(np.flatnonzero(infinite.any(axis=0))[0])
            raise FarthingError(f"X: column {j} holds infinity, allowed are finite values and NaN")
        y = np.where(np.isnan(X), self.fill_, X)
        # float32 throughout, one rounding an operation: docs/file-format.md.
        with np.errstate(over="ignore", invalid="ignore"):
            y -= self.mean_
            y *= self.scale_ if amax is None else self.scale_ * np.float32(amax)
        low, high = (-LIMIT, LIMIT) if amax is None else (np.float32(0), np.float32(amax))
        y = np.where(y > low, y, low)  # an infinity times a scale of 0 is not above
        np.minimum(y, high, out=y)
        if amax is None:
            return y
        np.rint(y, out=y)
        y /= np.float32(amax)
        return y

    def expand(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The positions themselves: nothing to expand."""
        return positions
