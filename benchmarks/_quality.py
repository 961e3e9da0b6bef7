"""The sections of the benchmark of quality: what each runs on a task, and its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import _common
import numpy as np
from _measure import table
from _tasks import LENET, Task

import farthing
from farthing import container
from farthing.pruning.scores import METHODS

Figures = dict[str, float]
Seeds = list[dict[str, Figures]]


@dataclass(frozen=True)
class Section:
    """data: the names of its data sets; run: the figures of every variant on a task, which it
    yields as it goes, given the data set's name and the arguments that shorten every step;
    report: a text of them, a list over the seeds."""

    data: tuple[str, ...]
    run: Callable[[Task, str, dict], Iterator[tuple[str, Figures]]]
    report: Callable[[str, Seeds], str]


def differences(seeds: Seeds, variant: str, other: str, figure: str = "value"):
    """Mean over the seeds of variant - other, and its standard error."""
    return _common.mean_and_error([seed[variant][figure] - seed[other][figure] for seed in seeds])


def shown(mean: float, error: float, data: str) -> str:
    """A difference with its standard error: points of accuracy, or thousandths of AUC."""
    scale = 1 if data == "fashion" else 1000
    return f"{scale * mean:+.2f} ({scale * error:.2f})"


def unit(data: str) -> str:
    return "points of accuracy" if data == "fashion" else "thousandths of AUC"


def head(title: str, data: str, seeds: Seeds, reference: str = "float") -> str:
    mean, error = _common.mean_and_error([seed[reference]["value"] for seed in seeds])
    digits = 2 if data == "fashion" else 4
    return (
        f"{title}, {data}, {len(seeds)} seeds: {unit(data)} to {reference} "
        f"({mean:.{digits}f}, SE {error:.{digits}f}), standard errors in brackets"
    )


# ---- LeNet-300-100 ------------------------------------------------------------------------------

# Points of accuracy that may be lost, and how many times smaller the file is to be.
LIMITS = {
    "int8": (0.1, 3.8),
    "int4": (0.15, 8.0),
    "int4, plain": (0.15, 7.4),
    "int4, 90 % pruned": (0.3, 28.0),
    "int4, 95 % pruned": (1.0, 38.0),
}
FURTHER = (0.97, 0.98)
QAT = {"training": "qat", "epochs": 6, "alpha": 0.5}
GRADUAL = {
    "schedule": "cubic",
    "method": "wanda",
    "epochs": 30,
    "alpha": 0.5,
    "learning_rate": 3e-3,
}


def plain_bytes(model) -> int:
    """Size of the file if its coded weights were stored as they are."""
    size = _common.file_bytes(model)
    tensors = container.loads(model._bytes())
    for layer in model.model_.layers:
        values, bits = layer.quantized.values, layer.quantized.bits
        plain = len(values) * (-(-values.shape[1] * bits // 8))
        size += plain - tensors[f"{layer.name}.weight"].nbytes
    return size


def run_acceptance(task: Task, _data: str, training: dict) -> Iterator[tuple[str, Figures]]:
    base = task.build()
    size = _common.file_bytes(base)

    def figures(model) -> Figures:
        own = _common.file_bytes(model)
        return {"value": task.metric(model), "bytes": own, "smaller": size / own}

    def quantized(model, bits: int):
        options = QAT | task.settings | training
        return farthing.quantize(model, task.X, task.y, weight_bits=bits, **options)

    yield "float", figures(base)
    # As long as the pruned ones are trained in all, to know what that alone gives.
    longer = LENET["max_epochs"] + GRADUAL["epochs"] + QAT["epochs"]
    yield "float, trained as long", figures(task.build(max_epochs=longer))
    yield "int8", figures(quantized(base, 8))
    int4 = quantized(base, 4)
    yield "int4", figures(int4)
    plain = plain_bytes(int4)
    yield "int4, plain", figures(int4) | {"bytes": plain, "smaller": size / plain}
    for sparsity in (0.9, 0.95, *FURTHER):
        options = GRADUAL | task.settings | training
        pruned = farthing.prune(base, task.X, task.y, sparsity=sparsity, **options)
        yield f"{100 * sparsity:.0f} % pruned", figures(pruned)
        yield f"int4, {100 * sparsity:.0f} % pruned", figures(quantized(pruned, 4))


def report_acceptance(data: str, seeds: Seeds) -> str:
    rows, verdicts = [], []
    for variant in seeds[0]:
        mean, error = differences(seeds, variant, "float")
        size = np.mean([seed[variant]["bytes"] for seed in seeds])
        smaller = float(np.mean([seed[variant]["smaller"] for seed in seeds]))
        value = np.mean([seed[variant]["value"] for seed in seeds])
        rows.append(
            [variant, f"{value:.2f}", shown(mean, error, data), f"{size:,.0f}", f"{smaller:.2f}x"]
        )
        if variant in LIMITS:
            loss, least = LIMITS[variant]
            held = np.isnan(error) or -mean - loss <= 2 * error
            word = "met" if -mean <= loss else "within 2 SE" if held else "missed"
            verdicts.append(
                f"{word:11} {variant}: {-mean:.2f} points lost (SE {error:.2f}), limit {loss}"
            )
            word = "met" if smaller >= least else "missed"
            verdicts.append(f"{word:11} {variant}: {smaller:.2f}x smaller, goal >= {least}x")
    value = np.mean([seed["float"]["value"] for seed in seeds])
    verdicts.insert(0, f"{'met' if value >= 89 else 'missed':11} float: {value:.2f} %, goal >= 89")
    columns = ["LeNet-300-100", "accuracy", "to float", "file", "smaller"]
    return "\n".join([head("Acceptance", data, seeds), table(columns, rows), "", *verdicts])


def chart(path: str, seeds: Seeds) -> None:
    """Points lost by how many times smaller the file is."""
    try:
        import matplotlib
    except ImportError as error:
        _common.say(f"no chart: {error}; pip install --group bench")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), constrained_layout=True)
    for variant in seeds[0]:
        if variant in ("int4, plain", "float, trained as long"):
            continue
        mean, error = differences(seeds, variant, "float")
        smaller = float(np.mean([seed[variant]["smaller"] for seed in seeds]))
        colour = "tab:blue" if "int" in variant or variant == "float" else "tab:grey"
        axes.errorbar(smaller, mean, yerr=2 * np.nan_to_num(error), fmt="o", color=colour)
        axes.annotate(variant, (smaller, mean), xytext=(6, 4), textcoords="offset points", size=8)
    axes.set(
        xscale="log",
        xlabel="times smaller than the float file",
        ylabel="points of accuracy to float (2 SE)",
        title="LeNet-300-100 on Fashion-MNIST",
    )
    axes.axhline(0, color="0.8", zorder=0)
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64], [f"{x}x" for x in (1, 2, 4, 8, 16, 32, 64)])
    axes.set_xlim(0.8, 260)
    axes.minorticks_off()
    figure.savefig(path, dpi=150)


# ---- pruning ------------------------------------------------------------------------------------

SPARSITIES = (0.5, 0.8, 0.9, 0.95)
WAYS = {"at once": None, "gradual": "cubic", "iterative": "iterative"}


def run_pruning(task: Task, _data: str, training: dict) -> Iterator[tuple[str, Figures]]:
    base = task.build()
    yield "float", {"value": task.metric(base)}
    for way, schedule in WAYS.items():
        options = {} if schedule is None else task.settings | {"schedule": schedule} | training
        for method in METHODS if way != "iterative" else ("magnitude",):
            for sparsity in SPARSITIES:
                small = farthing.prune(
                    base, task.X, task.y, sparsity=sparsity, method=method, **options
                )
                yield f"{method} {way} {sparsity}", {"value": task.metric(small)}


def report_pruning(data: str, seeds: Seeds) -> str:
    rows = []
    for way in WAYS:
        for method in METHODS:
            names = [f"{method} {way} {sparsity}" for sparsity in SPARSITIES]
            if names[0] in seeds[0]:
                cells = [shown(*differences(seeds, name, "float"), data) for name in names]
                rows.append([f"{method}, {way}", *cells])
    columns = ["score", *(f"{sparsity:.0%}" for sparsity in SPARSITIES)]
    lines = [head("Pruning", data, seeds), table(columns, rows), ""]
    for method in METHODS:
        simpler = "random" if method == "magnitude" else "magnitude"
        if method != "random":
            pairs = [
                (f"{way} {s}", f"{method} {way} {s}", f"{simpler} {way} {s}")
                for way in ("at once", "gradual")
                for s in SPARSITIES
            ]
            lines.append(verdict(method, simpler, pairs, data, seeds))
    for way, simpler in (("iterative", "at once"), ("gradual", "iterative")):
        pairs = [(f"{s}", f"magnitude {way} {s}", f"magnitude {simpler} {s}") for s in SPARSITIES]
        lines.append(verdict(way, simpler, pairs, data, seeds))
    return "\n".join(lines)


def verdict(method: str, simpler: str, pairs: list, data: str, seeds: Seeds) -> str:
    """Where a method is better than a simpler one by two standard errors, the clearest first.

    pairs: (where, variant, variant of the simpler one)."""
    if len(seeds) < 2:
        return f"{method} to {simpler}: one seed has no standard error"
    found = []
    for where, variant, other in pairs:
        mean, error = differences(seeds, variant, other)
        if mean > 2 * error:
            found.append((mean / max(error, 1e-12), f"{where} {shown(mean, error, data)}"))
    better = [text for _, text in sorted(found, reverse=True)]
    return f"{method} better than {simpler} by 2 SE: " + ("; ".join(better) or "nowhere")


SECTIONS = {
    "acceptance": Section(("fashion",), run_acceptance, report_acceptance),
    "pruning": Section(("fashion", "credit", "german"), run_pruning, report_pruning),
}
