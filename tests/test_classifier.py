"""Several classes, class weights, solved logistic regression, rows of no weight."""

import classes
import credit
import numpy as np
import pandas as pd
import pytest
from scipy.special import logit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

import farthing
from farthing import fitting
from farthing.recalibration import refit_level, refit_softmax

QUICK = {"hidden": (16,), "max_epochs": 12, "random_state": 0}
LINEAR = {"hidden": (), "encoder": None}


@pytest.fixture(scope="module")
def fitted():
    X, y = classes.data()
    return farthing.Classifier(**QUICK).fit(X, y)


# ---- several classes ------------------------------------------------------------------------


def test_several_classes_are_learnt(fitted):
    X, y = classes.data(seed=1)
    p = classes.teach(X)
    proba = fitted.predict_proba(X)
    assert proba.shape == (4000, 3) and proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    linear = LogisticRegression().fit(*classes.data())
    best, ours, theirs = (log_loss(y, q) for q in (p, proba, linear.predict_proba(X)))
    assert best < ours < best + 0.6 * (theirs - best)
    assert np.array_equal(fitted.predict(X), proba.argmax(axis=1))
    assert fitted.score(X, y) == np.mean(fitted.predict(X) == y)
    np.testing.assert_allclose(proba.mean(axis=0), np.bincount(y) / 4000, atol=0.02)


@pytest.mark.parametrize("labels", [["a", "b", "c"], [3.0, -1.0, 7.0], [30, 10, 20]])
def test_labels_of_any_kind_in_sorted_order(labels, fitted, tmp_path):
    X, y = classes.data()
    named = np.array(labels)[y]
    model = farthing.Classifier(**QUICK).fit(X, named)
    assert model.classes_.tolist() == sorted(labels)
    order = np.argsort(labels)
    probabilities = model.predict_proba(X)
    assert np.abs(probabilities - fitted.predict_proba(X)[:, order]).mean() < 0.03
    assert set(model.predict(X)) <= set(labels)
    model.save(tmp_path / "m.farthing")  # no label is positive: nothing is left open
    scorer = farthing.load(tmp_path / "m.farthing")
    assert scorer.classes == sorted(labels) and scorer.positive is None
    assert np.array_equal(scorer.predict_proba(X), probabilities)
    assert np.array_equal(scorer.predict(X), probabilities)
    assert np.array_equal(scorer.decide(X), model.predict(X))


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_labels_may_come_as_a_column_or_a_series(shape, fitted):
    X, y = classes.data()
    if shape == (-1,):
        again = farthing.Classifier(**QUICK).fit(X, pd.Series(y))
    else:
        with pytest.warns(UserWarning, match="column-vector"):
            again = farthing.Classifier(**QUICK).fit(X, y.reshape(shape))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_positive_is_for_two_classes():
    X, y = classes.data()
    message = "positive must be None with more than two classes, of which there are 3, got 1"
    with pytest.raises(ValueError, match=message):
        farthing.Classifier(positive=1, **QUICK).fit(X, y)
    model = farthing.Classifier(**QUICK | {"max_epochs": 1}).fit(X, y).set_params(positive=1)
    for use in (model.predict, model.predict_proba, lambda X: farthing.quantize(model, X)):
        with pytest.raises(ValueError, match=message):
            use(X)
    model.set_params(positive=None).predict(X)


def test_every_class_keeps_its_share_of_the_search_part(monkeypatch):
    X, y = classes.data()
    seen = []
    train = fitting.train

    def spy(model, X, target, **options):
        seen.append(options["validation"][1])
        return train(model, X, target, **options)

    monkeypatch.setattr(fitting, "train", spy)
    farthing.Classifier(**QUICK | {"max_epochs": 1}).fit(X, y)
    counts = seen[0].sum(axis=0)
    np.testing.assert_allclose(counts, np.bincount(y) / 10, atol=1)


def test_the_logits_are_recalibrated_on_the_search_part():
    X, y = classes.data()
    weight = np.where(y == 2, 3.0, 1.0)
    part = (X[2500:], y[2500:], weight[2500:])
    plain, calibrated = (
        farthing.Classifier(calibrate=calibrate, **QUICK).fit(X[:2500], y[:2500], eval_set=part)
        for calibrate in (False, True)
    )
    before = plain.predict_proba(X).astype(float)
    # First the levels, on the rows learnt from.
    levels = refit_level(before[:2500], np.eye(3)[y[:2500]])
    before = softmax(np.log(before) + levels, axis=1)
    known = np.eye(3)[y[2500:]]
    slope, intercept = refit_softmax(before[2500:], known, weight[2500:], prior_deviation=0.05)
    assert np.ptp(intercept) > 0.02
    expected = softmax(slope * np.log(before) + intercept, axis=1)
    np.testing.assert_allclose(calibrated.predict_proba(X), expected, atol=1e-5)


def test_an_eval_set_holds_the_classes_of_y():
    X, y = classes.data()
    with pytest.raises(ValueError, match=r"eval_set must hold the classes \[0, 1, 2\], got 3"):
        farthing.Classifier(**QUICK).fit(X, y, eval_set=(X, y + 1))
    part = (X, np.minimum(y, 1))  # a class may be missing there
    farthing.Classifier(**QUICK | {"max_epochs": 1}).fit(X, y, eval_set=part)
    frame = pd.DataFrame(X, columns=list("abcd"))
    other = frame.rename(columns={"d": "e"})
    with pytest.raises(ValueError, match=r"eval_set must have the columns of X, .* got .*'e'"):
        farthing.Classifier(**QUICK).fit(frame, y, eval_set=(other, y))


@pytest.mark.parametrize(
    ("labels", "weight", "says"),
    [
        (["a"] * 50 + ["b"] * 49 + ["rare"], None, "2 rows or more of every class, got 1 .*'rare'"),
        ([1] * 99 + [0], None, "got 1 of class 0$"),
        ([1] * 98 + [0] * 2, [1] * 99 + [0], "got 1 of class 0; a row counts as often as"),
        (
            [1] * 50 + [0] * 48 + [2] * 2,
            [1] * 98 + [0] * 2,
            "got 0 of class 2; a row counts as often as",
        ),
        ([1] * 98 + [0] * 2, [2] * 98 + [0.5, 0], "got 1 of class 0; a row counts"),
    ],
)
@pytest.mark.parametrize("form", [QUICK, LINEAR])
def test_a_class_of_fewer_than_two_rows_is_named(form, labels, weight, says):
    X = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.raises(ValueError, match=says):
        farthing.Classifier(**form).fit(X, labels, weight)


def test_a_class_of_two_rows_will_do_and_a_weight_counts_rows():
    X = np.random.default_rng(0).normal(size=(1500, 2))
    y = np.arange(1500) % 2
    y[:2] = 2
    model = farthing.Classifier(**QUICK | {"max_epochs": 2}).fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    assert model.predict_proba(X)[:, 2].mean() < 0.02
    y[1], weight = 0, np.where(y == 2, 2.0, 1.0)
    assert model.fit(X, y, weight).classes_.tolist() == [0, 1, 2]


# ---- rows of no weight ----------------------------------------------------------------------


@pytest.mark.parametrize("form", [QUICK, LINEAR])
@pytest.mark.parametrize("several", [False, True])
def test_rows_of_no_weight_count_as_absent(form, several):
    X, y = classes.data()
    y = y if several else (y > 0) * 1
    weight = (np.arange(4000) % 3 > 0) * 1.0
    weight[1] = 2.5
    groups = np.arange(4000) // 5
    kept = weight > 0
    for class_weight in (None, "balanced"):
        model = farthing.Classifier(class_weight=class_weight, **form)
        ours = model.fit(X, np.where(kept, y, 0), weight, groups=groups).predict_proba(X)
        model.fit(X[kept], y[kept], weight[kept], groups=groups[kept])
        assert np.array_equal(ours, model.predict_proba(X))


# ---- class weights --------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_weights_are_those_of_scikit_learn(weighted):
    X, y = classes.data()
    weight = np.random.default_rng(1).uniform(0, 3, 4000) if weighted else None
    model = farthing.Classifier(class_weight="balanced", **LINEAR).fit(X, y, weight)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y, sample_weight=weight)
    np.testing.assert_allclose(model.class_weight_, expected, rtol=1e-6)
    assert farthing.Classifier(**LINEAR).fit(X, y).class_weight_.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("weights", "rows"), [(None, 3000), ({0: 1, 1: 20}, 900)])
def test_the_level_is_that_of_the_rows_learnt_from(weights, rows):
    X, y = (values[:rows] for values in credit.data())
    quick = QUICK | {"max_epochs": 2}
    model, plain = (
        farthing.Classifier(class_weight=weights, calibrate=calibrate, **quick).fit(X, y)
        for calibrate in (True, False)
    )
    off = [abs(m.predict_proba(X)[:, 1].mean() - y.mean()) for m in (model, plain)]
    assert off[0] < 0.01 and off[0] < off[1]


def test_few_rows_are_given_their_level_alone():
    X, y = (values[:900] for values in credit.data())
    first, second = (
        farthing.Classifier(calibrate=calibrate, **QUICK).fit(X, y).predict_proba(X)[:, 1]
        for calibrate in (True, False)
    )
    change = logit(first.astype(float)) - logit(second.astype(float))
    np.testing.assert_allclose(change, change.mean(), atol=1e-4)
    assert first.mean() == pytest.approx(y.mean(), rel=1e-5)


@pytest.mark.parametrize("weights", [{0: 1, 1: 8}, "balanced"])
def test_probabilities_stay_those_of_the_classes_own_shares(weights):
    X, y = credit.data()
    fresh, labels = credit.data(seed=9)
    model = farthing.Classifier(class_weight=weights, **QUICK).fit(X, y)
    plain = farthing.Classifier(**QUICK).fit(X, y)
    score = model.predict_proba(fresh)[:, 1].astype(float)
    assert score.mean() == pytest.approx(y.mean(), abs=0.015)
    assert log_loss(labels, score) < log_loss(labels, plain.predict_proba(fresh)[:, 1]) + 0.02
    ratio = model.class_weight_[1] / model.class_weight_[0]
    expected = score * ratio / (1 - score + score * ratio) >= 0.5
    assert np.array_equal(model.predict(fresh), expected)
    # A balanced decision says yes about as often as it is right to; a plain one hardly ever.
    assert model.predict(fresh).mean() > 1.3 * plain.predict(fresh).mean()


def test_the_correction_is_exact_where_the_optimum_is():
    X, y = classes.data()
    X = StandardScaler().fit_transform(X)
    for target, weights in ((y, {0: 0.5, 1: 1, 2: 4}), ((y > 0) * 1, {0: 1, 1: 5})):
        model = farthing.Classifier(class_weight=weights, l2=1e-3, calibrate=False, **LINEAR).fit(
            X, target
        )
        total = sum(weights[label] for label in target)
        theirs = LogisticRegression(class_weight=weights, C=1 / (1e-3 * total), tol=1e-10)
        theirs.fit(X, target)
        np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-4)
        shift = np.log([weights[label] for label in sorted(weights)])
        expected = theirs.intercept_ - (shift if len(shift) > 2 else np.diff(shift))
        centre = (lambda b: b - b.mean()) if len(shift) > 2 else (lambda b: b)
        np.testing.assert_allclose(centre(model.intercept_), centre(expected), atol=1e-4)
        # scikit-learn leaves the weights in: its probabilities are our decisions.
        assert np.mean(model.predict(X) == theirs.predict(X)) > 0.999


def test_row_weights_and_class_weights_multiply():
    X, y = credit.data()
    X = np.nan_to_num(X)
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    both = farthing.Classifier(class_weight={0: 1, 1: 3}, **LINEAR).fit(X, y, weight)
    once = farthing.Classifier(**LINEAR).fit(X, y, weight * np.where(y == 1, 3, 1))
    # Up to the ridge: class weights leave the columns' deviations alone.
    np.testing.assert_allclose(both.coef_, once.coef_, rtol=2e-3)
    np.testing.assert_allclose(both.intercept_, once.intercept_ - np.log(3), atol=2e-3)


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_a_saved_file_decides_as_the_estimator(positive, threshold, tmp_path):
    X, y = credit.data()
    model = farthing.Classifier(
        class_weight={0: 0.7, 1: 2.9}, positive=positive, decision_threshold=threshold, **QUICK
    ).fit(X, y)
    small = farthing.quantize(farthing.prune(model, X, sparsity=0.3), X, weight_bits=4)
    for one in (model, small):
        for side in (positive, 1 - positive):
            one.set_params(positive=side)
            one.save(tmp_path / "m.farthing")
            scorer = farthing.load(tmp_path / "m.farthing")
            assert np.array_equal(scorer.decide(X), one.predict(X))
            assert np.array_equal(scorer.predict_proba(X), one.predict_proba(X))
    model.set_params(positive=positive)
    p = model.predict_proba(X)[:, positive].astype(float)
    own, other = (2.9, 0.7) if positive else (0.7, 2.9)
    share = p * own / (p * own + (1 - p) * other)
    decided = (model.predict(X) == positive)[np.abs(share - threshold) > 1e-9]
    assert np.array_equal(decided, (share >= threshold)[np.abs(share - threshold) > 1e-9])


def test_several_classes_are_decided_by_weighted_probability(tmp_path):
    X, y = classes.data()
    plain = farthing.Classifier(**QUICK).fit(X, y)
    model = farthing.Classifier(class_weight="balanced", **QUICK).fit(X, y)
    p = model.predict_proba(X).astype(float)
    assert np.array_equal(model.predict(X), (p * model.class_weight_).argmax(axis=1))
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(y) / 4000, atol=0.02)
    found = [(m.predict(X) == 2)[y == 2].mean() for m in (plain, model)]
    assert found[1] > 0.6 > 0.3 > found[0]
    for one in (model, farthing.quantize(model, X)):
        one.save(tmp_path / "m.farthing")
        scorer = farthing.load(tmp_path / "m.farthing")
        assert np.array_equal(scorer.decide(X), one.predict(X))
        assert scorer.decide(X[0]) == one.predict(X[:1])[0]
    plain.save(tmp_path / "m.farthing")
    assert "decision_weights" not in farthing.load(tmp_path / "m.farthing").describe()["target"]


def test_the_search_part_counts_by_class_too(monkeypatch):
    X, y = credit.data()
    seen = []
    train = fitting.train

    def spy(model, X, target, **options):
        seen.append((target, options["sample_weight"], *options["validation"][1:]))
        return train(model, X, target, **options)

    monkeypatch.setattr(fitting, "train", spy)
    part = (X[2000:], y[2000:], np.full(1000, 0.5))
    model = farthing.Classifier(class_weight={0: 1, 1: 4}, **QUICK | {"max_epochs": 1})
    model.fit(X[:2000], y[:2000], eval_set=part)
    target, weight, watched, search_weight = seen[0]
    assert np.array_equal(target, y[:2000]) and np.array_equal(watched, y[2000:])
    np.testing.assert_allclose(weight / weight.min(), np.where(y[:2000] == 1, 4, 1))
    np.testing.assert_allclose(search_weight / search_weight.min(), np.where(y[2000:] == 1, 4, 1))


@pytest.mark.parametrize(
    ("weights", "error", "says"),
    [
        ("even", TypeError, "class_weight must be None, 'balanced' or a dict by label, got 'even'"),
        ([1, 2], TypeError, "class_weight must be"),
        ({0: 1, 1: 0}, ValueError, r"class_weight\[1\] must be a number in \(0, inf\), got 0"),
        ({0: 1, 1: np.inf}, ValueError, r"class_weight\[1\] must be a number in \(0, inf\)"),
        ({0: 1, 1: "2"}, TypeError, r"class_weight\[1\] must be a number"),
        ({0: 1}, ValueError, "class_weight must name every class, got none for 1"),
        ({0: 1, 1: 2, 2: 3}, ValueError, r"class_weight must name the classes \[0, 1\], got 2"),
        (
            {0: 1e300, 1: 1e-300},
            ValueError,
            r"class_weight must hold weights within a factor of 1e\+300 .* 1e-300 to 1e\+300",
        ),
        ({"0": 1, "1": 2}, ValueError, r"class_weight must name the classes \[0, 1\], got '0'"),
    ],
)
def test_class_weights_that_make_no_sense_are_named(weights, error, says):
    X, y = credit.data()
    with pytest.raises(error, match=says):
        farthing.Classifier(class_weight=weights, **QUICK).fit(X, y)


@pytest.mark.parametrize("kind", [np.int64, np.bool_, str])
def test_class_weights_take_labels_of_numpy_and_of_python(kind):
    X, y = credit.data()
    labels = y.astype(kind)
    zero, one = np.unique(labels)
    model = farthing.Classifier(**QUICK | {"max_epochs": 1})
    for weights in ({zero: 1, one: 2}, {zero.item(): 1, one.item(): 2}):
        model.set_params(class_weight=weights).fit(X, labels)
        assert model.class_weight_.tolist() == [1, 2]


def test_extreme_weights_stay_finite():
    X, y = credit.data()
    cases = ({0: 1e-300, 1: 1e-300}, {0: 1e300, 1: 1}, {0: 1, 1: 1e300}, {0: 1e-9, 1: 1e9})
    for weights in cases:
        model = farthing.Classifier(class_weight=weights, **QUICK | {"max_epochs": 1}).fit(X, y)
        assert np.isfinite(model.predict_proba(X)).all()


# ---- solved logistic regression -------------------------------------------------------------


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_models_reach_the_optimum_of_scikit_learn(several, weighted):
    X, y = classes.data()
    X = X * [1, 100, 1e-3, 5] + [0, 1e3, 0, -2]
    y = y if several else (y > 0) * 1
    weight = np.random.default_rng(0).uniform(0.1, 2, 4000) if weighted else None
    model = farthing.Classifier(l2=1e-2, **LINEAR).fit(X, y, weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    total = 4000 if weight is None else weight.sum()
    theirs = LogisticRegression(C=1 / (1e-2 * total), tol=1e-10, max_iter=1000)
    theirs.fit(scaler.transform(X), y, weight)
    assert model.coef_.shape == ((3, 4) if several else (1, 4))
    np.testing.assert_allclose(model.coef_ * scaler.scale_, theirs.coef_, atol=1e-4)
    expected = theirs.predict_proba(scaler.transform(X))
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-4)
    z = X @ model.coef_.T + model.intercept_
    z = z if several else np.column_stack([0 * z, z])
    np.testing.assert_allclose(softmax(z, axis=1), expected, atol=1e-3)


def test_a_solved_model_uses_all_rows_and_says_how_it_got_there():
    X, y = credit.data()
    told = []
    model = farthing.Classifier(callback=told.append, **LINEAR).fit(X, y)
    assert model.training_ == {"rows": 3000, "search_rows": 0}
    assert model.history_.epochs == len(told) < 15 and not model.history_.validation_loss
    assert [one["loss"] for one in told] == model.history_.train_loss
    again = farthing.Classifier(calibrate=False, random_state=7, **LINEAR)
    again.fit(X, y, eval_set=(X[:10], y[:10]))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match="eval_set must have 5 features"):
        model.fit(X, y, eval_set=(X[:, :4], y))
    # Maximum likelihood: the mean probability is the share.
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=1e-5)


def test_a_model_of_too_many_coefficients_is_trained():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 1999)), rng.integers(0, 2, 300)
    wide = farthing.Classifier(max_epochs=1, **LINEAR)
    assert wide.fit(X[:, :400], y).history_.epochs > 1
    wide.fit(X[:, :400], np.arange(300) % 5)  # 2,005 coefficients
    assert wide.history_.epochs == 1


def test_separable_rows_stay_finite_by_default():
    X = np.linspace(-1, 1, 200)[:, None]
    model = farthing.Classifier(**LINEAR).fit(X, X[:, 0] > 0)
    assert model.score(X, X[:, 0] > 0) == 1
    theirs = LogisticRegression(C=1 / (200 * 1e-4), tol=1e-10)
    theirs.fit(X / X.std(), X[:, 0] > 0)
    np.testing.assert_allclose(model.coef_ * X.std(), theirs.coef_, rtol=1e-4)


def test_steps_follow_a_solved_model():
    X, y = classes.data()
    model = farthing.Classifier(**LINEAR).fit(X, y)
    small = farthing.quantize(model, X, y, weight_bits=4)
    assert np.mean(small.predict(X) == model.predict(X)) > 0.95
    np.testing.assert_allclose(
        small.predict_proba(X).mean(axis=0), model.predict_proba(X).mean(axis=0), atol=0.01
    )


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1, 1: 1000}])
def test_newton_corrects_class_weights_back_to_the_share(class_weight):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 4))
    y = (rng.random(900) < 0.05 * np.exp(0.5 * X[:, 0])).astype(int)
    model = farthing.Classifier((), encoder=None, class_weight=class_weight).fit(X, y)
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), rel=1e-4)
