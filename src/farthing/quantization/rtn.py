"""Round to nearest: integer weights with the scale of least squared error a row."""

from __future__ import annotations

import numpy as np

from farthing import _core
from farthing._validate import FarthingError
from farthing.layers import Dense, QuantizedWeight
from farthing.quantization.formats import WeightFormat

__all__ = [
    "GROUP_SCALE_MAX",
    "auto_weight_max",
    "integer_bounds",
    "largest_weight",
    "nearest",
    "quantize_weight",
    "row_scales",
    "steps_of",
]

GROUP_SCALE_MAX = 63


def largest_weight(bits: int, weight_max: int) -> int:
    """The largest integer weight."""
    return weight_max if bits == 8 else min(7, weight_max)


def nearest(weight: np.ndarray, form: WeightFormat) -> QuantizedWeight:
    """`quantize_weight` to a layer's format."""
    return quantize_weight(weight, form.bits, form.weight_max, form.group_size)


def steps_of(packed: QuantizedWeight) -> np.ndarray:
    """What one step of every integer is worth, float64 (n, k), group scales included."""
    ones = np.ones_like(packed.values)
    return packed.with_values(ones).dequantize().astype(np.float64)


def integer_bounds(layer: Dense, form: WeightFormat) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest integer (n, k) of every weight: 0 where it is masked or the sign
    of a monotone layer ends there."""
    limit = largest_weight(form.bits, form.weight_max)
    high = np.full(layer.weight.shape, float(limit))
    low = -high
    if layer.sign is not None:
        low[layer.sign > 0] = 0
        high[layer.sign < 0] = 0
    pruned = layer.weight == 0
    low[pruned] = high[pruned] = 0
    return low, high


def row_scales(weight: np.ndarray, limit: int) -> np.ndarray:
    """The scale of every row that minimises its squared rounding error, float64 (n, 1).

    Shrinking the largest weight's scale clips it but refines the others, which pays at 4
    bits and not at 8.
    """
    largest = np.abs(weight).max(axis=1, keepdims=True) / limit
    largest[largest == 0] = 1.0
    if limit > 15:
        return largest
    best = largest
    least = np.full_like(largest, np.inf)
    for factor in np.linspace(1.0, 0.5, 11):
        scale = largest * factor
        error = ((np.clip(np.rint(weight / scale), -limit, limit) * scale - weight) ** 2).sum(
            axis=1, keepdims=True
        )
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best


def quantize_weight(
    weight, bits: int = 8, weight_max: int = 64, group_size: int | None = None
) -> QuantizedWeight:
    """Round-to-nearest weights with the scale of least squared error a row.

    weight: float (n, k). With `group_size` (32 or 64, 4 bits only) every group along k has
    an integer scale in 1..63 that multiplies the row's. A zero stays zero. Raises
    ValueError for a row that is not finite.

    >>> import numpy as np
    >>> from farthing.quantization import quantize_weight
    >>> quantize_weight(np.array([[0.5, -1.0, 0.0]]), bits=8, weight_max=64).values.tolist()
    [[32, -64, 0]]
    """
    weight = np.asarray(weight, dtype=np.float64)
    if not np.isfinite(weight).all():
        raise FarthingError("weight must be finite, got NaN or infinity")
    limit = largest_weight(bits, weight_max)
    if group_size is None:
        scale = row_scales(weight, limit).astype(np.float32)
        values = np.clip(np.rint(weight / scale), -limit, limit).astype(np.int8)
        return QuantizedWeight(bits, weight_max, values, scale[:, 0])
    n, k = weight.shape
    groups = -(-k // group_size)
    padded = np.zeros((n, groups * group_size))
    padded[:, :k] = weight
    own = row_scales(padded.reshape(n * groups, group_size), limit).reshape(n, groups)
    # A group of zeros has no say in the row's multiplier.
    own[~padded.reshape(n, groups, group_size).any(axis=2)] = 0
    multiplier = own.max(axis=1, keepdims=True) / GROUP_SCALE_MAX
    multiplier[multiplier == 0] = 1.0
    multiplier = multiplier.astype(np.float32)
    steps = np.clip(np.rint(own / multiplier), 1, GROUP_SCALE_MAX).astype(np.uint8)
    scale = np.repeat(steps * multiplier.astype(np.float64), group_size, axis=1)[:, :k]
    values = np.clip(np.rint(weight / scale), -limit, limit).astype(np.int8)
    return QuantizedWeight(bits, weight_max, values, multiplier[:, 0], group_size, steps)


def auto_weight_max(layer: Dense) -> int:
    """The largest of 127, 80, 64, 48 whose weights certify depth 2 with 7-bit activations."""
    for largest in (127, 80, 64):
        if _core.certified_depth(quantize_weight(layer.weight, 8, largest).values, 127) >= 2:
            return largest
    return 48
