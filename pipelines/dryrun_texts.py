"""The texts of a sample's documents as they came, as they went out and as they were when they were dropped. Owns where each of these is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.dryrun_fates import Fates, Ints
from pipelines.dryrun_run import SampleRun
from pipelines.redaction import redact_uri
from pipelines.rows import CARRIED_PREFIX, DROPPED


@dataclass(frozen=True)
class Origins:
    """Where documents come from, one entry each.

    Attributes:
        ids: The users' ids, or the doc_keys in hexadecimal.
        uris: Addresses of their files.
        row: Rows of these.
    """

    ids: Sequence[str]
    uris: pa.Array
    row: Ints

    def uri(self, position: int) -> str:
        """Address of a document's file, without what in it is secret."""
        return redact_uri(str(self.uris[position].as_py()))


@dataclass(frozen=True)
class Texts:
    """Looks up texts by the row of a document in the sample. Ill-formed ones get a mark where they are; one that is not there is empty.

    Attributes:
        documents: The sample.
        column: Name of the text column.
        ran: What the engine made of it.
        fates: Where each document went.
    """

    documents: pa.Table
    column: str
    ran: SampleRun
    fates: Fates

    def came(self, row: int) -> str:
        """As it is in the input."""
        return _text(self.documents, self.column, row)

    def last(self, row: int) -> str:
        """As it was last: in the output, or when it was dropped; where that is not known, as it came."""
        place = int(self.fates.place[row])
        if place < 0:
            return self.came(row)
        if not self.fates.stayed[row]:
            return _text(self.ran.dropped, self._dropped_column, place)
        return _text(self.ran.output, self.column, place) if self.column in self.ran.output.column_names else self.came(row)

    @property
    def _dropped_column(self) -> str:
        """What the text is called in the table of dropped documents, which has columns of its own."""
        name, names = self.column, {*DROPPED.names, "detail"}
        while name in names and CARRIED_PREFIX + name in self.ran.dropped.column_names:
            name = CARRIED_PREFIX + name
        return name


def _text(table: pa.Table, column: str, row: int) -> str:
    if column not in table.column_names or not _is_string(table.schema.field(column).type):
        return ""
    value = table.column(column)[row]
    return value.as_buffer().to_pybytes().decode("utf-8", "replace") if value.is_valid else ""


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
