"""Hashes of shingles: runs of words, or of characters, of normalized text, 64 bits each.

A unit (a word or a character) is hashed as its UTF-8, sixteen bytes at a time; a shingle is a polynomial of its units' hashes, rolled along
the text and mixed. Hashes depend on the text, the kind, the size and the normalization alone; equal shingles have equal hashes, and others
differ but for a chance of 2^-64. They are part of what runs leave for each other (`history`): they never change without a new name.

What the normalizations do, and where `datatrove` differs from datatrove (no tokenizer of English runs here), is told in `word_folding`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import text_buffers
from operators.kernels.lean import lean_kernel
from operators.kernels.lines import load64
from operators.kernels.unicode import decode
from operators.kernels.word_folding import Folding, Normalization, folding
from operators.kernels.word_tiles import AT, COUNT, OPEN, SIZE, SLACK, TILE_BYTES, Rules, Tile, fill_tile, rules, tile

Kind = Literal["word", "char"]
U64 = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]

# Odd numbers of 64 bits: the first outputs of splitmix64 from seed 0, with the lowest bit set.
FIRST, SECOND, LENGTH, MIX1, MIX2, STEP = (
    np.uint64(word)
    for word in (*(0xE220A8397B1DCDAF, 0x6E789E6AA1B965F5, 0x06C45D188009454F, 0xF88BB8A8724C81ED, 0x1B39896A51A8749B, 0x53CB9F0C747EA2EB),)
)
_BLOCK: Final = 16
FEW: Final = 24
"""So many hashes are sorted without buckets."""
MAX_BUCKETS: Final = 1 << 20
_ALL: Final = 0xFFFFFFFFFFFFFFFF
_FIRST_BYTES = np.array([_ALL >> (64 - 8 * min(size, 8)) if size else 0 for size in range(_BLOCK + 1)], np.uint64)
_SECOND_BYTES = np.array([_ALL >> (64 - 8 * (size - 8)) if size > 8 else 0 for size in range(_BLOCK + 1)], np.uint64)

# Places in the state of a document.
NUM_UNITS: Final = 0  # units so far
OPEN_BYTES: Final = 1  # bytes of the open word that were hashed in tiles before
CONTINUES: Final = 2  # 1 if the tile begins inside a word whose characters were units before


class Plan(NamedTuple):
    """What is hashed: built once, the same for every document.

    Attributes:
        size: Units of a shingle.
        by_char: Whether units are characters.
        drop: `STEP ** size`: what takes the oldest unit out of the polynomial.
        folding: Tables of the normalization.
        rules: What it does with ASCII.
        characters: uint64: the hash of each character of ASCII.
    """

    size: int
    by_char: bool
    drop: np.uint64
    folding: Folding
    rules: Rules
    characters: U64


class Roll(NamedTuple):
    """Scratch for one thread.

    Attributes:
        tile: The words.
        units: uint64: hashes of the last `size` units of the tiles before, then of the tile's.
        hashes: uint64: of the tile's shingles.
        polynomial: uint64, of one: that of the last units.
        open_hash: uint64, of one: of what was hashed of the open word.
        state: int64, by `NUM_UNITS`, `OPEN_BYTES`, `CONTINUES`.
    """

    tile: Tile
    units: U64
    hashes: U64
    polynomial: U64
    open_hash: U64
    state: Offsets


def plan(kind: Kind, size: int, normalization: Normalization) -> Plan:
    """Shingles of `size` words, or of `size` characters of the words joined by single spaces; characters are then never words."""
    if size < 1:
        raise ValueError(f"shingle size: {size} found; expected at least 1")
    by_char = kind == "char"
    drop = np.uint64(pow(int(STEP), size, 1 << 64))
    return Plan(size, by_char, drop, folding(normalization), rules(normalization, alone=not by_char), _ascii_characters())


@cache
def _ascii_characters() -> U64:
    """The hash of each character of ASCII: a block of its byte, and the length."""
    state = LENGTH + np.arange(128, dtype=np.uint64) * FIRST
    state = (state ^ state >> np.uint64(32)) * MIX1
    return np.ascontiguousarray(state ^ state >> np.uint64(29))


def roll(size: int) -> Roll:
    """Scratch for shingles of `size` units."""
    # A word has at least a byte, and is one unit; as characters it has at most as many units as bytes, and one for the space before it.
    room = 2 * (TILE_BYTES + SLACK)
    return Roll(
        tile=tile(),
        units=np.zeros(room + size, np.uint64),
        hashes=np.zeros(room, np.uint64),
        polynomial=np.zeros(1, np.uint64),
        open_hash=np.zeros(1, np.uint64),
        state=np.zeros(3, np.int64),
    )


@lean_kernel
def mixed(x: Any) -> Any:
    """The word with its bits mixed, one to one (the finalizer of MurmurHash3's kind)."""
    x ^= x >> np.uint64(32)
    x *= MIX1
    x ^= x >> np.uint64(29)
    x *= MIX2
    return np.uint64(x ^ (x >> np.uint64(32)))


@lean_kernel
def absorbed(state: Any, first: Any, second: Any) -> Any:
    """The state of a hash after sixteen bytes more."""
    state += first * FIRST + second * SECOND
    state ^= state >> np.uint64(32)
    state *= MIX1
    return np.uint64(state ^ (state >> np.uint64(29)))


@lean_kernel
def _hashed(text: Any, begin: Any, end: Any, state: Any, before: Any) -> Any:
    """Hash of at least one byte, after `before` bytes that led to a state. Sixteen bytes behind the last one are read, none counts."""
    num_bytes = np.uint64(before + end - begin)
    while end - begin > _BLOCK:
        state = absorbed(state, load64(text, begin), load64(text, begin + 8))
        begin += _BLOCK
    size = end - begin
    return absorbed(state + num_bytes * LENGTH, load64(text, begin) & _FIRST_BYTES[size], load64(text, begin + 8) & _SECOND_BYTES[size])


@lean_kernel
def _word_units(size: Any, roll: Any) -> Any:
    """Hash the tile's words behind the first `size` units and keep what an open word needs; returns how many there are."""
    tile, units, state = roll.tile, roll.units, roll.state
    text, begins, ends = tile.text, tile.begins, tile.ends
    count, first = tile.state[COUNT], 0
    if count > 0 and state[OPEN_BYTES] > 0:
        units[size] = _hashed(text, np.int64(begins[0]), np.int64(ends[0]), roll.open_hash[0], state[OPEN_BYTES])
        state[OPEN_BYTES], roll.open_hash[0] = 0, np.uint64(0)
        first = 1
    for i in range(first, count):
        units[size + i] = _hashed(text, np.int64(begins[i]), np.int64(ends[i]), np.uint64(0), 0)
    begin, end = tile.state[OPEN], tile.state[SIZE]
    left = np.int64(0)
    if begin >= 0:
        while end - begin > _BLOCK:
            roll.open_hash[0] = absorbed(roll.open_hash[0], load64(text, begin), load64(text, begin + 8))
            state[OPEN_BYTES] += _BLOCK
            begin += _BLOCK
        left = end - begin
        for i in range(left):
            text[i] = text[begin + i]
        tile.state[OPEN] = 0
    tile.state[SIZE], tile.state[COUNT] = left, 0
    return count


@lean_kernel
def _char_units(size: Any, characters: Any, roll: Any) -> Any:
    """Hash the characters of the tile's words, with a space before each but the document's first; returns how many there are."""
    tile, units, state = roll.tile, roll.units, roll.state
    text = tile.text
    count, words = np.int64(0), tile.state[COUNT]
    is_open = tile.state[OPEN] >= 0
    for i in range(words + is_open):
        at, end = (np.int64(tile.begins[i]), np.int64(tile.ends[i])) if i < words else (tile.state[OPEN], tile.state[SIZE])
        if state[CONTINUES] == 0 and state[NUM_UNITS] + count > 0:
            units[size + count] = characters[32]
            count += 1
        state[CONTINUES] = 0
        while at < end:
            if text[at] < 0x80:
                units[size + count] = characters[text[at]]
                at += 1
            else:
                _, width = decode(text, at, end)
                units[size + count] = _hashed(text, at, at + width, np.uint64(0), 0)
                at += width
            count += 1
    if is_open:
        state[CONTINUES] = 1
        tile.state[OPEN] = 0
    tile.state[SIZE], tile.state[COUNT] = 0, 0
    return count


@lean_kernel
def begin_document(start: Any, size: Any, roll: Any) -> None:
    """Forget what was before."""
    state, tile = roll.state, roll.tile
    tile.state[AT], tile.state[SIZE], tile.state[COUNT], tile.state[OPEN] = start, 0, 0, -1
    state[NUM_UNITS], state[OPEN_BYTES], state[CONTINUES] = 0, 0, 0
    roll.polynomial[0], roll.open_hash[0] = np.uint64(0), np.uint64(0)
    for i in range(size):
        roll.units[i] = np.uint64(0)


@lean_kernel
def next_shingles(data: Any, stop: Any, plan: Any, roll: Any) -> Any:
    """Put the hashes of the next shingles of a document into `roll.hashes`; returns how many.

    The document ends when the tile's `AT` is `stop`. One of fewer units than a shingle has one shingle, of all its units, if it has any.
    """
    size, state, units, hashes = plan.size, roll.state, roll.units, roll.hashes
    fill_tile(data, stop, plan.folding, plan.rules, roll.tile)
    num_units = _char_units(size, plan.characters, roll) if plan.by_char else _word_units(size, roll)
    polynomial = roll.polynomial[0]
    skipped = min(max(size - 1 - state[NUM_UNITS], 0), num_units)
    for i in range(skipped):
        polynomial = polynomial * STEP + units[size + i]
    for i in range(skipped, num_units):
        polynomial = polynomial * STEP + units[size + i] - units[i] * plan.drop
        hashes[i - skipped] = mixed(polynomial)
    for i in range(size):
        units[i] = units[num_units + i]
    state[NUM_UNITS] += num_units
    roll.polynomial[0] = polynomial
    if roll.tile.state[AT] >= stop and 0 < state[NUM_UNITS] < size:
        hashes[0] = mixed(polynomial)
        return np.int64(1)
    return num_units - skipped


@lean_kernel
def _scatter(values: Any, begin: Any, end: Any, spare: Any, counts: Any) -> None:
    """Put hashes into as many buckets, in order, as there are about hashes."""
    bits = np.int64(1)
    while (np.int64(1) << bits) < end - begin and (np.int64(2) << bits) < len(counts):
        bits += 1
    shift, num_buckets = np.uint64(64 - bits), np.int64(1) << bits
    for i in range(num_buckets + 1):
        counts[i] = 0
    for i in range(begin, end):
        counts[np.int64(values[i] >> shift) + 1] += 1
        spare[i - begin] = values[i]
    for i in range(num_buckets):
        counts[i + 1] += counts[i]
    for i in range(end - begin):
        bucket = np.int64(spare[i] >> shift)
        values[begin + counts[bucket]] = spare[i]
        counts[bucket] += 1


@lean_kernel
def _sort_distinct(values: Any, begin: Any, end: Any, spare: Any, counts: Any) -> Any:
    """Sort a range of hashes and keep one of equals; returns its new end."""
    if end - begin > FEW:
        _scatter(values, begin, end, spare, counts)
    for i in range(begin + 1, end):
        value, place = values[i], i
        while place > begin and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
    kept = begin
    for i in range(begin, end):
        if kept == begin or values[i] != values[kept - 1]:
            values[kept] = values[i]
            kept += 1
    return kept


@lean_kernel
def _gather(offsets: Any, data: Any, plan: Any, roll: Any, out_offsets: Any, out: Any, spare: Any, counts: Any) -> None:
    """The sorted distinct hashes of each document."""
    end = np.int64(0)
    for row in range(len(offsets) - 1):
        begin, stop = end, offsets[row + 1]
        begin_document(offsets[row], plan.size, roll)
        is_last = False
        while not is_last:
            count = next_shingles(data, stop, plan, roll)
            for i in range(count):
                out[end + i] = roll.hashes[i]
            end += count
            is_last = roll.tile.state[AT] >= stop
        end = _sort_distinct(out, begin, end, spare, counts)
        out_offsets[row + 1] = end


def shingle_sets(texts: pa.LargeStringArray, kind: Kind, size: int, normalization: Normalization) -> tuple[Offsets, U64]:
    """The sorted distinct hashes of each document's shingles: offsets (one more than documents, from zero) and hashes.

    A document of fewer units than a shingle has one shingle, of all of them; one without any has none. Nulls are read as they lie in the
    buffer: the caller leaves them out.
    """
    offsets, data = text_buffers(texts)
    sizes = np.diff(offsets)
    longest = int(sizes.max(initial=0)) + 1
    out_offsets = np.zeros(len(texts) + 1, np.int64)
    # No text has more units than bytes; what is not written to takes no memory.
    out, spare = np.empty(int(offsets[-1] - offsets[0]) + 1, np.uint64), np.empty(longest, np.uint64)
    counts = np.empty(min(1 << longest.bit_length(), MAX_BUCKETS) + 1, np.int64)
    _gather(offsets, data, plan(kind, size, normalization), roll(size), out_offsets, out, spare, counts)
    return out_offsets, out[: out_offsets[-1]].copy()
