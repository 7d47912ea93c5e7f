"""Which files of documents two versions share: the same path with the same bytes. Memory holds the two tables of shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.difference_files import readable
from pipelines.errors import InputError, shown
from pipelines.verify_manifest import Finished, is_shard

COLUMNS = {"path": "string", "rows": "int64", "bytes": "int64", "sha256": "string"}


@dataclass(frozen=True, slots=True)
class Shards:
    """Some shards: how many, and how large they are."""

    files: int
    rows: int
    bytes: int

    @classmethod
    def of(cls, table: pa.Table) -> Shards:
        """Of a table of shards."""
        return cls(table.num_rows, pc.sum(table.column("rows")).as_py() or 0, pc.sum(table.column("bytes")).as_py() or 0)

    def to_json(self) -> dict[str, int]:
        """All three."""
        return {"files": self.files, "rows": self.rows, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class ShardsDifference:
    """Shards that both versions have, that only the old one has, and that only the new one has."""

    both: Shards
    removed: Shards
    added: Shards

    def to_json(self) -> dict[str, Any]:
        """All three."""
        return {"both": self.both.to_json(), "removed": self.removed.to_json(), "added": self.added.to_json()}


def compare_shards(old: Finished, new: Finished) -> ShardsDifference:
    """Compare the tables of shards of two versions; the files themselves are not read.

    Raises:
        InputError: A table cannot be read.
        NotFound: One is not there.
    """
    before, after = shards_of(old), shards_of(new)
    both, removed = divided(before, after)
    return ShardsDifference(Shards.of(both), Shards.of(removed), Shards.of(divided(after, before)[1]))


def shards_of(finished: Finished) -> pa.Table:
    """A version's table of shards.

    Raises:
        InputError: It cannot be read, or names what is no shard.
        NotFound: It is not there.
    """
    path = f"{finished.folder}/shards.parquet"
    where = finished.store.locate(path)
    content = finished.store.read(path)
    with readable(where):
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
        table.validate(full=True)
    found = {field.name: str(field.type) for field in table.schema}
    if {name: found.get(name) for name in COLUMNS} != COLUMNS or any(table.column(name).null_count for name in COLUMNS):
        raise InputError(f"{where}: its columns are {shown(found)}, expected {shown(COLUMNS)} without nulls; `shardmill verify` says more")
    strange = [path for path in table.column("path").to_pylist() if not is_shard(path)]
    if strange:
        raise InputError(f"{where}: {shown(strange[0])} is no path of a shard (data/v1/….parquet); `shardmill verify` says more")
    return table.select(list(COLUMNS))


def divided(table: pa.Table, other: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The shards of a table that another one has too, and those that it has not."""
    shared = pc.is_in(_identity(table), value_set=_identity(other))
    return table.filter(shared), table.filter(pc.invert(shared))


def _identity(table: pa.Table) -> pa.Array:
    """Path and digest as one text; a digest holds no space."""
    return pc.binary_join_element_wise(table.column("sha256"), table.column("path"), " ").combine_chunks()
