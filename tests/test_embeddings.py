"""Embedded categories: their tables, their gradients and their grid."""

import numpy as np
import pytest

from farthing import FarthingError
from farthing.embeddings import check_embedding_dim, embedding_width
from farthing.encoding import PiecewiseLinearEncoder

KEPT = [f"{i:02}" for i in range(40)]


def fitted(rng, n=400, **arguments):
    """A number, a category of 40 with missing rows, and a small one."""
    x = np.column_stack([rng.normal(size=n), rng.integers(-1, 40, n), rng.integers(0, 2, n)])
    x[rng.random(n) < 0.1, 1] = np.nan
    encoder = PiecewiseLinearEncoder(3, **arguments)
    return x, encoder.fit(x, categorical={1: KEPT, 2: ["n", "y"]})


def test_auto_embeds_beyond_32_rows():
    assert [embedding_width(rows, "auto") for rows in (2, 32, 33, 37, 256, 10**6)] == [
        *(0, 0, 6, 7, 16, 16)
    ]
    assert [embedding_width(rows, 3) for rows in (2, 100)] == [3, 3]
    assert [embedding_width(100, none) for none in (0, None)] == [0, 0]


@pytest.mark.parametrize(
    ("bad", "error"), [(-1, ValueError), (257, ValueError), (2.5, TypeError), ("big", TypeError)]
)
def test_bad_dimensions_are_named(bad, error):
    with pytest.raises(error, match="embedding_dim must be"):
        check_embedding_dim(bad)
    with pytest.raises(error, match="embedding_dim must be"):
        PiecewiseLinearEncoder(embedding_dim=bad)


def test_an_embedded_feature_has_the_columns_of_its_row(rng):
    x, encoder = fitted(rng, seed=3)
    assert encoder.embedding_dims_ == {1: 7}  # 40, 'other' and missing: 42 rows
    table = encoder.embeddings_[1]
    assert table.shape == (42, 7) and table.dtype == np.float32
    assert 0.8 < table.std() * np.sqrt(7) < 1.2
    assert encoder.embedded_columns.tolist() == list(range(3, 10))
    assert encoder.feature_of_column.tolist() == [0] * 3 + [1] * 7 + [2] * 3
    positions = encoder.positions(x)
    row = np.where(np.isnan(x[:, 1]), 41, np.where(x[:, 1] < 0, 40, x[:, 1]))
    np.testing.assert_array_equal(positions[:, 1], row)
    expanded = encoder.expand(positions)
    np.testing.assert_array_equal(expanded[:, 3:10], table[row.astype(int)])
    np.testing.assert_array_equal(expanded[:, 10:], np.eye(3)[x[:, 2].astype(int)])
    _, again = fitted(np.random.default_rng(20240229), seed=3)
    np.testing.assert_array_equal(again.embeddings_[1], table)
    assert not np.array_equal(fitted(rng, seed=4)[1].embeddings_[1], table)


def test_gradients_equal_finite_differences(rng):
    x, encoder = fitted(rng, embedding_dim=2)
    assert encoder.embedding_dims_ == {1: 2, 2: 2}
    positions = encoder.positions(x[:50])
    encoder.embeddings_ = {j: table.astype(np.float64) for j, table in encoder.embeddings_.items()}
    weight = rng.normal(size=encoder.width)
    # Of a loss that is no sum over columns: sum of sin(x @ w).

    def loss():
        out = np.empty((50, encoder.width))
        return np.sin(encoder.expand(positions, out) @ weight).sum()

    encoded = encoder.expand(positions, np.empty((50, encoder.width)))
    dx = np.cos(encoded @ weight)[:, None] * weight
    found = encoder.embedding_gradient(dx[:, encoder.embedded_columns], positions)
    step = 1e-6
    for j, table in encoder.embeddings_.items():
        assert found[j].shape == table.shape
        numeric = np.empty_like(table)
        for cell in np.ndindex(table.shape):
            kept = table[cell]
            table[cell] = kept + step
            above = loss()
            table[cell] = kept - step
            numeric[cell] = (above - loss()) / (2 * step)
            table[cell] = kept
        np.testing.assert_allclose(found[j], numeric, atol=1e-8)
    unused = np.setdiff1d(np.arange(42), positions[:, 1])
    assert len(unused) and not found[1][unused].any()
    with pytest.raises(FarthingError, match="got 49 rows, allowed are 50"):
        encoder.embedding_gradient(dx[:49, encoder.embedded_columns], positions)


def test_untrained_rows_take_the_mean_embedding(rng):
    x, encoder = fitted(rng)
    x[x[:, 1] == 7, 1] = 8
    x[x[:, 1] == -1, 1] = 0
    encoder.fit(x, categorical={1: KEPT, 2: ["n", "y"]})
    table, counts = encoder.embeddings_[1].copy(), encoder.category_counts_[1]
    assert np.flatnonzero(counts == 0).tolist() == [7, 40] and counts[41]
    weight = rng.normal(size=(4, encoder.width))
    encoder.settle_untrained(weight)
    mean = np.average(table[:41], weights=counts[:41], axis=0)
    np.testing.assert_allclose(encoder.embeddings_[1][[7, 40]], [mean, mean], atol=1e-6)
    trained = np.flatnonzero(counts)
    np.testing.assert_array_equal(encoder.embeddings_[1][trained], table[trained])


@pytest.mark.parametrize("amax", [127, 255])
def test_the_unit_range_is_a_grid_and_the_layer_behind_follows(amax, rng):
    x, encoder = fitted(rng)
    encoder.embeddings_[1][:, 0] = 4  # nothing to tell apart
    unit, low, high = encoder.unit_range_embeddings(amax)
    table = unit.embeddings_[1]
    steps = table * amax
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert table.min() == 0 and (table.max(axis=0)[1:] == 1).all() and not table[:, 0].any()
    others = np.setdiff1d(np.arange(encoder.width), encoder.embedded_columns)
    assert not low[others].any() and (high[others] == 1).all()
    weight = rng.normal(size=(5, encoder.width))
    before = encoder.expand(encoder.positions(x)) @ weight.T
    after = unit.expand(unit.positions(x)) @ (weight * (high - low)).T + weight @ low
    step = (np.abs(weight) * (high - low) / amax)[:, encoder.embedded_columns].sum(axis=1)
    assert (np.abs(after - before) <= 0.5 * step + 1e-5).all()
    assert encoder.embeddings_[1][0, 0] == 4
