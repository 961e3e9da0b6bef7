"""Quantization to int8 and int4, after training or during it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from farthing import _core
from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.activations import activate
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.grids import GridView, fit_grid
from farthing.layers import Dense, QuantizedWeight
from farthing.model import Model
from farthing.steps import Step

__all__ = ["quantize", "quantize_weight"]

CALIBRATION_ROWS = 8192
# Of those rows' values so many choose a grid that is searched at both ends.
CALIBRATION_VALUES = 1 << 17
# Steps between two searches of the rows' scales during quantization-aware training.
SCALE_INTERVAL = 16
GROUP_SCALE_MAX = 63
# A column wider than TAIL_RATIO times its central part leaves most of the grid's steps to a
# thousandth of the rows.
TAIL = 0.001
TAIL_RATIO = 8


class _Default(int):
    """The value of an argument that was not given."""


WEIGHT_MAX = _Default(64)


@dataclass(frozen=True)
class WeightFormat:
    """Storage of one layer's weights."""

    bits: int
    weight_max: int
    group_size: int | None


def _limit(bits: int, weight_max: int) -> int:
    """The largest integer weight."""
    return weight_max if bits == 8 else min(7, weight_max)


def _row_scales(weight: np.ndarray, limit: int) -> np.ndarray:
    """The scale of every row that minimises its squared rounding error, float64 (n, 1).

    Shrinking the largest weight's scale clips it but refines the others, which pays at 4
    bits and not at 8.
    """
    largest = np.abs(weight).max(axis=1, keepdims=True) / limit
    largest[largest == 0] = 1.0
    if limit > 15:
        return largest
    best = largest
    least = np.full_like(largest, np.inf)
    for factor in np.linspace(1.0, 0.5, 11):
        scale = largest * factor
        error = ((np.clip(np.rint(weight / scale), -limit, limit) * scale - weight) ** 2).sum(
            axis=1, keepdims=True
        )
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best


def quantize_weight(
    weight, bits: int = 8, weight_max: int = 64, group_size: int | None = None
) -> QuantizedWeight:
    """Round-to-nearest weights with the scale of least squared error a row.

    weight: float (n, k). With `group_size` (32 or 64, 4 bits only) every group along k has
    an integer scale in 1..63 that multiplies the row's. A zero stays zero. Raises
    ValueError for a row that is not finite.

    >>> import numpy as np
    >>> from farthing.quantization import quantize_weight
    >>> quantize_weight(np.array([[0.5, -1.0, 0.0]]), bits=8, weight_max=64).values.tolist()
    [[32, -64, 0]]
    """
    weight = np.asarray(weight, dtype=np.float64)
    if not np.isfinite(weight).all():
        raise FarthingError("weight must be finite, got NaN or infinity")
    limit = _limit(bits, weight_max)
    if group_size is None:
        scale = _row_scales(weight, limit).astype(np.float32)
        values = np.clip(np.rint(weight / scale), -limit, limit).astype(np.int8)
        return QuantizedWeight(bits, weight_max, values, scale[:, 0])
    n, k = weight.shape
    groups = -(-k // group_size)
    padded = np.zeros((n, groups * group_size))
    padded[:, :k] = weight
    own = _row_scales(padded.reshape(n * groups, group_size), limit).reshape(n, groups)
    # A group of zeros has no say in the row's multiplier.
    own[~padded.reshape(n, groups, group_size).any(axis=2)] = 0
    multiplier = own.max(axis=1, keepdims=True) / GROUP_SCALE_MAX
    multiplier[multiplier == 0] = 1.0
    multiplier = multiplier.astype(np.float32)
    steps = np.clip(np.rint(own / multiplier), 1, GROUP_SCALE_MAX).astype(np.uint8)
    scale = np.repeat(steps * multiplier.astype(np.float64), group_size, axis=1)[:, :k]
    values = np.clip(np.rint(weight / scale), -limit, limit).astype(np.int8)
    return QuantizedWeight(bits, weight_max, values, multiplier[:, 0], group_size, steps)


class WeightGrid:
    """Weight view of a layer in training: the integers' values; scales are searched every
    `SCALE_INTERVAL` calls of training and kept in between. Validation always searches: it is
    to judge the very integers that these weights will be given."""

    def __init__(self, form: WeightFormat):
        self.form = form
        self.calls = 0
        self.step: np.ndarray | None = None

    def __call__(self, weight: np.ndarray, training: bool) -> np.ndarray:
        form = self.form
        if not training or self.calls % SCALE_INTERVAL == 0:
            packed = quantize_weight(weight, form.bits, form.weight_max, form.group_size)
            step = packed.scale[:, None]
            if packed.group_scales is not None:
                step = np.repeat(packed.group_scales * step, form.group_size, axis=1)[
                    :, : weight.shape[1]
                ]
            self.step = step.astype(weight.dtype)
        self.calls += training
        limit = _limit(form.bits, form.weight_max)
        return np.clip(np.rint(weight / self.step), -limit, limit) * self.step


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


def _unit_range(model: Model, matrix: np.ndarray) -> None:
    """Rescales standardised inputs to [0, 1] over the range of `matrix`, and the first layer
    with them: the same function, its inputs now fit an unsigned grid."""
    standardized = model.encoder.positions(matrix)
    low, high = np.array([_input_range(column) for column in standardized.T], np.float64).T
    _rescale_inputs(model.layers[0], low, high)
    model.encoder = model.encoder.unit_range(low, high)


def _unit_range_embeddings(model: Model, amax: int) -> None:
    """The same for embeddings, whose rows are rounded to the grid once and for all."""
    if model.encoder.embeddings_:
        model.encoder, low, high = model.encoder.unit_range_embeddings(amax)
        _rescale_inputs(model.layers[0], low, high)


def _formats(model: Model, weight_bits, weight_max, group_size) -> dict[str, WeightFormat]:
    """The storage of every layer by name, from arguments that are checked here."""
    check_integer(1, 127, also=("auto",), weight_max=weight_max)
    names = [layer.name for layer in model.layers]
    if isinstance(weight_bits, dict):
        unknown = sorted(set(weight_bits) - set(names))
        missing = [name for name in names if name not in weight_bits]
        if unknown or missing:
            what = repr(unknown[0]) if unknown else f"nothing for {missing[0]!r}"
            raise FarthingError(f"weight_bits must name the layers {names}, got {what}")
        by_name = weight_bits
    else:
        by_name = dict.fromkeys(names, weight_bits)
    formats = {}
    for index, layer in enumerate(model.layers):
        bits = by_name[layer.name]
        check_choice((8, 7, 6, 4), **{f"weight_bits of {layer.name}": bits})
        largest = weight_max
        if bits in (7, 6):
            largest = {7: 63, 6: 31}[bits]
            if weight_max != largest and not isinstance(weight_max, _Default):
                raise FarthingError(
                    f"weight_max must be {largest} with weight_bits={bits}, got {weight_max!r}"
                )
            bits = 8
        if largest == "auto":
            largest = _auto_weight_max(layer) if bits == 8 else 7
        fused = index == 0 and isinstance(model.encoder, PiecewiseLinearEncoder)
        size = (
            group_size if bits == 4 and not fused and layer.n_inputs > (group_size or 0) else None
        )
        formats[layer.name] = WeightFormat(bits, int(largest), size)
    if weight_max == "auto" and all(form.bits == 4 for form in formats.values()):
        raise FarthingError(
            "weight_max must be an integer from 1 to 127 where no layer has 8 bits, got 'auto'"
        )
    if group_size is not None and all(form.bits == 8 for form in formats.values()):
        raise FarthingError(f"group_size must be None where no layer has 4 bits, got {group_size}")
    return formats


def _auto_weight_max(layer: Dense) -> int:
    """The largest of 127, 80, 64, 48 whose weights certify depth 2 with 7-bit activations."""
    for largest in (127, 80, 64):
        if _core.certified_depth(quantize_weight(layer.weight, 8, largest).values, 127) >= 2:
            return largest
    return 48


def _thinned(values: np.ndarray) -> np.ndarray:
    return values.ravel()[:: -(-values.size // CALIBRATION_VALUES) or 1]


def _calibrate(
    model: Model, sample: np.ndarray, formats: dict[str, WeightFormat], amax: int
) -> None:
    """Sets the grids of the hidden layers, each on inputs already quantized."""
    x = model.encoder.expand(model.encoder.positions(sample, amax))
    for layer in model.layers[:-1]:
        form = formats[layer.name]
        weight = quantize_weight(
            layer.weight, form.bits, form.weight_max, form.group_size
        ).dequantize()
        z = x @ weight.T + layer.bias
        if layer.activation == "relu":
            y, _ = layer.activate(z)
            grid = fit_grid(y, amax, low=0.0)
        else:
            function = partial(_activated, layer.activation)
            layer.pre_grid = fit_grid(_thinned(z), amax, through=function)
            y = function(layer.pre_grid.rounded(z, amax))
            grid = fit_grid(_thinned(y), amax)
        y = grid.rounded(y, amax)
        if layer.residual:
            layer.value_grid = grid
            y += x
            grid = fit_grid(_thinned(y), amax)
            y = grid.rounded(y, amax)
        layer.output_scale, layer.output_offset = grid
        x = y


def _activated(activation: str, values: np.ndarray) -> np.ndarray:
    return activate(activation, values)[0]


def _set_views(layer: Dense, form: WeightFormat, amax: int) -> None:
    """Training sees the integers' weights and the grids' values."""
    layer.weight_view = WeightGrid(form)
    if layer.output_scale is None:
        return
    if layer.pre_grid is not None:
        layer.pre_view = GridView(layer.pre_grid, amax)
    layer.output_view = GridView(layer.value_grid or layer.output_grid, amax)
    if layer.residual:
        layer.residual_view = GridView(layer.output_grid, amax)


def quantize(
    model,
    X=None,
    y=None,
    *,
    weight_bits=8,
    weight_max=WEIGHT_MAX,
    activation_bits=7,
    group_size=None,
    training=None,
    alpha=1.0,
    epochs=None,
    learning_rate=5e-4,
    augment=2,
    calibrate=True,
    validation=None,
    groups=None,
    sample_weight=None,
    random_state=None,
):
    """Integer weights and activations; the result predicts through the C core.

    Parameters
    ----------
    model : a fitted estimator or a `Model`
        Returned in the same kind, the input untouched. Zeros stay zeros.
    X, y : (n, features) and (n,) or None
        Rows that set the activations' ranges (needed where there is a hidden layer or no
        encoder) and that train with ``training="qat"``. Without y, alpha is 1.
    weight_bits : 8, 4 or a dict by layer name
        8 bits within ``weight_max``, or 4 bits within 7; 7 and 6 are names for 8 bits with
        ``weight_max`` 63 and 31, and another one is an error.
    weight_max : int in 1..127 or "auto"
        64 lets the CPU add two products in 16 bits (docs/architecture.md); "auto" takes
        the largest of 127, 80, 64, 48 that does, layer by layer, and needs a layer of 8 bits.
    activation_bits : 7 or 8
    group_size : None, 32 or 64
        One integer scale for so many inputs of a 4-bit row; the encoded first layer and
        rows no longer than one group have one scale a row.
    training : None or "qat"
        None rounds to nearest with the scale of least squared error a row; "qat" then
        trains through the rounding with the straight-through estimator (Bengio et al.
        2013; Jacob et al. 2018).
    alpha : float
        Weight of the loss to the predictions before the step; 1 - alpha goes to y. On rows
        that the model has learnt from, y adds mostly its noise.
    epochs, learning_rate : of "qat"
    augment : int
        Copies of the rows, mixed among neighbours (MUNGE) and labelled by the model before
        the step, that "qat" trains on beside the rows themselves.
    validation, groups, sample_weight : as in `fit`
    random_state : int or None
        None: the estimator's own seed, so that a chain of steps keeps its search rows.

    Raises ValueError for arguments outside these, or data that is needed and missing.

    >>> import numpy as np, farthing
    >>> X = np.random.default_rng(0).normal(size=(400, 3))
    >>> model = farthing.Classifier(hidden=(8,), random_state=0).fit(X, X[:, 0] > 0)
    >>> small = farthing.quantize(model, X, weight_bits=4)
    >>> [layer.quantized.bits for layer in small.model_.layers]
    [4, 4]
    """
    check_choice((7, 8), activation_bits=activation_bits)
    check_choice((None, "qat"), training=training)
    check_integer(0, augment=augment)
    check_choice((None, 32, 64), group_size=group_size)
    check_integer(1, also=(None,), epochs=epochs)
    check_number("(0, inf)", learning_rate=learning_rate)
    if training is None and epochs is not None:
        raise FarthingError(f"epochs must be None without training, got {epochs!r}")
    step = Step(
        model,
        X,
        y,
        alpha=alpha,
        sample_weight=sample_weight,
        groups=groups,
        validation=validation,
        random_state=random_state,
    )
    network = step.model
    formats = _formats(network, weight_bits, weight_max, group_size)
    needs_data = (
        "hidden layers"
        if len(network.layers) > 1
        else "inputs"
        if isinstance(network.encoder, Standardizer)
        else None
    )
    if training is not None and step.fit is None:
        raise FarthingError(f"X must be given: training={training!r} needs rows, got None")
    if needs_data and step.fit is None:
        raise FarthingError(
            f"X must be given: the ranges of the {needs_data} are measured on rows, got None"
        )
    amax = (1 << activation_bits) - 1
    for layer in network.layers:
        layer.forget_grids()
    network.activation_bits = activation_bits
    _unit_range_embeddings(network, amax)
    if step.fit is not None:
        rows = step.fit.rows
        sample = np.random.default_rng(step.seed).permutation(len(rows))[:CALIBRATION_ROWS]
        if isinstance(network.encoder, Standardizer):
            _unit_range(network, rows)
        _calibrate(network, rows[sample], formats, amax)
    if training == "qat":
        for layer in network.layers:
            _set_views(layer, formats[layer.name], amax)
        step.train(
            epochs=epochs or 4, learning_rate=learning_rate, augment=augment, input_amax=amax
        )
    for layer in network.layers:
        form = formats[layer.name]
        layer.quantized = quantize_weight(layer.weight, form.bits, form.weight_max, form.group_size)
        layer.weight = layer.quantized.dequantize()
    return step.result(calibrate=calibrate)
