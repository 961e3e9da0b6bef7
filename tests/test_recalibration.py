"""Slope and intercept of the last value, against scipy's general-purpose minimiser."""

import credit
import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_softmax, logit, softmax

import farthing
from farthing.recalibration import (
    refit_level,
    refit_log,
    refit_logit,
    refit_softmax,
    refit_value,
)


@pytest.fixture
def scored(rng):
    """Probabilities that are too flat and too high, and labels of rows drawn without them."""
    z = rng.normal(-1, 1.5, 2000)
    labels = (rng.random(2000) < expit(z)).astype(float)
    return expit(0.6 * z + 0.4), labels


def minimised(p, target, weight=None, prior_deviation=None):
    """Slope and intercept by the definition: the weighted log-loss, weights of mean 1, plus the
    prior's on the slope and on the level at the mean logit."""
    z = logit(p)
    weight = np.ones(len(z)) if weight is None else weight / np.mean(weight)
    centre = np.average(z, weights=weight)

    def loss(parameters):
        slope, level = parameters
        shifted = slope * (z - centre) + centre + level
        value = weight @ (np.logaddexp(0, shifted) - target * shifted)
        if prior_deviation is not None:
            value += ((slope - 1) ** 2 + level**2) / (2 * prior_deviation**2)
        return value

    slope, level = minimize(loss, [1.0, 0.0], tol=1e-12).x
    return slope, level + centre - slope * centre


@pytest.mark.parametrize("prior_deviation", [None, 0.05, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_the_minimum_is_found(prior_deviation, weighted, soft, scored, rng):
    p, target = scored
    if soft:
        target = 0.7 * expit(logit(p) * 1.4) + 0.3 * target
    weight = rng.uniform(0, 5, len(p)) if weighted else None
    ours = refit_logit(p, target, weight, prior_deviation)
    theirs = minimised(p, target, weight, prior_deviation)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours != (1.0, 0.0)


def test_what_was_done_is_undone(scored):
    slope, intercept = refit_logit(*scored)
    assert slope == pytest.approx(1 / 0.6, rel=0.1)
    assert intercept == pytest.approx(-0.4 / 0.6, abs=0.15)


def test_the_prior_holds_back_few_rows_more_than_many(scored):
    p, labels = scored
    few, many = (refit_logit(p[:n], labels[:n], prior_deviation=0.05)[0] for n in (50, 2000))
    assert 1 < few < many < refit_logit(p, labels)[0]


def test_a_weight_counts_rows_and_only_ratios_of_weights_matter(scored, rng):
    p, labels = scored
    weight = rng.integers(0, 4, len(p))
    repeated = refit_logit(np.repeat(p, weight), np.repeat(labels, weight))
    np.testing.assert_allclose(refit_logit(p, labels, weight), repeated, rtol=1e-6)
    with_prior = refit_logit(p, labels, weight, 0.05)
    np.testing.assert_allclose(refit_logit(p, labels, weight * 1e-3, 0.05), with_prior, rtol=1e-9)


@pytest.mark.parametrize("prior_deviation", [None, 0.05])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_moves_the_level_its_way_and_stays_finite(label, prior_deviation, scored):
    p, _ = scored
    slope, intercept = refit_logit(p, np.full(len(p), label), prior_deviation=prior_deviation)
    refitted = expit(slope * logit(p) + intercept)
    assert np.isfinite([slope, intercept]).all() and slope > 0
    assert (refitted.mean() > p.mean()) == bool(label)
    if prior_deviation:
        # Two thousand rows of one class against a prior of 0.05: not even halfway there.
        assert 0.1 < refitted.mean() < 0.9


def test_separable_rows_give_a_steep_but_finite_slope(scored):
    p, _ = scored
    labels = (p > 0.3).astype(float)
    slope, intercept = refit_logit(p, labels)
    assert slope > 50 and np.isfinite([slope, intercept]).all()
    assert -intercept / slope == pytest.approx(logit(0.3), abs=0.02)
    assert 1 < refit_logit(p, labels, prior_deviation=0.05)[0] < 2


def test_certain_predictions_stay_finite():
    p = np.array([0.0, 0.0, 1.0, 1.0] * 50)
    labels = np.array([0.0, 1.0, 1.0, 1.0] * 50)
    slope, intercept = refit_logit(p, labels)
    # Two groups of rows: the refitted probabilities are the groups' own shares.
    z = np.log(2.0**24 - 1)
    assert expit(-slope * z + intercept) == pytest.approx(0.5, abs=1e-3)
    assert expit(slope * z + intercept) > 0.99


@pytest.mark.parametrize(
    ("refit", "target"),
    [
        (refit_logit, lambda p: (p < 0.3).astype(float)),
        (refit_value, lambda p: -p),
    ],
)
def test_an_order_turned_round_changes_nothing(refit, target, scored):
    p, _ = scored
    assert refit(p, target(p)) == (1.0, 0.0)


@pytest.mark.parametrize("refit", [refit_logit, refit_value])
def test_rows_without_weight_change_nothing(refit, scored):
    p, labels = scored
    assert refit(p, labels, np.zeros(len(p))) == (1.0, 0.0)


def test_a_constant_prediction_gets_the_right_level():
    slope, intercept = refit_logit(np.full(100, 0.5), np.repeat([0.0, 1.0], [80, 20]))
    assert slope == 1.0
    assert intercept == pytest.approx(logit(0.2), abs=1e-3)
    assert refit_value(np.full(100, 3.0), np.arange(100.0)) == (1.0, 0.0)


def test_values_are_refitted_by_weighted_least_squares(rng):
    value = rng.normal(size=300)
    target = 1.7 * value - 4 + rng.normal(size=300)
    weight = rng.uniform(0, 3, 300)
    np.testing.assert_allclose(refit_value(value, target), np.polyfit(value, target, 1))
    expected = np.polyfit(value, target, 1, w=np.sqrt(weight))
    np.testing.assert_allclose(refit_value(value, target, weight), expected)


@pytest.fixture
def scored_classes(rng):
    """Probabilities of three classes, too flat and off in level, and labels drawn without."""
    z = rng.normal(size=(1500, 3)) * 1.5
    labels = (np.cumsum(softmax(z, axis=1), axis=1) < rng.random((1500, 1))).sum(axis=1)
    return softmax(0.6 * z + [0.4, 0, -0.3], axis=1), np.eye(3)[labels]


@pytest.mark.parametrize("prior_deviation", [None, 0.05, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_the_minimum_over_several_classes_is_found(
    prior_deviation, weighted, soft, scored_classes, rng
):
    p, target = scored_classes
    if soft:
        target = 0.7 * softmax(1.4 * np.log(p), axis=1) + 0.3 * target
    weight = rng.uniform(0, 5, len(p)) if weighted else None
    shares = np.ones(len(p)) if weight is None else weight / weight.mean()
    z = np.log(p) - np.log(p).mean(axis=1, keepdims=True)
    centre = np.average(z, axis=0, weights=shares)

    def loss(parameters):
        moved = parameters[0] * (z - centre) + centre + parameters[1:]
        value = -shares @ (target * log_softmax(moved, axis=1)).sum(axis=1)
        if prior_deviation is not None:
            off = parameters - [1, 0, 0, 0]
            value += off @ off / (2 * prior_deviation**2)
        return value

    best = minimize(loss, [1.0, 0, 0, 0], tol=1e-12).x
    slope, intercept = refit_softmax(p, target, weight, prior_deviation)
    assert slope == pytest.approx(best[0], rel=1e-4)
    expected = best[1:] + centre - best[0] * centre
    np.testing.assert_allclose(
        intercept - intercept.mean(), expected - expected.mean(), rtol=1e-3, atol=1e-3
    )
    assert slope != 1


def test_several_classes_are_undone_held_back_and_kept_finite(scored_classes):
    p, labels = scored_classes
    slope, intercept = refit_softmax(p, labels)
    assert slope == pytest.approx(1 / 0.6, rel=0.1)
    expected = -np.array([0.4, 0, -0.3]) / 0.6
    np.testing.assert_allclose(intercept - intercept.mean(), expected - expected.mean(), atol=0.2)
    few, many = (refit_softmax(p[:n], labels[:n], prior_deviation=0.05)[0] for n in (50, 1500))
    assert 1 < few < many < slope
    certain = np.eye(3)[[0, 1, 2, 0]]
    slope, intercept = refit_softmax(np.repeat(certain, 50, axis=0), np.repeat(certain, 50, axis=0))
    assert slope > 0 and np.isfinite(intercept).all()
    weight = np.zeros(len(p))
    slope, intercept = refit_softmax(p, labels, weight)
    assert slope == 1 and not intercept.any()
    slope, intercept = refit_softmax(p, labels[:, [1, 2, 0]] * 0 + (p == p.min(axis=1)[:, None]))
    assert slope == 1 and not intercept.any()


@pytest.mark.parametrize("family", ["poisson", "gamma"])
@pytest.mark.parametrize("prior_deviation", [None, 0.05])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_minimum_on_the_log_scale_is_found(family, prior_deviation, weighted, rng):
    value = np.exp(rng.normal(1, 0.5, 800))
    mean = 1.3 * value**1.4
    y = rng.poisson(mean).astype(float) if family == "poisson" else rng.gamma(2, mean / 2)
    weight = rng.uniform(0, 3, 800) if weighted else None
    shares = np.ones(800) if weight is None else weight / weight.mean()
    z = np.log(value)
    scale = np.average(value, weights=weight)
    centre = np.average(z, weights=weight)
    power = 1 if family == "poisson" else 2
    dispersion = np.average((y - value) ** 2 / (value / scale) ** power, weights=weight)
    dispersion /= scale**2

    def loss(parameters):
        moved = parameters[0] * (z - centre) + centre + parameters[1]
        deviance = np.exp(moved) - y * moved if family == "poisson" else moved + y / np.exp(moved)
        unit = scale if family == "poisson" else 1
        likelihood = shares @ deviance / unit / dispersion
        if prior_deviation is None:
            return likelihood
        off = parameters - [1, 0]
        return likelihood + off @ off / (2 * prior_deviation**2)

    slope, level = minimize(loss, [1.0, 0.0], tol=1e-12).x
    ours = refit_log(value, y, weight, family, prior_deviation)
    np.testing.assert_allclose(ours, [slope, level + centre - slope * centre], atol=2e-3)
    assert ours[0] > 1.02


@pytest.mark.parametrize("family", ["poisson", "gamma"])
def test_the_unit_of_a_mean_does_not_matter(family, rng):
    value = np.exp(rng.normal(1, 0.5, 300))
    y = rng.gamma(2, value**1.3)
    slope, intercept = refit_log(value, y, None, family, 0.05)
    for unit in (1e-6, 1e6):
        other = refit_log(value * unit, y * unit, None, family, 0.05)
        assert other[0] == pytest.approx(slope, rel=1e-6)
        assert other[1] == pytest.approx(intercept + (1 - slope) * np.log(unit), rel=1e-6)


def test_a_mean_without_events_or_weight_stays_finite():
    value = np.exp(np.linspace(-1, 1, 50))
    slope, intercept = refit_log(value, np.zeros(50), prior_deviation=0.05)
    assert slope > 0 and -5 < intercept < 0
    assert refit_log(value, value, np.zeros(50)) == (1.0, 0.0)
    assert refit_log(np.full(50, 2.0), np.full(50, 4.0))[0] == 1.0
    assert refit_log(value, 1 / value**3) == (1.0, 0.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_level_gives_the_shares_of_the_target(weighted, scored, scored_classes, rng):
    for p, target in (scored, scored_classes):
        weight = rng.uniform(0, 3, len(p)) if weighted else None
        level = refit_level(p, target, weight)
        moved = expit(logit(p) + level) if p.ndim == 1 else softmax(np.log(p) + level, axis=1)
        expected = np.average(target, axis=0, weights=weight)
        np.testing.assert_allclose(np.average(moved, axis=0, weights=weight), expected, rtol=1e-6)
        assert np.abs(level).max() > 0.1
    p, _ = scored
    assert -20 < refit_level(p, np.zeros(len(p))) < -2
    assert np.isfinite(refit_level(np.array([0.0, 1.0]), np.array([1.0, 1.0])))


def test_rows_without_weight_count_as_absent(scored, rng):
    p, labels = scored
    weight = np.where(np.arange(len(p)) < 200, 2.0, 0.0)
    expected = refit_logit(p[:200], labels[:200], prior_deviation=0.05)
    np.testing.assert_allclose(refit_logit(p, labels, weight, 0.05), expected, rtol=1e-9)
    expected = refit_log(p[:200], labels[:200], prior_deviation=0.05)
    np.testing.assert_allclose(
        refit_log(p, labels, weight, prior_deviation=0.05), expected, rtol=1e-9
    )


def test_fit_folds_it_into_the_last_layer():
    X, y = credit.data()
    search = (X[2000:], y[2000:], np.where(y[2000:] == 1, 6.0, 1.0))
    plain, calibrated = (
        farthing.Classifier(hidden=(6,), max_epochs=3, calibrate=calibrate, random_state=0).fit(
            X[:2000], y[:2000], eval_set=search
        )
        for calibrate in (False, True)
    )
    before = plain.predict_proba(X)[:, 1].astype(np.float64)
    # First the level, on the rows learnt from.
    level = brentq(lambda b: np.mean(expit(logit(before[:2000]) + b) - y[:2000]), -1, 1)
    assert abs(level) > 0.002
    before = expit(logit(before) + level)
    slope, intercept = minimised(before[2000:], y[2000:], search[2], prior_deviation=0.05)
    assert abs(intercept) > 0.01
    expected = expit(slope * logit(before) + intercept)
    np.testing.assert_allclose(calibrated.predict_proba(X)[:, 1], expected, atol=1e-5)


def test_a_prior_keeps_few_rows_of_a_skewed_target_from_deciding_the_line():
    rng = np.random.default_rng(0)
    value = np.exp(rng.normal(size=400))
    target = value * np.exp(2 * rng.normal(size=400) - 2)
    target[np.argmax(value)] = 400.0
    plain = refit_value(value, target)
    slope, intercept = refit_value(value, target, prior_deviation=0.05)
    assert plain[0] > 3 and abs(plain[1]) > 3
    assert 1 < slope < 1.1 and abs(intercept) < 0.3
    for factor, shift in ((1e6, 0.0), (1e-6, 1e3)):  # the same in any unit
        scaled = refit_value(value * factor + shift, target * factor + shift, None, 0.05)
        assert scaled[0] == pytest.approx(slope, rel=1e-6)


def test_a_prior_gives_way_to_rows_that_agree():
    value = np.linspace(-1, 1, 500)
    noise = np.random.default_rng(0).normal(size=500) * 0.01
    slope, intercept = refit_value(value, 1.5 * value + 0.2 + noise, prior_deviation=0.05)
    assert slope == pytest.approx(1.5, abs=0.01) and intercept == pytest.approx(0.2, abs=0.01)
    weight = np.repeat([1.0, 0.0], 250)
    assert refit_value(value, np.r_[2 * value[:250], -value[250:]], weight, 0.05)[0] > 1.99
