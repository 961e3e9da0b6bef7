"""Metrics of the order that a score gives the rows: AUC, Gini, average precision, KS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from farthing.metrics._rows import as_columns, as_events, as_weight, check_both_classes


class Ranked:
    """Rows sorted by score once, so that a metric can be taken under many row weights.

    event: bool (n,); score: float64 (n,).
    """

    def __init__(self, event: np.ndarray, score: np.ndarray) -> None:
        self._order = np.argsort(score, kind="stable")
        ranked = score[self._order]
        self._event = event[self._order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])

    def totals(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of the rows with and without the event at each distinct score, ascending."""
        weight = weight[self._order]
        with_event = np.add.reduceat(weight * self._event, self._starts)
        without = np.add.reduceat(weight * ~self._event, self._starts)
        return with_event, without

    def auc(self, weight: np.ndarray) -> float:
        with_event, without = self.totals(weight)
        below = np.cumsum(without) - without / 2
        return float(with_event @ below / (with_event.sum() * without.sum()))

    def gini(self, weight: np.ndarray) -> float:
        return 2 * self.auc(weight) - 1

    def average_precision(self, weight: np.ndarray) -> float:
        with_event, without = (total[::-1] for total in self.totals(weight))
        found = np.cumsum(with_event)
        chosen = found + np.cumsum(without)
        precision = np.divide(found, chosen, out=np.zeros_like(found), where=chosen > 0)
        return float(with_event @ precision / found[-1])

    def ks(self, weight: np.ndarray) -> float:
        shares = (np.cumsum(total) / total.sum() for total in self.totals(weight))
        return float(np.abs(np.subtract(*shares)).max())


def _evaluate(
    metric: Callable[[Ranked, np.ndarray], float],
    y: ArrayLike,
    score: ArrayLike,
    sample_weight: ArrayLike | None,
) -> float:
    y, score = as_columns(y=y, score=score)
    weight = as_weight(sample_weight, len(y))
    event = as_events(y)
    check_both_classes(event, weight)
    return metric(Ranked(event, score), np.ones(len(y)) if weight is None else weight)


def auc(y: ArrayLike, score: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Area under the ROC curve: P(score of an event > score of a non-event), ties count half.

    y: (n,) of 0 and 1; score: (n,), larger means likelier, infinities allowed;
    sample_weight: (n,) >= 0, or None. In [0, 1], 0.5 for a score that says nothing;
    O(n log n). Raises ValueError for one class only, NaN or unequal lengths.

    Source: Hanley and McNeil (1982), Radiology 143:29-36 (AUC as the Mann-Whitney statistic).

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return _evaluate(Ranked.auc, y, score, sample_weight)


def gini(y: ArrayLike, score: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Gini coefficient (accuracy ratio, Somers' D) of a score: 2 AUC - 1, in [-1, 1].

    Arguments and errors as in `auc`.

    >>> gini([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.5
    """
    return _evaluate(Ranked.gini, y, score, sample_weight)


def average_precision(
    y: ArrayLike, score: ArrayLike, sample_weight: ArrayLike | None = None
) -> float:
    """Average precision: the sum of (recall step) x precision over falling thresholds.

    No interpolation; rows of equal score enter together. In (0, 1]; the share of events for
    a score that says nothing. Arguments and errors as in `auc`.

    Source: Davis and Goadrich (2006), ICML, on why the curve is not interpolated linearly.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return _evaluate(Ranked.average_precision, y, score, sample_weight)


def ks(y: ArrayLike, score: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Kolmogorov-Smirnov statistic: the largest distance between the two classes' score
    distributions, in [0, 1].

    Arguments and errors as in `auc`.

    Source: the two-sample statistic of Smirnov (1948), Ann. Math. Statist. 19:279-281.

    >>> ks([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.5
    """
    return _evaluate(Ranked.ks, y, score, sample_weight)
