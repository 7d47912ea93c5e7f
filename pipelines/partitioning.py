"""Where a row of the exchange belongs: by its key, by its place in the inventory, or by the hash of a document that it names.

A place is a document's identity within a run: the ordinal of its file and its row, in one number. Places of documents of earlier runs
(`history`) are negative: they precede all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.rows import Ints

ROW_BITS: Final = 40


def places(batch: pa.RecordBatch) -> Ints:
    """The place of each row, from its columns `file` (an ordinal) and `row`."""
    file = np.asarray(batch.column("file").to_numpy(), np.int64)
    return (file << ROW_BITS) | np.asarray(batch.column("row").to_numpy(), np.int64)


@dataclass(frozen=True, slots=True)
class ByKey:
    """Partition by the leading bits of the key."""

    num_partitions: int

    def of(self, batch: pa.RecordBatch) -> Ints:
        """Partition of each row."""
        return _leading(batch.column("key_hi").to_numpy().astype(np.uint64), self.num_partitions)


@dataclass(frozen=True, slots=True)
class ByHash:
    """Partition by the hash of a place, so that neighbours are spread over all partitions."""

    column: str
    num_partitions: int

    def of(self, batch: pa.RecordBatch) -> Ints:
        """Partition of each row."""
        return _leading(mixed(batch.column(self.column).to_numpy()), self.num_partitions)


@dataclass(frozen=True, slots=True)
class ByPlace:
    """Partition by place: `starts[n]` is the first place of partition n. Without a column, the place is that of `file` and `row`."""

    starts: tuple[int, ...]
    column: str | None = None

    def of(self, batch: pa.RecordBatch) -> Ints:
        """Partition of each row."""
        found = places(batch) if self.column is None else batch.column(self.column).to_numpy()
        return np.searchsorted(np.array(self.starts, np.int64), found, side="right").astype(np.int64) - 1


class By(Protocol):
    """How rows are partitioned; `repr` says all of it."""

    def of(self, batch: pa.RecordBatch) -> Ints:
        """Partition of each row."""


def mixed(values: Ints) -> npt.NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele and others 2014): every bit of a place decides every bit of its hash."""
    bits = values.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _leading(hashes: npt.NDArray[np.uint64], num_partitions: int) -> Ints:
    bits = (num_partitions - 1).bit_length()
    return (hashes >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(hashes), np.int64)
