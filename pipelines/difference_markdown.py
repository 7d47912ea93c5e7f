"""A difference as Markdown: the description of the pull request that proposes a new version.

Everything in it may come from strangers and is escaped as in the card. Bounded in bytes: what matters most comes first, and what does not
fit is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pipelines.card import code, escaped
from pipelines.difference import Difference
from pipelines.difference_sections import Kind, Section, laid_out, shortened, summary, title
from pipelines.legible import MAX_CHARS, count

MAX_BYTES: Final = 50_000
MAX_LINES: Final = 40
MAX_TEXT: Final = 400
CLOSING_BYTES: Final = 300
"""What is always left for the last lines."""
CUT: Final = "The rest does not fit here: `shardmill diff` shows all of it."


def difference_markdown(difference: Difference, more: Sequence[Section] = ()) -> str:
    """The difference as Markdown of at most `MAX_BYTES` bytes.

    Args:
        difference: Of two manifests.
        more: Other tables, such as those of the documents that came and went.
    """
    page = _Page()
    page.add([f"## {escaped(title(difference))}", "", *summary(difference), ""])
    for section in laid_out(difference, more):
        if not page.is_full:
            _draw(page, section)
    if page.is_full:
        page.lines.append(CUT)
    return "\n".join(page.lines).rstrip("\n") + "\n"


class _Page:
    """Lines, as many as fit."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.is_full = False
        self._left = MAX_BYTES - CLOSING_BYTES

    def add(self, lines: Sequence[str]) -> bool:
        """Add lines that belong together, if they fit."""
        num_bytes = sum(len(line.encode()) + 1 for line in lines)
        if num_bytes > self._left:
            self.is_full = True
            return False
        self._left -= num_bytes
        self.lines += lines
        return True


def _draw(page: _Page, section: Section) -> None:
    """Draw a table. Its head is only there with a first line; after a line that does not fit there comes none."""
    is_list = section.columns[0][1] == "text"
    head = [f"### {section.title}", "", *(() if is_list else _head(section.columns))]
    for position, line in enumerate(section.lines[:MAX_LINES]):
        drawn = f"- {escaped(line[0], MAX_TEXT)}" if is_list else _row(section, line)
        if not page.add([*head, drawn] if position == 0 else [drawn]):
            return
    page.add([*_rest(section), ""])


def _row(section: Section, line: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, line, (kind for _, kind in section.columns)))} |"


def _head(columns: Sequence[tuple[str, Kind]]) -> Iterator[str]:
    yield f"| {' | '.join(head for head, _ in columns)} |"
    yield f"|{'|'.join('--:' if kind == 'number' else '---' for _, kind in columns)}|"


def _cell(text: str, kind: Kind) -> str:
    if kind in ("label", "number") or not text:
        return text
    return code(shortened(text, kind, MAX_CHARS))


def _rest(section: Section) -> Iterator[str]:
    if len(section.lines) > MAX_LINES:
        more = f"{count(len(section.lines) - MAX_LINES)} more"
        yield f"- {more}" if section.columns[0][1] == "text" else f"| {more} |{' |' * (len(section.columns) - 1)}"
    for note in section.notes:
        yield ""
        yield escaped(note, MAX_TEXT)
