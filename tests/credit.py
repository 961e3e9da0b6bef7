"""Small synthetic credit data, the same every time: tests train on it in a moment."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np

import farthing

FEATURES = ("income", "late", "limit", "age", "noise")


@cache
def data(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X float64 (n, 5) with a skewed, a count and a 10 % missing column, y int (n,)."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10, 0.6, n)
    late = rng.poisson(0.4, n).astype(float)
    limit = np.round(rng.gamma(2.0, 50_000, n), -4)
    age = rng.uniform(20, 75, n)
    noise = rng.normal(size=n)
    logit = 1.3 * late - 0.8 * (np.log(income) - 10) - limit / 150_000 + (age < 30) - 0.8
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    limit[rng.random(n) < 0.1] = np.nan
    return np.column_stack([income, late, limit, age, noise]), y


@cache
def fitted(hidden: tuple[int, ...] = (16, 8)) -> farthing.Classifier:
    """A fitted classifier; never changed by a test."""
    X, y = data()
    return farthing.Classifier(hidden=hidden, max_epochs=8, random_state=0).fit(X, y)


def teach(X, y):
    """A fitted LightGBM teacher."""
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=40, num_leaves=7, n_jobs=1, verbose=-1).fit(X, y)


def with_constant_neurons(model: farthing.Classifier) -> farthing.Classifier:
    """A copy whose first layer has three neurons without weights: they answer a constant."""
    model = copy.copy(model)
    model.model_ = model.model_.copy()
    layer = model.model_.layers[0]
    mask = np.ones(layer.weight.shape, bool)
    mask[[2, 5, 11]] = False
    layer.set_mask(mask)
    layer.bias[[2, 5, 11]] = 0.9, -0.4, 1.6
    model._forget_scorer()
    return model
