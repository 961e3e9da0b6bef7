"""What a teacher has made of its rows on the way to its answers: layers, leaves, thresholds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing._validate import FarthingError
from farthing.base import Estimator
from farthing.columns import as_numbers
from farthing.tables import row_count
from farthing.teachers import as_array

__all__ = ["Represent", "representation_of"]

# Thresholds of most gain, over all features.
MOST_THRESHOLDS = 128
Represent = Callable[[object, np.ndarray], np.ndarray]

_TREES = "a LightGBM, XGBoost or scikit-learn model of trees, or a list of these"


def representation_of(teacher, what, thresholds: Callable[[], dict]) -> Represent:
    """A function of X, as the teacher sees it, and the student's float32 rows that gives the
    teacher's representation: float32 (n, d), or int64 leaf numbers (n, trees).

    what: "leaves", "thresholds", the name of a hidden layer of a farthing teacher, or a function of
    X. thresholds: gives the teacher's, as `teacher_thresholds` does, by the student's features.
    Raises ValueError or TypeError for what the teacher does not have.
    """
    if callable(what):
        return lambda X, _rows: _dense(what(X), row_count(X))
    if not isinstance(what, str):
        raise TypeError(
            "representation must be 'leaves', 'thresholds', the name of a hidden layer of the "
            f"teacher, or a function of X, got {type(what).__name__}"
        )
    if what == "leaves":
        members = list(teacher) if isinstance(teacher, (list, tuple)) else [teacher]
        readers = [_leaves_of(member) for member in members]
        return lambda X, _rows: _numbered([reader(X) for reader in readers])
    if what == "thresholds":
        return _passed(thresholds())
    return _layer_of(teacher, what)


def _dense(values, n: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = as_numbers(as_array(values, "representation"), "representation").astype(np.float32)
    if found.ndim != 2 or len(found) != n or not found.size:
        raise FarthingError(
            f"representation must be numbers, one row for each of {n}, got shape {found.shape}"
        )
    if not np.isfinite(found).all():
        row, column = np.argwhere(~np.isfinite(found))[0].tolist()
        raise FarthingError(
            "representation must be finite numbers of float32, got "
            f"{found[row, column]} in row {row}, column {column}"
        )
    return found


def _leaves_of(teacher) -> Callable[[object], np.ndarray]:
    booster = getattr(teacher, "booster_", teacher)
    if callable(getattr(booster, "dump_model", None)) and hasattr(booster, "feature_name"):
        return lambda X: teacher.predict(X, pred_leaf=True)
    if callable(getattr(teacher, "apply", None)):  # XGBoost's and scikit-learn's
        return teacher.apply
    if type(teacher).__name__.startswith("HistGradientBoosting"):
        raise TypeError(
            "teacher must tell its leaves for representation='leaves', and "
            f"{type(teacher).__name__} has no method for it; representation='thresholds' reads "
            "its trees"
        )
    raise TypeError(
        f"teacher must be {_TREES} for representation='leaves', got {type(teacher).__name__}"
    )


def _numbered(parts: list) -> np.ndarray:
    return np.hstack([np.asarray(part).reshape(len(part), -1) for part in parts]).astype(np.int64)


def _passed(candidates: dict[int, tuple[np.ndarray, np.ndarray]]) -> Represent:
    """Which thresholds a row passes, 1 or 0, and a half where the value is missing."""
    if not candidates:
        raise FarthingError(
            "representation must not be 'thresholds' of a teacher that has none on the student's "
            "columns"
        )
    parts = [(np.full(len(values), j), values, gains) for j, (values, gains) in candidates.items()]
    feature, threshold, gain = (np.concatenate(column) for column in zip(*parts, strict=True))
    most = np.sort(np.argsort(-gain, kind="stable")[:MOST_THRESHOLDS])
    feature, threshold = feature[most], threshold[most]

    def represent(_X, rows: np.ndarray) -> np.ndarray:
        values = rows[:, feature]
        passed = (values > threshold).astype(np.float32)
        passed[np.isnan(values)] = 0.5
        return passed

    return represent


def _layer_of(teacher, name: str) -> Represent:
    known = []
    if isinstance(teacher, Estimator):
        teacher._check_fitted()
        known = [layer.name for layer in teacher.model_.layers[:-1]]
    if name not in known:
        layers = f"its hidden layers {', '.join(known)}" if known else "it has no hidden layers"
        raise FarthingError(
            "representation must be 'leaves', 'thresholds' or the name of a hidden layer of the "
            f"teacher ({layers}), got {name!r}"
        )

    def represent(X, _rows: np.ndarray) -> np.ndarray:
        model = teacher.model_
        x = model.encoder.expand(
            model.encoder.positions(teacher._features(X, argument="X"), model.input_amax)
        )
        for layer in model.layers:
            x, _ = layer.forward(x)
            if layer.name == name:
                break
        return x.astype(np.float32)

    return represent
