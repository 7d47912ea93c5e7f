"""The input files of two versions beside each other, from their saved inventories: which both have, unchanged, and how many rows.

Owns how files are held and told apart: some forty bytes each, whatever their names are. Knows nothing of documents that were lost.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.difference_lineage import versions_of
from pipelines.errors import InputError, shown
from pipelines.identity import PREFIX_BYTES, uri_prefix
from pipelines.objectfile import opened_parquet
from pipelines.verify_file import PARQUET_ERRORS
from pipelines.verify_inventory import Ints, Keys, Mask
from pipelines.verify_ledger import BATCH_ROWS
from pipelines.verify_manifest import Finished

ONLY, CHANGED, SAME = np.int8(0), np.int8(1), np.int8(2)
"""What the other version has of a file: nothing, another content, the same."""
CONTENT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Files:
    """The files of an inventory, sorted by prefix.

    Attributes:
        prefixes: `S10`, the first bytes of the keys of their documents.
        contents: `S16`, digests of size and etag: what a file's content is known by.
        rows: That were read of each.
        first: Rows of the files before; one more than files.
        ranges: The range of addresses that each file belongs to.
    """

    prefixes: Keys
    contents: Keys
    rows: Ints
    first: Ints
    ranges: npt.NDArray[np.int32]

    @classmethod
    def of(cls, prefixes: Keys, contents: Keys, rows: Ints, ranges: npt.NDArray[np.int32]) -> Files:
        """From columns in any order."""
        order = np.argsort(prefixes, kind="stable")
        counted = rows[order]
        return cls(prefixes[order], contents[order], counted, np.concatenate([[0], np.cumsum(counted)]).astype(np.int64), ranges[order])

    def __len__(self) -> int:
        return len(self.prefixes)

    def index(self, prefixes: Keys) -> Ints:
        """Places of files with these prefixes; -1 where there is no such file."""
        if not len(self):
            return np.full(len(prefixes), -1, np.int64)
        at = np.minimum(np.searchsorted(self.prefixes, prefixes), len(self) - 1)
        return np.where(self.prefixes[at] == prefixes, at, -1).astype(np.int64)

    def find(self, keys: Keys) -> tuple[Ints, Ints]:
        """File and row of each key; -1 as the file where no file has such a row."""
        raw = np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 16)
        row = np.zeros((len(keys), 8), np.uint8)
        row[:, 2:] = raw[:, PREFIX_BYTES:]
        rows = row.view(">u8").ravel().astype(np.int64)
        at = self.index(np.ascontiguousarray(raw[:, :PREFIX_BYTES]).view("S10").ravel())
        if len(self):
            at[rows >= self.rows[at]] = -1
        return at, rows

    def keys(self, files: Ints, rows: Ints) -> Keys:
        """Keys of rows of files."""
        keys = np.empty((len(rows), 16), np.uint8)
        keys[:, :PREFIX_BYTES] = np.ascontiguousarray(self.prefixes).view(np.uint8).reshape(-1, PREFIX_BYTES)[files]
        keys[:, PREFIX_BYTES:] = rows.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        return keys.view("S16").ravel()


@dataclass(frozen=True, slots=True)
class Beside:
    """The files of one version, and what the other one has of each.

    Attributes:
        state: `ONLY`, `CHANGED` or `SAME`, one a file.
        other: Places among the other version's files; -1 where it has none.
        common: Rows that both versions read of a file whose content is the same; 0 of others.
    """

    files: Files
    state: npt.NDArray[np.int8]
    other: Ints
    common: Ints


def beside(one: Files, other: Files) -> Beside:
    """What another version has of each file."""
    at = other.index(one.prefixes)
    has = at >= 0
    is_same: Mask = has.copy()
    is_same[has] = one.contents[has] == other.contents[at[has]]
    state = np.where(is_same, SAME, np.where(has, CHANGED, ONLY)).astype(np.int8)
    common = np.zeros(len(one), np.int64)
    common[is_same] = np.minimum(one.rows[is_same], other.rows[at[is_same]])
    return Beside(one, state, at, common)


# --- read


@contextmanager
def readable(subject: str) -> Iterator[None]:
    """What cannot be read as Parquet within becomes an error that names it.

    Raises:
        InputError: It cannot.
    """
    try:
        yield
    except PARQUET_ERRORS as error:
        raise InputError(f"{subject}: it cannot be read ({shown(error)}); `shardmill verify` says more") from error


def inventory_of(finished: Finished) -> str:
    """Where the inventory of a version is.

    Raises:
        InputError: The manifest names none, or one outside the folder of inventories.
    """
    path = finished.manifest["input"].get("inventory")
    if not isinstance(path, str) or not path.startswith("_shardmill/") or ".." in path:
        raise InputError(f"{finished.version}: its manifest names no inventory of the input")
    return path


def batches_of(finished: Finished, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a version's inventory, and before it of those of the versions that it was added to.

    Raises:
        InputError: There is none, or it cannot be read.
        NotFound: It is not in this copy.
    """
    for part in versions_of(finished):
        path = inventory_of(part)
        with readable(finished.store.locate(path)), opened_parquet(finished.store, path) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)


def read_files(finished: Finished, ends: Sequence[str] = ()) -> Files:
    """The files of a version's inventory, which has as many files and rows as the manifest says.

    A file that a version could not read, and a later one has again, is the later one's.

    Args:
        finished: The version.
        ends: Where ranges of addresses end, ascending: the last address of each but the last.

    Raises:
        InputError: It has not, or it cannot be read.
        NotFound: It is not in this copy.
    """
    prefixes, contents, rows = [np.empty(0, "S10")], [np.empty(0, "S16")], [np.empty(0, np.int64)]
    ranges = [np.empty(0, np.int32)]
    for batch in batches_of(finished, ["uri", "size", "etag", "row_groups.list.element.rows"]):
        uris = batch.column("uri").to_pylist()
        prefixes.append(np.array([uri_prefix(uri) for uri in uris], "S10"))
        ranges.append(np.fromiter((bisect_left(ends, uri) for uri in uris), np.int32, len(uris)))
        pairs = zip(batch.column("size").to_pylist(), batch.column("etag").to_pylist(), strict=True)
        contents.append(np.array([_content(size, etag) for size, etag in pairs], "S16"))
        rows.append(_rows(batch.column("row_groups")))
    columns = [np.concatenate(one) for one in (prefixes, contents, rows, ranges)]
    _prove(finished, len(columns[0]), int(columns[2].sum()))
    kept = _latest(columns[0], columns[2] > 0)
    files = Files.of(*(column[kept] for column in columns))
    _refuse_twice(finished, files)
    return files


def _latest(prefixes: Keys, has_rows: Mask) -> Mask:
    """Which files are not those that could not be read, and so had no rows, and are there again later."""
    kept: Mask = has_rows.copy()
    if not has_rows.all():
        kept[len(prefixes) - 1 - np.unique(prefixes[::-1], return_index=True)[1]] = True
    return kept


def _content(size: int, etag: str | None) -> bytes:
    return hashlib.sha256(f"{size} {etag or ''}".encode()).digest()[:CONTENT_BYTES]


def _rows(row_groups: pa.ListArray) -> Ints:
    """Rows of each file: the sum over its row groups, of which there may be none."""
    total = np.concatenate([[0], np.cumsum(row_groups.flatten().field("rows").to_numpy(zero_copy_only=False))]).astype(np.int64)
    lengths = pc.fill_null(pc.list_value_length(row_groups), 0).to_numpy(zero_copy_only=False)
    counted: Ints = np.diff(total[np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)])
    return counted


def _prove(finished: Finished, files: int, rows: int) -> None:
    manifest = finished.manifest
    said = manifest["ingest"]["lineage"] if "ingest" in manifest else manifest["input"]
    for name, number in {"files": files, "rows": rows}.items():
        if said[name] != number:
            where = finished.store.locate(inventory_of(finished))
            raise InputError(f"{where}: it has {number:,} {name}, but the manifest of {finished.version} says {said[name]:,}")


def _refuse_twice(finished: Finished, files: Files) -> None:
    if (files.prefixes[1:] == files.prefixes[:-1]).any():
        where = finished.store.locate(inventory_of(finished))
        raise InputError(f"{where}: it lists a file more than once; `shardmill verify` says which")
