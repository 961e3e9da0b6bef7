"""The metrics that a paired test knows by name, in a form that reuses work across resamples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from farthing._validate import check_choice
from farthing.metrics._rows import as_events, check_finite, check_probabilities, is_binary
from farthing.metrics.pointwise import absolute_errors, log_losses, squared_errors
from farthing.metrics.ranking import Ranked

Evaluator = Callable[[np.ndarray], float]
MetricFunction = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """A metric, its direction and the kind of score it takes.

    prepare: (y, score) -> (row weights -> value); what does not depend on the weights is done
    once. sign: 1 where larger is better, -1 for losses.
    """

    name: str
    prepare: Callable[[np.ndarray, np.ndarray], Evaluator]
    sign: int
    scores: Literal["order", "probability", "value", "any"]

    def events(self, y: np.ndarray) -> np.ndarray | None:
        """y as bool, an error where the metric needs events and y holds others; None for values."""
        if self.scores in ("order", "probability") or (self.scores == "any" and is_binary(y)):
            return as_events(y)
        check_finite(y=y)
        return None

    def check(self, **scores: np.ndarray) -> None:
        if self.scores == "probability":
            check_probabilities(**scores)
        elif self.scores == "value":
            check_finite(**scores)


def _ordering(method: Callable[[Ranked, np.ndarray], float]):
    def prepare(y: np.ndarray, score: np.ndarray) -> Evaluator:
        ranked = Ranked(y == 1, score)
        return lambda weight: method(ranked, weight)

    return prepare


def _average(losses: Callable[[np.ndarray, np.ndarray], np.ndarray]):
    def prepare(y: np.ndarray, score: np.ndarray) -> Evaluator:
        loss = losses(y, score)
        return lambda weight: float(weight @ loss / weight.sum())

    return prepare


def _root(prepare_square: Callable[[np.ndarray, np.ndarray], Evaluator]):
    def prepare(y: np.ndarray, score: np.ndarray) -> Evaluator:
        square = prepare_square(y, score)
        return lambda weight: square(weight) ** 0.5

    return prepare


_NAMED = {
    metric.name: metric
    for metric in (
        Metric("auc", _ordering(Ranked.auc), 1, "order"),
        Metric("gini", _ordering(Ranked.gini), 1, "order"),
        Metric("average_precision", _ordering(Ranked.average_precision), 1, "order"),
        Metric("ks", _ordering(Ranked.ks), 1, "order"),
        Metric("log_loss", _average(lambda y, p: log_losses(y == 1, p)), -1, "probability"),
        Metric("brier", _average(squared_errors), -1, "probability"),
        Metric("mse", _average(squared_errors), -1, "value"),
        Metric("rmse", _root(_average(squared_errors)), -1, "value"),
        Metric("mae", _average(absolute_errors), -1, "value"),
    )
}


def find_metric(metric: str | MetricFunction) -> Metric:
    """The metric of that name, or the user's own function of (y, score, row weights).

    >>> find_metric("accuracy")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: metric must be one of 'auc', 'gini', ..., got 'accuracy'
    """
    if callable(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
        return Metric(name, lambda y, s: lambda weight: float(metric(y, s, weight)), 1, "any")
    check_choice(tuple(_NAMED), metric=metric)
    return _NAMED[metric]
