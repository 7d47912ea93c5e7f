"""How a generation, with the tables that it names, or tombstones are added to a history: once, under the next number."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.commit import digest, sealed
from pipelines.errors import InputError
from pipelines.history import PARTS, TOMBSTONES, generations_of, number_of, tombstones_of
from pipelines.recall import generation_path, key_prefixes, load_generations, read_generations
from pipelines.rows import Mask
from pipelines.storage import Store

KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Left:
    """A part that a run leaves: its frames, and the first and last place of its rows (-1 where rows have none)."""

    operator: str
    role: str
    path: str
    rows: int
    frames: Sequence[Sequence[int]]
    first: int
    last: int


def generation_id(output_uri: str, plan: str) -> str:
    """Identity of what one run leaves: a second try leaves nothing more."""
    return digest("generation", output_uri, plan)[:32]


def find_generations(store: Store, identity: str) -> list[dict[str, Any]]:
    """What a run has left: one generation, or none yet; more only if another took over while it left its own."""
    return [body for body in read_generations(store, generations_of(store)) if body["id"] == identity]


def write_parts(store: Store, path: str, parts: Sequence[Left]) -> None:
    """Write the table that says where a generation's frames lie."""
    frames = [np.array(part.frames, np.int64).reshape(-1, 5) for part in parts]
    of_part = np.repeat(np.arange(len(parts)), [len(some) for some in frames])
    offset, length, _, held, _ = np.concatenate([np.zeros((0, 5), np.int64), *frames]).T
    texts = [pa.array([getattr(part, name) for part in parts], pa.string()).dictionary_encode() for name in ("operator", "role", "path")]
    ends = [np.array([getattr(part, name) for part in parts], np.int64)[of_part] for name in ("first", "last")]
    columns = [column.take(pa.array(of_part)) for column in texts]
    columns += [pa.array(values) for values in (offset, length, np.maximum(length, held), *ends)]
    write_table(store, path, pa.Table.from_arrays(columns, schema=PARTS))


def write_table(store: Store, path: str, table: pa.Table) -> None:
    """Write a table where nothing is."""
    with store.writer(path) as target:
        target.write(_ipc(table))


def _ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def add_generation(store: Store, body: Mapping[str, Any]) -> str:
    """Make a generation count. Returns its path."""
    return _create(store, generations_of, generation_path, lambda number: sealed({**body, "number": number}))


def _create(store: Store, taken: Callable[[Store], list[str]], path_of: Callable[[int], str], content: Callable[[int], bytes]) -> str:
    """Create an object under the next number; of two that do so at once, each gets a number of its own."""
    number = 1 + max(map(number_of, taken(store)), default=0)
    while not store.create(path_of(number), content(number)):
        number += 1
    return path_of(number)


# --- striking


def strike(store: Store, keys: Sequence[bytes]) -> str:
    """Strike documents by their doc_keys: later runs remove nothing for them. Returns the path of the tombstones.

    What was removed for them before stays removed, but a run over the same files finds it again. Of `line_dedup` and `paragraph_dedup`
    there are only numbers of documents that have a passage: the struck ones stay in these.

    Raises:
        InputError: A key has not 16 bytes, or there are none.
    """
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise InputError(f"{len(keys)} doc_keys to strike: expected at least one, each of 16 bytes (32 hexadecimal digits)")
    data = _ipc(pa.table({"doc_key": pa.array(sorted(set(keys)), pa.binary(KEY_BYTES))}))
    return _create(store, tombstones_of, lambda number: f"{TOMBSTONES}/t{number:05d}.arrow", lambda _: data)


def are_known(store: Store, keys: Sequence[bytes]) -> Mask:
    """Which doc_keys are of rows of files that a generation's run has read; whether the run kept them is not looked at."""
    words = np.frombuffer(b"".join(keys), "S16") if keys else np.zeros(0, "S16")
    prefixes = key_prefixes(words)
    row = (words.view(">u8").reshape(-1, 2)[:, 1].astype(np.uint64) & np.uint64((1 << 48) - 1)).astype(np.int64)
    known = np.zeros(len(keys), np.bool_)
    for one in load_generations(store, generations_of(store)):
        order = np.argsort(one.prefixes, kind="stable")
        rows = np.diff(np.r_[one.first_row, one.body["rows"]])
        at = np.minimum(np.searchsorted(one.prefixes, prefixes, sorter=order), max(len(order) - 1, 0))
        if len(order):
            known |= (one.prefixes[order[at]] == prefixes) & (row < rows[order[at]])
    return known
