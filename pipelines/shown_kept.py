"""Kept documents as a version's shards have them: a few to read, and those that removed duplicates name by their ids.

Owns the choice of shards and rows, and the bounds of what is read of them. Which row of the input a row of a shard is, it cannot say.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.columns import is_text
from pipelines.commit import Part
from pipelines.identity import plain_ids
from pipelines.shown_rows import Ints, mixed, side_file
from pipelines.storage import Store
from pipelines.unit import MADE_ID

MAX_SHARDS: Final = 3
MAX_ROWS: Final = 2000
"""Of a shard among which documents to read are chosen: its first ones, so that a large row group is not read whole."""
MAX_SEARCHED: Final = 8
"""Shards whose ids are looked through, and rows of all of them together."""
MAX_SEARCHED_ROWS: Final = 1_000_000
BATCH_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class Kept:
    """A document of a shard, with its text, and measurements that it carries: `operator.signal` to value."""

    id: str | None
    text: str
    signals: Mapping[str, float | None]


@dataclass(frozen=True)
class Shards:
    """Shards of a version.

    Attributes:
        parts: Those that may be shown.
        text_column: Of the documents; so are the ids'.
        id_column: None if the input has none of its own.
        operators: Names of those whose signals may stand beside the text.
    """

    store: Store
    parts: Sequence[Part]
    text_column: str
    id_column: str | None
    operators: Collection[str]

    def sample(self, most: int) -> list[Kept]:
        """A few documents, of the shards with the smallest hashes, those of the smallest hashes among the first rows of each."""
        filled = [part for part in self.parts if part.rows]
        chosen = heapq.nsmallest(MAX_SHARDS, filled, key=lambda part: hashlib.sha256(part.path.encode()).digest())
        best: list[tuple[int, int, int, Kept]] = []
        for number, part in enumerate(sorted(chosen, key=lambda part: part.path)):
            for row, order, kept in self._first_rows(part, most):
                best.append((order, number, row, kept))
        return [kept for *_, kept in heapq.nsmallest(most, best)]

    def _first_rows(self, part: Part, most: int) -> Iterator[tuple[int, int, Kept]]:
        with side_file(self.store, {"path": part.path, "bytes": part.bytes}) as reader:
            if not self._has_text(reader):
                return
            order = mixed(np.arange(min(part.rows, MAX_ROWS), dtype=np.uint64))
            wanted = np.sort(np.argsort(order, kind="stable")[:most])
            for row, kept in self._read(reader, wanted):
                yield row, int(order[row]), kept

    def _read(self, reader: pq.ParquetFile, wanted: Ints) -> Iterator[tuple[int, Kept]]:
        first = 0
        columns = self._columns(reader.schema_arrow)
        for group in range(reader.num_row_groups):
            rows = reader.metadata.row_group(group).num_rows
            mine = wanted[(wanted >= first) & (wanted < first + rows)]
            at = first
            for batch in reader.iter_batches(BATCH_ROWS, [group], columns=columns, use_threads=False) if len(mine) else ():
                for row in mine[(mine >= at) & (mine < at + batch.num_rows)].tolist():
                    yield row, self._kept(batch.slice(row - at, 1))
                at += batch.num_rows
                if at > mine[-1]:
                    break
            first += rows
            if not len(wanted) or first > wanted[-1]:
                return

    def find(self, ids: Iterable[str]) -> dict[str, Kept]:
        """The documents with some ids, as far as they are in the shards that are looked through."""
        wanted = pa.array(sorted(set(ids)), pa.string())
        found: dict[str, Kept] = {}
        left = MAX_SEARCHED_ROWS
        for part in [part for part in self.parts if part.rows][:MAX_SEARCHED]:
            if part.rows > left or len(found) == len(wanted):
                break
            left -= part.rows
            with side_file(self.store, {"path": part.path, "bytes": part.bytes}) as reader:
                for kept in self._search(reader, wanted) if self._has_text(reader) else ():
                    found.setdefault(kept.id or "", kept)
        return found

    def _search(self, reader: pq.ParquetFile, wanted: pa.StringArray) -> Iterator[Kept]:
        name = self._ids(reader.schema_arrow)
        if name is None:
            return
        for group in range(reader.num_row_groups):
            ids = plain_ids(reader.read_row_group(group, columns=[name], use_threads=False)[name].combine_chunks())
            rows = np.flatnonzero(pc.is_in(ids, value_set=wanted).to_numpy(zero_copy_only=False))
            if len(rows):
                first = sum(reader.metadata.row_group(before).num_rows for before in range(group))
                yield from (kept for _, kept in self._read(reader, first + rows))

    # --- columns

    def _has_text(self, reader: pq.ParquetFile) -> bool:
        schema = reader.schema_arrow
        return self.text_column in schema.names and is_text(schema.field(self.text_column).type)

    def _ids(self, schema: pa.Schema) -> str | None:
        name = self.id_column if self.id_column is not None else MADE_ID
        return name if name in schema.names and not pa.types.is_nested(schema.field(name).type) else None

    def _columns(self, schema: pa.Schema) -> list[str]:
        ids = self._ids(schema)
        signals = [name for name in self.operators if name in schema.names and pa.types.is_struct(schema.field(name).type)]
        return [self.text_column, *([] if ids is None else [ids]), *signals]

    def _kept(self, row: pa.RecordBatch) -> Kept:
        ids = self._ids(row.schema)
        signals = {
            f"{name}.{signal}": float(value) if isinstance(value, int | float) else None
            for name in row.schema.names
            if name in self.operators and pa.types.is_struct(row.schema.field(name).type)
            for signal, value in (row.column(name)[0].as_py() or {}).items()
            if value is None or isinstance(value, int | float)
        }
        return Kept(None if ids is None else plain_ids(row.column(ids))[0].as_py(), as_text(row.column(self.text_column)), signals)


def as_text(column: pa.Array) -> str:
    """The first value of a column of texts, with what is not UTF-8 in it exchanged; empty if it is null."""
    try:
        value: Any = column[0].as_py()
    except UnicodeDecodeError:
        value = column.cast(pa.large_binary())[0].as_py().decode("utf-8", "replace")
    return value or ""
