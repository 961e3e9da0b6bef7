"""Training: minibatch Adam with decoupled weight decay, a one-cycle rate, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from farthing._validate import FarthingError, check_fraction, check_integer
from farthing.layers import Dense
from farthing.losses import Loss, resolve_loss
from farthing.model import Model
from farthing.tables import as_groups

__all__ = [
    "Adam",
    "History",
    "draw_seed",
    "gradients",
    "one_cycle",
    "split_search",
    "train",
]

SEARCH_SHARE = 0.1
# Below this many rows a tenth is too few to choose anything by.
SEARCH_MIN_ROWS = 1000
# A target with more distinct values than this is not stratified.
MOST_STRATA = 20
# Rows of the search part that are expanded at a time.
_SEARCH_ROWS = 2048


def draw_seed(random_state) -> int:
    """A seed in 0..2**32-1 from None (fresh), an int, a Generator or a numpy RandomState.

    >>> draw_seed(7)
    7
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if not 0 <= random_state < 1 << 32:
            raise FarthingError(f"random_state: got {random_state}, allowed is 0 to 2**32 - 1")
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(1 << 32))
    if isinstance(random_state, np.random.RandomState) or random_state is np.random:
        return int(random_state.randint(1 << 32, dtype=np.uint32))
    raise TypeError(
        f"random_state: got {type(random_state).__name__}, "
        "allowed are None, an integer, numpy.random.Generator and RandomState"
    )


def split_search(
    n: int, y=None, groups=None, seed: int = 0, *, weight=None, min_rows: int = SEARCH_MIN_ROWS
) -> tuple[np.ndarray, np.ndarray]:
    """Splits n rows into the fit part and the search part, about a tenth of them.

    y: (n,), stratifies where it has at most 20 distinct values; groups: (n,), rows of one
    group stay together; weight: (n,), >= 0: rows of weight 0 count as absent, so that
    without groups none of them is searched on.  Gives two sorted arrays of row numbers; the
    search part is empty under ``min_rows`` rows, or where no whole group is small enough.
    Raises ValueError where groups has another shape or a row without a label.

    >>> fit, search = split_search(5000, seed=1)
    >>> len(fit), len(search)
    (4500, 500)
    """
    group = as_groups(groups, n)
    counted = np.ones(n, bool) if weight is None else np.asarray(weight) > 0
    chosen = np.zeros(n, bool)
    if np.count_nonzero(counted) < min_rows:
        return np.arange(n), np.flatnonzero(chosen)
    rng = np.random.Generator(np.random.PCG64(seed))
    strata = np.zeros(n, np.intp)
    if y is not None:
        values, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(values) <= MOST_STRATA:
            strata = codes
    wanted = SEARCH_SHARE * np.bincount(strata[counted], minlength=strata.max() + 1)
    if group is None:
        for stratum, count in enumerate(np.rint(wanted).astype(int)):
            rows = np.flatnonzero((strata == stratum) & counted)
            chosen[rng.permutation(rows)[:count]] = True
    else:
        rows_of = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
        lacking = wanted
        for g in rng.permutation(len(rows_of)):
            rows = rows_of[g]
            counts = np.bincount(strata[rows[counted[rows]]], minlength=len(lacking))
            # Taken where |lacking - counts|^2 < |lacking|^2: nearer to the wanted counts.
            if counts @ counts < 2 * (counts @ lacking):
                lacking = lacking - counts
                chosen[rows] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


@dataclass
class History:
    """What happened in ``train``, one loss an epoch.

    train_loss: mean loss of the epoch's minibatches, dropout included; validation_loss: of
    the search part after the epoch, empty without one; best_epoch: 0-based, the epoch whose
    parameters the model holds, None if none was finished; interrupted: whether Ctrl-C ended
    it.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    interrupted: bool = False

    @property
    def epochs(self) -> int:
        """Epochs that were run to the end."""
        return len(self.train_loss)


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


class Adam:
    """Adam with decoupled weight decay, in place, on the weights and biases of layers.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015); Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization" (2019).  Biases do not decay.
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, layers: list[Dense], weight_decay: float = 0.0):
        self._layers, self._weight_decay, self._steps = layers, weight_decay, 0
        # First moment, second moment and scratch of every parameter.
        self._state = [
            {
                "weight": [np.zeros_like(layer.weight) for _ in range(3)],
                "bias": [np.zeros_like(layer.bias) for _ in range(3)],
            }
            for layer in layers
        ]

    def step(self, gradients: list[dict[str, np.ndarray]], learning_rate: float) -> None:
        """One update from the gradients, one dict a layer."""
        self._steps += 1
        # Both moments are corrected for their start at 0 by scaling the rate and epsilon.
        root = np.sqrt(1 - self.beta2**self._steps)
        rate = float(learning_rate * root / (1 - self.beta1**self._steps))
        epsilon = float(self.epsilon * root)
        for layer, state, gradient in zip(self._layers, self._state, gradients, strict=True):
            if self._weight_decay:
                layer.weight *= 1 - learning_rate * self._weight_decay
            for name, g in gradient.items():
                mean, square, scratch = state[name]
                mean *= self.beta1
                np.multiply(g, 1 - self.beta1, out=scratch)
                mean += scratch
                square *= self.beta2
                np.multiply(g, g, out=scratch)
                scratch *= 1 - self.beta2
                square += scratch
                np.sqrt(square, out=scratch)
                scratch += epsilon
                np.divide(mean, scratch, out=scratch)
                scratch *= rate
                parameter = getattr(layer, name)
                parameter -= scratch

    def apply_masks(self) -> None:
        """Sets masked weights and their moments to 0, so that they stay there."""
        for layer, state in zip(self._layers, self._state, strict=True):
            if layer.mask is not None:
                for values in (layer.weight, *state["weight"][:2]):
                    values *= layer.mask


def gradients(
    layers: list[Dense],
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    loss: Loss,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[float, list[dict[str, np.ndarray]]]:
    """Loss of a minibatch and its gradients by the parameters, one dict a layer.

    x: (rows, k), the encoded rows; target: (rows, outputs); weight: (rows,) or None;
    dropout: the share of hidden activations that is set to 0, drawn from ``rng``, while the
    others are scaled up (Srivastava et al., "Dropout", 2014).
    """
    backwards, kept = [], []
    for layer in layers:
        x, backward = layer.forward(x, training=True)
        backwards.append(backward)
        if dropout and layer is not layers[-1]:
            keep = (rng.random(x.shape, dtype=np.float32) >= dropout).astype(x.dtype)
            keep *= 1 / (1 - dropout)
            x *= keep
            kept.append(keep)
    value, dy = loss(x, target, weight)
    result = []
    for i in range(len(layers) - 1, -1, -1):
        dy, gradient = backwards[i](dy, need_input=i > 0)
        result.append(gradient)
        if kept and i > 0:
            dy *= kept[i - 1]
    return value, result[::-1]


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

    def loss(self, model: Model, loss: Loss, buffer: np.ndarray) -> float:
        """Mean loss of ``model``, expanded into ``buffer`` a few rows at a time."""
        total = 0.0
        for start in range(0, len(self), len(buffer)):
            rows = slice(start, start + len(buffer))
            positions = self.positions[rows]
            z = model.forward_positions(positions, buffer[: len(positions)])
            total += loss(z, *self.batch(rows))[0] * len(positions)
        return total / len(self)


class _Best:
    """The parameters of the best epoch so far."""

    def __init__(self, epoch: int, loss: float, model: Model):
        self.epoch, self.loss = epoch, loss
        self._parameters = [(layer.weight.copy(), layer.bias.copy()) for layer in model.layers]

    def restore(self, model: Model) -> None:
        for layer, (weight, bias) in zip(model.layers, self._parameters, strict=True):
            layer.weight[:], layer.bias[:] = weight, bias


def _auto_batch_size(n: int) -> int:
    """A power of two near n / 64, so that few rows too make hundreds of steps."""
    return int(np.clip(1 << int(np.log2(max(n // 64, 1))), 16, 512))


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
    learning_rate: float | str = "auto",
    weight_decay: float = 0.0,
    dropout: float = 0.05,
    patience: int = 8,
    min_epochs: int = 0,
    seed: int = 0,
    input_amax: int | None = None,
    on_step: Callable[[int, int, Model], None] | None = None,
    progress: Callable[[dict], None] | None = None,
) -> History:
    """Trains ``model`` in place on raw rows ``X`` (rows, features).

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
    learning_rate: the peak of a one-cycle schedule over ``max_epochs``; "auto": 0.002, and
    0.02 for a model of one layer.  weight_decay: decoupled; a weight shrinks by the current
    rate x weight_decay a step.  dropout: of the hidden activations.
    seed: for the order of rows and dropout; the same seed repeats to the bit.
    input_amax: 127 or 255 to train on the quantized input.
    on_step(step, total_steps, model): called before every step, 0-based; it may set the
    layers' masks or change them, and weights that become masked are and stay 0.
    progress: called after each epoch with a dict of epoch (1-based), max_epochs, loss and
    validation_loss (None without validation).

    Ctrl-C ends training with the best epoch so far and sets ``interrupted`` in the History.
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
    check_integer(0, min_epochs=min_epochs)
    check_fraction(dropout=dropout)
    if dropout == 1:
        raise FarthingError("dropout: got 1, which keeps nothing; allowed is 0 to below 1")
    form = {"amax": input_amax, "columns": columns}
    part = _Part("X", model, X, target, sample_weight, **form)
    search = None if validation is None else _Part("validation", model, *validation, **form)
    n = len(part)
    if batch_size == "auto":
        batch_size = _auto_batch_size(n)
    check_integer(1, batch_size=batch_size)
    if learning_rate == "auto":
        learning_rate = 0.002 if len(model.layers) > 1 else 0.02
    n_batches = -(-n // batch_size)
    total_steps = max_epochs * n_batches
    # Batches as equal as possible: no small last one with a noisy gradient.
    bounds = np.linspace(0, n, n_batches + 1).astype(int)
    largest = int(np.diff(bounds).max())
    chosen = np.empty((largest, part.positions.shape[1]), part.positions.dtype)
    encoded = np.empty((max(largest, _SEARCH_ROWS), model.encoder.width), np.float32)
    rng = np.random.Generator(np.random.PCG64(seed))
    adam = Adam(model.layers, weight_decay)
    adam.apply_masks()
    history, best = History(), None
    try:
        for epoch in range(max_epochs):
            order = rng.permutation(n)
            total = 0.0
            for batch in range(n_batches):
                step = epoch * n_batches + batch
                if on_step is not None:
                    on_step(step, total_steps, model)
                    adam.apply_masks()
                rows = order[bounds[batch] : bounds[batch + 1]]
                positions = chosen[: len(rows)]
                np.take(part.positions, rows, axis=0, out=positions, mode="clip")
                x = model.encoder.expand(positions, out=encoded[: len(rows)])
                value, gradient = gradients(model.layers, x, *part.batch(rows), loss, dropout, rng)
                adam.step(gradient, learning_rate * one_cycle(step, total_steps))
                for layer in model.layers:
                    if layer.sign is not None:
                        layer.project()
                total += value * len(rows)
            if not np.isfinite(total):
                raise FarthingError(
                    f"learning_rate: got {learning_rate}, with which the loss became infinite "
                    f"in epoch {epoch + 1}; allowed is a smaller one"
                )
            history.train_loss.append(total / n)
            if search is not None:
                history.validation_loss.append(search.loss(model, loss, encoded))
                now = history.validation_loss[-1]
                if epoch >= min_epochs and (best is None or now < best.loss):
                    best = _Best(epoch, now, model)
            if progress is not None:
                progress(
                    {
                        "epoch": epoch + 1,
                        "max_epochs": max_epochs,
                        "loss": history.train_loss[-1],
                        "validation_loss": history.validation_loss[-1] if search else None,
                    }
                )
            if best is not None and epoch - best.epoch >= patience:
                break
    except KeyboardInterrupt:
        history.interrupted = True
    if best is None:
        history.best_epoch = history.epochs - 1 if history.epochs else None
    else:
        history.best_epoch = best.epoch
        best.restore(model)
        adam.apply_masks()
    return history
