"""How much of a small table each step leaves out: cross-validation decides.

Leaving features out at random (Wager, Wang and Liang 2013, "Dropout training as adaptive
regularization") is worth a lot where the target is mostly noise, and costs as much where it is
not; no rule by the number of rows or columns tells the two apart.
"""

from __future__ import annotations

import copy
import zlib
from dataclasses import replace

import numpy as np

from farthing.lesson import HeldOut, Lesson

__all__ = ["SHARES", "chosen_share"]

# Shares of the features: the first unless the second is better in every fold, since leaving
# none out is the more dangerous mistake where rows are few.
SHARES = (0.3, 0.0)
FOLDS = 3
# Wide layers need not be trained to see which share is better.
WIDEST = 16
# Fewer different rows a fold say nothing.
ROWS_IN_A_FOLD = 10


def chosen_share(learner, lesson: Lesson) -> float:
    """The one of `SHARES` that suits the rows, by the loss on rows left out, for a `Learner`.

    A row's fold is drawn by its content, so that a row of weight 2 and two rows are alike.
    """
    if lesson.rows.shape[1] < 2:
        return 0.0
    fold = _folds(lesson)
    if min(len(set(fold[fold % FOLDS == i].tolist())) for i in range(FOLDS)) < ROWS_IN_A_FOLD:
        return SHARES[0]
    probe = copy.copy(learner)
    probe.hidden = tuple(min(width, WIDEST) for width in learner.hidden)
    probe.callback, probe.patience = None, learner.max_epochs
    for i in range(FOLDS):
        losses = []
        for share in SHARES:
            probe.feature_dropout = share
            losses.append(_loss(probe, lesson, fold % FOLDS == i))
        if not losses[1] < losses[0]:
            return SHARES[0]
    return SHARES[1]


def _folds(lesson: Lesson) -> np.ndarray:
    """A number for every row, of what it holds."""
    # One NaN and one 0 each, whatever container they came from.
    rows = np.where(np.isnan(lesson.rows), np.float32(np.nan), lesson.rows + np.float32(0))
    content = np.column_stack([rows, lesson.target]).astype(np.float64)
    return np.array([zlib.crc32(row.tobytes()) for row in content])


def _loss(probe, lesson: Lesson, out: np.ndarray) -> float:
    """The loss on some rows of a network that has learnt from the others."""
    weight = np.ones(len(out)) if lesson.weight is None else lesson.weight
    learnt = replace(
        lesson,
        rows=lesson.rows[~out],
        target=lesson.target[~out],
        weight=None if lesson.weight is None else weight[~out],
        strata=None if lesson.strata is None else lesson.strata[~out],
    )
    held_out = HeldOut(lesson.rows[out], lesson.target[out], lesson.target[out], weight[out])
    _, history = probe._learn(learnt, held_out, None)
    if history.interrupted:
        raise KeyboardInterrupt
    return history.validation_loss[-1]
