"""Which grid of activations suits some values: three ways to choose its ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.grids import Grid, fit_grid

__all__ = ["CALIBRATIONS"]

# The share of the values that is clamped, at each end that is not given.
TAIL = 0.0005


def _between(low: float, high: float, amax: int) -> Grid:
    if not high > low:
        return Grid(1.0 / amax, low if np.isfinite(low) else 0.0)
    return Grid((high - low) / amax, low)


def minmax(values: np.ndarray, amax: int, *, low: float | None = None, through=None) -> Grid:
    """All values (Jacob et al. 2018, "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference").

    >>> minmax(np.array([-1.0, 4.0]), 10)
    Grid(scale=0.5, offset=-1.0)
    """
    bottom = float(values.min(initial=np.inf)) if low is None else low
    return _between(bottom, float(values.max(initial=bottom)), amax)


def percentile(values: np.ndarray, amax: int, *, low: float | None = None, through=None) -> Grid:
    """All but `TAIL` of the values at each end."""
    if not values.size:
        return _between(0.0, 0.0, amax)
    bottom = float(np.quantile(values, TAIL)) if low is None else low
    return _between(bottom, max(bottom, float(np.quantile(values, 1 - TAIL))), amax)


CALIBRATIONS: dict[str, Callable[..., Grid]] = {
    "mse": fit_grid,
    "minmax": minmax,
    "percentile": percentile,
}
