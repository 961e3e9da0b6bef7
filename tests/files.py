"""Small .farthing files built by hand from docs/file-format.md, and what they must answer."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field

import numpy as np

from farthing import container

LINKS = {"identity": 0, "sigmoid": 2, "softmax": 3, "log": 4}
BINARY = {"kind": "binary", "classes": [0, 1], "positive": 1, "decision_threshold": 0.5}


def record(kind, *, inputs, outputs, **fields):
    """One 32-byte operation."""
    order = ("tensor", "group_size", "activation", "storage", "amax_in", "amax_out", "source")
    rest = [fields.get(f, 0) for f in order]
    return struct.pack("<HHIIIIHHHHI", kind, fields.get("bits", 0), inputs, outputs, *rest)


def texts(names, owner="names"):
    """The two tensors of a list of texts."""
    encoded = [name.encode() for name in names]
    offsets = np.cumsum([0] + [len(name) for name in encoded]).astype(np.int32)
    return [
        (f"{owner}.text", np.frombuffer(b"".join(encoded), np.uint8)),
        (f"{owner}.offsets", offsets),
    ]


@dataclass
class Parts:
    """A model as it is written: operations, tensors, names, categories by feature and the info
    document."""

    operations: list
    tensors: list
    names: list | None = None
    info: dict = field(default_factory=lambda: {"critical": {"target": BINARY}})
    categories: dict = field(default_factory=dict)
    weights: tuple = ()  # integer values of weights that the tensors hold in nibbles

    def dumps(self) -> bytes:
        tensors = [("ops", np.frombuffer(b"".join(self.operations), np.uint8)), *self.tensors]
        if self.names is not None:
            tensors += texts(self.names)
        for i, kept in self.categories.items():
            if kept and not isinstance(kept[0], str):
                tensors.append((f"cat.{i}.values", np.array(kept, np.float32)))
            else:
                tensors += texts(kept, f"cat.{i}")
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
    if link == LINKS["log"]:
        return np.exp(z)
    if link == LINKS["softmax"]:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return z


def residual(amax=0, activation=5, width=12, seed=0):
    """Three features, two hidden layers of which the second adds the first, one output.  amax 0:
    floats and the activation of that number; else 8 bits and tables.  activation "bound": ReLU
    and bounds."""
    rng = np.random.default_rng(seed)
    bounded = activation == "bound"
    tensors = [(f"input.{n}", rng.uniform(1, 2, 3).astype(np.float32)) for n in ("shift", "fill")]
    scale = np.full(3, amax / 4 if amax else 1, np.float32)
    tensors.insert(1, ("input.scale", scale))
    operations = [record(2 if amax else 1, inputs=3, outputs=3, tensor=1, amax_out=amax)]
    for layer, (n, k) in enumerate(((width, 3), (width, width), (1, width))):
        name, last = f"dense{layer}", layer == 2
        out = 0 if last else amax
        fields = {"inputs": n, "outputs": n, "amax_in": amax, "amax_out": out}
        operations.append(
            record(
                3,
                **fields | {"inputs": k},
                tensor=len(tensors) + 1,
                bits=8 if amax else 32,
                activation=int(bounded and not last),
            )
        )
        if amax:
            tensors += [
                (f"{name}.weight", rng.integers(-127, 128, (n, k)).astype(np.int8)),
                (f"{name}.mult", rng.uniform(0.5, 1, n).astype(np.float32) / (80 * k)),
                (f"{name}.add", rng.uniform(0, amax, n).astype(np.float32)),
            ]
        else:
            tensors.append((f"{name}.weight", rng.normal(size=(n, k)).astype(np.float32)))
            tensors.append((f"{name}.bias", rng.normal(size=n).astype(np.float32)))
        if last:
            break
        own = amax or bounded
        at = {"tensor": len(tensors) + 1} if own else {"activation": activation}
        operations.append(record(10 if bounded else 6 if amax else 7, **fields, **at))
        if bounded:
            bound = rng.uniform(0, amax or 2, n).astype(np.float32)
            bound[::3] = amax or np.inf
            tensors.append((f"{name}.bound", bound.astype(np.uint8) if amax else bound))
        elif amax:
            tensors.append((f"{name}.table", rng.permutation(256).clip(0, amax).astype(np.uint8)))
        if layer == 1:
            at = {"tensor": len(tensors) + 1} if amax else {}
            operations.append(record(8, **fields, **at, source=2))
            if amax:
                tensors.append((f"{name}.residual", np.array([0.75, -0.5, 20.25], np.float32)))
    operations.append(record(5, inputs=1, outputs=1))
    return Parts(operations, tensors, info={"critical": {"target": {"kind": "regression"}}})


COLOURS = ["blue", "grün", "red"]
PLACES = ["", "Ada", "Zürich", "東京", "🏠"]
MIXED = {1: COLOURS, 3: [-1.5, 0.0, 2.0, 7.0], 4: PLACES, 6: [0.0, 1.0, 2.0]}
MIXED_NAMES = ["age", "colour", "income", "code", "place", "empty", "grade"]


def categorical(bits=8, amax=127, hidden=20, link="identity", target=None, names=MIXED_NAMES):
    """Seven features: numbers, texts and numbers as categories, two of them embedded, one
    without bins; then a layer of one output.  bits 32: floats."""
    rng = np.random.default_rng(bits + amax + hidden)
    features, integer = len(MIXED_NAMES), bits != 32
    bins = np.array([4, 0, 20, 0, 0, 0, 0], np.int32)
    edges = np.concatenate([np.linspace(18, 80, 5), np.linspace(0, 9, 21)]).astype(np.float32)
    fill = np.array([33, np.nan, np.nan, 0, np.nan, 0, 0], np.float32)
    rows = np.zeros(features, np.int32)
    rows[list(MIXED)] = [len(kept) + 1 for kept in MIXED.values()]
    dims = np.array([0, 0, 0, 3, 2, 0, 0], np.int32)
    learnt = np.isnan(fill)
    size = int(((rows + learnt) * dims).sum())
    width = int(np.where(dims, dims, rows + bins + learnt).sum())
    if integer:
        limit = {8: 127, 4: 7}[bits]
        embedding = rng.integers(0, amax + 1, size).astype(np.uint8)
        weight = rng.integers(-limit, limit + 1, (hidden, width)).astype(np.int8)
        mult = rng.uniform(1, 3, hidden).astype(np.float32) / (limit * amax)
        layer = [("mult", mult * 20), ("add", rng.normal(amax / 2, 9, hidden).astype(np.float32))]
        stored = (weight & 15).astype(np.uint8)
        stored = np.pad(stored, ((0, 0), (0, width % 2)))
        nibbles = stored[:, 0::2] | stored[:, 1::2] << 4
        last = rng.integers(-limit, limit + 1, (1, hidden)).astype(np.int8)
        out = [("mult", np.full(1, 1e-4, np.float32)), ("add", np.full(1, 0.25, np.float32))]
        stored_last = (last[:, 0::2] & 15 | last[:, 1::2] << 4).astype(np.uint8)
    else:
        embedding = rng.normal(size=size).astype(np.float32)
        weight = rng.normal(size=(hidden, width)).astype(np.float32)
        layer = [("bias", rng.normal(size=hidden).astype(np.float32))]
        last = rng.normal(size=(1, hidden)).astype(np.float32)
        out = [("bias", rng.normal(size=1).astype(np.float32))]
    tensors = {"bins": bins, "edges": edges, "fill": fill, "categories": rows}
    tensors |= {"embedding_dims": dims, "embedding": embedding}
    tensors |= {"weight": nibbles if bits == 4 else weight} | dict(layer)
    second = {"weight": stored_last if bits == 4 else last} | dict(out)
    largest = amax if integer else 0
    target = target or {"kind": "regression"}
    return Parts(
        [
            record(
                4,
                inputs=features,
                outputs=hidden,
                tensor=1,
                bits=bits,
                activation=1,
                amax_in=largest,
                amax_out=largest,
            ),
            record(
                3, inputs=hidden, outputs=1, tensor=1 + len(tensors), bits=bits, amax_in=largest
            ),
            record(5, inputs=1, outputs=1, activation=LINKS[link]),
        ],
        [(f"dense0.{name}", tensor) for name, tensor in tensors.items()]
        + [(f"dense1.{name}", tensor) for name, tensor in second.items()],
        names,
        {"critical": {"target": target}},
        dict(MIXED),
        (weight, last),
    )


def categorical_values(parts: Parts, x) -> np.ndarray:
    """What the file of `categorical` means before its link, exactly for integers: (rows,)."""
    t = dict(parts.tensors)
    amax = struct.unpack_from("<H", parts.operations[0], 24)[0]
    bins, fill = t["dense0.bins"], t["dense0.fill"]
    rows, dims = t["dense0.categories"], t["dense0.embedding_dims"]
    first, last = parts.weights
    scores = []
    for row in np.atleast_2d(np.asarray(x, np.float32)):
        terms, column, edge, embedded = [], 0, 0, 0
        for j, value in enumerate(row):
            learnt = int(np.isnan(fill[j]))
            if rows[j]:
                kept = parts.categories[j]
                kept = list(range(len(kept))) if isinstance(kept[0], str) else kept
                count = len(kept) + 1 + learnt
                at = kept.index(value) if value in kept else len(kept)
                at = count - 1 if np.isnan(value) else at
                if dims[j]:
                    block = t["dense0.embedding"][embedded : embedded + count * dims[j]]
                    block = block.reshape(count, dims[j])[at]
                    embedded += count * dims[j]
                    term = first[:, column] * block[0].astype(np.int64 if amax else np.float32)
                    for d in range(1, dims[j]):
                        term = term + first[:, column + d] * block[d]
                    column += dims[j]
                else:
                    term = first[:, column + at] * np.int64(amax) if amax else first[:, column + at]
                    column += count
                terms.append(term)
                continue
            own = t["dense0.edges"][edge : edge + bins[j] + 1]
            edge += bins[j] + 1 if bins[j] else 0
            filled = fill[j] if np.isnan(value) else value
            top = np.float32(amax or 1)
            for b in range(bins[j]):
                v = (filled - own[b]) * (top / (own[b + 1] - own[b]))
                inside = (b == 0 or own[b] <= filled) and (b == bins[j] - 1 or filled < own[b + 1])
                v = min(max(v, np.float32(0)), top) if inside else top if filled >= own[b] else 0
                v = 0 if np.isnan(filled) else np.rint(v) if amax else np.float32(v)
                if v:
                    terms.append(first[:, column + b] * (np.int64(v) if amax else v))
            if learnt and np.isnan(value):
                terms.append(first[:, column + bins[j]] * (np.int64(amax) if amax else 1))
            column += bins[j] + learnt
        if amax:
            total = sum(term.astype(np.int64) for term in terms)
            h = total.astype(np.float32) * t["dense0.mult"] + t["dense0.add"]
            h = np.clip(np.rint(h), 0, amax).astype(np.int64)
            z = np.float32(last[0].astype(np.int64) @ h) * t["dense1.mult"] + t["dense1.add"]
        else:
            h = t["dense0.bias"].copy()
            for term in terms:
                h += term.astype(np.float32)
            z = t["dense1.bias"].copy()
            for value, w in zip(np.maximum(h, 0), last[0], strict=True):
                z += value * w if value else 0
        scores.append(z[0])
    return np.array(scores, np.float32)


def with_target(outputs=1, **target) -> Parts:
    """A linear model of three features whose info says what its outputs are."""
    link = "softmax" if outputs > 1 else "sigmoid"
    if target.get("kind") == "regression":
        link = "identity"
    return logistic(3, outputs, link, target=target)
