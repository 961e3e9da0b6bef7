"""Operations between the layers: activations, tables, bounds, residual sums, sines."""

from dataclasses import replace

import files
import numpy as np
import pytest

import farthing

# ---- activations and residuals -------------------------------------------------------------

ACTIVATIONS = {
    "tanh": np.tanh,
    "gelu": lambda y: 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))),
    "silu": lambda y: y / (1 + np.exp(-y)),
    "sigmoid": lambda y: 1 / (1 + np.exp(-y)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float_activations_and_residual(rng, name):
    parts = files.residual(activation=5 + list(ACTIVATIONS).index(name))
    t = {key: tensor.astype(np.float64) for key, tensor in parts.tensors}
    x = rng.normal(size=(50, 3)).astype(np.float32)
    y = (x - t["input.shift"]) * t["input.scale"]
    kept = y = ACTIVATIONS[name](y @ t["dense0.weight"].T + t["dense0.bias"])
    y = ACTIVATIONS[name](y @ t["dense1.weight"].T + t["dense1.bias"]) + kept
    expected = (y @ t["dense2.weight"].T + t["dense2.bias"])[:, 0]
    scorer = farthing.Scorer(parts.dumps())
    np.testing.assert_allclose(scorer.predict(x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal([scorer.predict(row) for row in x], scorer.predict(x))
    layers = scorer.describe()["layers"]
    assert [layer["activation"] for layer in layers] == [name, name, "linear"]
    assert [layer.get("adds") for layer in layers] == [None, "dense0", None]


@pytest.mark.parametrize("amax", [127, 255])
def test_integer_tables_and_residual(rng, amax):
    parts = files.residual(amax)
    t = dict(parts.tensors)
    x = rng.normal(2, 1, size=(200, 3)).astype(np.float32)

    def layer(name, y):
        y = (y.astype(np.int64) @ t[f"{name}.weight"].T.astype(np.int64)).astype(np.float32)
        return y * t[f"{name}.mult"] + t[f"{name}.add"]

    def rounded(y):
        return np.clip(np.rint(y), 0, amax).astype(np.uint8)

    y = rounded((x - t["input.shift"]) * t["input.scale"])
    kept = y = t["dense0.table"][rounded(layer("dense0", y))]
    y = t["dense1.table"][rounded(layer("dense1", y))]
    own, added, term = t["dense1.residual"]
    y = rounded(y * own + kept * added + term)
    expected = layer("dense2", y)[:, 0]
    assert len(np.unique(expected)) > 100
    scorer = farthing.Scorer(parts.dumps())
    np.testing.assert_array_equal(scorer.predict(x), expected)
    np.testing.assert_array_equal([scorer.predict(row) for row in x], expected)
    layers = scorer.describe()["layers"]
    assert [layer["activation"] for layer in layers] == ["table", "table", "linear"]
    assert [layer.get("adds") for layer in layers] == [None, "dense0", None]


@pytest.mark.parametrize("amax", [0, 127, 255])
def test_bounds_and_residual(rng, amax):
    parts = files.residual(amax, "bound")
    t = dict(parts.tensors)
    x = rng.normal(2, 1, size=(200, 3)).astype(np.float32)

    def layer(name, y):
        if not amax:
            weight, bias = (t[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
            return y @ weight.T + bias
        y = (y.astype(np.int64) @ t[f"{name}.weight"].T.astype(np.int64)).astype(np.float32)
        return y * t[f"{name}.mult"] + t[f"{name}.add"]

    def rounded(y):
        return np.clip(np.rint(y), 0, amax).astype(np.uint8) if amax else np.maximum(y, 0)

    y = (x - t["input.shift"]) * t["input.scale"]
    y = layer("dense0", rounded(y) if amax else y)
    kept = y = np.minimum(rounded(y), t["dense0.bound"])
    at_bound = (y == t["dense0.bound"]).mean(axis=0)
    assert ((0 < at_bound) & (at_bound < 1)).any()
    y = np.minimum(rounded(layer("dense1", y)), t["dense1.bound"])
    own, added, term = t["dense1.residual"] if amax else (1, 1, 0)
    y = y * own + kept * added + term
    expected = layer("dense2", rounded(y) if amax else y)[:, 0]
    assert len(np.unique(expected)) > 100
    scorer = farthing.Scorer(parts.dumps())
    if amax:
        np.testing.assert_array_equal(scorer.predict(x), expected)
    np.testing.assert_allclose(scorer.predict(x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal([scorer.predict(row) for row in x], scorer.predict(x))
    layers = scorer.describe()["layers"]
    assert [layer["activation"] for layer in layers] == ["relu", "relu", "linear"]
    assert [layer.get("bounded", False) for layer in layers] == [True, True, False]


# ---- periodic inputs -------------------------------------------------------------------------


@pytest.mark.parametrize("amax", [0, 127, 255])
def test_periodic_inputs(rng, amax):
    features, m, bits = 2, 3, 8 if amax else 32
    shift, scale, fill = (rng.uniform(0.5, 2, features).astype(np.float32) for _ in range(3))
    frequencies = rng.normal(size=(features, m)).astype(np.float32)
    width = 2 * m * features
    tensors = [("shift", shift), ("scale", scale), ("fill", fill), ("frequencies", frequencies)]
    tensors = [(f"input.{name}", tensor) for name, tensor in tensors]
    if amax:
        weight = rng.integers(-127, 128, (1, width)).astype(np.int8)
        mult, add = np.full(1, 1e-3, np.float32), np.full(1, 0.5, np.float32)
        tensors += [("dense0.weight", weight), ("dense0.mult", mult), ("dense0.add", add)]
    else:
        weight = rng.normal(size=(1, width)).astype(np.float32)
        tensors += [("dense0.weight", weight), ("dense0.bias", np.zeros(1, np.float32))]
    operations = [
        files.record(9, inputs=features, outputs=width, tensor=1, amax_out=amax),
        files.record(3, inputs=width, outputs=1, tensor=5, bits=bits, amax_in=amax),
        files.record(5, inputs=1, outputs=1),
    ]
    info = {"critical": {"target": {"kind": "regression"}}}
    scorer = farthing.Scorer(files.Parts(operations, tensors, info=info).dumps())
    x = rng.normal(0, 5, size=(100, features)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    scaled = (np.where(np.isnan(x), fill, x) - shift) * scale
    angle = 2 * np.pi * (scaled[:, :, None].astype(np.float64) * frequencies)
    y = np.concatenate([np.sin(angle), np.cos(angle)], axis=2).reshape(len(x), -1)
    if amax:
        y = np.rint((y.astype(np.float32) + 1) * np.float32(amax / 2))
        expected = (y @ weight[0].astype(np.float64)).astype(np.float32) * mult + add
        np.testing.assert_array_equal(scorer.predict(x), expected)
    else:
        np.testing.assert_allclose(scorer.predict(x), y @ weight[0], atol=1e-5)
    np.testing.assert_array_equal([scorer.predict(row) for row in x], scorer.predict(x))
    assert scorer.describe()["input"] == "periodic"
    assert scorer.describe()["median_for_missing"] == [0, 1]
    with pytest.raises(ValueError, match="row 0, feature 1 is infinite"):
        scorer.predict([1.0, np.inf])


# ---- inputs that are scaled alike ---------------------------------------------------------------


def replaced(parts, **tensors):
    """The same file with other tensors `input.<name>`."""
    given = {f"input.{name}": values for name, values in tensors.items()}
    return replace(parts, tensors=[(name, given.get(name, own)) for name, own in parts.tensors])


@pytest.mark.parametrize("amax", [0, 127])
@pytest.mark.parametrize("part", ["shift", "scale", "fill"])
def test_one_value_stands_for_all_inputs(rng, amax, part):
    parts = files.residual(amax)
    x = rng.normal(2, 1, size=(50, 3)).astype(np.float32)
    x[::3, 1] = np.nan
    all_alike = replaced(parts, **{part: np.full(3, 1.25, np.float32)})
    one = replaced(parts, **{part: np.full(1, 1.25, np.float32)})
    scores = [farthing.Scorer(p.dumps()).predict(x) for p in (all_alike, one)]
    np.testing.assert_array_equal(*scores)
    assert (scores[0] != farthing.Scorer(parts.dumps()).predict(x)).any()
    with pytest.raises(ValueError, match=rf"'input.{part}': is F32 \[2\], expected F32 \[3\]"):
        farthing.Scorer(replaced(parts, **{part: np.ones(2, np.float32)}).dumps())


@pytest.mark.parametrize("codes", [[0, 77, 127], [31]])
def test_codes_stand_for_missing_integers(rng, codes):
    parts = replaced(files.residual(127), fill=np.array(codes, np.uint8))
    t = dict(parts.tensors)
    x = rng.normal(2, 1, size=(60, 3)).astype(np.float32)
    meant = np.float32(t["input.shift"] + np.float32(codes) / t["input.scale"])
    assert np.array_equal(
        np.rint((meant - t["input.shift"]) * t["input.scale"]), codes * np.ones(3)
    )
    missing = rng.random(x.shape) < 0.3
    given, filled = np.where(missing, np.nan, x).astype(np.float32), np.where(missing, meant, x)
    scorer = farthing.Scorer(parts.dumps())
    np.testing.assert_array_equal(scorer.predict(given), scorer.predict(filled.astype(np.float32)))


def test_codes_that_stand_for_nothing_are_refused():
    codes = np.array([1, 2, 3], np.uint8)
    floats = replaced(files.residual(), fill=codes)
    with pytest.raises(ValueError, match=r"'input.fill': is U8 \[3\], expected F32 \[3\]"):
        farthing.Scorer(floats.dumps())
    short = replaced(files.residual(127), fill=codes[:2])
    with pytest.raises(ValueError, match=r"'input.fill': is U8 \[2\], expected U8 \[3\]"):
        farthing.Scorer(short.dumps())
    nowhere = replaced(files.residual(127), fill=codes, scale=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"'input\.fill': value 0 is not finite"):
        farthing.Scorer(nowhere.dumps())
