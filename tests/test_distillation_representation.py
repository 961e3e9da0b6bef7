"""What is read out of teachers, and how a student's hidden layer is tied to it."""

import credit
import numpy as np
import pytest

import farthing
from farthing.distillation.representation import MOST_THRESHOLDS, representation_of
from farthing.distillation.transfer import PROJECTED, Code, Hint
from farthing.losses import squared_error
from farthing.model import Model
from farthing.thresholds import teacher_thresholds

lightgbm = pytest.importorskip("lightgbm")
QUICK = {"hidden": (12, 6), "augment": 0, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    X, y = credit.data()
    return np.nan_to_num(X, nan=-1.0), y


@pytest.fixture(scope="module")
def teacher(data):
    return lightgbm.LGBMClassifier(n_estimators=12, num_leaves=6, n_jobs=1, verbose=-1).fit(*data)


# ---- what is read -------------------------------------------------------------------------------


def test_leaves_of_every_kind_of_trees(data, teacher):
    X, y = data
    sklearn = pytest.importorskip("sklearn.ensemble")
    xgboost = pytest.importorskip("xgboost")
    forest = sklearn.RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, y)
    boosted = sklearn.GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X, y)
    boosters = xgboost.XGBClassifier(n_estimators=6, max_depth=2, n_jobs=1).fit(X, y)
    rows = X.astype(np.float32)
    for model, trees in ((teacher, 12), (forest, 5), (boosted, 4), (boosters, 6)):
        leaves = representation_of(model, "leaves", None)(X, rows)
        assert leaves.shape == (len(X), trees) and leaves.dtype == np.int64
    assert np.array_equal(
        representation_of(teacher, "leaves", None)(X, rows), teacher.predict(X, pred_leaf=True)
    )
    both = representation_of([teacher, forest], "leaves", None)(X, rows)
    assert both.shape == (len(X), 17)


def test_thresholds_that_a_row_passes(data, teacher):
    X, _ = data
    rows = X.astype(np.float32).copy()
    rows[0, 0] = np.nan
    known = teacher_thresholds(teacher, 5)
    passed = representation_of(teacher, "thresholds", lambda: known)(X, rows)
    every = [(j, t) for j, (values, _) in known.items() for t in values]
    assert passed.shape == (len(X), min(len(every), MOST_THRESHOLDS))
    if len(every) <= MOST_THRESHOLDS:
        for column, (j, t) in zip(passed.T, every, strict=True):
            expected = np.where(np.isnan(rows[:, j]), 0.5, rows[:, j] > t)
            np.testing.assert_array_equal(column, expected)


def test_hidden_layers_of_a_farthing_teacher(data):
    X, _ = data
    own = credit.fitted()
    network = own.model_
    first = network.encoder.expand(network.encoder.positions(X.astype(np.float32)))
    first = np.maximum(first @ network.layers[0].weight.T + network.layers[0].bias, 0)
    second = np.maximum(first @ network.layers[1].weight.T + network.layers[1].bias, 0)
    for name, expected in (("dense0", first), ("dense1", second)):
        shown = representation_of(own, name, None)(X, X.astype(np.float32))
        np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-5)


def test_thresholds_of_most_gain_come_first(data):
    X, y = data
    teacher = lightgbm.LGBMClassifier(n_estimators=60, n_jobs=1, verbose=-1).fit(X, y)
    known = teacher_thresholds(teacher, 5)
    every = [(gain, j, t) for j, pair in known.items() for t, gain in zip(*pair, strict=True)]
    every.sort(reverse=True)
    assert len(every) > 1.5 * MOST_THRESHOLDS
    rows = X.astype(np.float32)
    passed = representation_of(teacher, "thresholds", lambda: known)(X, rows)
    best = [rows[:, j] > t for _, j, t in every[:MOST_THRESHOLDS]]
    assert sorted(passed.mean(axis=0)) == pytest.approx(sorted(np.mean(best, axis=1)))


# ---- ties ---------------------------------------------------------------------------------------


def differences(tie, outputs, target, share):
    gradient = np.empty_like(outputs)
    for at in np.ndindex(outputs.shape):
        values = []
        for d in (1e-4, -1e-4):
            moved = outputs.copy()
            moved[at] += d
            values.append(tie.loss(moved, target, share)[0])
        gradient[at] = (values[0] - values[1]) / 2e-4
    return gradient


def model_of(hidden=(7, 5)):
    X, _ = credit.data()
    network = credit.fitted().model_
    return Model.build(network.encoder, hidden, seed=1), X.astype(np.float32)


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("kind", ["code", "hint"])
def test_the_gradient_of_a_tie_by_differences(kind, leaves, monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (30, 6)) if leaves else rng.normal(size=(30, 6))
    tie = Code(values, 0.1, 0, 3) if kind == "code" else Hint(values, 0.1, 0)
    model, _ = model_of()
    extra, _ = tie.start(model)
    if kind == "code":
        monkeypatch.setattr(tie, "_update", lambda gradients, used: None)
    outputs = rng.normal(size=(30, len(extra)))
    share = np.full((30, 1), 1 / 30)
    target = tie.targets(np.zeros((30, 1)))[:, 1:-1]
    gradient = tie.loss(outputs, target, share)[1]
    np.testing.assert_allclose(
        gradient, differences(tie, outputs, target, share), rtol=1e-3, atol=1e-7
    )
    if kind == "hint":
        assert tie.values.shape[1] == (PROJECTED if leaves else 6)


@pytest.mark.parametrize("leaves", [False, True])
def test_encoder_and_decoder_learn_by_their_gradients(leaves):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (40, 5)) if leaves else rng.normal(size=(40, 5))
    tie = Code(values, 0.1, 0, 3)
    tie.start(model_of()[0])
    outputs, share = rng.normal(size=(40, 5)), np.full((40, 1), 1 / 40)
    target = tie.targets(np.zeros((40, 1)))[:, 1:-1]
    seen = []
    tie._update = lambda gradients, used: seen.append((gradients, used))
    tie._parameters = [p.astype(float) for p in tie._parameters]
    tie.loss(outputs, target, share)
    gradients, used = seen[0]
    assert not leaves or np.array_equal(used, np.unique(target))
    encoder = np.zeros(tie._parameters[0].shape)
    encoder[used] = gradients[0]
    for parameter, gradient in zip(tie._parameters, [encoder, *gradients[1:]], strict=True):
        for at in list(np.ndindex(parameter.shape))[::3]:
            whole, found = parameter[at], []
            for d in (1e-5, -1e-5):
                parameter[at] = whole + d
                found.append(tie.loss(outputs, target, share)[0])
            parameter[at] = whole
            assert gradient[at] == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("kind", ["code", "hint"])
def test_a_tied_model_has_more_outputs_inside_and_its_own_again(kind, monkeypatch):
    model, X = model_of()
    before = model.forward(X)
    values = np.random.default_rng(0).normal(size=(len(X), 4))
    tie = Code(values, 0.5, 0, 3) if kind == "code" else Hint(values, 0.5, 0)
    with tie.tied(model, squared_error) as loss:
        inside = model.forward(X)
        np.testing.assert_allclose(inside[:, :1], before, rtol=1e-6)
        if kind == "code":  # the extra outputs are the hidden layer
            x = model.encoder.expand(model.encoder.positions(X))
            for layer in model.layers[:-1]:
                x, _ = layer.forward(x)
            np.testing.assert_allclose(inside[:, 1:], x, rtol=1e-6)
        target = np.zeros((len(X), 1))
        watched, gradient = loss(inside.copy(), tie.watched(target))
        assert watched == pytest.approx(squared_error(before.copy(), target)[0])
        assert not gradient[:, 1:].any()
        if kind == "code":
            monkeypatch.setattr(tie, "_update", lambda gradients, used: None)
        learnt, gradient = loss(inside.copy(), tie.targets(target))
        share = np.full((len(X), 1), 1 / len(X))
        off, slope = tie.loss(inside[:, 1:], tie.values, share)
        assert off > 0 and learnt == pytest.approx(watched + 0.5 * off)
        np.testing.assert_allclose(gradient[:, 1:], 0.5 * slope, rtol=1e-5, atol=1e-10)
    np.testing.assert_array_equal(model.forward(X), before)
    assert model.layers[-1].weight_view is None and model.n_outputs == 1


# ---- students -----------------------------------------------------------------------------------


@pytest.mark.parametrize("transfer", ["code", "hint"])
@pytest.mark.parametrize("what", ["leaves", "thresholds"])
def test_students_of_representations(data, teacher, transfer, what):
    X, y = data
    plain = farthing.distill(teacher, X, y, **QUICK)
    arguments = {"representation": what, "transfer": transfer, "representation_weight": 0.5}
    tied = farthing.distill(teacher, X, y, **arguments, **QUICK)
    again = farthing.distill(teacher, X, y, **arguments, **QUICK)
    assert [layer.weight.shape for layer in tied.model_.layers] == [
        layer.weight.shape for layer in plain.model_.layers
    ]
    assert np.array_equal(tied.predict_proba(X), again.predict_proba(X))
    assert not np.array_equal(tied.predict_proba(X), plain.predict_proba(X))
    auc = farthing.metrics.auc(y, tied.predict_proba(X)[:, 1])
    assert auc > farthing.metrics.auc(y, plain.predict_proba(X)[:, 1]) - 0.02


def told_by_the_layer(model, X, values):
    """R^2 of least squares from the last hidden layer to the values."""
    network = model.model_
    x = network.encoder.expand(network.encoder.positions(X.astype(np.float32)))
    for layer in network.layers[:-1]:
        x, _ = layer.forward(x)
    A = np.column_stack([x, np.ones(len(x))])
    off = values - A @ np.linalg.lstsq(A, values, rcond=None)[0]
    return 1 - (off**2).sum() / ((values - values.mean(axis=0)) ** 2).sum()


def test_a_hint_makes_the_layer_tell_the_representation(data):
    """Of something that the teacher's answer hardly says."""
    X, y = data
    values = np.column_stack([np.log(X[:, 0]), X[:, 3] / 10])
    values = (values - values.mean(axis=0)) / values.std(axis=0)

    def shown(rows):
        return np.column_stack([np.log(rows[:, 0]), rows[:, 3] / 10])

    arguments = QUICK | {"hidden": (16, 8)}
    plain = farthing.distill(credit.fitted(), X, y, **arguments)
    hinted = farthing.distill(
        credit.fitted(),
        X,
        y,
        representation=shown,
        transfer="hint",
        representation_weight=1.0,
        **arguments,
    )
    assert told_by_the_layer(hinted, X, values) > told_by_the_layer(plain, X, values) + 0.1


def test_other_students_copies_and_columns(data, teacher):
    X, y = data
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list(credit.FEATURES))
    named = lightgbm.LGBMClassifier(n_estimators=8, n_jobs=1, verbose=-1).fit(frame, y)
    few = farthing.distill(
        named, frame, y, representation="leaves", columns=["late", "income"], hidden=(8,), augment=1
    )
    assert few.n_features_in_ == 2
    small = farthing.distill(
        named, frame, y, representation="thresholds", hidden=(8,), augment=1, random_state=0
    )
    assert farthing.metrics.auc(y, small.predict_proba(frame)[:, 1]) > 0.65
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, len(X))
    several = farthing.distill(
        np.eye(3)[classes] * 0.9 + 1 / 30, X, classes, hidden=(6,), random_state=0
    )
    again = farthing.distill(
        several, X, classes, representation="dense0", hidden=(6,), augment=0, random_state=0
    )
    assert again.model_.n_outputs == 3
    student = farthing.Regressor((6,), monotone_constraints={0: 1}, random_state=0)
    value = lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1).fit(X, np.log(X[:, 0]))
    small = farthing.distill(value, X, student=student, representation="leaves", augment=0)
    assert small.certify_monotone() == {0: True}


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"representation": "dense7"}, ValueError, r"hidden layers dense0, dense1\), got 'dense7'"),
        ({"representation": "dense2"}, ValueError, r"hidden layers dense0, dense1\), got 'dense2'"),
        ({"representation": 3}, TypeError, "representation must be 'leaves', .* got int"),
        ({"representation": "leaves"}, TypeError, "for representation='leaves', got Classifier"),
        ({"representation": "thresholds"}, TypeError, "teacher must be a fitted LightGBM"),
        ({"representation": "dense0", "hidden": ()}, ValueError, "without hidden layers"),
        ({"representation": lambda X: X[:, 0]}, ValueError, "representation must be numbers, one"),
        (
            {"representation": lambda X: X * 1e60},
            ValueError,
            "finite numbers of float32, got",
        ),
        ({"representation": lambda X: [[1, 2], [3]]}, TypeError, "representation must give an arr"),
        ({"representation": lambda X: X[:5]}, ValueError, "one row for each of 2700, got shape"),
        ({"representation": lambda X: X[:, :0]}, ValueError, "representation must be numbers, one"),
        ({"transfer": "copy"}, ValueError, "transfer must be one of 'code', 'hint', got 'copy'"),
        ({"code_size": 0}, ValueError, "code_size must be an integer >= 1, got 0"),
        ({"representation_weight": 0}, ValueError, "representation_weight must be a number in"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused(data, arguments, kind, says):
    X, y = data
    with pytest.raises(kind, match=says):
        farthing.distill(credit.fitted(), X, y, **QUICK | arguments)


def test_thresholds_are_those_of_the_columns_that_the_student_sees(data):
    """By place as by name, in any order."""
    X, y = data
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list(credit.FEATURES))
    options = {"n_estimators": 8, "n_jobs": 1, "verbose": -1}
    placed = lightgbm.LGBMClassifier(**options).fit(X, y)
    named = lightgbm.LGBMClassifier(**options).fit(frame, y)
    for columns in ([3, 0], [4, 3, 2, 1, 0]):
        arguments = {"representation": "thresholds", "augment": 0} | QUICK
        by_place = farthing.distill(placed, X, y, columns=columns, **arguments)
        names = [frame.columns[j] for j in columns]
        by_name = farthing.distill(named, frame, y, columns=names, **arguments)
        expected = by_name.predict_proba(frame[names])
        assert np.array_equal(by_place.predict_proba(X[:, columns]), expected)


def test_teachers_without_thresholds_or_leaves_to_read_say_so(data):
    X, y = data
    ensemble = pytest.importorskip("sklearn.ensemble")
    stump = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=2, n_jobs=1, verbose=-1)
    stump.fit(np.column_stack([y, X[:, 1:]]), y)
    with pytest.raises(ValueError, match="'thresholds' of a teacher that has none on the student"):
        farthing.distill(stump, X, y, columns=[1, 2], representation="thresholds", **QUICK)
    trees = ensemble.HistGradientBoostingClassifier(max_iter=3).fit(X, y)
    with pytest.raises(TypeError, match=r"no method for it; representation='thresholds' reads"):
        farthing.distill(trees, X, y, representation="leaves", **QUICK)


def test_a_representation_may_be_a_tensor(data):
    torch = pytest.importorskip("torch")
    X, y = data
    layer = torch.nn.Linear(5, 3)
    small = farthing.distill(
        credit.fitted(),
        X,
        y,
        representation=lambda rows: layer(torch.as_tensor(rows, dtype=torch.float32)),
        **QUICK,
    )
    assert np.isfinite(small.predict_proba(X)).all()


def test_the_weight_of_a_representation_counts(data):
    X, y = data

    def told(weight):
        shown = np.column_stack([np.log(X[:, 0]), X[:, 3] / 10])
        small = farthing.distill(
            credit.fitted(),
            X,
            y,
            representation=lambda rows: np.column_stack([np.log(rows[:, 0]), rows[:, 3] / 10]),
            transfer="hint",
            representation_weight=weight,
            **QUICK | {"hidden": (8,)},
        )
        return told_by_the_layer(small, X, (shown - shown.mean(axis=0)) / shown.std(axis=0))

    assert told(10.0) > told(1e-4) + 0.1


def test_arrays_and_other_teachers_have_no_representation(data):
    X, y = data
    with pytest.raises(ValueError, match="representation must be None for an array of predictions"):
        farthing.distill(y * 0.8 + 0.1, X, y, representation="leaves", **QUICK)
    with pytest.raises(ValueError, match=r"it has no hidden layers\), got 'dense0'"):
        farthing.distill(lambda rows: rows[:, 1] > 0, X, y, representation="dense0", **QUICK)
    student = farthing.Classifier((4,), refit=True)
    with pytest.raises(ValueError, match="must be None for a student with refit=True"):
        farthing.distill(credit.fitted(), X, y, student=student, representation="dense0")
