"""LSQ: the step of every row's grid is trained with its weights."""

from __future__ import annotations

import numpy as np

from farthing.layers import Dense, QuantizedWeight
from farthing.quantization.formats import WeightFormat
from farthing.quantization.rtn import largest_weight, nearest

__all__ = ["LearnedSteps"]

# Of the logarithms of the steps, beside the learning rate of the weights.
RATE = 10.0


class LearnedSteps:
    """Weight view of a layer in training: the values of a grid whose steps are learnt (Esser,
    McKinstry, Bablani, Appuswamy & Modha 2020, "Learned step size quantization").

    The gradient by a step s is the sum over its row of the gradient by the rounded weight times
    round(w/s) - w/s, or the limit where it clips; it is scaled as there and goes, by Adam, into the
    logarithm of s, which keeps it above 0. rate: the weights' learning rate of the coming step.
    """

    def __init__(self, layer: Dense, form: WeightFormat):
        self.form = form
        self.limit = largest_weight(form.bits, form.weight_max)
        self.step = nearest(layer.weight, form).scale[:, None].copy()
        self.rate = 0.0
        self._mean = np.zeros_like(self.step)
        self._square = np.zeros_like(self.step)
        self._count = 0
        self._scaled: np.ndarray | None = None

    def __call__(self, weight: np.ndarray, training: bool) -> np.ndarray:
        scaled = weight / self.step
        if training:
            self._scaled = scaled
        return np.clip(np.rint(scaled), -self.limit, self.limit) * self.step

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        """The gradient by the weights from that by their view; learns the steps on the way."""
        scaled = self._scaled
        inside = np.abs(scaled) <= self.limit
        of_step = np.where(inside, np.rint(scaled) - scaled, np.sign(scaled) * self.limit)
        slope = (gradient * of_step).sum(axis=1, keepdims=True) * self.step
        slope /= np.sqrt(gradient.shape[1] * self.limit)
        self._count += 1
        self._mean += 0.1 * (slope - self._mean)
        self._square += 0.001 * (slope * slope - self._square)
        root = np.sqrt(self._square / (1 - 0.999**self._count)) + 1e-12
        self.step *= np.exp(-RATE * self.rate * self._mean / (1 - 0.9**self._count) / root)
        return gradient * inside

    def snapshot(self) -> np.ndarray:
        return self.step.copy()

    def restore(self, state: np.ndarray) -> None:
        self.step[:] = state

    def packed(self, weight: np.ndarray) -> QuantizedWeight:
        """The integers that training ended on."""
        values = np.clip(np.rint(weight / self.step), -self.limit, self.limit).astype(np.int8)
        form = self.form
        return QuantizedWeight(
            form.bits, form.weight_max, values, self.step[:, 0].astype(np.float32)
        )
