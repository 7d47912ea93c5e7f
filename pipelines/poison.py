"""A unit of one row that no worker survived: its place goes to the quarantine, and the run goes on without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines import formats
from pipelines.ledger import READER, Ledger
from pipelines.rows import UnitFiles, quarantined_rows
from pipelines.sizes import row_sizes
from pipelines.unit import StageSpec
from pipelines.worker import Attempt, Outcome, Worker


@dataclass(frozen=True, slots=True)
class PoisonJob:
    """A unit of one row that no worker survived: it is not read again, but quarantined with what was last heard."""

    spec: StageSpec
    slices: tuple[formats.Slice, ...]
    why: str
    unit: Mapping[str, Any]
    kind: str = "unit"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:  # noqa: ARG002  nothing of the worker is needed
        """Write the row's place to the quarantine."""
        piece = self.slices[0]
        files = UnitFiles([piece.file], self.spec.id_column)
        row = np.array([piece.file.row_groups[piece.row_group].first_row + piece.start], np.int64)
        batch = quarantined_rows(files, np.zeros(1, np.int64), row, None, READER, ["worker_died"], [self.why])
        ledger = Ledger(rows_in=1)
        count = ledger.operator(READER)
        count.rows_in, count.quarantined["worker_died"] = 1, 1
        with attempt.writer("quarantine") as writer:
            writer.write(batch, int(row_sizes(batch, batch.schema.names).sum()))
            part = writer.finish()
        ledger.prove(files.uris[0], rows_in=1, rows_out=0, num_dropped=0, num_quarantined=1)
        return Outcome({"quarantine": part}, ledger, {"delta": False, "unit": self.unit})
