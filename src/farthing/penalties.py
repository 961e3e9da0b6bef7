"""Penalties that make weights, or groups of them, exactly zero while training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from farthing._validate import FarthingError, check_number
from farthing.model import Model

__all__ = ["GROUPS", "Penalty", "Proximal"]

GROUPS = ("feature", "bin", "neuron")


@dataclass(frozen=True)
class Penalty:
    """``l1 * sum |w| + sum over groups of lambda * sqrt(size) * |w of the group|_2``.

    Added to the mean loss of a row; biases are free.  l1: number >= 0, over the weights of all
    layers.  group_l1: number >= 0, for features, or a dict with some of "feature" (all columns of
    the first layer that a raw feature is encoded in), "bin" (each of these columns by itself)
    and "neuron" (the incoming weights of a hidden neuron, which then answers a constant).
    Raises FarthingError for other values or keys, TypeError for other types.

    The group lasso: Yuan and Lin, "Model Selection and Estimation in Regression with Grouped
    Variables" (2006); proximal steps: Parikh and Boyd, "Proximal Algorithms" (2014).

    >>> Penalty(group_l1={"neuron": 0.01}).groups
    {'feature': 0.0, 'bin': 0.0, 'neuron': 0.01}
    """

    l1: float = 0.0
    group_l1: float | Mapping[str, float] = 0.0
    groups: dict[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        check_number("[0, inf)", l1=self.l1)
        given = self.group_l1
        if not isinstance(given, Mapping):
            check_number("[0, inf)", group_l1=given)
            given = {"feature": given}
        for name, value in given.items():
            if name not in GROUPS:
                allowed = ", ".join(map(repr, GROUPS))
                raise FarthingError(f"group_l1: got the group {name!r}, allowed are {allowed}")
            check_number("[0, inf)", **{f"group_l1[{name!r}]": value})
        groups = {name: float(given.get(name, 0)) for name in GROUPS}
        object.__setattr__(self, "groups", groups)

    def __bool__(self) -> bool:
        """Whether it asks for anything."""
        return self.l1 > 0 or any(self.groups.values())


class Proximal:
    """The proximal steps of a penalty on the weights of a model.

    Adam moves each weight with a step size of its own, s.  A proximal step in the same metric
    has the minimum of loss + penalty as its fixed point, which one by the rate alone has not
    (Yun, Lozano and Yang, "Adaptive Proximal Gradient Methods for Structured Neural Networks",
    2021).  So a weight is soft-thresholded by ``s * l1``; a group becomes zero where
    ``|w / s|_2 <= lambda sqrt(size)``, and else shrinks by one fixed-point iteration of the
    step, which is exact where its step sizes are equal.  Bins lie within features and come first,
    which makes the two together one step (Jenatton, Mairal, Obozinski and Bach, "Proximal
    Methods for Hierarchical Sparse Coding", 2011); neurons come last.
    """

    def __init__(self, penalty: Penalty, model: Model):
        self._penalty, self._layers = penalty, model.layers
        feature = model.encoder.feature_of_column
        # The columns of a feature are neighbours.
        self._starts = np.flatnonzero(np.diff(feature, prepend=-1))
        self._columns = np.diff(self._starts, append=len(feature))

    def step(self, step_sizes: list[np.ndarray]) -> None:
        """After an update with ``step_sizes`` (one array a layer, like its weight), in place."""
        for i, (layer, size) in enumerate(zip(self._layers, step_sizes, strict=True)):
            weight = layer.weight
            if self._penalty.l1:
                threshold = size * weight.dtype.type(self._penalty.l1)
                weight -= np.clip(weight, -threshold, threshold)
            for name, strength in self._penalty.groups.items():
                if strength and (i == 0 if name != "neuron" else i < len(self._layers) - 1):
                    getattr(self, f"_shrink_{name}s")(weight, size, strength)

    def _shrink_bins(self, weight, size, strength: float) -> None:
        rows = len(weight)
        weight *= _shrink(weight, size, strength * np.sqrt(rows), lambda a: a.sum(axis=0))

    def _shrink_features(self, weight, size, strength: float) -> None:
        def total(values):
            return np.add.reduceat(values.sum(axis=0), self._starts)

        def spread(values):
            return np.repeat(values, self._columns)

        limit = strength * np.sqrt(len(weight) * self._columns)
        weight *= _shrink(weight, size, limit.astype(weight.dtype), total, spread)

    def _shrink_neurons(self, weight, size, strength: float) -> None:
        limit = strength * np.sqrt(weight.shape[1])
        weight *= _shrink(weight, size, limit, lambda a: a.sum(axis=1, keepdims=True))

    def hold(self) -> None:
        """What is zero becomes masked and stays so from here on."""
        for layer in self._layers:
            zero = layer.weight == 0
            if layer.mask is not None:
                zero &= layer.mask
            if zero.any():
                layer.set_mask(~zero if layer.mask is None else layer.mask & ~zero)


def _shrink(weight, size, limit, total, spread=lambda values: values) -> np.ndarray:
    """The factors of weights (n, k) that shrink groups whose norm is penalised by ``limit``.

    total: adds the entries of an (n, k) array by group; spread: gives each entry, or whatever
    broadcasts to it, its group's value.
    """
    steps = np.sqrt(total(np.square(weight / size)))
    stays = steps > limit
    share = np.divide(limit, steps, out=np.ones_like(steps), where=stays)
    norm = np.sqrt(total(np.square(weight))) * (1 - share)
    pull = np.divide(limit, norm, out=np.zeros_like(norm), where=norm > 0)
    return spread((norm > 0).astype(weight.dtype)) / (1 + size * spread(pull))
