"""How an operator learns from a sample of all documents: few of them are read again, and one task learns from these.

    tallies of units (in their records) ─► bound of the sample ─► sample: tasks that read the frames with documents below it
      ─► learn: one task, which orders them, takes what fits, and writes the file

A document is in the sample by its lot alone (`lots.py`), so that the file depends on no unit, batch or worker. Owns the jobs and their
plan. What it costs: some bytes in a unit's record for each frame; reading those frames that have a document below the bound (as many as
the sample has documents, twice, at most); the memory of one task: some times the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import LearningOperator, OperatorError
from operators.kernels.buffers import stretches
from pipelines import faults
from pipelines.chain import bounded
from pipelines.commit import CommitLog, Part, Record, digest
from pipelines.document_keys import doc_keys
from pipelines.errors import NothingToLearn, UnitError
from pipelines.exchange import Limits
from pipelines.fingerprint import Facts, fingerprint
from pipelines.frames import FrameRef, read_frames, refs
from pipelines.layers import Layers, read_layers, split_identity
from pipelines.learned import LearnedFile, StageAssets
from pipelines.lots import Drawn, Tallies, cut, draw, taken, weights
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import ROW_BITS
from pipelines.rows import one_batch
from pipelines.work import Work
from pipelines.worker import Attempt, Outcome, Worker

Complete = Callable[[CommitLog, Sequence[Work]], None]

LESSON_BYTES: Final = 1 << 20
"""Of the sample that an operator is given at once: as Python strings some libraries take them, and those are large."""
FRAME_BYTES: Final = 8 << 20
READ_FACTOR: Final = 2
"""Frames that one task reads, in tasks' worth of memory: it streams them, and holds only what is in the sample."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames of one unit that have documents of the sample.

    Attributes:
        numbers: Of the frames of the topmost layer.
        ordinals: The inventory's ordinal of each of the unit's files.
    """

    layers: Layers
    numbers: tuple[int, ...]
    ordinals: tuple[int, ...]

    def sizes(self) -> list[int]:
        """Bytes to read for each frame."""
        return [sum(ref.length for ref in self.layers.frame_refs(number)) for number in self.numbers]

    def words(self) -> Iterator[str]:
        """What it is known by: the topmost layer is one attempt's, which read the layers below."""
        for number in self.numbers:
            yield f"{self.layers.parts[-1].path}@{self.layers.parts[-1].frames[number][0]}"
        yield ",".join(map(str, self.ordinals))


@dataclass(frozen=True, slots=True)
class SampleJob:
    """Read some frames again, and keep of their documents those whose lots are low enough, with what is learned from each."""

    operator: OperatorSpec
    pieces: tuple[Piece, ...]
    schema: pa.Schema
    least_zeros: int
    learned: tuple[LearnedFile, ...]
    kind: str = "sample"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the documents from the lowest lot on: lot, key and lesson."""
        operator = _loaded(self.operator)
        lessons = operator.open(StageAssets(worker, self.learned))
        frames = [(piece.layers, number) for piece in self.pieces for number in piece.numbers]
        places = (np.array(piece.ordinals, np.int64) for piece in self.pieces for _ in piece.numbers)
        held: list[pa.RecordBatch] = []
        for ordinals, batch in zip(places, read_layers(worker.store, frames), strict=True):
            rows = split_identity(batch, self.schema)
            drawn = draw(doc_keys(worker, (ordinals[rows.file] << ROW_BITS) | rows.row), worker.seed)
            low = drawn.zeros >= self.least_zeros
            texts = lessons(rows.batch.filter(pa.array(low)))
            held.append(_lessons(Drawn(*(words[low] for words in drawn)), texts, operator.max_document_bytes))
        with attempt.writer("sample") as writer:
            for frame in _in_frames(_ordered(held)) if held else ():
                writer.write(frame)
            faults.point("sample.before-record")
            return Outcome({"sample": writer.finish()})


def _lessons(drawn: Drawn, texts: pa.LargeStringArray, most: int) -> pa.RecordBatch:
    there = weights(texts, most) > 0
    columns = [pa.array(words[there]) for words in drawn]
    return pa.RecordBatch.from_arrays([*columns, cut(texts.filter(pa.array(there)), most)], names=[*Drawn._fields, "lesson"])


def _drawn(rows: pa.RecordBatch) -> Drawn:
    return Drawn(*(rows.column(name).to_numpy() for name in Drawn._fields))


def _ordered(held: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    rows = one_batch(pa.Table.from_batches(held))
    return rows.take(pa.array(_drawn(rows).order))


def _in_frames(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start, stop in stretches(rows.column("lesson"), FRAME_BYTES):
        yield rows.slice(start, stop - start)


@dataclass(frozen=True, slots=True)
class LearnJob:
    """Learn from the sample."""

    operator: OperatorSpec
    frames: tuple[FrameRef, ...]
    kind: str = "learn"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the learned file; `detail` says how many documents and bytes of text it was learned from."""
        operator = _loaded(self.operator)
        lessons = self._sample(worker, operator)
        pa.default_memory_pool().release_unused()  # what was read for the sample is not held while it is learned from
        try:
            learned = operator.learn(_some_at_a_time(lessons))
        except OperatorError as error:
            raise UnitError(f"operator {self.operator.name!r}: {bounded(error)}") from error
        except MemoryError:
            raise
        except Exception as error:
            raise UnitError(f"operator {self.operator.name!r} could not learn: {type(error).__name__}: {bounded(error)}") from error
        with attempt.log.store.writer(attempt.log.part_path(attempt.key, attempt.id, "learned")) as sink:
            sink.write(learned)
        part = Part(attempt.log.part_path(attempt.key, attempt.id, "learned"), 0, len(learned), sink.sha256)
        faults.point("learn.before-record")
        size = int(pc.sum(pc.binary_length(lessons)).as_py())
        return Outcome({"learned": part}, detail={"documents": len(lessons), "sample_bytes": size})

    def _sample(self, worker: Worker, operator: LearningOperator) -> pa.LargeStringArray:
        """The lessons that are in the sample, from the lowest lot on."""
        rows = one_batch(pa.Table.from_batches(list(read_frames(worker.store, self.frames))))
        order = _drawn(rows).order
        lessons = rows.column("lesson")
        number = taken(weights(lessons, operator.max_document_bytes)[order], operator.sample_bytes)
        return lessons.take(pa.array(order[:number]))


def _some_at_a_time(lessons: pa.LargeStringArray) -> Iterator[pa.LargeStringArray]:
    for start, stop in stretches(lessons, LESSON_BYTES):
        yield lessons.slice(start, stop - start)


def _loaded(spec: OperatorSpec) -> LearningOperator:
    operator = spec.load()
    assert isinstance(operator, LearningOperator)
    return operator


# --- the plan


@dataclass(frozen=True, slots=True)
class Learning:
    """One operator that learns at the end of a stage.

    Attributes:
        facts: Everything about it that decides the file.
        tallies: Of the stage's units.
        piece: The frames of a unit, by its position.
        schema: Columns of the documents.
        before: What operators of earlier stages have learned.
    """

    operator: OperatorSpec
    facts: Facts
    tallies: Tallies
    piece: Callable[[int, Sequence[int]], Piece]
    schema: pa.Schema
    before: tuple[LearnedFile, ...]

    def run(self, log: CommitLog, complete: Complete, limits: Limits) -> tuple[LearnedFile, float]:
        """The learned file, and the CPU seconds that it took.

        Raises:
            NothingToLearn: No document reached the operator, or none has text.
        """
        if self.tallies.is_empty:
            raise NothingToLearn(
                f"operator {self.operator.name!r}: no document with text reached it, so there is nothing to learn from; "
                "look at the drops of the operators before it, or at the input"
            )
        samples = self._done(log, complete, list(self._samples(limits)))
        frames = tuple(ref for record in samples for ref in refs(record.parts.get("sample")))
        words = [f"{ref.path}@{ref.offset}" for ref in frames]
        job = LearnJob(self.operator, frames)
        size = sum(ref.length for ref in frames)
        key = digest(job.kind, self.operator.name, fingerprint(self.facts), *words)
        (record,) = self._done(log, complete, [Work(key, lambda: job, 0, size, job.kind)])
        seconds = sum(one.usage.get("seconds", 0.0) for one in (*samples, record))
        return self._file(record), seconds

    def _samples(self, limits: Limits) -> Iterator[Work]:
        least = self.tallies.least_zeros(_loaded(self.operator).sample_bytes)
        pieces = [self.piece(position, numbers) for position, numbers in self.tallies.frames(least)]
        for chunk, size in chunks(pieces, READ_FACTOR * limits.task_bytes):
            job = SampleJob(self.operator, tuple(chunk), self.schema, least, self.before)
            words = [word for piece in chunk for word in piece.words()]
            key = digest(job.kind, self.operator.name, str(least), *words)
            yield Work(key, lambda job=job: job, 0, size, job.kind)  # type: ignore[misc]

    def _done(self, log: CommitLog, complete: Complete, works: Sequence[Work]) -> list[Record]:
        complete(log, works)
        return list(log.records(work.key for work in works))

    def _file(self, record: Record) -> LearnedFile:
        part = record.parts["learned"]
        told = record.detail
        name = _loaded(self.operator).FILE
        return LearnedFile(self.operator, name, part.path, part.bytes, part.sha256, told["documents"], told["sample_bytes"])


def chunks(pieces: Sequence[Piece], most: int) -> Iterator[tuple[list[Piece], int]]:
    """Pieces in stretches of at most so many bytes to read, with how many these are: cut between frames, and a larger frame is alone."""
    held: list[Piece] = []
    total = 0
    for piece in pieces:
        numbers: list[int] = []
        for number, size in zip(piece.numbers, piece.sizes(), strict=True):
            if total and total + size > most:
                yield [*held, *_part(piece, numbers)], total
                held, numbers, total = [], [], 0
            numbers.append(number)
            total += size
        held += _part(piece, numbers)
    if held:
        yield held, total


def _part(piece: Piece, numbers: Sequence[int]) -> list[Piece]:
    return [Piece(piece.layers, tuple(numbers), piece.ordinals)] if numbers else []
