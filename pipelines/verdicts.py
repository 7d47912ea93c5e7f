"""Verdicts on their way from the tasks that decide to the units that they are about.

A verdict removes a document for a kept one, which it names. Where the operator writes down for how many documents a kept one stands, there
are verdicts on kept documents too, which name nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.base import GroupOperator, Verdicts
from operators.dedup import DedupOperator
from pipelines import identity
from pipelines.document_keys import ROW_MASK, doc_keys
from pipelines.guards import MAX_TOLD, guards_of
from pipelines.judging import VERDICT
from pipelines.partitioning import ROW_BITS, places
from pipelines.rows import Ints
from pipelines.worker import Worker

PLACED: Final = pa.schema([pa.field("file", pa.int64()), *list(VERDICT)[1:]])
"""Verdicts before they are gathered: `file` is the ordinal in the inventory."""


def counts_kept(operator: GroupOperator) -> bool:
    """Whether kept documents are told for how many they stand."""
    return isinstance(operator, DedupOperator) and operator.num_duplicates is not None


def removals(verdicts: pa.RecordBatch) -> pa.RecordBatch:
    """Those verdicts that remove a document."""
    kept = verdicts.column("kept_doc_key")
    return verdicts if kept.null_count == 0 else verdicts.filter(pc.is_valid(kept))


def verdict_rows(worker: Worker, rows: pa.RecordBatch, verdicts: Verdicts, *, marks: bool) -> pa.RecordBatch:
    """Verdicts on rows of documents; with `marks`, also those on the kept ones."""
    where = places(rows)
    keys = kept_keys(worker, where[verdicts.kept], rows, verdicts.kept)
    ids = identity.hexadecimal(keys)
    if "id" in rows.schema.names:
        ids = pc.coalesce(pc.cast(rows.column("id").take(pa.array(verdicts.kept)), pa.string()), ids)
    found = removal_rows(where[verdicts.removed], keys, ids, verdicts.similarity, verdicts.num_duplicates)
    return with_marks(found, where[verdicts.kept], verdicts.num_duplicates) if marks else found


def kept_keys(worker: Worker, place: Ints, rows: pa.RecordBatch, kept: Ints) -> pa.Array:
    """doc_keys of kept documents: those of this run by their places; of earlier runs they are told."""
    own = place >= 0
    keys = doc_keys(worker, np.where(own, place, 0))
    if own.all():
        return keys
    told = rows.column("doc_key").take(pa.array(kept))
    return pc.if_else(pa.array(own), keys, told)


class _Kept(NamedTuple):
    """A kept document: how many were removed for it, its id (which others may have too), the first place of those."""

    number: int
    name: str
    place: int


_TOLD: Final = ("kept_doc_key", "kept_id", "num_duplicates_max", "place_min")


class Telling:
    """What verdicts say to an operator's guards: documents that many were removed for, and keys that many have.

    `heavy`: from how many documents on a key is told of, where the documents of a key are one and those removed for it; None: none is.
    """

    def __init__(self, operator: GroupOperator, heavy: int | None = None) -> None:
        guards = guards_of(operator)
        self._limit = None if guards is None else guards.max_removed_for
        self._heavy = heavy
        self._found: dict[bytes, _Kept] = {}

    def add(self, verdicts: pa.RecordBatch) -> None:
        """Take in some verdicts."""
        limits = [limit for limit in (self._limit, None if self._heavy is None else self._heavy - 2) if limit is not None]
        if not limits:
            return
        told = removals(verdicts.filter(pa.array(verdicts.column("num_duplicates").to_numpy() > min(limits))))
        if told.num_rows == 0:
            return
        rows = pa.Table.from_batches([told]).append_column("place", pa.array(places(told)))
        kept = rows.group_by(["kept_doc_key", "kept_id"], use_threads=False).aggregate([("num_duplicates", "max"), ("place", "min")])
        for key, name, number, place in zip(*(kept.column(at).to_pylist() for at in _TOLD), strict=True):
            before = self._found.get(key)
            self._found[key] = _Kept(number, name, place if before is None else min(place, before.place))
        largest = {*self._stands(), *self._heaviest()}
        self._found = {key: one for key, one in self._found.items() if one in largest}

    def detail(self) -> dict[str, list[Any]]:
        """For the record."""
        stands = [[one.number, one.name] for one in self._stands()]
        return {"stands": stands, "heavy": [[one.number + 1, one.place] for one in self._heaviest()]}

    def _stands(self) -> list[_Kept]:
        """Those that most were removed for."""
        found = [one for one in self._found.values() if self._limit is not None and one.number > self._limit]
        return sorted(found, key=lambda one: (-one.number, one.name, one.place))[:MAX_TOLD]

    def _heaviest(self) -> list[_Kept]:
        """Those whose keys most documents have."""
        found = [one for one in self._found.values() if self._heavy is not None and one.number + 1 >= self._heavy]
        return sorted(found, key=lambda one: (-one.number, one.place))[:MAX_TOLD]


def removal_rows(place: Ints, kept_keys: pa.Array, kept_ids: pa.Array, similarity: pa.Array, number: Ints) -> pa.RecordBatch:
    """Verdicts that remove the documents at some places."""
    columns = [
        pa.array(place >> ROW_BITS),
        pa.array(place & ROW_MASK),
        kept_keys,
        pc.cast(kept_ids, pa.string()),
        pa.array(similarity, pa.float32()),
        pa.array(number, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PLACED)


def mark_rows(place: Ints, number: Ints) -> pa.RecordBatch:
    """Verdicts on kept documents: for how many each stands. Documents of earlier runs are not told."""
    own = place >= 0
    place, number = place[own], number[own]
    empty = pa.nulls(len(place), PLACED.field("kept_doc_key").type)
    return removal_rows(place, empty, pa.nulls(len(place), pa.string()), np.zeros(len(place), np.float32), number)


def with_marks(removed: pa.RecordBatch, kept: Ints, number: Ints) -> pa.RecordBatch:
    """Removals, and verdicts on the documents that were kept for them, each once."""
    place, first = np.unique(kept, return_index=True)
    return pa.concat_batches([removed, mark_rows(place, number[first])])


def in_place_order(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Verdicts sorted by place, in frames that a later task may read one by one."""
    if rows.num_rows:
        yield rows.take(pa.array(np.argsort(places(rows), kind="stable")))
