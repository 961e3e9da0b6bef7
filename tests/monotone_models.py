"""A monotone classifier on the credit data, and all that must hold of such a model."""

from functools import cache

import credit
import numpy as np

import farthing
from farthing.certificate import certify

# Of credit.FEATURES: income, late and limit (which has missing values); age and noise are free.
DIRECTIONS = {0: -1, 1: 1, 2: -1}
PAIRS = 10_000
QUICK = {"epochs": 1, "augment": 0}


@cache
def monotone(quantized=False):
    """A fitted monotone classifier, and the same in integers; never changed by a test."""
    X, y = credit.data()
    if quantized:
        return farthing.quantize(monotone(), X, weight_bits=8)
    model = farthing.Classifier(
        hidden=(16, 8), max_epochs=6, random_state=0, monotone_constraints=DIRECTIONS
    )
    return model.fit(X, y)


def violations(scorer, directions, n=PAIRS, seed=0):
    """Pairs of rows that differ in one feature and whose scores are in the wrong order.

    The other features are those of random rows, missing values included; of each feature's
    pairs a third lie anywhere in and around its range, a third within a thousandth of it, and
    a third are data values and the next float.
    """
    X = credit.data()[0][:, : scorer.n_features].astype(np.float32)
    rng = np.random.default_rng(seed)
    count = 0
    for feature, direction in directions.items():
        column = X[~np.isnan(X[:, feature]), feature]
        span = column.max() - column.min()
        low = rng.uniform(column.min() - span / 4, column.max() + span / 4, n).astype(np.float32)
        high = rng.permutation(low)
        near, step = np.split(np.arange(n), [n // 3, 2 * n // 3])[:2]
        high[near] = low[near] + np.float32(span / 1000) * rng.random(len(near), dtype=np.float32)
        low[step] = rng.choice(column, len(step))
        high[step] = np.nextafter(low[step], np.float32(np.inf))
        pair = []
        base = X[rng.integers(0, len(X), n)]
        for value in (np.minimum(low, high), np.maximum(low, high)):
            moved = base.copy()
            moved[:, feature] = value
            pair.append(scorer.predict(moved))
        count += int((direction * (pair[1].astype(np.float64) - pair[0]) < 0).sum())
    return count


def check(estimator, tmp_path, directions=None, *, loses_features=False):
    """Signs in the float weights and the integers, the certificate and brute force on the file.

    loses_features: some features, not all, may be left without an effect.
    """
    directions = DIRECTIONS if directions is None else directions
    for layer in estimator.model_.layers:
        assert layer.sign.shape == layer.weight.shape
        assert (layer.weight * layer.sign >= 0).all()
        if layer.quantized is not None:
            assert (layer.quantized.values * layer.sign >= 0).all()
    path = tmp_path / "model.farthing"
    estimator.save(path)
    scorer = farthing.load(path)
    assert estimator.certify_monotone() == dict.fromkeys(directions, True)
    proven = {j: direction for j, direction in certify(scorer).items() if j in directions}
    if loses_features:
        assert all(proven[j] in (0, direction) for j, direction in directions.items())
        assert any(proven.values())
    else:  # every feature has an effect
        assert proven == directions
    assert violations(scorer, directions) == 0
