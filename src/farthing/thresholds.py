"""Where a teacher of trees splits its features: candidates for a student's edges."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from farthing._validate import FarthingError, check_integer

__all__ = ["teacher_thresholds"]

_ALLOWED = (
    "a fitted LightGBM Booster, LGBMClassifier or LGBMRegressor, an XGBoost Booster, "
    "XGBClassifier or XGBRegressor of trees, a scikit-learn decision tree, random forest, extra "
    "trees, gradient boosting or HistGradientBoosting, or a list of these"
)


class _Splits(NamedTuple):
    """Of every split on a number: the teacher's feature, the threshold and the gain."""

    feature: np.ndarray
    threshold: np.ndarray
    gain: np.ndarray


def _lightgbm_splits(booster) -> _Splits:
    found = []
    nodes = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    while nodes:
        node = nodes.pop()
        if "split_feature" not in node:
            continue
        nodes += [node["left_child"], node["right_child"]]
        if node["decision_type"] == "<=":  # "==" asks for categories
            found.append((node["split_feature"], node["threshold"], node["split_gain"]))
    feature, threshold, gain = np.array(found, np.float64).reshape(-1, 3).T
    return _Splits(feature.astype(np.intp), threshold, gain)


def _xgboost_booster(teacher):
    """The XGBoost Booster that a teacher is or has; None for any other teacher."""
    try:
        booster = teacher.get_booster() if hasattr(teacher, "get_booster") else teacher
    except AttributeError:  # such as scikit-learn's NotFittedError
        return None
    known = hasattr(booster, "save_raw") and hasattr(booster, "num_features")
    return booster if known else None


def _xgboost_trees(booster) -> list[dict] | None:
    """Trees of XGBoost's documented JSON format; None for a linear model."""
    try:
        saved = booster.save_raw("json")
    except ValueError:  # XGBoostError, of a Booster that was never trained
        return None
    model = json.loads(saved)["learner"]["gradient_booster"]
    return model.get("gbtree", model)["model"].get("trees")  # of DART under "gbtree"


def _xgboost_splits(teacher, booster) -> _Splits | None:
    columns = ("split_indices", "split_conditions", "loss_changes", "left_children", "split_type")
    trees = _xgboost_trees(booster)
    stopped = getattr(teacher, "best_iteration", None)
    if trees and stopped is not None and teacher is not booster:
        trees = _xgboost_trees(booster[: stopped + 1])  # of these alone it predicts
    if not trees or not trees[0].keys() >= set(columns):
        return None
    feature, threshold, gain, left, kind = (
        np.concatenate([np.asarray(tree[column], np.float64) for tree in trees])
        for column in columns
    )
    split = (left >= 0) & (kind == 0)  # 1 asks for categories
    # Of float32 x, "x < t" is "x <= t" for the next t below.
    below = np.nextafter(threshold[split].astype(np.float32), np.float32(-np.inf))
    return _Splits(feature[split].astype(np.intp), below.astype(np.float64), gain[split])


def _tree_splits(tree) -> _Splits:
    """Of scikit-learn's ``tree_``; the gain is the weighted decrease of the impurity."""
    inner = np.flatnonzero(tree.children_left >= 0)
    left, right = tree.children_left[inner], tree.children_right[inner]
    mass = tree.weighted_n_node_samples * tree.impurity
    gain = mass[inner] - mass[left] - mass[right]
    return _Splits(tree.feature[inner], tree.threshold[inner], gain)


def _histogram_splits(model) -> _Splits:
    """Of HistGradientBoosting, whose nodes number categorical features before the others."""
    nodes = np.concatenate([tree.nodes for group in model._predictors for tree in group])
    nodes = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
    feature = nodes["feature_idx"].astype(np.intp)
    if model.is_categorical_ is not None:
        first = np.asarray(model.is_categorical_)
        feature = np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])[feature]
    return _Splits(feature, nodes["num_threshold"].astype(np.float64), nodes["gain"])


def _splits(teacher) -> _Splits | None:
    """None for anything but a known model of trees."""
    booster = getattr(teacher, "booster_", teacher)
    if callable(getattr(booster, "dump_model", None)) and hasattr(booster, "feature_name"):
        return _lightgbm_splits(booster)
    booster = _xgboost_booster(teacher)
    if booster is not None:
        return _xgboost_splits(teacher, booster)
    if hasattr(teacher, "_predictors") and hasattr(teacher, "is_categorical_"):
        return _histogram_splits(teacher)
    if hasattr(teacher, "tree_"):
        return _tree_splits(teacher.tree_)
    members = getattr(teacher, "estimators_", None)
    if members is None or not hasattr(teacher, "feature_importances_"):
        return None
    trees = [getattr(member, "tree_", None) for member in np.ravel(members)]
    if not trees or None in trees:
        return None
    parts = [_tree_splits(tree) for tree in trees]
    return _Splits(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _names(teacher) -> list[str] | None:
    """The columns that a teacher was trained on, where they had names."""
    booster = getattr(teacher, "booster_", teacher)
    if callable(getattr(booster, "feature_name", None)):
        names = list(booster.feature_name())
        return None if names == [f"Column_{i}" for i in range(len(names))] else names
    booster = _xgboost_booster(teacher)
    if booster is not None:
        return booster.feature_names
    names = getattr(teacher, "feature_names_in_", None)
    return None if names is None else list(names)


def _width(teacher) -> int:
    booster = getattr(teacher, "booster_", teacher)
    if callable(getattr(booster, "num_feature", None)):
        return booster.num_feature()
    booster = _xgboost_booster(teacher)
    if booster is not None:
        return booster.num_features()
    return int(teacher.n_features_in_)


def _places(teacher, features: int | Sequence[str]) -> dict[int, int]:
    """The student's feature by the teacher's, where they are the same column."""
    width = _width(teacher)
    if isinstance(features, int):
        if width != features:
            raise FarthingError(
                f"features must be the names of the student's columns where the teacher has "
                f"others: it has {width}, the student {features}"
            )
        return {i: i for i in range(width)}
    theirs = _names(teacher)
    if theirs is not None:
        # LightGBM writes names its own way: text other than letters and digits is "_".
        plain = {name: j for j, name in enumerate(theirs)}
        found = [plain.get(name, plain.get(re.sub(r"\W", "_", name))) for name in features]
        if None not in found:
            return {i: j for j, i in enumerate(found)}
    if width != len(features):
        raise FarthingError(
            f"features must be columns of the teacher, which has {theirs or width}, "
            f"got {list(features)}"
        )
    return {i: i for i in range(width)}


def _members(teacher) -> Iterator:
    if isinstance(teacher, (list, tuple)):
        for member in teacher:
            yield from _members(member)
    else:
        yield teacher


def teacher_thresholds(
    teacher, features: int | Sequence[str]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The thresholds at which a teacher of trees splits each of the student's features.

    teacher: a fitted LightGBM, XGBoost or scikit-learn model of trees, or a list of such; it
    is only read. features: the student's columns, as names in order, or their number where
    they are the teacher's. Columns are matched by name where both have names, else by place.
    Gives {feature index: (values, gains)} of the features it splits on as numbers: distinct
    sorted values, float64, the largest that go left, and the total gain of the splits at each,
    in shares of the teacher's gain from all such splits. For
    ``PiecewiseLinearEncoder(candidates=...)``. Raises TypeError for another teacher,
    ValueError where the columns cannot be matched.

    >>> from sklearn.tree import DecisionTreeRegressor
    >>> tree = DecisionTreeRegressor(max_depth=1).fit([[0, 1], [0, 3], [0, 9]], [5, 5, 7])
    >>> teacher_thresholds(tree, 2)
    {1: (array([6.]), array([1.]))}
    """
    if isinstance(features, (int, np.integer)) and not isinstance(features, bool):
        features = int(features)
        check_integer(1, features=features)
    elif isinstance(features, (str, bytes)) or not all(isinstance(f, str) for f in features):
        raise TypeError(f"features must be a number or the names of columns, got {features!r}")
    found: dict[int, list[np.ndarray]] = {}
    members = list(_members(teacher))
    for member in members:
        splits = _splits(member)
        if splits is None:
            raise TypeError(f"teacher must be {_ALLOWED}, got {type(member).__name__}")
        places = _places(member, features)
        gain = np.maximum(splits.gain, 0)
        total = gain.sum() * len(members)
        for theirs in np.unique(splits.feature).tolist():
            if theirs in places and total > 0:
                own = splits.feature == theirs
                part = np.stack([splits.threshold[own], gain[own] / total])
                found.setdefault(places[theirs], []).append(part)
    result = {}
    for feature, parts in sorted(found.items()):
        threshold, gain = np.concatenate(parts, axis=1)
        finite = np.isfinite(threshold)
        values, place = np.unique(threshold[finite], return_inverse=True)
        if len(values):
            result[feature] = (values, np.bincount(place, gain[finite], len(values)))
    return result
