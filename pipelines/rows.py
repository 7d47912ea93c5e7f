"""Documents on their way through a unit: a record batch, and beside it who each document is.

Owns the tables of dropped and quarantined rows. Identity here is (file in the unit, row in the file): it depends on no batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import identity
from pipelines.inventory import InputFile

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DROPPED = pa.schema(
    [
        ("doc_key", identity.DOC_KEY),
        ("id", pa.string()),
        ("uri", pa.string()),
        ("row", pa.int64()),
        ("operator", pa.string()),
        ("reason", pa.string()),
    ]
)
DUPLICATES = pa.schema(
    [
        ("doc_key", identity.DOC_KEY),
        ("id", pa.string()),
        ("operator", pa.string()),
        ("kept_doc_key", identity.DOC_KEY),
        ("kept_id", pa.string()),
        ("similarity", pa.float32()),
        ("num_duplicates", pa.int64()),
    ]
)
QUARANTINE = pa.schema(
    [
        ("doc_key", identity.DOC_KEY),
        ("id", pa.string()),
        ("uri", pa.string()),
        ("row_group", pa.int32()),
        ("row", pa.int64()),
        ("operator", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
    ]
)


CARRIED_PREFIX: Final = "input_"
"""Before the names of carried columns that the dropped table has for itself."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Documents with their identity.

    Attributes:
        batch: The columns that a user sees.
        file: int64, position of each document's file among the unit's files.
        row: int64, row in that file.
    """

    batch: pa.RecordBatch
    file: Ints
    row: Ints

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def filter(self, mask: Mask) -> Rows:
        """The documents where the mask is true."""
        return Rows(self.batch.filter(pa.array(mask)), self.file[mask], self.row[mask])

    def with_batch(self, batch: pa.RecordBatch) -> Rows:
        """The same documents with other columns."""
        return Rows(batch, self.file, self.row)


def ordered(rows: Rows) -> Ints:
    """One number a row that grows along the unit: file, then row."""
    return (rows.file << 40) | rows.row


class UnitFiles:
    """The files of a unit: what side tables say of a row's place."""

    def __init__(self, files: Sequence[InputFile], id_column: str | None) -> None:
        self.uris = [file.uri for file in files]
        self.prefixes = [identity.uri_prefix(uri) for uri in self.uris]
        self._first_rows = [np.array([group.first_row for group in file.row_groups], np.int64) for file in files]
        self._first_groups = [file.row_groups.first for file in files]
        self._uri_array = pa.array(self.uris, pa.string())
        self.id_column = id_column

    def keys(self, file: Ints, row: Ints) -> pa.FixedSizeBinaryArray:
        """doc_keys of rows."""
        return identity.doc_keys(self.prefixes, file, row)

    def uri(self, file: Ints) -> pa.StringArray:
        """Uris of rows."""
        return self._uri_array.take(pa.array(file))

    def row_group(self, file: Ints, row: Ints) -> npt.NDArray[np.int32]:
        """Row group in its file of each row."""
        groups = np.zeros(len(row), np.int32)
        for ordinal in np.unique(file):
            mine = file == ordinal
            groups[mine] = np.searchsorted(self._first_rows[ordinal], row[mine], side="right") - 1 + self._first_groups[ordinal]
        return groups

    def ids(self, rows: Rows) -> pa.StringArray:
        """Users' ids of documents, or their keys in hexadecimal."""
        column = None
        if self.id_column is not None and self.id_column in rows.batch.schema.names:
            column = rows.batch.column(self.id_column)
        return identity.ids(column, self.keys(rows.file, rows.row))


@dataclass(frozen=True, slots=True)
class DropTable:
    """What the table of dropped documents holds beside the columns that it always has.

    Attributes:
        explained: Whether it has `detail`, what exactly a document was dropped for: true where an operator of the pipeline tells.
        carried: Input columns that it holds too, or None.
    """

    explained: bool
    carried: pa.Schema | None

    @property
    def schema(self) -> pa.Schema:
        """Its columns. One of the input whose name the table has already is called `input_<name>`, but for the id itself.

        Where the input has a column of that name too, it is `input_input_<name>`, and so on.
        """
        schema = DROPPED.append(pa.field("detail", pa.string())) if self.explained else DROPPED
        for field in self._carried:
            name = field.name
            while name in schema.names or (name != field.name and self.carried is not None and name in self.carried.names):
                name = CARRIED_PREFIX + name
            schema = schema.append(field.with_name(name))
        return schema

    @property
    def _carried(self) -> list[pa.Field]:
        return [field for field in self.carried or () if field.name != "id"]

    def rows(
        self,
        files: UnitFiles,
        rows: Rows,
        operator: str,
        reasons: pa.Array,
        details: pa.Array | None = None,
        source: Rows | None = None,
        *,
        carries: bool = True,
    ) -> pa.RecordBatch:
        """The table's rows of documents that go.

        `source`: the documents as they came into the stage, these and more: where an operator removed a column or gave it another type,
        its values are taken from there; null if an earlier stage did so. `carries`: false leaves all input columns null.
        """
        columns = [
            files.keys(rows.file, rows.row),
            files.ids(rows),
            files.uri(rows.file),
            pa.array(rows.row),
            pa.array([operator] * len(rows), pa.string()),
            pc.cast(reasons, pa.string()),
        ]
        if self.explained:
            columns.append(pa.nulls(len(rows), pa.string()) if details is None else pc.cast(details, pa.string()))
        columns += [_carried(field, rows, source) if carries else pa.nulls(len(rows), field.type) for field in self._carried]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _carried(field: pa.Field, rows: Rows, source: Rows | None) -> pa.Array:
    """The values of an input column. Never a cast: whether one works may depend on the values of a batch."""
    if field in rows.batch.schema:
        return rows.batch.column(field.name)
    if source is not None and field in source.batch.schema:
        return source.batch.column(field.name).take(pa.array(np.searchsorted(ordered(source), ordered(rows))))
    return pa.nulls(len(rows), field.type)


def quarantined_rows(
    files: UnitFiles, file: Ints, row: Ints, ids: pa.Array | None, operator: str, errors: Sequence[str], messages: Sequence[str]
) -> pa.RecordBatch:
    """The side table's rows of documents that could not be processed."""
    keys = files.keys(file, row)
    columns = [
        keys,
        identity.ids(ids, keys),
        files.uri(file),
        pa.array(files.row_group(file, row)),
        pa.array(row),
        pa.array([operator] * len(row), pa.string()),
        pa.array(errors, pa.string()),
        pa.array(messages, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=QUARANTINE)


def in_order(batches: Sequence[pa.RecordBatch], schema: pa.Schema, files: UnitFiles) -> pa.RecordBatch:
    """Side-table rows of one stretch of a unit as one batch in the inventory's order, whatever the order in which they were found."""
    table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
    ordinal = pc.index_in(table["uri"], value_set=pa.array(files.uris, pa.string())).combine_chunks()
    order = np.lexsort((table["row"].to_numpy(), ordinal.to_numpy(zero_copy_only=False)))
    if (np.diff(order) < 0).any():
        table = table.take(pa.array(order))
    return one_batch(table)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table as a single record batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
