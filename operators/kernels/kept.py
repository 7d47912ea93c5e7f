"""Arrays that are made once a node and then read by every worker: tables of characters, models laid out for the processor."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from operators.kernels.jit import cache_folder, source_digest

Arrays = Mapping[str, Any]


def kept(name: str, module: str, source: bytes, make: Callable[[], Arrays]) -> Arrays:
    """Read-only arrays by name, from this node's cache, or made and put there.

    They are found again only if the code that makes them (the module's file and what it leads to) and what they are made from is the same.
    What lies there half written, or was damaged, is made again.
    """
    digest = sha256(source + source_digest(module).encode()).hexdigest()[:20]
    path = cache_folder() / f"{name}-{digest}.npz"
    arrays = _read(path)
    if arrays is None:
        arrays = dict(make())
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(path)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
