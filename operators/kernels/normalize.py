"""Which lines a repair of text could change, and how repaired lines come back among the others.

A line that holds nothing but plain ASCII is passed over at the speed of memory. Of the others a machine reads each character once: a set of
patterns of a few characters (`Patterns`) whose every match is suspicious, and the quick check of a Unicode normalization form (UAX #15).
What is not suspicious, the repair would leave as it is; what is, a library looks at.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.unicode import decode

LINE_FEED, AMPERSAND, SEMICOLON, HASH, ANGLE, SPACE, TAB, RETURN = (np.uint8(ord(sign)) for sign in "\n&;#< \t\r")
LONGEST_ENTITY: Final = 24
LOOK_BACK: Final = 8  # plain characters before the first telling one that a pattern may begin with

# What a code point means for a normalization form; the lowest eight bits are its combining class.
CLASS_BITS: Final = 0xFF
CHANGES: Final = 0x100  # never occurs in normalized text, or may compose with what is before
COMPOSES: Final = 0x200  # a starter that may compose with the character directly before it
LEADS: Final = 0x400  # may compose with a starter directly behind it

# What `tidy` does.
BREAKS: Final = 1  # every line break becomes a line feed
CONTROLS: Final = 2  # control characters go
INVISIBLE: Final = 4  # zero-width spaces, word joiners, byte order marks and soft hyphens go
COLLAPSE: Final = 8  # runs of spaces and tabs become a space
TRIM: Final = 16  # spaces and tabs at the end of a line go


class Patterns(NamedTuple):
    """Suspicious sequences of characters, read by a machine that keeps a bit for each place in each sequence (Shift-And).

    Attributes:
        telling: uint8, by byte: 1 where a line that holds it must be read.
        pages: uint16, by `code >> 8`: the page of the code point.
        classes: uint8, by `(page << 8) | (code & 255)`: its class.
        marks: uint16, likewise: what it means for the normalization form, 0 for nothing.
        masks: uint64, by class and word: the places at which it may stand.
        firsts, lasts: uint64, by word: the first and last places of the sequences.
    """

    telling: npt.NDArray[np.uint8]
    pages: npt.NDArray[np.uint16]
    classes: npt.NDArray[np.uint8]
    marks: npt.NDArray[np.uint16]
    masks: npt.NDArray[np.uint64]
    firsts: npt.NDArray[np.uint64]
    lasts: npt.NDArray[np.uint64]


@kernel
def _telling(data: Any, at: Any, stop: Any, telling: Any) -> Any:
    """The next place whose byte tells something."""
    while at < stop and telling[data[at]] == 0:
        at += 1
    return at


@kernel
def _line_end(data: Any, at: Any, stop: Any) -> Any:
    """Where the line ends that a place lies in, its line feed included."""
    while at < stop and data[at] != LINE_FEED:
        at += 1
    return at + 1 if at < stop else stop


@kernel
def _has_angle(data: Any, at: Any, stop: Any) -> Any:
    """Is there an angle bracket."""
    while at < stop and data[at] != ANGLE:
        at += 1
    return at < stop


@kernel
def _is_entity(data: Any, at: Any, stop: Any) -> Any:
    """Does something written as a character reference of HTML begin at an ampersand."""
    begin = at + 1
    if begin < stop and data[begin] == HASH:
        begin += 1
    place = begin
    while place < stop and place - begin <= LONGEST_ENTITY:
        sign = data[place] | 32 if data[place] >= 64 else data[place]
        if not (48 <= sign <= 57 or 97 <= sign <= 122):
            break
        place += 1
    return 0 < place - begin <= LONGEST_ENTITY and place < stop and data[place] == SEMICOLON


@kernel
def _is_suspicious(data: Any, at: Any, stop: Any, patterns: Any) -> Any:
    """Does a line hold a suspicious sequence, or characters that may not be normalized."""
    pages, classes, marks, masks = patterns.pages, patterns.classes, patterns.marks, patterns.masks
    first0, first1, last0, last1 = patterns.firsts[0], patterns.firsts[1], patterns.lasts[0], patterns.lasts[1]
    state0, state1, one, top = np.uint64(0), np.uint64(0), np.uint64(1), np.uint64(63)
    before = np.int64(0)
    while at < stop:
        code, size = decode(data, at, stop)
        at += size
        place = (np.int64(pages[code >> 8]) << 8) | (code & 255)
        kind = classes[place]
        carried = state0 >> top
        state0 = ((state0 << one) | first0) & masks[kind, 0]
        state1 = ((state1 << one) | carried | first1) & masks[kind, 1]
        if (state0 & last0) | (state1 & last1):
            return True
        mark = np.int64(marks[place])
        if mark:
            combining = mark & CLASS_BITS
            if mark & CHANGES or (combining and before & CLASS_BITS > combining):
                return True
            if mark & COMPOSES and before & (LEADS | CLASS_BITS):
                return True
        before = mark
    return False


@kernel
def suspicious_lines(offsets: Any, data: Any, patterns: Any, entities: Any, spared_by_angle: Any) -> Any:
    """Find the lines that a repair could change.

    Character references of HTML are suspicious with `entities`; with `spared_by_angle` not in or behind a line that has an angle bracket.

    Returns:
        Row, begin and end of each line, and whether its text had an angle bracket before it (then 1).
    """
    count, found = 0, np.empty((4, 64), np.int64)
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        floor, angle_seen, seen_to = start, False, start
        at = _telling(data, start, stop, patterns.telling)
        while at < stop:
            begin = at
            while begin > floor and data[begin - 1] != LINE_FEED:
                begin -= 1
            end = _line_end(data, at, stop)
            is_found = _is_suspicious(data, max(begin, at - LOOK_BACK), end, patterns)
            has_entity = False
            if entities and not is_found:
                for place in range(at, end):
                    has_entity = has_entity or (data[place] == AMPERSAND and _is_entity(data, place, end))
            if spared_by_angle and (is_found or has_entity):
                angle_seen = angle_seen or _has_angle(data, seen_to, begin)
                seen_to = begin
                has_entity = has_entity and not angle_seen and not _has_angle(data, begin, end)
            if is_found or has_entity:
                if count == found.shape[1]:
                    larger = np.empty((4, 2 * count), np.int64)
                    larger[:, :count] = found
                    found = larger
                found[0, count], found[1, count], found[2, count], found[3, count] = row, begin, end, angle_seen
                count += 1
            floor = end
            at = _telling(data, end, stop, patterns.telling)
    return found[:, :count].copy()


@kernel
def splice(offsets: Any, data: Any, begins: Any, ends: Any, part_offsets: Any, parts: Any) -> Any:
    """The texts with some pieces (in order, none over the end of a row) replaced by parts: offsets from zero, and bytes."""
    num_rows, num_parts = len(offsets) - 1, len(begins)
    size = offsets[num_rows] - offsets[0] + part_offsets[num_parts]
    for i in range(num_parts):
        size -= ends[i] - begins[i]
    out, out_offsets = np.empty(size, np.uint8), np.zeros(num_rows + 1, np.int64)
    end, place, i = np.int64(0), offsets[0], 0
    for row in range(num_rows):
        while i < num_parts and ends[i] <= offsets[row + 1]:
            length = begins[i] - place
            out[end : end + length] = data[place : place + length]
            end += length
            length = part_offsets[i + 1] - part_offsets[i]
            out[end : end + length] = parts[part_offsets[i] : part_offsets[i + 1]]
            end, place = end + length, ends[i]
            i += 1
        length = offsets[row + 1] - place
        out[end : end + length] = data[place : place + length]
        end, place = end + length, offsets[row + 1]
        out_offsets[row + 1] = end
    return out_offsets, out


@kernel
def changed_rows(offsets: Any, data: Any, new_offsets: Any, new_data: Any) -> Any:
    """Which rows of two columns of texts differ."""
    changed = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(changed)):
        begin, size = offsets[row], offsets[row + 1] - offsets[row]
        new_begin = new_offsets[row]
        if size != new_offsets[row + 1] - new_begin:
            changed[row] = True
            continue
        for i in range(size):
            if data[begin + i] != new_data[new_begin + i]:
                changed[row] = True
                break
    return changed


@kernel
def _gone(data: Any, at: Any, stop: Any, actions: Any) -> Any:
    """How many bytes at a place are a character that goes; 0 if it stays."""
    first = data[at]
    if first < 0x80:
        is_control = first < 32 or first == 127
        return 1 if is_control and actions & CONTROLS and first != TAB and first != LINE_FEED and first != RETURN and first != 12 else 0
    second = data[at + 1] if at + 1 < stop else np.uint8(0)
    if first == 0xC2:
        if actions & CONTROLS and 0x80 <= second < 0xA0 and second != 0x85:
            return 2
        return 2 if actions & INVISIBLE and second == 0xAD else 0
    if actions & INVISIBLE == 0 or at + 2 >= stop:
        return 0
    third = data[at + 2]
    if first == 0xE2:
        return 3 if (second == 0x80 and third == 0x8B) or (second == 0x81 and third == 0xA0) else 0
    return 3 if first == 0xEF and second == 0xBB and third == 0xBF else 0


@kernel
def _break(data: Any, at: Any, stop: Any) -> Any:
    """How many bytes at a place are a line break; 0 if there is none."""
    first = data[at]
    if first == LINE_FEED:
        return 1
    if first == RETURN:
        return 2 if at + 1 < stop and data[at + 1] == LINE_FEED else 1
    if first == 0xC2:
        return 2 if at + 1 < stop and data[at + 1] == 0x85 else 0
    if first == 0xE2 and at + 2 < stop and data[at + 1] == 0x80 and (data[at + 2] == 0xA8 or data[at + 2] == 0xA9):
        return 3
    return 0


@kernel
def tidy(offsets: Any, data: Any, actions: Any, max_newlines: Any) -> Any:
    """The texts with white space and invisible characters put in order: offsets from zero, and bytes.

    First line breaks, then what goes, then runs of spaces, then ends of lines, then runs of line feeds (of `max_newlines`; -1: any).
    """
    out, out_offsets = np.empty(offsets[len(offsets) - 1] - offsets[0], np.uint8), np.zeros(len(offsets), np.int64)
    kinds = _kinds(actions)
    end = np.int64(0)
    for row in range(len(offsets) - 1):
        at, stop, begin, newlines, is_spaced = offsets[row], offsets[row + 1], end, 0, False
        while at < stop:
            sign = data[at]
            if kinds[sign] == 0:
                out[end] = sign
                end += 1
                at += 1
                newlines = 0
                is_spaced = False
                continue
            size = _break(data, at, stop) if actions & BREAKS or sign == LINE_FEED else 0
            if size:
                at += size
                if actions & TRIM:
                    end = _trimmed(out, begin, end)
                elif is_spaced:
                    newlines = 0
                is_spaced = False
                newlines += 1
                if max_newlines < 0 or newlines <= max_newlines:
                    out[end] = LINE_FEED
                    end += 1
                continue
            size = _gone(data, at, stop, actions)
            if size:
                at += size
                continue
            at += 1
            if sign == SPACE or sign == TAB:  # noqa: SIM109
                if actions & COLLAPSE == 0:
                    out[end] = sign
                    end += 1
                elif end == begin or out[end - 1] != SPACE:
                    out[end] = SPACE
                    end += 1
                is_spaced = True
                continue
            out[end] = sign
            end += 1
            newlines = 0
            is_spaced = False
        if actions & TRIM:
            end = _trimmed(out, begin, end)
        out_offsets[row + 1] = end
    return out_offsets, out


@kernel
def _kinds(actions: Any) -> Any:
    """By byte: 1 where `tidy` must look closer."""
    kinds = np.zeros(256, np.uint8)
    kinds[9], kinds[10], kinds[32] = 1, 1, 1
    if actions & CONTROLS:
        kinds[:32] = 1
        kinds[127] = 1
    if actions & (BREAKS | CONTROLS | INVISIBLE):
        kinds[13], kinds[0xC2], kinds[0xE2], kinds[0xEF] = 1, 1, 1, 1
    return kinds


@kernel
def _trimmed(out: Any, begin: Any, end: Any) -> Any:
    """The end without the spaces and tabs before it."""
    while end > begin and (out[end - 1] == SPACE or out[end - 1] == TAB):
        end -= 1
    return end
