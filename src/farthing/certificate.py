"""Proof, from the weights of a saved file alone, of the features in which its score is monotone.

A *direction* of a unit in a feature is a claim about every two rows that differ in that
feature only, both values numbers: the unit's value at the larger one is never smaller
(+1), never larger (-1), or always the same (0).  Directions pass through a file as signs:

- Every column of the piecewise-linear encoding is non-decreasing in its feature: a bin's
  value (x - low) * scale is two correctly rounded operations with scale > 0, then a clamp to
  [0, amax] and a rounding; the bin's column is 0 before the bin and amax after it.  A
  standardised input is (x - shift) * scale, which follows the sign of scale.
- A sum of terms that all have one direction has that direction.  An integer sum is exact; a
  float one is a chain of correctly rounded multiplications and additions, each of which is
  monotone in its operands (terms that are 0 change nothing), so it is monotone as computed,
  not only in theory.  A term is weight x input: the input's direction times the weight's sign.
- What follows a sum is non-decreasing: conversion to float, multiplication by mult > 0 (the
  loader refuses others), group scales >= 1, addition, rounding, clamps, ReLU, and the
  logistic function, whose float32 answers never decrease.

So the signs prove the output's direction for every float a feature can take, between the edges
of its bins too, and for all values of the other features.  Where signs disagree nothing is
proven, although the score may still be monotone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from farthing import _core, container
from farthing._validate import FarthingError

__all__ = ["certify", "certify_monotone", "declaration"]

_INPUTS, _DENSE, _ENCODE_DENSE, _LINK = (1, 2), 3, 4, 5
# Activations of a layer and of the link that never decrease: none and ReLU; none and sigmoid.
_MONOTONE_LAYER = (0, 1)
_MONOTONE_LINK = (0, 2)
_LARGEST = 2.0**127


class _Directions:
    """Of every unit of a layer: in which features it may rise, and in which it may fall.

    rises, falls: bool (features, units).  Neither: the unit is constant in the feature; both:
    nothing is known.
    """

    def __init__(self, rises: np.ndarray, falls: np.ndarray):
        self.rises, self.falls = rises, falls

    def through(self, weight: np.ndarray) -> _Directions:
        """Of the sums behind `weight` (n, k)."""
        up, down = (weight > 0).astype(np.float32).T, (weight < 0).astype(np.float32).T
        rises, falls = self.rises.astype(np.float32), self.falls.astype(np.float32)
        return _Directions((rises @ up + falls @ down) > 0, (rises @ down + falls @ up) > 0)

    def unknown(self, units: np.ndarray) -> _Directions:
        """With nothing known of some units (bool), except where they are constant."""
        either = (self.rises | self.falls) & units
        return _Directions(self.rises | either, self.falls | either)


def certify(data: bytes | _core.CoreScorer) -> dict[int, int]:
    """Directions in which the score of a model is proven monotone, by 0-based feature.

    data: the bytes of a .farthing file, or a `Scorer`.  {feature: +1, -1, or 0 for a feature
    whose numbers have no effect}; features for which there is no proof are left out.  What NaN
    stands for has no order, nor have categories, and nothing is claimed of them.  With a
    softmax only features without effect are named; with several other outputs a direction is
    that of them all.  Of a float model without an encoder the proof holds as long as no sum
    passes the end of float32 (inputs of 1e38); all others are free of that.

    FarthingError where the bytes are no valid .farthing file, TypeError for other objects.

    >>> import tempfile, farthing
    >>> line = farthing.Regressor(hidden=(), encoder=None, solver="exact")
    >>> line = line.fit([[1.0, 5.0], [2.0, 3.0], [3.0, 4.0]], [2.0, 1.0, 2.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     line.save(f"{folder}/line.farthing")
    ...     certify(farthing.load(f"{folder}/line.farthing"))
    {0: 1, 1: 1}
    """
    core = _opened(data)
    tensors = container.loads(core._data)
    if tensors["ops"].reshape(-1, 32)[:, 28:].any():
        raise FarthingError("certify does not know what the operations of this file do")
    directions = bound = None
    for operation in core._operations():
        kind = operation["kind"]
        if kind in _INPUTS:
            columns = _input_columns(tensors["input.scale"])
        elif kind == _LINK:
            outputs = np.full(operation["outputs"], operation["activation"] not in _MONOTONE_LINK)
            directions = directions.unknown(outputs)
        elif kind in (_DENSE, _ENCODE_DENSE):
            name = operation["name"]
            weight = _weight(operation, tensors)
            if kind == _ENCODE_DENSE:
                columns = _encoded_columns(name, tensors, weight.shape[1])
                bound = np.ones(weight.shape[1])
            if directions is None:
                directions = _first_layer(columns, weight, core.n_features)
            else:
                directions = directions.through(weight)
            lost = np.full(len(weight), operation["activation"] not in _MONOTONE_LAYER)
            if operation["bits"] == 32 and bound is not None:
                # Twice the largest sum, for its roundings: past the end of float32 an
                # infinity could meet its opposite.
                bound = 2 * (np.abs(weight) @ bound + np.abs(tensors[f"{name}.bias"]))
                lost |= ~(bound < _LARGEST)
            directions = directions.unknown(lost)
        else:
            raise FarthingError(f"certify does not know operations of kind {kind}")
    rises, falls = directions.rises.any(axis=1), directions.falls.any(axis=1)
    proven = np.flatnonzero(~(rises & falls))
    return {int(j): int(rises[j]) - int(falls[j]) for j in proven}


def certify_monotone(data: bytes | _core.CoreScorer) -> dict[str | int, bool]:
    """Whether each monotone constraint that a model declares is proven by its weights.

    data: as for `certify`.  {feature name, or 0-based index in a model without names: bool}: the
    direction of `certify` is the declared one, or the feature has no effect.  Directions are
    those of the score, the probability of `positive` or the value.

    FarthingError where the model declares none, so that ``all(...)`` of nothing proves nothing.
    """
    core = _opened(data)
    declared = _declared(core)
    proven = certify(core)
    names = core._names or range(core.n_features)
    return {names[j]: proven.get(j) in (0, wanted) for j, wanted in declared.items()}


def declaration(
    directions: Mapping[int, int], names: tuple[str, ...] | None
) -> dict[str, dict[str, int]]:
    """What ``optional.model`` of a file's info says of {feature: +1/-1}: {} where that is empty.

    >>> declaration({1: -1}, ("age", "limit")), declaration({1: -1}, None)
    ({'monotone': {'limit': -1}}, {'monotone': {'1': -1}})
    """
    if not directions:
        return {}
    return {"monotone": {names[j] if names else str(j): int(d) for j, d in directions.items()}}


def _declared(core: _core.CoreScorer) -> dict[int, int]:
    """{feature: +1/-1} as the file declares it; nothing in a file is trusted."""
    declared: Any = core._info
    for section in ("optional", "model", "monotone"):
        declared = declared.get(section) if isinstance(declared, dict) else None
    if declared is None:
        raise FarthingError("the model declares no monotone constraints")
    names = core._names or tuple(map(str, range(core.n_features)))
    sound = isinstance(declared, dict) and all(
        name in names and type(direction) is int and direction in (1, -1)
        for name, direction in declared.items()
    )
    if not sound:
        raise FarthingError(
            f"info: optional.model.monotone must map features to 1 or -1, got {declared!r}"
        )
    return {names.index(name): direction for name, direction in declared.items()}


def _opened(data: bytes | _core.CoreScorer) -> _core.CoreScorer:
    if isinstance(data, _core.CoreScorer):
        return data
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"data must be the bytes of a .farthing file or a Scorer, got {type(data).__name__}"
        )
    return _core.CoreScorer(bytes(data))


class _Columns:
    """What the first layer sees: the feature of every column, and whether the column may rise
    and may fall with it; both for a column of categories, neither for one of missing values."""

    def __init__(self, feature: np.ndarray, rises: np.ndarray, falls: np.ndarray):
        self.feature, self.rises, self.falls = feature, rises, falls


def _input_columns(scale: np.ndarray) -> _Columns:
    return _Columns(np.arange(len(scale)), scale > 0, scale < 0)


def _encoded_columns(name: str, tensors: dict[str, np.ndarray], width: int) -> _Columns:
    """Of a feature: its bins, or its categories or their embedding; then missing, if it has one."""
    bins = tensors[f"{name}.bins"]
    missing = np.isnan(tensors[f"{name}.fill"])
    none = np.zeros(len(bins), np.int32)
    categories = tensors.get(f"{name}.categories", none)
    embedded = tensors.get(f"{name}.embedding_dims", none)
    ordered = np.where(embedded > 0, 0, bins)
    unordered = np.where(embedded > 0, embedded, categories)
    absent = np.where(embedded > 0, 0, missing)
    counts = np.stack([ordered, unordered, absent], axis=1).ravel()
    if counts.sum() != width:
        raise FarthingError(f"certify does not know the columns that {name} reads")
    feature = np.repeat(np.arange(len(bins)), ordered + unordered + absent)
    part = np.repeat(np.tile(np.arange(3), len(bins)), counts)
    return _Columns(feature, part < 2, part == 1)


def _first_layer(columns: _Columns, weight: np.ndarray, n_features: int) -> _Directions:
    up, down = (weight > 0).T, (weight < 0).T
    rises, falls = columns.rises[:, None], columns.falls[:, None]
    result = _Directions(*np.zeros((2, n_features, len(weight)), bool))
    np.logical_or.at(result.rises, columns.feature, (rises & up) | (falls & down))
    np.logical_or.at(result.falls, columns.feature, (rises & down) | (falls & up))
    return result


def _weight(operation: dict[str, Any], tensors: dict[str, np.ndarray]) -> np.ndarray:
    """A layer's weights (n, k) by value, float32 or int8."""
    n, k, bits = operation["outputs"], operation["width"], operation["bits"]
    stored = tensors[f"{operation['name']}.weight"]
    if operation["storage"] == 1:
        stored = _core.rice_decode(stored.tobytes(), n, k, bits)
        return stored.view(np.float32) if bits == 32 else _signed(stored, bits)
    if bits != 4:
        return stored
    nibbles = np.empty((n, 2 * stored.shape[1]), np.uint8)
    nibbles[:, 0::2], nibbles[:, 1::2] = stored & 15, stored >> 4
    return _signed(nibbles[:, :k], bits)


def _signed(patterns: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement patterns of so many bits by value, int8."""
    values = patterns.astype(np.int16)
    return np.where(values < 1 << (bits - 1), values, values - (1 << bits)).astype(np.int8)
