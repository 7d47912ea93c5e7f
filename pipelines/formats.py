"""Reading the input: which format a file has, what is in it, and the documents of slices of it.

Owns the choice of the reader and the read-ahead over all files of a unit. Knows storage only as `Reads`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby

import pyarrow as pa

from pipelines import formats_jsonl, formats_parquet, formats_scanned, formats_warc
from pipelines.conform import Conformer
from pipelines.documents import Damaged, Documents, FileDescription, InputFile, Listed, ReadOptions, Reads, Slice
from pipelines.errors import InputError
from pipelines.formats_scanned import ReadSlice
from pipelines.readahead import WINDOW_BYTES, ReadAhead

__all__ = ["Damaged", "Documents", "ReadOptions", "Slice", "describe", "format_of", "read"]

EXTENSIONS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".warc": "warc",
    ".wet": "warc",
}
SCANNED: dict[str, ReadSlice] = {"jsonl": formats_jsonl.read_slice, "warc": formats_warc.read_slice}
"""Formats whose files are scanned in full once, by what reads their slices."""
COMPRESSIONS = {".gz": ".gz", ".zst": ".zst", ".zstd": ".zst"}


def format_of(uri: str, declared: str | None) -> str:
    """The format of a file: `parquet`, or `jsonl` or `warc` with its compression, which the extension tells: `jsonl.gz`, `warc.zst`.

    Raises:
        InputError: Neither the setting nor the extension tells a format that can be read.
    """
    name = uri.rsplit("/", 1)[-1].lower()
    compression = next((kind for extension, kind in COMPRESSIONS.items() if name.endswith(extension)), "")
    stem = name.rsplit(".", 1)[0] if compression else name
    found = declared or next((kind for extension, kind in EXTENSIONS.items() if stem.endswith(extension)), None)
    if found is None:
        known = ", ".join([*EXTENSIONS, ".jsonl.gz", ".jsonl.zst", ".warc.gz"])
        raise InputError(f"{uri}: the extension tells no format; expected one of {known}; narrow input.uri or set input.format")
    if found == "parquet":
        if compression:
            raise InputError(f"{uri}: compressed Parquet files are not read; decompress it (Parquet compresses its own pages)")
        return found
    if found not in SCANNED:
        raise InputError(f"{uri}: no format is called {found!r}; expected parquet, {' or '.join(SCANNED)}")
    return found + compression


def describe(sources: Reads, obj: Listed, options: ReadOptions) -> FileDescription:
    """What is in a file: one footer read, or the file scanned in full.

    Raises:
        InputError: The format is not known.
        InputChanged: The object is no longer the one that was listed.
        StorageError: The store failed.
    """
    file_format = format_of(obj.uri, options.format)
    if file_format == "parquet":
        return formats_parquet.describe(sources, obj)
    if file_format.startswith("warc"):
        return formats_warc.describe(sources, obj, file_format, options)
    return formats_jsonl.describe(sources, obj, file_format, options)


def is_local(uri: str) -> bool:
    """Whether the file is read from this machine's file system, without the store."""
    return uri.startswith("/")


def read(
    sources: Reads,
    slices: Sequence[Slice],
    schema: pa.Schema,
    options: ReadOptions,
    batch_bytes: int,
    window_bytes: int = WINDOW_BYTES,
) -> Iterator[Documents | Damaged]:
    """Stream slices in order: every row of each comes out exactly once, in Documents or in Damaged.

    Batches have exactly `schema` and at most about `batch_bytes` of Arrow data, or one row. What becomes of a row depends neither on
    `batch_bytes` nor on how rows are sliced. Requests for all files are sent ahead of their use, up to `window_bytes`.

    Raises:
        InputChanged: A file is not the one that the inventory listed.
        StorageError: A store failed.
    """
    pieces = _merged(slices)
    files = [list(group) for _, group in groupby(pieces, key=lambda piece: piece.file.ordinal)]
    with ExitStack() as stack:
        remote = any(not is_local(piece.file.uri) for piece in pieces)
        ahead = stack.enter_context(ReadAhead(sources, window_bytes=window_bytes)) if remote else None
        plans = [None if ahead is None or is_local(group[0].file.uri) else _plan(ahead, group) for group in files]
        for group, plan in zip(files, plans, strict=True):
            file, conformer = group[0].file, Conformer(group[0].file, schema, options)
            if isinstance(plan, formats_parquet.RemoteParquet):
                yield from formats_parquet.read_remote(plan, group, conformer, batch_bytes)
            elif plan is not None:
                yield from formats_scanned.read_remote(plan, group, _read_slice(file), conformer, batch_bytes)
            elif file.format == "parquet":
                yield from formats_parquet.read_local(sources, file, group, conformer, batch_bytes)
            else:
                yield from formats_scanned.read_local(sources, file, group, _read_slice(file), conformer, batch_bytes)


def _plan(ahead: ReadAhead, group: Sequence[Slice]) -> formats_parquet.RemoteParquet | formats_scanned.RemoteRanges:
    if group[0].file.format == "parquet":
        return formats_parquet.plan_remote(ahead, group[0].file, group)
    return formats_scanned.plan_remote(ahead, group[0].file, group)


def _read_slice(file: InputFile) -> ReadSlice:
    return SCANNED[file.format.partition(".")[0]]


def _merged(slices: Sequence[Slice]) -> list[Slice]:
    """The slices without empty ones, and with those joined that continue each other: a row group is then decoded once."""
    merged: list[Slice] = []
    for piece in slices:
        if piece.start >= piece.stop:
            continue
        last = merged[-1] if merged else None
        if last is not None and (last.file.ordinal, last.row_group, last.stop) == (piece.file.ordinal, piece.row_group, piece.start):
            merged[-1] = Slice(piece.file, piece.row_group, last.start, piece.stop)
        else:
            merged.append(piece)
    return merged
