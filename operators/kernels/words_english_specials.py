"""Special cases of the English tokenizer: strings with tokens of their own, whole or found again among the tokens of a text.

Functions here take pointers. "and/or" is a special case of one token; in "his/hers-and/or" it is not seen as a whole, three tokens are made
of it, and these are its pattern: where they stand side by side they become one again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.kernels.jit import kernel
from operators.kernels.pointers import pointer
from operators.kernels.words_english_rules import (
    CUTS,
    EDGES,
    ENDS,
    KEYS,
    LONGEST,
    MAX_SPECIAL,
    NODES,
    PAIRS,
    SPECIAL_SLOTS,
    TOKEN_SLOTS,
    key_of,
    lookup,
    pair_of,
)


@kernel
def find_special(numbers: Any, data: Any, start: Any, stop: Any) -> Any:
    """Number of the special case that `data[start:stop]` (not empty) is; -1 if it is none."""
    size = stop - start
    if size > MAX_SPECIAL:
        return np.int64(-1)
    if not (np.int64(numbers[KEYS + key_of(data, start, stop)]) >> size) & 1:
        return np.int64(-1)
    return lookup(numbers, SPECIAL_SLOTS, data, start, stop)


@kernel
def put_special(numbers: Any, special: Any, at: Any, starts: Any, ends: Any, count: Any) -> Any:
    """Write the tokens of a special case that begins at a place."""
    cuts = np.int64(numbers[CUTS])
    first = at
    for cut in range(numbers[cuts + special], numbers[cuts + special + 1]):
        starts[count] = first
        first += numbers[cut]
        ends[count] = first
        count += 1
    return count


@kernel
def _step(numbers: Any, data: Any, node: Any, start: Any, stop: Any) -> Any:
    """Node that the token `data[start:stop]` leads to from a node of the patterns; -1 if to none."""
    token = lookup(numbers, TOKEN_SLOTS, data, start, stop) if stop - start <= MAX_SPECIAL else np.int64(-1)
    if token < 0:
        return np.int64(-1)
    first = np.int64(numbers[NODES]) + node
    edges = np.int64(numbers[EDGES])
    for edge in range(numbers[first], numbers[first + 1]):
        if numbers[edges + 2 * edge] == token:
            return np.int64(numbers[edges + 2 * edge + 1])
    return np.int64(-1)


@kernel
def _is_pair(numbers: Any, data: Any, base: Any, word: Any, starts: Any, ends: Any) -> Any:
    """Whether a word and the next, side by side, may begin the pattern of a special case."""
    if ends[word] != starts[word + 1]:
        return False
    return numbers[PAIRS + pair_of(data[base + starts[word]], ends[word] - starts[word], data[base + ends[word]])] != 0


@kernel
def holds_pattern(numbers: Any, data: Any, base: Any, first: Any, count: Any, starts: Any, ends: Any) -> Any:
    """Whether the tokens of one chunk, from `first` on, hold the pattern of a special case."""
    for word in range(first, count - 1):
        if not _is_pair(numbers, data, base, word, starts, ends):
            continue
        node, at = np.int64(0), word
        while at < count:
            node = _step(numbers, data, node, base + starts[at], base + ends[at])
            if node < 0:
                break
            if numbers[np.int64(numbers[ENDS]) + node] >= 0:
                return True
            at += 1
    return False


@kernel
def _match(numbers: Any, data: Any, base: Any, word: Any, count: Any, starts: Any, ends: Any, above: Any) -> Any:
    """The shortest pattern of more than `above` tokens that begins at a word: its number of tokens and its special case; or 0, -1.

    As spaCy, it looks across a single space between words.
    """
    node, at = np.int64(0), word
    while at < count:
        if at > word:
            gap = starts[at] - ends[at - 1]
            if gap > 1 or (gap == 1 and data[base + ends[at - 1]] != 32):
                break
        node = _step(numbers, data, node, base + starts[at], base + ends[at])
        if node < 0:
            break
        at += 1
        special = np.int64(numbers[np.int64(numbers[ENDS]) + node])
        if special >= 0 and at - word > above:
            return at - word, special
    return np.int64(0), np.int64(-1)


@kernel
def _is_covered(numbers: Any, data: Any, base: Any, word: Any, size: Any, count: Any, starts: Any, ends: Any) -> Any:
    """Whether a match that goes before this one, longer or of the same length and earlier, has its first or its last word."""
    longest = np.int64(numbers[LONGEST])
    for other in range(max(np.int64(0), word - longest + 1), word + size):
        # One of the same length goes before if it is earlier.
        length, _ = _match(numbers, data, base, other, count, starts, ends, size - 1 if other < word else size)
        while length > 0:
            if other <= word < other + length or other <= word + size - 1 < other + length:
                return True
            length, _ = _match(numbers, data, base, other, count, starts, ends, length)
    return False


@kernel
def _is_whole(word: Any, size: Any, starts: Any, ends: Any) -> Any:
    """Whether nothing lies between some words."""
    gap = 0
    for at in range(word + 1, word + size):
        gap += starts[at] - ends[at - 1]
    return gap == 0


@kernel
def join_specials(numbers: Any, data: Any, base: Any, old_starts: Any, old_ends: Any, starts: Any, ends: Any) -> Any:
    """Write words again, with the special cases that lie among them as the tokens that are listed for these.

    Of matches that overlap the longest is taken, and of those the first. One that goes over a space is no special case, but keeps
    others from being taken.
    """
    count = len(old_starts)
    firsts, stops = pointer(old_starts), pointer(old_ends)
    new_count, word = np.int64(0), np.int64(0)
    while word < count:
        size, special = np.int64(0), np.int64(-1)
        if word + 1 < count and _is_pair(numbers, data, base, word, firsts, stops):
            size, special = _match(numbers, data, base, word, count, firsts, stops, np.int64(1))
        while size > 0:
            is_special = _is_whole(word, size, firsts, stops)
            if is_special and not _is_covered(numbers, data, base, word, size, count, firsts, stops):
                break
            size, special = _match(numbers, data, base, word, count, firsts, stops, size)
        if size > 0:
            new_count = put_special(numbers, special, np.int64(firsts[word]), starts, ends, new_count)
            word += size
        else:
            starts[new_count] = firsts[word]
            ends[new_count] = stops[word]
            new_count += 1
            word += 1
    return new_count
