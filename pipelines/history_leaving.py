"""What a run leaves for later ones: once its version is current, the keys of the documents that its group operators kept.

The rows are written by tasks, under names that only one attempt has; the generation that names them is created once, last. A run that died
in between leaves its keys when it is started again.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from operators.base import GroupOperator
from operators.near import NearOperator
from pipelines import faults
from pipelines.commit import CommitLog, digest, new_attempt
from pipelines.document_keys import doc_keys
from pipelines.exchange import Source, read_source
from pipelines.fingerprint import settings
from pipelines.frames import PartWriter
from pipelines.history import NOT_OF_KEYS, Left, add_generation, keys_identity, write_parts
from pipelines.inventory import Inventory
from pipelines.partitioning import places
from pipelines.recall import FILES, prefix_words
from pipelines.steps import chunks, source_words, whole
from pipelines.storage import Store
from pipelines.work import Work
from pipelines.worker import Attempt, Outcome, Worker

CHUNK_BYTES: Final = 128 << 20
IDENTITY_CHARS: Final = 16

Complete = Callable[[CommitLog, Sequence[Work]], None]


@dataclass(frozen=True, slots=True)
class RetainJob:
    """Write some rows into the history: of keys and features those of documents that stay, with their identity."""

    sources: tuple[Source, ...]
    folder: str
    role: str
    kind: str = "retain"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write `rows` into the history; tells the first and the last place."""
        started = time.process_time()
        first, last = -1, -1
        path = f"{self.folder}/{attempt.key[:IDENTITY_CHARS]}.{attempt.id}.{self.role}"
        with PartWriter(worker.history, path) as writer:
            for batch in (batch for source in self.sources for batch in read_source(worker, source) if batch.num_rows):
                rows = batch
                if "file" in batch.schema.names:
                    rows = _with_identity(worker, batch)
                    where = rows.column("place").to_numpy()
                    first = int(where.min()) if first < 0 else min(first, int(where.min()))
                    last = max(last, int(where.max()))
                writer.write(rows)
            faults.point("history.before-record")
            detail = {"first": first, "last": last, "seconds": time.process_time() - started}
            return Outcome({"rows": writer.finish()}, detail=detail)


def _with_identity(worker: Worker, batch: pa.RecordBatch) -> pa.RecordBatch:
    where = places(batch)
    columns = {"place": pa.array(where), "doc_key": doc_keys(worker, where)}
    columns |= {name: batch.column(name) for name in batch.schema.names if name not in ("file", "row", "doc_key")}
    return pa.RecordBatch.from_pydict(columns)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What one group operator of a run leaves: its role in the history, and where the rows lie."""

    operator: GroupOperator
    role: str
    sources: Sequence[Source]


class Leaving:
    """Leaves the keys of one run in a history."""

    def __init__(self, store: Store, log: CommitLog, complete: Complete, identity: str) -> None:
        self._store = store
        self._log = log
        self._complete = complete
        self._identity = identity
        self._folder = f"keys/{identity[:IDENTITY_CHARS]}"

    def leave(self, keepings: Sequence[Keeping], operators: Sequence[GroupOperator], inventory: Inventory, about: Mapping[str, Any]) -> str:
        """Write everything and make it count. Returns the path of the generation."""
        parts = [part for keeping in keepings for part in self._parts(keeping)]
        attempt = new_attempt()
        write_parts(self._store, f"{self._folder}/parts.{attempt}.arrow", parts)
        _write_files(self._store, f"{self._folder}/files.{attempt}.arrow", inventory)
        faults.point("history.before-generation")
        body = {
            **about,
            "id": self._identity,
            "rows": inventory.rows,
            "files": f"{self._folder}/files.{attempt}.arrow",
            "parts": f"{self._folder}/parts.{attempt}.arrow",
            "operators": {keys_identity(operator): _described(operator) for operator in operators},
        }
        path = add_generation(self._store, body)
        self._sweep({part.path for part in parts} | {str(body["files"]), str(body["parts"])})
        return path

    def _parts(self, keeping: Keeping) -> Iterator[Left]:
        jobs = [RetainJob(tuple(some), self._folder, keeping.role) for some in chunks(keeping.sources, CHUNK_BYTES)]
        works = [self._work(keeping, job) for job in jobs]
        self._complete(self._log, works)
        for record in self._log.records(work.key for work in works):
            part = record.parts.get("rows")
            if part is not None:
                ends = (record.detail["first"], record.detail["last"])
                yield Left(keys_identity(keeping.operator), keeping.role, part.path, part.frames, *ends)

    def _work(self, keeping: Keeping, job: RetainJob) -> Work:
        name = keeping.operator.name or keeping.operator.type
        words = [word for source in job.sources for word in source_words(source)]
        size = sum(source.bytes for source in job.sources)
        return Work(digest(job.kind, self._identity, name, job.role, *words), lambda: job, 0, size, job.kind)

    def _sweep(self, named: set[str]) -> None:
        """Remove what attempts left that did not count; nobody but this run writes here."""
        self._store.delete([info.path for info in self._store.list(self._folder) if info.path not in named])


def keeping(operator: GroupOperator, kept: Sequence[Source], left: Mapping[str, Sequence[Any]]) -> list[Keeping]:
    """What an operator leaves: `kept` are the keys or features of documents that stay, `left` what its tasks wrote for later runs."""
    role = "features" if isinstance(operator, NearOperator) else "keys"
    found = [Keeping(operator, role, kept)] if kept else []
    return found + [Keeping(operator, role, [whole(part) for part in parts]) for role, parts in left.items()]


def _described(operator: GroupOperator) -> dict[str, Any]:
    known = {name: value for name, value in settings(operator).items() if name not in NOT_OF_KEYS}
    return {"name": operator.name or operator.type, "type": operator.type, "settings": known}


def _write_files(store: Store, path: str, inventory: Inventory) -> None:
    prefixes = prefix_words(np.frombuffer(inventory.prefixes(), np.uint8).reshape(-1, 10))
    rows = np.bincount(inventory.group_file, inventory.group_rows, inventory.num_files).astype(np.int64)
    table = pa.table([pa.array(prefixes), pa.array(np.cumsum(rows) - rows)], schema=FILES)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, FILES) as writer:
        writer.write_table(table)
    with store.writer(path) as target:
        target.write(sink.getvalue())
