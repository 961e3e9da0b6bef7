"""What every estimator shares: parameters, predicting through the C core, saving."""

from __future__ import annotations

import inspect
import sys
import warnings
from functools import partial
from os import PathLike

import numpy as np

from farthing import certificate, container, export
from farthing._validate import FarthingError
from farthing.routing import Consumer
from farthing.scorer import Scorer
from farthing.standardizer import Standardizer
from farthing.tables import as_matrix

__all__ = ["Estimator", "NotFittedError", "linear_coefficients"]


class NotFittedError(FarthingError, AttributeError):
    """The estimator has not been fitted."""


class Estimator(Consumer):
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
        """Whether y must be above 0, as scikit-learn's tags ask."""
        return False

    # ---- checks --------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            # scikit-learn's tools look for scikit-learn's own class, where that is loaded.
            kind = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", NotFittedError)
            raise kind(f"this {type(self).__name__} is not fitted yet: call fit first")

    def _check_columns(self, argument: str, names: tuple[str, ...] | None, width: int) -> None:
        """Names and number of columns against those of `fit`, in scikit-learn's words, which its
        checks know."""
        own = getattr(self, "feature_names_in_", None)
        fitted = f"but {type(self).__name__} was fitted"
        if own is None and names is not None:
            warnings.warn(f"X has feature names, {fitted} without feature names", stacklevel=6)
        elif own is not None and names is None:
            problem = f"X does not have valid feature names, {fitted} with feature names"
            warnings.warn(problem, stacklevel=6)
        elif own is not None and names != tuple(own):
            raise FarthingError(_name_mismatch(names, tuple(own)))
        if width != self.n_features_in_:
            raise FarthingError(
                f"{argument} has {width} features, but {type(self).__name__} is "
                f"expecting {self.n_features_in_} features as input"
            )

    def _features(self, X, *, argument: str = "X") -> np.ndarray:
        """`X` as float32 with this estimator's columns, in this estimator's order."""
        self._check_fitted()
        return as_matrix(
            X,
            argument=argument,
            categories=self.model_.encoder.categories_,
            check=partial(self._check_columns, argument),
        )[0]

    # ---- predicting and saving -----------------------------------------------------------

    def _info(self, metadata=None) -> dict:
        info = {"critical": {"target": self._target_info()}, "optional": {}}
        if getattr(self, "training_", None):
            info["optional"]["training"] = self.training_
        declared = certificate.declaration(
            vars(self).get("monotone_", {}), self.model_.feature_names
        )
        if declared:
            info["optional"]["model"] = declared
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

    def certify_monotone(self) -> dict[str | int, bool]:
        """Whether each monotone constraint is proven by the weights that `save` writes.

        {feature name or index: bool}. Raises ValueError for an estimator without constraints.
        """
        self._check_fitted()
        return certificate.certify_monotone(self._scorer())

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
