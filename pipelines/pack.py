"""Packing: committed parts in the inventory's order, cut into files by cumulative uncompressed bytes.

A pure function of the rows and their order: which unit, batch or attempt brought a row does not show in any byte. The same code writes the
shards and the side tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import faults
from pipelines.commit import Part
from pipelines.errors import UnitError, VersionConflict
from pipelines.layers import Layers, read_layers
from pipelines.rows import Ints, one_batch
from pipelines.sizes import Sizes, row_sizes
from pipelines.storage import Store
from pipelines.worker import Attempt, Outcome, Worker

ROW_GROUP_BYTES: Final = 64 << 20
"""Uncompressed bytes of a row group: large enough to compress and scan well, small enough to hold twice."""
HASH_BLOCK_BYTES: Final = 8 << 20
GATHERED_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive frames of one unit's documents, of one partition.

    Attributes:
        layers: Where the documents are.
        frames: Numbers of the frames of the topmost layer.
        sizes: Uncompressed bytes of each frame.
        start: Uncompressed bytes of the partition before the first frame.
    """

    layers: Layers
    frames: tuple[int, ...]
    sizes: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True)
class File:
    """A file to be packed: the rows whose first byte lies in [start, stop) of the partition's cumulative bytes."""

    path: str
    start: int
    stop: int
    stretches: tuple[Stretch, ...]

    @property
    def is_only(self) -> bool:
        """True for a file that is written even without a row, so that the schema is there."""
        return self.start == 0


@dataclass(frozen=True, slots=True)
class Form:
    """How packed files look."""

    schema: pa.Schema
    compression: str
    plain_columns: tuple[str, ...]
    """Columns written without a dictionary: long texts, whose values hardly repeat."""
    token_column: str | None = None


def shard_form(schema: pa.Schema, text_column: str, compression: str) -> Form:
    """How shards look."""
    tokens = "num_tokens" if "num_tokens" in schema.names and pa.types.is_integer(schema.field("num_tokens").type) else None
    # Long texts hardly repeat, and the names of nested columns are paths: neither is worth a dictionary.
    plain = tuple(field.name for field in schema if field.name == text_column or pa.types.is_nested(field.type))
    return Form(schema, compression, plain, tokens)


def table_form(schema: pa.Schema, text_column: str) -> Form:
    """How the files of side tables look."""
    return Form(schema, "zstd", (text_column,))


def cut(stretches: Iterable[Stretch], target_bytes: int) -> Iterator[tuple[int, int, tuple[Stretch, ...]]]:
    """The files of one partition: (first byte, last byte, stretches that touch them)."""
    held: list[Stretch] = []
    number = 0
    total = 0
    for stretch in stretches:
        held.append(stretch)
        total = stretch.start + sum(stretch.sizes)
        while total >= (number + 1) * target_bytes:
            yield _file(number, target_bytes, held)
            number += 1
            held = [part for part in held if part.start + sum(part.sizes) >= number * target_bytes and part.frames]
    if total > number * target_bytes or number == 0:
        yield _file(number, target_bytes, held)


def _file(number: int, target: int, held: Sequence[Stretch]) -> tuple[int, int, tuple[Stretch, ...]]:
    start, stop = number * target, (number + 1) * target
    return start, stop, tuple(part for part in (_clip(stretch, start, stop) for stretch in held) if part.frames)


def _clip(stretch: Stretch, start: int, stop: int) -> Stretch:
    """Only the frames that have a byte in [start, stop)."""
    frames, sizes = [], []
    first: int | None = None
    position = stretch.start
    for number, size in zip(stretch.frames, stretch.sizes, strict=True):
        if position < stop and position + size > start:
            first = position if first is None else first
            frames.append(number)
            sizes.append(size)
        position += size
    return Stretch(stretch.layers, tuple(frames), tuple(sizes), stretch.start if first is None else first)


@dataclass(frozen=True, slots=True)
class FileJob:
    """Write one file under its final name.

    The name is final and the bytes are a pure function of committed parts, so that any attempt may write it: the first creates it, another
    finds
    the very same bytes there.
    """

    file: File
    form: Form
    kind: str = "file"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:  # noqa: ARG002  final names, not an attempt's
        """Write the file; the record has its rows, bytes and sha256.

        Raises:
            VersionConflict: The name holds other bytes.
        """
        faults.point("pack.before-shard")
        groups = row_groups(self._batches(worker), self.form.schema)
        first = next(groups, None)
        if first is None and not self.file.is_only:
            return Outcome({})  # a row larger than the target covers this file's bytes: the next number has the next rows
        with worker.store.creator(self.file.path) as sink:
            rows, tokens = write_groups(chain([] if first is None else [first], groups), sink, self.form)
        if not sink.created:
            prove_same(worker.store, self.file.path, sink.sha256, sink.tell())
        faults.point("pack.after-shard")
        part = Part(self.file.path, rows, sink.tell(), sink.sha256)
        return Outcome({"file": part}, detail={"tokens": tokens})

    def _batches(self, worker: Worker) -> Iterator[tuple[pa.RecordBatch, Ints]]:
        """The file's rows, and for each batch the byte of the file at which each row starts, as far as anyone needs to know."""
        position = self.file.stretches[0].start if self.file.stretches else 0
        for held in gathered(self._frames(worker)):
            batch = held[0][0] if len(held) == 1 else one_batch(pa.Table.from_batches([frame for frame, _ in held]))
            sizes = row_sizes(batch, batch.schema.names)
            self._check(held, sizes)
            before = position + np.cumsum(sizes) - sizes
            mine = (before >= self.file.start) & (before < self.file.stop)
            position += int(sizes.sum())
            if mine.all():
                yield batch, before - self.file.start
            elif mine.any():
                yield batch.filter(pa.array(mine)), before[mine] - self.file.start

    def _frames(self, worker: Worker) -> Iterator[tuple[pa.RecordBatch, int]]:
        """The frames that have the file's rows, with the sizes that their records say: one after the other in the partition's bytes."""
        frames = [(stretch.layers, number) for stretch in self.file.stretches for number in stretch.frames]
        sizes = (size for stretch in self.file.stretches for size in stretch.sizes)
        for batch, size in zip(read_layers(worker.store, frames), sizes, strict=True):
            yield conformed(batch.select(self.form.schema.names), self.form.schema), size

    def _check(self, held: Sequence[tuple[pa.RecordBatch, int]], sizes: Sizes) -> None:
        ends = np.cumsum([batch.num_rows for batch, _ in held])
        found = np.diff(np.concatenate([[0], np.cumsum(sizes)])[ends], prepend=0)
        for has, (_, told) in zip(found.tolist(), held, strict=True):
            if has != told:
                raise UnitError(f"{self.file.path}: a frame has {has} bytes, its record says {told}: the part is damaged")


def gathered(frames: Iterable[tuple[pa.RecordBatch, int]]) -> Iterator[list[tuple[pa.RecordBatch, int]]]:
    """Frames in lists of about a megabyte, or of one frame: what is done to each costs as much for four rows as for a thousand."""
    held: list[tuple[pa.RecordBatch, int]] = []
    total = 0
    for batch, size in frames:
        if held and total + size > GATHERED_BYTES:
            yield held
            held, total = [], 0
        held.append((batch, size))
        total += size
    if held:
        yield held


def write_groups(groups: Iterable[pa.Table], sink: Any, form: Form) -> tuple[int, int | None]:
    """Write row groups as a Parquet file; returns its rows, and its tokens where they are counted."""
    rows = 0
    tokens = 0 if form.token_column is not None else None
    dictionary = [name for name in form.schema.names if name not in form.plain_columns]
    options = {"compression": form.compression, "use_dictionary": dictionary}
    with pq.ParquetWriter(sink, form.schema, **options) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
            if tokens is not None:
                tokens += pc.sum(group[form.token_column]).as_py() or 0
    return rows, tokens


def prove_same(store: Store, path: str, expected: str, size: int) -> None:
    """Prove that a name that was taken holds the very bytes that were to get it.

    Raises:
        VersionConflict: It holds others.
    """
    found = store.info(path)
    state = hashlib.sha256()
    for start in range(0, found.size, HASH_BLOCK_BYTES):
        state.update(store.read_range(path, start, min(start + HASH_BLOCK_BYTES, found.size)))
    if state.hexdigest() != expected:
        raise VersionConflict(
            f"{path} holds other bytes ({found.size}, sha256 {state.hexdigest()[:12]}…) than this plan makes ({size}, "
            f"{expected[:12]}…): "
            "it was changed after it was written, or made by other code; remove it if nothing needs it, and run again"
        )


def row_groups(batches: Iterable[tuple[pa.RecordBatch, Ints]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Rows joined into row groups by the bytes before them: group n has the rows that start in its 64 MiB of the file."""
    held: list[pa.RecordBatch] = []
    number = 0
    for batch, starts in batches:
        group = starts // ROW_GROUP_BYTES
        cursor = 0
        while cursor < batch.num_rows:
            if int(group[cursor]) != number:
                yield from _joined(held, schema)
                held, number = [], int(group[cursor])
            end = int(np.searchsorted(group, number, side="right"))
            held.append(batch.slice(cursor, end - cursor))
            cursor = end
    yield from _joined(held, schema)


def _joined(held: Sequence[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    if held:
        # One chunk a column: pages are cut within chunks, and chunks must not show in the bytes.
        yield pa.Table.from_batches(held, schema=schema).combine_chunks()


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly this schema."""
    return batch if batch.schema.equals(schema, check_metadata=True) else batch.cast(schema)


def stretches(units: Iterable[Layers]) -> dict[str, list[Stretch]]:
    """The documents of all units, in order, by partition ('' where there are none), with where each stretch starts."""
    totals: dict[str, int] = {}
    found: dict[str, list[Stretch]] = {}
    for layers in units:
        if not layers.num_frames:
            continue
        top = layers.parts[-1]
        is_delta = len(layers.parts) > 1
        frames: dict[str, list[int]] = {}
        for number, frame in enumerate(top.frames):
            label = "" if is_delta or not top.groups else top.groups[frame[4]]
            frames.setdefault(label, []).append(number)
        for label, numbers in frames.items():
            sizes = tuple(top.frames[number][3] for number in numbers)
            start = totals.get(label, 0)
            found.setdefault(label, []).append(Stretch(layers, tuple(numbers), sizes, start))
            totals[label] = start + sum(sizes)
    return found
