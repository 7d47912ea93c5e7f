"""The preview of a version: a small Parquet file of documents as they are in its shards, for the Hub's viewer.

A pure function of the shards, so that publishing again makes the same bytes. Which rows of which shards it holds stands in its footer, so
that each can be compared with the data. Reads the first pages of a few shards, whatever their size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import InputError, shown
from pipelines.objectfile import ObjectFile, as_parquet
from pipelines.sizes import row_sizes
from pipelines.storage import Store
from pipelines.verify_file import PARQUET_ERRORS, stored_type

KEY: Final = b"shardmill.preview"
"""Of the footer's metadata: a JSON list of [shard, first row in it, rows], in the order of the preview's rows."""
MAX_SHARDS: Final = 16
MAX_BYTES: Final = 32 << 20
"""Arrow bytes of a whole preview: what one commit uploads and one page of a viewer scrolls through without a thought."""
MAX_DOCUMENT_BYTES: Final = 1 << 20
"""Arrow bytes of a document; a larger one is passed over. Less than what each shard may give, `MAX_BYTES / MAX_SHARDS`."""
MAX_SCANNED_BYTES: Final = 64 << 20
"""Arrow bytes of a shard that are looked at for documents small enough: those of one row group."""
ROW_GROUP_ROWS: Final = 100
"""Documents of a row group: a page of the Hub's viewer, which reads whole row groups."""
BATCH_ROWS: Final = 128
BLOCK_BYTES: Final = 512 << 10
COLUMN_BYTES: Final = 1 << 20


def preview_path(manifest: Mapping[str, Any]) -> str:
    """Where a version's preview lies in a published repo; its name tells version and plan, as those of shards do."""
    return f"preview/{manifest['version']}/part-00000-{manifest['run_id'][:8]}.parquet"


def preview(store: Store, manifest: Mapping[str, Any], shards: pa.Table, documents: int) -> bytes | None:
    """A Parquet file of the first documents of up to 16 shards, spread evenly over the version; None if no document is wanted.

    Each row is exactly as in its shard, in the order of the shards, with all columns. Documents above 1 MiB are passed over, and all of
    them together stay below 32 MiB of Arrow bytes, so that there may be fewer than were asked for; without any, the columns are there.

    Args:
        store: The output.
        manifest: Of the version.
        shards: Its table of shards.
        documents: How many at most.

    Raises:
        InputError: The version has no shard, or one whose columns are not the manifest's.
        StorageError: A shard cannot be read.
    """
    if documents == 0:
        return None
    columns = [(field["name"], stored_type(field["type"]), field["nullable"]) for field in manifest["schema"]]
    schema: pa.Schema | None = None
    taken: list[pa.RecordBatch] = []
    runs: list[tuple[str, int, int]] = []
    left, chosen = MAX_BYTES, _chosen(shards, documents)
    for position, (path, rows) in enumerate(chosen):
        with _opened(store, path, columns) as file:
            schema = file.schema_arrow.remove_metadata() if schema is None else schema
            for start, batch, num_bytes in _first(file, rows, left // (len(chosen) - position)):
                taken.append(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
                runs.append((path, start, batch.num_rows))
                left -= num_bytes
    if schema is None:
        raise InputError(f"{store.uri}: {shown(manifest['version'])} names no shard; `shardmill verify` says what is wrong")
    return _written(pa.Table.from_batches(taken, schema=schema), runs)


def _chosen(shards: pa.Table, documents: int) -> list[tuple[str, int]]:
    """Which shards give how many documents: evenly, and more of those that have more where others have not enough."""
    paths, rows = shards.column("path").to_pylist(), shards.column("rows").to_numpy()
    filled = np.flatnonzero(rows)
    if not len(filled):
        return [(path, 0) for path in paths[:1]]
    number = min(MAX_SHARDS, documents, len(filled))
    picked = filled[(2 * np.arange(number) + 1) * len(filled) // (2 * number)]
    given: dict[int, int] = {}
    for rest, index in zip(range(number, 0, -1), sorted(picked.tolist(), key=lambda index: (rows[index], index)), strict=True):
        given[index] = min(int(rows[index]), documents // rest)
        documents -= given[index]
    return [(paths[index], given[index]) for index in picked.tolist()]


@contextmanager
def _opened(store: Store, path: str, columns: list[tuple[str, str, bool]]) -> Iterator[pq.ParquetFile]:
    """A shard with the columns that the manifest names."""
    try:
        with (
            ObjectFile(store, store.info(path), block_bytes=BLOCK_BYTES) as opened,
            as_parquet(opened, COLUMN_BYTES) as file,
        ):
            found = [(field.name, stored_type(str(field.type)), field.nullable) for field in file.schema_arrow]
            if found != columns:
                raise InputError(
                    f"{store.locate(path)}: its columns ({_listed(found)}) are not those of the manifest ({_listed(columns)}); restore it "
                    "from a copy (`shardmill verify` finds every such file)"
                )
            yield file
    except PARQUET_ERRORS as error:
        raise InputError(f"{store.locate(path)}: it cannot be read as Parquet: {shown(error)}; restore it from a copy") from error


def _listed(columns: list[tuple[str, str, bool]]) -> str:
    return shown(", ".join(f"{name}: {kind}{'' if is_nullable else ' not null'}" for name, kind, is_nullable in columns))


def _first(file: pq.ParquetFile, rows: int, max_bytes: int) -> Iterator[tuple[int, pa.RecordBatch, int]]:
    """Runs of a shard's first documents that are small enough: (first row, documents, Arrow bytes)."""
    start, scanned = 0, 0
    for batch in _batches(file) if rows else ():
        sizes = row_sizes(batch, batch.schema.names)
        small = np.flatnonzero(sizes <= MAX_DOCUMENT_BYTES)[:rows]
        fitting = small[: int(np.searchsorted(np.cumsum(sizes[small]), max_bytes, side="right"))]
        for run in np.split(fitting, np.flatnonzero(np.diff(fitting) > 1) + 1):
            if len(run):
                # Taken, not sliced: a slice would hold the batch, and in it every large document.
                yield start + int(run[0]), batch.take(pa.array(run)), int(sizes[run].sum())
        rows, max_bytes = rows - len(fitting), max_bytes - int(sizes[fitting].sum())
        start, scanned = start + batch.num_rows, scanned + int(sizes.sum())
        if rows == 0 or len(fitting) < len(small) or scanned >= MAX_SCANNED_BYTES:
            return


def _batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, one row group after the other: a batch never holds more than one of them."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(BATCH_ROWS, row_groups=[group], use_threads=False)


def _written(documents: pa.Table, runs: list[tuple[str, int, int]]) -> bytes:
    """A preview as bytes, with a page index and checksums for readers that want one page only."""
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "write_page_index": True, "write_page_checksum": True}
    with pq.ParquetWriter(sink, documents.schema, **options) as writer:
        if documents.num_rows:  # `datasets` cannot read a row group without rows
            # One chunk a column: pages are cut within chunks, and chunks must not show in the bytes.
            writer.write_table(documents.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata({KEY: json.dumps(_joined(runs), ensure_ascii=False, separators=(",", ":"))})
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _joined(runs: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Runs as long as they can be: those that batches cut are one again."""
    joined: list[tuple[str, int, int]] = []
    for path, start, rows in runs:
        if joined and joined[-1][0] == path and sum(joined[-1][1:]) == start:
            joined[-1] = (path, joined[-1][1], joined[-1][2] + rows)
        else:
            joined.append((path, start, rows))
    return joined
