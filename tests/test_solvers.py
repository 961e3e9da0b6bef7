"""Exact linear models, against numpy's least squares and scikit-learn's regressions."""

import numpy as np
import pytest
from scipy.linalg import hilbert
from sklearn.linear_model import LogisticRegression, Ridge

from farthing import solvers
from farthing.solvers import least_squares, logistic_regression


@pytest.fixture(params=[16384, 7])
def blocks(request, monkeypatch):
    """All rows at a time, or a few: fewer than there are columns and intercept."""
    monkeypatch.setattr(solvers, "_BLOCK", request.param)


@pytest.mark.parametrize("weighted", [False, True])
def test_least_squares(weighted, blocks, rng):
    X = rng.normal(size=(60, 8)) * 10.0 ** np.arange(-4, 4) + 3
    y = rng.normal(size=60) * 100
    weight = rng.uniform(0, 3, 60) if weighted else None
    root = np.ones(60) if weight is None else np.sqrt(weight)
    design = np.column_stack([X, np.ones(60)]) * root[:, None]
    expected = np.linalg.lstsq(design, y * root, rcond=None)[0]
    coefficients, intercept = least_squares(X, y, weight)
    np.testing.assert_allclose(coefficients, expected[:8], rtol=1e-8)
    assert intercept == pytest.approx(expected[8], rel=1e-6)


@pytest.mark.parametrize("l2", [1e-6, 0.1, 10.0])
def test_ridge(l2, blocks, rng):
    X, y, weight = rng.normal(size=(60, 8)), rng.normal(size=60), rng.uniform(0, 3, 60)
    # scikit-learn adds alpha |w|^2 to the sum of squares.
    ridge = Ridge(alpha=l2 * weight.sum()).fit(X, y, weight)
    coefficients, intercept = least_squares(X, y, weight, l2)
    np.testing.assert_allclose(coefficients, ridge.coef_, rtol=1e-7, atol=1e-10)
    assert intercept == pytest.approx(ridge.intercept_, rel=1e-7)


def test_no_product_of_the_data_with_itself():
    X = hilbert(10)[:, :8]  # X'X is singular to float64
    truth = np.arange(1.0, 9.0)
    coefficients, intercept = least_squares(X, X @ truth + 5)
    np.testing.assert_allclose(coefficients, truth, rtol=1e-3)
    with pytest.raises(AssertionError):
        centred = X - X.mean(axis=0)
        normal = np.linalg.solve(centred.T @ centred, centred.T @ (centred @ truth))
        np.testing.assert_allclose(normal, truth, rtol=1e-3)
    assert intercept == pytest.approx(5, abs=1e-3)


def test_a_repeated_column_shares_the_least_norm(rng):
    x = rng.normal(size=40)
    X = np.column_stack([x, x, np.full(40, 3.0)])
    coefficients, intercept = least_squares(X, 4 * x + 1)
    np.testing.assert_allclose(coefficients, [2, 2, 0], atol=1e-12)
    assert intercept == pytest.approx(1)
    few, level = least_squares(X[:2], 4 * x[:2] + 1)  # fewer rows than columns
    np.testing.assert_allclose(X[:2] @ few + level, 4 * x[:2] + 1)


def labels(rng, X, outputs):
    z = X @ rng.normal(size=(X.shape[1], max(outputs, 2))) + rng.gumbel(size=(len(X), 1))
    z += rng.gumbel(size=z.shape)
    chosen = z.argmax(axis=1)
    target = np.eye(z.shape[1])[chosen]
    return chosen, target[:, 1:] if outputs == 1 else target


@pytest.mark.parametrize("outputs", [1, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("l2", [1e-4, 0.1])
def test_logistic_regression_is_that_of_scikit_learn(outputs, weighted, l2, rng, monkeypatch):
    monkeypatch.setattr(solvers, "_BLOCK", 100)
    X = rng.normal(size=(400, 4))
    chosen, target = labels(rng, X, outputs)
    weight = rng.uniform(0.1, 3, 400) if weighted else None
    total = 400 if weight is None else weight.sum()
    theirs = LogisticRegression(C=1 / (l2 * total), tol=1e-10, max_iter=10_000)
    theirs.fit(X, chosen, weight)
    coefficients, intercepts, losses, _ = logistic_regression(X, target, weight, l2)
    np.testing.assert_allclose(coefficients, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(
        intercepts - intercepts.mean() * (outputs > 1),
        theirs.intercept_ - theirs.intercept_.mean() * (outputs > 1),
        atol=1e-4,
    )
    assert len(losses) < 15 and (np.diff(losses) <= 0).all()


def test_probabilities_are_targets_as_their_labels_weighted_would_be(rng):
    X, p = rng.normal(size=(300, 3)), rng.dirichlet(np.ones(3), 300)
    soft = logistic_regression(X, p, l2=1e-3)
    hard = logistic_regression(
        np.tile(X, (3, 1)), np.repeat(np.eye(3), 300, axis=0), p.T.ravel(), l2=1e-3
    )
    np.testing.assert_allclose(soft[0], hard[0], atol=1e-8)
    np.testing.assert_allclose(soft[1], hard[1], atol=1e-8)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("l2", [0.0, 1e-4])
def test_separable_rows_stay_finite(outputs, l2):
    X = np.linspace(-1, 1, 60)[:, None] ** np.arange(1, 3)
    target = np.eye(3)[np.arange(60) // 20] if outputs == 3 else (X[:, :1] > 0) * 1.0
    coefficients, intercepts, losses, _ = logistic_regression(X, target, l2=l2)
    assert np.isfinite(coefficients).all() and np.isfinite(intercepts).all()
    z = X @ coefficients.T + intercepts
    right = z.argmax(axis=1) == target.argmax(axis=1) if outputs == 3 else (z > 0) == (target > 0)
    assert right.all() and losses[-1] < (1e-3 if l2 == 0 else 0.1)


def test_columns_that_repeat_or_stand_still_do_no_harm(rng):
    x = rng.normal(size=200)
    X = np.column_stack([x, x, np.zeros(200)])
    target = (rng.random((200, 1)) < 1 / (1 + np.exp(-x[:, None]))) * 1.0
    coefficients = logistic_regression(X, target).coefficients
    alone = logistic_regression(X[:, :1], target).coefficients
    assert coefficients.sum() == pytest.approx(alone[0, 0], rel=1e-6)
    assert coefficients[0, 2] == 0


def test_every_iteration_is_told(rng):
    X = rng.normal(size=(100, 2))
    told = []
    losses = logistic_regression(
        X, (X[:, :1] > 0.3) * 1.0, l2=0.01, told=lambda i, loss: told.append((i, loss))
    ).losses
    assert told == [(i + 1, loss) for i, loss in enumerate(losses)] and len(told) > 2
    stopped = logistic_regression(X, (X[:, :1] > 0.3) * 1.0, told=lambda i, loss: i == 2)
    assert len(stopped.losses) == 2 and not stopped.interrupted


@pytest.mark.parametrize("outputs", [1, 3])
def test_an_interruption_leaves_the_last_iteration(outputs, monkeypatch, rng):
    X = rng.normal(size=(100, 2))
    target = labels(rng, X, outputs)[1]
    stopped = logistic_regression(X, target, told=lambda i, loss: i == 3)

    def interrupt(i, loss):
        if i == 3:
            raise KeyboardInterrupt

    interrupted = logistic_regression(X, target, told=interrupt)
    assert interrupted.interrupted
    assert np.array_equal(interrupted.coefficients, stopped.coefficients)
    assert np.array_equal(interrupted.intercepts, stopped.intercepts)
    assert interrupted.losses == stopped.losses and stopped.coefficients.any()

    def at_once(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(solvers._Logistic, "derivatives", at_once)
    first = logistic_regression(X, target)
    assert first.interrupted and first.losses == [] and not first.coefficients.any()
