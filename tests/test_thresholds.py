"""Thresholds read from real teachers, against what their predictions show."""

import re

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn import ensemble, linear_model, tree

import farthing
from farthing.encoding import PiecewiseLinearEncoder
from farthing.thresholds import teacher_thresholds

NAMES = ("in come", "late", "age", "region")
TREES = {
    "lightgbm": lambda: lightgbm.LGBMRegressor(
        n_estimators=5, num_leaves=6, min_child_samples=5, n_jobs=1, verbose=-1
    ),
    "xgboost": lambda: xgboost.XGBRegressor(n_estimators=5, max_depth=3, n_jobs=1),
    "tree": lambda: tree.DecisionTreeRegressor(max_leaf_nodes=12, random_state=0),
    "forest": lambda: ensemble.RandomForestRegressor(4, max_leaf_nodes=6, random_state=0),
    "extra trees": lambda: ensemble.ExtraTreesRegressor(4, max_leaf_nodes=40, random_state=0),
    "boosting": lambda: ensemble.GradientBoostingRegressor(n_estimators=5, random_state=0),
    "histogram": lambda: ensemble.HistGradientBoostingRegressor(max_iter=5, max_leaf_nodes=6),
}


def data(rng, n=400):
    X = np.column_stack(
        [rng.normal(size=n), rng.poisson(1.0, n), rng.uniform(20, 70, n), rng.integers(0, 5, n)]
    )
    y = np.where(X[:, 0] > 0.3, 2.0, 0) + np.minimum(X[:, 1], 2) + (X[:, 2] < 30) + 0.01 * X[:, 0]
    return X, y


@pytest.mark.parametrize("kind", TREES)
def test_predictions_change_at_the_thresholds_and_nowhere_else(kind, rng):
    X, y = data(rng)
    teacher = TREES[kind]().fit(X, y)
    found = teacher_thresholds(teacher, 4)
    assert set(found) >= {0, 1, 2}
    total = 0
    changed = {0: set(), 1: set(), 2: set(), 3: set()}
    for j in range(4):
        values, gains = found.get(j, (np.empty(0), np.empty(0)))
        assert (np.diff(values) > 0).all() and (gains >= 0).all() and len(values) == len(gains)
        total += gains.sum()
        # Along one feature, from a hundred rows: between neighbouring thresholds nothing
        # happens; at each some row's answer changes.
        ends = np.concatenate([[-1e6], values, [1e6]])
        inside = (ends[1:] + ends[:-1]) / 2
        near_low = ends[:-1] + 1e-3 * (ends[1:] - ends[:-1])
        answers = []
        for points in (inside, near_low):
            rows = np.repeat(X[:100], len(points), axis=0)
            rows[:, j] = np.tile(points, 100)
            answers.append(teacher.predict(rows).reshape(100, -1))
        if len(values) and np.diff(values).min(initial=1) > 1e-3:
            np.testing.assert_allclose(answers[0], answers[1], atol=1e-12)
        changed[j] = np.abs(np.diff(answers[0], axis=1)).max(axis=0, initial=0) > 1e-12
        if len(values):
            assert changed[j].mean() > 0.8
    assert total == pytest.approx(1)
    gains = [found[j][1].sum() if j in found else 0 for j in range(4)]
    assert int(np.argmax(gains)) in (0, 1) and gains[3] < 0.1
    at = found[0][0][np.argmax(found[0][1])]
    assert abs(at - 0.3) < 0.35 if kind == "extra trees" else abs(at - 0.3) < 0.1


def test_classifiers_of_several_classes(rng):
    X, y = data(rng)
    labels = np.digitize(y, [1, 2.5])
    for teacher in (
        lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1),
        xgboost.XGBClassifier(n_estimators=3, n_jobs=1),
        ensemble.GradientBoostingClassifier(n_estimators=3),
        ensemble.HistGradientBoostingClassifier(max_iter=3),
        ensemble.RandomForestClassifier(3),
        tree.DecisionTreeClassifier(),
    ):
        found = teacher_thresholds(teacher.fit(X, labels), 4)
        values, gains = found[0]
        near = np.abs(values - 0.3) < 0.2
        assert gains[near].sum() > 0.3 * gains.sum()
        assert sum(gains.sum() for _, gains in found.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", TREES)
def test_columns_are_matched_by_name(kind, rng):
    X, y = data(rng)
    frame = pd.DataFrame(X, columns=NAMES)
    named, plain = TREES[kind]().fit(frame, y), TREES[kind]().fit(X, y)
    expected = teacher_thresholds(plain, 4)
    assert teacher_thresholds(named, NAMES).keys() == expected.keys()
    some = teacher_thresholds(named, ["age", "in come"])
    for own, theirs in ((0, 2), (1, 0)):
        for mine, other in zip(some[own], expected[theirs], strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-9)
    assert set(some) == {0, 1}
    # Without names on one side, by place.
    by_place = teacher_thresholds(plain, NAMES)
    np.testing.assert_array_equal(by_place[2][0], expected[2][0])
    assert teacher_thresholds(named, 4).keys() == expected.keys()
    with pytest.raises(ValueError, match="features must be columns of the teacher, which has"):
        teacher_thresholds(named, ["age", "height"])
    with pytest.raises(ValueError, match="it has 4, the student 3"):
        teacher_thresholds(plain, 3)


def test_categories_are_left_out_and_do_not_move_the_others(rng):
    X, y = data(rng)
    y = y + 3 * (X[:, 1] % 2)
    frame = pd.DataFrame(X, columns=NAMES)
    frame["late"] = frame["late"].astype(int).astype("category")
    for teacher in (
        lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=5, n_jobs=1, verbose=-1),
        xgboost.XGBRegressor(n_estimators=5, enable_categorical=True, n_jobs=1),
        ensemble.HistGradientBoostingRegressor(max_iter=5, categorical_features="from_dtype"),
    ):
        found = teacher_thresholds(teacher.fit(frame, y), NAMES)
        assert 1 not in found and {0, 2} <= set(found)
        assert found[2][0].min() > 20 and np.abs(found[0][0]).max() < 5


def test_boosters_and_lists_of_teachers(rng):
    X, y = data(rng)
    teachers = [make().fit(X, y) for make in TREES.values()]
    alone = [teacher_thresholds(teacher, 4)[2] for teacher in teachers]
    values, gains = teacher_thresholds(teachers, 4)[2]
    np.testing.assert_array_equal(values, np.unique(np.concatenate([v for v, _ in alone])))
    assert gains.sum() == pytest.approx(np.mean([g.sum() for _, g in alone]))
    booster = teacher_thresholds(teachers[0].booster_, 4)
    np.testing.assert_array_equal(booster[2][0], alone[0][0])


def xgboost_table(booster):
    """{feature name: (values, shares of the gain)}, from XGBoost's own table of its nodes."""
    nodes = booster.trees_to_dataframe()
    nodes = nodes[(nodes["Feature"] != "Leaf") & nodes["Split"].notna()]  # NaN: on categories
    summed = nodes.groupby(["Feature", nodes["Split"].astype(np.float32)])["Gain"].sum()
    summed /= summed.sum()
    return {
        name: (values.index.get_level_values(1).to_numpy(), values.to_numpy())
        for name, values in summed.groupby(level=0)
    }


XGBOOST = {
    "exact": {"tree_method": "exact", "gamma": 1.0},
    "approx": {"tree_method": "approx"},
    "hist": {"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0},
    "dart": {"booster": "dart", "rate_drop": 0.5, "seed": 1},
    "categories": {"enable_categorical": True, "max_cat_to_onehot": 1},
    "codes": {"enable_categorical": True, "max_cat_to_onehot": 9},
    "parallel": {"num_parallel_tree": 3, "subsample": 0.5},
    "stopped": {"early_stopping_rounds": 1, "learning_rate": 1.0},
}


@pytest.mark.parametrize("kind", XGBOOST)
def test_xgboost_splits_are_those_of_its_own_table(kind, rng):
    X, y = data(rng)
    y = y + 3 * (X[:, 3] == 2)
    frame = pd.DataFrame(X, columns=NAMES)
    if "enable_categorical" in XGBOOST[kind]:
        frame["region"] = frame["region"].astype(int).astype("category")
    teacher = xgboost.XGBRegressor(n_estimators=6, max_depth=3, n_jobs=1, verbosity=0)
    teacher.set_params(**XGBOOST[kind])
    held_out = {"eval_set": [(frame, rng.permutation(y))]} if kind == "stopped" else {}
    booster = teacher.fit(frame, y, verbose=False, **held_out).get_booster()
    used = booster
    if kind == "stopped":
        assert teacher.best_iteration + 1 < booster.num_boosted_rounds()
        used = booster[: teacher.best_iteration + 1]
    expected = xgboost_table(used)
    found = teacher_thresholds(teacher, NAMES)
    assert {NAMES[j] for j in found} == set(expected)
    assert ("region" in expected) == ("enable_categorical" not in XGBOOST[kind])
    for j, (values, gains) in found.items():
        theirs, shares = expected[NAMES[j]]
        np.testing.assert_array_equal(np.nextafter(values.astype(np.float32), np.inf), theirs)
        np.testing.assert_allclose(gains, shares, rtol=1e-4)
    whole = teacher_thresholds(booster, NAMES)  # a Booster answers with all of its trees
    assert sum(len(values) for values, _ in whole.values()) == sum(
        len(values) for values, _ in xgboost_table(booster).values()
    )


def test_xgboost_trees_of_several_outputs(rng):
    X, y = data(rng)
    teacher = xgboost.XGBRegressor(
        n_estimators=3, max_depth=3, n_jobs=1, multi_strategy="multi_output_tree"
    )
    booster = teacher.fit(X, np.column_stack([y, -X[:, 2]])).get_booster()
    splits = re.findall(r"\[f(\d)<([^\]]+)\]", "".join(booster.get_dump()))
    assert len(splits) > 10
    for j, (values, _) in teacher_thresholds(teacher, 4).items():
        theirs = np.unique([float(at) for own, at in splits if own == str(j)]).astype(np.float32)
        np.testing.assert_array_equal(np.nextafter(values.astype(np.float32), np.inf), theirs)


def test_an_edge_of_xgboost_parts_the_rows_that_its_split_parts(rng):
    X = rng.poisson(2.0, (300, 1)).astype(np.float64)
    teacher = xgboost.XGBRegressor(n_estimators=1, max_depth=1).fit(X, X[:, 0] >= 2)
    ((values, _),) = teacher_thresholds(teacher, 1).values()
    (edge,) = values
    at = np.float32(edge)
    rows = np.array([[1], [at], [np.nextafter(at, np.float32(9))], [2]], np.float32)
    answers = teacher.predict(rows)
    assert answers[0] == answers[1] < answers[2] == answers[3]


def test_students_take_edges_from_xgboost(rng):
    X, y = data(rng, 1500)
    frame = pd.DataFrame(X, columns=NAMES)
    teacher = xgboost.XGBClassifier(n_estimators=10, n_jobs=1).fit(frame, y > 2)
    student = farthing.Classifier((8,), edges="teacher", n_bins=8, max_epochs=2, random_state=0)
    student = farthing.distill(teacher, frame, y > 2, student=student, columns=["age", "in come"])
    found = teacher_thresholds(teacher, ["age", "in come"])
    for j, edges in enumerate(student.model_.encoder.edges_):
        assert len(edges) > 5
        assert np.isin(edges[1:-1], found[j][0].astype(np.float32)).all()


def test_a_teacher_that_never_splits_gives_nothing(rng):
    X, _ = data(rng)
    assert teacher_thresholds(tree.DecisionTreeRegressor().fit(X, np.ones(400)), 4) == {}


@pytest.mark.parametrize(
    "teacher",
    [
        linear_model.LinearRegression(),
        ensemble.RandomForestRegressor(),
        lightgbm.LGBMRegressor(),
        xgboost.XGBRegressor(),
        xgboost.Booster(),
        xgboost.XGBRegressor(n_estimators=2, booster="gblinear"),
        ensemble.BaggingRegressor(linear_model.LinearRegression(), n_estimators=2),
        lambda X: X[:, 0],
        np.zeros(3),
    ],
    ids=[
        *("linear", "unfitted forest", "unfitted lightgbm", "unfitted xgboost"),
        *("untrained booster", "linear xgboost", "bagging", "function", "array"),
    ],
)
def test_other_teachers_are_refused(teacher, rng):
    if isinstance(teacher, ensemble.BaggingRegressor) or "gblinear" in str(teacher):
        teacher = teacher.fit(*data(rng))
    with pytest.raises(TypeError, match=r"teacher must be a fitted LightGBM .* a list of these"):
        teacher_thresholds(teacher, 4)


@pytest.mark.parametrize("features", ["age", [1, 2], 2.5])
def test_bad_features_are_named(features):
    with pytest.raises(TypeError):
        teacher_thresholds([], features)


def test_the_encoder_takes_them(rng):
    X, y = data(rng)
    teacher = TREES["lightgbm"]().fit(X, y)
    found = teacher_thresholds(teacher, 4)
    encoder = PiecewiseLinearEncoder(8, candidates=found).fit(X)
    inner = encoder.edges_[2][1:-1]
    assert len(inner) and np.isin(inner, found[2][0].astype(np.float32)).all()
