"""From a batch as a file holds it to documents as the inventory's schema has them, and the rows that are none.

Owns the checks of rows (text, UTF-8, type) and the size of batches. Knows no file format. A row's fate never depends on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.columns import fits, holds_text, is_text, plain_type
from pipelines.documents import Damaged, Documents, InputFile, ReadOptions, Rows
from pipelines.errors import shown

MAX_DAMAGED_ROWS = 1 << 16
# A batch a little too large is not worth a cut that leaves two small ones.
SLACK = 1.25

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows of a batch, by position, that are no documents for one reason."""

    positions: Positions
    error: str
    message: str


@dataclass(slots=True)
class _Sieve:
    """Which rows of a batch are still good, and what was found of the others: the first finding of a row counts."""

    good: npt.NDArray[np.bool_]
    findings: list[Finding] = field(default_factory=list)

    def take_out(self, positions: Positions, error: str, message: str) -> None:
        fresh = positions[self.good[positions]]
        if len(fresh):
            self.good[fresh] = False
            self.findings.append(Finding(fresh, error, message))


@dataclass(frozen=True, slots=True)
class Conformer:
    """Makes documents of one file's batches: the columns of `schema`, in its order, with its types."""

    file: InputFile
    schema: pa.Schema
    options: ReadOptions

    def refusal(self, found: pa.Schema) -> tuple[str, str] | None:
        """Why no row of a file with these columns can be a document, as (error, message); None if they can."""
        text = self.options.text_column
        if found.get_field_index(text) < 0:
            return "missing_text_column", f"there is no column {text!r}; the columns are: {shown(', '.join(found.names))}"
        kind = plain_type(found.field(text).type)
        if not is_text(kind) and not pa.types.is_null(kind):
            return "text_not_string", f"column {text!r} is {shown(kind)}; text must be a string column"
        for target in self.schema:
            if target.name in self.options.path_columns or found.get_field_index(target.name) < 0:
                continue
            kind = plain_type(found.field(target.name).type)
            if not fits(kind, target.type):
                return "schema_mismatch", f"column {target.name!r} is {shown(kind)}, which does not fit the input's {shown(target.type)}"
        return None

    def conform(self, batch: pa.RecordBatch, row_group: int, rows: Rows) -> Iterator[Documents | Damaged]:
        """Documents of a decoded batch, whose row i is `rows[i]` of the file, and the damaged rows among them."""
        sieve = _Sieve(np.ones(batch.num_rows, dtype=np.bool_))
        self._check_text(batch, sieve)
        good, columns = self._cast(batch, sieve)
        if len(good):
            yield Documents(pa.RecordBatch.from_arrays(columns, schema=self.schema), self.file, row_group, rows[good])
        for finding in sieve.findings:
            yield from self.damaged(batch, row_group, rows, finding)

    def damaged(self, batch: pa.RecordBatch, row_group: int, rows: Rows, finding: Finding) -> Iterator[Damaged]:
        """The rows of a finding, with the identifiers that the batch has for them."""
        for start in range(0, len(finding.positions), MAX_DAMAGED_ROWS):
            positions = finding.positions[start : start + MAX_DAMAGED_ROWS]
            ids = self.ids(batch, positions)
            yield Damaged(self.file, row_group, rows[positions], ids, finding.error, finding.message)

    def lost(self, row_group: int, start: int, stop: int, error: str, message: str) -> Iterator[Damaged]:
        """Rows `start` to `stop` of the file, of which nothing can be read."""
        for first in range(start, stop, MAX_DAMAGED_ROWS):
            rows = np.arange(first, min(first + MAX_DAMAGED_ROWS, stop), dtype=np.int64)
            yield Damaged(self.file, row_group, rows, None, error, message)

    def ids(self, batch: pa.RecordBatch, positions: Positions) -> pa.Array | None:
        """The users' identifiers of some rows as strings, or None where there are none that can be read."""
        name = self.options.id_column
        index = -1 if name is None else batch.schema.get_field_index(name)
        if index < 0:
            return None
        try:
            ids = pc.cast(_plain(batch.column(index).take(pa.array(positions))), pa.string())
            ids.validate(full=True)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
        return ids

    def _check_text(self, batch: pa.RecordBatch, sieve: _Sieve) -> None:
        text = self.options.text_column
        values = batch.column(batch.schema.get_field_index(text))
        if values.null_count or pa.types.is_null(values.type):
            nulls = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)).astype(np.int64)
            sieve.take_out(nulls, "null_text", f"column {text!r} is null")
        names = sorted(batch.schema.names, key=lambda name: name != text)
        for name in names:
            column = batch.column(batch.schema.get_field_index(name))
            if name not in self.options.path_columns and holds_text(column.type):
                sieve.take_out(invalid_utf8(column), "invalid_utf8", f"column {name!r} holds bytes that are not UTF-8")

    def _cast(self, batch: pa.RecordBatch, sieve: _Sieve) -> tuple[Positions, list[pa.Array]]:
        """The good rows and their columns; a value that does not fit its column takes its row out."""
        good, kept = _kept(batch, sieve)
        try:
            return good, [self._column(kept, target) for target in self.schema]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
        for target in self.schema:
            if target.name not in self.options.path_columns:
                unfit = failing(len(good), lambda some, name=target: self._column(kept.take(pa.array(some)), name))  # type: ignore[misc]
                message = f"column {target.name!r} holds a value that does not fit {shown(target.type)}"
                sieve.take_out(good[unfit], "schema_mismatch", message)
        good, kept = _kept(batch, sieve)
        return good, [self._column(kept, target) for target in self.schema]

    def _column(self, batch: pa.RecordBatch, target: pa.Field) -> pa.Array:
        if target.name in self.options.path_columns:
            value = dict(self.file.path_values).get(target.name)
            return pa.repeat(pa.scalar(value, target.type), batch.num_rows)
        index = batch.schema.get_field_index(target.name)
        if index < 0:
            return pa.nulls(batch.num_rows, target.type)
        values = _plain(batch.column(index))
        return values if values.type.equals(target.type) else values.cast(target.type)


def _kept(batch: pa.RecordBatch, sieve: _Sieve) -> tuple[Positions, pa.RecordBatch]:
    good = np.flatnonzero(sieve.good).astype(np.int64)
    return good, batch if len(good) == batch.num_rows else batch.filter(pa.array(sieve.good))


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without dictionaries and other encodings, so that its size is that of its values."""
    found = batch.columns
    columns = [_plain(column) for column in found]
    if all(new is old for new, old in zip(columns, found, strict=True)):
        return batch
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _plain(values: pa.Array) -> pa.Array:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    kind = plain_type(values.type)
    return values if values.type.equals(kind) else values.cast(kind)


def failing(num_rows: int, attempt: Callable[[Positions], object]) -> Positions:
    """Positions of the rows for which `attempt(positions)` fails by itself, by bisection: a few failures cost a few logarithms."""
    bad: list[int] = []
    pending = [(0, num_rows)]
    while pending:
        start, stop = pending.pop()
        if start == stop:
            continue
        try:
            attempt(np.arange(start, stop, dtype=np.int64))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            if stop - start == 1:
                bad.append(start)
            else:
                middle = (start + stop) // 2
                pending += [(start, middle), (middle, stop)]
    return np.array(sorted(bad), dtype=np.int64)


def invalid_utf8(column: pa.Array) -> Positions:
    """Positions of the values that hold strings, at any depth, that are not UTF-8. Costs 0.1 s/GB where there are none (ASCII)."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        # `take` copies the rows: validation of a slice of a nested column looks at the whole of its children.
        return failing(len(column), lambda some: column.take(pa.array(some)).validate(full=True))
    return np.empty(0, dtype=np.int64)


def sized(batches: Iterable[tuple[pa.RecordBatch, int]], batch_bytes: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Batches of at most about `batch_bytes`, or one row, out of batches of any size; with each goes its first row.

    The batches that come in follow each other without gaps.
    """
    pending: list[pa.RecordBatch] = []
    pending_bytes, first = 0, 0
    for batch, batch_first in batches:
        num_bytes = batch.nbytes
        if pending and pending_bytes + num_bytes > batch_bytes:
            yield _joined(pending), first
            pending, pending_bytes = [], 0
        if num_bytes > batch_bytes * SLACK:
            yield from _halved(batch, batch_first, batch_bytes)
            continue
        if not pending:
            first = batch_first
        pending.append(batch)
        pending_bytes += num_bytes
    if pending:
        yield _joined(pending), first


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)  # which copies even a single one


def _halved(batch: pa.RecordBatch, first: int, batch_bytes: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    if batch.nbytes <= batch_bytes * SLACK or batch.num_rows <= 1:
        yield batch, first
        return
    middle = batch.num_rows // 2
    yield from _halved(batch.slice(0, middle), first, batch_bytes)
    yield from _halved(batch.slice(middle), first + middle, batch_bytes)
