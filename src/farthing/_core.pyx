# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The one binding to the C core: check, allocate, release the GIL, map status to exception."""

from cpython.buffer cimport PyBuffer_Release, PyObject_CheckBuffer
from cpython.object cimport PyObject
from libc.math cimport NAN, ldexp
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import json
import numbers
import operator
import reprlib
import time

from farthing._validate import FarthingError, check_integer

include "_csrc.pxi"

farthing_intern_names()

include "_buffers.pxi"
include "_scorer.pxi"
include "_rows.pxi"
include "_predict.pxi"
include "_kernels.pxi"
include "_quantize.pxi"


cdef int check(ft_status status) except -1:
    if status != FT_OK:
        raise_status(status, ft_last_error())
    return 0


cdef int raise_status(ft_status status, bytes message) except -1:
    """Maps a C status and its reason to an exception."""
    reason = message.decode("utf-8", "replace")
    if status == FT_ERR_MEMORY:
        raise MemoryError(reason)
    if status == FT_ERR_FORMAT or status == FT_ERR_VERSION:
        raise FarthingError(reason)
    raise ValueError(reason)


def version() -> str:
    """The version of the C core."""
    return ft_version().decode()


def isas() -> tuple:
    """Names of the instruction sets that this machine can run, best first, `scalar` last.

    >>> import farthing
    >>> farthing.isas()[-1]
    'scalar'
    """
    return tuple([ft_isa_name(i).decode() for i in range(ft_isa_count())])


def set_isa(name) -> None:
    """Forces an instruction set by name for whatever is packed or loaded from now on.

    name: one of `isas()`, or None for the best.  Models that are loaded keep theirs; the
    scores are the same bits on all of them.  ValueError for a name that cannot run here.

    >>> import farthing
    >>> farthing.set_isa("scalar")
    >>> farthing.set_isa(None)
    """
    if name is None:
        ft_isa_force(NULL)
        return
    if not isinstance(name, str):
        raise TypeError(f"name must be a str or None, got {name!r}")
    if name not in isas():
        raise ValueError(f"name must be None or one of {', '.join(isas())}, got {name!r}")
    encoded = (<str>name).encode()
    ft_isa_force(<const char *><bytes>encoded)


def current_isa() -> str:
    """The instruction set that a model loaded now would run on."""
    return ft_isa_current().name.decode()


def removed_isas() -> tuple:
    """Instruction sets that failed their known-answer test on this machine."""
    names = ft_isa_removed().decode()
    return tuple(names.split(",")) if names else ()


def checksum(bytes data not None, size_t digits) -> int:
    """64-bit FNV-1a of a file whose 16 checksum digits, at offset `digits`, count as '0'."""
    if len(data) < 16 or digits > <size_t>len(data) - 16:
        raise ValueError(f"digits must be at most {len(data) - 16}, got {digits}")
    return ft_checksum(<const uint8_t *><const char *>data, len(data), digits)


def container_parse(bytes data not None) -> list:
    """(name, dtype, shape, offset, size) of every tensor of a .farthing file, in file order.

    dtype is "U8", "I8", "I32" or "F32"; offset and size are bytes of `data`.
    FarthingError with the reason where `data` is not such a file.
    """
    cdef ft_container container
    cdef char reason[512]
    cdef uint32_t i
    cdef const uint8_t *start = <const uint8_t *><const char *>data
    cdef const ft_tensor *tensor
    cdef ft_status status = ft_container_parse(start, len(data), &container, reason, sizeof(reason))
    if status == FT_ERR_MEMORY:
        raise MemoryError("no memory to read the tensors of the file")
    if status != FT_OK:
        raise FarthingError((<const char *>reason).decode("utf-8", "replace"))
    try:
        tensors = []
        for i in range(container.count):
            tensor = &container.tensors[i]
            tensors.append((
                tensor.name.decode(),
                ("U8", "I8", "I32", "F32")[tensor.dtype],
                tuple([tensor.shape[j] for j in range(tensor.dims)]),
                tensor.data - start,
                tensor.size,
            ))
        return tensors
    finally:
        ft_container_free(&container)
