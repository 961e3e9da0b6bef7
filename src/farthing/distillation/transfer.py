"""Tying a student's last hidden layer to a teacher's representation while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from farthing.losses import Loss
from farthing.model import Model

__all__ = ["Code", "Hint", "Tie"]

RATE = 2e-3
# Of a random projection of leaves, for a hint.
PROJECTED = 64


class Tie:
    """What ties the student to a representation: extra outputs of its last layer, thrown away
    after training, and a loss of them.

    values: the representation of every row that is learnt from, (n, d): numbers, or whole numbers
    that name leaves; weight: of the loss, beside the student's own.
    """

    def __init__(self, values: np.ndarray, weight: float, seed: int):
        self.weight = weight
        self._rng = np.random.default_rng(seed)
        self.values = self._prepared(values)

    def _prepared(self, values: np.ndarray) -> np.ndarray:
        """The target's columns, float32 (n, columns)."""
        raise NotImplementedError

    def start(self, model: Model) -> tuple[np.ndarray, object]:
        """Weights (extra, k) of the extra outputs, and a view of the last layer or None."""
        raise NotImplementedError

    def loss(self, outputs: np.ndarray, target: np.ndarray, share: np.ndarray):
        """The loss of the extra outputs of a minibatch, rows weighted by `share`, which adds up to
        1, and its gradient by them."""
        raise NotImplementedError

    def targets(self, target: np.ndarray) -> np.ndarray:
        """The columns that `tied` losses read, of rows that are learnt from."""
        return np.column_stack([target, self.values, np.ones(len(self.values))])

    def watched(self, target: np.ndarray) -> np.ndarray:
        """The same of rows that are only watched: their loss is the student's own."""
        nothing = np.zeros((len(target), self.values.shape[1] + 1))
        return np.column_stack([target, nothing])

    @contextmanager
    def tied(self, model: Model, own: Loss) -> Iterator[Loss]:
        """`model` with the extra outputs inside, and the loss to train it by."""
        last = model.layers[-1]
        outputs, dtype = last.n_outputs, last.weight.dtype
        extra, view = self.start(model)
        last.weight = np.concatenate([last.weight, extra]).astype(dtype)
        last.bias = np.concatenate([last.bias, np.zeros(len(extra))]).astype(dtype)
        if last.sign is not None:
            free = np.zeros(extra.shape, last.sign.dtype)
            last.sign = np.concatenate([last.sign, free])
        last.weight_view = view
        try:
            yield self._joint(own, outputs)
        finally:
            last.weight_view = None
            last.keep(outputs=np.arange(last.n_outputs) < outputs)

    def _joint(self, own: Loss, outputs: int) -> Loss:
        columns = self.values.shape[1] + 1

        def loss(z, target, weight=None):
            known = target[:, :-columns]
            value, gradient = own(z[:, :outputs], known, weight)
            whole = np.zeros_like(z)
            whole[:, :outputs] = gradient
            if target[0, -1]:
                share = np.ones(len(z)) if weight is None else np.asarray(weight, np.float64)
                share = (share / len(z)).astype(z.dtype)[:, None]
                tie, slope = self.loss(z[:, outputs:], target[:, -columns:-1], share)
                value += self.weight * tie
                whole[:, outputs:] = self.weight * slope
            return value, whole

        return loss


def _standardized(values: np.ndarray) -> np.ndarray:
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1)


def _leaf_places(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Leaves numbered over all trees, (n, trees), and how many there are."""
    places, start = np.empty(values.shape, np.int64), 0
    for tree in range(values.shape[1]):
        found, place = np.unique(values[:, tree], return_inverse=True)
        places[:, tree] = start + place
        start += len(found)
    return places, start


class Hint(Tie):
    """The hidden layer is to tell the representation by a linear map that is trained with it
    (Romero, Ballas, Kahou, Chassang, Gatta & Bengio 2015, "FitNets: Hints for thin deep nets").
    Leaves are projected at random to `PROJECTED` numbers."""

    def _prepared(self, values):
        if values.dtype.kind == "i":
            places, count = _leaf_places(values)
            vectors = self._rng.standard_normal((count, PROJECTED)).astype(np.float32)
            values = np.zeros((len(places), PROJECTED), np.float32)
            for place in places.T:
                values += vectors[place]
        return _standardized(values).astype(np.float32)

    def start(self, model):
        k = model.layers[-1].n_inputs
        return self._rng.standard_normal((self.values.shape[1], k)) / np.sqrt(k), None

    def loss(self, outputs, target, share):
        off = outputs - target
        columns = off.shape[1]
        return float((share * off * off).sum() / (2 * columns)), share * off / columns


class Code(Tie):
    """The article's encoder and decoder: an encoder compresses the representation to a code of
    `size` numbers, a decoder maps the code to the hidden layer, and both are trained, with the
    student, so that the two meet. The encoder is a linear map, of leaves a sum of one vector a
    leaf, behind a tanh; the decoder a linear map.
    """

    def __init__(self, values: np.ndarray, weight: float, seed: int, size: int):
        self._size = size
        super().__init__(values, weight, seed)

    def _prepared(self, values):
        self._is_leaves = values.dtype.kind == "i"
        if self._is_leaves:
            values, self._rows = _leaf_places(values)
            return values.astype(np.float32)
        self._rows = values.shape[1]
        return _standardized(values).astype(np.float32)

    def start(self, model):
        last = model.layers[-1]
        outputs, k = last.n_outputs, last.n_inputs
        spread = 1 / np.sqrt(self.values.shape[1])
        draw = self._rng.standard_normal
        self._parameters = [
            (spread * draw((self._rows, self._size))).astype(np.float32),
            np.zeros(self._size, np.float32),
            (draw((self._size, k)) / np.sqrt(self._size)).astype(np.float32),
            np.zeros(k, np.float32),
        ]
        self._moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self._parameters]
        self._count = 0
        identity = np.eye(k)

        def view(weight, training):
            shown = weight.copy()
            shown[outputs:] = identity
            return shown

        return identity, view

    def loss(self, outputs, target, share):
        encoder, shift, decoder, base = self._parameters
        used = slice(None)  # rows of the encoder; of leaves those that the minibatch is in
        if self._is_leaves:
            used, flat = np.unique(target.astype(np.int64), return_inverse=True)
            total = encoder[used][flat.reshape(target.shape)].sum(axis=1)
        else:
            total = target @ encoder
        code = np.tanh(total + shift)
        off = outputs - (code @ decoder + base)
        columns = off.shape[1]
        slope = share * off / columns
        of_code = -(slope @ decoder.T) * (1 - code * code)
        if self._is_leaves:
            # A bincount a number of the code: ten times as fast as adding at indices.
            columns_of = [np.repeat(column, target.shape[1]) for column in of_code.T]
            of_encoder = np.stack(
                [np.bincount(flat.ravel(), column, len(used)) for column in columns_of], axis=1
            )
        else:
            of_encoder = target.T @ of_code
        others = of_code.sum(axis=0), -(code.T @ slope), -slope.sum(axis=0)
        self._update([of_encoder, *others], used)
        return float((share * off * off).sum() / (2 * columns)), slope

    def _update(self, gradients: list[np.ndarray], used) -> None:
        """A step of Adam; of the encoder for the rows that are used, the others wait."""
        self._count += 1
        rate = RATE * np.sqrt(1 - 0.999**self._count) / (1 - 0.9**self._count)
        for parameter, moments, gradient, rows in zip(
            self._parameters, self._moments, gradients, (used, ..., ..., ...), strict=True
        ):
            mean, square = (moment[rows] for moment in moments)
            mean = mean + 0.1 * (gradient - mean)
            square = square + 0.001 * (gradient * gradient - square)
            moments[0][rows], moments[1][rows] = mean, square
            step = rate * mean / (np.sqrt(square) + 1e-8)
            parameter[rows] -= step.astype(np.float32)
