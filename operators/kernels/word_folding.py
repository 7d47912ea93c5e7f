r"""What each character becomes before texts are compared word by word: the normalizations of MinHash, as tables for a kernel.

`datatrove` is `simplify_text` of datatrove 0.10 with its default settings (lower case; each number, digits with at most one fraction, is
"0"; its punctuation separates words; canonical decomposition; nonspacing marks go), in the order decomposition, lower case, numbers,
punctuation, marks, so that canonical equivalents (U+2260 and "=" with U+0338) become the same. Four things differ: punctuation is
punctuation in each of its canonical spellings; the final sigma is a sigma; invisible characters go with the marks (a zero-width space in
each tenth word would hide a copy); and words are what white space separates, no tokenizer splits them further, but characters of scripts
that put no spaces between words (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar) are words by themselves.

`folded` is `datatrove` but that numbers and underscores stay as they are: sentences that differ in their numbers alone are no copies of
each other, and an underscore is part of a name.

`words` are the runs of `\w` in `str.lower()`, the final sigma being a sigma. `none` are the parts of `str.split()`.

Marks that stay are ordered among each other as UAX #15 says, in runs of at most 30, as in its stream-safe format.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.kept import kept
from operators.kernels.unicode import NUM_CODES

Normalization = Literal["folded", "datatrove", "words", "none"]

# What a character does; the bits below are a code point or a place in `longer`.
KIND_SHIFT: Final = 21
PAYLOAD: Final = (1 << KIND_SHIFT) - 1
SAME: Final = 0  # part of a word as it is
OTHER: Final = 1  # the code point is part of a word instead
DIGIT: Final = 2  # part of a word, together with the number that it begins
ALONE: Final = 3  # a word by itself
ALONE_OTHER: Final = 4  # the code point is a word by itself instead
SEPARATOR: Final = 5
DROPPED: Final = 6
DROPPED_STARTER: Final = 7  # dropped, but marks are not ordered across it
HANGUL: Final = 8  # a syllable, which becomes its two or three letters
MARK: Final = 9  # part of a word that is ordered; `longer` has its combining class and code point
SEVERAL: Final = 10  # `longer` has the number of actions and the actions
KIND_MASK: Final = 15
FRACTION: Final = 1 << 25  # may stand between the digits of a number

PUNCTUATION: Final = frozenset(
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\xab\xb4\xbb\u2013\u2014\u2019\u201c\u201d\u201e\u2026\u2236\u2501\u25ba\u3001\u3002\u3008\u3009"
    "\u300a\u300b\u300c\u300d\u3010\u3011\uff01\uff05\uff08\uff09\uff0c\uff0e\uff11\uff1a\uff1b\uff1f\uff5e"
) | {chr(code) for first, last in ((0, 9), (11, 13), (13, 32), (127, 160)) for code in range(first, last)}
"""What datatrove (0.10, Apache-2.0) replaces by a space."""
INVISIBLE: Final = frozenset(
    chr(code)
    for first, last in (
        *((0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF)),
        *((0xE0001, 0xE0001), (0xE0020, 0xE007F)),
    )
    for code in range(first, last + 1)
)
"""Zero-width spaces and joiners, soft hyphens, marks of direction, tags: format characters that show nothing by themselves."""
FRACTION_MARKS: Final = frozenset(".,\u060c\u066b\u2396\u2397\u2398")
ALONE_NAMES: Final = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
ALONE_BLOCKS: Final = (
    (0x2E80, 0x2FD5),
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3038, 0x303B),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0x20000, 0x3FFFF),
)
"""Han: radicals, iteration marks, numerals and ideographs, those of later Unicode versions included."""
SIGMA, FINAL_SIGMA = "\u03c3", "\u03c2"
FIRST_SYLLABLE: Final = 0xAC00
LAST_SYLLABLE: Final = 0xD7A3

Piece = tuple[int, str]
"""A kind and a character."""


class Folding(NamedTuple):
    """What each code point becomes.

    Attributes:
        pages: uint16, by `code >> 8`: the page of the code point.
        actions: uint32, by `(page << 8) | (code & 255)`: kind, payload and `FRACTION`.
        longer: uint32: what does not fit an action.
    """

    pages: npt.NDArray[np.uint16]
    actions: npt.NDArray[np.uint32]
    longer: npt.NDArray[np.uint32]


@cache
def folding(normalization: Normalization) -> Folding:
    """The tables of a normalization and this Python's Unicode version, from this node's cache."""
    source = unicodedata.unidata_version.encode()
    return Folding(**kept(f"folding-{normalization}", __file__, source, partial(_made, _PIECES_OF[normalization])))


def stands_alone(char: str) -> bool:
    """Is a character of a script without spaces between words."""
    code = ord(char)
    if any(first <= code <= last for first, last in ALONE_BLOCKS):
        return True
    name = unicodedata.name(char, "").removeprefix("HALFWIDTH ")
    return name.startswith(ALONE_NAMES)


def _made(pieces_of: Callable[[str], list[Piece]]) -> Mapping[str, npt.NDArray[Any]]:
    longer = [0]
    table = np.fromiter((_action(code, pieces_of(chr(code)), longer) for code in range(NUM_CODES)), np.uint32, NUM_CODES)
    if pieces_of is _pieces_datatrove:
        table[[ord(mark) for mark in FRACTION_MARKS]] |= FRACTION
    rows, pages = np.unique(table.reshape(-1, 256), axis=0, return_inverse=True)
    return {"pages": pages.ravel().astype(np.uint16), "actions": rows.ravel(), "longer": np.array(longer, np.uint32)}


def _action(code: int, pieces: list[Piece], longer: list[int]) -> int:
    if FIRST_SYLLABLE <= code <= LAST_SYLLABLE and len(pieces) > 1:
        return HANGUL << KIND_SHIFT
    actions = [_piece_action(code, kind, char, longer) for kind, char in pieces]
    if len(actions) == 1:
        return actions[0]
    longer += [len(actions), *actions]
    return SEVERAL << KIND_SHIFT | (len(longer) - len(actions) - 1)


def _piece_action(code: int, kind: int, char: str, longer: list[int]) -> int:
    if kind == MARK:
        longer += [unicodedata.combining(char), ord(char)]
        return MARK << KIND_SHIFT | (len(longer) - 2)
    if kind in (SAME, ALONE) and ord(char) != code:
        return (OTHER if kind == SAME else ALONE_OTHER) << KIND_SHIFT | ord(char)
    return kind << KIND_SHIFT


def _pieces_datatrove(char: str) -> list[Piece]:
    decomposed = unicodedata.normalize("NFD", char)
    folded = "".join(unicodedata.normalize("NFD", part.lower()) for part in decomposed).replace(FINAL_SIGMA, SIGMA)
    pieces = [(_kind(part), part) for part in folded]
    return [piece for piece in pieces if piece[0] != DROPPED] or pieces[:1]


def _kind(char: str) -> int:
    combining = unicodedata.combining(char)
    if unicodedata.category(char) == "Mn" or char in INVISIBLE:
        return DROPPED if combining else DROPPED_STARTER
    if char.isdecimal():
        return DIGIT
    if char in PUNCTUATION or char.isspace():
        return SEPARATOR
    if combining:
        return MARK
    return ALONE if stands_alone(char) else SAME


def _pieces_folded(char: str) -> list[Piece]:
    return [(SAME if kind == DIGIT or part == "_" else kind, part) for kind, part in _pieces_datatrove(char)]


def _pieces_words(char: str) -> list[Piece]:
    folded = char.lower().replace(FINAL_SIGMA, SIGMA)
    return [(SAME if part.isalnum() or part == "_" else SEPARATOR, part) for part in folded]


def _pieces_none(char: str) -> list[Piece]:
    return [(SEPARATOR if char.isspace() else SAME, char)]


_PIECES_OF: Final[Mapping[Normalization, Callable[[str], list[Piece]]]] = {
    "folded": _pieces_folded,
    "datatrove": _pieces_datatrove,
    "words": _pieces_words,
    "none": _pieces_none,
}
