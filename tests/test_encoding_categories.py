"""Categorical features in the encoder, against docs/file-format.md one cell at a time."""

import time

import numpy as np
import pytest

from farthing import FarthingError
from farthing.encoding import PiecewiseLinearEncoder

TEXTS = ["flat", "house", "none"]
NUMBERS = [-2.5, 0.0, 7.0]


def columns(rng, n=500):
    """A number, texts as codes with missing and unknown ones, a number with gaps, numbers."""
    texts = rng.integers(-1, 3, n).astype(np.float32)
    texts[rng.random(n) < 0.1] = np.nan
    gaps = np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n))
    numbers = rng.choice([-2.5, 0, 7, 8.25], n)
    return np.column_stack([rng.gamma(2, 3, n), texts, gaps, numbers]).astype(np.float32)


def fitted(rng, **arguments):
    X = columns(rng)
    encoder = PiecewiseLinearEncoder(4, **arguments)
    return X, encoder.fit(X, categorical={1: TEXTS, 3: NUMBERS})


def row_by_the_file_format(x, kept, with_missing):
    """The row of one cell: kept ones in order, then 'other', then missing."""
    if np.isnan(x):
        return len(kept) + int(with_missing)
    values = range(len(kept)) if isinstance(kept[0], str) else kept
    for row, value in enumerate(values):
        if x == np.float32(value):
            return row
    return len(kept)


SPECIAL = [np.nan, np.inf, -np.inf, -1, 0, -0.0, 1, 2, 3, 0.5, 7, -2.5, 1e30]


@pytest.mark.parametrize("amax", [None, 127, 255])
def test_every_row_has_its_own_column(amax, rng):
    _, encoder = fitted(rng)
    rows = columns(rng, len(SPECIAL))
    rows[:, 1] = rows[:, 3] = SPECIAL
    assert np.isnan(encoder.fill_[1]) and encoder.fill_[3] == 0
    assert encoder.bins_.tolist()[1::2] == [0, 0]
    widths = [encoder.bins_[0], 5, encoder.bins_[2] + 1, 4]
    assert encoder.width == sum(widths)
    assert encoder.feature_of_column.tolist() == np.repeat(np.arange(4), widths).tolist()
    positions = encoder.positions(rows, amax)
    assert positions.shape == (len(rows), 4 + 1)
    expected = PiecewiseLinearEncoder()
    expected.set_edges([encoder.edges_[0], encoder.edges_[2]], encoder.fill_[[0, 2]])
    numeric = expected.expand(expected.positions(rows[:, [0, 2]], amax))
    first = np.split(numeric, [widths[0]], axis=1)
    one_hot = []
    for j, kept, missing in ((1, TEXTS, True), (3, NUMBERS, False)):
        found = [row_by_the_file_format(x, kept, missing) for x in rows[:, j]]
        assert positions[:, j].tolist() == found
        one_hot.append(np.eye(widths[j], dtype=np.float32)[found])
    encoding = np.hstack([first[0], one_hot[0], first[1], one_hot[1]])
    buffer = np.full((20, encoder.width), np.nan, np.float32)
    out = encoder.expand(positions, out=buffer[: len(rows)])
    assert np.shares_memory(out, buffer) and np.isnan(buffer[len(rows) :]).all()
    np.testing.assert_array_equal(out, encoding)
    np.testing.assert_array_equal(encoder.expand(positions), encoding)


def test_positions_of_many_rows_are_those_of_each_row(rng):
    X, encoder = fitted(rng)
    many = np.tile(X, (80, 1))  # more than are computed at a time
    np.testing.assert_array_equal(encoder.positions(many), np.tile(encoder.positions(X), (80, 1)))


def test_only_categories_and_no_kept_category(rng):
    X = np.array([[0.0], [-1.0], [np.nan], [4.0]])
    encoder = PiecewiseLinearEncoder().fit(X, categorical={0: []})
    assert encoder.width == 2
    expanded = encoder.expand(encoder.positions(X))
    assert expanded.tolist() == [[1, 0], [1, 0], [0, 1], [1, 0]]
    assert encoder.category_counts_[0].tolist() == [3, 1]


def test_a_category_of_hundreds_costs_little_more_than_its_writes(rng):
    n = 512
    X = np.column_stack([rng.integers(0, 500, n), rng.normal(size=n)]).astype(np.float32)
    kept = [f"{i:03}" for i in range(500)]
    wide = PiecewiseLinearEncoder(16, embedding_dim=None).fit(X, categorical={0: kept})
    dense = PiecewiseLinearEncoder(16).set_edges([np.arange(259.0)] * 2, [0, 0])

    def seconds(encoder):
        positions, out = encoder.positions(X), np.empty((n, encoder.width), np.float32)
        best = np.inf
        for _ in range(20):
            start = time.perf_counter()
            encoder.expand(positions, out)
            best = min(best, time.perf_counter() - start)
        return best

    assert wide.width == 501 + 16
    assert seconds(wide) < seconds(dense)  # of 516 numeric columns


def test_counts_are_weights_and_zero_weights_do_not_count(rng):
    X = np.array([[0], [0], [1], [np.nan], [-1]], np.float32)
    encoder = PiecewiseLinearEncoder().fit(X, [1, 2, 4, 0, 0.5], categorical={0: ["a", "b"]})
    assert encoder.category_counts_[0].tolist() == [3, 4, 0.5]
    assert encoder.fill_[0] == 0 and encoder.width == 3


def test_new_edges_keep_the_categories(rng):
    X, encoder = fitted(rng)
    before = encoder.positions(X)
    edges = [e[::2] for e in encoder.edges_]
    encoder.set_edges(edges, encoder.fill_)
    assert encoder.categories_ == {1: TEXTS, 3: NUMBERS}
    np.testing.assert_array_equal(encoder.positions(X)[:, [1, 3]], before[:, [1, 3]])
    assert encoder.width == 2 + 5 + 3 + 4
    with pytest.raises(FarthingError, match=r"fill: got 0\.0 for the categorical feature 1"):
        encoder.set_edges(edges, np.zeros(4))
    with pytest.raises(FarthingError, match="feature 3 is categorical"):
        encoder.set_edges([edges[0], edges[1], edges[2], edges[0]], encoder.fill_)
    fresh = PiecewiseLinearEncoder().set_edges(edges, encoder.fill_, encoder.categories_)
    np.testing.assert_array_equal(fresh.positions(X), encoder.positions(X))


def test_untrained_rows_take_the_mean_of_the_trained_ones(rng):
    X = np.array([[0, 1], [0, 1], [0, 2], [2, np.nan]], np.float32)
    encoder = PiecewiseLinearEncoder().fit(X, categorical={0: ["a", "b", "c"], 1: [1, 2]})
    weight = rng.normal(size=(3, encoder.width)).astype(np.float32)
    given = weight.copy()
    encoder.settle_untrained(weight)
    assert encoder.category_counts_[0].tolist() == [3, 0, 1, 0]
    mean = (3 * given[:, 0] + given[:, 2]) / 4
    np.testing.assert_allclose(weight[:, [1, 3]], np.column_stack([mean, mean]), rtol=1e-6)
    other = (2 * given[:, 4] + given[:, 5]) / 3
    np.testing.assert_allclose(weight[:, 6], other, rtol=1e-6)
    trained = [0, 2, 4, 5, 7]
    np.testing.assert_array_equal(weight[:, trained], given[:, trained])


def test_a_feature_that_was_always_missing_passes_on_its_missing_row():
    X = np.full((3, 1), np.nan)
    encoder = PiecewiseLinearEncoder().fit(X, categorical={0: []})
    weight = np.array([[5.0, 2.0]])
    encoder.settle_untrained(weight)
    assert weight.tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("categorical", "says"),
    [
        ({2: ["a"]}, "got feature 2, allowed are 0 to 1"),
        ({-1: ["a"]}, "got feature -1"),
        ({0: ["b", "a"]}, "feature 0 has texts that are not sorted and distinct"),
        ({0: ["a", "a"]}, "feature 0 has texts that are not sorted and distinct"),
        ({0: ["a", 1]}, "feature 0 must have all texts or all numbers"),
        ({0: [1, None]}, "feature 0 must have all texts or all numbers"),
        ({1: [2, 1]}, "feature 1 must have finite numbers that increase in float32"),
        ({1: [1e9, 1e9 + 1]}, "feature 1 must have finite numbers that increase in float32"),
        (
            {1: range((1 << 20) - 1)},
            "has 1,048,575 categories, allowed are 1,048,574; raise min_fr",
        ),
        ({1: [1.0, np.inf]}, "feature 1 must have finite numbers that increase in float32"),
    ],
)
def test_bad_categories_are_named(categorical, says):
    with pytest.raises(FarthingError, match=says):
        PiecewiseLinearEncoder().fit([[1.0, 2.0], [2.0, 3.0]], categorical=categorical)
