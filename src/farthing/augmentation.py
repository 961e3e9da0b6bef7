"""New rows for a teacher to label: MUNGE (Bucila, Caruana & Niculescu-Mizil 2006)."""

from __future__ import annotations

import numpy as np

from farthing.tables import column_names, row_count, take_rows

__all__ = ["munge"]

# Neighbours are looked for within random blocks of so many rows: the cost stays linear in
# the number of rows, and a neighbour among 4,096 is near enough to mix with.
BLOCK = 4096


def _rank_scaled(matrix: np.ndarray) -> np.ndarray:
    """Columns as ranks in [0, 1] (ties share the lowest), NaN as -1: a scale-free distance."""
    scaled = np.empty(matrix.shape, np.float32)
    for j in range(matrix.shape[1]):
        column = matrix[:, j]
        order = np.sort(column[~np.isnan(column)])
        scaled[:, j] = np.searchsorted(order, column) / max(1, len(order))
        scaled[np.isnan(column), j] = -1
    return scaled


def nearest_rows(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For every row of float32 (n, features) the index of a near other row, (n,).

    Euclidean distance of column ranks, within random blocks of `BLOCK` rows.
    """
    scaled = _rank_scaled(matrix)
    n = len(scaled)
    nearest = np.zeros(n, np.intp)
    order = rng.permutation(n)
    blocks = max(1, n // BLOCK)
    for members in np.array_split(order, blocks):
        points = scaled[members]
        half = 0.5 * np.einsum("ij,ij->i", points, points)
        distance = half[None, :] - points @ points.T
        np.fill_diagonal(distance, np.inf)
        nearest[members] = members[np.argmin(distance, axis=1)]
    return nearest


def _mixed(own, other, swap: np.ndarray, local_variance: float, rng: np.random.Generator):
    """One column: where `swap`, the neighbour's value, blurred by the distance to it.

    Only floating or integer numbers are blurred, within the column's range, whole numbers
    staying whole; anything else (text, categories, booleans, dates) is taken as it is.
    """
    own, other = np.asarray(own), np.asarray(other)
    mixed = np.where(swap, other, own)
    if own.dtype.kind not in "iuf":
        return mixed
    known = own[~np.isnan(own)] if own.dtype.kind == "f" else own
    if not len(known):
        return mixed
    whole = own.dtype.kind != "f" or bool((known == np.floor(known)).all())
    if whole and len(np.unique(known[:BLOCK])) <= 16:
        return mixed
    noise = rng.standard_normal(len(own)) * np.abs(own.astype(np.float64) - other) / local_variance
    blurred = other + noise
    if whole:
        blurred = np.rint(blurred)
    blurred = np.clip(blurred, known.min(), known.max())
    use = swap & ~np.isnan(blurred)
    mixed[use] = blurred[use].astype(own.dtype)
    return mixed


def munge(
    X,
    matrix: np.ndarray,
    *,
    copies: int,
    probability: float = 0.5,
    local_variance: float = 2.0,
    rng,
):
    """`copies` augmented tables in the container of `X`, each with as many rows.

    X: the user's table; matrix: the same rows as float32 (n, features), for distances. Every
    value of a row is replaced with `probability` by that of a near row plus normal noise
    of standard deviation |difference| / `local_variance`. Yields one table at a time.
    """
    if not copies:
        return
    neighbours = nearest_rows(matrix, rng)
    for _ in range(copies):
        near = take_rows(X, neighbours)
        if column_names(X) is not None:
            yield _mixed_table(X, near, local_variance, probability, rng)
            continue
        own, other = np.asarray(X), np.asarray(near)
        swap = rng.random(own.shape) < probability
        mixed = np.empty_like(own)
        for j in range(own.shape[1]):
            mixed[:, j] = _mixed(own[:, j], other[:, j], swap[:, j], local_variance, rng)
        yield mixed


def _mixed_table(X, near, local_variance, probability, rng):
    """The same for a pandas, polars or Arrow table: dtypes and categories stay."""
    names = column_names(X)
    n = row_count(X)
    swaps = {name: rng.random(n) < probability for name in names}
    if hasattr(X, "iloc"):
        out = X.copy()
        for name in names:
            if X[name].dtype.kind in "iuf":
                mixed = _mixed(
                    X[name].to_numpy(), near[name].to_numpy(), swaps[name], local_variance, rng
                )
                out[name] = mixed.astype(X[name].to_numpy().dtype)
            else:
                other = near[name].set_axis(X.index)
                out[name] = X[name].where(~swaps[name], other).astype(X[name].dtype)
        return out
    columns = {}
    for name in names:
        own, other = X[name].to_numpy(), near[name].to_numpy()
        columns[name] = _mixed(own, other, swaps[name], local_variance, rng)
    if hasattr(X, "schema") and hasattr(X, "column_names"):
        import pyarrow

        return pyarrow.table(columns).cast(X.schema)
    return type(X)(columns, schema=X.schema)
