"""Documents of earlier runs that a version's duplicates name: that the history which it was compared with has their files.

Owns the reading of a history's lists of files, written down again from its description (history.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from pipelines.checks import Checks
from pipelines.errors import ShardmillError, shown
from pipelines.published import PublishedStore, is_followed
from pipelines.storage import Store, open_store
from pipelines.verify_inventory import Ints, Keys, Mask
from pipelines.verify_manifest import Finished

ROW: Final = np.uint64((1 << 48) - 1)
CHECK: Final = "history"


@dataclass(frozen=True, slots=True)
class EarlierFiles:
    """Files that earlier runs have read: the first 8 bytes of their documents' keys, sorted, and the rows of each."""

    prefixes: np.ndarray[Any, np.dtype[np.uint64]]
    rows: Ints

    def has(self, keys: Keys) -> Mask:
        """Whether keys are of rows that the files have. A file that several runs have read has the most rows that one of them found."""
        words = np.ascontiguousarray(keys).view(">u8").reshape(-1, 2).astype(np.uint64)
        if not len(self.prefixes):
            return np.zeros(len(keys), np.bool_)
        at = np.searchsorted(self.prefixes, words[:, 0], side="right") - 1
        found: Mask = (self.prefixes[at] == words[:, 0]) & ((words[:, 1] & ROW).astype(np.int64) < self.rows[at]) & (at >= 0)
        return found


NONE: Final = EarlierFiles(np.zeros(0, np.uint64), np.zeros(0, np.int64))


def load_earlier(finished: Finished, checks: Checks) -> EarlierFiles | None:
    """The files of the generations that the manifest names; none if it names none, None if they cannot be read here."""
    had = finished.manifest["input"].get("history")
    if not had or not had["generations"]:
        return NONE
    uri = finished.manifest["config"].get("history")
    number = len(had["generations"])
    if isinstance(finished.store, PublishedStore) and not is_followed(str(uri)):
        why = f"{shown(uri)}, which a repo names, is not followed"
        checks.skip(CHECK, f"not checkable: {why}; that documents kept by earlier runs are theirs is not proven")
        return None
    try:
        store = open_store(str(uri), finished.store.options)
        found = [_files(store, path) for path in had["generations"]]
    except (ShardmillError, pa.ArrowException, orjson.JSONDecodeError, KeyError, OSError) as error:
        why = f"{number} generations of {uri} cannot be read here ({type(error).__name__})"
        checks.skip(CHECK, f"not checkable: {why}; that documents kept by earlier runs are theirs is not proven")
        return None
    prefixes, rows = (np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.lexsort((rows, prefixes))
    checks.judge(CHECK, (), f"{number} generations of {uri} list {len(prefixes)} files that earlier runs have read")
    return EarlierFiles(prefixes[order], rows[order])


def _files(store: Store, path: str) -> tuple[np.ndarray[Any, np.dtype[np.uint64]], Ints]:
    body: Mapping[str, Any] = orjson.loads(store.read(path))["body"]
    with pa.ipc.open_file(pa.BufferReader(store.read(body["files"]))) as reader:
        table = reader.read_all()
    first_row = table["first_row"].to_numpy()
    return table["prefix"].to_numpy(), np.diff(np.r_[first_row, body["rows"]]).astype(np.int64)
