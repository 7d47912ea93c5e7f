"""Which documents of a version an id or a doc_key names: those in its shards, with the rows that they came from, and those it has lost.

Owns the finding. Ids are looked for in the id column of the shards alone; doc_keys are computed. Only where the shards are partitioned,
and so do not keep the inventory's order, or have no ids, the ids of the input are read as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import identity
from pipelines.errors import InputError, shown
from pipelines.objectfile import opened_parquet
from pipelines.recall import key_bytes
from pipelines.rows import DROPPED, Ints
from pipelines.takedown_base import BATCH_ROWS, LOST_TABLES, Base
from pipelines.takedown_ids import DOC_KEY, Wanted, wanted_of
from pipelines.takedown_input import InputRows

NUM_THREADS: Final = 8
BLANK_MESSAGE: Final = "(taken down)"
"""Instead of the message of a quarantined row that was taken down: a message may quote the document."""
LOST: Final = pa.schema(
    [
        *((field.name, field.type) for field in DROPPED),
        ("table", pa.string()),
        ("path", pa.string()),
        ("place", pa.int64()),
        ("name", pa.int64()),
    ]
)
"""Documents that a version has lost: their row in the table of dropped or quarantined ones (there `reason` is the error), where it stands,
and which name names them."""


@dataclass(frozen=True, slots=True)
class Found:
    """Documents in the shards of a version, in the inventory's order, each once.

    Attributes:
        numbers: Of their rows of the input.
        shards: Position of the shard of each.
        rows: Its row there.
        names: Place of a name that names it.
        is_mixed: Among rows of one id, in partitioned shards, which is of which file cannot be told, and the files are of several folders.
    """

    numbers: Ints
    shards: Ints
    rows: Ints
    names: Ints
    is_mixed: bool = False

    @classmethod
    def of(cls, pieces: Iterable[tuple[Ints, Ints, Ints, Ints]]) -> Found:
        """Joined pieces; a document that an id and its doc_key name is there once, under the first."""
        numbers, shards, rows, names = (
            np.concatenate([np.empty(0, np.int64), *column]) for column in zip(*[*pieces, *[(np.empty(0, np.int64),) * 4]], strict=True)
        )
        _, first = np.unique(numbers, return_index=True)
        return cls(numbers[first], shards[first], rows[first], names[first])

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Matches:
    """Everything that is named.

    Attributes:
        found: In the shards.
        lost: In the tables of what was lost; see `LOST`.
        blanks: Of these, rows that carry more than identity: place of the rows by path of the file.
    """

    base: Base
    wanted: Wanted
    found: Found
    lost: pa.Table
    blanks: dict[str, Ints] = field(default_factory=dict)

    @cached_property
    def keys(self) -> pa.FixedSizeBinaryArray:
        """doc_keys of the documents in the shards."""
        return self.base.places.keys_of(self.found.numbers)

    @cached_property
    def counts(self) -> Ints:
        """Documents in the shards that each name names."""
        return np.bincount(self.found.names, minlength=len(self.wanted))

    @cached_property
    def lost_counts(self) -> Ints:
        """Documents among the lost ones that each name names."""
        return np.bincount(self.lost["name"].to_numpy(), minlength=len(self.wanted))

    @property
    def unmatched(self) -> list[str]:
        """Names that name nothing; a doc_key of what an id names as well is none of them."""
        is_named = (self.counts > 0) | (self.lost_counts > 0)
        known = np.concatenate([key_bytes(self.keys), key_bytes(self.lost["doc_key"].combine_chunks())])
        is_named[self.wanted.key_names[np.isin(self.wanted.keys, known)]] = True
        nothing = np.flatnonzero(~is_named)
        names: list[str] = self.wanted.names.take(pa.array(nothing)).to_pylist()
        return names

    def by_shard(self) -> dict[int, Ints]:
        """The rows that go from each shard, sorted."""
        order = np.lexsort((self.found.rows, self.found.shards))
        shards, starts = np.unique(self.found.shards[order], return_index=True)
        ends = [*starts.tolist(), len(order)][1:]
        return {
            shard: self.found.rows[order[start:stop]] for shard, start, stop in zip(shards.tolist(), starts.tolist(), ends, strict=True)
        }


def find(base: Base, wanted: Wanted) -> Matches:
    """Find the documents that names name.

    Raises:
        InputError: A document is named that cannot be told from others, or that the version names but does not account for.
        StorageError: A file could not be read; also one of the input where it is needed.
    """
    lost = _lost(base, wanted)
    found = _in_partitions(base, wanted) if base.is_partitioned else _in_order(base, wanted)
    return Matches(base, wanted, found, lost, _blanks(base, lost))


# --- what the version has lost


def _lost(base: Base, wanted: Wanted) -> pa.Table:
    pieces = [LOST.empty_table()]
    for name in LOST_TABLES:
        what = "reason" if name == "dropped" else "error"
        for path, first, batch in base.side_batches(name, ["doc_key", "id", "uri", "row", "operator", what]):
            names = pc.fill_null(wanted.of_ids(batch.column("id")), -1).to_numpy().astype(np.int64)
            names = np.where(names < 0, wanted.of_keys(key_bytes(batch.column("doc_key"))), names)
            at = np.flatnonzero(names >= 0)
            if len(at):
                columns = [*batch.take(pa.array(at)).columns, *(pa.array([text] * len(at)) for text in (name, path))]
                pieces.append(pa.table([*columns, pa.array(first + at), pa.array(names[at])], schema=LOST))
    return pa.concat_tables(pieces)


def _blanks(base: Base, lost: pa.Table) -> dict[str, Ints]:
    """Rows of the lost documents that still carry something, by file."""
    found = {}
    for path in pc.unique(lost["path"]).to_pylist():
        mine = lost.filter(pc.equal(lost["path"], path))
        rows = np.sort(mine["place"].to_numpy())
        carrying = _carrying(base, mine["table"][0].as_py(), path, rows)
        if len(carrying):
            found[path] = carrying
    return found


def _carrying(base: Base, table: str, path: str, rows: Ints) -> Ints:
    kept: list[Ints] = []
    with opened_parquet(base.store, path) as reader:
        columns = ["message"] if table == "quarantine" else [name for name in reader.schema_arrow.names if name not in DROPPED.names]
        first = 0
        for group in range(reader.num_row_groups if columns else 0):
            for batch in reader.iter_batches(BATCH_ROWS, [group], columns=columns, use_threads=False):
                mine = rows[(rows >= first) & (rows < first + batch.num_rows)]
                carries = np.zeros(len(mine), np.bool_)
                for column in batch.take(pa.array(mine - first)).columns:
                    carries |= _is_carried(column, table)
                kept.append(mine[carries])
                first += batch.num_rows
    return np.concatenate([np.empty(0, np.int64), *kept])


def _is_carried(column: pa.Array, table: str) -> Any:
    there = pc.is_valid(column) if table == "dropped" else pc.fill_null(pc.not_equal(column, BLANK_MESSAGE), False)
    return there.to_numpy(zero_copy_only=False)


# --- shards that keep the inventory's order


def _in_order(base: Base, wanted: Wanted) -> Found:
    return Found.of([_ids_in_order(base, wanted), _keys_in_order(base, wanted)])


def _ids_in_order(base: Base, wanted: Wanted) -> tuple[Ints, Ints, Ints, Ints]:
    if base.own_ids is None:  # an id that was made is a doc_key
        return (np.empty(0, np.int64),) * 4
    if base.id_column is None:
        numbers, names = _input_ids(base, wanted)
        ranks, is_lost = base.places.ranks_of(numbers)
        return (numbers[~is_lost], *_in_shards(base, ranks[~is_lost]), names[~is_lost])
    shards, rows, names, _ = _scan(base, wanted)
    ranks = base.starts[np.searchsorted(base.covered, shards)] + rows
    return base.places.numbers_at(ranks), shards, rows, names


def _keys_in_order(base: Base, wanted: Wanted) -> tuple[Ints, Ints, Ints, Ints]:
    numbers = base.places.numbers_of(wanted.keys)
    known = numbers >= 0
    ranks, is_lost = base.places.ranks_of(numbers[known])
    return (numbers[known][~is_lost], *_in_shards(base, ranks[~is_lost]), wanted.key_names[known][~is_lost])


def _in_shards(base: Base, ranks: Ints) -> tuple[Ints, Ints]:
    """Shard and row of the kept rows of these ranks."""
    at = np.searchsorted(base.starts, ranks, side="right") - 1
    return base.covered[at], ranks - base.starts[at]


# --- partitioned shards


def _in_partitions(base: Base, wanted: Wanted) -> Found:
    if base.id_column is None:
        raise InputError(
            f"{base.store.uri}: the shards are partitioned and have no column of ids, so that no row of them can be told to be a certain "
            "document; run the pipeline with the id column in output.columns, and take documents out of that version"
        )
    return _made_ids_in_partitions(base, wanted) if base.own_ids is None else _own_ids_in_partitions(base, wanted)


def _made_ids_in_partitions(base: Base, wanted: Wanted) -> Found:
    """The ids are doc_keys: the shards say it all."""
    spelled = [key.ljust(16, b"\0").hex() for key in wanted.keys.tolist()]
    shards, rows, _, ids = _scan(base, wanted_of(spelled))
    keys = np.frombuffer(b"".join(bytes.fromhex(text) for text in ids.to_pylist()), "S16")
    return Found.of([(base.places.numbers_of(keys), shards, rows, wanted.of_keys(keys))])


def _own_ids_in_partitions(base: Base, wanted: Wanted) -> Found:
    """Rows of the input and of the shards that have the same id are the same documents: as many here as there."""
    asked = _ids_of_keys(base, wanted)
    names = wanted.names.to_pylist()
    every = wanted_of([*names, *asked.values()])
    shards, rows, of_shard, _ = _scan(base, every)
    numbers, of_input = _input_ids(base, every)
    _, is_lost = base.places.ranks_of(numbers)
    numbers, of_input = _grouped(numbers[~is_lost], of_input[~is_lost])
    there, of_shard = _grouped(np.arange(len(shards)), of_shard)
    place = {name: at for at, name in enumerate(names)}
    keys = {text: key for key, text in sorted(asked.items(), reverse=True)}
    pieces, is_mixed = [], False
    for at in np.union1d(of_input, of_shard).tolist():
        text = every.names[at].as_py()
        mine, its = (
            some[np.searchsorted(of, at) : np.searchsorted(of, at, "right")] for some, of in ((numbers, of_input), (there, of_shard))
        )
        _check_same(base, text, len(mine), len(its), None if text in place else names[keys[text]])
        name = place[text] if text in place else keys[text]
        pieces.append((mine, shards[its], rows[its], np.full(len(mine), name, np.int64)))
        is_mixed = is_mixed or (len(mine) > 1 and len(base.folders_of(mine)) > 1)
    return replace(Found.of(pieces), is_mixed=is_mixed)


def _grouped(values: Ints, groups: Ints) -> tuple[Ints, Ints]:
    """Values by group, ascending in each, and the groups."""
    order = np.lexsort((values, groups))
    return values[order], groups[order]


def _check_same(base: Base, text: str, kept: int, there: int, key: str | None) -> None:
    """Check that the documents with an id are those of the input; where only a doc_key was named, that it is the only one."""
    if kept != there:
        raise InputError(
            f"{base.store.uri}: {kept} documents of the input that were kept have the id {shown(text)!r}, but {there} of the shards: an "
            "operator changed ids, and which document a row of the partitioned shards is cannot be told"
        )
    if key is not None and kept > 1:
        raise InputError(
            f"{base.store.uri}: {kept} documents have the id {shown(text)!r} of doc_key {key}, and which row of the partitioned shards is "
            f"which cannot be told; name the id {shown(text)!r}, which takes all of them out"
        )


def _ids_of_keys(base: Base, wanted: Wanted) -> dict[int, str]:
    """The ids of the documents in the shards that doc_keys name, by the place of the name."""
    numbers = base.places.numbers_of(wanted.keys)
    known = np.flatnonzero(numbers >= 0)
    _, is_lost = base.places.ranks_of(numbers[known])
    known = known[~is_lost]
    assert base.own_ids is not None
    ids, places = InputRows(base).column(base.own_ids, numbers[known], identity.plain_ids)
    found = dict(zip(wanted.key_names[known[places]].tolist(), ids.to_pylist(), strict=True))
    for at in wanted.key_names[known].tolist():
        if found.get(at) is None:
            raise InputError(
                f"{base.store.uri}: the id of doc_key {wanted.names[at].as_py()} is null, or its input can no longer be read, and the "
                "shards are partitioned: which of their rows it is cannot be told; restore the input file, or name the document's id"
            )
    return found


# --- scanning


def _input_ids(base: Base, wanted: Wanted) -> tuple[Ints, Ints]:
    """Rows of the input whose id is named, and by which name."""
    if all(DOC_KEY.fullmatch(name) for name in wanted.names.to_pylist()) and base.id_column is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    numbers, names = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for rows, ids in InputRows(base).ids():
        places = pc.fill_null(wanted.of_ids(identity.plain_ids(ids)), -1).to_numpy().astype(np.int64)
        numbers.append(rows[places >= 0])
        names.append(places[places >= 0])
    return np.concatenate(numbers), np.concatenate(names)


def _scan(base: Base, wanted: Wanted) -> tuple[Ints, Ints, Ints, pa.StringArray]:
    """Rows of the shards whose id is named: shard, row, name, and the id.

    Raises:
        InputError: Such a row is in a shard that the version's ledger does not account for.
    """
    pieces: list[Sequence[Any]] = []
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="takedown") as threads:
        for shard, found in enumerate(threads.map(partial(_scan_one, base, wanted), base.paths)):
            pieces += [(np.full(len(rows), shard, np.int64), rows, names, ids) for rows, names, ids in found]
            if found and shard not in base.covered:
                raise InputError(
                    f"{base.paths[shard]}: it has documents that are to go, but {base.manifest['version']} does not account for its rows; "
                    "they are those of an earlier version"
                )
    shards, rows, names = (np.concatenate([np.empty(0, np.int64), *(piece[at] for piece in pieces)]) for at in range(3))
    return shards, rows, names, pa.concat_arrays([pa.array([], pa.string()), *(piece[3] for piece in pieces)])


def _scan_one(base: Base, wanted: Wanted, path: str) -> list[tuple[Ints, Ints, pa.StringArray]]:
    found = []
    first = 0
    with opened_parquet(base.store, path) as reader:
        for group in range(reader.num_row_groups):
            for batch in reader.iter_batches(BATCH_ROWS, [group], columns=[base.id_column], use_threads=False):
                ids = identity.plain_ids(batch.column(0))
                names = pc.fill_null(wanted.of_ids(ids), -1).to_numpy().astype(np.int64)
                at = np.flatnonzero(names >= 0)
                if len(at):
                    found.append((first + at, names[at], ids.take(pa.array(at))))
                first += batch.num_rows
    return found
