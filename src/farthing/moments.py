"""The second moments of a layer's inputs, by which its weights make up for each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Moments", "second_moments"]

# Added to the diagonal, in parts of its mean, as GPTQ and SparseGPT do: inputs that hardly vary
# would let weights grow without bound.
DAMPING = 0.01


class Moments(NamedTuple):
    """Of inputs and a 1, which the bias multiplies, all float64.

    matrix: (k + 1, k + 1), damped; damping: (k + 1,), what that added to its diagonal, nothing for
    the 1; weighted: (rows, k + 1), the inputs times the rows' shares.
    """

    matrix: np.ndarray
    damping: np.ndarray
    weighted: np.ndarray


def second_moments(x: np.ndarray, share: np.ndarray) -> Moments:
    """Of inputs (rows, k), whose rows count by shares (rows,) that add up to 1.

    >>> second_moments(np.array([[1.0], [3.0]]), np.array([0.5, 0.5])).matrix.tolist()
    [[5.05, 2.0], [2.0, 1.0]]
    """
    with_one = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    weighted = share[:, None] * with_one
    matrix = with_one.T @ weighted
    k = x.shape[1]
    damping = np.zeros(k + 1)
    damping[:k] = DAMPING * (np.trace(matrix[:k, :k]) / max(1, k) or 1.0)
    matrix[np.diag_indices(k + 1)] += damping
    return Moments(matrix, damping, weighted)
