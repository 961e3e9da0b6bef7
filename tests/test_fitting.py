"""What fit and distill share: restarts, refits, penalties, categories, stopping."""

import credit
import german
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier

import farthing

QUICK = {"hidden": (8,), "max_epochs": 4, "random_state": 0}


def fitted(**parameters):
    X, y = credit.data()
    return farthing.Classifier(**{**QUICK, **parameters}).fit(X, y)


def weights(model):
    return [layer.weight for layer in model.model_.layers]


def test_warm_start_goes_on_with_the_fitted_network():
    X, y = credit.data()
    # At a rate of nearly 0 the network stays what it was.
    still = fitted(warm_start=True, calibrate=False)
    before = weights(still)
    still.set_params(learning_rate=1e-9).fit(X, y)
    for old, new in zip(before, weights(still), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)
    cold = fitted(learning_rate=1e-9, calibrate=False)
    assert not np.allclose(weights(cold)[0], before[0], atol=1e-2)


def test_warm_start_with_class_weights_goes_on_at_the_same_level():
    X, y = credit.data()
    parameters = {"class_weight": {0: 1, 1: 4}, "warm_start": True, "calibrate": False}
    model = fitted(**parameters)
    before = model.predict_proba(X)
    model.set_params(learning_rate=1e-9).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :3], y), "the features"),
        (lambda X, y: (pd.DataFrame(X, columns=list("abcde")), y), "the column names"),
        (lambda X, y: (X, y + 1), "must have the classes"),
    ],
)
def test_warm_start_refuses_other_data(change, message):
    model = fitted(warm_start=True)
    with pytest.raises(ValueError, match=message):
        model.fit(*change(*credit.data()))


def test_warm_start_refuses_other_layers_and_integers():
    X, y = credit.data()
    with pytest.raises(ValueError, match="the layers"):
        fitted(warm_start=True).set_params(hidden=(4,)).fit(X, y)
    with pytest.raises(ValueError, match="warm_start must be False for a quantized model"):
        farthing.quantize(fitted(warm_start=True), X).fit(X, y)


def test_refit_learns_from_all_rows_for_the_best_number_of_epochs():
    X, y = credit.data()
    reports = []
    once = fitted(max_epochs=6)
    again = fitted(max_epochs=6, refit=True, callback=reports.append)
    best = once.history_.best_epoch
    assert again.history_.best_epoch == best
    searched, refitted = reports[: once.history_.epochs], reports[once.history_.epochs :]
    assert len(refitted) == best + 1
    assert all(r["validation_loss"] is None for r in refitted)
    assert all(r["validation_loss"] is not None for r in searched)
    assert again.training_ == once.training_
    assert not np.array_equal(weights(once)[0], weights(again)[0])
    assert farthing.metrics.auc(y, again.predict_proba(X)[:, 1]) > 0.74


def test_a_callback_stops_training():
    model = fitted(max_epochs=6, callback=lambda report: report["epoch"] == 2)
    assert model.history_.epochs == 2 and model.history_.stopped


@pytest.mark.parametrize("answer", [True, np.True_, np.float64(2) > 1])
def test_numpy_says_stop_too(answer):
    calls = []
    model = fitted(max_epochs=6, callback=lambda report: calls.append(report) or answer)
    assert len(calls) == model.history_.epochs == 1 and model.history_.stopped


@pytest.mark.parametrize("answer", [None, False, np.False_, 1, "stop", {"epoch": 1}])
def test_only_a_boolean_stops(answer):
    assert fitted(max_epochs=2, callback=lambda report: answer).history_.epochs == 2


def at_call(number, how):
    """A callback that ends training at its call of that number, and the calls it got."""
    calls = []

    def callback(report):
        calls.append(report)
        if len(calls) < number:
            return False
        if how == "interrupted":
            raise KeyboardInterrupt
        return how == "stopped"

    return callback, calls


WAYS = pytest.mark.parametrize("how", ["interrupted", "stopped"])


@WAYS
def test_a_refit_does_not_begin_after_a_stop(how):
    callback, calls = at_call(2, how)
    model = fitted(max_epochs=6, refit=True, callback=callback)
    assert len(calls) == model.history_.epochs == 2
    assert getattr(model.history_, how)
    short = fitted(max_epochs=6, callback=at_call(2, how)[0])
    X, _ = credit.data()
    assert np.array_equal(model.predict_proba(X), short.predict_proba(X))
    assert model.training_ == short.training_


@WAYS
def test_a_refit_that_is_cut_short_leaves_the_first_model(how):
    X, _ = credit.data()
    once = fitted(max_epochs=6)
    first, again = once.history_.epochs, once.history_.best_epoch + 1
    assert again > 1
    callback, calls = at_call(first + 1, how)
    model = fitted(max_epochs=6, refit=True, callback=callback)
    assert len(calls) == first + 1
    assert getattr(model.history_, how) and not getattr(once.history_, how)
    assert np.array_equal(model.predict_proba(X), once.predict_proba(X))
    assert model.history_.train_loss == once.history_.train_loss
    # At its last epoch the refit is finished.
    callback, calls = at_call(first + again, how)
    model = fitted(max_epochs=6, refit=True, callback=callback)
    whole = fitted(max_epochs=6, refit=True)
    assert np.array_equal(model.predict_proba(X), whole.predict_proba(X))
    assert model.history_.interrupted is (how == "interrupted")


@pytest.mark.parametrize("method", ["_new_model", "_balance"])
def test_an_interruption_around_the_refit_leaves_the_first_model(method, monkeypatch):
    X, _ = credit.data()
    once, seen = fitted(), []
    own = getattr(farthing.Classifier, method)

    def interrupt(self, *arguments):
        seen.append(method)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return own(self, *arguments)

    monkeypatch.setattr(farthing.Classifier, method, interrupt)
    model = fitted(refit=True)
    assert len(seen) == 2 and model.history_.interrupted
    assert np.array_equal(model.predict_proba(X), once.predict_proba(X))


@WAYS
def test_newtons_method_stops_with_its_last_iteration(how):
    X, y = credit.data()
    callback, calls = at_call(2, how)
    model = farthing.Classifier((), None, callback=callback).fit(X, y)
    assert len(calls) == model.history_.epochs == 2 and model.history_.best_epoch == 1
    assert getattr(model.history_, how)
    assert farthing.metrics.auc(y, model.predict_proba(X)[:, 1]) > 0.7


def test_group_l1_drops_a_feature_of_noise_for_good():
    X, y = credit.data()
    model = fitted(max_epochs=12, group_l1=0.01)
    feature = model.model_.encoder.feature_of_column
    noise = feature == credit.FEATURES.index("noise")
    assert not weights(model)[0][:, noise].any()
    assert weights(model)[0][:, feature == credit.FEATURES.index("late")].any()
    moved = X.copy()
    moved[:, credit.FEATURES.index("noise")] = 9.0
    small = farthing.quantize(model, X, y, weight_bits=4, training="qat", epochs=1)
    for each in (model, small, farthing.prune(small, sparsity=0.3)):
        assert not weights(each)[0][:, noise].any()
        assert np.array_equal(each.predict_proba(moved), each.predict_proba(X))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"l1": -1}, "l1"),
        ({"group_l1": {"layer": 1}}, "group_l1"),
        ({"feature_dropout": 1}, "feature_dropout"),
        ({"edges": "teacher"}, "'teacher' is for distill"),
        ({"batch_norm": True, "l1": 0.1}, "batch_norm=False"),
        ({"categorical_features": [1], "encoder": None}, "encoder='piecewise_linear'"),
        (
            {"categorical_features": ["late"]},
            "indices, 0 to 4, where the columns",
        ),
        ({"categorical_features": [1], "monotone_constraints": {1: 1}}, "categorical"),
    ],
)
def test_bad_parameters_are_refused_before_training(parameters, message):
    def never(_report):
        raise AssertionError("training began")

    with pytest.raises(ValueError, match=message):
        fitted(callback=never, **parameters)


def test_a_missing_categorical_column_is_named():
    X, y = german.data()
    model = farthing.Classifier(categorical_features=["purpose", "colour"])
    with pytest.raises(ValueError, match="'colour'"):
        model.fit(X, y)


def test_few_rows_leave_features_out_and_a_weight_of_two_is_two_rows():
    X, y = (part[:200] for part in credit.data())
    weight = np.random.default_rng(0).integers(0, 4, 200)
    parameters = {"hidden": (8,), "max_epochs": 4, "random_state": 0}
    weighted = farthing.Classifier(**parameters).fit(X, y, sample_weight=weight)
    repeated = farthing.Classifier(**parameters).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)
    plain = farthing.Classifier(**parameters, feature_dropout=0.0).fit(X, y, sample_weight=weight)
    assert not np.allclose(plain.predict_proba(X), weighted.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("edges", ["quantile", "teacher"])
def test_a_student_shares_the_categories_of_its_teacher(edges, tmp_path):
    X, y = german.data()
    frame = X.astype(dict.fromkeys(german.text_columns(), "category"))
    bad = (y == "bad").to_numpy()
    teacher = LGBMClassifier(n_estimators=40, num_leaves=7, verbose=-1).fit(frame, bad)
    student = farthing.Classifier(
        (16,), categorical_features="from_dtype", edges=edges, random_state=0
    )
    student = farthing.distill(teacher, frame, bad, student=student)
    said, own = teacher.predict_proba(frame)[:, 1], student.predict_proba(frame)[:, 1]
    assert np.corrcoef(said, own)[0, 1] > 0.9
    student.save(tmp_path / "student.farthing")
    scorer = farthing.load(tmp_path / "student.farthing")
    assert np.array_equal(scorer.predict(X), own)
    assert np.array_equal(scorer.predict(pa.Table.from_pandas(X).to_reader()), own)


def test_a_stream_is_distilled():
    X, y = credit.data()
    table = pa.table({name: X[:, j] for j, name in enumerate(credit.FEATURES)})

    def teacher(rows):
        return 1 / (1 + np.exp(-rows["late"].to_numpy()))

    streamed, whole = (
        farthing.distill(teacher, x, y, student=farthing.Classifier(**QUICK))
        for x in (table.to_reader(), table)
    )
    assert np.array_equal(streamed.predict_proba(table), whole.predict_proba(table))


def test_interrupted_refit_and_eval_set_are_no_mistake():
    X, y = credit.data()
    model = farthing.Classifier(**QUICK, refit=True).fit(
        X[:2000], y[:2000], eval_set=(X[2000:], y[2000:])
    )
    assert model.training_ == {"rows": 2000, "search_rows": 1000}


@pytest.mark.parametrize("size", [1 / 3000, 0.01, 1.0])
def test_the_size_of_small_weights_leaves_the_categories(size):
    X, y = credit.data()
    frame = pd.DataFrame({"income": X[:, 0], "late": [f"{late:.0f}" for late in X[:, 1]]})
    model = farthing.Classifier(**QUICK, categorical_features=["late"], calibrate=False)
    plain = model.fit(frame, y)
    expected, own = plain.predict_proba(frame), plain.model_.encoder.categories_
    assert len(own[1]) >= 4
    weighted = model.fit(frame, y, sample_weight=np.full(len(y), size))
    assert weighted.model_.encoder.categories_ == own
    np.testing.assert_allclose(weighted.predict_proba(frame), expected, atol=1e-3)


def test_integer_weights_keep_the_categories_of_repeated_rows():
    X, y = (part[:300] for part in credit.data())
    frame = pd.DataFrame({"income": X[:, 0], "late": [f"{late:.0f}" for late in X[:, 1]]})
    weight = np.random.default_rng(1).integers(0, 4, 300)
    model = farthing.Classifier(**QUICK, categorical_features=["late"], min_frequency=25)
    weighted = model.fit(frame, y, sample_weight=weight)
    own, said = weighted.model_.encoder.categories_, weighted.predict_proba(frame)
    rows = np.repeat(np.arange(300), weight)
    repeated = model.fit(frame.iloc[rows], y[rows])
    assert repeated.model_.encoder.categories_ == own
    assert 1 < len(own[1]) < frame["late"].nunique()
    np.testing.assert_allclose(repeated.predict_proba(frame), said, atol=1e-6)
