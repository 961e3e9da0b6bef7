"""OBS: the optimal brain surgeon, layer by layer, with its exact update of what stays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from farthing._validate import FarthingError
from farthing.layers import Dense
from farthing.model import Model
from farthing.moments import second_moments
from farthing.probe import Sample
from farthing.pruning.magnitude import Magnitude
from farthing.steps import Step

__all__ = ["OBS"]

ROWS = 8192
# Refits of a row whose weights would take a wrong sign, without these, before they are cut to 0.
SIGN_REFITS = 20


class OBS(Magnitude):
    """w^2 / [H^-1]_ww, where H holds the second moments of the inputs whose weights in the same
    output are left: how much the squared error of the layer's sums grows without a weight when
    the others make up for it as well as they can (Hassibi & Stork 1993, "Optimal brain surgeon").

    Sizes are its roots in parts of the layer's mean square sum. `settle` gives what is left,
    biases too, the values that best repeat the sums of the model before the step, layer by layer,
    on inputs from the layers before: for given masks the exact answer to what SparseGPT (Frantar
    & Alistarh 2023, "Massive language models can be accurately pruned in one-shot") approaches
    a column at a time. Zeros and monotone signs are kept. In a schedule, training takes the place
    of the update, and all inputs count in H.
    """

    needs = "rows"
    order = 2
    is_loss = True

    def __init__(self, step: Step, scheduled: bool = False):
        if step.model.is_quantized:
            raise FarthingError(
                "method 'obs' needs float weights, which it updates, got a quantized model; prune "
                "before quantizing"
            )
        self.rounds = 1 if scheduled else 8
        self._scheduled = scheduled
        self._sample = Sample(step, ROWS)
        self._before = [layer.copy() for layer in step.model.layers]
        self._sums = [
            _sums(layer, x)
            for layer, x in zip(self._before, self._sample.inputs(step.model), strict=True)
        ]

    def sizes(self, model: Model) -> list[np.ndarray]:
        found = []
        inputs = self._sample.inputs(model)
        for layer, x, before in zip(model.layers, inputs, self._sums, strict=True):
            # In a schedule the last layer's are in other units than before.
            sums = _sums(layer, x) if self._scheduled else before
            moments = second_moments(x, self._sample.share).matrix
            diagonal = np.ones(layer.weight.shape)
            if self._scheduled:
                diagonal[:] = np.diagonal(np.linalg.inv(moments))[:-1]
            else:
                for rows, kept in _supports(layer):
                    inverse = np.diagonal(np.linalg.inv(moments[np.ix_(kept, kept)]))
                    diagonal[np.ix_(rows, kept[:-1])] = inverse[:-1]
            total = (self._sample.share @ np.square(sums, dtype=np.float64)).sum() or 1.0
            found.append((np.abs(layer.weight) / np.sqrt(diagonal * total)).astype(np.float32))
        return found

    def settle(self, model: Model) -> None:
        if self._scheduled:
            return
        x = self._sample.inputs(model)[0]
        for layer, before, sums in zip(model.layers, self._before, self._sums, strict=True):
            if layer.weight.shape == before.weight.shape and layer.mask is not None:
                self._refit(layer, before, x, sums)
            x, _ = layer.forward(x)

    def _refit(self, layer: Dense, before: Dense, x: np.ndarray, sums: np.ndarray) -> None:
        moments, damping, weighted = second_moments(x, self._sample.share)
        old = np.column_stack([before.weight, before.bias]).astype(np.float64)
        # Damped towards the weights that there were, not towards 0.
        wanted = weighted.T @ sums + damping[:, None] * old.T
        for rows, kept in _supports(layer):
            new = np.linalg.solve(moments[np.ix_(kept, kept)], wanted[np.ix_(kept, rows)]).T
            if layer.sign is not None:
                for i, row in enumerate(rows):
                    sign = np.append(layer.sign[row], 0)
                    new[i] = _signed(moments, wanted[:, row], kept, sign[kept], new[i])
            layer.weight[np.ix_(rows, kept[:-1])] = new[:, :-1]
            layer.bias[rows] = new[:, -1]
        layer.project()


def _sums(layer: Dense, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.T + layer.bias


def _supports(layer: Dense) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outputs that keep the same weights, and the columns of those, with that of the bias."""
    n, k = layer.weight.shape
    mask = np.ones((n, k), bool) if layer.mask is None else layer.mask
    masks, which = np.unique(mask, axis=0, return_inverse=True)
    for i, own in enumerate(masks):
        yield np.flatnonzero(which.ravel() == i), np.flatnonzero(np.append(own, True))


def _signed(moments, wanted, kept, sign, new) -> np.ndarray:
    """The solution without the weights that would take a wrong sign: they are 0."""
    within = np.ones(len(kept), bool)
    for _ in range(SIGN_REFITS):
        wrong = new * sign < 0
        if not wrong.any():
            break
        within &= ~wrong
        own = kept[within]
        new = np.zeros(len(kept))
        new[within] = np.linalg.solve(moments[np.ix_(own, own)], wanted[own])
    return new
