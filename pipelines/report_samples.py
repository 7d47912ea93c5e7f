"""Documents to read in a report: kept ones, dropped ones by reason, removed duplicates beside the kept one, quarantined rows.

All that a document says stands in this part alone, so that it can be taken out (`report_page.documents`). Its size is bounded whatever
is given: of every group some documents come before any group has more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from typing import Final

from pipelines.legible import count, counted, legible
from pipelines.report_html import code, section, table, text
from pipelines.report_marked import Style, marked, reasons
from pipelines.report_page import documents
from pipelines.study import Example, Excerpt, Pair, QuarantinedRow

MAX_BYTES: Final = 1_500_000
"""Of HTML for all documents together."""
MAX_GROUP_BYTES: Final = 2_500
"""Of HTML for what stands above a group, and names it among the choices."""
MAX_EXCERPT_CHARS: Final = 4_000
MAX_EXCERPT_BYTES: Final = 32_000
"""Of HTML for one text: a text of control characters is many times as long as itself."""
MAX_GROUPS: Final = 200
MAX_OPTION_CHARS: Final = 40
MAX_QUARANTINED: Final = 50
MAX_SIGNALS: Final = 24
MAX_DETAIL_CHARS: Final = 200
MAX_MESSAGE_CHARS: Final = 200
MAX_URI_CHARS: Final = 160
MAX_EDITS_CHARS: Final = 300
NO_EDITS: Final[Mapping[str, str]] = {}

Key = tuple[str, str | None, str | None]
"""What is shown (`kept`, `dropped`, `pair`), operator and reason."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A document or pair as it is shown: its group, and its HTML."""

    key: Key
    html: str


def samples(
    examples: Sequence[Example],
    pairs: Sequence[Pair],
    quarantined: Sequence[QuarantinedRow],
    edits: Mapping[str, str] = NO_EDITS,
) -> list[str]:
    """The part of a page that holds documents' texts; empty where there are none. `edits`: what is said of texts, by operator."""
    if not (examples or pairs or quarantined):
        return []
    return documents([*_section(examples, pairs, edits), *_quarantined(quarantined), "</section>"])


def _section(examples: Sequence[Example], pairs: Sequence[Pair], edits: Mapping[str, str]) -> Iterator[str]:
    yield from section("samples", "Documents to read")
    if not (examples or pairs):
        return
    groups, left_out = _within_budget(examples, pairs)
    yield (
        '<p class="quiet">Excerpts; marked places are why a document was dropped, or where two documents differ. '
        'What cannot be seen is shown as <b class="c">ZWSP</b> or <b class="c">NUL</b>.</p>'
    )
    yield _controls(groups)
    for number, (key, shown) in enumerate(groups):
        yield from _group(number, key, shown, edits.get(key[1] or ""))
    if left_out:
        yield f"<p>{counted(left_out, 'more document')} left out, so that this file stays small.</p>"


def _within_budget(examples: Sequence[Example], pairs: Sequence[Pair]) -> tuple[list[tuple[Key, list[Shown]]], int]:
    """Groups in the order in which they were given, and how many documents had no room; the first of every group come first."""
    found: dict[Key, list[Example | Pair]] = {}
    for example in examples:
        kind = "kept" if example.operator is None else "dropped"
        found.setdefault((kind, example.operator, example.reason), []).append(example)
    for pair in pairs:
        found.setdefault(("pair", pair.operator, pair.reason), []).append(pair)
    ranked = sorted(((rank, place) for place, of in enumerate(found.values()) for rank in range(len(of))))
    keys, entries = list(found), list(found.values())
    room, shown = MAX_BYTES, dict[Key, list[Shown]]()
    for rank, place in ranked:
        if place >= MAX_GROUPS:
            continue
        html = _article(entries[place][rank], f"s{place}-{rank}")
        room -= len(html.encode()) + (0 if keys[place] in shown else MAX_GROUP_BYTES)
        if room < 0:
            break
        shown.setdefault(keys[place], []).append(Shown(keys[place], html))
    groups = [(key, shown[key]) for key in keys if key in shown]
    return groups, len(ranked) - sum(len(of) for _, of in groups)


def _controls(groups: Sequence[tuple[Key, Sequence[Shown]]]) -> str:
    """Search and choice; hidden until the script that does both is there."""
    options = ['<option value="">all documents</option>']
    numbered = list(enumerate(key for key, _ in groups))
    for (kind, operator), members in groupby(numbered, key=lambda item: (item[1][0], item[1][1])):
        of = list(members)
        numbers = " ".join(str(number) for number, _ in of)
        label = {"kept": "kept", "dropped": "dropped by ", "pair": "duplicates, by "}[kind] + (
            "" if operator is None else legible(operator, MAX_OPTION_CHARS)
        )
        options.append(f'<option value="{numbers}">{escape(label)}</option>')
        if len(of) > 1 or (kind == "dropped" and of[0][1][2] is not None):
            options += [f'<option value="{number}">\u2003{escape(legible(key[2], MAX_OPTION_CHARS))}</option>' for number, key in of]
    return (
        '<form class="search" role="search" aria-label="Documents" hidden><p><label for="find">Search</label>'
        '<input id="find" type="search" autocomplete="off" spellcheck="false" aria-describedby="find-keys" enterkeyhint="search"></p>'
        f'<p><label for="only">Show</label><select id="only">{"".join(options)}</select></p>'
        '<p class="quiet" id="find-keys"><kbd>/</kbd> searches, <kbd>Enter</kbd> goes to the first, <kbd>Esc</kbd> clears</p>'
        '<p id="found" role="status"></p></form>'
    )


def _group(number: int, key: Key, shown: Sequence[Shown], edited: str | None) -> Iterator[str]:
    """Documents of one kind; those that were kept are open."""
    kind, operator, reason = key
    opened = " open" if number == 0 else ""
    words = {"kept": "Kept", "dropped": "Dropped", "pair": "Duplicates"}[kind]
    named = "" if reason is None else f": {code(reason)}"
    by = "" if operator is None else f' <span class="quiet">by {text(operator)}</span>'
    amount = f'<span class="quiet">· {counted(len(shown), "pair" if kind == "pair" else "document")}</span>'
    yield f'<details class="group" data-group="{number}"{opened}><summary><h3>{words}{named}{by} {amount}</h3></summary>'
    yield from () if edited is None else [f'<p class="quiet">{text(edited, MAX_EDITS_CHARS)}</p>']
    yield from (one.html for one in shown)
    yield "</details>"


def _article(found: Example | Pair, name: str) -> str:
    return _example(found, name) if isinstance(found, Example) else _pair(found, name)


def _example(example: Example, name: str) -> str:
    detail = "" if example.detail is None else f'<p class="why">Found: {code(example.detail, MAX_DETAIL_CHARS)}</p>'
    document, html = _cut(example.document)
    return (
        f'<article class="sample" tabindex="-1" aria-labelledby="{name}"><h4 id="{name}">{_name(document)}</h4>'
        f"{_place(document)}{detail}{_whys(document)}{_body(document, html)}{_signals(document.signals)}</article>"
    )


def _pair(pair: Pair, name: str) -> str:
    """Both documents, side by side where there is room; the one that is gone first."""
    alike = "" if pair.similarity is None else f" · similarity {pair.similarity:.3f}"
    sides = _side("Removed", pair.removed, f"{name}a") + _side("Kept", pair.kept, f"{name}b")
    same = "" if pair.removed.marks or pair.kept.marks else '<p class="quiet">No difference in what is shown.</p>'
    same += "" if pair.kept.uri is not None else '<p class="quiet">The kept one is as it went out: operators may have changed it.</p>'
    return (
        f'<article class="sample pair" tabindex="-1" aria-labelledby="{name}"><h4 id="{name}">'
        f'{_name(pair.removed)} <span class="quiet">a copy of {_name(pair.kept)}{alike}</span></h4>{same}'
        f'<div class="sides">{sides}</div></article>'
    )


def _side(words: str, document: Excerpt, name: str) -> str:
    cut, html = _cut(document, "difference")
    return (
        f'<div class="side" role="group" aria-labelledby="{name}"><h5 id="{name}">{words}: {_name(cut)}</h5>{_place(cut)}'
        f"{_body(cut, html)}</div>"
    )


def _name(document: Excerpt) -> str:
    """Its id, or else its place."""
    if document.id is not None:
        return code(document.id)
    return "document" if document.row is None else f"row {count(document.row)}"


def _place(document: Excerpt) -> str:
    """Where it is from, and how much of it is shown."""
    last = document.first_char + len(document.text)
    whole = document.first_char == 0 and last >= document.num_chars
    part = "" if whole else f", of which {count(document.first_char + 1)} to {count(last)} are shown"
    origin = "" if document.uri is None else f"{code(document.uri, MAX_URI_CHARS)}"
    row = "" if document.row is None else f" row {count(document.row)}"
    return f'<p class="quiet">{origin}{row}{" · " if origin or row else ""}{counted(document.num_chars, "character")}{part}</p>'


def _whys(document: Excerpt) -> str:
    """What the marks stand for; numbered where there are several reasons."""
    found = reasons(document)
    if not found:
        return ""
    words = [
        f'<mark class="place">{escape(legible(why, 100))}</mark>' + (f"<sup>{number}</sup>" if len(found) > 1 else "")
        for number, why in enumerate(found[:12], 1)
    ]
    return f'<p class="why">Marked: {", ".join(words)}</p>'


def _cut(document: Excerpt, style: Style = "place") -> tuple[Excerpt, str]:
    """The document with as much of its text as is shown, and that text as HTML: half of it, and so on, until its HTML is small enough."""
    cut = replace(document, text=document.text[:MAX_EXCERPT_CHARS])
    html = marked(cut.text, cut.marks, style)
    while len(html.encode()) > MAX_EXCERPT_BYTES and len(cut.text) > 1:
        cut = replace(cut, text=cut.text[: len(cut.text) // 2])
        html = marked(cut.text, cut.marks, style)
    return cut, html


def _body(document: Excerpt, html: str) -> str:
    before = '<span class="cut">… </span>' if document.first_char else ""
    after = "" if document.first_char + len(document.text) >= document.num_chars else '<span class="cut"> …</span>'
    return f'<p class="doc" dir="auto">{before}{html or "<i>empty</i>"}{after}</p>'


def _signals(signals: Mapping[str, float | None]) -> str:
    """Measurements of a document, folded away."""
    if not signals:
        return ""
    found = list(signals.items())
    lines = "".join(
        f"<div><dt>{code(name)}</dt><dd>{'none' if value is None else f'{value:.5g}'}</dd></div>" for name, value in found[:MAX_SIGNALS]
    )
    more = f"<p>and {count(len(found) - MAX_SIGNALS)} more</p>" if len(found) > MAX_SIGNALS else ""
    return f'<details class="signals"><summary>{counted(len(found), "signal")}</summary><dl>{lines}</dl>{more}</details>'


def _quarantined(found: Sequence[QuarantinedRow]) -> Iterable[str]:
    """Rows that could not be processed, with what was wrong: messages may hold texts."""
    if not found:
        return
    lines = [
        [
            code("" if row.id is None else row.id),
            f"{code(row.uri, MAX_URI_CHARS)}{'' if row.row is None else f' row {count(row.row)}'}",
            code(row.operator),
            f"{code(row.error)} {text(row.message, MAX_MESSAGE_CHARS)}",
        ]
        for row in found[:MAX_QUARANTINED]
    ]
    yield '<h3 id="quarantined">Quarantined rows</h3>'
    heads = ("id", "where", "operator", "what was wrong")
    yield from table("Quarantined rows", heads, lines, len(found) - len(lines), numbers_from=4)
