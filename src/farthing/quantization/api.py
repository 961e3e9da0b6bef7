"""Quantization to int8 and int4, after training or during it."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.encoding import Standardizer
from farthing.quantization.calibration import (
    CALIBRATION_ROWS,
    calibrate_layers,
    unit_range,
    unit_range_embeddings,
)
from farthing.quantization.formats import WEIGHT_MAX, formats_of
from farthing.quantization.rtn import quantize_weight
from farthing.quantization.views import set_views
from farthing.steps import Step

__all__ = ["quantize"]


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
    formats = formats_of(network, weight_bits, weight_max, group_size)
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
    unit_range_embeddings(network, amax)
    if step.fit is not None:
        rows = step.fit.rows
        sample = np.random.default_rng(step.seed).permutation(len(rows))[:CALIBRATION_ROWS]
        if isinstance(network.encoder, Standardizer):
            unit_range(network, rows)
        calibrate_layers(network, rows[sample], formats, amax)
    if training == "qat":
        for layer in network.layers:
            set_views(layer, formats[layer.name], amax)
        step.train(
            epochs=epochs or 4, learning_rate=learning_rate, augment=augment, input_amax=amax
        )
    for layer in network.layers:
        form = formats[layer.name]
        layer.quantized = quantize_weight(layer.weight, form.bits, form.weight_max, form.group_size)
        layer.weight = layer.quantized.dequantize()
    return step.result(calibrate=calibrate)
