"""Columns by name or by index, as every argument that takes them does."""

import numpy as np
import pytest

from farthing.indices import column_indices

NAMES = ("age", "late", "limit")


def test_names_and_indices_keep_their_order():
    assert column_indices("columns", ["limit", 0], NAMES, 3) == [2, 0]
    assert column_indices("columns", [np.int64(2), np.uint8(1), np.str_("age")], NAMES, 3) == [
        2,
        1,
        0,
    ]
    assert column_indices("columns", {"late": 1, 0: -1}, NAMES, 3) == [1, 0]
    assert column_indices("columns", iter([1]), None, 2) == [1]
    assert column_indices("columns", [], None, 2) == []
    assert all(type(j) is int for j in column_indices("columns", np.arange(2), None, 2))


@pytest.mark.parametrize(
    ("columns", "names", "says"),
    [
        (["lat"], NAMES, r"names of columns of X, got 'lat'; there are \['age', 'late', "),
        (["b"], ("a", "b", "b"), "names of columns of X, got 'b', which 2 have; there are "),
        (["late"], None, "indices, 0 to 2, where the columns of X have no names, got 'late'"),
        ([3], NAMES, "indices of columns of X, 0 to 2, got 3"),
        ([-1], None, "indices of columns of X, 0 to 2, got -1"),
        ([np.int64(1), 1], None, "a column once, got column 1 twice"),
        (["late", 0, 1], NAMES, "a column once, got column 'late' twice"),
    ],
)
def test_columns_that_are_not_there_are_named(columns, names, says):
    with pytest.raises(ValueError, match=f"^columns must hold {says}"):
        column_indices("columns", columns, names, 3)
    with pytest.raises(ValueError, match=f"^seen must hold {says.replace('X', 'Z')}"):
        column_indices("seen", columns, names, 3, table="Z")


@pytest.mark.parametrize(
    "column", [True, np.True_, 1.0, np.float64(1), None, b"age", [0], ("age",)]
)
def test_other_types_are_refused(column):
    with pytest.raises(TypeError, match="columns must hold names or indices of columns, got "):
        column_indices("columns", [0, column], NAMES, 3)
