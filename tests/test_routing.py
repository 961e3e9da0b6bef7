"""scikit-learn's metadata routing: weights and groups through its meta-estimators."""

import copy
import pickle
import subprocess
import sys

import credit
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.metadata_routing import get_routing_for_object

import farthing

SMALL = {"hidden": (4,), "max_epochs": 2, "random_state": 0}
KINDS = pytest.mark.parametrize("kind", [farthing.Classifier, farthing.Regressor])


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def weighted_data():
    X, y = credit.data()
    return X, y, np.random.default_rng(0).uniform(0.1, 3, len(y))


@KINDS
def test_a_pipeline_scores(kind):
    X, y = credit.data()
    pipeline = make_pipeline(FunctionTransformer(), kind(**SMALL)).fit(X, y)
    assert pipeline.score(X, y) == kind(**SMALL).fit(X, y).score(X, y)


@KINDS
def test_a_pipeline_hands_weights_on_where_they_are_requested(kind):
    X, y, weight = weighted_data()
    own = kind(**SMALL).set_fit_request(sample_weight="w").set_score_request(sample_weight=True)
    pipeline = make_pipeline(FunctionTransformer(), own).fit(X, y, w=weight)
    alone = kind(**SMALL).fit(X, y, weight)
    assert np.array_equal(pipeline.predict(X), alone.predict(X))
    assert not np.array_equal(alone.predict(X), kind(**SMALL).fit(X, y).predict(X))
    assert (
        pipeline.score(X, y, sample_weight=weight) == alone.score(X, y, weight) != alone.score(X, y)
    )


def test_weights_that_nobody_asked_about_are_an_error():
    X, y, weight = weighted_data()
    pipeline = make_pipeline(farthing.Classifier(**SMALL))
    with pytest.raises(ValueError, match="not explicitly set as requested or not requested"):
        pipeline.fit(X, y, sample_weight=weight)


def test_a_grid_search_hands_weights_to_fit_and_score():
    X, y, weight = weighted_data()
    own = farthing.Classifier(**SMALL)
    own.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(own, {"l2": [0.0, 0.5]}, cv=GroupKFold(2))
    own.set_fit_request(groups=False)
    groups = np.arange(len(y)) // 2
    search.fit(X, y, sample_weight=weight, groups=groups)
    expected = []
    for fit, held_out in GroupKFold(2).split(X, y, groups):
        model = farthing.Classifier(**SMALL, l2=0.5).fit(X[fit], y[fit], weight[fit])
        expected.append(model.score(X[held_out], y[held_out], weight[held_out]))
    got = [search.cv_results_[f"split{i}_test_score"][1] for i in range(2)]
    assert got == expected
    best = farthing.Classifier(**SMALL, **search.best_params_).fit(X, y, weight)
    assert np.array_equal(search.predict_proba(X), best.predict_proba(X))


def test_groups_reach_the_splitter_and_fit():
    X, y, _ = weighted_data()
    seen = []

    class Seen(farthing.Classifier):
        def fit(self, X, y, sample_weight=None, *, eval_set=None, groups=None):
            seen.append(groups)
            return super().fit(X, y, sample_weight, eval_set=eval_set, groups=groups)

    groups = np.arange(len(y)) // 3
    model = Seen().set_params(**SMALL).set_fit_request(groups=True)
    cross_validate(model, X, y, cv=GroupKFold(2), params={"groups": groups})
    splits = GroupKFold(2).split(X, y, groups)
    for own, (fit, _) in zip(seen, splits, strict=True):
        assert np.array_equal(own, groups[fit])


def requests(model):
    routing = get_routing_for_object(model)
    return {method: getattr(routing, method).requests for method in ("fit", "score")}


@KINDS
def test_clones_and_copies_keep_their_requests(kind):
    unset = {
        "fit": {"sample_weight": None, "eval_set": None, "groups": None},
        "score": {"sample_weight": None},
    }
    assert requests(kind()) == requests(clone(kind())) == unset
    model = kind().set_fit_request(sample_weight=True, groups=False)
    model.set_score_request(sample_weight="w").set_fit_request(eval_set=True)
    asked = {
        "fit": {"sample_weight": True, "eval_set": True, "groups": False},
        "score": {"sample_weight": "w"},
    }
    others = [clone(model), copy.copy(model), copy.deepcopy(model)]
    others.append(pickle.loads(pickle.dumps(model)))
    assert all(requests(other) == asked for other in others)
    model.set_fit_request(sample_weight=False).set_score_request(sample_weight=None)
    assert all(requests(other) == asked for other in others)
    assert requests(model)["fit"]["sample_weight"] is False
    assert requests(model)["score"]["sample_weight"] is None
    assert model.get_params() == kind().get_params()


def test_requests_are_checked():
    model = farthing.Classifier()
    with pytest.raises(TypeError, match=r"score can be handed .*'sample_weight'.* for 'groups'"):
        model.set_score_request(groups=True)
    with pytest.raises(ValueError, match="`groups`"):
        model.set_fit_request(sample_weight=True, groups=3)
    assert requests(model) == requests(farthing.Classifier())
    with (
        sklearn.config_context(enable_metadata_routing=False),
        pytest.raises(RuntimeError, match="set_fit_request needs metadata routing"),
    ):
        model.set_fit_request(sample_weight=True)


def test_neither_fit_nor_a_pickle_with_requests_loads_scikit_learn(tmp_path):
    X, y = credit.data()
    model = farthing.Classifier(**SMALL).set_fit_request(sample_weight=True).fit(X, y)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    code = f"""
import pickle, sys
with open({str(tmp_path / "model.pickle")!r}, "rb") as file:
    model = pickle.load(file)
model.fit([[0.0], [1.0]] * 20, [0, 1] * 20)
print("sklearn" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
