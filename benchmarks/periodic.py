"""The three encoders on the credit data and on a function that oscillates.

    python benchmarks/periodic.py [--seeds 10] [--json]

For every seed: a 64-32 classifier of the credit defaults (80 % of the rows, its search part
among them) and a 64-32 regressor of `oscillating` (6,000 rows, 6 normal features, noise of
deviation 0.1), each with every encoder. Prints the mean AUC on the final 20 % and the mean root
mean squared error to the noiseless function on 6,000 new rows, both with the standard error of
their difference to the piecewise-linear encoder over the seeds. Tune with --first-seed 100.
"""

from __future__ import annotations

import _common
import numpy as np

import farthing
from farthing.demo import data

ENCODERS = ("piecewise_linear", "periodic", None)
HIDDEN = (64, 32)
ROWS = 6000
NOISE = 0.1


def oscillating(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """X (rows, 6), normal, and sin 5a + c sin 3b + d / 2 of its first four columns, (rows,)."""
    X = rng.normal(size=(rows, 6))
    a, b, c, d, _, _ = X.T
    return X, np.sin(5 * a) + c * np.sin(3 * b) + d / 2


def one_seed(table: data.Table, seed: int, epochs: int | None = None) -> dict:
    """Figures of one seed by encoder: {encoder: {auc, rmse}}."""
    training = {} if epochs is None else {"max_epochs": epochs}
    parts = data.split(table.y, seed)
    learn, final = np.concatenate([parts.fit, parts.search]), parts.final
    rng = np.random.default_rng(seed)
    X, truth = oscillating(rng, ROWS)
    y = truth + NOISE * rng.normal(size=ROWS)
    new, wanted = oscillating(rng, ROWS)
    figures = {}
    for encoder in ENCODERS:
        parameters = {"encoder": encoder, "random_state": seed, **training}
        scores = farthing.Classifier(HIDDEN, **parameters).fit(table.X[learn], table.y[learn])
        values = farthing.Regressor(HIDDEN, **parameters).fit(X, y)
        auc = farthing.metrics.auc(table.y[final], scores.predict_proba(table.X[final])[:, 1])
        rmse = float(np.sqrt(np.mean((values.predict(new) - wanted) ** 2)))
        figures[encoder] = {"auc": float(auc), "rmse": rmse}
    found = ", ".join(f"{encoder} {figures[encoder]['auc']:.4f}" for encoder in ENCODERS)
    _common.say(f"seed {seed}: {found}")
    return figures


def summarise(seeds: list[dict]) -> list[dict]:
    """Means over the seeds, and the standard error of each difference to the first encoder."""
    rows = []
    for encoder in ENCODERS:
        row = {"encoder": encoder}
        for name in ("auc", "rmse"):
            own = np.array([seed[encoder][name] for seed in seeds])
            first = np.array([seed[ENCODERS[0]][name] for seed in seeds])
            row[name] = float(own.mean())
            row[f"{name}_difference"], row[f"{name}_error"] = _common.mean_and_error(own - first)
        rows.append(row)
    return rows


def report(rows: list[dict], n_seeds: int) -> str:
    title = f"64-32, {n_seeds} seeds; differences to {ENCODERS[0]} with their standard errors"
    columns = f"{'AUC':>8} {'difference':>11} {'SE':>8} {'RMSE':>8} {'difference':>11} {'SE':>8}"
    lines = [title, f"{'encoder':16} {columns}"]
    for row in rows:
        figures = " ".join(
            f"{row[name]:8.4f} {row[f'{name}_difference']:+11.5f} {row[f'{name}_error']:8.5f}"
            for name in ("auc", "rmse")
        )
        lines.append(f"{row['encoder'] or 'None':16} {figures}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> list[dict]:
    options, seeds = _common.over_credit_seeds(__doc__, argv, one_seed, steps="training")
    return _common.show(summarise(seeds), lambda rows: report(rows, len(seeds)), options)


if __name__ == "__main__":
    main()
