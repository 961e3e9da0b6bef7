"""Seeds, and the split of the rows into a fit part and a search part."""

from __future__ import annotations

import numpy as np

from farthing._validate import FarthingError
from farthing.tables import as_groups

__all__ = ["SEARCH_MIN_ROWS", "draw_seed", "folds", "split_search"]

SEARCH_SHARE = 0.1
# Below this many rows a tenth is too few to choose anything by.
SEARCH_MIN_ROWS = 1000
# A target with more distinct values than this is not stratified.
MOST_STRATA = 20


def draw_seed(random_state) -> int:
    """A seed in 0..2**32-1 from None (fresh), an int, a Generator or a numpy RandomState.

    >>> draw_seed(7)
    7
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if not 0 <= random_state < 1 << 32:
            raise FarthingError(f"random_state: got {random_state}, allowed is 0 to 2**32 - 1")
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(1 << 32))
    if isinstance(random_state, np.random.RandomState) or random_state is np.random:
        return int(random_state.randint(1 << 32, dtype=np.uint32))
    raise TypeError(
        f"random_state: got {type(random_state).__name__}, "
        "allowed are None, an integer, numpy.random.Generator and RandomState"
    )


def split_search(
    n: int, y=None, groups=None, seed: int = 0, *, weight=None, min_rows: int = SEARCH_MIN_ROWS
) -> tuple[np.ndarray, np.ndarray]:
    """Splits n rows into the fit part and the search part, about a tenth of them.

    y: (n,), stratifies where it has at most 20 distinct values; groups: (n,), rows of one
    group stay together; weight: (n,), >= 0: rows of weight 0 count as absent, so that
    without groups none of them is searched on.  Gives two sorted arrays of row numbers; the
    search part is empty under ``min_rows`` rows, or where no whole group is small enough.
    Raises ValueError where groups has another shape or a row without a label.

    >>> fit, search = split_search(5000, seed=1)
    >>> len(fit), len(search)
    (4500, 500)
    """
    group = as_groups(groups, n)
    counted = np.ones(n, bool) if weight is None else np.asarray(weight) > 0
    chosen = np.zeros(n, bool)
    if np.count_nonzero(counted) < min_rows:
        return np.arange(n), np.flatnonzero(chosen)
    rng = np.random.Generator(np.random.PCG64(seed))
    strata = np.zeros(n, np.intp)
    if y is not None:
        values, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(values) <= MOST_STRATA:
            strata = codes
    wanted = SEARCH_SHARE * np.bincount(strata[counted], minlength=strata.max() + 1)
    if group is None:
        for stratum, count in enumerate(np.rint(wanted).astype(int)):
            rows = np.flatnonzero((strata == stratum) & counted)
            chosen[rng.permutation(rows)[:count]] = True
    else:
        rows_of = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
        lacking = wanted
        for g in rng.permutation(len(rows_of)):
            rows = rows_of[g]
            counts = np.bincount(strata[rows[counted[rows]]], minlength=len(lacking))
            # Taken where |lacking - counts|^2 < |lacking|^2: nearer to the wanted counts.
            if counts @ counts < 2 * (counts @ lacking):
                lacking = lacking - counts
                chosen[rows] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def folds(n: int, count: int, strata=None, groups=None, seed: int = 0) -> np.ndarray:
    """In which of `count` parts of about the same size each of n rows is, int (n,).

    strata: (n,), each part has its share of each; groups: (n,), rows of one group stay together,
    and then strata do not count.  Raises ValueError where there are fewer rows, or groups, than
    parts.

    >>> np.bincount(folds(10, 5, seed=1)).tolist()
    [2, 2, 2, 2, 2]
    """
    group = as_groups(groups, n)
    units = n if group is None else int(group.max()) + 1
    if units < count:
        what = "rows" if group is None else "groups"
        raise FarthingError(f"{what}: got {units}, but {count} parts need {count} or more")
    rng = np.random.Generator(np.random.PCG64(seed))
    if group is not None:
        sizes, filled = np.bincount(group), np.zeros(count)
        place = np.empty(units, np.intp)
        drawn = rng.permutation(units)
        for unit in drawn[np.argsort(-sizes[drawn], kind="stable")]:
            place[unit] = np.argmin(filled)
            filled[place[unit]] += sizes[unit]
        return place[group]
    codes = np.zeros(n, np.intp) if strata is None else np.unique(strata, return_inverse=True)[1]
    # Stratum after stratum, in random order within each, dealt out in turn.
    order = np.lexsort((rng.random(n), codes))
    fold = np.empty(n, np.intp)
    fold[order] = np.arange(n) % count
    return fold
