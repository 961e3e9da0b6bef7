import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from farthing.tables import as_labels, as_matrix, as_target, as_weights, column_names, take_rows

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
        (np.array([["x", "y"]]), ValueError, "text"),
        (np.zeros((2, 2), complex), ValueError, "Complex"),
        (pd.DataFrame({"a": ["x", "y"]}), ValueError, "column 'a'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "'a' occurs more than once"),
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
    with pytest.raises(ValueError, match="'maybe' is not one of the classes"):
        as_labels(["maybe"], 1, classes=classes)
    with pytest.raises(ValueError, match="expected 3 values"):
        as_labels([0, 1], 3)


def test_targets_and_weights():
    with pytest.raises(ValueError, match="NaN or infinity at row 1"):
        as_target([1, np.inf], 2)
    with pytest.raises(ValueError, match="numbers are required"):
        as_target(["a"], 1)
    assert as_weights(None, 2) is None
    for bad in ([1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="sample_weight"):
            as_weights(bad, 2)
