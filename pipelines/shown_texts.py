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

from pipelines import formats
from pipelines.documents import ReadOptions, Reads
from pipelines.errors import ShardmillError, shown
from pipelines.identity import hexadecimal
from pipelines.inventory import Inventory
from pipelines.recall import key_bytes
from pipelines.redaction import redact_uri
from pipelines.rows import Ints
from pipelines.takedown_places import Places
from pipelines.unit import MADE_ID

MAX_BYTES: Final = 200 << 20
"""Read, or decoded, for one report."""
MAX_GROUPS: Final = 64
MAX_SECONDS: Final = 20.0
"""After which no other file is opened, and for which a store that does not answer is asked again."""
BATCH_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A document of the input, as a batch of one row with all of its columns."""

    doc_key: bytes
    uri: str
    row: int
    batch: pa.RecordBatch


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

    def place(self, doc_key: bytes) -> tuple[str, int] | None:
        """File and row of a document; None if it is not of this input."""
        numbers = self._numbers([doc_key])
        if numbers[0] < 0:
            return None
        return self.inventory.identity(int(self.places.files_of(numbers)[0]))[0], int(self.places.rows_of(numbers)[0])

    def cost(self, doc_keys: Sequence[bytes]) -> int:
        """Bytes that reading these documents would take; beyond all budgets where it would take too many row groups."""
        needed = self._groups(doc_keys)
        return sum(self._bytes(group, rows) for group, rows in needed.items()) if len(needed) <= MAX_GROUPS else MAX_BYTES + 1

    def read(self, doc_keys: Iterable[bytes], budget: Budget, take: Callable[[Found], None]) -> None:
        """Read documents, those first that come first as long as there is room, and hand each over once."""
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
        wanted = {key.ljust(16, b"\0") for key in keys}
        for file, groups in files.items():
            if time.monotonic() > budget.until:
                budget.unread["reading the input again took too long"] += sum(len(chosen[group]) for group in groups)
                continue
            self._read_file(file, {group: chosen[group] for group in groups}, wanted, budget, take)

    def _read_file(
        self, file: int, groups: dict[int, list[int]], wanted: set[bytes], budget: Budget, take: Callable[[Found], None]
    ) -> None:
        whole = self.inventory.file(file)
        first = int(self.inventory.file_first_group[file])
        slices = []
        for group, rows in groups.items():
            start = whole.row_groups[group - first].first_row
            slices.append(formats.Slice(whole, group - first, rows[0] - start, rows[-1] - start + 1))
        try:
            for piece in formats.read(self.sources, slices, self._read_schema, self.options, BATCH_BYTES):
                if isinstance(piece, formats.Documents):
                    self._hand_over(file, piece, wanted, take)
        except (ShardmillError, pa.ArrowException, OSError) as error:
            budget.problems[redact_uri(whole.uri)] = shown(redact_uri(str(error)))

    def _hand_over(self, file: int, piece: formats.Documents, wanted: set[bytes], take: Callable[[Found], None]) -> None:
        keys = self.places.keys_of(self.places.number(file, piece.rows))
        for at, key in enumerate(key_bytes(keys).tolist()):
            whole = key.ljust(16, b"\0")
            if whole in wanted:
                batch = piece.batch.slice(at, 1)
                if self.has_made_ids:
                    batch = batch.append_column(pa.field(MADE_ID, pa.string()), hexadecimal(keys.slice(at, 1)))
                take(Found(whole, piece.file.uri, int(piece.rows[at]), batch))

    @cached_property
    def _read_schema(self) -> pa.Schema:
        return self.inventory.schema

    @property
    def schema(self) -> pa.Schema:
        """Columns of what is handed over."""
        return self._read_schema.append(pa.field(MADE_ID, pa.string())) if self.has_made_ids else self._read_schema

    # --- where documents are

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
        """What reading a row group up to its last wanted row costs."""
        file = int(self.inventory.group_file[group])
        whole = self.inventory.file(file, group - int(self.inventory.file_first_group[file]), group - int(self.inventory.file_first_group[file]) + 1)
        found = whole.row_groups[group - int(self.inventory.file_first_group[file])]
        decoded = found.num_bytes * (max(rows) - found.first_row + 1) // max(found.rows, 1)
        return max(found.length, decoded)


