"""Which rows a step of training sees: minibatches, stratified or not, or all of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from farthing._validate import FarthingError

__all__ = ["EncodedRows", "Minibatches", "auto_batch_size", "share_out"]

# A full encoding of up to so many bytes is expanded once.
EXPANDED_BYTES = 64 << 20
# Rows that are expanded at a time where it is larger.
_CHUNK_ROWS = 1024


def auto_batch_size(n: int) -> int:
    """A power of two near n / 64, so that few rows too make hundreds of steps."""
    return int(np.clip(1 << int(np.log2(max(n // 64, 1))), 16, 512))


def share_out(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How many rows of every stratum each batch gets, (batches, strata).

    counts: (strata,), rows of each; sizes: (batches,), of the same sum.  Every stratum has its
    share of every batch but for less than a row, or where sizes differ, a row.

    >>> share_out(np.array([3, 9]), np.array([4, 4, 4])).tolist()
    [[1, 3], [1, 3], [1, 3]]
    """
    counts, sizes = np.asarray(counts, np.int64), np.asarray(sizes, np.int64)
    shares = sizes[:, None] * counts // counts.sum()
    # The rows left over are a matrix of zeros and ones with known sums of its rows and columns.
    # Giving each row's ones to the columns that lack the most always ends well (Ryser,
    # "Combinatorial Properties of Matrices of Zeros and Ones", 1957).
    lacking = counts - shares.sum(axis=0)
    for share, spare in zip(shares, sizes - shares.sum(axis=1), strict=True):
        chosen = np.argsort(-lacking, kind="stable")[:spare]
        share[chosen] += 1
        lacking[chosen] -= 1
    return shares


class Minibatches:
    """n rows in batches as equal as possible: no small last one with a noisy gradient.

    strata: int (n,) or None; with it every batch has every stratum's share.  Raises
    FarthingError for another shape and TypeError for other types.
    """

    def __init__(self, n: int, batch_size: int, strata=None):
        self.rows = n
        sizes = np.diff(np.linspace(0, n, -(-n // batch_size) + 1).astype(np.int64))
        self.steps, self.largest = len(sizes), int(sizes.max())
        self._strata = self._shares = None
        self._bounds = np.concatenate([[0], np.cumsum(sizes)])
        if strata is None:
            return
        strata = np.asarray(strata)
        if strata.dtype.kind not in "iub":
            raise TypeError(f"strata: got {strata.dtype}, allowed are integers")
        if strata.shape != (n,):
            raise FarthingError(f"strata: got shape {strata.shape}, allowed is ({n},), one a row")
        counts, self._strata = _dense(strata)
        self._shares = share_out(counts, sizes)

    def epoch(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Row numbers batch by batch, each row once, in a new random order."""
        order, bounds = rng.permutation(self.rows), self._bounds
        if self._strata is not None:
            order, bounds = self._stratified(order, rng)
        for start, end in pairwise(bounds):
            yield order[start:end]

    def _stratified(self, order: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
        shares = self._shares[rng.permutation(self.steps)]
        # Stratum by stratum, its rows in random order go to the batches as shared out.
        order = order[np.argsort(self._strata[order], kind="stable")]
        batches = np.tile(np.arange(self.steps, dtype=np.int32), shares.shape[1])
        batch_of = np.repeat(batches, shares.T.ravel())
        if self.steps <= 1 << 16:
            batch_of = batch_of.astype(np.uint16)  # 16 bits sort in linear time
        mixed = rng.permutation(self.rows)
        order = order[mixed[np.argsort(batch_of[mixed], kind="stable")]]
        return order, np.concatenate([[0], np.cumsum(shares.sum(axis=1))])


def _dense(strata: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of every stratum, and the strata numbered without gaps in few bits."""
    _, codes, counts = np.unique(strata, return_inverse=True, return_counts=True)
    return counts, codes.astype(np.uint16 if len(counts) <= 1 << 16 else np.int64)


class EncodedRows:
    """The encoding of rows that are too many to expand at once, for products in double.

    ``rows @ a`` and ``a @ rows`` expand a thousand rows at a time.
    """

    # numpy leaves `array @ rows` to this class.
    __array_ufunc__ = None
    dtype = np.dtype(np.float64)

    def __init__(self, encoder, positions: np.ndarray):
        self._encoder, self._positions = encoder, positions
        self.shape = len(positions), encoder.width

    @staticmethod
    def expanded(encoder, positions: np.ndarray) -> np.ndarray | EncodedRows:
        """The float64 encoding where it is at most 64 MB, else an EncodedRows."""
        rows = EncodedRows(encoder, positions)
        if len(positions) * encoder.width * 8 > EXPANDED_BYTES:
            return rows
        return np.concatenate([chunk for _, chunk in rows._chunks()])

    def _chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(self._positions), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            yield part, self._encoder.expand(self._positions[part]).astype(np.float64)

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        result = np.empty((self.shape[0], other.shape[1]))
        for part, chunk in self._chunks():
            np.matmul(chunk, other, out=result[part])
        return result

    def __rmatmul__(self, other: np.ndarray) -> np.ndarray:
        result = np.zeros((other.shape[0], self.shape[1]))
        for part, chunk in self._chunks():
            result += other[:, part] @ chunk
        return result
