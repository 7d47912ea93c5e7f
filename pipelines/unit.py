"""One unit of one stage: documents in, through the fused chain, parts out, and the proof that no row is missing.

The first stage reads the input; a later one reads the layers of the stage before, under the verdicts of that stage's group operators.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import BatchOperator, GroupOperator, KeysFn, LearningOperator, LessonsFn, text_of, with_column
from operators.near import NearOperator
from operators.passages import PassageOperator
from pipelines import formats, identity
from pipelines.chain import Chain, Gone, OnError, OpenedOperator, bounded, open_chain
from pipelines.commit import Part
from pipelines.document_profile import ProfileColumns
from pipelines.errors import LedgerImbalance, UnitError
from pipelines.frames import FrameRef, PartWriter, read_frames
from pipelines.guards import SourceCounts, can_name_sources
from pipelines.inventory import InputFile
from pipelines.judging import Judged, num_removals, passages_of
from pipelines.key_parts import KeyParts
from pipelines.layers import Layers, delta, read_layers, split_identity, with_identity
from pipelines.learned import LearnedFile, StageAssets, state_of
from pipelines.ledger import READER, Ledger
from pipelines.lots import Tally, lessons_of
from pipelines.operator_warnings import heard
from pipelines.operatorspec import OperatorSpec
from pipelines.output_counts import OutputCounts
from pipelines.partition_folders import partition_codes
from pipelines.quarantine import Progress, Quarantine
from pipelines.rows import (
    DUPLICATES,
    DropTable,
    Ints,
    Rows,
    UnitFiles,
    in_order,
    one_batch,
    ordered,
    quarantined_rows,
)
from pipelines.sizes import row_sizes
from pipelines.taken_out import LeavingOut, planned_tombstones
from pipelines.token_counts import TokenColumns
from pipelines.tombstones import TakenOut, Tombstones
from pipelines.worker import Attempt, Outcome, Worker

MADE_ID: Final = "id"
"""Name of the id column where the input has none."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What every unit of a stage has in common.

    Attributes:
        fingerprint: The stage's; opened operators are kept under it.
        operators: Batch operators, in order.
        groups: Group operators that end the stage.
        judged: Group operators that ended the stage before.
        schema: Columns that come into the stage, before those that `judged` add.
        output: Columns of the result where this is the last stage, else None.
        tokens: By which columns tokens are counted, in the last stage of documents that have token counts.
        profile: Of which columns the profile is made, in the last stage of documents whose text is written.
        drop_table: Columns of the table of dropped documents.
        learners: Operators that learn from the documents that the stage gives.
        taken_out: Documents that the first stage leaves out, because they were taken out of the output.
    """

    fingerprint: str
    operators: tuple[OperatorSpec, ...]
    groups: tuple[OperatorSpec, ...]
    judged: tuple[Judged, ...]
    schema: pa.Schema
    output: tuple[str, ...] | None
    partition_by: tuple[str, ...]
    tokens: TokenColumns | None
    drop_table: DropTable
    options: formats.ReadOptions
    made_id: bool
    batch_bytes: int
    on_error: OnError
    learners: tuple[OperatorSpec, ...] = ()
    profile: ProfileColumns | None = None
    taken_out: TakenOut | None = None

    @property
    def judged_schema(self) -> pa.Schema:
        """Columns that come to the stage's own operators."""
        return judged_schema(self.schema, self.judged)

    @property
    def id_column(self) -> str | None:
        """The column with the users' ids; where the input has none, the one that reading makes of the doc_key."""
        return MADE_ID if self.made_id else self.options.id_column


@dataclass(frozen=True, slots=True)
class OpenedGroup:
    """A group operator, ready to make keys on this worker."""

    name: str
    operator: GroupOperator
    keys: KeysFn


@dataclass(frozen=True, slots=True)
class OpenedLearner:
    """An operator that learns, ready to say on this worker what there is to learn."""

    name: str
    operator: LearningOperator
    lessons: LessonsFn


@dataclass(frozen=True, slots=True)
class OpenedStage:
    """A stage's operators, ready on this worker."""

    chain: list[OpenedOperator]
    groups: list[OpenedGroup]
    learners: list[OpenedLearner]
    editors: dict[str, PassageOperator]
    tombstones: Tombstones | None


@dataclass(frozen=True, slots=True)
class UnitJob:
    """A unit of a stage.

    Attributes:
        slices: What is read from the input (first stage), or was (later ones: only its files matter).
        layers: What the stage before left (later stages).
        verdicts: For each group operator of the stage before, the frame with its verdicts on this unit, or None.
        rows: Rows that must come in.
        unit: What the record says of the unit, for a later plan that wants to keep it.
        learned: What operators of earlier stages have learned.
    """

    spec: StageSpec
    slices: tuple[formats.Slice, ...]
    layers: Layers | None
    verdicts: tuple[FrameRef | None, ...]
    rows: int
    unit: Mapping[str, Any]
    learned: tuple[LearnedFile, ...] = ()
    kind: str = "unit"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Process the unit, write its parts and prove its ledger."""
        files = UnitFiles(unit_files(self.slices), self.spec.id_column)
        with ExitStack() as stack:
            return _UnitRun(self, worker, attempt, files, stack).run()


def unit_files(slices: Sequence[formats.Slice]) -> list[InputFile]:
    """The files of a unit, each once, in order."""
    return list({piece.file.ordinal: piece.file for piece in slices}.values())


def judged_schema(schema: pa.Schema, judged: Iterable[Judged]) -> pa.Schema:
    """Columns with those that group operators add.

    Raises:
        UnitError: There is a column of that name already.
    """
    for one in judged:
        if one.source_column is not None and one.source_column not in schema.names:
            raise UnitError(
                f"operator {one.name!r}: guards.source_column: the documents have no column {one.source_column!r}; "
                f"they have: {', '.join(schema.names)}"
            )
        if one.source_column is not None and not can_name_sources(schema.field(one.source_column).type):
            raise UnitError(
                f"operator {one.name!r}: guards.source_column: the column {one.source_column!r} is "
                f"{schema.field(one.source_column).type}; name a column of strings, numbers or dates"
            )
        for field in one.fields:
            if field.name in schema.names:
                remedy = "give the operator another `name`" if field.name == one.name else "name another column in `num_duplicates`"
                raise UnitError(f"operator {one.name!r}: the documents have a column {field.name!r} already; {remedy}")
            schema = schema.append(field)
    return schema


def open_stage(spec: StageSpec, worker: Worker, learned: Sequence[LearnedFile] = ()) -> OpenedStage:
    """Open the stage's operators, once a worker, with what those of earlier stages have learned."""
    state = spec.fingerprint + state_of(learned)
    opened = worker.opened.get(state)
    if opened is None:
        assets = StageAssets(worker, learned)
        operators = [made for made in (item.load() for item in spec.operators) if isinstance(made, BatchOperator)]
        groups = [made for made in (item.load() for item in spec.groups) if isinstance(made, GroupOperator)]
        learners = [made for made in (item.load() for item in spec.learners) if isinstance(made, LearningOperator)]
        chain = open_chain(operators, spec.judged_schema, assets)
        with heard():  # the driver told it
            opened_groups = [OpenedGroup(group.name or group.type, group, group.open(assets)) for group in groups]
            opened_learners = [OpenedLearner(one.name or one.type, one, one.open(assets)) for one in learners]
        editors = {one.name: one.editor.load() for one in spec.judged if one.editor is not None}
        opened = OpenedStage(
            chain,
            opened_groups,
            opened_learners,
            {name: editor for name, editor in editors.items() if isinstance(editor, PassageOperator)},
            planned_tombstones(worker.store, spec.taken_out),
        )
        worker.opened = {state: opened}
    assert isinstance(opened, OpenedStage)
    return opened


class _UnitRun:
    """The state of one attempt at a unit."""

    def __init__(self, job: UnitJob, worker: Worker, attempt: Attempt, files: UnitFiles, stack: ExitStack) -> None:
        self.job = job
        self.spec = job.spec
        self.worker = worker
        self.files = files
        self.ledger = Ledger()
        opened = open_stage(self.spec, worker, job.learned)
        self.groups = opened.groups
        self.learners = opened.learners
        self.tallies = {one.name: Tally(one.operator.max_document_bytes, worker.seed) for one in opened.learners}
        self.editors = opened.editors
        self.chain = Chain(opened.chain, files, self.spec.on_error, self.spec.drop_table)
        self._leaving_out = LeavingOut(opened.tombstones, unit_files(job.slices), files, worker.text_column, self.spec.drop_table)
        self._counts = OutputCounts(self.spec.tokens, self.spec.profile, files)
        names = ["documents", "dropped", "duplicates", "quarantine", *self._counts.roles]
        for number, group in enumerate(self.groups):
            names += [f"keys-{number}", *([f"features-{number}"] if isinstance(group.operator, NearOperator) else [])]
        self.writers: dict[str, PartWriter] = {name: stack.enter_context(attempt.writer(name)) for name in names}
        self.quarantine = Quarantine(self.writers["quarantine"], files)
        self.key_parts = [
            KeyParts(group.operator, self.writers[f"keys-{number}"], self.writers.get(f"features-{number}"))
            for number, group in enumerate(self.groups)
        ]
        self._sources = {one.name: SourceCounts(one.source_column, files) for one in self.spec.judged if one.counts_sources}

    def run(self) -> Outcome:
        for number, before in self._source():
            rows, dropped = self._judge(before) if self.job.layers is not None else self._leaving_out.process(before, self.ledger)
            rows, gone = self.chain.process(rows, self.ledger)
            self._write_gone(Gone(dropped + gone.dropped, gone.quarantined))
            self._write_keys(rows)
            self._tally(rows)
            self._write_documents(number, before, rows)
            self._counts.add(rows)
            self.ledger.rows_out += len(rows)
        self.quarantine.flush()
        for held in self.key_parts:
            held.flush()
        told = self._counts.told(self.writers)
        parts = {name: writer.finish() for name, writer in self.writers.items()}
        self._prove(parts)
        is_delta = self.job.layers is not None and not self.spec.partition_by
        detail: dict[str, Any] = {"delta": is_delta, "unit": self.job.unit, **told}
        if self._sources:
            detail["sources"] = {name: counts.told() for name, counts in self._sources.items()}
        if self.tallies:
            detail["tallies"] = {name: tally.told() for name, tally in self.tallies.items()}
        return Outcome(parts, self.ledger, detail)

    # --- in

    def _source(self) -> Iterator[tuple[int, Rows]]:
        if self.job.layers is None:
            yield from enumerate(self._read_input())
            return
        for number, batch in enumerate(read_layers(self.worker.store, self.job.layers.frames())):
            rows = split_identity(batch, self.spec.schema)
            self.ledger.rows_in += len(rows)
            yield number, rows
            self.quarantine.spill()  # frames of documents are in order

    def _read_input(self) -> Iterator[Rows]:
        positions = {uri: position for position, uri in enumerate(self.files.uris)}
        count = self.ledger.operator(READER)
        started = time.thread_time()
        spec = self.spec
        progress = Progress(self.job.slices)
        schema = spec.schema.remove(spec.schema.get_field_index(MADE_ID)) if spec.made_id else spec.schema
        for piece in formats.read(self.worker.sources, self.job.slices, schema, spec.options, spec.batch_bytes):
            count.seconds += time.thread_time() - started
            position = positions[piece.file.uri]
            number = len(piece.rows)
            self.ledger.rows_in += number
            count.rows_in += number
            if isinstance(piece, formats.Damaged):
                self._damaged(piece, position)
            else:
                count.rows_out += number
                yield self._with_id(Rows(piece.batch, np.full(number, position, np.int64), piece.rows))
            progress.give(piece.file.uri, piece.rows)
            if progress.is_complete:
                self.quarantine.spill()
            started = time.thread_time()

    def _with_id(self, rows: Rows) -> Rows:
        if not self.spec.made_id:
            return rows
        keys = self.files.keys(rows.file, rows.row)
        return rows.with_batch(rows.batch.append_column(MADE_ID, identity.hexadecimal(keys)))

    def _damaged(self, piece: formats.Damaged, position: int) -> None:
        number = len(piece.rows)
        if self.spec.on_error == "fail":
            raise UnitError(f"{piece.file.uri}: row {piece.rows[0]} (row group {piece.row_group}): {piece.error}: {piece.message}")
        self.ledger.operator(READER).quarantined[piece.error] += number
        file = np.full(number, position, np.int64)
        rows = quarantined_rows(self.files, file, piece.rows, piece.ids, READER, [piece.error] * number, [piece.message] * number)
        self.quarantine.extend([rows])

    def _judge(self, rows: Rows) -> tuple[Rows, list[pa.RecordBatch]]:
        """Apply the verdicts of the group operators that ended the stage before."""
        dropped = []
        told: list[tuple[Ints, pa.RecordBatch]] = []
        for judged, verdict in self._told:
            count = self.ledger.operator(judged.name)
            count.rows_in += len(rows)
            if judged.editor is not None:
                rows, gone = self._cut(judged, rows, verdict)
                dropped += gone
                count.rows_out += len(rows)
                continue
            goes, position = judged.condemned(rows, verdict)
            if judged.counts_sources:
                self._sources[judged.name].add(rows, goes)
            if verdict is not None and goes.any() and not judged.annotate:
                removed = rows.filter(goes)
                reasons = pa.array([judged.reason] * len(removed), pa.string())
                dropped.append(self.spec.drop_table.rows(self.files, removed, judged.name, reasons))
                told.append((ordered(removed), self._duplicates(judged.name, removed, verdict.take(pa.array(position[goes])))))
                count.dropped[judged.reason] += len(removed)
                rows = rows.filter(~goes)
            rows = judged.marked(rows, verdict)
            count.rows_out += len(rows)
        self._write_duplicates(told)
        return rows, dropped

    def _cut(self, judged: Judged, rows: Rows, verdict: pa.RecordBatch | None) -> tuple[Rows, list[pa.RecordBatch]]:
        """Cut passages out of documents; those of which too little is left are dropped as they came."""
        if verdict is None:
            return rows, []
        name = self.worker.text_column
        documents, passages = passages_of(rows, verdict)
        edited = self.editors[judged.name].edit(text_of(rows.batch, name), documents, passages)
        count = self.ledger.operator(judged.name)
        count.edits.update(passages=len(passages), chars=int(edited.chars_removed.sum()), documents=int((edited.chars_removed > 0).sum()))
        cut = rows.with_batch(with_column(rows.batch, name, edited.texts))
        if not edited.emptied.any():
            return cut, []
        removed = rows.filter(edited.emptied)
        count.dropped[judged.reason] += len(removed)
        reasons = pa.array([judged.reason] * len(removed), pa.string())
        return cut.filter(~edited.emptied), [self.spec.drop_table.rows(self.files, removed, judged.name, reasons)]

    @property
    def _told(self) -> Iterator[tuple[Judged, pa.RecordBatch | None]]:
        """The group operators of the stage before, with their verdicts on this unit."""
        return zip(self.spec.judged, self._verdicts, strict=True) if self.spec.judged else iter(())

    @cached_property
    def _verdicts(self) -> list[pa.RecordBatch | None]:
        return [None if ref is None else next(read_frames(self.worker.store, [ref])) for ref in self.job.verdicts]

    # --- out

    def _write_gone(self, gone: Gone) -> None:
        if gone.dropped:
            batch = in_order(gone.dropped, self.spec.drop_table.schema, self.files)
            self.writers["dropped"].write(batch, int(row_sizes(batch, batch.schema.names).sum()))
        self.quarantine.extend(gone.quarantined)

    def _duplicates(self, name: str, removed: Rows, verdict: pa.RecordBatch) -> pa.RecordBatch:
        keys = self.files.keys(removed.file, removed.row)
        names = pa.array([name] * len(removed), pa.string())
        columns = [verdict.column(column) for column in ("kept_doc_key", "kept_id", "similarity", "num_duplicates")]
        return pa.RecordBatch.from_arrays([keys, self.files.ids(removed), names, *columns], schema=DUPLICATES)

    def _write_duplicates(self, told: Sequence[tuple[Ints, pa.RecordBatch]]) -> None:
        """What the group operators removed from one batch, in the inventory's order, whichever of them removed it."""
        if told:
            batch = one_batch(pa.Table.from_batches([rows for _, rows in told]))
            batch = batch.take(pa.array(np.argsort(np.concatenate([places for places, _ in told]), kind="stable")))
            self.writers["duplicates"].write(batch, int(row_sizes(batch, batch.schema.names).sum()))

    def _write_keys(self, rows: Rows) -> None:
        for group, parts in zip(self.groups, self.key_parts, strict=True):
            started = time.thread_time()
            parts.add(self._keys(group, rows))
            self.ledger.operator(group.name).seconds += time.thread_time() - started

    def _tally(self, rows: Rows) -> None:
        """Count what there is to learn, a frame of documents at a time; an empty batch is no frame."""
        for learner in self.learners if len(rows) else ():
            started = time.thread_time()
            lessons = lessons_of(learner.name, learner.lessons, rows.batch)
            self.tallies[learner.name].add(self.files.keys(rows.file, rows.row), lessons)
            self.ledger.operator(learner.name).seconds += time.thread_time() - started

    def _keys(self, group: OpenedGroup, rows: Rows) -> pa.RecordBatch:
        """The keys of the documents that take part, with their identity in front and the users' ids behind."""
        try:
            keys = group.keys(rows.batch)
        except MemoryError:  # a smaller unit may pass
            raise
        except Exception as error:
            raise UnitError(f"operator {group.name!r} could not make keys: {type(error).__name__}: {bounded(error)}") from error
        if isinstance(group.operator, PassageOperator):
            index = keys.column("index").to_numpy()
            columns = [pa.array(rows.file[index]), pa.array(rows.row[index]), *keys.drop_columns(["index"]).columns]
            return pa.RecordBatch.from_arrays(columns, names=["file", "row", *keys.schema.names[1:]])
        if keys.num_rows != len(rows):
            raise LedgerImbalance(f"operator {group.name!r} was given {len(rows)} rows and returned {keys.num_rows} keys")
        columns = [pa.array(rows.file), pa.array(rows.row), *keys.columns]
        names = ["file", "row", *keys.schema.names]
        if self.spec.id_column is not None and not self.spec.made_id:
            columns.append(self.files.ids(rows))
            names.append("id")
        return pa.RecordBatch.from_arrays(columns, names=names).filter(pc.is_valid(keys.column(group.operator.KEY)))

    def _write_documents(self, number: int, before: Rows, rows: Rows) -> None:
        final = self.spec.output is not None
        writer = self.writers["documents"]
        if final and self.spec.partition_by:
            self._write_partitioned(rows)
            return
        size = int(row_sizes(rows.batch, self.spec.output).sum()) if self.spec.output is not None else None
        if self.job.layers is not None:
            writer.write(delta(before, rows), size, str(number))
        elif self.spec.output is not None:
            writer.write(rows.batch.select(list(self.spec.output)), size)
        else:
            writer.write(with_identity(rows), size)

    def _write_partitioned(self, rows: Rows) -> None:
        """One frame for each value of the partition columns, so that a shard reads only its own rows."""
        assert self.spec.output is not None
        codes, labels = partition_codes(rows.batch, self.spec.partition_by)
        order = np.argsort(codes, kind="stable")
        chosen = rows.batch.select(list(self.spec.output)).take(pa.array(order))
        sizes = row_sizes(chosen, self.spec.output)
        ends = np.searchsorted(codes[order], np.arange(len(labels)), side="right").tolist()
        for label, start, end in zip(labels, [0, *ends], ends, strict=False):
            self.writers["documents"].write(chosen.slice(start, end - start), int(sizes[start:end].sum()), label)

    # --- proof

    def _prove(self, parts: dict[str, Part | None]) -> None:
        def rows(name: str) -> int:
            part = parts[name]
            return 0 if part is None else part.rows

        subject = self._subject()
        expected = {"rows_in": self.job.rows, "rows_out": rows("documents")}
        self.ledger.prove(subject, **expected, num_dropped=rows("dropped"), num_quarantined=rows("quarantine"))
        judged = sum(self.ledger.operator(one.name).dropped.total() for one in self.spec.judged if one.editor is None)
        told = sum(num_removals(verdict) for one, verdict in self._told if not one.annotate and one.editor is None)
        if judged != told or judged != rows("duplicates"):
            raise LedgerImbalance(
                f"{subject}: {told} verdicts, {judged} documents removed by them, {rows('duplicates')} rows of duplicates"
            )

    def _subject(self) -> str:
        """The unit's rows in words; a unit of empty files has none."""
        uris = self.files.uris
        if not uris:
            return "a unit without rows"
        return f"rows of {uris[0]}" + (f" and {len(uris) - 1} more files" if len(uris) > 1 else "")
