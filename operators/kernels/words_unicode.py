"""Words of any language over bytes: the segments of Unicode's word boundaries (UAX #29), without white space.

`split_unicode(word_tables, data, start, stop, starts, ends)` has the interface of `words_english.split_english`, and
`split_words(mode, …)` is one or the other, chosen by the document: `ENGLISH` or `UNICODE`.

Every segment is a word, punctuation marks and symbols too, each by itself ("..." is three), but those that begin with white space or a
control or format character. Where words are not separated by spaces, each letter with the marks that follow it is a word: Unicode has it
so for Han, Hiragana, Thai, Lao, Khmer and Myanmar; here it is so for Katakana and Tibetan as well, whose letters it would join.
Digits are joined in every script. Properties are of the version of Unicode in `words_unicode_data`, whatever Python's is.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels import words_unicode_data as source
from operators.kernels.jit import kernel
from operators.kernels.pointers import pointer
from operators.kernels.unicode import NUM_CODES, decode
from operators.kernels.words_english import split_english

ENGLISH: Final = 0
UNICODE: Final = 1

# Values of Word_Break, in the order of `words_unicode_source.PROPERTIES`.
LETTER: Final = 1
HEBREW: Final = 2
NUMERIC: Final = 3
CONNECTOR: Final = 4  # ExtendNumLet: "_"
MID_LETTER: Final = 5
MID_BOTH: Final = 6  # MidNumLet: "."
SINGLE_QUOTE: Final = 7
MID_NUMBER: Final = 8
DOUBLE_QUOTE: Final = 9
EXTEND: Final = 10
FORMAT: Final = 11
JOINER: Final = 12  # ZWJ
REGIONAL: Final = 13
NEWLINE: Final = 14
VALUE: Final = 31
SILENT: Final = 32  # white space, control and format characters
PICTOGRAPH: Final = 64


class WordTables(NamedTuple):
    """What `split_unicode` needs to know.

    Attributes:
        pages: uint16, by `code >> 8`: the page of the code point; that of ASCII is 0.
        classes: uint8, by `(page << 8) | (code & 255)`: the value of Word_Break and flags.
    """

    pages: npt.NDArray[np.uint16]
    classes: npt.NDArray[np.uint8]


@cache
def word_tables() -> WordTables:
    """The tables, made once a process (about 10 ms)."""
    runs = [run.split(":") for run in source.CLASSES.split()]
    firsts = [int(first, 16) for first, _ in runs]
    flat = np.repeat(np.array([int(bits, 16) for _, bits in runs], np.uint8), np.diff([*firsts, NUM_CODES]))
    numbers: dict[bytes, int] = {}
    pages = np.array([numbers.setdefault(page.tobytes(), len(numbers)) for page in flat.reshape(-1, 256)], np.uint16)
    found = WordTables(pages, np.frombuffer(b"".join(numbers), np.uint8))
    for array in found:
        array.flags.writeable = False
    return found


@kernel
def _class(pages: Any, classes: Any, code: Any) -> Any:
    return np.int64(classes[(np.int64(pages[code >> 8]) << 8) | (code & 255)])


@kernel
def _is_ignored(value: Any) -> Any:
    """Whether a character belongs to the one before it, whatever that is, and rules look through it (WB4)."""
    return EXTEND <= value <= JOINER


@kernel
def _value_after(pages: Any, classes: Any, data: Any, at: Any, stop: Any) -> Any:
    """Word_Break of the next character from a place on that rules don't look through; 0 at the end."""
    while at < stop:
        code, size = decode(data, at, stop)
        value = _class(pages, classes, code) & VALUE
        if not _is_ignored(value):
            return value
        at += size
    return 0


@kernel
def _is_joined(last: Any, value: Any, after: Any) -> Any:
    """Whether there is no boundary between two characters; `after` comes after them if the second is a middle one (WB5 to WB13b)."""
    is_letter, was_letter = value in (LETTER, HEBREW), last in (LETTER, HEBREW)
    if is_letter or value in (NUMERIC, CONNECTOR):
        return was_letter or last in (NUMERIC, CONNECTOR)
    if was_letter and value in (MID_LETTER, MID_BOTH, SINGLE_QUOTE):
        return after in (LETTER, HEBREW) or (last == HEBREW and value == SINGLE_QUOTE)
    if last == HEBREW and value == DOUBLE_QUOTE:
        return after == HEBREW
    if last == NUMERIC and value in (MID_NUMBER, MID_BOTH, SINGLE_QUOTE):
        return after == NUMERIC
    return False


@kernel
def _segment_end(pages: Any, classes: Any, data: Any, at: Any, stop: Any) -> Any:
    """Where the segment that begins at a place ends, and whether it is a word."""
    code, size = decode(data, at, stop)
    found = _class(pages, classes, code)
    at += size
    is_word = found & SILENT == 0
    last = found & VALUE
    previous, num_regional, is_expected = last, 1, False
    while at < stop and last != NEWLINE:
        code, size = decode(data, at, stop)
        found = _class(pages, classes, code)
        value = found & VALUE
        if not _is_ignored(value):
            after = _value_after(pages, classes, data, at + size, stop) if MID_LETTER <= value <= DOUBLE_QUOTE else 0
            is_pair = value == REGIONAL and last == REGIONAL and num_regional & 1
            is_emoji = previous == JOINER and found & PICTOGRAPH
            if not (is_expected or is_pair or is_emoji or _is_joined(last, value, after)):
                break
            # A middle character is joined because of the one after it, which is looked at again; but WB7a needs none.
            is_expected = after != 0 and not (last == HEBREW and value == SINGLE_QUOTE and after not in (LETTER, HEBREW))
            num_regional += value == REGIONAL
            last = value
        is_word |= found & SILENT == 0
        previous = value
        at += size
    return at, is_word


@kernel
def _split(pages: Any, classes: Any, data: Any, start: Any, stop: Any, starts: Any, ends: Any) -> Any:
    """As `split_unicode`, over pointers."""
    base, at, count = np.int64(start), np.int64(start), np.int64(0)
    while at < stop:
        first = at
        # ASCII letters, digits and "_" are joined to each other.
        while at < stop and data[at] < 128 and LETTER <= classes[data[at]] <= CONNECTOR:
            at += 1
        is_word = at > first
        is_end = at == stop or (data[at] < 128 and classes[data[at]] & VALUE == NEWLINE)
        if is_end and not is_word:
            at += 1
        elif not is_end:
            # One character back, since what follows may be joined to it.
            at, is_word = _segment_end(pages, classes, data, max(first, at - 1), stop)
        if is_word:
            starts[count] = first - base
            ends[count] = at - base
            count += 1
    return count


@kernel
def split_unicode(word_tables: Any, data: Any, start: Any, stop: Any, starts: Any, ends: Any) -> Any:
    """Write the bounds of the words of the text `data[start:stop]`, int32 relative to `start`; returns their number.

    `starts` and `ends` have room for `stop - start + 1` words.
    """
    pages, classes = pointer(word_tables.pages), pointer(word_tables.classes)
    return _split(pages, classes, pointer(data), np.int64(start), np.int64(stop), pointer(starts), pointer(ends))


@kernel
def split_words(
    mode: Any, english_rules: Any, word_tables: Any, tables: Any, data: Any, start: Any, stop: Any, starts: Any, ends: Any
) -> Any:
    """Words in the mode `ENGLISH` or `UNICODE`; as `split_english` and `split_unicode`."""
    if mode == ENGLISH:
        return split_english(english_rules, tables, data, start, stop, starts, ends)
    return split_unicode(word_tables, data, start, stop, starts, ends)


@kernel
def split_batch(mode: Any, english_rules: Any, word_tables: Any, tables: Any, offsets: Any, data: Any) -> Any:
    """The words of texts given by Arrow's offsets and bytes: offsets of lists of words, and where the words begin and end in `data`."""
    num_rows = len(offsets) - 1
    longest = np.int64(0)
    for row in range(num_rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    starts, ends = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int32)
    lists = np.zeros(num_rows + 1, np.int64)
    bounds = np.empty((1024, 2), np.int64)
    for row in range(num_rows):
        count = split_words(mode, english_rules, word_tables, tables, data, offsets[row], offsets[row + 1], starts, ends)
        done = lists[row]
        lists[row + 1] = done + count
        if done + count > len(bounds):
            grown = np.empty((2 * (done + count), 2), np.int64)
            grown[:done] = bounds[:done]
            bounds = grown
        for word in range(count):
            bounds[done + word, 0] = offsets[row] + starts[word]
            bounds[done + word, 1] = offsets[row] + ends[word]
    return lists, bounds[: lists[num_rows]]
