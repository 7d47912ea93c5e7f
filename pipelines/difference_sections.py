"""A difference laid out: sentences and tables in the order in which a person asks, documents first, for a terminal or a page alike.

Cells hold strangers' text as it is. Whoever draws them makes it legible, escapes it, and bounds the tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pipelines.difference import Breakdown, Difference, Lost, Number
from pipelines.difference_settings import ABSENT, Change, OperatorChange
from pipelines.legible import NOTHING, count, size

Kind = Literal["label", "name", "place", "value", "number", "text"]
"""Of a column: `label` is our own word and `number` right-aligned; all others may be a stranger's.

Of a `place` the end matters most; a `text` is a sentence, and the only cell of its line.
"""
LABELS: Final[Mapping[str, str]] = {
    "documents": "documents",
    "tokens": "tokens",
    "shards": "shards",
    "bytes": "size of the shards",
    "text_bytes": "size of the texts",
    "token_shards": "token shards",
    "rows_in": "documents read",
    "dropped": "documents dropped",
    "duplicates": "of these, as duplicates",
    "quarantined": "documents in quarantine",
    "input_files": "input files",
    "input_bytes": "size of the input",
    "unreadable_files": "input files that could not be read",
    "history_generations": "earlier runs compared with",
    "history_tombstones": "lists of struck documents",
}
OF_BYTES: Final = ("bytes", "text_bytes", "input_bytes")
INPUTS: Final[Mapping[str, str]] = {"config": "the pipeline", "inputs": "the input", "code": "the code"}
ARROW: Final = "\u2192"
MINUS: Final = "\u2212"
FIRST_LENGTH: Final = 3


@dataclass(frozen=True, slots=True)
class Section:
    """One table under a title.

    Attributes:
        columns: Head and kind of each.
        lines: The cells; what matters most comes first.
        notes: Sentences that follow it.
        is_detail: Whether it comes after everything that is summed up.
    """

    title: str
    columns: tuple[tuple[str, Kind], ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    is_detail: bool = False


def shortened(text: str, kind: Kind, max_chars: int) -> str:
    """A cell with at most so many characters; of a place its end."""
    if kind != "place" or len(text) <= max_chars:
        return text
    return f"\u2026{text[1 - max_chars :]}"


def title(difference: Difference) -> str:
    """What is compared; the name is a stranger's."""
    old, new = difference.old, difference.new
    if old is None:
        return f"{new.name}: {new.version} is the first version"
    if old.name == new.name:
        return f"{new.name}: {old.version} {ARROW} {new.version}"
    return f"{old.name} {old.version} {ARROW} {new.name} {new.version}"


def summary(difference: Difference) -> Iterator[str]:
    """What it comes to, in sentences of ours."""
    if difference.old is None:
        numbers = (("documents", "documents"), ("tokens", "tokens"))
        told = [f"{count(number.new)} {what}" for name, what in numbers if (number := difference.number(name)).new is not None]
        yield f"There was no version before: all of it is new, {' and '.join(told)}."
        return
    if difference.lineage == "same":
        yield "Both are the same version, byte for byte."
        return
    if difference.is_same:
        yield "Nothing differs but the time."
    if difference.lineage in LINEAGES:
        yield LINEAGES[difference.lineage]
    yield from _fingerprints(difference.fingerprints)


LINEAGES: Final[Mapping[str, str]] = {
    "child": "The new version followed the old one in the same output.",
    "descendant": "The new version descends from the old one.",
    "ancestor": "The version that is called new here came before the other one.",
    "unrelated": "Neither version names the other as its parent: they may have nothing in common.",
}


def _fingerprints(found: Mapping[str, bool]) -> Iterator[str]:
    same = [what for name, what in INPUTS.items() if found.get(name)]
    differ = [what for name, what in INPUTS.items() if found.get(name) is False]
    if differ:
        yield f"{_listed(differ).capitalize()} changed{'' if not same else f', {_listed(same)} did not'}."
    elif same:
        yield f"{_listed(same).capitalize()} are the same."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def laid_out(difference: Difference, more: Sequence[Section] = ()) -> list[Section]:
    """All tables in order: sizes, then those of `more` that sum up, then what differs, then the details of `more`."""
    first, *others = sections(difference)
    return [first, *(one for one in more if not one.is_detail), *others, *(one for one in more if one.is_detail)]


def sections(difference: Difference) -> Iterator[Section]:
    """The tables of two manifests, but for those without lines; the first is that of sizes."""
    made = [_sizes(difference), *(_breakdown(one) for one in difference.breakdowns)]
    made += [_operators(difference), _operator_settings(difference), _dropped(difference), _quarantined(difference)]
    if difference.old is not None:  # the card of a first version says all of these
        made.append(_changes("Other settings", "setting", (*difference.about, *difference.settings)))
        made.append(_changes("Columns", "column", difference.columns))
        made.append(_changes("Learned files", "file", difference.learned))
        made.append(_changes("Environment", "package", difference.packages))
    made += [_texts("New warnings", difference.warnings), _texts("Warnings that are gone", difference.warnings_gone)]
    yield from (section if difference.old is not None else _only_new(section) for section in made if section.lines)


def _only_new(section: Section) -> Section:
    """A table of the first version, without what compares."""
    heads = [head for head, _ in section.columns]
    if "difference" not in heads:
        return section
    at = heads.index("new")
    kept = (*range(at - 1), at)
    columns = tuple(("" if place == at else head, kind) for place, (head, kind) in enumerate(section.columns) if place in kept)
    return replace(section, columns=columns, lines=tuple(tuple(line[place] for place in kept) for line in section.lines))


# --- numbers


def _sizes(difference: Difference) -> Section:
    numbers = [number for number in difference.numbers if number.differs or number.name in ("documents", "tokens", "rows_in")]
    lines = [(LABELS[number.name], *number_cells(number, size if number.name in OF_BYTES else count)) for number in numbers]
    return Section("Size", (("", "label"), *BEFORE_AFTER), tuple(lines))


BEFORE_AFTER: Final[tuple[tuple[str, Kind], ...]] = (("old", "number"), ("new", "number"), ("difference", "number"), ("", "number"))


def number_cells(number: Number, text: Callable[[int], str] = count) -> tuple[str, str, str, str]:
    """Old, new, difference, and the difference in percent of the old."""
    old, new = (NOTHING if value is None else text(value) for value in (number.old, number.new))
    if number.old is None or number.new is None or not number.differs:
        return old, new, "" if number.differs else "same", ""
    delta = number.new - number.old
    return old, new, _sign(delta) + text(abs(delta)), percent(delta, number.old)


def _sign(delta: float) -> str:
    return "+" if delta > 0 else MINUS


def percent(delta: int, whole: int) -> str:
    """A difference in percent of what was there; never 0 % of something, and a factor where percents would say nothing."""
    if not whole or not delta:
        return ""
    part = abs(delta) / whole
    if delta > 0 and part >= 10:
        return f"\u00d7 {(whole + delta) / whole:,.1f}"
    return f"{_sign(delta)}{100 * part:.1f}%" if part >= 0.0005 else f"{_sign(delta)}<0.1%"


def _breakdown(found: Breakdown) -> Section:
    text = size if found.unit in OF_BYTES else count
    names = {"source": "Tokens by source", "language": "Tokens by language", "length": "Lengths of texts"}
    what = "Texts by language" if (found.kind, found.unit) == ("language", "text_bytes") else names[found.kind]
    unit = "tokens" if found.unit == "tokens" else "size of the texts"
    columns: tuple[tuple[str, Kind], ...] = (
        (found.kind if found.kind != "length" else "from", "place" if found.kind == "source" else "name"),
        *(("documents", "number"), ("", "number"), (unit, "number"), ("", "number")),
    )
    lines = []
    for line in found.lines:
        name = size(int(line.name)) if found.kind == "length" else line.name
        lines.append((name, *_from_to(line.documents, count), *_from_to(line.amount, text)))
    same = (f"{count(found.num_same)} more {'is' if found.num_same == 1 else 'are'} the same.",) if found.num_same else ()
    return Section(what, columns, tuple(lines), same)


def _from_to(number: Number, text: Callable[[int], str]) -> tuple[str, str]:
    """`1,204 → 1,188` and by how many percent that is more or less."""
    old, new, difference, part = number_cells(number, text)
    if number.old is None or not number.differs:
        return new, "same" if not number.differs else ""
    return f"{old} {ARROW} {new}", part or difference


# --- operators and settings


def _operators(difference: Difference) -> Section:
    """Those that came, went and moved; of the first version, all of them."""
    columns: tuple[tuple[str, Kind], ...] = (
        ("operator", "name"),
        ("", "label"),
        ("place", "number"),
        ("rows in", "number"),
        ("rows out", "number"),
    )
    lines = [(_named(one), WHAT[one.what], _places(one), *_rows(one)) for one in difference.operators if one.what != "changed"]
    return Section("Operators", columns, tuple(lines))


WHAT: Final[Mapping[str, str]] = {"added": "added", "removed": "removed", "moved": "moved"}


def _named(operator: OperatorChange) -> str:
    return operator.name if operator.name == operator.type else f"{operator.name} ({operator.type})"


def _places(operator: OperatorChange) -> str:
    return f" {ARROW} ".join(str(place) for place in (operator.old_place, operator.new_place) if place is not None)


def _rows(operator: OperatorChange) -> tuple[str, str]:
    both = [rows for rows in (operator.old_rows, operator.new_rows) if rows is not None]
    rows_in, rows_out = (f" {ARROW} ".join(count(rows[end]) for rows in both) for end in (0, 1))
    return rows_in, rows_out


def _operator_settings(difference: Difference) -> Section:
    """Settings of operators that both have, with what they keep now; what an added one is set to stands in the card."""
    columns: tuple[tuple[str, Kind], ...] = (("operator", "name"), ("setting", "name"), ("old", "value"), ("new", "value"))
    lines = [
        (operator.name, change.path, *change_cells(change))
        for operator in difference.operators
        if operator.what in ("changed", "moved")
        for change in operator.settings
    ]
    return Section("Settings of operators", columns, tuple(lines))


def change_cells(change: Change) -> tuple[str, str]:
    """The two values; of long lists only what the other does not have."""
    old, new = change.old, change.new
    if isinstance(old, list) and isinstance(new, list) and max(len(old), len(new)) > FIRST_LENGTH and all(map(_is_plain, (*old, *new))):
        gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
        if gone or come:
            return f"{count(len(old))} values{_only(gone)}", f"{count(len(new))} values{_only(come)}"
    return _value(old), _value(new)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _only(values: Sequence[Any]) -> str:
    return f", only here: {', '.join(map(_value, values))}" if values else ""


def _value(value: Any) -> str:
    if value is ABSENT:
        return ""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _changes(title: str, what: str, changes: Sequence[Change]) -> Section:
    lines = [(change.path, *change_cells(change)) for change in changes]
    return Section(title, ((what, "name"), ("old", "value"), ("new", "value")), tuple(lines))


def _texts(title: str, texts: Sequence[str]) -> Section:
    return Section(title, (("", "text"),), tuple((text,) for text in texts))


# --- the ledger


def _dropped(difference: Difference) -> Section:
    return Section("Dropped", (("operator", "name"), ("reason", "name"), *BEFORE_AFTER), tuple(map(_lost, difference.dropped)))


def _quarantined(difference: Difference) -> Section:
    return Section("Quarantined", (("error", "name"), *BEFORE_AFTER), tuple(_lost(one)[1:] for one in difference.quarantined))


def _lost(line: Lost) -> tuple[str, ...]:
    return line.operator, line.reason, *number_cells(line.rows)
