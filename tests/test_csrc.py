"""The C sources by themselves: their own tests, also under sanitizers, and their object code."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import files
import pytest

import farthing
from farthing import _core

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "csrc").rglob("*.c"))
TESTS = sorted((ROOT / "tests" / "csrc").glob("test_*.c"))
CC = shlex.split(os.environ.get("CC", "cc"))
FLAGS = ["-std=c11", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
FLAVOURS = {
    "plain": ["-O2"],
    "sanitized": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}
FUSED = re.compile(r"\bv?f(?:n?m(?:add|sub)|mla|mls|nmla)\w*")


def run(*command, **options):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )


def compile_c(*arguments):
    result = run(*CC, *FLAGS, *arguments)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module", params=FLAVOURS)
def library(request, tmp_path_factory):
    """(flags, archive of all C sources)."""
    folder = tmp_path_factory.mktemp(request.param)
    flags = FLAVOURS[request.param]
    if request.param == "sanitized":
        (folder / "probe.c").write_text("int main(void) { return 0; }\n")
        probe = run(*CC, *flags, folder / "probe.c", "-o", folder / "probe")
        if probe.returncode or run(folder / "probe").returncode:
            pytest.skip("this compiler links no sanitizers here")
    objects = []
    for source in SOURCES:
        objects.append(folder / f"{source.relative_to(ROOT).as_posix().replace('/', '_')}.o")
        result = compile_c(*flags, "-c", source, "-o", objects[-1])
        assert not result.stderr, f"warnings: {result.stderr}"
    archive = folder / "libfarthing.a"
    assert run("ar", "rcs", archive, *objects).returncode == 0
    return flags, archive


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.stem)
def test_c(test, library, tmp_path):
    flags, archive = library
    program = tmp_path / test.stem
    include = [f"-I{ROOT / 'csrc'}", f"-I{test.parent}"]
    compile_c(*flags, *include, test, archive, "-lm", "-lpthread", "-o", program)
    # Sanitizers look at a seventh of the cases: a sum is right or wrong without them too.
    sampled = ["7"] if "isa_start" in test.read_text() and "-fsanitize" in " ".join(flags) else []
    result = run(program, *sampled, cwd=tmp_path, timeout=900)
    lines = result.stdout.splitlines()
    assert lines, f"exit {result.returncode}: {result.stderr}"
    counts = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1])
    assert counts, result.stdout + result.stderr
    passed, failed = map(int, counts.groups())
    assert (result.returncode, failed) == (0, 0), result.stdout + result.stderr
    assert passed > 0


def test_there_are_c_tests():
    assert TESTS


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_fused_multiply_add_even_where_the_cpu_has_one(source, tmp_path):
    fused = ["-march=haswell"] if "avx2" in farthing.isas() else []
    compile_c(*fused, "-O2", "-S", source, "-o", tmp_path / "out.s")
    assert not FUSED.findall((tmp_path / "out.s").read_text())


def test_the_pattern_finds_a_fused_multiply_add(tmp_path):
    if "avx2" not in farthing.isas():
        pytest.skip("-march=haswell belongs to x86")
    source = tmp_path / "fused.c"
    source.write_text("float f(float a, float b, float c) { return a * b + c; }\n")
    flags = ["-march=haswell", "-O2", "-ffp-contract=fast", "-S", source, "-o", tmp_path / "out.s"]
    assert run(*CC, *flags).returncode == 0
    assert FUSED.search((tmp_path / "out.s").read_text())


def test_no_fused_multiply_add_in_the_extension():
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed")
    code = run("objdump", "-d", "--no-show-raw-insn", _core.__file__).stdout
    assert "ret" in code
    assert not FUSED.findall(code)


def test_the_extension_runs_on_an_older_glibc():
    if not sys.platform.startswith("linux") or shutil.which("objdump") is None:
        pytest.skip("needs objdump and Linux")
    symbols = run("objdump", "-T", _core.__file__).stdout
    assert "PyInit__core" in symbols
    versions = {tuple(map(int, v)) for v in re.findall(r"GLIBC_(\d+)\.(\d+)", symbols)}
    assert all(version <= (2, 28) for version in versions), versions


def test_embedding_in_c(tmp_path):
    parts = files.logistic(features=2)
    (tmp_path / "model.farthing").write_bytes(parts.dumps())
    (tmp_path / "host.c").write_text(
        """
        #include <farthing.h>
        #include <stdio.h>
        int main(int argc, char **argv) {
            ft_model *model;
            float row[2] = {0.5f, -1.25f}, score;
            if (argc != 2 || ft_open(argv[1], &model) || ft_predict(model, row, 1, &score)) {
                fputs(ft_last_error(), stderr);
                return 1;
            }
            printf("%a\\n", score);
            ft_close(model);
            return 0;
        }
        """
    )
    flags = run(sys.executable, "-m", "farthing", "--cflags", "--libs").stdout.split()
    assert flags
    assert run(*CC, tmp_path / "host.c", *flags, "-o", tmp_path / "host").returncode == 0
    host = run(tmp_path / "host", tmp_path / "model.farthing")
    assert host.returncode == 0, host.stderr
    score = farthing.load(tmp_path / "model.farthing").predict([0.5, -1.25])
    assert float.fromhex(host.stdout) == score
    refused = run(tmp_path / "host", tmp_path / "no.farthing")
    assert refused.returncode == 1
    assert "no.farthing" in refused.stderr
