"""Gopher's two filters over the texts of a batch: signals and the first test that fails, as datatrove decides.

Both kernels go through a document once to find its words and then over the words. Unless all signals are asked for they stop at the first
test that fails, and leave out what cannot fail: a bound that holds is cheaper than the exact number.

Thresholds come as rows of a table, nan where a test is not made; their order is that of the constants here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel
from operators.kernels.lines import next_break, strip
from operators.kernels.ngrams import (
    PAD,
    cells_bits,
    chars_of,
    count_byte,
    count_pairs,
    gather,
    is_ascii,
    length_of,
    load_part,
    pick,
    repeated_chars,
    repeated_parts,
    table_bits,
    top_bound,
    top_chars,
)
from operators.kernels.punctuation import LETTER, LONGER, NAMED, UNTOLD, kind_of
from operators.kernels.stop_words import num_stop_words
from operators.kernels.unicode import num_chars
from operators.kernels.words_unicode import split_words

# Signals and thresholds of repetition; 1 + reason is the code.
DUP_PARA: Final = 0
DUP_PARA_CHARS: Final = 1
DUP_LINE: Final = 2
DUP_LINE_CHARS: Final = 3
TOP: Final = 4  # and two more: runs of 2, 3 and 4 words
DUP_RUNS: Final = 7  # and five more: runs of 5 to 10 words
NUM_REPETITION: Final = 13
EMPTY: Final = 1  # code

# Thresholds of quality, in datatrove's order.
MIN_WORDS: Final = 0
MAX_WORDS: Final = 1
MIN_LENGTH: Final = 2
MAX_LENGTH: Final = 3
SYMBOLS: Final = 4
BULLETS: Final = 5
ELLIPSES: Final = 6
ALPHAS: Final = 7
STOP_WORDS: Final = 8

# Signals of quality.
NUM_WORDS: Final = 0
NAMED_WORDS: Final = 1
MEAN_LENGTH: Final = 2
HASH_RATIO: Final = 3
ELLIPSIS_RATIO: Final = 4
BULLET_LINES: Final = 5
ELLIPSIS_LINES: Final = 6
ALPHA_WORDS: Final = 7
STOP_WORDS_FOUND: Final = 8
NUM_QUALITY: Final = 9

# Codes of quality, 1 + the position of the reason.
SHORT: Final = 1
LONG: Final = 2
BELOW_LENGTH: Final = 3
ABOVE_LENGTH: Final = 4
MANY_HASHES: Final = 5
MANY_ELLIPSES: Final = 6
MANY_BULLETS: Final = 7
MANY_ENDS: Final = 8
BELOW_ALPHA: Final = 9
FEW_STOP_WORDS: Final = 10

LINE_FEED: Final = 10
HASH: Final = 35
HYPHEN: Final = 45
DOT: Final = 46
DOTS: Final = (DOT, DOT, DOT)
ELLIPSIS: Final = (0xE2, 0x80, 0xA6)
BULLET: Final = (0xE2, 0x80, 0xA2)


@kernel
def repetition(
    english_rules: Any,
    word_tables: Any,
    tables: Any,
    offsets: Any,
    data: Any,
    profile: Any,
    modes: Any,
    thresholds: Any,
    codes: Any,
    signals: Any,
) -> None:
    """Judge each text by how much of it is repeated.

    Args:
        english_rules: `english_rules()`.
        word_tables: `word_tables()`.
        tables: `tables()` of characters.
        offsets: int64, bounds of the texts.
        data: Their bytes.
        profile: int32, by text: the line of `thresholds`.
        modes: int8, by line: how words are split, see `split_words`.
        thresholds: float64 (lines, `NUM_REPETITION`), nan: the test is not made.
        codes: int8, by text: the result, 0 or 1 + the position of the reason.
        signals: float64 (texts, `NUM_REPETITION`): the signals; no rows if they are not wanted.
    """
    most = np.int64(0)
    for row in range(len(codes)):
        most = max(most, offsets[row + 1] - offsets[row])
    starts, ends = np.empty(most + 2, np.int32), np.empty(most + 2, np.int32)
    joined = np.empty(most + PAD, np.uint8)
    hashes, counts, tally = np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int32)
    slots, cells = np.empty(64, np.uint64), np.empty(0, np.int32)
    value = np.empty(NUM_REPETITION, np.float64)
    every = len(signals) > 0
    for row in range(len(codes)):
        start, stop = offsets[row], offsets[row + 1]
        limit = thresholds[profile[row]]
        value[:] = np.nan
        code = np.int64(0)
        if start == stop:
            code = np.int64(EMPTY)
        else:
            need = np.int64(1) << table_bits(1 + count_byte(data, start, stop, LINE_FEED))
            if need > len(slots):
                slots = np.empty(need, np.uint64)
            length = np.float64(length_of(data, start, stop))
            code = _judge_parts(data, start, stop, length, limit, value, every, starts, ends, slots)
            if every or (code == 0 and _wants_words(limit)):
                num_words = split_words(modes[profile[row]], english_rules, word_tables, tables, data, start, stop, starts, ends)
                need = np.int64(1) << table_bits(num_words)
                if need > len(slots):
                    slots = np.empty(need, np.uint64)
                if num_words > len(hashes):
                    hashes, counts, tally = np.empty(need, np.uint64), np.empty(need, np.int32), np.empty(need, np.int32)
                if np.int64(1) << cells_bits(num_words) > len(cells):
                    cells = np.empty(np.int64(1) << cells_bits(num_words), np.int32)
                gather(data, start, starts, ends, num_words, joined, hashes)
                found = _judge_top(joined, starts, ends, hashes, num_words, length, limit, value, every, cells, counts, slots, tally)
                code = found if code == 0 else code
                if every or code == 0:
                    found = _judge_repeated(joined, starts, ends, num_words, length, limit, value, every, cells, counts, tally, slots)
                    code = found if code == 0 else code
        codes[row] = code
        if every:
            signals[row] = value


@lean_kernel
def _wants_words(limit: Any) -> Any:
    wanted = False
    for index in range(TOP, NUM_REPETITION):
        wanted |= not np.isnan(limit[index])
    return wanted


@lean_kernel
def _judge_parts(
    data: Any,
    start: Any,
    stop: Any,
    length: Any,
    limit: Any,
    value: Any,
    every: Any,
    starts: Any,
    ends: Any,
    slots: Any,
) -> Any:
    """Paragraphs, then lines."""
    code = np.int64(0)
    for index in range(DUP_PARA, TOP, 2):
        if not every and np.isnan(limit[index]) and np.isnan(limit[index + 1]):
            continue
        if index == DUP_PARA:
            first, last = strip(data, start, stop)
            num_parts, num_repeats, chars = repeated_parts(data, first, last, 2, starts, ends, slots)
        else:
            num_parts, num_repeats, chars = repeated_parts(data, start, stop, 1, starts, ends, slots)
        value[index] = num_repeats / num_parts
        value[index + 1] = chars / length
        for test in range(index, index + 2):
            if code == 0 and value[test] > limit[test]:
                code = np.int64(EMPTY + 1 + test)
        if code and not every:
            break
    return code


@lean_kernel
def _judge_top(
    joined: Any,
    starts: Any,
    ends: Any,
    hashes: Any,
    num_words: Any,
    length: Any,
    limit: Any,
    value: Any,
    every: Any,
    cells: Any,
    counts: Any,
    slots: Any,
    tally: Any,
) -> Any:
    """The most frequent pair, three and four of words."""
    code = np.int64(0)
    if not every and np.isnan(limit[TOP]) and np.isnan(limit[TOP + 1]) and np.isnan(limit[TOP + 2]):
        return code
    count_pairs(hashes, num_words, cells, counts)
    for n in range(2, 5):
        test = TOP + n - 2
        if num_words < n or (not every and np.isnan(limit[test])):
            continue
        if not every and not top_bound(ends, num_words, n, counts) / length > limit[test]:
            continue
        value[test] = top_chars(joined, starts, ends, hashes, num_words, n, counts, slots, tally) / length
        if code == 0 and value[test] > limit[test]:
            code = np.int64(EMPTY + 1 + test)
            if not every:
                break
    return code


@lean_kernel
def _judge_repeated(
    joined: Any,
    starts: Any,
    ends: Any,
    num_words: Any,
    length: Any,
    limit: Any,
    value: Any,
    every: Any,
    cells: Any,
    picked: Any,
    reach: Any,
    slots: Any,
) -> Any:
    """Repeated runs of five to ten words."""
    code = np.int64(0)
    num_picked = np.int64(-1)
    for n in range(5, 11):
        test = DUP_RUNS + n - 5
        if not every and np.isnan(limit[test]):
            continue
        if num_picked < 0:
            num_picked = pick(joined, starts, num_words, n, cells, picked, reach)
        chars, num_picked = repeated_chars(joined, starts, ends, num_words, n, picked, num_picked, reach, slots)
        value[test] = chars / length
        if code == 0 and value[test] > limit[test]:
            code = np.int64(EMPTY + 1 + test)
            if not every:
                break
    return code


@kernel
def quality(
    english_rules: Any,
    word_tables: Any,
    tables: Any,
    kinds: Any,
    stop_words: Any,
    offsets: Any,
    data: Any,
    profile: Any,
    modes: Any,
    thresholds: Any,
    codes: Any,
    signals: Any,
) -> None:
    """Judge each text by its words, symbols and lines.

    Args:
        english_rules: `english_rules()`.
        word_tables: `word_tables()`.
        tables: `tables()` of characters.
        kinds: `character_kinds()`.
        stop_words: `stop_word_tables()` of the lines of `thresholds`.
        offsets: int64, bounds of the texts.
        data: Their bytes.
        profile: int32, by text: the line of `thresholds`.
        modes: int8, by line: how words are split, see `split_words`.
        thresholds: float64 (lines, 9), nan: the test is not made.
        codes: int8, by text: the result, 0 or 1 + the position of the reason.
        signals: float64 (texts, `NUM_QUALITY`): the signals; no rows if they are not wanted.
    """
    most = np.int64(0)
    for row in range(len(codes)):
        most = max(most, offsets[row + 1] - offsets[row])
    starts, ends = np.empty(most + 1, np.int32), np.empty(most + 1, np.int32)
    seen = np.full(len(stop_words.bounds), -1, np.int64)
    value = np.empty(NUM_QUALITY, np.float64)
    every = len(signals) > 0
    for row in range(len(codes)):
        start, stop = offsets[row], offsets[row + 1]
        line = np.int64(profile[row])
        limit = thresholds[line]
        value[:] = np.nan
        num_words = split_words(modes[line], english_rules, word_tables, tables, data, start, stop, starts, ends)
        value[NUM_WORDS] = num_words
        code = _judge_words(tables, kinds, data, start, stop, starts, ends, num_words, limit, value)
        if (code == 0 or every) and num_words > 0:
            found = _judge_text(data, start, stop, num_words, limit, value, every)
            code = found if code == 0 else code
            if code == 0 and value[ALPHA_WORDS] < limit[ALPHAS]:
                code = np.int64(BELOW_ALPHA)
            if every or (code == 0 and not np.isnan(limit[STOP_WORDS])):
                enough = np.float64(np.inf) if every else limit[STOP_WORDS]
                value[STOP_WORDS_FOUND] = num_stop_words(stop_words, line, data, start, starts, ends, num_words, enough, seen, row)
                if code == 0 and value[STOP_WORDS_FOUND] < limit[STOP_WORDS]:
                    code = np.int64(FEW_STOP_WORDS)
        codes[row] = code
        if every:
            signals[row] = value


@lean_kernel
def _judge_words(
    tables: Any,
    kinds: Any,
    data: Any,
    start: Any,
    stop: Any,
    starts: Any,
    ends: Any,
    num_words: Any,
    limit: Any,
    value: Any,
) -> Any:
    """How many words there are and how long they are. A text without words is too short, whatever the thresholds."""
    num_named, chars, num_letters = np.int64(0), np.int64(0), np.int64(0)
    plain = is_ascii(data, start, stop)
    for word in range(num_words):
        first, last = start + np.int64(starts[word]), start + np.int64(ends[word])
        size = last - first
        # Few words are neither a letter's nor one mark: no branch but that for them.
        kind = np.int64(kinds.first[data[first]])
        if kind & (UNTOLD | (LONGER * (size > 1))):
            kind = kind_of(tables, kinds, data, first, last)
        named = kind & NAMED
        num_named += named
        num_letters += (kind & LETTER) >> 1
        if not plain:
            size = chars_of(load_part(data, first, size), size) if size <= 8 else num_chars(data, first, last)
        chars += size * named
    value[NAMED_WORDS] = num_named
    mean = chars / num_named if num_named > 0 else np.nan
    value[MEAN_LENGTH] = mean
    value[ALPHA_WORDS] = num_letters / num_words if num_words > 0 else np.nan
    if num_words == 0 or num_named < limit[MIN_WORDS]:
        return np.int64(SHORT)
    if num_named > limit[MAX_WORDS]:
        return np.int64(LONG)
    if mean < limit[MIN_LENGTH]:
        return np.int64(BELOW_LENGTH)
    if mean > limit[MAX_LENGTH]:
        return np.int64(ABOVE_LENGTH)
    return np.int64(0)


@lean_kernel
def _judge_text(data: Any, start: Any, stop: Any, num_words: Any, limit: Any, value: Any, every: Any) -> Any:
    """Symbols, then lines."""
    if every or not np.isnan(limit[SYMBOLS]):
        value[HASH_RATIO] = count_byte(data, start, stop, HASH) / num_words
        bound = count_byte(data, start, stop, DOT) // 3 + count_byte(data, start, stop, ELLIPSIS[0])
        if every or bound / num_words > limit[SYMBOLS]:
            value[ELLIPSIS_RATIO] = _num_ellipses(data, start, stop) / num_words
    if every or not (np.isnan(limit[BULLETS]) and np.isnan(limit[ELLIPSES])):
        num_lines, num_bullets, num_ends = _num_marked_lines(data, start, stop)
        value[BULLET_LINES] = num_bullets / num_lines
        value[ELLIPSIS_LINES] = num_ends / num_lines
    if value[HASH_RATIO] > limit[SYMBOLS]:
        return np.int64(MANY_HASHES)
    if value[ELLIPSIS_RATIO] > limit[SYMBOLS]:
        return np.int64(MANY_ELLIPSES)
    if value[BULLET_LINES] > limit[BULLETS]:
        return np.int64(MANY_BULLETS)
    if value[ELLIPSIS_LINES] > limit[ELLIPSES]:
        return np.int64(MANY_ENDS)
    return np.int64(0)


@lean_kernel
def _num_ellipses(data: Any, start: Any, stop: Any) -> Any:
    """How often `...` or the ellipsis stand in a text, as `str.count` counts them."""
    num_ellipses, run = np.int64(0), np.int64(0)
    for at in range(start, stop):
        if data[at] == DOT:
            run += 1
            if run == 3:
                num_ellipses += 1
                run = 0
        else:
            run = 0
            num_ellipses += data[at] == ELLIPSIS[0] and at + 2 < stop and _begins(data, at, ELLIPSIS)
    return num_ellipses


@lean_kernel
def _num_marked_lines(data: Any, start: Any, stop: Any) -> Any:
    """Lines, those that begin with a bullet, those that end with an ellipsis; white space around them does not count."""
    num_lines, num_bullets, num_ends = np.int64(0), np.int64(0), np.int64(0)
    at = np.int64(start)
    while at < stop:
        end, behind = next_break(data, at, stop)
        first, last = strip(data, at, end)
        num_lines += 1
        if first < last:
            size = last - first
            num_bullets += data[first] == HYPHEN or (size >= 3 and _begins(data, first, BULLET))
            num_ends += size >= 3 and (_begins(data, last - 3, DOTS) or _begins(data, last - 3, ELLIPSIS))
        at = behind
    return num_lines, num_bullets, num_ends


@lean_kernel
def _begins(data: Any, at: Any, mark: Any) -> Any:
    return data[at] == mark[0] and data[at + 1] == mark[1] and data[at + 2] == mark[2]
