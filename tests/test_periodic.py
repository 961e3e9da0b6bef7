"""The periodic encoder: against its formula in float64, and against the C core to the bit."""

import pickle
from statistics import NormalDist

import credit
import files
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from lightgbm import LGBMRegressor

import farthing
from farthing import FarthingError
from farthing.certificate import certify
from farthing.cli import main
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.model import Model
from farthing.monotone import constrain
from farthing.periodic import PeriodicEncoder

QUICK = {"hidden": (8,), "encoder": "periodic", "max_epochs": 4, "random_state": 0}


def columns(rng, n=2000):
    """A wide, a small, a 0/1, a column with gaps, a constant and an empty one."""
    gaps = np.where(rng.random(n) < 0.2, np.nan, rng.standard_t(2, n))
    matrix = [rng.lognormal(10, 1, n), 1e-3 * rng.normal(size=n), rng.integers(0, 2, n), gaps]
    return np.column_stack([*matrix, np.full(n, 3.0), np.full(n, np.nan)]).astype(np.float32)


def extreme(rng, encoder):
    """Rows of what training saw, and of zeros, missing, huge and tiny values."""
    rows = columns(rng, 3000)
    odd = [0.0, -0.0, np.nan, 1e-45, 3e38, -3e38, 1e20, -1e9, np.finfo(np.float32).tiny]
    rows[: len(odd)] = np.array(odd, np.float32)[:, None]
    rows[20:26] = encoder.mean_
    return rows


def in_double(encoder, X):
    """The encoding by docs/file-format.md, in float64 behind the float32 of x'."""
    filled = np.where(np.isnan(X), encoder.fill_, X)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (filled - encoder.mean_) * encoder.scale_
    assert scaled.dtype == np.float32
    turns = scaled[:, :, None].astype(np.float64) * encoder.frequencies_
    turns = np.where(np.abs(turns) < 2.0**51, turns, 0)
    angle = 2 * np.pi * np.fmod(turns, 1)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=2).reshape(len(X), -1)


def core_columns(encoder, X, amax):
    """What the C core makes of the rows: a file whose layer picks one column after the other."""
    width = encoder.width
    scaling = [("shift", encoder.mean_), ("scale", encoder.scale_), ("fill", encoder.fill_)]
    tensors = [(f"input.{name}", tensor) for name, tensor in scaling]
    tensors.append(("input.frequencies", encoder.frequencies_))
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    if amax:
        identity = np.eye(width, dtype=np.int8)
        tensors += [("dense0.weight", identity), ("dense0.mult", ones), ("dense0.add", zeros)]
    else:
        identity = np.eye(width, dtype=np.float32)
        tensors += [("dense0.weight", identity), ("dense0.bias", zeros)]
    bits = 8 if amax else 32
    found = []
    for column in range(width):
        own = [
            (name, tensor[column : column + 1] if name.startswith("dense0") else tensor)
            for name, tensor in tensors
        ]
        operations = [
            files.record(9, inputs=len(X[0]), outputs=width, tensor=1, amax_out=amax),
            files.record(3, inputs=width, outputs=1, tensor=5, bits=bits, amax_in=amax),
            files.record(5, inputs=1, outputs=1),
        ]
        info = {"critical": {"target": {"kind": "regression"}}}
        parts = files.Parts(operations, own, info=info)
        found.append(farthing.Scorer(parts.dumps()).predict(X))
    return np.column_stack(found)


# ---- the columns ------------------------------------------------------------------------------


def test_fit_is_mean_deviation_median_and_normal_frequencies(rng):
    X = columns(rng)
    weight = rng.random(len(X))
    encoder = PeriodicEncoder(258, sigma=0.5, seed=3).fit(X, weight)
    known = ~np.isnan(X[:, 3])
    mean = np.average(X[known, 3].astype(float), weights=weight[known])
    deviation = np.sqrt(np.average((X[known, 3] - mean) ** 2, weights=weight[known]))
    np.testing.assert_allclose(encoder.mean_[3], mean, rtol=1e-5)
    np.testing.assert_allclose(encoder.scale_[3], 1 / deviation, rtol=1e-5)
    # Within [0, 1] too: a feature as a share is the feature in per cent.
    share = np.average(X[:, 2].astype(float), weights=weight)
    np.testing.assert_allclose(encoder.mean_[2], share, rtol=1e-5)
    np.testing.assert_allclose(encoder.scale_[2], (share * (1 - share)) ** -0.5, rtol=1e-5)
    assert encoder.scale_[4:].tolist() == [0, 0]
    standardizer = Standardizer().fit(X, weight)
    np.testing.assert_array_equal(encoder.fill_, standardizer.fill_)
    frequencies = encoder.frequencies_
    assert frequencies.shape == (6, 129) and frequencies.dtype == np.float32
    distribution = NormalDist(0, 0.5)
    for row in frequencies.astype(float):
        # Normal, with one magnitude in each of as many equally likely intervals.
        shares = np.array([distribution.cdf(f) for f in row])
        assert abs((row < 0).mean() - 0.5) < 0.2
        within = np.abs(2 * shares - 1) * 129 - np.arange(129)
        assert within.min() > -1e-4 and within.max() < 1 + 1e-4 and within.std() > 0.2
    again = PeriodicEncoder(258, sigma=0.5, seed=3).fit(X)
    np.testing.assert_array_equal(again.frequencies_, frequencies)
    assert not np.isin(
        PeriodicEncoder(258, sigma=0.5, seed=4).fit(X).frequencies_, frequencies
    ).any()


@pytest.mark.parametrize(("n_bins", "m"), [(1, 1), (2, 1), (3, 1), (16, 8), (258, 129)])
def test_width_and_features_of_columns(n_bins, m, rng):
    encoder = PeriodicEncoder(n_bins).fit(columns(rng)[:, :2])
    assert encoder.frequencies_.shape == (2, m) and encoder.width == 4 * m
    assert encoder.feature_of_column.tolist() == [0] * 2 * m + [1] * 2 * m
    assert len(encoder.ordered_columns(0)) == 0
    assert not encoder.categories_ and not encoder.embeddings_ and encoder.n_features_ == 2


def test_columns_are_the_sines_of_the_file_format(rng):
    encoder = PeriodicEncoder(7, sigma=1.0).fit(columns(rng))
    rows = extreme(rng, encoder)
    ours = encoder.expand(encoder.positions(rows))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, in_double(encoder, rows), rtol=0, atol=1e-6)
    assert (ours.std(axis=0)[:24] > 0.01).all()
    # Where there is nothing to trust, and of a constant: sin 0 and cos 1.
    assert ours[4, :6].tolist() == [0, 0, 0, 1, 1, 1] == ours[100, 24:30].tolist()


@pytest.mark.parametrize("amax", [127, 255])
def test_codes_are_the_rounded_sines(amax, rng):
    encoder = PeriodicEncoder(7, sigma=1.0).fit(columns(rng))
    rows = extreme(rng, encoder)
    positions = encoder.positions(rows, amax)
    values = encoder.expand(positions)
    codes = (values.astype(np.float64) + 1) * (amax / 2)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-4)
    wanted = (in_double(encoder, rows).astype(np.float32) + np.float32(1)) * np.float32(amax / 2)
    differs = np.rint(codes) != np.rint(wanted)
    # Half a step away from both integers the last place of a float32 decides.
    assert differs.mean() < 1e-4
    assert (np.abs(wanted % 1 - 0.5)[differs] < 1e-4).all()
    assert np.rint(codes).min() == 0 and np.rint(codes).max() == amax
    one = encoder.expand(positions[7:8], out=np.empty((1, encoder.width), np.float32))
    np.testing.assert_array_equal(one[0], values[7])


@pytest.mark.parametrize("amax", [0, 127, 255])
def test_columns_equal_the_scoring_core_to_the_bit(amax, rng):
    encoder = PeriodicEncoder(5, sigma=1.0).fit(columns(rng))
    rows = extreme(rng, encoder)
    ours = encoder.expand(encoder.positions(rows, amax or None))
    core = core_columns(encoder, rows, amax)
    if amax:
        core = core * np.float32(2 / amax) - np.float32(1)
    np.testing.assert_array_equal(ours, core)


def test_positions_are_as_many_numbers_as_features(rng):
    X = columns(rng)
    encoder = PeriodicEncoder().fit(X)
    positions = encoder.positions(X)
    np.testing.assert_array_equal(positions, X)
    assert encoder.positions(X, 127).nbytes == positions.nbytes * 7 // 6
    for amax in (None, 127):
        whole = encoder.expand(encoder.positions(X, amax))
        out = np.empty((300, encoder.width), np.float32)
        chosen = rng.permutation(len(X))[:300]
        part = encoder.expand(encoder.positions(X, amax)[chosen], out=out)
        assert part is out
        np.testing.assert_array_equal(part, whole[chosen])
        empty = encoder.expand(encoder.positions(X[:0], amax))
        assert empty.shape == (0, encoder.width)


def test_infinity_and_other_shapes_are_refused(rng):
    X = columns(rng)
    encoder = PeriodicEncoder().fit(X)
    X[5, 2] = -np.inf
    with pytest.raises(FarthingError, match="column 2 holds infinity"):
        encoder.positions(X)
    with pytest.raises(FarthingError, match="column 'c' holds infinity"):
        PeriodicEncoder().fit(X, feature_names=list("abcdef"))
    with pytest.raises(FarthingError, match="got 5 features, allowed are 6"):
        encoder.positions(X[:, :5])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"n_bins": 0}, ValueError, "n_bins must be an integer from 1 to 258, got 0"),
        ({"n_bins": 259}, ValueError, "n_bins must be an integer from 1 to 258, got 259"),
        ({"n_bins": 2.5}, TypeError, "n_bins must be an integer"),
        ({"sigma": 0}, ValueError, r"sigma must be a number in \(0, inf\), got 0"),
        ({"sigma": "auto"}, TypeError, "sigma must be a number"),
    ],
)
def test_bad_arguments_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        PeriodicEncoder(**arguments)


def test_untrained_weights_have_half_the_usual_variance(rng):
    X = rng.normal(size=(4000, 30)).astype(np.float32)
    encoder = PeriodicEncoder(sigma=1.0).fit(X)
    x = encoder.expand(encoder.positions(X))
    assert (x**2).mean() == pytest.approx(0.5, abs=1e-3)
    model = Model.build(encoder, (), n_outputs=500, link="softmax", seed=1)
    z = model.forward(X)
    assert (z**2).mean() == pytest.approx(0.5 / 2, rel=0.1)


# ---- the estimators ---------------------------------------------------------------------------


def oscillating(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, np.sin(4 * X[:, 0]) + np.sin(3 * X[:, 1]) + 0.1 * rng.normal(size=n)


def test_an_oscillating_target_is_learnt():
    X, y = oscillating()
    other, truth = oscillating(seed=1)
    scores = {
        encoder: farthing.Regressor(encoder=encoder, random_state=0).fit(X, y).score(other, truth)
        for encoder in ("periodic", None)
    }
    assert scores["periodic"] > 0.9 and scores[None] < 0.5


def test_the_unit_of_a_column_does_not_matter():
    X, y = oscillating()
    low, high = X.min(axis=0), X.max(axis=0)
    unit = (X - low) / (high - low)
    first = farthing.Regressor(**QUICK).fit(X, y).predict(X)
    np.testing.assert_allclose(
        farthing.Regressor(**QUICK).fit(unit, y).predict(unit), first, atol=1e-3
    )


@pytest.mark.parametrize("rows", [3000, 400])
def test_repeats_to_the_bit_and_persists(rows, tmp_path):
    X, y = credit.data()
    X, y = X[:rows], y[:rows]
    model = farthing.Classifier(**QUICK).fit(X, y)
    again = farthing.Classifier(**QUICK).fit(X, y)
    wanted = model.predict_proba(X)
    assert np.array_equal(again.predict_proba(X), wanted)
    joblib.dump(model, tmp_path / "m.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "m.joblib")):
        assert np.array_equal(copy.predict_proba(X), wanted)
    other = farthing.Classifier(**{**QUICK, "random_state": 1}).fit(X, y)
    own, others = (m.model_.encoder.frequencies_ for m in (model, other))
    assert not np.isin(own, others).any()


def test_skops():
    X, y = credit.data()
    model = farthing.quantize(farthing.Classifier(**QUICK).fit(X, y), X)
    data = skops.io.dumps(model)
    trusted = skops.io.get_untrusted_types(data=data)
    assert "farthing.periodic.PeriodicEncoder" in trusted
    copy = skops.io.loads(data, trusted=trusted)
    assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_summary_and_inspect_tell_of_it(tmp_path, capsys):
    X, y = credit.data()
    model = farthing.Classifier(**QUICK, n_bins=6).fit(X, y)
    assert model.model_.summary().startswith("5 features, 30 inputs, sigmoid link")
    model.save(tmp_path / "m.farthing")
    assert main(["inspect", str(tmp_path / "m.farthing")]) == 0
    text = capsys.readouterr().out
    assert "input: periodic" in text and "shape=[8, 30]" in text


VARIANTS = {
    "int8": {},
    "8 bits of activations": {"activation_bits": 8},
    "int4": {"weight_bits": 4, "group_size": 32},
    "int8, trained": {"training": "qat", "epochs": 1},
    "int4, trained": {"weight_bits": 4, "training": "qat", "epochs": 1},
}


@pytest.mark.parametrize("hidden", [(16, 8), ()], ids=str)
@pytest.mark.parametrize("kind", ["float", *VARIANTS])
def test_the_saved_file_answers_as_the_estimator(kind, hidden, tmp_path):
    X, y = credit.data()
    model = farthing.Classifier(**{**QUICK, "hidden": hidden}).fit(X, y)
    if kind != "float":
        before = model.predict_proba(X)[:, 1]
        model = farthing.quantize(model, X, y, **VARIANTS[kind])
        assert np.abs(model.predict_proba(X)[:, 1] - before).mean() < 0.03
    model.save(tmp_path / "m.farthing")
    scorer = farthing.load(tmp_path / "m.farthing")
    assert np.array_equal(scorer.predict(X), model.predict_proba(X)[:, 1])
    assert scorer.describe()["input"] == "periodic"
    assert scorer.describe()["median_for_missing"] == list(range(5))
    if kind == "float":
        z = model.model_.forward(X)[:, 0].astype(np.float64)
        np.testing.assert_allclose(scorer.predict(X), 1 / (1 + np.exp(-z)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("amax", [127, 255])
def test_integer_sums_are_exact(amax):
    """One layer: the file's answer is what the integers of the encoder and the weights say."""
    X, y = credit.data()
    model = farthing.Regressor(**{**QUICK, "hidden": ()}).fit(X, y)
    # Nothing to measure on rows: the inputs lie in -1..1 whatever the data.
    model = farthing.quantize(model, activation_bits=7 if amax == 127 else 8)
    encoder, layer = model.model_.encoder, model.model_.layers[0]
    values = encoder.expand(encoder.positions(X, amax))
    codes = np.rint((values.astype(np.float64) + 1) * (amax / 2))
    exact = codes @ layer.quantized.values.T.astype(np.float64)
    scale = layer.quantized.scale.astype(np.float64)
    mult = (scale * (2 / amax)).astype(np.float32)
    add = (layer.bias - scale * layer.quantized.values.sum(axis=1)).astype(np.float32)
    wanted = (exact.astype(np.float32) * mult + add)[:, 0]
    np.testing.assert_array_equal(model.predict(X), wanted)


@pytest.mark.parametrize("pattern", ["unstructured", "neuron"])
def test_pruned_then_quantized(pattern):
    X, y = credit.data()
    model = farthing.Classifier(**{**QUICK, "hidden": (16, 8)}).fit(X, y)
    pruned = farthing.prune(model, X, y, sparsity=0.5, pattern=pattern, schedule="cubic", epochs=2)
    small = farthing.quantize(pruned, X, y, weight_bits=4, training="qat", epochs=1)
    for before, after in zip(pruned.model_.layers, small.model_.layers, strict=True):
        assert not after.weight[before.weight == 0].any()
    auc = [farthing.metrics.auc(y, m.predict_proba(X)[:, 1]) for m in (model, small)]
    assert auc[1] > auc[0] - 0.01


def test_group_l1_drops_all_columns_of_a_feature():
    X, _ = oscillating()
    y = np.sin(2 * X[:, 0])
    parameters = {"encoder": "periodic", "hidden": (8,), "random_state": 0}
    model = farthing.Regressor(**parameters, group_l1=0.01).fit(X, y)
    encoder, weight = model.model_.encoder, model.model_.layers[0].weight
    own = encoder.feature_of_column > 0
    assert not weight[:, own].any() and weight[:, ~own].any()
    assert model.score(X, y) > 0.98
    changed = X.copy()
    changed[:, 1:] = np.nan
    for small in (model, farthing.quantize(model, X, y, training="qat", epochs=1)):
        assert np.array_equal(small.predict(changed), small.predict(X))
        # And the file proves it; what rises and falls with the feature it does not.
        assert certify(small._bytes()) == {1: 0, 2: 0}


def test_warm_start_keeps_the_frequencies_and_refuses_another_encoder():
    X, y = credit.data()
    model = farthing.Classifier(**QUICK, warm_start=True, calibrate=False).fit(X, y)
    before, frequencies = model.predict_proba(X), model.model_.encoder.frequencies_
    model.set_params(learning_rate=1e-9, random_state=5).fit(X, y)
    np.testing.assert_array_equal(model.model_.encoder.frequencies_, frequencies)
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-5)
    with pytest.raises(ValueError, match=r"go on with the encoder .*'periodic', got None"):
        model.set_params(encoder=None).fit(X, y)


def test_refit_and_distillation():
    X, y = oscillating()
    parameters = {"encoder": "periodic", "hidden": (32,), "random_state": 0}
    plain, again = (farthing.Regressor(**parameters, refit=on).fit(X, y) for on in (False, True))
    encoders = [model.model_.encoder.frequencies_ for model in (plain, again)]
    np.testing.assert_array_equal(*encoders)
    assert min(plain.score(X, y), again.score(X, y)) > 0.85
    teacher = LGBMRegressor(n_estimators=50, verbose=-1).fit(X, y)
    pupil = farthing.Regressor(encoder="periodic", hidden=(32,))
    student = farthing.distill(teacher, X, y, student=pupil, random_state=0)
    assert isinstance(student.model_.encoder, PeriodicEncoder)
    assert student.score(X, y) > 0.85


def test_missing_takes_the_median():
    X, y = credit.data()
    model = farthing.Classifier(**QUICK).fit(X, y)
    missing = X[:50].copy()
    missing[:, 2] = np.nan
    filled = missing.copy()
    filled[:, 2] = np.nanquantile(X, 0.5, axis=0, method="inverted_cdf")[2]
    median = model.model_.encoder.fill_[2]
    assert median == pytest.approx(filled[0, 2], rel=0.2)
    filled[:, 2] = median
    assert np.array_equal(model.predict_proba(missing), model.predict_proba(filled))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"monotone_constraints": {0: 1}}, "need encoder='piecewise_linear' or None, got 'per"),
        ({"edges": "teacher"}, "edges 'teacher' needs encoder='piecewise_linear'.*'periodic'"),
        ({"categorical_features": [1]}, "need encoder='piecewise_linear', got encoder='periodic'"),
        ({"encoder": "periodical"}, "must be one of 'piecewise_linear', 'periodic', None, got"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(parameters, message):
    X, y = credit.data()

    def never(told):
        raise AssertionError(told)

    model = farthing.Classifier(**{**QUICK, "callback": never, **parameters})
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    if parameters.keys() != {"encoder"}:
        with pytest.raises(ValueError, match=message):
            farthing.distill(credit.fitted(), X, y, student=model)


def test_text_columns_and_infinities_are_refused():
    X, y = credit.data()
    frame = pd.DataFrame(X).assign(job=np.where(X[:, 1] > 0, "own", "rent"))
    frame.columns = frame.columns.map(str)
    model = farthing.Classifier(**QUICK, categorical_features="from_dtype")
    with pytest.raises(ValueError, match="got encoder='periodic'"):
        model.fit(frame, y)
    fitted = farthing.Classifier(**QUICK).fit(X, y)
    wrong = X[:3].copy()
    wrong[1, 3] = np.inf
    with pytest.raises(ValueError, match="feature 3 is infinite"):
        fitted.predict(wrong)


def test_a_bare_model_is_not_constrained_either(rng):
    X = columns(rng)
    model = Model.build(PeriodicEncoder().fit(X), (4,), link="identity")
    with pytest.raises(FarthingError, match=r"None on a periodic encoding.*rise and fall"):
        constrain(model, {0: 1}, X)
    constrain(model, {}, X)


def test_linear_coefficients_are_of_no_encoder_only():
    X, y = credit.data()
    for encoder in ("periodic", "piecewise_linear"):
        model = farthing.Classifier(hidden=(), encoder=encoder, max_epochs=1, random_state=0)
        assert not hasattr(model.fit(X, y), "coef_")
    assert isinstance(model.model_.encoder, PiecewiseLinearEncoder)
