"""How much of a document's text is shown: from its beginning, around its marks, or from where it differs from the one beside it."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.excerpts import excerpt
from pipelines.inspect_documents import Document
from pipelines.study import Mark
from pipelines.text_differences import differences


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
    start, shown, marks = excerpt(text, document.marks, max_chars)
    return Part(shown, start, len(text), marks)


def parts_of_pair(removed: Document, kept: Document, max_chars: int | None) -> tuple[Part | None, Part | None]:
    """What is shown of two texts that are compared: the first places where they differ, marked; as single ones where one is missing."""
    if removed.text is None or kept.text is None:
        return part_of(removed, max_chars), part_of(kept, max_chars)
    most = max(len(removed.text), len(kept.text), 1) if max_chars is None else max_chars
    found = differences(removed.text, kept.text, most)
    one, other = (Part(side.text, side.first_char, side.num_chars, side.marks) for side in found)
    return one, other
