"""Tables that arrive as Arrow batches: read once, a batch at a time."""

import builtins
import sys
import tracemalloc

import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

from farthing.streams import is_stream
from farthing.tables import as_matrix, column_names, learn_matrix, take_rows

TABLE = pa.table(
    {
        "a": pa.chunked_array([[1, None], [2**60]]),
        "b": pa.chunked_array([[0.5, 1.5], [None]]),
        "c": pa.chunked_array([["x", None], ["y"]]),
    }
)
NAN = np.nan
EXPECTED = np.array([[1, 0.5, 0], [NAN, 1.5, NAN], [2.0**60, NAN, -1]], np.float32)


class Relation:
    """What a library of its own gives out: columns, and a stream each time it is asked."""

    def __init__(self, table):
        self._table, self.asked = table, 0

    @property
    def columns(self):
        return self._table.column_names

    def __arrow_c_stream__(self, requested_schema=None):
        self.asked += 1
        return self._table.__arrow_c_stream__(requested_schema)


class Schema:
    """A schema of a library of its own."""

    def __arrow_c_schema__(self):
        return TABLE.schema.__arrow_c_schema__()


class ArrayStream:
    """One that tells its columns by a schema alone."""

    schema = Schema()

    def __arrow_c_stream__(self, requested_schema=None):
        return TABLE.__arrow_c_stream__(requested_schema)


STREAMS = {
    "array stream": ArrayStream,
    "relation": lambda: Relation(TABLE),
    "reader": lambda: TABLE.to_reader(),
    "data set": lambda: pyarrow.dataset.dataset(TABLE),
    "scanner": lambda: pyarrow.dataset.dataset(TABLE).scanner(),
    "narwhals": lambda: narwhals.from_native(TABLE),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_become_float32_with_names(kind):
    stream = STREAMS[kind]()
    assert is_stream(stream)
    assert column_names(stream) == ("a", "b", "c")
    matrix, names = as_matrix(stream, categories={"c": ["x"]})
    assert names == ("a", "b", "c")
    assert matrix.dtype == np.float32 and matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, EXPECTED)
    with pytest.raises(ValueError, match=r"column 'c' of type string.*categorical_features"):
        as_matrix(STREAMS[kind]())


@pytest.mark.parametrize("kind", STREAMS)
def test_categories_are_learnt_over_all_batches(kind):
    matrix, _, kept = learn_matrix(STREAMS[kind](), "from_dtype", min_frequency=1)
    assert kept == {2: ["x", "y"]}
    np.testing.assert_array_equal(matrix[:, 2], [0, NAN, 1])


def test_batches_see_each_others_categories_and_kinds(rng):
    cells = rng.choice(["a", "b", "c", None, "rare"], 500, p=[0.3, 0.3, 0.29, 0.1, 0.01]).tolist()
    numbers = rng.choice([1.5, 2, 7], 500)
    table = pa.table({"t": pa.array(cells).dictionary_encode(), "n": numbers})
    expected = learn_matrix(table, [0, 1], min_frequency=20)
    assert expected[2] == {0: ["a", "b", "c"], 1: [1.5, 2, 7]}
    found = learn_matrix(table.to_reader(max_chunksize=7), [0, 1], min_frequency=20)
    assert found[2] == expected[2]
    np.testing.assert_array_equal(found[0], expected[0])


def test_a_stream_is_asked_once_and_rows_come_as_a_table():
    relation = Relation(TABLE)
    learn_matrix(relation, ["c"])
    assert relation.asked == 1
    taken = take_rows(relation, np.array([2, 0]))
    assert isinstance(taken, pa.Table) and taken["c"].to_pylist() == ["y", "x"]
    assert take_rows(TABLE.to_reader(), [1])["b"].to_pylist() == [1.5]


def test_tables_in_memory_are_no_streams():
    frame = pd.DataFrame({"a": [1]})
    batch = pa.record_batch({"a": [1]})
    for table in (frame, pl.from_pandas(frame), TABLE, batch, np.zeros((1, 1)), [[1]]):
        assert not is_stream(table)
    assert as_matrix(batch)[0].tolist() == [[1]]


def test_an_empty_stream_has_columns_and_no_rows():
    matrix, names = as_matrix(TABLE.schema.empty_table().to_reader(), categories={2: []})
    assert matrix.shape == (0, 3) and names == ("a", "b", "c")
    with pytest.raises(ValueError, match="X must have columns"):
        as_matrix(pa.RecordBatchReader.from_batches(pa.schema([]), []))
    twice = pa.table([[1], [2]], names=["a", "a"])
    with pytest.raises(ValueError, match="X must have distinct columns, got 'a' twice"):
        as_matrix(twice.to_reader())


def test_lazy_frames_are_to_be_collected():
    for lazy in (pl.LazyFrame({"a": [1]}), narwhals.from_native(pl.LazyFrame({"a": [1]}))):
        with pytest.raises(TypeError, match=r"X must be in memory, got LazyFrame; use X.collect"):
            as_matrix(lazy)


def test_a_stream_needs_pyarrow(monkeypatch):
    def missing(name, *rest):
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "pyarrow")
    with pytest.raises(ImportError, match=r"reading a Relation needs pyarrow.*farthing\[arrow\]"):
        as_matrix(Relation(TABLE))


@pytest.mark.parametrize("days", [31, 365])
def test_identifiers_are_refused_over_all_batches(days, rng):
    """Of random seconds any short batch stays apart; of a month's 90,000 float32, in steps of
    128, keeps 21,000, of a year's most."""
    seconds = 1_600_000_000 + rng.choice(days * 86_400, 90_000, replace=False)
    table = pa.table({"fine": rng.normal(size=90_000), "at": seconds})
    batches = table.to_batches(max_chunksize=500)
    for batch in batches[::50]:
        as_matrix(batch, fitting=True)

    def stream():
        return pa.RecordBatchReader.from_batches(table.schema, batches)

    as_matrix(stream())
    if days == 365:
        learn_matrix(stream())
        return
    with pytest.raises(ValueError, match=r"column 'at' has about [89]\d,\d+ distinct values"):
        learn_matrix(stream())


def test_a_stream_never_exists_whole_in_memory(rng):
    """20 float64 columns of 40 batches; pyarrow's own memory and Python's are both watched."""
    n, batches, width = 5000, 40, 20
    data = rng.normal(size=(n, width))
    schema = pa.schema([(f"x{j}", pa.float64()) for j in range(width)])

    def stream():
        for _ in range(batches):
            yield pa.record_batch([pa.array(c.copy()) for c in data.T], schema=schema)

    before = pa.total_allocated_bytes()
    tracemalloc.start()
    matrix, _ = as_matrix(pa.RecordBatchReader.from_batches(schema, stream()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert matrix.shape == (n * batches, width)
    source = n * width * 8
    # Twice the result while its blocks are put together, and one or two batches.
    assert peak < 2 * matrix.nbytes + 3 * source < 0.9 * (matrix.nbytes + batches * source)
    assert pa.total_allocated_bytes() - before < 3 * source
