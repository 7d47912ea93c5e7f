"""Texts of documents that a version does not have, read back from its input: the rows that its side tables name, as they were listed.

Owns how a version's inventory and redacted settings become something that reads single rows again. What cannot be read any more is told
beside the document, never raised: an input is often deleted or rewritten once it was taken in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import formats
from pipelines.difference_lineage import versions_of
from pipelines.documents import InputFile
from pipelines.errors import InputChanged, NotFound, ShardmillError, StorageError, shown
from pipelines.inventory import Inventory
from pipelines.published import PublishedStore, is_followed, public_options
from pipelines.redaction import redact_uri, without_redacted
from pipelines.rows import Ints
from pipelines.storage import Sources
from pipelines.storage_hub import HubStore
from pipelines.storage_sources import split_uri
from pipelines.takedown_places import Places
from pipelines.verify_manifest import Finished

BATCH_BYTES: Final = 8 << 20
MAX_SECONDS: Final = 10.0
"""How long a store that does not answer is asked again: a person waits."""

NO_ROW: Final = -1
Place = tuple[str, int]
"""Address of an input file, and a row in it; `NO_ROW` where that is not known."""


@dataclass(frozen=True, slots=True)
class InputText:
    """The text of a document as the input has it.

    Attributes:
        text: None if it cannot be read.
        problem: Why not, in one line without secrets; None if it can.
    """

    text: str | None
    problem: str | None = None


class DroppedTexts:
    """Reads rows of a version's input again, each file only while it is the one that the inventory lists.

    A file that fails is not asked again, nor is a bucket or server that does not answer.
    """

    def __init__(self, finished: Finished) -> None:
        """Open nothing yet. Of a version that ingestions grew, `of_all` gives one for each run."""
        self._finished = finished
        self._settings: Mapping[str, Any] = finished.manifest["config"].get("input") or {}
        # Addresses and options of what was downloaded are a stranger's.
        self._is_strangers = isinstance(finished.store, HubStore | PublishedStore)
        options = without_redacted(self._settings.get("storage_options") or {})
        self._sources = Sources(public_options(options) if self._is_strangers else options, max_seconds=MAX_SECONDS)
        self._failures: dict[str, str] = {}
        self._down: dict[str, str] = {}

    @classmethod
    def of_all(cls, finished: Finished) -> list[tuple[Finished, DroppedTexts]]:
        """The versions that a version is made of, oldest first, each with what reads its input: its side tables name rows of that.

        Raises:
            InputError: One of these versions is not here any more, or is not what it was.
        """
        return [(part, cls(part)) for part in versions_of(finished)]

    @property
    def text_column(self) -> str:
        """The input's column with the text."""
        return str(self._settings.get("text_column", "text"))

    def texts(self, places: Sequence[Place]) -> Iterator[InputText]:
        """The texts of some rows, in the order in which they are given, one at a time.

        Neighbours of one file whose rows ascend are read in one pass: give rows in the order of the side tables. Memory holds a few MiB of
        the input, or one document.
        """
        for uri, run in groupby(places, key=lambda place: place[0]):
            rows = np.array([row for _, row in run], np.int64)
            # Ascending runs; a row that is not known begins one.
            for ascending in np.split(rows, np.flatnonzero((np.diff(rows) <= 0) | (rows[:-1] < 0)) + 1):
                yield from self._of_file(uri, ascending)

    def places_of(self, keys: Sequence[bytes]) -> list[Place | None]:
        """Addresses and rows of documents by their doc_keys; None where the inventory has no such row, or cannot be read."""
        if not keys or not self._has_inventory():
            return [None] * len(keys)
        places = self._places
        numbers = places.numbers_of(np.array(keys, "S16"))
        files, rows = places.files_of(numbers), places.rows_of(numbers)
        return [
            None if number < 0 else (self._inventory.identity(file)[0], row)
            for number, file, row in zip(numbers.tolist(), files.tolist(), rows.tolist(), strict=True)
        ]

    def _has_inventory(self) -> bool:
        try:
            return self._inventory is not None
        except (ShardmillError, pa.ArrowException, OSError) as error:
            self._note("", error)
            return False

    def _of_file(self, uri: str, rows: Ints) -> Iterator[InputText]:
        done = 0
        if (failure := self._failure(uri)) is None:
            try:
                for found in self._read(uri, rows):
                    done += 1
                    yield found
            except (ShardmillError, pa.ArrowException, OSError) as error:
                failure = self._note(uri, error)
        for _ in range(len(rows) - done):
            yield InputText(None, failure or "the input has no such row any more")

    def _read(self, uri: str, rows: Ints) -> Iterator[InputText]:
        """What was read of rows, ascending; those past the end of the file are left out."""
        file = self._file(uri)
        names = [name for name in self._inventory.schema.names if name == self.text_column]
        schema = pa.schema([self._inventory.schema.field(name) for name in names])
        # Of a batch the documents come first, then its damaged rows: what is ahead of its turn waits, a batch at most.
        waiting: dict[int, InputText] = {}
        done = 0
        for piece in formats.read(self._sources, _slices(file, rows), schema, self._options, BATCH_BYTES):
            for at in np.flatnonzero(np.isin(piece.rows, rows)).tolist():
                waiting[int(piece.rows[at])] = _told(piece, at)
            while done < len(rows) and int(rows[done]) in waiting:
                yield waiting.pop(int(rows[done]))
                done += 1

    @cached_property
    def _options(self) -> formats.ReadOptions:
        settings = self._settings
        return formats.ReadOptions(
            settings.get("format"), self.text_column, settings.get("id_column"), tuple(settings.get("path_columns") or ())
        )

    @cached_property
    def _inventory(self) -> Inventory:
        return Inventory.load(self._finished.store, self._finished.manifest["input"]["inventory"])

    @cached_property
    def _places(self) -> Places:
        return Places(self._inventory, lambda: iter(()))

    def _file(self, uri: str) -> InputFile:
        at = pc.index(self._inventory.uris, pa.scalar(uri, self._inventory.uris.type)).as_py()
        if at < 0:
            raise NotFound(f"the inventory has no file {shown(redact_uri(uri))}")
        return self._inventory.file(at)

    # --- what cannot be read

    def _failure(self, uri: str) -> str | None:
        if self._is_strangers and not is_followed(uri):
            return "the published version names an address that is not followed"
        return self._failures.get(uri) or self._down.get("") or self._down.get(split_uri(uri)[0])

    def _note(self, uri: str, error: Exception) -> str:
        """Keep why a file failed; a store that failed is not asked for its other files either."""
        told = _words(uri, error)
        if "_inventory" not in self.__dict__:  # it is the inventory that cannot be read: none of the files can
            told = f"the inventory cannot be read: {told}"
            self._down[""] = told
        elif isinstance(error, StorageError) and not isinstance(error, NotFound):
            self._down[split_uri(uri)[0]] = told
        else:
            self._failures[uri] = told
        return told


def _words(uri: str, error: Exception) -> str:
    """What is told beside a document, whose address stands there already."""
    message = (error.message if isinstance(error, ShardmillError) else str(error)).removeprefix(f"{uri}: ")
    if isinstance(error, InputChanged):
        message = f"the input has changed since: {message.partition('; run again')[0]}"
    return shown(redact_uri(message))


def _slices(file: InputFile, rows: Ints) -> list[formats.Slice]:
    """One slice for each row group that has some of the rows; rows that the file has not are left out."""
    firsts = np.array([group.first_row for group in file.row_groups], np.int64)
    inside = rows[(rows >= 0) & (rows < file.rows)]
    groups = np.searchsorted(firsts, inside, side="right") - 1
    found = []
    for group in np.unique(groups).tolist():
        mine = inside[groups == group] - firsts[group]
        found.append(formats.Slice(file, group, int(mine.min()), int(mine.max()) + 1))
    return found


def _told(piece: formats.Documents | formats.Damaged, at: int) -> InputText:
    if isinstance(piece, formats.Damaged):
        return InputText(None, f"{shown(piece.error)}: {shown(piece.message)}")
    text = piece.batch.column(0)[at].as_py() if piece.batch.num_columns else None
    return InputText(text, None if text is not None else "the input has no text there")
