"""The decision: which documents of verified pairs are removed, in one task where the edges fit, else slice by slice of keep order.

A partition that no task can hold is a component of very many documents. It is cut into slices of keep order, decided one after the other: a
slice's own edges are held, the removals that earlier slices sent are applied, and edges to later slices are streamed to say what they
remove. The number of rounds is that of the slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.keep import WORDS
from operators.near import NearOperator, place_word
from pipelines import faults, identity
from pipelines.exchange import Source, gathered, read_chunks, read_source, united, write_by_digit
from pipelines.frames import PartWriter
from pipelines.near_pairs import DOC_WORDS, EARLIER, LATER
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import ByHash, mixed
from pipelines.rows import Ints
from pipelines.steps import Steps, by_group, power_of_two, total_bytes, whole
from pipelines.verdicts import Telling, counts_kept, in_place_order, mark_rows, removal_rows, with_marks
from pipelines.worker import Attempt, Outcome, Worker

SAMPLED: Final = 1 << 16
"""Documents whose place in keep order is looked at to cut slices: with so many a slice is within a few percent of its share."""

Words = list[npt.NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class ResolveJob:
    """Edges of whole components that a task can hold: decide them."""

    operator: OperatorSpec
    sources: tuple[Source, ...]
    kind: str = "resolve"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `verdicts`."""
        from operators.kernels.survivors import num_removed_for, survivors  # noqa: PLC0415  numba takes half a second to import

        operator = self.operator.load()
        assert isinstance(operator, NearOperator)
        edges = gathered(worker, self.sources)
        told = Telling(operator)
        with attempt.writer("verdicts") as writer:
            if edges is not None:
                chosen = survivors(*_places(edges), keep_words(edges, "later"), keep_words(edges, "earlier"))
                removed = edges.take(pa.array(chosen))
                kept = removed.column("earlier").to_numpy()
                number = num_removed_for(kept)
                verdicts = _verdicts(removed, number)
                told.add(verdicts)
                for batch in in_place_order(with_marks(verdicts, kept, number) if counts_kept(operator) else verdicts):
                    writer.write(batch)
            faults.point("exchange.before-record")
            return Outcome({"verdicts": writer.finish()}, detail=told.detail())


@dataclass(frozen=True, slots=True)
class CutJob:
    """Where to cut keep order so that every slice has about as many edges to documents in it."""

    sources: tuple[Source, ...]
    num_slices: int
    kind: str = "cut"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:  # noqa: ARG002  what is found fits the record
        """Tell the first words of every slice but the first, from a sample that the documents' places decide."""
        total = sum(source.bytes for source in self.sources)
        few = np.uint64(max(1, total // 64 // SAMPLED))
        found: list[Words] = []
        for source in self.sources:
            for batch in read_source(worker, source):
                mine = mixed(batch.column("later").to_numpy()) % few == 0
                found.append([word[mine] for word in keep_words(batch, "later")])
        words = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        order = np.lexsort(words[::-1])
        at = order[[len(order) * number // self.num_slices for number in range(1, self.num_slices)]]
        return Outcome({}, detail={"cuts": [[int(word[position]) for word in words] for position in at.tolist()]})


@dataclass(frozen=True, slots=True)
class Cuts:
    """Slices of keep order: the first words of every slice but the first, and for which document of an edge they are meant."""

    words: tuple[tuple[int, ...], ...]
    side: str = "earlier"

    @property
    def num_partitions(self) -> int:
        """Slices that there are."""
        return len(self.words) + 1

    def of(self, batch: pa.RecordBatch) -> Ints:
        """Slice of each row."""
        columns = keep_words(batch, self.side)
        cuts = np.array(self.words, np.uint64).reshape(-1, len(columns))
        low, high = np.zeros(batch.num_rows, np.int64), np.full(batch.num_rows, len(cuts), np.int64)
        for _ in range(len(cuts).bit_length()):  # a binary search in each row: there may be a thousand cuts
            middle = (low + high) >> 1
            reached = _reach(columns, cuts[np.minimum(middle, len(cuts) - 1)])
            low, high = np.where((low < high) & reached, middle + 1, low), np.where(reached, high, middle)
        return low


def _reach(columns: Words, cuts: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which rows are at or after a cut, one for each row."""
    found = np.ones(len(columns[0]), np.bool_)
    for column, word in zip(reversed(columns), reversed(cuts.T), strict=True):
        found = (column > word) | ((column == word) & found)
    return found


@dataclass(frozen=True, slots=True)
class SliceJob:
    """One slice: decide its documents, and say what they remove in later slices.

    Attributes:
        edges: Edges whose earlier document is in the slice.
        incoming: Removals of the slice's documents by those of earlier slices.
    """

    number: int
    cuts: Cuts
    edges: tuple[Source, ...]
    incoming: tuple[Source, ...]
    task_bytes: int
    kind: str = "slice"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `removed`, the edges for which documents of the slice go, and `outgoing`, a frame for each later slice."""
        from operators.kernels.survivors import decide_slice  # noqa: PLC0415

        incoming = [batch for source in self.incoming for batch in read_source(worker, source)]
        inner = [batch for chunk in read_chunks(worker, self.edges, self.task_bytes) for batch in self._inner(chunk)]
        with attempt.writer("removed") as removed, attempt.writer("outgoing") as outgoing:
            gone = np.zeros(0, np.int64)
            if inner or incoming:
                own, others = _joined(inner, incoming), _joined(incoming, inner)
                words = (keep_words(own, "later"), keep_words(own, "earlier"))
                decided = decide_slice(*_places(own), *words, *_places(others), keep_words(others, "earlier"))
                gone = decided.removed
                removed.write(own.take(pa.array(decided.edges)))
                removed.write(others.take(pa.array(decided.incoming)))
            for chunk in read_chunks(worker, self.edges, self.task_bytes):
                self._send(chunk, gone, outgoing)
            faults.point("exchange.before-record")
            parts = {"removed": removed.finish(), "outgoing": outgoing.finish()}
            return Outcome(parts)

    def _inner(self, chunk: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        mine = Cuts(self.cuts.words, "later").of(chunk) == self.number
        if mine.any():
            yield chunk.filter(pa.array(mine))

    def _send(self, chunk: pa.RecordBatch, gone: Ints, writer: PartWriter) -> None:
        from operators.kernels.survivors import outgoing  # noqa: PLC0415

        target = Cuts(self.cuts.words, "later").of(chunk)
        beyond = np.flatnonzero(target > self.number)
        edges = chunk.take(pa.array(beyond))
        sent = outgoing(*_places(edges), keep_words(edges, "earlier"), gone)
        bits = (self.cuts.num_partitions - 1).bit_length()
        write_by_digit(writer, edges.take(pa.array(sent)), target[beyond][sent], bits)


def _joined(batches: list[pa.RecordBatch], like: list[pa.RecordBatch]) -> pa.RecordBatch:
    return united(batches) if batches else like[0].slice(0, 0)


@dataclass(frozen=True, slots=True)
class CountJob:
    """All removals by some kept documents, of all slices: count them, and write the verdicts."""

    operator: OperatorSpec
    sources: tuple[Source, ...]
    task_bytes: int
    kind: str = "count"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `verdicts`; in two passes, so that a document that very many were removed for is no burden."""
        operator = self.operator.load()
        assert isinstance(operator, NearOperator)
        kept, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        told = Telling(operator)
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            kept, counts = _added(kept, counts, chunk.column("earlier").to_numpy())
        with attempt.writer("verdicts") as writer:
            for chunk in read_chunks(worker, self.sources, self.task_bytes):
                number = counts[np.searchsorted(kept, chunk.column("earlier").to_numpy())]
                for batch in in_place_order(_verdicts(chunk, number)):
                    told.add(batch)
                    writer.write(batch)
            if counts_kept(operator):
                writer.write(mark_rows(kept, counts))
            faults.point("exchange.before-record")
            return Outcome({"verdicts": writer.finish()}, detail=told.detail())


def _added(kept: Ints, counts: Ints, more: Ints) -> tuple[Ints, Ints]:
    """Counts of kept documents, sorted by place, with those of more removals."""
    place, number = np.unique(more, return_counts=True)
    whole, position = np.unique(np.concatenate([kept, place]), return_inverse=True)
    return whole, np.bincount(position, np.concatenate([counts, number]), len(whole)).astype(np.int64)


# --- the driver's part


def decide(steps: Steps, partitions: Sequence[Sequence[Source]]) -> list[Source]:
    """The verdicts on all documents of some partitions of edges, each with whole components."""
    most = steps.limits.task_bytes * 3 // 2
    fits = [ResolveJob(steps.operator, tuple(sources)) for sources in partitions if sources and total_bytes(sources) <= most]
    decided = steps.each([steps.work(job, job.sources) for job in fits], "verdicts")
    for sources in partitions:
        if total_bytes(sources) > most:
            decided += _in_slices(steps, list(sources))
    return decided


def _in_slices(steps: Steps, edges: list[Source]) -> list[Source]:
    limit = steps.limits.task_bytes
    cut = CutJob(tuple(edges), -(-total_bytes(edges) // limit))
    (record,) = steps.done([steps.work(cut, cut.sources, cut.num_slices)])
    cuts = Cuts(tuple(map(tuple, record.detail["cuts"])))
    slices = steps.shuffle(edges, cuts, 1 << (cuts.num_partitions - 1).bit_length())
    incoming: dict[int, list[Source]] = {}
    removed: list[Source] = []
    for number, sources in enumerate(slices[: cuts.num_partitions]):
        before = incoming.pop(number, [])
        if sources or before:
            job = SliceJob(number, cuts, tuple(sources), tuple(before), limit)
            (record,) = steps.done([steps.work(job, [*sources, *before], number, repr(cuts))])
            for later, source in by_group(record.parts.get("outgoing")):
                incoming.setdefault(int(later), []).append(source)
            removed += [whole(part) for part in [record.parts.get("removed")] if part is not None]
    by = ByHash("earlier", power_of_two(total_bytes(removed), limit))
    jobs = [CountJob(steps.operator, tuple(some), limit) for some in steps.shuffle(removed, by, by.num_partitions) if some]
    return steps.each([steps.work(job, job.sources) for job in jobs], "verdicts")


# --- edges


def keep_words(edges: pa.RecordBatch, side: str) -> Words:
    """Keep order of the later or the earlier documents of edges."""
    prefix = LATER if side == "later" else EARLIER
    names = [prefix + name for name in (*WORDS, *DOC_WORDS) if prefix + name in edges.schema.names]
    return [edges.column(name).to_numpy() for name in names] or [place_word(edges.column(side).to_numpy())]


def _places(edges: pa.RecordBatch) -> tuple[Ints, Ints]:
    return edges.column("later").to_numpy(), edges.column("earlier").to_numpy()


def _verdicts(removed: pa.RecordBatch, number: Ints) -> pa.RecordBatch:
    """The verdicts of the edges for which documents are removed."""
    keys = removed.column("kept_doc_key")
    ids = identity.hexadecimal(keys)
    if "kept_id" in removed.schema.names:
        ids = pc.coalesce(pc.cast(removed.column("kept_id"), pa.string()), ids)
    return removal_rows(removed.column("later").to_numpy(), keys, ids, removed.column("similarity"), number)
