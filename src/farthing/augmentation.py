"""New rows for a teacher to label, from those at hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import numpy as np

from farthing.containers import container_of

__all__ = ["SAMPLERS", "sampled"]

# Neighbours are looked for within random blocks of so many rows: the cost stays linear in
# the number of rows, and a neighbour among 4,096 is near enough to mix with.
BLOCK = 4096
# Whole numbers of at most so many distinct values may be codes: they are swapped, not blurred.
MOST_CODES = 64
# float64 holds every whole number up to here; longer ones are identifiers and are swapped.
MOST_WHOLE = 2**53


def _rank_scaled(matrix: np.ndarray) -> np.ndarray:
    """Columns as ranks in [0, 1] (ties share the lowest), NaN as -1: a scale-free distance."""
    scaled = np.empty(matrix.shape, np.float32)
    for j in range(matrix.shape[1]):
        column = matrix[:, j]
        order = np.sort(column[~np.isnan(column)])
        scaled[:, j] = np.searchsorted(order, column) / max(1, len(order))
        scaled[np.isnan(column), j] = -1
    return scaled


def _equal_columns(codes: list[np.ndarray]) -> np.ndarray:
    """In how many of the columns (n,) two rows are equal: (n, n)."""
    n = len(codes[0])
    equal = np.zeros((n, n), np.uint8 if len(codes) < 256 else np.uint32)
    for code in codes:
        # Two bytes a comparison: a block has fewer than 2 x BLOCK rows.
        code = np.unique(code, return_inverse=True)[1].astype(np.int16)
        equal += code[:, None] == code[None, :]
    return equal


def nearest_rows(
    matrix: np.ndarray, rng: np.random.Generator, categorical: Collection[int] = ()
) -> np.ndarray:
    """For every row of float32 (n, features) the index of a near other row, (n,).

    Euclidean distance of column ranks, within random blocks of `BLOCK` rows. In the columns
    of `categorical` equal values are at distance 0 and others at 1, whatever the numbers;
    missing ones equal each other.
    """
    categorical = sorted(set(categorical))
    scaled = _rank_scaled(np.delete(matrix, categorical, axis=1))
    codes = [np.unique(matrix[:, j], return_inverse=True)[1] for j in categorical]
    n = len(matrix)
    nearest = np.zeros(n, np.intp)
    order = rng.permutation(n)
    blocks = max(1, n // BLOCK)
    for members in np.array_split(order, blocks):
        points = scaled[members]
        half = 0.5 * np.einsum("ij,ij->i", points, points)
        # Half the squared distance but for the half square of the row itself.
        distance = half[None, :] - points @ points.T
        if codes:
            distance -= np.float32(0.5) * _equal_columns([code[members] for code in codes])
        np.fill_diagonal(distance, np.inf)
        nearest[members] = members[np.argmin(distance, axis=1)]
    return nearest


def _range(values: np.ndarray, known: np.ndarray) -> tuple | None:
    """The least and the largest of the known values, and whether all are whole; None for codes,
    which are not measured."""
    some = values[known]
    if not len(some):
        return None
    whole = values.dtype.kind != "f" or bool((some == np.floor(some)).all())
    if whole and len(np.unique(some[:BLOCK])) <= MOST_CODES:
        return None
    low, high = some.min(), some.max()
    if values.dtype.kind != "f" and (low < -MOST_WHOLE or high > MOST_WHOLE):
        return None
    return low, high, whole


class _Draw(NamedTuple):
    """What becomes of one column of a copy: the values of other rows in some, and where numbers are
    measured, in some rows those of `blend`(own, others) instead."""

    source: np.ndarray  # for every row another one
    swap: np.ndarray  # bool (n,)
    blend: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    blended: np.ndarray  # bool (n,)


class _Munge:
    """Near rows lend each value with a probability; numbers get normal noise on top, of standard
    deviation |difference| / local_variance (Bucila, Caruana & Niculescu-Mizil 2006, "Model
    compression")."""

    def __init__(self, matrix, categorical, rng, probability, local_variance):
        self._near = nearest_rows(matrix, rng, categorical)
        self._rng, self._probability, self._variance = rng, probability, local_variance

    def draws(self, columns: int) -> Iterator[_Draw]:
        swaps = self._rng.random((len(self._near), columns)) < self._probability
        for swap in swaps.T:
            yield _Draw(self._near, swap, self._blend, swap)

    def _blend(self, own, other):
        with np.errstate(over="ignore"):  # a difference beyond float64 ends at the range
            spread = np.abs(own.astype(np.float64) - other) / self._variance
            return other + self._rng.standard_normal(len(own)) * spread


class _Mixup:
    """Each row is mixed with any other one, by one share for all its numbers, from a beta
    distribution; anything else is that of either row, with the share as probability (Zhang, Cisse,
    Dauphin & Lopez-Paz 2018, "mixup: Beyond empirical risk minimization")."""

    CONCENTRATION = 0.4

    def __init__(self, matrix, categorical, rng, probability, local_variance):
        self._n, self._rng = len(matrix), rng

    def draws(self, columns: int) -> Iterator[_Draw]:
        partner = self._rng.permutation(self._n)
        share = self._rng.beta(self.CONCENTRATION, self.CONCENTRATION, self._n)
        every = np.ones(self._n, bool)
        for _ in range(columns):
            swap = self._rng.random(self._n) >= share
            yield _Draw(partner, swap, lambda a, b: share * a + (1 - share) * b, every)


class _Marginal:
    """Each value is replaced with a probability by that of any other row: what columns have to do
    with each other is lost in part."""

    def __init__(self, matrix, categorical, rng, probability, local_variance):
        self._n, self._rng, self._probability = len(matrix), rng, probability

    def draws(self, columns: int) -> Iterator[_Draw]:
        never = np.zeros(self._n, bool)
        for _ in range(columns):
            source = self._rng.integers(self._n, size=self._n)
            yield _Draw(source, self._rng.random(self._n) < self._probability, None, never)


SAMPLERS = {"munge": _Munge, "mixup": _Mixup, "marginal": _Marginal}


def sampled(
    X,
    matrix: np.ndarray,
    *,
    copies: int,
    sampler: str = "munge",
    probability: float = 0.5,
    local_variance: float = 2.0,
    categorical: Collection[int] = (),
    swapped: Collection[int] | None = None,
    rng,
):
    """`copies` augmented tables in the container of `X`, each with as many rows.

    X: the user's table; matrix: the same rows as float32 (n, features), for distances. sampler:
    "munge", "mixup" or "marginal". Measured numbers are blended, within the range of their column,
    whole ones stay whole; anything else (text, categories, booleans, dates, codes, nulls) is taken
    from one row or another as it is. Types, names and categories stay, and the same seed draws the
    same values in every container. probability: that a value is another row's ("munge" and
    "marginal"). categorical: the columns of `matrix` whose numbers name categories, which are near
    where they are equal. swapped: the columns of X that are never blended; None: those of
    `categorical`, for an X with the columns of `matrix`. Yields one table at a time.
    """
    if not copies:
        return
    swapped = set(categorical if swapped is None else swapped)
    chosen = SAMPLERS[sampler](matrix, categorical, rng, probability, local_variance)
    container = container_of(X)
    columns = container.columns(X)
    everyone = np.arange(len(matrix))
    for _ in range(copies):
        mixed = []
        draws = chosen.draws(len(columns))
        for j, (column, draw) in enumerate(zip(columns, draws, strict=True)):
            new = container.take(column, np.where(draw.swap, draw.source, everyone))
            numbers = None
            if draw.blend is not None and j not in swapped:
                numbers = container.numbers(column)
            if numbers is not None:
                values, known = numbers
                known = known & np.isfinite(values)
                blended = _blended(values, known, draw)
                if blended is not None:
                    rows = np.flatnonzero(draw.blended & known & known[draw.source])
                    new = container.put(new, rows, blended[rows])
            mixed.append(new)
        yield container.table(X, mixed)


def _blended(values: np.ndarray, known: np.ndarray, draw: _Draw) -> np.ndarray | None:
    """Every row's blend, in the type and range of `values`; None for codes.

    Whole numbers stay whole. Rows that are not `known`, or have a source that is not, hold nothing
    of use.
    """
    found = _range(values, known)
    if found is None:
        return None
    low, high, whole = found
    own = np.where(known, values, low)
    mixed = draw.blend(own, own[draw.source])
    if whole:
        mixed = np.rint(mixed)
    return np.clip(mixed, low, high).astype(values.dtype)
