r"""Lines over bytes: where they end, what is left of them when stripped, which of them repeat.

Every function works inside `data[start:stop]` and reads nothing beyond it. Lines end either at a line feed alone (`str.split("\n")`) or
wherever Python's `str.splitlines()` ends one; the name says which. Long stretches in which nothing can happen are passed eight bytes at a
time.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from operators.kernels.lean import lean_kernel
from operators.kernels.unicode import num_chars

NEWLINE: Final = 10

ONES: Final = np.uint64(0x0101010101010101)
HIGHS: Final = np.uint64(0x8080808080808080)
BLANKS: Final = np.uint64(0x2020202020202020)
NEWLINES: Final = np.uint64(0x0A0A0A0A0A0A0A0A)

SCRAMBLE: Final = np.uint64(0x9E3779B97F4A7C15)
FINISH: Final = np.uint64(0xFF51AFD7ED558CCD)


@intrinsic
def load64(_context: Any, data: Any, _at: Any) -> Any:
    """Eight bytes at any place of an array, the first one lowest; all eight must lie inside it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        word = builder.load(place)
        word.align = 1
        return word

    return types.uint64(data, types.int64), generate


@intrinsic
def store64(_context: Any, out: Any, _at: Any, _word: Any) -> Any:
    """Write eight bytes at any place of an array, the lowest one first; all eight must lie inside it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        builder.store(arguments[2], place).align = 1
        return context.get_dummy_value()

    return types.void(out, types.int64, types.uint64), generate


@lean_kernel
def space_size(data: Any, at: Any, stop: Any) -> Any:
    """Size in bytes of the character at a place if it is white space (`str.isspace`), else 0.

    Of all characters of several bytes these are U+0085, U+00A0, U+1680, U+2000 to 200A, 2028, 2029, 202F, 205F and U+3000. They are
    spelt out here because a table of characters costs more than the test.
    """
    first = data[at]
    if first <= 32:
        return np.int64(first == 32 or 9 <= first <= 13 or first >= 28)
    if first < 0xC2 or first > 0xE3 or 0xC2 < first < 0xE1:
        return np.int64(0)
    if first == 0xC2:
        return np.int64(2) if at + 1 < stop and (data[at + 1] == 0x85 or data[at + 1] == 0xA0) else np.int64(0)
    if at + 2 >= stop:
        return np.int64(0)
    second, third = data[at + 1], data[at + 2]
    if first == 0xE2:
        is_space = second == 0x80 and (0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF)
        is_space = is_space or (second == 0x81 and third == 0x9F)
    else:
        is_space = third == 0x80 and second == (0x9A if first == 0xE1 else 0x80)
    return np.int64(3) if is_space else np.int64(0)


@lean_kernel
def strip(data: Any, start: Any, stop: Any) -> Any:
    """The bounds of a text without the white space at its ends, as `str.strip()` leaves it."""
    while start < stop:
        size = space_size(data, start, stop)
        if size == 0:
            break
        start += size
    while start < stop:
        size = 1
        while size < 3 and stop - size > start and data[stop - size] & 0xC0 == 0x80:
            size += 1
        if space_size(data, stop - size, stop) != size:
            break
        stop -= size
    return start, stop


@lean_kernel
def next_newline(data: Any, at: Any, stop: Any) -> Any:
    """Place of the first line feed from a place on; `stop` if there is none."""
    while at + 8 <= stop:
        differs = load64(data, at) ^ NEWLINES
        if (differs - ONES) & ~differs & HIGHS:
            break
        at += 8
    while at < stop and data[at] != NEWLINE:
        at += 1
    return at


@lean_kernel
def next_break(data: Any, at: Any, stop: Any) -> Any:
    """Where the line that begins at a place ends, as `str.splitlines()` has it, and where the next one begins."""
    while at < stop:
        while at + 8 <= stop:
            word = load64(data, at)
            # Neither a control character (below 0x20) nor part of a character of several bytes.
            if ((word - BLANKS) | word) & HIGHS:
                break
            at += 8
        for place in range(at, min(at + 8, stop)):
            first = data[place]
            if first < 32:
                if first == 13:
                    return place, place + (2 if place + 1 < stop and data[place + 1] == NEWLINE else 1)
                if 10 <= first <= 12 or 28 <= first <= 30:
                    return place, place + 1
            elif first == 0xC2:
                if place + 1 < stop and data[place + 1] == 0x85:
                    return place, place + 2
            elif first == 0xE2 and place + 2 < stop and data[place + 1] == 0x80 and (data[place + 2] == 0xA8 or data[place + 2] == 0xA9):
                return place, place + 3
        at = min(at + 8, stop)
    return stop, stop


@lean_kernel
def copy(data: Any, start: Any, stop: Any, out: Any, at: Any) -> Any:
    """Copy bytes to a place and return the place after them; within the same memory only towards its beginning."""
    end = at + stop - start
    while start + 8 <= stop:
        store64(out, at, load64(data, start))
        start += 8
        at += 8
    while start < stop:
        out[at] = data[start]
        start += 1
        at += 1
    return end


@lean_kernel
def hash_bytes(data: Any, start: Any, stop: Any) -> Any:
    """64 bits that stand for some bytes; equal bytes give equal ones."""
    found = np.uint64(stop - start) * SCRAMBLE
    at = np.int64(start)
    while at + 8 <= stop:
        found = (found ^ load64(data, at)) * SCRAMBLE
        found ^= found >> np.uint64(32)
        at += 8
    rest = np.uint64(0)
    while at < stop:
        rest = (rest << np.uint64(8)) | np.uint64(data[at])
        at += 1
    found = (found ^ rest) * FINISH
    return found ^ (found >> np.uint64(29))


@lean_kernel
def same_bytes(data: Any, first: Any, second: Any, size: Any) -> Any:
    """Whether as many bytes from two places on are the same."""
    at = np.int64(0)
    while at + 8 <= size:
        if load64(data, first + at) != load64(data, second + at):
            return False
        at += 8
    while at < size:
        if data[first + at] != data[second + at]:
            return False
        at += 1
    return True


@lean_kernel
def is_blank(data: Any, start: Any, stop: Any) -> Any:
    """Whether there is nothing but white space."""
    while start < stop:
        size = space_size(data, start, stop)
        if size == 0:
            return False
        start += size
    return True


@lean_kernel
def num_slots(num_lines: Any) -> Any:
    """How many slots `repeated_chars` needs for so many lines: a power of two, at most half full."""
    slots = np.int64(16)
    while slots < 2 * num_lines:
        slots *= 2
    return slots


@lean_kernel
def repeated_chars(data: Any, start: Any, stop: Any, places: Any, tags: Any, slots: Any) -> Any:
    """Characters of the lines (between line feeds, blank ones left out) that are the same as an earlier line.

    Args:
        data: Bytes.
        start: Where the text begins.
        stop: Where it ends.
        places: int32 scratch, at least `slots` long: where a line in the table begins, relative to `start`.
        tags: uint32 scratch, as long: bits of its hash.
        slots: `num_slots` of the number of lines that are not blank.
    """
    places[:slots] = -1
    count = np.int64(0)
    at = np.int64(start)
    while at < stop:
        end = next_newline(data, at, stop)
        if not is_blank(data, at, end):
            size = end - at
            mixed = hash_bytes(data, at, end)
            tag = np.uint32(mixed >> np.uint64(32))
            slot = np.int64(mixed & np.uint64(slots - 1))
            while True:
                if places[slot] < 0:
                    places[slot] = at - start
                    tags[slot] = tag
                    break
                other = start + np.int64(places[slot])
                # The other line begins earlier, so that as many bytes from its place on lie inside the text.
                if tags[slot] == tag and same_bytes(data, other, at, size) and data[other + size] == NEWLINE:
                    count += num_chars(data, at, end)
                    break
                slot = (slot + 1) & (slots - 1)
        at = end + 1
    return count
