"""More sections of the benchmark of quality: quantization, distillation, students."""

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
    "AdaRound, bias correction": ({"method": "adaround", "bias_correction": True}, "AdaRound"),
    "ranges: all values": ({"calibration": "minmax"}, None),
    "ranges: percentile": ({"calibration": "percentile"}, "ranges: all values"),
    "ranges: entropy": ({"calibration": "entropy"}, "ranges: all values"),
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


def report_quantization(data: str, seeds: Seeds) -> str:
    rows, lines = [], []
    for name, (_, simpler) in WAYS.items():
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


# ---- distillation -------------------------------------------------------------------------------

HIDDEN = {"credit": (32, 16), "german": (16,)}
KINDS: dict[str, tuple[dict, str | None]] = {
    "probabilities": ({}, "labels alone"),
    "teacher alone, alpha 1": ({"alpha": 1.0}, "labels alone"),
    "temperature 2": ({"temperature": 2.0}, "probabilities"),
    "logits": ({"match": "logits"}, "probabilities"),
    "without copies": ({"augment": 0}, "labels alone"),
    "mixup copies": ({"sampler": "mixup"}, "without copies"),
    "marginal copies": ({"sampler": "marginal"}, "without copies"),
    "MUNGE copies": ({"sampler": "munge"}, "without copies"),
    "out-of-fold": ({"teacher_labels": "out-of-fold"}, "probabilities"),
    "code of leaves": ({"representation": "leaves"}, "probabilities"),
    "code of thresholds": ({"representation": "thresholds"}, "probabilities"),
    "hint of leaves": ({"representation": "leaves", "transfer": "hint"}, "probabilities"),
    "hint of thresholds": ({"representation": "thresholds", "transfer": "hint"}, "probabilities"),
}
# Without y, copies by each sampler; other teachers.
UNLABELLED = {"MUNGE": "munge", "mixup": "mixup", "marginal": "marginal"}


def run_distillation(task: Task, data: str, training: dict) -> Iterator[tuple[str, Figures]]:
    def student() -> farthing.Classifier:
        epochs = {"max_epochs": training["epochs"]} if training else {}
        kinds = {"categorical_features": "from_dtype"} if data == "german" else {}
        return farthing.Classifier(HIDDEN[data], random_state=task.seed, **epochs, **kinds)

    def figures(teacher, y, **arguments) -> Figures:
        small = farthing.distill(teacher, task.X, y, student=student(), **arguments)
        return {"value": task.metric(small)}

    yield "teacher", {"value": task.asked(task.teacher)}
    alone = student().fit(task.X, task.y)
    yield "labels alone", {"value": task.metric(alone)}
    for name, (arguments, _) in KINDS.items():
        more = {"refit": task.refit} if "teacher_labels" in arguments else {}
        yield name, figures(task.teacher, task.y, **arguments, **more)
    for name, sampler in UNLABELLED.items():
        yield f"no labels, {name}", figures(task.teacher, None, sampler=sampler)
    yield "self-distillation", figures(alone, task.y)
    yield (
        "self-distillation, hint",
        figures(alone, task.y, representation=alone.model_.layers[-2].name, transfer="hint"),
    )
    yield (
        "two teachers",
        figures(
            lambda X: 0.5 * (task.scores(task.teacher, X) + alone.predict_proba(X)[:, 1]), task.y
        ),
    )


def report_distillation(data: str, seeds: Seeds) -> str:
    rows = []
    for name in seeds[0]:
        to_teacher = shown(*differences(seeds, name, "teacher"), data)
        rows.append([name, to_teacher, shown(*differences(seeds, name, "labels alone"), data)])
    others = {f"no labels, {name}": "labels alone" for name in UNLABELLED}
    others |= {"self-distillation": "labels alone", "self-distillation, hint": "self-distillation"}
    others |= {"two teachers": "probabilities"}
    simpler = {name: other for name, (_, other) in KINDS.items()} | others
    lines = [
        verdict(name, other, [("", name, other)], data, seeds) for name, other in simpler.items()
    ]
    hidden = "-".join(map(str, HIDDEN[data]))
    columns = [f"student {hidden}", "to the teacher", "to labels alone"]
    title = head("Distillation", data, seeds, "teacher")
    return "\n".join([title, table(columns, rows), "", *lines])


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
    "distillation": Section(("credit", "german"), run_distillation, report_distillation),
}
