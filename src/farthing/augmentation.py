"""New rows for a teacher to label: MUNGE (Bucila, Caruana & Niculescu-Mizil 2006)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

__all__ = ["munge"]

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


class _Arrays:
    """How the columns of a container are read, taken from and put back: numpy's way."""

    @staticmethod
    def columns(X) -> list:
        return list(X.T if isinstance(X, np.ma.MaskedArray) else np.asarray(X).T)

    @staticmethod
    def take(column, index: np.ndarray):
        """A copy of the values at `index`, of the same type."""
        return column[index]

    @staticmethod
    def numbers(column) -> tuple[np.ndarray, np.ndarray] | None:
        """Values and which of them are not null; None for anything but plain numbers."""
        if column.dtype.kind not in "iuf":
            return None
        return np.asarray(column), ~np.ma.getmaskarray(column)

    @staticmethod
    def put(column, rows: np.ndarray, values: np.ndarray):
        """`column`, which may change in place, with `values` of its own type in `rows`."""
        column[rows] = values
        return column

    @staticmethod
    def table(X, columns: list):
        """The container of `X`, holding `columns`."""
        out = np.empty_like(X if isinstance(X, np.ma.MaskedArray) else np.asarray(X))
        for j, column in enumerate(columns):
            out[:, j] = column
        return out


class _Lists(_Arrays):
    """Lists of rows: a column of numbers is an array, any other one of objects."""

    @staticmethod
    def columns(X) -> list:
        columns = []
        for cells in zip(*X, strict=True):
            column = np.array(cells)
            plain = column.dtype.kind in "iufb"
            columns.append(column if plain else np.array(cells, dtype=object))
        return columns

    @staticmethod
    def table(X, columns: list):
        return [list(row) for row in zip(*(c.tolist() for c in columns), strict=True)]


class _Pandas:
    """By position, so that any column labels will do."""

    @staticmethod
    def columns(X) -> list:
        return [X.iloc[:, j] for j in range(X.shape[1])]

    @staticmethod
    def take(column, index):
        return column.iloc[index].set_axis(column.index)

    @staticmethod
    def numbers(column):
        # A sparse column cannot be assigned to.
        if column.dtype.kind not in "iuf" or hasattr(column, "sparse"):
            return None
        plain = getattr(column.dtype, "numpy_dtype", column.dtype)
        return column.to_numpy(plain, na_value=0), column.notna().to_numpy()

    @staticmethod
    def put(column, rows, values):
        column.iloc[rows] = values
        return column

    @staticmethod
    def table(X, columns):
        out = X.copy()
        for j, column in enumerate(columns):
            out.isetitem(j, column)
        return out


class _Polars:
    @staticmethod
    def columns(X) -> list:
        return X.get_columns()

    @staticmethod
    def take(column, index):
        return column.gather(index)

    @staticmethod
    def numbers(column):
        kind = column.dtype
        # numpy has no whole numbers of 128 bits.
        if not (kind.is_integer() or kind.is_float()) or str(kind).endswith("128"):
            return None
        return column.fill_null(0).to_numpy(), column.is_not_null().to_numpy()

    @staticmethod
    def put(column, rows, values):
        return column.scatter(rows, values)

    @staticmethod
    def table(X, columns):
        return X.with_columns(columns)


class _Arrow:
    """Tables and record batches."""

    @staticmethod
    def columns(X) -> list:
        return X.columns

    @staticmethod
    def take(column, index):
        return column.take(index)

    @staticmethod
    def numbers(column):
        from pyarrow import types

        if not (types.is_integer(column.type) or types.is_floating(column.type)):
            return None
        known = column.is_valid().to_numpy(zero_copy_only=False)
        return column.fill_null(0).to_numpy(zero_copy_only=False), known

    @staticmethod
    def put(column, rows, values):
        import pyarrow
        from pyarrow import compute

        where = np.zeros(len(column), bool)
        where[rows] = True
        spread = np.zeros(len(column), values.dtype)
        spread[rows] = values
        return compute.if_else(
            pyarrow.array(where), pyarrow.array(spread, type=column.type), column
        )

    @staticmethod
    def table(X, columns):
        return type(X).from_arrays(columns, schema=X.schema)


def _container(X):
    if hasattr(X, "iloc"):
        return _Pandas
    if hasattr(X, "column_names"):
        return _Arrow
    if hasattr(X, "get_columns"):
        return _Polars
    return _Lists if isinstance(X, (list, tuple)) else _Arrays


def _blurred(values, known, near, local_variance: float, rng) -> np.ndarray | None:
    """Every row's near value plus noise, in the type and range of `values`; None for codes.

    Whole numbers stay whole. Rows that are not `known`, or have a near row that is not,
    hold nothing of use.
    """
    some = values[known]
    if not len(some):
        return None
    whole = values.dtype.kind != "f" or bool((some == np.floor(some)).all())
    if whole and len(np.unique(some[:BLOCK])) <= MOST_CODES:
        return None
    low, high = some.min(), some.max()
    if values.dtype.kind != "f" and (low < -MOST_WHOLE or high > MOST_WHOLE):
        return None
    own, other = np.where(known, values, low), np.where(known, values, low)[near]
    with np.errstate(over="ignore"):  # a difference beyond float64 ends at `low` or `high`
        spread = np.abs(own.astype(np.float64) - other) / local_variance
        mixed = other + rng.standard_normal(len(own)) * spread
    if whole:
        mixed = np.rint(mixed)
    return np.clip(mixed, low, high).astype(values.dtype)


def munge(
    X,
    matrix: np.ndarray,
    *,
    copies: int,
    probability: float = 0.5,
    local_variance: float = 2.0,
    categorical: Collection[int] = (),
    swapped: Collection[int] | None = None,
    rng,
):
    """`copies` augmented tables in the container of `X`, each with as many rows.

    X: the user's table; matrix: the same rows as float32 (n, features), for distances. Every
    value of a row is replaced with `probability` by that of a near row. Floating and integer
    numbers get normal noise on top, of standard deviation |difference| / `local_variance`;
    anything else (text, categories, booleans, dates, codes, nulls) is taken as it is. Types,
    names and categories stay, and the same seed draws the same values in every container.
    categorical: the columns of `matrix` whose numbers name categories, which are near where
    they are equal. swapped: the columns of X that are never blurred; None: those of
    `categorical`, for an X with the columns of `matrix`. Yields one table at a time.
    """
    if not copies:
        return
    swapped = set(categorical if swapped is None else swapped)
    near = nearest_rows(matrix, rng, categorical)
    container = _container(X)
    columns = container.columns(X)
    for _ in range(copies):
        swaps = rng.random((len(near), len(columns))) < probability
        mixed = []
        for j, (column, swap) in enumerate(zip(columns, swaps.T, strict=True)):
            new = container.take(column, np.where(swap, near, np.arange(len(near))))
            numbers = None if j in swapped else container.numbers(column)
            if numbers is not None:
                values, known = numbers
                known = known & np.isfinite(values)
                blurred = _blurred(values, known, near, local_variance, rng)
                if blurred is not None:
                    rows = np.flatnonzero(swap & known & known[near])
                    new = container.put(new, rows, blurred[rows])
            mixed.append(new)
        yield container.table(X, mixed)
