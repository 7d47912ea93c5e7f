"""What a run leaves for later ones: once its version is current, the keys of the documents that its group operators kept.

The rows are written by tasks, under names that only one attempt has; the generation that names them is created once, last. A run that died
in between leaves its keys when it is started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from operators.base import GroupOperator
from operators.near import NearOperator
from operators.passages import PassageOperator
from pipelines import faults
from pipelines.commit import CommitLog, digest, new_attempt
from pipelines.document_keys import doc_keys
from pipelines.exchange import Source, read_chunks
from pipelines.frames import PartWriter
from pipelines.history import key_identities, key_settings
from pipelines.history_adding import Left, add_generation, find_generations, write_parts, write_table
from pipelines.identity import PREFIX_BYTES
from pipelines.inventory import Inventory
from pipelines.partitioning import places
from pipelines.recall import FILES, prefix_words
from pipelines.steps import chunks, source_words, whole
from pipelines.storage import Store
from pipelines.work import Work
from pipelines.worker import Attempt, Outcome, Worker

CHUNK_BYTES: Final = 128 << 20
FRAME_BYTES: Final = 4 << 20
"""Rows of many small frames become one: each frame costs later runs a row in a table that the driver reads."""
IDENTITY_CHARS: Final = 16
OF_DOCUMENTS: Final = ("keys", "features")
"""Roles that have one row a kept document."""

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
        first, last = -1, -1
        path = f"{self.folder}/{attempt.key[:IDENTITY_CHARS]}.{attempt.id}.{self.role}"
        with PartWriter(worker.history, path, alone=True) as writer:
            for batch in read_chunks(worker, self.sources, FRAME_BYTES):
                rows = batch
                if batch.num_rows and "file" in batch.schema.names:
                    rows = _with_identity(worker, batch)
                    where = rows.column("place").to_numpy()
                    first = int(where.min()) if first < 0 else min(first, int(where.min()))
                    last = max(last, int(where.max()))
                writer.write(rows)
            part = writer.finish()
        faults.point("history.before-record")
        return Outcome({"rows": part}, detail={"first": first, "last": last})


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
    """Leaves the keys of one run in a history. `confirm`: makes sure that the run still has its output's lease."""

    def __init__(self, store: Store, log: CommitLog, complete: Complete, confirm: Callable[[], None], identity: str) -> None:
        self._store = store
        self._log = log
        self._complete = complete
        self._confirm = confirm
        self._identity = identity
        self._folder = f"keys/{identity[:IDENTITY_CHARS]}"

    def leave(self, keepings: Sequence[Keeping], operators: Sequence[GroupOperator], inventory: Inventory, about: Mapping[str, Any]) -> str:
        """Write everything and make it count. Returns the path of the generation."""
        identities = dict(zip((operator.name for operator in operators), key_identities(operators), strict=True))
        parts = [part for keeping in keepings for part in self._parts(keeping, identities[keeping.operator.name])]
        attempt = new_attempt()
        body = {
            **about,
            "id": self._identity,
            "rows": inventory.rows,
            "num_files": inventory.num_files,
            "files": f"{self._folder}/files.{attempt}.arrow",
            "parts": f"{self._folder}/parts.{attempt}.arrow",
            "operators": {identities[operator.name]: _described(operator, identities[operator.name], parts) for operator in operators},
        }
        write_parts(self._store, body["parts"], parts)
        write_table(self._store, body["files"], _files_table(inventory))
        faults.point("history.before-generation")
        self._confirm()
        path = add_generation(self._store, body)
        self._sweep({part.path for part in parts})
        return path

    def _parts(self, keeping: Keeping, identity: str) -> Iterator[Left]:
        jobs = [RetainJob(tuple(some), self._folder, keeping.role) for some in chunks(keeping.sources, CHUNK_BYTES)]
        works = [self._work(keeping, job) for job in jobs]
        self._complete(self._log, works)
        for record in self._log.records(work.key for work in works):
            part = record.parts.get("rows")
            if part is not None:
                yield Left(identity, keeping.role, part.path, part.rows, part.frames, record.detail["first"], record.detail["last"])

    def _work(self, keeping: Keeping, job: RetainJob) -> Work:
        name = keeping.operator.name or keeping.operator.type
        words = [word for source in job.sources for word in source_words(source)]
        size = sum(source.bytes for source in job.sources)
        return Work(digest(job.kind, self._identity, name, job.role, *words), lambda: job, 0, size, job.kind)

    def _sweep(self, named: set[str]) -> None:
        """Remove what attempts left that did not count; nobody but this run writes here, or one that took it over and left the same."""
        for body in find_generations(self._store, self._identity):
            named |= {str(body["files"]), str(body["parts"])}
        self._confirm()
        self._store.delete([info.path for info in self._store.list(self._folder) if info.path not in named])


def keeping(operator: GroupOperator, kept: Sequence[Source], left: Mapping[str, Sequence[Any]]) -> list[Keeping]:
    """What an operator leaves: `kept` are the keys or features of documents that stay, `left` what its tasks wrote for later runs."""
    role = "features" if isinstance(operator, NearOperator) else "keys"
    found = [Keeping(operator, role, kept)] if kept else []
    return found + [Keeping(operator, role, [whole(part) for part in parts]) for role, parts in left.items()]


def _described(operator: GroupOperator, identity: str, parts: Sequence[Left]) -> dict[str, Any]:
    """An operator as a generation has it; `documents`: those that it kept, None of one that cuts passages out."""
    kept = sum(part.rows for part in parts if part.operator == identity and part.role in OF_DOCUMENTS)
    is_of_documents = not isinstance(operator, PassageOperator)
    return {
        "name": operator.name or operator.type,
        "type": operator.type,
        "settings": key_settings(operator),
        "documents": kept if is_of_documents else None,
    }


def _files_table(inventory: Inventory) -> pa.Table:
    prefixes = prefix_words(np.frombuffer(inventory.prefixes(), np.uint8).reshape(-1, PREFIX_BYTES))
    rows = np.bincount(inventory.group_file, inventory.group_rows, inventory.num_files).astype(np.int64)
    return pa.table([pa.array(prefixes), pa.array(np.cumsum(rows) - rows)], schema=FILES)
