"""farthing.kernels: exact products, packing and its refusals, pruning masks."""

import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import farthing
from farthing import kernels


def product(x, weights, scales=None, group_size=None):
    weights = weights.astype(np.int64)
    if scales is not None:
        k = weights.shape[1]
        weights = weights * np.repeat(scales.astype(np.int64), group_size, axis=1)[:, :k]
    return x.astype(np.int64) @ weights.T


@pytest.mark.parametrize("amax", [127, 255])
@pytest.mark.parametrize("limit", [127, 64, 32])
@pytest.mark.parametrize("m", [1, 2, 3, 9, 70])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 7), (32, 64), (33, 65), (40, 200)])
def test_int8_products_are_exact(isa, rng, n, k, m, limit, amax):
    weights = rng.integers(-limit, limit + 1, (n, k)).astype(np.int8)
    x = rng.integers(0, amax + 1, (m, k)).astype(np.uint8)
    x[0] = amax
    packed = kernels.pack(weights)
    np.testing.assert_array_equal(kernels.matmul(x, packed), product(x, weights))


@pytest.mark.parametrize("amax", [127, 255])
@pytest.mark.parametrize("group_size", [None, 32, 64])
@pytest.mark.parametrize("m", [1, 2, 3, 70])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 33), (32, 64), (40, 200)])
def test_int4_products_are_exact(isa, rng, n, k, m, group_size, amax):
    weights = rng.integers(-7, 8, (n, k)).astype(np.int8)
    x = rng.integers(0, amax + 1, (m, k)).astype(np.uint8)
    x[-1] = amax
    scales = None
    if group_size is not None:
        scales = rng.integers(1, 64, (n, -(-k // group_size))).astype(np.uint8)
    packed = kernels.pack(weights, bits=4, group_size=group_size, group_scales=scales)
    expected = product(x, weights, scales, group_size)
    np.testing.assert_array_equal(kernels.matmul(x, packed), expected)


@pytest.mark.parametrize(("bits", "limit"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_extremes_are_exact(isa, bits, limit, sign):
    weights = np.full((40, 320), sign * limit, np.int8)
    weights[1::2, ::2] *= -1
    for value in (127, 128, 255):
        x = np.full((5, 320), value, np.uint8)
        packed = kernels.pack(weights, bits=bits)
        np.testing.assert_array_equal(kernels.matmul(x, packed), product(x, weights))


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=60)
def test_any_small_product(data):
    n, k, m = (data.draw(st.integers(1, 70)) for _ in range(3))
    bits = data.draw(st.sampled_from([4, 8]))
    group_size = data.draw(st.sampled_from([None, 32, 64])) if bits == 4 else None
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    limit = 7 if bits == 4 else data.draw(st.integers(1, 127))
    weights = rng.integers(-limit, limit + 1, (n, k)).astype(np.int8)
    scales = None
    if group_size:
        scales = rng.integers(1, 64, (n, -(-k // group_size))).astype(np.uint8)
    x = rng.integers(0, data.draw(st.integers(1, 256)), (m, k)).astype(np.uint8)
    packed = kernels.pack(weights, bits, group_size, scales)
    expected = product(x, weights, scales, group_size)
    np.testing.assert_array_equal(kernels.matmul(x, packed), expected)


def test_group_scales_default_to_one(rng):
    weights = rng.integers(-7, 8, (5, 70)).astype(np.int8)
    x = rng.integers(0, 256, (4, 70)).astype(np.uint8)
    packed = kernels.pack(weights, bits=4, group_size=32)
    np.testing.assert_array_equal(kernels.matmul(x, packed), product(x, weights))


def test_layouts_and_out(rng):
    weights = np.asfortranarray(rng.integers(-127, 128, (9, 12)).astype(np.int8))
    x = rng.integers(0, 256, (12, 5)).astype(np.uint8).T
    expected = product(x, weights)
    packed = kernels.pack(weights)
    out = np.full((5, 9), -1, np.int32)
    assert kernels.matmul(x, packed, out=out) is out
    np.testing.assert_array_equal(out, expected)
    empty = kernels.matmul(x[:0], packed)
    assert (empty.shape, empty.dtype) == ((0, 9), np.int32)
    memory = np.zeros(5 * 9, np.int32)
    shared = memory.view(np.uint8)[:60].reshape(5, 12)
    shared[:] = x
    kernels.matmul(shared, packed, out=memory.reshape(5, 9))
    np.testing.assert_array_equal(memory.reshape(5, 9), expected)


def test_what_a_packed_object_tells(isa):
    packed = kernels.pack(np.full((5, 40), 3, np.int8), bits=4, group_size=32)
    assert (packed.shape, packed.bits, packed.group_size) == ((5, 40), 4, 32)
    assert packed.isa == isa
    assert packed.nbytes > 0
    assert repr(packed) == f"Packed(shape=(5, 40), bits=4, isa={isa!r})"
    assert kernels.pack(np.ones((1, 1), np.int8)).group_size is None


def test_a_packed_object_keeps_its_instruction_set(rng):
    weights = rng.integers(-127, 128, (9, 12)).astype(np.int8)
    x = rng.integers(0, 256, (4, 12)).astype(np.uint8)
    for name in farthing.isas():
        farthing.set_isa(name)
        packed = kernels.pack(weights)
        farthing.set_isa(None)
        assert packed.isa == name
        np.testing.assert_array_equal(kernels.matmul(x, packed), product(x, weights))


def pruned(rng, pattern, limit, shape, sparsity=0.85):
    magnitudes = rng.random(shape) + 1.0
    mask = kernels.prune_mask(magnitudes, sparsity, pattern=pattern)
    return (rng.integers(-limit, limit + 1, shape) * mask).astype(np.int8)


@pytest.mark.parametrize("pattern", ["unstructured", "32x4", "16x4", "8x4", "4x8", "1x64"])
@pytest.mark.parametrize(
    ("bits", "limit", "group_size"), [(8, 127, None), (8, 64, None), (4, 7, 32)]
)
def test_zeros_may_be_left_out_and_the_answer_stays(isa, rng, pattern, bits, limit, group_size):
    weights = pruned(rng, pattern, limit, (67, 200))
    scales = rng.integers(1, 64, (67, 7)).astype(np.uint8) if group_size else None
    packed = kernels.pack(weights, bits, group_size, scales, pattern=pattern)
    scaled = weights.astype(np.int64)
    if group_size:
        scaled *= np.repeat(scales, 32, axis=1)[:, :200]
    for m in (1, 7, 24, 70):
        for amax in (127, 255):
            x = rng.integers(0, amax + 1, (m, 200)).astype(np.uint8)
            np.testing.assert_array_equal(kernels.matmul(x, packed), x.astype(np.int64) @ scaled.T)


def test_layouts(rng):
    shape, vector = (256, 256), farthing.isas()[0] != "scalar"
    for pattern in ("32x4", "16x4"):
        packed = kernels.pack(pruned(rng, pattern, 64, shape), pattern=pattern)
        assert packed.layout == (pattern if vector else "dense")
    lists = kernels.pack(pruned(rng, "unstructured", 64, shape), pattern="unstructured")
    assert lists.layout == ("lists" if vector else "dense")
    half = pruned(rng, "2:4", 64, shape, None)
    blocks = pruned(rng, "32x4", 64, shape)
    assert kernels.pack(half, pattern="2:4").layout == "dense"
    assert kernels.pack(blocks).layout == "dense"
    small = kernels.pack(blocks, pattern="32x4")
    assert not vector or small.nbytes < kernels.pack(blocks).nbytes / 4
    full = rng.integers(1, 65, shape).astype(np.int8)
    assert kernels.pack(full, pattern="32x4").layout == "dense"


def test_certified_depth():
    for weight, depth in ((127, 1), (64, 2), (32, 4)):
        packed = kernels.pack(np.full((32, 64), weight, np.int8))
        if packed.isa == "avx2":
            assert packed.depth[0] == depth


def test_int32_is_certified_to_the_last_unit():
    # 255 * sum must stay within 2**31 - 1: sum <= 8,421,504 = 66,311 * 127 + 7.
    columns = 66311
    weights = np.full((3, columns + 1), 127, np.int8)
    weights[:, -1] = 7
    packed = kernels.pack(weights)
    x = np.full((1, columns + 1), 255, np.uint8)
    np.testing.assert_array_equal(kernels.matmul(x, packed), product(x, weights))
    weights[1, -1] = 8
    with pytest.raises(ValueError, match="weights of output 1 can pass int32"):
        kernels.pack(weights)
    with pytest.raises(ValueError, match="weights of output 1 can pass int32"):
        kernels.pack(-weights)


def test_int32_counts_group_scales():
    weights = np.full((2, 32 * 700), 7, np.int8)
    scales = np.full((2, 700), 1, np.uint8)
    kernels.pack(weights, bits=4, group_size=32, group_scales=scales)
    scales[1] = 63
    with pytest.raises(ValueError, match="weights of output 1 can pass int32"):
        kernels.pack(weights, bits=4, group_size=32, group_scales=scales)


W = np.ones((4, 64), np.int8)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"weights": W.astype(float)}, TypeError, "weights must be int8, got float64"),
        ({"weights": W[0]}, ValueError, r"weights must have 2 dimensions, got shape \(64,\)"),
        ({"weights": W[:0]}, ValueError, "at least one output"),
        ({"weights": W[:, :0]}, ValueError, "at least one output"),
        ({"bits": 5}, ValueError, "bits must be one of 8, 4, got 5"),
        ({"bits": True}, ValueError, "bits must be one of 8, 4, got True"),
        ({"group_size": 48, "bits": 4}, ValueError, "group_size must be one of None, 32, 64"),
        ({"group_size": 32}, ValueError, "group_size must be None for bits=8, got 32"),
        (
            {"pattern": "4:2"},
            ValueError,
            "pattern must be 'unstructured', a block like '4x8' or N:M",
        ),
        ({"bits": 4, "group_scales": np.ones((4, 2), np.uint8)}, ValueError, "must be 32 or 64"),
        (
            {"bits": 4, "group_size": 32, "group_scales": np.ones((4, 2))},
            TypeError,
            "group_scales must be uint8, got float64",
        ),
        (
            {"bits": 4, "group_size": 32, "group_scales": np.ones((4, 1), np.uint8)},
            ValueError,
            r"group_scales must have shape \(4, 2\), got \(4, 1\)",
        ),
        (
            {"bits": 4, "group_size": 32, "group_scales": np.full((4, 2), 64, np.uint8)},
            ValueError,
            r"group_scales must lie in 1\.\.63: output 0",
        ),
        ({"weights": W * 8, "bits": 4}, ValueError, r"weights must lie in -7\.\.7: output 0"),
        ({"weights": W * -128}, ValueError, r"weights must lie in -127\.\.127: output 0"),
    ],
)
def test_wrong_packs(arguments, error, match):
    with pytest.raises(error, match=match):
        kernels.pack(**{"weights": W, **arguments})


@pytest.mark.parametrize(
    ("x", "out", "error", "match"),
    [
        (np.zeros((2, 64)), None, TypeError, "x must be uint8, got float64"),
        (np.zeros((2, 63), np.uint8), None, ValueError, r"x must have shape \(m, 64\)"),
        (np.zeros(64, np.uint8), None, ValueError, "x must have 2 dimensions"),
        (np.zeros((2, 64), np.uint8), np.zeros((2, 4)), TypeError, "out must be an int32 array"),
        (np.zeros((2, 64), np.uint8), [[0] * 4] * 2, TypeError, "int32 array .*, got list"),
        (np.zeros((2, 64), np.uint8), np.zeros((2, 4), ">i4"), TypeError, "out must be an int32"),
        (np.zeros((2, 64), np.uint8), np.zeros((4, 2), np.int32), ValueError, r"shape \(2, 4\)"),
        (np.zeros((2, 64), np.uint8), np.zeros((4, 2), np.int32).T, ValueError, "C-contiguous"),
    ],
)
def test_wrong_products(x, out, error, match):
    with pytest.raises(error, match=match):
        kernels.matmul(x, kernels.pack(W), out=out)


def test_a_product_needs_packed_weights():
    with pytest.raises(TypeError, match=r"packed must come from farthing\.kernels\.pack"):
        kernels.matmul(np.zeros((1, 64), np.uint8), W)


# ---- prune_mask -----------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0, 0.25, 0.5, 0.8, 0.999, 1])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_single_weights(rng, sparsity, norm):
    weights = rng.normal(size=(12, 17)).astype(np.float32)
    mask = kernels.prune_mask(weights, sparsity, norm=norm)
    assert (mask.shape, mask.dtype) == (weights.shape, bool)
    assert (~mask).sum() == min(round(sparsity * weights.size), weights.size - 1)
    if not mask.all():
        assert np.abs(weights[~mask]).max() <= np.abs(weights[mask]).min()


def test_for_single_weights_both_norms_give_one_order(rng):
    weights = rng.normal(size=(40, 50))
    for sparsity in (0.3, 0.7):
        np.testing.assert_array_equal(
            kernels.prune_mask(weights, sparsity, norm="l1"),
            kernels.prune_mask(weights, sparsity, norm="l2"),
        )


def test_for_blocks_the_norms_differ():
    # One large weight among zeros against four middling ones: L1 4 < 6, L2 4 > 3.
    weights = np.array([[4, 0, 0, 0, 1.5, 1.5, 1.5, 1.5]])
    drop_left = [[False] * 4 + [True] * 4]
    l1 = kernels.prune_mask(weights, 0.5, pattern="1x4", norm="l1")
    l2 = kernels.prune_mask(weights, 0.5, pattern="1x4", norm="l2")
    np.testing.assert_array_equal(l1, drop_left)
    np.testing.assert_array_equal(l2, ~np.array(drop_left))


def test_blocks_are_short_at_the_edges(rng):
    weights = rng.normal(size=(10, 13))
    mask = kernels.prune_mask(weights, 0.5, pattern="4x8")
    blocks = [mask[i : i + 4, j : j + 8] for i in (0, 4, 8) for j in (0, 8)]
    assert all(block.all() or not block.any() for block in blocks)
    assert sum(not block.any() for block in blocks) == 3


@pytest.mark.parametrize(("stay", "of"), [(2, 4), (1, 4), (4, 8), (1, 2)])
def test_neighbours(rng, stay, of):
    weights = rng.integers(-3, 4, (9, 24)).astype(np.float32)  # ties
    mask = kernels.prune_mask(weights, pattern=f"{stay}:{of}")
    groups, kept = np.abs(weights).reshape(-1, of), mask.reshape(-1, of)
    assert (kept.sum(axis=1) == stay).all()
    # A stable sort: of equal magnitudes the lower index comes, and goes, first.
    expected = np.argsort(groups, axis=1, kind="stable")[:, of - stay :]
    np.testing.assert_array_equal(np.sort(expected), np.argwhere(kept)[:, 1].reshape(-1, stay))
    same = kernels.prune_mask(weights, 1 - stay / of, pattern=f"{stay}:{of}", norm="l2")
    np.testing.assert_array_equal(same, mask)


def test_one_unit_stays_and_ties_go_by_position():
    np.testing.assert_array_equal(kernels.prune_mask(np.ones((2, 2)), 1), [[0, 0], [0, 1]])
    np.testing.assert_array_equal(kernels.prune_mask(np.ones((2, 2)), 0.5), [[0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"sparsity": 1.2}, ValueError, r"sparsity must be a number in \[0, 1\], got 1.2"),
        ({"sparsity": float("nan")}, ValueError, r"sparsity must be a number in \[0, 1\], got nan"),
        ({"sparsity": "half"}, TypeError, "sparsity must be a number"),
        ({"norm": "l3"}, ValueError, "norm must be one of 'l1', 'l2', got 'l3'"),
        ({"pattern": "4by8"}, ValueError, "pattern must be 'unstructured', a block"),
        ({"pattern": "0x8"}, ValueError, "pattern must be 'unstructured', a block"),
        ({"pattern": 4}, ValueError, "pattern must be 'unstructured', a block"),
        ({"pattern": "2:4"}, ValueError, "pattern '2:4' must divide the inputs of k, got 3"),
        (
            {"pattern": "1:3"},
            ValueError,
            "sparsity must be None or 0.666667 for pattern '1:3', got 0.5",
        ),
        ({"pattern": "4:4"}, ValueError, "pattern must be 'unstructured', a block"),
        ({"weights": np.ones(3)}, ValueError, r"weights must have shape \(n, k\)"),
        ({"weights": np.ones((0, 3))}, ValueError, "not empty"),
        ({"weights": np.array([[1, np.nan]])}, ValueError, "weights must be finite"),
        ({"weights": [["a"]]}, TypeError, "weights must hold real numbers, got dtype <U1"),
        ({"weights": [[1j]]}, TypeError, "weights must hold real numbers, got dtype complex128"),
        ({"weights": [[None]]}, TypeError, "weights must hold real numbers, got dtype object"),
        ({"weights": [[1, 2], [3]]}, ValueError, r"weights must have shape \(n, k\)"),
        ({"weights": 1e300}, ValueError, r"weights must have shape \(n, k\)"),
        ({"weights": [[1e300, 1]]}, ValueError, "weights must be finite in float32"),
    ],
)
def test_wrong_masks(arguments, error, match):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=match):
            kernels.prune_mask(**{"weights": np.ones((2, 3)), "sparsity": 0.5, **arguments})
