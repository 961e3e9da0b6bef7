import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from farthing.augmentation import SAMPLERS, nearest_rows, sampled
from farthing.tables import as_matrix


def rng(seed=3):
    return np.random.default_rng(seed)


def test_neighbours_are_others_and_near():
    points = rng().normal(size=(300, 2)).astype(np.float32)
    near = nearest_rows(points, rng())
    assert (near != np.arange(300)).all()
    distance = np.linalg.norm(points - points[near], axis=1)
    random = np.linalg.norm(points - points[rng().permutation(300)], axis=1)
    assert np.median(distance) < 0.2 * np.median(random)


def test_arrays_keep_range_whole_numbers_and_missing_values():
    X = np.column_stack([rng().normal(size=500), rng().integers(0, 40, 500), np.full(500, np.nan)])
    (mixed,) = sampled(X, X.astype(np.float32), copies=1, rng=rng())
    assert mixed.shape == X.shape and mixed.dtype == X.dtype
    assert not np.array_equal(mixed[:, 0], X[:, 0])
    assert mixed[:, 0].min() >= X[:, 0].min() and mixed[:, 0].max() <= X[:, 0].max()
    assert (mixed[:, 1] == np.round(mixed[:, 1])).all()
    assert np.isnan(mixed[:, 2]).all()


def test_codes_are_never_invented():
    X = np.column_stack([rng().choice([1, 2, 4], 400), rng().normal(size=400)])
    for mixed in sampled(X, X.astype(np.float32), copies=2, rng=rng()):
        assert set(np.unique(mixed[:, 0])) <= {1, 2, 4}


def test_identifiers_are_never_invented():
    X = 2**60 + np.arange(400).reshape(-1, 1)
    (mixed,) = sampled(X, np.zeros((400, 1), np.float32), copies=1, rng=rng())
    assert set(mixed[:, 0]) <= set(X[:, 0]) and not np.array_equal(mixed, X)


def test_numbers_at_the_ends_of_float64_raise_no_warning():
    X = rng().choice([-1.7e308, 1.7e308, np.inf, np.nan, 0.5], (400, 1))
    with np.errstate(all="raise", under="ignore"):
        (mixed,) = sampled(X, rng().random((400, 1)).astype(np.float32), copies=1, rng=rng())
    assert np.isnan(mixed).any() and np.isinf(mixed).any()
    assert np.abs(mixed[np.isfinite(mixed)]).max() <= 1.7e308


def test_categories_are_near_where_they_are_equal():
    """By brute force: half the square of the distance, each unequal category adds one half."""
    values = rng().integers(0, 300, (200, 2)).astype(np.float32)
    values[:, 1] = rng().choice([3, 250, np.nan], 200)
    x = rng().normal(size=(200, 1)).astype(np.float32)
    matrix = np.column_stack([values[:, 0], x, values[:, 1]])
    near = nearest_rows(matrix, rng(), {0, 2})
    rank = np.argsort(np.argsort(x[:, 0])) / 200
    unequal = (values[:, None] != values[None, :]) & ~(
        np.isnan(values[:, None]) & np.isnan(values[None, :])
    )
    distance = (rank[:, None] - rank[None, :]) ** 2 + unequal.sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    best = distance.min(axis=1)
    np.testing.assert_allclose(distance[np.arange(200), near], best, atol=1e-5)


def test_numbers_that_name_categories_are_never_blurred():
    """Many codes in no order: as numbers they are blurred, as categories only swapped."""
    codes = rng().permutation(1000)[:500] + 0.5
    X = np.column_stack([rng().normal(size=500), codes]).astype(np.float32)
    (blurred,) = sampled(X, X, copies=1, rng=rng())
    assert not set(blurred[:, 1]) <= set(X[:, 1])
    for categorical, swapped in (({1}, None), ((), [1])):
        (mixed,) = sampled(X, X, copies=1, categorical=categorical, swapped=swapped, rng=rng())
        assert set(mixed[:, 1]) <= set(X[:, 1]) and not np.array_equal(mixed[:, 1], X[:, 1])
        assert not set(mixed[:, 0]) <= set(X[:, 0])
    (mixed,) = sampled(X, X, copies=1, categorical={1}, swapped=(), rng=rng())
    assert not set(mixed[:, 1]) <= set(X[:, 1])


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_categories_of_numbers_in_a_table_are_swapped(make):
    table = make({"branch": [i + 0.25 for i in range(N)], "x": AMOUNT})
    matrix = as_matrix(table)[0]
    (mixed,) = sampled(table, matrix, copies=1, categorical={0}, rng=rng())
    assert type(mixed) is type(table)
    new = as_matrix(mixed)[0]
    assert set(new[:, 0]) <= set(matrix[:, 0]) and not np.array_equal(new, matrix)
    assert not set(new[:, 1]) <= set(matrix[:, 1])


N = 120
NULLS = [i % 7 == 3 for i in range(N)]


def with_nulls(values):
    return [None if null else value for value, null in zip(values, NULLS, strict=True)]


AMOUNT = [10.5 + 0.25 * i for i in range(N)]
# More distinct values than codes have, fit for int8, with gaps that blurring fills.
COUNT = [8 * (i % 16) + i // 16 % 5 for i in range(N)]
FLAG = [i % 3 == 0 for i in range(N)]
TEXT = ["abcd"[i % 4] for i in range(N)]
DAY = [datetime.date(2024, 1, 1 + i % 28) for i in range(N)]
PRICE = [Decimal(i) / 4 for i in range(N)]

PANDAS = {
    "int8": COUNT,
    "uint16": COUNT,
    "int64": COUNT,
    "float32": AMOUNT,
    "float64": AMOUNT,
    "bool": FLAG,
    "object": with_nulls(TEXT),
    "category": with_nulls(TEXT),
    "datetime64[ns]": with_nulls(DAY),
    "Int64": with_nulls(COUNT),
    "UInt8": with_nulls(COUNT),
    "Float32": with_nulls(AMOUNT),
    "Float64": with_nulls(AMOUNT),
    "boolean": with_nulls(FLAG),
    "string": with_nulls(TEXT),
    "int8[pyarrow]": with_nulls(COUNT),
    "int64[pyarrow]": with_nulls(COUNT),
    "double[pyarrow]": with_nulls(AMOUNT),
    "bool[pyarrow]": with_nulls(FLAG),
    "string[pyarrow]": with_nulls(TEXT),
    "Sparse[float64]": AMOUNT,
}
POLARS = {
    pl.Int8: COUNT,
    pl.Int64: COUNT,
    pl.UInt32: COUNT,
    pl.Int128: COUNT,
    pl.Float32: AMOUNT,
    pl.Float64: AMOUNT,
    pl.Boolean: FLAG,
    pl.String: TEXT,
    pl.Categorical: TEXT,
    pl.Enum(list("abcd")): TEXT,
    pl.Date: DAY,
    pl.Decimal(10, 2): PRICE,
}
ARROW = {
    pa.int8(): COUNT,
    pa.int64(): COUNT,
    pa.uint32(): COUNT,
    pa.float32(): AMOUNT,
    pa.float64(): AMOUNT,
    pa.bool_(): FLAG,
    pa.string(): TEXT,
    pa.dictionary(pa.int32(), pa.string()): TEXT,
    pa.date32(): DAY,
    pa.decimal128(10, 2): PRICE,
}


def check(own: list, mixed: list, blurred: bool):
    """Nulls stay possible, values stay in range or among those seen, and some rows moved."""
    assert mixed != own
    assert (None in mixed) == (None in own)
    seen, found = set(own) - {None}, set(mixed) - {None}
    if blurred:
        assert not found <= seen
        assert min(found) >= min(seen) and max(found) <= max(seen)
    else:
        assert found <= seen


def mixed_once(table):
    position = np.arange(N, dtype=np.float32).reshape(-1, 1)
    (mixed,) = sampled(table, position, copies=1, rng=rng())
    assert type(mixed) is type(table)
    return mixed


def as_list(column):
    return column.astype(object).where(column.notna(), None).tolist()


@pytest.mark.parametrize("dtype", PANDAS)
def test_pandas_columns_keep_their_dtype(dtype):
    frame = pd.DataFrame({0: pd.Series(PANDAS[dtype], dtype=dtype), "x": AMOUNT})
    frame.index = np.arange(N) // 2  # labels that repeat
    before = frame.copy()
    mixed = mixed_once(frame)
    assert mixed.dtypes.equals(frame.dtypes)
    assert mixed.columns.equals(frame.columns) and mixed.index.equals(frame.index)
    numbers = PANDAS[dtype] in (COUNT, AMOUNT, with_nulls(COUNT), with_nulls(AMOUNT))
    check(as_list(frame[0]), as_list(mixed[0]), numbers and "Sparse" not in dtype)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("labels", [[0, 1], ["a", "a"], [("a", 1), ("a", 2)]], ids=str)
def test_pandas_frames_may_have_any_column_labels(labels):
    frame = pd.DataFrame(np.column_stack([AMOUNT, COUNT]))
    frame.columns = labels
    mixed = mixed_once(frame)
    assert mixed.columns.equals(frame.columns)
    np.testing.assert_array_equal(mixed.to_numpy(), mixed_once(frame.to_numpy()))


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("dtype", POLARS, ids=str)
def test_polars_columns_keep_their_dtype(dtype, nulls):
    values = with_nulls(POLARS[dtype]) if nulls else POLARS[dtype]
    frame = pl.DataFrame({"it": pl.Series(values, dtype=dtype), "x": AMOUNT})
    before = frame.clone()
    mixed = mixed_once(frame)
    assert mixed.schema == frame.schema
    numbers = POLARS[dtype] in (COUNT, AMOUNT)
    check(frame["it"].to_list(), mixed["it"].to_list(), numbers and dtype != pl.Int128)
    assert frame.equals(before)


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("dtype", ARROW, ids=str)
@pytest.mark.parametrize("make", ["table", "chunks", "batch"])
def test_arrow_columns_keep_their_type(make, dtype, nulls):
    values = with_nulls(ARROW[dtype]) if nulls else ARROW[dtype]
    fields = [pa.field("it", dtype, metadata={"unit": "EUR"}), pa.field("x", pa.float64(), False)]
    schema = pa.schema(fields, metadata={"source": "core"})
    batch = pa.record_batch([pa.array(values, dtype), pa.array(AMOUNT)], schema=schema)
    table = {
        "batch": batch,
        "table": pa.Table.from_batches([batch]),
        "chunks": pa.Table.from_batches([batch[:50], batch[50:]]),
    }[make]
    mixed = mixed_once(table)
    assert mixed.schema.equals(table.schema, check_metadata=True)
    own, new = table["it"].to_pylist(), mixed["it"].to_pylist()
    check(own, new, ARROW[dtype] in (COUNT, AMOUNT))


def test_lists_stay_lists_and_keep_text_beside_numbers():
    rows = [list(row) for row in zip(AMOUNT, COUNT, with_nulls(TEXT), FLAG, strict=True)]
    mixed = mixed_once(rows)
    assert {tuple(map(type, row)) for row in mixed} == {
        (float, int, kind, bool) for kind in (str, type(None))
    }
    for j, blurred in enumerate([True, True, False, False]):
        check([row[j] for row in rows], [row[j] for row in mixed], blurred)


def test_masked_arrays_stay_masked():
    X = np.ma.array(np.column_stack([AMOUNT, COUNT]), mask=np.column_stack([NULLS, NULLS]))
    mixed = mixed_once(X)
    assert mixed.mask.any() and not np.array_equal(mixed.mask, X.mask)
    check(X[:, 0].tolist(), mixed[:, 0].tolist(), True)


def test_every_container_gets_the_same_values():
    X = np.column_stack([AMOUNT, COUNT]).astype(float)
    expected = mixed_once(X)
    data = {"a": AMOUNT, "c": COUNT}
    for table in (pd.DataFrame(data), pl.DataFrame(data), pa.table(data), pa.record_batch(data)):
        np.testing.assert_array_equal(as_matrix(mixed_once(table))[0], expected.astype("f4"))
    np.testing.assert_array_equal(mixed_once(X.tolist()), expected)


# ---- the other samplers ------------------------------------------------------------------------


def test_munge_draws_around_the_neighbour_s_value():
    """With half of the difference as deviation (a local variance of 2), in half of the values."""
    X = rng().normal(size=(20_000, 2))
    near = nearest_rows(X.astype(np.float32), rng())
    (mixed,) = sampled(X, X.astype(np.float32), copies=1, rng=rng())
    moved = mixed != X
    assert moved.mean() == pytest.approx(0.5, abs=0.02)
    off = ((mixed - X[near]) / np.abs(X - X[near]))[moved]
    assert np.std(off) == pytest.approx(0.5, abs=0.02)
    assert np.mean(off) == pytest.approx(0, abs=0.02)


def test_mixup_takes_shares_of_a_beta_distribution():
    X = rng().normal(size=(20_000, 2))
    partner = X[rng().permutation(len(X))]
    (mixed,) = sampled(X, X.astype(np.float32), copies=1, sampler="mixup", rng=rng())
    apart = np.abs((X - partner)[:, 0]) > 1e-3
    share = (mixed - partner)[apart, 0] / (X - partner)[apart, 0]
    assert np.mean(share) == pytest.approx(0.5, abs=0.01)
    # Of Beta(a, a) the variance is 1 / (4 (2 a + 1)).
    assert np.var(share) == pytest.approx(1 / (4 * 1.8), rel=0.03)


def test_mixup_lies_between_a_row_and_another_in_every_number():
    X = rng().normal(size=(300, 4))
    (mixed,) = sampled(X, X.astype(np.float32), copies=1, sampler="mixup", rng=rng(1))
    # Some other row and one share explain all four numbers of a row.
    found = 0
    for own, new in zip(X, mixed, strict=True):
        step = X - own
        share = ((new - own) * step).sum(axis=1) / np.maximum((step**2).sum(axis=1), 1e-12)
        off = np.abs(own + share[:, None] * step - new).max(axis=1)
        inside = (share >= -1e-9) & (share <= 1 + 1e-9)
        found += (off[inside] < 1e-9).any()
    assert found == len(X)


def test_mixup_keeps_codes_and_whole_numbers():
    generator = rng()
    X = np.column_stack([generator.integers(0, 5, 500), generator.integers(0, 10_000, 500)])
    (mixed,) = sampled(X, X.astype(np.float32), copies=1, sampler="mixup", rng=rng(1))
    assert mixed.dtype == X.dtype
    assert set(mixed[:, 0]) <= set(range(5)) and (mixed[:, 0] != X[:, 0]).any()
    assert not set(mixed[:, 1]) <= set(X[:, 1])
    assert X[:, 1].min() <= mixed[:, 1].min() and mixed[:, 1].max() <= X[:, 1].max()


def test_marginal_shuffles_keep_columns_and_lose_what_binds_them():
    first = rng().normal(size=4000)
    X = np.column_stack([first, first])
    (mixed,) = sampled(X, X.astype(np.float32), copies=1, sampler="marginal", rng=rng(1))
    assert set(mixed[:, 0]) <= set(first) and set(mixed[:, 1]) <= set(first)
    assert np.corrcoef(mixed.T)[0, 1] == pytest.approx(0.25, abs=0.05)  # both stay: a half squared
    assert abs(mixed.mean() - first.mean()) < 0.05 and 0.95 < mixed.std() / first.std() < 1.05


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_leave_missing_values_and_repeat_by_seed(sampler):
    X = rng().normal(size=(200, 3))
    X[::4, 1] = np.nan
    copies = [
        next(sampled(X, X.astype(np.float32), copies=1, sampler=sampler, rng=rng(seed)))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(copies[0], copies[1])
    assert (copies[0] != copies[2]).any()
    for copied in copies:
        assert np.isfinite(copied[:, [0, 2]]).all()
        assert 0.1 < np.isnan(copied[:, 1]).mean() < 0.45
        assert np.nanmin(X) <= np.nanmin(copied) and np.nanmax(copied) <= np.nanmax(X)
