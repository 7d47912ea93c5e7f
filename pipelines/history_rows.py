"""Rows that earlier runs left, as the exchange reads them: with the places that their documents have in this run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.frames import FrameRef, read_frames
from pipelines.inventory_prefixes import file_prefixes
from pipelines.partitioning import ROW_BITS
from pipelines.recall import ROW_MASK, Recall, Words, prefix_words

_OWN: ContextVar[Words | None] = ContextVar("own", default=None)
_RECALLS: dict[tuple[str, str, str], Recall] = {}
"""Of one run, kept between the tasks of a process."""


def recalled(worker: Any, frames: Sequence[FrameRef], generation: int) -> Iterator[pa.RecordBatch]:
    """The rows of some frames of a generation, without documents that do not count.

    A column `place` has places of this run; keys that are compared by file and row get these from it. Counts of passages have the place of
    a file: those of files that were read again do not count, but of struck documents nothing can be taken out.
    """
    recall = _recall(worker)
    for batch in read_frames(worker.history, frames):
        place, counts = recall.places(generation, batch.column("place").to_numpy())
        if "doc_key" in batch.schema.names:
            counts = counts & recall.stands(batch.column("doc_key"))
        columns = {name: batch.column(name) for name in batch.schema.names}
        columns["place"] = pa.array(place)
        if "key_lo" in columns:  # keys of documents, or counts
            del columns["place"]
            columns = {"file": pa.array(place >> ROW_BITS), "row": pa.array(place & ROW_MASK), **columns}
        yield pa.RecordBatch.from_pydict(columns).filter(pa.array(np.asarray(counts)))


@contextmanager
def reading_for(own: Words) -> Iterator[None]:
    """Runs of this thread read for one of other files meanwhile: a dry run has its documents in a file of its own.

    Args:
        own: Prefixes of the files that the other run reads.
    """
    token = _OWN.set(own)
    try:
        yield
    finally:
        _OWN.reset(token)


def _recall(worker: Any) -> Recall:
    if (taken_for := _OWN.get()) is not None:
        return Recall.of(worker.history, worker.place.history, taken_for)
    key = (worker.place.history.uri, worker.place.history.digest, worker.place.inventory_path)
    if key not in _RECALLS:
        own = prefix_words(file_prefixes(worker.store, worker.place.inventory_path))
        _RECALLS.clear()
        _RECALLS[key] = Recall.of(worker.history, worker.place.history, own)
    return _RECALLS[key]
