"""Gradients against finite differences and an autograd library; dropout."""

from itertools import pairwise

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from farthing.backprop import gradients
from farthing.batchnorm import BatchNorm
from farthing.layers import Dense
from farthing.losses import binary_cross_entropy, squared_error


def network(rng, sizes=(5, 7, 4, 2)):
    return [
        Dense(
            f"dense{i}",
            rng.normal(size=(n, k)),
            rng.normal(size=n),
            "linear" if i == len(sizes) - 2 else "relu",
        )
        for i, (k, n) in enumerate(pairwise(sizes))
    ]


def bce_in_autograd(z, target, weight):
    loss = anp.logaddexp(0, z) - target * z
    return anp.mean(loss * weight[:, None])


def squared_in_autograd(z, target, weight):
    return anp.mean(0.5 * (z - target) ** 2 * weight[:, None])


@pytest.mark.parametrize(
    ("loss", "reference"),
    [(binary_cross_entropy, bce_in_autograd), (squared_error, squared_in_autograd)],
    ids=["binary", "squared"],
)
def test_gradients_equal_autograd_and_finite_differences(loss, reference, rng):
    layers = network(rng)
    x, target, weight = rng.normal(size=(9, 5)), rng.random((9, 2)), rng.random(9)
    value, ours = gradients(layers, x, target, weight, loss)

    def forward(parameters):
        y = x
        for i, (w, b) in enumerate(parameters):
            y = anp.dot(y, w.T) + b
            if i < len(parameters) - 1:
                y = anp.maximum(y, 0)
        return reference(y, target, weight)

    parameters = [(layer.weight, layer.bias) for layer in layers]
    assert value == pytest.approx(forward(parameters), rel=1e-12)
    for own, theirs in zip(ours, autograd.grad(forward)(parameters), strict=True):
        np.testing.assert_allclose(own["weight"], theirs[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(own["bias"], theirs[1], rtol=1e-9, atol=1e-12)
    step = 1e-6
    for layer, gradient in zip(layers, ours, strict=True):
        for name, array in (("weight", layer.weight), ("bias", layer.bias)):
            i = np.unravel_index(np.abs(gradient[name]).argmax(), array.shape)
            kept = array[i]
            array[i] = kept + step
            up = gradients(layers, x, target, weight, loss)[0]
            array[i] = kept - step
            down = gradients(layers, x, target, weight, loss)[0]
            array[i] = kept
            assert gradient[name][i] == pytest.approx((up - down) / (2 * step), rel=1e-6)


ACTIVATIONS_IN_AUTOGRAD = {
    "tanh": anp.tanh,
    "sigmoid": lambda z: 1 / (1 + anp.exp(-z)),
    "silu": lambda z: z / (1 + anp.exp(-z)),
    "gelu": lambda z: 0.5 * z * (1 + anp.tanh(anp.sqrt(2 / anp.pi) * (z + 0.044715 * z**3))),
    "relu": lambda z: anp.maximum(z, 0),
}


@pytest.mark.parametrize("activation", ACTIVATIONS_IN_AUTOGRAD)
def test_gradients_of_a_normalised_residual_network_equal_autograd(activation, rng):
    layers = network(rng, (5, 6, 6, 6, 2))
    for i, layer in enumerate(layers[:-1]):
        layer.activation, layer.residual, layer.norm = activation, i > 0, BatchNorm(6, float)
        layer.norm.gamma, layer.norm.beta = rng.normal(size=(2, 6))
    x, target, weight = rng.normal(size=(9, 5)), rng.random((9, 2)), rng.random(9)
    value, ours = gradients(layers, x, target, weight, squared_error)

    def forward(parameters):
        y, share = x, weight / weight.sum()
        for i, given in enumerate(parameters[:-1]):
            z = anp.dot(y, given["weight"].T)
            z = z - anp.dot(share, z)
            z = z / anp.sqrt(anp.dot(share, z**2) + 1e-5)
            a = ACTIVATIONS_IN_AUTOGRAD[activation](z * given["gamma"] + given["beta"])
            y = a + y if i > 0 else a
        last = parameters[-1]
        return squared_in_autograd(anp.dot(y, last["weight"].T) + last["bias"], target, weight)

    parameters = [
        {name: getattr(*where) for name, where in layer.parameters().items()} for layer in layers
    ]
    assert value == pytest.approx(forward(parameters), rel=1e-12)
    for own, theirs in zip(ours, autograd.grad(forward)(parameters), strict=True):
        assert set(own) == set(theirs)
        for name, gradient in own.items():
            np.testing.assert_allclose(gradient, theirs[name], rtol=1e-8, atol=1e-12)


def test_gradients_with_dropout_are_those_of_the_thinned_network(rng):
    """The same draw of units twice: the loss moves as the gradient says."""
    layers = network(rng)
    x, target = rng.normal(size=(9, 5)), rng.random((9, 2))

    def run():
        return gradients(layers, x, target, None, squared_error, 0.5, np.random.default_rng(5))

    _, gradient = run()
    direction = [rng.normal(size=layer.weight.shape) for layer in layers]
    slope = sum((g["weight"] * d).sum() for g, d in zip(gradient, direction, strict=True))
    values = []
    for step in (1e-6, -2e-6):
        for layer, d in zip(layers, direction, strict=True):
            layer.weight += step * d
        values.append(run()[0])
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_dropout_of_whole_units_is_the_same_in_all_rows():
    layers = [
        Dense("dense0", np.ones((1000, 1)), np.zeros(1000)),
        Dense("dense1", np.eye(1000), np.zeros(1000), "linear"),
    ]
    seen = []

    def spy(z, target, weight):
        seen.append(z.copy())
        return squared_error(z, target, weight)

    x, target = np.array([[1.0], [2.0]]), np.zeros((2, 1000))
    for whole in (True, False):
        rng = np.random.default_rng(0)
        gradients(layers, x, target, None, spy, 0.3, rng, whole_units=whole)
    units, cells = (z / x for z in seen)
    assert np.array_equal(units[0], units[1]) and not np.array_equal(cells[0], cells[1])
    for kept in (units, cells):
        assert set(np.unique(kept.round(4))) == {0, 1.4286}
        assert (kept == 0).mean() == pytest.approx(0.3, abs=0.05)


def test_dropout_keeps_the_expected_activation():
    layers = [
        Dense("dense0", np.ones((20_000, 1)), np.zeros(20_000)),
        Dense("dense1", np.full((1, 20_000), 1 / 20_000), np.zeros(1), "linear"),
    ]
    seen = []

    def spy(z, target, weight):
        seen.append(z.item())
        return squared_error(z, target, weight)

    gradients(layers, np.ones((1, 1)), np.ones((1, 1)), None, spy, 0.3, np.random.default_rng(0))
    assert seen[0] == pytest.approx(1, abs=0.02) and seen[0] != 1
