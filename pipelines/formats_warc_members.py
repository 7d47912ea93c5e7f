"""The bytes of a WARC file as stretches of records, whatever it is compressed with and wherever it is damaged.

Owns compressed members: where one begins, what it holds, and where reading can go on behind one that is broken. Knows bytes, not records,
but for the five characters that every record begins with. What comes out depends on the bytes alone, not on how they were cut into chunks.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import zstandard

from pipelines.jsonlines import MAGICS

RECORD_MAGIC: Final = b"WARC/"
FEED_BYTES: Final = 16 << 10
"""Compressed bytes that go into a decompressor at once, counted from the start of its member: so an error is found at the same place."""
MAX_INFLATED_BYTES: Final = 4 << 20
LOOK_BACK_BYTES: Final = 1 << 20
"""How far before the place of an error the next member is sought: a decompressor may run into others before it notices."""
KEPT_BYTES: Final = LOOK_BACK_BYTES + FEED_BYTES
DROP_BYTES: Final = 4 << 20
PROBE_BYTES: Final = 160 << 10
"""More than the largest block of zstd has, of which nothing comes out before all of it is there."""
MAX_RATIO: Final = {"": 1, ".gz": 1032, ".zst": 1 << 15}
"""How many bytes one byte can stand for: a record that claims more than there can be is wrong before anything is read."""
DICTIONARY_FRAME: Final = b"\x5d\x2a\x4d\x18"


class NotWarcError(Exception):
    """The file is not what its name says. (error, message)."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(error, message)
        self.error = error
        self.message = message


@dataclass(frozen=True, slots=True)
class StreamDamage:
    """What is wrong with the compressed bytes.

    Attributes:
        inside: Whether a member is broken, so that the last record which came out of it cannot be trusted.
    """

    error: str
    message: str
    inside: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Uncompressed bytes that follow the piece before.

    Attributes:
        member: Place in the file of the member that begins with this piece; -1 if none does.
        is_entry: Whether a record begins with this piece as surely as can be told: its member begins as records do.
        damage: The piece ends here because the bytes are damaged; the next piece, if any, is an entry.
    """

    data: bytes
    member: int = -1
    is_entry: bool = False
    damage: StreamDamage | None = None


class Stretch:
    """Uncompressed bytes from one entry to before the next, read as they are needed. No record goes on beyond a stretch.

    Attributes:
        offset: Place of its first member in the file.
        position: Place of the buffer's first byte in the stretch.
        buffer: What was read and not dropped.
        limit: Bytes that the stretch can have at most.
        damage: Why it ended, if it did not end well; known once it has ended.
    """

    def __init__(self, source: _Pieces, first: Piece, file_size: int, compression: str) -> None:
        self.offset = first.member
        self.position = 0
        self.buffer = bytearray()
        self.limit = (file_size - first.member) * MAX_RATIO[compression]
        self.damage: StreamDamage | None = None
        self._source = source
        self._ended = False
        self._members: deque[tuple[int, int]] = deque()
        self._is_compressed = bool(compression)
        self._take(first)

    def fill(self, num_bytes: int) -> bool:
        """Have at least so many bytes in the buffer; False if the stretch ends before."""
        while len(self.buffer) < num_bytes and not self._ended:
            piece = self._source.next_of_stretch()
            if piece is None:
                self._ended = True
            else:
                self._take(piece)
        return len(self.buffer) >= num_bytes

    def _take(self, piece: Piece) -> None:
        if piece.member >= 0:
            self._members.append((self.position + len(self.buffer), piece.member))
        self.buffer += piece.data
        if piece.damage is not None:
            self.damage, self._ended = piece.damage, True

    def drop(self, num_bytes: int) -> None:
        """Let bytes go from the front of the buffer."""
        del self.buffer[:num_bytes]
        self.position += num_bytes
        while len(self._members) > 1 and self._members[1][0] <= self.position:
            self._members.popleft()

    def skip(self, num_bytes: int) -> bool:
        """Let bytes go that need not be in memory at once; False if the stretch ends before."""
        while num_bytes > len(self.buffer):
            num_bytes -= len(self.buffer)
            self.drop(len(self.buffer))
            if not self.fill(1):
                return False
        self.drop(num_bytes)
        return True

    def has_member_start(self, first: int, last: int) -> bool:
        """Whether a member begins at any of these places of the buffer, both included."""
        return any(first <= at - self.position <= last for at, _ in self._members)

    def place(self) -> str:
        """Where in the file the buffer begins, for a message."""
        if not self._is_compressed:
            return f"byte {self.offset + self.position}"
        at, member = self._members[0]
        inner = self.position - at
        return f"byte {member}" if inner == 0 else f"byte {inner} of what is compressed at byte {member}"


def stretches(chunks: Iterable[bytes], compression: str, offset: int, file_size: int) -> Iterator[Stretch]:
    """The stretches of a file, or of a part of it that begins with an entry; each must be read to its end before the next is asked for.

    Args:
        chunks: The bytes from `offset` on.
        compression: `.gz`, `.zst` or nothing.
        offset: Place of the first byte in the file.
        file_size: Bytes of the whole file.

    Raises:
        NotWarcError: The file does not begin as its name says.
    """
    source = _Pieces(_members(chunks, compression, offset) if compression else _plain(chunks, offset))
    while (first := source.next()) is not None:
        stretch = Stretch(source, first, file_size, compression)
        yield stretch
        stretch.skip(1 << 62)


class _Pieces:
    """Pieces, of which one can be looked at before it is taken."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._held: Piece | None = None

    def next(self) -> Piece | None:
        piece, self._held = self._held, None
        return next(self._pieces, None) if piece is None else piece

    def next_of_stretch(self) -> Piece | None:
        """The next piece, or None where it begins another stretch."""
        piece = self.next()
        if piece is not None and piece.is_entry:
            self._held = piece
            return None
        return piece


def _plain(chunks: Iterable[bytes], offset: int) -> Iterator[Piece]:
    first = True
    for chunk in chunks:
        yield Piece(chunk, offset if first else -1, first)
        first = False


class _Raw:
    """The bytes of a file with a place in them that can be moved back a little."""

    def __init__(self, chunks: Iterable[bytes], offset: int) -> None:
        self._chunks = iter(chunks)
        self._data = bytearray()
        self._base = offset
        self.at = offset

    def take(self, num_bytes: int) -> bytes:
        """The next bytes, fewer only at the end; the place moves behind them."""
        found = self.peek(num_bytes)
        self.at += len(found)
        return found

    def peek(self, num_bytes: int) -> bytes:
        """The next bytes, fewer only at the end."""
        self._load(num_bytes)
        start = self.at - self._base
        return bytes(memoryview(self._data)[start : start + num_bytes])

    def _load(self, num_bytes: int) -> None:
        while self._base + len(self._data) < self.at + num_bytes and (chunk := next(self._chunks, None)) is not None:
            surplus = self.at - self._base - KEPT_BYTES
            if surplus > DROP_BYTES:
                del self._data[:surplus]
                self._base += surplus
            self._data += chunk

    def skip_zeros(self) -> bool:
        """Move to the first byte that is not zero; False if there is none."""
        while block := self.peek(FEED_BYTES):
            left = len(block.lstrip(b"\0"))
            self.at += len(block) - left
            if left:
                return True
        return False

    def move_to(self, magic: bytes, opens: Callable[[bytes], bool], start: int) -> bool:
        """Move to the first place from `start` on that begins with `magic` and of whose bytes `opens` is true; False if there is none."""
        self.at = max(start, self._base)
        while True:
            self._load(PROBE_BYTES)
            found = self._data.find(magic, self.at - self._base)
            if found >= 0:
                self.at = self._base + found
                if opens(self.peek(PROBE_BYTES)):
                    return True
                self.at += 1
            elif self._base + len(self._data) < self.at + PROBE_BYTES:
                self.at = self._base + len(self._data)
                return False
            else:
                self.at = self._base + len(self._data) - len(magic) + 1


def _inflater(compression: str) -> Any:
    if compression == ".gz":
        return zlib.decompressobj(31)
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


def _opens_with_record(compression: str) -> Callable[[bytes], bool]:
    """Whether compressed bytes are the start of a member that begins with a record."""

    def opens(data: bytes) -> bool:
        try:
            found: bytes = _inflater(compression).decompress(data, *((len(RECORD_MAGIC),) if compression == ".gz" else ()))
        except (zlib.error, zstandard.ZstdError):
            return False
        return found.startswith(RECORD_MAGIC)

    return opens


def _members(chunks: Iterable[bytes], compression: str, offset: int) -> Iterator[Piece]:
    """What the members of a compressed file hold; behind damage it goes on at the next one that begins with a record."""
    raw = _Raw(chunks, offset)
    magic, opens = MAGICS[compression], _opens_with_record(compression)
    head = raw.peek(len(DICTIONARY_FRAME))
    if head == DICTIONARY_FRAME:
        raise NotWarcError("zstd_dictionary", "its records are compressed with a dictionary, which is not read; compress them without one")
    if not head.startswith(magic):
        raise NotWarcError("not_compressed", f"the file does not begin as {compression} data")
    while raw.peek(1):
        start = raw.at
        if raw.peek(len(magic)) == magic:
            broken = yield from _Member(raw, compression).pieces()
            behind = max(start + 1, raw.at - LOOK_BACK_BYTES)
        elif raw.skip_zeros():
            damage = StreamDamage("garbage_between_members", f"what stands at byte {start} is no {compression} data", inside=False)
            broken, behind = Piece(b"", start, damage=damage), raw.at
        else:
            return  # padding
        if broken is not None:
            yield broken
            if not raw.move_to(magic, opens, behind):
                return


class _Member:
    """One member of a compressed file, which begins at the place of `raw`."""

    def __init__(self, raw: _Raw, compression: str) -> None:
        self._raw = raw
        self._compression = compression
        self._start = raw.at
        self._inflater = _inflater(compression)

    def pieces(self) -> Generator[Piece, None, Piece | None]:
        """What it holds; moves behind it, and returns a piece that tells what is wrong with it."""
        opening = b""
        opened = False
        try:
            for data in self._inflated():
                opening += data
                if len(opening) >= len(RECORD_MAGIC) or opened:
                    yield self._piece(opening, opened)
                    opening, opened = b"", True
        except (zlib.error, zstandard.ZstdError) as error:
            return self._broken("corrupt_member", f"is corrupt: {error}", opened)
        if not self._inflater.eof:
            return self._broken("truncated_member", "ends before its end mark", opened)
        self._raw.at -= len(self._inflater.unused_data)
        if not opened:
            yield self._piece(opening, opened)
        return None

    def _piece(self, data: bytes, opened: bool) -> Piece:
        return Piece(data) if opened else Piece(data, self._start, data.startswith(RECORD_MAGIC))

    def _inflated(self) -> Iterator[bytes]:
        limit = (MAX_INFLATED_BYTES,) if self._compression == ".gz" else ()
        while not self._inflater.eof and (data := self._raw.take(FEED_BYTES)):
            while data and not self._inflater.eof:
                yield self._inflater.decompress(data, *limit)
                data = self._inflater.unconsumed_tail

    def _broken(self, error: str, what: str, opened: bool) -> Piece:
        message = f"the {self._compression} data that begins at byte {self._start} {what}"
        return Piece(b"", -1 if opened else self._start, damage=StreamDamage(error, message, inside=opened))
