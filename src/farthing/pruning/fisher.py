"""Fisher: how much the loss would change without a weight, by the curvature at it."""

from __future__ import annotations

import numpy as np

from farthing.model import Model
from farthing.probe import Sample
from farthing.pruning.magnitude import Magnitude
from farthing.steps import Step

__all__ = ["Fisher"]


class Fisher(Magnitude):
    """w^2 F / 2, where F is the diagonal of the Fisher information (LeCun, Denker & Solla 1990,
    "Optimal brain damage", with the Hessian of the model's own likelihood, as Theis, Korshunova,
    Tejani & Huszar 2018, "Faster gaze prediction with dense networks and Fisher pruning", use it).

    F is the mean over rows of the squared gradient of log p(y | x), y drawn by the model itself:
    no labels are needed. Sizes are the roots, |w| sqrt(F / 2), so that their squares add up.
    """

    needs = "rows"
    order = 2
    is_loss = True

    def __init__(self, step: Step, scheduled: bool = False):
        self._sample, self._seed = Sample(step), step.seed

    def sizes(self, model: Model) -> list[np.ndarray]:
        rng = np.random.default_rng(self._seed)
        signals = self._sample.signals(model, lambda z: _score_gradient(model.link, z, rng))
        share, found = self._sample.share[:, None], []
        for layer, (x, dz) in zip(model.layers, signals, strict=True):
            # A row's gradient is an outer product, and so is its square.
            information = (np.square(dz) * share).T @ np.square(x)
            found.append((np.abs(layer.weight) * np.sqrt(information / 2)).astype(np.float32))
        return found


def _score_gradient(link: str, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The gradient of -log p(y | z) by the outputs z (rows, outputs), with a y of the model's own,
    or, where there is one output, the root of the mean square of that gradient."""
    if link == "softmax":
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        drawn = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1)
        p[np.arange(len(p)), np.minimum(drawn, p.shape[1] - 1)] -= 1
        return p
    if link == "sigmoid":
        return 1 / (2 * np.cosh(np.clip(z, -80, 80) / 2))  # sqrt(p (1 - p))
    if link == "log":
        return np.exp(np.clip(z, -80, 80) / 2)  # Poisson: the variance is the mean
    return np.ones_like(z)  # Gaussian, of variance 1
