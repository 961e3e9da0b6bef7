"""Ten million weights masked and converted, against numpy and PyTorch, and the credit student
made smaller.

    python benchmarks/pruning.py [--weights 10000000] [--seeds 3] [--chart FILE]

First `kernels.prune_mask` and its parts against numpy's argpartition route, its partition, and
PyTorch's topk (which `torch.nn.utils.prune` uses), and the range, histogram, quantization and
nibbles of `farthing.kernels` against numpy's ways to the same: the answers are compared, ties
aside, then timed in random order, medians of the rounds, one thread. "Of memory" is the part of
that time in which the bytes read and written could be read from memory.

Then the credit student (32-16, int4) with features, neurons and bins pruned while it trains,
against the unpruned one: area under the ROC curve on final rows that nothing has seen, the first
layer's table, and one row from Python; mean and standard error over the seeds.
"""

from __future__ import annotations

import _alone  # noqa: F401
import _peers
import numpy as np
from _common import mean_and_error
from _limits import Limits
from _measure import (
    Goal,
    Measure,
    bars,
    build,
    finish,
    into,
    loop,
    machine,
    measure_of,
    parser,
    ratio,
    seconds_a_call,
    table,
)

import farthing
from farthing import _core, kernels
from farthing.demo import data
from farthing.demo.teacher import train_teacher

SPARSITY = 0.8
BLOCK = (32, 4)
# What goes, in this order.  Features by their L2 norm: the L1 norm of one grows with its number of
# bins, whatever they are worth.
STEPS = (
    {"pattern": "neuron", "sparsity": 0.5, "scope": "layer"},
    {"pattern": "feature", "sparsity": 0.2, "norm": "l2"},
    {"pattern": "feature", "sparsity": 0.4, "norm": "l2"},
    {"pattern": "bin", "sparsity": 0.5, "norm": "l2"},
)
EPOCHS = 4  # of a step
OURS = "farthing"


# ---- masks ----------------------------------------------------------------------------------


def by_argpartition(scores: np.ndarray) -> np.ndarray:
    """True = kept, of flat scores: the indices of the smallest, as numpy finds them."""
    drop = kernels.drop_count(SPARSITY, scores.size)
    keep = np.ones(scores.size, bool)
    keep[np.argpartition(scores, drop - 1)[:drop]] = False
    return keep


def by_partition(scores: np.ndarray) -> np.ndarray:
    """The same by the k-th value alone, ties all kept."""
    drop = kernels.drop_count(SPARSITY, scores.size)
    return scores >= np.partition(scores, drop)[drop]


def numpy_blocks(w: np.ndarray, *, l2: bool) -> np.ndarray:
    """The norms of all blocks; the shape is a multiple of the block."""
    (n, k), (rows, columns) = w.shape, BLOCK
    values = np.square(w) if l2 else np.abs(w)
    sums = values.reshape(n // rows, rows, k // columns, columns).sum(axis=(1, 3))
    return np.sqrt(sums) if l2 else sums


def numpy_block_mask(w: np.ndarray) -> np.ndarray:
    norms = numpy_blocks(w, l2=False)
    keep = by_argpartition(norms.ravel()).reshape(norms.shape)
    return np.repeat(np.repeat(keep, BLOCK[0], axis=0), BLOCK[1], axis=1)


def numpy_neighbours(w: np.ndarray) -> np.ndarray:
    """2:4 by argpartition of every four."""
    scores = np.abs(w).reshape(-1, 4)
    keep = np.zeros(scores.shape, bool)
    np.put_along_axis(keep, np.argpartition(scores, 1, axis=1)[:, 2:], True, axis=1)
    return keep.reshape(w.shape)


def torch_mask(w: np.ndarray):
    import torch

    torch.set_num_threads(1)
    weights, drop = torch.from_numpy(w), kernels.drop_count(SPARSITY, w.size)

    def call():
        mask = torch.ones_like(weights)
        indices = torch.topk(weights.abs().view(-1), k=drop, largest=False).indices
        mask.view(-1)[indices] = 0
        return mask

    return _peers.Product(call, lambda: call().numpy() != 0)


def parts_of(w: np.ndarray, missing: dict) -> dict[str, dict]:
    """{part: {competitor: call}}; every part's answers compared."""
    scores = np.abs(w).ravel()
    drop = kernels.drop_count(SPARSITY, w.size)
    block = f"{BLOCK[0]}x{BLOCK[1]}"
    parts = {
        "mask, unstructured": {
            OURS: lambda: kernels.prune_mask(w, SPARSITY),
            "numpy argpartition": lambda: by_argpartition(np.abs(w).ravel()).reshape(w.shape),
            "numpy partition": lambda: by_partition(np.abs(w).ravel()).reshape(w.shape),
        },
        f"mask, {block} blocks": {
            OURS: lambda: kernels.prune_mask(w, SPARSITY, block),
            "numpy argpartition": lambda: numpy_block_mask(w),
        },
        "mask, 2:4": {
            OURS: lambda: kernels.prune_mask(w, pattern="2:4"),
            "numpy argpartition": lambda: numpy_neighbours(w),
        },
        "selection alone": {
            OURS: lambda: _core.prune_select(scores, drop),
            "numpy argpartition": lambda: by_argpartition(scores),
            "numpy partition": lambda: by_partition(scores),
        },
        "scores, weights": {
            OURS: lambda: _core.prune_scores(w, 1, 1, False),
            "numpy": lambda: np.abs(w),
        },
    }
    for norm in ("l1", "l2"):
        parts[f"scores, {block} blocks, {norm}"] = {
            OURS: lambda l2=norm == "l2": _core.prune_scores(w, *BLOCK, l2),
            "numpy": lambda l2=norm == "l2": numpy_blocks(w, l2=l2),
        }
    for name, peer in build({"torch topk": lambda: torch_mask(w)}, missing).items():
        compare("mask, unstructured", peer.result(), parts["mask, unstructured"][OURS](), w)
        parts["mask, unstructured"][name] = peer.call
    for part, calls in parts.items():
        answers = [call() for name, call in calls.items() if name != "torch topk"]
        for answer in answers[1:]:
            compare(part, answer, answers[0], w)
    return parts


def conversions_of(w: np.ndarray) -> dict[str, dict]:
    """The same of the conversions between floats, integers and nibbles."""
    bins, most = 256, float(np.abs(w).max())
    scale = (np.abs(w).max(axis=1) / 7).astype(np.float32)
    q = kernels.quantize(w, scale, bits=4)
    nibbles = kernels.join_nibbles(q)

    def numpy_histogram():
        at = np.clip((w - np.float32(-most)) * np.float32(bins / (2 * most)), 0, bins - 1)
        return np.bincount(at.astype(np.int32).ravel(), minlength=bins)

    def numpy_split():
        pairs = np.stack([nibbles << 4, nibbles], axis=-1).view(np.int8) >> 4
        return pairs.reshape(q.shape)

    def numpy_join():
        return (q[:, 0::2] & 15 | q[:, 1::2] << 4).view(np.uint8)

    parts = {
        "range": {
            OURS: lambda: kernels.value_range(w),
            "numpy": lambda: (w.min(), w.max()),
        },
        "histogram, 256": {
            OURS: lambda: kernels.histogram(w, bins, -most, most),
            "numpy bincount": numpy_histogram,
        },
        "quantize, 4 bits": {
            OURS: lambda: _core.quantize_rows(w, scale, 7),
            "numpy": lambda: np.clip(np.rint(w / scale[:, None]), -7, 7).astype(np.int8),
        },
        "dequantize": {
            OURS: lambda: kernels.dequantize(q, scale),
            "numpy": lambda: q * scale[:, None],
        },
        "join nibbles": {OURS: lambda: _core.join_nibbles(q), "numpy": numpy_join},
        "split nibbles": {
            OURS: lambda: kernels.split_nibbles(nibbles, w.shape[1]),
            "numpy": numpy_split,
        },
    }
    for part, calls in parts.items():
        ours, theirs = (call() for call in calls.values())
        assert np.allclose(ours, theirs, atol=2 if "histogram" in part else 0), part
    return parts


# Bytes a weight that a part reads and writes.
MOVED = {"mask": 5, "selection": 5, "scores, weights": 8, "scores": 4, "range": 4, "histogram": 4}
MOVED |= {"quantize": 5, "dequantize": 5, "join": 1.5, "split": 1.5}


def compare(part: str, theirs: np.ndarray, ours: np.ndarray, w: np.ndarray) -> None:
    """Masks may differ where weights tie (blocks: where rounding lets their norms), norms within
    float32."""
    if part.startswith("scores"):
        theirs = theirs.reshape(ours.shape)
        assert np.allclose(theirs, ours, rtol=1e-5), part
        return
    size = BLOCK[0] * BLOCK[1] if "block" in part else 1
    differing = np.abs(w).ravel()[(theirs != ours).ravel()]
    assert len(differing) <= max(4 * size, 1e-5 * w.size), (part, len(differing))


def masks(count: int, how: Measure, missing: dict, limits: Limits) -> dict:
    rows = max(BLOCK[0], round(np.sqrt(count / 2) / BLOCK[0]) * BLOCK[0])
    columns = max(4, count // rows // 4 * 4)
    w = np.random.default_rng(how.seed).normal(size=(rows, columns)).astype(np.float32)
    conversions = conversions_of(w)
    calls = parts_of(w, missing) | conversions
    turns = {f"{part}: {name}": loop(c) for part, cs in calls.items() for name, c in cs.items()}
    seconds = seconds_a_call({**turns, **limits.reading([w.nbytes])}, how)
    _, reads = limits.rates(seconds)
    found = {part: {name: seconds[f"{part}: {name}"] for name in cs} for part, cs in calls.items()}
    rate = next(iter(reads.values()), None)
    memory = {
        part: rate and w.size * next(b for name, b in MOVED.items() if part.startswith(name)) / rate
        for part in found
    }
    named = {"seconds": found, "memory": memory, "conversions": list(conversions)}
    return {"shape": w.shape, **named}


# ---- the credit student ---------------------------------------------------------------------


def one_seed(source: data.Table, seed: int, epochs: int | None, how: Measure) -> dict:
    parts = data.split(source.y, seed)
    learn = np.concatenate([parts.fit, parts.search])
    X, y = source.X[learn], source.y[learn]
    teacher = train_teacher(source.X, source.y, parts.fit, parts.search, seed=seed)
    first = farthing.Classifier(hidden=(32, 16), random_state=seed)
    if epochs is not None:
        first.set_params(max_epochs=epochs)
    student = farthing.distill(teacher, X, y, student=first, augment=1)
    smaller = student
    for step in STEPS:
        smaller = farthing.prune(smaller, X, y, **step, schedule="cubic", epochs=epochs or EPOCHS)
    models = {
        "unpruned": farthing.quantize(student, X, y, weight_bits=4),
        "pruned": farthing.quantize(smaller, X, y, weight_bits=4),
    }
    rows = source.X[parts.final]
    few, out = list(np.ascontiguousarray(rows[:512], np.float32)), np.empty(1, np.float32)
    turns, found = {}, {}
    for kind, model in models.items():
        scorer = farthing.Scorer.from_bytes(model._bytes())
        scores = scorer.predict(rows)
        assert np.array_equal(scores, model.predict_proba(rows)[:, 1])
        turns[kind] = into(few, scorer.predict, out)
        layers = scorer.describe()["layers"]
        found[kind] = {
            "auc": farthing.metrics.auc(source.y[parts.final], scores),
            "table": layers[0]["table_bytes"],
            "bytes": len(model._bytes()),
            "shape": [layers[0]["shape"][1], *(layer["shape"][0] for layer in layers)],
        }
    for kind, taken in seconds_a_call(turns, how).items():
        found[kind]["nanoseconds"] = taken * 1e9
    return found


def summary(seeds: list[dict]) -> dict:
    """Means over the seeds, with standard errors."""
    found = {}
    for kind in ("unpruned", "pruned"):
        found[kind] = {
            name: mean_and_error([seed[kind][name] for seed in seeds])
            for name in ("auc", "table", "bytes", "nanoseconds")
        }
        found[kind]["shape"] = seeds[0][kind]["shape"]
    pairs = [(seed["unpruned"], seed["pruned"]) for seed in seeds]
    found["difference"] = mean_and_error([small["auc"] - large["auc"] for large, small in pairs])
    ratios = [large["nanoseconds"] / small["nanoseconds"] for large, small in pairs]
    found["faster"] = mean_and_error(ratios)
    return found


def goals(result: dict, student: dict | None) -> list[Goal]:
    seconds = result["seconds"]["mask, unstructured"]
    text = f"mask of {np.prod(result['shape']):,} weights, vs numpy's argpartition route"
    found = [Goal(text, ratio(seconds, [OURS], ["numpy argpartition"]), 3)]
    for part in result["conversions"]:
        moving = result["memory"][part]  # None without the limits
        times = result["seconds"][part][OURS] / moving if moving else None
        found.append(Goal(f"{part}, vs moving its bytes", times, 1.5, "x", least=False))
    if student:
        steps = ", ".join(f"{step['pattern']} {step['sparsity']:g}" for step in STEPS)
        text = f"credit student pruned ({steps}): "
        loss = f"{text}loss of AUC (SE {student['difference'][1]:.4f})"
        table_kib = student["pruned"]["table"][0] / 1024
        found += [
            Goal(text + "table", table_kib, 16, " KiB", least=False),
            Goal(loss, -student["difference"][0], 0.002, "", least=False),
            Goal(text + "one row, vs unpruned int4", student["faster"][0], 1.3),
        ]
    return found


def report(result: dict, student: dict | None) -> str:
    rows = []
    for part, seconds in result["seconds"].items():
        for name, taken in seconds.items():
            against = seconds[name] / seconds[OURS]
            moving = result["memory"][part]
            limit = f"{moving / taken:.0%}" if moving else ""
            rows.append([f"{part}: {name}", f"{taken * 1e3:.2f}", f"{against:.2f}x", limit])
    head = ["{:,} x {:,} weights".format(*result["shape"]), "ms", "of ours", "of memory"]
    parts = [table(head, rows)]
    if student:
        rows = []
        for kind in ("unpruned", "pruned"):
            about = student[kind]
            rows.append(
                [
                    kind,
                    "-".join(map(str, about["shape"])),
                    *(f"{about[name][0]:,.0f}" for name in ("bytes", "table", "nanoseconds")),
                    f"{about['auc'][0]:.4f}",
                ]
            )
        head = ["credit student, int4", "columns and outputs", "file", "table", "ns a row", "AUC"]
        parts.append(table(head, rows))
        mean, error = student["difference"]
        faster, faster_error = student["faster"]
        parts.append(
            f"pruned - unpruned: AUC {mean:+.4f} (SE {error:.4f}), "
            f"{faster:.2f}x as fast (SE {faster_error:.2f})"
        )
    return "\n\n".join(parts)


def main(argv: list[str] | None = None) -> dict:
    options = parser(__doc__, rounds=15)
    options.add_argument("--weights", type=int, default=10_000_000)
    options.add_argument("--seeds", type=int, default=3, help="of the student; 0: no student")
    text = "10: the steps were chosen on others, 0 to 2 and 100 to 102"
    options.add_argument("--first-seed", type=int, default=10, help=text)
    options.add_argument("--data", default=data.DEFAULT_PATH)
    options.add_argument("--credit-rows", type=int, help="only so many, for a quick look")
    options.add_argument("--epochs", type=int, help="of every step, for a quick look")
    options = options.parse_args(argv)
    how, missing, limits, about = measure_of(options), {}, Limits(), machine()
    if limits.missing:
        missing["limits"] = limits.missing
    result, student = masks(options.weights, how, missing, limits), None
    found = {"machine": about, "masks": result, "missing": missing}
    if options.seeds:
        try:
            source = data.load(options.data).first(options.credit_rows)
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            found["seeds"] = [one_seed(source, seed, options.epochs, how) for seed in seeds]
            student = found["student"] = summary(found["seeds"])
        except ImportError as error:
            missing["credit student"] = f"not installed: {error}"
    if options.chart:
        groups = {
            part: {(name if name != OURS else "farthing"): taken * 1e3 for name, taken in s.items()}
            for part, s in result["seconds"].items()
        }
        bars(options.chart, "Pruning {:,} x {:,} weights".format(*result["shape"]), groups, "ms")
    return finish(found, report(result, student), goals(result, student), options)


if __name__ == "__main__":
    main()
