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
from farthing.parts import Feed, Part
from farthing.penalties import Penalty, Proximal
from farthing.sampling import Minibatches, auto_batch_size
from farthing.splitting import SEARCH_MIN_ROWS, draw_seed, split_search

__all__ = [
    "SEARCH_MIN_ROWS",
    "History",
    "asks_to_stop",
    "draw_seed",
    "split_search",
    "train",
]

# With a penalty, what is zero in this last share of the steps stays zero, and the others settle.
HELD_SHARE = 0.25


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


def asks_to_stop(answer: object) -> bool:
    """Whether the answer of a callback is True, numpy's own included.

    >>> asks_to_stop(np.True_), asks_to_stop(1), asks_to_stop(None)
    (True, False, False)
    """
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


class _Best:
    """The parameters of the best epoch so far."""

    def __init__(self, epoch: int, loss: float, model: Model, adam: Adam):
        self.epoch, self.loss, self._adam = epoch, loss, adam
        self._parameters = adam.parameters.copy()
        # The running statistics of the normalisations are no parameters.
        norms = [layer.norm for layer in model.layers if layer.norm is not None]
        self._statistics = [(norm, norm.mean.copy(), norm.variance.copy()) for norm in norms]
        # Nor is what a view has learnt.
        views = [view for layer in model.layers for view in layer.views]
        self._views = [(view, view.snapshot()) for view in views if hasattr(view, "snapshot")]

    def restore(self) -> None:
        self._adam.parameters[:] = self._parameters
        for view, state in self._views:
            view.restore(state)
        for norm, mean, variance in self._statistics:
            norm.mean, norm.variance = mean, variance
        self._adam.apply_masks()


class _Steps:
    """The steps of a training of so many in total, an epoch at a time."""

    def __init__(
        self,
        model: Model,
        feed: Feed,
        loss: Loss,
        *,
        total: int,
        learning_rate: float,
        weight_decay: float,
        dropout: float,
        feature_dropout: float,
        penalty: Penalty | None,
    ):
        self._model, self._feed, self._loss, self._dropout = model, feed, loss, dropout
        self._features = _FeatureDropout(model, feature_dropout, feed.rng)
        self._learning_rate, self._total, self._done = learning_rate, total, 0
        self._scratch = [Scratch() for _ in model.layers]
        self.proximal = Proximal(penalty, model) if penalty else None
        self._held_from = round((1 - HELD_SHARE) * total) if penalty else total
        self.adam = Adam(model.layers, weight_decay, feed.tables)
        self.adam.apply_masks()

    @property
    def settled_epoch(self) -> int:
        """The first epoch all of whose steps hold the penalty's zeros; 0 without a penalty."""
        return 0 if self.proximal is None else -(-self._held_from // self._feed.steps)

    def end(self) -> None:
        """Leaves no hook on the model."""
        self._features.end()

    def epoch(self, on_step) -> float:
        """Runs the next epoch; the mean loss of its rows."""
        total = rows = 0
        for batch in self._feed.epoch():
            if on_step is not None:
                on_step(self._done, self._total, self._model)
                self.adam.apply_masks()
            total += self._step(batch) * len(batch[1])
            rows += len(batch[1])
            self._done += 1
        return total / rows

    def _step(self, batch: tuple) -> float:
        adam, feed, layers = self.adam, self._feed, self._model.layers
        kept = self._features.draw()
        value, found = gradients(
            layers,
            *batch,
            self._loss,
            self._dropout,
            feed.rng,
            whole_units=feed.full_batch,
            input_columns=feed.embedded_columns,
            scratch=self._scratch,
            out=adam.gradients,
        )
        if kept is not None:
            adam.gradients[0]["weight"] *= kept
        if feed.tables:
            feed.embedding_gradients(found[0]["input"], adam.gradients[-1])
        rate = self._learning_rate * one_cycle(self._done, self._total)
        adam.step(rate)
        if self.proximal is not None:
            step_sizes, directions = adam.metric(rate)
            self.proximal.step(step_sizes, directions)
            if self._done >= self._held_from:
                self.proximal.hold(step_sizes)
                adam.apply_masks()
        for layer in layers:
            if layer.sign is not None:
                layer.project()
            if hasattr(layer.weight_view, "land"):
                layer.weight_view.land(layer)
        return value


class _FeatureDropout:
    """Leaves out whole raw features, each step others, and the same in all its rows.

    The columns of the encoding of a feature that is left out count as 0, those of the others
    more, so that sums keep their mean.  It acts on the weights behind them.
    """

    def __init__(self, model: Model, share: float, rng: np.random.Generator):
        self._layer, self._share, self._rng = model.layers[0], share, rng
        if share:
            features, self._place = np.unique(model.encoder.feature_of_column, return_inverse=True)
            self._count = len(features)

    def draw(self) -> np.ndarray | None:
        """The factor of every column (width,) in the next step; None where there is no dropout."""
        if not self._share:
            return None
        keep = self._rng.random(self._count) >= self._share
        factor = (keep / (1 - self._share)).astype(self._layer.weight.dtype)[self._place]
        self._layer.weight_view = lambda weight, training: weight * factor if training else weight
        return factor

    def end(self) -> None:
        """Takes its view off the layer."""
        if self._share:
            self._layer.weight_view = None


@contextmanager
def _in_double(model: Model, wanted: bool) -> Iterator[None]:
    """Parameters in float64 inside, in the type they had afterwards."""
    kept = [layer.weight.dtype for layer in model.layers]
    tables = model.encoder.embeddings_
    types = {feature: table.dtype for feature, table in tables.items()}
    try:
        if wanted:
            for layer in model.layers:
                layer.astype(np.float64)
        yield
    finally:
        for layer, dtype in zip(model.layers, kept, strict=True):
            layer.astype(dtype)
        for feature, dtype in types.items():
            tables[feature] = tables[feature].astype(dtype, copy=False)


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
    feature_dropout: float = 0.0,
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
    learning_rate: the peak of a one-cycle schedule over ``max_epochs``; "auto": 0.002, and
    0.02 for a model of one layer.  weight_decay: decoupled; a weight shrinks by the current
    rate x weight_decay a step.  dropout: of the hidden activations.  feature_dropout: the share
    of the raw features that each step leaves out.
    penalty: a `farthing.penalties.Penalty`: its zeros are masks afterwards.  In the last
    quarter of the steps a weight that is zero stays zero; the best epoch is chosen among those.
    seed: for the order of rows and dropout; the same seed repeats to the bit.
    input_amax: 127 or 255 to train on the quantized input.
    on_step(step, total_steps, model): called before every step, 0-based; it may set the
    layers' masks or change them, and weights that become masked are and stay 0.
    progress: called after each epoch with a dict of epoch (1-based), max_epochs, loss and
    validation_loss (None without validation); if it returns True, training ends there.

    Embeddings of the encoder are trained with the layers, but not with ``input_amax``, where they
    lie on its grid.  Batch normalisation is folded into weights and biases at the end.  Ctrl-C ends
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
    for name, share in (("dropout", dropout), ("feature_dropout", feature_dropout)):
        check_fraction(**{name: share})
        if share == 1:
            raise FarthingError(f"{name}: got 1, which keeps nothing; allowed is 0 to below 1")
    if penalty is not None and not isinstance(penalty, Penalty):
        raise TypeError(f"penalty: got {type(penalty).__name__}, allowed are a Penalty and None")
    if learning_rate == "auto":
        learning_rate = 0.002 if len(model.layers) > 1 else 0.02
    with _in_double(model, full_batch):
        form = {"amax": input_amax, "columns": columns}
        part = Part("X", model, X, target, sample_weight, **form)
        search = None if validation is None else Part("validation", model, *validation, **form)
        n = len(part)
        size = auto_batch_size(n) if batch_size == "auto" else batch_size
        batches = Minibatches(n, size, strata)
        if any(layer.norm for layer in model.layers) and (n if full_batch else batches.largest) < 2:
            raise FarthingError(
                f"batch_size: got {size} with batch normalisation, whose statistics need 2 rows"
            )
        feed = Feed(part, model, None if full_batch else batches, seed, input_amax is None)
        steps = _Steps(
            model,
            feed,
            loss,
            total=max_epochs * feed.steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            dropout=dropout,
            feature_dropout=feature_dropout,
            penalty=penalty,
        )
        min_epochs = max(min_epochs, steps.settled_epoch)
        history, best = History(), None
        try:
            for epoch in range(max_epochs):
                mean = steps.epoch(on_step)
                if not np.isfinite(mean):
                    raise FarthingError(
                        f"learning_rate: got {learning_rate}, with which the loss became infinite "
                        f"in epoch {epoch + 1}; allowed is a smaller one"
                    )
                history.train_loss.append(mean)
                if search is not None:
                    history.validation_loss.append(search.loss(model, loss))
                    now = history.validation_loss[-1]
                    if epoch >= min_epochs and (best is None or now < best.loss):
                        best = _Best(epoch, now, model, steps.adam)
                report = {
                    "epoch": epoch + 1,
                    "max_epochs": max_epochs,
                    "loss": history.train_loss[-1],
                    "validation_loss": history.validation_loss[-1] if search else None,
                }
                if progress is not None and asks_to_stop(progress(report)):
                    history.stopped = True
                    break
                if best is not None and epoch - best.epoch >= patience:
                    break
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            steps.end()
            if best is not None:
                best.restore()
            steps.adam.release()
            for layer in model.layers:
                layer.fold_norm()
    if steps.proximal is not None:
        # In the final type, where the smallest numbers are zeros too.
        steps.proximal.keep_zeros()
    history.best_epoch = best.epoch if best else history.epochs - 1 if history.epochs else None
    return history
