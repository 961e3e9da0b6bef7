import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.edges import candidate_edges, data_edges
from farthing.encoding import PiecewiseLinearEncoder
from farthing.samples import distinct_values, quantiles


def by_sorting(values, probabilities):
    """The inverse of the distribution function, by its definition, of rows of weight 1."""
    ordered = np.sort(values)
    share = np.arange(1, len(ordered) + 1) / len(ordered)
    return [ordered[np.flatnonzero(share >= p - 1e-9)[0]] for p in probabilities]


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 4)), min_size=1, max_size=30))
def test_weighted_quantiles_are_those_of_repeated_rows(pairs):
    values, counts = np.array(pairs).T
    repeated = np.repeat(values, counts)
    probabilities = [0, 0.001, 0.25, 1 / 3, 0.5, 0.75, 0.999, 1]
    found = quantiles(*distinct_values(values, counts), probabilities)
    assert found.tolist() == by_sorting(repeated, probabilities)
    expected = np.quantile(repeated, 0.5, method="inverted_cdf")
    assert quantiles(*distinct_values(values, counts), [0.5]).tolist() == [expected]


# Heavy values, quantiles of the rest and tails all take part, whatever the number of bins.
COLUMN = st.lists(
    st.tuples(
        st.floats(-100, 100, width=32) | st.sampled_from([0.0, 0.5, np.nan]), st.integers(0, 60)
    ),
    min_size=1,
    max_size=80,
).filter(lambda pairs: any(count for _, count in pairs))


@given(COLUMN, st.integers(1, 12))
def test_integer_weights_equal_repeated_rows_to_the_bit(pairs, n_bins):
    values = np.array([value for value, _ in pairs], np.float32)[:, None]
    counts = np.array([count for _, count in pairs])
    weighted = PiecewiseLinearEncoder(n_bins).fit(values, counts)
    repeated = PiecewiseLinearEncoder(n_bins).fit(np.repeat(values, counts, axis=0))
    np.testing.assert_array_equal(weighted.edges_[0], repeated.edges_[0])
    np.testing.assert_array_equal(weighted.fill_, repeated.fill_)


def test_integer_weights_equal_repeated_rows_at_the_tails(rng):
    values = rng.normal(size=(3000, 1)).astype(np.float32)
    values[rng.random(3000) < 0.3] = 0.25
    counts = rng.integers(0, 5, 3000)
    weighted = PiecewiseLinearEncoder(16).fit(values, counts).edges_[0]
    repeated = np.repeat(values[:, 0], counts)
    np.testing.assert_array_equal(
        weighted, PiecewiseLinearEncoder(16).fit(repeated[:, None]).edges_[0]
    )
    rest = repeated[repeated != 0.25]
    assert weighted[[0, -1]].tolist() == by_sorting(rest, [0.001, 0.999])


def test_a_zero_inflated_count_keeps_what_pure_quantiles_lose(rng):
    """Late payments: most customers have none, and each further one matters."""
    n = 20_000
    late = np.where(rng.random(n) < 0.9, 0, rng.geometric(0.25, n)).astype(np.float32)
    distinct, mass = distinct_values(late, None)
    pure = np.unique(np.quantile(late, np.linspace(0, 1, 17), method="inverted_cdf"))
    kept = PiecewiseLinearEncoder(16).fit(late[:, None])
    # Fifteen of seventeen quantiles are 0: 1, 2, ... up to the last but one share one bin.
    assert len(pure) <= 4 and pure[0] == 0
    frequent = distinct[mass >= 20]
    assert len(frequent) > 8 and np.isin(frequent, kept.edges_[0]).all()
    risk = 0.05 + 0.9 * (1 - np.exp(-late)) * (late % 2)  # every value its own

    def explained(edges):
        """R^2 of the best function that is linear between edges."""
        encoder = PiecewiseLinearEncoder().set_edges([edges], [0])
        columns = np.column_stack([encoder.expand(encoder.positions(late[:, None])), np.ones(n)])
        rest = risk - columns @ np.linalg.lstsq(columns, risk, rcond=None)[0]
        return 1 - rest.var() / risk.var()

    assert explained(pure) < 0.9
    assert explained(kept.edges_[0]) > 0.999


def continuous(rng):
    return distinct_values(rng.normal(size=5000).astype(np.float32), None)


def test_candidates_are_the_inner_edges_and_the_data_the_outer_ones(rng):
    distinct, mass = continuous(rng)
    edges = candidate_edges(distinct, mass, 17, ([0.5, -1.25, 0.5, 99, np.inf], [1, 2, 1, 5, 5]))
    low, high = quantiles(distinct, mass, [0.001, 0.999])
    assert edges.tolist() == [low, -1.25, 0.5, high]
    beyond = np.float32(distinct[1] + distinct[0]) / 2
    edges = candidate_edges(distinct, mass, 17, ([0.5, beyond], [1, 1]))
    assert edges.tolist() == [distinct[0], beyond, 0.5, high]


@pytest.mark.parametrize("n_edges", [2, 3, 4, 9, 17])
def test_many_candidates_count_by_their_weight(n_edges, rng):
    distinct, mass = continuous(rng)
    values, gains = rng.uniform(-2, 2, 300), rng.exponential(size=300)
    values[0], gains[0] = 0.75, gains.sum()
    edges = candidate_edges(distinct, mass, n_edges, (values, gains))
    assert 2 <= len(edges) <= n_edges and (np.diff(edges) > 0).all()
    if n_edges == 2:
        return
    assert np.isin(edges[1:-1], values.astype(np.float32)).all()
    assert edges[0] <= -2 and edges[-1] >= 2
    if n_edges > 4:
        assert 0.75 in edges
    order = np.argsort(values)
    share = np.interp(edges[1:-1], values[order], np.cumsum(gains[order]) / gains.sum())
    if n_edges > 4:
        rest = share[edges[1:-1] != 0.75]
        assert share.min() < 0.2 and share.max() > 0.8 and len(rest) == n_edges - 3


def test_codes_and_columns_without_candidates_keep_the_edges_of_the_data(rng):
    distinct, mass = continuous(rng)
    expected = data_edges(distinct, mass, 9)
    for none in (([], []), ([50.0], [1]), ([0.1], [0])):
        np.testing.assert_array_equal(candidate_edges(distinct, mass, 9, none), expected)
    codes = np.arange(12.0, dtype=np.float32)
    np.testing.assert_array_equal(candidate_edges(codes, codes + 1, 9, ([3.5], [1])), codes)


def test_the_encoder_takes_candidates_by_feature(rng):
    X = rng.normal(size=(4000, 2)).astype(np.float32)
    plain = PiecewiseLinearEncoder(8).fit(X)
    given = PiecewiseLinearEncoder(8, candidates={1: ([0.0, 0.5], [1, 1])}).fit(X)
    np.testing.assert_array_equal(given.edges_[0], plain.edges_[0])
    assert given.edges_[1][1:-1].tolist() == [0, 0.5]
    assert given.edges_[1].dtype == np.float32
