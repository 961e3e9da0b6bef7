"""The call: rows, batches, out, threads, instruction sets; selection and coded weights."""

import _thread
import array
import ctypes
import gc
import threading
import weakref

import files
import numpy as np
import pytest

import farthing
from farthing import FarthingError, _core

FEATURES = 3


@pytest.fixture(scope="module")
def scorer():
    return farthing.Scorer(files.logistic(FEATURES, names=["age", "income", "tenure"]).dumps())


@pytest.fixture(scope="module")
def three():
    """A model of three classes."""
    target = {"kind": "multiclass", "classes": ["a", "b", "c"]}
    return farthing.Scorer(files.logistic(FEATURES, 3, "softmax", target=target).dumps())


@pytest.fixture
def x(rng):
    return rng.normal(size=(7, FEATURES)).astype(np.float32)


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


# ---- rows, batches ------------------------------------------------------------------------


def test_scores_mean_what_the_file_says(isa, x):
    parts = files.logistic(FEATURES)
    x[2, 1] = np.nan
    scores = farthing.Scorer(parts.dumps()).predict(x)
    np.testing.assert_allclose(scores, files.logistic_scores(parts, x)[:, 0], rtol=3e-6)


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 1000, 30000])
def test_one_row_at_a_time_or_all_at_once(scorer, three, rng, rows):
    x = rng.normal(size=(rows, FEATURES))
    for model in (scorer, three):
        scores = model.predict(x)
        for i in rng.integers(0, rows, 20):
            same(model.predict(x[i]), scores[i])


def test_one_row_is_a_float_and_a_batch_an_array(scorer, three, x):
    assert type(scorer.predict(x[0])) is float
    assert type(scorer.predict(x[0].tolist())) is float
    for model, shape in ((scorer, ()), (three, (3,))):
        for rows in (0, 1, 7):
            scores = model.predict(x[:rows])
            assert (scores.shape, scores.dtype) == ((rows, *shape), np.float32)
    assert three.predict(x[0]).shape == (3,)


def test_calling_the_scorer_is_predict(scorer, x):
    out = np.empty(7, np.float32)
    same(scorer(x, out=out, threads=2), scorer.predict(x))
    assert scorer(x, out) is out
    assert scorer(x[0]) == scorer.predict(x=x[0])


# ---- out ----------------------------------------------------------------------------------


def buffers(size):
    return [np.empty(size, np.float32), array.array("f", [0] * size), (ctypes.c_float * size)()]


def test_out_is_filled_and_returned(scorer, three, x):
    for out in buffers(1):
        for given in (x[0], x[:1], x[0].astype("d"), x[0].tolist()):
            assert scorer.predict(given, out=out) is out
            assert out[0] == scorer.predict(x[0])
            assert scorer.predict(given, out) is out
    for out in buffers(7):
        assert scorer.predict(x, out=out, threads=1) is out
        same(list(out), scorer.predict(x))
    for out in buffers(3):
        assert three.predict(x[0], out=out) is out
        same(list(out), three.predict(x[0]))
    out = np.empty((7, 3), np.float32)
    assert three.predict(x, out=out) is out
    same(out, three.predict(x))
    empty = np.empty(0, np.float32)
    assert scorer.predict(x[:0], out=empty) is empty


def test_out_may_overlap_x(scorer, three, rng):
    for model, n in ((scorer, 1), (three, 3)):
        for offset in (0, 5, 100):
            memory = rng.normal(size=4000).astype(np.float32)
            x = memory[:3000].reshape(1000, FEATURES)
            expected = model.predict(x)
            out = memory[offset : offset + 1000 * n]
            model.predict(x, out=out if n == 1 else out.reshape(1000, n))
            same(out, expected.ravel())


WRONG_OUT = [
    (np.zeros(7), TypeError, "float64"),
    (np.zeros(7, ">f4"), TypeError, "byte-swapped float32"),
    (np.zeros(7, np.int32), TypeError, "int32"),
    (array.array("d", [0] * 7), TypeError, "float64"),
    ([0.0] * 7, TypeError, "list"),
    (np.zeros(8, np.float32), ValueError, r"shape \(7,\), got shape \(8,\)"),
    (np.zeros((7, 1), np.float32), ValueError, r"shape \(7,\), got shape \(7, 1\)"),
    (np.zeros((), np.float32), ValueError, r"shape \(7,\), got shape \(\)"),
    (np.zeros((1, 1, 7), np.float32), ValueError, "3 dimensions"),
    (np.zeros(14, np.float32)[::2], ValueError, "C-contiguous"),
    (np.zeros(29, np.uint8)[1:].view(np.float32), ValueError, "aligned"),
    (np.broadcast_to(np.float32(0), 7), ValueError, "C-contiguous"),
]


@pytest.mark.parametrize(("out", "error", "match"), WRONG_OUT)
def test_wrong_out(scorer, x, out, error, match):
    before = list(out) if isinstance(out, list) else np.array(out)
    with pytest.raises(error, match=f"out must.*{match}"):
        scorer.predict(x, out=out)
    same(before, out)


def test_read_only_out(scorer, x):
    out = np.zeros(1, np.float32)
    out.flags.writeable = False
    for given in (x[0], x[:1]):
        with pytest.raises(ValueError, match="out must be writable"):
            scorer.predict(given, out=out)
    with pytest.raises(ValueError, match="out must be writable"):
        scorer.predict(x[0], out=memoryview(bytes(4)).cast("f"))
    assert out[0] == 0


@pytest.mark.parametrize("shape", [(7,), (7, 2), (3, 7), (21,)])
def test_wrong_out_of_three_classes(three, x, shape):
    with pytest.raises(ValueError, match=r"out must have shape \(7, 3\)"):
        three.predict(x, out=np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"out must have shape \(3,\)"):
        three.predict(x[0], out=np.zeros((1, 3), np.float32))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_refused_value_leaves_out_alone(scorer, rng, threads):
    x = rng.normal(size=(2000, FEATURES)).astype(np.float32)
    x[1990, 1] = np.inf
    out = np.full(2000, 7, np.float32)
    with pytest.raises(ValueError, match=r"x: row 1990, feature 1 \('income'\) is infinite"):
        scorer.predict(x, out=out, threads=threads)
    assert (out == 7).all()
    with pytest.raises(ValueError, match="infin"):
        scorer.predict(x[1990], out=out[:1])
    assert (out == 7).all()


# ---- the call ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "match"),
    [
        ((), {}, "missing 1 required argument: 'x'"),
        ((), {"out": None}, "missing 1 required argument: 'x'"),
        (([1, 2, 3], None, 1, 1), {}, "at most 3 arguments, got 4"),
        (([1, 2, 3],), {"x": 1}, "multiple values for argument 'x'"),
        (([1, 2, 3], None), {"out": None}, "multiple values for argument 'out'"),
        (([1, 2, 3],), {"ouput": None}, "unexpected keyword argument 'ouput'"),
        (([1, 2, 3],), {"threads": "2"}, "threads must be an integer from 1 to 4096, got '2'"),
        (([1, 2, 3],), {"threads": True}, "threads must be an integer from 1 to 4096, got True"),
    ],
)
def test_wrong_call(scorer, args, kwargs, match):
    with pytest.raises(TypeError, match=match):
        scorer.predict(*args, **kwargs)


@pytest.mark.parametrize("threads", [0, 4097, 10**20])
def test_threads_have_bounds(scorer, x, threads):
    for call in (scorer.predict, scorer):
        with pytest.raises(ValueError, match=f"threads must be .* from 1 to 4096, got {threads}"):
            call(x, threads=threads)
    same(scorer.predict(x, threads=4096), scorer.predict(x))


# ---- threads, life --------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 511, 512, 5000])
def test_threads_give_the_same_bits(three, rng, rows):
    x = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    expected = three.predict(x)
    for threads in (2, 3, 64):
        same(three.predict(x, threads=threads), expected)


def test_many_threads_share_one_scorer(rng):
    scorer = farthing.Scorer(files.encoded(hidden=64).dumps())
    x = rng.normal(size=(500, 5)).astype(np.float32)
    expected = scorer.predict(x)
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(scorer.predict(x), expected):
                wrong.append("batch")
            if scorer.predict(x[3]) != expected[3]:
                wrong.append("row")

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_threads_that_cannot_start_leave_an_error_and_no_scores(scorer, x, monkeypatch):
    start, started = _thread.start_new_thread, []

    def refuse_the_second(*arguments):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(start(*arguments))

    monkeypatch.setattr(_thread, "start_new_thread", refuse_the_second)
    out = np.full(2000, 7, np.float32)
    with pytest.raises(RuntimeError, match="can't start"):
        scorer.predict(np.zeros((2000, FEATURES), np.float32), out=out, threads=3)
    assert len(started) == 1
    assert (out == 7).all()


def test_no_reference_is_lost_or_kept(scorer, x):
    import sys

    out = np.empty(1, np.float32)
    row = x[0].copy()
    calls = [
        lambda: scorer.predict(row, out=out),
        lambda: scorer.predict(row.tolist(), out=out),
        lambda: scorer.predict(memoryview(row), out=memoryview(out)),
        lambda: scorer.predict(x, threads=2),
    ]
    for call in calls:
        call()
        before = [sys.getrefcount(o) for o in (row, out, x)]
        for _ in range(100):
            call()
        assert [sys.getrefcount(o) for o in (row, out, x)] == before


def test_scorers_are_freed_and_cannot_be_changed(scorer):
    other = farthing.Scorer(files.logistic().dumps())
    alive = weakref.ref(other)
    del other
    gc.collect()
    assert alive() is None
    with pytest.raises(AttributeError):
        scorer.n_features = 4
    with pytest.raises(AttributeError):
        scorer.note = "mine"


def test_predict_has_a_signature_and_a_docstring():
    assert "The score (not the label)" in farthing.Scorer.predict.__doc__.splitlines()[0]
    assert farthing.Scorer.predict.__text_signature__ == "($self, x, out=None, threads=1)"


# ---- instruction sets -----------------------------------------------------------------------


def test_isas():
    assert farthing.isas()[-1] == "scalar"
    assert _core.current_isa() == farthing.isas()[0]
    farthing.set_isa("scalar")
    assert _core.current_isa() == "scalar"
    forced = farthing.Scorer(files.logistic().dumps())
    farthing.set_isa(None)
    assert _core.current_isa() == farthing.isas()[0]
    assert forced._isa == "scalar"
    with pytest.raises(ValueError, match=r"name must be None or one of .*scalar, got 'avx9000'"):
        farthing.set_isa("avx9000")
    with pytest.raises(ValueError, match="name must be None or one of"):
        farthing.set_isa("scalar\0x")
    with pytest.raises(TypeError, match="name must be a str or None, got 2"):
        farthing.set_isa(2)


def test_no_instruction_set_fails_its_known_answers():
    assert _core.removed_isas() == ()


def test_certified_depth():
    for amax, depths in ((127, {127: 1, 64: 2, 32: 4}), (255, {64: 1, 32: 2, 16: 4, 127: 0})):
        for weight, depth in depths.items():
            assert _core.certified_depth(np.full((3, 64), weight, np.int8), amax) == depth


# ---- selection, coded weights ---------------------------------------------------------------


def test_prune_select_drops_the_smallest_first_index_first(rng):
    for size in (1, 2, 17, 1000):
        scores = rng.integers(0, 9, size).astype(np.float32)
        for drop in {0, 1, size // 3, size}:
            expected = np.ones(size, bool)
            expected[np.argsort(scores, kind="stable")[:drop]] = False
            np.testing.assert_array_equal(_core.prune_select(scores, drop), expected)
    with pytest.raises(ValueError, match="drop must be at most the 2 scores, got 3"):
        _core.prune_select(np.zeros(2, np.float32), 3)


@pytest.mark.parametrize("l2", [False, True])
def test_prune_scores(rng, l2):
    weights = rng.normal(size=(10, 13)).astype(np.float32)
    scores = _core.prune_scores(weights, 4, 5, l2)
    for i in range(3):
        for j in range(3):
            block = weights[4 * i : 4 * i + 4, 5 * j : 5 * j + 5].astype(float)
            norm = np.sqrt((block**2).sum()) if l2 else np.abs(block).sum()
            assert scores[i, j] == pytest.approx(norm, rel=1e-6)
    with pytest.raises(ValueError, match="at least 1"):
        _core.prune_scores(weights, 0, 1, l2)


@pytest.mark.parametrize("bits", [4, 8, 32])
@pytest.mark.parametrize("density", [0, 0.05, 0.5, 1])
def test_coding_gives_back_what_it_took(rng, bits, density):
    values = rng.integers(1, 1 << bits, (20, 33), np.uint64).astype(np.uint32)
    values[values == 1 << (bits - 1)] = 1
    values[rng.random(values.shape) >= density] = 0
    coded = _core.encode_weights(values, bits, 10_000)
    assert _core.encode_weights(values, bits, len(coded)) == coded
    assert _core.encode_weights(values, bits, len(coded) - 1) is None
    np.testing.assert_array_equal(_core.decode_weights(coded, 20, 33, bits), values)
    for wrong in (coded[:-1], coded + b"\0", b""):
        with pytest.raises(FarthingError, match="not 20 x 33 coded values"):
            _core.decode_weights(wrong, 20, 33, bits)


def test_coding_of_other_bits():
    with pytest.raises(ValueError, match="bits must be 4, 8 or 32, got 16"):
        _core.encode_weights(np.zeros((1, 1), np.uint32), 16, 0)


def test_arrays_of_our_own_code_are_checked_all_the_same():
    for wrong in (np.zeros(3), np.zeros(6, np.float32)[::2], [0.0], np.zeros(3, ">f4")):
        with pytest.raises(TypeError, match="expected a C-contiguous float32 ndarray"):
            _core.prune_select(wrong, 1)


def test_bench_predict(scorer, x):
    assert 0 < _core.bench_predict(scorer, x, 3) < 1e6
    with pytest.raises(ValueError, match="rows must have 3 columns"):
        _core.bench_predict(scorer, x[:, :2].copy(), 3)
    with pytest.raises(ValueError, match="infin"):
        _core.bench_predict(scorer, np.full((1, FEATURES), np.inf, np.float32), 1)
