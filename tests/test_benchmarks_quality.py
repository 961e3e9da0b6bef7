"""The benchmark of quality, small: every section runs, and its tables say what was measured."""

import gzip
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
pytest.importorskip("lightgbm")
SMALL = ["--rows", "1200", "--epochs", "1", "--seeds", "1"]


@pytest.fixture
def bench(monkeypatch):
    """The modules of the benchmark by name, from a place where the data lies."""
    monkeypatch.chdir(BENCHMARKS.parent)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("_tasks", "_quality", "_quality_steps", "_quality_distillation", "quality")
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


def few(monkeypatch, module, **names):
    """Only those entries of the module's dicts, or other values."""
    for name, chosen in names.items():
        whole = getattr(module, name)
        if isinstance(whole, dict):
            chosen = {key: whole[key] for key in chosen}
        monkeypatch.setattr(module, name, chosen)


def test_pruning(bench, monkeypatch, capsys):
    few(monkeypatch, bench["_quality"], METHODS=("magnitude", "obs"), SPARSITIES=(0.9,))
    found = bench["quality"].main(["--only", "pruning", "--data", "credit", *SMALL])
    figures = found["pruning"]["credit"][0]
    assert set(figures) == {
        "float",
        *(
            f"{method} {way} 0.9"
            for method in ("magnitude", "obs")
            for way in ("at once", "gradual")
        ),
        "magnitude iterative 0.9",
    }
    assert all(0.5 < figure["value"] < 0.9 for figure in figures.values())
    text = capsys.readouterr().out
    assert "obs, at once" in text and "one seed has no standard error" in text


def test_quantization(bench, monkeypatch, capsys):
    ways = ("to nearest", "GPTQ", "groups of 64", "affine, floor", "integers, nearest", "integers")
    few(monkeypatch, bench["_quality_steps"], WAYS=ways)
    found = bench["quality"].main(["--only", "quantization", "--data", "credit", "--json", *SMALL])
    figures = found["quantization"]["credit"][0]
    assert len(figures) == 1 + 2 * len(ways) - 1 + 1 + 4
    printed = json.loads(capsys.readouterr().out)
    assert printed["quantization"]["credit"][0] == figures
    text = bench["_quality_steps"].report_quantization("credit", [figures, figures])
    assert "GPTQ better than to nearest by 2 SE" in text and "first layer 4 bits" in text


def test_distillation_and_students(bench, monkeypatch, capsys):
    kinds = bench["_quality_distillation"]
    few(monkeypatch, kinds, KINDS=("probabilities", "out-of-fold"), TREES=("code of thresholds",))
    few(monkeypatch, kinds, UNLABELLED=("mixup",), MEMORY=2)
    few(monkeypatch, bench["_quality_steps"], STUDENTS=((8,),))
    found = bench["quality"].main(["--only", "distillation,students", "--data", "credit", *SMALL])
    distilled, students = (found[name]["credit"][0] for name in ("distillation", "students"))
    assert {"teacher", "labels alone", "out-of-fold", "no labels, mixup"} < set(distilled)
    assert {"self-distillation, hint", "two teachers", "code of thresholds"} < set(distilled)
    assert {"memorised teacher", "memorised teacher, out-of-fold"} < set(distilled)
    assert distilled["memorised teacher"] != distilled["probabilities"]
    assert students["8 float32"]["bytes"] > 2 * students["8 int4, 80% pruned"]["bytes"]
    text = capsys.readouterr().out
    assert "to labels alone" in text and "to LightGBM" in text


def test_german(bench, monkeypatch, capsys):
    few(monkeypatch, bench["_quality"], METHODS=("magnitude",), SPARSITIES=(0.8,))
    monkeypatch.setattr(bench["_tasks"], "GERMAN_TREES", 5)
    bench["quality"].main(["--only", "pruning", "--data", "german", *SMALL])
    assert "Pruning, german, 1 seeds: thousandths of AUC" in capsys.readouterr().out


def images(folder, name, count, rng):
    """Files like Fashion-MNIST's: of ten classes, each a bright column."""
    labels = rng.integers(0, 10, count).astype(np.uint8)
    pixels = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    pixels[np.arange(count), :, 2 * labels] = 200
    for part, header, values in (("images-idx3", 16, pixels), ("labels-idx1", 8, labels)):
        data = gzip.compress(bytes(header) + values.tobytes())
        (folder / f"{name}-{part}-ubyte.gz").write_bytes(data)


def test_acceptance_on_images(bench, monkeypatch, capsys, tmp_path):
    rng = np.random.default_rng(0)
    images(tmp_path, "train", 1500, rng)
    images(tmp_path, "t10k", 300, rng)
    monkeypatch.setattr(bench["_tasks"], "FASHION", tmp_path)
    few(monkeypatch, bench["_quality"], FURTHER=(0.99,))
    chart = tmp_path / "chart.svg"
    found = bench["quality"].main(
        ["--only", "acceptance", "--epochs", "2", "--seeds", "2", "--chart", str(chart)]
    )
    for figures in found["acceptance"]["fashion"]:
        assert figures["float"]["value"] > 60
        assert figures["int8"]["smaller"] > 3.8
        assert figures["int4"]["bytes"] < figures["int4, plain"]["bytes"]
        plain = sum(-(-k * 4 // 8) * n for n, k in ((300, 784), (100, 300), (10, 100)))
        assert plain < figures["int4, plain"]["bytes"] < plain + 10_000
        assert (
            figures["int4, 95 % pruned"]["smaller"] > figures["int4, 90 % pruned"]["smaller"] > 20
        )
    printed = capsys.readouterr()
    assert "goal >= 38.0x" in printed.out and "int4, 99 % pruned" in printed.out
    assert chart.exists() or "no chart: " in printed.err


def test_distillation_of_images(bench, monkeypatch, capsys, tmp_path):
    rng = np.random.default_rng(0)
    images(tmp_path, "train", 400, rng)
    images(tmp_path, "t10k", 100, rng)
    monkeypatch.setattr(bench["_tasks"], "FASHION", tmp_path)
    kinds = bench["_quality_distillation"]
    few(monkeypatch, kinds, KINDS=("probabilities", "mixup copies", "out-of-fold"))
    few(monkeypatch, kinds, UNLABELLED=("marginal",))
    found = bench["quality"].main(
        ["--only", "distillation", "--data", "fashion", "--epochs", "2", "--seeds", "1"]
    )
    figures = found["distillation"]["fashion"][0]
    assert {"teacher", "code of a layer", "hint of a layer", "two teachers"} < set(figures)
    assert not [name for name in figures if "memorised" in name or "leaves" in name]
    assert "student 100-50" in capsys.readouterr().out


def test_a_missing_data_set_says_how_to_get_it(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench["_tasks"], "FASHION", tmp_path / "nothing")
    with pytest.raises(SystemExit, match="apt-get install dataset-fashion-mnist"):
        bench["quality"].main(["--only", "acceptance", "--seeds", "1"])


def test_limits_are_missed_only_beyond_two_standard_errors(bench):
    report = bench["_quality"].report_acceptance

    def seeds(losses):
        found = []
        for loss in losses:
            own = {"value": 90 - loss, "bytes": 100.0, "smaller": 10.0}
            found.append({"float": {"value": 90.0, "bytes": 1000.0, "smaller": 1.0}, "int8": own})
        return report("fashion", found)

    assert "met         int8: 0.05 points lost" in seeds([0.05, 0.06, 0.04])
    assert "within 2 SE int8: 0.15 points lost" in seeds([0.05, 0.25, 0.15])
    assert "missed      int8: 0.15 points lost" in seeds([0.15, 0.151, 0.149])


def test_a_method_is_better_only_by_two_standard_errors(bench):
    verdict = bench["_quality"].verdict
    sure = [{"a": {"value": 0.5 + d}, "b": {"value": 0.4}} for d in (0.0, 0.001, 0.002)]
    unsure = [{"a": {"value": 0.5 + d}, "b": {"value": 0.4}} for d in (-0.4, 0.0, 0.4)]
    assert verdict("a", "b", [("here", "a", "b")], "credit", sure).endswith("here +101.00 (0.58)")
    assert verdict("a", "b", [("here", "a", "b")], "credit", unsure).endswith("nowhere")
