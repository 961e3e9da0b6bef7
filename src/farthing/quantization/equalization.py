"""Cross-layer equalisation: neurons of a like range, by a change that leaves all answers."""

from __future__ import annotations

import numpy as np

from farthing.model import Model

__all__ = ["equalize"]

PASSES = 4


def equalize(model: Model) -> None:
    """Scales every ReLU neuron, in place, so that its weights in and out have one range.

    With r the largest absolute weight into a neuron and s that out of it, its weights and bias are
    divided by sqrt(r / s) and those that follow multiplied by it: ReLU passes factors above 0, so
    the network's answers stay (Nagel, van Baalen, Blankevoort & Welling 2019, "Data-free
    quantization through weight equalization and bias correction"). Layers that others add to, or of
    another activation, stay as they are.
    """
    for _ in range(PASSES):
        for layer, following in zip(model.layers[:-1], model.layers[1:], strict=True):
            if layer.activation != "relu" or layer.residual or following.residual:
                continue
            into = np.abs(layer.weight).max(axis=1).astype(np.float64)
            out_of = np.abs(following.weight).max(axis=0).astype(np.float64)
            used = (into > 0) & (out_of > 0)
            factor = np.sqrt(np.where(used, into, 1) / np.where(used, out_of, 1))
            layer.weight[:] = layer.weight / factor[:, None]
            layer.bias[:] = layer.bias / factor
            following.weight[:] = following.weight * factor
            if layer.bound is not None:
                layer.bound = (layer.bound / factor).astype(layer.bound.dtype)
