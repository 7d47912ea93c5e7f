"""Parts as sequences of frames: each frame is one record batch as an Arrow IPC stream of its own.

A frame is read with one range request, without a footer; the index of the frames stands in the commit record. Owns the bytes of a part;
does
not know what its rows mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Final, NamedTuple, Self

import pyarrow as pa

from pipelines.commit import Part
from pipelines.storage import Store, Writer

READ_AHEAD_BYTES: Final = 64 << 20
"""Bytes of frames that are fetched ahead of the reader: hides 50 ms to the first byte at more than 1 GB/s."""
READ_AHEAD_REQUESTS: Final = 8


class PartWriter:
    """Writes one part, frame by frame. The part is durable when the block ends, and not there if it raises."""

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
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

    def write(self, batch: pa.RecordBatch, num_bytes: int = 0, group: str = "") -> None:
        """Append a frame.

        `num_bytes` (uncompressed size as it is counted for shards) and `group` go into the index. Empty batches are skipped.
        """
        if batch.num_rows == 0:
            return
        if self._writer is None:
            self._writer = self._stack.enter_context(self._store.writer(self._path))
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
    yield from _ahead(lambda ref: decode(store.read_range(ref.path, ref.offset, ref.offset + ref.length)), frames)


def _ahead(fetch: Callable[[FrameRef], pa.RecordBatch], frames: Sequence[FrameRef]) -> Iterator[pa.RecordBatch]:
    if len(frames) <= 1:  # nothing to run ahead to
        yield from map(fetch, frames)
        return
    with ThreadPoolExecutor(READ_AHEAD_REQUESTS, thread_name_prefix="frames") as threads:
        waiting: list[tuple[int, Future[pa.RecordBatch]]] = []
        held = 0
        for ref in frames:
            while waiting and (held + ref.length > READ_AHEAD_BYTES or len(waiting) >= READ_AHEAD_REQUESTS):
                size, future = waiting.pop(0)
                held -= size
                yield future.result()
            waiting.append((ref.length, threads.submit(fetch, ref)))
            held += ref.length
        for _, future in waiting:
            yield future.result()
