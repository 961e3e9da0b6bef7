"""What the student sees of the table that its teacher is asked about."""

import warnings

import credit
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import farthing

QUICK = farthing.Classifier(hidden=(8,), max_epochs=20, random_state=0)


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


def test_validation_may_hold_its_columns_in_another_order():
    X, y = credit.data()
    frame = pd.DataFrame(X, columns=credit.FEATURES)
    seen = {"columns": ["late", "income"], "student": QUICK, "augment": 0}
    p = np.linspace(0.1, 0.9, 3000)
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
