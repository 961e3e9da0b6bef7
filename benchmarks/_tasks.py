"""The data sets of the benchmark of quality, each with a fitted model to compress."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import _german
import numpy as np

import farthing
from farthing.demo import data as credit_data
from farthing.demo.teacher import train_teacher

FASHION = Path("/usr/share/datasets/fashion-mnist")
# About what an inner cross-validation chooses (benchmarks/german.py).
GERMAN_TREES = 150
# LeNet-300-100 (LeCun et al. 1998), 20 epochs.
LENET = {
    "hidden": (300, 100),
    "encoder": None,
    "max_epochs": 20,
    "batch_size": 128,
    "dropout": 0.2,
}


@dataclass
class Task:
    """Rows to learn from, rows that nothing else has seen, and how far a model gets on them.

    metric: of a fitted estimator, on the final rows, the higher the better: accuracy in percent or
    AUC; settings: of every step on it; teacher: anything that `farthing.distill` asks, or None;
    scores: a teacher's for rows; asked: its metric; refit: a teacher like it, fitted on other rows,
    with so many times its rounds.
    """

    seed: int
    X: object
    y: np.ndarray
    metric: Callable[[object], float]
    build: Callable[..., object]
    settings: dict
    teacher: object = None
    scores: Callable[[object, object], np.ndarray] | None = None
    asked: Callable[[object], float] | None = None
    refit: Callable | None = None


def _fashion_part(name: str) -> tuple[np.ndarray, np.ndarray]:
    pixels = gzip.decompress((FASHION / f"{name}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((FASHION / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    X = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255
    return X, np.frombuffer(labels, np.uint8, offset=8).astype(int)


def fashion(seed: int, rows: int | None = None, **training) -> list[Task]:
    """Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): 60,000 images to learn from, 10,000 final."""
    if not FASHION.exists():
        raise SystemExit(
            f"{FASHION} is missing: apt-get install dataset-fashion-mnist, or leave fashion out "
            "with --data credit,german"
        )
    (X, y), (final_X, final_y) = _fashion_part("train"), _fashion_part("t10k")
    X, y = X[:rows], y[:rows]

    def accuracy(model) -> float:
        return 100 * float((model.predict(final_X) == final_y).mean())

    def build(**more):
        return farthing.Classifier(**LENET | more | training, random_state=seed).fit(X, y)

    return [Task(seed, X, y, accuracy, build, {"augment": 0}, None, _probabilities, accuracy)]


def _positive(teacher, X) -> np.ndarray:
    """P(positive) of LightGBM's own model, or of an estimator."""
    asked = getattr(teacher, "predict_proba", None)
    return teacher.predict(X) if asked is None else asked(X)[:, 1]


def _probabilities(teacher, X) -> np.ndarray:
    return teacher.predict_proba(X)


def _german_teacher(X, y, seed: int, times: int = 1):
    import lightgbm

    parameters = {**_german.LIGHTGBM, "seed": seed}
    return lightgbm.train(parameters, lightgbm.Dataset(X, y), GERMAN_TREES * times)


def _auc(final_X, final_y) -> Callable[[object], float]:
    return lambda model: farthing.metrics.auc(final_y, model.predict_proba(final_X)[:, 1])


def credit(seed: int, rows: int | None = None, hidden=(64, 32), **training) -> list[Task]:
    """UCI credit default, 60/20/20: the student of a LightGBM teacher."""
    table = credit_data.load(credit_data.DEFAULT_PATH).first(rows)
    parts = credit_data.split(table.y, seed)
    learn = np.concatenate([parts.fit, parts.search])
    X, y = table.X[learn], table.y[learn]
    teacher = train_teacher(table.X, table.y, parts.fit, parts.search, seed=seed)

    def build(**more):
        student = farthing.Classifier(hidden, random_state=seed, **training | more)
        return farthing.distill(teacher, X, y, student=student)

    def refit(X, y, times: int = 1):
        import lightgbm

        # The parameters of a fitted model name its rounds, which count before the argument.
        parameters = teacher.params | {"num_iterations": teacher.num_trees() * times}
        return lightgbm.train(parameters, lightgbm.Dataset(X, y))

    final_X, final_y = table.X[parts.final], table.y[parts.final]

    def asked(model) -> float:
        return farthing.metrics.auc(final_y, model.predict(final_X))

    metric = _auc(final_X, final_y)
    return [Task(seed, X, y, metric, build, {}, teacher, _positive, asked, refit)]


def german_folds(seed: int, rows: int | None = None, hidden=(32, 16), **training) -> list[Task]:
    """German credit, categories and all: five folds, fitted directly."""
    from sklearn.model_selection import StratifiedKFold

    X, y = _german.load(_german.DATA)
    tasks = []
    folds = StratifiedKFold(_german.FOLDS, shuffle=True, random_state=seed)
    for fit, left in folds.split(X, y):
        own, own_y = X.iloc[fit], y[fit]

        def build(own=own, own_y=own_y, **more):
            return farthing.Classifier(
                hidden, categorical_features="from_dtype", random_state=seed, **training | more
            ).fit(own, own_y)

        def refit(X, y, times: int = 1):
            return _german_teacher(X, y, seed, times)

        def asked(model, left=left):
            return farthing.metrics.auc(y[left], model.predict(X.iloc[left]))

        metric, teacher = _auc(X.iloc[left], y[left]), refit(own, own_y)
        tasks.append(Task(seed, own, own_y, metric, build, {}, teacher, _positive, asked, refit))
    return tasks


TASKS: dict[str, Callable[..., list[Task]]] = {
    "fashion": fashion,
    "credit": credit,
    "german": german_folds,
}
