"""How much of a document's text is shown: from its beginning, around its marks, or from where it differs from the one beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.inspect_documents import Document
from pipelines.study import Mark
from pipelines.text_differences import differences

CONTEXT_CHARS: Final = 160
"""What is shown before the first mark, where the beginning of the text has none."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some characters of a text.

    Attributes:
        first_char: Place of the first of them in the whole text.
        num_chars: Of the whole text.
        marks: Places among them.
    """

    text: str
    first_char: int
    num_chars: int
    marks: tuple[Mark, ...] = ()


def part_of(document: Document, max_chars: int | None) -> Part | None:
    """What is shown of a text; None where there is none. `max_chars`: None: all of it."""
    text = document.text
    if text is None:
        return None
    if max_chars is None or len(text) <= max_chars:
        return Part(text, 0, len(text), document.marks)
    first = min((mark.start for mark in document.marks), default=0)
    start = 0 if first < max_chars else max(0, min(first - min(CONTEXT_CHARS, max_chars // 4), len(text) - max_chars))
    return Part(text[start : start + max_chars], start, len(text), _moved(document.marks, start, start + max_chars))


def _moved(marks: Sequence[Mark], start: int, stop: int) -> tuple[Mark, ...]:
    """Marks as far as they are in a stretch, counted from its beginning."""
    inside = (mark for mark in marks if mark.start < stop and mark.stop > start)
    return tuple(Mark(max(mark.start, start) - start, min(mark.stop, stop) - start, mark.why) for mark in inside)


def parts_of_pair(removed: Document, kept: Document, max_chars: int | None) -> tuple[Part | None, Part | None]:
    """What is shown of two texts that are compared: the first places where they differ, marked; as single ones where one is missing."""
    if removed.text is None or kept.text is None:
        return part_of(removed, max_chars), part_of(kept, max_chars)
    most = max(len(removed.text), len(kept.text), 1) if max_chars is None else max_chars
    found = differences(removed.text, kept.text, most)
    one, other = (Part(side.text, side.first_char, side.num_chars, side.marks) for side in found)
    return one, other
