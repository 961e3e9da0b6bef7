"""Rows of a step that methods look through, and what runs through a model's layers on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.backprop import signals
from farthing.model import Model
from farthing.steps import Step

__all__ = ["Sample"]

ROWS = 4096


class Sample:
    """At most so many rows of a step's fit part, drawn by its seed, in random order.

    index: where they are in it; rows: raw; share: (n,), how much each counts, adding up to 1.
    """

    def __init__(self, step: Step, rows: int = ROWS):
        fit = step.fit
        self.index = np.random.default_rng(step.seed).permutation(len(fit.rows))[:rows]
        self.rows = fit.rows[self.index]
        weight = np.ones(len(self.index)) if fit.weight is None else fit.weight[self.index]
        self.share = weight / weight.sum()

    def _expanded(self, model: Model) -> np.ndarray:
        encoder = model.encoder
        return encoder.expand(encoder.positions(self.rows, model.input_amax))

    def inputs(self, model: Model) -> list[np.ndarray]:
        """What every layer is given, (rows, k)."""
        found = [self._expanded(model)]
        for layer in model.layers[:-1]:
            found.append(layer.forward(found[-1])[0])
        return found

    def signals(self, model: Model, gradient: Callable) -> list[tuple[np.ndarray, np.ndarray]]:
        """`farthing.backprop.signals` of these rows."""
        return signals(model.layers, self._expanded(model), gradient)
