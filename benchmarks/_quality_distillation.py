"""Distillation, as a section of the benchmark of quality."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from _measure import table
from _quality import Figures, Section, Seeds, differences, head, shown, verdict
from _tasks import LENET, Task

import farthing

HIDDEN = {"fashion": (100, 50), "credit": (32, 16), "german": (16,)}
# Copies of 784 pixels are dear.
COPIES = {"fashion": 1, "credit": 3, "german": 3}
# So many times the trees that are best, for a teacher that has memorised its rows.
MEMORY = 20

# Arguments of `distill` by name, and what each has to beat.
KINDS: dict[str, tuple[dict, str | None]] = {
    "probabilities": ({}, "labels alone"),
    "teacher alone, alpha 1": ({"alpha": 1.0}, "labels alone"),
    "temperature 2": ({"temperature": 2.0}, "probabilities"),
    "without copies": ({"augment": 0}, "labels alone"),
    "mixup copies": ({"sampler": "mixup"}, "without copies"),
    "marginal copies": ({"sampler": "marginal"}, "without copies"),
    "MUNGE copies": ({"sampler": "munge"}, "without copies"),
    "out-of-fold": ({"teacher_labels": "out-of-fold"}, "probabilities"),
}
TREES = {
    "code of leaves": ({"representation": "leaves"}, "probabilities"),
    "code of thresholds": ({"representation": "thresholds"}, "probabilities"),
    "hint of leaves": ({"representation": "leaves", "transfer": "hint"}, "probabilities"),
    "hint of thresholds": ({"representation": "thresholds", "transfer": "hint"}, "probabilities"),
}
LAYERS = {
    "code of a layer": ({"representation": "dense1"}, "probabilities"),
    "hint of a layer": ({"representation": "dense1", "transfer": "hint"}, "probabilities"),
}
# Without y, copies by each sampler; other teachers.
UNLABELLED = {"MUNGE": "munge", "mixup": "mixup", "marginal": "marginal"}
OTHERS = {f"no labels, {name}": "labels alone" for name in UNLABELLED} | {
    "memorised teacher, out-of-fold": "memorised teacher",
    "self-distillation": "labels alone",
    "self-distillation, hint": "self-distillation",
    "two teachers": "probabilities",
}


def kinds_of(data: str) -> dict[str, tuple[dict, str | None]]:
    return KINDS | (LAYERS if data == "fashion" else TREES)


def run_distillation(task: Task, data: str, training: dict) -> Iterator[tuple[str, Figures]]:
    teacher = task.build() if task.teacher is None else task.teacher

    def student() -> farthing.Classifier:
        own = {"random_state": task.seed}
        if data == "german":
            own["categorical_features"] = "from_dtype"
        if data == "fashion":
            own |= LENET | {"dropout": 0.0}
        if training:
            own["max_epochs"] = training["epochs"]
        return farthing.Classifier(**own | {"hidden": HIDDEN[data]})

    def figures(teacher, y=task.y, **arguments) -> Figures:
        copies = COPIES[data] if "sampler" in arguments else task.settings.get("augment", "auto")
        arguments = {"augment": copies} | arguments
        small = farthing.distill(teacher, task.X, y, student=student(), **arguments)
        return {"value": task.metric(small)}

    yield "teacher", {"value": task.asked(teacher)}
    alone = student().fit(task.X, task.y)
    yield "labels alone", {"value": task.metric(alone)}
    for name, (arguments, _) in kinds_of(data).items():
        more = {"refit": task.refit} if "teacher_labels" in arguments else {}
        yield name, figures(teacher, **arguments, **more)
    for name, sampler in UNLABELLED.items():
        yield f"no labels, {name}", figures(teacher, None, sampler=sampler)
    if task.refit is not None:
        refit = partial(task.refit, times=MEMORY)
        memory = refit(task.X, task.y)
        yield "memorised teacher", figures(memory)
        yield (
            "memorised teacher, out-of-fold",
            figures(memory, teacher_labels="out-of-fold", refit=refit),
        )
    yield "self-distillation", figures(alone)
    yield (
        "self-distillation, hint",
        figures(alone, representation=alone.model_.layers[-2].name, transfer="hint"),
    )
    yield (
        "two teachers",
        figures(lambda X: 0.5 * (task.scores(teacher, X) + task.scores(alone, X))),
    )


def report_distillation(data: str, seeds: Seeds) -> str:
    rows = []
    for name in seeds[0]:
        to_teacher = shown(*differences(seeds, name, "teacher"), data)
        rows.append([name, to_teacher, shown(*differences(seeds, name, "labels alone"), data)])
    simpler = {name: other for name, (_, other) in kinds_of(data).items()} | OTHERS
    lines = [
        verdict(name, other, [("", name, other)], data, seeds)
        for name, other in simpler.items()
        if name in seeds[0]
    ]
    hidden = "-".join(map(str, HIDDEN[data]))
    columns = [f"student {hidden}", "to the teacher", "to labels alone"]
    title = head("Distillation", data, seeds, "teacher")
    return "\n".join([title, table(columns, rows), "", *lines])


SECTION = Section(("fashion", "credit", "german"), run_distillation, report_distillation)
