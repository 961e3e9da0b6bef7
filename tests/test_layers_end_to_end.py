"""Estimators with every kind of layer, from fit to the file that they predict through."""

import copy
from functools import cache

import credit
import numpy as np
import pytest
from test_export import records, tensors_of

import farthing
from farthing.quantization.formats import WeightFormat
from farthing.quantization.views import set_views

# "bounded": ReLU, of which every third unit has a bound that many rows reach.
ACTIVATIONS = ("relu", "bounded", "tanh", "gelu", "silu", "sigmoid")
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
    if activation == "bounded":
        return bounded(fitted(kind, "relu", residual, **options))
    options = {"hidden": (16, 16), "max_epochs": 3, "random_state": 0} | options
    options |= {"activation": activation, "residual": residual}
    if kind in ("binary", "multiclass"):
        model = farthing.Classifier(**options)
    else:
        model = farthing.Regressor(loss="poisson" if kind == "mean" else "squared", **options)
    return model.fit(credit.data()[0], target(kind))


def bounded(model):
    """The same with bounds, some of which the rows pass."""
    model = copy.deepcopy(model)
    encoder = model.model_.encoder
    x = encoder.expand(encoder.positions(credit.data()[0]))
    for layer in model.model_.layers[:-1]:
        layer.bound = np.quantile(np.maximum(x @ layer.weight.T + layer.bias, 0), 0.7, axis=0)
        layer.bound[np.arange(layer.n_outputs) % 3 != 2] = np.inf
        layer.bound = layer.bound.astype(np.float32)
        x, _ = layer.forward(x)
    model._forget_scorer()
    return model


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
    behind = {"relu": [], "bounded": [10]}.get(activation, [7])
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
            is_relu = activation in ("relu", "bounded")
            assert record.get("activation", 0) == int(is_relu and not last)
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


@pytest.mark.parametrize("bits", [32, 8])
def test_the_first_layer_has_nothing_to_add(bits):
    X, y = credit.data()
    model = farthing.Classifier(hidden=(4,), max_epochs=1, random_state=0).fit(X, y).model_
    layer = model.layers[0]
    layer.keep(inputs=np.arange(layer.n_inputs) < 4)
    layer.residual = True
    if bits == 8:
        model = farthing.Classifier(hidden=(5,), encoder=None, max_epochs=1, random_state=0)
        model = model.fit(X, y).model_
        model.layers[0].residual = True
        small = {"X": X, "activation_bits": 8}
    with pytest.raises(farthing.FarthingError, match="dense0: a residual layer must follow"):
        tensors_of(model) if bits == 32 else farthing.quantize(model, **small)


def test_a_standardised_input_may_be_added():
    X, y = credit.data()
    model = farthing.Classifier(hidden=(5,), encoder=None, max_epochs=1, random_state=0).fit(X, y)
    model.model_.layers[0].residual = True
    model._forget_scorer()
    expected = linked(model.model_.forward(X), "sigmoid")
    np.testing.assert_allclose(scores(model, X), expected, atol=1e-6)


# ---- integers -------------------------------------------------------------------------------

FUNCTIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "gelu": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
}


def on_grid(values, grid, amax):
    return grid.offset + grid.scale * np.clip(np.rint((values - grid.offset) / grid.scale), 0, amax)


def in_real_numbers(model, X):
    """The score in float64 from the real values that weights and grids stand for."""
    network = model.model_
    amax = network.input_amax
    encoder = network.encoder
    x = encoder.expand(encoder.positions(X, amax)).astype(np.float64)
    for layer in network.layers:
        q = layer.quantized
        weight = q.values * q.scale[:, None].astype(np.float64)
        if q.group_scales is not None:
            weight *= np.repeat(q.group_scales, q.group_size, axis=1)[:, : weight.shape[1]]
        y = x @ weight.T + layer.bias
        if layer is network.layers[-1]:
            break
        if layer.activation != "relu":
            y = on_grid(y, layer.pre_grid, amax)
        y = FUNCTIONS[layer.activation](y)
        if layer.bound is not None:
            y = np.minimum(y, layer.bound)
        if layer.residual:
            y = on_grid(y, layer.value_grid, amax) + x
        x = on_grid(y, layer.output_grid, amax)
    return linked(y, network.link)


SETTINGS = [
    {"weight_bits": 8},
    {"weight_bits": 8, "activation_bits": 8},
    {"weight_bits": 4, "activation_bits": 8},
    {"weight_bits": 8, "training": "qat", "epochs": 2},
    {"weight_bits": 4, "training": "qat", "epochs": 2, "activation_bits": 8},
]


def setting_name(setting):
    return "-".join(map(str, setting.values()))


@pytest.mark.parametrize("setting", SETTINGS, ids=setting_name)
@pytest.mark.parametrize("residual", [False, True], ids=["straight", "residual"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_integers_stand_for_the_layers(activation, residual, setting, tmp_path):
    X, y = credit.data()
    model = fitted("binary", activation, residual)
    small = farthing.quantize(model, X, **setting)
    ours = scores(small, X)
    # float32 and float64 may round a sum between two integers to either: rarely.
    apart = np.abs(ours - in_real_numbers(small, X))
    assert np.quantile(apart, 0.97) < 1e-6
    assert np.array_equal(from_file(small, tmp_path).predict(X), ours.astype(np.float32))
    auc = [farthing.metrics.auc(y, p) for p in (scores(model, X), ours)]
    assert auc[1] > auc[0] - (0.001 if setting["weight_bits"] == 8 else 0.005)
    difference = np.abs(scores(model, X) - ours).mean() / scores(model, X).std()
    assert difference < (0.03 if setting["weight_bits"] == 8 else 0.12)
    for layer in small.model_.layers:
        views = (layer.weight_view, layer.pre_view, layer.output_view, layer.residual_view)
        assert views == (None,) * 4


@pytest.mark.parametrize("residual", [False, True], ids=["straight", "residual"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_target_is_quantized(kind, activation, residual, tmp_path):
    X, _ = credit.data()
    model = fitted(kind, activation, residual)
    small = farthing.quantize(model, X)
    ours, floats = scores(small, X), scores(model, X)
    assert np.quantile(np.abs(ours / in_real_numbers(small, X) - 1), 0.97) < 2e-5
    assert np.array_equal(from_file(small, tmp_path).predict(X), ours.astype(np.float32))
    assert np.abs(ours - floats).mean() < 0.03 * floats.std()


@pytest.mark.parametrize("activation", ["relu", "bounded", "gelu", "tanh"])
def test_groups_of_weights(activation, tmp_path):
    X, _ = credit.data()
    model = fitted("binary", activation, True, hidden=(70, 70), max_epochs=1)
    small = farthing.quantize(model, X, weight_bits=4, group_size=32)
    assert small.model_.layers[1].quantized.group_scales is not None
    apart = np.abs(scores(small, X) - in_real_numbers(small, X))
    assert np.quantile(apart, 0.95) < 1e-6
    assert np.array_equal(
        from_file(small, tmp_path).predict(X), scores(small, X).astype(np.float32)
    )


def test_training_sees_what_the_file_computes():
    """The views' forward pass is the integers' score."""
    X, _ = credit.data()
    for activation in ACTIVATIONS:
        small = farthing.quantize(fitted("binary", activation, True), X, calibrate=False)
        network = small.model_.copy()
        for layer in network.layers:
            set_views(layer, WeightFormat(8, 64, None), 127)
        # The weights lie on their grids already, so that the views change none.
        apart = np.abs(linked(network.forward(X), "sigmoid") - scores(small, X))
        assert np.quantile(apart, 0.95) < 1e-5, activation


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_training_recovers_what_rounding_loses(activation):
    X, _ = credit.data()
    model = fitted("binary", activation, True)
    distance = []
    for training in (None, "qat"):
        small = farthing.quantize(model, X, weight_bits=4, training=training, calibrate=False)
        distance.append(np.abs(scores(small, X) - scores(model, X)).mean())
    assert distance[1] < 0.9 * distance[0]


def test_quantizing_again_starts_anew():
    X, _ = credit.data()
    model = fitted("binary", "gelu", True)
    once = farthing.quantize(model, X, activation_bits=8, weight_max=127)
    again = farthing.quantize(once, X, weight_bits=4)
    assert again.model_.activation_bits == 7
    layer, before = again.model_.layers[1], once.model_.layers[1]
    assert layer.pre_grid != before.pre_grid and layer.output_grid != before.output_grid
    assert np.quantile(np.abs(scores(again, X) - in_real_numbers(again, X)), 0.95) < 1e-6


# ---- embeddings -----------------------------------------------------------------------------


@cache
def shops(n=4000, seed=5):
    """60 shops of their own risk, an amount, and whether it failed."""
    rng = np.random.default_rng(seed)
    shop, amount = rng.integers(0, 60, n), rng.normal(size=n)
    risk = rng.normal(size=60)
    y = (rng.random(n) < 1 / (1 + np.exp(-1.5 * risk[shop] - amount + 1))).astype(int)
    X = np.column_stack([shop, amount])
    X[rng.random(n) < 0.05, 0] = np.nan
    return X, y


@cache
def embedded(activation="relu", hidden=(16,)):
    X, y = shops()
    model = farthing.Classifier(
        hidden=hidden,
        categorical_features=[0],
        min_frequency=20,
        activation=activation,
        max_epochs=8,
        random_state=0,
    ).fit(X, y)
    assert model.model_.encoder.embeddings_
    return model


@pytest.mark.parametrize(
    "setting", [*SETTINGS, {"weight_bits": 4, "group_size": 32}], ids=setting_name
)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_embeddings_in_integers(setting, activation, tmp_path):
    X, y = shops()
    model = embedded(activation, (40, 8) if "group_size" in setting else (16,))
    before = {j: table.copy() for j, table in model.model_.encoder.embeddings_.items()}
    small = farthing.quantize(model, X, **setting)
    amax = small.model_.input_amax
    for j, table in small.model_.encoder.embeddings_.items():
        codes = np.rint(table * amax)
        assert codes.min() == 0 and codes.max() == amax
        np.testing.assert_allclose(table, codes / amax, atol=1e-7)
        assert np.array_equal(model.model_.encoder.embeddings_[j], before[j])
    unseen = X.copy()
    unseen[:50, 0], unseen[50:60, 0] = 999, np.inf
    for rows in (X, unseen):
        ours = scores(small, rows)
        assert np.quantile(np.abs(ours - in_real_numbers(small, rows)), 0.97) < 1e-6
        assert np.array_equal(from_file(small, tmp_path).predict(rows), ours.astype(np.float32))
    auc = [farthing.metrics.auc(y, scores(m, X)) for m in (model, small)]
    assert auc[0] > 0.75 and auc[1] > auc[0] - (0.002 if setting["weight_bits"] == 8 else 0.006)


def test_embeddings_need_no_rows_without_a_hidden_layer():
    X, _ = shops()
    model = embedded("relu", ())
    small = farthing.quantize(model, weight_max=127, activation_bits=8)
    np.testing.assert_allclose(scores(small, X), scores(model, X), atol=0.01)
    again = farthing.quantize(small, weight_max=127, activation_bits=8)
    np.testing.assert_allclose(scores(again, X), scores(model, X), atol=0.01)


# ---- later steps ----------------------------------------------------------------------------


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("activation", ["bounded", "tanh", "gelu", "sigmoid"])
def test_constant_neurons_answer_by_their_activation(activation, quantized):
    X, _ = credit.data()
    model = credit.with_constant_neurons(fitted("binary", activation, False))
    if quantized:
        model = farthing.quantize(model, X)
    small = farthing.prune(model, sparsity=0.0, pattern="neuron")
    assert [layer.n_outputs for layer in small.model_.layers] == [13, 16, 1]
    apart = np.abs(scores(small, X) - scores(model, X))
    assert np.quantile(apart, 0.9) < 1e-6


def test_neurons_of_residual_layers_stay():
    with pytest.raises(ValueError, match="'neuron' needs a model without residual layers"):
        farthing.prune(fitted("binary", "relu", True), sparsity=0.5, pattern="neuron")


@pytest.mark.parametrize("quantized", [False, True])
def test_weights_of_residual_layers_are_pruned(quantized, tmp_path):
    X, _ = credit.data()
    model = fitted("binary", "silu", True)
    if quantized:
        model = farthing.quantize(model, X)
    small = farthing.prune(model, sparsity=0.6)
    assert np.array_equal(
        from_file(small, tmp_path).predict(X), scores(small, X).astype(np.float32)
    )
    if quantized:
        apart = np.abs(scores(small, X) - in_real_numbers(small, X))
        assert np.quantile(apart, 0.95) < 1e-6
