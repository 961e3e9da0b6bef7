"""DeLong and the paired bootstrap, against definitions written out and each other."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from farthing import FarthingError
from farthing.metrics import auc, brier, delong, delong_paired, paired_bootstrap


def scores(seed, rows=300, rate=0.3, noise=0.5, decimals=None):
    """Events and two correlated scores, rounded where ties are wanted."""
    rng = np.random.default_rng(seed)
    y = rng.random(rows) < rate
    b = y + rng.normal(0, 1, rows)
    a = b + rng.normal(0, noise, rows)
    return (y, a, b) if decimals is None else (y, a.round(decimals), b.round(decimals))


def direct_covariance(y, *columns):
    """AUCs and their covariance by the O(n^2) definition of DeLong et al. (1988), section 2."""
    kernels = [
        (s[y][:, None] > s[~y]).astype(float) + 0.5 * (s[y][:, None] == s[~y]) for s in columns
    ]
    v10 = np.array([kernel.mean(axis=1) for kernel in kernels])
    v01 = np.array([kernel.mean(axis=0) for kernel in kernels])
    covariance = np.cov(v10) / y.sum() + np.cov(v01) / (~y).sum()
    return np.array([kernel.mean() for kernel in kernels]), covariance


# ---- DeLong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["distinct", "ties", "many ties"])
@pytest.mark.parametrize(("rows", "rate"), [(300, 0.3), (40, 0.1), (200, 0.95)])
def test_delong_equals_the_direct_definition(rows, rate, decimals):
    y, a, b = scores(1, rows, rate, decimals=decimals)
    area, covariance = direct_covariance(y, a, b)
    single = delong(y, a)
    assert single.auc == pytest.approx(area[0], rel=1e-13)
    assert single.auc == pytest.approx(roc_auc_score(y, a), rel=1e-13)
    assert single.variance == pytest.approx(covariance[0, 0], rel=1e-10)
    assert (single.rows, single.positives, single.note) == (rows, y.sum(), "")
    half = 1.959963984540054 * np.sqrt(covariance[0, 0])
    assert single.interval == pytest.approx((max(area[0] - half, 0), min(area[0] + half, 1)))

    pair = delong_paired(y, a, b)
    error = np.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]))
    assert (pair.value_a, pair.value_b) == pytest.approx(tuple(area), rel=1e-13)
    assert pair.difference == pytest.approx(area[0] - area[1], abs=1e-14)
    assert pair.standard_error == pytest.approx(error, rel=1e-10)
    normal = stats.norm(pair.difference, error)
    assert (pair.lower, pair.upper) == pytest.approx(normal.interval(0.90), rel=1e-9)
    assert pair.interval == pytest.approx(normal.interval(0.95), rel=1e-9)
    assert pair.z == pytest.approx(pair.difference / error, rel=1e-10)
    assert pair.p_value == pytest.approx(2 * stats.norm.sf(abs(pair.z)), rel=1e-9)


def test_delong_paired_is_antisymmetric_and_ignores_row_order():
    y, a, b = scores(2, decimals=1)
    one, other = delong_paired(y, a, b), delong_paired(y, b, a)
    assert (one.difference, one.lower) == pytest.approx((-other.difference, -other.upper))
    order = np.random.default_rng(0).permutation(len(y))
    again = delong_paired(y[order], a[order], b[order])
    assert again.standard_error == pytest.approx(one.standard_error, rel=1e-12)


def test_delong_agrees_with_the_bootstrap():
    # The bootstrap's standard error has a spread of 1/sqrt(2 * 2000) = 1.6 %, and both have a
    # bias of order 1/rows.
    y, a, b = scores(3, rows=1000)
    exact, drawn = delong_paired(y, a, b), paired_bootstrap(y, a, b)
    assert drawn.difference == pytest.approx(exact.difference, abs=1e-14)
    assert drawn.standard_error == pytest.approx(exact.standard_error, rel=0.07)
    assert drawn.lower == pytest.approx(exact.lower, abs=0.2 * exact.standard_error)
    assert drawn.upper == pytest.approx(exact.upper, abs=0.2 * exact.standard_error)


def test_delong_p_value_agrees_with_exchanging_the_scores():
    # Under "no difference" the two ranks of a row are exchangeable (Venkatraman and Begg 1996).
    y, a, b = scores(4, rows=200, noise=0.6)
    a, b = stats.rankdata(a), stats.rankdata(b)
    observed = delong_paired(y, a, b)
    rng = np.random.default_rng(4)
    exceeded = 0
    for _ in range(1000):
        swap = rng.random(len(y)) < 0.5
        gap = auc(y, np.where(swap, b, a)) - auc(y, np.where(swap, a, b))
        exceeded += abs(gap) >= abs(observed.difference)
    assert observed.p_value == pytest.approx(exceeded / 1000, abs=0.06)


def test_equal_scores():
    y, a, _ = scores(5)
    pair = delong_paired(y, a, a.copy())
    assert (pair.difference, pair.standard_error, pair.lower, pair.upper) == (0, 0, 0, 0)
    assert (pair.z, pair.p_value, pair.note) == (0, 1, "the scores are equal in every row")


def test_scores_of_the_same_order():
    y, a, _ = scores(6)
    pair = delong_paired(y, np.exp(a), a)
    assert (pair.difference, pair.standard_error, pair.lower, pair.upper) == (0, 0, 0, 0)
    assert "order every pair of an event and a non-event alike" in pair.note


def test_separated_classes_are_bounded_by_the_binomial():
    rng = np.random.default_rng(7)
    y = np.repeat([False, True], [400, 300])
    a, b = y + 0.9 * rng.random(700), y + 0.9 * rng.random(700)
    pair = delong_paired(y, a, b)
    # 300 independent pairs without an error: 0.05 ** (1 / 300) is the 5 % chance of that.
    assert (pair.difference, pair.standard_error) == (0, 0)
    assert pair.lower == -pair.upper == pytest.approx(-(1 - 0.05 ** (1 / 300)), rel=1e-12)
    assert pair.interval[0] == pytest.approx(-(1 - 0.025 ** (1 / 300)), rel=1e-12)
    assert "separated on every row" in pair.note

    for score, area in ((a, 1.0), (-a, 0.0)):
        single = delong(y, score)
        assert (single.auc, single.variance) == (area, 0)
        assert np.ptp(single.interval) == pytest.approx(1 - 0.025 ** (1 / 300), rel=1e-12)
        assert area in single.interval


def test_a_constant_score_against_one_that_separates():
    y = np.repeat([False, True], 50)
    pair = delong_paired(y, np.zeros(100), y)
    assert (pair.value_a, pair.value_b, pair.difference) == (0.5, 1.0, -0.5)
    assert pair.standard_error == 0
    assert pair.z == -np.inf
    assert pair.p_value == 0
    assert delong(y, np.zeros(100)).variance == 0


def test_a_class_of_one_row_has_no_variance():
    y, a, b = np.array([0, 0, 0, 1]), np.array([1.0, 2, 3, 2.5]), np.array([1.0, 3, 2, 2.5])
    assert delong(y, a).interval == (0, 1)
    assert "one row only" in delong(y, a).note
    pair = delong_paired(y, a, b)
    assert (pair.lower, pair.upper, pair.p_value) == (-np.inf, np.inf, 1)
    assert "one row only" in pair.note


# ---- bootstrap -------------------------------------------------------------------------------


def probabilities(seed, rows=500):
    y, a, b = scores(seed, rows)
    return y, stats.norm.cdf(a - 1), stats.norm.cdf(b - 1)


def test_bootstrap_of_a_mean_has_the_textbook_standard_error():
    y, p, q = probabilities(8)
    gain = (y - q) ** 2 - (y - p) ** 2
    spread = {
        True: np.sqrt(sum(gain[c].var() * c.sum() for c in (y, ~y))) / len(y),
        False: gain.std() / np.sqrt(len(y)),
    }
    for stratified, expected in spread.items():
        result = paired_bootstrap(y, p, q, "brier", stratified=stratified)
        assert result.difference == pytest.approx(gain.mean(), rel=1e-9)
        assert result.standard_error == pytest.approx(expected, rel=0.07)
        assert result.lower == pytest.approx(gain.mean() - 1.645 * expected, abs=0.2 * expected)
        assert result.upper == pytest.approx(gain.mean() + 1.645 * expected, abs=0.2 * expected)
        assert result.interval[0] < result.lower < result.upper < result.interval[1]


@pytest.mark.parametrize("metric", ["log_loss", "brier", "mse", "rmse", "mae"])
def test_a_larger_loss_is_a_negative_difference(metric):
    y, p, _ = probabilities(9)
    worse = np.clip(p + 0.3 * (0.5 - y), 0, 1)
    result = paired_bootstrap(y, worse, p, metric, n_resamples=200)
    assert result.value_a > result.value_b
    assert result.upper < 0
    assert result.positives == (y.sum() if metric in ("log_loss", "brier") else None)


@pytest.mark.parametrize("metric", ["auc", "gini", "average_precision", "ks"])
def test_a_lower_rank_metric_is_a_negative_difference(metric):
    y, a, b = scores(10, noise=3)
    result = paired_bootstrap(y, a, b, metric, n_resamples=200)
    assert result.value_a < result.value_b
    assert result.upper < 0


def test_a_function_of_the_user_is_a_metric():
    y, p, q = probabilities(11)

    def minus_brier(y, score, weight):
        return -brier(y, score, weight)

    own = paired_bootstrap(y, p, q, minus_brier, n_resamples=200)
    named = paired_bootstrap(y, p, q, "brier", n_resamples=200)
    assert own.metric == "minus_brier"
    assert (own.lower, own.upper) == pytest.approx((named.lower, named.upper), rel=1e-9)
    assert own.positives == y.sum()


def test_bounds_are_percentiles_of_the_resampled_differences():
    y, p, q = probabilities(17)
    values = []

    def recorded(y, score, weight):
        values.append(weight @ score / weight.sum())
        return values[-1]

    result = paired_bootstrap(y, p, q, recorded, n_resamples=200)
    assert [result.value_a, result.value_b] == values[:2]
    gaps = np.subtract(values[2::2], values[3::2])
    assert (result.lower, result.upper) == pytest.approx(tuple(np.quantile(gaps, [0.05, 0.95])))
    assert result.interval == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])))
    assert result.standard_error == pytest.approx(gaps.std(ddof=1))


def test_seeds_repeat_and_differ():
    y, p, q = probabilities(12)
    one, same, other = (
        paired_bootstrap(y, p, q, n_resamples=200, random_state=seed) for seed in (1, 1, 2)
    )
    assert one == same
    assert one.lower != other.lower


def test_groups_count_once():
    # Every row four times over: only drawing whole groups sees that nothing was added.
    y, p, q = probabilities(13)
    single = paired_bootstrap(y, p, q, "brier")
    y, p, q, customer = (np.repeat(column, 4) for column in (y, p, q, np.arange(len(y))))
    clustered = paired_bootstrap(y, p, q, "brier", groups=[f"customer {c}" for c in customer])
    rows = paired_bootstrap(y, p, q, "brier")
    assert clustered.standard_error == pytest.approx(single.standard_error, rel=0.07)
    assert rows.standard_error == pytest.approx(single.standard_error / 2, rel=0.07)
    assert "cluster" in clustered.method


def test_groups_of_one_row_are_rows():
    y, p, q = probabilities(18, rows=60)
    rows = paired_bootstrap(y, p, q, n_resamples=200)
    groups = paired_bootstrap(y, p, q, n_resamples=200, groups=np.arange(60))
    assert (groups.lower, groups.interval) == (rows.lower, rows.interval)


def test_groups_of_both_classes_are_drawn_as_a_kind_of_their_own():
    # One group holds every event: it is in every resample, so the AUC always exists.
    y = np.array([1, 1, 0, 0, 0, 0, 0])
    a = np.array([0.9, 0.4, 0.5, 0.3, 0.2, 0.1, 0.0])
    result = paired_bootstrap(y, a, 1 - a, groups=[0, 0, 0, 1, 1, 2, 3], n_resamples=200)
    assert np.isfinite(result.lower)


def test_weights_travel_with_their_rows():
    y, p, q = probabilities(14)
    weight = np.where(np.arange(len(y)) % 2, 3.0, 1.0)
    result = paired_bootstrap(y, p, q, "brier", sample_weight=weight)
    assert result.value_a == pytest.approx(brier(y, p, weight), rel=1e-12)
    gain = (y - q) ** 2 - (y - p) ** 2
    # Linearised: the spread of a ratio of two stratified means.
    part = weight * (gain - np.average(gain, weights=weight))
    expected = np.sqrt(sum(part[c].var() * c.sum() for c in (y, ~y))) / weight.sum()
    assert result.standard_error == pytest.approx(expected, rel=0.07)
    assert "weighted" in result.method


def test_rows_of_weight_0_are_no_rows():
    y, p, q = probabilities(15)
    kept = np.arange(len(y)) % 3 > 0
    customer = np.arange(len(y)) // 2
    for groups in (None, customer):
        part = None if groups is None else groups[kept]
        whole = paired_bootstrap(
            y, p, q, n_resamples=200, groups=groups, sample_weight=kept.astype(float)
        )
        ones = np.ones(kept.sum())
        alone = paired_bootstrap(
            y[kept], p[kept], q[kept], n_resamples=200, groups=part, sample_weight=ones
        )
        assert whole == alone


def test_an_unstratified_resample_without_a_class_is_drawn_again():
    y = np.array([1, 0, 0, 0])
    result = paired_bootstrap(y, [3.0, 1, 2, 4], [1.0, 2, 3, 4], stratified=False, n_resamples=200)
    assert np.isfinite(result.lower)


def test_bootstrap_says_what_is_unusual():
    y, p, q = probabilities(16)
    assert paired_bootstrap(y, p, p, n_resamples=100).note == "the scores are equal in every row"
    alike = paired_bootstrap(y, p, p**2, n_resamples=100)
    assert (alike.standard_error, alike.lower, alike.upper) == (0, 0, 0)
    assert alike.note == "the difference is the same in every resample"
    uneven = np.random.default_rng(16).random(len(y)) + 0.1
    for weight in (None, uneven):
        perfect = paired_bootstrap(y, y + p / 2, y + q / 2, n_resamples=100, sample_weight=weight)
        assert (perfect.lower, perfect.upper) == (-np.inf, np.inf)
        assert "separated on every row" in perfect.note


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric": "accuracy"}, ValueError, "metric must be one of 'auc', 'gini', .*'accuracy'"),
        ({"n_resamples": 99}, ValueError, "n_resamples must be an integer >= 100, got 99"),
        ({"score_a": [0.5]}, FarthingError, "score_a and score_b must have one length, got 4, 1"),
        ({"score_b": [np.nan] * 4}, FarthingError, "score_b must not contain NaN, got 4"),
        ({"y": [1, 1, 1, 1]}, FarthingError, "y has one class only"),
        ({"y": [1, 2, 1, 1]}, FarthingError, "y must be 0 or 1 in every row"),
        ({"score_a": [2.0] * 4, "metric": "brier"}, FarthingError, "score_a must be probabilities"),
        ({"y": [0, np.inf, 0, 0], "metric": "mse"}, FarthingError, "y must be finite"),
        ({"groups": [1, 2]}, FarthingError, r"groups must have one value a row, got shape \(2,\)"),
        ({"groups": [1, np.nan, 2, 3]}, FarthingError, "groups must not contain NaN, .* row 1"),
        ({"groups": [1, None, "a", 2]}, TypeError, "groups must hold values of one sortable kind"),
        ({"sample_weight": [1, 0, 1, 0]}, FarthingError, "every row with a weight above 0 is 0"),
        ({"metric": lambda y, s, w: np.nan}, FarthingError, "metric must give finite values"),
    ],
)
def test_bootstrap_errors(change, error, message):
    good = {"y": [0, 1, 0, 1], "score_a": [0.1, 0.2, 0.3, 0.4], "score_b": [0.1, 0.3, 0.2, 0.4]}
    with pytest.raises(error, match=message):
        paired_bootstrap(**{**good, **change})
