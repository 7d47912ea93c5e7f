"""The fused chain: opened operators over one batch after the other, with every row accounted for.

Owns the mask, the counting and the isolation of rows that an operator cannot process. An operator cannot lose a row here: it returns as
many as it was given, and the chain does the dropping.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, RowError
from operators.kernels.buffers import InvalidOffsetsError, check_offsets
from pipelines.columns import is_text, plain_schema, plain_type
from pipelines.conform import plain_batch
from pipelines.errors import LedgerImbalance, ShardmillError, UnitError, shown
from pipelines.ledger import Ledger
from pipelines.machine import is_of_machine
from pipelines.operator_warnings import heard, told
from pipelines.redaction import redact_environment, redact_uri
from pipelines.rows import DropTable, Rows, UnitFiles, quarantined_rows

OnError = Literal["fail", "quarantine"]


@dataclass(frozen=True, slots=True)
class OpenedOperator:
    """An operator that is ready on this worker.

    Attributes:
        given: Schema of the batches that it gives.
        schema: The same without encodings, nullable throughout: what the next operator gets. In a dictionary it would show in the bytes
            of the output how documents were batched.
        warnings: What it told a user while it was opened.
    """

    name: str
    apply: BatchFn
    given: pa.Schema
    schema: pa.Schema
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Gone:
    """Side-table rows that one batch left behind."""

    dropped: list[pa.RecordBatch] = field(default_factory=list)
    quarantined: list[pa.RecordBatch] = field(default_factory=list)


def open_chain(operators: Sequence[BatchOperator], schema: pa.Schema, assets: Assets) -> list[OpenedOperator]:
    """Open operators in order and run each on an empty batch, which tells the schema that it gives.

    Raises:
        UnitError: An operator cannot be opened, or does not accept an empty batch; names the operator.
    """
    opened = []
    for operator in operators:
        name = operator.name or operator.type
        try:
            with heard() as warned:
                apply = operator.open(assets)
                empty = apply(pa.RecordBatch.from_pylist([], schema=schema)).batch
            _check_text_is_left(schema, empty.schema, assets.text_column)
            schema = plain_schema(empty.schema)
            _plain(empty, schema)
        except ShardmillError:
            raise
        except OperatorError as error:
            raise UnitError(f"operator {name!r}: {redact_uri(str(error))}") from error
        except Exception as error:
            raise UnitError(f"operator {name!r} cannot be opened: {type(error).__name__}: {bounded(error)}") from error
        opened.append(OpenedOperator(name, apply, empty.schema, schema, told(warned)))
    return opened


def _check_text_is_left(taken: pa.Schema, given: pa.Schema, name: str) -> None:
    """Refuse an operator that puts something else in the place of the text, such as signals under a name that the text has."""
    if min(taken.get_field_index(name), given.get_field_index(name)) < 0:
        return
    before, after = plain_type(taken.field(name).type), plain_type(given.field(name).type)
    if is_text(before) and not is_text(after):
        raise OperatorError(f"it would replace the text in column {name!r} by {shown(after)}; give the operator another `name` or `column`")


class Observer(Protocol):
    """Sees what operators are given and what they answer: a dry run, in this very process. It changes nothing."""

    def before(self, operator: OpenedOperator, rows: Rows) -> None:
        """Called before an operator is applied; it does not count as the operator's time."""

    def applied(self, operator: OpenedOperator, rows: Rows, result: Result, errors: Mapping[int, RowError]) -> None:
        """Called with what came to an operator, and its answer for those of the rows that have no error."""


_OBSERVER: Final[ContextVar[Observer | None]] = ContextVar("observer", default=None)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Chains that are made in this thread meanwhile tell the observer what they do."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


class Chain:
    """Opened operators, applied to the batches of one unit."""

    def __init__(self, operators: Sequence[OpenedOperator], files: UnitFiles, on_error: OnError, drop_table: DropTable) -> None:
        self._operators = operators
        self._files = files
        self._on_error: OnError = on_error
        self._drop_table = drop_table
        self._observer = _OBSERVER.get()

    def process(self, rows: Rows, ledger: Ledger) -> tuple[Rows, Gone]:
        """Send documents through every operator. Returns those that stay, and side-table rows of the others; counts both in the ledger.

        Raises:
            LedgerImbalance: An operator returned another number of rows than it was given.
            UnitError: An operator failed and `on_error` is `fail`, or it broke its contract.
        """
        gone = Gone()
        source = rows
        for operator in self._operators:
            rows = self._step(operator, rows, source, ledger, gone)
        return rows, gone

    def _step(self, operator: OpenedOperator, rows: Rows, source: Rows, ledger: Ledger, gone: Gone) -> Rows:
        count = ledger.operator(operator.name)
        count.rows_in += len(rows)
        if self._observer is not None:
            self._observer.before(operator, rows)
        given, started = rows, time.thread_time()
        result, errors = self._apply(operator, rows)
        if errors:
            gone.quarantined.append(self._quarantine(operator, rows, errors))
            count.quarantined.update(error.error for error in errors.values())
            healthy = np.ones(len(rows), bool)
            healthy[list(errors)] = False
            rows = rows.filter(healthy)
        kept = rows.with_batch(_plain(result.batch, operator.schema))
        if result.reasons is not None and result.reasons.null_count < len(kept):
            goes = np.asarray(pc.is_valid(result.reasons).to_numpy(zero_copy_only=False), bool)
            reasons = result.reasons.filter(pa.array(goes))
            details = None if result.details is None else result.details.filter(pa.array(goes))
            gone.dropped.append(self._drop_table.rows(self._files, kept.filter(goes), operator.name, reasons, details, source))
            counts = pc.value_counts(pc.cast(reasons, pa.string()))
            count.dropped.update({entry["values"]: entry["counts"] for entry in counts.to_pylist()})
            kept = kept.filter(~goes)
        count.rows_out += len(kept)
        count.seconds += time.thread_time() - started
        if self._observer is not None:
            self._observer.applied(operator, given, result, errors)
        return kept

    def _apply(self, operator: OpenedOperator, rows: Rows) -> tuple[Result, dict[int, RowError]]:
        """The result for the rows that can be processed, and the errors of those that cannot, by position in `rows`."""
        errors: dict[int, RowError] = {}
        batch = rows.batch
        try:
            result = operator.apply(batch)
        except ShardmillError:
            raise
        except Exception as error:
            if is_of_machine(error):
                raise
            if self._on_error == "fail":
                remedy = "mend the input or the operator, or set execution.on_error to quarantine"
                raise UnitError(f"{self._blame(operator, rows, 0, error)}; {remedy}") from error
            bad = _culprits(operator.apply, batch, 0)
            errors.update(bad)
            result = operator.apply(batch.filter(pa.array([position not in bad for position in range(batch.num_rows)])))
        _check_contract(operator, batch.num_rows - len(errors), result)
        return self._without_errors(operator, rows, result, errors)

    def _without_errors(
        self, operator: OpenedOperator, rows: Rows, result: Result, errors: dict[int, RowError]
    ) -> tuple[Result, dict[int, RowError]]:
        if not result.errors:
            return result, errors
        survivors = [position for position in range(len(rows)) if position not in errors]
        reported = {survivors[position]: error for position, error in result.errors.items()}
        if self._on_error == "fail":
            position, first = min(reported.items())
            raise UnitError(self._blame(operator, rows, position, RuntimeError(f"{first.error}: {first.message}")))
        mask = pa.array([position not in result.errors for position in range(result.batch.num_rows)])
        reasons, details = (None if array is None else array.filter(mask) for array in (result.reasons, result.details))
        return Result(result.batch.filter(mask), reasons, details=details), errors | reported

    def _quarantine(self, operator: OpenedOperator, rows: Rows, errors: dict[int, RowError]) -> pa.RecordBatch:
        positions = np.array(sorted(errors), np.int64)
        mask = np.zeros(len(rows), bool)
        mask[positions] = True
        bad = rows.filter(mask)
        classes = [errors[position].error for position in positions.tolist()]
        messages = [without_secrets(errors[position].message) for position in positions.tolist()]
        return quarantined_rows(self._files, bad.file, bad.row, self._files.ids(bad), operator.name, classes, messages)

    def _blame(self, operator: OpenedOperator, rows: Rows, position: int, error: Exception) -> str:
        uri = self._files.uris[int(rows.file[position])]
        return (
            f"operator {operator.name!r} failed in the batch at row {rows.row[position]} of {uri}: {type(error).__name__}: {bounded(error)}"
        )


def _check_contract(operator: OpenedOperator, expected: int, result: Result) -> None:
    if result.batch.num_rows != expected:
        raise LedgerImbalance(
            f"operator {operator.name!r} was given {expected} rows and returned {result.batch.num_rows}: a row is lost or made up"
        )
    if result.reasons is not None and len(result.reasons) != expected:
        raise LedgerImbalance(f"operator {operator.name!r} was given {expected} rows and returned {len(result.reasons)} reasons")
    if result.details is not None and len(result.details) != expected:
        raise LedgerImbalance(f"operator {operator.name!r} was given {expected} rows and returned {len(result.details)} details")
    if not result.batch.schema.equals(operator.given):
        found, promised = _difference(result.batch.schema, operator.given)
        raise UnitError(
            f"operator {operator.name!r} gave other columns than it gives for an empty batch: found {found}, expected {promised}"
        )
    try:
        for name, column in zip(result.batch.schema.names, result.batch.columns, strict=True):
            check_offsets(column, name)
    except InvalidOffsetsError as error:
        raise UnitError(f"operator {operator.name!r} gave {error}") from error


def _difference(found: pa.Schema, expected: pa.Schema) -> tuple[str, str]:
    """The columns with their types and nullability, as far as they differ; if only their order does, all names."""
    pairs = ((found, expected), (expected, found))
    fields = [[_told(field) for field in schema if field not in list(other)] for schema, other in pairs]
    if not any(fields):
        fields = [found.names, expected.names]
    return shown(fields[0]), shown(fields[1])


def _told(field: pa.Field) -> str:
    return f"{field.name}: {field.type}{'' if field.nullable else ' not null'}"


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch without encodings, as `schema`, the plain form of its own, has it."""
    if batch.schema.equals(schema, check_metadata=True):
        return batch
    decoded = pa.RecordBatch.from_arrays([_decoded(column) for column in batch.columns], names=batch.schema.names)
    return pa.RecordBatch.from_arrays(plain_batch(decoded).columns, schema=schema)


def _decoded(column: pa.Array) -> pa.Array:
    """The values of a dictionary or of runs; casts, which decode nested ones, know neither runs nor dictionaries of structs."""
    if pa.types.is_dictionary(column.type):
        return _decoded(column.dictionary_decode())
    return _decoded(pc.run_end_decode(column)) if pa.types.is_run_end_encoded(column.type) else column


def _culprits(apply: BatchFn, batch: pa.RecordBatch, first: int) -> dict[int, RowError]:
    """The rows that make the operator fail, by halving: a batch with k bad rows of n costs about k log n calls."""
    if batch.num_rows == 0:
        return {}
    try:
        apply(batch)
    except ShardmillError:
        raise
    except Exception as error:  # whatever else an operator raises is a row's error, and it is recorded
        if is_of_machine(error):
            raise
        if batch.num_rows == 1:
            return {first: RowError(type(error).__name__, bounded(error))}
        half = batch.num_rows // 2
        return _culprits(apply, batch.slice(0, half), first) | _culprits(apply, batch.slice(half), first + half)
    return {}


def bounded(error: BaseException) -> str:
    """An error's message on one line, bounded, without the secrets of this process."""
    return without_secrets(" ".join(str(error).split()) or type(error).__name__)


def without_secrets(message: str) -> str:
    """The message without the passwords and signatures of URIs and the values of secret-looking environment variables, bounded."""
    return shown(redact_environment(redact_uri(message)))
