"""Every kind of layer and of loss in monotone models, through the steps behind `fit`."""

from functools import cache

import credit
import numpy as np
import pytest
from monotone_models import DIRECTIONS, QUICK, check, monotone

import farthing

NETWORKS = [
    {"residual": True},
    {"batch_norm": True},
    {"residual": True, "batch_norm": True},
    {"activation": "tanh"},
    {"activation": "sigmoid", "residual": True, "batch_norm": True},
]
AFTER = {
    "float": None,
    "pruned": lambda m, X: farthing.prune(m, sparsity=0.5),
    "int8": lambda m, X: farthing.quantize(m, X),
    "int4": lambda m, X: farthing.quantize(m, X, weight_bits=4, activation_bits=8),
    "qat": lambda m, X: farthing.quantize(m, X, weight_bits=4, training="qat", **QUICK),
    "pruned int4": lambda m, X: farthing.quantize(
        farthing.prune(m, X, sparsity=0.4, schedule="cubic", **QUICK), X, weight_bits=4
    ),
}


@cache
def fitted_network(kind, **options):
    """A fitted monotone estimator of two equal layers; never changed by a test."""
    X, y = credit.data()
    options |= {"hidden": (12, 12), "max_epochs": 3, "random_state": 0}
    options["monotone_constraints"] = DIRECTIONS
    if kind == "classifier":
        return farthing.Classifier(**options).fit(X, y)
    value = np.exp(0.4 * X[:, 1] - 0.5 * np.log(X[:, 0] / 5e4))
    return farthing.Regressor(loss=kind, **options).fit(X, value)


@pytest.mark.parametrize("step", AFTER)
@pytest.mark.parametrize("options", NETWORKS, ids=lambda options: "-".join(map(str, options)))
def test_every_network_is_monotone(options, step, tmp_path):
    model = fitted_network("classifier", **options)
    check(AFTER[step](model, credit.data()[0]) if AFTER[step] else model, tmp_path)


@pytest.mark.parametrize("step", ["float", "int8", "int4", "qat"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_means_are_monotone(loss, activation, step, tmp_path):
    model = fitted_network(loss, activation=activation)
    check(AFTER[step](model, credit.data()[0]) if AFTER[step] else model, tmp_path)


def test_bounds_that_are_none_are_not_written():
    X, y = credit.data()
    model = farthing.Classifier((2,), max_epochs=1, monotone_constraints=DIRECTIONS).fit(X, y)
    assert model.model_.layers[0].bound.tolist() == [np.inf, np.inf]
    for each in (model, farthing.quantize(model, X)):
        assert [o["kind"] for o in each._scorer()._operations()] == [4, 3, 5]


def test_bounds_stay_through_every_later_step():
    X, _ = credit.data()
    bounds = [layer.bound for layer in monotone().model_.layers]
    assert (bounds[0] < np.inf).sum() == 5 and bounds[-1] is None
    small = farthing.quantize(farthing.prune(monotone(), sparsity=0.4), X, weight_bits=4)
    for layer, bound in zip(small.model_.layers, bounds, strict=True):
        assert np.array_equal(layer.bound, bound)
    assert [layer.get("bounded") for layer in small._scorer().describe()["layers"]] == [
        True,
        True,
        None,
    ]
    assert "relu, bounded" in small.model_.summary()
    fewer = farthing.prune(monotone(), sparsity=0.4, pattern="neuron").model_.layers
    for layer, bound in zip(fewer[:-1], bounds, strict=False):
        assert layer.bound.shape == (layer.n_outputs,) and set(layer.bound) <= set(bound)
