"""Columns of a user's table as numbers or as texts: what counts as one, whatever holds it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Real
from typing import NamedTuple

import numpy as np

from farthing._validate import FarthingError

__all__ = [
    "Cells",
    "Coded",
    "as_float32",
    "as_numbers",
    "check_text",
    "coded_objects",
    "holds_categories",
    "is_missing",
    "table_categories",
    "table_cells",
]

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


class Coded(NamedTuple):
    """A column by its distinct cells: every row's place among `values`, -1 where missing.

    Of the values, some may occur in no row.
    """

    values: list
    codes: np.ndarray


def is_missing(cell) -> bool:
    """Whether a Python object stands for no value: None, NaN, NaT, pandas.NA.

    >>> is_missing(None), is_missing(float("nan")), is_missing("")
    (True, True, False)
    """
    differs = cell != cell  # of pandas.NA neither true nor false
    return cell is None or not isinstance(differs, (bool, np.bool_)) or bool(differs)


def check_text(texts: Iterable[str], what: str, *, nul: bool) -> None:
    """Raises ValueError for a text that a file cannot hold: with a lone surrogate, which UTF-8
    does not have, or, unless nul, with the character NUL.

    what: how the message begins, such as "y must be".

    >>> check_text(["a", "b\\0"], "names must be", nul=False)
    Traceback (most recent call last):
    farthing._validate.FarthingError: names must be text without the character NUL, got 'b\\x00'
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FarthingError(f"{what} text that UTF-8 can hold, got {text!r}") from None
        if "\0" in text and not nul:
            raise FarthingError(f"{what} text without the character NUL, got {text!r}")


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
    if any(kind.__name__ in ("NAType", "NaTType") for kind in types):  # of pandas
        missing = np.fromiter(map(is_missing, values.flat), bool, values.size)
        values = np.where(missing.reshape(values.shape), None, values)
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
    if str(column.dtype) in ("Int128", "UInt128"):  # which numpy does not have
        narrow = column.cast(int, strict=False)
        fits = narrow.null_count() == column.null_count()
        column = narrow if fits else column.cast(float)
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
        hint = "encode it as numbers, or drop it"
        if holds_categories(X, name):
            hint = "name it in categorical_features, " + hint
        raise FarthingError(
            f"{argument} must hold numbers, got {where}, which is not numeric; {hint}"
        )
    return cells._replace(values=as_numbers(cells.values, argument, where))


def _arrow_text(kind) -> bool:
    from pyarrow import types

    tests = (types.is_string, types.is_large_string, types.is_dictionary)
    return any(is_kind(kind) for is_kind in tests) or str(kind) == "string_view"


def _is_object(kind) -> bool:
    return isinstance(kind, np.dtype) and kind.kind == "O"


def holds_categories(X, name: str) -> bool:
    """Whether the column `name` of a table is of categories or texts by its type.

    Of dtype object in pandas: whether some cell is a text.
    """
    if hasattr(X, "column_names"):
        return _arrow_text(X.schema.field(name).type)
    kind = X[name].dtype
    if not hasattr(X, "iloc"):
        return str(kind).startswith(("String", "Categorical", "Enum"))
    if _is_object(kind):
        return any(isinstance(cell, str) for cell in X[name].to_numpy())
    arrow = getattr(kind, "pyarrow_dtype", None)
    if arrow is not None:
        return _arrow_text(arrow)
    return kind.name == "category" or issubclass(kind.type, str)


def _coded(values: list, codes: np.ndarray) -> Coded:
    """`Coded` whose values are all there: rows of a missing value are missing."""
    missing = np.array([is_missing(value) for value in values], bool)
    if missing.any():
        codes = np.where((codes >= 0) & missing[codes], -1, codes)
    return Coded(values, codes)


def coded_objects(cells: Iterable, where: str) -> Coded:
    """`Coded` of Python objects."""
    place: dict = {}
    try:
        codes = [place.setdefault(cell, len(place)) for cell in cells]
    except TypeError as error:  # such as a list
        raise TypeError(f"categories must be texts or numbers, got {where}: {error}") from None
    return _coded(list(place), np.array(codes, np.intp))


def _arrow_codes(column) -> Coded:
    import pyarrow

    if not isinstance(column, pyarrow.ChunkedArray):
        column = pyarrow.chunked_array([column])
    if pyarrow.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    else:
        column = column.dictionary_encode()
    if not column.num_chunks:
        return Coded([], np.empty(0, np.intp))
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = column.chunk(column.num_chunks - 1).dictionary.to_pylist()
    return _coded(values, np.concatenate(codes).astype(np.intp))


def table_categories(X, name: str, argument: str) -> Cells | Coded:
    """The column `name` of a table as categories: `Cells` where its type is one of numbers.

    Raises ValueError where it holds neither numbers nor texts.
    """
    column = X[name]
    if not holds_categories(X, name):
        if hasattr(X, "iloc") and _is_object(column.dtype):
            return coded_objects(column.to_numpy(), f"column {name!r} of {argument}")
        return table_cells(X, name, argument)
    if hasattr(X, "column_names"):
        return _arrow_codes(column)
    if not hasattr(X, "iloc"):
        return coded_objects(column.to_list(), f"column {name!r} of {argument}")
    if column.dtype.name == "category":
        return _coded(column.cat.categories.tolist(), column.cat.codes.to_numpy().astype(np.intp))
    if _is_object(column.dtype):
        return coded_objects(column.to_numpy(), f"column {name!r} of {argument}")
    codes, values = column.factorize()
    return _coded(values.tolist(), codes)


def as_float32(cells: Cells) -> np.ndarray:
    """The cells as C-contiguous float32, NaN where missing, infinite where too large."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(cells.values, dtype=np.float32)
    if cells.missing is None:
        return single
    return np.where(cells.missing, np.float32(np.nan), single)
