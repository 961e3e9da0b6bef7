"""The demo's course: train, distil, compress, save, judge, time, print."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from farthing.demo.data import Parts, Table, split
from farthing.demo.teacher import FastRow, train_teacher
from farthing.demo.timing import Latency, interleaved, single_calls
from farthing.distillation import distill
from farthing.estimators import Classifier
from farthing.metrics import calibration, delong, non_inferiority
from farthing.pruning import prune
from farthing.quantization import quantize
from farthing.scorer import load

__all__ = ["Row", "compress_variants", "run", "table"]

MARGIN = 0.005
STUDENTS = ((32, 16), (64, 32))
SPARSITY = 0.8
ROTATED_ROWS = 512
BATCH = 1024
LEGEND = f"""\
AUC, interval, difference, slope: on the final 20 % of the rows, which nothing else has seen.
verdict: non-inferiority to the teacher at a margin of {MARGIN} AUC, one-sided 95 % (DeLong).
file, table: bytes of the saved file and of the first layer in memory.
p50, p99: of one row, {ROTATED_ROWS} rows in rotation; rows/s: at batch {BATCH}. One thread."""


@dataclass
class Row:
    """One line of the demo's table."""

    model: str
    auc: float
    auc_low: float
    auc_high: float
    difference: float | None = None
    verdict: str | None = None
    slope: float | None = None
    file_bytes: int | None = None
    table_bytes: int | None = None
    latency: Latency | None = None
    rows_per_second: float | None = None


class Progress:
    """Lines with the elapsed time, on stderr."""

    def __init__(self, stream=None):
        self.stream = sys.stderr if stream is None else stream
        self.start = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:5.1f} s] {text}", file=self.stream, flush=True)


def compress_variants(
    student: Classifier, X, y, say=lambda text: None, **training
) -> dict[str, Classifier]:
    """The student as it is, int8, int4, and 80 % pruned then int4, by the steps' defaults."""
    variants = {"float32": student}
    say("  quantize to int8")
    variants["int8"] = quantize(student, X, y, weight_bits=8, training="qat", **training)
    say("  quantize to int4")
    variants["int4"] = quantize(student, X, y, weight_bits=4, training="qat", **training)
    say(f"  prune {SPARSITY:.0%} and quantize to int4")
    pruned = prune(student, X, y, sparsity=SPARSITY, schedule="cubic", **training)
    variants[f"int4, {SPARSITY:.0%} pruned"] = quantize(
        pruned, X, y, weight_bits=4, training="qat", **training
    )
    return variants


def _table_bytes(scorer) -> int:
    """Bytes of the first layer's table in memory."""
    return scorer.describe()["layers"][0]["table_bytes"]


def _judged(name: str, y, score, reference) -> Row:
    own = delong(y, score)
    slope, _ = calibration(y, score)
    row = Row(name, own.auc, *own.interval, slope=float(slope))
    if reference is not None:
        evidence = non_inferiority(y, score, reference, metric="auc", margin=MARGIN)
        row.difference, row.verdict = evidence.difference, evidence.verdict
    return row


def run(data: Table, *, seed: int = 0, rounds: int = 20, say=None, **training) -> list[Row]:
    """The whole demo on `data`; further arguments (``epochs``) go to prune and quantize."""
    say = say or Progress()
    X, y = data.X, data.y
    parts: Parts = split(y, seed)
    learn = np.concatenate([parts.fit, parts.search])
    final_X, final_y = X[parts.final], y[parts.final]
    say(f"data: {len(y):,} rows, {X.shape[1]} features, {y.mean():.1%} positive")
    teacher = train_teacher(X, y, parts.fit, parts.search, seed=seed)
    say(f"teacher: LightGBM, {teacher.num_trees()} trees")
    reference = teacher.predict(final_X)
    name = f"LightGBM, {teacher.num_trees()} trees"
    rows = [
        _judged(f"{name}, predict", final_y, reference, None),
        _judged(f"{name}, fastest call", final_y, reference, None),
    ]
    float64 = np.ascontiguousarray(final_X[:ROTATED_ROWS])
    float32 = float64.astype(np.float32)
    fast = FastRow(teacher, float64)
    single = {
        rows[0].model: lambda i: teacher.predict(float64[i : i + 1], num_threads=1),
        rows[1].model: fast.call,
    }
    batch_rows = np.ascontiguousarray(final_X[:BATCH])
    batch32 = batch_rows.astype(np.float32)
    batch = {rows[0].model: lambda: teacher.predict(batch_rows, num_threads=1)}
    scorers = []
    with tempfile.TemporaryDirectory(prefix="farthing-demo-") as folder:
        for hidden in STUDENTS:
            label = "-".join(map(str, hidden))
            say(f"distil {label}")
            student = distill(teacher, X[learn], y[learn], hidden=hidden, random_state=seed)
            for kind, variant in compress_variants(
                student, X[learn], y[learn], say, **training
            ).items():
                path = Path(folder) / f"{len(rows)}.farthing"
                variant.save(path)
                scorer = load(path)
                scorers.append(scorer)
                row = _judged(
                    f"student {label}, {kind}", final_y, scorer.predict(final_X), reference
                )
                row.file_bytes = path.stat().st_size
                row.table_bytes = _table_bytes(scorer)
                rows.append(row)
                single[row.model] = _one_row(scorer, float32)
                batch[row.model] = _one_batch(scorer, batch32)
    say("time single rows and batches")
    for row_name, latency in single_calls(single, len(float64), rounds).items():
        next(row for row in rows if row.model == row_name).latency = latency
    for row_name, seconds in interleaved(batch, rounds).items():
        next(row for row in rows if row.model == row_name).rows_per_second = len(
            batch_rows
        ) / float(np.median(seconds))
    say("done")
    return rows


def _one_row(scorer, rows):
    predict, out = scorer.predict, np.empty(1, np.float32)
    views = list(rows)
    return lambda i: predict(views[i], out=out)


def _one_batch(scorer, rows):
    predict, out = scorer.predict, np.empty(len(rows), np.float32)
    return lambda: predict(rows, out=out)


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    head = (
        "model",
        "AUC",
        "95 % interval",
        "to teacher",
        "verdict",
        "slope",
        "file",
        "table",
        "p50 us",
        "p99 us",
        "rows/s",
    )
    lines = [head]
    for row in rows:
        lines.append(
            (
                row.model,
                f"{row.auc:.4f}",
                f"{row.auc_low:.4f}-{row.auc_high:.4f}",
                "" if row.difference is None else f"{row.difference:+.4f}",
                row.verdict or "",
                "" if row.slope is None else f"{row.slope:.2f}",
                "" if row.file_bytes is None else f"{row.file_bytes:,}",
                "" if row.table_bytes is None else f"{row.table_bytes:,}",
                "" if row.latency is None else f"{row.latency.p50:.2f}",
                "" if row.latency is None else f"{row.latency.p99:.2f}",
                "" if row.rows_per_second is None else f"{row.rows_per_second:,.0f}",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    left = (0, 4)
    text = []
    for line in lines:
        cells = [
            c.ljust(w) if i in left else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join(text)
