"""What an import costs and brings; the public names; diagnostics; the module as a command."""

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import files
import pytest

import farthing
from farthing import _core

SERVING = """
import array, sys
import farthing
scorer = farthing.load({path!r})
row = array.array("f", [0.5, -1.0])
score = scorer.predict(row)
out = array.array("f", [0, 0])
assert scorer.predict([row, row], out=out) is out
batch = memoryview(array.array("d", [0.5, -1.0] * 2)).cast("B").cast("d", (2, 2))
scorer.predict(batch, out=out, threads=2)
assert out.tolist() == [score, score]
scorer.predict({{"a": 0.5, "b": -1.0}})
scorer.model_id, scorer.feature_names, scorer.classes, repr(scorer), farthing.isas()
farthing.info(), scorer.describe()
loaded = sorted(sys.modules)
print(*[name for name in loaded if name.partition(".")[0] in {{"numpy", "sklearn", "pandas"}}])
"""


def fresh(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_serving_never_imports_numpy(tmp_path):
    path = tmp_path / "model.farthing"
    path.write_bytes(files.logistic(2, names=["a", "b"]).dumps())
    assert fresh(SERVING.format(path=str(path))) == ""


def test_an_array_is_recognised_whenever_numpy_comes(tmp_path):
    path = tmp_path / "model.farthing"
    path.write_bytes(files.logistic(2).dumps())
    code = f"""
import array, farthing
scorer = farthing.load({str(path)!r})
score = scorer.predict(array.array("f", [0.5, -1.0]))
import numpy as np
out = np.zeros(1, np.float32)
assert scorer.predict(np.array([0.5, -1.0], np.float32), out=out) is out
assert out[0] == score
"""
    fresh(code)


def test_importing_farthing_loads_nothing_else():
    assert fresh("import sys, farthing; print(*[m for m in sys.modules if 'farthing.' in m])") == ""


@pytest.mark.parametrize("name", farthing.__all__)
def test_public_names(name):
    assert getattr(farthing, name) is not None
    assert name in dir(farthing)


def test_the_names_for_type_checkers_are_the_public_ones():
    tree = ast.parse(Path(farthing.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    names = {alias.name for node in block.body for alias in node.names}
    assert names | {"__version__"} == set(farthing.__all__)


def test_unknown_names():
    with pytest.raises(AttributeError, match="module 'farthing' has no attribute 'squeeze'"):
        farthing.squeeze  # noqa: B018


def test_versions_agree():
    assert farthing.__version__ == _core.version() == metadata.version("farthing")


def test_numpy_is_the_only_dependency():
    needed = [r for r in metadata.requires("farthing") if "extra ==" not in r]
    assert needed == ["numpy>=1.26"]


def test_info_is_a_json_document():
    info = farthing.info()
    assert json.loads(json.dumps(info)) == info
    assert info["isa"] == farthing.isas()[0]
    assert info["isas_removed"] == []


def test_the_module_is_a_command():
    def run(*arguments):
        command = [sys.executable, "-m", "farthing", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    flags = run("--cflags").stdout.split()
    assert len(flags) == 1
    assert (Path(flags[0].removeprefix("-I")) / "farthing.h").is_file()
    folder, *libraries = run("--libs").stdout.split()
    assert libraries == ["-lfarthing", "-lm"]
    assert (Path(folder.removeprefix("-L")) / "libfarthing.a").is_file()
    helped = run("--help")
    assert helped.returncode == 0
    assert "demo" in helped.stdout
    assert run("no-such-command").returncode == 2
