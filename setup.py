"""The native kernels: one optional extension, a plain C library that Python loads by ctypes.

Without a C++ compiler the package installs all the same and computes in torch.
"""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = "evomerge/tensor_ops/native"
PATHS = ("baseline", "avx2", "avx512")
HEADERS = (
    "blend", "elect", "exports", "interface", "magnitudes", "numbers", "pairs", "philox",
    "reduce", "row_ranks", "tally", "tiles",
)  # fmt: skip
UNIX = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # a product and a sum are rounded apart, as torch does it
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-unknown-pragmas",
]


class BuildLibrary(build_ext):
    """Builds a library that is no Python module: it has no PyInit function to export."""

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """Export what the sources say."""
        return list(ext.export_symbols)


setup(
    cmdclass={"build_ext": BuildLibrary},
    ext_modules=[
        Extension(
            "evomerge.tensor_ops.native_kernels",
            sources=[f"{FOLDER}/{path}.cpp" for path in PATHS],
            depends=[f"{FOLDER}/{header}.hpp" for header in HEADERS],
            language="c++",
            extra_compile_args=["/std:c++17", "/O2", "/fp:precise"] if os.name == "nt" else UNIX,
            optional=True,
        )
    ],
)
