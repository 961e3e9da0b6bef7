"""Teachers that are asked: their classes, and answers the wrong way round."""

import warnings

import credit
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import farthing

QUICK = farthing.Classifier(hidden=(8,), max_epochs=20, random_state=0)


def test_a_teacher_of_other_classes_is_refused():
    X, y = credit.data()
    named = credit.teach(X, np.where(y == 1, "bad", "good"))
    piped = make_pipeline(LogisticRegression()).fit(
        np.nan_to_num(X) / 1e5, np.where(y == 1, "bad", "good")
    )
    for teacher in (named, [named, named], [[named], named.predict_proba]):
        with pytest.raises(ValueError, match=r"\['bad', 'good'\], the student's are \[0, 1\]"):
            farthing.distill(teacher, X, y, student=QUICK)
    with pytest.raises(ValueError, match=r"\['bad', 'good'\], the student's are \[0, 1\]"):
        farthing.distill(piped, np.nan_to_num(X) / 1e5, y, student=QUICK)


def test_codes_of_the_sorted_labels_are_no_other_classes(teacher):
    X, y = credit.data()
    labels = np.where(y == 1, "worse", "better")
    student = farthing.distill(teacher, X, labels, student=QUICK, augment=0)
    assert student.classes_.tolist() == ["better", "worse"]
    assert farthing.metrics.auc(y, student.predict_proba(X)[:, 1]) > 0.7


def test_without_y_the_student_takes_its_teachers_classes():
    X, y = credit.data()
    named = credit.teach(X, np.where(y == 1, "bad", "good"))
    student = farthing.distill(named, X, student=QUICK, augment=0)
    assert student.classes_.tolist() == ["bad", "good"]
    assert farthing.metrics.auc(y, student.predict_proba(X)[:, 0]) > 0.7
    other = credit.teach(X, np.where(y == 1, "a", "b"))
    with pytest.raises(ValueError, match=r"predicts \['a', 'b'\], the student's are \['bad', "):
        farthing.distill([named, other], X)


def test_a_teacher_that_ranks_y_the_wrong_way_round_is_told(teacher):
    X, y = credit.data()
    p = teacher.predict_proba(X)
    with pytest.warns(UserWarning, match=r"worse than chance \(AUC 0\.[012]") as caught:
        farthing.distill(p[:, ::-1], X, y, student=QUICK)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        farthing.distill(p, X, y, student=QUICK)
