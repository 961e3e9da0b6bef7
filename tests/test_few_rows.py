"""Which share of the features each step leaves out where rows are few."""

import numpy as np
import pytest

import farthing
from farthing import few_rows
from farthing.few_rows import SHARES


def picked(monkeypatch, model, X, y, weight=None):
    """The share that a fit chooses, and the fitted model."""
    shares = []
    own = few_rows.chosen_share

    def spy(*arguments):
        shares.append(own(*arguments))
        return shares[-1]

    monkeypatch.setattr("farthing.fitting.chosen_share", spy)
    return shares, model.fit(X, y, weight)


def linear(n=400, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8))
    return X, X @ np.arange(1.0, 9.0) + noise * rng.normal(size=n)


def test_nothing_is_left_out_of_a_clear_target(monkeypatch):
    X, y = linear()
    shares, model = picked(monkeypatch, farthing.Regressor((16,), random_state=0), X, y)
    assert shares == [0.0]
    fresh, target = linear(seed=1)
    careful = farthing.Regressor((16,), feature_dropout=0.3, random_state=0).fit(X, y)
    assert model.score(fresh, target) > 0.9 > careful.score(fresh, target) + 0.05


def test_features_are_left_out_of_a_noisy_one(monkeypatch):
    X, y = linear(n=120, noise=40.0)
    shares, model = picked(monkeypatch, farthing.Regressor((16,), random_state=0), X, y)
    assert shares == [SHARES[0]] == [0.3]
    fresh, target = linear(n=2000, noise=0.0, seed=1)
    careless = farthing.Regressor((16,), feature_dropout=0.0, random_state=0).fit(X, y)
    assert model.score(fresh, target) > careless.score(fresh, target)


def test_a_row_of_weight_two_is_two_rows(monkeypatch):
    X, y = linear(n=90)
    weight = np.random.default_rng(0).integers(0, 4, 90)
    quick = {"max_epochs": 2, "random_state": 0}
    weighted, first = picked(monkeypatch, farthing.Regressor((4,), **quick), X, y, weight)
    rows = np.repeat(np.arange(90), weight)
    rows = np.random.default_rng(1).permutation(rows)
    repeated, second = picked(monkeypatch, farthing.Regressor((4,), **quick), X[rows], y[rows])
    assert weighted == repeated
    np.testing.assert_allclose(first.predict(X), second.predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("container", [np.asfortranarray, np.ndarray.tolist, lambda X: X[:, :]])
def test_folds_are_those_of_the_values(monkeypatch, container):
    X, y = linear(n=60)
    X[3, 2], X[5, 1] = np.nan, -0.0
    quick = {"max_epochs": 2, "random_state": 0}
    expected = farthing.Regressor((4,), **quick).fit(X, y).predict(X)
    found = farthing.Regressor((4,), **quick).fit(container(X), y).predict(X)
    np.testing.assert_array_equal(found, expected)


def test_it_is_not_asked_where_there_is_no_choice(monkeypatch):
    X, y = linear(n=60)
    quick = {"max_epochs": 1, "random_state": 0}
    shares, _ = picked(monkeypatch, farthing.Regressor((4,), **quick), X[:, :1], y)
    assert shares == [0.0]
    for model in (
        farthing.Regressor((4,), feature_dropout=0.1, **quick),
        farthing.Regressor((), encoder=None, solver="exact"),
    ):
        assert picked(monkeypatch, model, X, y)[0] == []
    large = np.random.default_rng(0).normal(size=(1200, 3))
    assert picked(monkeypatch, farthing.Regressor((4,), **quick), large, large[:, 0])[0] == []


def test_too_few_different_rows_choose_nothing(monkeypatch):
    X = np.tile([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], (40, 1))
    quick = {"max_epochs": 1, "random_state": 0}
    shares, _ = picked(monkeypatch, farthing.Regressor((4,), **quick), X, X[:, 0])
    assert shares == [SHARES[0]]


def test_ctrl_c_while_choosing_fits_nothing(monkeypatch):
    X, y = linear(n=60)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(few_rows, "_loss", interrupted)
    model = farthing.Regressor((4,), max_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "model_")


def test_callbacks_hear_of_the_final_training_alone():
    X, y = linear(n=60)
    heard = []
    farthing.Regressor((4,), max_epochs=3, random_state=0, callback=heard.append).fit(X, y)
    assert [report["epoch"] for report in heard] == [1, 2, 3]
