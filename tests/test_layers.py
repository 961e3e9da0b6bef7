import numpy as np
import pytest

from farthing.encoding import Standardizer
from farthing.layers import Dense, QuantizedWeight
from farthing.model import Model
from farthing.training import train


def layer(rng, n=4, k=3, **fields):
    return Dense("dense0", rng.normal(size=(n, k)), rng.normal(size=n), **fields)


class Clamp:
    """An output view without rounding, so that finite differences see it."""

    limit = 0.8

    def __call__(self, activation):
        return np.minimum(activation, self.limit)


def numeric_gradient(function, array, step=1e-6):
    """Central differences of a scalar function by every entry of an array, changed in place."""
    gradient = np.empty_like(array)
    for i in np.ndindex(array.shape):
        kept = array[i]
        array[i] = kept + step
        up = function()
        array[i] = kept - step
        down = function()
        array[i] = kept
        gradient[i] = (up - down) / (2 * step)
    return gradient


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_forward_is_the_definition(activation, rng):
    dense = layer(rng, activation=activation)
    x = rng.normal(size=(6, 3))
    expected = x @ dense.weight.T + dense.bias
    if activation == "relu":
        expected = expected.clip(0)
    y, backward = dense.forward(x)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert backward is None


@pytest.mark.parametrize("view", [None, Clamp()], ids=["plain", "clamped"])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_backward_is_the_finite_difference(activation, view, rng):
    dense = layer(rng, activation=activation, output_view=view)
    x = rng.normal(size=(6, 3))
    dy = rng.normal(size=(6, 4))

    def value():
        return (dense.forward(x)[0] * dy).sum()

    y, backward = dense.forward(x, training=True)
    assert view is None or (y == view.limit).any()
    dx, gradient = backward(dy)
    for ours, array in (
        (dx, x),
        (gradient["weight"], dense.weight),
        (gradient["bias"], dense.bias),
    ):
        np.testing.assert_allclose(ours, numeric_gradient(value, array), rtol=1e-6, atol=1e-8)
    assert backward(dy, need_input=False)[0] is None


def test_gradient_of_masked_weights_is_zero(rng):
    mask = rng.random((4, 3)) < 0.5
    dense = layer(rng, mask=mask)
    dense.weight *= mask
    x, dy = rng.normal(size=(6, 3)), rng.normal(size=(6, 4))
    masked = dense.forward(x, training=True)[1](dy)[1]["weight"]
    dense.mask = None
    free = dense.forward(x, training=True)[1](dy)[1]["weight"]
    assert not masked[~mask].any()
    assert np.array_equal(masked[mask], free[mask])


def test_views_pass_gradients_straight_through(rng):
    """Rounded weights and activations are used, and their rounding has gradient 1."""

    class Grid:
        limit = 1.0

        def __call__(self, activation):
            return np.minimum(np.rint(activation * 8) / 8, self.limit)

    def coarse(weight, training=True):
        assert training
        return np.rint(weight * 4) / 4

    dense = layer(rng, weight_view=coarse, output_view=Grid())
    x, dy = rng.normal(size=(50, 3)), rng.normal(size=(50, 4))
    y, backward = dense.forward(x, training=True)
    z = x @ coarse(dense.weight).T + dense.bias
    np.testing.assert_allclose(y, Grid()(z.clip(0)))
    dz = dy * ((z > 0) & (z <= 1))
    dx, gradient = backward(dy)
    np.testing.assert_allclose(dx, dz @ coarse(dense.weight))
    np.testing.assert_allclose(gradient["weight"], dz.T @ x)
    np.testing.assert_allclose(gradient["bias"], dz.sum(axis=0))


def test_copy_shares_nothing_and_drops_the_hooks(rng):
    quantized = QuantizedWeight(
        4, 7, np.ones((4, 3), np.int8), np.ones(4, np.float32), 32, np.ones((4, 1), np.uint8)
    )
    dense = layer(
        rng,
        mask=np.ones((4, 3), bool),
        quantized=quantized,
        output_scale=0.5,
        weight_view=lambda weight, training: weight,
        output_view=Clamp(),
    )
    twin = dense.copy()
    assert twin.weight_view is None and twin.output_view is None
    assert (twin.name, twin.activation, twin.output_scale) == ("dense0", "relu", 0.5)
    pairs = [
        (twin.weight, dense.weight),
        (twin.bias, dense.bias),
        (twin.mask, dense.mask),
        (twin.quantized.values, quantized.values),
        (twin.quantized.scale, quantized.scale),
        (twin.quantized.group_scales, quantized.group_scales),
    ]
    for copied, original in pairs:
        assert np.array_equal(copied, original)
        assert not np.shares_memory(copied, original)


def test_dequantize_applies_channel_and_group_scales():
    values = np.array([[1, -2, 3, 4, 5]], np.int8)
    groups = np.array([[2, 3]], np.uint8)
    plain = QuantizedWeight(8, 64, values, np.array([0.5], np.float32))
    grouped = QuantizedWeight(8, 64, values, np.array([0.5], np.float32), 3, groups)
    assert plain.dequantize().tolist() == [[0.5, -1, 1.5, 2, 2.5]]
    assert grouped.dequantize().tolist() == [[1, -2, 3, 6, 7.5]]


def test_project_keeps_masks_and_signs():
    weight = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]], np.float32)
    layer = Dense("dense0", weight.copy(), np.zeros(2, np.float32))
    layer.mask = np.array([[True, True, False], [True, True, True]])
    layer.sign = np.array([[1, 1, 1], [-1, -1, 0]], np.int8)
    layer.project()
    assert layer.weight.tolist() == [[1, 0, 0], [-4, 0, -6]]
    layer.keep(outputs=np.array([False, True]), inputs=np.array([True, False, True]))
    assert layer.sign.tolist() == [[-1, 0]]
    assert layer.copy().sign is not layer.sign


def test_training_keeps_signs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)).astype(np.float32)
    model = Model.build(Standardizer().fit(X), (8,), link="identity", seed=0)
    model.layers[0].sign = np.ones((8, 2), np.int8)
    model.layers[1].sign = np.ones((1, 8), np.int8)
    train(model, X, X[:, 0] - X[:, 1], loss="squared", max_epochs=3)
    for layer in model.layers:
        assert (layer.weight >= 0).all()
        assert (layer.weight > 0).any()
