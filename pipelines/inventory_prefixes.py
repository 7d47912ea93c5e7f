"""The prefixes of all files of a saved inventory, kept between the tasks of a process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines import identity
from pipelines.errors import NotFound
from pipelines.inventory import Inventory, load_prefixes
from pipelines.storage import Store

_PREFIXES: dict[tuple[str, str], npt.NDArray[np.uint8]] = {}
"""The prefixes of one inventory, kept between the tasks of a process."""


def file_prefixes(store: Store, path: str) -> npt.NDArray[np.uint8]:
    """The prefixes of the doc_keys of all files of a saved inventory, one row a file; read once, without the inventory itself."""
    key = (store.uri, path)
    if key not in _PREFIXES:
        try:
            found = load_prefixes(store, path)
        except NotFound:  # saved by a version that wrote none
            found = np.frombuffer(Inventory.load(store, path).prefixes(), np.uint8).reshape(-1, identity.PREFIX_BYTES)
        _PREFIXES.clear()
        _PREFIXES[key] = found
    return _PREFIXES[key]
