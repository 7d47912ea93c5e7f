"""Byte-pair merges of one piece of text: the pair of the lowest rank first, the leftmost of equal ones (Sennrich et al., arXiv:1508.07909).

Owns the table of merges and the two ways of applying it. A short piece is searched whole for its next merge; in a long one a tree of block
minima finds it, so that a word of 50 MB takes time in proportion to its logarithm a merge, not to its length. Both give what the
`tokenizers` library's queue gives: it too takes the lowest rank, then the lowest place, of the pairs that there are at the moment.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel

Longs = npt.NDArray[np.int64]

SHORT_BYTES: Final = 96
"""Up to here all pairs are looked at for each merge; measured: at 96 bytes the tree is as fast."""
NONE: Final = np.int64(0x7FFF_FFFF_FFFF_FFFF)
"""A pair that is never merged."""
NO_RANK: Final = np.uint32(0xFFFF_FFFF)
EMPTY: Final = np.int64(-1)
BRANCH: Final = 32
"""Places, or blocks, under one node of the tree."""
MAX_LEVELS: Final = 8
_SPREAD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_LOW: Final = np.int64(0xFFFF_FFFF)


class Merges(NamedTuple):
    """Which pairs of tokens are merged, in which order, into what.

    A merge is one number, `rank << 32 | product`, so that the smallest of some is the one to do first.

    Attributes:
        byte_ids: int32: the token of each byte.
        byte_merges: int64, by `left << 8 | right`: the merge of two bytes, or `NONE`.
        table: int64: pairs of key (`left << 32 | right` of tokens; `EMPTY`) and merge, found by open addressing.
        shift: 64 less the binary logarithm of the table's places.
    """

    byte_ids: npt.NDArray[np.int32]
    byte_merges: Longs
    table: Longs
    shift: np.uint64


class Scratch(NamedTuple):
    """Room for one piece, of one thread.

    Attributes:
        ids: int32: tokens, by the place of their first byte.
        merges: int64, of a short piece: the merge of each token with the next.
        sizes: int32, of a long piece: bytes of a token, at its first and at its last byte.
        ranks: uint32, of a long piece: the rank of that merge, or `NO_RANK`.
        tree: uint32: the smallest rank of each block of places, of each block of blocks, and so on up to one.
        begins: int64: where each level of the tree begins.
    """

    ids: npt.NDArray[np.int32]
    merges: Longs
    sizes: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.uint32]
    tree: npt.NDArray[np.uint32]
    begins: Longs


def scratch(num_bytes: int) -> Scratch:
    """Room for pieces of up to so many bytes. Memory that no piece needs is never touched."""
    room = max(num_bytes, SHORT_BYTES)
    return Scratch(
        np.empty(room, np.int32),
        np.empty(SHORT_BYTES, np.int64),
        np.empty(room, np.int32),
        np.empty(room, np.uint32),
        np.empty(room // (BRANCH - 1) + MAX_LEVELS, np.uint32),
        np.empty(MAX_LEVELS, np.int64),
    )


def merges_of(byte_ids: npt.NDArray[np.int32], left: Longs, right: Longs, products: Longs) -> Merges:
    """The table of merges in the order of their ranks. Of a pair that occurs twice the later one counts, as in `tokenizers`.

    Args:
        byte_ids: The token of each of the 256 bytes.
        left: First token of each pair.
        right: Second token.
        products: What they become.
    """
    bits = max(int(len(left) * 2).bit_length(), 4)
    table = np.full(2 << bits, EMPTY, np.int64)
    shift = np.uint64(64 - bits)
    _fill(table, shift, (left << 32) | right, (np.arange(len(left), dtype=np.int64) << 32) | products)
    byte_merges = np.full(1 << 16, NONE, np.int64)
    byte_of = np.full(max(int(byte_ids.max()), int(left.max(initial=0)), int(right.max(initial=0))) + 1, -1, np.int64)
    byte_of[byte_ids] = np.arange(256)
    of_bytes = (byte_of[left] >= 0) & (byte_of[right] >= 0)
    ranks = np.flatnonzero(of_bytes)
    byte_merges[(byte_of[left[ranks]] << 8) | byte_of[right[ranks]]] = (ranks << 32) | products[ranks]
    return Merges(byte_ids, byte_merges, table, shift)


@kernel
def _fill(table: Any, shift: Any, keys: Any, merges: Any) -> None:
    last = (len(table) >> 1) - 1
    for number in range(len(keys)):
        at = np.int64((np.uint64(keys[number]) * _SPREAD) >> shift)
        while table[2 * at] != EMPTY and table[2 * at] != keys[number]:
            at = (at + 1) & last
        table[2 * at], table[2 * at + 1] = keys[number], merges[number]


@lean_kernel
def _merge_of(merges: Any, left: Any, right: Any) -> Any:
    """The merge of two tokens, or `NONE`."""
    table = merges.table
    key = (np.int64(left) << 32) | np.int64(right)
    last = (len(table) >> 1) - 1
    at = np.int64((np.uint64(key) * _SPREAD) >> merges.shift)
    while True:
        found = table[2 * at]
        if found == key:
            return table[2 * at + 1]
        if found == EMPTY:
            return NONE
        at = (at + 1) & last


@lean_kernel
def merge_short(merges: Any, data: Any, at: Any, size: Any, scratch: Any) -> Any:
    """Merge a piece of 1 to SHORT_BYTES bytes; its tokens are the first of `scratch.ids`. Returns their number."""
    ids, pairs = scratch.ids, scratch.merges
    before = np.int64(data[at])
    ids[0] = merges.byte_ids[before]
    for place in range(1, size):
        byte = np.int64(data[at + place])
        ids[place] = merges.byte_ids[byte]
        pairs[place - 1] = merges.byte_merges[(before << 8) | byte]
        before = byte
    count = size
    while count > 1:
        best, where = pairs[0], 0
        for place in range(1, count - 1):
            if pairs[place] < best:
                best, where = pairs[place], place
        if best == NONE:
            break
        product = best & _LOW
        ids[where] = product
        count -= 1
        for place in range(where + 1, count):
            ids[place] = ids[place + 1]
        for place in range(where + 1, count - 1):
            pairs[place] = pairs[place + 1]
        if where > 0:
            pairs[where - 1] = _merge_of(merges, ids[where - 1], product)
        if where + 1 < count:
            pairs[where] = _merge_of(merges, product, ids[where + 1])
    return count


@lean_kernel
def merge_long(merges: Any, data: Any, at: Any, size: Any, scratch: Any) -> Any:
    """Merge a piece of 1 to 2^31 - 1 bytes; its tokens are the first of `scratch.ids`. Returns their number.

    Touches 12.2 bytes of memory for each byte of the piece.
    """
    ids, sizes, ranks = scratch.ids, scratch.sizes, scratch.ranks
    for place in range(size):
        byte = np.int64(data[at + place])
        ids[place] = merges.byte_ids[byte]
        sizes[place] = 1
        after = np.int64(data[at + place + 1]) if place + 1 < size else np.int64(-1)
        ranks[place] = NO_RANK if after < 0 else _rank(merges.byte_merges[(byte << 8) | after])
    num_levels = _plant(ranks, size, scratch)
    while scratch.tree[scratch.begins[num_levels - 1]] != NO_RANK:
        place = _leftmost(scratch, num_levels)
        right = place + sizes[place]
        stop = right + sizes[right]
        product = _merge_of(merges, ids[place], ids[right]) & _LOW
        ids[place] = product
        sizes[place] = sizes[stop - 1] = stop - place
        ranks[right] = NO_RANK
        ranks[place] = _rank(_merge_of(merges, product, ids[stop])) if stop < size else NO_RANK
        _lift(scratch, size, num_levels, right)
        _lift(scratch, size, num_levels, place)
        if place > 0:
            before = place - sizes[place - 1]
            ranks[before] = _rank(_merge_of(merges, ids[before], product))
            _lift(scratch, size, num_levels, before)
    count = 0
    place = np.int64(0)
    while place < size:
        ids[count] = ids[place]
        count += 1
        place += sizes[place]
    return count


@lean_kernel
def _rank(merge: Any) -> Any:
    return NO_RANK if merge == NONE else np.uint32(merge >> 32)


@lean_kernel
def _plant(ranks: Any, size: Any, scratch: Any) -> Any:
    """Grow the tree over the ranks of a piece; returns its number of levels."""
    tree, begins = scratch.tree, scratch.begins
    begins[0] = 0
    total = (size + BRANCH - 1) // BRANCH
    for node in range(total):
        smallest = NO_RANK
        for place in range(node * BRANCH, min(node * BRANCH + BRANCH, size)):
            smallest = min(smallest, ranks[place])
        tree[node] = smallest
    num_levels = 1
    while total - begins[num_levels - 1] > 1:
        begins[num_levels] = total
        below = begins[num_levels - 1]
        for node in range((total - below + BRANCH - 1) // BRANCH):
            smallest = NO_RANK
            for child in range(below + node * BRANCH, min(below + node * BRANCH + BRANCH, begins[num_levels])):
                smallest = min(smallest, tree[child])
            tree[total] = smallest
            total += 1
        num_levels += 1
    return num_levels


@lean_kernel
def _leftmost(scratch: Any, num_levels: Any) -> Any:
    """The first place that has the smallest rank of all."""
    tree, begins, ranks = scratch.tree, scratch.begins, scratch.ranks
    best = tree[begins[num_levels - 1]]
    node = np.int64(0)
    for level in range(num_levels - 2, -1, -1):
        node *= BRANCH
        while tree[begins[level] + node] != best:
            node += 1
    place = node * BRANCH
    while ranks[place] != best:
        place += 1
    return place


@lean_kernel
def _lift(scratch: Any, size: Any, num_levels: Any, place: Any) -> None:
    """Bring the nodes above a place up to date."""
    tree, begins, ranks = scratch.tree, scratch.begins, scratch.ranks
    node = place // BRANCH
    smallest = NO_RANK
    for other in range(node * BRANCH, min(node * BRANCH + BRANCH, size)):
        smallest = min(smallest, ranks[other])
    for level in range(num_levels):
        if tree[begins[level] + node] == smallest:
            return
        tree[begins[level] + node] = smallest
        if level + 1 < num_levels:
            node //= BRANCH
            smallest = NO_RANK
            first = begins[level] + node * BRANCH
            for other in range(first, min(first + BRANCH, begins[level + 1])):
                smallest = min(smallest, tree[other])
