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
from operators.kernels.splitting import inlined

Longs = npt.NDArray[np.int64]

SHORT_BYTES: Final = 128
"""Up to here all pairs are looked at for each merge."""
LANES: Final = 8
"""Of a register of 32 bytes."""
ID_BITS: Final = 20
"""Of the ids and the ranks that fit the table: a pair and its rank are one word."""
MAX_IDS: Final = 1 << ID_BITS
NO_RANK: Final = np.uint32(0xFFFF_FFFF)
"""Of a pair that is never merged."""
BRANCH: Final = 32
"""Places, or blocks, under one node of the tree."""
MAX_LEVELS: Final = 8
FILTER_LOAD: Final = 8
"""Bits of the filter for each merge: one pair in eight that is never merged gets past it."""
_SPREAD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_EMPTY: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_BITS: Final = np.uint64(ID_BITS)
_RANKS: Final = np.uint64(MAX_IDS - 1)
_PLACE_BITS, _PLACES = np.uint32(7), np.uint32(127)
_ONE, _SIX, _LAST_BITS = np.uint64(1), np.uint64(6), np.uint64(63)


class Merges(NamedTuple):
    """Which pairs of tokens are merged, in which order, into what.

    Attributes:
        byte_ids: int32: the token of each byte.
        byte_ranks: uint32, by `left << 8 | right`: the rank of two bytes' merge, or `NO_RANK`.
        filter: uint64: bits that are set where a pair that is merged falls. It fits the nearest caches, and most pairs are never merged.
        filter_shift: 64 less the binary logarithm of its bits.
        table: uint64: `left << 40 | right << 20 | rank`, found by open addressing, all bits where there is none.
        shift: 64 less the binary logarithm of the table's places.
        products: int32, by rank: what the pair becomes.
    """

    byte_ids: npt.NDArray[np.int32]
    byte_ranks: npt.NDArray[np.uint32]
    filter: npt.NDArray[np.uint64]
    filter_shift: np.uint64
    table: npt.NDArray[np.uint64]
    shift: np.uint64
    products: npt.NDArray[np.int32]


class Scratch(NamedTuple):
    """Room for one piece, of one thread.

    Attributes:
        ids: int32, of a short piece: tokens, by the place of their first byte.
        ranks: uint32: the rank of the merge of each token with the next, or `NO_RANK`.
        sizes: int32: bytes of a token, at its first and at its last byte.
        tree: uint32: the smallest rank of each block of places, of each block of blocks, and so on up to one.
        begins: int64: where each level of the tree begins.
    """

    ids: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.uint32]
    sizes: npt.NDArray[np.int32]
    tree: npt.NDArray[np.uint32]
    begins: Longs


def scratch(num_bytes: int) -> Scratch:
    """Room for pieces of up to so many bytes. Memory that no piece needs is never touched."""
    room = max(num_bytes, SHORT_BYTES)
    return Scratch(
        np.empty(SHORT_BYTES, np.int32),
        np.empty(room, np.uint32),
        np.empty(room, np.int32),
        np.empty(room // (BRANCH - 1) + MAX_LEVELS, np.uint32),
        np.empty(MAX_LEVELS, np.int64),
    )


def merges_of(byte_ids: npt.NDArray[np.int32], left: Longs, right: Longs, products: Longs) -> Merges:
    """The table of merges in the order of their ranks. Of a pair that occurs twice the later one counts, as in `tokenizers`.

    Args:
        byte_ids: The token of each of the 256 bytes; -1 of one that no text has.
        left: First token of each pair; all ids are below MAX_IDS.
        right: Second token.
        products: What they become; there are at most MAX_IDS.
    """
    bits = max(int(len(left) * 2).bit_length(), 6)
    filter_bits = max(int(len(left) * FILTER_LOAD).bit_length(), 6)
    made = Merges(
        byte_ids,
        np.full(1 << 16, NO_RANK, np.uint32),
        np.zeros(1 << (filter_bits - 6), np.uint64),
        np.uint64(64 - filter_bits),
        np.full(1 << bits, _EMPTY, np.uint64),
        np.uint64(64 - bits),
        products.astype(np.int32),
    )
    _fill(made, (left << ID_BITS | right).astype(np.uint64))
    byte_of = np.full(MAX_IDS, -1, np.int64)
    byte_of[byte_ids[byte_ids >= 0]] = np.flatnonzero(byte_ids >= 0)
    ranks = np.flatnonzero((byte_of[left] >= 0) & (byte_of[right] >= 0))
    made.byte_ranks[(byte_of[left[ranks]] << 8) | byte_of[right[ranks]]] = ranks
    return made


@kernel
def _fill(merges: Any, keys: Any) -> None:
    last = len(merges.table) - 1
    for rank in range(len(keys)):
        mixed = keys[rank] * _SPREAD
        at = np.int64(mixed >> merges.shift)
        while merges.table[at] != _EMPTY and merges.table[at] >> _BITS != keys[rank]:
            at = (at + 1) & last
        merges.table[at] = (keys[rank] << _BITS) | np.uint64(rank)
        bit = mixed >> merges.filter_shift
        merges.filter[np.int64(bit >> _SIX)] |= _ONE << (bit & _LAST_BITS)


@inlined
def rank_of(merges: Any, left: Any, right: Any) -> Any:
    """The rank of the merge of two tokens, or `NO_RANK`."""
    key = (np.uint64(left) << _BITS) | np.uint64(right)
    mixed = key * _SPREAD
    bit = mixed >> merges.filter_shift
    if (merges.filter[np.int64(bit >> _SIX)] >> (bit & _LAST_BITS)) & _ONE == 0:
        return NO_RANK
    table = merges.table
    last = len(table) - 1
    at = np.int64(mixed >> merges.shift)
    while True:
        found = table[at]
        if found >> _BITS == key:
            return np.uint32(found & _RANKS)
        if found == _EMPTY:
            return NO_RANK
        at = (at + 1) & last


@inlined
def merge_short(merges: Any, data: Any, at: Any, size: Any, scratch: Any, out: Any, end: Any) -> Any:
    """Merge a piece of 1 to SHORT_BYTES bytes; its tokens go to `out` from `end` on. Returns their number.

    A token lies at the place of its first byte, and its size there and at its last byte. Rank and place are one number, so that the
    smallest is found without a branch, eight at a time.
    """
    ids, sizes, marks = scratch.ids, scratch.sizes, scratch.ranks
    before = np.int64(data[at])
    ids[0], sizes[0] = merges.byte_ids[before], 1
    for place in range(1, size):
        byte = np.int64(data[at + place])
        ids[place], sizes[place] = merges.byte_ids[byte], 1
        marks[place - 1] = _mark(merges.byte_ranks[(before << 8) | byte], place - 1)
        before = byte
    room = (size + LANES - 1) // LANES * LANES
    for place in range(size - 1, room):
        marks[place] = NO_RANK
    count = size
    while count > 1:
        best = NO_RANK
        for place in range(room):
            best = min(best, marks[place])
        if best == NO_RANK:
            break
        where = np.int64(best & _PLACES)
        right = where + np.int64(sizes[where])
        stop = right + np.int64(sizes[right])
        product = merges.products[np.int64(best >> _PLACE_BITS)]
        ids[where] = product
        sizes[where] = sizes[stop - 1] = stop - where
        marks[right] = NO_RANK
        marks[where] = _mark(rank_of(merges, product, ids[stop]), where) if stop < size else NO_RANK
        if where > 0:
            left = where - np.int64(sizes[where - 1])
            marks[left] = _mark(rank_of(merges, ids[left], product), left)
        count -= 1
    place = np.int64(0)
    for number in range(count):
        out[end + number] = ids[place]
        place += np.int64(sizes[place])
    return np.int64(count)


@inlined
def _mark(rank: Any, place: Any) -> Any:
    return NO_RANK if rank == NO_RANK else np.uint32((np.uint64(rank) << np.uint64(7)) | np.uint64(place))


@lean_kernel
def merge_long(merges: Any, data: Any, at: Any, size: Any, scratch: Any, out: Any, end: Any) -> Any:
    """Merge a piece of 1 to 2^31 - 1 bytes; its tokens go to `out` from `end` on. Returns their number.

    Touches 12.2 bytes of memory for each byte of the piece, of which four are in `out`: tokens stand there first at the place of their
    first byte, then one after the other.
    """
    sizes, ranks = scratch.sizes, scratch.ranks
    for place in range(size):
        byte = np.int64(data[at + place])
        out[end + place] = merges.byte_ids[byte]
        sizes[place] = 1
        after = np.int64(data[at + place + 1]) if place + 1 < size else np.int64(-1)
        ranks[place] = NO_RANK if after < 0 else merges.byte_ranks[(byte << 8) | after]
    num_levels = _plant(ranks, size, scratch)
    while scratch.tree[scratch.begins[num_levels - 1]] != NO_RANK:
        place = _leftmost(scratch, num_levels)
        right = place + sizes[place]
        stop = right + sizes[right]
        product = merges.products[ranks[place]]
        out[end + place] = product
        sizes[place] = sizes[stop - 1] = stop - place
        ranks[right] = NO_RANK
        ranks[place] = rank_of(merges, product, out[end + stop]) if stop < size else NO_RANK
        _lift(scratch, size, num_levels, right)
        _lift(scratch, size, num_levels, place)
        if place > 0:
            before = place - sizes[place - 1]
            ranks[before] = rank_of(merges, out[end + before], product)
            _lift(scratch, size, num_levels, before)
    count = np.int64(0)
    place = np.int64(0)
    while place < size:
        out[end + count] = out[end + place]
        count += 1
        place += sizes[place]
    return count


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
