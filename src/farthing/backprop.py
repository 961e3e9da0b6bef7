"""The gradients of a minibatch's loss by all parameters, and of each row by what a layer sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.layers import Dense, Scratch
from farthing.losses import Loss

__all__ = ["gradients", "signals"]

# Dropout is decided by 16 random bits a unit.
_DRAWS = 1 << 16


def _keep(shape: tuple[int, int], dropout: float, rng: np.random.Generator, out: np.ndarray):
    """Fills ``out`` with 0 for dropped units, else with one over the share that is kept."""
    threshold = min(round(dropout * _DRAWS), _DRAWS - 1)
    size = shape[0] * shape[1]
    raw = rng.bit_generator.random_raw(-(-size // 4))
    drawn = raw.view(np.uint16)[:size].reshape(shape)
    return np.multiply(drawn >= threshold, out.dtype.type(_DRAWS / (_DRAWS - threshold)), out=out)


def gradients(
    layers: list[Dense],
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    loss: Loss,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
    *,
    whole_units: bool = False,
    input_columns: np.ndarray | None = None,
    scratch: list[Scratch] | None = None,
    out: list[dict[str, np.ndarray]] | None = None,
) -> tuple[float, list[dict[str, np.ndarray]]]:
    """Loss of a minibatch and its gradients by the parameters, one dict a layer.

    x: (rows, k), the encoded rows; target: (rows, outputs); weight: (rows,) or None;
    dropout: the share of hidden activations that is set to 0, drawn from ``rng`` (to 16 bits),
    while the others are scaled up (Srivastava et al., "Dropout", 2014); whole_units: the same
    units in all rows.  input_columns: of ``x``, the gradient by which is the first dict's
    "input" (rows, columns).  scratch, out: one a layer, arrays to work in and to write the
    gradients into.
    """
    last = len(layers) - 1
    scratch = [Scratch() for _ in layers] if scratch is None else scratch
    backwards, kept = [], []
    for i, (layer, own) in enumerate(zip(layers, scratch, strict=True)):
        x, backward = layer.forward(x, training=True, row_weight=weight, scratch=own)
        backwards.append(backward)
        if dropout and i < last:
            shape = (1, x.shape[1]) if whole_units else x.shape
            keep = _keep(shape, dropout, rng, own("keep", shape, x.dtype))
            x *= keep
            kept.append(keep)
    value, dy = loss(x, target, weight)
    result = [{}] * len(layers)
    for i in range(last, -1, -1):
        need_input = input_columns if i == 0 and input_columns is not None else i > 0
        dy, result[i] = backwards[i](dy, need_input, None if out is None else out[i])
        if kept and i > 0:
            dy *= kept[i - 1]
    if input_columns is not None:
        result[0]["input"] = dy
    return value, result


def signals(
    layers: list[Dense], x: np.ndarray, gradient: Callable[[np.ndarray], np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every layer's inputs (rows, k) and, row by row, the gradient by its sums (rows, n).

    x: the encoded rows; gradient: of a row's loss, from the outputs (rows, outputs) of the last
    layer by them.  The product of the two is the row's gradient by the layer's weights.  Views
    and normalisation are left out.

    >>> layer = Dense("dense0", np.array([[2.0]]), np.array([1.0]), "linear")
    >>> [(x, dz)] = signals([layer], np.array([[3.0]]), lambda z: z)
    >>> x.tolist(), dz.tolist()
    ([[3.0]], [[7.0]])
    """
    inputs, slopes = [], []
    for layer in layers:
        inputs.append(x)
        y, slope = layer.activate(x @ layer.weight.T + layer.bias, training=True)
        slopes.append(slope)
        x = y + x if layer.residual else y
    dy = gradient(x)
    found = []
    for layer, x, slope in zip(layers[::-1], inputs[::-1], slopes[::-1], strict=True):
        dz = dy if slope is None else dy * slope
        found.append((x, dz))
        dy = dz @ layer.weight + dy if layer.residual else dz @ layer.weight
    return found[::-1]
