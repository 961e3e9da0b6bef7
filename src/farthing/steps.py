"""What the steps share: an estimator or a model goes in, the same kind comes out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from farthing import container, export
from farthing._validate import FarthingError, check_fraction
from farthing.augmentation import sampled
from farthing.base import Estimator
from farthing.model import Model
from farthing.sampling import auto_batch_size
from farthing.scorer import Scorer
from farthing.tables import (
    as_groups,
    as_labels,
    as_matrix,
    as_part,
    as_probabilities,
    as_target,
    as_weights,
    at,
    check_features,
)
from farthing.targets import Classes, Means, Objective, Values
from farthing.training import History, draw_seed, split_search, train

__all__ = ["Step"]

# Minibatches of an epoch of 1,024 rows or more, at least.
STEPS = 64


def _bare_objective(model: Model) -> Objective:
    """How a model without an estimator learns from y: by its link."""
    if model.link == "identity":
        return Values("squared")
    return Means("poisson") if model.link == "log" else Classes(max(2, model.n_outputs))


def _bare_target(model: Model) -> dict:
    """What the score of a model without an estimator means, as a file says it."""
    if model.link in ("identity", "log"):
        return {"kind": "regression"}
    if model.link == "softmax":
        return {"kind": "multiclass", "classes": list(range(model.n_outputs))}
    return {"kind": "binary", "classes": [0, 1], "positive": 1, "decision_threshold": 0.5}


class _Given(NamedTuple):
    """A part of the data as it was given, checked: y coded for the last layer, or None."""

    rows: np.ndarray
    known: np.ndarray | None
    weight: np.ndarray | None

    def take(self, index: np.ndarray) -> _Given:
        return _Given(*(at(values, index) for values in self))


class Part(NamedTuple):
    """A part of the data: float32 rows, what the model said of them before the step, the
    target blended from that and y, weights or None, and y coded for the last layer or None."""

    rows: np.ndarray
    said: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    known: np.ndarray | None


class Step:
    """One compression step on `given`, an estimator or a `Model`, with or without data.

    It imitates what the model said before the step, and with alpha < 1 learns from y by the
    estimator's own loss; class weights are left to `fit`, whose probabilities are corrected
    to the classes' own shares. Rows of weight 0 count as absent.

    The rows are split as in `fit`: `validation` if given, else the stratified, grouped
    tenth that the estimator's own seed draws, so that a chain of steps with the same X, y
    and groups keeps the same search rows (without y nothing can be stratified). ``model``
    is the copy to work on, ``fit`` and ``search`` are the parts, None where there are no
    rows. The input is never touched.
    """

    def __init__(
        self, given, X=None, y=None, *, alpha, sample_weight, groups, validation, random_state
    ):
        if isinstance(given, Model):
            self.estimator, source, seed = None, given, random_state
        elif isinstance(given, Estimator):
            given._check_fitted()
            given._orient()
            self.estimator, source = given, given.model_
            seed = given.random_state_ if random_state is None else random_state
        else:
            raise TypeError(
                "model must be a fitted Classifier or Regressor, or a farthing.Model, "
                f"got {type(given).__name__}"
            )
        check_fraction(alpha=alpha)
        # Without y all there is to learn from is what the model said.
        self.alpha = 1.0 if y is None else alpha
        self.model = source.copy()
        own = _bare_objective(source) if self.estimator is None else given._objective()
        self._objective = own
        # What turns y into the units that the model answers in, where it is being trained.
        self._units: Callable[[np.ndarray], np.ndarray] | None = None
        self.seed = 0 if seed is None else draw_seed(seed)
        self.fit: Part | None = None
        self.search: Part | None = None
        if X is None:
            others = {"y": y, "sample_weight": sample_weight, "groups": groups}
            for name, value in (others | {"validation": validation}).items():
                if value is not None:
                    raise FarthingError(f"X must be given where {name} is, got None")
            return
        part = self._given(X, y, sample_weight)
        groups = as_groups(groups, len(part.rows))
        if part.weight is not None:  # rows of weight 0 count as absent
            counted = np.flatnonzero(part.weight)
            part, groups = part.take(counted), at(groups, counted)
        if validation is not None:
            search = self._given(*as_part(validation, "validation"), within="validation")
        else:
            fit, held_out = self._split(part, groups)
            part, search = part.take(fit), part.take(held_out)
        self._before = self._scorer(source)
        self.fit = self._blended(part)
        if len(search.rows):
            self.search = self._blended(search)

    def _split(self, part: _Given, groups) -> tuple[np.ndarray, np.ndarray]:
        """The rows to fit on and to search on, as the estimator's own `fit` drew them."""
        n, known = len(part.rows), part.known
        if self.estimator is not None:
            return self.estimator._split(n, known, groups, part.weight, self.seed)
        strata = None if known is None else self._objective.strata(known)
        return split_search(n, strata, groups, self.seed, weight=part.weight)

    def _given(self, X, y, sample_weight, within: str = "") -> _Given:
        """within: the argument that all three come from, where they are no arguments."""
        rows = self._matrix(X, within or "X")
        if len(rows) == 0:
            raise FarthingError(f"{within or 'X'} must have rows, got none")
        known = None if y is None else self._coded(y, len(rows), within or "y")
        name = f"sample_weight of {within}" if within else "sample_weight"
        return _Given(rows, known, as_weights(sample_weight, len(rows), argument=name))

    def _matrix(self, X, argument: str) -> np.ndarray:
        if self.estimator is not None:
            matrix = self.estimator._features(X, argument=argument)
        else:
            matrix, _ = as_matrix(
                X,
                argument=argument,
                categories=self.model.encoder.categories_,
                check=partial(self._check_columns, argument),
            )
        check_features(matrix, self.model.feature_names, argument=argument)
        return matrix

    def _check_columns(self, argument: str, names: tuple[str, ...] | None, width: int) -> None:
        """Raises ValueError unless a table has the columns of a model without an estimator."""
        own = self.model.feature_names
        if None not in (names, own) and names != own:
            raise FarthingError(f"{argument} must have the columns {own}, got {names}")
        if width != self.model.n_features:
            raise FarthingError(
                f"{argument} must have {self.model.n_features} features, as the model has, "
                f"got {width}"
            )

    def _coded(self, y, n: int, argument: str) -> np.ndarray:
        """y as the last layer's target: labels coded or probabilities, or a value; float64
        (n,), of several classes (n, classes)."""
        if self.estimator is not None and not self._are_probabilities(y):
            return self.estimator._coded(y, n, argument).astype(np.float64)
        if self.model.link == "softmax":
            classes = self.model.n_outputs
            if np.ndim(y) == 2:
                return as_probabilities(y, n, classes, argument=argument)
            index = as_labels(y, n, classes=np.arange(classes), argument=argument)[1]
            return np.eye(classes)[index]
        target = as_target(y, n, argument=argument)
        outside = (target < 0) | (target > (1 if self.model.link == "sigmoid" else np.inf))
        if self.model.link == "sigmoid" and outside.any():
            raise FarthingError(
                f"{argument} must be 0, 1 or probabilities where it is no class label, "
                f"got {target[outside][0]}"
            )
        if self.model.link == "log" and outside.any():
            raise FarthingError(
                f"{argument} must not be negative behind the link 'log', got {target[outside][0]}"
            )
        return target

    def _are_probabilities(self, y) -> bool:
        """Whether y can only be probabilities: numbers that are no labels, or a column a class."""
        y = np.asarray(y)
        if self.model.link == "softmax":
            return y.ndim == 2 and y.shape[1] > 1
        return bool(
            self.model.link == "sigmoid" and y.dtype.kind == "f" and ((y > 0) & (y < 1)).any()
        )

    def _blended(self, part: _Given) -> Part:
        said = self._before.predict(part.rows).astype(np.float64)
        target = self._objective.blended(said, part.known, self.alpha)
        return Part(part.rows, said, target, part.weight, part.known)

    def _scorer(self, model: Model) -> Scorer:
        if self.estimator is None:
            info = {"critical": {"target": _bare_target(model)}, "optional": {}}
        else:
            info = self.estimator._info()
        return Scorer.from_bytes(container.dumps(export.model_to_tensors(model, info)))

    def loss_gradient(self, z: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Of the estimator's own loss to y by the outputs z (rows, outputs) of ``self.model``, in
        whose present units they are, for those rows of the fit part; but for a factor where the
        target has a unit of its own."""
        known, unit = self.fit.known[index], self.unit
        known = known / unit if self._units is None else self._units(known)
        known = np.reshape(known, (len(z), -1)).astype(z.dtype)
        return self._objective.loss(z / z.dtype.type(unit), known, at(self.fit.weight, index))[1]

    @property
    def unit(self) -> float:
        """What one of the outputs of ``self.model`` counts for now: 1 while it is trained, and
        without rows; else the deviation of a Regressor's target, 1 of others."""
        if self._units is not None or self.fit is None:
            return 1.0
        fit = self.fit
        return self._objective.unit(fit.said if fit.known is None else fit.known, fit.weight)

    def epochs(self, usual: int, augment: int) -> int:
        """How many epochs to train where nobody says: as `usual`, and of few rows so many more
        that each of those has its `STEPS`."""
        rows = len(self.fit.rows) * (1 + augment)
        steps = -(-rows // auto_batch_size(rows))
        return max(usual, -(-usual * STEPS // steps))

    def train(
        self,
        *,
        epochs: int,
        learning_rate: float,
        augment: int,
        on_step: Callable | None = None,
        on_end: Callable[[], None] | None = None,
        min_epochs: int = 0,
        input_amax: int | None = None,
    ) -> History:
        """Fine-tunes ``self.model`` in place on the blended targets.

        on_end: called once it is trained, while its output still is in the units of training.

        augment: copies of the rows mixed among neighbours (MUNGE). The model before the
        step knows the answer to any row, and those keep it from fitting y's noise.
        """
        model, fit = self.model, self.fit
        rng = np.random.default_rng(self.seed)
        unordered = model.encoder.categories_
        mixed = list(sampled(fit.rows, fit.rows, copies=augment, categorical=unordered, rng=rng))
        answers = [self._blended(_Given(rows, None, None)).target for rows in mixed]
        target = np.concatenate([fit.target, *answers])
        weight = None if fit.weight is None else np.tile(fit.weight, 1 + augment)
        objective = self._objective.imitation(self.alpha)
        with objective.scaled(model, target, weight, fitted=True) as scaled:
            self._units = partial(scaled, known=True)
            validation = None
            if self.search is not None:
                validation = (self.search.rows, scaled(self.search.target), self.search.weight)
            history = train(
                model,
                np.concatenate([fit.rows, *mixed]),
                scaled(target),
                loss=objective.loss,
                sample_weight=weight,
                validation=validation,
                max_epochs=epochs,
                learning_rate=learning_rate,
                patience=epochs,
                min_epochs=min_epochs,
                dropout=0.0,
                seed=self.seed,
                on_step=on_step,
                input_amax=input_amax,
            )
            if on_end is not None:
                on_end()
        self._units = None
        return history

    def result(self, *, calibrate: bool = True):
        """The step's outcome, recalibrated on the search part, in the kind that was given."""
        model = self.model
        for layer in model.layers:
            layer.drop_views()
        if calibrate and self.search is not None:
            # To the predictions before the step, not to y: they carry the calibration that
            # was fitted once, without the noise of a few thousand labels.
            now = self._scorer(model).predict(self.search.rows)
            refitted = self._objective.restoration(now, self.search.said, self.search.weight)
            model.rescale_output(*refitted)
        if self.estimator is None:
            return model
        estimator = copy.copy(self.estimator)
        estimator.model_ = model
        estimator._forget_scorer()
        return estimator
