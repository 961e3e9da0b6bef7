"""Pruning of any unit by any score, in one go or on a schedule while training."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.kernels import check_n_of_m, n_of_m
from farthing.model import Model
from farthing.probe import Sample
from farthing.pruning.competition import Competition
from farthing.pruning.schedules import SCHEDULES
from farthing.pruning.scores import METHODS, score_of
from farthing.pruning.units import PATTERNS, Units, kind_of, units_of
from farthing.steps import Step

__all__ = ["prune"]

# The schedule reaches its sparsity at this share of the steps: the rest of the training heals the
# final mask.
RAMP = 0.7
EPOCHS = 6
# A share of the units to go by which progress is counted.
MOST = 0.95

# What part of the units that are to go, a share of all, has gone.
Progress = Callable[[float], float]


def _none(share: float) -> float:
    return 0.0


def _all(share: float) -> float:
    return 1.0


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
    exclude=(),
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
    """Drops the least important units, such as weights: their scores, sorted, the lowest go.

    Parameters
    ----------
    model : a fitted estimator or a `Model`
        Returned in the same kind, the input untouched. What is dropped stays zero in every
        later step. A quantized model is pruned in its integers.
    X, y : (n, features) and (n,) or None
        Rows to score weights on, to fine-tune on with a schedule, and to recalibrate on. Without
        y, alpha is 1.
    sparsity : float in [0, 1), or a dict of them by layer name
        Fraction of the pattern's units that goes, those already gone included: of n units
        ``round(sparsity * n)``, halves to even. For N:M it is 1 - N/M, or None. A dict, by names
        as ``.summary()`` shows them, prunes these layers alone, each to its own.
    threshold : float
        Instead of `sparsity`: units whose norm is below it go.
    method : str
        What a weight is worth. "magnitude": |w|. "random": the baseline. "wanda": |w| times the
        root mean square of its input (Sun et al. 2024). "taylor": |w times the gradient of the
        loss to y by it| (Molchanov et al. 2019). "fisher": w^2 times its Fisher information
        (optimal brain damage, LeCun et al. 1990). "obs": the growth of the layer's squared error
        where all other weights make up for it, which then they do (Hassibi & Stork 1993; SparseGPT,
        Frantar & Alistarh 2023). All but the first two need X, "taylor" also y.
    norm : "l1" or "l2"
        How the worth of a unit's weights adds up; "taylor" is always summed, "fisher" is a sum of
        squares, and "obs" takes the weights of a unit together, a neuron by what the next layer
        loses. For one weight both are its magnitude, for larger units they differ.
        Between layers the magnitude of a block counts per weight, that of a neuron by its layer's
        mean.
    scope : "global" or "layer"
        Units compete across all layers, or within each. One unit a layer always stays.
    exclude : list of str
        Names of layers whose units stay and do not count; without a schedule they are not changed.
    pattern : str
        "unstructured": single weights. "4x8": blocks of 4 outputs by 8 inputs; 32, 16 or 8
        outputs by 4 inputs are those that the runtime is fastest without. "2:4": of every 4
        neighbouring inputs the 2 of largest magnitude stay, in every layer (Mishra et al. 2021,
        "Accelerating sparse deep neural networks"). "neuron": neurons leave their layer and
        the next. "feature": all that the first layer reads of a raw feature. What a neuron or
        feature says on average over X, where given, goes into the next bias. "bin":
        neighbouring bins of a feature become one; the norm is that of the corners, at the edge
        between them, of the first layer's piecewise-linear functions. Of the methods only
        "magnitude" and "random" go with it: what others say of a weight does not know that a
        merger's two changes cancel beyond its bins. Neurons, features and bins make the tables of
        the first layer smaller.
    schedule : None, "cubic" or "iterative"
        None drops at once; "cubic" raises the sparsity along 1 - (1 - t)^3 while training
        (Zhu & Gupta 2017, "To prune, or not to prune"), "iterative" in five rounds, each of which
        drops the same part of what is left, with training between them (Han et al. 2015).
    alpha : float
        Weight of the loss to the predictions before the step; 1 - alpha goes to y. On rows
        that the model has learnt from, y adds mostly its noise.
    epochs : int or None
        Of the schedule. None: 6, more where rows and copies are fewer than 1,024.
    learning_rate : float above 0
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
    check_number("[0, inf)", also=(None,), threshold=threshold)
    check_integer(1, also=(None,), epochs=epochs)
    check_number("(0, inf)", learning_rate=learning_rate)
    check_integer(0, augment=augment)
    check_choice(tuple(METHODS), method=method)
    check_choice(("l1", "l2"), norm=norm)
    check_choice(("global", "layer"), scope=scope)
    check_choice((None, *SCHEDULES), schedule=schedule)
    check_choice((False, True), calibrate=calibrate)
    if schedule is None and epochs is not None:
        raise FarthingError(f"epochs must be None without a schedule, got {epochs!r}")
    if schedule is not None and sparsity is None:
        raise FarthingError(f"sparsity must be given with schedule={schedule!r}, got None")
    if schedule is not None and X is None:
        raise FarthingError(f"X must be given: schedule={schedule!r} needs rows, got None")
    if pattern == "bin" and method not in ("magnitude", "random"):
        raise FarthingError(
            f"method must be 'magnitude' or 'random' for pattern 'bin', got {method!r}"
        )
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
    if schedule is not None and network.is_quantized:
        raise FarthingError(
            f"schedule={schedule!r} needs float weights, got a quantized model; "
            "prune before quantizing, or without a schedule"
        )
    score = score_of(method, step, scheduled=schedule is not None)
    sample = None if step.fit is None else Sample(step)
    units = units_of(pattern, network, norm, sample, score, exclude)
    competition = Competition([layer.name for layer in units.layers], sparsity, scope, exclude)
    if threshold is not None:
        units.drop(competition.keep_above(units.norms(), threshold))
        score.settle(network, competition.exclude)
    elif schedule is None:
        _drop(units, competition, competition.gone(units.alive()), _none, _all)
    else:
        epochs = epochs or step.epochs(EPOCHS, augment)
        _train(step, units, competition, SCHEDULES[schedule], epochs, learning_rate, augment)
    units.shrink()
    return step.result(calibrate=calibrate)


def _drop(
    units: Units,
    competition: Competition,
    start: list[float],
    before: Progress,
    now: Progress,
) -> None:
    """Drops from one share of the units that are to go to another, in parts where those that went
    change what others are worth; with all of them what a pattern asks for beyond.

    start: what had gone before the step, of each group.
    """
    score = units.score
    rounds = max(units.rounds, score.rounds) * (now(MOST) - before(MOST))
    parts = max(1, math.ceil(rounds - 1e-9))
    for i in range(1, parts + 1):

        def progress(share: float, i: int = i) -> float:
            return before(share) + (now(share) - before(share)) * i / parts

        score.begin(units.model)
        units.drop(competition.keep(units.scores(), start, progress))
        if now is _all and i == parts:
            units.complete()
        score.settle(units.model, competition.exclude)


def _train(
    step: Step,
    units: Units,
    competition: Competition,
    schedule: Callable[[float, float], float],
    epochs: int,
    learning_rate: float,
    augment: int,
) -> None:
    start, done = competition.gone(units.alive()), _none

    def on_step(index: int, total: int, _model: Model) -> None:
        nonlocal done
        units.hold()
        ramp = max(1, int(RAMP * total))
        interval = max(1, ramp // units.score.updates)
        if index > ramp or (index % interval and index != ramp):
            return
        now = partial(schedule, index / ramp)
        if now(MOST) > done(MOST):
            _drop(units, competition, start, done, now)
            done = now

    step.train(
        epochs=epochs,
        learning_rate=learning_rate,
        augment=augment,
        on_step=on_step,
        min_epochs=math.ceil(RAMP * epochs),
    )
    _drop(units, competition, start, done, _all)
