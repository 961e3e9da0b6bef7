"""Penalties that make weights, or groups of them, exactly zero while training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from farthing._validate import FarthingError, check_number
from farthing.model import Model

__all__ = ["GROUPS", "Penalty", "Proximal"]

GROUPS = ("feature", "bin", "neuron")
# Steps that a gradient is averaged over before it decides what is zero.
HORIZON = 100


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
        self._averages = [np.zeros_like(layer.weight) for layer in model.layers]

    def step(self, step_sizes: list[np.ndarray], gradients: list[np.ndarray]) -> None:
        """After an update, in place.

        step_sizes, gradients: one array a layer, like its weight: the metric and the direction
        of the update.
        """
        for i, layer in enumerate(self._layers):
            self._shrink(i, layer.weight, step_sizes[i])
            average = self._averages[i]
            average += (gradients[i] - average) * average.dtype.type(1 / HORIZON)

    def hold(self, step_sizes: list[np.ndarray]) -> None:
        """What the penalty wants to be zero becomes zero and masked, and stays so from here on.

        Minibatches shake small weights by more than one step's threshold, so that few are zero
        at any moment. But the fixed points of a proximal step do not depend on its size:
        what a step of `HORIZON` times the size by the averaged gradient makes zero, counts.
        """
        for i, layer in enumerate(self._layers):
            size = step_sizes[i] * step_sizes[i].dtype.type(HORIZON)
            trial = layer.weight - size * self._averages[i]
            self._shrink(i, trial, size)
            layer.weight[trial == 0] = 0
        self.keep_zeros()

    def keep_zeros(self) -> None:
        """What is zero becomes masked."""
        for layer in self._layers:
            zero = layer.weight == 0
            if layer.mask is not None:
                zero &= layer.mask
            if zero.any():
                layer.set_mask(layer.support & ~zero)

    def _shrink(self, i: int, weight: np.ndarray, size: np.ndarray) -> None:
        """The proximal step of layer i, in place."""
        if self._penalty.l1:
            threshold = size * weight.dtype.type(self._penalty.l1)
            weight -= np.clip(weight, -threshold, threshold)
        groups = self._penalty.groups
        if i == 0 and groups["bin"]:
            limit = groups["bin"] * np.sqrt(len(weight))
            weight *= _factors(weight, size, limit, lambda a: a.sum(axis=0))
        if i == 0 and groups["feature"]:
            limit = groups["feature"] * np.sqrt(len(weight) * self._columns)
            weight *= _factors(
                weight,
                size,
                limit.astype(weight.dtype),
                lambda a: np.add.reduceat(a.sum(axis=0), self._starts),
                lambda a: np.repeat(a, self._columns),
            )
        if i < len(self._layers) - 1 and groups["neuron"]:
            limit = groups["neuron"] * np.sqrt(weight.shape[1])
            weight *= _factors(weight, size, limit, lambda a: a.sum(axis=1, keepdims=True))


def _factors(weight, size, limit, total, spread=lambda values: values) -> np.ndarray:
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
