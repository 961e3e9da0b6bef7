"""A regression, log(LIMIT_BAL) of the credit-default data, against LightGBM.

    python benchmarks/regression.py [--seeds 10] [--json]

For every seed: 60/20/20 split, a LightGBM regressor (early stopping on the search part, then
refitted on fit + search), the 64-32 student distilled from it, and one fitted directly, both
int4 with the steps' defaults. Prints the mean root mean squared error on the final part as a
ratio to LightGBM's, and the same for the distilled student where y is y x 1e6 + 1e9: its error
must stay the same share of the target's deviation.
"""

from __future__ import annotations

import _common
import numpy as np

import farthing
from farthing.demo import data
from farthing.demo.teacher import PARAMETERS

TARGET = "LIMIT_BAL"
HIDDEN = (64, 32)
# Early stopping, not this, ends the training: it takes about 500.
MOST_TREES = 3000
MOST_RATIO = 1.02
MOST_CHANGE = 0.01
# What y is multiplied by, and what is added.
SHIFTED = (1e6, 1e9)


def train_teacher(X, y, fit: np.ndarray, search: np.ndarray, seed: int):
    """A LightGBM regressor with the demo's parameters, trained as the demo's teacher is."""
    import lightgbm

    parameters = {**PARAMETERS, "objective": "regression", "seed": seed}
    training = lightgbm.Dataset(X[fit], y[fit])
    stopped = lightgbm.train(
        parameters,
        training,
        MOST_TREES,
        valid_sets=[lightgbm.Dataset(X[search], y[search], reference=training)],
        callbacks=[lightgbm.early_stopping(50, verbose=False)],
    )
    both = np.concatenate([fit, search])
    return lightgbm.train(parameters, lightgbm.Dataset(X[both], y[both]), stopped.best_iteration)


def relative_error(y: np.ndarray, value: np.ndarray) -> float:
    """Root mean squared error as a share of the deviation of y."""
    return float(np.sqrt(np.mean((y - value) ** 2)) / y.std())


def one_seed(table: data.Table, seed: int, **training) -> dict:
    """Relative errors of one split on its final part."""
    column = table.names.index(TARGET)
    X, y = np.delete(table.X, column, axis=1), np.log(table.X[:, column])
    parts = data.split(table.y, seed)
    learn, final = np.concatenate([parts.fit, parts.search]), parts.final

    def quantized(student, target):
        return farthing.quantize(
            student, X[learn], target[learn], weight_bits=4, training="qat", **training
        )

    def distilled(target):
        teacher = train_teacher(X, target, parts.fit, parts.search, seed)
        pupil = farthing.Regressor(hidden=HIDDEN)
        student = farthing.distill(
            teacher, X[learn], target[learn], student=pupil, random_state=seed
        )
        return teacher, student, quantized(student, target)

    teacher, student, small = distilled(y)
    direct = farthing.Regressor(hidden=HIDDEN, random_state=seed).fit(X[learn], y[learn])
    shifted = y * SHIFTED[0] + SHIFTED[1]
    errors = {
        name: relative_error(y[final], model.predict(X[final]))
        for name, model in {
            "LightGBM": teacher,
            "distilled float32": student,
            "distilled int4": small,
            "direct float32": direct,
            "direct int4": quantized(direct, y),
        }.items()
    }
    _, _, moved = distilled(shifted)
    errors["distilled int4, shifted y"] = relative_error(shifted[final], moved.predict(X[final]))
    _common.say(f"seed {seed}: {teacher.num_trees()} trees, " + _listed(errors))
    return errors


def _listed(errors: dict) -> str:
    return ", ".join(f"{name} {error:.4f}" for name, error in errors.items())


def summarise(seeds: list[dict]) -> dict:
    """Mean relative error of every model and its ratio to LightGBM's, with standard errors."""
    reference = np.array([seed["LightGBM"] for seed in seeds])
    rows = {}
    for name in seeds[0]:
        own = np.array([seed[name] for seed in seeds])
        ratio, error = _common.mean_and_error(own / reference)
        rows[name] = {"error": float(own.mean()), "ratio": ratio, "ratio_error": error}
    plain = np.array([seed["distilled int4"] for seed in seeds])
    moved = np.array([seed["distilled int4, shifted y"] for seed in seeds])
    return {
        "seeds": len(seeds),
        "models": rows,
        "most_change": float(np.abs(moved / plain - 1).max()),
    }


def report(found: dict) -> str:
    lines = [
        f"log({TARGET}) of credit default, {found['seeds']} seeds, RMSE on the final 20 %",
        f"{'model':28} {'RMSE / deviation':>17} {'to LightGBM':>12} {'SE':>8}",
    ]
    for name, row in found["models"].items():
        lines.append(
            f"{name:28} {row['error']:17.4f} {row['ratio']:11.4f}x {row['ratio_error']:8.4f}"
        )
    lines.append("")
    row = found["models"]["distilled int4"]
    verdict = _common.judge(row["ratio"], MOST_RATIO, row["ratio_error"], least=False)
    lines.append(
        f"{verdict:9} 64-32 int4 RMSE: {row['ratio']:.4f} x LightGBM's, SE "
        f"{row['ratio_error']:.4f}, goal <= {MOST_RATIO}"
    )
    verdict = "met" if found["most_change"] <= MOST_CHANGE else "missed"
    lines.append(
        f"{verdict:9} y x {SHIFTED[0]:g} + {SHIFTED[1]:g}: relative RMSE changes by at most "
        f"{found['most_change']:.3%} in a seed, goal <= {MOST_CHANGE:.0%}"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    options, seeds = _common.over_credit_seeds(__doc__, argv, one_seed)
    return _common.show(summarise(seeds), report, options)


if __name__ == "__main__":
    main()
