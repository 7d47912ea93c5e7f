"""Shards without some of their documents: rewritten as packing writes them, under names of the new version.

Owns the new names, and what is counted of the documents that go. A rewritten shard is a pure function of the old one and of the rows that
go, so that a second try finds the same bytes under its name.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import faults
from pipelines.columns import plain_schema
from pipelines.commit import Part
from pipelines.document_profile import Profile, profile_of
from pipelines.identity import plain_ids
from pipelines.objectfile import opened_parquet
from pipelines.pack import Form, conformed, prove_same, row_groups, write_groups
from pipelines.rows import Ints
from pipelines.sizes import row_sizes
from pipelines.storage import Store
from pipelines.tombstones import content_hashes

BATCH_BYTES: Final = 16 << 20
"""Uncompressed bytes that are decoded at once."""
MAX_BATCH_ROWS: Final = 1 << 16
NUM_THREADS: Final = 2
"""Each holds a row group twice."""
NAME: Final = re.compile(r"data/v\d+/(?P<folders>(?:.*/)?)part-(?P<number>\d+)-[^/]*\.parquet")


@dataclass(frozen=True, slots=True)
class Removed:
    """The documents that go from one shard, in its order.

    Attributes:
        rows: Of the shard.
        ids: As users have them; null where there is none.
        hashes: Of their texts as they stand there; null where there is none.
        tokens: Of each; 0 where none are counted.
        names: Their sources and languages, by the kind that a column of the shard tells.
        profile: None where the version has none.
    """

    rows: Ints
    ids: pa.StringArray
    hashes: pa.FixedSizeBinaryArray
    tokens: Ints
    names: Mapping[str, pa.Array] = field(default_factory=dict)
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class ShardWork:
    """A shard of the old version, the path of the one in its place (None: it goes as a whole), and the rows that go, sorted."""

    old: str
    new: str | None
    rows: Ints


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A shard of the new version in the place of one of the old; no part where that goes as a whole."""

    part: Part | None
    tokens: int | None
    removed: Removed


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of the documents that go are looked at.

    Attributes:
        text: With the text; None: the shards have none.
        ids: With the users' ids; None: the shards have none.
        names: By kind of name (`source`, `language`), the columns that are in the shards.
        profile: Text and language column of the profile; None: the version has none.
        tokens: Whether there is `num_tokens`.
    """

    text: str | None
    ids: str | None
    names: Mapping[str, str]
    profile: tuple[str, str | None] | None
    tokens: bool


def new_paths(paths: Sequence[str], version: str, short: str) -> list[str]:
    """Names for the rewritten ones of some shards: the folders and the number of the old one, in the folder of the new version.

    The number is part of a token shard's order. Where two old shards, of different versions, share one, the later gets the next free one.
    """
    taken: set[str] = set()
    found = []
    for path in paths:
        named = NAME.fullmatch(path)
        folders, number = (named["folders"], int(named["number"])) if named is not None else ("", 0)
        made = f"data/{version}/{folders}part-{number:05d}-{short}.parquet"
        while made in taken:
            number += 1
            made = f"data/{version}/{folders}part-{number:05d}-{short}.parquet"
        taken.add(made)
        found.append(made)
    return found


def schema_of(store: Store, path: str) -> pa.Schema:
    """The columns of a shard, as they were written."""
    with opened_parquet(store, path, num_ahead=0) as reader:
        return plain_schema_of(reader)


def plain_schema_of(reader: pq.ParquetFile) -> pa.Schema:
    """The columns of an open file as they were when it was written: Parquet itself keeps neither names in lists nor seconds."""
    written = (reader.metadata.metadata or {}).get(b"ARROW:schema")
    found = reader.schema_arrow if written is None else pa.ipc.read_schema(pa.BufferReader(base64.b64decode(written)))
    plain = plain_schema(found)
    return pa.schema([field.with_nullable(old.nullable) for field, old in zip(plain, found, strict=True)])


def rewrite(store: Store, works: Iterable[ShardWork], form: Form, columns: Columns) -> Iterator[Rewritten]:
    """Write shards anew, a few at a time; what became of them comes in order.

    Raises:
        VersionConflict: A name holds other bytes than it should.
    """
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="takedown") as threads:
        yield from threads.map(lambda work: rewrite_shard(store, work, form, columns), works)


def rewrite_shard(store: Store, work: ShardWork, form: Form, columns: Columns) -> Rewritten:
    """Write one shard without some rows; one that goes as a whole is only looked at."""
    if work.new is None:
        return Rewritten(None, None, look_only(store, work.old, work.rows, columns))
    faults.point("takedown.before-shard")
    removed: list[Removed] = []
    with store.creator(work.new) as sink:
        groups = row_groups(_kept(store, work, form, partial(_note, removed, columns)), form.schema)
        num_rows, tokens = write_groups(groups, sink, form)
    if not sink.created:
        prove_same(store, work.new, sink.sha256, sink.tell())
    faults.point("takedown.after-shard")
    return Rewritten(Part(work.new, num_rows, sink.tell(), sink.sha256), tokens, joined(removed))


def look_only(store: Store, path: str, rows: Ints, columns: Columns) -> Removed:
    """The documents of a shard that goes as a whole."""
    removed: list[Removed] = []
    for first, batch in _batches(store, path):
        _note(removed, columns, first, batch, rows)
    return joined(removed)


def _kept(store: Store, work: ShardWork, form: Form, note: Any) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    """The rows that stay, and for each the uncompressed bytes of the new shard before it; what goes is noted."""
    position = 0
    for first, batch in _batches(store, work.old):
        goes = note(first, batch, work.rows)
        chosen = conformed(batch.filter(pa.array(~goes)) if goes.any() else batch, form.schema)
        sizes = row_sizes(chosen, form.schema.names)
        starts = position + np.cumsum(sizes) - sizes
        position += int(sizes.sum())
        if len(sizes):
            yield chosen, starts


def _batches(store: Store, path: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    first = 0
    with opened_parquet(store, path) as reader:
        for group in range(reader.num_row_groups):
            metadata = reader.metadata.row_group(group)
            rows = min(MAX_BATCH_ROWS, max(1, metadata.num_rows * BATCH_BYTES // max(metadata.total_byte_size, 1)))
            for batch in reader.iter_batches(rows, [group], use_threads=False):
                yield first, batch
                first += batch.num_rows


def _note(removed: list[Removed], columns: Columns, first: int, batch: pa.RecordBatch, rows: Ints) -> Any:
    """Note what goes of a batch; returns which rows do."""
    goes = np.zeros(batch.num_rows, np.bool_)
    mine = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + batch.num_rows)]
    goes[mine - first] = True
    if len(mine):
        removed.append(_removed(mine, batch.filter(pa.array(goes)), columns))
    return goes


def _removed(rows: Ints, batch: pa.RecordBatch, columns: Columns) -> Removed:
    texts = pa.nulls(len(rows), pa.large_string()) if columns.text is None else batch.column(columns.text)
    tokens = (
        pc.fill_null(pc.cast(batch.column("num_tokens"), pa.int64()), 0).to_numpy() if columns.tokens else np.zeros(len(rows), np.int64)
    )
    names = {kind: pc.cast(batch.column(name), pa.string()) for kind, name in columns.names.items()}
    profile = None if columns.profile is None else profile_of(batch, *columns.profile)
    ids = pa.nulls(len(rows), pa.string()) if columns.ids is None else plain_ids(batch.column(columns.ids))
    return Removed(rows, ids, content_hashes(pc.cast(texts, pa.large_string())), tokens, names, profile)


def joined(pieces: Sequence[Removed]) -> Removed:
    """The documents of several shards; there is at least one."""
    profile = pieces[0].profile
    for piece in pieces[1:]:
        profile = None if profile is None or piece.profile is None else profile + piece.profile
    return Removed(
        np.concatenate([piece.rows for piece in pieces]),
        pa.concat_arrays([piece.ids for piece in pieces]),
        pa.concat_arrays([piece.hashes for piece in pieces]),
        np.concatenate([piece.tokens for piece in pieces]),
        {kind: pa.concat_arrays([piece.names[kind] for piece in pieces]) for kind in pieces[0].names},
        profile,
    )
