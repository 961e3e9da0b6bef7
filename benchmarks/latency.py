"""One row at a time against LightGBM and onnxruntime, and what the call itself costs.

    python benchmarks/latency.py [--rounds 60] [--json]

Competitors take turns of 512 rows in random order; medians of the rounds, ratios within this
run. One thread everywhere. Every competitor's answers are checked before it is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import farthing
from farthing import _core
from farthing.demo import data
from farthing.demo.teacher import FastRow, train_teacher
from farthing.demo.timing import interleaved

ROWS = 512
OURS_WIDE = "farthing, 64-256-128-1 int8"
THEIRS_WIDE = "onnxruntime, 64-256-128-1 fp32, io-binding"


def over(items, call):
    """One turn: call(item) for every item in rotation, nothing else in the loop."""

    def turn():
        for item in items:
            call(item)

    return turn


def into(items, call, out):
    """The same with ``out=out``."""

    def turn():
        for item in items:
            call(item, out=out)

    return turn


def nothing(items):
    def turn():
        for _ in items:
            pass

    return turn


def nanoseconds(turns: dict, rounds: int) -> dict[str, float]:
    """Median nanoseconds a row of every competitor's turn of 512 rows."""
    times = interleaved(turns, rounds)
    return {name: float(np.median(seconds)) / ROWS * 1e9 for name, seconds in times.items()}


def credit_student(table: data.Table, epochs: int, seed: int = 0):
    """The 32-16 int4 student, its early-stopped teacher, a 500-tree one, and 512 final rows."""
    parts = data.split(table.y, seed)
    learn = np.concatenate([parts.fit, parts.search])
    teacher = train_teacher(table.X, table.y, parts.fit, parts.search, seed=seed)
    large = train_teacher(table.X, table.y, parts.fit, parts.search, trees=500, seed=seed)
    student = farthing.distill(
        teacher,
        table.X[learn],
        table.y[learn],
        student=farthing.Classifier(hidden=(32, 16), max_epochs=epochs, random_state=seed),
        augment=1,
    )
    small = farthing.quantize(student, table.X[learn], table.y[learn], weight_bits=4)
    return small, teacher, large, np.ascontiguousarray(table.X[parts.final][:ROWS])


def credit(table: data.Table, rounds: int, epochs: int) -> dict:
    """Nanoseconds a row of the credit student, its kinds of input, and the teachers."""
    small, teacher, large, rows = credit_student(table, epochs)
    scorer = farthing.Scorer.from_bytes(small._bytes())
    float32 = rows.astype(np.float32)
    out = np.empty(1, np.float32)
    predict = scorer.predict
    narrow, wide = list(float32), list(rows)
    lists = [row.tolist() for row in rows]
    named = farthing.Scorer.from_bytes(_named(small, table.names))
    dicts = [dict(zip(table.names, row, strict=True)) for row in lists]
    fast = FastRow(teacher, rows)
    for i in range(0, ROWS, 37):
        fast.call(i)
        assert abs(fast.out[0] - teacher.predict(rows[i : i + 1])[0]) < 1e-12
        expected = predict(narrow[i])
        assert expected == predict(lists[i]) == named.predict(dicts[i]) == predict(wide[i])
    times = nanoseconds(
        {
            "farthing, float32 row and out": into(narrow, predict, out),
            "farthing, float32 row": over(narrow, predict),
            "farthing, float64 row and out": into(wide, predict, out),
            "farthing, list": over(lists, predict),
            "farthing, dict": over(dicts, named.predict),
            "LightGBM, fastest call": over(range(ROWS), fast.call),
            "farthing, C loop": lambda: _core.bench_predict(scorer, float32, 1),
            "loop": nothing(narrow),
        },
        rounds,
    )
    slow = nanoseconds(
        {
            "LightGBM, predict of 500 trees": over(
                [rows[i : i + 1] for i in range(ROWS)],
                lambda row: large.predict(row, num_threads=1),
            ),
        },
        max(1, rounds // 20),
    )
    return {**times, **slow, "trees": teacher.num_trees()}


def _named(model, names) -> bytes:
    copy = model.model_.copy()
    copy.feature_names = tuple(names)
    named = farthing.Classifier.__new__(farthing.Classifier)
    vars(named).update(vars(model), model_=copy)
    return named._bytes()


def wide_network(rounds: int) -> dict:
    """Nanoseconds a row of a 64-256-128-1 network: ours int8 (weight_max 64), onnxruntime fp32."""
    import onnxruntime

    rng = np.random.default_rng(0)
    X = rng.normal(size=(4096, 64)).astype(np.float32)
    model = farthing.Classifier(hidden=(256, 128), encoder=None, max_epochs=1, random_state=0)
    model.fit(X, X[:, 0] + 0.5 * X[:, 1] * X[:, 2] > 0)
    scorer = farthing.Scorer.from_bytes(farthing.quantize(model, X, weight_max=64)._bytes())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _onnx(model.model_), options, providers=["CPUExecutionProvider"]
    )
    rows = np.ascontiguousarray(X[:ROWS])
    theirs = np.empty((ROWS, 1, 1), np.float32)
    bindings = []
    for i in range(ROWS):
        binding = session.io_binding()
        shape = (1, 64)
        binding.bind_input("x", "cpu", 0, np.float32, shape, rows[i].ctypes.data)
        binding.bind_output("p", "cpu", 0, np.float32, (1, 1), theirs[i].ctypes.data)
        bindings.append(binding)
        session.run_with_iobinding(binding)
    ours = scorer.predict(rows)
    exact = model.predict_proba(rows)[:, 1]
    assert np.abs(theirs[:, 0, 0] - exact).max() < 1e-4
    assert np.abs(ours - exact).mean() < 0.02
    out = np.empty(1, np.float32)
    return nanoseconds(
        {
            OURS_WIDE: into(list(rows), scorer.predict, out),
            THEIRS_WIDE: over(bindings, session.run_with_iobinding),
        },
        rounds,
    )


def _onnx(model) -> bytes:
    """The network as an ONNX graph of Gemm, Relu and Sigmoid, standardising folded in."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, initializers, value = [], [], "x"
    for i, layer in enumerate(model.layers):
        weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
        if i == 0:
            weight = weight * model.encoder.scale_
            bias = bias - weight @ model.encoder.mean_
        initializers += [
            numpy_helper.from_array(weight.astype(np.float32), f"w{i}"),
            numpy_helper.from_array(bias.astype(np.float32), f"b{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
        last = i == len(model.layers) - 1
        value = "p" if last else f"a{i}"
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"z{i}"], [value]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, model.n_features])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 1])],
        initializers,
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def report(times: dict) -> str:
    lines = [f"{name:44} {value:12,.1f} ns" for name, value in times.items() if name != "trees"]
    ours = times["farthing, float32 row and out"]
    goals = [
        (
            f"32-16 int4 against LightGBM's fastest call ({times['trees']} trees)",
            times["LightGBM, fastest call"] / ours,
            15,
        ),
        (
            "32-16 int4 against predict of 500 trees",
            times["LightGBM, predict of 500 trees"] / ours,
            150,
        ),
    ]
    if OURS_WIDE in times:
        ratio = times[THEIRS_WIDE] / times[OURS_WIDE]
        goals.append(("64-256-128-1 int8 against onnxruntime fp32, io-binding", ratio, 11))
    lines.append("")
    for name, ratio, goal in goals:
        lines.append(f"{'met' if ratio >= goal else 'missed':7} {name}: {ratio:.1f}x, goal {goal}x")
    overhead = ours - times["farthing, C loop"] - times["loop"]
    lines.append(
        f"{'met' if overhead <= 35 else 'missed':7} overhead of predict(row, out=out) over "
        f"ft_predict in C, the Python loop taken off: {overhead:.1f} ns, goal 35 ns"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=data.DEFAULT_PATH)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--rows", type=int, help="only so many rows, for a quick look")
    parser.add_argument("--epochs", type=int, default=10, help="of the student")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    table = data.load(arguments.data).first(arguments.rows)
    times = credit(table, arguments.rounds, arguments.epochs)
    try:
        times |= wide_network(arguments.rounds)
    except ImportError as error:
        hint = f"onnxruntime is left out: {error}; pip install --group bench"
        print(hint, file=sys.stderr)
    print(json.dumps(times, indent=2) if arguments.json else report(times))
    return times


if __name__ == "__main__":
    main()
