"""Estimators with scikit-learn's interface, without importing scikit-learn."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError, check_choice, check_fraction
from farthing.base import Estimator, training_table
from farthing.encoding import Standardizer
from farthing.model import Model
from farthing.tables import (
    as_groups,
    as_labels,
    as_target,
    as_weights,
    check_features,
    check_spread,
)
from farthing.training import draw_seed

__all__ = ["Classifier", "Regressor"]


class Classifier(Estimator):
    """A small neural network for two classes, with a piecewise-linear encoding of its features.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden ReLU layers; ``()`` is logistic regression.
    encoder : "piecewise_linear" or None
        How raw features enter (Gorishniy et al. 2022, "On embeddings for numerical
        features"); None standardises.
    n_bins : int
        Most bins a feature, 1..258.
    monotone_constraints : dict or None
        {column name or 0-based index: +1 or -1}: the score never falls (+1) or never rises
        (-1) in that feature, proven by `certify_monotone`; 0 is no constraint.
    max_epochs, batch_size, learning_rate, l2, dropout, patience :
        Adam with decoupled weight decay `l2`; training stops after `patience` epochs
        without a better loss on the search part.
    early_stopping : "auto", True or False
        "auto": where there are 1,000 rows or more, a tenth of them is the search part; True:
        from 100 rows. With fewer, or False, training runs its `max_epochs`.
    calibrate : bool
        Refit slope and intercept of the logit on the search part.
    decision_threshold : float
        `predict` says the positive class at or above this probability.
    positive : label or None
        The label whose probability is the score; None: 1 or True where that is one of the
        two labels, else ``classes_[1]`` (then `save` asks for it if labels are text).
    random_state : int, numpy RandomState or None
    callback : callable or None
        Called once an epoch with a dict of epoch, loss and validation loss.

    Attributes: ``model_``, ``classes_``, ``n_features_in_``, ``feature_names_in_`` (tables
    only), ``history_``; for ``hidden=()`` and ``encoder=None`` also ``coef_`` (1, features)
    and ``intercept_`` (1,) in raw units.

    >>> import numpy as np, farthing
    >>> X = np.random.default_rng(0).normal(size=(400, 3))
    >>> model = farthing.Classifier(hidden=(8,), random_state=0).fit(X, X[:, 0] > 0)
    >>> bool(model.score(X, X[:, 0] > 0) > 0.9)
    True
    """

    _estimator_type = "classifier"
    _link = "sigmoid"
    _loss = "binary"

    def __init__(
        self,
        hidden=(64, 32),
        encoder="piecewise_linear",
        *,
        n_bins=16,
        monotone_constraints=None,
        max_epochs=16,
        batch_size="auto",
        learning_rate="auto",
        l2=0.2,
        dropout=0.05,
        patience=8,
        early_stopping="auto",
        calibrate=True,
        decision_threshold=0.5,
        positive=None,
        random_state=None,
        callback=None,
    ):
        self._store(locals())

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_fraction(decision_threshold=self.decision_threshold)

    def _positive_index(self) -> int:
        classes = self.classes_.tolist()
        if self.positive is None:
            return classes.index(1) if 1 in classes else 1
        if self.positive not in classes:
            raise FarthingError(
                f"positive must be None or one of the labels {classes}, got {self.positive!r}"
            )
        return classes.index(self.positive)

    def _coded(self, y, n, argument) -> np.ndarray:
        """1 for the positive class, 0 for the other, float32 (n,)."""
        _, index = as_labels(y, n, classes=self.classes_, argument=argument)
        return (index == self._positive_index()).astype(np.float32)

    def fit(self, X, y, sample_weight=None, *, eval_set=None, groups=None) -> Classifier:
        """Fits the network.

        X: (n, features), NaN means missing; y: (n,) labels of two classes; sample_weight:
        (n,) or None; eval_set: (X, y) or (X, y, sample_weight), the search part; groups:
        (n,), rows of one group stay on one side of the split. Raises ValueError for NaN
        in y, one class only, wrong lengths, and in X infinities, columns that are not
        numeric, and columns that lose half of their distinct values in float32.
        """
        self._check_parameters()
        matrix, names = training_table(X)
        classes, index = as_labels(y, len(matrix))
        self._set_classes(classes)
        target = (index == self._positive_index()).astype(np.float32)
        return self._fit_table(matrix, names, target, sample_weight, eval_set, groups)

    def _install(self, model: Model, seed: int, names) -> None:
        super()._install(model, seed, names)
        self._model_positive = self._positive_index()

    def _orient(self) -> None:
        if self._model_positive != self._positive_index():
            self.model_ = self.model_.copy()
            self.model_.negate_output()
            declared = vars(self).get("monotone_", {})
            self.monotone_ = {feature: -direction for feature, direction in declared.items()}
            self._model_positive = self._positive_index()
            self._forget_scorer()

    def _set_classes(self, classes: np.ndarray) -> None:
        if len(classes) != 2:
            found = "1 class" if len(classes) == 1 else f"{len(classes)} classes"
            raise FarthingError(
                f"y must have exactly two classes, got {found}: {classes[:5].tolist()}. "
                "Only binary classification is supported."
            )
        self.classes_ = classes

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities (n, 2), columns in the order of ``classes_``, float32."""
        score = self._scores(X)
        column = self._positive_index()
        proba = np.empty((len(score), 2), np.float32)
        proba[:, column] = score
        proba[:, 1 - column] = 1 - score
        return proba

    def predict(self, X) -> np.ndarray:
        """Labels (n,): the positive class at or above ``decision_threshold``."""
        # In float64, as Scorer.decide compares: float32 would round the threshold.
        accepted = self._scores(X).astype(np.float64) >= float(self.decision_threshold)
        column = self._positive_index()
        return self.classes_[np.where(accepted, column, 1 - column)]

    def score(self, X, y, sample_weight=None) -> float:
        """Accuracy of `predict` on labels y (n,), weighted by sample_weight (n,)."""
        labels = self.predict(X)
        y, weight = self._scored(y, len(labels), sample_weight)
        return float(np.average(self._coded(labels, len(labels), "y") == y, weights=weight))

    @property
    def coef_(self) -> np.ndarray:
        return self._side() * _linear_coefficients(self)[0]

    @property
    def intercept_(self) -> np.ndarray:
        return self._side() * _linear_coefficients(self)[1]

    def _side(self) -> float:
        """scikit-learn's coefficients speak for ``classes_[1]``."""
        return 1.0 if vars(self).get("_model_positive") == 1 else -1.0

    def _check_saveable(self) -> None:
        if self.positive is None and isinstance(self.classes_.tolist()[0], str):
            raise FarthingError(
                "positive must be set before saving a model of text labels, to say whose "
                f"probability the score is: set_params(positive=...), {self.classes_.tolist()}"
            )

    def _target_info(self) -> dict:
        classes = self.classes_.tolist()
        return {
            "kind": "binary",
            "classes": classes,
            "positive": classes[self._positive_index()],
            "decision_threshold": float(self.decision_threshold),
        }


class Regressor(Estimator):
    """A small neural network for a number, with a piecewise-linear encoding of its features.

    Parameters are those of `Classifier` where they apply, and:

    loss : "squared"
    solver : None or "exact"
        "exact" solves (weighted) least squares instead of training; it needs
        ``hidden=()`` and ``encoder=None``.

    For ``hidden=()`` and ``encoder=None``, ``coef_`` (features,) and ``intercept_`` (a
    float) are in raw units.

    >>> import numpy as np, farthing
    >>> x = np.array([[1.0], [2.0], [3.0]])
    >>> line = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(x, 2 * x[:, 0])
    >>> float(np.round(line.coef_[0], 6))
    2.0
    """

    _estimator_type = "regressor"

    def __init__(
        self,
        hidden=(64, 32),
        encoder="piecewise_linear",
        *,
        loss="squared",
        solver=None,
        n_bins=16,
        monotone_constraints=None,
        max_epochs=16,
        batch_size="auto",
        learning_rate="auto",
        l2=0.2,
        dropout=0.0,
        patience=8,
        early_stopping="auto",
        calibrate=True,
        random_state=None,
        callback=None,
    ):
        self._store(locals())

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice(("squared",), loss=self.loss)
        check_choice((None, "exact"), solver=self.solver)
        if self.solver == "exact" and self.monotone_constraints is not None:
            raise FarthingError(
                "monotone_constraints must be None with solver 'exact', "
                f"got {self.monotone_constraints!r}"
            )
        if self.solver == "exact" and (len(self.hidden) or self.encoder is not None):
            raise FarthingError(
                "solver 'exact' needs hidden=() and encoder=None, "
                f"got hidden={self.hidden!r} and encoder={self.encoder!r}"
            )

    def _coded(self, y, n, argument) -> np.ndarray:
        return as_target(y, n, argument=argument)

    def fit(self, X, y, sample_weight=None, *, eval_set=None, groups=None) -> Regressor:
        """Fits the network; arguments as for `Classifier.fit`, y: (n,) finite numbers."""
        self._check_parameters()
        matrix, names = training_table(X)
        target = self._coded(y, len(matrix), "y")
        if self.solver == "exact":
            as_groups(groups, len(matrix))
            return self._fit_exact(matrix, names, target, sample_weight)
        return self._fit_table(matrix, names, target, sample_weight, eval_set, groups)

    def _fit_exact(self, matrix, names, target, sample_weight) -> Regressor:
        """Weighted least squares in float64 on standardised columns (minimum norm)."""
        check_features(matrix, names)
        weight = as_weights(sample_weight, len(matrix))
        check_spread(target, weight)
        encoder = Standardizer().fit(matrix, weight)
        columns = encoder.positions(matrix).astype(np.float64)
        root = np.ones(len(matrix)) if weight is None else np.sqrt(weight.astype(np.float64))
        design = np.column_stack([columns, np.ones(len(matrix))])
        solution = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
        model = Model.build(encoder, (), link="identity", feature_names=names)
        model.layers[-1].weight = solution[None, :-1].astype(np.float32)
        model.layers[-1].bias = solution[-1:].astype(np.float32)
        self._install(model, draw_seed(self.random_state), names)
        self.training_ = {"rows": len(matrix), "search_rows": 0}
        return self

    def predict(self, X) -> np.ndarray:
        """Values (n,), float32."""
        return self._scores(X)

    def score(self, X, y, sample_weight=None) -> float:
        """Coefficient of determination R^2 of `predict` on y (n,), weighted by sample_weight."""
        value = self.predict(X)
        y, weight = self._scored(y, len(value), sample_weight)
        residual = np.average((y - value) ** 2, weights=weight)
        total = np.average((y - np.average(y, weights=weight)) ** 2, weights=weight)
        if total == 0:
            return 1.0 if residual == 0 else 0.0
        return float(1 - residual / total)

    @property
    def coef_(self) -> np.ndarray:
        return _linear_coefficients(self)[0][0]

    @property
    def intercept_(self) -> float:
        return float(_linear_coefficients(self)[1][0])

    def _target_info(self) -> dict:
        return {"kind": "regression"}


def _linear_coefficients(estimator: Estimator) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (1, features) and intercept (1,) in raw units, float64."""
    model = vars(estimator).get("model_")
    if model is None or len(model.layers) != 1 or not isinstance(model.encoder, Standardizer):
        raise AttributeError(
            "coef_ and intercept_ exist only for a fitted model with hidden=() and encoder=None"
        )
    encoder, layer = model.encoder, model.layers[0]
    weight = layer.weight * encoder.scale_.astype(np.float64)
    return weight, layer.bias - weight @ encoder.mean_
