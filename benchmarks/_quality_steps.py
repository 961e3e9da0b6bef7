"""More sections of the benchmark of quality: quantization, students."""

from __future__ import annotations

from collections.abc import Iterator

import _common
import numpy as np
from _measure import table
from _quality import Figures, Section, Seeds, differences, head, shown, verdict
from _tasks import Task

import farthing
from farthing.demo import run

# ---- quantization -------------------------------------------------------------------------------

BITS = (8, 4)
# Arguments of `quantize` by name, and what each has to beat.
WAYS: dict[str, tuple[dict, str | None]] = {
    "to nearest": ({}, None),
    "GPTQ": ({"method": "gptq"}, "to nearest"),
    "AdaRound": ({"method": "adaround"}, "to nearest"),
    "bias correction": ({"bias_correction": True}, "to nearest"),
    "ranges: all values": ({"calibration": "minmax"}, None),
    "ranges: percentile": ({"calibration": "percentile"}, "ranges: all values"),
    "groups of 64": ({"group_size": 64}, "to nearest"),
    "GPTQ, groups of 64": ({"method": "gptq", "group_size": 64}, "GPTQ"),
    "affine, floor": ({"scheme": "affine", "rounding": "floor"}, None),
    "affine, nearest": ({"scheme": "affine"}, "affine, floor"),
    "affine, stochastic": ({"scheme": "affine", "rounding": "stochastic"}, "affine, floor"),
    "trained straight through": ({"training": "qat"}, "to nearest"),
    "LSQ": ({"training": "lsq"}, "trained straight through"),
    "integers, nearest": ({"training": "integer", "rounding": "nearest"}, None),
    "integers": ({"training": "integer"}, "integers, nearest"),
}
MIXED = "first layer 4 bits, others 8"
# Integer training from a float of one epoch: what rounding updates to nearest loses.
EARLY = {
    "integers from one epoch, nearest": ({"rounding": "nearest"}, None),
    "integers from one epoch": ({}, "integers from one epoch, nearest"),
}


def run_quantization(task: Task, _data: str, training: dict) -> Iterator[tuple[str, Figures]]:
    base = task.build()
    yield "float", {"value": task.metric(base)}
    for bits in BITS:
        for name, (arguments, _) in WAYS.items():
            if bits == 8 and "group_size" in arguments:
                continue
            options = task.settings | training if "training" in arguments else {}
            small = farthing.quantize(
                base, task.X, task.y, weight_bits=bits, **arguments, **options
            )
            yield f"{name} {bits}", {"value": task.metric(small)}
    by_layer = {layer.name: 8 for layer in base.model_.layers} | {"dense0": 4}
    small = farthing.quantize(base, task.X, task.y, weight_bits=by_layer)
    yield MIXED, {"value": task.metric(small)}
    early = task.build(max_epochs=1)
    options = {"training": "integer", "alpha": 0.0} | task.settings | training
    for bits in BITS:
        for name, (arguments, _) in EARLY.items():
            small = farthing.quantize(
                early, task.X, task.y, weight_bits=bits, **arguments, **options
            )
            yield f"{name} {bits}", {"value": task.metric(small)}


def report_quantization(data: str, seeds: Seeds) -> str:
    rows, lines = [], []
    for name, (_, simpler) in (WAYS | EARLY).items():
        cells = [
            shown(*differences(seeds, f"{name} {bits}", "float"), data)
            if f"{name} {bits}" in seeds[0]
            else ""
            for bits in BITS
        ]
        rows.append([name, *cells])
        if simpler is not None:
            pairs = [
                (f"{bits} bits", f"{name} {bits}", f"{simpler} {bits}")
                for bits in BITS
                if f"{name} {bits}" in seeds[0]
            ]
            lines.append(verdict(name, simpler, pairs, data, seeds))
    rows.append([MIXED, "", shown(*differences(seeds, MIXED, "float"), data)])
    columns = ["weights", *(f"{bits} bits" for bits in BITS)]
    return "\n".join([head("Quantization", data, seeds), table(columns, rows), "", *lines])


# ---- students -----------------------------------------------------------------------------------

STUDENTS = ((64, 32), (32, 16), (16,))


def run_students(task: Task, data: str, training: dict) -> Iterator[tuple[str, Figures]]:
    yield "LightGBM", {"value": task.asked(task.teacher)}
    kinds = {"categorical_features": "from_dtype"} if data == "german" else {}
    epochs = {"max_epochs": training["epochs"]} if training else {}
    for hidden in STUDENTS:
        student = farthing.Classifier(hidden, random_state=task.seed, **kinds, **epochs)
        student = farthing.distill(task.teacher, task.X, task.y, student=student)
        for kind, model in run.compress_variants(student, task.X, task.y, **training).items():
            name = f"{'-'.join(map(str, hidden))} {kind}"
            yield name, {"value": task.metric(model), "bytes": _common.file_bytes(model)}


def report_students(data: str, seeds: Seeds) -> str:
    rows = []
    for name in seeds[0]:
        if name == "LightGBM":
            continue
        size = np.mean([seed[name]["bytes"] for seed in seeds])
        value = np.mean([seed[name]["value"] for seed in seeds])
        difference = shown(*differences(seeds, name, "LightGBM"), data)
        rows.append([name, f"{value:.4f}", difference, f"{size:,.0f}"])
    columns = ["student", "AUC", "to LightGBM", "file"]
    return "\n".join([head("Students", data, seeds, "LightGBM"), table(columns, rows)])


MORE = {
    "students": Section(("credit", "german"), run_students, report_students),
    "quantization": Section(("fashion", "credit", "german"), run_quantization, report_quantization),
}
