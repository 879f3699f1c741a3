"""The library of native kernels: where it is, which of its paths is taken, what its calls take.

It is an optional part of the installation, loaded by ctypes, which lets go of the interpreter's
lock during every call. EVOMERGE_KERNELS chooses a path: `off`, `baseline`, `avx2` or `avx512`;
otherwise it is the widest this processor runs. All paths give the same bits, those of torch.
"""

import ctypes
import os
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.errors import EvoMergeException

SWITCH = "EVOMERGE_KERNELS"
PATHS = ("avx512", "avx2", "baseline")
"""Widest first."""

VERSION = 5
"""Of the interface: a library built from other sources is as good as none."""

REBUILD = "python setup.py build_ext --inplace, or install again where a C++ compiler is on PATH"


class Values(ctypes.Structure):
    """A run of elements, and their dtype as a number; no data where there are none."""

    _fields_ = (("data", c_void_p), ("dtype", c_int32))


DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


def as_value(tensor: Tensor | None) -> Values:
    """Return where a tensor's elements are; nothing for None."""
    return Values() if tensor is None else Values(tensor.data_ptr(), DTYPES[tensor.dtype])


def as_words(key: bytes) -> Any:
    """Return a Philox key as two words."""
    return (c_uint64 * 2)(*np.frombuffer(key, "<u8").tolist())


class Cut(ctypes.Structure):
    """The magnitudes a cut keeps: from `upto` on as far as last_equal, from `beyond` on later."""

    _fields_ = (("upto", c_float), ("beyond", c_float), ("last_equal", c_int64))


class Thinning(ctypes.Structure):
    """What is left of one task vector, and its weight."""

    _fields_ = (
        ("floor", Cut),
        ("ceiling", Cut),
        ("key", c_uint64 * 2),
        ("limit", c_uint64),
        ("kept", c_void_p),
        ("first", c_int64),
        ("factor", c_float),
        ("weight", c_float),
    )


class Blend(ctypes.Structure):
    """One call of `blend`."""

    _fields_ = (
        ("operands", POINTER(Values)),
        ("factors", POINTER(c_float)),
        ("out", Values),
        ("length", c_int64),
        ("count", c_int32),
        ("deltas", c_int32),
        ("divisor", c_float),
        ("scale", c_float),
    )


class Election(ctypes.Structure):
    """One call of `elect`."""

    _fields_ = (
        ("models", POINTER(Values)),
        ("thinnings", POINTER(Thinning)),
        ("base", Values),
        ("out", Values),
        ("start", c_int64),
        ("length", c_int64),
        ("count", c_int32),
        ("consensus", c_int32),
        ("normalize", c_int32),
        ("divisor", c_float),
        ("scale", c_float),
    )


_VALUES, _SUMS = POINTER(Values), POINTER(c_double)
_CALLS: dict[str, tuple[list[Any], Any]] = {
    "blend": ([POINTER(Blend)], c_int32),
    "elect": ([POINTER(Election)], c_int32),
    "draw": ([POINTER(c_uint64), c_int64, c_int64, c_void_p], None),
    "draw_bits": ([POINTER(c_uint64), c_uint32, c_int64, c_int64, c_void_p], None),
    "mask_by_rank": (
        [_VALUES, _VALUES, *[c_int64] * 3, c_void_p, POINTER(c_uint64), c_void_p],
        None,
    ),
    "add_products": ([_VALUES, c_int32, _VALUES, c_int64, _SUMS], None),
    "add_norms": ([POINTER(Thinning), _VALUES, _VALUES, c_int64, c_int64, _SUMS], None),
    "thin_by_rank": (
        [c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p, POINTER(c_uint64)],
        None,
    ),
    "count_upper": ([_VALUES, _VALUES, c_int64, c_void_p], None),
    "collect_between": (
        [_VALUES, _VALUES, c_int64, *[c_uint32] * 3, c_void_p, *[POINTER(c_int64)] * 2],
        c_int64,
    ),
    "count_between": ([_VALUES, _VALUES, c_int64, c_uint32, c_uint32, c_void_p], c_int64),
    "write_magnitudes": ([_VALUES, _VALUES, c_int64, c_void_p], None),
    "find_equal": ([_VALUES, _VALUES, c_int64, c_uint32, POINTER(c_int64)], c_int64),
}


class Kernels:
    """The functions of one path, as attributes of the names in interface.hpp's headers."""

    def __init__(self, library: ctypes.CDLL, path: str) -> None:
        self.path = path
        for name, (arguments, result) in _CALLS.items():
            function = library[f"{path}_{name}"]
            function.argtypes, function.restype = arguments, result
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the native library has no function {name}")


def current() -> Kernels | None:
    """Return the kernels in use; None where torch computes.

    Raises:
        EvoMergeException: EVOMERGE_KERNELS asks for what cannot be had.
    """
    return _load(os.environ.get(SWITCH, ""))


def describe() -> str:
    """Say which path is in use and why, in one line."""
    wanted = os.environ.get(SWITCH, "")
    kernels = _load(wanted)
    if wanted:
        return f"{kernels.path if kernels else 'torch'} ({SWITCH}={wanted})"
    if kernels:
        return f"{kernels.path} (the widest this processor runs)"
    return f"torch (the native kernels are not built, or from other sources: {REBUILD})"


def available() -> tuple[str, ...]:
    """Paths that are built and that this processor runs, widest first; empty without a library."""
    library = _open()
    return () if library is None else tuple(p for p in PATHS if library[f"runs_{p}"]())


@cache
def _load(wanted: str) -> Kernels | None:
    if wanted == "off":
        return None
    if wanted and wanted not in PATHS:
        known = ", ".join(("off", *reversed(PATHS)))
        raise EvoMergeException(f"{SWITCH} is {wanted!r}, which is no path", f"One of: {known}")
    paths = available()
    if wanted and wanted not in paths:
        why = "this processor does not run them" if paths else "they are not built"
        raise EvoMergeException(
            f"{SWITCH} asks for the {wanted} kernels, but {why}", f"Unset {SWITCH}"
        )
    library = _open()
    return Kernels(library, wanted or paths[0]) if library and paths else None


@cache
def _open() -> ctypes.CDLL | None:
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"native_kernels{suffix}")
        if path.exists() and _version(library := ctypes.CDLL(str(path))) == VERSION:
            return library
    return None


def _version(library: ctypes.CDLL) -> int:
    return int(library.interface_version()) if hasattr(library, "interface_version") else 0
