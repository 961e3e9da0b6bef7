import numpy as np
import pytest

from farthing.batchnorm import BatchNorm


def test_training_normalises_by_the_minibatch(rng):
    norm = BatchNorm(3, float)
    norm.gamma[:], norm.beta[:] = [1, 2, -1], [0, 5, 1]
    z = rng.normal(7, 3, size=(400, 3))
    y, _ = norm.forward(z, training=True)
    np.testing.assert_allclose(y.mean(axis=0), norm.beta, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=0), [1, 2, 1], rtol=1e-5)


def test_weights_count_as_repeated_rows(rng):
    z, dy = rng.normal(size=(2, 40, 3))
    weight = rng.integers(0, 4, 40)
    weighted, repeated = BatchNorm(3, float), BatchNorm(3, float)
    y, backward = weighted.forward(z, True, weight.astype(float))
    rows = np.repeat(np.arange(40), weight)
    y2, backward2 = repeated.forward(z[rows], True)
    np.testing.assert_allclose(y[rows], y2, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(weighted.mean, repeated.mean)
    np.testing.assert_allclose(weighted.variance, repeated.variance)
    # A loss that counts rows by weight has gradients with the weight in them.
    dz, gradient = backward(dy * weight[:, None])
    dz2, gradient2 = backward2(dy[rows])
    total = np.zeros((40, 3))
    np.add.at(total, rows, dz2)
    np.testing.assert_allclose(dz, total, atol=1e-12)
    for name in ("gamma", "beta"):
        np.testing.assert_allclose(gradient[name], gradient2[name], atol=1e-12)


def test_evaluation_uses_the_running_statistics(rng):
    norm = BatchNorm(2, float)
    first, second = rng.normal(size=(2, 50, 2))
    norm.forward(first, True)
    np.testing.assert_allclose(norm.mean, first.mean(axis=0))
    np.testing.assert_allclose(norm.variance, first.var(axis=0))
    for _ in range(200):
        norm.forward(second, True)
    expected = (first - second.mean(axis=0)) / np.sqrt(second.var(axis=0) + 1e-5)
    np.testing.assert_allclose(norm.forward(first)[0], expected, rtol=1e-6)
    scale, shift = norm.affine()
    np.testing.assert_allclose(first * scale + shift, expected, rtol=1e-6)


def test_a_minibatch_without_weight_teaches_nothing(rng):
    norm = BatchNorm(2, float)
    z = rng.normal(size=(5, 2))
    y, backward = norm.forward(z, True, np.zeros(5))
    assert norm.mean.tolist() == [0, 0] and norm.variance.tolist() == [1, 1]
    assert np.isfinite(y).all() and np.isfinite(backward(np.zeros((5, 2)))[0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_keep_their_type(dtype, rng):
    norm = BatchNorm(2, dtype)
    z = rng.normal(size=(5, 2)).astype(dtype)
    y, backward = norm.forward(z, True, rng.random(5).astype(dtype))
    dz, gradient = backward(z)
    assert {a.dtype for a in (y, dz, *gradient.values(), norm.mean, norm.variance)} == {
        np.dtype(dtype)
    }
    assert norm.forward(z)[0].dtype == dtype
