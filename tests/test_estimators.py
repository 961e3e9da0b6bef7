import pickle
import warnings

import credit
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import farthing

# What is skipped, and why.
EXPECTED: dict[str, str] = {}


@parametrize_with_checks(
    [
        farthing.Classifier(random_state=0),
        farthing.Classifier(hidden=(), encoder=None),
        farthing.Classifier(encoder="periodic", random_state=0),
        farthing.Regressor(random_state=0),
        farthing.Regressor(hidden=(), encoder=None, solver="exact"),
        farthing.Regressor(hidden=(8,), loss="gamma", random_state=0),
        farthing.Regressor(encoder="periodic", random_state=0),
    ],
    expected_failed_checks=lambda estimator: EXPECTED if estimator.hidden else {},
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_learns_and_repeats_to_the_bit():
    X, y = credit.data()
    first = credit.fitted()
    again = farthing.Classifier(hidden=(16, 8), max_epochs=8, random_state=0).fit(X, y)
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert farthing.metrics.auc(y, first.predict_proba(X)[:, 1]) > 0.74


def test_predicts_as_its_file_to_the_bit(tmp_path):
    X, _ = credit.data()
    model = credit.fitted()
    model.save(tmp_path / "m.farthing", metadata={"owner": "risk"})
    scorer = farthing.load(tmp_path / "m.farthing")
    assert np.array_equal(scorer.predict(X), model.predict_proba(X)[:, 1])
    assert np.array_equal(scorer.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(scorer.decide(X), model.predict(X))
    assert scorer.metadata == {"owner": "risk"}


def test_float_network_agrees_with_numpy():
    X, _ = credit.data()
    model = credit.fitted()
    logit = model.model_.forward(X.astype(np.float32))[:, 0].astype(np.float64)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-logit)), atol=1e-6)


def test_pickle_joblib_and_clone(tmp_path):
    X, _ = credit.data()
    model = credit.fitted()
    joblib.dump(model, tmp_path / "m.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "m.joblib")):
        assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("quantized", [False, True])
def test_skops(quantized):
    X, _ = credit.data()
    model = credit.fitted()
    modules = {"encoding.PiecewiseLinearEncoder", "classifier.Classifier", "layers.Dense"}
    modules |= {"model.Model", "training.History"}
    if quantized:
        model = farthing.quantize(farthing.prune(model, sparsity=0.5), X)
        modules.add("layers.QuantizedWeight")
    data = skops.io.dumps(model)
    trusted = skops.io.get_untrusted_types(data=data)
    assert set(trusted) == {f"farthing.{name}" for name in modules}
    copy = skops.io.loads(data, trusted=trusted)
    assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.get_params() == model.get_params()
    assert copy.history_ == model.history_


def test_callback_is_told_of_every_epoch():
    X, y = credit.data()
    told = []
    model = farthing.Classifier(hidden=(4,), max_epochs=3, callback=told.append, random_state=0)
    model.fit(X, y)
    assert [told_once["epoch"] for told_once in told] == [1, 2, 3]
    assert {told_once["max_epochs"] for told_once in told} == {3}
    assert [told_once["loss"] for told_once in told] == model.history_.train_loss
    losses = [told_once["validation_loss"] for told_once in told]
    assert losses == model.history_.validation_loss and losses[-1] < losses[0]
    told.clear()
    model.fit(X[:500], y[:500])
    assert [told_once["validation_loss"] for told_once in told] == [None] * 3


def test_interrupted_by_the_callback_the_best_epoch_stays():
    X, y = credit.data()

    def interrupt(told):
        if told["epoch"] == 2:
            raise KeyboardInterrupt

    model = farthing.Classifier(hidden=(4,), max_epochs=9, callback=interrupt, random_state=0)
    model.fit(X, y)
    assert model.history_.interrupted and model.history_.epochs == 2
    assert farthing.metrics.auc(y, model.predict_proba(X)[:, 1]) > 0.6


def test_in_scikit_learn_tools():
    X, y = credit.data()
    pipe = make_pipeline(
        FunctionTransformer(), farthing.Classifier(hidden=(8,), max_epochs=8, random_state=0)
    )
    assert cross_val_score(pipe, X, y, cv=2, scoring="roc_auc").min() > 0.65
    search = GridSearchCV(
        farthing.Classifier(max_epochs=2, random_state=0), {"hidden": [(2,), (4,)]}, cv=2
    )
    assert search.fit(X, y).best_params_["hidden"] in [(2,), (4,)]


def test_text_labels_and_positive(tmp_path):
    X, y = credit.data()
    labels = np.where(y == 1, "bad", "good")
    model = farthing.Classifier(hidden=(4,), max_epochs=3, random_state=0).fit(X, labels)
    assert model.classes_.tolist() == ["bad", "good"]
    assert set(model.predict(X)) <= {"bad", "good"}
    with pytest.raises(ValueError, match="positive"):
        model.save(tmp_path / "m.farthing")
    good = model.predict_proba(X)
    model.set_params(positive="bad")
    np.testing.assert_allclose(model.predict_proba(X), good, atol=1e-6)
    model.save(tmp_path / "m.farthing")
    scorer = farthing.load(tmp_path / "m.farthing")
    assert scorer.positive == "bad"
    np.testing.assert_array_equal(scorer.predict(X), model.predict_proba(X)[:, 0])
    with pytest.raises(ValueError, match="'maybe'"):
        model.set_params(positive="maybe").predict(X)


def test_decision_threshold_counts_in_full_precision(tmp_path):
    X, y = credit.data()
    strict = clone(credit.fitted()).set_params(decision_threshold=0.9).fit(X, y)
    score = strict.predict_proba(X)[:, 1].astype(np.float64)
    assert (strict.predict(X) == (score >= 0.9)).all()
    # Between two float32 scores, where the threshold rounds up to one or down to the other.
    middle = np.unique(score)[len(X) // 4]
    for threshold in (np.nextafter(middle, 1), np.nextafter(middle, 0)):
        strict.set_params(decision_threshold=float(threshold))
        strict.save(tmp_path / "m.farthing")
        assert np.array_equal(farthing.load(tmp_path / "m.farthing").decide(X), strict.predict(X))
        assert (strict.predict(X) == (score > threshold)).all()


def test_frames_are_checked_by_name():
    X, y = credit.data()
    frame = pd.DataFrame(X, columns=credit.FEATURES)
    model = farthing.Classifier(hidden=(4,), max_epochs=2, random_state=0).fit(frame, y)
    assert model.feature_names_in_.tolist() == list(credit.FEATURES)
    with pytest.raises(ValueError, match="same order"):
        model.predict(frame[list(reversed(credit.FEATURES))])
    with pytest.raises(ValueError, match="now missing:\n- noise"):
        model.predict(frame.drop(columns="noise"))
    with pytest.warns(UserWarning, match="does not have valid feature names") as told:
        model.predict(X)
    assert told[0].filename == __file__
    nameless = farthing.Classifier(hidden=(4,), max_epochs=2, random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match="has feature names, but Classifier was fitted without"):
        nameless.predict(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(frame)
        nameless.predict(X)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"hidden": 64}, r"hidden must be a tuple of widths such as \(64, 32\) or \(\), got 64"),
        ({"hidden": (8, 0)}, r"hidden\[1\] must be an integer from 1 to 1048576, got 0"),
        ({"hidden": (8.0,)}, r"hidden\[0\] must be an integer"),
        (
            {"encoder": "magic"},
            "encoder must be one of 'piecewise_linear', 'periodic', None, got 'magic'",
        ),
        ({"n_bins": 0}, "n_bins must be an integer from 1 to 258, got 0"),
        ({"n_bins": 259}, "n_bins must be"),
        ({"max_epochs": 0}, "max_epochs must be an integer >= 1, got 0"),
        ({"patience": 0}, "patience must be an integer >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1 or 'auto', got 0"),
        ({"learning_rate": 0}, r"learning_rate must be a number in \(0, inf\) or 'auto', got 0"),
        ({"learning_rate": "fast"}, "learning_rate must be"),
        ({"l2": -1}, r"l2 must be a number in \[0, inf\) or 'auto', got -1"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\), got 1.0"),
        ({"early_stopping": "sometimes"}, "early_stopping must be one of 'auto', True, False"),
        ({"decision_threshold": 2}, r"decision_threshold must be a number in \[0, 1\], got 2"),
        ({"positive": "x"}, r"positive must be None or one of the labels \[0, 1\], got 'x'"),
        ({"random_state": "x"}, "random_state"),
        ({"calibrate": "yes"}, "calibrate must be one of True, False, got 'yes'"),
        ({"callback": 3}, "callback must be callable or None, got 3"),
    ],
)
def test_bad_parameters_are_named(parameters, says):
    X, y = credit.data()
    with pytest.raises((ValueError, TypeError), match=says):
        farthing.Classifier(**parameters).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"loss": "hinge"}, "loss must be one of 'squared', 'absolute', .*, got 'hinge'"),
        ({"solver": "magic"}, "solver must be one of None, 'exact', got 'magic'"),
        ({"solver": "exact"}, r"'exact' needs hidden=\(\) .* got hidden=\(64, 32\)"),
    ],
)
def test_bad_parameters_of_a_regressor_are_named(parameters, says):
    X, y = credit.data()
    with pytest.raises(ValueError, match=says):
        farthing.Regressor(**parameters).fit(X, y)


def test_parameters_are_set_by_name():
    model = farthing.Classifier(hidden=(4,), n_bins=8)
    assert model.set_params(n_bins=4, l2=0.5) is model
    assert model.get_params()["n_bins"] == 4
    assert repr(model) == "Classifier(hidden=(4,), n_bins=4, l2=0.5)"
    with pytest.raises(ValueError, match=r"'bins' is no parameter of Classifier; .*'n_bins'"):
        model.set_params(bins=4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda X, y: (X, np.zeros_like(y)), "got 1 class: "),
        (lambda X, y: (X, np.where(np.arange(len(y)) == 7, 5, y)), "got 1 of class 5"),
        (lambda X, y: (X, np.where(y == 1, np.nan, 0.0)), "NaN"),
        (lambda X, y: (np.where(X == X[0, 0], np.inf, X), y), "column 0 contains infinity"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
        (lambda X, y: (X, y[:-1]), "y must have 3000 values"),
        (lambda X, y: (X[None], y), "3 dimension"),
        (lambda X, y: (X, None), "y must be given"),
        (lambda X, y: (X, y + 0j), "y must hold labels .* got dtype complex128"),
        (lambda X, y: (np.column_stack([X, 10**9 + np.arange(len(X))]), y), "column 5 has 3,000"),
        (lambda X, y: (X.astype(str), y), "X must hold numbers"),
        (lambda X, y: (np.where(X == X[0, 0], "?", X.astype(object)), y), "X must hold numbers"),
        (lambda X, y: ([[1.0, 2.0], [3.0]], y), "X must be a 2-D table"),
        (lambda X, y: (np.nan_to_num(X) * 0, y), "constant"),
    ],
)
def test_bad_training_data_is_refused(change, says):
    X, y = credit.data()
    with pytest.raises(ValueError, match=says):
        farthing.Classifier(hidden=(4,), max_epochs=1).fit(*change(X, y))


def test_constant_and_empty_columns_and_infinite_rows_at_predict():
    X, y = credit.data()
    wide = np.column_stack([X, np.full(len(X), 7.0), np.full(len(X), np.nan)])
    model = farthing.Classifier(hidden=(4,), max_epochs=3, random_state=0).fit(wide, y)
    row = wide[:1].copy()
    row[0, 0] = np.inf
    largest = wide[:1].copy()
    largest[0, 0] = np.finfo(np.float32).max
    assert model.predict_proba(row)[0, 1] == model.predict_proba(largest)[0, 1]
    assert np.isfinite(model.predict_proba(np.full((1, 7), np.nan))).all()


def test_eval_set_and_groups():
    X, y = credit.data()
    model = farthing.Classifier(hidden=(4,), max_epochs=3, random_state=0)
    model.fit(X[:2000], y[:2000], eval_set=(X[2000:], y[2000:]))
    assert len(model.history_.validation_loss) == model.history_.epochs > 0
    assert model.training_ == {"rows": 2000, "search_rows": 1000}
    with pytest.raises(ValueError, match=r"eval_set must have 5 features, .* got 4"):
        model.fit(X, y, eval_set=(X[:, :4], y))
    model.fit(X, y, groups=np.arange(3000) // 10)
    assert model.training_["search_rows"] % 10 == 0


@pytest.mark.parametrize(
    ("early_stopping", "rows", "search_rows"),
    [
        ("auto", 999, 0),
        ("auto", 1000, 100),
        (True, 99, 0),
        (True, 100, 10),
        (True, 1000, 100),
        (False, 3000, 0),
    ],
)
def test_early_stopping_decides_from_how_many_rows_on_some_are_kept(
    early_stopping, rows, search_rows
):
    X, y = credit.data()
    model = farthing.Classifier(
        hidden=(4,), max_epochs=2, early_stopping=early_stopping, random_state=0
    )
    model.fit(X[:rows], y[:rows])
    # A stratum's tenth is rounded.
    assert model.training_["search_rows"] == pytest.approx(search_rows, abs=1)
    assert bool(model.history_.validation_loss) == bool(search_rows)


@pytest.mark.parametrize("rows", [500, 3000])
@pytest.mark.parametrize("estimator", ["Classifier", "Regressor", "exact"])
def test_groups_are_checked_always(estimator, rows):
    X, y = (values[:rows] for values in credit.data())
    if estimator == "exact":
        model = farthing.Regressor(hidden=(), encoder=None, solver="exact")
    else:
        model = getattr(farthing, estimator)(hidden=(4,), max_epochs=1)
    for groups, says in (
        (np.arange(rows - 1), f"groups must have {rows} labels"),
        (np.where(np.arange(rows) == 7, np.nan, 0.0), "groups must have a label .* in row 7"),
    ):
        with pytest.raises(ValueError, match=says):
            model.fit(X, y, groups=groups)
        with pytest.raises(ValueError, match=says):
            model.fit(X, y, groups=groups, eval_set=(X, y))


def test_an_empty_eval_set_is_named():
    X, y = credit.data()
    with pytest.raises(ValueError, match="eval_set must have rows, got none"):
        farthing.Classifier(hidden=(4,), max_epochs=1).fit(X, y, eval_set=(X[:0], y[:0]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_only_the_ratios_of_weights_matter(scale):
    X, y = credit.data()
    weight = np.where(np.arange(len(y)) % 2, 1.0, 2.0)
    for kind in (farthing.Classifier, farthing.Regressor):
        model = kind(hidden=(4,), max_epochs=2, random_state=0).fit(X, y, weight)
        scaled = clone(model).fit(X, y, weight * scale)
        np.testing.assert_allclose(scaled.predict(X), model.predict(X), rtol=1e-3, atol=1e-3)
        assert scaled.score(X, y, weight * scale) == pytest.approx(model.score(X, y, weight))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("counted", [4, 20, 1500])
@pytest.mark.parametrize("groups", [None, np.arange(3000) // 10])
def test_rows_of_no_weight_are_not_searched_on(counted, groups):
    X, y = credit.data()
    weight = np.zeros(len(y))
    # Two rows of both classes are among them.
    weight[np.argsort(y, kind="stable")[[0, 1, -2, -1]]] = 1
    weight[: counted - 4] = 1
    for kind in (farthing.Classifier, farthing.Regressor):
        model = kind(hidden=(4,), max_epochs=2, random_state=0)
        model.fit(X, y, weight, groups=groups)
        assert np.isfinite(model.predict(X)).all()
        assert bool(model.training_["search_rows"]) == (counted == 1500)


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_score_checks_its_arguments(kind):
    X, y = credit.data()
    model = getattr(farthing, kind)(hidden=(4,), max_epochs=2, random_state=0).fit(X, y)
    expected = model.score(X, y)
    with pytest.warns(UserWarning, match="column-vector y"):
        assert model.score(X, y[:, None]) == expected
    with pytest.raises(ValueError, match="y must have 3000 values"):
        model.score(X, y[:5])
    with pytest.raises(ValueError, match="X must have 1 row or more to be scored, got none"):
        model.score(X[:0], y[:0])
    with pytest.raises(ValueError, match="sample_weight must have 3000 values"):
        model.score(X, y, np.ones(5))
    half = np.arange(len(y)) < 1500
    assert model.score(X, y, half) == pytest.approx(model.score(X[half], y[half]), rel=1e-12)


def test_labels_of_dtype_object_need_no_positive_to_be_saved(tmp_path):
    X, y = credit.data()
    model = farthing.Classifier(hidden=(4,), max_epochs=2, random_state=0)
    for labels in (y.astype(object), (y == 1).astype(object)):
        model.fit(X, labels).save(tmp_path / "m.farthing")
        assert farthing.load(tmp_path / "m.farthing").positive == 1
        assert set(model.predict(X)) <= {0, 1}


def test_logistic_regression_has_coefficients_in_raw_units():
    X, y = credit.data()
    X = np.nan_to_num(X)
    model = farthing.Classifier(hidden=(), encoder=None, random_state=0).fit(X, y)
    logit = X @ model.coef_[0] + model.intercept_[0]
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-logit)), atol=1e-4)


def test_exact_solver_is_weighted_least_squares():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) * [1, 100, 1e4] + [0, 5, 1e5]
    y = X @ [2.0, -0.3, 0.001] + 7 + rng.normal(size=200)
    w = rng.uniform(0.5, 2, 200)
    line = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(X, y, w)
    design = np.column_stack([X, np.ones(200)]) * np.sqrt(w)[:, None]
    expected = np.linalg.lstsq(design, y * np.sqrt(w), rcond=None)[0]
    np.testing.assert_allclose(line.coef_, expected[:3], rtol=1e-3)
    np.testing.assert_allclose(line.predict(X), X @ expected[:3] + expected[3], rtol=1e-3)


def test_regressor_works_on_any_scale():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(3000, 2))
    y = np.sin(2 * X[:, 0]) + X[:, 1] ** 2
    scores = [
        farthing.Regressor(hidden=(16,), random_state=0).fit(X, t).score(X, t)
        for t in (y, y * 1e6 + 1e7)
    ]
    assert min(scores) > 0.97 and abs(scores[0] - scores[1]) < 0.005


@pytest.mark.parametrize("solver", [None, "exact"])
@pytest.mark.parametrize(
    ("scale", "offset", "says"),
    [
        (1e300, 0, "y must lie within 1e[+]35"),
        (1e-300, 0, "y must vary by 100 steps of float32 or more"),
        (1, 1e8, "y must vary by 100 steps of float32 or more"),
    ],
)
def test_targets_that_float32_cannot_hold_are_refused(solver, scale, offset, says):
    X = np.random.default_rng(0).normal(size=(200, 2))
    model = farthing.Regressor(hidden=(), encoder=None, solver=solver)
    with pytest.raises(ValueError, match=says):
        model.fit(X, X[:, 0] * scale + offset)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-35, 1e34])
def test_targets_of_extreme_size_are_learnt(scale):
    X = np.random.default_rng(0).uniform(-2, 2, size=(2000, 2))
    y = X[:, 0] * scale
    assert farthing.Regressor(hidden=(8,), random_state=0).fit(X, y).score(X, y) > 0.97


def test_metadata_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="metadata"):
        credit.fitted().save(tmp_path / "m.farthing", metadata={"f": object()})
    assert not list(tmp_path.iterdir())


def test_unwritable_path(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        credit.fitted().save(tmp_path / "nowhere" / "m.farthing")


def test_columns_that_never_varied_have_no_effect():
    X, y = credit.data()
    wide = np.column_stack([np.nan_to_num(X), np.full(len(X), 3.0), np.full(len(X), np.nan)])
    for hidden in ((), (8,)):
        model = farthing.Classifier(hidden=hidden, encoder=None, max_epochs=2, random_state=0)
        model.fit(wide, y)
        moved = wide.copy()
        moved[:, 5], moved[:, 6] = 1e6, -7.0
        assert np.array_equal(model.predict_proba(moved), model.predict_proba(wide))
        small = farthing.quantize(model, wide)
        assert np.array_equal(small.predict_proba(moved), small.predict_proba(wide))
    assert not farthing.Classifier(hidden=(), encoder=None).fit(wide, y).coef_[0, 5:].any()
