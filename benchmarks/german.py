"""A small table with categories: German credit, against LightGBM and logistic regression.

    python benchmarks/german.py [--seeds 10] [--json]

For every seed a stratified 5-fold cross-validation of the 1,000 rows: on 800 of them each, the
32-16 student fitted directly, quantized to int4 with the steps' defaults; LightGBM with
settings for few rows, the categories native, its number of trees by an inner 5-fold
cross-validation; logistic regression on one-hot and standardised columns. Prints the mean AUC on
the folds left out and our differences with their standard errors over the seeds. Those are
errors of drawing folds: all seeds share one table, so another table would differ by more.
"""

from __future__ import annotations

import _common
import numpy as np
from _german import DATA, FOLDS, LIGHTGBM, load

import farthing

LEAST = -0.005
PEERS = ("LightGBM", "logistic regression")
OURS = ("direct float32", "direct int4")
MOST_TREES = 500


def by_lightgbm(X, y, X_left, seed: int) -> np.ndarray:
    import lightgbm

    def rows():
        return lightgbm.Dataset(X, y, free_raw_data=False)

    parameters = {**LIGHTGBM, "seed": seed}
    stop = lightgbm.early_stopping(50, verbose=False)
    course = lightgbm.cv(
        parameters, rows(), MOST_TREES, nfold=FOLDS, stratified=True, seed=seed, callbacks=[stop]
    )
    trees = len(course["valid binary_logloss-mean"])
    return lightgbm.train(parameters, rows(), trees).predict(X_left)


def by_logistic_regression(X, y, X_left, seed: int) -> np.ndarray:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(X, y)
    return model.predict_proba(X_left)[:, 1]


def students(X, y, seed: int, **training) -> dict:
    """Our models by name, fitted directly."""
    student = farthing.Classifier(
        hidden=(32, 16), categorical_features="from_dtype", random_state=seed
    ).fit(X, y)
    small = farthing.quantize(student, X, y, weight_bits=4, training="qat", **training)
    return dict(zip(OURS, (student, small), strict=True))


def one_seed(X, y, seed: int, **training) -> dict:
    """Mean AUC over the folds of one cross-validation, by model."""
    from sklearn.model_selection import StratifiedKFold

    folds = []
    for fit, left in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(X, y):
        own, unseen = X.iloc[fit], X.iloc[left]
        scores = {
            "LightGBM": by_lightgbm(own, y[fit], unseen, seed),
            "logistic regression": by_logistic_regression(own, y[fit], unseen, seed),
        }
        for name, model in students(own, y[fit], seed, **training).items():
            scores[name] = model.predict_proba(unseen)[:, 1]
        folds.append({name: farthing.metrics.auc(y[left], s) for name, s in scores.items()})
    means = {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}
    _common.say(f"seed {seed}: " + ", ".join(f"{name} {auc:.4f}" for name, auc in means.items()))
    return means


def summarise(seeds: list[dict]) -> dict:
    """Mean AUC by model, and our differences to the peers with standard errors."""
    values = {name: np.array([seed[name] for seed in seeds]) for name in seeds[0]}
    differences = []
    for name in OURS:
        for peer in PEERS:
            mean, error = _common.mean_and_error(values[name] - values[peer])
            row = {"model": name, "peer": peer, "difference": mean, "standard_error": error}
            differences.append(row)
    return {
        "seeds": len(seeds),
        "auc": {name: float(value.mean()) for name, value in values.items()},
        "differences": differences,
    }


def report(found: dict) -> str:
    lines = [f"German credit, {found['seeds']} x {FOLDS}-fold cross-validation, mean AUC"]
    lines += [f"{name:22} {auc:.4f}" for name, auc in found["auc"].items()]
    lines.append("")
    for row in found["differences"]:
        verdict = "" if row["model"] != OURS[-1] else _verdict(row)
        lines.append(
            f"{verdict:9} {row['model']} to {row['peer']}: {row['difference']:+.4f}, "
            f"SE {row['standard_error']:.4f}" + (f", goal >= {LEAST}" if verdict else "")
        )
    return "\n".join(lines)


def _verdict(row: dict) -> str:
    return _common.judge(row["difference"], LEAST, row["standard_error"])


def main(argv: list[str] | None = None) -> dict:
    options = _common.arguments(
        __doc__,
        argv,
        DATA,
        seeds=(10, None),
        epochs=(None, "of quantize, for a quick look"),
    )
    X, y = load(options.data)
    training = {} if options.epochs is None else {"epochs": options.epochs}
    found = summarise([one_seed(X, y, seed, **training) for seed in range(options.seeds)])
    return _common.show(found, report, options)


if __name__ == "__main__":
    main()
