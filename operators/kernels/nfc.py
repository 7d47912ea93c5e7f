"""Which texts may not be in Unicode's normalization form C: the quick check of UAX #15, section 9, over bytes.

It says of a text that it is in the form only where that is sure, whatever version of Unicode is asked: what this Python's version has not
assigned is looked at by whoever normalizes. (kernels/composed.py decides more, for this Python's Unicode alone.)
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.kernels.kept import kept
from operators.kernels.lean import lean_kernel
from operators.kernels.unicode import NUM_CODES, decode

Bytes = npt.NDArray[np.uint8]

LOOK: Final = 255
"""The class of what the check cannot decide, or that is never in the form; combining classes end at 240."""
FIRST: Final = 0x300
"""No code point below is a mark or joins with one before it."""
SURROGATES: Final = range(0xD800, 0xE000)
VOWELS: Final = range(0x1161, 0x1176)
FINALS: Final = range(0x11A8, 0x11C3)


@cache
def classes() -> Bytes:
    """The combining class of each code point, or `LOOK`; from this node's cache, or made and put there."""
    found: Bytes = kept("nfc", __file__, unicodedata.unidata_version.encode(), _made)["classes"]
    return found


def _made() -> dict[str, Bytes]:
    made = np.zeros(NUM_CODES, np.uint8)
    for code in range(FIRST, NUM_CODES):
        if code not in SURROGATES:
            made[code] = _class(chr(code))
    made[[*VOWELS, *FINALS]] = LOOK
    made[_joining()] = LOOK
    return {"classes": made}


def _class(char: str) -> int:
    if unicodedata.category(char) == "Cn" or unicodedata.normalize("NFC", char) != char:
        return LOOK
    return unicodedata.combining(char)


def _joining() -> list[int]:
    """Code points that become one with what stands before them: the last of each decomposition into two."""
    parts = (unicodedata.decomposition(chr(code)).split() for code in range(NUM_CODES))
    return sorted({int(part[1], 16) for part in parts if len(part) == 2 and not part[0].startswith("<")})


@lean_kernel
def find_unsure(offsets: Any, data: Any, classes: Any, unsure: Any) -> None:
    """Set `unsure` to 1 for each text that may not be in the form, else to 0."""
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        last, found = 0, 0
        while at < stop:
            if data[at] < 0x80:
                last = 0
                at += 1
                continue
            code, size = decode(data, at, stop)
            kind = classes[code]
            if kind != 0 and (kind == LOOK or kind < last):
                found = 1
                break
            last = kind
            at += size
        unsure[row] = found
