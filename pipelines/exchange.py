"""Grouping documents by key: the only thing that moves data between units, staged through the output's store.

    keys of units ─ radix passes (sorted by partition, one frame each) ─► decide, one task a partition ─► radix passes by place
      ─► gather: the verdicts of each unit as one frame

Every step is work with attempts and commits like a unit's. Owns the jobs and the plan of the passes; the driver in `grouping.py` runs them.
Identity in here is (file ordinal, row), which depends on no unit, batch or partition.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import GroupOperator, Verdicts
from pipelines import faults, identity
from pipelines.errors import NotFound, UnitError
from pipelines.frames import FrameRef, read_frames
from pipelines.inventory import Inventory, load_prefixes
from pipelines.operatorspec import OperatorSpec
from pipelines.rows import Ints, one_batch
from pipelines.storage import Store
from pipelines.unit import VERDICT
from pipelines.worker import Attempt, Outcome, Worker

PLACED: Final = pa.schema([pa.field("file", pa.int64()), *list(VERDICT)[1:]])
"""Verdicts before they are gathered: `file` is the ordinal in the inventory."""


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
    """

    frames: tuple[FrameRef, ...]
    ordinals: tuple[int, ...] = ()
    removed: tuple[FrameRef, ...] = ()
    bytes: int = 0


def read_source(worker: Worker, source: Source) -> Iterator[pa.RecordBatch]:
    """The rows of a source, with ordinals for files, without rows that are removed already."""
    gone = [_places(batch) for batch in read_frames(worker.store, source.removed)]
    removed = np.sort(np.concatenate(gone)) if gone else None
    ordinals = np.array(source.ordinals, np.int64)
    for batch in read_frames(worker.store, source.frames):
        taken = batch
        if removed is not None:
            taken = taken.filter(pa.array(~np.isin(_places(taken), removed)))
        if source.ordinals:
            index = taken.schema.get_field_index("file")
            taken = taken.set_column(index, "file", pa.array(ordinals[taken.column(index).to_numpy()]))
        yield taken


def _places(batch: pa.RecordBatch) -> Ints:
    return (np.asarray(batch.column("file").to_numpy(), np.int64) << 40) | np.asarray(batch.column("row").to_numpy(), np.int64)


def gathered(worker: Worker, sources: Sequence[Source]) -> pa.RecordBatch | None:
    """All rows of some sources as one batch; None if there are none."""
    batches = [batch for source in sources for batch in read_source(worker, source) if batch.num_rows]
    return one_batch(pa.Table.from_batches(batches)) if batches else None


# --- where a row belongs


@dataclass(frozen=True, slots=True)
class ByKey:
    """Partition by the leading bits of the key."""

    num_partitions: int

    def of(self, batch: pa.RecordBatch) -> Ints:
        """Partition of each row."""
        bits = (self.num_partitions - 1).bit_length()
        key = batch.column("key_hi").to_numpy().astype(np.uint64)
        return (key >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(key), np.int64)


@dataclass(frozen=True, slots=True)
class ByPlace:
    """Partition by place in the inventory: `starts[n]` is the first place of partition n."""

    starts: tuple[int, ...]

    def of(self, batch: pa.RecordBatch) -> Ints:
        """Partition of each row."""
        return np.searchsorted(np.array(self.starts, np.int64), _places(batch), side="right").astype(np.int64) - 1


# --- jobs


@dataclass(frozen=True, slots=True)
class PartitionJob:
    """One task of a radix pass: read some rows, write them sorted by a digit of their partition, one frame a digit."""

    sources: tuple[Source, ...]
    by: ByKey | ByPlace
    shift: int
    bits: int
    kind: str = "partition"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the rows, a frame for each digit that occurs; the frame's group is the digit."""
        batch = gathered(worker, self.sources)
        with attempt.writer("rows") as writer:
            if batch is not None:
                digit = (self.by.of(batch) >> self.shift) & ((1 << self.bits) - 1)
                order = np.argsort(digit, kind="stable")
                sorted_rows = batch.take(pa.array(order))
                bounds = np.searchsorted(digit[order], np.arange((1 << self.bits) + 1))
                for value in np.unique(digit).tolist():
                    start, stop = int(bounds[value]), int(bounds[value + 1])
                    writer.write(sorted_rows.slice(start, stop - start), group=str(value))
            faults.point("exchange.before-record")
            return Outcome({"rows": writer.finish()})


@dataclass(frozen=True, slots=True)
class DecideJob:
    """One partition of keys: decide its groups, write the verdicts sorted by place."""

    operator: OperatorSpec
    sources: tuple[Source, ...]
    task_bytes: int
    kind: str = "decide"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Decide, in one go where the partition fits, else in bounded rounds."""
        operator = self.operator.load()
        assert isinstance(operator, GroupOperator)
        started = time.process_time()
        with attempt.writer("verdicts") as writer:
            size = sum(source.bytes for source in self.sources)
            rounds = self._at_once(worker, operator) if size <= 2 * self.task_bytes else self._in_rounds(worker, operator)
            for verdicts in rounds:
                writer.write(verdicts)
            faults.point("exchange.before-record")
            return Outcome({"verdicts": writer.finish()}, detail={"seconds": time.process_time() - started})

    def _at_once(self, worker: Worker, operator: GroupOperator) -> Iterator[pa.RecordBatch]:
        rows = gathered(worker, self.sources)
        if rows is not None:
            rows = by_key(rows)
            yield from in_place_order(verdict_rows(worker, rows, decide(operator, rows)))

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
        for chunk in self._chunks(worker):
            kept, counts = _fold(operator, kept, counts, chunk)
        assert kept is not None
        for chunk in self._chunks(worker):
            yield from in_place_order(_beaten(worker, chunk, kept, counts))

    def _chunks(self, worker: Worker) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        size = 0
        for source in self.sources:
            for batch in read_source(worker, source):
                held.append(batch)
                size += batch.nbytes
                if size >= self.task_bytes:
                    yield one_batch(pa.Table.from_batches(held))
                    held, size = [], 0
        if held:
            yield one_batch(pa.Table.from_batches(held))


def _fold(operator: GroupOperator, kept: pa.RecordBatch | None, counts: Ints, chunk: pa.RecordBatch) -> tuple[pa.RecordBatch, Ints]:
    """The kept rows of everything seen so far, and for how many removed rows each one stands."""
    merged = chunk if kept is None else one_batch(pa.Table.from_batches([kept, chunk]))
    weights = np.concatenate([counts, np.zeros(chunk.num_rows, np.int64)])
    order = key_order(merged)
    rows, weights = merged.take(pa.array(order)), weights[order]
    verdicts = decide(operator, rows)
    np.add.at(weights, verdicts.kept, weights[verdicts.removed] + 1)
    stays = np.ones(rows.num_rows, bool)
    stays[verdicts.removed] = False
    return rows.filter(pa.array(stays)), weights[stays]


def _beaten(worker: Worker, chunk: pa.RecordBatch, kept: pa.RecordBatch, counts: Ints) -> pa.RecordBatch:
    """Verdicts on the rows of a chunk that are not the kept ones of their keys. `kept` is sorted by key, each key once."""
    both = one_batch(pa.Table.from_batches([kept, chunk]))
    order = key_order(both, kept_first=kept.num_rows)
    key_hi, key_lo = both.column("key_hi").to_numpy()[order], both.column("key_lo").to_numpy()[order]
    starts = np.concatenate([[True], (key_hi[1:] != key_hi[:-1]) | (key_lo[1:] != key_lo[:-1])])
    winner = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    candidates = order >= kept.num_rows
    removed, winner = order[candidates], winner[candidates]
    places = _places(both)
    other = places[removed] != places[winner]
    removed, winner = removed[other], winner[other]
    verdicts = Verdicts(removed, winner, np.ones(len(removed), np.float32), counts[winner])
    return verdict_rows(worker, both, verdicts)


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
        started = time.process_time()
        digests: dict[str, str] = {}
        with attempt.writer("verdicts") as writer:
            rows = self._mine(worker)
            if rows is not None:
                places = _places(rows)
                bounds = np.searchsorted(places, [unit.start for unit in self.units] + [self.units[-1].stop])
                for position, unit in enumerate(self.units):
                    start, stop = int(bounds[position]), int(bounds[position + 1])
                    if stop > start:
                        frame = _relative(rows.slice(start, stop - start), unit)
                        digests[str(position)] = _content_digest(frame)
                        writer.write(frame, group=str(position))
            faults.point("exchange.before-record")
            return Outcome({"verdicts": writer.finish()}, detail={"digests": digests, "seconds": time.process_time() - started})

    def _mine(self, worker: Worker) -> pa.RecordBatch | None:
        batches = []
        for source in self.sources:
            for batch in read_source(worker, source):
                places = _places(batch)
                mine = (places >= self.units[0].start) & (places < self.units[-1].stop)
                if mine.any():
                    batches.append(batch.filter(pa.array(mine)))
        if not batches:
            return None
        rows = one_batch(pa.Table.from_batches(batches))
        return rows.take(pa.array(np.argsort(_places(rows), kind="stable")))


def _relative(rows: pa.RecordBatch, unit: UnitPlace) -> pa.RecordBatch:
    position = np.searchsorted(np.array(unit.ordinals, np.int64), rows.column("file").to_numpy())
    return rows.set_column(0, "file", pa.array(position.astype(np.int64))).cast(VERDICT)


def _content_digest(batch: pa.RecordBatch) -> str:
    """Digest of the values of verdicts, whatever their buffers' layout is."""
    state = sha256()
    for name in ("file", "row", "similarity", "num_duplicates"):
        state.update(np.ascontiguousarray(batch.column(name).to_numpy()).tobytes())
    for name in ("kept_doc_key", "kept_id"):
        column = pc.cast(batch.column(name), pa.large_binary())
        state.update(np.ascontiguousarray(pc.binary_length(column).to_numpy(zero_copy_only=False)).tobytes())
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        state.update(memoryview(column.buffers()[2])[int(offsets[0]) : int(offsets[-1])])
    return state.hexdigest()[:32]


# --- deciding


def key_order(rows: pa.RecordBatch, kept_first: int = 0) -> npt.NDArray[np.intp]:
    """Order by key, then place; with `kept_first`, the first rows of the batch go first in their keys."""
    key_lo, key_hi = rows.column("key_lo").to_numpy(), rows.column("key_hi").to_numpy()
    late = np.arange(rows.num_rows) >= kept_first
    return np.lexsort((_places(rows), late, key_lo, key_hi))


def by_key(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows sorted by key, then place, as `decide` is promised them."""
    return rows.take(pa.array(key_order(rows)))


def decide(operator: GroupOperator, rows: pa.RecordBatch) -> Verdicts:
    """Ask the operator for its verdicts, and check that they can be: no row twice, none kept and removed in favour of itself.

    Raises:
        UnitError: The operator broke its contract.
    """
    verdicts = operator.decide(rows)
    if len(np.unique(verdicts.removed)) != len(verdicts.removed) or (verdicts.removed == verdicts.kept).any():
        raise UnitError(f"operator {operator.name!r} removed a document twice, or in favour of itself")
    return verdicts


def verdict_rows(worker: Worker, rows: pa.RecordBatch, verdicts: Verdicts) -> pa.RecordBatch:
    """Verdicts as rows that find their way back to the removed documents."""
    removed, kept = pa.array(verdicts.removed), pa.array(verdicts.kept)
    kept_rows = rows.select(["file", "row"]).take(kept)
    ordinals, position = np.unique(kept_rows.column("file").to_numpy(), return_inverse=True)
    prefixes = file_prefixes(worker.store, worker.place.inventory_path)[ordinals]
    keys = identity.doc_keys([prefix.tobytes() for prefix in prefixes], position, kept_rows.column("row").to_numpy())
    ids = rows.column("id").take(kept) if "id" in rows.schema.names else identity.hexadecimal(keys)
    columns = [
        rows.column("file").take(removed),
        pc.cast(rows.column("row").take(removed), pa.int64()),
        keys,
        ids,
        pa.array(verdicts.similarity, pa.float32()),
        pa.array(verdicts.num_duplicates, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PLACED)


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


def in_place_order(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Verdicts sorted by place, in frames that a later task may read one by one."""
    if rows.num_rows:
        yield rows.take(pa.array(np.argsort(_places(rows), kind="stable")))
