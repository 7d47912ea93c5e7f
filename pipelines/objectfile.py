"""An object of a store as a file that pyarrow can read: a few blocks are held, and the next ones fetched before they are asked for.

Owns buffering and hiding latency when one object is read from front to back, or here and there. Knows no format.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.storage import ObjectInfo, Store

BLOCK_BYTES: Final = 4 << 20
NUM_AHEAD: Final = 4


class ObjectFile:
    """A read-only, seekable binary file over one object; at most `num_ahead` + 2 blocks of it are in memory.

    Reading fails if the object is exchanged meanwhile. A failure of the store is kept in `failure`, since pyarrow may wrap what it gets.
    """

    mode = "rb"

    def __init__(self, store: Store, info: ObjectInfo, *, block_bytes: int = BLOCK_BYTES, num_ahead: int = NUM_AHEAD) -> None:
        self.failure: Exception | None = None
        self.closed = False
        self._store = store
        self._info = info
        self._block_bytes = block_bytes
        self._num_ahead = num_ahead
        self._num_blocks = -(-info.size // block_bytes)
        self._position = 0
        self._last = -1
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(max(num_ahead, 1), thread_name_prefix="object-file")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def read(self, num_bytes: int | None = None) -> bytes:
        """Bytes from the position on; fewer at the end."""
        left = max(0, self._info.size - self._position)
        wanted = left if num_bytes is None or num_bytes < 0 else min(num_bytes, left)
        pieces: list[memoryview] = []
        while wanted > 0:
            index, offset = divmod(self._position, self._block_bytes)
            piece = memoryview(self._block(index))[offset : offset + wanted]
            pieces.append(piece)
            wanted -= len(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def _block(self, index: int) -> bytes:
        with self._lock:
            is_next = index in (self._last, self._last + 1)
            self._last = index
            future = self._requested(index)
            for following in range(index + 1, min(index + 1 + self._num_ahead, self._num_blocks)) if is_next else ():
                self._requested(following)
            while len(self._blocks) > self._num_ahead + 2:
                self._blocks.popitem(last=False)[1].cancel()
        try:
            return future.result()
        except Exception as error:
            self.failure = error
            raise

    def _requested(self, index: int) -> Future[bytes]:
        if index not in self._blocks:
            self._blocks[index] = self._pool.submit(self._fetch, index)
        self._blocks.move_to_end(index)
        return self._blocks[index]

    def _fetch(self, index: int) -> bytes:
        start = index * self._block_bytes
        stop = min(start + self._block_bytes, self._info.size)
        return self._store.read_range(self._info.path, start, stop, etag=self._info.etag)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position, as files do."""
        self._position = offset + (0, self._position, self._info.size)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def size(self) -> int:
        """Bytes of the object."""
        return self._info.size

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
        """Give up what is in flight and let go of the blocks."""
        self.closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._blocks.clear()


@contextmanager
def opened_parquet(store: Store, path: str, *, block_bytes: int = BLOCK_BYTES, num_ahead: int = NUM_AHEAD) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a store. Memory holds one row group of the columns that are read, and a few blocks.

    Raises:
        NotFound: There is no such object.
        StorageError: The store failed, also while the file was read.
        pyarrow.ArrowException, OSError: It cannot be read as Parquet.
    """
    with ObjectFile(store, store.info(path), block_bytes=block_bytes, num_ahead=num_ahead) as file, as_parquet(file) as parquet:
        yield parquet


@contextmanager
def as_parquet(file: ObjectFile, buffer_bytes: int = 0) -> Iterator[pq.ParquetFile]:
    """An open object as a Parquet file; with `buffer_bytes` a column is read in pieces of so many, not a whole row group of it at once.

    Raises:
        StorageError: The store failed, also while the file was read.
        pyarrow.ArrowException, OSError: It cannot be read as Parquet.
    """
    options = {"pre_buffer": False, "page_checksum_verification": True, "arrow_extensions_enabled": False}
    try:
        # Page checksums cost little; `pre_buffer` would hold all row groups that were asked for.
        with pa.PythonFile(file, "r") as handle:
            yield pq.ParquetFile(handle, buffer_size=buffer_bytes, **options)
    except (pa.ArrowException, OSError):
        if file.failure is not None:
            raise file.failure from None
        raise
