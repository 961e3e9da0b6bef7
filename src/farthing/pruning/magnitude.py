"""Magnitude: the L1 or L2 norm of the weights themselves."""

from __future__ import annotations

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

    def __init__(self, step: Step | None = None, scheduled: bool = False):
        pass

    def sizes(self, model: Model) -> list[np.ndarray]:
        return [np.abs(layer.weight) for layer in model.layers]

    def settle(self, model: Model) -> None:
        pass
