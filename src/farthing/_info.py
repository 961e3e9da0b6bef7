"""Diagnostics: what to add to a bug report."""

from __future__ import annotations

import platform
import sys
from typing import Any

import farthing
from farthing import _core

__all__ = ["info"]


def info() -> dict[str, Any]:
    """Versions, machine and instruction sets, as a JSON-able dict.

    ``isa`` is what a model loaded now runs on; ``isas_removed`` lists those that failed their
    known-answer test on this machine and are not used.

    >>> import farthing
    >>> farthing.info()["isas"][-1]
    'scalar'
    """
    numpy = sys.modules.get("numpy")
    return {
        "farthing": farthing.__version__,
        "core": _core.version(),
        "core_file": _core.__file__,
        "python": platform.python_version(),
        "numpy": getattr(numpy, "__version__", None),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "isas": list(_core.isas()),
        "isa": _core.current_isa(),
        "isas_removed": list(_core.removed_isas()),
    }
