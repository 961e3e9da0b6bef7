"""What the benchmarks share: arguments, means over seeds, verdicts."""

from __future__ import annotations

import argparse
import os
import sys

# The products are small: a second BLAS thread costs more than it gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np


def arguments(doc: str, argv: list[str] | None, data=None, **more) -> argparse.Namespace:
    """The usual options, --data where there is a default path, and integers by name."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    if data is not None:
        parser.add_argument("--data", default=data)
    for name, (default, text) in more.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def mean_and_error(values) -> tuple[float, float]:
    """Mean over the seeds and its standard error, NaN for one seed."""
    values = np.asarray(values, dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def judge(value: float, goal: float, error: float, *, least: bool = True) -> str:
    """met, missed, or undecided where the distance to the goal is under two standard errors.

    least: the goal is the least allowed value, else the largest.
    """
    if np.isnan(error) or abs(value - goal) < 2 * error:
        return "undecided"
    return "met" if (value > goal) == least else "missed"
