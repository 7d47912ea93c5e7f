"""A difference on a terminal, folded to its width, or as plain text in a file or pipe, one line a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pipelines.difference import Difference
from pipelines.difference_sections import Kind, Section, laid_out, shortened, summary, title
from pipelines.legible import count, legible

if TYPE_CHECKING:
    from rich.console import Console

MAX_LINES: Final = 25
MAX_CELL: Final = 120
MAX_TEXT: Final = 400
LEAST: Final = 12
"""Columns of strangers' text give way to a narrow terminal, but not below this."""
GAP: Final = 2


def render_difference(difference: Difference, console: Console, more: Sequence[Section] = ()) -> None:
    """Print a difference.

    Args:
        difference: Of two manifests.
        console: Where to.
        more: Other tables, such as those of the documents that came and went.
    """
    width = console.width if console.is_terminal else None
    for line in difference_lines(difference, width, more):
        # Lines are cut to the width already; rich must neither fold nor read markup in them.
        console.print(line if console.is_terminal else line.plain.rstrip(), soft_wrap=True, highlight=False, markup=False)


def difference_lines(difference: Difference, width: int | None, more: Sequence[Section] = ()) -> Iterator[Text]:
    """The difference as lines; of at most `width` characters where the numbers leave room for that."""
    yield Text(legible(title(difference)), "bold")
    for sentence in summary(difference):
        yield from (Text(line) for line in _folded(sentence, width))
    for section in laid_out(difference, more):
        yield Text("")
        yield Text(section.title, "bold cyan")
        yield from _table(section, width)
        for note in section.notes:
            yield from (Text(line, "dim") for line in _folded(legible(note, MAX_TEXT), width))


def _table(section: Section, width: int | None) -> Iterator[Text]:
    kinds = [kind for _, kind in section.columns]
    if kinds == ["text"]:
        yield from (Text(part) for text, *_ in section.lines[:MAX_LINES] for part in _folded(legible(text, MAX_TEXT), width))
        yield from _more(section)
        return
    shown = [[shortened(cell, kind, MAX_CELL) for cell, kind in zip(line, kinds, strict=True)] for line in section.lines[:MAX_LINES]]
    lines = [[legible(cell, MAX_CELL) for cell in line] for line in shown]
    heads = [head for head, _ in section.columns]
    used = [max(map(cell_len, column), default=0) for column in zip(heads, *lines, strict=True)]
    widths = used if width is None else _fitted(used, kinds, width)
    if any(heads):
        yield Text(_joined(heads, kinds, widths), "dim")
    yield from (Text(_joined(line, kinds, widths)) for line in lines)
    yield from _more(section)


def _more(section: Section) -> Iterator[Text]:
    if len(section.lines) > MAX_LINES:
        yield Text(f"… {count(len(section.lines) - MAX_LINES)} more; --json lists all", "dim")


def _fitted(used: Sequence[int], kinds: Sequence[Kind], width: int) -> list[int]:
    """Widths of columns: the widest column of strangers' text gives way first; numbers and our own words are never cut."""
    widths = list(used)
    too_wide = sum(widths) + GAP * (len(widths) - 1) - width
    while too_wide > 0:
        yielding = [at for at, kind in enumerate(kinds) if kind in ("name", "place", "value") and widths[at] > LEAST]
        if not yielding:
            break
        widest = max(yielding, key=lambda at: widths[at])
        widths[widest] -= 1
        too_wide -= 1
    return widths


def _joined(cells: Sequence[str], kinds: Sequence[Kind], widths: Sequence[int]) -> str:
    return (" " * GAP).join(_cell(*one) for one in zip(cells, kinds, widths, strict=True)).rstrip()


def _cell(text: str, kind: Kind, width: int) -> str:
    if kind == "number":
        return " " * (width - cell_len(text)) + text
    if cell_len(text) > width and kind == "place":
        while cell_len(text) > width - 1:
            text = text[1:]
        text = f"…{text}"
    elif cell_len(text) > width:
        text = set_cell_size(text, width - 1).rstrip() + "…"
    return set_cell_size(text, width)


def _folded(text: str, width: int | None) -> Iterator[str]:
    """Lines broken between words."""
    line = ""
    for word in text.split():
        if width is not None and line and cell_len(line) + 1 + cell_len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line
