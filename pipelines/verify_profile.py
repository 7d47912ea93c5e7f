"""The profile of a version's documents, counted again: how long their texts are and in which languages.

Owns the rules of lengths and languages as a reader of the manifest knows them. Knows nothing of how a run counts; the shards are read once,
in verify_file. Memory holds the languages that the manifest tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checks import Checks, Problem
from pipelines.errors import shown
from pipelines.verify_manifest import MANIFEST, Finished
from pipelines.verify_names import OTHER, name_of

NAME: Final = "documents"
CHECKED_BEFORE: Final = ("shards table", "shards", "output")
BOUNDS: Final = np.array([0, *(1 << power for power in range(63))], np.int64)
"""Least bytes of a text in each class."""
TEXTS: Final = ("string", "large_string")

Sizes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ProfileColumns:
    """What is counted in shards.

    Attributes:
        text: The column of texts.
        language: The column that names languages; None where it is not in the shards.
        told: Languages that the manifest tells; all others are one.
    """

    text: str
    language: str | None
    told: Collection[str]


@dataclass(slots=True)
class Counted:
    """Documents and bytes of texts by length, given as the least bytes of its class, and by language."""

    null_texts: int = 0
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {"documents": Counter(), "text_bytes": Counter()})
    languages: dict[str, Counter[str]] = field(default_factory=lambda: {"documents": Counter(), "text_bytes": Counter()})

    def add(self, sizes: pa.ChunkedArray, languages: pa.ChunkedArray | None, told: Collection[str]) -> None:
        """Add documents: the bytes of their texts, null for a null, and the names of their languages; those not told count as others."""
        filled = pc.fill_null(sizes, 0)
        self._add_lengths(filled.to_numpy(), sizes.null_count)
        if languages is not None:
            self._add_languages(languages, filled, told)

    def join(self, other: Counted) -> None:
        """Add what was counted of other documents."""
        self.null_texts += other.null_texts
        for what in ("documents", "text_bytes"):
            self.lengths[what].update(other.lengths[what])
            self.languages[what].update(other.languages[what])

    def _add_lengths(self, sizes: Sizes, null_texts: int) -> None:
        classes = np.searchsorted(BOUNDS, sizes, side="right") - 1
        for number in np.unique(classes).tolist():
            mine = sizes[classes == number]
            self.lengths["documents"][int(BOUNDS[number])] += len(mine)
            self.lengths["text_bytes"][int(BOUNDS[number])] += int(mine.sum())
        self.null_texts += null_texts
        self.lengths["documents"][0] -= null_texts

    def _add_languages(self, languages: pa.ChunkedArray, sizes: pa.ChunkedArray, told: Collection[str]) -> None:
        table = pa.table({"name": pc.cast(languages, pa.string()), "size": sizes})
        grouped = table.group_by("name", use_threads=False).aggregate([([], "count_all"), ("size", "sum")])
        for row in grouped.to_pylist():
            name = name_of(row["name"])
            name = name if name in told else OTHER
            self.languages["documents"][name] += row["count_all"]
            self.languages["text_bytes"][name] += row["size_sum"]


def profile_columns(finished: Finished) -> ProfileColumns | None:
    """What is to be counted in the version's shards; None where the manifest tells nothing that they could be compared with."""
    told: Mapping[str, Any] | None = finished.manifest.get("documents")
    types = {column["name"]: column["type"] for column in finished.manifest["schema"]}
    if told is None or types.get(told["text_column"]) not in TEXTS:
        return None
    language = told["language_column"] if told["by_language"] is not None else None
    return ProfileColumns(told["text_column"], language if language in types else None, frozenset(told["by_language"] or ()))


def check_profile(finished: Finished, counted: Counted, checks: Checks) -> None:
    """Lengths and languages of the manifest are those of the texts in the shards. `counted`: what was counted in all of them."""
    if any(not check.ok for check in checks.made if check.name in CHECKED_BEFORE):
        checks.skip(NAME, "not checkable: the shards are not as the manifest and their table say")
        return
    told: Mapping[str, Any] | None = finished.manifest.get("documents")
    if told is None:
        _check_absent(finished, checks)
        return
    columns = profile_columns(finished)
    problems = [*_sums(finished, told), *_differing(told, columns, counted)]
    by = " and language" if columns is not None and columns.language is not None else ""
    checks.judge(NAME, problems, f"{told['text_bytes']} bytes of text, counted again by length{by}")


def _check_absent(finished: Finished, checks: Checks) -> None:
    text = finished.manifest["config"].get("input", {}).get("text_column", "text")
    if "documents" not in finished.manifest:
        checks.skip(NAME, "not checkable: the run that made this version did not count documents by length and language")
    elif any(column["name"] == text and column["type"] in TEXTS for column in finished.manifest["schema"]):
        said = f"documents is null, but the shards have the texts in {shown(text)}; restore the manifest from a copy"
        checks.judge(NAME, [Problem(MANIFEST, said)], "")
    else:
        checks.judge(NAME, [], "the documents are without their text")


def _sums(finished: Finished, told: Mapping[str, Any]) -> Iterator[Problem]:
    rows = finished.manifest["output"]["rows"]
    by_length = {what: sum(entry[what] for entry in told["lengths"]) for what in ("documents", "text_bytes")}
    by_length["documents"] += told["null_texts"]
    kinds = {"lengths": by_length}
    if told["by_language"] is not None:
        entries = told["by_language"].values()
        kinds["by_language"] = {what: sum(entry[what] for entry in entries) for what in ("documents", "text_bytes")}
    for kind, sums in kinds.items():
        for what, expected in (("documents", rows), ("text_bytes", told["text_bytes"])):
            if sums[what] != expected:
                yield Problem(MANIFEST, f"documents.{kind}: the {what} add up to {sums[what]}, expected {expected}")


def _differing(told: Mapping[str, Any], columns: ProfileColumns | None, counted: Counted) -> Iterator[Problem]:
    if columns is None:
        said = f"documents.text_column is {shown(told['text_column'])}, but the shards have no such column of texts"
        yield Problem(MANIFEST, said)
        return
    if told["null_texts"] != counted.null_texts:
        yield Problem(MANIFEST, f"documents.null_texts is {told['null_texts']}, but the shards have {counted.null_texts}")
    lengths = {(entry["from_bytes"], entry["below_bytes"]): entry for entry in told["lengths"]}
    if list(lengths) != sorted(lengths) or len(lengths) != len(told["lengths"]):
        yield Problem(MANIFEST, "documents.lengths: expected each class once, from the shortest texts to the longest")
    found = {(first, max(2 * first, 1)): first for first, number in counted.lengths["documents"].items() if number}
    for first, stop in sorted({*lengths, *found}):
        words = f"documents.lengths from {first} below {stop} bytes"
        yield from _compared(words, lengths.get((first, stop)), counted.lengths, found.get((first, stop), -1))
    if columns.language is None:
        return
    for name in sorted({*told["by_language"], *counted.languages["documents"]}):
        yield from _compared(f"documents.by_language.{shown(name)}", told["by_language"].get(name), counted.languages, name)


def _compared(words: str, said: Mapping[str, int] | None, counts: Mapping[str, Counter[Any]], place: Any) -> Iterator[Problem]:
    number, size = counts["documents"][place], counts["text_bytes"][place]
    expected = {"documents": 0, "text_bytes": 0} if said is None else said
    if (expected["documents"], expected["text_bytes"]) != (number, size):
        given = f"{expected['documents']} documents with {expected['text_bytes']} bytes"
        yield Problem(MANIFEST, f"{words} is {given}, but the shards have {number} with {size}")
