"""Scorer: loading, refusing, frames, pickling, what it tells of itself."""

import copy
import json
import math
import os
import pickle
import warnings

import files
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import farthing
from farthing import FarthingError, Scorer, container

NAMES = ["age", "income", "tenure"]


@pytest.fixture(scope="module")
def parts():
    return files.logistic(names=NAMES)


@pytest.fixture(scope="module")
def scorer(parts):
    return Scorer(parts.dumps())


@pytest.fixture
def x(rng):
    return rng.normal(size=(20, 3)).astype(np.float32)


# ---- loading --------------------------------------------------------------------------------


def test_load_from_str_and_path(tmp_path, parts, scorer, x):
    path = tmp_path / "credit.farthing"
    path.write_bytes(parts.dumps())
    for given in (path, str(path), os.fsencode(path)):
        loaded = farthing.load(given)
        path_still_needed = loaded.predict(x)
        np.testing.assert_array_equal(path_still_needed, scorer.predict(x))
    path.unlink()
    np.testing.assert_array_equal(loaded.predict(x), scorer.predict(x))
    np.testing.assert_array_equal(Scorer.from_bytes(parts.dumps()).predict(x), scorer.predict(x))


def test_load_of_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.farthing"):
        farthing.load(tmp_path / "no.farthing")
    with pytest.raises(IsADirectoryError):
        farthing.load(tmp_path)
    with pytest.raises(TypeError):
        farthing.load(None)


def test_load_names_the_file_and_the_reason(tmp_path, parts):
    path = tmp_path / "broken.farthing"
    for data in (b"", b"not a model", parts.dumps()[:-1]):
        path.write_bytes(data)
        with pytest.raises(FarthingError, match=r"broken\.farthing: .+"):
            farthing.load(path)


@pytest.mark.parametrize("data", [10**9, "text", None, [1, 2]])
def test_a_scorer_is_made_of_bytes(data):
    with pytest.raises(TypeError, match=r"data must be the bytes of a \.farthing file, got "):
        Scorer(data)


def test_any_bytes_will_do(parts, scorer):
    for data in (bytearray(parts.dumps()), memoryview(parts.dumps())):
        assert Scorer(data).model_id == scorer.model_id


def test_every_truncated_or_flipped_file_is_refused(parts, rng):
    data = parts.dumps()
    for size in range(0, len(data), 7):
        with pytest.raises(FarthingError):
            Scorer(data[:size])
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(FarthingError):
            Scorer(bytes(damaged))


def test_a_newer_version_says_so(parts):
    newer = parts.dumps().replace(b'"version":"0"', b'"version":"7"')
    with pytest.raises(FarthingError, match="version"):
        Scorer(newer)


def test_a_file_saved_again_by_another_tool_is_refused(parts):
    import safetensors.numpy

    again = safetensors.numpy.save(safetensors.numpy.load(parts.dumps()))
    with pytest.raises(FarthingError):
        Scorer(again)


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"critical": []},
        {"critical": {"target": "binary"}},
        {"critical": {"target": {"kind": "ranking"}}},
        {"critical": {"target": {"kind": "multiclass", "classes": [0, 1, 2]}}},
        {"critical": {"target": {"kind": "binary", "classes": [0, 1], "positive": 2}}},
        {"critical": {"target": {"kind": "regression"}}},
        *(
            {"critical": {"target": {**files.BINARY, "decision_threshold": threshold}}}
            for threshold in ("half", True, None, [0.5], math.nan, math.inf, 10**400)
        ),
        *(
            {"critical": {"target": {**files.BINARY, "classes": classes}}}
            for classes in (
                [0, 1, 2],
                [1],
                [1, 1],
                [1, True],
                [1, [0]],
                [1, {}],
                [1, None],
                "01",
                1,
            )
        ),
        {"critical": {"target": {**files.BINARY, "positive": [1]}}},
        {"critical": {"target": {"kind": "binary", "classes": [0, 1]}}},
        {"critical": {"target": files.BINARY}, "optional": []},
        {"critical": {"target": files.BINARY}, "optional": {"model": ["note"]}},
        {"critical": {"target": files.BINARY}, "optional": {"model": None}},
        ["critical"],
    ],
)
def test_an_info_that_does_not_fit_is_refused(info):
    parts = files.logistic()
    parts.info = info
    with pytest.raises(FarthingError, match="info: "):
        Scorer(parts.dumps())


@pytest.mark.parametrize(
    ("outputs", "link", "target"),
    [
        (1, "identity", files.BINARY),
        (2, "sigmoid", files.BINARY),
        (2, "softmax", files.BINARY),
        (1, "softmax", {"kind": "multiclass", "classes": [0]}),
        (3, "softmax", {"kind": "multiclass", "classes": [0, 1]}),
        (3, "identity", {"kind": "multiclass", "classes": [0, 1, 2]}),
        (1, "sigmoid", {"kind": "regression"}),
        (1, "log", files.BINARY),
        (1, "sigmoid", {**files.BINARY, "decision_weights": [1, 1]}),
        (1, "identity", {"kind": "regression", "decision_weights": [1]}),
        *(
            (2, "softmax", {"kind": "multiclass", "classes": [0, 1], "decision_weights": weights})
            for weights in ([1], [1, 2, 3], [1, 0], [1, -1], [1, True], [1, "2"], [1, None], 1, {})
        ),
    ],
)
def test_a_target_that_is_not_what_the_link_gives_is_refused(outputs, link, target):
    with pytest.raises(FarthingError, match=r"info: target\.\w+ must be "):
        Scorer(files.logistic(3, outputs, link, target=target).dumps())


def with_document(document: bytes):
    """A sound model with these bytes as its info."""
    tensors = [(name, t) for name, t in container.loads(files.logistic().dumps()).items()]
    return container.dumps([*tensors[:-1], ("info", np.frombuffer(document, np.uint8))])


@pytest.mark.parametrize(
    "document",
    [b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"{", b"1" * 5000],
    ids=["deep lists", "deep objects", "NaN", "no end", "long int"],
)
def test_an_info_that_is_no_json_is_refused(document):
    with pytest.raises(FarthingError, match="info: "):
        Scorer(with_document(document))


def test_metadata_nested_deeply_is_copied():
    nested = b"[" * 300 + b"]" * 300
    document = b'{"critical":{"target":%b},"optional":{"user":%b}}'
    scorer = Scorer(with_document(document % (json.dumps(files.BINARY).encode(), nested)))
    assert json.dumps(scorer.metadata).encode() == nested


def test_unknown_sections_of_info():
    parts = files.logistic()
    parts.info = {**parts.info, "optional": {"future": [1, 2]}}
    Scorer(parts.dumps())
    parts.info["critical"] = {**parts.info["critical"], "embedding": {}}
    with pytest.raises(FarthingError, match=r"critical section 'embedding' .* upgrade"):
        Scorer(parts.dumps())


def test_two_features_of_one_name_are_refused():
    with pytest.raises(FarthingError, match="same name"):
        Scorer(files.logistic(2, names=["age", "age"]).dumps())


# ---- frames ---------------------------------------------------------------------------------

FRAMES = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "polars": lambda columns: pl.DataFrame(columns),
    "pyarrow": lambda columns: pa.table(columns),
    "record batch": lambda columns: pa.RecordBatch.from_pydict(columns),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_by_column_name(scorer, x, frame):
    columns = dict(zip(NAMES, x.T.copy(), strict=True))
    expected = scorer.predict(x)
    np.testing.assert_array_equal(scorer.predict(frame(columns)), expected)
    shuffled = {name: columns[name] for name in ("tenure", "age", "income")}
    out = np.empty(20, np.float32)
    assert scorer.predict(frame(shuffled), out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(scorer.predict_proba(frame(shuffled))[:, 1], expected)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_of_integers_and_bools(scorer, frame):
    columns = {"age": [1, 2], "income": [2.5, 3.5], "tenure": [True, False]}
    expected = scorer.predict([[1, 2.5, 1], [2, 3.5, 0]])
    np.testing.assert_array_equal(scorer.predict(frame(columns)), expected)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_wrong_frames(scorer, frame):
    with pytest.raises(ValueError, match="x has no column 'tenure'"):
        scorer.predict(frame({"age": [1], "income": [2]}))
    with pytest.raises(ValueError, match="x has a column 'sex'"):
        scorer.predict(frame({"age": [1], "income": [2], "tenure": [3], "sex": [4]}))
    with pytest.raises(ValueError, match=r"must hold numbers, got column 'income'"):
        scorer.predict(frame({"age": [1], "income": ["high"], "tenure": [3]}))


def test_what_must_be_read_first(scorer, x):
    lazy = pl.DataFrame(dict(zip(NAMES, x.T.copy(), strict=True))).lazy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match=r"x must be .*, got LazyFrame, .* use x\.collect\(\)"):
            scorer.predict(lazy)
    same = scorer.predict(lazy.collect())
    np.testing.assert_array_equal(same, scorer.predict(x))
    for sparse in (scipy.sparse.csr_matrix(x), scipy.sparse.coo_array(x)):
        with pytest.raises(TypeError, match=r"x must be .*, got \w+, .* use x\.toarray\(\)"):
            scorer.predict(sparse)


def test_missing_values_in_frames(scorer):
    expected = scorer.predict([[1, None, 3]])
    frames = [
        pd.DataFrame({"age": [1], "income": [np.nan], "tenure": [3]}),
        pd.DataFrame({"age": [1], "income": pd.array([None], "Int64"), "tenure": [3]}),
        pl.DataFrame({"age": [1], "income": pl.Series([None], dtype=pl.Int64), "tenure": [3]}),
        pa.table({"age": [1], "income": pa.array([None], pa.int64()), "tenure": [3]}),
    ]
    for frame in frames:
        np.testing.assert_array_equal(scorer.predict(frame), expected)


def test_one_row_of_a_pandas_frame(scorer):
    frame = pd.DataFrame({"tenure": [3.0], "age": [1.0], "income": [2.0]})
    assert scorer.predict(frame.iloc[0]) == scorer.predict([1, 2, 3])
    assert scorer.predict(pd.Series([1, 2, 3])) == scorer.predict([1, 2, 3])


def test_a_frame_for_a_model_without_names_goes_by_position():
    scorer = Scorer(files.logistic(2).dumps())
    frame = pd.DataFrame({"b": [1.0], "a": [2.0]})
    np.testing.assert_array_equal(scorer.predict(frame), scorer.predict([[1, 2]]))
    with pytest.raises(ValueError, match="2 features a row, got 1"):
        scorer.predict(frame[["a"]])


# ---- what it is -----------------------------------------------------------------------------


def test_it_is_pickled_copied_and_kept_across_a_fork(scorer, x, tmp_path):
    expected = scorer.predict(x)
    joblib.dump(scorer, tmp_path / "scorer.joblib")
    for other in (
        pickle.loads(pickle.dumps(scorer)),
        copy.copy(scorer),
        copy.deepcopy(scorer),
        joblib.load(tmp_path / "scorer.joblib"),
    ):
        assert type(other) is Scorer
        assert other.model_id == scorer.model_id
        np.testing.assert_array_equal(other.predict(x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests may live
        child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(scorer.predict(x), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_it_tells(scorer, parts):
    data = parts.dumps()
    assert (scorer.n_features, scorer.n_outputs) == (3, 1)
    assert scorer.feature_names == tuple(NAMES)
    assert Scorer(files.logistic().dumps()).feature_names is None
    assert scorer.categories == {}
    assert scorer.metadata is None
    assert f'"checksum":"{scorer.model_id}"'.encode() in data
    assert scorer.nbytes > 0
    assert scorer.model_id in repr(scorer)
    assert "binary 3-1" in repr(scorer)


def test_metadata_is_a_copy():
    parts = files.logistic()
    parts.info = {**parts.info, "optional": {"user": {"team": ["risk"]}}}
    scorer = Scorer(parts.dumps())
    scorer.metadata["team"].append("fraud")
    scorer.classes.append(2)
    scorer.describe()["target"]["classes"].append(2)
    assert scorer.metadata == {"team": ["risk"]}
    assert scorer.classes == [0, 1]


def test_a_file_cannot_say_what_it_is_not():
    parts = files.logistic()
    parts.info = {**parts.info, "optional": {"model": {"nbytes": 1, "link": "none", "note": "x"}}}
    scorer = Scorer(parts.dumps())
    description = scorer.describe()
    assert (description["nbytes"], description["link"]) == (scorer.nbytes, "sigmoid")
    assert description["note"] == "x"


def test_describe_float(isa, parts):
    description = Scorer(parts.dumps()).describe()
    assert json.loads(json.dumps(description)) == description
    assert description["isa"] == isa
    assert description["median_for_missing"] == NAMES
    assert (description["input"], description["link"]) == ("standardize", "sigmoid")
    (layer,) = description["layers"]
    assert (layer["shape"], layer["bits"], layer["sparsity"]) == ([1, 3], 32, 0)
    assert layer["packed_bytes"] > 0


def test_describe_integers(isa):
    parts = files.encoded(features=5, bins=4, hidden=16, missing=(0, 2))
    description = Scorer(parts.dumps()).describe()
    assert json.loads(json.dumps(description)) == description
    assert description["median_for_missing"] == [1, 3, 4]
    first, second = description["layers"]
    assert (first["kind"], first["shape"], first["bits"]) == ("encode_dense", [16, 22], 8)
    # Pairs of int16 a bin and output, and one row for each learnt missing value.
    assert first["table_bytes"] == first["table_rows"] * 16 * 4
    assert first["table_rows"] >= 22
    weights = dict(parts.tensors)["dense0.weight"]
    assert first["sparsity"] == pytest.approx((weights == 0).mean())
    assert (second["kind"], second["shape"], second["bits"]) == ("dense", [1, 16], 4)
    assert second["depth"] in (1, 2, 4)


def test_all_instruction_sets_give_the_same_bits(rng):
    data = files.encoded(features=9, bins=16, hidden=64, missing=(1, 4)).dumps()
    x = rng.normal(size=(200, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[0], x[1] = np.inf, -np.inf
    scores = []
    for name in farthing.isas():
        farthing.set_isa(name)
        scores.append(Scorer(data).predict(x))
    farthing.set_isa(None)
    for other in scores[1:]:
        np.testing.assert_array_equal(scores[0], other)
    assert np.unique(scores[0]).size > 50
