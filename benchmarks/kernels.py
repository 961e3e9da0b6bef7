"""Exact integer matrix products against the peers', and against the limit of the core.

    python benchmarks/kernels.py [--rows 1,8,64,512] [--sizes 64,256,1024] [--chart FILE]

M rows by K inputs by N = K outputs, one thread. All competitors take turns in random order; a
figure is the median of the rounds. Before anything is timed every answer is compared with the
product in 64 bits: ours must equal it, and it is said which peers that claim to be exact do not.
GMAC/s: 1e9 multiply-adds a second. The limit of a product is the time of its multiply-adds in the
registers, or that of reading its packed weights once, whichever is longer, both measured in the
same turns (limits.c).
"""

from __future__ import annotations

from functools import partial

import _alone  # noqa: F401
import _peers
import numpy as np
from _limits import Limits, loop_of, whole
from _measure import (
    Goal,
    bars,
    build,
    finish,
    isas,
    loop,
    machine,
    measure_of,
    parser,
    ratio,
    seconds_a_call,
    table,
)

import farthing
from farthing import kernels

# Ours by what they are called: weight_max, largest x, group size of 4 bits.
EIGHT = {f"int8, weight_max {most}": (most, 127) for most in (127, 80, 64, 48)}
EIGHT |= {f"int8, weight_max {most}, 8-bit x": (most, 255) for most in (127, 64)}
FOUR = {"int4, row": None, "int4, group 32": 32, "int4, group 64": 64}
# Peers that give the integers of the product; they must not be far off even where they saturate.
EXACT = ("onnxruntime U8S8", "onnxruntime U8U8", "numkong int8", "torch int8")


def gaussian(rng: np.random.Generator, n: int, k: int, most: int) -> np.ndarray:
    """Weights as training leaves them, scaled by row to the largest."""
    w = rng.normal(size=(n, k))
    return np.rint(w * (most / np.abs(w).max(axis=1, keepdims=True))).astype(np.int8)


def exact(x: np.ndarray, w: np.ndarray, group: int | None = None, scales=None) -> np.ndarray:
    """The product in 64 bits (in float64, which holds every sum here exactly)."""
    w = w.astype(np.float64)
    if group:
        w = w * np.repeat(scales, group, axis=1)[:, : w.shape[1]]
    return (x.astype(np.float64) @ w.T).astype(np.int64)


def pack_for(isa: str, *weights) -> kernels.Packed:
    farthing.set_isa(isa)
    try:
        return kernels.pack(*weights)
    finally:
        farthing.set_isa(None)


def ours(rng: np.random.Generator, m: int, k: int) -> tuple[dict, dict]:
    """Turns of every kind and instruction set, checked, and what each is."""
    turns, about = {}, {}
    x = {most: rng.integers(0, most + 1, (m, k), dtype=np.uint8) for most in (127, 255)}
    kinds = {name: (8, most, None, amax) for name, (most, amax) in EIGHT.items()}
    kinds |= {name: (4, 7, group, 127) for name, group in FOUR.items()}
    for name, (bits, most, group, amax) in kinds.items():
        w = gaussian(rng, k, k, most)
        scales = None
        if group:
            scales = rng.integers(1, 64, (k, -(-k // group)), dtype=np.uint8)
        expected = exact(x[amax], w, group, scales)
        for isa in isas():
            packed = pack_for(isa, w, bits, group, scales)
            out = np.empty((m, k), np.int32)
            kernels.matmul(x[amax], packed, out)
            assert np.array_equal(out, expected), (name, isa)
            full = f"farthing {isa}, {name}"
            turns[full] = loop(partial(kernels.matmul, x[amax], packed, out))
            about[full] = {
                "isa": isa,
                "bits": bits,
                "depth": packed.depth[amax == 255],
                "nbytes": packed.nbytes,
            }
    return turns, about


def theirs(rng, m: int, k: int, missing: dict) -> tuple[dict, dict]:
    """Turns of the peers, checked, and for each a note on its answers."""
    turns, notes = {}, {}
    narrow = rng.integers(0, 128, (m, k), dtype=np.uint8)
    full = rng.integers(0, 256, (m, k), dtype=np.uint8)
    w = gaussian(rng, k, k, 127)
    for name, make in (_peers.EIGHT_BITS | _peers.FOUR_BITS | _peers.FLOATS).items():
        x = full if name.startswith("onnxruntime U8") else narrow
        made = build({name: lambda make=make, x=x: make(x, w)}, missing)
        if name not in made:
            continue
        made[name].call()
        expected, found = exact(x, w), made[name].result()
        if name in EXACT:
            wrong = int((found != expected).sum())
            notes[name] = f"{wrong:,} of {found.size:,} wrong" if wrong else "exact"
        else:
            error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2.0))
            assert error < (0.2 if name in _peers.FOUR_BITS else 0.02), (name, error)
            notes[name] = f"error {error:.2g}"
        turns[name] = _peers.product_turn(made[name])
    return turns, notes


def shape(m: int, k: int, how, limits: Limits, missing: dict) -> dict:
    """Everything about one shape."""
    rng = np.random.default_rng((how.seed, m, k))
    mine, about = ours(rng, m, k)
    others, notes = theirs(rng, m, k, missing)
    sizes = sorted({whole(entry["nbytes"]) for entry in about.values()})
    seconds = seconds_a_call({**mine, **others, **limits.turns(), **limits.reading(sizes)}, how)
    loops, reads = limits.rates(seconds)
    work, bounds = m * k * k, {}
    for name, entry in about.items():
        by = loop_of(entry["isa"], entry["bits"], entry["depth"], m)
        if by in loops:
            size = whole(entry["nbytes"])
            bounds[name] = max(work / loops[by], size / reads[size])
    return {
        "m": m,
        "k": k,
        "seconds": {name: seconds[name] for name in (*mine, *others)},
        "limit": bounds,
        "about": about,
        "notes": notes,
        "loops": {name: rate / 1e9 for name, rate in loops.items()},
    }


def matching(names, *parts: str) -> list[str]:
    """Our names on the best instruction set that contain one of the parts, to the end."""
    return [name for name in names if any(name == f"farthing {isas()[0]}, {p}" for p in parts)]


def goals(results: list[dict]) -> list[Goal]:
    """The rows on products of "The goals": each the worst of its shapes."""
    by = {(r["m"], r["k"]): r["seconds"] for r in results}
    limits = {(r["m"], r["k"]): r["limit"] for r in results}
    large = [shape for shape in by if shape[0] >= 64 and shape[1] >= 256]
    row = [f"int8, weight_max {most}" for most in (127, 80, 64, 48)]
    lite4 = ["LiteRT int4", "LiteRT int4 dynamic"]
    eight = list(_peers.EIGHT_BITS)
    wanted = [
        ("int8 depth 4 (weight_max 48), M >= 64, K >= 256, vs ORT U8S8", large,
         row[3:], ["onnxruntime U8S8"], 1.35),
        ("u8 x s8 (weight_max 127), M >= 64, K >= 256, vs ORT U8U8", large,
         ["int8, weight_max 127, 8-bit x"], ["onnxruntime U8U8"], 1.05),
        ("u8 x weight_max 64, M >= 64, K >= 256, vs ORT U8U8", large,
         ["int8, weight_max 64, 8-bit x"], ["onnxruntime U8U8"], 1.3),
        ("int8 M = 8, K = 256, vs best int8 peer", [(8, 256)], row, eight, 2.2),
        ("int8 M = 8, K = 1024, vs best int8 peer", [(8, 1024)], row, eight, 1.45),
        ("int8 M = 1, K = 256, vs best int8 peer", [(1, 256)], row, eight, 2.5),
        ("int8 M = 1, K = 1024, vs best int8 peer", [(1, 1024)], row, eight, 1.5),
        ("int4 M >= 64, K >= 256, vs LiteRT", large, list(FOUR), lite4, 2.2),
        ("int4 M >= 64, K >= 256, vs ORT MatMulNBits", large, list(FOUR),
         ["onnxruntime MatMulNBits"], 2.9),
        ("int4 M = 1, K = 1024, vs LiteRT", [(1, 1024)], list(FOUR), lite4, 1.9),
        ("int4 M = 1, K = 1024, vs ORT MatMulNBits", [(1, 1024)], list(FOUR),
         ["onnxruntime MatMulNBits"], 4),
    ]  # fmt: skip
    found = []
    for text, shapes, mine, peers, goal in wanted:
        shapes = [s for s in shapes if s in by]
        if shapes:
            names = matching(by[shapes[0]], *mine)
            worst, at = worst_of({s: ratio(by[s], names, peers) for s in shapes})
            ceiling = ratio(by[at] | limits[at], names, peers) if limits[at] else None
            if len(shapes) > 1 and worst is not None:
                text += f" (least: {at[0]} x {at[1]} x {at[1]})"
            found.append(Goal(text, worst, goal, ceiling=ceiling))
    return found


def worst_of(ratios: dict) -> tuple[float | None, tuple[int, int]]:
    """The least ratio and its shape; None and the first shape where a peer is missing."""
    if None in ratios.values():
        return None, next(iter(ratios))
    at = min(ratios, key=ratios.get)
    return ratios[at], at


def report(results: list[dict]) -> str:
    parts = []
    if results and results[0]["loops"]:
        rows = [[name, f"{rate:.0f}"] for name, rate in results[0]["loops"].items()]
        parts.append(table(["limit of the core", "GMAC/s"], rows))
    for result in results:
        m, k, seconds = result["m"], result["k"], result["seconds"]
        peers = {
            4: [n for n in seconds if n in _peers.FOUR_BITS],
            8: [n for n in seconds if n in _peers.EIGHT_BITS],
        }
        rows = []
        for name, taken in seconds.items():
            about = result["about"].get(name)
            cells = [name, f"{taken * 1e6:.2f}", f"{m * k * k / taken / 1e9:.1f}"]
            if about:
                against = ratio(seconds, [name], peers[about["bits"]])
                limit = result["limit"].get(name)
                cells += ["" if against is None else f"{against:.2f}x"]
                cells += ["" if limit is None else f"{limit / taken:.0%}"]
                deep = about["isa"] == "avx2" and about["bits"] == 8
                cells += [f"exact, depth {about['depth']}" if deep else "exact"]
            else:
                cells += ["", "", result["notes"][name]]
            rows.append(cells)
        head = [f"{m} x {k} x {k}", "us", "GMAC/s", "best peer", "of limit", "answers"]
        parts.append(table(head, rows))
    return "\n\n".join(parts)


def chart(path: str, results: list[dict]) -> None:
    groups = {}
    for result in results:
        m, k, seconds = result["m"], result["k"], result["seconds"]
        mine = [
            f"farthing {isas()[0]}, {name}" for name in ("int8, weight_max 64", "int4, group 32")
        ]
        chosen = [name for name in seconds if name in mine or name not in result["about"]]
        rates = {name: m * k * k / seconds[name] / 1e9 for name in chosen}
        rates = dict(sorted(rates.items(), key=lambda item: -item[1])[:8])
        groups[f"{m} x {k} x {k}"] = rates
    bars(path, "Matrix products, one thread", groups, "GMAC/s")


def main(argv: list[str] | None = None) -> dict:
    options = parser(__doc__, rounds=30)
    options.add_argument("--rows", default="1,8,64,512")
    options.add_argument("--sizes", default="64,256,1024")
    options = options.parse_args(argv)
    about, limits, missing, results = machine(), Limits(), {}, []
    if limits.missing:
        missing["limits"] = limits.missing
    for k in map(int, options.sizes.split(",")):
        for m in map(int, options.rows.split(",")):
            results.append(shape(m, k, measure_of(options), limits, missing))
    found = {"machine": about, "results": results, "missing": missing}
    if options.chart:
        chart(options.chart, results)
    return finish(found, report(results), goals(results), options)


if __name__ == "__main__":
    main()
