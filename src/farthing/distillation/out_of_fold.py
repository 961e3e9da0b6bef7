"""Out-of-fold labels: each row is labelled by a teacher that has not seen it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from farthing._validate import FarthingError
from farthing.splitting import folds
from farthing.tables import at, take_rows
from farthing.teachers import ask, check_classes, is_teacher, named_classes

__all__ = ["FoldTeachers", "unfitted"]

FOLDS = 5
# What libraries call the number of rounds, and what ends them early, aliases included.
_COUNTS = ("n_estimators", "iterations", "max_iter", "num_iterations", "num_iteration", "n_iter")
_COUNTS += ("num_tree", "num_trees", "num_round", "num_rounds", "nrounds", "num_boost_round")
_STOPS = ("early_stopping_rounds", "early_stopping_round", "od_type", "od_wait", "od_pval")


def _rounds(teacher) -> int | None:
    """How many rounds a teacher that stopped early has kept; None where it did not stop."""
    if getattr(teacher, "tree_count_", None):  # CatBoost
        return int(teacher.tree_count_)
    if getattr(teacher, "best_iteration_", None):  # LightGBM
        return int(teacher.best_iteration_)
    try:
        best = teacher.best_iteration  # XGBoost, from 0 on
    except AttributeError:
        best = None
    if best is not None:
        return int(best) + 1
    stopped = getattr(teacher, "do_early_stopping_", False)  # HistGradientBoosting
    return int(teacher.n_iter_) if stopped else None


def unfitted(teacher):
    """A teacher like this one with nothing learnt, but with as many rounds as it stopped at.

    Raises TypeError for a teacher without ``get_params`` and ``fit``.
    """
    if isinstance(teacher, (list, tuple)):
        return [unfitted(member) for member in teacher]
    if not (hasattr(teacher, "get_params") and hasattr(teacher, "fit")):
        raise TypeError(
            "teacher must have fit and get_params for teacher_labels='out-of-fold', or refit must "
            f"be given, got {type(teacher).__name__}"
        )
    parameters = copy.deepcopy(teacher.get_params(deep=False))
    rounds = _rounds(teacher)
    if rounds is not None:
        # CatBoost gives only the parameters that were set.
        plain = "iterations" if hasattr(teacher, "tree_count_") else None
        count = plain or next((name for name in _COUNTS if name in parameters), "n_estimators")
        for name in (*_COUNTS, *_STOPS):
            parameters.pop(name, None)
        parameters[count] = rounds
        if "early_stopping" in parameters:
            parameters["early_stopping"] = False
    return type(teacher)(**parameters)


def _refitted(teacher, X, y, codes, weight):
    """A clone that is fitted on y, or, where the teacher has learnt codes of labels, on those."""
    if isinstance(teacher, (list, tuple)):
        return [_refitted(member, X, y, codes, weight) for member in teacher]
    clone, named = unfitted(teacher), named_classes(teacher)
    if named and named[0] == list(range(len(named[0]))):
        y = codes
    return clone.fit(X, y) if weight is None else clone.fit(X, y, sample_weight=weight)


class FoldTeachers:
    """Teachers fitted on all but a fifth of the rows each, in whole groups or, without, stratified.

    X, y, weight: as the user gave them; strata: int (n,) or None; groups: (n,) or None; classes:
    the student's, or None; refit: a function of X, y and, with weights, sample_weight that gives a
    fitted teacher, None to fit clones of `teacher`, which keep the rounds that it stopped at.
    """

    def __init__(
        self,
        teacher,
        X,
        y: np.ndarray,
        *,
        weight: np.ndarray | None,
        strata: np.ndarray | None,
        groups: np.ndarray | None,
        classes: list | None,
        seed: int,
        refit: Callable | None,
    ):
        units, what = (len(y), "rows") if groups is None else (len(np.unique(groups)), "groups")
        if units < FOLDS:
            raise FarthingError(
                f"teacher_labels must be 'given' for fewer than {FOLDS} {what}, got {units}"
            )
        self._fold = folds(len(y), FOLDS, strata, groups, seed)
        labels, codes = np.unique(y, return_inverse=True)
        self._members = []
        for fold in range(FOLDS):
            rows = np.flatnonzero(self._fold != fold)
            seen = np.bincount(codes[rows], minlength=len(labels))
            if classes is not None and not seen.all():
                raise FarthingError(
                    "teacher_labels must be 'given' where a fifth of the rows holds all of a "
                    f"class, got class {labels[np.argmin(seen)]!r} there"
                )
            table, own = take_rows(X, rows), at(weight, rows)
            if refit is None:
                member = _refitted(teacher, table, y[rows], codes[rows], own)
            elif own is None:
                member = refit(table, y[rows])
            else:
                member = refit(table, y[rows], own)
            if not is_teacher(member):
                raise FarthingError(
                    f"refit must give a fitted teacher, got {type(member).__name__}"
                )
            if classes is not None:
                check_classes(named_classes(member), classes)
            self._members.append(member)

    def ask(self, X, rows: np.ndarray) -> np.ndarray:
        """Predictions for a table whose rows are, or come from, those rows of the first one."""
        fold, answers = self._fold[rows], None
        for i, member in enumerate(self._members):
            own = np.flatnonzero(fold == i)
            if not len(own):
                continue
            answer = ask(member, take_rows(X, own))
            if answers is None:
                answers = np.empty((len(rows), *answer.shape[1:]))
            answers[own] = answer
        return answers
