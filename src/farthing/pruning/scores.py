"""What a weight is worth: the scores of importance by their names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np

from farthing._validate import FarthingError
from farthing.model import Model
from farthing.pruning.baseline import Random
from farthing.pruning.fisher import Fisher
from farthing.pruning.magnitude import Magnitude
from farthing.pruning.obs import OBS
from farthing.pruning.taylor import Taylor
from farthing.pruning.wanda import Wanda
from farthing.steps import Step

__all__ = ["METHODS", "Score", "score_of"]


class Score(Protocol):
    """How important the weights of a model are.

    needs: "nothing", "rows" or "labels"; order: how the sizes of a unit's weights add up, 1 or 2
    as in an L1 or L2 norm, None where the caller may choose; is_loss: whether sizes of different
    layers mean the same, an increase of the loss or its square root; rounds: in so many parts
    units go that go at once; updates: in about so many on a schedule.
    """

    needs: str
    order: int | None
    is_loss: bool
    rounds: int
    updates: int

    def sizes(self, model: Model) -> list[np.ndarray]:
        """An array like each layer's weight, >= 0."""

    def together(self, model: Model, groups: dict[int, np.ndarray]) -> list[np.ndarray] | None:
        """What every output of some layers loses without all inputs of a group, squared, an array
        (n, groups) for each; groups: by the layer's index an int (k,), of every input. None where
        weights that go together are worth their norm.
        """

    def begin(self, model: Model) -> None:
        """Before units are scored and go."""

    def settle(self, model: Model, exclude: Collection[str] = ()) -> None:
        """Updates what stays, in place, after units went, but for the layers of `exclude`."""


METHODS: dict[str, type] = {
    "magnitude": Magnitude,
    "random": Random,
    "taylor": Taylor,
    "fisher": Fisher,
    "wanda": Wanda,
    "obs": OBS,
}


def score_of(method: str, step: Step, scheduled: bool) -> Score:
    """The score `method` for a step; raises ValueError where it lacks the rows or labels it needs.

    scheduled: training follows, which does what `settle` would.
    """
    kind = METHODS[method]
    if kind.needs != "nothing" and step.fit is None:
        raise FarthingError(f"X must be given: method={method!r} needs rows, got None")
    if kind.needs == "labels" and step.fit.known is None:
        raise FarthingError(f"y must be given: method={method!r} needs labels, got None")
    return kind(step, scheduled)
