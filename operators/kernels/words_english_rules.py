"""The rules of `words_english` in one array of numbers, which kernels read by the places given here.

One array, because a kernel passes each on to every function that it calls. What the rules say is in `words_english_data`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels import unicode
from operators.kernels import words_english_data as source
from operators.kernels.jit import kernel

# Classes of a code point, in the order of `words_english_source.classes`.
PREFIX: Final = 1  # cut off in front
SUFFIX: Final = 2  # cut off at the end
INFIX: Final = 4  # cut out from the middle: the ellipsis, symbols
BEFORE_DOT: Final = 8  # a full stop after it is cut off
UPPER: Final = 16  # upper case, or without case; two of them: a full stop after them is cut off
ALPHA: Final = 32
LOWER_OR_QUOTE: Final = 64  # may stand before a full stop in the middle
UPPER_OR_QUOTE: Final = 128  # may stand after it
LOWER: Final = 256  # lower case, or without case: what a top-level domain is made of
TERMINAL: Final = 512  # ends a sentence, see `sentences`
# And of `unicode`:
SPACE: Final = 1 << 16
DECIMAL: Final = 1 << 17
WORD: Final = 1 << 18
PUNCTUATION: Final = 1 << 19

# Kinds of a byte.
LETTER_BYTE: Final = 1
SPACE_BYTE: Final = 2
DIGIT_BYTE: Final = 4
DOT_BYTE: Final = 8
INFIX_BYTE: Final = 16  # ASCII that may begin an infix
HIGH_BYTE: Final = 32  # not ASCII
SUFFIX_BYTE: Final = 64  # ASCII that is a suffix
WIDE_SPACE_BYTE: Final = 128  # may begin white space that is not ASCII

INFIX_CHARS: Final = "+-*^.,~:<>=/"
MAX_SPECIAL: Final = 30  # bytes: lengths are bits
MAX_TAIL: Final = 12
NUM_KEYS: Final = 4096
NUM_PAIRS: Final = 4096
NUM_SLOTS: Final = 4096

# Where tables of one size begin.
KINDS: Final = 0  # by byte: the sum of its kinds
KEYS: Final = KINDS + 256  # by `key_of`: bit n is set if a special case of n bytes has the key
PAIRS: Final = KEYS + NUM_KEYS  # by `pair_of` two tokens: 1 if the pattern of a special case begins with them
PAGES: Final = PAIRS + NUM_PAIRS  # by `code >> 8`: the page of the code point; that of ASCII is 0
SPECIAL_SLOTS: Final = PAGES + (unicode.NUM_CODES >> 8)  # three hash tables of strings
TAIL_SLOTS: Final = SPECIAL_SLOTS + NUM_SLOTS
TOKEN_SLOTS: Final = TAIL_SLOTS + NUM_SLOTS
HEADER: Final = TOKEN_SLOTS + NUM_SLOTS  # where the others begin
CUTS: Final = HEADER  # by special case: where the sizes of its tokens begin
STRINGS: Final = HEADER + 1  # by string (special cases, tails, tokens of patterns): where its bytes begin
NODES: Final = HEADER + 2  # by node of the patterns' trie: its first edge
EDGES: Final = HEADER + 3  # token and node
ENDS: Final = HEADER + 4  # by node: the special case that ends there, -1 if none
LONGEST: Final = HEADER + 5  # the most tokens that a pattern has
CLASSES: Final = HEADER + 6  # by `(page << 8) | (code & 255)`: the sum of its classes


class EnglishRules(NamedTuple):
    """What `split_english` needs to know.

    Attributes:
        numbers: int32, all tables.
    """

    numbers: npt.NDArray[np.int32]


@kernel
def english_class(numbers: Any, code: Any) -> Any:
    """The classes of a code point."""
    return np.int64(numbers[CLASSES + ((np.int64(numbers[PAGES + (code >> 8)]) << 8) | (code & 255))])


@kernel
def lookup(numbers: Any, slots: Any, data: Any, start: Any, stop: Any) -> Any:
    """Number of the string `data[start:stop]` in the hash table that begins at `slots`; -1 if it is not there."""
    begins = np.int64(numbers[STRINGS])
    code = np.int64(0)
    for at in range(start, stop):
        code = (code * 31 + np.int64(data[at])) & 0xFFFFFFFF
    slot = (code ^ (code >> 12)) & (NUM_SLOTS - 1)
    while True:
        found = np.int64(numbers[slots + slot])
        if found < 0:
            return found
        first = np.int64(numbers[begins + found])
        if np.int64(numbers[begins + found + 1]) - first == stop - start:
            same = True
            for at in range(stop - start):
                if numbers[first + at] != data[start + at]:
                    same = False
                    break
            if same:
                return found
        slot = (slot + 1) & (NUM_SLOTS - 1)


@kernel
def key_of(data: Any, start: Any, stop: Any) -> Any:
    """A mix of the first and the last two bytes of a string that is not empty, below `NUM_KEYS`.

    The factors are those of some thousand tried at which the fewest words of English text have the key and size of a special case: 1.4 %.
    """
    before_last = max(stop - 2, start)
    return (np.int64(data[start]) * 1063 + np.int64(data[stop - 1]) * 2875 + np.int64(data[before_last]) * 647) & (NUM_KEYS - 1)


@kernel
def pair_of(first: Any, size: Any, second: Any) -> Any:
    """A mix of two tokens, below `NUM_PAIRS`: the first byte and the size of one, the first byte of the next."""
    return ((np.int64(first) * 31 + np.int64(second)) & 511) << 3 | min(np.int64(size), np.int64(7))


@cache
def english_rules() -> EnglishRules:
    """The rules, made once a process (about 50 ms)."""
    specials, patterns = _cut(source.SPECIALS), _cut(source.PATTERNS)
    tails = source.TAILS.split()
    tokens = list(dict.fromkeys(token for pattern in patterns.values() for token in pattern))
    strings = [string.encode() for string in (*specials, *tails, *tokens)]
    num_specials, num_known = len(specials), len(specials) + len(tails)
    pages, classes = _paged(_classes())
    fixed = [
        *_kinds(classes),
        *_keys(strings[:num_specials]),
        *_pairs(specials, patterns),
        *pages,
        *_slots(strings, 0, num_specials),
        *_slots(strings, num_specials, num_known),
        *_slots(strings, num_known, len(strings)),
    ]
    nodes, ends = _trie(patterns, dict(zip(tokens, range(num_known, len(strings)), strict=True)), list(specials))
    sizes = [[len(token.encode()) for token in special] for special in specials.values()]
    header, rest = _laid_out(CLASSES + len(classes), strings, sizes, nodes, ends)
    numbers = np.array([*fixed, *header, max(map(len, patterns.values())), *classes, *rest], np.int32)
    numbers.flags.writeable = False
    return EnglishRules(numbers)


def _laid_out(
    first: int, strings: list[bytes], sizes: list[list[int]], nodes: list[dict[int, int]], ends: list[int]
) -> tuple[list[int], list[int]]:
    """The tables of other sizes, one after the other from a place on, and what the header says of them."""
    rest: list[int] = []

    def place(part: list[int]) -> int:
        rest.extend(part)
        return first + len(rest) - len(part)

    bytes_at = place([byte for string in strings for byte in string])
    sizes_at = place([size for some in sizes for size in some])
    header = [
        place([*accumulate(map(len, sizes), initial=sizes_at)]),
        place([*accumulate(map(len, strings), initial=bytes_at)]),
        place([*accumulate(map(len, nodes), initial=0)]),
        place([number for edges in nodes for edge in edges.items() for number in edge]),
        place(ends),
    ]
    return header, rest


def _classes() -> npt.NDArray[np.int32]:
    """Classes of every code point: those of spaCy, and some of Unicode."""
    runs = [run.split(":") for run in source.CLASSES.split()]
    firsts = [int(first, 16) for first, _ in runs]
    flat = np.repeat(np.array([int(bits, 16) for _, bits in runs], np.int32), np.diff([*firsts, unicode.NUM_CODES]))
    tables = unicode.tables()
    known = tables.classes.reshape(-1, 256)[tables.pages].ravel()
    for theirs, ours in (
        (unicode.SPACE, SPACE),
        (unicode.DECIMAL, DECIMAL),
        (unicode.WORD, WORD),
        (unicode.PUNCTUATION, PUNCTUATION),
    ):
        flat[known & theirs != 0] |= ours
    return flat


def _paged(flat: npt.NDArray[np.int32]) -> tuple[list[int], npt.NDArray[np.int32]]:
    """Pages, equal ones once and in the order of their first use, and what is on them."""
    numbers: dict[bytes, int] = {}
    pages = [numbers.setdefault(page.tobytes(), len(numbers)) for page in flat.reshape(-1, 256)]
    return pages, np.frombuffer(b"".join(numbers), np.int32)


def _kinds(classes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    kinds = np.zeros(256, np.int32)
    kinds[[*range(65, 91), *range(97, 123)]] = LETTER_BYTE
    kinds[[*range(9, 14), *range(28, 33)]] = SPACE_BYTE
    kinds[48:58] = DIGIT_BYTE
    kinds[:128][classes[:128] & SUFFIX != 0] |= SUFFIX_BYTE
    kinds[ord(".")] |= DOT_BYTE
    kinds[[ord(char) for char in INFIX_CHARS]] |= INFIX_BYTE
    kinds[128:] = HIGH_BYTE
    kinds[[0xC2, 0xE1, 0xE2, 0xE3]] |= WIDE_SPACE_BYTE
    return kinds


def _plain(function: Callable[..., Any]) -> Callable[..., int]:
    """The Python function that a kernel was made from."""
    return getattr(function, "py_func", function)


def _keys(specials: list[bytes]) -> list[int]:
    keys = [0] * NUM_KEYS
    for special in specials:
        keys[_plain(key_of)(special, 0, len(special))] |= 1 << len(special)
    return keys


def _pairs(specials: dict[str, tuple[str, ...]], patterns: dict[str, tuple[str, ...]]) -> list[int]:
    """Marks for the patterns of which something else is made: of "he's" the same two tokens are made in either way."""
    pairs = [0] * NUM_PAIRS
    for special, pattern in patterns.items():
        if specials[special] != pattern:
            first, second = pattern[0].encode(), pattern[1].encode()
            pairs[_plain(pair_of)(first[0], len(first), second[0])] = 1
    return pairs


def _cut(text: str) -> dict[str, tuple[str, ...]]:
    """Strings and their tokens, with those that follow by writing the other apostrophe."""
    found = {}
    for item in text.split():
        tokens = tuple(item.split("¦"))
        for variant in (tokens, tuple(token.replace("'", "\u2019") for token in tokens)):
            found["".join(variant)] = variant
    return found


def _trie(patterns: dict[str, tuple[str, ...]], tokens: dict[str, int], specials: list[str]) -> tuple[list[dict[int, int]], list[int]]:
    """Nodes with their edges, from token to node, and the special case that ends at each."""
    nodes: list[dict[int, int]] = [{}]
    ends = [-1]
    for special, pattern in patterns.items():
        node = 0
        for token in pattern:
            if tokens[token] not in nodes[node]:
                nodes[node][tokens[token]] = len(nodes)
                nodes.append({})
                ends.append(-1)
            node = nodes[node][tokens[token]]
        ends[node] = specials.index(special)
    return nodes, ends


def _slots(strings: list[bytes], first: int, stop: int) -> list[int]:
    """A hash table with open addressing of some of the strings, as `lookup` reads it."""
    slots = [-1] * NUM_SLOTS
    for number in range(first, stop):
        code = 0
        for byte in strings[number]:
            code = (code * 31 + byte) & 0xFFFFFFFF
        slot = (code ^ (code >> 12)) & (NUM_SLOTS - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (NUM_SLOTS - 1)
        slots[slot] = number
    return slots
