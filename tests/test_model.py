import numpy as np
import pytest

from farthing import FarthingError
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.layers import QuantizedWeight
from farthing.model import Model


def build(rng, hidden=(8, 4), **fields):
    encoder = PiecewiseLinearEncoder().fit(rng.normal(size=(200, 3)))
    return Model.build(encoder, hidden, seed=1, **fields)


def test_build_sets_sizes_names_and_bias(rng):
    model = build(rng, n_outputs=2, link="identity", output_bias=0.5)
    assert [layer.name for layer in model.layers] == ["dense0", "dense1", "dense2"]
    assert [layer.weight.shape for layer in model.layers] == [(8, 48), (4, 8), (2, 4)]
    assert [layer.activation for layer in model.layers] == ["relu", "relu", "linear"]
    assert all(layer.weight.dtype == np.float32 for layer in model.layers)
    assert model.layers[-1].bias.tolist() == [0.5, 0.5]
    assert (model.n_features, model.n_outputs, model.is_quantized) == (3, 2, False)


def test_build_of_normalised_residual_layers(rng):
    model = build(rng, (8, 8, 4, 4), activation="silu", batch_norm=True, residual=True)
    assert [layer.activation for layer in model.layers] == ["silu"] * 4 + ["linear"]
    assert [layer.residual for layer in model.layers] == [False, True, False, True, False]
    assert [layer.norm is not None for layer in model.layers] == [True] * 4 + [False]
    twin = model.copy()
    assert [layer.residual for layer in twin.layers] == [layer.residual for layer in model.layers]
    assert twin.layers[0].norm is not model.layers[0].norm
    X = rng.normal(size=(20, 3))
    assert np.array_equal(twin.forward(X), model.forward(X))
    rows = model.summary().splitlines()
    assert "dense1  8 x 8   silu + x" in rows[3] and "dense2  4 x 8   silu   " in rows[4]
    plain = build(rng, (8, 8), residual=False)
    assert not any(layer.residual or layer.norm for layer in plain.layers)


def test_rescale_output_of_a_residual_model(rng):
    model = build(rng, (8, 8), residual=True, activation="tanh")
    X = rng.normal(size=(20, 3))
    before = model.forward(X)
    model.rescale_output(2.5, -1)
    np.testing.assert_allclose(model.forward(X), 2.5 * before - 1, rtol=1e-5, atol=1e-5)


def test_build_refuses_an_unknown_activation(rng):
    with pytest.raises(FarthingError, match=r"activation must be one of .* got 'swish'"):
        build(rng, activation="swish")


def test_build_repeats_by_seed(rng):
    encoder = Standardizer().fit(rng.normal(size=(9, 2)))
    first, again, other = (Model.build(encoder, (4,), seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.layers[0].weight, again.layers[0].weight)
    assert not np.array_equal(first.layers[0].weight, other.layers[0].weight)


def test_build_refuses_an_encoder_without_columns():
    says = "X must have a column that varies by 7.5e-37 or more, .* got smaller spreads, constants"
    tiny = np.arange(5.0)[:, None] * 1e-40
    for X in (np.ones((5, 2)), np.full((5, 1), np.nan), tiny):
        with pytest.raises(FarthingError, match=says):
            Model.build(PiecewiseLinearEncoder().fit(X))
    Model.build(PiecewiseLinearEncoder().fit([[0.0], [7.6e-37]]))
    with pytest.raises(FarthingError, match=says):
        Model.build(PiecewiseLinearEncoder().fit([[0.0], [7.4e-37]]))


def test_forward_is_the_layers_in_order_whatever_the_number_of_rows(rng):
    model = build(rng)
    X = rng.normal(size=(2500, 3))
    x = model.encoder.expand(model.encoder.positions(X))
    for layer in model.layers[:-1]:
        x = np.maximum(x @ layer.weight.T + layer.bias, 0)
    expected = x @ model.layers[-1].weight.T + model.layers[-1].bias
    z = model.forward(X)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.forward(X[:1]), expected[:1], rtol=1e-4, atol=1e-5)
    assert model.forward(np.empty((0, 3))).shape == (0, 1)


def test_forward_of_a_quantized_model_rounds_the_input(rng):
    model = build(rng)
    X = rng.normal(size=(50, 3))
    fine = model.forward(X)
    model.activation_bits = 7
    coarse = model.forward(X)
    positions = model.encoder.positions(X, 127)
    np.testing.assert_allclose(coarse, model.forward_positions(positions), rtol=1e-5)
    assert not np.allclose(coarse, fine, rtol=1e-5)


def test_copy_shares_nothing(rng):
    model = build(rng, feature_names=("a", "b", "c"))
    X = rng.normal(size=(20, 3))
    before = model.forward(X)
    twin = model.copy()
    for layer in twin.layers:
        layer.weight[:] = 0
    twin.encoder.edges_[0][:] = 0
    assert np.array_equal(model.forward(X), before)
    assert twin.feature_names == ("a", "b", "c")


@pytest.mark.parametrize("quantized", [False, True])
def test_rescale_output(quantized, rng):
    model = build(rng)
    last = model.layers[-1]
    if quantized:
        values = rng.integers(-7, 8, last.weight.shape).astype(np.int8)
        last.quantized = QuantizedWeight(4, 7, values, np.array([0.1], np.float32))
        last.weight = last.quantized.dequantize()
    X = rng.normal(size=(20, 3))
    before = model.forward(X)
    model.rescale_output(2.5, -1)
    np.testing.assert_allclose(model.forward(X), 2.5 * before - 1, rtol=1e-5, atol=1e-5)
    if quantized:
        assert np.array_equal(last.weight, last.quantized.dequantize())
        assert np.array_equal(last.quantized.values, values)


@pytest.mark.parametrize(("slope", "intercept"), [(0, 0), (-1, 0), (np.nan, 0), (1, np.inf)])
def test_rescale_output_refuses(slope, intercept, rng):
    with pytest.raises(FarthingError, match="slope"):
        build(rng).rescale_output(slope, intercept)


def test_summary_is_an_aligned_table(rng):
    model = build(rng)
    first, second = model.layers[:2]
    first.mask = np.arange(first.weight.size).reshape(first.weight.shape) % 4 == 0
    first.weight *= first.mask
    second.quantized = QuantizedWeight(8, 64, np.ones((4, 8), np.int8), np.ones(4, np.float32))
    title, *table = model.summary().splitlines()
    assert title == "3 features, 48 inputs, sigmoid link"
    assert table == [
        "layer   shape   activation  weights  non-zero  bits  pattern",
        "dense0  8 x 48  relu            384        96    32  unstructured",
        "dense1  4 x 8   relu             32        32     8  dense",
        "dense2  1 x 4   linear            4         4    32  dense",
        "total                           420       132",
    ]
