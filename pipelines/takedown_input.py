"""The input of a version read again: single rows, for the hashes of their texts, or the ids of all.

Owns how a manifest's redacted settings become something that reads. What can no longer be read is said, not raised, where a takedown can do
without it: who asks for one has often deleted the input first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines import formats
from pipelines.errors import ShardmillError, StorageError
from pipelines.redaction import without_redacted
from pipelines.rows import Ints
from pipelines.storage import Sources
from pipelines.takedown_base import Base

BATCH_BYTES: Final = 8 << 20
MAX_SECONDS: Final = 20.0
"""How long a store that does not answer is asked again."""


class InputRows:
    """The rows of the files that a version's inventory lists, as they were then."""

    def __init__(self, base: Base) -> None:
        self._base = base
        settings = base.config["input"]
        self._sources = Sources(without_redacted(settings.get("storage_options") or {}), max_seconds=MAX_SECONDS)
        self._options = formats.ReadOptions(
            settings["format"], settings["text_column"], base.own_ids, tuple(settings.get("path_columns") or ())
        )
        self.text_column = str(settings["text_column"])

    def column(self, name: str, numbers: Ints, as_told: Callable[[pa.Array], pa.Array]) -> tuple[pa.Array, Ints]:
        """What is told of a column in some rows, and the places in `numbers` of those that could be read, in the same order.

        Args:
            name: Of the column.
            numbers: Of the rows.
            as_told: Makes of values what is told of each: something small, since it is held for all rows.
        """
        values = [as_told(pa.array([], self._base.inventory.schema.field(name).type))]
        places: list[Ints] = [np.empty(0, np.int64)]
        order = np.argsort(numbers, kind="stable")
        files = self._base.places.files_of(numbers[order])
        for file in np.unique(files).tolist():
            mine = order[files == file]
            try:
                found = [(some, as_told(read)) for some, read in self._chosen(name, file, numbers[mine])]
            except (ShardmillError, OSError):
                continue  # gone, changed, or out of reach: whoever asked sees which places are missing
            values += [some for _, some in found]
            places += [mine[at] for at, _ in found]
        return pa.concat_arrays(values), np.concatenate(places)

    def _chosen(self, name: str, file: int, numbers: Ints) -> Iterator[tuple[Ints, pa.Array]]:
        """Values in some rows of a file, given sorted, with their places among these."""
        for rows, found in self._rows(name, self._slices(file, self._base.places.rows_of(numbers))):
            read = self._base.places.number(file, rows)
            wanted = np.isin(read, numbers)
            yield np.searchsorted(numbers, read[wanted]), found.filter(pa.array(wanted))

    def ids(self) -> Iterator[tuple[Ints, pa.Array]]:
        """Numbers and ids of all documents.

        Raises:
            StorageError: A file is gone, is another one than was listed, or the store failed.
        """
        name = self._base.own_ids
        assert name is not None
        for file in range(self._base.inventory.num_files):
            whole = self._base.inventory.file(file)
            slices = [formats.Slice(whole, group, 0, whole.row_groups[group].rows) for group in range(len(whole.row_groups))]
            try:
                for rows, found in self._rows(name, slices):
                    yield self._base.places.number(file, rows), found
            except (ShardmillError, OSError) as error:
                raise StorageError(
                    f"{whole.uri}: it must be read again to tell which of its documents have the ids, since the shards are partitioned or "
                    f"without ids, and cannot be ({error}); restore the file as it was, or "
                    "run the pipeline again, and take them out of the version that it makes"
                ) from error

    def _slices(self, file: int, rows: Ints) -> list[formats.Slice]:
        """One slice for each row group that has some of the rows."""
        whole = self._base.inventory.file(file)
        firsts = np.array([group.first_row for group in whole.row_groups], np.int64)
        groups = np.searchsorted(firsts, rows, side="right") - 1
        found = []
        for group in np.unique(groups).tolist():
            inside = rows[groups == group] - firsts[group]
            found.append(formats.Slice(whole, group, int(inside.min()), int(inside.max()) + 1))
        return found

    def _rows(self, name: str, slices: list[formats.Slice]) -> Iterator[tuple[Ints, pa.Array]]:
        schema = pa.schema([self._base.inventory.schema.field(name)])
        for piece in formats.read(self._sources, slices, schema, self._options, BATCH_BYTES):
            if isinstance(piece, formats.Documents):
                yield piece.rows, piece.batch.column(0)
