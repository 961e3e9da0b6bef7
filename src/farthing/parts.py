"""What training reads: a part of the data, and what each step sees of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from farthing._validate import FarthingError
from farthing.losses import Loss
from farthing.model import Model
from farthing.sampling import EncodedRows, Minibatches

__all__ = ["FULL_BATCH_STEPS", "Feed", "Part"]

# Full-batch training: 16 epochs are about a thousand steps.
FULL_BATCH_STEPS = 64
# Rows of the search part that are expanded at a time.
_SEARCH_ROWS = 2048


class Part:
    """Positions, target and weights (of mean 1, or None) of a part of the data."""

    def __init__(
        self, name: str, model: Model, X, target, weight, *, amax: int | None, columns: int | None
    ):
        dtype = model.layers[-1].weight.dtype
        self.positions = model.encoder.positions(X, amax)
        n = len(self)
        if n == 0:
            raise FarthingError(f"{name}: got no rows, allowed are 1 or more")
        self.target = np.asarray(target, dtype=dtype).reshape(len(target), -1)
        allowed = (n, columns or self.target.shape[1])
        if self.target.shape != allowed:
            raise FarthingError(
                f"{name}: got targets of shape {np.shape(target)}, allowed is {allowed}, "
                "or one dimension for one output"
            )
        if not np.isfinite(self.target).all():
            raise FarthingError(f"{name}: got infinite or NaN targets, allowed are finite ones")
        self.weight = None
        if weight is not None:
            weight = np.asarray(weight, dtype=np.float64)
            if weight.shape != (n,):
                raise FarthingError(f"{name}: weights have shape {weight.shape}, allowed is ({n},)")
            if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
                raise FarthingError(
                    f"{name}: got negative, infinite or NaN weights or only zeros, "
                    "allowed are weights >= 0"
                )
            self.weight = (weight / weight.mean()).astype(dtype)

    def __len__(self) -> int:
        return len(self.positions)

    def batch(self, rows) -> tuple[np.ndarray, np.ndarray | None]:
        """Target and weight of some rows."""
        return self.target[rows], None if self.weight is None else self.weight[rows]

    def loss(self, model: Model, loss: Loss) -> float:
        """Mean loss of ``model``, expanded a few rows at a time."""
        total = 0.0
        buffer = np.empty((min(len(self), _SEARCH_ROWS), model.encoder.width), np.float32)
        for start in range(0, len(self), len(buffer)):
            rows = slice(start, start + len(buffer))
            positions = self.positions[rows]
            z = model.forward_positions(positions, buffer[: len(positions)])
            total += loss(z, *self.batch(rows))[0] * len(positions)
        return total / len(self)


class Feed:
    """What a step sees: the encoded rows, target and weights of a minibatch, or of all rows.

    batches: None for all rows.  tables: the encoder's embeddings where ``embedded`` asks to train
    them, else empty; embedded_columns: theirs in the encoding, or None.
    """

    def __init__(
        self, part: Part, model: Model, batches: Minibatches | None, seed: int, embedded: bool
    ):
        self._part, self._encoder, self._batches = part, model.encoder, batches
        self.full_batch = batches is None
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.tables = model.encoder.embeddings_ if embedded else {}
        self.embedded_columns = model.encoder.embedded_columns if self.tables else None
        positions = part.positions
        if batches is None:
            self.steps = FULL_BATCH_STEPS
            self._now = positions
            self._all = EncodedRows.expanded(model.encoder, positions)
            return
        self.steps = batches.steps
        self._chosen = np.empty((batches.largest, positions.shape[1]), positions.dtype)
        self._encoded = np.empty((batches.largest, model.encoder.width), np.float32)

    def epoch(self) -> Iterator[tuple]:
        if self._batches is None:
            for _ in range(self.steps):
                self._renew()
                yield self._all, self._part.target, self._part.weight
            return
        for rows in self._batches.epoch(self.rng):
            self._now = self._chosen[: len(rows)]
            np.take(self._part.positions, rows, axis=0, out=self._now, mode="clip")
            x = self._encoder.expand(self._now, out=self._encoded[: len(rows)])
            yield x, *self._part.batch(rows)

    def _renew(self) -> None:
        """Embeddings have moved since the rows were expanded."""
        if isinstance(self._all, np.ndarray):
            start = 0
            for feature, table in self.tables.items():
                columns = self.embedded_columns[start : start + table.shape[1]]
                self._all[:, columns] = table[self._now[:, feature].astype(np.intp)]
                start += table.shape[1]

    def embedding_gradients(self, gradient: np.ndarray, out: dict[int, np.ndarray]) -> None:
        """From the gradient by the ``embedded_columns`` of this step to that by the tables."""
        for feature, own in self._encoder.embedding_gradient(gradient, self._now).items():
            out[feature][:] = own
