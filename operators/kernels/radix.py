"""Sorting rows of 64-bit words: pairs of words, and rows by several words, in place and by the bits that differ.

Owns the one sort that buckets, components and survivors stand on. numpy's `lexsort` takes 20 to 30 times as long for the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

SIGN: Final = np.uint64(1 << 63)
SMALL: Final = 24
"""Rows up to which insertion is the quickest."""

MOST_BITS: Final = 11
"""Bits of a digit: 2,048 places that are written to at once; with more, each row would miss the processor's table of pages."""


def read_only(values: Any, kind: type[np.generic], name: str, length: int | None = None) -> Any:
    """The values as one contiguous, read-only array of a kind, so that kernels are compiled once; without a copy where they are one.

    Raises:
        ValueError: Values of another kind, or not as many as there must be.
    """
    found = np.asarray(values)
    if found.dtype != np.dtype(kind) and found.size:
        raise ValueError(f"{name}: the values are {found.dtype}; expected {np.dtype(kind)}; convert them first")
    if length is not None and len(found) != length:
        raise ValueError(f"{name}: found {len(found)} values; expected {length}, as many as there are rows; hand over columns of one table")
    view = np.ascontiguousarray(found, kind).view()
    view.flags.writeable = False
    return view


def as_word(values: I64) -> U64:
    """Signed numbers as words that sort in the same order; a copy."""
    return np.bitwise_xor(np.asarray(values, np.int64).view(np.uint64), SIGN)


def as_signed(word: U64) -> I64:
    """The numbers of which `as_word` made a word; a copy."""
    return np.bitwise_xor(word, SIGN).view(np.int64)


AHEAD: Final = 1024
"""Rows whose next word is looked up at a time: far apart in memory, they are waited for together."""


@kernel
def _insert(high: U64, low: U64, start: int, stop: int) -> None:
    """Sort a few pairs."""
    for row in range(start + 1, stop):
        first, second = high[row], low[row]
        at = row
        while at > start and (high[at - 1] > first or (high[at - 1] == first and low[at - 1] > second)):
            high[at], low[at] = high[at - 1], low[at - 1]
            at -= 1
        high[at], low[at] = first, second


@kernel
def _differing(word: U64, start: int, stop: int) -> Any:
    """The bits in which some rows differ."""
    first = word[start]
    bits = np.uint64(0)
    for row in range(start + 1, stop):
        bits |= word[row] ^ first
    return bits


@kernel
def _is_sorted(high: U64, low: U64, start: int, stop: int) -> Any:
    """Whether the pairs are in order already; looks no further than the first that is not."""
    row = start + 1
    while row < stop and (high[row] > high[row - 1] or (high[row] == high[row - 1] and low[row] >= low[row - 1])):
        row += 1
    return row >= stop


@kernel
def _spread(word: U64, other: U64, spare: U64, spare_other: U64, start: int, stop: int, shift: int, num: int, ends: I64) -> None:
    """Group rows by the digit `(word >> shift) & (num - 1)`, stably; `ends` gets where each digit's rows end."""
    by, mask = np.uint64(shift), np.uint64(num - 1)
    for digit in range(num):
        ends[digit] = 0
    for row in range(start, stop):
        ends[np.int64((word[row] >> by) & mask)] += 1
    total = start
    for digit in range(num):
        count = ends[digit]
        ends[digit] = total
        total += count
    for row in range(start, stop):
        digit = np.int64((word[row] >> by) & mask)
        at = ends[digit]
        ends[digit] = at + 1
        spare[at], spare_other[at] = word[row], other[row]
    for row in range(start, stop):
        word[row], other[row] = spare[row], spare_other[row]


@kernel
def _num_bits(value: int) -> Any:
    """Bits that a number takes."""
    left, bits = np.uint64(value), 0
    while left:
        left >>= np.uint64(1)
        bits += 1
    return bits


@kernel
def sort_stretch(high: U64, low: U64, spare_high: U64, spare_low: U64, start: int, stop: int, stack: I64, counts: I64) -> None:
    """Sort the pairs `[start, stop)` by (high, low) in place, most significant bits first.

    Each pass groups the rows of a stretch by the highest bits in which they differ, so that bits that all have in common cost nothing,
    and a stretch that is in order costs one look. Time is linear in the rows and the bits that differ, whatever the keys.

    Args:
        high: First words.
        low: Second words.
        spare_high: As long as the words.
        spare_low: As long as the words.
        start: First row.
        stop: Behind the last row.
        stack: At least two places for every `SMALL` rows, and two more.
        counts: `1 << MOST_BITS` places.
    """
    stack[0], stack[1] = start, stop
    top = 1
    while top > 0:
        top -= 1
        begin, end = stack[2 * top], stack[2 * top + 1]
        if end - begin <= SMALL:
            _insert(high, low, begin, end)
            continue
        if _is_sorted(high, low, begin, end):
            continue
        word, other, spare, spare_other = high, low, spare_high, spare_low
        bits = _differing(word, begin, end)
        if bits == 0:
            word, other, spare, spare_other = low, high, spare_low, spare_high
            bits = _differing(word, begin, end)
        highest = _num_bits(bits)
        width = min(highest, MOST_BITS, max(5, _num_bits(end - begin) - 2))
        _spread(word, other, spare, spare_other, begin, end, highest - width, 1 << width, counts)
        part = begin
        for digit in range(1 << width):
            if counts[digit] - part > SMALL:
                stack[2 * top], stack[2 * top + 1] = part, counts[digit]
                top += 1
            else:
                _insert(high, low, part, counts[digit])
            part = counts[digit]


@kernel
def _sort_pairs(high: U64, low: U64, spare_high: U64, spare_low: U64) -> None:
    """Sort all pairs in place."""
    stack = np.empty(2 * (len(high) // SMALL) + 2, np.int64)
    sort_stretch(high, low, spare_high, spare_low, 0, len(high), stack, np.empty(1 << MOST_BITS, np.int64))


@kernel
def _sort_equal(word: U64, is_equal: Any, high: U64, low: U64, spare_high: U64, spare_low: U64) -> None:
    """Sort each stretch of rows that are equal so far by one more word; `is_equal[i]`: row `i` equals the one before it."""
    num_rows = len(low)
    stack = np.empty(2 * (num_rows // SMALL) + 2, np.int64)
    counts = np.empty(1 << MOST_BITS, np.int64)
    start, loaded = 0, 0
    while start < num_rows:
        stop = start + 1
        while stop < num_rows and is_equal[stop]:
            stop += 1
        if stop - start > 1:
            if stop > loaded:
                begin, loaded = max(start, loaded), min(num_rows, max(stop, start + AHEAD))
                for row in range(begin, loaded):
                    high[row] = word[np.int64(low[row])]
            if stop - start <= SMALL:
                _insert(high, low, start, stop)
            else:
                sort_stretch(high, low, spare_high, spare_low, start, stop, stack, counts)
            for row in range(start + 1, stop):
                is_equal[row] = high[row] == high[row - 1]
        start = stop


def sort_pairs(high: U64, low: U64) -> None:
    """Sort pairs of words by (high, low), in place. Memory: 33 bytes a pair, of which 16 are the pairs themselves."""
    _sort_pairs(high, low, np.empty_like(high), np.empty_like(low))


@kernel
def _compact(high: U64, low: U64) -> Any:
    """Keep one of equal pairs, in place; how many are left."""
    kept = 0
    for row in range(len(high)):
        if kept == 0 or high[row] != high[kept - 1] or low[row] != low[kept - 1]:
            high[kept], low[kept] = high[row], low[row]
            kept += 1
    return kept


def sort_distinct_pairs(high: U64, low: U64) -> int:
    """Sort pairs of words by (high, low), in place, each different one once, at the front; how many there are. Memory as `sort_pairs`."""
    sort_pairs(high, low)
    return int(_compact(high, low))


def sort_order(words: Sequence[U64]) -> I64:
    """The order of rows by their words, the most significant first; rows that are equal in all stay in the order that they have.

    Memory: 42 bytes a row, of which 8 stay.

    Raises:
        ValueError: No word, or words of different lengths.
    """
    if not words:
        raise ValueError("sort_order: found no word to sort by; expected one or more; hand over the keys")
    num_rows = len(words[0])
    columns = [read_only(word, np.uint64, "a word to sort by", num_rows) for word in words]
    is_equal = np.ones(num_rows, np.bool_)
    high, low, spare_high, spare_low = (np.empty(num_rows, np.uint64) for _ in range(4))
    low[:] = np.arange(num_rows, dtype=np.uint64)
    for column in columns:
        _sort_equal(column, is_equal, high, low, spare_high, spare_low)
    return low.view(np.int64)
