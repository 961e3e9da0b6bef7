"""Certified directions against brute force and against signs read off hand-built files."""

import itertools
from types import SimpleNamespace

import credit
import files
import numpy as np
import pytest

import farthing
from farthing import certificate
from farthing.certificate import certify, certify_monotone, declaration


def encoded_file(layers, *, bits=32, missing=(), features=3, bins=4, info=None):
    """A file of an encoding of 0..bins and these weights, of hidden layers and the output.

    Integer layers: int8 weights, or int4 where `bits` is 4, with small positive multipliers.
    """
    edges = np.tile(np.arange(bins + 1, dtype=np.float32), features)
    fill = np.zeros(features, np.float32)
    fill[list(missing)] = np.nan
    tensors = [
        ("dense0.bins", np.full(features, bins, np.int32)),
        ("dense0.edges", edges),
        ("dense0.fill", fill),
    ]
    operations = []
    for i, weight in enumerate(np.atleast_2d(w) for w in layers):
        n, k = weight.shape
        last = i == len(layers) - 1
        first = len(tensors) + 1 if i else 1
        fields = {"bits": bits, "tensor": first, "activation": 0 if last else 1}
        if bits == 32:
            tensors += [
                (f"dense{i}.weight", weight.astype(np.float32)),
                (f"dense{i}.bias", np.zeros(n, np.float32)),
            ]
        else:
            fields |= {"amax_in": 127, "amax_out": 0 if last else 127}
            stored = weight.astype(np.int8)
            if bits == 4:
                padded = np.zeros((n, k + k % 2), np.int8)
                padded[:, :k] = stored
                stored = (padded[:, 0::2] & 15 | padded[:, 1::2] << 4).astype(np.uint8)
            tensors += [
                (f"dense{i}.weight", stored),
                (f"dense{i}.mult", np.full(n, 1e-3, np.float32)),
                (f"dense{i}.add", np.full(n, 5, np.float32)),
            ]
        kind, inputs = (3, k) if i else (4, features)
        operations.append(files.record(kind, inputs=inputs, outputs=n, **fields))
    outputs = len(np.atleast_2d(layers[-1]))
    link = "sigmoid" if outputs == 1 else "softmax"
    operations.append(
        files.record(5, inputs=outputs, outputs=outputs, activation=files.LINKS[link])
    )
    target = files.BINARY
    if outputs > 1:
        target = {"kind": "multiclass", "classes": list(range(outputs))}
    names = [f"f{j}" for j in range(features)]
    return files.Parts(operations, tensors, names, info or {"critical": {"target": target}}).dumps()


def spread(*signs, bins=4):
    """Weights of a first layer: each sign as many times as a feature has bins."""
    return np.repeat(np.array(signs, float), bins)


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_directions_are_those_of_the_signs(bits):
    assert certify(encoded_file([spread(2, -3, 0)], bits=bits)) == {0: 1, 1: -1, 2: 0}
    mixed = spread(2, -3, 0)
    mixed[3] = -1
    assert certify(encoded_file([mixed], bits=bits)) == {1: -1, 2: 0}


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_directions_pass_through_hidden_layers(bits):
    first = np.stack([spread(2, 0, 1), spread(-1, 1, -2), spread(0, 3, 1)])
    # Unit 1 falls where unit 0 rises: with weights of opposite signs they agree.
    assert certify(encoded_file([first, [1, -2, 0]], bits=bits)) == {0: 1, 1: -1, 2: 1}
    assert certify(encoded_file([first, [-1, 2, -2]], bits=bits)) == {0: -1, 2: -1}
    assert certify(encoded_file([first, [0, 0, 3]], bits=bits)) == {0: 0, 1: 1, 2: 1}
    assert certify(encoded_file([first, [[1, -1, 0], [0, 1, 0]], [2, -5]], bits=bits)) == {
        0: 1,
        1: -1,
        2: 1,
    }


def test_columns_of_missing_values_have_no_order():
    weight = np.insert(spread(2, -3, 1), 4, -50)
    assert certify(encoded_file([weight], missing=[0])) == {0: 1, 1: -1, 2: 1}


@pytest.mark.parametrize("features", [1, 3, 7])
def test_standardised_inputs_follow_their_scale(features):
    parts = files.logistic(features, seed=features)
    tensors = dict(parts.tensors)
    scale, weight = tensors["input.scale"], tensors["dense0.weight"]
    if features == 7:
        scale[[1, 4]] *= -1
        scale[6] = 0
        weight[0, [1, 4, 5]] = 2, -2, 0
    slope = np.sign(scale * weight[0])
    assert certify(parts.dumps()) == {j: int(s) for j, s in enumerate(slope)}


def test_categories_have_no_order():
    """The columns of a file with categories, as docs/file-format.md lays them out."""
    tensors = {
        "dense0.bins": np.array([2, 0, 1, 0], np.int32),
        "dense0.fill": np.array([np.nan, np.nan, 0, np.nan], np.float32),
        "dense0.categories": np.array([0, 3, 0, 5], np.int32),
        "dense0.embedding_dims": np.array([0, 0, 0, 2], np.int32),
        "dense0.embedding": np.array([0.5, -5, 2, 1], np.float32),
    }
    # Two bins and missing; three categories and missing; one bin; an embedding in two columns.
    operation = {"name": "dense0", "width": 3 + 4 + 1 + 2}
    columns, bound = certificate._encoded_input(operation, tensors, 4)
    assert columns.feature.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 3, 3]
    assert columns.rises.tolist() == [1, 1, 0, 1, 1, 1, 0, 1, 1, 1]
    assert columns.falls.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]
    assert bound.tolist() == [1] * 8 + [5, 5]
    directions = columns.through(np.ones((1, 10)))
    assert directions.rises.ravel().tolist() == [1, 1, 1, 1]
    assert directions.falls.ravel().tolist() == [0, 1, 0, 1]
    with pytest.raises(farthing.FarthingError, match="columns that dense0 reads"):
        certificate._encoded_input({**operation, "width": 11}, tensors, 4)


def test_a_softmax_has_no_direction():
    weight = np.stack([spread(1, 0, 2), spread(1, 0, 2)])
    assert certify(encoded_file([weight])) == {1: 0}


def test_several_values_share_a_direction():
    target = {"kind": "regression"}
    parts = files.logistic(3, outputs=2, link="identity", target=target)
    weight = dict(parts.tensors)["dense0.weight"]
    weight[:] = [[1, 1, 0], [2, -1, 0]]
    assert certify(parts.dumps()) == {0: 1, 2: 0}


def test_nothing_is_proven_of_sums_that_may_overflow():
    big = np.float32(3e37)
    assert certify(encoded_file([spread(1, -1, 0) * big / 16])) == {0: 1, 1: -1, 2: 0}
    first = np.stack([spread(big, 0, 0), spread(big, 1, 0)])
    assert certify(encoded_file([first, [1, 1]])) == {2: 0}
    # The hidden units are finite; their sum in the second layer is not.
    assert certify(encoded_file([first / 16, [100, 100]])) == {2: 0}
    assert certify(encoded_file([first / 16, [1e30, 1e30], [1e30], [1e30]])) == {2: 0}


@pytest.mark.parametrize("bits", [8, 4])
def test_coded_weights_keep_their_signs(bits):
    """A sparse integer layer of either sign, written by the exporter in its coded form."""
    rng = np.random.default_rng(bits)
    X = rng.uniform(size=(300, 4))
    fitted = farthing.Regressor(hidden=(12,), max_epochs=2, random_state=0).fit(X, X[:, 0])
    pruned = farthing.prune(fitted, sparsity=0.8)
    small = farthing.quantize(pruned, X, weight_bits=bits, weight_max=64)
    scorer = small._scorer()
    operations = [o for o in scorer._operations() if o["kind"] in (3, 4)]
    assert operations[0]["storage"] == 1
    tensors = farthing.container.loads(scorer._data)
    for operation, layer in zip(operations, small.model_.layers, strict=True):
        assert (layer.quantized.values < 0).any() or operation["outputs"] == 1
        read = certificate._weight(operation, tensors)
        assert np.array_equal(read, layer.quantized.values)


def brute_force(scorer, feature, rows, rng, span):
    """Directions seen among pairs of rows that differ in one feature, a subset of {1, -1}."""
    low, high = rows.copy(), rows.copy()
    a, b = rng.uniform(*span, (2, len(rows)))
    low[:, feature], high[:, feature] = np.minimum(a, b), np.maximum(a, b)
    change = scorer.predict(high).astype(np.float64) - scorer.predict(low)
    return set(np.sign(change[change != 0]).astype(int).tolist())


@pytest.mark.parametrize("bits", [32, 8, 4])
@pytest.mark.parametrize("hidden", [(), (4,), (5, 3)])
def test_certified_directions_are_never_violated(bits, hidden):
    """Random signs: many features mixed, some of either direction, some without effect."""
    rng = np.random.default_rng(bits + len(hidden))
    kinds = set()
    for _ in range(12):
        features, bins = 4, 3
        sizes = [features * bins, *hidden, 1]
        signs = [np.where(rng.random(n) < 0.6, 1, -1) for n in sizes[1:-1]] + [np.ones(1)]
        slope = rng.choice([1, -1, 0], features)
        layers = []
        before = np.repeat(slope, bins)
        for n, sign in zip(sizes[1:], signs, strict=True):
            size = rng.integers(1, 7, (n, len(before))) * (rng.random((n, len(before))) < 0.8)
            layers.append(size * sign[:, None] * before)
            before = sign
        flips = layers[0][:, :bins]
        flips[rng.random(flips.shape) < 0.3] *= -1  # feature 0 becomes mixed, mostly
        data = encoded_file(layers, bits=bits, features=features, bins=bins)
        proven, scorer = certify(data), farthing.Scorer(data)
        assert certify(scorer) == proven
        assert set(proven) >= {1, 2, 3}
        rows = rng.uniform(-0.5, bins + 0.5, (2000, features))
        for feature in range(features):
            seen = brute_force(scorer, feature, rows, rng, (-0.5, bins + 0.5))
            kinds.add(proven.get(feature))
            if feature in proven:
                assert seen <= {proven[feature]} - {0}
            elif not hidden:  # one layer is monotone only where its signs say so
                assert seen == {1, -1}
    assert kinds == {None, 1, -1, 0}


def declared(**monotone):
    info = {"critical": {"target": files.BINARY}, "optional": {"model": monotone}}
    return encoded_file([spread(2, -3, 0)], info=info)


def test_declared_constraints_are_held_against_the_weights():
    data = declared(monotone={"f0": 1, "f2": -1})
    assert certify_monotone(data) == {"f0": True, "f2": True}  # f2 has no effect
    assert certify_monotone(farthing.Scorer(data)) == {"f0": True, "f2": True}
    assert certify_monotone(declared(monotone={"f0": -1, "f1": -1})) == {"f0": False, "f1": True}


def test_features_without_names_are_declared_by_number():
    parts = files.logistic(3)
    dict(parts.tensors)["dense0.weight"][:] = [[1, -1, 1]]
    parts.info = {**parts.info, "optional": {"model": declaration({0: 1, 1: 1}, None)}}
    assert certify_monotone(parts.dumps()) == {0: True, 1: False}


def test_without_a_declaration_nothing_is_vacuously_true():
    for data in (declared(), encoded_file([spread(1, 1, 1)])):
        with pytest.raises(farthing.FarthingError, match="declares no monotone constraints"):
            certify_monotone(data)


@pytest.mark.parametrize(
    "monotone", [{"f9": 1}, {"f0": 2}, {"f0": 0}, {"f0": True}, {"f0": "1"}, ["f0"], {"0": 1}, 1]
)
def test_a_bad_declaration_is_refused(monotone):
    with pytest.raises(farthing.FarthingError, match=r"optional\.model\.monotone"):
        certify_monotone(declared(monotone=monotone))


def test_other_things_than_models_are_refused():
    for function, thing in itertools.product((certify, certify_monotone), ("a.farthing", None, 1)):
        with pytest.raises(TypeError, match="data must be the bytes"):
            function(thing)
    with pytest.raises(farthing.FarthingError):
        certify(b"no model")
    data = encoded_file([spread(1, 1, 1)])
    assert certify(bytearray(data)) == certify(memoryview(data)) == {0: 1, 1: 1, 2: 1}


def test_unknown_operations_are_refused(monkeypatch):
    """Fields and kinds of a later format that change what a layer computes."""
    data = encoded_file([spread(1, 1, 1)])
    opened = farthing.Scorer(data)
    fields = {"_data": data, "n_features": 3}
    tensors = farthing.container.loads(data)
    monkeypatch.setattr(certificate, "_opened", lambda given: given)
    unknown = [*opened._operations()[:1], {"kind": 11}]
    with pytest.raises(farthing.FarthingError, match="kind 11"):
        certify(SimpleNamespace(**fields, _operations=lambda: unknown))
    ops = tensors["ops"].copy()
    ops[28] = 1
    monkeypatch.setattr(certificate.container, "loads", lambda data: {**tensors, "ops": ops})
    with pytest.raises(farthing.FarthingError, match="does not know what the operations"):
        certify(SimpleNamespace(**fields, _operations=opened._operations))


@pytest.mark.parametrize("activation", [2, 9])
def test_activations_that_may_fall_prove_nothing(activation, monkeypatch):
    data = encoded_file([np.stack([spread(1, 0, 1)] * 2), [1, 1]])
    opened = farthing.Scorer(data)
    operations = opened._operations()
    operations[0]["activation"] = activation
    monkeypatch.setattr(certificate, "_opened", lambda given: given)
    stub = SimpleNamespace(_data=data, n_features=3, _operations=lambda: operations)
    assert certify(stub) == {1: 0}


# ---- activations, tables and residual sums ---------------------------------------------------


def residual_file(amax, factors=(1.0, 1.0, 0.0), falling=None, activation=5, zero=(), alone=False):
    """files.residual with weights >= 0 and tables that rise but at one entry: a score that rises
    with every feature whose weights are not `zero`.  alone: all through what is added."""
    parts = files.residual(amax, activation)
    for name, tensor in parts.tensors:
        if name.endswith("weight"):
            np.abs(tensor, out=tensor)
        if name == "dense0.weight":
            tensor[:, list(zero)] = 0
        if name == "dense1.weight" and alone:
            tensor[:] = 0
        if name.endswith("table"):
            tensor[:] = np.minimum(np.arange(256), amax)
            if falling is not None and name == "dense0.table":
                tensor[falling] -= 2
        if name.endswith("residual"):
            tensor[:] = factors
    return parts.dumps()


def test_tables_are_looked_at_entry_by_entry():
    everything = {0: 1, 1: 1, 2: 0}
    for amax in (127, 255):
        assert certify(residual_file(amax, zero=[2])) == everything
        for falling in (2, 60, amax):
            assert certify(residual_file(amax, falling=falling, zero=[2])) == {2: 0}
    # Entries that no value reaches have no say.
    assert certify(residual_file(127, falling=128, zero=[2])) == everything


def test_residual_sums_have_the_directions_of_both_parts():
    assert certify(residual_file(127, (0.5, 0.5, 3.0))) == {0: 1, 1: 1, 2: 1}
    assert certify(residual_file(127, (0.5, -0.5, 3.0))) == {}
    assert certify(residual_file(127, (-0.5, 0.5, 3.0), zero=[1])) == {1: 0}
    assert certify(residual_file(127, (-0.5, -0.5, 90.0))) == {0: -1, 1: -1, 2: -1}
    assert certify(residual_file(127, (0.0, -0.5, 90.0))) == {0: -1, 1: -1, 2: -1}


@pytest.mark.parametrize("amax", [0, 127, 255])
def test_bounds_change_no_direction(amax):
    assert certify(residual_file(amax, activation="bound", zero=[1])) == {0: 1, 1: 0, 2: 1}
    # With the weights as they are drawn, of either sign, there is nothing to prove.
    assert certify(files.residual(amax, "bound").dumps()) == {}


@pytest.mark.parametrize("amax", [0, 127])
def test_what_is_added_counts_by_itself(amax):
    assert certify(residual_file(amax, alone=True, zero=[1])) == {0: 1, 1: 0, 2: 1}


@pytest.mark.parametrize(("activation", "rises"), [(5, True), (6, False), (7, False), (8, True)])
def test_float_activations_that_fall_prove_nothing(activation, rises):
    expected = {0: 1, 1: 0, 2: 1} if rises else {1: 0}
    assert certify(residual_file(0, activation=activation, zero=[1])) == expected


def neighbours(function):
    """The answers of a model of one input to runs of neighbouring floats, and a coarse sweep."""
    rng = np.random.default_rng(0)
    starts = np.concatenate([rng.uniform(-20, 20, 300), rng.normal(size=300) * 1e-3, [0.0, 2**-10]])
    for start in starts.astype(np.float32):
        run = [start]
        for _ in range(300):
            run.append(np.nextafter(run[-1], np.float32(np.inf)))
        yield function(np.array(run, np.float32)[:, None])
    yield function(np.linspace(-120, 120, 400_001, dtype=np.float32)[:, None])


@pytest.mark.parametrize("what", ["tanh", "sigmoid", "exp"])
def test_functions_that_count_as_monotone_never_fall(what):
    """As computed, for neighbouring floats too; tests/csrc has a sweep of all of them."""
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    tensors = [("input.shift", zero), ("input.scale", one), ("input.fill", zero)]
    operations = [files.record(1, inputs=1, outputs=1, tensor=1)]
    for i in range(1 if what == "exp" else 2):
        tensors += [(f"dense{i}.weight", one[:, None]), (f"dense{i}.bias", zero)]
        operations.append(files.record(3, inputs=1, outputs=1, bits=32, tensor=4 + 2 * i))
        if i == 0 and what != "exp":
            kind = {"tanh": 5, "sigmoid": 8}[what]
            operations.append(files.record(7, inputs=1, outputs=1, activation=kind))
    operations.append(files.record(5, inputs=1, outputs=1, activation=4 if what == "exp" else 0))
    info = {"critical": {"target": {"kind": "regression"}}}
    data = files.Parts(operations, tensors, info=info).dumps()
    assert certify(data) == {0: 1}
    for answers in neighbours(farthing.Scorer(data).predict):
        assert (answers[1:] >= answers[:-1]).all()


def test_periodic_inputs_rise_and_fall():
    columns, bound = certificate._periodic_input({"outputs": 12}, 3)
    assert columns.feature.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and (bound == 1).all()
    weight = np.zeros((1, 12))
    weight[0, 5] = 1
    directions = columns.through(weight)
    assert directions.rises.ravel().tolist() == directions.falls.ravel().tolist() == [0, 1, 0]


@pytest.mark.parametrize("step", ["float", "int8", "int4", "qat"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_fitted_models_with_smooth_units_are_proven(activation, step):
    X, _ = credit.data()
    model = farthing.Regressor(
        hidden=(8, 8),
        activation=activation,
        loss="poisson",
        monotone_constraints={0: -1, 1: 1},
        max_epochs=3,
        random_state=0,
    ).fit(X, X[:, 1] + 0.1)
    how = {
        "int8": {"weight_bits": 8},
        "int4": {"weight_bits": 4, "activation_bits": 8},
        "qat": {"weight_bits": 4, "training": "qat", "epochs": 1},
    }
    if step != "float":
        model = farthing.quantize(model, X, **how[step])
    scorer = model._scorer()
    assert certify_monotone(scorer) == {0: True, 1: True}
    rng = np.random.default_rng(0)
    rows = np.nan_to_num(X[:2000].astype(np.float32))
    assert brute_force(scorer, 0, rows, rng, (0, 2e5)) <= {-1}
    assert brute_force(scorer, 1, rows, rng, (-1, 6)) == {1}
