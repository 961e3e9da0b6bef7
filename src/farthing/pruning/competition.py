"""Who competes with whom: which units go by their scores, within the scope that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from farthing import _core
from farthing._validate import FarthingError, check_number
from farthing.kernels import drop_count

__all__ = ["Competition"]


class Competition:
    """Groups of layers whose units compete, and the sparsity that each group is to reach.

    layers: the names of those that have units, in the order of their scores; sparsity: one number,
    None for a threshold, or a dict by the names of the layers that are to lose units, in which
    every layer is a group; exclude: names of layers whose units stay.
    """

    def __init__(self, layers: Sequence[str], sparsity, scope: str, exclude: Sequence[str]):
        if isinstance(exclude, str) or not isinstance(exclude, Iterable):
            raise TypeError(f"exclude must be a list of names of layers, got {exclude!r}")
        for name in exclude:
            self._check(name, layers, "exclude")
        self.exclude = frozenset(exclude)
        chosen = [i for i, name in enumerate(layers) if name not in exclude]
        if isinstance(sparsity, Mapping):
            for name, share in sparsity.items():
                self._check(name, layers, "sparsity")
                check_number("[0, 1)", **{f"sparsity of {name}": share})
                if name in exclude:
                    raise FarthingError(f"exclude must not name {name!r}, which sparsity names")
            chosen = [i for i in chosen if layers[i] in sparsity]
            self.groups = [([i], float(sparsity[layers[i]])) for i in chosen]
        else:
            check_number("[0, 1)", also=(None,), sparsity=sparsity)
            parts = [[i] for i in chosen] if scope == "layer" else [chosen]
            self.groups = [(part, sparsity) for part in parts]
        if not chosen:
            raise FarthingError(
                f"exclude must leave a layer of {', '.join(layers)} to prune, got {list(exclude)}"
                if exclude
                else f"sparsity must name one of the layers {', '.join(layers)}, got {sparsity}"
            )

    @staticmethod
    def _check(name: object, layers: Sequence[str], argument: str) -> None:
        if name not in layers:
            raise FarthingError(
                f"{argument} must name layers with units of the pattern: "
                f"{', '.join(layers)}, got {name!r}"
            )

    def gone(self, alive: list[np.ndarray]) -> list[float]:
        """The share of every group's units that went before."""
        return [
            float((~np.concatenate([alive[i] for i in part])).mean()) for part, _ in self.groups
        ]

    def keep(self, scores: list[np.ndarray], start: list[float], progress) -> list[np.ndarray]:
        """What stays of every layer when each group is so far from `start` to its sparsity.

        progress: a function of the share of a group's present units that is to go.
        """
        kept = [np.ones(len(s), bool) for s in scores]
        for (part, target), begin in zip(self.groups, start, strict=True):
            target = max(target, begin)
            rest = (target - begin) / (1 - begin) if begin < 1 else 0.0
            share = begin + (target - begin) * progress(rest)
            for i, own in zip(part, _lowest_go([scores[i] for i in part], share), strict=True):
                kept[i] = own
        return kept

    def keep_above(self, scores: list[np.ndarray], threshold: float) -> list[np.ndarray]:
        """What stays where all units below a threshold go, but for the best of a layer."""
        kept = [np.ones(len(s), bool) for s in scores]
        for part, _ in self.groups:
            for i in part:
                kept[i] = scores[i] >= threshold
                kept[i][np.argmax(scores[i])] = True
        return kept


def _lowest_go(scores: list[np.ndarray], share: float) -> list[np.ndarray]:
    """What stays when the lowest `share` of the units goes; one stays in every layer."""
    if len(scores) == 1:
        return [_core.prune_select(scores[0], drop_count(share, len(scores[0])))]
    # The best unit of a layer is out of the competition.
    protected = [s.copy() for s in scores]
    for s in protected:
        s[np.argmax(s)] = np.inf
    joined = np.concatenate(protected)
    kept = _core.prune_select(joined, drop_count(share, len(joined), stay=len(scores)))
    return np.split(kept, np.cumsum([len(s) for s in scores])[:-1])
