import numpy as np
import pytest

from farthing import FarthingError
from farthing.losses import (
    LOSSES,
    DistillationLoss,
    HuberLoss,
    ImitationLoss,
    QuantileLoss,
    absolute_error,
    binary_cross_entropy,
    cross_entropy,
    gamma_deviance,
    poisson_deviance,
    resolve_loss,
    squared_error,
)

ALL = LOSSES | {"quantile": QuantileLoss(0.8), "huber": HuberLoss(1.35)}


def check_gradient(loss, z, target, weight):
    _, gradient = loss(z, target, weight)
    step = 1e-6
    for i in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[i] += step
        down[i] -= step
        slope = (loss(up, target, weight)[0] - loss(down, target, weight)[0]) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_finite_difference(loss, weighted, rng):
    weight = rng.random(5) if weighted else None
    check_gradient(loss, rng.normal(size=(5, 2)) * 3, rng.random((5, 2)), weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("own", [absolute_error, HuberLoss(0.5), poisson_deviance])
def test_gradient_of_an_imitation_is_the_finite_difference(own, weighted, rng):
    weight = rng.random(5) if weighted else None
    target = np.column_stack([rng.normal(size=5), rng.random(5)])
    check_gradient(ImitationLoss(0.3, own), rng.normal(size=(5, 1)), target, weight)


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
def test_float32_stays_float32_and_weights_and_targets_as_they_are(loss, rng):
    z, target, weight = (rng.random(shape, np.float32) for shape in ((6, 2), (6, 2), 6))
    before = z.copy(), target.copy(), weight.copy()
    value, gradient = loss(z, target, weight)
    assert isinstance(value, float) and gradient.dtype == np.float32
    for now, then in zip((z, target, weight), before, strict=True):
        assert np.array_equal(now, then)


def test_cross_entropy_is_the_definition(rng):
    z, target = rng.normal(size=(7, 3)), rng.dirichlet(np.ones(3), 7)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -(target * np.log(p)).sum(axis=1).mean()
    assert cross_entropy(z, target)[0] == pytest.approx(expected, rel=1e-12)
    two = np.column_stack([np.zeros(7), z[:, 0]])
    p = target[:, :1]
    assert cross_entropy(two, np.hstack([1 - p, p]))[0] == pytest.approx(
        binary_cross_entropy(z[:, :1], p)[0]
    )
    with np.errstate(all="raise", under="ignore"):
        assert cross_entropy(np.array([[1e30, -1e30, 0]]), np.array([[1.0, 0, 0]]))[0] == 0


@pytest.mark.parametrize(
    ("loss", "of", "link"),
    [
        (squared_error, np.mean, lambda z: z),
        (absolute_error, np.median, lambda z: z),
        (QuantileLoss(0.9), lambda y: np.quantile(y, 0.9), lambda z: z),
        (poisson_deviance, np.mean, np.exp),
        (gamma_deviance, np.mean, np.exp),
    ],
)
def test_the_best_constant_is_what_the_loss_is_for(loss, of, link, rng):
    y = rng.gamma(2, size=(1001, 1))
    grid = np.linspace(-2, 6, 8001)
    best = grid[np.argmin([loss(np.full_like(y, z), y)[0] for z in grid])]
    assert link(best) == pytest.approx(of(y), abs=0.01)


def test_huber_is_half_the_square_within_delta_and_linear_beyond():
    z = np.array([[0.5], [-3.0]])
    value, gradient = HuberLoss(2.0)(z, np.zeros((2, 1)))
    assert value == pytest.approx((0.125 + (2 * 3 - 2)) / 2)
    np.testing.assert_allclose(gradient, [[0.25], [-1.0]])


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


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
def test_a_weight_counts_as_that_many_rows(loss, rng):
    z, target = rng.normal(size=(3, 1)), rng.random((3, 1))
    counts = np.array([1, 0, 3])
    repeated = loss(np.repeat(z, counts, axis=0), np.repeat(target, counts, axis=0))[0]
    assert loss(z, target, counts / counts.mean())[0] == pytest.approx(repeated)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_distillation_gradient_is_the_finite_difference(temperature, rng):
    loss, weight = DistillationLoss(alpha=0.6, temperature=temperature), rng.random(4)
    check_gradient(loss, rng.normal(size=(4, 1)), rng.random((4, 2)), weight)
    target = np.hstack([rng.dirichlet(np.ones(3), 4) for _ in range(2)])
    check_gradient(loss, rng.normal(size=(4, 3)), target, weight)


def test_two_classes_behind_a_softmax_are_distilled_as_behind_a_sigmoid(rng):
    loss = DistillationLoss(alpha=0.6, temperature=3.0)
    z, soft, known = rng.normal(size=(4, 1)), rng.random((4, 1)), rng.random((4, 1))
    both = np.hstack([1 - soft, soft, 1 - known, known])
    expected = loss(z, np.hstack([soft, known]))
    value, gradient = loss(np.hstack([np.zeros_like(z), z]), both)
    assert value == pytest.approx(expected[0])
    np.testing.assert_allclose(gradient[:, 1:], expected[1], rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.05, np.float64(2), 100])
def test_distillation_loss_neither_overflows_nor_changes_type(temperature):
    z = np.array([[30], [-30], [30], [0]], np.float32)
    target = np.array([[1 - 1e-7, 1], [1e-30, 0], [1, 1], [0, 0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = DistillationLoss(np.float64(0.5), temperature)(z, target)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert gradient.dtype == np.float32
    z = np.array([[30, -30, 0], [0, 0, 0]], np.float32)
    target = np.array([[1, 0, 0, 0, 1, 0], [1e-30, 1, 0, 0, 0, 1]], np.float32)
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
