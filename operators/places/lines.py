"""Places that are lines or paragraphs: repeated, short, without a mark at their end, bullets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from operators.places.place import Place

Span = tuple[int, int]

BULLETS: Final = ("•", "-")
ELLIPSES: Final = ("...", "…")
TAIL_CHARS: Final = 24
"""Of a line whose end is the place, so much is shown at most: its last word."""


def lines(text: str) -> Iterator[Span]:
    r"""Lines between line feeds, as `text.split("\n")` has them."""
    return parts(text, "\n")


def parts(text: str, separator: str, start: int = 0, stop: int | None = None) -> Iterator[Span]:
    """Parts of `text[start:stop]` between what a pattern matches, as `re.split` has them."""
    end = len(text) if stop is None else stop
    at = start
    for match in re.compile(separator).finditer(text, start, end):
        yield at, match.start()
        at = match.end()
    yield at, end


def split_lines(text: str) -> Iterator[Span]:
    """Lines as `text.splitlines()` has them."""
    at = 0
    for line in text.splitlines(keepends=True):
        yield at, at + len(line.splitlines()[0])
        at += len(line)


def stripped(text: str, span: Span) -> Span:
    """A span without the white space at its ends; empty where there is nothing else."""
    start, stop = span
    line = text[start:stop]
    left = len(line) - len(line.lstrip())
    return start + left, max(start + left, start + len(line.rstrip()))


def is_blank(text: str, span: Span) -> bool:
    """Whether there is nothing but white space."""
    return not text[slice(*span)].strip()


def repeated(text: str, spans: Iterable[Span], noun: str) -> Iterator[Place]:
    """Spans with the same text as an earlier one; of an empty one the line feed beside it."""
    seen: set[str] = set()
    for start, stop in spans:
        part = text[start:stop]
        if part in seen:
            first = start if start < stop else max(0, start - 1)
            yield Place(first, max(stop, first + 1), f"{noun} that occurred before")
        seen.add(part)


def repeated_lines(text: str) -> Iterator[Place]:
    """Lines between runs of line feeds that occurred before (Gopher)."""
    return repeated(text, parts(text, r"\n+"), "line")


def repeated_paragraphs(text: str) -> Iterator[Place]:
    """Paragraphs between empty lines that occurred before (Gopher)."""
    return repeated(text, parts(text, r"\n{2,}", *stripped(text, (0, len(text)))), "paragraph")


def repeated_filled_lines(text: str) -> Iterator[Place]:
    """Lines that are not blank and occurred before (FineWeb)."""
    return repeated(text, (span for span in lines(text) if not is_blank(text, span)), "line")


def short_lines(text: str, max_chars: int) -> Iterator[Place]:
    """Lines that are not blank and have at most so many characters."""
    for start, stop in lines(text):
        if stop - start <= max_chars and not is_blank(text, (start, stop)):
            yield Place(start, stop, f"line of {stop - start} characters; up to {max_chars} is short")


def unmarked_lines(text: str, marks: tuple[str, ...]) -> Iterator[Place]:
    """The ends of lines that are not blank and end with none of some marks."""
    for span in lines(text):
        if not is_blank(text, span) and not text.endswith(marks, *span):
            yield line_end(text, span, "line that does not end with a mark")


def line_end(text: str, span: Span, why: str) -> Place:
    """The last word of a line that is not blank."""
    start, stop = stripped(text, span)
    word = max(text.rfind(" ", start, stop) + 1, start, stop - TAIL_CHARS)
    return Place(word, stop, why)


def bullets(text: str) -> Iterator[Place]:
    """Marks with which lines begin as those of a list do."""
    for span in split_lines(text):
        start, stop = stripped(text, span)
        if text.startswith(BULLETS, start, stop):
            yield Place(start, start + 1, "bullet at the beginning of a line")


def end_ellipses(text: str) -> Iterator[Place]:
    """Ellipses at the ends of lines."""
    for span in split_lines(text):
        start, stop = stripped(text, span)
        mark = next((mark for mark in ELLIPSES if text.endswith(mark, start, stop)), None)
        if mark is not None:
            yield Place(stop - len(mark), stop, "ellipsis at the end of a line")


def occurrences(text: str, pattern: str, why: str) -> Iterator[Place]:
    """Every place that a pattern matches."""
    return (Place(*match.span(), why) for match in re.finditer(pattern, text))
