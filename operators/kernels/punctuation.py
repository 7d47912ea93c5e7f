"""What the characters of a word say of it: that it is more than punctuation, that it has a letter."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel
from operators.kernels.marks import TERMINAL_PUNCTUATION
from operators.kernels.unicode import ALPHA, NUM_CODES, class_of, decode

PUNCTUATION: Final = (
    "!/\u2014\u201d:\uff05\uff11\u3008&(\u3001\u2501\\\u3010#%\u300c\u300d\uff0c\u3011\uff1b+^]~\u201c\u300a\u201e';\u2019{|\u2236\u00b4[=-`*"
    '\uff0e\uff08\u2013\uff1f\uff01\uff1a$\uff5e\u00ab\u3009,><\u300b)?\uff09\u3002\u2026@_."}\u25ba\u00bb'
    + "".join(chr(code) for first, stop in ((0, 9), (11, 32), (127, 160)) for code in range(first, stop))
    + TERMINAL_PUNCTUATION
)
"""`datatrove.utils.text.PUNCTUATION_SET` (0.10, Apache-2.0): a word of these characters alone does not count."""

NAMED: Final = 1  # a character that is not in PUNCTUATION
LETTER: Final = 2
LONGER: Final = 4  # of a first byte: if the word is longer, its other characters must be looked at
UNTOLD: Final = 8  # of a first byte: it is not ASCII


class CharacterKinds(NamedTuple):
    """What a character says of the word that it is in.

    Attributes:
        first: uint8, by byte: the sum of its kinds; what its character is, if it is ASCII.
        marks: uint8, a bit a code point: 1 if it is in `PUNCTUATION`.
    """

    first: npt.NDArray[np.uint8]
    marks: npt.NDArray[np.uint8]


@cache
def character_kinds() -> CharacterKinds:
    """The table, made once."""
    marks = np.zeros(NUM_CODES // 8, np.uint8)
    for code in {ord(char) for char in PUNCTUATION}:
        marks[code >> 3] |= 1 << (code & 7)
    kinds = np.full(256, UNTOLD, np.uint8)
    for code in range(128):
        kinds[code] = NAMED * (chr(code) not in PUNCTUATION) + (LETTER if chr(code).isalpha() else LONGER)
    found = CharacterKinds(kinds, marks)
    for array in found:
        array.flags.writeable = False
    return found


@lean_kernel
def kind_of(tables: Any, kinds: Any, data: Any, at: Any, stop: Any) -> Any:
    """The kinds of all characters of a word together."""
    kind = np.int64(0)
    while at < stop and kind != NAMED | LETTER:
        if data[at] < 0x80:
            kind |= np.int64(kinds.first[data[at]]) & (NAMED | LETTER)
            at += 1
            continue
        code, size = decode(data, at, stop)
        if not (kinds.marks[code >> 3] >> (code & 7)) & 1:
            kind |= NAMED
        if class_of(tables, code) & ALPHA:
            kind |= LETTER
        at += size
    return kind
