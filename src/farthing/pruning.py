"""Magnitude pruning of weights and neurons, in one go or on a schedule while training."""

from __future__ import annotations

import math

import numpy as np

from farthing import _core
from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.kernels import drop_count
from farthing.model import Model
from farthing.steps import Step

__all__ = ["prune"]

PATTERNS = ("unstructured", "neuron")
# The schedule reaches its sparsity at this share of the steps, in at most so many updates:
# the rest of the training heals the final mask.
RAMP = 0.7
UPDATES = 100


class _Units:
    """The prunable units of a model: their norms, and the masks that drop them."""

    def __init__(self, model: Model, norm: str):
        self.model = model
        self.order = {"l1": 1, "l2": 2}[norm]

    def norms(self) -> list[np.ndarray]:
        """A float32 vector a layer; a unit already dropped is -1, below every other."""
        raise NotImplementedError

    def scores(self) -> list[np.ndarray]:
        """Norms made comparable between layers."""
        return self.norms()

    def drop(self, keep: list[np.ndarray]) -> None:
        """Sets masks, and zeroes what they drop."""
        raise NotImplementedError


class _Weights(_Units):
    def norms(self):
        # For a single weight the L1 and the L2 norm are both its magnitude.
        return [
            np.where(_mask(layer), np.abs(layer.weight), -1.0).ravel().astype(np.float32)
            for layer in self.model.layers
        ]

    def drop(self, keep):
        for layer, kept in zip(self.model.layers, keep, strict=True):
            layer.set_mask(_mask(layer) & kept.reshape(layer.weight.shape))


class _Neurons(_Units):
    def norms(self):
        return [
            np.where(_alive(layer), self._norm(layer.weight), -1.0).astype(np.float32)
            for layer in self.model.layers[:-1]
        ]

    def _norm(self, weight: np.ndarray) -> np.ndarray:
        return np.linalg.norm(weight.astype(np.float64), ord=self.order, axis=1)

    def scores(self):
        # A neuron of more inputs has the larger norm whatever they are worth: between
        # layers the mean |w| (L1) or the root mean square (L2) decides.
        return [
            np.where(norm < 0, norm, norm / layer.n_inputs ** (1 / self.order)).astype(np.float32)
            for norm, layer in zip(self.norms(), self.model.layers[:-1], strict=True)
        ]

    def drop(self, keep):
        layers = self.model.layers
        for layer, following, kept in zip(layers[:-1], layers[1:], keep, strict=True):
            self._fold_constants(layer, following)
            stay = kept & _alive(layer)
            layer.set_mask(_mask(layer) & stay[:, None])
            following.set_mask(_mask(following) & stay)
            layer.bias *= stay

    def _fold_constants(self, layer, following):
        """The next layer's bias takes what neurons without weights answer: constants."""
        gone = ~_alive(layer)
        answer = layer.bias.copy()
        if layer.pre_grid is not None:
            answer = layer.pre_grid.rounded(answer, self.model.input_amax)
        answer, _ = layer.activate(answer)
        if layer.output_grid is not None:
            answer = layer.output_grid.rounded(answer, self.model.input_amax)
        following.bias += following.weight[:, gone] @ answer[gone]
        layer.bias[gone] = 0


def _alive(layer) -> np.ndarray:
    return _mask(layer).any(axis=1)


def _mask(layer) -> np.ndarray:
    return np.ones(layer.weight.shape, bool) if layer.mask is None else layer.mask


def _keep(scores: list[np.ndarray], sparsity: float, scope: str) -> list[np.ndarray]:
    """What stays of every layer when the lowest `sparsity` of the units goes; one stays in each."""
    if scope == "layer":
        return [_core.prune_select(s, drop_count(sparsity, len(s))) for s in scores]
    # The best unit of a layer is out of the competition: one a layer always stays.
    protected = [s.copy() for s in scores]
    for s in protected:
        s[np.argmax(s)] = np.inf
    joined = np.concatenate(protected)
    drop = drop_count(sparsity, len(joined), stay=len(scores))
    kept = _core.prune_select(joined, drop)
    return np.split(kept, np.cumsum([len(s) for s in scores])[:-1])


def _keep_above(scores: list[np.ndarray], threshold: float) -> list[np.ndarray]:
    kept = [s >= threshold for s in scores]
    for k, s in zip(kept, scores, strict=True):
        k[np.argmax(s)] = True
    return kept


def shrink_neurons(model: Model) -> None:
    """Removes hidden neurons whose mask is all False, from their layer and the next.

    Such a neuron has weights and bias 0, so its output is 0 and nothing changes.
    """
    for layer, following in zip(model.layers[:-1], model.layers[1:], strict=True):
        if layer.mask is None:
            continue
        stay = _alive(layer)
        if not stay.all():
            following.keep(inputs=stay)
            layer.keep(outputs=stay)
    for layer in model.layers:
        if layer.mask is not None and layer.mask.all():
            layer.mask = None


def prune(
    model,
    X=None,
    y=None,
    *,
    sparsity=None,
    threshold=None,
    method="magnitude",
    norm="l1",
    scope="global",
    pattern="unstructured",
    schedule=None,
    alpha=1.0,
    epochs=None,
    learning_rate=1e-3,
    augment=2,
    calibrate=True,
    validation=None,
    groups=None,
    sample_weight=None,
    random_state=None,
):
    """Drops the least important weights or neurons: their norm, sorted, the lowest go.

    Parameters
    ----------
    model : a fitted estimator or a `Model`
        Returned in the same kind, the input untouched. What is dropped stays zero in every
        later step. A quantized model is pruned in its integers.
    X, y : (n, features) and (n,) or None
        Rows to fine-tune on with a schedule, and to recalibrate on. Without y, alpha is 1.
    sparsity : float in [0, 1)
        Fraction of the pattern's units that goes, those already gone included: of n units
        ``round(sparsity * n)``, halves to even.
    threshold : float
        Instead of `sparsity`: units whose norm is below it go.
    norm : "l1" or "l2"
        Of a unit; for one weight both are its magnitude, for neurons they differ. Between
        layers of different widths the norm counts per input.
    scope : "global" or "layer"
        Units compete across all layers, or within each. One unit a layer always stays.
    pattern : "unstructured" or "neuron"
        Neurons are removed from their layer and the next, which makes every product smaller.
    schedule : None or "cubic"
        None drops at once; "cubic" raises the sparsity along 1 - (1 - t)^3 while training
        (Zhu & Gupta 2017, "To prune, or not to prune").
    alpha : float
        Weight of the loss to the predictions before the step; 1 - alpha goes to y. On rows
        that the model has learnt from, y adds mostly its noise.
    epochs, learning_rate : of the schedule
    augment : int
        Copies of the rows, mixed among neighbours (MUNGE) and labelled by the model before
        the step, that the schedule trains on beside the rows themselves.
    validation, groups, sample_weight : as in `fit`
    random_state : int or None
        None: the estimator's own seed, so that a chain of steps keeps its search rows.

    Raises ValueError for arguments outside these, or a schedule without data.

    >>> import numpy as np, farthing
    >>> X = np.random.default_rng(0).normal(size=(400, 3))
    >>> model = farthing.Classifier(hidden=(8,), random_state=0).fit(X, X[:, 0] > 0)
    >>> small = farthing.prune(model, sparsity=0.75)
    >>> sum(int((layer.weight != 0).sum()) for layer in small.model_.layers)
    98
    """
    if (sparsity is None) == (threshold is None):
        raise FarthingError(
            "exactly one of sparsity and threshold must be given, "
            f"got {sparsity!r} and {threshold!r}"
        )
    check_number("[0, 1)", also=(None,), sparsity=sparsity)
    check_number("[0, inf)", also=(None,), threshold=threshold)
    check_integer(1, also=(None,), epochs=epochs)
    check_number("(0, inf)", learning_rate=learning_rate)
    check_integer(0, augment=augment)
    check_choice(("magnitude",), method=method)
    check_choice(("l1", "l2"), norm=norm)
    check_choice(("global", "layer"), scope=scope)
    check_choice(PATTERNS, pattern=pattern)
    check_choice((None, "cubic"), schedule=schedule)
    if schedule is None and epochs is not None:
        raise FarthingError(f"epochs must be None without a schedule, got {epochs!r}")
    step = Step(
        model,
        X,
        y,
        alpha=alpha,
        sample_weight=sample_weight,
        groups=groups,
        validation=validation,
        random_state=random_state,
    )
    network = step.model
    if pattern == "neuron" and len(network.layers) < 2:
        raise FarthingError("pattern 'neuron' needs a hidden layer, got a model without one")
    units = (_Weights if pattern == "unstructured" else _Neurons)(network, norm)
    if pattern == "neuron" and any(layer.residual for layer in network.layers):
        raise FarthingError(
            "pattern 'neuron' needs a model without residual layers, whose outputs and inputs must "
            "stay the same ones"
        )
    if schedule is None:
        _drop(units, sparsity, threshold, scope)
    else:
        if step.fit is None:
            raise FarthingError(f"X must be given: schedule={schedule!r} needs rows, got None")
        if sparsity is None:
            raise FarthingError(f"sparsity must be given with schedule={schedule!r}, got None")
        if network.is_quantized:
            raise FarthingError(
                f"schedule={schedule!r} needs float weights, got a quantized model; "
                "prune before quantizing, or without a schedule"
            )
        _train_cubic(step, units, sparsity, scope, epochs or 6, learning_rate, augment)
    if pattern == "neuron":
        shrink_neurons(network)
    return step.result(calibrate=calibrate)


def _drop(units: _Units, sparsity, threshold, scope: str) -> None:
    if sparsity is None:
        units.drop(_keep_above(units.norms(), threshold))
    else:
        units.drop(_keep(units.scores(), sparsity, scope))


def _train_cubic(
    step: Step,
    units: _Units,
    sparsity: float,
    scope: str,
    epochs: int,
    learning_rate: float,
    augment: int,
) -> None:
    already = _dropped_share(units)

    def on_step(index: int, total: int, _model: Model) -> None:
        ramp = max(1, int(RAMP * total))
        interval = max(1, ramp // UPDATES)
        if index > ramp or (index % interval and index != ramp):
            return
        share = sparsity + (already - sparsity) * (1 - index / ramp) ** 3
        _drop(units, max(share, already), None, scope)

    step.train(
        epochs=epochs,
        learning_rate=learning_rate,
        augment=augment,
        on_step=on_step,
        min_epochs=math.ceil(RAMP * epochs),
    )
    _drop(units, max(sparsity, already), None, scope)


def _dropped_share(units: _Units) -> float:
    return float((np.concatenate(units.norms()) < 0).mean())
