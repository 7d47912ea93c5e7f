"""Documents that were taken out of the output before: a dry run shows none of them, as a run leaves them out.

Owns what of a sample is left without them. How they are known is told by tombstones.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.base import text_of
from pipelines import identity
from pipelines.columns import is_text
from pipelines.intervals import proportion
from pipelines.inventory import Inventory
from pipelines.sample import Places, Sample
from pipelines.study import Estimate
from pipelines.tombstones import Tombstones

Mask = npt.NDArray[np.bool_]
ALL = Estimate(1.0, 1.0, 1.0)


def without_taken_out(sample: Sample, inventory: Inventory, tombstones: Tombstones, text_column: str) -> tuple[Sample, Estimate]:
    """The sample without documents that were taken out, and which part of all documents is left."""
    if not tombstones or not len(sample.documents):
        return sample, ALL
    stays, wide = (~_is_taken_out(places, inventory, tombstones, text_column) for places in (sample.documents, sample.wide))
    left = proportion(sample.scheme, np.ones(len(stays), np.bool_), stays)
    documents = _only(sample.documents, stays)
    return replace(sample, documents=documents, scheme=sample.scheme.of(stays), wide=_only(sample.wide, wide)), left


def _is_taken_out(places: Places, inventory: Inventory, tombstones: Tombstones, text_column: str) -> Mask:
    """By their place, or by their text, where the input has it already."""
    found = np.zeros(len(places), np.bool_)
    for file in np.unique(places.file).tolist():
        uri, etag = inventory.identity(file)
        taken = tombstones.rows_of(identity.uri_prefix(uri), etag)
        found |= (places.file == file) & np.isin(places.row, taken)
    start = 0
    for batch in places.table.to_batches():
        at = batch.schema.get_field_index(text_column)
        if at >= 0 and is_text(batch.schema.field(at).type):
            found[start : start + len(batch)] |= tombstones.recognise(text_of(batch, text_column))
        start += len(batch)
    return found


def _only(places: Places, mask: Mask) -> Places:
    return places if mask.all() else Places(places.table.filter(pa.array(mask)), places.file[mask], places.row[mask], places.cluster[mask])
