"""A document's text as HTML: what cannot be seen is shown, marked places are told in words too, and nothing of it is markup.

Lines and tabs stay. Knows nothing of reports; bounded by whoever calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

from pipelines.legible import legible
from pipelines.study import Excerpt, Mark

MAX_MARKS: Final = 200
MAX_WHY_CHARS: Final = 100
CONTROLS: Final = (
    *("NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI"),
    *("DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US"),
)
NAMES: Final = {
    0x007F: "DEL",
    0x0085: "NEL",
    0x00AD: "SHY",
    0x061C: "ALM",
    0x200B: "ZWSP",
    0x200C: "ZWNJ",
    0x200D: "ZWJ",
    0x200E: "LRM",
    0x200F: "RLM",
    0x2028: "LS",
    0x2029: "PS",
    0x202A: "LRE",
    0x202B: "RLE",
    0x202C: "PDF",
    0x202D: "LRO",
    0x202E: "RLO",
    0x2060: "WJ",
    0x2066: "LRI",
    0x2067: "RLI",
    0x2068: "FSI",
    0x2069: "PDI",
    0xFEFF: "BOM",
}
"""Of the invisible ones that occur in texts, their usual short names."""

Style = Literal["place", "difference"]


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of an excerpt; `why` is None where nothing is marked."""

    start: int
    stop: int
    why: str | None


def places(text: str, marks: Sequence[Mark], max_marks: int = MAX_MARKS) -> Iterator[Place]:
    """A text cut where marks begin and end: stretches in order, none twice. Of marks that overlap, the first one has what both claim."""
    at = 0
    for mark in sorted(marks[:max_marks], key=lambda mark: (mark.start, -mark.stop)):
        start, stop = max(mark.start, at), min(mark.stop, len(text))
        if start >= stop:
            continue
        if at < start:
            yield Place(at, start, None)
        yield Place(start, stop, mark.why)
        at = stop
    if at < len(text):
        yield Place(at, len(text), None)


def reasons(excerpt: Excerpt) -> list[str]:
    """Why places of an excerpt are marked, each reason once, in the order of the places."""
    return list(dict.fromkeys(place.why for place in places(excerpt.text, excerpt.marks) if place.why is not None))


def marked(text: str, marks: Sequence[Mark], style: Style = "place") -> str:
    """HTML of a text with its marks; those of different reasons have numbers, in the order of `reasons`."""
    numbers: dict[str, int] = {}
    found = list(places(text, marks))
    several = len({place.why for place in found if place.why is not None}) > 1
    parts = []
    for place in found:
        shown = visible(text[place.start : place.stop])
        if place.why is None:
            parts.append(shown)
            continue
        number = numbers.setdefault(place.why, len(numbers) + 1)
        parts.append(_mark(shown, place.why, number if several else None, style))
    return "".join(parts)


def _mark(shown: str, why: str, number: int | None, style: Style) -> str:
    """A marked place; that it is one is told in hidden words, and by more than a colour."""
    note = "" if number is None else f'<sup aria-hidden="true">{number}</sup>'
    told = escape(legible(why, MAX_WHY_CHARS))
    return f'<mark class="{style}" title="{told}"><span class="vh">[{told}: </span>{shown}<span class="vh">]</span></mark>{note}'


def visible(text: str) -> str:
    """Escaped text, in which what a page would not show as it is has a symbol or name; lines and tabs stay."""
    return "\n".join(escape(line, quote=False) if line.isprintable() else "".join(map(_shown, _runs(line))) for line in text.split("\n"))


def _runs(line: str) -> Iterator[str]:
    """A line in stretches of printable characters and single others."""
    start = 0
    for at, character in enumerate(line):
        if not character.isprintable():
            if start < at:
                yield line[start:at]
            yield character
            start = at + 1
    if start < len(line):
        yield line[start:]


def _shown(run: str) -> str:
    if run.isprintable() or run == "\t":
        return escape(run, quote=False)
    if run.isspace() and ord(run) >= 0x80 and ord(run) not in {0x85, *NAMES}:
        return " "  # wide, narrow and no-break spaces
    return f'<b class="c">{_symbol(ord(run))}</b>'


def _symbol(code: int) -> str:
    return CONTROLS[code] if code < len(CONTROLS) else NAMES.get(code, f"U+{code:04X}")
