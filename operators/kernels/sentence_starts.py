"""Where the sentences of a text begin, with words only of those pieces that can end or begin one.

A sentence ends with a word that is a mark such as the full stop, and the punctuation after it belongs to it, as in spaCy's `sentencizer`.
So only a piece between white space that holds a mark is split into words, and of the piece after it matters only whether all of it is
punctuation. White space is a word too, as in spaCy, unless it is one blank after a word.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel
from operators.kernels.lines import space_size
from operators.kernels.marks import SENTENCE_MARKS
from operators.kernels.unicode import PUNCTUATION, Tables, class_of, decode, tables
from operators.kernels.words_english import EnglishRules, english_rules
from operators.kernels.words_unicode import ENGLISH, WordTables, split_words, word_tables

# What a byte says by itself.
INSIDE: Final = 0  # nothing begins here
BLANK: Final = 1  # white space of one byte
MARK: Final = 2  # a mark of one byte
WIDE: Final = 3  # white space, a mark or another character of several bytes


class SentenceMarks(NamedTuple):
    """The marks that end sentences, for kernels.

    Attributes:
        kinds: uint8, by byte: `INSIDE`, `BLANK`, `MARK` or `WIDE`.
        codes: int32, the marks of several bytes in ascending order.
    """

    kinds: npt.NDArray[np.uint8]
    codes: npt.NDArray[np.int32]


@cache
def sentence_marks() -> SentenceMarks:
    """The marks, made once."""
    kinds = np.zeros(256, np.uint8)
    kinds[[*range(9, 14), *range(28, 33)]] = BLANK
    for char in [*SENTENCE_MARKS, "\u0085", "\u00a0", "\u1680", "\u2000", "\u3000"]:
        first = char.encode()[0]
        kinds[first] = MARK if first < 0x80 else WIDE
    codes = np.array(sorted(ord(char) for char in SENTENCE_MARKS if ord(char) >= 0x80), np.int32)
    kinds.flags.writeable = codes.flags.writeable = False
    return SentenceMarks(kinds, codes)


class Lexicon(NamedTuple):
    """What characters, words and ends of sentences are, for kernels."""

    english: EnglishRules
    words: WordTables
    tables: Tables
    marks: SentenceMarks


@cache
def lexicon() -> Lexicon:
    """The lexicon, made once."""
    return Lexicon(english_rules(), word_tables(), tables(), sentence_marks())


@lean_kernel
def _is_mark(marks: Any, code: Any) -> Any:
    """Whether a character is a mark."""
    if code < 0x80:
        return marks.kinds[code] == MARK
    low, high = 0, len(marks.codes)
    while low < high:
        middle = (low + high) >> 1
        if marks.codes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low < len(marks.codes) and marks.codes[low] == code


@lean_kernel
def _is_punctuation(tables: Any, data: Any, start: Any, stop: Any) -> Any:
    """Whether each character is punctuation (general category P*)."""
    while start < stop:
        code, size = decode(data, start, stop)
        if not class_of(tables, code) & PUNCTUATION:
            return False
        start += size
    return True


@lean_kernel
def max_sentences(marks: Any, data: Any, start: Any, stop: Any) -> Any:
    """A number that the sentences of a text cannot exceed: each but the last has a mark."""
    count = np.int64(1)
    for at in range(start, stop):
        count += marks.kinds[data[at]] >= MARK
    return count


@lean_kernel
def _piece(marks: Any, data: Any, at: Any, stop: Any) -> Any:
    """Where the piece that begins at a place ends (at white space), and whether it holds a mark."""
    has_mark = False
    while at < stop:
        kind = marks.kinds[data[at]]
        if kind == INSIDE:
            at += 1
        elif kind == MARK:
            has_mark = True
            at += 1
        elif kind == BLANK or space_size(data, at, stop):
            break
        else:
            code, size = decode(data, at, stop)
            has_mark = has_mark or _is_mark(marks, code)
            at += size
    return at, has_mark


@lean_kernel
def sentence_starts(mode: Any, lexicon: Any, data: Any, start: Any, stop: Any, starts: Any, ends: Any, limit: Any, found: Any) -> Any:
    """Number of the sentences of a text, at most `limit`, and where they begin. Every text has one, an empty one too.

    Args:
        mode: How pieces are split into words, see `words_unicode`.
        lexicon: What characters, words and ends of sentences are.
        data: Bytes.
        start: Where the text begins.
        stop: Where it ends.
        starts: int32 scratch for a piece's words, room for one more than its bytes.
        ends: Likewise.
        limit: Count no further, at least 1.
        found: int64, gets the places where sentences begin, as many as it has room for.
    """
    tables, marks = lexicon.tables, lexicon.marks
    count = np.int64(1)
    if len(found) > 0:
        found[0] = start
    ended = False  # a mark was seen, and since then nothing but punctuation
    at = np.int64(start)
    while at < stop and count < limit:
        piece = at
        at, has_mark = _piece(marks, data, at, stop)
        begins = np.int64(-1)
        opens = ended and at > piece and _is_punctuation(tables, data, piece, piece + decode(data, piece, at)[1])
        if has_mark or opens or (ended and mode != ENGLISH):
            num_words = split_words(mode, lexicon.english, lexicon.words, tables, data, piece, at, starts, ends)
            for word in range(num_words):
                first, last = piece + starts[word], piece + ends[word]
                code, size = decode(data, first, last)
                if first + size == last and _is_mark(marks, code):
                    ended = True
                elif ended and not _is_punctuation(tables, data, first, last):
                    ended = False
                    if count < len(found):
                        found[count] = first
                    count += 1
        elif ended and at > piece:
            begins = piece
        space = at
        while at < stop:
            size = space_size(data, at, stop)
            if size == 0:
                break
            at += size
        if begins < 0 and ended and (at - space > 1 or (at > space and data[space] != 32)):
            begins = space
        if begins >= 0:
            ended = False
            if count < len(found):
                found[count] = begins
            count += 1
    return min(count, limit)
