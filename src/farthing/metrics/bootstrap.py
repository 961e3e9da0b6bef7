"""The paired bootstrap: rows, weighted rows or whole groups are drawn, both scores alike."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike

from farthing._validate import FarthingError, check_integer
from farthing.metrics._rows import as_columns, as_weight, check_both_classes
from farthing.metrics.catalogue import MetricFunction, find_metric
from farthing.metrics.comparison import PairedDifference

# Sums of weights in another order differ by less than this share of the result.
_ROUNDING = 1e-12
_TAILS = (0.025, 0.05, 0.95, 0.975)


def paired_bootstrap(
    y: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    metric: str | MetricFunction = "auc",
    *,
    n_resamples: int = 2000,
    stratified: bool = True,
    groups: Sequence[Hashable] | np.ndarray | None = None,
    sample_weight: ArrayLike | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> PairedDifference:
    """How much better score_a is than score_b by any metric, with percentile bounds.

    y: (n,) of 0 and 1, or real values for "mse", "rmse", "mae"; score_a, score_b: (n,), of
    the kind the metric takes (larger = likelier, probabilities, or predicted values).
    metric: "auc", "gini", "average_precision", "ks", "log_loss", "brier", "mse", "rmse",
    "mae", or a function of (y, score, row weights) whose larger value is better.
    n_resamples: at least 100. stratified: keep the number of rows of each class in every
    resample; with groups, the number of groups that hold events only, others only, or both.
    groups: (n,), equal values are one customer; whole groups are drawn. sample_weight: (n,)
    >= 0; rows are drawn with equal chance and carry their weight with them.
    random_state: seed of the draws; the same seed gives the same result.

    Raises ValueError for one class only, NaN, unequal lengths, or scores of the wrong kind.
    A difference that is the same in every resample has standard error 0, and `note` says so;
    where both scores separate the classes perfectly this proves nothing, and the bounds of a
    metric of order are infinite.

    Source: Efron and Tibshirani (1993), "An introduction to the bootstrap", chapter 13
    (percentile interval); Davison and Hinkley (1997), "Bootstrap methods and their
    application", section 3.8 (clusters: the upper level is drawn with replacement).

    >>> y = [0, 0, 1, 1, 0, 1, 0, 1] * 20
    >>> p = [0.2, 0.4, 0.6, 0.9, 0.3, 0.7, 0.1, 0.8] * 20
    >>> result = paired_bootstrap(y, [0.5] * 160, p, metric="brier")
    >>> round(result.difference, 4), result.lower < result.difference < result.upper
    (-0.175, True)
    """
    check_integer(100, n_resamples=n_resamples)
    rule = find_metric(metric)
    y, score_a, score_b = as_columns(y=y, score_a=score_a, score_b=score_b)
    rule.check(score_a=score_a, score_b=score_b)
    weight = as_weight(sample_weight, len(y))
    event = rule.events(y)
    if event is not None:
        check_both_classes(event, weight)
    unit = None if groups is None else group_codes(groups, len(y))
    if weight is None:
        weight = np.ones(len(y))
    elif not weight.all():  # a row of weight 0 is no data: it must not be drawn in place of one
        kept = weight > 0
        y, score_a, score_b, weight = y[kept], score_a[kept], score_b[kept], weight[kept]
        event = None if event is None else event[kept]
        unit = None if unit is None else group_codes(unit[kept], len(y))

    of_a, of_b = rule.prepare(y, score_a), rule.prepare(y, score_b)
    value_a, value_b = of_a(weight), of_b(weight)
    strata = _strata(event if stratified else None, unit, len(y))
    draws = _draw_weights(strata, unit, weight, event, np.random.default_rng(random_state))
    gaps = np.empty(n_resamples)
    for i, drawn in enumerate(islice(draws, n_resamples)):
        gaps[i] = rule.sign * (of_a(drawn) - of_b(drawn))
    if not np.isfinite(gaps).all():
        raise FarthingError(f"metric must give finite values, got others from {rule.name}")
    low, lower, upper, high = (float(bound) for bound in np.quantile(gaps, _TAILS))
    rounding = _ROUNDING * max(abs(value_a), abs(value_b))
    error, note = float(gaps.std(ddof=1)) if np.ptp(gaps) > rounding else 0.0, ""
    if np.array_equal(score_a, score_b):
        note = "the scores are equal in every row"
    elif error == 0 and rule.scores == "order" and min(value_a, value_b) > 1 - _ROUNDING:
        low, lower, upper, high = -math.inf, -math.inf, math.inf, math.inf
        note = "the classes are separated on every row, so no resample can show a difference"
    elif error == 0:
        note = "the difference is the same in every resample"
    return PairedDifference(
        metric=rule.name,
        value_a=value_a,
        value_b=value_b,
        difference=rule.sign * (value_a - value_b),
        standard_error=error,
        lower=lower,
        upper=upper,
        interval=(low, high),
        method=_method(n_resamples, len(strata) > 1, unit is not None, sample_weight is not None),
        rows=len(y),
        positives=None if event is None else int(event.sum()),
        note=note,
    )


def _method(n_resamples: int, stratified: bool, clustered: bool, weighted: bool) -> str:
    kinds = [("stratified", stratified), ("cluster", clustered), ("weighted", weighted)]
    return " ".join(
        [*(word for word, used in kinds if used), f"paired bootstrap, {n_resamples} resamples"]
    )


def group_codes(groups: Sequence[Hashable] | np.ndarray, rows: int) -> np.ndarray:
    """A number from 0 for the group of every row, (rows,).

    >>> group_codes(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    values = np.asarray(groups)
    if values.shape != (rows,):
        raise FarthingError(
            f"groups must have one value a row, got shape {values.shape} for {rows} rows"
        )
    if values.dtype.kind == "f" and np.isnan(values).any():
        row = int(np.isnan(values).argmax())
        raise FarthingError(f"groups must not contain NaN, got one in row {row}")
    try:
        return np.unique(values, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(f"groups must hold values of one sortable kind ({error})") from None


def _strata(event: np.ndarray | None, unit: np.ndarray | None, rows: int) -> list[np.ndarray]:
    """Numbers of the rows, or groups, that are drawn among each other."""
    count = rows if unit is None else int(unit.max()) + 1
    if event is None:
        return [np.arange(count)]
    unit = np.arange(rows) if unit is None else unit
    kind = np.zeros(count, np.int8)
    kind[unit[event]] |= 1
    kind[unit[~event]] |= 2
    return [members for k in (1, 2, 3) if len(members := np.flatnonzero(kind == k))]


def _draw_weights(
    strata: list[np.ndarray],
    unit: np.ndarray | None,
    weight: np.ndarray,
    event: np.ndarray | None,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Endless resamples, each as row weights: how often the row was drawn times its own.

    A resample without one of the classes has no value and is drawn again, which only happens
    where the strata do not keep both.
    """
    times = np.zeros(sum(map(len, strata)), np.intp)
    while True:
        for members in strata:
            size = len(members)
            times[members] = np.bincount(rng.integers(size, size=size), minlength=size)
        drawn = times if unit is None else times[unit]
        if event is None or (drawn[event].any() and drawn[~event].any()):
            yield drawn * weight
