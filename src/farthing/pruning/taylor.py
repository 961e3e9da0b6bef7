"""Taylor: how much the loss would change without a weight, by its gradient."""

from __future__ import annotations

import numpy as np

from farthing.model import Model
from farthing.probe import Sample
from farthing.pruning.magnitude import Magnitude
from farthing.steps import Step

__all__ = ["Taylor"]

# Of a whole sample the gradients of a trained model cancel; of so many rows they are those that
# training goes by.
BATCH = 128


class Taylor(Magnitude):
    """|w times the gradient of the loss by it|, summed over minibatches of about `BATCH` rows: the
    first term of the loss's Taylor series, as Molchanov, Tyree, Karras, Aila & Kautz 2017,
    "Pruning convolutional neural networks for resource efficient inference", take it of outputs and
    Molchanov, Mallya, Tyree, Frosio & Kautz 2019, "Importance estimation for neural network
    pruning", squared, of weights."""

    needs = "labels"
    order = 1
    is_loss = True

    def __init__(self, step: Step, scheduled: bool = False):
        self._sample, self._step = Sample(step), step

    def sizes(self, model: Model) -> list[np.ndarray]:
        sample = self._sample
        signals = sample.signals(model, lambda z: self._step.loss_gradient(z, sample.index))
        found = []
        for layer, (x, dz) in zip(model.layers, signals, strict=True):
            total = np.zeros(layer.weight.shape)
            for rows in np.array_split(np.arange(len(x)), -(-len(x) // BATCH)):
                total += np.abs(dz[rows].T @ x[rows])
            found.append((np.abs(layer.weight) * total).astype(np.float32))
        return found
