"""Documents of two versions compared by the ids in their shards: for copies that have neither inventory nor side tables.

An id that several documents have counts as often as it is there. Shards that both versions have are not read. Ids are compared by 128 bits
of their hash, in passes, each with one part of all hash values, so that memory does not grow with the number of documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import identity
from pipelines.difference_files import readable
from pipelines.difference_lost import PASS_ROWS
from pipelines.difference_shards import divided, shards_of
from pipelines.errors import InputError, shown
from pipelines.objectfile import opened_parquet
from pipelines.verify_documents import parts_of
from pipelines.verify_inventory import Ints, Keys
from pipelines.verify_ledger import BATCH_ROWS
from pipelines.verify_manifest import Finished

NO_KEYS: Final = pa.array([], identity.DOC_KEY)


@dataclass(frozen=True, slots=True)
class IdsDifference:
    """Documents by id: how many only one version has, with some of their ids, and how many both have."""

    both: int
    removed: int
    added: int
    removed_ids: tuple[str, ...]
    added_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """The shards of a version that the other one has not, and the column with the ids."""

    finished: Finished
    paths: Sequence[str]
    rows: int
    column: str

    def ids(self) -> Iterator[pa.Array]:
        """The ids as text, batch by batch."""
        for path in self.paths:
            where = self.finished.store.locate(path)
            with readable(where), opened_parquet(self.finished.store, path) as file:
                for group in range(file.num_row_groups):
                    for batch in file.iter_batches(BATCH_ROWS, [group], columns=[self.column], use_threads=False):
                        yield _text(batch.column(self.column), where)


def _text(column: pa.Array, where: str) -> pa.Array:
    if column.null_count:
        raise InputError(f"{where}: {column.null_count:,} documents have no id")
    return identity.ids(column, NO_KEYS)


def compare_ids(old: Finished, new: Finished, examples: int, pass_rows: int = PASS_ROWS) -> IdsDifference:
    """Compare the ids of two versions.

    Raises:
        InputError: One has no column of ids, or a document without an id, or cannot be read.
        NotFound: A shard is not there.
    """
    tables = shards_of(old), shards_of(new)
    both = pc.sum(divided(*tables)[0].column("rows")).as_py() or 0
    sides = _side(old, divided(*tables)[1]), _side(new, divided(tables[1], tables[0])[1])
    num_passes = max(1, -(-sum(side.rows for side in sides) // pass_rows))
    counts = [0, 0]
    samples: list[Keys] = [np.empty(0, "S16"), np.empty(0, "S16")]
    for number in range(num_passes):
        before, after = (_part(side, number, num_passes) for side in sides)
        both += _shared(before, after)
        for at, (mine, other) in enumerate(((before, after), (after, before))):
            keys, more = _more(mine, other)
            counts[at] += int(more.sum())
            samples[at] = np.sort(np.concatenate([samples[at], keys]))[:examples]
    return IdsDifference(both, counts[0], counts[1], _named(sides[0], samples[0]), _named(sides[1], samples[1]))


def _side(finished: Finished, shards: pa.Table) -> _Side:
    source = finished.manifest["config"].get("input")
    column = (source.get("id_column") if isinstance(source, dict) else None) or "id"
    types = {field["name"]: field["type"] for field in finished.manifest["schema"]}
    if column not in types:
        raise InputError(f"{finished.version}: its documents have no column {shown(column)!r} with ids")
    return _Side(finished, shards.column("path").to_pylist(), pc.sum(shards.column("rows")).as_py() or 0, column)


Counted = tuple[Keys, Ints]
"""Hashes of ids, each once and sorted, and how many documents have each."""


def _part(side: _Side, number: int, num_passes: int) -> Counted:
    found: list[Keys] = [np.empty(0, "S16")]
    for ids in side.ids():
        keys = _hashes(ids)
        found.append(keys[parts_of(keys, num_passes) == number])
    keys, counts = np.unique(np.concatenate(found), return_counts=True)
    return keys, counts.astype(np.int64)


def _hashes(ids: pa.Array) -> Keys:
    from operators.kernels.hashing import hash_bytes  # noqa: PLC0415  compiled code that only this fallback needs

    first, second = hash_bytes(ids)
    keys: Keys = np.stack([first, second], axis=1).view("S16").ravel() if len(ids) else np.empty(0, "S16")
    return keys


def _of_other(mine: Counted, other: Counted) -> Ints:
    """How many documents of the other version have each of the ids."""
    if not len(other[0]):
        return np.zeros(len(mine[0]), np.int64)
    at = np.minimum(np.searchsorted(other[0], mine[0]), len(other[0]) - 1)
    return np.where(other[0][at] == mine[0], other[1][at], 0).astype(np.int64)


def _shared(mine: Counted, other: Counted) -> int:
    return int(np.minimum(mine[1], _of_other(mine, other)).sum())


def _more(mine: Counted, other: Counted) -> Counted:
    """Ids that more documents have here than in the other version, and how many more."""
    more = mine[1] - _of_other(mine, other)
    return mine[0][more > 0], more[more > 0]


def _named(side: _Side, wanted: Keys) -> tuple[str, ...]:
    """The ids with these hashes, in order of their hashes."""
    found: dict[bytes, str] = {}
    for ids in side.ids() if len(wanted) else ():
        keys = _hashes(ids)
        for at in np.flatnonzero(np.isin(keys, wanted)).tolist():
            found[keys[at]] = ids[at].as_py()
        if len(found) == len(wanted):
            break
    return tuple(found[key] for key in wanted.tolist())
