"""Quality and size of the credit students over many splits, against their LightGBM teacher.

    python benchmarks/credit.py [--seeds 10] [--json]

For every seed: 60/20/20 split, teacher, two students, each as float32, int8, int4 and 80 %
pruned int4 with the steps' defaults. Prints the mean difference in AUC to the teacher with its
standard error over the seeds, the mean calibration slope and file sizes, and for every goal
whether it was met; a shortfall or a margin under two standard errors is undecided.
"""

from __future__ import annotations

import _common
import numpy as np

import farthing
from farthing.demo import data, run
from farthing.demo.teacher import train_teacher

# Least mean difference to the teacher.
GOALS = {
    ("64-32", "float32"): -0.001,
    ("32-16", "int4"): -0.003,
    ("64-32", "int4, 80% pruned"): -0.003,
}
SLOPE = (0.95, 1.05)
# Least ratio of the 64-32 student's float32 file to its compressed one.
SIZES = {"int4": 5.5, "int4, 80% pruned": 10.0}


def one_seed(table: data.Table, seed: int, **training) -> dict:
    """Figures of one split: {(student, kind): {difference, slope, bytes}}."""
    parts = data.split(table.y, seed)
    learn = np.concatenate([parts.fit, parts.search])
    X, y = table.X[learn], table.y[learn]
    final_X, final_y = table.X[parts.final], table.y[parts.final]
    teacher = train_teacher(table.X, table.y, parts.fit, parts.search, seed=seed)
    reference = farthing.metrics.auc(final_y, teacher.predict(final_X))
    figures = {}
    for hidden in run.STUDENTS:
        label = "-".join(map(str, hidden))
        student = farthing.distill(teacher, X, y, hidden=hidden, random_state=seed)
        for kind, model in run.compress_variants(student, X, y, **training).items():
            score = model.predict_proba(final_X)[:, 1]
            figures[label, kind] = {
                "difference": farthing.metrics.auc(final_y, score) - reference,
                "slope": farthing.metrics.calibration(final_y, score).slope,
                "bytes": _common.file_bytes(model),
            }
    _common.say(f"seed {seed}: teacher {reference:.4f}, {teacher.num_trees()} trees")
    return figures


def summarise(seeds: list[dict]) -> list[dict]:
    """Mean and standard error over the seeds, a dict a variant."""
    rows = []
    for key in seeds[0]:
        difference, error = _common.mean_and_error([seed[key]["difference"] for seed in seeds])
        float_bytes = np.mean([seed[key[0], "float32"]["bytes"] for seed in seeds])
        size = np.mean([seed[key]["bytes"] for seed in seeds])
        rows.append(
            {
                "student": key[0],
                "kind": key[1],
                "difference": difference,
                "standard_error": error,
                "slope": float(np.mean([seed[key]["slope"] for seed in seeds])),
                "bytes": float(size),
                "smaller": float(float_bytes / size),
            }
        )
    return rows


def report(rows: list[dict], n_seeds: int) -> str:
    lines = [
        f"credit default, {n_seeds} seeds, difference to LightGBM in AUC on the final 20 %",
        f"{'student':8} {'kind':18} {'difference':>10} {'SE':>8} {'slope':>6} "
        f"{'bytes':>8} {'smaller':>8}",
    ]
    for row in rows:
        lines.append(
            f"{row['student']:8} {row['kind']:18} {row['difference']:+10.5f} "
            f"{row['standard_error']:8.5f} {row['slope']:6.3f} "
            f"{row['bytes']:8,.0f} {row['smaller']:7.2f}x"
        )
    lines.append("")
    for row in rows:
        key = row["student"], row["kind"]
        if key in GOALS:
            verdict = _common.judge(row["difference"], GOALS[key], row["standard_error"])
            lines.append(
                f"{verdict:9} {key[0]} {key[1]}: {row['difference']:+.5f}, goal >= {GOALS[key]}"
            )
        if key[0] == "64-32" and key[1] in SIZES:
            verdict = "met" if row["smaller"] >= SIZES[key[1]] else "missed"
            ratio = f"{row['smaller']:.2f}x smaller, goal >= {SIZES[key[1]]}x"
            lines.append(f"{verdict:9} {key[0]} {key[1]}: {ratio}")
    slopes = [row["slope"] for row in rows]
    verdict = "met" if SLOPE[0] <= min(slopes) and max(slopes) <= SLOPE[1] else "missed"
    lines.append(
        f"{verdict:9} slopes {min(slopes):.3f} to {max(slopes):.3f}, goal {SLOPE[0]} to {SLOPE[1]}"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> list[dict]:
    options, seeds = _common.over_credit_seeds(__doc__, argv, one_seed, steps="prune and quantize")
    return _common.show(summarise(seeds), lambda rows: report(rows, len(seeds)), options)


if __name__ == "__main__":
    main()
