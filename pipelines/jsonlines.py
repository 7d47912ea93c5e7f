"""Lines of JSON text: blocks of whole lines out of a stream, where lines begin and end, and streams that are compressed.

Owns what a line is: up to a newline; blank if only spaces, tabs and carriage returns; blank lines are no rows. A byte-order mark at the
very start belongs to no line. Knows bytes, not JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

FEED_BYTES = 16 << 10
MAX_INFLATED_BYTES = 4 << 20
BLANKS = b" \t\r"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAGICS = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
SKIPPABLE_FRAME = b"\x2a\x4d\x18"  # bytes 1 to 3 of a zstd frame that holds no data

NEWLINE, RETURN, OPEN, CLOSE = 10, 13, 0x7B, 0x7D


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a block that are not blank, without their newlines.

    Attributes:
        data: The block.
        starts: int64, where each line begins.
        stops: int64, where each line ends.
        framed: Whether the line begins with `{` and ends with `}`, but for blanks. A newline between framed lines that parse as one
            sequence of JSON values stands between two values, never inside of one.
    """

    data: bytes
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    framed: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, index: int) -> bytes:
        """One line."""
        return self.data[self.starts[index] : self.stops[index]]

    def span(self, first: int, stop: int) -> memoryview:
        """The bytes from one line to before another."""
        return memoryview(self.data)[self.starts[first] : self.stops[stop - 1]]


def lines_of(data: bytes) -> Lines:
    """The lines of a block; vectorised but for lines that begin or end with something else than braces."""
    octets = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(octets == NEWLINE)
    starts = np.concatenate([[0], newlines + 1]).astype(np.int64)
    stops = np.concatenate([newlines, [len(data)]]).astype(np.int64)
    full = stops > starts
    starts, stops = starts[full], stops[full]
    stops = stops - (octets[stops - 1] == RETURN)
    framed = (stops > starts) & (octets[starts] == OPEN) & (octets[stops - 1] == CLOSE)
    blank = np.zeros(len(starts), dtype=np.bool_)
    for index in np.flatnonzero(~framed):
        line = data[starts[index] : stops[index]].strip(BLANKS)
        blank[index] = not line
        framed[index] = line[:1] == b"{" and line[-1:] == b"}"
    if blank.any():
        return Lines(data, starts[~blank], stops[~blank], framed[~blank])
    return Lines(data, starts, stops, framed)


@dataclass(slots=True, eq=False)
class Damage:
    """How a compressed stream ended early, if it did: (error, message)."""

    found: tuple[str, str] | None = None


class CorruptStreamError(Exception):
    """Compressed data contradicts itself: nothing that comes out of it can be trusted. (error, message)."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(error, message)
        self.error = error
        self.message = message


def line_blocks(chunks: Iterable[bytes], damage: Damage, block_bytes: int) -> Iterator[bytes]:
    """Whole lines of a stream in blocks of about `block_bytes`, longer only for one long line; how the stream is chunked has no influence.

    Of a stream that ended in damage the last, incomplete line is left out.
    """
    pending = bytearray()
    searched = 0
    for chunk in chunks:
        pending += chunk
        while len(pending) >= block_bytes:
            cut = pending.rfind(b"\n", 0, block_bytes) + 1 if searched < block_bytes else 0
            cut = cut or pending.find(b"\n", max(block_bytes, searched)) + 1
            searched = 0 if cut else len(pending)
            if not cut:
                break
            block = bytes(memoryview(pending)[:cut])
            del pending[:cut]  # before the block is used: a line may have hundreds of megabytes
            yield block
    if damage.found is not None:
        del pending[pending.rfind(b"\n") + 1 :]
    if pending:
        yield bytes(pending)


def decompressed(chunks: Iterable[bytes], compression: str, damage: Damage) -> Iterator[bytes]:
    """What a `.gz` or `.zst` stream holds, over all its members or frames.

    A stream that ends too early, or goes on with something else after a whole member, is told in `damage`; what came before is good as far
    as its own checksums tell. Zeros after the last member are padding.

    Raises:
        CorruptStreamError: It is not compressed so at all, or a checksum or code in it is wrong.
    """
    feed = _fed(chunks)
    rest = next(feed, b"")
    while len(rest) < 4 and (more := next(feed, b"")):
        rest += more
    if not _begins_member(rest, compression):
        raise CorruptStreamError("not_compressed", f"the file does not begin as {compression} data")
    while rest:
        if not _begins_member(rest, compression):
            tail = rest.strip(b"\0")
            if tail or any(piece.strip(b"\0") for piece in feed):
                damage.found = ("trailing_bytes", f"after its last whole {compression} member the file goes on with other bytes")
            return
        rest = yield from _member(rest, feed, compression, damage)
        while 0 < len(rest) < 4 and (more := next(feed, b"")):
            rest += more


def _begins_member(data: bytes, compression: str) -> bool:
    return data.startswith(MAGICS[compression]) or (compression == ".zst" and data[1:4] == SKIPPABLE_FRAME and data[0] >> 4 == 5)


def _fed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Small pieces: they bound what a piece can inflate to."""
    for chunk in chunks:
        for start in range(0, len(chunk), FEED_BYTES):
            yield chunk[start : start + FEED_BYTES]


def _member(data: bytes, feed: Iterator[bytes], compression: str, damage: Damage) -> Any:
    """Yield what one member holds; return the bytes after it."""
    inflater = zlib.decompressobj(31) if compression == ".gz" else zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    limit = (MAX_INFLATED_BYTES,) if compression == ".gz" else ()
    try:
        while not inflater.eof:
            if not data:
                data = next(feed, b"")
            if not data:
                damage.found = ("truncated_stream", f"the {compression} data ends before its end mark")
                return b""
            yield inflater.decompress(data, *limit)
            data = inflater.unconsumed_tail
    except (zlib.error, zstandard.ZstdError) as error:
        raise CorruptStreamError("corrupt_stream", f"the {compression} data is corrupt: {error}") from None
    return inflater.unused_data or next(feed, b"")
