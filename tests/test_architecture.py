"""Imports point one way; C knows nothing of Python; kernels know nothing but their contract."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "farthing"
MODULES = sorted(PACKAGE.rglob("*.py"))
C_FILES = sorted((ROOT / "csrc").rglob("*.[ch]"))

# A module imports only from groups before its own.
GROUPS = [
    {"_validate"},
    {
        "_core",
        "activations",
        "batchnorm",
        "columns",
        "containers",
        "embeddings",
        "indices",
        "metrics",
        "moments",
    }
    | {"precision", "routing", "samples", "streams"},
    {"categories", "edges", "grids", "standardizer"},
    {"frames"},
    {"_info", "container", "encoding", "layers", "losses", "periodic", "recalibration"}
    | {"solvers", "tables", "thresholds"},
    {"augmentation", "backprop", "certificate", "model", "optimizer", "sampling"}
    | {"selection", "splitting", "teachers"},
    {"export", "monotone", "parts", "penalties", "scorer"},
    {"targets", "training"},
    {"base", "kernels", "lesson"},
    {"few_rows"},
    {"fitting"},
    {"classifier", "regressor"},
    {"estimators"},
    {"steps"},
    {"probe"},
    {"distillation", "pruning", "quantization"},
    {"demo"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {module: level for level, group in enumerate(GROUPS) for module in group}

# Where a package beyond numpy is imported, inside functions only.
OPTIONAL = {
    "containers": {"pyarrow"},
    "base": {"sklearn"},
    "cli": {"lightgbm"},
    "columns": {"pyarrow"},
    "streams": {"pyarrow"},
    "demo": {"lightgbm", "sklearn"},
    "routing": {"sklearn"},
}


def unit(path: Path) -> str:
    """The module of a file, or the folder that it lies in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "farthing":
                found |= {f"farthing.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


def test_every_module_has_a_place():
    present = {unit(path) for path in MODULES} | {"_core"}
    assert present == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = unit(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top != "farthing" or not rest:
            continue
        other = rest.partition(".")[0]
        if other != own:
            assert LEVEL[other] < LEVEL[own], f"{own} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_numpy_is_the_only_requirement(path):
    allowed = {"farthing", "numpy"} | OPTIONAL.get(unit(path), set())
    tops = {name.partition(".")[0] for name in imports(path)}
    assert tops - set(sys.stdlib_module_names) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_optional_packages_are_imported_where_they_are_used(path):
    tree = ast.parse(path.read_text())
    optional = set().union(*OPTIONAL.values())
    for node in tree.body:
        names = set()
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {node.module.partition(".")[0]}
        assert not names & optional


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_c_includes_no_python_and_prints_nothing(path):
    text = path.read_text()
    assert "Python.h" not in text
    assert not re.search(r"\b(printf|fprintf|puts|perror|putchar)\s*\(", text)


def test_kernels_include_only_their_contract():
    for path in C_FILES:
        if path.parent.name == "csrc":
            continue
        for header in re.findall(r'#include "([^"]+)"', path.read_text()):
            own = (path.parent / header).resolve()
            assert own.parent == path.parent or own.name in {"kernels.h", "cpu.h"}, (path, header)


def test_only_the_table_and_the_kernels_name_instruction_sets():
    names = re.compile(r"\bft_isa_(avx2|avx_vnni|avx512_vnni|neon|neon_dotprod)\b")
    for path in C_FILES:
        if path.parent.name == "csrc" and path.name not in {"dispatch.c", "kernels.h"}:
            assert not names.search(path.read_text()), path
