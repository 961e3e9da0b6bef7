"""Teachers of torch: tensors that carry a gradient, and modules, which are asked for tensors."""

import credit
import numpy as np
import pytest

import farthing

torch = pytest.importorskip("torch")

QUICK = farthing.Classifier(hidden=(4,), max_epochs=2, random_state=0)


def data():
    X, y = credit.data()
    return np.nan_to_num((X - np.nanmean(X, axis=0)) / np.nanstd(X, axis=0)), y


class Scores(torch.nn.Module):
    """P(positive), (n, 1); takes tensors, or with `arrays` also what numpy holds."""

    def __init__(self, arrays=False):
        super().__init__()
        self.inner, self.arrays = torch.nn.Linear(5, 1), arrays
        with torch.no_grad():
            self.inner.weight[:] = torch.tensor([[-0.5, 1.0, -0.5, -0.1, 0.0]])

    def forward(self, rows):
        rows = torch.as_tensor(rows, dtype=torch.float32) if self.arrays else rows
        return self.inner(rows).sigmoid()


def test_tensors_with_a_gradient_are_answers():
    X, y = data()
    module = Scores(arrays=True)
    tensors = module(X)
    assert tensors.requires_grad
    values = tensors.detach().numpy()
    arguments = {"student": QUICK, "augment": 0}
    expected = farthing.distill(values, X, y, **arguments).predict_proba(X)
    teachers = {
        "function": lambda rows: module(rows),
        "module that takes arrays": module,
        "predictions": tensors,
        "list": [module, lambda rows: module(rows).numpy(force=True)],
    }
    for name, teacher in teachers.items():
        student = farthing.distill(teacher, X, y, **arguments)
        assert np.array_equal(student.predict_proba(X), expected), name


def test_a_module_that_wants_tensors_is_told_of_a_function():
    X, y = data()

    def never(_report):
        raise AssertionError("training began")

    student = farthing.Classifier(callback=never)
    module = Scores()
    for teacher in (module, [module], torch.nn.Sequential(module)):
        with pytest.raises(TypeError, match=r"a module of tensors, .*; pass a function such as"):
            farthing.distill(teacher, X, y, student=student)
    # As the message says.
    soft = farthing.distill(
        lambda rows: module(torch.as_tensor(rows, dtype=torch.float32)), X, y, student=QUICK
    )
    assert farthing.metrics.auc(y, soft.predict_proba(X)[:, 1]) > 0.6


def test_tensors_that_are_no_numbers_of_numpy_are_named():
    X, y = data()
    with pytest.raises(TypeError, match="teacher must give an array of numbers, got Tensor: "):
        farthing.distill(lambda rows: torch.full((len(rows),), 0.5, dtype=torch.bfloat16), X, y)
    with pytest.raises(TypeError, match="teacher must have predict_proba or predict"):
        farthing.distill(torch.full((len(X),), 0.5, dtype=torch.bfloat16), X, y)


def test_what_a_function_raises_is_its_own():
    X, y = data()

    def broken(rows):
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        farthing.distill(broken, X, y)
