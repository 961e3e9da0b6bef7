"""OBS: the optimal brain surgeon, layer by layer, with its exact update of what stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator

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
# Refits of an output whose weights would take a wrong sign.
SIGN_REFITS = 50


class OBS(Magnitude):
    """w^2 / [H^-1]_ww, where H holds the second moments of the inputs whose weights in the same
    output are left: how much the squared error of the layer's sums grows without a weight when
    the others make up for it as well as they can (Hassibi & Stork 1993, "Optimal brain surgeon").
    Weights that go together, of a block or a feature, are worth w' [H^-1]_ww^-1 w, and a neuron
    what the next layer loses without it.

    Sizes are its roots in parts of the layer's mean square sum. `settle` gives what is left,
    biases too, the values that best repeat the layer's sums, layer by layer, on inputs from the
    layers before: for given masks the exact answer to what SparseGPT (Frantar & Alistarh 2023,
    "Massive language models can be accurately pruned in one-shot") approaches a column at a time.
    The sums are those of the model before the step, in a schedule those before each of its updates;
    the layers before the first that lost something are not changed. Zeros and monotone signs are
    kept.
    """

    needs = "rows"
    order = 2
    is_loss = True
    # An inverse for each output is dear.
    updates = 10
    rounds = 8

    def __init__(self, step: Step, scheduled: bool = False):
        if step.model.is_quantized:
            raise FarthingError(
                "method 'obs' needs float weights, which it updates, got a quantized model; prune "
                "before quantizing"
            )
        self._scheduled = scheduled
        self._sample = Sample(step, ROWS)
        self._remember(step.model)

    def _remember(self, model: Model) -> None:
        """The model whose sums are to be repeated."""
        self._before = [layer.copy() for layer in model.layers]
        inputs = zip(self._before, self._sample.inputs(model), strict=True)
        self._sums = [_sums(layer, x) for layer, x in inputs]
        share = self._sample.share
        self._totals = [(share @ np.square(s, dtype=np.float64)).sum() or 1.0 for s in self._sums]

    def sizes(self, model: Model) -> list[np.ndarray]:
        inputs, found = self._sample.inputs(model), []
        for layer, x, total in zip(model.layers, inputs, self._totals, strict=True):
            moments = second_moments(x, self._sample.share).matrix
            diagonal = np.ones(layer.weight.shape)
            for rows, kept in _supports(layer):
                inverse = np.diagonal(np.linalg.inv(moments[np.ix_(kept, kept)]))
                diagonal[np.ix_(rows, kept[:-1])] = inverse[:-1]
            found.append((np.abs(layer.weight) / np.sqrt(diagonal * total)).astype(np.float32))
        return found

    def together(self, model: Model, groups: dict[int, np.ndarray]) -> list[np.ndarray]:
        inputs = self._sample.inputs(model)
        return [
            self._losses(model.layers[index], inputs[index], group) / self._totals[index]
            for index, group in groups.items()
        ]

    def _losses(self, layer: Dense, x: np.ndarray, group: np.ndarray) -> np.ndarray:
        """What every output loses without a group of its inputs, squared, (n, groups)."""
        moments = second_moments(x, self._sample.share).matrix
        found = np.zeros((layer.n_outputs, group.max() + 1))
        for rows, kept in _supports(layer):
            inverse = np.linalg.inv(moments[np.ix_(kept, kept)])
            weight, owner = layer.weight[np.ix_(rows, kept[:-1])], group[kept[:-1]]
            for own in np.unique(owner):
                at = np.flatnonzero(owner == own)
                of_group = weight[:, at].astype(np.float64)
                solved = np.linalg.solve(inverse[np.ix_(at, at)], of_group.T)
                found[rows, own] = np.einsum("ij,ji->i", of_group, solved)
        return np.maximum(found, 0)

    def begin(self, model: Model) -> None:
        if self._scheduled:
            self._remember(model)

    def settle(self, model: Model, exclude: Collection[str] = ()) -> None:
        x, lost = self._sample.inputs(model)[0], False
        for layer, before, sums in zip(model.layers, self._before, self._sums, strict=True):
            lost = lost or not np.array_equal(layer.support, before.support)
            if lost and layer.name not in exclude:
                self._refit(layer, before, x, sums)
            x, _ = layer.forward(x)

    def _refit(self, layer: Dense, before: Dense, x: np.ndarray, sums: np.ndarray) -> None:
        moments, damping, weighted = second_moments(x, self._sample.share)
        old = np.column_stack([before.weight, before.bias]).astype(np.float64)
        # Damped towards the weights that there were, not towards 0.
        wanted = weighted.T @ sums + damping[:, None] * old.T
        for rows, kept in _supports(layer):
            own, target = moments[np.ix_(kept, kept)], wanted[np.ix_(kept, rows)]
            new = np.linalg.solve(own, target).T
            if layer.sign is not None:
                for i, row in enumerate(rows):
                    sign = np.append(layer.sign[row], 0)[kept]
                    new[i] = _signed(own, target[:, i], sign, new[i])
            layer.weight[np.ix_(rows, kept[:-1])] = new[:, :-1]
            layer.bias[rows] = new[:, -1]
        layer.project()


def _sums(layer: Dense, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.T + layer.bias


def _supports(layer: Dense) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outputs that keep the same weights, and the columns of those, with that of the bias."""
    masks, which = np.unique(layer.support, axis=0, return_inverse=True)
    for i, own in enumerate(masks):
        yield np.flatnonzero(which.ravel() == i), np.flatnonzero(np.append(own, True))


def _signed(moments, wanted, sign, free) -> np.ndarray:
    """The solution of least squares whose weights have no wrong sign, from that without signs.

    An active set as in Lawson & Hanson 1974, "Solving least squares problems", that starts from
    the weights which are right: those that turn wrong leave, the one that would help most returns.
    """
    new, within = free, free * sign >= 0
    if within.all():
        return free
    best, least = np.zeros(len(free)), np.inf
    for _ in range(SIGN_REFITS):
        new = np.zeros(len(free))
        new[within] = np.linalg.solve(moments[np.ix_(within, within)], wanted[within])
        wrong = new * sign < 0
        if wrong.any():
            within &= ~wrong
            continue
        error = new @ moments @ new - 2 * wanted @ new
        if not error < least:  # what returned has not helped
            break
        best, least = new, error
        pull = np.where(within, 0, sign * (wanted - moments @ new))
        if not pull.max() > 1e-9 * np.abs(wanted).max():
            break
        within[np.argmax(pull)] = True
    return best
