"""Every benchmark once, small: that it runs, checks its answers and prints what it promises."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from farthing.demo import data

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
DATA = ["--data", str(Path(__file__).parent.parent / data.DEFAULT_PATH)]


def names_of(benchmark):
    return runpy.run_path(str(BENCHMARKS / f"{benchmark}.py"))


def test_credit(capsys):
    credit = names_of("credit")
    arguments = [*DATA, "--seeds", "2", "--rows", "3000", "--epochs", "1"]
    rows = credit["main"](arguments)
    kinds = ["float32", "int8", "int4", "int4, 80% pruned"]
    assert [(row["student"], row["kind"]) for row in rows] == [
        (student, kind) for student in ("32-16", "64-32") for kind in kinds
    ]
    for row in rows:
        assert abs(row["difference"]) < 0.1 and row["standard_error"] > 0
        assert 0.5 < row["slope"] < 2
    assert rows[0]["smaller"] == 1 and rows[7]["smaller"] > rows[6]["smaller"] > 4
    text = capsys.readouterr().out
    for (student, kind), goal in credit["GOALS"].items():
        assert f"{student} {kind}: " in text and f"goal >= {goal}" in text
    assert text.count("x smaller, goal") == 2 and "slopes " in text


def test_goals_within_two_standard_errors_are_undecided():
    judge = names_of("_common")["judge"]
    assert judge(-0.002, -0.003, 0.0001) == "met"
    assert judge(-0.004, -0.003, 0.0001) == "missed"
    assert judge(-0.004, -0.003, 0.0006) == judge(-0.002, -0.003, 0.0006) == "undecided"
    assert judge(0.1, -0.003, np.nan) == "undecided"


def test_seeds_are_summarised_with_their_standard_error():
    seeds = [
        {("s", "float32"): {"difference": d, "slope": 1 + d, "bytes": 1000}, ("s", "int8"): row}
        for d, row in ((0.0, {"difference": 0.1, "slope": 1, "bytes": 250}),) * 2
        + ((0.3, {"difference": 0.1, "slope": 1, "bytes": 250}),)
    ]
    first, second = names_of("credit")["summarise"](seeds)
    assert first["difference"] == pytest.approx(0.1)
    assert first["standard_error"] == pytest.approx(0.1)  # deviation 0.3 / sqrt(3), over sqrt(3)
    assert first["slope"] == pytest.approx(1.1)
    assert second["smaller"] == 4 and second["standard_error"] == pytest.approx(0)


def test_monotone(capsys):
    monotone = names_of("monotone")
    arguments = [*DATA, "--seeds", "2", "--rows", "2500", "--epochs", "1"]
    summary = monotone["main"](arguments)
    for kind in ("float32", "int4"):
        assert abs(summary[kind]["difference"]) < 0.1 and summary[kind]["standard_error"] > 0
        assert summary[kind]["certified"] == 2 and summary[kind]["violations"] == 0
    text = capsys.readouterr().out
    assert f"{summary['verdict']} " in text and f"goal >= {monotone['GOAL']}" in text
    judge = monotone["judge"]
    assert (judge(0.0, 0.0009), judge(-0.004, 0.0009)) == ("met", "missed")
    assert judge(0.0, 0.0011) == judge(-0.004, 0.0011) == judge(0.1, np.nan) == "undecided"


def test_periodic(capsys):
    periodic = names_of("periodic")
    rows = periodic["main"]([*DATA, "--seeds", "2", "--rows", "3000", "--epochs", "3"])
    assert [row["encoder"] for row in rows] == ["piecewise_linear", "periodic", None]
    first, second, _ = rows
    assert first["auc_difference"] == first["rmse_difference"] == 0
    assert second["rmse_difference"] == pytest.approx(second["rmse"] - first["rmse"])
    assert second["auc_error"] > 0 and min(row["auc"] for row in rows) > 0.6
    text = capsys.readouterr().out
    for row in rows:
        assert f"{row['encoder']} " in text and f"{row['rmse_difference']:+.5f}" in text


def test_units(capsys, monkeypatch):
    units = names_of("units")
    monkeypatch.setitem(units["main"].__globals__, "ROWS", 1500)
    summary = units["main"]([*DATA, "--seeds", "2", "--rows", "2500", "--epochs", "2"])
    assert list(summary) == ["AUC, 32", "AUC, 64-32", "error, 32", "error, 64-32"]
    for task, kinds in summary.items():
        assert list(kinds) == list(units["KINDS"])
        assert kinds["bounded"]["difference"] == 0 < kinds["ReLU"]["standard_error"]
        assert all(0.5 < row["mean"] < 0.9 for row in kinds.values()) or task.startswith("error")
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4 * 4


def test_violations_are_counted():
    X = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    violations = names_of("monotone")["violations"]
    rise, hill = (lambda rows: rows[:, 0]), (lambda rows: -abs(rows[:, 0]))
    assert violations(rise, X, {0: 1, 1: -1}, 0) == 0
    assert violations(rise, X, {0: -1}, 0, pairs=100) == 100
    assert 20 < violations(hill, X, {0: 1}, 0, pairs=100) < 80


@pytest.fixture(scope="module")
def latency():
    return names_of("latency")


def test_latency(latency, monkeypatch, capsys):
    monkeypatch.setitem(latency["main"].__globals__, "wide_network", lambda rounds: {})
    arguments = [*DATA, "--rounds", "2", "--rows", "3000", "--epochs", "1"]
    times = latency["main"](arguments)
    assert times.pop("trees") > 5
    assert min(times.values()) > 0
    assert {"farthing, list", "farthing, dict", "LightGBM, fastest call", "loop"} < set(times)
    text = capsys.readouterr().out
    for name in times:
        assert f"{name} " in text
    for goal in ("LightGBM's fastest call", "predict of 500 trees", "overhead of predict"):
        assert goal in text


def test_latency_as_json(latency, monkeypatch, capsys):
    figures = {"farthing, list": 400.0, "trees": 5}

    def missing(rounds):
        raise ImportError("no onnxruntime here")

    monkeypatch.setitem(latency["main"].__globals__, "credit", lambda *given: figures)
    monkeypatch.setitem(latency["main"].__globals__, "wide_network", missing)
    latency["main"]([*DATA, "--json"])
    captured = capsys.readouterr()
    assert json.loads(captured.out) == figures
    assert "onnxruntime is left out: no onnxruntime here" in captured.err


def test_latency_against_onnxruntime(latency):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    times = latency["wide_network"](rounds=2)
    assert set(times) == {latency["OURS_WIDE"], latency["THEIRS_WIDE"]}
    assert min(times.values()) > 0


def test_training_on_farthing_alone(monkeypatch, capsys):
    training = names_of("training")
    shared = training["main"].__globals__
    monkeypatch.setitem(shared, "THEIRS", {})
    result = training["main"](["--rows", "8000", "--rounds", "2", "--json"])
    assert set(result) == {"seconds"} and min(result["seconds"].values()) > 0
    assert json.loads(capsys.readouterr().out) == result


def test_training_against_pytorch(capsys):
    pytest.importorskip("torch")
    training = names_of("training")
    result = training["main"](["--rows", "8000", "--rounds", "2"])
    assert result["against"] in training["THEIRS"]
    assert result["ratio"] == pytest.approx(
        result["seconds"]["farthing"] / result["seconds"][result["against"]]
    )
    low, high = result["quartiles"]
    assert 0 < low <= high
    text = capsys.readouterr().out
    assert "an epoch takes" in text and all(name in text for name in result["seconds"])


GERMAN = ["--data", str(BENCHMARKS.parent / "examples/data/german_credit.csv.xz")]


def test_german(capsys):
    german = names_of("german")
    found = german["main"]([*GERMAN, "--seeds", "1", "--epochs", "1"])
    assert set(found["auc"]) == {*german["PEERS"], *german["OURS"]}
    assert all(0.7 < auc < 0.85 for auc in found["auc"].values())
    assert capsys.readouterr().out.count("undecided direct int4 to ") == 2


def test_rare(capsys):
    found = names_of("rare")["main"]([*DATA, "--seeds", "2", "--rows", "6000", "--epochs", "1"])
    assert 0.015 < found["bad_rate"] < 0.025
    assert 0 <= found["most_tied"] < 1
    text = capsys.readouterr().out
    assert "average precision" in text and "alert threshold" in text


def test_regression(capsys):
    names_of("regression")["main"]([*DATA, "--seeds", "2", "--rows", "2500", "--epochs", "1"])
    text = capsys.readouterr().out
    assert "64-32 int4 RMSE" in text and "relative RMSE changes by at most" in text


def test_importance(capsys, monkeypatch):
    importance = names_of("importance")
    few = {name: importance["PENALTIES"][name] for name in ("none", "l1=1e-5", "l1=1e-4", "l2=2")}
    monkeypatch.setitem(importance["main"].__globals__, "PENALTIES", few)
    arguments = [*DATA, "--seeds", "2", "--rows", "1600", "--epochs", "1"]
    found = importance["main"](arguments)
    ways = [(row["pattern"], row["sparsity"], row["schedule"]) for row in found["prunings"]]
    assert len(set(ways)) == 5 * 2 * 2
    for row in found["prunings"]:
        assert row["l1"]["standard_error"] > 0 and abs(row["l1"]["mean"]) < 0.3
        single = row["pattern"] == "unstructured"
        assert row["same"] == single
        assert (row["correlation"]["mean"] == pytest.approx(1, abs=1e-9)) == single
        assert (row["l2 - l1"]["mean"] == 0) >= single
        if row["schedule"] == "at once":
            assert (row["differ"]["mean"] > 0) <= (not single) and "random" in row
    penalties = found["penalties"]
    assert penalties["none"]["weights"]["mean"] == penalties["l2=2"]["weights"]["mean"] == 0
    assert penalties["l1=1e-4"]["weights"]["mean"] > penalties["l1=1e-5"]["weights"]["mean"] > 0
    text = capsys.readouterr().out
    assert "both norms gave the same bytes in 4 of 4 ways" in text
    assert all(name in text for name in few)


def test_large(capsys):
    found = names_of("large")["main"](["--rows", "5000", "--features", "12", "--epochs", "2"])
    assert found["epochs"] == 2 and 0.55 < found["auc"] < found["auc_of_truth"]
    assert found["before_gib"] <= found["peak_gib"] < 2
    assert "the goals are for 1,000,000 x 200" in capsys.readouterr().out
