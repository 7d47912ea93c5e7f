"""Buckets of near-duplicate candidates: rows scattered to partitions by key, sorted, and proposed to each other.

A bucket is what has one key: documents of which a band of the signatures is the same. Owns what the jobs of the exchange do with keys;
knows neither documents nor where rows come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.radix import as_signed, as_word, read_only, sort_distinct_pairs, sort_order

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_DIGIT_BITS = 24
"""Bits of a partition's number: 16 million partitions; their bounds take 128 MiB."""


class Scattered(NamedTuple):
    """Pairs of key and row, grouped by digit.

    Attributes:
        keys: All keys.
        rows: The row of each key.
        bounds: Those of digit `d` are `[bounds[d], bounds[d + 1])`.
    """

    keys: U64
    rows: I64
    bounds: I64


class Proposals(NamedTuple):
    """Pairs of rows that are to be compared.

    Attributes:
        later: Row that comes later in keep order.
        earlier: Row that comes earlier in the same bucket.
        next_row: Where to go on; the number of rows when all is done.
    """

    later: I64
    earlier: I64
    next_row: int


@kernel
def _scatter(bands: Any, shift: Any, mask: Any, bounds: I64, keys: U64, rows: I64) -> None:
    """Count, then place; `bounds` is all zeros and one longer than there are digits."""
    num_rows, num_bands = bands.shape
    for row in range(num_rows):
        for band in range(num_bands):
            bounds[np.int64((bands[row, band] >> shift) & mask) + 1] += 1
    for digit in range(1, len(bounds)):
        bounds[digit] += bounds[digit - 1]
    ends = bounds[:-1].copy()
    for row in range(num_rows):
        for band in range(num_bands):
            key = bands[row, band]
            digit = np.int64((key >> shift) & mask)
            at = ends[digit]
            ends[digit] = at + 1
            keys[at] = key
            rows[at] = row


def scatter(bands: npt.NDArray[np.uint64], bits: int, shift: int) -> Scattered:
    """Every (key, row) of the bands, grouped by the digit `(key >> shift) & (2**bits - 1)`.

    Within a digit they are in the order of the rows, and of a row in that of its bands. With 0 bits all are one group. Rows that
    have no signature must not be among them. Memory: 16 bytes a key, and 16 a digit.

    Args:
        bands: Band keys, one row a document: [rows, bands].
        bits: Bits of a digit.
        shift: Bits below it.

    Raises:
        ValueError: The digit is not within 64 bits, or has more than 24.
    """
    if not 0 <= bits <= MOST_DIGIT_BITS or shift < 0 or bits + shift > 64:
        raise ValueError(
            f"scatter: found a digit of {bits} bits above {shift}; expected at most {MOST_DIGIT_BITS} bits within 64; use fewer partitions"
        )
    found = read_only(bands, np.uint64, "bands")
    if found.ndim != 2:
        raise ValueError(f"bands: found {found.ndim} dimensions; expected 2, rows and bands; reshape them")
    bounds = np.zeros((1 << bits) + 1, np.int64)
    keys, rows = np.empty(found.size, np.uint64), np.empty(found.size, np.int64)
    _scatter(found, np.uint64(shift if bits else 0), np.uint64((1 << bits) - 1), bounds, keys, rows)
    return Scattered(keys, rows, bounds)


def sort_rows(keys: U64, words: Sequence[U64]) -> I64:
    """The order of rows by key and then by their order words, the most significant first; equal rows stay in the order that they have.

    Bits that all keys have in common, as those of a partition, cost nothing. A bucket of millions costs what as many buckets of one
    do. Memory: 42 bytes a row, of which 8 stay.

    Raises:
        ValueError: Words and keys of different lengths.
    """
    return sort_order([keys, *words])


@kernel
def _propose(keys: U64, cap: int, is_new: Bools, start: int, later: I64, earlier: I64) -> Any:
    """Fill the pairs from row `start` on; as many as there are, and where to go on."""
    num_rows, found = len(keys), 0
    if start >= num_rows:
        return found, num_rows
    first, stop = 0, start
    while first < stop:
        middle = (first + stop) >> 1
        if keys[middle] < keys[start]:
            first = middle + 1
        else:
            stop = middle
    for row in range(start, num_rows):
        if keys[row] != keys[first]:
            first = row
        if not is_new[row] or row == first:
            continue
        width = min(row - first, cap)
        if found + width > len(later):
            return found, row
        for other in range(first, first + width):
            later[found], earlier[found] = row, other
            found += 1
    return found, num_rows


def propose(keys: U64, cap: int, is_new: Bools | None = None, start: int = 0, most: int = 1 << 22) -> Proposals:
    """In each bucket every row with the first `cap` rows of the bucket that are before it.

    Rows are sorted by key and then by keep order. What is proposed does not depend on `start` and `most`: call it again from
    `next_row` on until that is the number of rows. A document whose key is in a bucket twice is proposed to itself. Memory: 16 bytes
    a pair, at most 16 times `most`, and a byte a row where `is_new` is absent.

    Args:
        keys: Sorted keys.
        cap: Rows of a bucket that others are compared with, so that a bucket of a million costs linear work.
        is_new: Rows that may be the later of a pair: documents of this run; None: all.
        start: Row to begin with.
        most: Pairs at most; `cap` or more.

    Raises:
        ValueError: `most` is below `cap`, `cap` below 1, `start` below 0, or columns of different lengths.
    """
    if not 1 <= cap <= most or start < 0:
        raise ValueError(f"propose: found cap {cap}, most {most}, start {start}; expected 1 <= cap <= most and start >= 0")
    num_rows = len(keys)
    words = read_only(keys, np.uint64, "keys", num_rows)
    new = read_only(np.ones(num_rows, np.bool_) if is_new is None else is_new, np.bool_, "is_new", num_rows)
    room = min(most, max(0, num_rows - start) * cap)
    later, earlier = np.empty(room, np.int64), np.empty(room, np.int64)
    found, next_row = _propose(words, cap, new, start, later, earlier)
    return Proposals(later[:found], earlier[:found], int(next_row))


@kernel
def _buckets(keys: U64, least: int, starts: I64, sizes: I64) -> Any:
    """The buckets of `least` rows and more; they are counted all, and written as far as there is room."""
    found, start = 0, 0
    for row in range(1, len(keys) + 1):
        if row == len(keys) or keys[row] != keys[start]:
            if row - start >= least:
                if found < len(starts):
                    starts[found], sizes[found] = start, row - start
                found += 1
            start = row
    return found


def bucket_sizes(keys: U64, least: int = 2) -> tuple[I64, I64]:
    """First row and number of rows of each bucket that has at least `least`, of sorted keys. Memory: 16 bytes a bucket."""
    words = read_only(keys, np.uint64, "keys")
    if len(words) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    room = int(_buckets(words, least, np.zeros(0, np.int64), np.zeros(0, np.int64)))
    starts, sizes = np.empty(room, np.int64), np.empty(room, np.int64)
    _buckets(words, least, starts, sizes)
    return starts, sizes


def unique_pairs(a: I64, b: I64) -> tuple[I64, I64]:
    """Each different pair once, sorted by (b, a). Memory: 33 bytes a pair, of which 16 for each different one stay.

    Raises:
        ValueError: Columns of different lengths.
    """
    low = as_word(read_only(a, np.int64, "a"))
    high = as_word(read_only(b, np.int64, "b", len(low)))
    kept = sort_distinct_pairs(high, low)
    return as_signed(low[:kept]), as_signed(high[:kept])
