"""Documents of a run read again from its input by their doc_keys: a bounded number of row groups and bytes, each exactly as it was listed.

Owns the budget of the reading. A file that is gone, changed or out of reach is told, never raised: a report can do without its documents.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import formats
from pipelines.chain import bounded
from pipelines.documents import ReadOptions, Reads
from pipelines.errors import ShardmillError
from pipelines.formats_parquet import GIANT_BYTES
from pipelines.identity import DOC_KEY, doc_keys, hexadecimal, uri_prefix
from pipelines.inventory import Inventory
from pipelines.redaction import redact_uri
from pipelines.rows import Ints, one_batch
from pipelines.takedown_places import Places
from pipelines.unit import MADE_ID

MAX_BYTES: Final = 160 << 20
"""Read, or decoded, for one report."""
MAX_GROUPS: Final = 64
MAX_SECONDS: Final = 20.0
"""After which no other file is opened, and for which a store that does not answer is asked again."""
BATCH_BYTES: Final = 8 << 20


def told_of(error: Exception) -> str:
    """What a page says of an error, without secrets: of one of ours or of the system's the message, of any other its kind alone.

    Notes stay in pages that are published without documents, and what libraries say may quote the value that they stumbled over.
    """
    if isinstance(error, ShardmillError | OSError):
        return bounded(error)
    return type(error).__name__


@dataclass(frozen=True, slots=True)
class Found:
    """Documents of one file of the input with all of their columns; `doc_keys` and `rows` are one a row of the batch."""

    doc_keys: tuple[bytes, ...]
    uri: str
    rows: tuple[int, ...]
    batch: pa.RecordBatch

    def take(self, places: Sequence[int]) -> Found:
        """Some of them."""
        if len(places) == len(self.rows):
            return self
        keys = tuple(self.doc_keys[at] for at in places)
        return Found(keys, self.uri, tuple(self.rows[at] for at in places), self.batch.take(pa.array(places, pa.int64())))


@dataclass(slots=True)
class Budget:
    """What may still be read, and what was not: problems by file, and how many documents for want of room."""

    left: int = MAX_BYTES
    groups: int = MAX_GROUPS
    until: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)
    problems: dict[str, str] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)

    def takes(self, num_bytes: int) -> bool:
        """Whether there is room for another row group; it is taken."""
        if self.groups < 1 or num_bytes > self.left:
            return False
        self.groups -= 1
        self.left -= num_bytes
        return True

    def notes(self) -> Iterator[str]:
        """What could not be read, for the page."""
        for uri, problem in list(self.problems.items())[:3]:
            yield f"documents of {uri} cannot be shown: {problem}"
        if len(self.problems) > 3:
            yield f"documents of {len(self.problems) - 3} more files of the input cannot be shown"
        for why, number in sorted(self.unread.items()):
            yield f"{number} documents are not shown: {why}"


@dataclass(frozen=True)
class InputTexts:
    """The input of a run.

    Attributes:
        has_made_ids: Whether the column of ids is made of the doc_keys.
    """

    inventory: Inventory
    sources: Reads
    options: ReadOptions
    has_made_ids: bool

    @cached_property
    def places(self) -> Places:
        """Which row a doc_key is of."""
        return Places(self.inventory, lambda: iter(()))

    def cost(self, doc_keys: Sequence[bytes]) -> int:
        """Bytes that reading these documents would take; beyond all budgets where it would take too many row groups."""
        needed = self._groups(doc_keys)
        return sum(self._bytes(group, rows) for group, rows in needed.items()) if len(needed) <= MAX_GROUPS else MAX_BYTES + 1

    def read(self, doc_keys: Iterable[bytes], budget: Budget, take: Callable[[Found], None]) -> None:
        """Read documents, those that come first as long as there is room, and hand each over once, some at a time."""
        keys = list(dict.fromkeys(doc_keys))
        chosen: dict[int, list[int]] = {}
        for group, rows in self._groups(keys).items():
            if budget.takes(self._bytes(group, rows)):
                chosen[group] = sorted(rows)
            else:
                budget.unread["reading their row groups again would take too long"] += len(rows)
        files: dict[int, list[int]] = {}
        for group in sorted(chosen):
            files.setdefault(int(self.inventory.group_file[group]), []).append(group)
        wanted = pa.array(keys, DOC_KEY)
        for file, groups in files.items():
            if time.monotonic() > budget.until:
                budget.unread["reading the input again took too long"] += sum(len(chosen[group]) for group in groups)
                continue
            self._read_file(file, {group: chosen[group] for group in groups}, wanted, budget, take)

    def _read_file(self, file: int, groups: dict[int, list[int]], wanted: pa.Array, budget: Budget, take: Callable[[Found], None]) -> None:
        whole = self.inventory.file(file)
        first = int(self.inventory.file_first_group[file])
        slices = []
        for group, rows in groups.items():
            start = whole.row_groups[group - first].first_row
            slices.append(formats.Slice(whole, group - first, rows[0] - start, rows[-1] - start + 1))
        try:
            for piece in formats.read(self.sources, slices, self._read_schema, self.options, BATCH_BYTES):
                if isinstance(piece, formats.Documents):
                    self._hand_over(piece, wanted, take)
        except (ShardmillError, pa.ArrowException, OSError) as error:
            budget.problems[redact_uri(whole.uri)] = told_of(error)

    def _hand_over(self, piece: formats.Documents, wanted: pa.Array, take: Callable[[Found], None]) -> None:
        keys = doc_keys([uri_prefix(piece.file.uri)], np.zeros(len(piece.rows), np.int64), piece.rows)
        places = np.flatnonzero(pc.is_in(keys, value_set=wanted).to_numpy(zero_copy_only=False))
        if len(places):
            chosen = pa.array(places)
            batch = self.with_ids(piece.batch.take(chosen), keys.take(chosen))
            take(Found(tuple(keys.take(chosen).to_pylist()), piece.file.uri, tuple(piece.rows[places].tolist()), batch))

    def with_ids(self, batch: pa.RecordBatch, keys: pa.FixedSizeBinaryArray) -> pa.RecordBatch:
        """Documents as they come into a run: with the ids that are made, where the input has none."""
        if not self.has_made_ids:
            return batch
        ids = hexadecimal(pa.concat_arrays([keys]))
        return pa.RecordBatch.from_arrays([*batch.columns, ids], schema=self.schema)

    def few(self, most_rows: int, most_bytes: int) -> pa.RecordBatch | None:
        """All documents, where they are few; rows that are none are left out.

        Raises:
            ShardmillError, OSError: A file cannot be read as it was listed.
        """
        inventory = self.inventory
        if inventory.rows > most_rows or int(inventory.group_bytes.sum()) > most_bytes or inventory.num_files > MAX_GROUPS:
            return None
        slices = []
        for ordinal in range(inventory.num_files):
            whole = inventory.file(ordinal)
            slices += [formats.Slice(whole, number, 0, group.rows) for number, group in enumerate(whole.row_groups)]
        batches: list[pa.RecordBatch] = []
        for piece in formats.read(self.sources, slices, self._read_schema, self.options, BATCH_BYTES):
            if isinstance(piece, formats.Documents):
                keys = doc_keys([uri_prefix(piece.file.uri)], np.zeros(len(piece.rows), np.int64), piece.rows)
                batches.append(self.with_ids(piece.batch, keys))
        return one_batch(pa.Table.from_batches(batches, schema=self.schema))

    @cached_property
    def _read_schema(self) -> pa.Schema:
        return self.inventory.schema

    @property
    def schema(self) -> pa.Schema:
        """Columns of what is handed over."""
        return self._read_schema.append(pa.field(MADE_ID, pa.string())) if self.has_made_ids else self._read_schema

    # --- where documents are

    def keys(self, files: Ints, rows: Ints) -> pa.FixedSizeBinaryArray:
        """doc_keys of rows of files."""
        some, position = np.unique(files, return_inverse=True)
        return doc_keys([uri_prefix(self.inventory.identity(file)[0]) for file in some.tolist()], position, rows)

    def _numbers(self, doc_keys: Sequence[bytes]) -> Ints:
        return self.places.numbers_of(np.array([key.ljust(16, b"\0") for key in doc_keys], "S16"))

    def _groups(self, doc_keys: Sequence[bytes]) -> dict[int, list[int]]:
        """Row groups of documents with the rows, in their files, that are wanted of each; in the order of the documents."""
        numbers = self._numbers(doc_keys)
        numbers = numbers[numbers >= 0]
        groups = np.searchsorted(self._group_ends, numbers, side="right")
        rows = self.places.rows_of(numbers)
        found: dict[int, list[int]] = {}
        for group, row in zip(groups.tolist(), rows.tolist(), strict=True):
            found.setdefault(group, []).append(row)
        return found

    @cached_property
    def _group_ends(self) -> Ints:
        return np.cumsum(self.inventory.group_rows)

    def _bytes(self, group: int, rows: Sequence[int]) -> int:
        """What reading a row group up to its last wanted row costs: a large one is read just so far, of a small one everything."""
        file = int(self.inventory.group_file[group])
        number = group - int(self.inventory.file_first_group[file])
        found = self.inventory.file(file, number, number + 1).row_groups[number]
        decoded = found.num_bytes * (max(rows) - found.first_row + 1) // max(found.rows, 1)
        return max(min(found.length, GIANT_BYTES), decoded)
