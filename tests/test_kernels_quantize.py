"""Ranges, histograms, quantization and nibbles of farthing.kernels, on every instruction set."""

import numpy as np
import pytest

from farthing import kernels

SIZES = [0, 1, 7, 8, 31, 32, 33, 63, 64, 65, 200, 1031]


def values(rng, n):
    x = rng.normal(size=n).astype(np.float32)
    x[rng.random(n) < 0.1] = np.nan
    x[rng.random(n) < 0.05] *= np.float32(1e30)
    return x


@pytest.mark.parametrize("n", SIZES)
def test_range(isa, rng, n):
    x = values(rng, n)
    known = x[~np.isnan(x)]
    expected = (known.min(), known.max()) if len(known) else (np.inf, -np.inf)
    assert kernels.value_range(x) == expected


def test_range_finds_an_end_wherever_it_is(isa):
    for at in range(70):
        x = np.zeros(70, np.float32)
        x[at] = 5
        assert kernels.value_range(x) == (0, 5)
        assert kernels.value_range(-x) == (-5, 0)


@pytest.mark.parametrize("bins", [1, 2, 16, 255, 4096])
def test_histogram(isa, rng, bins):
    x = rng.integers(-40, 41, 5003).astype(np.float32) / 8  # exact in float32, on edges too
    x[::17] = np.nan
    counts = kernels.histogram(x, bins, -4.0, 4.0)
    known = np.clip(x[~np.isnan(x)], -4, 4)
    part = np.minimum(np.floor((known + 4) * np.float32(bins / 8)), bins - 1).astype(int)
    np.testing.assert_array_equal(counts, np.bincount(part, minlength=bins))


@pytest.mark.parametrize(("bits", "limit"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("k", SIZES)
def test_quantize_and_back(isa, rng, bits, limit, k):
    x = (rng.normal(size=(5, k)) * 10).astype(np.float32)
    x[:, ::9] = rng.integers(-30, 31, x[:, ::9].shape) / 2  # halves: ties go to even
    scale = np.array([1, 0.1, 3, 1e-30, 1e30], np.float32)
    q = kernels.quantize(x, scale, bits)
    with np.errstate(over="ignore"):
        exact = np.clip(np.rint(x / scale[:, None]), -limit, limit)
    np.testing.assert_array_equal(q, exact)
    np.testing.assert_array_equal(kernels.dequantize(q, scale), q * scale[:, None])


@pytest.mark.parametrize("k", SIZES)
def test_nibbles(isa, rng, k):
    q = rng.integers(-8, 8, (3, k)).astype(np.int8)
    padded = np.zeros((3, k + k % 2), np.uint8)
    padded[:, :k] = q.view(np.uint8) & 15
    nibbles = kernels.join_nibbles(q)
    np.testing.assert_array_equal(nibbles, padded[:, 0::2] | padded[:, 1::2] << 4)
    np.testing.assert_array_equal(kernels.split_nibbles(nibbles, k), q)


X, SCALE = np.ones((2, 3), np.float32), np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: kernels.value_range(np.ones(3)), TypeError, "x must be float32, got float64"),
        (lambda: kernels.histogram(X, 0, 0, 1), ValueError, "bins must be an integer from 1 to"),
        (lambda: kernels.histogram(X, 4, 1, 1), ValueError, "high must be above low"),
        (lambda: kernels.histogram(X, 4, 0, np.inf), ValueError, "high must be a number"),
        (lambda: kernels.quantize(X, SCALE[:1]), ValueError, r"scale must have shape \(2,\)"),
        (lambda: kernels.quantize(X, SCALE * 0), ValueError, "scale must be finite and above 0"),
        (lambda: kernels.quantize(X * np.nan, SCALE), ValueError, "weights must be finite"),
        (lambda: kernels.quantize(X * np.inf, SCALE), ValueError, "weights must be finite"),
        (lambda: kernels.quantize(X, SCALE, 5), ValueError, "bits must be one of 8, 4, got 5"),
        (lambda: kernels.dequantize(X, SCALE), TypeError, "values must be int8, got float32"),
        (
            lambda: kernels.join_nibbles(np.full((1, 2), 8, np.int8)),
            ValueError,
            r"values must lie in -8\.\.7, got 8 to 8",
        ),
        (
            lambda: kernels.split_nibbles(np.zeros((1, 2), np.uint8), 5),
            ValueError,
            "nibbles must have 3 columns for k=5",
        ),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()
