"""Which documents are in a sample of all documents: each draws a lot, and the lowest are taken until there are bytes enough.

A lot is a hash of `execution.seed` and of the doc_key, so that a sample depends on no unit, batch, worker or order. Owns the lots, what a
document weighs, and the tallies by which the sample's bound is known before any lot is compared with those of other units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.base import LessonsFn
from operators.kernels.buffers import text_array, text_buffers
from pipelines.chain import bounded
from pipelines.errors import LedgerImbalance, UnitError
from pipelines.partitioning import mixed
from pipelines.rows import Ints

Words = npt.NDArray[np.uint64]

LOT_BITS: Final = 64
LEAST_BYTES: Final = 64
"""What a document weighs at least: it bounds the number of documents in a sample too."""


def lessons_of(name: str, function: LessonsFn, batch: pa.RecordBatch) -> pa.LargeStringArray:
    """What there is to learn from some documents, for the operator of this name.

    Raises:
        UnitError: The operator failed; names it.
        LedgerImbalance: It gave another number of lessons than there are documents.
    """
    try:
        lessons = function(batch)
    except MemoryError:  # a smaller unit may pass
        raise
    except Exception as error:
        raise UnitError(f"operator {name!r} could not make lessons: {type(error).__name__}: {bounded(error)}") from error
    if len(lessons) != batch.num_rows:
        raise LedgerImbalance(f"operator {name!r} was given {batch.num_rows} rows and returned {len(lessons)} lessons")
    return lessons


class Drawn(NamedTuple):
    """The lots of some documents, and their doc_keys as two numbers that sort as the keys do: by all three a sample is ordered."""

    lot: Words
    key_hi: Words
    key_lo: Words

    @property
    def zeros(self) -> Ints:
        """Leading zeros of each lot: half of all documents have one or more, a quarter two or more."""
        return LOT_BITS - _bit_length(self.lot)

    @property
    def order(self) -> npt.NDArray[np.intp]:
        """The documents from the lowest lot on; of equal lots the lower key comes first."""
        return np.lexsort((self.key_lo, self.key_hi, self.lot))


def draw(keys: pa.FixedSizeBinaryArray, seed: int) -> Drawn:
    """The lots of documents: the finalizer of splitmix64 over the seed, then over each half of the key, each time mixed with the rest."""
    raw = np.frombuffer(keys.buffers()[1], ">u8")[keys.offset * 2 : (keys.offset + len(keys)) * 2]
    halves = raw.reshape(-1, 2).astype(np.uint64)
    key_hi, key_lo = halves[:, 0].copy(), halves[:, 1].copy()
    start = mixed(np.array([seed % (1 << 64)], np.uint64).view(np.int64))
    middle = mixed((key_hi ^ start).view(np.int64))
    return Drawn(mixed((middle ^ key_lo).view(np.int64)), key_hi, key_lo)


def _bit_length(values: Words) -> Ints:
    """Bits of each number without leading zeros; exact, since each half fits a float."""
    high, low = (values >> np.uint64(32)).astype(np.float64), (values & np.uint64(0xFFFFFFFF)).astype(np.float64)
    return np.where(high > 0, 32 + np.frexp(high)[1], np.frexp(low)[1]).astype(np.int64)


# --- what a document gives


def weights(lessons: pa.LargeStringArray, most: int) -> Ints:
    """What each document weighs in a sample: the bytes of its text, cut at `most`, and `LEAST_BYTES` at least; nothing without text."""
    offsets, data = text_buffers(lessons)
    size = _cut_sizes(offsets, data, most)
    if lessons.null_count:
        size[lessons.is_null().to_numpy(zero_copy_only=False)] = 0
    return np.where(size > 0, np.maximum(size, LEAST_BYTES), 0)


def cut(lessons: pa.LargeStringArray, most: int) -> pa.LargeStringArray:
    """Texts without what is beyond `most` bytes; a character is whole or not there. None may be null."""
    offsets, data = text_buffers(lessons)
    whole = np.diff(offsets)
    size = _cut_sizes(offsets, data, most)
    if (size == whole).all():
        return lessons
    kept = np.zeros(len(size) + 1, np.int64)
    np.cumsum(size, out=kept[1:])
    pieces = [data[start : start + length] for start, length in zip(offsets[:-1].tolist(), size.tolist(), strict=True)]
    return text_array(kept, np.concatenate(pieces), lessons)


def _cut_sizes(offsets: Ints, data: npt.NDArray[np.uint8], most: int) -> Ints:
    """Bytes of each text up to `most`, less those of a character that would be cut in two."""
    size = np.diff(offsets)
    long = np.flatnonzero(size > most)
    ends = offsets[long] + most
    for _ in range(3):  # a character has three bytes after its first at most
        ends -= (data[ends] & 0xC0 == 0x80) & (ends > offsets[long])
    size[long] = ends - offsets[long]
    return size


# --- tallies


class Tally:
    """What the documents of a unit weigh, by the leading zeros of their lots, and of each frame the most zeros that any of its lots has.

    So the bound of the sample is known to a factor of two, and which frames have documents below it, from some bytes a frame: neither
    texts nor lots are kept.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._seed = seed
        self._bytes = np.zeros(LOT_BITS + 1, np.int64)
        self._frames: list[int] = []

    def add(self, keys: pa.FixedSizeBinaryArray, lessons: pa.LargeStringArray) -> None:
        """Count the documents of the next frame."""
        weight = weights(lessons, self._most)
        zeros = draw(keys, self._seed).zeros
        self._bytes += np.bincount(zeros, weight, LOT_BITS + 1).astype(np.int64)
        self._frames.append(int(np.where(weight > 0, zeros, -1).max()))

    def told(self) -> dict[str, Any]:
        """For the unit's record."""
        there = np.flatnonzero(self._bytes).tolist()
        return {"bytes": [[zeros, int(self._bytes[zeros])] for zeros in there], "frames": self._frames}


class Tallies:
    """The tallies of all units of a stage, in the plan's order."""

    def __init__(self) -> None:
        self._bytes = np.zeros(LOT_BITS + 1, np.int64)
        self._frames: list[npt.NDArray[np.int8]] = []

    def add(self, told: Mapping[str, Any] | None) -> None:
        """The tally of the next unit; None: it has no documents, because its only row was quarantined unread."""
        if told is None:
            told = {"bytes": [], "frames": []}
        for zeros, size in told["bytes"]:
            self._bytes[zeros] += size
        self._frames.append(np.array(told["frames"], np.int8))

    @property
    def is_empty(self) -> bool:
        """Whether no document has anything to learn from."""
        return not self._bytes.any()

    def least_zeros(self, sample_bytes: int) -> int:
        """The most leading zeros that lots may have so that the documents with as many or more are still a whole sample.

        They weigh about twice the sample at most; 0, which is all documents, where these are less than one.
        """
        above = np.cumsum(self._bytes[::-1])[::-1]
        enough = np.flatnonzero(above >= sample_bytes)
        return int(enough[-1]) if len(enough) else 0

    def frames(self, least_zeros: int) -> Sequence[tuple[int, list[int]]]:
        """The units, by position, that have documents with so many zeros, with the frames that these are in."""
        found = ((position, np.flatnonzero(zeros >= least_zeros).tolist()) for position, zeros in enumerate(self._frames))
        return [(position, numbers) for position, numbers in found if numbers]


def taken(weight: Ints, sample_bytes: int) -> int:
    """How many documents are in the sample, given what each weighs, from the lowest lot on: as many as fit."""
    return int(np.searchsorted(np.cumsum(weight), sample_bytes, side="right"))
