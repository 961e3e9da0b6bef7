"""Which grid of activations suits some values: four ways to choose its ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.grids import Grid, fit_grid

__all__ = ["CALIBRATIONS"]

# The share of the values that is clamped, at each end that is not given.
TAIL = 0.0005
BINS = 2048


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


def entropy(values: np.ndarray, amax: int, *, low: float | None = None, through=None) -> Grid:
    """The upper end whose grid changes the distribution of the values least, by the
    Kullback-Leibler divergence of histograms of `BINS` bins (Migacz 2017, "8-bit inference with
    TensorRT"). The lower end is the least value where it is not given; values there, such as what a
    rectifier has cut off, are exact whatever the grid and do not count."""
    whole = minmax(values, amax, low=low)
    values = values[values > whole.offset]
    if not len(values):
        return whole
    steps = amax + 1
    top = whole.offset + whole.scale * amax
    counts = np.histogram(values, BINS, (whole.offset, max(top, whole.offset + 1e-30)))[0]
    best, least = BINS, np.inf
    for bins in range(steps, BINS + 1, steps // 8):
        kept = counts[:bins].astype(np.float64)
        kept[-1] += counts[bins:].sum()
        group = np.arange(bins) * steps // bins
        filled = counts[:bins] > 0
        total = np.bincount(group, counts[:bins], steps)
        share = total / np.maximum(np.bincount(group, filled, steps), 1)
        spread = np.where(filled, share[group], 0)
        p, q = kept / kept.sum(), spread / max(spread.sum(), 1)
        # What is clamped falls into a bin that may have been empty.
        found = float((p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], 1e-12))).sum())
        if found < least:
            best, least = bins, found
    return _between(whole.offset, whole.offset + (top - whole.offset) * best / BINS, amax)


CALIBRATIONS: dict[str, Callable[..., Grid]] = {
    "mse": fit_grid,
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
}
