"""What every method of compression costs and saves, on three data sets.

    python benchmarks/quality.py [--seeds 3] [--only pruning,...] [--data fashion,credit,german]
                                 [--jobs 2] [--json] [--chart FILE]

Fashion-MNIST (Debian: apt-get install dataset-fashion-mnist), LeNet-300-100, accuracy in percent on
its 10,000 test images; UCI credit default, 64-32 distilled from LightGBM, and German credit, 32-16
fitted directly, by AUC on rows that nothing else has seen (German: the mean of five folds). Every
variant starts from the same float model of its seed; a difference to another variant is the mean
over the seeds of the paired differences, with its standard error.

Sections: acceptance (sizes and accuracies of LeNet-300-100), pruning (every score, at once and
gradually), students (of credit and German credit, against LightGBM), quantization (every solver,
range, scheme and training at 8 and 4 bits), distillation (every kind).
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor

import _common
import _quality
import _quality_distillation
import numpy as np
from _quality_steps import MORE
from _tasks import TASKS

SECTIONS = _quality.SECTIONS | MORE | {"distillation": _quality_distillation.SECTION}


def one(section: str, data: str, seed: int, rows: int | None, training: dict) -> dict:
    """The figures of every variant of a section on one data set: {variant: {figure: value}}."""
    found: dict[str, dict[str, list[float]]] = {}
    for task in TASKS[data](seed, rows, **training.get("base", {})):
        for variant, figures in SECTIONS[section].run(task, data, training.get("step", {})):
            own = found.setdefault(variant, {})
            for figure, value in figures.items():
                own.setdefault(figure, []).append(value)
            _common.say(f"{section} {data} {seed}: {variant} {figures}")
    return {
        variant: {figure: float(np.mean(values)) for figure, values in figures.items()}
        for variant, figures in found.items()
    }


def gathered(jobs: dict, workers: int) -> dict:
    """{section: {data: [figures of every seed]}} of jobs by (section, data, seed)."""
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            futures = {key: pool.submit(one, *arguments) for key, arguments in jobs.items()}
            done = {key: future.result() for key, future in futures.items()}
    else:
        done = {key: one(*arguments) for key, arguments in jobs.items()}
    found: dict[str, dict[str, list]] = {}
    for (section, data, _), figures in done.items():
        found.setdefault(section, {}).setdefault(data, []).append(figures)
    return found


def report(found: dict) -> str:
    return "\n\n".join(
        SECTIONS[section].report(data, seeds)
        for section, by_data in found.items()
        for data, seeds in by_data.items()
    )


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections")
    parser.add_argument("--data", default=",".join(TASKS))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--rows", type=int, help="only so many rows, for a quick look")
    parser.add_argument("--epochs", type=int, help="of everything, for a quick look")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--chart", help="a PNG or SVG of the sizes and losses of LeNet-300-100")
    options = parser.parse_args(argv)
    training = {}
    if options.epochs is not None:
        training = {"base": {"max_epochs": options.epochs}, "step": {"epochs": options.epochs}}
    jobs = {
        (section, data, seed): (section, data, seed, options.rows, training)
        for section in options.only.split(",")
        for data in options.data.split(",")
        if data in SECTIONS[section].data
        for seed in range(options.seeds)
    }
    found = gathered(jobs, options.jobs)
    _common.show(found, report, options)
    if options.chart and "acceptance" in found:
        _quality.chart(options.chart, found["acceptance"]["fashion"])
    return found


if __name__ == "__main__":
    main()
