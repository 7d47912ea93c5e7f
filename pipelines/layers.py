"""The documents between stages: a full layer holds every column, a delta layer only what a stage changed, so that the text is copied once.

A frame of a delta layer names, in `_index`, the rows of one frame of the layer below that it keeps, and brings the columns that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.commit import Part
from pipelines.frames import FrameRef, read_frames
from pipelines.rows import Rows, ordered
from pipelines.storage import Store

FILE: Final = "_shardmill_file"
ROW: Final = "_shardmill_row"
INDEX: Final = "_shardmill_index"


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one unit, the full one first. All of a unit's documents are in the frames of the topmost."""

    parts: tuple[Part, ...]

    @property
    def num_frames(self) -> int:
        """Frames of the topmost layer."""
        return len(self.parts[-1].frames) if self.parts else 0

    def frames(self) -> list[tuple[Layers, int]]:
        """Every frame of the topmost layer, as `read_layers` wants them."""
        return [(self, number) for number in range(self.num_frames)]

    def frame_refs(self, number: int) -> list[FrameRef]:
        """What must be read for one frame of the topmost layer, the full layer's frame first."""
        found: list[FrameRef] = []
        for depth in range(len(self.parts) - 1, -1, -1):
            part = self.parts[depth]
            frame = part.frames[number]
            found.append(FrameRef(part.path, frame[0], frame[1]))
            if depth:
                number = int(part.groups[frame[4]])
        return found[::-1]


def with_identity(rows: Rows) -> pa.RecordBatch:
    """The documents with their identity as columns in front."""
    names = [FILE, ROW, *rows.batch.schema.names]
    return pa.RecordBatch.from_arrays([pa.array(rows.file), pa.array(rows.row), *rows.batch.columns], names=names)


def split_identity(batch: pa.RecordBatch, schema: pa.Schema) -> Rows:
    """Inverse of `with_identity`: the columns of `schema`, in its order.

    Laid over each other, layers also hold columns that a stage removed, and hold them in the order of the lowest.
    """
    documents = pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)
    return Rows(documents, batch.column(FILE).to_numpy(), batch.column(ROW).to_numpy())


def delta(before: Rows, after: Rows) -> pa.RecordBatch:
    """What a stage changed: which rows of `before` are in `after`, and the columns that differ from theirs."""
    index = np.searchsorted(ordered(before), ordered(after)).astype(np.int32)
    columns: list[pa.Array] = [pa.array(index)]
    names = [INDEX]
    kept = None if len(after) == len(before) else columns[0]
    for name in after.batch.schema.names:
        values = after.batch.column(name)
        if name in before.batch.schema.names and _unchanged(before.batch.column(name), values, kept):
            continue
        columns.append(values)
        names.append(name)
    return pa.RecordBatch.from_arrays(columns, names=names)


def _unchanged(old: pa.Array, new: pa.Array, kept: pa.Array | None) -> bool:
    """Whether `new` has the very values of `old` at the rows that are kept (None: all).

    Arrow calls 0.0 and -0.0 equal, so floating-point values count as unchanged only if they are the same memory.
    """
    if kept is None and _same_memory(old, new):
        return True
    if not old.type.equals(new.type) or _holds_floats(new.type):
        return False
    return bool((old if kept is None else old.take(kept)).equals(new))


def _same_memory(first: pa.Array, second: pa.Array) -> bool:
    if not first.type.equals(second.type) or len(first) != len(second) or first.offset != second.offset:
        return False
    buffers = [[None if buffer is None else (buffer.address, buffer.size) for buffer in array.buffers()] for array in (first, second)]
    return buffers[0] == buffers[1] and all(map(_same_memory, _children(first), _children(second)))


def _children(array: pa.Array) -> list[pa.Array]:
    """Arrays that a nested one is made of: they have offsets of their own into the same buffers."""
    if pa.types.is_struct(array.type):
        return [array.field(position) for position in range(array.type.num_fields)]
    if pa.types.is_map(array.type):
        return [array.keys, array.items]
    return [array.values] if pa.types.is_nested(array.type) else []


def _holds_floats(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or any(_holds_floats(kind.field(position).type) for position in range(kind.num_fields))


def read_layers(store: Store, frames: Sequence[tuple[Layers, int]]) -> Iterator[pa.RecordBatch]:
    """The batches of some frames of topmost layers, with every column, fetched ahead over all of them."""
    stream = read_frames(store, [ref for layers, number in frames for ref in layers.frame_refs(number)])
    for layers, _ in frames:
        batch = next(stream)
        for _ in layers.parts[1:]:
            batch = _overlay(batch, next(stream))
        yield batch


def _overlay(below: pa.RecordBatch, above: pa.RecordBatch) -> pa.RecordBatch:
    index = above.column(INDEX)
    whole = len(index) == below.num_rows
    names = [*below.schema.names, *(name for name in above.schema.names if name not in (INDEX, *below.schema.names))]
    columns = []
    for name in names:
        if name in above.schema.names:
            columns.append(above.column(name))
        else:
            columns.append(below.column(name) if whole else below.column(name).take(index))
    return pa.RecordBatch.from_arrays(columns, names=names)
