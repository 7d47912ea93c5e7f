"""Reading ahead: byte ranges that will be needed are requested before they are, by several threads, within bounded memory.

Owns the hiding of latency. Knows byte ranges of objects, not what they mean. pyarrow reads a Python file object one request at a time; here
the requests of a whole unit, over all its files, are in flight while the first bytes are decoded.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pipelines.documents import Reads

BLOCK_BYTES = 4 << 20
WINDOW_BYTES = 96 << 20
# Threads are made as requests need them; 24 blocks fill the window, smaller ones are bound by latency.
NUM_THREADS = 24


@dataclass(slots=True, eq=False)
class Block:
    """One request: a byte range of an object, the bytes still unread of it, and what to do with them on arrival."""

    uri: str
    etag: str
    start: int
    stop: int
    then: Callable[[bytes], None] | None = None
    unread: int = 0
    future: Future[bytes] | None = None
    released: bool = False

    def __post_init__(self) -> None:
        self.unread = self.stop - self.start


@dataclass(slots=True, eq=False)
class Segment:
    """Blocks that are needed, and let go, together: a row group, a footer. `blocks` is None until they are known."""

    blocks: list[Block] | None = None
    starts: list[int] = field(default_factory=list)
    by_start: list[Block] = field(default_factory=list)

    def find(self, position: int) -> Block | None:
        """The block that holds this byte."""
        index = bisect.bisect_right(self.starts, position) - 1
        if index < 0 or self.by_start[index].stop <= position:
            return None
        return self.by_start[index]


class ReadAhead:
    """Fetches planned segments in order, up to `window_bytes` ahead of their use.

    Whatever is asked for is delivered: a range outside the plan, or not yet sent, is fetched at once; the plan decides only the time.
    Used as a context manager; leaving it gives up what is still planned.
    """

    def __init__(self, sources: Reads, *, window_bytes: int = WINDOW_BYTES, num_threads: int = NUM_THREADS) -> None:
        self.sources = sources
        self.failure: BaseException | None = None
        self._window_bytes = window_bytes
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="read-ahead")
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._next_segment = 0
        self._next_block = 0
        self._outstanding_bytes = 0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is planned and wait for the requests in flight."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def reserve(self) -> Segment:
        """A place in the plan for blocks that are not known yet; nothing after it is fetched before `fill` says them."""
        segment = Segment()
        self._segments.append(segment)
        return segment

    def append(self, uri: str, etag: str, ranges: Iterable[tuple[int, int]], then: Callable[[bytes], None] | None = None) -> Segment:
        """Plan byte ranges of an object after all that is planned; `then` is called on a thread with the bytes of each."""
        segment = self.reserve()
        self._set_blocks(segment, [Block(uri, etag, start, stop, then) for start, stop in ranges])
        return segment

    def fill(self, segment: Segment, uri: str, etag: str, ranges: Iterable[tuple[int, int]]) -> None:
        """Say the ranges of a reserved segment; they are fetched in the order given."""
        self._set_blocks(segment, [Block(uri, etag, start, stop) for start, stop in ranges])
        self.start()

    def start(self) -> None:
        """Send as many requests as the window has room for."""
        with self._lock:
            while not self._closed and (block := self._next()) is not None:
                if block.future is None and not block.released:
                    if 0 < self._outstanding_bytes > self._window_bytes - (block.stop - block.start):
                        break
                    self._send(block)
                self._next_block += 1

    def bytes_of(self, block: Block) -> bytes:
        """The bytes of a block, waiting for them if need be.

        Raises:
            InputChanged: The object is no longer the one that was listed.
            StorageError: The store failed.
        """
        with self._lock:
            if block.future is None and not block.released:
                self._send(block)
            future = block.future
        if future is None:
            return self.sources.read_range(block.uri, block.start, block.stop, etag=block.etag)
        return future.result()

    def consumed(self, block: Block, num_bytes: int) -> None:
        """Tell that bytes of a block were used; a block used up is let go."""
        block.unread -= num_bytes
        if block.unread <= 0:
            self._release([block])

    def release(self, segment: Segment) -> None:
        """Let a segment go, whatever was used of it."""
        self._release(segment.blocks or [])
        segment.starts, segment.by_start = [], []

    def _release(self, blocks: Iterable[Block]) -> None:
        with self._lock:
            for block in blocks:
                if block.released:
                    continue
                block.released = True
                if block.future is not None:
                    block.future.cancel()
                    block.future = None
                    self._outstanding_bytes -= block.stop - block.start
        self.start()

    def _next(self) -> Block | None:
        while self._next_segment < len(self._segments):
            blocks = self._segments[self._next_segment].blocks
            if blocks is None:
                return None
            if self._next_block < len(blocks):
                return blocks[self._next_block]
            self._next_segment += 1
            self._next_block = 0
        return None

    def _send(self, block: Block) -> None:
        self._outstanding_bytes += block.stop - block.start
        block.future = self._pool.submit(self._fetch, block)

    def _fetch(self, block: Block) -> bytes:
        data = self.sources.read_range(block.uri, block.start, block.stop, etag=block.etag)
        if block.then is not None:
            block.then(data)
        return data

    @staticmethod
    def _set_blocks(segment: Segment, blocks: list[Block]) -> None:
        segment.by_start = sorted(blocks, key=lambda block: block.start)
        segment.starts = [block.start for block in segment.by_start]
        segment.blocks = blocks


class AheadFile:
    """A file object over what is read ahead of one object; give it to pyarrow as `pa.PythonFile(file, "r")`.

    `segments` are those that reads may use now. A failure of the store is kept in the read-ahead's `failure`, since pyarrow may
    wrap what it gets from Python.
    """

    def __init__(self, ahead: ReadAhead, uri: str, etag: str, size: int) -> None:
        self.segments: list[Segment] = []
        self.closed = False
        self._ahead = ahead
        self._uri = uri
        self._etag = etag
        self._size = size
        self._position = 0

    def read(self, num_bytes: int | None = None) -> memoryview | bytes:
        """Bytes from the position on; fewer at the end."""
        left = max(0, self._size - self._position)
        wanted = left if num_bytes is None or num_bytes < 0 else min(num_bytes, left)
        pieces: list[memoryview | bytes] = []
        while wanted > 0:
            piece = self._piece(wanted)
            pieces.append(piece)
            wanted -= len(piece)
            self._position += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, wanted: int) -> memoryview | bytes:
        try:
            for segment in self.segments:
                block = segment.find(self._position)
                if block is not None:
                    return self._of_block(block, wanted)
            return self._ahead.sources.read_range(self._uri, self._position, self._position + wanted, etag=self._etag)
        except BaseException as error:
            self._ahead.failure = error
            raise

    def _of_block(self, block: Block, wanted: int) -> memoryview | bytes:
        offset = self._position - block.start
        length = min(wanted, block.stop - self._position)
        if block.released:
            return self._ahead.sources.read_range(self._uri, self._position, self._position + length, etag=self._etag)
        piece = memoryview(self._ahead.bytes_of(block))[offset : offset + length]
        self._ahead.consumed(block, length)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position, as files do."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def size(self) -> int:
        """Bytes of the object."""
        return self._size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """False."""
        return False

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Mark it closed; the read-ahead lives on."""
        self.closed = True


def blocks_of(start: int, stop: int, block_bytes: int = BLOCK_BYTES) -> list[tuple[int, int]]:
    """A byte range cut into blocks."""
    return [(position, min(position + block_bytes, stop)) for position in range(start, stop, block_bytes)]
