"""The UCI credit-default data: 30,000 clients, 23 features, 22 % default."""

from __future__ import annotations

import csv
import lzma
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from farthing._validate import FarthingError

__all__ = ["DEFAULT_PATH", "Parts", "Table", "load", "split"]

DEFAULT_PATH = Path("examples/data/credit_default.csv.xz")
LABEL = "default.payment.next.month"


class Table(NamedTuple):
    """X float64 (n, features), y int (n,), feature names."""

    X: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]

    def first(self, n: int | None) -> Table:
        """Only the first n rows; all of them for None."""
        return Table(self.X[:n], self.y[:n], self.names)


class Parts(NamedTuple):
    """Row numbers of the three parts, each with its own rights: training, choices, verdict."""

    fit: np.ndarray
    search: np.ndarray
    final: np.ndarray


def load(path: str | PathLike = DEFAULT_PATH) -> Table:
    """Reads the CSV (plain or .xz). OSError where it is missing, ValueError for another one."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist. The UCI credit-default data is part of the source repository "
            f"({DEFAULT_PATH}), not of the wheel: run in a checkout, or name the file with --data"
        )
    opener = lzma.open if path.suffix == ".xz" else open
    try:
        with opener(path, "rt") as stream:
            header, *lines = stream.read().splitlines() or [""]
        names = next(csv.reader([header]), [])
        if LABEL not in names:
            raise ValueError(f"no column {LABEL!r} among {names}")
        if not lines:
            raise ValueError("no rows")
        rows = np.loadtxt(lines, delimiter=",", quotechar='"', ndmin=2)
        if rows.shape[1] != len(names):
            raise ValueError(f"{rows.shape[1]} columns under {len(names)} names")
    except (ValueError, EOFError, lzma.LZMAError) as error:
        raise FarthingError(f"{path} must be the UCI credit-default CSV, got {error}") from None
    y = rows[:, names.index(LABEL)].astype(int)
    features = [j for j, name in enumerate(names) if name not in (LABEL, "ID")]
    return Table(rows[:, features], y, tuple(names[j] for j in features))


def split(y: np.ndarray, seed: int) -> Parts:
    """60 / 20 / 20 by class, drawn by `seed`."""
    rng = np.random.default_rng(seed)
    parts = [[], [], []]
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        for part, chunk in zip(
            parts, np.split(rows, [int(0.6 * len(rows)), int(0.8 * len(rows))]), strict=True
        ):
            part.append(chunk)
    return Parts(*(np.sort(np.concatenate(part)) for part in parts))
