"""Number of sentences of a text whose English words are known, as datatrove counts them: spaCy's `sentencizer`.

A sentence ends at a word that is one of the terminal marks (".", "!", "?" and those of other scripts), and the next begins at the first
word after it that is no punctuation. White space of more than one space is a token to spaCy, which may begin a sentence too:
"Hello.  World" has two, of which the second begins with a space.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.kernels.jit import kernel
from operators.kernels.pointers import pointer
from operators.kernels.unicode import decode
from operators.kernels.words_english import split_english
from operators.kernels.words_english_rules import DIGIT_BYTE, KINDS, LETTER_BYTE, PUNCTUATION, TERMINAL, english_class


@kernel
def _is_token(data: Any, start: Any, stop: Any) -> Any:
    """Whether spaCy makes a token of the white space between two words."""
    return stop - start > 1 or (stop - start == 1 and data[start] != 32)


@kernel
def _is_terminal(numbers: Any, data: Any, start: Any, stop: Any) -> Any:
    """Whether a word is one of the marks that end a sentence."""
    code, size = decode(data, start, stop)
    return size == stop - start and english_class(numbers, code) & TERMINAL != 0


@kernel
def _is_punctuation(numbers: Any, data: Any, start: Any, stop: Any) -> Any:
    """Whether every character of a word is punctuation."""
    at = start
    while at < stop:
        code, size = decode(data, at, stop)
        if not english_class(numbers, code) & PUNCTUATION:
            return False
        at += size
    return True


@kernel
def _count(numbers: Any, data: Any, starts: Any, ends: Any, num_words: Any, base: Any, stop: Any) -> Any:
    num_sentences, is_over, before = 1, False, base
    for word in range(num_words):
        start, end = base + starts[word], base + ends[word]
        # The first token is in the first sentence, whatever it is.
        if is_over and _is_token(data, before, start):
            num_sentences += 1
            is_over = False
        before = end
        if numbers[KINDS + data[start]] & (LETTER_BYTE | DIGIT_BYTE):
            num_sentences += is_over
            is_over = False
        elif _is_terminal(numbers, data, start, end):
            is_over = True
        elif is_over and not _is_punctuation(numbers, data, start, end):
            num_sentences += 1
            is_over = False
    return num_sentences + (is_over and _is_token(data, before, stop))


@kernel
def count_sentences_to(rules: Any, tables: Any, data: Any, starts: Any, ends: Any, num_words: Any, base: Any, stop: Any) -> Any:  # noqa: ARG001
    """Sentences of the text `data[base:stop]`, at least 1, whose words are those that `split_english` wrote."""
    return _count(pointer(rules.numbers), pointer(data), pointer(starts), pointer(ends), num_words, np.int64(base), np.int64(stop))


@kernel
def count_sentences(rules: Any, tables: Any, data: Any, starts: Any, ends: Any, num_words: Any, base: Any) -> Any:
    """Sentences of a text that begins at `base` and ends with its last word, as a line does that was stripped; at least 1."""
    stop = base + np.int64(ends[num_words - 1]) if num_words > 0 else np.int64(base)
    return count_sentences_to(rules, tables, data, starts, ends, num_words, base, stop)


@kernel
def count_batch(rules: Any, tables: Any, offsets: Any, data: Any) -> Any:
    """Sentences of each of the texts given by Arrow's offsets and bytes, int64."""
    num_rows = len(offsets) - 1
    longest = np.int64(0)
    for row in range(num_rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    starts, ends = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int32)
    counts = np.empty(num_rows, np.int64)
    for row in range(num_rows):
        num_words = split_english(rules, tables, data, offsets[row], offsets[row + 1], starts, ends)
        counts[row] = count_sentences_to(rules, tables, data, starts, ends, num_words, offsets[row], offsets[row + 1])
    return counts
