"""Users' tables of any container: float32 matrices, and row subsets of the same container."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from farthing._validate import FarthingError, check_integer
from farthing.categories import Lookup, Vocabulary, categories_by_index, chosen_features
from farthing.columns import (
    Cells,
    Coded,
    as_float32,
    as_numbers,
    check_text,
    coded_objects,
    holds_categories,
    table_categories,
    table_cells,
)
from farthing.precision import (
    EXACT_WHOLE,
    DistinctCount,
    check_precision,
    count_distinct,
    raise_imprecise,
)
from farthing.streams import is_stream, read_table, record_batches, stream_names

__all__ = ["as_matrix", "column_names", "learn_matrix", "row_count", "take_rows"]

# Cells that are converted at a time: bounds memory beyond the result.
_CELLS = 1 << 18
# Gives a feature's float32 column from its cells.
Reader = Callable[[Cells | Coded], np.ndarray]
# Raises where column names, if any, and their number are not those expected.
Check = Callable[[tuple[str, ...] | None, int], None]


def column_names(X) -> tuple[str, ...] | None:
    """Column names of a table or stream of columns; None for anything without names.

    A table whose names are not all strings counts as nameless, as in scikit-learn.
    """
    if is_stream(X):
        names = stream_names(X)
    else:
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
    """The rows at `index` in the container that `X` came in; of a stream, a pyarrow table."""
    if is_stream(X):
        return read_table(X).take(index)
    if hasattr(X, "iloc"):
        return X.iloc[index]
    if hasattr(X, "take") and hasattr(X, "column_names"):
        return X.take(index)
    if isinstance(X, (list, tuple)):
        return [X[i] for i in index]
    return X[index]


def as_matrix(
    X,
    *,
    argument: str = "X",
    fitting: bool = False,
    categories: Mapping | None = None,
    check: Check | None = None,
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """`X` as a C-contiguous float32 matrix (n, features) and its column names, if any.

    NaN means missing, and so do nulls and masked cells. categories: {index or name of a
    column: its kept categories}: there texts become their place among the kept ones, -1 for
    any other text, and numbers stay as they are, as all columns of an array of numbers do.
    A C-contiguous float32 array is given back itself; other arrays and streams of Arrow
    batches are converted a piece at a time. fitting: also refuse, by name, columns that keep
    fewer than half of their distinct values in float32. check: called with the column names
    and the number of columns before `categories` are placed or a value is looked at, to raise
    where they are not those expected. Raises ValueError for a wrong number
    of dimensions, no columns, or columns that hold no real numbers (text and categories where
    `categories` does not name them, dates, complex values); TypeError for objects that are no
    numbers; ImportError for a stream where pyarrow is missing.
    """
    table = _open(X, argument)
    if check is not None:
        check(table.names, table.width)
    known = categories_by_index(categories, table.names, table.width)
    readers = {j: Lookup(kept, table.label(j), argument) for j, kept in known.items()}
    return table.read(readers, fitting), table.names


def learn_matrix(
    X,
    categorical_features: str | Iterable | None = None,
    *,
    min_frequency: int = 10,
    sample_weight: np.ndarray | None = None,
    argument: str = "X",
) -> tuple[np.ndarray, tuple[str, ...] | None, dict[int, list]]:
    """`as_matrix` for fitting, and the kept categories it learns by feature index.

    categorical_features: None; "from_dtype" for the columns of a table that are of
    categories or text (in pandas also those of dtype object with a text in them; none of an
    array's); or a list of names and 0-based indices. Categories are all texts, or all numbers
    that stay apart in float32. Kept, in order, are those with min_frequency rows or more, or
    with that total of sample_weight (n,), taken times the mean of the weights above 0 where
    that is below 1. Missing cells are none of them. Raises as `as_matrix` does, and where the
    list or the categories are not of that kind.
    """
    check_integer(1, min_frequency=min_frequency)
    table = _open(X, argument)
    if categorical_features is None:
        chosen = []
    elif isinstance(categorical_features, str) and categorical_features == "from_dtype":
        chosen = [j for j in range(table.width) if table.is_categorical(j)]
    elif isinstance(categorical_features, str):
        raise FarthingError(
            "categorical_features must be None, 'from_dtype' or a list of names or indices of "
            f"columns, got {categorical_features!r}"
        )
    else:
        chosen = chosen_features(categorical_features, table.names, table.width)
    readers = {j: Vocabulary(table.label(j), argument) for j in chosen}
    matrix = table.read(readers, fitting=True)
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight, np.float64)
        if sample_weight.shape != (len(matrix),):
            raise FarthingError(
                f"sample_weight must have {len(matrix)} values, one a row, "
                f"got shape {sample_weight.shape}"
            )
    kept = {}
    for j, vocabulary in readers.items():
        column = matrix[:, j]
        kept[j], final = vocabulary.finish(column, sample_weight, min_frequency)
        if final is not column:  # of numbers the matrix may be the user's own
            matrix[:, j] = final
    return matrix, table.names, kept


def _open(X, argument: str) -> _Table:
    if hasattr(X, "toarray"):
        raise TypeError(f"{argument} must be dense, got a sparse matrix; use {argument}.toarray()")
    if is_stream(X):
        return _Stream(X, argument)
    if hasattr(type(X), "collect"):  # of a lazy frame
        raise TypeError(
            f"{argument} must be in memory, got {type(X).__name__}; use {argument}.collect()"
        )
    names = column_names(X)
    return _Array(X, argument) if names is None else _Frame(X, argument, names)


class _Table:
    """Columns of a user's table: `names` or None, `width`, and how they are read."""

    names: tuple[str, ...] | None = None
    width: int
    argument: str

    def label(self, j: int) -> str:
        """How messages call a column."""
        return str(j) if self.names is None else repr(self.names[j])

    def is_categorical(self, j: int) -> bool:
        """Whether a column is of categories or text by its type."""
        return False

    def read(self, readers: Mapping[int, Reader], fitting: bool) -> np.ndarray:
        """The float32 matrix, whose columns in `readers` are what those make of them."""
        raise NotImplementedError

    def _check_names(self, fitting: bool) -> None:
        names = self.names
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise FarthingError(f"{self.argument} must have distinct columns, got {twice!r} twice")
        if fitting:
            check_text(names, f"the column names of {self.argument} must be", nul=False)


class _Frame(_Table):
    """A pandas, polars or Arrow table in memory."""

    def __init__(self, X, argument: str, names: tuple[str, ...]):
        self.X, self.argument, self.names, self.width = X, argument, names, len(names)
        self._check_names(fitting=False)

    def is_categorical(self, j: int) -> bool:
        return holds_categories(self.X, self.names[j])

    def read(self, readers, fitting):
        self._check_names(fitting)
        matrix = np.empty((row_count(self.X), self.width), np.float32)
        for j, name in enumerate(self.names):
            if j in readers:
                matrix[:, j] = readers[j](table_categories(self.X, name, self.argument))
                continue
            cells = table_cells(self.X, name, self.argument)
            matrix[:, j] = single = as_float32(cells)
            if fitting:
                check_precision(cells.values, single, repr(name), self.argument)
        return matrix


class _Stream(_Table):
    """Arrow record batches, each of which is let go before the next one is read."""

    def __init__(self, X, argument: str):
        self._reader, self.argument = record_batches(X), argument
        self.names, self.width = tuple(self._reader.schema.names), len(self._reader.schema)
        self._check_names(fitting=False)
        if self.width == 0:
            raise FarthingError(f"{argument} must have columns, got a stream without any")

    def is_categorical(self, j: int) -> bool:
        return holds_categories(self._reader.schema.empty_table(), self.names[j])

    def read(self, readers, fitting):
        self._check_names(fitting)
        blocks, counts = [], {}
        for batch in self._reader:
            block = np.empty((batch.num_rows, self.width), np.float32)
            for j, name in enumerate(self.names):
                if j in readers:
                    block[:, j] = readers[j](table_categories(batch, name, self.argument))
                    continue
                cells = table_cells(batch, name, self.argument)
                block[:, j] = single = as_float32(cells)
                if fitting and not np.can_cast(cells.values.dtype, np.float32):
                    finite = np.isfinite(single)
                    counts.setdefault(j, DistinctCount()).add(cells.values[finite])
            blocks.append(block)
        matrix = np.empty((sum(map(len, blocks)), self.width), np.float32)
        start = len(matrix)
        while blocks:  # from the end, so that each is let go
            block = blocks.pop()
            start -= len(block)
            matrix[start : start + len(block)] = block
        for j, count in counts.items():
            single = matrix[:, j]
            single = single[np.isfinite(single)]
            kept = count_distinct(single) if len(single) else 0
            if 2 * kept < min(count.estimate, len(single)):
                about = f"about {count.estimate:,}"
                raise_imprecise(self.label(j), self.argument, about, kept)
        return matrix


class _Array(_Table):
    """Anything that numpy makes a two-dimensional array of."""

    def __init__(self, X, argument: str):
        self.argument = argument
        self._missing = np.ma.getmaskarray(X) if np.ma.is_masked(X) else None
        try:
            array = np.asarray(X)
            if array.dtype.kind in "USOT" and not isinstance(X, np.ndarray):
                # Numbers beside text would become text.
                array = np.array(X, dtype=object)
        except ValueError as error:  # rows of different lengths
            raise FarthingError(
                f"{argument} must be a 2-D table (rows, features): {error}"
            ) from None
        self.array = array
        if array.dtype.kind not in "OUT":  # those are looked at one by one: after the shape
            self.array = as_numbers(array, argument)
        if array.ndim != 2:
            hint = (
                "; Reshape your data: reshape(1, -1) for one row, reshape(-1, 1) for one feature"
                if array.ndim == 1
                else ""
            )
            raise FarthingError(
                f"{argument} must be a 2-D table (rows, features), got {array.ndim} "
                f"dimension(s){hint}"
            )
        if array.shape[1] == 0:
            raise FarthingError(
                f"{argument} must have columns, got 0 feature(s) (shape={array.shape}) "
                "while a minimum of 1 is required."
            )
        self.width = array.shape[1]
        self._frame = None
        if hasattr(type(X), "iloc"):  # without names, yet of columns that have types
            self._frame = X.set_axis([str(j) for j in range(self.width)], axis=1)

    def is_categorical(self, j: int) -> bool:
        return self._frame is not None and holds_categories(self._frame, str(j))

    def read(self, readers, fitting):
        if self.array.dtype.kind in "OUT":
            return self._read_objects(readers, fitting)
        matrix, inexact = _singles(self.array, self._missing)
        for j, reader in readers.items():
            if isinstance(reader, Vocabulary):  # else numbers, or codes, as they are
                reader(Cells(self.array[:, j], self._column_missing(j)))
        if fitting:
            self._check_precision(self.array, matrix, inexact, readers)
        return matrix

    def _column_missing(self, j: int) -> np.ndarray | None:
        return None if self._missing is None else self._missing[:, j]

    def _read_objects(self, readers, fitting):
        numbers = self.array
        if readers or self._missing is not None:
            numbers = numbers.astype(object)
            numbers[:, list(readers)] = None
            if self._missing is not None:
                numbers[self._missing] = None
        numbers = self._as_numbers(numbers)
        matrix, inexact = _singles(numbers, None)
        for j, reader in readers.items():
            cells = self.array[:, j].astype(object)
            if self._missing is not None:
                cells[self._missing[:, j]] = None
            matrix[:, j] = reader(coded_objects(cells, f"column {j} of {self.argument}"))
        if fitting:
            self._check_precision(numbers, matrix, inexact, readers)
        return matrix

    def _as_numbers(self, objects: np.ndarray) -> np.ndarray:
        try:
            return as_numbers(objects, self.argument)
        except FarthingError as error:
            text = objects.dtype.kind in "UT" or any(isinstance(x, str) for x in objects.flat)
            if not text:
                raise
            raise FarthingError(
                f"{error}; name its column in categorical_features, encode it as numbers, or "
                "drop it"
            ) from None

    def _check_precision(self, values, matrix, inexact, readers) -> None:
        for j in np.flatnonzero(inexact).tolist():
            single = matrix[:, j][np.isfinite(matrix[:, j])]
            # The values themselves may lie on a disk: they are read again only in doubt.
            if j not in readers and len(single) and 2 * count_distinct(single) < len(single):
                check_precision(values[:, j], matrix[:, j], self.label(j), self.argument)


def _singles(values: np.ndarray, missing: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (n, features) as C-contiguous float32, NaN where `missing`, and which columns
    (features,) float32 may not hold exactly. A piece at a time, `values` itself where it is
    that already."""
    n, width = values.shape
    inexact = np.zeros(width, bool)
    if missing is None and values.dtype == np.float32 and values.flags.c_contiguous:
        return values, inexact
    exact = np.can_cast(values.dtype, np.float32)
    matrix = np.empty((n, width), np.float32)
    step = max(1, _CELLS // width)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        block, single = values[rows], matrix[rows]
        with np.errstate(over="ignore"):
            single[...] = block
        if not exact and values.dtype.kind == "f":
            inexact |= ((single != block) & (single == single)).any(axis=0)
        elif not exact:
            inexact |= (block.max(axis=0) > EXACT_WHOLE) | (block.min(axis=0) < -EXACT_WHOLE)
        if missing is not None:
            single[missing[rows]] = np.nan
    return matrix, inexact
