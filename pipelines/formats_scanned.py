"""What the formats share whose files are scanned in full to know their row groups: row groups are byte ranges, read from front to back.

Owns the requests for those ranges, near and far. Knows no format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.conform import Conformer
from pipelines.documents import Damaged, Documents, InputFile, Reads, Slice
from pipelines.errors import InputChanged
from pipelines.readahead import ReadAhead, Segment, blocks_of

ReadSlice = Callable[[Slice, Iterable[bytes], Conformer, int], Iterator[Documents | Damaged]]
"""What a format does: documents and damage of a slice, out of the bytes of its row group in chunks."""


@dataclass(slots=True, eq=False)
class RemoteRanges:
    """A file of which some slices are being read ahead, each in its segment."""

    ahead: ReadAhead
    segments: list[Segment] = field(default_factory=list)


def plan_remote(ahead: ReadAhead, file: InputFile, slices: Sequence[Slice]) -> RemoteRanges:
    """Plan the requests for some slices of a file: the byte ranges of their row groups."""
    remote = RemoteRanges(ahead)
    for piece in slices:
        remote.segments.append(ahead.append(file.uri, file.etag, ranges_of(piece)))
    return remote


def read_remote(
    remote: RemoteRanges, slices: Sequence[Slice], read_slice: ReadSlice, conformer: Conformer, batch_bytes: int
) -> Iterator[Documents | Damaged]:
    """Documents and damage of the planned slices."""
    for piece, segment in zip(slices, remote.segments, strict=True):
        yield from read_slice(piece, chunks_of(remote.ahead, segment), conformer, batch_bytes)
        remote.ahead.release(segment)


def read_local(
    sources: Reads, file: InputFile, slices: Sequence[Slice], read_slice: ReadSlice, conformer: Conformer, batch_bytes: int
) -> Iterator[Documents | Damaged]:
    """Documents and damage of slices of a local file; each block is read from the listed version or not at all."""
    for piece in slices:
        chunks = (sources.read_range(file.uri, start, stop, etag=file.etag) for start, stop in ranges_of(piece))
        yield from read_slice(piece, chunks, conformer, batch_bytes)


def chunks_of(ahead: ReadAhead, segment: Segment) -> Iterator[bytes]:
    """The bytes of planned blocks in order; each is let go once it was given out."""
    ahead.start()
    for block in segment.blocks or []:
        data = ahead.bytes_of(block)
        ahead.consumed(block, len(data))
        yield data


def ranges_of(piece: Slice) -> list[tuple[int, int]]:
    """The byte range of a slice's row group, cut into blocks."""
    group = piece.file.row_groups[piece.row_group]
    return blocks_of(group.offset, group.offset + group.length)


def changed(file: InputFile, message: str) -> InputChanged:
    """The error for a file in which something else is than its description says."""
    return InputChanged(f"{file.uri}: not the file that the inventory listed: {message}; run again to list the input anew")
