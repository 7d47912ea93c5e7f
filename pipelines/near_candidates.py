"""Which documents meet: the keys of every document's buckets brought together by the exchange, and the pairs that each bucket proposes.

A row of a bucket is (`key_hi`, `place`, the keep policy's words). With history the first documents of earlier runs are in the buckets too,
in front; those that were removed then take their places among the first, but have no features to be compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.keep import WORDS
from operators.near import PROPOSED_PAIRS, NearOperator, bands_of, place_word
from pipelines import faults
from pipelines.document_keys import doc_words
from pipelines.exchange import Source, gathered, read_chunks
from pipelines.frames import PartWriter
from pipelines.guards import bucket_sizes, heavy_keys
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import By, ByKey, places
from pipelines.rows import Ints, one_batch
from pipelines.worker import Attempt, Outcome, Worker


@dataclass(frozen=True, slots=True)
class SpreadJob:
    """The first radix pass: a row for each bucket of each document, sorted by a digit of its key, one frame a digit."""

    sources: tuple[Source, ...]
    by: By
    shift: int
    bits: int
    kind: str = "spread"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the rows; the frame's group is the digit."""
        from operators.kernels.buckets import scatter  # noqa: PLC0415  numba takes half a second to import

        assert isinstance(self.by, ByKey)
        batch = gathered(worker, self.sources)
        with attempt.writer("rows") as writer:
            if batch is not None:
                num_bits = (self.by.num_partitions - 1).bit_length()
                keys, index, bounds = scatter(bands_of(batch), self.bits, 64 - num_bits + self.shift)
                self._write(writer, batch, keys, index, bounds)
            faults.point("exchange.before-record")
            return Outcome({"rows": writer.finish()})

    def _write(self, writer: PartWriter, batch: pa.RecordBatch, keys: Any, index: Ints, bounds: Ints) -> None:
        where = places(batch)
        words = {name: batch.column(name).to_numpy() for name in WORDS if name in batch.schema.names}
        for digit in range(len(bounds) - 1):
            start, stop = int(bounds[digit]), int(bounds[digit + 1])
            if stop > start:
                some = index[start:stop]
                columns = {"key_hi": pa.array(keys[start:stop]), "place": pa.array(where[some])}
                columns |= {name: pa.array(values[some]) for name, values in words.items()}
                writer.write(pa.RecordBatch.from_pydict(columns), group=str(digit))


@dataclass(frozen=True, slots=True)
class BucketJob:
    """One partition of keys: the pairs of documents that its buckets propose.

    Attributes:
        heavy: Buckets of at least so many rows are told of, for the guard; None: none are.
        leaves: Whether to write down the first documents of each bucket, for later runs.
    """

    operator: OperatorSpec
    sources: tuple[Source, ...]
    task_bytes: int
    heavy: int | None = None
    leaves: bool = False
    kind: str = "buckets"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the pairs (`later`, `earlier`): at once where the partition fits, else against the first rows of each key."""
        operator = self.operator.load()
        assert isinstance(operator, NearOperator)
        buckets = _Buckets(worker, operator.max_candidates, self.heavy)
        with attempt.writer("pairs") as writer, attempt.writer("heads") as heads:
            size = sum(source.bytes for source in self.sources)
            way = self._at_once if size <= 2 * self.task_bytes else self._in_rounds
            for batch in way(worker, buckets, heads):
                writer.write(batch)
            faults.point("exchange.before-record")
            detail = {"heavy": buckets.heaviest()}
            return Outcome({"pairs": writer.finish(), "heads": heads.finish()}, detail=detail)

    def _at_once(self, worker: Worker, buckets: _Buckets, leaving: PartWriter) -> Iterator[pa.RecordBatch]:
        rows = gathered(worker, self.sources)
        if rows is not None:
            rows = buckets.in_order(rows)
            buckets.count(rows)
            self._leave(buckets.first(rows) if self.leaves else rows, leaving)
            yield from buckets.pairs(rows)

    def _leave(self, heads: pa.RecordBatch, leaving: PartWriter) -> None:
        """Write down which of this run's documents are the first of their buckets."""
        if self.leaves:
            own = heads.filter(pa.array(heads.column("place").to_numpy() >= 0))
            leaving.write(own.select(["key_hi", "place"]))

    def _in_rounds(self, worker: Worker, buckets: _Buckets, leaving: PartWriter) -> Iterator[pa.RecordBatch]:
        """A partition far above its share, of keys that very many documents have: first the heads of every key, then all others."""
        heads: pa.RecordBatch | None = None
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            heads = buckets.heads(chunk if heads is None else one_batch(pa.Table.from_batches([heads, chunk])))
        assert heads is not None
        self._leave(heads, leaving)
        yield from buckets.pairs(heads)
        buckets.expect(heads)
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            buckets.count(buckets.in_order(chunk))
            yield from buckets.against(heads, chunk)


class _Buckets:
    """Rows sorted into buckets, and what the buckets propose."""

    def __init__(self, worker: Worker, cap: int, heavy: int | None) -> None:
        self._worker = worker
        self._cap = cap
        self._heavy = heavy
        self._expected: npt.NDArray[np.uint64] | None = None
        self._sizes = self._first = np.zeros(0, np.int64)

    def in_order(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows by key, then in keep order."""
        from operators.kernels.buckets import sort_rows  # noqa: PLC0415
        from operators.kernels.radix import as_signed, sort_pairs  # noqa: PLC0415

        words = keep_words(self._worker, rows)
        if len(words) == 1:  # the place is all that there is beside the key: the rows themselves are sorted, in half the time
            keys = rows.column("key_hi").to_numpy().copy()
            sort_pairs(keys, words[0])
            return pa.RecordBatch.from_pydict({"key_hi": pa.array(keys), "place": pa.array(as_signed(words[0]))})
        return rows.take(pa.array(sort_rows(rows.column("key_hi").to_numpy(), words)))

    def heads(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The first rows of each key, in order."""
        return self.first(self.in_order(rows))

    def first(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The first rows of each key, of rows in order."""
        return rows.filter(pa.array(_positions(rows) < self._cap))

    def pairs(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The pairs that rows in order propose, each with the first ones of its bucket."""
        yield from self._proposed(rows, np.zeros(rows.num_rows, np.bool_))

    def against(self, heads: pa.RecordBatch, chunk: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The pairs of rows that are no heads with the heads of their keys, which all come before them."""
        both = one_batch(pa.Table.from_batches([heads, chunk.filter(pa.array(~_are_among(chunk, heads)))]))
        order = np.lexsort((np.arange(both.num_rows) >= heads.num_rows, both.column("key_hi").to_numpy()))
        yield from self._proposed(both.take(pa.array(order)), order < heads.num_rows)

    def _proposed(self, rows: pa.RecordBatch, done: npt.NDArray[np.bool_]) -> Iterator[pa.RecordBatch]:
        """Pairs of rows in order; those whose later row is `done` are left out."""
        from operators.kernels.buckets import propose, unique_pairs  # noqa: PLC0415

        keys, where = rows.column("key_hi").to_numpy(), rows.column("place").to_numpy()
        is_new = ~done & (where >= 0)
        start = 0
        while start < len(keys):
            found = propose(keys, self._cap, is_new, start=start, most=PROPOSED_PAIRS)
            start = found.next_row
            earlier, later = unique_pairs(where[found.earlier], where[found.later])
            other = earlier != later  # two bands of a document may have one key, once in 2^64 times
            yield pa.RecordBatch.from_pydict({"later": pa.array(later[other]), "earlier": pa.array(earlier[other])})

    # --- what the guard asks

    def expect(self, heads: pa.RecordBatch) -> None:
        """The keys that there are, where rows are counted chunk by chunk."""
        self._expected = np.unique(heads.column("key_hi").to_numpy())
        self._sizes = np.zeros(len(self._expected), np.int64)
        self._first = np.full(len(self._expected), np.iinfo(np.int64).max)

    def count(self, rows: pa.RecordBatch) -> None:
        """Count this run's documents of the keys of some rows, which are sorted by key."""
        if self._heavy is None:
            return
        keys, where = rows.column("key_hi").to_numpy(), rows.column("place").to_numpy()
        own = where >= 0
        if not own.all():
            keys, where = keys[own], where[own]
        if self._expected is not None:
            sizes, first = bucket_sizes(keys, where)
            at = np.searchsorted(self._expected, np.unique(keys))
            self._sizes[at] += sizes
            self._first[at] = np.minimum(self._first[at], first)
        else:
            self._sizes, self._first = bucket_sizes(keys, where, self._heavy)

    def heaviest(self) -> list[list[int]]:
        """Keys of as many documents as the guard names."""
        return heavy_keys(self._sizes, self._first, self._heavy)


def keep_words(worker: Worker, rows: pa.RecordBatch, prefix: str = "", place: str = "place") -> list[npt.NDArray[np.uint64]]:
    """Keep order of documents that rows name: the policy's words and then the doc_key, or where there is no policy the place."""
    words = [rows.column(prefix + name).to_numpy() for name in WORDS if prefix + name in rows.schema.names]
    where = rows.column(place).to_numpy()
    return [*words, *doc_words(worker, where)] if words else [place_word(where)]


def _positions(rows: pa.RecordBatch) -> Ints:
    """Position of each row in its bucket; rows are sorted by key."""
    keys = rows.column("key_hi").to_numpy()
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)])
    return np.arange(len(keys)) - np.repeat(starts, np.diff(np.r_[starts, len(keys)]))


def _are_among(rows: pa.RecordBatch, heads: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Which rows are heads themselves: those with the key and the place of one."""
    keys, where = (np.concatenate([heads.column(name).to_numpy(), rows.column(name).to_numpy()]) for name in ("key_hi", "place"))
    order = np.lexsort((where, keys))  # stable: a head comes before the row that it is
    again = (keys[order][1:] == keys[order][:-1]) & (where[order][1:] == where[order][:-1])
    found = np.zeros(len(keys), np.bool_)
    found[order[1:][again]] = True
    return found[heads.num_rows :]
