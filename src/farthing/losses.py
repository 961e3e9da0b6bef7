"""Losses of the last layer's output: value and gradient in one call.

A loss takes the output ``z`` (rows, outputs), the ``target`` of the same shape and the
``weight`` (rows,) or None, and gives the mean over rows and outputs (over rows for the
cross-entropy of several classes) of weight x loss, and its gradient by ``z``.  Weights are
expected to average 1 over the training rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing._validate import FarthingError, check_fraction, check_number

__all__ = [
    "LOSSES",
    "TEMPERATURES",
    "DistillationLoss",
    "HuberLoss",
    "ImitationLoss",
    "QuantileLoss",
    "absolute_error",
    "binary_cross_entropy",
    "cross_entropy",
    "gamma_deviance",
    "poisson_deviance",
    "resolve_loss",
    "squared_error",
]

# Colder, a teacher's probability is a label; hotter, every one is 0.5 to float32.
TEMPERATURES = "[0.05, 100]"

Loss = Callable[[np.ndarray, np.ndarray, np.ndarray | None], tuple[float, np.ndarray]]


def _weighted_mean(loss: np.ndarray, gradient: np.ndarray, weight) -> tuple[float, np.ndarray]:
    if weight is not None:
        loss *= weight[:, None]
        gradient *= weight[:, None]
    gradient /= loss.size
    return float(loss.mean(dtype=np.float64)), gradient


def binary_cross_entropy(z, target, weight=None) -> tuple[float, np.ndarray]:
    """Cross-entropy of P = sigmoid(z) against ``target``, labels or probabilities in [0, 1].

    >>> loss, gradient = binary_cross_entropy(np.zeros((2, 1)), np.array([[1.0], [0.5]]))
    >>> round(loss, 4), gradient.tolist()
    (0.6931, [[-0.25], [0.0]])
    """
    # exp never sees a positive argument, so nothing overflows.
    decay = np.exp(-np.abs(z))
    loss = np.maximum(z, 0)
    loss -= z * target
    loss += np.log1p(decay)
    gradient = np.where(z >= 0, 1, decay)
    gradient /= 1 + decay
    gradient -= target
    return _weighted_mean(loss, gradient, weight)


def cross_entropy(z, target, weight=None) -> tuple[float, np.ndarray]:
    """Cross-entropy of P = softmax(z) against ``target``, one column a class: one-hot labels
    or probabilities.  A row whose targets add up to s counts s times.

    >>> loss, gradient = cross_entropy(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
    >>> round(loss, 4), gradient.tolist()
    (0.6931, [[-0.5, 0.5]])
    """
    shifted = z - z.max(axis=1, keepdims=True)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=1, keepdims=True)
    mass = target.sum(axis=1, keepdims=True)
    loss = mass * np.log(total)
    loss -= (target * shifted).sum(axis=1, keepdims=True)
    gradient *= mass / total
    gradient -= target
    return _weighted_mean(loss, gradient, weight)


def squared_error(z, target, weight=None) -> tuple[float, np.ndarray]:
    """Half the squared difference, so that the gradient is the difference.

    >>> squared_error(np.array([[3.0]]), np.array([[1.0]]))
    (2.0, array([[2.]]))
    """
    gradient = z - target
    loss = gradient * gradient
    loss *= 0.5
    return _weighted_mean(loss, gradient, weight)


def absolute_error(z, target, weight=None) -> tuple[float, np.ndarray]:
    """|z - target|, least at the median.

    >>> absolute_error(np.array([[3.0]]), np.array([[1.0]]))
    (2.0, array([[1.]]))
    """
    difference = z - target
    return _weighted_mean(np.abs(difference), np.sign(difference), weight)


class QuantileLoss:
    """The pinball loss, least at a quantile (Koenker and Bassett, "Regression Quantiles", 1978):
    an output below the target costs ``quantile`` times the distance, one above it the rest.

    >>> QuantileLoss(0.75)(np.array([[3.0]]), np.array([[1.0]]))
    (0.5, array([[0.25]]))
    """

    def __init__(self, quantile: float):
        self.quantile = float(quantile)

    def __call__(self, z, target, weight=None) -> tuple[float, np.ndarray]:
        difference = z - target
        gradient = np.where(difference < 0, -self.quantile, 1 - self.quantile).astype(z.dtype)
        gradient[difference == 0] = 0
        return _weighted_mean(gradient * difference, gradient, weight)


class HuberLoss:
    """Half the square up to a distance of ``delta``, linear beyond (Huber, "Robust Estimation
    of a Location Parameter", 1964).

    >>> HuberLoss(1.0)(np.array([[3.0]]), np.array([[1.0]]))
    (1.5, array([[1.]]))
    """

    def __init__(self, delta: float):
        self.delta = float(delta)

    def __call__(self, z, target, weight=None) -> tuple[float, np.ndarray]:
        difference = z - target
        gradient = np.clip(difference, -self.delta, self.delta)
        return _weighted_mean(gradient * (difference - 0.5 * gradient), gradient, weight)


def poisson_deviance(z, target, weight=None) -> tuple[float, np.ndarray]:
    """exp(z) - target x z: half the deviance of a Poisson mean exp(z), up to a constant.

    >>> poisson_deviance(np.zeros((1, 1)), np.array([[3.0]]))
    (1.0, array([[-2.]]))
    """
    mean = np.exp(z)
    return _weighted_mean(mean - target * z, mean - target, weight)


def gamma_deviance(z, target, weight=None) -> tuple[float, np.ndarray]:
    """z + target x exp(-z): half the deviance of a gamma mean exp(z), up to a constant.

    >>> gamma_deviance(np.zeros((1, 1)), np.array([[3.0]]))
    (3.0, array([[-2.]]))
    """
    ratio = target * np.exp(-z)
    return _weighted_mean(z + ratio, 1 - ratio, weight)


class DistillationLoss:
    """alpha x T^2 x cross-entropy to the teacher at temperature T + (1 - alpha) x to y.

    The target is the teacher's probabilities at temperature 1, and y: (rows, 2) for one
    output, P(positive) of both, and (rows, 2 c) for c classes. All logits are divided by T in
    the first term, whose gradient shrinks with T^2, hence the factor (Hinton, Vinyals and
    Dean, "Distilling the Knowledge in a Neural Network", 2015).
    Raises ValueError or TypeError unless alpha is in [0, 1] and temperature in [0.05, 100].

    >>> loss = DistillationLoss(alpha=1.0, temperature=2.0)
    >>> loss(np.zeros((1, 1)), np.array([[0.5, 1.0]]))[1].tolist()
    [[0.0]]
    """

    def __init__(self, alpha: float, temperature: float):
        check_fraction(alpha=alpha)
        check_number(TEMPERATURES, temperature=temperature)
        # A numpy scalar would turn float32 losses into float64.
        self.alpha, self.temperature = float(alpha), float(temperature)

    def __call__(self, z, target, weight=None) -> tuple[float, np.ndarray]:
        classes = z.shape[1]
        teacher, known = target[:, :classes], target[:, classes:]
        loss = binary_cross_entropy if classes == 1 else cross_entropy
        soft, soft_gradient = loss(z / self.temperature, self._softened(teacher), weight)
        hard, hard_gradient = loss(z, known, weight)
        scale = self.alpha * self.temperature
        gradient = scale * soft_gradient + (1 - self.alpha) * hard_gradient
        return scale * self.temperature * soft + (1 - self.alpha) * hard, gradient

    def _softened(self, teacher: np.ndarray) -> np.ndarray:
        """The teacher's probabilities at the temperature; exp never sees a positive argument."""
        with np.errstate(divide="ignore"):  # the logarithm of 0 is infinite
            logit = np.log(teacher)
            if teacher.shape[1] == 1:
                logit -= np.log1p(-teacher)
        if teacher.shape[1] == 1:
            decay = np.exp(-np.abs(logit) / self.temperature)
            return np.where(logit >= 0, 1, decay) / (1 + decay)
        softened = np.exp((logit - logit.max(axis=1, keepdims=True)) / self.temperature)
        softened /= softened.sum(axis=1, keepdims=True)
        return softened


class ImitationLoss:
    """alpha x squared error to a model's last output + (1 - alpha) x ``own`` loss to y.

    The target is (rows, 2): the output to imitate, and y as ``own`` takes it.

    >>> loss = ImitationLoss(alpha=0.5, own=absolute_error)
    >>> loss(np.array([[3.0]]), np.array([[1.0, 2.0]]))
    (1.5, array([[1.5]]))
    """

    def __init__(self, alpha: float, own: Loss):
        self.alpha, self.own = float(alpha), own

    def __call__(self, z, target, weight=None) -> tuple[float, np.ndarray]:
        near, near_gradient = squared_error(z, target[:, :1], weight)
        known, known_gradient = self.own(z, target[:, 1:], weight)
        gradient = self.alpha * near_gradient + (1 - self.alpha) * known_gradient
        return self.alpha * near + (1 - self.alpha) * known, gradient


LOSSES: dict[str, Loss] = {
    "binary": binary_cross_entropy,
    "softmax": cross_entropy,
    "squared": squared_error,
    "absolute": absolute_error,
    "poisson": poisson_deviance,
    "gamma": gamma_deviance,
}


def resolve_loss(loss: str | Loss) -> Loss:
    """The loss function of that name, or ``loss`` itself where it is one."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise FarthingError(f"loss must be one of {sorted(LOSSES)} or a function, got {loss!r}")
    return LOSSES[loss]
