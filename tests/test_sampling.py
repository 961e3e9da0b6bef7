import numpy as np
import pytest

from farthing import FarthingError
from farthing.encoding import PiecewiseLinearEncoder
from farthing.sampling import EncodedRows, Minibatches, auto_batch_size, share_out


def epoch(batches, seed=0):
    return list(batches.epoch(np.random.default_rng(seed)))


@pytest.mark.parametrize("strata", [None, np.arange(1000) % 7 == 0])
def test_an_epoch_is_every_row_once_in_even_batches(strata):
    batches = Minibatches(1000, 64, strata)
    rows = epoch(batches)
    assert batches.steps == len(rows) == 16
    assert {len(r) for r in rows} == {62, 63} and batches.largest == 63
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(1000))
    again, other = epoch(batches), epoch(batches, 1)
    assert all(map(np.array_equal, rows, again))
    assert not all(map(np.array_equal, rows, other))


def test_rare_rows_are_in_every_minibatch(rng):
    n = 100_000
    y = np.zeros(n, int)
    y[rng.choice(n, 200, replace=False)] = 1
    counts = np.array([y[rows].sum() for rows in epoch(Minibatches(n, 512, y))])
    assert set(counts) == {1, 2} and counts.sum() == 200
    by_chance = np.array([y[rows].sum() for rows in epoch(Minibatches(n, 512))])
    assert by_chance.min() == 0


@pytest.mark.parametrize("n_strata", [2, 3, 10, 60])
@pytest.mark.parametrize("size", [7, 64, 999, 5000])
def test_every_stratum_has_its_share_of_every_batch(n_strata, size, rng):
    strata = rng.choice(n_strata, 2000, p=rng.dirichlet(np.ones(n_strata)))
    strata = strata * 11 - 5  # numbers with gaps and below 0
    batches = Minibatches(2000, size, strata)
    rows = epoch(batches)
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(2000))
    for value in np.unique(strata):
        share = (strata == value).mean()
        for r in rows:
            exact = share * len(r)
            assert abs((strata[r] == value).sum() - exact) <= 1
            if 2000 % batches.steps == 0:
                assert (strata[r] == value).sum() in (np.floor(exact), np.ceil(exact))


def test_shares_add_up_whatever_the_numbers(rng):
    for _ in range(200):
        sizes = rng.integers(1, 40) + rng.integers(0, 2, rng.integers(1, 30))
        cuts = np.sort(rng.integers(0, sizes.sum() + 1, rng.integers(0, 12)))
        counts = np.diff([0, *cuts, sizes.sum()])
        shares = share_out(counts, sizes)
        assert (shares >= 0).all()
        assert np.array_equal(shares.sum(axis=0), counts)
        assert np.array_equal(shares.sum(axis=1), sizes)


def test_order_within_a_stratified_batch_is_random():
    strata = np.repeat([0, 1], 5000)
    [rows] = epoch(Minibatches(10_000, 10_000, strata))
    middle = strata[rows][2500:7500].mean()
    assert 0.45 < middle < 0.55
    assert abs(np.corrcoef(np.arange(10_000), rows)[0, 1]) < 0.05


def test_rare_rows_meet_other_batches_in_other_epochs():
    """The batches that hold one more are not the same ones every time."""
    y = np.arange(3000) < 10
    seen = [[y[rows].sum() for rows in epoch(Minibatches(3000, 100, y), seed)] for seed in (0, 1)]
    assert seen[0] != seen[1] and set(seen[0]) == {0, 1}


@pytest.mark.parametrize(
    ("strata", "error", "message"),
    [
        (np.zeros(5, int), FarthingError, r"strata: got shape \(5,\), allowed is \(9,\)"),
        (np.zeros(9), TypeError, "strata: got float64, allowed are integers"),
        (["a"] * 9, TypeError, "strata: got <U1"),
    ],
)
def test_strata_are_refused(strata, error, message):
    with pytest.raises(error, match=message):
        Minibatches(9, 3, strata)


def test_auto_batch_size():
    assert [auto_batch_size(n) for n in (1, 1024, 4096, 30_000, 10**6)] == [16, 16, 64, 256, 512]


def test_products_with_encoded_rows(monkeypatch, rng):
    X = rng.normal(size=(2500, 3)).astype(np.float32)
    encoder = PiecewiseLinearEncoder(5).fit(X)
    positions = encoder.positions(X)
    full = encoder.expand(positions).astype(float)
    assert np.array_equal(EncodedRows.expanded(encoder, positions), full)
    monkeypatch.setattr("farthing.sampling.EXPANDED_BYTES", full.nbytes - 1)
    rows = EncodedRows.expanded(encoder, positions)
    assert isinstance(rows, EncodedRows) and rows.shape == full.shape
    right, left = rng.normal(size=(15, 4)), rng.normal(size=(4, 2500))
    np.testing.assert_allclose(rows @ right, full @ right, rtol=1e-12)
    np.testing.assert_allclose(left @ rows, left @ full, rtol=1e-9, atol=1e-12)
