"""Records out of the bytes of a WARC file, and what stands where a record should.

Owns what a record is (ISO 28500: a version, named fields, a block of `Content-Length` bytes, an empty line or two) and how reading goes on
behind one that is none. Knows neither HTTP nor documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipelines.errors import shown
from pipelines.formats_warc_members import RECORD_MAGIC, Stretch

MAX_RECORD_BYTES: Final = 128 << 20
"""Longer blocks are never held in memory."""
LEAD_BYTES: Final = 64 << 10
"""What is kept of a longer block: its HTTP header."""
MAX_HEAD_BYTES: Final = 64 << 10
SEARCH_BYTES: Final = 64 << 10
BLANKS: Final = b"\r\n"
END: Final = b"\r\n\r\n"
MAX_BLANKS: Final = 1024

VERSION = re.compile(rb"WARC/\d{1,2}\.\d{1,2}[ \t]{0,16}\r?\n")
NEXT_RECORD: Final = b"\n" + RECORD_MAGIC
MAX_VERSION_BYTES: Final = 64
FIELD = re.compile(rb"([^\s:]+)[ \t]*:((?:[^\n]|\n[ \t])*)")
DIGITS = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose end was found where it says.

    Attributes:
        fields: By lower-cased name; the first of a name counts.
        block: Its content; of one longer than MAX_RECORD_BYTES only the beginning.
        num_bytes: Length of the whole content.
        start: Place in its stretch.
        place: Place in the file, for a message.
    """

    fields: dict[str, str]
    block: bytes
    num_bytes: int
    start: int
    place: str

    @property
    def is_whole(self) -> bool:
        """Whether `block` is all of it."""
        return len(self.block) == self.num_bytes

    @property
    def id(self) -> str | None:
        """Its identifier without the brackets and the scheme of a UUID."""
        found = self.fields.get("warc-record-id")
        return None if found is None else found.removeprefix("<").removesuffix(">").removeprefix("urn:uuid:")


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where no record is, or one that is not what it says; counts as one row."""

    error: str
    message: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class _Head:
    """A version and named fields; `num_bytes` with the empty line behind them."""

    fields: dict[str, str]
    length: int
    num_bytes: int


def records(stretch: Stretch) -> Iterator[Record | Broken]:
    """The records of a stretch in order; whatever is none is told once, and reading goes on at the next that is."""
    while _skip_blanks(stretch):
        head = _head(stretch)
        if isinstance(head, str):
            found: Record | Broken | None = Broken("malformed_record", f"{stretch.place()}: {head}")
            stretch.drop(1)
            _move_to_record(stretch)
        elif head.length > MAX_RECORD_BYTES:
            found = _long_record(stretch, head)
        else:
            found = _record(stretch, head)
        if isinstance(found, Record) or (found is not None and not _ends_damaged(stretch)):
            yield found
    if stretch.damage is not None:
        yield Broken(stretch.damage.error, stretch.damage.message)


def _ends_damaged(stretch: Stretch) -> bool:
    """Whether nothing is left but bytes that are damaged: what was found wrong before them is a part of that."""
    return not stretch.fill(1) and stretch.damage is not None and stretch.damage.inside


def _record(stretch: Stretch, head: _Head) -> Record | Broken | None:
    """The record that begins here; None if the bytes that it came from are damaged, which is told when they end."""
    stop = head.num_bytes + head.length
    if stretch.position + stop > stretch.limit:
        return _misfit(stretch, head)
    is_there = stretch.fill(stop)
    after = _first_not_blank(stretch, stop) if is_there else stop
    is_followed = is_there and stretch.fill(after + 1)
    if not stretch.has_member_start(stop, after):
        if not is_followed and stretch.damage is not None and (stretch.damage.inside or not is_there):
            stretch.drop(len(stretch.buffer))
            return None
        if not is_there or (is_followed and not _may_follow(stretch, stop, after)):
            return _misfit(stretch, head)
    with memoryview(stretch.buffer) as view:
        block = bytes(view[head.num_bytes : stop])
    found = Record(head.fields, block, head.length, stretch.position, stretch.place())
    stretch.drop(after)
    return found


def _long_record(stretch: Stretch, head: _Head) -> Record | Broken | None:
    """The same for one whose block is not held in memory; behind it, not in it, the next record is sought if its length is wrong."""
    place, start = stretch.place(), stretch.position
    stop = head.num_bytes + head.length
    if start + stop > stretch.limit:
        return _misfit(stretch, head)
    stretch.fill(head.num_bytes + LEAD_BYTES)
    block = bytes(stretch.buffer[head.num_bytes : head.num_bytes + LEAD_BYTES])
    if not stretch.skip(stop):
        return _wrong_length(place, head)
    after = _first_not_blank(stretch, 0)
    if not stretch.has_member_start(0, after) and stretch.fill(after + 1) and not _may_follow(stretch, 0, after):
        _move_to_record(stretch)
        return _wrong_length(place, head)
    stretch.drop(after)
    return None if _ends_damaged(stretch) else Record(head.fields, block, head.length, start, place)


def _misfit(stretch: Stretch, head: _Head) -> Broken:
    """A record whose length is wrong; what follows its head may be other records, so the next is sought from there."""
    found = _wrong_length(stretch.place(), head)
    stretch.drop(head.num_bytes)
    _move_to_record(stretch)
    return found


def _wrong_length(place: str, head: _Head) -> Broken:
    return Broken("wrong_length", f"the record at {place} does not end where its Content-Length of {head.length} bytes says", _id(head))


def _id(head: _Head) -> str | None:
    return Record(head.fields, b"", 0, 0, "").id


def _skip_blanks(stretch: Stretch) -> bool:
    """Move to the first byte that is no line end; False if there is none."""
    while stretch.fill(1):
        window = bytes(stretch.buffer[:MAX_BLANKS])
        left = len(window.lstrip(BLANKS))
        stretch.drop(len(window) - left)
        if left:
            return True
    return False


def _first_not_blank(stretch: Stretch, start: int) -> int:
    """Place in the buffer of the first byte from `start` on that is no line end; if there is none near, the farthest looked at."""
    at = start
    while at < start + MAX_BLANKS and stretch.fill(at + 1) and stretch.buffer[at] in BLANKS:
        at += 1
    return at


def _may_follow(stretch: Stretch, stop: int, after: int) -> bool:
    """Whether a record ends at `stop`: behind it stand the two line ends of the standard, or another record."""
    return stretch.buffer.startswith(END, stop) or (
        stretch.fill(after + len(RECORD_MAGIC)) and stretch.buffer.startswith(RECORD_MAGIC, after)
    )


def _head(stretch: Stretch) -> _Head | str:
    """The head of the record that begins here, or why there is none."""
    stretch.fill(MAX_VERSION_BYTES)
    if VERSION.match(stretch.buffer) is None:
        return f"expected a record, which begins with WARC/1.1, found {shown(bytes(stretch.buffer[:32]))}"
    stop = _head_end(stretch)
    if stop < 0 or stretch.buffer.find(NEXT_RECORD, 0, stop) >= 0:
        return "the record's fields do not end; expected an empty line"
    fields: dict[str, str] = {}
    head = bytes(stretch.buffer[:stop])
    for name, value in FIELD.findall(head, head.index(b"\n") + 1):
        fields.setdefault(name.decode("latin-1").lower(), b" ".join(value.split()).decode("utf-8", "replace"))
    length = fields.get("content-length", "")
    if DIGITS.fullmatch(length) is None:
        return f"the record's Content-Length is {shown(length) or 'missing'}; expected a number of bytes"
    if not fields.get("warc-type"):
        return "the record has no WARC-Type"
    return _Head(fields, int(length), stop)


def _head_end(stretch: Stretch) -> int:
    """Where in the buffer the empty line behind the fields ends; -1 if there is none within reach."""
    searched = 0
    for reach in (2048, 8192, MAX_HEAD_BYTES):
        more = stretch.fill(reach)
        ends = [(at, len(end)) for end in (b"\n\r\n", b"\n\n") if (at := stretch.buffer.find(end, max(0, searched - 3), reach)) >= 0]
        if ends:
            at, size = min(ends)
            return at + size
        if not more:
            break
        searched = reach
    return -1


def _move_to_record(stretch: Stretch) -> None:
    """Move to the next record whose head can be read, or to the end."""
    found = 0
    while found < 0 or isinstance(_head(stretch), str):
        stretch.fill(SEARCH_BYTES)
        found = stretch.buffer.find(NEXT_RECORD)
        if found >= 0:
            stretch.drop(found + 1)
        elif stretch.fill(len(stretch.buffer) + 1):
            stretch.drop(len(stretch.buffer) - len(NEXT_RECORD))
        else:
            stretch.drop(len(stretch.buffer))
            return
