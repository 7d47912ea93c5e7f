"""The words that reading is told in: input files, their row groups, slices of them, and the documents or damage that come out.

Owns the plain values that the inventory, the plan and the readers exchange. Knows neither storage nor any file format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Rows = npt.NDArray[np.int64]


class Listed(Protocol):
    """One object as a listing found it."""

    @property
    def uri(self) -> str:
        """Absolute address; a plain path where it is local."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def etag(self) -> str:
        """What changes when the object does."""


class Reads(Protocol):
    """What reading asks of storage; `pipelines.storage.Sources` is it. Thread-safe."""

    def find(self, patterns: Sequence[str]) -> Sequence[Listed]:
        """Every object that the patterns name, sorted by address, each once."""

    def info(self, uri: str) -> Listed:
        """The object as it is now."""

    def read_range(self, uri: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """Exactly these bytes of exactly that version."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the input's files are to be understood.

    Attributes:
        format: `parquet`, `jsonl` or `warc`; None: each file's extension tells.
        text_column: Name of the column with the documents' text.
        id_column: Name of the users' own identifier, if they have one.
        path_columns: Columns made of hive-style folders (`dump=2024-10/`), as strings.
    """

    format: str | None
    text_column: str
    id_column: str | None
    path_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A run of rows that a file stores together.

    Attributes:
        rows: Number of rows.
        first_row: Rows of the file before it.
        offset: First byte of it in the file.
        length: Bytes of it in the file; for a compressed JSONL file, which has one row group, the whole file.
        num_bytes: Estimate of its uncompressed size.
    """

    rows: int
    first_row: int
    offset: int
    length: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class RowGroups:
    """The row groups of a file, or the stretch of them that a unit needs, under their own numbers; always the last one, too.

    A unit of a file with 10,000 row groups is sent with its own alone.
    """

    count: int
    first: int
    some: tuple[RowGroup, ...]
    last: RowGroup | None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> RowGroup:
        if number in {-1, self.count - 1} and self.last is not None:
            return self.last
        if not self.first <= number < self.first + len(self.some):
            raise IndexError(number)
        return self.some[number - self.first]

    def __iter__(self) -> Iterator[RowGroup]:
        return iter(self.some)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the inventory. With `error` set it cannot be read at all: it has no rows, and is counted as a file."""

    ordinal: int
    uri: str
    size: int
    etag: str
    format: str
    rows: int
    row_groups: RowGroups
    schema: pa.Schema
    path_values: tuple[tuple[str, str], ...]
    error: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class FileDescription:
    """What one look into a file found: its format, row groups and schema, or why it cannot be read.

    Attributes:
        groups: int64, one row a row group: rows, offset, length, num_bytes.
    """

    format: str
    groups: npt.NDArray[np.int64]
    schema: pa.Schema
    error: str | None = None
    message: str | None = None


NO_GROUPS: npt.NDArray[np.int64] = np.empty((0, 4), dtype=np.int64)


def unreadable(file_format: str, error: str, message: str) -> FileDescription:
    """The description of a file that cannot be read at all."""
    return FileDescription(file_format, NO_GROUPS, pa.schema([]), error, message)


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows `start` to `stop` (exclusive) of one row group of a file."""

    file: InputFile
    row_group: int
    start: int
    stop: int

    @property
    def first_row(self) -> int:
        """Row in the file of the slice's first row."""
        return self.file.row_groups[self.row_group].first_row + self.start


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents that were read; `rows[i]` is the row in the file, counted from 0, of the batch's row i."""

    batch: pa.RecordBatch
    file: InputFile
    row_group: int
    rows: Rows


@dataclass(frozen=True, slots=True)
class Damaged:
    """Rows that are no documents, and why; `ids` are the users' identifiers where they could be read."""

    file: InputFile
    row_group: int
    rows: Rows
    ids: pa.Array | None
    error: str
    message: str
