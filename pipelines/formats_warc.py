"""WARC and WET files: what a scan finds in one, and the rows of slices of it.

Owns the cutting of files into row groups, where a record begins, in a compressed file a member. Each document is a row (see
formats_warc_pages.py for what is one), and so is each place that is damaged: a record whose length is wrong, bytes that are no record, a
compressed member that is broken, a page that cannot be decoded. Other records are no rows, as blank lines are none in a JSONL file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.conform import Conformer
from pipelines.documents import NO_GROUPS, Damaged, Documents, FileDescription, Listed, ReadOptions, Reads, Slice, unreadable
from pipelines.formats_scanned import changed, chunks_of
from pipelines.formats_warc_http import BodyError
from pipelines.formats_warc_members import NotWarcError, Stretch, stretches
from pipelines.formats_warc_pages import Page, page_of, schema_of, text_of, values_of
from pipelines.formats_warc_records import Broken, records
from pipelines.readahead import ReadAhead, blocks_of

GROUP_BYTES = 64 << 20
ROW_BYTES: Final = 256
"""About what the columns of a document take beside its text."""


# --- the scan


def describe(sources: Reads, listed: Listed, file_format: str, options: ReadOptions) -> FileDescription:
    """Scan a file in full: its documents counted, cut into row groups where a record begins, of a compressed file a member.

    Raises:
        InputChanged: The object is no longer the one that was listed.
        StorageError: The store failed.
    """
    compression = file_format.removeprefix("warc")
    if listed.size == 0 and compression:
        return unreadable(file_format, "empty_file", f"the file has 0 bytes; {compression} data has a header")
    with ReadAhead(sources) as ahead:
        segment = ahead.append(listed.uri, listed.etag, blocks_of(0, listed.size))
        scan = _Scan()
        try:
            for stretch in stretches(chunks_of(ahead, segment), compression, 0, listed.size):
                scan.add(stretch, is_plain=not compression)
        except NotWarcError as problem:
            return unreadable(file_format, problem.error, problem.message)
    if scan.nonsense is not None and not scan.has_records:
        return unreadable(file_format, "not_warc", f"there is no WARC record in it; {scan.nonsense}")
    return FileDescription(file_format, scan.groups(listed.size), schema_of(options.text_column))


@dataclass(slots=True, eq=False)
class _Scan:
    """What was seen of a file so far.

    Attributes:
        cuts: Rows, offset and uncompressed bytes of every row group but the last.
        nonsense: What the first thing was that is no record.
    """

    cuts: list[tuple[int, int, int]] = field(default_factory=list)
    offset: int = 0
    rows: int = 0
    num_bytes: int = 0
    has_records: bool = False
    nonsense: str | None = None

    def add(self, stretch: Stretch, *, is_plain: bool) -> None:
        """Count the rows of a stretch; a row group may begin with it, and in a plain file with any record."""
        if not is_plain:
            self._may_cut(stretch.offset)
        for item in records(stretch):
            if isinstance(item, Broken):
                self.nonsense = self.nonsense or item.message
                self.has_records |= item.error != "malformed_record"
                self.rows += 1
                continue
            if is_plain:
                self._may_cut(stretch.offset + item.start)
            self.has_records = True
            self.rows += page_of(item) is not None
            self.num_bytes += item.num_bytes

    def _may_cut(self, offset: int) -> None:
        if self.rows and self.num_bytes >= GROUP_BYTES:
            self.cuts.append((self.rows, self.offset, self.num_bytes))
            self.offset, self.rows, self.num_bytes = offset, 0, 0

    def groups(self, size: int) -> Any:
        """The row groups; what follows the last document belongs to the last one."""
        cuts = [*self.cuts, (self.rows, self.offset, self.num_bytes)] if self.rows else self.cuts
        if not cuts:
            return NO_GROUPS
        stops = [*(offset for _, offset, _ in cuts[1:]), size]
        return np.array(
            [[rows, offset, stop - offset, num_bytes] for (rows, offset, num_bytes), stop in zip(cuts, stops, strict=True)], dtype=np.int64
        )


# --- reading


def read_slice(piece: Slice, chunks: Iterable[bytes], conformer: Conformer, batch_bytes: int) -> Iterator[Documents | Damaged]:
    """Documents and damage of a slice, whose row group's bytes come in chunks."""
    first_row = piece.file.row_groups[piece.row_group].first_row
    refusal = conformer.refusal(piece.file.schema)
    if refusal is not None:
        yield from conformer.lost(piece.row_group, first_row + piece.start, first_row + piece.stop, *refusal)
        return
    batch = _Batch(conformer, piece.row_group)
    seen = 0
    for item in _rows(piece, chunks):
        if seen >= piece.start:
            batch.add(first_row + seen, item)
            if batch.num_bytes >= batch_bytes:
                yield from batch.flush()
        seen += 1
        if seen == piece.stop:
            yield from batch.flush()
            return
    raise changed(piece.file, f"{seen} documents where {piece.stop} or more were listed")


def _rows(piece: Slice, chunks: Iterable[bytes]) -> Iterator[Page | Broken]:
    """What counts as a row in a row group, in order."""
    compression = piece.file.format.removeprefix("warc")
    offset = piece.file.row_groups[piece.row_group].offset
    try:
        for stretch in stretches(chunks, compression, offset, piece.file.size):
            for item in records(stretch):
                page = item if isinstance(item, Broken) else page_of(item)
                if page is not None:
                    yield page
    except NotWarcError as problem:
        raise changed(piece.file, problem.message) from None


class _Batch:
    """Documents and damage of one row group until they are enough to be given out."""

    def __init__(self, conformer: Conformer, row_group: int) -> None:
        self.num_bytes = 0
        self._conformer = conformer
        self._row_group = row_group
        self._schema = schema_of(conformer.options.text_column)
        self._rows: list[int] = []
        self._texts: list[bytes] = []
        self._about: list[dict[str, Any]] = []
        self._broken: dict[tuple[str, str], list[tuple[int, str | None]]] = {}

    def add(self, row: int, item: Page | Broken) -> None:
        """Decode a page and keep it, or why it cannot be decoded."""
        if isinstance(item, Page):
            try:
                text, charset = text_of(item)
            except BodyError as problem:
                item = Broken(problem.error, f"the record at {item.record.place}: {problem.message}", item.record.id)
            else:
                self._rows.append(row)
                self._texts.append(text)
                self._about.append(values_of(item, charset))
                self.num_bytes += len(text) + ROW_BYTES
                return
        self._broken.setdefault((item.error, item.message), []).append((row, item.id))
        self.num_bytes += ROW_BYTES

    def flush(self) -> Iterator[Documents | Damaged]:
        """Give out what is kept."""
        if self._rows:
            rows = np.array(self._rows, dtype=np.int64)
            yield from self._conformer.conform(self._arrow(), self._row_group, rows)
        for (error, message), places in self._broken.items():
            ids = pa.array([name for _, name in places], pa.string())
            rows = np.array([row for row, _ in places], dtype=np.int64)
            yield Damaged(self._conformer.file, self._row_group, rows, ids, error, message)
        self._rows, self._texts, self._about, self._broken, self.num_bytes = [], [], [], {}, 0

    def _arrow(self) -> pa.RecordBatch:
        text = pa.array(self._texts, pa.large_binary()).view(pa.large_string())
        columns = [
            text
            if column.name == self._conformer.options.text_column
            else pa.array([about[column.name] for about in self._about], column.type)
            for column in self._schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)
