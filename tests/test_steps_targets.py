"""Steps on several classes and class-weighted models, and rows of no weight in them."""

from types import SimpleNamespace

import classes
import credit
import numpy as np
import pytest
from classes import teach
from scipy.special import softmax

import farthing
from farthing import fitting, steps

QUICK = {"hidden": (8,), "max_epochs": 6, "random_state": 0}
ONE_EPOCH = {"epochs": 1, "augment": 0}


def three():
    X, y = classes.data()
    return X, classes.NAMES[y]


def pruned(model, *data, **arguments):
    return farthing.prune(model, *data, sparsity=0.5, schedule="cubic", **ONE_EPOCH, **arguments)


def trained_int8(model, *data, **arguments):
    return farthing.quantize(model, *data, training="qat", **ONE_EPOCH, **arguments)


@pytest.fixture(params=[pruned, trained_int8], ids=["prune", "quantize"])
def step(request):
    return request.param


@pytest.fixture(scope="module")
def model():
    X, y = three()
    return farthing.Classifier(**QUICK).fit(X, y)


@pytest.fixture
def trainings(monkeypatch):
    """What every training was given; it trains all the same."""
    seen = []
    for module in (fitting, steps):
        original = module.train

        def spy(model, X, target, *, original=original, **options):
            search = options["validation"] or (None, None, None)
            one = {"rows": X.copy(), "target": np.array(target), "search": search[0]}
            seen.append(SimpleNamespace(**one, weight=options["sample_weight"]))
            return original(model, X, target, **options)

        monkeypatch.setattr(module, "train", spy)
    return seen


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
@pytest.mark.parametrize("soft", [False, True])
def test_targets_are_blended_class_by_class(alpha, soft, step, model, trainings):
    X, y = three()
    known = teach(X) if soft else y
    after = step(model, X, known, alpha=alpha, validation=(X, known))
    said = model.predict_proba(X).astype(float)
    coded = teach(X) if soft else np.eye(3)[np.unique(y, return_inverse=True)[1]]
    np.testing.assert_allclose(trainings[0].target, alpha * said + (1 - alpha) * coded, atol=1e-6)
    assert np.array_equal(after.classes_, model.classes_)


def test_a_chain_keeps_the_search_rows_of_fit(step, trainings):
    X, y = three()
    model = farthing.Classifier(**QUICK).fit(X, y)
    step(step(model, X, y), X, y)
    fit, *later = trainings
    for training in later:
        np.testing.assert_array_equal(training.search, fit.search)
    X, y = credit.data()
    model = farthing.Classifier(**QUICK).fit(X, y)
    step(model.set_params(positive=0), X, y)  # the other side, the same rows
    np.testing.assert_array_equal(trainings[-1].search, trainings[-2].search)


def test_recalibration_restores_the_shares(model):
    X, y = three()
    moved, restored = (
        farthing.prune(model, X, y, sparsity=0.8, validation=(X, y), calibrate=calibrate)
        for calibrate in (False, True)
    )
    before, after, plain = (m.predict_proba(X).mean(axis=0) for m in (model, restored, moved))
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert np.abs(plain - before).max() > 0.02


def test_it_stays_near_the_model_before_and_equals_its_file(step, model, tmp_path):
    X, y = three()
    after = step(model, X, y)
    assert np.mean(after.predict(X) == model.predict(X)) > 0.85
    after.save(tmp_path / "m.farthing")
    scorer = farthing.load(tmp_path / "m.farthing")
    assert np.array_equal(scorer.predict(X), after.predict_proba(X))
    assert np.array_equal(scorer.decide(X), after.predict(X))


@pytest.mark.parametrize("kind", ["labels", "probabilities", "nothing"])
def test_a_model_without_classes_counts_them_from_0(kind, step, model):
    X, y = three()
    codes = np.unique(y, return_inverse=True)[1]
    known = {"labels": codes, "probabilities": teach(X), "nothing": None}[kind]
    after = step(model.model_, X, known, alpha=0.5)
    assert type(after) is farthing.Model and after.link == "softmax"
    p = softmax(after.forward(X), axis=1)
    assert np.mean(p.argmax(axis=1) == model.predict_proba(X).argmax(axis=1)) > 0.8
    with pytest.raises(ValueError, match=r"y must hold the classes \[0, 1, 2\], got 3"):
        step(model.model_, X, codes + 1)


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (teach(three()[0])[:, :2], r"y must have 3 probabilities, .* got shape \(4000, 2\)"),
        (teach(three()[0]) * 2, "y must hold probabilities, got values outside"),
        (teach(three()[0]) / 2, "y must hold probabilities that add up to 1 .* in row 0"),
        (np.full(4000, "gone"), "y must hold the classes .*, got 'gone'"),
    ],
)
def test_wrong_targets_are_named(known, says, step, model):
    with pytest.raises(ValueError, match=says):
        step(model, three()[0], known)


@pytest.mark.parametrize("several", [False, True])
def test_class_weights_decide_after_a_step_as_before(several, step, tmp_path):
    X, y = three()
    if not several:
        y = np.where(y == "lost", 1, 0)
    model = farthing.Classifier(class_weight="balanced", **QUICK).fit(X, y)
    after = step(model, X, y)
    shares = np.unique(y, return_counts=True)[1] / len(y)
    np.testing.assert_allclose(after.predict_proba(X).mean(axis=0), shares, atol=0.02)
    assert np.array_equal(after.class_weight_, model.class_weight_)
    assert np.mean(after.predict(X) == model.predict(X)) > 0.8
    after.save(tmp_path / "m.farthing")
    assert np.array_equal(farthing.load(tmp_path / "m.farthing").decide(X), after.predict(X))


def test_rows_of_no_weight_count_as_absent(step, model):
    X, y = three()
    weight = np.where(np.arange(4000) % 3 > 0, 1.5, 0.0)
    kept, groups = weight > 0, np.arange(4000) // 4
    ours = step(model, X, y, sample_weight=weight, groups=groups, alpha=0.5)
    theirs = step(
        model, X[kept], y[kept], sample_weight=weight[kept], groups=groups[kept], alpha=0.5
    )
    assert np.array_equal(ours.predict_proba(X), theirs.predict_proba(X))
