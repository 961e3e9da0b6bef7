"""The benchmarks of speed once, small; peers that are missing are left out, and named."""

import importlib
import json
import runpy
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from farthing import kernels
from farthing.demo import data

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
DATA = ["--data", str(Path(__file__).parent.parent / data.DEFAULT_PATH)]
ONCE = ["--rounds", "1", "--clock", "cpu"]
WORDS = {"PASS", "short", "skipped"}


def names_of(benchmark):
    return runpy.run_path(str(BENCHMARKS / f"{benchmark}.py"))


@pytest.fixture(scope="module")
def measure():
    return importlib.import_module("_measure")


def test_a_call_of_a_slow_turn_takes_as_long_as_it_sleeps(measure):
    turns = {"slow": measure.loop(lambda: sleep(4e-3)), "fast": measure.loop(lambda: None)}
    how = measure.Measure(rounds=3, turn_seconds=1e-4)
    seconds = measure.seconds_a_call(turns, how)
    assert 4e-3 < seconds["slow"] < 1
    assert 0 < seconds["fast"] < 1e-3


def test_rows_stay_in_rotation_from_turn_to_turn(measure):
    seen = []
    turn = measure.over([1, 2, 3], seen.append)
    turn(2)
    turn(4)
    assert seen == [1, 2, 3, 1, 2, 3]
    given = []
    measure.into([1, 2], lambda x, out: given.append((x, out)), "out")(3)
    assert given == [(1, "out"), (2, "out"), (1, "out")]


def test_goals_say_what_was_reached(measure):
    goal = measure.Goal
    assert str(goal("a vs b", 3.14159, 3)) == "PASS    a vs b: 3.14x, goal >= 3x"
    assert str(goal("a vs b", 2.5, 3, ceiling=4.0)).endswith("goal >= 3x (limit here: 4x)")
    assert goal("a", 2.5, 3).word == "short"
    assert goal("bytes", 15.0, 16, " KiB", least=False).word == "PASS"
    assert goal("bytes", 17.0, 16, " KiB", least=False).word == "short"
    assert str(goal("a vs b", None, 3)) == "skipped a vs b: a peer is missing, goal >= 3x"
    times = {"a": 2.0, "b": 1.0, "c": 6.0, "d": 5.0}
    assert measure.ratio(times, ["a", "b"], ["c", "d"]) == 5
    assert measure.ratio(times, ["a"], ["none"]) is None


def test_a_peer_that_cannot_be_built_is_named(measure):
    def absent():
        raise ImportError("No module named 'peer'")

    def unable():
        raise RuntimeError("no such operator\nlong trace")

    missing = {}
    built = measure.build({"a": absent, "b": unable, "c": lambda: 3}, missing)
    assert built == {"c": 3}
    assert missing == {
        "a": "not installed: No module named 'peer'",
        "b": "refused: no such operator",
    }


def test_limits_take_time_in_proportion():
    found = importlib.import_module("_limits").Limits()
    if found.missing:
        pytest.skip(found.missing)
    measure = importlib.import_module("_measure").Measure(rounds=3, clock="cpu")
    loops, reads = found.measure(measure)
    assert {"vpmaddubsw, depth 1", "vpmaddubsw, depth 4"} <= set(loops)
    assert all(1e9 < rate < 1e13 for rate in loops.values())
    assert loops["vpmaddubsw, depth 4"] > loops["vpmaddubsw, depth 1"]
    assert all(1e9 < rate < 1e13 for rate in reads.values())


def test_kernels(capsys, tmp_path):
    benchmark = names_of("kernels")
    arguments = [*ONCE, "--rows", "1,64", "--sizes", "64,256", "--chart", str(tmp_path / "c.png")]
    found = benchmark["main"](arguments)
    assert [(r["m"], r["k"]) for r in found["results"]] == [(1, 64), (64, 64), (1, 256), (64, 256)]
    mine = {f"farthing {benchmark['isas']()[0]}, {kind}" for kind in benchmark["EIGHT"]}
    for result in found["results"]:
        assert mine | {"numpy fp32"} <= set(result["seconds"])
        assert min(result["seconds"].values()) > 0
    assert len(found["goals"]) == 6 and {goal["word"] for goal in found["goals"]} <= WORDS
    text = capsys.readouterr().out
    assert "64 x 256 x 256 " in text and "int8 M = 1, K = 256" in text
    for name in found["missing"]:
        assert f"left out: {name}: " in text
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_integers_of_a_peer_are_counted():
    peers = importlib.import_module("_peers")
    exact = importlib.import_module("kernels").exact

    def one_off(x, w):
        out = exact(x, w).astype(np.int32)
        out[0, 3] += 1
        return peers.Product(lambda: None, lambda: out)

    def all_right(x, w):
        return peers.Product(lambda: None, lambda: exact(x, w).astype(np.int32))

    theirs = names_of("kernels")["theirs"]
    with pytest.MonkeyPatch.context() as patch:
        eight = {"onnxruntime U8S8": one_off, "onnxruntime U8U8": all_right}
        patch.setattr(peers, "EIGHT_BITS", eight)
        patch.setattr(peers, "FOUR_BITS", {})
        patch.setattr(peers, "FLOATS", {})
        turns, notes = theirs(np.random.default_rng(0), 2, 8, {})
    assert notes == {"onnxruntime U8S8": "1 of 16 wrong", "onnxruntime U8U8": "exact"}
    assert set(turns) == set(eight)


@pytest.fixture(scope="module")
def network():
    networks = importlib.import_module("_networks")
    rng = np.random.default_rng(0)
    sizes = [(48, 24), (16, 48), (1, 16)]
    weights = [(rng.normal(size=(n, k)) / np.sqrt(k)).astype(np.float32) for n, k in sizes]
    biases = [(rng.normal(size=n) * 0.1).astype(np.float32) for n, _ in sizes]
    return networks.Network(weights, biases, True)


def test_peers_score_the_network(network):
    peers = importlib.import_module("_peers")
    x = np.random.default_rng(1).normal(size=(256, network.inputs)).astype(np.float32)
    batches, missing, scored = [x[:4].copy(), x[4:8].copy()], {}, set()
    for name, peer in (
        importlib.import_module("_measure")
        .build(peers.builders(network, batches, x), missing)
        .items()
    ):
        error = np.abs(peer.answer(batches[1]) - network(batches[1])).max()
        assert error < (0.15 if "int4" in name else 0.03 if "int8" in name else 1e-5), name
        peer.turn(3)
        scored.add(name)
    assert "numpy by hand" in scored
    assert all(reason.startswith("not installed") for reason in missing.values()), missing


def test_models(capsys):
    benchmark = names_of("models")
    arguments = [*DATA, *ONCE, "--shapes", "32-64-32-1", "--batches", "1,16"]
    found = benchmark["main"]([*arguments, "--credit-rows", "2500", "--epochs", "1", "--json"])
    text = capsys.readouterr().out
    assert json.loads(text[text.index("{") :])["goals"] == found["goals"]
    for result in found["networks"]["32-64-32-1"]:
        assert len(benchmark["ours_of"](result["seconds"])) == len(benchmark["KINDS"])
        assert min(result["seconds"].values()) > 0
    credit = found["credit"]
    trees = f"LightGBM fastest call, {credit['trees']} trees"
    assert {trees, "LightGBM predict, 500 trees"} <= set(credit["one row"])
    assert 0 < min(credit["one row"].values())
    assert len(found["goals"]) == 6 and {goal["word"] for goal in found["goals"]} <= WORDS


def test_models_on_two_threads():
    benchmark = names_of("models")
    measure = importlib.import_module("_measure").Measure(rounds=1)
    model, X = benchmark["trained"]((16, 32))
    ours = benchmark["scorers"](model, X)
    limits = importlib.import_module("_limits").Limits()
    seconds = benchmark["two_threads"](ours, X, measure, limits)
    assert len(seconds) == 2 * (len(benchmark["KINDS"]) + (not limits.missing))
    taken = {name: 0.5 if name.endswith("2 threads") else 1.0 for name in seconds}
    (goal,) = benchmark["goals"]({"networks": {}, "two threads": {"16-32-1": taken}})
    assert goal.reached == 2 and goal.word == "PASS"
    assert goal.ceiling == (None if limits.missing else 2)


def test_sparse(capsys, monkeypatch):
    benchmark = names_of("sparse")
    monkeypatch.setitem(benchmark["main"].__globals__, "SHAPE", (32, 64, 64))
    found = benchmark["main"]([*ONCE, "--size", "128"])
    assert [(r["sparsity"], r["rows"]) for r in found["layers"]] == [
        (0.8, 1), (0.8, 64), (0.9, 1), (0.9, 64),
    ]  # fmt: skip
    best = benchmark["isas"]()[0]
    for result in found["layers"]:
        wanted = {f"farthing {best}, {name}" for name in (*benchmark["PATTERNS"], "dense")}
        assert wanted <= set(result["seconds"]) and min(result["seconds"].values()) > 0
    assert f"farthing {best}, int4, 80 % of blocks pruned" in found["network"]["seconds"]
    assert len(found["goals"]) == 7 and {goal["word"] for goal in found["goals"]} <= WORDS
    text = capsys.readouterr().out
    assert "DeepSparse 1.8, recorded elsewhere" in text and "our dense int8" in text


def test_pruning(capsys):
    benchmark = names_of("pruning")
    arguments = [*DATA, *ONCE, "--weights", "40000", "--seeds", "1", "--epochs", "1"]
    found = benchmark["main"]([*arguments, "--credit-rows", "2500"])
    for part, seconds in found["masks"]["seconds"].items():
        assert "farthing" in seconds and len(seconds) > 1, part
        assert min(seconds.values()) > 0
    (seed,) = found["seeds"]
    assert seed["pruned"]["table"] < seed["unpruned"]["table"] / 2
    assert seed["pruned"]["bytes"] < seed["unpruned"]["bytes"]
    assert len(found["goals"]) == 10 and {goal["word"] for goal in found["goals"]} <= WORDS
    assert "pruned - unpruned: AUC" in capsys.readouterr().out


def test_masks_that_differ_beyond_ties_are_refused():
    benchmark = names_of("pruning")
    w = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    mask = kernels.prune_mask(w, benchmark["SPARSITY"])
    flat = benchmark["by_argpartition"](np.abs(w).ravel()).reshape(w.shape)
    assert np.array_equal(flat, mask)
    benchmark["compare"]("mask", flat, mask, w)
    with pytest.raises(AssertionError):
        benchmark["compare"]("mask", ~flat, mask, w)
    with pytest.raises(AssertionError):
        benchmark["compare"]("scores", np.ones(4), np.full(4, 1.1), w)


def test_startup(capsys, monkeypatch, tmp_path):
    benchmark = names_of("startup")
    few = {name: benchmark["PEERS"][name] for name in ("farthing", "numpy")}
    few["absent"] = ("import absent_peer", None)
    monkeypatch.setitem(benchmark["main"].__globals__, "PEERS", few)
    (tmp_path / "farthing-0.1.0-py3-none-any.whl").write_bytes(b"x" * 1234)
    found = benchmark["main"](["--rounds", "1", "--wheel", str(tmp_path)])
    ours, numpy = found["figures"]["farthing"], found["figures"]["numpy"]
    assert 0 < ours["import"] < numpy["import"]
    assert 0 < ours["bytes"] < numpy["bytes"]
    assert ours["open"] > 0 and ours["file"] > 20_000 and numpy["open"] is None
    assert numpy["disk"]["alone"] > 1 << 20
    assert "absent" in found["missing"]
    assert "wheel of farthing: 1,234 bytes" in capsys.readouterr().out
