"""The part of a text that is shown: around the first place that is marked, no longer than asked for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pipelines.study import Mark

if TYPE_CHECKING:
    from operators.places import Place

MAX_CHARS: Final = 600
BEFORE: Final = 0.25
"""Of the characters shown, the share that stands before the first mark."""
MOST_JOINED: Final = 16
JOINER: Final = "\u200d"


def to_marks(places: Iterable[Place]) -> tuple[Mark, ...]:
    """Places as they are exchanged."""
    return tuple(Mark(*place) for place in places)


def excerpt(text: str, marks: Iterable[Mark | Place], max_chars: int = MAX_CHARS) -> tuple[int, str, tuple[Mark, ...]]:
    """The part of a text around its first mark: the place of its first character, it, and the marks in it, counted from its beginning.

    Args:
        text: The whole text.
        marks: In the order of the text, not overlapping.
        max_chars: Most characters of the part, at least 1.
    """
    given = [mark if isinstance(mark, Mark) else Mark(*mark) for mark in marks]
    first = given[0].start if given else 0
    start = max(0, min(first - int(BEFORE * max_chars), len(text) - max_chars))
    start = _begin(text, start)
    stop = min(len(text), start + max_chars)
    found = [Mark(max(mark.start, start) - start, min(mark.stop, stop) - start, mark.why) for mark in given]
    return start, text[start:stop], tuple(mark for mark in found if mark.start < mark.stop)


def _begin(text: str, start: int) -> int:
    """The place of a character that goes with none before it, so that no accent stands alone."""
    for _ in range(MOST_JOINED):
        if start == 0 or not (unicodedata.category(text[start])[0] == "M" or JOINER in text[start - 1 : start + 1]):
            break
        start -= 1
    return start
