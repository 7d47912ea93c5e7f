"""A few documents that came or went, by name: the same ones whenever two versions are compared, and where each was read.

Owns the second look at side tables and inventories that finds their ids and addresses. Memory holds a batch, and a few pages of marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipelines.difference_files import CHANGED, ONLY, SAME, Files, batches_of
from pipelines.difference_lost import TABLES, Cause, Side, lost_batches
from pipelines.identity import uri_prefix
from pipelines.redaction import redact_uri
from pipelines.verify_inventory import Ints, Keys, Mask, as_keys, hexadecimal

WINDOW_ROWS: Final = 1 << 16
"""Rows of a file among which an example is looked for."""


@dataclass(frozen=True, slots=True)
class Example:
    """One document that only one of the versions has.

    Attributes:
        doc_key: In hexadecimal; None where documents were compared by id. So are `uri`, `row` and `cause`.
        id: None where no table names it.
    """

    doc_key: str | None
    id: str | None
    uri: str | None
    row: int | None
    cause: Cause | None

    def to_json(self) -> dict[str, Any]:
        """What is known of it."""
        place = {"doc_key": self.doc_key, "id": self.id, "uri": self.uri, "row": self.row}
        if self.cause is None:
            return place
        told = {"operator": self.cause.operator, "reason": self.cause.reason} if self.cause.operator else {}
        return {**place, "what": self.cause.what, **told}


@dataclass(frozen=True, slots=True)
class FileExample:
    """One input file whose content changed, with the documents kept of it before and after."""

    uri: str
    old: int
    new: int

    def to_json(self) -> dict[str, Any]:
        """All three."""
        return {"uri": self.uri, "old": self.old, "new": self.new}


def lost_examples(without: Side) -> tuple[Example, ...]:
    """The sampled documents that one version lost and the other kept, as the side tables name them."""
    _, files, rows, causes = without.samples
    wanted = without.beside.files.keys(files, rows)
    ids = _ids(without, wanted)
    names = list(without.causes)
    found = []
    for key, cause in zip(wanted.tolist(), causes.tolist(), strict=True):
        name, uri, row = ids[key]
        found.append(Example(hexadecimal(key), name, redact_uri(uri), row, names[cause]))
    return tuple(found)


def _ids(side: Side, wanted: Keys) -> dict[bytes, tuple[str | None, str, int]]:
    found: dict[bytes, tuple[str | None, str, int]] = {}
    for table, _ in TABLES if len(wanted) else ():
        for batch in lost_batches(side.finished, table, ["doc_key", "id", "uri", "row"]):
            keys = as_keys(batch.column("doc_key"))
            for at in np.flatnonzero(np.isin(keys, wanted)).tolist():
                found[keys[at]] = tuple(batch.column(name)[at].as_py() for name in ("id", "uri", "row"))
            if len(found) == len(wanted):
                return found
    return found


def row_examples(having: Side, examples: int) -> tuple[Example, ...]:
    """Kept documents of files, and of rows, that the other version did not read: the first rows of a few files."""
    files = having.beside.files
    past = having.beside.common
    fresh = (having.beside.state == ONLY) & (files.rows > having.lost)
    longer = (having.beside.state == SAME) & (files.rows > past)
    chosen = np.flatnonzero(fresh | longer)[:examples]
    if not len(chosen):
        return ()
    places = sorted(_kept_rows(having, chosen, examples))[:examples]
    uris = _uris(having, np.unique([file for _, file, _ in places]).astype(np.int64))
    found = []
    for _, file, row in places:
        key = files.keys(np.array([file]), np.array([row]))[0]
        cause = Cause("only_file" if having.beside.state[file] == ONLY else "not_read")
        found.append(Example(hexadecimal(key), None, redact_uri(uris[file]), row, cause))
    return tuple(found)


def _kept_rows(having: Side, chosen: Ints, examples: int) -> Iterator[tuple[int, int, int]]:
    """The first kept rows of each file, from where the other version stopped: (which of the file's, file, row)."""
    files = having.beside.files
    starts = having.beside.common[chosen]
    lost: list[Mask] = [np.zeros(min(int(files.rows[file] - start), WINDOW_ROWS), bool) for file, start in zip(chosen, starts, strict=True)]
    for table, _ in TABLES:
        for batch in lost_batches(having.finished, table, ["doc_key"]):
            at, rows = files.find(as_keys(batch.column("doc_key")))
            for place, file in enumerate(chosen.tolist()):
                inside = rows[at == file] - starts[place]
                lost[place][inside[(inside >= 0) & (inside < len(lost[place]))]] = True
    for place, file in enumerate(chosen.tolist()):
        for number, row in enumerate(np.flatnonzero(~lost[place])[:examples].tolist()):
            yield number, file, int(starts[place]) + row


def _uris(side: Side, wanted: Ints) -> dict[int, str]:
    """Addresses of files, by their places."""
    files: Files = side.beside.files
    places = {files.prefixes[file].ljust(10, b"\0"): file for file in wanted.tolist()}
    found: dict[int, str] = {}
    for batch in batches_of(side.finished, ["uri"]) if places else ():
        for uri in batch.column("uri").to_pylist():
            file = places.get(uri_prefix(uri))
            if file is not None:
                found[file] = uri
        if len(found) == len(places):
            break
    return found


def changed_examples(sides: tuple[Side, Side], examples: int) -> tuple[FileExample, ...]:
    """A few files whose content changed, those first of which most documents came or went."""
    old, new = sides
    at = np.flatnonzero(old.beside.state == CHANGED)
    others = old.beside.other[at]
    before = (old.beside.files.rows - old.lost)[at]
    after = (new.beside.files.rows - new.lost)[others]
    order = np.lexsort((at, -np.abs(after - before)))[:examples]
    uris = _uris(old, at[order])
    return tuple(FileExample(redact_uri(uris[int(at[one])]), int(before[one]), int(after[one])) for one in order.tolist())
