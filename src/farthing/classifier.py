"""The classifier: labels of two classes or more, probabilities, decisions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from farthing._validate import FarthingError, check_fraction, check_number
from farthing.base import linear_coefficients
from farthing.fitting import Learner
from farthing.lesson import Table
from farthing.model import Model
from farthing.solvers import logistic_regression
from farthing.tables import as_labels, as_weights
from farthing.targets import Classes, tilted
from farthing.training import History, asks_to_stop

__all__ = ["Classifier"]

# Unknowns up to which a linear model is solved for: each step of Newton's method solves a
# system of that size.
NEWTON_UNKNOWNS = 2000
# Keeps separable rows finite, and moves no coefficient that rows can tell.
NEWTON_L2 = 1e-4
# Of class weights: farther apart, the smaller one times a probability is 0 in float64.
LARGEST_RATIO = 1e300


class Classifier(Learner):
    """A small neural network for two classes or more, on a piecewise-linear encoding.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; ``()`` is logistic regression, with
        ``encoder=None`` and up to 2,000 coefficients solved by Newton's method on all rows:
        no search part, no early stopping; class weights are calibrated away, nothing else.
    encoder : "piecewise_linear", "periodic" or None
        How raw features enter (Gorishniy et al. 2022, "On embeddings for numerical
        features"): by the bins that they lie in; as sines and cosines of frequencies drawn at
        random, for functions that oscillate; None standardises. Categories need the first,
        monotone constraints the first or None.
    n_bins : int
        Most bins a feature, 1..258; columns of a feature where it is periodic.
    edges : "quantile" or "teacher"
        Where the bins end: at quantiles and frequent values of the rows, or, in `distill`, at
        the thresholds of a teacher of trees (LightGBM, XGBoost or scikit-learn).
    activation : "relu", "tanh", "gelu", "silu" or "sigmoid"
        Of the hidden layers.
    batch_norm, residual : bool
        Normalise the hidden layers over each minibatch (Ioffe & Szegedy 2015), folded into
        their weights afterwards; add a hidden layer's input to its output where both are
        equally wide (He et al. 2016).
    categorical_features : None, "from_dtype" or list
        Names or 0-based indices of the columns that hold categories, all texts or all numbers;
        "from_dtype": a table's columns of categories or text.
    min_frequency : int
        Categories of fewer rows share one row, 'other', with those that appear later. With
        sample_weight: those whose weights add up to less than min_frequency x min(1, mean of
        the weights above 0), so that an integer weight counts as that many rows, and weights
        that are small on average, such as shares of 1, only by their ratios.
    embedding_dim : "auto", int or None
        Columns that embed a categorical feature; None or 0: one for each category; "auto":
        that up to 32 categories, else the square root of their number, at most 16.
    monotone_constraints : dict or None
        {column name or 0-based index: +1 or -1}: the score never falls (+1) or never rises
        (-1) in that feature, proven by `certify_monotone`; 0 is no constraint. Every third
        ReLU is then bounded (Runje & Shankaranarayana 2023), so that one hidden layer can have
        effects that level off at both ends.
    class_weight : None, "balanced" or dict
        What a row counts in the loss by its class: {label: weight > 0} for every label, or
        "balanced": rows / (classes x rows of the class), by sample_weight where given; all
        within a factor of 1e300. Only
        training and `predict` know of it: the probabilities are those of the classes' own
        shares, corrected by log-odds of the weights, while `predict` compares the
        class-weighted probability, odds times the ratio of the weights.
    max_epochs, batch_size, learning_rate, dropout, patience :
        Adam; training stops after `patience` epochs without a better loss on the search
        part.
    l2 : float or "auto"
        Decoupled weight decay, "auto": 0.2, under 1,000 rows 4. Solved by Newton's method: l2 / 2
        times the squared coefficients of the standardised columns, added to the mean loss;
        "auto": 1e-4.
    feature_dropout : float or "auto"
        The share of the raw features that each step leaves out; "auto": 0, under 1,000 rows
        0.3 unless 0 is better in all three folds of a cross-validation (`farthing.few_rows`),
        which trains up to six small networks first; of few rows that a teacher labels 0.3.
    l1, group_l1 : float, or for group_l1 a dict
        Penalties that make weights exactly zero, and keep them so (`farthing.penalties`): on
        every weight, and on groups: a number counts for features, a dict by "feature", "bin"
        and "neuron".
    early_stopping : "auto", True or False
        "auto": where there are 1,000 rows or more, a tenth of them is the search part; True:
        from 100 rows. With fewer, or False, training runs its `max_epochs`.
    refit : bool
        Train again on all rows, the search part included, for the best number of epochs; the
        recalibration stays the one found before. Where Ctrl-C or the callback ends either
        training there is no second one, or it leaves the model of the first.
    warm_start : bool
        `fit` goes on from the fitted network, with its edges and categories: from its answers
        as they are, so that a target of another scale is better learnt anew.
    calibrate : bool
        Give the mean probabilities the classes' shares in the rows learnt from, then refit
        slope and intercept of the logit on the search part; of several classes one slope, and
        an intercept each. Without a search part only the former.
    decision_threshold : float
        Of two classes `predict` says the positive one at or above this (class-weighted)
        probability; of more the most probable.
    positive : label or None
        Of two classes the label whose probability is the score; None: 1 or True where that
        is one of the two labels, else ``classes_[1]`` (then `save` asks for it if labels are
        text). With more classes it must be None.
    random_state : int, numpy RandomState or None
    callback : callable or None
        Called once an epoch (of Newton's method, an iteration) with a dict of epoch,
        max_epochs, loss and validation_loss, None where there is none; training stops where
        it returns True, as it does on Ctrl-C, with the best so far; ``history_.stopped`` and
        ``history_.interrupted`` tell.

    Under 1,000 rows training is in double precision and every step sees all of them, so that
    a row of weight 2 is two rows.

    Attributes: ``model_``, ``classes_``, ``class_weight_`` (by ``classes_``),
    ``n_features_in_``, ``feature_names_in_`` (tables only), ``history_``; for ``hidden=()``
    and ``encoder=None`` also ``coef_`` and ``intercept_`` in raw units, (1, features) and
    (1,), of more than two classes (classes, features) and (classes,).

    >>> import numpy as np, farthing
    >>> X = np.random.default_rng(0).normal(size=(400, 3))
    >>> model = farthing.Classifier(hidden=(8,), random_state=0).fit(X, X[:, 0] > 0)
    >>> bool(model.score(X, X[:, 0] > 0) > 0.9)
    True
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        hidden=(64, 32),
        encoder="piecewise_linear",
        *,
        activation="relu",
        batch_norm=False,
        residual=False,
        n_bins=16,
        edges="quantile",
        categorical_features=None,
        min_frequency=10,
        embedding_dim="auto",
        monotone_constraints=None,
        class_weight=None,
        max_epochs=16,
        batch_size="auto",
        learning_rate="auto",
        l1=0.0,
        l2="auto",
        group_l1=0.0,
        dropout=0.05,
        feature_dropout="auto",
        patience=8,
        early_stopping="auto",
        refit=False,
        warm_start=False,
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
        given = self.class_weight
        if given is None or (isinstance(given, str) and given == "balanced"):
            return
        if not isinstance(given, Mapping):
            raise TypeError(
                f"class_weight must be None, 'balanced' or a dict by label, got {given!r}"
            )
        for label, value in given.items():
            check_number("(0, inf)", **{f"class_weight[{label!r}]": value})

    # ---- classes ---------------------------------------------------------------------------

    def _several(self) -> bool:
        return len(self.classes_) > 2

    def _set_classes(self, classes: np.ndarray) -> None:
        if len(classes) < 2:
            raise FarthingError(
                f"y must have two classes or more, got {len(classes)} class: {classes.tolist()}"
            )
        if self.warm_start and self.__sklearn_is_fitted__():
            before = self.classes_.tolist()
            if before != classes.tolist():
                raise FarthingError(
                    f"y must have the classes {before} that warm_start goes on with, "
                    f"got {classes.tolist()}"
                )
        self.classes_ = classes
        if self._several():
            self._check_no_positive()
        else:
            self._positive_index()

    def _check_no_positive(self) -> None:
        if self.positive is not None:
            raise FarthingError(
                f"positive must be None with more than two classes, of which there are "
                f"{len(self.classes_)}, got {self.positive!r}"
            )

    def _positive_index(self) -> int:
        classes = self.classes_.tolist()
        if self.positive is None:
            return classes.index(1) if 1 in classes else 1
        if self.positive not in classes:
            raise FarthingError(
                f"positive must be None or one of the labels {classes}, got {self.positive!r}"
            )
        return classes.index(self.positive)

    def _set_class_weight(self, target: np.ndarray, weight: np.ndarray | None) -> None:
        """``class_weight_`` for a coded target, labels or probabilities."""
        classes = self.classes_.tolist()
        if self.class_weight is None:
            self.class_weight_ = np.ones(len(classes))
        elif isinstance(self.class_weight, Mapping):
            given = {_plain(label): value for label, value in self.class_weight.items()}
            for label in given:
                if label not in classes:
                    raise FarthingError(
                        f"class_weight must name the classes {classes}, got {label!r}"
                    )
            for label in classes:
                if label not in given:
                    raise FarthingError(
                        f"class_weight must name every class, got none for {label!r}"
                    )
            self.class_weight_ = np.array([float(given[label]) for label in classes])
        else:
            columns = target if self._several() else self._columns(target)
            share = np.average(columns, axis=0, weights=weight)
            # A class that a teacher never sees counts as half a row.
            share = np.where(share > 0, share, 0.5 / len(target))
            self.class_weight_ = 1 / (len(classes) * share)
        least, most = float(self.class_weight_.min()), float(self.class_weight_.max())
        if least < most / LARGEST_RATIO:
            raise FarthingError(
                f"class_weight must hold weights within a factor of {LARGEST_RATIO:g} of each "
                f"other, got {least:g} to {most:g} by {self.class_weight!r}"
            )

    def _columns(self, positive: np.ndarray) -> np.ndarray:
        """P(positive), (n,), as (n, 2) in the order of ``classes_``, of the same type."""
        column = self._positive_index()
        columns = np.empty((len(positive), 2), positive.dtype)
        columns[:, column] = positive
        columns[:, 1 - column] = 1 - positive
        return columns

    # ---- the target ------------------------------------------------------------------------

    def _objective(self) -> Classes:
        return Classes(len(self.classes_))

    def _index(self, y, n: int, argument: str) -> np.ndarray:
        return as_labels(y, n, classes=self.classes_, argument=argument)[1]

    def _coded(self, y, n, argument) -> np.ndarray:
        """float32: 1 for the positive class, 0 for the other, (n,); one column a class, 1 for
        the row's own, (n, classes)."""
        return self._code(self._index(y, n, argument))

    def _code(self, index: np.ndarray) -> np.ndarray:
        if self._several():
            return np.eye(len(self.classes_), dtype=np.float32)[index]
        return (index == self._positive_index()).astype(np.float32)

    def _strata(self, target):
        # By class, so that another `positive` splits no differently.
        if not self._several():
            return self._columns(np.asarray(target))[:, 1]
        return super()._strata(target)

    def _tilt(self) -> np.ndarray:
        """Class weights by the target's columns; the positive class last of two."""
        if not self._several() and self._positive_index() == 0:
            return self.class_weight_[::-1]
        return self.class_weight_

    def _counts_by_class(self) -> bool:
        return bool((self.class_weight_ != self.class_weight_[0]).any())

    def _class_weighted(self, target, weight):
        if not self._counts_by_class():
            return target, weight
        target, factor = tilted(target, self._tilt())
        return target, factor if weight is None else weight * factor

    def _shift_prior(self, model: Model, sign: int) -> None:
        odds = np.log(self._tilt())
        if odds.any():
            model.rescale_output(1.0, sign * (odds if self._several() else odds[1] - odds[0]))

    def fit(self, X, y, sample_weight=None, *, eval_set=None, groups=None) -> Classifier:
        """Fits the network.

        X: (n, features), NaN means missing; y: (n,) labels of two classes or more, each of
        two rows or more; sample_weight: (n,) or None, rows of weight 0 count as absent, an
        integer weight as that many rows;
        eval_set: (X, y) or (X, y, sample_weight), the search part; groups: (n,), rows of one
        group stay on one side of the split. Raises ValueError for NaN in y, one class only, a
        class of fewer than two rows, wrong lengths, and in X infinities, columns that are not
        numeric, and columns that lose half of their distinct values in float32.
        """
        self._check_parameters()
        table = self._learn_table(X, sample_weight)
        n = len(table.rows)
        classes, index = as_labels(y, n)
        self._set_classes(classes)
        weight = as_weights(sample_weight, n)
        self._check_counts(index, weight)
        target = self._code(index)
        self._set_class_weight(target, weight)
        return self._fit_table(table, target, weight, eval_set, groups)

    def _check_counts(self, index: np.ndarray, weight: np.ndarray | None) -> None:
        """Raises ValueError for a class of one row, where a weight may stand for several rows:
        as many times as it is the smallest."""
        rows = None if weight is None else weight / weight[weight > 0].min()
        counts = np.bincount(index, weights=rows)
        if counts.min() >= 2:
            return
        label = self.classes_.tolist()[int(counts.argmin())]
        found = f"got {counts.min():.3g} of class {label!r}"
        if weight is not None:
            found += "; a row counts as often as its weight is the smallest, at weight 0 not at all"
        raise FarthingError(f"y must have 2 rows or more of every class, {found}")

    def _solves(self, n_features: int) -> bool:
        constrained = self.monotone_constraints or self._penalty() or self.warm_start
        if len(self.hidden) or self.encoder is not None or constrained:
            return False
        return self._objective().n_outputs * (n_features + 1) <= NEWTON_UNKNOWNS

    def _solve(self, model, rows, target, weight) -> History:
        history = History()

        def told(iteration: int, loss: float) -> bool | None:
            history.train_loss.append(loss)
            if self.callback is None:
                return None
            epoch = {"epoch": iteration, "max_epochs": None}
            report = {**epoch, "loss": loss, "validation_loss": None}
            history.stopped = asks_to_stop(self.callback(report))
            return history.stopped

        l2 = NEWTON_L2 if self.l2 == "auto" else self.l2
        columns = model.encoder.positions(rows)
        solved = logistic_regression(columns, target.reshape(len(rows), -1), weight, l2, told)
        layer = model.layers[0]
        layer.weight[:], layer.bias[:] = solved.coefficients, solved.intercepts
        history.interrupted = solved.interrupted
        history.best_epoch = history.epochs - 1 if history.epochs else None
        return history

    def _install(self, model: Model, seed: int, table: Table) -> None:
        super()._install(model, seed, table)
        self._model_positive = None if self._several() else self._positive_index()

    def _orient(self) -> None:
        if self._several():
            self._check_no_positive()
        elif self._model_positive != self._positive_index():
            self.model_ = self.model_.copy()
            self.model_.negate_output()
            self.monotone_ = {feature: -sign for feature, sign in self.monotone_.items()}
            self._model_positive = self._positive_index()
            self._forget_scorer()

    # ---- answers ---------------------------------------------------------------------------

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities (n, classes), columns in the order of ``classes_``, float32."""
        score = self._scores(X)
        return score if self._several() else self._columns(score)

    def predict(self, X) -> np.ndarray:
        """Labels (n,): of two classes the positive one at or above ``decision_threshold``, of
        more the most probable, by class-weighted probability."""
        chosen = self._decided(self._scores(X))
        return self.classes_[chosen]

    def _decided(self, score: np.ndarray) -> np.ndarray:
        # In float64, as Scorer.decide compares: float32 would round the threshold.
        score = score.astype(np.float64)
        if self._several():
            return np.argmax(score * self.class_weight_, axis=1)
        column = self._positive_index()
        return np.where(score >= self._threshold(), column, 1 - column)

    def _threshold(self) -> float:
        """The probability at which the class-weighted one is `decision_threshold`."""
        other, own = self._tilt()
        threshold = float(self.decision_threshold)
        if own == other:
            return threshold
        share = threshold * (other / max(own, other))
        return float(share / (share + (1 - threshold) * (own / max(own, other))))

    def score(self, X, y, sample_weight=None) -> float:
        """Accuracy of `predict` on labels y (n,), weighted by sample_weight (n,)."""
        chosen = self._decided(self._scores(X))
        n = len(chosen)
        self._check_scored(n)
        index, weight = self._index(y, n, "y"), as_weights(sample_weight, n)
        return float(np.average(chosen == index, weights=weight))

    @property
    def coef_(self) -> np.ndarray:
        return self._side() * linear_coefficients(self)[0]

    @property
    def intercept_(self) -> np.ndarray:
        return self._side() * linear_coefficients(self)[1]

    def _side(self) -> float:
        """scikit-learn's coefficients of two classes speak for ``classes_[1]``."""
        return -1.0 if vars(self).get("_model_positive") == 0 else 1.0

    def _check_saveable(self) -> None:
        text = isinstance(self.classes_.tolist()[0], str)
        if self.positive is None and text and not self._several():
            raise FarthingError(
                "positive must be set before saving a model of text labels, to say whose "
                f"probability the score is: set_params(positive=...), {self.classes_.tolist()}"
            )

    def _target_info(self) -> dict:
        classes = self.classes_.tolist()
        if self._several():
            info = {"kind": "multiclass", "classes": classes}
            if self._counts_by_class():
                info["decision_weights"] = self.class_weight_.tolist()
            return info
        return {
            "kind": "binary",
            "classes": classes,
            "positive": classes[self._positive_index()],
            "decision_threshold": self._threshold(),
        }


def _plain(label):
    """A numpy scalar as Python's own."""
    return label.item() if isinstance(label, np.generic) else label
