import numpy as np
import pytest

from farthing.backprop import gradients
from farthing.encoding import PiecewiseLinearEncoder
from farthing.losses import binary_cross_entropy
from farthing.model import Model
from farthing.parts import Feed, Part
from farthing.sampling import Minibatches
from farthing.training import train


def shops(rng, n=900):
    """Two numbers and one of 40 shops, each with a level of its own; one is never seen."""
    X = rng.normal(size=(n, 3)).astype(np.float32)
    X[:, 1] = rng.integers(0, 39, n)
    level = rng.normal(size=39) * 2
    y = (X[:, 0] + level[X[:, 1].astype(int)] > 0).astype(np.float32)
    return X, y


def embedded(X, seed=0):
    encoder = PiecewiseLinearEncoder(4, embedding_dim=3)
    encoder.fit(X, categorical={1: [f"shop {i:02}" for i in range(40)]})
    return Model.build(encoder, (8,), seed=seed)


def feed(model, X, y, batches=None):
    part = Part("X", model, X, y, None, amax=None, columns=1)
    return Feed(part, model, batches, 0, True)


@pytest.mark.parametrize("size", [None, 64])
def test_gradient_by_the_embedding_is_the_finite_difference(size, rng):
    X, y = shops(rng)
    model = embedded(X)
    model.layers[0].astype(np.float64)
    model.layers[1].astype(np.float64)
    table = model.encoder.embeddings_[1] = model.encoder.embeddings_[1].astype(np.float64)
    source = feed(model, X, y, None if size is None else Minibatches(len(X), size))
    x, target, weight = next(source.epoch())
    columns = source.embedded_columns
    _, found = gradients(
        model.layers, x, target, weight, binary_cross_entropy, input_columns=columns
    )
    out = {1: np.full(table.shape, np.nan)}
    source.embedding_gradients(found[0]["input"], out)
    row = np.abs(out[1]).sum(axis=1).argmax()
    took = np.flatnonzero((x[:, columns] == table[row].astype(x.dtype)).all(axis=1))
    assert len(took) > 0 and not out[1][40:].any()
    values = []
    for step in (1e-6, -1e-6):
        moved = x.astype(float)
        moved[took[:, None], columns] += [step, 0, 0]
        values.append(gradients(model.layers, moved, target, weight, binary_cross_entropy)[0])
    assert out[1][row, 0] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("full_batch", [False, True])
def test_embeddings_learn_with_the_layers(full_batch, rng):
    X, y = shops(rng)
    model, again, frozen = (embedded(X) for _ in range(3))
    before = model.encoder.embeddings_[1].copy()
    options = {"full_batch": full_batch, "learning_rate": 0.01}
    train(model, X, y, **options)
    train(again, X, y, **options)
    table = model.encoder.embeddings_[1]
    assert table.dtype == np.float32 and table.flags.owndata
    assert np.array_equal(table, again.encoder.embeddings_[1])
    moved = np.abs(table - before).max(axis=1)
    seen = np.isin(np.arange(len(table)), X[:, 1])
    assert (moved[seen] > 0.01).all() and not moved[~seen].any()
    assert ((model.forward(X)[:, 0] > 0) == y).mean() > 0.9
    train(frozen, X, y, input_amax=127, **options)
    assert np.array_equal(frozen.encoder.embeddings_[1], before)


def test_a_full_batch_sees_the_embeddings_as_they_are(rng):
    X, y = shops(rng)
    model = embedded(X)
    source = feed(model, X, y)
    steps = source.epoch()
    next(steps)
    model.encoder.embeddings_[1] += 5
    source.tables[1] = model.encoder.embeddings_[1]
    x, _, _ = next(steps)
    expected = model.encoder.expand(model.encoder.positions(X))
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_integer_weights_are_repeated_rows_with_embeddings(rng):
    X, y = shops(rng, 300)
    weight = rng.integers(0, 3, 300)
    answers = []
    for rows in (np.arange(300), np.repeat(np.arange(300), weight)):
        model = embedded(X)
        own = weight if len(answers) == 0 else None
        train(model, X[rows], y[rows], sample_weight=own, full_batch=True, max_epochs=4)
        answers.append(model.forward(X))
    np.testing.assert_allclose(*answers, rtol=1e-6, atol=1e-9)


def test_the_best_epoch_has_its_embeddings(rng):
    X, y = shops(rng)
    model, seen = embedded(X), []

    def progress(report):
        seen.append(model.encoder.embeddings_[1].copy())

    history = train(model, X, y, validation=(X, 1 - y, None), progress=progress, max_epochs=4)
    assert history.best_epoch == 0
    assert np.array_equal(model.encoder.embeddings_[1], seen[0])
    assert not np.array_equal(seen[0], seen[-1])
