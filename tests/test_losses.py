import numpy as np
import pytest

from farthing import FarthingError
from farthing.losses import (
    LOSSES,
    DistillationLoss,
    binary_cross_entropy,
    resolve_loss,
    squared_error,
)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_finite_difference(loss, weighted, rng):
    z = rng.normal(size=(5, 2)) * 3
    target = rng.random((5, 2))
    weight = rng.random(5) if weighted else None
    _, gradient = loss(z, target, weight)
    step = 1e-6
    for i in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[i] += step
        down[i] -= step
        slope = (loss(up, target, weight)[0] - loss(down, target, weight)[0]) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_binary_cross_entropy_is_the_definition(rng):
    z = rng.normal(size=(7, 1))
    target = rng.random((7, 1))
    p = 1 / (1 + np.exp(-z))
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    assert binary_cross_entropy(z, target)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_neither_overflows_nor_changes_type(dtype):
    z = np.array([[1e30], [-1e30], [100], [-100]], dtype)
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = binary_cross_entropy(z, np.array([[1], [0], [1], [0]], dtype))
    assert loss == pytest.approx(0)
    assert gradient.dtype == dtype
    assert np.array_equal(gradient.round(20), np.zeros((4, 1)))


def test_blended_targets_blend_the_losses(rng):
    z, label, teacher = rng.normal(size=(6, 1)), rng.integers(0, 2, (6, 1)), rng.random((6, 1))
    blended = binary_cross_entropy(z, 0.3 * teacher + 0.7 * label)
    parts = [binary_cross_entropy(z, target) for target in (teacher, label)]
    assert blended[0] == pytest.approx(0.3 * parts[0][0] + 0.7 * parts[1][0])
    np.testing.assert_allclose(blended[1], 0.3 * parts[0][1] + 0.7 * parts[1][1], rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_weight_counts_as_that_many_rows(loss, rng):
    z, target = rng.normal(size=(3, 1)), rng.random((3, 1))
    counts = np.array([1, 0, 3])
    repeated = loss(np.repeat(z, counts, axis=0), np.repeat(target, counts, axis=0))[0]
    assert loss(z, target, counts / counts.mean())[0] == pytest.approx(repeated)


def test_inputs_stay_as_they_are(rng):
    z, target, weight = rng.normal(size=(3, 1)), rng.random((3, 1)), rng.random(3)
    before = [a.copy() for a in (z, target, weight)]
    for loss in LOSSES.values():
        loss(z, target, weight)
    assert all(np.array_equal(a, b) for a, b in zip((z, target, weight), before, strict=True))


def test_distillation_gradient_is_the_finite_difference(rng):
    loss = DistillationLoss(alpha=0.6, temperature=3.0)
    z, target, weight = rng.normal(size=(4, 1)), rng.random((4, 2)), rng.random(4)
    gradient = loss(z, target, weight)[1]
    step = np.zeros_like(z)
    for i in range(4):
        step[:] = 0
        step[i] = 1e-6
        slope = (loss(z + step, target, weight)[0] - loss(z - step, target, weight)[0]) / 2e-6
        assert gradient[i, 0] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.05, np.float64(2), 100])
def test_distillation_loss_neither_overflows_nor_changes_type(temperature):
    z = np.array([[30], [-30], [30], [0]], np.float32)
    target = np.array([[1 - 1e-7, 1], [1e-30, 0], [1, 1], [0, 0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = DistillationLoss(np.float64(0.5), temperature)(z, target)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert gradient.dtype == np.float32


@pytest.mark.parametrize("temperature", [1e-3, 0, -1, 101, np.inf, np.nan, "a", True])
def test_temperatures_that_make_no_sense_are_refused(temperature):
    with pytest.raises(
        (ValueError, TypeError), match=r"temperature must be a number in \[0.05, 100"
    ):
        DistillationLoss(alpha=0.5, temperature=temperature)


def test_resolve_loss():
    assert resolve_loss("squared") is squared_error
    assert resolve_loss(squared_error) is squared_error
    with pytest.raises(
        FarthingError, match=r"loss must be one of \['absolute', 'binary', .*\] .* got 'hinge'"
    ):
        resolve_loss("hinge")
