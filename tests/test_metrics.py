"""Metrics against scikit-learn, scipy and definitions written out; every error by its text."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from farthing import FarthingError, metrics

BINARY = [metrics.auc, metrics.gini, metrics.average_precision, metrics.ks]
PROBABILITY = [metrics.log_loss, metrics.brier]
VALUES = [metrics.mse, metrics.rmse, metrics.mae]


def sample(seed, rows=400, decimals=None):
    """Events, probabilities (rounded: with ties) and weights."""
    rng = np.random.default_rng(seed)
    y = rng.random(rows) < 0.3
    p = 1 / (1 + np.exp(-rng.normal(1.2 * y - 1, 1)))
    return y, p if decimals is None else p.round(decimals), rng.gamma(1.0, size=rows)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("decimals", [None, 2, 1, 0], ids=lambda d: f"decimals={d}")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.auc, reference.roc_auc_score),
        (metrics.average_precision, reference.average_precision_score),
        (metrics.brier, reference.brier_score_loss),
        (metrics.mse, reference.mean_squared_error),
        (metrics.rmse, reference.root_mean_squared_error),
        (metrics.mae, reference.mean_absolute_error),
    ],
    ids=lambda f: f.__name__,
)
def test_equals_scikit_learn(ours, theirs, decimals, weighted):
    y, p, weight = sample(1, decimals=decimals)
    weight = weight if weighted else None
    y = y.astype(float)
    assert ours(y, p, weight) == pytest.approx(theirs(y, p, sample_weight=weight), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_log_loss_equals_scikit_learn(weighted):
    y, p, weight = sample(2)
    weight = weight if weighted else None
    expected = reference.log_loss(y, p, sample_weight=weight)
    assert metrics.log_loss(y, p, weight) == pytest.approx(expected, rel=1e-12)


def test_log_loss_treats_float32_and_float64_scores_alike():
    y, p = np.array([0, 1, 0, 1]), np.array([1.0, 0.0, 0.0, 1.0])
    expected = (24 * np.log(2) - np.log1p(-(2.0**-24))) / 2
    assert metrics.log_loss(y, p) == pytest.approx(expected, rel=1e-12)
    assert metrics.log_loss(y, p.astype(np.float32)) == metrics.log_loss(y, p)


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "ties"])
def test_auc_is_the_share_of_pairs_won_and_gini_follows(decimals):
    y, p, weight = sample(3, rows=150, decimals=decimals)
    won = (p[y][:, None] > p[~y]) + 0.5 * (p[y][:, None] == p[~y])
    assert metrics.auc(y, p) == pytest.approx(won.mean(), rel=1e-13)
    share = np.outer(weight[y], weight[~y])
    assert metrics.auc(y, p, weight) == pytest.approx((won * share).sum() / share.sum(), rel=1e-13)
    assert metrics.gini(y, p, weight) == pytest.approx(2 * metrics.auc(y, p, weight) - 1, rel=1e-13)


def test_auc_takes_infinities_and_any_increasing_transform():
    y = [0, 0, 1, 1]
    assert metrics.auc(y, [-np.inf, 0.0, 0.0, np.inf]) == 0.875
    y, p, _ = sample(4)
    assert metrics.auc(y, p) == metrics.auc(y, np.log(p))
    assert metrics.auc(y, -p) == pytest.approx(1 - metrics.auc(y, p), rel=1e-12)


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "ties"])
def test_ks_equals_the_two_sample_statistic(decimals):
    y, p, _ = sample(5, decimals=decimals)
    assert metrics.ks(y, p) == pytest.approx(stats.ks_2samp(p[y], p[~y]).statistic, rel=1e-12)
    assert metrics.ks(y, -p) == pytest.approx(metrics.ks(y, p), rel=1e-12)


@pytest.mark.parametrize(
    "metric", [*BINARY, *PROBABILITY, *VALUES, metrics.calibration], ids=lambda f: f.__name__
)
def test_a_whole_weight_is_that_many_rows(metric):
    y, p, _ = sample(6, decimals=2)
    times = np.random.default_rng(6).integers(0, 4, len(y))
    repeated = metric(np.repeat(y, times), np.repeat(p, times))
    assert metric(y, p, times) == pytest.approx(repeated, rel=1e-9)


def test_any_array_kind_gives_the_same_value():
    y, p, _ = sample(7, decimals=1)
    expected = metrics.auc(y, p)
    wide = np.zeros((len(p), 3))
    wide[:, 1] = p
    for other in (list(p), p.astype(">f8"), wide[:, 1]):
        assert metrics.auc(y.astype(np.int8), other) == expected


# ---- calibration -----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_calibration_equals_an_unpenalised_logistic_regression(weighted):
    y, p, weight = sample(8)
    weight = weight if weighted else None
    logit = np.log(p / (1 - p))
    model = LogisticRegression(C=1e12, tol=1e-10).fit(logit[:, None], y, weight)
    expected = (model.coef_[0, 0], model.intercept_[0])
    assert metrics.calibration(y, p, weight) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (0.5, 0.3), (-1, -2), (4, 1)])
def test_calibration_zeroes_the_score_equations(slope, intercept):
    rng = np.random.default_rng(9)
    logit = rng.normal(-1, 1.5, 5000)
    y = rng.random(5000) < 1 / (1 + np.exp(-(intercept + slope * logit)))
    fitted = metrics.calibration(y, 1 / (1 + np.exp(-logit)))
    rest = y - 1 / (1 + np.exp(-(fitted.intercept + fitted.slope * logit)))
    assert abs(rest.sum()) < 1e-6
    assert abs((rest * logit).sum()) < 1e-6
    assert fitted.slope == pytest.approx(slope, abs=0.25)


def test_calibration_where_a_plain_newton_step_runs_away():
    logit = np.array([16.0, 6.33, -0.38, -0.44, 2.09, -0.77])
    y = np.array([0, 1, 0, 0, 1, 0])
    weight = np.array([2000, 2, 3, 0.002, 0.07, 3])
    slope, intercept = metrics.calibration(y, 1 / (1 + np.exp(-logit)), weight)
    rest = weight * (y - 1 / (1 + np.exp(-(intercept + slope * logit))))
    assert abs(rest.sum()) < 1e-6
    assert abs((rest * logit).sum()) < 1e-6


def test_calibration_takes_probabilities_of_exactly_0_and_1():
    y = np.tile([0, 1], 50)
    p = np.where(y, 1.0, 0.0)
    p[:4] = p[:4][::-1]
    assert np.isfinite(metrics.calibration(y, p)).all()


@pytest.mark.parametrize(
    ("p", "slope"),
    [
        ([0.1, 0.2, 0.3, 0.4], np.inf),
        ([0.1, 0.2, 0.2, 0.4], np.inf),
        ([0.4, 0.3, 0.2, 0.1], -np.inf),
        ([0.3, 0.3, 0.3, 0.3], np.nan),
    ],
    ids=["separated", "touching", "reversed", "constant"],
)
def test_calibration_without_a_maximum(p, slope):
    result = metrics.calibration([0, 0, 1, 1], p)
    np.testing.assert_equal(result, (slope, np.nan))


def test_calibration_of_rows_that_only_a_tiny_weight_keeps_from_separation():
    y, p = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.1])
    slope, _ = metrics.calibration(y, p, [1, 1, 1, 1, 1e-300])
    assert slope > 0


# ---- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [*BINARY, *PROBABILITY], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("y", "score", "weight", "message"),
    [
        ([0, 1, 1], [0.1, 0.2], None, "must have one length, got 3 and 2 rows"),
        ([], [], None, "no rows were given"),
        ([0, 2], [0.1, 0.2], None, r"y must be 0 or 1 in every row .*, got 2 in row 1"),
        ([0, np.nan], [0.1, 0.2], None, "y must not contain NaN, got 1, first in row 1"),
        ([0, 1], [np.nan, 0.2], None, "must not contain NaN, got 1, first in row 0"),
        ([0, 1], [[0.9, 0.1], [0.8, 0.2]], None, r"got shape \(2, 2\); pass the column of the pos"),
        ([[0], [1]], [0.1, 0.2], None, r"y must be 1-D, one value a row, got shape \(2, 1\)"),
        ([0, 1], [0.1, 0.2], [1], "sample_weight must have one value a row, got 1 for 2 rows"),
        ([0, 1], [0.1, 0.2], [1, -1], "sample_weight must not be negative, got -1 in row 1"),
        ([0, 1], [0.1, 0.2], [1, np.inf], "sample_weight must be finite, got inf in row 1"),
        ([0, 1], [0.1, 0.2], [1, np.nan], "sample_weight must not contain NaN"),
        ([0, 1], [0.1, 0.2], [0, 0], "sample_weight is 0 in every row"),
    ],
)
def test_bad_columns_are_named(metric, y, score, weight, message):
    with pytest.raises(FarthingError, match=message):
        metric(y, score, weight)


@pytest.mark.parametrize("metric", [*BINARY, metrics.calibration], ids=lambda f: f.__name__)
def test_one_class_only(metric):
    with pytest.raises(FarthingError, match=r"y has one class only \(every row is 1\)"):
        metric([1, 1], [0.1, 0.2])
    with pytest.raises(FarthingError, match=r"\(every row with a weight above 0 is 0\)"):
        metric([0, 1], [0.1, 0.2], [1, 0])


@pytest.mark.parametrize("metric", [*PROBABILITY, metrics.calibration], ids=lambda f: f.__name__)
@pytest.mark.parametrize("bad", [-0.1, 1.5, np.inf])
def test_probabilities_stay_within_0_and_1(metric, bad):
    with pytest.raises(FarthingError, match=r"p must be probabilities in \[0, 1\], got .* row 1"):
        metric([0, 1], [0.5, bad])


@pytest.mark.parametrize("metric", VALUES, ids=lambda f: f.__name__)
def test_values_are_finite(metric):
    with pytest.raises(FarthingError, match="y must be finite, got inf in row 0"):
        metric([np.inf, 1], [0.5, 1])
    with pytest.raises(FarthingError, match="prediction must be finite, got -inf in row 1"):
        metric([0.5, 1], [0.5, -np.inf])


def test_text_is_a_type_error():
    with pytest.raises(TypeError, match="y must hold numbers, one a row"):
        metrics.auc(["good", "bad"], [0.1, 0.2])
