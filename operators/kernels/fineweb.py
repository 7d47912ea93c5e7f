"""FineWeb's rules over Arrow's offsets and bytes: how lines end, how short they are, which repeat, how many there are to the word.

Words are only counted until the decision is certain: a document has at least as many English words as pieces between white space, and
most have far more than their line feeds call for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel
from operators.kernels.lines import NEWLINE, is_blank, next_newline, num_slots, repeated_chars, space_size
from operators.kernels.unicode import num_chars
from operators.kernels.words_unicode import ENGLISH, split_words

# Signals, in the order of their columns.
LINES: Final = 0
LINE_PUNCT_RATIO: Final = 1
SHORT_LINE_RATIO: Final = 2
CHAR_DUP_RATIO: Final = 3
LIST_RATIO: Final = 4
WORDS: Final = 5
NUM_SIGNALS: Final = 6

# Thresholds, in the order of their columns.
LINE_PUNCT_THR: Final = 0
SHORT_LINE_THR: Final = 1
CHAR_DUPLICATES_RATIO: Final = 2
NEW_LINE_RATIO: Final = 3

# Verdicts: 0 keeps the document.
EMPTY_CODE: Final = 1
LINE_PUNCT_CODE: Final = 2
SHORT_LINE_CODE: Final = 3
CHAR_DUP_CODE: Final = 4
LIST_CODE: Final = 5

PIECE_BYTES: Final = 16384
SAMPLE_BYTES: Final = 1024


class Suffixes(NamedTuple):
    """Strings that a line may end with, for kernels.

    Attributes:
        first: int32 (257), by last byte: the first of the strings that end with it.
        bounds: int32, where each string's bytes begin, and the end.
        data: uint8, their bytes.
    """

    first: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int32]
    data: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, strings: Sequence[str]) -> Suffixes:
        """Some strings that are not empty."""
        encoded = sorted((string.encode() for string in set(strings)), key=lambda each: (each[-1], each))
        first = np.searchsorted([each[-1] for each in encoded], np.arange(257)).astype(np.int32)
        bounds = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
        return cls(first, bounds, np.frombuffer(b"".join(encoded) or b"\0", np.uint8))


class LineRules(NamedTuple):
    """What is the same for all documents.

    Attributes:
        line_punct_exclude_zero: Documents in which no line ends with a mark pass.
        short_line_length: Most characters of a short line.
    """

    line_punct_exclude_zero: int
    short_line_length: int


@lean_kernel
def _has_suffix(suffixes: Any, data: Any, start: Any, stop: Any) -> Any:
    """Whether a line, which is not empty, ends with one of the strings."""
    last = np.int64(data[stop - 1])
    for string in range(suffixes.first[last], suffixes.first[last + 1]):
        low, high = suffixes.bounds[string], suffixes.bounds[string + 1]
        size = high - low
        if size <= stop - start:
            same = 1
            while same < size and data[stop - 1 - same] == suffixes.data[high - 1 - same]:
                same += 1
            if same == size:
                return True
    return False


@lean_kernel
def _is_short(data: Any, start: Any, stop: Any, max_chars: Any) -> Any:
    """Whether a line has at most so many characters."""
    size = stop - start
    return size <= max_chars or (size <= 4 * max_chars and num_chars(data, start, stop) <= max_chars)


@lean_kernel
def _lines(suffixes: Any, max_chars: Any, data: Any, start: Any, stop: Any) -> Any:
    """Numbers of line feeds, of lines that are not blank, of those that end with a mark, and of those that are short."""
    newlines, lines, marked, short = np.int64(-1), np.int64(0), np.int64(0), np.int64(0)
    at = np.int64(start)
    while at <= stop:
        end = next_newline(data, at, stop)
        newlines += 1
        if not is_blank(data, at, end):
            lines += 1
            marked += _has_suffix(suffixes, data, at, end)
            short += _is_short(data, at, end, max_chars)
        at = end + 1
    return newlines, lines, marked, short


@lean_kernel
def _has_pieces(data: Any, start: Any, stop: Any, newlines: Any, threshold: Any) -> Any:
    """Whether the pieces between white space are certainly enough for the ratio of line feeds to words to pass."""
    pieces = np.int64(start < stop and 32 < data[start] < 127)  # a text may begin with white space
    at = np.int64(start)
    while at < stop - 1:
        if newlines / pieces <= threshold:
            return True
        until = min(at + SAMPLE_BYTES, stop - 1)
        for place in range(at, until):
            is_space = (data[place] == 32) | (data[place] == NEWLINE)
            pieces += is_space & (data[place + 1] > 32) & (data[place + 1] < 127)
        at = until
    return newlines / pieces <= threshold


@lean_kernel
def num_words(mode: Any, lexicon: Any, data: Any, start: Any, stop: Any, starts: Any, ends: Any, newlines: Any, threshold: Any) -> Any:
    """Words of a text, counted until the ratio of line feeds to them is at most a threshold; all of them if it is nan.

    White space separates words whatever the language, so that the text can be split a stretch at a time.
    """
    count = np.int64(0)
    at = np.int64(start)
    while at < stop and not newlines / count <= threshold:
        end = min(at + PIECE_BYTES, stop)
        while end < stop and space_size(data, end, stop) == 0:
            end += 1
        count += split_words(mode, lexicon.english, lexicon.words, lexicon.tables, data, at, end, starts, ends)
        at = end
    return count


@kernel
def judge_fineweb(
    offsets: Any,
    data: Any,
    profile: Any,
    thresholds: Any,
    modes: Any,
    rules: Any,
    suffixes: Any,
    lexicon: Any,
    starts: Any,
    ends: Any,
    all_signals: Any,
    codes: Any,
    signals: Any,
) -> None:
    """Judge the documents of a batch.

    Args:
        offsets: Where documents begin and end.
        data: Their bytes.
        profile: int32, by document: its line of thresholds.
        thresholds: float64 (lines, 4), nan for a test that is not made.
        modes: int8, by line of thresholds: how text is split into words.
        rules: What is the same for all.
        suffixes: What lines should end with.
        lexicon: What characters and words are.
        starts: int32 scratch, room for one more than the bytes of the longest document.
        ends: Likewise.
        all_signals: Measure all, not just what the decision needs.
        codes: int8, gets the verdicts.
        signals: float64 (documents, `NUM_SIGNALS`), gets them if they are asked for.
    """
    places, tags = np.empty(16, np.int32), np.empty(16, np.uint32)
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        limits, mode = thresholds[profile[row]], modes[profile[row]]
        newlines, lines, marked, short = _lines(suffixes, rules.short_line_length, data, start, stop)
        code = 0
        marked_ratio, short_ratio = marked / lines, short / lines
        if lines == 0:
            code = EMPTY_CODE
        elif marked_ratio < limits[LINE_PUNCT_THR] and not (marked == 0 and rules.line_punct_exclude_zero):
            code = LINE_PUNCT_CODE
        elif short_ratio > limits[SHORT_LINE_THR]:
            code = SHORT_LINE_CODE
        repeated_ratio = np.nan
        if lines > 0 and (all_signals or (code == 0 and not np.isnan(limits[CHAR_DUPLICATES_RATIO]))):
            slots = num_slots(lines)
            if slots > len(places):
                places, tags = np.empty(slots, np.int32), np.empty(slots, np.uint32)
            repeated = repeated_chars(data, start, stop, places, tags, slots)
            repeated_ratio = repeated / (num_chars(data, start, stop) - newlines) if repeated else 0.0
            if code == 0 and repeated_ratio > limits[CHAR_DUPLICATES_RATIO]:
                code = CHAR_DUP_CODE
        words, list_ratio = np.int64(0), np.nan
        limit = limits[NEW_LINE_RATIO]
        if all_signals and lines > 0:
            words = num_words(mode, lexicon, data, start, stop, starts, ends, newlines, np.nan)
            list_ratio = newlines / words
        elif code == 0 and not np.isnan(limit) and not (mode == ENGLISH and _has_pieces(data, start, stop, newlines, limit)):
            list_ratio = newlines / num_words(mode, lexicon, data, start, stop, starts, ends, newlines, limit)
        if code == 0 and list_ratio > limit:
            code = LIST_CODE
        codes[row] = code
        if all_signals:
            signals[row, LINES] = lines
            signals[row, LINE_PUNCT_RATIO] = marked_ratio
            signals[row, SHORT_LINE_RATIO] = short_ratio
            signals[row, CHAR_DUP_RATIO] = repeated_ratio
            signals[row, LIST_RATIO] = list_ratio
            signals[row, WORDS] = words
