"""AdaRound: learn for every weight whether to round it up or down."""

from __future__ import annotations

import numpy as np

from farthing.layers import Dense, QuantizedWeight
from farthing.quantization.formats import WeightFormat
from farthing.quantization.rtn import integer_bounds, nearest, steps_of

__all__ = ["adaround"]

STEPS = 600
RATE = 0.02
# How strongly a weight is pushed to either side, beside the error in squared steps; at first only
# where it nearly is there.
PUSH = 0.5
SHARPNESS = (20.0, 2.0)
# The sigmoid is stretched to this range and cut to [0, 1], so that it gets to both ends.
STRETCH = (-0.1, 1.1)


def adaround(
    layer: Dense, form: WeightFormat, x: np.ndarray, weight: np.ndarray
) -> tuple[QuantizedWeight, np.ndarray]:
    """Integer weights whose sums on inputs ``x`` (rows, k) differ least from the layer's.

    weight: (rows,), of the rows, adding up to 1. Between its two neighbours on the grid a weight is
    placed by a variable, which gradients of the squared error of the sums and a growing push to
    either side decide (Nagel, Amjad, van Baalen, Louizos & Blankevoort 2020, "Up or down? Adaptive
    rounding for post-training quantization"). The error is taken whole, through the second moments
    of the inputs, but for its mean, which goes into the bias (n,). Zeros and signs stay.
    """
    packed = nearest(layer.weight, form)
    step = steps_of(packed)
    low, high = integer_bounds(layer, form)
    centre = weight @ x
    centred = x - centre
    moments = (centred.T @ (weight[:, None] * centred)).astype(np.float32)
    moments /= np.trace(moments) / len(moments) or 1.0
    scaled = np.clip(layer.weight / step, low, high)
    below = np.minimum(np.floor(scaled), high)
    rest = (scaled - below).astype(np.float32)
    relative = (step / step.mean(axis=1, keepdims=True)).astype(np.float32)
    free = (below + 1 <= high) & (high > low)
    bottom, top = STRETCH
    share = np.clip(rest, 0.01, 0.99)
    variable = np.log((share - bottom) / (top - share)).astype(np.float32)
    mean, square = np.zeros_like(variable), np.zeros_like(variable)
    for i in range(STEPS):
        sigmoid = 1 / (1 + np.exp(-variable))
        soft = bottom + (top - bottom) * sigmoid
        inside = (soft > 0) & (soft < 1) & free
        soft = np.clip(soft, 0, 1) * free
        slope = (((soft - rest) * relative) @ moments) * relative * 2
        cosine = 0.5 * (1 + np.cos(np.pi * i / STEPS))
        power = SHARPNESS[1] + (SHARPNESS[0] - SHARPNESS[1]) * cosine
        off = 2 * soft - 1
        slope -= 2 * PUSH * power * np.sign(off) * np.abs(off) ** (power - 1)
        slope *= inside * (top - bottom) * sigmoid * (1 - sigmoid)
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope * slope - square)
        rate = RATE * np.sqrt(1 - 0.999 ** (i + 1)) / (1 - 0.9 ** (i + 1))
        variable -= rate * mean / (np.sqrt(square) + 1e-8)
    up = (bottom + (top - bottom) / (1 + np.exp(-variable)) >= 0.5) & free
    packed = packed.with_values(np.clip(below + up, low, high))
    return packed, layer.bias + (layer.weight - packed.dequantize()).astype(np.float64) @ centre
