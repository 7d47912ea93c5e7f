"""How the profile of documents comes from units to the driver: in a unit's record, and in a part where it has many languages.

Owns what of a profile stands in records and parts. What a profile is, says document_profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from pipelines.commit import Part
from pipelines.document_profile import Profile, ProfileColumns, profile_of
from pipelines.frames import PartWriter, read_frames, refs
from pipelines.storage import Store
from pipelines.token_counts import MAX_INLINE

LANGUAGES_PART: Final = "languages"
"""Role of the part with a unit's languages, where they are too many for its record."""
LANGUAGES: Final = pa.schema([("name", pa.string()), ("documents", pa.int64()), ("text_bytes", pa.int64())])


class UnitProfile:
    """The profile of one unit's documents."""

    def __init__(self, columns: ProfileColumns) -> None:
        self._columns = columns
        self._found = Profile.empty(columns)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count some documents."""
        if batch.num_rows:
            self._found.add(profile_of(batch, self._columns.text, self._columns.language))

    def told(self, writer: PartWriter) -> dict[str, Any]:
        """What the unit's record says; languages go to a part where they are many."""
        found = self._found
        # Numbers in a row, since the driver holds the records of 200,000 units.
        told: dict[str, Any] = {
            "null_texts": found.null_texts,
            "lengths": [[number, *found.lengths[number]] for number in sorted(found.lengths)],
        }
        if found.languages is None:
            return told
        told["is_closed"] = found.is_closed
        rows = [(name, *found.languages[name]) for name in sorted(found.languages)]
        if len(rows) <= MAX_INLINE:
            return {**told, "languages": rows}
        columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), LANGUAGES.types, strict=True)]
        writer.write(pa.RecordBatch.from_arrays(columns, schema=LANGUAGES))
        return told


class ProfileTotals:
    """The profile of the documents of all units."""

    def __init__(self, columns: ProfileColumns) -> None:
        self._found = Profile.empty(columns)

    def add(self, told: Mapping[str, Any]) -> None:
        """Add what a unit's record says."""
        self._add(
            null_texts=told["null_texts"],
            lengths={number: (documents, size) for number, documents, size in told["lengths"]},
            languages=told.get("languages", ()),
            is_closed=told.get("is_closed", False),
        )

    def add_parts(self, store: Store, parts: Sequence[Part]) -> None:
        """Add the languages that units wrote into parts."""
        for batch in read_frames(store, [ref for part in parts for ref in refs(part)]):
            self._add(languages=list(zip(*(column.to_pylist() for column in batch.columns), strict=True)))

    def _add(self, *, languages: Sequence[Sequence[Any]], **told: Any) -> None:
        found = Profile.empty(self._found.columns)
        for name, value in told.items():
            setattr(found, name, value)
        if found.languages is not None:
            found.languages = {name: (documents, size) for name, documents, size in languages}
        self._found.add(found)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest under `documents`."""
        return self._found.to_json()
