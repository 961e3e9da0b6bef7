"""Wall-clock times of single calls and of batches, competitors interleaved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np

__all__ = ["Latency", "interleaved", "single_calls"]


class Latency(NamedTuple):
    """Microseconds."""

    p50: float
    p99: float


def _timer_overhead() -> float:
    pairs = np.empty(2001)
    for i in range(len(pairs)):
        start = perf_counter_ns()
        pairs[i] = perf_counter_ns() - start
    return float(np.median(pairs))


def single_calls(
    calls: Mapping[str, Callable[[int], object]], n_rows: int, rounds: int = 20
) -> dict[str, Latency]:
    """p50 and p99 of call(i), i in rotation over `n_rows` rows, the timer's own time taken off.

    The competitors take turns of `n_rows` calls, in a new random order every round, so that
    a slow moment of the machine meets all of them. The first round warms up.
    """
    overhead = _timer_overhead()
    rng = np.random.default_rng(0)
    times = {name: np.empty((rounds, n_rows)) for name in calls}
    for turn in range(-1, rounds):
        for name in rng.permutation(list(calls)):
            call = calls[name]
            taken = times[name][max(turn, 0)]
            for i in range(n_rows):
                start = perf_counter_ns()
                call(i)
                taken[i] = perf_counter_ns() - start
    result = {}
    for name, taken in times.items():
        p50, p99 = np.percentile(np.maximum(taken - overhead, 0), [50, 99])
        result[name] = Latency(p50 / 1e3, p99 / 1e3)
    return result


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = 20,
    inner: int = 1,
    *,
    seed: int = 0,
    clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, np.ndarray]:
    """Seconds of every round's `inner` calls in a row, per call: arrays (rounds,), same turns.

    clock: nanoseconds; `time.process_time_ns` leaves out what other processes took.
    """
    rng = np.random.default_rng(seed)
    times = {name: np.empty(rounds) for name in calls}
    for turn in range(-1, rounds):
        for name in rng.permutation(list(calls)):
            call = calls[name]
            start = clock()
            for _ in range(inner):
                call()
            times[name][max(turn, 0)] = (clock() - start) / inner * 1e-9
    return times
