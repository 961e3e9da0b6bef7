"""Estimators with scikit-learn's interface, without importing scikit-learn."""

from __future__ import annotations

import inspect
import sys
from os import PathLike
from typing import NamedTuple

import numpy as np

from farthing import container, export
from farthing._validate import FarthingError
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.model import Model
from farthing.recalibration import PRIOR_DEVIATION, refit_logit, refit_value
from farthing.scorer import Scorer
from farthing.tables import as_labels, as_matrix, as_target, as_weights, check_features
from farthing.training import draw_seed, split_search, standardized_target, train

__all__ = ["Classifier", "Estimator", "Regressor"]

ENCODERS = ("piecewise_linear", None)


class HeldOut(NamedTuple):
    """The search part: float32 rows, the target that training watches, the known target
    that recalibration fits, and weights or None."""

    rows: np.ndarray
    target: np.ndarray
    known: np.ndarray
    weight: np.ndarray | None


class NotFittedError(FarthingError, AttributeError):
    """The estimator has not been fitted."""


class Estimator:
    """What `Classifier` and `Regressor` share: parameters, fitting, saving, predicting.

    A fitted estimator holds its network in ``model_``. Every prediction runs through the
    C core on the bytes that `save` would write, so the estimator and its file agree to
    the bit.
    """

    # The scorer is a cache, no state: it stays out of __dict__ and of pickles.
    __slots__ = ("__dict__", "__weakref__", "_cached_scorer")
    _link = "identity"
    _loss = "squared"

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict:
        """The constructor's parameters by name."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params) -> Estimator:
        """Sets constructor parameters by name; raises ValueError for an unknown one."""
        known = self._parameters()
        for name, value in params.items():
            if name not in known:
                raise FarthingError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {known!r}."
                )
            setattr(self, name, value)
        self._forget_scorer()
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{k}={v!r}"
            for k, v in self.get_params().items()
            if v is not defaults[k].default and v != defaults[k].default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self)

    def __getstate__(self) -> dict:
        return vars(self).copy()

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=True),
            input_tags=InputTags(allow_nan=True),
        )

    # ---- fitting -------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        hidden = self.hidden
        if not isinstance(hidden, (tuple, list)) or not all(
            isinstance(h, (int, np.integer)) and not isinstance(h, bool) and 1 <= h <= 1 << 20
            for h in hidden
        ):
            raise FarthingError(
                f"hidden: expected a tuple of layer widths such as (64, 32) or (), got {hidden!r}"
            )
        if self.encoder not in ENCODERS:
            allowed = ", ".join(map(repr, ENCODERS))
            raise FarthingError(f"encoder: got {self.encoder!r}, allowed are {allowed}")
        if not (isinstance(self.n_bins, (int, np.integer)) and 1 <= self.n_bins <= 258):
            raise FarthingError(f"n_bins: got {self.n_bins!r}, allowed is an integer from 1 to 258")
        if not self.max_epochs >= 1:
            raise FarthingError(
                f"max_epochs: got {self.max_epochs!r}, allowed is an integer from 1"
            )
        if self.learning_rate != "auto" and not self.learning_rate > 0:
            raise FarthingError(
                f"learning_rate: got {self.learning_rate!r}, allowed is 'auto' or a number above 0"
            )
        if not self.l2 >= 0:
            raise FarthingError(f"l2: got {self.l2!r}, allowed is a number from 0")
        if not 0 <= self.dropout < 1:
            raise FarthingError(
                f"dropout: got {self.dropout!r}, allowed is a number from 0 to below 1"
            )
        if self.batch_size != "auto" and not self.batch_size >= 1:
            raise FarthingError(
                f"batch_size: got {self.batch_size!r}, allowed is 'auto' or an integer from 1"
            )
        if self.early_stopping not in ("auto", True, False):
            raise FarthingError(
                f"early_stopping: got {self.early_stopping!r}, allowed are 'auto', True, False"
            )

    def _features(self, X, *, argument: str = "X") -> np.ndarray:
        """`X` as float32 with this estimator's columns, in this estimator's order."""
        if not self.__sklearn_is_fitted__():
            kind = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", NotFittedError)
            raise kind(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before using this estimator."
            )
        matrix, names = as_matrix(X, argument=argument)
        own = getattr(self, "feature_names_in_", None)
        if own is not None and names is None and hasattr(sys.modules.get("sklearn"), "__version__"):
            import warnings

            warnings.warn(
                f"X does not have valid feature names, but {type(self).__name__} was fitted with feature names",
                UserWarning,
                stacklevel=3,
            )
        if own is None and names is not None:
            import warnings

            warnings.warn(
                f"X has feature names, but {type(self).__name__} was fitted without feature names",
                UserWarning,
                stacklevel=3,
            )
        if own is not None and names is not None and names != tuple(own):
            _raise_name_mismatch(names, tuple(own))
        if matrix.shape[1] != self.n_features_in_:
            raise FarthingError(
                f"{argument} has {matrix.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        return matrix

    def _fit_table(self, X, target, sample_weight, eval_set, groups) -> Estimator:
        """Fits to `target` (n,), which the subclass has checked and coded, splitting off the
        search part where no `eval_set` is given."""
        self._check_parameters()
        matrix, names = as_matrix(X)
        check_features(matrix, names)
        weight = as_weights(sample_weight, len(matrix))
        seed = draw_seed(self.random_state)
        if eval_set is not None:
            fit = np.arange(len(matrix))
            held_out = self._held_out(eval_set, names, matrix.shape[1], argument="eval_set")
        else:
            strata = target if self._link == "sigmoid" else None
            fit, search = split_search(len(matrix), strata, groups, seed)
            if self.early_stopping is False:
                fit, search = np.arange(len(matrix)), search[:0]
            held_out = HeldOut(
                matrix[search],
                target[search],
                target[search],
                None if weight is None else weight[search],
            )
        return self._fit_rows(
            matrix[fit],
            target[fit],
            None if weight is None else weight[fit],
            held_out,
            names=names,
            seed=seed,
        )

    def _fit_rows(
        self, rows, target, weight, held_out: HeldOut, *, names, seed, loss=None, encode_first=None
    ):
        """Fits `model_` to float32 rows, stopping and recalibrating on `held_out`.

        encode_first: only so many of the rows choose the encoder's edges.
        """
        encoder = Standardizer() if self.encoder is None else PiecewiseLinearEncoder(self.n_bins)
        own = slice(encode_first)
        encoder.fit(rows[own], None if weight is None else weight[own], names)
        model = Model.build(encoder, self.hidden, link=self._link, feature_names=names, seed=seed)
        with standardized_target(model, target, weight) as scaled:
            validation = None
            if len(held_out.rows):
                validation = (held_out.rows, scaled(held_out.target), held_out.weight)
            self.history_ = train(
                model,
                rows,
                scaled(target),
                loss=loss or self._loss,
                sample_weight=weight,
                validation=validation,
                max_epochs=self.max_epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                weight_decay=self.l2,
                dropout=self.dropout,
                patience=self.patience,
                seed=seed,
                progress=self.callback,
            )
        self._install(model, seed, names)
        if self.calibrate and len(held_out.rows):
            score = self._scorer().predict(held_out.rows)
            known = (held_out.known, held_out.weight)
            if self._link == "sigmoid":
                refitted = refit_logit(score, *known, prior_deviation=PRIOR_DEVIATION)
            else:
                refitted = refit_value(score, *known)
            model.rescale_output(*refitted)
            self._forget_scorer()
        self.training_ = {"rows": len(rows[own]), "search_rows": len(held_out.rows)}
        return self

    def _install(self, model: Model, seed: int, names) -> None:
        self.model_ = model
        self.random_state_ = seed
        self.n_features_in_ = model.n_features
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif "feature_names_in_" in vars(self):
            del self.feature_names_in_
        self._forget_scorer()

    def _held_out(self, pair, names, n_features, *, argument: str) -> HeldOut:
        """An `eval_set` or `validation`, checked and coded."""
        if not isinstance(pair, (tuple, list)) or len(pair) not in (2, 3):
            raise FarthingError(
                f"{argument}: expected (X, y) or (X, y, sample_weight), got {type(pair).__name__}"
            )
        matrix, own = as_matrix(pair[0], argument=argument)
        if names is not None and own is not None and own != names:
            raise FarthingError(f"{argument}: columns {own} differ from those of X, {names}")
        if matrix.shape[1] != n_features:
            raise FarthingError(
                f"{argument}: {matrix.shape[1]} features were given, X has {n_features}"
            )
        check_features(matrix, names)
        weight = as_weights(pair[2] if len(pair) == 3 else None, len(matrix))
        known = self._coded(pair[1], len(matrix), argument)
        return HeldOut(matrix, known, known, weight)

    # ---- predicting and saving -----------------------------------------------------------

    def _info(self, metadata=None) -> dict:
        info = {"critical": {"target": self._target_info()}, "optional": {}}
        if getattr(self, "training_", None):
            info["optional"]["training"] = self.training_
        if metadata is not None:
            info["optional"]["user"] = metadata
        return info

    def _bytes(self, metadata=None) -> bytes:
        return container.dumps(export.model_to_tensors(self.model_, self._info(metadata)))

    def _forget_scorer(self) -> None:
        self._cached_scorer = None

    def _scorer(self) -> Scorer:
        self._orient()
        scorer = getattr(self, "_cached_scorer", None)
        if scorer is None:
            scorer = self._cached_scorer = Scorer.from_bytes(self._bytes())
        return scorer

    def _orient(self) -> None:
        """Makes `model_` answer for what the parameters now ask; a classifier has two sides."""

    def _scores(self, X) -> np.ndarray:
        matrix = self._features(X)
        return self._scorer().predict(matrix)

    def save(self, path: str | PathLike, metadata=None) -> None:
        """Writes a ``.farthing`` file that `farthing.load` and the C library read.

        metadata: any JSON-able value, returned by ``Scorer.metadata``. The file appears
        whole or not at all; raises OSError where it cannot be written.
        """
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet: call fit before save"
            )
        self._check_saveable()
        self._orient()
        try:
            data = self._bytes(metadata)
        except (TypeError, ValueError) as error:
            if metadata is None or isinstance(error, FarthingError):
                raise
            raise FarthingError(f"metadata: not representable as JSON ({error})") from None
        container.write_atomic(path, data)

    def _check_saveable(self) -> None:
        pass


def _raise_name_mismatch(names: tuple[str, ...], own: tuple[str, ...]) -> None:
    message = "The feature names should match those that were passed during fit.\n"
    unseen = sorted(set(names) - set(own))
    missing = sorted(set(own) - set(names))
    if unseen:
        message += "Feature names unseen at fit time:\n" + "".join(
            f"- {name}\n" for name in unseen[:5]
        )
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + "".join(
            f"- {name}\n" for name in missing[:5]
        )
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise FarthingError(message)


def _training_table(X) -> tuple[np.ndarray, tuple[str, ...] | None]:
    matrix, names = as_matrix(X)
    if len(matrix) < 2:
        raise FarthingError(
            f"X: Found array with {len(matrix)} sample(s) (n_samples={len(matrix)}, "
            f"shape={matrix.shape}) while a minimum of 2 is required."
        )
    return matrix, names


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
    max_epochs, batch_size, learning_rate, l2, dropout, patience :
        Adam with decoupled weight decay `l2`; training stops after `patience` epochs
        without a better loss on the search part.
    early_stopping : "auto", True or False
        "auto": where there are 1,000 rows or more, a tenth of them is the search part.
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
        max_epochs=16,
        batch_size="auto",
        learning_rate="auto",
        l2=0.1,
        dropout=0.05,
        patience=8,
        early_stopping="auto",
        calibrate=True,
        decision_threshold=0.5,
        positive=None,
        random_state=None,
        callback=None,
    ):
        self.hidden = hidden
        self.encoder = encoder
        self.n_bins = n_bins
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.l2 = l2
        self.dropout = dropout
        self.patience = patience
        self.early_stopping = early_stopping
        self.calibrate = calibrate
        self.decision_threshold = decision_threshold
        self.positive = positive
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags

    def _positive_index(self) -> int:
        classes = self.classes_.tolist()
        if self.positive is None:
            return classes.index(1) if 1 in classes else 1
        if self.positive not in classes:
            raise FarthingError(
                f"positive: got {self.positive!r}, allowed are the labels {classes}"
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
        in y, one class only, infinities in X or wrong lengths.
        """
        matrix, _ = _training_table(X)
        classes, index = as_labels(y, len(matrix))
        self._set_classes(classes)
        target = (index == self._positive_index()).astype(np.float32)
        return self._fit_table(X, target, sample_weight, eval_set, groups)

    def _install(self, model: Model, seed: int, names) -> None:
        super()._install(model, seed, names)
        self._model_positive = self._positive_index()

    def _orient(self) -> None:
        if self._model_positive != self._positive_index():
            self.model_ = self.model_.copy()
            self.model_.negate_output()
            self._model_positive = self._positive_index()
            self._forget_scorer()

    def _set_classes(self, classes: np.ndarray) -> None:
        if len(classes) != 2:
            found = f"{len(classes)} class" if len(classes) == 1 else f"{len(classes)} classes"
            hint = "" if len(classes) == 1 else " Only binary classification is supported."
            raise FarthingError(
                f"y: {found} found ({classes[:5].tolist()}), Classifier needs exactly two.{hint}"
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
        accepted = self._scores(X) >= self.decision_threshold
        column = self._positive_index()
        return self.classes_[np.where(accepted, column, 1 - column)]

    def score(self, X, y, sample_weight=None) -> float:
        """Accuracy of `predict`."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

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
        if self.positive is None and self.classes_.dtype.kind in "UO":
            raise FarthingError(
                "positive: the labels are text, so the score's label must be named before saving: "
                f"set_params(positive=...) to one of {self.classes_.tolist()}"
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
        max_epochs=16,
        batch_size="auto",
        learning_rate="auto",
        l2=0.1,
        dropout=0.0,
        patience=8,
        early_stopping="auto",
        calibrate=True,
        random_state=None,
        callback=None,
    ):
        self.hidden = hidden
        self.encoder = encoder
        self.loss = loss
        self.solver = solver
        self.n_bins = n_bins
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.l2 = l2
        self.dropout = dropout
        self.patience = patience
        self.early_stopping = early_stopping
        self.calibrate = calibrate
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self):
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags()
        return tags

    def _coded(self, y, n, argument) -> np.ndarray:
        return as_target(y, n, argument=argument)

    def fit(self, X, y, sample_weight=None, *, eval_set=None, groups=None) -> Regressor:
        """Fits the network; arguments as for `Classifier.fit`, y: (n,) finite numbers."""
        if self.loss != "squared":
            raise FarthingError(f"loss: got {self.loss!r}, allowed is 'squared'")
        if self.solver not in (None, "exact"):
            raise FarthingError(f"solver: got {self.solver!r}, allowed are None and 'exact'")
        matrix, names = _training_table(X)
        target = self._coded(y, len(matrix), "y")
        if self.solver == "exact":
            return self._fit_exact(matrix, names, target, sample_weight)
        return self._fit_table(X, target, sample_weight, eval_set, groups)

    def _fit_exact(self, matrix, names, target, sample_weight) -> Regressor:
        """Weighted least squares in float64 on standardised columns (minimum norm)."""
        self._check_parameters()
        if len(self.hidden) or self.encoder is not None:
            raise FarthingError(
                f"solver: 'exact' needs hidden=() and encoder=None, got hidden={self.hidden!r}, encoder={self.encoder!r}"
            )
        check_features(matrix, names)
        weight = as_weights(sample_weight, len(matrix))
        encoder = Standardizer().fit(matrix, weight)
        columns = encoder.positions(matrix).astype(np.float64)
        root = np.ones(len(matrix)) if weight is None else np.sqrt(weight.astype(np.float64))
        design = np.column_stack([columns, np.ones(len(matrix))])
        solution = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
        model = Model.build(encoder, (), link="identity", seed=0)
        model.layers[-1].weight = solution[None, :-1].astype(np.float32)
        model.layers[-1].bias = solution[-1:].astype(np.float32)
        if names is not None:
            model.feature_names = names
        self._install(model, draw_seed(self.random_state), names)
        self.training_ = {"rows": len(matrix), "search_rows": 0}
        return self

    def predict(self, X) -> np.ndarray:
        """Values (n,), float32."""
        return self._scores(X)

    def score(self, X, y, sample_weight=None) -> float:
        """Coefficient of determination R^2 of `predict`."""
        y = np.asarray(y, dtype=np.float64)
        residual = np.average((y - self.predict(X)) ** 2, weights=sample_weight)
        total = np.average((y - np.average(y, weights=sample_weight)) ** 2, weights=sample_weight)
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
    weight = model.layers[0].weight.astype(np.float64) * model.encoder.scale_.astype(np.float64)
    return weight, model.layers[0].bias.astype(np.float64) - weight @ model.encoder.mean_.astype(
        np.float64
    )
