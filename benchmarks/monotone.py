"""Monotone credit students against LightGBM with the same constraints, over many splits.

    python benchmarks/monotone.py [--seeds 10] [--json]

For every seed: 60/20/20 split, a LightGBM teacher with `monotone_constraints` (method "basic"),
a 64-32 student of it with the same constraints, as float32 and int4. Prints the mean difference
in AUC to the teacher with its standard error over the seeds, what the constraints cost LightGBM,
and whether every saved model is certified monotone and shows no violation among pairs of rows
that differ in one feature; the goal is undecided where its distance is under two standard errors.
"""

from __future__ import annotations

import _common
import numpy as np

import farthing
from farthing.demo import data
from farthing.demo.teacher import train_teacher

CONSTRAINTS = {
    "LIMIT_BAL": -1,
    **dict.fromkeys(["PAY_0", *(f"PAY_{i}" for i in range(2, 7))], 1),
    **dict.fromkeys((f"PAY_AMT{i}" for i in range(1, 7)), -1),
}
HIDDEN = (64, 32)
# Least mean difference of the int4 student to the constrained LightGBM.
GOAL = -0.002
PAIRS = 10_000


def violations(score, X, directions: dict[int, int], seed: int, pairs: int = PAIRS) -> int:
    """How many of so many pairs a feature, random rows with two of its values, score against it."""
    rng = np.random.default_rng(seed)
    count = 0
    for feature, direction in directions.items():
        base = X[rng.integers(0, len(X), pairs)]
        a, b = rng.choice(X[:, feature], (2, pairs))
        low, high = base.copy(), base
        low[:, feature], high[:, feature] = np.minimum(a, b), np.maximum(a, b)
        change = score(high).astype(np.float64) - score(low)
        count += int((direction * change < 0).sum())
    return count


def one_seed(table: data.Table, seed: int, **training) -> dict:
    """Figures of one split: AUC of both LightGBM models and, a kind, the student's figures."""
    parts = data.split(table.y, seed)
    learn = np.concatenate([parts.fit, parts.search])
    X, y = table.X[learn], table.y[learn]
    final_X, final_y = table.X[parts.final], table.y[parts.final]
    directions = {table.names.index(name): sign for name, sign in CONSTRAINTS.items()}
    signs = [directions.get(j, 0) for j in range(len(table.names))]
    part = (table.X, table.y, parts.fit, parts.search)
    free = train_teacher(*part, seed=seed)
    teacher = train_teacher(
        *part, seed=seed, monotone_constraints=signs, monotone_constraints_method="basic"
    )
    student = farthing.distill(
        teacher,
        X,
        y,
        student=farthing.Classifier(HIDDEN, monotone_constraints=directions),
        random_state=seed,
    )
    int4 = farthing.quantize(student, X, y, weight_bits=4, training="qat", **training)
    reference = farthing.metrics.auc(final_y, teacher.predict(final_X))
    figures = {
        "teacher": reference,
        "free": farthing.metrics.auc(final_y, free.predict(final_X)) - reference,
    }
    for kind, model in {"float32": student, "int4": int4}.items():
        scorer = farthing.Scorer(model._bytes())
        figures[kind] = {
            "difference": farthing.metrics.auc(final_y, scorer.predict(final_X)) - reference,
            "certified": all(model.certify_monotone().values()),
            "violations": violations(scorer.predict, final_X, directions, seed),
        }
    _common.say(f"seed {seed}: LightGBM {reference:.4f}, int4 {figures['int4']['difference']:+.4f}")
    return figures


def summarise(seeds: list[dict]) -> dict:
    """Means and standard errors over the seeds, and the verdict."""
    summary = {
        "seeds": len(seeds),
        "teacher": _common.mean_and_error([seed["teacher"] for seed in seeds])[0],
    }
    summary["free"], summary["free_error"] = _common.mean_and_error(
        [seed["free"] for seed in seeds]
    )
    for kind in ("float32", "int4"):
        figures = [seed[kind] for seed in seeds]
        mean, error = _common.mean_and_error([figure["difference"] for figure in figures])
        summary[kind] = {
            "difference": mean,
            "standard_error": error,
            "certified": sum(figure["certified"] for figure in figures),
            "violations": sum(figure["violations"] for figure in figures),
        }
    summary["verdict"] = judge(summary["int4"]["difference"], summary["int4"]["standard_error"])
    return summary


def judge(difference: float, error: float) -> str:
    """met, missed, or undecided where the distance to the goal is under two standard errors."""
    return _common.judge(difference, GOAL, error)


def report(summary: dict) -> str:
    lines = [
        f"credit default, {summary['seeds']} seeds, {len(CONSTRAINTS)} monotone features, "
        "AUC on the final 20 %",
        f"LightGBM with constraints {summary['teacher']:.4f}; without "
        f"{summary['free']:+.5f} (SE {summary['free_error']:.5f})",
        f"{'64-32':8} {'difference':>10} {'SE':>8} {'certified':>10} {'violations':>11}",
    ]
    for kind in ("float32", "int4"):
        row = summary[kind]
        lines.append(
            f"{kind:8} {row['difference']:+10.5f} {row['standard_error']:8.5f} "
            f"{row['certified']:7} / {summary['seeds']} {row['violations']:11,}"
        )
    lines.append(
        f"{summary['verdict']:9} 64-32 int4: {summary['int4']['difference']:+.5f}, goal >= {GOAL}"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    options, seeds = _common.over_credit_seeds(__doc__, argv, one_seed)
    return _common.show(summarise(seeds), report, options)


if __name__ == "__main__":
    main()
