"""Exact integer products, pruning masks and quantization, for arrays of your own."""

from __future__ import annotations

import re

import numpy as np

from farthing import _core
from farthing._core import Packed
from farthing._validate import check_choice, check_fraction, check_integer, check_number

__all__ = [
    *("Packed", "dequantize", "histogram", "join_nibbles", "matmul", "pack", "prune_mask"),
    *("quantize", "split_nibbles", "value_range"),
]


def pack(
    weights: np.ndarray,
    bits: int = 8,
    group_size: int | None = None,
    group_scales: np.ndarray | None = None,
    pattern: str | None = None,
) -> Packed:
    """Packs integer weights for the instruction set in force (`farthing.set_isa`).

    weights: int8 (n, k), one row an output, within -127..127 for ``bits=8`` and -7..7 for
    ``bits=4``.  group_size: None, 32 or 64 values along k (``bits=4``) that share one of
    group_scales: uint8 (n, ceil(k / group_size)) in 1..63, by which their products count;
    None: all 1.

    pattern: how the weights were pruned, which may give them a layout that leaves zeros out
    (``Packed.layout``): None stores every weight; "unstructured", or a block of outputs by
    inputs such as "32x4" (best 32, 16 or 8 by 4), leaves them out where that is faster on this
    CPU at this shape; "N:M" (at most N of M neighbouring inputs, such as "2:4") runs as dense.
    A layer that is faster dense stays dense: the answer is the same.

    TypeError for another dtype; ValueError for a wrong shape, a weight or scale out of range,
    or, naming the output, weights whose sum with some x of up to 255 would pass int32.

    >>> import numpy as np
    >>> packed = pack(np.array([[1, -2, 3]], np.int8))
    >>> matmul(np.array([[10, 20, 30]], np.uint8), packed)
    array([[60]], dtype=int32)
    """
    check_choice((8, 4), bits=bits)
    check_choice((None, 32, 64), group_size=group_size)
    if pattern is not None:
        _check_pattern(pattern)
    may_skip = pattern is not None and n_of_m(pattern) is None
    weights = _array(np.int8, 2, weights=weights)
    n, k = weights.shape
    if n == 0 or k == 0:
        raise ValueError(f"weights must have at least one output and input, got {weights.shape}")
    if group_scales is not None and group_size is None:
        raise ValueError("group_size must be 32 or 64 where group_scales are given, got None")
    if group_size is not None:
        if bits != 4:
            raise ValueError(f"group_size must be None for bits=8, got {group_size}")
        expected = (n, -(-k // group_size))
        if group_scales is None:
            group_scales = np.ones(expected, np.uint8)
        group_scales = _array(np.uint8, 2, group_scales=group_scales)
        if group_scales.shape != expected:
            raise ValueError(f"group_scales must have shape {expected}, got {group_scales.shape}")
    return Packed(weights, n, k, bits, group_scales, group_size or 0, may_skip)


def matmul(x: np.ndarray, packed: Packed, out: np.ndarray | None = None) -> np.ndarray:
    """``x @ weights.T`` in exact integers, for every x: int32 (m, n).

    x: uint8 (m, k).  out: a C-contiguous int32 array (m, n) to fill and return.

    TypeError for another dtype, ValueError for another shape or layout of `out`.
    """
    if not isinstance(packed, Packed):
        raise TypeError(f"packed must come from farthing.kernels.pack, got {type(packed).__name__}")
    if out is not None and packed._multiply(x, out):
        return out
    n, k = packed.shape
    if out is None and type(x) is np.ndarray and x.ndim == 2:
        fresh = np.empty((len(x), n), np.int32)
        if packed._multiply(x, fresh):
            return fresh
    x = _array(np.uint8, 2, x=x)
    if x.shape[1] != k:
        raise ValueError(f"x must have shape (m, {k}), got {x.shape}")
    shape = (len(x), n)
    if out is None:
        out = np.empty(shape, np.int32)
    elif type(out) is not np.ndarray or out.dtype != np.int32 or not out.dtype.isnative:
        given = getattr(out, "dtype", type(out).__name__)
        raise TypeError(f"out must be an int32 array of shape {shape}, got {given}")
    elif out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    elif not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError("out must be C-contiguous, aligned and writable")
    if np.may_share_memory(x, out):
        x = x.copy()
    _core.packed_matmul(packed, x, len(x), out)
    return out


def drop_count(sparsity: float, units: int, stay: int = 1) -> int:
    """How many of `units` go at a sparsity: ``round(sparsity * units)``, halves to even, but
    `stay` of them always stay.

    >>> drop_count(0.5, 5), drop_count(0.5, 7), drop_count(1.0, 8)
    (2, 4, 7)
    """
    return min(round(sparsity * units), units - stay)


def spread_blocks(keep: np.ndarray, block: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A value for every block of (outputs, inputs), in row-major order, for each of its weights.

    >>> spread_blocks(np.array([True, False]), (2, 2), (2, 3))
    array([[ True,  True, False],
           [ True,  True, False]])
    """
    (rows, columns), (n, k) = block, shape
    grid = keep.reshape(-(-n // rows), -(-k // columns))
    if block == (1, 1):
        return grid
    return np.repeat(np.repeat(grid, rows, axis=0)[:n], columns, axis=1)[:, :k]


def prune_mask(
    weights: np.ndarray,
    sparsity: float | None = None,
    pattern: str = "unstructured",
    norm: str = "l1",
) -> np.ndarray:
    """Which weights stay when the units of smallest norm are removed: bool (n, k), True = kept.

    weights: float (n, k), finite.  pattern: "unstructured" (every weight is a unit), a block such
    as "4x8": 4 outputs by 8 inputs, short at the edges, or "2:4": of every 4 neighbouring inputs
    the 2 of largest magnitude stay (Mishra et al. 2021, "Accelerating sparse deep neural
    networks"), k being a multiple of 4 and sparsity None or 0.5.  norm: "l1" (sum of \\|w\\|) or
    "l2" (square root of the sum of squares); for single weights both give the same order.
    `drop_count` units go, ``round(sparsity * units)`` but never the last; of equal norms the
    first in row-major order goes first.

    TypeError for weights that are no real numbers; ValueError for a sparsity outside [0, 1],
    an unknown pattern or norm, or weights that are not finite in float32.  Method: magnitude
    pruning (Han et al. 2015, "Learning both weights and connections for efficient neural
    networks").

    >>> import numpy as np
    >>> prune_mask(np.array([[0.1, -3.0], [2.0, 0.2]]), sparsity=0.5)
    array([[False,  True],
           [ True, False]])
    """
    check_choice(("l1", "l2"), norm=norm)
    _check_pattern(pattern)
    weights = _weights(weights)
    if neighbours := n_of_m(pattern):
        check_n_of_m(pattern, sparsity, k=weights.shape[1])
        return _core.prune_neighbours(weights, *neighbours)
    check_fraction(sparsity=sparsity)
    block = block_of(pattern) or (1, 1)
    scores = _core.prune_scores(weights, *block, norm == "l2")
    keep = _core.prune_select(scores, drop_count(sparsity, scores.size))
    return spread_blocks(keep, block, weights.shape)


def value_range(x: np.ndarray) -> tuple[float, float]:
    """The least and the largest value, NaN left out; (inf, -inf) where there is none.

    x: float32 of any shape.  TypeError for another dtype.

    >>> import numpy as np
    >>> value_range(np.array([2.0, np.nan, -1.0], np.float32))
    (-1.0, 2.0)
    """
    return _core.value_range(_array(np.float32, None, x=x))


def histogram(x: np.ndarray, bins: int, low: float, high: float) -> np.ndarray:
    """How many values lie in each of `bins` equal parts of [low, high]: uint64 (bins,).

    x: float32 of any shape; values outside count in the nearest part, NaN in none.  bins: 1 to
    4096.  TypeError for another dtype, ValueError for other bins or ends.

    >>> import numpy as np
    >>> histogram(np.array([0.0, 0.4, 0.6, 9.0], np.float32), 2, 0.0, 1.0)
    array([2, 2], dtype=uint64)
    """
    check_integer(1, 4096, bins=bins)
    check_number("(-inf, inf)", low=low, high=high)
    if not low < high:
        raise ValueError(f"high must be above low, {low!r}, got {high!r}")
    return _core.histogram(_array(np.float32, None, x=x), low, high, bins)


def quantize(weights: np.ndarray, scale: np.ndarray, bits: int = 8) -> np.ndarray:
    """Weights divided by their row's scale, rounded to nearest, halves to even: int8 (n, k).

    weights: float32 (n, k), finite; scale: float32 (n,), finite and above 0.  bits: 8, clamped to
    -127..127, or 4, clamped to -7..7.  TypeError for another dtype, ValueError for another shape
    or value.

    >>> import numpy as np
    >>> quantize(np.array([[0.5, -1.0, 9.0]], np.float32), np.array([0.5], np.float32), bits=4)
    array([[ 1, -2,  7]], dtype=int8)
    """
    check_choice((8, 4), bits=bits)
    weights = _array(np.float32, 2, weights=weights)
    low, high = _core.value_range(weights)
    if np.isnan(weights).any() or (max(-low, high) == np.inf and weights.size):
        raise ValueError("weights must be finite, got NaN or infinity")
    return _core.quantize_rows(weights, _scales(scale, len(weights)), 127 if bits == 8 else 7)


def dequantize(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Integers times their row's scale: float32 (n, k).

    values: int8 (n, k); scale: float32 (n,), finite and above 0.  TypeError for another dtype,
    ValueError for another shape or value.

    >>> import numpy as np
    >>> dequantize(np.array([[1, -2]], np.int8), np.array([0.5], np.float32))
    array([[ 0.5, -1. ]], dtype=float32)
    """
    values = _array(np.int8, 2, values=values)
    return _core.dequantize_rows(values, _scales(scale, len(values)))


def join_nibbles(values: np.ndarray) -> np.ndarray:
    """Two values a byte, as a .farthing file stores int4: uint8 (n, ceil(k / 2)).

    values: int8 (n, k) in -8..7; even k in the low nibble, two's complement, padding 0.
    TypeError for another dtype, ValueError for values outside.

    >>> import numpy as np
    >>> join_nibbles(np.array([[1, -1, 7]], np.int8)).tolist()
    [[241, 7]]
    """
    values = _array(np.int8, 2, values=values)
    if values.size and (values.min() < -8 or values.max() > 7):
        raise ValueError(f"values must lie in -8..7, got {values.min()} to {values.max()}")
    return _core.join_nibbles(values)


def split_nibbles(nibbles: np.ndarray, k: int) -> np.ndarray:
    """What `join_nibbles` joined: int8 (n, k) from uint8 (n, ceil(k / 2)).

    >>> import numpy as np
    >>> split_nibbles(np.array([[241, 7]], np.uint8), 3)
    array([[ 1, -1,  7]], dtype=int8)
    """
    nibbles = _array(np.uint8, 2, nibbles=nibbles)
    check_integer(0, k=k)
    if nibbles.shape[1] != (k + 1) // 2:
        raise ValueError(f"nibbles must have {(k + 1) // 2} columns for k={k}, got {nibbles.shape}")
    return _core.split_nibbles(nibbles, k)


def _scales(scale: object, n: int) -> np.ndarray:
    scale = _array(np.float32, 1, scale=scale)
    if scale.shape != (n,):
        raise ValueError(f"scale must have shape ({n},), got {scale.shape}")
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError("scale must be finite and above 0")
    return scale


def _weights(weights: object) -> np.ndarray:
    """Weights to prune as C-contiguous float32 (n, k), finite."""
    try:
        array = np.asarray(weights)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"weights must have shape (n, k): {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"weights must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"weights must have shape (n, k), not empty, got {array.shape}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise ValueError("weights must be finite in float32")
    return array


def n_of_m(pattern: str) -> tuple[int, int] | None:
    """(N, M) of a pattern such as "2:4": of M neighbouring inputs N stay; None for another one.

    >>> n_of_m("2:4"), n_of_m("4x8")
    ((2, 4), None)
    """
    match = re.fullmatch(r"([1-9]\d{0,2}):([1-9]\d{0,2})", str(pattern))
    if match is None or not int(match[1]) < int(match[2]) < 256:
        return None
    return int(match[1]), int(match[2])


def block_of(pattern: str) -> tuple[int, int] | None:
    """(outputs, inputs) of a pattern such as "4x8"; None for another one.

    >>> block_of("4x8"), block_of("2:4")
    ((4, 8), None)
    """
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", str(pattern))
    return None if match is None else (int(match[1]), int(match[2]))


def check_n_of_m(pattern: str, sparsity: float | None, **inputs: int) -> None:
    """ValueError unless N:M divides the inputs, given by name, and has the sparsity asked for."""
    stay, of = n_of_m(pattern)
    if sparsity is not None and sparsity != 1 - stay / of:
        raise ValueError(
            f"sparsity must be None or {1 - stay / of:g} for pattern {pattern!r}, got {sparsity!r}"
        )
    for name, count in inputs.items():
        if count % of:
            raise ValueError(f"pattern {pattern!r} must divide the inputs of {name}, got {count}")


def _check_pattern(pattern: object) -> None:
    if pattern == "unstructured" or n_of_m(pattern) or block_of(pattern):
        return
    raise ValueError(
        f"pattern must be 'unstructured', a block like '4x8' or N:M like '2:4', got {pattern!r}"
    )


def _array(dtype: type, ndim: int | None, **arguments: object) -> np.ndarray:
    """The one named argument as a C-contiguous array; nothing is converted between dtypes."""
    ((name, value),) = arguments.items()
    array = np.asarray(value)
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {array.shape}")
    return np.ascontiguousarray(array)
