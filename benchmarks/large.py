"""A large table: peak memory and minutes of a fit on 1,000,000 rows of 200 features.

    python benchmarks/large.py [--rows 1000000] [--features 200] [--json]

A process of its own draws the rows in chunks into a memory-mapped file of float32 and fits
Classifier(hidden=(64, 32), n_bins=16, max_epochs=10) on two threads. Prints its peak resident
memory, in which the file's pages count too, the minutes of the fit, and for a check that
something was learnt the AUC on fresh rows beside that of the true probabilities.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _common
import numpy as np

import farthing

THREADS = 2
WORKER = "--worker"
MOST_GIB = 4.0
MOST_MINUTES = 20.0
# The goals are those of the full table.
FULL = (1_000_000, 200)
CHUNK = 16_384
FRESH_ROWS = 20_000
# A factor that correlates the columns of a chunk.
COMMON_SHARE = 0.3


def chunk(rng: np.random.Generator, rows: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Float32 rows, correlated, some columns skewed or whole numbers, and the log odds of 1."""
    X = rng.standard_normal((rows, features), dtype=np.float32)
    X += np.float32(COMMON_SHARE) * rng.standard_normal((rows, 1), dtype=np.float32)
    a, b, c, d, e = (X[:, i::5][:, :8] for i in range(5))
    z = 0.5 * np.sin(2 * a).sum(axis=1)
    z += 0.4 * (b * np.roll(b, 1, axis=1)).sum(axis=1)
    z += 0.5 * (c > 0.5).sum(axis=1) + 0.3 * np.abs(d).sum(axis=1)
    z += 0.2 * e.sum(axis=1)
    X[:, 3::10] = np.exp(X[:, 3::10])
    X[:, 7::10] = np.floor(4 * np.abs(X[:, 7::10]))
    return X, z - 6.0


def draw(path: Path, rows: int, features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (rows, features) in a file at `path`, chunk by chunk, and y (rows,)."""
    rng = np.random.default_rng(seed)
    X = np.memmap(path, dtype=np.float32, mode="w+", shape=(rows, features))
    y = np.empty(rows, np.int8)
    for start in range(0, rows, CHUNK):
        own = slice(start, min(start + CHUNK, rows))
        X[own], z = chunk(rng, own.stop - own.start, features)
        y[own] = rng.random(len(z)) < 1 / (1 + np.exp(-z))
    X.flush()
    return np.memmap(path, dtype=np.float32, mode="r", shape=(rows, features)), y


def peak_gib() -> float:
    """Peak resident memory of this process; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def work(rows: int, features: int, epochs: int) -> dict:
    """The fit, to be run in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="farthing-large-") as folder:
        X, y = draw(Path(folder) / "rows.f32", rows, features, seed=0)
        before = peak_gib()
        start = time.monotonic()
        model = farthing.Classifier(
            hidden=(64, 32), n_bins=16, max_epochs=epochs, random_state=0, callback=_progress
        ).fit(X, y)
        seconds = time.monotonic() - start
        peak = peak_gib()
        del X
    rng = np.random.default_rng(1)
    fresh, z = chunk(rng, FRESH_ROWS, features)
    truth = 1 / (1 + np.exp(-z))
    fresh_y = rng.random(len(z)) < truth
    return {
        "rows": rows,
        "features": features,
        "epochs": model.history_.epochs,
        "threads": THREADS,
        "table_gib": rows * features * 4 / 2**30,
        "before_gib": before,
        "peak_gib": peak,
        "minutes": seconds / 60,
        "auc": float(farthing.metrics.auc(fresh_y, model.predict_proba(fresh)[:, 1])),
        "auc_of_truth": float(farthing.metrics.auc(fresh_y, truth)),
    }


def _progress(state: dict) -> None:
    _common.say(f"epoch {state['epoch']}/{state['max_epochs']}: loss {state['loss']:.4f}")


def report(found: dict) -> str:
    lines = [
        f"{found['rows']:,} x {found['features']} float32 ({found['table_gib']:.2f} GiB), 16 bins, "
        f"64-32, {found['epochs']} epochs, {found['threads']} threads",
        f"peak memory {found['peak_gib']:.2f} GiB ({found['before_gib']:.2f} before the fit), "
        f"{found['minutes']:.2f} minutes, "
        f"AUC {found['auc']:.4f}, of the true probabilities {found['auc_of_truth']:.4f}",
        "",
    ]
    if (found["rows"], found["features"]) != FULL:
        rows, features = FULL
        return "\n".join([*lines, f"undecided the goals are for {rows:,} x {features}"])
    for name, value, goal, unit in (
        ("peak memory", found["peak_gib"], MOST_GIB, "GiB"),
        ("time", found["minutes"], MOST_MINUTES, "minutes"),
    ):
        verdict = "met" if value <= goal else "missed"
        lines.append(f"{verdict:9} {name}: {value:.2f} {unit}, goal <= {goal:g}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    arguments = _common.arguments(
        __doc__,
        argv,
        rows=(FULL[0], None),
        features=(FULL[1], None),
        epochs=(10, None),
    )
    sizes = (arguments.rows, arguments.features, arguments.epochs)
    worker = subprocess.run(
        [sys.executable, __file__, WORKER, *map(str, sizes)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": str(THREADS)},
        check=True,
        text=True,
    )
    return _common.show(json.loads(worker.stdout), report, arguments)


if __name__ == "__main__":
    if WORKER in sys.argv:
        print(json.dumps(work(*map(int, sys.argv[2:]))))
    else:
        main()
