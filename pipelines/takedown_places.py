"""Which row of the input a row of a version's shards is, and the other way round, from the inventory and the tables of what was lost.

Packing keeps the inventory's order, so that the k-th row of all shards is the k-th row of the input that is in no such table. Rows of the
input are numbered in that order. Memory grows with the rows that are asked for, never with those of the input: the tables are streamed, and
where a row must be searched for, they are counted in buckets of rows first, and a bounded number of buckets is looked at at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines import identity
from pipelines.inventory import Inventory
from pipelines.recall import key_bytes
from pipelines.rows import Ints, Mask
from pipelines.takedown_ids import Keys

NUM_BUCKETS: Final = 1 << 20
MAX_LOST: Final = 1 << 24
"""Lost rows, of eight bytes, that are looked through at once; more are in several passes over the tables."""
ROW_BYTES: Final = 6

Lost = Callable[[], Iterator[pa.FixedSizeBinaryArray]]
"""The doc_keys of the documents that a version has lost, some at a time; each call gives them anew."""


class Places:
    """Rows of the input by number, and their ranks among those that a version kept.

    Attributes:
        inventory: Of the version's run.
        rows: How many rows it has.
    """

    def __init__(self, inventory: Inventory, lost: Lost) -> None:
        self.inventory = inventory
        self._lost = lost
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(inventory.group_rows)])
        self._first = ends[inventory.file_first_group]
        self.rows = int(self._first[-1])
        prefixes = np.frombuffer(inventory.prefixes(), np.dtype(f"S{identity.PREFIX_BYTES}"))
        self._order = np.argsort(prefixes, kind="stable")
        self._prefixes = prefixes[self._order]

    # --- who a row is

    def numbers_of(self, keys: Keys) -> Ints:
        """Numbers of documents by their doc_keys; -1 where the input has no such row."""
        if not len(keys) or not len(self._prefixes):
            return np.full(len(keys), -1, np.int64)
        raw = np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 16)
        prefixes = np.ascontiguousarray(raw[:, : identity.PREFIX_BYTES]).view(self._prefixes.dtype).ravel()
        at = np.minimum(np.searchsorted(self._prefixes, prefixes), len(self._prefixes) - 1)
        file = self._order[at]
        wide = np.zeros((len(keys), 8), np.uint8)
        wide[:, 8 - ROW_BYTES :] = raw[:, identity.PREFIX_BYTES :]
        row = wide.view(">u8").ravel().astype(np.int64)
        there = (self._prefixes[at] == prefixes) & (row < self._first[file + 1] - self._first[file])
        return np.where(there, self._first[file] + row, -1)

    def files_of(self, numbers: Ints) -> Ints:
        """Ordinals of the files that rows are in."""
        files: Ints = np.searchsorted(self._first, numbers, side="right") - 1
        return files

    def rows_of(self, numbers: Ints) -> Ints:
        """Rows in their files."""
        found: Ints = numbers - self._first[self.files_of(numbers)]
        return found

    def number(self, file: int, rows: Ints) -> Ints:
        """Numbers of rows of one file."""
        found: Ints = self._first[file] + rows
        return found

    def keys_of(self, numbers: Ints) -> pa.FixedSizeBinaryArray:
        """doc_keys of rows."""
        files, position = np.unique(self.files_of(numbers), return_inverse=True)
        prefixes = [identity.uri_prefix(self.inventory.identity(file)[0]) for file in files.tolist()]
        return identity.doc_keys(prefixes, position, self.rows_of(numbers))

    # --- ranks

    def ranks_of(self, numbers: Ints) -> tuple[Ints, Mask]:
        """How many kept rows are before each of some rows, and which of them are lost themselves."""
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        before = np.zeros(len(ordered) + 1, np.int64)
        is_lost = np.zeros(len(ordered), np.bool_)
        for lost in self._lost_numbers():
            before += np.bincount(np.searchsorted(ordered, lost, side="right"), minlength=len(before))
            is_lost |= np.isin(ordered, lost)
        ranks, mask = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.bool_)
        ranks[order] = ordered - np.cumsum(before)[:-1]
        mask[order] = is_lost
        return ranks, mask

    def numbers_at(self, ranks: Ints) -> Ints:
        """The rows of the input that are the kept rows of these ranks."""
        if not len(ranks):
            return np.empty(0, np.int64)
        width = max(1, -(-self.rows // NUM_BUCKETS))
        starts = np.arange(0, self.rows, width, dtype=np.int64)
        lost = np.zeros(len(starts), np.int64)
        for numbers in self._lost_numbers():
            lost += np.bincount(numbers // width, minlength=len(lost))
        kept_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.minimum(width, self.rows - starts) - lost)])
        bucket = np.searchsorted(kept_before, ranks, side="right") - 1
        local = ranks - kept_before[bucket]
        found = np.empty(len(ranks), np.int64)
        for buckets in _passes(np.unique(bucket), lost):
            mine = np.flatnonzero((bucket >= buckets[0]) & (bucket <= buckets[-1]))
            found[mine] = starts[bucket[mine]] + self._in_buckets(buckets, width, bucket[mine], local[mine])
        return found

    def _in_buckets(self, buckets: Ints, width: int, bucket: Ints, local: Ints) -> Ints:
        """Where in its bucket the k-th kept row is, for each k: k, and as many more as there are lost rows before it."""
        pieces = [numbers[np.isin(numbers // width, buckets)] for numbers in self._lost_numbers()]
        numbers = np.sort(np.concatenate([np.empty(0, np.int64), *pieces]))
        first = np.searchsorted(numbers, buckets * width)
        inside = np.searchsorted(buckets, numbers // width)
        # Kept rows of its bucket before each lost row; with its bucket in front, all ascend, and one search does for all buckets.
        gaps = numbers % width - (np.arange(len(numbers)) - first[inside])
        mine = np.searchsorted(buckets, bucket)
        before: Ints = np.searchsorted(inside * (width + 1) + gaps, mine * (width + 1) + local, side="right") - first[mine]
        return local + before

    def _lost_numbers(self) -> Iterator[Ints]:
        for keys in self._lost():
            numbers = self.numbers_of(key_bytes(keys))
            yield numbers[numbers >= 0]


def _passes(buckets: Ints, lost: Ints) -> list[Ints]:
    """Buckets, ascending, cut so that few enough lost rows are in each piece; one bucket may have more."""
    part = np.cumsum(lost[buckets]) // MAX_LOST
    return np.split(buckets, np.flatnonzero(np.diff(part)) + 1)
