"""From a model to the tensors of a .farthing file (docs/file-format.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import numpy as np

from farthing import _core
from farthing.encoding import PiecewiseLinearEncoder
from farthing.layers import Dense
from farthing.model import Model

__all__ = ["model_to_tensors"]

_STANDARDIZE, _QUANTIZE, _DENSE, _ENCODE_DENSE, _LINK = 1, 2, 3, 4, 5
_LINKS = {"identity": 0, "sigmoid": 2, "softmax": 3, "log": 4}

Tensors = list[tuple[str, np.ndarray]]


def _record(
    kind,
    *,
    bits=0,
    inputs,
    outputs,
    tensor=0,
    group_size=0,
    activation=0,
    storage=0,
    amax_in=0,
    amax_out=0,
):
    return struct.pack(
        "<HHIIIIHHHHI",
        kind,
        bits,
        inputs,
        outputs,
        tensor,
        group_size,
        activation,
        storage,
        amax_in,
        amax_out,
        0,
    )


def _nibbles(values: np.ndarray) -> np.ndarray:
    """int8 values (n, k) in -7..7 as uint8 (n, ceil(k / 2)), even k in the low nibble."""
    n, k = values.shape
    padded = np.zeros((n, k + k % 2), np.uint8)
    padded[:, :k] = values.view(np.uint8) & 15
    return padded[:, 0::2] | (padded[:, 1::2] << 4)


def _stored(values: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """The weights as the smaller of a plain and a Rice-coded tensor, and the storage code."""
    if bits == 4:
        plain, patterns = _nibbles(values), values.astype(np.int32).view(np.uint32)
    elif bits == 8:
        plain, patterns = values, values.astype(np.int32).view(np.uint32)
    else:
        # -0.0 is a zero weight; its sign never reaches a result.
        plain = np.where(values == 0, np.float32(0), values).astype(np.float32)
        patterns = plain.view(np.uint32)
    if np.count_nonzero(values) * 2 > values.size:
        return plain, 0
    coded = np.frombuffer(_core.rice_encode(np.ascontiguousarray(patterns), bits), np.uint8)
    return (coded, 1) if coded.nbytes < plain.nbytes else (plain, 0)


def _dense_tensors(layer: Dense, amax: int, input_scale: float) -> tuple[Tensors, dict]:
    """A layer's tensors and the fields of its record."""
    quantized = layer.quantized
    relu = int(layer.activation == "relu")
    if quantized is None:
        weight, storage = _stored(layer.weight.astype(np.float32), 32)
        tensors = [
            (f"{layer.name}.weight", weight),
            (f"{layer.name}.bias", layer.bias.astype(np.float32)),
        ]
        return tensors, {"bits": 32, "activation": relu, "storage": storage}
    weight, storage = _stored(quantized.values, quantized.bits)
    tensors = [(f"{layer.name}.weight", weight)]
    if quantized.group_scales is not None:
        tensors.append((f"{layer.name}.group_scales", quantized.group_scales))
    step = 1.0 if layer.output_scale is None else layer.output_scale
    mult = quantized.scale.astype(np.float64) * input_scale / step
    tensors += [
        (f"{layer.name}.mult", mult.astype(np.float32)),
        (f"{layer.name}.add", (layer.bias.astype(np.float64) / step).astype(np.float32)),
    ]
    return tensors, {
        "bits": quantized.bits,
        "activation": relu,
        "storage": storage,
        "amax_in": amax,
        "amax_out": 0 if layer.output_scale is None else amax,
        "group_size": 0 if quantized.group_scales is None else quantized.group_size,
    }


def _encoding_tensors(name: str, encoder: PiecewiseLinearEncoder, amax: int) -> Tensors:
    """What stands before the weights of the layer `name` that reads the encoding."""
    edges = [e for e in encoder.edges_ if len(e)]
    tensors = [
        (f"{name}.bins", encoder.bins_.astype(np.int32)),
        (f"{name}.edges", np.concatenate(edges) if edges else np.empty(0, np.float32)),
        (f"{name}.fill", encoder.fill_),
    ]
    if encoder.categories_:
        rows = np.zeros(encoder.n_features_, np.int32)
        for j, kept in encoder.categories_.items():
            rows[j] = len(kept) + 1
        tensors.append((f"{name}.categories", rows))
    if encoder.embedding_dims_:
        dims = np.zeros(encoder.n_features_, np.int32)
        for j, columns in encoder.embedding_dims_.items():
            dims[j] = columns
        flat = np.concatenate([table.ravel() for table in encoder.embeddings_.values()])
        if amax:
            # On the grid already: PiecewiseLinearEncoder.unit_range_embeddings.
            flat = np.rint(flat * np.float32(amax)).astype(np.uint8)
        tensors += [
            (f"{name}.embedding_dims", dims),
            (f"{name}.embedding", flat if amax else flat.astype(np.float32)),
        ]
    return tensors


def _text_tensors(name: str, texts: Sequence[str]) -> Tensors:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0] + [len(text) for text in encoded]).astype(np.int32)
    return [
        (f"{name}.text", np.frombuffer(b"".join(encoded), np.uint8)),
        (f"{name}.offsets", offsets),
    ]


def _category_tensors(encoder) -> Tensors:
    """The kept categories of every categorical feature, texts or numbers."""
    tensors: Tensors = []
    for j, kept in getattr(encoder, "categories_", {}).items():
        if all(isinstance(category, str) for category in kept):
            tensors += _text_tensors(f"cat.{j}", kept)
        else:
            tensors.append((f"cat.{j}.values", np.array(kept, np.float32)))
    return tensors


def model_to_tensors(model: Model, info: dict) -> Tensors:
    """The named tensors of `model` in file order.

    info: the JSON document of the ``info`` tensor, ``{"critical": ..., "optional": ...}``.
    Every tensor is a little-endian C-contiguous array of uint8, int8, int32 or float32.
    """
    amax = 0 if model.activation_bits is None else (1 << model.activation_bits) - 1
    encoder = model.encoder
    tensors: Tensors = [("ops", np.empty(0, np.uint8))]
    records = []
    first_dense = _DENSE
    if isinstance(encoder, PiecewiseLinearEncoder):
        first_dense = _ENCODE_DENSE
    else:
        scale = encoder.scale_.astype(np.float32)
        if amax:
            scale = (scale * np.float32(amax)).astype(np.float32)
        records.append(
            _record(
                _QUANTIZE if amax else _STANDARDIZE,
                inputs=model.n_features,
                outputs=model.n_features,
                tensor=len(tensors),
                amax_out=amax,
            )
        )
        tensors += [
            ("input.shift", encoder.mean_),
            ("input.scale", scale),
            ("input.fill", encoder.fill_),
        ]
    # The encoding (and the quantized input) is 1 at amax.
    input_scale = 1.0 / amax if amax else 1.0
    for index, layer in enumerate(model.layers):
        kind = first_dense if index == 0 else _DENSE
        own, fields = _dense_tensors(layer, amax, input_scale)
        inputs = layer.n_inputs
        first = len(tensors)
        if kind == _ENCODE_DENSE:
            inputs = model.n_features
            tensors += _encoding_tensors(layer.name, encoder, amax)
        tensors += own
        records.append(
            _record(kind, inputs=inputs, outputs=layer.n_outputs, tensor=first, **fields)
        )
        input_scale = layer.output_scale
    outputs = model.layers[-1].n_outputs
    records.append(_record(_LINK, inputs=outputs, outputs=outputs, activation=_LINKS[model.link]))
    tensors[0] = ("ops", np.frombuffer(b"".join(records), np.uint8))
    if model.feature_names is not None:
        tensors += _text_tensors("names", model.feature_names)
    tensors += _category_tensors(encoder)
    document = json.dumps(
        info, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
    )
    tensors.append(("info", np.frombuffer(document.encode(), np.uint8)))
    return tensors
