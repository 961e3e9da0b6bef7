import numpy as np

from farthing.precision import DistinctCount


def counted(pieces):
    count = DistinctCount()
    for piece in pieces:
        count.add(np.asarray(piece))
    return count.estimate


def test_few_values_are_counted_exactly(rng):
    values = rng.permutation(np.repeat(np.arange(60_000), 2))
    assert counted(np.array_split(values, 7)) == 60_000
    assert counted(np.array_split(values * 0.1 - 7, 7)) == 60_000
    assert counted([np.arange(-5, 5), np.arange(10)]) == 15


def test_many_values_are_estimated_within_two_percent(rng):
    for scale in (1, 1e-3, 1e9):
        values = np.concatenate([np.arange(400_000), rng.integers(0, 400_000, 50_000)])
        estimate = counted(np.array_split(rng.permutation(values) * scale, 20))
        assert abs(estimate / 400_000 - 1) < 0.02


def test_one_value_in_several_roundings_counts_once():
    assert counted([[0.3, 0.1 + 0.2], [np.nextafter(0.3, 0)]]) == 1
