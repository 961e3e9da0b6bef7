"""The columns of a teacher's table that its student sees."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError
from farthing.indices import column_indices
from farthing.tables import column_names

__all__ = ["column_list", "column_places", "select_columns"]


def column_list(columns) -> list | None:
    """The argument `columns` as a list of names or indices."""
    if columns is None:
        return None
    try:
        listed = None if isinstance(columns, (str, bytes)) else list(columns)
    except TypeError:
        listed = None
    if listed is None:
        raise TypeError(f"columns must be a list of names or indices, got {columns!r}")
    if not listed:
        raise FarthingError("columns must hold one name or index or more, got none")
    return listed


def select_columns(X, columns: list | None, argument: str = "X"):
    """What the student sees of `X`; all of it where it is no table, for `as_matrix` to refuse."""
    if columns is None:
        return X
    names = column_names(X)
    if names is None:
        if isinstance(X, (list, tuple)):
            if len({np.shape(row) for row in X}) != 1:
                return X
            X = np.array(X, dtype=object)  # text beside numbers stays apart from them
        elif not hasattr(X, "iloc") and not isinstance(X, np.ndarray):
            X = np.asarray(X)
        if len(X.shape) != 2:
            return X
    width = X.shape[1] if names is None else len(names)
    chosen = column_indices("columns", columns, names, width, table=argument)
    if hasattr(X, "iloc"):
        return X.iloc[:, chosen]
    return X[:, chosen] if names is None else X.select([names[j] for j in chosen])


def column_places(X, columns: list | None, own) -> list[int]:
    """Where the student's columns `own`, indices, lie in `X`."""
    if columns is None:
        return list(own)
    names = column_names(X)
    width = np.shape(X)[1] if names is None else len(names)
    chosen = column_indices("columns", columns, names, width)
    return [chosen[j] for j in own]
