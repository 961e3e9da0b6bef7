"""Linear models solved rather than trained: least squares and logistic regression, float64.

Both minimise the weighted mean of the loss plus ``l2 / 2`` times the sum of the squared
coefficients; intercepts are free. Rows are read a block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["least_squares", "logistic_regression"]

# Rows that are held in float64 at a time.
_BLOCK = 16384
# Damping of Newton's method, as a share of the mean curvature: far below what moves a step,
# enough for columns that repeat each other and for what the classes have in common.
_DAMPING = 1e-10
_ITERATIONS = 100
# Of a standardised column's slope; beyond it float32 coefficients no longer change.
_TOLERANCE = 1e-10


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK):
        yield slice(start, start + _BLOCK)


def _shares(weight, n: int) -> np.ndarray:
    weight = np.ones(n) if weight is None else np.asarray(weight, np.float64)
    return weight / weight.sum()


def least_squares(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None, l2: float = 0.0
) -> tuple[np.ndarray, float]:
    """Coefficients (k,) and intercept of least weighted mean of (y - prediction)^2 / 2 + ridge.

    X: (n, k); y: (n,); weight: (n,) >= 0 or None. Where columns repeat each other and l2 is 0
    the coefficients are those of the smallest norm.  The centred rows are reduced to a
    triangle by QR, block by block, and that is solved by its singular values (Golub and Van
    Loan, "Matrix Computations", 5.5): no product of the data with itself, which would square
    its condition number. l2 adds k rows of sqrt(l2).

    >>> coefficients, intercept = least_squares(np.array([[1.0], [2.0], [4.0]]), [3.0, 5.0, 9.0])
    >>> coefficients.round(12).tolist(), round(intercept, 12)
    ([2.0], 1.0)
    """
    X, y = np.asarray(X), np.asarray(y, np.float64)
    n, k = X.shape
    share = _shares(weight, n)
    centre = sum(share[rows] @ X[rows].astype(np.float64) for rows in _blocks(n))
    level = share @ y
    triangle = np.hstack([np.sqrt(l2) * np.eye(k), np.zeros((k, 1))]) if l2 else None
    for rows in _blocks(n):
        root = np.sqrt(share[rows])[:, None]
        block = np.column_stack([X[rows] - centre, y[rows] - level]) * root
        triangle = np.linalg.qr(block if triangle is None else np.vstack([triangle, block]), "r")
    solution = np.linalg.lstsq(
        triangle[:, :k], triangle[:, k], rcond=np.finfo(np.float64).eps * max(n, k)
    )[0]
    return solution, float(level - centre @ solution)


class LogisticFit(NamedTuple):
    """Coefficients (outputs, k), intercepts (outputs,), the loss after every iteration, and
    whether Ctrl-C ended them."""

    coefficients: np.ndarray
    intercepts: np.ndarray
    losses: list[float]
    interrupted: bool


def logistic_regression(
    X: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    l2: float = 0.0,
    told: Callable[[int, float], bool | None] | None = None,
) -> LogisticFit:
    """Coefficients, intercepts and the loss after every iteration.

    X: (n, k); target: (n, outputs), labels or probabilities: one output behind a sigmoid, or
    one a class behind a softmax; weight: (n,) >= 0 or None; told: called with the number of
    the iteration and its loss, and may answer True to stop there.  Newton's method with halved
    steps (iteratively reweighted least squares: McCullagh and Nelder, "Generalized Linear
    Models", 1989, 2.5; Böhning, "Multinomial logistic regression algorithm", 1992).  Separable
    rows with l2=0 have no optimum: the coefficients are those after 100 iterations.  Ctrl-C leaves
    those of the last iteration, zeros before the first.

    >>> X = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    >>> solved = logistic_regression(X, np.array([[0.0], [1.0], [1.0], [1.0]]), l2=0.1)
    >>> bool(solved.coefficients[0, 0] > 0), bool(solved.losses[-1] < np.log(2))
    (True, True)
    """
    X, target = np.asarray(X), np.asarray(target, np.float64)
    problem = _Logistic(X, target, _shares(weight, len(X)), l2)
    theta = np.zeros((target.shape[1], X.shape[1] + 1))
    losses: list[float] = []
    interrupted = False
    try:
        loss, gradient, curvature = problem.derivatives(theta)
        for iteration in range(_ITERATIONS):
            damping = _DAMPING * max(np.trace(curvature) / len(curvature), 1e-300)
            curvature[np.diag_indices_from(curvature)] += damping
            step = np.linalg.solve(curvature, -gradient.ravel()).reshape(theta.shape)
            factor, before = 1.0, loss
            while not (loss := problem.loss(theta + factor * step)) <= before and factor > 1e-9:
                factor /= 2
            if loss <= before:
                theta = theta + factor * step
            losses.append(min(loss, before))
            stop = told is not None and told(iteration + 1, losses[-1])
            if stop or not loss < before:  # or nothing is left but rounding
                break
            loss, gradient, curvature = problem.derivatives(theta)
            if np.abs(gradient).max() <= _TOLERANCE:
                break
    except KeyboardInterrupt:
        interrupted = True
    if problem.several:  # what all classes have in common changes no probability
        theta = theta - theta.mean(axis=0)
    return LogisticFit(theta[:, :-1], theta[:, -1], losses, interrupted)


class _Logistic:
    """Loss, gradient and curvature of a ridge logistic regression.

    theta: (outputs, k + 1), the intercepts last.
    """

    def __init__(self, X, target, share, l2: float):
        self.X, self.target, self.share, self.l2 = X, target, share, l2
        self.several = target.shape[1] > 1

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for rows in _blocks(len(self.X)):
            x = self.X[rows].astype(np.float64)
            yield np.column_stack([x, np.ones(len(x))]), self.target[rows], self.share[rows]

    def _ridge(self, theta: np.ndarray) -> float:
        return self.l2 / 2 * float((theta[:, :-1] ** 2).sum())

    def _losses(self, z: np.ndarray, target: np.ndarray) -> np.ndarray:
        if not self.several:
            return (np.logaddexp(0, z) - target * z)[:, 0]
        z = z - z.max(axis=1, keepdims=True)
        return np.log(np.exp(z).sum(axis=1)) - (target * z).sum(axis=1)

    def _expected(self, z: np.ndarray) -> np.ndarray:
        if not self.several:
            return 0.5 + 0.5 * np.tanh(0.5 * z)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def loss(self, theta: np.ndarray) -> float:
        total = self._ridge(theta)
        for x, target, share in self._parts():
            total += float(share @ self._losses(x @ theta.T, target))
        return total

    def derivatives(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, gradient (outputs, k + 1) and curvature (outputs (k + 1), the same)."""
        outputs, k = theta.shape
        loss = self._ridge(theta)
        gradient = np.zeros_like(theta)
        gradient[:, :-1] = self.l2 * theta[:, :-1]
        curvature = np.zeros((outputs, k, outputs, k))
        for x, target, share in self._parts():
            z = x @ theta.T
            p = self._expected(z)
            loss += float(share @ self._losses(z, target))
            gradient += ((p - target) * share[:, None]).T @ x
            for a in range(outputs):
                for b in range(a, outputs):
                    pair = share * p[:, a] * ((a == b) - p[:, b])
                    curvature[a, :, b] += (x * pair[:, None]).T @ x
        for a in range(outputs):
            for b in range(a):
                curvature[a, :, b] = curvature[b, :, a].T
        coefficients = np.arange(k - 1)
        for a in range(outputs):
            curvature[a, coefficients, a, coefficients] += self.l2
        return loss, gradient, curvature.reshape(outputs * k, outputs * k)
