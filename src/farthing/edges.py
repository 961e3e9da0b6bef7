"""Where the bins of a numeric feature begin and end."""

from __future__ import annotations

import numpy as np

from farthing.samples import distinct_values, quantiles

__all__ = ["LEAST_WIDTH", "MOST_BINS", "candidate_edges", "data_edges", "representable"]

# 127 x 258 is the largest prefix sum of 8-bit weights that the runtime's int16 holds.
MOST_BINS = 258
# Edges nearer than the least width cannot be kept: amax / width must be finite for every amax.
_LARGEST_AMAX = np.float32(255)
LEAST_WIDTH = float(_LARGEST_AMAX / np.finfo(np.float32).max)
# The share beyond the outermost quantile on either side: outliers do not stretch a bin.
_TAIL = 0.001


def _histogram(distinct: np.ndarray, mass: np.ndarray, n_edges: int, tail: float) -> np.ndarray:
    """At most `n_edges` of the distinct values: the compressed histogram.

    A value that holds more than its share of the mass is an edge by itself, the others are
    quantiles of the rest, from its `tail` to its 1 - `tail` quantile.
    """
    rest = mass.copy()
    spare = n_edges
    # Two edges are kept for the two ends of the rest.
    while spare > 2:
        heavy = np.flatnonzero(rest * spare >= rest.sum())
        if len(heavy) == 0:
            break
        if len(heavy) > spare - 2:
            heavy = heavy[np.argsort(-rest[heavy], kind="stable")[: spare - 2]]
        rest[heavy] = 0
        spare -= len(heavy)
    levels = np.clip(np.linspace(0, 1, spare), tail, 1 - tail)
    return np.union1d(distinct[rest < mass], quantiles(distinct, rest, levels))


def _all_distinct(distinct: np.ndarray, n_edges: int) -> bool:
    """Whether every distinct value gets an edge."""
    # Whole numbers may be codes, each with an effect of its own, which no quantile of their
    # order keeps: up to twice the bins separate all of them.
    codes = 2 * n_edges - 1 if (distinct == np.floor(distinct)).all() else n_edges
    return len(distinct) <= min(codes, MOST_BINS + 1)


def data_edges(distinct: np.ndarray, mass: np.ndarray, n_edges: int) -> np.ndarray:
    """At most `n_edges` of a column's distinct values; all of them where they look like codes.

    distinct: sorted; mass: the weight of each.
    """
    if _all_distinct(distinct, n_edges):
        return distinct
    edges = _histogram(distinct, mass, n_edges, _TAIL)
    # With one bin, nearly all of the mass may be in one value.
    return edges if len(edges) > 1 else distinct[[0, -1]]


def candidate_edges(
    distinct: np.ndarray, mass: np.ndarray, n_edges: int, candidates: tuple
) -> np.ndarray:
    """At most `n_edges` edges, the inner ones chosen from `candidates`.

    distinct, mass: the column's own values, float32, as for `data_edges`; candidates: values
    and their weights, such as the thresholds of a teacher and their gains. Those within the
    range of the data count. The outermost edges are the data's: its tail quantiles, or its
    ends where a chosen candidate lies beyond those. Where every distinct value can have an
    edge, or no candidate is in range, the edges are those of `data_edges`.
    """
    if _all_distinct(distinct, n_edges):
        return distinct
    values, weight = (np.asarray(part, np.float64) for part in candidates)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    used = (values > distinct[0]) & (values < distinct[-1]) & (weight > 0)
    if n_edges <= 2 or not used.any():
        return data_edges(distinct, mass, n_edges)
    chosen, gain = distinct_values(values[used], weight[used])
    if len(chosen) > n_edges - 2:
        # One edge has no two ends: it is the median.
        chosen = (
            quantiles(chosen, gain, [0.5])
            if n_edges == 3
            else _histogram(chosen, gain, n_edges - 2, 0.0)
        )
    low, high = quantiles(distinct, mass, [_TAIL, 1 - _TAIL])
    low = low if low < chosen[0] else distinct[0]
    high = high if high > chosen[-1] else distinct[-1]
    return np.union1d(chosen, [low, high]).astype(np.float32)


def representable(edges: np.ndarray) -> np.ndarray:
    """`edges` without those too close to the one before; empty where fewer than two stay."""
    kept = []
    with np.errstate(over="ignore", divide="ignore"):
        for edge in edges:
            if not kept or np.isfinite(_LARGEST_AMAX / (edge - kept[-1])):
                kept.append(edge)
    return np.array(kept if len(kept) > 1 else [], dtype=np.float32)
