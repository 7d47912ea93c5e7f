"""Repetition in a text: parts between line feeds that occur again, the most frequent run of words, and runs of words that occur again.

Owns the measurements of Gopher's repetition filter, equal to datatrove's, for one document at a time. Every answer is exact: hashes only
say where to look, bytes are compared. Nearly all runs of words in a text occur once, so each measurement first tells in a small table of
counts, several bits a word and with no branch, which places may be repeated at all; only these go through the exact table.

Tables are as large as the document needs and cleared in that size, so that a small document costs little beside a large one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from operators.kernels.lean import lean_kernel
from operators.kernels.lines import NEWLINE, load64, next_newline, store64
from operators.kernels.unicode import num_chars

SCRAMBLE: Final = np.uint64(0x9E3779B97F4A7C15)
FINISH: Final = np.uint64(0xFF51AFD7ED558CCD)
HALF: Final = np.uint64(32)
LOW: Final = np.uint64(0xFFFFFFFF)
HIGHS: Final = np.uint64(0x8080808080808080)
ONES: Final = np.uint64(0x0101010101010101)

WINDOWS: Final = (8, 12, 16, 24, 32, 48, 64)
"""Sizes in bytes of what is looked at from the beginning of a word on, to see how far there is the same somewhere else."""

ANY_SIZE: Final = np.int32(2**31 - 1)
PAD: Final = 80
"""Bytes that the joined words have behind them: windows go beyond the end."""

MOST_CELLS_BITS: Final = 22
"""Counts of a very large document share cells; then more places are looked at exactly than need be."""

LARGE: Final = 1 << 20
"""Entries from which on a table is filled up to four fifths: 50 MB of marks, each a word, would else need 1 GiB for it."""


inlined = njit(inline="always", error_model="numpy")
"""For what is done with every word: a call, with its arrays of seven words each, would cost more than the work."""


@lean_kernel
def is_ascii(data: Any, start: Any, stop: Any) -> Any:
    """Whether every byte is below 128."""
    at = np.int64(start)
    while at + 32 <= stop:
        if (load64(data, at) | load64(data, at + 8) | load64(data, at + 16) | load64(data, at + 24)) & HIGHS:
            return False
        at += 32
    while at < stop:
        if data[at] >= 0x80:
            return False
        at += 1
    return True


@lean_kernel
def count_byte(data: Any, start: Any, stop: Any, byte: Any) -> Any:
    """How often a byte occurs."""
    view = data[start:stop]
    count = np.int64(0)
    for at in range(len(view)):
        count += view[at] == byte
    return count


@lean_kernel
def length_of(data: Any, start: Any, stop: Any) -> Any:
    """How many characters a text has."""
    return np.int64(stop - start) if is_ascii(data, start, stop) else num_chars(data, start, stop)


@lean_kernel
def bits_for(count: Any) -> Any:
    """The exponent of the power of two at or above a number, at least 4."""
    bits = np.int64(4)
    while (np.int64(1) << bits) < count:
        bits += 1
    return bits


@lean_kernel
def table_bits(count: Any) -> Any:
    """The exponent of the number of slots of an exact table for so many entries; it grows with their number."""
    return bits_for(2 * count if count < LARGE else count + count // 4)


@lean_kernel
def repeated_parts(data: Any, start: Any, stop: Any, least: Any, firsts: Any, lasts: Any, slots: Any) -> Any:
    """Parts of a text between runs of at least `least` line feeds: how many, how many that occurred before, and the characters of those.

    Args:
        data: Bytes.
        start: Where the text begins.
        stop: Where it ends.
        least: 1: lines, as a split at runs of line feeds has them; 2: paragraphs.
        firsts: int32 scratch, with room for every part: where each begins, relative to `start`.
        lasts: int32 scratch: where each ends.
        slots: uint64 scratch, `2 ** table_bits(number of parts)`.
    """
    count, at, begin = np.int64(0), np.int64(start), np.int64(start)
    while True:
        end = next_newline(data, at, stop)
        at = end
        while at < stop and data[at] == NEWLINE:
            at += 1
        if end < stop and at - end < least:
            continue
        firsts[count] = begin - start
        lasts[count] = end - start
        count += 1
        if end == stop:
            break
        begin = at
    if count == 1:
        return count, np.int64(0), np.int64(0)
    return _repeats(data, start, count, firsts, lasts, slots)


@lean_kernel
def _repeats(data: Any, start: Any, count: Any, firsts: Any, lasts: Any, slots: Any) -> Any:
    mask = (np.int64(1) << table_bits(count)) - 1
    slots[: mask + 1] = 0
    num_repeats, chars = np.int64(0), np.int64(0)
    for part in range(count):
        first, size = start + np.int64(firsts[part]), np.int64(lasts[part]) - np.int64(firsts[part])
        mixed = _hash(data, first, size)
        slot = np.int64((mixed >> np.uint64(20)) & np.uint64(mask))
        while True:
            entry = slots[slot]
            if entry == 0:
                slots[slot] = (mixed & ~LOW) | np.uint64(part + 1)
                break
            if (entry ^ mixed) >> HALF == 0:
                other = np.int64(entry & LOW) - 1
                if np.int64(lasts[other]) - np.int64(firsts[other]) == size and same_bytes(
                    data, start + np.int64(firsts[other]), first, size
                ):
                    num_repeats += 1
                    chars += length_of(data, first, first + size)
                    break
            slot = (slot + 1) & mask
    return count, num_repeats, chars


@lean_kernel
def gather(data: Any, start: Any, starts: Any, ends: Any, num_words: Any, joined: Any, hashes: Any) -> None:
    """Write the words of a text one after another without anything between them, and turn their bounds into prefix sums.

    Afterwards word `i` is `joined[starts[i]:starts[i + 1]]` and has `ends[i + 1] - ends[i]` characters.

    Args:
        data: Bytes.
        start: Where the text begins.
        starts: int32, where each word begins, relative to `start`; room for one more than there are words.
        ends: int32, where each word ends; likewise.
        num_words: How many words there are.
        joined: uint8, the words' bytes, with room for `PAD` more.
        hashes: uint64, by word: 64 bits that stand for it.
    """
    at, chars = np.int64(0), np.int64(0)
    for word in range(num_words):
        first, size = np.int64(start) + np.int64(starts[word]), np.int64(ends[word]) - np.int64(starts[word])
        starts[word] = at
        ends[word] = chars
        mixed = np.uint64(size) * FINISH
        while size > 8:
            part = load64(data, first)
            store64(joined, at, part)
            mixed = (mixed ^ part) * SCRAMBLE
            mixed ^= mixed >> HALF
            chars += chars_of(part, np.int64(8))
            first += 8
            at += 8
            size -= 8
        part = load_part(data, first, size)
        store64(joined, at, part)
        mixed = (mixed ^ part) * SCRAMBLE
        hashes[word] = mixed ^ (mixed >> HALF)
        chars += chars_of(part, size)
        at += size
    starts[num_words] = at
    ends[num_words] = chars


@inlined
def chars_of(part: Any, size: Any) -> Any:
    """How many characters begin in the lowest `size` bytes of a word, the others being zero."""
    if part & HIGHS == 0:
        return size
    inner = (part >> np.uint64(7)) & ~(part >> np.uint64(6)) & ONES
    return size - np.int64((inner * ONES) >> np.uint64(56))


@lean_kernel
def count_pairs(hashes: Any, num_words: Any, cells: Any, counts: Any) -> None:
    """For each word but the last: at least as often as this is, with the word after it, in the text. Writes `counts`.

    Args:
        hashes: uint64, by word.
        num_words: How many words there are.
        cells: int32 scratch, `2 ** cells_bits(num_words)`.
        counts: int32, by word: the result.
    """
    bits = cells_bits(num_words)
    shift = np.uint64(64 - bits)
    cells[: np.int64(1) << bits] = 0
    for word in range(num_words - 1):
        cell = np.int32(((hashes[word] * FINISH + hashes[word + 1]) * SCRAMBLE) >> shift)
        counts[word] = cell
        cells[cell] += np.int32(1)
    for word in range(num_words - 1):
        counts[word] = cells[counts[word]]


@lean_kernel
def cells_bits(num_words: Any) -> Any:
    """The exponent of the number of cells for so many words: four to eight cells a word."""
    return min(bits_for(4 * num_words), np.int64(MOST_CELLS_BITS))


@lean_kernel
def top_bound(ends: Any, num_words: Any, n: Any, counts: Any) -> Any:
    """No fewer characters than `top_chars` finds: a run of words is at most as frequent as the pairs in it."""
    num_runs = num_words - n + 1
    # Slices, so that the compiler knows all places to be inside and takes several words at once.
    before, behind = ends[:num_runs], ends[n : n + num_runs]
    first, last = counts[:num_runs], counts[n - 2 : n - 2 + num_runs]
    most = np.int64(0)
    for word in range(num_runs):
        most = max(most, (np.int64(behind[word] - before[word]) + (n - 1)) * np.int64(min(first[word], last[word])))
    return most


@lean_kernel
def top_chars(joined: Any, starts: Any, ends: Any, hashes: Any, num_words: Any, n: Any, counts: Any, slots: Any, tally: Any) -> Any:
    """Characters of the most frequent run of `n` words with single spaces between them, times its frequency.

    Of several with that frequency the one counts that occurs first, as in `Counter.most_common`.

    Args:
        joined: The words' bytes, see `gather`.
        starts: Where each begins there.
        ends: Characters before each.
        hashes: By word.
        num_words: How many words there are; at least `n`.
        n: At least 2.
        counts: What `count_pairs` wrote.
        slots: uint64 scratch, `2 ** table_bits(num_words)`.
        tally: int32 scratch, one a word.
    """
    num_runs = num_words - n + 1
    picked = np.int64(0)
    for word in range(num_runs):
        picked += min(counts[word], counts[word + n - 2]) > 1
    mask = (np.int64(1) << table_bits(picked)) - 1
    slots[: mask + 1] = 0
    best, place = np.int32(1), np.int64(0)
    for word in range(num_runs):
        if min(counts[word], counts[word + n - 2]) < 2:
            continue
        mixed = hashes[word]
        for other in range(word + 1, word + n):
            mixed = (mixed ^ (mixed >> HALF)) * SCRAMBLE + hashes[other]
        mixed *= FINISH
        slot = np.int64((mixed >> np.uint64(20)) & np.uint64(mask))
        while True:
            entry = slots[slot]
            if entry == 0:
                slots[slot] = (mixed & ~LOW) | np.uint64(word + 1)
                tally[word] = 1
                break
            if (entry ^ mixed) >> HALF == 0:
                earlier = np.int64(entry & LOW) - 1
                if _same_words(joined, starts, earlier, word, n):
                    tally[earlier] += np.int32(1)
                    if tally[earlier] > best or (tally[earlier] == best and earlier < place):
                        best, place = tally[earlier], earlier
                    break
            slot = (slot + 1) & mask
    return np.int64(best) * (np.int64(ends[place + n]) - np.int64(ends[place]) + n - 1)


@lean_kernel
def _same_words(joined: Any, starts: Any, first: Any, second: Any, n: Any) -> Any:
    from_first, from_second = np.int64(starts[first]), np.int64(starts[second])
    for word in range(1, n + 1):
        if np.int64(starts[first + word]) - from_first != np.int64(starts[second + word]) - from_second:
            return False
    return same_bytes(joined, from_first, from_second, np.int64(starts[first + n]) - from_first)


@lean_kernel
def pick(joined: Any, starts: Any, num_words: Any, n: Any, cells: Any, picked: Any, reach: Any) -> Any:
    """Places where a run of at least `n` words may begin that has the same letters as another one; returns how many.

    Equal runs of `size` bytes begin with the same `WINDOWS[k]` bytes if that is not more than `size`: where such a beginning occurs once
    in the text, no longer run does again. Where the words are split differently ("ab c", "a bc") makes no difference to that.

    Args:
        joined: The words' bytes, see `gather`.
        starts: Where each begins there.
        num_words: How many words there are.
        n: At least 1.
        cells: int32 scratch, `2 ** cells_bits(num_words)`.
        picked: int32, room for one a word: the places in ascending order.
        reach: int32, by word: runs of fewer bytes that begin there may occur again.
    """
    num_runs = max(num_words - n + 1, 0)
    for word in range(num_runs):
        picked[word] = word
    num_left = num_runs
    for window in WINDOWS:
        bits = cells_bits(num_left)
        shift = np.uint64(64 - bits)
        cells[: np.int64(1) << bits] = 0
        for index in range(num_left):
            cell = np.int32(_window(joined, np.int64(starts[picked[index]]), window) >> shift)
            reach[picked[index]] = cell
            cells[cell] += np.int32(1)
        count = np.int64(0)
        for index in range(num_left):
            word = picked[index]
            may_repeat = cells[reach[word]] > 1
            reach[word] = ANY_SIZE if may_repeat else np.int32(window)
            picked[count] = word
            count += may_repeat
        num_left = count
    count = np.int64(0)
    for word in range(num_runs):
        picked[count] = word
        count += np.int64(starts[word + n]) - np.int64(starts[word]) < reach[word]
    return count


@inlined
def _window(joined: Any, at: Any, size: Any) -> Any:
    """64 bits that stand for the next `size` bytes, of which there are at least eight."""
    mixed = load64(joined, at) * SCRAMBLE
    last = at + size - 8
    at += 8
    while at < last:
        mixed = ((mixed ^ (mixed >> HALF)) + load64(joined, at)) * SCRAMBLE
        at += 8
    return ((mixed ^ (mixed >> HALF)) + load64(joined, last)) * FINISH


@lean_kernel
def repeated_chars(
    joined: Any, starts: Any, ends: Any, num_words: Any, n: Any, picked: Any, num_picked: Any, reach: Any, slots: Any
) -> Any:
    """Characters of runs of `n` words whose letters, without what stands between the words, occurred before; and how many places are left.

    Runs are looked at from left to right; after a repeated one the next begins behind it, and only others are remembered, as
    datatrove's `find_all_duplicate` does. Places at which no run of `n` words or more can occur again are taken out of `picked`.

    Args:
        joined: The words' bytes, see `gather`.
        starts: Where each begins there.
        ends: Characters before each.
        num_words: How many words there are.
        n: At least the `n` of `pick`.
        picked: What `pick` wrote.
        num_picked: What it returned, or this function did for a smaller `n`.
        reach: What it wrote there.
        slots: uint64 scratch, `2 ** table_bits(num_picked)`.
    """
    num_left = np.int64(0)
    for index in range(num_picked):
        word = picked[index]
        picked[num_left] = word
        behind = np.int64(starts[min(word + n, num_words)])
        num_left += word + n <= num_words and behind - np.int64(starts[word]) < reach[word]
    if num_left < 2:
        return np.int64(0), num_left
    mask = (np.int64(1) << table_bits(num_left)) - 1
    slots[: mask + 1] = 0
    chars, following = np.int64(0), np.int64(0)
    for index in range(num_left):
        word = np.int64(picked[index])
        if word < following:
            continue
        first = np.int64(starts[word])
        size = np.int64(starts[word + n]) - first
        mixed = _hash(joined, first, size)
        slot = np.int64((mixed >> np.uint64(20)) & np.uint64(mask))
        while True:
            entry = slots[slot]
            if entry == 0:
                slots[slot] = (mixed & ~LOW) | np.uint64(word + 1)
                break
            if (entry ^ mixed) >> HALF == 0:
                other = np.int64(entry & LOW) - 1
                at = np.int64(starts[other])
                if np.int64(starts[other + n]) - at == size and same_bytes(joined, at, first, size):
                    chars += np.int64(ends[word + n]) - np.int64(ends[word])
                    following = word + n
                    break
            slot = (slot + 1) & mask
    return chars, num_left


@inlined
def _hash(data: Any, at: Any, size: Any) -> Any:
    """64 bits that stand for some bytes; equal bytes give equal ones."""
    mixed, other = np.uint64(size) * FINISH, SCRAMBLE
    while size > 16:  # two that don't wait for each other
        mixed = (mixed ^ load64(data, at)) * SCRAMBLE
        other = (other ^ load64(data, at + 8)) * FINISH
        mixed ^= mixed >> HALF
        other ^= other >> HALF
        at += 16
        size -= 16
    if size > 8:
        mixed = (mixed ^ load64(data, at)) * SCRAMBLE
        mixed ^= mixed >> HALF
        at += 8
        size -= 8
    other = (other ^ load_part(data, at, size)) * FINISH
    mixed = (mixed ^ other ^ (other >> HALF)) * SCRAMBLE
    return (mixed ^ (mixed >> HALF)) * FINISH


@inlined
def same_bytes(data: Any, first: Any, second: Any, size: Any) -> Any:
    """Whether as many bytes from two places on are the same."""
    if size < 8:
        return load_part(data, first, size) == load_part(data, second, size)
    last = np.int64(size) - 8
    for at in range(0, last, 8):
        if load64(data, first + at) != load64(data, second + at):
            return False
    return load64(data, first + last) == load64(data, second + last)


@inlined
def load_part(data: Any, at: Any, size: Any) -> Any:
    """At most eight bytes, the first one lowest, zeros above them. Reads nothing outside the array."""
    if at + 8 > len(data):
        part = np.uint64(0)
        for place in range(size):
            part |= np.uint64(data[at + place]) << np.uint64(8 * place)
        return part
    part = load64(data, at)
    return part if size == 8 else part & ((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1))
