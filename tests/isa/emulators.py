"""Builds the C tests for other machines and runs them on emulated CPUs."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FLAGS = ["-std=c11", "-O2", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
FAULT = 128  # bochs.py's exit status after a fault


class Missing(Exception):
    """Something is not installed; the message says what."""


@dataclass(frozen=True)
class Machine:
    """A CPU model of an emulator, and the instruction sets that must be found there."""

    emulator: str
    cpu: str
    isas: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.emulator}-{self.cpu}"

    @property
    def target(self) -> str:
        return "aarch64" if self.emulator == "qemu-aarch64" else "x86_64"


MACHINES = [
    Machine("qemu-aarch64", "max", ("neon_dotprod", "neon", "scalar")),
    Machine("qemu-aarch64", "cortex-a76", ("neon_dotprod", "neon", "scalar")),
    Machine("qemu-aarch64", "cortex-a72", ("neon", "scalar")),
    Machine("qemu-x86_64", "Nehalem", ("scalar",)),
    Machine("bochs", "corei7_haswell_4770", ("avx2", "scalar")),
    Machine("bochs", "corei7_skylake_x", ("avx2", "scalar")),
    Machine("bochs", "corei7_icelake_u", ("avx512_vnni", "avx2", "scalar")),
    Machine("bochs", "tigerlake", ("avx512_vnni", "avx2", "scalar")),
    Machine("bochs", "sapphire_rapids", ("avx512_vnni", "avx_vnni", "avx2", "scalar")),
    Machine("bochs", "arrow_lake", ("avx_vnni", "avx2", "scalar")),
]


def call(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )


def need(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Missing(f"{program} is not installed")
    return path


def compile_c(target: str, *arguments) -> None:
    native = os.uname().machine == target
    compiler = need("cc" if native else f"{target}-linux-gnu-gcc")
    result = call(compiler, *FLAGS, *arguments)
    if "cannot find -lc" in result.stderr:
        raise Missing(f"there is no static C library for {target}")
    assert result.returncode == 0 and not result.stderr, result.stderr


class Programs:
    """Static programs for one target, built when they are asked for."""

    def __init__(self, target: str, folder: Path):
        self.target, self.folder = target, folder
        self.objects: list[Path] = []

    def library(self) -> list[Path]:
        if not self.objects:
            sources = sorted((ROOT / "csrc").rglob("*.c"))
            objects = [self.folder / f"{i}_{source.stem}.o" for i, source in enumerate(sources)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = [
                    pool.submit(compile_c, self.target, "-c", source, "-o", out)
                    for source, out in zip(sources, objects, strict=True)
                ]
            for job in jobs:
                job.result()
            archive = self.folder / "libfarthing.a"
            assert call("ar", "rcs", archive, *objects).returncode == 0
            self.objects = objects
        return self.objects

    def test(self, name: str) -> Path:
        """tests/csrc/test_<name>.c."""
        program = self.folder / name
        if not program.exists():
            self.library()
            tests = ROOT / "tests" / "csrc"
            self.link([tests / f"test_{name}.c"], [ROOT / "csrc", tests], program)
        return program

    def link(self, sources: list[Path], include: list[Path], program: Path) -> Path:
        archive = [self.folder / "libfarthing.a"] if self.objects else []
        compile_c(
            self.target, *(f"-I{folder}" for folder in include), *sources, *archive,
            "-static", "-no-pie", "-lm", "-lpthread", "-o", program,
        )  # fmt: skip
        return program


class Bochs:
    """The CPUs of the bochscpu wheel: see bochs.py."""

    def __init__(self, folder: Path):
        spec = importlib.util.find_spec("bochscpu")
        if spec is None or os.uname().machine != "x86_64":
            raise Missing("bochscpu-python is not installed")
        self.library = next(Path(spec.origin).parent.glob("_bochscpu*.so"))
        self.preload, self.boot = folder / "preload.so", folder / "boot.bin"
        shared = ["-shared", "-fPIC", "-fvisibility=default"]
        compile_c("x86_64", *shared, HERE / "preload.c", "-ldl", "-o", self.preload)
        compile_c("x86_64", "-c", HERE / "boot.S", "-o", folder / "boot.o")
        flat = ["-Ttext=0", "-e", "0", "--oformat=binary"]
        linked = call(need("ld"), *flat, folder / "boot.o", "-o", self.boot)
        assert linked.returncode == 0, linked.stderr
        probe = call(sys.executable, "-c", "import bochscpu", env=self.environment("tigerlake"))
        if probe.returncode:
            raise Missing(f"bochscpu does not load here: {probe.stderr.strip()[-200:]}")

    def environment(self, cpu: str) -> dict[str, str]:
        factory = f"create_{cpu}_cpuid"  # of C++, with a BX_CPU_C *
        return {
            **os.environ,
            "BOCHS_CPU": f"_Z{len(factory)}{factory}P8BX_CPU_C",
            "BOCHS_LIBRARY": str(self.library),
            "LD_PRELOAD": str(self.preload),
        }

    def run(self, cpu: str, program: Path, *arguments) -> subprocess.CompletedProcess:
        script = [sys.executable, HERE / "bochs.py", self.boot]
        return call(*script, program, *arguments, env=self.environment(cpu))


class Workshop:
    """Programs and emulators, each made once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.made: dict = {}

    def make(self, key: str, build, *arguments):
        if key not in self.made:
            try:
                folder = self.folder / key
                folder.mkdir()
                self.made[key] = build(*arguments, folder)
            except Missing as missing:
                self.made[key] = missing
        if isinstance(self.made[key], Missing):
            raise self.made[key]
        return self.made[key]

    def programs(self, target: str) -> Programs:
        return self.make(target, Programs, target)

    def run(self, machine: Machine, program: Path, *arguments) -> subprocess.CompletedProcess:
        if machine.emulator == "bochs":
            return self.make("bochs", Bochs).run(machine.cpu, program, *arguments)
        return call(need(machine.emulator), "-cpu", machine.cpu, program, *arguments)


def read_cases(output: str) -> tuple[dict[str, int], int, int]:
    """Cases of each instruction set, best first; checks passed and failed."""
    cases = {name: int(n) for name, n in re.findall(r"^(\w+): (\d+) cases$", output, re.M)}
    counts = re.search(r"^(\d+) passed, (\d+) failed\n\Z", output, re.M)
    assert counts, output
    return cases, int(counts[1]), int(counts[2])
