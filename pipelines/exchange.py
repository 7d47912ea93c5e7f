"""Grouping documents by key: the only thing that moves data between units, staged through the output's store.

    keys of units ─ radix passes (sorted by partition, one frame each) ─► decide, one task a partition ─► radix passes by place
      ─► gather: the verdicts of each unit as one frame

Every step is work with attempts and commits like a unit's. Owns the jobs and the plan of the passes; the drivers are
`grouping.py` and `near_grouping.py`.
Identity in here is (file ordinal, row), which depends on no unit, batch or partition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import GroupOperator, Verdicts
from pipelines import faults
from pipelines.document_keys import doc_keys
from pipelines.errors import UnitError
from pipelines.frames import FrameRef, PartWriter, read_frames
from pipelines.history_rows import recalled
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import By, places
from pipelines.rows import Ints, one_batch
from pipelines.verdicts import Telling, counts_kept, in_place_order, mark_rows, removals, verdict_rows
from pipelines.worker import Attempt, Outcome, Worker

SMALL_BITS: Final = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the exchange.

    Attributes:
        task_bytes: Rows that one task holds at once. Sorting takes about four times as much: with 128 MiB a worker stays under 1 GiB.
        range_bytes: Smallest range that a task reads; the fan-out of a pass follows from it (DESIGN 5: at least 1 MiB).
        task_units: Units whose verdicts one task gathers.
    """

    task_bytes: int = 128 << 20
    range_bytes: int = 1 << 20
    task_units: int = 4096

    @property
    def fan_out(self) -> int:
        """Partitions of one pass: a power of two such that a task's ranges have `range_bytes`."""
        return max(2, 1 << int(math.log2(max(self.task_bytes // self.range_bytes, 2))))


def passes(num_partitions: int, fan_out: int) -> list[int]:
    """Bits of each radix pass for a number of partitions (a power of two); none for one partition."""
    bits = max(num_partitions - 1, 0).bit_length()
    most = fan_out.bit_length() - 1
    count = math.ceil(bits / most)
    return [bits // count + (number < bits % count) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that a task of the exchange reads.

    Attributes:
        frames: Where they lie.
        ordinals: For keys of a unit: the inventory's ordinal of each of the unit's files. Empty: the rows already have ordinals.
        removed: For keys of a unit: verdicts of group operators before this one on the unit; their rows take no part any more.
        bytes: Size of the frames.
        generation: Number of the generation of the history that the rows are of; None: rows of this run.
    """

    frames: tuple[FrameRef, ...]
    ordinals: tuple[int, ...] = ()
    removed: tuple[FrameRef, ...] = ()
    bytes: int = 0
    generation: int | None = None


def read_source(worker: Worker, source: Source) -> Iterator[pa.RecordBatch]:
    """The rows of a source, with ordinals for files, without rows that are removed already."""
    if source.generation is not None:
        yield from recalled(worker, source.frames, source.generation)
        return
    gone = [places(removals(batch)) for batch in read_frames(worker.store, source.removed)]
    removed = np.sort(np.concatenate(gone)) if gone else None
    ordinals = np.array(source.ordinals, np.int64)
    for batch in read_frames(worker.store, source.frames):
        taken = batch
        if removed is not None:
            taken = taken.filter(pa.array(~np.isin(places(taken), removed)))
        if source.ordinals:
            index = taken.schema.get_field_index("file")
            taken = taken.set_column(index, "file", pa.array(ordinals[taken.column(index).to_numpy()]))
        yield taken


def gathered(worker: Worker, sources: Sequence[Source]) -> pa.RecordBatch | None:
    """All rows of some sources as one batch; None if there are none."""
    batches = [batch for source in sources for batch in read_source(worker, source) if batch.num_rows]
    return united(batches) if batches else None


def united(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Rows as one batch; those of earlier runs have columns that those of this one have not."""
    if all(batch.schema.equals(batches[0].schema) for batch in batches):
        return one_batch(pa.Table.from_batches(batches))
    return one_batch(pa.concat_tables([pa.Table.from_batches([batch]) for batch in batches], promote_options="default"))


def read_chunks(worker: Worker, sources: Sequence[Source], size: int) -> Iterator[pa.RecordBatch]:
    """All rows of some sources, in batches of about so many bytes."""
    held: list[pa.RecordBatch] = []
    total = 0
    for source in sources:
        for batch in read_source(worker, source):
            held.append(batch)
            total += batch.nbytes
            if total >= size:
                yield united(held)
                held, total = [], 0
    if held:
        yield united(held)


# --- jobs


@dataclass(frozen=True, slots=True)
class PartitionJob:
    """One task of a radix pass: read some rows, write them sorted by a digit of their partition, one frame a digit."""

    sources: tuple[Source, ...]
    by: By
    shift: int
    bits: int
    kind: str = "partition"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the rows, a frame for each digit that occurs; the frame's group is the digit."""
        batch = gathered(worker, self.sources)
        with attempt.writer("rows") as writer:
            if batch is not None:
                digit = (self.by.of(batch) >> self.shift) & ((1 << self.bits) - 1)
                write_by_digit(writer, batch, digit, self.bits)
            faults.point("exchange.before-record")
            return Outcome({"rows": writer.finish()})


def write_by_digit(writer: PartWriter, batch: pa.RecordBatch, digit: Ints, bits: int) -> None:
    """Write rows sorted by a digit of so many bits, a frame for each that occurs; within a frame they keep their order."""
    small = digit.astype(np.uint16) if bits <= SMALL_BITS else digit
    order = np.argsort(small, kind="stable")  # a radix sort for numbers of 16 bits
    rows = batch.take(pa.array(order))
    bounds = np.searchsorted(small[order], np.arange(1 << bits, dtype=small.dtype)).tolist()
    for value, (start, stop) in enumerate(pairwise([*bounds, batch.num_rows])):
        if stop > start:
            writer.write(rows.slice(start, stop - start), group=str(value))


@dataclass(frozen=True, slots=True)
class DecideJob:
    """One partition of keys: decide its groups, write the verdicts sorted by place."""

    operator: OperatorSpec
    sources: tuple[Source, ...]
    task_bytes: int
    heavy: int | None = None
    kind: str = "decide"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Decide, in one go where the partition fits, else in bounded rounds."""
        operator = self.operator.load()
        assert isinstance(operator, GroupOperator)
        with attempt.writer("verdicts") as writer:
            size = sum(source.bytes for source in self.sources)
            rounds = self._at_once(worker, operator) if size <= 2 * self.task_bytes else self._in_rounds(worker, operator)
            told = Telling(operator, self.heavy)
            for verdicts in rounds:
                told.add(verdicts)
                writer.write(verdicts)
            faults.point("exchange.before-record")
            return Outcome({"verdicts": writer.finish()}, detail=told.detail())

    def _at_once(self, worker: Worker, operator: GroupOperator) -> Iterator[pa.RecordBatch]:
        rows = gathered(worker, self.sources)
        if rows is not None:
            rows = by_key(rows)
            verdicts = own(decide(worker, operator, rows), places(rows))
            yield from in_place_order(verdict_rows(worker, rows, verdicts, marks=counts_kept(operator)))

    def _in_rounds(self, worker: Worker, operator: GroupOperator) -> Iterator[pa.RecordBatch]:
        """A partition far above its share (one key that very many documents have): fold to the kept rows, then name them to all others.

        Right where a group has one kept row, so that a row beaten in a round can be beaten no more by deciding later.
        """
        if not operator.one_kept_per_key:
            raise UnitError(
                f"operator {operator.name!r}: a partition has {sum(s.bytes for s in self.sources)} bytes, more than a task can hold"
            )
        kept: pa.RecordBatch | None = None
        counts: Ints = np.zeros(0, np.int64)
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            kept, counts = _fold(worker, operator, kept, counts, chunk)
        assert kept is not None
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            yield from in_place_order(_beaten(worker, chunk, kept, counts))
        if counts_kept(operator):
            stands = counts > 0
            yield from in_place_order(mark_rows(places(kept)[stands], counts[stands]))


def _fold(
    worker: Worker, operator: GroupOperator, kept: pa.RecordBatch | None, counts: Ints, chunk: pa.RecordBatch
) -> tuple[pa.RecordBatch, Ints]:
    """The kept rows of everything seen so far, and for how many removed rows each one stands."""
    merged = chunk if kept is None else united([kept, chunk])
    weights = np.concatenate([counts, np.zeros(chunk.num_rows, np.int64)])
    order = key_order(merged)
    rows, weights = merged.take(pa.array(order)), weights[order]
    verdicts = decide(worker, operator, rows)
    np.add.at(weights, verdicts.kept, weights[verdicts.removed] + (places(rows)[verdicts.removed] >= 0))
    stays = np.ones(rows.num_rows, bool)
    stays[verdicts.removed] = False
    return rows.filter(pa.array(stays)), weights[stays]


def _beaten(worker: Worker, chunk: pa.RecordBatch, kept: pa.RecordBatch, counts: Ints) -> pa.RecordBatch:
    """Verdicts on the rows of a chunk that are not the kept ones of their keys. `kept` is sorted by key, each key once."""
    both = united([kept, chunk])
    order = key_order(both, kept_first=kept.num_rows)
    key_hi, key_lo = both.column("key_hi").to_numpy()[order], both.column("key_lo").to_numpy()[order]
    starts = np.concatenate([[True], (key_hi[1:] != key_hi[:-1]) | (key_lo[1:] != key_lo[:-1])])
    winner = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    candidates = order >= kept.num_rows
    removed, winner = order[candidates], winner[candidates]
    where = places(both)
    other = (where[removed] != where[winner]) & (where[removed] >= 0)
    removed, winner = removed[other], winner[other]
    verdicts = Verdicts(removed, winner, np.ones(len(removed), np.float32), counts[winner])
    return verdict_rows(worker, both, verdicts, marks=False)


@dataclass(frozen=True, slots=True)
class UnitPlace:
    """A unit as the gather step needs it: where it starts and ends in the inventory, and its files."""

    start: int
    stop: int
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GatherJob:
    """Bring the verdicts on some units together: one frame a unit, with a digest that depends on the unit's own verdicts alone."""

    sources: tuple[Source, ...]
    units: tuple[UnitPlace, ...]
    kind: str = "gather"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the frames; `detail.digests` has the digest of each unit that has verdicts, by its position."""
        digests: dict[str, str] = {}
        with attempt.writer("verdicts") as writer:
            rows = self._mine(worker)
            if rows is not None:
                bounds = np.searchsorted(places(rows), [unit.start for unit in self.units] + [self.units[-1].stop])
                for position, unit in enumerate(self.units):
                    start, stop = int(bounds[position]), int(bounds[position + 1])
                    if stop > start:
                        frame = _relative(rows.slice(start, stop - start), unit)
                        digests[str(position)] = _content_digest(frame)
                        writer.write(frame, group=str(position))
            faults.point("exchange.before-record")
            return Outcome({"verdicts": writer.finish()}, detail={"digests": digests})

    def _mine(self, worker: Worker) -> pa.RecordBatch | None:
        batches = []
        for source in self.sources:
            for batch in read_source(worker, source):
                found = places(batch)
                mine = (found >= self.units[0].start) & (found < self.units[-1].stop)
                if mine.any():
                    batches.append(batch.filter(pa.array(mine)))
        if not batches:
            return None
        rows = one_batch(pa.Table.from_batches(batches))
        within = [rows.column("passage").to_numpy()] if "passage" in rows.schema.names else []
        return rows.take(pa.array(np.lexsort([*within, places(rows)])))


def _relative(rows: pa.RecordBatch, unit: UnitPlace) -> pa.RecordBatch:
    position = np.searchsorted(np.array(unit.ordinals, np.int64), rows.column("file").to_numpy())
    return rows.set_column(rows.schema.get_field_index("file"), "file", pa.array(position.astype(np.int64)))


def _content_digest(batch: pa.RecordBatch) -> str:
    """Digest of the values of verdicts, whatever their buffers' layout is."""
    state = sha256()
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_primitive(field.type):
            state.update(np.ascontiguousarray(column.to_numpy()).tobytes())
            continue
        values = pc.fill_null(pc.cast(column, pa.large_binary()), b"")
        state.update(np.ascontiguousarray(pc.binary_length(values).to_numpy(zero_copy_only=False)).tobytes())
        offsets = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]
        state.update(memoryview(values.buffers()[2])[int(offsets[0]) : int(offsets[-1])])
    return state.hexdigest()[:32]


# --- deciding


def key_order(rows: pa.RecordBatch, kept_first: int = 0) -> npt.NDArray[np.intp]:
    """Order by key, then place; with `kept_first`, the first rows of the batch go first in their keys."""
    key_lo, key_hi = rows.column("key_lo").to_numpy(), rows.column("key_hi").to_numpy()
    late = np.arange(rows.num_rows) >= kept_first
    return np.lexsort((places(rows), late, key_lo, key_hi))


def own(verdicts: Verdicts, place: Ints) -> Verdicts:
    """Verdicts on documents of this run only: where two earlier runs kept the same, both stay."""
    mine = place[verdicts.removed] >= 0
    if mine.all():
        return verdicts
    kept = verdicts.kept[mine]
    _, position, number = np.unique(kept, return_inverse=True, return_counts=True)
    return Verdicts(verdicts.removed[mine], kept, verdicts.similarity[mine], number[position].astype(np.int64))


def by_key(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows sorted by key, then place, as `decide` is promised them."""
    return rows.take(pa.array(key_order(rows)))


def decide(worker: Worker, operator: GroupOperator, rows: pa.RecordBatch) -> Verdicts:
    """Ask the operator for its verdicts, and check that they can be: no row twice, none kept and removed in favour of itself.

    Where a policy says which document is kept, the doc_key decides between those that are the same to it.

    Raises:
        UnitError: The operator broke its contract.
    """
    if "tie" in rows.schema.names:
        rows = rows.append_column("doc_key", doc_keys(worker, places(rows)))
    verdicts = operator.decide(rows)
    if len(np.unique(verdicts.removed)) != len(verdicts.removed) or (verdicts.removed == verdicts.kept).any():
        raise UnitError(f"operator {operator.name!r} removed a document twice, or in favour of itself")
    return verdicts
