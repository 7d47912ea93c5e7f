"""Removed duplicates beside the documents that were kept for them, as `inspect` shows them.

Texts are compared as the input has them. Where that cannot be read any more, the removed one is looked for in the table of dropped
documents, if that carries texts, and the kept one among the shards; each such search looks through ids only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dropped_texts import DroppedTexts, InputText, Place
from pipelines.inspect_documents import (
    Document,
    Request,
    carried_text,
    equals,
    id_column,
    kept_files,
    lost_files,
    shared,
    text_column,
)
from pipelines.inspect_rows import Condition, Files, Wanted, check, picked, schema_of
from pipelines.inspect_values import text_of
from pipelines.text_edits import Entries, read_sentence
from pipelines.verify_manifest import Finished
from pipelines.withheld_texts import WITHHELD, Withheld

PAIRS: Final = 64
"""Rows of the table of duplicates that are looked at together."""
AS_IT_WENT_OUT: Final = "as it went out: operators may have changed it"


def duplicate_documents(finished: Finished, request: Request, which: Sequence[Condition] = ()) -> Iterator[Document]:
    """The removed duplicates of a version, in the order of its table, each with the one that was kept for it; checked at the call.

    Raises:
        ConfigError: The condition does not fit the columns of the table.
    """
    versions = DroppedTexts.of_all(finished)
    files = [lost_files(part, "duplicates") for part, _ in versions]
    tests = request.tests()
    for one in files[-1:]:
        check(tests, schema_of(one))
    tests = (*tests, *which, *(() if request.id is None else (_of_either(request.id),)))
    samples = shared([sum(one.rows) for one in files], request.sample)
    texts, withheld = [reader for _, reader in versions], Withheld.of(finished.store)
    streams = []
    for (part, reader), one, sample in zip(versions, files, samples, strict=True):
        pairs = _Pairs(part.manifest["operators"], withheld, reader, texts, _Dropped.of(part, reader), _Shards(finished))
        found = picked(one, Wanted(tests, None, sample, request.seed, PAIRS))
        streams.append(document for some in found for document in pairs.documents(some.batch))
    return (document for stream in streams for document in stream)


def _of_either(name: str) -> Condition:
    """The test that a pair has a document of this id or doc_key on either side."""
    tests = [equals(column, name) for column in ("id", "doc_key", "kept_id", "kept_doc_key")]

    def holds(batch: pa.RecordBatch) -> pa.Array:
        found = pa.repeat(False, batch.num_rows)
        for test in tests:
            found = pc.or_(found, pc.fill_null(test.holds(batch), False))
        return found

    return Condition(tuple(name for test in tests for name in test.columns), holds)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Makes documents of rows of the table of duplicates.

    Attributes:
        operators: Of the manifest.
        withheld: Documents whose texts are not shown.
        own: Reads the input of the run that removed them.
        runs: Read those of all runs: a kept document may be an earlier one's.
    """

    operators: Entries
    withheld: Withheld
    own: DroppedTexts
    runs: Sequence[DroppedTexts]
    dropped: _Dropped
    shards: _Shards

    def documents(self, batch: pa.RecordBatch) -> Iterator[Document]:
        """One for each row."""
        rows = batch.to_pylist()
        places = self.own.places_of([row["doc_key"] for row in rows])
        read = self.own.texts([place for place in places if place is not None])
        for row, place in zip(rows, places, strict=True):
            found = InputText(None, "the inventory has no such row, or cannot be read") if place is None else next(read)
            if self.withheld.has(row["doc_key"]):
                found = WITHHELD
            text = found if found.text is not None or found is WITHHELD else self.dropped.text(row["doc_key"].hex()) or found
            kept = self._kept(row["kept_doc_key"], row["kept_id"], row["operator"])
            yield Document(
                state="dropped",
                id=row["id"],
                doc_key=row["doc_key"].hex(),
                path=None if place is None else place[0],
                row=None if place is None else place[1],
                operator=row["operator"],
                text=text.text,
                problem=text.problem,
                note=read_sentence(self.operators, row["operator"]) if text is found and text.text is not None else None,
                columns={"num_duplicates": row["num_duplicates"]},
                similarity=row["similarity"],
                kept=kept,
            )

    def _kept(self, key: bytes | None, name: str | None, operator: str) -> Document:
        kept = Document(state="kept", id=name, doc_key=None if key is None else key.hex(), path=None, row=None)
        if self.withheld.has(key):
            return replace(kept, problem=WITHHELD.problem)
        reader, place = self._place(key)
        if reader is None or place is None:
            found = InputText(None, "it was kept by another run, or the inventory cannot be read")
        else:
            found = next(reader.texts([place]))
            kept = replace(kept, path=place[0], row=place[1])
        if found.text is not None:
            return replace(kept, text=found.text, note=read_sentence(self.operators, operator))
        found = self.shards.text(name) or found
        return replace(kept, text=found.text, problem=found.problem, note=None if found.text is None else AS_IT_WENT_OUT)

    def _place(self, key: bytes | None) -> tuple[DroppedTexts | None, Place | None]:
        keys = [] if key is None else [key]
        for reader in (self.own, *(run for run in self.runs if run is not self.own)):
            place = next(iter(reader.places_of(keys)), None)
            if place is not None:
                return reader, place
        return None, None


@dataclass(frozen=True, slots=True)
class _Dropped:
    """The table of dropped documents, if it carries their texts."""

    files: Files
    column: str | None

    @classmethod
    def of(cls, part: Finished, texts: DroppedTexts) -> _Dropped:
        """That of a version."""
        files = lost_files(part, "dropped", [texts.text_column])
        return cls(files, carried_text(schema_of(files), "dropped", texts.text_column))

    def text(self, key: str) -> InputText | None:
        """The text of a document by its doc_key in hexadecimal."""
        if self.column is None:
            return None
        some = next(picked(self.files, Wanted((equals("doc_key", key),), (self.column,), batch_rows=1)), None)
        return None if some is None else InputText(text_of(some.batch.column(0)[0]))


@dataclass(frozen=True, slots=True)
class _Shards:
    """The shards of a version, where documents may be found by id."""

    finished: Finished

    def text(self, name: str | None) -> InputText | None:
        """The text of a kept document: the only one with its id."""
        manifest = self.finished.manifest
        ids, column = id_column(manifest), text_column(manifest)
        if ids is None or name is None or column not in [field["name"] for field in manifest["schema"]]:
            return None
        found = []
        for some in picked(kept_files(self.finished), Wanted((equals(ids, name),), (column,), batch_rows=1)):
            found.append(text_of(some.batch.column(0)[0]))
            if len(found) > 1:
                return InputText(None, "its input cannot be read, and the shards have several documents of this id")
        return InputText(found[0]) if found else None
