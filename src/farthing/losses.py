"""Losses of the last layer's output: value and gradient in one call.

A loss takes the output ``z`` (rows, outputs), the ``target`` of the same shape and the
``weight`` (rows,) or None, and gives the mean over rows and outputs of weight x loss, and its
gradient by ``z``.  Weights are expected to average 1 over the training rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing._validate import FarthingError, check_fraction, check_number

__all__ = [
    "LOSSES",
    "TEMPERATURES",
    "DistillationLoss",
    "binary_cross_entropy",
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


def squared_error(z, target, weight=None) -> tuple[float, np.ndarray]:
    """Half the squared difference, so that the gradient is the difference.

    >>> squared_error(np.array([[3.0]]), np.array([[1.0]]))
    (2.0, array([[2.]]))
    """
    gradient = z - target
    loss = gradient * gradient
    loss *= 0.5
    return _weighted_mean(loss, gradient, weight)


class DistillationLoss:
    """alpha x T^2 x cross-entropy to the teacher at temperature T + (1 - alpha) x to y.

    The target is (rows, 2): the teacher's probability at temperature 1, and y. Both logits
    are divided by T in the first term, whose gradient shrinks with T^2, hence the factor
    (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015).
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
        teacher, known = target[:, :1], target[:, 1:]
        with np.errstate(divide="ignore"):  # the logit of 0 or 1 is infinite
            logit = np.log(teacher) - np.log1p(-teacher)
        # exp never sees a positive argument, so nothing overflows.
        decay = np.exp(-np.abs(logit) / self.temperature)
        softened = np.where(logit >= 0, 1, decay) / (1 + decay)
        soft, soft_gradient = binary_cross_entropy(z / self.temperature, softened, weight)
        hard, hard_gradient = binary_cross_entropy(z, known, weight)
        scale = self.alpha * self.temperature
        gradient = scale * soft_gradient + (1 - self.alpha) * hard_gradient
        return scale * self.temperature * soft + (1 - self.alpha) * hard, gradient


LOSSES: dict[str, Loss] = {
    "binary": binary_cross_entropy,
    "squared": squared_error,
}


def resolve_loss(loss: str | Loss) -> Loss:
    """The loss function of that name, or ``loss`` itself where it is one."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise FarthingError(f"loss must be one of {sorted(LOSSES)} or a function, got {loss!r}")
    return LOSSES[loss]
