"""What runs inside a task: attempts at pieces of work, each with its own commit.

Owns what a worker process keeps between tasks (clients, opened operators, assets) and the turning of exceptions into failures that a driver
can judge. Knows nothing of Ray.
"""

from __future__ import annotations

import errno
import resource
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Protocol

import pyarrow as pa

from pipelines import faults
from pipelines.assets import asset_tables, local_asset
from pipelines.chain import bounded
from pipelines.commit import CommitLog, Part, Record, new_attempt
from pipelines.errors import (
    AccessDenied,
    CodeChanged,
    CommitUnknown,
    InputChanged,
    OutOfMemory,
    ShardmillError,
    StorageError,
    StorageFull,
    UnitError,
    UnsafeStore,
)
from pipelines.fingerprint import engine_facts, fingerprint
from pipelines.frames import PartWriter
from pipelines.inventory import Inventory
from pipelines.ledger import Ledger
from pipelines.machine import FULL, is_errno
from pipelines.recall import Snapshot
from pipelines.storage import Sources, Store, open_store

MEMORY_REMEDY: Final = "give each worker more (fewer at once: cluster.num_cpus), or a smaller execution.batch_bytes or unit_bytes"


class FailureKind(StrEnum):
    """How a failed attempt is to be judged; each has a budget of its own."""

    TASK = "task"  # the same again would probably fail again
    INFRASTRUCTURE = "infrastructure"  # may pass
    MEMORY = "memory"  # a smaller piece may pass
    SYSTEMIC = "systemic"  # every other attempt would fail alike


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed. `error` is the exception, bounded and without secrets."""

    key: str
    kind: FailureKind
    error: ShardmillError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt made, before it is committed."""

    parts: Mapping[str, Part | None]
    ledger: Ledger | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Job(Protocol):
    """A piece of work: pure in what goes into it, so that any two attempts are equally good."""

    @property
    def kind(self) -> str:
        """Stands in the record."""

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Do the work and write its parts; the caller commits."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run reads and writes; small, without secrets, sent with every task."""

    output_uri: str
    output_options: Mapping[str, Any]
    input_options: Mapping[str, Any]
    inventory_path: str
    text_column: str
    seed: int
    assets: Mapping[str, str]
    """sha256 of every asset by its uri."""
    lease_epoch: int
    engine: str
    """Fingerprint of the engine's own code and libraries, as the driver has them."""
    history: Snapshot | None = None
    """What earlier runs left."""


@dataclass(frozen=True, slots=True)
class Task:
    """Pieces of work of one stage that one task does one after the other."""

    place: Place
    stage: str
    epoch: int
    jobs: tuple[tuple[str, Job], ...]
    retried: bool


class Attempt:
    """One try at a piece of work: names and writers of its parts."""

    def __init__(self, log: CommitLog, key: str) -> None:
        self.log = log
        self.key = key
        self.id = new_attempt()

    def writer(self, role: str) -> PartWriter:
        """A writer for a part, under a name that only this attempt has."""
        return PartWriter(self.log.store, self.log.part_path(self.key, self.id, role))


class Worker:
    """What a process keeps between tasks of the same run."""

    def __init__(self, place: Place) -> None:
        if fingerprint(engine_facts()) != place.engine:
            raise CodeChanged(
                "the code or the libraries on this worker are not the driver's: they were changed during the run, or the nodes differ; "
                "run again, with the same code everywhere"
            )
        self.place = place
        self.store: Store = open_store(place.output_uri, place.output_options)
        self.sources = Sources(place.input_options, {self.store.uri: place.output_options})
        self.opened: dict[str, Any] = {}

    @cached_property
    def inventory(self) -> Inventory:
        """The run's inventory; read once."""
        return Inventory.load(self.store, self.place.inventory_path)

    @cached_property
    def history(self) -> Store:
        """The history that the run shares."""
        assert self.place.history is not None
        return open_store(self.place.history.uri, self.place.output_options)

    # The operators' view of the worker (operators.base.Assets).

    @property
    def text_column(self) -> str:
        """Name of the text column."""
        return self.place.text_column

    @property
    def seed(self) -> int:
        """`execution.seed`."""
        return self.place.seed

    def path(self, uri: str) -> str:
        """Local copy of an asset, kept by its content; fetched at its first use on this machine.

        Raises:
            InputChanged: What lies at the uri is not what the plan fingerprinted.
        """
        return str(local_asset(self.sources, uri, self.place.assets[uri]))

    def tables(self, uri: str) -> Mapping[str, Mapping[str, Any]]:
        """The parsed YAML files of an asset, by name."""
        return asset_tables(self.sources, uri, self.place.assets[uri])


_WORKERS: dict[str, Worker] = {}


def worker_for(place: Place) -> Worker:
    """The worker of this process for a run; another run's is forgotten."""
    key = repr(place)
    if key not in _WORKERS:
        _WORKERS.clear()
        _WORKERS[key] = Worker(place)
    return _WORKERS[key]


def perform(task: Task) -> list[Record | Failure]:
    """Do every piece of work of a task. One that fails does not stop the others, unless all would fail alike."""
    try:
        worker = worker_for(task.place)
    except ShardmillError as error:
        return [Failure(key, judge(error), error) for key, _ in task.jobs]
    log = CommitLog(worker.store, task.stage, task.epoch)
    answers: list[Record | Failure] = []
    for key, job in task.jobs:
        answer = _attempt(worker, log, key, job, retried=task.retried)
        answers.append(answer)
        pa.default_memory_pool().release_unused()  # what one piece of work needed at its peak is not kept through the next
        if isinstance(answer, Failure) and answer.kind is FailureKind.SYSTEMIC:
            break
    return answers


def _attempt(worker: Worker, log: CommitLog, key: str, job: Job, *, retried: bool) -> Record | Failure:
    try:
        done = log.find(key) if retried else None
        return done if done is not None else _do(worker, log, key, job)
    except Exception as error:  # noqa: BLE001  a task's edge: judged, bounded and handed to the driver
        return Failure(key, judge(error), _surfaced(error, key))


def _do(worker: Worker, log: CommitLog, key: str, job: Job) -> Record:
    faults.point("unit.begin")
    attempt = Attempt(log, key)
    started, wall = time.process_time(), time.monotonic()
    stats = worker.store.stats
    before = (stats.requests, stats.retries)
    outcome = job.run(worker, attempt)
    faults.point("unit.parts-written")
    usage = {
        "seconds": round(time.process_time() - started, 6),
        "wall_seconds": round(time.monotonic() - wall, 6),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "requests": stats.requests - before[0],
        "retries": stats.retries - before[1],
        "lease_epoch": worker.place.lease_epoch,
    }
    parts = {role: part for role, part in outcome.parts.items() if part is not None}
    record = log.commit(Record(key, attempt.id, job.kind, parts, outcome.ledger, outcome.detail, usage))
    faults.point("unit.end")
    return record


def judge(error: BaseException) -> FailureKind:
    """How a failure is to be treated."""
    if isinstance(error, MemoryError) or is_errno(error, errno.ENOMEM):
        return FailureKind.MEMORY
    if isinstance(error, AccessDenied | UnsafeStore | StorageFull | InputChanged):
        return FailureKind.SYSTEMIC
    if isinstance(error, StorageError | CommitUnknown | ConnectionError | TimeoutError):
        return FailureKind.INFRASTRUCTURE
    return FailureKind.SYSTEMIC if is_errno(error, *FULL) else FailureKind.TASK


def _surfaced(error: Exception, key: str) -> ShardmillError:
    """The error as the driver gets it: one of ours, which survives pickling, with the unit named."""
    if isinstance(error, ShardmillError):
        return type(error)(f"unit {key[:12]}: {error.message}")
    found = f"{type(error).__name__}: {bounded(error)}"
    if judge(error) is FailureKind.MEMORY:
        return OutOfMemory(f"unit {key[:12]}: no memory was left on {socket.gethostname()} ({found}); {MEMORY_REMEDY}")
    if judge(error) is FailureKind.SYSTEMIC:
        return StorageFull(
            f"unit {key[:12]}: no space is left on a disk of {socket.gethostname()} ({found}); free some there, then run again"
        )
    return UnitError(f"unit {key[:12]}: {found}")
