"""What pruning and quantization share: a step takes an estimator or a model, returns the same kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from farthing import container, export
from farthing._validate import FarthingError
from farthing.augmentation import munge
from farthing.estimators import Estimator
from farthing.model import Model
from farthing.recalibration import refit_logit, refit_value
from farthing.scorer import Scorer
from farthing.tables import as_matrix, as_target, as_weights, check_features
from farthing.training import History, draw_seed, split_search, standardized_target, train

__all__ = ["Step"]

# A model without an estimator has no classes: its score is a value.
BARE_INFO = {"critical": {"target": {"kind": "regression"}}, "optional": {}}


class _Search(NamedTuple):
    """The search part: rows, the blended target, the predictions before the step, weights."""

    rows: np.ndarray
    target: np.ndarray
    said: np.ndarray
    weight: np.ndarray | None


class Step:
    """One compression step on `given`, an estimator or a `Model`, with or without data.

    The rows are split as in `fit`: `validation` if given, else the stratified, grouped
    tenth that the estimator's own seed draws, so that a chain of steps keeps the same
    search rows. The input is never touched.
    """

    def __init__(
        self, given, X=None, y=None, *, alpha, sample_weight, groups, validation, random_state
    ):
        if isinstance(given, Model):
            self.estimator = None
            source, seed = given, random_state
        elif isinstance(given, Estimator):
            given._features(np.empty((0, vars(given).get("n_features_in_", 1)), np.float32))
            given._orient()
            self.estimator = given
            source = given.model_
            seed = given.random_state_ if random_state is None else random_state
        else:
            raise TypeError(
                f"model: expected a fitted farthing.Classifier or Regressor or a farthing.Model, got {type(given).__name__}"
            )
        if not 0 <= alpha <= 1:
            raise FarthingError(f"alpha: got {alpha!r}, allowed is a number from 0 to 1")
        self.model = source.copy()
        self.seed = 0 if seed is None else draw_seed(seed)
        self.has_data = X is not None
        if not self.has_data:
            if (
                y is not None
                or sample_weight is not None
                or groups is not None
                or validation is not None
            ):
                raise FarthingError(
                    "X: is None, but y, sample_weight, groups or validation were given"
                )
            return
        matrix = self._matrix(X, "X")
        if len(matrix) == 0:
            raise FarthingError("X: has no rows")
        weight = as_weights(sample_weight, len(matrix))
        labels = None if y is None else self._coded(y, len(matrix), "y")
        before = self._scorer(source)
        if validation is not None:
            fit = np.arange(len(matrix))
            rows, known, row_weight = self._validation(validation)
        else:
            strata = labels if source.link == "sigmoid" else None
            fit, search = split_search(len(matrix), strata, groups, self.seed)
            rows, row_weight = matrix[search], None if weight is None else weight[search]
            known = None if labels is None else labels[search]
        self.matrix = matrix[fit]
        self.weight = None if weight is None else weight[fit]
        said = before.predict(self.matrix).astype(np.float64)
        self.target = _blend(said, None if labels is None else labels[fit], alpha)
        self._before = before
        self.search: _Search | None = None
        if len(rows):
            said = before.predict(rows).astype(np.float64)
            self.search = _Search(rows, _blend(said, known, alpha), said, row_weight)

    def _matrix(self, X, argument: str) -> np.ndarray:
        if self.estimator is not None:
            matrix = self.estimator._features(X, argument=argument)
        else:
            matrix, _ = as_matrix(X, argument=argument)
            if matrix.shape[1] != self.model.n_features:
                raise FarthingError(
                    f"{argument}: {matrix.shape[1]} features were given, the model has {self.model.n_features}"
                )
        check_features(matrix, self.model.feature_names)
        return matrix

    def _coded(self, y, n: int, argument: str) -> np.ndarray:
        """y as the last layer's target: class 1 or a probability, or a value; float64 (n,)."""
        if self.estimator is not None:
            return self.estimator._coded(y, n, argument).astype(np.float64)
        target = as_target(y, n, argument=argument)
        if self.model.link == "sigmoid" and ((target < 0) | (target > 1)).any():
            raise FarthingError(
                f"{argument}: a model without classes takes 0, 1 or probabilities, got values outside [0, 1]"
            )
        return target

    def _validation(self, pair):
        if not isinstance(pair, (tuple, list)) or len(pair) not in (2, 3):
            raise FarthingError("validation: expected (X, y) or (X, y, sample_weight)")
        matrix = self._matrix(pair[0], "validation")
        known = None if pair[1] is None else self._coded(pair[1], len(matrix), "validation")
        return matrix, known, as_weights(pair[2] if len(pair) == 3 else None, len(matrix))

    def _scorer(self, model: Model) -> Scorer:
        info = BARE_INFO if self.estimator is None else self.estimator._info()
        return Scorer.from_bytes(container.dumps(export.model_to_tensors(model, info)))

    def train(
        self,
        *,
        epochs: int,
        learning_rate: float,
        augment: int,
        on_step: Callable | None = None,
        min_epochs: int = 0,
        input_amax: int | None = None,
    ) -> History:
        """Fine-tunes ``self.model`` in place on the blended targets.

        augment: copies of the rows mixed among neighbours (MUNGE). The model before the
        step knows the answer to any row, and those keep it from fitting y's noise.
        """
        model = self.model
        mixed = munge(
            self.matrix, self.matrix, copies=augment, rng=np.random.default_rng(self.seed)
        )
        tables = [self.matrix, *mixed]
        answers = [self._before.predict(table).astype(np.float64) for table in tables[1:]]
        target = np.concatenate([self.target, *answers])
        weight = None if self.weight is None else np.tile(self.weight, len(tables))
        with standardized_target(model, target, weight, fitted=True) as scaled:
            validation = None
            if self.search is not None:
                validation = (self.search.rows, scaled(self.search.target), self.search.weight)
            return train(
                model,
                np.concatenate(tables),
                scaled(target),
                loss="binary" if model.link == "sigmoid" else "squared",
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

    def result(self, *, calibrate: bool = True):
        """The step's outcome, recalibrated on the search part, in the kind that was given."""
        model = self.model
        for layer in model.layers:
            layer.weight_view = layer.output_view = None
        if calibrate and self.has_data and self.search is not None:
            # To the predictions before the step, not to y: they carry the calibration that
            # was fitted once, without the noise of a few thousand labels.
            refit = refit_logit if model.link == "sigmoid" else refit_value
            now = self._scorer(model).predict(self.search.rows)
            model.rescale_output(*refit(now, self.search.said, self.search.weight))
        if self.estimator is None:
            return model
        estimator = copy.copy(self.estimator)
        estimator.model_ = model
        estimator._forget_scorer()
        return estimator


def _blend(said: np.ndarray, known: np.ndarray | None, alpha: float) -> np.ndarray:
    """alpha x the predictions before the step + (1 - alpha) x y; the loss is linear in it."""
    return said if known is None else alpha * said + (1 - alpha) * known
