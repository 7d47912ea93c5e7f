"""Which documents a report shows: a few rows of a version's side tables by operator and reason, the same ones whenever it is asked.

Owns the choice: the rows whose doc_keys have the smallest hashes, in a bounded part of the tables. Texts come from elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.identity import DOC_KEY
from pipelines.objectfile import opened_parquet
from pipelines.storage import Store

MAX_ROWS: Final = 200_000
"""Of a side table, looked at: some hundredths of a second, and of most tables all."""
MAX_FILES: Final = 8
"""Of a side table, in which these rows are."""
SMALL_BYTES: Final = 4 << 20
"""Files up to this size are read whole: one request, and no threads that read ahead."""
BATCH_ROWS: Final = 1 << 16
LOW: Final = np.uint64(0xFFFFFFFF)

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a side table.

    Attributes:
        path: Of its file; `place` is its number there.
        values: Its other columns.
    """

    doc_key: bytes
    path: str
    place: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rows by group, those of the smallest hashes first.

    Attributes:
        spread: From everywhere.
        near: The first ones of few files, where reading texts of all over the input would cost too much.
        seen: Rows that were looked at, of `rows`.
    """

    spread: dict[tuple[str, ...], list[Row]]
    near: dict[tuple[str, ...], list[Row]]
    seen: int
    rows: int


@dataclass(slots=True)
class _Best:
    """The rows of the smallest hashes of one group."""

    hashes: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    rows: list[Row] = field(default_factory=list)

    def offer(self, hashes: Words, rows: Sequence[Row], most: int) -> None:
        every = np.concatenate([self.hashes, hashes])
        known = [*self.rows, *rows]
        order = np.argsort(every, kind="stable")[:most]
        self.hashes, self.rows = every[order], [known[at] for at in order.tolist()]

    def below(self, hashes: Words, most: int) -> Ints:
        """The places of those that could get in."""
        better = np.flatnonzero(hashes < self.hashes[-1]) if len(self.hashes) >= most else np.arange(len(hashes))
        return better[np.argsort(hashes[better], kind="stable")[:most]]


def choose(
    store: Store,
    files: Sequence[Mapping[str, Any]],
    group_by: Sequence[str],
    columns: Sequence[str],
    most: int,
    *,
    skip: Iterable[str] = (),
) -> Chosen:
    """Choose up to `most` rows for each combination of values of some columns.

    Args:
        store: The output.
        files: Of the table, as the manifest tells them.
        group_by: Columns of names.
        columns: What else is wanted, as far as the table has it.
        most: Rows of each group.
        skip: Values of the first column whose rows are passed over.
    """
    best: tuple[dict[tuple[str, ...], _Best], dict[tuple[str, ...], _Best]] = ({}, {})
    seen = 0
    for path, first, batch in some_batches(store, files, ["doc_key", *group_by, *columns]):
        seen += batch.num_rows
        hashes = hashed(batch.column("doc_key"))
        for group, places in _groups(batch, group_by):
            if group[0] in skip:
                continue
            for found, of_rows in zip(best, hashes, strict=True):
                mine = found.setdefault(group, _Best())
                at = places[mine.below(of_rows[places], most)]
                mine.offer(of_rows[at], _rows(batch, path, first, at), most)
    spread, near = ({group: one.rows for group, one in sorted(found.items())} for found in best)
    return Chosen(spread, near, seen, sum(file["rows"] for file in files))


def _rows(batch: pa.RecordBatch, path: str, first: int, places: Ints) -> list[Row]:
    told = batch.take(pa.array(places)).to_pylist()
    return [Row(values.pop("doc_key"), path, first + place, values) for place, values in zip(places.tolist(), told, strict=True)]


def _groups(batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Ints]]:
    """The places of the rows of each combination of values."""
    coded = [batch.column(name).dictionary_encode() for name in names]
    code = np.zeros(batch.num_rows, np.int64)
    for column in coded:
        code = code * (len(column.dictionary) + 1) + column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)
    order = np.argsort(code, kind="stable")
    _, starts = np.unique(code[order], return_index=True)
    for places in np.split(order, starts[1:]) if len(order) else ():
        yield tuple(str(column[int(places[0])].as_py()) for column in coded), places


def hashed(keys: pa.FixedSizeBinaryArray) -> tuple[Words, Words]:
    """Hashes of doc_keys, and numbers that order them by the hash of their file, then by row: first rows are cheap to read again."""
    raw = np.frombuffer(keys.cast(DOC_KEY).buffers()[1], np.uint8)[keys.offset * 16 : (keys.offset + len(keys)) * 16].reshape(-1, 16)
    words = np.ascontiguousarray(raw).view(">u8").astype(np.uint64).reshape(-1, 2)
    whole = mixed(mixed(words[:, 0]) ^ words[:, 1])
    in_low, bits = np.uint64(48), np.uint64(32)  # a key is 80 bits of the file, then 48 of the row
    file = mixed(mixed(words[:, 0]) ^ (words[:, 1] >> in_low))
    row = words[:, 1] & np.uint64((1 << 48) - 1)
    return whole, (file >> bits << bits) | np.minimum(row, LOW)


def mixed(words: Words) -> Words:
    """The finalizer of SplitMix64: every bit of a word decides every bit of its hash."""
    with np.errstate(over="ignore"):
        z = words + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def some_batches(
    store: Store, files: Sequence[Mapping[str, Any]], columns: Sequence[str], most_rows: int = MAX_ROWS, most_files: int = MAX_FILES
) -> Iterator[tuple[str, int, pa.RecordBatch]]:
    """Rows of a table, of a bounded number of its files: path, number of the batch's first row in it, and the columns that it has.

    The files are spread over the table, each gives its first rows.
    """
    filled = [file for file in files if file["rows"]]
    step = -(-len(filled) // most_files) or 1
    some = filled[::step]
    left = most_rows
    for number, file in enumerate(some):
        room = left if sum(one["rows"] for one in some[number:]) <= left else left // (len(some) - number)
        for path, first, batch in _first_batches(store, file, columns, room):
            left -= batch.num_rows
            yield path, first, batch


def _first_batches(store: Store, file: Mapping[str, Any], columns: Sequence[str], room: int) -> Iterator[tuple[str, int, pa.RecordBatch]]:
    first = 0
    with side_file(store, file) as reader:
        names = [name for name in columns if name in reader.schema_arrow.names]
        for group in range(reader.num_row_groups):
            for batch in reader.iter_batches(BATCH_ROWS, [group], columns=names, use_threads=False):
                if first < room:
                    yield file["path"], first, batch.slice(0, room - first)
                first += batch.num_rows
            if first >= room:
                return


@contextmanager
def side_file(store: Store, file: Mapping[str, Any]) -> Iterator[pq.ParquetFile]:
    """An open file of a table that the manifest lists."""
    if file["bytes"] <= SMALL_BYTES:
        yield pq.ParquetFile(io.BytesIO(store.read(file["path"])), page_checksum_verification=True, arrow_extensions_enabled=False)
        return
    with opened_parquet(store, file["path"], column_bytes=1 << 20) as reader:
        yield reader
