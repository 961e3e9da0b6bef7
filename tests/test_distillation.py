import warnings

import credit
import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import farthing

QUICK = farthing.Classifier(hidden=(8,), max_epochs=20, random_state=0)


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
    named = credit.teach(X, labels)
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
    teacher = credit.teach(frame, y)
    student = farthing.distill(
        teacher, frame, y, student=QUICK, columns=["late", "income", "limit"], augment=1
    )
    assert student.feature_names_in_.tolist() == ["late", "income", "limit"]
    assert auc(student, frame[["late", "income", "limit"]], y) > 0.7
    with pytest.raises(ValueError, match="names of columns of X, got 'height'"):
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
        (lambda X: np.full((len(X), 3), 1 / 3), {}, "2 classes .* got 3 classes"),
        (lambda X: np.full(len(X), 7.0), {}, r"outside \[0, 1\]"),
        (np.full(10, 0.5), {}, "one prediction for each of 3000 rows"),
        (np.full(3000, 0.5), {"augment": 2}, "cannot be asked"),
        (np.full(3000, 0.5), {"alpha": 1.5}, "alpha"),
        *[
            (np.full(3000, 0.5), {"temperature": t}, "temperature must be a number in")
            for t in (0, "a", 1e-3, 1e6, np.inf, np.nan, None)
        ],
        (np.full(3000, 0.5), {"augment": -1}, "augment"),
        (np.full(3000, 0.5), {"augment": "all"}, "augment must be .* or 'auto'"),
        (np.full(3000, 0.5), {"hidden": (0,)}, "hidden"),
        ([np.full(3000, 0.5)], {}, "one prediction for each"),
        ("model.txt", {}, "teacher must have predict_proba .* got 'model.txt'"),
        (None, {}, "teacher must have predict_proba .* got None"),
        (lightgbm.LGBMClassifier, {}, "teacher must have predict_proba .* got <class"),
        ([np.ravel, np.full(3000, 0.5)], {}, "teacher must have predict_proba"),
        (lambda X: ["bad"] * len(X), {}, "the teacher's answer must hold numbers"),
        ([lambda X: X[:, 0], lambda X: X[:, :2]], {}, r"in one shape, got \[\(3000,\), "),
        (np.full(3000, 0.5), {"groups": [1, 2]}, "groups must have 3000 labels"),
        (np.full(3000, 0.5), {"student": "small"}, "student must be"),
        *[
            (np.full(3000, 0.5), {"columns": columns}, says)
            for columns, says in [
                (0, "columns must be a list of names or indices, got 0"),
                ("ab", "columns must be a list of names or indices, got 'ab'"),
                (np.array(1), "columns must be a list"),
                ([[0]], r"columns must hold names or indices of columns, got \[0\]"),
                ([], "columns must hold one name or index or more"),
                ([0, np.int64(0)], "columns must hold a column once, got column 0 twice"),
                ([0, 5], "columns must hold indices of columns of X, 0 to 4, got 5"),
            ]
        ],
        *[
            (np.full(3000, 0.5), {"validation": validation}, says)
            for validation, says in [
                (5, "validation must be"),
                ((np.zeros((4, 5)),), "validation must be"),
                ("Xy", "validation must be"),
                ((np.zeros((0, 5)), []), "validation must have rows"),
                ((None, [0, 1]), "validation must be a 2-D table"),
                ((np.zeros((2, 4)), [0, 1]), "validation must have 5 features"),
                ((np.zeros((2, 5)), [0, 1, 1]), "validation must have 2 values"),
            ]
        ],
    ],
)
def test_bad_teachers_and_arguments_are_refused_before_training(teacher, arguments, says):
    X, y = credit.data()
    with pytest.raises((ValueError, TypeError), match=says):
        farthing.distill(teacher, X, y, **arguments)


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (None, "X must be a 2-D table"),
        (np.zeros((0, 3)), "X must have 2 rows or more"),
        (np.zeros(5), "X must be a 2-D table"),
        ([[1.0, 2.0], [3.0]], "X must be a 2-D table"),
    ],
)
@pytest.mark.parametrize("columns", [None, [0]])
def test_what_is_no_table_is_refused_before_the_teacher_is_asked(X, says, columns):
    def never(rows):
        raise AssertionError("asked")

    with pytest.raises(ValueError, match=says):
        farthing.distill(never, X, columns=columns)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"hidden": (0,)}, "hidden"),
        ({"student": "small"}, "student must be"),
        ({"student": farthing.Classifier(n_bins=0)}, "n_bins must be"),
        ({"student": farthing.Classifier(monotone_constraints={9: 1})}, "0 to 4, got 9"),
        ({"student": farthing.Classifier(monotone_constraints={0: 2})}, "must be one of 1, -1, 0"),
        ({"student": farthing.Classifier(class_weight={0: 1})}, "class_weight must name every"),
        ({"student": farthing.Classifier(edges="teacher")}, "teacher must be a fitted LightGBM"),
        ({"student": farthing.Regressor(), "temperature": 2.0}, "temperature must be 1"),
        ({"student": farthing.Regressor(), "y": None, "temperature": 2.0}, "temperature must be 1"),
        ({"student": farthing.Regressor(loss="gamma")}, "y must"),
        ({"y": [0, 1]}, "y must have 3000"),
        ({"student": farthing.Classifier(), "y": np.zeros(3000)}, "y must have"),
        ({"validation": (np.zeros((2, 4)), [0, 1])}, "validation must have 5 features"),
        ({"validation": (np.zeros((2, 5)), [0, 7])}, "validation must hold the classes"),
    ],
)
def test_what_can_be_wrong_without_an_answer_is_refused_before_one(arguments, says):
    def never(rows):
        raise AssertionError("asked")

    X, y = credit.data()
    with pytest.raises((ValueError, TypeError), match=says):
        farthing.distill(never, X, **{"y": y, **arguments})


def test_a_stream_may_validate(teacher):
    X, y = credit.data()
    table = pa.table(dict(zip("abcde", X.T.copy(), strict=True)))

    def asked(rows):
        return teacher.predict_proba(np.column_stack([rows[name] for name in "abcde"]))

    one, other = (
        farthing.distill(asked, table, y, student=QUICK, augment=0, validation=(part, y[:500]))
        for part in (table[:500], table[:500].to_reader())
    )
    assert one._bytes() == other._bytes()


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan")])
def test_labels_that_lack_are_named(missing):
    X, y = credit.data()
    labels = y.astype(object)
    labels[5] = missing
    with pytest.raises(ValueError, match=r"y must .* row 5"):
        farthing.distill(np.full(3000, 0.5), X, labels)


@pytest.mark.parametrize("temperature", [0.05, 100])
def test_the_ends_of_temperature_raise_no_warning(teacher, temperature):
    X, y = credit.data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        student = farthing.distill(
            (teacher.predict_proba(X)[:, 1] > 0.5).astype(float),
            X,
            y,
            student=QUICK,
            temperature=temperature,
        )
    assert np.isfinite(student.predict_proba(X)).all()


def test_early_stopping_false_keeps_every_row(teacher):
    X, y = credit.data()
    student = farthing.Classifier(hidden=(8,), max_epochs=3, early_stopping=False)
    student = farthing.distill(teacher, X, y, student=student, augment=0)
    assert student.training_ == {"rows": 3000, "search_rows": 0}


# ---- rows without labels ------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["munge", "mixup", "marginal"])
def test_a_student_needs_no_labels(sampler):
    X, y = credit.data()
    teacher = credit.teach(X, y)
    small = farthing.distill(teacher, X, hidden=(16, 8), sampler=sampler, augment=2, random_state=0)
    assert farthing.metrics.auc(y, small.predict_proba(X)[:, 1]) > 0.7
    said = teacher.predict_proba(X)[:, 1]
    assert np.corrcoef(small.predict_proba(X)[:, 1], said)[0, 1] > 0.9


def test_a_student_may_teach_and_so_may_several():
    X, y = credit.data()
    first = credit.fitted()
    again = farthing.distill(first, X, y, hidden=(16, 8), random_state=1)  # self-distillation
    assert farthing.metrics.auc(y, again.predict_proba(X)[:, 1]) > 0.7
    both = farthing.distill([first, credit.teach(X, y)], X, hidden=(16, 8), random_state=1)
    assert farthing.metrics.auc(y, both.predict_proba(X)[:, 1]) > 0.7


def test_samplers_that_do_not_exist_are_refused():
    X, y = credit.data()
    with pytest.raises(ValueError, match="sampler must be one of 'munge', 'mixup', 'marginal'"):
        farthing.distill(credit.fitted(), X, y, sampler="gan")
