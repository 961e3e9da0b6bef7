import numpy as np
import pytest

from farthing import FarthingError
from farthing.training import draw_seed, split_search


def test_split_is_stratified_and_repeats(rng):
    y = np.repeat([0, 1], [9950, 50])
    fit, search = split_search(10_000, y, seed=3)
    assert len(search) == 1000 and y[search].sum() == 5
    assert np.array_equal(np.sort(np.concatenate([fit, search])), np.arange(10_000))
    assert np.array_equal(split_search(10_000, y, seed=3)[1], search)
    assert not np.array_equal(split_search(10_000, y, seed=4)[1], search)


def test_split_of_few_rows_has_no_search_part():
    fit, search = split_search(999, np.zeros(999))
    assert len(fit) == 999 and len(search) == 0


def test_split_of_a_continuous_target_is_plain(rng):
    _, search = split_search(2000, rng.normal(size=2000))
    assert len(search) == 200


def test_split_keeps_groups_whole_and_shares_near(rng):
    groups = rng.zipf(1.5, 5000) % 700
    y = (rng.random(5000) < 0.2 + 0.3 * (groups % 2)).astype(int)
    fit, search = split_search(5000, y, groups, seed=0)
    assert not set(groups[fit]) & set(groups[search])
    assert np.array_equal(np.sort(np.concatenate([fit, search])), np.arange(5000))
    for value in (0, 1):
        assert (y[search] == value).sum() == pytest.approx(0.1 * (y == value).sum(), rel=0.1)
    assert len(split_search(5000, y, np.zeros(5000), seed=0)[1]) == 0


@pytest.mark.parametrize("groups", [None, np.arange(5000) // 10])
def test_search_part_is_a_tenth_of_the_rows_of_positive_weight(groups):
    weight = np.arange(5000) % 3 == 0
    fit, search = split_search(5000, groups=groups, weight=weight)
    assert np.array_equal(np.union1d(fit, search), np.arange(5000))
    assert weight[search].sum() == pytest.approx(167, abs=2)
    assert groups is not None or weight[search].all()
    for counted, rows in ((999, 0), (1000, 100)):
        assert len(split_search(5000, weight=np.arange(5000) < counted)[1]) == rows


def test_search_part_exists_from_the_fewest_rows_asked_for():
    assert len(split_search(100, min_rows=100)[1]) == 10
    assert len(split_search(99, min_rows=100)[1]) == 0


def test_draw_seed():
    assert draw_seed(5) == draw_seed(np.int64(5)) == 5
    assert draw_seed(None) != draw_seed(None)
    for generator in (np.random.default_rng, np.random.RandomState):
        assert draw_seed(generator(1)) == draw_seed(generator(1)) != draw_seed(generator(2))
    with pytest.raises(FarthingError, match="random_state: got -1"):
        draw_seed(-1)
    with pytest.raises(TypeError, match="random_state: got str"):
        draw_seed("seed")
