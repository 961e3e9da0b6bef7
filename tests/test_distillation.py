import credit
import lightgbm
import numpy as np
import pandas as pd
import pytest

import farthing

QUICK = farthing.Classifier(hidden=(8,), max_epochs=20, random_state=0)


def teach(X, y):
    return lightgbm.LGBMClassifier(n_estimators=40, num_leaves=7, n_jobs=1, verbose=-1).fit(X, y)


@pytest.fixture(scope="module")
def teacher():
    return teach(*credit.data())


def auc(model, X, y):
    return farthing.metrics.auc(y, model.predict_proba(X)[:, 1])


def test_the_student_comes_near_its_teacher(teacher):
    X, y = credit.data()
    student = farthing.distill(teacher, X, y, student=QUICK)
    fresh, labels = credit.data(seed=9)
    assert auc(student, fresh, labels) > auc(teacher, fresh, labels) - 0.02
    assert student is not QUICK and not hasattr(QUICK, "model_")


def test_every_kind_of_teacher(teacher):
    X, y = credit.data()
    p = teacher.predict_proba(X)
    arguments = {"student": QUICK, "augment": 0}
    expected = farthing.distill(teacher, X, y, **arguments).predict_proba(X)
    kinds = {
        "callable (n, 2)": teacher.predict_proba,
        "callable (n,)": lambda rows: teacher.predict_proba(rows)[:, 1],
        "booster": teacher.booster_,
        "array (n, 2)": p,
        "array (n,)": p[:, 1],
        "list": [teacher, teacher],
    }
    for name, kind in kinds.items():
        student = farthing.distill(kind, X, y, **arguments)
        np.testing.assert_allclose(student.predict_proba(X), expected, atol=1e-5, err_msg=name)


def test_classes_order_decides_which_column_is_positive(teacher):
    X, y = credit.data()
    labels = np.where(y == 1, "bad", "good")  # bad sorts first
    named = teach(X, labels)
    student = farthing.distill(
        named,
        X,
        labels,
        student=farthing.Classifier(hidden=(8,), max_epochs=20, positive="bad", random_state=0),
    )
    assert np.corrcoef(student.predict_proba(X)[:, 0], named.predict_proba(X)[:, 0])[0, 1] > 0.9


def test_without_labels_the_teacher_is_all_there_is(teacher):
    X, _ = credit.data()
    student = farthing.distill(teacher, X, student=QUICK)
    assert np.corrcoef(student.predict_proba(X)[:, 1], teacher.predict_proba(X)[:, 1])[0, 1] > 0.95


def test_frames_reach_the_teacher_as_they_are_and_the_student_sees_its_columns():
    X, y = credit.data()
    frame = pd.DataFrame(X, columns=credit.FEATURES).assign(
        region=pd.Categorical(np.where(X[:, 3] > 40, "north", "south"))
    )
    teacher = teach(frame, y)
    student = farthing.distill(
        teacher, frame, y, student=QUICK, columns=["late", "income", "limit"], augment=1
    )
    assert student.feature_names_in_.tolist() == ["late", "income", "limit"]
    assert auc(student, frame[["late", "income", "limit"]], y) > 0.7
    with pytest.raises(ValueError, match="no column 'height'"):
        farthing.distill(teacher, frame, y, student=QUICK, columns=["height"])


def test_augmentation_asks_the_teacher_about_new_rows(teacher):
    X, y = credit.data()
    asked = []

    def spy(rows):
        asked.append(rows)
        return teacher.predict_proba(rows)

    farthing.distill(spy, X, y, student=QUICK, augment=2)
    assert [len(rows) for rows in asked] == [3000, 2700, 2700]
    known = {row.tobytes() for row in X}
    assert np.mean([row.tobytes() in known for row in asked[1]]) < 0.2


def test_certain_teachers_are_clipped():
    X, y = credit.data()
    student = farthing.distill(y.astype(float), X, y, student=QUICK)
    assert auc(student, X, y) > 0.7


def test_temperature_and_alpha(teacher):
    X, y = credit.data()
    soft = farthing.distill(teacher, X, y, student=QUICK, temperature=3.0)
    assert auc(soft, X, y) > 0.72
    hard = farthing.distill(teacher, X, y, student=QUICK, alpha=0.0, augment=0)
    plain = farthing.Classifier(**QUICK.get_params()).fit(X, y)
    np.testing.assert_allclose(hard.predict_proba(X), plain.predict_proba(X), atol=1e-6)


def test_regression(teacher):
    X, _ = credit.data()
    value = np.log(X[:, 0]) * 3e5
    tree = lightgbm.LGBMRegressor(n_estimators=60, n_jobs=1, verbose=-1).fit(X, value)
    student = farthing.distill(tree, X, value, hidden=(8,), random_state=0)
    assert isinstance(student, farthing.Regressor)
    assert student.score(X, value) > 0.95


def test_weights_groups_and_validation(teacher):
    X, y = credit.data()
    student = farthing.distill(
        teacher,
        X,
        y,
        student=QUICK,
        sample_weight=np.where(y == 1, 2.0, 1.0),
        groups=np.arange(3000) // 5,
        augment=1,
    )
    assert student.training_["search_rows"] % 5 == 0
    other, labels = credit.data(seed=5)
    student = farthing.distill(teacher, X, y, student=QUICK, validation=(other, labels))
    assert student.training_ == {"rows": 3000, "search_rows": 3000}


def nan_teacher(X):
    p = np.full(len(X), 0.5)
    p[7] = np.nan
    return p


@pytest.mark.parametrize(
    ("teacher", "arguments", "says"),
    [
        (nan_teacher, {}, "row 7 is NaN"),
        (lambda X: np.full((len(X), 3), 1 / 3), {}, "3 classes, y has 2"),
        (lambda X: np.full(len(X), 7.0), {}, r"outside \[0, 1\]"),
        (np.full(10, 0.5), {}, "one prediction for each of 3000 rows"),
        (np.full(3000, 0.5), {"augment": 2}, "cannot be asked"),
        (np.full(3000, 0.5), {"alpha": 1.5}, "alpha"),
        (np.full(3000, 0.5), {"temperature": 0}, "temperature"),
        (np.full(3000, 0.5), {"augment": -1}, "augment"),
        (np.full(3000, 0.5), {"hidden": (0,)}, "hidden"),
        ([np.full(3000, 0.5)], {}, "one prediction for each"),
    ],
)
def test_bad_teachers_and_arguments_are_refused_before_training(teacher, arguments, says):
    X, y = credit.data()
    with pytest.raises((ValueError, TypeError), match=says):
        farthing.distill(teacher, X, y, **arguments)


def test_a_teacher_of_other_classes_is_refused():
    X, y = credit.data()
    named = teach(X, np.where(y == 1, "bad", "good"))
    for teacher in (named, [named, named]):
        with pytest.raises(ValueError, match=r"\['bad', 'good'\], the student's are \[0, 1\]"):
            farthing.distill(teacher, X, y, student=QUICK)
