"""Grids of unsigned integers: what they stand for, which one suits values, tables between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from farthing.activations import activate

__all__ = ["Grid", "GridView", "fit_grid", "lookup_table"]

# Shares of a range that are tried when one of its ends is moved, and how often both ends are.
_SHARES = np.linspace(1.0, 0.3, 29)
_PASSES = 4


class Grid(NamedTuple):
    """Integers u in 0..amax that stand for ``offset + scale * u``; scale > 0."""

    scale: float
    offset: float = 0.0

    def codes(self, values: np.ndarray, amax: int) -> np.ndarray:
        """The nearest integers, ties to even, in the type of the values."""
        number = values.dtype.type
        codes = (values - number(self.offset)) / number(self.scale)
        np.rint(codes, out=codes)
        return np.clip(codes, 0, amax, out=codes)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """What integers, of a floating type, stand for."""
        number = codes.dtype.type
        return codes * number(self.scale) + number(self.offset)

    def rounded(self, values: np.ndarray, amax: int) -> np.ndarray:
        """The nearest values of the grid.

        >>> Grid(0.5, -1.0).rounded(np.array([-9.0, -0.6, 0.2, 9.0]), 3).tolist()
        [-1.0, -0.5, 0.0, 0.5]
        """
        return self.values(self.codes(values, amax))


class GridView:
    """A view of a layer's values in training: those of a grid."""

    def __init__(self, grid: Grid, amax: int):
        self.grid, self.amax = grid, amax
        self.lower, self.limit = grid.offset, grid.offset + grid.scale * amax

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return self.grid.rounded(values, self.amax)


def fit_grid(
    values: np.ndarray,
    amax: int,
    *,
    low: float | None = None,
    through: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Grid:
    """The grid of least squared error for some values, found by moving its ends inwards.

    low: where the grid begins; None: searched for too.  through: the error is that of its
    answers, such as an activation's, which are flat where its argument may well be clamped.
    """
    bottom = float(values.min(initial=np.inf)) if low is None else low
    top = float(values.max(initial=bottom))
    if not top > bottom:
        return Grid(1.0 / amax, bottom if np.isfinite(bottom) else 0.0)
    wanted = values if through is None else through(values.copy())

    def error(grid: Grid) -> float:
        got = grid.rounded(values, amax)
        got = got if through is None else through(got)
        return float(((got - wanted) ** 2).mean())

    best = Grid((top - bottom) / amax, bottom)
    least = np.inf
    for _ in range(1 if low is not None else _PASSES):
        before = best
        for upper in (True, False) if low is None else (True,):
            start = best
            for share in _SHARES:
                # The end that stays where it is: the lower one, or the upper one.
                offset = start.offset if upper else start.offset + (1 - share) * start.scale * amax
                grid = Grid(float(start.scale * share), float(offset))
                found = error(grid)
                if found < least:
                    best, least = grid, found
        if best == before:
            break
    return best


def lookup_table(activation: str, before: Grid, after: Grid, amax: int) -> np.ndarray:
    """uint8 [256]: the integer of `after` for the activation at each integer of `before`.

    Computed in double, rounded to nearest even; beyond amax as at amax.

    >>> lookup_table("relu", Grid(1.0, -2.0), Grid(0.5), 127)[:5].tolist()
    [0, 0, 0, 2, 4]
    """
    codes = np.minimum(np.arange(256.0), amax)
    answers, _ = activate(activation, before.values(codes))
    return after.codes(answers, amax).astype(np.uint8)
