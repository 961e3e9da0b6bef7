"""How an estimator fits: the table, its parts, the network, training, recalibration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

from farthing._validate import FarthingError, check_choice, check_integer, check_number
from farthing.activations import ACTIVATIONS
from farthing.base import Estimator
from farthing.edges import MOST_BINS
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.few_rows import SHARES, chosen_share
from farthing.lesson import HeldOut, Lesson, Table
from farthing.model import Model
from farthing.monotone import constrain, resolve_constraints
from farthing.penalties import Penalty
from farthing.periodic import PeriodicEncoder
from farthing.tables import (
    as_groups,
    as_matrix,
    as_part,
    as_weights,
    at,
    check_features,
    learn_matrix,
)
from farthing.targets import Objective
from farthing.training import (
    SEARCH_MIN_ROWS,
    History,
    asks_to_stop,
    draw_seed,
    split_search,
    train,
)

__all__ = ["Learner"]

ENCODERS = {
    "piecewise_linear": PiecewiseLinearEncoder,
    "periodic": PeriodicEncoder,
    None: Standardizer,
}
# What the file format allows.
MOST_NEURONS = 1 << 20
# Where early stopping is asked for, ten rows to stop by are better than none.
EARLY_STOPPING_MIN_ROWS = 100
# Weight decay where a network is trained, and where it has few rows, which it would else learn
# by heart. Found on German credit, on samples of 800 rows of the credit defaults and on
# synthetic sets.
AUTO_L2, FEW_ROWS_L2 = 0.2, 4.0


class Learner(Estimator):
    """An estimator that fits a network; the subclass says what y means."""

    def _check_parameters(self) -> None:
        if not isinstance(self.hidden, (tuple, list)):
            raise TypeError(
                f"hidden must be a tuple of widths such as (64, 32) or (), got {self.hidden!r}"
            )
        widths = {f"hidden[{i}]": width for i, width in enumerate(self.hidden)}
        check_integer(1, MOST_NEURONS, **widths)
        check_choice(tuple(ENCODERS), encoder=self.encoder)
        check_choice(tuple(a for a in ACTIVATIONS if a != "linear"), activation=self.activation)
        check_choice(("quantile", "teacher"), edges=self.edges)
        check_choice(("auto", True, False), early_stopping=self.early_stopping)
        for name in ("batch_norm", "residual", "refit", "warm_start", "calibrate"):
            check_choice((True, False), **{name: getattr(self, name)})
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable or None, got {self.callback!r}")
        check_integer(1, MOST_BINS, n_bins=self.n_bins)
        check_integer(1, min_frequency=self.min_frequency)
        check_integer(1, max_epochs=self.max_epochs, patience=self.patience)
        check_integer(1, also=("auto",), batch_size=self.batch_size)
        check_number("(0, inf)", also=("auto",), learning_rate=self.learning_rate)
        check_number("[0, inf)", also=("auto",), l2=self.l2)
        check_number("[0, 1)", dropout=self.dropout)
        check_number("[0, 1)", also=("auto",), feature_dropout=self.feature_dropout)
        penalty = self._penalty()
        if self.monotone_constraints and self.encoder == "periodic":
            raise FarthingError(
                "monotone_constraints need encoder='piecewise_linear' or None, got 'periodic', "
                "whose columns rise and fall"
            )
        if self.edges == "teacher" and self.encoder != "piecewise_linear":
            raise FarthingError(
                f"edges 'teacher' needs encoder='piecewise_linear', which has bins, got "
                f"encoder={self.encoder!r}"
            )
        if penalty and self.batch_norm:
            raise FarthingError(
                "l1 and group_l1 need batch_norm=False, which undoes the scale of weights, got True"
            )

    def _penalty(self) -> Penalty:
        return Penalty(l1=self.l1, group_l1=self.group_l1)

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

    def _label_strata(self, known: np.ndarray) -> np.ndarray | None:
        """The stratum of every row by its label, integers, where y are labels."""
        strata = self._strata(known)
        return None if strata is None else strata.astype(np.intp)

    def _counts_by_class(self) -> bool:
        """Whether the loss counts some class more than another."""
        return False

    def _class_weighted(self, target, weight) -> tuple[np.ndarray, np.ndarray | None]:
        """Target and weight under which the loss counts by class."""
        return target, weight

    def _shift_prior(self, model: Model, sign: int) -> None:
        """sign -1 takes from the output what counting by class has added, +1 adds it."""

    def _solves(self, n_features: int) -> bool:
        """Whether so many features are solved for rather than trained on."""
        return False

    def _solve(self, model: Model, rows, target, weight) -> History:
        """Sets the one layer of `model` to the optimum."""
        raise NotImplementedError

    # ---- tables ----------------------------------------------------------------------------

    def _learn_table(self, X, sample_weight=None) -> Table:
        """`X` for fitting, with the categories it has; two rows or more, in the words that
        scikit-learn looks for."""
        weight = None if sample_weight is None else np.asarray(sample_weight)
        if weight is not None:
            weight = as_weights(weight, len(weight)) if weight.ndim == 1 else None
        table = Table(
            *learn_matrix(
                X,
                self.categorical_features,
                min_frequency=self.min_frequency,
                sample_weight=weight,
            )
        )
        n = len(table.rows)
        if n < 2:
            raise FarthingError(f"X must have 2 rows or more, got {n} sample(s) (n_samples={n})")
        if table.categories and self.encoder != "piecewise_linear":
            raise FarthingError(
                "categorical_features need encoder='piecewise_linear', "
                f"got encoder={self.encoder!r}"
            )
        check_features(table.rows, table.names)
        self._directions(table, table.rows.shape[1])
        return table

    def _directions(self, table: Table, n_features: int) -> dict[int, int]:
        return resolve_constraints(
            self.monotone_constraints, n_features, table.names, tuple(table.categories)
        )

    def _held_out(self, part, table: Table, *, argument: str) -> HeldOut:
        """An `eval_set` or `validation`, checked and coded."""
        X, y, sample_weight = as_part(part, argument)
        names, n_features = table.names, table.rows.shape[1]

        def check(own: tuple[str, ...] | None, width: int) -> None:
            if None not in (names, own) and own != names:
                raise FarthingError(f"{argument} must have the columns of X, {names}, got {own}")
            if width != n_features:
                raise FarthingError(
                    f"{argument} must have {n_features} features, as X has, got {width}"
                )

        matrix, _ = as_matrix(X, argument=argument, categories=table.categories, check=check)
        if len(matrix) == 0:
            raise FarthingError(f"{argument} must have rows, got none")
        check_features(matrix, names, argument=argument)
        weight = as_weights(sample_weight, len(matrix), argument=f"sample_weight of {argument}")
        known = self._coded(y, len(matrix), argument)
        return HeldOut(matrix, known, known, weight)

    def _split(self, n: int, known, groups, weight, seed) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the rows to fit on and of those to search on, as `early_stopping` asks.

        known: a coded target, of which the shares of the classes are kept, or None.
        """
        strata = None if known is None else self._strata(known)
        min_rows = EARLY_STOPPING_MIN_ROWS if self.early_stopping is True else SEARCH_MIN_ROWS
        fit, search = split_search(n, strata, groups, seed, weight=weight, min_rows=min_rows)
        return (np.arange(n), search[:0]) if self.early_stopping is False else (fit, search)

    # ---- fitting ---------------------------------------------------------------------------

    def _fit_table(self, table: Table, target, sample_weight, eval_set, groups) -> Learner:
        """Fits to `target`, which the subclass has checked and coded, splitting off the search
        part where no `eval_set` is given and the model is not solved for."""
        n = len(table.rows)
        weight = as_weights(sample_weight, n)
        groups = as_groups(groups, n)
        seed = draw_seed(self.random_state)
        held_out = None
        if eval_set is not None:
            held_out = self._held_out(eval_set, table, argument="eval_set")
        matrix = table.rows
        if weight is not None and not weight.all():
            # Rows of weight 0 count as absent: for batches, augmentation and the split too.
            counted = np.flatnonzero(weight)
            matrix, target = matrix[counted], target[counted]
            weight, groups = weight[counted], at(groups, counted)
        if self.edges == "teacher":
            raise FarthingError("edges must be 'quantile' in fit, 'teacher' is for distill")
        fit, search = slice(None), slice(0)
        if self._solves(matrix.shape[1]):
            held_out = None
        elif held_out is None:
            fit, search = self._split(len(matrix), target, groups, weight, seed)
        if held_out is None:
            held_out = HeldOut(matrix[search], target[search], target[search], at(weight, search))
        return self._fit_rows(
            matrix[fit],
            target[fit],
            at(weight, fit),
            held_out,
            table=table,
            seed=seed,
            strata=at(self._label_strata(target), fit),
        )

    def _fit_rows(
        self,
        rows,
        target,
        weight,
        held_out: HeldOut,
        *,
        table: Table,
        seed: int,
        objective: Objective | None = None,
        loss=None,
        encode_first: int | None = None,
        candidates: dict | None = None,
        strata=None,
        tie=None,
    ) -> Learner:
        """Fits `model_` to float32 rows, stopping and recalibrating on `held_out`.

        table: names and categories of the rows; objective: the target's rules, None for the
        estimator's own, which recalibrate in any case unless `held_out` brings others; loss:
        in place of the objective's; encode_first: only so many of the rows choose the
        encoder's edges; candidates: for edges, by feature, in place of the rows; strata:
        what every minibatch has its share of, (rows,) or None; tie: what the network is tied
        to while it is trained.
        """
        own = self._objective()
        objective = objective or own
        objective.check(target, weight)
        lesson = Lesson(
            rows=rows,
            target=target,
            weight=weight,
            table=table,
            objective=objective,
            loss=loss,
            seed=seed,
            encode_first=encode_first,
            candidates=candidates,
            strata=strata,
            solved=loss is None and tie is None and self._solves(rows.shape[1]),
            tie=tie,
        )
        warm = self._warm_model(table, objective, rows.shape[1])
        model, history = self._learn(lesson, held_out, warm)
        self._install(model, seed, table)
        self.history_ = history
        search_rows = len(held_out.rows)
        calibrated = self.calibrate and not lesson.solved
        # What is solved for has its level, unless classes counted more than they are.
        if calibrated or (self.calibrate and self._counts_by_class()):
            self._balance(lesson)
        correction = (1.0, 0.0)
        if calibrated and search_rows:
            refit = held_out.refit or own.calibration
            correction = self._rescale(refit, held_out.rows, held_out.known, held_out.weight)
        self.training_ = {"rows": encode_first or len(rows), "search_rows": search_rows}
        ended = history.interrupted or history.stopped
        if self.refit and search_rows and history.best_epoch is not None and not ended:
            try:
                self._learn_again(lesson, held_out, warm, correction)
            except KeyboardInterrupt:  # also before the first step and after the last one
                self._install(model, seed, table)
                history.interrupted = True
        return self

    def _learn_again(self, lesson: Lesson, held_out: HeldOut, warm, correction: tuple) -> None:
        """Trains on the rows of `held_out` too, for the best number of epochs. Where that is cut
        short the model stays the one there is, and ``history_`` says so."""
        history, epochs = self.history_, self.history_.best_epoch + 1
        lesson = lesson.joined(held_out, self._label_strata(held_out.known))
        model, again = self._learn(lesson, None, warm, epochs=epochs)
        history.interrupted = again.interrupted
        if (again.interrupted or again.stopped) and (lesson.solved or again.epochs < epochs):
            history.stopped = again.stopped
            return
        self._install(model, lesson.seed, lesson.table)
        if self.calibrate and (not lesson.solved or self._counts_by_class()):
            self._balance(lesson)
        model.rescale_output(*correction)
        self._forget_scorer()

    def _rescale(self, refit: Callable, rows, target, weight) -> tuple:
        correction = refit(self._scorer().predict(rows), target, weight)
        self.model_.rescale_output(*correction)
        self._forget_scorer()
        return correction

    def _balance(self, lesson: Lesson) -> None:
        """Gives the level that the rows learnt from have: they know it better than a tenth of
        as many does."""
        own = slice(lesson.encode_first)
        target, weight = lesson.target[own], at(lesson.weight, own)
        self._rescale(lesson.objective.balance, lesson.rows[own], target, weight)

    def _learn(
        self,
        lesson: Lesson,
        held_out: HeldOut | None,
        warm: Model | None,
        *,
        epochs: int | None = None,
    ) -> tuple[Model, History]:
        """A trained model, and how it went.

        warm: what to start from, None for a new one; epochs: where to stop, on the way to
        max_epochs.
        """
        rows = lesson.rows
        model = self._new_model(lesson) if warm is None else warm.copy()
        target, weight = self._class_weighted(lesson.target, lesson.weight)
        if lesson.solved:
            history = self._solve(model, rows, target, weight)
            self._shift_prior(model, -1)
            return model, history
        objective, fitted = lesson.objective, warm is not None
        recipe = self._recipe(lesson, warm)
        with objective.scaled(model, target, weight, fitted=fitted) as scaled:
            if not fitted:
                directions = self._directions(lesson.table, rows.shape[1])
                constrain(model, directions, rows[: lesson.encode_first], lesson.seed)
            validation = None
            if held_out is not None and len(held_out.rows):
                watched, counts = self._class_weighted(held_out.target, held_out.weight)
                validation = (held_out.rows, scaled(watched), counts)
            target, loss = scaled(target), lesson.loss or objective.loss
            with ExitStack() as tied:
                if lesson.tie is not None:
                    loss = tied.enter_context(lesson.tie.tied(model, loss))
                    target = lesson.tie.targets(target)
                    if validation is not None:
                        validation = (held_out.rows, lesson.tie.watched(validation[1]), counts)
                history = train(
                    model,
                    rows,
                    target,
                    loss=loss,
                    sample_weight=weight,
                    validation=validation,
                    max_epochs=self.max_epochs,
                    batch_size=self.batch_size,
                    strata=lesson.strata,
                    learning_rate=self.learning_rate,
                    penalty=self._penalty() or None,
                    dropout=self.dropout,
                    patience=self.patience,
                    seed=lesson.seed,
                    progress=self._progress(epochs),
                    **recipe,
                )
        _settle(model)
        self._shift_prior(model, -1)
        return model, history

    def _recipe(self, lesson: Lesson, warm: Model | None) -> dict:
        """The arguments of `train` that depend on how many rows there are."""
        few = len(lesson.rows) < SEARCH_MIN_ROWS
        left_out = self.feature_dropout
        if left_out == "auto" and not few:
            left_out = 0.0
        elif left_out == "auto":
            # Rows that a teacher has labelled, and a network that has learnt, are another matter.
            alone = lesson.encode_first is None and lesson.loss is None and warm is None
            left_out = chosen_share(self, lesson) if alone else SHARES[0]
        decay = FEW_ROWS_L2 if few else AUTO_L2
        return {
            "full_batch": few,
            "weight_decay": decay if self.l2 == "auto" else self.l2,
            "feature_dropout": left_out,
        }

    def _progress(self, epochs: int | None) -> Callable[[dict], bool] | None:
        """The user's callback, and an end after so many epochs."""
        if self.callback is None and epochs is None:
            return None

        def told(report: dict) -> bool:
            asked = self.callback(report) if self.callback is not None else False
            return asks_to_stop(asked) or (epochs is not None and report["epoch"] >= epochs)

        return told

    def _new_model(self, lesson: Lesson) -> Model:
        own, table, objective = slice(lesson.encode_first), lesson.table, lesson.objective
        rows, weight = lesson.rows[own], at(lesson.weight, own)
        if self.encoder is None:
            encoder = Standardizer().fit(rows, weight, table.names)
        elif self.encoder == "periodic":
            encoder = PeriodicEncoder(self.n_bins, seed=lesson.seed).fit(rows, weight, table.names)
        else:
            encoder = PiecewiseLinearEncoder(
                self.n_bins,
                candidates=lesson.candidates,
                embedding_dim=self.embedding_dim,
                seed=lesson.seed,
            ).fit(rows, weight, table.names, table.categories)
        return Model.build(
            encoder,
            self.hidden,
            activation=self.activation,
            batch_norm=self.batch_norm,
            residual=self.residual,
            n_outputs=objective.n_outputs,
            link=objective.link,
            feature_names=table.names,
            seed=lesson.seed,
        )

    def _warm_model(self, table: Table, objective: Objective, n_features: int) -> Model | None:
        """With `warm_start` a copy of ``model_``, edges and categories included, if there is one
        and the data still fit it; else None."""
        if not self.warm_start or not self.__sklearn_is_fitted__():
            return None
        self._orient()
        model = self.model_.copy()
        widths = tuple(layer.n_outputs for layer in model.layers)
        if model.is_quantized:
            raise FarthingError(
                "warm_start must be False for a quantized model, whose weights are integers, got "
                f"{self.warm_start!r}"
            )
        facts = {
            "the encoder": (_encoder_name(model), self.encoder),
            "the features": (model.n_features, n_features),
            "the column names": (model.feature_names, table.names),
            "the categories": (model.encoder.categories_, table.categories),
            "the layers": (widths, (*self.hidden, objective.n_outputs)),
            "the link": (model.link, objective.link),
            "the monotone constraints": (self.monotone_, self._directions(table, n_features)),
        }
        for what, (has, wanted) in facts.items():
            if has != wanted:
                raise FarthingError(
                    f"warm_start must go on with {what} of the fitted model, {has!r}, "
                    f"got {wanted!r}; set warm_start=False to start again"
                )
        self._shift_prior(model, +1)
        return model

    def _install(self, model: Model, seed: int, table: Table) -> None:
        self.model_ = model
        self.random_state_ = seed
        self.n_features_in_ = model.n_features
        self.monotone_ = self._directions(table, model.n_features)
        if table.names is not None:
            self.feature_names_in_ = np.array(table.names, dtype=object)
        else:
            vars(self).pop("feature_names_in_", None)
        self._forget_scorer()


def _encoder_name(model: Model) -> str | None:
    return next(name for name, kind in ENCODERS.items() if isinstance(model.encoder, kind))


def _settle(model: Model) -> None:
    """Gives 'other' and missing rows of categories that no training row had a value."""
    if not model.encoder.categories_:
        return
    layer = model.layers[0]
    model.encoder.settle_untrained(layer.weight)
    if layer.mask is not None:
        layer.mask |= layer.weight != 0
