"""Removed duplicates beside the documents that were kept for them, with what differs marked on both sides.

A kept document is read where the removed one was: in the input, so that both are as they came in. Where it is not of this run's input, it
is looked for in those of the versions before, and else by its id in the shards, as it went out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from pipelines.shown_documents import HELD_CHARS, Groups, Shown, Text
from pipelines.shown_kept import Shards
from pipelines.shown_rows import Row
from pipelines.shown_texts import InputTexts
from pipelines.study import Excerpt, Pair
from pipelines.text_differences import Differing, differences

MAX_EARLIER: Final = 8
"""Versions before in whose input a kept document is looked for, the newest ones."""


def pairs_of(
    shown: Shown, twins: Groups, reasons: Mapping[str, str], shards: Shards, earlier: Callable[[], Iterator[InputTexts]]
) -> tuple[Pair, ...]:
    """The pairs of some removed documents, by operator, whose texts are both known; the others are told in the notes."""
    rows = [(operator, row) for (operator, *_), some in twins.items() for row in some]
    removed = {(operator, row.doc_key) for operator, row in rows if (operator, row.doc_key) in shown.texts}
    missing = [(operator, row) for operator, row in rows if (operator, row.doc_key) in removed and _kept(shown, operator, row) is None]
    if missing:
        _read_earlier(shown, missing, earlier)
    missing = [(operator, row) for operator, row in missing if _kept(shown, operator, row) is None]
    here = shards.find(row.values["kept_id"] for _, row in missing) if missing else {}
    for operator, row in missing:
        if (kept := here.get(row.values["kept_id"])) is not None:
            text = Text(None, None, kept.text[:HELD_CHARS], len(kept.text))
            shown.texts[operator, row.values["kept_doc_key"]] = text
    made = [_pair(shown, operator, reasons.get(operator, "duplicate"), row) for operator, row in rows]
    lost = sum(pair is None for pair in made)
    if lost:
        shown.tell(f"{lost} removed duplicates are not shown beside their kept ones: one of the two could not be read")
    return tuple(pair for pair in made if pair is not None)


def _kept(shown: Shown, operator: str, row: Row) -> Text | None:
    return shown.texts.get((operator, row.values["kept_doc_key"]))


def _read_earlier(shown: Shown, missing: list[tuple[str, Row]], earlier: Callable[[], Iterator[InputTexts]]) -> None:
    """Look for kept documents in the input of versions before: they are as they came in, too."""
    wanted: dict[bytes, set[str]] = {}
    for operator, row in missing:
        wanted.setdefault(row.values["kept_doc_key"], set()).add(operator)
    for texts in islice(earlier(), MAX_EARLIER):
        left = [key for key, operators in wanted.items() if any((operator, key) not in shown.texts for operator in operators)]
        if not left:
            return
        texts.read(left, shown.budget, lambda found: shown.take(found, wanted))


def _pair(shown: Shown, operator: str, reason: str, row: Row) -> Pair | None:
    removed, kept = shown.texts.get((operator, row.doc_key)), _kept(shown, operator, row)
    if removed is None or kept is None:
        return None
    sides = differences(removed.text, kept.text)
    return Pair(
        operator=operator,
        reason=reason,
        similarity=row.values["similarity"],
        removed=_side(shown, row.values["id"], removed, sides[0]),
        kept=_side(shown, row.values["kept_id"], kept, sides[1]),
    )


def _side(shown: Shown, document_id: str | None, held: Text, side: Differing) -> Excerpt:
    found = shown.excerpt(document_id, replace(held, text=""))
    return replace(found, text=side.text, first_char=side.first_char, marks=side.marks)
