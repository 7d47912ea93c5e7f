"""What runs leave for each other: the keys of the documents that they kept, as immutable generations.

    <history>/generations/g00001.json    a generation: which run, which operators, where its tables lie; created once, never changed
    <history>/keys/<run>/…               rows of keys, in frames; a table of the files that they are of, and one of where the frames lie
    <history>/tombstones/t00001.arrow    doc_keys of documents that are struck: nothing is removed for them any more

A run takes a snapshot of the generations when it is planned; another that ends meanwhile is not in it. Files that the run reads itself, and
those that a later generation has again, do not count: no document is a duplicate of itself. A document of an earlier run has a negative
place, so it precedes all; the texts of earlier runs are never read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.base import GroupOperator, Operator
from operators.minhash import MinhashDedup
from pipelines.commit import digest, sealed, unsealed
from pipelines.errors import ConfigError, InputError, NotFound
from pipelines.exchange import Source
from pipelines.fingerprint import fingerprint, settings
from pipelines.frames import FrameRef
from pipelines.recall import Recall, Snapshot, files_of, generation_path
from pipelines.storage import Store

Words = npt.NDArray[np.uint64]

GENERATIONS: Final = "generations"
TOMBSTONES: Final = "tombstones"
NOT_OF_KEYS: Final = (
    *("name", "threshold", "verify", "guards", "annotate", "num_duplicates", "keep", "by", "priority"),
    *("min_documents", "min_remaining_chars"),
)
"""Settings that decide what happens to keys, not what they are."""
PARTS: Final = pa.schema(
    [
        ("operator", pa.string()),
        ("role", pa.string()),
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("bytes", pa.int64()),
        ("first", pa.int64()),
        ("last", pa.int64()),
    ]
)
"""Frames of a generation: of which operator (by the identity of its keys), what for, and the first and last place of its part."""


def snapshot_of(store: Store) -> Snapshot:
    """The generations and tombstones that there are now."""
    generations = sorted(info.path for info in store.list(GENERATIONS) if info.path.endswith(".json"))
    return Snapshot(store.uri, tuple(generations), tuple(sorted(info.path for info in store.list(TOMBSTONES))))


def take_snapshot(store: Store, own: Words, base: str) -> Snapshot:
    """What a run deduplicates against: the generations before its own, if it left one, that have any documents that count.

    Args:
        store: The history.
        own: Prefixes of the files that the run reads.
        base: Identity of the run without its history.
    """
    everything = snapshot_of(store)
    bodies = [(path, unsealed(store.read(path))) for path in everything.generations]
    number_of_own = next((position for position, (_, body) in enumerate(bodies) if body["base"] == base), len(bodies))
    counted: list[str] = []
    again = own
    for path, body in reversed(bodies[:number_of_own]):
        prefixes, _ = files_of(store, body["files"])
        if not np.isin(prefixes, again).all():
            counted.append(path)
        again = np.union1d(again, prefixes)
    return Snapshot(store.uri, tuple(reversed(counted)), everything.tombstones if counted else ())


def keys_identity(operator: Operator) -> str:
    """What must be the same for two runs' keys of an operator to be comparable."""
    facts = {name: value for name, value in settings(operator).items() if name not in NOT_OF_KEYS}
    if isinstance(operator, MinhashDedup):
        facts |= {"preset": None, "bands": operator.curve.bands, "rows": operator.curve.rows}
    return fingerprint(facts)[:32]


@dataclass(frozen=True, slots=True)
class Remembered:
    """Rows of earlier runs for one operator and purpose: where they lie, and which places they have (0, 0 where rows have none)."""

    source: Source
    first: int
    last: int


class History:
    """The generations of a snapshot.

    Raises:
        ConfigError: A generation has no keys of one of the operators, so that not all of its documents could be found.
    """

    def __init__(self, store: Store, snapshot: Snapshot, operators: Sequence[GroupOperator]) -> None:
        self.store = store
        self.snapshot = snapshot
        self.bodies = [unsealed(store.read(path)) for path in snapshot.generations]
        self._tables = [_table(store, body["parts"]) for body in self.bodies]
        self.recall = Recall(store, snapshot, np.zeros(0, np.uint64))
        for operator in operators:
            for body in self.bodies:
                _check(operator, body, snapshot.uri)

    def remembered(self, operator: GroupOperator, role: str) -> list[Remembered]:
        """Rows that earlier runs left for an operator, a source a part."""
        identity = keys_identity(operator)
        return [one for number, table in enumerate(self._tables) for one in self._of(number, table, identity, role)]

    def _of(self, number: int, table: pa.Table, identity: str, role: str) -> Iterator[Remembered]:
        parts: dict[str, list[Mapping[str, Any]]] = {}
        for row in table.to_pylist():
            if (row["operator"], row["role"]) == (identity, role):
                parts.setdefault(row["path"], []).append(row)
        for path, rows in parts.items():
            frames = tuple(FrameRef(path, row["offset"], row["length"]) for row in rows)
            source = Source(frames, bytes=sum(row["bytes"] for row in rows), generation=number)
            first, last = rows[0]["first"], rows[0]["last"]
            yield Remembered(source, *self.recall.bounds(number, first, last)) if first >= 0 else Remembered(source, 0, 0)


def _table(store: Store, path: str) -> pa.Table:
    with pa.ipc.open_file(io.BytesIO(store.read(path))) as reader:
        return reader.read_all()


def _check(operator: GroupOperator, body: Mapping[str, Any], uri: str) -> None:
    name = operator.name or operator.type
    if keys_identity(operator) in body["operators"]:
        return
    same = [known for known in body["operators"].values() if known["type"] == operator.type]
    if same:
        mine = {key: value for key, value in settings(operator).items() if key not in NOT_OF_KEYS}
        theirs = same[0]["settings"]
        other = [f"{key} is {mine[key]!r} here and {theirs.get(key)!r} there" for key in mine if mine[key] != theirs.get(key)]
        found = f"has its keys with other settings ({'; '.join(other[:3])})"
    else:
        found = f"has none, only those of {', '.join(known['name'] for known in body['operators'].values()) or 'no operator'}"
    raise ConfigError(
        f"history: {uri}: operator {name!r}: the generation of run {body['run_id']} ({body['name']}) {found}; all runs that share a "
        "history deduplicate alike: use the same settings, or another history"
    )


# --- adding


@dataclass(frozen=True, slots=True)
class Left:
    """A part that a run leaves: its frames, and the first and last place of its rows (-1 where rows have none)."""

    operator: str
    role: str
    path: str
    frames: Sequence[Sequence[int]]
    first: int
    last: int


def generation_id(output_uri: str, plan: str) -> str:
    """Identity of what one run leaves: a second try leaves nothing more."""
    return digest("generation", output_uri, plan)[:32]


def find_generation(store: Store, identity: str) -> bool:
    """Whether a run has left its keys."""
    return any(unsealed(store.read(path))["id"] == identity for path in snapshot_of(store).generations)


def write_parts(store: Store, path: str, parts: Sequence[Left]) -> None:
    """Write the table that says where a generation's frames lie."""
    rows = [
        {
            "operator": part.operator,
            "role": part.role,
            "path": part.path,
            "first": part.first,
            "last": part.last,
            "offset": frame[0],
            "length": frame[1],
            "bytes": max(frame[1], frame[3]),
        }
        for part in parts
        for frame in part.frames
    ]
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=PARTS)
    with pa.ipc.new_file(sink, PARTS) as writer:
        writer.write_table(table)
    with store.writer(path) as target:
        target.write(sink.getvalue())


def add_generation(store: Store, body: Mapping[str, Any]) -> str:
    """Make a generation count, under the next number. Returns its path."""
    while True:
        taken = snapshot_of(store).generations
        number = 1 + max((int(path.rpartition("/g")[2].removesuffix(".json")) for path in taken), default=0)
        path = generation_path(number)
        if store.create(path, sealed({**body, "number": number})):
            return path


# --- striking


def strike(store: Store, keys: Sequence[bytes]) -> str:
    """Strike documents by their doc_keys: nothing is removed for them any more. Returns the path of the tombstones.

    What was removed for them before stays removed; a run over the same files finds it again.

    Raises:
        InputError: A key has not 16 bytes, or there are none.
    """
    if not keys or any(len(key) != 16 for key in keys):
        raise InputError(f"{len(keys)} doc_keys to strike: expected at least one, each of 16 bytes (32 hexadecimal digits)")
    table = pa.table({"doc_key": pa.array(sorted(set(keys)), pa.binary(16))})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    while True:
        taken = snapshot_of(store).tombstones
        number = 1 + max((int(path.rpartition("/t")[2].removesuffix(".arrow")) for path in taken), default=0)
        path = f"{TOMBSTONES}/t{number:05d}.arrow"
        if store.create(path, sink.getvalue()):
            return path


def describe(store: Store) -> list[dict[str, Any]]:
    """The generations for a person: number, run, output, rows, operators, in order."""
    found = []
    for path in snapshot_of(store).generations:
        try:
            body = unsealed(store.read(path))
        except NotFound:
            continue
        names = [known["name"] for known in body["operators"].values()]
        wanted = ("number", "run_id", "name", "output", "version", "rows", "created_at")
        found.append({name: body[name] for name in wanted} | {"operators": names, "files": len(files_of(store, body["files"])[1])})
    return found
