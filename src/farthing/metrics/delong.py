"""Variance of one AUC and of the difference of two on the same rows, without resampling.

DeLong, DeLong and Clarke-Pearson (1988), "Comparing the areas under two or more correlated
receiver operating characteristic curves: a nonparametric approach", Biometrics 44:837-845,
in the O(n log n) form by mid-ranks of Sun and Xu (2014), "Fast implementation of DeLong's
algorithm", IEEE Signal Processing Letters 21:1389-1393.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from farthing.metrics._rows import as_columns, as_events, check_both_classes
from farthing.metrics.comparison import (
    Z_ONE_SIDED,
    Z_TWO_SIDED,
    PairedDifference,
    error_rate_bound,
)


@dataclass(frozen=True)
class AucEstimate:
    """An AUC with its uncertainty.

    auc: in [0, 1]. variance, standard_error: DeLong's. interval: two-sided 95 %, kept within
    [0, 1]. rows, positives: how many rows, and how many with y = 1. note: what is unusual,
    "" if nothing is.
    """

    auc: float
    variance: float
    interval: tuple[float, float]
    rows: int
    positives: int
    note: str = ""

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.variance)

    def __str__(self) -> str:
        return f"AUC {self.auc:.4f}, 95 % interval {self.interval[0]:.4f} to {self.interval[1]:.4f}"


@dataclass(frozen=True)
class _Wins:
    """For every event the number of non-events it beats, and the reverse; ties count half.

    The structural components of the paper times the size of the other class: whole and half
    numbers, hence exact. Differences of two scores' wins are wins of the same form.
    """

    events: np.ndarray
    others: np.ndarray

    def __sub__(self, other: _Wins) -> _Wins:
        return _Wins(self.events - other.events, self.others - other.others)

    def area(self) -> float:
        return float(self.events.sum() / (len(self.events) * len(self.others)))

    def variance(self) -> float:
        """Infinite where a class has a single row, exactly 0 where all components are equal."""
        m, n = len(self.events), len(self.others)
        if min(m, n) < 2:
            return math.inf
        return float(
            np.var(self.events / n, ddof=1) / m * (np.ptp(self.events) > 0)
            + np.var(self.others / m, ddof=1) / n * (np.ptp(self.others) > 0)
        )


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(size) - (size - 1) / 2)[group]


def _wins(event: np.ndarray, score: np.ndarray) -> _Wins:
    rank = _midranks(score)
    lost = rank[~event] - _midranks(score[~event])
    return _Wins(rank[event] - _midranks(score[event]), event.sum() - lost)


def delong(y: ArrayLike, score: ArrayLike) -> AucEstimate:
    """AUC with DeLong's variance and 95 % interval.

    y: (n,) of 0 and 1; score: (n,), larger means likelier. Raises ValueError for one class
    only, NaN or unequal lengths.

    A class of one row has no variance (infinite, interval 0 to 1). A score that separates the
    classes perfectly, or the wrong way round, has variance 0; its interval then comes from the
    exact binomial bound for as many independent pairs as the smaller class has rows.

    Source: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845; algorithm of Sun
    and Xu (2014), IEEE Signal Processing Letters 21:1389-1393.

    >>> result = delong([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.9])
    >>> round(result.auc, 4), round(result.standard_error, 4)
    (0.8889, 0.1571)
    """
    y, score = as_columns(y=y, score=score)
    event = as_events(y)
    check_both_classes(event)
    wins = _wins(event, score)
    area, variance = wins.area(), wins.variance()
    width, note = Z_TWO_SIDED * math.sqrt(variance), ""
    if math.isinf(variance):
        note = "a class has one row only, which leaves the variance unknown"
    elif variance == 0 and area in (0, 1):
        width = error_rate_bound(min(len(wins.events), len(wins.others)), 0.975)
        note = "the classes are separated on every row; the interval is the exact binomial bound"
    interval = (max(area - width, 0.0), min(area + width, 1.0))
    return AucEstimate(area, variance, interval, len(y), int(event.sum()), note)


def delong_paired(y: ArrayLike, score_a: ArrayLike, score_b: ArrayLike) -> PairedDifference:
    """AUC of score_a minus AUC of score_b on the same rows, with DeLong's standard error.

    y: (n,) of 0 and 1; score_a, score_b: (n,), larger means likelier. Raises ValueError for
    one class only, NaN or unequal lengths.

    The standard error is 0, and the bounds equal the difference, when both scores order every
    pair of an event and a non-event alike. Unless the scores are the same in every row, that
    proves nothing when both separate the classes perfectly: the bounds then come from the exact
    binomial bound for as many independent pairs as the smaller class has rows. A class of one
    row has no variance: the bounds are then infinite. `note` says which case it was.

    Source: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845; algorithm of Sun
    and Xu (2014), IEEE Signal Processing Letters 21:1389-1393.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = rng.random(2000) < 0.2
    >>> good = y + rng.normal(0, 1, 2000)
    >>> result = delong_paired(y, good + rng.normal(0, 0.3, 2000), good)
    >>> result.difference < 0, bool(result.lower < result.difference < result.upper)
    (True, True)
    """
    y, score_a, score_b = as_columns(y=y, score_a=score_a, score_b=score_b)
    event = as_events(y)
    check_both_classes(event)
    wins_a, wins_b = _wins(event, score_a), _wins(event, score_b)
    gap = wins_a - wins_b
    difference, error = gap.area(), math.sqrt(gap.variance())
    one_sided, two_sided, note = Z_ONE_SIDED * error, Z_TWO_SIDED * error, ""
    pairs = min(len(gap.events), len(gap.others))
    if math.isinf(error):
        note = "a class has one row only, which leaves the standard error unknown"
    elif np.array_equal(score_a, score_b):
        note = "the scores are equal in every row"
    elif error == 0 and wins_a.area() in (0, 1):
        one_sided, two_sided = error_rate_bound(pairs), error_rate_bound(pairs, 0.975)
        note = "the classes are separated on every row; the bounds are the exact binomial ones"
    elif error == 0:
        note = "the scores order every pair of an event and a non-event alike"
    return PairedDifference(
        metric="auc",
        value_a=wins_a.area(),
        value_b=wins_b.area(),
        difference=difference,
        standard_error=error,
        lower=difference - one_sided,
        upper=difference + one_sided,
        interval=(difference - two_sided, difference + two_sided),
        method="DeLong",
        rows=len(y),
        positives=int(event.sum()),
        note=note,
    )
