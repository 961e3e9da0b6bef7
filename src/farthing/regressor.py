"""The regressor: a number, by the loss that says which."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError, check_choice, check_number
from farthing.base import linear_coefficients
from farthing.fitting import Learner
from farthing.solvers import least_squares
from farthing.tables import as_target, as_weights
from farthing.targets import Means, Objective, Values
from farthing.training import History

__all__ = ["Regressor"]

LOSSES = ("squared", "absolute", "huber", "quantile", "poisson", "gamma")


class Regressor(Learner):
    """A small neural network for a number, on a piecewise-linear encoding of its features.

    Parameters are those of `Classifier` where they apply, and:

    loss : "squared", "absolute", "huber", "quantile", "poisson" or "gamma"
        What the prediction is: the mean; the median; in between (Huber 1964); a quantile
        (Koenker & Bassett 1978); or the mean of a y >= 0 (Poisson) or > 0 (gamma) behind an
        exponential, so that it is positive. `calibrate` gives means ("squared", "poisson",
        "gamma") the mean of the rows learnt from, then refits slope and level on the search part
        by the same loss; for "absolute", "huber" and "quantile" the level alone.
    quantile : float in (0, 1)
        Of the loss of that name.
    huber_delta : float
        Where Huber's loss turns from square to linear, in standard deviations of y.
    solver : None or "exact"
        "exact" solves (weighted, ridge) least squares on all rows instead of training; it
        needs ``loss="squared"``, ``hidden=()`` and ``encoder=None``.
    l2 : float or "auto"
        Decoupled weight decay, "auto": 0.2, under 1,000 rows 4. With ``solver="exact"``: l2 / 2
        times the squared
        coefficients of the standardised columns, added to half the mean squared error;
        "auto": 0, and where columns repeat each other the coefficients of least norm.

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
        quantile=0.5,
        huber_delta=1.35,
        solver=None,
        activation="relu",
        batch_norm=False,
        residual=False,
        n_bins=16,
        edges="quantile",
        categorical_features=None,
        min_frequency=10,
        embedding_dim="auto",
        monotone_constraints=None,
        max_epochs=16,
        batch_size="auto",
        learning_rate="auto",
        l1=0.0,
        l2="auto",
        group_l1=0.0,
        dropout=0.0,
        feature_dropout="auto",
        patience=8,
        early_stopping="auto",
        refit=False,
        warm_start=False,
        calibrate=True,
        random_state=None,
        callback=None,
    ):
        self._store(locals())

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice(LOSSES, loss=self.loss)
        check_number("(0, 1)", quantile=self.quantile)
        check_number("(0, inf)", huber_delta=self.huber_delta)
        check_choice((None, "exact"), solver=self.solver)
        if self.solver is None:
            return
        if len(self.hidden) or self.encoder is not None:
            raise FarthingError(
                "solver 'exact' needs hidden=() and encoder=None, "
                f"got hidden={self.hidden!r} and encoder={self.encoder!r}"
            )
        if self.loss != "squared":
            raise FarthingError(f"solver 'exact' needs loss='squared', got {self.loss!r}")
        if self.monotone_constraints or self._penalty():
            raise FarthingError(
                "solver 'exact' needs monotone_constraints=None, l1=0 and group_l1=0, got "
                f"{self.monotone_constraints!r}, {self.l1!r} and {self.group_l1!r}"
            )

    def _positive_only(self) -> bool:
        return self.loss in ("poisson", "gamma")

    def _objective(self) -> Objective:
        if self._positive_only():
            return Means(self.loss)
        return Values(self.loss, float(self.quantile), float(self.huber_delta))

    def _coded(self, y, n, argument) -> np.ndarray:
        target = as_target(y, n, argument=argument)
        self._check_sign(target, argument)
        return target

    def _check_sign(self, target: np.ndarray, argument: str) -> None:
        if not self._positive_only():
            return
        wrong = target < 0 if self.loss == "poisson" else target <= 0
        if wrong.any():
            row = int(np.argmax(wrong))
            allowed = "0 or more" if self.loss == "poisson" else "above 0"
            raise FarthingError(
                f"{argument} must be {allowed} for loss={self.loss!r}, "
                f"got {target[row]} in row {row}"
            )

    def fit(self, X, y, sample_weight=None, *, eval_set=None, groups=None) -> Regressor:
        """Fits the network; arguments as for `Classifier.fit`, y: (n,) finite numbers."""
        self._check_parameters()
        table = self._learn_table(X, sample_weight)
        target = self._coded(y, len(table.rows), "y")
        return self._fit_table(table, target, sample_weight, eval_set, groups)

    def _solves(self, n_features: int) -> bool:
        return self.solver == "exact"

    def _solve(self, model, rows, target, weight) -> History:
        l2 = 0.0 if self.l2 == "auto" else self.l2
        layer = model.layers[0]
        layer.weight[:], layer.bias[:] = least_squares(
            model.encoder.positions(rows), target, weight, l2
        )
        return History()

    def predict(self, X) -> np.ndarray:
        """Values (n,), float32."""
        return self._scores(X)

    def score(self, X, y, sample_weight=None) -> float:
        """Coefficient of determination R^2 of `predict` on y (n,), weighted by sample_weight."""
        value = self.predict(X)
        self._check_scored(len(value))
        y, weight = as_target(y, len(value)), as_weights(sample_weight, len(value))
        residual = np.average((y - value) ** 2, weights=weight)
        total = np.average((y - np.average(y, weights=weight)) ** 2, weights=weight)
        if total == 0:
            return 1.0 if residual == 0 else 0.0
        return float(1 - residual / total)

    @property
    def coef_(self) -> np.ndarray:
        return linear_coefficients(self)[0][0]

    @property
    def intercept_(self) -> float:
        return float(linear_coefficients(self)[1][0])

    def _target_info(self) -> dict:
        return {"kind": "regression"}
