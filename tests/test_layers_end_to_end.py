"""Estimators with every kind of layer, from fit to the file that they predict through."""

from functools import cache

import credit
import numpy as np
import pytest
from test_export import records, tensors_of

import farthing

ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sigmoid")
CODES = {"tanh": 5, "gelu": 6, "silu": 7, "sigmoid": 8}
KINDS = ("binary", "multiclass", "regression", "mean")


def target(kind):
    X, y = credit.data()
    if kind == "binary":
        return y
    if kind == "multiclass":
        return np.digitize(X[:, 0], np.quantile(X[:, 0], [0.3, 0.7]))
    value = np.log(X[:, 0]) + 0.3 * X[:, 1]
    return value if kind == "regression" else np.exp(value - value.mean())


@cache
def fitted(kind, activation, residual, **options):
    """A fitted estimator, 16-16; never changed by a test."""
    options = {"hidden": (16, 16), "max_epochs": 3, "random_state": 0} | options
    options |= {"activation": activation, "residual": residual}
    if kind in ("binary", "multiclass"):
        model = farthing.Classifier(**options)
    else:
        model = farthing.Regressor(loss="poisson" if kind == "mean" else "squared", **options)
    return model.fit(credit.data()[0], target(kind))


def scores(model, X):
    if not hasattr(model, "predict_proba"):
        return model.predict(X)
    p = model.predict_proba(X)
    return p[:, 1] if p.shape[1] == 2 else p


def from_file(model, folder):
    model.save(folder / "m.farthing")
    return farthing.load(folder / "m.farthing")


def linked(z, link):
    """The score of outputs (rows, outputs)."""
    z = z.astype(np.float64)
    if link == "softmax":
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return {"sigmoid": lambda v: 1 / (1 + np.exp(-v)), "log": np.exp, "identity": np.array}[link](
        z[:, 0]
    )


# ---- floats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [False, True], ids=["straight", "residual"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_float_file_is_the_model(kind, activation, residual, tmp_path):
    X, _ = credit.data()
    model = fitted(kind, activation, residual)
    expected = linked(model.model_.forward(X), model.model_.link)
    ours = scores(model, X)
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)
    assert np.array_equal(from_file(model, tmp_path).predict(X), ours.astype(np.float32))
    assert np.ptp(ours, axis=0).min() > 0.05  # it has learnt something to compare


@pytest.mark.parametrize("encoder", ["piecewise_linear", None])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_operations_of_a_float_file(activation, encoder):
    model = fitted("binary", activation, True, encoder=encoder, max_epochs=1)
    found = records(tensors_of(model))
    names = list(tensors_of(model))
    first = 0 if encoder else 1
    kinds = [4] if encoder else [1, 3]
    behind = [] if activation == "relu" else [7]
    assert [r["kind"] for r in found] == [*kinds, *behind, 3, *behind, 8, 3, 5]
    for record in found:
        if record["kind"] == 7:
            assert record == {
                "kind": 7,
                "inputs": 16,
                "outputs": 16,
                "activation": CODES[activation],
            }
        if record["kind"] in (3, 4):
            assert names[record["tensor"]].startswith("dense")
            last = record["outputs"] == 1
            assert record.get("activation", 0) == int(activation == "relu" and not last)
    add = next(r for r in found if r["kind"] == 8)
    assert add == {"kind": 8, "inputs": 16, "outputs": 16} | (
        {"source": first + len(behind)} if first + len(behind) else {}
    )


def test_residual_layers_one_after_the_other(tmp_path):
    X, _ = credit.data()
    model = fitted("binary", "tanh", True, hidden=(8, 8, 8, 5, 5, 8))
    assert [layer.residual for layer in model.model_.layers] == [0, 1, 1, 0, 1, 0, 0]
    expected = linked(model.model_.forward(X), "sigmoid")
    np.testing.assert_allclose(from_file(model, tmp_path).predict(X), expected, atol=1e-6)


def test_normalised_layers_leave_no_trace_but_their_weights(tmp_path):
    X, y = credit.data()
    model = fitted("binary", "silu", True, batch_norm=True)
    expected = linked(model.model_.forward(X), "sigmoid")
    np.testing.assert_allclose(from_file(model, tmp_path).predict(X), expected, atol=1e-6)
    assert farthing.metrics.auc(y, expected) > 0.75
