"""Input encoders: what stands between raw features and the first layer.

An encoder turns rows of raw features into *positions*, a few float32 numbers a feature that
are computed once, and expands the positions of one minibatch at a time into the columns
the first layer sees, so that the full encoding never exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np

from farthing._validate import FarthingError
from farthing.edges import MOST_BINS, candidate_edges, data_edges, representable
from farthing.embeddings import (
    check_embedding_dim,
    embedding_width,
    initial_embedding,
    row_gradient,
)
from farthing.samples import as_features, as_fitting_rows, check_width, distinct_values, quantiles
from farthing.standardizer import Standardizer

__all__ = ["PiecewiseLinearEncoder", "Standardizer"]

# A file holds as many rows of a feature: its categories, 'other' and missing.
_MOST_ROWS = 1 << 20
# Rows whose positions are computed at a time: bounds memory beyond the result.
_ROWS = 16384


def _category_values(kept: Sequence, label: str) -> np.ndarray:
    """What the kept categories of a feature are in a float32 matrix, increasing."""
    if len(kept) > _MOST_ROWS - 2:
        raise FarthingError(
            f"categorical: {label} has {len(kept):,} categories, allowed are "
            f"{_MOST_ROWS - 2:,}; raise min_frequency"
        )
    if all(isinstance(category, str) for category in kept):
        texts = list(kept)
        if texts != sorted(set(texts)):
            raise FarthingError(f"categorical: {label} has texts that are not sorted and distinct")
        return np.arange(len(texts), dtype=np.float32)
    try:
        exact = np.array([float(category) for category in kept])
    except (TypeError, ValueError):
        raise FarthingError(
            f"categorical: {label} must have all texts or all numbers, got {list(kept)[:5]!r}"
        ) from None
    with np.errstate(over="ignore"):
        values = exact.astype(np.float32)
    if not (np.isfinite(values).all() and (np.diff(values) > 0).all()):
        raise FarthingError(
            f"categorical: {label} must have finite numbers that increase in float32, "
            f"got {list(kept)[:5]!r}"
        )
    return values


class PiecewiseLinearEncoder:
    """Piecewise-linear encoding of numbers; a column, or an embedding, for every category.

    A numeric feature with T bins becomes T columns in [0, 1]: the columns before the bin of
    the value are 1, the value's own is how far it lies in the bin, the later ones are 0, so
    the first layer sees a piecewise-linear function of every feature.  A feature with at most
    ``n_bins + 1`` distinct values, or ``2 n_bins + 1`` whole numbers, has all of them as
    edges, which makes every one of them separable; else values that hold much of the weight
    are edges, and so are weighted quantiles of the rest, or thresholds of ``candidates``.
    NaN takes a column of its own where ``fit`` saw NaN, else the weighted median.  A feature
    without two distinct values has no bins.

    A categorical feature has rows: one for each kept category, one for 'other' (whatever
    equals none of them), and one for missing where ``fit`` saw NaN, else NaN takes 'other'.
    Each row has a column, which is 1 for it and else 0; or, where the feature is embedded, a
    row of numbers that fills the feature's columns and is learnt in training.

    n_bins: at most this many bins a feature, 1..258; whole numbers may take twice as many.
    candidates: None, or {feature index: (values, weights)} to choose its inner edges from.
    embedding_dim: columns of an embedded feature; "auto": none up to 32 rows, else the
    square root of the rows, at most 16; 0 or None: none.  seed: draws the embeddings.

    After ``fit``: ``edges_`` (a list of float32 arrays, T + 1 edges or none), ``bins_``
    (int32, T), ``fill_`` (float32, what NaN stands for; NaN where it has its own column or
    row), ``categories_`` ({feature index: kept categories}), ``category_counts_`` (their
    weight in training by row), ``embedding_dims_`` and ``embeddings_`` (of the embedded
    features: columns, and float32 (rows, columns)), ``n_features_``, and ``width``, the
    number of columns: those of each feature in order, a number's bins before its missing
    column.

    Piecewise-linear encoding: Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical
    Features in Tabular Deep Learning" (2022).  Edges: the compressed histogram of Poosala,
    Ioannidis, Haas and Shekita, "Improved Histograms for Selectivity Estimation of Range
    Predicates" (1996).  Embeddings: Guo and Berkhahn, "Entity Embeddings of Categorical
    Variables" (2016).

    >>> encoder = PiecewiseLinearEncoder().fit([[0.0], [1.0], [4.0], [4.0]])
    >>> encoder.expand(encoder.positions([[2.5], [-7.0], [4.0]]))
    array([[1. , 0.5],
           [0. , 0. ],
           [1. , 1. ]], dtype=float32)
    >>> encoder = encoder.fit([[0.0], [1.0], [1.0]], categorical={0: ["own", "rent"]})
    >>> encoder.expand(encoder.positions([[1.0], [-1.0]]))
    array([[0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """

    def __init__(
        self,
        n_bins: int = 16,
        *,
        candidates: Mapping[int, tuple] | None = None,
        embedding_dim: int | str | None = "auto",
        seed: int = 0,
    ):
        if not isinstance(n_bins, (int, np.integer)) or isinstance(n_bins, bool):
            raise TypeError(f"n_bins: got {n_bins!r}, allowed is an integer from 1 to {MOST_BINS}")
        if not 1 <= n_bins <= MOST_BINS:
            raise FarthingError(f"n_bins: got {n_bins}, allowed is 1 to {MOST_BINS}")
        check_embedding_dim(embedding_dim)
        self.n_bins = int(n_bins)
        self.candidates = candidates
        self.embedding_dim = embedding_dim
        self.seed = seed
        self._forget_categories()

    def _forget_categories(self) -> None:
        self.categories_: dict[int, list] = {}
        self.category_counts_: dict[int, np.ndarray] = {}
        self.embedding_dims_: dict[int, int] = {}
        self.embeddings_: dict[int, np.ndarray] = {}

    def fit(
        self,
        X,
        sample_weight=None,
        feature_names: Sequence[str] | None = None,
        categorical: Mapping[int, Sequence] | None = None,
    ) -> PiecewiseLinearEncoder:
        """Chooses the edges from ``X`` (rows, features), weighted by ``sample_weight`` (rows,).

        Rows of weight 0 count as absent.  feature_names: for error messages.  categorical:
        {feature index: its kept categories}, texts (sorted; in X they are 0, 1, ...) or
        numbers (increasing; in X as they are).  Raises FarthingError where a column is
        infinite or too wide for float32, or where categories are not of that form.
        """
        X, weight = as_fitting_rows(X, sample_weight, feature_names)
        categorical = dict(categorical or {})
        candidates = self.candidates or {}
        edges, fill = [], np.zeros(X.shape[1], np.float32)
        for j, column in enumerate(X.T):
            known = ~np.isnan(column)
            if j in categorical:
                edges.append(np.empty(0, np.float32))
                fill[j] = 0 if known.all() else np.nan
                continue
            distinct, mass = distinct_values(
                column[known], None if weight is None else weight[known]
            )
            if len(distinct) == 0:
                # Nothing but NaN: without bins the value of a NaN never matters.
                edges.append(np.empty(0, np.float32))
                continue
            if j in candidates:
                chosen = candidate_edges(distinct, mass, self.n_bins + 1, candidates[j])
            else:
                chosen = data_edges(distinct, mass, self.n_bins + 1)
            edges.append(representable(chosen))
            fill[j] = quantiles(distinct, mass, 0.5) if known.all() else np.nan
        self.set_edges(edges, fill, categorical)
        for j in self.categories_:
            row, rows = self._category_row(j, X[:, j]), self.category_rows(j)
            self.category_counts_[j] = np.bincount(row, weight, rows).astype(np.float64)
            dims = embedding_width(rows, self.embedding_dim)
            if dims:
                self.embedding_dims_[j] = dims
                self.embeddings_[j] = initial_embedding(rows, dims, self.seed, j)
        self._lay_out()
        return self

    def set_edges(
        self,
        edges: Sequence[np.ndarray],
        fill,
        categories: Mapping[int, Sequence] | None = None,
    ) -> PiecewiseLinearEncoder:
        """Takes the edges and fills of all features as given instead of fitting them.

        categories: as in `fit`; None keeps those there are, with their embeddings.
        """
        edges = [np.asarray(e, dtype=np.float32) for e in edges]
        fill = np.asarray(fill, dtype=np.float32)
        kept = dict(sorted((self.categories_ if categories is None else categories).items()))
        values = {}
        for j, own in kept.items():
            if not 0 <= j < len(edges):
                raise FarthingError(
                    f"categorical: got feature {j}, allowed are 0 to {len(edges) - 1}"
                )
            if len(edges[j]):
                raise FarthingError(f"edges: feature {j} is categorical, allowed are no edges")
            values[j] = _category_values(own, f"feature {j}")
            if categories is None and np.isnan(fill[j]) != np.isnan(self.fill_[j]):
                raise FarthingError(
                    f"fill: got {fill[j]} for the categorical feature {j}, allowed is NaN where "
                    "fit saw missing values there, and only there"
                )
        if categories is not None:
            self._forget_categories()
        self.edges_, self.fill_, self.n_features_ = edges, fill, len(edges)
        self.bins_ = np.array([max(len(e) - 1, 0) for e in edges], dtype=np.int32)
        self.categories_ = {int(j): list(own) for j, own in kept.items()}
        self._values = values
        self._lay_out()
        return self

    def _lay_out(self) -> None:
        """Which columns every feature has, and what each of them reads."""
        own = np.isnan(self.fill_)
        own[list(self.categories_)] = False
        # Of the numeric features: a categorical one has its missing row.
        self.missing_ = np.flatnonzero(own)
        position = np.full(self.n_features_, -1)
        position[self.missing_] = self.n_features_ + np.arange(len(self.missing_))
        position_of, bin_of, widths = [], [], []
        for j, bins in enumerate(self.bins_):
            before = len(bin_of)
            if j in self.categories_:
                bins = self.embedding_dims_.get(j) or self.category_rows(j)
            position_of += [j] * bins
            bin_of += range(bins)
            if position[j] >= 0:
                position_of.append(position[j])
                bin_of.append(0)
            widths.append(len(bin_of) - before)
        self._position_of_column = np.array(position_of, dtype=np.intp)
        self._bin_of_column = np.array(bin_of, dtype=np.float32)
        self._starts = np.concatenate([[0], np.cumsum(widths)]).astype(np.intp)
        self._one_hot = np.array(
            [j for j in self.categories_ if j not in self.embedding_dims_], int
        )
        # Columns of neighbouring numeric features, which are expanded together.
        numeric = np.array([j not in self.categories_ for j in range(self.n_features_)])
        turns = np.flatnonzero(np.diff(np.concatenate([[0], numeric, [0]])))
        self._runs = [
            (int(self._starts[a]), int(self._starts[b])) for a, b in turns.reshape(-1, 2).tolist()
        ]

    @property
    def width(self) -> int:
        """Columns of the encoding."""
        return len(self._bin_of_column)

    @property
    def feature_of_column(self) -> np.ndarray:
        """The raw feature (width,) that every column of the encoding comes from."""
        return np.repeat(np.arange(self.n_features_), np.diff(self._starts))

    def ordered_columns(self, feature: int) -> np.ndarray:
        """The columns that rise with a numeric feature: its bins, not that of missing values."""
        return np.flatnonzero(self._position_of_column == feature)

    @property
    def embedded_columns(self) -> np.ndarray:
        """The columns, in order, that hold embeddings."""
        parts = [np.arange(*self._starts[j : j + 2]) for j in self.embedding_dims_]
        return np.concatenate(parts) if parts else np.empty(0, np.intp)

    def category_rows(self, feature: int) -> int:
        """Rows of a categorical feature: its kept categories, 'other', and missing if any."""
        return len(self.categories_[feature]) + 1 + int(np.isnan(self.fill_[feature]))

    def _category_row(self, feature: int, x: np.ndarray) -> np.ndarray:
        """The row of every value of a categorical feature."""
        values = self._values[feature]
        other = len(values)
        if other == 0:
            row = np.zeros(len(x), np.intp)
        else:
            row = np.searchsorted(values, x)
            row[values[np.minimum(row, other - 1)] != x] = other
        if np.isnan(self.fill_[feature]):
            row[np.isnan(x)] = other + 1
        return row

    def bin_and_value(self, X, amax: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Bin t and value v of every cell of ``X``, as the runtime computes them.

        Both are (rows, features): t int32, v float32 in 0..amax, whole where ``amax`` is 127
        or 255 and in 0..1 where it is None.  NaN with a column of its own, categorical
        features and those without bins give t = 0, v = 0.
        """
        X = as_features(X)
        check_width(X, self.n_features_)
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

        A numeric feature's position is its bin plus the fraction of the bin, from 0 to T; a
        missing column's is 1 for NaN, else 0; a categorical feature's is its row.  amax:
        None, or 127 or 255 to round the fractions to the grid of a quantized model.
        """
        X = as_features(X)
        check_width(X, self.n_features_)
        out = np.empty((len(X), self.n_features_ + len(self.missing_)), np.float32)
        for start in range(0, len(X), _ROWS):
            rows, block = out[start : start + _ROWS], X[start : start + _ROWS]
            t, v = self.bin_and_value(block, amax)
            if amax is not None:
                v /= np.float32(amax)
            np.add(t, v, out=rows[:, : self.n_features_], casting="same_kind", dtype=np.float32)
            for j in self.categories_:
                rows[:, j] = self._category_row(j, block[:, j])
            rows[:, self.n_features_ :] = np.isnan(block[:, self.missing_])
        return out

    def expand(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The encoding (rows, width) of some rows' ``positions``, in ``out`` where given."""
        if not self.categories_:
            out = np.take(positions, self._position_of_column, axis=1, out=out, mode="clip")
            out -= self._bin_of_column
            return np.clip(out, 0, 1, out=out)
        if out is None:
            out = np.empty((len(positions), self.width), np.float32)
        for start, stop in self._runs:
            part = out[:, start:stop]
            columns = self._position_of_column[start:stop]
            values = np.take(positions, columns, axis=1, mode="clip")
            np.subtract(values, self._bin_of_column[start:stop], out=part)
            np.clip(part, 0, 1, out=part)
        # Written where they are 1 only: a feature may have hundreds of columns.
        for j in self._one_hot:
            out[:, self._starts[j] : self._starts[j + 1]] = 0
        if len(self._one_hot):
            row = positions[:, self._one_hot].astype(np.intp)
            out[np.arange(len(out))[:, None], self._starts[self._one_hot] + row] = 1
        for j, table in self.embeddings_.items():
            out[:, self._starts[j] : self._starts[j + 1]] = table[positions[:, j].astype(np.intp)]
        return out

    def embedding_gradient(
        self, gradient: np.ndarray, positions: np.ndarray
    ) -> dict[int, np.ndarray]:
        """Gradients by ``embeddings_``, {feature: (rows, columns)}, of a minibatch.

        gradient: (rows of the minibatch, len(embedded_columns)), by the encoding's
        `embedded_columns` in order; positions: of the minibatch.
        """
        found, start = {}, 0
        for j, dims in self.embedding_dims_.items():
            row = positions[:, j].astype(np.intp)
            own = np.ascontiguousarray(gradient[:, start : start + dims])
            found[j] = row_gradient(own, row, self.category_rows(j))
            start += dims
        return found

    def settle_untrained(self, weight: np.ndarray) -> None:
        """Gives rows that no training row had the mean of those that some had, in place.

        weight: (n, width) of the layer behind the encoding, changed in its one-hot columns;
        embedded features change in ``embeddings_``.  The mean of the feature's categories
        and 'other', by their weight in training, is the answer for an average customer; a
        feature that was always missing passes on its missing row.  For after training, as
        the 'other' row has no rows where no category was rare.
        """
        for j, counts in self.category_counts_.items():
            untrained = counts == 0
            if not untrained.any():
                continue
            share = counts.copy()
            share[len(self.categories_[j]) + 1 :] = 0  # the missing row
            share = share if share.any() else counts
            share = share / share.sum()
            if j in self.embeddings_:
                table = self.embeddings_[j]
                table[untrained] = share @ table
            else:
                own = weight[:, self._starts[j] : self._starts[j + 1]]
                own[:, untrained] = (own @ share)[:, None]

    def unit_range_embeddings(
        self, amax: int
    ) -> tuple[PiecewiseLinearEncoder, np.ndarray, np.ndarray]:
        """A copy whose embeddings lie on the grid 0, 1/amax, ..., 1, with low and high (width,).

        What a quantized model needs.  Every column's 0 and 1 are the least and the largest
        value of its embedding; low is 0 and high is 1 in all other columns.  The first layer
        must follow: weight * (high - low), and bias + weight @ low.
        """
        other = deepcopy(self)
        low, high = np.zeros(self.width), np.ones(self.width)
        for j, table in self.embeddings_.items():
            own = slice(self._starts[j], self._starts[j + 1])
            low[own], high[own] = table.min(axis=0), table.max(axis=0)
            # A column of one value: any range holds it.
            high[own] = np.where(high[own] > low[own], high[own], low[own] + 1)
            unit = (table - low[own]) / (high[own] - low[own])
            other.embeddings_[j] = (np.rint(unit * amax) / amax).astype(np.float32)
        return other, low, high
