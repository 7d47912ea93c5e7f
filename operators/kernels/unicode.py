"""Characters: decoding UTF-8 in place, and what class each code point has, in tables made from `unicodedata`.

A table has two levels: `pages[code >> 8]` is the number of the page on which `code` lies, and equal pages are kept once, so that the few
that a text touches stay in the processor's cache. Tables are made once a node and Unicode version (about a second) and then mapped.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.kept import kept

# Classes of a code point; each is what the method of `str` says of the one-character string.
SPACE: Final = 1  # str.isspace, what str.split() splits at and str.strip() strips
BREAK: Final = 2  # what str.splitlines() ends a line at
ALPHA: Final = 4  # str.isalpha
DECIMAL: Final = 8  # str.isdecimal: general category Nd
NUMERIC: Final = 16  # str.isnumeric
UPPER: Final = 32  # str.isupper
LOWER: Final = 64  # str.islower
MARK: Final = 128  # general category M*
PUNCTUATION: Final = 256  # general category P*
SYMBOL: Final = 512  # general category S*
TITLE: Final = 1024  # general category Lt
CHANGES: Final = 2048  # str.lower() gives another string
WORD: Final = 4096  # `\w` of re: str.isalnum or "_"

ILL_FORMED: Final = 0xFFFD
NUM_CODES: Final = sys.maxunicode + 1
BREAKS: Final = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


class Tables(NamedTuple):
    """Classes and lower case of every code point, for kernels.

    Attributes:
        pages: uint16, by `code >> 8`: the page of the code point.
        classes: uint16, by `(page << 8) | (code & 255)`: the sum of its classes.
        lower: int32, likewise: what to add to the code point for its lower case, where that is one character ("\u0130" is left alone).
    """

    pages: npt.NDArray[np.uint16]
    classes: npt.NDArray[np.uint16]
    lower: npt.NDArray[np.int32]


@kernel
def decode(data: Any, at: Any, stop: Any) -> Any:
    """The character at a place and its size in bytes; an ill-formed byte is U+FFFD of size 1. Reads nothing at or after `stop`."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    if first < 0xC2 or first > 0xF4 or at + 1 >= stop:
        return ILL_FORMED, 1
    second = np.int64(data[at + 1])
    if second & 0xC0 != 0x80:
        return ILL_FORMED, 1
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (second & 0x3F), 2
    if at + 2 >= stop:
        return ILL_FORMED, 1
    third = np.int64(data[at + 2])
    if third & 0xC0 != 0x80:
        return ILL_FORMED, 1
    if first < 0xF0:
        code = ((first & 0x0F) << 12) | ((second & 0x3F) << 6) | (third & 0x3F)
        if code < 0x800 or 0xD800 <= code <= 0xDFFF:
            return ILL_FORMED, 1
        return code, 3
    if at + 3 >= stop:
        return ILL_FORMED, 1
    fourth = np.int64(data[at + 3])
    if fourth & 0xC0 != 0x80:
        return ILL_FORMED, 1
    code = ((first & 0x07) << 18) | ((second & 0x3F) << 12) | ((third & 0x3F) << 6) | (fourth & 0x3F)
    if code < 0x10000 or code > 0x10FFFF:
        return ILL_FORMED, 1
    return code, 4


@kernel
def decode_last(data: Any, start: Any, stop: Any) -> Any:
    """The character that ends just before `stop` and its size; an ill-formed byte is U+FFFD of size 1. Needs `start < stop`."""
    at = stop - 1
    while at > start and stop - at < 4 and data[at] & 0xC0 == 0x80:
        at -= 1
    code, size = decode(data, at, stop)
    if at + size == stop:
        return code, size
    return ILL_FORMED, 1


@kernel
def encode(code: Any, out: Any, at: Any) -> Any:
    """Write a character at a place, which has room for four bytes. Returns its size in bytes."""
    if code < 0x80:
        out[at] = code
        return 1
    if code < 0x800:
        out[at] = 0xC0 | (code >> 6)
        out[at + 1] = 0x80 | (code & 0x3F)
        return 2
    if code < 0x10000:
        out[at] = 0xE0 | (code >> 12)
        out[at + 1] = 0x80 | ((code >> 6) & 0x3F)
        out[at + 2] = 0x80 | (code & 0x3F)
        return 3
    out[at] = 0xF0 | (code >> 18)
    out[at + 1] = 0x80 | ((code >> 12) & 0x3F)
    out[at + 2] = 0x80 | ((code >> 6) & 0x3F)
    out[at + 3] = 0x80 | (code & 0x3F)
    return 4


@kernel
def class_of(tables: Any, code: Any) -> Any:
    """The classes of a code point below 0x110000."""
    return np.int64(tables.classes[(np.int64(tables.pages[code >> 8]) << 8) | (code & 255)])


@kernel
def lower_of(tables: Any, code: Any) -> Any:
    """The lower case of a code point below 0x110000, where that is one character; else the code point itself."""
    return code + np.int64(tables.lower[(np.int64(tables.pages[code >> 8]) << 8) | (code & 255)])


@kernel
def num_chars(data: Any, start: Any, stop: Any) -> Any:
    """How many characters begin in some bytes of well-formed UTF-8: `len` of the string."""
    count = 0
    for at in range(start, stop):
        count += (data[at] & 0xC0) != 0x80
    return count


@cache
def tables() -> Tables:
    """The tables of this Python's Unicode version, from this node's cache, or made and put there."""
    return Tables(**kept("unicode", __file__, unicodedata.unidata_version.encode(), _made))


def _made() -> dict[str, npt.NDArray[Any]]:
    classes = np.fromiter(map(_classes, range(NUM_CODES)), np.int32, NUM_CODES).reshape(-1, 256)
    lower = np.fromiter(map(_lower, range(NUM_CODES)), np.int32, NUM_CODES).reshape(-1, 256)
    both, pages = np.unique(np.hstack([classes, lower]), axis=0, return_inverse=True)
    return {"pages": pages.ravel().astype(np.uint16), "classes": both[:, :256].ravel().astype(np.uint16), "lower": both[:, 256:].ravel()}


def _classes(code: int) -> int:
    char = chr(code)
    category = unicodedata.category(char)
    facts = (
        (char.isspace(), SPACE),
        (char in BREAKS, BREAK),
        (char.isalpha(), ALPHA),
        (char.isdecimal(), DECIMAL),
        (char.isnumeric(), NUMERIC),
        (char.isupper(), UPPER),
        (char.islower(), LOWER),
        (category[0] == "M", MARK),
        (category[0] == "P", PUNCTUATION),
        (category[0] == "S", SYMBOL),
        (category == "Lt", TITLE),
        (char.lower() != char, CHANGES),
        (char.isalnum() or char == "_", WORD),
    )
    return sum(flag for holds, flag in facts if holds)


def _lower(code: int) -> int:
    lower = chr(code).lower()
    return ord(lower) - code if len(lower) == 1 else 0
