"""GPTQ: round column after column, and let those that follow make up for the error."""

from __future__ import annotations

import numpy as np

from farthing.layers import Dense, QuantizedWeight
from farthing.moments import second_moments
from farthing.quantization.formats import WeightFormat
from farthing.quantization.rtn import integer_bounds, nearest, steps_of

__all__ = ["gptq"]


def gptq(
    layer: Dense, form: WeightFormat, x: np.ndarray, weight: np.ndarray
) -> tuple[QuantizedWeight, np.ndarray]:
    """Integer weights and the bias (n,) that repeat the layer's sums on inputs ``x`` (rows, k).

    weight: (rows,), of the rows, adding up to 1. Scales are those of rounding to nearest. In the
    order of falling second moments each column is rounded, and the error goes into the columns
    left by the exact inverse of their second moments, last of all into the bias (Frantar, Ashkboos,
    Hoefler & Alistarh 2023, "GPTQ: Accurate post-training quantization for generative pre-trained
    transformers"; whole, not in blocks, as layers of this size allow). Zeros that are masked and
    the signs of a monotone layer stay.
    """
    packed = nearest(layer.weight, form)
    step = steps_of(packed)
    low, high = integer_bounds(layer, form)
    k = layer.n_inputs
    moments = second_moments(x, weight).matrix
    order = np.append(np.argsort(-np.diagonal(moments)[:k], kind="stable"), k)
    inverse = np.linalg.inv(moments[np.ix_(order, order)])
    upper = np.linalg.cholesky(inverse).T
    left = np.column_stack([layer.weight, layer.bias]).astype(np.float64)[:, order]
    values = np.zeros(layer.weight.shape)
    for i, column in enumerate(order[:-1]):
        own = np.clip(np.rint(left[:, i] / step[:, column]), low[:, column], high[:, column])
        values[:, column] = own
        error = (left[:, i] - own * step[:, column]) / upper[i, i]
        left[:, i + 1 :] -= np.outer(error, upper[i, i + 1 :])
    return packed.with_values(values), left[:, -1]
