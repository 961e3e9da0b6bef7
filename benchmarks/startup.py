"""What it costs to start: import, memory, opening a model, disk, beside the peers.

    python benchmarks/startup.py [--rounds 5] [--chart FILE]

Every figure comes from a fresh interpreter; they take turns in random order, medians of the
rounds. Import: the import statement, files cached, and the resident memory that it adds to a bare
interpreter. Open, score: from then to one score of a 64-256-128-1 network from its file. Disk: the
bytes of the installed package and of what it needs at run time, as its metadata tells.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path

import _alone  # noqa: F401
import _networks
import _tflite
import numpy as np
from _measure import Goal, bars, build, finish, machine, parser, table
from models import network_of, trained

import farthing

NETWORK = (64, 256, 128)

# What is imported, and how one row of zeros is scored from the file in sys.argv[1].
PEERS = {
    "farthing": ("import farthing", "farthing.load(path).predict([0.0] * 64)"),
    "numpy": ("import numpy", None),
    "onnxruntime": (
        "import onnxruntime",
        "s = onnxruntime.InferenceSession(path); import numpy; "
        "s.run(None, {'x': numpy.zeros((1, 64), numpy.float32)})",
    ),
    "LiteRT": (
        "from ai_edge_litert.interpreter import Interpreter",
        "i = Interpreter(path); i.allocate_tensors(); i.invoke(); "
        "i.get_tensor(i.get_output_details()[0]['index'])",
    ),
    "OpenVINO": (
        "import openvino",
        "import numpy; c = openvino.Core().compile_model(path, 'CPU'); "
        "c(numpy.zeros((1, 64), numpy.float32))",
    ),
    "torch": (
        "import torch",
        "m = torch.jit.load(path); m(torch.zeros(1, 64))",
    ),
    "scikit-learn": ("import sklearn.neural_network", None),
    "LightGBM": ("import lightgbm", None),
    "XGBoost": ("import xgboost", None),
}
PACKAGES = {
    "farthing": "farthing",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "LiteRT": "ai-edge-litert",
    "OpenVINO": "openvino",
    "torch": "torch",
    "scikit-learn": "scikit-learn",
    "LightGBM": "lightgbm",
    "XGBoost": "xgboost",
}
CHILD = """
import resource, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
before, start = resident(), time.perf_counter()
{first}
imported, after = time.perf_counter() - start, resident()
path, opened = sys.argv[1], None
if path:
    start = time.perf_counter()
    {then}
    opened = time.perf_counter() - start
import json
print(json.dumps([imported, after - before, opened, resident() - before]))
"""


def run(first: str, then: str | None, path: str) -> list | None:
    """[seconds of the import, bytes, seconds to open and score, bytes]; None where it fails."""
    code = CHILD.format(first=first, then=then or "pass")
    command = [sys.executable, "-c", code, path if then else ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def files(folder: Path, missing: dict) -> dict[str, str]:
    """The network in the format of everything that opens one."""
    model, X = trained(NETWORK)
    network = network_of(model)
    paths = {"farthing": folder / "model.farthing"}
    farthing.quantize(model, X).save(paths["farthing"])

    def write(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    def script() -> Path:
        import torch
        from _peers import torch_module

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer formats need more than torch to open
            traced = torch.jit.trace(torch_module(network), torch.zeros(1, network.inputs))
        traced.save(str(folder / "model.pt"))
        return folder / "model.pt"

    onnx = build({"onnx": lambda: _networks.onnx_float(network, 1)}, missing)
    for name, content in onnx.items():
        paths["onnxruntime"] = paths["OpenVINO"] = write(f"model.{name}", content)
    makers = {
        "LiteRT": lambda: write("model.tflite", _tflite.build(network, 1, "float32")),
        "torch": script,
    }
    paths |= build(makers, missing)
    return {name: str(path) for name, path in paths.items()}


def disk(package: str) -> dict[str, int] | None:
    """Bytes of the installed package, and with all that it needs at run time."""
    from packaging.requirements import Requirement

    sizes: dict[str, int] = {}

    def visit(name: str) -> None:
        key = name.lower().replace("_", "-")
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            return
        if key in sizes:
            return
        paths = [Path(found.locate_file(file)) for file in found.files or ()]
        sizes[key] = sum(path.stat().st_size for path in paths if path.is_file())
        for text in found.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                visit(needed.name)

    visit(package)
    key = package.lower()
    return {"alone": sizes[key], "with all": sum(sizes.values())} if key in sizes else None


def in_place() -> int:
    """Bytes of farthing where it runs from a source tree: its modules, binding and library."""
    folder = Path(farthing.__file__).parent
    kept = (".py", ".pyi", ".so", ".a", ".h", ".typed")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in kept)


def measure(rounds: int, seed: int, missing: dict) -> dict[str, dict]:
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder), missing)
        rng, found = np.random.default_rng(seed), {name: [] for name in PEERS}
        for turn in range(-1, rounds):  # the first fills the file cache
            for name in rng.permutation(list(PEERS)):
                first, then = PEERS[name]
                then = then if name in paths else None
                if name not in missing:
                    figures = run(first, then, paths.get(name, ""))
                    if figures is None:
                        missing[name] = f"`{first}` or the score behind it failed"
                    elif turn >= 0:
                        found[name].append(figures)
        sizes = {name: Path(path).stat().st_size for name, path in paths.items()}
    result = {}
    for name, rows in found.items():
        if not rows or name in missing:
            continue
        seconds, added, opened, after = zip(*rows, strict=True)
        result[name] = {
            "import": float(np.median(seconds)),
            "import bytes": float(np.median(added)),
            "open": None if opened[0] is None else float(np.median(opened)),
            "bytes": float(np.median(after)),
            "file": sizes.get(name),
            "disk": disk(PACKAGES[name]),
        }
    if result["farthing"]["disk"] is None:  # it runs from a source tree
        alone = in_place()
        result["farthing"]["disk"] = {"alone": alone, "with all": alone + disk("numpy")["with all"]}
    return result


def wheel(path: str | None) -> int | None:
    """Bytes of the newest wheel at `path`, a file or a folder such as wheels/build.sh fills."""
    if path is None:
        return None
    found = sorted(Path(path).glob("farthing-*.whl")) if Path(path).is_dir() else [Path(path)]
    return found[-1].stat().st_size if found else None


def goals(figures: dict[str, dict]) -> list[Goal]:
    """No row of the goals is about starting; that no peer starts sooner or smaller is."""
    able = {peer: about for peer, about in figures.items() if about["open"] is not None}
    costs = {
        "import": {peer: about["import"] for peer, about in able.items()},
        "import to first score": {
            peer: about["import"] + about["open"] for peer, about in able.items()
        },
        "resident memory then": {peer: about["bytes"] for peer, about in able.items()},
    }
    found = []
    for text, cost in costs.items():
        mine = cost.pop("farthing")
        if cost:
            best = min(cost, key=cost.get)
            text = f"{text}, vs the least of the peers that open a network ({best})"
            found.append(Goal(text, cost[best] / mine, 1))
    return found


def report(figures: dict[str, dict], wheel_bytes: int | None) -> str:
    def mebibytes(value) -> str:
        return "" if value is None else f"{value / 2**20:.1f}"

    rows = []
    for name, about in sorted(figures.items(), key=lambda item: item[1]["import"]):
        size = about["disk"] or {"alone": None, "with all": None}
        cells = [name, f"{about['import'] * 1e3:.1f}", mebibytes(about["import bytes"])]
        cells += ["" if about["open"] is None else f"{about['open'] * 1e3:.2f}"]
        cells += [mebibytes(about["bytes"]), "" if about["file"] is None else f"{about['file']:,}"]
        rows.append([*cells, mebibytes(size["alone"]), mebibytes(size["with all"])])
    head = ["64-256-128-1", "import ms", "MiB", "open, score ms", "MiB then", "file bytes"]
    text = table([*head, "disk MiB", "with all MiB"], rows)
    if wheel_bytes is not None:
        text += f"\n\nwheel of farthing: {wheel_bytes:,} bytes"
    return text


def main(argv: list[str] | None = None) -> dict:
    options = parser(__doc__, rounds=5)
    options.add_argument("--wheel", metavar="PATH", help="a wheel, or the folder it is in")
    options = options.parse_args(argv)
    missing, about = {}, machine()
    figures = measure(options.rounds, options.seed, missing)
    wheel_bytes = wheel(options.wheel)
    found = {"machine": about, "figures": figures, "wheel": wheel_bytes, "missing": missing}
    if options.chart:
        groups = {
            "import, milliseconds": {
                name: entry["import"] * 1e3 for name, entry in figures.items()
            },
            "resident memory, MiB": {
                name: entry["bytes"] / 2**20 for name, entry in figures.items()
            },
        }
        bars(options.chart, "What it costs to start", groups, "milliseconds, MiB")
    return finish(found, report(figures, wheel_bytes), goals(figures), options)


if __name__ == "__main__":
    main()
