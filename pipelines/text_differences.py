"""Where two texts differ: the first places, word by word, marked on both sides.

Pure, and bounded for texts of any length: what both begin with is passed over by comparing slices, and a few hundred words from there on
are compared with each other. Without the marked stretches the two excerpts are equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from pipelines.study import Mark

MAX_CHARS: Final = 1200
"""Of an excerpt, on each side."""
CONTEXT_CHARS: Final = 160
"""What both texts have in common before the first difference that is shown."""
MAX_WORDS: Final = 400
"""Compared with each other on each side: in the worst case the time grows with the square."""
ONLY_REMOVED: Final = "only in the removed document"
ONLY_KEPT: Final = "only in the kept document"
WORD: Final = re.compile(r"[^\W\u0e00-\u0eff\u2e80-\U0003ffff]{1,64}|\s{1,64}|.", re.DOTALL)
"""A word, a stretch of space, or one character of scripts that are written without space between words, or of anything else."""

Operation = tuple[bool, str, str]
"""Whether two stretches are the same, and both."""


@dataclass(frozen=True, slots=True)
class Differing:
    """One of two texts, as far as it is shown.

    Attributes:
        text: Its characters from `first_char` on.
        num_chars: Of the whole text.
        marks: What the other one does not have.
    """

    text: str
    first_char: int
    num_chars: int
    marks: tuple[Mark, ...]


def differences(removed: str, kept: str, max_chars: int = MAX_CHARS) -> tuple[Differing, Differing]:
    """The first differences of two texts, with what comes before them; the beginning of both where there are none."""
    start = 0 if removed == kept else _window_start(removed, kept)
    texts: tuple[list[str], list[str]] = ([], [])
    marks: tuple[list[Mark], list[Mark]] = ([], [])
    left = [max_chars, max_chars]
    for is_same, *stretches in _operations(removed[start : start + 2 * max_chars], kept[start : start + 2 * max_chars]):
        whole = [len(stretch) for stretch in stretches]
        room = [min(left)] * 2 if is_same else left
        shown = [stretch[:most] for stretch, most in zip(stretches, room, strict=True)]
        for side, why in enumerate((ONLY_REMOVED, ONLY_KEPT)):
            at = max_chars - left[side]
            if shown[side] and not is_same:
                marks[side].append(Mark(at, at + len(shown[side]), why))
            texts[side].append(shown[side])
            left[side] -= len(shown[side])
        if [len(text) for text in shown] != whole:
            break
    one, other = (Differing("".join(texts[side]), start, len(text), tuple(marks[side])) for side, text in enumerate((removed, kept)))
    return one, other


def _window_start(removed: str, kept: str) -> int:
    """A little before the first character that differs, at the beginning of a word if one is near."""
    first = common_prefix(removed, kept)
    start = max(0, first - CONTEXT_CHARS)
    if start:
        space = removed.find(" ", start, first)
        start = start if space < 0 else space + 1
    return start


def common_prefix(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning: found by comparing slices, twice as long each time."""
    low, step, most = 0, 1024, min(len(one), len(other))
    while low < most and one[low : low + step] == other[low : low + step]:
        low = min(low + step, most)
        step *= 2
    high = min(low + step, most)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _operations(removed: str, kept: str) -> Iterator[Operation]:
    words = [WORD.findall(removed)[:MAX_WORDS], WORD.findall(kept)[:MAX_WORDS]]
    matcher = SequenceMatcher(None, *words, autojunk=False)
    for name, first, last, start, stop in matcher.get_opcodes():
        yield name == "equal", "".join(words[0][first:last]), "".join(words[1][start:stop])
