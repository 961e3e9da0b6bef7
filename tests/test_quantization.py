import inspect
import pickle

import credit
import numpy as np
import pytest

import farthing
from farthing.quantization import quantize_weight
from farthing.quantization.formats import WeightFormat
from farthing.quantization.views import WeightGrid


def scorer_of(model, tmp_path):
    model.save(tmp_path / "m.farthing")
    return farthing.load(tmp_path / "m.farthing")


def by_hand(model, X):
    """The score of a quantized estimator from its tensors' meaning in docs/file-format.md,
    every float operation in float32."""
    network = model.model_
    amax = (1 << network.activation_bits) - 1
    t, v = network.encoder.bin_and_value(X, amax)
    columns = []
    for j, bins in enumerate(network.encoder.bins_):
        order = np.arange(bins)
        code = np.where(order < t[:, [j]], amax, np.where(order == t[:, [j]], v[:, [j]], 0))
        if np.isnan(network.encoder.fill_[j]):
            missing = np.isnan(X[:, [j]].astype(np.float32))
            code = np.hstack([np.where(missing, 0, code), missing * amax])
        columns.append(code)
    x = np.hstack(columns).astype(np.int64)
    step_in = 1 / amax
    for layer in network.layers:
        q = layer.quantized
        w = q.values.astype(np.int64)
        if q.group_scales is not None:
            w = (
                w
                * np.repeat(q.group_scales.astype(np.int64), q.group_size, axis=1)[:, : w.shape[1]]
            )
        acc = (x @ w.T).astype(np.float32)
        step = layer.output_scale or 1.0
        mult = (q.scale.astype(np.float64) * step_in / step).astype(np.float32)
        add = (layer.bias.astype(np.float64) / step).astype(np.float32)
        y = acc * mult + add
        x = np.clip(np.rint(y), 0, amax).astype(np.int64)
        step_in = step
    return (1 / (1 + np.exp(-y[:, 0].astype(np.float64)))).astype(np.float32)


@pytest.mark.parametrize(
    "arguments",
    [
        {"weight_bits": 8},
        {"weight_bits": 8, "weight_max": 127, "activation_bits": 8},
        {"weight_bits": 8, "weight_max": "auto"},
        {"weight_bits": 7},
        {"weight_bits": 4},
        {"weight_bits": 4, "group_size": 32},
        {"weight_bits": 4, "group_size": 64, "activation_bits": 8},
        {"weight_bits": {"dense0": 4, "dense1": 8, "dense2": 8}},
        {"weight_bits": 4, "method": "gptq"},
        {"weight_bits": 4, "method": "gptq", "group_size": 32},
        {"weight_bits": 4, "method": "adaround", "bias_correction": True},
        {"weight_bits": 8, "calibration": "percentile"},
        {"weight_bits": 4, "training": "lsq", "epochs": 2},
        {"weight_bits": 4, "training": "integer", "epochs": 4},
        {"weight_bits": 8, "training": "integer", "epochs": 1},
    ],
    ids=str,
)
def test_integers_mean_what_the_format_says(arguments, tmp_path, isa):
    X, _ = credit.data()
    base = credit.fitted((80, 70)) if "group_size" in arguments else credit.fitted()
    small = farthing.quantize(base, X, **arguments)
    expected = by_hand(small, X)
    np.testing.assert_allclose(small.predict_proba(X)[:, 1], expected, rtol=2e-7)
    assert np.array_equal(scorer_of(small, tmp_path).predict(X), small.predict_proba(X)[:, 1])
    drop = farthing.metrics.auc(
        credit.data()[1], base.predict_proba(X)[:, 1]
    ) - farthing.metrics.auc(credit.data()[1], expected)
    assert drop < 0.01


def test_weights_round_to_nearest_within_their_range():
    weight = np.random.default_rng(0).normal(size=(5, 100))
    for bits, weight_max in ((8, 127), (8, 64), (8, 31), (4, 64)):
        q = quantize_weight(weight, bits, weight_max)
        limit = weight_max if bits == 8 else 7
        assert np.abs(q.values).max() == limit
        error = np.abs(q.dequantize() - weight)
        clipped = np.abs(q.values) == limit
        assert (error[~clipped] <= q.scale.max() / 2 + 1e-7).all()


def test_searched_scales_beat_the_largest_weights():
    weight = np.random.default_rng(1).normal(size=(8, 256))
    searched = ((quantize_weight(weight, 4).dequantize() - weight) ** 2).mean(axis=1)
    scale = np.abs(weight).max(axis=1, keepdims=True) / 7
    plain = ((np.rint(weight / scale) * scale - weight) ** 2).mean(axis=1)
    assert (searched <= plain + 1e-12).all() and searched.mean() < 0.9 * plain.mean()


def test_group_scales_beat_row_scales_and_stay_in_range():
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(6, 130)) * np.repeat(rng.uniform(0.05, 1, 13), 10)
    weight[:, 32:64] = 0
    q = quantize_weight(weight, 4, group_size=32)
    assert q.group_scales.shape == (6, 5)
    assert q.group_scales.min() >= 1 and q.group_scales.max() <= 63
    assert (q.values[:, 32:64] == 0).all()
    rows = quantize_weight(weight, 4)
    assert ((q.dequantize() - weight) ** 2).sum() < ((rows.dequantize() - weight) ** 2).sum()


def test_rows_of_zeros():
    q = quantize_weight(np.zeros((2, 40)), 4, group_size=32)
    assert not q.values.any() and np.isfinite(q.scale).all() and (q.scale > 0).all()


def test_training_recovers_what_rounding_loses():
    X, _ = credit.data()
    model = credit.fitted()
    reference = model.predict_proba(X)[:, 1]
    distance = []
    for training in (None, "qat"):
        small = farthing.quantize(model, X, weight_bits=4, training=training, calibrate=False)
        distance.append(np.abs(small.predict_proba(X)[:, 1] - reference).mean())
    assert distance[1] < 0.95 * distance[0]


@pytest.mark.parametrize("group_size", [None, 32])
def test_validation_judges_the_integers_that_are_delivered(group_size):
    rng = np.random.default_rng(3)
    grid = WeightGrid(WeightFormat(4, 64, group_size))
    weight = rng.normal(size=(5, 70)).astype(np.float32)
    grid(weight, True)
    for _ in range(3):
        weight += rng.normal(size=(5, 70), scale=0.3).astype(np.float32)
        delivered = quantize_weight(weight, 4, group_size=group_size).dequantize()
        assert not np.allclose(grid(weight, True), delivered, rtol=1e-5)
        np.testing.assert_allclose(grid(weight, False), delivered, rtol=1e-5)


def test_without_hidden_layers_no_rows_are_needed():
    X, y = credit.data()
    model = farthing.Classifier(hidden=(), max_epochs=3, random_state=0).fit(X, y)
    small = farthing.quantize(model)
    np.testing.assert_allclose(small.predict_proba(X), model.predict_proba(X), atol=0.02)


def test_standardised_inputs():
    X, y = credit.data()
    model = farthing.Classifier(hidden=(16,), encoder=None, max_epochs=5, random_state=0)
    model.fit(X, y)
    small = farthing.quantize(model, X, y, activation_bits=8)
    assert np.abs(small.predict_proba(X) - model.predict_proba(X)).mean() < 0.01
    line = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(X, X[:, 3] * 2)
    np.testing.assert_allclose(farthing.quantize(line, X).coef_[3], 2.0, rtol=0.01)


@pytest.mark.parametrize("training", [None, "qat"])
@pytest.mark.parametrize(("bits", "group_size"), [(8, None), (4, 32)])
def test_periodic_inputs(bits, group_size, training):
    X, y = credit.data()
    model = farthing.Classifier(hidden=(16,), encoder="periodic", max_epochs=5, random_state=0)
    model.fit(X, y)
    arguments = {"weight_bits": bits, "group_size": group_size, "training": training}
    small = farthing.quantize(model, X, y, **arguments)
    assert np.abs(small.predict_proba(X) - model.predict_proba(X)).mean() < 0.02
    # The first layer is not fused with the input: it may have group scales.
    first = small.model_.layers[0].quantized
    assert first.group_size == group_size
    assert (first.group_scales is None) == (group_size is None)
    with pytest.raises(ValueError, match="ranges of the hidden layers are measured"):
        farthing.quantize(model)


def test_outliers_do_not_take_the_grid_of_standardised_inputs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 4))
    X[:, 0] = np.exp(10 + 0.5 * X[:, 0])
    y = (X[:, 1] + np.log(X[:, 0]) - 10 + rng.logistic(size=4000) * 0.3 > 0).astype(int)
    X[:3, 0] = 5e7
    model = farthing.Classifier(hidden=(16,), encoder=None, random_state=0).fit(X, y)
    auc = [
        farthing.metrics.auc(y, m.predict_proba(X)[:, 1])
        for m in (model, farthing.quantize(model, X))
    ]
    assert auc[1] > auc[0] - 0.005


def test_rare_values_of_standardised_inputs_stay_apart():
    X = np.zeros((4000, 2))
    X[:3, 0] = 5.0
    X[:, 1] = np.random.default_rng(0).normal(size=4000)
    line = farthing.Regressor(hidden=(), encoder=None, solver="exact", random_state=0)
    line.fit(X, X @ [2.0, 1.0])
    small = farthing.quantize(line, X, weight_max=127, activation_bits=8)
    np.testing.assert_allclose(small.predict([[5, 0], [0, 0]]), [10, 0], atol=0.1)


def test_regressions_keep_their_units():
    X, _ = credit.data()
    y = 1e5 * np.log(X[:, 0]) + 3e6
    model = farthing.Regressor(hidden=(16,), random_state=0).fit(X, y)
    small = farthing.quantize(model, X, y, weight_bits=4, training="qat", epochs=3)
    assert small.score(X, y) > model.score(X, y) - 0.02 > 0.9


def test_models_and_the_input_stay_as_they_are():
    X, _ = credit.data()
    model = credit.fitted()
    before = model.predict_proba(X)
    small = farthing.quantize(model.model_, X)
    assert type(small) is farthing.Model and small.is_quantized
    assert not model.model_.is_quantized
    assert np.array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"weight_bits": 5}, "weight_bits of dense0 must be one of 8, 7, 6, 4, got 5"),
        ({"weight_bits": {"dense0": 8}}, "must name the layers .* got nothing for 'dense1'"),
        ({"weight_bits": {"dense9": 8}}, "must name the layers .* got 'dense9'"),
        (
            {"weight_bits": 7, "weight_max": 100},
            "weight_max must be 63 with weight_bits=7, got 100",
        ),
        ({"weight_bits": 7, "weight_max": 64}, "weight_max must be 63 with weight_bits=7, got 64"),
        ({"weight_bits": 6, "weight_max": 64}, "weight_max must be 31 with weight_bits=6, got 64"),
        ({"weight_bits": 6, "weight_max": "auto"}, "weight_max must be 31 .*, got 'auto'"),
        (
            {"weight_bits": {"dense0": 8, "dense1": 7, "dense2": 8}, "weight_max": 64},
            "weight_max must be 63 with weight_bits=7, got 64",
        ),
        (
            {"weight_bits": 4, "weight_max": "auto"},
            "weight_max must be an integer from 1 to 127 where no layer has 8 bits, got 'auto'",
        ),
        ({"weight_max": 128}, "weight_max"),
        ({"weight_max": 0}, "weight_max"),
        ({"activation_bits": 6}, "activation_bits"),
        ({"group_size": 16}, "group_size"),
        ({"training": "magic"}, "training"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 3}, "epochs must be None without training"),
        ({"group_size": 32}, "group_size must be None"),
        ({"method": "hqq"}, "method must be one of 'rtn', 'gptq', 'adaround', got 'hqq'"),
        ({"calibration": "best"}, "calibration must be one of 'mse', 'minmax', 'percentile', "),
        ({"rounding": "up"}, "rounding must be one of 'nearest', 'floor', 'stochastic', got 'up'"),
        ({"scheme": "log"}, "scheme must be one of 'symmetric', 'affine', got 'log'"),
        ({"rounding": "floor"}, "rounding must be 'nearest' but for scheme='affine'"),
        (
            {"training": "qat", "method": "gptq"},
            "method must be 'rtn' with training='qat', got 'gptq'",
        ),
        ({"training": "lsq", "bias_correction": True}, "bias_correction must be False with"),
        (
            {"training": "integer", "weight_bits": 4, "group_size": 32},
            "group_size must be None with training='integer', got 32",
        ),
        ({"scheme": "affine", "training": "qat"}, "training must be None for scheme 'affine'"),
        ({"scheme": "affine", "method": "gptq"}, "method must be 'rtn' for scheme 'affine'"),
        (
            {"scheme": "affine", "calibration": "minmax"},
            "calibration must be 'mse' for scheme 'aff",
        ),
        ({"bias_correction": "yes"}, "bias_correction must be one of False, True, got 'yes'"),
        ({"scheme": "affine", "weight_max": 64}, "weight_max must not be given for scheme 'affine"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(arguments, says):
    X, _ = credit.data()
    with pytest.raises(ValueError, match=says):
        farthing.quantize(credit.fitted(), X, **arguments)


def test_names_of_eight_bits_bring_their_own_weight_max():
    model, (X, _) = credit.fitted(), credit.data()
    for bits, largest in ((8, 64), (7, 63), (6, 31)):
        given = {} if bits == 8 else {"weight_max": largest}
        for arguments in ({}, given):
            small = farthing.quantize(model, X, weight_bits=bits, **arguments).model_
            assert {layer.quantized.weight_max for layer in small.layers} == {largest}
            assert max(np.abs(layer.quantized.values).max() for layer in small.layers) == largest
    mixed = {"dense0": 8, "dense1": 4, "dense2": 8}
    small = farthing.quantize(model, X, weight_bits=mixed, weight_max="auto").model_
    assert [layer.quantized.bits for layer in small.layers] == [8, 4, 8]


def test_the_default_weight_max_reads_as_the_number_it_is():
    default = inspect.signature(farthing.quantize).parameters["weight_max"].default
    assert repr(default) == "64" and default == 64
    passed = pickle.loads(pickle.dumps(default))
    small = farthing.quantize(credit.fitted(), credit.data()[0], weight_bits=7, weight_max=passed)
    assert small.model_.layers[0].quantized.weight_max == 63
    assert type(small.model_.layers[0].quantized.weight_max) is int


def test_missing_rows_are_asked_for():
    with pytest.raises(ValueError, match="X must be given"):
        farthing.quantize(credit.fitted())
    with pytest.raises(ValueError, match="X must be given"):
        farthing.quantize(credit.fitted(), training="qat")
    for arguments in ({"method": "gptq"}, {"bias_correction": True}):
        with pytest.raises(ValueError, match=r"X must be given: (method|bias_correction)=.* needs"):
            farthing.quantize(credit.fitted(), **arguments)
