import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from farthing.tables import (
    as_labels,
    as_matrix,
    as_part,
    as_target,
    as_weights,
    check_features,
    column_names,
    take_rows,
)

COLUMNS = {"a": [1, 2, 3], "b": [0.5, None, 2.5]}
TABLES = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas nullable": lambda: pd.DataFrame(COLUMNS).astype({"a": "Int64", "b": "Float64"}),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "arrow": lambda: pa.table(COLUMNS),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_become_float32_with_names(kind):
    matrix, names = as_matrix(TABLES[kind]())
    assert names == ("a", "b")
    assert matrix.dtype == np.float32 and matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array([[1, 0.5], [2, np.nan], [3, 2.5]], np.float32))


@pytest.mark.parametrize("kind", TABLES)
def test_rows_are_taken_in_the_users_container(kind):
    table = TABLES[kind]()
    taken = take_rows(table, np.array([2, 0]))
    assert type(taken) is type(table)
    np.testing.assert_array_equal(as_matrix(taken)[0][:, 0], [3, 1])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(3, 2),
        np.arange(12, dtype=np.float64).reshape(3, 4)[:, ::2],
        np.asfortranarray(np.arange(6.0).reshape(3, 2)),
        [[0, 1], [2, 3]],
        np.array([[True, False]]),
        np.arange(6).reshape(3, 2).astype(object),
    ],
)
def test_any_layout_and_number_type(array):
    matrix, names = as_matrix(array)
    assert names is None and matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.asarray(array).astype(np.float32))


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (np.zeros((2, 2, 2)), ValueError, "3 dimension"),
        (np.zeros(3), ValueError, r"reshape\(1, -1\)"),
        (np.zeros((3, 0)), ValueError, r"0 feature\(s\)"),
        (np.array([["x", "y"]]), ValueError, "X must hold numbers, got dtype <U1"),
        (np.array([[1, "y"]], object), ValueError, "X must hold numbers, got text, 'y', in row 0"),
        (np.array([[1, {}]], object), TypeError, "X must hold numbers: .*dict"),
        ([[1, 2], [3]], ValueError, "X must be a 2-D table"),
        (sparse.csr_matrix((2, 2)), TypeError, r"got a sparse matrix; use X.toarray\(\)"),
        (np.zeros((2, 2), complex), ValueError, "Complex"),
        (pd.DataFrame({"a": ["x", "y"]}), ValueError, "column 'a'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "distinct columns, got 'a' twice"),
    ],
)
def test_bad_tables_are_named(bad, error, says):
    with pytest.raises(error, match=says):
        as_matrix(bad)


def test_names_that_are_not_all_text_do_not_count():
    assert column_names(pd.DataFrame([[1, 2]])) is None
    assert column_names(np.zeros((2, 2))) is None


def test_labels():
    classes, index = as_labels(["no", "yes", "no"], 3)
    assert classes.tolist() == ["no", "yes"] and index.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="NaN"):
        as_labels([0.0, np.nan], 2)
    with pytest.raises(ValueError, match="Unknown label type"):
        as_labels([0.5, 1.0], 2)
    with pytest.raises(ValueError, match=r"must hold the classes .*, got 'maybe'"):
        as_labels(["maybe"], 1, classes=classes)
    with pytest.raises(ValueError, match="must have 3 values"):
        as_labels([0, 1], 3)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_a_missing_label_is_named_by_its_row(missing):
    with pytest.raises(ValueError, match="y must have a label in every row, got none in row 2"):
        as_labels(np.array(["good", "bad", missing, missing], object), 4)
    classes, _ = as_labels(pd.array([1, 0, 1], "Int64"), 3)
    assert classes.tolist() == [0, 1]


def test_a_column_of_labels_is_taken_with_a_warning():
    with pytest.warns(UserWarning, match="column-vector y"):
        classes, index = as_labels(np.array([[3], [1], [3]]), 3)
    assert classes.tolist() == [1, 3] and index.tolist() == [1, 0, 1]


def test_parts_have_two_values_or_three():
    assert as_part((1, 2), "final") == (1, 2, None)
    assert as_part([1, 2, 3], "final") == (1, 2, 3)
    for part, got in ((np.ones((2, 2)), "ndarray"), ((1,), "tuple of length 1"), (None, "None")):
        with pytest.raises(ValueError, match=rf"final must be \(X, y\) or .*, got {got}"):
            as_part(part, "final")


def test_infinities_are_named_by_column():
    matrix = np.array([[1, 2], [np.nan, np.inf]], np.float32)
    with pytest.raises(ValueError, match=r"X must be finite, .*: column 1 contains infinity"):
        check_features(matrix, None)
    with pytest.raises(ValueError, match=r"final must be finite, .*: column 'b' contains"):
        check_features(matrix, ("a", "b"), argument="final")
    check_features(matrix[:1], None)


def test_targets_and_weights():
    with pytest.raises(ValueError, match="NaN or infinity, got inf in row 1"):
        as_target([1, np.inf], 2)
    with pytest.raises(ValueError, match="y must hold numbers"):
        as_target(["a"], 1)
    assert as_weights(None, 2) is None
    np.testing.assert_array_equal(as_weights(2, 2), [2, 2])
    for bad, says in (
        ([1.0], r"must have 2 values, .* \(1,\)"),
        ([1.0, -1.0], "must be finite and not negative, got -1.0 in row 1"),
        ([np.nan, 1.0], "must be finite .* got nan in row 0"),
        ([0.0, 0.0], "must not be zero in every row"),
        (["heavy", "light"], "must hold numbers"),
    ):
        with pytest.raises(ValueError, match=f"sample_weight {says}"):
            as_weights(bad, 2)
