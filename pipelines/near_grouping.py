"""Drives the exchange of an operator that removes near-duplicates: buckets, pairs, verification, components, decision.

    keys of units ─ a row for each bucket, radix passes ─► pairs ─ by the later document ─► verified, or carried to the earlier one's
      stretch and verified there ─► edges ─ components ─► decided ─ by place ─► the verdicts of each unit as one frame

What one task can hold is decided in one task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from operators.near import NearOperator, bands_of
from pipelines import faults
from pipelines.exchange import Source, UnitPlace, decide, read_source
from pipelines.gathering import UnitVerdict, gather
from pipelines.guards import bucket_sizes, heavy_keys, least_heavy
from pipelines.history import History
from pipelines.layers import Layers
from pipelines.near_candidates import BucketJob, SpreadJob
from pipelines.near_components import by_component
from pipelines.near_decide import decide as decide_edges
from pipelines.near_pairs import MeetJob, Stretch, VerifyJob
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import ByKey, ByPlace, places
from pipelines.rows import one_batch
from pipelines.steps import Steps, power_of_two, total_bytes, whole
from pipelines.verdicts import Telling, counts_kept, in_place_order, verdict_rows
from pipelines.worker import Attempt, Outcome, Worker

FIRST_PLACE: Final = -(1 << 63)
BUCKET_BYTES: Final = 16
"""Of a document's row in a bucket: the key and the place; each word of a keep policy takes 8 more."""
WORD_BYTES: Final = 24
PAIR_BYTES: Final = 16
PAIRS_AT_ONCE: Final = 8
"""How many times a task's bytes its pairs may take at most. Several bands propose the same ones, which are held once: they take less."""


@dataclass(frozen=True, slots=True)
class UnitKeys:
    """What a unit left for the exchange.

    Attributes:
        keys: Its documents' buckets.
        features: What verification compares, but for shingles.
        documents: Its documents, for exact verification.
        document_bytes: Their size.
        rows: Documents that take part.
    """

    place: UnitPlace
    keys: Source
    features: Source
    documents: Layers
    document_bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class AtOnceJob:
    """All documents that there are, where one task can hold their keys and features."""

    operator: OperatorSpec
    keys: tuple[Source, ...]
    features: tuple[Source, ...]
    heavy: int | None
    kind: str = "decide"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `verdicts`."""
        operator = self.operator.load()
        assert isinstance(operator, NearOperator)
        told: dict[str, Any] = {}
        with attempt.writer("verdicts") as writer:
            rows = self._rows(worker)
            if rows is not None:
                found = verdict_rows(worker, rows, decide(worker, operator, rows), marks=counts_kept(operator))
                telling = Telling(operator)
                telling.add(found)
                told = {**telling.detail(), "heavy": self._heaviest(rows)}
                for batch in in_place_order(found):
                    writer.write(batch)
            faults.point("exchange.before-record")
            return Outcome({"verdicts": writer.finish()}, detail=told)

    def _heaviest(self, rows: pa.RecordBatch) -> list[list[int]]:
        if self.heavy is None:
            return []
        from operators.kernels.radix import sort_order  # noqa: PLC0415  numba takes half a second to import

        bands, where = bands_of(rows), places(rows)
        counted = []
        for band in range(bands.shape[1]):
            keys = np.ascontiguousarray(bands[:, band])
            order = sort_order([keys])
            counted.append(bucket_sizes(keys[order], where[order], self.heavy))
        sizes, first = (np.concatenate(parts) for parts in zip(*counted, strict=True))
        return heavy_keys(sizes, first, self.heavy)

    def _rows(self, worker: Worker) -> pa.RecordBatch | None:
        """Keys and features side by side: both have the same documents in the same frames."""
        batches = []
        for keys, features in zip(self.keys, self.features, strict=True):
            for left, right in zip(read_source(worker, keys), read_source(worker, features), strict=True):
                more = right.select([name for name in right.schema.names if name not in left.schema.names])
                batches.append(pa.RecordBatch.from_arrays([*left.columns, *more.columns], names=[*left.schema.names, *more.schema.names]))
        return one_batch(pa.Table.from_batches(batches)) if batches else None


def group_near(steps: Steps, units: Sequence[UnitKeys], told: Sequence[UnitPlace], history: History | None = None) -> list[UnitVerdict]:
    """The verdicts on each unit, from the keys of all."""
    operator = steps.loaded
    assert isinstance(operator, NearOperator)
    keys, features = [unit.keys for unit in units], [unit.features for unit in units]
    num_rows = sum(unit.rows for unit in units)
    if history is None and fits_at_once(operator, num_rows, total_bytes(keys) + total_bytes(features), steps.limits.task_bytes):
        heavy = least_heavy(operator, num_rows)
        job = AtOnceJob(steps.operator, tuple(keys), tuple(features), heavy)
        return gather(steps, steps.each([steps.work(job, [*keys, *features])], "verdicts"), told)
    pairs = _pairs(steps, operator, units, history)
    stretches = [*_remembered(operator, history), *_stretches(operator, units, steps.limits.task_bytes)]
    edges = _edges(steps, pairs, stretches)
    return gather(steps, decide_edges(steps, by_component(steps, edges)), told)


def fits_at_once(operator: NearOperator, num_documents: float, held_bytes: float, limit: int) -> bool:
    """Whether one task can decide about all documents: hold their keys and features, and the pairs."""
    pairs = num_documents * operator.num_bands * min(operator.max_candidates, num_documents) * PAIR_BYTES
    return operator.verify == "estimate" and held_bytes <= limit and pairs <= PAIRS_AT_ONCE * limit


def _pairs(steps: Steps, operator: NearOperator, units: Sequence[UnitKeys], history: History | None) -> list[Source]:
    """The pairs that all buckets propose."""
    words = 0 if operator.keep == "first" else WORD_BYTES
    num_rows = sum(unit.rows for unit in units) * operator.num_bands
    limit = steps.limits.task_bytes
    earlier = [] if history is None else [one.source for one in history.remembered(operator, "heads")]
    by = ByKey(power_of_two(num_rows * (BUCKET_BYTES + words) + total_bytes(earlier), limit))
    partitions = steps.shuffle([unit.keys for unit in units], by, by.num_partitions, SpreadJob)
    before = steps.shuffle(earlier, by, by.num_partitions)
    heavy = least_heavy(operator, sum(unit.rows for unit in units))
    jobs = [
        BucketJob(steps.operator, (*more, *sources), limit, heavy, history is not None)
        for more, sources in zip(before, partitions, strict=True)
        if sources
    ]
    records = list(steps.done([steps.work(job, job.sources, str(job.leaves), str(heavy)) for job in jobs]))
    steps.left["heads"] = [record.parts["heads"] for record in records if "heads" in record.parts]
    return [whole(record.parts["pairs"]) for record in records if "pairs" in record.parts]


def _remembered(operator: NearOperator, history: History | None) -> Iterator[Stretch]:
    """Features of what earlier runs kept."""
    for one in sorted(() if history is None else history.remembered(operator, "features"), key=lambda one: one.first):
        yield Stretch(one.first, one.last + 1, (one.source,), (), 0, one.source.bytes)


def _stretches(operator: NearOperator, units: Sequence[UnitKeys], limit: int) -> Iterator[Stretch]:
    """Neighbouring units whose features a task can hold; a unit that has more is alone."""
    held: list[UnitKeys] = []
    for unit in units:
        if held and _held_bytes(operator, [*held, unit]) > limit:
            yield _stretch(operator, held)
            held = []
        held.append(unit)
    if held:
        yield _stretch(operator, held)


def _held_bytes(operator: NearOperator, units: Sequence[UnitKeys]) -> int:
    """Bytes of the units' features, with the shingles that are made of the text where verification is exact."""
    features = total_bytes(unit.features for unit in units)
    if operator.verify == "estimate":
        return features
    return features + int(sum(unit.document_bytes for unit in units) * operator.shingle_growth)


def _stretch(operator: NearOperator, units: Sequence[UnitKeys]) -> Stretch:
    return Stretch(
        units[0].place.start,
        units[-1].place.stop,
        tuple(unit.features for unit in units),
        tuple(unit.documents for unit in units) if operator.verify == "exact" else (),
        sum(unit.rows for unit in units),
        _held_bytes(operator, units),
    )


def _edges(steps: Steps, pairs: Sequence[Source], stretches: Sequence[Stretch]) -> list[Source]:
    """The verified ones of some pairs."""
    limit = steps.limits.task_bytes
    # What an earlier run removed may lie before all features that it left.
    starts = (FIRST_PLACE, *(stretch.start for stretch in stretches[1:]))
    jobs = [
        VerifyJob(steps.operator, tuple(sources), stretch, limit)
        for sources, stretch in zip(_by_stretch(steps, pairs, starts, "later"), stretches, strict=False)
        if sources
    ]
    records = list(steps.done([steps.work(job, [*job.pairs, *job.stretch.features]) for job in jobs]))
    edges, carried = ([whole(record.parts[role]) for record in records if role in record.parts] for role in ("edges", "carried"))
    meets = [
        MeetJob(steps.operator, tuple(sources), stretch, limit)
        for sources, stretch in zip(_by_stretch(steps, carried, starts, "earlier"), stretches, strict=False)
        if sources
    ]
    return edges + steps.each([steps.work(job, [*job.carried, *job.stretch.features]) for job in meets], "edges")


def _by_stretch(steps: Steps, sources: Sequence[Source], starts: tuple[int, ...], side: str) -> list[list[Source]]:
    return steps.shuffle(sources, ByPlace(starts, side), power_of_two(len(starts), 1))
