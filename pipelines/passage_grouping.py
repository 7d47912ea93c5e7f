"""Drives the exchange of an operator that cuts passages out of documents: occurrences by key, which of them go, and back to their units.

A row is one occurrence: (`file`, `row`, `passage`, `key_hi`, `key_lo`). Units list theirs in the inventory's order, and no pass changes the
order of the rows of a key, so that its first occurrence is the first that is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from operators.passages import PassageCounts, PassageOperator, PassageRows, fold, merged
from pipelines import faults
from pipelines.exchange import Source, UnitPlace, gathered, read_chunks
from pipelines.frames import PartWriter
from pipelines.gathering import UnitVerdict, gather
from pipelines.history import History
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import ROW_BITS, ByKey, places
from pipelines.steps import Steps, power_of_two, total_bytes, whole
from pipelines.worker import Attempt, Outcome, Worker


@dataclass(frozen=True, slots=True)
class PassageJob:
    """One partition of keys: which occurrences go.

    Attributes:
        earlier: In how many documents earlier runs had the partition's passages.
        leaves: Whether to write down this run's numbers, by file, for later runs: these may read some of the files again.
    """

    operator: OperatorSpec
    sources: tuple[Source, ...]
    task_bytes: int
    earlier: tuple[Source, ...] = ()
    leaves: bool = False
    kind: str = "decide"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `verdicts`, the occurrences that go: at once where the partition fits, else counted first and judged then."""
        operator = self.operator.load()
        assert isinstance(operator, PassageOperator)
        with attempt.writer("verdicts") as writer, attempt.writer("counts") as counts:
            size = sum(source.bytes for source in self.sources)
            at_once = size <= 2 * self.task_bytes and not self.earlier and not self.leaves
            found = self._at_once(worker, operator) if at_once else self._in_rounds(worker, operator, counts)
            for batch in found:
                writer.write(batch)
            faults.point("exchange.before-record")
            parts = {"verdicts": writer.finish(), "counts": counts.finish()}
            return Outcome(parts)

    def _at_once(self, worker: Worker, operator: PassageOperator) -> Iterator[pa.RecordBatch]:
        batch = gathered(worker, self.sources)
        if batch is not None:
            rows = _sorted(batch)
            yield _occurrences(rows, operator.decide_passages(rows))

    def _in_rounds(self, worker: Worker, operator: PassageOperator, leaving: PartWriter) -> Iterator[pa.RecordBatch]:
        counts: PassageCounts | None = None
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            rows = _sorted(chunk)
            more = fold(rows)
            if self.leaves:
                leaving.write(_by_file(rows, counts))
            counts = more if counts is None else merged(counts, more)
        if counts is None:
            return
        for chunk in read_chunks(worker, self.earlier, self.task_bytes):
            counts = merged(_earlier(chunk), counts)
        counts = counts.frequent(operator.min_documents)
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            rows = _sorted(chunk)
            yield _occurrences(rows, operator.judge(rows, counts))


def group_passages(steps: Steps, keys: Sequence[Source], units: Sequence[UnitPlace], history: History | None = None) -> list[UnitVerdict]:
    """What is to be cut out of the documents of each unit, from the keys of all and the numbers that earlier runs left."""
    earlier = [] if history is None else [one.source for one in history.remembered(steps.loaded, "counts")]
    by = ByKey(power_of_two(total_bytes(keys) + total_bytes(earlier), steps.limits.task_bytes))
    both = zip(steps.shuffle(keys, by, by.num_partitions), steps.shuffle(earlier, by, by.num_partitions), strict=True)
    limit, leaves = steps.limits.task_bytes, history is not None
    jobs = [PassageJob(steps.operator, tuple(sources), limit, tuple(more), leaves) for sources, more in both if sources]
    records = list(steps.done([steps.work(job, [*job.sources, *job.earlier], str(leaves)) for job in jobs]))
    steps.left["counts"] = [record.parts["counts"] for record in records if "counts" in record.parts]
    return gather(steps, [whole(record.parts["verdicts"]) for record in records if "verdicts" in record.parts], units)


def _by_file(rows: PassageRows, before: PassageCounts | None) -> pa.RecordBatch:
    """In how many documents of each file each key is, as the history has it: `place` is that of the file's first row.

    Documents that the counts before say of a key that they have it last are not counted again.
    """
    columns = [rows.key_hi, rows.key_lo, rows.file, rows.row]
    is_new = np.ones(len(rows.key_hi), np.bool_)
    if before is not None:
        held = (before.key_hi, before.key_lo, before.last_file, before.last_row)
        columns = [np.concatenate(both) for both in zip(held, columns, strict=True)]
        is_new = np.r_[np.zeros(len(before.key_hi), np.bool_), is_new]
    order = np.lexsort((is_new, *columns[::-1]))
    columns, is_new = [values[order] for values in columns], is_new[order]
    differs = [np.r_[True, values[1:] != values[:-1]][: len(order)] for values in columns]
    starts = np.flatnonzero(differs[0] | differs[1] | differs[2])
    is_document = is_new & (differs[0] | differs[1] | differs[2] | differs[3])
    documents = np.add.reduceat(is_document.astype(np.int64), starts) if len(starts) else np.zeros(0, np.int64)
    some = starts[documents > 0]
    found = {"key_hi": columns[0][some], "key_lo": columns[1][some], "documents": documents[documents > 0]}
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in {**found, "place": columns[2][some] << ROW_BITS}.items()})


def _earlier(batch: pa.RecordBatch) -> PassageCounts:
    """Numbers that earlier runs left, as those of documents before all of this run."""
    key_hi, key_lo, documents = (batch.column(name).to_numpy() for name in ("key_hi", "key_lo", "documents"))
    order = np.lexsort((key_lo, key_hi))
    key_hi, key_lo, documents = key_hi[order], key_lo[order], documents[order]
    starts = np.flatnonzero(np.r_[True, (key_hi[1:] != key_hi[:-1]) | (key_lo[1:] != key_lo[:-1])])
    before = np.full(len(starts), -1, np.int64)
    return PassageCounts(
        key_hi[starts],
        key_lo[starts],
        np.add.reduceat(documents, starts),
        before,
        before,
        before.astype(np.int32),
        before,
        before,
    )


def _sorted(batch: pa.RecordBatch) -> PassageRows:
    """Occurrences by key, then in the inventory's order, which they are in already."""
    key_hi, key_lo, file, row, passage = (batch.column(name).to_numpy() for name in ("key_hi", "key_lo", "file", "row", "passage"))
    order = np.lexsort((passage, places(batch), key_lo, key_hi))
    return PassageRows(key_hi[order], key_lo[order], file[order], row[order].astype(np.int64), passage[order])


def _occurrences(rows: PassageRows, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.RecordBatch:
    """Some occurrences, in the inventory's order."""
    file, row, passage = rows.file[chosen], rows.row[chosen], rows.passage[chosen]
    order = np.lexsort((passage, row, file))
    return pa.RecordBatch.from_pydict({"file": pa.array(file[order]), "row": pa.array(row[order]), "passage": pa.array(passage[order])})
