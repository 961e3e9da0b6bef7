"""What the benchmarks of speed share: turns in random order, tables, goals, charts."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import metadata
from itertools import cycle, islice, repeat
from time import perf_counter_ns, process_time_ns
from typing import NamedTuple

import _alone  # noqa: F401
import numpy as np

import farthing
from farthing.demo.timing import interleaved

PEERS = (
    "numpy",
    "scipy",
    "onnxruntime",
    "ai-edge-litert",
    "torch",
    "openvino",
    "numkong",
    "scikit-learn",
    "lightgbm",
    "xgboost",
    "lleaves",
    "tl2cgen",
)

Turn = Callable[[int], None]  # so many calls in a row


# ---- turns ----------------------------------------------------------------------------------


def loop(call: Callable[[], object]) -> Turn:
    """A turn of the same call."""

    def turn(count: int) -> None:
        for _ in repeat(None, count):
            call()

    return turn


def over(items: Iterable, call: Callable) -> Turn:
    """A turn of call(item), the items in rotation from one turn to the next."""
    items = cycle(items)

    def turn(count: int) -> None:
        for item in islice(items, count):
            call(item)

    return turn


def into(items: Iterable, call: Callable, out) -> Turn:
    """The same with ``out=out``."""
    items = cycle(items)

    def turn(count: int) -> None:
        for item in islice(items, count):
            call(item, out=out)

    return turn


CLOCKS = {"wall": perf_counter_ns, "cpu": process_time_ns}


class Measure(NamedTuple):
    """How to measure: rounds, the seed of their order, and a clock of CLOCKS."""

    rounds: int
    seed: int = 0
    clock: str = "wall"
    turn_seconds: float = 2e-3


def _seconds(turn: Turn, count: int) -> float:
    start = process_time_ns()
    turn(count)
    return (process_time_ns() - start) * 1e-9


def _calls(turn: Turn, seconds: float) -> int:
    """How many calls of a turn take about so long."""
    turn(1)
    count = 1
    while True:
        taken = min(_seconds(turn, count) for _ in range(3))  # a busy machine may take one of them
        if taken >= seconds / 2 or count >= 1 << 20:
            return max(1, round(count * min(seconds / max(taken, 1e-9), 2)))
        count *= 2 if taken > seconds / 100 else 10


def seconds_a_call(turns: Mapping[str, Turn], measure: Measure) -> dict[str, float]:
    """The median over the rounds of the seconds that a call of each competitor takes.

    In every round each has a turn of about `turn_seconds`, in a new random order, so that a slow
    moment of the machine meets all of them.
    """
    counts = {name: _calls(turn, measure.turn_seconds) for name, turn in turns.items()}
    ready = {name: partial(turn, counts[name]) for name, turn in turns.items()}
    clock = CLOCKS[measure.clock]
    times = interleaved(ready, measure.rounds, seed=measure.seed, clock=clock)
    return {name: float(np.median(taken)) / counts[name] for name, taken in times.items()}


# ---- peers ----------------------------------------------------------------------------------


def build(builders: Mapping[str, Callable[[], object]], missing: dict[str, str]) -> dict:
    """What the builders give, by name; those that cannot be imported, or refuse, go to
    `missing` with the reason."""
    built = {}
    for name, builder in builders.items():
        try:
            built[name] = builder()
        except (ImportError, OSError) as error:
            missing[name] = f"not installed: {error}"
        except (RuntimeError, ValueError, NotImplementedError) as error:
            missing[name] = f"refused: {str(error).strip().splitlines()[0]}"
    return built


def isas() -> list[str]:
    """The instruction sets to measure, best first; `scalar` only where there is no other."""
    return [name for name in farthing.isas() if name != "scalar"] or ["scalar"]


# ---- the run --------------------------------------------------------------------------------


def parser(doc: str, rounds: int) -> argparse.ArgumentParser:
    """--rounds, --seed, --clock, --json and --chart; the benchmark adds its own."""
    result = argparse.ArgumentParser(description=doc.splitlines()[0])
    result.add_argument("--rounds", type=int, default=rounds)
    result.add_argument("--seed", type=int, default=0)
    text = "cpu leaves out what other programs take: for a busy machine and one thread"
    result.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help=text)
    result.add_argument("--json", action="store_true")
    result.add_argument("--chart", metavar="FILE", help=".png or .svg")
    return result


def measure_of(options: argparse.Namespace) -> Measure:
    return Measure(options.rounds, options.seed, options.clock)


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> dict:
    """CPU, cores, load, and the versions of what took part."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            fields = dict(
                (part.strip() for part in line.split(":", 1)) for line in file if ":" in line
            )
        cpu = f"{fields['model name']} family {fields['cpu family']} model {fields['model']}"
    except (OSError, KeyError):
        pass
    versions = {name: version_of(name) for name in PEERS}
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "isas": list(farthing.isas()),
        "python": platform.python_version(),
        "farthing": farthing.__version__,
        "versions": {name: version for name, version in versions.items() if version},
    }


def machine_lines(about: dict) -> str:
    peers = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, load {about['load']} at the start\n"
        f"farthing {about['farthing']} ({', '.join(about['isas'])}), Python {about['python']}\n"
        f"{peers}"
    )


class Goal(NamedTuple):
    """A ratio to reach. reached is None where the peer that it names is missing."""

    text: str
    reached: float | None
    goal: float
    unit: str = "x"
    least: bool = True  # the goal is the least allowed value, else the largest
    ceiling: float | None = None  # what the limits measured in this run allow

    @property
    def word(self) -> str:
        if self.reached is None:
            return "skipped"
        return "PASS" if (self.reached >= self.goal) == self.least else "short"

    def __str__(self) -> str:
        sign = ">=" if self.least else "<="
        goal = f"goal {sign} {self.goal:g}{self.unit}"
        if self.reached is None:
            return f"{self.word:7} {self.text}: a peer is missing, {goal}"
        limit = f" (limit here: {self.ceiling:.3g}{self.unit})" if self.ceiling else ""
        return f"{self.word:7} {self.text}: {self.reached:.3g}{self.unit}, {goal}{limit}"


def ratio(times: Mapping[str, float], ours: Iterable[str], theirs: Iterable[str]) -> float | None:
    """How many times as long as our fastest their fastest takes; None where one is missing."""
    ours, theirs = ([times[name] for name in names if name in times] for names in (ours, theirs))
    return min(theirs) / min(ours) if ours and theirs else None


def table(head: list[str], rows: list[list[str]]) -> str:
    """Columns as wide as they need; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: list[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "-" * len(line(head)), *map(line, rows)])


def finish(found: dict, text: str, goals: list[Goal], options: argparse.Namespace) -> dict:
    """Prints it all, as text or JSON, and gives it back."""
    found["goals"] = [{**goal._asdict(), "word": goal.word} for goal in goals]
    if options.json:
        print(json.dumps(found, indent=2))
        return found
    parts = [machine_lines(found["machine"]), text]
    if found.get("missing"):
        lines = [f"left out: {name}: {reason}" for name, reason in found["missing"].items()]
        parts.append("\n".join(lines))
    if goals:
        parts.append("\n".join(map(str, goals)))
    print("\n\n".join(parts))
    return found


def bars(
    path: str,
    title: str,
    groups: Mapping[str, Mapping[str, float]],
    label: str,
    *,
    log: bool = False,
) -> None:
    """A chart of horizontal bars, one group under another; ours are the names of farthing.

    log: where the bars are times that differ by orders of magnitude.
    """
    try:
        import matplotlib
    except ImportError as error:
        print(f"no chart: {error}; pip install --group bench", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    greys = [name for name in names if not name.startswith("farthing")]
    shades = {name: str(0.35 + 0.5 * i / max(len(greys) - 1, 1)) for i, name in enumerate(greys)}
    ours = [name for name in names if name not in shades]
    shades |= {name: ("#0b5d3b", "#2f9e6e", "#8fd1b0")[i % 3] for i, name in enumerate(ours)}
    count = sum(map(len, groups.values())) + len(groups)
    figure, axes = pyplot.subplots(figsize=(8, 0.22 * count + 1))
    every = [value for values in groups.values() for value in values.values()]
    left, right = (min(every) / 2, max(every) * 20) if log else (0, max(every) * 1.45)
    axes.set(xscale="log" if log else "linear", xlim=(left, right), yticks=[])
    place = 0
    for group, values in groups.items():
        axes.text(left, place - 0.1, group, fontsize=8, fontweight="bold", va="center")
        place += 1
        for name, value in values.items():
            axes.barh(place, value - left, left=left, color=shades[name])
            axes.text(value, place, f" {value:.3g}  {name}", fontsize=7, va="center")
            place += 1
    axes.set(ylim=(place, -1), xlabel=label, title=title)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
