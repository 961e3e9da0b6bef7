"""Farthing: small, fast machine-learning models that show what changed on the way.

The public names; each is imported when it is first used, so that serving a model
(``farthing.load(path).predict(row, out=out)``) never imports numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_MODULE_OF = {
    "Classifier": "estimators",
    "FarthingError": "_validate",
    "Model": "model",
    "Regressor": "estimators",
    "Scorer": "scorer",
    "distill": "distillation",
    "info": "_info",
    "isas": "_core",
    "load": "scorer",
    "prune": "pruning",
    "quantize": "quantization",
    "set_isa": "_core",
}
_SUBMODULES = ("kernels", "metrics")

__all__ = [
    "Classifier",
    "FarthingError",
    "Model",
    "Regressor",
    "Scorer",
    "__version__",
    "distill",
    "info",
    "isas",
    "kernels",
    "load",
    "metrics",
    "prune",
    "quantize",
    "set_isa",
]

if TYPE_CHECKING:
    from farthing import kernels, metrics
    from farthing._core import isas, set_isa
    from farthing._info import info
    from farthing._validate import FarthingError
    from farthing.distillation import distill
    from farthing.estimators import Classifier, Regressor
    from farthing.model import Model
    from farthing.pruning import prune
    from farthing.quantization import quantize
    from farthing.scorer import Scorer, load


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    elif name in _SUBMODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
