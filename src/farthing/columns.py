"""Columns of a user's table as numbers: what counts as one, and what float32 can hold."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Real
from typing import NamedTuple

import numpy as np

from farthing._validate import FarthingError

__all__ = ["Cells", "as_float32", "as_numbers", "check_precision", "table_cells"]

# Whole numbers up to here are exact in float32.
_EXACT_WHOLE = 1 << 24
# Values that differ by a few units in the last place of float64 are one value computed in
# several ways, such as 0.3 and 0.1 + 0.2.
_ROUNDING = 2.0**-50
# float() would accept these; a column of them is still no column of numbers.
_REFUSED_CELLS = {
    "text": (str, bytes, bytearray, memoryview),
    "a complex number": (complex, np.complexfloating),
    "a date or duration": (date, time, timedelta, np.datetime64, np.timedelta64),
}


class Cells(NamedTuple):
    """Numbers before their cast to float32, and where they are missing (None: nowhere).

    Values under ``missing`` mean nothing; NaN among the others means missing too.
    """

    values: np.ndarray
    missing: np.ndarray | None = None


def as_numbers(values: np.ndarray, argument: str, where: str = "") -> np.ndarray:
    """`values` of any shape as bool, int, uint or float; Python objects become float64.

    The dtype decides: text and bytes are refused even where they spell numbers, so are
    dates, durations and complex numbers. where: such as "column 'a' of type str", for
    messages. Raises ValueError, and TypeError for objects that are no numbers.

    >>> as_numbers(np.array([1, None], object), "X")
    array([ 1., nan])
    >>> as_numbers(np.array(["1"]), "X")
    Traceback (most recent call last):
    farthing._validate.FarthingError: X must hold numbers, got dtype <U1, which is not numeric
    """
    kind = values.dtype.kind
    if kind in "biuf":
        return values
    if kind == "c":
        got = f", got {where}" if where else ""
        raise FarthingError(f"{argument} must be real{got}: Complex data not supported")
    if kind != "O":
        got = where or f"dtype {values.dtype}"
        raise FarthingError(f"{argument} must hold numbers, got {got}, which is not numeric")
    types = set(map(type, values.flat))
    for what, refused in _REFUSED_CELLS.items():
        if any(issubclass(cell_type, refused) for cell_type in types):
            cells = np.ndenumerate(values)
            index, cell = next(pair for pair in cells if isinstance(pair[1], refused))
            axes = zip(("row", "column"), index, strict=False)
            place = ", ".join([f"{axis} {i}" for axis, i in axes] + [where] * bool(where))
            raise FarthingError(f"{argument} must hold numbers, got {what}, {cell!r}, in {place}")
    try:
        return values.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        error_type = TypeError if isinstance(error, TypeError) else FarthingError
        raise error_type(f"{argument} must hold numbers: {error}") from None


def _pandas_cells(column) -> Cells | None:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind != "O":
            return Cells(column.to_numpy())
    elif not issubclass(dtype.type, (Real, Decimal, np.bool_)):
        return None
    own = getattr(dtype, "numpy_dtype", object)
    # Arrow refuses 0 for a truth value.
    filler = False if dtype.type in (bool, np.bool_) else 0
    return Cells(column.to_numpy(dtype=own, na_value=filler), column.isna().to_numpy())


def _arrow_cells(column) -> Cells | None:
    from pyarrow import types

    if types.is_integer(column.type) and column.null_count:
        # Through float64, as Arrow would have it, integers would be rounded twice.
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return Cells(column.fill_null(0).to_numpy(zero_copy_only=False), missing)
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    if any(is_kind(column.type) for is_kind in tests):
        return Cells(column.to_numpy(zero_copy_only=False))
    return None


def _polars_cells(column) -> Cells | None:
    if column.dtype.is_integer() and column.null_count():
        missing = column.is_null().to_numpy()
        return Cells(column.fill_null(strategy="zero").to_numpy(), missing)
    if column.dtype.is_numeric() or str(column.dtype) in ("Boolean", "Null"):
        return Cells(column.to_numpy())
    return None


def table_cells(X, name: str, argument: str) -> Cells:
    """The column `name` of a pandas, Arrow or polars table; refused unless its type is one
    of numbers, so categories are refused whatever their values."""
    column = X[name]
    if hasattr(X, "iloc"):
        kind, cells = column.dtype, _pandas_cells(column)
    elif hasattr(X, "column_names"):
        kind, cells = column.type, _arrow_cells(column)
    else:
        kind, cells = column.dtype, _polars_cells(column)
    where = f"column {name!r} of type {kind}"
    if cells is None:
        raise FarthingError(
            f"{argument} must hold numbers, got {where}, which is not numeric; encode it as "
            "numbers, or drop it"
        )
    return cells._replace(values=as_numbers(cells.values, argument, where))


def as_float32(cells: Cells) -> np.ndarray:
    """The cells as C-contiguous float32, NaN where missing, infinite where too large."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(cells.values, dtype=np.float32)
    if cells.missing is None:
        return single
    return np.where(cells.missing, np.float32(np.nan), single)


def _is_exact(values: np.ndarray, single: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        return np.array_equal(values, single)
    # Compared with floats, integers would be rounded first.
    return int(values.min()) >= -_EXACT_WHOLE and int(values.max()) <= _EXACT_WHOLE


def _count_distinct(values: np.ndarray) -> int:
    ordered = np.sort(values)
    low, high = ordered[:-1], ordered[1:]
    if ordered.dtype.kind == "f":
        return 1 + np.count_nonzero(high - low > _ROUNDING * np.abs(high))
    return 1 + np.count_nonzero(high != low)


def check_precision(values: np.ndarray, single: np.ndarray, label: str, argument: str) -> None:
    """Raises ValueError where float32 keeps fewer than half of a column's distinct values.

    values: a column before the cast (n,); single: after it, NaN where missing; label: how
    messages call the column. Such columns are identifiers or timestamps: scores would not
    tell their values apart. Sorts float32 once where the cast is not exact, and the
    values themselves only where that leaves a doubt.
    """
    if np.can_cast(values.dtype, np.float32):
        return
    finite = np.isfinite(single)
    if not finite.all():
        values, single = values[finite], single[finite]
    if not len(values) or _is_exact(values, single):
        return
    kept = _count_distinct(single)
    if 2 * kept >= len(values):
        return
    distinct = _count_distinct(values)
    if 2 * kept < distinct:
        raise FarthingError(
            f"{argument} must keep its values apart in float32 (about 7 digits): column {label} "
            f"has {distinct:,} distinct values, of which {kept:,} stay; drop an identifier, "
            "subtract an offset such as the first date from a timestamp, or rescale"
        )
