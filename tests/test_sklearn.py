"""The estimators inside scikit-learn's own tools."""

import credit
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import farthing


def small(**parameters):
    parameters = {"hidden": (8,), "max_epochs": 3, "random_state": 0, **parameters}
    return farthing.Classifier(**parameters)


def test_calibrated_classifier_wraps_a_fitted_and_an_unfitted_one():
    X, y = credit.data()
    outer = CalibratedClassifierCV(small(), method="sigmoid", cv=3).fit(X, y)
    assert farthing.metrics.auc(y, outer.predict_proba(X)[:, 1]) > 0.7
    fitted = small().fit(X, y)
    frozen = CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid").fit(X, y)
    # A sigmoid of the probability is monotone: the order of the rows is the model's own.
    inner, wrapped = fitted.predict_proba(X)[:, 1], frozen.predict_proba(X)[:, 1]
    assert farthing.metrics.auc(y, wrapped) == pytest.approx(
        farthing.metrics.auc(y, inner), abs=1e-6
    )


def test_grid_search_over_a_pipeline():
    X, y = credit.data()
    pipeline = make_pipeline(FunctionTransformer(), small())
    grid = {"classifier__hidden": [(4,), (8,)], "classifier__l2": [0.0, 0.5]}
    search = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.7
    best = clone(search.best_estimator_).fit(X, y)
    assert np.array_equal(best.predict_proba(X), search.best_estimator_.predict_proba(X))


def test_cross_validation_with_scorers_and_weights():
    X, y = credit.data()
    scores = cross_validate(
        small(), X, y, cv=StratifiedKFold(3), scoring=["neg_log_loss", "roc_auc", "accuracy"]
    )
    assert (scores["test_roc_auc"] > 0.65).all()
    assert (scores["test_neg_log_loss"] > -0.65).all()


def test_in_ensembles():
    X, y = credit.data()
    voting = VotingClassifier([("a", small()), ("b", small(random_state=1))], voting="soft")
    stacking = StackingClassifier([("a", small())], LogisticRegression(), cv=2)
    bagging = BaggingClassifier(small(), n_estimators=2, random_state=0)
    for ensemble in (voting, stacking, bagging):
        proba = ensemble.fit(X, y).predict_proba(X)
        assert farthing.metrics.auc(y, proba[:, 1]) > 0.7


def test_regressor_behind_a_target_transform():
    X, _ = credit.data()
    y = np.exp(0.5 * X[:, 1] + X[:, 3] / 50)
    inner = farthing.Regressor(hidden=(8,), max_epochs=5, random_state=0)
    outer = TransformedTargetRegressor(inner, func=np.log, inverse_func=np.exp).fit(X, y)
    assert outer.score(X, y) > 0.8


def test_permutation_importance_finds_the_columns_that_count():
    X, y = credit.data()
    model = small(max_epochs=6).fit(X, y)
    importance = permutation_importance(model, X, y, scoring="roc_auc", random_state=0)
    mean = dict(zip(credit.FEATURES, importance.importances_mean, strict=True))
    assert max(mean, key=mean.get) == "late"
    assert mean["noise"] < 0.2 * mean["late"]
