"""What a place in a text is, how far a text is looked at, and how places become a list that can be shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

MOST_CHARS: Final = 200_000
"""Characters of a text that are looked at: a document may have 50 MB, and nobody reads on."""
MOST_PLACES: Final = 200


class Place(NamedTuple):
    """Characters `start` to `stop` (exclusive) of a text, and why they are shown."""

    start: int
    stop: int
    why: str


def looked_at(text: str) -> str:
    """The beginning of a text that is looked at; of a long one whole lines, or else whole words."""
    if len(text) <= MOST_CHARS:
        return text
    for separator in ("\n", " "):
        end = text.rfind(separator, MOST_CHARS // 2, MOST_CHARS)
        if end >= 0:
            return text[:end]
    return text[:MOST_CHARS]


def tidied(places: Iterable[Place]) -> list[Place]:
    """Places in the order of the text that don't overlap, at most `MOST_PLACES`: those of one kind are joined, else the first one wins."""
    found: list[Place] = []
    for start, stop, why in sorted(places):
        behind = found[-1].stop if found else 0
        if start < behind and found[-1].why == why:
            found[-1] = Place(found[-1].start, max(behind, stop), why)
        elif stop > max(start, behind):
            if len(found) == MOST_PLACES:
                break
            found.append(Place(max(start, behind), stop, why))
    return found
