"""Phrases, citations and over-long words in a line of a web page, as C4 looks for them.

Nearly no line has any of them. `candidates` passes over a text eight bytes at a time and tells what cannot be in it; the exact tests are
for what is left.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from operators.kernels.lean import lean_kernel
from operators.kernels.lines import BLANKS, HIGHS, ONES, load64, space_size
from operators.kernels.unicode import DECIMAL, class_of, decode, num_chars

# What `candidates` tells of.
PHRASE: Final = 1  # there may be one of PHRASES
CURLY: Final = 2  # there is a "{"
BRACKET: Final = 4  # there is a "["

# What `phrases` tells of.
JAVASCRIPT: Final = 1
LOREM_IPSUM: Final = 2
POLICY: Final = 4

PHRASES: Final = (
    ("javascript", JAVASCRIPT),
    ("lorem ipsum", LOREM_IPSUM),
    ("terms of use", POLICY),
    ("privacy policy", POLICY),
    ("cookie policy", POLICY),
    ("uses cookies", POLICY),
    ("use of cookies", POLICY),
    ("use cookies", POLICY),
)
"""Lower-case phrases; all are ASCII, begin with a letter, and hold one of RARE."""

RARE: Final = ("jav", "psu", "f u", "vac", "coo")
"""Three letters of each phrase that are rare in other text; none is "k", which has another form (see `_phrase_at`)."""


def _words(chars: str) -> tuple[np.uint64, ...]:
    """Eight times the same character, for each of some."""
    return tuple(np.uint64(ord(char)) * ONES for char in chars)


J0, J1, J2 = _words(RARE[0])
P0, P1, P2 = _words(RARE[1])
F0, F1, F2 = _words(RARE[2])
V0, V1, V2 = _words(RARE[3])
C0, C1, C2 = _words(RARE[4])
OPEN_CURLY, OPEN_BRACKET = _words("{[")

PHRASE_BYTES: Final = np.frombuffer("".join(phrase for phrase, _ in PHRASES).encode(), np.uint8)
PHRASE_BOUNDS: Final = np.cumsum([0, *(len(phrase) for phrase, _ in PHRASES)]).astype(np.int64)
PHRASE_KINDS: Final = np.array([kind for _, kind in PHRASES], np.int64)
RARE_BYTES: Final = np.frombuffer("".join(RARE).encode(), np.uint8).reshape(len(RARE), 3)

EDIT: Final = np.frombuffer(b"[edit]", np.uint8)
NEEDED: Final = np.frombuffer(b"[citation needed]", np.uint8)


@lean_kernel
def candidates(data: Any, start: Any, stop: Any) -> Any:
    """What may be in a text, a sum of `PHRASE`, `CURLY` and `BRACKET`; what is not in the sum is not in the text."""
    rare, curly, bracket = np.uint64(0), np.uint64(0), np.uint64(0)
    blocks = max(np.int64(0), (stop - start - 2) // 8)
    for block in range(blocks):
        at = start + block * 8
        raw = load64(data, at)
        first, second, third = raw | BLANKS, load64(data, at + 1) | BLANKS, load64(data, at + 2) | BLANKS
        # A byte of `differs` is zero where three bytes are the wanted ones; a zero byte sets its high bit.
        differs = (first ^ J0) | (second ^ J1) | (third ^ J2)
        rare |= (differs - ONES) & ~differs
        differs = (first ^ P0) | (second ^ P1) | (third ^ P2)
        rare |= (differs - ONES) & ~differs
        differs = (first ^ F0) | (second ^ F1) | (third ^ F2)
        rare |= (differs - ONES) & ~differs
        differs = (first ^ V0) | (second ^ V1) | (third ^ V2)
        rare |= (differs - ONES) & ~differs
        differs = (first ^ C0) | (second ^ C1) | (third ^ C2)
        rare |= (differs - ONES) & ~differs
        differs = raw ^ OPEN_CURLY
        curly |= (differs - ONES) & ~differs
        differs = raw ^ OPEN_BRACKET
        bracket |= (differs - ONES) & ~differs
    found = PHRASE * ((rare & HIGHS) != 0) | CURLY * ((curly & HIGHS) != 0) | BRACKET * ((bracket & HIGHS) != 0)
    for at in range(start + blocks * 8, stop):
        found |= CURLY * (data[at] == ord("{")) | BRACKET * (data[at] == ord("["))
        for triple in range(len(RARE_BYTES) if at + 2 < stop else 0):
            wanted = RARE_BYTES[triple]
            if data[at] | 32 == wanted[0] and data[at + 1] | 32 == wanted[1] and data[at + 2] | 32 == wanted[2]:
                found |= PHRASE
    return found


@lean_kernel
def _phrase_at(data: Any, at: Any, stop: Any, phrase: Any) -> Any:
    """Whether a phrase is at a place, whatever the case.

    Of all characters but the phrases' own letters, `str.lower()` makes one of them only of the Kelvin sign (of the dotted capital I it
    makes two characters, and then the phrase is not there).
    """
    for index in range(PHRASE_BOUNDS[phrase], PHRASE_BOUNDS[phrase + 1]):
        if at >= stop:
            return False
        wanted = PHRASE_BYTES[index]
        found = data[at] if wanted == 32 else data[at] | 32
        if found == wanted:
            at += 1
        elif wanted == ord("k") and at + 2 < stop and data[at] == 0xE2 and data[at + 1] == 0x84 and data[at + 2] == 0xAA:
            at += 3
        else:
            return False
    return True


@lean_kernel
def phrases(data: Any, start: Any, stop: Any) -> Any:
    """What kinds of phrases are in the lower case of a text, a sum of `JAVASCRIPT`, `LOREM_IPSUM` and `POLICY`."""
    found = np.int64(0)
    for at in range(start, stop):
        first = data[at] | 32
        for phrase in range(len(PHRASE_KINDS)):
            if PHRASE_BYTES[PHRASE_BOUNDS[phrase]] == first and _phrase_at(data, at, stop, phrase):
                found |= PHRASE_KINDS[phrase]
    return found


@lean_kernel
def _has_prefix(data: Any, at: Any, stop: Any, prefix: Any) -> Any:
    if stop - at < len(prefix):
        return False
    for index in range(len(prefix)):  # noqa: SIM110 -- numba compiles no generators
        if data[at + index] != prefix[index]:
            return False
    return True


@lean_kernel
def citation_size(tables: Any, data: Any, at: Any, stop: Any) -> Any:
    r"""Size in bytes of the citation at a place, 0 if there is none: `\[\d*]|\[edit]|\[citation needed]`, digits of any script."""
    if data[at] != ord("["):
        return np.int64(0)
    if _has_prefix(data, at, stop, EDIT):
        return np.int64(len(EDIT))
    if _has_prefix(data, at, stop, NEEDED):
        return np.int64(len(NEEDED))
    place = np.int64(at) + 1
    while place < stop:
        if data[place] == ord("]"):
            return place + 1 - at
        code, size = decode(data, place, stop)
        if not class_of(tables, code) & DECIMAL:
            break
        place += size
    return np.int64(0)


@lean_kernel
def without_citations(tables: Any, data: Any, start: Any, stop: Any, out: Any) -> Any:
    """Write a text without its citations to the beginning of `out`. Returns its size and how many citations there were."""
    size, removed = np.int64(0), np.int64(0)
    at = np.int64(start)
    while at < stop:
        citation = citation_size(tables, data, at, stop)
        if citation:
            removed += 1
            at += citation
        else:
            out[size] = data[at]
            size += 1
            at += 1
    return size, removed


@lean_kernel
def has_words(data: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """Whether a text has at least so many words between white space."""
    num_words = np.int64(0)
    at = np.int64(start)
    inside = False
    while at < stop and num_words < wanted:
        size = space_size(data, at, stop)
        if size:
            inside = False
            at += size
        else:
            num_words += not inside
            inside = True
            at += 1
    return num_words >= wanted


@lean_kernel
def has_longer_word(data: Any, start: Any, stop: Any, max_chars: Any) -> Any:
    """Whether some word between white space has more than so many characters.

    Such a word has more bytes than that, too, so that it is enough to look for white space back from as far as a word may go.
    """
    word = np.int64(start)
    while stop - word > max_chars:
        place = word + max_chars
        while place >= word and space_size(data, place, stop) == 0:
            place -= 1
        if place >= word:
            word = place + 1
            while word < stop and data[word] & 0xC0 == 0x80:
                word += 1
            continue
        place = word + max_chars
        while place < stop and space_size(data, place, stop) == 0:
            place += 1
        if num_chars(data, word, place) > max_chars:
            return True
        word = place
    return False
