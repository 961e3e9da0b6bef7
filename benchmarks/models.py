"""Whole models from Python, numpy in and numpy out, against every runtime that is installed.

    python benchmarks/models.py [--batches 1,64,1024] [--threads 2] [--chart FILE]

Networks with ReLU and a sigmoid, float32 features in, scores out: ours from the saved file's
bytes, in 8 and 4 bits, against the peers in float32 and in every 8- and 4-bit form that they have.
Then the credit student against its LightGBM teacher. All take turns in random order, rows in
rotation; medians of the rounds. Every answer is first compared with the float32 network's.
--threads gives peers and ours so many in batches of 1024 rows or more.
"""

from __future__ import annotations

from functools import partial

import _alone  # noqa: F401
import _peers
import numpy as np
from _limits import Limits, loop_of, whole
from _measure import (
    Goal,
    Measure,
    bars,
    build,
    finish,
    into,
    isas,
    machine,
    measure_of,
    over,
    parser,
    ratio,
    seconds_a_call,
    table,
)
from _networks import Network
from _trees import Trees, xgboost
from latency import credit_student

import farthing
from farthing.demo import data

SHAPES = {"32-64-32-1": (32, 64, 32), "64-256-128-1": (64, 256, 128)}
SHAPES["256-1024-512-1"] = (256, 1024, 512)
KINDS = {f"int8, weight_max {most}": {"weight_max": most} for most in (127, 64, 48)}
KINDS |= {"int4, row": {"weight_bits": 4}, "int4, group 32": {"weight_bits": 4, "group_size": 32}}
LITERT = [f"LiteRT {form}" for form in ("float32", "int8", "int8 dynamic", "int4", "int4 dynamic")]
ORT_FLOAT = "onnxruntime fp32, io-binding"
ORT_U8S8 = "onnxruntime int8 U8S8, io-binding"
BATCH = 8192  # of the two threads
STUDENT = "farthing, credit student"


def trained(sizes: tuple[int, ...]):
    """A network that has seen its data once, and the data."""
    features, *hidden = sizes
    X = np.random.default_rng(0).normal(size=(4096, features)).astype(np.float32)
    model = farthing.Classifier(hidden=tuple(hidden), encoder=None, max_epochs=1, random_state=0)
    return model.fit(X, X[:, 0] + 0.5 * X[:, 1] * X[:, 2] > 0), X


def network_of(model) -> Network:
    """The same in float32, standardising folded into the first layer."""
    weights = [layer.weight.astype(np.float64) for layer in model.model_.layers]
    biases = [layer.bias.astype(np.float64) for layer in model.model_.layers]
    encoder = model.model_.encoder
    weights[0] = weights[0] * encoder.scale_
    biases[0] = biases[0] - weights[0] @ encoder.mean_
    return Network(
        [weight.astype(np.float32) for weight in weights],
        [bias.astype(np.float32) for bias in biases],
        True,
    )


def opened(content: bytes, isa: str) -> farthing.Scorer:
    farthing.set_isa(isa)
    try:
        return farthing.Scorer.from_bytes(content)
    finally:
        farthing.set_isa(None)


def scorers(model, X: np.ndarray) -> dict[str, farthing.Scorer]:
    """Ours of every kind and instruction set, their answers within what the bits allow."""
    found, expected = {}, model.predict_proba(X[:512])[:, 1]
    for kind, how in KINDS.items():
        content = farthing.quantize(model, X, **how)._bytes()
        first = None
        for isa in isas():
            scorer = opened(content, isa)
            answer = scorer.predict(X[:512])
            first = answer if first is None else first
            assert np.array_equal(answer, first), (kind, isa)
            error = np.abs(answer - expected).mean()
            assert error < (0.06 if "int4" in kind else 0.02), (kind, error)
            found[f"farthing {isa}, {kind}"] = scorer
    return found


def bound_of(scorer: farthing.Scorer, isa: str, rows: int, loops: dict, reads: dict):
    """The least seconds a batch can take: its multiply-adds, or its weights read once."""
    if not loops:
        return None
    taken = 0.0
    for layer in scorer.describe()["layers"]:
        n, k = layer["shape"]
        by = loop_of(isa, layer["bits"], layer["depth"], rows)
        if by not in loops:
            return None
        taken += rows * n * k / loops[by]
    size = whole(scorer.nbytes)
    return max(taken, size / reads[size])


def batch_of(ours, network, X, rows: int, threads: int, how: Measure, limits, missing) -> dict:
    """Every competitor on batches of so many rows."""
    count = min(256, max(2, 1024 // rows))
    X = np.resize(X, (max(len(X), rows * 2), X.shape[1]))
    batches = [np.ascontiguousarray(X[i * rows : (i + 1) * rows]) for i in range(count)]
    expected = network(batches[0])
    turns, errors = {}, {}
    out = np.empty(rows, np.float32)
    for name, scorer in ours.items():
        given = [x[0] for x in batches] if rows == 1 else batches
        call = scorer.predict if threads == 1 else partial(scorer.predict, threads=threads)
        turns[name] = into(given, call, out)
    peers = _peers.builders(network, batches, X[:2048], threads)
    for name, peer in build(peers, missing).items():
        errors[name] = float(np.abs(peer.answer(batches[0]) - expected).mean())
        most = 0.1 if "int4" in name else 0.02 if "int8" in name else 1e-4
        assert errors[name] < most, (name, errors[name])
        turns[name] = peer.turn
    sizes = sorted({whole(scorer.nbytes) for scorer in ours.values()})
    if threads > 1:
        how = how._replace(clock="wall")
    seconds = seconds_a_call({**turns, **limits.turns(), **limits.reading(sizes)}, how)
    loops, reads = limits.rates(seconds)
    bounds = {
        name: bound_of(scorer, name.split()[1].rstrip(","), rows, loops, reads)
        for name, scorer in ours.items()
    }
    return {
        "rows": rows,
        "threads": threads,
        "seconds": {name: seconds[name] for name in turns},
        "limit": {name: bound for name, bound in bounds.items() if bound and threads == 1},
        "errors": errors,
    }


def two_threads(ours: dict, X: np.ndarray, how: Measure, limits: Limits) -> dict[str, float]:
    """Seconds of ours at batch 8192 by threads, on a clock that runs for all of them, beside those
    of a loop that needs nothing but a second core."""
    X = np.resize(X, (BATCH, X.shape[1]))
    out, turns = np.empty(BATCH, np.float32), {}
    for name, scorer in ours.items():
        if not name.startswith(f"farthing {isas()[0]},"):
            continue
        for threads in (1, 2):
            call = partial(scorer.predict, threads=threads)
            turns[f"{name}, {threads} threads"] = into([X], call, out)
    return seconds_a_call({**turns, **limits.sharing()}, how._replace(clock="wall"))


def credit(options, how: Measure, missing: dict) -> dict:
    """Seconds a row of the credit student and of its teachers, one row and at batch 1024."""
    source = data.load(options.data).first(options.credit_rows)
    small, teacher, large, rows = credit_student(source, options.epochs)
    content, out = small._bytes(), np.empty(1, np.float32)
    many, out_many = np.resize(rows, (1024, rows.shape[1])), np.empty(1024, np.float32)
    float32, many32 = list(rows.astype(np.float32)), many.astype(np.float32)
    singles = [rows[i : i + 1] for i in range(len(rows))]
    one, batch = {}, {}
    for isa in isas():
        predict = opened(content, isa).predict
        one[f"{STUDENT}, {isa}"] = into(float32, predict, out)
        batch[f"{STUDENT}, {isa}"] = into([many32], predict, out_many)
    groups = Trees(teacher, f"{teacher.num_trees()} trees"), Trees(large, "500 trees")
    for trees in groups:
        one[f"LightGBM fastest call, {trees.name}"] = trees.fastest_row(rows)
        expected = trees.booster.predict(rows)
        for name, call in build(trees.builders(), missing).items():
            assert np.abs(call(rows) - expected).max() < 1e-5, name
            one[name], batch[name] = over(singles, call), over([many], call)
    own = partial(xgboost, source.X, source.y, 500)
    for name, call in build({"XGBoost, 500 trees of its own": own}, missing).items():
        one[name], batch[name] = over(singles, call), over([many], call)
    one, batch = seconds_a_call(one, how), seconds_a_call(batch, how)
    return {
        "trees": teacher.num_trees(),
        "one row": one,
        "batch 1024": {name: taken / 1024 for name, taken in batch.items()},
    }


def ours_of(seconds: dict) -> list[str]:
    return [name for name in seconds if name.startswith(f"farthing {isas()[0]},")]


def goals(results: dict) -> list[Goal]:
    found = []
    for shape, rows, peers, text, goal in [
        ("32-64-32-1", 1, LITERT, "LiteRT (best form)", 14),
        ("32-64-32-1", 1, [ORT_FLOAT], "ORT fp32 io-binding", 35),
        ("64-256-128-1", 1, LITERT, "LiteRT (best form)", 5),
        ("64-256-128-1", 1, [ORT_FLOAT], "ORT fp32 io-binding", 15),
        ("256-1024-512-1", 1, LITERT, "LiteRT (best form)", 2),
        ("256-1024-512-1", 1, None, "best ORT", 3.7),
        ("64-256-128-1", 1024, [ORT_U8S8], "ORT U8S8", 1.9),
        ("256-1024-512-1", 1024, [ORT_U8S8], "ORT U8S8", 1.6),
    ]:
        for result in results["networks"].get(shape, []):
            if result["rows"] != rows:
                continue
            seconds, limit = result["seconds"], result["limit"]
            theirs = peers or [name for name in seconds if name.startswith("onnxruntime")]
            mine = ours_of(seconds)
            best = min(mine, key=seconds.get).split(", ", 1)[1]
            text = f"{shape}, batch {rows}, vs {text} (ours: {best})"
            ceiling = ratio(seconds | limit, mine, theirs) if limit else None
            found.append(Goal(text, ratio(seconds, mine, theirs), goal, ceiling=ceiling))
    if "credit" in results:
        found += credit_goals(results["credit"])
    for shape, seconds in results["two threads"].items():
        one, two = " 1 threads", " 2 threads"
        gains = {
            name.removesuffix(one): taken / seconds[name.removesuffix(one) + two]
            for name, taken in seconds.items()
            if name.endswith(one)
        }
        ceiling = gains.pop("limit,", None)
        least = min(gains, key=gains.get)
        text = f"two threads at batch {BATCH}, {shape} (least: {least.split(', ', 1)[1][:-1]})"
        found.append(Goal(text, gains[least], 1.9, ceiling=ceiling))
    return found


def credit_goals(times: dict) -> list[Goal]:
    one, batch, trees = times["one row"], times["batch 1024"], f"{times['trees']} trees"
    mine = [f"{STUDENT}, {isas()[0]}"]
    exact = [name for name in batch if name.endswith(trees)]
    return [
        Goal(
            f"credit student 32-16 int4, 1 row, vs {text}",
            ratio(one, mine, [name]),
            goal,
        )
        for text, name, goal in [
            (f"LightGBM's fastest call ({trees})", f"LightGBM fastest call, {trees}", 25),
            (f"lleaves ({trees})", f"lleaves, {trees}", 60),
            ("predict of 500 trees", "LightGBM predict, 500 trees", 250),
        ]
    ] + [
        Goal(
            f"the same, a row at batch 1024, vs the fastest exact teacher ({trees})",
            ratio(batch, mine, exact),
            10,
        )
    ]


def report(results: dict) -> str:
    parts = []
    for shape, batches in results["networks"].items():
        for result in batches:
            seconds, limit = result["seconds"], result["limit"]
            theirs = [name for name in seconds if not name.startswith("farthing")]
            rows = []
            for name, taken in sorted(seconds.items(), key=lambda item: item[1]):
                against = ratio(seconds, [name], theirs) if name not in theirs else None
                error = result["errors"].get(name)
                cells = [name, f"{taken * 1e6:.2f}"]
                cells += ["" if against is None else f"{against:.2f}x"]
                cells += [f"{limit[name] / taken:.0%}" if name in limit else ""]
                rows.append([*cells, "" if error is None else f"{error:.1g}"])
            threads = f", {result['threads']} threads" if result["threads"] > 1 else ""
            head = [f"{shape}, batch {result['rows']}{threads}", "us", "best peer", "of limit"]
            parts.append(table([*head, "mean error"], rows))
    if "credit" in results:
        times = results["credit"]
        rows = [
            [name, *(f"{part[name] * 1e6:.3f}" if name in part else "" for part in parts_)]
            for parts_ in [(times["one row"], times["batch 1024"])]
            for name in dict.fromkeys([*times["one row"], *times["batch 1024"]])
        ]
        parts.append(table(["us a row", "one row", "batch 1024"], rows))
    for shape, seconds in results["two threads"].items():
        rows = [[name, f"{taken * 1e6:.0f}"] for name, taken in seconds.items()]
        parts.append(table([f"{shape}, batch {BATCH}", "us"], rows))
    return "\n\n".join(parts)


def chart(path: str, networks: dict) -> None:
    groups = {}
    for shape, batches in networks.items():
        seconds = batches[0]["seconds"]
        best = min(ours_of(seconds), key=seconds.get)
        chosen = {best: seconds[best]}
        for family in ("LiteRT", "onnxruntime", "OpenVINO", "torch", "scikit", "numpy"):
            names = [name for name in seconds if name.startswith(family)]
            if names:
                name = min(names, key=seconds.get)
                chosen[name] = seconds[name]
        label = f"{shape}, batch {batches[0]['rows']}"
        chosen = sorted(chosen.items(), key=lambda item: item[1])
        groups[label] = {name: taken * 1e6 for name, taken in chosen}
    title = "A model from Python, each peer's fastest form"
    bars(path, title, groups, "microseconds, logarithmic", log=True)


def main(argv: list[str] | None = None) -> dict:
    options = parser(__doc__, rounds=30)
    options.add_argument("--shapes", default=",".join(SHAPES))
    options.add_argument("--batches", default="1,64,1024")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--no-credit", action="store_true", help="networks only")
    options.add_argument("--data", default=data.DEFAULT_PATH)
    options.add_argument("--credit-rows", type=int, help="only so many, for a quick look")
    options.add_argument("--epochs", type=int, default=10, help="of the student")
    options = options.parse_args(argv)
    how, limits, missing = measure_of(options), Limits(), {}
    results = {"machine": machine(), "networks": {}, "two threads": {}, "missing": missing}
    if limits.missing:
        missing["limits"] = limits.missing
    for name in options.shapes.split(","):
        model, X = trained(SHAPES[name])
        ours, network = scorers(model, X), network_of(model)
        assert np.abs(network(X[:64])[:, 0] - model.predict_proba(X[:64])[:, 1]).max() < 1e-4
        batches = [int(rows) for rows in options.batches.split(",")]
        results["networks"][name] = [
            batch_of(
                ours, network, X, rows, options.threads if rows >= 1024 else 1, how, limits, missing
            )
            for rows in batches
        ]
        if name != "32-64-32-1":
            results["two threads"][name] = two_threads(ours, X, how, limits)
    try:
        if not options.no_credit:
            results["credit"] = credit(options, how, missing)
    except ImportError as error:
        missing["credit student"] = f"not installed: {error}"
    if options.chart:
        chart(options.chart, results["networks"])
    return finish(results, report(results), goals(results), options)


if __name__ == "__main__":
    main()
