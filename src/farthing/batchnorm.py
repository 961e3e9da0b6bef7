"""Batch normalisation: statistics of the minibatch in training, running ones afterwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["BatchNorm"]


class BatchNorm:
    """``gamma * (z - mean) / sqrt(variance + epsilon) + beta``, column by column.

    gamma, beta: (n,), trained; mean, variance: (n,), of the minibatch in training and the
    exponential running ones otherwise.  Ioffe and Szegedy, "Batch Normalization: Accelerating
    Deep Network Training by Reducing Internal Covariate Shift" (2015).

    >>> norm = BatchNorm(1)
    >>> norm.forward(np.array([[1.0], [3.0]]), training=True)[0].round(3).tolist()
    [[-1.0], [1.0]]
    """

    # The share of the running statistics that a minibatch replaces.
    momentum = 0.1
    epsilon = 1e-5

    def __init__(self, n: int, dtype=np.float32):
        self.gamma, self.beta = np.ones(n, dtype), np.zeros(n, dtype)
        self.mean, self.variance = np.zeros(n, dtype), np.ones(n, dtype)
        self.batches = 0

    def forward(
        self, z: np.ndarray, training: bool = False, row_weight: np.ndarray | None = None
    ) -> tuple[np.ndarray, Callable | None]:
        """Output like ``z`` (rows, n), and its backward pass where ``training``.

        row_weight: (rows,), >= 0: rows count so often in the statistics.  The backward pass
        takes the gradient by the output and gives the one by ``z``, and those by the
        parameters by name.
        """
        if not training:
            scale = self.gamma / np.sqrt(self.variance + z.dtype.type(self.epsilon))
            return z * scale + (self.beta - self.mean * scale), None
        total = 0 if row_weight is None else row_weight.sum()
        # Of a minibatch without weight nothing is learnt: any statistics will do.
        share = np.full(len(z), 1 / len(z), z.dtype) if total == 0 else row_weight / total
        mean = share @ z
        centred = z - mean
        variance = share @ (centred * centred)
        if row_weight is None or total > 0:
            self._remember(mean, variance)
        inverse = 1 / np.sqrt(variance + z.dtype.type(self.epsilon))
        normal = centred * inverse

        def backward(dy):
            by_normal = dy * self.gamma
            through = (by_normal * normal).sum(axis=0)
            # The statistics see a row as often as it counts.
            dz = by_normal - share[:, None] * (by_normal.sum(axis=0) + normal * through)
            dz *= inverse
            return dz, {"gamma": (dy * normal).sum(axis=0), "beta": dy.sum(axis=0)}

        return normal * self.gamma + self.beta, backward

    def _remember(self, mean: np.ndarray, variance: np.ndarray) -> None:
        self.batches += 1
        # The plain average of the first minibatches: the start at (0, 1) has no say.
        share = max(self.momentum, 1 / self.batches)
        self.mean += mean.dtype.type(share) * (mean - self.mean)
        self.variance += variance.dtype.type(share) * (variance - self.variance)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift (n,), float64, that this is with its running statistics."""
        gamma, beta, mean, variance = (
            a.astype(np.float64) for a in (self.gamma, self.beta, self.mean, self.variance)
        )
        scale = gamma / np.sqrt(variance + self.epsilon)
        return scale, beta - mean * scale

    def copy(self) -> BatchNorm:
        """A copy that shares no array with this one."""
        return self.select(np.ones(len(self.gamma), bool))

    def select(self, columns: np.ndarray) -> BatchNorm:
        """That of some columns, given as a bool array (n,)."""
        other = BatchNorm(int(columns.sum()), self.gamma.dtype)
        for name in ("gamma", "beta", "mean", "variance"):
            setattr(other, name, getattr(self, name)[columns].copy())
        other.batches = self.batches
        return other

    def astype(self, dtype) -> None:
        """Changes the floating type of all values, in place."""
        for name in ("gamma", "beta", "mean", "variance"):
            setattr(self, name, getattr(self, name).astype(dtype))
