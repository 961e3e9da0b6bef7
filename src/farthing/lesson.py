"""What an estimator is given to learn: a table, the rows it learns from, those it is held to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from farthing.losses import Loss
from farthing.model import Model
from farthing.targets import Objective

__all__ = ["HeldOut", "Lesson", "Table", "Tie"]


class Table(NamedTuple):
    """A user's table as `fit` reads it: float32 rows, column names or None, and the kept
    categories of every categorical feature by its index."""

    rows: np.ndarray
    names: tuple[str, ...] | None
    categories: dict[int, list]


class Tie(Protocol):
    """Outputs that a network has beside its own while it is trained, and what they are to meet."""

    def targets(self, target: np.ndarray) -> np.ndarray:
        """The target with the columns of the tie, of the rows that are learnt from."""

    def watched(self, target: np.ndarray) -> np.ndarray:
        """The same of rows that are only watched."""

    def tied(self, model: Model, own: Loss) -> AbstractContextManager[Loss]:
        """The model with those outputs inside, and the loss to train it by."""


class HeldOut(NamedTuple):
    """The search part: float32 rows, the target that training watches, the known target
    that recalibration fits, weights or None, and the recalibration where it is not that of
    the estimator's own objective."""

    rows: np.ndarray
    target: np.ndarray
    known: np.ndarray
    weight: np.ndarray | None
    refit: Callable | None = None


@dataclass(frozen=True)
class Lesson:
    """What a network learns: rows, target and weights or None, by the rules of an objective,
    or a loss in place of its own, with names and categories of the `table`.

    encode_first: how many of the rows, the first ones, choose the encoder's edges, None for
    all; candidates: what from, None for the rows; strata: of every row, or None; solved:
    whether it is solved for rather than trained; tie: what the network is tied to while it is
    trained, or None.
    """

    rows: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    table: Table
    objective: Objective
    loss: Callable | None
    seed: int
    encode_first: int | None
    candidates: dict | None
    strata: np.ndarray | None
    solved: bool
    tie: Tie | None = None

    def joined(self, other: HeldOut, strata: np.ndarray | None) -> Lesson:
        """With the rows of `other` before these."""
        weight = None
        if self.weight is not None or other.weight is not None:
            parts = ((other.weight, other.rows), (self.weight, self.rows))
            weight = np.concatenate([np.ones(len(r)) if w is None else w for w, r in parts])
        known = strata is not None and self.strata is not None
        first = self.encode_first
        return replace(
            self,
            rows=np.concatenate([other.rows, self.rows]),
            target=np.concatenate([other.target, self.target]),
            weight=weight,
            encode_first=None if first is None else first + len(other.rows),
            strata=np.concatenate([strata, self.strata]) if known else None,
        )
