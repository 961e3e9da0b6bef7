import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from farthing import FarthingError
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.periodic import PeriodicEncoder

FLOAT32 = np.finfo(np.float32)
ENCODERS = [PiecewiseLinearEncoder, PeriodicEncoder, Standardizer]


def by_the_file_format(encoder, j, x, amax):
    """Bin and value of one cell by docs/file-format.md, one float32 operation at a time."""
    edges = encoder.edges_[j]
    if len(edges) == 0:
        return 0, np.float32(0)
    if np.isnan(x):
        if np.isnan(encoder.fill_[j]):
            return 0, np.float32(0)
        x = encoder.fill_[j]
    t = sum(bool(edge <= x) for edge in edges[1:-1])
    largest = np.float32(amax or 1)
    with np.errstate(over="ignore"):
        scale = largest / np.float32(edges[t + 1] - edges[t])
        v = np.float32(np.float32(x - edges[t]) * scale)
    v = v if v > 0 else np.float32(0)
    v = v if v < largest else largest
    return t, np.rint(v) if amax else v


def mixed_columns(rng, n=3000):
    """A gamma, a zero-inflated amount, a code, one with gaps, a constant and an empty column."""
    amount = np.where(rng.random(n) < 0.6, 0, np.round(rng.lognormal(7, 2, n)))
    gaps = np.where(rng.random(n) < 0.1, np.nan, rng.standard_t(2, n))
    return np.column_stack(
        [
            rng.gamma(2, 1e5, n),
            amount,
            rng.integers(1, 5, n),
            gaps,
            np.full(n, 7.5),
            np.full(n, np.nan),
        ]
    ).astype(np.float32)


@pytest.mark.parametrize("amax", [None, 127, 255])
def test_cells_equal_the_file_format_to_the_bit(amax, rng):
    X = mixed_columns(rng)
    encoder = PiecewiseLinearEncoder().fit(X)
    rows = np.concatenate([mixed_columns(rng, 300), np.full((1, 6), np.nan, np.float32)])
    rows[:6] = np.array([np.inf, -np.inf, FLOAT32.max, FLOAT32.min, 0.0, -0.0])[:, None]
    for j, edges in enumerate(encoder.edges_):
        rows[10 : 10 + len(edges), j] = edges
        rows[40 : 40 + len(edges), j] = np.nextafter(edges, np.float32(-np.inf))
    t, v = encoder.bin_and_value(rows, amax)
    assert t.dtype == np.int32 and v.dtype == np.float32
    for i, j in np.ndindex(rows.shape):
        assert (t[i, j], v[i, j]) == by_the_file_format(encoder, j, rows[i, j], amax), (i, j)


@pytest.mark.parametrize("amax", [None, 127, 255])
def test_expansion_is_the_encoding_of_the_file_format(amax, rng):
    X = mixed_columns(rng)
    encoder = PiecewiseLinearEncoder().fit(X)
    rows = mixed_columns(rng, 200)
    t, v = encoder.bin_and_value(rows, amax)
    columns = []
    for j, bins in enumerate(encoder.bins_):
        for bin_ in range(bins):
            absent = np.isnan(rows[:, j]) & np.isnan(encoder.fill_[j])
            value = np.where(t[:, j] > bin_, amax or 1, np.where(t[:, j] == bin_, v[:, j], 0))
            columns.append(np.where(absent, 0, value))
        if np.isnan(encoder.fill_[j]):
            columns.append(np.isnan(rows[:, j]) * (amax or 1))
    expected = np.column_stack(columns)
    expanded = encoder.expand(encoder.positions(rows, amax))
    assert expanded.shape == (200, encoder.width) == expected.shape
    # The bin is added to the fraction and subtracted again: half a unit of 16 in the last place.
    np.testing.assert_allclose(expanded, expected / (amax or 1), rtol=0, atol=2**-20)
    if amax:
        assert np.array_equal(np.rint(expanded * amax), expected)


def test_expand_fills_the_given_buffer(rng):
    encoder = PiecewiseLinearEncoder().fit(mixed_columns(rng))
    positions = encoder.positions(mixed_columns(rng, 20))
    buffer = np.full((32, encoder.width), np.nan, np.float32)
    out = encoder.expand(positions, out=buffer[:20])
    assert np.shares_memory(out, buffer)
    assert np.array_equal(out, encoder.expand(positions))
    assert np.isnan(buffer[20:]).all()


def test_few_distinct_values_are_all_edges(rng):
    X = rng.choice([-2, -1, 0, 1, 2, 8], size=(500, 1))
    encoder = PiecewiseLinearEncoder(5).fit(X)
    assert encoder.edges_[0].tolist() == [-2, -1, 0, 1, 2, 8]
    # Every value has its own code, and all codes are linearly independent of each other.
    codes = encoder.expand(encoder.positions([[-2], [-1], [0], [1], [2], [8]]))
    assert np.array_equal(codes, np.tri(6, 5, -1))


def test_heavy_values_are_edges_and_the_rest_quantiles(rng):
    amount = np.where(rng.random(20_000) < 0.8, 0, rng.lognormal(5, 1, 20_000))
    amount[rng.random(20_000) < 0.05] = 100
    edges = PiecewiseLinearEncoder(16).fit(amount[:, None]).edges_[0]
    assert len(edges) == 17
    assert {0.0, 100.0} <= set(edges.tolist())
    rest = amount[(amount != 0) & (amount != 100)]
    shares = np.searchsorted(np.sort(rest), np.setdiff1d(edges, [0, 100])) / len(rest)
    expected = np.clip(np.linspace(0, 1, 15), 0.001, 0.999)
    np.testing.assert_allclose(shares, expected, atol=0.002)


def test_outliers_do_not_stretch_the_bins(rng):
    x = rng.normal(size=(10_000, 1)).astype(np.float32)
    x[:2] = [[1e30], [-1e30]]
    edges = PiecewiseLinearEncoder().fit(x).edges_[0]
    assert np.abs(edges).max() < 5


def test_one_value_with_nearly_all_mass_keeps_a_bin():
    x = np.zeros((10_000, 1))
    x[:40, 0] = np.arange(40)
    for n_bins in (1, 2, 16):
        edges = PiecewiseLinearEncoder(n_bins).fit(x).edges_[0]
        assert 2 <= len(edges) <= n_bins + 1
        assert edges[0] == 0


def test_whole_numbers_keep_twice_as_many_values():
    codes = np.arange(33.0)[:, None].repeat(5, axis=0)
    assert PiecewiseLinearEncoder(16).fit(codes).bins_[0] == 32
    assert PiecewiseLinearEncoder(16).fit(codes + 0.5).bins_[0] <= 16
    assert PiecewiseLinearEncoder(15).fit(codes).bins_[0] <= 15


@given(
    st.integers(1, 20),
    arrays(
        np.float32,
        st.tuples(st.integers(1, 60), st.just(1)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32)
        | st.sampled_from([0, 1, 2, np.nan, 1e-42]),
    ),
)
def test_edges_satisfy_the_format_whatever_the_data(n_bins, X):
    encoder = PiecewiseLinearEncoder(n_bins).fit(X)
    (edges,) = encoder.edges_
    assert edges.dtype == np.float32
    whole = (edges == np.floor(edges)).all()
    assert len(edges) != 1 and len(edges) <= (2 if whole else 1) * n_bins + 1
    assert encoder.bins_[0] == max(len(edges) - 1, 0)
    width = np.diff(edges)
    assert (width > 0).all() and np.isfinite(width).all()
    assert np.isfinite(np.float32(255) / width).all()
    positions = encoder.positions(X, 127)
    assert ((positions >= 0) & (positions <= max(encoder.bins_[0], 1))).all()


def test_edges_too_close_for_float32_are_merged():
    x = np.array([[0], [1e-38], [2e-38], [1]], np.float32)
    assert PiecewiseLinearEncoder().fit(x).edges_[0].tolist() == [0, 1]
    assert PiecewiseLinearEncoder().fit(x[:3]).bins_.tolist() == [0]


def test_missing_column_only_where_fit_saw_nan():
    X = np.array([[1, 1, np.nan], [2, np.nan, np.nan], [4, 3, np.nan]])
    encoder = PiecewiseLinearEncoder().fit(X)
    assert encoder.bins_.tolist() == [2, 1, 0]
    assert encoder.width == 2 + 1 + 1
    assert encoder.fill_[0] == 2 and np.isnan(encoder.fill_[1]) and encoder.fill_[2] == 0
    expanded = encoder.expand(encoder.positions(np.full((1, 3), np.nan)))
    assert expanded.tolist() == [[1, 0, 0, 1]]
    assert encoder.expand(encoder.positions([[4, 3, 9]])).tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_weights_count_as_repeated_rows(encoder, rng):
    X = mixed_columns(rng, 400)
    counts = rng.integers(0, 4, 400)
    weighted = encoder().fit(X, counts)
    repeated = encoder().fit(np.repeat(X, counts, axis=0))
    for name, value in vars(repeated).items():
        mine = getattr(weighted, name)
        if name == "edges_":
            assert all(np.array_equal(a, b) for a, b in zip(mine, value, strict=True))
        elif isinstance(value, np.ndarray):
            np.testing.assert_allclose(mine, value, rtol=1e-6)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("X", "weight", "message"),
    [
        (np.array([[1, 2], [3, np.inf]]), None, "column 1 holds infinity"),
        (np.array([[1, 2], [3, -1e39]]), None, "column 1 holds infinity, or values"),
        (np.array([[3e38], [-3e38]]), None, "column 0 .* range too large"),
        (np.zeros(3), None, "X: got 1 dimensions"),
        (np.zeros((0, 2)), None, "no rows"),
        (np.zeros((3, 0)), None, "no columns"),
        (np.zeros((2, 1)), [0, 0], "no rows of positive weight"),
        (np.zeros((2, 1)), [1, -1], "sample_weight: got negative"),
        (np.zeros((2, 1)), [1, np.nan], "sample_weight: got negative, infinite or NaN"),
        (np.zeros((2, 1)), [1], r"sample_weight: got shape \(1,\), allowed is \(2,\)"),
    ],
)
def test_fit_refuses(encoder, X, weight, message):
    with pytest.raises(FarthingError, match=message):
        encoder().fit(X, weight)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_errors_name_the_column_and_the_width(encoder):
    with pytest.raises(FarthingError, match="column 'debt' holds infinity"):
        encoder().fit([[1, np.inf], [2, 0]], feature_names=("age", "debt"))
    with pytest.raises(FarthingError, match="got 3 features, allowed are 2"):
        encoder().fit([[1, 2], [3, 4]]).positions(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("n_bins", "error"),
    [(0, FarthingError), (259, FarthingError), (2.0, TypeError), (True, TypeError)],
)
def test_n_bins_is_checked(n_bins, error):
    with pytest.raises(error, match="n_bins: got"):
        PiecewiseLinearEncoder(n_bins)


def test_feature_of_column(rng):
    X = rng.normal(size=(100, 4)).astype(np.float32)
    X[:, 1] = 3
    X[::9, 2] = np.nan
    encoder = PiecewiseLinearEncoder(3).fit(X)
    assert encoder.feature_of_column.tolist() == [0] * 3 + [2] * 4 + [3] * 3
    assert len(encoder.feature_of_column) == encoder.width
    assert Standardizer().fit(X).feature_of_column.tolist() == [0, 1, 2, 3]
