import numpy as np
import pytest
from sklearn.linear_model import Lasso

from farthing import FarthingError
from farthing.backprop import gradients
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.losses import squared_error
from farthing.model import Model
from farthing.penalties import GROUPS, Penalty, Proximal
from farthing.training import train


def line(rng, n=500):
    """A linear target of 10 features, 5 of which do nothing."""
    X = rng.normal(size=(n, 10)).astype(np.float32)
    return X, X @ [3, -2, 1, 0.5, 0, 0, 0, 0, 0, 0.1] + rng.normal(size=n)


def useful(rng, n=2000):
    """Labels of 20 features, of which the first 3 matter, in three different ways."""
    X = rng.normal(size=(n, 20)).astype(np.float32)
    z = 2 * X[:, 0] + 2 * np.abs(X[:, 1]) - 1.5 + 2 * (X[:, 2] > 0.5)
    return X, (z + rng.logistic(size=n) > 0.5).astype(np.float32)


def features_of(model):
    column = model.encoder.feature_of_column
    return set(column[(model.layers[0].weight != 0).any(axis=0)].tolist())


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.3])
def test_l1_of_a_linear_model_is_the_lasso(alpha, rng):
    X, y = line(rng)
    encoder = Standardizer().fit(X)
    reference = Lasso(alpha=alpha, tol=1e-12).fit(encoder.positions(X).astype(float), y)
    model = Model.build(encoder, (), link="identity")
    train(model, X, y, loss="squared", full_batch=True, penalty=Penalty(l1=alpha), max_epochs=32)
    ours = model.layers[0].weight[0]
    assert np.array_equal(ours == 0, reference.coef_ == 0)
    np.testing.assert_allclose(ours, reference.coef_, atol=1e-6)
    assert model.layers[0].bias[0] == pytest.approx(reference.intercept_, abs=1e-6)


def test_minibatches_reach_the_lasso_s_zeros(rng):
    X, y = line(rng, 2000)
    encoder = Standardizer().fit(X)
    reference = Lasso(alpha=0.2, tol=1e-12).fit(encoder.positions(X).astype(float), y)
    model = Model.build(encoder, (), link="identity")
    train(model, X, y, loss="squared", penalty=Penalty(l1=0.2), max_epochs=32)
    ours = model.layers[0].weight[0]
    assert np.array_equal(ours == 0, reference.coef_ == 0)
    np.testing.assert_allclose(ours, reference.coef_, atol=0.02)
    assert np.array_equal(model.layers[0].mask[0], reference.coef_ != 0)


@pytest.mark.parametrize(
    "groups", [{"feature": 0.05}, {"bin": 0.1}, {"bin": 0.03, "feature": 0.02}]
)
def test_groups_of_a_linear_model_are_optimal(groups, rng):
    """The conditions of Karush, Kuhn and Tucker for loss + lambda sqrt(size) |w of the group|."""
    X, y = line(rng)
    model = Model.build(PiecewiseLinearEncoder(4).fit(X), (), link="identity")
    y = (y - y.mean()) / y.std()
    penalty = Penalty(group_l1=groups)
    train(model, X, y, loss="squared", full_batch=True, penalty=penalty, max_epochs=120)
    layer, column = model.layers[0], model.encoder.feature_of_column
    x = model.encoder.expand(model.encoder.positions(X)).astype(float)
    layer.astype(float)
    layer.mask = None
    _, [gradient] = gradients(model.layers, x, y[:, None], None, squared_error)
    pull, weight = -gradient["weight"][0], layer.weight[0]
    per_bin, per_feature = (penalty.groups[name] for name in ("bin", "feature"))
    dropped = 0
    for feature in range(10):
        own = column == feature
        w, g = weight[own], pull[own]
        strength = per_feature * np.sqrt(own.sum())
        if w.any():
            g = g - strength * w / np.linalg.norm(w)
            np.testing.assert_allclose(g[w != 0], per_bin * np.sign(w[w != 0]), atol=3e-4)
            assert (np.abs(g[w == 0]) <= per_bin + 3e-4).all()
        else:
            dropped += 1
            rest = np.sign(g) * np.maximum(np.abs(g) - per_bin, 0)
            assert np.linalg.norm(rest) <= strength + 3e-4
    assert 0 < dropped < 10 or not per_feature
    assert (weight == 0).any() and (weight != 0).any()


@pytest.mark.parametrize("full_batch", [False, True])
def test_noise_features_are_dropped(full_batch, rng):
    X, y = useful(rng)
    model = Model.build(PiecewiseLinearEncoder(8).fit(X), (16, 8))
    train(model, X, y, penalty=Penalty(group_l1=0.01), weight_decay=0.2, full_batch=full_batch)
    assert features_of(model) == {0, 1, 2}
    fresh_X, fresh_y = useful(rng)
    assert ((model.forward(fresh_X)[:, 0] > 0) == fresh_y).mean() > 0.75
    first = model.layers[0]
    assert np.array_equal(first.mask, first.weight != 0)


@pytest.mark.parametrize("name", ["l1", *GROUPS])
def test_a_larger_penalty_makes_more_zeros(name, rng):
    X, y = useful(rng)
    alive = []
    for strength in (0.0, 1e-3, 4e-3, 0.1):
        model = Model.build(PiecewiseLinearEncoder(8).fit(X), (16, 8))
        chosen = {"l1": strength} if name == "l1" else {"group_l1": {name: strength}}
        train(model, X, y, penalty=Penalty(**chosen), max_epochs=8)
        first, second = (layer.weight != 0 for layer in model.layers[:2])
        if name == "neuron":
            alive.append(int(first.any(axis=1).sum() + second.any(axis=1).sum()))
        elif name == "l1":
            alive.append(int(first.sum() + second.sum()))
        else:
            alive.append(int(first.any(axis=0).sum()))
    assert sorted(alive, reverse=True) == alive and len(set(alive)) >= 3, alive
    assert alive[-1] == 0


def test_zeros_of_the_best_epoch_are_masks(rng):
    X, y = useful(rng)
    model = Model.build(PiecewiseLinearEncoder(8).fit(X), (16, 8))
    penalty = Penalty(l1=1e-3)
    history = train(model, X, y, penalty=penalty, validation=(X, y, None), max_epochs=8)
    assert history.best_epoch >= 6
    for layer in model.layers[:2]:
        zero = layer.weight == 0
        assert zero.mean() > 0.2 and np.array_equal(layer.mask, ~zero)
    before = [layer.mask.copy() for layer in model.layers[:2]]
    train(model, X, y, max_epochs=1)
    for layer, mask in zip(model.layers[:2], before, strict=True):
        assert not layer.weight[~mask].any()


def test_no_penalty_is_no_step(rng):
    X, y = useful(rng, 600)
    assert not Penalty() and Penalty(l1=1e-9) and Penalty(group_l1={"bin": 1e-9})
    models = [Model.build(Standardizer().fit(X), (4,)) for _ in range(2)]
    train(models[0], X, y, max_epochs=1)
    train(models[1], X, y, max_epochs=1, penalty=Penalty())
    assert np.array_equal(models[0].layers[0].weight, models[1].layers[0].weight)


@pytest.mark.parametrize("name", GROUPS)
def test_a_step_with_equal_sizes_is_the_proximal_operator(name, rng):
    """Parikh and Boyd, 6.5.1: w (1 - t / |w|) where |w| > t, else 0."""
    X = rng.normal(size=(100, 3))
    X[::7, 1] = np.nan
    model = Model.build(PiecewiseLinearEncoder(3).fit(X), (4, 2))
    for layer in model.layers:
        layer.astype(float)
    first = model.layers[0].weight
    column = model.encoder.feature_of_column
    assert np.bincount(column).tolist() == [3, 4, 3]
    label = {
        "feature": np.broadcast_to(column, first.shape),
        "bin": np.broadcast_to(np.arange(10), first.shape),
        "neuron": np.broadcast_to(np.arange(4)[:, None], first.shape),
    }[name]
    expected = first.copy()
    kept = 0
    for group in np.unique(label):
        own = label == group
        threshold = 0.3 * 0.5 * np.sqrt(own.sum())
        norm = np.linalg.norm(first[own])
        expected[own] *= max(0, 1 - threshold / norm)
        kept += norm > threshold
    assert 0 < kept
    same = [np.full(layer.weight.shape, 0.3) for layer in model.layers]
    Proximal(Penalty(group_l1={name: 0.5}), model).step(same, same)
    np.testing.assert_allclose(first, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"l1": -1}, FarthingError, "l1 must be a number in"),
        ({"l1": np.nan}, FarthingError, "l1 must be a number in"),
        ({"l1": "0.1"}, TypeError, "l1 must be a number in"),
        ({"group_l1": -0.5}, FarthingError, "group_l1 must be a number in"),
        ({"group_l1": {"bin": -0.5}}, FarthingError, r"group_l1\['bin'\] must be a number in"),
        ({"group_l1": {"layer": 1}}, FarthingError, "got the group 'layer', allowed are 'feature'"),
        ({"group_l1": [1]}, TypeError, "group_l1 must be a number in"),
    ],
)
def test_penalty_refuses(arguments, error, message):
    with pytest.raises(ValueError if error is FarthingError else error, match=message):
        Penalty(**arguments)


def test_train_refuses_another_penalty(rng):
    X, y = useful(rng, 50)
    with pytest.raises(TypeError, match="penalty: got float"):
        train(Model.build(Standardizer().fit(X), ()), X, y, penalty=0.1)
