"""A rare event: the credit student where 2 % are bad, against its LightGBM teacher.

    python benchmarks/rare.py [--seeds 10] [--json]

For every seed: 60/20/20 split of the credit-default data, bad rows thinned to 2 % in every part
(about 95 in the final one), a LightGBM teacher, the 32-16 student distilled from it, int4 with
the steps' defaults. Prints on the final part, as means over the seeds with standard errors: the
student's average precision as a ratio to the teacher's, its mean probability against the rate
of bad rows, and how many rows are tied at the score of the 1 % alert threshold.
"""

from __future__ import annotations

import _common
import numpy as np

import farthing
from farthing.demo import data
from farthing.demo.teacher import train_teacher

BAD_SHARE = 0.02
ALERTED = 0.01
LEAST_RATIO = 0.9
MOST_TIED = 0.001


def thin(rows: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows without so many bad ones that `BAD_SHARE` of those left are bad."""
    good, bad = rows[y[rows] == 0], rows[y[rows] == 1]
    kept = round(len(good) * BAD_SHARE / (1 - BAD_SHARE))
    return np.sort(np.concatenate([good, rng.permutation(bad)[:kept]]))


def average_precision(y: np.ndarray, score: np.ndarray) -> float:
    """Mean precision at the bad rows, tied rows counted together."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    found = np.cumsum(y[order])[last]
    precision = found / (np.flatnonzero(last) + 1)
    return float(precision @ np.diff(found, prepend=0) / y.sum())


def tied(score: np.ndarray) -> float:
    """Share of rows beyond the first that have the score of the `ALERTED` share's last row."""
    wanted = max(1, round(ALERTED * len(score)))
    threshold = np.partition(score, len(score) - wanted)[len(score) - wanted]
    return float((np.count_nonzero(score == threshold) - 1) / len(score))


def one_seed(table: data.Table, seed: int, **training) -> dict:
    """Figures of one split on its final part."""
    rng = np.random.default_rng(seed)
    fit, search, final = (thin(rows, table.y, rng) for rows in data.split(table.y, seed))
    learn = np.concatenate([fit, search])
    X, y = table.X[learn], table.y[learn]
    teacher = train_teacher(table.X, table.y, fit, search, seed=seed)
    student = farthing.distill(teacher, X, y, hidden=(32, 16), random_state=seed)
    small = farthing.quantize(student, X, y, weight_bits=4, training="qat", **training)
    final_y = table.y[final]
    figures = {"rows": len(final), "bad": int(final_y.sum()), "trees": teacher.num_trees()}
    reference = teacher.predict(table.X[final])
    kinds = {"float32": student, "int4": small}
    for kind, score in {
        "LightGBM": reference,
        **{kind: m.predict_proba(table.X[final])[:, 1] for kind, m in kinds.items()},
    }.items():
        figures[kind] = {
            "average_precision": average_precision(final_y, score),
            "auc": farthing.metrics.auc(final_y, score),
            "mean": float(score.mean(dtype=np.float64)),
            "tied": tied(score),
        }
    _common.say(
        f"seed {seed}: {figures['bad']} bad of {figures['rows']:,}, {figures['trees']} trees, "
        + ", ".join(f"{kind} {figures[kind]['average_precision']:.4f}" for kind in kinds)
        + f" to {figures['LightGBM']['average_precision']:.4f}"
    )
    return figures


def summarise(seeds: list[dict]) -> dict:
    """Means over the seeds. The ratio of average precisions is that of their means: a seed's
    own ratio is noisy and skewed. Its error is of student - ratio x teacher."""
    ours = np.array([seed["int4"]["average_precision"] for seed in seeds])
    theirs = np.array([seed["LightGBM"]["average_precision"] for seed in seeds])
    ratio = ours.mean() / theirs.mean()
    error = _common.mean_and_error(ours - ratio * theirs)[1] / theirs.mean()
    rate = np.array([seed["bad"] / seed["rows"] for seed in seeds])
    deviation = np.sqrt(rate * (1 - rate) / [seed["rows"] for seed in seeds])
    distance = (np.array([seed["int4"]["mean"] for seed in seeds]) - rate) / deviation
    kinds = ("LightGBM", "float32", "int4")
    return {
        "seeds": len(seeds),
        "bad": float(np.mean([seed["bad"] for seed in seeds])),
        "bad_rate": float(rate.mean()),
        "average": {
            kind: {name: float(np.mean([s[kind][name] for s in seeds])) for name in seeds[0][kind]}
            for kind in kinds
        },
        "ratio": float(ratio),
        "ratio_error": float(error),
        # In standard errors of the bad rate of one final part.
        "distances": distance.tolist(),
        "most_tied": float(max(seed["int4"]["tied"] for seed in seeds)),
    }


def report(found: dict) -> str:
    lines = [
        f"credit default thinned to {BAD_SHARE:.0%} bad, {found['seeds']} seeds, "
        f"about {found['bad']:.0f} bad rows in the final part",
        f"{'model':10} {'average precision':>18} {'AUC':>8} {'mean PD':>9} {'tied':>9}",
    ]
    for kind, row in found["average"].items():
        lines.append(
            f"{kind:10} {row['average_precision']:18.4f} {row['auc']:8.4f} "
            f"{row['mean']:9.5f} {row['tied']:9.4%}"
        )
    ratio, error = found["ratio"], found["ratio_error"]
    verdict = _common.judge(ratio, LEAST_RATIO, error)
    lines += [
        "",
        f"{verdict:9} int4 average precision: {ratio:.3f} x LightGBM's, SE {error:.3f}, "
        f"goal >= {LEAST_RATIO}",
    ]
    distance = np.array(found["distances"])
    within = int(np.count_nonzero(np.abs(distance) <= 2))
    worst = np.abs(distance).max()
    verdict = "met" if abs(distance.mean()) <= 2 and within == len(distance) else "missed"
    lines.append(
        f"{verdict:9} int4 mean PD: {distance.mean():+.2f} SE of the bad rate from it "
        f"({found['average']['int4']['mean']:.5f}, {found['bad_rate']:.5f}), at most {worst:.2f}, "
        f"within 2 in {within} of {len(distance)} seeds, goal all"
    )
    verdict = "met" if found["most_tied"] <= MOST_TIED else "missed"
    lines.append(
        f"{verdict:9} rows tied at the {ALERTED:.0%} alert threshold: at most "
        f"{found['most_tied']:.3%} in a seed, goal <= {MOST_TIED:.1%}"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    options, seeds = _common.over_credit_seeds(__doc__, argv, one_seed)
    return _common.show(summarise(seeds), report, options)


if __name__ == "__main__":
    main()
