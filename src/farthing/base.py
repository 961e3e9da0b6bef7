"""What every estimator shares: parameters, fitting, predicting through the C core, saving."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from os import PathLike
from typing import NamedTuple

import numpy as np

from farthing import container, export
from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.model import Model
from farthing.scorer import Scorer
from farthing.tables import as_groups, as_matrix, as_part, as_weights, at, check_features
from farthing.targets import Objective
from farthing.training import SEARCH_MIN_ROWS, History, draw_seed, split_search, train

__all__ = ["Estimator", "HeldOut", "NotFittedError", "linear_coefficients", "training_table"]

# What the runtime's prefix sums hold, and what the file format allows.
MOST_BINS = 258
MOST_NEURONS = 1 << 20
# Where early stopping is asked for, ten rows to stop by are better than none.
EARLY_STOPPING_MIN_ROWS = 100
# Weight decay where a network is trained.
AUTO_L2 = 0.2


class HeldOut(NamedTuple):
    """The search part: float32 rows, the target that training watches, the known target
    that recalibration fits, weights or None, and the recalibration where it is not that of
    the estimator's own objective."""

    rows: np.ndarray
    target: np.ndarray
    known: np.ndarray
    weight: np.ndarray | None
    refit: Callable | None = None


class NotFittedError(FarthingError, AttributeError):
    """The estimator has not been fitted."""


class Estimator:
    """What `Classifier` and `Regressor` share.

    A fitted estimator holds its network in ``model_``. Every prediction runs through the
    C core on the bytes that `save` would write, so the estimator and its file agree to
    the bit.
    """

    # The scorer is a cache, no state: it stays out of __dict__ and of pickles.
    __slots__ = ("__dict__", "__weakref__", "_cached_scorer")
    _estimator_type: str

    def _store(self, arguments: dict) -> None:
        """Keeps the constructor's arguments, unchanged, as attributes of their names."""
        vars(self).update({name: arguments[name] for name in self._parameters()})

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
                    f"{name!r} is no parameter of {type(self).__name__}; its parameters are {known}"
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
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = self._estimator_type
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=True, positive_only=self._positive_only()),
            classifier_tags=ClassifierTags(multi_class=True) if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(allow_nan=True),
        )

    def _positive_only(self) -> bool:
        return False

    # ---- checks --------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if not isinstance(self.hidden, (tuple, list)):
            raise TypeError(
                f"hidden must be a tuple of widths such as (64, 32) or (), got {self.hidden!r}"
            )
        widths = {f"hidden[{i}]": width for i, width in enumerate(self.hidden)}
        check_integer(1, MOST_NEURONS, **widths)
        check_choice(("piecewise_linear", None), encoder=self.encoder)
        check_choice(("auto", True, False), early_stopping=self.early_stopping)
        check_choice((True, False), calibrate=self.calibrate)
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable or None, got {self.callback!r}")
        check_integer(1, MOST_BINS, n_bins=self.n_bins)
        check_integer(1, max_epochs=self.max_epochs, patience=self.patience)
        check_integer(1, also=("auto",), batch_size=self.batch_size)
        check_number("(0, inf)", also=("auto",), learning_rate=self.learning_rate)
        check_number("[0, inf)", also=("auto",), l2=self.l2)
        check_number("[0, 1)", dropout=self.dropout)

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            # scikit-learn's tools look for scikit-learn's own class, where that is loaded.
            kind = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", NotFittedError)
            raise kind(f"this {type(self).__name__} is not fitted yet: call fit first")

    def _check_names(self, names: tuple[str, ...] | None) -> None:
        """Column names against those of `fit`, in scikit-learn's words, which its checks know."""
        own = getattr(self, "feature_names_in_", None)
        fitted = f"but {type(self).__name__} was fitted"
        if own is None and names is not None:
            warnings.warn(f"X has feature names, {fitted} without feature names", stacklevel=5)
        elif own is not None and names is None:
            problem = f"X does not have valid feature names, {fitted} with feature names"
            warnings.warn(problem, stacklevel=5)
        elif own is not None and names != tuple(own):
            raise FarthingError(_name_mismatch(names, tuple(own)))

    def _features(self, X, *, argument: str = "X") -> np.ndarray:
        """`X` as float32 with this estimator's columns, in this estimator's order."""
        self._check_fitted()
        matrix, names = as_matrix(X, argument=argument)
        self._check_names(names)
        if matrix.shape[1] != self.n_features_in_:
            raise FarthingError(
                f"{argument} has {matrix.shape[1]} features, but {type(self).__name__} is "
                f"expecting {self.n_features_in_} features as input"
            )
        return matrix

    def _held_out(self, part, names, n_features: int, *, argument: str) -> HeldOut:
        """An `eval_set` or `validation`, checked and coded."""
        X, y, sample_weight = as_part(part, argument)
        matrix, own = as_matrix(X, argument=argument)
        if names is not None and own is not None and own != names:
            raise FarthingError(f"{argument} must have the columns of X, {names}, got {own}")
        if matrix.shape[1] != n_features:
            raise FarthingError(
                f"{argument} must have {n_features} features, as X has, got {matrix.shape[1]}"
            )
        if len(matrix) == 0:
            raise FarthingError(f"{argument} must have rows, got none")
        check_features(matrix, names, argument=argument)
        weight = as_weights(sample_weight, len(matrix), argument=f"sample_weight of {argument}")
        known = self._coded(y, len(matrix), argument)
        return HeldOut(matrix, known, known, weight)

    # ---- what y means: for the subclass to say ---------------------------------------------

    def _objective(self) -> Objective:
        """The rules of the target, as the parameters and the classes now ask."""
        raise NotImplementedError

    def _coded(self, y, n: int, argument: str) -> np.ndarray:
        """y as the objective's target, checked."""
        raise NotImplementedError

    def _strata(self, target: np.ndarray) -> np.ndarray | None:
        """What a split keeps the shares of, (n,), from a coded target."""
        return self._objective().strata(target)

    def _class_weighted(self, target, weight) -> tuple[np.ndarray, np.ndarray | None]:
        """Target and weight under which the loss counts by class."""
        return target, weight

    def _restore_prior(self, model: Model) -> None:
        """Takes from the output what counting by class has added."""

    def _solves(self, n_features: int) -> bool:
        """Whether so many features are solved for rather than trained on."""
        return False

    def _solve(self, model: Model, rows, target, weight) -> History:
        """Sets the one layer of `model` to the optimum."""
        raise NotImplementedError

    # ---- fitting -------------------------------------------------------------------------

    def _fit_table(self, matrix, names, target, sample_weight, eval_set, groups) -> Estimator:
        """Fits to `target`, which the subclass has checked and coded, splitting off the search
        part where no `eval_set` is given and the model is not solved for."""
        check_features(matrix, names)
        n = len(matrix)
        weight = as_weights(sample_weight, n)
        groups = as_groups(groups, n)
        seed = draw_seed(self.random_state)
        held_out = None
        if eval_set is not None:
            held_out = self._held_out(eval_set, names, matrix.shape[1], argument="eval_set")
        # Rows of weight 0 count as absent: for batches, augmentation and the split too.
        counted = slice(None) if weight is None else np.flatnonzero(weight)
        matrix, target = matrix[counted], target[counted]
        weight, groups = at(weight, counted), at(groups, counted)
        if self._solves(matrix.shape[1]):
            fit, search = np.arange(len(matrix)), slice(0)
            held_out = None
        elif held_out is None:
            fit, search = self._split(len(matrix), target, groups, weight, seed)
        else:
            fit = np.arange(len(matrix))
        if held_out is None:
            held_out = HeldOut(matrix[search], target[search], target[search], at(weight, search))
        return self._fit_rows(
            matrix[fit], target[fit], at(weight, fit), held_out, names=names, seed=seed
        )

    def _split(self, n: int, known, groups, weight, seed) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the rows to fit on and of those to search on, as `early_stopping` asks.

        known: a coded target, of which the shares of the classes are kept, or None.
        """
        strata = None if known is None else self._strata(known)
        min_rows = EARLY_STOPPING_MIN_ROWS if self.early_stopping is True else SEARCH_MIN_ROWS
        fit, search = split_search(n, strata, groups, seed, weight=weight, min_rows=min_rows)
        return (np.arange(n), search[:0]) if self.early_stopping is False else (fit, search)

    def _fit_rows(
        self,
        rows,
        target,
        weight,
        held_out: HeldOut,
        *,
        names,
        seed,
        objective: Objective | None = None,
        loss=None,
        encode_first=None,
    ) -> Estimator:
        """Fits `model_` to float32 rows, stopping and recalibrating on `held_out`.

        objective: the target's rules, None for the estimator's own, which recalibrate in any
        case unless `held_out` brings others; loss: in place of the objective's;
        encode_first: only so many of the rows choose the encoder's edges.
        """
        own = self._objective()
        objective = objective or own
        objective.check(target, weight)
        encoder = Standardizer() if self.encoder is None else PiecewiseLinearEncoder(self.n_bins)
        first = slice(encode_first)
        encoder.fit(rows[first], at(weight, first), names)
        model = Model.build(
            encoder,
            self.hidden,
            n_outputs=objective.n_outputs,
            link=objective.link,
            feature_names=names,
            seed=seed,
        )
        solved = loss is None and self._solves(rows.shape[1])
        counted = self._class_weighted(target, weight)
        if solved:
            self.history_ = self._solve(model, rows, *counted)
        else:
            self.history_ = self._train(model, objective, loss, rows, *counted, held_out, seed)
        self._restore_prior(model)
        self._install(model, seed, names)
        if self.calibrate and not solved and (len(held_out.rows) or counted[0] is not target):
            # The rows learnt from know the level better than a tenth of as many does.
            self._rescale(objective.balance, rows, target, weight)
        if self.calibrate and len(held_out.rows):
            refit = held_out.refit or own.calibration
            self._rescale(refit, held_out.rows, held_out.known, held_out.weight)
        self.training_ = {"rows": len(rows[first]), "search_rows": len(held_out.rows)}
        return self

    def _train(self, model, objective, loss, rows, target, weight, held_out, seed) -> History:
        with objective.scaled(model, target, weight) as scaled:
            validation = None
            if len(held_out.rows):
                watched, search_weight = self._class_weighted(held_out.target, held_out.weight)
                validation = (held_out.rows, scaled(watched), search_weight)
            return train(
                model,
                rows,
                scaled(target),
                loss=loss or objective.loss,
                sample_weight=weight,
                validation=validation,
                max_epochs=self.max_epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                weight_decay=AUTO_L2 if self.l2 == "auto" else self.l2,
                dropout=self.dropout,
                patience=self.patience,
                seed=seed,
                progress=self.callback,
            )

    def _rescale(self, refit: Callable, rows, target, weight) -> None:
        self.model_.rescale_output(*refit(self._scorer().predict(rows), target, weight))
        self._forget_scorer()

    def _install(self, model: Model, seed: int, names) -> None:
        self.model_ = model
        self.random_state_ = seed
        self.n_features_in_ = model.n_features
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        else:
            vars(self).pop("feature_names_in_", None)
        self._forget_scorer()

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

    @staticmethod
    def _check_scored(n: int) -> None:
        if n == 0:
            raise FarthingError("X must have 1 row or more to be scored, got none")

    def save(self, path: str | PathLike, metadata=None) -> None:
        """Writes a ``.farthing`` file that `farthing.load` and the C library read.

        metadata: any JSON value, its keys texts, returned by ``Scorer.metadata``. The file appears
        whole or not at all; raises OSError where it cannot be written.
        """
        self._check_fitted()
        self._check_saveable()
        container.check_json(metadata=metadata)
        self._orient()
        container.write_atomic(path, self._bytes(metadata))

    def _check_saveable(self) -> None:
        """Raises where the file would leave a question open."""


def _name_mismatch(names: tuple[str, ...], own: tuple[str, ...]) -> str:
    message = "The feature names should match those that were passed during fit.\n"
    unseen = sorted(set(names) - set(own))
    missing = sorted(set(own) - set(names))
    for title, some in (
        ("unseen at fit time", unseen),
        ("seen at fit time, yet now missing", missing),
    ):
        if some:
            message += f"Feature names {title}:\n" + "".join(f"- {name}\n" for name in some[:5])
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message


def training_table(X) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """`as_matrix` for `fit`, which needs two rows; the words are those scikit-learn looks for."""
    matrix, names = as_matrix(X, fitting=True)
    n = len(matrix)
    if n < 2:
        raise FarthingError(f"X must have 2 rows or more, got {n} sample(s) (n_samples={n})")
    return matrix, names


def linear_coefficients(estimator: Estimator) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (outputs, features) and intercepts (outputs,) in raw units, float64."""
    model = vars(estimator).get("model_")
    if model is None or len(model.layers) != 1 or not isinstance(model.encoder, Standardizer):
        raise AttributeError(
            "coef_ and intercept_ exist only for a fitted model with hidden=() and encoder=None"
        )
    encoder, layer = model.encoder, model.layers[0]
    weight = layer.weight * encoder.scale_.astype(np.float64)
    return weight, layer.bias - weight @ encoder.mean_
