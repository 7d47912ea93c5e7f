"""Which texts are neither all upper case nor in need of Unicode's composed form (NFC), so that their bytes can be read as they are.

The answer "plain" is always right; a text that is not found plain may still be, and a library looks at it. What decides is the quick check
of UAX #15 and, where a character may compose with the one before, whether those two do.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.kept import kept
from operators.kernels.lean import lean_kernel
from operators.kernels.unicode import LOWER, NUM_CODES, TITLE, UPPER, class_of, decode
from operators.kernels.vectors import LINE_BYTES, line_is_ascii

LEAD: Final = 0xFF  # combining class of the first character of the decomposition
TRAIL: Final = 0xFF00  # that of the last one, shifted
CHANGES: Final = 0x10000  # not for the quick check to decide
SECOND: Final = 0x20000  # may compose with the starter before it
JAMO: Final = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


class Composition(NamedTuple):
    """What the composed form does with each code point.

    Attributes:
        pages: uint16, by `code >> 8`: the page of the code point.
        facts: uint32, by `(page << 8) | (code & 255)`: classes and flags.
        pairs: int64, sorted: (first << 32) | second of every two characters that compose.
    """

    pages: npt.NDArray[np.uint16]
    facts: npt.NDArray[np.uint32]
    pairs: npt.NDArray[np.int64]


@lean_kernel
def _compose(pairs: Any, first: Any, second: Any) -> Any:
    """Whether two characters compose."""
    wanted = (np.int64(first) << 32) | second
    low, high = 0, len(pairs)
    while low < high:
        middle = (low + high) >> 1
        if pairs[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low < len(pairs) and pairs[low] == wanted


@lean_kernel
def _is_plain(data: Any, start: Any, stop: Any, tables: Any, composition: Any) -> Any:
    may_be_upper, any_upper = True, False
    starter, trail, at = 0, 0, start
    while at < stop:
        if data[at] < 0x80:
            starter, trail = np.int64(data[at]), 0
            at += 1
            if may_be_upper:
                may_be_upper = not 97 <= starter <= 122
                any_upper = any_upper or 65 <= starter <= 90
                continue
            while at + LINE_BYTES <= stop and line_is_ascii(data, at):
                at += LINE_BYTES
            while at < stop and data[at] < 0x80:
                at += 1
            starter = np.int64(data[at - 1])
            continue
        code, size = decode(data, at, stop)
        at += size
        if may_be_upper:
            classes = class_of(tables, code)
            may_be_upper = classes & (LOWER | TITLE) == 0
            any_upper = any_upper or classes & UPPER != 0
        facts = np.int64(composition.facts[(np.int64(composition.pages[code >> 8]) << 8) | (code & 255)])
        lead = facts & LEAD
        if facts & CHANGES or (lead != 0 and lead < trail):
            return False
        if facts & SECOND and _compose(composition.pairs, starter, code):
            return False
        trail = (facts & TRAIL) >> 8
        if lead == 0:
            starter = code
    return not (may_be_upper and any_upper)


@lean_kernel
def find_plain(offsets: Any, data: Any, tables: Any, composition: Any, plain: Any) -> None:
    """Set `plain` for each text that `str.isupper` is false for and that is in composed form."""
    for row in range(len(plain)):
        plain[row] = _is_plain(data, offsets[row], offsets[row + 1], tables, composition)


@cache
def composition() -> Composition:
    """The facts of this Python's Unicode version, from this node's cache."""
    return Composition(**kept("composition", __file__, unicodedata.unidata_version.encode(), _made))


def _made() -> dict[str, npt.NDArray[Any]]:
    facts = np.zeros(NUM_CODES, np.uint32)
    canonical = {code: parts for code in range(NUM_CODES) if (parts := _decomposition(code))}
    composed = {code: parts for code, parts in canonical.items() if unicodedata.normalize("NFC", chr(code)) == chr(code)}
    pairs = {(parts[0], parts[1]) for parts in composed.values() if len(parts) == 2}
    seconds = {second for _, second in pairs}
    for code in range(NUM_CODES):
        combining = unicodedata.combining(chr(code))
        if combining:
            facts[code] = combining | combining << 8
    for code in canonical:
        full = unicodedata.normalize("NFD", chr(code))
        facts[code] = unicodedata.combining(full[0]) | unicodedata.combining(full[-1]) << 8
        if code not in composed or ord(full[0]) in seconds or code in seconds:
            facts[code] |= CHANGES
    facts[sorted(seconds)] |= SECOND
    facts[list(JAMO)] |= CHANGES
    rows, pages = np.unique(facts.reshape(-1, 256), axis=0, return_inverse=True)
    keys = np.array(sorted(first << 32 | second for first, second in pairs), np.int64)
    return {"pages": pages.ravel().astype(np.uint16), "facts": rows.ravel(), "pairs": keys}


def _decomposition(code: int) -> list[int]:
    """What a code point decomposes to in one canonical step; the syllables of Hangul, which compose by rule, have none here."""
    parts = unicodedata.decomposition(chr(code)).split()
    return [] if not parts or parts[0].startswith("<") else [int(part, 16) for part in parts]
