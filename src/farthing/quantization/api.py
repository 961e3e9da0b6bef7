"""Quantization to int8 and int4, after training or during it."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.encoding import Standardizer
from farthing.grids import GridView
from farthing.layers import Dense
from farthing.optimizer import one_cycle
from farthing.probe import Sample
from farthing.quantization.affine import ROUNDINGS, quantize_affine
from farthing.quantization.calibration import (
    CALIBRATION_ROWS,
    calibrate_layers,
    unit_range,
    unit_range_embeddings,
)
from farthing.quantization.formats import WEIGHT_MAX, WeightFormat, formats_of
from farthing.quantization.integer import IntegerWeights
from farthing.quantization.lsq import LearnedGrid, LearnedSteps
from farthing.quantization.methods import METHODS
from farthing.quantization.ranges import CALIBRATIONS
from farthing.quantization.rtn import auto_weight_max, nearest
from farthing.quantization.views import keep_grids, set_grid_views, set_views
from farthing.steps import Step

__all__ = ["quantize"]

TRAININGS = (None, "qat", "lsq", "integer")
# All that these can be in the affine scheme, which keeps floats.
AFFINE = {"training": None, "group_size": None, "method": "rtn", "bias_correction": False}
AFFINE |= {"calibration": "mse", "activation_bits": 7}
# Steps by chance take longer to settle.
EPOCHS, INTEGER_EPOCHS = 4, 16


class _Default(str):
    """The value of an argument that was not given."""


NEAREST = _Default("nearest")


def quantize(
    model,
    X=None,
    y=None,
    *,
    weight_bits=8,
    weight_max=WEIGHT_MAX,
    activation_bits=7,
    group_size=None,
    scheme="symmetric",
    rounding=NEAREST,
    calibration="mse",
    method="rtn",
    bias_correction=False,
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
        Returned in the same kind, the input untouched. What pruning dropped stays zero.
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
    scheme : "symmetric" or "affine"
        "affine" is the article's: the weights of a layer scaled to [0, 1], times 2^bits - 1, to an
        integer. It is there to compare: the layer keeps float weights, those that its integers
        stand for, and there is no training.
    rounding : "nearest", "floor" or "stochastic"
        Of the affine scheme, and of the steps of ``training="integer"``, where "stochastic" is
        what is taken by itself and the others are there to compare.
    calibration : "mse", "minmax" or "percentile"
        How the range of an activation is chosen: by the least squared error, all values, or all
        but 0.05 % at an end, where rows repeat or drop out by their weights. Inputs without an
        encoder cover all rows.
    method : "rtn", "gptq" or "adaround"
        How integers are chosen after training: to nearest with the scale of least squared error a
        row; column after column with the error made up for by the others, biases too (Frantar et
        al. 2023); by learning for each weight whether to go up or down (Nagel et al. 2020).
    bias_correction : bool
        Biases take up what the sums of a layer differ by in the mean (Nagel et al. 2019).
    training : None, "qat", "lsq" or "integer"
        None chooses integers after training. "qat" trains through the rounding with the
        straight-through estimator (Bengio et al. 2013; Jacob et al. 2018), "lsq" the steps of
        weights and activations too (Esser et al. 2020). "integer" keeps int8 weights and no float
        copy: updates are rounded to whole steps by chance, the network runs on those weights or
        their 4-bit view (Gupta et al. 2015). The last two have one scale a row.
    alpha : float
        Weight of the loss to the predictions before the step; 1 - alpha goes to y. On rows
        that the model has learnt from, y adds mostly its noise.
    epochs : int or None
        Of the training. None: 4, of "integer" 16, more where rows and copies are fewer than 1,024.
    learning_rate : float above 0
    augment : int
        Copies of the rows, mixed among neighbours (MUNGE) and labelled by the model before
        the step, that training sees beside the rows themselves.
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
    check_choice(TRAININGS, training=training)
    check_choice(("symmetric", "affine"), scheme=scheme)
    check_choice(tuple(ROUNDINGS), rounding=str(rounding))
    check_choice(tuple(CALIBRATIONS), calibration=calibration)
    check_choice(tuple(METHODS), method=method)
    check_integer(0, augment=augment)
    check_choice((None, 32, 64), group_size=group_size)
    check_integer(1, also=(None,), epochs=epochs)
    check_number("(0, inf)", learning_rate=learning_rate)
    if training is None and epochs is not None:
        raise FarthingError(f"epochs must be None without training, got {epochs!r}")
    check_choice((False, True), bias_correction=bias_correction, calibrate=calibrate)
    if scheme == "affine":
        _check_affine(
            weight_max,
            training=training,
            group_size=group_size,
            method=method,
            bias_correction=bias_correction,
            calibration=calibration,
            activation_bits=activation_bits,
        )
    else:
        _check_symmetric(rounding, method, bias_correction, training, group_size)
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
    formats = formats_of(network, weight_bits, weight_max, group_size, auto_weight_max)
    if scheme == "affine":
        bits = {name: _bits_of(weight_bits, name) for name in formats}
        quantize_affine(network, bits, str(rounding), np.random.default_rng(step.seed))
        return step.result(calibrate=calibrate)
    _check_rows(step, training, method, bias_correction)
    amax = (1 << activation_bits) - 1
    for layer in network.layers:
        layer.forget_grids()
    network.activation_bits = activation_bits
    unit_range_embeddings(network, amax)
    if step.fit is not None:
        _calibrate(step, formats, amax, METHODS[method], calibration, bias_correction, training)
    if training is not None:
        own = INTEGER_EPOCHS if training == "integer" else EPOCHS
        epochs = epochs or step.epochs(own, augment)
        options = {"epochs": epochs, "learning_rate": learning_rate, "augment": augment}
        _train(step, formats, amax, training, rounding, options)
    for layer in network.layers:
        if layer.quantized is None:
            layer.quantized = nearest(layer.weight, formats[layer.name])
            layer.weight = layer.quantized.dequantize()
    return step.result(calibrate=calibrate)


def _bits_of(weight_bits, name: str) -> int:
    return weight_bits[name] if isinstance(weight_bits, dict) else weight_bits


def _check_affine(weight_max, **given) -> None:
    """Raises ValueError for what the affine scheme would not look at."""
    for name, allowed in AFFINE.items():
        if given[name] != allowed:
            raise FarthingError(
                f"{name} must be {allowed!r} for scheme 'affine', got {given[name]!r}"
            )
    if weight_max is not WEIGHT_MAX:
        raise FarthingError(f"weight_max must not be given for scheme 'affine', got {weight_max!r}")


def _check_symmetric(rounding, method, bias_correction, training, group_size) -> None:
    """Raises ValueError where two arguments of the symmetric scheme contradict each other."""
    if training != "integer" and rounding != "nearest":
        raise FarthingError(
            "rounding must be 'nearest' but for scheme='affine' and training='integer', "
            f"got {str(rounding)!r}"
        )
    if training is not None and method != "rtn":
        raise FarthingError(f"method must be 'rtn' with training={training!r}, got {method!r}")
    if training is not None and bias_correction:
        raise FarthingError(f"bias_correction must be False with training={training!r}, got True")
    if training in ("lsq", "integer") and group_size is not None:
        raise FarthingError(f"group_size must be None with training={training!r}, got {group_size}")


def _check_rows(step: Step, training, method: str, bias_correction: bool) -> None:
    """Raises ValueError where rows are needed and none were given."""
    if step.fit is not None:
        return
    if training is not None:
        raise FarthingError(f"X must be given: training={training!r} needs rows, got None")
    if method != "rtn" or bias_correction:
        what = f"method={method!r}" if method != "rtn" else "bias_correction=True"
        raise FarthingError(f"X must be given: {what} needs rows, got None")
    hidden, standardized = (
        len(step.model.layers) > 1,
        isinstance(step.model.encoder, Standardizer),
    )
    if hidden or standardized:
        what = "hidden layers" if hidden else "inputs"
        raise FarthingError(
            f"X must be given: the ranges of the {what} are measured on rows, got None"
        )


def _calibrate(
    step: Step,
    formats: dict[str, WeightFormat],
    amax: int,
    solver,
    calibration: str,
    bias_correction: bool,
    training,
) -> None:
    network, sample = step.model, Sample(step, CALIBRATION_ROWS)
    if isinstance(network.encoder, Standardizer):
        unit_range(network, step.fit.rows)
    calibrate_layers(
        network,
        sample.rows,
        sample.share,
        formats,
        amax,
        solver=solver,
        fit=CALIBRATIONS[calibration],
        correct=bias_correction,
        deliver=training is None,
    )


def _train(
    step: Step, formats: dict[str, WeightFormat], amax: int, training: str, rounding, options: dict
) -> None:
    """Trains on what the integers will answer; "lsq" and "integer" deliver them too."""
    layers = step.model.layers
    if training == "qat":
        for layer in layers:
            set_views(layer, formats[layer.name], amax)
        step.train(**options, input_amax=amax)
        return
    for layer in layers:
        set_grid_views(layer, amax, LearnedGrid if training == "lsq" else GridView)
    rng = np.random.default_rng(step.seed)
    chance = "stochastic" if rounding is NEAREST else str(rounding)

    def view_of(layer: Dense) -> LearnedSteps | IntegerWeights:
        form = formats[layer.name]
        if training == "lsq":
            return LearnedSteps(layer, form)
        return IntegerWeights(layer, form, chance, rng)

    def on_step(index: int, total: int, _model) -> None:
        for layer in layers:
            if index == 0:  # not before: training has units of its own
                layer.weight_view = view_of(layer)
            if training == "lsq":
                for view in layer.views:
                    view.rate = options["learning_rate"] * one_cycle(index, total)

    def on_end() -> None:
        for layer in layers:
            if layer.weight_view is None:  # interrupted before the first step
                continue
            keep_grids(layer)
            layer.quantized = layer.weight_view.packed(layer.weight)
            layer.weight = layer.quantized.dequantize()

    step.train(**options, input_amax=amax, on_step=on_step, on_end=on_end)
