"""Distillation of several classes, with class weights, and without rows of no weight."""

import warnings

import classes
import credit
import numpy as np
import pytest
from classes import teach
from scipy.special import logit, softmax
from sklearn.linear_model import LogisticRegression

import farthing

QUICK = {"hidden": (16,), "max_epochs": 12, "random_state": 0}


STUDENT = farthing.Classifier(**QUICK)


def three(n=4000, seed=0):
    X, y = classes.data(n, seed)
    return X, classes.NAMES[y]


@pytest.fixture(scope="module")
def alone():
    """What the student learns from the labels."""
    return farthing.Classifier(**QUICK).fit(*three())


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["function", "array", "list"])
def test_a_student_of_several_classes_comes_near_its_teacher(known, temperature, kind, alone):
    X, y = three()
    teacher = {"function": teach, "array": teach(X), "list": [teach, teach]}[kind]
    student = farthing.distill(
        teacher, X, y if known else None, student=STUDENT, temperature=temperature
    )
    assert student.classes_.tolist() == (["good", "late", "lost"] if known else [0, 1, 2])
    fresh, _ = three(seed=1)
    error = np.abs(student.predict_proba(fresh) - teach(fresh)).mean()
    assert error < 0.8 * np.abs(alone.predict_proba(fresh) - teach(fresh)).mean()


def test_the_default_student_and_the_teachers_classes():
    X, y = three(500)
    linear = LogisticRegression().fit(X, y)
    student = farthing.distill(linear, X, hidden=(4,), random_state=0)
    assert student.classes_.tolist() == ["good", "late", "lost"]
    assert np.mean(student.predict(X) == linear.predict(X)) > 0.85


def test_alpha_blends_the_teacher_and_y():
    X, y = three()
    turned = teach(X)[:, [1, 2, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        at = {
            alpha: farthing.distill(
                turned, X, y, student=farthing.Classifier(calibrate=False, **QUICK), alpha=alpha
            ).predict_proba(X)
            for alpha in (0.0, 0.5, 1.0)
        }
    known = np.eye(3)[np.unique(y, return_inverse=True)[1]]
    np.testing.assert_allclose(at[0.0].mean(axis=0), known.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(at[1.0].mean(axis=0), turned.mean(axis=0), atol=0.03)
    middle = 0.5 * (known.mean(axis=0) + turned.mean(axis=0))
    np.testing.assert_allclose(at[0.5].mean(axis=0), middle, atol=0.03)


def test_validation_of_several_classes():
    X, y = three()
    for teacher in (teach, teach(X[:3000])):
        student = farthing.distill(
            teacher, X[:3000], y[:3000], student=STUDENT, augment=0, validation=(X[3000:], y[3000:])
        )
        assert student.training_ == {"rows": 3000, "search_rows": 1000}
    with pytest.raises(ValueError, match="validation must hold the classes"):
        farthing.distill(teach, X, y, student=STUDENT, validation=(X, np.full(4000, "gone")))


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        (teach(three()[0])[:, :2], "must predict the student's 3 classes .* got 2 classes"),
        (
            teach(three()[0])[:, 0],
            r"a probability for each of the 3 classes .* got shape \(4000,\)",
        ),
        (teach(three()[0]) * 0.9, "add up to 1 over the 3 classes, got 0.9 in row 0"),
        (teach(three()[0]) - 0.5, r"values outside \[0, 1\]"),
    ],
)
def test_what_is_no_probability_of_every_class_is_refused(teacher, says):
    X, y = three()
    with pytest.raises(ValueError, match=says):
        farthing.distill(teacher, X, y, student=STUDENT)


@pytest.mark.parametrize(
    ("row", "total"),
    [((0.9, 0.9), "1.8"), ((0, 0), "0"), ((0.2, 0.1), "0.3"), ((0.5, 0.48), "0.98")],
)
def test_two_classes_add_up_to_one_too(row, total):
    X, y = credit.data()
    said = np.full((len(y), 2), 0.5)
    said[7] = row
    wrong = f"answer must hold probabilities that add up to 1 over the 2 classes, got {total} in"
    for teacher in (said, lambda rows: said[: len(rows)]):
        with pytest.raises(ValueError, match=wrong + " row 7"):
            farthing.distill(teacher, X, y, student=STUDENT, augment=0)
    with pytest.raises(ValueError, match=wrong + " row 7"):
        farthing.distill(
            lambda rows: said if len(rows) == len(y) else np.full((len(rows), 2), 0.5),
            X[:-1],
            y[:-1],
            student=STUDENT,
            augment=0,
            validation=(X, y),
        )


def test_two_rounded_probabilities_are_taken_as_they_are():
    X, y = credit.data()
    p = np.round(credit.fitted().predict_proba(X)[:, 1].astype(float), 2)
    quick = farthing.Classifier(**QUICK | {"max_epochs": 1})
    one, both = (
        farthing.distill(teacher, X, y, student=quick)
        for teacher in (p, np.column_stack([1 - p - 0.005 * (p < 0.5), p]))
    )
    assert np.array_equal(one.predict_proba(X), both.predict_proba(X))


def test_a_class_ranked_the_wrong_way_round_is_told():
    X, y = three()
    quick = farthing.Classifier(**QUICK | {"max_epochs": 1})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        farthing.distill(teach(X)[:, [1, 0, 2]], X, y, student=quick)
    said = [str(one.message) for one in told]
    assert len(said) == 2
    for name, one in zip(("good", "late"), said, strict=True):
        assert f"ranks class '{name}' worse than chance" in one
    # Rows of no weight have no say in it.
    p, labels, weight = teach(X), y.copy(), np.ones(4000)
    weight[:2000] = 0
    p[:2000] = p[:2000, [1, 0, 2]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        farthing.distill(
            p, X, labels, sample_weight=weight, student=farthing.Classifier(**QUICK, calibrate=True)
        )


# ---- class weights --------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("known", [True, False])
def test_class_weights_leave_the_teachers_probabilities(temperature, positive, known):
    X, y = credit.data()
    p = np.clip(credit.fitted().predict_proba(X).astype(float), 0.01, 0.99)
    student = farthing.Classifier(
        class_weight={0: 1, 1: 6}, positive=positive, calibrate=False, **QUICK
    )
    small = farthing.distill(
        p, X, y if known else None, student=student, temperature=temperature, alpha=0.9
    )
    ours = small.predict_proba(X)[:, 1].astype(float)
    assert np.mean(logit(ours) - logit(p[:, 1])) == pytest.approx(0, abs=0.1)
    assert np.corrcoef(logit(ours), logit(p[:, 1]))[0, 1] > 0.97
    assert small.class_weight_.tolist() == [1, 6]
    assert np.array_equal(small.predict(X), 6 * ours / (6 * ours + 1 - ours) >= 0.5)


def test_several_class_weights_leave_the_teachers_probabilities():
    X, y = three()
    for known in (y, None):
        names = ["good", "late", "lost"] if known is not None else [0, 1, 2]
        weights = dict(zip(names, (1, 2, 10), strict=True))
        for temperature in (1.0, 2.0):
            student = farthing.Classifier(class_weight=weights, calibrate=False, **QUICK)
            small = farthing.distill(
                teach, X, known, student=student, temperature=temperature, alpha=0.9, augment=1
            )
            p = small.predict_proba(X)
            np.testing.assert_allclose(p.mean(axis=0), teach(X).mean(axis=0), atol=0.015)
            chosen = small.classes_[(p.astype(float) * [1, 2, 10]).argmax(axis=1)]
            assert np.array_equal(small.predict(X), chosen)


def test_balanced_counts_y_or_what_the_teacher_says_of_it():
    X, y = three()
    weight = np.random.default_rng(0).uniform(0, 2, 4000)
    student = farthing.Classifier(class_weight="balanced", **QUICK | {"max_epochs": 1})
    known = np.eye(3)[np.unique(y, return_inverse=True)[1]]
    for labels, counted in ((y, known), (None, teach(X))):
        small = farthing.distill(teach, X, labels, student=student, sample_weight=weight)
        expected = 1 / (3 * np.average(counted, axis=0, weights=weight))
        np.testing.assert_allclose(small.class_weight_, expected, rtol=1e-3)


# ---- solved students, rows of no weight -----------------------------------------------------


def test_a_linear_student_is_solved_for():
    X, _ = three()
    z = np.column_stack([X[:, 0], -X[:, 1], 0.5 * X[:, 2]])
    student = farthing.Classifier(hidden=(), encoder=None, l2=0, calibrate=False)
    small = farthing.distill(softmax(z, axis=1), X, student=student)
    expected = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0.5, 0]])
    np.testing.assert_allclose(small.coef_, expected - expected.mean(axis=0), atol=2e-3)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_rows_of_no_weight_count_as_absent(temperature):
    X, y = three()
    weight = np.where(np.arange(4000) % 3 > 0, 1.5, 0.0)
    kept = weight > 0
    options = {"student": STUDENT, "temperature": temperature}
    ours = farthing.distill(teach, X, y, sample_weight=weight, **options)
    theirs = farthing.distill(teach, X[kept], y[kept], sample_weight=weight[kept], **options)
    assert np.array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    again = farthing.distill(teach, X.tolist(), y, sample_weight=weight, **options)
    assert np.array_equal(again.predict_proba(X), ours.predict_proba(X))
