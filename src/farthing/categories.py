"""Categories of a feature: which are kept in training, and what each is in a float32 matrix.

Texts become their place among the kept ones, -1 where they are none of them; numbers stay as
they are. Missing cells are NaN. Both ways a column can be held are taken: by its cells, or by
its distinct values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Real

import numpy as np

from farthing._validate import FarthingError
from farthing.columns import Cells, Coded, as_float32, as_numbers, check_text
from farthing.indices import column_indices
from farthing.precision import count_distinct

__all__ = ["Lookup", "Vocabulary", "categories_by_index", "chosen_features"]

_NUMBERS = (Real, Decimal, np.bool_)
# Sums of weights that are a little below `min_frequency` by rounding alone count.
_MASS_TOLERANCE = 1e-9


def chosen_features(
    categorical_features: Iterable, names: Sequence[str] | None, width: int
) -> list[int]:
    """The sorted indices that the argument `categorical_features`, a list, means.

    Raises ValueError for a name or an index that no column has, and for one given twice;
    TypeError for anything else.

    >>> chosen_features(["b", 0], ("a", "b", "c"), 3)
    [0, 1]
    """
    what = "categorical_features"
    try:
        given = None if isinstance(categorical_features, (str, bytes)) else categorical_features
        listed = list(given)
    except TypeError:
        raise TypeError(
            f"{what} must be None, 'from_dtype' or a list of names or indices of columns, "
            f"got {categorical_features!r}"
        ) from None
    return sorted(column_indices(what, listed, names, width))


def categories_by_index(
    categories: Mapping | None, names: Sequence[str] | None, width: int
) -> dict[int, Sequence]:
    """Kept categories, given by names or indices of columns, by index."""
    categories = categories or {}
    found = column_indices("categories", categories, names, width)
    return dict(zip(found, categories.values(), strict=True))


def _used(column: Coded, where: str) -> tuple[Cells, None] | tuple[None, list]:
    """The values of the rows, as numbers, or by code as texts (None: in no row)."""
    rows = np.zeros(len(column.values), bool)
    rows[column.codes[column.codes >= 0]] = True
    present = [value for value, used in zip(column.values, rows, strict=True) if used]
    if not present:
        return Cells(np.full(len(column.codes), np.nan)), None
    if all(isinstance(value, str) for value in present):
        pairs = zip(column.values, rows, strict=True)
        return None, [str(value) if used else None for value, used in pairs]
    if not all(isinstance(value, _NUMBERS) for value in present):
        kinds = sorted({type(value).__name__ for value in present})
        raise FarthingError(
            f"{where} must hold categories that are all texts or all numbers, "
            f"got {' and '.join(kinds)}"
        )
    numbers = np.array(present)
    if numbers.dtype.kind not in "biuf":  # Decimal, or whole numbers beyond 64 bits
        numbers = as_numbers(np.array(present, object), where)
    by_code = np.zeros(len(rows), numbers.dtype)
    by_code[rows] = numbers
    return Cells(by_code[column.codes], column.codes < 0), None


def _present(cells: Cells) -> np.ndarray:
    """The numbers of a column that are not missing."""
    values = cells.values
    if cells.missing is not None:
        values = values[~cells.missing]
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def _row_mass(weight: np.ndarray | None) -> float:
    """The weight that counts as one row: 1, so that an integer weight is as many rows, or the
    mean of the weights above 0 where that is less, so that the scale of small weights, such as
    shares of 1, does not matter."""
    counted = None if weight is None else weight[weight > 0]
    return 1.0 if counted is None or not len(counted) else min(1.0, float(counted.mean()))


class Vocabulary:
    """Learns the categories of one feature from its column, which may come in pieces.

    Called with a piece, it gives float32 (rows,): numbers as they are, texts as provisional
    codes. `finish` gives the kept categories and the final codes.
    """

    def __init__(self, label: str, argument: str):
        self._where = f"{argument}: column {label}"
        self._texts: dict[str, int] = {}
        self._numbers: np.ndarray | None = None

    def __call__(self, column: Cells | Coded) -> np.ndarray:
        cells, texts = (column, None) if isinstance(column, Cells) else _used(column, self._where)
        if cells is not None:
            present = np.unique(_present(cells))
            if len(present):
                known = present if self._numbers is None else self._numbers
                self._numbers = np.union1d(known, present)
        else:
            place = self._texts
            codes = [np.nan if t is None else place.setdefault(t, len(place)) for t in texts]
        if self._texts and self._numbers is not None:
            raise FarthingError(
                f"{self._where} must hold categories that are all texts or all numbers, got both"
            )
        if cells is not None:
            return as_float32(cells)
        codes = np.array(codes, np.float32)[column.codes]
        return np.where(column.codes < 0, np.float32(np.nan), codes)

    def finish(
        self, column: np.ndarray, weight: np.ndarray | None, min_frequency: int
    ) -> tuple[list, np.ndarray]:
        """The kept categories, sorted, and the whole column (n,) with final codes.

        column: what the calls gave, in order. Kept are those of min_frequency rows or more,
        or with as much of weight (n,) in total; where the weights above 0 have a mean below
        1, with min_frequency times that mean.
        """
        known = ~np.isnan(column)
        own = None if weight is None else weight[known]
        least = min_frequency * _row_mass(weight) * (1 - _MASS_TOLERANCE)
        if self._texts:
            mass = np.bincount(column[known].astype(np.intp), own, len(self._texts))
            kept = [t for t, i in self._texts.items() if mass[i] >= least and mass[i] > 0]
            kept.sort()
            check_text(kept, f"{self._where} must hold", nul=False)
            final = np.full(len(self._texts), -1, np.float32)
            final[[self._texts[text] for text in kept]] = np.arange(len(kept))
            coded = np.full(column.shape, np.nan, np.float32)
            coded[known] = final[column[known].astype(np.intp)]
            return kept, coded
        if self._numbers is None:
            return [], column
        with np.errstate(over="ignore"):
            single = np.unique(self._numbers.astype(np.float32))
        if len(single) < count_distinct(self._numbers):
            raise FarthingError(
                f"{self._where} must hold categories that stay apart in float32 (whole numbers "
                f"up to 2**24, 7 digits), got {count_distinct(self._numbers):,} of which "
                f"{len(single):,} stay; turn them into texts"
            )
        values, row = np.unique(column[known], return_inverse=True)
        mass = np.bincount(row, own, len(values))
        kept_numbers = values[(mass >= least) & (mass > 0) & np.isfinite(values)] + np.float32(0)
        return kept_numbers.tolist(), column


class Lookup:
    """The float32 column of a feature whose kept categories are known.

    >>> Lookup(["own", "rent"], "'home'", "X")(Coded(["rent", "tent"], np.array([0, 1, -1])))
    array([ 1., -1., nan], dtype=float32)
    """

    def __init__(self, kept: Sequence, label: str, argument: str):
        self._where = f"{argument}: column {label}"
        self._texts = {text: i for i, text in enumerate(kept) if isinstance(text, str)}
        self._kind = ("text" if self._texts else "numbers") if len(kept) else None

    def __call__(self, column: Cells | Coded) -> np.ndarray:
        cells, texts = (column, None) if isinstance(column, Cells) else _used(column, self._where)
        if cells is None:
            if self._kind == "numbers":
                text = next(text for text in texts if text is not None)
                raise FarthingError(
                    f"{self._where} must hold numbers, as the categories of the model do, "
                    f"got text, {text!r}"
                )
            codes = [self._texts.get(text, -1) for text in texts]
            coded = np.array(codes, np.float32)[column.codes]
            return np.where(column.codes < 0, np.float32(np.nan), coded)
        if self._kind == "text":
            present = _present(cells)
            if len(present):
                raise FarthingError(
                    f"{self._where} must hold text, as the categories of the model do, "
                    f"got a number, {present[0]}"
                )
        return as_float32(cells)
