"""Training: Adam with decoupled weight decay, a one-cycle rate, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from farthing._validate import FarthingError, check_fraction, check_integer
from farthing.backprop import gradients
from farthing.layers import Scratch
from farthing.losses import Loss, resolve_loss
from farthing.model import Model
from farthing.optimizer import Adam, one_cycle
from farthing.penalties import Penalty, Proximal
from farthing.sampling import EncodedRows, Minibatches, auto_batch_size
from farthing.splitting import SEARCH_MIN_ROWS, draw_seed, split_search

__all__ = [
    "SEARCH_MIN_ROWS",
    "History",
    "draw_seed",
    "split_search",
    "train",
]

# Full-batch training: 16 epochs are about a thousand steps.
FULL_BATCH_STEPS = 64
# With a penalty, what is zero in this last share of the steps stays zero, and the others settle.
HELD_SHARE = 0.25
# Rows of the search part that are expanded at a time.
_SEARCH_ROWS = 2048


@dataclass
class History:
    """What happened in ``train``, one loss an epoch.

    train_loss: mean loss of the epoch's minibatches, dropout included; validation_loss: of
    the search part after the epoch, empty without one; best_epoch: 0-based, the epoch whose
    parameters the model holds, None if none was finished; interrupted: whether Ctrl-C ended
    it; stopped: whether ``progress`` did.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    interrupted: bool = False
    stopped: bool = False

    @property
    def epochs(self) -> int:
        """Epochs that were run to the end."""
        return len(self.train_loss)


class _Part:
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


class _Best:
    """The parameters of the best epoch so far."""

    def __init__(self, epoch: int, loss: float, model: Model, adam: Adam):
        self.epoch, self.loss, self._adam = epoch, loss, adam
        self._parameters = adam.parameters.copy()
        # The running statistics of the normalisations are no parameters.
        norms = [layer.norm for layer in model.layers if layer.norm is not None]
        self._statistics = [(norm, norm.mean.copy(), norm.variance.copy()) for norm in norms]

    def restore(self) -> None:
        self._adam.parameters[:] = self._parameters
        for norm, mean, variance in self._statistics:
            norm.mean, norm.variance = mean, variance
        self._adam.apply_masks()


class _Feed:
    """What a step sees: the encoded rows, target and weights of a minibatch, or of all rows."""

    def __init__(self, part: _Part, model: Model, batches: Minibatches | None, seed: int):
        self._part, self._encoder, self._batches = part, model.encoder, batches
        self.rng = np.random.Generator(np.random.PCG64(seed))
        if batches is None:
            self.steps = FULL_BATCH_STEPS
            self._all = EncodedRows.expanded(model.encoder, part.positions)
            return
        self.steps = batches.steps
        positions = part.positions
        self._chosen = np.empty((batches.largest, positions.shape[1]), positions.dtype)
        self._encoded = np.empty((batches.largest, model.encoder.width), np.float32)

    def epoch(self) -> Iterator[tuple]:
        if self._batches is None:
            for _ in range(self.steps):
                yield self._all, self._part.target, self._part.weight
            return
        for rows in self._batches.epoch(self.rng):
            chosen = self._chosen[: len(rows)]
            np.take(self._part.positions, rows, axis=0, out=chosen, mode="clip")
            yield (
                self._encoder.expand(chosen, out=self._encoded[: len(rows)]),
                *self._part.batch(rows),
            )


@contextmanager
def _in_double(model: Model, wanted: bool) -> Iterator[None]:
    """Parameters in float64 inside, in the type they had afterwards."""
    kept = [layer.weight.dtype for layer in model.layers]
    try:
        if wanted:
            for layer in model.layers:
                layer.astype(np.float64)
        yield
    finally:
        for layer, dtype in zip(model.layers, kept, strict=True):
            layer.astype(dtype)


def _auto_learning_rate(model: Model, full_batch: bool) -> float:
    if len(model.layers) == 1:
        return 0.02
    # Without the noise of minibatches Adam's steps are longer, and rows are learnt by heart.
    return 0.0005 if full_batch else 0.002


def train(
    model: Model,
    X,
    target,
    *,
    loss: str | Loss = "binary",
    sample_weight=None,
    validation: tuple | None = None,
    max_epochs: int = 16,
    batch_size: int | str = "auto",
    full_batch: bool = False,
    strata=None,
    learning_rate: float | str = "auto",
    weight_decay: float = 0.0,
    penalty: Penalty | None = None,
    dropout: float = 0.05,
    patience: int = 8,
    min_epochs: int = 0,
    seed: int = 0,
    input_amax: int | None = None,
    on_step: Callable[[int, int, Model], None] | None = None,
    progress: Callable[[dict], object] | None = None,
) -> History:
    """Trains ``model`` in place on raw rows ``X`` (rows, features), from what it is now.

    target: (rows,) or (rows, outputs), in the units of the last output: labels or
    probabilities in [0, 1] for loss="binary" (cross-entropy is linear in them: training on
    alpha x teacher + (1 - alpha) x label is training on the two losses so blended), values
    for "squared".
    loss: a name in `farthing.losses.LOSSES`, or a function like those there, whose targets
    may have any number of columns.
    sample_weight: (rows,), >= 0; their scale does not matter.
    validation: (X, target, weight or None), the search part: after each epoch its loss is
    computed, training ends after ``patience`` epochs without a better one, and the
    parameters of the best epoch are restored.  None: ``max_epochs`` are run.
    min_epochs: the best epoch is chosen after this many, such as when pruning is done.
    batch_size: rows a step; "auto": near rows / 64, from 16 to 512.
    full_batch: True: every step sees all rows, in double precision, 64 steps an epoch; parameters
    are rounded to their type at the end.  Dropout takes a unit from all rows at once, so that a
    row of weight 2 is two rows, to rounding.
    strata: int (rows,) or None: every minibatch has each stratum's share of the rows, such as
    of rare positives.
    learning_rate: the peak of a one-cycle schedule over ``max_epochs``; "auto": 0.002, of full
    batches 0.0005, and 0.02 for a model of one layer.  weight_decay: decoupled; a weight
    shrinks by the current rate x weight_decay a step.  dropout: of the hidden activations.
    penalty: a `farthing.penalties.Penalty`: its zeros are masks afterwards.  In the last
    quarter of the steps a weight that is zero stays zero; the best epoch is chosen among those.
    seed: for the order of rows and dropout; the same seed repeats to the bit.
    input_amax: 127 or 255 to train on the quantized input.
    on_step(step, total_steps, model): called before every step, 0-based; it may set the
    layers' masks or change them, and weights that become masked are and stay 0.
    progress: called after each epoch with a dict of epoch (1-based), max_epochs, loss and
    validation_loss (None without validation); if it returns True, training ends there.

    Batch normalisation of the layers is folded into weights and biases at the end.  Ctrl-C ends
    training with the best epoch so far and sets ``interrupted`` in the History.
    Raises FarthingError for shapes or values that do not fit and where the loss becomes
    infinite.

    >>> from farthing.encoding import Standardizer
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = Model.build(Standardizer().fit(X), hidden=(), link="identity")
    >>> history = train(model, X, 3 * X[:, 0], loss="squared", max_epochs=50,
    ...                 learning_rate=0.1, weight_decay=0)
    >>> bool(history.train_loss[-1] < 1e-4)
    True
    """
    # A loss of the caller's own may read any number of targets.
    columns = None if callable(loss) else model.n_outputs
    loss = resolve_loss(loss)
    check_integer(1, max_epochs=max_epochs, patience=patience)
    check_integer(1, also=("auto",), batch_size=batch_size)
    check_integer(0, min_epochs=min_epochs)
    check_fraction(dropout=dropout)
    if dropout == 1:
        raise FarthingError("dropout: got 1, which keeps nothing; allowed is 0 to below 1")
    if penalty is not None and not isinstance(penalty, Penalty):
        raise TypeError(f"penalty: got {type(penalty).__name__}, allowed are a Penalty and None")
    if learning_rate == "auto":
        learning_rate = _auto_learning_rate(model, full_batch)
    with _in_double(model, full_batch):
        form = {"amax": input_amax, "columns": columns}
        part = _Part("X", model, X, target, sample_weight, **form)
        search = None if validation is None else _Part("validation", model, *validation, **form)
        n = len(part)
        size = auto_batch_size(n) if batch_size == "auto" else batch_size
        batches = Minibatches(n, size, strata)
        if any(layer.norm for layer in model.layers) and (n if full_batch else batches.largest) < 2:
            raise FarthingError(
                f"batch_size: got {size} with batch normalisation, whose statistics need 2 rows"
            )
        feed = _Feed(part, model, None if full_batch else batches, seed)
        total_steps = max_epochs * feed.steps
        proximal = Proximal(penalty, model) if penalty else None
        held_from = total_steps
        if proximal is not None:
            held_from = round((1 - HELD_SHARE) * total_steps)
            min_epochs = max(min_epochs, -(-held_from // feed.steps))
        scratch = [Scratch() for _ in model.layers]
        adam = Adam(model.layers, weight_decay)
        adam.apply_masks()
        history, best, step = History(), None, 0
        try:
            for epoch in range(max_epochs):
                total = 0.0
                for batch in feed.epoch():
                    if on_step is not None:
                        on_step(step, total_steps, model)
                        adam.apply_masks()
                    value, _ = gradients(
                        model.layers,
                        *batch,
                        loss,
                        dropout,
                        feed.rng,
                        whole_units=full_batch,
                        scratch=scratch,
                        out=adam.gradients,
                    )
                    rate = learning_rate * one_cycle(step, total_steps)
                    adam.step(rate)
                    if proximal is not None:
                        step_sizes, directions = adam.metric(rate)
                        proximal.step(step_sizes, directions)
                        if step >= held_from:
                            proximal.hold(step_sizes)
                            adam.apply_masks()
                    for layer in model.layers:
                        if layer.sign is not None:
                            layer.project()
                    total += value * len(batch[1])
                    step += 1
                seen = len(part) * (FULL_BATCH_STEPS if full_batch else 1)
                if not np.isfinite(total):
                    raise FarthingError(
                        f"learning_rate: got {learning_rate}, with which the loss became infinite "
                        f"in epoch {epoch + 1}; allowed is a smaller one"
                    )
                history.train_loss.append(total / seen)
                if search is not None:
                    history.validation_loss.append(search.loss(model, loss))
                    now = history.validation_loss[-1]
                    if epoch >= min_epochs and (best is None or now < best.loss):
                        best = _Best(epoch, now, model, adam)
                report = {
                    "epoch": epoch + 1,
                    "max_epochs": max_epochs,
                    "loss": history.train_loss[-1],
                    "validation_loss": history.validation_loss[-1] if search else None,
                }
                if progress is not None and progress(report) is True:
                    history.stopped = True
                    break
                if best is not None and epoch - best.epoch >= patience:
                    break
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            if best is not None:
                best.restore()
            adam.release()
            for layer in model.layers:
                layer.fold_norm()
    if proximal is not None:
        proximal.keep_zeros()
    history.best_epoch = best.epoch if best else history.epochs - 1 if history.epochs else None
    return history
