"""The doc_keys of documents that the exchange knows by their places: workers read the prefixes of all files once, without the inventory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import identity
from pipelines.inventory_prefixes import file_prefixes
from pipelines.partitioning import ROW_BITS
from pipelines.rows import Ints
from pipelines.worker import Worker

ROW_MASK = (1 << ROW_BITS) - 1


def doc_keys(worker: Worker, places: Ints) -> pa.FixedSizeBinaryArray:
    """Keys of documents of this run."""
    ordinals, position = np.unique(places >> ROW_BITS, return_inverse=True)
    prefixes = file_prefixes(worker.store, worker.place.inventory_path)[ordinals]
    return identity.doc_keys([prefix.tobytes() for prefix in prefixes], position, places & ROW_MASK)


def doc_words(worker: Worker, places: Ints) -> list[npt.NDArray[np.uint64]]:
    """Keys of documents as two numbers that sort as the keys do."""
    keys = doc_keys(worker, places)
    halves = np.frombuffer(keys.buffers()[1], ">u8", len(keys) * 2).reshape(-1, 2).astype(np.uint64)
    return [halves[:, 0].copy(), halves[:, 1].copy()]
