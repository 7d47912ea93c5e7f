"""The side tables of a version that a takedown makes: the old ones, blanked where they carry what was taken down, and the rows that go.

Owns how files of tables come from the old version into the new one. Everything is written under final names; a second try finds the same
bytes there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.commit import Part
from pipelines.errors import InputError
from pipelines.objectfile import opened_parquet
from pipelines.pack import conformed, prove_same, row_groups, table_form, write_groups
from pipelines.results import TABLES, Packed
from pipelines.rows import DROPPED, Ints
from pipelines.sizes import row_sizes
from pipelines.storage import Store
from pipelines.takedown_base import BATCH_ROWS, Base
from pipelines.takedown_matches import BLANK_MESSAGE
from pipelines.takedown_rewrite import plain_schema_of, schema_of

COPY_BYTES: Final = 8 << 20


def write_tables(base: Base, folder: str, short: str, blanks: Mapping[str, Ints], taken: pa.Table) -> dict[str, list[Packed]]:
    """Write the side tables of a new version.

    Args:
        base: The version before.
        folder: Of the new one.
        short: What its plan is called in names.
        blanks: Rows of the old files that lose everything but their identity, by path.
        taken: The rows of the documents that go, in the columns of `DROPPED`.

    Raises:
        InputError: A table of the old version is not as its manifest says.
    """
    tables: dict[str, list[Packed]] = {}
    for name in TABLES:
        files = []
        for number, file in enumerate(base.side_files(name)):
            path = f"{folder}/{name}/part-{number:05d}-{short}.parquet"
            rows = blanks.get(file["path"])
            files.append(_copied(base.store, file, path) if rows is None else _blanked(base, name, file, path, rows))
        tables[name] = [Packed(part, None) for part in files]
    if taken.num_rows:
        path = f"{folder}/dropped/part-{len(tables['dropped']):05d}-{short}.parquet"
        tables["dropped"].append(Packed(_taken(base, path, taken), None))
    return tables


def copy(store: Store, source: str, target: str) -> Part:
    """Copy an object under a name that must hold these bytes and no others; the part has no rows."""
    size = store.info(source).size
    with store.creator(target) as sink:
        for start in range(0, size, COPY_BYTES):
            sink.write(store.read_range(source, start, min(start + COPY_BYTES, size)))
    if not sink.created:
        prove_same(store, target, sink.sha256, sink.tell())
    return Part(target, 0, sink.tell(), sink.sha256)


def _copied(store: Store, file: Mapping[str, Any], target: str) -> Part:
    made = copy(store, file["path"], target)
    if made.sha256 != file["sha256"]:
        raise InputError(f"{file['path']}: it is not the file that the manifest describes; `shardmill verify {store.uri}` says more")
    return Part(target, file["rows"], made.bytes, made.sha256)


def _blanked(base: Base, name: str, file: Mapping[str, Any], target: str, rows: Ints) -> Part:
    with opened_parquet(base.store, file["path"]) as reader:
        schema = plain_schema_of(reader)
        groups = (batch for group in range(reader.num_row_groups) for batch in reader.iter_batches(BATCH_ROWS, [group], use_threads=False))
        return _write(base, target, schema, _without(groups, schema, rows, name))


def _without(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: Ints, name: str) -> Iterator[pa.RecordBatch]:
    """The batches, some of whose rows keep only who they are."""
    first = 0
    for batch in batches:
        found = conformed(batch, schema)
        mine = rows[(rows >= first) & (rows < first + batch.num_rows)] - first
        if len(mine):
            mask = np.zeros(batch.num_rows, np.bool_)
            mask[mine] = True
            found = _blank(found, mask, name)
        yield found
        first += batch.num_rows


def _blank(batch: pa.RecordBatch, mask: np.ndarray[Any, np.dtype[np.bool_]], name: str) -> pa.RecordBatch:
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if name == "quarantine":
            columns.append(pc.if_else(pa.array(mask), BLANK_MESSAGE, column) if field.name == "message" else column)
        elif field.name in DROPPED.names:
            columns.append(column)
        else:  # taking null places works for every type there is
            columns.append(column.take(pa.array(np.arange(len(mask)), mask=mask)))
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _taken(base: Base, path: str, taken: pa.Table) -> Part:
    schema = schema_of(base.store, base.side_files("dropped")[0]["path"])
    columns = [
        taken[field.name].combine_chunks() if field.name in DROPPED.names else pa.nulls(taken.num_rows, field.type) for field in schema
    ]
    return _write(base, path, schema, pa.Table.from_arrays(columns, schema=schema).to_batches(max_chunksize=BATCH_ROWS))


def _write(base: Base, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Part:
    form = table_form(schema, base.config["input"]["text_column"])
    with base.store.creator(path) as sink:
        rows, _ = write_groups(row_groups(_placed(batches, schema), schema), sink, form)
    if not sink.created:
        prove_same(base.store, path, sink.sha256, sink.tell())
    return Part(path, rows, sink.tell(), sink.sha256)


def _placed(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    position = 0
    for batch in batches:
        if batch.num_rows:
            sizes = row_sizes(batch, schema.names)
            yield batch, position + np.cumsum(sizes) - sizes
            position += int(sizes.sum())
