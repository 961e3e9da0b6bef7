"""Fixtures of the whole suite."""

import os
import platform

# The products are small: a second BLAS thread costs more than it gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import credit
import numpy as np
import pytest

import farthing

# Every test may force an instruction set; nothing outlives the test.
ISAS = farthing.isas()
COMPILED = {
    "x86_64": {"avx2", "avx_vnni", "avx512_vnni"},
    "aarch64": {"neon", "neon_dotprod"},
}


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set of this machine in turn, forced for what the test packs or loads."""
    farthing.set_isa(request.param)
    yield request.param
    farthing.set_isa(None)


@pytest.fixture(scope="session")
def teacher():
    """A LightGBM teacher of the synthetic credit data; never changed by a test."""
    return credit.teach(*credit.data())


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


def pytest_report_header():
    missing = sorted(COMPILED.get(platform.machine(), set()) - set(ISAS))
    return [
        f"farthing: instruction sets {', '.join(ISAS)}"
        + (f"; on emulated CPUs only: {', '.join(missing)}" if missing else ""),
        f"compiler: {os.environ.get('CC', 'cc')}",
    ]
