"""The user's tables: to float32 matrices, and row subsets in their own container."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from farthing._validate import FarthingError

__all__ = [
    "as_labels",
    "as_matrix",
    "as_target",
    "as_weights",
    "column_names",
    "row_count",
    "take_rows",
]


def column_names(X) -> tuple[str, ...] | None:
    """Column names of a pandas, polars or Arrow table; None for anything without names.

    A table whose names are not all strings counts as nameless, as in scikit-learn.
    """
    names = getattr(X, "column_names", None)
    if names is None:
        names = getattr(X, "columns", None)
    if names is None or callable(names):
        return None
    names = tuple(names)
    return names if names and all(isinstance(name, str) for name in names) else None


def row_count(X) -> int:
    """Number of rows of an array, sequence or table."""
    shape = getattr(X, "shape", None)
    return int(shape[0]) if shape else len(X)


def take_rows(X, index):
    """The rows at `index` in the container that `X` came in."""
    if hasattr(X, "iloc"):
        return X.iloc[index]
    if hasattr(X, "take") and hasattr(X, "column_names"):
        return X.take(index)
    if isinstance(X, (list, tuple)):
        return [X[i] for i in index]
    return X[index]


def _column(X, name: str, argument: str) -> np.ndarray:
    column = X[name]
    try:
        if hasattr(X, "iloc"):
            return column.to_numpy(dtype=np.float32, na_value=np.nan)
        if hasattr(X, "column_names"):  # of Arrow, which copies bools and nulls only when told
            return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float32)
        return np.asarray(column.to_numpy(), dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise FarthingError(
            f"{argument}: column {name!r} of type {column.dtype if hasattr(column, 'dtype') else column.type} "
            f"is not numeric ({error})"
        ) from None


def as_matrix(X, *, argument: str = "X") -> tuple[np.ndarray, tuple[str, ...] | None]:
    """`X` as a C-contiguous float32 matrix (n, features) and its column names, if any.

    NaN means missing. Raises ValueError for a wrong number of dimensions, no columns,
    complex values or text; TypeError for objects that are no numbers.
    """
    if hasattr(X, "toarray"):
        raise TypeError(
            f"{argument}: a sparse matrix was passed, a dense table is required; use X.toarray()"
        )
    names = column_names(X)
    if names is not None:
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise FarthingError(f"{argument}: column {twice!r} occurs more than once")
        matrix = np.empty((row_count(X), len(names)), np.float32)
        with np.errstate(over="ignore"):
            for j, name in enumerate(names):
                matrix[:, j] = _column(X, name, argument)
        return matrix, names
    if not isinstance(X, np.ndarray):
        X = np.asarray(X)
    if X.dtype.kind == "c":
        raise FarthingError(f"{argument}: Complex data not supported")
    if X.dtype.kind in "US":
        raise FarthingError(f"{argument}: text was passed where numbers belong (dtype {X.dtype})")
    if X.ndim != 2:
        hint = (
            " Reshape your data: X.reshape(1, -1) for one row, X.reshape(-1, 1) for one feature."
            if X.ndim == 1
            else ""
        )
        raise FarthingError(
            f"{argument}: expected a 2-D table (rows, features), got {X.ndim} dimension(s).{hint}"
        )
    if X.shape[1] == 0:
        raise FarthingError(
            f"{argument}: 0 feature(s) (shape={X.shape}) while a minimum of 1 is required."
        )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32), None


def as_weights(sample_weight, n: int) -> np.ndarray | None:
    """Weights as float32 (n,), or None. Raises ValueError unless finite, >= 0 and not all 0."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float32)
    if weight.ndim == 0:
        weight = np.full(n, weight, np.float32)
    if weight.shape != (n,):
        raise FarthingError(
            f"sample_weight: expected {n} values, one a row, got shape {weight.shape}"
        )
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise FarthingError("sample_weight: values must be finite and not negative")
    if not weight.any():
        raise FarthingError("sample_weight: every weight is zero, at least one row must count")
    return weight


def _vector(y, n: int, argument: str) -> np.ndarray:
    if y is None:
        raise FarthingError(
            f"{argument}: a target is required (requires y to be passed, but the target y is None)"
        )
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        import sys
        import warnings

        exceptions = sys.modules.get("sklearn.exceptions")
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
            "(n_samples, ), for example using ravel().",
            getattr(exceptions, "DataConversionWarning", UserWarning),
            stacklevel=4,
        )
        y = y.ravel()
    if y.shape != (n,):
        raise FarthingError(f"{argument}: expected {n} values, one a row of X, got shape {y.shape}")
    return y


def as_target(y, n: int, *, argument: str = "y") -> np.ndarray:
    """A numeric target as float64 (n,); raises ValueError for NaN, infinities or text."""
    y = _vector(y, n, argument)
    try:
        y = y.astype(np.float64)
    except (ValueError, TypeError):
        raise FarthingError(f"{argument}: numbers are required, got dtype {y.dtype}") from None
    if not np.isfinite(y).all():
        raise FarthingError(
            f"{argument}: contains NaN or infinity at row {int(np.flatnonzero(~np.isfinite(y))[0])}"
        )
    return y


def as_labels(
    y, n: int, *, classes: np.ndarray | None = None, argument: str = "y"
) -> tuple[np.ndarray, np.ndarray]:
    """Class labels: the sorted classes and the index (n,) of every row's class.

    Raises ValueError for NaN, for a continuous target, and for labels not in `classes`
    where those are given.
    """
    y = _vector(y, n, argument)
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            raise FarthingError(
                f"{argument}: contains NaN or infinity at row {int(np.flatnonzero(~np.isfinite(y))[0])}"
            )
        if not (y == np.floor(y)).all():
            raise FarthingError(
                f"Unknown label type: {argument} is continuous, a classifier needs class labels"
            )
    elif y.dtype.kind == "O" and any(v is None or v != v for v in y):
        raise FarthingError(f"{argument}: contains a missing label")
    found, index = np.unique(y, return_inverse=True)
    if classes is None:
        return found, index
    position = {value: i for i, value in enumerate(classes.tolist())}
    unknown = [value for value in found.tolist() if value not in position]
    if unknown:
        raise FarthingError(
            f"{argument}: label {unknown[0]!r} is not one of the classes {classes.tolist()}"
        )
    return classes, np.array([position[value] for value in found.tolist()], dtype=np.intp)[index]


def check_features(matrix: np.ndarray, names: Sequence[str] | None) -> None:
    """Raises ValueError, naming the column, where a value is infinite (also after float32)."""
    infinite = np.isinf(matrix).any(axis=0)
    if infinite.any():
        j = int(np.flatnonzero(infinite)[0])
        label = repr(names[j]) if names is not None else str(j)
        raise FarthingError(
            f"X: column {label} contains infinity or a value too large for float32; "
            "NaN marks a missing value"
        )
