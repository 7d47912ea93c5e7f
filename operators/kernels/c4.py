"""C4's rules over Arrow's offsets and bytes: which lines of a document stay, which documents go, and the text that is left.

Everything is decided in one pass over a document; text is written only once something in it changes, and from then on once.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.boilerplate import (
    BRACKET,
    CURLY,
    JAVASCRIPT,
    LOREM_IPSUM,
    PHRASE,
    POLICY,
    candidates,
    citation_size,
    has_longer_word,
    has_words,
    phrases,
    without_citations,
)
from operators.kernels.lean import lean_kernel
from operators.kernels.lines import copy, next_break, next_newline, strip
from operators.kernels.sentence_starts import max_sentences, sentence_starts
from operators.kernels.unicode import num_chars

# Signals, in the order of their columns. From KEPT to POLICY_LINES they say what became of a line, and add up to LINES.
LINES: Final = 0
KEPT: Final = 1
LONG_WORD_LINES: Final = 2
UNTERMINATED_LINES: Final = 3
SHORT_LINES: Final = 4
LOREM_IPSUM_LINES: Final = 5
JAVASCRIPT_LINES: Final = 6
CURLY_BRACKET_LINES: Final = 7
POLICY_LINES: Final = 8
SENTENCES: Final = 9
CITATIONS: Final = 10
NUM_SIGNALS: Final = 11

# Verdicts: 0 keeps the document.
LOREM_IPSUM_CODE: Final = 1
CURLY_BRACKET_CODE: Final = 2
TOO_FEW_SENTENCES_CODE: Final = 3

ALL: Final = np.int64(2**62)
NOWHERE: Final = np.int64(-2)  # no line begins after it


class C4Rules(NamedTuple):
    """What is tested, as numbers; a limit of -1 or a 0 is a test that is not made.

    Attributes:
        split_paragraph: Lines are judged; 0: sentences.
        remove_citations: Citations are cut out of lines.
        filter_no_terminal_punct: A line must end with a terminal mark.
        min_num_sentences: Fewest sentences of a document.
        min_words_per_line: Fewest words of a line.
        max_word_length: Most characters of a word in a line.
        filter_lorem_ipsum: The phrase drops the document.
        filter_javascript: The word drops a line.
        filter_curly_bracket: A bracket drops the document.
        filter_policy: Phrases of policies drop a line.
        edits: Text is written.
    """

    split_paragraph: int
    remove_citations: int
    filter_no_terminal_punct: int
    min_num_sentences: int
    min_words_per_line: int
    max_word_length: int
    filter_lorem_ipsum: int
    filter_javascript: int
    filter_curly_bracket: int
    filter_policy: int
    edits: int


class Scratch(NamedTuple):
    """Room to work in, for the longest document of a batch.

    Attributes:
        line: uint8, a line without its citations.
        line_view: The same bytes, read only: kernels are compiled for one type of text.
        starts: int32, words of a piece of text.
        ends: int32, likewise.
        found: int64, where sentences begin, where those are judged.
        none: int64, empty.
        counts: int64, signals of a document.
    """

    line: npt.NDArray[np.uint8]
    line_view: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    found: npt.NDArray[np.int64]
    none: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


def buffer_and_view(size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Bytes to write and the same bytes to read: kernels are compiled for one type of text, which is read only.

    Memory is taken only as far as something is written.
    """
    buffer = np.empty(size, np.uint8)
    view = buffer.view()
    view.flags.writeable = False
    return buffer, view


def scratch(longest: int, num_sentences: int) -> Scratch:
    """Room for documents of at most so many bytes, and sentences where those are judged."""
    words = np.empty((2, longest + 1), np.int32)
    counts = np.zeros(NUM_SIGNALS, np.int64)
    return Scratch(*buffer_and_view(longest), words[0], words[1], np.empty(num_sentences, np.int64), np.empty(0, np.int64), counts)


@lean_kernel
def _is_terminated(data: Any, start: Any, stop: Any) -> Any:
    """Whether a line ends with one of `. ? ! " '` and not with an ellipsis of full stops."""
    if start >= stop:
        return False
    last = data[stop - 1]
    if last == ord("."):
        return not (stop - start >= 3 and data[stop - 2] == ord(".") and data[stop - 3] == ord("."))
    return last == ord("?") or last == ord("!") or last == ord('"') or last == ord("'")


@lean_kernel
def _has_citation(tables: Any, data: Any, start: Any, stop: Any) -> Any:
    for at in range(start, stop):  # noqa: SIM110 -- numba compiles no generators
        if data[at] == ord("[") and citation_size(tables, data, at, stop) > 0:
            return True
    return False


@lean_kernel
def _fate(rules: Any, text: Any, start: Any, stop: Any, has_enough_words: Any, found: Any) -> Any:
    """What becomes of a line whose citations are gone; `found` tells what may be in it."""
    if not has_enough_words:
        return SHORT_LINES
    kinds = phrases(text, start, stop) if found & PHRASE else 0
    if rules.filter_lorem_ipsum and kinds & LOREM_IPSUM:
        return LOREM_IPSUM_LINES
    if rules.filter_javascript and kinds & JAVASCRIPT:
        return JAVASCRIPT_LINES
    if rules.filter_curly_bracket and found & CURLY:
        return CURLY_BRACKET_LINES
    if rules.filter_policy and kinds & POLICY:
        return POLICY_LINES
    return KEPT


@lean_kernel
def _judged_line(rules: Any, tables: Any, data: Any, start: Any, stop: Any, found: Any, line: Any, line_view: Any) -> Any:
    """What becomes of a stripped line; without its citations it has the returned size in `line`, -1 if it has none; their number."""
    if 0 <= rules.max_word_length < stop - start and has_longer_word(data, start, stop, rules.max_word_length):
        return LONG_WORD_LINES, np.int64(-1), np.int64(0)
    size, removed = np.int64(-1), np.int64(0)
    text, first, last = data, start, stop
    if rules.remove_citations and found & BRACKET and _has_citation(tables, data, start, stop):
        size, removed = without_citations(tables, data, start, stop, line)
        text, first, last, found = line_view, np.int64(0), size, PHRASE | CURLY
    if rules.filter_no_terminal_punct and not _is_terminated(text, first, last):
        return UNTERMINATED_LINES, size, removed
    if found & (PHRASE | CURLY):
        found = candidates(text, first, last)
    has_enough_words = has_words(data, start, stop, rules.min_words_per_line)
    return _fate(rules, text, first, last, has_enough_words, found), size, removed


@lean_kernel
def _document(
    mode: Any,
    lexicon: Any,
    rules: Any,
    scratch: Any,
    data: Any,
    start: Any,
    stop: Any,
    all_signals: Any,
    counts: Any,
    out: Any,
    out_view: Any,
    end: Any,
) -> Any:
    """Judge one document and write what is left of it to `out` from `end` on.

    Returns the verdict and where the text ends in `out`, -1 if it is as it was and nothing was written.
    """
    found = candidates(data, start, stop)
    num_sentences = np.int64(0)
    if not rules.split_paragraph:
        num_sentences = sentence_starts(mode, lexicon, data, start, stop, scratch.starts, scratch.ends, ALL, scratch.found)
    separator = np.uint8(10 if rules.split_paragraph else 32)
    code = 0
    # Lines that stay and follow each other in the document wait as one stretch of it to be copied; `is_whole` if that is all so far.
    waiting, waiting_stop, is_whole, into = NOWHERE, NOWHERE, True, np.int64(end)
    unit, at = np.int64(0), np.int64(start)
    while at < stop if rules.split_paragraph else unit < num_sentences:
        if rules.split_paragraph:
            line_stop, following = next_break(data, at, stop)
        else:
            line_stop = scratch.found[unit + 1] if unit + 1 < num_sentences else stop
            following = line_stop
        first, last = strip(data, at, line_stop)
        at = following
        unit += 1
        fate, size, removed = _judged_line(rules, lexicon.tables, data, first, last, found, scratch.line, scratch.line_view)
        counts[CITATIONS] += removed
        if fate in (LOREM_IPSUM_LINES, CURLY_BRACKET_LINES):
            if code == 0:
                code = LOREM_IPSUM_CODE if fate == LOREM_IPSUM_LINES else CURLY_BRACKET_CODE
            if not all_signals:
                return code, np.int64(-1)
        elif fate == KEPT:
            text = data
            if rules.edits and size < 0 and first == waiting_stop + 1 and data[waiting_stop] == separator:
                waiting_stop = last
            elif rules.edits:
                into = copy(data, waiting, waiting_stop, out, into)
                if counts[KEPT]:
                    out[into] = separator
                    into += 1
                    is_whole = False
                waiting, waiting_stop = first, last
            if size >= 0:
                text, first, last = scratch.line_view, np.int64(0), size
                if rules.edits:
                    into = copy(text, first, last, out, into)
                    waiting, waiting_stop, is_whole = NOWHERE, NOWHERE, False
            limit = ALL if all_signals else rules.min_num_sentences - counts[SENTENCES]
            if limit > 0 and rules.split_paragraph:
                counts[SENTENCES] += sentence_starts(mode, lexicon, text, first, last, scratch.starts, scratch.ends, limit, scratch.none)
            elif limit > 0:
                counts[SENTENCES] += 1
        counts[fate] += 1
    counts[LINES] = unit
    if code == 0 and counts[SENTENCES] < rules.min_num_sentences:
        code = TOO_FEW_SENTENCES_CODE
    if code != 0 or not rules.edits:
        return code, np.int64(-1)
    if is_whole:
        first, last = strip(data, waiting, waiting_stop)
        return code, copy(data, first, last, out, end) if last - first < stop - start else np.int64(-1)
    into = copy(data, waiting, waiting_stop, out, into)
    # A line is stripped before its citations are cut out, not after.
    first, last = strip(out_view, end, into)
    if first > end:
        copy(out_view, first, last, out, end)
    return code, end + last - first


@lean_kernel
def judge_c4(
    offsets: Any,
    data: Any,
    modes: Any,
    lexicon: Any,
    rules: Any,
    scratch: Any,
    all_signals: Any,
    codes: Any,
    signals: Any,
    out: Any,
    out_view: Any,
    out_offsets: Any,
) -> Any:
    """Judge the documents of a batch and write those texts that change, with the others around them.

    Args:
        offsets: Where documents begin and end.
        data: Their bytes.
        modes: int8, how each is split into words, see `words_unicode`.
        lexicon: What characters, words and sentences are.
        rules: What is tested.
        scratch: Room to work in.
        all_signals: Measure all, not just what the decision needs.
        codes: int8, gets the verdicts.
        signals: float64 (documents, `NUM_SIGNALS`), gets them if they are asked for.
        out: Room for the texts: as much as they have, twice that where sentences are judged; none where nothing is edited.
        out_view: The same bytes, read only.
        out_offsets: int64, gets where texts begin and end in `out`.

    Returns:
        Whether `out` and `out_offsets` hold the texts: some changed.
    """
    counts = scratch.counts
    end = np.int64(0)
    is_edited = False
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        counts[:] = 0
        code, written = _document(modes[row], lexicon, rules, scratch, data, start, stop, all_signals, counts, out, out_view, end)
        codes[row] = code
        if all_signals:
            for signal in range(NUM_SIGNALS):
                signals[row, signal] = counts[signal]
        if written >= 0 and not is_edited:
            # Until now `end` was where the documents before would end if they were written; now they are.
            copy(data, offsets[0], start, out, np.int64(0))
            is_edited = True
        if written >= 0:
            end = written
        elif is_edited:
            end = copy(data, start, stop, out, end)
        else:
            end += stop - start
        out_offsets[row + 1] = end
    return is_edited


@lean_kernel
def most_sentences(offsets: Any, data: Any, marks: Any) -> Any:
    """A number that the sentences of no document of a batch exceed."""
    found = np.int64(0)
    for row in range(len(offsets) - 1):
        found = max(found, max_sentences(marks, data, offsets[row], offsets[row + 1]))
    return found


@lean_kernel
def count_long_lines(offsets: Any, data: Any, min_chars: Any, found: Any) -> None:
    """Of each document of a batch the number of lines (between line feeds) that have at least so many characters, to int64 `found`."""
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        count = 0
        while at <= stop:
            end = next_newline(data, at, stop)
            count += end - at >= min_chars and num_chars(data, at, end) >= min_chars
            at = end + 1
        found[row] = count
