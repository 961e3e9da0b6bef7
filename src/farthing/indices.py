"""Columns that an argument calls by name or by index, as indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral

from farthing._validate import FarthingError

__all__ = ["column_indices"]


def column_indices(
    argument: str, columns: Iterable, names: Sequence[str] | None, width: int, *, table: str = "X"
) -> list[int]:
    """The 0-based indices of `columns`, names and indices, in their order.

    names: those of the table's columns, None where they have none; width: how many there are;
    argument, table: what messages call the two. Raises ValueError for a name or an index that
    no column has, a name that several have, and a column given twice; TypeError for anything
    else.

    >>> column_indices("columns", ["limit", 0], ("age", "late", "limit"), 3)
    [2, 0]
    """
    found: list[int] = []
    for column in columns:
        if isinstance(column, bool) or not isinstance(column, (str, Integral)):
            raise TypeError(f"{argument} must hold names or indices of columns, got {column!r}")
        index = _index(argument, column, names, width, table)
        if index in found:
            label = repr(names[index]) if names else index
            raise FarthingError(f"{argument} must hold a column once, got column {label} twice")
        found.append(index)
    return found


def _index(
    argument: str, column: str | Integral, names: Sequence[str] | None, width: int, table: str
) -> int:
    if not isinstance(column, str):
        if not 0 <= column < width:
            raise FarthingError(
                f"{argument} must hold indices of columns of {table}, 0 to {width - 1}, "
                f"got {column}"
            )
        return int(column)
    if names is None:
        raise FarthingError(
            f"{argument} must hold indices, 0 to {width - 1}, where the columns of {table} have "
            f"no names, got {column!r}"
        )
    names = list(names)
    if names.count(column) != 1:
        several = f", which {names.count(column)} have" if column in names else ""
        raise FarthingError(
            f"{argument} must hold names of columns of {table}, got {column!r}{several}; "
            f"there are {names}"
        )
    return names.index(column)
