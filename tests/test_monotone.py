"""Monotone models: their signs, the weights that training starts from, and what is fitted."""

import credit
import numpy as np
import pytest
from monotone_models import DIRECTIONS, check, monotone, violations

import farthing
from farthing.certificate import certify
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.model import Model
from farthing.monotone import (
    BOUND,
    BOUNDED_DEVIATION,
    DEVIATION,
    HIDDEN_DEVIATION,
    OUTPUT_DEVIATION,
    constrain,
    resolve_constraints,
)

# ---- constraints ------------------------------------------------------------------------------


def test_names_and_indices_are_resolved():
    names = ("age", "late", "limit")
    assert resolve_constraints(None, 3) == resolve_constraints({}, 3, names) == {}
    assert resolve_constraints({"limit": -1, 1: 1, "age": 0}, 3, names) == {1: 1, 2: -1}
    assert resolve_constraints({np.int64(2): np.int8(-1)}, 3) == {2: -1}
    assert resolve_constraints({0: 1, 1: 0}, 3, categorical=[1]) == {0: 1}


@pytest.mark.parametrize(
    ("constraints", "names", "message"),
    [
        ({"lat": 1}, ("a", "b", "late"), "monotone_constraints must hold names .* got 'lat'"),
        ({0: 2}, None, r"monotone_constraints\[0\] must be one of 1, -1, 0, got 2"),
        ({"a": "up"}, ("a", "b", "c"), r"monotone_constraints\['a'\] must be one of 1, -1, 0"),
        ({0: True}, None, "must be one of 1, -1, 0, got True"),
        ({0: 0.5}, None, "must be one of 1, -1, 0, got 0.5"),
        ({"b": 1, 1: 1}, ("a", "b", "c"), "must hold a column once, got column 'b' twice"),
        ({"c": -1}, ("a", "b", "c"), r"\['c'\] must be 0 or absent: the column is categorical"),
    ],
)
def test_bad_constraints_are_refused(constraints, names, message):
    with pytest.raises(ValueError, match=message):
        resolve_constraints(constraints, 3, names, categorical=[2])


@pytest.mark.parametrize("constraints", [[1, -1, 0], 1, "late", {1.0: 1}, {None: 1}, {True: 1}])
def test_constraints_of_other_types_are_refused(constraints):
    with pytest.raises(TypeError, match="monotone_constraints must"):
        resolve_constraints(constraints, 3)


# ---- signs and starting weights ---------------------------------------------------------------


def rows(n=3000, features=4, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)
    X[::7, 1] = np.nan
    return X


def built(hidden, encoder=None, X=None, output_bias=0.0, link="identity", directions=None, **more):
    X = rows() if X is None else X
    encoder = PiecewiseLinearEncoder(5) if encoder is None else encoder
    model = Model.build(encoder.fit(X), hidden, link=link, output_bias=output_bias, seed=3, **more)
    constrain(model, {0: 1, 1: -1} if directions is None else directions, X, seed=5)
    return model


def is_monotone(model, feature, direction, X):
    """Whether raising a feature never moves the output against the direction, in numpy."""
    rng = np.random.default_rng(feature)
    low, high = X.copy(), X.copy()
    low[:, feature], high[:, feature] = np.sort(rng.uniform(-4, 4, (2, len(X))), axis=0)
    change = direction * (model.forward(high) - model.forward(low))
    return change.min() > -1e-5 and change.max() > 1e-3


@pytest.mark.parametrize("hidden", [(), (1,), (6,), (8, 5), (4, 4, 4)])
@pytest.mark.parametrize("encoder", [PiecewiseLinearEncoder, Standardizer])
def test_signs_make_every_such_model_monotone(hidden, encoder):
    """With any weights that have the signs, not only those of the start."""
    model = built(hidden, encoder())
    rng = np.random.default_rng(1)
    for layer in model.layers:
        drawn = rng.normal(size=layer.weight.shape).astype(np.float32)
        layer.weight = np.where(layer.sign == 0, drawn, np.abs(drawn) * layer.sign)
        layer.bias = rng.normal(size=layer.bias.shape).astype(np.float32)
    assert is_monotone(model, 0, 1, rows(seed=2))
    assert is_monotone(model, 1, -1, rows(seed=2))


def test_only_what_must_be_is_constrained():
    model = built((6, 4))
    first, *later = model.layers
    bins = model.encoder.bins_
    assert model.encoder.missing_.tolist() == [1]
    free = np.ones(first.n_inputs, bool)
    free[: bins[0] + bins[1]] = False  # the missing column of feature 1 comes after its bins
    assert (first.sign[:, free] == 0).all() and (first.sign[:, ~free] != 0).all()
    assert first.weight[:, free].min() < 0 < first.weight[:, free].max()
    for layer in later:
        assert (layer.sign != 0).all()
    for layer in model.layers[:-1]:  # convex and concave units, as many of each
        assert sorted(layer.sign[:, 0].tolist()) == sorted([1, -1] * (layer.n_outputs // 2))


def test_every_third_rectifier_is_bounded_in_either_direction():
    model = built((12, 2))
    first, second, last = model.layers
    bounded = first.bound < np.inf
    assert (
        np.flatnonzero(bounded).tolist() == [2, 5, 8, 11] and (first.bound[bounded] == BOUND).all()
    )
    assert sorted(first.sign[bounded, 0].tolist()) == [-1, -1, 1, 1]
    assert (second.bound == np.inf).all() and last.bound is None


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_other_units_are_bounded_by_themselves(activation):
    model = built((6, 3), activation=activation)
    assert all(layer.bound is None for layer in model.layers)
    z = model.encoder.expand(model.encoder.positions(rows())) @ model.layers[0].weight.T
    np.testing.assert_allclose(z.std(axis=0), DEVIATION[activation], rtol=0.1)


@pytest.mark.parametrize("residual", [False, True], ids=["straight", "residual"])
@pytest.mark.parametrize("norm", [False, True], ids=["bias", "norm"])
@pytest.mark.parametrize("hidden", [(), (16,), (16, 8, 8)])
@pytest.mark.parametrize("encoder", [PiecewiseLinearEncoder, Standardizer])
def test_units_start_centred_with_one_deviation(encoder, hidden, norm, residual):
    X = rows(1500)  # fewer than the sample, so that all of them are in it
    model = built(hidden, encoder(), X, output_bias=2.5, batch_norm=norm, residual=residual)
    x = model.encoder.expand(model.encoder.positions(X))
    for i, layer in enumerate(model.layers):
        z = x @ layer.weight.T
        z = z + layer.bias if layer.norm is None else layer.norm.forward(z)[0]
        last = layer is model.layers[-1]
        third = np.arange(layer.n_outputs) % 3 == 2
        middle = 2.5 if last else np.where(third, BOUND / 2, 0)
        np.testing.assert_allclose(z.mean(axis=0), middle, atol=1e-4)
        deviation = np.where(third, BOUNDED_DEVIATION, HIDDEN_DEVIATION)
        np.testing.assert_allclose(
            z.std(axis=0), OUTPUT_DEVIATION if last else deviation, rtol=1e-3
        )
        assert (layer.weight * layer.sign >= 0).all()
        y = np.clip(z, 0, np.where(third, BOUND, np.inf))
        x = y + x if residual and i == 2 and not last else y


def test_no_unit_starts_without_weights():
    X = rows(200)[:, :1]
    for hidden in ((32,), (3, 3, 3)):
        model = built(hidden, Standardizer(), X, directions={0: -1})
        for layer in model.layers:
            assert layer.weight.any(axis=1).all()


def test_the_start_repeats_and_rests_on_its_seed():
    X = rows(5000)
    first, second = built((4,), X=X), built((4,), X=X)
    other = Model.build(first.encoder, (4,), link="identity", seed=3)
    constrain(other, {0: 1, 1: -1}, X, seed=6)
    assert np.array_equal(first.layers[0].weight, second.layers[0].weight)
    assert not np.array_equal(first.layers[0].weight, other.layers[0].weight)


def test_without_directions_nothing_changes():
    model = built((4,), directions={})
    plain = Model.build(model.encoder, (4,), link="identity", seed=3)
    for ours, theirs in zip(model.layers, plain.layers, strict=True):
        assert ours.sign is None and np.array_equal(ours.weight, theirs.weight)


def test_models_that_cannot_be_monotone_are_refused():
    X = rows()
    encoder = PiecewiseLinearEncoder().fit(X)
    with pytest.raises(ValueError, match="several outputs"):
        constrain(Model.build(encoder, (4,), n_outputs=3, link="softmax"), {0: 1}, X)
    model = Model.build(encoder, (4,))
    model.layers[0].activation = "gelu"
    with pytest.raises(ValueError, match="activation 'gelu', which is not monotone"):
        constrain(model, {0: 1}, X)


# ---- estimators -------------------------------------------------------------------------------


def test_a_fitted_model_is_monotone(tmp_path):
    check(monotone(), tmp_path)
    check(monotone(quantized=True), tmp_path)


def test_brute_force_finds_a_model_that_is_not(tmp_path):
    model = credit.fitted()
    assert violations(model._scorer(), DIRECTIONS) > 100
    assert set(certify(model._scorer())).isdisjoint(DIRECTIONS)
    with pytest.raises(ValueError, match="declares no monotone constraints"):
        model.certify_monotone()


def test_one_wrong_weight_is_noticed():
    model = farthing.quantize(monotone(), credit.data()[0])
    assert all(model.certify_monotone().values())
    layer = model.model_.layers[0]
    unit = int(np.argmax(np.abs(model.model_.layers[1].weight).sum(axis=0)))
    column = int(np.flatnonzero(model.model_.encoder._position_of_column == 1)[1])
    layer.quantized.values[unit, column] = -layer.sign[unit, column]
    model._forget_scorer()
    assert model.certify_monotone() == {0: True, 1: False, 2: True}


@pytest.mark.parametrize("hidden", [(), (5,)])
@pytest.mark.parametrize("encoder", ["piecewise_linear", None])
@pytest.mark.parametrize("kind", [farthing.Classifier, farthing.Regressor])
def test_every_kind_of_estimator_is_monotone(kind, encoder, hidden, tmp_path):
    X, y = credit.data()
    target = y if kind is farthing.Classifier else 3 * y + np.log(X[:, 0])
    directions = {1: 1, 2: -1}
    model = kind(hidden, encoder, max_epochs=3, random_state=0, monotone_constraints=directions)
    model.fit(X, target)
    check(model, tmp_path, directions)
    check(farthing.quantize(model, X, weight_bits=4), tmp_path, directions)


def test_names_are_declared_by_name(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = credit.data()
    table = pandas.DataFrame(X, columns=credit.FEATURES)
    constraints = {"late": 1, 2: -1, "age": 0}
    model = farthing.Classifier((4,), max_epochs=1, monotone_constraints=constraints)
    model.fit(table, y)
    assert model.certify_monotone() == {"late": True, "limit": True}
    assert model._scorer().describe()["monotone"] == {"late": 1, "limit": -1}
    with pytest.raises(ValueError, match="must hold names of columns of X"):
        model.set_params(monotone_constraints={"lates": 1}).fit(table, y)


def test_the_other_class_turns_directions_round(tmp_path):
    model = farthing.prune(monotone(), sparsity=0.3).set_params(positive=0)
    check(model, tmp_path, {0: 1, 1: -1, 2: 1})
    check(farthing.quantize(model, credit.data()[0]), tmp_path, {0: 1, 1: -1, 2: 1})
    model.set_params(positive=1)
    check(model, tmp_path)


def test_monotone_training_repeats():
    X, y = credit.data()
    params = monotone().get_params()
    again = farthing.Classifier(**params).fit(X, y)
    assert again._bytes() == monotone()._bytes()


def test_exact_solutions_have_no_directions():
    X, y = np.arange(6.0)[:, None], np.arange(6.0)
    model = farthing.Regressor((), None, monotone_constraints={0: 1}, max_epochs=1).fit(X, y)
    assert model.certify_monotone() == {0: True}
    model.set_params(solver="exact")
    with pytest.raises(ValueError, match="'exact' needs monotone_constraints=None"):
        model.fit(X, y)
    model.set_params(monotone_constraints=None).fit(X, y)
    with pytest.raises(ValueError, match="declares no monotone constraints"):
        model.certify_monotone()


@pytest.mark.parametrize("encoder", ["piecewise_linear", None])
def test_a_column_that_never_varied_has_no_effect(encoder):
    X, y = credit.data()
    X = np.where(np.arange(5) == 1, 1.0, X)
    model = farthing.Classifier(
        (4,), encoder, max_epochs=1, monotone_constraints={0: -1, 1: 1}
    ).fit(X, y)
    assert model.certify_monotone() == {0: True, 1: True}
    assert certify(model._scorer())[1] == 0


def test_a_monotone_model_learns_a_monotone_function():
    """Better than the straight line, on a function that saturates and has a corner."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (4000, 3))
    y = np.minimum(X[:, 0], X[:, 1]) - np.tanh(3 * X[:, 2])
    signs = {0: 1, 1: 1, 2: -1}
    model = farthing.Regressor((32, 16), monotone_constraints=signs, random_state=0)
    assert model.fit(X[:3000], y[:3000]).score(X[3000:], y[3000:]) > 0.99


def test_one_hidden_layer_learns_joint_effects_that_level_off(monkeypatch):
    """Sums of convex and concave units cannot."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    y = np.clip(X.sum(axis=1), -1, 1)
    directions = dict.fromkeys(range(3), 1)
    model = farthing.Regressor((24,), monotone_constraints=directions, random_state=0)
    bounded = model.fit(X[:3000], y[:3000]).score(X[3000:], y[3000:])
    monkeypatch.setattr("farthing.monotone.BOUND", np.inf)
    assert bounded > 0.97 > 0.95 > model.fit(X[:3000], y[:3000]).score(X[3000:], y[3000:])
