"""What y means: scales, starting points, recalibration, class weights, blends."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from farthing import FarthingError
from farthing.encoding import Standardizer
from farthing.losses import HuberLoss, binary_cross_entropy, cross_entropy
from farthing.model import Model
from farthing.targets import Classes, Means, Values, huber_location, quantile, tilted

ROBUST = {
    "absolute": Values("absolute"),
    "quantile": Values("quantile", level=0.8),
    "huber": Values("huber", delta=0.5),
}


@pytest.fixture
def model(rng):
    def build(**fields):
        encoder = Standardizer().fit(rng.normal(size=(50, 3)))
        return Model.build(encoder, (4,), seed=1, **fields)

    return build


# ---- locations ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.1, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("n", [1, 2, 4, 20, 33])
def test_quantiles_are_numpys(level, n, rng):
    values = rng.integers(0, 20, n).astype(float)
    expected = np.quantile(values, level, method="averaged_inverted_cdf")
    assert quantile(values, level) == expected
    weight = rng.integers(0, 4, n)
    weight[0] = 1
    assert quantile(values, level, weight) == quantile(np.repeat(values, weight), level)


@pytest.mark.parametrize("delta", [0.01, 1.0, 100.0])
def test_the_huber_location_has_the_least_loss(delta, rng):
    values, weight = rng.standard_cauchy(200), rng.uniform(0, 2, 200)
    loss, column = HuberLoss(delta), values[:, None]

    def total(constant):
        return loss(np.full_like(column, constant), column, weight)[0]

    best = minimize_scalar(total, bracket=(-1, 1), tol=1e-10)
    ours = huber_location(values, delta, weight)
    assert total(ours) <= best.fun * (1 + 1e-12)
    if delta == 100:  # nearly all are within: the mean of the clipped
        assert ours == pytest.approx(best.x, abs=1e-4)


# ---- scales ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squared", *ROBUST])
def test_values_are_learnt_at_deviation_1_from_their_best_constant(name, model, rng):
    objective = ROBUST.get(name, Values("squared"))
    target, weight = rng.gamma(1, 7, 600) + 40, rng.random(600)
    network = model(link="identity")
    network.layers[-1].weight[:] = 0
    with objective.scaled(network, target, weight) as scaled:
        ours = scaled(target)
        assert np.average(ours, weights=weight) == pytest.approx(0, abs=1e-9)
        assert np.average(ours**2, weights=weight) == pytest.approx(1, abs=1e-9)
        start = network.layers[-1].bias[0]
        grid = np.float32(start + np.array([0, -0.02, 0.02]))
        losses = [objective.loss(np.full((600, 1), z), ours[:, None], weight)[0] for z in grid]
        assert np.argmin(losses) == 0
    # Back in its own units the constant is what the loss is for.
    expected = {
        "squared": np.average(target, weights=weight),
        "absolute": quantile(target, 0.5, weight),
        "quantile": quantile(target, 0.8, weight),
    }
    if name in expected:
        assert network.forward(np.zeros((1, 3)))[0, 0] == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.parametrize("objective", [Values("squared"), Values("absolute"), Means("poisson")])
def test_a_fitted_model_goes_on_from_where_it_is(objective, model, rng):
    network = model(link=objective.link, output_bias=3.0)
    X, target = rng.normal(size=(600, 3)), rng.normal(40, 7, 600)
    before = network.forward(X)
    with objective.scaled(network, target, fitted=True) as scaled:
        if objective.link == "identity":
            np.testing.assert_allclose(network.forward(X), scaled(before), atol=1e-4)
        else:
            expected = np.exp(before) / target.mean()
            np.testing.assert_allclose(np.exp(network.forward(X)), expected, rtol=1e-4)
    np.testing.assert_allclose(network.forward(X), before, rtol=1e-4)
    with pytest.raises(RuntimeError), objective.scaled(network, target, fitted=True):
        raise RuntimeError
    np.testing.assert_allclose(network.forward(X), before, rtol=1e-4, atol=1e-4)


def test_a_constant_is_its_own_scale(model):
    network = model(link="identity")
    with Values("squared").scaled(network, np.full(600, 0.1)) as scaled:
        assert not scaled(np.full(600, 0.1)).any()


@pytest.mark.parametrize("name", ["poisson", "gamma"])
def test_means_are_learnt_at_mean_1(name, model, rng):
    target, weight = rng.gamma(1, 7e5, 600), rng.random(600)
    network = model(link="log")
    network.layers[-1].weight[:] = 0
    with Means(name).scaled(network, target, weight) as scaled:
        assert np.average(scaled(target), weights=weight) == pytest.approx(1, rel=1e-5)
        assert network.layers[-1].bias[0] == 0
    score = np.exp(network.forward(np.zeros((1, 3)))[0, 0])
    assert score == pytest.approx(np.average(target, weights=weight), rel=1e-5)


def test_a_classifier_starts_at_the_shares_of_its_classes(model, rng):
    for share, start in ((0.25, 0.25), (0.0, 0.5 / 600), (1.0, 1 - 0.5 / 600)):
        network = model()
        y = (np.arange(600) < 600 * share).astype(np.float32)
        with Classes(2).scaled(network, y) as scaled:
            assert np.array_equal(scaled(y), y)
        assert expit(network.layers[-1].bias[0]) == pytest.approx(start, rel=1e-5)
    fitted = model(output_bias=0.7)
    with Classes(2).scaled(fitted, y, fitted=True):
        assert fitted.layers[-1].bias[0] == np.float32(0.7)
    target, weight = np.eye(3)[rng.integers(0, 3, 600)], rng.random(600)
    shares = np.average(target, axis=0, weights=weight)
    for columns in (target, np.hstack([target[::-1], target])):  # a teacher's columns, then y's
        network = model(n_outputs=3, link="softmax")
        with Classes(3).scaled(network, columns, weight):
            np.testing.assert_allclose(softmax(network.layers[-1].bias), shares, rtol=1e-5)
    network = model()
    with Classes(2).scaled(network, np.column_stack([np.zeros(600), target[:, 0]]), weight):
        assert expit(network.layers[-1].bias[0]) == pytest.approx(shares[0], rel=1e-5)


# ---- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "target", "says"),
    [
        (Means("poisson"), np.zeros(5), "y must have a positive sum for loss='poisson'"),
        (Means("gamma"), np.full(5, 1e-35), "y must have a mean from 1e-30 .* got 1e-35; rescale"),
        (Values("absolute"), 1e8 + np.arange(5), "y must vary by 100 steps of float32"),
    ],
)
def test_what_cannot_be_learnt_is_refused(objective, target, says):
    with pytest.raises(FarthingError, match=says):
        objective.check(target, None)


def test_a_positive_sum_counts_rows_with_weight():
    with pytest.raises(FarthingError, match="positive sum"):
        Means("poisson").check(np.array([0.0, 1.0]), np.array([1.0, 0.0]))


# ---- recalibration --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("weighted", [False, True])
def test_robust_losses_are_recalibrated_by_their_level_alone(name, weighted, rng):
    objective = ROBUST[name]
    score = rng.normal(size=500)
    known = 3 * score + 5 + rng.standard_t(3, 500)
    weight = rng.uniform(0, 2, 500) if weighted else None
    slope, intercept = objective.calibration(score, known, weight)
    assert slope == 1
    deviation = np.sqrt(np.cov(known, aweights=weight, ddof=0))
    own = HuberLoss(0.5 * deviation) if name == "huber" else objective.loss

    def loss(shift):
        return own((score + shift)[:, None], known[:, None], weight)[0]

    for step in (-1e-2, 1e-2):
        assert loss(intercept) <= loss(intercept + step) * (1 + 1e-12)
    assert objective.calibration(score, known, np.zeros(500)) == (1.0, 0.0)


def test_predictions_before_a_step_are_met_on_the_scale_of_the_output(rng):
    z = rng.normal(size=300)
    slope, intercept = Means("gamma").restoration(np.exp(0.5 * z - 1), np.exp(z))
    assert (slope, intercept) == pytest.approx((2, 2))
    slope, intercept = Values("absolute").restoration(0.5 * z - 1, z)
    assert (slope, intercept) == pytest.approx((2, 2))
    slope, intercept = Classes(2).restoration(expit(0.5 * z - 1), expit(z))
    assert (slope, intercept) == pytest.approx((2, 2), rel=1e-4)
    z = rng.normal(size=(300, 3))
    slope, intercept = Classes(3).restoration(softmax(0.5 * z - [1, 0, 0], axis=1), softmax(z, 1))
    assert slope == pytest.approx(2, rel=1e-4)
    np.testing.assert_allclose(intercept - intercept[1], [2, 0, 0], atol=1e-3)


# ---- blends ---------------------------------------------------------------------------------


def test_blends_of_losses_linear_in_their_target_are_one_target(rng):
    said, known = rng.random(9), rng.random(9)
    for objective in (Values("squared"), Classes(2)):
        assert objective.imitation(0.3) is objective
        np.testing.assert_allclose(objective.blended(said, known, 0.3), 0.3 * said + 0.7 * known)
        assert np.array_equal(objective.blended(said, None, 0.3), said)


@pytest.mark.parametrize("objective", [*ROBUST.values(), Means("poisson")])
@pytest.mark.parametrize("alpha", [0.3, 1])
def test_other_losses_imitate_the_output_by_its_square(objective, alpha, model, rng):
    said, known = rng.gamma(2, 50, 80), rng.gamma(2, 50, 80)
    z = np.log(said) if objective.link == "log" else said
    network = model(link=objective.link, output_bias=float(z.mean()))
    learning = objective.imitation(alpha)
    target = objective.blended(said, known, alpha)
    X = rng.normal(size=(80, 3))
    before = network.forward(X).astype(np.float64)
    with learning.scaled(network, target, fitted=True) as scaled:
        now = network.forward(X)
        columns = scaled(target).reshape(80, -1)
        assert columns.shape[1] == (1 if alpha == 1 else 2)
        unit = 1.0 if objective.link == "log" else (known if alpha < 1 else said).std()
        value = learning.loss(now, columns)[0]
        near = 0.5 * np.mean(((before[:, 0] - z) / unit) ** 2)
        own = objective.loss(now, columns[:, -1:])[0]
        assert value == pytest.approx(alpha * near + (1 - alpha) * own * (alpha < 1), rel=1e-4)
        if objective.link == "log" and alpha < 1:  # y in the units of the shifted output
            level = np.mean(z)
            np.testing.assert_allclose(columns[:, 1], known / np.exp(level), rtol=1e-5)
            np.testing.assert_allclose(now[:, 0], before[:, 0] - level, atol=1e-5)
    np.testing.assert_allclose(network.forward(X), before, rtol=1e-4, atol=1e-4)


# ---- class weights --------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_tilted_target_has_the_class_weighted_gradient(blocks, rng):
    weights = np.array([0.5, 3.0, 1.0])
    z, target = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(3), 6)
    log_p = log_softmax(z, axis=1)
    expected = -(weights * target * log_p).sum(axis=1).mean() / 3
    gradient = (weights * target).sum(axis=1, keepdims=True) * np.exp(log_p) - weights * target
    other = rng.dirichlet(np.ones(3), 6)
    given = target if blocks == 1 else np.hstack([other, target])
    moved, factor = tilted(given, weights)
    np.testing.assert_allclose(moved.reshape(6, -1, 3).sum(axis=2), 1)
    ours = cross_entropy(z, moved[:, -3:], factor)
    np.testing.assert_allclose(ours[1], gradient / 6 / 3, atol=1e-12)
    plain = cross_entropy(z, target * weights / 3)  # a row counts the sum of its targets
    assert ours[0] == pytest.approx(plain[0]) == pytest.approx(expected)


def test_two_classes_are_tilted_as_labels_weighted_would_be(rng):
    z, p = rng.normal(size=(6, 1)), rng.random(6)
    moved, factor = tilted(p, np.array([0.5, 2.0]))
    ours = binary_cross_entropy(z, moved[:, None], factor)
    labels = [binary_cross_entropy(z, np.full((6, 1), y), w) for y, w in ((0.0, 1 - p), (1.0, p))]
    expected = 0.25 * labels[0][0] + 1.0 * labels[1][0]
    assert ours[0] == pytest.approx(expected)
    np.testing.assert_allclose(ours[1], 0.25 * labels[0][1] + labels[1][1], atol=1e-12)
    both, last = tilted(np.column_stack([p[::-1], p]), np.array([0.5, 2.0]))
    assert np.array_equal(both[:, 1], moved) and np.array_equal(both[:, 0], moved[::-1])
    assert np.array_equal(last, factor)
