"""Documents that were taken out of the output go as soon as they are read, before any operator, sample or key sees them.

Owns how a unit finds them among its rows and what it writes down of them: the place and the id, never a column of the input.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from operators.base import text_of
from pipelines.columns import is_text
from pipelines.errors import InputChanged
from pipelines.inventory import InputFile
from pipelines.ledger import Ledger
from pipelines.rows import DropTable, Ints, Mask, Rows, UnitFiles
from pipelines.storage import Store
from pipelines.tombstones import TAKEDOWN, TAKEN_DOWN, TakenOut, Tombstones, load_tombstones


def planned_tombstones(store: Store, planned: TakenOut | None) -> Tombstones | None:
    """The tombstones that a plan was made with, on a worker; None if there were none.

    Raises:
        InputChanged: They do not say any more what they said then.
    """
    if planned is None:
        return None
    found = load_tombstones(store, planned.paths)
    if found.digest != planned.digest:
        raise InputChanged(
            f"{store.uri}: the tombstones in {planned.paths[0]} and {len(planned.paths) - 1} more objects have the digest {found.digest}, "
            f"expected {planned.digest}: they were changed during the run; start it again"
        )
    return found


class LeavingOut:
    """Finds, among the rows of one unit, those of documents that were taken out; where none were, it does nothing.

    Args:
        tombstones: Of the run's plan.
        inputs: The unit's files, in the order of `files`.
        files: What the drop table says of them.
        text_column: Name of the text column.
        table: The drop table.
    """

    def __init__(
        self, tombstones: Tombstones | None, inputs: Sequence[InputFile], files: UnitFiles, text_column: str, table: DropTable
    ) -> None:
        self._tombstones = tombstones
        self._files = files
        self._text_column = text_column
        self._table = table
        self._rows = {
            position: rows
            for position, (file, prefix) in enumerate(zip(inputs, files.prefixes, strict=True))
            if tombstones is not None and len(rows := tombstones.rows_of(prefix, file.etag))
        }

    def process(self, rows: Rows, ledger: Ledger) -> tuple[Rows, list[pa.RecordBatch]]:
        """The other documents, and rows of the drop table for those that were taken out, without any column of the input."""
        if self._tombstones is None:
            return rows, []
        count = ledger.operator(TAKEDOWN)
        started = time.thread_time()
        goes = self._by_place(rows.file, rows.row) | self._by_text(self._tombstones, rows.batch)
        count.rows_in += len(rows)
        gone = []
        if goes.any():
            removed = rows.filter(goes)
            reasons = pa.array([TAKEN_DOWN] * len(removed), pa.string())
            gone.append(self._table.rows(self._files, removed, TAKEDOWN, reasons, carries=False))
            count.dropped[TAKEN_DOWN] += len(removed)
            rows = rows.filter(~goes)
        count.rows_out += len(rows)
        count.seconds += time.thread_time() - started
        return rows, gone

    def _by_place(self, file: Ints, row: Ints) -> Mask:
        goes = np.zeros(len(row), np.bool_)
        for position, taken in self._rows.items():
            mine = file == position
            goes[mine] = np.isin(row[mine], taken)
        return goes

    def _by_text(self, tombstones: Tombstones, batch: pa.RecordBatch) -> Mask:
        """An input whose text an operator makes of another column has none yet."""
        at = batch.schema.get_field_index(self._text_column)
        if at < 0 or not is_text(batch.schema.field(at).type):
            return np.zeros(batch.num_rows, np.bool_)
        return tombstones.recognise(text_of(batch, self._text_column))
