"""The quarantined rows of a unit on their way to their part: in the inventory's order, held only until every row before them is known.

A reader may report damage after documents that lie behind it. It gives every row of the unit once, so that as many rows as there are up to
the farthest place mean that nothing before that place is still to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from pipelines.documents import Slice
from pipelines.frames import PartWriter
from pipelines.rows import QUARANTINE, Ints, UnitFiles, in_order
from pipelines.sizes import row_sizes

HELD_ROWS: Final = 1 << 16
"""Rows from which on a frame is written where that can be done: some 50 MB with their messages."""


class Quarantine:
    """Holds quarantined rows, and writes them as soon as they are many and no row before the last of them can come any more."""

    def __init__(self, writer: PartWriter, files: UnitFiles) -> None:
        self._writer = writer
        self._files = files
        self._held: list[pa.RecordBatch] = []
        self._num_held = 0

    def extend(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Take rows."""
        self._held.extend(batches)
        self._num_held += sum(batch.num_rows for batch in batches)

    def spill(self) -> None:
        """Write what is held if it is much; whoever calls knows that all later rows lie behind."""
        if self._num_held >= HELD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            batch = in_order(self._held, QUARANTINE, self._files)
            self._writer.write(batch, int(row_sizes(batch, batch.schema.names).sum()))
            self._held, self._num_held = [], 0


class Progress:
    """How far the rows of a unit's slices were given by a reader that may give them out of order."""

    def __init__(self, slices: Sequence[Slice]) -> None:
        self._starts: dict[str, int] = {}
        """By file: what to add to a row of it to get its number in the unit. The rows of a file in a unit are a stretch without gaps."""
        before = 0
        for piece in slices:
            first = piece.file.row_groups[piece.row_group].first_row + piece.start
            self._starts.setdefault(piece.file.uri, before - first)
            before += piece.stop - piece.start
        self._given = 0
        self._farthest = 0

    def give(self, uri: str, rows: Ints) -> None:
        """Count rows of a file as given."""
        if len(rows):
            self._given += len(rows)
            self._farthest = max(self._farthest, self._starts[uri] + int(rows.max()) + 1)

    @property
    def is_complete(self) -> bool:
        """Whether every row before the farthest one was given."""
        return self._given == self._farthest
