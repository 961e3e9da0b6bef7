"""Argument checks that name the argument, what was given and what is allowed."""

from __future__ import annotations

import operator
from collections.abc import Sequence

__all__ = ["FarthingError", "check_choice", "check_fraction", "check_integer"]


class FarthingError(ValueError):
    """The base of Farthing's own errors, such as a file that is not a valid model.

    >>> issubclass(FarthingError, ValueError)
    True
    """


def check_fraction(**arguments: object) -> None:
    """ValueError unless every named argument is a number in [0, 1], TypeError for no number.

    >>> check_fraction(sparsity=1.5)
    Traceback (most recent call last):
    ValueError: sparsity must be a number from 0 to 1, got 1.5
    """
    for name, value in arguments.items():
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be a number from 0 to 1, got {value!r}") from None
        if not 0 <= number <= 1:
            raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")


def check_choice(allowed: Sequence[object], **arguments: object) -> None:
    """ValueError unless every named argument is one of `allowed`.

    >>> check_choice((8, 4), bits=5)
    Traceback (most recent call last):
    ValueError: bits must be one of 8, 4, got 5
    """
    for name, value in arguments.items():
        if not any(type(value) is type(choice) and value == choice for choice in allowed):
            choices = ", ".join(map(repr, allowed))
            raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def check_integer(minimum: int, **arguments: object) -> None:
    """ValueError unless every named argument is a whole number of at least `minimum`.

    TypeError where it is no integer (a bool counts as none).

    >>> check_integer(1, epochs=0)
    Traceback (most recent call last):
    ValueError: epochs must be an integer >= 1, got 0
    """
    for name, value in arguments.items():
        try:
            if isinstance(value, bool):
                raise TypeError
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{name} must be an integer >= {minimum}, got {value!r}") from None
        if number < minimum:
            raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
