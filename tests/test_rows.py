"""What x may be and may not: arrays, buffers, lists, mappings, of any numbers."""

import array
import collections
import contextlib
import ctypes
import decimal
import fractions
import platform
import types

import files
import numpy as np
import pandas as pd
import pytest

import farthing

FEATURES = 3
NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


@pytest.fixture(scope="module")
def scorer():
    return farthing.Scorer(files.logistic(FEATURES, names=["age", "income", "tenure"]).dumps())


@pytest.fixture(scope="module")
def same_value():
    """A model of one feature v whose score is v."""
    target = {"kind": "regression"}
    parts = files.logistic(1, link="identity", names=["v"], target=target)
    # Powers of two are exact, and a standardised value is clamped to 2^32.
    factors = {"input.scale": 2.0**-100, "dense0.weight": 2.0**100}
    for name, vector in parts.tensors:
        vector[:] = factors.get(name, 0)
    return farthing.Scorer(parts.dumps())


@pytest.fixture
def x(rng):
    return rng.normal(size=(7, FEATURES)).astype(np.float32)


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_every_element_type_and_byte_order(scorer, rng, kind, order):
    x = rng.integers(0, 2 if kind == "?" else 100, (5, FEATURES)).astype(order + kind)
    expected = scorer.predict(np.ascontiguousarray(x.astype("=" + kind), np.float32))
    same(scorer.predict(x), expected)
    same([scorer.predict(row) for row in x], expected)
    same(scorer.predict(memoryview(x)) if order == "<" else scorer.predict(x), expected)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.repeat(x, 3, axis=0)[::3],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x[:, ::-1].copy()[:, ::-1],
        lambda x: (
            np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
        ),
        lambda x: x.view(type("Sub", (np.ndarray,), {})),
        lambda x: (ctypes.c_float * FEATURES * len(x)).from_buffer_copy(x),
        lambda x: x.tolist(),
        lambda x: tuple(map(tuple, x.tolist())),
        lambda x: list(x),
        lambda x: [array.array("d", row) for row in x],
        lambda x: [dict(zip(["age", "income", "tenure"], row, strict=True)) for row in x.tolist()],
        lambda x: [list(row) for row in x],
        lambda x: x.astype(object),
        lambda x: list(x.astype(object)),
        lambda x: x.astype(np.longdouble),
        lambda x: list(x.astype(np.longdouble)),
        lambda x: np.ma.masked_array(x),
        lambda x: collections.deque(x.tolist()),
        lambda x: [pd.Series(row) for row in x],
    ],
    ids=[
        *("fortran", "columns apart", "rows apart", "rows reversed", "columns reversed"),
        *("unaligned", "subclass", "ctypes", "lists", "tuples", "list of arrays"),
        *("list of buffers", "list of dicts", "list of numpy scalars"),
        *("objects", "list of objects", "longdouble", "list of longdouble"),
        *("masked", "deque", "list of Series"),
    ],
)
def test_every_layout(scorer, x, layout):
    given = layout(x)
    expected = scorer.predict(x)
    same(scorer.predict(given), expected)
    same([scorer.predict(row) for row in given], expected)


def test_broadcast_rows(scorer, x):
    same(scorer.predict(np.broadcast_to(x[0], (4, FEATURES))), [scorer.predict(x[0])] * 4)


def test_integers_are_rounded_once(scorer):
    # Through double this would round twice, to 2**60 + 2**37: float32 has steps of 2**37 here.
    value = 2**60 + 2**36 + 1
    assert float(np.float32(np.float64(value))) != float(2**60 + 2**37)
    once = np.float32(2**60 + 2**37)
    row = [once, 0, 0]
    for kind in ("i8", ">i8", "u8"):
        assert scorer.predict(np.array([value, 0, 0], kind)) == scorer.predict(row)
    assert scorer.predict([value, 0, 0]) == scorer.predict(row)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shift", [11, 37, 40, 60, 102])
def test_ints_of_any_size_are_rounded_once(same_value, shift, sign):
    # 24 bits, then exactly half of the last one, a little less or a little more.
    for kept in (2**23, 2**24 - 1):
        for below, up in ((-1, 0), (0, kept % 2), (1, 1)):
            value = (2 * kept + 1 << shift) + below
            assert same_value.predict([sign * value]) == sign * (kept + up << shift + 1)
    value = 2**63 + 2**39 + 1
    assert same_value.predict([value]) == same_value.predict(np.array([value], np.uint64))


# FE_UPWARD of <fenv.h>.
UPWARD = {"x86_64": 0x800, "AMD64": 0x800, "aarch64": 0x400000, "arm64": 0x400000}


@contextlib.contextmanager
def rounding_upward():
    libm = ctypes.CDLL(None)
    assert libm.fesetround(UPWARD[platform.machine()]) == 0
    try:
        yield
    finally:
        libm.fesetround(0)


@pytest.mark.parametrize("value", [0.7, -0.1, 2**25 + 1, 2**70 + 2**30, fractions.Fraction(7, 10)])
@pytest.mark.parametrize(
    "form",
    [
        lambda value: [value],
        lambda value: (value,),
        lambda value: [[value]],
        lambda value: {"v": value},
        lambda value: [{"v": value}],
        lambda value: np.array([value], object),
        lambda value: np.array([float(value)]),
        lambda value: np.ma.masked_array([float(value)]),
        lambda value: pd.DataFrame({"v": [float(value)]}),
    ],
    ids=["list", "tuple", "rows", "dict", "dicts", "objects", "float64", "masked", "frame"],
)
def test_the_rounding_mode_of_the_caller_does_not_matter(same_value, form, value):
    nearest = np.float32(float(value))
    given = form(value)
    with rounding_upward():
        one, tiny = np.float64(1), np.float64(2.0**-60)
        upward = np.float64(value).astype(np.float32)
        score = same_value.predict(given)
        still = one + tiny
    assert upward > nearest
    assert score == nearest
    assert still > 1


def test_all_halves(rng):
    scorer = farthing.Scorer(
        files.logistic(1, link="identity", target={"kind": "regression"}).dumps()
    )
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 1)
    halves = halves[~np.isinf(halves[:, 0])]
    same(scorer.predict(halves), scorer.predict(halves.astype(np.float32)))


@pytest.mark.parametrize(
    "row",
    [
        {"age": 1, "income": 2.5, "tenure": True},
        {"tenure": np.int64(1), "income": np.float32(2.5), "age": np.bool_(True)},
        [1, decimal.Decimal("2.5"), True],
        (np.float64(1), np.float16(2.5), np.uint8(1)),
    ],
    ids=["dict", "dict of numpy scalars in another order", "list", "tuple"],
)
def test_python_numbers(scorer, row):
    assert scorer.predict(row) == scorer.predict(np.array([1, 2.5, 1], np.float32))


@pytest.mark.parametrize(
    "mapping",
    [
        collections.OrderedDict,
        types.MappingProxyType,
        collections.ChainMap,
        lambda row: collections.defaultdict(float, row),
        type("Row", (dict,), {}),
        pd.Series,
    ],
)
def test_every_mapping_by_feature_name(scorer, mapping):
    given = mapping({"tenure": 3, "age": 1, "income": 2})
    assert scorer.predict(given) == scorer.predict([1, 2, 3])
    same(scorer.predict([given, given]), scorer.predict([[1, 2, 3]] * 2))


def test_a_default_is_no_value(scorer):
    row = collections.defaultdict(float, age=1, income=2)
    with pytest.raises(ValueError, match="no value for feature 'tenure'"):
        scorer.predict(row)
    assert dict(row) == {"age": 1, "income": 2}


@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "?", "O", "g"])
def test_masked_cells_are_missing(scorer, kind):
    values = np.array([[1, 0, 1], [0, 1, 1]]).astype(kind)
    masked = np.ma.masked_array(values, [[0, 1, 0], [0, 0, 0]])
    expected = scorer.predict([[1, None, 1], [0, 1, 1]])
    for given in (masked, list(masked), masked.tolist()):
        same(scorer.predict(given), expected)
    assert scorer.predict(masked[0]) == expected[0]


def test_an_empty_batch_of_objects(scorer):
    assert scorer.predict(np.empty((0, FEATURES), object)).shape == (0,)


def test_none_and_nan_are_missing(scorer):
    expected = scorer.predict(np.array([np.nan, 1, np.nan], np.float32))
    assert scorer.predict([None, 1, float("nan")]) == expected
    assert scorer.predict({"age": None, "income": 1, "tenure": np.nan}) == expected


# ---- what x may not be ----------------------------------------------------------------------

ACCEPTED = "x must be an array or another buffer .* list, tuple or dict, .* frame, got "
WRONG_X = [
    (np.zeros(4), ValueError, r"3 features a row, got 4 \(shape \(4,\)\)"),
    (np.zeros((2, 4)), ValueError, "3 features a row, got 4"),
    (np.zeros((0, 4)), ValueError, "3 features a row, got 4"),
    (np.zeros((2, 3, 3)), ValueError, r"row \(3,\) or a batch \(rows, 3\), got 3 dimensions"),
    (np.float32(1), ValueError, r"got shape \(\)"),
    (np.array(1.0), ValueError, r"got shape \(\)"),
    (np.array(["1", "2", "3"]), TypeError, "must hold numbers, got <U1"),
    (np.array([1, "2", None], object), TypeError, r"got str '2' for feature 1 \('income'\)"),
    (np.zeros((0, 4), object), ValueError, "3 features a row, got 4"),
    (np.zeros(3, complex), TypeError, "must hold numbers, got complex128"),
    (np.ma.masked_array(["1", "2", "3"]), TypeError, "must hold numbers, got <U1"),
    (np.zeros(3, "datetime64[s]"), TypeError, "must hold numbers, got datetime64"),
    (np.zeros(3, [("a", "f4")]), TypeError, "must hold numbers"),
    (memoryview(b"abc").cast("c"), TypeError, "must hold numbers, got format 'c'"),
    (b"abc", TypeError, f"{ACCEPTED}bytes"),
    ("abc", TypeError, f"{ACCEPTED}str"),
    (None, TypeError, f"{ACCEPTED}NoneType"),
    (object(), TypeError, f"{ACCEPTED}object"),
    ({1.0, 2.0, 3.0}, TypeError, f"{ACCEPTED}set"),
    ((i for i in range(3)), TypeError, f"{ACCEPTED}generator"),
    ([[1, 2, 3], {1, 2, 3}], TypeError, f"a row of {ACCEPTED}set"),
    (collections.deque([[1, 2], [1]]), ValueError, "x must hold rows of numbers"),
    ([], ValueError, "3 features a row, got 0"),
    ([1, 2], ValueError, "3 features a row, got 2"),
    ([1, 2, "3"], TypeError, r"got str '3' for feature 2 \('tenure'\)"),
    ([1, b"2", 3], TypeError, r"got bytes b'2' for feature 1 \('income'\)"),
    ([1j, 2, 3], TypeError, "got complex"),
    ([np.complex64(1), 2, 3], TypeError, "got complex64"),
    ([list(range(1000)), 2, 3], ValueError, "3 features a row, got 1000"),
    ([1, list(range(1000)), 3], TypeError, r"got list \[0, 1, 2, .{0,20}\.\.\.\] for feature 1"),
    ([10**400, 2, 3], ValueError, "below .*, got an int of 1,329 bits for feature 0"),
    ([1, -(10**5000), 3], ValueError, "below .*, got an int of 16,610 bits for feature 1"),
    ([[1, 2, 3], [1, 2]], ValueError, "3 features a row, got 2"),
    ([[1, 2, 3], 4], TypeError, "rows of x must be"),
    ([[1, 2, 3], "abc"], TypeError, "rows of x must be"),
    ([np.zeros((2, 3))], ValueError, "one dimension"),
    ([np.zeros(4)], ValueError, "3 features a row, got 4"),
    ({"age": 1, "income": 2}, ValueError, "no value for feature 'tenure'"),
    ({}, ValueError, "no value for feature 'age'"),
    ({"age": 1, "income": 2, "tenure": 3, "sex": 4}, ValueError, "has 'sex'"),
    ({"age": 1, "income": "2", "tenure": 3}, TypeError, r"got str '2' for feature 1 \('income'\)"),
]


@pytest.mark.parametrize(("given", "error", "match"), WRONG_X)
def test_wrong_x(scorer, given, error, match):
    with pytest.raises(error, match=match) as caught:
        scorer.predict(given)
    assert "x " in str(caught.value)


def test_a_dict_needs_names():
    scorer = farthing.Scorer(files.logistic(2).dumps())
    with pytest.raises(ValueError, match="without names: pass 2 numbers"):
        scorer.predict({"a": 1, "b": 2})
    with pytest.raises(TypeError, match=r"for feature 1$"):
        scorer.predict([1, "2"])
