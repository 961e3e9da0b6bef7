"""Checks of the columns that a metric compares: one number a row, equal lengths, no NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from farthing._validate import FarthingError


def as_columns(**arguments: ArrayLike) -> list[np.ndarray]:
    """Every named argument as a 1-D float64 array; all of one length, at least one row, no NaN.

    >>> as_columns(y=[0, 1], score=[0.25, 0.5, 0.75])
    Traceback (most recent call last):
    farthing._validate.FarthingError: y and score must have one length, got 2 and 3 rows
    """
    columns = [_as_column(name, values) for name, values in arguments.items()]
    if len({len(column) for column in columns}) > 1:
        names, lengths = (list(arguments), [str(len(column)) for column in columns])
        raise FarthingError(f"{_list(names)} must have one length, got {_list(lengths)} rows")
    if not len(columns[0]):
        raise FarthingError(f"{_list(list(arguments))}: no rows were given, at least one is needed")
    return columns


def _list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _as_column(name: str, values: ArrayLike) -> np.ndarray:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers, one a row ({error})") from None
    if column.ndim != 1:
        hint = "; pass the column of the positive class" if column.shape[1:] == (2,) else ""
        raise FarthingError(f"{name} must be 1-D, one value a row, got shape {column.shape}{hint}")
    missing = np.isnan(column)
    if missing.any():
        row = int(missing.argmax())
        raise FarthingError(f"{name} must not contain NaN, got {missing.sum()}, first in row {row}")
    return column


def as_events(y: np.ndarray) -> np.ndarray:
    """`y` as bool (n,); an error unless it holds nothing but 0 and 1.

    >>> as_events(np.array([0.0, 2.0]))
    Traceback (most recent call last):
    farthing._validate.FarthingError: y must be 0 or 1 in every row (1 = the event), got 2 in row 1
    """
    other = (y != 0) & (y != 1)
    if other.any():
        row = int(other.argmax())
        raise FarthingError(
            f"y must be 0 or 1 in every row (1 = the event), got {y[row]:g} in row {row}"
        )
    return y == 1


def check_both_classes(event: np.ndarray, weight: np.ndarray | None = None) -> None:
    """An error where no row, or every row, that has a weight is an event.

    >>> check_both_classes(np.array([True, True]))
    Traceback (most recent call last):
    farthing._validate.FarthingError: y has one class only (every row is 1), 0 and 1 are needed
    """
    counted = event if weight is None else event[weight > 0]
    if counted.all() or not counted.any():
        where = "" if weight is None else " with a weight above 0"
        raise FarthingError(
            f"y has one class only (every row{where} is {int(counted[0])}), 0 and 1 are needed"
        )


def is_binary(y: np.ndarray) -> bool:
    """Whether `y` holds nothing but 0 and 1."""
    return bool(((y == 0) | (y == 1)).all())


def check_finite(**columns: np.ndarray) -> None:
    """An error where a named column holds an infinity."""
    for name, column in columns.items():
        infinite = np.isinf(column)
        if infinite.any():
            row = int(infinite.argmax())
            raise FarthingError(f"{name} must be finite, got {column[row]} in row {row}")


def check_probabilities(**columns: np.ndarray) -> None:
    """An error where a named column leaves [0, 1].

    >>> check_probabilities(p=np.array([0.5, 1.5]))
    Traceback (most recent call last):
    farthing._validate.FarthingError: p must be probabilities in [0, 1], got 1.5 in row 1
    """
    for name, column in columns.items():
        outside = (column < 0) | (column > 1)
        if outside.any():
            row = int(outside.argmax())
            raise FarthingError(
                f"{name} must be probabilities in [0, 1], got {column[row]:g} in row {row}"
            )


def as_weight(sample_weight: ArrayLike | None, rows: int) -> np.ndarray | None:
    """`sample_weight` as float64 (rows,), or None: finite, not negative, not all 0.

    >>> as_weight([1.0, -1.0], 2)
    Traceback (most recent call last):
    farthing._validate.FarthingError: sample_weight must not be negative, got -1 in row 1
    """
    if sample_weight is None:
        return None
    weight = _as_column("sample_weight", sample_weight)
    if len(weight) != rows:
        raise FarthingError(
            f"sample_weight must have one value a row, got {len(weight)} for {rows} rows"
        )
    check_finite(sample_weight=weight)
    if (weight < 0).any():
        row = int((weight < 0).argmax())
        raise FarthingError(f"sample_weight must not be negative, got {weight[row]:g} in row {row}")
    if not weight.any():
        raise FarthingError("sample_weight is 0 in every row, at least one row must count")
    return weight
