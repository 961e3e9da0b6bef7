"""What prune and quantize share: the split, the targets, recalibration, kinds, refusals."""

import warnings
from types import SimpleNamespace

import credit
import numpy as np
import pandas as pd
import pytest

import farthing
from farthing import fitting, steps

QUICK = {"hidden": (6,), "max_epochs": 2, "random_state": 5}
ONE_EPOCH = {"epochs": 1, "augment": 0}


def pruned(model, *data, **arguments):
    return farthing.prune(model, *data, sparsity=0.5, schedule="cubic", **ONE_EPOCH, **arguments)


def trained_int8(model, *data, **arguments):
    return farthing.quantize(model, *data, training="qat", **ONE_EPOCH, **arguments)


STEPS = {"prune": pruned, "quantize": trained_int8}


@pytest.fixture(params=STEPS)
def step(request):
    return STEPS[request.param]


@pytest.fixture
def trainings(monkeypatch):
    """What every training was given, in order; it trains all the same."""
    credit.fitted()  # by whichever test comes first, but not among these
    seen = []
    for module in (fitting, steps):
        original = module.train

        def spy(model, X, target, *, original=original, **options):
            search = options["validation"] or (None, None, None)
            seen.append(
                SimpleNamespace(
                    rows=X.copy(),
                    target=np.array(target),
                    weight=options["sample_weight"],
                    search=search[0],
                    search_target=search[1],
                    search_weight=search[2],
                    max_epochs=options.get("max_epochs"),
                )
            )
            return original(model, X, target, **options)

        monkeypatch.setattr(module, "train", spy)
    return seen


def scores(model, X):
    return model.predict_proba(X)[:, 1].astype(np.float64)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_chain_of_steps_keeps_the_search_rows_of_fit(grouped, trainings):
    X, y = credit.data()
    groups = np.arange(3000) // 7 if grouped else None
    model = farthing.Classifier(**QUICK).fit(X, y, groups=groups)
    trained_int8(pruned(model, X, y, groups=groups), X, y, groups=groups)
    fit, *later = trainings
    assert len(later) == 2 and 250 < len(fit.search) < 350
    for training in later:
        np.testing.assert_array_equal(training.search, fit.search)
        np.testing.assert_array_equal(training.rows, fit.rows)
    order = {row.tobytes(): i for i, row in enumerate(X.astype(np.float32))}
    chosen = np.array([order[row.tobytes()] for row in fit.search])
    assert abs(y[chosen].mean() - y.mean()) < 0.02
    learnt = {order[row.tobytes()] for row in fit.rows}
    assert not learnt & set(chosen) and len(learnt) + len(chosen) == 3000
    if grouped:
        assert not set(groups[chosen]) & set(groups[sorted(learnt)])


def test_a_seed_of_its_own_draws_other_search_rows(step, trainings):
    X, y = credit.data()
    model = farthing.Classifier(**QUICK).fit(X, y)
    step(model, X, y, random_state=6)
    fit, later = trainings
    assert not np.array_equal(later.search, fit.search)


def test_under_a_thousand_rows_nothing_is_held_out(step, trainings):
    X, y = credit.data()
    step(credit.fitted(), X[:999], y[:999])
    assert trainings[0].search is None and len(trainings[0].rows) == 999


@pytest.mark.parametrize(("n", "augment", "epochs"), [(3000, 2, 6), (124, 2, 16), (30, 0, 192)])
def test_few_rows_are_trained_on_for_more_epochs(n, augment, epochs, trainings):
    """64 minibatches of 16 for each of the six that 1,024 rows are."""
    X, y = credit.data()
    farthing.prune(credit.fitted(), X[:n], y[:n], sparsity=0.5, schedule="cubic", augment=augment)
    assert trainings[-1].max_epochs == epochs


def test_validation_is_the_search_part_and_all_rows_are_learnt(step, trainings):
    X, y = credit.data()
    weight = np.linspace(1, 2, 1000)
    step(credit.fitted(), X[:2000], y[:2000], validation=(X[2000:], y[2000:], weight), alpha=0.25)
    (training,) = trainings
    np.testing.assert_array_equal(training.rows, X[:2000].astype(np.float32))
    np.testing.assert_array_equal(training.search, X[2000:].astype(np.float32))
    np.testing.assert_allclose(training.search_weight, weight, rtol=1e-6)
    expected = 0.25 * scores(credit.fitted(), X[2000:]) + 0.75 * y[2000:]
    np.testing.assert_allclose(training.search_target, expected, atol=1e-6)


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_the_target_is_blended_from_the_model_before_and_y(alpha, step, trainings):
    X, y = credit.data()
    step(credit.fitted(), X, y, alpha=alpha, validation=(X, y))
    expected = alpha * scores(credit.fitted(), X) + (1 - alpha) * y
    np.testing.assert_allclose(trainings[0].target, expected, atol=1e-6)


def test_without_y_the_model_before_is_all_there_is(step, trainings):
    X, _ = credit.data()
    step(credit.fitted(), X, alpha=0.3, validation=(X, None))
    np.testing.assert_allclose(trainings[0].target, scores(credit.fitted(), X), atol=1e-6)


def test_augmented_rows_are_labelled_by_the_model_before(trainings):
    X, y = credit.data()
    weight = np.linspace(1, 2, 3000)
    part = (X, y)
    farthing.quantize(
        credit.fitted(), X, y, training="qat", epochs=1, sample_weight=weight, validation=part
    )
    (training,) = trainings
    assert len(training.rows) == 9000
    np.testing.assert_allclose(
        training.target[3000:], scores(credit.fitted(), training.rows[3000:]), atol=1e-6
    )
    np.testing.assert_allclose(training.weight, np.tile(weight, 3), rtol=1e-6)


def test_rows_of_weight_zero_have_no_say(step):
    X, y = credit.data()
    weight = np.where(np.arange(3000) % 3 == 0, 0.0, 1.0)
    flipped = np.where(weight == 0, 1 - y, y)
    options = {"alpha": 0.3, "validation": (X[:500], y[:500])}
    ours, theirs, unweighted, counted = (
        step(credit.fitted(), X, labels, sample_weight=w, **options).predict_proba(X)
        for labels, w in ((y, weight), (flipped, weight), (y, None), (flipped, None))
    )
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(unweighted, counted)


@pytest.mark.parametrize("weighted", [False, True])
def test_recalibration_restores_the_level_before_the_step(weighted):
    X, y = credit.data()
    weight = np.where(y == 1, 4.0, 1.0) if weighted else None
    part = (X, y, weight) if weighted else (X, y)
    before = credit.fitted()
    level = np.average(scores(before, X), weights=weight)
    moved, restored = (
        farthing.prune(before, X, y, sparsity=0.8, validation=part, calibrate=calibrate)
        for calibrate in (False, True)
    )
    # A refitted intercept makes the mean of the predictions that of its target.
    assert abs(np.average(scores(moved, X), weights=weight) - level) > 0.01
    assert np.average(scores(restored, X), weights=weight) == pytest.approx(level, abs=1e-4)


def test_recalibration_of_a_regression_restores_level_and_spread():
    X, _ = credit.data()
    y = 1e4 * np.log(X[:, 0])
    before = farthing.Regressor(hidden=(8,), max_epochs=6, random_state=0).fit(X, y)
    after = farthing.prune(before, X, y, sparsity=0.6, validation=(X, y))
    said, now = before.predict(X).astype(np.float64), after.predict(X).astype(np.float64)
    assert np.polyfit(now, said, 1) == pytest.approx([1, 0], abs=0.1)
    assert now.mean() == pytest.approx(said.mean(), rel=1e-5)
    assert not np.allclose(now, said, rtol=1e-3)


def test_the_input_is_untouched(step):
    X, y = credit.data()
    model = farthing.Classifier(**QUICK).fit(X, y)
    before, answers = model.model_, model.predict_proba(X)
    kept = [(layer.weight.copy(), layer.bias.copy()) for layer in before.layers]
    after = step(model, X, y)
    assert after is not model and model.model_ is before and not before.is_quantized
    for layer, (weight, bias) in zip(before.layers, kept, strict=True):
        assert np.array_equal(layer.weight, weight) and np.array_equal(layer.bias, bias)
        assert layer.mask is None
    assert np.array_equal(model.predict_proba(X), answers)
    assert not np.array_equal(after.predict_proba(X), answers)
    assert after.get_params() == model.get_params()


@pytest.mark.parametrize("soft", [False, True])
def test_a_model_without_classes_takes_labels_and_probabilities(soft, step, trainings):
    X, y = credit.data()
    network = credit.fitted().model_
    target = 0.8 * y + 0.1 if soft else y
    after = step(network, X, target, alpha=0.5, validation=(X, target))
    assert type(after) is farthing.Model
    blended = 0.5 * scores(credit.fitted(), X) + 0.5 * target
    np.testing.assert_allclose(trainings[0].target, blended, atol=1e-6)
    assert farthing.metrics.auc(y, after.forward(X)[:, 0]) > 0.7


def test_a_model_with_values_takes_any_number(step):
    X, _ = credit.data()
    y = 1e4 * np.log(X[:, 0])
    model = farthing.Regressor(hidden=(8,), max_epochs=6, random_state=0).fit(X, y)
    after = step(model.model_, X, y)
    assert np.corrcoef(after.forward(X)[:, 0], y)[0, 1] > 0.9


def test_frames_pass_without_a_warning_and_only_with_their_own_columns(step):
    X, y = credit.data()
    frame = pd.DataFrame(X, columns=credit.FEATURES)
    model = farthing.Classifier(**QUICK).fit(frame, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, frame, y)
        step(model.model_, frame, y)
    turned = frame[list(reversed(credit.FEATURES))]
    with pytest.raises(ValueError, match="same order"):
        step(model, turned, y)
    with pytest.raises(ValueError, match="X must have the columns"):
        step(model.model_, turned, y)


X, Y = credit.data()


@pytest.mark.parametrize(
    ("given", "arguments", "error", "says"),
    [
        (farthing.Classifier(), {}, ValueError, "Classifier is not fitted"),
        (farthing.Classifier, {}, TypeError, "model must be a fitted .*, got type"),
        ("m.farthing", {}, TypeError, "model must be .*, got str"),
        (None, {"alpha": 1.5}, ValueError, r"alpha must be a number in \[0, 1\], got 1.5"),
        (None, {"alpha": "half"}, TypeError, "alpha must be a number"),
        (None, {"X": X[:, :4]}, ValueError, "X has 4 features, .* expecting 5"),
        (None, {"X": X[:0], "y": Y[:0]}, ValueError, "X must have rows"),
        (None, {"X": np.where(X == X[0, 3], np.inf, X)}, ValueError, "column 3 contains infinity"),
        (None, {"y": Y[:-1]}, ValueError, "y must have 3000 values, .*2999"),
        (None, {"y": Y + 1}, ValueError, r"y must hold the classes \[0, 1\], got 2"),
        (None, {"sample_weight": Y[:-1]}, ValueError, "sample_weight must have 3000 values"),
        (None, {"sample_weight": 0 - Y}, ValueError, "sample_weight must be finite and not neg"),
        (None, {"validation": (X[:0], Y[:0])}, ValueError, "validation must have rows, got none"),
        (None, {"validation": X}, ValueError, r"validation must be \(X, y\) or .*, got ndarray"),
        (None, {"validation": [(X, Y)]}, ValueError, r"validation must be .* list of length 1"),
        (None, {"validation": (X[:, :4], Y)}, ValueError, "validation has 4 features"),
        (None, {"validation": (X, Y[:-1])}, ValueError, "validation must have 3000 values"),
        (None, {"validation": (X, Y, Y[1:])}, ValueError, "sample_weight of validation must have"),
        (None, {"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_wrong_arguments_are_named(given, arguments, error, says, step):
    arguments = {"X": X, "y": Y} | arguments
    data = arguments.pop("X"), arguments.pop("y")
    with pytest.raises(error, match=says):
        step(credit.fitted() if given is None else given, *data, **arguments)


@pytest.mark.parametrize("name", ["y", "sample_weight", "groups", "validation"])
def test_what_belongs_to_rows_needs_rows(name):
    value = (X, Y) if name == "validation" else Y
    with pytest.raises(ValueError, match=f"X must be given where {name} is"):
        farthing.prune(credit.fitted(), sparsity=0.5, **{name: value})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ((X[:, :4], Y), "X must have 5 features, as the model has, got 4"),
        ((X[:0], Y[:0]), "X must have rows, got none"),
        ((X, Y * 2), "y must be 0, 1 or probabilities .*, got 2"),
        ((X, np.where(Y == 1, "bad", "good")), "y must hold numbers"),
    ],
)
def test_wrong_data_for_a_model_is_named(data, says, step):
    with pytest.raises(ValueError, match=says):
        step(credit.fitted().model_, *data)


def test_estimators_take_probabilities_for_y():
    X, _ = credit.data()
    model = credit.fitted()
    p = model.predict_proba(X)[:, 1].astype(float)
    arguments = {"sparsity": 0.5, "schedule": "cubic", "epochs": 1, "alpha": 0.0, "augment": 0}
    soft = farthing.prune(model, X, p, **arguments)
    bare = farthing.prune(model.model_, X, p, random_state=0, **arguments)
    for ours, theirs in zip(soft.model_.layers, bare.layers, strict=True):
        np.testing.assert_array_equal(ours.mask, theirs.mask)
    with pytest.raises(ValueError, match="y"):
        farthing.prune(model, X, p + 0.5, **arguments)


def test_groups_and_zero_weights_are_checked_as_in_fit():
    X, y = credit.data()
    model = credit.fitted()
    for validation in (None, (X, y)):
        with pytest.raises(ValueError, match="groups"):
            farthing.prune(model, X, y, sparsity=0.5, groups=[1, 2], validation=validation)
    few = (np.arange(len(y)) < 5) * 1.0
    assert farthing.prune(model, X, y, sparsity=0.5, sample_weight=few).model_ is not model.model_
