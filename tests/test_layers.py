import math

import numpy as np
import pytest

from farthing import FarthingError
from farthing.activations import ACTIVATIONS, activate
from farthing.batchnorm import BatchNorm
from farthing.encoding import Standardizer
from farthing.layers import Dense, QuantizedWeight, Scratch
from farthing.model import Model
from farthing.training import train


def layer(rng, n=4, k=3, **fields):
    return Dense("dense0", rng.normal(size=(n, k)), rng.normal(size=n), **fields)


class Clamp:
    """A view without rounding, so that finite differences see it."""

    limit, lower = 0.8, -np.inf

    def __call__(self, values):
        return np.clip(values, self.lower, self.limit)


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


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


DEFINITIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.where(z > 0, z, 0),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    "sigmoid": sigmoid,
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
}


def test_every_activation_is_defined_here():
    assert set(DEFINITIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_the_definition(activation, residual, rng):
    dense = layer(rng, n=3, activation=activation, residual=residual)
    x = rng.normal(size=(6, 3))
    expected = DEFINITIONS[activation](x @ dense.weight.T + dense.bias) + residual * x
    y, backward = dense.forward(x)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-15)
    assert backward is None


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_neither_overflow_nor_leave_float32(activation):
    z = np.array([-np.inf, -1e30, -200, 0, 200, 1e30], np.float32)
    with np.errstate(all="raise", under="ignore", invalid="ignore"):
        y, slope = activate(activation, z.copy(), training=True)
    assert y.dtype == np.float32 and np.isfinite(y[1:]).all()
    assert slope is None or (np.isfinite(slope[1:]).all() and slope.dtype in (bool, np.float32))


def test_gelu_is_near_the_exact_one():
    """The tanh form's largest error is below 0.0005."""
    z = np.linspace(-6, 6, 2001)
    exact = z * 0.5 * (1 + np.vectorize(math.erf)(z / np.sqrt(2)))
    assert 0 < np.abs(activate("gelu", z.copy())[0] - exact).max() < 5e-4


@pytest.mark.parametrize("view", [None, "pre_view", "output_view", "residual_view"])
@pytest.mark.parametrize("residual", [False, True], ids=["straight", "residual"])
@pytest.mark.parametrize("norm", [False, True], ids=["bias", "norm"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backward_is_the_finite_difference(activation, norm, residual, view, rng):
    dense = layer(rng, n=3, activation=activation, residual=residual)
    weight = None
    if norm:
        dense.norm = BatchNorm(3, float)
        dense.norm.gamma, dense.norm.beta = rng.normal(size=(2, 3))
        weight = rng.random(20)
    clamp = Clamp()
    clamp.limit, clamp.lower = 0.4, -0.3
    if view == "residual_view" and not residual:
        clamp.limit = -1e9  # of a layer that adds nothing, it has no say
    if view is not None:
        setattr(dense, view, clamp)
    x = rng.normal(size=(20, 3))
    dy = rng.normal(size=(20, 3))

    def run():
        return dense.forward(x, training=True, row_weight=weight)

    y, backward = run()
    if view == ("residual_view" if residual else "output_view"):
        assert 0 < ((y == clamp.limit) | (y == clamp.lower)).mean()
    assert view != "residual_view" or residual or y.max() > clamp.limit
    dx, gradient = backward(dy)
    assert set(gradient) == set(dense.parameters())
    arrays = {name: getattr(*where) for name, where in dense.parameters().items()}
    for name, ours in {"x": dx, **gradient}.items():
        array = x if name == "x" else arrays[name]
        numeric = numeric_gradient(lambda: (run()[0] * dy).sum(), array)
        np.testing.assert_allclose(ours, numeric, rtol=1e-5, atol=1e-7, err_msg=name)
    assert backward(dy, need_input=False)[0] is None


@pytest.mark.parametrize("norm", [False, True], ids=["bias", "norm"])
@pytest.mark.parametrize("residual", [False, True], ids=["straight", "residual"])
def test_bounds_are_where_units_end(residual, norm, rng):
    bound = np.array([0.3, np.inf, 0.8], np.float32)
    dense = layer(rng, n=3, residual=residual, bound=bound, norm=BatchNorm(3, float))
    dense.norm = dense.norm if norm else None
    dense.bias[:] = 0
    x, dy = rng.normal(size=(2, 20, 3))
    z = x @ dense.weight.T + dense.bias
    y, backward = dense.forward(x, training=True)
    if not norm:
        expected = np.clip(z, 0, bound)
        np.testing.assert_allclose(y, expected + residual * x)
        assert np.array_equal(y, dense.forward(x)[0])
    assert (y - residual * x)[:, [0, 2]].max(axis=0) == pytest.approx([0.3, 0.8])
    assert (y - residual * x)[:, 1].max() > 0.5
    dx, gradient = backward(dy)
    arrays = {name: getattr(*where) for name, where in dense.parameters().items()}
    for name, ours in {"x": dx, **gradient}.items():
        numeric = numeric_gradient(
            lambda: (dense.forward(x, training=True)[0] * dy).sum(),
            x if name == "x" else arrays[name],
        )
        np.testing.assert_allclose(ours, numeric, rtol=1e-5, atol=1e-7, err_msg=name)
    twin = dense.copy()
    assert not np.shares_memory(twin.bound, bound) and np.array_equal(twin.bound, bound)
    some = np.array([True, False, True])
    twin.keep(outputs=some, inputs=some if residual else None)
    assert twin.bound.tolist() == bound[[0, 2]].tolist()
    before = dense.forward(x)[0]
    dense.fold_norm()
    np.testing.assert_allclose(dense.forward(x)[0], before, rtol=1e-5, atol=1e-6)
    small = dense.copy()
    small.astype(np.float32)
    assert small.forward(x.astype(np.float32))[0].dtype == np.float32


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_reused_arrays_hold_the_same_numbers(activation, residual, rng):
    dense = layer(rng, n=3, activation=activation, residual=residual)
    scratch = Scratch()
    out = {"weight": np.full((3, 3), np.nan), "bias": np.full(3, np.nan)}
    for _ in range(3):
        x, dy = rng.normal(size=(2, 6, 3))
        y, backward = dense.forward(x, training=True)
        again, with_scratch = dense.forward(x, training=True, scratch=scratch)
        assert np.array_equal(y, again)
        dx, gradient = backward(dy)
        reused_dx, reused = with_scratch(dy, out=out)
        assert np.array_equal(dx, reused_dx)
        for name, values in gradient.items():
            assert reused[name] is out[name] and np.array_equal(values, out[name])
    if activation == "relu":
        assert again is dense.forward(x, training=True, scratch=scratch)[0]


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


def test_a_table_in_training_is_rounding_on_both_sides(rng):
    """Before the activation and after it: what a quantized table computes, gradients through."""

    class Grid:
        def __init__(self, lower, limit):
            self.lower, self.limit, self.step = lower, limit, (limit - lower) / 127

        def __call__(self, values):
            steps = np.rint((np.clip(values, self.lower, self.limit) - self.lower) / self.step)
            return self.lower + steps * self.step

    before, after = Grid(-3.0, 2.0), Grid(-0.2, 1.5)
    dense = layer(rng, activation="gelu", pre_view=before, output_view=after)
    x, dy = rng.normal(size=(50, 3)), rng.normal(size=(50, 4))
    z = x @ dense.weight.T + dense.bias
    rounded = before(z)
    activated = DEFINITIONS["gelu"](rounded)
    y, backward = dense.forward(x, training=True)
    np.testing.assert_allclose(y, after(activated))
    np.testing.assert_allclose(dense.forward(x)[0], y)
    step = 1e-6
    slope = DEFINITIONS["gelu"](rounded + step) - DEFINITIONS["gelu"](rounded - step)
    slope /= 2 * step
    inside = (z >= -3) & (z <= 2) & (activated >= -0.2) & (activated <= 1.5)
    assert 0 < inside.mean() < 1
    expected = (dy * slope * inside).sum(axis=0)
    np.testing.assert_allclose(backward(dy)[1]["bias"], expected, rtol=1e-6)


def test_keep_of_a_residual_layer_keeps_both_sides_alike(rng):
    dense = layer(rng, n=3, residual=True)
    some, others = np.array([True, False, True]), np.array([True, True, False])
    for arguments in ({"outputs": some}, {"inputs": some}, {"outputs": some, "inputs": others}):
        with pytest.raises(FarthingError, match="dense0: adds its inputs to its outputs"):
            dense.keep(**arguments)
        assert dense.weight.shape == (3, 3)
    weight = dense.weight.copy()
    dense.keep(outputs=some, inputs=some)
    assert np.array_equal(dense.weight, weight[np.ix_(some, some)])
    dense.keep()


def test_fold_norm_is_the_evaluation(rng):
    dense = Dense("dense0", *(a.astype(np.float32) for a in (rng.normal(size=(4, 3)), np.ones(4))))
    dense.norm = BatchNorm(4)
    dense.norm.gamma[:], dense.norm.beta[:] = rng.normal(size=(2, 4))
    dense.set_mask(rng.random((4, 3)) < 0.5)
    x = rng.normal(3, 2, size=(50, 3)).astype(np.float32)
    for _ in range(5):
        dense.forward(x, training=True)
    twin = dense.copy()
    assert twin.norm is not dense.norm and not np.shares_memory(twin.norm.mean, dense.norm.mean)
    before = dense.forward(x)[0]
    dense.fold_norm()
    assert dense.norm is None and dense.weight.dtype == dense.bias.dtype == np.float32
    np.testing.assert_allclose(dense.forward(x)[0], before, rtol=1e-5, atol=1e-5)
    assert not dense.weight[~dense.mask].any()
    dense.fold_norm()
    twin.keep(outputs=np.array([True, False, False, True]))
    np.testing.assert_allclose(twin.forward(x)[0], before[:, [0, 3]], rtol=1e-6)


def test_signs_hold_through_a_normalisation(rng):
    dense = layer(rng, norm=BatchNorm(4, float), sign=np.ones((4, 3), np.int8))
    dense.norm.gamma[:2] = -1
    dense.project()
    assert dense.norm.gamma.tolist() == [0, 0, 1, 1]
    dense.fold_norm()
    assert (dense.weight >= 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"activation": "selu"}, "activation must be one of linear, relu, tanh"),
        (
            {"activation": "tanh", "bound": np.ones(4)},
            "dense0: bound must be None with .* tanh",
        ),
        ({"residual": True}, "dense0: a residual layer must have as many outputs as inputs, got 4"),
    ],
)
def test_layers_that_cannot_be(fields, message, rng):
    with pytest.raises(FarthingError, match=message):
        layer(rng, **fields)


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
        pre_view=Clamp(),
        output_view=Clamp(),
        residual_view=Clamp(),
    )
    twin = dense.copy()
    assert twin.weight_view is None and twin.pre_view is None
    assert twin.output_view is None and twin.residual_view is None
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
