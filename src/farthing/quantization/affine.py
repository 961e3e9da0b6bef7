"""The article's formula: parameters scaled to [0, 1], times a ratio, to an integer."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError
from farthing.layers import Dense
from farthing.model import Model

__all__ = ["ROUNDINGS", "affine", "quantize_affine"]


def _stochastic(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up with the probability of the fraction, so that the mean is the value itself (Gupta,
    Agrawal, Gopalakrishnan & Narayanan 2015, "Deep learning with limited numerical precision")."""
    return np.floor(values + rng.random(values.shape))


ROUNDINGS = {
    "nearest": lambda values, rng: np.rint(values),
    "floor": lambda values, rng: np.floor(values),
    "stochastic": _stochastic,
}


def affine(
    weight: np.ndarray, bits: int, rounding: str = "nearest", rng: np.random.Generator | None = None
) -> tuple[np.ndarray, float, float]:
    """Integers (n, k) in 0..2^bits - 1, with the step and the value of 0: weights are about
    ``value + step * integers``.

    >>> integers, step, zero = affine(np.array([[-1.0, 0.0, 3.0]]), 2)
    >>> integers.tolist(), round(step, 3), zero
    ([[0, 1, 3]], 1.333, -1.0)
    """
    low, high = float(weight.min()), float(weight.max())
    ratio = (1 << bits) - 1
    step = (high - low) / ratio if high > low else 1.0
    scaled = (weight.astype(np.float64) - low) / (step * ratio)
    integers = ROUNDINGS[rounding](scaled * ratio, rng)
    return np.clip(integers, 0, ratio).astype(np.int64), step, low


def quantize_affine(
    model: Model, bits: dict[str, int], rounding: str, rng: np.random.Generator
) -> None:
    """Replaces the weights of every layer, in place, by those that its integers stand for.

    They stay float32: there is no kernel for integers whose zero is not 0. Weights that were
    pruned stay zeros, those that a monotone model must not have become zeros.
    """
    for layer in model.layers:
        if layer.quantized is not None:
            raise FarthingError(
                "scheme 'affine' needs float weights, got a quantized model; prune or quantize the "
                "float model instead"
            )
        _replace(layer, bits[layer.name], rounding, rng)


def _replace(layer: Dense, bits: int, rounding: str, rng: np.random.Generator) -> None:
    integers, step, low = affine(layer.weight, bits, rounding, rng)
    pruned = layer.weight == 0
    layer.weight[:] = low + step * integers
    layer.weight[pruned] = 0
    layer.project()
