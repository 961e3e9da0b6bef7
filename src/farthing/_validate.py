"""Argument checks that name the argument, what was given and what is allowed."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Integral, Real
from typing import NoReturn

__all__ = ["FarthingError", "check_choice", "check_fraction", "check_integer", "check_number"]


class FarthingError(ValueError):
    """The base of Farthing's own errors, such as a file that is not a valid model.

    >>> issubclass(FarthingError, ValueError)
    True
    """


def _is_one_of(choices: Sequence[object], value: object) -> bool:
    """Equal in value and kind: numpy's integers and texts count, True is not 1."""
    for choice in choices:
        kind = Integral if type(choice) is int else type(choice)
        same_kind = isinstance(value, kind) and isinstance(value, bool) == isinstance(choice, bool)
        if same_kind and value == choice:
            return True
    return False


def _fail(
    kind: type[Exception], name: str, value: object, what: str, also: Sequence[object] = ()
) -> NoReturn:
    allowed = " or ".join([what, *map(repr, also)])
    raise kind(f"{name} must be {allowed}, got {value!r}") from None


def check_choice(allowed: Sequence[object], **arguments: object) -> None:
    """ValueError unless every named argument is one of `allowed`.

    >>> check_choice((8, 4), bits=5)
    Traceback (most recent call last):
    ValueError: bits must be one of 8, 4, got 5
    """
    for name, value in arguments.items():
        if not _is_one_of(allowed, value):
            _fail(ValueError, name, value, f"one of {', '.join(map(repr, allowed))}")


def check_integer(
    minimum: int, maximum: int | None = None, /, *, also: Sequence[object] = (), **arguments: object
) -> None:
    """ValueError unless every named argument is a whole number from `minimum` to `maximum`.

    TypeError where it is no integer (a bool counts as none).  also: other values that pass.

    >>> check_integer(1, epochs=0)
    Traceback (most recent call last):
    ValueError: epochs must be an integer >= 1, got 0
    >>> check_integer(1, 258, also=("auto",), n_bins=259)
    Traceback (most recent call last):
    ValueError: n_bins must be an integer from 1 to 258 or 'auto', got 259
    """
    span = f">= {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    what = f"an integer {span}"
    for name, value in arguments.items():
        if _is_one_of(also, value):
            continue
        try:
            if isinstance(value, bool):
                raise TypeError
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            _fail(TypeError, name, value, what, also)
        if number < minimum or (maximum is not None and number > maximum):
            _fail(ValueError, name, value, what, also)


def check_number(interval: str, /, *, also: Sequence[object] = (), **arguments: object) -> None:
    """ValueError unless every named argument lies in `interval`, TypeError for no number.

    interval: its two ends, within a square bracket where the end belongs to it and a round
    one where it does not.  A bool counts as no number; NaN lies in no interval.  also: other
    values that pass.

    >>> check_number("[0, 1)", dropout=1)
    Traceback (most recent call last):
    ValueError: dropout must be a number in [0, 1), got 1
    """
    low, high = map(float, interval[1:-1].split(","))
    what = f"a number in {interval}"
    for name, value in arguments.items():
        if _is_one_of(also, value):
            continue
        if isinstance(value, bool) or not isinstance(value, Real):
            _fail(TypeError, name, value, what, also)
        above = value >= low if interval[0] == "[" else value > low
        below = value <= high if interval[-1] == "]" else value < high
        if not (above and below):
            _fail(ValueError, name, value, what, also)


def check_fraction(**arguments: object) -> None:
    """`check_number` for [0, 1].

    >>> check_fraction(sparsity=1.5)
    Traceback (most recent call last):
    ValueError: sparsity must be a number in [0, 1], got 1.5
    """
    check_number("[0, 1]", **arguments)
