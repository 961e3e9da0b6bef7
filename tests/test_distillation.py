import warnings

import credit
import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

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


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan")])
def test_labels_that_lack_are_named(missing):
    X, y = credit.data()
    labels = y.astype(object)
    labels[5] = missing
    with pytest.raises(ValueError, match=r"y must .* row 5"):
        farthing.distill(np.full(3000, 0.5), X, labels)


def test_a_named_column_must_occur_once():
    X, y = credit.data()
    frame = pd.DataFrame(X, columns=list("aabcd"))
    with pytest.raises(ValueError, match="names of columns of X, got 'a', which 2 have"):
        farthing.distill(np.full(3000, 0.5), frame, y, columns=["a"])
    with pytest.raises(ValueError, match="names of columns of validation, got 'b'"):
        part = frame.iloc[:, :2], y
        farthing.distill(np.full(3000, 0.5), frame, y, columns=["b"], validation=part)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "record batch"])
def test_columns_of_a_table_go_by_name_or_index(kind):
    X, _ = credit.data(1200)
    table = tables(X)[kind]
    answers = np.linspace(0.1, 0.9, 1200)
    by_name, by_index = (
        farthing.distill(answers, table, student=QUICK, columns=columns)
        for columns in (["limit", "late"], [2, "late"])
    )
    assert by_index.feature_names_in_.tolist() == ["limit", "late"]
    assert by_index._bytes() == by_name._bytes()


def test_validation_may_hold_its_columns_in_another_order(teacher):
    X, y = credit.data()
    frame = pd.DataFrame(X, columns=credit.FEATURES)
    seen = {"columns": ["late", "income"], "student": QUICK, "augment": 0}
    p = teacher.predict_proba(X)
    one, other = (
        farthing.distill(p, frame, y, validation=(frame[columns], y), **seen).predict_proba(
            frame[["late", "income"]]
        )
        for columns in (["late", "income"], ["income", "age", "late"])
    )
    np.testing.assert_array_equal(one, other)


REGION = ["north", "south", None]


def tables(X):
    """The credit columns, two of them with nulls, and a boolean and a text column with nulls."""
    n = len(X)
    late = [None if i % 9 == 4 else int(v) for i, v in enumerate(X[:, 1])]
    flag = [None if i % 5 == 2 else i % 2 == 0 for i in range(n)]
    text = [REGION[i % 3] for i in range(n)]
    income, limit = X[:, 0].tolist(), X[:, 2].tolist()
    data = {"income": income, "late": late, "limit": limit, "flag": flag, "region": text}
    arrow = pa.table(data)
    nullable = pd.DataFrame(
        {
            "income": pd.Series(income, dtype="Float64"),
            "late": pd.Series(late, dtype="Int64"),
            "limit": limit,
            "flag": pd.Series(flag, dtype="boolean"),
            "region": pd.Series(text, dtype="category"),
        }
    )
    backed = arrow.to_pandas(types_mapper=pd.ArrowDtype)
    return {
        "pandas": nullable,
        "pandas by number": nullable.set_axis(range(5), axis=1),
        "pandas on arrow": backed,
        "polars": pl.DataFrame(data),
        "arrow": arrow,
        "record batch": arrow.to_batches()[0],
        "list": [list(row) for row in zip(*data.values(), strict=True)],
    }


def types_of(table):
    if isinstance(table, list):
        return [{type(row[j]) for row in table} for j in range(len(table[0]))]
    if isinstance(table, pd.DataFrame):
        return dict(table.dtypes)
    return table.schema


@pytest.mark.parametrize("kind", tables(credit.data(50)[0]))
def test_the_teacher_always_sees_the_users_own_table(kind):
    X, _ = credit.data(1200)
    table = tables(X)[kind]
    columns = ["income", "late", "limit"]
    if kind == "pandas by number":
        columns = [0, 2]
    elif kind == "list":
        columns = range(3)
    asked = []

    def spy(rows):
        asked.append(rows)
        return np.linspace(0.1, 0.9, len(rows))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        student = farthing.distill(spy, table, student=QUICK, columns=columns, augment=2)
    assert len(asked) == 3
    assert student.n_features_in_ == len(columns)
    for rows in asked:
        assert type(rows) is type(table)
        assert types_of(rows) == types_of(table)


def test_a_teacher_of_other_classes_is_refused():
    X, y = credit.data()
    named = teach(X, np.where(y == 1, "bad", "good"))
    piped = make_pipeline(LogisticRegression()).fit(
        np.nan_to_num(X) / 1e5, np.where(y == 1, "bad", "good")
    )
    for teacher in (named, [named, named], [[named], named.predict_proba]):
        with pytest.raises(ValueError, match=r"\['bad', 'good'\], the student's are \[0, 1\]"):
            farthing.distill(teacher, X, y, student=QUICK)
    with pytest.raises(ValueError, match=r"\['bad', 'good'\], the student's are \[0, 1\]"):
        farthing.distill(piped, np.nan_to_num(X) / 1e5, y, student=QUICK)


def test_codes_of_the_sorted_labels_are_no_other_classes(teacher):
    X, y = credit.data()
    labels = np.where(y == 1, "worse", "better")
    student = farthing.distill(teacher, X, labels, student=QUICK, augment=0)
    assert student.classes_.tolist() == ["better", "worse"]
    assert auc(student, X, y) > 0.7


def test_without_y_the_student_takes_its_teachers_classes():
    X, y = credit.data()
    named = teach(X, np.where(y == 1, "bad", "good"))
    student = farthing.distill(named, X, student=QUICK, augment=0)
    assert student.classes_.tolist() == ["bad", "good"]
    assert farthing.metrics.auc(y, student.predict_proba(X)[:, 0]) > 0.7
    other = teach(X, np.where(y == 1, "a", "b"))
    with pytest.raises(ValueError, match=r"predicts \['a', 'b'\], the student's are \['bad', "):
        farthing.distill([named, other], X)


def test_a_teacher_that_ranks_y_the_wrong_way_round_is_told(teacher):
    X, y = credit.data()
    p = teacher.predict_proba(X)
    with pytest.warns(UserWarning, match=r"worse than chance \(AUC 0\.[012]") as caught:
        farthing.distill(p[:, ::-1], X, y, student=QUICK)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        farthing.distill(p, X, y, student=QUICK)


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
