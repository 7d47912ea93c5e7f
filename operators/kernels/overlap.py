"""Runs of words that texts share with an index: words folded, a rolling hash over them, and every hit compared in 128 bits.

Owns what a word is here (`folded`) and the index. A text's words do not depend on case, punctuation, white space, diacritics or Unicode
form.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.hashing import murmur128
from operators.kernels.jit import kernel
from operators.kernels.kept import kept
from operators.kernels.lean import lean_kernel
from operators.kernels.unicode import NUM_CODES, decode, encode

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

SEPARATES: Final = 0
IGNORED: Final = 1
ALONE: Final = 1 << 30
"""Added to a code point that is a word by itself."""
APOSTROPHES: Final = "'\u2019\u02bc"
ALONE_RANGES: Final = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF)),
    *((0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
)
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana and Han."""

BASE, WORD_SEED, STEP, SHORT = (
    np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xCBF29CE484222325, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
)
MAX_RUN_BYTES: Final = 1 << 16
"""Longer runs are neither in the index nor found."""
ROOM: Final = 1 << 12
"""Room for hits in a batch, at first; hits are rare."""


class Folding(NamedTuple):
    """What each code point becomes.

    Attributes:
        pages: uint16, by `code >> 8`: the page of the code point.
        values: int32, by `(page << 8) | (code & 255)`: `SEPARATES`, `IGNORED`, a code point (with `ALONE`), or below 0 minus the place in
            `longer` where the number of its code points stands, and then they.
        longer: int32.
    """

    pages: npt.NDArray[np.uint16]
    values: npt.NDArray[np.int32]
    longer: npt.NDArray[np.int32]


class Index(NamedTuple):
    """Runs of words that are looked for.

    Attributes:
        long_sieve: uint8, a bit for each hash of the longest runs by its last bits: few of those that are not there pass it.
        short_sieve: uint8, likewise for the others.
        keys: uint64, in slots: rolling hash of a run's last words, 0 where the slot is free.
        entries: int64, in the same slots: number of the run.
        lengths: int64, by run: its number of words.
        first: uint64, by run: with `second` its 128-bit hash.
        second: uint64.
    """

    long_sieve: npt.NDArray[np.uint8]
    short_sieve: npt.NDArray[np.uint8]
    keys: U64
    entries: I64
    lengths: I64
    first: U64
    second: U64


class Hits(NamedTuple):
    """Runs found in texts, in the order of their ends, repeated ones too.

    Attributes:
        rows: Text of each.
        entries: Number of the run in the index; while one is made, its number of words.
        keys: Rolling hash, while an index is made.
        first: With `second` the 128-bit hash, while an index is made.
        second: uint64.
    """

    rows: I64
    entries: I64
    keys: U64
    first: U64
    second: U64


def folded(char: str) -> tuple[int, ...]:
    """What a character becomes in a word: `(SEPARATES,)`, `(IGNORED,)` or code points.

    Compatibility decomposition and case folding; of that letters, digits and spacing marks, each alone in scripts without spaces. Marks
    that take no space, format characters and apostrophes are ignored ("don't" is "dont"), everything else separates words.
    """
    chars = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    chosen = [each for each in chars if each not in APOSTROPHES and _is_kept(each)]
    if chosen:
        return tuple(ord(each) | (ALONE if _is_alone(ord(each)) else 0) for each in chosen)
    ignored = all(each in APOSTROPHES or unicodedata.category(each) in ("Mn", "Me", "Mc", "Cf") for each in chars)
    return (IGNORED if ignored else SEPARATES,)


def _is_kept(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LN" or (category == "Mc" and not _is_alone(ord(char)))


def _is_alone(code: int) -> bool:
    return any(first <= code <= last for first, last in ALONE_RANGES)


@cache
def folding() -> Folding:
    """The table of `folded` for this Python's Unicode version, from this node's cache, or made and put there (about a second)."""
    return Folding(**kept("folding", __file__, unicodedata.unidata_version.encode(), _made))


def _made() -> dict[str, npt.NDArray[Any]]:
    values, longer = np.zeros(NUM_CODES, np.int32), [0]
    for code in range(NUM_CODES):
        if unicodedata.category(chr(code)) in ("Cn", "Co", "Cs"):
            continue
        codes = folded(chr(code))
        values[code] = codes[0] if len(codes) == 1 else -len(longer)
        if len(codes) > 1:
            longer += [len(codes), *codes]
    both, pages = np.unique(values.reshape(-1, 256), axis=0, return_inverse=True)
    return {"pages": pages.ravel().astype(np.uint16), "values": both.ravel(), "longer": np.array(longer, np.int32)}


@kernel
def _mix(x: Any) -> Any:
    x ^= x >> np.uint64(32)
    x *= STEP
    return x ^ (x >> np.uint64(29))


@lean_kernel
def _run_hash(data: Any, at: Any, stop: Any, skip: Any, length: Any, folds: Any, scratch: Any) -> Any:
    """The 128-bit hash of `length` words behind `skip` others, spaces between; both zero if they are too long."""
    pages, values, longer = folds
    size, num_words = 0, 0
    in_word, closed = False, False
    while at <= stop:
        value, num_bytes = np.int64(SEPARATES), 1
        if at < stop:
            code, num_bytes = decode(data, at, stop)
            value = np.int64(values[(np.int64(pages[code >> 8]) << 8) | (code & 255)])
        count = np.int64(longer[-value]) if value < 0 else 1
        for each in range(count):
            part = np.int64(longer[1 + each - value]) if value < 0 else value
            if part == IGNORED:
                continue
            if in_word and (part == SEPARATES or part & ALONE or closed):
                in_word = False
                num_words += 1
                if num_words == skip + length:
                    return murmur128(scratch, 0, size)
                if num_words > skip:
                    scratch[size] = 32
                    size += 1
            if part != SEPARATES:
                if not in_word:
                    in_word, closed = True, part & ALONE != 0
                if num_words >= skip:
                    size += encode(part & (ALONE - 1), scratch, size)
                    if size > len(scratch) - 8:
                        return np.uint64(0), np.uint64(0)
        at += num_bytes
    return np.uint64(0), np.uint64(0)


@lean_kernel
def _scan(offsets: Any, data: Any, folds: Any, longest: Any, shortest: Any, index: Any, makes: Any, hits: Any, scratches: Any) -> Any:
    """Write the runs of the index that end at each word of each text; if it is being made, all runs, and whole texts that are shorter.

    Returns how many there are, which may be more than there was room for: arrays that grew in the loop would be counted at each character.
    """
    pages, values, longer = folds
    long_sieve, short_sieve, keys, entries, lengths, firsts, seconds = index
    rows, found, made_keys, made_first, made_second = hits
    num_hits = 0
    ring, begins, skips, scratch = scratches
    ascii_page = np.int64(pages[0]) << 8
    num_slots = np.uint64(len(keys))
    long_mask, short_mask = np.uint64(8 * len(long_sieve) - 1), np.uint64(8 * len(short_sieve) - 1)
    out_long, out_short = np.uint64(1), np.uint64(1)
    for each in range(longest):
        out_long *= BASE
        if each < shortest:
            out_short *= BASE
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        for each in range(longest):
            ring[each] = 0
        long_hash, short_hash, word = np.uint64(0), np.uint64(0), np.uint64(0)
        num_words, place, begin, begin_skip = 0, 0, at, np.int64(0)
        in_word, closed = False, False
        while at <= stop:
            value, num_bytes = np.int64(SEPARATES), 1
            if at < stop:
                if data[at] < 0x80:
                    value = np.int64(values[ascii_page | np.int64(data[at])])
                    if in_word and not closed:
                        while value > IGNORED:
                            word = (word ^ np.uint64(value)) * BASE
                            at += 1
                            if at == stop or data[at] >= 0x80:
                                break
                            value = np.int64(values[ascii_page | np.int64(data[at])])
                        if value > IGNORED:
                            continue
                    elif value == SEPARATES and not in_word:
                        at += 1
                        continue
                else:
                    code, num_bytes = decode(data, at, stop)
                    value = np.int64(values[(np.int64(pages[code >> 8]) << 8) | (code & 255)])
            count = np.int64(longer[-value]) if value < 0 else 1
            begun = np.int64(0)  # words that begin in this character, if one began with it
            for each in range(count):
                part = np.int64(longer[1 + each - value]) if value < 0 else value
                if part == IGNORED:
                    continue
                if in_word and (part == SEPARATES or part & ALONE or closed):
                    in_word = False
                    before = place - shortest
                    before += longest if before < 0 else 0
                    hashed = _mix(word)
                    short_hash = short_hash * BASE + hashed - ring[before] * out_short
                    long_hash = long_hash * BASE + hashed - ring[place] * out_long
                    ring[place], begins[place], skips[place] = hashed, begin, begin_skip
                    num_words += 1
                    if makes:
                        if num_words >= longest:
                            if num_hits < len(rows):
                                first_place = place + 1 if place + 1 < longest else 0
                                first, second = _run_hash(data, begins[first_place], stop, skips[first_place], longest, folds, scratch)
                                rows[num_hits], found[num_hits] = row, longest
                                made_keys[num_hits] = _mix(long_hash) | np.uint64(1)
                                made_first[num_hits], made_second[num_hits] = first, second
                            num_hits += 1
                    elif num_words >= shortest:
                        long_key, short_key = _mix(long_hash) | np.uint64(1), _mix(short_hash ^ SHORT) | np.uint64(1)
                        long_bit, short_bit = long_key & long_mask, short_key & short_mask
                        passes = np.int64(long_sieve[long_bit >> np.uint64(3)] >> (long_bit & np.uint64(7))) & 1
                        passes |= (np.int64(short_sieve[short_bit >> np.uint64(3)] >> (short_bit & np.uint64(7))) & 1) << 1
                        while passes != 0:
                            key = long_key if passes & 1 else short_key
                            passes = np.int64(passes & 2 if passes & 1 else 0)
                            slot = np.int64(((key >> np.uint64(32)) * num_slots) >> np.uint64(32))
                            while keys[slot] != 0:
                                entry = np.int64(entries[slot])
                                if keys[slot] == key and num_words >= lengths[entry]:
                                    first_place = place + 1 - lengths[entry]
                                    first_place += longest if first_place < 0 else 0
                                    begins_at, skipped = begins[first_place], skips[first_place]
                                    first, second = _run_hash(data, begins_at, stop, skipped, lengths[entry], folds, scratch)
                                    if first == firsts[entry] and second == seconds[entry]:
                                        if num_hits < len(rows):
                                            rows[num_hits], found[num_hits] = row, entry
                                        num_hits += 1
                                slot = np.int64(slot + 1 if slot + 1 < len(keys) else 0)
                    place = place + 1 if place + 1 < longest else 0
                if part != SEPARATES:
                    starts = not in_word
                    if starts:
                        in_word, closed, begin, word = True, part & ALONE != 0, at, WORD_SEED
                        begin_skip = begun
                    begun += 1 if starts or each == 0 else 0
                    word = (word ^ np.uint64(part & (ALONE - 1))) * BASE
            at += num_bytes
        if makes and shortest <= num_words < longest:
            if num_hits < len(rows):
                first, second = _run_hash(data, begins[0], stop, skips[0], num_words, folds, scratch)
                rows[num_hits], found[num_hits] = row, num_words
                made_keys[num_hits] = _mix(short_hash ^ SHORT) | np.uint64(1)
                made_first[num_hits], made_second[num_hits] = first, second
            num_hits += 1
    return num_hits


@kernel
def _fill(table: Any, entries: Any, keys: Any) -> None:
    num_slots = np.uint64(len(table))
    for entry in range(len(keys)):
        slot = np.int64(((keys[entry] >> np.uint64(32)) * num_slots) >> np.uint64(32))
        while table[slot] != 0:
            slot += 1
            slot = slot if slot < len(table) else np.int64(0)
        table[slot], entries[slot] = keys[entry], entry


def _sieve(keys: U64) -> npt.NDArray[np.uint8]:
    """8 to 16 bits a key, of which one is set, in a power of two of bytes."""
    size = max(64, 1 << (max(len(keys), 1) - 1).bit_length())
    bits = np.zeros(8 * size, np.bool_)
    bits[(keys & np.uint64(8 * size - 1)).astype(np.int64)] = True
    return np.packbits(bits, bitorder="little")


def index_of(keys: U64, lengths: I64, first: U64, second: U64, longest: int) -> Index:
    """The index of some runs, by what `runs_of` tells of them with the same `longest`; they are numbered in the order given."""
    table, entries = np.zeros(2 * len(keys) + 1, np.uint64), np.zeros(2 * len(keys) + 1, np.int64)
    if len(keys):
        _fill(table, entries, keys)
    is_long = lengths == longest
    return Index(_sieve(keys[is_long]), _sieve(keys[~is_long]), table, entries, lengths, first, second)


_NONE, _NUMBERS = np.zeros(0, np.uint64), np.zeros(0, np.int64)
_EMPTY = index_of(_NONE, _NUMBERS, _NONE, _NONE, 1)


def _hits(
    offsets: I64, data: npt.NDArray[np.uint8], longest: int, shortest: int, folds: Folding, index: Index, room: int, *, makes: bool
) -> Hits:
    """The runs, written a second time if there are more than there was room for."""
    scratches = np.zeros(longest, np.uint64), np.zeros(longest, np.int64), np.zeros(longest, np.int64), np.empty(MAX_RUN_BYTES, np.uint8)
    while True:
        numbers, hashes = (np.empty((2, room), np.int64), np.empty((3, room), np.uint64))
        hits = Hits(numbers[0], numbers[1], hashes[0], hashes[1], hashes[2])
        count = _scan(offsets, data, folds, longest, shortest, index, makes, hits, scratches)
        if count <= room:
            return _chosen(hits, slice(count))
        room = count


def _chosen(hits: Hits, which: slice | npt.NDArray[np.bool_]) -> Hits:
    return Hits(hits.rows[which], hits.entries[which], hits.keys[which], hits.first[which], hits.second[which])


def runs_of(offsets: I64, data: npt.NDArray[np.uint8], longest: int, shortest: int, folds: Folding) -> Hits:
    """Every run of `longest` words in some texts, and whole texts of `shortest` words or more that have fewer."""
    hits = _hits(offsets, data, longest, shortest, folds, _EMPTY, len(data) // 4 + 1, makes=True)
    return _chosen(hits, (hits.first != 0) | (hits.second != 0))


def find_runs(offsets: I64, data: npt.NDArray[np.uint8], longest: int, shortest: int, folds: Folding, index: Index) -> Hits:
    """Where runs of the index are in some texts. `longest` and `shortest` are those that it was made with; `shortest <= longest`."""
    return _hits(offsets, data, longest, shortest, folds, index, ROOM, makes=False)
