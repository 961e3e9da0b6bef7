"""Input encoders: what stands between raw features and the first layer.

An encoder turns rows of raw features into *positions*, a few float32 numbers a feature that
are computed once, and expands the positions of one minibatch at a time into the columns
the first layer sees, so that the full encoding never exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from farthing._validate import FarthingError

__all__ = ["PiecewiseLinearEncoder", "Standardizer"]

# Edges nearer than this cannot be kept: amax / width must be finite for every amax.
_LARGEST_AMAX = np.float32(255)
# 127 x 258 is the largest prefix sum of 8-bit weights that the runtime's int16 holds.
_MOST_BINS = 258
# The share beyond the outermost quantile on either side: outliers do not stretch a bin.
_TAIL = 0.001
# Quantiles tolerate this much rounding in the sum of the weights.
_MASS_TOLERANCE = 1e-9


def _as_features(X) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim != 2:
        raise FarthingError(f"X: got {X.ndim} dimensions, allowed are 2: (rows, features)")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32)


def _as_fitting_rows(X, sample_weight, names) -> tuple[np.ndarray, np.ndarray | None]:
    """Float32 rows of positive weight and their float64 weights, or the reason why not."""
    X = _as_features(X)
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
    with np.errstate(over="ignore"):
        spread = np.fmax.reduce(X, axis=0) - np.fmin.reduce(X, axis=0)
    # Finite + finite overflows too: the differences are taken in float32 when scoring.
    bad = np.isinf(spread) | np.isinf(X).any(axis=0)
    if bad.any():
        j = int(np.flatnonzero(bad)[0])
        name = f"column {j}" if names is None else f"column {names[j]!r}"
        raise FarthingError(
            f"X: {name} holds infinity, or values or a range too large for float32 "
            f"(dtype('float32') ends at {np.finfo(np.float32).max:.3g}); allowed are finite "
            f"values and NaN"
        )
    return X, sample_weight


def _check_width(X: np.ndarray, n_features: int) -> None:
    if X.shape[1] != n_features:
        raise FarthingError(f"X: got {X.shape[1]} features, allowed are {n_features}")


def _distinct(values: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct values and the total weight (float64) of each."""
    if weight is None:
        distinct, counts = np.unique(values, return_counts=True)
        return distinct, counts.astype(np.float64)
    distinct, inverse = np.unique(values, return_inverse=True)
    return distinct, np.bincount(inverse, weights=weight, minlength=len(distinct))


def _quantiles(distinct: np.ndarray, mass: np.ndarray, probabilities) -> np.ndarray:
    """The smallest values below or at which the given shares of the mass lie."""
    cumulated = np.cumsum(mass)
    wanted = np.asarray(probabilities) * cumulated[-1] * (1 - _MASS_TOLERANCE)
    return distinct[np.minimum(np.searchsorted(cumulated, wanted), len(distinct) - 1)]


def _compressed_edges(distinct: np.ndarray, mass: np.ndarray, n_edges: int) -> np.ndarray:
    """At most ``n_edges`` of the distinct values; all of them where they look like codes.

    The compressed histogram: a value that holds more than its share of the mass is an edge
    by itself, the others are quantiles of the rest, from its 0.1 % to its 99.9 % quantile.
    """
    # Whole numbers may be codes, each with an effect of its own, which no quantile of their
    # order keeps: up to twice the bins separate all of them.
    codes = 2 * n_edges - 1 if (distinct == np.floor(distinct)).all() else n_edges
    if len(distinct) <= min(codes, _MOST_BINS + 1):
        return distinct
    rest = mass.copy()
    spare = n_edges
    # Two edges are kept for the two ends of the rest.
    while spare > 2:
        heavy = np.flatnonzero(rest * spare >= rest.sum())
        if len(heavy) == 0:
            break
        if len(heavy) > spare - 2:
            heavy = heavy[np.argsort(-rest[heavy], kind="stable")[: spare - 2]]
        rest[heavy] = 0
        spare -= len(heavy)
    levels = np.clip(np.linspace(0, 1, spare), _TAIL, 1 - _TAIL)
    edges = np.union1d(distinct[rest < mass], _quantiles(distinct, rest, levels))
    # With one bin, nearly all of the mass may be in one value.
    return edges if len(edges) > 1 else distinct[[0, -1]]


def _representable(edges: np.ndarray) -> np.ndarray:
    """``edges`` without those too close to the one before; empty where fewer than two stay."""
    kept = []
    with np.errstate(over="ignore", divide="ignore"):
        for edge in edges:
            if not kept or np.isfinite(_LARGEST_AMAX / (edge - kept[-1])):
                kept.append(edge)
    return np.array(kept if len(kept) > 1 else [], dtype=np.float32)


class PiecewiseLinearEncoder:
    """Piecewise-linear encoding: a feature with T bins becomes T columns in [0, 1].

    The columns before the bin of the value are 1, the value's own is how far it lies in the
    bin, the later ones are 0, so the first layer sees a piecewise-linear function of every
    feature.  A feature with at most ``n_bins + 1`` distinct values, or ``2 n_bins + 1`` whole
    numbers, has all of them as edges, which makes every one of them separable; else values that
    hold much of the weight are edges, and so are weighted quantiles of the rest.  NaN takes a
    column of its own where ``fit`` saw NaN, else the weighted median.  A feature without two
    distinct values has no bins.

    n_bins: at most this many bins a feature, 1..258; whole numbers may take twice as many.

    After ``fit``: ``edges_`` (a list of float32 arrays, T + 1 edges or none), ``bins_``
    (int32, T), ``fill_`` (float32, what NaN stands for; NaN where it has its own column),
    ``n_features_``, and ``width``, the number of columns: for each feature its bins, then
    its missing column if it has one.

    Piecewise-linear encoding: Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical
    Features in Tabular Deep Learning" (2022).  Edges: the compressed histogram of Poosala,
    Ioannidis, Haas and Shekita, "Improved Histograms for Selectivity Estimation of Range
    Predicates" (1996).

    >>> encoder = PiecewiseLinearEncoder().fit([[0.0], [1.0], [4.0], [4.0]])
    >>> encoder.expand(encoder.positions([[2.5], [-7.0], [4.0]]))
    array([[1. , 0.5],
           [0. , 0. ],
           [1. , 1. ]], dtype=float32)
    """

    def __init__(self, n_bins: int = 16):
        if not isinstance(n_bins, (int, np.integer)) or isinstance(n_bins, bool):
            raise TypeError(f"n_bins: got {n_bins!r}, allowed is an integer from 1 to {_MOST_BINS}")
        if not 1 <= n_bins <= _MOST_BINS:
            raise FarthingError(f"n_bins: got {n_bins}, allowed is 1 to {_MOST_BINS}")
        self.n_bins = int(n_bins)

    def fit(
        self, X, sample_weight=None, feature_names: Sequence[str] | None = None
    ) -> PiecewiseLinearEncoder:
        """Chooses the edges from ``X`` (rows, features), weighted by ``sample_weight`` (rows,).

        Rows of weight 0 count as absent.  feature_names: for error messages.  Raises
        FarthingError where a column is infinite or too wide for float32.
        """
        X, weight = _as_fitting_rows(X, sample_weight, feature_names)
        edges, fill = [], np.empty(X.shape[1], np.float32)
        for j, column in enumerate(X.T):
            known = ~np.isnan(column)
            distinct, mass = _distinct(column[known], None if weight is None else weight[known])
            if len(distinct) == 0:
                # Nothing but NaN: without bins the value of a NaN never matters.
                edges.append(np.empty(0, np.float32))
                fill[j] = 0
                continue
            edges.append(_representable(_compressed_edges(distinct, mass, self.n_bins + 1)))
            fill[j] = _quantiles(distinct, mass, 0.5) if known.all() else np.nan
        return self.set_edges(edges, fill)

    def set_edges(self, edges: Sequence[np.ndarray], fill) -> PiecewiseLinearEncoder:
        """Takes the edges and fills of all features as given instead of fitting them."""
        self.edges_ = [np.asarray(e, dtype=np.float32) for e in edges]
        self.fill_ = np.asarray(fill, dtype=np.float32)
        self.n_features_ = len(self.edges_)
        self.bins_ = np.array([max(len(e) - 1, 0) for e in self.edges_], dtype=np.int32)
        self.missing_ = np.flatnonzero(np.isnan(self.fill_))
        own = np.full(self.n_features_, -1)
        own[self.missing_] = self.n_features_ + np.arange(len(self.missing_))
        position_of, bin_of = [], []
        for j, bins in enumerate(self.bins_):
            position_of += [j] * bins
            bin_of += range(bins)
            if own[j] >= 0:
                position_of.append(own[j])
                bin_of.append(0)
        self._position_of_column = np.array(position_of, dtype=np.intp)
        self._bin_of_column = np.array(bin_of, dtype=np.float32)
        return self

    @property
    def width(self) -> int:
        """Columns of the encoding."""
        return len(self._bin_of_column)

    @property
    def feature_of_column(self) -> np.ndarray:
        """The raw feature of every column, int (width,), rising."""
        return np.repeat(np.arange(self.n_features_), self.bins_ + np.isnan(self.fill_))

    def bin_and_value(self, X, amax: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Bin t and value v of every cell of ``X``, as the runtime computes them.

        Both are (rows, features): t int32, v float32 in 0..amax, whole where ``amax`` is 127
        or 255 and in 0..1 where it is None.  NaN with a column of its own and features
        without bins give t = 0, v = 0.
        """
        X = _as_features(X)
        _check_width(X, self.n_features_)
        largest = np.float32(1 if amax is None else amax)
        t = np.zeros(X.shape, np.int32)
        v = np.zeros(X.shape, np.float32)
        for j, edges in enumerate(self.edges_):
            if len(edges) == 0:
                continue
            x = X[:, j]
            missing = np.isnan(x)
            x = np.where(missing, self.fill_[j], x)
            t[:, j] = np.searchsorted(edges[1:-1], x, side="right")
            # float32 throughout, one rounding an operation: docs/file-format.md.
            scale = largest / (edges[1:] - edges[:-1])
            with np.errstate(over="ignore", invalid="ignore"):
                value = (x - edges[t[:, j]]) * scale[t[:, j]]
            np.clip(value, 0, largest, out=value)
            if amax is not None:
                np.rint(value, out=value)
            if np.isnan(self.fill_[j]):
                t[missing, j] = 0
                value[missing] = 0
            v[:, j] = value
        return t, v

    def positions(self, X, amax: int | None = None) -> np.ndarray:
        """Positions (rows, features + missing columns), float32, of raw rows ``X``.

        A feature's position is its bin plus the fraction of the bin, from 0 to T; a missing
        column's is 1 for NaN, else 0.  amax: None, or 127 or 255 to round the fractions to
        the grid of a quantized model.
        """
        X = _as_features(X)
        t, v = self.bin_and_value(X, amax)
        if amax is not None:
            v /= np.float32(amax)
        v += t
        if len(self.missing_) == 0:
            return v
        return np.concatenate([v, np.isnan(X[:, self.missing_])], axis=1, dtype=np.float32)

    def expand(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The encoding (rows, width) of some rows' ``positions``, in ``out`` where given."""
        out = np.take(positions, self._position_of_column, axis=1, out=out, mode="clip")
        out -= self._bin_of_column
        return np.clip(out, 0, 1, out=out)


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

    def fit(
        self, X, sample_weight=None, feature_names: Sequence[str] | None = None
    ) -> Standardizer:
        """Weighted mean, deviation and median of the columns of ``X`` (rows, features).

        Rows of weight 0 count as absent.  feature_names: for error messages.  Raises
        FarthingError where a column is infinite or too wide for float32.
        """
        X, weight = _as_fitting_rows(X, sample_weight, feature_names)
        n_features = X.shape[1]
        self.n_features_ = n_features
        self.mean_ = np.zeros(n_features, np.float32)
        self.scale_ = np.zeros(n_features, np.float32)
        self.fill_ = np.zeros(n_features, np.float32)
        for j, column in enumerate(X.T):
            known = ~np.isnan(column)
            distinct, mass = _distinct(column[known], None if weight is None else weight[known])
            if len(distinct) == 0:
                continue
            self.fill_[j] = _quantiles(distinct, mass, 0.5)
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
        """The raw feature of every column, int (width,): its own number."""
        return np.arange(self.n_features_)

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
        X = _as_features(X)
        _check_width(X, self.n_features_)
        infinite = np.isinf(X)
        if infinite.any():
            j = int(np.flatnonzero(infinite.any(axis=0))[0])
            raise FarthingError(f"X: column {j} holds infinity, allowed are finite values and NaN")
        y = np.where(np.isnan(X), self.fill_, X)
        # float32 throughout, one rounding an operation: docs/file-format.md.
        with np.errstate(over="ignore"):
            y -= self.mean_
            y *= self.scale_ if amax is None else self.scale_ * np.float32(amax)
        if amax is None:
            return y
        np.clip(y, 0, amax, out=y)
        np.rint(y, out=y)
        y /= np.float32(amax)
        return y

    def expand(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The positions themselves: nothing to expand."""
        return positions
