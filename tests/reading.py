"""What tests of reading share: take an inventory of files, read slices of it, and prove that every row came out exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.formats import Damaged, ReadOptions, Slice, read
from pipelines.inventory import Inventory, take_inventory
from pipelines.storage import Sources

OPTIONS = ReadOptions(None, "text", "id", ())


@dataclass
class Outcome:
    """Everything that reading gave, by row: (file, row) to the document, or to its error."""

    documents: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    damaged: dict[tuple[int, int], tuple[str, str, str | None]] = field(default_factory=dict)
    order: list[tuple[int, int]] = field(default_factory=list)
    batch_sizes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def errors(self) -> dict[int, str]:
        """Row to error class, of an input of one file."""
        return {row: error for (_, row), (error, _, _) in sorted(self.damaged.items())}

    @property
    def texts(self) -> list[str]:
        return [document["text"] for document in self.documents.values()]


def whole(inventory: Inventory) -> list[Slice]:
    files = [inventory.file(ordinal) for ordinal in range(inventory.num_files)]
    return [Slice(file, index, 0, group.rows) for file in files for index, group in enumerate(file.row_groups)]


def outcome(
    sources: Sources,
    inventory: Inventory,
    slices: Sequence[Slice] | None = None,
    batch_bytes: int = 1 << 20,
    options: ReadOptions = OPTIONS,
) -> Outcome:
    slices = whole(inventory) if slices is None else slices
    found = Outcome()
    for item in read(sources, slices, inventory.schema, options, batch_bytes):
        keys = [(item.file.ordinal, int(row)) for row in item.rows]
        if isinstance(item, Damaged):
            ids = [None] * len(keys) if item.ids is None else item.ids.to_pylist()
            assert len(ids) == len(keys)
            found.damaged.update({key: (item.error, item.message, name) for key, name in zip(keys, ids, strict=True)})
        else:
            assert item.batch.schema.equals(inventory.schema, check_metadata=True)
            item.batch.validate(full=True)
            found.documents.update(zip(keys, item.batch.to_pylist(), strict=True))
            found.batch_sizes.append((item.batch.num_rows, item.batch.nbytes))
            found.order += keys
    expected = Counter((piece.file.ordinal, piece.first_row + offset) for piece in slices for offset in range(piece.stop - piece.start))
    assert Counter([*found.documents, *found.damaged]) == expected
    assert len(found.order) == len(found.documents)
    return found


def read_path(path: Path | str, options: ReadOptions = OPTIONS, **settings: Any) -> tuple[Inventory, Outcome]:
    sources = Sources()
    inventory = take_inventory(sources, [str(path)], options)
    return inventory, outcome(sources, inventory, options=options, **settings)


def text_table(num_rows: int, **columns: Any) -> pa.Table:
    """`id` and `text`, different in every row, and more columns."""
    texts = [f"document {number} " + "word " * (number * 7 % 50) for number in range(num_rows)]
    return pa.table({"id": [f"d{number}" for number in range(num_rows)], "text": texts, **columns})
