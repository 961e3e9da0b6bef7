"""Each way to choose integers and ranges, against calculations of its own."""

import itertools

import credit
import numpy as np
import pytest
from rounding import INT4, problem

import farthing
from farthing.grids import fit_grid
from farthing.layers import Dense
from farthing.quantization import quantize_weight
from farthing.quantization.affine import affine
from farthing.quantization.formats import WeightFormat
from farthing.quantization.methods import METHODS
from farthing.quantization.ranges import CALIBRATIONS


def error(layer, packed, bias, x):
    wanted = x @ layer.weight.T.astype(float) + layer.bias
    return float(((x @ packed.dequantize().T.astype(float) + bias - wanted) ** 2).mean())


# ---- solvers ------------------------------------------------------------------------------------


def gptq_by_definition(layer, x, form):
    """Column after column; each time the least-squares optimum of all that are left, by solving."""
    packed = quantize_weight(layer.weight, form.bits, form.weight_max)
    k = layer.n_inputs
    A = np.column_stack([x, np.ones(len(x))])
    H = A.T @ A / len(x)
    H[np.arange(k), np.arange(k)] += 0.01 * np.trace(H[:k, :k]) / k
    order = list(np.argsort(-np.diagonal(H)[:k], kind="stable"))
    values = np.zeros(layer.weight.shape, int)
    biases = []
    for i, row in enumerate(layer.weight.astype(float)):
        w = np.append(row, layer.bias[i])
        left = [*order, k]
        scale = float(packed.scale[i])
        for column in order:
            left.remove(column)
            q = np.clip(np.rint(w[column] / scale), -7, 7)
            values[i, column] = q
            # With w_c moved by d the best w of the others moves by -H_ll^-1 H_lc d.
            d = q * scale - w[column]
            w[left] -= np.linalg.solve(H[np.ix_(left, left)], H[left, column] * d)
        biases.append(w[k])
    return values, np.array(biases)


def test_gptq_is_the_best_answer_of_what_is_left_to_each_rounding():
    layer, x, weight = problem()
    packed, bias = METHODS["gptq"](layer, INT4, x, weight)
    values, biases = gptq_by_definition(layer, x, INT4)
    np.testing.assert_array_equal(packed.values, values)
    np.testing.assert_allclose(bias, biases, rtol=1e-6)


@pytest.mark.parametrize("method", ["gptq", "adaround"])
@pytest.mark.parametrize("group", [None, 32])
def test_solvers_repeat_the_sums_better_than_rounding_to_nearest(method, group):
    layer, x, weight = problem(k=72)
    form = WeightFormat(4, 7, group)
    near = METHODS["rtn"](layer, form, x, weight)
    packed, bias = METHODS[method](layer, form, x, weight)
    shift = (x @ (near[0].dequantize() - layer.weight).T).mean(axis=0)
    assert error(layer, packed, bias, x) < 0.5 * error(layer, near[0], near[1] - shift, x)
    assert np.array_equal(packed.scale, near[0].scale)


def test_adaround_goes_up_or_down_and_no_further():
    layer, x, weight = problem()
    packed, bias = METHODS["adaround"](layer, INT4, x, weight)
    step = packed.scale[:, None].astype(float)
    scaled = np.clip(layer.weight / step, -7, 7)
    assert (np.abs(packed.values - scaled) < 1).all()
    assert (packed.values != np.rint(scaled)).any()
    mean = x @ (packed.dequantize() - layer.weight).T.astype(float) + bias - layer.bias
    np.testing.assert_allclose(mean.mean(axis=0), 0, atol=1e-6)


def test_adaround_settles_its_weights_where_inputs_vary_together():
    """Rectified inputs: less than half of the error of rounding to nearest is left."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8)) @ rng.normal(size=(8, 60)) + 0.5 * rng.normal(size=(2000, 60))
    x = np.maximum(x, 0)
    layer = Dense("dense1", rng.normal(size=(16, 60)).astype(np.float32), np.zeros(16, np.float32))
    left = {}
    for method in ("adaround", "rtn"):
        packed, _ = METHODS[method](layer, INT4, x, np.full(2000, 1 / 2000))
        off = packed.dequantize().astype(float) - layer.weight
        left[method] = np.trace(off @ np.cov(x.T) @ off.T)
    assert left["adaround"] < 0.5 * left["rtn"]


def test_adaround_comes_nearer_the_best_of_all_roundings_than_nearest():
    """Of all 2^10 of a row, by trying them."""
    to_best = {"adaround": [], "rtn": []}
    for seed in range(8):
        layer, x, weight = problem(seed, n=4, k=10)
        packed = {name: METHODS[name](layer, INT4, x, weight)[0] for name in to_best}
        step = packed["rtn"].scale[:, None].astype(float)
        below = np.floor(np.clip(layer.weight / step, -7, 7))
        ups = np.array(list(itertools.product((0, 1), repeat=10)))
        H = np.cov(x.T, bias=True)
        for i, row in enumerate(layer.weight.astype(float)):
            off = np.minimum(below[i] + ups, 7) * step[i] - row
            least = np.einsum("ij,jk,ik->i", off, H, off).min()
            for name, own in packed.items():
                got = own.values[i] * step[i] - row
                to_best[name].append(got @ H @ got / least)
    assert min(to_best["adaround"]) >= 1 - 1e-9
    assert np.median(to_best["adaround"]) < 0.6 * np.median(to_best["rtn"])


@pytest.mark.parametrize("method", METHODS)
def test_solvers_keep_zeros_and_signs(method):
    layer, x, weight = problem()
    rng = np.random.default_rng(1)
    layer.sign = rng.choice([-1, 0, 1], layer.weight.shape).astype(np.int8)
    layer.set_mask(rng.random(layer.weight.shape) < 0.5)
    layer.project()
    packed, _ = METHODS[method](layer, INT4, x, weight)
    assert not packed.values[layer.weight == 0].any()
    assert (packed.values * layer.sign >= 0).all() and np.abs(packed.values).max() <= 7


def test_rows_count_by_their_weights():
    layer, x, _ = problem()
    twice = np.concatenate([x, x[:100]])
    share = np.ones(len(x))
    share[:100] = 2
    first = METHODS["gptq"](layer, INT4, twice, np.full(500, 1 / 500))
    second = METHODS["gptq"](layer, INT4, x, share / share.sum())
    assert np.array_equal(first[0].values, second[0].values)
    np.testing.assert_allclose(first[1], second[1])


def test_bias_correction_leaves_no_mean_difference():
    """Of sums on the rows that were measured; behind a link and a second layer nearly none."""
    X, y = credit.data()
    base = credit.fitted()
    arguments = {"weight_bits": 4, "calibrate": False, "validation": (X, y)}
    means = {}
    for corrected in (False, True):
        small = farthing.quantize(base, X, bias_correction=corrected, **arguments)
        z = [np.log(p / (1 - p)) for p in (m.predict_proba(X)[:, 1] for m in (small, base))]
        means[corrected] = abs(float((z[0] - z[1]).mean()))
    assert means[True] < 0.004 < means[False]

    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 8)) + 1
    y = X @ rng.normal(size=8)
    linear = farthing.Regressor((), encoder=None, random_state=0).fit(X, y)
    arguments["validation"] = (X, y)
    for corrected in (False, True):
        small = farthing.quantize(linear, X, bias_correction=corrected, **arguments)
        means[corrected] = abs(float((small.predict(X) - linear.predict(X)).mean()))
    assert means[True] < 1e-5 < 1e-3 < means[False]


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_the_scale_of_a_row_is_nearly_the_best_of_all(spread):
    """By trying many, of rows with few to many outliers."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(20, 64)) * np.exp(spread * rng.normal(size=(20, 64)))
    packed = quantize_weight(weight, 4, 7)
    for row, scale, values in zip(weight, packed.scale, packed.values, strict=True):
        tried = np.abs(row).max() / 7 * np.linspace(0.5, 1, 201)
        integers = np.clip(np.rint(row / tried[:, None]), -7, 7)
        least = ((integers * tried[:, None] - row) ** 2).sum(axis=1).min()
        assert ((values * float(scale) - row) ** 2).sum() < 1.15 * least


# ---- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("low", [None, 0.0])
def test_ranges_hold_most_values_and_constants(name, low, rng):
    values = rng.exponential(size=20_000).astype(np.float32)
    grid = CALIBRATIONS[name](values, 127, low=low)
    top = grid.offset + 127 * grid.scale
    assert grid.offset >= 0 and (low is None or grid.offset == 0)
    assert np.quantile(values, 0.98) < top <= values.max() * (1 + 1e-6)
    for constant in (0.0, 2.0):
        grid = CALIBRATIONS[name](np.full(10, constant, np.float32), 127, low=low)
        assert grid.scale > 0
        rounded = grid.rounded(np.full(1, constant), 127)
        assert rounded[0] == pytest.approx(constant, rel=0.01)


def test_minmax_and_percentile_are_what_they_say(rng):
    values = rng.normal(size=100_001)
    grid = CALIBRATIONS["minmax"](values, 255)
    assert (grid.offset, grid.offset + 255 * grid.scale) == pytest.approx(
        (values.min(), values.max())
    )
    grid = CALIBRATIONS["percentile"](values, 255)
    ends = np.sort(values)[[50, 99_950]]
    assert (grid.offset, grid.offset + 255 * grid.scale) == pytest.approx(tuple(ends))


def test_calibration_is_what_the_layers_get():
    X, _ = credit.data()
    ends = {}
    for name in CALIBRATIONS:
        small = farthing.quantize(credit.fitted(), X, calibration=name).model_
        ends[name] = small.layers[0].output_scale
    assert ends["mse"] < ends["minmax"] and ends["percentile"] < ends["minmax"]
    assert CALIBRATIONS["mse"] is fit_grid


# ---- the article's scheme -----------------------------------------------------------------------


def test_affine_is_the_article_s_formula():
    weight = np.array([[-0.4, 0.1, 0.6], [1.1, 0.0, -0.9]])
    for bits in (2, 4, 8):
        for rounding, function in (("nearest", np.rint), ("floor", np.floor)):
            integers, step, zero = affine(weight, bits, rounding)
            scaled = (weight + 0.9) / 2.0  # to [0, 1]
            np.testing.assert_array_equal(integers, function(scaled * (2**bits - 1)))
            assert (zero, step * (2**bits - 1)) == pytest.approx((-0.9, 2.0))


def test_stochastic_rounding_is_right_in_the_mean(rng):
    weight = np.array([[0.0, 0.3, 0.71, 1.0]])
    drawn = [affine(weight, 2, "stochastic", rng)[0] for _ in range(4000)]
    np.testing.assert_allclose(np.mean(drawn, axis=0), 3 * weight, atol=0.03)
    assert set(np.ravel([d[0, 1] for d in drawn])) == {0, 1}


def test_affine_keeps_floats_zeros_and_the_order_of_its_roundings(tmp_path):
    X, y = credit.data()
    pruned = farthing.prune(credit.fitted(), sparsity=0.5)
    auc = {}
    for rounding in ("nearest", "floor", "stochastic"):
        small = farthing.quantize(
            pruned, X, y, weight_bits=4, scheme="affine", rounding=rounding, random_state=0
        )
        assert not small.model_.is_quantized
        for old, new in zip(pruned.model_.layers, small.model_.layers, strict=True):
            assert not new.weight[old.weight == 0].any()
            assert len(np.unique(new.weight)) <= 17
        small.save(tmp_path / "m.farthing")
        score = farthing.load(tmp_path / "m.farthing").predict(X)
        np.testing.assert_allclose(score, small.predict_proba(X)[:, 1], atol=1e-6)
        auc[rounding] = farthing.metrics.auc(y, score)
    assert auc["nearest"] > max(auc["floor"], auc["stochastic"])
    with pytest.raises(ValueError, match="scheme 'affine' needs float weights, got a quantized"):
        farthing.quantize(farthing.quantize(pruned, X), X, scheme="affine")


# ---- rows that count more -----------------------------------------------------------------------


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_grids_go_by_the_weights_of_rows(calibration):
    X, _ = credit.data()
    X = X[:1000]
    model = farthing.Classifier((16, 8), encoder=None, max_epochs=2, random_state=0)
    model = model.fit(X, credit.data()[1][:1000])
    far = X * np.where(np.arange(1000) < 20, 30, 1)[:, None]  # of some rows all values
    options = {"calibration": calibration, "calibrate": False}

    def grids(rows, weight=None):
        small = farthing.quantize(
            model, rows, sample_weight=weight, validation=(X, None), **options
        )
        return np.array([layer.output_scale for layer in small.model_.layers[:-1]])

    light = np.where(np.arange(1000) < 20, 1e-6, 1.0)
    np.testing.assert_allclose(grids(far, light), grids(far[20:]), rtol=0.1)
    np.testing.assert_array_equal(grids(far, np.full(1000, 3.0)), grids(far))
    assert (grids(far) > 1.5 * grids(far[20:])).any()
