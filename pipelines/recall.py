"""Documents of earlier runs as a worker sees them: their places in this run, and which of them do not count."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.commit import TornRecord, unsealed
from pipelines.errors import InputError, NotFound
from pipelines.partitioning import ROW_BITS
from pipelines.rows import Ints, Mask
from pipelines.storage import Store

Words = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.bytes_]
"""doc_keys as `S16`: numpy compares these by all 16 bytes, since shorter values are padded with NULs."""

EARLIEST: Final = -(1 << 62)
"""Place of the first document of the first generation."""
ROW_MASK: Final = (1 << ROW_BITS) - 1
FILES: Final = pa.schema([("prefix", pa.uint64()), ("first_row", pa.int64())])
"""Files of a generation, by ordinal: the beginning of their doc_keys, and the rows of all files before."""
READERS: Final = 16


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The generations and tombstones that a run deduplicates against, by their paths in the history.

    `digest` stands for what is in them, wherever they lie: it is part of the run's plan.
    """

    uri: str
    generations: tuple[str, ...]
    tombstones: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Generation:
    """What one run left: what is written down of it, and its files (see `FILES`)."""

    path: str
    body: Mapping[str, Any]
    prefixes: Words
    first_row: Ints


def generation_path(number: int) -> str:
    """Where a generation lies."""
    return f"generations/g{number:05d}.json"


def load_generations(store: Store, paths: Sequence[str]) -> list[Generation]:
    """Generations with the tables of their files.

    Raises:
        InputError: One is damaged, or not there.
    """

    def load(path: str) -> Generation:
        body = _read(store, path)
        table = read_table(store, path, str(body["files"]))
        return Generation(path, body, table["prefix"].to_numpy(), table["first_row"].to_numpy())

    with ThreadPoolExecutor(READERS, thread_name_prefix="history") as threads:
        return list(threads.map(load, paths))


def read_generations(store: Store, paths: Sequence[str]) -> list[dict[str, Any]]:
    """What is written down of generations.

    Raises:
        InputError: One is damaged, or not there.
    """
    with ThreadPoolExecutor(READERS, thread_name_prefix="history") as threads:
        return list(threads.map(lambda path: _read(store, path), paths))


def _read(store: Store, path: str) -> dict[str, Any]:
    try:
        return unsealed(store.read(path))
    except (NotFound, TornRecord) as error:
        raise damaged(store, path, str(error)) from error


def read_table(store: Store, generation: str, path: str) -> pa.Table:
    """A table that a generation, or the history itself, has at `path`.

    Raises:
        InputError: It is damaged, or not there.
    """
    try:
        with pa.ipc.open_file(io.BytesIO(store.read(path))) as reader:
            return reader.read_all()
    except (NotFound, pa.ArrowInvalid, OSError) as error:
        raise damaged(store, generation, f"{path}: {error}") from error


def damaged(store: Store, path: str, why: str) -> InputError:
    """The error for something in a history that cannot be read."""
    return InputError(
        f"history: {store.uri}: {path} cannot be read ({why}); restore it from a copy, or remove {path}: what only it tells then counts "
        "no more"
    )


def counting(files: Sequence[Words], own: Words) -> list[Mask]:
    """Which files of each generation count: those that neither a later one nor this run itself has read again.

    Args:
        files: Prefixes of each generation's files.
        own: Prefixes of the files that this run reads.
    """
    if not files:
        return []
    every = np.concatenate(files)
    number = np.repeat(np.arange(len(files)), [len(some) for some in files])
    order = np.argsort(every, kind="stable")  # of one file, the latest generation comes last
    every, number = every[order], number[order]
    ends = np.flatnonzero(np.r_[every[1:] != every[:-1], True][: len(every)])
    latest = np.repeat(number[ends], np.diff(np.r_[-1, ends]))
    counts = np.empty(len(order), np.bool_)
    counts[order] = (number == latest) & ~np.isin(every, own)
    return np.split(counts, np.cumsum([len(some) for some in files])[:-1])


def prefix_words(prefixes: npt.NDArray[np.uint8]) -> Words:
    """The first 8 of 10 bytes of each file's prefix: a run of ten million files shares one with another's with probability 1e-5."""
    return np.ascontiguousarray(prefixes[:, :8]).view(">u8").ravel().astype(np.uint64)


class Recall:
    """Places of the documents of a snapshot. `own`: prefixes of the files that this run reads itself."""

    def __init__(self, generations: Sequence[Generation], own: Words, struck: Keys) -> None:
        self._first_rows = [one.first_row for one in generations]
        self._bases = (EARLIEST + np.concatenate([[0], np.cumsum([one.body["rows"] for one in generations])])).astype(np.int64)
        self._counts = counting([one.prefixes for one in generations], own)
        self._struck = struck

    @classmethod
    def of(cls, store: Store, snapshot: Snapshot, own: Words) -> Recall:
        """Read what a snapshot names."""
        return cls(load_generations(store, snapshot.generations), own, struck_keys(store, snapshot.tombstones))

    def places(self, generation: int, raw: Ints) -> tuple[Ints, Mask]:
        """Places of documents of a generation, from those that they had in their own run, and which of them count."""
        ordinal = raw >> ROW_BITS
        return self._bases[generation] + self._first_rows[generation][ordinal] + (raw & ROW_MASK), self._counts[generation][ordinal]

    def bounds(self, generation: int, first: int, last: int) -> tuple[int, int]:
        """First and last place of some rows of a generation."""
        found, _ = self.places(generation, np.array([first, last], np.int64))
        return int(found[0]), int(found[1])

    def stands(self, doc_keys: pa.Array) -> Mask:
        """Which documents are not struck."""
        if len(self._struck) == 0:
            return np.ones(len(doc_keys), np.bool_)
        found = key_bytes(doc_keys)
        at = np.minimum(np.searchsorted(self._struck, found), len(self._struck) - 1)
        stands: Mask = self._struck[at] != found
        return stands


def struck_keys(store: Store, tombstones: Sequence[str]) -> Keys:
    """The doc_keys of all documents that are struck, sorted, each once."""
    keys = [key_bytes(read_table(store, path, path)["doc_key"].combine_chunks()) for path in tombstones]
    return np.unique(np.concatenate(keys)) if keys else np.zeros(0, "S16")


def key_bytes(keys: pa.FixedSizeBinaryArray) -> Keys:
    """A column of doc_keys."""
    return np.frombuffer(keys.buffers()[1], "S16", len(keys), 16 * keys.offset) if len(keys) else np.zeros(0, "S16")


def key_prefixes(keys: Keys) -> Words:
    """Of each document, what the table of files has of its file."""
    return keys.view(">u8").reshape(-1, 2)[:, 0].astype(np.uint64)
