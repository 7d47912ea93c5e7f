"""Which documents came and went between two versions, exactly, from their files alone.

A document is known by its doc_key: the file that it was read from, and its row there. Where inventories or side tables are not at hand the
ids in the shards are compared instead; where that cannot be done either, the reason is told and no number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from pipelines.difference_examples import Example, FileExample, changed_examples, lost_examples, row_examples
from pipelines.difference_ids import compare_ids
from pipelines.difference_lost import Cause, Side, causes_of_absence, changed_files, compare_lost
from pipelines.difference_shards import ShardsDifference, compare_shards
from pipelines.errors import InputError, StorageError
from pipelines.redaction import redact_uri
from pipelines.verify_manifest import Finished

EXAMPLES: Final = 5
UNREACHABLE: Final = (InputError, StorageError)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Counts:
    """Documents of two versions that were compared one by one.

    Attributes:
        both: Documents that both versions have; what operators that edit texts made of them may differ.
        changed_files: Input files whose content changed; their documents are neither added nor removed.
        changed: Documents kept of these, before and after.
        removed_by: Why the new version is without documents of the old one; `added_by` why the old one is without those of the new.
    """

    old: int
    new: int
    both: int
    removed: int
    added: int
    changed_files: int = 0
    changed: tuple[int, int] = (0, 0)
    removed_by: tuple[tuple[Cause, int], ...] = ()
    added_by: tuple[tuple[Cause, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All numbers; `old` is `both` and `removed` and `changed.old`."""
        return {
            "old": self.old,
            "new": self.new,
            "both": self.both,
            "removed": self.removed,
            "added": self.added,
            "changed": {"files": self.changed_files, "old": self.changed[0], "new": self.changed[1]},
            "removed_by": [_cause_json(*one) for one in self.removed_by],
            "added_by": [_cause_json(*one) for one in self.added_by],
        }


def _cause_json(cause: Cause, documents: int) -> dict[str, Any]:
    named = {"operator": cause.operator, "reason": cause.reason} if cause.operator else {}
    return {"what": cause.what, **named, "documents": documents}


@dataclass(frozen=True, slots=True)
class DocumentsDifference:
    """Which documents came and went.

    Attributes:
        by: What documents were known by; None: they could not be compared.
        because: Why they were not compared by doc_key, or by anything.
        counts: None where they could not be compared.
    """

    by: Literal["doc_key", "id"] | None
    because: tuple[str, ...]
    counts: Counts | None
    removed: tuple[Example, ...]
    added: tuple[Example, ...]
    changed: tuple[FileExample, ...]
    shards: ShardsDifference | None

    def to_json(self) -> dict[str, Any]:
        """As `shardmill diff --json` prints it under `documents`."""
        return {
            "by": self.by,
            "because": list(self.because),
            **({} if self.counts is None else self.counts.to_json()),
            "examples": {
                "removed": [one.to_json() for one in self.removed],
                "added": [one.to_json() for one in self.added],
                "changed_files": [one.to_json() for one in self.changed],
            },
            "shards": None if self.shards is None else self.shards.to_json(),
        }


def compare_documents(old: Finished, new: Finished, examples: int = EXAMPLES) -> DocumentsDifference:
    """Compare the documents of two versions.

    Reads the inventories and the key columns of the side tables; the shards' ids only where these cannot be had. What cannot be reached
    makes documents not comparable, and is no error.

    Args:
        old: A version.
        new: Another one, of the same output or not.
        examples: How many documents to name, of each kind.
    """
    because: list[str] = []
    shards = _tried(because, lambda: compare_shards(old, new))
    found = _tried(because, lambda: _by_key(old, new, examples, shards))
    if found is None:
        found = _tried(because, lambda: _by_id(old, new, examples, shards, tuple(because)))
    if found is not None:
        return found
    purged = [said for one in (old, new) if (said := _purged(one)) is not None]
    return DocumentsDifference(None, tuple(purged or dict.fromkeys(because)), None, (), (), (), shards)


def _purged(finished: Finished) -> str | None:
    """What is said of a version of which only the manifest is left; None if it is whole."""
    try:
        is_purged = finished.store.exists(f"{finished.folder}/purged.json")
    except UNREACHABLE:  # what is out of reach is told where it is looked for
        return None
    return None if not is_purged else f"{finished.version} was purged when documents were taken out; only its manifest is left."


def _tried(because: list[str], look: Callable[[], T]) -> T | None:
    """What a look finds; None, and the reason, where it finds nothing to compare."""
    try:
        return look()
    except UNREACHABLE as error:
        because.append(redact_uri(error.message))
        return None


def _by_key(old: Finished, new: Finished, examples: int, shards: ShardsDifference | None) -> DocumentsDifference:
    sides = compare_lost(old, new, examples)
    removed = [*lost_examples(sides[1]), *row_examples(sides[0], examples)]
    added = [*lost_examples(sides[0]), *row_examples(sides[1], examples)]
    return DocumentsDifference(
        by="doc_key",
        because=(),
        counts=_counts(sides),
        removed=tuple(removed),
        added=tuple(added),
        changed=changed_examples(sides, examples),
        shards=shards,
    )


def _counts(sides: tuple[Side, Side]) -> Counts:
    """Numbers from which each version's documents can be added up again."""
    old, new = sides
    removed_by, added_by = causes_of_absence(new, old), causes_of_absence(old, new)
    removed, added = (sum(number for _, number in one) for one in (removed_by, added_by))
    files, before, after = changed_files(sides)
    kept = [side.finished.manifest["output"]["rows"] for side in sides]
    return Counts(
        old=kept[0],
        new=kept[1],
        both=kept[0] - removed - before,
        removed=removed,
        added=added,
        changed_files=files,
        changed=(before, after),
        removed_by=tuple(removed_by),
        added_by=tuple(added_by),
    )


def _by_id(old: Finished, new: Finished, examples: int, shards: ShardsDifference | None, because: tuple[str, ...]) -> DocumentsDifference:
    found = compare_ids(old, new, examples)
    return DocumentsDifference(
        by="id",
        because=because,
        counts=Counts(found.both + found.removed, found.both + found.added, found.both, found.removed, found.added),
        removed=tuple(Example(None, one, None, None, None) for one in found.removed_ids),
        added=tuple(Example(None, one, None, None, None) for one in found.added_ids),
        changed=(),
        shards=shards,
    )
