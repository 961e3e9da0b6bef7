"""Arrays of numbers as float32 matrices: what is copied, and how much memory that takes."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from farthing.tables import as_matrix, learn_matrix, take_rows

NAN = np.nan


def peak_of(call):
    tracemalloc.start()
    result = call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, peak


def mapped(path, values):
    file = np.memmap(path, values.dtype, "w+", shape=values.shape)
    file[:] = values
    file.flush()
    return np.memmap(path, values.dtype, "r", shape=values.shape)


def test_float32_passes_without_a_copy(tmp_path, rng):
    values = rng.normal(size=(20_000, 10)).astype(np.float32)
    for X in (values, mapped(tmp_path / "x", values)):
        for read in (as_matrix, learn_matrix):
            (matrix, *_), peak = peak_of(lambda read=read, X=X: read(X))
            assert np.shares_memory(matrix, X) and peak < 100_000
            np.testing.assert_array_equal(matrix, values)


@pytest.mark.parametrize("dtype", ["f8", ">f8", "i8", "i4", "u8", "f2", ">f4", "?"])
@pytest.mark.parametrize("fitting", [False, True])
def test_a_mapped_file_is_converted_a_piece_at_a_time(tmp_path, dtype, fitting, rng):
    numbers = rng.normal(100, 30, size=(200_000, 20))
    values = (numbers > 100 if dtype == "?" else numbers).astype(dtype)
    X = mapped(tmp_path / "x", values)
    (matrix, _), peak = peak_of(lambda: as_matrix(X, fitting=fitting))
    np.testing.assert_array_equal(matrix, values.astype(np.float32))
    assert matrix.nbytes == 16_000_000
    # A piece is 2**18 cells; to check precision, one column of them at a time is sorted.
    assert peak < 1.3 * matrix.nbytes


def test_rows_of_a_mapped_file_are_taken(tmp_path):
    X = mapped(tmp_path / "x", np.arange(6.0).reshape(3, 2))
    assert take_rows(X, np.array([2, 0])).tolist() == [[4, 5], [0, 1]]


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda x: np.repeat(x, 2, 1)[:, ::2]])
def test_pieces_of_any_layout(layout, rng):
    values = rng.normal(size=(300_000, 2))
    np.testing.assert_array_equal(as_matrix(layout(values))[0], values.astype(np.float32))


def test_precision_is_checked_over_all_pieces():
    n = 400_000
    close = 10.0**9 + np.arange(n) % 3000  # steps of 64 stay apart
    X = np.column_stack([np.arange(n), close])
    with pytest.raises(ValueError, match="column 1 has 3,000 distinct values, of which 48 stay"):
        as_matrix(X, fitting=True)
    with pytest.raises(ValueError, match="column 1 has 3,000 distinct values, of which 48 stay"):
        as_matrix(X.astype(np.int64), fitting=True)
    as_matrix(X[:, :1], fitting=True)


@pytest.mark.parametrize(
    "X",
    [
        [[1, pd.NA], [pd.NaT, 2.5]],
        [[1, None], [NAN, 2.5]],
        np.array([[1, pd.NA], [None, 2.5]], object),
        pd.DataFrame({0: [1, None], 1: pd.Series([pd.NA, 2.5], dtype=object)}),
    ],
)
def test_missing_cells_of_any_library(X):
    np.testing.assert_array_equal(as_matrix(X)[0], [[1, NAN], [NAN, 2.5]])


def test_masked_pieces_are_missing():
    mask = np.zeros((200_000, 2), bool)
    mask[::3, 1] = True
    X = np.ma.array(np.ones((200_000, 2)), mask=mask)
    np.testing.assert_array_equal(np.isnan(as_matrix(X)[0]), mask)
