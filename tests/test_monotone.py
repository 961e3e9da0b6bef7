"""Monotone models: signs, the weights training starts from, and every step that must keep them."""

import ast
import inspect
from functools import cache
from pathlib import Path

import credit
import numpy as np
import pytest

import farthing
from farthing.certificate import certify
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.model import Model
from farthing.monotone import HIDDEN_DEVIATION, OUTPUT_DEVIATION, constrain, resolve_constraints
from farthing.units import PATTERNS, kind_of

# Of credit.FEATURES: income, late and limit (which has missing values); age and noise are free.
DIRECTIONS = {0: -1, 1: 1, 2: -1}
PAIRS = 10_000

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
        ({"late": 1}, None, "must use indices, 0 to 2, .* got 'late'"),
        ({"lat": 1}, ("a", "b", "late"), "must name columns of X, .*'late'.* got 'lat'"),
        ({3: 1}, None, "indices from 0 to 2, got 3"),
        ({-1: 1}, None, "indices from 0 to 2, got -1"),
        ({0: 2}, None, r"monotone_constraints\[0\] must be one of 1, -1, 0, got 2"),
        ({"a": "up"}, ("a", "b", "c"), r"monotone_constraints\['a'\] must be one of 1, -1, 0"),
        ({0: True}, None, "must be one of 1, -1, 0, got True"),
        ({0: 0.5}, None, "must be one of 1, -1, 0, got 0.5"),
        ({"b": 1, 1: 1}, ("a", "b", "c"), "name a column once, got 1 twice"),
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


def built(hidden, encoder=None, X=None, output_bias=0.0, link="identity", directions=None):
    X = rows() if X is None else X
    encoder = PiecewiseLinearEncoder(5) if encoder is None else encoder
    model = Model.build(encoder.fit(X), hidden, link=link, output_bias=output_bias, seed=3)
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


def test_units_are_bounded_where_directions_change():
    """A unit of the second layer that is fed by the other direction alone: relu(b - sum)."""
    model = built((2, 2))
    ups = model.layers[0].sign[:, 0] == 1
    other = model.layers[1].sign[:, ups]
    assert {1, -1} == set(other.ravel().tolist())


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8, 8)])
@pytest.mark.parametrize("encoder", [PiecewiseLinearEncoder, Standardizer])
def test_units_start_centred_with_one_deviation(hidden, encoder):
    X = rows(1500)  # fewer than the sample, so that all of them are in it
    model = built(hidden, encoder(), X, output_bias=2.5)
    x = model.encoder.expand(model.encoder.positions(X))
    for layer in model.layers:
        z = x @ layer.weight.T + layer.bias
        last = layer is model.layers[-1]
        np.testing.assert_allclose(z.mean(axis=0), 2.5 if last else 0, atol=1e-4)
        deviation = OUTPUT_DEVIATION if last else HIDDEN_DEVIATION
        np.testing.assert_allclose(z.std(axis=0), deviation, rtol=1e-4)
        assert (layer.weight * layer.sign >= 0).all()
        x = np.maximum(z, 0)


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


@cache
def monotone(quantized=False):
    """A fitted monotone classifier, and the same in integers; never changed by a test."""
    X, y = credit.data()
    if quantized:
        return farthing.quantize(monotone(), X, weight_bits=8)
    model = farthing.Classifier(
        hidden=(16, 8), max_epochs=6, random_state=0, monotone_constraints=DIRECTIONS
    )
    return model.fit(X, y)


def violations(scorer, directions, n=PAIRS, seed=0):
    """Pairs of rows that differ in one feature and whose scores are in the wrong order.

    The other features are those of random rows, missing values included; of each feature's
    pairs a third lie anywhere in and around its range, a third within a thousandth of it, and
    a third are data values and the next float.
    """
    X = credit.data()[0][:, : scorer.n_features].astype(np.float32)
    rng = np.random.default_rng(seed)
    count = 0
    for feature, direction in directions.items():
        column = X[~np.isnan(X[:, feature]), feature]
        span = column.max() - column.min()
        low = rng.uniform(column.min() - span / 4, column.max() + span / 4, n).astype(np.float32)
        high = rng.permutation(low)
        near, step = np.split(np.arange(n), [n // 3, 2 * n // 3])[:2]
        high[near] = low[near] + np.float32(span / 1000) * rng.random(len(near), dtype=np.float32)
        low[step] = rng.choice(column, len(step))
        high[step] = np.nextafter(low[step], np.float32(np.inf))
        pair = []
        base = X[rng.integers(0, len(X), n)]
        for value in (np.minimum(low, high), np.maximum(low, high)):
            moved = base.copy()
            moved[:, feature] = value
            pair.append(scorer.predict(moved))
        count += int((direction * (pair[1].astype(np.float64) - pair[0]) < 0).sum())
    return count


def check(estimator, tmp_path, directions=None):
    """Signs in the float weights and the integers, the certificate and brute force on the file."""
    directions = DIRECTIONS if directions is None else directions
    for layer in estimator.model_.layers:
        assert layer.sign.shape == layer.weight.shape
        assert (layer.weight * layer.sign >= 0).all()
        if layer.quantized is not None:
            assert (layer.quantized.values * layer.sign >= 0).all()
    path = tmp_path / "model.farthing"
    estimator.save(path)
    scorer = farthing.load(path)
    assert estimator.certify_monotone() == dict.fromkeys(directions, True)
    proven = {j: direction for j, direction in certify(scorer).items() if j in directions}
    # Pruning may leave a feature without an effect, never all of them.
    assert all(proven[j] in (0, direction) for j, direction in directions.items())
    assert any(proven.values())
    assert violations(scorer, directions) == 0


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
    with pytest.raises(ValueError, match="must name columns of X"):
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


# ---- every step -------------------------------------------------------------------------------

QUICK = {"epochs": 1, "augment": 0}
# Arguments of every case of a step; together they must hold every choice that the step offers.
CASES = {
    "prune": [
        {"sparsity": 0.5},
        {"sparsity": 0.5, "norm": "l2", "scope": "layer", "calibrate": False},
        {"threshold": 0.05},
        {"sparsity": 0.5, "schedule": "cubic", "learning_rate": 0.01, "alpha": 0.5, **QUICK},
        {"sparsity": 0.4, "pattern": "neuron"},
        {"sparsity": 0.4, "pattern": "neuron", "schedule": "cubic", **QUICK},
        {"sparsity": 0.3, "pattern": "feature"},
        {"sparsity": 0.5, "pattern": "bin"},
        {"sparsity": 0.5, "pattern": "bin", "schedule": "cubic", **QUICK},
        {"sparsity": 0.5, "pattern": "8x4"},
        {"pattern": "1:2"},
    ],
    "quantize": [
        {"weight_bits": 8, "weight_max": 127, "activation_bits": 8},
        {"weight_bits": 7},
        {"weight_bits": 8, "weight_max": "auto"},
        {"weight_bits": 6},
        {"weight_bits": 4, "calibrate": False},
        {"weight_bits": 4, "group_size": 32},
        {"weight_bits": 4, "group_size": 64},
        {"training": "qat", "weight_bits": 4, "learning_rate": 0.01, "alpha": 0.5, **QUICK},
        {"training": "qat", "weight_bits": 8, **QUICK},
    ],
    "distill": [
        {"augment": 0},
        {"augment": 1, "alpha": 1.0, "columns": (0, 1, 2, 3)},
        {"temperature": 3.0, "hidden": (5,), "augment": 0},
    ],
}
# Neurons without weights leave constants that integers may not hold; bins add weights up.
FLOAT_ONLY = {("prune", "neuron"), ("prune", "bin")}
# Data and the model itself; the same for every case.
GIVEN = {"model", "teacher", "student", "X", "y", "validation", "groups", "sample_weight"}
GIVEN |= {"random_state", "method"}  # new methods count: they are choices


def apply(step, arguments, model, **more):
    """The outcome of a step, which learns from a model that is not monotone where it can."""
    X, y = credit.data()
    function = getattr(farthing, step)
    if step == "distill":
        student = farthing.Classifier(
            (8,), max_epochs=2, random_state=0, monotone_constraints=DIRECTIONS
        )
        return function(credit.fitted(), X, y, student=student, **arguments)
    return function(model, X, y, **arguments, **more)


def ids(value):
    if isinstance(value, dict):
        return "-".join(f"{k}={v}" for k, v in value.items() if k not in QUICK) or "default"
    return str(value)


ALL_CASES = [(step, arguments) for step, cases in CASES.items() for arguments in cases]


@pytest.mark.parametrize(("step", "arguments"), ALL_CASES, ids=ids)
def test_every_step_keeps_a_model_monotone(step, arguments, tmp_path):
    check(apply(step, arguments, monotone()), tmp_path)


@pytest.mark.parametrize("later", ["prune", "quantize"])
def test_chains_of_steps_keep_a_model_monotone(later, tmp_path):
    """Every case upon a pruned and upon a quantized model, where it may follow."""
    X, _ = credit.data()
    pruned = farthing.prune(monotone(), sparsity=0.4, pattern="neuron")
    integers = farthing.quantize(farthing.prune(pruned, sparsity=0.5), X, weight_bits=4)
    chains = 0
    for arguments in CASES[later]:
        if arguments.get("pattern") == "1:2":  # an odd number of neurons may be left
            continue
        check(apply(later, arguments, pruned), tmp_path)
        pattern = arguments.get("pattern")
        if "schedule" not in arguments and (later, pattern) not in FLOAT_ONLY:
            check(apply(later, arguments, integers), tmp_path)
            chains += 1
    assert chains > 2


def test_a_step_on_a_model_keeps_its_signs():
    model = farthing.quantize(farthing.prune(monotone().model_, sparsity=0.5), credit.data()[0])
    for layer in model.layers:
        assert (layer.quantized.values * layer.sign >= 0).all()


def choices_of(function):
    """{argument: values} that a step's module offers by `check_choice` or a range of them."""
    module = inspect.getmodule(function)
    path = Path(module.__file__)
    sources = path.parent.rglob("*.py") if path.name == "__init__.py" else [path]
    found = {}
    for node in (node for source in sources for node in ast.walk(ast.parse(source.read_text()))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check_choice"):
            continue
        values = eval(ast.unparse(node.args[0]), vars(module))
        for keyword in node.keywords:
            name = keyword.arg
            if name is None:  # **{f"weight_bits of ...": bits}
                name = keyword.value.keys[0].values[0].value.split()[0]
            found.setdefault(name, set()).update(values)
    return found


def test_no_method_is_left_out():
    """A new step, argument or choice must join the cases above."""
    steps = {
        name
        for name in farthing.__all__
        if inspect.isfunction(getattr(farthing, name))
        and {"model", "teacher"} & set(inspect.signature(getattr(farthing, name)).parameters)
    }
    assert steps == set(CASES)
    for step, cases in CASES.items():
        function = getattr(farthing, step)
        parameters = inspect.signature(function).parameters
        tried = {
            name: {kind_of(arguments.get(name, parameter.default)) for arguments in cases}
            for name, parameter in parameters.items()
        }
        used = {name for arguments in cases for name in arguments}
        assert used | GIVEN >= set(parameters) >= used, step
        for name, values in choices_of(function).items():
            assert values <= tried[name], (step, name)


def test_choices_are_found():
    assert choices_of(farthing.prune)["pattern"] == set(PATTERNS)
    offered = choices_of(farthing.quantize)
    assert offered["training"] == {None, "qat"} and offered["weight_bits"] == {8, 7, 6, 4}
