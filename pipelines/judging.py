"""How the verdicts of a group operator come to the documents of a unit: they go, or are marked.

Owns what a verdict looks like and the columns that marks have; the exchange makes verdicts, the unit applies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import GroupOperator, LearningOperator
from operators.dedup import DedupOperator
from operators.passages import PassageOperator
from pipelines import identity
from pipelines.operatorspec import OperatorSpec
from pipelines.rows import Ints, Mask, Rows, ordered

VERDICT = pa.schema(
    [
        ("file", pa.int64()),
        ("row", pa.int64()),
        ("kept_doc_key", pa.binary(16)),
        ("kept_id", pa.string()),
        ("similarity", pa.float32()),
        ("num_duplicates", pa.int64()),
    ]
)
"""What the exchange says of a document; `file` is its file's position in the unit. Sorted by file, then row.

Without a `kept_doc_key` the document is kept, and `num_duplicates` were removed for it.
"""

MARK = pa.struct([("kept_id", pa.string()), ("kept_doc_key", pa.string()), ("similarity", pa.float32()), ("num_duplicates", pa.int64())])
"""What `annotate` says of a document that would go."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A group operator whose verdicts are applied, or one that learned and removes nothing.

    Attributes:
        annotate: Its verdicts only mark.
        count_column: Name of the column that says for how many documents a kept one stands.
        counts_sources: Whether a guard asks which sources lose documents.
        source_column: Column that names the source; None: the folder of the input file.
        editor: The operator, if its verdicts are on passages, which it cuts out.
    """

    name: str
    reason: str
    annotate: bool = False
    count_column: str | None = None
    counts_sources: bool = False
    source_column: str | None = None
    editor: OperatorSpec | None = None

    @classmethod
    def of(cls, operator: GroupOperator | LearningOperator, spec: OperatorSpec | None = None) -> Self:
        """What of an operator matters here."""
        name = operator.name or operator.type
        if isinstance(operator, LearningOperator):
            return cls(name, "")
        if isinstance(operator, PassageOperator):
            return cls(name, operator.reason, editor=spec)
        if not isinstance(operator, DedupOperator):
            return cls(name, operator.reason)
        guards = operator.guards
        counts = guards.max_source_share is not None
        return cls(name, operator.reason, operator.annotate, operator.num_duplicates, counts, guards.source_column if counts else None)

    @property
    def fields(self) -> list[pa.Field]:
        """Columns that it adds."""
        found = [pa.field(self.name, MARK)] if self.annotate else []
        return found + ([pa.field(self.count_column, pa.int64())] if self.count_column is not None else [])

    def condemned(self, rows: Rows, verdict: pa.RecordBatch | None) -> tuple[Mask, Ints]:
        """Which documents go, or are marked as going, and where in the verdict it says so of each."""
        told, position = told_of(rows, verdict)
        if verdict is not None:
            told &= _is_removal(verdict)[position]
        return told, position

    def marked(self, rows: Rows, verdict: pa.RecordBatch | None) -> Rows:
        """The documents with the columns that the operator adds."""
        if not self.fields:
            return rows
        told, position = told_of(rows, verdict)
        batch = rows.batch
        if self.annotate:
            batch = batch.append_column(pa.field(self.name, MARK), _marks(told, position, verdict))
        if self.count_column is not None:
            batch = batch.append_column(self.count_column, _counts(told, position, verdict))
        return rows.with_batch(batch)


def passages_of(rows: Rows, verdict: pa.RecordBatch) -> tuple[Ints, npt.NDArray[np.int32]]:
    """The passages of some documents that a verdict cuts out: positions of their documents, ascending, and their numbers in these."""
    wanted = (verdict.column("file").to_numpy() << 40) | verdict.column("row").to_numpy()
    found = ordered(rows)
    if len(found) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int32)
    position = np.minimum(np.searchsorted(found, wanted), len(found) - 1)
    mine = found[position] == wanted
    return position[mine].astype(np.int64), verdict.column("passage").to_numpy()[mine]


def told_of(rows: Rows, verdict: pa.RecordBatch | None) -> tuple[Mask, Ints]:
    """Of which rows a verdict speaks, and where in it each one is (anywhere for the others)."""
    if verdict is None or verdict.num_rows == 0:
        return np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.int64)
    wanted = (verdict.column("file").to_numpy() << 40) | verdict.column("row").to_numpy()
    found = ordered(rows)
    position = np.minimum(np.searchsorted(wanted, found), len(wanted) - 1)
    return wanted[position] == found, position


def num_removals(verdict: pa.RecordBatch | None) -> int:
    """Documents that a verdict removes."""
    return 0 if verdict is None else int(_is_removal(verdict).sum())


def _is_removal(verdict: pa.RecordBatch) -> Mask:
    found: Mask = pc.is_valid(verdict.column("kept_doc_key")).to_numpy(zero_copy_only=False)
    return found


def _marks(told: Mask, position: Ints, verdict: pa.RecordBatch | None) -> pa.StructArray:
    if verdict is None:
        return pa.nulls(len(told), MARK)
    marked = told & _is_removal(verdict)[position]
    said = verdict.take(pa.array(np.where(marked, position, 0)))
    keys = pc.fill_null(said.column("kept_doc_key"), b"\0" * 16)
    columns = [said.column("kept_id"), identity.hexadecimal(keys), said.column("similarity"), said.column("num_duplicates")]
    return pa.StructArray.from_arrays(columns, fields=list(MARK), mask=pa.array(~marked))


def _counts(told: Mask, position: Ints, verdict: pa.RecordBatch | None) -> pa.Array:
    if verdict is None:
        return pa.array(np.zeros(len(told), np.int64))
    kept = told & ~_is_removal(verdict)[position]
    return pa.array(np.where(kept, verdict.column("num_duplicates").to_numpy()[position], 0))
