"""Magnitude pruning of any unit, in one go or on a schedule while training."""

from __future__ import annotations

import math

import numpy as np

from farthing import _core
from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.kernels import check_n_of_m, drop_count, n_of_m
from farthing.model import Model
from farthing.steps import Step
from farthing.pruning.units import PATTERNS, Units, kind_of, units_of

__all__ = ["prune"]

# The schedule reaches its sparsity at this share of the steps, in at most so many updates:
# the rest of the training heals the final mask.
RAMP = 0.7
UPDATES = 100


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
    """Drops the least important units, such as weights: their norm, sorted, the lowest go.

    Parameters
    ----------
    model : a fitted estimator or a `Model`
        Returned in the same kind, the input untouched. What is dropped stays zero in every
        later step. A quantized model is pruned in its integers.
    X, y : (n, features) and (n,) or None
        Rows to fine-tune on with a schedule, and to recalibrate on. Without y, alpha is 1.
    sparsity : float in [0, 1)
        Fraction of the pattern's units that goes, those already gone included: of n units
        ``round(sparsity * n)``, halves to even. For N:M it is 1 - N/M, or None.
    threshold : float
        Instead of `sparsity`: units whose norm is below it go.
    norm : "l1" or "l2"
        Of a unit; for one weight both are its magnitude, for larger units they differ. Between
        layers the norm of a block counts per weight, that of a neuron by its layer's mean.
    scope : "global" or "layer"
        Units compete across all layers, or within each. One unit a layer always stays.
    pattern : str
        "unstructured": single weights. "4x8": blocks of 4 outputs by 8 inputs; 32, 16 or 8
        outputs by 4 inputs are those that the runtime is fastest without. "2:4": of every 4
        neighbouring inputs the 2 of largest magnitude stay, in every layer (Mishra et al. 2021,
        "Accelerating sparse deep neural networks"). "neuron": neurons leave their layer and
        the next. "feature": all that the first layer reads of a raw feature. What a neuron or
        feature says on average over X, where given, goes into the next bias. "bin":
        neighbouring bins of a feature become one; the norm is that of the corners, at the edge
        between them, of the first layer's piecewise-linear functions. Neurons, features and
        bins make the tables of the first layer smaller.
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
    check_choice(PATTERNS, pattern=kind_of(pattern))
    if neighbours := n_of_m(pattern):
        if threshold is not None:
            raise FarthingError(
                f"threshold must be None for pattern {pattern!r}, got {threshold!r}"
            )
        check_n_of_m(pattern, sparsity)
        sparsity, scope = 1 - neighbours[0] / neighbours[1], "layer"
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
    units = units_of(pattern, network, norm, None if step.fit is None else step.fit.rows)
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
    units.shrink()
    return step.result(calibrate=calibrate)


def _drop(units: Units, sparsity, threshold, scope: str) -> None:
    if sparsity is None:
        units.drop(_keep_above(units.norms(), threshold))
        return
    already = _dropped_share(units)
    for i in range(1, units.rounds + 1):
        share = already + (sparsity - already) * i / units.rounds
        units.drop(_keep(units.scores(), share, scope))


def _train_cubic(
    step: Step,
    units: Units,
    sparsity: float,
    scope: str,
    epochs: int,
    learning_rate: float,
    augment: int,
) -> None:
    already = _dropped_share(units)

    def on_step(index: int, total: int, _model: Model) -> None:
        units.hold()
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


def _dropped_share(units: Units) -> float:
    return float((np.concatenate(units.norms()) < 0).mean())
