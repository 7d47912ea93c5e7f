"""Remove near-duplicates by MinHash. Owns what documents are made of (shingles), the size of a signature, and the buckets' curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.base import Assets, KeysFn, OperatorError, text_of
from operators.near import NearOperator

MAX_HASHES: Final = 1024
SIGNATURE_BYTES: Final = 2
"""Of a hash in a signature: two different shingles share 16 bits once in 65,536 times."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Bands and rows: two documents of similarity s meet in a bucket with the probability 1 - (1 - s^rows)^bands."""

    bands: int
    rows: int
    source: str

    @property
    def midpoint(self) -> float:
        """The similarity (1 / bands)^(1 / rows), where the curve is steep (Leskovec and others, Mining of Massive Datasets, 3.4)."""
        return float((1 / self.bands) ** (1 / self.rows))

    def probability(self, similarity: float) -> float:
        """How probable it is that two documents of a similarity meet."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


class MinhashDedup(NearOperator):
    """Remove documents that are near-duplicates of an earlier one that is kept, verified pair by pair.

    A document is the set of its shingles: runs of `shingle_size` words (or characters) of its normalised text. One of fewer words is one
    shingle; one without a word is no duplicate of anything and stays. There is no bound on the length: a signature takes all shingles in.
    Two documents *meet* if all hashes of a band of their signatures are equal; a pair that met is *verified* if its similarity reaches
    `threshold`. In keep order (the policy's key, then the hash of the text, then the doc_key) a document is removed if and only if it
    forms a verified pair with an earlier one that is kept, the first of which it names. So nothing is removed through a chain of others.

    Drop reason: `near_duplicate`.
    """

    CURVES: ClassVar[Mapping[str, Curve]] = {
        "fineweb": Curve(14, 8, "datatrove and FineWeb (Penedo and others 2024): 112 hashes"),
        "t50": Curve(32, 5, "steepest at a similarity of 0.50; for text that was edited much, at 1.4 times the cost"),
        "t60": Curve(21, 6, "steepest at a similarity of 0.60"),
        "t80": Curve(10, 11, "steepest at a similarity of 0.81"),
        "t90": Curve(6, 18, "steepest at a similarity of 0.91; for copies with a changed header, at the least cost"),
    }

    type: Literal["minhash_dedup"] = "minhash_dedup"
    preset: Literal["fineweb", "t50", "t60", "t80", "t90"] = Field(
        default="fineweb", description="Bands and rows by name; the curve of each is shown below."
    )
    bands: int | None = Field(default=None, ge=1, le=256, description="Bands of a signature, instead of the preset's; with `rows`.")
    rows: int | None = Field(default=None, ge=1, le=128, description="Hashes of a band, instead of the preset's; with `bands`.")
    shingle: Literal["word", "char"] = Field(default="word", description="What shingles are made of: words, or characters.")
    shingle_size: int = Field(
        default=5, ge=1, le=64, description="Words or characters of a shingle. 5 words as in datatrove; for `char` 24 as in NeMo Curator."
    )
    normalize: Literal["folded", "datatrove", "words", "none"] = Field(
        default="folded",
        description="What is ignored: `folded` case, punctuation, white space and accents, with characters of scripts without spaces as "
        "words of their own; `datatrove` also underscores and which numbers there are (all are 0), as its `simplify_text` has it: "
        "documents that differ in numbers alone are then the same; `words` case and everything but `\\w`; `none` only white space.",
    )

    sources: ClassVar[str] = (
        "Broder 1997; Lee and others, Deduplicating Training Data Makes Language Models Better (2022); datatrove 0.10 (14 bands of 8 rows, "
        "5 words, its normalisation); threshold 0.75 is ours: docs/deduplication.md has what it finds and removes wrongly"
    )

    @model_validator(mode="after")
    def _bands_and_rows(self) -> Self:
        if (self.bands is None) != (self.rows is None):
            given, missing = ("bands", "rows") if self.rows is None else ("rows", "bands")
            raise ValueError(f"{missing} is null, {given} is not; set {missing} too, or neither and a preset")
        if self.num_hashes > MAX_HASHES:
            raise ValueError(f"bands and rows make {self.num_hashes} hashes; expected at most {MAX_HASHES}; make fewer bands")
        return self

    @property
    def curve(self) -> Curve:
        """The bands and rows that are used."""
        if self.bands is not None and self.rows is not None:
            return Curve(self.bands, self.rows, "set in the pipeline")
        return self.CURVES[self.preset]

    @property
    def num_bands(self) -> int:
        """Buckets that each document is in."""
        return self.curve.bands

    @property
    def num_hashes(self) -> int:
        """Hashes of a signature."""
        return self.curve.bands * self.curve.rows

    @property
    def shingle_growth(self) -> float:
        """Eight bytes a shingle: there is one for each character, or for each word, which has five and a space."""
        return 8.0 if self.shingle == "char" else 1.5

    def open(self, assets: Assets) -> KeysFn:
        """Return the function from a batch to `bands`, `signature` (where pairs are verified by estimate) and the policy's words."""
        from operators.kernels.minhash import signatures  # numba takes half a second to import

        def keys(batch: pa.RecordBatch) -> pa.RecordBatch:
            text = text_of(batch, assets.text_column)
            bands, rows = self.curve.bands, self.curve.rows
            found = signatures(pc.fill_null(text, ""), self.shingle, self.shingle_size, self.normalize, self.num_hashes, bands, rows)
            columns = {"bands": _fixed(found.bands ^ self._scope_hash(batch)[:, None], found.valid)}
            if self.verify == "estimate":
                columns["signature"] = _fixed(found.low)
            return pa.RecordBatch.from_pydict(columns | self.order_words(batch, text))

        return keys

    def shingles(self, assets: Assets) -> Callable[[pa.RecordBatch], pa.LargeBinaryArray]:
        """The function from a batch to the sorted hashes of each document's shingles."""
        from operators.kernels.shingles import shingle_sets  # numba takes half a second to import

        def features(batch: pa.RecordBatch) -> pa.LargeBinaryArray:
            text = text_of(batch, assets.text_column)
            offsets, hashes = shingle_sets(pc.fill_null(text, ""), self.shingle, self.shingle_size, self.normalize)
            return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(text), [None, pa.py_buffer(offsets * 8), pa.py_buffer(hashes)])

        return features

    def similarity(self, first: pa.Array, second: pa.Array) -> npt.NDArray[np.float32]:
        """The share of equal hashes of two signatures, or of all shingles that both documents have."""
        from operators.kernels.minhash import jaccard, similarity  # numba takes half a second to import

        if self.verify == "estimate":
            return similarity(_entries(first), _entries(second))
        rows = np.arange(len(first))
        return jaccard(*_sets(first), *_sets(second), rows, rows)

    def _scope_hash(self, batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
        """A hash of the values in which documents must agree to meet; 0 where any may."""
        from operators.kernels.hashing import UnhashableError, combine

        if not self.within:
            return np.zeros(batch.num_rows, np.uint64)
        try:
            return combine(self._scope(batch))[0]
        except UnhashableError as error:
            raise OperatorError(f"{self.type}: {error} (within: {', '.join(self.within)}); name columns of plain values instead") from None


def _fixed(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> pa.FixedSizeBinaryArray:
    """Rows of numbers as one column of bytes, null where they are not valid."""
    kind = pa.binary(values.shape[1] * values.itemsize)
    mask = None if valid is None or valid.all() else pa.array(valid).buffers()[1]
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [mask, pa.py_buffer(np.ascontiguousarray(values))])


def _entries(signatures: pa.FixedSizeBinaryArray) -> npt.NDArray[np.uint16]:
    """Signatures as rows of numbers."""
    width = signatures.type.byte_width // SIGNATURE_BYTES
    data = signatures.buffers()[1]
    if len(signatures) == 0 or data is None:
        return np.zeros((0, width), np.uint16)
    flat = np.frombuffer(data, np.uint16, len(signatures) * width, signatures.offset * width * SIGNATURE_BYTES)
    return flat.reshape(-1, width)


def _sets(shingles: pa.LargeBinaryArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Sets of hashes: where each begins, and all of them."""
    _, offsets, data = shingles.buffers()
    if len(shingles) == 0 or data is None or data.size == 0:
        return np.zeros(len(shingles) + 1, np.int64), np.zeros(0, np.uint64)
    found = np.frombuffer(offsets, np.int64, len(shingles) + 1, shingles.offset * 8) // 8
    return found, np.frombuffer(data, np.uint64, data.size // 8)
