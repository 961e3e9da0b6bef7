"""From a model to the tensors of a .farthing file (docs/file-format.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import numpy as np

from farthing import _core
from farthing._validate import FarthingError
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.grids import Grid, lookup_table
from farthing.layers import Dense
from farthing.model import Model
from farthing.periodic import PeriodicEncoder

__all__ = ["model_to_tensors"]

_STANDARDIZE, _QUANTIZE, _DENSE, _ENCODE_DENSE, _LINK = 1, 2, 3, 4, 5
_TABLE, _ACTIVATE, _ADD, _PERIODIC, _BOUND = 6, 7, 8, 9, 10
_LINKS = {"identity": 0, "sigmoid": 2, "softmax": 3, "log": 4}
_ACTIVATIONS = {"tanh": 5, "gelu": 6, "silu": 7, "sigmoid": 8}
_RECORD = struct.Struct("<HHIIIIHHHHI")
_FIELDS = (
    *("kind", "bits", "inputs", "outputs", "tensor", "group_size", "activation", "storage"),
    *("amax_in", "amax_out", "source"),
)

Tensors = list[tuple[str, np.ndarray]]


class _Writer:
    """Operations and tensors in file order."""

    def __init__(self):
        self._records: list[bytes] = []
        self._tensors: Tensors = []

    @property
    def last(self) -> int:
        """The number of the operation written last, -1 before the first."""
        return len(self._records) - 1

    def add(self, kind: int, tensors: Tensors, **fields: int) -> None:
        """An operation with its tensors and the fields of its record that are not 0."""
        # The list of operations is the file's first tensor.
        first = 1 + len(self._tensors) if tensors else 0
        own = {"kind": kind, "tensor": first} | fields
        self._records.append(_RECORD.pack(*(own.get(field, 0) for field in _FIELDS)))
        self._tensors += tensors

    def tensors(self) -> Tensors:
        return [("ops", np.frombuffer(b"".join(self._records), np.uint8)), *self._tensors]


def _stored(values: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """The weights as the smaller of a plain and a coded tensor, and the storage code."""
    if bits == 32:
        # -0.0 is a zero weight; its sign never reaches a result.
        plain = np.where(values == 0, np.float32(0), values).astype(np.float32)
        if np.count_nonzero(values) * 2 > values.size:  # without zeros there is nothing to gain
            return plain, 0
        patterns = plain.view(np.uint32)
    else:
        plain = _core.join_nibbles(np.ascontiguousarray(values)) if bits == 4 else values
        patterns = values.astype(np.int32).view(np.uint32)
    coded = _core.encode_weights(np.ascontiguousarray(patterns), bits, max(0, plain.nbytes - 1))
    return (np.frombuffer(coded, np.uint8), 1) if coded else (plain, 0)


def _float_layer(layer: Dense) -> tuple[Tensors, dict[str, int]]:
    """A layer's tensors and the fields of its record."""
    weight, storage = _stored(layer.weight.astype(np.float32), 32)
    tensors = [
        (f"{layer.name}.weight", weight),
        (f"{layer.name}.bias", layer.bias.astype(np.float32)),
    ]
    return tensors, {"bits": 32, "activation": int(layer.activation == "relu"), "storage": storage}


def _integer_layer(layer: Dense, amax: int, inputs: Grid) -> tuple[Tensors, dict[str, int]]:
    """The same for integer weights on inputs of a grid; both grids are folded into mult and add:
    ``inputs.offset`` counts once for every weight."""
    quantized = layer.quantized
    weight, storage = _stored(quantized.values, quantized.bits)
    tensors = [(f"{layer.name}.weight", weight)]
    if quantized.group_scales is not None:
        tensors.append((f"{layer.name}.group_scales", quantized.group_scales))
    grid = layer.pre_grid or layer.value_grid or layer.output_grid
    step, offset = (1.0, 0.0) if grid is None else grid
    scale = quantized.scale.astype(np.float64)
    bias = layer.bias + inputs.offset * scale * quantized.sums()
    tensors += [
        (f"{layer.name}.mult", (scale * inputs.scale / step).astype(np.float32)),
        (f"{layer.name}.add", ((bias - offset) / step).astype(np.float32)),
    ]
    return tensors, {
        "bits": quantized.bits,
        "activation": int(layer.activation == "relu" and layer.pre_grid is None),
        "storage": storage,
        "amax_in": amax,
        "amax_out": 0 if grid is None else amax,
        "group_size": 0 if quantized.group_scales is None else quantized.group_size,
    }


def _write_rest(writer: _Writer, layer: Dense, amax: int, inputs: Grid, source: int) -> None:
    """What follows a layer's sums: its activation, bounds and, added to it, its inputs.

    inputs: their grid; source: the operation that they come from.
    """
    width = {"inputs": layer.n_outputs, "outputs": layer.n_outputs}
    if not amax and layer.activation in _ACTIVATIONS:
        writer.add(_ACTIVATE, [], **width, activation=_ACTIVATIONS[layer.activation])
    integer = {"amax_in": amax, "amax_out": amax}
    if layer.pre_grid is not None:
        after = layer.value_grid or layer.output_grid
        table = lookup_table(layer.activation, layer.pre_grid, after, amax)
        writer.add(_TABLE, [(f"{layer.name}.table", table)], **width, **integer)
    if layer.bound is not None:
        bound = layer.bound.astype(np.float32)
        if amax:
            bound = (layer.value_grid or layer.output_grid).codes(bound, amax).astype(np.uint8)
        if (bound < (amax or np.inf)).any():
            writer.add(_BOUND, [(f"{layer.name}.bound", bound)], **width, **integer)
    if not layer.residual:
        return
    tensors = []
    if amax:
        own, sums = layer.value_grid, layer.output_grid
        shift = (own.offset + inputs.offset - sums.offset) / sums.scale
        factors = [own.scale / sums.scale, inputs.scale / sums.scale, shift]
        tensors = [(f"{layer.name}.residual", np.array(factors, np.float32))]
    writer.add(_ADD, tensors, **width, **integer, source=source)


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
    for j, kept in encoder.categories_.items():
        if all(isinstance(category, str) for category in kept):
            tensors += _text_tensors(f"cat.{j}", kept)
        else:
            tensors.append((f"cat.{j}.values", np.array(kept, np.float32)))
    return tensors


def _each_or_all(values: np.ndarray) -> np.ndarray:
    """One value where all are the same bits, else all of them."""
    return values[:1] if len(values) and (values == values[0]).all() else values


def _fill_codes(shift: np.ndarray, scale: np.ndarray, fill: np.ndarray, amax: int) -> np.ndarray:
    """The codes of the missing inputs, where they stand for them as the file says, else `fill`."""

    def codes(values):
        return np.rint(np.clip((values - shift) * scale, 0, amax))

    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = codes(fill)
        meant = shift + wanted / scale
        exact = np.isfinite(meant) & (codes(meant) == wanted)
    return wanted.astype(np.uint8) if exact.all() else fill


def _write_input(writer: _Writer, encoder: Standardizer | PeriodicEncoder, amax: int) -> None:
    kind, scale = _QUANTIZE if amax else _STANDARDIZE, encoder.scale_.astype(np.float32)
    frequencies: Tensors = []
    if isinstance(encoder, PeriodicEncoder):
        kind, frequencies = _PERIODIC, [("input.frequencies", encoder.frequencies_)]
    elif amax:
        scale = (scale * np.float32(amax)).astype(np.float32)
    shift, fill = encoder.mean_, encoder.fill_
    if kind == _QUANTIZE:
        fill = _fill_codes(shift, scale, fill, amax)
    parts = {"shift": shift, "scale": scale, "fill": fill}
    scaling = [(f"input.{part}", _each_or_all(values)) for part, values in parts.items()]
    writer.add(
        kind,
        [*scaling, *frequencies],
        inputs=encoder.n_features_,
        outputs=encoder.width,
        amax_out=amax,
    )


def _input_grid(encoder, amax: int) -> Grid:
    """What the integers that the first layer reads stand for; of a float model no one asks."""
    if not amax:
        return Grid(1.0)
    if isinstance(encoder, PeriodicEncoder):
        return Grid(2.0 / amax, -1.0)
    # The encoding, and the rescaled standardised input, is 1 at amax.
    return Grid(1.0 / amax)


def model_to_tensors(model: Model, info: dict) -> Tensors:
    """The named tensors of `model` in file order.

    info: the JSON document of the ``info`` tensor, ``{"critical": ..., "optional": ...}``.
    Every tensor is a little-endian C-contiguous array of uint8, int8, int32 or float32.
    """
    amax = model.input_amax or 0
    encoder = model.encoder
    writer = _Writer()
    encoded = isinstance(encoder, PiecewiseLinearEncoder)
    if not encoded:
        _write_input(writer, encoder, amax)
    inputs = _input_grid(encoder, amax)
    for index, layer in enumerate(model.layers):
        source = writer.last
        if layer.residual and index == 0 and (encoded or amax):
            raise FarthingError(
                f"{layer.name}: a residual layer must follow another layer where the input is "
                "encoded or quantized, got the first layer"
            )
        if layer.quantized is None:
            tensors, fields = _float_layer(layer)
        else:
            tensors, fields = _integer_layer(layer, amax, inputs)
        kind, width = _DENSE, layer.n_inputs
        if encoded and index == 0:
            kind, width = _ENCODE_DENSE, model.n_features
            tensors = _encoding_tensors(layer.name, encoder, amax) + tensors
        writer.add(kind, tensors, inputs=width, outputs=layer.n_outputs, **fields)
        _write_rest(writer, layer, amax, inputs, source)
        inputs = layer.output_grid
    outputs = model.n_outputs
    writer.add(_LINK, [], inputs=outputs, outputs=outputs, activation=_LINKS[model.link])
    tensors = writer.tensors()
    if model.feature_names is not None:
        tensors += _text_tensors("names", model.feature_names)
    tensors += _category_tensors(encoder)
    document = json.dumps(
        info, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
    )
    tensors.append(("info", np.frombuffer(document.encode(), np.uint8)))
    return tensors
