"""Builds the one extension, farthing._core, and beside it the C library for embedding.

Everything else is in pyproject.toml.  FARTHING_DEBUG=1 builds with debug information, without
optimization.
"""

import os
import shutil
import sysconfig
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
PACKAGE = Path("src/farthing")
C_SOURCES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*.c"))
HEADERS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("csrc/**/*.h", "src/farthing/*.h", "src/farthing/*.pxi")
    for path in ROOT.glob(pattern)
)

LINUX = sysconfig.get_platform().startswith("linux")
DEBUG = bool(os.environ.get("FARTHING_DEBUG"))
# The scores are to be the same bits everywhere: no fused multiply-add behind our back.
COMPILE_ARGS = ["-std=c11", "-ffp-contract=off", "-fvisibility=hidden"]
# Unwind tables are 6 % of the wheel, and nothing throws.
COMPILE_ARGS += ["-O0", "-g"] if DEBUG else ["-g0", "-fno-asynchronous-unwind-tables"]
CORE_ARGS = COMPILE_ARGS if DEBUG else [*COMPILE_ARGS, "-O2"]
# Cython's code, half of the extension, runs once a call, what opens a file once a model.
BINDING_ARGS = COMPILE_ARGS if DEBUG else [*COMPILE_ARGS, "-Os"]
FAST = {"activation", "avx2", "avx512_vnni", "avx_vnni", "blocks", "convert", "gemm", "link"}
FAST |= {"lists", "model", "neon", "neon_dotprod", "periodic", "prune", "quantize", "coding"}
FAST |= {"run", "scalar", "table", "workspace"}
LINK_ARGS = ["-Wl,-s"] if LINUX and not DEBUG else []

MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("CYTHON_USE_TYPE_SPECS", "1")]
# A free-threaded interpreter has no stable ABI.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")
if ABI3:
    MACROS.append(("Py_LIMITED_API", "0x030B0000"))


class BuildCore(build_ext):
    """Compiles the C core by itself: for the extension, and for lib/libfarthing.a, which it
    leaves in the package with include/farthing.h."""

    def build_extension(self, ext):
        objects = []
        for fast, arguments in ((True, CORE_ARGS), (False, BINDING_ARGS)):
            objects += self.compiler.compile(
                [source for source in C_SOURCES if (Path(source).stem in FAST) == fast],
                output_dir=self.build_temp,
                extra_postargs=arguments,
                depends=HEADERS,
            )
        ext.extra_objects = objects
        super().build_extension(ext)
        target = Path(self.get_ext_fullpath(ext.name)).parent
        if LINUX and not DEBUG:  # one object without local symbols: a third smaller
            whole = str(Path(self.build_temp) / "farthing.o")
            self.spawn(["ld", "-r", "-x", "-o", whole, *objects])
            objects = [whole]
        # An archive that is there would keep its old members.
        (target / "lib/libfarthing.a").unlink(missing_ok=True)
        self.compiler.create_static_lib(objects, "farthing", output_dir=str(target / "lib"))
        (target / "include").mkdir(exist_ok=True)
        shutil.copy(ROOT / "csrc/farthing.h", target / "include")

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        built = ROOT / self.build_lib / "farthing"
        for folder in ("lib", "include"):
            shutil.copytree(built / folder, ROOT / PACKAGE / folder, dirs_exist_ok=True)


core = Extension(
    "farthing._core",
    [str(PACKAGE / "_core.pyx")],
    include_dirs=["csrc", str(PACKAGE), numpy.get_include()],
    depends=[*C_SOURCES, *HEADERS],
    libraries=["m"] if os.name == "posix" else [],
    define_macros=MACROS,
    extra_compile_args=BINDING_ARGS,
    extra_link_args=LINK_ARGS,
    py_limited_api=ABI3,
)

setup(
    ext_modules=cythonize([core], build_dir="build/cython"),
    cmdclass={"build_ext": BuildCore},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
