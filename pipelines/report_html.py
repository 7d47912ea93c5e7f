"""HTML of the report: strangers' text made harmless, sections, tables, bars, data for scripts. Knows nothing of manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, Final

from pipelines.legible import count, legible

MAX_NAME_CHARS: Final = 80


def text(value: object, max_chars: int = MAX_NAME_CHARS) -> str:
    """A stranger's text: legible, escaped, and set apart so that letters that run from right to left turn nothing around them."""
    return f"<bdi>{escape(legible(value, max_chars))}</bdi>"


def code(value: object, max_chars: int = MAX_NAME_CHARS) -> str:
    """A stranger's name, as code."""
    return f"<code>{text(value, max_chars)}</code>"


def block(lines: Iterable[str]) -> str:
    """Lines of code that scroll sideways, also by keyboard."""
    return f'<pre tabindex="0" dir="ltr"><code>{escape(chr(10).join(lines), quote=False)}</code></pre>'


def section(name: str, title: str) -> Iterator[str]:
    """The opening of a section, which the page's contents name."""
    yield f'<section id="{name}" aria-labelledby="{name}-title">'
    yield f'<h2 id="{name}-title">{title}</h2>'


def bar(kept: int, gone: int, whole: int) -> str:
    """A bar that shows parts of a whole; it only repeats numbers that are in the table, so that it is hidden from screen readers."""
    widths = [("kept", kept), ("gone", gone)]
    parts = "".join(f'<i class="{name}" style="width:{100 * number / whole:.2f}%"></i>' for name, number in widths if number and whole)
    return f'<span class="bar" aria-hidden="true">{parts}</span>'


def table(
    caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]], more: int, *, numbers_from: int, numbers_to: int | None = None
) -> Iterator[str]:
    """A table that scrolls sideways, also by keyboard, where it is wider than the screen. The first cell of a line is its head.

    `caption`, `heads` and cells are HTML, the caption without elements; columns `numbers_from` to `numbers_to` are set as numbers.
    """
    last = len(heads) if numbers_to is None else numbers_to
    classes = [' class="n"' if numbers_from <= column < last else "" for column in range(len(heads))]
    yield f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}"><table><caption>{caption}</caption>'
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(heads, classes, strict=True))
    yield f"<thead><tr>{head}</tr></thead><tbody>"
    for line in lines:
        cells = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(line[1:], classes[1:], strict=True))
        yield f'<tr><th scope="row">{line[0]}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    yield from more_lines(more, "p")


def more_lines(number: int, tag: str) -> Iterator[str]:
    """How many are not shown, if any."""
    if number > 0:
        yield f"<{tag}>and {count(number)} more, which the manifest lists</{tag}>"


def json_block(value: Any) -> str:
    """JSON that ends no element and opens no comment. Strings in it are legible: nothing in them ends a line or cannot be encoded."""
    shown = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return shown.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
