"""The records of a log as the driver holds them: the latest as they are, the others as the folds that a restart would read.

A record has about a kilobyte, a seventh of that in a fold. Owns what a fold holds; does not know where folds and records lie.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

FOLD_RECORDS: Final = 2048
"""Records in a fold: a restart then reads 1/2048 of the objects."""
OPEN_BYTES: Final = 16 << 20
"""Of folds that are held open. Work is asked about in the order in which it was done, nearly: a few folds are read at a time."""
ROWS: Final = 1 << 32
LATEST: Final = -1


class HeldRecords:
    """Records by key, in the order in which they came; of a key's two records the first stays."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._latest: dict[str, bytes] = {}
        self._folds: list[bytes] = []
        self._open: OrderedDict[int, Sequence[bytes]] = OrderedDict()
        self._open_bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, key: str) -> bytes:
        place = self._places[key]
        if place == LATEST:
            return self._latest[key]
        number, row = divmod(place, ROWS)
        return self._opened(number)[row]

    @property
    def num_folds(self) -> int:
        """Folds so far."""
        return len(self._folds)

    @property
    def num_latest(self) -> int:
        """Records that no fold has."""
        return len(self._latest)

    def add(self, key: str, record: bytes) -> None:
        """Take in a record."""
        if key not in self._places:
            self._places[key] = LATEST
            self._latest[key] = record

    def next_fold(self) -> bytes:
        """The first of the records that no fold has, as a fold: a Parquet file. They count as folded once it is added."""
        keys = list(islice(self._latest, FOLD_RECORDS))
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"key": keys, "record": [self._latest[key] for key in keys]}), sink, compression="zstd")
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def add_fold(self, content: bytes) -> None:
        """Take in the records of a fold.

        Raises:
            pa.ArrowInvalid: It is not whole.
        """
        keys = fold_keys(content)
        fold_records(content)  # a fold that is cut, or damaged, is not to be found out later
        self._folds.append(content)
        first = (len(self._folds) - 1) * ROWS
        for row, key in enumerate(keys):
            self._places[key] = first + row
            self._latest.pop(key, b"")

    def _opened(self, number: int) -> Sequence[bytes]:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        records = fold_records(self._folds[number])
        self._open[number] = records
        self._open_bytes += _size(records)
        while self._open_bytes > OPEN_BYTES and len(self._open) > 1:
            _, closed = self._open.popitem(last=False)
            self._open_bytes -= _size(closed)
        return records


def _size(records: Sequence[bytes]) -> int:
    return sum(map(len, records))


def fold_keys(content: bytes) -> list[str]:
    """The keys of a fold's records.

    Raises:
        pa.ArrowInvalid: It is not whole.
    """
    found: list[str] = _column(content, "key").to_pylist()
    return found


def fold_records(content: bytes) -> list[bytes]:
    """The records of a fold.

    Raises:
        pa.ArrowInvalid: It is not whole.
    """
    found: list[bytes] = _column(content, "record").to_pylist()
    return found


def _column(content: bytes, name: str) -> pa.ChunkedArray:
    return pq.ParquetFile(pa.BufferReader(content)).read(columns=[name], use_threads=False)[name]
