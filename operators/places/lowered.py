"""A text in lower case whose places are known in the text as it was: one character may become two."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple, Self


class Lowered(NamedTuple):
    """A text in lower case.

    Attributes:
        text: What `str.lower` makes of it.
        origins: By character of that, its place in the text; None where they are the same.
    """

    text: str
    origins: list[int] | None

    @classmethod
    def of(cls, text: str) -> Self:
        """A text's."""
        lower = text.lower()
        if len(lower) == len(text):
            return cls(lower, None)
        # By itself each character has as many as in its text: only which sigma it is depends on its neighbours.
        ends = accumulate(len(char.lower()) for char in text)
        origins: list[int] = []
        for place, end in enumerate(ends):
            origins += [place] * (end - len(origins))
        return cls(lower, origins)

    def find_all(self, part: str) -> Iterator[tuple[int, int]]:
        """Where a part of it stands in the text, from left to right, not overlapping."""
        at = self.text.find(part)
        while at >= 0 and part:
            yield self.span(at, at + len(part))
            at = self.text.find(part, at + len(part))

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """A part of it, not an empty one, as a span of the text."""
        return (start, stop) if self.origins is None else (self.origins[start], self.origins[stop - 1] + 1)
