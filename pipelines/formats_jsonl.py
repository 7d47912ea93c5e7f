"""JSON lines, plain or compressed: what a scan finds in a file, and its rows.

Owns the cutting of plain files into row groups at line ends, and what becomes of damaged streams. A compressed file is one row group.
Where its stream ends early, the damage itself counts as one row, the last, which is always reported as damaged: the lines before it are
documents, and the loss is in the ledger. A stream whose checksum or codes are wrong is unreadable as a whole: nothing in it can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.columns import unified_schema
from pipelines.conform import Conformer, sized
from pipelines.documents import NO_GROUPS, Damaged, Documents, FileDescription, Listed, ReadOptions, Reads, Slice, unreadable
from pipelines.formats_scanned import changed, chunks_of
from pipelines.json_rows import BadLine, JsonReader
from pipelines.json_schema import inferred_schema
from pipelines.jsonlines import BYTE_ORDER_MARK, CorruptStreamError, Damage, Lines, decompressed, line_blocks, lines_of
from pipelines.readahead import ReadAhead, blocks_of

GROUP_BYTES = 64 << 20
BLOCK_BYTES = 8 << 20


def describe(sources: Reads, listed: Listed, file_format: str, options: ReadOptions) -> FileDescription:
    """Scan a file in full: its lines counted, its columns inferred, a plain one cut into row groups.

    Raises:
        InputChanged: The object is no longer the one that was listed.
        StorageError: The store failed.
    """
    compression = file_format.removeprefix("jsonl")
    if listed.size == 0 and compression:
        return unreadable(file_format, "empty_file", f"the file has 0 bytes; {compression} data has a header")
    with ReadAhead(sources) as ahead:
        segment = ahead.append(listed.uri, listed.etag, blocks_of(0, listed.size))
        damage = Damage()
        try:
            scan = _scanned(chunks_of(ahead, segment), compression, damage, options.text_column)
        except CorruptStreamError as problem:
            return unreadable(file_format, problem.error, problem.message)
    if compression and (scan.rows or damage.found is not None):
        num_rows = scan.rows + (damage.found is not None)
        groups = np.array([[num_rows, 0, listed.size, scan.num_bytes]], dtype=np.int64)
    else:
        groups = np.array(scan.groups, dtype=np.int64).reshape(-1, 4) if scan.groups else NO_GROUPS
    return FileDescription(file_format, groups, scan.schema)


@dataclass(slots=True, eq=False)
class _Scan:
    """What was seen of a stream so far; `groups` are rows, offset, length, num_bytes."""

    schema: pa.Schema
    groups: list[list[int]]
    rows: int = 0
    num_bytes: int = 0


def _scanned(chunks: Iterable[bytes], compression: str, damage: Damage, text_column: str) -> _Scan:
    scan = _Scan(pa.schema([]), [])
    for offset, block in _blocks(chunks, compression, damage):
        lines = lines_of(block)
        scan.schema = unified_schema([scan.schema, inferred_schema(lines, text_column)], text_column)
        scan.rows += len(lines)
        scan.num_bytes += len(block)
        last = scan.groups[-1] if scan.groups else None
        if last is not None and last[2] + len(block) <= GROUP_BYTES:
            last[0] += len(lines)
            last[2] += len(block)
            last[3] += len(block)
        elif len(lines):
            scan.groups.append([len(lines), offset, len(block), len(block)])
    return scan


def _blocks(chunks: Iterable[bytes], compression: str, damage: Damage) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines of a file with their place in its uncompressed stream."""
    stream = decompressed(chunks, compression, damage) if compression else chunks
    offset = 0
    for block in line_blocks(stream, damage, BLOCK_BYTES):
        marked = offset == 0 and block.startswith(BYTE_ORDER_MARK)
        skip = len(BYTE_ORDER_MARK) if marked else 0
        yield offset + skip, block[skip:] if skip else block
        offset += len(block)


def read_slice(piece: Slice, chunks: Iterable[bytes], conformer: Conformer, batch_bytes: int) -> Iterator[Documents | Damaged]:
    """Documents and damage of a slice, whose row group's bytes come in chunks."""
    base = piece.file.row_groups[piece.row_group].first_row
    refusal = conformer.refusal(piece.file.schema) if piece.file.schema.names else None
    if refusal is not None and refusal[0] != "schema_mismatch":
        yield from conformer.lost(piece.row_group, base + piece.start, base + piece.stop, *refusal)
        return
    reader = _reader(conformer)
    damage = Damage()
    seen = 0
    for lines in _lines(piece, chunks, damage):
        first, stop = max(piece.start - seen, 0), min(piece.stop - seen, len(lines))
        if first < stop:
            yield from _read_lines(
                reader, lines, (first, stop), base + seen, row_group=piece.row_group, conformer=conformer, batch_bytes=batch_bytes
            )
        seen += len(lines)
        if seen >= piece.stop:
            return
    if damage.found is not None and seen == piece.stop - 1:
        yield from conformer.lost(piece.row_group, base + seen, base + piece.stop, *damage.found)
    else:
        raise changed(piece.file, f"{seen} lines where {piece.stop} or more were listed")


def _lines(piece: Slice, chunks: Iterable[bytes], damage: Damage) -> Iterator[Lines]:
    compression = piece.file.format.removeprefix("jsonl")
    try:
        if compression:
            yield from (lines_of(block) for _, block in _blocks(chunks, compression, damage))
        else:
            yield from (lines_of(block) for block in line_blocks(chunks, damage, BLOCK_BYTES))
    except CorruptStreamError as problem:
        raise changed(piece.file, problem.message) from None


def _reader(conformer: Conformer) -> JsonReader:
    options = conformer.options
    schema = pa.schema([column for column in conformer.schema if column.name not in options.path_columns])
    return JsonReader(schema, options.text_column, options.id_column)


def _read_lines(
    reader: JsonReader, lines: Lines, bounds: tuple[int, int], base: int, *, row_group: int, conformer: Conformer, batch_bytes: int
) -> Iterator[Documents | Damaged]:
    """Documents and damage of some lines of a block, whose line 0 is row `base` of the file."""
    bad: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
    for first, found in reader.parse(lines, *bounds):
        if isinstance(found, BadLine):
            bad.setdefault((found.error, found.message), []).append((base + first, found.id))
            continue
        for batch, start in sized([(found, first)], batch_bytes):
            rows = np.arange(base + start, base + start + batch.num_rows, dtype=np.int64)
            yield from conformer.conform(batch, row_group, rows)
    for (error, message), places in bad.items():
        rows = np.array([row for row, _ in places], dtype=np.int64)
        ids = pa.array([name for _, name in places], pa.string())
        yield Damaged(conformer.file, row_group, rows, None if ids.null_count == len(ids) else ids, error, message)
