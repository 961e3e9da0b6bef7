"""Activation functions of hidden layers and their slopes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["ACTIVATIONS", "activate"]

# x sigmoid(2 c (x + d x^3)) follows x Phi(x), which needs the error function.
GELU_C, GELU_D = float(np.sqrt(2 / np.pi)), 0.044715
# Beyond it the sigmoid is 0 or 1 in double precision too, and cubes need not overflow.
_GELU_END = 12

Activated = tuple[np.ndarray, np.ndarray | None]


def _sigmoid(z: np.ndarray) -> np.ndarray:
    # tanh saturates where exp would overflow.
    s = np.tanh(z * z.dtype.type(0.5))
    s += 1
    s *= z.dtype.type(0.5)
    return s


def linear(z: np.ndarray, training: bool) -> Activated:
    return z, None


def relu(z: np.ndarray, training: bool) -> Activated:
    # A row of zeros: numpy is a few times slower with a scalar.
    np.maximum(z, np.zeros(z.shape[-1], z.dtype), out=z)
    return z, z > 0 if training else None


def tanh(z: np.ndarray, training: bool) -> Activated:
    y = np.tanh(z, out=z)
    return y, 1 - y * y if training else None


def sigmoid(z: np.ndarray, training: bool) -> Activated:
    y = _sigmoid(z)
    return y, y * (1 - y) if training else None


def silu(z: np.ndarray, training: bool) -> Activated:
    s = _sigmoid(z)
    y = z * s
    return y, s + y * (1 - s) if training else None


def gelu(z: np.ndarray, training: bool) -> Activated:
    inner = np.clip(z, -_GELU_END, _GELU_END)
    square = inner * inner
    number = z.dtype.type
    s = _sigmoid(number(2 * GELU_C) * inner * (1 + number(GELU_D) * square))
    y = z * s
    if not training:
        return y, None
    rise = number(2 * GELU_C) * (1 + number(3 * GELU_D) * square)
    return y, s + y * (1 - s) * rise


ACTIVATIONS: dict[str, Callable[[np.ndarray, bool], Activated]] = {
    "linear": linear,
    "relu": relu,
    "tanh": tanh,
    "gelu": gelu,
    "silu": silu,
    "sigmoid": sigmoid,
}


def activate(name: str, z: np.ndarray, training: bool = False) -> Activated:
    """``name`` of every entry of ``z``, and where ``training`` its slope there.

    name: "linear", "relu", "tanh", "sigmoid", "silu", which is z sigmoid(z) (Elfwing, Uchibe
    and Doya, "Sigmoid-Weighted Linear Units", 2018), or "gelu" in its tanh form,
    z sigmoid(2 sqrt(2 / pi) (z + 0.044715 z^3)) (Hendrycks and Gimpel, "Gaussian Error Linear
    Units", 2016).  The slope is None where it is 1 everywhere, bool where it is 0 or 1, else like
    ``z``, which may be overwritten.

    >>> y, slope = activate("tanh", np.array([0.0, 100.0]), training=True)
    >>> y.tolist(), slope.tolist()
    ([0.0, 1.0], [1.0, 0.0])
    """
    return ACTIVATIONS[name](z, training)
