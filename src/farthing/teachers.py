"""Asking a teacher: what counts as one, its answers checked, and the classes it names."""

from __future__ import annotations

import reprlib
import warnings

import numpy as np

from farthing._validate import FarthingError
from farthing.columns import as_numbers
from farthing.metrics import auc
from farthing.tables import row_count

__all__ = [
    "as_array",
    "ask",
    "check_classes",
    "given_answer",
    "is_teacher",
    "named_classes",
    "warn_of_inversion",
    "warn_of_memory",
]

# A teacher whose log-loss on its own rows is under this part of that on others knows them by heart.
MEMORISED = 0.7


def is_teacher(teacher) -> bool:
    """Whether it can be asked about new rows; an array of predictions cannot."""
    if isinstance(teacher, (list, tuple)):
        return bool(teacher) and all(map(is_teacher, teacher))
    if isinstance(teacher, type):  # its methods ask for an instance
        return False
    return hasattr(teacher, "predict_proba") or hasattr(teacher, "predict") or callable(teacher)


def ask(teacher, X) -> np.ndarray:
    """A teacher's predictions on `X` in the user's container: probabilities by class,
    float64 (n, classes), or values (n,)."""
    if isinstance(teacher, (list, tuple)):
        answers = [ask(member, X) for member in teacher]
        if len({answer.shape for answer in answers}) != 1:
            raise FarthingError(
                "teacher must be a list whose members answer in one shape, "
                f"got {[answer.shape for answer in answers]}"
            )
        return np.mean(answers, axis=0)
    if hasattr(teacher, "predict_proba"):
        answer = teacher.predict_proba(X)
    elif hasattr(teacher, "predict"):
        answer = teacher.predict(X)
    else:
        try:
            answer = teacher(X)
        except Exception as error:
            if not hasattr(teacher, "forward"):
                raise
            raise TypeError(
                f"teacher must take X as it was given, got {type(teacher).__name__}, a module of "
                f"tensors, which failed ({error}); pass a function such as lambda X: "
                "module(torch.as_tensor(X, dtype=torch.float32)).sigmoid()"
            ) from error
    return _checked_answer(answer, row_count(X))


def given_answer(teacher, n: int) -> np.ndarray:
    """Predictions for n rows, given in place of a teacher."""
    try:
        answer = as_array(teacher)
        numbers = as_numbers(answer, "teacher") if answer.ndim else None
    except (ValueError, TypeError):
        numbers = None
    if numbers is None:
        raise TypeError(
            "teacher must have predict_proba or predict, or be a function of rows, a list of "
            f"such teachers, or an array of predictions, got {reprlib.repr(teacher)}"
        )
    return _checked_answer(numbers, n)


def as_array(answer, argument: str = "teacher") -> np.ndarray:
    """`answer` as an array; a tensor of torch without its gradient, from where it is."""
    try:
        for method in ("detach", "cpu"):
            if callable(getattr(answer, method, None)):
                answer = getattr(answer, method)()
        return np.asarray(answer)
    except (TypeError, RuntimeError, ValueError) as error:  # such as torch's, or of ragged lists
        raise TypeError(
            f"{argument} must give an array of numbers, got {type(answer).__name__}: {error}"
        ) from error


def _checked_answer(answer, n: int) -> np.ndarray:
    answer = as_numbers(as_array(answer), "the teacher's answer").astype(np.float64)
    if answer.ndim == 2 and answer.shape[1] == 1:
        answer = answer[:, 0]
    if answer.ndim not in (1, 2) or len(answer) != n:
        raise FarthingError(
            f"teacher must give one prediction for each of {n} rows, got shape {answer.shape}"
        )
    finite = np.isfinite(answer.reshape(n, -1)).all(axis=1)
    if not finite.all():
        raise FarthingError(
            "teacher must give finite predictions, "
            f"the one for row {int(np.argmin(finite))} is NaN or infinite"
        )
    return answer


def named_classes(teacher) -> list[list]:
    """The classes of every teacher that names them, in the order of its probabilities."""
    if isinstance(teacher, (list, tuple)):
        return [named for member in teacher for named in named_classes(member)]
    named = getattr(teacher, "classes_", None)
    return [] if named is None else [np.asarray(named).tolist()]


def check_classes(named: list[list], own: list) -> None:
    """Raises where a teacher names classes in another order, or others, than the student's.

    0, 1, ... pass: codes of the sorted labels, as many libraries ask for.
    """
    for classes in named:
        if classes not in (own, list(range(len(own)))):
            raise FarthingError(
                f"teacher must predict the student's classes: it predicts {classes}, the "
                f"student's are {own}; recode y, or pass a function that gives P(positive)"
            )


def warn_of_inversion(classes: list, known: np.ndarray, soft: np.ndarray, weight) -> None:
    """Warns where the teacher's probability of a class is the lower the truer the class."""
    several = known.ndim == 2
    for j in range(known.shape[1] if several else 1):
        own, said = (known[:, j], soft[:, j]) if several else (known, soft)
        counted = own if weight is None else own[weight > 0]
        if counted.min() == counted.max():
            continue
        area = auc(own, said, weight)
        if area < 0.5:
            what = f"class {classes[j]!r}" if several else "y"
            whose = "the classes in sorted order" if several else "the positive class"
            warnings.warn(
                f"the teacher ranks {what} worse than chance (AUC {area:.3f}): "
                f"check that its probabilities are those of {whose}",
                stacklevel=3,
            )


def warn_of_memory(own: tuple, others: tuple) -> None:
    """Warns where the teacher is much surer of the rows that it was asked about than of others.

    own, others: y as coded, the teacher's probabilities, weights or None.
    """
    losses = [_log_loss(*part) for part in (own, others)]
    if losses[0] < MEMORISED * losses[1]:
        warnings.warn(
            f"the teacher has memorised rows of X: its log-loss there is {losses[0]:.3f}, on "
            f"validation {losses[1]:.3f}; teacher_labels='out-of-fold' asks teachers that have not "
            "seen them",
            stacklevel=3,
        )


def _log_loss(known: np.ndarray, soft: np.ndarray, weight) -> float:
    if soft.ndim == 1:
        known, soft = np.stack([1 - known, known], axis=1), np.stack([1 - soft, soft], axis=1)
    # Probabilities are clipped before they get here.
    return float(np.average(-(known * np.log(soft)).sum(axis=1), weights=weight))
