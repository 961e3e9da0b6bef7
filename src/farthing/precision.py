"""What float32 can hold: columns whose values it cannot tell apart are refused."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from farthing._validate import FarthingError

__all__ = ["EXACT_WHOLE", "DistinctCount", "check_precision", "count_distinct", "raise_imprecise"]

# Whole numbers up to here are exact in float32.
EXACT_WHOLE = 1 << 24
# Values that differ by a few units in the last place of float64 are one value computed in
# several ways, such as 0.3 and 0.1 + 0.2.
_ROUNDING = 2.0**-50


def _is_exact(values: np.ndarray, single: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        return np.array_equal(values, single)
    # Compared with floats, integers would be rounded first.
    return int(values.min()) >= -EXACT_WHOLE and int(values.max()) <= EXACT_WHOLE


def count_distinct(values: np.ndarray) -> int:
    """How many values (n,) differ by more than the rounding of float64; n > 0.

    >>> count_distinct(np.array([0.3, 0.1 + 0.2, 0.4]))
    2
    """
    ordered = np.sort(values)
    low, high = ordered[:-1], ordered[1:]
    if ordered.dtype.kind == "f":
        return 1 + int(np.count_nonzero(high - low > _ROUNDING * np.abs(high)))
    return 1 + int(np.count_nonzero(high != low))


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
    kept = count_distinct(single)
    if 2 * kept >= len(values):
        return
    distinct = count_distinct(values)
    if 2 * kept < distinct:
        raise_imprecise(label, argument, f"{distinct:,}", kept)


def raise_imprecise(label: str, argument: str, distinct: str, kept: int) -> NoReturn:
    raise FarthingError(
        f"{argument} must keep its values apart in float32 (about 7 digits): column {label} "
        f"has {distinct} distinct values, of which {kept:,} stay; drop an identifier, "
        "subtract an offset such as the first date from a timestamp, or rescale"
    )


class DistinctCount:
    """Estimates how many distinct values a stream holds, in bounded memory.

    A value is kept where its hash ends in `level` zero bits, and the level rises whenever
    more than 65,536 are kept: about 0.5 % off. Distinct sampling: Gibbons, "Distinct Sampling
    for Highly-Accurate Answers to Distinct Values Queries and Event Reports" (2001).

    >>> count = DistinctCount()
    >>> for start in (0, 100):
    ...     count.add(np.arange(start, start + 150))
    >>> count.estimate
    250
    """

    _MOST = 1 << 16
    # Odd, from splitmix64 (Steele, Lea and Flood 2014).
    _FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

    def __init__(self):
        self._hashes = np.empty(0, np.uint64)
        # What came since they were last put together, which takes a sort.
        self._pending: list[np.ndarray] = []
        self._level = 0

    def add(self, values: np.ndarray) -> None:
        """Counts finite numbers (n,) of one kind, whole or floating."""
        if values.dtype.kind == "f":
            # Without the last six bits: one value computed in several ways counts once.
            hashes = (values.astype(np.float64).view(np.uint64) + np.uint64(32)) >> np.uint64(6)
        else:
            hashes = values.astype(np.int64).view(np.uint64)
        for factor in self._FACTORS:
            hashes = (hashes ^ (hashes >> np.uint64(30))) * factor
        hashes ^= hashes >> np.uint64(31)
        self._pending.append(self._chosen(hashes))
        if sum(map(len, self._pending)) > self._MOST:
            self._merge()

    def _merge(self) -> None:
        self._hashes = np.unique(np.concatenate([self._hashes, *self._pending]))
        self._pending = []
        while len(self._hashes) > self._MOST:
            self._level += 1
            self._hashes = self._chosen(self._hashes)

    def _chosen(self, hashes: np.ndarray) -> np.ndarray:
        return hashes[hashes & np.uint64((1 << self._level) - 1) == 0]

    @property
    def estimate(self) -> int:
        """The number of distinct values, exact up to 65,536."""
        self._merge()
        return len(self._hashes) << self._level
