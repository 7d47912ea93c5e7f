"""Combining marks in a row: the one place where Unicode's normalization takes time that grows with the square of the text's length.

A letter with some thousand marks of alternating classes is no writing, but a page can hold it, and a megabyte of it would keep a worker
for hours.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from typing import Final, Literal

LONG_RUN: Final = 64
"""Marks in a row that are put in order first; Unicode's Stream-Safe Text Format (UAX 15) allows 30."""
LONG_RUN_EXPRESSION: Final = r"\p{M}{16}"
"""Matches, for RE2, every text that `ordered` may change, and few others; asked for 64 of them, RE2 is fifty times as slow."""
SHORT_TEXT: Final = 1000
"""Characters of a text in which they are not looked for: a thousand marks take less than a millisecond in any order."""


def normalized(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """`unicodedata.normalize(form, text)`, in time that grows with the text's length."""
    return unicodedata.normalize(form, ordered(text) if len(text) > SHORT_TEXT and not text.isascii() else text)


def ordered(text: str) -> str:
    """A canonically equivalent text, in which long runs of marks are decomposed and sorted by their classes."""
    return _long_runs().sub(_in_order, text)


@cache
def _long_runs() -> re.Pattern[str]:
    marks = (char for char in map(chr, range(sys.maxunicode + 1)) if _is_mark(char))
    return re.compile(f"[{''.join(map(re.escape, marks))}]{{{LONG_RUN},}}")


def _is_mark(char: str) -> bool:
    """Whether a character decomposes to nothing but marks that are put in order."""
    parts = unicodedata.normalize("NFD", char) if unicodedata.decomposition(char) else char
    return all(map(unicodedata.combining, parts))


def _in_order(run: re.Match[str]) -> str:
    parts = "".join(unicodedata.normalize("NFD", mark) for mark in run.group())
    return "".join(sorted(parts, key=unicodedata.combining))
