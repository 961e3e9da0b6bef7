"""Knowledge transfer: a small network learns what a large model predicts."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np

from farthing._validate import (
    FarthingError,
    check_choice,
    check_fraction,
    check_integer,
    check_number,
)
from farthing.augmentation import SAMPLERS, sampled
from farthing.base import Estimator
from farthing.distillation.out_of_fold import FoldTeachers, unfitted
from farthing.distillation.representation import Represent, representation_of
from farthing.distillation.transfer import Code, Hint, Tie
from farthing.estimators import Classifier, Regressor
from farthing.lesson import HeldOut, Table
from farthing.losses import TEMPERATURES, DistillationLoss
from farthing.selection import column_list, column_places, select_columns
from farthing.streams import is_stream, read_table
from farthing.tables import (
    as_groups,
    as_labels,
    as_matrix,
    as_part,
    as_probabilities,
    as_weights,
    at,
    take_rows,
)
from farthing.teachers import (
    ask,
    check_classes,
    given_answer,
    is_teacher,
    named_classes,
    warn_of_inversion,
    warn_of_memory,
)
from farthing.thresholds import teacher_thresholds
from farthing.training import draw_seed

__all__ = ["distill"]

DEFAULT_COPIES = 3


class _Lesson:
    """What the student is to learn: the teacher's answers and y, on the student's scale.

    counted: how many rows have weight.
    """

    def __init__(self, pupil: Estimator, known, *, counted, alpha, temperature):
        self.pupil, self.known = pupil, known
        self.alpha = 1.0 if known is None else alpha
        self.temperature = temperature
        # Without the clip one certain answer of the teacher would weigh more than all others.
        self.margin = 0.5 / counted
        self.loss = None if temperature == 1 else DistillationLoss(self.alpha, temperature)
        own = pupil._objective()
        self.objective = own if own.linear else own.imitation(self.alpha)
        # Without y there is no median to recalibrate by, only values to meet.
        self.refit = own.restoration if known is None and not own.linear else None

    def soft(self, answer: np.ndarray) -> np.ndarray:
        """The teacher's probabilities as the student codes them, clipped, or its values (n,)."""
        if not isinstance(self.pupil, Classifier):
            if answer.ndim == 2:
                raise FarthingError(
                    "teacher must give values (n,) to a Regressor student, "
                    f"got shape {answer.shape}"
                )
            self.pupil._check_sign(answer, "the teacher's answer")
            return answer
        classes = self.pupil.classes_.tolist()
        if answer.ndim == 2 and answer.shape[1] != len(classes):
            raise FarthingError(
                f"teacher must predict the student's {len(classes)} classes {classes}, "
                f"got {answer.shape[1]} classes"
            )
        if ((answer < 0) | (answer > 1)).any():
            raise FarthingError(
                "teacher must give probabilities to a Classifier student, got values outside [0, 1]"
            )
        argument = "the teacher's answer"
        if len(classes) == 2:
            if answer.ndim == 2:
                as_probabilities(answer, len(answer), 2, argument=argument)
                answer = answer[:, self.pupil._positive_index()]
            return np.clip(answer, self.margin, 1 - self.margin)
        if answer.ndim == 1:
            raise FarthingError(
                f"teacher must give a probability for each of the {len(classes)} classes "
                f"{classes}, got shape {answer.shape}"
            )
        soft = np.maximum(
            as_probabilities(answer, len(answer), len(classes), argument=argument), self.margin
        )
        return soft / soft.sum(axis=1, keepdims=True)

    def target(self, soft: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        """What the loss compares with: alpha x teacher + (1 - alpha) x y where it is linear in
        that, else both apart. Rows without y are the teacher's alone."""
        if self.loss is not None:
            return np.column_stack([soft, soft if known is None else known])
        if self.objective.linear:
            return self.alpha * soft + (1 - self.alpha) * (soft if known is None else known)
        return self.objective.blended(soft, known, self.alpha)

    def held_out(self, rows, soft, known, weight) -> HeldOut:
        known_or_said = soft if known is None else known
        return HeldOut(rows, self.target(soft, known), known_or_said, weight, self.refit)


def _thresholds(teacher, X, columns: list | None, table: Table) -> dict:
    """The teacher's thresholds by the student's features."""
    if table.names is not None:
        return teacher_thresholds(teacher, table.names)
    if columns is None:
        return teacher_thresholds(teacher, table.rows.shape[1])
    found = teacher_thresholds(teacher, np.shape(X)[1])
    return {j: found[column] for j, column in enumerate(columns) if column in found}


def _has_two_labels(y) -> bool:
    try:
        return len(np.unique(np.asarray(y))) == 2
    except (TypeError, ValueError):  # no order among them: as labels, the row at fault gets named
        return True


def _unfitted(student, hidden, random_state) -> Estimator:
    """A clone of `student`, or a Classifier, its parameters checked."""
    if student is None:
        pupil = Classifier()
    elif isinstance(student, Estimator):
        pupil = type(student)(**copy.deepcopy(student.get_params()))
    else:
        raise TypeError(
            f"student must be a farthing.Classifier or Regressor, got {type(student).__name__}"
        )
    if hidden is not None:
        pupil.set_params(hidden=hidden)
    if random_state is not None:
        pupil.set_params(random_state=random_state)
    pupil._check_parameters()
    return pupil


def _read_y(
    pupil: Estimator, teacher, y, weight, n: int, temperature, answer=None
) -> np.ndarray | None:
    """y as the pupil codes it, None without. A Classifier learns its classes, those of y, of
    the teacher, or 0, 1, ... as many as are in the answer, and with y how they count."""
    if isinstance(pupil, Classifier):
        named = named_classes(teacher)
        if y is not None:
            classes = as_labels(y, n)[0]
        elif named:
            classes = as_labels(named[0], len(named[0]), argument="teacher.classes_")[0]
        else:
            classes = np.arange(2 if answer.ndim == 1 else answer.shape[1])
        pupil._set_classes(classes)
        check_classes(named, classes.tolist())
    elif temperature != 1:
        raise FarthingError(
            f"temperature must be 1 for a Regressor, it softens probabilities, got {temperature!r}"
        )
    if y is None:
        return None
    known = pupil._coded(y, n, "y")
    if isinstance(pupil, Classifier):
        pupil._set_class_weight(known, weight)
    return known


def _read_validation(pupil: Estimator, validation, columns, table: Table) -> tuple:
    """What the teacher and what the student see of it; None and None without."""
    if validation is None:
        return None, None
    seen, *rest = as_part(validation, "validation")
    if is_stream(seen):
        seen = read_table(seen)
    part = (select_columns(seen, columns, "validation"), *rest)
    return seen, pupil._held_out(part, table, argument="validation")


def _copies(augment, askable: bool) -> int:
    check_integer(0, also=("auto",), augment=augment)
    if augment == "auto":
        return DEFAULT_COPIES if askable else 0
    if augment and not askable:
        raise FarthingError(
            "augment must be 0 for an array of predictions, which cannot be asked about new "
            f"rows, got {augment!r}"
        )
    return int(augment)


def _representation(pupil: Estimator, teacher, what, askable: bool, thresholds) -> Represent:
    """What is read out of the teacher, once it is known that it and the student can do that."""
    if not pupil.hidden:
        raise FarthingError(
            "representation must be None for a student without hidden layers, got "
            f"{what!r} with hidden=()"
        )
    if pupil.refit:
        raise FarthingError("representation must be None for a student with refit=True")
    if not askable:
        raise FarthingError(
            "representation must be None for an array of predictions, which holds nothing else, "
            f"got {what!r}"
        )
    return representation_of(teacher, what, thresholds)


def _tie(transfer: str, shown: np.ndarray, weight: float, seed: int, code_size: int) -> Tie:
    if transfer == "hint":
        return Hint(shown, weight, seed)
    return Code(shown, weight, seed, code_size)


def _check_refit(teacher, y, teacher_labels: str, refit) -> None:
    if teacher_labels == "given":
        if refit is not None:
            raise FarthingError(f"refit must be None with teacher_labels='given', got {refit!r}")
        return
    if y is None:
        raise FarthingError("y must be given with teacher_labels='out-of-fold', got None")
    if refit is None:
        unfitted(teacher)
    elif not callable(refit):
        raise TypeError(f"refit must be a function or None, got {type(refit).__name__}")


def distill(
    teacher,
    X,
    y=None,
    *,
    student=None,
    hidden=None,
    columns=None,
    teacher_labels="given",
    refit=None,
    temperature=1.0,
    alpha=0.7,
    augment="auto",
    sampler="munge",
    representation=None,
    transfer="code",
    code_size=16,
    representation_weight=0.1,
    sample_weight=None,
    groups=None,
    validation=None,
    random_state=None,
):
    """A fitted student that imitates `teacher` (Hinton, Vinyals & Dean 2015, "Distilling the
    knowledge in a neural network"). A student may teach one like itself (self-distillation;
    Furlanello, Lipton, Tschannen, Itti & Anandkumar 2018, "Born-again neural networks").

    Parameters
    ----------
    teacher : anything with ``predict_proba`` or ``predict``, a callable, a list of them
        (their mean counts), or an array of predictions
        It is asked as it is on X in your own container, and never changed. Predictions of
        shape (n, classes) are probabilities in the order of the sorted labels, which add up
        to 1 within a hundredth; shape (n,) is P(positive) for a Classifier student of two
        classes, else values. A teacher's
        ``classes_``, where it has them, must be the sorted labels or 0, 1, ... An array
        cannot be asked about new rows, so it allows no augmentation.
    X : (n, features), y : (n,) or None
        The teacher sees all of X. Without y, alpha is 1 and the labels are the teacher's
        ``classes_``, or 0, 1, ...
    student : unfitted Classifier or Regressor, or None
        Cloned. None: ``Classifier()``, or ``Regressor()`` where the teacher gives no
        probabilities. Its class weights count each class by its share of the target, the
        teacher's probabilities and y alike ("balanced": by the shares in y, without y in what
        the teacher says), and are taken out of its probabilities again. A Regressor's loss
        is that to y; the loss to the teacher is the squared error for "absolute", "huber" and
        "quantile", whose answers are values to meet, and its own for the others.
    hidden : tuple of int or None
        Short for the student's hidden layers.
    columns : list or None
        Names or 0-based indices of what the student sees of X.
    teacher_labels : "given" or "out-of-fold"
        Whether the teacher is asked as it is, or five like it, each fitted without a fifth of the
        rows (whole groups, or y's shares), label the rows that they have not seen. A teacher that
        has memorised its rows teaches its memory; out-of-fold labels are what it says of others.
        They need y, and a teacher with ``get_params`` and ``fit``, whose clones keep the number of
        rounds that it stopped at, or `refit`. The rows of `validation` are labelled by the teacher.
    refit : callable or None
        Gives a fitted teacher from X and y, and sample_weight where there are weights.
    temperature : float in [0.05, 100]
        Softens both predictions by dividing logits; the loss is scaled by its square.
    alpha : float in [0, 1]
        Weight of the loss to the teacher; 1 - alpha goes to y.
    augment : "auto" or int
        Copies of the rows, changed by the `sampler`, that only the teacher labels; "auto": 3
        where the teacher can be asked.
    sampler : "munge", "mixup" or "marginal"
        How: values swapped and blurred among neighbours (MUNGE, Bucila et al. 2006), rows mixed
        with any others (Zhang et al. 2018), or values of any other rows.
    representation : None, str or callable
        What of the teacher the student's last hidden layer is tied to as well: "leaves" or
        "thresholds" of a teacher of trees, the name of a hidden layer of a farthing teacher as its
        ``model_.summary()`` shows it, or a function of X that gives numbers (n, d).
    transfer : "code" or "hint"
        How. "code" is the article's encoder and decoder: an encoder compresses the representation
        to `code_size` numbers, a decoder maps these to the student's layer, both trained with the
        student so that they meet. "hint": the student's layer is to tell the representation by a
        linear map (FitNets, Romero et al. 2015). Either is thrown away afterwards.
    code_size : int
    representation_weight : float above 0
        Of the squared error of that, beside the student's loss.
    sample_weight, groups, validation : as in `Classifier.fit`
    random_state : int or None

    Probabilities are clipped to [1/(2n), 1 - 1/(2n)]; rows of weight 0 count as absent.
    Raises ValueError for a teacher that returns NaN, other classes than y or a wrong number
    of rows, TypeError for one that cannot be asked, or refitted where that is needed, before any
    training. Warns where the teacher ranks y, or one of several classes, worse than chance, and
    where it has memorised its rows: its log-loss on X is under 0.7 of that on `validation`.

    >>> import numpy as np, farthing
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> teacher = lambda rows: 1 / (1 + np.exp(-3 * rows[:, 0]))
    >>> small = farthing.distill(teacher, X, X[:, 0] > 0, hidden=(8,), random_state=0)
    >>> bool(small.score(X, X[:, 0] > 0) > 0.9)
    True
    """
    check_fraction(alpha=alpha)
    check_number(TEMPERATURES, temperature=temperature)
    check_choice(tuple(SAMPLERS), sampler=sampler)
    check_choice(("given", "out-of-fold"), teacher_labels=teacher_labels)
    _check_refit(teacher, y, teacher_labels, refit)
    check_choice(("code", "hint"), transfer=transfer)
    check_integer(1, code_size=code_size)
    check_number("(0, inf)", representation_weight=representation_weight)
    columns = column_list(columns)
    pupil = _unfitted(student, hidden, random_state)
    if is_stream(X):  # which can be read once, and the teacher reads it too
        X = read_table(X)
    table = pupil._learn_table(select_columns(X, columns), sample_weight)
    matrix = table.rows
    n = len(matrix)
    weight = as_weights(sample_weight, n)
    groups = as_groups(groups, n)
    askable = is_teacher(teacher)
    copies = _copies(augment, askable)
    answer = None if askable else given_answer(teacher, n)
    two_labels = y is not None and _has_two_labels(y)
    # An answer may be dear: what can be wrong without it is looked at first.
    decided = isinstance(pupil, Regressor) or (
        y is not None and (student is not None or two_labels)
    )
    if decided:
        known = _read_y(pupil, teacher, y, weight, n, temperature)
        seen, given = _read_validation(pupil, validation, columns, table)
    thresholds = partial(_thresholds, teacher, X, columns, table)
    candidates = thresholds() if pupil.edges == "teacher" else None
    represent = None
    if representation is not None:
        represent = _representation(pupil, teacher, representation, askable, thresholds)
    if askable:
        answer = ask(teacher, X)
    if not decided:
        if student is None and answer.ndim == 1 and not two_labels:
            pupil = _unfitted(Regressor(), hidden, random_state)
        known = _read_y(pupil, teacher, y, weight, n, temperature, answer)
        seen, given = _read_validation(pupil, validation, columns, table)
    seed = draw_seed(pupil.random_state)
    counted = n if weight is None else np.count_nonzero(weight)
    lesson = _Lesson(pupil, known, counted=counted, alpha=alpha, temperature=temperature)
    soft = lesson.soft(answer)
    if isinstance(pupil, Classifier):
        if known is None:
            pupil._set_class_weight(soft, weight)
        else:
            warn_of_inversion(pupil.classes_.tolist(), known, soft, weight)
    labels = None if y is None else np.asarray(y)
    if counted < n:  # rows of weight 0 count as absent
        rows = np.flatnonzero(weight)
        X, matrix, soft = take_rows(X, rows), matrix[rows], soft[rows]
        known, weight, groups = at(known, rows), weight[rows], at(groups, rows)
        labels = at(labels, rows)
    by_fold = None
    if teacher_labels == "out-of-fold":
        classes = pupil.classes_.tolist() if isinstance(pupil, Classifier) else None
        by_fold = FoldTeachers(
            teacher,
            X,
            labels,
            weight=weight,
            strata=None if known is None else pupil._strata(known),
            groups=groups,
            classes=classes,
            seed=seed,
            refit=refit,
        )
        soft = lesson.soft(by_fold.ask(X, np.arange(counted)))
    if given is None:
        fit, search = pupil._split(counted, known, groups, weight, seed)
        held_out = lesson.held_out(
            matrix[search], soft[search], at(known, search), at(weight, search)
        )
    else:
        fit = np.arange(counted)
        said = lesson.soft(ask(teacher, seen)) if askable else given.known
        if isinstance(pupil, Classifier) and known is not None and askable and by_fold is None:
            warn_of_memory((known, soft, weight), (given.known, said, given.weight))
        held_out = lesson.held_out(given.rows, said, given.known, given.weight)
    rows = [matrix[fit]]
    targets = [lesson.target(soft[fit], at(known, fit))]
    rng = np.random.default_rng(seed)
    base = take_rows(X, fit) if copies else X
    mixed = sampled(
        base,
        matrix[fit],
        copies=copies,
        sampler=sampler,
        categorical=table.categories,
        swapped=column_places(X, columns, table.categories),
        rng=rng,
    )
    shown = [] if represent is None else [represent(take_rows(X, fit), matrix[fit])]
    for copied in mixed:
        own = select_columns(copied, columns)
        rows.append(as_matrix(own, categories=table.categories)[0])
        if represent is not None:
            shown.append(represent(copied, rows[-1]))
        answer = ask(teacher, copied) if by_fold is None else by_fold.ask(copied, fit)
        targets.append(lesson.target(lesson.soft(answer), None))
    return pupil._fit_rows(
        np.concatenate(rows),
        np.concatenate(targets),
        None if weight is None else np.tile(weight[fit], copies + 1),
        held_out,
        table=table,
        seed=seed,
        objective=lesson.objective,
        loss=lesson.loss,
        encode_first=len(fit),
        candidates=candidates,
        # As in fit; copies have no labels to be shared out by.
        strata=None if copies or known is None else pupil._label_strata(known[fit]),
        tie=None
        if represent is None
        else _tie(transfer, np.concatenate(shown), representation_weight, seed, code_size),
    )
