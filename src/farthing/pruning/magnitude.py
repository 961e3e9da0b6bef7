"""Magnitude: the L1 or L2 norm of the weights themselves."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from farthing.model import Model
from farthing.steps import Step

__all__ = ["Magnitude"]


class Magnitude:
    """The size of a weight is its absolute value, as in the article; a unit's is their L1 or L2
    norm (Han, Pool, Tran & Dally 2015, "Learning both weights and connections for efficient neural
    networks")."""

    needs = "nothing"
    order = None
    is_loss = False
    rounds = 1
    updates = 100

    def __init__(self, step: Step | None = None, scheduled: bool = False):
        self._step = step

    def sizes(self, model: Model) -> list[np.ndarray]:
        return self._in_units([np.abs(layer.weight) for layer in model.layers])

    def _in_units(self, sizes: list[np.ndarray]) -> list[np.ndarray]:
        """The last layer's weights are in the target's units: of a Regressor they count in parts of
        its deviation, where there are rows to know it by."""
        unit = 1.0 if self._step is None else self._step.unit
        return [*sizes[:-1], sizes[-1] / np.float32(unit)]

    def together(self, model: Model, groups: dict[int, np.ndarray]) -> list[np.ndarray] | None:
        return None

    def begin(self, model: Model) -> None:
        pass

    def settle(self, model: Model, exclude: Collection[str] = ()) -> None:
        pass
