"""Every instruction set on emulated CPUs, with its real machine code, against plain C.

What is not installed is skipped, unless FARTHING_ISA=full (``make test-isa``), which also runs
more cases, more programs and every CPU.
"""

import os
import platform
import re
import sys
from pathlib import Path

import pytest
from isa import emulators
from isa.emulators import FAULT, MACHINES, ROOT, Missing

import farthing

FULL = os.environ.get("FARTHING_ISA") == "full"
# Program: every how many cases, on an emulator.
PROGRAMS = {
    "qemu": {"order": 1, "dispatch": 1, "kernels": 1, "guard": 1, "encode": 1, "gemm_f32": 1}
    | {"scale": 1, "run": 1},
    "bochs": {"order": 1, "dispatch": 1, "kernels": 97, "guard": 47, "encode": 47, "gemm_f32": 47}
    | {"scale": 7},
}
SHORT_PROGRAMS = {
    "qemu": {"order": 1, "kernels": 53, "guard": 29, "encode": 29, "gemm_f32": 29, "scale": 7},
    "bochs": {"order": 1, "kernels": 997, "guard": 997},
}
SHORT_CPUS = {"max", "cortex-a72", "Nehalem", "corei7_skylake_x", "sapphire_rapids", "arrow_lake"}


def chosen_runs():
    for machine in MACHINES:
        if FULL or machine.cpu in SHORT_CPUS:
            kind = machine.emulator.partition("-")[0]
            for name, every in (PROGRAMS if FULL else SHORT_PROGRAMS)[kind].items():
                yield pytest.param(machine, name, every, id=f"{machine}-{name}")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return emulators.Workshop(tmp_path_factory.mktemp("isa"))


def attempt(action, *arguments):
    """Its result; a skip where something is missing."""
    try:
        return action(*arguments)
    except Missing as missing:
        if FULL:
            raise
        pytest.skip(str(missing))


@pytest.mark.parametrize(("machine", "name", "every"), list(chosen_runs()))
def test_a_program(workshop, machine, name, every, capsys):
    def run():
        program = workshop.programs(machine.target).test(name)
        # What needs no cases takes no argument.
        return workshop.run(machine, program, *([every] if every > 1 else []))

    result = attempt(run)
    assert result.returncode == 0, result.stdout + result.stderr
    cases, passed, failed = emulators.read_cases(result.stdout)
    assert failed == 0
    assert passed > 0
    if name not in {"order", "run"}:
        assert tuple(cases) == machine.isas
        assert all(cases.values())
    if FULL:
        counts = ", ".join(f"{isa} {n}" for isa, n in cases.items())
        with capsys.disabled():
            print(f"\n{machine} {name}: {passed} checks{', cases: ' * bool(counts)}{counts}")


def test_every_instruction_set_has_a_machine():
    table = (ROOT / "csrc" / "dispatch.c").read_text()
    compiled = set(re.findall(r"&ft_isa_(\w+),", table))
    assert compiled == {isa for machine in MACHINES for isa in machine.isas}


FAULTS = {
    "invalid instruction": """
        __asm__ volatile("vpdpbusd %%zmm0, %%zmm0, %%zmm0" ::: "xmm0");
        return 0;""",
    "page fault": """
        char *area = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(area + 4096, 4096, PROT_NONE);
        area[4095] = 1;
        return *(volatile char *)(area + 4096);""",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_emulated_cpu_faults_as_hardware_does(workshop, fault, tmp_path):
    source, program = tmp_path / "fault.c", tmp_path / "fault"
    source.write_text(f"#include <sys/mman.h>\nint main(void) {{{FAULTS[fault]}\n}}\n")
    flags = ["-D_DEFAULT_SOURCE", "-static", "-no-pie", "-o", program]
    attempt(emulators.compile_c, "x86_64", source, *flags)
    lacking, having = (
        next(machine for machine in MACHINES if machine.cpu == cpu)
        for cpu in ("corei7_haswell_4770", "tigerlake")
    )
    result = attempt(workshop.run, lacking, program)
    assert result.returncode == FAULT
    assert fault in result.stderr
    assert workshop.run(having, program).returncode == (FAULT if fault == "page fault" else 0)


def test_no_fused_multiply_add_on_arm(workshop):
    def disassemble():
        objects = workshop.programs("aarch64").library()
        return emulators.call(emulators.need("aarch64-linux-gnu-objdump"), "-d", *objects).stdout

    code = attempt(disassemble)
    assert re.search(r"\tsdot\t", code)
    assert re.search(r"\tfmul\t", code)
    assert not re.findall(r"\tfn?m(?:la|ls|add|sub)\t", code)


def test_the_python_suite_without_avx2():
    def python(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [emulators.need("qemu-x86_64"), "-cpu", "Nehalem", sys.executable, *arguments]
        return emulators.call(*command, env=environment, cwd=ROOT)

    if platform.machine() != "x86_64":
        pytest.skip("this Python is not for x86-64")
    found = attempt(python, "-c", "import farthing; print(*farthing.isas())")
    assert found.stdout.split() == ["scalar"], found.stderr
    if FULL:
        suite = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_kernels.py")
        assert suite.returncode == 0, suite.stdout[-2000:]


# What Linux calls the features that an instruction set needs.
LINUX_FLAGS = {
    "avx2": {"avx2", "popcnt"},
    "avx_vnni": {"avx2", "avx_vnni"},
    "avx512_vnni": {"avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"},
    "neon": {"asimd"},
    "neon_dotprod": {"asimd", "asimddp"},
    "scalar": set(),
}


def test_this_cpu_has_what_linux_says():
    info = Path("/proc/cpuinfo")
    if not info.exists():
        pytest.skip("no /proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", info.read_text(), re.M)
    if not flags:
        pytest.skip("/proc/cpuinfo lists no features")
    present = set(flags[1].split())
    assert set(farthing.isas()) == {isa for isa, needs in LINUX_FLAGS.items() if needs <= present}
