"""Parts as sequences of frames: each frame is one record batch as an Arrow IPC stream of its own.

A frame is read with one range request, without a footer; the index of the frames stands in the commit record. Owns the bytes of a
part; does not know what its rows mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, Self

import pyarrow as pa

from pipelines.commit import Part
from pipelines.storage import Store, Writer

READ_AHEAD_BYTES: Final = 64 << 20
"""Bytes of frames that are fetched ahead of the reader: hides 50 ms to the first byte at more than 1 GB/s."""
READ_AHEAD_REQUESTS: Final = 8
JOINED_BYTES: Final = 8 << 20
"""Neighbouring frames are read with one request up to this size: frames of side tables, keys and deltas have some kilobytes."""
GAP_BYTES: Final = 64 << 10
"""Bytes between two frames that are read and thrown away rather than paid for with a request."""
WINDOW_BYTES: Final = READ_AHEAD_BYTES // 2
"""Frames further apart than this, in the order of their use, are not joined: what is read early is held until it is used."""


class PartWriter:
    """Writes one part, frame by frame. The part is durable when the block ends, and not there if it raises.

    `alone`: its name is durable then too. Else it is by the time that the store makes the record that speaks of it; a record in another
    store does not wait for that.
    """

    def __init__(self, store: Store, path: str, *, alone: bool = False) -> None:
        self._store = store
        self._alone = alone
        self._path = path
        self._stack = ExitStack()
        self._writer: Writer | None = None
        self._frames: list[tuple[int, int, int, int, int]] = []
        self._groups: dict[str, int] = {}
        # A local disk takes uncompressed frames faster than a core compresses them; over a network the bytes cost more.
        self._options = pa.ipc.IpcWriteOptions(compression=None if store.kind in ("local", "memory") else "lz4", use_threads=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return sum(frame[2] for frame in self._frames)

    def write(self, batch: pa.RecordBatch, num_bytes: int | None = None, group: str = "") -> None:
        """Append a frame.

        `num_bytes` (uncompressed size as it is counted for shards; by default that of the frame, whatever the store compresses) and `group`
        go into the index. Empty batches are skipped.
        """
        if batch.num_rows == 0:
            return
        if num_bytes is None:
            num_bytes = pa.ipc.get_record_batch_size(batch) + batch.schema.serialize().size
        if self._writer is None:
            begin = self._store.creator if self._alone else self._store.writer
            self._writer = self._stack.enter_context(begin(self._path))
        start = self._writer.tell()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=self._options) as stream:
            stream.write_batch(batch)
        self._writer.write(sink.getvalue())
        ordinal = self._groups.setdefault(group, len(self._groups))
        self._frames.append((start, self._writer.tell() - start, batch.num_rows, num_bytes, ordinal))

    def finish(self) -> Part | None:
        """Make the part durable and describe it; None if it has no row (then there is no file)."""
        if self._writer is None:
            return None
        size = self._writer.tell()
        self._stack.close()
        groups = tuple(self._groups) if list(self._groups) != [""] else ()
        return Part(self._path, self.rows, size, self._writer.sha256, tuple(self._frames), groups)


class FrameRef(NamedTuple):
    """Where a frame lies."""

    path: str
    offset: int
    length: int


def refs(part: Part | None) -> list[FrameRef]:
    """The frames of a part, in order; none if there is no part."""
    return [] if part is None else [FrameRef(part.path, frame[0], frame[1]) for frame in part.frames]


def decode(data: bytes | pa.Buffer) -> pa.RecordBatch:
    """The record batch of one frame; its buffers lie in `data`, without a copy where the frame is not compressed."""
    with pa.ipc.open_stream(pa.py_buffer(data), options=pa.ipc.IpcReadOptions(use_threads=False)) as stream:
        return stream.read_next_batch()


def read_frames(store: Store, frames: Sequence[FrameRef]) -> Iterator[pa.RecordBatch]:
    """The batches of some frames, in order, fetched ahead of their use by a few threads within a bound of bytes."""
    ranges, homes = joined(frames)
    if len(ranges) <= 1:  # nothing to run ahead to
        yield from (batch for some in ranges for batch in some.fetch(store))
        return
    with ThreadPoolExecutor(READ_AHEAD_REQUESTS, thread_name_prefix="frames") as threads:
        yield from _ahead(threads, store, ranges, homes)


@dataclass(slots=True)
class Range:
    """Bytes of one part that are read with one request, and the frames in them that are wanted."""

    path: str
    start: int
    stop: int
    frames: list[FrameRef] = field(default_factory=list)

    def takes(self, ref: FrameRef) -> bool:
        """Whether a frame lies right behind, so that reading it too costs less than a request of its own."""
        return 0 <= ref.offset - self.stop < GAP_BYTES and ref.offset + ref.length - self.start <= JOINED_BYTES

    def add(self, ref: FrameRef) -> None:
        """Read a frame too."""
        self.frames.append(ref)
        self.stop = ref.offset + ref.length

    def fetch(self, store: Store) -> deque[pa.RecordBatch]:
        """The batches of the frames."""
        data = pa.py_buffer(store.read_range(self.path, self.start, self.stop))
        return deque(decode(data.slice(ref.offset - self.start, ref.length)) for ref in self.frames)


def joined(frames: Sequence[FrameRef]) -> tuple[list[Range], list[int]]:
    """The ranges to read for some frames, in the order of their first use, and the number of each frame's range.

    Frames of several parts may alternate, as those of layers do. A range has frames of one window of `WINDOW_BYTES` only.
    """
    ranges: list[Range] = []
    homes: list[int] = []
    latest: dict[str, int] = {}
    window = 0
    for ref in frames:
        window += ref.length
        if window > WINDOW_BYTES:
            latest, window = {}, ref.length
        home = latest.get(ref.path)
        if home is None or not ranges[home].takes(ref):
            home = latest[ref.path] = len(ranges)
            ranges.append(Range(ref.path, ref.offset, ref.offset))
        ranges[home].add(ref)
        homes.append(home)
    return ranges, homes


def _ahead(threads: ThreadPoolExecutor, store: Store, ranges: Sequence[Range], homes: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The frames in the order of `homes`. Ranges are numbered by their first use, so that the next one is always sent when it is needed."""
    fetched: dict[int, Future[deque[pa.RecordBatch]]] = {}
    held = sent = begun = 0
    for home in homes:
        begun = max(begun, home + 1)
        while sent < len(ranges):
            size = ranges[sent].stop - ranges[sent].start
            if sent >= begun and (held + size > READ_AHEAD_BYTES or sent - begun >= READ_AHEAD_REQUESTS):
                break
            fetched[sent] = threads.submit(ranges[sent].fetch, store)
            held += size
            sent += 1
        batches = fetched[home].result()
        yield batches.popleft()
        if not batches:
            del fetched[home]
            held -= ranges[home].stop - ranges[home].start
