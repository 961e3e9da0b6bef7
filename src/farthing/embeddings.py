"""Rows of numbers that stand for the categories of a feature with many of them."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError, check_integer

__all__ = ["check_embedding_dim", "embedding_width", "initial_embedding", "row_gradient"]

# Up to so many rows a feature has one column for each; beyond, a row of numbers is smaller.
MOST_COLUMNS = 32
MOST_DIMS = 16
# The most that a file holds.
_LARGEST_DIM = 256


def check_embedding_dim(embedding_dim) -> None:
    """Raises unless it is "auto", None or an integer from 0 to 256."""
    if embedding_dim is not None:
        check_integer(0, _LARGEST_DIM, also=("auto",), embedding_dim=embedding_dim)


def embedding_width(rows: int, embedding_dim: int | str | None) -> int:
    """Columns of a feature with so many rows: 0 for one column a row, no embedding.

    rows: its kept categories, 'other' and missing.  "auto": none up to 32 rows, else the
    square root of the rows, at most 16.

    >>> [embedding_width(rows, "auto") for rows in (32, 33, 100, 5000)]
    [0, 6, 10, 16]
    """
    if embedding_dim == "auto":
        return 0 if rows <= MOST_COLUMNS else min(MOST_DIMS, int(np.ceil(rows**0.5)))
    return int(embedding_dim or 0)


def initial_embedding(rows: int, dims: int, seed: int, feature: int) -> np.ndarray:
    """float32 (rows, dims), normal of variance 1 / dims; every feature draws its own."""
    rng = np.random.Generator(np.random.PCG64([seed, feature]))
    table = rng.standard_normal((rows, dims), dtype=np.float32)
    return table / np.float32(np.sqrt(dims))


def row_gradient(gradient: np.ndarray, row: np.ndarray, rows: int) -> np.ndarray:
    """Sums of `gradient` (n, dims) over the samples that took each row: (rows, dims).

    row: (n,), the row of every sample.

    >>> row_gradient(np.array([[1.0], [2.0], [4.0]]), np.array([0, 2, 0]), 3).tolist()
    [[5.0], [0.0], [2.0]]
    """
    dims = gradient.shape[1]
    if gradient.shape[0] != len(row):
        raise FarthingError(f"gradient: got {gradient.shape[0]} rows, allowed are {len(row)}")
    cell = (row[:, None] * dims + np.arange(dims)).ravel()
    sums = np.bincount(cell, weights=gradient.ravel(), minlength=rows * dims)
    return sums.reshape(rows, dims).astype(gradient.dtype, copy=False)
