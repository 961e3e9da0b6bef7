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
  loader refuses others), group scales >= 1, addition, rounding, clamps, ReLU; a table whose
  entries never decrease, which is looked at; and the logistic function, tanh and exp, whose
  float32 answers never decrease.  Their formulas do not prove that, since the error of a double
  may turn two neighbours around; the C tests run through the floats, each of them when asked to
  (``tests/csrc/test_link.c``, ``test_activation.c``).  GELU and SiLU fall and rise.
- A residual sum has both directions of its parts; of integers each part counts with the sign of
  its factor.
- Sines and cosines rise and fall, and prove nothing but that a feature has no effect.

So the signs prove the output's direction for every float a feature can take, between the edges
of its bins too, and for all values of the other features.  Where signs disagree nothing is
proven, although the score may still be monotone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from farthing import _core, container
from farthing._validate import FarthingError

__all__ = ["certify", "certify_monotone", "declaration"]

_INPUTS, _DENSE, _ENCODE_DENSE, _LINK = (1, 2), 3, 4, 5
_TABLE, _ACTIVATE, _ADD, _PERIODIC, _BOUND = 6, 7, 8, 9, 10
# Activations that never decrease: of a layer none and ReLU, of the link none, sigmoid and exp,
# of an operation of their own tanh and sigmoid.
_MONOTONE_LAYER = (0, 1)
_MONOTONE_LINK = (0, 2, 4)
_MONOTONE_ACTIVATION = (5, 8)
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

    def turned(self, factor: float) -> _Directions:
        """Of the units times a number."""
        if factor < 0:
            return _Directions(self.falls, self.rises)
        return _Directions(self.rises & (factor > 0), self.falls & (factor > 0))

    def plus(self, other: _Directions) -> _Directions:
        """Of the sums with other units."""
        return _Directions(self.rises | other.rises, self.falls | other.falls)

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
    operations = core._operations()
    sources = tensors["ops"].reshape(-1, 32)[:, 28:].any(axis=1)
    if any(used and o["kind"] != _ADD for used, o in zip(sources, operations, strict=False)):
        raise FarthingError("certify does not know what the operations of this file do")
    directions = _followed(operations, tensors, core.n_features)
    rises, falls = directions.rises.any(axis=1), directions.falls.any(axis=1)
    proven = np.flatnonzero(~(rises & falls))
    return {int(j): int(rises[j]) - int(falls[j]) for j in proven}


def _followed(operations: list[dict[str, Any]], tensors, n_features: int) -> _Directions:
    """The directions of the last operation's outputs."""
    every: list[_Unit] = []
    for operation in operations:
        kind = operation["kind"]
        unit = every[-1] if every else None
        if kind in _INPUTS:
            scale = np.broadcast_to(tensors["input.scale"], n_features)
            unit = _Unit(_scaled_input(scale), np.full(n_features, 2.0**32))
        elif kind == _PERIODIC:
            unit = _periodic_input(operation, n_features)
        elif kind in (_DENSE, _ENCODE_DENSE):
            if kind == _ENCODE_DENSE:
                unit = _encoded_input(operation, tensors, n_features)
            unit = _behind_layer(operation, tensors, unit)
        elif kind == _TABLE:
            entries = tensors[f"{operation['name']}.table"][: operation["amax_in"] + 1]
            unit = unit.behind((np.diff(entries.astype(int)) >= 0).all())
        elif kind == _ACTIVATE:
            rises = operation["activation"] in _MONOTONE_ACTIVATION
            # The others are no farther from 0 than what they are given.
            unit = unit.behind(rises, np.ones(operation["outputs"]) if rises else unit.bound)
        elif kind == _BOUND:
            unit = unit.behind(True)
        elif kind == _ADD:
            unit = _behind_sum(operation, tensors, unit, every[operation["source"]])
        elif kind == _LINK:
            unit = unit.behind(operation["activation"] in _MONOTONE_LINK)
        else:
            raise FarthingError(f"certify does not know operations of kind {kind}")
        every.append(unit)
    return every[-1].directions


class _Unit(NamedTuple):
    """What is known behind an operation: directions, and of floats how large the values may be
    (units,), None where that is not known."""

    directions: _Directions | _Columns
    bound: np.ndarray | None

    def behind(self, is_monotone: bool, bound: np.ndarray | None = None) -> _Unit:
        """Behind a function of each value."""
        lost = np.full(self.directions.rises.shape[1], not is_monotone)
        return _Unit(self.directions.unknown(lost), self.bound if bound is None else bound)

    def within_floats(self) -> _Unit:
        """Without what may pass the end of float32, where an infinity could meet its opposite."""
        if self.bound is None:
            return self
        return self._replace(directions=self.directions.unknown(~(self.bound < _LARGEST)))


def _behind_layer(operation: dict[str, Any], tensors, inputs: _Unit) -> _Unit:
    weight = _weight(operation, tensors)
    bound = None
    if operation["bits"] == 32 and inputs.bound is not None:
        # Twice the largest sum, for its roundings.
        bias = np.abs(tensors[f"{operation['name']}.bias"])
        bound = 2 * (np.abs(weight) @ inputs.bound + bias)
    unit = _Unit(inputs.directions.through(weight), bound).within_floats()
    return unit.behind(operation["activation"] in _MONOTONE_LAYER)


def _behind_sum(operation: dict[str, Any], tensors, own: _Unit, added: _Unit) -> _Unit:
    factors, bound = (1.0, 1.0), None
    if operation["amax_out"]:
        factors = tensors[f"{operation['name']}.residual"]
    elif own.bound is not None and added.bound is not None:
        bound = 2 * (own.bound + added.bound)
    directions = own.directions.turned(factors[0]).plus(added.directions.turned(factors[1]))
    return _Unit(directions, bound).within_floats()


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
    """The inputs of the first layer: the feature of each, and whether it may rise and may fall
    with it.  The same as directions, which would have a row a feature."""

    def __init__(self, feature: np.ndarray, rises, falls, n_features: int):
        self.feature = feature
        self.rises, self.falls = (np.broadcast_to(may, feature.shape) for may in (rises, falls))
        self.n_features = n_features

    def through(self, weight: np.ndarray) -> _Directions:
        up, down = (weight > 0).T, (weight < 0).T
        rises, falls = self.rises[:, None], self.falls[:, None]
        result = _Directions(*np.zeros((2, self.n_features, len(weight)), bool))
        np.logical_or.at(result.rises, self.feature, (rises & up) | (falls & down))
        np.logical_or.at(result.falls, self.feature, (rises & down) | (falls & up))
        return result

    def turned(self, factor: float) -> _Directions:
        own = np.arange(self.n_features)[:, None] == self.feature
        return _Directions(own & self.rises, own & self.falls).turned(factor)


def _scaled_input(scale: np.ndarray) -> _Columns:
    return _Columns(np.arange(len(scale)), scale > 0, scale < 0, len(scale))


def _periodic_input(operation: dict[str, Any], n_features: int) -> _Unit:
    width = operation["outputs"]
    feature = np.repeat(np.arange(n_features), width // n_features)
    return _Unit(_Columns(feature, True, True, n_features), np.ones(width))


def _encoded_input(operation: dict[str, Any], tensors, n_features: int) -> _Unit:
    """Of a feature: its bins, which rise; or its categories or their embedding, which may do
    both; then missing, if it has one, which does neither."""
    name, width = operation["name"], operation["width"]
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
    columns = ordered + unordered + absent
    feature = np.repeat(np.arange(len(bins)), columns)
    part = np.repeat(np.tile(np.arange(3), len(bins)), counts)
    # A column of an embedding may hold any number; every other one is 1 at most.
    reach = np.abs(tensors.get(f"{name}.embedding", none).astype(float)).max(initial=0)
    bound = np.where(np.repeat(embedded > 0, columns), reach, 1.0)
    return _Unit(_Columns(feature, part < 2, part == 1, n_features), bound)


def _weight(operation: dict[str, Any], tensors: dict[str, np.ndarray]) -> np.ndarray:
    """A layer's weights (n, k) by value, float32 or int8."""
    n, k, bits = operation["outputs"], operation["width"], operation["bits"]
    stored = tensors[f"{operation['name']}.weight"]
    if operation["storage"] == 1:
        stored = _core.decode_weights(stored.tobytes(), n, k, bits)
        return stored.view(np.float32) if bits == 32 else _signed(stored, bits)
    if bits != 4:
        return stored
    return _core.split_nibbles(stored, k)


def _signed(patterns: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement patterns of so many bits by value, int8."""
    values = patterns.astype(np.int16)
    return np.where(values < 1 << (bits - 1), values, values - (1 << bits)).astype(np.int8)
