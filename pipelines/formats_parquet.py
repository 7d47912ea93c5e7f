"""Parquet: what a footer says of a file, and its rows.

Owns footers, the plan of byte ranges, decoding, and what becomes of a row group that cannot be decoded. Knows storage only as `Reads`.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.columns import plain_schema
from pipelines.conform import Conformer, Finding, plain_batch, sized
from pipelines.documents import NO_GROUPS, Damaged, Documents, FileDescription, InputFile, Listed, Reads, Slice, unreadable
from pipelines.errors import InputChanged, NotFound, StorageError, shown
from pipelines.footers import FOOTERS
from pipelines.readahead import BLOCK_BYTES, WINDOW_BYTES, AheadFile, ReadAhead, Segment, blocks_of

TAIL_BYTES = 64 << 10
MAX_TAIL_BYTES = 2 << 20
MAGIC = b"PAR1"
ENCRYPTED_MAGIC = b"PARE"

MAX_DECODE_ROWS = 8192
MAX_DICTIONARY_BYTES = 256 << 20
BUFFER_BYTES = 256 << 10
GIANT_BYTES = WINDOW_BYTES * 2 // 3
BEGUN_BYTES = 2 * BLOCK_BYTES

ARROW_ERRORS = (pa.ArrowException, OSError, ValueError)


class NotParquetError(Exception):
    """The bytes are no Parquet file that can be read: (error, message)."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(error, message)
        self.error = error
        self.message = message


def describe(sources: Reads, listed: Listed) -> FileDescription:
    """Read the footer of a file: one request, two where it is longer than 64 KiB.

    Raises:
        InputChanged: The object is no longer the one that was listed.
        StorageError: The store failed.
    """
    try:
        footer = _read_footer(sources, listed.uri, listed.etag, listed.size)
        with _PARSING:
            metadata = _parsed(footer)
            return FileDescription("parquet", _groups(metadata, listed.size), _columns(footer, metadata))
    except NotParquetError as problem:
        return unreadable("parquet", problem.error, problem.message)


def _columns(footer: bytes, metadata: pq.FileMetaData) -> pa.Schema:
    """The columns, asked of a reader: `metadata.schema` and the metadata would hold each other until some collection of garbage."""
    try:
        reader = pq.ParquetFile(pa.BufferReader(footer), metadata=metadata, arrow_extensions_enabled=False)
        schema = plain_schema(reader.schema_arrow)
    except ARROW_ERRORS as error:
        raise NotParquetError("corrupt_footer", f"the columns cannot be understood: {shown(error)}") from None
    if len(set(schema.names)) < len(schema.names):
        raise NotParquetError("repeated_column", f"two columns have the same name; the columns are: {shown(', '.join(schema.names))}")
    return schema


_PARSING = threading.Lock()
"""Footers are looked into one at a time: a parsed one of 10,000 row groups has tens of megabytes, and many are read at once."""


def _read_footer(sources: Reads, uri: str, etag: str, size: int) -> bytes:
    start = max(0, size - TAIL_BYTES)
    tail = sources.read_range(uri, start, size, etag=etag) if size else b""
    return _whole_footer(tail, size, lambda first, stop: sources.read_range(uri, first, stop, etag=etag))


def _whole_footer(tail: bytes, size: int, read: Callable[[int, int], bytes]) -> bytes:
    """The last bytes of a file, and with them its footer, reading on where they are too few.

    Raises:
        NotParquetError: There is no footer that can be read.
    """
    if size == 0:
        raise NotParquetError("empty_file", "the file has 0 bytes; a Parquet file has a footer")
    if tail[-4:] == ENCRYPTED_MAGIC:
        raise NotParquetError("encrypted_parquet", "the footer is encrypted; decrypt the file before the run")
    if size < 12 or tail[-4:] != MAGIC:
        if read(0, min(4, size)) == MAGIC:
            raise NotParquetError("truncated_parquet", f"the file begins as Parquet but its {size} bytes do not end in a footer")
        raise NotParquetError("not_parquet", "the file neither begins nor ends as Parquet")
    footer_bytes = struct.unpack("<I", tail[-8:-4])[0] + 8
    if footer_bytes > size:
        raise NotParquetError("corrupt_footer", f"the footer claims {footer_bytes} bytes of a file of {size}")
    if footer_bytes > len(tail):
        tail = read(size - footer_bytes, size - len(tail)) + tail
    return tail


def _parsed(footer: bytes) -> pq.FileMetaData:
    try:
        return pq.read_metadata(pa.BufferReader(footer))
    except ARROW_ERRORS as error:
        raise NotParquetError("corrupt_footer", f"the footer cannot be parsed: {shown(error)}") from None


def _groups(metadata: pq.FileMetaData, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows, offset, length, num_bytes of every row group.

    Places outside the file are brought inside; reading will say what is wrong.
    """
    groups = np.zeros((metadata.num_row_groups, 4), dtype=np.int64)
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if group.num_rows < 0:
            raise NotParquetError("corrupt_footer", f"row group {index} claims {group.num_rows} rows")
        chunks = [_chunk_range(group.column(column), size) for column in range(group.num_columns)]
        start = min((chunk[0] for chunk in chunks), default=0)
        stop = max((chunk[1] for chunk in chunks), default=0)
        groups[index] = group.num_rows, start, stop - start, max(group.total_byte_size, 0)
    return groups if len(groups) else NO_GROUPS


def _chunk_range(chunk: Any, size: int) -> tuple[int, int]:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    start = min(max(start, 0), size)
    return start, min(max(start + chunk.total_compressed_size, start), size)


@dataclass(slots=True, eq=False)
class RemoteParquet:
    """A Parquet file whose footer and row groups are being read ahead."""

    file: InputFile
    ahead: ReadAhead
    footer: Segment
    groups: list[Segment]
    metadata: pq.FileMetaData | None = None


def plan_remote(ahead: ReadAhead, file: InputFile, slices: Sequence[Slice]) -> RemoteParquet:
    """Plan the requests for some slices of a file: the footer, and with it the row groups, each as contiguous blocks.

    A row group far above the window is planned when the footer is there, column by column in the order in which rows need them, so that
    memory stays bounded while every column is read ahead; and so is one of which only a first part is wanted. A footer that an earlier unit
    of the file left is not asked for again.
    """
    known = FOOTERS.find(file)
    tail = 0 if known is not None else _tail_bytes(file)
    remote = RemoteParquet(file, ahead, Segment(), [], known)
    giants: list[tuple[Segment, Slice]] = []

    def on_footer(data: bytes) -> None:
        remote.metadata = _parsed(
            _whole_footer(data, file.size, lambda start, stop: ahead.sources.read_range(file.uri, start, stop, etag=file.etag))
        )
        FOOTERS.keep(file, remote.metadata)
        for segment, giant in giants:
            ahead.fill(segment, file.uri, file.etag, _column_blocks(remote.metadata, giant, file.size))

    remote.footer = ahead.append(file.uri, file.etag, [(file.size - tail, file.size)] if known is None else [], on_footer)
    for piece in slices:
        group = file.row_groups[piece.row_group]
        by_column = group.length > GIANT_BYTES or (group.length > BEGUN_BYTES and piece.stop < group.rows // 2)
        if by_column and known is not None:
            segment = ahead.append(file.uri, file.etag, _column_blocks(known, piece, file.size))
        elif by_column:
            segment = ahead.reserve()
            giants.append((segment, piece))
        else:
            stop = min(group.offset + group.length, file.size - tail)
            segment = ahead.append(file.uri, file.etag, blocks_of(group.offset, stop))
        remote.groups.append(segment)
    return remote


def _tail_bytes(file: InputFile) -> int:
    """Bytes at the end of a file to ask for at first: all of a small file, else what follows the row groups, since the footer is there."""
    last = file.row_groups[-1]
    after = file.size - last.offset - last.length
    if file.size <= BLOCK_BYTES:
        return file.size
    return max(after, TAIL_BYTES) if after <= MAX_TAIL_BYTES else TAIL_BYTES


def _column_blocks(metadata: pq.FileMetaData, piece: Slice, size: int) -> list[tuple[int, int]]:
    """The blocks of a row group in the order of their use: what lies first in its column comes first; neighbours are joined."""
    if piece.row_group >= metadata.num_row_groups:
        return []
    group = metadata.row_group(piece.row_group)
    needed = piece.stop / max(group.num_rows, 1)
    keyed: list[tuple[float, int, int]] = []
    for start, stop in sorted(_chunk_range(group.column(index), size) for index in range(group.num_columns)):
        if stop - start <= BLOCK_BYTES and keyed and keyed[-1][2] == start and stop - keyed[-1][1] <= BLOCK_BYTES:
            keyed[-1] = (0.0, keyed[-1][1], stop)
            continue
        blocks = blocks_of(start, stop)
        keyed += [(index / len(blocks), *block) for index, block in enumerate(blocks) if index <= needed * len(blocks)]
    return [(start, stop) for _, start, stop in sorted(keyed)]


def read_remote(remote: RemoteParquet, slices: Sequence[Slice], conformer: Conformer, batch_bytes: int) -> Iterator[Documents | Damaged]:
    """Documents and damage of the planned slices."""
    file, ahead = remote.file, remote.ahead
    ahead.start()
    for block in remote.footer.blocks or []:
        try:
            ahead.bytes_of(block)
        except NotParquetError as problem:
            raise _changed(file, problem.message) from None
    source = AheadFile(ahead, file.uri, file.etag, file.size)
    with pa.PythonFile(source, "r") as handle:
        reader = _open(handle, file, remote.metadata)
        for piece, segment in zip(slices, remote.groups, strict=True):
            source.segments = [segment, remote.footer]
            yield from _read_slice(reader, piece, conformer, batch_bytes, lambda: ahead.failure)
            ahead.release(segment)
    ahead.release(remote.footer)


def read_local(
    sources: Reads, file: InputFile, slices: Sequence[Slice], conformer: Conformer, batch_bytes: int
) -> Iterator[Documents | Damaged]:
    """Documents and damage of slices of a local file, which must be the listed one before and after.

    Raises:
        InputChanged: The file is not the one that was listed.
    """
    _check_unchanged(sources, file)
    with pa.OSFile(os.fspath(file.uri)) as handle:
        known = FOOTERS.find(file)
        reader = _open(handle, file, known)
        if known is None:
            FOOTERS.keep(file, reader.metadata)
        for piece in slices:
            for item in _read_slice(reader, piece, conformer, batch_bytes, lambda: None):
                if isinstance(item, Damaged):
                    _check_unchanged(sources, file)
                yield item
    _check_unchanged(sources, file)


def _check_unchanged(sources: Reads, file: InputFile) -> None:
    try:
        found = sources.info(file.uri)
    except NotFound:
        raise _changed(file, "it is gone") from None
    if found.etag != file.etag:
        raise _changed(file, f"it has etag {shown(found.etag)}, the inventory says {shown(file.etag)}")


def _changed(file: InputFile, message: str) -> InputChanged:
    return InputChanged(f"{file.uri}: not the file that the inventory listed: {message}; run again to list the input anew")


def _open(handle: pa.NativeFile, file: InputFile, metadata: pq.FileMetaData | None) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            handle,
            metadata=metadata,
            buffer_size=BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
            arrow_extensions_enabled=False,
        )
    except ARROW_ERRORS as error:
        raise _changed(file, shown(error)) from error


def _read_slice(
    reader: pq.ParquetFile, piece: Slice, conformer: Conformer, batch_bytes: int, failure: Callable[[], BaseException | None]
) -> Iterator[Documents | Damaged]:
    """Documents and damage of one slice; from the first page that cannot be decoded on, its rows are damaged.

    Decoding goes in multiples of a quantum of rows that the row group alone decides. When it fails it is done again quantum by quantum
    from there, so that which rows are lost depends neither on `batch_bytes` nor on the slices.
    """
    group = _group_of(reader, piece)
    base = piece.file.row_groups[piece.row_group].first_row
    refusal = conformer.refusal(reader.schema_arrow)
    columns = None if refusal is None else _id_columns(reader.schema_arrow, conformer)
    done = piece.start
    if refusal is None or columns is not None:
        for num_rows in (_decode_rows(group, batch_bytes), _quantum(group)):
            decoding = _Decoding(reader, piece, done, num_rows, columns)
            for batch, first in sized(decoding.batches(), batch_bytes):
                rows = np.arange(base + first, base + first + batch.num_rows, dtype=np.int64)
                if refusal is None:
                    yield from conformer.conform(batch, piece.row_group, rows)
                else:
                    yield from conformer.damaged(batch, piece.row_group, rows, Finding(np.arange(batch.num_rows), *refusal))
                done = first + batch.num_rows
            if decoding.error is None:
                return
            _raise_storage_failure(piece.file, failure(), decoding.error)
        refusal = refusal or ("corrupt_row_group", f"row group {piece.row_group}: {shown(decoding.error)}")
    yield from conformer.lost(piece.row_group, base + done, base + piece.stop, *refusal)


@dataclass(slots=True, eq=False)
class _Decoding:
    """One pass over a slice from row `start` of its row group on; `error` says why it ended early."""

    reader: pq.ParquetFile
    piece: Slice
    start: int
    num_rows: int
    columns: list[str] | None
    error: Exception | None = None

    def batches(self) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Batches with their first row in the row group. Decoding begins with the row group, since Parquet has no way in."""
        first = 0
        try:
            for batch in self.reader.iter_batches(self.num_rows, [self.piece.row_group], columns=self.columns, use_threads=False):
                skip = max(0, self.start - first)
                keep = min(batch.num_rows, self.piece.stop - first) - skip
                if keep > 0:
                    yield plain_batch(batch.slice(skip, keep)), first + skip
                first += batch.num_rows
                if first >= self.piece.stop:
                    return
        except (MemoryError, pa.ArrowCancelled):
            raise
        except ARROW_ERRORS as error:
            self.error = error
            return
        self.error = pa.ArrowInvalid(f"it ends after {first} rows, {self.piece.stop} were listed")


def _group_of(reader: pq.ParquetFile, piece: Slice) -> pq.RowGroupMetaData:
    metadata = reader.metadata
    if piece.row_group >= metadata.num_row_groups or piece.stop > metadata.row_group(piece.row_group).num_rows:
        found = f"{metadata.num_rows} rows in {metadata.num_row_groups} row groups"
        raise _changed(piece.file, f"it has {found}, too few for rows {piece.start} to {piece.stop} of row group {piece.row_group}")
    return metadata.row_group(piece.row_group)


def _quantum(group: pq.RowGroupMetaData) -> int:
    """Rows that are decoded, or lost, together: a power of two up to 64, about 1 MiB."""
    average = max(int(group.total_byte_size) // max(int(group.num_rows), 1), 1)
    return 1 << min(max((1 << 20) // average, 1).bit_length() - 1, 6)


def _decode_rows(group: pq.RowGroupMetaData, batch_bytes: int) -> int:
    """Rows to decode at once: equal parts of the row group below `batch_bytes` by its average, at most 8192, a multiple of the quantum.

    A column that is a dictionary throughout can hold far more text than its bytes say: as many rows as would reach 256 MiB if each were
    the whole dictionary.
    """
    num_parts = -(-max(int(group.total_byte_size), 1) // batch_bytes)
    rows = min(-(-int(group.num_rows) // num_parts), MAX_DECODE_ROWS)
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.has_dictionary_page and "PLAIN" not in chunk.encodings and chunk.physical_type.endswith("BYTE_ARRAY"):
            rows = min(rows, MAX_DICTIONARY_BYTES // max(chunk.total_uncompressed_size, 1))
    quantum = _quantum(group)
    return -(-max(rows, 1) // quantum) * quantum


def _id_columns(found: pa.Schema, conformer: Conformer) -> list[str] | None:
    name = conformer.options.id_column
    if name is None or found.get_field_index(name) < 0 or found.field(name).type.num_fields:
        return None
    return [name]


def _raise_storage_failure(file: InputFile, failure: BaseException | None, error: Exception) -> None:
    """Raise what is the store's fault: it is no damage of the file."""
    if failure is not None:
        raise failure
    if isinstance(error, OSError) and error.errno is not None:
        raise StorageError(f"{file.uri}: reading failed: {shown(error)}; check the disk or the network file system") from error
