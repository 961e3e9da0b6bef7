"""Random numbers in place of a score: what every other one has to beat."""

from __future__ import annotations

import numpy as np

from farthing.model import Model
from farthing.pruning.magnitude import Magnitude
from farthing.steps import Step

__all__ = ["Random"]


class Random(Magnitude):
    """Sizes are drawn once from [0, 1) by the step's seed, so that a schedule that raises the
    sparsity drops more of the same order."""

    order = 1

    def __init__(self, step: Step, scheduled: bool = False):
        rng = np.random.default_rng(step.seed)
        shapes = [layer.weight.shape for layer in step.model.layers]
        self._sizes = [rng.random(shape, np.float32) for shape in shapes]

    def sizes(self, model: Model) -> list[np.ndarray]:
        return self._sizes
