"""An epoch of training against PyTorch: 64-256-128-1, batches of 256, one thread each.

    python benchmarks/training.py [--rows 51200] [--rounds 15] [--json]

Epochs of all competitors take turns in random order; a ratio is that of two medians of one
run, with the quartiles of the rounds' own ratios. PyTorch: the data is one tensor, batches are
index lists of one permutation, AdamW in its three forms, of which the fastest counts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from itertools import pairwise

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from farthing.demo.timing import interleaved
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.model import Model
from farthing.training import train

FEATURES, HIDDEN, BATCH = 64, (256, 128), 256
RATE, DECAY = 1e-3, 0.01  # AdamW's own defaults
OURS = "farthing"
THEIRS = {"PyTorch, default": {}, "PyTorch, foreach": {"foreach": True}}
THEIRS |= {"PyTorch, fused": {"fused": True}}


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features and labels that a network can learn but a line cannot."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, FEATURES)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.float32)


def accuracy(z: np.ndarray, y: np.ndarray) -> float:
    return float(((z.ravel() > 0) == y).mean())


class Ours:
    """One epoch a call, from the parameters that the last one left."""

    def __init__(self, X, y, encoder, dropout: float = 0.0):
        self.X, self.y, self.dropout = X, y, dropout
        self.model = Model.build(encoder.fit(X), HIDDEN, seed=0)

    def __call__(self) -> None:
        train(
            self.model,
            self.X,
            self.y,
            max_epochs=1,
            batch_size=BATCH,
            learning_rate=RATE,
            weight_decay=DECAY,
            dropout=self.dropout,
        )

    def accuracy(self) -> float:
        return accuracy(self.model.forward(self.X), self.y)


class Theirs:
    """The same in PyTorch."""

    def __init__(self, X, y, **adam):
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch, self.labels = torch, y
        sizes = [FEATURES, *HIDDEN]
        layers = []
        for k, n in pairwise(sizes):
            layers += [torch.nn.Linear(k, n), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 1))
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)[:, None]
        self.loss = torch.nn.BCEWithLogitsLoss()
        self.adam = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=DECAY, **adam)

    def __call__(self) -> None:
        order = self.torch.randperm(len(self.X))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            self.adam.zero_grad()
            self.loss(self.net(self.X[batch]), self.y[batch]).backward()
            self.adam.step()

    def accuracy(self) -> float:
        with self.torch.no_grad():
            return accuracy(self.net(self.X).numpy(), self.labels)


def epochs(n: int, rounds: int) -> dict[str, np.ndarray]:
    """Seconds of every round's epoch by competitor; each has learnt before it counts."""
    X, y = rows(n)
    turns = {
        OURS: Ours(X, y, Standardizer()),
        "farthing, dropout 0.05": Ours(X, y, Standardizer(), dropout=0.05),
        "farthing, piecewise linear": Ours(X, y, PiecewiseLinearEncoder()),
    }
    try:
        turns |= {name: Theirs(X, y, **adam) for name, adam in THEIRS.items()}
    except ImportError as error:
        print(f"PyTorch is left out: {error}; pip install --group bench", file=sys.stderr)
    times = interleaved(turns, rounds)
    base = max(y.mean(), 1 - y.mean())
    for name, turn in turns.items():
        assert turn.accuracy() > base + 0.05, f"{name} has learnt nothing"
    return times


def summarise(times: dict[str, np.ndarray]) -> dict:
    """Median seconds an epoch, and the ratio to the fastest PyTorch where there is one."""
    result: dict = {"seconds": {name: float(np.median(t)) for name, t in times.items()}}
    theirs = [name for name in THEIRS if name in times]
    if theirs:
        best = min(theirs, key=lambda name: result["seconds"][name])
        low, high = np.quantile(times[OURS] / times[best], [0.25, 0.75])
        result |= {
            "against": best,
            "ratio": result["seconds"][OURS] / result["seconds"][best],
            "quartiles": [float(low), float(high)],
        }
    return result


def report(result: dict) -> str:
    lines = [f"{name:28} {value:8.3f} s an epoch" for name, value in result["seconds"].items()]
    if "ratio" in result:
        ratio, (low, high) = result["ratio"], result["quartiles"]
        lines.append(
            f"\n{'met' if ratio <= 1 else 'missed':7} an epoch takes {ratio:.2f} of "
            f"{result['against']} (quartiles {low:.2f} to {high:.2f}), goal <= 1"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=51_200)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    result = summarise(epochs(arguments.rows, arguments.rounds))
    print(json.dumps(result, indent=2) if arguments.json else report(result))
    return result


if __name__ == "__main__":
    main()
