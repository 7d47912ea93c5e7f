"""Documents that exist only as signatures: what units leave for the exchange of near-duplicates, of any number of documents, in bulk.

A row depends on its number and on how many there are alone. Of a hundred documents twenty are copies of others and fifteen are their
near-duplicates (of up to 40 % of the hashes changed); two are in one of `HEAVY_KEYS` buckets; and `CHAIN` documents, spread over all, are a
chain of which only neighbours are alike: one component.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.commit import CommitLog
from pipelines.exchange import Source, UnitPlace
from pipelines.frames import refs
from pipelines.layers import Layers
from pipelines.near_grouping import UnitKeys
from pipelines.partitioning import ROW_BITS, mixed
from pipelines.steps import held_bytes
from pipelines.storage import open_store
from pipelines.worker import Attempt

BANDS: Final = 14
ROWS: Final = 8
HASHES: Final = BANDS * ROWS
FRAME_ROWS: Final = 4096
"""Documents in a batch of 16 MiB of text, as a run has them."""
CHAIN: Final = 100_000
"""Documents of the chain; of fewer than a million a tenth."""
CHAIN_STEP: Final = 61_813
"""A prime: the chain's order is none of the documents'."""
HEAVY_BAND: Final = 3
HEAVY_KEYS: Final = 4

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class UnitOrder:
    """A unit to make: the number of its file, how many documents it has, and how many there are in all."""

    output: str
    stage: str
    number: int
    rows: int
    unit_rows: int
    total: int


def make_unit(order: UnitOrder) -> UnitKeys:
    """Write the keys and features of a unit as its job would."""
    log = CommitLog(open_store(order.output), order.stage, 0)
    attempt = Attempt(log, f"{order.number:032x}")
    first = order.number * order.unit_rows
    with attempt.writer("keys-0") as keys, attempt.writer("features-0") as features:
        for start in range(0, order.rows, FRAME_ROWS):
            index = np.arange(first + start, first + min(start + FRAME_ROWS, order.rows), dtype=np.int64)
            bands, signature = signatures(index, order.total)
            place = {"file": pa.array(np.zeros(len(index), np.int64)), "row": pa.array(index - first)}
            ids = pa.array([f"doc-{number}" for number in index.tolist()])
            keys.write(pa.RecordBatch.from_pydict(place | {"bands": _fixed(bands)}))
            features.write(pa.RecordBatch.from_pydict(place | {"signature": _fixed(signature), "id": ids}))
        written = [keys.finish(), features.finish()]
    sources = [Source(tuple(refs(part)), (order.number,), (), held_bytes(part)) for part in written if part is not None]
    start = order.number << ROW_BITS
    return UnitKeys(UnitPlace(start, start + order.rows, (order.number,)), sources[0], sources[1], Layers(()), 0, order.rows)


def orders(output: str, stage: str, total: int, unit_rows: int) -> Iterator[UnitOrder]:
    """All units of so many documents."""
    for number, start in enumerate(range(0, total, unit_rows)):
        yield UnitOrder(output, stage, number, min(unit_rows, total - start), unit_rows, total)


def signatures(index: npt.NDArray[np.int64], total: int) -> tuple[U64, npt.NDArray[np.uint16]]:
    """Bands and signatures of documents by their numbers."""
    kind, other = _random(index, 1) % np.uint64(100), (_random(index, 2) % np.uint64(total)).astype(np.int64)
    content = np.where(kind < 35, other, index)
    words = HASHES // 4
    found = mixed((content[:, None] * words + np.arange(words)).reshape(-1)).view(np.uint16).reshape(len(index), HASHES)
    _change(found, index, np.flatnonzero((kind >= 20) & (kind < 35)))
    _chain(found, index, total)
    bands = _band_keys(found)
    heavy = np.flatnonzero(_random(index, 3) % np.uint64(50) == 0)
    bands[heavy, HEAVY_BAND] = mixed((index[heavy] % HEAVY_KEYS) - HEAVY_KEYS)
    return bands, found


def _change(found: npt.NDArray[np.uint16], index: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> None:
    """Change some hashes of documents, of each a share of its own."""
    share = (_random(index[rows], 4) >> np.uint64(11)).astype(np.float64) / (1 << 53) * 0.4
    dice = _random((index[rows][:, None] * HASHES + np.arange(HASHES)).reshape(-1), 5).reshape(len(rows), HASHES)
    changed = (dice >> np.uint64(11)).astype(np.float64) / (1 << 53) < share[:, None]
    found[rows] = np.where(changed, dice.astype(np.uint16), found[rows])


def _chain(found: npt.NDArray[np.uint16], index: npt.NDArray[np.int64], total: int) -> None:
    """Give the chain's documents their signatures: from one to the next a single hash changes."""
    length = min(CHAIN, max(1, total // 10))
    every = total // length
    rows = np.flatnonzero((index % every == 0) & (index // every < length))
    position = index[rows] // every * CHAIN_STEP % length
    hashes = np.arange(HASHES)
    found[rows] = _random(((position[:, None] + hashes) // HASHES * HASHES + hashes).reshape(-1), 6).astype(np.uint16).reshape(-1, HASHES)


def _band_keys(found: npt.NDArray[np.uint16]) -> U64:
    words = np.ascontiguousarray(found).view(np.uint64).reshape(len(found), BANDS, 2)
    first = mixed((words[:, :, 0] + np.arange(1, BANDS + 1, dtype=np.uint64)).reshape(-1).view(np.int64))
    return mixed((first ^ words[:, :, 1].reshape(-1)).view(np.int64)).reshape(len(found), BANDS)


def _random(values: npt.NDArray[np.int64], salt: int) -> U64:
    """Numbers that look random, one a value and salt."""
    return mixed((mixed(values) + np.uint64(salt)).view(np.int64))


def _fixed(values: npt.NDArray[Any]) -> pa.FixedSizeBinaryArray:
    """Rows of numbers as one column of bytes."""
    kind = pa.binary(values.shape[1] * values.itemsize)
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
