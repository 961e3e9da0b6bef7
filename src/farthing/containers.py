"""Users' tables column by column: how each container's are read, taken from and put back."""

from __future__ import annotations

import numpy as np

__all__ = ["container_of"]


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


def container_of(X):
    """How the columns of X are read, taken and put back."""
    if hasattr(X, "iloc"):
        return _Pandas
    if hasattr(X, "column_names"):
        return _Arrow
    if hasattr(X, "get_columns"):
        return _Polars
    return _Lists if isinstance(X, (list, tuple)) else _Arrays
