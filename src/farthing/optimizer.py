"""Adam on one vector of all parameters, and the schedule of its rate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from farthing.layers import Dense

__all__ = ["Adam", "one_cycle"]

# Numbers that are updated at a time: the five vectors' pieces fit a second-level cache.
_CHUNK = 1 << 16


def one_cycle(step: int, total_steps: int, warmup: float = 0.1) -> float:
    """The share of the peak learning rate at ``step``: linear up, then half a cosine to 0.

    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates" (2018).

    >>> [round(float(one_cycle(step, 20)), 2) for step in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.01]
    """
    rise = max(1, round(warmup * total_steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + np.cos(np.pi * (step - rise) / (total_steps - rise)))


def _read(owner, key) -> np.ndarray:
    return owner[key] if isinstance(owner, dict) else getattr(owner, key)


def _write(owner, key, array: np.ndarray) -> None:
    if isinstance(owner, dict):
        owner[key] = array
    else:
        setattr(owner, key, array)


class Adam:
    """Adam with decoupled weight decay, in place, on the parameters of layers.

    The layers' arrays become views of one vector, ``parameters``, weights first;
    ``gradients`` (one dict a layer, by name) are views of another one: fill them before every
    ``step``.  `release` gives the layers arrays of their own again.  tables: arrays by key that
    are trained with the layers, such as embeddings; their gradients are the last dict.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015); Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization" (2019).  Biases, tables and the parameters of
    a normalisation do not decay.
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(
        self,
        layers: list[Dense],
        weight_decay: float = 0.0,
        tables: dict[int, np.ndarray] | None = None,
    ):
        self._layers, self._weight_decay, self._steps = layers, weight_decay, 0
        self._tables = tables or {}
        places = self._places()
        holders = [(i, name) for i, own in enumerate(places) for name in own]
        # Weights first: decay and masks need no look at the others.
        holders.sort(key=lambda holder: holder[1] != "weight")
        sizes = [_read(*places[i][name]).size for i, name in holders]
        bounds = np.cumsum([0, *sizes])
        self._slices = {
            holder: slice(start, end)
            for holder, start, end in zip(holders, bounds[:-1], bounds[1:], strict=True)
        }
        self._decaying = sum(layer.weight.size for layer in layers)
        dtype = layers[0].weight.dtype
        self.parameters = np.empty(bounds[-1], dtype)
        gradient, self._mean, self._square, self._scratch = (
            np.zeros(bounds[-1], dtype) for _ in range(4)
        )
        self._gradient = gradient
        self.gradients = self._views(gradient)
        self._parameter_views = self._views(self.parameters)
        self._moment_views = [self._views(self._mean), self._views(self._square)]
        self._adopt()

    def _places(self) -> list[dict]:
        """Who holds what, by name: a dict a layer, and one of the tables."""
        places: list[dict] = [layer.parameters() for layer in self._layers]
        return [*places, {key: (self._tables, key) for key in self._tables}]

    def _views(self, vector: np.ndarray) -> list[dict]:
        places = self._places()
        views: list[dict] = [{} for _ in places]
        for (i, name), part in self._slices.items():
            views[i][name] = vector[part].reshape(_read(*places[i][name]).shape)
        return views

    def _adopt(self) -> None:
        """Takes over arrays that the layers were given from outside."""
        for i, own in enumerate(self._places()):
            for name, (owner, key) in own.items():
                view = self._parameter_views[i][name]
                if _read(owner, key) is not view:
                    view[:] = _read(owner, key)
                    _write(owner, key, view)

    def step(self, learning_rate: float) -> None:
        """One update from ``gradients``."""
        self._steps += 1
        # Both moments are corrected for their start at 0 by scaling the rate and epsilon.
        root = np.sqrt(1 - self.beta2**self._steps)
        rate = float(learning_rate * root / (1 - self.beta1**self._steps))
        epsilon = float(self.epsilon * root)
        self._root = float(root)
        if self._weight_decay:
            self.parameters[: self._decaying] *= 1 - learning_rate * self._weight_decay
        for parameter, g, mean, square, scratch in self._chunks():
            mean *= self.beta1
            np.multiply(g, 1 - self.beta1, out=scratch)
            mean += scratch
            square *= self.beta2
            np.multiply(g, g, out=g)
            g *= 1 - self.beta2
            square += g
            np.sqrt(square, out=scratch)
            scratch += epsilon
            np.divide(mean, scratch, out=g)
            g *= rate
            parameter -= g

    def _chunks(self) -> Iterator[list[np.ndarray]]:
        vectors = (self.parameters, self._gradient, self._mean, self._square, self._scratch)
        for start in range(0, len(self.parameters), _CHUNK):
            yield [vector[start : start + _CHUNK] for vector in vectors]

    def metric(self, learning_rate: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Step sizes and mean gradients of the last step, arrays like each layer's weight.

        A step size is rate / (root mean square + epsilon): what the step multiplied the mean
        gradient by, but for the correction of its start.  Once a step: it overwrites what it
        is computed from.
        """
        sizes = self._scratch[: self._decaying]
        np.divide(float(learning_rate * self._root), sizes, out=sizes)
        views = self._views(self._scratch)
        moments = self._moment_views[0]
        count = len(self._layers)
        return [v["weight"] for v in views[:count]], [m["weight"] for m in moments[:count]]

    def apply_masks(self) -> None:
        """Sets masked weights and their moments to 0, so that they stay there."""
        self._adopt()
        for i, layer in enumerate(self._layers):
            if layer.mask is not None:
                layer.weight *= layer.mask
                for moments in self._moment_views:
                    moments[i]["weight"] *= layer.mask

    def release(self) -> None:
        """Ends the training: the layers' arrays are their own."""
        for own in self._places():
            for owner, key in own.values():
                _write(owner, key, _read(owner, key).copy())
