"""Monotone networks: signs that the weights keep, and the weights that training starts from.

Runje and Shankaranarayana, "Constrained Monotonic Neural Networks" (2023): every hidden unit u
has a direction s_u, +1 or -1; the output has +1.  A weight from unit u to unit v has the sign
s_u s_v, one from a column that rises with a feature of direction c the sign c s_v, one from a
free feature any sign.  So s_u times unit u, and with it the output, never decreases in c times
the feature.  A ReLU of direction +1 is convex and one of direction -1 acts as a concave one,
-relu(-.); sums of both over the features cannot level off at both ends.  So every third ReLU is
bounded (`Dense.bound`), which tanh and sigmoid are by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from farthing._validate import FarthingError, check_choice
from farthing.indices import column_indices
from farthing.model import Model
from farthing.periodic import PeriodicEncoder

__all__ = ["constrain", "resolve_constraints"]

ARGUMENT = "monotone_constraints"
# Deviations over the sample that training starts from, of a hidden unit's sum and of the
# output.  Adam moves every weight by about the learning rate a step: from small hidden weights
# a unit of few positive weights finds its shape in fewer steps.  A bounded unit has to reach
# both of its ends; it starts in the middle between them.
HIDDEN_DEVIATION = 0.1
BOUND = BOUNDED_DEVIATION = 0.2
DEVIATION = {"tanh": 1.0, "sigmoid": 2.0}
OUTPUT_DEVIATION = 1.0
SAMPLE_ROWS = 2048
MONOTONE_ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid")


def resolve_constraints(
    constraints: Mapping[str | int, int] | None,
    n_features: int,
    names: Sequence[str] | None = None,
    categorical: Sequence[int] = (),
) -> dict[int, int]:
    """{0-based feature: +1 or -1} from {name or index: +1, -1 or 0}; 0, like absence, is free.

    categorical: indices of features whose values have no order.  FarthingError for a name or
    index that is no feature, one feature named twice, another direction, or a direction on a
    categorical feature; TypeError for another type.

    >>> resolve_constraints({"late": 1, 2: -1, 0: 0}, 3, ("age", "late", "limit"))
    {1: 1, 2: -1}
    """
    if constraints is None:
        return {}
    if not isinstance(constraints, Mapping):
        raise TypeError(
            f"{ARGUMENT} must be None or a dict of column names or indices to 1 or -1, "
            f"got {constraints!r}"
        )
    directions: dict[int, int] = {}
    indices = column_indices(ARGUMENT, constraints, names, n_features)
    for index, (column, direction) in zip(indices, constraints.items(), strict=True):
        check_choice((1, -1, 0), **{f"{ARGUMENT}[{column!r}]": direction})
        if direction and index in categorical:
            raise FarthingError(
                f"{ARGUMENT}[{column!r}] must be 0 or absent: the column is categorical, and its "
                f"values have no order, got {direction}"
            )
        directions[index] = int(direction)
    return {index: direction for index, direction in sorted(directions.items()) if direction}


def constrain(model: Model, directions: Mapping[int, int], rows, seed: int = 0) -> None:
    """Gives an untrained model the signs that make it monotone, and weights that have them.

    directions: {feature: +1 or -1}; without any the model stays as it is.  rows: raw training
    rows (n, features), on a sample of which, drawn by `seed`, every unit gets one deviation
    and one mean, layer by layer (Mishkin & Matas 2016, "All you need is a good init"): all sums
    of positive weights would otherwise start far from 0 and near each other.  The output keeps
    its bias as its mean.

    Of the weights as they were drawn those of the wrong sign become 0, so that units start
    from different inputs.  FarthingError for a model of several outputs, or with activations
    that rise and fall.
    """
    if not directions:
        return
    if model.n_outputs != 1:
        raise FarthingError(
            f"{ARGUMENT} must be None for a model of several outputs, got {dict(directions)}"
        )
    if isinstance(model.encoder, PeriodicEncoder):
        raise FarthingError(
            f"{ARGUMENT} must be None on a periodic encoding, whose columns rise and fall, "
            f"got {dict(directions)}"
        )
    for layer in model.layers:
        if layer.activation not in MONOTONE_ACTIVATIONS:
            raise FarthingError(
                f"{ARGUMENT} must be None with activation {layer.activation!r}, which is not "
                f"monotone; allowed are {MONOTONE_ACTIVATIONS}"
            )
    inputs = np.zeros(model.layers[0].n_inputs, np.int8)
    for feature, direction in directions.items():
        inputs[model.encoder.ordered_columns(feature)] = direction
    for layer in model.layers:
        hidden = layer is not model.layers[-1]
        outputs = _unit_directions(layer.n_outputs) if hidden else np.ones(1, np.int8)
        layer.sign = outputs[:, None] * inputs
        drawn = layer.weight.copy()
        layer.project()
        empty = ~layer.weight.any(axis=1)
        layer.weight[empty] = (np.abs(drawn) * layer.sign)[empty]
        inputs = outputs
        if layer.activation == "relu":
            bounded = np.arange(layer.n_outputs) % 3 == 2
            layer.bound = np.where(bounded, BOUND, np.inf).astype(np.float32)
    _scale(model, rows, seed)


def _unit_directions(n: int) -> np.ndarray:
    """+1 and -1 in turn, int8 (n,): layers of one width agree, as a residual sum needs."""
    return np.where(np.arange(n) % 2, -1, 1).astype(np.int8)


def _scale(model: Model, rows, seed: int) -> None:
    chosen = np.random.default_rng(seed).permutation(len(rows))[:SAMPLE_ROWS]
    x = model.encoder.expand(model.encoder.positions(rows[chosen]))
    for layer in model.layers:
        hidden = layer is not model.layers[-1]
        z = x @ layer.weight.T
        deviation = z.std(axis=0)
        deviation[deviation == 0] = 1
        bounded = np.zeros(layer.n_outputs, bool) if layer.bound is None else layer.bound < np.inf
        wanted = DEVIATION.get(layer.activation, HIDDEN_DEVIATION) if hidden else OUTPUT_DEVIATION
        wanted = np.where(bounded, BOUNDED_DEVIATION, wanted)
        factor = wanted / deviation
        mean, middle = z.mean(axis=0) * factor, np.where(bounded, BOUND / 2, 0)
        layer.weight *= factor[:, None].astype(np.float32)
        layer.bias += (middle - mean).astype(np.float32)
        norm = layer.norm
        if norm is not None:
            found = {"gamma": wanted, "beta": middle, "mean": mean, "variance": wanted**2}
            for name, values in found.items():
                getattr(norm, name)[:] = values
        x, _ = layer.forward(x)
