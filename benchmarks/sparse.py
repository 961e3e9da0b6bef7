"""Pruned layers: blocks and single weights against dense ones, ours and the peers'.

    python benchmarks/sparse.py [--size 1024] [--rows 1,64] [--chart FILE]

A square layer at 80 and 90 % zeros, int8 (weight_max 64), uint8 inputs up to 127: blocks that fit
the SIMD tile and single weights, packed by their pattern, against our own dense layout of the same
weights, the fastest dense float32 product, and compressed rows (CSR) of scipy and PyTorch. Then a
256-1024-512-1 network with 80 % of its 32x4 blocks pruned, in 4 bits, from Python, against every
runtime. Turns in random order, medians of the rounds, one thread, answers compared first.
DeepSparse, the one peer built for this, is no longer developed and does not install on a current
Python: its recorded figures stand below as text.
"""

from __future__ import annotations

from functools import partial

import _alone  # noqa: F401
import _peers
import numpy as np
from _measure import (
    Goal,
    Measure,
    bars,
    build,
    finish,
    into,
    isas,
    loop,
    machine,
    measure_of,
    parser,
    ratio,
    seconds_a_call,
    table,
)
from kernels import exact, gaussian, pack_for
from models import network_of, opened, trained

import farthing
from farthing import kernels

PATTERNS = ("32x4", "16x4", "8x4", "unstructured")
SPARSITIES = (0.8, 0.9)
# Microseconds of DeepSparse 1.8 on 1024 x 1024, and what dense float32 took beside it, on an AMD
# Zen 3 with AVX2 at 3.2 GHz: only their ratio can be compared with another machine's.
DEEPSPARSE = {
    (0.8, 1): (206, 83),
    (0.8, 64): (746, 1473),
    (0.9, 1): (206, 85),
    (0.9, 64): (462, 1500),
}
SHAPE = (256, 1024, 512)


def pruned(w: np.ndarray, sparsity: float, pattern: str) -> np.ndarray:
    return w * kernels.prune_mask(w.astype(np.float32), sparsity, pattern).astype(np.int8)


def scipy_rows(x: np.ndarray, w: np.ndarray) -> _peers.Product:
    """CSR by the transposed rows, as scipy is fastest."""
    from scipy import sparse

    matrix = sparse.csr_array(w.astype(np.float32))
    real = np.ascontiguousarray(x.T.astype(np.float32))
    real = real[:, 0] if real.shape[1] == 1 else real
    return _peers.Product(lambda: matrix @ real, lambda: (matrix @ real).reshape(len(w), len(x)).T)


def torch_rows(x: np.ndarray, w: np.ndarray) -> _peers.Product:
    import warnings

    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that CSR is in beta
        matrix = torch.from_numpy(w.astype(np.float32)).to_sparse_csr()
    real = torch.from_numpy(np.ascontiguousarray(x.T.astype(np.float32)))
    return _peers.Product(lambda: matrix @ real, lambda: (matrix @ real).numpy().T)


def layer(size: int, sparsity: float, m: int, how: Measure, missing: dict) -> dict:
    """Seconds of everything on one layer and one number of rows, and the layouts of ours."""
    rng = np.random.default_rng((how.seed, size, m))
    x = rng.integers(0, 128, (m, size), dtype=np.uint8)
    full = gaussian(rng, size, size, 64)
    turns, layouts = {}, {}
    for isa in isas():
        for pattern in PATTERNS:
            w = pruned(full, sparsity, pattern)
            packed = pack_for(isa, w, 8, None, None, pattern)
            out = np.empty((m, size), np.int32)
            kernels.matmul(x, packed, out)
            assert np.array_equal(out, exact(x, w)), (isa, pattern)
            name = f"farthing {isa}, {pattern}"
            turns[name] = loop(partial(kernels.matmul, x, packed, out))
            layouts[name] = packed.layout
        packed, out = pack_for(isa, full), np.empty((m, size), np.int32)
        kernels.matmul(x, packed, out)
        assert np.array_equal(out, exact(x, full)), isa
        turns[f"farthing {isa}, dense"] = loop(partial(kernels.matmul, x, packed, out))
        layouts[f"farthing {isa}, dense"] = packed.layout
    w = pruned(full, sparsity, "unstructured")
    peers = dict(_peers.FLOATS, **{"onnxruntime fp32": onnxruntime_float})
    peers |= {"LiteRT fp32": lambda x, w: _peers.litert(x, w, "float32")}
    peers |= {"scipy CSR": scipy_rows, "torch CSR": torch_rows}
    made = build({name: partial(make, x, w) for name, make in peers.items()}, missing)
    for name, product in made.items():
        product.call()
        assert np.allclose(product.result(), exact(x, w), rtol=1e-4, atol=1), name
        turns[name] = _peers.product_turn(product)
    return {
        "size": size,
        "sparsity": sparsity,
        "rows": m,
        "seconds": seconds_a_call(turns, how),
        "layouts": layouts,
    }


def onnxruntime_float(x: np.ndarray, w: np.ndarray) -> _peers.Product:
    data = _peers.networks.onnx_float(_peers.networks.product(w), len(x))
    out = np.empty((len(x), len(w)), np.float32)
    return _peers.onnxruntime_product(data, x.astype(np.float32), out)


def model(how: Measure, missing: dict) -> dict:
    """Seconds a row of the pruned network in 4 bits, of the dense one, and of every runtime."""
    dense, X = trained(SHAPE)
    small = farthing.prune(dense, X, sparsity=0.8, pattern="32x4", scope="layer")
    contents = {
        "80 % of blocks pruned": farthing.quantize(small, X, weight_bits=4)._bytes(),
        "dense": farthing.quantize(dense, X, weight_bits=4)._bytes(),
    }
    rows, out = list(X[:256]), np.empty(1, np.float32)
    turns, layouts = {}, {}
    for kind, content in contents.items():
        scores = []
        for isa in isas():
            scorer = opened(content, isa)
            scores.append(scorer.predict(X[:512]))
            assert np.array_equal(scores[0], scores[-1]), isa
            turns[f"farthing {isa}, int4, {kind}"] = into(rows, scorer.predict, out)
            layouts[f"farthing {isa}, int4, {kind}"] = ", ".join(
                f"{entry['layout']} ({entry['sparsity']:.0%})"
                for entry in scorer.describe()["layers"]
            )
            if kind != "dense":
                expected = small.predict_proba(X[:512])[:, 1]
                assert np.abs(scores[-1] - expected).mean() < 0.1, isa
    network = network_of(small)
    batches = [np.ascontiguousarray(X[i : i + 1]) for i in range(256)]
    for name, peer in build(_peers.builders(network, batches, X[:2048]), missing).items():
        error = abs(peer.answer(batches[0])[0, 0] - network(batches[0])[0, 0])
        assert error < (0.5 if "int4" in name else 0.1 if "int8" in name else 1e-4), name
        turns[name] = peer.turn
    return {"seconds": seconds_a_call(turns, how), "layouts": layouts}


DENSE = ("torch fp32", "numpy fp32", "openvino fp32", "onnxruntime fp32", "LiteRT fp32")


def goals(layers: list[dict], network: dict | None) -> list[Goal]:
    best, found = isas()[0], []
    for result in layers:
        seconds, m, sparsity = result["seconds"], result["rows"], result["sparsity"]
        dense = [f"farthing {best}, dense"]
        blocks = [f"farthing {best}, 32x4"]
        single = [f"farthing {best}, unstructured"]
        text = f"{sparsity:.0%}, {result['size']}x{result['size']}, {m} rows"
        if sparsity == 0.9 and m in (1, 64):
            goal = 65 if m == 1 else 20
            reached = ratio(seconds, blocks, DENSE)
            found.append(Goal(f"32x4 blocks {text}, vs best dense fp32 peer", reached, goal))
            reached = ratio(seconds, blocks, dense)
            found.append(Goal(f"32x4 blocks {text}, vs our dense int8", reached, 5))
        if sparsity == 0.9 and m == 64:
            reached, (theirs, fp32) = ratio(seconds, single, DENSE), DEEPSPARSE[0.9, 64]
            if reached is not None:
                reached *= theirs / fp32
            text_ = f"unstructured {text}, vs DeepSparse (its record, scaled by dense fp32)"
            found.append(Goal(text_, reached, 2))
        if sparsity == 0.8 and m == 64:
            reached = ratio(seconds, single, dense)
            found.append(Goal(f"unstructured {text}, vs our dense int8", reached, 1.5))
    if network:
        seconds = network["seconds"]
        mine = [f"farthing {best}, int4, 80 % of blocks pruned"]
        theirs = [name for name in seconds if not name.startswith("farthing")]
        text = "80 % block-pruned int4 256-1024-512-1, batch 1, vs best peer"
        found.append(Goal(text, ratio(seconds, mine, theirs), 4))
    return found


def report(layers: list[dict], network: dict | None) -> str:
    parts = []
    for result in layers:
        seconds, best = result["seconds"], isas()[0]
        rows = []
        for name, taken in sorted(seconds.items(), key=lambda item: item[1]):
            own = seconds[f"farthing {best}, dense"] / taken
            against = ratio(seconds, [name], DENSE)
            layout = result["layouts"].get(name, "")
            against = "" if against is None else f"{against:.1f}x"
            rows.append([name, f"{taken * 1e6:.2f}", f"{own:.2f}x", against, layout])
        size, sparsity, m = result["size"], result["sparsity"], result["rows"]
        head = [f"{size} x {size}, {sparsity:.0%} zeros, {m} rows", "us"]
        parts.append(table([*head, "our dense int8", "best dense fp32", "layout"], rows))
    if network:
        seconds = network["seconds"]
        theirs = [name for name in seconds if not name.startswith("farthing")]
        rows = [
            [
                name,
                f"{taken * 1e6:.2f}",
                f"{ratio(seconds, [name], theirs) or 1:.2f}x",
                network["layouts"].get(name, ""),
            ]
            for name, taken in sorted(seconds.items(), key=lambda item: item[1])
        ]
        parts.append(table(["256-1024-512-1, batch 1", "us", "best peer", "layouts"], rows))
    lines = [
        f"DeepSparse 1.8, recorded elsewhere: {sparsity:.0%} zeros, {m} rows: {taken} us, "
        f"{dense / taken:.2f}x the dense fp32 beside it ({dense} us)"
        for (sparsity, m), (taken, dense) in DEEPSPARSE.items()
    ]
    return "\n\n".join([*parts, "\n".join(lines)])


def chart(path: str, layers: list[dict]) -> None:
    groups = {}
    for result in layers:
        seconds, best = result["seconds"], isas()[0]
        chosen = [f"farthing {best}, {name}" for name in ("32x4", "unstructured", "dense")]
        chosen += [name for name in ("scipy CSR", "torch CSR") if name in seconds]
        dense = [name for name in DENSE if name in seconds]
        chosen += [min(dense, key=seconds.get)] if dense else []
        label = f"{result['sparsity']:.0%} zeros, {result['rows']} rows"
        groups[label] = {name: 1e-6 / seconds[name] for name in chosen}
    bars(path, "A pruned 1024 x 1024 layer", groups, "layers a microsecond")


def main(argv: list[str] | None = None) -> dict:
    options = parser(__doc__, rounds=30)
    options.add_argument("--size", type=int, default=1024)
    options.add_argument("--rows", default="1,64")
    options.add_argument("--no-model", action="store_true", help="layers only")
    options = options.parse_args(argv)
    how, missing, about = measure_of(options), {}, machine()
    missing["DeepSparse"] = "no longer developed; no wheel for this Python"
    layers = [
        layer(options.size, sparsity, rows, how, missing)
        for sparsity in SPARSITIES
        for rows in map(int, options.rows.split(","))
    ]
    network = None if options.no_model else model(how, missing)
    found = {"machine": about, "layers": layers, "network": network, "missing": missing}
    if options.chart:
        chart(options.chart, layers)
    return finish(found, report(layers, network), goals(layers, network), options)


if __name__ == "__main__":
    main()
