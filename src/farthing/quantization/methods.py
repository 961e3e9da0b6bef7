"""The ways to choose integer weights after training, by their names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.layers import Dense, QuantizedWeight
from farthing.quantization.adaround import adaround
from farthing.quantization.formats import WeightFormat
from farthing.quantization.gptq import gptq
from farthing.quantization.rtn import nearest

__all__ = ["METHODS", "Solver"]

# From a layer, its format, its inputs (rows, k) and the weights of the rows to integers and a bias.
Solver = Callable[[Dense, WeightFormat, np.ndarray, np.ndarray], tuple[QuantizedWeight, np.ndarray]]


def rtn(layer: Dense, form: WeightFormat, x: np.ndarray, weight: np.ndarray):
    """To nearest, and the bias as it is."""
    return nearest(layer.weight, form), layer.bias


METHODS: dict[str, Solver] = {"rtn": rtn, "gptq": gptq, "adaround": adaround}
