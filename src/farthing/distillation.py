"""Knowledge transfer: a small network learns what a large model predicts."""

from __future__ import annotations

import copy

import numpy as np

from farthing._validate import FarthingError, check_fraction, check_integer
from farthing.augmentation import munge
from farthing.base import Estimator, HeldOut
from farthing.estimators import Classifier, Regressor
from farthing.losses import DistillationLoss
from farthing.tables import (
    as_labels,
    as_matrix,
    as_weights,
    check_features,
    column_names,
    row_count,
    take_rows,
)
from farthing.training import draw_seed, split_search

__all__ = ["distill"]

DEFAULT_COPIES = 3


def _ask(teacher, X) -> np.ndarray:
    """A teacher's predictions on `X` in the user's container: probabilities by class,
    float64 (n, classes), or values (n,)."""
    if isinstance(teacher, (list, tuple)):
        answers = [_ask(member, X) for member in teacher]
        if len({answer.shape for answer in answers}) != 1:
            raise FarthingError(f"teacher: the {len(teacher)} teachers answer in different shapes")
        return np.mean(answers, axis=0)
    if hasattr(teacher, "predict_proba"):
        answer = teacher.predict_proba(X)
    elif hasattr(teacher, "predict"):
        answer = teacher.predict(X)
    else:
        answer = teacher(X)
    return _checked_answer(answer, row_count(X))


def _checked_answer(answer, n: int) -> np.ndarray:
    answer = np.asarray(answer, dtype=np.float64)
    if answer.ndim == 2 and answer.shape[1] == 1:
        answer = answer[:, 0]
    if answer.ndim not in (1, 2) or len(answer) != n:
        raise FarthingError(
            f"teacher: expected one prediction for each of {n} rows, got shape {answer.shape}"
        )
    finite = np.isfinite(answer.reshape(n, -1)).all(axis=1)
    if not finite.all():
        raise FarthingError(
            f"teacher: the prediction for row {int(np.argmin(finite))} is NaN or infinite"
        )
    return answer


class _Lesson:
    """What the student is to learn: the teacher's answers and y, on the student's scale."""

    def __init__(self, pupil: Estimator, y, answer: np.ndarray, alpha: float, temperature: float):
        n = len(answer)
        self.pupil = pupil
        self.binary = isinstance(pupil, Classifier)
        self.alpha = 1.0 if y is None else alpha
        self.temperature = temperature
        if self.binary:
            pupil._set_classes(np.arange(2) if y is None else as_labels(y, n)[0])
        elif temperature != 1:
            raise FarthingError(
                f"temperature: softens probabilities, a Regressor takes only 1, got {temperature!r}"
            )
        self.known = None if y is None else pupil._coded(y, n, "y")
        # Without the clip one certain answer of the teacher would weigh more than all others.
        self.margin = 0.5 / n
        self.loss = None if temperature == 1 else DistillationLoss(self.alpha, temperature)

    def soft(self, answer: np.ndarray) -> np.ndarray:
        """The teacher's P(positive), clipped, or its value, (n,)."""
        if not self.binary:
            if answer.ndim == 2:
                raise FarthingError(
                    "teacher: predicts probabilities by class, a Regressor student learns values"
                )
            return answer
        classes = self.pupil.classes_.tolist()
        if answer.ndim == 2:
            if answer.shape[1] != len(classes):
                raise FarthingError(
                    f"teacher: predicts {answer.shape[1]} classes, y has {len(classes)}: {classes}"
                )
            answer = answer[:, self.pupil._positive_index()]
        if ((answer < 0) | (answer > 1)).any():
            raise FarthingError(
                "teacher: a Classifier student learns probabilities, got values outside [0, 1]"
            )
        return np.clip(answer, self.margin, 1 - self.margin)

    def target(self, soft: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        """What the loss compares with: alpha x teacher + (1 - alpha) x y, in which it is
        linear, or with a temperature both apart. Rows without y are the teacher's alone."""
        if known is None:
            known = soft
        if self.loss is not None:
            return np.column_stack([soft, known])
        return self.alpha * soft + (1 - self.alpha) * known

    def held_out(self, rows, soft, known, weight) -> HeldOut:
        return HeldOut(rows, self.target(soft, known), soft if known is None else known, weight)


def _select_columns(X, columns):
    """What the student sees of `X`."""
    if columns is None:
        return X
    names = column_names(X)
    if names is None:
        width = np.shape(X)[1]
        bad = [c for c in columns if not isinstance(c, (int, np.integer)) or not 0 <= c < width]
        if bad:
            raise FarthingError(
                f"columns: {bad[0]!r} is not a column index of X, allowed are 0 to {width - 1}"
            )
        return np.asarray(X)[:, list(columns)]
    bad = [c for c in columns if c not in names]
    if bad:
        raise FarthingError(f"columns: X has no column {bad[0]!r}; it has {list(names)}")
    return X.select(list(columns)) if hasattr(X, "select") else X[list(columns)]


def _unfitted(student, hidden, by_class: bool, y) -> Estimator:
    """A clone of `student`, or the default one."""
    if student is None:
        binary = by_class or (y is not None and len(np.unique(np.asarray(y))) == 2)
        pupil = Classifier() if binary else Regressor()
    elif isinstance(student, Estimator):
        pupil = type(student)(**copy.deepcopy(student.get_params()))
    else:
        raise TypeError(
            f"student: expected a farthing.Classifier or Regressor, got {type(student).__name__}"
        )
    if hidden is not None:
        pupil.set_params(hidden=hidden)
    return pupil


def _is_teacher(teacher) -> bool:
    """Whether it can be asked about new rows; an array of predictions cannot."""
    if isinstance(teacher, (list, tuple)):
        return bool(teacher) and all(map(_is_teacher, teacher))
    return hasattr(teacher, "predict_proba") or hasattr(teacher, "predict") or callable(teacher)


def _check_classes(teacher, pupil: Estimator) -> None:
    """Raises where a teacher names classes in another order, or others, than the student's."""
    if isinstance(teacher, (list, tuple)):
        for member in teacher:
            _check_classes(member, pupil)
        return
    named = getattr(teacher, "classes_", None)
    if named is None or not isinstance(pupil, Classifier):
        return
    named, own = np.asarray(named).tolist(), pupil.classes_.tolist()
    if named != own and named != list(range(len(own))):
        raise FarthingError(f"teacher predicts the classes {named}, the student's are {own}")


def _copies(augment, askable: bool) -> int:
    if augment == "auto":
        return DEFAULT_COPIES if askable else 0
    check_integer(0, augment=augment)
    if augment and not askable:
        raise FarthingError(
            f"augment: an array of predictions cannot be asked about new rows, got {augment!r}"
        )
    return int(augment)


def distill(
    teacher,
    X,
    y=None,
    *,
    student=None,
    hidden=None,
    columns=None,
    temperature=1.0,
    alpha=0.7,
    augment="auto",
    sample_weight=None,
    groups=None,
    validation=None,
    random_state=None,
):
    """A fitted student that imitates `teacher` (Hinton, Vinyals & Dean 2015).

    Parameters
    ----------
    teacher : anything with ``predict_proba`` or ``predict``, a callable, a list of them
        (their mean counts), or an array of predictions
        It is asked as it is, never refitted, on X in your own container. Predictions of
        shape (n, classes) are probabilities in the order of the sorted labels; shape (n,)
        is P(positive) for a Classifier student, else values. An array cannot be asked
        about new rows, so it allows no augmentation.
    X : (n, features), y : (n,) or None
        The teacher sees all of X. Without y, alpha is 1.
    student : unfitted Classifier or Regressor, or None
        Cloned. None: ``Classifier()``, or ``Regressor()`` where the teacher gives no
        probabilities.
    hidden : tuple of int or None
        Short for the student's hidden layers.
    columns : list or None
        Names (tables) or indices of what the student sees of X.
    temperature : float
        Softens both predictions by dividing logits; the loss is scaled by its square.
    alpha : float in [0, 1]
        Weight of the loss to the teacher; 1 - alpha goes to y.
    augment : "auto" or int
        Copies of the rows, mixed among neighbours (MUNGE), that only the teacher labels;
        "auto": 3 where the teacher can be asked.
    sample_weight, groups, validation : as in `Classifier.fit`
    random_state : int or None

    Probabilities are clipped to [1/(2n), 1 - 1/(2n)]. Raises ValueError for a teacher that
    returns NaN, other classes than y or a wrong number of rows, before any training.

    >>> import numpy as np, farthing
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> teacher = lambda rows: 1 / (1 + np.exp(-3 * rows[:, 0]))
    >>> small = farthing.distill(teacher, X, X[:, 0] > 0, hidden=(8,), random_state=0)
    >>> bool(small.score(X, X[:, 0] > 0) > 0.9)
    True
    """
    check_fraction(alpha=alpha)
    if not temperature > 0:
        raise FarthingError(f"temperature must be a number above 0, got {temperature!r}")
    n = row_count(X)
    if n == 0:
        raise FarthingError("X: has no rows")
    askable = _is_teacher(teacher)
    copies = _copies(augment, askable)
    answer = _ask(teacher, X) if askable else _checked_answer(teacher, n)
    pupil = _unfitted(student, hidden, answer.ndim == 2, y)
    if random_state is not None:
        pupil.set_params(random_state=random_state)
    pupil._check_parameters()
    seed = draw_seed(pupil.random_state)
    lesson = _Lesson(pupil, y, answer, alpha, temperature)
    _check_classes(teacher, pupil)
    soft, known = lesson.soft(answer), lesson.known
    matrix, names = as_matrix(_select_columns(X, columns))
    check_features(matrix, names)
    weight = as_weights(sample_weight, n)
    if validation is None:
        fit, search = split_search(n, known if lesson.binary else None, groups, seed)
        held_out = lesson.held_out(
            matrix[search], soft[search], _at(known, search), _at(weight, search)
        )
    else:
        fit = np.arange(n)
        selected = (_select_columns(validation[0], columns), *validation[1:])
        given = pupil._held_out(selected, names, matrix.shape[1], argument="validation")
        said = lesson.soft(_ask(teacher, validation[0])) if askable else given.known
        held_out = lesson.held_out(given.rows, said, given.known, given.weight)
    rows = [matrix[fit]]
    targets = [lesson.target(soft[fit], _at(known, fit))]
    rng = np.random.default_rng(seed)
    for table in munge(take_rows(X, fit), matrix[fit], copies=copies, rng=rng):
        rows.append(as_matrix(_select_columns(table, columns))[0])
        targets.append(lesson.target(lesson.soft(_ask(teacher, table)), None))
    return pupil._fit_rows(
        np.concatenate(rows),
        np.concatenate(targets),
        None if weight is None else np.tile(weight[fit], copies + 1),
        held_out,
        names=names,
        seed=seed,
        loss=lesson.loss,
        encode_first=len(fit),
    )


def _at(values: np.ndarray | None, index) -> np.ndarray | None:
    return None if values is None else values[index]
