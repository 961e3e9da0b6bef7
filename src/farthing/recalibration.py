"""Slope and intercept of a model's last value, refitted on rows it was not trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = [
    "PRIOR_DEVIATION",
    "refit_level",
    "refit_log",
    "refit_logit",
    "refit_softmax",
    "refit_value",
]

# How far from calibrated a network trained on a log-loss is taken to be before its search
# rows are seen: slope and level each within 0.05, one standard deviation. A few thousand
# search rows know the slope about as well; a handful of events knows far less, and would
# without the prior make a rare-event model worse. It also halves what search rows claim
# that a distilled model's teacher has already seen: their labels shine through its answers.
PRIOR_DEVIATION = 0.05
# Without a prior an ounce of it still keeps separable rows from an infinite slope.
_LEAST_PENALTY = 1e-6
_STEPS = 50
# Probabilities nearer to 0 or 1 than this count as this near: float32 tells them no closer.
_CLIP = 2.0**-24


def _weights(weight, n: int) -> np.ndarray | None:
    """Weights that add up to the number of rows that have one; None where no row has."""
    weight = np.ones(n) if weight is None else np.asarray(weight, np.float64)
    if not weight.any():
        return None
    return weight * (np.count_nonzero(weight) / weight.sum())


def _penalty(prior_deviation: float | None) -> float:
    return _LEAST_PENALTY if prior_deviation is None else prior_deviation**-2


def _minimum(loss: Callable, slopes: Callable, penalty: float, size: int) -> np.ndarray:
    """Where ``loss(change) + penalty / 2 * change @ change`` is least, by Newton's method.

    loss: convex; slopes(change): its gradient (size,) and curvature (size, size).
    """

    def penalised(change: np.ndarray) -> float:
        return float(loss(change) + penalty / 2 * change @ change)

    change = np.zeros(size)
    current = penalised(change)
    for _ in range(_STEPS):
        gradient, curvature = slopes(change)
        step = -np.linalg.solve(curvature + penalty * np.eye(size), gradient + penalty * change)
        while not (proposed := penalised(change + step)) <= current + 1e-9:
            step /= 2
        change, current = change + step, proposed
        if np.abs(step).max() < 1e-9:
            break
    return change


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
    p = np.clip(np.asarray(p, np.float64), _CLIP, 1 - _CLIP)
    target = np.asarray(target, np.float64)
    weight = _weights(weight, len(p))
    if weight is None:
        return 1.0, 0.0
    logit = np.log(p) - np.log1p(-p)
    centre = weight @ logit / weight.sum()
    design = np.stack([logit - centre, np.ones_like(logit)])

    def loss(change: np.ndarray) -> float:
        z = logit + change @ design
        return weight @ (np.logaddexp(0, z) - target * z)

    def slopes(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        expected = 0.5 + 0.5 * np.tanh(0.5 * (logit + change @ design))
        curvature = (design * (weight * expected * (1 - expected))) @ design.T
        return design @ (weight * (expected - target)), curvature

    change = _minimum(loss, slopes, _penalty(prior_deviation), 2)
    return _positive(1 + change[0], change[1] - change[0] * centre)


def refit_softmax(
    p: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    prior_deviation: float | None = None,
) -> tuple[float, np.ndarray]:
    """One slope and an intercept a class, (classes,), of the logarithms of `p`.

    p, target: (n, classes), probabilities and labels or probabilities; the rest as in
    `refit_logit`, the prior being around slope 1 and every class's level 0.

    Source: Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural
    Networks": temperature scaling, with a bias a class.

    >>> import numpy as np
    >>> z = np.random.default_rng(0).normal(size=(500, 3))
    >>> p, target = (np.exp(v) / np.exp(v).sum(axis=1, keepdims=True) for v in (z, 2 * z))
    >>> slope, intercept = refit_softmax(p, target)
    >>> round(slope, 6), bool(np.abs(intercept - intercept.mean()).max() < 1e-6)
    (2.0, True)
    """
    z = np.log(np.maximum(np.asarray(p, np.float64), _CLIP))
    target = np.asarray(target, np.float64)
    n, classes = z.shape
    weight = _weights(weight, n)
    if weight is None:
        return 1.0, np.zeros(classes)
    z -= z.mean(axis=1, keepdims=True)
    centre = weight @ z / weight.sum()
    spread = z - centre

    def shifted(change: np.ndarray) -> np.ndarray:
        moved = z + change[0] * spread + change[1:]
        return moved - moved.max(axis=1, keepdims=True)

    def loss(change: np.ndarray) -> float:
        moved = shifted(change)
        return weight @ (np.log(np.exp(moved).sum(axis=1)) - (target * moved).sum(axis=1))

    def slopes(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        expected = np.exp(shifted(change))
        expected /= expected.sum(axis=1, keepdims=True)
        excess = weight[:, None] * (expected - target)
        gradient = np.append((excess * spread).sum(), excess.sum(axis=0))
        along = (expected * spread).sum(axis=1)  # the expected derivative by the slope
        weighted = weight[:, None] * expected
        curvature = np.empty((classes + 1, classes + 1))
        curvature[0, 0] = (weighted * spread**2).sum() - weight @ along**2
        curvature[0, 1:] = curvature[1:, 0] = (weighted * (spread - along[:, None])).sum(axis=0)
        curvature[1:, 1:] = np.diag(weighted.sum(axis=0)) - weighted.T @ expected
        return gradient, curvature

    change = _minimum(loss, slopes, _penalty(prior_deviation), classes + 1)
    return _positive(1 + change[0], change[1:] - change[0] * centre)


def refit_level(
    p: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None
) -> float | np.ndarray:
    """The intercept of the logit of `p`, (n,), or one a class of its logarithms, (classes,) for
    (n, classes), that makes the mean probabilities those of `target`.

    The maximum of the likelihood with the slope at 1, by the step that would be exact if all
    rows were alike.

    >>> import numpy as np
    >>> p = np.array([0.1, 0.2, 0.4])
    >>> b = refit_level(p, np.array([0.0, 1.0, 1.0]))
    >>> round(float(np.mean(1 / (1 + np.exp(-b) * (1 - p) / p))), 6)
    0.666667
    """
    p, target = np.asarray(p, np.float64), np.asarray(target, np.float64)
    single = p.ndim == 1
    if single:
        p, target = np.column_stack([1 - p, p]), np.column_stack([1 - target, target])
    z = np.log(np.maximum(p, _CLIP))
    least = 0.5 / len(z)
    wanted = np.maximum(np.average(target, axis=0, weights=weight), least)
    change = np.zeros(z.shape[1])
    for _ in range(_STEPS):
        expected = np.exp(z + change)
        expected /= expected.sum(axis=1, keepdims=True)
        step = np.log(wanted / np.average(expected, axis=0, weights=weight))
        change += step
        if np.abs(step).max() < 1e-9:
            break
    return float(change[1] - change[0]) if single else change


def refit_log(
    value: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    family: str = "poisson",
    prior_deviation: float | None = None,
) -> tuple[float, float]:
    """Slope and intercept of the logarithm of `value` that best predict `target`.

    value: predicted means (n,), > 0; target: (n,), >= 0, > 0 for family "gamma"; the rest as
    in `refit_logit`. The likelihood counts by the Pearson dispersion of the rows, so that the
    prior weighs the same in any unit of `target`.

    Source: quasi-likelihood, McCullagh and Nelder (1989), "Generalized Linear Models",
    chapter 9; Newton's method.

    >>> import numpy as np
    >>> value = np.exp(np.linspace(-1, 1, 1001))
    >>> slope, intercept = refit_log(value, 3 * value**2)
    >>> round(slope, 4), round(float(np.exp(intercept)), 4)
    (2.0, 3.0)
    """
    value = np.maximum(np.asarray(value, np.float64), np.finfo(np.float32).tiny)
    target = np.asarray(target, np.float64)
    weight = _weights(weight, len(value))
    if weight is None:
        return 1.0, 0.0
    rows = weight.sum()
    scale = weight @ value / rows
    z, target = np.log(value / scale), target / scale
    mean = np.exp(z)
    centre = weight @ z / rows
    design = np.stack([z - centre, np.ones_like(z)])
    power = 1 if family == "poisson" else 2
    dispersion = weight @ ((target - mean) ** 2 / mean**power) / rows
    weight = weight / max(dispersion, _LEAST_PENALTY)

    def expected(change: np.ndarray) -> np.ndarray:
        return np.exp(np.minimum(z + change @ design, 700))

    def loss(change: np.ndarray) -> float:
        moved = z + change @ design
        if family == "poisson":
            return weight @ (expected(change) - target * moved)
        return weight @ (moved + target / expected(change))

    def slopes(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        now = expected(change)
        if family == "poisson":
            gradient, curvature = now - target, now
        else:
            gradient, curvature = 1 - target / now, target / now
        return design @ (weight * gradient), (design * (weight * curvature)) @ design.T

    change = _minimum(loss, slopes, _penalty(prior_deviation), 2)
    # scale * exp(z): what the slope takes from log(scale), the intercept gives back.
    intercept = change[1] - change[0] * (centre + np.log(scale))
    return _positive(1 + change[0], intercept)


def refit_value(
    value: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    prior_deviation: float | None = None,
) -> tuple[float, float]:
    """The same for a regression: (weighted) least squares of `target` on `value`.

    prior_deviation: of the slope around 1, and of the level around 0 in standard deviations of
    `value`. Against it the rows count by the variance that their line leaves, so that few rows
    of a skewed target, of which one decides their line, change little.

    >>> import numpy as np
    >>> value = np.linspace(-1, 1, 401)
    >>> slope, intercept = refit_value(value, 2 * value + 3, prior_deviation=0.05)
    >>> round(slope, 6), round(intercept, 6)
    (2.0, 3.0)
    """
    value, target = np.asarray(value, np.float64), np.asarray(target, np.float64)
    weight = _weights(weight, len(value))
    if weight is None:
        return 1.0, 0.0
    centre, level = np.average(value, weights=weight), np.average(target, weights=weight)
    variance = np.average((value - centre) ** 2, weights=weight)
    if variance == 0:
        return 1.0, 0.0
    slope = np.average((value - centre) * (target - level), weights=weight) / variance
    shift = level - centre
    if prior_deviation is not None:
        left = target - level - slope * (value - centre)
        # Variance of slope and of level by the rows, against that of the prior.
        noise = np.average(left**2, weights=weight) / variance / weight.sum()
        share = prior_deviation**2 / (prior_deviation**2 + noise)
        slope, shift = 1 + share * (slope - 1), share * shift
    return _positive(slope, shift + centre - slope * centre)


def _positive(slope: float, intercept):
    """(1, 0) unless the slope is positive and all is finite."""
    if not (np.isfinite(slope) and np.all(np.isfinite(intercept)) and slope > 0):
        return 1.0, np.zeros_like(intercept) if np.ndim(intercept) else 0.0
    return float(slope), intercept if np.ndim(intercept) else float(intercept)
