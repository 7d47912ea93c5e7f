"""Which documents came and went, laid out as tables; the rest of a difference is difference_sections.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipelines.difference import Number
from pipelines.difference_documents import Counts, DocumentsDifference
from pipelines.difference_examples import Example
from pipelines.difference_lost import Cause, What
from pipelines.difference_sections import ARROW, MINUS, Kind, Section, number_cells, percent
from pipelines.difference_shards import ShardsDifference
from pipelines.legible import NOTHING, count, counted, size

GONE: Final[Mapping[What, str]] = {
    "dropped": "dropped now",
    "quarantined": "in quarantine now",
    "only_file": "input file is gone",
    "not_read": "row is not read any more",
}
COME: Final[Mapping[What, str]] = {
    "dropped": "was dropped before",
    "quarantined": "was in quarantine before",
    "only_file": "input file is new",
    "not_read": "row was not read before",
}
BY_KEY: Final = "A document is known by its input file and row; what operators that edit texts made of it may differ in the two versions."
BY_ID: Final = "Documents were compared by their ids, one that several have counted as often as it is there."


def document_sections(found: DocumentsDifference) -> list[Section]:
    """The tables; without counts, one that says why."""
    if found.counts is None:
        lines = (("The documents of the two versions cannot be compared one by one.",),)
        made = [Section("Documents", (("", "label"),), lines, found.because)]
    else:
        made = [_counts(found, found.counts), *_causes(found.counts), *_examples(found)]
    return made if found.shards is None else [*made, _shards(found.shards)]


def _counts(found: DocumentsDifference, counts: Counts) -> Section:
    lines = [
        ("in the old version", count(counts.old), ""),
        ("removed", _signed(MINUS, counts.removed), percent(-counts.removed, counts.old)),
        ("added", _signed("+", counts.added), percent(counts.added, counts.old)),
    ]
    if counts.changed_files:
        numbers = f"{count(counts.changed[0])} {ARROW} {count(counts.changed[1])}"
        lines.append((f"in {counted(counts.changed_files, 'input file')} that changed", numbers, ""))
    lines += [("in the new version", count(counts.new), ""), ("in both", count(counts.both), percent_of(counts.both, counts.old))]
    notes = (BY_KEY,) if found.by == "doc_key" else (BY_ID, *found.because)
    return Section("Documents", (("", "label"), ("documents", "number"), ("of the old", "number")), tuple(lines), notes)


def _signed(sign: str, number: int) -> str:
    return f"{sign}{count(number)}" if number else "0"


def percent_of(part: int, whole: int) -> str:
    """How much of the old version a number is."""
    return f"{100 * part / whole:.1f}%" if whole else ""


def _causes(counts: Counts) -> Iterator[Section]:
    columns: tuple[tuple[str, Kind], ...] = (("why", "label"), ("operator", "name"), ("reason", "name"), ("documents", "number"))
    both = (("Why documents were removed", counts.removed_by, GONE), ("Why documents were added", counts.added_by, COME))
    for title, causes, words in both:
        if causes:
            lines = [(words[cause.what], cause.operator, cause.reason, count(number)) for cause, number in causes]
            yield Section(title, columns, tuple(lines))


def _examples(found: DocumentsDifference) -> Iterator[Section]:
    for title, examples, words in (("Removed, for example", found.removed, GONE), ("Added, for example", found.added, COME)):
        if examples:
            yield _documents(title, examples, words)
    if found.changed:
        columns: tuple[tuple[str, Kind], ...] = (("input file", "place"), ("old", "number"), ("new", "number"), ("difference", "number"))
        lines = [(one.uri, *number_cells(Number("documents", one.old, one.new))[:3]) for one in found.changed]
        yield Section("Documents of changed input files", columns, tuple(lines), is_detail=True)


def _documents(title: str, examples: Sequence[Example], words: Mapping[What, str]) -> Section:
    """By their ids, and where they were read; those that no table names by their keys."""
    if all(one.cause is None for one in examples):
        return Section(title, (("id", "name"),), tuple((one.id or NOTHING,) for one in examples), is_detail=True)
    columns: tuple[tuple[str, Kind], ...] = (("id or doc_key", "name"), ("why", "name"), ("row", "number"), ("input file", "place"))
    lines = [
        (one.doc_key or NOTHING if one.id is None else one.id, _why(one.cause, words), _row(one.row), one.uri or NOTHING)
        for one in examples
    ]
    return Section(title, columns, tuple(lines), is_detail=True)


def _row(row: int | None) -> str:
    return NOTHING if row is None else count(row)


def _why(cause: Cause | None, words: Mapping[What, str]) -> str:
    if cause is None:
        return NOTHING
    return f"{cause.operator}: {cause.reason}" if cause.operator else words[cause.what]


def _shards(found: ShardsDifference) -> Section:
    columns: tuple[tuple[str, Kind], ...] = (("", "label"), ("files", "number"), ("documents", "number"), ("size", "number"))
    named = (("in both", found.both), ("only in the old version", found.removed), ("only in the new version", found.added))
    lines = [(what, count(one.files), count(one.rows), size(one.bytes)) for what, one in named]
    return Section("Shards", columns, tuple(lines), is_detail=True)
