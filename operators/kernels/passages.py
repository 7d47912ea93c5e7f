r"""Passages of texts, lines or paragraphs, over Arrow's offsets and bytes: a 128-bit hash of each, and texts without some of them.

A line ends at a line feed (`str.split("\n")`); a paragraph is a run of lines that are not blank, as long as it goes. Passages are numbered
from 0 in each text, blank lines and all. Owns what of a passage is compared where it is all ASCII; what is not, is for libraries.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.hashing import murmur128
from operators.kernels.lean import lean_kernel
from operators.kernels.lines import BLANKS, HIGHS, NEWLINE, ONES, copy, is_blank, load64, next_newline, store64, strip
from operators.kernels.unicode import num_chars

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
U64 = npt.NDArray[np.uint64]

LINES, PARAGRAPHS = 0, 1
KINDS: Final = {"lines": LINES, "paragraphs": PARAGRAPHS}
PLAIN, SPACED, FOREIGN = 0, 1, 2
"""What is in a passage: nothing to collapse; perhaps something; characters that are not ASCII."""
SPACE: Final = 32

AS_IS, SPACES, MAPPED = 0, 1, 2
"""How passages are compared: as they are; every run of white space as one space; ASCII as a map has it."""
GAP: Final = 256
"""What a map has for a byte that is a space or as good as one."""


def byte_map(*, lowercase: bool, words: bool) -> npt.NDArray[np.uint16]:
    """What becomes of each ASCII byte before passages are compared: itself, its lower case, or `GAP`: white space or, of words, no part."""
    found = np.arange(256, dtype=np.uint16)
    if lowercase:
        found[65:91] += 32
    found[[byte for byte in range(128) if chr(byte).isspace() or (words and not chr(byte).isalnum())]] = GAP
    return found


class Passages(NamedTuple):
    """Passages of a batch, in order.

    Attributes:
        documents: Position of each one's text.
        numbers: Its number in the text.
        first, second: Words of its hash, 0 where it has none yet.
        begins, ends: Its bounds in the data, without white space at both ends.
        foreign: Whether it is to be hashed elsewhere, since it is not all ASCII.
    """

    documents: Ints
    numbers: Numbers
    first: U64
    second: U64
    begins: Ints
    ends: Ints
    foreign: Bools


@lean_kernel
def _paragraph(data: Any, at: Any, stop: Any) -> Any:
    """Bounds of the first paragraph from the beginning of a line on, its last line feed left out; `stop` twice if there is none."""
    end = at
    while at < stop:
        end = next_newline(data, at, stop)
        if not is_blank(data, at, end):
            break
        at = end + 1
    if at >= stop:
        return np.int64(stop), np.int64(stop)
    begin, last = np.int64(at), np.int64(end)
    at = end + 1
    while at < stop:
        end = next_newline(data, at, stop)
        if is_blank(data, at, end):
            break
        last = np.int64(end)
        at = end + 1
    return begin, last


@lean_kernel
def _content(data: Any, start: Any, stop: Any) -> Any:
    """What is in a passage; `SPACED` may be said of one that has nothing to collapse."""
    found = np.uint64(0)
    at = np.int64(start)
    high = np.uint64(0)
    while at + 9 <= stop:
        word, after = load64(data, at), load64(data, at + 1)
        high |= word
        here, there = word ^ BLANKS, after ^ BLANKS
        # A byte below 32; a space with one behind it.
        found |= (word - BLANKS) & ~word
        found |= (here - ONES) & ~here & (there - ONES) & ~there
        at += 8
    is_spaced = found & HIGHS != 0
    while at < stop:
        byte = data[at]
        high |= np.uint64(byte)
        is_spaced = is_spaced or byte < SPACE or (byte == SPACE and at + 1 < stop and data[at + 1] == SPACE)
        at += 1
    if high & HIGHS:
        return FOREIGN
    return SPACED if is_spaced else PLAIN


@lean_kernel
def _mapped(data: Any, start: Any, stop: Any, bytes_map: Any, out: Any) -> Any:
    """Write ASCII as the map has it, every run of gaps as one space and none at the ends; returns the size."""
    size, pending = 0, False
    for at in range(start, stop):
        byte = bytes_map[data[at]]
        if byte == GAP:
            pending = size > 0
            continue
        if pending:
            out[size] = SPACE
            size += 1
            pending = False
        out[size] = byte
        size += 1
    return size


@lean_kernel
def _add(data: Any, begin: Any, end: Any, how: Any, least: Any, bytes_map: Any, found: Any, scratch: Any, count: Any) -> Any:
    """Put a passage in the place `count` of those found, if it has `least` characters and anything to compare; returns whether it has."""
    _, _, first, second, begins, ends, foreign = found
    begin, end = strip(data, begin, end)
    if end - begin < least or begin == end:
        return False
    content = _content(data, begin, end)
    if content == FOREIGN and num_chars(data, begin, end) < least:
        return False
    begins[count], ends[count], foreign[count] = begin, end, False
    if how == AS_IS or (how == SPACES and content == PLAIN):
        first[count], second[count] = murmur128(data, begin, end)
    elif content == FOREIGN:
        foreign[count] = True
    else:
        size = _mapped(data, begin, end, bytes_map, scratch)
        if size == 0:
            return False
        first[count], second[count] = murmur128(scratch, 0, size)
    return True


@lean_kernel
def _scan(offsets: Any, data: Any, valid: Any, kind: Any, how: Any, least: Any, bytes_map: Any, found: Any, scratch: Any) -> Any:
    """Find the passages of each text that is valid; returns how many there are."""
    count = np.int64(0)
    for row in range(len(offsets) - 1):
        if not valid[row]:
            continue
        at, stop = offsets[row], offsets[row + 1]
        number = 0
        while at < stop:
            begin, end = np.int64(at), np.int64(stop)
            if kind == LINES:
                end = next_newline(data, at, stop)
            else:
                begin, end = _paragraph(data, at, stop)
            if _add(data, begin, end, how, least, bytes_map, found, scratch, count):
                found.documents[count], found.numbers[count] = row, number
                count += 1
            number += 1
            at = end + 1
    return count


def find_passages(offsets: Ints, data: Bytes, valid: Bools, kind: int, how: int, least: int, bytes_map: npt.NDArray[np.uint16]) -> Passages:
    """The passages of each valid text that have at least so many characters (white space at their ends not counted) and are not blank.

    Those that are all ASCII, and with `AS_IS` all, have their MurmurHash3 x64_128; `foreign` ones, of which `least` holds too, have not.
    """
    begin, end = int(offsets[0]), int(offsets[-1])
    most = len(offsets) - 1 + min(int(np.count_nonzero(data[begin:end] == NEWLINE)), (end - begin) // (least + 1))
    longest = int(np.diff(offsets).max(initial=0))
    kinds = (np.int64, np.int32, np.uint64, np.uint64, np.int64, np.int64, np.bool_)
    found = Passages(*(np.empty(most, each) for each in kinds))
    count = _scan(offsets, data, valid, kind, how, least, bytes_map, found, np.empty(longest, np.uint8))
    return Passages(*(column[:count] for column in found))


@lean_kernel
def _copy_all(data: Any, begins: Any, ends: Any, offsets: Any, out: Any) -> None:
    end = np.int64(0)
    for i in range(len(begins)):
        end = copy(data, begins[i], ends[i], out, end)
        offsets[i + 1] = end


def copied(data: Bytes, begins: Ints, ends: Ints) -> tuple[Ints, Bytes]:
    """Some pieces of the data one behind the other: offsets from zero, and bytes."""
    offsets, out = np.zeros(len(begins) + 1, np.int64), np.empty(int((ends - begins).sum()), np.uint8)
    _copy_all(data, begins, ends, offsets, out)
    return offsets, out


# --- hashes within a scope


@lean_kernel
def _scope(documents: Any, scope_first: Any, scope_second: Any, first: Any, second: Any, words: Any) -> None:
    """Replace each hash by the one of the words of its document's scope and its own."""
    for i in range(len(documents)):
        store64(words, 0, scope_first[documents[i]])
        store64(words, 8, scope_second[documents[i]])
        store64(words, 16, first[i])
        store64(words, 24, second[i])
        first[i], second[i] = murmur128(words, 0, 32)


def scoped(documents: Ints, scope_first: U64, scope_second: U64, first: U64, second: U64) -> tuple[U64, U64]:
    """Hashes of passages that are equal only where the scopes of their documents are, too."""
    first, second = first.copy(), second.copy()
    _scope(documents, scope_first, scope_second, first, second, np.empty(32, np.uint8))
    return first, second


# --- texts without passages


@lean_kernel
def _without_lines(data: Any, start: Any, stop: Any, numbers: Any, i: Any, last: Any, out: Any, end: Any) -> Any:
    """Write a text without the lines `numbers[i:last]`; returns where it ends and how many of them it had."""
    floor, at, copied, number = end, np.int64(start), np.int64(start), 0
    num_cut = 0
    while i < last and at <= stop:
        line_end = next_newline(data, at, stop)
        if number == numbers[i]:
            end = copy(data, copied, at, out, end)
            if line_end == stop and end > floor:
                end -= 1  # the line feed before the last line
            copied = min(line_end + 1, stop)
            num_cut += 1
            i += 1
        number += 1
        at = line_end + 1
    return copy(data, copied, stop, out, end), num_cut


@lean_kernel
def _without_paragraphs(data: Any, start: Any, stop: Any, numbers: Any, i: Any, last: Any, out: Any, end: Any) -> Any:
    """Write a text without the paragraphs `numbers[i:last]`; returns where it ends and how many of them it had.

    Each goes with what is behind it up to the next one. Where the last ones go, what is behind the last of all stands behind the last that
    stays. A text of which none stays is empty.
    """
    floor, number, num_cut, kept_end = end, 0, 0, np.int64(-1)
    begin, paragraph_end = _paragraph(data, start, stop)
    end = copy(data, start, begin, out, end)
    is_cut = False
    while begin < stop:
        following, following_end = _paragraph(data, min(paragraph_end + 1, stop), stop)
        is_cut = i < last and number == numbers[i]
        if is_cut:
            num_cut += 1
            i += 1
            if following == stop and kept_end >= 0:
                end = copy(data, paragraph_end, stop, out, kept_end)
        else:
            kept_end = copy(data, begin, paragraph_end, out, end)
            end = copy(data, paragraph_end, following, out, kept_end)
        number += 1
        begin, paragraph_end = following, following_end
    return (end if kept_end >= 0 else floor), num_cut


@lean_kernel
def _cut(offsets: Any, data: Any, kind: Any, documents: Any, numbers: Any, out_offsets: Any, out: Any, removed: Any, left: Any) -> Any:
    """Write the texts without some passages; returns how many of those there were."""
    end, i, total = np.int64(0), np.int64(0), 0
    for row in range(len(offsets) - 1):
        start, stop, floor, last = offsets[row], offsets[row + 1], end, i
        while last < len(documents) and documents[last] == row:
            last += 1
        if last == i:
            end = copy(data, start, stop, out, end)
        else:
            if kind == LINES:
                end, num_cut = _without_lines(data, start, stop, numbers, i, last, out, end)
            else:
                end, num_cut = _without_paragraphs(data, start, stop, numbers, i, last, out, end)
            total += num_cut
            removed[row] = num_chars(data, start, stop) - num_chars(out, floor, end)
            begin, content_end = strip(out, floor, end)
            left[row] = num_chars(out, begin, content_end)
        i = last
        out_offsets[row + 1] = end
    return total


class Cut(NamedTuple):
    """Texts without some passages.

    Attributes:
        offsets, data: The texts.
        removed: int64, by text: characters that went.
        left: int64, by text: characters that are left, white space at both ends not counted; -1 for a text of which nothing was cut.
        num_passages: How many of the passages there were.
    """

    offsets: Ints
    data: Bytes
    removed: Ints
    left: Ints
    num_passages: int


def cut_passages(offsets: Ints, data: Bytes, kind: int, documents: Ints, numbers: Numbers) -> Cut:
    """The texts without the passages of these numbers; sorted by document, then number, none twice."""
    num_rows, num_bytes = len(offsets) - 1, int(offsets[-1] - offsets[0])
    out_offsets, out = np.zeros(num_rows + 1, np.int64), np.empty(num_bytes, np.uint8)
    removed, left = np.zeros(num_rows, np.int64), np.full(num_rows, -1, np.int64)
    total = _cut(offsets, data, kind, documents, numbers, out_offsets, out, removed, left)
    return Cut(out_offsets, out, removed, left, int(total))
