"""Every tensor that export writes, against docs/file-format.md read on its own."""

import json
import struct
from itertools import pairwise

import credit
import numpy as np
import pandas as pd
import pytest
import safetensors
import safetensors.numpy

import farthing
from farthing import export
from farthing.encoding import Standardizer
from farthing.layers import QuantizedWeight
from farthing.model import Model

STANDARDIZE, QUANTIZE, DENSE, ENCODE_DENSE, LINK, PERIODIC = 1, 2, 3, 4, 5, 9
FIELDS = (
    *("kind", "bits", "inputs", "outputs", "tensor", "group_size", "activation", "storage"),
    *("amax_in", "amax_out", "source"),
)
INFO = {"critical": {"target": {"kind": "regression"}}, "optional": {"user": "é"}}


def tensors_of(model):
    """The tensors by name, in file order; each of a type and layout that the file knows."""
    pairs = export.model_to_tensors(getattr(model, "model_", model), INFO)
    tensors = dict(pairs)
    assert len(tensors) == len(pairs)
    for name, tensor in tensors.items():
        assert tensor.dtype in (np.uint8, np.int8, "<i4", "<f4"), name
        assert tensor.ndim in (1, 2) and tensor.flags.c_contiguous, name
    return tensors


def records(tensors):
    """The operations, each as {field: value} without the fields that are 0."""
    data = tensors["ops"].tobytes()
    assert len(data) % 32 == 0
    found = []
    for values in struct.iter_unpack("<HHIIIIHHHHI", data):
        fields = dict(zip(FIELDS, values, strict=True))
        found.append({name: value for name, value in fields.items() if value})
    return found


def decoded_weights(coded, n, k, bits):
    """docs/file-format.md, "Coded weights", word by word: bit patterns (n, k)."""
    number = int.from_bytes(bytes(coded.tolist()), "big")
    place = 8 * len(coded) - 32  # the unit is 2^place
    extent = 2**32 - 1
    estimates = {}

    def narrow(bound):
        """The next bit, where a 1 takes `bound` units."""
        nonlocal number, extent, place
        bit = number < bound << place
        if not bit:
            number -= bound << place
        extent = bound if bit else extent - bound
        while extent < 2**24:
            extent, place = extent * 256, place - 8
        return int(bit)

    def adaptive(*context):
        p, s = estimates.get(context, (32768, 0))
        bit = narrow((extent >> 12) * (p >> 4))
        p += int((65535 * bit - p) / (s + 2))
        estimates[context] = min(max(p, 32), 65503), min(s + 1, 60)
        return bit

    def even():
        nonlocal extent
        extent = extent // 2 * 2
        return narrow(extent // 2)

    values = np.zeros((n + 1, k + 2), np.int64)  # a row above, two columns to the left
    for i in range(n):
        for j in range(k):
            above, left, second = values[i, j + 2], values[i + 1, j + 1], values[i + 1, j]
            c = np.count_nonzero(values[: i + 1, j + 2])
            limits = [16 * c < i, 8 * c < i, 4 * c < i, 2 * c < i, 4 * c < 3 * i, True]
            density = int(i >= 4) if c == 0 else 2 + limits.index(True)
            if not adaptive("zero", density, int(left != 0) + int(second != 0), above != 0):
                continue
            if bits == 32:
                values[i + 1, j + 2] = int("".join(str(even()) for _ in range(32)), 2)
                continue
            sign = -1 if adaptive("sign", np.sign(left), np.sign(above)) else 1
            size = abs(left)
            near, path = 0 if size == 0 else 1 if size < (3 if bits == 4 else 24) else 2, ()
            for _ in range(bits - 1):
                path += (adaptive("size", near, path),)
            values[i + 1, j + 2] = sign * (1 + int("".join(map(str, path)), 2))
    assert number == 0 and place == 0
    return (values[1:, 2:] & ((1 << bits) - 1)).astype(np.uint32)


def integers(tensor, shape, bits, storage=0):
    """int64 weights of a plain or coded tensor."""
    n, k = shape
    if storage:
        patterns = decoded_weights(tensor, n, k, bits).astype(np.int64)
        return np.where(patterns >> (bits - 1), patterns - (1 << bits), patterns)
    if bits == 8:
        assert tensor.dtype == np.int8
        return tensor.astype(np.int64)
    assert tensor.dtype == np.uint8 and tensor.shape == (n, (k + 1) // 2)
    codes = np.stack([tensor & 15, tensor >> 4], axis=2).reshape(n, -1).astype(np.int64)
    assert not codes[:, k:].any()
    return np.where(codes > 7, codes - 16, codes)[:, :k]


def test_a_float_model_on_the_encoding():
    network = credit.fitted().model_
    tensors = tensors_of(network)
    assert list(tensors) == [
        *("ops", "dense0.bins", "dense0.edges", "dense0.fill", "dense0.weight", "dense0.bias"),
        *("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias", "info"),
    ]
    float_layer = {"bits": 32}
    assert records(tensors) == [
        {"kind": ENCODE_DENSE, **float_layer, "inputs": 5, "outputs": 16, "tensor": 1}
        | {"activation": 1},
        {"kind": DENSE, **float_layer, "inputs": 16, "outputs": 8, "tensor": 6, "activation": 1},
        {"kind": DENSE, **float_layer, "inputs": 8, "outputs": 1, "tensor": 8},
        {"kind": LINK, "inputs": 1, "outputs": 1, "activation": 2},
    ]
    encoder = network.encoder
    bins = tensors["dense0.bins"]
    assert bins.tolist() == [len(edges) - 1 for edges in encoder.edges_]
    np.testing.assert_array_equal(tensors["dense0.edges"], np.concatenate(encoder.edges_))
    np.testing.assert_array_equal(tensors["dense0.fill"], encoder.fill_)
    missing = np.isnan(tensors["dense0.fill"]).sum()
    assert missing == 1
    assert tensors["dense0.weight"].shape == (16, bins.sum() + missing)
    for layer in network.layers:
        np.testing.assert_array_equal(tensors[f"{layer.name}.weight"], layer.weight)
        np.testing.assert_array_equal(tensors[f"{layer.name}.bias"], layer.bias)
    assert json.loads(tensors["info"].tobytes().decode()) == INFO


def test_features_without_bins_have_no_edges():
    X, y = credit.data()
    wide = np.column_stack([np.full(len(X), 7.0), X, np.full(len(X), np.nan)])
    model = farthing.Classifier(hidden=(2,), max_epochs=1, random_state=0).fit(wide, y)
    tensors = tensors_of(model)
    bins = tensors["dense0.bins"]
    assert bins[[0, 6]].tolist() == [0, 0] and (bins[1:6] > 0).all()
    assert len(tensors["dense0.edges"]) == (bins[bins > 0] + 1).sum()
    assert tensors["dense0.weight"].shape[1] == bins.sum() + 1


def test_a_standardised_float_model():
    X, y = credit.data()
    model = farthing.Classifier(
        hidden=(6,), encoder=None, max_epochs=2, early_stopping=False, random_state=0
    ).fit(X, y)
    tensors = tensors_of(model)
    assert records(tensors) == [
        {"kind": STANDARDIZE, "inputs": 5, "outputs": 5, "tensor": 1},
        {"kind": DENSE, "bits": 32, "inputs": 5, "outputs": 6, "tensor": 4, "activation": 1},
        {"kind": DENSE, "bits": 32, "inputs": 6, "outputs": 1, "tensor": 6},
        {"kind": LINK, "inputs": 1, "outputs": 1, "activation": 2},
    ]
    standardised = (X.astype(np.float32) - tensors["input.shift"]) * tensors["input.scale"]
    np.testing.assert_allclose(np.nanmean(standardised, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(standardised, axis=0), 1, rtol=1e-5)
    median = np.nanquantile(X, 0.5, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(tensors["input.fill"], median.astype(np.float32))


@pytest.mark.parametrize("quantized", [False, True])
def test_a_periodic_model(quantized):
    X, y = credit.data()
    model = farthing.Classifier(
        hidden=(6,), encoder="periodic", n_bins=6, max_epochs=2, random_state=0
    ).fit(X, y)
    amax = 255 if quantized else 0
    if quantized:
        model = farthing.quantize(model, X, activation_bits=8)
    tensors, encoder = tensors_of(model), model.model_.encoder
    first, second = records(tensors)[:2]
    fields = {"amax_out": amax} if quantized else {}
    assert first == {"kind": PERIODIC, "inputs": 5, "outputs": 30, "tensor": 1} | fields
    assert second["kind"] == DENSE and second["inputs"] == 30 and second["tensor"] == 5
    names = ["ops", "input.shift", "input.scale", "input.fill", "input.frequencies"]
    assert list(tensors)[:5] == names
    assert tensors["input.frequencies"].shape == (5, 3)
    own = (encoder.mean_, encoder.scale_, encoder.fill_, encoder.frequencies_)
    for name, values in zip(names[1:], own, strict=True):
        np.testing.assert_array_equal(tensors[name], values)
    if not quantized:
        return
    # The integers u stand for 2 u / amax - 1.
    layer = model.model_.layers[0]
    weights = integers(tensors["dense0.weight"], (6, 30), 8, second.get("storage", 0))
    mult, add = tensors["dense0.mult"], tensors["dense0.add"]
    codes = np.random.default_rng(0).integers(0, amax + 1, (50, 30))
    values = (codes * (2 / amax) - 1) @ layer.weight.T.astype(float) + layer.bias
    np.testing.assert_allclose(
        codes @ weights.T * mult.astype(float) + add, values / layer.output_scale, atol=1e-3
    )


def test_a_regression_has_no_link():
    line = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit([[1.0], [2.0]], [2, 4])
    assert records(tensors_of(line))[-1] == {"kind": LINK, "inputs": 1, "outputs": 1}


@pytest.mark.parametrize(
    ("arguments", "bits"),
    [
        ({"weight_bits": 8}, 8),
        ({"weight_bits": 8, "activation_bits": 8}, 8),
        ({"weight_bits": 4}, 4),
        ({"weight_bits": 4, "group_size": 32}, 4),
    ],
    ids=str,
)
def test_integer_layers_mean_the_float_ones(arguments, bits):
    X, _ = credit.data()
    network = farthing.quantize(credit.fitted((70, 9)), X, **arguments).model_
    tensors = tensors_of(network)
    names = list(tensors)
    amax = (1 << arguments.get("activation_bits", 7)) - 1
    step_in = 1 / amax  # the encoding is 1 at amax
    for index, (record, layer) in enumerate(zip(records(tensors), network.layers, strict=False)):
        last = index == 2
        group_size = arguments.get("group_size", 0) if layer.name == "dense1" else 0
        assert record["kind"] == (DENSE if index else ENCODE_DENSE)
        assert names[record["tensor"]] == f"{layer.name}.{'weight' if index else 'bins'}"
        assert record.get("group_size", 0) == group_size
        assert (record["bits"], record["amax_in"]) == (bits, amax)
        assert record.get("amax_out", 0) == (0 if last else amax)
        assert record.get("activation", 0) == (0 if last else 1)
        shape = layer.weight.shape
        weights = integers(tensors[f"{layer.name}.weight"], shape, bits, record.get("storage", 0))
        limit = 64 if bits == 8 else 7
        assert np.abs(weights).max() <= limit
        if group_size:
            scales = tensors[f"{layer.name}.group_scales"]
            assert scales.dtype == np.uint8 and scales.shape == (9, 3)
            weights = weights * np.repeat(scales.astype(np.int64), 32, axis=1)[:, :70]
        else:
            assert f"{layer.name}.group_scales" not in tensors
        # sum * mult + add is the real output in steps of the output, from inputs in steps of
        # the input.
        step_out = 1 if last else layer.output_scale
        mult, add = tensors[f"{layer.name}.mult"], tensors[f"{layer.name}.add"]
        assert mult.shape == add.shape == (len(weights),)
        np.testing.assert_allclose(
            mult[:, None] * weights, layer.weight * step_in / step_out, rtol=1e-5, atol=1e-12
        )
        np.testing.assert_allclose(add, layer.bias / step_out, rtol=1e-6)
        step_in = step_out


def test_a_standardised_integer_model_has_its_inputs_on_the_grid():
    X, y = credit.data()
    model = farthing.Classifier(hidden=(6,), encoder=None, max_epochs=2, random_state=0).fit(X, y)
    small = farthing.quantize(model, X)
    tensors = tensors_of(small)
    first, second = records(tensors)[:2]
    assert first == {"kind": QUANTIZE, "inputs": 5, "outputs": 5, "tensor": 1, "amax_out": 127}
    assert (second["kind"], second["amax_in"]) == (DENSE, 127)
    known = X.astype(np.float32)[~np.isnan(X).any(axis=1)]
    code = (known - tensors["input.shift"]) * tensors["input.scale"]
    # The rows that set the range fill it, and nothing more.
    assert code.min() >= -0.01 and code.max() <= 127.01
    assert (np.ptp(code, axis=0) > 100).all()
    # A missing input takes the code of its median.
    median = small.model_.encoder.fill_
    expected = np.rint((median - tensors["input.shift"]) * tensors["input.scale"])
    assert tensors["input.fill"].dtype == np.uint8
    np.testing.assert_array_equal(tensors["input.fill"], expected)


def test_inputs_that_are_scaled_alike_are_written_once():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (300, 6)) / 2  # columns in [0, 1] stay as they are
    X[:, :3] = rng.integers(0, 2, (300, 3))
    model = farthing.Regressor(hidden=(4,), encoder=None, max_epochs=2, random_state=0)
    model = model.fit(X, X[:, 0])
    for own, kind in ((model, np.float32), (farthing.quantize(model, X), np.uint8)):
        tensors = tensors_of(own)
        assert tensors["input.shift"].tolist() == [0.0] and len(tensors["input.scale"]) == 1
        assert tensors["input.fill"].dtype == kind and len(tensors["input.fill"]) == 6


def layer_of(weight, bits):
    """A model of one layer with just these weights."""
    weight = np.asarray(weight, np.float32)
    encoder = Standardizer().fit(np.array([[0.0], [1.0]]) * np.ones(weight.shape[1]))
    model = Model.build(encoder, (), n_outputs=len(weight), link="identity")
    layer = model.layers[0]
    layer.weight = weight
    if bits != 32:
        values, scale = weight.astype(np.int8), np.ones(len(weight), np.float32)
        layer.quantized = QuantizedWeight(bits, 127 if bits == 8 else 7, values, scale)
        model.activation_bits = 7
    return model


@pytest.mark.parametrize("bits", [32, 8, 4])
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.9, 0.99, 1])
@pytest.mark.parametrize("shape", [(1, 2), (3, 7), (16, 129)])
def test_coded_weights_are_taken_only_where_they_are_smaller(bits, share, shape, rng):
    limit = 7 if bits == 4 else 100
    weight = rng.integers(1, limit + 1, shape) * rng.choice([-1.0, 1.0], shape)
    weight *= rng.random(shape) >= share
    tensors = tensors_of(layer_of(weight, bits))
    record = records(tensors)[1]
    stored = tensors["dense0.weight"]
    n, k = shape
    plain = {32: 4 * n * k, 8: n * k, 4: n * ((k + 1) // 2)}[bits]
    if record.get("storage", 0):
        assert stored.dtype == np.uint8 and stored.ndim == 1
        assert len(stored) < plain
    else:
        assert stored.nbytes == plain
    if shape == (16, 129):  # 7 sizes and two signs of equal chance fill 3.8 bits
        assert record.get("storage", 0) == (share > 0.5 if bits == 32 else 1)
    if bits == 32 and record.get("storage", 0):
        decoded = decoded_weights(stored, n, k, 32).view(np.float32)
    elif bits == 32:
        decoded = stored
    else:
        decoded = integers(stored, shape, bits, record.get("storage", 0))
    np.testing.assert_array_equal(decoded, weight)


def test_a_negative_zero_is_a_zero():
    stored = tensors_of(layer_of([[-0.0, 1.0, 2.0]], 32))["dense0.weight"]
    assert stored.tolist() == [[0.0, 1.0, 2.0]] and not np.signbit(stored).any()
    sparse = np.zeros((1, 100))
    sparse[0, 3], sparse[0, 50] = -0.0, 1.5
    tensors = tensors_of(layer_of(sparse, 32))
    assert records(tensors)[1]["storage"] == 1
    decoded = decoded_weights(tensors["dense0.weight"], 1, 100, 32)
    assert np.flatnonzero(decoded).tolist() == [50]


def test_names_are_utf8_with_offsets():
    X, y = credit.data()
    names = ["Größe", "late", "贷", "a b", "noise"]
    frame = pd.DataFrame(X, columns=names)
    model = farthing.Classifier(hidden=(2,), max_epochs=1, random_state=0).fit(frame, y)
    tensors = tensors_of(model)
    assert list(tensors)[-3:] == ["names.text", "names.offsets", "info"]
    text, offsets = tensors["names.text"].tobytes(), tensors["names.offsets"]
    assert [text[a:b].decode() for a, b in pairwise(offsets)] == names
    assert offsets[-1] == len(text)


@pytest.mark.parametrize("kind", ["float32", "int8", "int4 pruned"])
def test_safetensors_lists_what_was_saved(kind, tmp_path):
    X, _ = credit.data()
    model = credit.fitted()
    if kind == "int8":
        model = farthing.quantize(model, X)
    elif kind == "int4 pruned":
        model = farthing.quantize(farthing.prune(model, sparsity=0.9), X, weight_bits=4)
    path = tmp_path / "m.farthing"
    model.save(path, metadata={"owner": "risk"})
    read = safetensors.numpy.load_file(path)
    ours = tensors_of(model)
    assert set(read) == set(ours)
    for name in set(ours) - {"info"}:
        assert (read[name].dtype, read[name].shape) == (ours[name].dtype, ours[name].shape)
        np.testing.assert_array_equal(read[name], ours[name], err_msg=name)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["version"]) == ("farthing", "0")
    assert json.loads(read["info"].tobytes().decode()) == {
        "critical": {
            "target": {
                "kind": "binary",
                "classes": [0, 1],
                "positive": 1,
                "decision_threshold": 0.5,
            }
        },
        "optional": {
            "training": {"rows": 2700, "search_rows": 300},
            "user": {"owner": "risk"},
        },
    }
