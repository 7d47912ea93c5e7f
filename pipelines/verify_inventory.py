"""The saved inventory of a version, and the places that its lost documents name: the keys of real rows of files that were there.

Owns how keys are held and looked up. An inventory of a million files costs some tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checks import MAX_PROBLEMS, Checks, Problem
from pipelines.errors import InputError, NotFound, shown
from pipelines.identity import doc_keys, uri_prefix
from pipelines.objectfile import opened_parquet
from pipelines.verify_file import PARQUET_ERRORS
from pipelines.verify_ledger import BATCH_ROWS, side_batches
from pipelines.verify_manifest import MANIFEST, Finished

MAX_KEY_ROW: Final = 1 << 48

Keys = npt.NDArray[np.bytes_]
"""doc_keys as `S16`: numpy compares these by all 16 bytes, since shorter values are padded with NULs."""
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

prefix_of = lru_cache(1 << 16)(uri_prefix)


@dataclass(frozen=True, slots=True)
class SavedInventory:
    """Rows of every input file, by the first ten bytes of its documents' keys, sorted; and the totals.

    Attributes:
        unreadable: Addresses of files that could not be read at all, with the error of each.
    """

    prefixes: Keys
    rows: Ints
    files: int
    bytes: int
    unreadable: tuple[tuple[str, str], ...]

    def rows_of(self, prefixes: Keys) -> Ints:
        """Rows of the files with these prefixes; -1 where there is no such file."""
        if not len(self.prefixes):
            return np.full(len(prefixes), -1, np.int64)
        position = np.minimum(np.searchsorted(self.prefixes, prefixes), len(self.prefixes) - 1)
        return np.where(self.prefixes[position] == prefixes, self.rows[position], -1)

    def has(self, keys: Keys) -> Mask:
        """Whether keys are of rows that its files have."""
        raw = np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 16)
        row = np.zeros((len(keys), 8), np.uint8)
        row[:, 2:] = raw[:, 10:]
        limit = self.rows_of(np.ascontiguousarray(raw[:, :10]).view("S10").ravel())
        return np.asarray(row.view(">u8").ravel().astype(np.int64) < limit, bool)


def load_inventory(finished: Finished, checks: Checks) -> SavedInventory | None:
    """Read the inventory that the manifest names and compare its totals; None if it is not here or cannot be read."""
    path = finished.manifest["input"].get("inventory")
    if not isinstance(path, str) or not path.startswith("_shardmill/") or ".." in path:
        checks.skip("inventory", "not checkable: the manifest names no inventory")
        return None
    try:
        found = _read_inventory(finished, path)
    except NotFound:
        rows = finished.manifest["input"]["rows"]
        checks.skip("inventory", f"not checkable: {path} is not in this copy; that {rows} rows were there is not proven")
        return None
    except (*PARQUET_ERRORS, InputError) as error:
        checks.judge("inventory", [Problem(path, f"it cannot be read: {shown(error)}; restore it from a copy")], "")
        return None
    proven = f"{found.files} files with {int(found.rows.sum())} rows, {len(found.unreadable)} of them unreadable, as {path} lists them"
    checks.judge("inventory", _inventory_problems(finished, path, found), proven)
    return found


def _read_inventory(finished: Finished, path: str) -> SavedInventory:
    prefixes: list[Keys] = []
    rows: list[Ints] = []
    size = 0
    unreadable: list[tuple[str, str]] = []
    with opened_parquet(finished.store, path) as file:
        columns = ["uri", "size", "error", "row_groups.list.element.rows"]
        for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            uris = batch.column("uri").to_pylist()
            prefixes.append(np.array([uri_prefix(uri) for uri in uris], "S10"))
            rows.append(_rows_per_file(batch.column("row_groups")))
            size += pc.sum(batch.column("size")).as_py() or 0
            bad = batch.filter(pc.is_valid(batch.column("error")))
            unreadable += zip(bad.column("uri").to_pylist(), bad.column("error").to_pylist(), strict=True)
    joined = np.concatenate([np.empty(0, "S10"), *prefixes])
    order = np.argsort(joined, kind="stable")
    counted = np.concatenate([np.empty(0, np.int64), *rows])[order]
    return SavedInventory(joined[order], counted, len(joined), size, tuple(unreadable))


def _rows_per_file(row_groups: pa.ListArray) -> Ints:
    values = row_groups.flatten().field("rows").to_numpy(zero_copy_only=False)
    total = np.concatenate([[0], np.cumsum(values)]).astype(np.int64)
    ends = np.cumsum(pc.fill_null(pc.list_value_length(row_groups), 0).to_numpy(zero_copy_only=False)).astype(np.int64)
    counted: Ints = np.diff(total[np.concatenate([[0], ends]).astype(np.int64)])
    return counted


def _inventory_problems(finished: Finished, path: str, found: SavedInventory) -> Iterator[Problem]:
    said = finished.manifest["input"]
    sums = {"files": found.files, "rows": int(found.rows.sum()), "bytes": found.bytes, "unreadable_files": len(found.unreadable)}
    for name, number in sums.items():
        if said[name] != number:
            yield Problem(MANIFEST, f"input.{name} is {said[name]}, but {path} has {number}")
    listed = said.get("unreadable")
    if listed is not None and sorted((file["uri"], file["error"]) for file in listed) != sorted(found.unreadable):
        yield Problem(MANIFEST, f"input.unreadable lists other files than {path}: {shown(found.unreadable)}")
    if len(found.prefixes) > 1 and (found.prefixes[1:] == found.prefixes[:-1]).any():
        yield Problem(path, "a file is listed more than once")


# --- places


def check_places(finished: Finished, inventory: SavedInventory | None, checks: Checks) -> None:
    """The key of every lost document is that of its uri and row, and, where the inventory is here, its file has such a row."""
    also = "" if inventory is None else ", which the inventory has"
    checks.judge("places", _place_problems(finished, inventory), f"every lost document has the key of its uri and row{also}")


def _place_problems(finished: Finished, inventory: SavedInventory | None) -> Iterator[Problem]:
    for table in ("dropped", "quarantine"):
        for path, batch in side_batches(finished, table, ["doc_key", "uri", "row"]):
            bad = [name for name in batch.schema.names if batch.column(name).null_count]
            if bad:
                yield Problem(path, f"{', '.join(bad)} of a document is null")
            else:
                yield from _wrong_places(path, batch, inventory)


def _wrong_places(path: str, batch: pa.RecordBatch, inventory: SavedInventory | None) -> Iterator[Problem]:
    coded = batch.column("uri").dictionary_encode()
    prefixes = [prefix_of(uri) for uri in coded.dictionary.to_pylist()]
    uris = coded.indices.to_numpy()
    rows = batch.column("row").to_numpy()
    keys = as_keys(batch.column("doc_key"))
    wrong = as_keys(doc_keys(prefixes, uris, rows)) != keys
    wrong |= (rows < 0) | (rows >= MAX_KEY_ROW)
    limit = np.full(len(prefixes), MAX_KEY_ROW, np.int64) if inventory is None else inventory.rows_of(np.array(prefixes, "S10"))
    absent = (limit[uris] <= rows) & ~wrong
    for position in np.flatnonzero(wrong | absent)[: MAX_PROBLEMS + 1].tolist():
        place = f"row {rows[position]} of {shown(coded.dictionary[uris[position]].as_py())}"
        if wrong[position]:
            yield Problem(path, f"a document has doc_key {hexadecimal(keys[position])}, which is not the key of its place, {place}")
        elif limit[uris[position]] < 0:
            yield Problem(path, f"{place} is said to be gone, but the inventory has no such file")
        else:
            yield Problem(path, f"{place} is said to be gone, but the file has {limit[uris[position]]} rows")


# --- keys


def as_keys(column: pa.FixedSizeBinaryArray) -> Keys:
    """A column of doc_keys without nulls."""
    if not len(column):
        return np.empty(0, "S16")
    return np.frombuffer(column.buffers()[1], "S16")[column.offset : column.offset + len(column)]


def hexadecimal(key: bytes) -> str:
    """A key for people; numpy gives it without the NULs at its end."""
    return key.ljust(16, b"\0").hex()
