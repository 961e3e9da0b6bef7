"""Small .farthing files built by hand from docs/file-format.md, and what they must answer."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field

import numpy as np

from farthing import container

LINKS = {"identity": 0, "sigmoid": 2, "softmax": 3}
BINARY = {"kind": "binary", "classes": [0, 1], "positive": 1, "decision_threshold": 0.5}


def record(kind, *, inputs, outputs, **fields):
    """One 32-byte operation."""
    order = ("bits", "tensor", "group_size", "activation", "storage", "amax_in", "amax_out")
    bits, tensor, group, activation, storage, amax_in, amax_out = (fields.get(f, 0) for f in order)
    return struct.pack(
        "<HHIIIIHHHHI",
        *(kind, bits, inputs, outputs, tensor, group, activation, storage, amax_in, amax_out, 0),
    )


def texts(names):
    """The two tensors of a list of feature names."""
    encoded = [name.encode() for name in names]
    offsets = np.cumsum([0] + [len(name) for name in encoded]).astype(np.int32)
    return [("names.text", np.frombuffer(b"".join(encoded), np.uint8)), ("names.offsets", offsets)]


@dataclass
class Parts:
    """A model as it is written: operations, tensors, names and the info document."""

    operations: list
    tensors: list
    names: list | None = None
    info: dict = field(default_factory=lambda: {"critical": {"target": BINARY}})

    def dumps(self) -> bytes:
        tensors = [("ops", np.frombuffer(b"".join(self.operations), np.uint8)), *self.tensors]
        if self.names is not None:
            tensors += texts(self.names)
        document = json.dumps(self.info).encode()
        return container.dumps([*tensors, ("info", np.frombuffer(document, np.uint8))])


def logistic(features=3, outputs=1, link="sigmoid", names=None, target=BINARY, seed=0):
    """Standardized inputs and one float layer."""
    rng = np.random.default_rng(seed)
    vectors = [rng.normal(size=features).astype(np.float32) for _ in range(3)]
    return Parts(
        [
            record(1, inputs=features, outputs=features, tensor=1),
            record(3, inputs=features, outputs=outputs, tensor=4, bits=32),
            record(5, inputs=outputs, outputs=outputs, activation=LINKS[link]),
        ],
        [
            ("input.shift", vectors[0]),
            ("input.scale", np.abs(vectors[1]) + 1),
            ("input.fill", vectors[2]),
            ("dense0.weight", rng.normal(size=(outputs, features)).astype(np.float32)),
            ("dense0.bias", rng.normal(size=outputs).astype(np.float32)),
        ],
        names,
        {"critical": {"target": target}},
    )


def encoded(features=5, bins=4, hidden=16, seed=0, missing=(0,)):
    """An int8 first layer fused with the encoding, then an int4 layer of one output."""
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.normal(size=(features, bins + 1)), axis=1).astype(np.float32)
    fill = np.median(edges, axis=1).astype(np.float32)
    fill[list(missing)] = np.nan
    width = features * bins + len(missing)
    first = rng.integers(-64, 65, (hidden, width)).astype(np.int8)
    last = rng.integers(-7, 8, (1, hidden)).astype(np.int8)
    nibbles = (last[:, 0::2] & 15 | last[:, 1::2] << 4).astype(np.uint8)
    return Parts(
        [
            record(
                4,
                inputs=features,
                outputs=hidden,
                tensor=1,
                bits=8,
                activation=1,
                amax_in=127,
                amax_out=127,
            ),
            record(3, inputs=hidden, outputs=1, tensor=7, bits=4, amax_in=127),
            record(5, inputs=1, outputs=1, activation=LINKS["sigmoid"]),
        ],
        [
            ("dense0.bins", np.full(features, bins, np.int32)),
            ("dense0.edges", edges.ravel()),
            ("dense0.fill", fill),
            ("dense0.weight", first),
            ("dense0.mult", np.full(hidden, 2e-4, np.float32)),
            ("dense0.add", rng.normal(30, 20, hidden).astype(np.float32)),
            ("dense1.weight", nibbles),
            ("dense1.mult", np.full(1, 1e-3, np.float32)),
            ("dense1.add", np.zeros(1, np.float32)),
        ],
    )


def logistic_scores(parts: Parts, x) -> np.ndarray:
    """What the file of `logistic` means, in float64: (rows, outputs)."""
    tensors = {name: array.astype(np.float64) for name, array in parts.tensors}
    x = np.atleast_2d(np.asarray(x, np.float64))
    x = np.where(np.isnan(x), tensors["input.fill"], x)
    x = (x - tensors["input.shift"]) * tensors["input.scale"]
    z = x @ tensors["dense0.weight"].T + tensors["dense0.bias"]
    link = struct.unpack_from("<H", parts.operations[-1], 20)[0]
    if link == LINKS["sigmoid"]:
        return 1 / (1 + np.exp(-z))
    if link == LINKS["softmax"]:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return z
