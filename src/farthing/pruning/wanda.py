"""Wanda: the size of a weight times that of what it multiplies."""

from __future__ import annotations

import numpy as np

from farthing.model import Model
from farthing.probe import Sample
from farthing.pruning.magnitude import Magnitude
from farthing.steps import Step

__all__ = ["Wanda"]


class Wanda(Magnitude):
    """|w| times the root mean square of its input over the rows (Sun, Liu, Bair & Kolter 2024,
    "A simple and effective pruning approach for large language models").

    There the weights of one output compete; here those of a layer or of all of them do, as
    ``scope`` says.
    """

    needs = "rows"

    def __init__(self, step: Step, scheduled: bool = False):
        super().__init__(step)
        self._sample = Sample(step)

    def sizes(self, model: Model) -> list[np.ndarray]:
        found = []
        for layer, x in zip(model.layers, self._sample.inputs(model), strict=True):
            energy = np.average(np.square(x, dtype=np.float64), axis=0, weights=self._sample.share)
            found.append((np.abs(layer.weight) * np.sqrt(energy)).astype(np.float32))
        return self._in_units(found)
