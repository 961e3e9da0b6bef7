"""What y means: the link and loss that fit it, where training starts, how it is recalibrated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from farthing._validate import FarthingError
from farthing.losses import (
    HuberLoss,
    ImitationLoss,
    Loss,
    QuantileLoss,
    absolute_error,
    binary_cross_entropy,
    cross_entropy,
    gamma_deviance,
    poisson_deviance,
    squared_error,
)
from farthing.model import Model
from farthing.recalibration import (
    PRIOR_DEVIATION,
    refit_level,
    refit_log,
    refit_logit,
    refit_softmax,
    refit_value,
)
from farthing.tables import check_spread

__all__ = ["Classes", "Means", "Objective", "Values", "huber_location", "quantile", "tilted"]

Scaled = Callable[..., np.ndarray]
# The mean of a target behind an exponential, so that float32 holds its scores.
_MEAN = (1e-30, 1e35)
# The prior of recalibrated means, as PRIOR_DEVIATION is for probabilities. It is narrower
# because a tenth of the rows knows the level of a skewed target three times less well than the
# other nine, to which training has fitted it: at 0.05 and 4,000 to 12,000 rows the refitted
# means were up to twice as far off as those left alone, at 0.02 about as near.
MEAN_PRIOR_DEVIATION = 0.02


class Objective:
    """What the last output of a model means and how it learns: the rules of one kind of target.

    link: what turns the output into the score; n_outputs; loss: of the scaled target;
    linear: whether the loss is linear in the target, so that a blend of two targets is the
    blend of their losses.
    """

    link: str
    n_outputs = 1
    loss: Loss
    linear = True

    def check(self, target: np.ndarray, weight: np.ndarray | None) -> None:
        """Raises ValueError where a target, as it was coded, cannot be learnt."""

    def strata(self, target: np.ndarray) -> np.ndarray | None:
        """What a split keeps the shares of, (n,), from a coded target."""
        return None

    def scaled(self, model: Model, target, weight=None, fitted: bool = False):
        """A context in which `model` trains on targets of a handy scale.

        Gives the function that scales targets, or ``known=True`` y alone; on exit the model's
        output is in the units of ``target`` again.  An unfitted model starts at the best constant;
        fitted: it already answers in those units on entry, and goes on from there.
        """
        raise NotImplementedError

    def unit(self, target, weight=None) -> float:
        """How many units of the target one of the output counts for, so that models of targets in
        other units are treated alike."""
        return 1.0

    def balance(self, score, target, weight=None) -> tuple[float, float | np.ndarray]:
        """Slope 1 and the intercept for `Model.rescale_output` with which scores of the rows
        that were learnt from have the mean of their target."""
        return 1.0, 0.0

    def calibration(self, score, known, weight=None) -> tuple[float, float | np.ndarray]:
        """Slope and intercept that fit the scores of other rows to `known`, their target."""
        raise NotImplementedError

    def restoration(self, score, said, weight=None) -> tuple[float, float | np.ndarray]:
        """The same, to the scores of another model."""
        raise NotImplementedError

    def imitation(self, alpha: float) -> Objective:
        """What trains on `blended` targets: alpha x the loss to what another model said +
        (1 - alpha) x this loss to y."""
        return self

    def blended(self, said, known, alpha: float) -> np.ndarray:
        """The target of `imitation`, from scores and y; known: None where there is no y."""
        return said if known is None else alpha * said + (1 - alpha) * known


class Classes(Objective):
    """Two classes behind a sigmoid, or more behind a softmax.

    A target is P(positive), (n,), or a probability a class, (n, classes).
    """

    def __init__(self, classes: int):
        several = classes > 2
        self.n_outputs = classes if several else 1
        self.link = "softmax" if several else "sigmoid"
        self.loss = cross_entropy if several else binary_cross_entropy

    def strata(self, target):
        """The classes; probabilities of several make no strata."""
        if target.ndim == 1:
            return target
        return target.argmax(axis=1) if (target.max(axis=1) == 1).all() else None

    @contextmanager
    def scaled(self, model, target, weight=None, fitted=False) -> Iterator[Scaled]:
        """Targets stay as they are; an unfitted model starts at the log odds of their mean."""
        if not fitted:
            target = np.asarray(target, np.float64)
            # A temperature's target has the teacher's columns first: y's decide.
            columns = target.reshape(len(target), -1)[:, -self.n_outputs :]
            share = np.average(columns, axis=0, weights=weight)
            least = 0.5 / len(target)
            share = np.where(share <= 0, least, np.where(share >= 1, 1 - least, share))
            logit = np.log(share / (1 - share)) if self.n_outputs == 1 else np.log(share)
            model.layers[-1].bias[:] = logit
        yield lambda values, known=False: values

    def balance(self, score, target, weight=None):
        # A temperature's target has the teacher's columns first: y's decide.
        known = np.asarray(target).reshape(len(score), -1)[:, -self.n_outputs :]
        return 1.0, refit_level(score, known.reshape(np.shape(score)), weight)

    def calibration(self, score, known, weight=None):
        refit = refit_logit if self.n_outputs == 1 else refit_softmax
        return refit(score, known, weight, prior_deviation=PRIOR_DEVIATION)

    def restoration(self, score, said, weight=None):
        return (refit_logit if self.n_outputs == 1 else refit_softmax)(score, said, weight)


class Values(Objective):
    """A number, as it is: its mean, median, a quantile, or its location by Huber's loss.

    name: "squared", "absolute", "quantile" or "huber"; level: of the quantile; delta: of
    Huber's loss, in standard deviations of the target. With an alpha the target is (n, 2),
    the values to imitate and y, and the loss blends the squared error to the former.
    """

    link = "identity"

    def __init__(self, name: str, level: float = 0.5, delta: float = 1.35, alpha=None):
        self.name, self.level, self.delta, self.alpha = name, level, delta, alpha
        self.linear = name == "squared"
        own: Loss = {
            "squared": squared_error,
            "absolute": absolute_error,
            "quantile": QuantileLoss(level),
            "huber": HuberLoss(delta),
        }[name]
        self.loss = own if alpha is None else ImitationLoss(alpha, own)

    def check(self, target, weight):
        check_spread(target.reshape(len(target), -1)[:, -1], weight)

    @contextmanager
    def scaled(self, model, target, weight=None, fitted=False) -> Iterator[Scaled]:
        """Targets of mean 0 and deviation 1."""
        target = np.asarray(target, np.float64)
        known = target.reshape(len(target), -1)[:, -1]
        mean = np.average(known, weights=weight)
        deviation = np.sqrt(np.average((known - mean) ** 2, weights=weight))
        # A constant target, or one whose spread is only the rounding of its mean.
        is_constant = not deviation > abs(mean) * 1e-12
        if is_constant:
            deviation = 1.0
        if fitted:
            model.rescale_output(1 / deviation, -mean / deviation)
        else:
            model.layers[-1].bias[:] = self._location((known - mean) / deviation, weight)
        try:
            yield lambda values, known=False: (np.asarray(values, np.float64) - mean) / deviation
        finally:
            if is_constant:  # minibatches leave a little of what the weights began with
                last = model.layers[-1]
                last.weight[:], last.bias[:] = 0, 0
                if last.quantized is not None:
                    nothing = np.zeros_like(last.quantized.values)
                    last.quantized = last.quantized.with_values(nothing)
            model.rescale_output(deviation, mean)

    def unit(self, target, weight=None) -> float:
        """The deviation of the target, as `scaled` takes it."""
        known = np.asarray(target, np.float64).reshape(len(target), -1)[:, -1]
        mean = np.average(known, weights=weight)
        deviation = float(np.sqrt(np.average((known - mean) ** 2, weights=weight)))
        return deviation if deviation > abs(mean) * 1e-12 else 1.0

    def _location(self, values: np.ndarray, weight, deviation: float = 1.0) -> float:
        """The constant of least loss."""
        if self.name == "squared":
            return float(np.average(values, weights=weight))
        if self.name == "huber":
            return huber_location(values, self.delta * deviation, weight)
        return quantile(values, 0.5 if self.name == "absolute" else self.level, weight)

    def balance(self, score, target, weight=None):
        if self.name != "squared":
            return 1.0, 0.0
        left = np.asarray(target, np.float64).reshape(len(score), -1)[:, -1] - score
        return 1.0, float(np.average(left, weights=weight))

    def calibration(self, score, known, weight=None):
        """Least squares with a prior for "squared". For the others the location of what is left,
        slope 1: theirs has no least-squares answer, and a tilted line fits the tail of a few
        search rows before it fits the slope."""
        if self.name == "squared":
            return refit_value(score, known, weight, prior_deviation=PRIOR_DEVIATION)
        if weight is not None and not np.any(weight):
            return 1.0, 0.0
        known = np.asarray(known, np.float64)
        mean = np.average(known, weights=weight)
        deviation = np.sqrt(np.average((known - mean) ** 2, weights=weight))
        return 1.0, self._location(known - score, weight, float(deviation) or 1.0)

    def restoration(self, score, said, weight=None):
        return refit_value(score, said, weight)

    def imitation(self, alpha):
        if self.linear:
            return self
        if alpha == 1:
            return Values("squared")
        return Values(self.name, self.level, self.delta, alpha)

    def blended(self, said, known, alpha):
        if self.linear or alpha == 1:
            return super().blended(said, known, alpha)
        return np.column_stack([said, said if known is None else known])


class Means(Objective):
    """A mean that is never negative, behind an exponential: ``name`` "poisson" or "gamma"."""

    link = "log"

    def __init__(self, name: str):
        self.name = name
        self.loss = poisson_deviance if name == "poisson" else gamma_deviance

    def check(self, target, weight):
        mean = np.average(target, weights=weight)
        if not mean > 0:
            raise FarthingError(
                f"y must have a positive sum for loss={self.name!r}, got only zeros"
            )
        if not _MEAN[0] < mean < _MEAN[1]:
            raise FarthingError(
                f"y must have a mean from {_MEAN[0]:g} to {_MEAN[1]:g} for loss={self.name!r}, "
                f"got {mean:g}; rescale it"
            )

    @contextmanager
    def scaled(self, model, target, weight=None, fitted=False) -> Iterator[Scaled]:
        """Targets of mean 1, so that an unfitted model starts at an output of 0."""
        mean = np.average(np.asarray(target, np.float64), weights=weight)
        if fitted:
            model.rescale_output(1.0, -np.log(mean))
        try:
            yield lambda values, known=False: np.asarray(values, np.float64) / mean
        finally:
            model.rescale_output(1.0, np.log(mean))

    def balance(self, score, target, weight=None):
        total = [np.average(np.asarray(v, np.float64), weights=weight) for v in (target, score)]
        return 1.0, float(np.log(total[0] / total[1]))

    def calibration(self, score, known, weight=None):
        return refit_log(score, known, weight, self.name, prior_deviation=MEAN_PRIOR_DEVIATION)

    def restoration(self, score, said, weight=None):
        return refit_value(_log(score), _log(said), weight)

    def imitation(self, alpha):
        return _Logarithms(self, alpha)

    def blended(self, said, known, alpha):
        if alpha == 1:
            return _log(said)
        return np.column_stack([_log(said), said if known is None else known])


class _Logarithms(Objective):
    """The imitation of `Means`: squared error of the output before the exponential."""

    link = "log"
    linear = False

    def __init__(self, own: Means, alpha: float):
        self.loss = squared_error if alpha == 1 else ImitationLoss(alpha, own.loss)

    @contextmanager
    def scaled(self, model, target, weight=None, fitted=False) -> Iterator[Scaled]:
        """target: (n,) logarithms, or (n, 2): logarithms and y."""
        target = np.asarray(target, np.float64)
        level = np.average(target.reshape(len(target), -1)[:, 0], weights=weight)

        def scaled(values, known=False):
            values = np.array(values, np.float64)
            if known:
                return values * np.exp(-level)
            columns = values.reshape(len(values), -1)
            columns[:, 0] -= level
            columns[:, 1:] *= np.exp(-level)
            return values

        model.rescale_output(1.0, -level if fitted else 0.0)
        try:
            yield scaled
        finally:
            model.rescale_output(1.0, level)


def _log(score) -> np.ndarray:
    """Logarithms of float32 scores, of which the smallest may be 0."""
    return np.log(np.maximum(np.asarray(score, np.float64), np.finfo(np.float32).tiny))


def quantile(values: np.ndarray, level: float, weight: np.ndarray | None = None) -> float:
    """The (weighted) quantile: where the weights up to it first reach `level` of their sum,
    halfway to the next value where they reach it exactly (Hyndman and Fan's type 2).

    >>> quantile(np.array([1.0, 2.0, 3.0, 10.0]), 0.5)
    2.5
    """
    order = np.argsort(values, kind="stable")
    mass = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)[order]
    ranked = values[order][mass > 0]
    reached = np.cumsum(mass[mass > 0])
    wanted = level * reached[-1]
    last = len(ranked) - 1
    low = min(int(np.searchsorted(reached, wanted)), last)
    high = min(int(np.searchsorted(reached, wanted, side="right")), last)
    return float(0.5 * ranked[low] + 0.5 * ranked[high])


def huber_location(values: np.ndarray, delta: float, weight: np.ndarray | None = None) -> float:
    """The (weighted) constant of least Huber loss, within `delta` of the median.

    >>> round(huber_location(np.array([0.0, 1.0, 2.0, 100.0]), 1.5), 6)
    1.5
    """
    weight = np.ones(len(values)) if weight is None else weight
    middle = quantile(values, 0.5, weight)
    low, high = middle - delta, middle + delta
    while low < (middle := 0.5 * (low + high)) < high:
        pull = weight @ np.clip(values - middle, -delta, delta)
        if pull == 0:
            break
        low, high = (middle, high) if pull > 0 else (low, middle)
        if high - low <= 1e-12 * delta:
            break
    return float(middle)


def tilted(target: np.ndarray, class_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The target and the row's factor under which the plain cross-entropy is the class-weighted
    one, in which class c of a row counts its target times its weight.

    target: P(positive), (n,) or (n, 2) for a teacher's and y's, or (n, classes) or
    (n, 2 classes); class_weight: (classes,), that of the positive class last where there are
    two. For labels the target stays and the factor is the label's weight; probabilities move
    by the weights' odds. Of two blocks of columns the factor is the last one's.

    >>> target, factor = tilted(np.array([0.0, 0.5, 1.0]), np.array([1.0, 3.0]))
    >>> target.tolist(), (3 * factor).tolist()
    ([0.0, 0.75, 1.0], [1.0, 2.0, 3.0])
    """
    share = class_weight / class_weight.max()
    target = np.asarray(target, np.float64)
    n = len(target)
    if len(share) == 2:
        up = target.reshape(n, -1) * share[1]
        total = up + (1 - target.reshape(n, -1)) * share[0]
        moved = up / total
    else:
        up = target.reshape(n, -1, len(share)) * share
        total = up.sum(axis=2)
        moved = up / total[:, :, None]
    return moved.reshape(target.shape), total[:, -1]
