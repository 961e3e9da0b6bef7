"""What quantization-aware training sees in place of floats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.grids import GridView
from farthing.layers import Dense
from farthing.quantization.formats import WeightFormat
from farthing.quantization.rtn import largest_weight, nearest, steps_of

__all__ = ["WeightGrid", "keep_grids", "set_grid_views", "set_views"]

# Steps between two searches of the rows' scales.
SCALE_INTERVAL = 16


class WeightGrid:
    """Weight view of a layer in training: the integers' values, through which gradients pass
    straight (Bengio, Leonard & Courville 2013, "Estimating or propagating gradients through
    stochastic neurons for conditional computation"; Jacob et al. 2018, "Quantization and training
    of neural networks for efficient integer-arithmetic-only inference"). Scales are searched every
    `SCALE_INTERVAL` calls of training and kept in between. Validation always searches: it is
    to judge the very integers that these weights will be given."""

    def __init__(self, form: WeightFormat):
        self.form = form
        self.calls = 0
        self.step: np.ndarray | None = None

    def __call__(self, weight: np.ndarray, training: bool) -> np.ndarray:
        form = self.form
        if not training or self.calls % SCALE_INTERVAL == 0:
            self.step = steps_of(nearest(weight, form)).astype(weight.dtype)
        self.calls += training
        limit = largest_weight(form.bits, form.weight_max)
        return np.clip(np.rint(weight / self.step), -limit, limit) * self.step


def set_views(layer: Dense, form: WeightFormat, amax: int) -> None:
    """Training sees the integers' weights and the grids' values."""
    layer.weight_view = WeightGrid(form)
    set_grid_views(layer, amax)


def set_grid_views(layer: Dense, amax: int, kind: Callable = GridView) -> None:
    """Training sees the grids' values, by views of a kind that takes a grid and amax."""
    if layer.output_scale is None:
        return
    if layer.pre_grid is not None:
        layer.pre_view = kind(layer.pre_grid, amax)
    layer.output_view = kind(layer.value_grid or layer.output_grid, amax)
    if layer.residual:
        layer.residual_view = kind(layer.output_grid, amax)


def keep_grids(layer: Dense) -> None:
    """The grids of the layer are those that its views have come to."""
    if layer.output_scale is None:
        return
    if layer.pre_grid is not None:
        layer.pre_grid = layer.pre_view.grid
    last = layer.output_view.grid
    if layer.residual:
        layer.value_grid, last = last, layer.residual_view.grid
    layer.output_scale, layer.output_offset = last
