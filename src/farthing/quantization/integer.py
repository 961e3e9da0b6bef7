"""Integer training: weights that are integers all the time and move by whole steps."""

from __future__ import annotations

import numpy as np

from farthing.layers import Dense, QuantizedWeight
from farthing.quantization.affine import ROUNDINGS
from farthing.quantization.formats import WeightFormat
from farthing.quantization.rtn import largest_weight, nearest

__all__ = ["IntegerWeights"]

# Steps of the int8 weights to one of their 4-bit view: 7 of those are 126.
FINE = 18
# Steps within which a weight is where it was.
STILL = 1e-4


class IntegerWeights:
    """The int8 weights of a layer, and its weight view in training: theirs at 8 bits, at 4 bits
    the nearest multiples of `FINE` of them.

    `land`, after every update, puts the weights that it has moved back onto integers: up or down by
    chance, so that updates smaller than a step are right in the mean (Gupta, Agrawal,
    Gopalakrishnan & Narayanan 2015, "Deep learning with limited numerical precision"). No float
    copy of the weights is kept from one update to the next. With rounding to nearest most updates
    are lost: that is there to compare. Steps are those of rounding to nearest before training.
    """

    def __init__(self, layer: Dense, form: WeightFormat, rounding: str, rng: np.random.Generator):
        self.form, self._round, self._rng = form, ROUNDINGS[rounding], rng
        self._limit = largest_weight(form.bits, form.weight_max)
        self._fine = FINE if form.bits == 4 else 1
        packed = nearest(layer.weight, form)
        self._scale = packed.scale
        self._step = (packed.scale / np.float32(self._fine))[:, None]
        self.land(layer)

    def land(self, layer: Dense) -> None:
        """Rounds the weights of `layer`, in place; zeros and signs stay."""
        most = self._limit * self._fine
        scaled = layer.weight / self._step
        whole = np.rint(scaled)
        # What has not moved may be a rounding error below its integer.
        scaled = np.where(np.abs(scaled - whole) < STILL, whole, scaled)
        integers = self._round(scaled, self._rng)
        layer.weight[:] = np.clip(integers, -most, most) * self._step
        layer.project()

    def _coarse(self, weight: np.ndarray) -> np.ndarray:
        values = np.rint(weight / (self._step * np.float32(self._fine)))
        return np.clip(values, -self._limit, self._limit)

    def __call__(self, weight: np.ndarray, training: bool) -> np.ndarray:
        return self._coarse(weight) * self._scale[:, None]

    def packed(self, weight: np.ndarray) -> QuantizedWeight:
        """The integers that the view shows."""
        values = self._coarse(weight).astype(np.int8)
        return QuantizedWeight(self.form.bits, self.form.weight_max, values, self._scale)
