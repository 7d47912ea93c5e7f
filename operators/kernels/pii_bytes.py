"""What the recognizers of personal data share: kinds of bytes, the word before a number, where a number may begin and end.

All of it is ASCII: a byte of a longer character is neither letter nor digit, so that an address amid Chinese text is found.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel

DIGIT: Final = 1
UPPER: Final = 2
LOWER: Final = 4
HEX_LETTER: Final = 8
UNDERSCORE: Final = 16
LOCAL_SIGN: Final = 32  # signs that may stand inside the part of an address before the "@"
BLOCKING: Final = 64  # signs behind which a number is part of an address, a formula or a path
JOINT: Final = 128  # signs that join two numbers to one
LETTER: Final = UPPER | LOWER
ALNUM: Final = DIGIT | LETTER
WORD: Final = ALNUM | UNDERSCORE
LOCAL: Final = WORD | LOCAL_SIGN

SPACE, TAB, HASH, OPEN, CLOSE, PLUS, _, MINUS, DOT, SLASH, ZERO, COLON, EQUALS = (np.uint8(ord(sign)) for sign in " \t#()+,-./0:=")

MAX_WORD: Final = 12
MAX_GAP: Final = 4


def _bytes() -> npt.NDArray[np.uint8]:
    """What kinds each byte is of."""
    kinds = np.zeros(256, np.uint8)
    sets = (
        (b"0123456789", DIGIT),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", UPPER),
        (b"abcdefghijklmnopqrstuvwxyz", LOWER),
        (b"abcdefABCDEF", HEX_LETTER),
        (b"_", UNDERSCORE),
        (b".%+-", LOCAL_SIGN),
        (b"/=#&$@\\^", BLOCKING),
        (b".-/:,", JOINT),
    )
    for members, kind in sets:
        kinds[list(members)] |= kind
    return kinds


def word_codes(*words: str) -> npt.NDArray[np.int64]:
    """Words of at most twelve ASCII letters as numbers, in the way `word_before` reads them."""
    codes = []
    for word in words:
        code = 0
        for letter in reversed(word):
            code = code * 32 + (ord(letter) & 31)
        codes.append(code)
    return np.array(codes, np.int64)


BYTES = _bytes()


@lean_kernel
def is_a(data: Any, at: Any, start: Any, stop: Any, kinds: Any) -> Any:
    """Is the byte at a place of one of some kinds; outside of the text there is none."""
    return start <= at < stop and BYTES[data[at]] & kinds != 0


@lean_kernel
def is_sign(data: Any, at: Any, start: Any, stop: Any, sign: Any) -> Any:
    """Is the byte at a place this one."""
    return start <= at < stop and data[at] == sign


@lean_kernel
def run_end(data: Any, at: Any, stop: Any, kinds: Any) -> Any:
    """Where the run of bytes of some kinds that begins at a place ends."""
    while at < stop and BYTES[data[at]] & kinds != 0:
        at += 1
    return at


@lean_kernel
def has_at(data: Any, at: Any, stop: Any, literal: Any) -> Any:
    """Do the bytes at a place spell a literal."""
    size = len(literal)
    if at + size > stop:
        return False
    for i in range(size):  # noqa: SIM110  a kernel knows no generators
        if data[at + i] != literal[i]:
            return False
    return True


@lean_kernel
def word_before(data: Any, at: Any, start: Any) -> Any:
    """The word before a place as a number, with at most four spaces and signs between; 0 without one. Second: where it begins."""
    place = at
    while place > start and at - place < MAX_GAP:
        sign = data[place - 1]
        if sign not in (SPACE, TAB, DOT, COLON, HASH, OPEN, CLOSE, EQUALS):
            break
        place -= 1
    code, size = np.int64(0), 0
    while place > start and size <= MAX_WORD and BYTES[data[place - 1]] & LETTER != 0:
        place -= 1
        size += 1
        code = code * 32 + np.int64(data[place] & 31)
    if size == 0 or size > MAX_WORD:
        return np.int64(0), place
    return code, place


@lean_kernel
def is_one_of(code: Any, codes: Any) -> Any:
    """Is a word among some."""
    for each in codes:  # noqa: SIM110  a kernel knows no generators
        if each == code:
            return True
    return False


@lean_kernel
def number_begins(data: Any, at: Any, start: Any) -> Any:
    """May an identifying number begin here: not inside a word, another number, an address or a path."""
    return not is_a(data, at - 1, start, at, LOCAL | BLOCKING)


@lean_kernel
def number_ends(data: Any, at: Any, start: Any, stop: Any) -> Any:
    """May an identifying number end here: not inside a word or another number."""
    if at >= stop:
        return True
    kinds = BYTES[data[at]]
    if kinds & WORD != 0:
        return False
    return not (kinds & JOINT != 0 and is_a(data, at + 1, start, stop, DIGIT))
