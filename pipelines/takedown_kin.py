"""The kin of documents that are taken out: copies that were removed in their favour, and documents in whose favour they were removed.

Owns the search in the table of duplicates. Memory holds the keys of the copies; of what is told, a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.recall import key_bytes
from pipelines.rows import Mask
from pipelines.takedown_base import Base
from pipelines.takedown_ids import Keys

MAX_TOLD: Final = 1000
COLUMNS: Final = ["doc_key", "id", "operator", "kept_doc_key", "kept_id"]


@dataclass(frozen=True, slots=True)
class Kin:
    """Rows of the table of duplicates.

    Attributes:
        keys: doc_keys of all that were found, sorted.
        kept: doc_keys of the documents that these were removed for, where they are told.
        told: The first `MAX_TOLD` of their rows.
    """

    keys: Keys
    told: pa.Table
    kept: Keys = field(default_factory=lambda: np.empty(0, "S16"))


def orphans(base: Base, taken: Keys) -> Kin:
    """Documents that were removed for one that is taken out now, or for one that was removed for such a one.

    They are not in the data, and stay out of it.
    """
    seen, latest = np.empty(0, "S16"), np.unique(taken)
    told: list[pa.RecordBatch] = []
    while len(latest):
        found = [np.empty(0, "S16")]
        for batch in _duplicates(base):
            is_new = _among(key_bytes(batch.column("kept_doc_key")), latest) & ~_among(key_bytes(batch.column("doc_key")), seen)
            chosen = batch.filter(pa.array(is_new))
            found.append(key_bytes(chosen.column("doc_key")))
            told += _room(told, chosen)
        latest = np.setdiff1d(np.concatenate(found), seen)
        seen = np.union1d(seen, latest)
    return Kin(seen, _table(told))


def kept_instead(base: Base, lost: Keys, taken: Keys) -> Kin:
    """Documents among the lost ones that were removed for one that stays in the data."""
    wanted = np.unique(lost)
    batches = (batch.filter(pa.array(_among(key_bytes(batch.column("doc_key")), wanted))) for batch in _duplicates(base))
    rows = _table([batch for batch in batches if batch.num_rows] if len(wanted) else [])
    kept = key_bytes(rows["kept_doc_key"].combine_chunks())
    numbers = base.places.numbers_of(kept)
    _, is_lost = base.places.ranks_of(numbers)
    stays = rows.filter(pa.array((numbers >= 0) & ~is_lost & ~_among(kept, np.unique(taken))))
    keys, first = np.unique(key_bytes(stays["doc_key"].combine_chunks()), return_index=True)
    return Kin(keys, stays.slice(0, MAX_TOLD), key_bytes(stays["kept_doc_key"].combine_chunks())[first])


def _duplicates(base: Base) -> Iterator[pa.RecordBatch]:
    return (batch for _, _, batch in base.side_batches("duplicates", COLUMNS))


def _among(keys: Keys, known: Keys) -> Mask:
    """Which keys are among others, which are sorted."""
    if not len(known):
        return np.zeros(len(keys), np.bool_)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    mask: Mask = known[at] == keys
    return mask


def _room(told: list[pa.RecordBatch], batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    room = MAX_TOLD - sum(one.num_rows for one in told)
    return [batch.slice(0, room)] if room > 0 and batch.num_rows else []


def _table(told: list[pa.RecordBatch]) -> pa.Table:
    if told:
        return pa.Table.from_batches(told)
    kinds = {"doc_key": pa.binary(16), "kept_doc_key": pa.binary(16)}
    return pa.table({name: pa.array([], kinds.get(name, pa.string())) for name in COLUMNS})
