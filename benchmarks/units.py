"""The units of monotone networks: ReLU with and without bounds, tanh and sigmoid, in floats.

    python benchmarks/units.py [--seeds 10] [--json]

For every seed, networks of one and of two hidden layers with each kind of unit on two tasks:
20,000 rows of a sum of five sigmoids of sums of two or three of eight features, with noise,
all of which it rises with, by the error on other rows as a share of the function's deviation; and
the credit data with the constraints of `monotone.py`, by the AUC on the final 20 %. Prints
means over the seeds and, for every other kind, the difference to bounded ReLU with its standard
error.
"""

from __future__ import annotations

from unittest import mock

import _common
import monotone
import numpy as np

import farthing
from farthing.demo import data
from farthing.monotone import BOUND

HIDDEN = ((32,), (64, 32))
KINDS = ("bounded", "ReLU", "tanh", "sigmoid")
ROWS, FEATURES = 20_000, 8
GROUPS = ((0, 1), (2, 3, 4), (5, 6), (6, 7, 0), (1, 3, 7))
NOISE = 0.1


def joint_effects(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y and what of y is no noise, which levels off at both ends of every sum."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, FEATURES)).astype(np.float32)
    f = np.zeros(n)
    for group in GROUPS:
        weight = rng.uniform(0.7, 1.5, len(group))
        height, middle = rng.uniform(0.5, 1.5), rng.normal() / 2
        f += height / (1 + np.exp(-3 * (X[:, group] @ weight - middle)))
    return X, f + rng.normal(size=n) * NOISE * f.std(), f


def arguments(kind: str, hidden: tuple, seed: int, directions: dict, **training) -> dict:
    activation = kind if kind in ("tanh", "sigmoid") else "relu"
    return {
        "hidden": hidden,
        "activation": activation,
        "monotone_constraints": directions,
        "random_state": seed,
        **training,
    }


def one_seed(table: data.Table, seed: int, epochs: int | None = None) -> dict:
    """{"task, layers": {kind: figure}}."""
    training = {} if epochs is None else {"max_epochs": epochs}
    X, y, f = joint_effects(seed, 2 * ROWS)
    parts = data.split(table.y, seed)
    learn, final = np.concatenate([parts.fit, parts.search]), parts.final
    rising = dict.fromkeys(range(FEATURES), 1)
    signs = {table.names.index(name): sign for name, sign in monotone.CONSTRAINTS.items()}
    found: dict = {}
    for hidden in HIDDEN:
        for kind in KINDS:
            bound = np.inf if kind == "ReLU" else BOUND
            with mock.patch("farthing.monotone.BOUND", bound):
                value = farthing.Regressor(**arguments(kind, hidden, seed, rising, **training))
                value.fit(X[:ROWS], y[:ROWS])
                label = farthing.Classifier(**arguments(kind, hidden, seed, signs, **training))
                label.fit(table.X[learn], table.y[learn])
            error = np.sqrt(np.mean((value.predict(X[ROWS:]) - f[ROWS:]) ** 2)) / f.std()
            score = label._scorer().predict(table.X[final])
            name = "-".join(map(str, hidden))
            auc = farthing.metrics.auc(table.y[final], score)
            found.setdefault(f"error, {name}", {})[kind] = float(error)
            found.setdefault(f"AUC, {name}", {})[kind] = auc
    _common.say(f"seed {seed}")
    return found


def summarise(seeds: list[dict]) -> dict:
    """{"task, layers": {kind: mean, difference to bounded ReLU, standard error}}."""
    summary: dict = {}
    for task in sorted(seeds[0]):
        for kind in KINDS:
            apart = [seed[task][kind] - seed[task]["bounded"] for seed in seeds]
            difference, error = _common.mean_and_error(apart)
            summary.setdefault(task, {})[kind] = {
                "mean": _common.mean_and_error([seed[task][kind] for seed in seeds])[0],
                "difference": difference,
                "standard_error": error,
            }
    return summary


def report(summary: dict) -> str:
    lines = [f"{'':14} {'units':8} {'mean':>8} {'difference':>11} {'SE':>8}"]
    for task, kinds in summary.items():
        for kind, row in kinds.items():
            apart = ""
            if kind != "bounded":
                apart = f"{row['difference']:+11.4f} {row['standard_error']:8.4f}"
            lines.append(f"{task:14} {kind:8} {row['mean']:8.4f} {apart}".rstrip())
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    options, seeds = _common.over_credit_seeds(__doc__, argv, one_seed, steps="every training")
    return _common.show(summarise(seeds), report, options)


if __name__ == "__main__":
    main()
