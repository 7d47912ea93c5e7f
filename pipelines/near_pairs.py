"""Verification: proposed pairs meet the features of both documents, and those that are similar enough become edges.

The documents are cut into stretches of units whose features fit a task. A task reads the pairs whose later document lies in its stretch,
each pair once, and the features of the documents in them. Where the earlier document lies in the stretch too, the pair is verified at once;
the others travel with the later one's features to the stretch of the earlier. Only documents with a candidate travel.

An edge is (`later`, `earlier`, `similarity`, `kept_doc_key`, `kept_id` where there are ids, and the policy's words of both).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.keep import WORDS
from operators.near import NearOperator
from pipelines import faults
from pipelines.document_keys import doc_keys, doc_words
from pipelines.exchange import Source, read_chunks, read_source
from pipelines.frames import PartWriter
from pipelines.layers import FILE, ROW, Layers, read_layers
from pipelines.learned import StageAssets
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import ROW_BITS, mixed, places
from pipelines.rows import Ints, one_batch
from pipelines.worker import Attempt, Outcome, Worker

MET_PAIRS: Final = 1 << 15
MET_BYTES: Final = 16 << 20
"""Pairs that are looked at together, and bytes of the features of one side of them: shingles of a large document are many."""
LATER: Final = "later_"
EARLIER: Final = "earlier_"
"""Before the names of columns of the two documents of a pair."""
DOC_WORDS: Final = ("doc_hi", "doc_lo")
"""Columns of the doc_key as words of keep order, where the policy has words."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring units whose documents' features a task can hold.

    Attributes:
        start: First place.
        stop: One past the last.
        features: Features of the units' documents, a source a unit; those of earlier runs have places of their own.
        documents: Where verification is exact: the documents of each unit, for their text.
        rows: Documents in it, at most.
        bytes: Size of their features.
    """

    start: int
    stop: int
    features: tuple[Source, ...]
    documents: tuple[Layers, ...]
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """Pairs whose later document lies in a stretch: verify those whose earlier one does too, send the others on with the features."""

    operator: OperatorSpec
    pairs: tuple[Source, ...]
    stretch: Stretch
    task_bytes: int
    kind: str = "verify"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `edges` and `carried`."""
        meeting = Meeting(worker, self.operator, self.stretch)
        with attempt.writer("edges") as edges, attempt.writer("carried") as carried:
            for later, earlier in self._pairs(worker):
                for some in self._slices(later):
                    self._meet(meeting, later[some], earlier[some], edges, carried)
            faults.point("exchange.before-record")
            return Outcome({"edges": edges.finish(), "carried": carried.finish()})

    @property
    def _fits(self) -> bool:
        """Whether the features of all of the stretch's documents can be held: not if one unit has very many small ones."""
        return self.stretch.bytes <= 2 * self.task_bytes

    def _pairs(self, worker: Worker) -> Iterator[tuple[Ints, Ints]]:
        """Each pair once, in the order of the later document; those of some of the documents at a time where no task could hold all."""
        from operators.kernels.buckets import unique_pairs  # noqa: PLC0415  numba takes half a second to import

        rounds = -(-sum(source.bytes for source in self.pairs) // (2 * self.task_bytes))
        for number in range(rounds):
            found = [_share(batch, number, rounds) for source in self.pairs for batch in read_source(worker, source)]
            earlier, later = unique_pairs(*(np.concatenate([pair[side] for pair in found]) for side in (1, 0)))
            yield later, earlier

    def _slices(self, later: Ints) -> Iterator[slice]:
        """Stretches of the pairs whose later documents' features can be held."""
        if self._fits:
            yield slice(0, len(later))
            return
        most = max(1, self.task_bytes * self.stretch.rows // self.stretch.bytes)
        starts = np.flatnonzero(np.r_[True, later[1:] != later[:-1]])[::most].tolist()
        yield from (slice(start, stop) for start, stop in pairwise([*starts, len(later)]))

    def _meet(self, meeting: Meeting, later: Ints, earlier: Ints, edges: PartWriter, carried: PartWriter) -> None:
        here = np.full(len(later), self._fits) & (earlier >= self.stretch.start) & (earlier < self.stretch.stop)
        features = meeting.features(_distinct(np.concatenate([later, earlier[here]])))
        for batch in meeting.carried(later[~here], earlier[~here], features):
            carried.write(batch)
        for batch in meeting.carried(later[here], earlier[here], features):
            for verified in meeting.edges(batch, features):
                edges.write(verified)


def _share(batch: pa.RecordBatch, number: int, rounds: int) -> tuple[Ints, Ints]:
    """Later and earlier documents of the pairs that belong to a round."""
    later, earlier = batch.column("later").to_numpy(), batch.column("earlier").to_numpy()
    if rounds == 1:
        return later, earlier
    mine = mixed(later) % np.uint64(rounds) == number
    return later[mine], earlier[mine]


@dataclass(frozen=True, slots=True)
class MeetJob:
    """Pairs that brought the later document's features to the stretch of the earlier one: verify them."""

    operator: OperatorSpec
    carried: tuple[Source, ...]
    stretch: Stretch
    task_bytes: int
    kind: str = "meet"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `edges`."""
        meeting = Meeting(worker, self.operator, self.stretch)
        with attempt.writer("edges") as edges:
            for chunk in read_chunks(worker, self.carried, self.task_bytes):
                features = meeting.features(_distinct(chunk.column("earlier").to_numpy()))
                for batch in meeting.edges(chunk, features):
                    edges.write(batch)
            faults.point("exchange.before-record")
            return Outcome({"edges": edges.finish()})


@dataclass(frozen=True, slots=True)
class Features:
    """Features of some documents, sorted by place."""

    place: Ints
    batch: pa.RecordBatch

    def position(self, place: Ints) -> Ints:
        """Where the documents at some places are, which must be there."""
        return np.searchsorted(self.place, place)

    def of(self, place: Ints) -> pa.RecordBatch:
        """The features of documents that are there, in the order of the places."""
        return self.batch.take(pa.array(self.position(place)))

    def sizes(self, name: str) -> Ints:
        """Bytes of each document's value in a column of features."""
        values = self.batch.column(name)
        if pa.types.is_fixed_size_binary(values.type):
            return np.full(len(values), values.type.byte_width, np.int64)
        sizes: Ints = pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
        return sizes


class Meeting:
    """The features of a stretch's documents, and what comes of pairs that meet them."""

    def __init__(self, worker: Worker, operator: OperatorSpec, stretch: Stretch) -> None:
        loaded = operator.load()
        assert isinstance(loaded, NearOperator)
        self._operator = loaded
        self._worker = worker
        self._stretch = stretch
        self._feature = loaded.feature

    def features(self, wanted: Ints) -> Features:
        """Features of the documents at some places, which are sorted and in the stretch."""
        found = [(where, batch) for source in self._stretch.features for where, batch in self._of(source, wanted)]
        if not found:
            return Features(np.zeros(0, np.int64), self._operator.no_features())
        place = np.concatenate([where for where, _ in found])
        batch = one_batch(pa.Table.from_batches([batch for _, batch in found]))
        if self._stretch.documents:
            batch = batch.append_column(self._feature, self._shingles(place))
        if (place[1:] >= place[:-1]).all():  # as units and their frames are
            return Features(place, batch)
        order = np.argsort(place, kind="stable")
        return Features(place[order], batch.take(pa.array(order)))

    def carried(self, later: Ints, earlier: Ints, features: Features) -> Iterator[pa.RecordBatch]:
        """Pairs with the features of the later document, some at a time."""
        for some in _cut(features.sizes(self._feature)[features.position(later)]):
            found = features.of(later[some])
            columns = {"later": pa.array(later[some]), "earlier": pa.array(earlier[some])}
            columns |= {LATER + name: found.column(name) for name in (self._feature, *_words(found))}
            yield pa.RecordBatch.from_pydict(columns)

    def edges(self, pairs: pa.RecordBatch, features: Features) -> Iterator[pa.RecordBatch]:
        """The verified ones of pairs that `carried` made, some at a time; `features` has those of their earlier documents."""
        there = _are_in(pairs.column("earlier").to_numpy(), features.place)
        if not there.all():  # documents that an earlier run removed, or that were struck
            pairs = pairs.filter(pa.array(there))
        position = features.position(pairs.column("earlier").to_numpy())
        for some in _cut(features.sizes(self._feature)[position]):
            yield self._verified(pairs.slice(some.start, some.stop - some.start), position[some], features)

    def _verified(self, pairs: pa.RecordBatch, position: Ints, features: Features) -> pa.RecordBatch:
        similarity = self._operator.similarity(
            pairs.column(LATER + self._feature), features.batch.column(self._feature).take(pa.array(position))
        )
        verified = np.flatnonzero(similarity >= np.float32(self._operator.threshold))
        kept = pa.array(verified)
        pairs, earlier = pairs.take(kept), features.batch.take(pa.array(position[verified]))
        columns = {"later": pairs.column("later"), "earlier": pairs.column("earlier"), "similarity": pa.array(similarity[verified])}
        columns["kept_doc_key"] = self._doc_keys(pairs.column("earlier").to_numpy(), earlier)
        if "id" in earlier.schema.names:
            columns["kept_id"] = earlier.column("id")
        if names := _words(earlier):
            columns |= {LATER + name: pairs.column(LATER + name) for name in names}
            columns |= {EARLIER + name: earlier.column(name) for name in names}
            for side, prefix in (("later", LATER), ("earlier", EARLIER)):
                halves = doc_words(self._worker, pairs.column(side).to_numpy())
                columns |= {prefix + name: pa.array(half) for name, half in zip(DOC_WORDS, halves, strict=True)}
        return pa.RecordBatch.from_pydict(columns)

    def _doc_keys(self, place: Ints, features: pa.RecordBatch) -> pa.Array:
        """Keys of documents: of this run from their places; those of earlier runs are told."""
        if "doc_key" in features.schema.names:
            return features.column("doc_key")
        return doc_keys(self._worker, place)

    def _of(self, source: Source, wanted: Ints) -> Iterator[tuple[Ints, pa.RecordBatch]]:
        for batch in read_source(self._worker, source):
            where = batch.column("place").to_numpy() if "place" in batch.schema.names else places(batch)
            mine = _are_in(where, wanted)
            unwanted = [name for name in ("place", "file", "row") if name in batch.schema.names]
            yield where[mine], batch.drop_columns(unwanted).filter(pa.array(mine))

    def _shingles(self, wanted: Ints) -> pa.Array:
        """Shingles of documents, from their text."""
        shingles = self._operator.shingles(StageAssets(self._worker))
        found: list[pa.Array] = []
        where: list[Ints] = []
        sorted_places = np.sort(wanted)
        for source, layers in zip(self._stretch.features, self._stretch.documents, strict=True):
            ordinals = np.array(source.ordinals, np.int64)
            for batch in read_layers(self._worker.store, layers.frames()):
                place = (ordinals[batch.column(FILE).to_numpy()] << ROW_BITS) | batch.column(ROW).to_numpy()
                mine = _are_in(place, sorted_places)
                where.append(place[mine])
                found.append(shingles(batch.filter(pa.array(mine))))
        order = np.argsort(np.concatenate(where), kind="stable")
        position = np.searchsorted(np.concatenate(where)[order], wanted)
        return pa.chunked_array(found).take(pa.array(order[position])).combine_chunks()


def _cut(sizes: Ints) -> Iterator[slice]:
    """Stretches of pairs that can be looked at together; a pair with very large features is alone."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start] - sizes[start]
        stop = min(int(np.searchsorted(ends, before + MET_BYTES, side="right")), start + MET_PAIRS)
        yield slice(start, max(stop, start + 1))
        start = max(stop, start + 1)


def _distinct(values: Ints) -> Ints:
    """Each value once, sorted: sooner than by `np.unique`, which hashes."""
    found = np.sort(values)
    once: Ints = found[np.r_[True, found[1:] != found[:-1]][: len(found)]]
    return once


def _words(features: pa.RecordBatch) -> list[str]:
    """The keep policy's words among the features."""
    return [name for name in WORDS if name in features.schema.names]


def _are_in(place: Ints, wanted: Ints) -> npt.NDArray[np.bool_]:
    """Which places are among the wanted ones, which are sorted."""
    if len(wanted) == 0:
        return np.zeros(len(place), np.bool_)
    found: npt.NDArray[np.bool_] = wanted[np.minimum(np.searchsorted(wanted, place), len(wanted) - 1)] == place
    return found
