"""MinHash: signatures of texts, the keys of their bands, and how similar two documents are.

Hash `i` of a shingle is `a * x + b` modulo 2^32, where `x` is the lower half of the shingle's hash and `a` (odd) and `b` are the two halves
of output `i` of splitmix64 from `SEED`; hash `i` of a document is the least one of its shingles. Constants, shingles and band keys are
part of what runs leave for each other (`history`): they never change without a new name.

The estimate of a pair's similarity has the spread of `num_hashes` tosses. Minima of long documents are small numbers, so that those of two
documents may be equal by chance: with `n` distinct shingles in the larger one, of `n / 2^33` of the hashes (0.1 % at ten million).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import text_buffers
from operators.kernels.lean import lean_kernel
from operators.kernels.shingles import LENGTH, Kind, Offsets, absorbed, begin_document, mixed, next_shingles, plan, roll
from operators.kernels.word_folding import Normalization
from operators.kernels.word_tiles import AT

SEED: Final = 0x4D696E486173685F
"""ASCII of "MinHash_". Of the 64 such names "MinHash@" to "MinHash~" and "MinHash!" the one whose candidates among the real near-duplicates
of the tests are nearest to the curve (0.012 at most from it, in tenths of similarity); the mean of all is 0.006 from it at most."""
LANES: Final = 32
"""Hashes that are computed together; scratch is padded to a multiple."""

U64 = npt.NDArray[np.uint64]
U16 = npt.NDArray[np.uint16]
F32 = npt.NDArray[np.float32]


class Signatures(NamedTuple):
    """Signatures of documents.

    Attributes:
        bands: uint64, documents by bands: the key of each band, of its number and its minima with all their bits.
        low: uint16, documents by hashes: the lower half of each minimum.
        valid: Which documents have a shingle; the others have zeros.
    """

    bands: U64
    low: U16
    valid: npt.NDArray[np.bool_]


def constants(num_hashes: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Factor and summand of each hash; those of fewer hashes are the first ones of more."""
    words = [_splitmix64(SEED, index) for index in range(num_hashes)]
    return np.array([word >> 32 | 1 for word in words], np.uint32), np.array([word & 0xFFFFFFFF for word in words], np.uint32)


def _splitmix64(seed: int, index: int) -> int:
    """Output `index` of splitmix64."""
    mask = (1 << 64) - 1
    word = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & mask
    word = (word ^ word >> 27) * 0x94D049BB133111EB & mask
    return word ^ word >> 31


@lean_kernel
def _lower(hashes: Any, count: Any, factors: Any, summands: Any, minima: Any) -> None:
    """Lower each minimum to the least hash of some shingles."""
    num_hashes = len(minima)
    for at in range(0, count - 3, 4):
        x0, x1, x2, x3 = np.uint32(hashes[at]), np.uint32(hashes[at + 1]), np.uint32(hashes[at + 2]), np.uint32(hashes[at + 3])
        for i in range(num_hashes):
            a, b = factors[i], summands[i]
            least = min(np.uint32(a * x0 + b), np.uint32(a * x1 + b), np.uint32(a * x2 + b), np.uint32(a * x3 + b))
            minima[i] = min(minima[i], least)
    for at in range(count & ~3, count):
        x = np.uint32(hashes[at])
        for i in range(num_hashes):
            minima[i] = min(minima[i], np.uint32(factors[i] * x + summands[i]))


@lean_kernel
def _band_key(minima: Any, begin: Any, end: Any, band: Any) -> Any:
    """A hash of a band's number and minima, four at a time."""
    key = np.uint64(band + 1) * LENGTH
    for at in range(begin, end, 4):
        first, second = np.uint64(minima[at]), np.uint64(0)
        if at + 1 < end:
            first |= np.uint64(minima[at + 1]) << np.uint64(32)
        if at + 2 < end:
            second = np.uint64(minima[at + 2])
        if at + 3 < end:
            second |= np.uint64(minima[at + 3]) << np.uint64(32)
        key = absorbed(key, first, second)
    return mixed(key)


@lean_kernel
def _sign(
    offsets: Any, data: Any, plan: Any, roll: Any, factors: Any, summands: Any, minima: Any, rows: Any, bands: Any, low: Any, valid: Any
) -> None:
    """The signature of each document."""
    for row in range(len(offsets) - 1):
        for i in range(len(minima)):
            minima[i] = np.uint32(0xFFFFFFFF)
        begin_document(offsets[row], plan.size, roll)
        found, is_last = np.int64(0), False
        while not is_last:
            count = next_shingles(data, offsets[row + 1], plan, roll)
            _lower(roll.hashes, count, factors, summands, minima)
            found += count
            is_last = roll.tile.state[AT] >= offsets[row + 1]
        valid[row] = found > 0
        if found > 0:
            for band in range(bands.shape[1]):
                bands[row, band] = _band_key(minima, band * rows, (band + 1) * rows, band)
            for i in range(low.shape[1]):
                low[row, i] = np.uint16(minima[i])


def signatures(
    texts: pa.LargeStringArray, kind: Kind, size: int, normalization: Normalization, num_hashes: int, bands: int, rows: int
) -> Signatures:
    """Signatures of `num_hashes` hashes, the first `bands * rows` of which are in bands of `rows`.

    Nulls are read as they lie in the buffer: the caller leaves them out.

    Raises:
        ValueError: The bands need more hashes than there are, or a number is below 1.
    """
    if min(bands, rows) < 1 or bands * rows > num_hashes:
        raise ValueError(f"bands: {bands} of {rows} hashes found; expected at least one of one, and at most num_hashes ({num_hashes})")
    factors, summands = (np.resize(each, -(-num_hashes // LANES) * LANES) for each in constants(num_hashes))
    minima = np.zeros(len(factors), np.uint32)
    found = Signatures(
        np.zeros((len(texts), bands), np.uint64), np.zeros((len(texts), num_hashes), np.uint16), np.zeros(len(texts), np.bool_)
    )
    _sign(*text_buffers(texts), plan(kind, size, normalization), roll(size), factors, summands, minima, rows, *found)
    return found


def _borrowed(array: npt.NDArray[Any], kind: Any) -> npt.NDArray[Any]:
    """The array, read only and in one piece: one type for the compiler, whoever made it."""
    found = np.ascontiguousarray(array, kind).view()
    found.flags.writeable = False
    return found


@lean_kernel
def _count_equal(first: Any, second: Any, found: Any) -> None:
    for row in range(len(found)):
        equal = np.int64(0)
        for i in range(first.shape[1]):
            equal += first[row, i] == second[row, i]
        found[row] = np.float32(equal) / np.float32(first.shape[1])


def similarity(first: U16, second: U16) -> F32:
    """The share of equal entries of each two rows: an estimate of the Jaccard similarity of the two documents' shingles.

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"signatures: {first.shape} and {second.shape} found; expected one shape: documents by hashes")
    found = np.zeros(len(first), np.float32)
    _count_equal(_borrowed(first, np.uint16), _borrowed(second, np.uint16), found)
    return found


@lean_kernel
def _jaccard(first_offsets: Any, first: Any, second_offsets: Any, second: Any, first_rows: Any, second_rows: Any, found: Any) -> None:
    for pair in range(len(found)):
        i, i_end = first_offsets[first_rows[pair]], first_offsets[first_rows[pair] + 1]
        j, j_end = second_offsets[second_rows[pair]], second_offsets[second_rows[pair] + 1]
        total, common = i_end - i + j_end - j, np.int64(0)
        while i < i_end and j < j_end:
            a, b = first[i], second[j]
            i += a <= b
            j += b <= a
            common += a == b
        found[pair] = np.float32(np.float64(common) / np.float64(total - common)) if total > 0 else np.float32(0)


def jaccard(first_offsets: Offsets, first: U64, second_offsets: Offsets, second: U64, first_rows: Offsets, second_rows: Offsets) -> F32:
    """The Jaccard similarity of pairs of sets, as `shingle_sets` makes them, by their rows; 0 for two empty ones.

    Raises:
        ValueError: A row is none of the sets'.
    """
    found = np.zeros(len(first_rows), np.float32)
    for offsets, rows in ((first_offsets, first_rows), (second_offsets, second_rows)):
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(offsets) - 1:
            raise ValueError(f"rows of pairs: {rows.min()} to {rows.max()} found; expected 0 to {len(offsets) - 2}")
    _jaccard(
        *(_borrowed(first_offsets, np.int64), _borrowed(first, np.uint64)),
        *(_borrowed(second_offsets, np.int64), _borrowed(second, np.uint64)),
        *(_borrowed(first_rows, np.int64), _borrowed(second_rows, np.int64)),
        found,
    )
    return found
