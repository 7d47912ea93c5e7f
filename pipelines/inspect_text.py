"""Documents as a person reads them on a terminal or in a file: what became of them, their signals, their text.

Everything that comes from documents is made harmless before it is written: nothing in it reaches the terminal as a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipelines.inspect_documents import Document
from pipelines.inspect_excerpts import Part, part_of, parts_of_pair
from pipelines.inspect_values import Many
from pipelines.legible import NOTHING, count, harmless, legible
from pipelines.redaction import redact_uri
from pipelines.study import Mark
from pipelines.wrapping import Piece, Style, bracketed, cells, painted, wrapped

MAX_VALUE_CHARS: Final = 200
MAX_WORD_CHARS: Final = 1000
TAB: Final = "    "
BREAK: Final = "↵"
GAP: Final = "   "
PLAIN_WIDTH: Final = 100
"""Of rules and tables where lines are not folded."""
MIN_WIDTH: Final = 20
NEWLINES: Final = re.compile(r"\r\n|\n|\r|\u2028|\u2029|\x85|\x0b|\x0c")


@dataclass(frozen=True, slots=True)
class Look:
    """How documents are shown.

    Attributes:
        width: At which lines are folded; None: nowhere.
        max_chars: Of a text; None: all of it.
    """

    width: int | None = None
    colour: bool = False
    max_chars: int | None = None

    @property
    def room(self) -> int:
        """For what is laid out in columns."""
        return PLAIN_WIDTH if self.width is None else max(self.width, MIN_WIDTH)

    def line(self, *pieces: Piece, indent: int = 0) -> Iterator[str]:
        """One line, folded."""
        whole = list(pieces) if self.colour else bracketed(pieces)
        width = None if self.width is None else max(self.width, MIN_WIDTH)
        yield from (f"{painted(line, colour=self.colour)}\n" for line in wrapped(whole, width, indent))


def sentence(text: str, look: Look) -> str:
    """A line of ours, with an empty one behind it."""
    return "".join([*look.line(Piece(text, "dim"), indent=2), "\n"])


def shown(document: Document, number: int, look: Look) -> str:
    """A document, the `number`-th that is shown."""
    return "".join(_lines(document, number, look))


def _lines(document: Document, number: int, look: Look) -> Iterator[str]:
    own, kept = part_of(document, look.max_chars), None
    if document.kept is not None:
        own, kept = parts_of_pair(document, document.kept, look.max_chars)
    yield from _rule(f"{count(number)} {_state(document)}", look)
    yield from _place(document, look)
    if document.why:
        yield from look.line(Piece(legible(document.why, MAX_WORD_CHARS), "bad"))
    yield from _columns(document.columns, look)
    yield from _note(document, look)
    yield "\n"
    yield from _text(document, own, look)
    if document.kept is not None:
        yield from look.line(Piece("kept instead", "bold"))
        yield from _place(document.kept, look)
        yield from _note(document.kept, look)
        yield "\n"
        yield from _text(document.kept, kept, look)


def _rule(title: str, look: Look) -> Iterator[str]:
    head = f"── {title} "
    yield from look.line(Piece(head + "─" * (look.room - cells(head)), "bold"))


def _state(document: Document) -> str:
    if document.kept is not None:
        likeness = "" if document.similarity is None else f", similarity {document.similarity:.3f}"
        return f"removed by {legible(document.operator)}{likeness}"
    if document.operator is None:
        return document.state
    return f"{document.state} by {legible(document.operator)}: {legible(document.reason)}"


def _place(document: Document, look: Look) -> Iterator[str]:
    if document.id is not None:
        yield from look.line(Piece("id ", "dim"), Piece(legible(document.id, MAX_VALUE_CHARS), "bold"), indent=3)
    if document.path is not None:
        row = "" if document.row is None else f" row {document.row}"
        yield from look.line(Piece(f"{legible(redact_uri(document.path), MAX_WORD_CHARS)}{row}", "dim"), indent=4)


def _note(document: Document, look: Look) -> Iterator[str]:
    if document.note is not None:
        yield from look.line(Piece(f"[{legible(document.note, MAX_WORD_CHARS)}]", "dim"))


# --- columns


def _columns(columns: Mapping[str, Any], look: Look) -> Iterator[str]:
    tables = {name: value for name, value in columns.items() if isinstance(value, dict)}
    for name, value in columns.items():
        if name not in tables:
            yield from look.line(Piece(f"{legible(name)}: ", "dim"), Piece(_value(value)), indent=4)
    for name, value in tables.items():
        yield from look.line(Piece(legible(name), "dim"))
        yield from _table(list(_leaves(value)), look)


def _leaves(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _leaves(each, f"{before}{name}.")
        else:
            yield legible(f"{before}{name}"), _value(each)


def _table(leaves: Sequence[tuple[str, str]], look: Look) -> Iterator[str]:
    """Names and values in as many columns as there is room for, read downwards."""
    if not leaves:
        return
    names, values = (max(cells(one[side]) for one in leaves) for side in (0, 1))
    across = max(1, (look.room - 2 + len(GAP)) // (names + 2 + values + len(GAP)))
    down = -(-len(leaves) // across)
    for row in range(down):
        some = leaves[row::down]
        line = GAP.join(f"{_left(name, names)}  {_right(value, values)}" for name, value in some)
        yield from look.line(Piece(f"  {line}"), indent=4)


def _left(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cells(text)) + text


def _value(value: Any) -> str:
    match value:
        case None:
            return NOTHING
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.5g}"
        case str():
            return legible(value, MAX_VALUE_CHARS)
        case Many():
            return legible(f"[{', '.join(_value(each) for each in value.first)}, …] {count(value.count)} values", MAX_WORD_CHARS)
        case list():
            return legible(f"[{', '.join(_value(each) for each in value)}]", MAX_WORD_CHARS)
        case dict():
            return legible(f"{{{', '.join(f'{name}: {_value(each)}' for name, each in value.items())}}}", MAX_WORD_CHARS)
        case _:
            return legible(value, MAX_VALUE_CHARS)


# --- text


def _text(document: Document, part: Part | None, look: Look) -> Iterator[str]:
    if part is None:
        if document.problem is not None:
            yield from look.line(Piece(f"[no text: {legible(document.problem, MAX_WORD_CHARS)}]", "bad"))
            yield "\n"
        return
    if part.first_char:
        yield from look.line(Piece(f"[{count(part.first_char)} characters before]", "dim"))
    for line in _split(_pieces(part.text, part.marks)):
        yield from look.line(*line)
    after = part.num_chars - part.first_char - len(part.text)
    if part.num_chars == 0:
        yield from look.line(Piece("[empty text]", "dim"))
    if after:
        yield from look.line(Piece(f"[{count(after)} more characters]", "dim"))
    whys = dict.fromkeys(mark.why for mark in part.marks)
    if whys:
        yield from look.line(Piece("marked: ", "dim"), Piece(legible("; ".join(whys), MAX_WORD_CHARS), "dim"), indent=4)
    yield "\n"


def _pieces(text: str, marks: Sequence[Mark]) -> Iterator[Piece]:
    at = 0
    for mark in sorted(marks, key=lambda mark: mark.start):
        if mark.start > at:
            yield Piece(text[at : mark.start])
        if mark.stop > max(at, mark.start):
            yield Piece(text[max(at, mark.start) : mark.stop], "mark")
        at = max(at, mark.stop)
    if at < len(text):
        yield Piece(text[at:])


def _split(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Pieces as lines, each made harmless: of what breaks lines nothing is left, tabs are spaces."""
    line: list[Piece] = []
    for piece in pieces:
        *ended, last = NEWLINES.split(piece.text)
        for text in ended:
            # A break that is marked would not be seen.
            yield [*line, *_safe(f"{text}{BREAK}" if piece.style == "mark" else text, piece.style)]
            line = []
        line += _safe(last, piece.style)
    yield line


def _safe(text: str, style: Style) -> list[Piece]:
    found = harmless(text.replace("\t", TAB))
    return [Piece(found, style)] if found else []
