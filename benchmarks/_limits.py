"""What one core can do at most, measured in the same turns as what it bounds (limits.c)."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from threading import Thread

import numpy as np
from _measure import Measure, Turn, loop, seconds_a_call

SOURCE = Path(__file__).with_name("limits.c")
CHAIN = 20_000  # turns of a loop in a call
READ = 1 << 20  # bytes a call reads at least

# The loop that bounds a product, by instruction set and kind.
BOUND_BY = {
    ("avx2", "8 bits, depth 1"): "vpmaddubsw, depth 1",
    ("avx2", "8 bits, depth 2"): "vpmaddubsw, depth 2",
    ("avx2", "8 bits, depth 4"): "vpmaddubsw, depth 4",
    ("avx2", "8 bits, depth 0"): "vpmaddwd on 16 bits",
    ("avx2", "4 bits, one row"): "nibbles + vpmaddubsw",
    ("avx2", "4 bits"): "vpmaddubsw, depth 4",
    ("avx512_vnni", "8 bits"): "vpdpbusd, 512 bits",
    ("avx512_vnni", "4 bits"): "vpdpbusd, 512 bits",
    ("avx512_vnni", "4 bits, one row"): "nibbles + vpdpbusd, 512 bits",
}


class Limits:
    """The loops that this CPU has; none without a compiler or on another architecture."""

    def __init__(self) -> None:
        self.missing: str | None = None
        self._library = None
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            self.missing = "no C compiler"
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "limits.so"
            command = [*compiler.split(), "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                self.missing = f"{compiler} failed: {done.stderr.strip().splitlines()[0]}"
                return
            self._library = ctypes.CDLL(str(path))  # mapped; the file may go
        library = self._library
        library.limit_name.restype = ctypes.c_char_p
        library.limit_work.restype = ctypes.c_double
        library.limit_run.argtypes = [ctypes.c_int, ctypes.c_long]
        library.limit_read.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
        if not self.names:
            self.missing = "limits.c has no loops for this CPU"

    @cached_property
    def names(self) -> dict[str, int]:
        names = {}
        if self._library is not None:
            i = 0
            while (name := self._library.limit_name(i)) is not None:
                if name:
                    names[name.decode()] = i
                i += 1
        return names

    def turns(self) -> dict[str, Turn]:
        """A turn of every loop, to take part in a measurement."""

        def turn(i: int) -> Turn:
            run = self._library.limit_run
            return lambda count: run(i, count * CHAIN)

        return {f"limit: {name}": turn(i) for name, i in self.names.items()}

    def reading(self, sizes: list[int]) -> dict[str, Turn]:
        """A turn that reads each number of bytes over and over."""
        if not self.names:
            return {}
        buffer = np.ones(max(sizes) + 4096, np.uint8)

        def turn(size: int) -> Turn:
            size = whole(size)
            times, read, at = max(1, READ // size), self._library.limit_read, buffer.ctypes.data
            at += -at % 64
            return lambda count, _keep=buffer: read(at, size, count * times)

        return {f"read: {whole(size)}": turn(size) for size in sizes}

    def sharing(self) -> dict[str, Turn]:
        """Turns of the same work in one thread and in two: what a second core gives just now."""
        if not self.names:
            return {}
        which, each = next(iter(self.names.values())), 25 * CHAIN
        run = self._library.limit_run

        def two() -> None:
            other = Thread(target=run, args=(which, each))
            other.start()
            run(which, each)
            other.join()

        one = loop(lambda: run(which, 2 * each))
        return {"limit, 1 threads": one, "limit, 2 threads": loop(two)}

    def rates(self, seconds: dict[str, float]) -> tuple[dict[str, float], dict[int, float]]:
        """Multiply-adds a second of every loop; bytes a second by size, from measured turns."""
        macs, bytes_ = {}, {}
        for name, taken in seconds.items():
            if name.startswith("limit: "):
                which = name.removeprefix("limit: ")
                macs[which] = self._library.limit_work(self.names[which]) * CHAIN / taken
            elif name.startswith("read: "):
                size = int(name.removeprefix("read: "))
                bytes_[size] = max(1, READ // size) * size / taken
        return macs, bytes_

    def measure(self, how: Measure) -> tuple[dict[str, float], dict[int, float]]:
        turns = self.turns() | self.reading([16 << 10, 256 << 10, 4 << 20, 64 << 20])
        return self.rates(seconds_a_call(turns, how)) if turns else ({}, {})


def whole(size: int) -> int:
    """Bytes that the reading loop reads for `size`: a multiple of 256."""
    return max(256, size // 256 * 256)


def loop_of(isa: str, bits: int, depth: int, rows: int) -> str | None:
    """The name of the loop that bounds a product; None where limits.c has none."""
    if bits == 4:
        few = BOUND_BY.get((isa, "4 bits, one row"))
        return few if rows <= 2 else BOUND_BY.get((isa, "4 bits"))
    return BOUND_BY.get((isa, "8 bits")) or BOUND_BY.get((isa, f"8 bits, depth {depth}"))
