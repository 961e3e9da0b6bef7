"""Slope and intercept of a model's last value, refitted on rows it was not trained on."""

from __future__ import annotations

import numpy as np

__all__ = ["PRIOR_DEVIATION", "refit_logit", "refit_value"]

# How far from calibrated a network trained on a log-loss is taken to be before its search
# rows are seen: slope and level each within 0.05, one standard deviation. A few thousand
# search rows know the slope about as well; a handful of events knows far less, and would
# without the prior make a rare-event model worse. It also halves what search rows claim
# that a distilled model's teacher has already seen: their labels shine through its answers.
PRIOR_DEVIATION = 0.05
_STEPS = 50


def refit_logit(
    p: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    prior_deviation: float | None = None,
) -> tuple[float, float]:
    """Slope and intercept of the logit of `p` that best predict `target`.

    p: probabilities (n,); target: labels or probabilities (n,); weight: (n,) or None;
    prior_deviation: standard deviation of the normal prior around slope 1 and level 0, None
    for plain maximum likelihood. (1, 0) where no positive slope results or no row has weight.

    Source: Cox (1958), Biometrika 45:562-565, with a Gaussian prior; Newton's method.

    >>> import numpy as np
    >>> logit = np.linspace(-3, 3, 1001)
    >>> p, target = (1 / (1 + np.exp(-z)) for z in (logit, 2 * logit + 0.5))
    >>> slope, intercept = refit_logit(p, target)
    >>> round(slope, 6), round(intercept, 6)
    (2.0, 0.5)
    """
    p = np.clip(np.asarray(p, np.float64), 2.0**-24, 1 - 2.0**-24)
    target = np.asarray(target, np.float64)
    weight = np.ones(len(p)) if weight is None else np.asarray(weight, np.float64)
    if not weight.any():
        return 1.0, 0.0
    weight = weight * (len(p) / weight.sum())
    logit = np.log(p) - np.log1p(-p)
    centre = weight @ logit / weight.sum()
    design = np.stack([logit - centre, np.ones_like(logit)])
    # Without a prior an ounce of it still keeps separable rows from an infinite slope.
    penalty = 1e-6 if prior_deviation is None else prior_deviation**-2

    def loss(change: np.ndarray) -> float:
        z = logit + change @ design
        return float(weight @ (np.logaddexp(0, z) - target * z) + penalty / 2 * change @ change)

    change = np.zeros(2)
    current = loss(change)
    for _ in range(_STEPS):
        expected = 0.5 + 0.5 * np.tanh(0.5 * (logit + change @ design))
        gradient = design @ (weight * (target - expected)) - penalty * change
        curvature = (design * (weight * expected * (1 - expected))) @ design.T
        step = np.linalg.solve(curvature + penalty * np.eye(2), gradient)
        while (proposed := loss(change + step)) > current + 1e-9:
            step /= 2
        change, current = change + step, proposed
        if np.abs(step).max() < 1e-9:
            break
    slope = 1 + change[0]
    return _positive(slope, change[1] - change[0] * centre)


def refit_value(
    value: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None
) -> tuple[float, float]:
    """The same for a regression: (weighted) least squares of `target` on `value`."""
    value, target = np.asarray(value, np.float64), np.asarray(target, np.float64)
    if weight is not None and not np.any(weight):
        return 1.0, 0.0
    centre, level = np.average(value, weights=weight), np.average(target, weights=weight)
    variance = np.average((value - centre) ** 2, weights=weight)
    if variance == 0:
        return 1.0, 0.0
    slope = np.average((value - centre) * (target - level), weights=weight) / variance
    return _positive(slope, level - slope * centre)


def _positive(slope: float, intercept: float) -> tuple[float, float]:
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope > 0):
        return 1.0, 0.0
    return float(slope), float(intercept)
