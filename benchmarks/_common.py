"""What the benchmarks share: arguments, seeds, means over them, verdicts."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable

# The products are small: a second BLAS thread costs more than it gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import farthing
from farthing.demo import data as credit


def arguments(doc: str, argv: list[str] | None, data=None, **more) -> argparse.Namespace:
    """The usual options, --data where there is a default path, and integers by name."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    if data is not None:
        parser.add_argument("--data", default=data)
    for name, (default, text) in more.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def over_credit_seeds(
    doc: str,
    argv: list[str] | None,
    one_seed: Callable,
    *,
    seeds: int = 10,
    steps: str = "quantize",
) -> tuple[argparse.Namespace, list]:
    """The usual options of a benchmark on the credit data, and ``one_seed(table, seed)`` for
    every seed they ask for, given the fewer epochs of the `steps` where they ask for that."""
    options = arguments(
        doc,
        argv,
        credit.DEFAULT_PATH,
        seeds=(seeds, None),
        **{"first-seed": (0, "100 or more for tuning")},
        rows=(None, "only so many rows, for a quick look"),
        epochs=(None, f"of {steps}, for a quick look"),
    )
    table = credit.load(options.data).first(options.rows)
    training = {} if options.epochs is None else {"epochs": options.epochs}
    chosen = range(options.first_seed, options.first_seed + options.seeds)
    return options, [one_seed(table, seed, **training) for seed in chosen]


def show(found, report: Callable[..., str], options: argparse.Namespace):
    """Prints what was found, as JSON or as a report, and gives it back."""
    print(json.dumps(found, indent=2) if options.json else report(found))
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def file_bytes(model) -> int:
    """Size of the saved file without training counts and metadata."""
    plain = farthing.Classifier.__new__(farthing.Classifier)
    vars(plain).update(vars(model), training_=None)
    return len(plain._bytes())


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
