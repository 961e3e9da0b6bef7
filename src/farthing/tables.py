"""What `fit` is given beside rows: targets, labels, weights, groups; and the rows' tables."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from numbers import Real

import numpy as np

from farthing._validate import FarthingError
from farthing.columns import as_numbers, check_text, is_missing
from farthing.frames import (
    as_matrix,
    column_names,
    learn_matrix,
    row_count,
    take_rows,
)

__all__ = [
    "as_groups",
    "as_labels",
    "as_matrix",
    "as_part",
    "as_probabilities",
    "as_target",
    "as_weights",
    "at",
    "check_features",
    "check_spread",
    "column_names",
    "learn_matrix",
    "row_count",
    "take_rows",
]

# Farther out, a network's sums of a target of this size leave float32.
LARGEST_TARGET = 1e35
# In units of the last place of float32 at the mean: a sum of 64 products is off by a few,
# which takes about a thousandth of R^2 at this deviation.
LEAST_SPREAD = 100
# The share of the mean below which a spread is the rounding of float64.
CONSTANT_SPREAD = 1e-12
# How far from 1 the probabilities of a row may add up: rounding to two decimals.
LARGEST_EXCESS = 0.01
_NUMBERS = (Real, np.bool_)
# Weights of this size can be summed and squared in float32.
_SAFE_WEIGHT = (1e-15, 1e15)


def as_part(part, argument: str) -> tuple:
    """X, y and sample_weight (or None) of an argument such as `eval_set`.

    >>> as_part(([[1.0]], [0]), "eval_set")
    ([[1.0]], [0], None)
    """
    if not isinstance(part, (tuple, list)) or len(part) not in (2, 3):
        got = type(part).__name__
        if isinstance(part, (tuple, list)):
            got += f" of length {len(part)}"
        raise FarthingError(f"{argument} must be (X, y) or (X, y, sample_weight), got {got}")
    return (*part, None)[:3]


def at(values: np.ndarray | None, index) -> np.ndarray | None:
    """``values[index]``; None where there are no values, such as weights."""
    return None if values is None else values[index]


def as_weights(sample_weight, n: int, *, argument: str = "sample_weight") -> np.ndarray | None:
    """Weights as float64 (n,), or None. Raises ValueError unless finite, >= 0 and not all 0.

    Only their ratios matter: where float32 could not sum them they are scaled by a power of
    two so that the largest lies in [0.5, 1), and those too small beside it are 0.

    >>> as_weights([4e300, 1e300], 2).round(2).tolist()
    [0.75, 0.19]
    """
    if sample_weight is None:
        return None
    try:
        weight = as_numbers(np.asarray(sample_weight), argument).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise FarthingError(f"{argument} must hold numbers, one a row: {error}") from None
    if weight.ndim == 0:
        weight = np.full(n, weight)
    if weight.shape != (n,):
        raise FarthingError(f"{argument} must have {n} values, one a row, got shape {weight.shape}")
    _check_unmasked(sample_weight, argument)
    wrong = ~np.isfinite(weight) | (weight < 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FarthingError(
            f"{argument} must be finite and not negative, got {weight[row]} in row {row}"
        )
    if not weight.any():
        raise FarthingError(f"{argument} must not be zero in every row: one row must count")
    if not _SAFE_WEIGHT[0] < weight.max() < _SAFE_WEIGHT[1]:
        weight = np.ldexp(weight, -np.frexp(weight.max())[1])
    weight[weight < np.finfo(np.float32).tiny] = 0
    return weight


def _check_unmasked(values, argument: str) -> None:
    if np.ma.is_masked(values):
        row = int(np.argmax(np.ma.getmaskarray(values)))
        raise FarthingError(f"{argument} must have a value in every row, got none in row {row}")


def _vector(y, n: int, argument: str) -> np.ndarray:
    if y is None:
        raise FarthingError(
            f"{argument} must be given: fit requires y to be passed, but the target y is None"
        )
    _check_unmasked(y, argument)
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        exceptions = sys.modules.get("sklearn.exceptions")
        warnings.warn(
            f"A column-vector {argument} was passed when a 1d array was expected; "
            f"pass {argument}.ravel(), of shape (n_samples,)",
            getattr(exceptions, "DataConversionWarning", UserWarning),
            stacklevel=4,
        )
        y = y.ravel()
    if y.shape != (n,):
        raise FarthingError(f"{argument} must have {n} values, one a row of X, got shape {y.shape}")
    return y


def _check_finite(y: np.ndarray, argument: str) -> None:
    wrong = ~np.isfinite(y)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FarthingError(
            f"{argument} must not contain NaN or infinity, got {y[row]} in row {row}"
        )


def _check_present(values: np.ndarray, argument: str, what: str) -> None:
    """Raises ValueError, naming the row, for None, NaN, NaT and pandas.NA."""
    if values.dtype.kind == "O":
        missing = np.fromiter(map(is_missing, values), bool, len(values))
    elif values.dtype.kind in "fcmM":
        missing = values != values
    else:
        return
    if missing.any():
        row = int(np.argmax(missing))
        raise FarthingError(f"{argument} must have a {what} in every row, got none in row {row}")


def as_target(y, n: int, *, argument: str = "y") -> np.ndarray:
    """A numeric target as float64 (n,).

    Raises ValueError for NaN, infinities, text, dates, complex values, and for values beyond
    `LARGEST_TARGET`.
    """
    y = _vector(y, n, argument)
    if y.dtype.kind == "O":
        _check_present(y, argument, "value")
    y = as_numbers(y, argument).astype(np.float64)
    _check_finite(y, argument)
    wrong = np.abs(y) > LARGEST_TARGET
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FarthingError(
            f"{argument} must lie within {LARGEST_TARGET:g}, so that a network can sum in "
            f"float32, got {y[row]} in row {row}; rescale it"
        )
    return y


def as_probabilities(p, n: int, classes: int, *, argument: str = "y") -> np.ndarray:
    """Probabilities of several classes as float64 (n, classes), rows that add up to 1.

    Raises ValueError for another shape, values outside [0, 1] and NaN, and for sums that are
    off by more than a hundredth; what is less is divided out.
    """
    p = as_numbers(np.asarray(p), argument).astype(np.float64)
    if p.shape != (n, classes):
        raise FarthingError(
            f"{argument} must have {classes} probabilities, one a class, for each of {n} rows, "
            f"got shape {p.shape}"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise FarthingError(f"{argument} must hold probabilities, got values outside [0, 1]")
    total = p.sum(axis=1, keepdims=True)
    wrong = np.abs(total[:, 0] - 1) > LARGEST_EXCESS
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FarthingError(
            f"{argument} must hold probabilities that add up to 1 over the {classes} classes, "
            f"got {total[row, 0]:.6g} in row {row}"
        )
    return p / total


def check_spread(y: np.ndarray, weight: np.ndarray | None = None, *, argument: str = "y") -> None:
    """Raises ValueError where the deviation of a target (n,) is no more than the rounding of
    the float32 sums that will predict it. A constant target passes."""
    mean = np.average(y, weights=weight)
    # Squares of the smallest targets would be 0.
    unit = np.abs(y - mean).max() or 1.0
    deviation = unit * np.sqrt(np.average(((y - mean) / unit) ** 2, weights=weight))
    step = float(np.spacing(np.abs(np.float32(mean))))
    # Below 1e-12 of the mean the spread is the rounding of float64: a constant.
    if abs(mean) * CONSTANT_SPREAD < deviation < LEAST_SPREAD * step:
        raise FarthingError(
            f"{argument} must vary by {LEAST_SPREAD} steps of float32 or more, which are "
            f"{step:.2g} at its mean {mean:.6g}, got a standard deviation of {deviation:.2g}; "
            "subtract an offset or rescale it"
        )


def _plain_labels(y: np.ndarray, argument: str) -> np.ndarray:
    """Labels of dtype object as bool, int or float; text stays as it is."""
    types = set(map(type, y))
    if all(issubclass(kind, str) for kind in types):
        return y
    if all(issubclass(kind, _NUMBERS) for kind in types):
        plain = np.array(y.tolist())
        if plain.dtype.kind in "biuf":
            return plain
    names = ", ".join(sorted(kind.__name__ for kind in types))
    raise FarthingError(
        f"{argument} must hold labels that a file can: all text, or all whole numbers of up to "
        f"64 bits or booleans, got {names}. Unknown label type"
    )


def as_labels(
    y, n: int, *, classes: np.ndarray | None = None, argument: str = "y"
) -> tuple[np.ndarray, np.ndarray]:
    """Class labels: the sorted classes and the index (n,) of every row's class.

    Labels are text, whole numbers or booleans, those of dtype object by their values. Raises
    ValueError for other kinds, mixtures, NaN, a continuous target, and labels not in
    `classes` where those are given.
    """
    y = _vector(y, n, argument)
    if y.dtype.kind == "O":
        _check_present(y, argument, "label")
        y = _plain_labels(y, argument)
    if y.dtype.kind == "f":
        _check_finite(y, argument)
        if not (y == np.floor(y)).all():
            raise FarthingError(
                f"{argument} must hold class labels. Unknown label type: continuous"
            )
    elif y.dtype.kind not in "biuOUT":
        raise FarthingError(
            f"{argument} must hold labels that are text, whole numbers or booleans, "
            f"got dtype {y.dtype}"
        )
    found, index = np.unique(y, return_inverse=True)
    check_text(
        [label for label in found.tolist() if isinstance(label, str)],
        f"{argument} must be",
        nul=True,
    )
    if classes is None:
        return found, index
    position = {value: i for i, value in enumerate(classes.tolist())}
    unknown = [value for value in found.tolist() if value not in position]
    if unknown:
        raise FarthingError(
            f"{argument} must hold the classes {classes.tolist()}, got {unknown[0]!r}"
        )
    return classes, np.array([position[value] for value in found.tolist()], dtype=np.intp)[index]


def as_groups(groups, n: int, *, argument: str = "groups") -> np.ndarray | None:
    """The number 0, 1, ... of every row's group (n,), or None.

    Raises ValueError unless there is one label a row, none missing, all of one kind.

    >>> as_groups(["b", "a", "b"], 3).tolist()
    [1, 0, 1]
    """
    if groups is None:
        return None
    _check_unmasked(groups, argument)
    try:
        labels = np.asarray(groups)
    except ValueError as error:  # rows of different lengths
        raise FarthingError(f"{argument} must have one label a row: {error}") from None
    if labels.shape != (n,):
        raise FarthingError(
            f"{argument} must have {n} labels, one a row of X, got shape {labels.shape}"
        )
    _check_present(labels, argument, "label")
    try:
        return np.unique(labels, return_inverse=True)[1]
    except TypeError as error:  # no order
        raise FarthingError(f"{argument} must hold labels of one kind: {error}") from None


def check_features(matrix: np.ndarray, names: Sequence[str] | None, *, argument: str = "X") -> None:
    """Raises ValueError, naming the column, where a value is infinite (also after float32)."""
    infinite = np.isinf(matrix).any(axis=0)
    if infinite.any():
        j = int(np.argmax(infinite))
        label = repr(names[j]) if names is not None else str(j)
        raise FarthingError(
            f"{argument} must be finite, or NaN for a missing value: column {label} contains "
            "infinity or a value too large for float32"
        )
