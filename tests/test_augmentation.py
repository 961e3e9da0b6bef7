import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from farthing.augmentation import munge, nearest_rows
from farthing.tables import as_matrix


def rng():
    return np.random.default_rng(3)


def test_neighbours_are_others_and_near():
    points = rng().normal(size=(300, 2)).astype(np.float32)
    near = nearest_rows(points, rng())
    assert (near != np.arange(300)).all()
    distance = np.linalg.norm(points - points[near], axis=1)
    random = np.linalg.norm(points - points[rng().permutation(300)], axis=1)
    assert np.median(distance) < 0.2 * np.median(random)


def test_arrays_keep_range_whole_numbers_and_missing_values():
    X = np.column_stack([rng().normal(size=500), rng().integers(0, 40, 500), np.full(500, np.nan)])
    (mixed,) = munge(X, X.astype(np.float32), copies=1, rng=rng())
    assert mixed.shape == X.shape and mixed.dtype == X.dtype
    assert not np.array_equal(mixed[:, 0], X[:, 0])
    assert mixed[:, 0].min() >= X[:, 0].min() and mixed[:, 0].max() <= X[:, 0].max()
    assert (mixed[:, 1] == np.round(mixed[:, 1])).all()
    assert np.isnan(mixed[:, 2]).all()


def test_codes_are_never_invented():
    X = np.column_stack([rng().choice([1, 2, 4], 400), rng().normal(size=400)])
    for mixed in munge(X, X.astype(np.float32), copies=2, rng=rng()):
        assert set(np.unique(mixed[:, 0])) <= {1, 2, 4}


COLUMNS = {
    "amount": [10.5, 20.25, 30.0, 41.0] * 30,
    "count": list(range(60)) * 2,
    "city": [c for c in "abcd" for _ in range(30)],
}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_tables_keep_container_types_and_categories(make):
    table = make(COLUMNS)
    if make is pd.DataFrame:
        table["city"] = table["city"].astype("category")
        table.index = np.arange(1000, 1120)
    numeric = np.column_stack([COLUMNS["amount"], COLUMNS["count"]]).astype(np.float32)
    (mixed,) = munge(table, numeric, copies=1, rng=rng())
    assert type(mixed) is type(table)
    if make is pa.table:
        assert mixed.schema == table.schema
        city = mixed["city"].to_pylist()
    else:
        assert list(mixed.dtypes) == list(table.dtypes)
        city = list(mixed["city"])
    assert set(city) == {"a", "b", "c", "d"} and city != COLUMNS["city"]
    numbers = (
        mixed[["amount", "count"]] if make is not pa.table else mixed.select(["amount", "count"])
    )
    assert as_matrix(numbers)[0].shape == (120, 2)
