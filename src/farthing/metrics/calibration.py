"""Calibration slope and intercept: a logistic regression of the outcome on the logit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from farthing.metrics._rows import (
    as_columns,
    as_events,
    as_weight,
    check_both_classes,
    check_probabilities,
)
from farthing.metrics.pointwise import EDGE

_MAX_STEPS = 100


class Calibration(NamedTuple):
    """``logit P(y = 1) = intercept + slope * logit(p)``; (1, 0) is calibrated on average.

    A slope below 1: probabilities too extreme; an intercept below 0 (at slope 1): too high.
    """

    slope: float
    intercept: float


def calibration(y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None) -> Calibration:
    """Slope and intercept of the maximum-likelihood logistic regression of y on logit(p).

    y: (n,) of 0 and 1, both; p: (n,) probabilities of 1, kept 2**-24 (a float32 score's
    resolution) away from 0 and 1; sample_weight: (n,) >= 0, or None.

    Where no maximum exists the result says so: slope +inf or -inf (intercept NaN) when the
    probabilities separate the classes, both NaN when every p is the same. Raises ValueError
    for p outside [0, 1], one class only, NaN or unequal lengths.

    Source: Cox (1958), Biometrika 45:562-565; fitted by Newton steps, halved where the
    likelihood would fall.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> logit = rng.normal(-1, 1, 100_000)
    >>> y = rng.random(100_000) < 1 / (1 + np.exp(-logit))
    >>> slope, intercept = calibration(y, 1 / (1 + np.exp(-2 * logit)))  # twice too extreme
    >>> round(slope, 1), abs(round(intercept, 1))
    (0.5, 0.0)
    """
    y, p = as_columns(y=y, p=p)
    check_probabilities(p=p)
    weight = as_weight(sample_weight, len(y))
    event = as_events(y)
    check_both_classes(event, weight)
    if weight is not None:
        counted = weight > 0
        event, p, weight = event[counted], p[counted], weight[counted]
    p = np.clip(p, EDGE, 1 - EDGE)
    return _fit(event, np.log(p) - np.log1p(-p), np.ones(len(p)) if weight is None else weight)


def _fit(event: np.ndarray, logit: np.ndarray, weight: np.ndarray) -> Calibration:
    low, high = logit[~event], logit[event]
    if logit.min() == logit.max():
        return Calibration(np.nan, np.nan)
    if low.max() <= high.min():
        return Calibration(np.inf, np.nan)
    if high.max() <= low.min():
        return Calibration(-np.inf, np.nan)
    # Centred and scaled, the two unknowns are nearly uncorrelated and of one magnitude.
    weight = weight / weight.sum()
    centre = weight @ logit
    spread = np.sqrt(weight @ (logit - centre) ** 2)
    slope, level = _maximise(event, (logit - centre) / spread, weight)
    slope = slope / spread
    return Calibration(float(slope), float(level - slope * centre))


def _maximise(event: np.ndarray, x: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Slope and level of the best ``logit P(event) = level + slope * x``; weight sums to 1."""
    design = np.stack([x, np.ones_like(x)])
    share = weight @ event
    unknowns = np.array([0.0, np.log(share / (1 - share))])

    def likelihood(unknowns: np.ndarray) -> float:
        z = unknowns @ design
        return float(weight @ (event * z - np.logaddexp(0, z)))

    current = likelihood(unknowns)
    for _ in range(_MAX_STEPS):
        expected = 0.5 + 0.5 * np.tanh(0.5 * (unknowns @ design))
        gradient = design @ (weight * (event - expected))
        curvature = (design * (weight * expected * (1 - expected))) @ design.T
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            break
        while (proposed := likelihood(unknowns + step)) < current - 1e-12:
            step /= 2
        unknowns, current = unknowns + step, proposed
        if gradient @ step < 1e-18:  # twice the gain left, in nats a row
            return unknowns[0], unknowns[1]
    # The curvature vanished on the way to ever steeper slopes: separated as far as floats tell.
    return np.copysign(np.inf, unknowns[0]), np.nan
