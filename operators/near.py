"""The contract of an operator that removes near-duplicates: documents meet in buckets, are verified, and decided by one rule.

Two documents are a verified pair if they met in a bucket and their similarity reaches the threshold. In keep order (the policy's key, then
the hash of the content, then the doc_key) a document is removed if and only if it forms a verified pair with an earlier one that is kept,
which it then names; of several the first. So documents that stay and were compared are never near-duplicates, nothing goes through a chain,
and the result depends on no partition and no order of arrival.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.base import Assets, Verdicts
from operators.dedup import DedupOperator
from operators.keep import WORDS

Ints = npt.NDArray[np.int64]
Words = Sequence[npt.NDArray[np.uint64]]
"""Order words: columns of unsigned numbers, the most significant first; the smaller comes first in keep order."""

SIGN: Final = np.uint64(1 << 63)
COMPARED_PAIRS: Final = 1 << 16
"""Pairs whose features are looked at together: twice 224 bytes a pair stay near the processor."""
PROPOSED_PAIRS: Final = 4 << 20
"""Pairs that are proposed before they are made one with those that there are: 64 MiB."""


class NearOperator(DedupOperator):
    """An operator that removes a document for an earlier one that it resembles.

    Class attributes:
        FEATURES: Columns of the keys that only verification needs; the engine keeps them apart.
    """

    FEATURES: ClassVar[tuple[str, ...]] = ("signature",)
    KEY: ClassVar[str] = "bands"
    reason: ClassVar[str] = "near_duplicate"

    threshold: float = Field(default=0.75, gt=0, le=1, description="Similarity (Jaccard) from which on a pair is one of near-duplicates.")
    verify: Literal["estimate", "exact"] = Field(
        default="estimate",
        description="How a pair that met is verified: `estimate` compares 16 bits of each hash of the signatures; `exact` compares the "
        "sets of shingles, made from the text again.",
    )
    max_candidates: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="In a bucket a document is compared with so many of the first ones in keep order, so that a bucket of a million "
        "documents costs linear work.",
    )

    @property
    @abstractmethod
    def num_bands(self) -> int:
        """Buckets that each document is in."""

    @property
    def feature(self) -> str:
        """Name of the column that verification compares."""
        return "signature" if self.verify == "estimate" else "shingles"

    def no_features(self) -> pa.RecordBatch:
        """Features of no document at all."""
        kind = pa.binary(0) if self.verify == "estimate" else pa.large_binary()
        return pa.RecordBatch.from_pydict({self.feature: pa.array([], kind)})

    @property
    @abstractmethod
    def shingle_growth(self) -> float:
        """How many times the bytes of a text its shingles take, where verification is exact."""

    @abstractmethod
    def similarity(self, first: pa.Array, second: pa.Array) -> npt.NDArray[np.float32]:
        """Similarity of pairs, from the features of both documents: signatures, or shingles where verification is exact."""

    @abstractmethod
    def shingles(self, assets: Assets) -> Callable[[pa.RecordBatch], pa.LargeBinaryArray]:
        """The function from a batch to the features that exact verification compares."""

    def decide(self, rows: pa.RecordBatch) -> Verdicts:
        """Decide among all documents that there are, in one go.

        Args:
            rows: What `open()`'s function gave for every document that takes part, with `file` and `row` in front, and `doc_key` where the
                policy is not to keep the first; in any order.
        """
        from operators.kernels.survivors import num_removed_for, survivors

        taking_part = np.flatnonzero(pc.is_valid(rows.column(self.KEY)).to_numpy(zero_copy_only=False))
        if len(taking_part) < rows.num_rows:
            found = self.decide(rows.take(pa.array(taking_part)))
            return Verdicts(taking_part[found.removed], taking_part[found.kept], found.similarity, found.num_duplicates)
        words = order_words(rows)
        later, earlier = candidates(rows, words, self.max_candidates)
        similarity = self._similarities(rows.column(self.feature), later, earlier)
        verified = similarity >= np.float32(self.threshold)
        later, earlier, similarity = later[verified], earlier[verified], similarity[verified]
        chosen = survivors(later, earlier, [word[later] for word in words], [word[earlier] for word in words])
        return Verdicts(later[chosen], earlier[chosen], similarity[chosen], num_removed_for(earlier[chosen]))

    def _similarities(self, features: pa.Array, later: Ints, earlier: Ints) -> npt.NDArray[np.float32]:
        """Similarities of pairs of positions in a column of features, some thousands at a time."""
        found = np.zeros(len(later), np.float32)
        for start in range(0, len(later), COMPARED_PAIRS):
            some = slice(start, start + COMPARED_PAIRS)
            found[some] = self.similarity(features.take(pa.array(later[some])), features.take(pa.array(earlier[some])))
        return found


def candidates(rows: pa.RecordBatch, words: Words, cap: int) -> tuple[Ints, Ints]:
    """The pairs that the buckets of all documents propose: positions of the later and of the earlier one, each pair once.

    Copies meet in every band: their pairs are made one as they come, lest there be as many times the memory.
    """
    from operators.kernels.buckets import propose, sort_rows, unique_pairs

    bands = bands_of(rows)
    later, earlier = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    num_new = 0
    for band in range(bands.shape[1]):
        order = sort_rows(np.ascontiguousarray(bands[:, band]), words)
        keys, start = bands[order, band], 0
        while start < len(keys):
            found = propose(keys, cap, start=start)
            start = found.next_row
            later.append(order[found.later])
            earlier.append(order[found.earlier])
            num_new += len(found.later)
            if num_new >= PROPOSED_PAIRS:
                first, second = unique_pairs(np.concatenate(earlier), np.concatenate(later))
                earlier, later, num_new = [first], [second], 0
    first, second = unique_pairs(np.concatenate(earlier), np.concatenate(later))
    return second, first


def bands_of(rows: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """The keys of each document's buckets, one column a band."""
    column = rows.column("bands")
    width = column.type.byte_width // 8
    flat = np.frombuffer(column.buffers()[1], np.uint64, len(column) * width, column.offset * width * 8)
    return flat.reshape(len(column), width)


def order_words(rows: pa.RecordBatch) -> list[npt.NDArray[np.uint64]]:
    """Keep order of documents: the policy's words, then the doc_key where there is one, else the place in the inventory."""
    words = [rows.column(name).to_numpy() for name in WORDS if name in rows.schema.names]
    if "doc_key" in rows.schema.names:
        keys = rows.column("doc_key")
        halves = np.frombuffer(keys.buffers()[1], ">u8", len(keys) * 2, keys.offset * 16).reshape(-1, 2).astype(np.uint64)
        return [*words, halves[:, 0].copy(), halves[:, 1].copy()]
    file, row = rows.column("file").to_numpy().astype(np.int64), rows.column("row").to_numpy().astype(np.int64)
    return [*words, place_word((file << 40) | row)]


def place_word(places: Ints) -> npt.NDArray[np.uint64]:
    """Places as unsigned numbers in the same order."""
    return places.view(np.uint64) ^ SIGN
