"""Lines of a terminal: text with styles, cut where its width ends, with wide characters counted as two cells.

What is given is harmless already (pipelines/legible.py): nothing in it moves the cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich.cells import get_character_cell_size

Style = Literal["", "bold", "dim", "mark", "bad"]
CODES: Final[dict[Style, str]] = {"": "", "bold": "\x1b[1m", "dim": "\x1b[2m", "mark": "\x1b[30;43m", "bad": "\x1b[31m"}
RESET: Final = "\x1b[0m"
MARKS: Final = ("⟦", "⟧")
"""Around what is marked where there are no colours."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one style."""

    text: str
    style: Style = ""


def cells(text: str) -> int:
    """Width of a text on a terminal."""
    return len(text) if text.isascii() else sum(get_character_cell_size(character) for character in text)


def painted(pieces: Sequence[Piece], *, colour: bool) -> str:
    """A line with its styles as escape codes, each ended in the line."""
    if not colour:
        return "".join(piece.text for piece in pieces)
    return "".join(f"{CODES[piece.style]}{piece.text}{RESET}" if piece.style and piece.text else piece.text for piece in pieces)


def bracketed(pieces: Sequence[Piece]) -> list[Piece]:
    """The same where there are no colours: what is marked stands in brackets."""
    return [Piece(piece.text.join(MARKS), piece.style) if piece.style == "mark" and piece.text else piece for piece in pieces]


def wrapped(pieces: Sequence[Piece], width: int | None, indent: int = 0) -> Iterator[list[Piece]]:
    """One line of text as lines of a terminal, cut at spaces where there are any; what follows the first is indented. None: one line."""
    whole = "".join(piece.text for piece in pieces)
    # A space at which a line is cut, or that ends it, could be one cell too many.
    end = len(whole) if width is None else len(whole.rstrip(" "))
    start = 0
    for stop, following in _cuts(whole[:end], width, indent):
        line = _between(pieces, start, stop)
        yield [Piece(" " * indent), *line] if start and indent else line
        start = following


def _cuts(text: str, width: int | None, indent: int) -> Iterator[tuple[int, int]]:
    """Where each line ends and the next one begins; the last one ends with the text."""
    start, room = 0, width
    while room is not None and width is not None:
        stop = _fitting(text, start, max(room, 1))
        if stop >= len(text):
            break
        space = text.rfind(" ", start, stop + 1)
        stop, start = (space, space + 1) if space > start else (stop, stop)
        yield stop, start
        room = width - indent
    yield len(text), len(text)


def _fitting(text: str, start: int, room: int) -> int:
    """How far a text fits, at least one character."""
    head = text[start : start + room]
    if head.isascii():
        return start + len(head)
    used, stop = 0, start
    while stop < len(text):
        used += get_character_cell_size(text[stop])
        if used > room and stop > start:
            break
        stop += 1
    return stop


def _between(pieces: Sequence[Piece], start: int, stop: int) -> list[Piece]:
    found, at = [], 0
    for piece in pieces:
        inside = piece.text[max(0, start - at) : max(0, stop - at)]
        if inside:
            found.append(Piece(inside, piece.style))
        at += len(piece.text)
    return found
