"""The L1 and the L2 score of importance compared, and penalties that make exact zeros.

    python benchmarks/importance.py [--seeds 3] [--json]

For every seed: 60/20/20 split of the credit-default data, a LightGBM teacher, the 64-32 float32
student distilled from it. The student is pruned by either norm and, at once, at random; prints
the mean change in AUC on the final part with its standard error over the seeds, the paired
difference between the norms, the rank correlation of the two scores over the groups (weights,
blocks of 8 outputs by 4 inputs, neurons, features, edges of bins), and how many of the groups of
lowest score have it by one norm only. A single weight has one score by both
norms: that the two prune to the same bytes is checked. Then students trained with a penalty:
what of them is exactly zero, and their change in AUC. `l2` shrinks and makes no zeros.
"""

from __future__ import annotations

from collections.abc import Callable

import _common
import numpy as np

import farthing
from farthing.demo import data
from farthing.demo.teacher import train_teacher
from farthing.pruning.units import units_of

HIDDEN = (64, 32)
PATTERNS = ("unstructured", "8x4", "neuron", "feature", "bin")
SPARSITIES = (0.5, 0.8)
SCHEDULES = (None, "cubic")
NORMS = ("l1", "l2")
PENALTIES = {
    "none": {},
    "l1=1e-5": {"l1": 1e-5},
    "l1=1e-4": {"l1": 1e-4},
    "l2=2": {"l2": 2.0},
    "l2=20": {"l2": 20.0},
    "group_l1 of features=1e-4": {"group_l1": {"feature": 1e-4}},
    "group_l1 of features=5e-4": {"group_l1": {"feature": 5e-4}},
    "group_l1 of neurons=1e-4": {"group_l1": {"neuron": 1e-4}},
    "group_l1 of neurons=5e-4": {"group_l1": {"neuron": 5e-4}},
}


def scores(student, pattern: str, norm: str) -> np.ndarray:
    """The score of every group, as `prune` compares them between layers."""
    return np.concatenate(units_of(pattern, student.model_.copy(), norm).scores())


def lowest(values: np.ndarray, sparsity: float) -> np.ndarray:
    """Which groups have the lowest scores: bool (groups,)."""
    gone = np.zeros(len(values), bool)
    gone[np.argsort(values, kind="stable")[: round(sparsity * len(values))]] = True
    return gone


def zeros(model) -> dict[str, float]:
    """Shares of the features, hidden neurons and weights that are exactly zero."""
    first = model.layers[0].weight
    feature = model.encoder.feature_of_column
    used = np.bincount(feature, first.any(axis=0), model.n_features) > 0
    alive = np.concatenate([layer.weight.any(axis=1) for layer in model.layers[:-1]])
    weights = np.concatenate([layer.weight.ravel() for layer in model.layers])
    return {
        "features": int((~used).sum()),
        "neurons": int((~alive).sum()),
        "weights": float((weights == 0).mean()),
    }


def prunings(student, X, y, auc: Callable, seed: int, **training) -> list[dict]:
    """A dict for every pattern, sparsity and schedule: change in AUC by norm, and how the two
    choices compare."""
    from scipy.stats import spearmanr

    reference = auc(student)
    rows = []
    for pattern in PATTERNS:
        one, other = (scores(student, pattern, norm) for norm in NORMS)
        correlation = float(spearmanr(one, other).statistic)
        for sparsity in SPARSITIES:
            for schedule in SCHEDULES:
                given = {"schedule": schedule, **(training if schedule else {})}
                small = {
                    norm: farthing.prune(
                        student, X, y, sparsity=sparsity, pattern=pattern, norm=norm, **given
                    )
                    for norm in NORMS
                }
                row = {
                    "pattern": pattern,
                    "sparsity": sparsity,
                    "schedule": schedule or "at once",
                    "groups": len(one),
                    "correlation": correlation,
                    "same": small["l1"]._bytes() == small["l2"]._bytes(),
                    **{norm: auc(model) - reference for norm, model in small.items()},
                }
                if schedule is None:
                    gone = [lowest(values, sparsity) for values in (one, other)]
                    row["differ"] = float((gone[0] & ~gone[1]).sum() / gone[0].sum())
                    chance = farthing.prune(
                        student,
                        X,
                        y,
                        sparsity=sparsity,
                        pattern=pattern,
                        method="random",
                        random_state=seed,
                    )
                    row["random"] = auc(chance) - reference
                rows.append(row)
    return rows


def one_seed(table: data.Table, seed: int, **training) -> dict:
    """Figures of one split: {"prunings": [...], "penalties": {...}}."""
    parts = data.split(table.y, seed)
    learn = np.concatenate([parts.fit, parts.search])
    X, y = table.X[learn], table.y[learn]
    teacher = train_teacher(table.X, table.y, parts.fit, parts.search, seed=seed)

    def auc(model) -> float:
        score = model.predict_proba(table.X[parts.final])[:, 1]
        return farthing.metrics.auc(table.y[parts.final], score)

    quick = {"max_epochs": training["epochs"]} if training else {}
    students = {}
    for name, penalty in PENALTIES.items():
        student = farthing.Classifier(HIDDEN, random_state=seed, **penalty, **quick)
        students[name] = farthing.distill(teacher, X, y, student=student)
        _common.say(f"seed {seed}: penalty {name}")
    reference = auc(students["none"])
    penalties = {
        name: {"change": auc(student) - reference, **zeros(student.model_)}
        for name, student in students.items()
    }
    found = prunings(students["none"], X, y, auc, seed, **training)
    _common.say(f"seed {seed}: student {reference:.4f}")
    return {"auc": reference, "prunings": found, "penalties": penalties}


def summarise(seeds: list[dict]) -> dict:
    """Means over the seeds, each with its standard error as (mean, error)."""

    def over(values) -> dict[str, float]:
        mean, error = _common.mean_and_error(values)
        return {"mean": mean, "standard_error": error}

    prunings = []
    for same in zip(*(seed["prunings"] for seed in seeds), strict=True):
        row = {key: same[0][key] for key in ("pattern", "sparsity", "schedule", "groups")}
        row["same"] = all(one["same"] for one in same)
        for key in ("correlation", "differ", "l1", "l2", "random"):
            if key in same[0]:
                row[key] = over([one[key] for one in same])
        row["l2 - l1"] = over([one["l2"] - one["l1"] for one in same])
        prunings.append(row)
    penalties = {
        name: {
            key: over([seed["penalties"][name][key] for seed in seeds])
            for key in seeds[0]["penalties"][name]
        }
        for name in seeds[0]["penalties"]
    }
    auc = over([seed["auc"] for seed in seeds])
    return {"seeds": len(seeds), "auc": auc, "prunings": prunings, "penalties": penalties}


def _figure(found: dict[str, float] | None) -> str:
    """Mean and standard error; blank where there is none."""
    if found is None:
        return f"{'':18}"
    return f"{found['mean']:+9.5f} ({found['standard_error']:.5f})"


def report(found: dict) -> str:
    lines = [
        f"credit default, {found['seeds']} seeds, 64-32 float32 of AUC {found['auc']['mean']:.4f}: "
        "change in AUC on the final 20 % (standard error)",
        f"{'pruned':12} {'share':>5} {'schedule':8} {'L1':^19} {'L2':^19} {'random':^19} "
        f"{'L2 - L1':^19} {'rank corr.':>10} {'differ':>7}",
    ]
    for row in found["prunings"]:
        differ = f"{row['differ']['mean']:7.1%}" if "differ" in row else f"{'':7}"
        figures = " ".join(f"{_figure(row.get(key)):19}" for key in ("l1", "l2", "random"))
        lines.append(
            f"{row['pattern']:12} {row['sparsity']:5.0%} {row['schedule']:8} {figures} "
            f"{_figure(row['l2 - l1']):19} {row['correlation']['mean']:10.4f} {differ}"
        )
    same = [row["same"] for row in found["prunings"] if row["pattern"] == "unstructured"]
    lines += [
        "",
        f"single weights: both norms gave the same bytes in {sum(same)} of {len(same)} ways",
        "rank corr.: of the two scores over all groups; differ: share of the groups that one "
        "norm removes and the other keeps",
        "",
        f"{'trained with':28} {'AUC against none':^19} {'features':>9} {'neurons':>8} "
        f"{'weights':>8}  exactly zero (mean)",
    ]
    for name, row in found["penalties"].items():
        lines.append(
            f"{name:28} {_figure(row['change']):19} {row['features']['mean']:9.1f} "
            f"{row['neurons']['mean']:8.1f} {row['weights']['mean']:8.1%}"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    options, seeds = _common.over_credit_seeds(
        __doc__, argv, one_seed, seeds=3, steps="the schedule and the penalties"
    )
    return _common.show(summarise(seeds), report, options)


if __name__ == "__main__":
    main()
