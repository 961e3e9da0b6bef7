"""The grids of inputs and activations, from rows of the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from farthing.activations import activate
from farthing.grids import Grid
from farthing.layers import Dense
from farthing.model import Model
from farthing.quantization.formats import WeightFormat
from farthing.quantization.methods import Solver

__all__ = ["calibrate_layers", "unit_range", "unit_range_embeddings"]

CALIBRATION_ROWS = 8192
# Of those rows' values so many choose a grid that is searched at both ends.
CALIBRATION_VALUES = 1 << 17
# A column wider than TAIL_RATIO times its central part leaves most of the grid's steps to a
# thousandth of the rows.
TAIL = 0.001
TAIL_RATIO = 8


def _input_range(column: np.ndarray) -> tuple[float, float]:
    """What of a standardised column (rows,) the grid covers: all of it, or where that is
    mostly empty its central 99.8 %, like the encoder's edges; the rest is clamped."""
    low, high = column.min(), column.max()
    inner_low, inner_high = np.quantile(column, [TAIL, 1 - TAIL], method="nearest")
    if 0 < TAIL_RATIO * (inner_high - inner_low) < high - low:
        return inner_low, inner_high
    return (low, high) if high > low else (low, low + 1)


def _rescale_inputs(layer: Dense, low: np.ndarray, high: np.ndarray) -> None:
    """The same function of inputs (x - low) / (high - low) in place of x."""
    weight = layer.weight.astype(np.float64)
    layer.bias = (layer.bias + weight @ low).astype(np.float32)
    layer.weight = (weight * (high - low)).astype(np.float32)


def unit_range(model: Model, matrix: np.ndarray) -> None:
    """Rescales standardised inputs to [0, 1] over the range of `matrix`, and the first layer
    with them: the same function, its inputs now fit an unsigned grid."""
    standardized = model.encoder.positions(matrix)
    low, high = np.array([_input_range(column) for column in standardized.T], np.float64).T
    _rescale_inputs(model.layers[0], low, high)
    model.encoder = model.encoder.unit_range(low, high)


def unit_range_embeddings(model: Model, amax: int) -> None:
    """The same for embeddings, whose rows are rounded to the grid once and for all."""
    if model.encoder.embeddings_:
        model.encoder, low, high = model.encoder.unit_range_embeddings(amax)
        _rescale_inputs(model.layers[0], low, high)


def _counted(weight: np.ndarray) -> np.ndarray:
    """As many row numbers as there are weights, each as often as its weight asks for, to a whole
    number; all of them where the weights are equal.

    >>> _counted(np.array([1.0, 0.0, 2.0, 1.0])).tolist(), _counted(np.ones(3)).tolist()
    ([0, 2, 2, 3], [0, 1, 2])
    """
    n = len(weight)
    return np.searchsorted(np.cumsum(weight) / weight.sum(), (np.arange(n) + 0.5) / n)


def _thinned(values: np.ndarray) -> np.ndarray:
    return values.ravel()[:: -(-values.size // CALIBRATION_VALUES) or 1]


def calibrate_layers(
    model: Model,
    sample: np.ndarray,
    weight: np.ndarray,
    formats: dict[str, WeightFormat],
    amax: int,
    *,
    solver: Solver,
    fit: Callable[..., Grid],
    correct: bool,
    deliver: bool,
) -> None:
    """Sets the grids of the hidden layers, each on inputs already quantized.

    sample: raw rows; weight: theirs, adding up to 1, by which rows repeat or drop out where grids
    are fitted; solver, fit: how integers and grids are chosen; correct: whether biases take up the
    mean difference to the float model's sums (bias correction; Nagel, van Baalen, Blankevoort &
    Welling 2019, "Data-free quantization through weight equalization and bias correction");
    deliver: whether the layers get the integers and biases, or keep their floats.
    """
    rows = _counted(weight)
    x = model.encoder.expand(model.encoder.positions(sample, amax))
    exact = model.encoder.expand(model.encoder.positions(sample)) if correct else None
    for layer in model.layers if deliver else model.layers[:-1]:
        packed, bias = solver(layer, formats[layer.name], x, weight)
        z = x @ packed.dequantize().T + bias.astype(np.float32)
        if correct:
            wanted = exact @ layer.weight.T + layer.bias
            shift = (weight @ (wanted - z)).astype(np.float32)
            bias, z = bias + shift, z + shift
            exact, _ = layer.forward(exact)
        if deliver:
            layer.quantized, layer.weight = packed, packed.dequantize()
            layer.bias = bias.astype(np.float32)
        if layer is not model.layers[-1]:
            x = _fit_grids(layer, x, z, rows, amax, fit)


def _fit_grids(
    layer: Dense,
    x: np.ndarray,
    z: np.ndarray,
    rows: np.ndarray,
    amax: int,
    fit: Callable[..., Grid],
) -> np.ndarray:
    """Sets the grids of one layer from its inputs and those rows of its sums; its outputs on
    them."""
    if layer.activation == "relu":
        y, _ = layer.activate(z)
        grid = fit(y[rows], amax, low=0.0)
    else:
        function = partial(_activated, layer.activation)
        layer.pre_grid = fit(_thinned(z[rows]), amax, through=function)
        y = function(layer.pre_grid.rounded(z, amax))
        grid = fit(_thinned(y[rows]), amax)
    y = grid.rounded(y, amax)
    if layer.residual:
        layer.value_grid = grid
        y += x
        grid = fit(_thinned(y[rows]), amax)
        y = grid.rounded(y, amax)
    layer.output_scale, layer.output_offset = grid
    return y


def _activated(activation: str, values: np.ndarray) -> np.ndarray:
    return activate(activation, values)[0]
