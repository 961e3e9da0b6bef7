"""Categorical columns of every container: found, learnt, looked up, refused."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from farthing.columns import Coded
from farthing.tables import as_matrix, learn_matrix

HOME = ["rent", "own", None, "rent", "own", "rent", "free"]
GRADE = [3, 1, 2, None, 3, 1, 1]
AGE = [20.5, 30, 41, 52, 25, 33, 47]
DATA = {"age": AGE, "home": HOME, "grade": GRADE}
NAN = np.nan


def pandas_categories():
    frame = pd.DataFrame(DATA)
    # Levels in an order of their own, one in no row.
    return frame.astype({"home": pd.CategoricalDtype(["unused", "rent", "own", "free"])})


def arrow(home):
    return pa.table({"age": AGE, "home": home, "grade": pa.array(GRADE)})


CONTAINERS = {
    "pandas str": lambda: pd.DataFrame(DATA),
    "pandas object": lambda: pd.DataFrame(DATA).astype({"home": object}),
    "pandas object of pd.NA": lambda: pd.DataFrame(
        {**DATA, "home": pd.Series([pd.NA if h is None else h for h in HOME], dtype=object)}
    ),
    "pandas category": pandas_categories,
    "pandas nullable": lambda: pd.DataFrame(DATA).astype({"home": "string", "grade": "Int8"}),
    "pandas of Arrow": lambda: pd.DataFrame(DATA).astype({"home": pd.ArrowDtype(pa.string())}),
    "pandas Arrow dictionary": lambda: pd.DataFrame(
        {
            **DATA,
            "home": pd.Series(HOME, dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
        }
    ),
    "polars": lambda: pl.DataFrame(DATA, strict=False),
    "polars Categorical": lambda: pl.DataFrame(DATA, strict=False).cast({"home": pl.Categorical}),
    "polars Enum": lambda: pl.DataFrame(DATA, strict=False).cast(
        {"home": pl.Enum(["unused", "free", "rent", "own"])}
    ),
    "arrow": lambda: arrow(pa.array(HOME)),
    "arrow large": lambda: arrow(pa.array(HOME, pa.large_string())),
    "arrow view": lambda: arrow(pa.array(HOME, pa.string_view())),
    "arrow dictionary": lambda: arrow(pa.array(HOME).dictionary_encode()),
    "arrow chunks": lambda: arrow(
        pa.chunked_array(
            [
                pa.array(HOME[:3]).dictionary_encode(),
                pa.array(HOME[3:]).dictionary_encode(),
            ]
        )
    ),
    "arrow batch": lambda: pa.record_batch(DATA),
    "stream": lambda: pa.table(DATA).to_reader(max_chunksize=3),
}
ARRAYS = {
    "objects": lambda: np.array(list(zip(AGE, HOME, GRADE, strict=True)), object),
    "objects of pd.NA": lambda: np.array(
        [[pd.NA if c is None else c for c in row] for row in zip(*DATA.values(), strict=True)]
    ),
    "rows": lambda: [list(row) for row in zip(AGE, HOME, GRADE, strict=True)],
    "rows of NaN": lambda: [
        [NAN if cell is None else cell for cell in row] for row in zip(*DATA.values(), strict=True)
    ],
    "masked": lambda: np.ma.array(
        [["x" if c is None else c for c in row] for row in zip(*DATA.values(), strict=True)],
        mask=[[c is None for c in row] for row in zip(*DATA.values(), strict=True)],
        dtype=object,
    ),
    "nameless pandas": lambda: pd.DataFrame(DATA).set_axis([0, 1, 2], axis=1),
}
EXPECTED = np.array(
    [AGE, [2, 1, NAN, 2, 1, 2, 0], [NAN if g is None else g for g in GRADE]], np.float32
).T


@pytest.mark.parametrize("kind", [*CONTAINERS, *ARRAYS])
def test_listed_columns_are_learnt(kind):
    make = (CONTAINERS | ARRAYS)[kind]
    matrix, names, kept = learn_matrix(make(), [1, 2], min_frequency=1)
    assert names == (tuple(DATA) if kind in CONTAINERS else None)
    assert kept == {1: ["free", "own", "rent"], 2: [1.0, 2.0, 3.0]}
    assert all(type(value) in (str, float) for values in kept.values() for value in values)
    assert matrix.dtype == np.float32 and matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, EXPECTED)
    # What fit learnt is what predict looks up.
    np.testing.assert_array_equal(as_matrix(make(), categories=kept)[0], EXPECTED)
    rare = {1: ["own", "tent"], 2: [1.0]}
    expected = EXPECTED.copy()
    expected[:, 1] = [-1, 0, NAN, -1, 0, -1, -1]
    np.testing.assert_array_equal(as_matrix(make(), categories=rare)[0], expected)
    if kind in CONTAINERS:
        by_name = {"grade": rare[2], "home": rare[1]}
        np.testing.assert_array_equal(as_matrix(make(), categories=by_name)[0], expected)
        assert learn_matrix(make(), ["grade", "home"], min_frequency=1)[2] == kept


@pytest.mark.parametrize("kind", [*CONTAINERS, "nameless pandas"])
def test_from_dtype_takes_categories_and_text(kind):
    matrix, _, kept = learn_matrix((CONTAINERS | ARRAYS)[kind](), "from_dtype", min_frequency=2)
    assert kept == {1: ["own", "rent"]}
    np.testing.assert_array_equal(matrix[:, 1], [1, 0, NAN, 1, 0, 1, -1])
    np.testing.assert_array_equal(matrix[:, [0, 2]], EXPECTED[:, [0, 2]])


def test_from_dtype_leaves_numbers_bools_and_arrays():
    plain = pd.DataFrame({"a": [1, 2], "b": [True, False], "c": pd.Series([1, None], dtype=object)})
    for table in (plain, pl.DataFrame({"a": [1], "b": [True]}), pa.table({"b": [True, None]})):
        assert learn_matrix(table, "from_dtype")[2] == {}
    assert learn_matrix(plain.to_numpy(np.float64), "from_dtype")[2] == {}
    assert learn_matrix([[1, 2.5]], "from_dtype")[2] == {}
    levels = pd.DataFrame({"a": pd.Series([7, 5, 7], dtype="category")})
    assert learn_matrix(levels, "from_dtype", min_frequency=1)[2] == {0: [5.0, 7.0]}


def test_none_of_an_array_of_numbers_is_copied_or_touched():
    X = np.array([[1, 2], [1, 3], [NAN, 3]], np.float32)
    X.flags.writeable = False
    matrix, _, kept = learn_matrix(X, [0], min_frequency=2)
    assert matrix is X and kept == {0: [1.0]}
    assert as_matrix(X, categories={0: ["a", "b"]})[0] is X  # codes, as they are


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        ([True, False, None], [0, 1]),
        ([1, 2.5, Decimal("0.5")], [0.5, 1, 2.5]),
        ([np.int8(3), np.float32(0.1), np.bool_(True)], [np.float32(0.1), 1, 3]),
        ([-0.0, 0, 0.0], [0]),
        ([2**60, 2**61, 5], [5, 2**60, 2**61]),
        ([0.3, 0.1 + 0.2, NAN], [np.float32(0.3)]),
        ([None, None, pd.NA], []),
        ([None, NAN, pd.NaT], []),
    ],
)
def test_numbers_of_any_kind(cells, kept):
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    matrix, _, found = learn_matrix(frame, ["x"], min_frequency=1)
    assert found == {0: kept}
    missing = [cell is None or cell is pd.NA or cell != cell for cell in cells]
    assert np.isnan(matrix[:, 0]).tolist() == missing
    assert set(matrix[~np.isnan(matrix)].tolist()) == set(map(float, kept))


def test_frequencies_count_rows_or_weights():
    table = pd.DataFrame({"c": list("aaabbc"), "n": [1, 1, 1, 2, 2, 3]})
    assert learn_matrix(table, ["c", "n"], min_frequency=2)[2] == {0: ["a", "b"], 1: [1, 2]}
    weight = np.array([1, 0, 0, 0.1, 0.2, 3])
    kept = {0: ["a", "c"], 1: [1, 3]}
    assert learn_matrix(table, ["c", "n"], min_frequency=1, sample_weight=weight)[2] == kept
    matrix, _, kept = learn_matrix(table, [0], min_frequency=100)
    assert kept == {0: []} and (matrix[:, 0] == -1).all()
    absent = learn_matrix(table, [0], min_frequency=1, sample_weight=np.array([0, 0, 0, 1, 1, 1]))
    assert absent[2] == {0: ["b", "c"]}
    with pytest.raises(ValueError, match="sample_weight must have 6 values, one a row, got shape"):
        learn_matrix(table, [0], sample_weight=np.ones(2))
    with pytest.raises(ValueError, match="min_frequency must be an integer >= 1, got 0"):
        learn_matrix(table, [0], min_frequency=0)


def test_integer_weights_are_repeated_rows(rng):
    cells, counts = rng.choice(list("abcdefghij"), 60), rng.integers(0, 4, 60)
    once, again = (pd.DataFrame({"c": c}) for c in (cells, np.repeat(cells, counts)))
    weighted = learn_matrix(once, "from_dtype", min_frequency=9, sample_weight=counts)[2]
    assert weighted == learn_matrix(again, "from_dtype", min_frequency=9)[2]
    assert 0 < len(weighted[0]) < 10


def test_small_weights_count_beside_their_mean():
    """Below a mean of 1, over the rows of weight above 0, only the ratios of weights count."""
    table = pd.DataFrame({"c": list("aaaabbbccd")})
    weight = np.array([1, 1, 1, 1, 2, 2, 2, 0, 3, 1.0])
    mean = 14 / 9
    for scale, least in ((1e-200, mean), (1e-3, mean), (1 / mean, mean), (1, 1), (3, 1 / 3)):
        for frequency in range(1, 15):
            kept = learn_matrix(table, [0], min_frequency=frequency, sample_weight=weight * scale)[
                2
            ][0]
            mass = {"a": 4, "b": 6, "c": 3, "d": 1}
            assert kept == [c for c, m in mass.items() if m >= frequency * least * (1 - 1e-12)]
    for same in (1e-300, 0.1, 1 / 3, 1.0):
        kept = learn_matrix(table, [0], min_frequency=3, sample_weight=np.full(10, same))[2]
        assert kept == learn_matrix(table, [0], min_frequency=3)[2] == {0: ["a", "b"]}
    assert learn_matrix(table, [0], min_frequency=1, sample_weight=np.zeros(10))[2] == {0: []}


def test_texts_are_sorted_as_their_bytes_are():
    texts = ["é", "z", "\U0001f600", "￿", "", "A"]
    kept = learn_matrix(pd.DataFrame({"t": texts}), ["t"], min_frequency=1)[2][0]
    assert kept == sorted(texts, key=str.encode)


def test_the_precision_of_numbers_is_not_that_of_categories():
    """An identifier is refused as a number and taken as a category, unless float32 merges it."""
    big = 10.0**9 + 64 * np.arange(200)
    close = 10**9 + np.arange(200)
    for make in (lambda c: pd.DataFrame({"id": c}), lambda c: pl.DataFrame({"id": c})):
        with pytest.raises(ValueError, match="column 'id' has 200 distinct values"):
            learn_matrix(make(close))
        with pytest.raises(ValueError, match=r"column 'id' must hold .* stay apart in float32"):
            learn_matrix(make(close), ["id"], min_frequency=1)
        texts = learn_matrix(make(close.astype(str)), ["id"], min_frequency=1)[2][0]
        assert len(texts) == 200
        assert len(learn_matrix(make(big), ["id"], min_frequency=1)[2][0]) == 200
    both = np.column_stack([close, close])
    with pytest.raises(ValueError, match="column 1 has 200 distinct values"):
        learn_matrix(both[:, [0, 1]] % [10**9, 10**10], [0], min_frequency=1)
    kept = learn_matrix(both % 10**9, [1], min_frequency=1)[2]
    assert kept == {1: list(range(200))}
    as_matrix(pd.DataFrame({"id": close}), fitting=True, categories={"id": [5.0]})


FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})


@pytest.mark.parametrize(
    ("features", "error", "says"),
    [
        (["c"], ValueError, "categorical_features must hold names of columns of X, got 'c'"),
        ([2], ValueError, "categorical_features must hold indices of columns of X, 0 to 1, got 2"),
        (["b", 1], ValueError, "categorical_features must hold a column once, got column 'b' twi"),
        ([1.0], TypeError, "categorical_features must hold names or indices of columns, got 1.0"),
        ("b", ValueError, "must be None, 'from_dtype' or a list of names or indices .*, got 'b'"),
        (3, TypeError, "must be None, 'from_dtype' or a list of names or indices .*, got 3"),
    ],
)
def test_bad_lists_are_named(features, error, says):
    with pytest.raises(error, match=says):
        learn_matrix(FRAME, features)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["x", 1], "column 'b' must hold categories that are all texts or all numbers, got int a"),
        (["x", True], "got bool and str"),
        ([b"x", b"y"], "all texts or all numbers, got bytes"),
        ([datetime.date(2020, 1, 1)] * 2, "all texts or all numbers, got date"),
        ([pd.Interval(0, 1), pd.Interval(1, 2)], "all texts or all numbers, got Interval"),
    ],
)
def test_mixed_and_other_categories_are_named(cells, says):
    for dtype in (object, "category"):
        frame = pd.DataFrame({"a": [1.0, 2.0], "b": pd.Series(cells, dtype=dtype)})
        with pytest.raises(ValueError, match=says):
            learn_matrix(frame, ["b"])
    rows = [[1.0, cell] for cell in cells]
    with pytest.raises(ValueError, match=says.replace("'b'", "1")):
        learn_matrix(rows, [1])


def test_cells_that_cannot_be_compared_and_dates_are_named():
    lists = pd.DataFrame({"b": pd.Series([[1], [2]], dtype=object)})
    with pytest.raises(TypeError, match="categories must be texts or numbers, got column 'b' of X"):
        learn_matrix(lists, ["b"])
    dates = pd.DataFrame({"b": pd.to_datetime(["2020-01-01", "2020-01-02"])})
    with pytest.raises(ValueError, match="column 'b' of type datetime64"):
        learn_matrix(dates, ["b"])
    with pytest.raises(ValueError, match=r"column 'b' must .* UTF-8 can hold, got 'a\\udc80'"):
        learn_matrix(
            pd.DataFrame({"b": pd.Series(["a\udc80"], dtype=object)}), [0], min_frequency=1
        )


def test_text_with_nul_is_refused_where_it_would_be_kept():
    frame = pd.DataFrame({"b": ["a\0b", "c", "c"]})
    with pytest.raises(ValueError, match="column 'b' must hold text without the character NUL"):
        learn_matrix(frame, ["b"], min_frequency=1)
    assert learn_matrix(frame, ["b"], min_frequency=2)[2] == {0: ["c"]}


@pytest.mark.parametrize(
    "table", [FRAME, pl.DataFrame({"b": ["x"]}), pa.table({"b": ["x"]}), [[1, "x"]], [["x", "y"]]]
)
def test_text_that_is_no_category_names_the_argument(table):
    for read in (as_matrix, learn_matrix):
        with pytest.raises(ValueError, match=r"X must hold numbers.* in categorical_features"):
            read(table)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_another_kind_than_in_training_is_refused(make):
    with pytest.raises(ValueError, match=r"column 'b' must hold text, .* got a number, 1"):
        as_matrix(make({"b": [1, 2]}), categories={0: ["1", "2"]})
    with pytest.raises(ValueError, match=r"column 'b' must hold numbers, .* got text, '1'"):
        as_matrix(make({"b": [None, "1"]}), categories={0: [1.0]})
    missing = make({"b": [None, None]})
    for kept in (["1"], [1.0], []):
        assert np.isnan(as_matrix(missing, categories={0: kept})[0]).all()
    # Where none was frequent enough, both kinds are 'other'.
    assert as_matrix(make({"b": ["1"]}), categories={0: []})[0].tolist() == [[-1]]
    assert as_matrix(make({"b": [1]}), categories={0: []})[0].tolist() == [[1]]


def test_the_kinds_of_pieces_must_agree():
    from farthing.categories import Vocabulary

    vocabulary = Vocabulary("'b'", "X")
    vocabulary(Coded(["x"], np.array([0])))
    with pytest.raises(ValueError, match="all texts or all numbers, got both"):
        vocabulary(Coded([1], np.array([0])))
