"""LSQ: the steps of the grids of weights and activations are trained with the weights."""

from __future__ import annotations

import numpy as np

from farthing.grids import Grid
from farthing.layers import Dense, QuantizedWeight
from farthing.quantization.formats import WeightFormat
from farthing.quantization.rtn import largest_weight, nearest

__all__ = ["LearnedGrid", "LearnedSteps"]

# Of the logarithms of the steps, beside the learning rate of the weights: of a row of weights, and
# of a layer's values, which hear of every row of the data.
ROW_RATE, LAYER_RATE = 10.0, 3.0


class _Adam:
    """Steps > 0 in an array of any shape, whose logarithms Adam moves, so that the scale of their
    gradients does not count.

    rate: the weights' learning rate of the coming step; factor: of it.
    """

    factor: float

    def __init__(self, step: np.ndarray):
        self.step = step.copy()
        self.rate = 0.0
        self._mean = np.zeros_like(self.step)
        self._square = np.zeros_like(self.step)
        self._count = 0

    def move(self, gradient: np.ndarray) -> None:
        """By the gradient by the steps."""
        slope = gradient * self.step
        self._count += 1
        self._mean += 0.1 * (slope - self._mean)
        self._square += 0.001 * (slope * slope - self._square)
        root = np.sqrt(self._square / (1 - 0.999**self._count)) + 1e-12
        self.step *= np.exp(-self.factor * self.rate * self._mean / (1 - 0.9**self._count) / root)

    def snapshot(self) -> np.ndarray:
        return self.step.copy()

    def restore(self, state: np.ndarray) -> None:
        self.step[:] = state


class LearnedSteps(_Adam):
    """Weight view of a layer in training: the values of a grid whose steps are learnt (Esser,
    McKinstry, Bablani, Appuswamy & Modha 2020, "Learned step size quantization").

    The gradient by a step s is the sum over its row of the gradient by the rounded weight times
    round(w/s) - w/s, or the limit where it clips; it goes, by Adam, into the logarithm of s, which
    keeps it above 0.
    """

    factor = ROW_RATE

    def __init__(self, layer: Dense, form: WeightFormat):
        self.form = form
        self.limit = largest_weight(form.bits, form.weight_max)
        super().__init__(nearest(layer.weight, form).scale[:, None])
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
        self.move((gradient * of_step).sum(axis=1, keepdims=True))
        return gradient * inside

    def packed(self, weight: np.ndarray) -> QuantizedWeight:
        """The integers that training ended on."""
        values = np.clip(np.rint(weight / self.step), -self.limit, self.limit).astype(np.int8)
        form = self.form
        return QuantizedWeight(
            form.bits, form.weight_max, values, self.step[:, 0].astype(np.float32)
        )


class LearnedGrid(_Adam):
    """A view of a layer's values in training: those of a grid that begins where it did, and whose
    step is learnt, as in `LearnedSteps`."""

    factor = LAYER_RATE

    def __init__(self, grid: Grid, amax: int):
        super().__init__(np.array([grid.scale]))
        self.offset, self.amax = grid.offset, amax
        self._values: np.ndarray | None = None

    @property
    def grid(self) -> Grid:
        return Grid(float(self.step[0]), self.offset)

    @property
    def lower(self) -> float:
        return self.offset

    @property
    def limit(self) -> float:
        return self.offset + float(self.step[0]) * self.amax

    def __call__(self, values: np.ndarray) -> np.ndarray:
        self._values = values
        return self.grid.rounded(values, self.amax)

    def learn(self, gradient: np.ndarray) -> None:
        """Moves the step by the gradient by the last values shown."""
        scaled = (self._values - self.offset) / self.step[0]
        off = np.clip(np.rint(scaled), 0, self.amax)
        off -= np.where((scaled >= 0) & (scaled <= self.amax), scaled, 0)
        self.move(np.array([float(np.vdot(gradient, off))]))
