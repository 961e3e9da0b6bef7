"""Metrics that are a mean over rows: log loss, Brier score, squared and absolute error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from farthing.metrics._rows import (
    as_columns,
    as_events,
    as_weight,
    check_finite,
    check_probabilities,
)

# float32 holds no probability between 1 - 2**-24 and 1. Scores of either float type are kept
# that far from 0 and 1, so that they are compared alike and no row costs more than 16.7 nats.
EDGE = 2.0**-24


def log_losses(event: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(np.where(event, p, 1 - p), EDGE, 1 - EDGE))


def squared_errors(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return (y - prediction) ** 2


def absolute_errors(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return np.abs(y - prediction)


def _mean(losses: np.ndarray, sample_weight: ArrayLike | None) -> float:
    return float(np.average(losses, weights=as_weight(sample_weight, len(losses))))


def log_loss(y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean negative log likelihood in nats; 0 is perfect.

    y: (n,) of 0 and 1; p: (n,) probabilities of 1, kept 2**-24 (a float32 score's resolution)
    away from 0 and 1; sample_weight: (n,) >= 0, or None. Raises ValueError for p outside
    [0, 1], y other than 0 and 1, NaN or unequal lengths.

    >>> round(log_loss([0, 1], [0.25, 0.75]), 4)
    0.2877
    """
    y, p = as_columns(y=y, p=p)
    check_probabilities(p=p)
    return _mean(log_losses(as_events(y), p), sample_weight)


def brier(y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Brier score: mean squared difference of probability and outcome, in [0, 1]; 0 is perfect.

    Arguments and errors as in `log_loss`.

    Source: Brier (1950), Monthly Weather Review 78:1-3 (the form for one probability a row).

    >>> brier([0, 1], [0.25, 0.75])
    0.0625
    """
    y, p = as_columns(y=y, p=p)
    check_probabilities(p=p)
    return _mean(squared_errors(as_events(y), p), sample_weight)


def mse(y: ArrayLike, prediction: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean squared error, in the squared unit of y.

    y, prediction: (n,) finite; sample_weight: (n,) >= 0, or None. Raises ValueError for NaN,
    infinities or unequal lengths.

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    y, prediction = as_columns(y=y, prediction=prediction)
    check_finite(y=y, prediction=prediction)
    return _mean(squared_errors(y, prediction), sample_weight)


def rmse(y: ArrayLike, prediction: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Root of the mean squared error, in the unit of y. Arguments and errors as in `mse`.

    >>> rmse([0.0, 0.0], [3.0, 3.0])
    3.0
    """
    return float(np.sqrt(mse(y, prediction, sample_weight)))


def mae(y: ArrayLike, prediction: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean absolute error, in the unit of y. Arguments and errors as in `mse`.

    >>> mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    y, prediction = as_columns(y=y, prediction=prediction)
    check_finite(y=y, prediction=prediction)
    return _mean(absolute_errors(y, prediction), sample_weight)
