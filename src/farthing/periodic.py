"""Sines and cosines of the features: the encoder of ``encoder="periodic"``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from types import MappingProxyType

import numpy as np

from farthing import _core
from farthing._validate import check_integer, check_number
from farthing.edges import MOST_BINS
from farthing.standardizer import Standardizer, finite_features

__all__ = ["SIGMA", "PeriodicEncoder"]

# The deviation of the frequencies, in turns for one standard deviation of a feature.
SIGMA = 0.2
# Keeps the frequencies apart from what else a seed draws: the weights, the embeddings.
_STREAM = 9


class PeriodicEncoder:
    """Sines and cosines of every feature, at frequencies that are drawn once.

    A feature, standardised to x', becomes ``sin(2 pi f x')`` for each of its m frequencies f and
    then ``cos(2 pi f x')`` for each: the first layer sees smooth, bounded functions of the
    feature, slow ones and fast ones, of which every layer behind it makes others.  The
    frequencies are normal with mean 0 and deviation ``sigma``, a feature's a stratified sample:
    the magnitude of one lies in each of m equally likely intervals, so that every feature has
    slow and fast ones.  They stay as they were drawn.

    n_bins: columns of a feature, 1..258, in pairs: m is half of it, at least 1.  sigma: number
    above 0, in turns for one standard deviation of the feature; a small one gives smooth
    functions, a large one functions that oscillate.  seed: draws the frequencies.

    After ``fit``: ``mean_``, ``scale_`` and ``fill_`` (features,), with which
    x' = (x - mean) * scale, NaN taking the fill first, as `Standardizer` finds them, except that
    columns within [0, 1] are standardised too (so that no feature's unit matters);
    ``frequencies_`` (features, m); all float32; and ``n_features_``.  Of a feature without
    two distinct values the columns are constants.

    Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning" (2022), whose frequencies are trained, and of whose embeddings these are the
    periodic part.

    >>> encoder = PeriodicEncoder(2).fit([[0.0], [2.0]])
    >>> encoder.frequencies_ = np.array([[1 / 12]], np.float32)
    >>> encoder.expand(encoder.positions([[1.0], [2.0]])).round(3)
    array([[0.   , 1.   ],
           [0.5  , 0.866]], dtype=float32)
    """

    # As of `PiecewiseLinearEncoder`: every column is a number.
    categories_: Mapping[int, list] = MappingProxyType({})
    embeddings_: Mapping[int, np.ndarray] = MappingProxyType({})

    def __init__(self, n_bins: int = 16, *, sigma: float = SIGMA, seed: int = 0):
        check_integer(1, MOST_BINS, n_bins=n_bins)
        check_number("(0, inf)", sigma=sigma)
        self.n_bins = int(n_bins)
        self.sigma = sigma
        self.seed = seed

    def fit(
        self, X, sample_weight=None, feature_names: Sequence[str] | None = None
    ) -> PeriodicEncoder:
        """Mean, deviation and median of the columns of ``X`` (rows, features), and frequencies.

        Rows of weight 0 count as absent.  feature_names: for error messages.  Raises
        FarthingError where a column is infinite or too wide for float32.
        """
        scaling = Standardizer(keep_unit=False).fit(X, sample_weight, feature_names)
        self.mean_, self.scale_, self.fill_ = scaling.mean_, scaling.scale_, scaling.fill_
        self.n_features_ = scaling.n_features_
        shape = self.n_features_, max(1, self.n_bins // 2)
        self.frequencies_ = _stratified_normal(shape, self.sigma, self.seed)
        return self

    @property
    def width(self) -> int:
        """Columns of the encoding: two for every frequency."""
        return 2 * self.frequencies_.size

    @property
    def feature_of_column(self) -> np.ndarray:
        """The raw feature (width,) that every column of the encoding comes from."""
        return np.repeat(np.arange(self.n_features_), 2 * self.frequencies_.shape[1])

    def ordered_columns(self, feature: int) -> np.ndarray:
        """The columns that rise with a feature: none, since all of them rise and fall."""
        return np.empty(0, np.intp)

    def positions(self, X, amax: int | None = None) -> np.ndarray:
        """Rows (rows, features), float32, as `expand` takes them: the raw ones.

        amax: None, or 127 or 255 for the columns of a quantized model; it stands in one more
        column.  Raises FarthingError where ``X`` is infinite.
        """
        X = finite_features(X, self.n_features_)
        if amax is None:
            return X
        positions = np.empty((len(X), self.n_features_ + 1), np.float32)
        positions[:, :-1] = X
        positions[:, -1] = amax
        return positions

    def expand(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The encoding (rows, width), float32, of some rows' ``positions``, in ``out`` where given.

        Computed by the C core, so that it is the runtime's to the bit.  With an amax every value
        y is ``2 u / amax - 1``, u being ``(y + 1) * (amax / 2)`` rounded to nearest even.
        """
        positions = np.asarray(positions, np.float32)
        if out is None:
            out = np.empty((len(positions), self.width), np.float32)
        rows = np.ascontiguousarray(positions[:, : self.n_features_])
        given = rows, self.mean_, self.scale_, self.fill_, self.frequencies_
        if positions.shape[1] == self.n_features_ or len(positions) == 0:
            _core.periodic(*given, out)
            return out
        amax = int(positions[0, -1])
        codes = np.empty(out.shape, np.uint8)
        _core.periodic_codes(*given, amax, codes)
        np.multiply(codes, np.float32(2 / amax), out=out)
        out -= 1
        return out


def _stratified_normal(shape: tuple[int, int], sigma: float, seed: int) -> np.ndarray:
    """float32 (n, m), normal; of a row the magnitudes rise through the m-quantiles."""
    m = shape[1]
    rng = np.random.Generator(np.random.PCG64([seed, _STREAM]))
    # In (0, 1/2]: the lower tail, where the inverse is finite.
    tail = (np.arange(m, 0, -1) - rng.random(shape)) / (2 * m)
    inverse = NormalDist(0, sigma).inv_cdf
    values = np.array([inverse(p) for p in tail.ravel()]).reshape(shape)
    return (values * rng.choice([-1, 1], shape)).astype(np.float32)
