"""The decision rule: its limits, what it says, and how often it errs."""

import math

import numpy as np
import pytest
from scipy import stats

from farthing import FarthingError
from farthing.metrics import (
    delong_paired,
    fixed_sequence,
    non_inferiority,
    paired_bootstrap,
    smallest_margin,
    verdict,
)


def binormal(rng, rows, separation=1.0, noise=0.5, rate=0.3):
    """Events, a score with added noise and the score itself.

    The true AUC of the score is Phi(separation / sqrt 2), of the noisy one
    Phi(separation / sqrt(2 + 2 noise^2)).
    """
    y = rng.random(rows) < rate
    clean = separation * y + rng.normal(0, 1, rows)
    return y, clean + rng.normal(0, noise, rows), clean


def true_loss(separation=1.0, noise=0.5):
    area = stats.norm.cdf(separation / np.sqrt([2, 2 + 2 * noise**2]))
    return area[0] - area[1]


def within_binomial(successes, trials, chance, deviations=3.3):
    """3.3 standard deviations: one false alarm in a thousand seeds."""
    return abs(successes - trials * chance) < deviations * math.sqrt(trials * chance * (1 - chance))


# ---- the rule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (-0.004, 0.002, "not worse"),
        (-0.004, -0.001, "not worse"),
        (0.001, 0.002, "not worse"),
        (-0.005, 0.002, "not enough evidence"),
        (-0.009, -0.005, "not enough evidence"),
        (-0.009, -0.0051, "worse"),
        (-math.inf, math.inf, "not enough evidence"),
    ],
)
def test_rule(lower, upper, expected):
    assert verdict(lower, upper, 0.005) == expected


@pytest.mark.parametrize("margin", [0, -0.1, math.inf, math.nan])
def test_margin_is_above_0(margin):
    with pytest.raises(FarthingError, match="margin must be a finite number above 0, got"):
        verdict(-1, 1, margin)
    with pytest.raises(FarthingError, match="margin must be a finite number above 0, got"):
        non_inferiority([0, 1], [0, 1], [0, 1], margin=margin)


def test_rule_refuses_what_is_no_number_or_no_interval():
    with pytest.raises(TypeError, match="margin must be a number above 0, got 'small'"):
        verdict(-1, 1, "small")
    for lower, upper in ((0.1, 0.0), (math.nan, 0.0)):
        with pytest.raises(FarthingError, match="lower must not exceed upper"):
            verdict(lower, upper, 0.005)


def test_a_true_loss_of_the_margin_passes_in_5_percent():
    rng, trials, margin = np.random.default_rng(1), 600, true_loss()
    verdicts = [non_inferiority(*binormal(rng, 600), margin=margin).verdict for _ in range(trials)]
    assert within_binomial(verdicts.count("not worse"), trials, 0.05)
    assert within_binomial(verdicts.count("worse"), trials, 0.05)


def test_a_true_loss_of_the_margin_passes_in_5_percent_by_bootstrap():
    # Squared errors e^2 and (e + u)^2 with independent e, u: the expected loss is var(u).
    rng, trials, margin = np.random.default_rng(2), 300, 0.25
    passed = 0
    for _ in range(trials):
        e, u = rng.normal(0, 1, 300), rng.normal(0, math.sqrt(margin), 300)
        result = paired_bootstrap(np.zeros(300), e + u, e, "mse", n_resamples=300, random_state=rng)
        passed += verdict(result.lower, result.upper, margin) == "not worse"
    assert within_binomial(passed, trials, 0.05)


def test_the_smallest_margin_passes_in_80_percent_when_nothing_was_lost():
    rng, trials = np.random.default_rng(3), 400

    def equal_scores():
        y = rng.random(600) < 0.3
        common = y + rng.normal(0, 1, 600)
        return y, common + rng.normal(0, 0.5, 600), common + rng.normal(0, 0.5, 600)

    margin = smallest_margin(delong_paired(*equal_scores()).standard_error)
    passed = sum(
        non_inferiority(*equal_scores(), margin=margin).verdict == "not worse"
        for _ in range(trials)
    )
    # The margin itself was estimated: 5 % of a standard error moves the power by 1.5 points.
    assert within_binomial(passed, trials, 0.8, deviations=4.1)


# ---- evidence --------------------------------------------------------------------------------


def test_evidence_holds_the_test_it_was_made_from():
    y, score, reference = binormal(np.random.default_rng(4), 2000, noise=0.4)
    pair = delong_paired(y, score, reference)
    evidence = non_inferiority(y, score, reference, margin=0.05)
    assert (evidence.verdict, evidence.metric, evidence.margin) == ("not worse", "auc", 0.05)
    assert (evidence.rows, evidence.positives, evidence.method) == (2000, y.sum(), "DeLong")
    for field in ("difference", "lower", "upper", "standard_error"):
        assert getattr(evidence, field) == getattr(pair, field)
    assert (evidence.value, evidence.reference) == (pair.value_a, pair.value_b)
    quantiles = stats.norm.ppf([0.95, 0.8]).sum()
    assert evidence.smallest_margin == pytest.approx(quantiles * pair.standard_error, rel=1e-12)
    assert evidence.reason == "a loss of 0.05 or more is ruled out; a real loss, within the margin"
    assert evidence.interval == (pair.lower, pair.upper)
    assert pair.upper < 0


def test_evidence_is_frozen():
    evidence = non_inferiority(*binormal(np.random.default_rng(5), 200), margin=0.05)
    with pytest.raises(AttributeError):
        evidence.verdict = "not worse"


def test_reasons():
    y, worse, reference = binormal(np.random.default_rng(6), 2000, noise=2.0)
    assert non_inferiority(y, worse, reference, margin=0.005).reason == (
        "a loss of more than 0.005 is shown"
    )
    y, score, reference = binormal(np.random.default_rng(7), 200, noise=0.3)
    unclear = non_inferiority(y, score, reference, margin=0.005)
    assert unclear.verdict == "not enough evidence"
    assert unclear.reason == (
        "a loss of 0.005 is neither ruled out nor shown, these rows can show a margin of "
        f"{unclear.smallest_margin:.2g} at best"
    )
    same = non_inferiority(y, reference, reference, margin=0.005)
    assert same.verdict == "not worse"
    assert same.reason.endswith("ruled out; the scores are equal in every row")


def test_a_gain_is_no_real_loss():
    y, worse, better = binormal(np.random.default_rng(8), 2000)
    evidence = non_inferiority(y, better, worse, margin=0.005)
    assert (evidence.verdict, evidence.lower > 0) == ("not worse", True)
    assert "real loss" not in evidence.reason


def test_str_says_it_all():
    y, score, reference = binormal(np.random.default_rng(9), 2000, noise=0.1)
    evidence = non_inferiority(y, score, reference, margin=0.02)
    lines = str(evidence).splitlines()
    assert lines[0] == f"{evidence.verdict}: {evidence.reason}"
    for part in (
        f"auc {evidence.value:.6g}",
        f"reference {evidence.reference:.6g}",
        "margin 0.02",
        f"difference {evidence.difference:+.6f}",
        f"{evidence.lower:+.6f} and {evidence.upper:+.6f}",
        f"2,000 rows, {evidence.positives:,} bad; DeLong",
        f"{evidence.smallest_margin:.2g}",
    ):
        assert part in str(evidence)
    assert len(lines) == 4


@pytest.mark.parametrize(("bad", "good"), [(29, 400), (400, 29)])
def test_fewer_than_30_of_a_class_decide_nothing(bad, good):
    y = np.repeat([1, 0], [bad, good])
    reference = np.random.default_rng(10).normal(y, 1)
    for score in (reference, -reference):
        evidence = non_inferiority(y, score, reference, margin=0.005)
        assert evidence.verdict == "not enough evidence"
        kind = "bad" if bad < good else "good"
        assert evidence.reason == f"only 29 {kind} rows, at least 30 are needed"
    y, reference = np.r_[y, 1, 0], np.r_[reference, 0.5, 0.5]
    assert non_inferiority(y, reference, reference, margin=0.005).verdict == "not worse"


def test_groups_with_bad_rows_are_what_counts():
    y = np.repeat([1, 0], [100, 400])
    reference = np.random.default_rng(11).normal(y, 1)
    customer = np.arange(500) // 4
    evidence = non_inferiority(y, reference, reference, margin=0.005, groups=customer)
    assert evidence.reason == "only 25 bad rows' groups, at least 30 are needed"
    assert evidence.positives == 100


def test_rows_of_weight_0_do_not_count():
    y = np.repeat([1, 0], [40, 400])
    reference = np.random.default_rng(12).normal(y, 1)
    weight = np.r_[np.zeros(11), np.ones(429)]
    evidence = non_inferiority(y, reference, reference, margin=0.005, sample_weight=weight)
    assert evidence.reason == "only 29 bad rows, at least 30 are needed"
    assert (evidence.rows, evidence.positives) == (429, 29)


def test_a_regression_needs_30_rows_too():
    rng = np.random.default_rng(13)
    y = rng.normal(0, 1, 30)
    few = non_inferiority(y[:29], y[:29], y[:29], metric="rmse", margin=0.1)
    assert few.reason == "only 29 rows, at least 30 are needed"
    enough = non_inferiority(y, y, y, metric="rmse", margin=0.1)
    assert (enough.verdict, enough.positives) == ("not worse", None)
    assert "30 rows; " in str(enough)


def test_separated_classes_need_rows_for_the_margin():
    rng = np.random.default_rng(14)
    for rows, expected in ((100, "not enough evidence"), (2000, "not worse")):
        y = np.repeat([0, 1], rows)
        score, reference = y + 0.9 * rng.random(2 * rows), y + 0.9 * rng.random(2 * rows)
        evidence = non_inferiority(y, score, reference, margin=0.005)
        assert evidence.verdict == expected
        assert "separated on every row" in evidence.reason
        assert evidence.smallest_margin == pytest.approx(1 - 0.05 ** (1 / rows))
        by_group = non_inferiority(y, score, reference, margin=0.005, groups=np.arange(2 * rows))
        assert by_group.verdict == "not enough evidence"


def test_losses_groups_and_weights_go_to_the_bootstrap():
    rng = np.random.default_rng(15)
    y, score, reference = binormal(rng, 400, noise=0.2)
    p, q = stats.norm.cdf(score - 1), stats.norm.cdf(reference - 1)
    evidence = non_inferiority(y, p, q, metric="log_loss", margin=0.1, random_state=3)
    drawn = paired_bootstrap(y, p, q, "log_loss", random_state=3)
    assert (evidence.lower, evidence.upper) == (drawn.lower, drawn.upper)
    assert evidence.difference == pytest.approx(evidence.reference - evidence.value)
    for change in ({"groups": np.arange(400) // 2}, {"sample_weight": rng.random(400) + 0.5}):
        method = non_inferiority(y, p, q, margin=0.1, **change).method
        assert "paired bootstrap" in method


def test_one_class_only_is_an_error():
    with pytest.raises(FarthingError, match="y has one class only"):
        non_inferiority(np.ones(50), np.arange(50), np.arange(50), margin=0.005)


# ---- fixed sequence --------------------------------------------------------------------------


def candidates(*verdicts):
    y, score, reference = binormal(np.random.default_rng(16), 400)
    margin = {"not worse": 0.5, "worse": 1e-9, "not enough evidence": true_loss()}
    worse = np.where(y, -1.0, 1.0)
    for answer in verdicts:
        chosen = worse if answer == "worse" else score
        evidence = non_inferiority(y, chosen, reference, margin=margin[answer])
        assert evidence.verdict == answer
        yield evidence


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["not worse"] * 5, 4),
        (["not worse", "not worse", "worse"], 1),
        (["not worse", "not enough evidence", "not worse"], 0),
        (["worse", "not worse"], None),
        ([], None),
    ],
)
def test_fixed_sequence_stops_at_the_first_failure(verdicts, expected):
    assert fixed_sequence(list(candidates(*verdicts))) == expected


def test_fixed_sequence_tests_nothing_beyond_the_first_failure():
    stream = candidates("not worse", "worse", "not worse")
    assert fixed_sequence(stream) == 0
    assert len(list(stream)) == 1


def test_fixed_sequence_takes_at_most_five():
    with pytest.raises(FarthingError, match="at most 5 candidates for one final part, got 6"):
        fixed_sequence(list(candidates(*["worse"] * 6)))
    with pytest.raises(FarthingError, match="at most 5 candidates for one final part, got more"):
        fixed_sequence(candidates(*["not worse"] * 6))
