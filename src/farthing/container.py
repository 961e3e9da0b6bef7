"""Reads and writes the bytes of a .farthing file (docs/file-format.md)."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import re
import secrets
import stat
import struct
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from farthing import _core
from farthing._validate import FarthingError

__all__ = ["check_json", "dumps", "loads", "write_atomic"]

_DTYPES = {"U8": "u1", "I8": "i1", "I32": "<i4", "F32": "<f4"}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_PREFIX = '{"__metadata__":{"checksum":"'
_DIGITS = 8 + len(_PREFIX)  # offset of the checksum in the file
_STALE_SECONDS = 3600  # writing a model takes milliseconds


def dumps(tensors: Iterable[tuple[str, np.ndarray]]) -> bytes:
    """The bytes of a file with these named tensors in this order.

    Arrays are uint8, int8, int32 or float32 with one or two dimensions; any layout and byte
    order is stored C-contiguous and little-endian.  The result is checked by the reader:
    ValueError where a name or an array does not fit the format, TypeError for another dtype.

    >>> import numpy as np
    >>> data = dumps([("ops", np.zeros(32, np.uint8))])
    >>> loads(data)["ops"].shape
    (32,)
    """
    entries, blobs, offset = [], [], 0
    for name, tensor in tensors:
        if not re.fullmatch(r"[a-z0-9_.]{1,64}", name):
            raise FarthingError(f"a tensor's name must match [a-z0-9_.]{{1,64}}, got {name!r}")
        if np.ndim(tensor) not in (1, 2):
            raise FarthingError(f"{name} must have 1 or 2 dimensions, got {np.ndim(tensor)}")
        array = np.ascontiguousarray(tensor)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype not in _NAMES:
            raise TypeError(f"{name} must be uint8, int8, int32 or float32, got {array.dtype}")
        blob = array.tobytes()
        shape = ",".join(map(str, np.shape(tensor)))
        entries.append(
            f'"{name}":{{"dtype":"{_NAMES[array.dtype]}","shape":[{shape}],'
            f'"data_offsets":[{offset},{offset + len(blob)}]}}'
        )
        blobs.append(blob)
        offset += len(blob)
    metadata = f'{_PREFIX}{"0" * 16}","format":"farthing","version":"0"}}'
    header = ",".join([metadata, *entries]) + "}"
    encoded = header.encode()
    encoded += b" " * (-len(encoded) % 8)
    data = bytearray(struct.pack("<Q", len(encoded)) + encoded + b"".join(blobs))
    data[_DIGITS : _DIGITS + 16] = b"%016x" % _core.checksum(bytes(data), _DIGITS)
    finished = bytes(data)
    _core.container_parse(finished)  # the reader's word that it is a file
    return finished


def loads(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a file by name, in file order, read-only.

    FarthingError, with the reason, where `data` is not a valid .farthing file.
    """
    return {
        name: np.frombuffer(data[offset : offset + size], _DTYPES[dtype]).reshape(shape)
        for name, dtype, shape, offset, size in _core.container_parse(data)
    }


def check_json(**arguments: object) -> None:
    """FarthingError unless every named argument can be written as JSON and read back.

    Keys must be texts: JSON knows no others, and Python would turn 1 into "1".

    >>> check_json(metadata={"rows": 1000, "years": [2023, 2024]})
    >>> check_json(metadata={"limits": {1: 0.5}})
    Traceback (most recent call last):
    farthing._validate.FarthingError: metadata must have texts as keys, got 1
    """
    for name, value in arguments.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise FarthingError(f"{name} must be representable as JSON: {error}") from None
        level = [value]
        while level:
            mappings = [item for item in level if isinstance(item, dict)]
            for key in (key for mapping in mappings for key in mapping):
                if not isinstance(key, str):
                    raise FarthingError(f"{name} must have texts as keys, got {key!r}")
            inner = [list(mapping.values()) for mapping in mappings]
            inner += [item for item in level if isinstance(item, (list, tuple))]
            level = [value for values in inner for value in values]


def write_atomic(path: str | bytes | os.PathLike, data: bytes) -> None:
    """Writes `data` to `path`: the whole of it, or, on any failure, nothing.

    A temporary file in the same folder is written, flushed to the disk and renamed over
    `path`, or over the file that a link there leads to; temporaries that a crash left there
    are removed.  OSError where that fails, and where `path` is there but no regular file.
    """
    path = os.fsdecode(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        mode = _mode_to_keep(target)
        _remove_stale(target)
        with open(temporary, "xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, path) from None
        raise


def _mode_to_keep(target: Path) -> int | None:
    """Permissions of the file at `target`, None where there is none; else OSError."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "Not a regular file, so not replaced")
    return stat.S_IMODE(mode)


def _sync_folder(folder: Path) -> None:
    """Makes a rename in the folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(target: Path) -> None:
    """Removes temporaries for `target` so old that whoever wrote them is gone."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # removed by another, or not ours to remove
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                leftover.unlink()
