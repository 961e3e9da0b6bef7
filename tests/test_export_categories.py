"""The tensors of categorical features, evaluated from docs/file-format.md cell by cell."""

from itertools import pairwise

import numpy as np
import pytest
from test_export import integers, records, tensors_of

from farthing.encoding import PiecewiseLinearEncoder
from farthing.model import Model
from farthing.quantization import quantize_weight

TEXTS = sorted(["", "Größe", "a b", "z", "贷"], key=str.encode)
NUMBERS = [-2.5, 0.1, 7.0]
MANY = [f"{i:02}" for i in range(40)]


def columns(rng, n=400):
    """Categories of text with gaps, a number with gaps, categories of numbers, and many."""
    x = np.column_stack(
        [
            rng.integers(-1, 5, n),
            rng.normal(size=n),
            rng.choice([*NUMBERS, 9.0], n),
            rng.integers(-1, 40, n),
        ]
    ).astype(np.float32)
    x[rng.random(n) < 0.1, 0] = np.nan
    x[rng.random(n) < 0.1, 1] = np.nan
    x[rng.random(n) < 0.1, 3] = np.nan
    return x


def network(rng, amax=None, names=None):
    encoder = PiecewiseLinearEncoder(4).fit(
        columns(rng), categorical={0: TEXTS, 2: NUMBERS, 3: MANY}
    )
    if amax:
        encoder, _, _ = encoder.unit_range_embeddings(amax)
    model = Model.build(encoder, (3,), feature_names=names, seed=1)
    if amax:
        model.activation_bits = {127: 7, 255: 8}[amax]
        for layer in model.layers:
            layer.quantized = quantize_weight(layer.weight, 8, 64)
        model.layers[0].output_scale = 0.05
    return model


def values_of(tensors, feature):
    """The float that stands for each kept category of a feature."""
    if f"cat.{feature}.values" in tensors:
        return tensors[f"cat.{feature}.values"].tolist()
    return list(range(len(tensors[f"cat.{feature}.offsets"]) - 1))


def terms(tensors, rows, weight, amax):
    """What every feature adds to the first layer's outputs: float64 (rows, features, n)."""
    bins, edges = tensors["dense0.bins"], tensors["dense0.edges"]
    fill, kept = tensors["dense0.fill"], tensors["dense0.categories"]
    dims, table = tensors["dense0.embedding_dims"], tensors["dense0.embedding"]
    found = np.zeros((*rows.shape, len(weight)))
    column = edge = cell = 0
    for j in range(len(bins)):
        missing_row = bool(np.isnan(fill[j]))
        if not kept[j]:
            own = edges[edge : edge + bins[j] + 1]
            edge += len(own)
            for i, x in enumerate(rows[:, j]):
                if np.isnan(x) and missing_row:
                    found[i, j] = amax * weight[:, column + bins[j]]
                    continue
                x = fill[j] if np.isnan(x) else x
                t = sum(bool(e <= x) for e in own[1:-1])
                scale = np.float32(amax) / (own[t + 1] - own[t])
                v = min(max(np.float32(np.float32(x - own[t]) * scale), 0), amax)
                v = v if amax == 1 else np.rint(v)
                found[i, j] = (
                    amax * weight[:, column : column + t].sum(1) + v * weight[:, column + t]
                )
            column += bins[j] + missing_row
            continue
        values = values_of(tensors, j)
        assert kept[j] == len(values) + 1 and bins[j] == 0
        n_rows = kept[j] + missing_row
        width = dims[j] or n_rows
        for i, x in enumerate(rows[:, j]):
            other = len(values)
            row = values.index(x) if x in values else other
            if np.isnan(x):
                row = other + missing_row
            if dims[j]:
                start = cell + row * dims[j]
                e = table[start : start + dims[j]].astype(np.float64)
                found[i, j] = weight[:, column : column + width].astype(np.float64) @ e
            else:
                found[i, j] = amax * weight[:, column + row]
        column += width
        cell += n_rows * dims[j]
    assert (column, cell, edge) == (weight.shape[1], len(table), len(edges))
    return found


def test_the_order_and_types_of_the_tensors(rng):
    names = ("job", "income", "grade", "branch")
    tensors = tensors_of(network(rng, names=names))
    assert list(tensors) == [
        *("ops", "dense0.bins", "dense0.edges", "dense0.fill", "dense0.categories"),
        *("dense0.embedding_dims", "dense0.embedding", "dense0.weight", "dense0.bias"),
        *("dense1.weight", "dense1.bias", "names.text", "names.offsets"),
        *("cat.0.text", "cat.0.offsets", "cat.2.values", "cat.3.text", "cat.3.offsets", "info"),
    ]
    assert tensors["dense0.bins"].tolist() == [0, 4, 0, 0]
    assert tensors["dense0.categories"].tolist() == [6, 0, 4, 41]
    assert tensors["dense0.embedding_dims"].tolist() == [0, 0, 0, 7]
    assert tensors["dense0.embedding"].shape == (42 * 7,)
    assert np.isnan(tensors["dense0.fill"]).tolist() == [True, True, False, True]
    assert tensors["dense0.fill"][2] == 0
    assert tensors["dense0.weight"].shape == (3, 7 + 5 + 4 + 7)
    assert records(tensors)[0]["inputs"] == 4
    assert tensors["cat.2.values"].tolist() == np.float32(NUMBERS).tolist()
    text, offsets = tensors["cat.0.text"].tobytes(), tensors["cat.0.offsets"].tolist()
    assert [text[a:b].decode() for a, b in pairwise(offsets)] == TEXTS
    assert TEXTS == sorted(TEXTS)  # Python's order is that of the bytes
    kinds = {name: tensors[name].dtype.str for name in list(tensors)[4:7]}
    assert list(kinds.values()) == ["<i4", "<i4", "<f4"]


@pytest.mark.parametrize("amax", [None, 127, 255])
def test_the_first_layer_means_what_the_file_says(amax, rng):
    model = network(rng, amax)
    rows = columns(rng, 60)
    rows[0], rows[1], rows[2] = np.inf, -np.inf, 3.5
    rows[3] = [-0.0, 0.25, -0.0, 39]
    tensors = tensors_of(model)
    layer, encoder = model.layers[0], model.encoder
    encoded = encoder.expand(encoder.positions(rows, amax)).astype(np.float64)
    if amax is None:
        weight = layer.weight.astype(np.float64)
        found = terms(tensors, rows, weight, 1).sum(axis=1) + layer.bias
        np.testing.assert_allclose(found, encoded @ weight.T + layer.bias, rtol=0, atol=1e-5)
        return
    storage = records(tensors)[0].get("storage", 0)
    weight = integers(tensors["dense0.weight"], layer.weight.shape, 8, storage)
    assert tensors["dense0.embedding"].dtype == np.uint8
    assert tensors["dense0.embedding"].max() == amax
    found = terms(tensors, rows, weight, amax).sum(axis=1)
    np.testing.assert_array_equal(found, np.rint(encoded * amax) @ weight.T)


def test_no_embedding_tensors_where_none_is_embedded_and_no_kept_category(rng):
    x = np.array([[0.0], [1.0], [np.nan]])
    for kept, last in (([], "cat.0.offsets"), ([1.0], "cat.0.values")):
        model = Model.build(PiecewiseLinearEncoder().fit(x, categorical={0: kept}), ())
        tensors = tensors_of(model)
        assert "dense0.embedding" not in tensors and "dense0.embedding_dims" not in tensors
        assert list(tensors)[-2:] == [last, "info"]
    assert tensors["cat.0.values"].tolist() == [1]
