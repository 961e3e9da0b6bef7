"""Scorer: classes, decisions, and the values of regressions."""

import subprocess
import sys

import files
import numpy as np
import pytest

import farthing
from farthing import Scorer


@pytest.fixture
def x(rng):
    return rng.normal(size=(20, 3)).astype(np.float32)


@pytest.mark.parametrize("positive", ["bad", "good"])
def test_two_classes(x, positive):
    scorer = Scorer(
        files.with_target(
            kind="binary", classes=["bad", "good"], positive=positive, decision_threshold=0.3
        ).dumps()
    )
    p = scorer.predict(x)
    proba = scorer.predict_proba(x)
    column = ["bad", "good"].index(positive)
    assert (proba.shape, proba.dtype) == ((20, 2), np.float32)
    np.testing.assert_array_equal(proba[:, column], p)
    np.testing.assert_array_equal(proba[:, 1 - column], 1 - p)
    np.testing.assert_array_equal(scorer.predict_proba(x[0]), proba[:1])
    np.testing.assert_array_equal(scorer.decide(x) == positive, p >= 0.3)
    assert 0 < (p >= 0.3).sum() < 20
    assert [scorer.decide(row) for row in x] == scorer.decide(x).tolist()
    assert (scorer.classes, scorer.positive) == (["bad", "good"], positive)
    assert scorer.decide(x[:0]).shape == (0,)
    assert scorer.predict_proba(x[:0]).shape == (0, 2)


def test_a_score_on_the_threshold_is_positive(x):
    at = float(Scorer(files.logistic().dumps()).predict(x[0]))
    target = {**files.BINARY, "decision_threshold": at}
    assert Scorer(files.with_target(**target).dumps()).decide(x[0]) == 1
    target["decision_threshold"] = np.nextafter(at, 1)
    assert Scorer(files.with_target(**target).dumps()).decide(x[0]) == 0


def test_one_decision_does_not_need_numpy(tmp_path):
    path = tmp_path / "model.farthing"
    path.write_bytes(files.logistic(2).dumps())
    code = (
        "import sys, farthing\n"
        f"decision = farthing.load({str(path)!r}).decide([0.5, -1.0])\n"
        "assert decision in (0, 1) and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_three_classes(x):
    scorer = Scorer(files.with_target(3, kind="multiclass", classes=[10, 20, 30]).dumps())
    proba = scorer.predict_proba(x)
    np.testing.assert_array_equal(proba, scorer.predict(x))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    assert scorer.decide(x).tolist() == [[10, 20, 30][i] for i in proba.argmax(axis=1)]
    assert [scorer.decide(row) for row in x] == scorer.decide(x).tolist()
    assert scorer.predict_proba(x[0]).shape == (1, 3)
    assert scorer.positive is None


def test_decision_weights(x):
    weights = [1, 2.5, 1e-300]
    target = {"kind": "multiclass", "classes": ["a", "b", "c"], "decision_weights": weights}
    scorer = Scorer(files.with_target(3, **target).dumps())
    proba = scorer.predict(x).astype(np.float64)
    expected = [["a", "b", "c"][i] for i in (proba * weights).argmax(axis=1)]
    assert expected != [["a", "b", "c"][i] for i in proba.argmax(axis=1)]
    assert scorer.decide(x).tolist() == [scorer.decide(row) for row in x] == expected
    assert scorer.describe()["target"]["decision_weights"] == weights


def test_the_first_of_equals_is_decided():
    target = {"kind": "multiclass", "classes": [7, 8, 9], "decision_weights": [1, 2, 2]}
    parts = files.logistic(3, 3, "softmax", target=target)
    dict(parts.tensors)["dense0.weight"][:] = 0
    dict(parts.tensors)["dense0.bias"][:] = 0
    assert Scorer(parts.dumps()).decide([1, 2, 3]) == 8


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regression_behind_exp(x, outputs):
    parts = files.logistic(3, outputs, "log", target={"kind": "regression"})
    scorer = Scorer(parts.dumps())
    expected = files.logistic_scores(parts, x).reshape(scorer.predict(x).shape)
    np.testing.assert_allclose(scorer.predict(x), expected, rtol=1e-5)
    np.testing.assert_array_equal(scorer.decide(x), scorer.predict(x))
    assert scorer.describe()["link"] == "log"
    with pytest.raises(ValueError, match="predict_proba needs a classifier"):
        scorer.predict_proba(x)


def test_a_regression(x):
    scorer = Scorer(files.with_target(kind="regression").dumps())
    np.testing.assert_array_equal(scorer.decide(x), scorer.predict(x))
    assert scorer.decide(x[0]) == scorer.predict(x[0])
    assert scorer.classes is None
    assert scorer.positive is None
    with pytest.raises(ValueError, match="predict_proba needs a classifier"):
        scorer.predict_proba(x)


def test_an_integer_model_of_large_values(isa, rng, tmp_path):
    x = rng.normal(size=(300, 3))
    y = 1e9 + 1e8 * x[:, 0]
    line = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(x, y)
    farthing.quantize(line, x).save(tmp_path / "large.farthing")
    scorer = farthing.load(tmp_path / "large.farthing")
    assert scorer.describe()["layers"][0]["bits"] == 8
    assert np.abs(scorer.predict(x) - y).max() < 0.5e8
