import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from farthing.tables import (
    as_groups,
    as_labels,
    as_matrix,
    as_part,
    as_target,
    as_weights,
    check_features,
    check_spread,
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
        (
            np.array([["x", "y"]]),
            ValueError,
            "X must hold numbers, got dtype <U1, which is not num",
        ),
        (np.array([[1, "2"]], object), ValueError, "got text, '2', in row 0, column 1"),
        (np.array([[1, b"2"]], object), ValueError, "got text, b'2', in row 0, column 1"),
        (np.array([[1, 2j]], object), ValueError, "got a complex number, 2j, in row 0, column 1"),
        (np.array([[1, datetime.date(2020, 1, 1)]], object), ValueError, "got a date or duration"),
        (np.array([[1, {}]], object), TypeError, "argument must be .* string.* number.*dict"),
        (np.array([[1, 10**400]], object), ValueError, "X must hold numbers: int too large"),
        (np.zeros((2, 2), "M8[s]"), ValueError, r"got dtype datetime64\[s\], which is not numeric"),
        (
            np.zeros((2, 2), "m8[s]"),
            ValueError,
            r"got dtype timedelta64\[s\], which is not numeric",
        ),
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


TEXT, DAYS = ["1", "2", None], [datetime.date(2020, 1, day) for day in (1, 2, 3)]
SPAN = [datetime.timedelta(days=day) for day in (1, 2, 3)]
NOT_NUMERIC = {
    "pandas text": pd.Series(TEXT),
    "pandas object": pd.Series(TEXT, dtype=object),
    "pandas bytes": pd.Series([b"1", b"2", b"3"], dtype=object),
    "pandas missing text": pd.Series([None] * 3, dtype="string"),
    "pandas categories of text": pd.Series(TEXT, dtype="category"),
    "pandas categories of numbers": pd.Series([1, 2, 3], dtype="category"),
    "pandas dates": pd.to_datetime(pd.Series(DAYS)),
    "pandas dates in a zone": pd.to_datetime(pd.Series(DAYS)).dt.tz_localize("UTC"),
    "pandas durations": pd.to_timedelta(pd.Series(SPAN)),
    "pandas objects of dates": pd.Series(DAYS, dtype=object),
    "pandas text of Arrow": pd.Series(TEXT, dtype=pd.ArrowDtype(pa.string())),
    "pandas dates of Arrow": pd.Series(DAYS, dtype=pd.ArrowDtype(pa.date32())),
    "pandas complex": pd.Series([1j, 2.0, 3.0]),
    "polars text": pl.Series(TEXT),
    "polars categories": pl.Series(TEXT, dtype=pl.Categorical),
    "polars dates": pl.Series(DAYS),
    "polars durations": pl.Series(SPAN),
    "arrow text": pa.array(TEXT),
    "arrow dictionary": pa.array(TEXT).dictionary_encode(),
    "arrow times": pa.array(np.array(DAYS, "M8[us]")),
    "arrow durations": pa.array(SPAN),
}


def _frame(column):
    """A table of the column's own library with it as column 'when'."""
    if isinstance(column, pd.Series):
        return pd.DataFrame({"when": column})
    return (pl.DataFrame if isinstance(column, pl.Series) else pa.table)({"when": column})


@pytest.mark.parametrize("kind", NOT_NUMERIC)
def test_columns_of_other_types_than_numbers_are_named(kind):
    with pytest.raises(ValueError, match=r"X must .*column 'when' of type "):
        as_matrix(_frame(NOT_NUMERIC[kind]))


EXACT = 2**60 + 2**36 + 1  # through float64, the one is lost and its float32 a step lower
NUMERIC = {
    "pandas nullable": pd.Series([EXACT, None, 3], dtype="Int64"),
    "pandas bools": pd.Series([True, None, False], dtype="boolean"),
    "pandas decimals": pd.Series([Decimal("1.5"), None, 2], dtype=object),
    "pandas objects": pd.Series([1, pd.NA, np.float32(2.5)], dtype=object),
    "pandas of Arrow": pd.Series([EXACT, None, 3], dtype=pd.ArrowDtype(pa.int64())),
    "pandas decimals of Arrow": pd.Series(
        [Decimal("1.50"), None, Decimal(2)], dtype=pd.ArrowDtype(pa.decimal128(5, 2))
    ),
    "pandas sparse": pd.Series(pd.arrays.SparseArray([1.0, np.nan, 0.0])),
    "polars integers": pl.Series([EXACT, None, 3]),
    "polars Int128": pl.Series([EXACT, None, -3], dtype=pl.Int128),
    "polars UInt128": pl.Series([EXACT, None, 3], dtype=pl.UInt128),
    "polars beyond 64 bits": pl.Series([2**100, None, -3], dtype=pl.Int128),
    "polars bools": pl.Series([True, None, False]),
    "polars decimals": pl.Series([Decimal("1.5"), None, Decimal(2)]),
    "polars nulls": pl.Series([None, None, None]),
    "arrow integers": pa.chunked_array([[EXACT, None], [3]]),
    "arrow bools": pa.array([True, None, False]),
    "arrow decimals": pa.array([Decimal("1.5"), None, Decimal(2)]),
    "arrow nulls": pa.nulls(3),
}


def _as_single(cell) -> np.float32:
    if cell is None or cell is pd.NA:
        return np.float32(np.nan)
    return np.float32(np.int64(cell) if cell == EXACT else cell)


@pytest.mark.parametrize("kind", NUMERIC)
def test_numbers_of_any_library_are_rounded_once_and_nulls_are_missing(kind):
    assert np.float32(np.int64(EXACT)) != np.float32(np.float64(EXACT))
    column = NUMERIC[kind]
    cells = column.to_pylist() if isinstance(column, (pa.Array, pa.ChunkedArray)) else column
    matrix, _ = as_matrix(_frame(column), fitting=True)
    np.testing.assert_array_equal(matrix[:, 0], [_as_single(cell) for cell in cells])


def test_masked_cells_are_missing_in_x_and_refused_elsewhere():
    masked = np.ma.array([[1, 2], [3, 2**40]], mask=[[0, 0], [0, 1]])
    np.testing.assert_array_equal(as_matrix(masked, fitting=True)[0], [[1, 2], [3, np.nan]])
    single = np.ma.array(np.ones((1, 1), np.float32), mask=True)
    assert np.isnan(as_matrix(single)[0]).all() and single.data[0, 0] == 1
    y = np.ma.array([0, 1, 1], mask=[0, 1, 0])
    for check in (as_labels, as_target, as_weights, as_groups):
        with pytest.raises(ValueError, match="must have a value in every row, got none in row 1"):
            check(y, 3)
        check(y.filled(1), 3)


@pytest.mark.parametrize(
    "column",
    [
        np.arange(10**9, 10**9 + 500),
        1.7e18 + np.arange(500) * 1e9,
        1e13 + np.arange(500.0),
        np.arange(2**60, 2**60 + 500),
        np.arange(500) * 1e-50,
    ],
)
def test_a_column_that_float32_cannot_tell_apart_is_refused_for_fitting_alone(column):
    plain = np.column_stack([np.zeros(500, column.dtype), column])
    frame = pd.DataFrame({"age": np.arange(500), "id": column})
    says = "column {} has 500 distinct values, of which [0-9]+ stay; .*subtract an offset"
    with pytest.raises(ValueError, match=says.format("1")):
        as_matrix(plain, fitting=True)
    for table in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        with pytest.raises(ValueError, match=says.format("'id'")):
            as_matrix(table, fitting=True)
        as_matrix(table)
    as_matrix(plain)


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).normal(size=500),
        np.arange(2**24, 2**24 + 500),  # every other one stays
        np.tile([0.3, 0.1 + 0.2, np.nextafter(0.3, 0)], 100),  # one value in three roundings
        np.append(np.full(500, np.nan), 1e9 + np.arange(2)),
        np.full(500, np.nan),
        np.append(np.arange(500.0), 1e300),  # refused as too large, not as too fine
    ],
)
def test_a_column_that_float32_holds_well_enough_passes(column):
    matrix, _ = as_matrix(column[:, None], fitting=True)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(matrix[:, 0], column.astype(np.float32))


def test_text_that_no_file_can_hold_is_refused_for_fitting():
    for name, what in (
        ("in\udc80come", r"that UTF-8 can hold, got 'in\\udc80come'"),
        ("in\0come", r"without the character NUL, got 'in\\x00come'"),
    ):
        frame = pd.DataFrame([[1.0, 2.0]], columns=pd.Index(["age", name], dtype=object))
        with pytest.raises(ValueError, match=f"column names of X must be text {what}"):
            as_matrix(frame, fitting=True)
        as_matrix(frame)
    with pytest.raises(ValueError, match=r"y must be text that UTF-8 can hold, got 'b\\udc80d'"):
        as_labels(np.array(["good", "b\udc80d"], object), 2)
    assert as_labels(["good", "b\0d"], 2)[0].tolist() == ["b\0d", "good"]


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


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        ([b"no", b"yes"], r"got dtype \|S3"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), r"got dtype datetime64\[D\]"),
        (np.array([1, 2], "m8[D]"), r"got dtype timedelta64\[D\]"),
        ([1j, 2j], "got dtype complex128"),
        ([Decimal(1), Decimal(2)], "got Decimal"),
        (DAYS[:2], "got date"),
        (np.array(["a", 1], object), "got int, str"),
        (np.array([b"a", b"b"], object), "got bytes"),
        (np.array([(1,), (2,), None], object)[:2], "got tuple"),
        ([2**70, 1], "got int"),
    ],
)
def test_labels_that_a_file_cannot_hold_are_refused(labels, got):
    with pytest.raises(ValueError, match=f"y must hold labels that .*{got}"):
        as_labels(labels, 2)


@pytest.mark.parametrize("labels", [[False, True], [0, 1], [np.int8(3), True], [0.0, 1.0]])
def test_labels_of_dtype_object_count_by_their_values(labels):
    classes, index = as_labels(np.array(labels * 2, object), 4)
    assert classes.dtype.kind in "biuf" and json.dumps(classes.tolist())
    assert classes[index].tolist() == labels * 2


def test_continuous_labels_of_dtype_object_are_refused():
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        as_labels(np.array([0.5, 1], object), 2)


def test_groups_are_numbered():
    assert as_groups(None, 3) is None
    for groups in (["b", "a", "b"], pd.Series([2.5, 1, 2.5]), np.array(["b", "a", "b"], object)):
        assert as_groups(groups, 3).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (np.arange(2), r"must have 3 labels, one a row of X, got shape \(2,\)"),
        (np.zeros((3, 1)), r"must have 3 labels, one a row of X, got shape \(3, 1\)"),
        (7, r"must have 3 labels, one a row of X, got shape \(\)"),
        ([[1], [1, 2], [3]], "must have one label a row"),
        ([0, np.nan, 1], "must have a label in every row, got none in row 1"),
        (["a", None, "b"], "must have a label in every row, got none in row 1"),
        (pd.Series([1, pd.NA, 2], dtype="Int64"), "must have a label .* got none in row 1"),
        (np.array(["2020", "NaT", "2021"], "M8[Y]"), "must have a label .* got none in row 1"),
        (np.array(["a", 1, 2], object), "must hold labels of one kind"),
    ],
)
def test_bad_groups_are_named(groups, says):
    with pytest.raises(ValueError, match=f"groups {says}"):
        as_groups(groups, 3)


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
    for bad in (["1"], [b"1"], np.array(["1"], object), DAYS[:1], np.zeros(1, "m8[s]")):
        with pytest.raises(ValueError, match="y must hold numbers"):
            as_target(bad, 1)
    with pytest.raises(ValueError, match="y must be real"):
        as_target([1j], 1)
    with pytest.raises(ValueError, match="y must have a value in every row, got none in row 1"):
        as_target(np.array([1, pd.NA], object), 2)
    with pytest.raises(ValueError, match=r"y must lie within 1e\+35, .* got -1e\+300 in row 1"):
        as_target([0, -1e300], 2)
    assert as_target(np.array([Decimal("1.5"), True], object), 2).tolist() == [1.5, 1]
    assert as_weights(None, 2) is None
    np.testing.assert_array_equal(as_weights(2, 2), [2, 2])
    for scale in (1e-300, 1e300):
        weight = as_weights([3 * scale, 0, 1e-60 * scale, scale], 4)
        np.testing.assert_allclose(weight / weight[0], [1, 0, 0, 1 / 3])
        assert 0.5 <= weight.max() < 1
    for bad, says in (
        ([1.0], r"must have 2 values, .* \(1,\)"),
        ([1.0, -1.0], "must be finite and not negative, got -1.0 in row 1"),
        ([np.nan, 1.0], "must be finite .* got nan in row 0"),
        ([0.0, 0.0], "must not be zero in every row"),
        (["heavy", "light"], "must hold numbers"),
    ):
        with pytest.raises(ValueError, match=f"sample_weight {says}"):
            as_weights(bad, 2)


def test_a_target_must_vary_more_than_float32_rounds():
    noise = np.random.default_rng(0).normal(size=100)
    for y in (1e7 + noise, 1.7e9 + noise, 1e-300 * noise, 1e6 + noise):
        with pytest.raises(ValueError, match="y must vary by 100 steps of float32 or more"):
            check_spread(y)
    for y in (1e7 + 1e3 * noise, 1e-35 * noise, 1e34 * noise, np.full(9, 0.1), 1 + 1e-15 * noise):
        check_spread(y)
    weight = np.append(np.ones(100), 0)
    with pytest.raises(ValueError, match="subtract an offset"):
        check_spread(np.append(1e7 + noise, 0), weight)


def test_missing_truth_values_of_arrow_backed_columns():
    frame = pd.DataFrame({"a": pd.array([True, None, False], dtype="bool[pyarrow]")})
    np.testing.assert_array_equal(as_matrix(frame)[0][:, 0], [1, np.nan, 0])
