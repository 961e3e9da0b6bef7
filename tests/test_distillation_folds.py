"""Out-of-fold labels: who labels what, what the clones keep, and the warning of memory."""

import warnings

import credit
import numpy as np
import pytest

import farthing
from farthing.distillation.out_of_fold import FoldTeachers, unfitted
from farthing.splitting import folds

lightgbm = pytest.importorskip("lightgbm")
QUICK = {"hidden": (8,), "augment": 0, "random_state": 0}


class Memory:
    """A teacher that is sure of the labels of the rows it was fitted on, and says 0.5 of others."""

    def __init__(self, sureness=0.99):
        self.sureness = sureness

    def get_params(self, deep=True):
        return {"sureness": self.sureness}

    def fit(self, X, y):
        self.seen = {tuple(np.asarray(row)): label for row, label in zip(X, y, strict=True)}
        return self

    def predict(self, X):
        known = [self.seen.get(tuple(np.asarray(row))) for row in X]
        says = {None: 0.5, 0: 1 - self.sureness, 1: self.sureness}
        return np.array([says[label] for label in known])


def rows(n=600):
    X, y = credit.data()
    X = np.nan_to_num(X[:n], nan=-1.0)
    return X, y[:n]


# ---- the folds ----------------------------------------------------------------------------------


def test_folds_share_out_rows_strata_and_groups():
    rng = np.random.default_rng(0)
    strata = (rng.random(503) < 0.1).astype(int)
    fold = folds(503, 5, strata, seed=1)
    assert set(np.bincount(fold)) <= {100, 101}
    assert set(np.bincount(fold[strata == 1])) <= {strata.sum() // 5, strata.sum() // 5 + 1}
    assert (folds(503, 5, strata, seed=2) != fold).any()
    groups = rng.integers(0, 60, 503)
    fold = folds(503, 5, None, groups, seed=1)
    assert all(len(set(fold[groups == g])) == 1 for g in range(60))
    assert np.ptp(np.bincount(fold)) < 20
    for n, group in ((4, None), (20, np.arange(20) % 3)):
        with pytest.raises(ValueError, match="but 5 parts need 5 or more"):
            folds(n, 5, None, group)


def test_no_row_is_labelled_by_a_teacher_that_has_seen_it():
    X, y = rows()
    teachers = FoldTeachers(
        Memory().fit(X, y),
        X,
        y,
        weight=None,
        strata=y,
        groups=None,
        classes=None,
        seed=0,
        refit=None,
    )
    assert (teachers.ask(X, np.arange(len(X))) == 0.5).all()
    # Others than its own member know a row.
    away = np.roll(np.arange(len(X)), 1)
    assert (teachers.ask(X, away) != 0.5).mean() > 0.5


def test_groups_are_labelled_by_teachers_without_any_of_their_rows():
    X, y = rows()
    X = np.repeat(X[:120], 5, axis=0)  # five equal rows a group
    y, groups = np.repeat(y[:120], 5), np.repeat(np.arange(120), 5)
    arguments = {"weight": None, "strata": y, "classes": None, "seed": 0, "refit": None}
    apart = FoldTeachers(Memory(), X, y, groups=groups, **arguments)
    assert (apart.ask(X, np.arange(600)) == 0.5).all()
    mixed = FoldTeachers(Memory(), X, y, groups=None, **arguments)
    assert (mixed.ask(X, np.arange(600)) != 0.5).mean() > 0.9


def test_copies_are_labelled_by_the_teacher_without_their_row(monkeypatch):
    X, y = rows()
    asked = []
    original = FoldTeachers.ask

    def spy(self, table, places):
        asked.append((len(table), places.copy()))
        return original(self, table, places)

    monkeypatch.setattr(FoldTeachers, "ask", spy)
    farthing.distill(
        Memory().fit(X, y), X, y, teacher_labels="out-of-fold", **QUICK | {"augment": 2}
    )
    assert len(asked) == 3
    for count, places in asked[1:]:  # under 1,000 rows all are fitted on
        assert count == 600 and np.array_equal(places, np.arange(600))


def test_what_a_memory_teaches():
    """Its labels as given are y itself; out of fold it says nothing."""
    X, y = rows()
    teacher = Memory().fit(X, y)
    given = farthing.distill(teacher, X, y, alpha=1.0, **QUICK)
    apart = farthing.distill(teacher, X, y, alpha=1.0, teacher_labels="out-of-fold", **QUICK)
    assert np.ptp(given.predict_proba(X)[:, 1]) > 0.3
    assert np.ptp(apart.predict_proba(X)[:, 1]) < 0.05


# ---- what is refitted ---------------------------------------------------------------------------


def stopped(kind):
    """A model that has stopped early, and how many rounds it has kept."""
    X, y = rows(2000)
    if kind == "lightgbm":
        model = lightgbm.LGBMClassifier(n_estimators=500, num_leaves=15, n_jobs=1, verbose=-1)
        stop = lightgbm.early_stopping(5, verbose=False)
        model.fit(X[:1500], y[:1500], eval_set=[(X[1500:], y[1500:])], callbacks=[stop])
        return model, model.best_iteration_, "n_estimators"
    if kind == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        model = xgboost.XGBClassifier(n_estimators=500, early_stopping_rounds=5, n_jobs=1)
        model.fit(X[:1500], y[:1500], eval_set=[(X[1500:], y[1500:])], verbose=False)
        return model, model.best_iteration + 1, "n_estimators"
    ensemble = pytest.importorskip("sklearn.ensemble")
    model = ensemble.HistGradientBoostingClassifier(
        max_iter=500, early_stopping=True, n_iter_no_change=5, random_state=0
    ).fit(X, y)
    return model, model.n_iter_, "max_iter"


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost", "sklearn"])
def test_clones_keep_the_rounds_that_a_teacher_stopped_at(kind):
    model, rounds, name = stopped(kind)
    assert 1 < rounds < 500
    clone = unfitted(model)
    X, y = rows()
    clone.fit(X, y)  # without an eval_set
    assert clone.get_params()[name] == rounds and type(clone) is type(model)
    again = unfitted(lightgbm.LGBMClassifier(n_estimators=7, verbose=-1).fit(X, y))
    assert again.get_params()["n_estimators"] == 7


def test_other_names_of_rounds_do_not_bring_them_back():
    X, y = rows(2000)
    model = lightgbm.LGBMClassifier(
        num_iterations=200, early_stopping_round=5, n_jobs=1, verbose=-1
    )
    model.fit(X[:1500], y[:1500], eval_set=[(X[1500:], y[1500:])])
    assert 1 < model.best_iteration_ < 200
    clone = unfitted(model).fit(X, y)
    assert clone.booster_.num_trees() == model.best_iteration_


class CatBoostClassifier:
    """As CatBoost's: it has kept fewer trees, and names only the parameters that were set."""

    tree_count_ = 12

    def __init__(self, **parameters):
        self.parameters = parameters

    def get_params(self, deep=True):
        return dict(self.parameters)

    def fit(self, X, y):
        return self


def test_parameters_that_were_never_set_are_set():
    assert unfitted(CatBoostClassifier(depth=3, od_wait=5)).parameters == {
        "depth": 3,
        "iterations": 12,
    }


def test_refit_may_be_a_function_with_weights():
    X, y = rows()
    weight, calls = np.linspace(0, 2, len(y)), []

    def refit(X, y, sample_weight):
        calls.append((len(X), sample_weight.copy()))
        return lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(
            X, y, sample_weight=sample_weight
        )

    booster = refit(X, y, weight).booster_  # which cannot be cloned
    calls.clear()
    small = farthing.distill(
        booster, X, y, teacher_labels="out-of-fold", refit=refit, sample_weight=weight, **QUICK
    )
    assert len(calls) == 5 and sum(n for n, _ in calls) == 4 * (len(y) - 1)  # one weighs nothing
    assert all(len(w) == n and w.min() > 0 for n, w in calls)
    assert farthing.metrics.auc(y, small.predict_proba(X)[:, 1]) > 0.6


@pytest.mark.parametrize("classes", [2, 3])
def test_clones_learn_the_codes_that_the_teacher_learnt(classes):
    """XGBoost names its classes 0, 1, ..., whatever the labels that y holds."""
    xgboost = pytest.importorskip("xgboost")
    X, _ = rows()
    code = np.digitize(X[:, 0], np.quantile(X[:, 0], np.arange(1, classes) / classes))
    text = np.array(["no", "so", "yes"])[code]
    teacher = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(X, code)
    arguments = {"teacher_labels": "out-of-fold"} | QUICK
    small = farthing.distill(teacher, X, text, **arguments)
    same = farthing.distill(teacher, X, code, **arguments)
    assert np.array_equal(small.predict_proba(X), same.predict_proba(X))
    pair = farthing.distill([teacher, teacher], X, text, **arguments)
    np.testing.assert_allclose(pair.predict_proba(X), small.predict_proba(X), atol=1e-6)


def test_too_few_groups_for_folds_are_named():
    X, y = rows()
    teacher = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(X, y)
    with pytest.raises(ValueError, match="must be 'given' for fewer than 5 groups, got 3"):
        farthing.distill(
            teacher, X, y, teacher_labels="out-of-fold", groups=np.arange(len(y)) % 3, **QUICK
        )


def test_a_class_that_one_fold_holds_alone_is_named():
    X, _ = rows(60)
    y = np.arange(60) == 7
    teacher = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(X, y)
    with pytest.raises(ValueError, match=r"'given' where a fifth of the rows .*, got class .*True"):
        farthing.distill(teacher, X, y, teacher_labels="out-of-fold", **QUICK)


def test_several_teachers_frames_and_values():
    pandas = pytest.importorskip("pandas")
    X, y = rows()
    frame = pandas.DataFrame(X, columns=list(credit.FEATURES))
    members = [
        lightgbm.LGBMClassifier(n_estimators=n, n_jobs=1, verbose=-1).fit(frame, y) for n in (3, 6)
    ]
    small = farthing.distill(members, frame, y, teacher_labels="out-of-fold", **QUICK)
    assert farthing.metrics.auc(y, small.predict_proba(frame)[:, 1]) > 0.6
    value = np.log(X[:, 0])
    regressor = lightgbm.LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1).fit(X, value)
    student = farthing.Regressor((8,), random_state=0)
    small = farthing.distill(
        regressor, X, value, student=student, teacher_labels="out-of-fold", augment=0
    )
    assert small.score(X, value) > 0.5


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"teacher_labels": "own"}, ValueError, "teacher_labels must be one of 'given', 'out-of-"),
        ({"refit": len}, ValueError, "refit must be None with teacher_labels='given'"),
        ({"refit": 3}, TypeError, "refit must be a function or None, got int"),
        ({"y": None}, ValueError, "y must be given with teacher_labels='out-of-fold', got None"),
        ({"teacher": lambda X: X[:, 0]}, TypeError, "teacher must have fit and get_params .* func"),
        ({"teacher": np.zeros(600)}, TypeError, "teacher must have fit and get_params .* ndarray"),
        ({"refit": lambda X, y: 1}, ValueError, "refit must give a fitted teacher, got int"),
        ({"refit": lambda X, y: None}, ValueError, "refit must give a fitted teacher, got NoneT"),
    ],
    ids=str,
)
def test_what_cannot_be_refitted_is_refused(arguments, kind, says):
    X, y = rows()
    given = {"teacher": Memory().fit(X, y), "y": y, "teacher_labels": "out-of-fold"} | arguments
    if says.startswith("refit must be None"):
        given["teacher_labels"] = "given"
    with pytest.raises(kind, match=says):
        farthing.distill(given.pop("teacher"), X, given.pop("y"), **given | QUICK)


# ---- memory -------------------------------------------------------------------------------------


def test_a_memory_is_warned_of_and_a_teacher_that_is_not_one_is_not():
    X, y = rows(1200)
    own, other = (X[:800], y[:800]), (X[800:], y[800:])
    memory = lightgbm.LGBMClassifier(
        n_estimators=300, num_leaves=63, min_child_samples=2, n_jobs=1, verbose=-1
    ).fit(*own)
    with pytest.warns(UserWarning, match="has memorised rows of X: its log-loss there is 0.0"):
        farthing.distill(memory, *own, validation=other, **QUICK)
    modest = lightgbm.LGBMClassifier(n_estimators=10, num_leaves=4, n_jobs=1, verbose=-1).fit(*own)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        farthing.distill(modest, *own, validation=other, **QUICK)
        farthing.distill(memory, *own, validation=other, teacher_labels="out-of-fold", **QUICK)
