"""Arrays that are made once a node and then read by every worker: tables of characters, models laid out for the processor."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from operators.kernels.jit import MAX_WAIT, POLL, cache_folder, source_digest
from operators.kernels.unused import remove_unused

Arrays = Mapping[str, Any]
LINE_BYTES = 64
NAMES = "names_of_all"
"""An array of the names of the others: a damaged directory may leave one out."""


def kept(name: str, module: str, source: bytes, make: Callable[[], Arrays]) -> Arrays:
    """Read-only arrays by name, from this node's cache, or made and put there. They begin where a line of the processor's cache does.

    They are found again only if the code that makes them (the module's file and what it leads to) and what they are made from is the same.
    What lies there half written, or was damaged, is made again. One process makes them while the others wait, for at most `MAX_WAIT`;
    nothing but work hangs on that.
    """
    digest = sha256(source + source_digest(module).encode()).hexdigest()[:20]
    path = cache_folder() / f"{name}-{digest}.npz"
    arrays = _read(path)
    if arrays is None:
        with _alone(path.with_suffix(".lock")):
            arrays = _read(path)
            if arrays is None:
                arrays = dict(make())
                _write(path, arrays)
    return {name: _placed(array) for name, array in arrays.items()}


def _write(path: Path, arrays: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, **arrays, **{NAMES: np.array(sorted(arrays))})
    temporary.replace(path)
    remove_unused(path.parent)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which ends with the process, or stop waiting for it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(round(MAX_WAIT / POLL)):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(POLL)
        yield
    finally:
        os.close(lock)


def _placed(array: Any) -> Any:
    """The array, read only, on a line of the processor's cache: rows of that size would else lie on two."""
    room = np.empty(array.nbytes + LINE_BYTES, np.uint8)
    begin = -room.ctypes.data % LINE_BYTES
    found = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    found.flags.writeable = False
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as file:
            names = _array(file, NAMES).tolist()
            return {name: _array(file, name) for name in names}
    except Exception:  # noqa: BLE001  damage shows in many ways, and each has the same remedy
        return None


def _array(file: zipfile.ZipFile, name: str) -> Any:
    """An array; it is read whole, so that its checksum is compared: a damaged header may say less than there is."""
    data = io.BytesIO(file.read(f"{name}.npy"))
    np.lib.format.read_magic(data)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(data)
    return np.ndarray(shape, dtype, data.getbuffer(), data.tell(), order="F" if is_fortran else "C")
