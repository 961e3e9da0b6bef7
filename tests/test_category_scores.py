"""Categorical features: scores against a direct calculation, texts by any container."""

import decimal
import json
import pickle

import files
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import farthing
from farthing import FarthingError, Scorer

KINDS = [(32, 0), (8, 127), (8, 255), (4, 127), (4, 255)]
SAME_IN_ORDER = {3: files.MIXED[3], 6: files.MIXED[6]}


def draw(rng, rows=60):
    """Numbers, codes and values as they come: known, unknown, missing, infinite."""
    x = rng.uniform(-2, 10, (rows, len(files.MIXED_NAMES))).astype(np.float32)
    x[:, 0] = rng.uniform(10, 90, rows)
    for j, kept in files.MIXED.items():
        codes = range(len(kept)) if isinstance(kept[0], str) else kept
        x[:, j] = rng.choice([*codes, -1, 99, 0.5], rows)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.03] = np.inf
    x[rng.random(x.shape) < 0.03] = -np.inf
    return x


@pytest.fixture(scope="module")
def parts():
    return files.categorical()


@pytest.fixture(scope="module")
def scorer(parts):
    return Scorer(parts.dumps())


@pytest.fixture
def isa(request):
    farthing.set_isa(request.param)
    yield request.param
    farthing.set_isa(None)


# ---- scores ---------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", farthing.isas(), indirect=True)
@pytest.mark.parametrize(("bits", "amax"), KINDS)
@pytest.mark.parametrize("hidden", [2, 20, 72])
def test_scores_are_those_of_a_direct_calculation(rng, isa, bits, amax, hidden):
    parts = files.categorical(bits, amax or 127, hidden)
    x = draw(rng)
    expected = files.categorical_values(parts, x)
    scorer = Scorer(parts.dumps())
    assert scorer.describe()["isa"] == isa
    np.testing.assert_array_equal(scorer.predict(x), expected)
    np.testing.assert_array_equal([scorer.predict(row) for row in x], expected)
    assert len(np.unique(expected)) > 20


def test_what_counts_as_other(scorer, rng):
    row = draw(rng, 1)[0]
    row[:] = [30, 1, 2, 2, 1, 0, 1]
    for column, unknown in ((1, [3, -1, 0.5, 1e30, np.inf, -np.inf]), (3, [2.0000002, -2])):
        changed = np.tile(row, (len(unknown), 1))
        changed[:, column] = unknown
        assert len(set(scorer.predict(changed))) == 1
    # Where training had no missing values, NaN is just another unknown one.
    given = np.tile(row, (3, 1))
    given[:, 3] = [np.nan, 99, 2]
    missing, other, known = scorer.predict(given)
    assert missing == other != known
    given[:, 3], given[:, 1] = 2, [np.nan, 99, 2]
    assert len(set(scorer.predict(given))) == 3


def test_minus_zero_is_zero(scorer):
    row = np.array([30, 0, 2, 0, 0, 0, 0], np.float32)
    zeros = np.where(row == 0, np.float32(-0.0), row)
    assert scorer.predict(zeros) == scorer.predict(row)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_and_threads(scorer, rng, threads):
    x = draw(rng, 1000)
    one = [scorer.predict(row) for row in x]
    np.testing.assert_array_equal(scorer.predict(x, threads=threads), one)


def test_pickled(scorer, rng):
    x = draw(rng)
    again = pickle.loads(pickle.dumps(scorer))
    np.testing.assert_array_equal(again.predict(x), scorer.predict(x))
    assert again.categories == scorer.categories


# ---- texts ----------------------------------------------------------------------------------


def rows_of_texts(rng, rows=40):
    """The same rows as lists of Python objects and as numbers."""
    numbers = draw(rng, rows).astype(np.float64)
    numbers[np.isinf(numbers)] = 0
    given = numbers.tolist()
    for j, kept in files.MIXED.items():
        if not isinstance(kept[0], str):
            continue
        for i, code in enumerate(numbers[:, j]):
            known = code in range(len(kept))
            given[i][j] = kept[int(code)] if known else None if np.isnan(code) else "unbekannt"
    return given, numbers


def frame(given):
    return {name: [row[j] for row in given] for j, name in enumerate(files.MIXED_NAMES)}


CONTAINERS = {
    "lists": lambda given: given,
    "tuples": lambda given: tuple(map(tuple, given)),
    "objects": lambda given: np.array(given, object),
    "dicts": lambda given: [dict(zip(files.MIXED_NAMES, row, strict=True)) for row in given],
    "Series": lambda given: [pd.Series(row, files.MIXED_NAMES, dtype=object) for row in given],
    "pandas": lambda given: pd.DataFrame(frame(given)),
    "pandas, other order": lambda given: pd.DataFrame(frame(given))[files.MIXED_NAMES[::-1]],
    "pandas category": lambda given: pd.DataFrame(frame(given)).astype(
        {"colour": "category", "place": "category"}
    ),
    "pandas string": lambda given: pd.DataFrame(frame(given)).astype({"colour": "string"}),
    "polars": lambda given: pl.DataFrame(frame(given)),
    "polars categorical": lambda given: pl.DataFrame(frame(given)).with_columns(
        pl.col("colour").cast(pl.Categorical)
    ),
    "arrow": lambda given: pa.table(frame(given)),
    "arrow dictionary": lambda given: (
        lambda table: table.set_column(4, "place", table["place"].dictionary_encode())
    )(pa.table(frame(given))),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_texts_in_every_container(scorer, rng, container):
    given, numbers = rows_of_texts(rng)
    expected = scorer.predict(numbers)
    np.testing.assert_array_equal(scorer.predict(CONTAINERS[container](given)), expected)


def test_one_row_of_texts(scorer, rng):
    given, numbers = rows_of_texts(rng)
    for row, values in zip(given, numbers, strict=True):
        by_name = dict(zip(files.MIXED_NAMES, row, strict=True))
        for x in (row, tuple(row), by_name, np.array(row, object), pd.Series(by_name)):
            assert scorer.predict(x) == scorer.predict(values)


def two_texts() -> files.Parts:
    """A model of two features, both texts, whose score is the sum of their weights."""
    tensors = {
        "bins": np.zeros(2, np.int32),
        "edges": np.zeros(0, np.float32),
        "fill": np.zeros(2, np.float32),
        "categories": np.full(2, 3, np.int32),
        "weight": np.array([[1, 2, 3, 10, 20, 30]], np.float32),
        "bias": np.zeros(1, np.float32),
    }
    operations = [
        files.record(4, inputs=2, outputs=1, tensor=1, bits=32),
        files.record(5, inputs=1, outputs=1),
    ]
    info = {"critical": {"target": {"kind": "regression"}}}
    named = [(f"dense0.{name}", tensor) for name, tensor in tensors.items()]
    return files.Parts(operations, named, None, info, {0: ["a", "b"], 1: ["x", "y"]})


def test_an_array_of_text_where_every_feature_takes_text():
    scorer = Scorer(two_texts().dumps())
    rows = np.array([["a", "y"], ["b", "x"], ["c", ""]])
    assert scorer.predict(rows).tolist() == [21, 12, 33]
    assert [scorer.predict(row) for row in rows] == [21, 12, 33]
    assert scorer.predict([["a", None], [np.nan, "x"]]).tolist() == [31, 13]


def test_an_array_of_text_for_a_feature_of_numbers():
    scorer = Scorer(files.categorical().dumps())
    with pytest.raises(TypeError, match=r"x must hold numbers, got str '.*' for feature 0"):
        scorer.predict(np.array([["1", "red", "1", "1", "Ada", "1", "1"]]))


def test_numbers_of_any_type_for_numeric_categories(scorer):
    row = [30.0, "red", 2.0, 2.0, "Ada", 0.0, 1.0]
    expected = scorer.predict(row)
    for two, one in ((2, True), (np.int64(2), np.bool_(True)), (decimal.Decimal(2), 1)):
        assert scorer.predict([*row[:3], two, *row[4:6], one]) == expected


@pytest.mark.parametrize("text", ["\ud800", "re\0d", "Red", "red ", "x" * 100_000])
def test_no_text_is_too_odd_to_be_unknown(scorer, text):
    row = [30.0, text, 2.0, 2.0, "Ada", 0.0, 1.0]
    assert scorer.predict(row) == scorer.predict([30.0, "unknown", 2.0, 2.0, "Ada", 0.0, 1.0])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, "red", r"got str 'red' for feature 0 \('age'\)"),
        (3, "2", r"got str '2' for feature 3 \('code'\)"),
        (1, b"red", r"got bytes b'red' for feature 1 \('colour'\)"),
        (1, 1j, r"got complex 1j for feature 1 \('colour'\)"),
        (1, ["red"], r"got list \['red'\] for feature 1 \('colour'\)"),
    ],
)
def test_what_is_no_category_is_refused(scorer, column, value, message):
    row = [30.0, "red", 2.0, 2.0, "Ada", 0.0, 1.0]
    row[column] = value
    with pytest.raises(TypeError, match=f"x must hold numbers, {message}"):
        scorer.predict(row)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_text_in_a_column_of_numbers_is_refused_by_name(scorer, rng, library):
    given, _ = rows_of_texts(rng)
    columns = frame(given)
    for name in ("age", "code"):
        with pytest.raises(FarthingError, match=f"column '{name}'"):
            scorer.predict(library(columns | {name: ["1"] * len(given)}))


def test_a_frame_of_codes_is_refused(scorer, rng):
    given = pd.DataFrame(draw(rng), columns=files.MIXED_NAMES)
    with pytest.raises(FarthingError, match="must hold text, as the categories of the model do"):
        scorer.predict(given)


def test_texts_without_names(rng):
    scorer = Scorer(files.categorical(names=None).dumps())
    given, numbers = rows_of_texts(rng)
    np.testing.assert_array_equal(scorer.predict(given), scorer.predict(numbers))
    np.testing.assert_array_equal(
        scorer.predict(pd.DataFrame(frame(given))), scorer.predict(numbers)
    )
    assert list(scorer.categories) == [1, 3, 4, 6]


# ---- what it tells --------------------------------------------------------------------------


def test_categories(scorer):
    expected = {files.MIXED_NAMES[i]: kept for i, kept in files.MIXED.items()}
    assert scorer.categories == expected
    scorer.categories["colour"].clear()
    assert scorer.categories == expected
    assert Scorer(files.logistic().dumps()).categories == {}


def test_describe(scorer):
    first = scorer.describe()["layers"][0]
    assert json.loads(json.dumps(first)) == first
    assert first["categories"] == [
        {"feature": "colour", "categories": 3, "embedding_dim": None, "missing": True},
        {"feature": "code", "categories": 4, "embedding_dim": 3, "missing": False},
        {"feature": "place", "categories": 5, "embedding_dim": 2, "missing": True},
        {"feature": "grade", "categories": 3, "embedding_dim": None, "missing": False},
    ]
    assert scorer.describe()["median_for_missing"] == ["age", "empty"]


def test_a_feature_without_a_kept_category(rng):
    parts = files.encoded(features=2, bins=3, hidden=4, missing=())
    tensors = dict(parts.tensors)
    tensors["dense0.bins"] = np.array([0, 3], np.int32)
    tensors["dense0.edges"] = tensors["dense0.edges"][4:]
    tensors["dense0.fill"][0] = 0
    tensors["dense0.weight"] = tensors["dense0.weight"][:, 2:]
    order = ["bins", "edges", "fill", "categories", "weight", "mult", "add"]
    tensors["dense0.categories"] = np.array([1, 0], np.int32)
    dense1 = [(name, t) for name, t in tensors.items() if name.startswith("dense1")]
    parts.tensors = [(f"dense0.{name}", tensors[f"dense0.{name}"]) for name in order] + dense1
    parts.operations[1] = files.record(3, inputs=4, outputs=1, tensor=8, bits=4, amax_in=127)
    parts.categories = {0: []}
    scorer = Scorer(parts.dumps())
    assert scorer.categories == {0: []}
    x = np.array([[np.nan, 1], [5, 1], [0, 1]], np.float32)
    assert len(set(scorer.predict(x))) == 1
    assert scorer.predict(["a", 1]) == scorer.predict([-1, 1])
