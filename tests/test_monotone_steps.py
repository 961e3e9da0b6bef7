"""Every step, with every choice that it offers, keeps a monotone model monotone."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import credit
import pytest
from monotone_models import DIRECTIONS, QUICK, check, monotone

import farthing
from farthing.pruning.units import PATTERNS, kind_of

# Arguments of every case of a step; together they must hold every choice that the step offers.
CASES = {
    "prune": [
        {"sparsity": 0.5},
        {"sparsity": 0.5, "norm": "l2", "scope": "layer", "calibrate": False},
        {"threshold": 0.05},
        {"sparsity": 0.5, "schedule": "cubic", "learning_rate": 0.01, "alpha": 0.5, **QUICK},
        {"sparsity": 0.4, "pattern": "neuron"},
        {"sparsity": 0.4, "pattern": "neuron", "schedule": "cubic", **QUICK},
        {"sparsity": 0.3, "pattern": "feature"},
        {"sparsity": 0.5, "pattern": "bin"},
        {"sparsity": 0.5, "pattern": "bin", "schedule": "cubic", **QUICK},
        {"sparsity": 0.5, "pattern": "8x4"},
        {"pattern": "1:2"},
        {"sparsity": {"dense0": 0.5}, "method": "random"},
        {"sparsity": 0.5, "method": "wanda", "exclude": ("dense1",)},
        {"sparsity": 0.5, "method": "taylor", "schedule": "iterative", **QUICK},
        {"sparsity": 0.5, "method": "fisher"},
        {"sparsity": 0.8, "method": "obs"},
        {"sparsity": 0.4, "method": "obs", "pattern": "neuron"},
        {"sparsity": 0.5, "method": "obs", "schedule": "cubic", **QUICK},
    ],
    "quantize": [
        {"weight_bits": 8, "weight_max": 127, "activation_bits": 8},
        {"weight_bits": 7},
        {"weight_bits": 8, "weight_max": "auto"},
        {"weight_bits": 6},
        {"weight_bits": 4, "calibrate": False},
        {"weight_bits": 4, "group_size": 32},
        {"weight_bits": 4, "group_size": 64},
        {"training": "qat", "weight_bits": 4, "learning_rate": 0.01, "alpha": 0.5, **QUICK},
        {"training": "qat", "weight_bits": 8, **QUICK},
        {"weight_bits": 4, "method": "gptq", "calibration": "minmax"},
        {"weight_bits": 4, "method": "adaround", "calibration": "percentile"},
        {"bias_correction": True, "calibration": "minmax"},
        {"training": "lsq", "weight_bits": 4, "learning_rate": 0.01, **QUICK},
        {"training": "integer", "weight_bits": 4, "learning_rate": 0.01, **QUICK},
        {"training": "integer", "rounding": "nearest", **QUICK},
        {"scheme": "affine", "rounding": "floor", "weight_bits": 4},
        {"scheme": "affine", "rounding": "stochastic"},
    ],
    "distill": [
        {"augment": 0},
        {"augment": 1, "alpha": 1.0, "columns": (0, 1, 2, 3)},
        {"temperature": 3.0, "hidden": (5,), "augment": 0},
        {"augment": 1, "sampler": "mixup", "temperature": 2.0},
        {"augment": 1, "sampler": "marginal"},
        {"augment": 0, "teacher_labels": "out-of-fold"},
        {"augment": 0, "representation": "dense1", "code_size": 3},
        {"augment": 0, "representation": "dense0", "transfer": "hint"}
        | {"representation_weight": 0.5},
        {"augment": 0, "teacher_labels": "out-of-fold", "refit": credit.teach},
    ],
}
# Neurons without weights leave constants that integers may not hold; bins add weights up.
FLOAT_ONLY = {("prune", "neuron"), ("prune", "bin")}
# Patterns that may take all that is read of a feature.
LOSES_FEATURES = {"feature", "8x4"}
# Data and the model itself; the same for every case.
GIVEN = {"model", "teacher", "student", "X", "y", "validation", "groups", "sample_weight"}
GIVEN |= {"random_state"}


def check_case(estimator, arguments, tmp_path):
    check(estimator, tmp_path, loses_features=arguments.get("pattern") in LOSES_FEATURES)


def apply(step, arguments, model, **more):
    """The outcome of a step, which learns from a model that is not monotone where it can."""
    X, y = credit.data()
    function = getattr(farthing, step)
    if step == "distill":
        student = farthing.Classifier(
            (8,), max_epochs=2, random_state=0, monotone_constraints=DIRECTIONS
        )
        return function(credit.fitted(), X, y, student=student, **arguments)
    return function(model, X, y, **arguments, **more)


def ids(value):
    if isinstance(value, dict):
        return "-".join(f"{k}={v}" for k, v in value.items() if k not in QUICK) or "default"
    return str(value)


ALL_CASES = [(step, arguments) for step, cases in CASES.items() for arguments in cases]


@pytest.mark.parametrize(("step", "arguments"), ALL_CASES, ids=ids)
def test_every_step_keeps_a_model_monotone(step, arguments, tmp_path):
    check_case(apply(step, arguments, monotone()), arguments, tmp_path)


@pytest.mark.parametrize("later", ["prune", "quantize"])
def test_chains_of_steps_keep_a_model_monotone(later, tmp_path):
    """Every case upon a pruned and upon a quantized model, where it may follow."""
    X, _ = credit.data()
    pruned = farthing.prune(monotone(), sparsity=0.4, pattern="neuron")
    integers = farthing.quantize(farthing.prune(pruned, sparsity=0.5), X, weight_bits=4)
    chains = 0
    for arguments in CASES[later]:
        if arguments.get("pattern") == "1:2":  # an odd number of neurons may be left
            continue
        check_case(apply(later, arguments, pruned), arguments, tmp_path)
        pattern = arguments.get("pattern")
        floats = (later, pattern) in FLOAT_ONLY or arguments.get("method") == "obs"
        floats |= arguments.get("scheme") == "affine"
        if "schedule" not in arguments and not floats:
            check_case(apply(later, arguments, integers), arguments, tmp_path)
            chains += 1
    assert chains > 2


def test_a_step_on_a_model_keeps_its_signs():
    model = farthing.quantize(farthing.prune(monotone().model_, sparsity=0.5), credit.data()[0])
    for layer in model.layers:
        assert (layer.quantized.values * layer.sign >= 0).all()


def choice(value):
    """What a value is of the choices of its argument; a dict is of none."""
    return "a dict" if isinstance(value, dict) else kind_of(value)


def choices_of(function):
    """{argument: values} that a step's folder, or its module, offers by `check_choice`."""
    name = function.__module__
    package = importlib.import_module(name.rpartition(".")[0])
    names = [name]
    if package is not farthing:
        names = [f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__)]
    found = {}
    for module in map(importlib.import_module, names):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check_choice"):
                continue
            values = eval(ast.unparse(node.args[0]), vars(module))
            for keyword in node.keywords:
                name = keyword.arg
                if name is None:  # **{f"weight_bits of ...": bits}
                    name = keyword.value.keys[0].values[0].value.split()[0]
                found.setdefault(name, set()).update(values)
    return found


def test_no_method_is_left_out():
    """A new step, argument or choice must join the cases above."""
    steps = {
        name
        for name in farthing.__all__
        if inspect.isfunction(getattr(farthing, name))
        and {"model", "teacher"} & set(inspect.signature(getattr(farthing, name)).parameters)
    }
    assert steps == set(CASES)
    for step, cases in CASES.items():
        function = getattr(farthing, step)
        parameters = inspect.signature(function).parameters
        tried = {
            name: {choice(arguments.get(name, parameter.default)) for arguments in cases}
            for name, parameter in parameters.items()
        }
        used = {name for arguments in cases for name in arguments}
        assert used | GIVEN >= set(parameters) >= used, step
        for name, values in choices_of(function).items():
            assert values <= tried[name], (step, name)


def test_choices_are_found():
    assert choices_of(farthing.prune)["pattern"] == set(PATTERNS)
    offered = choices_of(farthing.quantize)
    assert offered["training"] == {None, "qat", "lsq", "integer"}
    assert offered["weight_bits"] == {8, 7, 6, 4}
