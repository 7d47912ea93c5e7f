"""The script that most letters of a text are in, as ISO 15924 calls it (`Latn`, `Cyrl`, `Hani`).

A letter's script is told by its Unicode name, which begins with it; letters whose name does not (ordinal signs, modifiers) count for none.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.kept import kept
from operators.kernels.lean import lean_kernel
from operators.kernels.script_names import BY_NAME, HAN, HIRAGANA, JAPANESE, KATAKANA, LATIN, LONGER, SCRIPTS
from operators.kernels.unicode import NUM_CODES, decode
from operators.kernels.vectors import LINE_BYTES, line_is_ascii

_WIDTHS: Final = ("FULLWIDTH ", "HALFWIDTH ")
KANA_SHARE: Final = 10  # of which one in ten characters is kana, is Japanese


class Scripts(NamedTuple):
    """The script of each letter, 0 for what is none: a page by `code >> 8`, a number by `(page << 8) | (code & 255)`."""

    pages: npt.NDArray[np.uint16]
    numbers: npt.NDArray[np.uint8]


@lean_kernel
def _is_latin(byte: Any) -> Any:
    """1 for an ASCII letter, else 0."""
    return np.int64(np.uint8((byte | np.uint8(32)) - np.uint8(97)) < 26)


@lean_kernel
def main_scripts(offsets: Any, data: Any, scripts: Any, counts: Any, found: Any) -> None:
    """The number of the script that most letters of each text are in, the lowest one of equals; `counts` is int64, by script."""
    for row in range(len(found)):
        for i in range(len(counts)):
            counts[i] = 0
        at, stop, latin = offsets[row], offsets[row + 1], 0
        while at < stop:
            if data[at] < 0x80:
                while at + LINE_BYTES <= stop and line_is_ascii(data, at):
                    for i in range(at, at + LINE_BYTES):
                        latin += _is_latin(data[i])
                    at += LINE_BYTES
                while at < stop and data[at] < 0x80:
                    latin += _is_latin(data[at])
                    at += 1
            else:
                code, size = decode(data, at, stop)
                counts[scripts.numbers[(np.int64(scripts.pages[code >> 8]) << 8) | (code & 255)]] += 1
                at += size
        counts[LATIN] += latin
        kana = counts[HIRAGANA] + counts[KATAKANA]
        if kana * KANA_SHARE > kana + counts[HAN]:
            counts[JAPANESE] = kana + counts[HAN]
        best = 0
        counts[0] = 0
        for i in range(1, len(counts)):
            if counts[i] > counts[best]:
                best = i
        found[row] = best


@cache
def scripts() -> Scripts:
    """The scripts of this Python's Unicode version, from this node's cache."""
    return Scripts(**kept("scripts", __file__, unicodedata.unidata_version.encode(), _made))


def _made() -> dict[str, npt.NDArray[Any]]:
    numbers = np.fromiter(map(_number, range(NUM_CODES)), np.uint8, NUM_CODES).reshape(-1, 256)
    rows, pages = np.unique(numbers, axis=0, return_inverse=True)
    return {"pages": pages.ravel().astype(np.uint16), "numbers": rows.ravel()}


def _number(code: int) -> int:
    char = chr(code)
    if not char.isalpha():
        return 0
    name = unicodedata.name(char, "")
    for width in _WIDTHS:
        name = name.removeprefix(width)
    first, _, rest = name.partition(" ")
    script = LONGER.get(f"{first} {rest.partition(' ')[0]}") or BY_NAME.get(first)
    return 0 if script is None else SCRIPTS.index(script)
