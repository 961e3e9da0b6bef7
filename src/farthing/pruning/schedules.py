"""When units go: what share of those that are to go has gone by a time in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["SCHEDULES"]

# Rounds of pruning and training.
ROUNDS = 5


def cubic(time: float, share: float) -> float:
    """1 - (1 - t)^3: fast at first, when much is redundant (Zhu & Gupta 2017, "To prune, or not to
    prune").

    >>> cubic(0.5, 0.8)
    0.875
    """
    return 1 - (1 - time) ** 3


def iterative(time: float, share: float) -> float:
    """Rounds of pruning with training between them, each of which takes the same part of what is
    left (Han, Pool, Tran & Dally 2015). share: of all units, that is to go.

    >>> [round(0.96875 * iterative(t, 0.96875), 5) for t in (0.0, 0.3, 1.0)]
    [0.5, 0.75, 0.96875]
    """
    done = min(int(time * ROUNDS) + 1, ROUNDS)
    return (1 - (1 - share) ** (done / ROUNDS)) / share if share else 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {"cubic": cubic, "iterative": iterative}
